"""One integer identity, checked in one register.

    Σ entry(digit)·2^bit + Σ sign·2^shift·value − q·p = 0

is a sum of many small terms at bit positions. The walk goes from the top bit down: double the register, add the terms
of the bit. Where the identity holds, the register is minus what is still to come, seen from the present bit, so it
stays small by itself; where it does not hold, an operand outgrows 4 bytes or the end is not 0, and either fails the
script. Nothing is carried or normalised and no limb needs a range check: a run that passes has proved the identity for
the integers that the limbs encode, whatever these are.

A digit lies on the stack as the depth of its table entry. Whenever the walk enters a lower column of `width` bits, one
item less lies above the table, so the same depth leads to the next lower limb: one number serves a digit at every
column. The item that goes is a pad in the upper columns; in the lower ones it is the multiple of a limb of q that is
used for the last time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final, TypeAlias

from scripts_tapleaf.bn254.checked._limbs import recode
from scripts_tapleaf.bn254.checked._stack import Item, Stack
from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.script import OP_ADD, OP_DUP, OP_NOT, OP_PICK, OP_VERIFY

_P_DIGITS: Final = recode(P)
_P_PARTIAL: Final = [0, *accumulate(digit << bit for bit, digit in enumerate(_P_DIGITS))]
"""What the lowest digits of p are worth together, by their number."""
_Multiples: TypeAlias = dict[tuple[int, int], Item]
"""Limb of q and factor 1 or 3 → item."""


@dataclass(frozen=True)
class Lookup:
    """A digit at a bit: `item` holds the depth of its entry, whose limbs are at most `bounds`."""

    item: Item
    bit: int
    bounds: Sequence[int]


@dataclass(frozen=True)
class Linear:
    """sign·2^shift·value of limbs of at most `bounds`."""

    limbs: Sequence[Item]
    bounds: Sequence[int]
    sign: int
    shift: int = 0


@dataclass(frozen=True)
class Identity:
    """All terms; the limbs of q, of at most `quotient_bounds`, are as many as those of table entries."""

    width: int
    lookups: Sequence[Lookup]
    linear: Sequence[Linear]
    quotient: Sequence[Item]
    quotient_bounds: Sequence[int]

    @property
    def top(self) -> int:
        """The highest bit with a term."""
        digit = max(len(_P_DIGITS) - 1, *(lookup.bit for lookup in self.lookups))
        return digit + self.width * (len(self.quotient) - 1)

    @property
    def pads(self) -> int:
        """Items that the walk takes away from below itself."""
        return self.top // self.width - (len(self.quotient) - 1)

    @property
    def working(self) -> int:
        """Items that the walk begins with: two multiples of each limb of q, the register."""
        return 2 * len(self.quotient) + 1

    def depth(self, bit: int, height: int) -> int:
        """What leads a digit at `bit` to a block, where the walk begins with so many items from its limb 0 on.

        What the walk puts there before it begins counts.
        """
        return height - 1 - self.top // self.width + bit // self.width

    def bound(self) -> int:
        """No register is larger in magnitude on the way of an identity that holds.

        Every register is minus the rest of the sum, a part of what is at the present bit and all that is below it:
        max over bits b of Σ_{bit ≤ b} max|term|·2^(bit−b). The digits of p go with one value of q, so their exact
        partial sums count.
        """
        terms: dict[int, int] = defaultdict(int)
        groups = [(lookup.bit, lookup.bounds) for lookup in self.lookups]
        groups += [(linear.shift, linear.bounds) for linear in self.linear]
        for start, bounds in groups:
            for limb, most in enumerate(bounds):
                terms[start + self.width * limb] += most
        total, worst = 0, 0
        for bit in range(self.top + 1):
            total += terms[bit] << bit
            worst = max(worst, -(-(total + self._quotient_part(bit)) >> bit))
        return worst

    def _quotient_part(self, bit: int) -> int:
        """The most that q·p can have left when the walk is at this bit, times 2^bit."""
        part = 0
        for limb, most in enumerate(self.quotient_bounds):
            digits = min(max(bit - self.width * limb, -1) + 1, len(_P_DIGITS))
            partial = max(map(abs, _P_PARTIAL[max(digits - 1, 0) : digits + 1]))
            part += most * partial << self.width * limb
        return part


def walk(stack: Stack, identity: Identity, pads: Sequence[Item]) -> list[Item]:
    """Check the identity, or fail. The limbs of q may be anywhere on the main stack and are used up.

    Takes the pads away and leaves items that are of no more use on top, as many as q has limbs; returns these.
    """
    multiples = _multiples(stack, identity.quotient)
    terms = _terms(identity)
    spare = list(pads)
    stack.push(0)
    for bit in range(identity.top, -1, -1):
        if bit != identity.top:
            stack.double()
        for term in terms[bit]:
            _add(stack, term)
        _add_quotient(stack, identity, multiples, bit)
        if bit % identity.width == 0 and bit // identity.width >= len(identity.quotient):
            stack.remove(spare.pop())
    stack.apply(OP_NOT + OP_VERIFY, 1)
    stack.items.pop()
    return stack.items[-len(identity.quotient) :]


def _multiples(stack: Stack, quotient: Sequence[Item]) -> _Multiples:
    multiples: _Multiples = {}
    for limb, item in enumerate(quotient):
        stack.roll(item)
        multiples[limb, 1] = item
        stack.pick(item)
        multiples[limb, 3] = stack.apply(OP_DUP + OP_DUP + OP_ADD + OP_ADD, 1, above=2)
    return multiples


def _terms(identity: Identity) -> Mapping[int, list[tuple[Item, int]]]:
    """Bit → what is added: items with signs; sign 0 is for a depth, whose entry is added."""
    terms: dict[int, list[tuple[Item, int]]] = defaultdict(list)
    for lookup in identity.lookups:
        for limb in range(len(lookup.bounds)):
            terms[lookup.bit + identity.width * limb].append((lookup.item, 0))
    for linear in identity.linear:
        for limb, item in enumerate(linear.limbs):
            terms[linear.shift + identity.width * limb].append((item, linear.sign))
    return terms


def _add(stack: Stack, term: tuple[Item, int]) -> None:
    item, sign = term
    stack.pick(item)
    if not sign:
        stack.apply(OP_PICK, 1)
    stack.add(-1 if sign < 0 else 1)


def _add_quotient(stack: Stack, identity: Identity, multiples: _Multiples, bit: int) -> None:
    for limb in range(len(identity.quotient)):
        position = bit - identity.width * limb
        digit = _P_DIGITS[position] if 0 <= position < len(_P_DIGITS) else 0
        if digit:
            item = multiples[limb, abs(digit)]
            if position:
                stack.pick(item)
            else:
                stack.roll(item)
            stack.add(-1 if digit > 0 else 1)
