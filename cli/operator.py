"""`bitvm-bridge operator`: pay withdrawals, claim them back, answer challenges."""

import secrets
from dataclasses import dataclass
from typing import Any

import click
from click.core import ParameterSource

from bitvm_bridge import actions, keyring, records, unsigned
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import SEED_SIZE, Role, SecretKey
from bitvm_bridge.linter import check
from bitvm_bridge.params import Network
from bitvm_bridge.program import Program
from bitvm_bridge.roles import operator as role
from bitvm_bridge.roles import presigned
from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.setup import InstanceSetup, bind
from bitvm_bridge.sources.uris import open_proofs
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared
from bitvm_bridge.watch.proofs import ProofSource
from cli import lies as lying
from cli.app import STDOUT, App, read_file, say, with_app, write_file
from cli.disputed import (
    NO_FILES,
    Files,
    document_for,
    load_bundle,
    load_instance,
    program_options,
    proof_options,
    read_files,
    take_program,
)
from cli.join_many import join_many
from cli.keys import add_key_commands, name_option
from cli.peg_outs import peg_outs
from cli.sending import finish, open_wallet, rehearse, sending_options, show, take_sending


@click.group()
def operator() -> None:
    """Pay withdrawals from your own coins, then claim the deposit.

    \b
    bitvm-bridge operator keygen
    bitvm-bridge operator join DEPOSIT --broadcast
    bitvm-bridge operator peg-out INSTANCE --psbt withdrawal.psbt --broadcast
    bitvm-bridge operator kick-off INSTANCE --broadcast
    bitvm-bridge operator happy-take INSTANCE --broadcast
    """


add_key_commands(operator, Role.OPERATOR)
operator.add_command(join_many)
operator.add_command(peg_outs)


@operator.command()
@click.argument("deposit")
@name_option(Role.OPERATOR)
@click.option(
    "--exit",
    "exit_number",
    type=int,
    default=0,
    metavar="NUMBER",
    help="Which vault output of the deposit to claim [0].",
)
@program_options()
@sending_options
@with_app
def join(app: App, /, deposit: str, name: str, exit_number: int, **options: Any) -> None:
    """Make ClaimFunding, which sets your claim coin aside.

    This creates your instance of DEPOSIT and fixes the txid of its KickOff, so that the committee can sign.

    \b
    bitvm-bridge operator join DEPOSIT --program hash-chain:8:1 --broadcast
    bitvm-bridge operator join DEPOSIT --program groth16 --vk verification_key.json --broadcast
    """
    sending = take_sending(options)
    spec = take_program(options)
    with app.store() as store, app.node() as node:
        setup = records.load_deposit(store, deposit)
        seed = store.seed(Role.OPERATOR, name)
        owner = bind(setup, keyring.wallet_key(store, Role.OPERATOR, name).xonly, spec, exit_number)
        wallet = open_wallet(app, store, node, Role.OPERATOR, name, sending, owner, "ClaimFunding")
        records.refuse_second(store, node, owner, "ClaimFunding")
        prepared, instance = role.claim_funding(wallet, setup, spec, seed.winternitz_seed(), exit_number)
        check(instance.graph)

        def keep() -> None:
            records.save_instance(store, instance, replace=True)
            if isinstance(wallet.key, SecretKey):
                store.put(records.CHALLENGE, instance.id, role.sign_challenge(instance, wallet.key))
            else:
                store.delete(records.CHALLENGE, instance.id)

        finish(app, store, node, sending, instance.id, prepared, keep=keep, instance=instance.id.hex())


