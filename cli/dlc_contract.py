"""`bitvm-bridge dlc offer`, `accept`, `sign`, `settle` and the rest: contracts whose oracle has a stake."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc import notary, oracle_documents
from bitvm_bridge.dlc.contract import book, moves
from bitvm_bridge.dlc.contract import closing as closings
from bitvm_bridge.dlc.contract.book import Held
from bitvm_bridge.dlc.contract.contract import Contract
from bitvm_bridge.dlc.contract.description import read_description
from bitvm_bridge.dlc.contract.desk import Desk, transfer_of
from bitvm_bridge.dlc.contract.rounds import Closer, Rounds, Signing, closing_of
from bitvm_bridge.dlc.contract.signing import Bundle
from bitvm_bridge.dlc.contract.standing import Standing, stand
from bitvm_bridge.dlc.contract.talk import Talk
from bitvm_bridge.dlc.oracle import EnumEvent
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.mailbox import Folder
from bitvm_bridge.keys import SEED_SIZE, Role, SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party
from bitvm_bridge.records import MIN_PREFIX
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared, Wallet
from cli import sending as commands
from cli.app import STDOUT, App, emit, read_file, say, with_app, write_secret
from cli.keys import DEFAULT_NAME, name_option
from cli.sending import Sending, finish, sending_options, take_sending
from cli.table import Table, emit_rows, working

F = TypeVar("F", bound=Callable[..., Any])
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


def signing_options(command: F) -> F:
    """--dir, --as, --name, --once and --poll: for what several sign at the same time."""
    for option in (
        click.option(
            "--poll", type=click.FloatRange(0.05), default=2.0, show_default=True, metavar="SECONDS", help="Pause."
        ),
        click.option("--once", is_flag=True, help="Do what can be done now, and end."),
        click.option("--name", help="Name of the key [default]."),
        click.option(
            "--as",
            "role",
            type=click.Choice(["party", "oracle"]),
            default="party",
            show_default=True,
            help="Who you are in it.",
        ),
        folder_option,
    ):
        command = option(command)
    return command


@click.command()
@click.argument("contract")
@signing_options
@click.option("--price", type=int, metavar="SAT", help="Where your position changes hands: what you must be paid.")
@click.option("--secret", metavar="FILE", help="With a transfer under a lock: its secret in hex, `-` for stdin.")
@with_app
def sign(
    app: App,
    contract: str,
    folder: Path,
    role: str,
    name: str | None,
    once: bool,
    poll: float,
    price: int | None,
    secret: str | None,
) -> None:
    """Sign a contract with the others.

    All run this at the same time, until everything is signed, the parties have locked their collateral and the oracle
    its stake. Start it again at any time: nonces that were lost are drawn anew. A transfer is signed so, too, by all of
    both contracts.
    """
    mailbox = Folder(folder)
    known = None if secret is None else _read_secret(secret)
    with app.store() as store, app.node() as node:
        desk = _desk(app, store, node, Role(role), name or DEFAULT_NAME)
        rounds = _rounds(desk, mailbox, contract, price, known)
        done = _until_done(rounds, once, poll)
    document = {"contract": rounds.talk_id.hex(), "done": done, "waits_for": rounds.progress.waits_for}
    emit(app, document, rounds.talk_id.hex())


def _read_secret(path: str) -> SecretKey:
    """From a file, in hex; it is never on the command line."""
    try:
        return SecretKey(bytes.fromhex(read_file(path, "secret").decode().strip()))
    except (ValueError, BadInput):
        raise BadInput("--secret", path, "a file with 32 bytes in hex") from None


def _rounds(desk: Desk, mailbox: Folder, prefix: str, price: int | None, secret: SecretKey | None) -> Rounds:
    own = [one for one in book.everything(desk.store) if (one.role, one.name) == (desk.role, desk.name)]
    if any(one.session.hex().startswith(prefix.lower()) for one in own):
        return Signing(desk, book.find(desk.store, prefix, desk.role, desk.name), mailbox, secret)
    talk = _listen(desk.store, mailbox, prefix)
    if talk.transfer is None:
        raise BadInput("contract", prefix, f"one of {desk.name!r}, or a transfer of a position in one")
    if not desk.leaves(talk):
        return Signing(desk, desk.stay(talk), mailbox, secret)
    if price is None:
        raise BadInput("--price", "none", "given: your position changes hands, and you are to be paid for it")
    held = desk.check_leaving(talk, price)
    probe = Rounds(desk, held, mailbox)
    closing = closing_of(probe, transfer_of(talk), talk.agreement(b""))
    return Closer(desk, held, mailbox, closing)


def _until_done(rounds: Rounds, once: bool, poll: float) -> bool:
    told = ""
    while True:
        try:
            with working("signing"):
                rounds.round()
        except NodeUnreachable as error:
            if once:
                raise
            say(f"{error}; trying again")
        progress = rounds.progress
        for fault in progress.faults:
            say(f"fault: {fault}")
        progress.faults.clear()
        if progress.waits_for and progress.waits_for != told:
            told = progress.waits_for
            say(f"waits for {told}")
        if once or progress.is_done:
            return progress.is_done
        time.sleep(poll)


@click.command()
@click.argument("contract")
@signing_options
@click.option("--offerer", type=int, required=True, metavar="SAT", help="What the offerer is paid.")
@click.option("--oracle", type=int, default=0, metavar="SAT", help="What the oracle is paid beside its stake [0].")
@click.option("--without-oracle", is_flag=True, help="Leave the stake alone: the oracle takes it back by Release.")
@click.option("--broadcast", is_flag=True, help="Send it when all have signed.")
@click.option("--fee-rate", type=float, metavar="SAT/VB", help="Fee rate [that of --fee-source].")
@with_app
def close(
    app: App,
    contract: str,
    folder: Path,
    role: str,
    name: str | None,
    once: bool,
    poll: float,
    offerer: int,
    oracle: int,
    without_oracle: bool,
    broadcast: bool,
    fee_rate: float | None,
) -> None:
    """Close a contract by agreement.

    Every signer runs this at the same time with the same amounts: that is how it agrees. The accepter has the rest of
    the collateral, the oracle its stake. One of them sends it with --broadcast.

    \b
    bitvm-bridge dlc close CONTRACT --dir shared/ --offerer 5000000 --broadcast
    bitvm-bridge dlc close CONTRACT --dir shared/ --offerer 5000000 --as oracle
    """
    with app.store() as store, app.node() as node:
        held = _find(store, contract, Role(role), name)
        bundle = book.load_bundle(store, held)
        with_stake = stand(node, bundle).state == "staked" and not without_oracle
        agreed = closings.close(bundle.graphs, offerer, with_stake, oracle)
        closer = Closer(_desk(app, store, node, Role(role), held.name), held, Folder(folder), agreed)
        done = _until_done(closer, once, poll)
        document = {"contract": held.session.hex(), "txid": agreed.tx.txid_hex, "done": done}
        if not done or closer.part.signatures is None:
            emit(app, document, agreed.tx.txid_hex)
            return
        sending = Sending(broadcast, False, None, fee_rate)
        wallet = _wallet(app, store, node, Role(role), held, "Close", sending)
        _finish(app, store, node, sending, held, agreed.prepared(wallet, closer.part.signatures))


@click.command()
@click.argument("contract")
@folder_option
@name_option(Role.PARTY)
@click.option(
    "--of", "leaves", type=click.Choice(["offerer", "accepter"]), required=True, help="Whose position you are to have."
)
@click.option("--price", type=int, required=True, metavar="SAT", help="What you pay that party for it.")
@click.option("--without-oracle", is_flag=True, help="Leave the old stake alone: the oracle takes it back by Release.")
@click.option(
    "--lock", "point", metavar="POINT", help="Lock the end of the old contract with a point: a swap (33 bytes in hex)."
)
@with_app
def transfer(
    app: App, contract: str, folder: Path, name: str, leaves: str, price: int, without_oracle: bool, point: str | None
) -> None:
    """Take a party's position in a contract over.

    One transaction ends the old contract, pays that party and funds a new one about the same. CONTRACT is the old one;
    what was said of it is in the folder. Your coins are set aside. Then the oracle stakes on the new contract (`dlc
    oracle stake`), and all of both contracts run `dlc sign` on it.

    Two transfers under one --lock (`dlc lock`) are a swap: whoever knows the secret completes one, and thereby tells it
    to whoever completes the other (`dlc secret`).
    """
    mailbox = Folder(folder)
    locked = None if point is None else from_hex("--lock", point, 33)
    with app.store() as store, app.node() as node:
        talk = _listen(store, mailbox, contract)
        desk = _desk(app, store, node, Role.PARTY, name)
        old = talk.contract()
        if old is None:
            raise BadInput("contract", contract, "one whose offer, acceptance and stake are in the folder")
        held, envelope = desk.transfer(talk, Party(leaves), price, _is_staked(node, old, without_oracle), locked)
    mailbox.put(envelope)
    _said(app, held, envelope)
    say(f"asked for the position of the {leaves}, for {price:,} sat")


@click.command()
@click.option("--out", metavar="FILE", required=True, help="Where to write the secret in hex: a new file.")
@with_app
def lock(app: App, out: str) -> None:
    """Make a point to lock a swap with.

    It is printed; the secret, which completes what is locked, goes to a file that only you can read.
    """
    made = SecretKey.generate()
    write_secret(out, made.reveal().hex().encode() + b"\n")
    emit(app, {"point": made.public.hex(), "file": out}, made.public.hex())


@click.command()
@click.argument("contract")
@folder_option
@name_option(Role.PARTY)
@click.option("--out", metavar="FILE", required=True, help="Where to write the secret in hex: a new file.")
@with_app
def secret(app: App, contract: str, folder: Path, name: str, out: str) -> None:
    """Take a swap's secret from the chain.

    CONTRACT is the transfer that was completed with it.
    """
    mailbox = Folder(folder)
    with app.store() as store, app.node() as node:
        talk = _listen(store, mailbox, contract)
        desk = _desk(app, store, node, Role.PARTY, name)
        held = book.known(store, talk.session, Role.PARTY, name) or desk.held_in_old(transfer_of(talk))
        rounds = Rounds(desk, held, mailbox)
        closing = closing_of(rounds, transfer_of(talk), talk.agreement(b""))
        closer = Closer(desk, held, mailbox, closing, takes_part=False)
        closer.round()
        found = node.find(closing.tx.txid)
        if closer.part.signatures is None or found is None:
            raise BridgeError(f"{closing.tx.txid_hex}: not on the chain, or not signed by all that the folder has")
        told = closing.revealed(closer.part.signatures, found[0])
    write_secret(out, told.reveal().hex().encode() + b"\n")
    emit(app, {"contract": talk.session.hex(), "file": out}, out)


def _is_staked(node: Node, old: Contract, without_oracle: bool) -> bool:
    return node.output(old.oracle.stake) is not None and not without_oracle


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
        if node.output(bundle.contract.oracle.stake) is None:
            raise BridgeError(f"{held}: {stand(node, bundle).state}; OracleSign spends a stake that is there")
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


COMMANDS: Final = (
    offer,
    accept,
    sign,
    close,
    transfer,
    lock,
    secret,
    settle,
    refund,
    disprove,
    timeout,
    forfeit,
    show,
    list_,
)
ORACLE_COMMANDS: Final = (stake, oracle_sign, release)


def _desk(app: App, store: Store, node: Node, role: Role, name: str) -> Desk:
    return Desk(store, node, role, name, app.fees.maximum)


def _find(store: Store, prefix: str, role: Role, name: str | None) -> Held:
    return book.find(store, prefix, role, name or DEFAULT_NAME)


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
