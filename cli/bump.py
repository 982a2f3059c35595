"""`bitvm-bridge bump` and `bitvm-bridge resend`: see to it that what was made confirms in time."""

import time
from typing import Any

import click

from bitvm_bridge import bump as bumping
from bitvm_bridge import pending, rebroadcast, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.keys import Role
from bitvm_bridge.pending import Pending
from bitvm_bridge.protocol import Party
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Wallet
from cli.app import App, emit, say, with_app
from cli.disputed import compiling
from cli.keys import DEFAULT_NAME
from cli.sending import fee_rate, finish, sending_options, take_sending

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
    seed = store.seed(PAYERS[item.template.sender], name)
    return Wallet(seed.wallet_key(), node, rate, records.reserved_for_others(store, item.owner, item.name))


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
        wallet = payer(store, node, item, name, fee_rate(app, node, sending, left))
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
    while True:
        rows = _round(app, may_bump, name)
        if once or not rows:
            break
        for row in rows:
            say(_line(row))
        time.sleep(every)
    emit(app, {"transactions": rows}, "\n".join(map(_line, rows)))
    if not rows:
        say("nothing waits for a block")


def _round(app: App, may_bump: bool, name: str) -> list[dict[str, str]]:
    """Look at everything and do what is due; one row for each transaction."""
    with app.store() as store, app.node() as node:
        policy = app.fees.policy(node)
        with compiling():
            items = rebroadcast.due(store, node, policy)

        def wallet_of(item: Pending) -> Wallet:
            return payer(store, node, item, name, policy.floor)

        done = rebroadcast.resend(store, node, policy, items, wallet_of if may_bump else None)
    return [_row(entry) for entry in done]


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
