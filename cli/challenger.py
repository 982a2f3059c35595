"""`bitvm-bridge challenger`: anyone who watches claims."""

from collections.abc import Callable
from typing import Any

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.keys import Role
from bitvm_bridge.roles import challenger as role
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet
from cli import records
from cli.app import App, emit, read_file, with_app
from cli.keys import add_key_commands, name_option
from cli.sending import finish, open_wallet, sending_options, take_sending


@click.group()
def challenger() -> None:
    """Challenge claims, check assertions, prove false ones wrong.

    \b
    bitvm-bridge challenger keygen
    bitvm-bridge challenger challenge INSTANCE --broadcast
    bitvm-bridge challenger check INSTANCE
    bitvm-bridge challenger disprove INSTANCE --broadcast
    """


add_key_commands(challenger, Role.CHALLENGER)

Make = Callable[[Wallet, Bundle, Node], Prepared]


def _send(app: App, instance: str, name: str, options: dict[str, Any], make: Make) -> None:
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        bundle = records.load_bundle(store, instance)
        wallet = open_wallet(store, node, Role.CHALLENGER, name, sending)
        finish(app, store, node, sending, bundle.setup.id, make(wallet, bundle, node))


@challenger.command()
@click.argument("instance")
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def challenge(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make Challenge, which makes the operator prove its claim.

    It pays the operator of INSTANCE for its trouble. If the claim is false, the reward is worth more.
    """
    _send(app, instance, name, options, lambda wallet, bundle, _: role.challenge(wallet, bundle))


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
    _send(app, instance, name, options, lambda wallet, bundle, _: role.assert_timeout(wallet, bundle, index))


@challenger.command()
@click.argument("instance")
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def forfeit(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make Forfeit, when the claim was abandoned.

    It takes the reward out of the bond of INSTANCE. Valid when all four windows are over.
    """
    _send(app, instance, name, options, lambda wallet, bundle, _: role.forfeit(wallet, bundle))


def assertion_file_option(command: Any) -> Any:
    """--assertion: a raw Assert instead of the chain's."""
    text = "Raw Assert transaction in hex [the confirmed one]."
    return click.option("--assertion", "raw", metavar="FILE", help=text)(command)


@challenger.command()
@click.argument("instance")
@assertion_file_option
@with_app
def check(app: App, instance: str, raw: str | None) -> None:
    """Find the first wrong step of an assertion.

    The assertion of INSTANCE is read off the chain, or from a file.
    """
    with app.store() as store, app.node() as node:
        setup = records.load_instance(store, instance)
        assertion = _read(setup, node, raw)
    correct = setup.program.first_wrong(assertion.values) is None
    document: dict[str, Any] = {"instance": setup.id.hex(), "correct": correct}
    if correct:
        emit(app, document, "the assertion is correct")
        return
    proof = dispute.prove(setup, assertion)
    document |= {"chunk": proof.leaf, "reason": proof.reason}
    if proof.claimed is not None and proof.computed is not None:
        document |= {"claimed": proof.claimed.hex(), "computed": proof.computed.hex()}
    emit(app, document, f"{proof.leaf} is wrong: {proof.reason}")


@challenger.command()
@click.argument("instance")
@assertion_file_option
@name_option(Role.CHALLENGER)
@sending_options
@with_app
def disprove(app: App, /, instance: str, raw: str | None, name: str, **options: Any) -> None:
    """Make Disprove, which proves a step wrong on Bitcoin.

    It takes the reward out of the bond of INSTANCE. Where it is too heavy to relay, write it with --out and hand it
    to a miner.
    """
    _send(
        app,
        instance,
        name,
        options,
        lambda wallet, bundle, node: role.disprove(wallet, bundle, _read(bundle.setup, node, raw)),
    )


def _read(setup: InstanceSetup, node: Node, raw: str | None) -> Assertion:
    """The assertion from a file, or from the confirmed transactions that spend the assert connectors."""
    if raw is not None:
        text = read_file(raw, "--assertion").decode("ascii", "replace")
        return asserting.read(setup, [Transaction.parse_hex(line, "--assertion") for line in text.split()])
    spends = [node.spender(entry.source.outpoint) for entry in setup.graph["Assert"].inputs]
    if None in spends:
        raise BridgeError(f"instance {setup.id.hex()[:12]}: the operator has not asserted everything yet")
    return asserting.read(setup, [found[0] for found in spends if found is not None])
