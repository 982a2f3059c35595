"""What parties do, and what the committee hears of, on histories that no node here would make."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bitvm_bridge.graph import Graph
from bitvm_bridge.transaction import Transaction, TxIn, TxOut
from bitvm_bridge.watch import decide, history
from bitvm_bridge.watch.decide import Intent
from bitvm_bridge.watch.history import BOND, DEPOSIT, DISPROVE, VAULT, Confirmed, History, Place
from bitvm_bridge.watch.machine import ClaimState, DepositState, Event
from tests.watch.conftest import Told
from tests.watch.test_follower import truth_of


def without(tale: Told, *events: Event) -> list[Confirmed]:
    """A story without the transactions that brought these events."""
    dropped = {item.confirmed.tx for item in history.read(tale.setup.graph, truth_of(tale)).happened(*events)}
    return [item for item in truth_of(tale) if item.tx not in dropped]


def spend(graph: Graph, name: str, *witness: bytes) -> Transaction:
    """An output of the graph alone, to an output that it does not know."""
    return Transaction(2, (TxIn(graph.source(name).outpoint, witness=witness),), (TxOut(1_000, b"\x51"),))


def then(tale: Told, confirmed: Sequence[Confirmed], *transactions: Transaction) -> History:
    height = len(tale.blocks)
    late = [Confirmed(Place(height + index, 0), tx) for index, tx in enumerate(transactions)]
    return history.read(tale.setup.graph, [*confirmed, *late])


def challenger(found: History, tale: Told, fault: str = "") -> list[Intent]:
    return decide.of_challenger(found, fault, lambda: decide.find_wrong_step(tale.setup, decide.revealed(found)))


def exposing(tale: Told) -> Transaction:
    """The disproof of a story, on the disprove connector alone."""
    (disproof,) = history.read(tale.setup.graph, truth_of(tale)).happened(Event.DISPROVE)
    return replace(disproof.confirmed.tx, inputs=disproof.confirmed.tx.inputs[1:])


def test_a_step_proved_wrong_without_the_bond(told: dict[str, Told]) -> None:
    tale = told["fraud"]
    unasked = then(tale, without(tale, Event.DISPROVE, Event.CHALLENGE), exposing(tale))
    assert unasked.state.claim is ClaimState.EXPOSED
    intents = challenger(unasked, tale)
    assert [(intent.name, intent.reason) for intent in intents] == [
        ("Challenge", "a step was proved wrong"),
        ("Forfeit", "the claim was abandoned"),
    ]
    challenged = then(tale, without(tale, Event.DISPROVE), exposing(tale))
    assert challenged.state.claim is ClaimState.CONDEMNED
    assert [intent.name for intent in challenger(challenged, tale)] == ["Forfeit"]
    assert decide.of_operator(challenged, lambda: True) == []


def test_what_was_asserted_unasked_is_disproved_and_not_challenged(told: dict[str, Told]) -> None:
    wrong, right = told["fraud"], told["challenged"]
    unasked = then(wrong, without(wrong, Event.DISPROVE, Event.CHALLENGE))
    assert unasked.state.claim is ClaimState.REVEALED
    first, *others = challenger(unasked, wrong, "no PegOut")
    assert (first.name, first.proof is None) == ("Disprove", False)
    assert [intent.name for intent in others] == ["Forfeit"]
    honest = then(right, without(right, Event.UNHAPPY_TAKE, Event.CHALLENGE))
    assert [intent.name for intent in challenger(honest, right, "no PegOut")] == ["Forfeit"]
    assert [intent.name for intent in decide.of_operator(honest, lambda: True)] == ["HappyTake"]


def test_an_honest_claim_is_left_in_peace(told: dict[str, Told]) -> None:
    tale = told["happy"]
    claimed = then(tale, without(tale, Event.HAPPY_TAKE))
    assert [intent.name for intent in challenger(claimed, tale)] == ["Forfeit"]
    assert [intent.name for intent in challenger(claimed, tale, "false")] == ["Challenge", "AssertTimeout_0", "Forfeit"]


def test_no_kick_off_unless_it_is_paid(told: dict[str, Told]) -> None:
    tale = told["happy"]
    ready = then(tale, without(tale, Event.HAPPY_TAKE, Event.KICK_OFF))
    assert decide.of_operator(ready, lambda: False) == []
    assert [intent.name for intent in decide.of_operator(ready, lambda: True)] == ["KickOff"]
    assert challenger(ready, tale) == []


@pytest.mark.parametrize(
    ("source", "events", "state"),
    [
        (VAULT, (Event.HAPPY_TAKE,), (DepositState.MOVED, ClaimState.KICKED_OFF)),
        (BOND, (Event.HAPPY_TAKE,), (DepositState.PEGGED_IN, ClaimState.MOVED)),
        (DEPOSIT, (Event.HAPPY_TAKE, Event.KICK_OFF, Event.PEG_IN), (DepositState.MOVED, ClaimState.FUNDED)),
    ],
)
def test_moves_that_nobody_signed_at_set_up_are_alarms(
    told: dict[str, Told], source: str, events: tuple[Event, ...], state: tuple[DepositState, ClaimState]
) -> None:
    tale = told["happy"]
    connector = tale.setup.graph.source(source).connector
    assert connector is not None
    leaf = connector.named[0]
    stranger = spend(tale.setup.graph, source, bytes(64), leaf.script, b"control")
    found = then(tale, without(tale, *events), stranger)
    assert (found.state.deposit, found.state.claim) == state
    (alarm,) = decide.alarms(found, [])
    assert stranger.txid_hex in alarm
    assert decide.alarms(found, [stranger.txid]) == []
    assert decide.alarms(then(tale, without(tale, *events)), []) == []


def test_an_annex_hides_no_leaf(told: dict[str, Told]) -> None:
    tale = told["refunded"]
    (refund,) = history.read(tale.setup.graph, truth_of(tale)).happened(Event.PEG_IN_REFUND)
    (txin, *_) = refund.confirmed.tx.inputs
    annexed = refund.confirmed.tx.with_witness(0, (*txin.witness, b"\x50annex"))
    found = then(tale, without(tale, Event.PEG_IN_REFUND), annexed)
    assert found.state.deposit is DepositState.REFUNDED


def test_a_witness_without_a_leaf_of_the_graph_is_no_assertion(told: dict[str, Told]) -> None:
    tale = told["challenged"]
    entry = tale.setup.graph["Assert"].inputs[0]
    stranger = spend(tale.setup.graph, entry.source.name, b"x", b"y", b"z")
    found = then(tale, without(tale, Event.UNHAPPY_TAKE, Event.ASSERT), stranger)
    assert found.state.claim is ClaimState.ASSERTED
    assert [intent.name for intent in challenger(found, tale)] == ["Forfeit"]


def test_outputs_are_the_graphs_only_where_amount_and_script_agree(told: dict[str, Told]) -> None:
    tale = told["happy"]
    (kick_off,) = history.read(tale.setup.graph, truth_of(tale)).happened(Event.KICK_OFF)
    source = tale.setup.graph.source(DISPROVE)
    assert history._creates(kick_off.confirmed.tx, source)
    assert not history._creates(kick_off.confirmed.tx, replace(source, output=TxOut(331, b"")))
