"""The tower of BN254: Fq2 = Fq[u]/(u² + 1), Fq6 = Fq2[v]/(v³ − ξ) with ξ = 9 + u, Fq12 = Fq6[w]/(w² − v).

Elements are nested tuples, lowest power first, of integers in [0, P); every function takes and returns reduced ones.
Products are reduced once per coordinate, since a reduction costs more than the products that it follows.
"""

from collections.abc import Callable
from typing import Final, TypeAlias, TypeVar

from scripts_tapleaf.bn254.constants import P as P

R: Final = 21888242871839275222246405745257275088548364400416034343698204186575808495617
X: Final = 4965661367192848881
"""The parameter of the curve family: P, R and the loop of the pairing are polynomials in it."""

Fq2: TypeAlias = tuple[int, int]
Fq6: TypeAlias = tuple[Fq2, Fq2, Fq2]
Fq12: TypeAlias = tuple[Fq6, Fq6]
Element = TypeVar("Element", Fq2, Fq6, Fq12)

FQ2_ZERO: Final[Fq2] = (0, 0)
FQ2_ONE: Final[Fq2] = (1, 0)
XI: Final[Fq2] = (9, 1)
FQ6_ZERO: Final[Fq6] = (FQ2_ZERO, FQ2_ZERO, FQ2_ZERO)
FQ6_ONE: Final[Fq6] = (FQ2_ONE, FQ2_ZERO, FQ2_ZERO)
FQ12_ZERO: Final[Fq12] = (FQ6_ZERO, FQ6_ZERO)
FQ12_ONE: Final[Fq12] = (FQ6_ONE, FQ6_ZERO)


def fq_inverse(a: int) -> int:
    """1/a. Raises ZeroDivisionError."""
    if a % P == 0:
        raise ZeroDivisionError("zero has no inverse in Fq")
    return pow(a, -1, P)


