"""Every instance of a store at a height: what has happened to it, and what its parties owe."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute.disprove import Proof
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.watch import history
from bitvm_bridge.watch.claims import FindCoin
from bitvm_bridge.watch.decide import find_wrong_step
from bitvm_bridge.watch.follower import Chain, Follower, Progress
from bitvm_bridge.watch.history import History, Timed
from bitvm_bridge.watch.journal import Journal

UNREADABLE: Final = "unreadable"
"""The state of an instance whose history no chain can hold."""


@dataclass
class Library:
    """The instances of a store, kept between two looks: rebuilding a graph takes longer than reading a block."""

    store: Store
    _setups: dict[bytes, InstanceSetup] = field(default_factory=dict)
    _bundles: dict[bytes, Bundle] = field(default_factory=dict)
    _wrong_steps: dict[tuple[bytes, ...], Proof | None] = field(default_factory=dict)

    def setups(self) -> dict[bytes, InstanceSetup]:
        """Instance id → instance, as the store has them now."""
        found = {}
        for instance, raw in self.store.items(records.INSTANCE):
            if raw not in self._setups:
                self._setups[raw] = InstanceSetup.from_json(raw)
            found[instance] = self._setups[raw]
        return found

    def bundle(self, setup: InstanceSetup) -> Bundle | None:
        """The verified bundle of an instance; None while it is not signed. Raises VerificationFailed."""
        raw = self.store.get(records.BUNDLE, setup.id)
        if raw is None:
            return None
        if raw not in self._bundles:
            self._bundles[raw] = Bundle.from_json(raw, setup)
        return self._bundles[raw]

    def wrong_step(self, setup: InstanceSetup, revealed: Sequence[Transaction]) -> Proof | None:
        """The first wrong step of what an operator revealed; None where there is none."""
        key = (setup.id, *(tx.serialize() for tx in revealed))
        if key not in self._wrong_steps:
            self._wrong_steps[key] = find_wrong_step(setup, revealed)
        return self._wrong_steps[key]


@dataclass(frozen=True)
class View:
    """One instance: its history, or why that cannot be."""

    setup: InstanceSetup
    history: History | None
    problem: str = ""

    @property
    def state(self) -> str:
        """In one word."""
        return UNREADABLE if self.history is None else self.history.state.name

    @property
    def timed(self) -> tuple[Timed, ...]:
        """What the parties owe."""
        return () if self.history is None else self.history.timed

    @property
    def at_risk(self) -> int:
        """sat that the end of its claim moves."""
        return 0 if self.history is None else self.history.at_risk


@dataclass(frozen=True)
class Survey:
    """All instances, at the last block that was read."""

    progress: Progress
    views: Mapping[bytes, View]

    @property
    def next_block(self) -> int:
        """The height of the next block: what may be in it can be sent now."""
        return self.progress.height + 1


def survey(library: Library, chain: Chain) -> Survey:
    """Read the chain up to its tip, then every instance. Raises NodeUnreachable, BridgeError for too deep a fork."""
    setups = library.setups()
    journal = Journal(library.store)
    progress = Follower(chain, journal, {instance: setup.graph for instance, setup in setups.items()}).catch_up()
    return Survey(progress, {instance: _view(journal, setup) for instance, setup in setups.items()})


def _view(journal: Journal, setup: InstanceSetup) -> View:
    try:
        return View(setup, history.read(setup.graph, journal.seen(setup.id)))
    except BridgeError as error:
        return View(setup, None, str(error))


def coin_finder(store: Store, node: Node) -> FindCoin:
    """Finds confirmed outputs, spent or not; a node may have to walk many blocks for one, so that it is kept."""
    journal = Journal(store)

    def find(outpoint: OutPoint) -> TxOut | None:
        if (known := journal.coin(outpoint)) is not None:
            return known
        found = node.find(outpoint.txid)
        if found is None or outpoint.vout >= len(found[0].outputs):
            return None
        journal.add_coin(outpoint, found[0].outputs[outpoint.vout])
        return found[0].outputs[outpoint.vout]

    return find
