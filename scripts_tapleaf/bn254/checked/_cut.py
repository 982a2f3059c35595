"""Cutting limbs into joint digits: a pair of values becomes depths of table entries.

Two values Σ 4^i·d with d from −2 to 1 share one number per i: the depth of the entry for the pair of digits. A limb is
cut from its top window down. Three comparisons count how often 4^w fits, t = 0 to 3, and the digit is t − 2; a map
turns t into this digit's part of the depth, a row of multiples of 4^w into what is to be subtracted. What is left at
the last window must be 0 to 3 and is that digit's t: so digits are in range, and they encode the limbs, whatever these
are. One window more than a limb has gives the carry into the next.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scripts_tapleaf.bn254.checked._stack import PICKS, Item, Stack
from scripts_tapleaf.bn254.checked._sums import Sum, load
from scripts_tapleaf.script import (
    OP_0,
    OP_4,
    OP_DUP,
    OP_ENDIF,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_PICK,
    OP_SUB,
    OP_VERIFY,
    OP_WITHIN,
)

DIGITS: Final = (-2, -1, 0, 1)
"""What a digit is worth, by its count t."""
_FIRST_ROW: Final = 2
"""Windows below this one need no row of multiples."""


def offset(digits: int) -> int:
    """What turns a number of this many digits into its counts: Σ 2·4^i."""
    ones: int = (4**digits - 1) // 3
    return 2 * ones


@dataclass(frozen=True)
class Plan:
    """What is cut, and into which numbers.

    `limbs` are pairs of sums, the least significant first, of `windows` digits each, but for the last, which has what
    is left of `digits`. `parts[k][t]` is what count t of the pair's value k adds to the depth; limb j adds j.
    """

    limbs: Sequence[tuple[Sum, Sum]]
    windows: int
    digits: int
    parts: tuple[Sequence[int], Sequence[int]]

    @property
    def sums(self) -> bool:
        """Are limbs sums of up to three, so that one can be below 0 once the offset is added?"""
        return any(len(limb) > 1 for pair in self.limbs for limb in pair)


class Cutter:
    """Emits a cut: the depths end up on the altstack, in each limb the top digit first."""

    def __init__(self, stack: Stack, plan: Plan) -> None:
        self.stack, self.plan = stack, plan
        base = stack.height
        self.rows = {w: self._ascending([t * 4**w for t in range(4)]) for w in range(_FIRST_ROW, plan.windows)}
        full: int = 4**plan.windows
        self.carry_row = self._ascending([t * full for t in range(4)]) if plan.sums else [stack.push(full)]
        self.offset = stack.push(offset(plan.windows) + (full - 1 if plan.sums else 0))
        self.maps = [self._ascending(part) for part in plan.parts]
        self.constants = stack.items[base:]

    def cut(self) -> None:
        """Cut all limbs; the constants stay on the stack."""
        carries: list[Item] = []
        count = len(self.plan.limbs)
        for index, pair in enumerate(self.plan.limbs):
            if index:
                self._next_map()
            windows, values, next_carries = self.plan.windows, [], []
            for part, limb in enumerate(pair):
                self._load(limb, index, carries[part : part + 1])
                if index < count - 1:
                    next_carries.append(self._split_carry())
                values.append(self.stack.items[-1])
            if index == count - 1:
                windows = self.plan.digits - index * windows
            self._cut_pair(values, windows)
            carries = next_carries

    def order(self) -> list[int]:
        """Indices of the digits as they come from the altstack, the last limb's lowest digit first."""
        starts = range(0, self.plan.digits, self.plan.windows)
        return [index for start in reversed(starts) for index in range(self.plan.digits)[start:][: self.plan.windows]]

    def _ascending(self, numbers: Sequence[int]) -> list[Item]:
        """Numbers on the stack with the first on top, so that a count leads to its own; in the order given."""
        return [self.stack.push(number) for number in reversed(numbers)][::-1]

    def _next_map(self) -> None:
        """One limb up, the same entry is one deeper."""
        for item in reversed(self.maps[1]):
            self.stack.roll(item)
            self.stack.items[-1] = self.stack.add_number(1)
        self.maps[1] = self.stack.items[:-5:-1]

    def _load(self, limb: Sum, index: int, carry: Sequence[Item]) -> None:
        """A limb with the carry into it and its offset on top."""
        stack, plan = self.stack, self.plan
        load(stack, limb)
        for item in carry:
            stack.roll(item)
            stack.add()
        if 0 < index < len(plan.limbs) - 1:
            stack.pick(self.offset)
            stack.add()
        else:
            digits = min(plan.windows, plan.digits - index * plan.windows)
            above = 4**plan.windows if index == 0 else -1
            stack.add_number(offset(digits) + (above if plan.sums else 0))

    def _split_carry(self) -> Item:
        """(v) → (carry, v without it)"""
        stack = self.stack
        if self.plan.sums:
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

    def _cut_pair(self, values: list[Item], windows: int) -> None:
        """(v0 v1) → (), their digits to the altstack; always the value on top first, so one swap serves a window."""
        order = [1, 0]
        for window in reversed(range(windows)):
            for turn, part in enumerate(order):
                self.stack.roll(values[part])
                values[part] = self._cut_digit(window, self.maps[part], first=turn == 0)
            order.reverse()

    def _cut_digit(self, window: int, depths: Sequence[Item], *, first: bool) -> Item:
        """Cut the top digit of the value on top; it goes to the altstack, with that of the other value if there is."""
        stack = self.stack
        value = stack.items[-1]
        if window:
            self._count(self.rows.get(window) or [t * 4**window for t in range(4)])
            stack.pick(stack.items[-1])
        else:
            stack.write(OP_DUP + OP_0 + OP_4 + OP_WITHIN + OP_VERIFY, above=3)
        self._look_up(depths)
        if not first:
            stack.from_alt()
            stack.add()
        stack.to_alt()
        if window >= _FIRST_ROW:
            self._subtract(self.rows[window])
        elif window:
            stack.double()
            stack.double()
            stack.add(-1)
        return stack.items[-1] if window else value

    def _count(self, row: Sequence[Item | int]) -> None:
        """(v) → (v t): how many of the row's multiples, but for the first, are at most v."""
        stack = self.stack
        value = stack.items[-1]
        for multiple in row[1:]:
            stack.pick(value)
            self._constant(multiple)
            stack.apply(OP_GREATERTHANOREQUAL, 2)
            if multiple is not row[1]:
                stack.add()

    def _constant(self, constant: Item | int) -> None:
        if isinstance(constant, int):
            self.stack.push(constant)
        else:
            self.stack.pick(constant)

    def _subtract(self, row: Sequence[Item]) -> None:
        """(v t) → (v − row[t])"""
        self._look_up(row)
        self.stack.add(-1)

    def _look_up(self, row: Sequence[Item]) -> None:
        """(t) → (row[t])"""
        self.stack.add_number(self.stack.depth(row[0]) - 1)
        self.stack.apply(OP_PICK, 1)
