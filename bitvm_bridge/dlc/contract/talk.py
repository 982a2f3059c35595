"""What the three say about a contract: signed envelopes in a folder that all can reach, kept in each one's store.

The offerer says terms and its part, the accepter its part, the oracle its stake and which acceptance it is for. Then
each gives nonces and partial signatures (`exchange.signing`), and the parties the signatures of their coins.
"""

from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Final, TypeVar

import msgspec

from bitvm_bridge.dlc.contract.contract import (
    Agreement,
    Contract,
    OracleDocument,
    OracleSide,
    Reopening,
    ReopeningDocument,
    Side,
    SideDocument,
)
from bitvm_bridge.dlc.contract.terms import Terms, TermsDocument
from bitvm_bridge.documents import Document, decode, from_hex
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import MAX_ATTEMPT, MAX_SAID, NoncesBody, PartialsBody
from bitvm_bridge.exchange.signing import Kinds
from bitvm_bridge.protocol.instance import canonical
from bitvm_bridge.store import Store
from bitvm_bridge.taproot import tagged_hash

OFFER: Final = "dlc-offer"
ACCEPT: Final = "dlc-accept"
TRANSFER: Final = "dlc-transfer"
STAKE: Final = "dlc-stake"
FUNDING: Final = "dlc-funding"
SIGNING: Final = Kinds("dlc-nonces", "dlc-partials")
RECORD: Final = "contract envelope"
_ID_TAG: Final = "BitVMBridge/dlc-offer"

D = TypeVar("D", bound=Document)


class OfferBody(Document, frozen=True):
    """Terms, and the offerer's part."""

    terms: TermsDocument
    offerer: SideDocument


class AcceptBody(Document, frozen=True):
    """The accepter's part."""

    accepter: SideDocument


class TransferBody(Document, frozen=True):
    """A new contract that the contract of another offer (its id) is to end in, whole but for its oracle.

    `point` locks that, where there is one.
    """

    old: str
    terms: TermsDocument
    offerer: SideDocument
    accepter: SideDocument
    reopens: ReopeningDocument
    point: str


class StakeBody(Document, frozen=True):
    """The oracle's part, and the id of the acceptance that makes the contract with it."""

    accept: str
    oracle: OracleDocument


class FundingBody(Document, frozen=True):
    """A party's signatures of its inputs of Funding, by position."""

    signatures: dict[int, str]


BODIES: Final[Mapping[str, type[Document]]] = {
    OFFER: OfferBody,
    ACCEPT: AcceptBody,
    TRANSFER: TransferBody,
    STAKE: StakeBody,
    FUNDING: FundingBody,
    SIGNING.nonces: NoncesBody,
    SIGNING.partials: PartialsBody,
}


def offer_id(body: OfferBody | TransferBody) -> bytes:
    """32 bytes by which the three speak of a contract from its offer, or transfer, on."""
    return tagged_hash(_ID_TAG, canonical(msgspec.to_builtins(body)))


