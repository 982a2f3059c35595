"""`bitvm-bridge status`: every instance at a glance."""

from typing import Any

import click

from bitvm_bridge.watch.history import Timed
from bitvm_bridge.watch.survey import Library, Survey, View, survey
from cli.app import App, say, with_app
from cli.disputed import compiling
from cli.table import Table, emit_rows


@click.command()
@with_app
def status(app: App) -> None:
    """Show every instance: its state, and what can be sent.

    By whom, from which block on, until which block, and how much its end will move. Whether a claim is false, or a step
    wrong, is for `watch` and `challenger check` to say.

    \b
    bitvm-bridge status
    bitvm-bridge status --json
    """
    with app.store() as store, app.node() as node, compiling():
        found = survey(Library(store), node)
    rows = [_row(found, view) for view in found.views.values()]
    document = {"height": found.progress.height, "lag": found.progress.lag, "instances": rows}
    cells = [cell for view in found.views.values() for cell in _cells(found, view)]
    table = Table(f"Block {found.progress.height:,}", ("instance", "state", "sat at risk", "next", "when"), cells)
    emit_rows(app, document, table, "\n".join("  ".join(map(str, cell)).rstrip() for cell in cells))
    if not rows:
        say("no instance yet: `operator join` makes one, `instance import` takes one from a file")


def _row(found: Survey, view: View) -> dict[str, Any]:
    return {
        "instance": view.setup.id.hex(),
        "deposit": view.setup.deposit.request.id.hex(),
        "state": view.state,
        "problem": view.problem or None,
        "at_risk": view.at_risk,
        "next": [
            {
                "name": timed.duty.name,
                "by": timed.owed.party,
                "if": timed.owed.when or None,
                "now": timed.duty.start <= found.next_block,
                "from": timed.duty.start,
                "before": timed.duty.deadline,
            }
            for timed in view.timed
        ],
    }


def _cells(found: Survey, view: View) -> list[tuple[str | int | float, ...]]:
    """A line for each thing that can be sent; the first one names the instance."""
    nexts = [(f"{timed.duty.name} by {timed.owed.party}", _when(found, timed)) for timed in view.timed]
    head = (view.setup.id.hex()[:12], view.state, f"{view.at_risk:,}")
    first, *others = nexts or [(view.problem or "–", "")]
    return [(*head, *first), *(("", "", "", *other) for other in others)]


def _when(found: Survey, timed: Timed) -> str:
    start = "now" if timed.duty.start <= found.next_block else f"from block {timed.duty.start:,}"
    until = f", before {timed.duty.deadline:,}" if timed.duty.deadline is not None else ""
    condition = f", if {timed.owed.when}" if timed.owed.when else ""
    return start + until + condition
