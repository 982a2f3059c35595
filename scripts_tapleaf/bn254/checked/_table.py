"""Tables of small multiples: blocks of limbs, each made from blocks that lie near.

A block is named by its coefficients over the operands: (-3,) is −3·b, (1, -2) is b₀ − 2·b₁. Its limbs are those of the
operands taken that many times, never normalised, so limb l of every block stands for 2^(width·l).
"""

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import NamedTuple, TypeAlias

from scripts_tapleaf.bn254.checked._stack import Item, Stack
from scripts_tapleaf.script import PICKS, ScriptError

Vector: TypeAlias = tuple[int, ...]


class _Way(NamedTuple):
    """How a limb of a block comes about: the sum of limbs of earlier blocks, the last one with a sign; none is 0."""

    cost: int
    sources: tuple[int, ...] = ()
    sign: int = 1


def build(stack: Stack, order: Sequence[Vector], operands: Mapping[Vector, Sequence[Item]]) -> list[list[Item]]:
    """Lay out the blocks of `order`, deepest first, and limb 0 deepest in each.

    The operands lie on top of the stack in the order of the mapping. Those that start the table stay where they are;
    the others are moved where the table has them first.
    """
    limbs = len(next(iter(operands.values())))
    in_place = len(operands) if list(order[: len(operands)]) == list(operands) else 0
    table: list[list[Item]] = []
    for index, (vector, way) in enumerate(zip(order, _ways(tuple(order), frozenset(operands), limbs), strict=True)):
        if vector in operands and vector not in order[:index]:
            table.append(list(operands[vector]))
            for item in table[-1] if index >= in_place else ():
                stack.roll(item)
        else:
            table.append([_make(stack, way, table, limb) for limb in range(limbs)])
    return table


def _make(stack: Stack, way: _Way, table: list[list[Item]], limb: int) -> Item:
    if not way.sources:
        return stack.push(0)
    item = stack.pick(table[way.sources[0]][limb])
    if len(way.sources) == 1:
        return item if way.sign > 0 else stack.negate()
    if way.sources[0] == way.sources[1]:
        return stack.double()
    stack.pick(table[way.sources[1]][limb])
    return stack.add(way.sign)


@cache
def _ways(order: tuple[Vector, ...], operands: frozenset[Vector], limbs: int) -> tuple[_Way, ...]:
    return tuple(_way(order[:index], vector, operands, limbs) for index, vector in enumerate(order))


def _way(known: tuple[Vector, ...], wanted: Vector, operands: frozenset[Vector], limbs: int) -> _Way:
    if wanted in operands and wanted not in known:
        return _Way(0)
    ways = list(_options(known, wanted, limbs))
    if not ways:
        raise ScriptError(f"table: block {wanted}, expected one that two of the blocks before it make")
    return min(ways)


def _options(known: tuple[Vector, ...], wanted: Vector, limbs: int) -> Iterator[_Way]:
    """All ways to make a block on top of the known ones, with bytes a limb."""
    if not any(wanted):
        yield _Way(1)
    place = {vector: index for index, vector in enumerate(known)}
    for first, index in place.items():
        near = len(PICKS[limbs * (len(known) - index) - 1])
        for sign in (1, -1):
            if first == tuple(sign * x for x in wanted):
                yield _Way(near + (sign < 0), (index,), sign)
            other = place.get(tuple(sign * (x - y) for x, y in zip(wanted, first, strict=True)))
            if other == index and sign > 0:
                yield _Way(near + 2, (index, index))
            elif other is not None:
                yield _Way(near + len(PICKS[limbs * (len(known) - other)]) + 1, (index, other), sign)


def cost(order: Sequence[Vector], operands: Sequence[Vector], limbs: int) -> int:
    """Bytes a limb of the blocks that are no operands: what a search for a good order minimises.

    Raises ScriptError where a block cannot be made from those before it.
    """
    return sum(way.cost for way in _ways(tuple(order), frozenset(operands), limbs))
