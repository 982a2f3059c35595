"""How far every deposit is, read off what is in the store; nothing is said or done."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from bitvm_bridge import records
from bitvm_bridge.exchange.board import Board, Fault
from bitvm_bridge.exchange.messages import REQUEST
from bitvm_bridge.exchange.payouts import Proposal, proposals
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.exchange.sessions import DepositSession, Graphs, Offered, Reader, made_here
from bitvm_bridge.exchange.signing import CONFIRMATION, GRAPH, PAYMENT, Kinds, Session
from bitvm_bridge.roles import committee as role
from bitvm_bridge.signing.musig import Digests
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
    awaited: tuple[str, ...] = ()
    """Members whose nonces or partial signatures come next, for what is not signed yet."""

    @property
    def waits_for(self) -> str:
        """What has to come next, and from whom."""
        if self.missing:
            return f"keys of {', '.join(self.missing)}"
        if not self.outpoint:
            return f"the deposit of {self.depositor}"
        if self.offered < self.expected:
            return f"{self.expected - self.offered} offers"
        authors = f" of {', '.join(self.awaited)}" if self.awaited else ""
        if self.signed < self.expected:
            return f"signatures{authors} for {self.expected - self.signed} instances"
        return "" if self.is_confirmed else f"signatures{authors} for PegIn"


def proposed(store: Store, roster: Roster) -> list[Proposal]:
    """Every payout that members have proposed of deposits that are known."""
    return [proposal for found in _sessions(store, roster) for proposal in proposals(found)]


def _sessions(store: Store, roster: Roster, graphs: Graphs = made_here) -> Iterator[DepositSession]:
    board, reader, is_signed = Board(store, roster), Reader(graphs), partial(records.is_signed, store)
    for session, author in board.sessions(REQUEST):
        yield DepositSession(board, session, author, roster.terms.params.network, reader, is_signed)


def survey(store: Store, roster: Roster, graphs: Graphs = made_here) -> Iterator[Standing]:
    """Every deposit whose request is right. `graphs` makes those of offers."""
    for found in _sessions(store, roster, graphs):
        if found.asked is not None:
            offers = list(found.offers())
            instances, others = list(_of_instances(found, offers)), list(_of_deposit(found))
            signed = sum(records.is_signed(store, one.setup) for one in offers)
            yield Standing(
                deposit=found.id,
                depositor=found.asked.author.name,
                missing=tuple(member.name for member in roster.committee if not found.has_key(member)),
                outpoint="" if found.setup is None else str(found.setup.outpoint),
                expected=len(found.asked.expected),
                offered=len(offers),
                signed=signed,
                is_confirmed=store.get(records.PEG_IN, found.id) is not None,
                faults=tuple(
                    dict.fromkeys(found.faults + [fault for one in instances + others for fault in _faults(one)])
                ),
                awaited=_awaited(instances if signed < len(found.asked.expected) else others[:1]),
            )


def _of_instances(found: DepositSession, offers: list[Offered]) -> Iterator[Session]:
    """Where the committee signs the graph of each instance."""
    for one in offers:
        yield _session(found, one.setup.id, GRAPH, role.bundle_digests(one.setup))


def _of_deposit(found: DepositSession) -> Iterator[Session]:
    """Where it signs PegIn, and then the payouts that were proposed."""
    if found.setup is not None:
        yield _session(found, found.id, CONFIRMATION, {role.PEG_IN: found.setup.graph["PegIn"].digest("deposit")})
        for proposal in proposals(found):
            yield _session(found, proposal.id, PAYMENT, proposal.payout.digests)


def _session(found: DepositSession, session: bytes, kinds: Kinds, digests: Digests) -> Session:
    if found.committee is None:
        raise RuntimeError("a session before its committee is complete")
    authors = {one.name: one.key for one in found.board.roster.committee}
    return Session(found.board, session, kinds, found.committee, authors, digests)


def _faults(session: Session) -> list[Fault]:
    """All that is of no use in it."""
    _ = session.finished
    return session.faults


def _awaited(sessions: list[Session]) -> tuple[str, ...]:
    return tuple(sorted({name for one in sessions for name in one.awaited}))
