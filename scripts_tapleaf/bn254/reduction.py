"""A sum of many small terms at many bit positions, reduced modulo p without a hint: quotient and remainder computed.

`N = Σ term · 2^position` is evaluated from its top bit down in one register: `DUP ADD` for each bit, then the terms
that belong there. Nothing is carried and no column is kept. Down to bit 224 the register is kept small by choosing
digits of the quotient in base 4: at every second bit the multiple d·U nearest to the register is taken away, d from −2
to 2, where U = round(p / 2^224). Eleven digits make a limb of q. What of q·p lies below bit 224 is taken away later,
as further terms, when the limb is complete: p is constant, so that a limb of q costs one addition for each digit of
p's non-adjacent form. From bit 223 down the register is N − q·p, and the same rule with U = 2^29 reads off the result.

Whatever digits are chosen, `N = q·p + r` holds exactly, because an addition is exact or fails the script: a bound that
is wrong could make a script fail, never lie. That it does not fail is proved when it is written (`_plan`): after a
choice the register is at most U/2, two bits on it is at most 2U and the terms of these two bits, and the next choice
succeeds if that is at most 2½ U.

A term is a limb of a sum that is added, a limb of q, or a look-up in a table of multiples. A look-up finds its entry by
depth: in a table block limb l lies one item above limb l + 1, and the stack becomes one item higher each time the walk
leaves a column of 22 bits, so that one number on the stack, the depth of limb 0 of the entry, serves all limbs.

Two thresholds lie right below the register at all times. What makes the stack higher goes below them: limbs of q, and
then spare items, which limbs of the result replace. A chosen digit is kept on the altstack as the depth at which its
multiple of U was found; a complete limb is put together from these, and what the depths exceed the digits by is known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, NamedTuple

from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS, MAX_OPERAND, Bounds, P
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.digits import signed_digits
from scripts_tapleaf.script import (
    DOUBLE,
    OP_0,
    OP_1ADD,
    OP_1SUB,
    OP_2DUP,
    OP_2SWAP,
    OP_3DUP,
    OP_ABS,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_EQUALVERIFY,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_LESSTHAN,
    OP_LESSTHANOREQUAL,
    OP_MAX,
    OP_MIN,
    OP_NEGATE,
    OP_PICK,
    OP_ROLL,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_TUCK,
    ROLLS,
    ScriptError,
    num,
)

QUOTIENT_BIT: Final = 224
"""The register is here when the last digit of the quotient is chosen."""
QUOTIENT_UNIT: Final = (P + (1 << QUOTIENT_BIT - 1)) >> QUOTIENT_BIT
RESULT_BITS: Final = 29
RESULT_UNIT: Final = 1 << RESULT_BITS
LIMB_DIGITS: Final = LIMB_BITS // 2
LIMB_BOUND: Final = 2 * (4**LIMB_DIGITS - 1) // 3
"""Magnitude of eleven digits from −2 to 2."""
_DIGITS: Final = (2, 1, 0, -1, -2)
WALK_ITEMS: Final = len(_DIGITS) + 3
"""What a walk has on top of everything when it begins: multiples of a unit, two thresholds and the register."""
_PHASE: Final = QUOTIENT_BIT % LIMB_BITS
_TOP_RESULT_DIGIT: Final = (QUOTIENT_BIT - 1 + RESULT_BITS) // 2
_LAST_RESULT_DIGIT: Final = (RESULT_BITS + 1) // 2
"""The last digit that is chosen while there are still terms to come; what is below is read off at bit 0."""


def column(bit: int) -> int:
    """The column of 22 bits that a bit lies in; a limb of q is complete at the lowest bit of a column."""
    return (bit - _PHASE) // LIMB_BITS


@cache
def deferred_digits() -> tuple[tuple[int, int], ...]:
    """(position, ±1) of p − U·2^224."""
    return tuple(signed_digits(P - (QUOTIENT_UNIT << QUOTIENT_BIT)))


class Term(NamedTuple):
    """An item added (sign 1) or taken away (−1) at a bit: its place (None for 1), and the largest magnitude it has.

    It is copied, or moved where `is_moved`.
    """

    place: int | None
    bit: int
    sign: int
    bound: int
    is_moved: bool = False


class _Code(NamedTuple):
    """What is written for a term: what to do with the item from a place, copied or moved; with no item for None."""

    place: int | None
    code: bytes
    is_moved: bool = False


@dataclass(frozen=True)
class Lookups:
    """Digits at bits 0, 2, 4, …: the place of each one's number, and bounds of the entries of the tables by limb."""

    places: Sequence[int]
    entries: Sequence[int]

    def terms(self) -> Iterator[tuple[int, int, int]]:
        """(bit, place, bound) of every look-up."""
        for digit, place in enumerate(self.places):
            for limb, bound in enumerate(self.entries):
                yield 2 * digit + LIMB_BITS * limb, place, bound


