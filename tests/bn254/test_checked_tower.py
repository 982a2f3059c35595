"""Checked products in Fq2 and Fq6: Core accepts what is congruent and nothing else."""

import random
from collections.abc import Sequence
from contextlib import suppress
from itertools import permutations, product

import pytest

from scripts_tapleaf.bn254.checked import MAX_REGISTER, Checked, fq2, fq6
from scripts_tapleaf.bn254.checked._limbs import LARGEST, to_limbs
from scripts_tapleaf.bn254.checked._pair import table_order
from scripts_tapleaf.bn254.checked._table import cost
from scripts_tapleaf.script import MAX_STACK_ITEMS, ScriptError, decode_num, encode_num
from tests.bn254.checking import EDGES, P, accepts, changed, leaves_the_rest, measured_stack, numbers, residues

Fq2 = tuple[int, int]
SHAPES = [(3, 3), (2, 3), (2, 2)]
SIZES = {(3, 3): (146_149, 788), (2, 3): (115_480, 728), (2, 2): (85_331, 668)}
"""Coefficients of the operands → bytes, most stack items."""
LIMBS = 10
LIMB = 1 << 25
EXTREMES = (LARGEST, LARGEST - P + 1)
"""The largest and the smallest representative."""


def times(x: Fq2, y: Fq2) -> Fq2:
    return (x[0] * y[0] - x[1] * y[1]) % P, (x[0] * y[1] + x[1] * y[0]) % P


def fq6_times(a: Sequence[Fq2], b: Sequence[Fq2]) -> list[Fq2]:
    """Schoolbook, v³ = 9 + u."""
    c = [(0, 0)] * 3
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            term = times(times(x, y), (9, 1) if i + j >= 3 else (1, 0))
            at = (i + j) % 3
            c[at] = (c[at][0] + term[0]) % P, (c[at][1] + term[1]) % P
    return c


def value(witness: Sequence[bytes], index: int) -> int:
    """The integer in the group of limbs with this index."""
    return sum(limb << 26 * at for at, limb in enumerate(numbers(witness, LIMBS * index, LIMBS)))


def pairs(seed: str, count: int) -> list[Fq2]:
    values = list(residues(seed, 2 * count))
    return list(zip(values[::2], values[1::2], strict=True))


def with_value(witness: Sequence[bytes], index: int, new: int) -> list[bytes]:
    limbs = [encode_num(limb) for limb in to_limbs(new, 26, LIMBS)]
    return [*witness[: LIMBS * index], *limbs, *witness[LIMBS * (index + 1) :]]


def spoilt(checked: Checked, witness: list[bytes], step: int) -> None:
    """Every `step`-th item, changed, is refused."""
    for index in range(0, len(witness), step):
        assert not accepts(checked, changed(witness, index, 1 if decode_num(witness[index]) < 0 else -1)), index


