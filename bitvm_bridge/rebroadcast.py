"""Keep what we sent in the mempool until it is in a block, deep enough to stay there.

A transaction disappears when the mempool is full, when a node restarts, when a block that had it is reorganised away,
and when somebody replaces our child with one of their own and that one with something else (replacement cycling). What
to do is a pure function of what a node shows (`View`, `decide`); `due` looks, `resend` acts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.bump import bump, is_elsewhere, move, refuse_fixed
from bitvm_bridge.chain.node import Node, Waiting
from bitvm_bridge.errors import BridgeError, NodeUnreachable
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.graph import Graph
from bitvm_bridge.pending import Pending, outpoints, pending, resolve, spent_outputs
from bitvm_bridge.policy import MAX_STANDARD_WEIGHT, fee_of
from bitvm_bridge.status import identify, status
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet, send

FINAL_DEPTH: Final = 6
"""Blocks, its own included, from which on a transaction is taken to stay confirmed and its coins are let go."""
RAISE: Final = 1.1
"""What waits is replaced for a rate that is so many times its own, not for every turn of an estimate."""


class Action(StrEnum):
    """What to do about a transaction of ours."""

    WAIT = "wait"
    SEND = "send"
    BUMP = "bump"
    MOVE = "move"
    SETTLE = "settle"


@dataclass(frozen=True)
class View:
    """What a node shows of a transaction of ours; rates are in sat/vB.

    `depth`: blocks since it, or what took its place (`lost`), confirmed; 0 while nothing has. `moved`: that was a
    version on whose txid nothing was built here, for a newer one was meant to confirm. `waits`: all of it is in
    the mempool, its child included. `broke`: a coin of its child was spent elsewhere. `rate`: what it pays; None where
    that is not known. `rival`: what a stranger's transaction in its place pays, and whether that `serves` as well as
    ours. `minimum`: below it the mempool takes nothing. `wanted`: what the fee policy would pay now; None where there
    is no deadline.
    """

    depth: int = 0
    lost: bool = False
    moved: bool = False
    waits: bool = True
    sent: bool = True
    heavy: bool = False
    broke: bool = False
    rate: float | None = None
    rival: float | None = None
    serves: bool = False
    minimum: float = 0.1
    wanted: float | None = None


@dataclass(frozen=True)
class Decision:
    """What to do, and why in words."""

    action: Action
    reason: str


def decide(view: View) -> Decision:
    """What to do about a transaction of ours, from what a node shows."""
    if view.depth:
        return _decide_confirmed(view)
    if not view.sent:
        return Decision(Action.WAIT, "made, and not to be sent")
    if view.heavy:
        return Decision(Action.WAIT, "too heavy to be relayed: a miner has to take it")
    if view.rival is not None and not view.waits:
        return _decide_against_rival(view, view.rival)
    if view.broke:
        return Decision(Action.BUMP, "a coin of its child was spent elsewhere")
    needed = (view.wanted or 0) if view.waits else max(view.wanted or 0, view.minimum)
    if view.rate is not None and view.rate * (RAISE if view.waits else 1) < needed:
        where = "waits in the mempool" if view.waits else "is not in the mempool"
        return Decision(Action.BUMP, f"{where} at {view.rate:.4g} sat/vB, and should pay {needed:.4g}")
    if view.waits:
        return Decision(Action.WAIT, "waits in the mempool")
    return Decision(Action.SEND, "is not in the mempool")


def _decide_confirmed(view: View) -> Decision:
    fate = "another transaction took its place" if view.lost else "confirmed"
    if view.moved:
        return Decision(Action.MOVE, "an earlier version confirmed")
    if view.depth < FINAL_DEPTH:
        return Decision(Action.WAIT, f"{fate}, {view.depth} of {FINAL_DEPTH} blocks deep")
    return Decision(Action.SETTLE, f"{fate} for good")


def _decide_against_rival(view: View, rival: float) -> Decision:
    wanted = view.wanted or view.rate or view.minimum
    if view.serves and rival >= wanted:
        return Decision(Action.WAIT, f"a stranger's transaction does the same, at {rival:.4g} sat/vB")
    return Decision(Action.BUMP, f"a stranger's transaction is in its place, at {rival:.4g} sat/vB")


Deadline = Callable[[Pending], int | None]
"""The blocks that a transaction has left to confirm in; None for no deadline."""
WalletOf = Callable[[Pending], Wallet]
"""The wallet that made a transaction, at any fee rate, with all that is reserved for others."""


@dataclass(frozen=True)
class Due:
    """A transaction of ours, what a node shows of it, and what to do about it."""

    item: Pending
    view: View
    decision: Decision
    blocks_left: int | None = None


def due(store: Store, node: Node, policy: FeePolicy, deadline: Deadline | None = None) -> list[Due]:
    """Look at everything that is not final, oldest first. Deadlines are read off the graphs unless they are given.

    Raises NodeUnreachable.
    """
    left_of = deadline or (lambda item: blocks_left(records.graph_of(store, item.owner), node, item.name))
    return [_look(store, node, policy, item, left_of) for item in pending(store)]


def blocks_left(graph: Graph, node: Node, name: str) -> int | None:
    """Blocks that can still take a transaction before another party's becomes valid; None where none ever does."""
    found = status(graph, node)
    deadlines = [duty.deadline for duty in found.duties if duty.name == name and duty.deadline is not None]
    return deadlines[0] - 1 - found.height if deadlines else None


