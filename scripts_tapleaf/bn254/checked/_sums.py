"""Sums of limbs, brought back to the size of a limb."""

from collections.abc import Sequence
from typing import TypeAlias

from scripts_tapleaf.bn254.checked._stack import Item, Stack
from scripts_tapleaf.script import OP_GREATERTHANOREQUAL, OP_PICK, OP_SWAP

Sum: TypeAlias = Sequence[tuple[Item, int]]
"""A limb that is a sum of others: items with signs, the first of them positive."""


def load(stack: Stack, limb: Sum) -> None:
    """Put a sum on top."""
    for index, (item, sign) in enumerate(limb):
        stack.pick(item)
        if index:
            stack.add(sign)


class Normaliser:
    """Emits sums of up to three limbs of at most 2^(width−1) as limbs of that size, with the same value.

    A carry is −1, 0 or 1 and waits on the stack as a count from 0 to 2, so that from the second limb on everything is
    one too large; thresholds and the row of what is subtracted take that into account.
    """

    def __init__(self, stack: Stack, width: int) -> None:
        half = 1 << width - 1
        self.stack = stack
        self.thresholds = [stack.push(threshold + 1) for threshold in (half, -half)]
        self.row = [stack.push(1 + carry * 2 * half) for carry in (1, 0, -1)][::-1]

    def normalise(self, limbs: Sequence[Sum]) -> list[Item]:
        """The limbs on top, limb 0 deepest; the last takes what is left."""
        stack = self.stack
        result = []
        for index, limb in enumerate(limbs):
            load(stack, limb)
            if index:
                stack.add()
            else:
                stack.add_number(1)
            if index < len(limbs) - 1:
                result.append(self._split_carry())
            else:
                result.append(stack.add_number(-1))
        return result

    def _split_carry(self) -> Item:
        """(v) → (limb, count of the carry)"""
        stack = self.stack
        value = stack.items[-1]
        for index, threshold in enumerate(self.thresholds):
            stack.pick(value)
            stack.pick(threshold)
            stack.apply(OP_GREATERTHANOREQUAL, 2)
            if index:
                stack.add()
        count = stack.tuck()
        stack.add_number(stack.depth(self.row[0]) - 1)
        stack.apply(OP_PICK, 1)
        limb = stack.add(-1)
        stack.write(OP_SWAP)
        stack.items[-2:] = limb, count
        return limb
