"""Sums of products in Fq and Fq2, reduced: operands in limbs on the stack, no hints.

One operand is cut into digits −2 … 1 in base 4, the other one has a table of multiples. In Fq2 the digits d0 and d1 of
both components together choose one of sixteen entries: d0·b0 − d1·b1 for the real part, d0·b1 + d1·b0 for the
imaginary part, in tables that follow each other in the same place, so that one cut serves both. A digit is kept as the
depth at which `Walk` looks it up, and the cut yields it in that form.

The digits stay on the altstack for further products of the same operand.

Items are used up where they lie as far as that is possible, because the most items that a script may have at a time
decides how much fits in it: a component of b is the deepest block of its table, and the walk takes the addend away.
"""

from collections.abc import Sequence
from functools import cache
from typing import Final, NamedTuple

from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS, Bounds
from scripts_tapleaf.bn254.reduction import LIMB_DIGITS, WALK_ITEMS, Lookups, Term, Walk, carry_out, column
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.script import (
    DOUBLE,
    OP_0,
    OP_2DUP,
    OP_2SWAP,
    OP_ADD,
    OP_DUP,
    OP_GREATERTHANOREQUAL,
    OP_NEGATE,
    OP_NUMEQUALVERIFY,
    OP_PICK,
    OP_SUB,
    OP_SWAP,
    PICKS,
    ROLLS,
    ScriptError,
    num,
)

_LOWEST: Final = -2
"""The least digit; digits are the bits of a + Σ 2·4^i, less 2."""
_DIGITS: Final = ((-2, -1, 0, 1), (-2, -1, 1, 0))
"""Digits of both components in the order of their blocks, the uppermost first: the deepest one is a component of b."""
_LEAST_COUNT: Final = LIMB_DIGITS * (LIMBS - 1) + 1
"""Digits that a cut makes at least: one from the top limb."""
_SEARCH: Final = (OP_2DUP + OP_PICK + OP_GREATERTHANOREQUAL + OP_ADD + OP_PICK) * 2
"""(value index) → (value child's child)"""


def digit_count(value: int) -> int:
    """How many digits −2 … 1 every number of at most this magnitude has."""
    count = 1
    while (4**count - 1) // 3 < value:
        count += 1
    return count


_WIDEST: Final = 1 << 30
"""A limb that is cut must leave room for its carry and for the digits' offset."""


class Fragment(NamedTuple):
    """A piece of script on top of the stack, the most items that it has there and on the altstack, and its results."""

    script: bytes
    most: int
    results: tuple[Bounds, ...]


@cache
def cut(a: tuple[Bounds, ...]) -> Fragment:
    """(a) → (), the numbers of its digits to the altstack, for any number of `multiply_cut`.

    Takes the limbs of the components, the last one's uppermost, limb 0 uppermost in each. Fails for limbs that do not
    keep to their bounds, so that what is on the altstack are numbers of digits.

    Raises ScriptError where a limb may be too large for four-byte arithmetic.
    """
    if (widest := max(limb for bound in a for limb in bound.limbs)) >= _WIDEST:
        raise ScriptError(f"cut: limb of magnitude {widest}, expected less than {_WIDEST}")
    writer = Writer(LIMBS * len(a))
    _Cut(writer, a, cut_items(a)).write()
    return Fragment(writer.script(), writer.most, ())


@cache
def multiply_cut(
    a: tuple[Bounds, ...],
    b: tuple[Bounds, ...],
    addend: tuple[Bounds, ...] = (),
    *,
    is_zero: bool = False,
    is_last: bool = True,
) -> Fragment:
    """a·b + addend modulo p, in Fq (one component each) or in Fq2 (two: real, imaginary), where a is cut.

    Takes the limbs of the addend's components and of b's from the main stack, limb 0 uppermost in each. Leaves the
    results on the altstack, the real part first, the top limb of each first, and a's digits above them unless it
    `is_last`. Where `is_zero`, fails unless the sum is 0 modulo p, and leaves no results.

    Raises ScriptError where the operands may be too large for four-byte arithmetic.
    """
    count, components = cut_items(a), len(a)
    writer = Writer(LIMBS * (len(addend) + components))
    writer.alt = count
    magnitude = sum(x.value * y.value for x, y in zip(a, b, strict=True))
    if components == 2:
        magnitude = max(magnitude, a[0].value * b[1].value + a[1].value * b[0].value)
    entries = [-_LOWEST * sum(bound.limbs[limb] for bound in b) for limb in range(LIMBS)]
    results = []
    for part in range(components):
        if part:
            writer.to_alt(count)
            writer.drop(LIMBS * (4**components - 1))
        _write_table(writer, components, imaginary=part == 1)
        lookups = Lookups(_digit_places(writer.height, count), entries)
        writer.from_alt(count)
        limbs = enumerate(addend[part].limbs if addend else ())
        terms = [Term(LIMBS - 1 - limb, LIMB_BITS * limb, 1, bound, is_moved=True) for limb, bound in limbs]
        walk = Walk(writer, lookups, terms, magnitude + (addend[part].value if addend else 0), is_zero=is_zero)
        walk.write()
        results.append(walk.bounds)
    if not is_last:
        writer.to_alt(count)
    writer.drop(writer.height)
    return Fragment(writer.script(), writer.most, () if is_zero else tuple(results))


