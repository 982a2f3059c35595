"""Deposits and instances, as far as what was said makes them; whatever is wrong has an author."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, TypeVar

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
    of_kind,
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


class DepositSession:
    """One request and all that was said about it. Made anew whenever there is something new.

    `read` remembers, by envelope, offers that were read before: that takes a while.
    """

    def __init__(
        self, board: Board, session: bytes, author: bytes, network: Network, read: "dict[bytes, Offered | Fault]"
    ) -> None:
        self.board, self.id, self.author, self._network, self._read = board, session, author, network, read
        self.faults: list[Fault] = []

    @cached_property
    def asked(self) -> Asked | None:
        """The request; None where there is no valid one."""
        return self._judged(REQUEST, self._read_request)

    @cached_property
    def committee(self) -> Committee | None:
        """All members with their keys for this deposit; None while one is missing."""
        keys: list[tuple[str, bytes]] = []
        for member in self.board.roster.committee:
            envelope = self.board.one(self.id, MEMBER, member.key)
            if envelope is None:
                return None
            try:
                key = from_hex("member key", of_kind(envelope, MemberBody).key, 33)
                Committee(((member.name, key), *keys))
            except BridgeError as error:
                self.faults.append(Fault(member.name, self.id, str(error)))
                return None
            keys.append((member.name, key))
        return Committee(tuple(keys)) if keys else None

    @cached_property
    def setup(self) -> DepositSetup | None:
        """The deposit; None until its outpoint is known."""
        if self.asked is None or self.committee is None:
            return None
        return self._judged(DEPOSIT, self._read_deposit)

    def offers(self) -> Iterator[Offered]:
        """Valid offers of instances of this deposit. One operator has one instance of each exit."""
        taken: set[tuple[bytes, int]] = set()
        for session, author in self.board.sessions(OFFER):
            envelope = self.board.one(session, OFFER, author)
            if envelope is None or not self._is_mine(envelope):
                continue
            if envelope.id not in self._read:
                self._read[envelope.id] = self._judge_offer(envelope)
            found = self._read[envelope.id]
            if isinstance(found, Offered) and (author, found.setup.exit) in taken:
                found = Fault(found.author.name, session, f"a second instance of exit {found.setup.exit}")
            if isinstance(found, Fault):
                self.faults.append(found)
            else:
                taken.add((author, found.setup.exit))
                yield found

    def _is_mine(self, envelope: Envelope) -> bool:
        document: OfferBody = of_kind(envelope, OfferBody)
        return self.setup is not None and document.instance.deposit.outpoint == str(self.setup.outpoint)

    def _judge_offer(self, envelope: Envelope) -> "Offered | Fault":
        try:
            return self._read_offer(envelope)
        except BridgeError as error:
            return Fault(self.board.roster.name(envelope.author), envelope.session, str(error))

    def _judged(self, kind: str, read: Callable[[Envelope], T]) -> T | None:
        """What the depositor said once, if it is right."""
        envelope = self.board.one(self.id, kind, self.author)
        if envelope is None:
            return None
        try:
            return read(envelope)
        except BridgeError as error:
            self.faults.append(Fault(self.board.roster.name(self.author), self.id, str(error)))
            return None

    def _read_request(self, envelope: Envelope) -> Asked:
        document: RequestBody = of_kind(envelope, RequestBody)
        params = Params.from_json(document.params)
        if params.network is not self._network:
            raise VerificationFailed(f"a deposit on {params.network}, expected {self._network}")
        key = from_hex("depositor key", document.depositor, 32)
        request = Request(params, key, from_hex("receiver", document.receiver))
        if request.id != self.id:
            raise VerificationFailed("a request with another id than its session")
        known = {one.name: one for one in self.board.roster.of(Role.OPERATOR)}
        unknown = [name for name in document.operators if name not in known]
        if unknown or not document.operators or len(set(document.operators)) != len(document.operators):
            raise VerificationFailed("operators that are not in the roster, or named twice, or none")
        if len(document.operators) * params.exits > MAX_EXPECTED:
            raise VerificationFailed(f"more than {MAX_EXPECTED:,} instances")
        return Asked(self.board.roster.by_key[envelope.author], request, tuple(known[n] for n in document.operators))

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
        setup = InstanceSetup.from_document(document.instance)
        if setup.id != envelope.session or setup.deposit != self.setup:
            raise VerificationFailed("an instance of another deposit, or with another id than its session")
        if self.asked is None or author not in self.asked.operators:
            raise VerificationFailed("an operator that the depositor did not name")
        challenge = from_hex("challenge signature", document.challenge, 64)
        if not secp.verify(setup.operator, setup.graph["Challenge"].digest("challenge"), challenge):
            raise VerificationFailed("the signature for Challenge does not verify")
        check(setup.graph)
        return Offered(author, setup, challenge)
