"""The residue witness: a product of Miller loops passes the final exponentiation exactly where it is, up to a factor
that the exponentiation kills, a power with exponent λ ("On Proving Pairings", ePrint 2024/640, algorithm 5).

λ = LOOP + P − P² + P³ is a multiple of R, so c^λ costs one more operand in the Miller loop and three Frobenius maps.
The paper takes cube roots. There is a shorter way: Fq12* is cyclic of order 27·R·n with n prime to 3, R and λ, and a
value f that passes has no part of order R. Let e be 1/λ modulo n and 0 modulo 27. Then (f^e)^λ has the part of f of
order n and drops the part of order 27, so f·u = c^λ for c = f^e and a 27th root of unity u, which lies in Fq6.
"""

from typing import Final, NamedTuple

from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.program.groth16.native.curve import LOOP
from bitvm_bridge.program.groth16.native.field import (
    FQ6_ONE,
    FQ6_ZERO,
    FQ12_ONE,
    FQ12_ZERO,
    Fq6,
    Fq12,
    P,
    R,
    fq6_inverse,
    fq6_mul,
    fq6_pow,
    fq12_frobenius,
    fq12_inverse,
    fq12_mul,
    fq12_pow,
    fq12_square,
)

LAMBDA: Final = LOOP + P - P**2 + P**3
_COFACTOR: Final = (P**12 - 1) // (27 * R)
_EXPONENT: Final = 27 * pow(27 * LAMBDA, -1, _COFACTOR)
"""The e above."""


class Residue(NamedTuple):
    """f·scale = root^LAMBDA, where scale^27 = 1."""

    root: Fq12
    scale: Fq6


def to_the_lambda(c: Fq12) -> Fq12:
    """c^LAMBDA. Raises ZeroDivisionError for zero."""
    loop = fq12_pow(c, LOOP)
    odd = fq12_mul(fq12_frobenius(c, 1), fq12_frobenius(c, 3))
    return fq12_mul(fq12_mul(loop, odd), fq12_inverse(fq12_frobenius(c, 2)))


def _power(f: Fq12, exponent: int) -> Fq12:
    """f^exponent for an exponent from 0 to P¹² − 1: its digits in base P are powers of the images under Frobenius, and
    these share their squarings.
    """
    digits = [(fq12_frobenius(f, place), exponent // P**place % P) for place in range(12)]
    result = FQ12_ONE
    for bit in reversed(range(P.bit_length())):
        result = fq12_square(result)
        for image, digit in digits:
            if digit >> bit & 1:
                result = fq12_mul(result, image)
    return result


def residue(f: Fq12) -> Residue:
    """The witness that f^((P¹² − 1)/R) = 1. Raises VerificationFailed where f is zero or its power is not one."""
    root = _power(f, _EXPONENT)
    if root == FQ12_ZERO:
        raise VerificationFailed("pairing check: the product of the Miller loops is zero")
    scale, rest = fq12_mul(to_the_lambda(root), fq12_inverse(f))
    if rest != FQ6_ZERO or fq6_pow(scale, 27) != FQ6_ONE:
        raise VerificationFailed("pairing check: the product of the Miller loops is no R-th residue")
    return Residue(root, scale)


def torus(c: Fq12) -> Fq6 | None:
    """The k for which c is k + w up to a factor in Fq6*, or None where c is in Fq6, the class of one.

    Modulo Fq6* the witness is the root alone, since the scale lies in Fq6: where c^LAMBDA is f times some s in Fq6*,
    f passes the final exponentiation, whose exponent is a multiple of P⁶ − 1 and takes s to one, and R divides LAMBDA.
    """
    g, h = c
    return None if h == FQ6_ZERO else fq6_mul(g, fq6_inverse(h))
