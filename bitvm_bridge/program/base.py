"""What is disputed: a computation cut into chunks, and the values that an operator commits to, one by one.

The first values are raw: numbers that the operator hands in, such as the elements of a proof. Every further value is
the digest of a state and the output of exactly one chunk, which computes it from raw values, earlier outputs and
constants. A chunk without an output only checks its inputs. A chunk's leaf takes the operator's signatures of its
inputs and of its output, computes the output again, and can be satisfied exactly when the claim is wrong: the two
differ, or the chunk cannot be computed from these raw values (a proof that does not verify, a point off its curve).

Chunks are in order of computation. So the inputs of the first wrong chunk are what the honest computation has, which
anyone can repeat from the raw values: whoever disproves knows every preimage.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, NamedTuple

from bitvm_bridge.errors import BadInput
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import (
    OP_FROMALTSTACK,
    OP_ROLL,
    OP_ROT,
    OP_SWAP,
    OP_TOALTSTACK,
    num,
)

DIGEST_BITS: Final = 160
"""The digest of a state: 2^80 work to find two states with one digest."""
RAW_BITS: Final = 256
"""A number that is committed as it is."""


class Value(NamedTuple):
    """A value that an operator commits to.

    160 bits: the digest of a state. 256 bits: a number committed as it is, 32 bytes, little-endian.
    """

    name: str
    bits: int


class Chunk(ABC):
    """One step of a program."""

    name: str
    inputs: tuple[int, ...]
    """Indices of the committed values that it reads."""
    output: int | None
    """Index of the value that it produces; None for a pure check of its inputs."""

    @abstractmethod
    def script(self) -> bytes:
        """The leaf behind the reads of its values.

        On entry the stack has the hints, then the limbs of every input, the last input uppermost; the limbs of the
        claimed output wait on the altstack, above whatever else is there. Limbs have 29 bits, limb 0 uppermost. All
        limbs but a value's last are in range; the last is not negative, and out of range for a signature that is
        valid but of no message.

        Leaves exactly one item: true exactly when the claim is wrong.
        """


@dataclass(frozen=True)
class Run:
    """What an honest operator commits to, the raw values first.

    `failed` is the index of the first chunk whose check fails on these raw values, and `reason` says in words why;
    values that would come behind it are whatever the program fills in.
    """

    values: tuple[bytes, ...]
    failed: int | None = None
    reason: str = ""


class Verdict(NamedTuple):
    """The first wrong chunk of an assertion, why it is wrong, and the run of the assertion's raw values."""

    chunk: int
    reason: str
    run: Run


class Program(ABC):
    """A computation specialised for one instance; everything known at set-up is a constant of its scripts."""

    name: ClassVar[str]
    values: tuple[Value, ...]
    raw_count: int
    """How many of the values, the first ones, are raw."""
    chunks: tuple[Chunk, ...]

    @abstractmethod
    def run(self, raw: Sequence[bytes]) -> Run:
        """The honest run from the raw values alone; the same for everyone.

        Whatever an operator can sign has a run: a raw value may have any content, and one byte more than its size
        where the signature is of no message.
        """

    def hints(self, run: Run, index: int) -> list[bytes]:
        """Further witness items of chunk `index`'s leaf, deepest first, where it is the first wrong chunk."""
        del run, index
        return []

    @abstractmethod
    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        """The raw values from what the operator hands in, such as a proof file. Raises BadInput."""

    def first_wrong(self, values: Sequence[bytes]) -> Verdict | None:
        """The first wrong chunk of an assertion; None where it is correct. Raises BadInput for a missing value."""
        if len(values) != len(self.values):
            raise BadInput("assertion", f"{len(values)} values", f"{len(self.values)} values")
        run = self.run(values[: self.raw_count])
        for index, chunk in enumerate(self.chunks):
            if index == run.failed:
                return Verdict(index, run.reason, run)
            if chunk.output is not None and values[chunk.output] != run.values[chunk.output]:
                claimed, computed = values[chunk.output].hex(), run.values[chunk.output].hex()
                return Verdict(index, f"{self.values[chunk.output].name} is {computed}, claimed {claimed}", run)
        return None


