"""A mempool over a chain, with the rules of Bitcoin Core that the bridge meets.

Standardness (`policy`), locks (BIP65, BIP68, BIP113), coinbase maturity, script validation by Core's own code, fees,
replacement (BIP125 without signalling, as Core 28 and later), TRUC (BIP431), ephemeral dust and 1P1C packages.
Left out: eviction by size or age; of the feerate diagrams that Core 31 compares before a replacement, only the best
point of each is looked at.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Final, Protocol

from bitvm_bridge import policy
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.chain.node import Utxo
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.transaction import SEQUENCE_FINAL, OutPoint, Transaction, TxOut

COINBASE_MATURITY: Final = 100
"""blocks on top of a coinbase before its outputs can be spent."""
LOCK_TIME_THRESHOLD: Final = 500_000_000
"""A lock time below is a height, from here on a time in seconds (BIP65)."""
SEQUENCE_DISABLE: Final = 1 << 31
SEQUENCE_TIME: Final = 1 << 22
SEQUENCE_MASK: Final = 0xFFFF
"""Fields of nSequence (BIP68); a time counts in units of 512 seconds."""
MAX_CLUSTER: Final = 64
"""connected unconfirmed transactions (DEFAULT_CLUSTER_LIMIT)."""
MAX_CLUSTER_VSIZE: Final = 101_000
"""vB of them together (DEFAULT_CLUSTER_SIZE_LIMIT_KVB)."""


class ChainView(Protocol):
    """What a mempool asks of its chain."""

    def height(self) -> int:
        """Height of the best chain."""

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """A confirmed unspent output."""

    def median_time(self, height: int) -> int:
        """Median time past of the block at `height`: seconds since 1970 (BIP113)."""


@dataclass(frozen=True)
class Entry:
    """A transaction that waits, with the outputs it spends (input order), its fee (sat) and its size (vB)."""

    tx: Transaction
    txid: bytes
    spent: tuple[TxOut, ...]
    fee: int
    vsize: int


@dataclass(frozen=True)
class Change:
    """What taking transactions does to a mempool."""

    added: tuple[Entry, ...] = ()
    removed: frozenset[bytes] = frozenset()


class Mempool:
    """Unconfirmed transactions, parents before children. `judge` looks, `apply` changes."""

    def __init__(self, chain: ChainView) -> None:
        self._chain = chain
        self._entries: dict[bytes, Entry] = {}
        self._spenders: dict[OutPoint, bytes] = {}

    def __contains__(self, txid: bytes) -> bool:
        return txid in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __getitem__(self, txid: bytes) -> Entry:
        return self._entries[txid]

    def spender(self, outpoint: OutPoint) -> Entry | None:
        """The transaction that spends an output."""
        txid = self._spenders.get(outpoint)
        return None if txid is None else self._entries[txid]

    def ancestors(self, tx: Transaction) -> set[bytes]:
        """Txids of all its unconfirmed ancestors."""
        found: set[bytes] = set()
        todo = self._parents(tx)
        while todo:
            txid = todo.pop()
            found.add(txid)
            todo |= self._parents(self._entries[txid].tx) - found
        return found

    def descendants(self, txids: Iterable[bytes]) -> set[bytes]:
        """These and everything that spends from them."""
        found: set[bytes] = set()
        todo = set(txids)
        while todo:
            txid = todo.pop()
            found.add(txid)
            todo |= self._children(self._entries[txid].tx) - found
        return found

    def apply(self, change: Change) -> None:
        """Remove, then add."""
        for txid in change.removed:
            entry = self._entries.pop(txid)
            for txin in entry.tx.inputs:
                del self._spenders[txin.outpoint]
        for entry in change.added:
            self._entries[entry.txid] = entry
            self._spenders |= {txin.outpoint: entry.txid for txin in entry.tx.inputs}

    def confirmed(self, transactions: Iterable[Transaction]) -> Change:
        """What leaves because these are in a block: themselves, and all that conflicts with them."""
        gone: set[bytes] = set()
        for tx in transactions:
            if (txid := tx.txid) in self._entries:
                gone.add(txid)
            else:
                gone |= self.descendants(self._conflicts(tx))
        return Change(removed=frozenset(gone))

    def restore(self, transactions: Iterable[Transaction]) -> None:
        """Fill an empty mempool with what an earlier one held; what its chain has overtaken since falls away."""
        for tx in transactions:
            with contextlib.suppress(NodeRejected):
                self.apply(Change((self._entry(tx, {}),)))

    def judge(self, transactions: Sequence[Transaction]) -> Change:
        """What taking one transaction, or a parent with its child, would change.

        Raises NodeRejected with Core's reject code.
        """
        fresh = [tx for tx in transactions if tx.txid not in self._entries]
        if len(fresh) == 1:
            return self._judge_alone(fresh[0])
        if len(fresh) == 2:
            return self._judge_package(*fresh)
        raise NodeRejected("txn-already-in-mempool")

    def _judge_alone(self, tx: Transaction) -> Change:
        entry = self._entry(tx, {})
        _refuse(policy.check_spends(tx, entry.spent))
        parents, ancestors = self._parents(tx), self.ancestors(tx)
        _refuse(policy.check_lineage(tx, [self._entries[txid].tx for txid in parents], len(ancestors)))
        removed = self.descendants(self._conflicts(tx) | self._siblings(tx, parents))
        if removed & ancestors:
            raise NodeRejected("bad-txns-spends-conflicting-tx")
        self._check_replacement([entry], removed)
        self._check_cluster([entry], removed)
        _check_scripts(entry)
        return Change((entry,), frozenset(removed))

    def _judge_package(self, parent: Transaction, child: Transaction) -> Change:
        first = self._entry(parent, {})
        outputs = dict(zip(_outpoints(parent), parent.outputs, strict=True))
        if not any(txin.outpoint in outputs for txin in child.inputs):
            raise NodeRejected("package topology disallowed. not child-with-parents or parents depend on each other.")
        if {txin.outpoint for txin in parent.inputs} & {txin.outpoint for txin in child.inputs}:
            raise NodeRejected("conflict-in-package")
        second = self._entry(child, outputs)
        entries = [first, second]
        _refuse(policy.check_package(parent, first.spent, child, second.spent))
        if self.ancestors(parent) or self.ancestors(child):
            raise NodeRejected("package topology disallowed (an unconfirmed ancestor outside of the package)")
        removed = self.descendants(self._conflicts(parent) | self._conflicts(child))
        if removed and _feerate(entries) <= _feerate([first]):
            raise NodeRejected("package RBF failed: package feerate is less than or equal to parent feerate")
        self._check_replacement(entries, removed)
        self._check_cluster(entries, removed)
        for entry in entries:
            _check_scripts(entry)
        return Change((first, second), frozenset(removed))

    def _entry(self, tx: Transaction, package: dict[OutPoint, TxOut]) -> Entry:
        """The transaction with the outputs it spends: of the chain, of the mempool or of its own package."""
        _refuse(policy.check_form(tx))
        next_height = self._chain.height() + 1
        if not self._is_final(tx, next_height):
            raise NodeRejected("non-final")
        if any(self._chain.output(outpoint) for outpoint in _outpoints(tx)):
            raise NodeRejected("txn-already-known")
        coins = [self._coin(txin.outpoint, package, next_height) for txin in tx.inputs]
        if not self._locks_passed(tx, [coin.height for coin in coins], next_height):
            raise NodeRejected("non-BIP68-final")
        for coin in coins:
            if coin.coinbase and next_height - coin.height < COINBASE_MATURITY:
                raise NodeRejected(
                    "bad-txns-premature-spend-of-coinbase "
                    f"({next_height - coin.height} of {COINBASE_MATURITY} blocks old)"
                )
        spent = tuple(coin.output for coin in coins)
        return Entry(tx, tx.txid, spent, policy.fee_of(tx, spent), tx.vsize)

    def _coin(self, outpoint: OutPoint, package: dict[OutPoint, TxOut], next_height: int) -> Utxo:
        """The coin at an outpoint; an unconfirmed one counts as if it were in the next block (BIP68)."""
        if (coin := self._chain.output(outpoint)) is not None:
            return coin
        output = package.get(outpoint)
        if output is None and outpoint.txid in self._entries:
            outputs = self._entries[outpoint.txid].tx.outputs
            output = outputs[outpoint.vout] if outpoint.vout < len(outputs) else None
        if output is None:
            raise NodeRejected(f"bad-txns-inputs-missingorspent ({outpoint} does not exist or is spent)")
        return Utxo(outpoint, output, next_height)

    def _is_final(self, tx: Transaction, height: int) -> bool:
        if tx.lock_time == 0 or all(txin.sequence == SEQUENCE_FINAL for txin in tx.inputs):
            return True
        now = height if tx.lock_time < LOCK_TIME_THRESHOLD else self._chain.median_time(height - 1)
        return tx.lock_time < now

    def _locks_passed(self, tx: Transaction, heights: Sequence[int], next_height: int) -> bool:
        """Relative locks (BIP68) of coins that confirmed at `heights`, for a block at `next_height`."""
        if tx.version < 2:
            return True
        now = self._chain.median_time(next_height - 1)
        for txin, height in zip(tx.inputs, heights, strict=True):
            wait = txin.sequence & SEQUENCE_MASK
            if txin.sequence & SEQUENCE_DISABLE:
                continue
            if txin.sequence & SEQUENCE_TIME:
                if self._chain.median_time(max(height - 1, 0)) + wait * 512 > now:
                    return False
            elif height + wait > next_height:
                return False
        return True

    def _parents(self, tx: Transaction) -> set[bytes]:
        return {txin.outpoint.txid for txin in tx.inputs if txin.outpoint.txid in self._entries}

    def _children(self, tx: Transaction) -> set[bytes]:
        return {self._spenders[outpoint] for outpoint in _outpoints(tx) if outpoint in self._spenders}

    def _conflicts(self, tx: Transaction) -> set[bytes]:
        return {self._spenders[txin.outpoint] for txin in tx.inputs if txin.outpoint in self._spenders}

    def _siblings(self, tx: Transaction, parents: set[bytes]) -> set[bytes]:
        """A version 3 parent has one child: a better one takes the place of the first (BIP431, sibling eviction)."""
        if tx.version != policy.TRUC_VERSION:
            return set()
        return set().union(*(self._children(self._entries[txid].tx) for txid in parents))

    def _check_replacement(self, entries: Sequence[Entry], removed: set[bytes]) -> None:
        """BIP125 rules 3 and 4, and a miner must not like what goes better than what comes."""
        if not removed:
            return
        fee, vsize = sum(entry.fee for entry in entries), sum(entry.vsize for entry in entries)
        needed = sum(self._entries[txid].fee for txid in removed) + policy.min_fee(vsize, policy.INCREMENTAL_FEE_RATE)
        if fee < needed:
            raise NodeRejected(f"insufficient fee (a replacement must pay {needed} sat, not {fee})")
        score = self._mining_score(entries)
        if any(self._mining_score([self._entries[txid]]) > score for txid in removed):
            raise NodeRejected("replacement-failed (what it replaces has a higher feerate)")

    def _mining_score(self, entries: Sequence[Entry]) -> Fraction:
        """Feerate of the entries, or with their unconfirmed ancestors where these pull it down."""
        older = set().union(*(self.ancestors(entry.tx) for entry in entries))
        return min(_feerate(entries), _feerate([*entries, *(self._entries[txid] for txid in older)]))

    def _check_cluster(self, entries: Sequence[Entry], removed: set[bytes]) -> None:
        """All that hangs together with the newcomers, in both directions."""
        cluster: dict[bytes, Entry] = {}
        todo = list(entries)
        while todo:
            entry = todo.pop()
            cluster[entry.txid] = entry
            near = self._parents(entry.tx) | self._children(entry.tx)
            todo += [self._entries[txid] for txid in near - removed - cluster.keys()]
        vsize = sum(entry.vsize for entry in cluster.values())
        if len(cluster) > MAX_CLUSTER or vsize > MAX_CLUSTER_VSIZE:
            raise NodeRejected(f"too-large-cluster ({len(cluster)} transactions, {vsize:,} vB)")


def _feerate(entries: Sequence[Entry]) -> Fraction:
    return Fraction(sum(entry.fee for entry in entries), sum(entry.vsize for entry in entries))


def _outpoints(tx: Transaction) -> list[OutPoint]:
    txid = tx.txid
    return [OutPoint(txid, index) for index in range(len(tx.outputs))]


def _check_scripts(entry: Entry) -> None:
    if (index := verify_inputs(entry.tx, entry.spent)) is not None:
        raise NodeRejected(f"mempool-script-verify-flag-failed (input {index} of {entry.tx.txid_hex})")


def _refuse(reasons: Sequence[str]) -> None:
    if reasons:
        raise NodeRejected("; ".join(reasons))
