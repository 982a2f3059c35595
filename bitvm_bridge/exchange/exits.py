"""May an exit be paid out by the whole committee? Only while no operator is owed it."""

from bitvm_bridge.chain.node import Node
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.watch import claims
from bitvm_bridge.watch.claims import ShareOfDeposit
from bitvm_bridge.watch.machine import CLAIM_ENDS, LIVE
from bitvm_bridge.watch.survey import Library, View, coin_finder, survey


def objection(library: Library, node: Node, payout: Payout) -> str:
    """What the chain has against a payout now, in words; empty where that is nothing.

    The exit must be there and unspent. An operator is owed it from a PegOut on that has paid a withdrawer, or from a
    KickOff on, until its claim is lost. Raises NodeUnreachable.
    """
    outpoint = payout.setup.graph.exit(payout.exit)
    if node.output(outpoint) is None:
        return f"its exit {outpoint} is not in the chain, or is spent"
    waiting = node.mempool_spender(outpoint)
    if waiting is not None and waiting.tx.txid != payout.tx.txid:
        return f"its exit is being spent by {waiting.tx.txid_hex}"
    found = survey(library, node)
    if found.progress.lag < 0:
        return f"the node is at block {found.progress.tip:,}, and {found.progress.height:,} was read before"
    rivals = (view for view in found.views.values() if view.setup.graph.vault == outpoint)
    return next((claim for claim in (_claim(library, node, view) for view in rivals) if claim), "")


def _claim(library: Library, node: Node, view: View) -> str:
    """By what an instance is owed its exit; empty where it is not, or where it has lost its claim."""
    name = f"instance {view.setup.id.hex()[:12]}"
    if view.history is None:
        return f"{name}: {view.problem}"
    claim = view.history.state.claim
    if claim in CLAIM_ENDS:
        return ""
    if claim in LIVE or node.mempool_spender(view.setup.claim) is not None:
        return f"{name} claims its exit"
    coin = coin_finder(library.store, node)
    is_paid = claims.is_paid(view.setup, view.history, ShareOfDeposit(), coin, node.height())
    return f"{name} is owed its exit for the PegOut that it has paid" if is_paid else ""
