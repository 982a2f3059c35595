"""Oracles: events announced ahead of time, attestations, and the points that anticipate them (dlcspecs `Oracle.md`).

An oracle publishes a nonce for everything it will sign. From the nonce, its key and an outcome anyone computes the
point whose discrete logarithm the attestation to that outcome will reveal.
"""

import hashlib
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from typing import Final

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.taproot import tagged_hash

ENUM_EVENT_TYPE: Final = 55302
DIGIT_EVENT_TYPE: Final = 55306
EVENT_TYPE: Final = 55330
ANNOUNCEMENT_TYPE: Final = 55332
MAX_BASE: Final = 0xFFFF
MAX_DIGITS: Final = 64
"""More would not fit the 64 bits of an outcome in any base."""
_ATTESTATION_TAG: Final = "DLC/oracle/attestation/v0"
_ANNOUNCEMENT_TAG: Final = "DLC/oracle/announcement/v0"
PLUS: Final = "+"
MINUS: Final = "-"


class Hashing(Enum):
    """How what an oracle signs becomes 32 bytes. Both kinds are in use, and neither verifies as the other."""

    TAGGED = "tagged"
    """BIP340 tagged hashes, as dlcspecs `Oracle.md` says."""
    PLAIN = "plain"
    """SHA256, as the vector files of dlcspecs were made."""

    def outcome(self, outcome: str) -> bytes:
        """The message (32 bytes) of an attestation."""
        raw = outcome.encode()
        return hashlib.sha256(raw).digest() if self is Hashing.PLAIN else tagged_hash(_ATTESTATION_TAG, raw)

    def event(self, event: bytes) -> bytes:
        """The message (32 bytes) of an announcement's signature."""
        return hashlib.sha256(event).digest() if self is Hashing.PLAIN else tagged_hash(_ANNOUNCEMENT_TAG, event)


@dataclass(frozen=True)
class EnumEvent:
    """One outcome of a list; the oracle signs it under its one nonce."""

    outcomes: tuple[str, ...]

    def __post_init__(self) -> None:
        """Raises BadInput for no outcome, one that is there twice, or one that is not in Unicode's form NFC."""
        if not 1 <= len(self.outcomes) <= 0xFFFF:
            raise BadInput("outcomes", len(self.outcomes), "1 to 65535 outcomes")
        if len(set(self.outcomes)) != len(self.outcomes):
            raise BadInput("outcomes", ", ".join(self.outcomes), "distinct outcomes")
        for outcome in self.outcomes:
            check_text("outcome", outcome)

    @property
    def nonce_count(self) -> int:
        """How many nonces the oracle announces."""
        return 1

    def possible(self, _: int) -> tuple[str, ...]:
        """What can be signed under nonce `index`."""
        return self.outcomes

    def serialize(self) -> bytes:
        """`enum_event_descriptor` with its type and length."""
        body = len(self.outcomes).to_bytes(2, "big") + b"".join(map(text, self.outcomes))
        return record(ENUM_EVENT_TYPE, body)


