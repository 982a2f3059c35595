"""What envelopes hold: a document for each kind, and who may say it."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from bitvm_bridge.documents import Document, decode, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.keys import Role
from bitvm_bridge.setup import InstanceDocument
from bitvm_bridge.taproot import tagged_hash

REQUEST: Final = "request"
MEMBER: Final = "member"
DEPOSIT: Final = "deposit"
OFFER: Final = "offer"
NONCES: Final = "nonces"
PARTIALS: Final = "partials"
CONFIRM_NONCES: Final = "confirm-nonces"
CONFIRM_PARTIALS: Final = "confirm-partials"
PAYOUT: Final = "payout"
CONSENT: Final = "payout-consent"
PAYOUT_NONCES: Final = "payout-nonces"
PAYOUT_PARTIALS: Final = "payout-partials"
NONCE_SIZE: Final = 66
PARTIAL_SIZE: Final = 32
MAX_SAID: Final = 100
"""envelopes of one author and kind in one session."""
MAX_ATTEMPT: Final = MAX_SAID
MAX_BODY: Final = 256_000
"""bytes of JSON of anything but an offer: a request that names a thousand operators has half of that."""


class RequestBody(Document, frozen=True):
    """A depositor asks for a deposit, and names the operators that are to offer an instance of every exit.

    `proof` is its key's signature of `requester_claim`: nobody passes off another's request as its own.
    """

    params: dict[str, Any]
    depositor: str
    receiver: str
    operators: list[str]
    proof: str


class MemberBody(Document, frozen=True):
    """A member's compressed key for the deposit, and that key's signature of `key_claim`: nobody passes off another's
    key as its own."""

    key: str
    proof: str


class DepositBody(Document, frozen=True):
    """Where the money is, and the keys of the committee that its address was made with, by member."""

    outpoint: str
    members: dict[str, str]


class OfferBody(Document, frozen=True):
    """An operator's instance, and its signature by which anyone may challenge."""

    instance: InstanceDocument
    challenge: str


class PayoutBody(Document, frozen=True):
    """A member proposes to pay all that an exit of a deposit (its id) holds to a script; the session is its id."""

    deposit: str
    exit: int
    script: str


class ConsentBody(Document, frozen=True):
    """A member agrees to a payout: to this transaction, which fixes deposit, exit, amount and receiver."""

    txid: str


class NoncesBody(Document, frozen=True):
    """A member's public nonces by label, for an attempt; the next one begins where this one cannot end."""

    attempt: int
    nonces: dict[str, str]


class PartialsBody(Document, frozen=True):
    """A member's partial signatures by label, under the nonces of these envelopes, one of each member."""

    nonces: list[str]
    partials: dict[str, str]


BODIES: Final[Mapping[str, tuple[Role, type[Document]]]] = {
    REQUEST: (Role.DEPOSITOR, RequestBody),
    MEMBER: (Role.COMMITTEE, MemberBody),
    DEPOSIT: (Role.DEPOSITOR, DepositBody),
    OFFER: (Role.OPERATOR, OfferBody),
    NONCES: (Role.COMMITTEE, NoncesBody),
    PARTIALS: (Role.COMMITTEE, PartialsBody),
    CONFIRM_NONCES: (Role.COMMITTEE, NoncesBody),
    CONFIRM_PARTIALS: (Role.COMMITTEE, PartialsBody),
    PAYOUT: (Role.COMMITTEE, PayoutBody),
    CONSENT: (Role.COMMITTEE, ConsentBody),
    PAYOUT_NONCES: (Role.COMMITTEE, NoncesBody),
    PAYOUT_PARTIALS: (Role.COMMITTEE, PartialsBody),
}
"""Kind → who says it, and the document in it."""


def key_claim(request_id: bytes, identity: bytes) -> bytes:
    """32 bytes that the key of a member for a deposit signs for the identity that uses it."""
    return tagged_hash("BitVMBridge/member", request_id, identity)


def requester_claim(request_id: bytes, identity: bytes) -> bytes:
    """32 bytes that a depositor's key signs for the identity that asks for the deposit."""
    return tagged_hash("BitVMBridge/requester", request_id, identity)


SAID_ONCE: Final = frozenset((REQUEST, MEMBER, DEPOSIT, OFFER, PAYOUT, CONSENT))
"""Kinds of which an author has one thing to say in a session."""


def body(envelope: Envelope) -> Document:
    """The document in an envelope.

    Raises BadInput for an unknown kind, another document than its kind has, or one that is longer than any is.
    """
    if envelope.kind not in BODIES:
        raise BadInput("envelope kind", envelope.kind, f"one of {', '.join(BODIES)}")
    if envelope.kind != OFFER and len(envelope.body) > MAX_BODY:
        what = f"{envelope.kind} of {envelope.author.hex()[:12]}"
        raise BadInput(what, f"{len(envelope.body):,} bytes", f"{MAX_BODY:,} bytes at most")
    _, kind = BODIES[envelope.kind]
    found = decode(envelope.body, kind, f"{envelope.kind} of {envelope.author.hex()[:12]}")
    if isinstance(found, NoncesBody) and not 1 <= found.attempt <= MAX_ATTEMPT:
        raise BadInput("attempt", found.attempt, f"1 to {MAX_ATTEMPT:,}")
    return found


def of_kind(envelope: Envelope, kind: type[Document]) -> Any:
    """The same, of a kind that was checked before."""
    return msgspec.json.decode(envelope.body, type=kind)


def unhex(what: str, items: Mapping[str, str], size: int) -> dict[str, bytes]:
    """Bytes by label. Raises BadInput."""
    return {label: from_hex(f"{what} of {label!r}", text, size) for label, text in items.items()}
