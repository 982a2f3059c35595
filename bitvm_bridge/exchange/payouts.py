"""Cooperative payouts: what members have proposed, and who has agreed to it."""

from collections.abc import Iterator
from dataclasses import dataclass

from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import CONSENT, PAYOUT, ConsentBody, PayoutBody, of_kind
from bitvm_bridge.exchange.sessions import DepositSession
from bitvm_bridge.keys import address
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.setup import DepositSetup


@dataclass(frozen=True)
class Proposal:
    """A payout, the members that have proposed it, and those that have agreed to it."""

    payout: Payout
    proposers: tuple[str, ...]
    agreed: frozenset[str]

    @property
    def id(self) -> bytes:
        """The session in which it is spoken of."""
        return self.payout.id

    @property
    def missing(self) -> tuple[str, ...]:
        """Members that have not agreed, by name."""
        return tuple(sorted(set(self.payout.setup.committee.names) - self.agreed))


def proposals(deposit: DepositSession) -> list[Proposal]:
    """What members have proposed for a deposit, by id; whatever is wrong is added to the faults of its session."""
    if deposit.setup is None:
        return []
    proposers: dict[Payout, list[str]] = {}
    for session, author in deposit.board.sessions(PAYOUT):
        for envelope in deposit.board.said(session, PAYOUT, author):
            document: PayoutBody = of_kind(envelope, PayoutBody)
            if document.deposit != deposit.id.hex():
                continue
            try:
                payout = _read(deposit.setup, envelope, document)
            except BridgeError as error:
                deposit.blame(author, session, str(error))
            else:
                proposers.setdefault(payout, []).append(deposit.board.roster.name(author))
    found = [Proposal(payout, tuple(names), frozenset(_agreed(deposit, payout))) for payout, names in proposers.items()]
    return sorted(found, key=lambda proposal: proposal.id)


def check_receiver(payout: Payout) -> None:
    """Raises BadInput for a script without an address: nobody could see who is paid."""
    address(payout.script_pubkey, payout.setup.request.params.network)


def _read(setup: DepositSetup, envelope: Envelope, document: PayoutBody) -> Payout:
    payout = Payout(setup, from_hex("payout script", document.script), document.exit)
    check_receiver(payout)
    if payout.id != envelope.session:
        raise VerificationFailed("a payout with another id than its session")
    return payout


def _agreed(deposit: DepositSession, payout: Payout) -> Iterator[str]:
    for member in deposit.board.roster.committee:
        for envelope in deposit.board.said(payout.id, CONSENT, member.key):
            document: ConsentBody = of_kind(envelope, ConsentBody)
            if document.txid == payout.tx.txid_hex:
                yield member.name
            else:
                deposit.blame(member.key, payout.id, "agreed to another transaction than this payout's")
