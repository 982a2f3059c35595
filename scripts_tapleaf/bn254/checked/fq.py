"""Checked products in Fq."""

from functools import cache
from typing import Final

from scripts_tapleaf.bn254.checked._checked import Checked, finish
from scripts_tapleaf.bn254.checked._limbs import (
    MAGNITUDE,
    P,
    limb_bounds,
    representative,
    to_limbs,
    witness,
)
from scripts_tapleaf.bn254.checked._stack import Item, Stack, new_items
from scripts_tapleaf.bn254.checked._table import build
from scripts_tapleaf.bn254.checked._walk import Identity, Linear, Lookup, walk
from scripts_tapleaf.script import OP_ABS, OP_MIN, OP_PICK, num

WIDTH: Final = 26
LIMBS: Final = 10
NIBBLES: Final = 64
_LOWEST: Final = -8
_ORDER: Final = [(d,) for d in (1, -1, -2, 2, 4, -4, -8, 0, 3, -3, -6, 6, 5, -5, -7, 7)]
"""Multiples of b in an order, found by search, in which each comes cheaply from a near one."""
_A_MAGNITUDE: Final = -_LOWEST * (16**NIBBLES - 1) // 15


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
    return [stack.push(identity.depth(0, start, places[digit + _LOWEST])) for digit in reversed(digits)][::-1]


def mul_witness(a: int, b: int) -> list[bytes]:
    """For `mul`, of any integers: their residues are multiplied."""
    a, b = representative(a), representative(b)
    r = representative(a * b)
    digits = [a - _LOWEST * (16**NIBBLES - 1) // 15 >> 4 * index & 15 for index in range(NIBBLES)]
    limbs = [to_limbs(value, WIDTH, LIMBS) for value in (r, (a * b - r) // P, b)]
    return witness([*limbs, digits])
