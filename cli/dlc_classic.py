"""`bitvm-bridge dlc classic`: contracts as the public dlcspecs have them, in messages that travel as files."""

import math
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc import oracle_documents
from bitvm_bridge.dlc.classic import book
from bitvm_bridge.dlc.classic.book import Held
from bitvm_bridge.dlc.classic.checks import TIMESTAMPS_FROM
from bitvm_bridge.dlc.classic.description import CONTRACT, read_description
from bitvm_bridge.dlc.classic.desk import Desk, Standing
from bitvm_bridge.dlc.classic.messages import ACCEPT, OFFER, SIGN, Accept, ContractEvent, MessageType, Offer, Sign
from bitvm_bridge.dlc.oracle import EnumEvent
from bitvm_bridge.dlc.payouts import EnumeratedPayouts
from bitvm_bridge.keys import Role, parse_address
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared
from cli import sending as commands
from cli.app import STDOUT, App, emit, read_file, say, staged_file, with_app
from cli.keys import name_option
from cli.sending import Sending, finish
from cli.table import Table, emit_rows, working

F = TypeVar("F", bound=Callable[..., Any])
JSON: Final = "json"
BINARY: Final = "binary"
SPECIFICATION: Final = "specification"
RUST_DLC: Final = "rust-dlc"
MAX_SHOWN: Final = 64


@click.group()
def classic() -> None:
    """Contracts of the classic form, as dlcspecs have it.

    Offer, accept and sign messages travel between the parties as files. A party needs `dlc party keygen` and coins.

    \b
    bitvm-bridge dlc classic offer contract.json --out offer.json       the offerer
    bitvm-bridge dlc classic accept offer.json --out accept.json        the accepter
    bitvm-bridge dlc classic sign accept.json --out sign.json           the offerer
    bitvm-bridge dlc classic complete sign.json --broadcast             the accepter
    bitvm-bridge dlc classic settle CONTRACT attestation.json --broadcast
    bitvm-bridge dlc classic refund CONTRACT --broadcast
    """


def message_options(command: F) -> F:
    """--out and --format: where a message goes, and how it looks there."""
    for option in (
        click.option(
            "--format",
            "form",
            type=click.Choice([JSON, BINARY]),
            default=JSON,
            show_default=True,
            help="How the message is written; both are read.",
        ),
        click.option("--out", metavar="FILE", help="Where to write the message [-]."),
    ):
        command = option(command)
    return command


def closing_options(command: F) -> F:
    """--broadcast, --dry-run, --out and --fee-rate: for transactions that both parties have fixed."""
    for option in (
        click.option(
            "--fee-rate", type=float, metavar="SAT/VB", help="Pay so much, by a child of your own output [as agreed]."
        ),
        click.option(
            "--out",
            metavar="FILE",
            help="Write the raw transaction in hex, `-` for stdout; a package child on a second line.",
        ),
        click.option("--dry-run", is_flag=True, help="Only report: keep nothing here, send nothing."),
        click.option("--broadcast", is_flag=True, help="Send it to the node."),
    ):
        command = option(command)
    return command


due_option = click.option(
    "--even-if-due", is_flag=True, help="Agree though an event may be attested already: the other party may know how."
)
payout_option = click.option("--payout-address", metavar="ADDRESS", help="Where you are paid [your own key's].")


@classic.command()
@click.argument("contract")
@name_option(Role.PARTY)
@payout_option
@due_option
@click.option("--fee-rate", type=float, metavar="SAT/VB", help="Of every transaction [that of --fee-source].")
@message_options
@with_app
def offer(
    app: App, /, contract: str, name: str, payout_address: str | None, fee_rate: float | None, **options: Any
) -> None:
    """Offer a contract.

    CONTRACT is a file that you write: collaterals, payouts, oracles, and when the money goes back (docs/dlc.md). Your
    coins are set aside for it; nothing is signed yet.

    \b
    bitvm-bridge dlc classic offer contract.json --fee-rate 2 --out offer.json
    """
    folder = Path() if contract == STDOUT else Path(contract).parent
    raw = read_file(contract, CONTRACT)
    with app.store() as store, app.node() as node:
        description = read_description(raw, lambda path: read_file(str(folder / path), "announcement"), node.height())
        rate = math.ceil(commands.fee_rate(app, node, fee_rate))
        script = _payout_script(app, payout_address)
        desk = _desk(app, store, node, name, even_if_due=options["even_if_due"])
        held = desk.offer(description, rate, script)
        _write(app, desk, held, OFFER, held.offer, options)
    say(f"offered {_words(held.offer)}; `dlc classic cancel` takes it back")


