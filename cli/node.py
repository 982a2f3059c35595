"""`bitvm-bridge node`: look at the chain, and on regtest move it."""

from typing import Final

import click

from bitvm_bridge import keyring
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Wallet
from cli.app import App, emit, read_file, say, with_app
from cli.keys import DEFAULT_NAME
from cli.table import Table, emit_rows

WALLETS: Final = (Role.DEPOSITOR, Role.WITHDRAWER, Role.OPERATOR, Role.CHALLENGER)
PACKAGE: Final = 2


@click.group()
def node() -> None:
    """Ask the node, and on regtest mine.

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


@node.command()
@click.argument("blocks", type=click.IntRange(1, 10_000), default=1)
@click.option("--to", metavar="ROLE|ADDRESS", help="Who gets the subsidies: a role's default key, or an address.")
@with_app
def mine(app: App, blocks: int, to: str | None) -> None:
    """Mine blocks with what waits in the mempool (regtest)."""
    if app.network is not Network.REGTEST:
        raise BadInput("--network", app.network, "regtest: nobody mines elsewhere at will")
    script = None if to is None else _destination(app, to)
    with app.node() as chain:
        chain.mine(blocks, script)
        height = chain.height()
    emit(app, {"height": height}, str(height))


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
@with_app
def mine_transactions(app: App, file: str) -> None:
    """Mine one block with the transactions of FILE (regtest).

    One raw transaction in hex a line; those too heavy to relay are mined too.
    """
    if app.network is not Network.REGTEST:
        raise BadInput("--network", app.network, "regtest: nobody mines elsewhere at will")
    transactions = read_transactions(file)
    with app.node() as chain:
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