@operator.command("sign-challenge")
@click.argument("instance")
@click.option("--psbt-out", default="-", metavar="FILE", help="What the wallet must sign, in base64 [-].")
@with_app
def sign_challenge(app: App, instance: str, psbt_out: str) -> None:
    """Write the half of Challenge that you must sign.

    Only where another wallet holds your key: it lets anyone challenge INSTANCE, and the committee signs nothing before
    `psbt finish` has it. It is signed SINGLE|ANYONECANPAY, which Bitcoin Core has to be told.

    \b
    bitvm-bridge operator sign-challenge INSTANCE --psbt-out challenge.psbt
    bitcoin-cli walletprocesspsbt "$(cat challenge.psbt)" true "SINGLE|ANYONECANPAY"
    """
    with app.store() as store:
        setup = load_instance(store, instance)
        prepared = Prepared(records.CHALLENGE, role.unsigned_challenge(setup))
        key = unsigned.signer(store, prepared)
        unsigned.hold(store, unsigned.Unsigned(setup.id, key.xonly, prepared))
    (question,) = unsigned.questions(prepared, key)
    document = {"instance": setup.id.hex(), "signer": key.xonly.hex()}
    if psbt_out != STDOUT:
        write_file(psbt_out, question.to_base64().encode() + b"\n")
    show(app, document, psbt_out, "psbt", [question.to_base64()])


@operator.command("peg-out")
@click.argument("instance")
@name_option(Role.OPERATOR)
@click.option("--psbt", required=True, metavar="FILE", help="The withdrawer's half.")
@sending_options
@with_app
def peg_out(app: App, /, instance: str, name: str, psbt: str, **options: Any) -> None:
    """Make PegOut, which pays a withdrawer.

    It names the INSTANCE from which you will claim the money back.
    """
    sending = take_sending(options)
    text = read_file(psbt, "--psbt").decode("ascii", "replace")
    with app.store() as store, app.node() as node:
        setup = _own_instance(store, instance, name)
        wallet = open_wallet(app, store, node, Role.OPERATOR, name, sending, setup.id, "PegOut")
        prepared = role.peg_out(wallet, setup, Withdrawal.from_psbt(text))
        finish(app, store, node, sending, setup.id, prepared)


