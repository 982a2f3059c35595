"""Script being written: which item lies where on both stacks, and the most items that they held together."""

from collections.abc import Iterable, Sequence
from typing import Final

from scripts_tapleaf.script import (
    DOUBLE,
    OP_1ADD,
    OP_1SUB,
    OP_2DROP,
    OP_2DUP,
    OP_3DUP,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_FROMALTSTACK,
    OP_NEGATE,
    OP_NIP,
    OP_SUB,
    OP_TOALTSTACK,
    OP_TUCK,
    PICKS,
    ROLLS,
    num,
)

_COPIES: Final = (OP_DUP, OP_2DUP, OP_3DUP)
_REMOVALS: Final = [OP_DROP, OP_NIP] + [code + OP_DROP for code in ROLLS[2:]]


class Item:
    """One stack item, known by identity."""

    __slots__ = ()


def new_items(count: int) -> list[Item]:
    """Items that are on a stack already, or will be."""
    return [Item() for _ in range(count)]


class Stack:
    """The items of both stacks, the first is deepest, and the script written so far."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = list(items)
        self.alt: list[Item] = []
        self._code: list[bytes] = []
        self.peak = len(self.items)

    @property
    def script(self) -> bytes:
        """What was written so far."""
        return b"".join(self._code)

    @property
    def height(self) -> int:
        """Items on the main stack."""
        return len(self.items)

    def write(self, *code: bytes, above: int = 0) -> None:
        """Code that leaves the items as they are, and has up to `above` more of them on the way."""
        self._code += code
        self._note(above)

    def apply(self, code: bytes, takes: int, above: int = 0) -> Item:
        """Code that turns the `takes` top items into one, and has up to `above` more items on the way."""
        self.write(code, above=above)
        if takes:
            del self.items[-takes:]
        item = Item()
        self.items.append(item)
        self._note()
        return item

    def push(self, value: int) -> Item:
        """A number."""
        return self.apply(num(value), 0)

    def push_run(self, value: int, count: int) -> list[Item]:
        """The same number many times."""
        run = [self.push(value)]
        while len(run) < count:
            step = min(len(run), len(_COPIES), count - len(run))
            self.write(_COPIES[step - 1], above=step)
            run += new_items(step)
            self.items += run[-step:]
        return run

    def pick(self, item: Item) -> Item:
        """A copy of `item`."""
        return self.apply(PICKS[self.depth(item)], 0)

    def roll(self, item: Item) -> None:
        """Move `item` to the top."""
        depth = self.depth(item)
        self.write(ROLLS[depth], above=depth > 2)
        self.items.append(self.items.pop(-1 - depth))

    def remove(self, item: Item) -> None:
        """Take `item` out, wherever it lies."""
        depth = self.depth(item)
        self.write(_REMOVALS[depth], above=depth > 2)
        del self.items[-1 - depth]

    def tuck(self) -> Item:
        """(x y) → (y x y); the deeper y is returned."""
        self.write(OP_TUCK, above=1)
        self.items[-2:] = [self.items[-1], self.items[-2], Item()]
        return self.items[-3]

    def add(self, sign: int = 1) -> Item:
        """(x y) → (x + sign·y), sign 1 or -1."""
        return self.apply(OP_ADD if sign > 0 else OP_SUB, 2)

    def negate(self) -> Item:
        """(x) → (-x)"""
        return self.apply(OP_NEGATE, 1)

    def double(self) -> Item:
        """(x) → (2x)"""
        return self.apply(DOUBLE, 1, above=1)

    def add_number(self, value: int) -> Item:
        """(x) → (x + value)"""
        short = {0: b"", 1: OP_1ADD, -1: OP_1SUB}.get(value)
        if short is not None:
            return self.apply(short, 1)
        return self.apply(num(abs(value)) + (OP_ADD if value > 0 else OP_SUB), 1, above=1)

    def to_alt(self) -> None:
        """Move the top to the altstack."""
        self.write(OP_TOALTSTACK)
        self.alt.append(self.items.pop())

    def from_alt(self) -> Item:
        """Move the top of the altstack here."""
        self.write(OP_FROMALTSTACK)
        self.items.append(self.alt.pop())
        return self.items[-1]

    def drop(self, count: int) -> None:
        """Remove `count` items from the top."""
        if count:
            self.write(OP_2DROP * (count // 2) + OP_DROP * (count % 2))
            del self.items[-count:]

    def depth(self, item: Item) -> int:
        """How many items lie above `item` on the main stack."""
        return len(self.items) - 1 - self.items.index(item)

    def _note(self, above: int = 0) -> None:
        self.peak = max(self.peak, len(self.items) + len(self.alt) + above)


def take(stack: Sequence[Item], *counts: int) -> list[list[Item]]:
    """Split a stack, deepest first, into groups of these sizes."""
    groups, start = [], 0
    for count in counts:
        groups.append(list(stack[start : start + count]))
        start += count
    return groups
