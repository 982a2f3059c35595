"""Coins of one key: choosing them, paying fees with them, and the package child that pays for a parent."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from bitvm_bridge import taproot
from bitvm_bridge.chain.mempool import COINBASE_MATURITY
from bitvm_bridge.chain.node import Node, Utxo, Verdict
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.fees import check_fee_rate
from bitvm_bridge.graph import ANCHOR
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, WalletKey
from bitvm_bridge.params import DUST
from bitvm_bridge.policy import (
    INCREMENTAL_FEE_RATE,
    MAX_STANDARD_WEIGHT,
    MAX_TRUC_CHILD_VSIZE,
    largest_burn,
    min_fee,
)
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.protocol.template import Connector
from bitvm_bridge.transaction import SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut


@dataclass(frozen=True)
class Funded:
    """A transaction whose inputs cover its outputs and its fee; `spent` has the output of each input.

    `coins` are those inputs that a wallet chose.
    """

    tx: Transaction
    spent: tuple[TxOut, ...]
    coins: frozenset[OutPoint] = frozenset()

    @property
    def fee(self) -> int:
        """sat."""
        return sum(out.amount for out in self.spent) - sum(out.amount for out in self.tx.outputs)


@dataclass(frozen=True)
class Prepared:
    """A signed transaction ready to send; `child`, where there is one, pays for it in a package.

    `makes` are the outputs of it whose leaves another wallet is shown where its signature is still missing.
    """

    name: str
    parent: Funded
    child: Funded | None = None
    makes: tuple[Connector, ...] = ()

    @property
    def tx(self) -> Transaction:
        """The transaction itself."""
        return self.parent.tx

    @property
    def fee(self) -> int:
        """sat, the child's included."""
        return self.parent.fee + (self.child.fee if self.child else 0)

    @property
    def transactions(self) -> tuple[Transaction, ...]:
        """Parent, then child."""
        return (self.tx,) if self.child is None else (self.tx, self.child.tx)

    @property
    def coins(self) -> frozenset[OutPoint]:
        """The wallet coins that it spends, the child's included."""
        return self.parent.coins | (self.child.coins if self.child else frozenset())

    @property
    def relayable(self) -> bool:
        """Is it light enough for the relay network (else only a miner can take it)?"""
        return self.tx.weight <= MAX_STANDARD_WEIGHT

    def test(self, node: Node) -> Verdict:
        """The node's policy verdict; on the child alone where the parent waits in the mempool already."""
        if self.child is not None and node.in_mempool(self.tx.txid):
            return node.test((self.child.tx,))
        return node.test(self.transactions)

    def send(self, node: Node) -> None:
        """Broadcast it, alone or as a package. Raises NodeRejected, or BridgeError where it cannot be relayed."""
        send(node, self.name, *self.transactions)


def send(node: Node, name: str, tx: Transaction, child: Transaction | None = None) -> None:
    """Broadcast a transaction, or a parent with the child that pays for it; the child alone where the parent waits.

    Raises NodeRejected, or BridgeError where it is too heavy to be relayed.
    """
    if tx.weight > MAX_STANDARD_WEIGHT:
        raise BridgeError(
            f"{name}: {tx.weight:,} WU is above the relay limit of {MAX_STANDARD_WEIGHT:,}; "
            "export it with --out and hand it to a miner"
        )
    if child is None:
        node.broadcast(tx, max_burn=largest_burn(tx))
    elif node.in_mempool(tx.txid):
        node.broadcast(child)
    else:
        node.submit_package(tx, child, max_burn=largest_burn(tx))


