"""The optimal ate pairing of BN254 ("Optimal Pairings", ePrint 2008/096), affine.

A Miller loop is split in two: `lines` walks a point of G2 and records each line's slope and intercept, which do not
depend on the point of G1; `miller_loop` evaluates them. Factors in Fq6* are dropped, vertical lines among them, since
the final exponentiation kills them.
"""

from collections.abc import Iterable, Iterator
from functools import reduce
from itertools import chain, islice
from typing import Final, NamedTuple

from bitvm_bridge.program.groth16.native.curve import G1, G2, LOOP, chord, g2_neg, g2_third, psi, tangent
from bitvm_bridge.program.groth16.native.field import (
    FQ2_ZERO,
    FQ12_ONE,
    Fq2,
    Fq12,
    P,
    R,
    fq2_mul,
    fq2_scale,
    fq2_sub,
    fq12_conjugate,
    fq12_frobenius,
    fq12_inverse,
    fq12_mul,
    fq12_pow,
    fq12_square,
)


def naf(number: int) -> tuple[int, ...]:
    """The non-adjacent form of a positive number: digits −1, 0 and 1, most significant first."""
    digits: list[int] = []
    while number:
        digit = 2 - number % 4 if number % 2 else 0
        digits.append(digit)
        number = (number - digit) // 2
    return tuple(reversed(digits))


_NAF: Final = naf(LOOP)
LOOP_DIGITS: Final = (1, 1, *_NAF[3:])
"""Of 6x+2: the non-adjacent form with its leading 1, 0, −1 as 1, 1, which is one doubling less."""


class Line(NamedTuple):
    """y = slope·x − nu on the twist; at (x, y) of G1 it takes the value y − slope·x·w + nu·w³."""

    slope: Fq2
    nu: Fq2

    def at(self, point: G1) -> Fq12:
        """Its value at a point of G1."""
        x, y = point
        return ((y, 0), FQ2_ZERO, FQ2_ZERO), (fq2_scale(self.slope, -x), self.nu, FQ2_ZERO)


def _through(point: G2, slope: Fq2) -> Line:
    return Line(slope, fq2_sub(fq2_mul(slope, point[0]), point[1]))


def double_step(point: G2) -> tuple[Line, G2]:
    """The tangent at T, and 2T."""
    slope = tangent(point)
    return _through(point, slope), g2_third(point, point[0], slope)


def add_step(point: G2, other: G2) -> tuple[Line, G2]:
    """The chord from T to another point, and their sum. Raises ZeroDivisionError where the other is T or −T."""
    slope = chord(point, other)
    return _through(point, slope), g2_third(point, other[0], slope)


def steps(point: G2) -> Iterator[tuple[Line, G2]]:
    """The loop over Q: each line with the point T that it leads to. The last T is −ψ³(Q) exactly where Q is in G2.

    A tangent for each digit of LOOP_DIGITS but the first, followed by a chord to ±Q where the digit is not zero; then a
    chord to ψ(Q) and one to −ψ²(Q). No finite point of the twist, in G2 or not, meets T = O, or T = ± the point added:
    what would have to vanish is prime to the order of the twist each time.
    """
    current = point
    addends = {1: point, -1: g2_neg(point)}
    for digit in LOOP_DIGITS[1:]:
        line, current = double_step(current)
        yield line, current
        if digit:
            line, current = add_step(current, addends[digit])
            yield line, current
    for addend in (psi(point), g2_neg(psi(point, 2))):
        line, current = add_step(current, addend)
        yield line, current


def lines(point: G2) -> tuple[Line, ...]:
    """The lines of `steps`, in order."""
    return tuple(line for line, _ in steps(point))


def miller_loop(pairs: Iterable[tuple[G1, G2]]) -> Fq12:
    """The product of the Miller loops of finite points, up to a factor in Fq6*."""
    walks = [iter([line.at(p) for line in lines(q)]) for p, q in pairs]
    f = FQ12_ONE
    for digit in LOOP_DIGITS[1:]:
        values = chain.from_iterable(islice(walk, 2 if digit else 1) for walk in walks)
        f = reduce(fq12_mul, values, fq12_square(f))
    return reduce(fq12_mul, chain.from_iterable(walks), f)


def final_exponentiation(f: Fq12) -> Fq12:
    """f^((P¹² − 1)/R). Raises ZeroDivisionError for zero."""
    f = fq12_mul(fq12_conjugate(f), fq12_inverse(f))
    f = fq12_mul(fq12_frobenius(f, 2), f)
    return fq12_pow(f, (P**4 - P**2 + 1) // R)


def pairing(p: G1 | None, q: G2 | None) -> Fq12:
    """e(p, q) for points of G1 and G2."""
    return FQ12_ONE if p is None or q is None else final_exponentiation(miller_loop([(p, q)]))


def pairing_product_is_one(pairs: Iterable[tuple[G1 | None, G2 | None]]) -> bool:
    """Whether Π e(p, q) = 1 for points of G1 and G2."""
    finite = [(p, q) for p, q in pairs if p is not None and q is not None]
    return final_exponentiation(miller_loop(finite)) == FQ12_ONE
