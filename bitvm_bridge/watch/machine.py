"""What can happen to an instance, as two tables: one for its deposit, one for its claim.

State and event give the next state, and the next state says which transactions its parties owe. Both machines know
nothing of blocks or bytes: an event is something that has confirmed, in the order of the chain, so that after a
reorganisation the state is what the remaining events and the new ones give. A pair that is in no table cannot happen
on a chain that Bitcoin's rules hold for.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bitvm_bridge.errors import BridgeError
from bitvm_bridge.protocol import Party


class Event(StrEnum):
    """What a confirmed transaction did to the outputs of a graph."""

    PEG_IN_DEPOSIT = "PegInDeposit"
    PEG_IN = "PegIn"
    PEG_IN_REFUND = "PegInRefund"
    DEPOSIT_MOVED = "deposit moved"
    """The committee signed away the deposit, and not to the vault."""
    VAULT_MOVED = "vault moved"
    """The vault was spent, and not by this instance: another operator, the whole committee, or the council."""
    PEG_OUT = "PegOut"
    """A transaction that names the instance as a PegOut does; whether it pays enough is another question."""
    CLAIM_FUNDING = "ClaimFunding"
    CLAIM_RELEASED = "claim released"
    """The operator spent its claim coin elsewhere: there will be no KickOff."""
    KICK_OFF = "KickOff"
    CHALLENGE = "Challenge"
    ASSERT_PART = "part of Assert"
    """Some assert connectors were spent by their commit leaves, and others still wait."""
    ASSERT = "Assert"
    """The same, and no assert connector waits any more."""
    EXPOSE = "exposed"
    """A step was proved wrong on the disprove connector alone: the bond stays, UnhappyTake is gone."""
    HAPPY_TAKE = "HappyTake"
    UNHAPPY_TAKE = "UnhappyTake"
    DISPROVE = "Disprove"
    ASSERT_TIMEOUT = "AssertTimeout"
    FORFEIT = "Forfeit"
    BOND_MOVED = "bond moved"
    """The committee moved the bond by a transaction that it never signed at set-up."""


class DepositState(StrEnum):
    """Where the depositor's money is."""

    UNFUNDED = "unfunded"
    DEPOSITED = "deposited"
    PEGGED_IN = "pegged-in"
    REFUNDED = "refunded"
    TAKEN = "taken"
    MOVED = "moved"


class ClaimState(StrEnum):
    """How far the operator's claim has come."""

    UNFUNDED = "unfunded"
    FUNDED = "claim-funded"
    RELEASED = "released"
    KICKED_OFF = "kicked-off"
    CHALLENGED = "challenged"
    REVEALED = "revealed"
    """Asserted although nobody challenged: HappyTake is still possible."""
    ASSERTED = "asserted"
    EXPOSED = "exposed"
    """A step was proved wrong, but the bond stands, and nobody challenged: HappyTake is still possible."""
    CONDEMNED = "condemned"
    """Challenged and proved wrong, but the bond stands: only the slashing of it is left."""
    TAKEN = "taken"
    DISPROVED = "disproved"
    TIMED_OUT = "timed-out"
    FORFEITED = "forfeited"
    MOVED = "bond-moved"


DEPOSIT_ENDS: Final = frozenset({DepositState.REFUNDED, DepositState.TAKEN, DepositState.MOVED})
SLASHED: Final = frozenset({ClaimState.DISPROVED, ClaimState.TIMED_OUT, ClaimState.FORFEITED})
CLAIM_ENDS: Final = frozenset({ClaimState.RELEASED, ClaimState.TAKEN, ClaimState.MOVED}) | SLASHED
LIVE: Final = frozenset(ClaimState) - CLAIM_ENDS - {ClaimState.UNFUNDED, ClaimState.FUNDED}
"""A KickOff has confirmed and its bond is unspent."""
LEFTOVERS: Final = (Event.CHALLENGE, Event.ASSERT_PART, Event.ASSERT, Event.EXPOSE)
"""What can still happen to the dust of a claim whose bond is gone; nothing comes of it."""

DEPOSIT_TABLE: Final[Mapping[tuple[DepositState, Event], DepositState]] = {
    (DepositState.UNFUNDED, Event.PEG_IN_DEPOSIT): DepositState.DEPOSITED,
    (DepositState.DEPOSITED, Event.PEG_IN): DepositState.PEGGED_IN,
    (DepositState.DEPOSITED, Event.PEG_IN_REFUND): DepositState.REFUNDED,
    (DepositState.DEPOSITED, Event.DEPOSIT_MOVED): DepositState.MOVED,
    (DepositState.PEGGED_IN, Event.HAPPY_TAKE): DepositState.TAKEN,
    (DepositState.PEGGED_IN, Event.UNHAPPY_TAKE): DepositState.TAKEN,
    (DepositState.PEGGED_IN, Event.VAULT_MOVED): DepositState.MOVED,
}

