"""Sums of products in Fq and Fq2, reduced: operands in limbs on the stack, no hints.

One operand is cut into digits −2 … 1 in base 4, the other one has a table of multiples. In Fq2 the digits d0 and d1 of
both components together choose one of sixteen entries: d0·b0 − d1·b1 for the real part, d0·b1 + d1·b0 for the
imaginary part, in tables that follow each other in the same place, so that one cut serves both. A digit is kept as the
depth at which `Walk` looks it up, and the cut yields it in that form: the weights of the bits are distances of blocks.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Final, NamedTuple

from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS, Bounds
from scripts_tapleaf.bn254.reduction import LIMB_DIGITS, WALK_ITEMS, Lookups, Term, Walk, carry_out, column
from scripts_tapleaf.bn254.writer import DOUBLE, PICKS, Writer
from scripts_tapleaf.script import (
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
    ScriptError,
    num,
)

_LOWEST: Final = -2
"""The least digit; digits are the bits of a + Σ 2·4^i, less 2."""

_SEARCH: Final = (OP_2DUP + OP_PICK + OP_GREATERTHANOREQUAL + OP_ADD + OP_PICK) * 2
"""(value index) → (value child's child)"""


def digit_count(value: int) -> int:
    """How many digits −2 … 1 every number of at most this magnitude has."""
    count = 1
    while (4**count - 1) // 3 < value:
        count += 1
    return count


class Fragment(NamedTuple):
    """A piece of script on top of the stack, the most items that it has there and on the altstack, and its results."""

    script: bytes
    most: int
    results: tuple[Bounds, ...]


@cache
def multiply(
    a: tuple[Bounds, ...], b: tuple[Bounds, ...], addend: tuple[Bounds, ...] = (), *, is_zero: bool = False
) -> Fragment:
    """a·b + addend modulo p, in Fq (one component each) or in Fq2 (two: real, imaginary).

    Takes the limbs of the addend's components, of b's and of a's from the main stack, a's last component uppermost and
    limb 0 uppermost in each. Leaves the results on the altstack, the real part first, the top limb of each first. Where
    `is_zero`, fails unless the sum is 0 modulo p, and leaves nothing.

    Raises ScriptError where the operands may be too large for four-byte arithmetic.
    """
    components = len(a)
    groups = len(addend) + 2 * components
    writer = Writer(LIMBS * groups)
    places = [[LIMBS * group + LIMBS - 1 - limb for limb in range(LIMBS)] for group in range(groups)]
    b_places, a_places = places[len(addend) :][:components], places[len(addend) + components :]
    base = LIMBS * (groups - components)
    blocks = 4**components
    count = max(digit_count(bound.value) for bound in a)
    top = 2 * (count - 1) + LIMB_BITS * (LIMBS - 1)
    origin = base + LIMBS * blocks + count + WALK_ITEMS + column(top)
    _Cut(writer, a_places, a, count, lambda digit: origin - column(2 * digit) - base - LIMBS * blocks).write()
    writer.drop(LIMBS * components)
    results: list[Bounds] = []
    magnitude = sum(x.value * y.value for x, y in zip(a, b, strict=True))
    if components == 2:
        magnitude = max(magnitude, a[0].value * b[1].value + a[1].value * b[0].value)
    for part in range(components):
        _write_table(writer, b_places, imaginary=part == 1)
        writer.from_alt(count)
        lookups = Lookups(_digit_places(base + LIMBS * blocks, count), _entry_bounds(b))
        terms = [
            Term(places[part][limb], LIMB_BITS * limb, 1, addend[part].limbs[limb])
            for limb in range(LIMBS if addend else 0)
        ]
        walk = Walk(writer, lookups, terms, magnitude + (addend[part].value if addend else 0), is_zero=is_zero)
        walk.write()
        results.append(walk.bounds)
        if part + 1 < components:
            writer.to_alt(count)
        else:
            writer.drop(count)
        writer.drop(LIMBS * blocks)
    writer.drop(base)
    return Fragment(writer.script(), writer.most, () if is_zero else tuple(results))


def _digit_places(start: int, count: int) -> list[int]:
    """Places of the digits' numbers as they come back from the altstack: the highest limb deepest, rising in each."""
    places = [0] * count
    place = start
    for first in reversed(range(0, count, LIMB_DIGITS)):
        stop = count if first == LIMB_DIGITS * (LIMBS - 1) else min(first + LIMB_DIGITS, count)
        if first > LIMB_DIGITS * (LIMBS - 1):
            continue
        for digit in range(first, stop):
            places[digit] = place
            place += 1
    return places


def _entry_bounds(b: Sequence[Bounds]) -> list[int]:
    return [-_LOWEST * sum(bound.limbs[limb] for bound in b) for limb in range(LIMBS)]


class _Cut:
    """Numbers of an operand's digits to the altstack, limb by limb, in each from the highest digit.

    `number(digit)` is the number of a digit whose components are all −2. Each limb takes the carry from the one below.
    What it then has is looked up digit by digit in a tree on the stack (`_Tree`), and checked to be nothing in the end.
    """

    def __init__(
        self,
        writer: Writer,
        places: Sequence[Sequence[int]],
        bounds: Sequence[Bounds],
        count: int,
        number: Callable[[int], int],
    ) -> None:
        self._writer, self._places, self._bounds = writer, places, bounds
        self._count, self._number = count, number
        self._order = list(range(len(places)))
        """Which component lies where, the uppermost last."""
        self._carry = [0] * len(places)
        self._tree = _tree(len(places), number(0))

    def write(self) -> None:
        """Write it; nothing is left behind."""
        writer, start = self._writer, self._writer.height
        for item in self._tree.items:
            writer.number(item)
        for places in self._places:
            writer.pick(places[0])
        last = min((self._count - 1) // LIMB_DIGITS, LIMBS - 1)
        for limb in range(last + 1):
            first = LIMB_DIGITS * limb
            digits = range(first, self._count if limb == last else first + LIMB_DIGITS)
            if limb == last:
                self._take_last(digits)
            else:
                self._take(limb)
            below = self._order[::-1]
            for digit in reversed(digits):
                self._write_digit(digit, is_last=digit == first)
            self._order = below
        writer.drop(writer.height - start)

    def _take(self, limb: int) -> None:
        """(limb with carry, for each component) → (next one with carry …  digits to look up …)"""
        writer = self._writer
        for turn in range(len(self._order)):
            part = self._next_part(turn)
            offset = -_LOWEST * (4**LIMB_DIGITS - 1) // 3
            writer.add_number(offset)
            writer.pick(self._places[part][limb + 1])
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
        at[place] = LIMBS * 4**part * digit + (number if part == 0 else 0)
        at[place + 1] = digit * unit
        if digit:
            children = [(part, 1), (part, 3)] if digit == 2 else [(part, digit - 1), (part, digit)]
            for index, child in enumerate(children):
                at[place + 3 + index] = start[child] + frame + (3 if digit == 2 else 1)
    return _Tree(
        [at.get(place, 0) for place in reversed(range(max(at) + 1))],
        [start[part, 2] + frame + 3 for part in range(components)],
    )


def _write_table(writer: Writer, b: Sequence[Sequence[int]], *, imaginary: bool) -> None:
    """All blocks, the one of the digits −2 uppermost; each limb in the fewest bytes from items already there."""
    components = len(b)
    known: list[dict[tuple[int, ...], int]] = [
        {tuple(int(i == part) for i in range(components)): b[part][limb] for part in range(components)}
        for limb in range(LIMBS)
    ]
    for block in reversed(range(4**components)):
        real, *rest = ((block >> 2 * part & 3) + _LOWEST for part in range(components))
        entry = (*rest, real) if imaginary else (real, *(-digit for digit in rest))
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
