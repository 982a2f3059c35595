"""A computation that judges an outcome: the last check holds its result against what the oracle signed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import Chunk, Program, Run
from bitvm_bridge.program.base import DIGEST_BITS
from scripts_tapleaf import winternitz
from scripts_tapleaf.covenant import outside

OUTCOME: Final = "outcome"


@dataclass(frozen=True)
class OutcomeCheck(Chunk):
    """Is the result outside of [`first`, `end`)? Both are constants of the leaf."""

    inputs: tuple[int, ...]
    first: int
    end: int
    name: str = OUTCOME
    output: None = None

    def script(self) -> bytes:
        """The result's lowest limb decides."""
        return outside(self.first, self.end, winternitz.limb_count(DIGEST_BITS))


class Judged(Program):
    """Another program, and the outcome that its result must mean: the lowest 29 bits in [`first`, `end`)."""

    name = "judged"

    def __init__(self, program: Program, first: int, end: int) -> None:
        self.inner = program
        self.values = program.values
        self.raw_count = program.raw_count
        self.first, self.end = first, end
        self.chunks = (*program.chunks, OutcomeCheck((len(program.values) - 1,), first, end))

    def run(self, raw: Sequence[bytes]) -> Run:
        """That of the other program; it fails where the result means another outcome."""
        run = self.inner.run(raw)
        if run.failed is not None:
            return run
        found = result(run.values)
        if self.first <= found < self.end:
            return run
        reason = f"the result is {found}, and the outcome that was signed has {self.first} to {self.end - 1}"
        return Run(run.values, len(self.inner.chunks), reason)

    def hints(self, run: Run, index: int) -> list[bytes]:
        """Of the other program; the last check needs none."""
        return self.inner.hints(run, index) if index < len(self.inner.chunks) else []

    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        """As the other program does. Raises BadInput."""
        return self.inner.read_input(document)


def result(values: Sequence[bytes]) -> int:
    """The number of 29 bits that says which outcome a computation found."""
    if not values:
        raise BadInput("program", "no value", "a result")
    return winternitz.to_limbs(values[-1])[0]
