"""The operator: pay a withdrawal, claim it back, answer a challenge, take."""

from dataclasses import replace

from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, SecretKey
from bitvm_bridge.program import ProgramSpec
from bitvm_bridge.protocol import connectors, wallet_script
from bitvm_bridge.roles import presigned
from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.setup import DepositSetup, InstanceSetup, bind, split_bundles
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet
from scripts_tapleaf import winternitz


def one_time_keys(
    deposit: DepositSetup, operator: bytes, spec: ProgramSpec, winternitz_seed: bytes, exit_number: int = 0
) -> tuple[winternitz.PublicKey, ...]:
    """The Winternitz public key of every value that the program commits to."""
    instance = bind(deposit, operator, spec, exit_number)
    return tuple(
        winternitz.public_key(winternitz.derive_secret(winternitz_seed, instance, slot, value.bits))
        for slot, value in enumerate(spec.values)
    )


def claim_funding(
    wallet: Wallet, deposit: DepositSetup, spec: ProgramSpec, winternitz_seed: bytes, exit_number: int = 0
) -> tuple[Prepared, InstanceSetup]:
    """ClaimFunding, and the instance that its output 0 makes possible. Raises BadInput for an unknown exit."""
    operator = wallet.key.xonly
    keys = one_time_keys(deposit, operator, spec, winternitz_seed, exit_number)
    amount = connectors.claim_amount(deposit.request.params, len(split_bundles(keys)))
    funded = wallet.pay([TxOut(amount, wallet_script(operator))])
    setup = InstanceSetup(deposit, operator, funded.tx.outpoint(0), spec, keys, exit_number)
    return Prepared("ClaimFunding", funded), setup


def peg_out(wallet: Wallet, setup: InstanceSetup, withdrawal: Withdrawal) -> Prepared:
    """PegOut: the withdrawer's half first, then the instance id, then the operator's coins and change.

    Raises BadInput where the operator would pay out more than its exit gives back.
    """
    if withdrawal.amount > (most := setup.deposit.request.params.exit_amount):
        raise BadInput("withdrawal amount", withdrawal.amount, f"at most {most:,} sat, the deposit that repays it")
    marker = TxOut(0, connectors.instance_marker(setup.instance))
    partial = Transaction(2, (withdrawal.txin,), (withdrawal.payout, marker))
    return Prepared("PegOut", wallet.sign_coins(wallet.fund(partial, [withdrawal.spent]), 1))


def sign_challenge(setup: InstanceSetup, key: SecretKey) -> bytes:
    """The 64-byte signature by which the operator lets anyone challenge: made and published at set-up."""
    return key.sign(setup.graph["Challenge"].digest("challenge"))


def unsigned_challenge(setup: InstanceSetup) -> Funded:
    """The fixed half of Challenge with room for that signature, for an operator whose key another wallet holds."""
    declared = setup.graph["Challenge"]
    entry = declared.inputs[declared.index("challenge")]
    room = entry.witness([entry.sighash.append_to(SIGNATURE_PLACEHOLDER)])
    return Funded(declared.tx.with_witness(0, room), tuple(declared.spent))


def kick_off(wallet: Wallet, setup: InstanceSetup) -> Prepared:
    """KickOff with the child that pays for it."""
    declared = setup.graph["KickOff"]
    signature = wallet.key.sign_key_path(declared.digest("claim"))
    return wallet.package("KickOff", Funded(declared.tx.with_witness(0, (signature,)), tuple(declared.spent)))


def reveal(wallet: Wallet, setup: InstanceSetup, assertion: Assertion) -> Prepared:
    """Assert: every bundle under its one-time keys, each input signed by the operator, fee from its coins."""
    declared = setup.graph["Assert"]
    items = [asserting.witness_items(setup, assertion, index) for index in range(len(declared.inputs))]
    partial = declared.tx
    for index, entry in enumerate(declared.inputs):
        partial = partial.with_witness(index, entry.witness((SIGNATURE_PLACEHOLDER, *items[index])))
    funded = wallet.fund(partial, declared.spent)
    signed = wallet.sign_coins(funded, len(declared.inputs)).tx
    for index, entry in enumerate(declared.inputs):
        signature = wallet.key.sign(declared.digest(entry.name, funded.tx, funded.spent))
        signed = signed.with_witness(index, entry.witness((signature, *items[index])))
    return Prepared("Assert", replace(funded, tx=signed))


def happy_take(wallet: Wallet, bundle: Bundle) -> Prepared:
    """HappyTake with the child that pays for it."""
    return presigned.take(wallet, bundle, "HappyTake")


def unhappy_take(wallet: Wallet, bundle: Bundle) -> Prepared:
    """UnhappyTake with the child that pays for it."""
    return presigned.take(wallet, bundle, "UnhappyTake")
