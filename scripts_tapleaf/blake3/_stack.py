"""Script being written, and what every stack item means while it is."""

from collections.abc import Iterable, Sequence
from typing import Final

from scripts_tapleaf.script import (
    OP_1ADD,
    OP_1SUB,
    OP_2DROP,
    OP_2DUP,
    OP_2OVER,
    OP_2ROT,
    OP_3DUP,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_FROMALTSTACK,
    OP_SUB,
    OP_TOALTSTACK,
    OP_TUCK,
    PICKS,
    ROLLS,
    num,
)

_NEAR: Final = [code for code in PICKS if len(code) <= 2]
"""Copies of an item that is near enough to take at most two bytes."""
_RUNS: Final = ((2, 2, OP_2DUP), (2, 4, OP_2OVER), (3, 3, OP_3DUP))
"""Copies of several items at once: how many, from how far back."""


class Item:
    """One stack item, known by identity."""

    __slots__ = ()


class Stack:
    """The items of both stacks, the first is deepest, and the script written so far."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = list(items)
        self.alt: list[Item] = []
        self.code: list[bytes] = []

    def script(self) -> bytes:
        """What was written so far."""
        return b"".join(self.code)

    def write(self, *code: bytes) -> None:
        """Code that leaves the items as they are."""
        self.code += code

    def replace(self, *code: bytes) -> Item:
        """Code that turns the top item into another one."""
        self.write(*code)
        self.items[-1] = top = Item()
        return top

    def pick(self, item: Item) -> Item:
        """Copy `item` to the top."""
        return self._push(PICKS[self._depth(item)])

    def roll(self, item: Item) -> None:
        """Move `item` to the top."""
        depth = self._depth(item)
        self.write(ROLLS[depth])
        self.items.append(self.items.pop(-1 - depth))

    def rotate_pairs(self) -> None:
        """Move the third pair from the top to the top."""
        self.write(OP_2ROT)
        self.items[-6:] = self.items[-4:] + self.items[-6:-4]

    def add(self) -> Item:
        """(x y) → (x+y)"""
        self.items.pop()
        return self.replace(OP_ADD)

    def add_number(self, value: int) -> Item:
        """(x) → (x+value)"""
        short = {1: OP_1ADD, -1: OP_1SUB}.get(value)
        return self.replace(short or num(abs(value)) + (OP_ADD if value > 0 else OP_SUB))

    def tuck_add(self) -> tuple[Item, Item]:
        """(x y) → (y x+y); both are returned."""
        self.write(OP_TUCK + OP_ADD)
        self.items[-2:] = self.items[-1], Item()
        return self.items[-2], self.items[-1]

    def to_alt(self) -> None:
        """Move the top to the altstack."""
        self.code.append(OP_TOALTSTACK)
        self.alt.append(self.items.pop())

    def from_alt(self) -> Item:
        """Move the top of the altstack here."""
        self.code.append(OP_FROMALTSTACK)
        self.items.append(self.alt.pop())
        return self.items[-1]

    def drop(self, count: int) -> None:
        """Remove `count` items from the top."""
        if count:
            self.code.append(OP_2DROP * (count // 2) + OP_DROP * (count % 2))
            del self.items[-count:]

    def push_all(self, values: Sequence[int | None]) -> list[Item]:
        """Push numbers, by themselves or as copies of each other; None may be anything."""
        items = [Item() for _ in values]
        self.items += items
        self.write(push_all(values))
        return items

    def _push(self, code: bytes) -> Item:
        item = Item()
        self.items.append(item)
        self.write(code)
        return item

    def _depth(self, item: Item) -> int:
        return len(self.items) - 1 - self.items.index(item)


def push_all(values: Sequence[int | None]) -> bytes:
    """The shortest script of pushes and copies that leaves `values`, the first deepest; None may be anything.

    A value is pushed as a number or copied from one of the 17 before it; runs are copied where an opcode does that.
    """
    ways: list[tuple[int, bytes, int]] = [(0, b"", 0)]
    for end in range(1, len(values) + 1):
        options = [(1, _one(values, end - 1))]
        options += [(count, code) for count, back, code in _RUNS if _repeats(values, end, count, back)]
        ways.append(min((ways[end - count][0] + len(code), code, count) for count, code in options))
    code: list[bytes] = []
    end = len(values)
    while end:
        _, step, count = ways[end]
        code.append(step)
        end -= count
    return b"".join(reversed(code))


def _one(values: Sequence[int | None], at: int) -> bytes:
    value = values[at]
    if value is None:
        return OP_DUP if at else num(0)
    before = values[max(0, at - len(_NEAR)) : at][::-1]
    return min(num(value), _NEAR[before.index(value)], key=len) if value in before else num(value)


def _repeats(values: Sequence[int | None], end: int, count: int, back: int) -> bool:
    """Are the `count` values that stop at `end` those `back` places before?"""
    pairs = zip(values[end - count : end], values[max(0, end - count - back) : end - back], strict=False)
    return end >= count + back and all(new is None or new == old for new, old in pairs)
