"""Limbs to nibbles: a number below 2^31 becomes message codes by binary search, 5 bytes a bit.

The search walks a tree that lies on the stack below the value v. An index i beside v says where it is; a step

    2DUP PICK GREATERTHANOREQUAL ADD PICK           (v i) → (v child)

compares v with the threshold at depth i and goes on to the child at depth i or i + 1. Four steps make a nibble; its
leaf gives the message code and what to subtract. Then v is shifted up by four bits, so that one tree serves every
nibble of every limb.

A limb out of range fails the script. A negative, non-minimal or oversized element differs from its absolute value (or
has none). A value that is too large leaves more than a digit's worth after its first, shorter digit, so that the next
shift carries it beyond 2^31, where nothing can be computed with it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from scripts_tapleaf.blake3._message import NIBBLE_BITS, Field, nibbles
from scripts_tapleaf.blake3._stack import Item, Stack, push_all
from scripts_tapleaf.blake3._tables import STRIDE
from scripts_tapleaf.script import (
    DOUBLE,
    OP_0NOTEQUAL,
    OP_2DROP,
    OP_2DUP,
    OP_ABS,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_EQUALVERIFY,
    OP_FROMALTSTACK,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_LESSTHAN,
    OP_LESSTHANOREQUAL,
    OP_OVER,
    OP_PICK,
    OP_SUB,
    OP_TOALTSTACK,
    OP_VERIFY,
    num,
)

UNIT_BITS: Final = 27
"""The tree cuts at multiples of 2^27, so that a nibble and the bits under it fill 31 bits."""

_STEP: Final = OP_2DUP + OP_PICK + OP_GREATERTHANOREQUAL + OP_ADD + OP_PICK
_FIRST_STEP: Final = OP_2DUP + OP_LESSTHANOREQUAL + num(3) + OP_ADD + OP_PICK
"""(8·2^27 v) → (8·2^27 v child): the root's threshold is the item below v, its children are at depths 3 and 4."""
_LOWEST_BIT: Final = OP_0NOTEQUAL + OP_IF + num(STRIDE << 3) + OP_ELSE + num(0) + OP_ENDIF + OP_TOALTSTACK
"""(v) → (), where all that is left of v is one bit, the highest of its nibble."""
_CHECK: Final = OP_DUP + OP_ABS + OP_OVER + OP_EQUALVERIFY
_MERGE: Final = OP_FROMALTSTACK + OP_ADD


class _Tree(NamedTuple):
    """The tree as stack items, deepest first (None is a gap), and the index of the node of each threshold."""

    items: list[int | None]
    nodes: dict[int, int]

    def constant(self, value: int) -> bytes:
        """(v) → (v value), for a value that the tree holds."""
        return num(len(self.items) - self.items.index(value)) + OP_PICK


@cache
def tree() -> _Tree:
    """Fifteen nodes, one for each threshold, and sixteen leaves.

    A node with index i has its threshold at depth i − 3 below the value and its two children at i − 1 and i; a leaf
    has its code at i − 2 and what to subtract at i − 1. The four nodes from which a search can begin come first, so
    that their indices are pushed in one byte.
    """
    starts = [1 << bits for bits in reversed(range(NIBBLE_BITS))]
    nodes = {threshold: 3 + 4 * place for place, threshold in enumerate(starts)}
    leaves: dict[int, int] = {}
    free = 4 * len(starts)
    for value in (*starts, *(value for value in range(16) if value not in starts)):
        leaves[value] = free + 2
        free += 2
        if value and value not in nodes:
            nodes[value] = free + 3
            free += 4
    at: dict[int, int] = {}
    for value, index in leaves.items():
        at[index - 2] = STRIDE * value
        at[index - 1] = value << UNIT_BITS
    for threshold, index in nodes.items():
        at[index - 3] = threshold << UNIT_BITS
        half = (threshold & -threshold) // 2
        for child in range(2):
            below = threshold + (half if child else -half)
            at[index - 1 + child] = nodes[below] if half else leaves[threshold - 1 + child]
    return _Tree([at.get(depth) for depth in reversed(range(free))], nodes)


@dataclass(frozen=True)
class Piece:
    """What a limb gives to one nibble of the message: `count` bits, from its bit `low` to the nibble's bit `shift`.

    `kept`: the nibble belongs to the block at hand. `merged`: the limb above has given the nibble's upper bits.
    """

    low: int
    count: int
    shift: int
    kept: bool
    merged: bool


