"""Codewords: which chains a signature opens, at which distances, and the number of each codeword.

A codeword puts a chain into each of `openings` places. The place gives the near part of the distance; a far part of 0
or of a multiple of the near span is added, so that the distance has both parts in it. Places of one near part are
alike, and so are picks of one far part: a codeword is a sequence of *sets*, chosen one after another from what is
left, first sets of chains (one for each near part), then sets of places (one for each far part but 0). A set of c out
of p has a rank below C(p, c) in the combinatorial number system, and the ranks are the digits of the codeword's number
in mixed radix. Messages are the numbers below 2^bits; the few codewords above are no message.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final, NamedTuple

from scripts_tapleaf.blake3 import limb_widths
from scripts_tapleaf.blake3 import to_limbs as cut
from scripts_tapleaf.script import ScriptError

LIMB_BITS: Final = 29


class Place(NamedTuple):
    """What fills a place: a chain, and the number of the far group that picks it (0 for none)."""

    chain: int
    far: int


@dataclass(frozen=True)
class Scheme:
    """`near[i]` openings have the near part i + 1, `far[i]` openings the far part (i + 1) · len(near)."""

    bits: int
    chains: int
    near: tuple[int, ...]
    far: tuple[int, ...]

    @property
    def length(self) -> int:
        """Hashes from a chain's secret to its end; even, so that a secret is as short as an end."""
        return len(self.near) * (len(self.far) + 1)

    @property
    def openings(self) -> int:
        """Chains that a signature opens; the places."""
        return sum(self.near)

    @property
    def picks(self) -> int:
        """Openings that have a far part."""
        return sum(self.far)

    @cached_property
    def near_parts(self) -> tuple[int, ...]:
        """Near part of each place."""
        return tuple(part for part, size in enumerate(self.near, 1) for _ in range(size))

    @cached_property
    def far_groups(self) -> tuple[int, ...]:
        """Far group of each pick, in the order of the picks."""
        return tuple(group for group, size in enumerate(self.far, 1) for _ in range(size))

    def waiting(self) -> list[int]:
        """The places as a list of openings has them before the first pick, uppermost first."""
        return list(reversed(range(self.openings)))

    def distance(self, place: int, far: int) -> int:
        """Hashes from the opening at a place to its chain's end."""
        return self.near_parts[place] + far * len(self.near)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Size of each set that a codeword chooses: sets of chains, then sets of places."""
        return self.near + self.far

    @cached_property
    def pools(self) -> tuple[int, ...]:
        """What is left to choose each set from."""
        chains = [self.chains - taken for taken in accumulate(self.near, initial=0)]
        places = [self.openings - taken for taken in accumulate(self.far, initial=0)]
        return (*chains[:-1], *places[:-1])

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """What one unit of each rank is worth in the number; the last entry is the number of codewords."""
        radices = (math.comb(pool, size) for pool, size in zip(self.pools, self.sizes, strict=True))
        return tuple(accumulate(radices, lambda product, radix: product * radix, initial=1))

    @property
    def codewords(self) -> int:
        """How many there are."""
        return self.weights[-1]

    def choices(self, number: int) -> list[list[int]]:
        """The sets of codeword `number`: rising indices into what is left. Raises ScriptError above the last."""
        if not 0 <= number < self.codewords:
            raise ScriptError(f"codeword {number}, expected 0 to {self.codewords - 1}")
        sets = []
        for pool, size in zip(self.pools, self.sizes, strict=True):
            number, rank = divmod(number, math.comb(pool, size))
            sets.append(unrank(rank, size))
        return sets

    def number(self, choices: Sequence[Sequence[int]]) -> int:
        """Inverse of `choices`."""
        return sum(weight * rank(chosen) for weight, chosen in zip(self.weights, choices, strict=False))

    def fill(self, choices: Sequence[Sequence[int]]) -> list[Place]:
        """The places of a codeword; where places are alike, their chains rise."""
        near, far = choices[: len(self.near)], choices[len(self.near) :]
        chains = [number for taken in _take(list(range(self.chains)), near) for number in taken]
        groups = [0] * self.openings
        for group, taken in enumerate(_take(self.waiting(), far), 1):
            for place in taken:
                groups[place] = group
        return [Place(*pair) for pair in zip(chains, groups, strict=True)]

    def choices_of(self, places: Sequence[Place]) -> list[list[int]]:
        """Inverse of `fill`, for places in the order that `order` gives."""
        chains = [place.chain for place in places]
        near = [chains[end - size : end] for size, end in zip(self.near, accumulate(self.near), strict=True)]
        groups = range(1, len(self.far) + 1)
        far = [[place for place in self.waiting() if places[place].far == group] for group in groups]
        return [*_indices(list(range(self.chains)), near), *_indices(self.waiting(), far)]

    def order(self, places: Sequence[Place]) -> list[int]:
        """Places sorted so that chains rise where places are alike: one order for each codeword."""
        return sorted(range(self.openings), key=lambda place: (self.near_parts[place], places[place].chain))


SCHEMES: Final = {
    128: Scheme(128, 32, (2, 3, 2, 3, 2, 3, 1, 3, 1, 3), (4, 4, 2, 2, 1, 1)),
    160: Scheme(160, 39, (2, 4, 2, 4, 2, 4, 2, 3, 2, 3), (4, 4, 3, 2, 2, 1)),
    256: Scheme(256, 58, (3, 6, 3, 6, 2, 5, 2, 4, 2, 4, 2, 4), (6, 6, 5, 3, 2, 1)),
}
"""Found by search for the fewest bytes of script and witness. Sets have at most 4 members (6 where a message has 256
bits): larger ones would save some 6 bytes of 2,266 and cost the reader a table each."""


def scheme(bits: int) -> Scheme:
    """The scheme for messages of 128, 160 or 256 bits. Raises ScriptError."""
    if bits not in SCHEMES:
        raise ScriptError(f"Winternitz messages of {bits} bits, expected one of {', '.join(map(str, SCHEMES))}")
    return SCHEMES[bits]


def witness_item_count(bits: int) -> int:
    """Items of one signature: a node and a selector for each opening, a selector for each pick."""
    return 2 * scheme(bits).openings + scheme(bits).picks


def limb_count(bits: int) -> int:
    """Limbs of a message."""
    return len(limb_widths(bits, LIMB_BITS))


def to_limbs(message: bytes) -> list[int]:
    """A message as `read_script` leaves it: limb 0 first, which is uppermost."""
    return cut(message, limb_widths(8 * len(message), LIMB_BITS))


def rank(chosen: Sequence[int]) -> int:
    """Rank of a rising choice in the combinatorial number system: Σ C(i-th, i)."""
    return sum(math.comb(index, order) for order, index in enumerate(chosen, 1))


def unrank(value: int, size: int) -> list[int]:
    """Inverse of `rank`."""
    chosen = []
    for order in range(size, 0, -1):
        index = order - 1
        while math.comb(index + 1, order) <= value:
            index += 1
        value -= math.comb(index, order)
        chosen.append(index)
    return chosen[::-1]


def _take(left: list[int], choices: Sequence[Sequence[int]]) -> list[list[int]]:
    """What the indices choose, each set from what those before it leave."""
    taken = []
    for chosen in choices:
        taken.append([left[index] for index in chosen])
        left = [item for index, item in enumerate(left) if index not in chosen]
    return taken


def _indices(left: list[int], sets: Sequence[Sequence[int]]) -> list[list[int]]:
    """Inverse of `_take`."""
    choices = []
    for chosen in sets:
        choices.append([left.index(item) for item in chosen])
        left = [item for item in left if item not in chosen]
    return choices
