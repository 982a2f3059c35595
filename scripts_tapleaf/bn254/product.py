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
from scripts_tapleaf.bn254.reduction import LIMB_DIGITS, WALK_ITEMS, Lookups, Term, Walk, column, split, subtract_if
from scripts_tapleaf.bn254.writer import PICKS, Writer
from scripts_tapleaf.script import (
    OP_0,
    OP_ADD,
    OP_DUP,
    OP_FROMALTSTACK,
    OP_NEGATE,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_VERIFY,
    OP_WITHIN,
    num,
)

_LOWEST: Final = -2
"""The least digit; digits are the bits of a + Σ 2·4^i, less 2."""


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

    `number(digit)` is the number of a digit whose components are all −2. Each limb takes the carry from the one below;
    what is left of it in the end is its lowest digit, and is checked to be one: digits are stack depths.
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
        self._carry = [0] * len(places)

    def write(self) -> None:
        """Write it; carries are gone at the end."""
        parts = list(range(len(self._places)))
        last = min((self._count - 1) // LIMB_DIGITS, LIMBS - 1)
        for limb in range(last + 1):
            first = LIMB_DIGITS * limb
            digits = range(first, self._count if limb == last else first + LIMB_DIGITS)
            for part in reversed(parts):
                self._take(part, limb, digits, is_last=limb == last, is_first=part == parts[-1])
            parts = self._arrange(parts, is_last=limb == last)
            parts = self._digits(parts, digits)

    def _take(self, part: int, limb: int, digits: range, *, is_last: bool, is_first: bool) -> None:
        """Add the carry to a limb; the part's turn comes first where its carry is uppermost."""
        writer = self._writer
        if limb and not is_first:
            writer.write(OP_SWAP if is_last else OP_ROT)
        writer.pick(self._places[part][limb])
        if limb:
            writer.write(OP_ADD, grows=-1)
        carried = self._carry[part]
        offset = sum(-_LOWEST * 4 ** (digit - digits.start) for digit in digits) - carried
        if is_last:
            writer.add_number(offset)
            return
        self._carry[part] = carry = (self._bounds[part].limbs[limb] + carried >> LIMB_BITS) + 1
        writer.add_number(offset + (carry << LIMB_BITS))
        split(writer, (2 * carry + 1).bit_length())

    def _arrange(self, parts: list[int], *, is_last: bool) -> list[int]:
        """What is left of the limbs is brought on top of the carries; the order of the limbs, the uppermost last."""
        if len(parts) == 1:
            return parts
        self._writer.write(OP_SWAP if is_last else OP_ROT)
        return parts

    def _digits(self, parts: list[int], digits: range) -> list[int]:
        """(limb … limb) → (); the order in which the carries lie, the uppermost last."""
        writer = self._writer
        order = list(parts)
        for digit in reversed(digits[1:]):
            writer.number(self._number(digit))
            writer.to_alt()
            for _ in parts:
                for bit in (1, 0):
                    weight = num(LIMBS * 4 ** order[-1] << bit)
                    add = OP_FROMALTSTACK + weight + OP_ADD + OP_TOALTSTACK
                    writer.write(subtract_if(1 << 2 * (digit - digits.start) + bit, add))
                writer.peak(4)
                if len(parts) > 1:
                    writer.write(OP_SWAP)
                    order.reverse()
        for turn in range(len(parts)):
            if turn:
                writer.write(OP_SWAP)
                order.reverse()
            writer.write(OP_DUP + OP_0 + num(4) + OP_WITHIN + OP_VERIFY)
            writer.peak(3)
            writer.multiply(LIMBS * 4 ** order[-1])
        if len(parts) > 1:
            writer.write(OP_ADD, grows=-1)
        writer.add_number(self._number(digits.start))
        writer.to_alt()
        return list(reversed(parts)) if len(parts) > 1 else parts


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
