"""Find the first wrong chunk of an assertion and prove it."""

from collections.abc import Sequence
from dataclasses import dataclass

from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.transaction import Transaction, TxOut


@dataclass(frozen=True)
class Proof:
    """Why an assertion is wrong: the chunk, what it claims, what its inputs really give, and the witness items."""

    leaf: str
    claimed: bytes
    computed: bytes
    items: tuple[bytes, ...]


def prove(setup: InstanceSetup, assertion: Assertion) -> Proof:
    """The proof against the first wrong chunk. Raises BridgeError where the assertion is correct."""
    index = setup.program.first_wrong(assertion.values)
    if index is None:
        raise BridgeError("disprove: the assertion is correct, no check of it can be satisfied")
    chunk = setup.program.chunks[index]
    return Proof(
        leaf=chunk.name,
        claimed=assertion.values[index],
        computed=chunk.execute([assertion.values[i] for i in chunk.inputs]),
        items=tuple(setup.checks.witness(index, assertion.values, assertion.signatures)),
    )


def execute(tx: Transaction, spent: Sequence[TxOut]) -> None:
    """Run every input in Bitcoin Core's interpreter. Raises BridgeError where one fails."""
    if (index := verify_inputs(tx, spent)) is not None:
        raise BridgeError(f"disprove: Bitcoin Core's interpreter refuses input {index}; nothing was sent")
