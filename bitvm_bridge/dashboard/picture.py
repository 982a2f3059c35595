"""The graph of an instance as boxes and wires: many of a kind are one box, many outputs of a kind one wire."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from bitvm_bridge.dashboard.flow import ORDER, Facts, Stand, Standing, maker, wallet_made
from bitvm_bridge.dashboard.layout import Arc
from bitvm_bridge.graph import Graph, GraphInput, Source
from bitvm_bridge.protocol import KickOff, PegOut
from bitvm_bridge.protocol.template import Output

CLAIM_FOLLOWS: Final = (PegOut.__name__, KickOff.__name__)
"""A claim is for a payment: no output says so, but an operator sends one after the other."""


@dataclass(frozen=True)
class Group:
    """Transactions of one declaration; `name` is the only one's own name where there is one."""

    name: str
    members: tuple[str, ...]


@dataclass(frozen=True)
class Port:
    """Outputs of one field of a box, which other boxes spend."""

    box: str
    name: str
    sources: tuple[Source, ...]

    @property
    def amount(self) -> int:
        """sat of all of them."""
        return sum(source.output.amount for source in self.sources)


@dataclass(frozen=True)
class Link:
    """A wire: which inputs of the target spend the port. Without inputs it only says what comes first."""

    arc: Arc
    inputs: tuple[GraphInput, ...]


@dataclass(frozen=True)
class Diagram:
    """Boxes, their ports by box, and the wires between them, sources before targets."""

    groups: Mapping[str, Group]
    ports: Mapping[str, Mapping[str, Port]]
    links: tuple[Link, ...]


def diagram(graph: Graph) -> Diagram:
    """What to draw of a graph."""
    groups = _groups(graph)
    owner = {member: group.name for group in groups.values() for member in group.members}
    spent = {entry.source.name for item in graph.txs.values() for entry in item.inputs}
    sources = [source for source in graph.sources.values() if source.name in spent]
    ports: dict[str, dict[str, Port]] = {name: {} for name in groups}
    port_of: dict[str, Port] = {}
    for (box, field), members in groupby(sources, lambda source: (owner[maker(source)], _field(graph, source))):
        port = Port(box, field, tuple(members))
        ports[box][field] = port
        port_of |= {source.name: port for source in port.sources}
    return Diagram(groups, ports, tuple(_links(graph, groups, owner, port_of)))


def stand_of(group: Group, standings: Mapping[str, Standing]) -> Standing:
    """The state of the member that is furthest, which speaks for all."""
    return min((standings[member] for member in group.members), key=lambda standing: ORDER.index(standing.stand))


def wire_state(link: Link, facts: Facts | None, target: Standing) -> str:
    """spent: by this very transaction; open: unspent, and this one may still come; dead; later; or unknown."""
    if facts is None:
        return "unknown"
    if target.stand is Stand.IMPOSSIBLE:
        return "dead"
    if target.stand is Stand.CONFIRMED:
        return "spent"
    return "open" if link.inputs and all(i.source.outpoint in facts.unspent for i in link.inputs) else "later"


def port_state(port: Port, facts: Facts | None) -> str:
    """open: one of its outputs is unspent; spent: none is; later: they do not exist."""
    if facts is None:
        return "unknown"
    outpoints = [source.outpoint for source in port.sources]
    if any(outpoint in facts.unspent for outpoint in outpoints):
        return "open"
    return "spent" if any(outpoint in facts.spent for outpoint in outpoints) else "later"


def _groups(graph: Graph) -> dict[str, Group]:
    """By declaration, in the order of the protocol; repeated ones together."""
    families: dict[str, list[str]] = {template.__name__: [template.__name__] for template in wallet_made(graph)}
    for item in graph.txs.values():
        families.setdefault(item.template.__name__, []).append(item.name)
    groups = [Group(names[0] if len(names) == 1 else family, tuple(names)) for family, names in families.items()]
    return {group.name: group for group in groups}


def _field(graph: Graph, source: Source) -> str:
    """The declared field of an output: the same for all outputs that there are several of."""
    box, _, name = source.name.partition(".")
    if box not in graph.txs:
        return name
    for item in graph.txs[box].template.outputs():
        if isinstance(item, Output) and item.many is not None and name.startswith(f"{item.name}_"):
            return item.name
    return name


def _links(
    graph: Graph, groups: Mapping[str, Group], owner: Mapping[str, str], ports: Mapping[str, Port]
) -> Iterable[Link]:
    wires: dict[Arc, list[GraphInput]] = {}
    for item in graph.txs.values():
        for entry in item.inputs:
            port = ports[entry.source.name]
            wires.setdefault(Arc(port.box, port.name, owner[item.name]), []).append(entry)
        first = item.template.after
        if first is not None and first.__name__ in groups:
            wires.setdefault(Arc(first.__name__, "", owner[item.name]), [])
    if all(name in groups for name in CLAIM_FOLLOWS):
        wires.setdefault(Arc(CLAIM_FOLLOWS[0], "", CLAIM_FOLLOWS[1]), [])
    return (Link(arc, tuple(entries)) for arc, entries in wires.items())
