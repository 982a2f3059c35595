"""The depositor: pay into the deposit, take it back, or have it confirmed."""

from dataclasses import replace

from bitvm_bridge import secp
from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, WalletKey
from bitvm_bridge.protocol import Request, connectors
from bitvm_bridge.protocol.instance import Deposit
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet


def deposit(wallet: Wallet, request: Request, committee: Committee) -> tuple[Prepared, DepositSetup]:
    """PegInDeposit, and the deposit it makes: output 0."""
    connector = connectors.deposit(Deposit(request, committee.key))
    funded = wallet.pay([TxOut(connector.amount, connector.script_pubkey)])
    return Prepared("PegInDeposit", funded, makes=(connector,)), DepositSetup(request, committee, funded.tx.outpoint(0))


def refund(wallet: Wallet, setup: DepositSetup, key: WalletKey) -> Prepared:
    """PegInRefund: valid `refund_delay` blocks after the deposit confirmed, while PegIn has not."""
    declared = setup.graph["PegInRefund"]
    (entry,) = declared.inputs
    partial = declared.tx.with_witness(0, entry.witness([SIGNATURE_PLACEHOLDER]))
    funded = wallet.fund(partial, declared.spent)
    signature = key.sign(declared.digest(entry.name, funded.tx, funded.spent))
    signed = wallet.sign_coins(funded, 1)
    return Prepared("PegInRefund", replace(signed, tx=signed.tx.with_witness(0, entry.witness([signature]))))


def peg_in(wallet: Wallet, setup: DepositSetup, signature: bytes) -> Prepared:
    """PegIn with the committee's signature, and the child that pays for it."""
    declared = setup.graph["PegIn"]
    (entry,) = declared.inputs
    if not secp.verify(setup.deposit.committee, declared.digest(entry.name), signature):
        raise VerificationFailed("PegIn.deposit: the committee's signature does not verify")
    tx = declared.tx.with_witness(0, entry.witness([entry.sighash.append_to(signature)]))
    return wallet.package("PegIn", Funded(tx, tuple(declared.spent)))