@dataclass(frozen=True)
class Checks:
    """The leaves of a program under an operator's one-time keys (key i signs value i)."""

    program: Program
    keys: tuple[winternitz.PublicKey, ...]

    def __post_init__(self) -> None:
        """Raises BadInput for keys that do not fit the values, or for chunks that are not in order of computation."""
        check_keys(self.keys, self.program.values)
        _check_order(self.program)

    def leaves(self) -> Iterator[tuple[str, bytes]]:
        """(name, script) of every chunk's leaf, one at a time: a leaf may have megabytes."""
        return ((chunk.name, self._script(chunk)) for chunk in self.program.chunks)

    def leaf(self, name: str) -> bytes:
        """The script of one chunk's leaf. Raises BadInput."""
        return self._script(self.program.chunks[self.index(name)])

    def index(self, name: str) -> int:
        """The index of a chunk by name. Raises BadInput."""
        for index, chunk in enumerate(self.program.chunks):
            if chunk.name == name:
                return index
        raise BadInput("check", name, f"a chunk of {self.program.name}")

    def witness(
        self, index: int, run: Run, values: Sequence[bytes], signatures: Sequence[Sequence[bytes]]
    ) -> list[bytes]:
        """Witness items, deepest first, of chunk `index`'s leaf, from the values and signatures that Assert revealed.

        `run` is the run of their raw values.
        """
        chunk = self.program.chunks[index]
        items = self.program.hints(run, index)
        for slot in (*chunk.inputs, *_outputs(chunk)):
            items += winternitz.read_witness(self.keys[slot].bits, values[slot], signatures[slot])
        return items

    def _script(self, chunk: Chunk) -> bytes:
        """Outputs are read first, and last the inputs, whose limbs wait on the altstack meanwhile."""
        parts = []
        for slot in _outputs(chunk):
            parts += [winternitz.read_script(self.keys[slot]), _claim(winternitz.limb_count(self.keys[slot].bits))]
        for slot in reversed(chunk.inputs):
            key = self.keys[slot]
            parts += [winternitz.read_script(key), OP_TOALTSTACK * winternitz.limb_count(key.bits)]
        limbs = sum(winternitz.limb_count(self.keys[slot].bits) for slot in chunk.inputs)
        return b"".join((*parts, OP_FROMALTSTACK * limbs, chunk.script()))


def check_keys(keys: Sequence[winternitz.PublicKey], values: Sequence[Value]) -> None:
    """Raises BadInput unless there is one key of the right width for each value."""
    if len(keys) != len(values):
        raise BadInput("Winternitz keys", len(keys), f"{len(values)}, one for each committed value")
    for key, value in zip(keys, values, strict=True):
        if key.bits != value.bits:
            raise BadInput(f"Winternitz key of {value.name}", f"{key.bits} bits", f"one of {value.bits} bits")


def _outputs(chunk: Chunk) -> tuple[int, ...]:
    return () if chunk.output is None else (chunk.output,)


def _claim(limbs: int) -> bytes:
    """Limbs to the altstack in an order that leaves limb 0 uppermost there, too."""
    rolls = {0: b"", 1: OP_SWAP, 2: OP_ROT}
    return b"".join(rolls.get(limb, num(limb) + OP_ROLL) + OP_TOALTSTACK for limb in reversed(range(limbs)))


def _check_order(program: Program) -> None:
    known = set(range(program.raw_count))
    for chunk in program.chunks:
        if not known.issuperset(chunk.inputs) or not known.isdisjoint(_outputs(chunk)):
            raise BadInput("chunk", chunk.name, "one that reads raw values and earlier outputs, and produces a new one")
        known.update(_outputs(chunk))
    if known != set(range(len(program.values))):
        raise BadInput("program", program.name, "one whose chunks produce every value that is not raw, and no other")
