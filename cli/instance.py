"""`bitvm-bridge instance`: look at an instance, check it, move it between machines."""

from typing import Any

import click

from bitvm_bridge import records
from bitvm_bridge.descriptors import describe
from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import GraphTx
from bitvm_bridge.linter import lint, signed_vsize
from bitvm_bridge.protocol.template import ANY_LEAF
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.status import Status, status
from cli.app import STDOUT, App, emit, read_file, say, with_app, write_file
from cli.described import emit_descriptors
from cli.disputed import compiling, load_bundle, load_instance, short_name
from cli.picture import draw
from cli.table import Table, emit_rows


@click.group()
def instance() -> None:
    """Look at an instance: one deposit with one operator.

    \b
    bitvm-bridge instance list
    bitvm-bridge instance status INSTANCE
    bitvm-bridge instance export INSTANCE --bundle --out bundle.json
    """


@instance.command("list")
@with_app
def list_instances(app: App) -> None:
    """List the instances of this data directory."""
    with app.store() as store:
        rows, names = [], []
        for key in store.keys(records.INSTANCE):
            setup = load_instance(store, key.hex())
            signed = store.get(records.BUNDLE, key) is not None
            rows.append(
                {
                    "instance": key.hex(),
                    "deposit": setup.deposit.request.id.hex(),
                    "program": str(setup.spec),
                    "signed": signed,
                }
            )
            names.append(short_name(setup.spec))
    cells = [
        (str(row["instance"]), name, "signed" if row["signed"] else "unsigned")
        for row, name in zip(rows, names, strict=True)
    ]
    table = Table("Instances", ("instance", "program", "bundle"), list(cells))
    emit_rows(app, {"instances": rows}, table, "\n".join("  ".join(row) for row in cells))
    if not rows:
        say("no instance yet: `operator join` makes one, `instance import` takes one from a file")


@instance.command()
@click.argument("instance")
@with_app
def show(app: App, instance: str) -> None:
    """Show every transaction of INSTANCE.

    Each with its txid where it is known now, and for each input the output, the leaf, the wait and who signs.
    """
    with app.store() as store:
        setup = load_instance(store, instance)
    rows = [_row(item) for item in setup.graph.txs.values()]
    lines = [f"instance {setup.id.hex()}", f"vault    {setup.graph.vault}", f"claim    {setup.claim}", ""]
    for row in rows:
        lines.append(f"{row['name']:<18} {row['txid'] or 'txid depends on coins added later'}")
        lines += [
            f"    {item['spends']:<22} by {item['leaf']:<10} signed by {item['signer']}{_after(item['wait'])}"
            for item in row["inputs"]
        ]
    document = {"instance": setup.id.hex(), "vault": str(setup.graph.vault), "transactions": rows}
    emit(app, document, "\n".join(lines))


def _after(wait: int) -> str:
    return f", after {wait:,} blocks" if wait else ""


def _row(item: GraphTx) -> dict[str, Any]:
    fixed = item.is_complete and not any(entry.leaf == ANY_LEAF for entry in item.inputs)
    return {
        "name": item.name,
        "txid": item.tx.txid_hex if item.is_complete else None,
        "version": item.tx.version,
        "vsize": signed_vsize(item) if fixed else None,
        "sender": item.template.sender,
        "inputs": [
            {
                "name": entry.name,
                "spends": entry.source.name,
                "amount": entry.source.output.amount,
                "leaf": entry.leaf,
                "wait": entry.wait,
                "signer": entry.signer or "nobody: a proof",
                "sighash": entry.sighash.name,
            }
            for entry in item.inputs
        ],
        "outputs": [{"amount": out.amount, "script": out.script_pubkey.hex()} for out in item.tx.outputs],
    }


@instance.command()
@click.argument("instance")
@with_app
def graph(app: App, instance: str) -> None:
    """Draw the graph of INSTANCE as a Mermaid flowchart."""
    with app.store() as store:
        setup = load_instance(store, instance)
    picture = draw(setup.graph)
    emit(app, {"instance": setup.id.hex(), "mermaid": picture}, picture)


