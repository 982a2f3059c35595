"""`bitvm-bridge operator peg-outs`: pay what the second layer asks for."""

from typing import Any

import click

from bitvm_bridge.keys import Role
from bitvm_bridge.sources.ledger import Ledger
from bitvm_bridge.sources.payer import Payer, Terms, Turn
from bitvm_bridge.sources.uris import open_requests
from bitvm_bridge.store import Store
from bitvm_bridge.watch.claims import DEFAULT_SHARE, ShareOfDeposit
from bitvm_bridge.watch.notes import Level, Note
from bitvm_bridge.watch.watcher import CONFIRMATIONS
from cli.app import App, emit, say, with_app
from cli.daemon import POLL, forever, undone
from cli.disputed import compiling
from cli.keys import name_option


@click.command("peg-outs")
@click.option(
    "--source",
    required=True,
    envvar="BITVM_BRIDGE_SOURCE",
    show_envvar=True,
    metavar="SOURCE",
    help="Who tells of requests: FILE with a JSON document a line, http(s)://…, or evm+http(s)://…#contract=…&chain=…",
)
@name_option(Role.OPERATOR)
@click.option("--once", is_flag=True, help="One turn, then end: for cron. Exit code 0: nothing went wrong.")
@click.option("--max-amount", type=click.IntRange(1), metavar="SAT", help="Pay no request that asks for more [any].")
@click.option(
    "--owed",
    type=float,
    default=DEFAULT_SHARE,
    show_default=True,
    metavar="PERCENT",
    help="Share of its deposit that a request must ask for: challengers take less for a false claim.",
)
@click.option(
    "--confirmations", type=click.IntRange(1), help="Blocks on a vault and on a withdrawer's coin [1; signet: 6]."
)
@click.option("--poll", type=click.FloatRange(0.05), default=POLL, show_default=True, metavar="SECONDS", help="Pause.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option(
    "--rescan", is_flag=True, help="Read the source from its beginning; what was told is paid once all the same."
)
@click.option("--dry-run", is_flag=True, help="Only report: keep nothing here, send nothing.")
@click.option("--broadcast", is_flag=True, help="Send what is made.")
@with_app
def peg_outs(app: App, /, source: str, *, once: bool, poll: float, log_json: bool, **options: Any) -> None:
    """Pay withdrawals that the second layer asks for.

    Each request is paid once, from your own coins, by a PegOut that names a free instance of yours whose deposit repays
    it: signed, its vault confirmed, nothing paid for it before. Which instance pays what is on record before the
    PegOut leaves. The log goes to stderr.

    \b
    bitvm-bridge operator peg-outs --source requests.jsonl --once --dry-run
    bitvm-bridge operator peg-outs --source https://l2.example/requests --max-amount 100000000 --broadcast
    """
    broadcast, dry_run = options["broadcast"], options["dry_run"]
    if broadcast and dry_run:
        raise click.UsageError("--broadcast and --dry-run exclude each other")
    terms = Terms(
        options["name"],
        app.fees.policy,
        options["max_amount"],
        options["confirmations"] or CONFIRMATIONS[app.network],
        ShareOfDeposit(options["owed"]),
        broadcast,
    )
    requests = open_requests(source)
    with app.store() as store:
        if options["rescan"] and not dry_run:
            Ledger(store).forget(requests.name)
        payer = Payer(store, requests, terms)
        if once:
            _once(app, store, payer, log_json, dry_run)
        else:
            forever(
                lambda: _log(_turn(app, store, payer, dry_run).notes, log_json),
                lambda error: _log((Note(Level.ERROR, "unreachable", str(error)),), log_json),
                poll,
            )


def _turn(app: App, store: Store, payer: Payer, dry_run: bool) -> Turn:
    """One turn with a fresh connection; a dry run leaves the store as it was."""
    with app.node() as node, compiling():
        return undone(store, lambda: payer.turn(node)) if dry_run else payer.turn(node)


def _log(notes: tuple[Note, ...], as_json: bool) -> None:
    for note in notes:
        say(note.json() if as_json else note.line())


def _once(app: App, store: Store, payer: Payer, log_json: bool, dry_run: bool) -> None:
    turn = _turn(app, store, payer, dry_run)
    _log(turn.notes, log_json)
    if turn.error is not None:
        raise turn.error
    document = {
        "sent": turn.sent,
        "requests": [row.document() for row in turn.rows],
        "notes": [note.document() for note in turn.notes],
    }
    lines = (f"{row.entry.request.id.hex()} {row.state} {row.entry.instance.hex()}".rstrip() for row in turn.rows)
    emit(app, document, "\n".join(lines))
