"""Looks at a store and a node, again and again, and keeps what was seen last. Writes to neither.

All looking is done in one thread of its own, however many requests ask. What is read off the chain is kept in memory:
a store that is only looked at cannot say how far it was read.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final

from bitvm_bridge import records, status
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dashboard.flow import Facts, gather
from bitvm_bridge.documents import decode
from bitvm_bridge.errors import BridgeError, NodeUnreachable
from bitvm_bridge.graph import Graph
from bitvm_bridge.params import Network
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.store import Store, unreadable
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.watch import history
from bitvm_bridge.watch.follower import Follower
from bitvm_bridge.watch.history import History
from bitvm_bridge.watch.journal import Journal

MAX_AGE: Final = 2.0
"""seconds for which a look is good enough."""
PATIENCE: Final = 5.0
"""seconds that a request waits for a look, before it gets what was seen last."""


@dataclass(frozen=True)
class Kept:
    """An instance in the store: as it was agreed on, with what is signed of it and what this party made for it.

    `setup` is None where the record cannot be read; `problem` then says why, or what is wrong with the bundle, of which
    `signed` is the record.
    """

    id: bytes
    raw: bytes
    setup: InstanceSetup | None
    bundle: Bundle | None = None
    peg_in: bytes | None = None
    made: Mapping[str, Transaction] = field(default_factory=dict)
    signed: bytes | None = None
    problem: str = ""


@dataclass(frozen=True)
class Story:
    """An instance on the chain. `history` and `facts` are None where no chain can hold what was read."""

    history: History | None
    facts: Facts | None
    problem: str = ""


@dataclass(frozen=True)
class Snapshot:
    """All that was seen last, and what kept the latest look from seeing more."""

    network: Network
    ready: bool = False
    node: str = ""
    height: int | None = None
    node_problem: str = ""
    store_problem: str = ""
    kept: Mapping[bytes, Kept] = field(default_factory=dict)
    stories: Mapping[bytes, Story] = field(default_factory=dict)


Connect = Callable[[], AbstractContextManager[Node]]
Fingerprint = Callable[[], object]
"""Changes when the chain has; None where only the node can tell."""


class Reader:
    """Sees the store in a directory and the node that `connect` reaches.

    A chain that one process at a time may open is opened only when its `fingerprint` has changed and it `is_settled`,
    so that looking stands in nobody's way.
    """

    def __init__(
        self,
        home: Path,
        network: Network,
        connect: Connect,
        fingerprint: Fingerprint = lambda: None,
        is_settled: Callable[[], bool] = lambda: True,
        *,
        max_age: float = MAX_AGE,
        patience: float = PATIENCE,
    ) -> None:
        self._home = home
        self._connect = connect
        self._fingerprint = fingerprint
        self._is_settled = is_settled
        self._max_age = max_age
        self._patience = patience
        self._last = Snapshot(network)
        self._lock = Lock()
        self._worker = ThreadPoolExecutor(1, "dashboard-reader")
        self._looking: Future[None] | None = None
        self._ended = 0.0
        self._journal: Journal | None = None
        self._chain_seen: object = None

    def snapshot(self) -> Snapshot:
        """What a look sees now, or what was seen last where that takes too long."""
        with self._lock:
            done = self._looking is None or self._looking.done()
            if done and (not self._last.ready or time.monotonic() - self._ended >= self._max_age):
                self._looking = self._worker.submit(self._look)
            looking = self._looking
        if looking is not None and looking in wait([looking], timeout=self._patience).done:
            looking.result()
        return self._last

    def close(self) -> None:
        """Let a look that has begun end, and look no more."""
        self._worker.submit(self._drop_journal)
        self._worker.shutdown()

    def _look(self) -> None:
        """One look at both: what cannot be seen is told, and what was seen before stays."""
        found = replace(self._last, ready=True, store_problem="", node_problem="")
        try:
            found = replace(found, kept=self._read_store(found.kept))
        except BridgeError as error:
            found = replace(found, store_problem=str(error))
        except sqlite3.Error as error:
            found = replace(found, store_problem=str(unreadable(error)))
        try:
            found = self._read_chain(found)
        except NodeUnreachable as error:
            found = replace(found, node_problem=str(error))
        except BridgeError as error:
            # A chain that does not continue what was read is read from the beginning at the next look.
            self._drop_journal()
            found = replace(found, node_problem=str(error))
        self._last, self._ended = found, time.monotonic()

    def _read_store(self, before: Mapping[bytes, Kept]) -> dict[bytes, Kept]:
        with closing(Store.read_only(self._home, self._last.network)) as store:
            return {key: _read(store, key, raw, before.get(key)) for key, raw in store.items(records.INSTANCE)}

    def _read_chain(self, found: Snapshot) -> Snapshot:
        graphs = {key: item.setup.graph for key, item in found.kept.items() if item.setup is not None}
        seen = self._fingerprint(), {key: item.raw for key, item in found.kept.items()}
        if seen[0] is not None and seen == self._chain_seen:
            return found
        if found.height is not None and not self._is_settled():
            return replace(found, node_problem=self._last.node_problem)
        if seen[0] == ():
            raise NodeUnreachable(f"there is no chain in {self._home} yet")
        if self._journal is None or any(
            item.raw != self._last.kept[key].raw for key, item in found.kept.items() if key in self._last.kept
        ):
            self._drop_journal()
            self._journal = Journal(Store.in_memory(found.network))
        with self._connect() as node:
            progress = Follower(node, self._journal, graphs).catch_up()
            tell = partial(_tell, self._journal, node, progress.height)
            stories = {key: tell(found.kept[key], graph) for key, graph in graphs.items()}
            name = node.name
        self._chain_seen = seen
        return replace(found, node=name, height=progress.height, stories=stories)

    def _drop_journal(self) -> None:
        if self._journal is not None:
            self._journal.store.close()
        self._journal, self._chain_seen = None, None


def _read(store: Store, key: bytes, raw: bytes, before: Kept | None) -> Kept:
    """A record, and all that belongs to it; what has not changed is neither built nor verified again."""
    known = before if before is not None and before.raw == raw else None
    try:
        setup = known.setup if known is not None and known.setup is not None else InstanceSetup.from_json(raw)
        _ = setup.graph
    except BridgeError as error:
        return Kept(key, raw, None, problem=str(error))
    made = dict(store.transactions(setup.deposit.request.id)) | dict(store.transactions(key))
    signed = store.get(records.BUNDLE, key)
    found = Kept(key, raw, setup, peg_in=_peg_in(store, setup), made=made, signed=signed)
    if signed is None:
        return found
    if known is not None and known.signed == signed:
        return replace(found, bundle=known.bundle, problem=known.problem)
    try:
        return replace(found, bundle=Bundle.from_json(signed, setup))
    except BridgeError as error:
        return replace(found, problem=str(error))


def _peg_in(store: Store, setup: InstanceSetup) -> bytes | None:
    raw = store.get(records.PEG_IN, setup.deposit.request.id)
    return None if raw is None else bytes.fromhex(decode(raw, records.PegInDocument, records.PEG_IN).signature)


def _tell(journal: Journal, node: Node, height: int, kept: Kept, graph: Graph) -> Story:
    seen = journal.seen(kept.id)
    try:
        past = history.read(graph, seen)
    except BridgeError as error:
        return Story(None, None, str(error))
    pending = _pending(node, graph, past, kept.made)
    return Story(past, gather(past, seen, pending, height + 1))


def _pending(node: Node, graph: Graph, past: History, made: Mapping[str, Transaction]) -> dict[str, Transaction]:
    """What of an instance waits in the mempool: spends of its outputs, and what this party made itself."""
    found = {}
    for outpoint in past.unspent:
        if (waiting := node.mempool_spender(outpoint)) is not None:
            found[status.identify(graph, waiting.tx)] = waiting.tx
    confirmed = {item.confirmed.tx.txid for item in past.events}
    for name, tx in made.items():
        if name not in found and tx.txid not in confirmed and node.in_mempool(tx.txid):
            found[name] = tx
    return found