def fq_sqrt(a: int) -> int | None:
    """A square root of a, or None where there is none; one exponentiation, since P ≡ 3 (mod 4)."""
    root = pow(a, (P + 1) // 4, P)
    return root if root * root % P == a else None


def _pow(
    base: Element,
    exponent: int,
    one: Element,
    square: Callable[[Element], Element],
    mul: Callable[[Element, Element], Element],
) -> Element:
    """Square and multiply from the top; exponent ≥ 0."""
    result = one
    for bit in f"{exponent:b}":
        result = square(result)
        if bit == "1":
            result = mul(result, base)
    return result


def fq2_add(a: Fq2, b: Fq2) -> Fq2:
    return (a[0] + b[0]) % P, (a[1] + b[1]) % P


def fq2_sub(a: Fq2, b: Fq2) -> Fq2:
    return (a[0] - b[0]) % P, (a[1] - b[1]) % P


def fq2_neg(a: Fq2) -> Fq2:
    return -a[0] % P, -a[1] % P


def fq2_conjugate(a: Fq2) -> Fq2:
    """a0 − a1·u, which is also a^P."""
    return a[0], -a[1] % P


def fq2_mul(a: Fq2, b: Fq2) -> Fq2:
    a0, a1 = a
    b0, b1 = b
    return (a0 * b0 - a1 * b1) % P, (a0 * b1 + a1 * b0) % P


def fq2_scale(a: Fq2, k: int) -> Fq2:
    """k·a for k in Fq or any integer."""
    return a[0] * k % P, a[1] * k % P


def fq2_square(a: Fq2) -> Fq2:
    a0, a1 = a
    return (a0 + a1) * (a0 - a1) % P, 2 * a0 * a1 % P


def fq2_mul_xi(a: Fq2) -> Fq2:
    a0, a1 = a
    return (9 * a0 - a1) % P, (9 * a1 + a0) % P


def fq2_inverse(a: Fq2) -> Fq2:
    """1/a. Raises ZeroDivisionError."""
    a0, a1 = a
    inverse = fq_inverse(a0 * a0 + a1 * a1)
    return a0 * inverse % P, -a1 * inverse % P


def fq2_pow(a: Fq2, exponent: int) -> Fq2:
    """a^exponent; a negative exponent inverts. Raises ZeroDivisionError."""
    return _pow(fq2_inverse(a) if exponent < 0 else a, abs(exponent), FQ2_ONE, fq2_square, fq2_mul)


def fq2_frobenius(a: Fq2, power: int = 1) -> Fq2:
    """a^(P^power)."""
    return fq2_conjugate(a) if power % 2 else a


def fq2_sqrt(a: Fq2) -> Fq2 | None:
    """A square root of a, or None where there is none.

    With (x + y·u)² = a, the norm x² + y² is a root n of the norm of a, so x² is (a0 ± n)/2: exactly one of the two is
    a square unless y or x vanishes.
    """
    a0, a1 = a
    if a1 == 0:
        real = fq_sqrt(a0)
        imaginary = fq_sqrt(-a0 % P)
        return (real, 0) if real is not None else None if imaginary is None else (0, imaginary)
    norm = fq_sqrt((a0 * a0 + a1 * a1) % P)
    if norm is None:
        return None
    for sign in (1, -1):
        x = fq_sqrt((a0 + sign * norm) * fq_inverse(2) % P)
        if x is not None:
            return x, a1 * fq_inverse(2 * x) % P
    return None


def fq6_add(a: Fq6, b: Fq6) -> Fq6:
    return fq2_add(a[0], b[0]), fq2_add(a[1], b[1]), fq2_add(a[2], b[2])


def fq6_sub(a: Fq6, b: Fq6) -> Fq6:
    return fq2_sub(a[0], b[0]), fq2_sub(a[1], b[1]), fq2_sub(a[2], b[2])


def fq6_neg(a: Fq6) -> Fq6:
    return fq2_neg(a[0]), fq2_neg(a[1]), fq2_neg(a[2])


def fq6_mul(a: Fq6, b: Fq6) -> Fq6:
    """The schoolbook product over integers; what lies at v³ and v⁴ comes back times ξ before the one reduction."""
    (a0, a1), (a2, a3), (a4, a5) = a
    (b0, b1), (b2, b3), (b4, b5) = b
    x3 = a2 * b4 - a3 * b5 + a4 * b2 - a5 * b3
    y3 = a2 * b5 + a3 * b4 + a4 * b3 + a5 * b2
    x4 = a4 * b4 - a5 * b5
    y4 = a4 * b5 + a5 * b4
    return (
        ((a0 * b0 - a1 * b1 + 9 * x3 - y3) % P, (a0 * b1 + a1 * b0 + 9 * y3 + x3) % P),
        (
            (a0 * b2 - a1 * b3 + a2 * b0 - a3 * b1 + 9 * x4 - y4) % P,
            (a0 * b3 + a1 * b2 + a2 * b1 + a3 * b0 + 9 * y4 + x4) % P,
        ),
        (
            (a0 * b4 - a1 * b5 + a2 * b2 - a3 * b3 + a4 * b0 - a5 * b1) % P,
            (a0 * b5 + a1 * b4 + a2 * b3 + a3 * b2 + a4 * b1 + a5 * b0) % P,
        ),
    )


def fq6_square(a: Fq6) -> Fq6:
    return fq6_mul(a, a)


def fq6_scale(a: Fq6, k: Fq2) -> Fq6:
    """k·a for k in Fq2."""
    return fq2_mul(a[0], k), fq2_mul(a[1], k), fq2_mul(a[2], k)


def fq6_mul_v(a: Fq6) -> Fq6:
    return fq2_mul_xi(a[2]), a[0], a[1]


def fq6_inverse(a: Fq6) -> Fq6:
    """1/a: the adjugate of multiplication by a, over the norm of a to Fq2. Raises ZeroDivisionError."""
    a0, a1, a2 = a
    c0 = fq2_sub(fq2_square(a0), fq2_mul_xi(fq2_mul(a1, a2)))
    c1 = fq2_sub(fq2_mul_xi(fq2_square(a2)), fq2_mul(a0, a1))
    c2 = fq2_sub(fq2_square(a1), fq2_mul(a0, a2))
    wrapped = fq2_mul_xi(fq2_add(fq2_mul(a1, c2), fq2_mul(a2, c1)))
    return fq6_scale((c0, c1, c2), fq2_inverse(fq2_add(fq2_mul(a0, c0), wrapped)))


def fq6_pow(a: Fq6, exponent: int) -> Fq6:
    """a^exponent; a negative exponent inverts. Raises ZeroDivisionError."""
    return _pow(fq6_inverse(a) if exponent < 0 else a, abs(exponent), FQ6_ONE, fq6_square, fq6_mul)


def _frobenius_constants() -> tuple[tuple[Fq2, ...], ...]:
    """Row k, column i: the factor ξ^(i·(P^k − 1)/6) that w^i gains under the k-th power of Frobenius, k < 12, i < 6."""
    step = fq2_pow(XI, (P - 1) // 6)
    first = [fq2_pow(step, i) for i in range(6)]
    rows: list[tuple[Fq2, ...]] = [(FQ2_ONE,) * 6]
    while len(rows) < 12:
        rows.append(tuple(fq2_mul(fq2_conjugate(c), f) for c, f in zip(rows[-1], first, strict=True)))
    return tuple(rows)


FROBENIUS: Final = _frobenius_constants()
"""`FROBENIUS[k][i]` is the factor of w^i under the k-th power of Frobenius; v = w²."""


def fq6_frobenius(a: Fq6, power: int = 1) -> Fq6:
    """a^(P^power), power ≥ 0."""
    _, _, g1, _, g2, _ = FROBENIUS[power % 12]
    return (
        fq2_frobenius(a[0], power),
        fq2_mul(fq2_frobenius(a[1], power), g1),
        fq2_mul(fq2_frobenius(a[2], power), g2),
    )


def fq12_add(a: Fq12, b: Fq12) -> Fq12:
    return fq6_add(a[0], b[0]), fq6_add(a[1], b[1])


def fq12_sub(a: Fq12, b: Fq12) -> Fq12:
    return fq6_sub(a[0], b[0]), fq6_sub(a[1], b[1])


def fq12_neg(a: Fq12) -> Fq12:
    return fq6_neg(a[0]), fq6_neg(a[1])


def fq12_conjugate(a: Fq12) -> Fq12:
    """g − h·w, which is also a^(P⁶), and the inverse of a modulo Fq6*."""
    return a[0], fq6_neg(a[1])


def fq12_mul(a: Fq12, b: Fq12) -> Fq12:
    low, high = fq6_mul(a[0], b[0]), fq6_mul(a[1], b[1])
    cross = fq6_mul(fq6_add(a[0], a[1]), fq6_add(b[0], b[1]))
    return fq6_add(low, fq6_mul_v(high)), fq6_sub(cross, fq6_add(low, high))


def fq12_square(a: Fq12) -> Fq12:
    """g² + v·h² is (g + h)(g + v·h) less the mixed terms, which the other coordinate has anyway."""
    g, h = a
    mixed = fq6_mul(g, h)
    product = fq6_mul(fq6_add(g, h), fq6_add(g, fq6_mul_v(h)))
    return fq6_sub(product, fq6_add(mixed, fq6_mul_v(mixed))), fq6_add(mixed, mixed)


def fq12_inverse(a: Fq12) -> Fq12:
    """1/a. Raises ZeroDivisionError."""
    g, h = a
    inverse = fq6_inverse(fq6_sub(fq6_square(g), fq6_mul_v(fq6_square(h))))
    return fq6_mul(g, inverse), fq6_neg(fq6_mul(h, inverse))


def fq12_pow(a: Fq12, exponent: int) -> Fq12:
    """a^exponent; a negative exponent inverts. Raises ZeroDivisionError."""
    return _pow(fq12_inverse(a) if exponent < 0 else a, abs(exponent), FQ12_ONE, fq12_square, fq12_mul)


def fq12_frobenius(a: Fq12, power: int = 1) -> Fq12:
    """a^(P^power), power ≥ 0."""
    g, (h0, h1, h2) = a
    _, c1, _, c3, _, c5 = FROBENIUS[power % 12]
    return fq6_frobenius(g, power), (
        fq2_mul(fq2_frobenius(h0, power), c1),
        fq2_mul(fq2_frobenius(h1, power), c3),
        fq2_mul(fq2_frobenius(h2, power), c5),
    )
