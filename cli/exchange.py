"""`bitvm-bridge exchange`: set deposits up between parties that do not trust each other."""

import time
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Final

import click

from bitvm_bridge import batch, keyring, rebroadcast
from bitvm_bridge.documents import decode, encode, from_hex
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.exchange.actors import KeyActor
from bitvm_bridge.exchange.board import Board
from bitvm_bridge.exchange.mailbox import Folder, Mailbox, read_envelope
from bitvm_bridge.exchange.party import Courier, Party, Progress
from bitvm_bridge.exchange.roster import Participant, PartyDocument, Roster, Terms
from bitvm_bridge.exchange.survey import Standing, survey
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.locks import alone
from bitvm_bridge.pending import Pending
from bitvm_bridge.protocol import Request
from bitvm_bridge.service.client import HttpMailbox
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Wallet
from bitvm_bridge.workers import MAX_WORKERS, cores
from cli.app import App, emit, read_file, say, with_app
from cli.bump import payer
from cli.depositor import parameter_options, take_params
from cli.disputed import compiled, compiling, program_options, take_program
from cli.payouts import payout
from cli.rosters import name_option, read_roster, roster_option
from cli.table import Bar, Table, emit_rows

TAKING_PART: Final = (Role.COMMITTEE, Role.OPERATOR, Role.DEPOSITOR, Role.CHALLENGER)
SENT: Final = ("PegInDeposit", "ClaimFunding", "PegIn")
"""What takes place during a set-up."""
DOUBLE: Final = "another process signs with this key"
role_option = click.option(
    "--as", "role", type=click.Choice([str(role) for role in TAKING_PART]), required=True, help="Whose part."
)


@click.group()
def exchange() -> None:
    """Set deposits up between parties on their own machines.

    Everyone signs what it says with its identity key; what is said travels as files, or through a service.

    \b
    bitvm-bridge exchange identity --as committee --name alice alice > alice.json
    bitvm-bridge exchange roster alice.json bob.json olga.json dora.json --program hash-chain:8:1 > roster.json
    bitvm-bridge exchange request --roster roster.json --receiver 00112233…
    bitvm-bridge exchange run --as committee --name alice --roster roster.json --dir shared/
    bitvm-bridge exchange payout propose DEPOSIT --to ADDRESS --roster roster.json
    """


exchange.add_command(payout)


@exchange.command()
@click.argument("label")
@role_option
@name_option
@with_app
def identity(app: App, label: str, role: str, name: str) -> None:
    """Print your entry of a roster, under the name LABEL.

    It holds the key that signs what you say; that key owns no coins.
    """
    with app.store() as store:
        key = keyring.speaker(store, Role(role), name).identity_key().xonly
    click.echo(encode(Participant(label, Role(role), key).document()).decode().rstrip())


@exchange.command()
@click.argument("files", nargs=-1, required=True)
@program_options()
@parameter_options
@with_app
def roster(app: App, /, files: tuple[str, ...], **options: Any) -> None:
    """Put the entries in FILES together, with your terms.

    The terms are the program that every instance disputes, and the parameters of every deposit; its amount and its
    exits are for the depositor to choose. Everyone compares the roster with what was agreed on before using it.
    """
    spec = take_program(options)
    terms = Terms(take_params(app.network, options), str(spec))
    entries = [decode(read_file(path, "roster entry"), PartyDocument, f"roster entry {path}") for path in files]
    found = Roster(tuple(map(Participant.from_document, entries)), terms)
    click.echo(found.to_json().decode().rstrip())


@exchange.command()
@roster_option
@name_option
@click.option("--receiver", required=True, metavar="HEX", help="Who is credited on the second layer.")
@click.option("--operator", "operators", multiple=True, metavar="LABEL", help="Who is to join [all operators].")
@click.option("--peg-in", type=int, metavar="SAT", help="Amount of the deposit [the roster's].")
@click.option("--exits", type=int, help="Vault outputs of equal amounts that it is split over [the roster's].")
@with_app
def request(
    app: App,
    /,
    roster_file: str,
    name: str,
    receiver: str,
    operators: tuple[str, ...],
    peg_in: int | None,
    exits: int | None,
) -> None:
    """Ask for a deposit, as a depositor.

    `exchange run` tells the others, pays as soon as every member has said its key, and moves the deposit into the vault
    when the committee has confirmed it.
    """
    everyone = read_roster(app, roster_file)
    agreed = everyone.terms.params
    params = everyone.terms.chosen(
        agreed.peg_in if peg_in is None else peg_in, agreed.exits if exits is None else exits
    )
    with app.store() as store:
        seed = keyring.speaker(store, Role.DEPOSITOR, name)
        key = seed.wallet_key()
        asked = Request(params, key.xonly, from_hex("--receiver", receiver))
        known = [one.name for one in everyone.of(Role.OPERATOR)]
        for label in operators:
            if label not in known:
                raise BadInput("--operator", label, f"an operator of the roster ({', '.join(known)})")
        actor = KeyActor(store, Role.DEPOSITOR, name, app.fees.policy)
        party = Party(store, everyone, seed.identity_key(), app.network, actor)
        party.ask(asked, operators or known, key)
    emit(app, {"deposit": asked.id.hex()}, asked.id.hex())