@classic.command()
@click.argument("message", metavar="OFFER")
@name_option(Role.PARTY)
@payout_option
@due_option
@click.option(
    "--reading",
    type=click.Choice([SPECIFICATION, RUST_DLC]),
    default=SPECIFICATION,
    show_default=True,
    help="How to read what the two read differently: oracles that may differ, and unions (docs/dlc.md).",
)
@message_options
@with_app
def accept(app: App, /, message: str, name: str, payout_address: str | None, reading: str, **options: Any) -> None:
    """Accept an offer.

    OFFER is the offerer's message; `dlc classic show` shows what it says. Your coins are set aside, and every
    settlement and the refund are signed, which binds nobody before the funding is signed.
    """
    offered = OFFER.parse(read_file(message, "offer"))
    script = _payout_script(app, payout_address)
    with app.store() as store, app.node() as node:
        desk = _desk(app, store, node, name, even_if_due=options["even_if_due"])
        with working("checking and signing"):
            held = desk.accept(offered, script, as_rust_dlc=reading == RUST_DLC)
        _write(app, desk, held, ACCEPT, held.accepted, options)
    say(f"accepted {_words(held.offer)}")


@classic.command()
@click.argument("message", metavar="ACCEPT")
@name_option(Role.PARTY)
@due_option
@message_options
@with_app
def sign(app: App, /, message: str, name: str, **options: Any) -> None:
    """Answer an accept message.

    Every signature in it is verified first. From then on the other party can fund the contract.
    """
    said = ACCEPT.parse(read_file(message, "accept message"))
    with app.store() as store, app.node() as node:
        desk = _desk(app, store, node, name, even_if_due=options["even_if_due"])
        with working("checking and signing"):
            held = desk.sign(said)
        if held.sign is None:
            raise RuntimeError("sign: signed nothing")
        _write(app, desk, held, SIGN, held.sign, options)
    say(f"signed contract {held.contract.id.hex()}; the other party funds it with {_funding(held)}")


@classic.command()
@click.argument("message", metavar="SIGN")
@name_option(Role.PARTY)
@closing_options
@with_app
def complete(app: App, /, message: str, name: str, **options: Any) -> None:
    """Make DlcFunding, which begins the contract.

    SIGN is the offerer's last message; every signature in it is verified, then your coins are signed.
    """
    sending = _sending(options)
    said = SIGN.parse(read_file(message, "sign message"))
    with app.store() as store, app.node() as node:
        desk = _desk(app, store, node, name)
        with working("checking signatures"):
            held, prepared = desk.complete(said)
        _finish(app, desk, sending, held, prepared, keep=lambda: desk.keep(held))


@classic.command()
@click.argument("contract")
@click.argument("attestations", metavar="ATTESTATION...", nargs=-1, required=True)
@name_option(Role.PARTY)
@closing_options
@with_app
def settle(app: App, /, contract: str, attestations: tuple[str, ...], name: str, **options: Any) -> None:
    """Make DlcSettlement of CONTRACT, as oracles attested.

    Each ATTESTATION is a file; as many as the contract needs. Either party can do it.
    """
    sending = _sending(options)
    read = [oracle_documents.read_attestation(read_file(path, "attestation")) for path in attestations]
    with app.store() as store, app.node() as node:
        held = book.find(store, contract, name)
        desk = _desk(app, store, node, name)
        with working("looking for the outcome"):
            prepared = desk.settle(held, read)
        _finish(app, desk, sending, held, prepared)


@classic.command()
@click.argument("contract")
@name_option(Role.PARTY)
@closing_options
@with_app
def refund(app: App, /, contract: str, name: str, **options: Any) -> None:
    """Make DlcRefund of CONTRACT: to each its collateral.

    Nodes take it from the refund's lock time on. Either party can do it.
    """
    sending = _sending(options)
    with app.store() as store, app.node() as node:
        held = book.find(store, contract, name)
        desk = _desk(app, store, node, name)
        _finish(app, desk, sending, held, desk.refund(held))


