"""The tower: the axioms of a field at each level, and agreement with py_ecc's one-step extension."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge.program.groth16.native import field as f
from bitvm_bridge.program.groth16.native.field import P, X
from tests.groth16.native_strategies import fq, fq2, fq6, fq12, oracle


@dataclass(frozen=True)
class Level:
    """One field of the tower: its functions and how to draw its elements."""

    name: str
    degree: int
    elements: st.SearchStrategy[Any]

    def __getattr__(self, operation: str) -> Callable[..., Any]:
        function: Callable[..., Any] = getattr(f, f"{self.name}_{operation}")
        return function

    @property
    def zero(self) -> Any:
        return getattr(f, f"{self.name.upper()}_ZERO")

    @property
    def one(self) -> Any:
        return getattr(f, f"{self.name.upper()}_ONE")


LEVELS = [Level("fq2", 2, fq2), Level("fq6", 6, fq6), Level("fq12", 12, fq12)]
every_level = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)


def test_the_primes_are_those_of_the_family() -> None:
    assert P == 36 * X**4 + 36 * X**3 + 24 * X**2 + 6 * X + 1
    assert f.R == 36 * X**4 + 36 * X**3 + 18 * X**2 + 6 * X + 1
    assert P % 4 == 3
    assert P % 6 == 1


def test_the_tower_is_a_tower_of_fields() -> None:
    """−1 is no square in Fq, ξ neither a square nor a cube in Fq2: each polynomial is irreducible."""
    assert pow(P - 1, (P - 1) // 2, P) == P - 1
    assert f.fq2_pow(f.XI, (P**2 - 1) // 2) != f.FQ2_ONE
    assert f.fq2_pow(f.XI, (P**2 - 1) // 3) != f.FQ2_ONE


@every_level
@given(data=st.data())
def test_addition_is_a_group(level: Level, data: st.DataObject) -> None:
    a, b, c = (data.draw(level.elements) for _ in range(3))
    assert level.add(a, level.add(b, c)) == level.add(level.add(a, b), c)
    assert level.add(a, b) == level.add(b, a)
    assert level.add(a, level.zero) == a
    assert level.add(a, level.neg(a)) == level.zero
    assert level.sub(a, b) == level.add(a, level.neg(b))


@every_level
@given(data=st.data())
def test_multiplication_is_a_group_and_distributes(level: Level, data: st.DataObject) -> None:
    a, b, c = (data.draw(level.elements) for _ in range(3))
    assert level.mul(a, level.mul(b, c)) == level.mul(level.mul(a, b), c)
    assert level.mul(a, b) == level.mul(b, a)
    assert level.mul(a, level.one) == a
    assert level.mul(a, level.add(b, c)) == level.add(level.mul(a, b), level.mul(a, c))
    assert level.square(a) == level.mul(a, a)
    if a != level.zero:
        assert level.mul(a, level.inverse(a)) == level.one


@every_level
def test_zero_has_no_inverse(level: Level) -> None:
    with pytest.raises(ZeroDivisionError):
        level.inverse(level.zero)
    with pytest.raises(ZeroDivisionError):
        level.pow(level.zero, -1)


@pytest.mark.parametrize("zero", [0, P, -P])
def test_zero_has_no_inverse_in_fq(zero: int) -> None:
    with pytest.raises(ZeroDivisionError):
        f.fq_inverse(zero)


@every_level
@given(data=st.data())
def test_powers_add_up(level: Level, data: st.DataObject) -> None:
    a = data.draw(level.elements.filter(lambda a: a != level.zero))
    m, n = (data.draw(st.integers(-1000, 1000)) for _ in range(2))
    assert level.mul(level.pow(a, m), level.pow(a, n)) == level.pow(a, m + n)
    assert level.pow(a, 0) == level.one
    assert level.pow(a, 3) == level.mul(a, level.mul(a, a))


@every_level
@settings(max_examples=10)
@given(data=st.data())
def test_frobenius_is_the_power_of_p(level: Level, data: st.DataObject) -> None:
    a = data.draw(level.elements)
    assert level.frobenius(a) == level.pow(a, P)
    assert level.frobenius(a, 0) == a
    assert level.frobenius(a, level.degree) == a
    image = a
    for power in range(1, 12):
        image = level.frobenius(image)
        assert level.frobenius(a, power) == image


@settings(max_examples=10)
@given(a=fq12)
def test_conjugation_is_the_sixth_frobenius(a: f.Fq12) -> None:
    assert f.fq12_conjugate(a) == f.fq12_frobenius(a, 6)
    assert f.fq12_mul(a, f.fq12_conjugate(a))[1] == f.FQ6_ZERO


@given(a=fq12, b=fq12)
def test_products_agree_with_py_ecc(a: f.Fq12, b: f.Fq12) -> None:
    assert oracle(f.fq12_mul(a, b)) == oracle(a) * oracle(b)
    assert oracle(f.fq12_add(a, b)) == oracle(a) + oracle(b)


@settings(max_examples=10)
@given(a=fq12.filter(lambda a: a != f.FQ12_ZERO))
def test_inverses_agree_with_py_ecc(a: f.Fq12) -> None:
    assert oracle(f.fq12_inverse(a)) * oracle(a) == oracle(f.FQ12_ONE)


@given(a=fq6, k=fq2)
def test_products_by_constants(a: f.Fq6, k: f.Fq2) -> None:
    assert f.fq6_mul_v(a) == f.fq6_mul(a, (f.FQ2_ZERO, f.FQ2_ONE, f.FQ2_ZERO))
    assert f.fq6_scale(a, k) == f.fq6_mul(a, (k, f.FQ2_ZERO, f.FQ2_ZERO))
    assert f.fq2_mul_xi(k) == f.fq2_mul(k, f.XI)
    assert f.fq2_scale(k, P - 3) == f.fq2_mul(k, (P - 3, 0))
    assert f.fq2_conjugate(k) == f.fq2_pow(k, P)


@given(a=fq)
def test_square_roots_in_fq(a: int) -> None:
    assert f.fq_sqrt(a * a % P) in (a, -a % P)
    if a:
        assert f.fq_sqrt(-a * a % P) is None


@given(a=fq2)
def test_square_roots_in_fq2(a: f.Fq2) -> None:
    assert f.fq2_sqrt(f.fq2_square(a)) in (a, f.fq2_neg(a))
    if a != f.FQ2_ZERO:
        assert f.fq2_sqrt(f.fq2_mul(f.XI, f.fq2_square(a))) is None
