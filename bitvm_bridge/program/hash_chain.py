"""The first program: a BLAKE3 hash chain that starts at the instance id.

Value i is BLAKE3 of value i−1, `rounds` times, truncated to 160 bits; value −1 is the digest of the instance id,
which is a constant of the scripts, so that no two instances have the same chain.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Final

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.base import DIGEST_BITS, Chunk, Program, Run, Value
from bitvm_bridge.program.partition import PROFILES, Cost, Limits, partition, with_reads
from scripts_tapleaf import blake3, winternitz
from scripts_tapleaf.comparison import differ
from scripts_tapleaf.script import num

MAX_LENGTH: Final = 4_096
MAX_ROUNDS: Final = 64
"""A leaf of this many rounds stays well under the weight that fits a block template."""
DIGEST_SIZE: Final = DIGEST_BITS // 8
LIMBS: Final = winternitz.limb_count(DIGEST_BITS)


@dataclass(frozen=True)
class Link(Chunk):
    """`rounds` hashes from the value before; the first link starts at `start`, a constant."""

    name: str
    inputs: tuple[int, ...]
    output: int
    rounds: int
    start: bytes | None = None

    def execute(self, inputs: Sequence[bytes]) -> bytes:
        """The value (20 bytes) that these input values give."""
        (value,) = inputs if self.start is None else (self.start,)
        for _ in range(self.rounds):
            value = blake3.digest(value, DIGEST_SIZE)
        return value

    def script(self) -> bytes:
        """The hashes, and whether their result differs from what is claimed."""
        if self.start is None:
            return _hash() * self.rounds + differ(LIMBS)
        limbs = winternitz.to_limbs(self.execute([]))
        return b"".join(num(limb) for limb in reversed(limbs)) + differ(LIMBS)


@cache
def _hash() -> bytes:
    """One round; the claimed value waits on the altstack meanwhile."""
    return blake3.blake3_script(DIGEST_SIZE, reserved=LIMBS).script


class HashChain(Program):
    """A chain of links of some hashes each."""

    name = "hash-chain"
    raw_count = 0

    def __init__(self, instance_id: bytes, rounds: Sequence[int]) -> None:
        """`rounds`: of every link."""
        start = blake3.digest(instance_id, DIGEST_SIZE)
        self.values = _values(len(rounds))
        self.links = (
            Link(self.values[0].name, (), 0, rounds[0], start),
            *(Link(self.values[i].name, (i - 1,), i, rounds[i]) for i in range(1, len(rounds))),
        )
        self.chunks = self.links

    def run(self, raw: Sequence[bytes]) -> Run:
        """Every link's value; nothing is handed in, and nothing can fail."""
        if raw:
            raise BadInput("hash chain input", f"{len(raw)} values", "none: it starts at the instance id")
        values: list[bytes] = []
        for link in self.links:
            values.append(link.execute([values[index] for index in link.inputs]))
        return Run(tuple(values))

    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        """No raw values. Raises BadInput for any document."""
        if document is not None:
            raise BadInput("--proof", f"{len(document)} bytes", "an input of hash-chain, which takes none")
        return ()


def _values(length: int) -> tuple[Value, ...]:
    return tuple(Value(f"link_{index}", DIGEST_BITS) for index in range(length))


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
    def values(self) -> tuple[Value, ...]:
        """What an operator commits to: the value of every link."""
        return _values(self.length)

    def __str__(self) -> str:
        return f"{HashChain.name}:{self.length}:{self.rounds}"

    def specialise(self, instance_id: bytes) -> HashChain:
        """The program of one instance."""
        return HashChain(instance_id, (self.rounds,) * self.length)

    @classmethod
    def parse(cls, text: str) -> "HashChainSpec | CutHashChainSpec":
        """From `hash-chain[:LENGTH[:ROUNDS]]` or `hash-chain:HASHES:PROFILE`. Raises BadInput."""
        name, *numbers = text.split(":")
        if name == HashChain.name and len(numbers) == 2 and numbers[1] in PROFILES and _is_number(numbers[0]):
            return CutHashChainSpec(int(numbers[0]), numbers[1])
        if name != HashChain.name or len(numbers) > 2 or not all(map(_is_number, numbers)):
            expected = "hash-chain, hash-chain:LENGTH, hash-chain:LENGTH:ROUNDS or hash-chain:HASHES:PROFILE"
            raise BadInput("program", text, expected)
        return cls(*(int(number) for number in numbers))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit()


class HashSteps:
    """A chain of single hashes as the steps of `partition`: any cut is as good as another."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.breaks: tuple[int, ...] = ()
        self.seams = range(1, count + 1)

    def worths(self, start: int, end: int, limits: Limits) -> Iterator[tuple[float, int]]:
        """As many hashes as the leaf holds."""
        most = limits.leaf // len(_hash())
        return ((float(stop - start), stop) for stop in range(start + 1, min(end, start + most) + 1))

    def cost(self, start: int, stop: int) -> Cost:
        """Of a link of these hashes, its input and its claim read."""
        script = len(_hash()) * (stop - start) + len(differ(LIMBS))
        max_stack = blake3.blake3_script(DIGEST_SIZE, reserved=LIMBS).max_stack + LIMBS
        return with_reads(Cost(script, 0, 0, max_stack), (DIGEST_BITS, DIGEST_BITS))

    def cut(self, start: int, stop: int) -> None:
        """Links know nothing of each other."""


@dataclass(frozen=True)
class CutHashChainSpec:
    """A chain of `hashes` hashes in all, cut into links by the partitioner; text `hash-chain:HASHES:PROFILE`."""

    hashes: int
    profile: str

    def __post_init__(self) -> None:
        _check("hashes", self.hashes, MAX_LENGTH)

    @cached_property
    def rounds(self) -> tuple[int, ...]:
        """Hashes of every link."""
        return tuple(stop - start for start, stop in partition(HashSteps(self.hashes), PROFILES[self.profile]))

    @property
    def values(self) -> tuple[Value, ...]:
        """What an operator commits to: the value of every link."""
        return _values(len(self.rounds))

    def __str__(self) -> str:
        return f"{HashChain.name}:{self.hashes}:{self.profile}"

    def specialise(self, instance_id: bytes) -> HashChain:
        """The program of one instance."""
        return HashChain(instance_id, self.rounds)
