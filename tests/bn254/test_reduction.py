"""The register that reduces sums modulo p, and the script writer: proofs of bounds, heights, single digits."""

from itertools import pairwise

import pytest

from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS, MAX_OPERAND, ZERO, P, from_limbs, to_limbs
from scripts_tapleaf.bn254.reduction import QUOTIENT_BIT, QUOTIENT_UNIT, Term, Walk, deferred_digits, split
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.digits import signed_digits
from scripts_tapleaf.script import OP_FROMALTSTACK, ScriptError, encode_num
from tests.bn254.limbs import accepts, completes, left_by, written

LARGEST = P << 21
"""Of sums that are reduced here."""


def walk(bits: list[int], bound: int, *, is_zero: bool = False) -> tuple[Writer, Walk]:
    """A walk over one item for each bit, the first one deepest."""
    writer = Writer(len(bits))
    terms = [Term(place, bit, 1, bound) for place, bit in enumerate(bits)]
    found = Walk(writer, None, terms, LARGEST, is_zero=is_zero)
    found.write()
    return writer, found


def items_of(value: int, bits: list[int]) -> list[bytes]:
    return [encode_num(value >> bit & (1 << LIMB_BITS) - 1) for bit in bits]


BITS = [LIMB_BITS * limb for limb in range(13)]


@pytest.mark.parametrize(
    "value", [0, 1, P - 1, P, P + 1, P // 2, P // 2 + 1, 7 * P - 1, (P << 20) + 12345, LARGEST - 1]
)
def test_a_sum_is_reduced(value: int) -> None:
    writer, found = walk(BITS, (1 << LIMB_BITS) - 1)
    items = items_of(value, BITS)
    left = left_by(writer.script() + OP_FROMALTSTACK * LIMBS, items)
    limbs = left.numbers[:LIMBS][::-1]
    assert (from_limbs(limbs) - value) % P == 0
    assert abs(from_limbs(limbs)) <= found.bounds.value < P * 51 // 100
    assert all(abs(limb) <= most for limb, most in zip(limbs, found.bounds.limbs, strict=True))
    assert left.depth <= writer.most
    assert completes(writer.script() + OP_FROMALTSTACK * LIMBS, items, 2 * LIMBS + 1)


@pytest.mark.parametrize("factor", [0, 1, 2, 1000, 1 << 20])
def test_zero_is_told_from_anything_else(factor: int) -> None:
    writer, _ = walk(BITS, (1 << LIMB_BITS) - 1, is_zero=True)
    assert completes(writer.script(), items_of(factor * P, BITS), len(BITS))
    for error in (1, 1 << 100, P // 2, P - 1):
        assert not completes(writer.script(), items_of(factor * P + error, BITS), len(BITS))


def test_the_unit_of_the_quotient_is_the_top_of_p() -> None:
    rest = sum(sign << position for position, sign in deferred_digits())
    assert (QUOTIENT_UNIT << QUOTIENT_BIT) + rest == P
    assert all(position < QUOTIENT_BIT for position, _ in deferred_digits())


def test_terms_too_large_for_the_register_are_refused() -> None:
    with pytest.raises(ScriptError, match="reduction"):
        walk(BITS, MAX_OPERAND)


@pytest.mark.parametrize("value", [0, 1, (1 << 22) - 1, 1 << 22, (1 << 25) - 1])
def test_split(value: int) -> None:
    script = written(lambda writer: split(writer, 3), 1).script()
    assert accepts(script, [encode_num(value)], [value % (1 << 22), value >> 22])


@pytest.mark.parametrize("value", [-1, 1 << 25])
def test_split_shows_a_value_out_of_range(value: int) -> None:
    script = written(lambda writer: split(writer, 3), 1).script()
    low, high = left_by(script, [encode_num(value)]).numbers
    assert not 0 <= low < 1 << 22
    assert (high << 22) + low == value


@pytest.mark.parametrize("value", [0, 1, 3, 7, 0b10110111, P, (1 << 254) - 1])
def test_signed_digits(value: int) -> None:
    digits = signed_digits(value)
    assert sum(sign << position for position, sign in digits) == value
    assert all(after - before > 1 for (before, _), (after, _) in pairwise(digits))
    assert signed_digits(-value) == [(position, -sign) for position, sign in digits]


@pytest.mark.parametrize("value", [0, 1, -1, P - 1, -P, 1 << 260])
def test_limbs(value: int) -> None:
    limbs = to_limbs(value)
    assert from_limbs(limbs) == value
    assert all(0 <= limb < 1 << LIMB_BITS for limb in limbs[:-1])


def test_bounds() -> None:
    assert ZERO + ZERO == ZERO
    assert type(ZERO)((2,) * LIMBS, 5).scaled(-3) == type(ZERO)((6,) * LIMBS, 15)


@pytest.mark.parametrize("factor", [1, 2, 3, -1, -5, 12, 13, 100])
def test_multiples(factor: int) -> None:
    writer = written(lambda writer: writer.multiply(factor), 1)
    assert accepts(writer.script(), [encode_num(7)], [7 * factor])
    assert left_by(writer.script(), [encode_num(7)]).depth <= writer.most


@pytest.mark.parametrize("value", [0, 1, -1, 5, -5])
def test_numbers_are_added(value: int) -> None:
    writer = written(lambda writer: writer.add_number(value), 1)
    assert accepts(writer.script(), [encode_num(7)], [7 + value])
