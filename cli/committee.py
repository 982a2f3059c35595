"""`bitvm-bridge committee`: members who sign every graph in advance."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import click

from bitvm_bridge import keyring, records
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, SecretKey, Seed, parse_address
from bitvm_bridge.linter import check
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import committee as role
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import MAX_MEMBERS, Signer, sign_together
from bitvm_bridge.store import Store
from cli.app import App, emit, read_file, say, with_app
from cli.disputed import bundles_of, load_instance
from cli.keys import name_option
from cli.sending import finish, open_wallet, rehearse, sending_options, take_sending
from cli.table import progress


@click.group()
def committee() -> None:
    """Pre-sign what operators may do, then confirm deposits.

    \b
    bitvm-bridge committee keygen alice bob carol
    bitvm-bridge committee sign INSTANCE
    bitvm-bridge committee confirm DEPOSIT
    """


@committee.command()
@click.argument("names", nargs=-1, required=True)
@with_app
def keygen(app: App, names: tuple[str, ...]) -> None:
    """Make a key for each of the named members.

    Every deposit gets fresh keys of its own, which `committee forget` deletes.
    """
    with app.store() as store:
        members = [*store.seed_names(Role.COMMITTEE), *names]
        if len(set(members)) != len(members) or len(members) > MAX_MEMBERS:
            raise BadInput("member names", " ".join(names), f"new and distinct, {MAX_MEMBERS} members at most")
        for name in names:
            store.add_seed(name, Seed.generate(Role.COMMITTEE))
    emit(app, {"members": members}, "\n".join(members))


def members_for(store: Store, request: Request) -> dict[str, SecretKey]:
    """The committee of this data directory with its keys for one deposit, new ones not kept yet.

    Raises BadInput where it has no members.
    """
    keys = keyring.member_keys(store, request.id)
    if not keys:
        raise BadInput("committee", "no members", "at least one; run `committee keygen NAME…`")
    return keys


def sign_all(store: Store, setup: DepositSetup, digests: Mapping[str, bytes]) -> dict[str, bytes]:
    """A MuSig2 session of every member; the store records each nonce before it signs."""
    keys = {name: keyring.member_key(store, name, setup.request.id) for name in setup.committee.names}
    signers = [Signer(setup.committee, name, key, store.nonce_guard(key.public)) for name, key in keys.items()]
    return sign_together(signers, digests, partial(progress, title="members sign"))


@committee.command()
@click.argument("instance")
@with_app
def sign(app: App, instance: str) -> None:
    """Check the graph of INSTANCE and pre-sign it.

    Every rule of the protocol is checked on the graph; then the members sign every transaction that they owe it.
    """
    with app.store() as store:
        setup = load_instance(store, instance)
        challenge = store.get(records.CHALLENGE, setup.id)
        if challenge is None:
            raise BadInput("instance", instance, "one whose operator has signed Challenge")
        check(setup.graph)
        signatures = sign_all(store, setup.deposit, role.bundle_digests(setup))
        bundle = role.assemble(setup, signatures, challenge)
        records.save_bundle(store, bundle)
    document = {
        "instance": setup.id.hex(),
        "members": len(setup.deposit.committee.names),
        "signatures": len(signatures),
    }
    emit(app, document, f"{len(signatures)} signatures of {document['members']} members for {setup.id.hex()}")


@committee.command()
@click.argument("deposit")
@with_app
def confirm(app: App, deposit: str) -> None:
    """Sign PegIn of DEPOSIT, last of all.

    The signature is given only when DEPOSIT has an instance and the bundle of every instance verifies.
    """
    with app.store() as store:
        setup = records.load_deposit(store, deposit)
        bundles = bundles_of(store, setup)
        signatures = sign_all(store, setup, role.peg_in_digest(setup, bundles))
        records.save_peg_in(store, setup, signatures[role.PEG_IN])
    txid = setup.graph["PegIn"].tx.txid_hex
    emit(app, {"deposit": setup.request.id.hex(), "peg_in": txid, "instances": len(bundles)}, txid)
    say(f"PegIn is signed; instances verified: {len(bundles)}")


@committee.command()
@click.argument("deposit")
@click.option("--member", "members", multiple=True, metavar="NAME", help="Whose key [everyone's here].")
@click.option("--force", is_flag=True, help="Also before PegIn has confirmed, or while an exit has no signed instance.")
@with_app
def forget(app: App, deposit: str, members: tuple[str, ...], force: bool) -> None:
    """Delete the members' keys for DEPOSIT.

    One member that does is enough: from then on the vault moves only as signed in advance, or by the council. So it
    comes last, when PegIn has confirmed and every exit has a bundle that verifies. It is recorded and cannot be undone;
    a cooperative payout is no longer possible.

    \b
    bitvm-bridge committee forget DEPOSIT --member alice
    """
    with app.store() as store, app.node() as node:
        setup = records.load_deposit(store, deposit)
        if not force:
            role.peg_in_digest(setup, bundles_of(store, setup))
            if node.find(setup.graph["PegIn"].tx.txid) is None:
                raise BridgeError("PegIn: not confirmed yet; a key that is deleted now can sign it no more (--force)")
        deleted = keyring.delete_member_keys(store, setup, members, node.height())
    rows = [{**_deleted(item), "derived": item.derived} for item in deleted]
    lines = [f"{row['member']}  {row['key']}  deleted {row['deleted']}, block {row['height']}" for row in rows]
    emit(app, {"deposit": setup.request.id.hex(), "deleted": rows}, "\n".join(lines))
    for item in deleted:
        if item.derived:
            say(f"{item.key.member}: made by an older version, this key comes from a seed; the seed still yields it")


def _deleted(item: keyring.Deleted) -> dict[str, str | int | None]:
    key = item.key
    return {"member": key.member, "key": key.public.hex(), "deleted": key.deleted, "height": key.height}


@committee.command("cooperative-payout")
@click.argument("deposit")
@click.option("--to", required=True, metavar="ADDRESS", help="Who is paid all that the exit holds.")
@click.option(
    "--exit", "exit_number", type=int, default=0, metavar="NUMBER", help="Which vault output of the deposit [0]."
)
@name_option(Role.WITHDRAWER)
@sending_options
@with_app
def cooperative_payout(app: App, /, deposit: str, to: str, exit_number: int, name: str, **options: Any) -> None:
    """Make CooperativePayout, which pays out an exit.

    Every member signs; no operator is needed. A dry run signs nothing.
    """
    sending = take_sending(options)
    script = parse_address(to, app.network, "--to")
    with app.store() as store, app.node() as node:
        setup = records.load_deposit(store, deposit)
        payout = role.Payout(setup, script, exit_number)
        wallet = open_wallet(app, store, node, Role.WITHDRAWER, name, sending, setup.request.id, payout.declared.name)
        if sending.dry_run:
            rehearse(app, store, node, sending, setup.request.id, payout.rehearse(wallet))
            return
        signatures = sign_all(store, setup, payout.digests)
        prepared = payout.finish(wallet, signatures[payout.label])
        finish(app, store, node, sending, setup.request.id, prepared)


@committee.command()
@click.argument("bundle", type=click.Path(dir_okay=False, allow_dash=True))
@click.option("--instance", help="The instance it must belong to [the one it names].")
@with_app
def verify(app: App, bundle: str, instance: str | None) -> None:
    """Check every field and signature of a BUNDLE file.

    The graph is rebuilt from the bundle's public inputs; nothing in it is taken on trust.
    """
    expected = None
    if instance is not None:
        with app.store() as store:
            expected = load_instance(store, instance)
    found = Bundle.from_json(read_file(bundle, "bundle"), expected)
    check(found.setup.graph)
    count = len(found.signatures)
    emit(app, {"instance": found.setup.id.hex(), "signatures": count, "ok": True}, f"{count} signatures verify")
