"""The groups: the group law against py_ecc, and why one relation decides membership of G2."""

from math import gcd, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bn128 import bn128_curve as bn128

from bitvm_bridge.program.groth16.native import curve
from bitvm_bridge.program.groth16.native.curve import (
    G1,
    G1_GENERATOR,
    G2,
    G2_GENERATOR,
    LOOP,
    g1_add,
    g1_double,
    g1_is_on_curve,
    g1_msm,
    g1_mul,
    g1_neg,
    g2_add,
    g2_double,
    g2_is_in_subgroup,
    g2_is_on_curve,
    g2_mul,
    g2_neg,
    psi,
)
from bitvm_bridge.program.groth16.native.field import FQ2_ZERO, P, R, X
from bitvm_bridge.program.groth16.native.pairing import LOOP_DIGITS
from tests.groth16.native_strategies import twist_point
from tests.groth16.toy import g1, g2

TRACE = 6 * X**2 + 1
COFACTOR_PRIMES = (10069, 5864401, 1875725156269, 197620364512881247228717050342013327560683201906968909)
COFACTOR = 2 * P - R
ORDER = R * COFACTOR
"""The points of the twist over Fq2."""

scalars = st.sampled_from([0, 1, 2, R - 1, R, R + 1]) | st.integers(0, R)


def py_ecc_g1(scalar: int) -> G1 | None:
    point = bn128.multiply(bn128.G1, scalar)
    return None if point is None else (point[0].n, point[1].n)


def py_ecc_g2(scalar: int) -> G2 | None:
    point = bn128.multiply(bn128.G2, scalar)
    if point is None:
        return None
    (x0, x1), (y0, y1) = (map(int, coordinate.coeffs) for coordinate in point)
    return (x0, x1), (y0, y1)


@settings(max_examples=20)
@given(m=scalars, n=scalars)
def test_g1_is_a_group_of_order_r(m: int, n: int) -> None:
    a, b = g1_mul(G1_GENERATOR, m), g1_mul(G1_GENERATOR, n)
    assert a == py_ecc_g1(m % R)
    assert a is None or g1_is_on_curve(a)
    assert g1_add(a, b) == g1_add(b, a) == g1_mul(G1_GENERATOR, m + n)
    assert g1_double(a) == g1_mul(a, 2) == g1_add(a, a)
    assert g1_mul(a, -n) == g1_mul(G1_GENERATOR, -m * n % R)
    assert a is None or g1_add(a, g1_neg(a)) is None


@settings(max_examples=10)
@given(m=scalars, n=scalars)
def test_g2_is_a_group_of_order_r(m: int, n: int) -> None:
    a, b = g2_mul(G2_GENERATOR, m), g2_mul(G2_GENERATOR, n)
    assert a == py_ecc_g2(m % R)
    assert a is None or (g2_is_on_curve(a) and g2_is_in_subgroup(a))
    assert g2_add(a, b) == g2_add(b, a) == g2_mul(G2_GENERATOR, m + n)
    assert g2_double(a) == g2_mul(a, 2) == g2_add(a, a)
    assert g2_mul(a, -n) == g2_mul(G2_GENERATOR, -m * n % R)
    assert a is None or g2_add(a, g2_neg(a)) is None


@settings(max_examples=20)
@given(terms=st.lists(st.tuples(scalars.filter(lambda m: m % R), scalars), max_size=4))
def test_msm_is_the_sum_of_the_products(terms: list[tuple[int, int]]) -> None:
    expected = g1_mul(G1_GENERATOR, sum(m * n for m, n in terms))
    assert g1_msm((g1(m), n) for m, n in terms) == expected


@pytest.mark.parametrize("point", [(1, 3), (1 + P, 2), (1, 2 - P), (0, 0), (-1, 2)])
def test_points_off_g1_are_seen(point: G1) -> None:
    assert g1_is_on_curve(G1_GENERATOR)
    assert not g1_is_on_curve(point)


