"""States of transactions from facts alone, on branches that no command goes."""

import pytest

from bitvm_bridge.dashboard.flow import Facts, Seen, Stand, Standing, gather, standings
from bitvm_bridge.graph import Graph
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from bitvm_bridge.watch import history
from bitvm_bridge.watch.history import Confirmed, Place
from tests.builders import instance_setup

GRAPH = instance_setup("hash-chain:60:1").graph
HEIGHT = 100
"""of every output that is there."""


def outpoints(*names: str, graph: Graph = GRAPH) -> list[OutPoint]:
    return [source.outpoint for name, source in graph.sources.items() if name.startswith(names)]


def facts(spent: dict[OutPoint, str], *confirmed: str, next_block: int = HEIGHT + 1) -> Facts:
    """KickOff and PegIn have confirmed, and of their outputs these were spent, by what has these names."""
    tx = Transaction(2, (), ())
    unspent = {point: HEIGHT for point in outpoints("KickOff.", "PegIn.") if point not in spent}
    seen = {name: Seen(name, tx, HEIGHT) for name in ("PegInDeposit", "PegIn", "ClaimFunding", "KickOff", *confirmed)}
    gone = {point: Seen(name, tx, HEIGHT) for point, name in spent.items()}
    return Facts(next_block, unspent, gone, seen, {})


def test_without_facts_nothing_is_known() -> None:
    found = standings(GRAPH, None)
    assert set(found.values()) == {Standing(Stand.UNKNOWN)}
    assert found.keys() >= {"PegInDeposit", "PegOut", "ClaimFunding", *GRAPH.txs}


def test_an_assertion_may_come_in_parts() -> None:
    (first, *_) = outpoints("KickOff.assertion_")
    (challenge,) = outpoints("KickOff.challenge")
    found = standings(GRAPH, facts({first: "part of Assert", challenge: "Challenge"}, "Challenge"))
    assert found["Assert"] == Standing(Stand.READY, HEIGHT + 1)
    assert found["AssertTimeout_0"].stand is Stand.IMPOSSIBLE
    assert found["AssertTimeout_1"].stand is Stand.WAITING
    assert found["UnhappyTake"].reason == "after Assert"


def test_another_spend_of_an_assert_connector_ends_it() -> None:
    (first, *_) = outpoints("KickOff.assertion_")
    found = standings(GRAPH, facts({first: "AssertTimeout_0"}, "AssertTimeout_0"))
    assert found["Assert"].reason == "KickOff.assertion_0 was spent by AssertTimeout_0 in block 100"


@pytest.mark.parametrize(("name", "lock"), [("HappyTake", 6), ("AssertTimeout_3", 12), ("Forfeit", 24)])
def test_a_lock_passes_in_one_block(name: str, lock: int) -> None:
    for ahead, stand in ((lock - 1, Stand.WAITING), (lock, Stand.READY)):
        found = standings(GRAPH, facts({}, next_block=HEIGHT + ahead))
        assert found[name] == Standing(stand, HEIGHT + lock)


def test_a_moved_deposit_is_no_refund() -> None:
    """The committee signs the deposit away: it spends what PegInRefund spends, by the leaf of PegIn."""
    output = instance_setup().graph.source("PegInDeposit.deposit").output
    made = Transaction(2, (TxIn(OutPoint(bytes(32), 0)),), (output,))
    graph = instance_setup(deposit=made.outpoint(0)).graph
    source = graph.source("PegInDeposit.deposit")
    assert source.connector is not None
    moved = TxIn(source.outpoint, witness=(bytes(64), *source.connector.script_path("confirm")))
    seen = [Confirmed(Place(1, 1), made), Confirmed(Place(2, 1), Transaction(2, (moved,), (TxOut(1_000, b"\x51"),)))]
    found = gather(history.read(graph, seen), seen, {}, 3)
    assert found.spent[source.outpoint].name == "deposit moved"
    assert found.confirmed.keys() == {"PegInDeposit", "deposit moved"}
    assert standings(graph, found)["PegInRefund"].reason == "PegInDeposit.deposit was spent by deposit moved in block 2"
