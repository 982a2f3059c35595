"""One product over Fq2 on the stack, both parts: a·b + (linear terms) − q·p = 0.

With u² = −1 the parts of (a₀ + a₁u)(b₀ + b₁u) are a₀b₀ − a₁b₁ and a₀b₁ + a₁b₀. Digits of a₀ and a₁ are taken in pairs
(d₀, d₁), each from −2 to 1, and the table has d₀b₀ − d₁b₁ and d₀b₁ + d₁b₀ side by side for all of the 16: the same
depths serve a walk for the imaginary part and one, on a stack that is a block lower, for the real part.

    table (32 blocks) | limbs of the real q, pads | depths | multiples of the imaginary q, register      first walk
    table (32 blocks) | depths | what the first walk left | multiples of the real q, register            second walk

The depths are made first and wait on the altstack while the table is built, so that the constants of the cut are gone.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from scripts_tapleaf.bn254.checked._cut import DIGITS, Cutter
from scripts_tapleaf.bn254.checked._limbs import limb_bounds
from scripts_tapleaf.bn254.checked._stack import Item, Stack, new_items
from scripts_tapleaf.bn254.checked._sums import Sum
from scripts_tapleaf.bn254.checked._table import Vector, build
from scripts_tapleaf.bn254.checked._walk import Identity, Linear, Lookup, walk

WIDTH: Final = 26
LIMBS: Final = 10
WINDOWS: Final = WIDTH // 2

INNER: Final = (1, -1, 0, -2)
OUTER: Final = (0, 1, -1, -2)
"""The digits d₀ and d₁ in the order of the table, found by search."""


def table_order(inner: Sequence[int] = INNER, outer: Sequence[int] = OUTER) -> list[Vector]:
    """The blocks over (b₀, b₁): for d₁ in `outer`, for d₀ in `inner`, the real one and above it the imaginary one."""
    return [block for d1 in outer for d0 in inner for block in ((d0, -d1), (d1, d0))]


@dataclass(frozen=True)
class Pair:
    """The limbs of a value of Fq2 or of a pair of integers, and the most that each can be in magnitude."""

    real: Sequence[Item]
    imaginary: Sequence[Item]
    bounds: Sequence[int]

    @property
    def items(self) -> list[Item]:
        """As in a witness."""
        return [*self.real, *self.imaginary]


def new_pair(magnitude: int) -> Pair:
    """Items for a pair of values of up to this magnitude."""
    return Pair(new_items(LIMBS), new_items(LIMBS), limb_bounds(magnitude, WIDTH, LIMBS))


@dataclass(frozen=True)
class Product:
    """a in sums of limbs, to be cut into so many digits; b, later put on top by `load_b`; linear terms of each part.

    `load_b` returns the limbs of the real part and, above them, of the imaginary one, which are at most `b_bounds`.
    """

    a: Sequence[tuple[Sum, Sum]]
    digits: int
    load_b: Callable[[], Sequence[Item]]
    b_bounds: Sequence[int]
    real: Sequence[Linear]
    imaginary: Sequence[Linear]
    quotient: Pair


def check_product(stack: Stack, product: Product) -> int:
    """Check both parts; uses up the quotients and the copy of b. Returns the bound of the registers."""
    quotient = product.quotient
    bounds = [2 * max(-digit for digit in DIGITS) * most for most in product.b_bounds]
    lookups = [Lookup(item, 2 * index, bounds) for index, item in enumerate(new_items(product.digits))]
    imaginary = Identity(WIDTH, lookups, product.imaginary, quotient.imaginary, quotient.bounds)
    real = Identity(WIDTH, lookups, product.real, quotient.real, quotient.bounds)
    _cut(stack, product, imaginary)
    b = product.load_b()
    table = build(stack, table_order(), {(1, 0): b[:LIMBS], (0, 1): b[LIMBS:]})
    for item in quotient.real:
        stack.roll(item)
    pads = stack.push_run(0, imaginary.pads)
    for _ in lookups:
        stack.from_alt()
    left = walk(stack, imaginary, pads)
    stack.drop(len(left) - real.pads)
    walk(stack, real, left[: real.pads])
    stack.drop(stack.depth(table[0][0]) + 1)
    return max(imaginary.bound(), real.bound())


def _cut(stack: Stack, product: Product, identity: Identity) -> None:
    """Put the depths of the digits on the altstack, so that they lead to imaginary blocks."""
    height = 2 * LIMBS * len(INNER) * len(OUTER) - LIMBS
    depth = identity.depth(0, height + LIMBS + identity.pads + product.digits + identity.working)
    inner, outer = 2 * LIMBS, 2 * LIMBS * len(INNER)
    parts = (
        [-inner * INNER.index(digit) for digit in DIGITS],
        [depth - outer * OUTER.index(digit) for digit in DIGITS],
    )
    cutter = Cutter(stack, WINDOWS, sums=any(len(limb) > 1 for pair in product.a for limb in pair))
    cutter.cut(product.a, [lookup.item for lookup in identity.lookups], parts)
    cutter.close()