def test_points_off_the_twist_are_seen() -> None:
    (x0, x1), (y0, y1) = G2_GENERATOR
    assert g2_is_on_curve(G2_GENERATOR)
    for point in [
        ((x1, x0), (y0, y1)),
        ((x0, x1), (y0, y1 + 1)),
        ((x0 + P, x1), (y0, y1)),
        ((x0, x1), (y0, y1 - P)),
        (FQ2_ZERO, FQ2_ZERO),
    ]:
        assert not g2_is_on_curve(point)


def test_a_chord_needs_two_abscissas() -> None:
    for other in (G2_GENERATOR, g2_neg(G2_GENERATOR)):
        with pytest.raises(ZeroDivisionError):
            curve.chord(G2_GENERATOR, other)


@pytest.mark.parametrize("seed", range(3))
def test_psi_is_the_frobenius_of_the_curve_on_all_of_the_twist(seed: int) -> None:
    point = twist_point(seed)
    image = psi(point)
    assert g2_is_on_curve(image)
    assert psi(image) == psi(point, 2)
    assert psi(image, 2) == psi(point, 3)
    assert g2_add(psi(point, 2), g2_mul(point, P)) == g2_mul(image, TRACE)
    assert g2_mul(point, ORDER) is None
    assert g2_mul(point, R) is not None


def resultant(a0: int, a1: int = 0, a2: int = 0, a3: int = 0) -> int:
    """Of a0 + a1·X + a2·X² + a3·X³ and X² − tX + P. With ψ for X, the polynomial annihilates no point but those that
    the resultant does, since it is a combination of the two polynomials over the integers.
    """
    square, cube = (-P, TRACE), (-TRACE * P, TRACE**2 - P)
    constant = a0 + a2 * square[0] + a3 * cube[0]
    linear = a1 + a2 * square[1] + a3 * cube[1]
    return constant**2 + constant * linear * TRACE + linear**2 * P


def test_the_relation_holds_in_the_subgroup_and_nowhere_else() -> None:
    """A point that passes is killed by gcd(resultant, order), which is R: no subgroup of other order is fooled."""
    assert prod(COFACTOR_PRIMES) == COFACTOR
    relation = resultant(LOOP, 1, -1, 1)
    assert relation % R == 0
    assert gcd(relation, COFACTOR) == 1
    assert COFACTOR % R != 0
    assert gcd(relation, ORDER) == R


def test_the_other_known_test_is_as_good() -> None:
    """ψ(Q) = [6X²]Q, twice as long a scalar: its resultant is R itself."""
    assert resultant(-6 * X**2, 1) == R


def test_no_point_of_the_twist_is_an_exception_of_the_loop() -> None:
    """Each step of a Miller loop divides by what vanishes only where [k]Q = O for the k, or resultant, tested here;
    each is prime to the order of the twist, so that no finite point, in G2 or not, makes a division by zero.
    """
    k, prime_to_order = 1, []
    for digit in LOOP_DIGITS[1:]:
        prime_to_order.append(2 * k)
        k *= 2
        if digit:
            prime_to_order += [k - 1, k + 1]
        k += digit
    assert k == LOOP
    prime_to_order += [resultant(LOOP, sign) for sign in (1, -1)]
    prime_to_order += [resultant(LOOP, 1, sign) for sign in (1, -1)]
    assert [gcd(number, ORDER) for number in prime_to_order] == [1] * len(prime_to_order)


@pytest.mark.parametrize("prime", COFACTOR_PRIMES)
def test_points_of_the_orders_beside_r_are_refused(prime: int) -> None:
    stray = g2_mul(twist_point(1), ORDER // prime)
    assert stray is not None
    assert g2_mul(stray, prime) is None
    assert not g2_is_in_subgroup(stray)
    shifted = g2_add(stray, g2(5))
    assert shifted is not None
    assert not g2_is_in_subgroup(shifted)


@pytest.mark.parametrize("seed", range(3))
def test_clearing_the_cofactor_lands_in_the_subgroup(seed: int) -> None:
    point = twist_point(seed)
    assert not g2_is_in_subgroup(point)
    cleared = g2_mul(point, COFACTOR)
    assert cleared is not None
    assert g2_is_in_subgroup(cleared)
