"""The committee: sign an instance's graph, and PegIn last of all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.graph import GraphTx
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER
from bitvm_bridge.protocol import Party, check_exit
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle, verify
from bitvm_bridge.taproot import tagged_hash
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet

PEG_IN = "PegIn.deposit"


def bundle_digests(setup: InstanceSetup) -> dict[str, bytes]:
    """Label (`HappyTake.vault`) → digest of every signature the committee owes for an instance."""
    return {f"{tx}.{name}": digest for (tx, name), digest in setup.graph.owed(Party.COMMITTEE).items()}


def assemble(setup: InstanceSetup, signatures: Mapping[str, bytes], challenge: bytes) -> Bundle:
    """The bundle from aggregate signatures by label and the operator's signature for Challenge; verified."""
    by_input = {}
    for label, signature in signatures.items():
        tx, _, name = label.partition(".")
        by_input[tx, name] = signature
    bundle = Bundle(setup, by_input | {("Challenge", "challenge"): challenge})
    verify(bundle)
    return bundle


@dataclass(frozen=True)
class Payout:
    """CooperativePayout of one exit to a script: the committee agrees to it when it is asked for."""

    setup: DepositSetup
    script_pubkey: bytes
    exit: int = 0

    def __post_init__(self) -> None:
        check_exit(self.setup.request.params, self.exit)

    @property
    def id(self) -> bytes:
        """32 bytes by which members speak of it: what is paid out, and to whom."""
        number = self.exit.to_bytes(4, "big")
        return tagged_hash("BitVMBridge/payout", self.setup.request.id, number, self.script_pubkey)

    @property
    def amount(self) -> int:
        """sat: all that the exit holds; whoever sends it pays the fee."""
        return self.setup.request.params.exit_amount

    @property
    def declared(self) -> GraphTx:
        """As the deposit's graph has it: one for each exit."""
        number = f"_{self.exit}" if self.setup.request.params.exits > 1 else ""
        return self.setup.graph[f"CooperativePayout{number}"]

    @property
    def tx(self) -> Transaction:
        """Unsigned; all that the exit holds."""
        return self.declared.completed(outputs=[TxOut(self.amount, self.script_pubkey)])

    @property
    def label(self) -> str:
        """Of the one signature that it needs."""
        return f"{self.declared.name}.{self.declared.inputs[0].name}"

    @property
    def digests(self) -> dict[str, bytes]:
        """Label and digest of that signature."""
        return {self.label: self.declared.digest(self.declared.inputs[0].name, self.tx)}

    def finish(self, wallet: Wallet, signature: bytes) -> Prepared:
        """With the committee's signature, and the child that pays for it. Raises VerificationFailed."""
        if not secp.verify(self.setup.deposit.committee, self.digests[self.label], signature):
            raise VerificationFailed(f"{self.label}: the committee's signature does not verify")
        return self._prepare(wallet, signature)

    def rehearse(self, wallet: Wallet) -> Prepared:
        """The same in its final size, with a placeholder where the committee's signature goes."""
        return self._prepare(wallet, SIGNATURE_PLACEHOLDER)

    def _prepare(self, wallet: Wallet, signature: bytes) -> Prepared:
        (entry,) = self.declared.inputs
        signed = self.tx.with_witness(0, entry.witness([entry.sighash.append_to(signature)]))
        return wallet.package(self.declared.name, Funded(signed, tuple(self.declared.spent)))


def peg_in_digest(setup: DepositSetup, bundles: Sequence[Bundle]) -> dict[str, bytes]:
    """Label and digest of PegIn's signature, given out only when every exit has a bundle and every one verifies.

    Raises VerificationFailed naming the first difference, or BadInput where a bundle is of another deposit.
    """
    if not bundles:
        raise VerificationFailed(
            "PegIn: no instance of this deposit is signed yet, so nobody could reimburse a peg-out"
        )
    for bundle in bundles:
        if bundle.setup.deposit != setup:
            raise BadInput("bundle", bundle.setup.id, f"an instance of the deposit {setup.outpoint}")
        verify(bundle)
    missing = sorted({*range(setup.request.params.exits)} - {bundle.setup.exit for bundle in bundles})
    if missing:
        raise VerificationFailed(f"PegIn: no instance of exit {missing[0]} is signed yet")
    return {PEG_IN: setup.graph["PegIn"].digest("deposit")}