def multiply(
    a: tuple[Bounds, ...], b: tuple[Bounds, ...], addend: tuple[Bounds, ...] = (), *, is_zero: bool = False
) -> Fragment:
    """a·b + addend modulo p, of operands on the main stack: `cut` of a, which is uppermost, and `multiply_cut`."""
    first, then = cut(a), multiply_cut(a, b, addend, is_zero=is_zero)
    most = max(first.most + LIMBS * (len(addend) + len(b)), then.most)
    return Fragment(first.script + then.script, most, then.results)


def cut_items(a: tuple[Bounds, ...]) -> int:
    """Digits that `cut` makes: items on the altstack."""
    return max(_LEAST_COUNT, *(digit_count(bound.value) for bound in a))


def _digit_places(start: int, count: int) -> list[int]:
    """Places of the digits' numbers as they come back from the altstack: the highest limb deepest, rising in each."""
    places = [0] * count
    place = start
    for first in reversed(range(0, count, LIMB_DIGITS)):
        for digit in range(first, min(first + LIMB_DIGITS, count)):
            places[digit] = place
            place += 1
    return places


class _Cut:
    """(components of an operand) → (), the numbers of its digits to the altstack, limb by limb from the highest digit.

    Each limb takes the carry from the one below. What it then has is looked up digit by digit in a tree on the stack
    (`_Tree`), and checked to be nothing in the end.
    """

    def __init__(self, writer: Writer, bounds: Sequence[Bounds], count: int) -> None:
        self._writer, self._bounds, self._count = writer, bounds, count
        self._start = writer.height - LIMBS * len(bounds)
        self._order = list(range(len(bounds)))
        """Which component lies where, the uppermost last."""
        self._carry = [0] * len(bounds)
        self._tree = _tree(len(bounds), self._number(0))

    def write(self) -> None:
        """Write it."""
        writer = self._writer
        for item in self._tree.items:
            writer.number(item)
        for part in range(len(self._bounds)):
            writer.pick(self._place(part, 0))
        for limb in range(LIMBS):
            first = LIMB_DIGITS * limb
            digits = range(first, self._count if limb == LIMBS - 1 else first + LIMB_DIGITS)
            if limb < LIMBS - 1:
                self._take(limb)
            else:
                self._take_last(digits)
            below = self._order[::-1]
            for digit in reversed(digits):
                self._write_digit(digit, is_last=digit == first)
            self._order = below
        writer.drop(writer.height - self._start)

    def _place(self, part: int, limb: int) -> int:
        return self._start + LIMBS * (part + 1) - 1 - limb

    def _number(self, digit: int) -> int:
        """The depth of the entry of a digit whose components are all −2, limb 0, in the walk's column for it."""
        top = 2 * (self._count - 1) + LIMB_BITS * (LIMBS - 1)
        return self._count + WALK_ITEMS + column(top) - column(2 * digit)

    def _take(self, limb: int) -> None:
        """(limb with carry, for each component) → (next one with carry …  digits to look up …)"""
        writer = self._writer
        for turn in range(len(self._order)):
            part = self._next_part(turn)
            offset = -_LOWEST * (4**LIMB_DIGITS - 1) // 3
            writer.add_number(offset)
            writer.pick(self._place(part, limb + 1))
            writer.write(OP_SWAP)
            most = self._bounds[part].limbs[limb] + self._carry[part]
            carry_out(writer, offset - most, offset + most)
            self._carry[part] = (offset + most >> LIMB_BITS) + 1
        writer.from_alt(len(self._order))
        self._order.reverse()

    def _take_last(self, digits: range) -> None:
        """The same for the highest limb, where 0 stands for the next one."""
        writer = self._writer
        if len(digits) > LIMB_DIGITS:
            raise ScriptError(f"multiply: a number of {self._count} digits, expected at most {LIMB_DIGITS * LIMBS}")
        for turn in range(len(self._order)):
            self._next_part(turn)
            writer.add_number(-_LOWEST * (4 ** len(digits) - 1) // 3)
            writer.write(DOUBLE * (2 * (LIMB_DIGITS - len(digits))))
            writer.peak(1)
        writer.write(OP_0 + OP_SWAP if len(self._order) == 1 else OP_0 + OP_0 + OP_2SWAP, grows=len(self._order))

    def _next_part(self, turn: int) -> int:
        """Bring the component to the top whose turn it is: the one that is there, then the other one."""
        if turn:
            self._writer.write(OP_SWAP)
            self._order.reverse()
        return self._order[-1]

    def _write_digit(self, digit: int, *, is_last: bool) -> None:
        """Look up the highest digit of every component, take it away and add the numbers that are found."""
        writer, parts = self._writer, len(self._order)
        for turn in range(parts):
            root = self._tree.roots[self._next_part(turn)]
            writer.write(num(root) + _SEARCH, OP_DUP + OP_PICK, grows=2)
            writer.peak(2)
            if turn:
                writer.from_alt()
                writer.write(OP_ADD, grows=-1)
            if turn == parts - 1:
                writer.add_number(self._number(digit) - self._number(0))
            writer.to_alt()
            if not is_last:
                writer.write(OP_PICK + OP_SUB + DOUBLE * 2, grows=-1)
            elif turn < parts - 1:
                writer.write(OP_PICK + OP_SUB, grows=-1)
            else:
                writer.write(OP_PICK + OP_NUMEQUALVERIFY, grows=-2)
        if is_last and parts > 1:
            writer.write(OP_0 + OP_NUMEQUALVERIFY, grows=-1)


class _Tree(NamedTuple):
    """A search tree as stack items, deepest first, and the index of the root for each component."""

    items: list[int]
    roots: list[int]


def _tree(components: int, number: int) -> _Tree:
    """A tree of three thresholds for each component; its leaves have the digit's number and what to take away.

    An index is a depth below the items above it when it is used. `_SEARCH` compares with the threshold at index i and
    goes on to what is three items below that, or to the next one where the value reaches the threshold. A leaf's index
    is that of what to take away, and the number lies above that. What the leaf of a digit takes away is the threshold
    for this digit as well: one item for both.
    """
    unit, frame = 4 ** (LIMB_DIGITS - 1), 2 * components
    at: dict[int, int] = {}
    start = {(part, 2): 5 * part for part in range(components)}
    for part in range(components):
        for digit in (1, 3, 0):
            start[part, digit] = 5 * components + 12 * part + (1, 3, 0).index(digit) * 5
    for (part, digit), place in start.items():
        at[place] = LIMBS * 4**part * _DIGITS[part].index(digit + _LOWEST) + (number if part == 0 else 0)
        at[place + 1] = digit * unit
        if digit:
            children = [(part, 1), (part, 3)] if digit == 2 else [(part, digit - 1), (part, digit)]
            for index, child in enumerate(children):
                at[place + 3 + index] = start[child] + frame + (3 if digit == 2 else 1)
    return _Tree(
        [at.get(place, 0) for place in reversed(range(max(at) + 1))],
        [start[part, 2] + frame + 3 for part in range(components)],
    )


def _write_table(writer: Writer, components: int, *, imaginary: bool) -> None:
    """(b) → (b table), each limb in the fewest bytes from items already there.

    The deepest block is the component of b that belongs to the real part of a, brought to the top for that.
    """
    if components == 2:
        writer.write(ROLLS[2 * LIMBS - 1] * LIMBS)
    top = writer.height - 1
    known: list[dict[tuple[int, ...], int]] = [
        {tuple(int(i == part) for i in range(components)): top - LIMBS * part - limb for part in range(components)}
        for limb in range(LIMBS)
    ]
    for block in reversed(range(4**components - 1)):
        real, *rest = (_DIGITS[part][block >> 2 * part & 3] for part in range(components))
        entry = (real, *(digit if imaginary else -digit for digit in rest))
        for limb in reversed(range(LIMBS)):
            code, peak = _shortest(writer, known[limb], entry)
            known[limb].setdefault(entry, writer.height)
            writer.write(code, grows=1)
            writer.peak(peak)


def _shortest(writer: Writer, known: dict[tuple[int, ...], int], entry: tuple[int, ...]) -> tuple[bytes, int]:
    """The shortest code that pushes a combination of known ones, and how many more items it has on its way."""
    if not any(entry):
        return OP_0, 0
    height = writer.height
    options: list[tuple[bytes, int]] = []
    for other, place in known.items():
        first = PICKS[height - 1 - place]
        if other == entry:
            options.append((first, 0))
        if all(x == -y for x, y in zip(other, entry, strict=True)):
            options.append((first + OP_NEGATE, 0))
        if all(2 * x == y for x, y in zip(other, entry, strict=True)):
            options.append((first + OP_DUP + OP_ADD, 1))
        for sign, code in ((1, OP_ADD), (-1, OP_SUB)):
            rest = tuple(sign * (y - x) for x, y in zip(other, entry, strict=True))
            if rest in known:
                options.append((first + PICKS[height - known[rest]] + code, 1))
    return min(options, key=lambda option: len(option[0]))
