"""`bitvm-bridge exchange payout`: the committee pays an exit out, every member from its own machine."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import click

from bitvm_bridge import records
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.actors import KeyActor
from bitvm_bridge.exchange.exits import objection
from bitvm_bridge.exchange.party import Party
from bitvm_bridge.exchange.payouts import Proposal
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.exchange.survey import proposed
from bitvm_bridge.keys import Role, address, parse_address
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.store import Store
from bitvm_bridge.watch.survey import Library
from cli.app import App, emit, say, with_app
from cli.disputed import compiling
from cli.keys import name_option as wallet_option
from cli.rosters import name_option, read_roster, roster_option
from cli.sending import finish, open_wallet, sending_options, take_sending
from cli.table import Table, emit_rows

SHOWN: Final = 12
"""digits of an id."""


@click.group()
def payout() -> None:
    """Pay an exit out by the whole committee, without an operator.

    A member proposes it, every member agrees to it by a word of its own, and `exchange run` of each of them signs it.

    \b
    bitvm-bridge exchange payout propose DEPOSIT --to ADDRESS --roster roster.json
    bitvm-bridge exchange payout list --roster roster.json
    bitvm-bridge exchange payout agree ID --roster roster.json
    bitvm-bridge exchange payout send ID --broadcast
    """


@payout.command()
@click.argument("deposit")
@click.option("--to", required=True, metavar="ADDRESS", help="Who is paid all that the exit holds.")
@click.option(
    "--exit", "exit_number", type=int, default=0, metavar="NUMBER", help="Which vault output of the deposit [0]."
)
@roster_option
@name_option
@with_app
def propose(app: App, deposit: str, to: str, exit_number: int, roster_file: str, name: str) -> None:
    """Propose to pay an exit of DEPOSIT out, and agree to it.

    Refused where the exit is gone, or owed to an operator that has paid a PegOut or claims it. `exchange run` tells the
    others.
    """
    script = parse_address(to, app.network, "--to")
    with _member(app, read_roster(app, roster_file), name) as (store, party):
        asked = Payout(records.load_deposit(store, deposit), script, exit_number)
        party.propose(asked)
    emit(app, _document(app, asked), asked.id.hex())
    say(_words(app, asked))


@payout.command()
@click.argument("payout_id", metavar="ID")
@roster_option
@name_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@with_app
def agree(app: App, payout_id: str, roster_file: str, name: str, *, yes: bool) -> None:
    """Agree to the payout ID, as a member.

    It is shown first, and you are asked. From then on your `exchange run` signs it as soon as all members have agreed,
    unless its exit is gone or owed to an operator by then. What was agreed to cannot be taken back.
    """
    everyone = read_roster(app, roster_file)
    with _member(app, everyone, name) as (_, party):
        proposal = _find(party.proposals(), payout_id)
        say(_words(app, proposal.payout))
        if not yes and not click.confirm("Agree?", err=True):
            raise BridgeError(f"payout {proposal.id.hex()[:SHOWN]}: not agreed to")
        party.agree(proposal)
    emit(app, _document(app, proposal.payout), proposal.id.hex())


@payout.command("list")
@roster_option
@with_app
def list_(app: App, roster_file: str) -> None:
    """Show every payout that was proposed, and what it waits for.

    It reads what your store has of what was said; it says nothing, and asks no node.
    """
    everyone = read_roster(app, roster_file)
    with app.store() as store, compiling():
        found = [(proposal, _waits_for(store, proposal)) for proposal in proposed(store, everyone)]
    columns = ("payout", "deposit", "exit", "sat", "to", "waits for")
    rows: list[tuple[str | int | float, ...]] = [
        (one.id.hex()[:SHOWN], one.payout.setup.request.id.hex()[:SHOWN], *_what(app, one.payout), waits or "signed")
        for one, waits in found
    ]
    document = [
        _document(app, one.payout)
        | {"proposed_by": list(one.proposers), "agreed": sorted(one.agreed), "signed": not waits, "waits_for": waits}
        for one, waits in found
    ]
    lines = "\n".join("  ".join(map(str, row)) for row in rows)
    emit_rows(app, {"payouts": document}, Table("Payouts proposed", columns, rows), lines)


@payout.command()
@click.argument("payout_id", metavar="ID")
@wallet_option(Role.WITHDRAWER)
@sending_options
@with_app
def send(app: App, /, payout_id: str, name: str, **options: Any) -> None:
    """Make CooperativePayout from ID, once it is signed.

    Its fee is paid by a child from your own coins, so that the receiver gets all that the exit holds.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        asked, signature = records.load_payout(store, payout_id)
        if not signature:
            raise BridgeError(f"payout {asked.id.hex()[:SHOWN]}: the committee has not signed it yet")
        if problem := objection(Library(store), node, asked):
            raise BridgeError(f"payout {asked.id.hex()[:SHOWN]}: {problem}")
        owner = asked.setup.request.id
        wallet = open_wallet(app, store, node, Role.WITHDRAWER, name, sending, owner, asked.declared.name)
        finish(app, store, node, sending, owner, asked.finish(wallet, signature))


@contextmanager
def _member(app: App, everyone: Roster, name: str) -> Iterator[tuple[Store, Party]]:
    """A member's part in the exchange, with a node to ask."""
    with app.store() as store, app.node() as node, compiling():
        seed = store.seed(Role.COMMITTEE, name)
        actor = KeyActor(store, Role.COMMITTEE, name, app.fees.policy, node=node)
        yield store, Party(store, everyone, seed.identity_key(), app.network, actor)


def _find(found: list[Proposal], prefix: str) -> Proposal:
    matches = [one for one in found if one.id.hex().startswith(prefix.lower())]
    if len(matches) != 1 or len(prefix) < records.MIN_PREFIX:
        known = ", ".join(one.id.hex()[:SHOWN] for one in found) or "none yet"
        raise BadInput("payout", prefix, f"the first {records.MIN_PREFIX} or more digits of one id (known: {known})")
    return matches[0]


def _waits_for(store: Store, proposal: Proposal) -> str:
    if records.is_payout_signed(store, proposal.payout):
        return ""
    return f"the word of {', '.join(proposal.missing)}" if proposal.missing else "signatures"


def _what(app: App, asked: Payout) -> tuple[int, int, str]:
    return asked.exit, asked.amount, address(asked.script_pubkey, app.network)


def _words(app: App, asked: Payout) -> str:
    number, amount, to = _what(app, asked)
    return f"all of exit {number} of deposit {asked.setup.request.id.hex()[:SHOWN]}, {amount:,} sat, to {to}"


def _document(app: App, asked: Payout) -> dict[str, Any]:
    number, amount, to = _what(app, asked)
    return {
        "payout": asked.id.hex(),
        "deposit": asked.setup.request.id.hex(),
        "exit": number,
        "amount": amount,
        "to": to,
        "txid": asked.tx.txid_hex,
    }