class Walk:
    """One reduction. `magnitude` is the largest |N|; a zero check and not a result is written where `is_zero`."""

    def __init__(
        self, writer: Writer, lookups: Lookups | None, terms: Sequence[Term], magnitude: int, *, is_zero: bool = False
    ) -> None:
        self._writer = writer
        self._lookups = lookups
        self._is_zero = is_zero
        self._depths: list[int] = []
        """Depths at which the digits since the last complete limb were found."""
        self._saved: list[int] = []
        """Places of limbs of the result."""
        self._has_spare = False
        """Is there an item below the thresholds that a limb of the result can replace?"""
        self._terms: dict[int, list[_Code]] = {}
        load: dict[int, int] = {}
        for bit, place, bound in lookups.terms() if lookups else ():
            self._add(bit, _Code(place, OP_PICK + OP_ADD))
            load[bit] = load.get(bit, 0) + bound
        for term in terms:
            by_one = OP_1ADD if term.sign > 0 else OP_1SUB
            code = by_one if term.place is None else OP_ADD if term.sign > 0 else OP_SUB
            self._add(term.bit, _Code(term.place, code, term.is_moved))
            load[term.bit] = load.get(term.bit, 0) + term.bound
        self._top = max([QUOTIENT_BIT, *load])
        self._plan = _plan(load, magnitude, self._top, is_zero)

    @property
    def bounds(self) -> Bounds:
        """Of the result."""
        return self._plan.bounds

    def write(self) -> None:
        """Write it; the result's limbs go to the altstack, the top limb first, and nothing else is left behind."""
        self._start = self._writer.height
        self._push_constants(QUOTIENT_UNIT)
        self._writer.number(0)
        for bit in range(self._top, -1, -1):
            self._write_bit(bit)
        self._finish()
        self._writer.drop(self._writer.height - self._start)

    def _add(self, bit: int, code: _Code) -> None:
        self._terms.setdefault(bit, []).append(code)

    def _push_constants(self, unit: int) -> None:
        """−d·unit for d from 2 down to −2, then the magnitudes from which d is 2 and 1."""
        writer = self._writer
        self._multiples = writer.height
        for digit in _DIGITS:
            writer.number(-digit * unit)
        writer.number((3 * unit + 1) // 2)
        writer.number((unit + 1) // 2)

    def _write_bit(self, bit: int) -> None:
        """Double, add the terms of the bit, choose a digit where one is due, and grow where a column ends."""
        writer = self._writer
        if bit < self._top:
            writer.write(DOUBLE)
            writer.peak(1)
        codes = self._terms.get(bit, [])
        while codes:
            self._write_term(*codes.pop(0))
        digit, odd = divmod(bit - QUOTIENT_BIT, 2)
        if not odd and 0 <= digit <= self._plan.top_digit:
            self._choose()
            if digit % LIMB_DIGITS == 0:
                self._defer(digit // LIMB_DIGITS)
                if digit == 0 and not self._is_zero:
                    self._change_constants()
                return
        digit, odd = divmod(bit + RESULT_BITS, 2)
        if not odd and not self._is_zero and _LAST_RESULT_DIGIT <= digit <= _TOP_RESULT_DIGIT:
            self._choose()
            if digit % LIMB_DIGITS == 0:
                self._save()
        if self._lookups and bit % LIMB_BITS == _PHASE:
            writer.write(num(2) + OP_PICK + OP_ROT + OP_ROT, grows=1)
            self._has_spare = bit < QUOTIENT_BIT

    def _write_term(self, place: int | None, code: bytes, is_moved: bool) -> None:
        writer = self._writer
        if place is None:
            writer.write(code)
            return
        if is_moved:
            writer.write(ROLLS[writer.depth(place)])
            self._start -= 1
            self._close_gap(place, 1)
        else:
            writer.pick(place)
        writer.write(code, grows=-1)

    def _choose(self) -> None:
        """(3u/2 u/2 V) → (3u/2 u/2 V − d·u), and to the altstack the depth at which −d·u was found."""
        writer = self._writer
        nearest(writer, 2)
        depth = writer.depth(self._multiples + _DIGITS.index(0)) - 1
        self._depths.append(depth)
        writer.write(num(depth) + OP_ADD + OP_DUP + OP_TOALTSTACK + OP_PICK + OP_ADD, grows=-1)
        writer.alt += 1
        writer.peak(1)

    def _assemble(self) -> None:
        """() → (limb) of the digits whose depths are on the altstack."""
        writer = self._writer
        count = len(self._depths)
        writer.from_alt(count)
        writer.write((DOUBLE * 2 + OP_ADD) * (count - 1), grows=1 - count)
        writer.peak(count)
        value = 0
        for depth in self._depths:
            value = 4 * value + depth
        writer.add_number(-value)
        self._depths.clear()

    def _defer(self, limb: int) -> None:
        """A limb of q is complete: what it has below bit 224 becomes terms. It is put below the thresholds."""
        writer = self._writer
        self._assemble()
        writer.write(OP_2SWAP + num(3) + OP_ROLL)
        for position, sign in deferred_digits():
            self._add(LIMB_BITS * limb + position, _Code(writer.height - 4, OP_SUB if sign > 0 else OP_ADD))

    def _save(self) -> None:
        """A limb of the result is complete: it replaces a spare item below the thresholds where there is one."""
        writer = self._writer
        self._assemble()
        if not self._has_spare:
            writer.to_alt()
            return
        writer.write(OP_2SWAP + num(4) + OP_ROLL + OP_DROP + num(3) + OP_ROLL, grows=-1)
        self._saved.append(writer.height - 4)
        self._has_spare = False

    def _change_constants(self) -> None:
        """From the quotient to the result: other constants, now above the limbs of q. The height stays."""
        writer = self._writer
        first, count = self._multiples, len(_DIGITS)
        writer.to_alt()
        writer.drop(2)
        writer.write(ROLLS[writer.depth(first)] * count)
        writer.drop(count)
        self._close_gap(first, count)
        self._push_constants(RESULT_UNIT)
        writer.from_alt()

    def _close_gap(self, first: int, count: int) -> None:
        """Items from a place on are gone: what lay above them lies lower."""
        self._multiples -= count * (self._multiples > first)
        self._saved = [place - count * (place > first) for place in self._saved]
        for codes in self._terms.values():
            codes[:] = [
                code._replace(place=code.place - count) if code.place is not None and code.place > first else code
                for code in codes
            ]

    def _finish(self) -> None:
        writer = self._writer
        if self._is_zero:
            writer.write(OP_0 + OP_EQUALVERIFY, grows=-1)
            return
        self._assemble()
        writer.write(DOUBLE * (2 * (_LAST_RESULT_DIGIT - LIMB_DIGITS)) + OP_SWAP)
        offset = ((self._plan.rest + (1 << LIMB_BITS - 1)) >> LIMB_BITS) + 1
        low = 1 << LIMB_BITS - 1
        writer.add_number(low + (offset << LIMB_BITS))
        split(writer, (2 * offset + 1).bit_length())
        writer.add_number(-low)
        writer.write(OP_SWAP)
        writer.add_number(-offset)
        writer.write(OP_ROT + OP_ADD, grows=-1)
        for moved, place in enumerate(self._saved):
            writer.write(ROLLS[writer.depth(place - moved)])
            writer.to_alt()
        writer.to_alt(2)


def nearest(writer: Writer, most: int) -> None:
    """(3u/2 u/2 v) → (3u/2 u/2 v d), where d·u is nearest to v; d is limited to 2, or to 1 without the first threshold.

    The magnitude of d is the number of thresholds that |v| reaches. It is not more than |v|, so that v limited to it on
    both sides is d.
    """
    if most == 1:
        writer.write(OP_2DUP + OP_ABS + OP_LESSTHANOREQUAL, grows=1)
        writer.peak(1)
    else:
        writer.write(OP_3DUP + OP_ABS + OP_TUCK + OP_LESSTHANOREQUAL, grows=3)
        writer.peak(1)
        writer.write(OP_SWAP + OP_ROT + OP_GREATERTHANOREQUAL + OP_ADD, grows=-2)
    writer.write(OP_2DUP + OP_NEGATE + OP_MAX + OP_MIN)
    writer.peak(2)


def split(writer: Writer, bits: int, low: int = LIMB_BITS) -> None:
    """(v) → (⌊v / 2^low⌋, v mod 2^low), for 0 ≤ v < 2^(low + bits); another v leaves a second item out of range."""
    writer.write(OP_0 + OP_SWAP, grows=1)
    for bit in reversed(range(bits)):
        writer.write(subtract_if(1 << low + bit, OP_SWAP + num(1 << bit) + OP_ADD + OP_SWAP))
    writer.peak(3)


def carry_out(writer: Writer, low: int, high: int) -> None:
    """(next v) → (next + ⌊v / 2^22⌋), v mod 2^22 to the altstack, for low ≤ v ≤ high.

    For any other v it is exact too, but what goes to the altstack is then no limb of 22 bits.
    """
    base = 1 << LIMB_BITS
    if low < -2 * base or high >= 2 * base:
        lowest = low >> LIMB_BITS
        writer.add_number(-lowest << LIMB_BITS)
        split(writer, ((high >> LIMB_BITS) - lowest).bit_length())
        writer.to_alt()
        writer.add_number(lowest)
        writer.write(OP_ADD, grows=-1)
        return
    if low < -base:
        borrow = num(base) + OP_ADD + OP_SWAP + OP_1SUB + OP_SWAP
        writer.write(OP_DUP + num(-base) + OP_LESSTHAN + OP_IF + borrow + OP_ENDIF)
    code = OP_TOALTSTACK
    if high >= base:
        carry = OP_SUB + OP_TOALTSTACK + OP_1ADD
        code = num(base) + OP_2DUP + OP_GREATERTHANOREQUAL + OP_IF + carry + OP_ELSE + OP_DROP + code + OP_ENDIF
    if low < 0:
        borrow = num(base) + OP_ADD + OP_TOALTSTACK + OP_1SUB
        code = OP_DUP + OP_0 + OP_LESSTHAN + OP_IF + borrow + OP_ELSE + code + OP_ENDIF
    writer.write(code, grows=-1)
    writer.alt += 1
    writer.peak(3)


def subtract_if(threshold: int, then: bytes) -> bytes:
    """(v) → (v − threshold), and `then` is run, where v is that much; else v stays."""
    return b"".join((num(threshold), OP_2DUP, OP_GREATERTHANOREQUAL, OP_IF, OP_SUB, then, OP_ELSE, OP_DROP, OP_ENDIF))


class _Plan(NamedTuple):
    """The highest digit of the quotient, bounds of the result, and the magnitude of the register at bit 0."""

    top_digit: int
    bounds: Bounds
    rest: int


def _plan(load: dict[int, int], magnitude: int, top: int, is_zero: bool) -> _Plan:
    """Raises ScriptError where an operand may exceed four bytes or a digit may exceed 2."""
    for top_digit in range((top - QUOTIENT_BIT) // 2 + 1):
        total = dict(load)
        for limb in range(top_digit // LIMB_DIGITS + 1):
            bound = min(LIMB_BOUND, 2 * (4 ** (top_digit + 1 - LIMB_DIGITS * limb) - 1) // 3)
            for position, _ in deferred_digits():
                bit = LIMB_BITS * limb + position
                total[bit] = total.get(bit, 0) + bound
        plan = _simulate(total, magnitude, top, top_digit, is_zero)
        if plan is not None:
            return plan
    raise ScriptError("reduction: the terms are too large for the register")


def _simulate(load: dict[int, int], magnitude: int, top: int, top_digit: int, is_zero: bool) -> _Plan | None:
    """The register's bound at every bit; None where it is too large."""
    tail = sum(bound << bit for bit, bound in load.items())
    register, remainder = 0, magnitude
    for bit in range(top, -1, -1):
        register = 2 * register + load.get(bit, 0)
        tail -= load.get(bit, 0) << bit
        known = (remainder + tail >> bit) + 1
        if register > MAX_OPERAND:
            return None
        register = min(register, known)
        digit, odd = divmod(bit - QUOTIENT_BIT, 2)
        unit = QUOTIENT_UNIT if not odd and 0 <= digit <= top_digit else 0
        digit, odd = divmod(bit + RESULT_BITS, 2)
        if not odd and not is_zero and _LAST_RESULT_DIGIT <= digit <= _TOP_RESULT_DIGIT:
            unit = RESULT_UNIT
        if unit:
            if 2 * register > 5 * unit - 2:
                return None
            register = min(register, unit // 2 + 1)
            remainder = (register << bit) + tail
        if bit == QUOTIENT_BIT:
            result = remainder = 0 if is_zero else remainder
    top_limb = (result >> LIMB_BITS * (LIMBS - 1)) + 2
    limbs = (1 << LIMB_BITS - 1, *(LIMB_BOUND for _ in range(LIMBS - 2)), top_limb)
    return _Plan(top_digit, Bounds(limbs, result), register)