@dataclass(frozen=True)
class DigitEvent:
    """A number in a base, whose digits the oracle signs one by one, the highest first, after the sign if it has one.

    The number times base^precision is the quantity in `unit`.
    """

    base: int
    signed: bool
    unit: str
    precision: int
    digits: int

    def __post_init__(self) -> None:
        if not 2 <= self.base <= MAX_BASE:
            raise BadInput("base", self.base, f"2 to {MAX_BASE}")
        if not 1 <= self.digits <= MAX_DIGITS:
            raise BadInput("digits", self.digits, f"1 to {MAX_DIGITS}")
        if self.base**self.digits > 1 << 64:
            raise BadInput("digits", self.digits, f"digits of base {self.base} that fit in 64 bits")
        if not -(1 << 31) <= self.precision < 1 << 31:
            raise BadInput("precision", self.precision, "a number of 32 bits")
        check_text("unit", self.unit, empty=True)

    @property
    def nonce_count(self) -> int:
        """How many nonces the oracle announces."""
        return self.digits + self.signed

    @property
    def maximum(self) -> int:
        """The largest number of so many digits."""
        return int(self.base**self.digits) - 1

    @property
    def minimum(self) -> int:
        """The smallest number that can be signed."""
        return -self.maximum if self.signed else 0

    def possible(self, index: int) -> tuple[str, ...]:
        """What can be signed under nonce `index`."""
        if self.signed and index == 0:
            return (PLUS, MINUS)
        return tuple(map(str, range(self.base)))

    def outcomes(self, value: int) -> tuple[str, ...]:
        """What an oracle signs for a value; one beyond the ends is signed as the end (dlcspecs)."""
        magnitude = abs(max(self.minimum, min(value, self.maximum)))
        digits: list[str] = []
        for _ in range(self.digits):
            magnitude, digit = divmod(magnitude, self.base)
            digits.append(str(digit))
        sign = (MINUS if value < 0 else PLUS,) if self.signed else ()
        return sign + tuple(reversed(digits))

    def serialize(self) -> bytes:
        """`digit_decomposition_event_descriptor` with its type and length."""
        number = self.precision.to_bytes(4, "big", signed=True) + self.digits.to_bytes(2, "big")
        body = self.base.to_bytes(2, "big") + bytes([self.signed]) + text(self.unit) + number
        return record(DIGIT_EVENT_TYPE, body)


Event = EnumEvent | DigitEvent


@dataclass(frozen=True)
class Announcement:
    """What an oracle promises to sign: its x-only key, an x-only nonce (32 bytes each) for each outcome or digit,
    the earliest time in epoch seconds, the event, and its BIP340 signature of all but the key.
    """

    key: bytes
    nonces: tuple[bytes, ...]
    maturity: int
    descriptor: Event
    event_id: str
    signature: bytes

    def __post_init__(self) -> None:
        """Raises BadInput for what no oracle can have announced; the signature is for `verify`."""
        secp.check_xonly("oracle key", self.key)
        for nonce in self.nonces:
            secp.check_xonly("oracle nonce", nonce)
        if len(self.nonces) != self.descriptor.nonce_count:
            raise BadInput("oracle nonces", len(self.nonces), f"{self.descriptor.nonce_count}, as many as are signed")
        if len(set(self.nonces)) != len(self.nonces):
            raise BadInput("oracle nonces", len(set(self.nonces)), f"{len(self.nonces)} distinct nonces")
        if not 0 <= self.maturity <= 0xFFFFFFFF:
            raise BadInput("maturity", self.maturity, "epoch seconds of 32 bits")
        check_text("event id", self.event_id)
        if len(self.signature) != 64:
            raise BadInput("announcement signature", self.signature, "64 bytes")

    def event_bytes(self) -> bytes:
        """The `oracle_event` as its signature covers it: without type and length (dlcspecs `Messaging.md`)."""
        return event_bytes(self.nonces, self.maturity, self.descriptor, self.event_id)

    def serialize(self) -> bytes:
        """`oracle_announcement` with type and length, and so the event in it."""
        body = self.signature + self.key + record(EVENT_TYPE, self.event_bytes())
        return record(ANNOUNCEMENT_TYPE, body)

    @cached_property
    def id(self) -> bytes:
        """32 bytes that stand for the event: the SHA256 of `event_bytes`."""
        return hashlib.sha256(self.event_bytes()).digest()

    def verify(self, hashing: Hashing = Hashing.TAGGED) -> None:
        """Raises VerificationFailed where the signature is not the oracle's."""
        if not secp.verify(self.key, hashing.event(self.event_bytes()), self.signature):
            raise VerificationFailed(f"announcement of {self.event_id!r}: it does not have the oracle's signature")

    def check_outcomes(self, outcomes: Sequence[str]) -> None:
        """Raises BadInput unless these can be what the first nonces sign."""
        if not 1 <= len(outcomes) <= len(self.nonces):
            raise BadInput("outcome", " ".join(outcomes), f"1 to {len(self.nonces)} signed outcomes of the event")
        for index, outcome in enumerate(outcomes):
            if outcome not in self._possible[index]:
                raise BadInput("outcome", outcome, f"one that {self.event_id!r} can have ({_shown(self, index)})")

    def point(self, outcomes: Sequence[str], hashing: Hashing) -> bytes:
        """The point (33 bytes) whose discrete logarithm attestations to these first outcomes add up to.

        Raises BadInput for an outcome that the event cannot have.
        """
        self.check_outcomes(outcomes)
        return secp.add_points([self._sum(tuple(outcomes), hashing)])

    def _sum(self, outcomes: tuple[str, ...], hashing: Hashing) -> bytes:
        """65 bytes, which are added faster; contracts ask for many outcomes with the same beginning."""
        known = self._sums.get((hashing, outcomes))
        if known is None:
            last = len(outcomes) - 1
            key = (hashing, last, outcomes[last])
            if key not in self._single:
                message = hashing.outcome(outcomes[last])
                single = secp.signature_point(self.nonces[last], self.key, message)
                self._single[key] = secp.add_points([single], compressed=False)
            known = self._single[key]
            if last:
                known = secp.add_points([self._sum(outcomes[:last], hashing), known], compressed=False)
            self._sums[hashing, outcomes] = known
        return known

    @cached_property
    def _possible(self) -> tuple[frozenset[str], ...]:
        return tuple(frozenset(self.descriptor.possible(index)) for index in range(len(self.nonces)))

    @cached_property
    def _single(self) -> dict[tuple[Hashing, int, str], bytes]:
        return {}

    @cached_property
    def _sums(self) -> dict[tuple[Hashing, tuple[str, ...]], bytes]:
        return {}


