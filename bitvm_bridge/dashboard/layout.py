"""Where to draw the boxes and wires of a graph: in layers from left to right (Sugiyama, Tagawa and Toda, 1981).

A box stands right of everything that it spends from. All wires of one output run together until the column before the
box that they end in, each column that they cross keeping a lane free for them. Lengths are in CSS pixels.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Final

WIDTH: Final = 176
HEAD: Final = 62
"""of a box without outputs."""
PORT: Final = 20
"""for each output."""
COLUMN_GAP: Final = 84
ROW_GAP: Final = 22
LANE: Final = 14
MARGIN: Final = 8
SWEEPS: Final = 12


@dataclass(frozen=True)
class Arc:
    """From an output of one box to another box; `port` is empty where no output is spent."""

    source: str
    port: str
    target: str


@dataclass(frozen=True)
class Box:
    """A rectangle; `ports` has the height at which the wires of each output leave its right side."""

    x: float
    y: float
    width: float
    height: float
    ports: Mapping[str, float]


@dataclass(frozen=True)
class Wire:
    """The points that an arc runs through, from left to right."""

    arc: Arc
    points: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Picture:
    """All of it, and the room that it takes."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    wires: tuple[Wire, ...]


def arrange(ports: Mapping[str, Sequence[str]], arcs: Sequence[Arc]) -> Picture:
    """Place boxes (name → its outputs, in an order in which arcs only run forwards) and their arcs."""
    layers = _Layers(ports, arcs)
    layers.order()
    return layers.picture(arcs)


@dataclass
class _Cell:
    """A box, or a lane that wires pass a column in: its column, height, and where it is linked on either side."""

    column: int
    height: float
    ports: dict[str, float] = field(default_factory=dict)
    left: list[tuple[str, str]] = field(default_factory=list)
    """(cell, port) that a wire comes from."""
    right: list[tuple[str, str]] = field(default_factory=list)
    """(own port, cell) that a wire goes to."""
    y: float = 0.0


