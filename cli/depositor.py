"""`bitvm-bridge depositor`: pay into the bridge, or take the deposit back."""

from typing import Any

import click

from bitvm_bridge import keyring, records, recovery
from bitvm_bridge.chain.node import Node
from bitvm_bridge.descriptors import describe
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Council, Network, Params
from bitvm_bridge.protocol import Request
from bitvm_bridge.recovery import Refundable
from bitvm_bridge.roles import depositor as role
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.store import Store
from cli.app import App, emit, read_file, say, with_app, write_secret
from cli.committee import members_for
from cli.described import emit_descriptors
from cli.keys import add_key_commands, name_option
from cli.sending import finish, open_wallet, sending_options, take_sending
from cli.table import Table, emit_rows


@click.group()
def depositor() -> None:
    """Pay into the bridge, have it confirmed, or take it back.

    \b
    bitvm-bridge depositor keygen
    bitvm-bridge depositor deposit --receiver 00112233… --broadcast
    bitvm-bridge depositor peg-in DEPOSIT --broadcast
    """


add_key_commands(depositor, Role.DEPOSITOR)

PARAMETERS = {
    "refund_delay": "Blocks before the depositor may take the deposit back",
    "challenge_window": "Blocks to challenge a claim",
    "assert_window": "More blocks to answer a challenge",
    "disprove_window": "More blocks to disprove the answer",
    "forfeit_window": "More blocks before an abandoned bond is forfeit",
    "peg_in": "Sat of the deposit",
    "exits": "Vault outputs of equal amounts that the deposit is split over",
    "bond": "Sat of an operator's bond",
    "challenge": "Sat that a challenger pays the operator",
    "burn_percent": "Share of a slashed bond that nobody gets",
}


COUNCIL_OPTIONS = (
    click.option(
        "--council", metavar="K:KEY,KEY…", help="K of these x-only keys may move a vault that nobody has moved [none]."
    ),
    click.option("--council-delay", type=int, metavar="BLOCKS", help="How long they must wait after PegIn."),
)


def parameter_options(command: Any) -> Any:
    """An option for each parameter of the protocol; what is not given has the network's default."""
    for option in reversed(COUNCIL_OPTIONS):
        command = option(command)
    for name, meaning in reversed(PARAMETERS.items()):
        option = click.option(f"--{name.replace('_', '-')}", name, type=int, help=f"{meaning} [{_defaults(name)}].")
        command = option(command)
    return command


def _defaults(name: str) -> str:
    values = {network: f"{getattr(Params.default(network), name):,}" for network in Network}
    if len(set(values.values())) == 1:
        return values[Network.REGTEST]
    return ", ".join(f"{value} on {network}" for network, value in values.items())


def take_params(network: Network, options: dict[str, Any]) -> Params:
    """The parameters out of a command's options, all that are left. Raises BadInput."""
    council = _take_council(options)
    given = {key: value for key, value in options.items() if value is not None}
    return Params.default(network, council=council, **given)


def _take_council(options: dict[str, Any]) -> Council | None:
    """The council out of a command's options. Raises BadInput."""
    text, delay = options.pop("council"), options.pop("council_delay")
    if (text is None) != (delay is None):
        raise BadInput("--council-delay", delay, "given together with --council, or neither")
    if text is None:
        return None
    threshold, _, keys = text.partition(":")
    if not threshold.isascii() or not threshold.isdigit():
        raise BadInput("--council", text, "a number of keys, a colon, and keys with commas between")
    return Council(int(threshold), tuple(from_hex("--council", key, 32) for key in keys.split(",")), delay)


@depositor.command()
@name_option(Role.DEPOSITOR)
@click.option("--receiver", required=True, metavar="HEX", help="Who is credited on the second layer.")
@parameter_options
@sending_options
@with_app
def deposit(app: App, /, name: str, receiver: str, **options: Any) -> None:
    """Make PegInDeposit, which pays into the bridge.

    The committee can move the money into the vault; until it does, you can take it back after the refund delay. The
    options set the parameters of every claim on this deposit; what is not given has the network's default.

    \b
    bitvm-bridge depositor deposit --receiver 00112233445566778899aabbccddeeff00112233 --broadcast
    """
    sending = take_sending(options)
    params = take_params(app.network, options)
    with app.store() as store, app.node() as node:
        key = keyring.wallet_key(store, Role.DEPOSITOR, name)
        request = Request(params, key.xonly, from_hex("--receiver", receiver))
        wallet = open_wallet(app, store, node, Role.DEPOSITOR, name, sending, request.id, "PegInDeposit")
        records.refuse_second(store, node, request.id, "PegInDeposit")
        members = members_for(store, request)
        committee = Committee(tuple((name, key.public) for name, key in members.items()))
        prepared, setup = role.deposit(wallet, request, committee)

        def keep() -> None:
            keyring.keep_member_keys(store, request.id, members)
            records.save_deposit(store, setup, replace=True)

        finish(
            app,
            store,
            node,
            sending,
            request.id,
            prepared,
            keep=keep,
            deposit=request.id.hex(),
        )


