"""Replace a transaction that waits by one that pays more, without breaking what others signed.

Three ways, read off the protocol's declarations: a better child for a parent that is fixed, more of our coins or less
change where we sign ourselves, less of the reward where the committee signed for whoever broadcasts. Rules of the
mempool: BIP125 rules 3 and 4, a better feerate diagram (Bitcoin Core 31), and TRUC with sibling eviction (BIP431).
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from bitvm_bridge import records
from bitvm_bridge.chain.node import Node, Utxo, Waiting
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange import messages
from bitvm_bridge.exchange.board import was_said
from bitvm_bridge.graph import Graph, GraphTx
from bitvm_bridge.keys import SecretKey, WalletKey
from bitvm_bridge.params import DUST
from bitvm_bridge.pending import Pending, outpoints, resolve
from bitvm_bridge.policy import INCREMENTAL_FEE_RATE, min_fee
from bitvm_bridge.protocol import ClaimFunding, PegInDeposit, Template
from bitvm_bridge.protocol.template import Coins, Free
from bitvm_bridge.roles import operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.store import Store
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.wallet import Bill, Funded, Prepared, Wallet, own_input


def refuse_fixed(store: Store, item: Pending) -> None:
    """Raises BridgeError for a transaction whose txid others have built on, so that it must stay as it is."""
    if item.template is ClaimFunding and store.get(records.BUNDLE, item.owner) is not None:
        raise BridgeError(f"{item}: the committee has signed the instance on its txid, so it cannot be replaced")
    if item.template is ClaimFunding and _pays_others(store, item):
        raise BridgeError(f"{item}: other instances claim with its outputs, so it cannot be replaced")
    kind = {ClaimFunding: messages.OFFER, PegInDeposit: messages.DEPOSIT}.get(item.template)
    if kind is not None and was_said(store, item.owner, kind):
        raise BridgeError(f"{item}: its txid was told to the other parties, so it cannot be replaced")
    if item.template is PegInDeposit:
        setup = records.load_deposit(store, item.owner.hex())
        if store.get(records.PEG_IN, item.owner) is not None or records.instances_of(store, setup):
            raise BridgeError(f"{item}: instances are made on its txid, so it cannot be replaced")


def _pays_others(store: Store, item: Pending) -> bool:
    """Are coins of a ClaimFunding the claims of several instances?"""
    made = {tx.txid for tx in item.versions}
    claims = (InstanceSetup.from_json(raw).claim for owner, raw in store.items(records.INSTANCE) if owner != item.owner)
    return any(claim.txid in made for claim in claims)


def move(store: Store, tx: Transaction, item: Pending, key: WalletKey) -> None:
    """Keep what depends on the txid of a version: the claim of an instance, the outpoint of a deposit."""
    if item.template is ClaimFunding:
        setup = replace(records.load_instance(store, item.owner.hex()), claim=tx.outpoint(0))
        records.save_instance(store, setup, replace=True)
        if isinstance(key, SecretKey):
            store.put(records.CHALLENGE, setup.id, operator.sign_challenge(setup, key))
        else:
            store.delete(records.CHALLENGE, setup.id)
    elif item.template is PegInDeposit:
        deposit = replace(records.load_deposit(store, item.owner.hex()), outpoint=tx.outpoint(0))
        records.save_deposit(store, deposit, replace=True)


def is_elsewhere(store: Store, tx: Transaction, item: Pending) -> bool:
    """Is what depends on the txid of a transaction kept for another version than this one, which confirmed?"""
    if tx not in item.versions:
        return False
    if item.template is ClaimFunding:
        return records.load_instance(store, item.owner.hex()).claim != tx.outpoint(0)
    if item.template is PegInDeposit:
        return records.load_deposit(store, item.owner.hex()).outpoint != tx.outpoint(0)
    return False


def bump(wallet: Wallet, item: Pending, graph: Graph, maximum: float) -> Prepared:
    """The same transaction, or the same parent with another child, at the wallet's fee rate or what replacing takes.

    `wallet` must be the one that made it; its `reserved` coins are others'. Raises BridgeError where the transaction
    has confirmed or can never confirm, where coins or reward do not suffice, and where replacing takes more than
    `maximum` (sat/vB); BadInput for another wallet.
    """
    if (found := resolve(item, wallet.node)) is not None:
        what = "already confirmed" if found.tx in item.versions else f"{found.tx.txid_hex} took its place"
        raise BridgeError(f"{item}: {what}, in block {found.height}")
    rivals = _rivals(wallet.node, item)
    if item.is_parent:
        prepared = _better_child(wallet, item, graph[item.name], rivals, maximum)
    else:
        prepared = Prepared(item.name, _pay_more(wallet, item, graph, rivals, maximum))
    _check_price(item, prepared, sum(rival.all_fees for rival in rivals), maximum)
    return prepared


def _check_price(item: Pending, prepared: Prepared, outbid: int, maximum: float) -> None:
    """Is what replacing takes within the maximum? Change below dust, which goes to the fee, may exceed it."""
    *parent, paying = prepared.transactions
    needed = outbid + min_fee(paying.vsize, INCREMENTAL_FEE_RATE) + (prepared.parent.fee if parent else 0)
    vsize = sum(tx.vsize for tx in prepared.transactions)
    if outbid and needed > maximum * vsize:
        raise _too_dear(item, needed / vsize, maximum)


def _too_dear(item: Pending, rate: float, maximum: float) -> BridgeError:
    return BridgeError(
        f"{item}: a replacement must pay {rate:.4g} sat/vB and {maximum:g} is the maximum; --max-fee-rate changes it"
    )


def _rivals(node: Node, item: Pending) -> list[Waiting]:
    """What must leave the mempool for a replacement: earlier versions or children, and what strangers put there."""
    contested = [*outpoints(item.versions), *outpoints(item.children)]
    if item.is_parent:
        contested.append(item.anchor)
    found = {rival.tx.txid: rival for rival in map(node.mempool_spender, contested) if rival is not None}
    return [rival for rival in found.values() if not (item.is_parent and rival.tx in item.versions)]


def _outbid(wallet: Wallet, item: Pending, rates: Iterable[float], maximum: float) -> Wallet:
    """The wallet at a rate that is no worse than what it replaces."""
    rate = max((wallet.fee_rate, *rates))
    if rate > maximum:
        raise _too_dear(item, rate, maximum)
    return replace(wallet, fee_rate=rate)


def _better_child(wallet: Wallet, item: Pending, declared: GraphTx, rivals: list[Waiting], maximum: float) -> Prepared:
    parent = Funded(item.tx, tuple(declared.spent))
    rates = [_rate_with(parent, rival) for rival in rivals]
    own = () if item.child is None else tuple(_coins(wallet, item.child, item.anchor))
    bidder = _without(_outbid(wallet, item, rates, maximum), own)
    return bidder.package(item.name, parent, coins=own, outbid=sum(rival.all_fees for rival in rivals))


def _rate_with(parent: Funded, rival: Waiting) -> float:
    """What a rival pays, together with the parent where it is a child of it (sat/vB)."""
    if not any(txin.outpoint.txid == parent.tx.txid for txin in rival.tx.inputs):
        return rival.fee / rival.tx.vsize
    return (parent.fee + rival.fee) / (parent.tx.vsize + rival.tx.vsize)


def _coins(wallet: Wallet, tx: Transaction, anchor: OutPoint) -> Iterable[Utxo]:
    """The wallet coins of a child that are still there."""
    for txin in tx.inputs:
        coin = wallet.node.output(txin.outpoint)
        if txin.outpoint != anchor and coin is not None:
            _check_own(wallet, [coin.output])
            yield coin


def _pay_more(wallet: Wallet, item: Pending, graph: Graph, rivals: list[Waiting], maximum: float) -> Funded:
    shape = _Shape.of(item, graph)
    spent = [_output(wallet.node, graph, txin.outpoint, item) for txin in item.tx.inputs]
    _check_own(wallet, [*spent[shape.inputs :], *item.tx.outputs[shape.outputs :]])
    bidder = _outbid(wallet, item, (rival.fee / rival.tx.vsize for rival in rivals), maximum)
    outbid = sum(rival.all_fees for rival in rivals)
    if item.template.presigned:
        return _from_reward(bidder, item, shape, spent, outbid)
    return _from_coins(bidder, item, shape, spent, outbid)


@dataclass(frozen=True)
class _Shape:
    """How many inputs and outputs of a transaction the protocol or a counterparty fixes; behind them, all is ours."""

    declared: GraphTx | None
    inputs: int
    outputs: int

    @classmethod
    def of(cls, item: Pending, graph: Graph) -> "_Shape":
        declared, template = graph.txs.get(item.name), item.template
        foreign = [entry for entry in template.inputs() if isinstance(entry, Coins) and not _is_ours(entry, template)]
        fixed = [entry for entry in template.outputs() if not (isinstance(entry, Free) and _is_ours(entry, template))]
        return cls(declared, len(foreign) + (len(declared.inputs) if declared else 0), len(fixed))


def _is_ours(field: Coins | Free, template: type[Template]) -> bool:
    return (field.signer if isinstance(field, Coins) else field.to) is template.sender


def _output(node: Node, graph: Graph, outpoint: OutPoint, item: Pending) -> TxOut:
    coin = node.output(outpoint)
    if coin is not None:
        return coin.output
    for source in graph.sources.values():
        if source.outpoint == outpoint:
            return source.output
    raise BridgeError(f"{item}: it spends {outpoint}, which is in no block")


def _check_own(wallet: Wallet, outputs: Iterable[TxOut]) -> None:
    """Raises BadInput where another key made the transaction."""
    if any(out.script_pubkey != wallet.script_pubkey for out in outputs):
        raise BadInput("--name", "another key", "the key whose coins the transaction spends")


def _without(wallet: Wallet, coins: Iterable[Utxo]) -> Wallet:
    return replace(wallet, reserved=wallet.reserved | {coin.outpoint for coin in coins})


def _from_coins(wallet: Wallet, item: Pending, shape: _Shape, spent: list[TxOut], outbid: int) -> Funded:
    """The same inputs and fixed outputs, less change, more coins where that is not enough; signed again by us."""
    own = [txin.outpoint for txin in item.tx.inputs[shape.inputs :]]
    inputs = (*item.tx.inputs[: shape.inputs], *map(own_input, own))
    partial = replace(item.tx, inputs=inputs, outputs=item.tx.outputs[: shape.outputs])
    bidder = replace(wallet, reserved=wallet.reserved | set(own))
    funded = bidder.fund(partial, spent, outbid=outbid)
    funded = wallet.sign_coins(replace(funded, coins=funded.coins | set(own)), shape.inputs)
    return _sign_leaves(wallet.key, shape.declared, item.template, funded)


def _sign_leaves(key: WalletKey, declared: GraphTx | None, template: type[Template], funded: Funded) -> Funded:
    """Put a fresh signature of the sender where the old one covered all outputs; the other items stay."""
    tx = funded.tx
    if declared is None:
        return funded
    for index, entry in enumerate(declared.inputs):
        if entry.signer is template.sender and entry.sighash is SigHash.DEFAULT:
            signature = key.sign(declared.digest(entry.name, funded.tx, funded.spent))
            tx = tx.with_witness(index, (signature, *tx.inputs[index].witness[1:]))
    return replace(funded, tx=tx)


def _from_reward(wallet: Wallet, item: Pending, shape: _Shape, spent: list[TxOut], outbid: int) -> Funded:
    """The same inputs, whose signatures allow no other, and a smaller reward."""
    fixed = item.tx.outputs[: shape.outputs]
    tx = replace(item.tx, outputs=(*fixed, TxOut(0, wallet.script_pubkey)))
    fee = Bill(outbid=outbid).fee(tx.vsize, wallet.fee_rate)
    available = sum(out.amount for out in spent) - sum(out.amount for out in fixed)
    if available - fee < DUST:
        raise BridgeError(f"{item}: a fee of {fee:,} sat leaves no reward of {available:,} sat")
    return Funded(replace(tx, outputs=(*fixed, TxOut(available - fee, wallet.script_pubkey))), tuple(spent))
