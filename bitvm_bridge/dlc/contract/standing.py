"""Where a contract stands, by the chain alone."""

from dataclasses import dataclass

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc.contract.signing import Bundle
from bitvm_bridge.transaction import Transaction


@dataclass(frozen=True)
class Standing:
    """`state` in words, and the height of what made it so; `outcome` is what the oracle signed, counted from 0.

    `sign` is OracleSign, `released` a Release that is confirmed.
    """

    state: str
    height: int | None = None
    outcome: int | None = None
    sign: Transaction | None = None
    released: Transaction | None = None


def stand(node: Node, bundle: Bundle) -> Standing:
    """What has confirmed of a contract."""
    contract, graphs = bundle.contract, bundle.graphs
    collateral, staked = contract.agreement.funding.outpoint(0), contract.oracle.stake
    funded, closed = node.output(collateral), node.spender(collateral)
    if funded is None and closed is None:
        return Standing("signed")
    signed = node.spender(staked)
    if signed is None:
        state = "funded" if node.output(staked) is None else "staked"
        if closed is not None:
            state = "refunded" if closed[0].txid == graphs.whole["Refund"].tx.txid else "closed"
        return Standing(state, closed[1] if closed else None)
    outcome = next(
        (
            each
            for each in range(len(contract.terms.outcomes))
            if graphs.of(each)["OracleSign"].tx.txid == signed[0].txid
        ),
        None,
    )
    if outcome is None:
        timed_out = signed[0].txid == graphs.whole["OracleTimeout"].tx.txid
        return Standing("oracle timed out" if timed_out else "closed", signed[1])
    return _after_signing(node, bundle, outcome, signed[0], signed[1])


def _after_signing(node: Node, bundle: Bundle, outcome: int, sign: Transaction, height: int) -> Standing:
    graph = bundle.graphs.of(outcome)
    names = {item.tx.txid: item.name for item in graph.txs.values()}
    ended = node.spender(graph.source("OracleSign.bond").outpoint)
    name = names.get(ended[0].txid) if ended is not None else None
    if ended is not None and name is None:
        name = "Disprove"
    closed = node.spender(bundle.contract.agreement.funding.outpoint(0))
    taken = names.get(closed[0].txid, "closed") if closed is not None else None
    words = {"Settle": "settled", "LateSettle": "settled late", "Refund": "refunded", "closed": "closed"}
    state = {"Disprove": "disproved", "Release": "released", "Forfeit": "forfeited"}.get(name or "", "oracle signed")
    if taken is not None:
        state, height = words[taken], closed[1] if closed else height
    elif ended is not None:
        height = ended[1]
    released = ended[0] if ended is not None and name == "Release" else None
    return Standing(state, height, outcome, sign, released)
