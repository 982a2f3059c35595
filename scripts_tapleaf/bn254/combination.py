"""Linear combinations of field elements with constant coefficients, reduced: no products, no hints.

A coefficient's digits are known when the script is written, so that each is one addition of a limb: a limb that a
coefficient multiplies is added once for every digit of the coefficient's non-adjacent form.
"""

from collections.abc import Iterator
from functools import cache
from typing import Final

from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS, Bounds, P, centred
from scripts_tapleaf.bn254.product import Fragment
from scripts_tapleaf.bn254.reduction import Term, Walk
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.digits import signed_digits
from scripts_tapleaf.script import ScriptError

_WIDTHS: Final = range(LIMB_BITS * (LIMBS - 1) + 11, LIMB_BITS * (2 * LIMBS), 11)
"""Bits that a coefficient of a limb may have before it is reduced modulo p: what is tried."""


@cache
def combine(rows: tuple[tuple[int, ...], ...], constants: tuple[int, ...], bounds: tuple[Bounds, ...]) -> Fragment:
    """Σ rows[j][i]·v_i + constants[j] modulo p, for every j.

    Takes the limbs of the v_i from the main stack, the last one's uppermost and limb 0 uppermost in each. Leaves the
    results on the altstack, the first one first, the top limb of each first.

    Raises ScriptError where a row has not one coefficient for each v_i, or the v_i may be too large for four-byte
    arithmetic.
    """
    if len(rows) != len(constants) or any(len(row) != len(bounds) for row in rows):
        raise ScriptError(f"combine: expected one constant for each row and {len(bounds)} coefficients in it")
    writer = Writer(LIMBS * len(bounds))
    results = []
    for row, constant in zip(rows, constants, strict=True):
        results.append(_write_row(writer, row, constant, bounds))
    writer.drop(writer.height)
    return Fragment(writer.script(), writer.most, tuple(results))


def _write_row(writer: Writer, row: tuple[int, ...], constant: int, bounds: tuple[Bounds, ...]) -> Bounds:
    """The way to reduce coefficients that is the shortest by count; gives the bounds of the result."""
    ways = dict.fromkeys(_terms(row, constant, bounds, width) for width in _WIDTHS)
    terms, magnitude = min(ways, key=lambda way: _estimate(*way))
    walk = Walk(writer, None, terms, magnitude)
    walk.write()
    return walk.bounds


def _estimate(terms: tuple[Term, ...], magnitude: int) -> int:
    """Bytes, up to what all ways have in common: a term is 3, a bit of the walk 2, a digit of the quotient 31."""
    return 3 * len(terms) + 2 * max((term.bit for term in terms), default=0) + 31 * (magnitude // P).bit_length() // 2


def _terms(row: tuple[int, ...], constant: int, bounds: tuple[Bounds, ...], width: int) -> tuple[tuple[Term, ...], int]:
    """Terms, and the largest magnitude of their sum, where coefficients of more than `width` bits are reduced."""
    terms = [Term(None, bit, sign, 1) for bit, sign in signed_digits(centred(constant))]
    magnitude = abs(centred(constant))
    for index, (coefficient, bound) in enumerate(zip(row, bounds, strict=True)):
        factors = list(_limb_factors(coefficient, width))
        for limb, factor in enumerate(factors):
            place = LIMBS * index + LIMBS - 1 - limb
            terms += [Term(place, bit, sign, bound.limbs[limb]) for bit, sign in signed_digits(factor)]
        multiples = sum(abs(factor) * most for factor, most in zip(factors, bound.limbs, strict=True))
        whole = factors == [factors[0] << LIMB_BITS * limb for limb in range(LIMBS)]
        magnitude += min(multiples, abs(factors[0]) * bound.value) if whole else multiples
    return tuple(terms), magnitude


def _limb_factors(coefficient: int, width: int) -> Iterator[int]:
    """What each limb is multiplied by."""
    for limb in range(LIMBS):
        plain = centred(coefficient) << LIMB_BITS * limb
        yield plain if plain.bit_length() <= width else centred(plain)
