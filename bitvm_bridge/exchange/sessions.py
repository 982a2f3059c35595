"""Deposits and instances, as far as what was said makes them; whatever is wrong has an author."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final, TypeVar

import msgspec

from bitvm_bridge import secp
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.exchange.board import Board, Fault
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import (
    DEPOSIT,
    MEMBER,
    OFFER,
    REQUEST,
    DepositBody,
    MemberBody,
    OfferBody,
    RequestBody,
    key_claim,
    of_kind,
    requester_claim,
)
from bitvm_bridge.exchange.roster import Participant
from bitvm_bridge.keys import Role
from bitvm_bridge.linter import check
from bitvm_bridge.params import Network, Params
from bitvm_bridge.protocol import Request
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import OutPoint

T = TypeVar("T")
MAX_EXPECTED: Final = 10_000
"""Instances of one deposit: its exits times the operators that are named."""


@dataclass(frozen=True)
class Asked:
    """A depositor's request, and the operators that it wants an instance of every exit from."""

    author: Participant
    request: Request
    operators: tuple[Participant, ...]

    @property
    def expected(self) -> set[tuple[bytes, int]]:
        """(operator's identity key, exit) of every instance that must be signed before the deposit is confirmed."""
        exits = range(self.request.params.exits)
        return {(operator.key, number) for operator in self.operators for number in exits}


@dataclass(frozen=True)
class Offered:
    """A valid offer: the instance, and the operator's signature for Challenge."""

    author: Participant
    setup: InstanceSetup
    challenge: bytes = field(repr=False)


Graphs = Callable[[Sequence[InstanceSetup]], Iterator[InstanceSetup]]
"""The same instances, in order, with their graphs made."""


def made_here(setups: Sequence[InstanceSetup]) -> Iterator[InstanceSetup]:
    """Each makes its graph when it is asked for."""
    return iter(setups)


@dataclass
class Reader:
    """Offers that were read before, by envelope, and how the graphs of new ones are made, which takes a while."""

    graphs: Graphs = made_here
    known: dict[bytes, Offered | Fault] = field(default_factory=dict)


class _Deposit(msgspec.Struct):
    outpoint: str


class _Instance(msgspec.Struct):
    deposit: _Deposit


class _Offer(msgspec.Struct):
    """What tells to which deposit an offer belongs; the rest of it, which is long, is passed over."""

    instance: _Instance


