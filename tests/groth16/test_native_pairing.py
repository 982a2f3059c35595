"""The pairing: py_ecc's values, bilinearity, and the loop as the scripts walk it."""

from itertools import pairwise
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.fields import optimized_bn128_FQ, optimized_bn128_FQ2
from py_ecc.optimized_bn128 import optimized_pairing as py_ecc_pairing

from bitvm_bridge.program.groth16.native.curve import G1, G1_GENERATOR, G2, G2_GENERATOR, LOOP, g2_neg, psi
from bitvm_bridge.program.groth16.native.field import (
    FQ6_ZERO,
    FQ12_ONE,
    FQ12_ZERO,
    Fq12,
    P,
    R,
    fq6_scale,
    fq12_conjugate,
    fq12_mul,
    fq12_pow,
)
from bitvm_bridge.program.groth16.native.pairing import (
    LOOP_DIGITS,
    final_exponentiation,
    lines,
    miller_loop,
    naf,
    pairing,
    pairing_product_is_one,
    steps,
)
from tests.groth16.native_strategies import fq12, oracle, twist_point
from tests.groth16.toy import g1, g2

BASE = pairing(G1_GENERATOR, G2_GENERATOR)
scalars = st.integers(1, R - 1)


def py_ecc_value(p: G1, q: G2) -> list[int]:
    """The coefficients of py_ecc's pairing."""
    one = optimized_bn128_FQ2.one()
    g2_point = (optimized_bn128_FQ2(q[0]), optimized_bn128_FQ2(q[1]), one)
    g1_point = (optimized_bn128_FQ(p[0]), optimized_bn128_FQ(p[1]), optimized_bn128_FQ(1))
    return [int(c) for c in py_ecc_pairing.pairing(g2_point, g1_point).coeffs]


@pytest.mark.parametrize("seed", range(3))
def test_values_are_those_of_py_ecc(seed: int) -> None:
    random = Random(seed)
    p, q = g1(random.randrange(1, R)), g2(random.randrange(1, R))
    assert [int(c) for c in oracle(pairing(p, q)).coeffs] == py_ecc_value(p, q)


@settings(max_examples=5)
@given(m=scalars, n=scalars)
def test_bilinear(m: int, n: int) -> None:
    assert pairing(g1(m), g2(n)) == fq12_pow(BASE, m * n % R)


def test_not_degenerate() -> None:
    assert BASE != FQ12_ONE
    assert fq12_pow(BASE, R) == FQ12_ONE
    assert fq12_mul(BASE, fq12_conjugate(BASE)) == FQ12_ONE


def test_infinity_pairs_to_one() -> None:
    assert pairing(None, G2_GENERATOR) == pairing(G1_GENERATOR, None) == pairing(None, None) == FQ12_ONE
    assert pairing_product_is_one([])
    assert pairing_product_is_one([(None, G2_GENERATOR), (G1_GENERATOR, None)])
    assert not pairing_product_is_one([(None, G2_GENERATOR), (G1_GENERATOR, G2_GENERATOR)])


@settings(max_examples=5)
@given(m=scalars, n=scalars)
def test_products_of_pairings(m: int, n: int) -> None:
    p, q = g1(m), g2(n)
    assert pairing_product_is_one([(p, q), (g1(R - m), q)])
    assert pairing_product_is_one([(g1(m * n % R), G2_GENERATOR), (g1(R - m), q)])
    assert not pairing_product_is_one([(g1(m * n % R), G2_GENERATOR), (g1(R - m), q), (p, q)])


@given(number=st.integers(1, 2**70))
def test_naf_has_the_value_and_no_neighbours(number: int) -> None:
    digits = naf(number)
    assert digits[0] == 1
    assert sum(digit << place for place, digit in enumerate(reversed(digits))) == number
    assert set(digits) <= {-1, 0, 1}
    assert not any(a and b for a, b in pairwise(digits))


def test_a_loop_is_64_tangents_and_23_chords() -> None:
    assert sum(digit << place for place, digit in enumerate(reversed(LOOP_DIGITS))) == LOOP
    assert len(LOOP_DIGITS) == 65
    assert len(lines(G2_GENERATOR)) == 64 + sum(map(abs, LOOP_DIGITS[1:])) + 2 == 64 + 21 + 2


@pytest.mark.parametrize("seed", range(3))
def test_the_last_point_tells_the_subgroup(seed: int) -> None:
    """And no point of the twist stops the loop."""
    inside, outside = g2(seed + 1), twist_point(seed)
    *_, (_, last) = steps(inside)
    assert last == g2_neg(psi(inside, 3))
    *_, (_, last) = steps(outside)
    assert last != g2_neg(psi(outside, 3))


def test_lines_pass_through_their_points() -> None:
    """The first is the tangent at Q: at Q and at −2Q it vanishes on the twist."""
    line, double = next(steps(G2_GENERATOR))
    assert line == lines(G2_GENERATOR)[0]
    for x, y in (G2_GENERATOR, g2_neg(double)):
        (slope_x, _, _) = fq6_scale((x, x, x), line.slope)
        assert tuple((s - n) % P for s, n in zip(slope_x, line.nu, strict=True)) == y


@settings(max_examples=10)
@given(f=fq12.filter(lambda f: f != FQ12_ZERO))
def test_the_final_exponentiation_is_that_power(f: Fq12) -> None:
    assert final_exponentiation(f) == fq12_pow(f, (P**12 - 1) // R)


@settings(max_examples=10)
@given(f=fq12.filter(lambda f: f[0] != FQ6_ZERO))
def test_the_final_exponentiation_kills_fq6(f: Fq12) -> None:
    assert final_exponentiation((f[0], FQ6_ZERO)) == FQ12_ONE


def test_zero_has_no_final_exponentiation() -> None:
    with pytest.raises(ZeroDivisionError):
        final_exponentiation(FQ12_ZERO)


def test_a_product_of_loops_is_the_product_of_the_loops() -> None:
    first, second = (g1(3), g2(5)), (g1(7), g2(11))
    assert miller_loop([first, second]) == fq12_mul(miller_loop([first]), miller_loop([second]))
