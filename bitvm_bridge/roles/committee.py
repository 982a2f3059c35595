"""The committee: sign an instance's graph, and PegIn last of all."""

from collections.abc import Mapping, Sequence

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.protocol import Party
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle, verify
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import SIGNATURE_PLACEHOLDER, Funded, Prepared, Wallet

PEG_IN = "PegIn.deposit"
COOPERATIVE = "CooperativePayout.vault"


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


def cooperative_payout(setup: DepositSetup, script_pubkey: bytes) -> tuple[Transaction, dict[str, bytes]]:
    """CooperativePayout of the whole vault to a script, unsigned, with label and digest of the signature it needs."""
    declared = setup.graph["CooperativePayout"]
    tx = declared.completed(outputs=[TxOut(setup.request.params.peg_in, script_pubkey)])
    return tx, {COOPERATIVE: declared.digest("vault", tx)}


def finish_cooperative_payout(wallet: Wallet, setup: DepositSetup, tx: Transaction, signature: bytes) -> Prepared:
    """The payout with the committee's signature, and the child that pays for it."""
    if not secp.verify(setup.deposit.committee, setup.graph["CooperativePayout"].digest("vault", tx), signature):
        raise VerificationFailed(f"{COOPERATIVE}: the committee's signature does not verify")
    return _pay_cooperatively(wallet, setup, tx, signature)


def rehearse_cooperative_payout(wallet: Wallet, setup: DepositSetup, tx: Transaction) -> Prepared:
    """The same in its final size, with a placeholder where the committee's signature goes."""
    return _pay_cooperatively(wallet, setup, tx, SIGNATURE_PLACEHOLDER)


def _pay_cooperatively(wallet: Wallet, setup: DepositSetup, tx: Transaction, signature: bytes) -> Prepared:
    declared = setup.graph["CooperativePayout"]
    (entry,) = declared.inputs
    signed = tx.with_witness(0, entry.witness([entry.sighash.append_to(signature)]))
    return wallet.package("CooperativePayout", Funded(signed, tuple(declared.spent)))


def peg_in_digest(setup: DepositSetup, bundles: Sequence[Bundle]) -> dict[str, bytes]:
    """Label and digest of PegIn's signature, given out only when there is a bundle and every one verifies.

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
    return {PEG_IN: setup.graph["PegIn"].digest("deposit")}