class TestFq2:
    def test_the_size_is_pinned(self) -> None:
        witness = fq2.mul_witness((3, 5), (7, 11))
        checked = fq2.mul()
        assert (len(checked.script), checked.max_stack, len(witness)) == (28_006, 508, 80)
        assert measured_stack(checked, witness) == checked.max_stack <= MAX_STACK_ITEMS

    def test_no_honest_product_overflows(self) -> None:
        assert 0.9 * MAX_REGISTER < fq2.mul().bound <= MAX_REGISTER

    def test_no_table_order_that_starts_with_b_is_cheaper(self) -> None:
        best = cost(table_order(), [(1, 0), (0, 1)], LIMBS)
        assert best == 125
        for inner, outer in product(permutations((1, 0, -1, -2)), repeat=2):
            if (inner[0], outer[0]) == (1, 0):
                with suppress(ScriptError):
                    assert cost(table_order(inner, outer), [(1, 0), (0, 1)], LIMBS) >= best

    def test_edge_values_are_accepted(self) -> None:
        source = random.Random("fq2 edges")
        for a0, b1 in product(EDGES, repeat=2):
            a, b = (a0, source.choice(EDGES)), (source.choice(EDGES), b1)
            witness = fq2.mul_witness(a, b)
            assert (value(witness, 0) % P, value(witness, 1) % P) == times(a, b)
            assert accepts(fq2.mul(), witness), (a, b)

    def test_extreme_representatives_are_accepted(self) -> None:
        for parts in product(EXTREMES, repeat=4):
            assert accepts(fq2.mul(), fq2.mul_witness(parts[:2], parts[2:]))

    def test_extreme_limbs_are_accepted(self) -> None:
        """Any limbs up to 2^25 that do not leave the range of the digits, though no integer has these by `to_limbs`."""
        extremes = [LIMB, -LIMB], [LIMB // 3, 1 << 18]
        for (a_low, a_sign), (b_low, b_sign) in product(product(extremes[0], (1, -1)), repeat=2):
            a = [a_low * a_sign**index for index in range(9)] + [1 << 17]
            b = [b_low * b_sign**index for index in range(9)] + [1 << 18]
            a_value, b_value = (sum(limb << 26 * at for at, limb in enumerate(limbs)) for limbs in (a, b))
            real, imaginary = 0, 2 * a_value * b_value
            groups = [
                to_limbs(real, 26, LIMBS),
                to_limbs(imaginary % P, 26, LIMBS),
                to_limbs(0, 26, LIMBS),
                to_limbs(imaginary // P, 26, LIMBS),
                *(b, b, a, a),
            ]
            assert accepts(fq2.mul(), [encode_num(limb) for group in groups for limb in group])

    def test_items_below_the_witness_are_left_alone(self) -> None:
        assert leaves_the_rest(fq2.mul(), fq2.mul_witness((P // 3, P // 5), (P // 7, P // 11)))

    def test_each_item_changed_is_refused(self) -> None:
        spoilt(fq2.mul(), fq2.mul_witness((P // 3, P // 5), (P // 7, P // 11)), 1)

    def test_parts_swapped_are_refused(self) -> None:
        witness = fq2.mul_witness((P // 3, P // 5), (P // 7, P // 11))
        swapped = [*witness[10:20], *witness[:10], *witness[30:40], *witness[20:30], *witness[40:]]
        assert not accepts(fq2.mul(), swapped)

    @pytest.mark.parametrize("index", [6, 7])
    def test_an_operand_beyond_its_digits_is_refused(self, index: int) -> None:
        """a = LARGEST is cut; one more is not, though the identity would hold for a result to match."""
        other = [0, 0]
        for a, accepted in ((LARGEST, True), (LARGEST + 1, False), (LARGEST - 2 * 4**127, False)):
            parts = [*other, *other, *other, *other]
            parts[index] = a
            witness = [encode_num(limb) for part in parts for limb in to_limbs(part, 26, LIMBS)]
            assert accepts(fq2.mul(), witness) == accepted

    @pytest.mark.parametrize("limb", [3 << 25, 1 << 27, (1 << 31) - 1, -(1 << 26), 1 - (1 << 31)])
    def test_a_limb_that_digits_cannot_hold_is_refused(self, limb: int) -> None:
        """b = 0, so that any a would do, if it could be cut."""
        witness = fq2.mul_witness((5, 6), (0, 0))
        assert accepts(fq2.mul(), witness)
        for index in (60, 65, 69, 70, 79):
            assert not accepts(fq2.mul(), [*witness[:index], encode_num(limb), *witness[index + 1 :]])

    @pytest.mark.sweep
    def test_thousands_of_products(self) -> None:
        for a, b in zip(pairs("fq2 a", 2_000), pairs("fq2 b", 2_000), strict=True):
            assert accepts(fq2.mul(), fq2.mul_witness(a, b)), (a, b)

    @pytest.mark.sweep
    def test_thousands_of_spoilt_products_prove_only_true_statements(self) -> None:
        source = random.Random("fq2 spoilt")
        for a, b in zip(pairs("fq2 c", 2_000), pairs("fq2 d", 2_000), strict=True):
            witness = fq2.mul_witness(a, b)
            for _ in range(source.randint(1, 3)):
                witness = changed(witness, source.randrange(80), source.choice((1, -1, 1 << 25, -(1 << 25), 12345)))
            r, q, x, y = ((value(witness, index), value(witness, index + 1)) for index in (0, 2, 4, 6))
            true = x[0] * y[0] - x[1] * y[1] == q[0] * P + r[0] and x[0] * y[1] + x[1] * y[0] == q[1] * P + r[1]
            assert not accepts(fq2.mul(), witness) or true


@pytest.mark.parametrize("shape", SHAPES)
class TestFq6:
    def test_the_size_is_pinned(self, shape: tuple[int, int]) -> None:
        checked = fq6.mul(*shape)
        witness = fq6.mul_witness(pairs("size", shape[0]), pairs("size", shape[1]))
        assert (len(checked.script), checked.max_stack) == SIZES[shape]
        assert measured_stack(checked, witness) == checked.max_stack <= MAX_STACK_ITEMS

    def test_no_honest_product_overflows(self, shape: tuple[int, int]) -> None:
        assert 0.9 * MAX_REGISTER < fq6.mul(*shape).bound <= MAX_REGISTER

    def test_random_and_edge_values_are_accepted(self, shape: tuple[int, int]) -> None:
        for seed in range(12):
            a, b = pairs(f"fq6 a {seed}", shape[0]), pairs(f"fq6 b {seed}", shape[1])
            witness = fq6.mul_witness(a, b)
            parts = [value(witness, index) % P for index in range(6)]
            assert parts == [part for pair in fq6_times(a, b) for part in pair]
            assert accepts(fq6.mul(*shape), witness), seed

    def test_extreme_operands_are_accepted(self, shape: tuple[int, int]) -> None:
        source = random.Random("fq6 extremes")
        for low in (0, 1, P - 1, *EXTREMES):
            assert accepts(fq6.mul(*shape), fq6.mul_witness([(low, low)] * shape[0], [(low, low)] * shape[1]))
        for _ in range(8):
            a, b = ([tuple(source.choices(EXTREMES, k=2)) for _ in range(terms)] for terms in shape)
            assert accepts(fq6.mul(*shape), fq6.mul_witness(a, b))  # type: ignore[arg-type]

    def test_items_below_the_witness_are_left_alone(self, shape: tuple[int, int]) -> None:
        assert leaves_the_rest(fq6.mul(*shape), fq6.mul_witness(pairs("k", shape[0]), pairs("l", shape[1])))

    def test_changed_items_are_refused(self, shape: tuple[int, int]) -> None:
        spoilt(fq6.mul(*shape), fq6.mul_witness(pairs("e", shape[0]), pairs("f", shape[1])), 7)

    def test_a_wrong_coefficient_is_refused_though_one_point_agrees(self, shape: tuple[int, int]) -> None:
        """c₀ + 1, c₁ − 1 leaves E(1) alone, c₀ + 1, c₂ − 1 leaves E(1) and E(−1): the other points see it."""
        witness = fq6.mul_witness(pairs("g", shape[0]), pairs("h", shape[1]))
        for index in (2, 4):
            wrong = with_value(witness, 0, value(witness, 0) + 1)
            assert not accepts(fq6.mul(*shape), with_value(wrong, index, value(witness, index) - 1))

    @pytest.mark.sweep
    def test_hundreds_of_products(self, shape: tuple[int, int]) -> None:
        for seed in range(300):
            a, b = pairs(f"fq6 many {seed}", shape[0]), pairs(f"fq6 more {seed}", shape[1])
            assert accepts(fq6.mul(*shape), fq6.mul_witness(a, b)), seed

    @pytest.mark.sweep
    def test_every_changed_item_is_refused(self, shape: tuple[int, int]) -> None:
        spoilt(fq6.mul(*shape), fq6.mul_witness(pairs("i", shape[0]), pairs("j", shape[1])), 1)


@pytest.mark.parametrize("shape", [(1, 3), (4, 3), (3, 0)])
def test_other_shapes_are_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ScriptError, match="expected 2 or 3"):
        fq6.mul(*shape)
    with pytest.raises(ScriptError, match="expected 2 or 3"):
        fq6.mul_witness([(1, 0)] * shape[0], [(1, 0)] * shape[1])
