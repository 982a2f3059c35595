"""Checked products in Fq2 = Fq[u] / (u² + 1)."""

from collections.abc import Sequence
from functools import cache
from typing import Final, TypeAlias

from scripts_tapleaf.bn254.checked._checked import Checked, finish
from scripts_tapleaf.bn254.checked._limbs import (
    MAGNITUDE,
    representative,
    to_limbs,
    witness,
)
from scripts_tapleaf.bn254.checked._pair import LIMBS, WIDTH, Product, check_product, new_pair
from scripts_tapleaf.bn254.checked._stack import Item, Stack
from scripts_tapleaf.bn254.checked._walk import Linear
from scripts_tapleaf.bn254.constants import P

Fq2: TypeAlias = tuple[int, int]
"""(real, imaginary)"""

DIGITS: Final = 127


@cache
def mul() -> Checked:
    """a·b = r in Fq2.

    Witness, deepest first: r, q, b, a, each with its real part and then its imaginary one, 10 limbs of 26 bits, the
    least significant first. See `mul_witness`.

    Sound: a is cut into digits in the script, which fails unless they encode its limbs; the walks prove both parts of
    a·b = q·p + r over the integers. Never overflows on limbs up to 2^25: see `Checked.bound`.
    """
    r, a, b = (new_pair(MAGNITUDE) for _ in range(3))
    q = new_pair(2 * MAGNITUDE**2 // P + 2)
    stack = Stack([item for pair in (r, q, b, a) for item in pair.items])

    def load_b() -> Sequence[Item]:
        stack.drop(len(a.items))
        return b.items

    product = Product(
        [([(real, 1)], [(imaginary, 1)]) for real, imaginary in zip(a.real, a.imaginary, strict=True)],
        DIGITS,
        load_b,
        b.bounds,
        [Linear(r.real, r.bounds, -1)],
        [Linear(r.imaginary, r.bounds, -1)],
        q,
    )
    return finish(stack, check_product(stack, product))


def mul_witness(a: Fq2, b: Fq2) -> list[bytes]:
    """For `mul`, of any integers: their residues are multiplied."""
    (a0, a1), (b0, b1) = (map(representative, value) for value in (a, b))
    sums = a0 * b0 - a1 * b1, a0 * b1 + a1 * b0
    r = [representative(part) for part in sums]
    q = [(part - rest) // P for part, rest in zip(sums, r, strict=True)]
    return witness(to_limbs(part, WIDTH, LIMBS) for part in (*r, *q, b0, b1, a0, a1))
