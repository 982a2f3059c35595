"""`bitvm-bridge exchange`: set deposits up between parties that do not trust each other."""

import time
from pathlib import Path
from typing import Any, Final

import click

from bitvm_bridge import rebroadcast
from bitvm_bridge.documents import decode, encode, from_hex
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.actors import KeyActor
from bitvm_bridge.exchange.mailbox import Folder, Mailbox
from bitvm_bridge.exchange.party import Courier, Party
from bitvm_bridge.exchange.roster import Participant, PartyDocument, Roster
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.pending import Pending
from bitvm_bridge.protocol import Request
from bitvm_bridge.service.client import HttpMailbox
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Wallet
from cli.app import App, emit, read_file, say, with_app
from cli.bump import payer
from cli.depositor import parameter_options, take_params
from cli.disputed import compiling, program_options, take_program
from cli.keys import DEFAULT_NAME

TAKING_PART: Final = (Role.COMMITTEE, Role.OPERATOR, Role.DEPOSITOR, Role.CHALLENGER)
SENT: Final = ("PegInDeposit", "ClaimFunding", "PegIn")
"""What takes place during a set-up."""
role_option = click.option(
    "--as", "role", type=click.Choice([str(role) for role in TAKING_PART]), required=True, help="Whose part."
)
name_option = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which key of that role.")
roster_option = click.option("--roster", "roster_file", required=True, metavar="FILE", help="Who takes part.")


@click.group()
def exchange() -> None:
    """Set deposits up between parties on their own machines.

    Everyone signs what it says with its identity key; what is said travels as files, or through a service.

    \b
    bitvm-bridge exchange identity --as committee --name alice alice > alice.json
    bitvm-bridge exchange roster alice.json bob.json olga.json dora.json > roster.json
    bitvm-bridge exchange request --roster roster.json --receiver 00112233…
    bitvm-bridge exchange run --as committee --name alice --roster roster.json --dir shared/
    """


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
        key = store.seed(Role(role), name).identity_key().xonly
    click.echo(encode(Participant(label, Role(role), key).document()).decode().rstrip())


@exchange.command()
@click.argument("files", nargs=-1, required=True)
@with_app
def roster(app: App, files: tuple[str, ...]) -> None:
    """Put the entries in FILES together, for everyone."""
    del app
    entries = [decode(read_file(path, "roster entry"), PartyDocument, f"roster entry {path}") for path in files]
    click.echo(Roster.of_parties(map(Participant.from_document, entries)).to_json().decode().rstrip())


@exchange.command()
@roster_option
@name_option
@click.option("--receiver", required=True, metavar="HEX", help="Who is credited on the second layer.")
@click.option("--operator", "operators", multiple=True, metavar="LABEL", help="Who is to join [all operators].")
@parameter_options
@with_app
def request(
    app: App, /, roster_file: str, name: str, receiver: str, operators: tuple[str, ...], **options: Any
) -> None:
    """Ask for a deposit, as a depositor.

    `exchange run` tells the others, pays as soon as every member has said its key, and moves the deposit into the vault
    when the committee has confirmed it.
    """
    params = take_params(app.network, options)
    with app.store() as store:
        seed = store.seed(Role.DEPOSITOR, name)
        asked = Request(params, seed.wallet_key().xonly, from_hex("--receiver", receiver))
        everyone = _read_roster(roster_file)
        known = [one.name for one in everyone.of(Role.OPERATOR)]
        for label in operators:
            if label not in known:
                raise BadInput("--operator", label, f"an operator of the roster ({', '.join(known)})")
        actor = KeyActor(store, Role.DEPOSITOR, name, app.fees.policy)
        party = Party(store, everyone, seed.identity_key(), app.network, actor)
        party.ask(asked, operators or known)
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
@click.option("--join", is_flag=True, help="Operator: offer an instance of every exit that you are named for.")
@program_options()
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
    join: bool,
    **options: Any,
) -> None:
    """Take your part until all deposits are confirmed.

    A member says its key, signs every graph that passes all checks, and PegIn last of all, when the deposit is on its
    node. An operator with --join sets a claim coin aside for every exit and offers its instance. The depositor pays,
    and moves the deposit into the vault. A challenger listens, and has every signed instance in its store.

    Start it again at any time: what was said is kept, and nonces that were lost are drawn anew. Between giving nonces
    and signing a member must stay up, so it has no use for --once.

    \b
    bitvm-bridge exchange run --as operator --roster roster.json --dir shared/ --join --program hash-chain:8:1
    bitvm-bridge exchange run --as depositor --roster roster.json --url https://bridge.example:8440
    """
    spec = take_program(options) if join else None
    with app.store() as store:
        seed = store.seed(Role(role), name)
        actor = KeyActor(store, Role(role), name, app.fees.policy, spec)
        party = Party(store, _read_roster(roster_file), seed.identity_key(), app.network, actor)
        mailbox = _mailbox(folder, url, ca_file, seed.identity_key())
        loop = _Loop(app, store, party, actor, Courier(party, mailbox))
        is_done = loop.round() if once else loop.patient_round()
        while not once and (forever or not is_done):
            time.sleep(poll)
            is_done = loop.patient_round()
    progress = party.progress
    emit(app, vars(progress) | {"faults": list(map(str, party.faults))}, "")


class _Loop:
    """One party's process: what it has told of, and what it last saw."""

    def __init__(self, app: App, store: Store, party: Party, actor: KeyActor, courier: Courier) -> None:
        self._app, self._store, self._party, self._actor, self._courier = app, store, party, actor, courier
        self._told: set[str] = set()

    def round(self) -> bool:
        """Is everything confirmed? Raises BridgeError where something that is due could not be done now."""
        with self._app.node() as node, compiling():
            self._actor.node = node
            self._resend()
            for line in self._courier.run():
                self._tell(f"refused: {line}")
        for fault in self._party.faults:
            self._tell(f"fault: {fault}")
        progress = self._party.progress
        self._tell(
            f"{self._party.me.name}: deposits confirmed {progress.confirmed}/{progress.deposits}, "
            f"instances signed {progress.signed}/{progress.expected}"
        )
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

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            say(line)


def _read_roster(path: str) -> Roster:
    return Roster.from_json(read_file(path, "--roster"))


def _mailbox(folder: Path | None, url: str | None, ca_file: Path | None, key: SecretKey) -> Mailbox:
    if folder is not None and url is None:
        return Folder(folder)
    if url is not None and folder is None:
        return HttpMailbox(url, key, ca_file=ca_file)
    given = "nothing" if folder is None else "both"
    raise BadInput("--dir or --url", given, "a folder that all can reach, or the URL of a service")
