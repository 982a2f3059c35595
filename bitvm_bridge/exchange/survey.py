"""How far every deposit is, read off what is in the store; nothing is said or done."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bitvm_bridge import records
from bitvm_bridge.exchange.board import Board, Fault
from bitvm_bridge.exchange.messages import REQUEST
from bitvm_bridge.exchange.payouts import Proposal, proposals
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.exchange.sessions import DepositSession, Offered
from bitvm_bridge.store import Store


@dataclass(frozen=True)
class Standing:
    """A deposit that was asked for: what is there of it, and who did something wrong."""

    deposit: bytes
    depositor: str
    missing: tuple[str, ...]
    """Members whose keys are not there."""
    outpoint: str
    """Empty until it is known."""
    expected: int
    offered: int
    signed: int
    is_confirmed: bool
    faults: tuple[Fault, ...]

    @property
    def waits_for(self) -> str:
        """What has to come next, and from whom."""
        if self.missing:
            return f"keys of {', '.join(self.missing)}"
        if not self.outpoint:
            return f"the deposit of {self.depositor}"
        if self.offered < self.expected:
            return f"{self.expected - self.offered} offers"
        if self.signed < self.expected:
            return f"signatures for {self.expected - self.signed} instances"
        return "" if self.is_confirmed else "signatures for PegIn"


def proposed(store: Store, roster: Roster) -> list[Proposal]:
    """Every payout that members have proposed of deposits that are known."""
    return [proposal for found in _sessions(store, roster) for proposal in proposals(found)]


def _sessions(store: Store, roster: Roster) -> Iterator[DepositSession]:
    board, read, is_signed = Board(store, roster), dict[bytes, Offered | Fault](), partial(records.is_signed, store)
    for session, author in board.sessions(REQUEST):
        yield DepositSession(board, session, author, roster.terms.params.network, read, is_signed)


def survey(store: Store, roster: Roster) -> Iterator[Standing]:
    """Every deposit whose request is right."""
    for found in _sessions(store, roster):
        if found.asked is not None:
            offers = list(found.offers())
            yield Standing(
                deposit=found.id,
                depositor=found.asked.author.name,
                missing=tuple(member.name for member in roster.committee if not found.has_key(member)),
                outpoint="" if found.setup is None else str(found.setup.outpoint),
                expected=len(found.asked.expected),
                offered=len(offers),
                signed=sum(records.is_signed(store, one.setup) for one in offers),
                is_confirmed=store.get(records.PEG_IN, found.id) is not None,
                faults=tuple(dict.fromkeys(found.faults)),
            )
