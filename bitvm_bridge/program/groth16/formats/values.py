"""What every format is made of: numbers within their range, finite points, points known by x alone, a byte reader.

Whether a point is on the curve and in its subgroup is for the key and the proof to say; a point that is given by its x
alone has to be on the curve to be found.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.native.curve import G1, G1_B, G2, G2_B
from bitvm_bridge.program.groth16.native.field import (
    Fq2,
    P,
    R,
    fq2_add,
    fq2_mul,
    fq2_neg,
    fq2_sqrt,
    fq2_square,
    fq_sqrt,
)

KEY: Final = "verifying key"
PROOF: Final = "proof"
PUBLIC: Final = "public inputs"
MAX_INPUTS: Final = 16
"""Public inputs that a key may have before constants are folded."""
COORDINATE_SIZE: Final = 32
"""bytes of a number below P or R."""


def check_count(count: int) -> int:
    """A number of public inputs as it comes from a prover. Raises BadInput."""
    if not 1 <= count <= MAX_INPUTS:
        raise BadInput("number of public inputs", count, f"1 to {MAX_INPUTS}")
    return count


def check_coordinate(field: str, value: int) -> int:
    """A coordinate below P. Raises BadInput."""
    if not 0 <= value < P:
        raise BadInput(f"coordinate of {field}", value, "below the field modulus P")
    return value


def check_input(index: int, value: int) -> int:
    """A public input below R. Raises BadInput."""
    if not 0 <= value < R:
        raise BadInput(f"public input {index}", value, "below the group order R")
    return value


def infinite(field: str) -> BadInput:
    """The refusal of a point at infinity: no honest key or proof has one."""
    return BadInput(field, "the point at infinity", "a finite point")


def make_g1(field: str, coordinates: Sequence[int], y_is_larger: bool) -> G1:
    """From (x, y), or from (x,) and which of the two y it is. Raises BadInput."""
    x = check_coordinate(field, coordinates[0])
    if len(coordinates) == 2:
        return x, check_coordinate(field, coordinates[1])
    y = fq_sqrt((x * x * x + G1_B) % P)
    if y is None:
        raise BadInput(field, f"x = {x}", "the x of a point on the curve")
    return x, y if g1_y_is_larger((x, y)) == y_is_larger else P - y


def make_g2(field: str, coordinates: Sequence[int], y_is_larger: bool) -> G2:
    """From (x₀, x₁, y₀, y₁), or from (x₀, x₁) and which of the two y it is. Raises BadInput."""
    x0, x1, *rest = (check_coordinate(field, value) for value in coordinates)
    x: Fq2 = (x0, x1)
    if rest:
        return x, (rest[0], rest[1])
    y = fq2_sqrt(fq2_add(fq2_mul(fq2_square(x), x), G2_B))
    if y is None:
        raise BadInput(field, f"x = {x}", "the x of a point on the twist")
    return x, y if g2_y_is_larger((x, y)) == y_is_larger else fq2_neg(y)


def g1_y_is_larger(point: G1) -> bool:
    """Is y > −y as numbers?"""
    return point[1] > P - point[1]


def g2_y_is_larger(point: G2) -> bool:
    """Is y > −y, compared by the coefficient of u first?"""
    y = point[1]
    return y[::-1] > fq2_neg(y)[::-1]


def split(raw: bytes, order: Literal["little", "big"]) -> list[int]:
    """Numbers of 32 bytes, one after another."""
    starts = range(0, len(raw), COORDINATE_SIZE)
    return [int.from_bytes(raw[start : start + COORDINATE_SIZE], order) for start in starts]


@dataclass
class Reader:
    """Takes bytes from the front, and knows what they are for."""

    data: bytes
    kind: str
    """What the whole is, for the refusals."""
    position: int = 0

    def take(self, size: int, field: str) -> bytes:
        """The next `size` bytes. Raises BadInput where the data end earlier."""
        end = self.position + size
        if end > len(self.data):
            raise BadInput(self.kind, f"{len(self.data)} bytes", f"complete: {field} ends at byte {end}")
        start, self.position = self.position, end
        return self.data[start:end]

    def finish(self) -> None:
        """Raises BadInput where bytes are left."""
        if self.position != len(self.data):
            raise BadInput(self.kind, f"{len(self.data)} bytes", f"at its end after byte {self.position}")
