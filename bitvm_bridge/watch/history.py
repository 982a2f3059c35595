"""What has happened to an instance: confirmed transactions in the order of the chain, and the state they add up to.

A history holds nothing that a shorter or another list of transactions would not take back: after a reorganisation it
is made anew from what the journal then holds.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bitvm_bridge import status
from bitvm_bridge.graph import Graph, Source
from bitvm_bridge.policy import ANNEX_TAG
from bitvm_bridge.protocol import connectors
from bitvm_bridge.status import Duty
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn
from bitvm_bridge.watch.machine import Event, Owed, State, step

DEPOSIT: Final = "PegInDeposit.deposit"
VAULT: Final = "PegIn.vault"
CLAIM: Final = "ClaimFunding.claim"
BOND: Final = "KickOff.bond"
CHALLENGE: Final = "KickOff.challenge"
DISPROVE: Final = "KickOff.disprove"
ASSERTION: Final = "KickOff.assertion_"
CREATED: Final = {DEPOSIT: Event.PEG_IN_DEPOSIT, CLAIM: Event.CLAIM_FUNDING}
"""Outputs of transactions that the graph does not make itself, and what their creation means."""


@dataclass(frozen=True, order=True)
class Place:
    """Where a transaction confirmed: height and position in the block."""

    height: int
    position: int


@dataclass(frozen=True)
class Confirmed:
    """A confirmed transaction."""

    place: Place
    tx: Transaction


@dataclass(frozen=True)
class Happened:
    """An event, and the transaction that brought it."""

    event: Event
    confirmed: Confirmed


@dataclass(frozen=True)
class Timed:
    """What a party owes, and the transaction with its blocks: one or more for each `Owed` of the state."""

    owed: Owed
    duty: Duty


@dataclass(frozen=True)
class History:
    """All that has happened to an instance, and the outputs of its graph that are unspent, with their heights."""

    graph: Graph
    state: State = field(default_factory=State)
    events: tuple[Happened, ...] = ()
    unspent: Mapping[OutPoint, int] = field(default_factory=dict)

    def happened(self, *events: Event) -> list[Happened]:
        """Those of these kinds, oldest first."""
        return [item for item in self.events if item.event in events]

    @cached_property
    def timed(self) -> tuple[Timed, ...]:
        """What the parties owe now, from which block on and before which, in the order in which each prefers it."""
        names = {str(item.event) for item in self.events}
        possible = list(status.duties(self.graph, self.unspent, names))
        return tuple(
            Timed(owed, duty)
            for owed in self.state.duties
            for duty in possible
            if self.graph[duty.name].template.__name__ == owed.event
        )

    @property
    def at_risk(self) -> int:
        """sat that the end of a claim moves: vault and bond, while a KickOff waits for its ending."""
        if not self.state.is_live:
            return 0
        sources = (self.graph.source(name) for name in (VAULT, BOND))
        return sum(source.output.amount for source in sources if source.outpoint in self.unspent)


def read(graph: Graph, transactions: Iterable[Confirmed]) -> History:
    """The history that these make, in the order of the chain. Raises BridgeError where no chain can hold them."""
    sources = {source.outpoint: source for source in graph.sources.values()}
    state, happened, unspent = State(), [], dict[OutPoint, int]()
    for confirmed in transactions:
        spent = {txin.outpoint: txin for txin in confirmed.tx.inputs if txin.outpoint in unspent}
        for outpoint in spent:
            del unspent[outpoint]
        created = [source for source in sources.values() if _creates(confirmed.tx, source)]
        unspent |= {source.outpoint: confirmed.place.height for source in created}
        spends = {sources[outpoint].name: _leaf(sources[outpoint], txin) for outpoint, txin in spent.items()}
        waiting = any(sources[outpoint].name.startswith(ASSERTION) for outpoint in unspent)
        for event in _events(graph, confirmed.tx, {source.name for source in created}, spends, waiting):
            state = step(state, event)
            happened.append(Happened(event, confirmed))
    return History(graph, state, tuple(happened), unspent)


def _creates(tx: Transaction, source: Source) -> bool:
    """Does a transaction have this very output?"""
    vout = source.outpoint.vout
    return source.outpoint.txid == tx.txid and vout < len(tx.outputs) and tx.outputs[vout] == source.output


def _leaf(source: Source, txin: TxIn) -> str:
    """The named leaf by which a connector was spent; empty for a leaf of the stream and for a key path."""
    stack = txin.witness
    if len(stack) > 1 and stack[-1][:1] == bytes([ANNEX_TAG]):
        stack = stack[:-1]
    if source.connector is None or len(stack) < 2:
        return ""
    return next((leaf.name for leaf in source.connector.named if leaf.script == stack[-2]), "")


def _events(
    graph: Graph, tx: Transaction, created: set[str], spends: Mapping[str, str], waiting: bool
) -> Iterator[Event]:
    """What a transaction did, one event for each output that it made or spent on its own."""
    if is_peg_out(graph, tx):
        yield Event.PEG_OUT
    for name, event in CREATED.items():
        if name in created:
            yield event
    takes = {Event.HAPPY_TAKE, Event.UNHAPPY_TAKE}
    known = {event: graph[event].tx.txid for event in (Event.PEG_IN, Event.KICK_OFF, *takes) if event in graph.txs}
    found = next((event for event, txid in known.items() if txid == tx.txid), None)
    if found is not None:
        yield found
    if DEPOSIT in spends and found is not Event.PEG_IN:
        yield Event.PEG_IN_REFUND if spends[DEPOSIT] == "refund" else Event.DEPOSIT_MOVED
    if VAULT in spends and found not in takes:
        yield Event.VAULT_MOVED
    if CLAIM in spends and found is not Event.KICK_OFF:
        yield Event.CLAIM_RELEASED
    if found not in takes:
        yield from _claim_events(spends, waiting)


def _claim_events(spends: Mapping[str, str], waiting: bool) -> Iterator[Event]:
    """What a transaction that takes nothing did to the outputs of KickOff."""
    asserted = [leaf for name, leaf in spends.items() if name.startswith(ASSERTION)]
    if CHALLENGE in spends:
        yield Event.CHALLENGE
    if BOND in spends:
        yield _slashing(spends, asserted)
        return
    if asserted:
        yield Event.ASSERT_PART if waiting else Event.ASSERT
    if DISPROVE in spends:
        yield Event.EXPOSE


def _slashing(spends: Mapping[str, str], asserted: list[str]) -> Event:
    if spends[BOND] == "forfeit":
        return Event.FORFEIT
    if DISPROVE in spends and not spends[DISPROVE]:
        return Event.DISPROVE
    return Event.ASSERT_TIMEOUT if asserted == ["timeout"] else Event.BOND_MOVED


def is_peg_out(graph: Graph, tx: Transaction) -> bool:
    """Does a transaction name the graph's instance where a PegOut does: in its second output?"""
    if graph.instance is None or len(tx.outputs) < 2:
        return False
    return tx.outputs[1].script_pubkey == connectors.instance_marker(graph.instance)
