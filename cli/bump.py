"""`bitvm-bridge bump` and `bitvm-bridge resend`: see to it that what was made confirms in time."""

import time
from typing import Any

import click

from bitvm_bridge import bump as bumping
from bitvm_bridge import keyring, pending, rebroadcast, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import NodeUnreachable
from bitvm_bridge.keys import Role
from bitvm_bridge.pending import Pending
from bitvm_bridge.protocol import Party
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Wallet
from cli.app import App, emit, say, with_app
from cli.disputed import compiling
from cli.keys import DEFAULT_NAME
from cli.sending import fee_rate, finish, sending_options, take_sending
from cli.table import Table, emit_rows

PAYERS = {
    Party.DEPOSITOR: Role.DEPOSITOR,
    Party.OPERATOR: Role.OPERATOR,
    Party.CHALLENGER: Role.CHALLENGER,
    Party.ANYONE: Role.CHALLENGER,
    Party.COMMITTEE: Role.WITHDRAWER,
}
"""Who sends a transaction, and whose coins its command spends."""


def payer(store: Store, node: Node, item: Pending, name: str, rate: float) -> Wallet:
    """The wallet of the key that made a transaction."""
    key = keyring.wallet_key(store, PAYERS[item.template.sender], name)
    return Wallet(key, node, rate, records.reserved_for_others(store, item.owner, item.name))


Rows = list[dict[str, str]]
name_option = click.option(
    "--name", default=DEFAULT_NAME, show_default=True, help="Whose coins: the name of the key that made it."
)


@click.command()
@click.argument("transaction")
@click.option("--of", "owner", default="", metavar="ID", help="The deposit or instance, where several have one.")
@name_option
@sending_options
@with_app
def bump(app: App, /, transaction: str, owner: str, name: str, **options: Any) -> None:
    """Make a transaction pay more while it waits.

    TRANSACTION is its name or the first digits of its txid. It is replaced where you sign it yourself, gets a better
    child where it is fixed, and leaves you less of the reward where that pays. Without --fee-rate, the rate rises as
    its deadline comes near.

    \b
    bitvm-bridge bump KickOff --broadcast
    bitvm-bridge bump Assert --of 5f1c --fee-rate 25 --broadcast
    """
    sending = take_sending(options)
    with app.store() as store, app.node() as node:
        item = pending.find(store, transaction, owner)
        bumping.refuse_fixed(store, item)
        with compiling():
            graph = records.graph_of(store, item.owner)
        left = rebroadcast.blocks_left(graph, node, item.name)
        wallet = payer(store, node, item, name, fee_rate(app, node, sending.fee_rate, left))
        prepared = bumping.bump(wallet, item, graph, app.fees.maximum)
        vsize = sum(tx.vsize for tx in prepared.transactions)
        finish(
            app,
            store,
            node,
            sending,
            item.owner,
            prepared,
            keep=lambda: bumping.move(store, prepared.tx, item, wallet.key),
            fee_rate=f"{prepared.fee / vsize:.2f} sat/vB",
        )


@click.command()
@click.option("--once", is_flag=True, help="Look once, instead of until all is settled.")
@click.option("--every", type=click.FloatRange(0.1), default=60.0, show_default=True, help="Seconds between two looks.")
@click.option("--bump", "may_bump", is_flag=True, help="Replace what pays too little, up to --max-fee-rate.")
@name_option
@with_app
def resend(app: App, once: bool, every: float, may_bump: bool, name: str) -> None:
    """Send again what left the mempool.

    Every transaction that a command here was told to broadcast is looked after until it is 6 blocks deep: a full
    mempool, a reorganisation and an attacker who replaces its child can all make it disappear. Then its coins are
    free again.

    \b
    bitvm-bridge resend --once
    bitvm-bridge --max-fee-rate 80 resend --bump
    """
    rows = _round(app, may_bump, name)
    while rows and not once:
        for row in rows:
            say(_line(row))
        time.sleep(every)
        rows = _next_round(app, may_bump, name, rows)
    emit(app, {"transactions": rows}, "\n".join(map(_line, rows)))
    if not rows:
        say("nothing waits for a block")


def _next_round(app: App, may_bump: bool, name: str, rows: Rows) -> Rows:
    """The same once more; a node that does not answer now may answer later."""
    try:
        return _round(app, may_bump, name)
    except NodeUnreachable as error:
        say(f"{error}; trying again")
        return rows


def _round(app: App, may_bump: bool, name: str) -> Rows:
    """Look at everything and do what is due; one row for each transaction."""
    with app.store() as store, app.node() as node:
        policy = app.fees.policy(node)
        with compiling():
            items = rebroadcast.due(store, node, policy)

        def wallet_of(item: Pending) -> Wallet:
            return payer(store, node, item, name, policy.floor)

        done = rebroadcast.resend(store, node, policy, items, wallet_of, may_bump=may_bump)
    return [_row(entry) for entry in done if entry.due.item.sent]


def _row(done: rebroadcast.Done) -> dict[str, str]:
    item = done.due.item
    tx = done.prepared.tx if done.prepared else item.tx
    return {
        "name": item.name,
        "owner": item.owner.hex(),
        "txid": tx.txid_hex,
        "action": done.due.decision.action,
        "reason": done.due.decision.reason,
        "problem": done.problem,
    }


def _line(row: dict[str, str]) -> str:
    problem = f"; {row['problem']}" if row["problem"] else ""
    return f"{row['action']:<7} {row['name']:<18} {row['txid'][:16]}  {row['reason']}{problem}"


@click.command()
@click.option("--release", metavar="TRANSACTION", help="Let go of the coins of one that was made and never sent.")
@click.option("--of", "owner", default="", metavar="ID", help="The deposit or instance, where several have one.")
@with_app
def coins(app: App, release: str | None, owner: str) -> None:
    """List the coins that are set aside.

    Each serves one transaction, sent or only written to a file, and no other chooses it.

    \b
    bitvm-bridge coins
    bitvm-bridge coins --release KickOff
    """
    with app.store() as store:
        if release is not None:
            rebroadcast.forget(store, pending.find(store, release, owner))
        reserved = store.reserved_coins()
    rows: list[dict[str, str | int]] = [{"coin": str(coin), "for": purpose} for coin, purpose in reserved.items()]
    table = Table("Coins set aside", ("coin", "for"), [tuple(row.values()) for row in rows])
    emit_rows(app, {"coins": rows}, table, "\n".join(f"{row['coin']}  {row['for']}" for row in rows))
    if not rows:
        say("no coin is set aside")
