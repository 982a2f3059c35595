"""Where an instance stands on a chain: what has confirmed, what can be sent now, by whom, and until when.

All of it is derived from the graph: a transaction can be sent from the height at which the locks of all its inputs
have passed, and its time is up when a transaction of another party that spends one of the same outputs becomes valid.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from bitvm_bridge.chain.node import Node
from bitvm_bridge.graph import Graph, GraphInput
from bitvm_bridge.protocol import Party
from bitvm_bridge.transaction import OutPoint, Transaction


@dataclass(frozen=True)
class Event:
    """A transaction of the graph that has confirmed, or another spend of one of its outputs (`name` is then `?`)."""

    name: str
    txid: str
    height: int


@dataclass(frozen=True)
class Duty:
    """A transaction that `sender` can have confirmed in a block from `start` on, and should before `deadline`."""

    name: str
    sender: Party
    start: int
    deadline: int | None


@dataclass(frozen=True)
class Status:
    """What has happened and what can happen next, at `height`."""

    height: int
    events: tuple[Event, ...]
    duties: tuple[Duty, ...]

    @property
    def state(self) -> str:
        """The last transaction that confirmed."""
        return self.events[-1].name if self.events else "unfunded"


OTHER = "?"
"""A spend of the graph's outputs that the graph does not know."""


def status(graph: Graph, node: Node) -> Status:
    """Read the outputs of the graph off the chain. Raises NodeUnreachable."""
    unspent: dict[OutPoint, int] = {}
    events: dict[bytes, Event] = {}
    for source in {entry.source.name: entry.source for item in graph.txs.values() for entry in item.inputs}.values():
        maker = source.name.partition(".")[0]
        if (output := node.output(source.outpoint)) is not None:
            unspent[source.outpoint] = output.height
            events[source.outpoint.txid] = Event(maker, source.outpoint.txid[::-1].hex(), output.height)
        elif (found := node.spender(source.outpoint)) is not None:
            tx, height = found
            events[tx.txid] = Event(identify(graph, tx), tx.txid_hex, height)
    happened = {event.name for event in events.values()}
    order = {name: position for position, name in enumerate(graph.txs)}
    ordered = sorted(events.values(), key=lambda event: (event.height, order.get(event.name, -1)))
    return Status(node.height(), tuple(ordered), tuple(duties(graph, unspent, happened)))


def identify(graph: Graph, tx: Transaction) -> str:
    """The name of the graph's transaction that this is, by its txid or by the outputs that it spends."""
    complete = {item.tx.txid: item.name for item in graph.txs.values() if item.is_complete}
    if tx.txid in complete:
        return complete[tx.txid]
    known = {source.outpoint for source in graph.sources.values()}
    spends = {txin.outpoint for txin in tx.inputs} & known
    for item in graph.txs.values():
        if not item.is_complete and {entry.source.outpoint for entry in item.inputs} == spends:
            return item.name
    return OTHER


def duties(graph: Graph, unspent: Mapping[OutPoint, int], happened: Collection[str]) -> Iterator[Duty]:
    """What can be sent while these outputs are unspent (with their heights) and these transactions have confirmed."""
    possible = {}
    for item in graph.txs.values():
        if all(entry.source.outpoint in unspent for entry in item.inputs):
            possible[item.name] = (item, first_block(item.inputs, unspent))
    for item, start in possible.values():
        if item.template.after is not None and item.template.after.__name__ not in happened:
            continue
        outputs = {entry.source.outpoint for entry in item.inputs}
        rivals = [
            other_start
            for other, other_start in possible.values()
            if other.template.sender is not item.template.sender
            and other_start > start
            and outputs & {entry.source.outpoint for entry in other.inputs}
        ]
        yield Duty(item.name, item.template.sender, start, min(rivals, default=None))


def first_block(inputs: Iterable[GraphInput], unspent: Mapping[OutPoint, int]) -> int:
    """The first height at which the relative locks of all these inputs have passed (BIP68)."""
    return max(unspent[entry.source.outpoint] + max(entry.wait, 1) for entry in inputs)
