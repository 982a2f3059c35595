"""What every command that makes a transaction shares: its options, its report, and how it sends."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

from bitvm_bridge.chain.node import Node, Verdict
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.keys import Role
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared, Wallet
from cli.app import App, emit, say, write_file

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Sending:
    """What the caller wants done with the transaction."""

    broadcast: bool
    dry_run: bool
    out: str | None
    fee_rate: float | None

    def __post_init__(self) -> None:
        if self.broadcast and self.dry_run:
            raise click.UsageError("--broadcast and --dry-run exclude each other")


def sending_options(command: F) -> F:
    """--broadcast, --dry-run, --out and --fee-rate."""
    for option in (
        click.option("--fee-rate", type=float, metavar="SAT/VB", help="Fee rate [the node's estimate]."),
        click.option(
            "--out", metavar="FILE", help="Write the raw transaction in hex; a package child on a second line."
        ),
        click.option("--dry-run", is_flag=True, help="Only report: keep nothing, send nothing."),
        click.option("--broadcast", is_flag=True, help="Send it to the node."),
    ):
        command = option(command)
    return command


def take_sending(options: dict[str, Any]) -> Sending:
    """The sending options out of a command's options."""
    return Sending(*(options.pop(name) for name in ("broadcast", "dry_run", "out", "fee_rate")))


def open_wallet(store: Store, node: Node, role: Role, name: str, sending: Sending) -> Wallet:
    """The wallet of a named key; coins that the store has set aside are left alone."""
    rate = node.fee_rate() if sending.fee_rate is None else sending.fee_rate
    return Wallet(store.seed(role, name).wallet_key(), node, rate, frozenset(store.reserved_coins()))


def finish(
    app: App,
    store: Store,
    node: Node,
    sending: Sending,
    owner: bytes,
    prepared: Prepared,
    keep: Callable[[], None] | None = None,
    **more: str,
) -> None:
    """Report a transaction and do with it what was asked; `keep` stores what must be known before it is sent.

    Raises NodeRejected where the node would not take it and it was to be sent.
    """
    verdict = prepared.test(node) if prepared.relayable else Verdict(False, "too heavy to relay: hand it to a miner")
    document = describe(prepared, verdict) | more
    if sending.out is not None:
        write_file(sending.out, "\n".join(tx.serialize().hex() for tx in prepared.transactions).encode() + b"\n")
    if not sending.dry_run:
        if keep is not None:
            keep()
        if sending.broadcast:
            if prepared.relayable and not verdict.allowed:
                raise NodeRejected(f"{prepared.name}: {verdict.reason}")
            prepared.send(node)
        store.record_transaction(owner, prepared.name, prepared.tx)
    document["broadcast"] = sending.broadcast
    emit(app, document, "\n".join(f"{name:<12} {value}" for name, value in document.items()))
    if not sending.broadcast:
        say("not sent" + (" and nothing kept (--dry-run)" if sending.dry_run else "; --broadcast sends it"))


def describe(prepared: Prepared, verdict: Verdict) -> dict[str, Any]:
    """Name, txid, sizes, fee and policy verdict; a package has its child's txid too."""
    document: dict[str, Any] = {
        "name": prepared.name,
        "txid": prepared.tx.txid_hex,
        "vsize": prepared.tx.vsize,
        "weight": prepared.tx.weight,
        "fee": prepared.fee,
        "policy": "accepted" if verdict.allowed else verdict.reason,
    }
    if prepared.child is not None:
        document |= {"child": prepared.child.tx.txid_hex, "child_vsize": prepared.child.tx.vsize}
    return document
