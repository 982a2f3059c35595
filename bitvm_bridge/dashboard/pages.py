"""What the page asks for, as JSON values: the overview, an instance, a transaction. Hex and long texts are cut here."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from bitvm_bridge.dashboard import flow
from bitvm_bridge.dashboard.details import transaction
from bitvm_bridge.dashboard.flow import Standing, Window
from bitvm_bridge.dashboard.layout import Picture, arrange
from bitvm_bridge.dashboard.picture import Diagram, Group, Link, diagram, port_state, stand_of, wire_state
from bitvm_bridge.dashboard.reader import Kept, Snapshot, Story
from bitvm_bridge.dashboard.shown import cut
from bitvm_bridge.graph import Graph
from bitvm_bridge.protocol import KickOff, PegInDeposit
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.watch.history import VAULT, Timed
from bitvm_bridge.watch.survey import UNREADABLE, View

UNSEEN: Final = "unknown"
"""The state of an instance while the chain has not been read."""
BASES: Final = (PegInDeposit.__name__, KickOff.__name__)
"""The transactions from whose blocks windows are counted."""

Json = dict[str, Any]


class NotFound(Exception):
    """There is no such instance or transaction."""


def overview(found: Snapshot) -> Json:
    """Every instance, and how the store and the node are."""
    rows = [_summary(found, item) for item in found.kept.values()]
    return {
        "ready": found.ready,
        "network": found.network,
        "node": {"name": found.node, "problem": found.node_problem or None},
        "store": {"problem": found.store_problem or None},
        "height": found.height,
        "at_risk": sum(row["at_risk"] for row in rows),
        "instances": rows,
    }


def _summary(found: Snapshot, item: Kept) -> Json:
    view, setup = _view(found, item), item.setup
    return {
        "instance": item.id.hex(),
        "deposit": setup.deposit.request.id.hex() if setup else None,
        "state": _state(found, item),
        "problem": item.problem or (view.problem if view else "") or None,
        "at_risk": view.at_risk if view else 0,
        "vault": setup.graph.source(VAULT).output.amount if setup else None,
        "operator": setup.operator.hex() if setup else None,
        "program": cut(str(setup.spec)) if setup else None,
        "signed": item.bundle is not None,
        "next": [_next(found, timed) for timed in view.timed] if view else [],
    }


def _view(found: Snapshot, item: Kept) -> View | None:
    """As `status` sees it; None while the chain has not been read."""
    story = found.stories.get(item.id)
    return View(item.setup, story.history, story.problem) if story and item.setup else None


def _state(found: Snapshot, item: Kept) -> str:
    if item.setup is None:
        return UNREADABLE
    view = _view(found, item)
    return view.state if view else UNSEEN


def _next(found: Snapshot, timed: Timed) -> Json:
    return {
        "name": timed.duty.name,
        "by": timed.owed.party,
        "if": timed.owed.when or None,
        "now": found.height is not None and timed.duty.start <= found.height + 1,
        "from": timed.duty.start,
        "before": timed.duty.deadline,
    }


@dataclass(frozen=True)
class _Scene:
    """An instance with everything that its pages are made from."""

    found: Snapshot
    item: Kept
    setup: InstanceSetup
    story: Story | None

    @property
    def graph(self) -> Graph:
        return self.setup.graph

    @property
    def facts(self) -> flow.Facts | None:
        return self.story.facts if self.story else None

    @property
    def owed(self) -> Mapping[str, Timed]:
        """What the parties owe now, by transaction: the first of each."""
        past = self.story.history if self.story else None
        return {timed.duty.name: timed for timed in reversed(past.timed if past else ())}


def _scene(found: Snapshot, instance: str) -> _Scene:
    item = found.kept.get(bytes.fromhex(instance))
    if item is None or item.setup is None:
        raise NotFound
    return _Scene(found, item, item.setup, found.stories.get(item.id))


def instance(found: Snapshot, name: str) -> Json:
    """One instance: its graph as boxes and wires with their states, its windows, and what has happened."""
    scene = _scene(found, name)
    standings = flow.standings(scene.graph, scene.facts)
    deposit = scene.setup.deposit
    return _summary(found, scene.item) | {
        "height": found.height,
        "next_block": None if found.height is None else found.height + 1,
        "network": found.network,
        "receiver": cut(deposit.request.receiver.hex()),
        "members": [{"name": cut(member), "key": key.hex()} for member, key in deposit.committee.members],
        "exit": scene.setup.exit,
        "params": deposit.request.params.to_json(),
        "graph": _drawing(scene, standings),
        "transactions": {member: _standing(scene, member, standing) for member, standing in standings.items()},
        "windows": [_windows(scene, standings, base) for base in BASES],
        "events": _events(scene),
    }


def tx(found: Snapshot, instance: str, name: str) -> Json:
    """One transaction of an instance, decoded."""
    scene = _scene(found, instance)
    standings = flow.standings(scene.graph, scene.facts)
    if name not in standings:
        raise NotFound
    return _standing(scene, name, standings[name]) | transaction(scene.item, scene.setup, scene.facts, name)


def _standing(scene: _Scene, name: str, standing: Standing) -> Json:
    owed = scene.owed.get(name)
    return {
        "name": name,
        "state": standing.stand,
        "block": standing.block,
        "reason": standing.reason or None,
        "sender": flow.sender(scene.graph, name),
        "owed": {"by": owed.owed.party, "if": owed.owed.when or None} if owed else None,
        "before": owed.duty.deadline if owed else None,
    }


@lru_cache(maxsize=32)
def _arranged(graph: Graph) -> tuple[Diagram, Picture]:
    drawn = diagram(graph)
    ports = {name: list(outputs) for name, outputs in drawn.ports.items()}
    return drawn, arrange(ports, [link.arc for link in drawn.links])


def _drawing(scene: _Scene, standings: Mapping[str, Standing]) -> Json:
    drawn, picture = _arranged(scene.graph)
    boxes = [_box(scene, drawn, picture, group, standings) for group in drawn.groups.values()]
    points = {wire.arc: wire.points for wire in picture.wires}
    wires = [
        _wire(scene, link, stand_of(drawn.groups[link.arc.target], standings)) | {"points": points[link.arc]}
        for link in drawn.links
    ]
    return {"width": picture.width, "height": picture.height, "boxes": boxes, "wires": wires}


def _box(scene: _Scene, drawn: Diagram, picture: Picture, group: Group, standings: Mapping[str, Standing]) -> Json:
    box, standing = picture.boxes[group.name], stand_of(group, standings)
    shown = next(member for member in group.members if standings[member] is standing)
    return _standing(scene, shown, standing) | {
        "name": group.name,
        "members": group.members,
        "shown": shown,
        "x": box.x,
        "y": box.y,
        "width": box.width,
        "height": box.height,
        "ports": [
            {
                "name": port.name,
                "count": len(port.sources),
                "amount": port.amount,
                "state": port_state(port, scene.facts),
                "y": box.ports[port.name],
            }
            for port in drawn.ports[group.name].values()
        ],
    }


def _wire(scene: _Scene, link: Link, target: Standing) -> Json:
    return {
        "source": link.arc.source,
        "port": link.arc.port or None,
        "target": link.arc.target,
        "leaf": link.inputs[0].leaf if link.inputs else None,
        "wait": link.inputs[0].wait if link.inputs else 0,
        "count": len(link.inputs),
        "state": wire_state(link, scene.facts, target),
    }


def _windows(scene: _Scene, standings: Mapping[str, Standing], base: str) -> Json:
    """The windows that begin with a transaction: real blocks once it has confirmed, blocks after it before that."""
    seen = scene.facts.confirmed.get(base) if scene.facts else None
    start = seen.height if seen else 0
    rows = [_window(scene, window, standings) for window in flow.windows(scene.graph, base, start)]
    return {"base": base, "height": seen.height if seen else None, "rows": rows}


def _window(scene: _Scene, window: Window, standings: Mapping[str, Standing]) -> Json:
    template = scene.graph[window.name].template
    return _standing(scene, window.name, standings[window.name]) | {
        "from": window.start,
        "before": window.deadline,
        "count": sum(item.template is template for item in scene.graph.txs.values()),
    }


def _events(scene: _Scene) -> list[Json]:
    """What has happened, oldest first; a transaction that did several things once for each of them."""
    past = scene.story.history if scene.story else None
    return [
        {
            "event": str(item.event),
            "txid": item.confirmed.tx.txid_hex,
            "height": item.confirmed.place.height,
            "vsize": item.confirmed.tx.vsize,
        }
        for item in (past.events if past else ())
    ]
