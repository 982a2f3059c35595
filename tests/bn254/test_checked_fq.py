"""Checked products in Fq: Core accepts what is congruent and nothing else."""

import random
from itertools import product

import pytest

from scripts_tapleaf.bn254.checked import MAX_REGISTER, fq
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import MAX_STACK_ITEMS, OP_1, ScriptError, encode_num
from tests.bn254.checking import (
    EDGES,
    P,
    accepts,
    changed,
    largest_number,
    leaves_the_rest,
    measured_stack,
    numbers,
    residues,
)

R, Q, B, DIGITS = 0, 10, 20, 30
"""Where the groups of the witness of `mul` start."""
MUL_ITEMS = 94
LIMB = 1 << 25


def value(limbs: list[int]) -> int:
    return sum(limb << 26 * index for index, limb in enumerate(limbs))


def digits_value(digits: list[int]) -> int:
    return sum((digit - 8) << 4 * index for index, digit in enumerate(digits))


def decoded(witness: list[bytes]) -> tuple[int, int, int, int]:
    """a, b, q, r of a witness of `mul`, as the script takes them."""
    r, q, b = (value(numbers(witness, start, 10)) for start in (R, Q, B))
    return digits_value(numbers(witness, DIGITS, 64)), b, q, r


def mul_of(digits: list[int], b_limbs: list[int]) -> list[bytes]:
    """The witness of digits and limbs as they are; r and q follow."""
    a, b = digits_value(digits), value(b_limbs)
    r = a * b % P
    limbs = [
        *fq.to_limbs(r, 26, 10),
        *fq.to_limbs((a * b - r) // P, 26, 10),
        *b_limbs,
    ]
    return [encode_num(number) for number in [*limbs, *digits]]


def test_the_size_of_a_product_is_pinned() -> None:
    hinted, given = fq.mul(), fq.mul(digits_in_range=True)
    assert (len(hinted.script), hinted.max_stack) == (7_652, 272)
    assert (len(given.script), given.max_stack) == (7_460, 272)
    witness = fq.mul_witness(3, 5)
    assert len(witness) == MUL_ITEMS
    assert measured_stack(hinted, witness) == measured_stack(given, witness) == hinted.max_stack <= MAX_STACK_ITEMS


def test_no_honest_product_overflows() -> None:
    assert 0.97 * MAX_REGISTER < fq.mul().bound <= MAX_REGISTER


@pytest.mark.parametrize("in_range", [False, True])
def test_products_of_edge_values_are_accepted(in_range: bool) -> None:
    for a, b in product(EDGES, repeat=2):
        witness = fq.mul_witness(a, b)
        assert decoded(witness)[3] % P == a * b % P
        assert accepts(fq.mul(digits_in_range=in_range), witness), (a, b)


def test_extreme_digits_and_limbs_are_accepted() -> None:
    top = 1 << 18
    for digit, low, high in product((0, 15), (-LIMB, LIMB), (-top, top)):
        assert accepts(fq.mul(), mul_of([digit] * 64, [low] * 9 + [high]))
    for digit, sign in product((0, 15), (1, -1)):
        alternating = [sign * LIMB * (-1) ** index for index in range(9)]
        assert accepts(fq.mul(), mul_of([digit, 15 - digit] * 32, [*alternating, top]))


def test_the_bound_holds_and_is_nearly_reached() -> None:
    digits, limbs = [0] * 64, [-LIMB] * 9 + [-(1 << 18)]
    assert 0.8 * fq.mul().bound < largest_number(fq.mul(), mul_of(digits, limbs)) <= fq.mul().bound


def test_items_below_the_witness_are_left_alone() -> None:
    assert leaves_the_rest(fq.mul(), fq.mul_witness(P // 3, P // 7))
    for signs in COMBINATIONS:
        assert leaves_the_rest(fq.combination(signs), fq.combination_witness(signs, [(P // 3, P // 7)] * len(signs)))


def test_any_representative_of_the_result_will_do() -> None:
    a, b = 1234567890123, P - 98765
    witness = fq.mul_witness(a, b)
    _, _, q, r = decoded(witness)
    for shift in (-1, 1):
        limbs = [*fq.to_limbs(r + shift * P, 26, 10), *fq.to_limbs(q - shift, 26, 10)]
        assert accepts(fq.mul(), [*map(encode_num, limbs), *witness[B:]])


@pytest.mark.parametrize("in_range", [False, True])
def test_one_changed_item_is_refused(in_range: bool) -> None:
    witness = fq.mul_witness(P // 3, P // 7)
    for index in range(MUL_ITEMS):
        by = 1 if numbers(witness, index, 1) != [15] else -1
        assert not accepts(fq.mul(digits_in_range=in_range), changed(witness, index, by)), index


def test_a_wrong_result_with_any_quotient_is_refused() -> None:
    a, b = P // 3, P // 7
    witness = fq.mul_witness(a, b)
    _, _, q, r = decoded(witness)
    for error, shift in product((1, -1, 1 << 26, 1 << 253, P // 2), (-1, 0, 1)):
        limbs = [*fq.to_limbs(r + error, 26, 10), *fq.to_limbs(q + shift, 26, 10)]
        assert not accepts(fq.mul(), [*map(encode_num, limbs), *witness[B:]])


@pytest.mark.parametrize("digit", [16, 17, 255, 1 << 20, (1 << 31) - 1, -16, -200])
def test_a_digit_out_of_range_reads_no_other_item(digit: int) -> None:
    """The identity holds for the digit itself, but it counts as 15."""
    witness = mul_of([digit] + [9] * 63, [7] * 10)
    assert not accepts(fq.mul(), witness)
    clamped = mul_of([15] + [9] * 63, [7] * 10)
    assert accepts(fq.mul(), [*clamped[:DIGITS], encode_num(digit), *clamped[DIGITS + 1 :]])


def test_a_digit_of_five_bytes_is_refused() -> None:
    witness = fq.mul_witness(0, 5)
    for index in (DIGITS, DIGITS + 63):
        assert not accepts(fq.mul(), [*witness[:index], b"\x01\x00\x00\x00\x01", *witness[index + 1 :]])


def test_a_missing_item_is_refused() -> None:
    witness = fq.mul_witness(3, 5)
    assert not accepts(fq.mul(), witness[1:])
    assert not accepts(fq.mul(), [b"", *witness])


COMBINATIONS = [(1, 1), (1, -1), (1, 1, 1, 1), (1, -1, -1, 1), (-1, -1, -1, -1)]
COMBINATION_SIZES = {(1, 1): (17_737, 340), (1, 1, 1, 1): (35_010, 651)}
"""Signs → bytes, most stack items."""
WIDTHS = {2: (26, 10), 4: (24, 11)}


def pairs_of(values: list[int]) -> list[tuple[int, int]]:
    return list(zip(values[::2], values[1::2], strict=True))


def total(signs: tuple[int, ...], pairs: list[tuple[int, int]]) -> int:
    return sum(sign * a * b for sign, (a, b) in zip(signs, pairs, strict=True))


def combination_values(signs: tuple[int, ...], witness: list[bytes]) -> list[int]:
    """r, q, all b, all a."""
    width, count = WIDTHS[len(signs)]
    groups = [numbers(witness, start, count) for start in range(0, len(witness), count)]
    return [sum(limb << width * at for at, limb in enumerate(limbs)) for limbs in groups]


@pytest.mark.parametrize("signs", COMBINATION_SIZES)
def test_the_size_of_a_combination_is_pinned(signs: tuple[int, ...]) -> None:
    checked = fq.combination(signs)
    assert (len(checked.script), checked.max_stack) == COMBINATION_SIZES[signs]
    witness = fq.combination_witness(signs, [(3, 5)] * len(signs))
    assert measured_stack(checked, witness) == checked.max_stack <= MAX_STACK_ITEMS


@pytest.mark.parametrize("signs", COMBINATIONS)
def test_no_honest_combination_overflows(signs: tuple[int, ...]) -> None:
    assert fq.combination(signs).bound <= MAX_REGISTER


@pytest.mark.parametrize("signs", COMBINATIONS)
def test_combinations_are_accepted(signs: tuple[int, ...]) -> None:
    for seed in range(40):
        pairs = pairs_of(list(residues(f"{signs} {seed}", 2 * len(signs))))
        witness = fq.combination_witness(signs, pairs)
        assert combination_values(signs, witness)[0] % P == total(signs, pairs) % P
        assert accepts(fq.combination(signs), witness), pairs


@pytest.mark.parametrize("signs", COMBINATIONS)
def test_extreme_combinations_are_accepted(signs: tuple[int, ...]) -> None:
    largest = (4**127 - 1) // 3
    for extremes in product((largest, largest - P + 1), repeat=4):
        pairs = pairs_of([*extremes, *extremes][: 2 * len(signs)])
        assert accepts(fq.combination(signs), fq.combination_witness(signs, pairs))


@pytest.mark.parametrize("signs", COMBINATIONS)
def test_extreme_limbs_of_a_combination_are_accepted(signs: tuple[int, ...]) -> None:
    width, count = WIDTHS[len(signs)]
    half = 1 << width - 1
    for a_low, b_low in product((half, -half), repeat=2):
        a = [a_low] * (count - 1) + [1 << 252 - width * (count - 1) - 1]
        b = [b_low] * (count - 1) + [1 << 252 - width * (count - 1)]
        a_value, b_value = (sum(limb << width * at for at, limb in enumerate(limbs)) for limbs in (a, b))
        r = sum(signs) * a_value * b_value % P
        groups = [fq.to_limbs(r, width, count), fq.to_limbs((sum(signs) * a_value * b_value - r) // P, width, count)]
        numbers_in = [limb for group in (*groups, *[b] * len(signs), *[a] * len(signs)) for limb in group]
        assert accepts(fq.combination(signs), [encode_num(number) for number in numbers_in])


@pytest.mark.parametrize("signs", COMBINATIONS)
def test_one_changed_item_of_a_combination_is_refused(signs: tuple[int, ...]) -> None:
    pairs = [(P // (3 + index), P // (17 + index)) for index in range(len(signs))]
    witness = fq.combination_witness(signs, pairs)
    for index in range(len(witness)):
        by = -1 if numbers(witness, index, 1)[0] > 0 else 1
        assert not accepts(fq.combination(signs), changed(witness, index, by)), index


def test_signs_and_their_order_count() -> None:
    pairs = [(P // (3 + index), P // (17 + index)) for index in range(4)]
    witness = fq.combination_witness((1, -1, -1, 1), pairs)
    for signs in product((1, -1), repeat=4):
        assert accepts(fq.combination(signs), witness) == (signs == (1, -1, -1, 1))


@pytest.mark.parametrize("signs", [(), (1,), (1, 1, 1), (1, 0), (2, 1), (1,) * 6])
def test_other_combinations_are_refused(signs: tuple[int, ...]) -> None:
    with pytest.raises(ScriptError, match="expected 2 or 4 of 1 and -1"):
        fq.combination(signs)
    with pytest.raises(ScriptError, match="expected 2 or 4 of 1 and -1"):
        fq.combination_witness(signs, [(1, 1)] * len(signs))


def test_a_value_with_too_few_limbs_is_refused() -> None:
    with pytest.raises(ScriptError, match="more limbs are needed"):
        fq.to_limbs(1 << 265, 26, 10)


@pytest.mark.sweep
@pytest.mark.parametrize("signs", COMBINATIONS)
def test_hundreds_of_combinations(signs: tuple[int, ...]) -> None:
    source = random.Random(str(signs))
    for seed in range(500):
        pairs = pairs_of(list(residues(f"many {signs} {seed}", 2 * len(signs))))
        witness = fq.combination_witness(signs, pairs)
        assert accepts(fq.combination(signs), witness), pairs
        wrong = changed(witness, source.randrange(len(witness)), source.choice((1, -1, 1 << 20, -12345)))
        r, q, *rest = combination_values(signs, wrong)
        b, a = rest[: len(signs)], rest[len(signs) :]
        true = total(signs, list(zip(a, b, strict=True))) == q * P + r
        assert true or not accepts(fq.combination(signs), wrong)


@pytest.mark.sweep
def test_thousands_of_products() -> None:
    values = list(residues("fq", 4_000))
    for a, b in zip(values[::2], values[1::2], strict=True):
        assert accepts(fq.mul(), fq.mul_witness(a, b)), (a, b)


@pytest.mark.sweep
def test_thousands_of_spoilt_products_prove_only_true_statements() -> None:
    source = random.Random("fq spoilt")
    for a, b in zip(residues("fq a", 3_000), residues("fq b", 3_000), strict=True):
        witness = fq.mul_witness(a, b)
        for _ in range(source.randint(1, 3)):
            witness = changed(witness, source.randrange(DIGITS), source.choice((1, -1, 1 << 26, -(1 << 26), 12345)))
        x, y, q, r = decoded(witness)
        assert accepts(fq.mul(), witness) == (x * y == q * P + r)


def test_the_debugger_agrees() -> None:
    witness = fq.mul_witness(P - 1, P - 1)
    assert run(fq.mul().script + OP_1, witness).ok
    assert not run(fq.mul().script + OP_1, changed(witness, Q, 1)).ok