@instance.command("descriptors")
@click.argument("instance")
@with_app
def show_descriptors(app: App, instance: str) -> None:
    """Show the descriptor of every address of INSTANCE.

    For a wallet to watch; where the leaves are miniscript, for one with a key to spend. Outputs that only carry data
    have none.
    """
    with app.store() as store:
        setup = load_instance(store, instance)
    emit_descriptors(app, {"instance": setup.id.hex()}, describe(setup.graph))


@instance.command("status")
@click.argument("instance")
@with_app
def show_status(app: App, instance: str) -> None:
    """Show what has happened to INSTANCE, and what can be sent next.

    By whom, from which block on, and before which block.
    """
    with app.store() as store, app.node() as node:
        setup = load_instance(store, instance)
        found = status(setup.graph, node)
    events = [{"name": event.name, "txid": event.txid, "height": event.height} for event in found.events]
    duties = [
        {"name": duty.name, "sender": duty.sender, "from": duty.start, "before": duty.deadline} for duty in found.duties
    ]
    document = {
        "instance": setup.id.hex(),
        "height": found.height,
        "state": found.state,
        "events": events,
        "possible": duties,
    }
    emit(app, document, _status_text(found))


def _status_text(found: Status) -> str:
    lines = [f"height {found.height}, state {found.state}", ""]
    lines += [f"{event.height:>8}  {event.name:<18} {event.txid}" for event in found.events]
    lines += ["", "possible next:" if found.duties else "nothing is left to send"]
    for duty in found.duties:
        start = "now" if duty.start <= found.height + 1 else f"from block {duty.start}"
        until = f", before block {duty.deadline}" if duty.deadline else ""
        lines.append(f"  {duty.name:<18} by {duty.sender:<10} {start}{until}")
    return "\n".join(lines)


@instance.command()
@click.argument("instance")
@with_app
def verify(app: App, instance: str) -> None:
    """Check the rules and signatures of INSTANCE.

    The graph is rebuilt from its public inputs; every rule of the protocol is checked on it, and every signature.
    """
    with app.store() as store:
        bundle = load_bundle(store, instance)
    problems = lint(bundle.setup.graph)
    for problem in problems:
        say(problem)
    count = len(bundle.signatures)
    document = {"instance": bundle.setup.id.hex(), "signatures": count, "problems": problems, "ok": not problems}
    emit(app, document, f"{count} signatures verify; {len(problems) or 'no'} rules are broken")
    if problems:
        raise SystemExit(5)


@instance.command()
@click.argument("instance")
@click.option("--out", default="-", metavar="FILE", help="Where to write it [-].")
@click.option("--bundle", is_flag=True, help="The pre-signed bundle instead of the public inputs alone.")
@with_app
def export(app: App, instance: str, out: str, bundle: bool) -> None:
    """Write INSTANCE as JSON: its public inputs, or its bundle."""
    with app.store() as store:
        raw = load_bundle(store, instance).to_json() if bundle else load_instance(store, instance).to_json()
    write_file(out, raw)
    if out != STDOUT:
        emit(app, {"file": out, "bytes": len(raw)}, f"wrote {out}")


@instance.command("import")
@click.argument("bundle", metavar="BUNDLE", type=click.Path(dir_okay=False, allow_dash=True))
@with_app
def import_bundle(app: App, bundle: str) -> None:
    """Verify a BUNDLE file and keep what is in it."""
    raw = read_file(bundle, "bundle")
    with compiling():
        found = Bundle.from_json(raw)
    if found.setup.deposit.request.params.network is not app.network:
        raise BadInput("network of the bundle", found.setup.deposit.request.params.network, app.network)
    with app.store() as store, store.transaction():
        records.save_deposit(store, found.setup.deposit)
        records.save_instance(store, found.setup)
        records.save_bundle(store, found)
    emit(app, {"instance": found.setup.id.hex()}, found.setup.id.hex())
