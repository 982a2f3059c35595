"""`bitvm-bridge dlc offer`, `accept`, `sign`, `settle` and the rest: contracts whose oracle has a stake."""

import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc import notary, oracle_documents
from bitvm_bridge.dlc.contract import book, moves
from bitvm_bridge.dlc.contract.book import Held
from bitvm_bridge.dlc.contract.description import read_description
from bitvm_bridge.dlc.contract.desk import Desk, Signing
from bitvm_bridge.dlc.contract.signing import Bundle
from bitvm_bridge.dlc.contract.standing import Standing, stand
from bitvm_bridge.dlc.contract.talk import Talk
from bitvm_bridge.dlc.oracle import EnumEvent
from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.mailbox import Folder
from bitvm_bridge.keys import SEED_SIZE, Role
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party
from bitvm_bridge.records import MIN_PREFIX
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared, Wallet
from cli import sending as commands
from cli.app import STDOUT, App, emit, read_file, say, with_app
from cli.keys import name_option
from cli.sending import Sending, finish, sending_options, take_sending
from cli.table import Table, emit_rows, working

ROLES: Final = {Party.OFFERER: Role.PARTY, Party.ACCEPTER: Role.PARTY, Party.ORACLE: Role.ORACLE}
folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="A folder that all three can reach.",
)


@click.command()
@click.argument("description", metavar="FILE")
@folder_option
@name_option(Role.PARTY)
@with_app
def offer(app: App, description: str, folder: Path, name: str) -> None:
    """Offer a contract whose oracle stakes a bond.

    FILE is JSON that you write: collaterals, payouts, announcement, stake and times (docs/dlc.md). Your coins are set
    aside for it; nothing is signed yet.

    \b
    bitvm-bridge dlc offer bet.json --dir shared/
    """
    beside = Path() if description == STDOUT else Path(description).parent
    raw = read_file(description, "contract")
    terms = read_description(
        raw, lambda path: read_file(str(beside / path), "announcement"), app.network, secrets.token_bytes(32)
    )
    mailbox = Folder(folder)
    with app.store() as store, app.node() as node:
        held, envelope = _desk(app, store, node, Role.PARTY, name).offer(terms)
    mailbox.put(envelope)
    total = terms.contract.total_collateral
    _said(app, held, envelope)
    say(f"offered {total:,} sat: {terms.offerer_collateral:,} yours; refund from {_date(terms.refund)}")


@click.command()
@click.argument("offer", metavar="OFFER")
@folder_option
@name_option(Role.PARTY)
@with_app
def accept(app: App, offer: str, folder: Path, name: str) -> None:
    """Accept an offer in the folder.

    OFFER is the first digits of its id; `dlc show OFFER --dir DIR` shows its terms. Your coins are set aside for it;
    nothing is signed yet.
    """
    mailbox = Folder(folder)
    with app.store() as store, app.node() as node:
        talk = _listen(store, mailbox, offer)
        held, envelope = _desk(app, store, node, Role.PARTY, name).accept(talk)
    mailbox.put(envelope)
    _said(app, held, envelope)
    say(f"accepted; {talk.terms.accepter_collateral:,} sat are yours to put in")


@click.command()
@click.argument("offer", metavar="OFFER")
@folder_option
@name_option(Role.ORACLE)
@click.option("--accepter", metavar="HEX", help="Where several have accepted: whose acceptance, by its identity key.")
@click.option("--fee-rate", type=float, metavar="SAT/VB", help="Of OracleStake [that of --fee-source].")
@with_app
def stake(app: App, offer: str, folder: Path, name: str, accepter: str | None, fee_rate: float | None) -> None:
    """Stake on a contract about an event that you announced.

    OracleStake is made and kept; `dlc sign --as oracle` sends it when everything is signed and the parties have locked
    their collateral.
    """
    mailbox = Folder(folder)
    with app.store() as store, app.node() as node:
        talk = _listen(store, mailbox, offer)
        rate = commands.fee_rate(app, node, fee_rate)
        held, envelope = _desk(app, store, node, Role.ORACLE, name).stake(talk, accepter, rate)
    mailbox.put(envelope)
    _said(app, held, envelope)
    say(f"a stake of {talk.terms.stake:,} sat is set aside")


