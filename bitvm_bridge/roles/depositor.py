"""The depositor: pay into the deposit, take it back, or have it confirmed."""

from dataclasses import replace
from typing import Final

from bitvm_bridge import secp, taproot
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, WalletKey
from bitvm_bridge.protocol import Request, connectors
from bitvm_bridge.protocol.instance import Deposit
from bitvm_bridge.recovery import Refundable
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet

FOUND: Final = "RecoveredRefund"
"""PegInRefund of a deposit whose graph is lost."""


def deposit(wallet: Wallet, request: Request, committee: Committee) -> tuple[Prepared, DepositSetup]:
    """PegInDeposit, and the deposit it makes: output 0."""
    of = Deposit(request, committee.key)
    connector = connectors.deposit(of)
    funded = wallet.pay([TxOut(connector.amount, connector.script_pubkey), TxOut(0, connectors.refund_note(of))])
    return Prepared("PegInDeposit", funded, makes=(connector,)), DepositSetup(request, committee, funded.tx.outpoint(0))


def refund(wallet: Wallet, setup: DepositSetup, key: WalletKey) -> Prepared:
    """PegInRefund: valid `refund_delay` blocks after the deposit confirmed, while PegIn has not."""
    declared = setup.graph["PegInRefund"]
    (entry,) = declared.inputs
    partial = declared.tx.with_witness(0, entry.witness([SIGNATURE_PLACEHOLDER]))
    return Prepared("PegInRefund", _refund(wallet, Funded(partial, tuple(declared.spent)), key))


def refund_found(wallet: Wallet, found: Refundable) -> Prepared:
    """The same for a deposit that was found with nothing but the key. Raises BadInput for the wallet of another key."""
    if wallet.key.xonly != found.depositor:
        raise BadInput("depositor key", wallet.key.xonly, f"the one that made {found.outpoint}")
    txin = TxIn(found.outpoint, found.delay, witness=(SIGNATURE_PLACEHOLDER, *found.leaf))
    return Prepared(FOUND, _refund(wallet, Funded(Transaction(2, (txin,), ()), (found.output,)), wallet.key))


def _refund(wallet: Wallet, partial: Funded, key: WalletKey) -> Funded:
    """Input 0 signed by its leaf, the coins behind it by the wallet."""
    funded = wallet.fund(partial.tx, partial.spent)
    signed = wallet.sign_coins(funded, 1)
    _, *leaf = funded.tx.inputs[0].witness
    signature = key.sign(taproot.sighash(funded.tx, 0, funded.spent, leaf=taproot.leaf_hash(leaf[0])))
    return replace(signed, tx=signed.tx.with_witness(0, (signature, *leaf)))


def peg_in(wallet: Wallet, setup: DepositSetup, signature: bytes) -> Prepared:
    """PegIn with the committee's signature, and the child that pays for it."""
    declared = setup.graph["PegIn"]
    (entry,) = declared.inputs
    if not secp.verify(setup.deposit.committee, declared.digest(entry.name), signature):
        raise VerificationFailed("PegIn.deposit: the committee's signature does not verify")
    tx = declared.tx.with_witness(0, entry.witness([entry.sighash.append_to(signature)]))
    return wallet.package("PegIn", Funded(tx, tuple(declared.spent)))
