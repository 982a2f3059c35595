"""`bitvm-bridge watch`: do what a party owes, when it is due."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Event as Flag
from typing import Any, Final

import click

from bitvm_bridge.errors import BridgeError, NodeUnreachable
from bitvm_bridge.keys import Role
from bitvm_bridge.store import Store
from bitvm_bridge.watch import metrics
from bitvm_bridge.watch.claims import DEFAULT_SHARE, ShareOfDeposit
from bitvm_bridge.watch.journal import Journal
from bitvm_bridge.watch.metrics import Counts, MetricsServer
from bitvm_bridge.watch.notes import Level, Note
from bitvm_bridge.watch.proofs import ProofFolder
from bitvm_bridge.watch.watcher import CONFIRMATIONS, ROLES, Look, Settings, Watcher
from cli.app import App, emit, say, with_app
from cli.disputed import compiling
from cli.keys import DEFAULT_NAME

POLL: Final = 30.0
MAX_BACKOFF: Final = 600.0
"""seconds: the longest wait for a node that does not answer."""


@click.command()
@click.option("--as", "role", type=click.Choice([str(role) for role in ROLES]), required=True, help="Whose duties.")
@click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which key of that role acts.")
@click.option("--once", is_flag=True, help="Look once and end: for cron. Exit code 0: all is done that is due.")
@click.option("--dry-run", is_flag=True, help="Only report what would be sent; keep nothing.")
@click.option("--poll", type=click.FloatRange(0.05), default=POLL, show_default=True, metavar="SECONDS", help="Pause.")
@click.option(
    "--budget", type=click.IntRange(0), metavar="SAT", help="Challenger: most that challenges may cost [any]."
)
@click.option(
    "--owed",
    type=float,
    default=DEFAULT_SHARE,
    show_default=True,
    metavar="PERCENT",
    help="Share of a deposit that a PegOut must pay its withdrawer.",
)
@click.option(
    "--confirmations", type=click.IntRange(1), help="Operator: blocks on a PegOut before KickOff [1; signet: 6]."
)
@click.option(
    "--proofs",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Operator: where the proof of an instance is, as ID.json, for programs that take one.",
)
@click.option("--metrics-port", type=int, metavar="PORT", help="Serve metrics for Prometheus on 127.0.0.1.")
@click.option("--metrics-file", type=click.Path(dir_okay=False, path_type=Path), help="Write them to a file.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option("--rescan", is_flag=True, help="Forget what was read of the chain, and read it again.")
@with_app
def watch(app: App, /, **options: Any) -> None:
    """Follow the chain and send what a party owes.

    The operator claims, answers challenges and takes; the challenger challenges false claims and slashes; for the
    committee, any move of a vault that was not signed at set-up is reported. The log goes to stderr.

    \b
    bitvm-bridge watch --as operator
    bitvm-bridge watch --as challenger --budget 20000000 --log-json
    bitvm-bridge watch --as committee --once
    """
    settings = Settings(
        role=Role(options["role"]),
        name=options["name"],
        fees=app.fees.policy,
        budget=options["budget"],
        confirmations=options["confirmations"] or CONFIRMATIONS[app.network],
        dry_run=options["dry_run"],
        demands=ShareOfDeposit(options["owed"]),
        proofs=None if options["proofs"] is None else ProofFolder(options["proofs"]),
    )
    with app.store() as store, _output(options["log_json"], options["metrics_port"], options["metrics_file"]) as output:
        if options["rescan"]:
            Journal(store).forget()
        watcher = Watcher(store, settings)
        if options["once"]:
            _once(app, store, watcher, output, dry_run=settings.dry_run)
        else:
            _forever(app, store, watcher, output, options["poll"], dry_run=settings.dry_run)


@dataclass
class _Output:
    """Where notes and metrics go."""

    log_json: bool
    server: MetricsServer | None
    file: Path | None
    counts: Counts = field(default_factory=Counts)

    def note(self, note: Note) -> None:
        """One line on stderr."""
        say(note.json() if self.log_json else note.line())

    def look(self, look: Look) -> None:
        """What a look came to."""
        for note in look.notes:
            self.note(note)
        self.counts = replace(
            self.counts,
            looks=self.counts.looks + 1,
            sent=self.counts.sent + look.sent,
            errors=self.counts.errors + (look.error is not None),
            reorganisations=self.counts.reorganisations + (look.survey.progress.rewound > 0),
        )
        self._publish(metrics.render(look.survey, self.counts))

    def failed(self, error: BridgeError) -> None:
        """A look that could not be had."""
        self.note(Note(Level.ERROR, "unreachable", str(error)))
        self.counts = replace(self.counts, errors=self.counts.errors + 1)
        self._publish(metrics.render(None, self.counts))

    def _publish(self, page: str) -> None:
        if self.server is not None:
            self.server.page = page
        if self.file is not None:
            metrics.write(self.file, page)


@contextmanager
def _output(log_json: bool, port: int | None, file: Path | None) -> Iterator[_Output]:
    server = None if port is None else MetricsServer(port)
    output = _Output(log_json, server, file)
    try:
        if server is not None:
            output.note(Note(Level.INFO, "metrics", f"metrics on http://{metrics.HOST}:{server.port}/metrics"))
        yield output
    finally:
        if server is not None:
            server.close()


class _Undo(Exception):
    """Ends a dry run's store transaction without keeping anything."""


def _look(app: App, store: Store, watcher: Watcher, *, dry_run: bool) -> Look:
    """One look with a fresh connection; a dry run leaves the store as it was."""
    with app.node() as node, compiling():
        if not dry_run:
            return watcher.look(node)
        looks: list[Look] = []
        try:
            with store.transaction():
                looks.append(watcher.look(node))
                raise _Undo
        except _Undo:
            return looks[0]


def _once(app: App, store: Store, watcher: Watcher, output: _Output, *, dry_run: bool) -> None:
    look = _look(app, store, watcher, dry_run=dry_run)
    output.look(look)
    if look.error is not None:
        raise look.error
    emit(app, _document(look), "")


def _document(look: Look) -> dict[str, Any]:
    progress = look.survey.progress
    return {
        "height": progress.height,
        "lag": progress.lag,
        "instances": {instance.hex(): view.state for instance, view in look.survey.views.items()},
        "sent": look.sent,
        "notes": [note.document() for note in look.notes],
    }


def _forever(app: App, store: Store, watcher: Watcher, output: _Output, poll: float, *, dry_run: bool) -> None:
    """Look until a signal ends it; a node that does not answer is asked again, more and more rarely."""
    with _stopped_by_signals() as stopped:
        pause = poll
        while not stopped.is_set():
            try:
                output.look(_look(app, store, watcher, dry_run=dry_run))
                pause = poll
            except NodeUnreachable as error:
                output.failed(error)
                pause = min(2 * pause, max(MAX_BACKOFF, poll))
            stopped.wait(pause)


@contextmanager
def _stopped_by_signals() -> Iterator[Flag]:
    """A flag that SIGINT and SIGTERM set, so that nothing ends in the middle of a look."""
    flag = Flag()
    before = {number: signal.signal(number, lambda *_: flag.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
