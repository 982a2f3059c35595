"""Limbs as witness items and back, Core's verdict on scripts that leave limbs, and the debugger to read them."""

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS, Bounds, P, to_limbs
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import (
    OP_1,
    OP_DROP,
    OP_FROMALTSTACK,
    OP_NUMEQUALVERIFY,
    ROLLS,
    decode_num,
    encode_num,
    num,
)
from tests.core import spend_leaf

HALF = 1 << LIMB_BITS - 1
BALANCED = Bounds((*[HALF] * (LIMBS - 1), (P >> LIMB_BITS * (LIMBS - 1)) + 1), P)
"""A residue in limbs from −2^21 to 2^21."""
EDGES = [0, 1, 2, P - 1, P - 2, P // 2, P // 2 + 1, (1 << 253) - 1, 1 << 253, (1 << 242) - 1, 1 << 242]


def witness(*elements: Sequence[int]) -> list[bytes]:
    """Items of elements in limbs, limb 0 uppermost, the last element on top."""
    return [encode_num(limb) for element in elements for limb in reversed(element)]


def spread(value: int, most: int, rng: random.Random) -> list[int]:
    """Limbs of a value, each but the top one at random among those of magnitude `most` or less; most ≥ 2^21."""
    limbs = to_limbs(value)
    for index in range(LIMBS - 1):
        least = -((most - limbs[index]) >> LIMB_BITS)
        carry = rng.randint(least, limbs[index] + most >> LIMB_BITS)
        limbs[index] -= carry << LIMB_BITS
        limbs[index + 1] += carry
    return limbs


def balanced(value: int) -> list[int]:
    return spread(value, HALF, random.Random(value))


def written(part: Callable[[Writer], object], height: int) -> Writer:
    """What a part writes on top of so many items."""
    writer = Writer(height)
    part(writer)
    return writer


class Left(NamedTuple):
    """The numbers that a script leaves on the main stack, the uppermost first, and how high the stacks were."""

    numbers: list[int]
    depth: int


def left_by(script: bytes, items: list[bytes]) -> Left:
    """The script must not fail."""
    result = run(script + OP_1, items)
    assert result.error is None or "FALSE" not in result.error
    assert result.opcode is None, result
    return Left([decode_num(item, max_size=5) for item in reversed(result.stack[:-1])], result.max_depth - 1)


def accepts(script: bytes, items: list[bytes], left: Sequence[int]) -> bool:
    """Does Core find that the script leaves these numbers, the uppermost first, and nothing else?"""
    checks = b"".join(num(value) + OP_NUMEQUALVERIFY for value in left)
    return spend_leaf(script + checks + OP_1, items)


def completes(script: bytes, items: list[bytes], height: int) -> bool:
    """Does the script run to its end and leave `height` items, whatever they are?"""
    return spend_leaf(script + OP_DROP * height + OP_1, items)


def fetch_results(writer: Writer, count: int) -> None:
    """Elements on the altstack, the top limb of each first: to the main stack, limb 0 uppermost, the last one first."""
    for _ in range(count):
        writer.write(OP_FROMALTSTACK * LIMBS, grows=LIMBS)
        for depth in range(1, LIMBS):
            writer.write(ROLLS[depth])
