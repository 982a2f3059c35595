"""Find the first wrong chunk of an assertion and prove it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.program import Checks, Program
from bitvm_bridge.transaction import Transaction, TxOut


@dataclass(frozen=True)
class Proof:
    """Why an assertion is wrong: the chunk, the reason in words, and the witness items that prove it.

    `claimed` and `computed` are the chunk's value as asserted and as it is; None where the chunk cannot be computed.
    """

    leaf: str
    reason: str
    claimed: bytes | None
    computed: bytes | None
    items: tuple[bytes, ...]


class Disputed(Protocol):
    """An instance, or one outcome of a contract."""

    @property
    def program(self) -> Program:
        """The computation."""

    @property
    def checks(self) -> Checks:
        """Its leaves."""


def find(setup: Disputed, assertion: Assertion) -> Proof | None:
    """The proof against the first wrong chunk; None where the assertion is correct."""
    verdict = setup.program.first_wrong(assertion.values)
    if verdict is None:
        return None
    index, reason, run = verdict
    chunk = setup.program.chunks[index]
    output = None if run.failed == index else chunk.output
    return Proof(
        leaf=chunk.name,
        reason=reason,
        claimed=None if output is None else assertion.values[output],
        computed=None if output is None else run.values[output],
        items=tuple(setup.checks.witness(index, run, assertion.values, assertion.signatures)),
    )


def prove(setup: Disputed, assertion: Assertion) -> Proof:
    """The proof against the first wrong chunk. Raises BridgeError where the assertion is correct."""
    proof = find(setup, assertion)
    if proof is None:
        raise BridgeError("disprove: the assertion is correct, no check of it can be satisfied")
    return proof


def execute(tx: Transaction, spent: Sequence[TxOut]) -> None:
    """Run every input in Bitcoin Core's interpreter. Raises BridgeError where one fails."""
    if (index := verify_inputs(tx, spent)) is not None:
        raise BridgeError(f"disprove: Bitcoin Core's interpreter refuses input {index}; nothing was sent")