class DepositSession:
    """One request and all that was said about it. Made anew whenever there is something new.

    `is_signed` knows the instances that are past contradicting.
    """

    def __init__(
        self,
        board: Board,
        session: bytes,
        author: bytes,
        network: Network,
        reader: Reader,
        is_signed: Callable[[InstanceSetup], bool],
    ) -> None:
        self.board, self.id, self.author, self._network, self._reader = board, session, author, network, reader
        self._is_signed = is_signed
        self.faults: list[Fault] = []

    @cached_property
    def asked(self) -> Asked | None:
        """The request; None where there is no valid one."""
        return self._only(REQUEST, self.author, self._read_request)

    @cached_property
    def committee(self) -> Committee | None:
        """All members with their keys for this deposit; None while one is missing."""
        members = self.board.roster.committee
        keys = [(member.name, self._only(MEMBER, member.key, self._read_member)) for member in members]
        found = tuple((name, key) for name, key in keys if key is not None)
        return Committee(found) if found and len(found) == len(members) else None

    @cached_property
    def setup(self) -> DepositSetup | None:
        """The deposit; None until its outpoint is known."""
        if self.asked is None or self.committee is None:
            return None
        return self._only(DEPOSIT, self.author, self._read_deposit)

    def offers(self) -> Iterator[Offered]:
        """Valid offers of instances of this deposit. One operator has one instance of each exit."""
        sessions = list(self.board.sessions(OFFER))
        everything = (envelope for session, author in sessions for envelope in self.board.said(session, OFFER, author))
        self._read_all([envelope for envelope in everything if self._is_mine(envelope)])
        taken: set[tuple[bytes, int]] = set()
        for session, author in sessions:
            offered = self._offered(session, author)
            if offered is None:
                continue
            if (author, offered.setup.exit) in taken:
                self.blame(author, session, f"a second instance of exit {offered.setup.exit}")
                continue
            taken.add((author, offered.setup.exit))
            yield offered

    def _offered(self, session: bytes, author: bytes) -> Offered | None:
        """The one valid offer of an operator, or the one that is signed already."""
        found = []
        for envelope in self.board.said(session, OFFER, author):
            if self._is_mine(envelope):
                judged = self._judge_offer(envelope)
                if isinstance(judged, Offered):
                    found.append(judged)
                else:
                    self.faults.append(judged)
        if len({one.setup for one in found}) > 1:
            self.blame(author, session, f"said two different things as {OFFER!r}")
            found = [one for one in found if self._is_signed(one.setup)]
        return found[0] if found else None

    def _is_mine(self, envelope: Envelope) -> bool:
        if self.setup is None:
            return False
        found: _Offer = msgspec.json.decode(envelope.body, type=_Offer)
        return found.instance.deposit.outpoint == str(self.setup.outpoint)

    def _judge_offer(self, envelope: Envelope) -> Offered | Fault:
        self._read_all([envelope])
        return self._reader.known[envelope.id]

    def _read_all(self, envelopes: Sequence[Envelope]) -> None:
        """Judge those that are new; the graphs of all of them are made in one go."""
        read: list[tuple[Envelope, Offered]] = []
        for envelope in envelopes:
            if envelope.id not in self._reader.known:
                with self._blaming(envelope):
                    read.append((envelope, self._read_offer(envelope)))
        graphs = self._reader.graphs([offered.setup for _, offered in read])
        for (envelope, offered), _ in zip(read, graphs, strict=True):
            with self._blaming(envelope):
                _check_offer(offered)
                self._reader.known[envelope.id] = offered

    @contextmanager
    def _blaming(self, envelope: Envelope) -> Iterator[None]:
        """What is wrong with an offer is its author's fault."""
        try:
            yield
        except BridgeError as error:
            self._reader.known[envelope.id] = Fault(self._name(envelope.author), envelope.session, str(error))

    def has_key(self, member: Participant) -> bool:
        """Has a member said a key that is right?"""
        return bool(self._right(MEMBER, member.key, self._read_member))

    @property
    def is_made(self) -> bool:
        """Has the depositor said an outpoint that is right?"""
        return bool(self._right(DEPOSIT, self.author, self._read_deposit))

    def has_offer(self, session: bytes, operator: Participant) -> bool:
        """Has an operator made an offer of this instance that is right?"""
        said = self.board.said(session, OFFER, operator.key)
        return any(isinstance(self._judge_offer(envelope), Offered) for envelope in said)

    def _only(self, kind: str, author: bytes, read: Callable[[Envelope], T]) -> T | None:
        """The one thing of a kind that is right of what an author said; None where there is none, or another too."""
        found = self._right(kind, author, read)
        if len(found) > 1:
            self.blame(author, self.id, f"said two different things as {kind!r}")
        return found[0] if len(found) == 1 else None

    def _right(self, kind: str, author: bytes, read: Callable[[Envelope], T]) -> list[T]:
        """What is right of all that an author said."""
        found: list[T] = []
        for envelope in self.board.said(self.id, kind, author):
            try:
                item = read(envelope)
            except BridgeError as error:
                self.blame(author, self.id, str(error))
            else:
                found += [item] if item not in found else []
        return found

    def blame(self, author: bytes, session: bytes, what: str) -> None:
        """Name the author of something that is wrong."""
        self.faults.append(Fault(self._name(author), session, what))

    def _name(self, author: bytes) -> str:
        return self.board.roster.name(author)

    def _read_request(self, envelope: Envelope) -> Asked:
        document: RequestBody = of_kind(envelope, RequestBody)
        params = Params.from_json(document.params)
        if params.network is not self._network:
            raise VerificationFailed(f"a deposit on {params.network}, expected {self._network}")
        key = from_hex("depositor key", document.depositor, 32)
        request = Request(params, key, from_hex("receiver", document.receiver))
        if request.id != self.id:
            raise VerificationFailed("a request with another id than its session")
        self.board.roster.terms.check(params)
        proof = from_hex("proof of the depositor key", document.proof, 64)
        if not secp.verify(key, requester_claim(self.id, envelope.author), proof):
            raise VerificationFailed("a request that the depositor's key did not sign for its author")
        known = {one.name: one for one in self.board.roster.of(Role.OPERATOR)}
        unknown = [name for name in document.operators if name not in known]
        if unknown:
            raise VerificationFailed(f"{unknown[0]!r} is no operator of the roster")
        if not document.operators or len(set(document.operators)) != len(document.operators):
            raise VerificationFailed("no operator, or one that is named twice")
        if len(document.operators) * params.exits > MAX_EXPECTED:
            raise VerificationFailed(f"more than {MAX_EXPECTED:,} instances")
        return Asked(self.board.roster.by_key[envelope.author], request, tuple(known[n] for n in document.operators))

    def _read_member(self, envelope: Envelope) -> bytes:
        document: MemberBody = of_kind(envelope, MemberBody)
        key = from_hex("member key", document.key, 33)
        proof = from_hex("proof of the member key", document.proof, 64)
        if not secp.is_point(key):
            raise VerificationFailed("a key for the deposit that is no public key")
        if not secp.verify(key[1:], key_claim(self.id, envelope.author), proof):
            raise VerificationFailed("a key for the deposit that did not sign for this member")
        return key

    def _read_deposit(self, envelope: Envelope) -> DepositSetup:
        document: DepositBody = of_kind(envelope, DepositBody)
        if self.asked is None or self.committee is None:
            raise VerificationFailed("a deposit before its committee is complete")
        found = {name: key.hex() for name, key in self.committee.keys.items()}
        if document.members != found:
            raise VerificationFailed("a deposit to another committee than the members have said")
        return DepositSetup(self.asked.request, self.committee, OutPoint.parse(document.outpoint, "deposit outpoint"))

    def _read_offer(self, envelope: Envelope) -> Offered:
        document: OfferBody = of_kind(envelope, OfferBody)
        author = self.board.roster.by_key[envelope.author]
        if document.instance.program != self.board.roster.terms.program:
            raise VerificationFailed("another program than was agreed on")
        setup = InstanceSetup.from_document(document.instance)
        if self.setup is not None and setup.deposit == self.setup:
            setup = replace(setup, deposit=self.setup)  # whose graph is made once for all of them
        if setup.id != envelope.session or setup.deposit != self.setup:
            raise VerificationFailed("an instance of another deposit, or with another id than its session")
        if self.asked is None or author not in self.asked.operators:
            raise VerificationFailed("an operator that the depositor did not name")
        return Offered(author, setup, from_hex("challenge signature", document.challenge, 64))


def _check_offer(offered: Offered) -> None:
    """Raises VerificationFailed for a signature that is none, or the first rule that the graph breaks."""
    graph = offered.setup.graph
    if not secp.verify(offered.setup.operator, graph["Challenge"].digest("challenge"), offered.challenge):
        raise VerificationFailed("the signature for Challenge does not verify")
    check(graph)
