"""`bitvm-bridge node`: look at the chain, and on regtest, or on a signet of one's own, move it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from bitvm_bridge import keyring
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, SecretKey, parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Wallet
from cli.app import BITCOIND, App, emit, read_file, say, with_app, write_secret
from cli.keys import DEFAULT_NAME
from cli.table import Table, emit_rows

WALLETS: Final = (Role.DEPOSITOR, Role.WITHDRAWER, Role.OPERATOR, Role.CHALLENGER, Role.PARTY, Role.ORACLE)
PACKAGE: Final = 2


@click.group()
def node() -> None:
    """Ask the node, and on regtest or a signet of your own mine.

    \b
    bitvm-bridge node info
    bitvm-bridge node mine 100 --to operator
    bitvm-bridge node balance
    """


@node.command()
@with_app
def info(app: App) -> None:
    """Show which node answers, its network and height."""
    with app.node() as chain:
        document = {"node": chain.name, "network": app.network, "height": chain.height(), "fee_rate": chain.fee_rate()}
    emit(app, document, "\n".join(f"{name:<9} {value}" for name, value in document.items()))


with_signet_key = click.option(
    "--signet-key", metavar="FILE", help="Signet: the key that signs its blocks, see `node signet-key`."
)


@node.command()
@click.argument("blocks", type=click.IntRange(1, 10_000), default=1)
@click.option("--to", metavar="ROLE|ADDRESS", help="Who gets the subsidies: a role's default key, or an address.")
@with_signet_key
@with_app
def mine(app: App, blocks: int, to: str | None, signet_key: str | None) -> None:
    """Mine blocks with what waits in the mempool.

    On regtest at once; on a signet of your own in seconds a block, on every core.
    """
    with _miner(app, signet_key) as chain:
        chain.mine(blocks, None if to is None else _destination(app, to))
        height = chain.height()
    emit(app, {"height": height}, str(height))


@contextmanager
def _miner(app: App, signet_key: str | None) -> Iterator[Node]:
    """A node that mines. Raises BadInput where nobody can."""
    if app.network is Network.REGTEST:
        if signet_key is not None:
            raise BadInput("--signet-key", signet_key, "used on signet (this is regtest)")
        with app.node() as chain:
            yield chain
        return
    if signet_key is None:
        raise BadInput(
            "--network",
            app.network,
            "regtest: nobody mines elsewhere at will, but on a signet of their own (--signet-key)",
        )
    if app.node_kind != BITCOIND:
        raise BadInput("--signet-key", signet_key, "used with bitcoind, which says what a block must have")
    from bitvm_bridge.chain.signet import SignetNode, grinding

    key = _read_key(signet_key)
    with grinding(os.cpu_count() or 1) as work:
        chain = SignetNode(app.connection(), key, work)
        try:
            yield chain
        finally:
            chain.close()


def _read_key(file: str) -> SecretKey:
    text = read_file(file, "--signet-key").decode("ascii", "replace").strip()
    try:
        return SecretKey(bytes.fromhex(text))
    except (ValueError, BadInput):
        raise BadInput("--signet-key", file, "a file with a secret key in hex, as `node signet-key` makes it") from None


@node.command("signet-key")
@click.argument("file", type=click.Path(dir_okay=False))
@with_app
def signet_key(app: App, file: str) -> None:
    """Show the challenge of your own signet.

    Its key is in FILE; where there is no FILE, a new key is written to it. The
    challenge is what `bitcoind -signetchallenge=` takes.
    """
    from bitvm_bridge.chain.signet import challenge_of

    if not Path(file).exists():
        write_secret(file, SecretKey.generate().reveal().hex().encode() + b"\n")
        say(f"a new key is in {file}: whoever has it mines, and nobody else does")
    challenge = challenge_of(_read_key(file).public).hex()
    emit(app, {"challenge": challenge}, challenge)


def _destination(app: App, to: str) -> bytes:
    if to not in [str(role) for role in WALLETS]:
        return parse_address(to, app.network, "--to")
    with app.store() as store:
        return wallet_script(keyring.wallet_key(store, Role(to), DEFAULT_NAME).xonly)


def read_transactions(file: str) -> list[Transaction]:
    """Raw transactions in hex, one a line. Raises BadInput, for a file without any too."""
    lines = read_file(file, "file").decode("ascii", "replace").split()
    if not lines:
        raise BadInput("file", file, "a file with a raw transaction in hex")
    return [Transaction.parse_hex(line, f"line {number}") for number, line in enumerate(lines, 1)]


@node.command("mine-transactions")
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@with_signet_key
@with_app
def mine_transactions(app: App, file: str, signet_key: str | None) -> None:
    """Mine one block with the transactions of FILE.

    On regtest, or on a signet of your own. One raw transaction in hex a line; those too heavy to relay are mined too.
    """
    transactions = read_transactions(file)
    with _miner(app, signet_key) as chain:
        chain.mine_transactions(transactions)
        height = chain.height()
    emit(app, {"height": height, "txids": [tx.txid_hex for tx in transactions]}, str(height))


@node.command()
@with_app
def balance(app: App) -> None:
    """Show what each key of this data directory holds."""
    rows: list[dict[str, str | int]] = []
    with app.store() as store, app.node() as chain:
        for role in WALLETS:
            for name in keyring.names(store, role):
                coins = Wallet(keyring.wallet_key(store, role, name), chain, fee_rate=1.0).coins()
                rows.append(
                    {"role": role, "name": name, "coins": len(coins), "sat": sum(c.output.amount for c in coins)}
                )
    lines = "\n".join(f"{r['role']:<11} {r['name']:<10} {r['sat']:>15,} sat" for r in rows)
    table = Table("Balances", tuple(rows[0]) if rows else (), [tuple(row.values()) for row in rows])
    emit_rows(app, {"balances": rows}, table, lines)
    if not rows:
        say("no key yet: every role has a `keygen`")


@node.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@with_app
def test(app: App, file: str) -> None:
    """Ask whether the node would take a transaction.

    FILE holds one raw transaction in hex, or a parent and on a second line the child that pays for it.
    """
    transactions = read_transactions(file)
    if len(transactions) > PACKAGE:
        raise BadInput("file", f"{len(transactions)} transactions", "one transaction, or a parent and its child")
    with app.node() as chain:
        verdict = chain.test(transactions)
    emit(app, {"allowed": verdict.allowed, "reason": verdict.reason}, "accepted" if verdict.allowed else verdict.reason)
    if not verdict.allowed:
        raise SystemExit(4)