_SLASHINGS: Final = {
    Event.DISPROVE: ClaimState.DISPROVED,
    Event.ASSERT_TIMEOUT: ClaimState.TIMED_OUT,
    Event.FORFEIT: ClaimState.FORFEITED,
    Event.BOND_MOVED: ClaimState.MOVED,
}
_TAKES: Final = {Event.HAPPY_TAKE: ClaimState.TAKEN, Event.UNHAPPY_TAKE: ClaimState.TAKEN}


def _without(outcomes: Mapping[Event, ClaimState], *events: Event) -> dict[Event, ClaimState]:
    return {event: state for event, state in outcomes.items() if event not in events}


_CLAIM_ROWS: Final[Mapping[ClaimState, Mapping[Event, ClaimState]]] = {
    ClaimState.UNFUNDED: {Event.CLAIM_FUNDING: ClaimState.FUNDED},
    ClaimState.FUNDED: {Event.KICK_OFF: ClaimState.KICKED_OFF, Event.CLAIM_RELEASED: ClaimState.RELEASED},
    ClaimState.KICKED_OFF: {
        Event.CHALLENGE: ClaimState.CHALLENGED,
        Event.ASSERT_PART: ClaimState.KICKED_OFF,
        Event.ASSERT: ClaimState.REVEALED,
        Event.EXPOSE: ClaimState.EXPOSED,
        **_TAKES,
        **_SLASHINGS,
    },
    ClaimState.CHALLENGED: {
        Event.ASSERT_PART: ClaimState.CHALLENGED,
        Event.ASSERT: ClaimState.ASSERTED,
        Event.EXPOSE: ClaimState.CONDEMNED,
        **_without(_TAKES, Event.HAPPY_TAKE),
        **_SLASHINGS,
    },
    ClaimState.REVEALED: {
        Event.CHALLENGE: ClaimState.ASSERTED,
        Event.EXPOSE: ClaimState.EXPOSED,
        **_TAKES,
        **_without(_SLASHINGS, Event.ASSERT_TIMEOUT),
    },
    ClaimState.ASSERTED: {
        Event.EXPOSE: ClaimState.CONDEMNED,
        **_without(_TAKES, Event.HAPPY_TAKE),
        **_without(_SLASHINGS, Event.ASSERT_TIMEOUT),
    },
    ClaimState.EXPOSED: {
        Event.CHALLENGE: ClaimState.CONDEMNED,
        Event.ASSERT_PART: ClaimState.EXPOSED,
        Event.ASSERT: ClaimState.EXPOSED,
        **_without(_TAKES, Event.UNHAPPY_TAKE),
        **_without(_SLASHINGS, Event.DISPROVE),
    },
    ClaimState.CONDEMNED: {
        Event.ASSERT_PART: ClaimState.CONDEMNED,
        Event.ASSERT: ClaimState.CONDEMNED,
        **_without(_SLASHINGS, Event.DISPROVE),
    },
    ClaimState.TAKEN: dict.fromkeys(LEFTOVERS, ClaimState.TAKEN),
    ClaimState.DISPROVED: dict.fromkeys(
        (event for event in LEFTOVERS if event is not Event.EXPOSE), ClaimState.DISPROVED
    ),
    ClaimState.TIMED_OUT: dict.fromkeys(LEFTOVERS, ClaimState.TIMED_OUT),
    ClaimState.FORFEITED: dict.fromkeys(LEFTOVERS, ClaimState.FORFEITED),
    ClaimState.MOVED: dict.fromkeys(LEFTOVERS, ClaimState.MOVED),
}

CLAIM_TABLE: Final[Mapping[tuple[ClaimState, Event], ClaimState]] = {
    (state, event): after
    for state in ClaimState
    for event, after in {**_CLAIM_ROWS.get(state, {}), Event.PEG_OUT: state}.items()
}


@dataclass(frozen=True)
class Owed:
    """A transaction that a party has a reason to send in a state, as soon as its locks have passed.

    `when` says in words what else must hold; empty where nothing else must.
    """

    party: Party
    event: Event
    when: str = ""


