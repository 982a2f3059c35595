"""Pictures in which nothing lies on anything else."""

from collections.abc import Iterator
from itertools import combinations, pairwise

import pytest

from bitvm_bridge.dashboard.layout import Arc, Box, Picture, arrange
from bitvm_bridge.dashboard.picture import diagram
from bitvm_bridge.params import Params
from tests.builders import instance_setup


def overlap(one: Box, other: Box) -> bool:
    return (
        one.x < other.x + other.width
        and other.x < one.x + one.width
        and one.y < other.y + other.height
        and other.y < one.y + one.height
    )


def inside(box: Box, point: tuple[float, float]) -> bool:
    return box.x < point[0] < box.x + box.width and box.y < point[1] < box.y + box.height


def straight(picture: Picture) -> Iterator[tuple[float, float]]:
    """The middles of the stretches in which wires cross a column."""
    for wire in picture.wires:
        for (x, y), (to_x, to_y) in pairwise(wire.points):
            if y == to_y:
                yield (x + to_x) / 2, y


def check(picture: Picture) -> None:
    for (one, box), (other, second) in combinations(picture.boxes.items(), 2):
        assert not overlap(box, second), (one, other)
    for box in picture.boxes.values():
        assert 0 <= box.x <= box.x + box.width <= picture.width
        assert 0 <= box.y <= box.y + box.height <= picture.height
        for point in straight(picture):
            assert not inside(box, point), point
    for wire in picture.wires:
        source, target = picture.boxes[wire.arc.source], picture.boxes[wire.arc.target]
        assert wire.points[0][0] == source.x + source.width
        assert wire.points[-1][0] == target.x
        assert target.y <= wire.points[-1][1] <= target.y + target.height
        assert [x for x, _ in wire.points] == sorted(x for x, _ in wire.points)
        if wire.arc.port:
            assert wire.points[0][1] == source.ports[wire.arc.port]


def test_a_chain_is_straight() -> None:
    picture = arrange({"A": ["out"], "B": []}, [Arc("A", "out", "B")])
    check(picture)
    ((start, end),) = [wire.points for wire in picture.wires]
    assert start[1] == pytest.approx(end[1])


def test_what_runs_far_has_a_lane_of_its_own() -> None:
    ports = {"A": ["out"], "B": ["out"], "C": ["out"], "D": []}
    arcs = [Arc("A", "out", "B"), Arc("B", "out", "C"), Arc("C", "out", "D"), Arc("A", "out", "D")]
    picture = arrange(ports, arcs)
    check(picture)
    assert [len(wire.points) for wire in picture.wires] == [2, 2, 2, 6]


def test_wires_of_one_output_run_together() -> None:
    ports = {"A": ["out"], "B": ["out"], "C": [], "D": []}
    arcs = [
        Arc("A", "out", "B"),
        Arc("B", "out", "C"),
        Arc("A", "out", "C"),
        Arc("B", "out", "D"),
        Arc("A", "out", "D"),
    ]
    picture = arrange(ports, arcs)
    check(picture)
    points = {wire.arc: wire.points for wire in picture.wires}
    assert points[arcs[2]][:3] == points[arcs[4]][:3]


def test_boxes_without_arcs_and_no_boxes() -> None:
    check(arrange({"A": ["out"], "B": [], "C": []}, []))
    assert arrange({}, []).boxes == {}


def test_the_same_graph_has_the_same_picture() -> None:
    drawn = diagram(instance_setup().graph)
    ports = {name: list(outputs) for name, outputs in drawn.ports.items()}
    arcs = [link.arc for link in drawn.links]
    picture = arrange(ports, arcs)
    check(picture)
    assert picture == arrange(ports, arcs)
    assert {"PegInDeposit", "PegOut", "ClaimFunding", "KickOff", "Disprove"} <= picture.boxes.keys()


@pytest.mark.parametrize("exits", [1, 3])
def test_exits(exits: int) -> None:
    drawn = diagram(instance_setup(params=Params(exits=exits, peg_in=90_000_000)).graph)
    check(arrange({name: list(outputs) for name, outputs in drawn.ports.items()}, [link.arc for link in drawn.links]))