def _look(store: Store, node: Node, policy: FeePolicy, item: Pending, left_of: Deadline) -> Due:
    left = None
    found = resolve(item, node)
    if found is not None:
        stays = any(node.in_mempool(child.txid) for child in item.children)
        depth = min(node.height() - found.height + 1, FINAL_DEPTH - 1 if stays else FINAL_DEPTH)
        view = View(depth=depth, lost=found.tx not in item.versions, moved=is_elsewhere(store, found.tx, item))
    elif not item.sent or item.tx.weight > MAX_STANDARD_WEIGHT:
        view = View(sent=item.sent, heavy=item.tx.weight > MAX_STANDARD_WEIGHT)
    else:
        left = left_of(item)
        view = _look_at_mempool(store, node, policy, item, left)
    return Due(item, view, decide(view), left)


def _look_at_mempool(store: Store, node: Node, policy: FeePolicy, item: Pending, left: int | None) -> View:
    current = next((tx for tx in reversed(item.versions) if node.in_mempool(tx.txid)), None)
    child = next((tx for tx in reversed(item.children) if node.in_mempool(tx.txid)), None)
    waits = current is not None and (child is not None or not item.is_parent)
    rival = None if waits else _rival(node, item)
    return View(
        waits=waits,
        broke=child is None and _is_broke(node, item),
        rate=_rate(node, current or item.tx, child or item.child),
        rival=None if rival is None else _rival_rate(node, item, rival),
        serves=rival is not None and _serves(store, item, rival),
        minimum=policy.floor,
        wanted=None if left is None else min(policy.wanted(left), policy.maximum),
    )


def _is_broke(node: Node, item: Pending) -> bool:
    """Was a coin of the newest child spent in a block?"""
    inputs = () if item.child is None else item.child.inputs
    return any(txin.outpoint != item.anchor and node.output(txin.outpoint) is None for txin in inputs)


def _rival(node: Node, item: Pending) -> Waiting | None:
    """A stranger's transaction in the mempool that spends what ours does."""
    contested = [*([item.anchor] if item.is_parent else []), *outpoints(item.versions)]
    for outpoint in contested:
        waiting = node.mempool_spender(outpoint)
        if waiting is not None and waiting.tx not in (*item.versions, *item.children):
            return waiting
    return None


def _rival_rate(node: Node, item: Pending, rival: Waiting) -> float:
    """sat per vB of a stranger's transaction, with our parent where it pays for that."""
    if item.is_parent and any(txin.outpoint == item.anchor for txin in rival.tx.inputs):
        return rival.fee / (rival.tx.vsize + item.tx.vsize)
    return rival.fee / rival.tx.vsize


