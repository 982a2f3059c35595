"""Follow the best chain block by block, and keep what concerns the watched instances.

The position and what was found move together, one store transaction for each block, so that a process may end at any
point. When blocks that were read are no longer in the best chain, they and what was found in them are forgotten, and
the blocks that took their place are read.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from bitvm_bridge.chain.node import Block, Utxo
from bitvm_bridge.errors import BridgeError, NodeRejected
from bitvm_bridge.graph import Graph
from bitvm_bridge.protocol import connectors
from bitvm_bridge.transaction import OutPoint, Transaction
from bitvm_bridge.watch.history import CREATED, Confirmed, Place, is_peg_out
from bitvm_bridge.watch.journal import Journal

MAX_REORG: Final = 100
"""blocks that a reorganisation may take back; a deeper one is for people to look at."""


class Chain(Protocol):
    """What a follower asks of a node."""

    def height(self) -> int:
        """Height of the best chain."""

    def block(self, height: int) -> Block:
        """The block of the best chain at `height`. Raises NodeRejected above the tip."""

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """The output, where it is confirmed and unspent."""

    def find(self, txid: bytes) -> tuple[Transaction, int] | None:
        """A confirmed transaction and its height."""


@dataclass(frozen=True)
class Progress:
    """How far the follower is: the last block it read, the node's tip, and how many blocks it took back."""

    height: int
    tip: int
    rewound: int = 0

    @property
    def lag(self) -> int:
        """Blocks that the node has and the follower has not; negative for a node that is behind."""
        return self.tip - self.height


class _ChainMoved(Exception):
    """The chain, or the position in the store, changed while it was read: look again."""


class Follower:
    """Reads blocks from a node into a journal for the instances with these graphs (instance id → graph)."""

    def __init__(self, chain: Chain, journal: Journal, graphs: Mapping[bytes, Graph]) -> None:
        self._chain = chain
        self._journal = journal
        self._graphs = graphs
        self._index = _Index(graphs)

    def catch_up(self) -> Progress:
        """Read every block up to the node's tip.

        A node on a shorter part of the same chain is waited for. Raises NodeUnreachable, and BridgeError for a
        reorganisation deeper than MAX_REORG; what was read before stays read.
        """
        rewound = 0
        while True:
            tip = self._chain.height()
            try:
                if self._journal.position() is None:
                    self._begin(max(0, tip - MAX_REORG))
                rewound += self._leave_stale(tip)
                self._read_past(tip)
                self._advance(tip)
                return Progress(self._position(), tip, rewound)
            except _ChainMoved:
                continue

    def _position(self) -> int:
        position = self._journal.position()
        if position is None:
            raise _ChainMoved
        return position

    def _block(self, height: int) -> Block:
        try:
            return self._chain.block(height)
        except NodeRejected:
            raise _ChainMoved from None

    def _begin(self, height: int) -> None:
        """Start below the tip, by as much as a reorganisation may take back."""
        block_hash = self._block(height).hash
        with self._journal.store.transaction():
            if self._journal.position() is None:
                self._journal.add_block(height, block_hash, MAX_REORG)

    def _leave_stale(self, tip: int) -> int:
        """Forget blocks that are not in the best chain; returns how many."""
        position = self._position()
        fork = self._fork(min(position, tip))
        if fork == min(position, tip):
            return 0
        with self._journal.store.transaction():
            self._journal.rewind(fork)
        return position - fork

    def _fork(self, height: int) -> int:
        """The highest block from `height` down that was read and is in the best chain."""
        lowest = self._journal.lowest() or 0
        for candidate in range(height, lowest - 1, -1):
            if self._block(candidate).hash == self._journal.block_hash(candidate):
                return candidate
        raise BridgeError(
            f"watch: the node's chain left the one that was read below block {lowest}, more than {MAX_REORG} blocks "
            f"ago; if the node is right, `watch --rescan` reads everything again"
        )

    def _read_past(self, tip: int) -> None:
        """For instances that are new here, read what came before the position."""
        position = min(self._position(), tip)
        for instance in self._graphs.keys() - self._journal.started():
            found = list(self._past(instance, position))
            with self._journal.store.transaction():
                if self._position() < position:
                    raise _ChainMoved
                for confirmed in found:
                    self._journal.add_seen(instance, confirmed)
                self._journal.start(instance)

    def _past(self, instance: bytes, position: int) -> Iterator[Confirmed]:
        birth = self._birth(self._graphs[instance])
        if birth is None:
            return
        index = _Index({instance: self._graphs[instance]})
        for height in range(birth, position + 1):
            block = self._block(height)
            if self._journal.block_hash(height) not in (None, block.hash):
                raise _ChainMoved
            yield from (confirmed for _, confirmed in index.find(block))

    def _birth(self, graph: Graph) -> int | None:
        """The height of the first transaction that can concern an instance; None while none has confirmed."""
        heights = []
        for name in CREATED:
            outpoint = graph.source(name).outpoint
            if (output := self._chain.output(outpoint)) is not None:
                heights.append(output.height)
            elif (found := self._chain.find(outpoint.txid)) is not None:
                heights.append(found[1])
        return min(heights, default=None)

    def _advance(self, tip: int) -> None:
        """Read blocks up to `tip`."""
        for height in range(self._position() + 1, tip + 1):
            block = self._block(height)
            with self._journal.store.transaction():
                # Another process may have read on; a block that does not follow the last one shows a fork.
                if self._position() != height - 1 or self._journal.block_hash(height - 1) != block.previous:
                    raise _ChainMoved
                for instance, confirmed in self._index.find(block):
                    self._journal.add_seen(instance, confirmed)
                self._journal.add_block(height, block.hash, MAX_REORG)


class _Index:
    """Which instances a transaction concerns."""

    def __init__(self, graphs: Mapping[bytes, Graph]) -> None:
        self._graphs = graphs
        self._spends: dict[OutPoint, list[bytes]] = {}
        self._makes: dict[bytes, list[bytes]] = {}
        self._names: dict[bytes, bytes] = {}
        for instance, graph in graphs.items():
            for source in graph.sources.values():
                self._spends.setdefault(source.outpoint, []).append(instance)
                self._makes.setdefault(source.outpoint.txid, []).append(instance)
            if graph.instance is not None:
                self._names[connectors.instance_marker(graph.instance)] = instance

    def find(self, block: Block) -> Iterator[tuple[bytes, Confirmed]]:
        """(instance, transaction) of everything in a block that concerns one."""
        for position, tx in enumerate(block.transactions):
            for instance in dict.fromkeys(self._concerned(tx)):
                yield instance, Confirmed(Place(block.height, position), tx)

    def _concerned(self, tx: Transaction) -> Iterator[bytes]:
        yield from self._makes.get(tx.txid, ())
        for txin in tx.inputs:
            yield from self._spends.get(txin.outpoint, ())
        yield from self._named(tx)

    def _named(self, tx: Transaction) -> Iterable[bytes]:
        if len(tx.outputs) < 2:
            return
        instance = self._names.get(tx.outputs[1].script_pubkey)
        if instance is not None and is_peg_out(self._graphs[instance], tx):
            yield instance