class Talk:
    """Everything that was said about one contract; a board for its signing session."""

    def __init__(self, store: Store, session: bytes) -> None:
        self.session = session
        self._store = store
        self._said: dict[tuple[str, bytes], dict[bytes, Envelope]] = {}
        for key, raw in store.items(RECORD, session):
            envelope = Envelope.from_json(raw)
            self._file(key[len(session) :], envelope)

    @property
    def count(self) -> int:
        """Envelopes that are known."""
        return sum(len(of) for of in self._said.values())

    def accept(self, envelope: Envelope) -> bool:
        """Keep an envelope; False for one that is known or of another contract. Raises BadInput, VerificationFailed."""
        if envelope.session != self.session or envelope.kind not in BODIES:
            return False
        known = self._said.get((envelope.kind, envelope.author), {})
        if envelope.id in known:
            return False
        read = body(envelope, BODIES[envelope.kind])
        if isinstance(read, OfferBody | TransferBody) and offer_id(read) != self.session:
            raise VerificationFailed(f"offer of {envelope.author.hex()[:12]}: its id is not that of its session")
        if isinstance(read, NoncesBody) and not 1 <= read.attempt <= MAX_ATTEMPT:
            raise BadInput("attempt", read.attempt, f"1 to {MAX_ATTEMPT:,}")
        if len(known) >= MAX_SAID:
            raise VerificationFailed(f"{envelope.author.hex()[:12]}: more than {MAX_SAID:,} times {envelope.kind!r}")
        self._store.put(RECORD, self.session + envelope.id, envelope.to_json())
        self._file(envelope.id, envelope)
        return True

    def receive(self, envelopes: Iterable[Envelope]) -> list[str]:
        """Take in what others said; returns why envelopes were refused."""
        refused = []
        for envelope in envelopes:
            try:
                self.accept(envelope)
            except BridgeError as error:
                refused.append(str(error))
        return refused

    def said(self, session: bytes, kind: str, author: bytes) -> list[Envelope]:
        """What one author said, in the order of the envelopes' ids."""
        del session
        return [self._said[kind, author][one] for one in sorted(self._said.get((kind, author), {}))]

    def own(self, author: bytes) -> list[Envelope]:
        """Everything that one author said."""
        return [envelope for (_, by), of in self._said.items() if by == author for envelope in of.values()]

    @cached_property
    def offer(self) -> OfferBody:
        """The offer. Raises BadInput where it is not here, or is not its author's own."""
        for envelope in self._of_kind(OFFER):
            read = body(envelope, OfferBody)
            if read.offerer.identity != envelope.author.hex():
                raise BadInput("offer", envelope.author, "one that its offerer has signed")
            return read
        raise BadInput("offer", self.session, "one that is in the folder or in this store")

    @property
    def transfer(self) -> TransferBody | None:
        """Where it is no offer: what it is to be funded from. Its author does not matter: it binds nobody."""
        found = self._of_kind(TRANSFER)
        return body(found[0], TransferBody) if found else None

    @cached_property
    def terms(self) -> Terms:
        """Of the offer or transfer. Raises BadInput for terms that are not safe."""
        return Terms.from_document((self.transfer or self.offer).terms)

    def acceptances(self) -> dict[bytes, Side]:
        """The accepter's part by envelope id, of everyone who accepted."""
        if self.transfer is not None:
            return {one.id: Side.from_document(self.transfer.accepter) for one in self._of_kind(TRANSFER)}
        found = {}
        for envelope in self._of_kind(ACCEPT):
            side = Side.from_document(body(envelope, AcceptBody).accepter)
            if side.identity == envelope.author:
                found[envelope.id] = side
        return found

    def agreement(self, accept: bytes) -> Agreement:
        """With the acceptance of this id. Raises BadInput where that is not here."""
        if (transfer := self.transfer) is not None:
            offerer, accepter = Side.from_document(transfer.offerer), Side.from_document(transfer.accepter)
            return Agreement(self.terms, offerer, accepter, Reopening.from_document(transfer.reopens))
        accepted = self.acceptances()
        if accept not in accepted:
            raise BadInput("acceptance", accept, "one that is in the folder or in this store")
        return Agreement(self.terms, Side.from_document(self.offer.offerer), accepted[accept])

    def contract(self) -> Contract | None:
        """The whole contract, where the event's oracle has said its part.

        Raises VerificationFailed for an oracle that has said two things.
        """
        found: dict[str, Contract] = {}
        for envelope in self._of_kind(STAKE):
            read = body(envelope, StakeBody)
            try:
                agreement = self.agreement(from_hex("acceptance", read.accept, 32))
                side = OracleSide.from_document(read.oracle, self.terms.spec.values)
                made = Contract(agreement, side)
            except (BadInput, VerificationFailed):
                continue
            if side.identity == envelope.author:
                found[read.accept + read.oracle.stake] = made
        if len(found) > 1:
            raise VerificationFailed("oracle: it has said two different stakes for one offer")
        return next(iter(found.values()), None)

    def funding_signatures(self, agreement: Agreement) -> dict[int, bytes]:
        """By position: what each party has given for its own inputs; `moves.funding` verifies them. Raises BadInput."""
        found: dict[int, bytes] = {}
        first = len(agreement.reopens.inputs) if agreement.reopens else 0
        for side, _ in agreement.sides:
            own = range(first, first + len(side.coins))
            first += len(side.coins)
            for envelope in self.said(self.session, FUNDING, side.identity):
                signatures = body(envelope, FundingBody).signatures
                found |= {
                    index: from_hex(f"signature of input {index}", text, 64)
                    for index, text in signatures.items()
                    if index in own
                }
        return found

    def _of_kind(self, kind: str) -> list[Envelope]:
        found = [envelope for (said, _), of in self._said.items() if said == kind for envelope in of.values()]
        return sorted(found, key=lambda envelope: envelope.id)

    def _file(self, key: bytes, envelope: Envelope) -> None:
        self._said.setdefault((envelope.kind, envelope.author), {})[key] = envelope
        self.__dict__.pop("offer", None)


def body(envelope: Envelope, kind: type[D]) -> D:
    """The document in an envelope. Raises BadInput naming the author."""
    return decode(envelope.body, kind, f"{envelope.kind} of {envelope.author.hex()[:12]}")