@exchange.command()
@role_option
@name_option
@roster_option
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="A folder that all can reach.")
@click.option("--url", metavar="URL", help="In place of a folder: a service that keeps envelopes.")
@click.option(
    "--ca-file", type=click.Path(dir_okay=False, path_type=Path), help="PEM certificates that vouch for an https URL."
)
@click.option("--once", is_flag=True, help="Do what can be done now, and end.")
@click.option("--poll", type=click.FloatRange(0.05), default=2.0, show_default=True, metavar="SECONDS", help="Pause.")
@click.option("--forever", is_flag=True, help="Go on when everything is confirmed: more may be asked for.")
@click.option(
    "--workers",
    type=click.IntRange(1, MAX_WORKERS),
    metavar="N",
    help="Processes that check the offers of a batch [one for each core].",
)
@click.option("--join", is_flag=True, help="Operator: offer an instance of every exit that you are named for.")
@with_app
def run(
    app: App,
    /,
    role: str,
    name: str,
    roster_file: str,
    folder: Path | None,
    url: str | None,
    ca_file: Path | None,
    once: bool,
    poll: float,
    forever: bool,
    workers: int | None,
    join: bool,
) -> None:
    """Take your part until all deposits are confirmed.

    And until every payout that you have agreed to is signed (`exchange payout`).
    A member says its key, signs every graph that passes all checks, and PegIn last of all, when the deposit is on its
    node. An operator with --join sets a claim coin aside for every exit and offers its instance. The depositor pays,
    and moves the deposit into the vault. A challenger listens, and has every signed instance in its store.

    Start it again at any time: what was said is kept, and nonces that were lost are drawn anew. Between giving nonces
    and signing a member must stay up, so it has no use for --once.

    \b
    bitvm-bridge exchange run --as operator --roster roster.json --dir shared/ --join
    bitvm-bridge exchange run --as depositor --roster roster.json --url https://bridge.example:8440
    """
    everyone = read_roster(app, roster_file)
    spec = compiled(everyone.terms.spec) if join else None
    with app.store() as store, ExitStack() as whole:
        seed = keyring.speaker(store, Role(role), name)
        whole.enter_context(_alone(app, seed.identity_key()))
        actor = KeyActor(store, Role(role), name, app.fees.policy, spec)
        graphs = partial(batch.with_graphs, workers=workers or cores())
        party = Party(store, everyone, seed.identity_key(), app.network, actor, graphs)
        mailbox = _mailbox(folder, url, ca_file, seed.identity_key())
        with closing(Bar()) as bar:
            loop = _Loop(app, store, party, actor, Courier(party, mailbox), bar)
            is_done = loop.round() if once else loop.patient_round()
            while not once and (forever or not is_done):
                time.sleep(poll)
                is_done = loop.patient_round()
    progress = party.progress
    emit(app, vars(progress) | {"faults": list(map(str, party.faults))}, "")


@exchange.command()
@roster_option
@with_app
def status(app: App, roster_file: str) -> None:
    """Show how far every deposit is, and what it waits for.

    It reads what your store has of what was said; it says nothing, and asks no node. Documents, nonces and partial
    signatures that are wrong are shown with their author.
    """
    everyone = read_roster(app, roster_file)
    with app.store() as store, compiling():
        found = list(survey(store, everyone, partial(batch.with_graphs, workers=cores())))
    rows: list[tuple[str | int | float, ...]] = [
        (one.deposit.hex()[:12], one.depositor, f"{one.signed}/{one.expected}", one.waits_for or "confirmed")
        for one in found
    ]
    faults = [str(fault) for one in found for fault in one.faults]
    table = Table("Deposits asked for", ("deposit", "depositor", "signed", "waits for"), rows, tuple(faults))
    document = {"deposits": [_standing(one) for one in found]}
    lines = "\n".join(["  ".join(map(str, row)) for row in rows] + [f"fault: {fault}" for fault in faults])
    emit_rows(app, document, table, lines)
    if not rows:
        say("nothing was asked for yet: `exchange request` does")


