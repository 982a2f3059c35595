"""Integers as signed limbs and as signed digits: what the witness of a checked product is made of."""

from collections.abc import Iterable, Sequence
from functools import cache
from typing import Final

from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.script import ScriptError, encode_num

LARGEST: Final = (4**127 - 1) // 3
"""Σ 4^i for 127 digits i: the largest number that they hold when each is −2 to 1."""
MAGNITUDE: Final = P - LARGEST
"""No representative is larger in magnitude."""
_FACTORS: Final = (1, 3)


def to_limbs(value: int, width: int, count: int) -> tuple[int, ...]:
    """`value` = Σ limb_l·2^(width·l), the least significant limb first.

    Every limb but the last is in [-2^(width-1), 2^(width-1)); the last takes what is left.
    Raises ScriptError where that is not under 2^31, which a script number cannot hold.
    """
    half, limbs = 1 << width - 1, []
    for _ in range(count - 1):
        limb = (value + half) % (2 * half) - half
        limbs.append(limb)
        value = (value - limb) >> width
    if abs(value) >= 1 << 31:
        raise ScriptError(f"to_limbs: last limb {value}, expected less than 2^31; more limbs are needed")
    return (*limbs, value)


def from_limbs(limbs: Sequence[int], width: int) -> int:
    """Inverse of `to_limbs`, of any limbs."""
    return sum(limb << width * index for index, limb in enumerate(limbs))


def limb_bounds(magnitude: int, width: int, count: int) -> tuple[int, ...]:
    """The largest |limb| that `to_limbs` makes of values up to this magnitude."""
    half = 1 << width - 1
    return (*[half] * (count - 1), (magnitude >> width * (count - 1)) + 1)


def representative(value: int) -> int:
    """The integer congruent to `value` mod p that 127 joint digits hold: in (LARGEST − p, LARGEST]."""
    return LARGEST - (LARGEST - value) % P


def witness(values: Iterable[Sequence[int]]) -> list[bytes]:
    """Groups of numbers as witness items, the first is deepest."""
    return [encode_num(number) for group in values for number in group]


@cache
def recode(value: int) -> tuple[int, ...]:
    """Digits in {0, ±1, ±3}, the least significant first, Σ digit_i·2^i = value > 0, with the fewest that are not 0."""
    if value in _FACTORS:
        return (value,)
    if value % 2 == 0:
        return (0, *recode(value // 2))
    options = [(digit, *recode((value - digit) // 2)) for factor in _FACTORS for digit in (factor, -factor)]
    return min(options, key=lambda digits: (sum(digit != 0 for digit in digits), len(digits)))
