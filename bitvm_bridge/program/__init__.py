"""Disputed computations: the interface, and the programs there are."""

from collections.abc import Callable
from typing import Final, Protocol

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.base import Checks, Chunk, Program, Run, Value, Verdict, check_keys
from bitvm_bridge.program.groth16.program import Groth16, Groth16Spec
from bitvm_bridge.program.hash_chain import HashChain, HashChainSpec
from scripts_tapleaf.comparison import differ

__all__ = [
    "Checks",
    "Chunk",
    "Groth16",
    "Groth16Spec",
    "HashChain",
    "HashChainSpec",
    "Program",
    "ProgramSpec",
    "Run",
    "Value",
    "Verdict",
    "check_keys",
    "differ",
    "parse_program",
]


class ProgramSpec(Protocol):
    """A program before it is bound to an instance; its text form is part of the instance id."""

    @property
    def values(self) -> tuple[Value, ...]:
        """What an operator commits to."""

    def specialise(self, instance_id: bytes) -> Program:
        """The program of one instance."""


_SPECS: Final[dict[str, Callable[[str], ProgramSpec]]] = {
    HashChain.name: HashChainSpec.parse,
    Groth16.name: Groth16Spec.parse,
}


def parse_program(text: str) -> ProgramSpec:
    """From its text form, such as `hash-chain:8:1`. Raises BadInput."""
    name = text.partition(":")[0]
    if name not in _SPECS:
        raise BadInput("program", text, f"one of {', '.join(_SPECS)}")
    return _SPECS[name](text)