@operator.command("kick-off")
@click.argument("instance")
@name_option(Role.OPERATOR)
@sending_options
@with_app
def kick_off(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make KickOff, which claims the deposit of INSTANCE.

    It puts your bond at risk. From now on the windows run.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        bundle = load_bundle(store, instance)
        _check_owner(store, bundle.setup, name)
        wallet = open_wallet(app, store, node, Role.OPERATOR, name, sending, bundle.setup.id, "KickOff")
        finish(app, store, node, sending, bundle.setup.id, role.kick_off(wallet, bundle.setup))


@operator.command("assert")
@click.argument("instance")
@name_option(Role.OPERATOR)
@proof_options
@click.option(
    "--proof-source",
    envvar="BITVM_BRIDGE_PROOFS",
    show_envvar=True,
    metavar="SOURCE",
    help="In place of a file: who has the proof, as in `watch`: a folder with ID.json, exec:COMMAND, or http(s)://…",
)
@click.option("--lie", metavar="CHUNK", help="Regtest only: assert a wrong result for this chunk.")
@click.option("--lie-raw", metavar="VALUE", help="Regtest only: assert this raw value with its lowest bit changed.")
@click.option(
    "--force-invalid",
    is_flag=True,
    help="DANGEROUS, regtest only: assert a proof that does not verify. Anyone can then take your bond.",
)
@sending_options
@with_app
def assert_(
    app: App,
    /,
    instance: str,
    name: str,
    proof_source: str | None,
    lie: str | None,
    lie_raw: str | None,
    force_invalid: bool,
    **options: Any,
) -> None:
    """Make Assert, which answers the challenge of INSTANCE.

    It reveals the result of every step under one-time keys. Each key signs one message, ever: what it signs is on
    record before it does, and another message is refused. A proof that does not verify is refused before that. A dry
    run signs nothing.

    \b
    bitvm-bridge operator assert INSTANCE --proof proof.json --public public.json --broadcast
    bitvm-bridge operator assert INSTANCE --proof-source exec:prove --broadcast
    """
    sending = take_sending(options)
    lies = _Lies(lie, lie_raw, force_invalid)
    lies.check(app.network)
    files = read_files(options)
    source = _proof_source(proof_source, files)
    with app.store() as store:
        setup = _own_instance(store, instance, name)
        document = document_for(setup.program.name, files) if source is None else _proof_of(setup, source)
        values = lies.values(setup.program, document)
        with app.node() as node:
            wallet = open_wallet(app, store, node, Role.OPERATOR, name, sending, setup.id, "Assert")
            if sending.dry_run and not store.is_bound(setup.id, values):
                placeholder = asserting.sign(setup, secrets.token_bytes(SEED_SIZE), values)
                rehearse(app, store, node, sending, setup.id, role.reveal(wallet, setup, placeholder))
                return
            store.bind_one_time_keys(setup.id, values)
            assertion = asserting.sign(setup, store.seed(Role.OPERATOR, name).winternitz_seed(), values)
            finish(app, store, node, sending, setup.id, role.reveal(wallet, setup, assertion))


def _proof_source(text: str | None, files: Files) -> ProofSource | None:
    """None where a file is given, which goes before what the environment says. Raises BadInput for both as options."""
    if text is None or files == NO_FILES:
        return None if text is None else open_proofs(text, say, "--proof-source")
    if click.get_current_context().get_parameter_source("proof_source") is not ParameterSource.ENVIRONMENT:
        raise BadInput("--proof-source", "given", "used together with --proof")
    return None


def _proof_of(setup: InstanceSetup, source: ProofSource) -> bytes | None:
    """What a source has. Raises BridgeError where the program needs a proof, and there is none yet."""
    document = source.proof(setup.id)
    if document is None and setup.program.raw_count:
        raise BridgeError("Assert: --proof-source has no proof of this instance yet; ask it again later")
    return document


@dataclass(frozen=True)
class _Lies:
    """What an operator wants to assert against its own interest: nothing, as a rule."""

    chunk: str | None
    raw: str | None
    force_invalid: bool

    def check(self, network: Network) -> None:
        """Raises BadInput for two lies at once, and outside regtest."""
        given = {"--lie": self.chunk, "--lie-raw": self.raw, "--force-invalid": self.force_invalid or None}
        names = [option for option, value in given.items() if value is not None]
        if names and network is not Network.REGTEST:
            raise BadInput(names[0], network, "used on regtest only")
        if len(names) > 1:
            raise BadInput(names[1], "given", f"used together with {names[0]}")

    def values(self, program: Program, document: bytes | None) -> tuple[bytes, ...]:
        """What to commit to. Raises VerificationFailed for a proof that does not verify, unless that is wanted."""
        if self.raw is None and not self.force_invalid:
            values = actions.honest_values(program, document)
            return values if self.chunk is None else lying.lie(program, values, self.chunk)
        raw = program.read_input(document)
        run = program.run(raw if self.raw is None else lying.lie_raw(program, raw, self.raw))
        if run.failed is None and self.raw is not None:
            raise BadInput("--lie-raw", self.raw, "a value whose lowest bit makes the proof invalid")
        if run.failed is None:
            raise BadInput("--force-invalid", "given", "needed: the proof verifies")
        return run.values


@operator.command("happy-take")
@click.argument("instance")
@name_option(Role.OPERATOR)
@sending_options
@with_app
def happy_take(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make HappyTake, when nobody challenged INSTANCE.

    It takes the deposit and your bond. Valid when the challenge window is over; confirm it before the assert window
    is over too, for then an AssertTimeout could take the bond.
    """
    _take(app, instance, name, options, "HappyTake")


@operator.command("unhappy-take")
@click.argument("instance")
@name_option(Role.OPERATOR)
@sending_options
@with_app
def unhappy_take(app: App, /, instance: str, name: str, **options: Any) -> None:
    """Make UnhappyTake, when nobody disproved your Assert.

    It takes the deposit of INSTANCE and your bond. Valid when the disprove window is over.
    """
    _take(app, instance, name, options, "UnhappyTake")


def _take(app: App, instance: str, name: str, options: dict[str, Any], what: str) -> None:
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        bundle = load_bundle(store, instance)
        wallet = open_wallet(app, store, node, Role.OPERATOR, name, sending, bundle.setup.id, what)
        finish(app, store, node, sending, bundle.setup.id, presigned.take(wallet, bundle, what))


def _own_instance(store: Store, instance: str, name: str) -> InstanceSetup:
    setup = load_instance(store, instance)
    _check_owner(store, setup, name)
    return setup


def _check_owner(store: Store, setup: InstanceSetup, name: str) -> None:
    if keyring.wallet_key(store, Role.OPERATOR, name).xonly != setup.operator:
        raise BadInput("--name", name, f"the operator of instance {setup.id.hex()[:12]}")
