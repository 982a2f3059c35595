"""`bitvm-bridge operator join-many`: instances of many deposits in one go."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from typing import IO, Any, Final

import click
import msgspec

from bitvm_bridge import batch, keyring, records
from bitvm_bridge.batch import Made
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.program import ProgramSpec
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.setup import DepositSetup, InstanceSetup, bind
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Prepared
from bitvm_bridge.workers import cluster, processes
from cli.app import App, say, with_app
from cli.disputed import program_options, take_program
from cli.keys import name_option
from cli.sending import finish, open_wallet, sending_options, take_sending
from cli.table import working

CLAIM_FUNDING: Final = "ClaimFunding"
MAX_INSTANCES: Final = 2_000
"""Outputs of one ClaimFunding: so many keep it under the relay limit."""

Exit = tuple[DepositSetup, int]


def worker_options(command: Any) -> Any:
    """--workers and --scheduler."""
    for option in (
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Hash scripts on the Dask cluster with this scheduler; secrets and signatures stay here.",
        ),
        click.option("--workers", type=int, default=1, show_default=True, help="Processes to use on this machine."),
    ):
        command = option(command)
    return command


@contextmanager
def executors(workers: int, scheduler: str | None) -> Iterator[tuple[Executor, Executor]]:
    """Who sees secrets, and who sees public inputs alone: the same processes unless there is a cluster."""
    with processes(workers) as local:
        if scheduler is None:
            yield local, local
            return
        with cluster(scheduler) as public:
            yield local, public


@click.command("join-many")
@click.argument("deposits", nargs=-1, required=True)
@name_option(Role.OPERATOR)
@worker_options
@program_options()
@sending_options
@with_app
def join_many(
    app: App, /, deposits: tuple[str, ...], name: str, workers: int, scheduler: str | None, **options: Any
) -> None:
    """Make one ClaimFunding for every exit of DEPOSITS.

    As `join` does for one exit: each gets a claim coin and an instance that the committee can sign. Exits of which you
    have an instance are left out. Nothing is kept unless all are made.

    \b
    bitvm-bridge operator join-many DEPOSIT DEPOSIT --workers 4 --broadcast
    bitvm-bridge operator join-many DEPOSIT --scheduler tcp://10.0.0.5:8786 --broadcast
    """
    sending = take_sending(options)
    spec = take_program(options)
    with app.store() as store, app.node() as node, tempfile.TemporaryFile() as spool:
        key = keyring.wallet_key(store, Role.OPERATOR, name)
        if not isinstance(key, SecretKey):
            raise BadInput("--name", name, "an operator who can sign here; else join one by one")
        exits = _open_exits(store, deposits, key.xonly, spec)
        owner = bind(exits[0][0], key.xonly, spec, exits[0][1])
        wallet = open_wallet(app, store, node, Role.OPERATOR, name, sending, owner, CLAIM_FUNDING)
        script = wallet_script(key.xonly)
        funded = wallet.pay([TxOut(batch.claim_amount(deposit, spec), script) for deposit, _ in exits])
        seed = store.seed(Role.OPERATOR, name).winternitz_seed()
        wanted = batch.orders(exits, key.xonly, spec, funded.tx.txid, seed)
        ids = []
        with executors(workers, scheduler) as (local, public), working("making instances"):
            for made in batch.set_up(wanted, local, public, workers):
                ids.append(made.id.hex())
                _write(spool, made)
        say(f"{len(ids):,} instances made")
        finish(
            app,
            store,
            node,
            sending,
            owner,
            Prepared(CLAIM_FUNDING, funded),
            keep=_keeping(store, spool, key),
            instances=ids,
        )


def _open_exits(store: Store, deposits: Sequence[str], operator: bytes, spec: ProgramSpec) -> list[Exit]:
    """Every exit of the deposits without an instance of this operator and program. Raises BadInput, BridgeError."""
    setups = {setup.request.id: setup for setup in (records.load_deposit(store, prefix) for prefix in deposits)}
    exits = [
        (setup, number)
        for setup in setups.values()
        for number in range(setup.request.params.exits)
        if store.get(records.INSTANCE, bind(setup, operator, spec, number)) is None
    ]
    if not exits:
        raise BridgeError(f"{CLAIM_FUNDING}: every exit of these deposits has an instance of yours")
    if len(exits) > MAX_INSTANCES:
        raise BadInput("deposits", f"{len(exits):,} exits", f"at most {MAX_INSTANCES:,} at once")
    return exits


def _write(spool: IO[bytes], made: Made) -> None:
    """One instance a line: all of it is public."""
    spool.write(msgspec.json.encode((made.setup.decode(), made.challenge_digest.hex())) + b"\n")


def _keeping(store: Store, spool: IO[bytes], key: SecretKey) -> Callable[[], None]:
    """Keeps every instance, its claim coin, and the signature by which it can be challenged."""

    def keep() -> None:
        spool.seek(0)
        for line in spool:
            text, digest = msgspec.json.decode(line, type=tuple[str, str])
            setup = InstanceSetup.from_json(text)
            records.save_instance(store, setup)
            store.put(records.CHALLENGE, setup.id, key.sign(bytes.fromhex(digest)))

    return keep