@dataclass(frozen=True)
class Attestation:
    """What an oracle signed: each outcome, or sign and digit, with its BIP340 signature (64 bytes)."""

    key: bytes
    event_id: str
    outcomes: tuple[str, ...]
    signatures: tuple[bytes, ...]

    def __post_init__(self) -> None:
        secp.check_xonly("oracle key", self.key)
        if len(self.signatures) != len(self.outcomes) or any(len(one) != 64 for one in self.signatures):
            raise BadInput("attestation signatures", len(self.signatures), "a signature (64 bytes) for each outcome")

    def verify(self, announcement: Announcement, hashing: Hashing) -> None:
        """Raises VerificationFailed unless it is the whole attestation that was announced."""
        name = f"attestation to {self.event_id!r}"
        if (self.key, self.event_id) != (announcement.key, announcement.event_id):
            raise VerificationFailed(f"{name}: it is of another oracle or event than the announcement")
        if tuple(signature[:32] for signature in self.signatures) != announcement.nonces:
            raise VerificationFailed(f"{name}: it is not signed under the announced nonces")
        try:
            announcement.check_outcomes(self.outcomes)
        except BadInput as error:
            raise VerificationFailed(f"{name}: {error}") from None
        for outcome, signature in zip(self.outcomes, self.signatures, strict=True):
            if not secp.verify(self.key, hashing.outcome(outcome), signature):
                raise VerificationFailed(f"{name}: the signature of {outcome!r} is not the oracle's")

    def secret(self, count: int) -> SecretKey:
        """The discrete logarithm of `Announcement.point` of the first `count` outcomes. Raises BadInput."""
        if not 1 <= count <= len(self.signatures):
            raise BadInput("attested outcomes", count, f"1 to {len(self.signatures)}")
        return SecretKey(secp.add_secrets([signature[32:] for signature in self.signatures[:count]]))


def combined_point(
    announcements: Sequence[Announcement], oracles: Sequence[tuple[int, Sequence[str]]], hashing: Hashing
) -> bytes:
    """The sum (33 bytes) of the points of several oracles: (index, first outcomes) of each. Raises BadInput."""
    points = []
    for index, outcomes in oracles:
        announcements[index].check_outcomes(outcomes)
        points.append(announcements[index]._sum(tuple(outcomes), hashing))
    return secp.add_points(points)