class _Layers:
    def __init__(self, ports: Mapping[str, Sequence[str]], arcs: Sequence[Arc]) -> None:
        columns = _columns(ports, arcs)
        self.boxes = list(ports)
        self.cells = {
            name: _Cell(
                columns[name],
                HEAD + PORT * len(outputs),
                {port: HEAD + PORT * (index + 0.5) for index, port in enumerate(outputs)} | {"": HEAD / 2},
            )
            for name, outputs in ports.items()
        }
        self.routes = {arc: self._route(arc) for arc in arcs}
        count = 1 + max((cell.column for cell in self.cells.values()), default=0)
        self.rows: list[list[str]] = [[] for _ in range(count)]
        for name, cell in self.cells.items():
            self.rows[cell.column].append(name)

    def _route(self, arc: Arc) -> list[str]:
        """The cells from source to target; lanes are made, or shared with the other arcs of the output."""
        route, port = [arc.source], arc.port
        for column in range(self.cells[arc.source].column + 1, self.cells[arc.target].column):
            lane = f"{arc.source}.{arc.port}@{column}"
            self.cells.setdefault(lane, _Cell(column, LANE, {"": LANE / 2}))
            self._link(route[-1], port, lane)
            route.append(lane)
            port = ""
        self._link(route[-1], port, arc.target)
        return [*route, arc.target]

    def _link(self, source: str, port: str, target: str) -> None:
        if (source, port) not in self.cells[target].left:
            self.cells[target].left.append((source, port))
            self.cells[source].right.append((port, target))

    def order(self) -> None:
        """The order within each column, by the mean place of what each cell is linked to; the best one that is met."""
        best, fewest = [list(row) for row in self.rows], self._crossings()
        for sweep in range(SWEEPS):
            columns = range(1, len(self.rows)) if sweep % 2 == 0 else range(len(self.rows) - 2, -1, -1)
            for column in columns:
                self._sort(column, from_left=sweep % 2 == 0)
            if (crossings := self._crossings()) < fewest:
                best, fewest = [list(row) for row in self.rows], crossings
        self.rows = best

    def _sort(self, column: int, *, from_left: bool) -> None:
        places = self._places()

        def mean(name: str) -> float:
            cell = self.cells[name]
            near = [places[other] + self._share(other, port) for other, port in cell.left] if from_left else []
            near = near if from_left else [places[other] for _, other in cell.right]
            return sum(near) / len(near) if near else places[name]

        self.rows[column].sort(key=mean)

    def _places(self) -> dict[str, int]:
        return {name: index for row in self.rows for index, name in enumerate(row)}

    def _share(self, name: str, port: str) -> float:
        """How far down a cell an output is, from 0 to 1."""
        return self.cells[name].ports[port] / self.cells[name].height

    def _crossings(self) -> int:
        places = self._places()
        links = [
            (self.cells[source].column, places[source] + self._share(source, port), float(places[name]))
            for name, cell in self.cells.items()
            for source, port in cell.left
        ]
        return sum(
            column == other and (a - c) * (b - d) < 0 for (column, a, b), (other, c, d) in combinations(links, 2)
        )

    def _settle(self) -> None:
        """Heights that keep wires straight: every cell as near as it can be to what it is linked to."""
        for row in self.rows:
            self._place(row, lambda _: 0.0)
        for _ in range(SWEEPS):
            for row in [*self.rows, *reversed(self.rows)]:
                self._place(row, self._wanted)

    def _place(self, row: Sequence[str], wanted: Callable[[str], float]) -> None:
        """As near to `wanted` as the order and the gaps allow, by least squares (pool adjacent violators)."""
        offsets, offset = [], 0.0
        for name in row:
            offsets.append(offset)
            offset += self.cells[name].height + (ROW_GAP if name in self.boxes else LANE)
        pools: list[tuple[float, int]] = []
        for target in (wanted(name) - offset for name, offset in zip(row, offsets, strict=True)):
            total, size = target, 1
            while pools and pools[-1][0] / pools[-1][1] >= total / size:
                before = pools.pop()
                total, size = total + before[0], size + before[1]
            pools.append((total, size))
        levels = [total / size for total, size in pools for _ in range(size)]
        for name, level, offset in zip(row, levels, offsets, strict=True):
            self.cells[name].y = level + offset

    def _wanted(self, name: str) -> float:
        """The mean of the heights that would make each of its wires straight."""
        cell = self.cells[name]
        ends = [self.cells[source].y + self.cells[source].ports[port] - cell.height / 2 for source, port in cell.left]
        ends += [self.cells[other].y + self.cells[other].height / 2 - cell.ports[port] for port, other in cell.right]
        return sum(ends) / len(ends) if ends else cell.y

    def picture(self, arcs: Sequence[Arc]) -> Picture:
        """Coordinates, moved so that the uppermost cell is at the margin."""
        self._settle()
        top = min((cell.y for cell in self.cells.values()), default=0.0) - MARGIN
        for cell in self.cells.values():
            cell.y = round(cell.y - top, 1)
        boxes = {name: self._box(self.cells[name]) for name in self.boxes}
        wires = tuple(Wire(arc, tuple(self._points(arc))) for arc in arcs)
        width = max((box.x + box.width for box in boxes.values()), default=0.0) + MARGIN
        height = max((cell.y + cell.height for cell in self.cells.values()), default=0.0) + MARGIN
        return Picture(width, height, boxes, wires)

    def _box(self, cell: _Cell) -> Box:
        ports = {port: cell.y + height for port, height in cell.ports.items() if port}
        return Box(_left(cell.column), cell.y, WIDTH, cell.height, ports)

    def _points(self, arc: Arc) -> Iterator[tuple[float, float]]:
        source, *lanes, target = (self.cells[name] for name in self.routes[arc])
        yield _left(source.column) + WIDTH, source.y + source.ports[arc.port]
        for lane in lanes:
            y = lane.y + lane.height / 2
            yield _left(lane.column), y
            yield _left(lane.column) + WIDTH, y
        yield _left(target.column), self._entry(arc)

    def _entry(self, arc: Arc) -> float:
        """Where a wire enters its target: in the order in which they come, spread over the box's head."""
        cell = self.cells[arc.target]
        origins = sorted(cell.left, key=lambda link: self.cells[link[0]].y + self.cells[link[0]].ports[link[1]])
        last = self.routes[arc][-2]
        place = origins.index((last, arc.port if last == arc.source else ""))
        return round(cell.y + HEAD * (place + 1) / (len(origins) + 1), 1)


def _left(column: int) -> float:
    return float(MARGIN + column * (WIDTH + COLUMN_GAP))


def _columns(ports: Mapping[str, Sequence[str]], arcs: Sequence[Arc]) -> dict[str, int]:
    """The length of the longest way to each box; one that nothing leads to stands beside what it leads to."""
    columns = dict.fromkeys(ports, 0)
    for name in ports:
        for arc in arcs:
            if arc.source == name:
                columns[arc.target] = max(columns[arc.target], columns[name] + 1)
    fed = {arc.target for arc in arcs}
    for name in ports:
        followers = [columns[arc.target] for arc in arcs if arc.source == name]
        if name not in fed and followers:
            columns[name] = min(followers) - 1
    return columns
