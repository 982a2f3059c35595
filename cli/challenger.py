"""`bitvm-bridge challenger`: anyone who watches claims."""

from collections.abc import Callable
from string import hexdigits
from typing import Any, Final

import click

from bitvm_bridge import keyring
from bitvm_bridge.actions import read_assertion
from bitvm_bridge.chain.node import FALLBACK_FEE_RATE
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.fees import check_fee_rate
from bitvm_bridge.keys import Role
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles import challenger as role
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet
from cli.app import STDOUT, App, emit, read_file, say, with_app, write_file
from cli.disputed import load_bundle, load_instance
from cli.keys import add_key_commands, name_option
from cli.sending import finish, open_wallet, sending_options, take_sending

MIN_TX_HEX: Final = 120
"""hex digits of the shortest transaction: what is shorter, or has another character, names a file."""


@click.group()
def challenger() -> None:
    """Challenge claims, check assertions, prove false ones wrong.

    \b
    bitvm-bridge challenger keygen
    bitvm-bridge challenger challenge INSTANCE --broadcast
    bitvm-bridge challenger check INSTANCE --build --output disprove.hex
    bitvm-bridge challenger disprove INSTANCE --broadcast
    """


add_key_commands(challenger, Role.CHALLENGER)

Make = Callable[[Wallet, Bundle], Prepared]


def _send(app: App, what: str, instance: str, name: str, options: dict[str, Any], make: Make) -> None:
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        bundle = load_bundle(store, instance)
        wallet = open_wallet(app, store, node, Role.CHALLENGER, name, sending, bundle.setup.id, what)
        finish(app, store, node, sending, bundle.setup.id, make(wallet, bundle))


