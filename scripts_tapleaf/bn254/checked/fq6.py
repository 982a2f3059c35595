"""Checked products in Fq6 = Fq2[v] / (v³ − ξ), ξ = 9 + u, by evaluation.

A·B = C mod (v³ − ξ) holds where some Q makes E = A·B − C − (v³ − ξ)·Q vanish. E has at most degree 4 (3 where A is
sparse, without v²; 2 where both are), so it vanishes if it does at 5 (4, 3) of the points 0, ∞, 1, −1 and u, where ∞
stands for the highest coefficient. Q is a hint and nothing is interpolated. Each point is one product over Fq2: as
u⁴ = 1, the powers of a point only swap parts and change signs, and small factors are shifts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, TypeVar

from scripts_tapleaf.bn254.checked._checked import Checked, finish
from scripts_tapleaf.bn254.checked._limbs import MAGNITUDE, representative, to_limbs, witness
from scripts_tapleaf.bn254.checked._pair import LIMBS, WIDTH, Pair, Product, check_product, new_pair
from scripts_tapleaf.bn254.checked._stack import Item, Stack
from scripts_tapleaf.bn254.checked._sums import Normaliser, Sum
from scripts_tapleaf.bn254.checked._walk import Linear
from scripts_tapleaf.bn254.checked.fq2 import Fq2
from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.script import ScriptError

_T = TypeVar("_T")

XI: Final = (9, 1)
DENSE: Final = 3
SPARSE: Final = 2
"""Coefficients of an operand: all, or those of 1 and v."""
DIGITS: Final = 127
SUM_DIGITS: Final = 128
"""Digits that hold a representative, and those that hold a sum of three."""


@dataclass(frozen=True)
class Point:
    """The unit u^turns, or where turns is None 0 (the lowest coefficient) or ∞ (the highest)."""

    turns: int | None
    coefficient: int = 0

    def terms(self, polynomial: Sequence[_T]) -> list[tuple[_T, int]]:
        """Coefficients with the power of u that each is multiplied by."""
        if self.turns is None:
            return [(polynomial[self.coefficient], 0)] if polynomial else []
        return [(term, self.turns * index % 4) for index, term in enumerate(polynomial)]

    @property
    def modulus(self) -> Fq2:
        """v³ − ξ here; its highest coefficient at ∞."""
        if self.turns is None:
            return (1, 0) if self.coefficient else (-XI[0], -XI[1])
        real, imaginary = _turned((1, 0), 3 * self.turns)
        return real - XI[0], imaginary - XI[1]


ZERO: Final = Point(None)
INFINITY: Final = Point(None, -1)
POINTS: Final = (ZERO, INFINITY, Point(0), Point(2), Point(1))


def _turned(value: Fq2, power: int) -> Fq2:
    """value·u^power"""
    for _ in range(power % 4):
        value = -value[1], value[0]
    return value


@dataclass(frozen=True)
class _Layout:
    """The witness of a product, deepest first: c, q, the quotients of each point, b, a."""

    c: list[Pair]
    q: list[Pair]
    quotients: list[Pair]
    b: list[Pair]
    a: list[Pair]

    def items(self) -> list[Item]:
        groups = (self.c, self.q, self.quotients, self.b, self.a)
        return [item for group in groups for pair in group for item in pair.items]


@cache
def mul(a_terms: int = DENSE, b_terms: int = DENSE) -> Checked:
    """A·B = C in Fq6, where A and B have 3 coefficients, or 2 (v² is missing).

    Witness, deepest first: C (3 elements of Fq2), Q (as many as a_terms + b_terms exceed 4), the quotient of p at
    each point (0, ∞, 1, −1, u, one more than the degree), B, A; each element with its real part and then its imaginary
    one, 10 limbs of 26 bits, the least significant first. See `mul_witness`.

    Sound: at each point digits are cut in the script and encode the sums of limbs of A, and the walks prove that E is
    a multiple of p there; a polynomial over Fq2 of degree d with d + 1 zeros is 0. Never overflows on limbs up to
    2^25: see `Checked.bound`. Raises ScriptError for other numbers of coefficients.
    """
    _require_terms(a_terms, b_terms)
    degree = a_terms + b_terms - 2
    layout = _Layout(
        [new_pair(MAGNITUDE) for _ in range(3)],
        [new_pair(MAGNITUDE) for _ in range(degree - 2)],
        [new_pair(_largest_quotient(a_terms, b_terms)) for _ in POINTS[: degree + 1]],
        [new_pair(MAGNITUDE) for _ in range(b_terms)],
        [new_pair(MAGNITUDE) for _ in range(a_terms)],
    )
    stack = Stack(layout.items())
    bounds = [
        _check_at(stack, layout, point, quotient) for point, quotient in zip(POINTS, layout.quotients, strict=False)
    ]
    return finish(stack, *bounds)


def _require_terms(a_terms: int, b_terms: int) -> None:
    if {a_terms, b_terms} - {SPARSE, DENSE}:
        raise ScriptError(f"fq6.mul: {a_terms} and {b_terms} coefficients, expected {SPARSE} or {DENSE}")


def _largest_quotient(a_terms: int, b_terms: int) -> int:
    """The most that |A·B − C − (v³ − ξ)·Q| / p is at a point."""
    linear = 3 + 2 * (XI[0] + 1 + XI[1])
    return (2 * a_terms * b_terms * MAGNITUDE**2 + linear * MAGNITUDE) // P + 1


def _check_at(stack: Stack, layout: _Layout, point: Point, quotient: Pair) -> int:
    """E is a multiple of p at this point; returns the bound of the registers."""
    below = stack.height - 2 * LIMBS
    a, b = point.terms(layout.a), point.terms(layout.b)
    real, imaginary = _linear(layout, point)
    product = Product(
        list(zip(*_sums(a), strict=True)),
        DIGITS if len(a) == 1 else SUM_DIGITS,
        lambda: _load(stack, b),
        _sum_bounds(b),
        real,
        imaginary,
        quotient,
    )
    bound = check_product(stack, product)
    stack.drop(stack.height - below)
    return bound


def _sums(terms: Sequence[tuple[Pair, int]]) -> tuple[list[Sum], list[Sum]]:
    """Limbs of Σ pair·u^power, of both parts, unnormalised; the first term has power 0."""
    parts: tuple[list[Sum], list[Sum]] = ([], [])
    for limb in range(LIMBS):
        for part, sums in enumerate(parts):
            sums.append([(limbs[limb], sign) for limbs, sign in (_part(pair, power, part) for pair, power in terms)])
    return parts


def _part(pair: Pair, power: int, part: int) -> tuple[Sequence[Item], int]:
    """The real (0) or imaginary (1) part of pair·u^power: limbs and a sign."""
    name = _turned((1, 2), power)[part]
    return (pair.real, pair.imaginary)[abs(name) - 1], 1 if name > 0 else -1


def _load(stack: Stack, terms: Sequence[tuple[Pair, int]]) -> list[Item]:
    """Σ pair·u^power on top, in limbs of the usual size."""
    if len(terms) == 1:
        return [stack.pick(item) for item in terms[0][0].items]
    normaliser = Normaliser(stack, WIDTH)
    return [item for part in _sums(terms) for item in normaliser.normalise(part)]


def _sum_bounds(terms: Sequence[tuple[Pair, int]]) -> Sequence[int]:
    """Of the limbs of `_load`: a carry can make one larger by 1 than before."""
    *low, top = terms[0][0].bounds
    return [*low, top] if len(terms) == 1 else [*(most + 1 for most in low), len(terms) * top + 1]


def _linear(layout: _Layout, point: Point) -> tuple[list[Linear], list[Linear]]:
    """−C − (v³ − ξ)·Q at a point, both parts."""
    groups = [(pair, power, (-1, 0)) for pair, power in point.terms(layout.c)]
    if point is INFINITY and layout.q:
        groups = []
    modulus = point.modulus
    groups += [(pair, power, (-modulus[0], -modulus[1])) for pair, power in point.terms(layout.q)]
    parts: tuple[list[Linear], list[Linear]] = ([], [])
    for pair, power, (real, imaginary) in groups:
        for part, factors in enumerate(((real, -imaginary), (imaginary, real))):
            for source, factor in enumerate(factors):
                limbs, sign = _part(pair, power, source)
                parts[part].extend(_multiple(limbs, pair.bounds, sign * factor))
    return parts


def _multiple(limbs: Sequence[Item], bounds: Sequence[int], factor: int) -> list[Linear]:
    """factor·value as shifted terms."""
    sign, size = (1, factor) if factor > 0 else (-1, -factor)
    return [Linear(limbs, bounds, sign, shift) for shift in range(size.bit_length()) if size >> shift & 1]


def mul_witness(a: Sequence[Fq2], b: Sequence[Fq2]) -> list[bytes]:
    """For `mul(len(a), len(b))`: operands in integers, of which the residues are multiplied."""
    _require_terms(len(a), len(b))
    a, b = ([_representative(value) for value in operand] for operand in (a, b))
    full = [(0, 0)] * (len(a) + len(b) - 1)
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            full[i + j] = _sum(full[i + j], _times(x, y))
    q = [_representative(value) for value in full[3:]]
    c = [_representative(value) for value in full[:3]]
    for index, value in enumerate(q):
        c[index] = _representative(_sum(c[index], _times(XI, value)))
    quotients = [_quotient(point, a, b, c, q) for point in POINTS[: len(full)]]
    values = [part for group in (c, q, quotients, b, a) for value in group for part in value]
    return witness(to_limbs(part, WIDTH, LIMBS) for part in values)


def _quotient(point: Point, a: Sequence[Fq2], b: Sequence[Fq2], c: Sequence[Fq2], q: Sequence[Fq2]) -> Fq2:
    """E / p at a point, which is a whole number in each part."""
    at_a, at_b, at_c, at_q = (_evaluate(point, polynomial) for polynomial in (a, b, c, q))
    if point is INFINITY and q:
        at_c = (0, 0)
    product, multiple = _times(at_a, at_b), _times(point.modulus, at_q)
    real, imaginary = (x - y - z for x, y, z in zip(product, at_c, multiple, strict=True))
    return real // P, imaginary // P


def _evaluate(point: Point, polynomial: Sequence[Fq2]) -> Fq2:
    value = (0, 0)
    for term, power in point.terms(polynomial):
        value = _sum(value, _turned(term, power))
    return value


def _representative(value: Fq2) -> Fq2:
    return representative(value[0]), representative(value[1])


def _sum(x: Fq2, y: Fq2) -> Fq2:
    return x[0] + y[0], x[1] + y[1]


def _times(x: Fq2, y: Fq2) -> Fq2:
    return x[0] * y[0] - x[1] * y[1], x[0] * y[1] + x[1] * y[0]
