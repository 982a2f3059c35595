"""Constant linear combinations: values by Core's verdict, bounds, refusals and sizes."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf.bn254.combination import combine
from scripts_tapleaf.bn254.constants import CANONICAL, LIMBS, Bounds, P, from_limbs, to_limbs
from scripts_tapleaf.script import OP_FROMALTSTACK, ScriptError
from tests.bn254.limbs import BALANCED, EDGES, balanced, completes, left_by, witness

_RNG = random.Random(254)
A, B, C, D = (_RNG.randrange(P) for _ in range(4))
Rows = tuple[tuple[int, ...], ...]
CASES: dict[str, tuple[Rows, tuple[int, ...], tuple[int, int]]] = {
    "identity": (((1,),), (0,), (3_743, 44)),
    "small": (((9, -1), (1, 9)), (0, 0), (7_732, 68)),
    "large": (((A,),), (0,), (7_723, 45)),
    "plus one": (((1,),), (1,), (3_744, 44)),
    "mixed": (((A, B, 1, 0), (-B, A, 0, -1)), (C, D), (24_928, 93)),
    "constant": (((0,),), (A,), (3_792, 44)),
    "nothing": (((0,),), (0,), (3_667, 44)),
}
"""Rows, constants, and (bytes of script, most items) for residues in canonical limbs."""

elements = st.lists(st.sampled_from(EDGES) | st.integers(0, P - 1), min_size=4, max_size=4)


def results_of(script: bytes, items: list[bytes], count: int) -> tuple[list[list[int]], int]:
    left = left_by(script + OP_FROMALTSTACK * (LIMBS * count), items)
    limbs = left.numbers[::-1]
    return [limbs[LIMBS * index :][:LIMBS] for index in reversed(range(count))], left.depth


@pytest.mark.parametrize("name", CASES)
def test_sizes(name: str) -> None:
    rows, constants, figures = CASES[name]
    found = combine(rows, constants, (CANONICAL,) * len(rows[0]))
    assert (len(found.script), found.most) == figures


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("bounds", [CANONICAL, BALANCED.scaled(3)], ids=["canonical", "sums"])
@settings(max_examples=8)
@given(values=elements)
def test_values_and_bounds(name: str, bounds: Bounds, values: list[int]) -> None:
    rows, constants, _ = CASES[name]
    values = values[: len(rows[0])]
    limbs = list(map(to_limbs, values))
    if bounds != CANONICAL:
        limbs = [[3 * limb for limb in balanced(value)] for value in values]
    found = combine(rows, constants, (bounds,) * len(values))
    items = witness(*limbs)
    results, depth = results_of(found.script, items, len(rows))
    for result, row, constant, limit in zip(results, rows, constants, found.results, strict=True):
        sums = sum(factor * from_limbs(value) for factor, value in zip(row, limbs, strict=True))
        assert (from_limbs(result) - sums - constant) % P == 0
        assert abs(from_limbs(result)) <= limit.value < P
        assert all(abs(limb) <= most for limb, most in zip(result, limit.limbs, strict=True))
    assert depth <= found.most
    assert completes(found.script + OP_FROMALTSTACK * (LIMBS * len(rows)), items, LIMBS * len(rows))


def test_reduced_coefficients_are_equal_to_their_residues() -> None:
    assert combine(((A - P,),), (P,), (CANONICAL,)).script == combine(((A,),), (0,), (CANONICAL,)).script


def test_refusals() -> None:
    with pytest.raises(ScriptError, match="combine"):
        combine(((1, 2),), (0,), (CANONICAL,))
    with pytest.raises(ScriptError, match="combine"):
        combine(((1,),), (0, 0), (CANONICAL,))
    with pytest.raises(ScriptError, match="reduction"):
        combine(((A,),), (0,), (CANONICAL.scaled(100),))
