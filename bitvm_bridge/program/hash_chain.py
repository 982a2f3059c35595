"""The first program: a BLAKE3 hash chain that starts at the instance id.

Value i is BLAKE3 of value i−1, `rounds` times, truncated to 160 bits; value −1 is the digest of the instance id,
which is a constant of the scripts, so that no two instances have the same chain.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final, Self

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.base import LIMBS, VALUE_BITS, Chunk, Program
from scripts_tapleaf import blake3, winternitz
from scripts_tapleaf.script import num

MAX_LENGTH: Final = 4_096
MAX_ROUNDS: Final = 64
"""A leaf of this many rounds stays well under the weight that fits a block template."""
DIGEST_SIZE: Final = VALUE_BITS // 8


@dataclass(frozen=True)
class Link(Chunk):
    """`rounds` hashes from the value before; the first link starts at `start`, a constant."""

    name: str
    inputs: tuple[int, ...]
    rounds: int
    start: bytes | None = None

    def execute(self, inputs: Sequence[bytes]) -> bytes:
        (value,) = inputs if self.start is None else (self.start,)
        for _ in range(self.rounds):
            value = blake3.digest(value, DIGEST_SIZE)
        return value

    def body(self) -> bytes:
        if self.start is not None:
            limbs = winternitz.to_limbs(self.execute([]))
            return b"".join(num(limb) for limb in reversed(limbs))
        return _hash() * self.rounds


@cache
def _hash() -> bytes:
    """One round; the claimed value waits on the altstack meanwhile."""
    return blake3.blake3_script(DIGEST_SIZE, reserved=LIMBS).script


class HashChain(Program):
    """A chain of `length` links of `rounds` hashes each."""

    name = "hash-chain"

    def __init__(self, instance_id: bytes, length: int, rounds: int) -> None:
        _check("length", length, MAX_LENGTH)
        _check("rounds", rounds, MAX_ROUNDS)
        start = blake3.digest(instance_id, DIGEST_SIZE)
        first = Link("link_0", (), rounds, start)
        self.chunks = (first, *(Link(f"link_{index}", (index - 1,), rounds) for index in range(1, length)))


def _check(field: str, value: int, most: int) -> None:
    if not 1 <= value <= most:
        raise BadInput(f"hash chain {field}", value, f"a whole number from 1 to {most:,}")


@dataclass(frozen=True)
class HashChainSpec:
    """The chain before an instance id is known; its text form is `hash-chain:LENGTH:ROUNDS`."""

    length: int = 8
    rounds: int = 1

    def __post_init__(self) -> None:
        _check("length", self.length, MAX_LENGTH)
        _check("rounds", self.rounds, MAX_ROUNDS)

    @property
    def value_count(self) -> int:
        """How many values an operator commits to."""
        return self.length

    def __str__(self) -> str:
        return f"{HashChain.name}:{self.length}:{self.rounds}"

    def specialise(self, instance_id: bytes) -> HashChain:
        """The program of one instance."""
        return HashChain(instance_id, self.length, self.rounds)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From `hash-chain[:LENGTH[:ROUNDS]]`. Raises BadInput."""
        name, *numbers = text.split(":")
        if name != HashChain.name or len(numbers) > 2 or not all(n.isascii() and n.isdigit() for n in numbers):
            raise BadInput("program", text, "hash-chain, hash-chain:LENGTH or hash-chain:LENGTH:ROUNDS")
        return cls(*(int(number) for number in numbers))
