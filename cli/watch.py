"""`bitvm-bridge watch`: do what a party owes, when it is due."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import click

from bitvm_bridge.errors import BridgeError
from bitvm_bridge.keys import Role
from bitvm_bridge.sources.demands import RequestedPegOuts
from bitvm_bridge.sources.uris import open_proofs, open_requests
from bitvm_bridge.store import Store
from bitvm_bridge.watch import metrics
from bitvm_bridge.watch.claims import DEFAULT_SHARE, ShareOfDeposit
from bitvm_bridge.watch.journal import Journal
from bitvm_bridge.watch.metrics import Counts, MetricsServer
from bitvm_bridge.watch.notes import Level, Note
from bitvm_bridge.watch.watcher import CONFIRMATIONS, ROLES, Look, Settings, Watcher
from cli.app import App, emit, say, with_app
from cli.daemon import POLL, forever, undone
from cli.disputed import compiling
from cli.keys import DEFAULT_NAME


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
    "--source",
    envvar="BITVM_BRIDGE_SOURCE",
    show_envvar=True,
    metavar="SOURCE",
    help="Challenger: who tells of requests, as in `operator peg-outs`; a PegOut that it did not tell of is false.",
)
@click.option(
    "--confirmations", type=click.IntRange(1), help="Operator: blocks on a PegOut before KickOff [1; signet: 6]."
)
@click.option(
    "--proofs",
    envvar="BITVM_BRIDGE_PROOFS",
    show_envvar=True,
    metavar="SOURCE",
    help="Operator: who has the proof of an instance: a folder with ID.json, exec:COMMAND, or http(s)://…",
)
@click.option("--metrics-port", type=int, metavar="PORT", help="Serve metrics for Prometheus on 127.0.0.1.")
@click.option("--metrics-file", type=click.Path(dir_okay=False, path_type=Path), help="Write them to a file.")
@click.option("--log-json", is_flag=True, help="Log one JSON object a line.")
@click.option("--rescan", is_flag=True, help="Forget what was read of chain and source, and read it again.")
@with_app
def watch(app: App, /, **options: Any) -> None:
    """Follow the chain and send what a party owes.

    The operator claims, answers challenges and takes; the challenger challenges false claims and slashes; for the
    committee, any move of a vault that was not signed at set-up is reported. The log goes to stderr.

    \b
    bitvm-bridge watch --as operator
    bitvm-bridge watch --as challenger --budget 20000000 --log-json
    bitvm-bridge watch --as challenger --source https://l2.example/requests
    bitvm-bridge watch --as committee --once
    """
    is_judge = options["source"] is not None and options["role"] == Role.CHALLENGER
    source = open_requests(options["source"]) if is_judge else None
    share = ShareOfDeposit(options["owed"])
    settings = Settings(
        role=Role(options["role"]),
        name=options["name"],
        fees=app.fees.policy,
        budget=options["budget"],
        confirmations=options["confirmations"] or CONFIRMATIONS[app.network],
        dry_run=options["dry_run"],
        demands=share,
        proofs=None if options["proofs"] is None else open_proofs(options["proofs"], say),
    )
    with app.store() as store, _output(options["log_json"], options["metrics_port"], options["metrics_file"]) as output:
        if source is not None:
            told = RequestedPegOuts(store, source, share)
            settings = replace(settings, demands=told)
            if options["rescan"]:
                told.forget()
        if options["rescan"]:
            Journal(store).forget()
        watcher = Watcher(store, settings)
        if options["once"]:
            _once(app, store, watcher, output, dry_run=settings.dry_run)
        else:
            forever(
                lambda: output.look(_look(app, store, watcher, dry_run=settings.dry_run)),
                output.failed,
                options["poll"],
            )


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


def _look(app: App, store: Store, watcher: Watcher, *, dry_run: bool) -> Look:
    """One look with a fresh connection; a dry run leaves the store as it was."""
    with app.node() as node, compiling():
        return undone(store, lambda: watcher.look(node)) if dry_run else watcher.look(node)


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
