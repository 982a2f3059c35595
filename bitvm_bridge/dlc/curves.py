"""Payout curves over numbers, in exact arithmetic (dlcspecs `PayoutCurve.md`, `NumericOutcome.md`).

A curve is cut where it turns, so that each part rises or falls; how far a payout stays the same is then found by
doubling steps and bisection, and a million outcomes of which few differ are not evaluated one by one.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import pairwise
from math import isqrt, lcm
from typing import Final

from bitvm_bridge.errors import BadInput

PRECISION_BITS: Final = 16
"""Bits of the fraction of a payout or parameter."""
MAX_POINTS: Final = 64
"""of one polynomial; beyond, splines are meant (dlcspecs: Runge's phenomenon)."""
MAX_RANGES: Final = 1_000_000
"""Payouts that change more often than this are not a contract that anyone signs."""


def fixed_point(negative: bool, integer: int, extra_precision: int) -> Fraction:
    """A parameter as it travels: sign, whole part and 16 bits of fraction. Raises BadInput."""
    check_precision(extra_precision)
    value = integer + Fraction(extra_precision, 1 << PRECISION_BITS)
    return -value if negative else value


def check_precision(extra_precision: int) -> None:
    """Raises BadInput for more than 16 bits."""
    if not 0 <= extra_precision < 1 << PRECISION_BITS:
        raise BadInput("extra precision", extra_precision, f"a number of {PRECISION_BITS} bits")


@dataclass(frozen=True)
class PayoutPoint:
    """A point that a curve goes through: an outcome and the offerer's payout in sat, with 2⁻¹⁶ sat more to each
    unit of `extra_precision`.
    """

    outcome: int
    payout: int
    extra_precision: int = 0

    def __post_init__(self) -> None:
        check_precision(self.extra_precision)
        if self.payout < 0:
            raise BadInput(f"payout at outcome {self.outcome}", self.payout, "0 sat or more")

    @property
    def value(self) -> Fraction:
        """The payout in sat."""
        return self.payout + Fraction(self.extra_precision, 1 << PRECISION_BITS)


@dataclass(frozen=True)
class Polynomial:
    """The polynomial through some points, which begins at the first and ends at the last; two make a line."""

    points: tuple[PayoutPoint, ...]

    def __post_init__(self) -> None:
        """Raises BadInput for less than two points, too many, or outcomes that do not increase."""
        if not 2 <= len(self.points) <= MAX_POINTS:
            raise BadInput("payout points", len(self.points), f"2 to {MAX_POINTS} points of a polynomial")
        _check_increasing([point.outcome for point in self.points])

    @property
    def left(self) -> PayoutPoint:
        """Where it begins."""
        return self.points[0]

    @property
    def right(self) -> PayoutPoint:
        """Where it ends."""
        return self.points[-1]

    @cached_property
    def _scaled(self) -> tuple[tuple[int, ...], int]:
        """Coefficients, constant first, as integers over one denominator."""
        fractions = _interpolate([(point.outcome, point.value) for point in self.points])
        denominator = lcm(*(item.denominator for item in fractions))
        return tuple(int(item * denominator) for item in fractions), denominator

    def floor(self, outcome: int, modulus: int, *, half: bool = False) -> int:
        """⌊payout / modulus⌋, or to the nearest with `half`, which goes up from the middle."""
        coefficients, denominator = self._scaled
        value = _evaluate(coefficients, outcome)
        return (2 * value + half * modulus * denominator) // (2 * modulus * denominator)

    def turns(self) -> list[int]:
        """Outcomes from left to right between which the curve rises or falls, or that follow one another."""
        return _turns(self._scaled[0], self.left.outcome, self.right.outcome)


@dataclass(frozen=True)
class Hyperbola:
    """A branch of a rotated and translated hyperbola between two end points (dlcspecs).

    With `t = outcome − translate_outcome` and `r = t ± √(t² − 4ab)`, plus on the positive branch, the payout is
    `c·r/(2a) + 2a·d/r + translate_payout`. The end points say where it begins and ends; the payouts are the formula's.
    """

    left: PayoutPoint
    right: PayoutPoint
    positive: bool
    translate_outcome: Fraction
    translate_payout: Fraction
    a: Fraction
    b: Fraction
    c: Fraction
    d: Fraction

    def __post_init__(self) -> None:
        """Raises BadInput for parameters of no hyperbola, and for one that does not exist at every outcome."""
        _check_increasing([self.left.outcome, self.right.outcome])
        if self.a == 0 or self.a * self.d == self.b * self.c:
            raise BadInput("hyperbola", f"a={self.a} b={self.b} c={self.c} d={self.d}", "one: a ≠ 0 and a·d ≠ b·c")
        for outcome in self._around_axis():
            if not self._exists(outcome - self.translate_outcome):
                raise BadInput("hyperbola", f"none at outcome {outcome}", "a curve with a payout at every outcome")

    def _exists(self, t: Fraction) -> bool:
        """Is there a payout? With b = 0 the other branch is where `r` would be zero."""
        if self.b == 0:
            return t > 0 if self.positive else t < 0
        return t**2 >= 4 * self.a * self.b

    def _around_axis(self) -> list[int]:
        """The ends, and the outcomes next to the axis, where the root is smallest."""
        axis = self.translate_outcome.numerator // self.translate_outcome.denominator
        ends = (self.left.outcome, self.right.outcome)
        return sorted({*ends, *(item for item in (axis, axis + 1) if ends[0] < item < ends[1])})

    def _parts(self, outcome: int) -> tuple[Fraction, Fraction, Fraction]:
        """(p, q, e) of the payout `p + q·√e`; `1/r` is `(t ∓ √…)/4ab` but for b = 0, where the root is |t|."""
        t = outcome - self.translate_outcome
        if self.b == 0:
            return self.c * t / self.a + self.a * self.d / t + self.translate_payout, Fraction(0), Fraction(0)
        first, second = self._slopes()
        return t * first + self.translate_payout, second, t**2 - 4 * self.a * self.b

    def _slopes(self) -> tuple[Fraction, Fraction]:
        """Factors of `t` and of the root (b ≠ 0)."""
        by_c, by_d = self.c / (2 * self.a), self.d / (2 * self.b)
        return by_c + by_d, (by_c - by_d) * (1 if self.positive else -1)

    def floor(self, outcome: int, modulus: int, *, half: bool = False) -> int:
        """⌊payout / modulus⌋, or to the nearest with `half`, which goes up from the middle."""
        p, q, e = self._parts(outcome)
        return _floor_with_root(p / modulus + Fraction(half, 2), q / modulus, e)

    def _slope_sign(self, outcome: int) -> int:
        """The sign of the derivative."""
        t = outcome - self.translate_outcome
        if self.b == 0:
            return _sign((self.c * t**2 - self.a**2 * self.d) * self.a)
        first, second = self._slopes()
        root, straight = t**2 - 4 * self.a * self.b, second * t
        return _sign_of_sum(first, root, straight)

    def turns(self) -> list[int]:
        """Outcomes from left to right between which the curve rises or falls, or that follow one another."""
        return _split_at_sign_changes(self._slope_sign, self._around_axis())


Piece = Polynomial | Hyperbola


@dataclass(frozen=True)
class PayoutFunction:
    """Pieces of which each begins where the one before ends; that point is the earlier one's."""

    pieces: tuple[Piece, ...]

    def __post_init__(self) -> None:
        """Raises BadInput for no piece, and for gaps, overlaps and jumps between them."""
        if not self.pieces:
            raise BadInput("payout function", "no piece", "one piece or more")
        for one, other in pairwise(self.pieces):
            if other.left.outcome != one.right.outcome:
                what = "a gap" if other.left.outcome > one.right.outcome else "an overlap"
                between = f"{what} between outcomes {one.right.outcome} and {other.left.outcome}"
                raise BadInput("payout function", between, "pieces of which each begins where the one before ends")
            if other.left != one.right:
                jump = f"a jump at outcome {one.right.outcome}"
                raise BadInput("payout function", jump, "pieces that share their end points; a jump needs two outcomes")

    @property
    def first(self) -> int:
        """The lowest outcome."""
        return self.pieces[0].left.outcome

    @property
    def last(self) -> int:
        """The highest outcome."""
        return self.pieces[-1].right.outcome


@dataclass(frozen=True)
class RoundingIntervals:
    """(first outcome, modulus in sat): from there on payouts are rounded to multiples; before the first, to 1 sat."""

    intervals: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        """Raises BadInput for outcomes that do not increase, or a modulus that is none."""
        if self.intervals:
            _check_increasing([begin for begin, _ in self.intervals])
        for _, modulus in self.intervals:
            if modulus < 1:
                raise BadInput("rounding modulus", modulus, "1 sat or more")

    @cached_property
    def begins(self) -> list[int]:
        """Where the modulus changes."""
        return [begin for begin, _ in self.intervals]

    def modulus(self, outcome: int) -> int:
        """In sat."""
        index = bisect_right(self.begins, outcome)
        return self.intervals[index - 1][1] if index else 1

    def minimum(self, other: "RoundingIntervals") -> "RoundingIntervals":
        """What two parties round to who each allow this much: the smaller modulus everywhere."""
        begins = sorted({*self.begins, *other.begins})
        return RoundingIntervals(tuple((begin, min(self.modulus(begin), other.modulus(begin))) for begin in begins))


@dataclass(frozen=True)
class PayoutRange:
    """Outcomes from `start` to `end`, both included, that pay the offerer the same: `payout` in sat."""

    start: int
    end: int
    payout: int


def payout_ranges(function: PayoutFunction, rounding: RoundingIntervals, collateral: int) -> list[PayoutRange]:
    """The longest ranges of equal payouts, in ascending order; `collateral` in sat.

    Rounding never goes above the collateral. Raises BadInput where the curve itself goes below zero or, to the nearest
    sat, above the collateral; and for more than MAX_RANGES ranges.
    """
    found: list[PayoutRange] = []
    for piece, start, end in _stretches(function, rounding):
        for each in _constant(piece, start, end, rounding.modulus(start), collateral):
            if found and found[-1].payout == each.payout:
                each = PayoutRange(found.pop().start, each.end, each.payout)
            found.append(each)
            if len(found) > MAX_RANGES:
                raise BadInput("payout function", f"over {MAX_RANGES:,} payouts", "one that changes less often: round")
    return found


def _stretches(function: PayoutFunction, rounding: RoundingIntervals) -> Iterator[tuple[Piece, int, int]]:
    """(piece, start, end) of stretches in which a curve rises or falls under one modulus; all outcomes, each once."""
    begin = function.first
    for piece in function.pieces:
        for end in piece.turns()[1:]:
            cuts = [item for item in rounding.begins if begin < item <= end]
            for start, stop in pairwise([begin, *cuts, end + 1]):
                yield piece, start, stop - 1
            begin = end + 1


def _constant(piece: Piece, start: int, end: int, modulus: int, collateral: int) -> Iterator[PayoutRange]:
    """The ranges of one stretch."""
    for outcome in (start, end):
        if piece.floor(outcome, 1) < 0:
            raise BadInput("payout function", f"below zero at outcome {outcome}", "one that is never negative")
        if piece.floor(outcome, 1, half=True) > collateral:
            above = f"above the collateral at outcome {outcome}"
            raise BadInput("payout function", above, f"one that never pays more than {collateral:,} sat")

    def payout(outcome: int) -> int:
        return min(piece.floor(outcome, modulus, half=True) * modulus, collateral)

    value, last = payout(start), payout(end)
    while start <= end:
        stop, following = (end, value) if value == last else _run(payout, start, end, value)
        yield PayoutRange(start, stop, value)
        start, value = stop + 1, following


def _run(payout: Callable[[int], int], start: int, end: int, value: int) -> tuple[int, int]:
    """How far a payout stays what it is at `start`, and what follows; at `end` it is another."""
    low, step = start, 1
    while (high := min(low + step, end)) < end and (following := payout(high)) == value:
        low, step = high, 2 * step
    if high == end:
        following = payout(end)
    while high - low > 1:
        middle = (low + high) // 2
        if (found := payout(middle)) == value:
            low = middle
        else:
            high, following = middle, found
    return low, following


def _check_increasing(outcomes: Sequence[int]) -> None:
    for one, other in pairwise(outcomes):
        if other <= one:
            raise BadInput("outcomes", f"{one}, then {other}", "outcomes that strictly increase")


def _interpolate(points: Sequence[tuple[int, Fraction]]) -> list[Fraction]:
    """Coefficients, constant first, of the polynomial through points: Newton's divided differences, expanded."""
    differences = [value for _, value in points]
    for order in range(1, len(points)):
        for index in range(len(points) - 1, order - 1, -1):
            width = points[index][0] - points[index - order][0]
            differences[index] = (differences[index] - differences[index - 1]) / width
    coefficients: list[Fraction] = [differences[-1]]
    for (outcome, _), difference in zip(points[-2::-1], differences[-2::-1], strict=True):
        shifted = [Fraction(0), *coefficients]
        coefficients = [high - outcome * low for high, low in zip(shifted, [*coefficients, Fraction(0)], strict=True)]
        coefficients[0] += difference
    while len(coefficients) > 1 and coefficients[-1] == 0:
        coefficients.pop()
    return coefficients


def _evaluate(coefficients: Sequence[int], outcome: int) -> int:
    value = 0
    for coefficient in reversed(coefficients):
        value = value * outcome + coefficient
    return value


def _turns(coefficients: Sequence[int], left: int, right: int) -> list[int]:
    """Cuts of [left, right] between which a polynomial rises or falls, or that follow one another.

    It turns where its derivative changes its sign, which happens at most once in each part of the derivative.
    """
    if len(coefficients) <= 2:
        return [left, right]
    derivative = [power * item for power, item in enumerate(coefficients)][1:]
    return _split_at_sign_changes(lambda at: _sign(_evaluate(derivative, at)), _turns(derivative, left, right))


def _split_at_sign_changes(sign: Callable[[int], int], cuts: Sequence[int]) -> list[int]:
    """The cuts, and wherever the sign changes between two of them, which happens once, the outcomes on both sides."""
    found = {*cuts}
    for low, high in pairwise(cuts):
        before = sign(low)
        if before * sign(high) >= 0:
            continue
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if sign(middle) == before else (low, middle)
        found |= {low, high}
    return sorted(found)


def _sign(value: int | Fraction) -> int:
    return (value > 0) - (value < 0)


def _sign_of_sum(factor: Fraction, radicand: Fraction, other: Fraction) -> int:
    """The sign of `factor·√radicand + other`, without the root."""
    root = _sign(factor) if radicand else 0
    if root * _sign(other) >= 0:
        return root or _sign(other)
    return _sign(other) * _sign(other**2 - factor**2 * radicand)


def _floor_with_root(whole: Fraction, factor: Fraction, radicand: Fraction) -> int:
    """⌊whole + factor·√radicand⌋, exactly: `(n ± √m)/k` with integers has the floor of `(⌊n ± √m⌋)/k`."""
    square = factor**2 * radicand
    denominator = lcm(whole.denominator, square.denominator)
    radical = int(square * denominator**2)
    root = isqrt(radical)
    if factor < 0:
        root = -root if root**2 == radical else -root - 1
    return (int(whole * denominator) + root) // denominator
