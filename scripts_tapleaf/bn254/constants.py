"""The field, and how its elements lie on the stack.

An element is twelve signed limbs of 22 bits, `Σ limb_l · 2^(22 l)`. Limbs may be a little larger than 22 bits and the
value a little larger than p: what is allowed is tracked by `Bounds` when a script is written, and proved there.
"""

from dataclasses import dataclass
from typing import Final

P: Final = 21888242871839275222246405745257275088696311157297823662689037894645226208583
"""The prime of BN254."""
LIMB_BITS: Final = 22
LIMBS: Final = 12
MAX_OPERAND: Final = (1 << 31) - 1
"""Largest magnitude of a number that an arithmetic opcode takes (4 bytes)."""


@dataclass(frozen=True)
class Bounds:
    """What is known of an element: no limb and not the value exceed these magnitudes."""

    limbs: tuple[int, ...]
    value: int

    def __add__(self, other: "Bounds") -> "Bounds":
        limbs = tuple(a + b for a, b in zip(self.limbs, other.limbs, strict=True))
        return Bounds(limbs, self.value + other.value)

    def scaled(self, factor: int) -> "Bounds":
        """Of the element times a whole number."""
        return Bounds(tuple(abs(factor) * limb for limb in self.limbs), abs(factor) * self.value)


ZERO: Final = Bounds((0,) * LIMBS, 0)
CANONICAL: Final = Bounds(tuple(min((1 << LIMB_BITS) - 1, P >> LIMB_BITS * limb) for limb in range(LIMBS)), P - 1)
"""A residue in [0, p) in limbs that are not negative."""


def to_limbs(value: int) -> list[int]:
    """Limbs of a residue, the least significant first; the top limb takes the sign."""
    limbs = []
    for _ in range(LIMBS - 1):
        limbs.append(value & (1 << LIMB_BITS) - 1)
        value >>= LIMB_BITS
    return [*limbs, value]


def from_limbs(limbs: list[int]) -> int:
    """The value of limbs, the least significant first."""
    return sum(limb << LIMB_BITS * index for index, limb in enumerate(limbs))


def centred(value: int) -> int:
    """The residue of smallest magnitude."""
    return (value + P // 2) % P - P // 2
