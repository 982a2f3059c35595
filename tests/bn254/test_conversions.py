"""Conversions of field elements between their forms: values, refusals, bounds and sizes."""

import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts_tapleaf.bn254.constants import CANONICAL, LIMB_BITS, LIMBS, MAX_OPERAND, Bounds, P, from_limbs, to_limbs
from scripts_tapleaf.bn254.conversions import (
    RAW_BITS,
    RAW_LIMBS,
    any_limb,
    balance,
    below_prime,
    canonical,
    expand,
)
from scripts_tapleaf.bn254.reduction import LIMB_BOUND
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.script import ScriptError, encode_num
from tests.bn254.limbs import EDGES, HALF, accepts, completes, left_by, spread, witness, written

R = 21888242871839275222246405745257275088548364400416034343698204186575808495617
"""The order of the curve's group."""
PRODUCT = Bounds((HALF, *[LIMB_BOUND] * (LIMBS - 2), 0xC19 * 2 // 3), P * 2 // 3)
"""A result of a product."""
BASE = 1 << LIMB_BITS
SIZES = {
    "balance": 212,
    "balance 2 sums": 286,
    "balance 8 sums": 990,
    "expand 254": 2_821,
    "expand 256": 2_856,
    "canonical product": 534,
    "canonical sum": 977,
    "below_prime": 69,
    "any_limb": 11,
}
PARTS: dict[str, tuple[Callable[[Writer], object], int]] = {
    "balance": (lambda writer: balance(writer, CANONICAL), LIMBS),
    "balance 2 sums": (lambda writer: balance(writer, CANONICAL + CANONICAL), LIMBS),
    "balance 8 sums": (lambda writer: balance(writer, CANONICAL.scaled(8)), LIMBS),
    "expand 254": (expand, RAW_LIMBS),
    "expand 256": (lambda writer: expand(writer, 256), RAW_LIMBS),
    "canonical product": (lambda writer: canonical(writer, PRODUCT), LIMBS),
    "canonical sum": (lambda writer: canonical(writer, PRODUCT + PRODUCT), LIMBS),
    "below_prime": (lambda writer: below_prime(writer, P), RAW_LIMBS),
    "any_limb": (any_limb, LIMBS),
}

residues = st.sampled_from(EDGES) | st.integers(0, P - 1)
seeds = st.integers(0, 2**32)


def raw(value: int) -> list[int]:
    """Limbs of 29 bits; the last one takes all that is left."""
    return [value >> RAW_BITS * limb & (1 << RAW_BITS) - 1 for limb in range(RAW_LIMBS - 1)] + [value >> 232]


def extreme(bounds: Bounds, rng: random.Random) -> list[int]:
    return [rng.choice([-limb, -limb // 2, 0, 1, limb // 3, limb]) for limb in bounds.limbs]


@pytest.mark.parametrize("name", PARTS)
def test_sizes(name: str) -> None:
    part, height = PARTS[name]
    assert len(written(part, height).script()) == SIZES[name]


@pytest.mark.parametrize("name", PARTS)
def test_nothing_below_is_touched_and_the_height_is_known(name: str) -> None:
    part, height = PARTS[name]
    writer = written(part, height + 2)
    items = [encode_num(77), encode_num(-5), *witness([0] * height)]
    left = left_by(writer.script(), items)
    assert left.numbers[-2:] == [-5, 77]
    assert len(left.numbers) == writer.height
    assert left.depth <= writer.most
    assert writer.alt == 0


@pytest.mark.parametrize("factor", [1, 2, 3, 8, 250])
def test_balance(factor: int) -> None:
    bounds, rng = CANONICAL.scaled(factor), random.Random(factor)
    writer = Writer(LIMBS)
    after = balance(writer, bounds)
    for _ in range(20):
        limbs = extreme(bounds, rng)
        found = left_by(writer.script(), witness(limbs)).numbers
        assert from_limbs(found) == from_limbs(limbs)
        assert all(abs(limb) <= HALF for limb in found[:-1])
        assert all(abs(limb) <= most for limb, most in zip(found[:-1], after.limbs, strict=False))
        assert accepts(writer.script(), witness(limbs), found)


def test_balance_bounds_the_top_limb_by_the_value() -> None:
    after = balance(Writer(LIMBS), CANONICAL.scaled(8))
    assert after.limbs[-1] <= 8 * CANONICAL.limbs[-1] + 9
    loose = Bounds((*CANONICAL.limbs[:-1], MAX_OPERAND // 2), P)
    assert balance(Writer(LIMBS), loose).limbs[-1] <= CANONICAL.limbs[-1] + 2


def test_balance_is_exact_beyond_its_bounds() -> None:
    script = written(PARTS["balance"][0], LIMBS).script()
    limbs = [MAX_OPERAND - HALF, *[-MAX_OPERAND + 2 * HALF] * (LIMBS - 2), 3]
    assert from_limbs(left_by(script, witness(limbs)).numbers) == from_limbs(limbs)


@pytest.mark.parametrize("limb", [0, 5, LIMBS - 1])
def test_balance_refuses_limbs_near_the_limit(limb: int) -> None:
    limbs = [BASE] * LIMBS
    limbs[limb] = MAX_OPERAND
    with pytest.raises(ScriptError, match="balance"):
        balance(Writer(LIMBS), Bounds(tuple(limbs), P))


@pytest.mark.parametrize("bits", [254, 256])
def test_expand(bits: int) -> None:
    script = written(lambda writer: expand(writer, bits), RAW_LIMBS).script()
    values = [0, 1, (1 << bits) - 1, P - 1, *(1 << bit for bit in range(0, bits, 5))]
    values += [random.Random(bits).getrandbits(bits) for _ in range(10)]
    for value in values:
        assert accepts(script, witness(raw(value)), to_limbs(value))


@pytest.mark.parametrize("limb", range(RAW_LIMBS))
@pytest.mark.parametrize("bits", [254, 256])
def test_expand_refuses_a_limb_out_of_range(limb: int, bits: int) -> None:
    script = written(lambda writer: expand(writer, bits), RAW_LIMBS).script()
    size = min(RAW_BITS, bits - RAW_BITS * limb)
    for rest in ([0] * RAW_LIMBS, raw((1 << bits) - 1)):
        for wrong in (-1, 1 << size, (1 << size) + 1, MAX_OPERAND, -MAX_OPERAND):
            limbs = [*rest[:limb], wrong, *rest[limb + 1 :]]
            assert not completes(script, witness(limbs), LIMBS)
        limbs = [*rest[:limb], (1 << size) - 1, *rest[limb + 1 :]]
        assert completes(script, witness(limbs), LIMBS)


def test_expand_shortens_encodings() -> None:
    script = written(expand, RAW_LIMBS).script()
    items = [element + b"\0" if len(element) in (1, 2) else element for element in witness([5, 300] * 4 + [5])]
    plain = left_by(script, witness([5, 300] * 4 + [5]))
    assert left_by(script, items) == plain
    assert accepts(script, items, plain.numbers)


def canonical_writer(bounds: Bounds) -> Writer:
    return written(lambda writer: canonical(writer, bounds), LIMBS)


@given(residues, st.booleans(), seeds)
def test_canonical_of_products(value: int, negative: bool, seed: int) -> None:
    if value > PRODUCT.value or negative:
        value -= P
    if -value > PRODUCT.value:
        value += P // 2
    limbs = spread(value, HALF if seed % 2 else LIMB_BOUND, random.Random(seed))
    assert accepts(canonical_writer(PRODUCT).script(), witness(limbs), to_limbs(value % P))


@given(residues, residues, st.sampled_from([1, -1]), st.sampled_from([1, -1]))
def test_canonical_of_sums(one: int, two: int, first: int, second: int) -> None:
    limbs = [first * x + second * y for x, y in zip(to_limbs(one), to_limbs(two), strict=True)]
    script = canonical_writer(CANONICAL + CANONICAL).script()
    assert accepts(script, witness(limbs), to_limbs((first * one + second * two) % P))


@pytest.mark.parametrize("value", [-2 * P + 2, -P - 1, -P, -P + 1, -1, 0, 1, P - 1, P, P + 1, 2 * P - 2])
def test_canonical_at_multiples_of_p(value: int) -> None:
    bounds = CANONICAL + CANONICAL
    for seed in range(5):
        limbs = spread(value, 2 * BASE - 2, random.Random(seed))
        assert accepts(canonical_writer(bounds).script(), witness(limbs), to_limbs(value % P))


@pytest.mark.parametrize("bounds", [PRODUCT, CANONICAL, PRODUCT + PRODUCT], ids=["product", "canonical", "sum"])
def test_canonical_leaves_the_residue_or_fails_beyond_its_bounds(bounds: Bounds) -> None:
    """Any limbs at all: where the script runs to its end it has left the one right answer."""
    script, rng = canonical_writer(bounds).script(), random.Random(1)
    for _ in range(60):
        limbs = [int(rng.choice([1, 1, 1.2, 2.5, 8]) * rng.uniform(-1, 1) * (limb + 1)) for limb in bounds.limbs]
        items, left = witness(limbs), to_limbs(from_limbs(limbs) % P)
        assert accepts(script, items, left) == completes(script, items, LIMBS)


@pytest.mark.parametrize("value", [2 * P, 3 * P, -P - 1, -2 * P, P, 2 * P - 1])
def test_canonical_fails_for_a_value_that_bounds_exclude(value: int) -> None:
    script = canonical_writer(PRODUCT).script()
    assert not completes(script, witness(spread(value, HALF, random.Random(0))), LIMBS)


@pytest.mark.parametrize("limb", range(LIMBS))
def test_canonical_fails_for_a_limb_that_bounds_exclude(limb: int) -> None:
    script = canonical_writer(PRODUCT).script()
    for wrong in (3 * BASE, -3 * BASE, MAX_OPERAND, -MAX_OPERAND):
        limbs = [0] * LIMBS
        limbs[limb] = wrong
        assert not completes(script, witness(limbs), LIMBS)


def test_canonical_refuses_values_of_2p() -> None:
    with pytest.raises(ScriptError, match="canonical"):
        canonical_writer(Bounds(PRODUCT.limbs, 2 * P))


@pytest.mark.parametrize("modulus", [P, R])
def test_below_prime(modulus: int) -> None:
    script = written(lambda writer: below_prime(writer, modulus), RAW_LIMBS).script()
    near = [modulus + (step << RAW_BITS * limb) for limb in range(RAW_LIMBS) for step in (-1, 0, 1)]
    far = [0, 1, (1 << 254) - 1, (1 << 256) - 1, 1 << 256, (MAX_OPERAND << 232) + 5]
    for value in near + far:
        assert accepts(script, witness(raw(value)), [int(value < modulus)])


def test_any_limb() -> None:
    script = written(any_limb, LIMBS).script()
    assert accepts(script, witness([0] * LIMBS), [0])
    for limb in range(LIMBS):
        for value in (1, -1, LIMB_BOUND):
            assert accepts(script, witness([0] * limb + [value] + [0] * (LIMBS - 1 - limb)), [1])


@given(seeds)
def test_zero_has_one_representation_within_the_bounds_of_products(seed: int) -> None:
    assert spread(0, LIMB_BOUND, random.Random(seed)) == [0] * LIMBS