def combined_secret(attestations: Mapping[int, Attestation], oracles: Sequence[tuple[int, Sequence[str]]]) -> SecretKey:
    """The discrete logarithm of `combined_point`, from the attestations of its oracles by index.

    Raises BadInput where one is missing or attests to other outcomes.
    """
    secrets = []
    for index, outcomes in oracles:
        if index not in attestations or attestations[index].outcomes[: len(outcomes)] != tuple(outcomes):
            raise BadInput("attestation", f"of oracle {index}", f"one to {' '.join(outcomes)!r}")
        secrets.append(attestations[index].secret(len(outcomes)).reveal())
    return SecretKey(secp.add_secrets(secrets))


UseGuard = Callable[[bytes, Mapping[bytes, bytes]], None]
"""Called with the oracle's key and nonce → message of every signature, before the first exists; raises to prevent."""


def announce(
    key: SecretKey, nonces: Sequence[SecretKey], maturity: int, descriptor: Event, event_id: str, hashing: Hashing
) -> Announcement:
    """Sign an announcement under nonces that are fresh, one for each outcome or digit. Raises BadInput."""
    public = tuple(nonce.xonly for nonce in nonces)
    unsigned = Announcement(key.xonly, public, maturity, descriptor, event_id, bytes(64))
    signature = key.sign(hashing.event(unsigned.event_bytes()))
    return Announcement(key.xonly, public, maturity, descriptor, event_id, signature)


def attest(
    key: SecretKey,
    nonces: Sequence[SecretKey],
    announcement: Announcement,
    outcomes: Sequence[str],
    hashing: Hashing,
    guard: UseGuard,
) -> Attestation:
    """Sign what happened, once: `guard` decides for every nonce at once, before there is any signature.

    Raises BadInput for another key or nonces than announced, and for outcomes that are not the event's.
    """
    if key.xonly != announcement.key or tuple(nonce.xonly for nonce in nonces) != announcement.nonces:
        raise BadInput("oracle key", key.xonly, "the key, with the nonces, of the announcement")
    announcement.check_outcomes(outcomes)
    if len(outcomes) != len(nonces):
        raise BadInput("outcome", " ".join(outcomes), f"{len(nonces)} outcomes: every nonce signs")
    messages = [hashing.outcome(outcome) for outcome in outcomes]
    guard(announcement.key, dict(zip(announcement.nonces, messages, strict=True)))
    signatures = [
        secp.sign_with_nonce(key.reveal(), nonce.reveal(), message)
        for nonce, message in zip(nonces, messages, strict=True)
    ]
    return Attestation(announcement.key, announcement.event_id, tuple(outcomes), tuple(signatures))


def event_bytes(nonces: Sequence[bytes], maturity: int, descriptor: Event, event_id: str) -> bytes:
    """`oracle_event` without type and length."""
    head = len(nonces).to_bytes(2, "big") + b"".join(nonces) + maturity.to_bytes(4, "big")
    return head + descriptor.serialize() + text(event_id)


def bigsize(number: int) -> bytes:
    """BOLT 1's BigSize: like Bitcoin's compact size, big-endian."""
    for prefix, size in ((b"", 1), (b"\xfd", 2), (b"\xfe", 4)):
        if number < (0xFD if size == 1 else 1 << 8 * size):
            return prefix + number.to_bytes(size, "big")
    return b"\xff" + number.to_bytes(8, "big")


def text(value: str) -> bytes:
    """dlcspecs' `string`: UTF-8 after its length."""
    raw = value.encode()
    return bigsize(len(raw)) + raw


def record(kind: int, body: bytes) -> bytes:
    """Type, length, value."""
    return bigsize(kind) + bigsize(len(body)) + body


def check_text(field: str, value: str, *, empty: bool = False) -> None:
    """Raises BadInput for what is not text in Unicode's form NFC, which dlcspecs hash."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadInput(field, ascii(value), "text that UTF-8 can encode") from None
    if not (value or empty) or not unicodedata.is_normalized("NFC", value):
        raise BadInput(field, value, "text in Unicode's form NFC" + ("" if empty else ", one character or more"))


def _shown(announcement: Announcement, index: int) -> str:
    possible = announcement.descriptor.possible(index)
    return ", ".join(possible) if len(possible) <= 16 else f"{', '.join(possible[:8])}, … {possible[-1]}"
