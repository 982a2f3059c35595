"""Amounts in terms of a deposit's parameters: added and compared as sums, shown as they are written in a table."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from bitvm_bridge.params import DUST, Params


@dataclass(frozen=True)
class Sum:
    """So many times each named amount; `BOND - 2 * DUST_OUTPUT`."""

    parts: tuple[tuple[str, int], ...] = ()

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Self:
        """What is there no times is left out."""
        return cls(tuple((name, count) for name, count in counts.items() if count))

    def __add__(self, other: "Sum") -> "Sum":
        counts = dict(self.parts)
        for name, count in other.parts:
            counts[name] = counts.get(name, 0) + count
        return Sum.of(counts)

    def __rmul__(self, factor: int) -> "Sum":
        return Sum.of({name: factor * count for name, count in self.parts})

    def __neg__(self) -> "Sum":
        return -1 * self

    def __sub__(self, other: "Sum") -> "Sum":
        return self + -other

    def __bool__(self) -> bool:
        return bool(self.parts)

    def __str__(self) -> str:
        words = []
        for name, count in sorted(self.parts, key=lambda part: part[1] < 0):
            times = "" if abs(count) == 1 else f"{abs(count)} "
            words.append(("− " if count < 0 else "+ ") + times + name)
        text = " ".join(words).removeprefix("+ ")
        return text.replace("− ", "−", 1) if text.startswith("−") else text or "0"

    def sat(self, values: Mapping[str, int]) -> int:
        """What it comes to."""
        return sum(count * values[name] for name, count in self.parts)


def _named(name: str) -> Sum:
    return Sum(((name, 1),))


DEPOSIT, BOND, BURN, CHALLENGE = map(_named, ("deposit", "bond", "burn", "challenge"))
PAID, DUST_OUTPUT = map(_named, ("paid", "dust"))
NOTHING = Sum()
REWARD = BOND - BURN


def values(params: Params, paid: int) -> dict[str, int]:
    """Name → sat, for a deposit of one exit; `paid` is what the withdrawer asks for."""
    return {
        "deposit": params.peg_in,
        "bond": params.bond,
        "burn": params.burn,
        "challenge": params.challenge,
        "paid": paid,
        "dust": DUST,
    }