def _serves(store: Store, item: Pending, rival: Waiting) -> bool:
    """Does a stranger's transaction do what ours would: pay for our parent, or be the same move in the game?"""
    if item.is_parent and any(txin.outpoint == item.anchor for txin in rival.tx.inputs):
        return True
    return identify(records.graph_of(store, item.owner), rival.tx) == item.name


def _rate(node: Node, tx: Transaction, child: Transaction | None) -> float | None:
    """sat per vB of a transaction with its child; None where an output that one of them spends is not there."""
    fee = vsize = 0
    for part, parent in ((tx, None), (child, tx)):
        if part is not None:
            spent = spent_outputs(part, node, parent)
            if spent is None:
                return None
            fee, vsize = fee + fee_of(part, spent), vsize + part.vsize
    return fee / vsize


@dataclass(frozen=True)
class Done:
    """What was done about a transaction: `problem` says why not, `prepared` is the replacement that was sent."""

    due: Due
    problem: str = ""
    prepared: Prepared | None = None


def resend(
    store: Store,
    node: Node,
    policy: FeePolicy,
    items: Sequence[Due],
    wallet_of: WalletOf,
    *,
    may_bump: bool = False,
) -> list[Done]:
    """Do what is due. A replacement spends more: without `may_bump` it is reported and not made.

    What a node refuses, or a rule forbids, is reported and tried again the next time. Raises NodeUnreachable.
    """
    return [_try(store, node, policy, item, wallet_of, may_bump) for item in items]


def _try(store: Store, node: Node, policy: FeePolicy, item: Due, wallet_of: WalletOf, may_bump: bool) -> Done:
    if item.decision.action is Action.BUMP and not may_bump:
        return Done(item, "a replacement costs more, and was not allowed")
    try:
        return Done(item, prepared=_act(store, node, policy, item, wallet_of))
    except NodeUnreachable:
        raise
    except BridgeError as error:
        return Done(item, str(error))


def _act(store: Store, node: Node, policy: FeePolicy, due: Due, wallet_of: WalletOf) -> Prepared | None:
    """Do it; the replacement, where one was sent."""
    item = due.item
    match due.decision.action:
        case Action.SETTLE:
            _settle(store, item)
        case Action.SEND:
            send(node, item.name, item.tx, item.child)
        case Action.MOVE:
            _move_back(store, node, item, wallet_of(item))
        case Action.BUMP:
            return _replace(store, node, policy, due, wallet_of(item))
    return None


def _move_back(store: Store, node: Node, item: Pending, wallet: Wallet) -> None:
    """Build on the version that confirmed. Raises BridgeError where others have built on the newest already."""
    found = resolve(item, node)
    if found is not None:
        refuse_fixed(store, item)
        move(store, found.tx, item, wallet.key)


def forget(store: Store, item: Pending) -> None:
    """Let go of the coins of a transaction that was made and never sent. Raises BridgeError for one that was."""
    if item.sent:
        raise BridgeError(f"{item}: it was sent; its coins are free {FINAL_DEPTH} blocks after it confirms or fails")
    _settle(store, item)


def _settle(store: Store, item: Pending) -> None:
    with store.transaction():
        store.settle(item.owner, item.name)
        store.release_coins(records.purpose(item.owner, item.name))


def _replace(store: Store, node: Node, policy: FeePolicy, due: Due, wallet: Wallet) -> Prepared:
    """A replacement: kept, then sent."""
    item = due.item
    refuse_fixed(store, item)
    bidder = wallet.at(policy.rate(due.blocks_left))
    prepared = bump(bidder, item, records.graph_of(store, item.owner), policy.maximum)
    verdict = prepared.test(node)
    if not verdict.allowed:
        raise BridgeError(f"{item}: {verdict.reason}")
    with store.transaction():
        move(store, prepared.tx, item, wallet.key)
        records.keep(store, item.owner, prepared, sent=True)
    prepared.send(node)
    return prepared
