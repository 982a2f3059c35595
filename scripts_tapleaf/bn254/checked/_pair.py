"""One product over Fq2 on the stack, both parts: a·b + (linear terms) − q·p = 0.

With u² = −1 the parts of (a₀ + a₁u)(b₀ + b₁u) are a₀b₀ − a₁b₁ and a₀b₁ + a₁b₀. Digits of a₀ and a₁ are taken in pairs
(d₀, d₁), each from −2 to 1, and the table has d₀b₀ − d₁b₁ and d₀b₁ + d₁b₀ side by side for all of the 16: the same
depths serve a walk for the imaginary part and one, on a stack that is a block lower, for the real part.

    table (32 blocks) | pads, limbs of the real q | depths | multiples of the imaginary q, register      first walk
    table (32 blocks) | depths | what the first walk left | multiples of the real q, register            second walk
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scripts_tapleaf.bn254.checked._cut import DIGITS, Cutter, Plan
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
    """a in sums of limbs, cut into so many digits; b on top of the stack, the real part deeper; terms of each part."""

    a: Sequence[tuple[Sum, Sum]]
    digits: int
    b: Pair
    real: Sequence[Linear]
    imaginary: Sequence[Linear]
    quotient: Pair


def check_product(stack: Stack, product: Product) -> int:
    """Check both parts; uses up b and the quotients. Returns the bound of the registers."""
    b, quotient = product.b, product.quotient
    table = build(stack, table_order(), {(1, 0): b.real, (0, 1): b.imaginary})
    for item in quotient.real:
        stack.roll(item)
    bounds = [2 * max(-digit for digit in DIGITS) * most for most in b.bounds]
    lookups = [Lookup(item, 2 * index, bounds) for index, item in enumerate(new_items(product.digits))]
    imaginary = Identity(WIDTH, lookups, product.imaginary, quotient.imaginary, quotient.bounds)
    real = Identity(WIDTH, lookups, product.real, quotient.real, quotient.bounds)
    start = stack.height + imaginary.pads + len(lookups) + imaginary.working
    pads = _cut(stack, product, imaginary.depth(0, start, stack.items.index(table[1][0])), imaginary)
    left = walk(stack, imaginary, pads)
    stack.drop(len(left) - real.pads)
    walk(stack, real, left[: real.pads])
    stack.drop(stack.depth(table[0][0]) + 1)
    return max(imaginary.bound(), real.bound())


def _cut(stack: Stack, product: Product, depth: int, identity: Identity) -> list[Item]:
    """Put the depths of the digits on top, above pads, which are returned."""
    inner, outer = 2 * LIMBS, 2 * LIMBS * len(INNER)
    parts = (
        [-inner * INNER.index(digit) for digit in DIGITS],
        [depth - outer * OUTER.index(digit) for digit in DIGITS],
    )
    cutter = Cutter(stack, Plan(product.a, WINDOWS, product.digits, parts))
    cutter.cut()
    stack.drop(len(cutter.constants) - identity.pads)
    pads = stack.items[-identity.pads :]
    for index in cutter.order():
        stack.from_alt()
        stack.items[-1] = identity.lookups[index].item
    return pads