@click.command()
@click.argument("contract")
@folder_option
@click.option(
    "--as",
    "role",
    type=click.Choice(["party", "oracle"]),
    default="party",
    show_default=True,
    help="Which of the three.",
)
@click.option("--name", help="Name of the key [default].")
@click.option("--once", is_flag=True, help="Do what can be done now, and end.")
@click.option("--poll", type=click.FloatRange(0.05), default=2.0, show_default=True, metavar="SECONDS", help="Pause.")
@with_app
def sign(app: App, contract: str, folder: Path, role: str, name: str | None, once: bool, poll: float) -> None:
    """Sign a contract with the other two.

    All three run this at the same time, until everything is signed, the parties have locked their collateral and the
    oracle its stake. Start it again at any time: nonces that were lost are drawn anew.
    """
    mailbox = Folder(folder)
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role(role), name)
        signing = Signing(_desk(app, store, node, Role(role), held.name), held, mailbox)
        told, progress = "", signing.progress
        while True:
            try:
                with working("signing"):
                    progress = signing.round()
            except NodeUnreachable as error:
                if once:
                    raise
                say(f"{error}; trying again")
            for fault in progress.faults:
                say(f"fault: {fault}")
            progress.faults.clear()
            if progress.waits_for and progress.waits_for != told:
                told = progress.waits_for
                say(f"waits for {told}")
            if once or progress.is_done:
                break
            time.sleep(poll)
    document = {"contract": held.session.hex(), "done": progress.is_done, "waits_for": progress.waits_for}
    emit(app, document, held.session.hex())


@click.command()
@click.argument("contract")
@click.argument("attestation", required=False)
@name_option(Role.PARTY)
@sending_options
@with_app
def settle(app: App, /, contract: str, attestation: str | None, name: str, **options: Any) -> None:
    """Make Settle of CONTRACT, as its oracle attested.

    ATTESTATION is the oracle's file. Where the oracle has had its bond back already, its attestation is on the chain:
    then none is needed, and LateSettle is made.
    """
    sending = take_sending(options)
    read = None if attestation is None else oracle_documents.read_attestation(read_file(attestation, "attestation"))
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.PARTY, name)
        bundle = book.load_bundle(store, held)
        standing = stand(node, bundle)
        outcome = _signed_outcome(held, standing)
        if read is not None:
            _check_hashing(bundle, read[1].value)
        if standing.released is not None:
            secret = moves.revealed(bundle, outcome, standing.released)
            wallet = _wallet(app, store, node, Role.PARTY, held, "LateSettle", sending)
            prepared = moves.late_settle(wallet, bundle, outcome, secret)
        elif read is None:
            raise BadInput("ATTESTATION", "none", "given: the oracle has not published it on the chain")
        else:
            wallet = _wallet(app, store, node, Role.PARTY, held, "Settle", sending)
            prepared = moves.settle(wallet, bundle, outcome, read[0])
        _finish(app, store, node, sending, held, prepared)


@click.command()
@click.argument("contract")
@name_option(Role.PARTY)
@sending_options
@with_app
def refund(app: App, /, contract: str, name: str, **options: Any) -> None:
    """Make Refund of CONTRACT: to each what it put in.

    Nodes take it from the refund time on.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.PARTY, name)
        bundle = book.load_bundle(store, held)
        wallet = _wallet(app, store, node, Role.PARTY, held, "Refund", sending)
        _finish(app, store, node, sending, held, moves.refund(wallet, bundle))


@click.command()
@click.argument("contract")
@name_option(Role.PARTY)
@sending_options
@with_app
def timeout(app: App, /, contract: str, name: str, **options: Any) -> None:
    """Make OracleTimeout of CONTRACT: an oracle is silent.

    It signed nothing in time. A share of its stake burns, the parties have the rest.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.PARTY, name)
        bundle = book.load_bundle(store, held)
        wallet = _wallet(app, store, node, Role.PARTY, held, "OracleTimeout", sending)
        _finish(app, store, node, sending, held, moves.oracle_timeout(wallet, bundle))


