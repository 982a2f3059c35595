"""The residue witness: complete, sound, and no less so modulo Fq6*."""

from math import gcd

import pytest
from hypothesis import given, settings

from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.program.groth16.native.field import (
    FQ2_ZERO,
    FQ6_ONE,
    FQ6_ZERO,
    FQ12_ONE,
    FQ12_ZERO,
    XI,
    Fq6,
    Fq12,
    P,
    R,
    fq6_mul,
    fq6_neg,
    fq6_pow,
    fq12_conjugate,
    fq12_mul,
    fq12_pow,
)
from bitvm_bridge.program.groth16.native.pairing import final_exponentiation, miller_loop, pairing
from bitvm_bridge.program.groth16.native.residue import LAMBDA, residue, to_the_lambda, torus
from tests.groth16.native_strategies import fq6, fq12
from tests.groth16.toy import g1, g2

FINAL = (P**12 - 1) // R
VALID = miller_loop([(g1(2), g2(15)), (g1(R - 5), g2(6))])
"""A product of Miller loops that passes: 2·15 − 5·6 = 0."""
OF_ORDER_R = pairing(g1(1), g2(1))

units6 = fq6.filter(lambda a: a != FQ6_ZERO)
units12 = fq12.filter(lambda a: a != FQ12_ZERO)


def test_the_orders_behind_the_witness() -> None:
    assert LAMBDA % R == 0
    assert gcd(LAMBDA, P**12 - 1) == 3 * R
    assert (P**12 - 1) % 27 == 0
    assert (P**12 - 1) // 27 % 3 != 0
    assert FINAL % R != 0


def test_the_27th_roots_of_unity_lie_in_fq6() -> None:
    """27 divides P³ − 1, so they lie in Fq3, a subfield of Fq6."""
    assert (P**3 - 1) % 27 == 0
    root = fq12_pow(((XI, XI, FQ2_ZERO), (XI, FQ2_ZERO, XI)), (P**12 - 1) // 27)
    assert fq12_pow(root, 9) != FQ12_ONE
    assert fq12_pow(root, 27) == FQ12_ONE
    assert root[1] == FQ6_ZERO


@settings(max_examples=5)
@given(c=units12)
def test_to_the_lambda_is_that_power(c: Fq12) -> None:
    assert to_the_lambda(c) == fq12_pow(c, LAMBDA)


def check_witness(f: Fq12) -> Fq6:
    """The witness of f holds; its scale."""
    root, scale = residue(f)
    assert fq12_pow(root, LAMBDA) == fq12_mul(f, (scale, FQ6_ZERO))
    assert fq6_pow(scale, 27) == FQ6_ONE
    return scale


def test_products_of_pairings_that_are_one_have_a_witness() -> None:
    check_witness(VALID)


@settings(max_examples=10)
@given(f=units12)
def test_every_r_th_power_has_a_witness_and_nothing_else(f: Fq12) -> None:
    power = fq12_pow(f, R)
    check_witness(power)
    with pytest.raises(VerificationFailed, match="no R-th residue"):
        residue(fq12_mul(power, OF_ORDER_R))


@pytest.mark.parametrize("power", [0, 1, 3, 9, 26])
def test_the_scale_takes_what_part_of_order_27_there_is(power: int) -> None:
    generator = fq12_pow(((XI, XI, FQ2_ZERO), (XI, FQ2_ZERO, XI)), (P**12 - 1) // 27)
    turn, _ = fq12_pow(generator, power)
    assert fq6_mul(check_witness(fq12_mul(VALID, (turn, FQ6_ZERO))), turn) == residue(VALID).scale


def test_products_of_pairings_that_are_not_one_have_no_witness() -> None:
    for wrong in ([(g1(2), g2(15))], [(g1(2), g2(15)), (g1(R - 5), g2(7))], [(g1(2), g2(15)), (g1(5), g2(6))]):
        f = miller_loop(wrong)
        assert final_exponentiation(f) != FQ12_ONE
        with pytest.raises(VerificationFailed, match="no R-th residue"):
            residue(f)


def test_zero_has_no_witness() -> None:
    with pytest.raises(VerificationFailed, match="zero"):
        residue(FQ12_ZERO)


def test_modulo_fq6_the_exponents_leave_no_room() -> None:
    """The final exponent kills Fq6*, and of LAMBDA only R matters there: Fq12*/Fq6* has order P⁶ + 1."""
    assert FINAL % (P**6 - 1) == 0
    assert gcd(LAMBDA, P**6 + 1) == R


@settings(max_examples=5)
@given(c=units12, s=units6)
def test_whatever_is_a_power_modulo_fq6_passes(c: Fq12, s: Fq6) -> None:
    assert final_exponentiation(fq12_mul(to_the_lambda(c), (s, FQ6_ZERO))) == FQ12_ONE


@settings(max_examples=5)
@given(s=units6)
def test_a_factor_in_fq6_changes_no_witness_modulo_fq6(s: Fq6) -> None:
    f = fq12_mul(VALID, (s, FQ6_ZERO))
    check_witness(f)
    assert torus(residue(f).root) == torus(residue(VALID).root)


def test_the_torus_form_alone_is_a_witness() -> None:
    """k + w in place of the root, and no scale: the power is f in the torus."""
    k = torus(residue(VALID).root)
    assert k is not None
    assert torus(to_the_lambda((k, FQ6_ONE))) == torus(VALID)
    wrong = torus(fq12_mul(VALID, OF_ORDER_R))
    assert torus(to_the_lambda((k, FQ6_ONE))) != wrong


@given(k=fq6, s=units6)
def test_torus_names_the_class(k: Fq6, s: Fq6) -> None:
    assert torus((k, FQ6_ONE)) == k
    assert torus(fq12_mul((k, FQ6_ONE), (s, FQ6_ZERO))) == k
    assert torus(fq12_conjugate((k, FQ6_ONE))) == fq6_neg(k)
    assert torus((s, FQ6_ZERO)) is None