@depositor.command("peg-in")
@click.argument("deposit")
@name_option(Role.DEPOSITOR)
@sending_options
@with_app
def peg_in(app: App, /, deposit: str, name: str, **options: Any) -> None:
    """Make PegIn, which moves DEPOSIT into the vault.

    The committee must have confirmed it. Your coins pay the fee.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        setup = records.load_deposit(store, deposit)
        wallet = open_wallet(app, store, node, Role.DEPOSITOR, name, sending, setup.request.id, "PegIn")
        prepared = role.peg_in(wallet, setup, records.load_peg_in(store, setup))
        finish(app, store, node, sending, setup.request.id, prepared)


@depositor.command()
@click.argument("deposit")
@name_option(Role.DEPOSITOR)
@sending_options
@with_app
def refund(app: App, /, deposit: str, name: str, **options: Any) -> None:
    """Make PegInRefund, which takes DEPOSIT back.

    Valid when the refund delay has passed and the deposit is not in the vault.
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        found = recovery.load(store, deposit)
        if found is not None:
            wallet = open_wallet(app, store, node, Role.DEPOSITOR, name, sending, found.id, role.FOUND)
            finish(app, store, node, sending, found.id, role.refund_found(wallet, found))
            return
        setup = records.load_deposit(store, deposit)
        wallet = open_wallet(app, store, node, Role.DEPOSITOR, name, sending, setup.request.id, "PegInRefund")
        finish(app, store, node, sending, setup.request.id, role.refund(wallet, setup, wallet.key))


@depositor.command()
@name_option(Role.DEPOSITOR)
@click.argument("file", type=click.Path(dir_okay=False))
@with_app
def backup(app: App, name: str, file: str) -> None:
    """Write your seed to a new FILE, readable by you alone.

    Keep it elsewhere, with the height of your first deposit: `depositor recover` needs no more.
    """
    with app.store() as store:
        seed = store.seed(Role.DEPOSITOR, name)
    write_secret(file, seed.reveal().hex().encode() + b"\n")
    emit(app, {"file": file}, f"wrote {file}")


@depositor.command()
@name_option(Role.DEPOSITOR)
@click.option("--seed-file", metavar="FILE", help="First line: the seed, as `depositor backup` wrote it.")
@click.option("--birthday", type=int, required=True, metavar="HEIGHT", help="Block from which on to look.")
@with_app
def recover(app: App, name: str, seed_file: str | None, birthday: int) -> None:
    """Find your deposits on the chain, with nothing but your key.

    The key is that of the seed in FILE, which is kept under the name, or the one that the name has already, in another
    wallet too. Every block from the birthday on is read. What can be taken back is kept for `depositor refund`.

    \b
    bitvm-bridge depositor recover --seed-file backup.txt --birthday 2100
    bitvm-bridge depositor refund ID --broadcast
    """
    with app.store() as store, app.node() as node:
        if seed_file is not None:
            keyring.restore_seed(store, name, _read_seed(seed_file))
        key = keyring.wallet_key(store, Role.DEPOSITOR, name).xonly
        rows = [_keep_found(store, node, found) for found in recovery.search(node, key, birthday)]
    lines = [f"{row['id']}  {row['amount']:>13,} sat  {_when(row['refund_from'])}" for row in rows]
    heads = ("id", "outpoint", "sat", "block", "refund from")
    table = Table("Deposits of this key", heads, [_cells(row) for row in rows])
    emit_rows(app, {"deposits": rows}, table, "\n".join(lines))
    if not rows:
        say(f"no deposit of {key.hex()} from block {birthday:,} on")


def _keep_found(store: Store, node: Node, found: Refundable) -> dict[str, Any]:
    """A row of `recover`; what is still there is kept."""
    unspent = node.output(found.outpoint) is not None
    if unspent:
        recovery.save(store, found)
    return {
        "id": found.id.hex(),
        "outpoint": str(found.outpoint),
        "amount": found.amount,
        "height": found.height,
        "refund_from": found.height + found.delay if unspent else None,
    }


def _cells(row: dict[str, Any]) -> tuple[str | int | float, ...]:
    return tuple("spent" if value is None else value for value in row.values())


def _when(height: int | None) -> str:
    return "spent" if height is None else f"refund from block {height:,}"


def _read_seed(file: str) -> Seed:
    """Raises BadInput, which shows nothing of the file."""
    line = read_file(file, "--seed-file").partition(b"\n")[0].strip()
    try:
        return Seed(Role.DEPOSITOR, bytes.fromhex(line.decode("ascii")))
    except (ValueError, BadInput):
        raise BadInput("--seed-file", file, "a file whose first line is a seed (64 hex digits)") from None


@depositor.command("descriptors")
@click.argument("deposit")
@with_app
def show_descriptors(app: App, deposit: str) -> None:
    """Show the descriptor of every address of DEPOSIT.

    For a wallet to watch; where the leaves are miniscript, for one with a key to spend.
    """
    with app.store() as store:
        setup = records.load_deposit(store, deposit)
    emit_descriptors(app, {"deposit": setup.request.id.hex()}, describe(setup.graph))


@depositor.command("list")
@with_app
def list_deposits(app: App) -> None:
    """List the deposits of this data directory."""
    with app.store() as store:
        setups = [records.load_deposit(store, key.hex()) for key in store.keys(records.DEPOSIT)]
    rows: list[dict[str, str | int]] = [
        {"deposit": setup.request.id.hex(), "outpoint": str(setup.outpoint), "amount": setup.request.params.peg_in}
        for setup in setups
    ]
    lines = "\n".join(f"{row['deposit']}  {row['amount']:>13,} sat" for row in rows)
    table = Table("Deposits", ("deposit", "outpoint", "sat"), [tuple(row.values()) for row in rows])
    emit_rows(app, {"deposits": rows}, table, lines)
    if not rows:
        say("no deposit yet: `depositor deposit` makes one")
