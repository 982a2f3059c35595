"""Products in Fq and Fq2 without hints: values by Core's verdict, refusals, bounds and sizes."""

import random
from collections.abc import Sequence
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf.bn254.constants import CANONICAL, LIMBS, MAX_OPERAND, Bounds, P, from_limbs, to_limbs
from scripts_tapleaf.bn254.conversions import canonical
from scripts_tapleaf.bn254.product import Fragment, cut, cut_items, digit_count, multiply, multiply_cut
from scripts_tapleaf.bn254.reduction import LIMB_BOUND
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.script import OP_1, OP_FROMALTSTACK, ScriptError, push
from tests.bn254.limbs import (
    BALANCED,
    EDGES,
    HALF,
    accepts,
    balanced,
    completes,
    fetch_results,
    left_by,
    spread,
    witness,
)
from tests.core import spend_leaf

FIGURES = {
    (1, True, False): (21_449, 222),
    (2, True, False): (44_919, 390),
    (2, False, False): (44_799, 389),
    (1, True, True): (18_356, 221),
    (2, True, True): (38_733, 389),
}
"""(components, with an addend, zero check) → (bytes of script, most items)"""

residues = st.sampled_from(EDGES) | st.integers(0, P - 1)
pairs = st.tuples(residues, residues)


def fragment(components: int, *, addend: bool = True, is_zero: bool = False) -> Fragment:
    canonicals = (CANONICAL,) * components
    return multiply(canonicals, (BALANCED,) * components, canonicals if addend else (), is_zero=is_zero)


def items_of(a: Sequence[int], b: Sequence[int], addend: Sequence[int] = ()) -> list[bytes]:
    return witness(*map(to_limbs, addend), *map(balanced, b), *map(to_limbs, a))


def native(a: Sequence[int], b: Sequence[int], addend: Sequence[int]) -> list[int]:
    if len(a) == 1:
        return [(a[0] * b[0] + addend[0]) % P]
    real, imaginary = a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]
    return [(real + addend[0]) % P, (imaginary + addend[1]) % P]


def with_residues(found: Fragment) -> bytes:
    """The product and its results' residues, the first one uppermost."""
    writer = Writer()
    fetch_results(writer, len(found.results))
    for bounds in found.results:
        canonical(writer, bounds)
        writer.to_alt(LIMBS)
    writer.from_alt(writer.alt)
    return found.script + writer.script()


def expected(values: Sequence[int]) -> list[int]:
    """What `with_residues` leaves, the uppermost first."""
    return [limb for value in values for limb in to_limbs(value)]


@pytest.mark.parametrize("figures", FIGURES)
def test_sizes(figures: tuple[int, bool, bool]) -> None:
    components, addend, is_zero = figures
    found = fragment(components, addend=addend, is_zero=is_zero)
    assert (len(found.script), found.most) == FIGURES[figures]


@settings(max_examples=12)
@given(residues, residues, residues)
def test_fq(a: int, b: int, c: int) -> None:
    script = with_residues(fragment(1))
    assert accepts(script, items_of([a], [b], [c]), expected(native([a], [b], [c])))