@click.command()
@click.argument("contract")
@name_option(Role.PARTY)
@sending_options
@with_app
def forfeit(app: App, /, contract: str, name: str, **options: Any) -> None:
    """Make Forfeit of CONTRACT: an oracle never attested.

    A share of its bond burns, the parties have the rest.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.PARTY, name)
        bundle = book.load_bundle(store, held)
        outcome = _signed_outcome(held, stand(node, bundle))
        wallet = _wallet(app, store, node, Role.PARTY, held, "Forfeit", sending)
        _finish(app, store, node, sending, held, moves.forfeit(wallet, bundle, outcome))


@click.command()
@click.argument("contract")
@name_option(Role.PARTY)
@sending_options
@with_app
def disprove(app: App, /, contract: str, name: str, **options: Any) -> None:
    """Prove on Bitcoin that the oracle of CONTRACT is wrong.

    What it opened is read from the chain. A share of its bond burns, the rest is yours.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.PARTY, name)
        bundle = book.load_bundle(store, held)
        standing = stand(node, bundle)
        outcome = _signed_outcome(held, standing)
        if standing.sign is None:
            raise RuntimeError("an outcome without OracleSign")
        _, assertion = moves.read_signed(bundle, standing.sign)
        with working("looking for the wrong step"):
            proof = moves.find_proof(bundle, outcome, assertion)
        if proof is None:
            raise BridgeError(f"disprove: {held}: what the oracle signed is right")
        wallet = _wallet(app, store, node, Role.PARTY, held, "Disprove", sending)
        prepared = moves.disprove(wallet, bundle, outcome, proof)
        _finish(app, store, node, sending, held, prepared, leaf=proof.leaf, reason=proof.reason)