@challenger.command()
@click.argument("instance")
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def challenge(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make Challenge, which makes the operator prove its claim.

    It pays the operator of INSTANCE for its trouble. If the claim is false, the reward is worth more.
    """
    _send(app, "Challenge", instance, name, options, lambda wallet, bundle: role.challenge(wallet, bundle))


@challenger.command("assert-timeout")
@click.argument("instance")
@click.option("--index", type=int, default=0, show_default=True, help="Which assert connector was kept back.")
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def assert_timeout(app: App, /, instance: str, index: int, name: str, **options: Any) -> None:
    """Make AssertTimeout, when no answer came in time.

    It takes the reward out of the bond of INSTANCE. Valid when the assert window is over.
    """
    what = f"AssertTimeout_{index}"
    _send(app, what, instance, name, options, lambda wallet, bundle: role.assert_timeout(wallet, bundle, index))


@challenger.command()
@click.argument("instance")
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def forfeit(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make Forfeit, when the claim was abandoned.

    It takes the reward out of the bond of INSTANCE. Valid when all four windows are over.
    """
    _send(app, "Forfeit", instance, name, options, lambda wallet, bundle: role.forfeit(wallet, bundle))


def tx_option(command: Any) -> Any:
    """--tx: a raw Assert instead of the chain's."""
    text = "Raw Assert transaction, in hex or in a file [the confirmed one]."
    return click.option("--tx", "raw", metavar="HEX|FILE", help=text)(command)


@challenger.command()
@click.argument("instance")
@tx_option
@click.option("--build", is_flag=True, help="Where it is wrong, write the Disprove; nothing is sent.")
@click.option("--output", "--out", metavar="FILE", help="With --build: where to write it in hex [-].")
@click.option("--fee-rate", type=float, metavar="SAT/VB", help="With --build: fee rate [the node's, 1 with --tx].")
@name_option(Role.CHALLENGER)
@with_app
def check(
    app: App, instance: str, raw: str | None, build: bool, output: str | None, fee_rate: float | None, name: str
) -> None:
    """Find the first wrong step of an assertion.

    The assertion of INSTANCE is read off the chain; with --tx it is read from a transaction, and no node is asked. A
    Disprove that --build makes has been run by Bitcoin Core's interpreter, and pays its reward to your key.

    \b
    bitvm-bridge challenger check INSTANCE --tx assert.hex --build --output disprove.hex
    """
    for option, value in (("--output", output), ("--fee-rate", fee_rate)):
        if value is not None and not build:
            raise BadInput(option, value, "used without --build")
    if fee_rate is not None:
        check_fee_rate(fee_rate, app.fees.maximum)
    with app.store() as store:
        setup = load_instance(store, instance)
        bundle = load_bundle(store, instance) if build else None
        reward = wallet_script(keyring.wallet_key(store, Role.CHALLENGER, name).xonly) if build else b""
    assertion, rate = _read_offline(setup, raw) if raw is not None else _read_chain(app, setup)
    proof = dispute.find(setup, assertion)
    document, text = _judgement(setup, proof)
    if bundle is None:
        emit(app, document, text)
        return
    if proof is None:
        raise BridgeError("disprove: the assertion is correct, no check of it can be satisfied")
    prepared = role.disprove_offline(reward, fee_rate or rate, bundle, proof)
    _write_built(app, prepared, output or STDOUT, document, text)


def _judgement(setup: InstanceSetup, proof: dispute.Proof | None) -> tuple[dict[str, Any], str]:
    """What `check` says, as a document and in words."""
    document: dict[str, Any] = {"instance": setup.id.hex(), "correct": proof is None}
    if proof is None:
        return document, "the assertion is correct"
    document |= {"chunk": proof.leaf, "reason": proof.reason}
    if proof.claimed is not None and proof.computed is not None:
        document |= {"claimed": proof.claimed.hex(), "computed": proof.computed.hex()}
    return document, f"{proof.leaf} is wrong: {proof.reason}"


def _write_built(app: App, prepared: Prepared, output: str, document: dict[str, Any], text: str) -> None:
    """A Disprove in hex to a file or stdout, and what it proves."""
    tx, raw = prepared.tx, prepared.tx.serialize().hex()
    document |= {"txid": tx.txid_hex, "vsize": tx.vsize, "weight": tx.weight, "fee": prepared.fee}
    route = "any node relays it" if prepared.relayable else "above the relay limit: hand it to a miner"
    built = f"Disprove {tx.txid_hex}: {tx.vsize:,} vB, {tx.weight:,} WU, fee {prepared.fee:,} sat; {route}"
    if output == STDOUT:
        say(f"{text}\n{built}")
        emit(app, document | {"raw": raw}, raw)
        return
    write_file(output, f"{raw}\n".encode())
    emit(app, document | {"file": output}, f"{text}\n{built}\nwrote {output}")


@challenger.command()
@click.argument("instance")
@tx_option
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def disprove(app: App, /, instance: str, raw: str | None, name: str, **options: Any) -> None:
    """Make Disprove, which proves a step wrong on Bitcoin.

    It takes the reward out of the bond of INSTANCE. Where it is too heavy to relay, regtest mines it directly;
    elsewhere, write it with --out and hand it to a miner.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        bundle = load_bundle(store, instance)
        setup = bundle.setup
        assertion = read_assertion(setup, node) if raw is None else _read_offline(setup, raw)[0]
        proof = dispute.prove(setup, assertion)
        wallet = open_wallet(app, store, node, Role.CHALLENGER, name, sending, setup.id, "Disprove")
        prepared = role.disprove(wallet, bundle, proof)
        finish(app, store, node, sending, setup.id, prepared, chunk=proof.leaf, reason=proof.reason)


def _read_offline(setup: InstanceSetup, raw: str) -> tuple[Assertion, float]:
    """The assertion of transactions in hex, or of a file with them, and a fee rate that needs no node."""
    is_hex = len(raw) >= MIN_TX_HEX and all(digit in hexdigits for digit in raw)
    text = raw if is_hex else read_file(raw, "--tx").decode("ascii", "replace")
    found = asserting.read(setup, [Transaction.parse_hex(line, "--tx") for line in text.split()])
    return found, FALLBACK_FEE_RATE


def _read_chain(app: App, setup: InstanceSetup) -> tuple[Assertion, float]:
    """The confirmed assertion and the fee rate to pay."""
    with app.node() as node:
        return read_assertion(setup, node), app.fees.policy(node).rate()
