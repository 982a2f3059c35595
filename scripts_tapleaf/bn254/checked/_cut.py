"""Cutting limbs into joint digits: a pair of values becomes depths of table entries.

Two values Σ 4^i·d with d from −2 to 1 share one number per i: the depth of the entry for the pair of digits. A limb is
cut from its top window down. Three comparisons count how often 4^w fits, t = 0 to 3, and the digit is t − 2; a map
turns t into this digit's part of the depth, a row of multiples of 4^w into what is to be subtracted. What is left for
the last three windows must be 0 to 63 and leads to their counts by tables: so digits are in range, and they encode the
limbs, whatever these are. One window more than a limb has gives the carry into the next.
"""

from collections.abc import Sequence
from typing import Final

from scripts_tapleaf.bn254.checked._stack import Item, Stack
from scripts_tapleaf.bn254.checked._sums import Sum, load
from scripts_tapleaf.script import (
    OP_0,
    OP_DUP,
    OP_ENDIF,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_PICK,
    OP_SUB,
    OP_VERIFY,
    OP_WITHIN,
    PICKS,
    num,
)

DIGITS: Final = (-2, -1, 0, 1)
"""What a digit is worth, by its count t."""
_TABLED: Final = 3
"""The last windows, of which the count is looked up by all that is left of the limb."""


def offset(digits: int) -> int:
    """What turns a number of this many digits into its counts: Σ 2·4^i."""
    ones: int = (4**digits - 1) // 3
    return 2 * ones


