"""Checked products in Fq."""

from collections.abc import Sequence
from functools import cache
from typing import Final

from scripts_tapleaf.bn254.checked._checked import Checked, finish
from scripts_tapleaf.bn254.checked._cut import DIGITS, Cutter
from scripts_tapleaf.bn254.checked._limbs import (
    MAGNITUDE,
    limb_bounds,
    representative,
    to_limbs,
    witness,
)
from scripts_tapleaf.bn254.checked._stack import Item, Stack, new_items
from scripts_tapleaf.bn254.checked._table import build
from scripts_tapleaf.bn254.checked._walk import Identity, Linear, Lookup, walk
from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.script import OP_ABS, OP_MIN, OP_PICK, ScriptError, num

WIDTH: Final = 26
LIMBS: Final = 10
NIBBLES: Final = 64
_LOWEST: Final = -8
_ORDER: Final = [(d,) for d in (1, -1, -2, 2, 4, -4, -8, 0, 3, -3, -6, 6, 5, -5, -7, 7)]
"""Multiples of b in an order, found by search, in which each comes cheaply from a near one."""
_A_MAGNITUDE: Final = -_LOWEST * (16**NIBBLES - 1) // 15


_DIGIT_ORDER: Final = (0, 1, -1, -2)
_PAIR_ORDER: Final = [(d0, d1) for d1 in _DIGIT_ORDER for d0 in _DIGIT_ORDER]
"""Multiples of a pair of operands, likewise, and so that each digit has its own part of the place."""
_SHAPES: Final = {2: (26, 10), 4: (24, 11)}
"""Products in a combination → width and number of limbs: the widest that cannot overflow."""
JOINT_DIGITS: Final = 127