@dataclass(frozen=True)
class Wallet:
    """The coins of one key on one node. `reserved` outpoints are never chosen."""

    key: WalletKey
    node: Node
    fee_rate: float
    reserved: frozenset[OutPoint] = frozenset()

    def __post_init__(self) -> None:
        check_fee_rate(self.fee_rate)

    @property
    def script_pubkey(self) -> bytes:
        """Where its coins are."""
        return wallet_script(self.key.xonly)

    def at(self, fee_rate: float) -> "Wallet":
        """The same wallet at another fee rate (sat/vB)."""
        return replace(self, fee_rate=fee_rate)

    def coins(self) -> list[Utxo]:
        """Spendable coins, largest first."""
        tip = self.node.height()
        ripe = [
            coin
            for coin in self.node.scan(self.script_pubkey)
            if coin.outpoint not in self.reserved and not (coin.coinbase and tip + 1 - coin.height < COINBASE_MATURITY)
        ]
        return sorted(ripe, key=lambda coin: (-coin.output.amount, coin.outpoint))

    def fund(
        self,
        partial: Transaction,
        spent: Sequence[TxOut],
        *,
        extra_vsize: int = 0,
        extra_fee: int = 0,
        outbid: int = 0,
    ) -> Funded:
        """Add coins and change until the outputs and the fee are paid; what `partial` has comes first, unchanged.

        Witnesses of `partial` must have their final size. `extra_vsize` (vB) is paid for as well, less `extra_fee`
        (sat) that others pay. A replacement pays more than `outbid` (sat), by what relaying it costs (BIP125 rules 3
        and 4). Coins are left unsigned. Raises BridgeError where the coins do not suffice.
        """
        bill = Bill(extra_vsize, extra_fee, outbid)
        chosen: list[Utxo] = []
        candidates = self.coins()
        while True:
            funded = self._try(partial, spent, chosen, bill)
            if funded is not None:
                return funded
            if not candidates:
                held = sum(coin.output.amount for coin in self.coins())
                needed = sum(out.amount for out in partial.outputs) - sum(out.amount for out in spent)
                raise BridgeError(f"wallet: {held:,} sat in coins do not pay {max(needed, 0):,} sat and the fee")
            chosen.append(candidates.pop(0))

    def _try(self, partial: Transaction, spent: Sequence[TxOut], chosen: Sequence[Utxo], bill: "Bill") -> Funded | None:
        coins = tuple(own_input(coin.outpoint) for coin in chosen)
        inputs = (*partial.inputs, *coins)
        all_spent = (*spent, *(coin.output for coin in chosen))
        own = frozenset(coin.outpoint for coin in chosen)
        available = sum(out.amount for out in all_spent) - sum(out.amount for out in partial.outputs)
        if not inputs:
            return None
        for change in (True, False):
            outputs = (*partial.outputs, TxOut(0, self.script_pubkey)) if change else partial.outputs
            tx = replace(partial, inputs=inputs, outputs=outputs)
            rest = available - bill.fee(tx.vsize, self.fee_rate)
            if change and rest >= DUST:
                return Funded(replace(tx, outputs=(*partial.outputs, TxOut(rest, self.script_pubkey))), all_spent, own)
            if not change and outputs and rest >= 0:
                return Funded(tx, all_spent, own)
        return None

    def sign_coins(self, funded: Funded, start: int) -> Funded:
        """Sign every input from position `start` on with the wallet's key."""
        tx = funded.tx
        for index in range(start, len(tx.inputs)):
            signature = self.key.sign_key_path(taproot.sighash(funded.tx, index, funded.spent))
            tx = tx.with_witness(index, (signature,))
        return replace(funded, tx=tx)

    def pay(self, outputs: Iterable[TxOut]) -> Funded:
        """A signed transaction from coins to these outputs."""
        return self.sign_coins(self.fund(Transaction(2, (), tuple(outputs)), ()), 0)

    def package(self, name: str, parent: Funded, *, coins: Sequence[Utxo] = (), outbid: int = 0) -> Prepared:
        """The parent with a v3 child that spends its anchor and pays for both (1P1C).

        The child spends `coins` before it takes others, and pays more than `outbid` (sat) where it replaces another.
        Raises BridgeError where the coins do not suffice, or are too many for a child (BIP431).
        """
        position = parent.tx.outputs.index(ANCHOR)
        anchor = TxIn(parent.tx.outpoint(position), SEQUENCE_RBF)
        partial = Transaction(3, (anchor, *(own_input(coin.outpoint) for coin in coins)), ())
        spent = (ANCHOR, *(coin.output for coin in coins))
        child = self.fund(partial, spent, extra_vsize=parent.tx.vsize, extra_fee=parent.fee, outbid=outbid)
        if child.tx.vsize > MAX_TRUC_CHILD_VSIZE:
            raise BridgeError(
                f"{name}: its child would have {child.tx.vsize:,} vB and may have {MAX_TRUC_CHILD_VSIZE:,}; "
                "gather small coins into a large one first"
            )
        child = replace(child, coins=child.coins | {coin.outpoint for coin in coins})
        return Prepared(name, parent, self.sign_coins(child, 1))


def own_input(outpoint: OutPoint) -> TxIn:
    """A wallet coin as an input, with a witness of its final size."""
    return TxIn(outpoint, SEQUENCE_RBF, witness=(SIGNATURE_PLACEHOLDER,))


@dataclass(frozen=True)
class Bill:
    """What a transaction pays for beside itself: see `Wallet.fund`."""

    extra_vsize: int = 0
    extra_fee: int = 0
    outbid: int = 0

    def fee(self, vsize: int, rate: float) -> int:
        """sat that a transaction of this size must pay."""
        fee = max(math.ceil((vsize + self.extra_vsize) * rate) - self.extra_fee, math.ceil(vsize * rate))
        return max(fee, self.outbid + min_fee(vsize, INCREMENTAL_FEE_RATE)) if self.outbid else fee