@click.command("sign")
@click.argument("contract")
@click.argument("outcome", required=False)
@name_option(Role.ORACLE)
@click.option("--lie", is_flag=True, help="Sign OUTCOME although the computation finds another: it can be disproved.")
@sending_options
@with_app
def oracle_sign(app: App, /, contract: str, outcome: str | None, name: str, lie: bool, **options: Any) -> None:
    """Make OracleSign of CONTRACT: say on the chain what happened.

    Without OUTCOME, what your computation finds. It is opened to everyone, once; `dlc oracle attest` publishes what the
    parties settle with.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.ORACLE, name)
        bundle = book.load_bundle(store, held)
        terms = bundle.contract.terms
        if (standing := stand(node, bundle)).state != "staked":
            raise BridgeError(f"{held}: {standing.state}; OracleSign spends a stake that is there")
        values = _computed(bundle)
        found = moves.found_outcome(bundle.contract, values)
        chosen = found if outcome is None else moves.outcome_of(terms, _announced(bundle, outcome))
        if lie and app.network is not Network.REGTEST:
            raise BadInput("--lie", app.network, "used on regtest only")
        if chosen != found and not lie:
            expected = f"{_words(bundle, found)!r}, which the computation finds; anyone could disprove another"
            raise BadInput("OUTCOME", outcome, expected)
        wallet = _wallet(app, store, node, Role.ORACLE, held, "OracleSign", sending)
        bound = (*values, chosen.to_bytes(4, "big"))
        if sending.dry_run and not store.is_bound(bundle.contract.id, bound):
            placeholder = moves.open_values(bundle, chosen, secrets.token_bytes(SEED_SIZE), values)
            prepared = moves.oracle_sign(wallet, bundle, chosen, placeholder)
            commands.rehearse(app, store, node, sending, held.session, prepared)
            return
        store.bind_one_time_keys(bundle.contract.id, bound)
        seed = store.seed(Role.ORACLE, held.name).winternitz_seed()
        prepared = moves.oracle_sign(wallet, bundle, chosen, moves.open_values(bundle, chosen, seed, values))
        _finish(app, store, node, sending, held, prepared, outcome=_words(bundle, chosen))


@click.command()
@click.argument("contract")
@click.argument("announcement")
@name_option(Role.ORACLE)
@sending_options
@with_app
def release(app: App, /, contract: str, announcement: str, name: str, **options: Any) -> None:
    """Make Release of CONTRACT: your bond back, where nobody settled.

    It publishes your attestation to the outcome that you signed. ANNOUNCEMENT is the file.
    """
    sending = take_sending(options)
    said, hashing = oracle_documents.read_announcement(read_file(announcement, "announcement"))
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role.ORACLE, name)
        bundle = book.load_bundle(store, held)
        outcome = _signed_outcome(held, stand(node, bundle))
        signed = bundle.contract.terms.outcomes[outcome].oracles[0][1]
        attested = notary.attest(store, held.name, said, signed, hashing)
        wallet = _wallet(app, store, node, Role.ORACLE, held, "Release", sending)
        _finish(app, store, node, sending, held, moves.release(wallet, bundle, outcome, attested))


@click.command()
@click.argument("contract")
@click.option("--dir", "folder", type=click.Path(path_type=Path), metavar="DIR", help="Where an offer is to be found.")
@with_app
def show(app: App, contract: str, folder: Path | None) -> None:
    """Show a contract, or an offer in a folder.

    CONTRACT is the first digits of the offer's id; with --dir, look at it before you accept.
    """
    with app.store() as store, app.node() as node:
        if folder is not None:
            talk = _listen(store, Folder(folder), contract)
        else:
            talk = Talk(store, _any_of(store, contract).session)
        document: dict[str, Any] = {"contract": talk.session.hex()} | _terms(talk)
        for held in (one for one in book.everything(store) if one.session == talk.session):
            document |= {"party": str(held.party), "name": held.name, "state": "said"}
            if book.is_signed(store, held):
                bundle = book.load_bundle(store, held)
                standing = stand(node, bundle)
                document |= {"state": standing.state, "height": standing.height}
                document["computation_finds"] = _words(bundle, moves.found_outcome(bundle.contract, _computed(bundle)))
                if standing.outcome is not None:
                    document["signed"] = _words(bundle, standing.outcome)
    emit(app, document, "\n".join(f"{key:<20} {value}" for key, value in document.items()))


@click.command("list")
@with_app
def list_(app: App) -> None:
    """List the contracts with a stake of this data directory."""
    with app.store() as store:
        found = book.everything(store)
        rows = [
            {
                "contract": held.session.hex(),
                "name": held.name,
                "party": str(held.party),
                "signed": "yes" if book.is_signed(store, held) else "no",
            }
            for held in found
        ]
    shown = [(row["contract"][:12], row["name"], row["party"], row["signed"]) for row in rows]
    table = Table("Contracts with a stake", ("contract", "name", "party", "signed"), [*shown])
    emit_rows(app, {"contracts": rows}, table, "\n".join("  ".join(row) for row in shown))
    if not rows:
        say("no contract yet: `dlc offer` makes one")


COMMANDS: Final = (offer, accept, sign, settle, refund, disprove, timeout, forfeit, show, list_)
ORACLE_COMMANDS: Final = (stake, oracle_sign, release)


def _desk(app: App, store: Store, node: Node, role: Role, name: str) -> Desk:
    return Desk(store, node, role, name, app.fees.maximum)


def _find(store: Store, prefix: str, role: Role, name: str | None) -> Held:
    return book.find(store, prefix, name or "default", {one for one, other in ROLES.items() if other is role})


def _any_of(store: Store, prefix: str) -> Held:
    found = {held.session: held for held in book.everything(store) if held.session.hex().startswith(prefix.lower())}
    if len(prefix) < MIN_PREFIX or len(found) != 1:
        listed = ", ".join(sorted(held.session.hex()[:12] for held in book.everything(store))) or "none yet"
        raise BadInput("contract", prefix, f"the first {MIN_PREFIX} or more digits of one contract (known: {listed})")
    return next(iter(found.values()))


def _listen(store: Store, mailbox: Folder, prefix: str) -> Talk:
    """All that the folder has of the one offer whose id begins so."""
    post = mailbox.since("")
    found = {one.session for one in post.envelopes if one.session.hex().startswith(prefix.lower())}
    if len(prefix) < MIN_PREFIX or len(found) != 1:
        listed = ", ".join(sorted({one.session.hex()[:12] for one in post.envelopes})) or "none"
        raise BadInput("offer", prefix, f"the first {MIN_PREFIX} or more digits of one offer in the folder ({listed})")
    talk = Talk(store, found.pop())
    for refused in (*post.refused, *talk.receive(post.envelopes)):
        say(f"refused: {refused}")
    return talk


def _wallet(app: App, store: Store, node: Node, role: Role, held: Held, what: str, sending: Sending) -> Wallet:
    return commands.open_wallet(app, store, node, role, held.name, sending, held.session, what)


def _finish(app: App, store: Store, node: Node, sending: Sending, held: Held, prepared: Prepared, **more: Any) -> None:
    finish(app, store, node, sending, held.session, prepared, contract=held.session.hex(), **more)


def _said(app: App, held: Held, envelope: Envelope) -> None:
    emit(app, {"contract": held.session.hex(), "envelope": envelope.id.hex()}, held.session.hex())


def _signed_outcome(held: Held, standing: Standing) -> int:
    if standing.outcome is None:
        raise BridgeError(f"{held}: {standing.state}; the oracle has signed nothing on the chain")
    return standing.outcome


def _computed(bundle: Bundle) -> tuple[bytes, ...]:
    """The honest values of its computation."""
    program = bundle.graphs.case(0).program.inner
    return program.run(program.read_input(None)).values


def _words(bundle: Bundle, outcome: int) -> str:
    """What the oracle signs for an outcome: itself, or the first digits of a number."""
    return " ".join(bundle.contract.terms.outcomes[outcome].oracles[0][1])


def _check_hashing(bundle: Bundle, found: str) -> None:
    if found != bundle.contract.terms.hashing.value:
        raise BadInput("hashing of the attestation", found, f"{bundle.contract.terms.hashing.value}, as announced")


def _announced(bundle: Bundle, outcome: str) -> tuple[str, ...]:
    event = bundle.contract.terms.announcement.descriptor
    if isinstance(event, EnumEvent):
        return (outcome,)
    if not (outcome.isascii() and outcome.isdigit()):
        raise BadInput("OUTCOME", outcome, "a whole number")
    return event.outcomes(int(outcome))


def _terms(talk: Talk) -> dict[str, Any]:
    terms = talk.terms
    return {
        "event": terms.announcement.event_id,
        "oracle": terms.announcement.key.hex(),
        "offerer_collateral": terms.offerer_collateral,
        "accepter_collateral": terms.accepter_collateral,
        "oracle_fee": terms.oracle_fee,
        "stake": terms.stake,
        "burned_if_slashed": terms.burn,
        "program": terms.program,
        "outcomes": len(terms.outcomes),
        "maturity": _date(terms.announcement.maturity),
        "oracle_signs_by": _date(terms.sign_by),
        "dispute_window": terms.dispute_window,
        "grace_window": terms.grace_window,
        "refund_from": _date(terms.refund),
    }


def _date(moment: int) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="minutes")