@settings(max_examples=12)
@given(pairs, pairs, pairs)
def test_fq2(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> None:
    script = with_residues(fragment(2))
    assert accepts(script, items_of(a, b, c), expected(native(a, b, c)))


@pytest.mark.parametrize(("a", "b"), list(product([(0, 0), (1, 0), (0, 1), (P - 1, P - 1)], repeat=2)))
def test_fq2_at_the_edges(a: tuple[int, int], b: tuple[int, int]) -> None:
    for c in ((0, 0), (P - 1, P - 1)):
        assert accepts(with_residues(fragment(2)), items_of(a, b, c), expected(native(a, b, c)))


def test_a_wrong_result_is_refused() -> None:
    a, b, c = (5, P - 7), (1 << 200, 3), (P - 1, 1)
    right = native(a, b, c)
    script = with_residues(fragment(2))
    for part in range(2):
        wrong = [value + (index == part) for index, value in enumerate(right)]
        assert not accepts(script, items_of(a, b, c), expected(wrong))


def test_without_an_addend() -> None:
    a, b = (P - 2, P // 3), (P // 5, P - 1)
    assert accepts(with_residues(fragment(2, addend=False)), items_of(a, b), expected(native(a, b, [0, 0])))


@settings(max_examples=10)
@given(pairs, pairs, st.sampled_from([0, 1]), st.sampled_from([1, P - 1, 1 << 100, 1 << 240]))
def test_zero_checks(a: tuple[int, int], b: tuple[int, int], part: int, error: int) -> None:
    opposite = [-value % P for value in native(a, b, [0, 0])]
    script = fragment(2, is_zero=True).script
    assert completes(script, items_of(a, b, opposite), 0)
    opposite[part] = (opposite[part] + error) % P
    assert not completes(script, items_of(a, b, opposite), 0)


def wide(bounds: Bounds, rng: random.Random) -> list[int]:
    """Extreme limbs within bounds, the value too."""
    while True:
        limbs = [rng.choice([-limb, limb]) for limb in bounds.limbs]
        limbs[-1] = rng.randint(-bounds.limbs[-1], bounds.limbs[-1])
        if abs(from_limbs(limbs)) <= bounds.value:
            return limbs


SUMS = Bounds((HALF, *[LIMB_BOUND] * (LIMBS - 2), 3 * 0xC19), 3 * P)


@pytest.mark.parametrize("components", [1, 2])
def test_signed_operands_with_extreme_limbs_and_the_bounds_of_results(components: int) -> None:
    a_bounds, b_bounds, c_bounds = SUMS.scaled(3), SUMS if components == 1 else BALANCED, SUMS.scaled(4)
    found = multiply((a_bounds,) * components, (b_bounds,) * components, (c_bounds,) * components)
    rng = random.Random(components)
    for _ in range(6):
        c, b, a = ([wide(bounds, rng) for _ in range(components)] for bounds in (c_bounds, b_bounds, a_bounds))
        fetch = OP_FROMALTSTACK * (LIMBS * components)
        left = left_by(found.script + fetch, witness(*c, *b, *a))
        values = [list(map(from_limbs, element)) for element in (a, b, c)]
        parts = [left.numbers[::-1][start : start + LIMBS] for start in range(0, LIMBS * components, LIMBS)]
        assert [from_limbs(part) % P for part in reversed(parts)] == native(*values)
        for part, bounds in zip(reversed(parts), found.results, strict=True):
            assert all(abs(limb) <= most for limb, most in zip(part, bounds.limbs, strict=True))
            assert abs(from_limbs(part)) <= bounds.value
        assert left.depth <= found.most
        assert spend_leaf(found.script + OP_1, witness(*c, *b, *a))


SHARED = {1: (3_235, 18_214), 2: (6_651, 38_268)}
"""components → bytes of a cut and of a product with it, an addend included"""


@pytest.mark.parametrize("components", [1, 2])
def test_an_operand_is_cut_once_for_several_products(components: int) -> None:
    canonicals, balanced_ones = (CANONICAL,) * components, (BALANCED,) * components
    first = cut(canonicals)
    then = [multiply_cut(canonicals, balanced_ones, canonicals, is_last=is_last) for is_last in (False, True)]
    assert (len(first.script), len(then[1].script)) == SHARED[components]
    rng = random.Random(components)
    a, *others = ([rng.randrange(P) for _ in range(components)] for _ in range(5))
    pairs = [(others[0], others[1]), (others[2], others[3])]
    pushed = [b"".join(map(push, witness(*map(to_limbs, c), *map(balanced, b)))) for b, c in pairs]
    script = first.script + pushed[0] + then[0].script
    fetch = OP_FROMALTSTACK * (cut_items(canonicals) + LIMBS * components)
    kept = left_by(script + fetch, witness(*map(to_limbs, a))).numbers[-cut_items(canonicals) :]
    assert kept == left_by(first.script + fetch[: len(kept)], witness(*map(to_limbs, a))).numbers
    whole = with_residues(Fragment(script + pushed[1] + then[1].script, 0, then[0].results + then[1].results))
    right = [value for b, c in pairs for value in native(a, b, c)]
    assert accepts(whole, witness(*map(to_limbs, a)), expected(right))
    for part in range(len(right)):
        wrong = [value + (index == part) for index, value in enumerate(right)]
        assert not accepts(whole, witness(*map(to_limbs, a)), expected(wrong))


@pytest.mark.parametrize("limb", [0, 1, 6, LIMBS - 1])
@pytest.mark.parametrize("part", [0, 1])
def test_a_limb_of_the_cut_operand_out_of_range_fails(limb: int, part: int) -> None:
    """A digit chooses a depth in the stack: nothing but a digit may be taken for one."""
    script = fragment(2, addend=False).script
    for wrong in (1 << 25, -(1 << 25), MAX_OPERAND, -MAX_OPERAND):
        a = [to_limbs(7), to_limbs(P - 1)]
        a[part][limb] = wrong
        assert not spend_leaf(script + OP_1, witness(balanced(3), balanced(4), *a))


def test_any_operand_gives_the_right_product_or_fails() -> None:
    found, rng = fragment(1), random.Random(7)
    script = found.script + OP_FROMALTSTACK * LIMBS
    ended = 0
    for _ in range(20):
        a = [int(rng.uniform(-1, 1) * rng.choice([1, 1.5, 3]) * limb) for limb in CANONICAL.limbs]
        b = [int(rng.uniform(-1, 1) * rng.choice([1, 3, 30]) * limb) for limb in BALANCED.limbs]
        c = spread(rng.randrange(P), HALF, rng)
        if completes(script, witness(c, b, a), LIMBS):
            ended += 1
            result = from_limbs(left_by(script, witness(c, b, a)).numbers[::-1])
            assert (result - from_limbs(a) * from_limbs(b) - from_limbs(c)) % P == 0
    assert 0 < ended < 20


@pytest.mark.parametrize("a", [[-10], [10], [3]])
def test_a_small_operand(a: list[int]) -> None:
    bounds = Bounds((10, *[0] * (LIMBS - 1)), 10)
    script = with_residues(multiply((bounds,), (BALANCED,)))
    items = witness(balanced(P - 5), [*a, *[0] * (LIMBS - 1)])
    assert accepts(script, items, to_limbs(-5 * a[0] % P))


def test_digit_count() -> None:
    for value in (1, 2, 5, 6, 21, P):
        count = digit_count(value)
        assert (4**count - 1) // 3 >= value > (4 ** (count - 1) - 1) // 3


def test_operands_too_large_are_refused_when_the_script_is_written() -> None:
    with pytest.raises(ScriptError):
        multiply((CANONICAL,), (BALANCED.scaled(100),))
    with pytest.raises(ScriptError):
        multiply((CANONICAL,), (BALANCED,), (BALANCED.scaled(1 << 8),))
    with pytest.raises(ScriptError, match="digits"):
        multiply((Bounds(CANONICAL.limbs, P << 14),), (BALANCED,))


@pytest.mark.sweep
@pytest.mark.parametrize("components", [1, 2])
def test_many_products(components: int) -> None:
    rng, script = random.Random(3), with_residues(fragment(components))
    for _ in range(500):
        a, b, c = ([rng.choice([rng.choice(EDGES), rng.randrange(P)]) for _ in range(components)] for _ in range(3))
        assert accepts(script, items_of(a, b, c), expected(native(a, b, c)))
