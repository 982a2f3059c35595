"""What a party does about an instance, from its history alone: which transactions, and why."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.dispute.disprove import Proof
from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.protocol import Party
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.status import Duty
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.watch.history import History, Timed
from bitvm_bridge.watch.machine import ClaimState, Event


@dataclass(frozen=True)
class Intent:
    """A transaction to send as soon as its block has come, and why; `proof` is what a Disprove shows."""

    duty: Duty
    reason: str
    proof: Proof | None = None

    @property
    def name(self) -> str:
        """Of the transaction in the graph."""
        return self.duty.name


def of_operator(history: History, is_paid: Callable[[], bool]) -> list[Intent]:
    """KickOff once its PegOut has confirmed (`is_paid`), Assert when challenged, and the take that is left."""
    owed = [timed for timed in history.timed if timed.owed.party is Party.OPERATOR]
    reasons = {
        Event.KICK_OFF: "its PegOut has confirmed",
        Event.ASSERT: "the claim was challenged",
        Event.HAPPY_TAKE: "nobody challenged",
        Event.UNHAPPY_TAKE: "nothing was disproved",
    }
    return [
        Intent(timed.duty, reasons[timed.owed.event])
        for timed in owed
        if timed.owed.event is not Event.KICK_OFF or is_paid()
    ]


def of_challenger(history: History, fault: str, wrong_step: Callable[[], Proof | None]) -> list[Intent]:
    """Slash what can be slashed, and challenge a false claim. `fault` says why it is false; empty where it is true.

    An honest operator that nobody challenged is left in peace by AssertTimeout: only a false claim, or a challenged
    one that was not answered, is timed out. An assertion that nobody asked for is not challenged: it is right, or a
    step of it is disproved.
    """
    intents = []
    for timed in history.timed:
        if timed.owed.party is not Party.CHALLENGER:
            continue
        if timed.owed.event is Event.DISPROVE:
            proof = wrong_step()
            if proof is not None:
                intents.append(Intent(timed.duty, f"{proof.leaf} is wrong: {proof.reason}", proof))
        elif reason := _reason(history, timed, fault):
            intents.append(Intent(timed.duty, reason))
    return intents


def _reason(history: History, timed: Timed, fault: str) -> str:
    if timed.owed.event is Event.FORFEIT:
        return "the claim was abandoned"
    if history.state.claim in (ClaimState.EXPOSED, ClaimState.CONDEMNED):
        return "a step was proved wrong"
    return "the challenge was not answered" if history.state.claim is ClaimState.CHALLENGED else fault


def revealed(history: History) -> list[Transaction]:
    """The transactions that spent the assert connectors, and no ending."""
    return [item.confirmed.tx for item in history.happened(Event.ASSERT_PART, Event.ASSERT)]


def find_wrong_step(setup: InstanceSetup, transactions: Sequence[Transaction]) -> Proof | None:
    """The first wrong step of what these reveal; None where it is right, or where they reveal no assertion at all."""
    try:
        return dispute.find(setup, asserting.read(setup, transactions))
    except VerificationFailed:
        return None


def alarms(history: History, allowed: Sequence[bytes]) -> list[str]:
    """What the committee never signed at set-up. `allowed` has the txids by which the vault may move otherwise."""
    found = []
    for item in history.happened(Event.VAULT_MOVED, Event.DEPOSIT_MOVED, Event.BOND_MOVED):
        tx, place = item.confirmed.tx, item.confirmed.place
        if tx.txid not in allowed:
            found.append(f"{item.event} by {tx.txid_hex} in block {place.height}, which was not signed at set-up")
    return found