_TAKE: Final = Owed(Party.OPERATOR, Event.HAPPY_TAKE)
_ACCUSE: Final = Owed(Party.CHALLENGER, Event.CHALLENGE, "the claim is false")
_STOP: Final = Owed(Party.CHALLENGER, Event.CHALLENGE)
_REFUTE: Final = Owed(Party.CHALLENGER, Event.DISPROVE, "a step is wrong")
_TIME_OUT: Final = Owed(Party.CHALLENGER, Event.ASSERT_TIMEOUT)
_TIME_OUT_FALSE: Final = Owed(Party.CHALLENGER, Event.ASSERT_TIMEOUT, "the claim is false")
_ABANDONED: Final = Owed(Party.CHALLENGER, Event.FORFEIT)

DEPOSIT_DUTIES: Final[Mapping[DepositState, tuple[Owed, ...]]] = {
    DepositState.DEPOSITED: (
        Owed(Party.DEPOSITOR, Event.PEG_IN, "the committee has signed it"),
        Owed(Party.DEPOSITOR, Event.PEG_IN_REFUND, "the committee has not"),
    ),
}
CLAIM_DUTIES: Final[Mapping[ClaimState, tuple[Owed, ...]]] = {
    ClaimState.FUNDED: (Owed(Party.OPERATOR, Event.KICK_OFF, "its PegOut has confirmed"),),
    ClaimState.KICKED_OFF: (_TAKE, _ACCUSE, _TIME_OUT_FALSE, _ABANDONED),
    ClaimState.CHALLENGED: (Owed(Party.OPERATOR, Event.ASSERT), _TIME_OUT, _ABANDONED),
    ClaimState.REVEALED: (_TAKE, _REFUTE, _ABANDONED),
    ClaimState.ASSERTED: (Owed(Party.OPERATOR, Event.UNHAPPY_TAKE), _REFUTE, _ABANDONED),
    ClaimState.EXPOSED: (_TAKE, _STOP, _TIME_OUT, _ABANDONED),
    ClaimState.CONDEMNED: (_TIME_OUT, _ABANDONED),
}
_NEEDS_VAULT: Final = frozenset({Event.KICK_OFF, Event.HAPPY_TAKE, Event.UNHAPPY_TAKE})
_NEEDS_FUTURE: Final = frozenset({Event.CHALLENGE, Event.ASSERT})
"""Without a vault to come no claim can be paid: there is nothing to contest, and no bond to save."""


@dataclass(frozen=True)
class State:
    """Of an instance: its deposit's and its claim's."""

    deposit: DepositState = DepositState.UNFUNDED
    claim: ClaimState = ClaimState.UNFUNDED

    @property
    def name(self) -> str:
        """The claim's state once there is a KickOff, the deposit's before and where there will be none."""
        if self.claim in LIVE | CLAIM_ENDS - {ClaimState.RELEASED}:
            return str(self.claim)
        return str(self.deposit)

    @property
    def is_live(self) -> bool:
        """Has a KickOff confirmed whose bond is unspent?"""
        return self.claim in LIVE

    @property
    def is_final(self) -> bool:
        """Is nothing left that any party would send?"""
        return not self.duties

    @property
    def duties(self) -> tuple[Owed, ...]:
        """What the parties owe in this state, each party's in the order in which it prefers them."""
        pointless = _NEEDS_VAULT if self.deposit is not DepositState.PEGGED_IN else frozenset()
        if self.deposit in DEPOSIT_ENDS:
            pointless |= _NEEDS_FUTURE
        claims = (owed for owed in CLAIM_DUTIES.get(self.claim, ()) if owed.event not in pointless)
        return (*DEPOSIT_DUTIES.get(self.deposit, ()), *claims)


DEPOSIT_EVENTS: Final = frozenset(event for _, event in DEPOSIT_TABLE)
CLAIM_EVENTS: Final = frozenset(event for _, event in CLAIM_TABLE)


def step(state: State, event: Event) -> State:
    """The next state; its `duties` are what the parties owe then. Raises BridgeError for what cannot happen."""
    deposit, claim = state.deposit, state.claim
    try:
        if event in DEPOSIT_EVENTS:
            deposit = DEPOSIT_TABLE[deposit, event]
        if event in CLAIM_EVENTS:
            claim = CLAIM_TABLE[claim, event]
    except KeyError:
        raise BridgeError(f"{event}: cannot happen to a deposit {state.deposit} with a claim {state.claim}") from None
    return State(deposit, claim)


def fold(events: Iterable[Event], state: State | None = None) -> State:
    """The state after all of them. Raises BridgeError."""
    state = state or State()
    for event in events:
        state = step(state, event)
    return state
