"""`bitvm-bridge demo`: the stories, told on a terminal or as one JSON document."""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BadInput, NodeUnreachable
from bitvm_bridge.params import Network, Params
from cli.app import BITCOIND, EMBEDDED, App, emit, with_app
from cli.disputed import program_options, proof_options, take_subject
from cli.stage import Outcome, Refusal, Step, open_stage
from cli.stories import STORIES, play, stories_of, takes_proof, title


@click.command()
@click.argument("stories", nargs=-1, metavar="[STORY]…")
@click.option("--node", "kind", type=click.Choice([EMBEDDED, BITCOIND]), help="Who validates [embedded].")
@click.option("--bitcoind", metavar="PATH", help="With --node bitcoind: the program to start [the one on PATH].")
@program_options()
@proof_options
@with_app
def demo(app: App, /, stories: tuple[str, ...], kind: str | None, bitcoind: str | None, **options: Any) -> None:
    """Watch the bridge work: every story, or those you name.

    \b
    happy       an honest claim that nobody challenges
    challenged  an honest claim, challenged, proved and paid
    fraud       a false claim, disproved on Bitcoin: half the bond burns
    silent      a false claim, challenged and never answered
    refund      a deposit that the committee never confirms
    forged      where the program takes a proof: a false one, disproved
    dlc         a bet between two users that an oracle with a stake decides
    dlc-fraud   an oracle that signs what did not happen: disproved, all refunded

    Every transaction is validated by Bitcoin Core's own code, in this process or in a node started for the demo.
    With --program groth16 alone, a small key and proof that come with the source are disputed.
    """
    for name in stories:
        if name not in STORIES:
            raise BadInput("story", name, f"one of {', '.join(STORIES)}")
    if app.network is not Network.REGTEST:
        raise BadInput("--network", app.network, "regtest: the demo makes a chain of its own")
    if app.rpc.given():
        raise BadInput("node", "the one at --rpc…", "one that the demo starts itself; use --bitcoind PATH")
    if app.esplora:
        raise BadInput("--esplora", app.esplora, "a node that the demo can mine on")
    spec, given = take_subject(options)
    kind = kind or app.node_kind
    if "forged" in stories and not takes_proof(spec):
        raise BadInput("story", "forged", f"one of {', '.join(stories_of(spec))}: {spec} takes no proof")
    tell = _silence if app.json else _Narrator()
    with _temporary_node(kind, bitcoind) as node:
        miner = open_stage(node)
        outcomes = []
        for outcome in play(stories or stories_of(spec), node, miner, Params(), spec, tell, given):
            outcomes.append(outcome)
            if not app.json:
                click.echo(_balances(outcome))
        document = {"stories": [_document(outcome, node.name) for outcome in outcomes]}
    count = sum(len(outcome.transactions) for outcome in outcomes)
    told = f"{len(outcomes)} {'story' if len(outcomes) == 1 else 'stories'}"
    emit(app, document, f"\n{told}, {count} transactions, every one judged by Bitcoin Core ({kind}).")


@contextmanager
def _temporary_node(kind: str, bitcoind: str | None) -> Iterator[Node]:
    """A fresh regtest chain that is gone afterwards."""
    if bitcoind is not None and kind != BITCOIND:
        raise BadInput("--bitcoind", bitcoind, "given with --node bitcoind")
    with tempfile.TemporaryDirectory(prefix="bitvm-bridge-") as folder:
        if kind == EMBEDDED:
            from bitvm_bridge.chain.embedded import EmbeddedNode

            node = EmbeddedNode(Path(folder))
            try:
                yield node
            finally:
                node.close()
            return
        from bitvm_bridge.chain.launch import LaunchedBitcoind

        path = bitcoind or shutil.which("bitcoind")
        if path is None:
            raise NodeUnreachable("no bitcoind on PATH; name one with --bitcoind PATH")
        with LaunchedBitcoind(Path(path), Path(folder)) as launched:
            yield launched.node


def _silence(_: str, __: Step | Refusal) -> None:
    """--json: nothing is told on the way."""


class _Narrator:
    """Prints each step as it happens."""

    def __init__(self) -> None:
        self._story = ""

    def __call__(self, story: str, step: Step | Refusal) -> None:
        if story != self._story:
            self._story = story
            click.echo("\n" + click.style(story, bold=True) + f"  {title(story)}")
            click.echo(
                click.style(f"  {'block':>5}  {'transaction':<18} {'vsize':>7} {'fee':>8}  what happens", dim=True)
            )
        click.echo(_line(step))


def _line(step: Step | Refusal) -> str:
    if isinstance(step, Refusal):
        refused = click.style(f"{step.name:<18}", fg="yellow")
        return f"  {'–':>5}  {refused} {'refused':>16}  {step.meaning} ({step.reason.partition(' (')[0]})"
    name = click.style(f"{step.name:<18}", fg="cyan", dim=step.name.endswith(" fee"))
    return f"  {step.height:>5}  {name} {step.vsize:>7,} {step.fee:>8,}  {step.meaning}"


def _balances(outcome: Outcome) -> str:
    def show(amount: int) -> str:
        return click.style(f"{amount:+,}", fg="green" if amount > 0 else "red" if amount < 0 else None)

    parts = [f"{party} {show(amount)}" for party, amount in outcome.balances.items() if amount]
    rest = {"fees": outcome.fees, "burned": outcome.burned, "still locked": outcome.locked}
    parts += [f"{name} {amount:,}" for name, amount in rest.items() if amount]
    return "  in sat: " + ", ".join(parts)


def _document(outcome: Outcome, node: str) -> dict[str, Any]:
    return {
        "name": outcome.name,
        "ok": True,
        "node": node,
        "transactions": [
            {
                "name": step.name,
                "txid": step.txid,
                "vsize": step.vsize,
                "weight": step.weight,
                "fee": step.fee,
                "height": step.height,
            }
            for step in outcome.transactions
        ],
        "refusals": [{"name": step.name, "reason": step.reason} for step in outcome.steps if isinstance(step, Refusal)],
        "balances": outcome.balances,
        "fees": outcome.fees,
        "burned": outcome.burned,
        "locked": outcome.locked,
    }
