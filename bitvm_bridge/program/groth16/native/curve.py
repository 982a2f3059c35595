"""The groups: G1 on y² = x³ + 3 over Fq, G2 on the twist y² = x³ + 3/ξ over Fq2, and the endomorphism ψ of the twist.

Points are affine tuples; None is the point at infinity. The twist maps into the curve over Fq12 by
(x, y) → (x·w², y·w³).
"""

from collections.abc import Callable, Iterable
from typing import Final, TypeAlias, TypeVar

from bitvm_bridge.program.groth16.native.field import (
    FROBENIUS,
    XI,
    Fq2,
    P,
    X,
    fq2_add,
    fq2_frobenius,
    fq2_inverse,
    fq2_mul,
    fq2_neg,
    fq2_scale,
    fq2_square,
    fq2_sub,
    fq_inverse,
)

G1: TypeAlias = tuple[int, int]
G2: TypeAlias = tuple[Fq2, Fq2]
Point = TypeVar("Point", G1, G2)

G1_GENERATOR: Final[G1] = (1, 2)
G2_GENERATOR: Final[G2] = (
    (
        10857046999023057135944570762232829481370756359578518086990519993285655852781,
        11559732032986387107991004021392285783925812861821192530917403151452391805634,
    ),
    (
        8495653923123431417604973247489272438418190587263600148770280649306958101930,
        4082367875863433681332203403145435568316851327593401208105741076214120093531,
    ),
)
"""The generator of EIP-197."""
G1_B: Final = 3
G2_B: Final[Fq2] = fq2_scale(fq2_inverse(XI), G1_B)
LOOP: Final = 6 * X + 2
"""[LOOP]Q + ψ(Q) − ψ²(Q) + ψ³(Q) = O for Q in G2: the loop of the optimal ate pairing."""


def _mul(point: Point | None, scalar: int, add: Callable[[Point | None, Point | None], Point | None]) -> Point | None:
    """Double and add from the top; scalar ≥ 0."""
    total = None
    for bit in f"{scalar:b}":
        total = add(total, total)
        if bit == "1":
            total = add(total, point)
    return total


def g1_is_on_curve(point: G1) -> bool:
    x, y = point
    return 0 <= x < P and 0 <= y < P and (y * y - x * x * x - G1_B) % P == 0


def g1_neg(point: G1) -> G1:
    return point[0], -point[1] % P


def g1_double(point: G1 | None) -> G1 | None:
    if point is None:
        return None
    x, y = point
    return _g1_third(point, x, 3 * x * x * fq_inverse(2 * y))


def g1_add(a: G1 | None, b: G1 | None) -> G1 | None:
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        return g1_double(a) if a[1] == b[1] else None
    return _g1_third(a, b[0], (b[1] - a[1]) * fq_inverse(b[0] - a[0]))


def _g1_third(a: G1, other_x: int, slope: int) -> G1:
    """The sum of the two points that the line through `a` of this slope meets, the other one at `other_x`."""
    x = (slope * slope - a[0] - other_x) % P
    return x, (slope * (a[0] - x) - a[1]) % P


def g1_mul(point: G1 | None, scalar: int) -> G1 | None:
    """[scalar]point for any integer."""
    start = g1_neg(point) if point is not None and scalar < 0 else point
    return _mul(start, abs(scalar), g1_add)


def g1_msm(terms: Iterable[tuple[G1, int]]) -> G1 | None:
    """Σ [scalar]point for scalars ≥ 0: one run of doublings for all terms (Straus)."""
    pairs = list(terms)
    total = None
    for bit in reversed(range(max((scalar.bit_length() for _, scalar in pairs), default=0))):
        total = g1_double(total)
        for point, scalar in pairs:
            if scalar >> bit & 1:
                total = g1_add(total, point)
    return total


def g2_is_on_curve(point: G2) -> bool:
    x, y = point
    reduced = all(0 <= c < P for c in (*x, *y))
    return reduced and fq2_square(y) == fq2_add(fq2_mul(fq2_square(x), x), G2_B)


def g2_neg(point: G2) -> G2:
    return point[0], fq2_neg(point[1])


def g2_double(point: G2 | None) -> G2 | None:
    return None if point is None else g2_third(point, point[0], tangent(point))


def g2_add(a: G2 | None, b: G2 | None) -> G2 | None:
    if a is None or b is None:
        return b if a is None else a
    if a[0] == b[0]:
        return g2_double(a) if a[1] == b[1] else None
    return g2_third(a, b[0], chord(a, b))


def tangent(point: G2) -> Fq2:
    """The slope of the twist at a point; y is never zero, since the order of the twist is odd."""
    x, y = point
    return fq2_mul(fq2_scale(fq2_square(x), 3), fq2_inverse(fq2_scale(y, 2)))


def chord(a: G2, b: G2) -> Fq2:
    """The slope of the line through two points. Raises ZeroDivisionError where they share x."""
    return fq2_mul(fq2_sub(b[1], a[1]), fq2_inverse(fq2_sub(b[0], a[0])))


def g2_third(a: G2, other_x: Fq2, slope: Fq2) -> G2:
    """The sum of the two points that the line through `a` of this slope meets, the other one at `other_x`."""
    x = fq2_sub(fq2_square(slope), fq2_add(a[0], other_x))
    return x, fq2_sub(fq2_mul(slope, fq2_sub(a[0], x)), a[1])


def g2_mul(point: G2 | None, scalar: int) -> G2 | None:
    """[scalar]point for any integer."""
    start = g2_neg(point) if point is not None and scalar < 0 else point
    return _mul(start, abs(scalar), g2_add)


def psi(point: G2, power: int = 1) -> G2:
    """ψ^power: Frobenius of the curve, carried to the twist. On all of it ψ² − [t]ψ + [P] = 0, where t = 6·X² + 1."""
    _, _, c2, c3, _, _ = FROBENIUS[power % 12]
    return fq2_mul(fq2_frobenius(point[0], power), c2), fq2_mul(fq2_frobenius(point[1], power), c3)


def g2_is_in_subgroup(point: G2) -> bool:
    """Whether a finite point of the twist has order R: [LOOP]Q + ψ(Q) − ψ²(Q) + ψ³(Q) = O.

    The resultant of LOOP + X − X² + X³ and X² − tX + P kills every point that passes, and its greatest common divisor
    with R·(2P − R), the order of the twist, is R. So passing the test is the same as being in the subgroup, and a
    Miller loop that compares its last point with −ψ³(Q) has made the test.
    """
    total = g2_add(g2_mul(point, LOOP), psi(point))
    return g2_add(total, g2_neg(psi(point, 2))) == g2_neg(psi(point, 3))