@classic.command()
@click.argument("contract")
@name_option(Role.PARTY)
@with_app
def cancel(app: App, contract: str, name: str) -> None:
    """Forget CONTRACT before its funding is signed.

    Your coins are free again. An offerer can cancel until it signs, an accepter until it completes.
    """
    with app.store() as store, app.node() as node:
        held = book.find(store, contract, name)
        _desk(app, store, node, name).cancel(held)
    emit(app, {"contract": held.temporary_id.hex(), "cancelled": True}, held.temporary_id.hex())
    say("cancelled")


@classic.command()
@click.argument("contract")
@name_option(Role.PARTY)
@click.option("--fee-rate", type=float, metavar="SAT/VB", help="Fee rate [that of --fee-source].")
@click.option("--out", metavar="FILE", help="Write the raw transaction in hex, `-` for stdout.")
@click.option("--dry-run", is_flag=True, help="Only report: keep nothing here, send nothing.")
@click.option("--broadcast", is_flag=True, help="Send it to the node.")
@with_app
def reclaim(app: App, /, contract: str, name: str, **options: Any) -> None:
    """Make DlcReclaim: your coins of CONTRACT come back.

    For a contract whose funding you have signed and the other party does not send: once your coins are spent in a
    block, nobody can fund it any more.
    """
    sending = Sending(options["broadcast"], options["dry_run"], options["out"], None)
    with app.store() as store, app.node() as node:
        held = book.find(store, contract, name)
        desk = _desk(app, store, node, name)
        rate = commands.fee_rate(app, node, options["fee_rate"])
        _finish(app, desk, sending, held, desk.reclaim(held, rate))


@classic.command()
@click.argument("contract")
@name_option(Role.PARTY)
@with_app
def show(app: App, contract: str, name: str) -> None:
    """Show a contract, or an offer before you accept it.

    CONTRACT is the first digits of an id, or the file of an offer.
    """
    if Path(contract).is_file() or contract == STDOUT:
        said = OFFER.parse(read_file(contract, "offer"))
        document = {"contract": said.temporary_id.hex()} | _terms(said)
    else:
        with app.store() as store, app.node() as node:
            held = book.find(store, contract, name)
            document = _standing(held, _desk(app, store, node, name).standing(held)) | _terms(held.offer)
    emit(app, document, "\n".join(_lines(document)))


@classic.command("list")
@with_app
def list_(app: App) -> None:
    """List the contracts of every party of this data directory."""
    with app.store() as store:
        entries = book.entries(store)
    rows = [
        {"contract": entry.ids[0].hex(), "name": entry.name, "side": str(entry.side), "stage": entry.stage}
        for entry in entries
    ]
    table = Table("Contracts", ("contract", "name", "side", "stage"), [tuple(row.values()) for row in rows])
    emit_rows(app, {"contracts": rows}, table, "\n".join("  ".join(row.values()) for row in rows))
    if not rows:
        say("no contract yet: `dlc classic offer` makes one")


def _desk(app: App, store: Store, node: Node, name: str, *, even_if_due: bool = False) -> Desk:
    return Desk(store, node, name, app.fees.maximum, even_if_due)


def _payout_script(app: App, text: str | None) -> bytes | None:
    return None if text is None else parse_address(text, app.network, "--payout-address")


def _sending(options: dict[str, Any]) -> Sending:
    return Sending(*(options[name] for name in ("broadcast", "dry_run", "out", "fee_rate")))


def _finish(
    app: App,
    desk: Desk,
    sending: Sending,
    held: Held,
    prepared: Prepared,
    keep: Callable[[], None] | None = None,
) -> None:
    if sending.fee_rate is not None:
        prepared = desk.hurry(prepared, commands.fee_rate(app, desk.node, sending.fee_rate))
    owner = held.temporary_id
    finish(app, desk.store, desk.node, sending, owner, prepared, keep=keep, contract=owner.hex())