def _standing(one: Standing) -> dict[str, Any]:
    return {
        "deposit": one.deposit.hex(),
        "depositor": one.depositor,
        "outpoint": one.outpoint,
        "expected": one.expected,
        "offered": one.offered,
        "signed": one.signed,
        "confirmed": one.is_confirmed,
        "waits_for": one.waits_for,
        "faults": list(map(str, one.faults)),
    }


@exchange.command()
@click.argument("files", nargs=-1, required=True)
@roster_option
@with_app
def inbox(app: App, files: tuple[str, ...], roster_file: str) -> None:
    """Take in FILES that came by other ways, `-` for stdin.

    What you say about them is said by `exchange run`. Good files are kept even where others are refused; then the
    exit code is 5.
    """
    everyone, refused, known = read_roster(app, roster_file), [], 0
    letters = [(path, read_file(path, "FILES")) for path in files]
    with app.store() as store:
        board = Board(store, everyone)
        for path, raw in letters:
            try:
                known += not board.accept(read_envelope(raw))
            except BridgeError as error:
                refused.append(f"{path}: {error}")
    for line in refused:
        say(f"refused: {line}")
    if refused:
        raise VerificationFailed(f"{len(refused)} of {len(files)} files refused; the others are kept")
    new = len(files) - known
    emit(app, {"new": new, "known": known}, f"{new} new, {known} known")


def _alone(app: App, key: SecretKey) -> AbstractContextManager[None]:
    """One process of a data directory speaks with a key: nonces are in its memory, and two would void each other's."""
    return alone(app.home / f"exchange-{key.xonly.hex()[:16]}.lock", f"exchange: {DOUBLE}; one of them is enough")


class _Loop:
    """One party's process: what it has told of, and what it last saw."""

    def __init__(self, app: App, store: Store, party: Party, actor: KeyActor, courier: Courier, bar: Bar) -> None:
        self._app, self._store, self._party, self._actor, self._courier = app, store, party, actor, courier
        self._bar = bar
        self._told: set[str] = set()
        party.watch_progress = self._go_on

    def round(self) -> bool:
        """Is everything confirmed? Raises BridgeError where something that is due could not be done now."""
        with self._app.node() as node, nullcontext() if self._bar.is_shown else compiling():
            self._actor.node = node
            self._resend()
            for line in self._courier.run():
                self._tell(f"refused: {line}")
        for fault in self._party.faults:
            self._tell(f"fault: {fault}")
        if self._party.double:
            self._tell(f"warning: {DOUBLE}, or this data directory is an older copy: it said {self._party.double}")
        for line in self._actor.by_hand:
            self._tell(f"to do: {line}")
        for objection in self._party.objections:
            self._tell(f"not signed: {objection}")
        progress = self._party.progress
        self._show(progress)
        if progress.is_done or not self._bar.is_shown:
            waiting = f", payouts that wait {progress.payouts}" if progress.payouts else ""
            self._tell(f"{self._deposits(progress)}, instances signed {progress.signed}/{progress.expected}{waiting}")
        return progress.is_done

    def patient_round(self) -> bool:
        """The same, where a node or mailbox without an answer, or a wallet without coins, may have some later."""
        try:
            return self.round()
        except BridgeError as error:
            self._tell(f"{error}; trying again")
            return False

    def _resend(self) -> None:
        """What this key sent and the mempool has lost."""
        node = self._actor.node
        if node is None or self._actor.role is Role.COMMITTEE:
            return
        policy = self._app.fees.policy(node)

        def wallet(item: Pending) -> Wallet:
            return payer(self._store, node, item, self._actor.name, policy.floor)

        due = [item for item in rebroadcast.due(self._store, node, policy) if item.item.name in SENT]
        for done in rebroadcast.resend(self._store, node, policy, due, wallet):
            if done.problem:
                self._tell(f"{done.due.item.name}: {done.problem}")

    def _go_on(self, progress: Progress) -> None:
        """Within a round, whose own sign of life must end before the bar can appear."""
        if self._bar.is_shown:
            self._show(progress)

    def _show(self, progress: Progress) -> None:
        self._bar.show(f"{self._deposits(progress)}, instances signed", progress.signed, progress.expected)

    def _deposits(self, progress: Progress) -> str:
        return f"{self._party.me.name}: deposits confirmed {progress.confirmed}/{progress.deposits}"

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._bar.say(line)


def _mailbox(folder: Path | None, url: str | None, ca_file: Path | None, key: SecretKey) -> Mailbox:
    if folder is not None and url is None:
        return Folder(folder)
    if url is not None and folder is None:
        return HttpMailbox(url, key, ca_file=ca_file)
    given = "nothing" if folder is None else "both"
    raise BadInput("--dir or --url", given, "a folder that all can reach, or the URL of a service")
