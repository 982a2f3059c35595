"""What is disputed: a computation cut into chunks whose results an operator commits to, one by one.

Chunk i produces value i from earlier values, or from constants alone. A chunk's leaf takes the operator's signatures
of its inputs and of its output, computes the output again and can be satisfied exactly when the two differ. Value i
is the output of chunk i and of no other, so a malformed value is caught where it is an output, and every leaf may
refuse malformed inputs.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

from bitvm_bridge.errors import BadInput
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import OP_BOOLAND, OP_EQUAL, OP_FROMALTSTACK, OP_NOT, OP_ROLL, OP_TOALTSTACK, num

VALUE_BITS = 160
"""Every committed value is a digest of this size: 2^80 work to find two states with one digest."""
LIMBS = winternitz.limb_count(VALUE_BITS)


class Chunk(ABC):
    """One step of a program."""

    name: str
    inputs: tuple[int, ...]
    """Indices of the committed values that it reads."""

    @abstractmethod
    def execute(self, inputs: Sequence[bytes]) -> bytes:
        """The value (20 bytes) that these input values give: the native side of the check."""

    @abstractmethod
    def body(self) -> bytes:
        """Script that turns the limbs of the inputs into the limbs of the output.

        Both have limb 0 on top, the last input uppermost, hints below the inputs.
        """

    def hints(self, inputs: Sequence[bytes]) -> list[bytes]:
        """Further witness items that the body consumes, deepest first."""
        del inputs
        return []


class Program(ABC):
    """A computation specialised for one instance; everything known at set-up is a constant of its scripts."""

    name: ClassVar[str]
    chunks: tuple[Chunk, ...]

    def run(self) -> tuple[bytes, ...]:
        """The honest value of every chunk."""
        values: list[bytes] = []
        for chunk in self.chunks:
            values.append(chunk.execute([values[index] for index in chunk.inputs]))
        return tuple(values)

    def first_wrong(self, values: Sequence[bytes]) -> int | None:
        """Index of the first chunk whose committed output is not what its committed inputs give."""
        if len(values) != len(self.chunks):
            raise BadInput("assertion", f"{len(values)} values", f"{len(self.chunks)} values")
        for index, chunk in enumerate(self.chunks):
            if chunk.execute([values[i] for i in chunk.inputs]) != values[index]:
                return index
        return None


@dataclass(frozen=True)
class Checks:
    """The leaves of a program under an operator's one-time keys (key i signs value i)."""

    program: Program
    keys: tuple[winternitz.PublicKey, ...]

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.program.chunks):
            raise BadInput("Winternitz keys", len(self.keys), f"{len(self.program.chunks)}, one for each value")

    def leaves(self) -> Iterator[tuple[str, bytes]]:
        """(name, script) of every chunk's leaf."""
        return ((chunk.name, self._script(index)) for index, chunk in enumerate(self.program.chunks))

    def leaf(self, name: str) -> bytes:
        """The script of one chunk's leaf. Raises BadInput."""
        return self._script(self.index(name))

    def index(self, name: str) -> int:
        """The index of a chunk by name. Raises BadInput."""
        for index, chunk in enumerate(self.program.chunks):
            if chunk.name == name:
                return index
        raise BadInput("check", name, f"a chunk of {self.program.name}")

    def witness(self, index: int, values: Sequence[bytes], signatures: Sequence[Sequence[bytes]]) -> list[bytes]:
        """Witness items, deepest first, of chunk `index`'s leaf, from the signatures that an Assert revealed."""
        chunk = self.program.chunks[index]
        items = chunk.hints([values[i] for i in chunk.inputs])
        for slot in (*chunk.inputs, index):
            items += winternitz.read_witness(VALUE_BITS, values[slot], signatures[slot])
        return items

    def _script(self, index: int) -> bytes:
        chunk = self.program.chunks[index]
        to_alt, from_alt = OP_TOALTSTACK * LIMBS, OP_FROMALTSTACK * LIMBS
        reads = [winternitz.read_script(self.keys[slot]) + to_alt for slot in (index, *reversed(chunk.inputs))]
        return b"".join((*reads, from_alt * len(chunk.inputs), chunk.body(), _differ()))


def _differ() -> bytes:
    """True where the limbs on the stack and the claimed ones on the altstack are not the same value.

    OP_EQUAL compares elements and never fails, so a claimed limb of any size has a verdict.
    """
    parts = []
    for limb in range(LIMBS):
        first = limb == 0
        parts += [OP_FROMALTSTACK, num(LIMBS - limb + (not first)), OP_ROLL, OP_EQUAL, b"" if first else OP_BOOLAND]
    return b"".join((*parts, OP_NOT))