def _write(
    app: App,
    desk: Desk,
    held: Held,
    kind: MessageType[Offer] | MessageType[Accept] | MessageType[Sign],
    message: Any,
    options: dict[str, Any],
) -> None:
    """Keep the contract, then write the message: to a file, with the contract's id on stdout, or to stdout."""
    form, out = options["form"], options["out"]
    to_stdout = out in (None, STDOUT)
    raw = kind.to_json(message) if form == JSON or (app.json and to_stdout) else kind.encode(message)
    if to_stdout:
        desk.keep(held)
        click.echo(raw, nl=False)
        return
    with staged_file(str(out), raw):
        desk.keep(held)
    emit(app, {"contract": held.temporary_id.hex(), "file": out}, held.temporary_id.hex())


def _words(offer: Offer) -> str:
    total = offer.contract.total_collateral
    own = offer.party.collateral
    return f"{total:,} sat: {own:,} of the offerer, {total - own:,} of the accepter"


def _funding(held: Held) -> str:
    return held.contract.terms.funding.txid_hex


def _standing(held: Held, standing: Standing) -> dict[str, Any]:
    document: dict[str, Any] = {
        "contract": held.temporary_id.hex(),
        "name": held.name,
        "side": str(held.side),
        "state": standing.state,
    }
    if held.accept is not None:
        document |= {"id": held.contract.id.hex(), "funding": _funding(held)}
    if standing.height is not None:
        document["height"] = standing.height
    if standing.closing is not None:
        document["closing"] = standing.closing.txid_hex
    if standing.payout is not None:
        total = held.offer.contract.total_collateral
        document["paid"] = {"offerer": standing.payout, "accepter": total - standing.payout}
    return document


def _terms(offer: Offer) -> dict[str, Any]:
    total, own = offer.contract.total_collateral, offer.party.collateral
    return {
        "collateral": {"offerer": own, "accepter": total - own},
        "fee_rate": offer.fee_rate,
        "settle_from": _lock_time(offer.cet_lock_time),
        "refund_from": _lock_time(offer.refund_lock_time),
        "events": [_event(event, total) for event in offer.contract.events],
    }


def _event(event: ContractEvent, total: int) -> dict[str, Any]:
    oracles = [
        {
            "oracle": each.key.hex(),
            "event": each.event_id,
            "maturity": _date(each.maturity),
            "kind": "outcomes" if isinstance(each.descriptor, EnumEvent) else f"{each.descriptor.digits} digits",
        }
        for each in event.oracles.announcements
    ]
    document: dict[str, Any] = {"oracles": oracles, "threshold": event.oracles.threshold}
    payouts = event.payouts
    if isinstance(payouts, EnumeratedPayouts):
        shares = {outcome: {"offerer": paid, "accepter": total - paid} for outcome, paid in payouts.payouts}
        return document | {"payouts": shares}
    ends = [(piece.left.outcome, piece.left.payout) for piece in payouts.function.pieces]
    last = payouts.function.pieces[-1].right
    return document | {"curve": [*ends, (last.outcome, last.payout)], "rounding": list(payouts.rounding.intervals)}


def _lines(document: dict[str, Any]) -> list[str]:
    lines = [
        f"{name:<12} {_shares(value) if isinstance(value, dict) else value}"
        for name, value in document.items()
        if name != "events"
    ]
    for event in document["events"]:
        for each in event["oracles"]:
            lines.append(f"{'oracle':<12} {each['oracle']} on {each['event']!r}, {each['kind']}, {each['maturity']}")
        if len(event["oracles"]) > 1:
            lines.append(f"{'threshold':<12} {event['threshold']} of {len(event['oracles'])}")
        shares = list(event.get("payouts", {}).items())
        lines += [f"{'payout':<12} {outcome!r}: {_shares(each)}" for outcome, each in shares[:MAX_SHOWN]]
        lines += [
            f"{'curve':<12} at {number:,}: {paid:,} sat to the offerer" for number, paid in event.get("curve", [])
        ]
    return lines


def _shares(shares: dict[str, int]) -> str:
    return f"{shares['offerer']:,} sat to the offerer, {shares['accepter']:,} to the accepter"


def _lock_time(value: int) -> int | str:
    return _date(value) if value >= TIMESTAMPS_FROM else value


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="minutes")