class Cutter:
    """Emits cuts: the depths end up on the altstack, in each limb the top digit first.

    Limbs have `windows` digits. With `sums`, they are sums of up to three, so that one can be below 0 even once its
    offset is added. The constants are on the stack from here on.
    """

    def __init__(self, stack: Stack, windows: int, *, sums: bool) -> None:
        self.stack, self.windows, self.sums = stack, windows, sums
        self.base = stack.height
        self.counts = [self._count_table(window) for window in range(_TABLED)]
        self.rows = {w: self._ascending([t * 4**w for t in range(4)]) for w in range(_TABLED - 1, windows)}
        full: int = 4**windows
        self.carry_row = self._ascending([t * full for t in range(4)]) if sums else [stack.push(full)]
        self.offset = stack.push(offset(windows) + (full - 1 if sums else 0))

    def close(self) -> None:
        """Drop the constants, which are on top again."""
        self.stack.drop(self.stack.height - self.base)

    def cut(self, limbs: Sequence[tuple[Sum, Sum]], digits: Sequence[Item], parts: Sequence[Sequence[int]]) -> None:
        """Cut pairs of limbs into `digits`, the least significant first; the last limb has what is left of them.

        `parts[k][t]` is what count t of the pair's value k adds to a depth; limb j adds j.
        """
        maps = [self._ascending(part) for part in parts]
        carries: list[Item] = []
        last = len(limbs) - 1
        for index, pair in enumerate(limbs):
            if index:
                maps[1] = self._one_deeper(maps[1])
            own = digits[index * self.windows :][: self.windows if index < last else None]
            values, next_carries = [], []
            for part, limb in enumerate(pair):
                load(self.stack, limb)
                self._add_carry(carries[part : part + 1])
                self._add_offset(len(own), first=index == 0, last=index == last)
                if index < last:
                    next_carries.append(self._split_carry())
                values.append(self.stack.items[-1])
            self._cut_pair(values, own, maps)
            carries = next_carries
        self.stack.drop(sum(map(len, maps)))

    def _ascending(self, numbers: Sequence[int]) -> list[Item]:
        """Numbers on the stack with the first on top, so that a count leads to its own; in the order given."""
        return [self.stack.push(number) for number in reversed(numbers)][::-1]

    def _count_table(self, window: int) -> list[Item]:
        """Count at a window by what is left: up to 4^(window + 1), but two windows share a table of 16."""
        size = 4 ** max(window + 1, 2)
        run = 4**window
        counts = [left // run % 4 for left in reversed(range(0, size, run))]
        return [item for count in counts for item in self.stack.push_run(count, run)][::-1]

    def _one_deeper(self, depths: Sequence[Item]) -> list[Item]:
        """One limb up, the same entry is one deeper."""
        for item in reversed(depths):
            self.stack.roll(item)
            self.stack.add_number(1)
        return self.stack.items[: -len(depths) - 1 : -1]

    def _add_carry(self, carry: Sequence[Item]) -> None:
        for item in carry:
            self.stack.roll(item)
            self.stack.add()

    def _add_offset(self, windows: int, *, first: bool, last: bool) -> None:
        """Make counts of digits; keep sums above 0 by a carry that the next limb gives back."""
        if first or last:
            lent = 4**windows if first else -1
            self.stack.add_number(offset(windows) + (lent if self.sums else 0))
        else:
            self.stack.pick(self.offset)
            self.stack.add()

    def _split_carry(self) -> Item:
        """(v) → (carry, v without it)"""
        stack = self.stack
        if self.sums:
            self._count(self.carry_row)
            carry = stack.tuck()
            self._subtract(self.carry_row)
            return carry
        stack.pick(stack.items[-1])
        stack.pick(self.carry_row[0])
        stack.apply(OP_GREATERTHANOREQUAL, 2)
        carry = stack.tuck()
        full = PICKS[stack.depth(self.carry_row[0]) - 1]
        stack.apply(OP_IF + full + OP_SUB + OP_ENDIF, 2)
        return carry

    def _cut_pair(self, values: list[Item], digits: Sequence[Item], maps: Sequence[Sequence[Item]]) -> None:
        """(v0 v1) → (), their digits to the altstack; always the value on top first, so one swap serves a window."""
        order = [1, 0]
        for window, digit in reversed(list(enumerate(digits))):
            for turn, part in enumerate(order):
                self.stack.roll(values[part])
                self._take_count(window)
                if window in self.rows:
                    self.stack.pick(self.stack.items[-1])
                self._put_digit(maps[part], first=turn == 0)
                if window in self.rows:
                    self._subtract(self.rows[window])
                if window:
                    values[part] = self.stack.items[-1]
            order.reverse()
            self.stack.alt[-1] = digit

    def _take_count(self, window: int) -> None:
        """(v) → (v t), or (t) at the last window."""
        stack = self.stack
        if window >= _TABLED:
            self._count(self.rows[window])
            return
        if window == _TABLED - 1:
            stack.write(OP_DUP + OP_0 + num(4**_TABLED) + OP_WITHIN + OP_VERIFY, above=3)
        if window:
            stack.pick(stack.items[-1])
        self._look_up(self.counts[window])

    def _put_digit(self, depths: Sequence[Item], *, first: bool) -> None:
        """(t) → (), to the altstack; added to what the pair's other value has put there, if that was first."""
        self._look_up(depths)
        if not first:
            self.stack.from_alt()
            self.stack.add()
        self.stack.to_alt()

    def _count(self, row: Sequence[Item]) -> None:
        """(v) → (v t): how many of the row's multiples, but for the first, are at most v."""
        stack = self.stack
        value = stack.items[-1]
        for multiple in row[1:]:
            stack.pick(value)
            stack.pick(multiple)
            stack.apply(OP_GREATERTHANOREQUAL, 2)
            if multiple is not row[1]:
                stack.add()

    def _subtract(self, row: Sequence[Item]) -> None:
        """(v t) → (v − row[t])"""
        self._look_up(row)
        self.stack.add(-1)

    def _look_up(self, row: Sequence[Item]) -> None:
        """(t) → (row[t])"""
        self.stack.add_number(self.stack.depth(row[0]) - 1)
        self.stack.apply(OP_PICK, 1)