@cache
def mul(*, digits_in_range: bool = False) -> Checked:
    """a·b = r mod p, with a in digits: 64 numbers d of 0 to 15, a = Σ (d_i − 8)·16^i.

    Witness, deepest first: r (10 limbs of 26 bits), q (10 limbs), b (10 limbs), the digits; each the least significant
    first. See `mul_witness`.

    Sound: digits count as min(|d|, 15), so each leads to an entry of the table, and the walk proves a·b = q·p + r over
    the integers for whatever the limbs encode. With `digits_in_range` that forcing is left out, 3 bytes a digit: only
    for digits that the script has made or checked itself.

    Never overflows on a witness of `mul_witness`, or on any digits and on limbs up to 2^25: see `Checked.bound`.
    """
    r, q, b, digits = new_items(LIMBS), new_items(LIMBS), new_items(LIMBS), new_items(NIBBLES)
    stack = Stack([*r, *q, *b, *digits])
    for _ in digits:
        stack.to_alt()
    table = build(stack, _ORDER, {(1,): b})
    b_bounds = limb_bounds(MAGNITUDE, WIDTH, LIMBS)
    entry_bounds = [-_LOWEST * most for most in b_bounds]
    identity = Identity(
        WIDTH,
        [Lookup(item, 4 * index, entry_bounds) for index, item in enumerate(new_items(NIBBLES))],
        [Linear(r, b_bounds, -1)],
        q,
        limb_bounds(_A_MAGNITUDE * MAGNITUDE // P + 1, WIDTH, LIMBS),
    )
    depths = _depth_map(stack, identity, table)
    for lookup in identity.lookups:
        stack.from_alt()
        if not digits_in_range:
            stack.apply(OP_ABS + num(15) + OP_MIN, 1, above=1)
        stack.add_number(stack.depth(depths[0]) - 1)
        stack.apply(OP_PICK, 1)
        stack.add_number(lookup.bit // WIDTH)
        stack.items[-1] = lookup.item
    walk(stack, identity, depths)
    return finish(stack, identity.bound())


def _depth_map(stack: Stack, identity: Identity, table: list[list[Item]]) -> list[Item]:
    """Digit → the depth of its entry for a digit at bit 0; the map is on top, the item of digit 0 is its highest."""
    start = stack.height + len(table) + len(identity.lookups) + identity.working
    places = {vector[0]: stack.items.index(block[0]) for vector, block in zip(_ORDER, table, strict=True)}
    digits = range(len(table))
    return [stack.push(identity.depth(0, start - places[digit + _LOWEST])) for digit in reversed(digits)][::-1]


def mul_witness(a: int, b: int) -> list[bytes]:
    """For `mul`, of any integers: their residues are multiplied."""
    a, b = representative(a), representative(b)
    r = representative(a * b)
    digits = [a - _LOWEST * (16**NIBBLES - 1) // 15 >> 4 * index & 15 for index in range(NIBBLES)]
    limbs = [to_limbs(value, WIDTH, LIMBS) for value in (r, (a * b - r) // P, b)]
    return witness([*limbs, digits])


@cache
def combination(signs: tuple[int, ...]) -> Checked:
    """Σ sign_k·a_k·b_k = r mod p, for 2 or 4 products and signs 1 or -1.

    Witness, deepest first: r, q, all b, all a, each in 10 limbs of 26 bits for 2 products and 11 limbs of 24 bits for
    4, the least significant first. See `combination_witness`. Two products share digits and a table, as the real part
    of a product over Fq2 does.

    Sound: the a are cut into digits in the script, which fails unless they encode the limbs; the walk proves the sum
    to be q·p + r over the integers. Never overflows on limbs up to 2^(width − 1): see `Checked.bound`. Raises
    ScriptError for other numbers of products and other signs.
    """
    width, limbs = _shape(signs)
    r, q, *rest = (new_items(limbs) for _ in range(2 + 2 * len(signs)))
    b, a = rest[: len(signs)], rest[len(signs) :]
    stack = Stack([item for group in (r, q, *b, *a) for item in group])
    b_bounds = limb_bounds(MAGNITUDE, width, limbs)
    entry_bounds = [2 * max(-digit for digit in DIGITS) * most for most in b_bounds]
    sets = [[Lookup(item, 2 * at, entry_bounds) for at, item in enumerate(new_items(JOINT_DIGITS))] for _ in a[::2]]
    identity = Identity(
        width,
        [lookup for lookups in sets for lookup in lookups],
        [Linear(r, b_bounds, -1)],
        q,
        limb_bounds(len(signs) * MAGNITUDE**2 // P + 2, width, limbs),
    )
    cutter = Cutter(stack, width // 2, sums=False)
    for index, lookups in enumerate(sets):
        height = (len(sets) - index) * len(_PAIR_ORDER) * limbs + identity.pads + len(identity.lookups)
        parts = _pair_parts(identity.depth(0, height + identity.working), limbs)
        sums = [([(low, 1)], [(high, 1)]) for low, high in zip(a[2 * index], a[2 * index + 1], strict=True)]
        cutter.cut(sums, [lookup.item for lookup in lookups], parts)
    cutter.close()
    stack.drop(len(a) * limbs)
    _build_pair_tables(stack, b, signs)
    pads = stack.push_run(0, identity.pads)
    for _ in identity.lookups:
        stack.from_alt()
    walk(stack, identity, pads)
    return finish(stack, identity.bound())


def _shape(signs: Sequence[int]) -> tuple[int, int]:
    if len(signs) not in _SHAPES or set(signs) - {1, -1}:
        raise ScriptError(
            f"fq.combination: signs {tuple(signs)}, expected {' or '.join(map(str, _SHAPES))} of 1 and -1"
        )
    return _SHAPES[len(signs)]


def _build_pair_tables(stack: Stack, operands: Sequence[list[Item]], signs: Sequence[int]) -> None:
    """A table for every two operands, which lie on top; signs are taken in here."""
    signed = []
    for operand, sign in zip(operands, signs, strict=True):
        signed.append(list(operand))
        for limb, item in enumerate(operand if sign < 0 else ()):
            stack.roll(item)
            signed[-1][limb] = stack.negate()
    for low, high in zip(signed[::2], signed[1::2], strict=True):
        build(stack, _PAIR_ORDER, {(1, 0): low, (0, 1): high})


def _pair_parts(depth: int, limbs: int) -> list[list[int]]:
    """Count of each digit of a pair → its part of the depth, where `depth` leads to the deepest block."""
    places = [_DIGIT_ORDER.index(digit) for digit in DIGITS]
    return [[-limbs * place for place in places], [depth - 4 * limbs * place for place in places]]


def combination_witness(signs: Sequence[int], pairs: Sequence[tuple[int, int]]) -> list[bytes]:
    """For `combination(signs)`, of pairs (a, b) of any integers: their residues are multiplied."""
    width, limbs = _shape(signs)
    a, b = zip(*((representative(x), representative(y)) for x, y in pairs), strict=True)
    total = sum(sign * x * y for sign, x, y in zip(signs, a, b, strict=True))
    r = representative(total)
    return witness(to_limbs(value, width, limbs) for value in (r, (total - r) // P, *b, *a))
