"""The tables against the outputs: what Bitcoin's rules allow to be spent is in them, and nothing else."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import pytest

from bitvm_bridge.errors import BridgeError
from bitvm_bridge.protocol import Party
from bitvm_bridge.watch.machine import (
    CLAIM_ENDS,
    CLAIM_EVENTS,
    CLAIM_TABLE,
    DEPOSIT_ENDS,
    DEPOSIT_EVENTS,
    DEPOSIT_TABLE,
    LIVE,
    ClaimState,
    DepositState,
    Event,
    State,
    fold,
    step,
)
from tests.watch import tables

ASSERTS = ("assert_0", "assert_1", "assert_2")
KICKED_OFF = frozenset({"challenge", "bond", "disprove", *ASSERTS})
START = frozenset({"deposit coins", "claim coins"})
Outputs = frozenset[str]


@dataclass(frozen=True)
class World:
    """The unspent outputs of a graph with three assert connectors, and whether one of them has been revealed."""

    unspent: Outputs = START
    revealed: bool = False


@dataclass(frozen=True)
class Spend:
    """A transaction: the event it is, what it spends and what it makes."""

    event: Event
    spends: Outputs
    makes: Outputs = frozenset()


def of(*names: str) -> Outputs:
    return frozenset(names)


SPENDS = (
    Spend(Event.PEG_IN_DEPOSIT, of("deposit coins"), of("deposit")),
    Spend(Event.PEG_IN, of("deposit"), of("vault")),
    Spend(Event.PEG_IN_REFUND, of("deposit")),
    Spend(Event.DEPOSIT_MOVED, of("deposit")),
    Spend(Event.VAULT_MOVED, of("vault")),
    Spend(Event.CLAIM_FUNDING, of("claim coins"), of("claim")),
    Spend(Event.CLAIM_RELEASED, of("claim")),
    Spend(Event.KICK_OFF, of("claim"), KICKED_OFF),
    Spend(Event.CHALLENGE, of("challenge")),
    *(Spend(Event.ASSERT, of(name)) for name in ASSERTS),
    Spend(Event.ASSERT, of(*ASSERTS)),
    Spend(Event.EXPOSE, of("disprove")),
    Spend(Event.HAPPY_TAKE, of("vault", "challenge", "bond")),
    Spend(Event.UNHAPPY_TAKE, of("vault", "disprove", "bond")),
    Spend(Event.DISPROVE, of("bond", "disprove")),
    *(Spend(Event.ASSERT_TIMEOUT, of("bond", name)) for name in ASSERTS),
    Spend(Event.FORFEIT, of("bond")),
    Spend(Event.BOND_MOVED, of("bond")),
)


def moves(world: World) -> Iterator[tuple[Event, World]]:
    """Every transaction that the outputs allow, as the event that a history makes of it."""
    yield Event.PEG_OUT, world
    for spend in SPENDS:
        needs_secret = spend.event in (Event.EXPOSE, Event.DISPROVE)
        if spend.spends <= world.unspent and (world.revealed or not needs_secret):
            left = world.unspent - spend.spends | spend.makes
            event = spend.event
            if event is Event.ASSERT and left & of(*ASSERTS):
                event = Event.ASSERT_PART
            yield event, replace(world, unspent=left, revealed=world.revealed or spend.event is Event.ASSERT)


Reached = dict[tuple[World, State], dict[Event, list[tuple[World, State]]]]


@pytest.fixture(scope="module")
def reached() -> Reached:
    """Every world and state that histories lead to, with all that can follow."""
    found: Reached = {}
    waiting = deque([(World(), State())])
    while waiting:
        here = waiting.popleft()
        if here in found:
            continue
        found[here] = {}
        for event, world in moves(here[0]):
            there = (world, step(here[1], event))
            found[here].setdefault(event, []).append(there)
            waiting.append(there)
    return found


def test_what_the_outputs_allow_is_in_the_tables_and_nothing_else(reached: Reached) -> None:
    deposits = {(state.deposit, event) for (_, state), after in reached.items() for event in after}
    claims = {(state.claim, event) for (_, state), after in reached.items() for event in after}
    assert {pair for pair in deposits if pair[1] in DEPOSIT_EVENTS} == set(DEPOSIT_TABLE)
    assert {pair for pair in claims if pair[1] in CLAIM_EVENTS} == set(CLAIM_TABLE)


def test_every_pair_has_an_answer() -> None:
    for deposit, claim, event in product(DepositState, ClaimState, Event):
        state = State(deposit, claim)
        known = (event not in DEPOSIT_EVENTS or (deposit, event) in DEPOSIT_TABLE) and (
            event not in CLAIM_EVENTS or (claim, event) in CLAIM_TABLE
        )
        if known:
            after = step(state, event)
            assert event in CLAIM_EVENTS or after.claim is claim
            assert event in DEPOSIT_EVENTS or after.deposit is deposit
        else:
            with pytest.raises(BridgeError, match=f"^{event}: cannot happen to a deposit {deposit}"):
                step(state, event)


def test_every_event_belongs_to_a_machine() -> None:
    assert set(Event) == DEPOSIT_EVENTS | CLAIM_EVENTS
    assert {Event.HAPPY_TAKE, Event.UNHAPPY_TAKE} == DEPOSIT_EVENTS & CLAIM_EVENTS


def test_every_state_is_reached_and_none_is_dead(reached: Reached) -> None:
    assert {state.deposit for _, state in reached} == set(DepositState)
    assert {state.claim for _, state in reached} == set(ClaimState)
    ended = {here for here in reached if here[1].claim in CLAIM_ENDS}
    waiting = set(reached) - ended
    while True:
        nearer = {here for here in waiting if any(set(there) & ended for there in reached[here].values())}
        if not nearer:
            break
        ended |= nearer
        waiting -= nearer
    assert not waiting, "from here no ending can be reached"


def test_an_end_stays_an_end(reached: Reached) -> None:
    for (_, state), after in reached.items():
        followers = {there[1] for many in after.values() for there in many}
        if state.claim in CLAIM_ENDS:
            assert {follower.claim for follower in followers} == {state.claim}
        if state.deposit in DEPOSIT_ENDS:
            assert {follower.deposit for follower in followers} == {state.deposit}


def test_the_claim_is_live_exactly_while_the_bond_is_unspent(reached: Reached) -> None:
    for world, state in reached:
        assert state.is_live == ("bond" in world.unspent) == (state.claim in LIVE)


def test_whatever_is_owed_can_happen_and_every_live_claim_can_be_ended_by_anyone(reached: Reached) -> None:
    for (world, state), after in reached.items():
        for owed in state.duties:
            needs_luck = owed.event in (Event.ASSERT, Event.ASSERT_TIMEOUT)
            possible = owed.event in after or Event.ASSERT_PART in after
            assert possible or (needs_luck and not world.unspent & of(*ASSERTS)), (world, state, owed)
        assert not state.is_live or any(owed.event is Event.FORFEIT for owed in state.duties)


def test_who_owes_what() -> None:
    kicked_off = fold([Event.PEG_IN_DEPOSIT, Event.CLAIM_FUNDING, Event.PEG_IN, Event.KICK_OFF])
    assert (kicked_off.deposit, kicked_off.claim, kicked_off.name) == (
        DepositState.PEGGED_IN,
        ClaimState.KICKED_OFF,
        "kicked-off",
    )
    assert [(owed.party, owed.event) for owed in kicked_off.duties] == [
        (Party.OPERATOR, Event.HAPPY_TAKE),
        (Party.CHALLENGER, Event.CHALLENGE),
        (Party.CHALLENGER, Event.ASSERT_TIMEOUT),
        (Party.CHALLENGER, Event.FORFEIT),
    ]
    asserted = fold([Event.CHALLENGE, Event.ASSERT_PART, Event.ASSERT], kicked_off)
    assert asserted == fold([Event.ASSERT, Event.CHALLENGE], kicked_off)
    assert [owed.event for owed in asserted.duties] == [Event.UNHAPPY_TAKE, Event.DISPROVE, Event.FORFEIT]


def test_without_a_vault_nothing_is_taken_or_contested() -> None:
    robbed = State(DepositState.MOVED, ClaimState.KICKED_OFF)
    assert [owed.event for owed in robbed.duties] == [Event.ASSERT_TIMEOUT, Event.FORFEIT]
    early = State(DepositState.DEPOSITED, ClaimState.KICKED_OFF)
    assert Event.CHALLENGE in [owed.event for owed in early.duties]
    assert Event.HAPPY_TAKE not in [owed.event for owed in early.duties]
    assert State(DepositState.MOVED, ClaimState.FUNDED).is_final


@pytest.mark.parametrize(
    ("state", "name"),
    [
        (State(), "unfunded"),
        (State(DepositState.DEPOSITED, ClaimState.FUNDED), "deposited"),
        (State(DepositState.PEGGED_IN, ClaimState.RELEASED), "pegged-in"),
        (State(DepositState.REFUNDED, ClaimState.FUNDED), "refunded"),
        (State(DepositState.PEGGED_IN, ClaimState.CHALLENGED), "challenged"),
        (State(DepositState.TAKEN, ClaimState.TAKEN), "taken"),
        (State(DepositState.PEGGED_IN, ClaimState.FORFEITED), "forfeited"),
    ],
)
def test_names(state: State, name: str) -> None:
    assert state.name == name


def test_the_page_shows_these_tables() -> None:
    page = tables.PAGE.read_text()
    assert page == tables.with_tables(page), "run `python -m tests.watch.tables`"