def pieces(field: Field, block: range, given: set[int]) -> list[Piece]:
    """The pieces of a limb from the top down to the last one inside the block, a range of nibbles."""
    found = []
    for nibble in reversed(nibbles(field)):
        if nibble < block.start:
            break
        start = max(field.start, NIBBLE_BITS * nibble)
        stop = min(field.stop, NIBBLE_BITS * (nibble + 1))
        kept = nibble in block
        low, shift = start - field.start, start - NIBBLE_BITS * nibble
        found.append(Piece(low, stop - start, shift, kept, kept and nibble in given))
    return found


def unpack(
    stack: Stack,
    limbs: Sequence[tuple[Item, Field]],
    block: range,
    *,
    trusted: bool,
    keep: bool = False,
    lean: bool = False,
) -> None:
    """Put the message codes of a block, a range of nibbles, on the altstack, the lowest nibble last.

    `limbs` are those with a bit in the block. One that reaches into the next block is copied, not taken, and so are all
    with `keep`; it is checked the first time only. `lean` does without the tree, for want of room.
    """
    given: set[int] = set()
    tasks: list[tuple[Item, Field, int]] = []
    ladders: list[bytes] = []
    searches: list[bytes] = []
    for item, field in reversed(limbs):
        cut = pieces(field, block, given)
        given.update(nibbles(field))
        checked = trusted or field.start < NIBBLE_BITS * block.start
        tasks.append((item, field, sum(piece.kept and not piece.merged for piece in cut)))
        ladders.append(_ladder(field, cut, checked=checked))
        searches.append(min(ladders[-1], _search(field, cut, checked=checked) or ladders[-1], key=len))
    items = tree().items
    if not lean and len(push_all(items)) + sum(map(len, searches)) < sum(map(len, ladders)):
        stack.push_all(items)
    else:
        items, searches = [], ladders
    for (item, field, made), code in zip(tasks, searches, strict=True):
        if keep or field.stop > NIBBLE_BITS * block.stop:
            stack.pick(item)
        else:
            stack.roll(item)
        stack.write(code)
        stack.items.pop()
        stack.alt += [Item() for _ in range(made)]
    stack.drop(len(items))


def _search(field: Field, cut: list[Piece], *, checked: bool) -> bytes | None:
    """(v) → (), codes to the altstack, with the tree right below v; None where a limb has no two pieces."""
    if len(nibbles(field)) == 1:
        return None
    code = [b"" if checked else _CHECK]
    base = cut[0].low
    if base > UNIT_BITS:
        code += _bits(cut[0], in_tree=True)
        cut, base = cut[1:], base - NIBBLE_BITS
    code.append(DOUBLE * (UNIT_BITS - base))
    for index, piece in enumerate(cut):
        last = index == len(cut) - 1
        if index > 1 and piece.count == 1:
            code.append(_LOWEST_BIT)
            break
        if index:
            code.append(DOUBLE * NIBBLE_BITS)
        if piece.count + piece.shift == NIBBLE_BITS:
            code.append(_FIRST_STEP)
        else:
            code.append(num(tree().nodes[1 << piece.count - 1]) + _STEP)
        code.append(_STEP * (piece.count - 1) + OP_PICK * piece.shift)
        if piece.kept:
            code.append(OP_DUP + OP_PICK + (_MERGE if piece.merged else b"") + OP_TOALTSTACK)
            code.append(OP_2DROP if last else OP_PICK + OP_SUB)
        else:
            code.append(OP_PICK + OP_SUB)
    return b"".join(code)


def _ladder(field: Field, cut: list[Piece], *, checked: bool) -> bytes:
    """(v) → (), codes to the altstack: compare with each power of two and subtract."""
    code = [b"" if checked else _CHECK + OP_DUP + num(1 << field.width) + OP_LESSTHAN + OP_VERIFY]
    for piece in cut:
        if piece.low:
            code += _bits(piece)
        else:
            code.append(OP_DUP + DOUBLE + OP_ADD + DOUBLE * piece.shift)
            code.append((_MERGE if piece.merged else b"") + OP_TOALTSTACK)
    if cut[-1].low:
        code.append(OP_DROP)
    return b"".join(code)


def _bits(piece: Piece, *, in_tree: bool = False) -> Iterator[bytes]:
    """(v) → (v modulo 2^low), the message code of the bits above to the altstack."""
    if piece.kept and not piece.merged:
        yield num(0) + OP_TOALTSTACK
    for bit in reversed(range(piece.count)):
        power = 1 << (piece.low + bit)
        yield tree().constant(power) if in_tree else num(power)
        yield OP_2DUP + OP_GREATERTHANOREQUAL + OP_IF + OP_SUB
        if piece.kept:
            yield OP_FROMALTSTACK + num(STRIDE << (piece.shift + bit)) + OP_ADD + OP_TOALTSTACK
        yield OP_ELSE + OP_DROP + OP_ENDIF
