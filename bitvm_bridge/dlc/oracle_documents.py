"""Announcements, attestations and proofs of equivocation as files: dlcspecs' JSON, with the hashing beside it."""

from typing import Final

import msgspec

from bitvm_bridge.dlc.equivocation import Proof
from bitvm_bridge.dlc.oracle import Announcement, Attestation, DigitEvent, EnumEvent, Event, Hashing
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput

ANNOUNCEMENT: Final = "announcement"
ATTESTATION: Final = "attestation"
PROOF: Final = "proof of equivocation"


class EnumDocument(Document, frozen=True):
    """`enum_event_descriptor`."""

    outcomes: list[str]


class DigitDocument(Document, frozen=True, rename="camel"):
    """`digit_decomposition_event_descriptor`."""

    base: int
    is_signed: bool
    unit: str
    precision: int
    nb_digits: int


class DescriptorDocument(Document, frozen=True, rename="camel", omit_defaults=True):
    """`event_descriptor`: one of the two."""

    enum_event: EnumDocument | None = None
    digit_decomposition_event: DigitDocument | None = None


class EventDocument(Document, frozen=True, rename="camel"):
    """`oracle_event`."""

    oracle_nonces: list[str]
    event_maturity_epoch: int
    event_descriptor: DescriptorDocument
    event_id: str


class AnnouncementDocument(Document, frozen=True, rename="camel"):
    """`oracle_announcement`."""

    announcement_signature: str
    oracle_public_key: str
    oracle_event: EventDocument


class AttestationDocument(Document, frozen=True, rename="camel"):
    """`oracle_attestation`."""

    event_id: str
    oracle_public_key: str
    signatures: list[str]
    outcomes: list[str]


class AnnouncementFile(Document, frozen=True):
    """An announcement, and how its oracle hashes."""

    hashing: str
    announcement: AnnouncementDocument


class AttestationFile(Document, frozen=True):
    """An attestation, and how its oracle hashes."""

    hashing: str
    attestation: AttestationDocument


class ProofFile(Document, frozen=True):
    """Two outcomes under one nonce."""

    oracle: str
    hashing: str
    outcomes: tuple[str, str]
    signatures: tuple[str, str]


def announcement_file(announcement: Announcement, hashing: Hashing) -> AnnouncementFile:
    """What `read_announcement` reads."""
    event = EventDocument(
        [nonce.hex() for nonce in announcement.nonces],
        announcement.maturity,
        _descriptor_document(announcement.descriptor),
        announcement.event_id,
    )
    document = AnnouncementDocument(announcement.signature.hex(), announcement.key.hex(), event)
    return AnnouncementFile(hashing.value, document)


def read_announcement(raw: bytes) -> tuple[Announcement, Hashing]:
    """From JSON. Raises BadInput; the signature is for `Announcement.verify`."""
    file = decode(raw, AnnouncementFile, ANNOUNCEMENT)
    document = file.announcement
    event = document.oracle_event
    announcement = Announcement(
        from_hex("oraclePublicKey", document.oracle_public_key, 32),
        tuple(from_hex("oracleNonces", nonce, 32) for nonce in event.oracle_nonces),
        event.event_maturity_epoch,
        _descriptor(event.event_descriptor),
        event.event_id,
        from_hex("announcementSignature", document.announcement_signature, 64),
    )
    return announcement, read_hashing(file.hashing)


def attestation_file(attestation: Attestation, hashing: Hashing) -> AttestationFile:
    """What `read_attestation` reads."""
    signatures = [signature.hex() for signature in attestation.signatures]
    document = AttestationDocument(attestation.event_id, attestation.key.hex(), signatures, list(attestation.outcomes))
    return AttestationFile(hashing.value, document)


def read_attestation(raw: bytes) -> tuple[Attestation, Hashing]:
    """From JSON. Raises BadInput; the signatures are for `Attestation.verify`."""
    file = decode(raw, AttestationFile, ATTESTATION)
    document = file.attestation
    attestation = Attestation(
        from_hex("oraclePublicKey", document.oracle_public_key, 32),
        document.event_id,
        tuple(document.outcomes),
        tuple(from_hex("signatures", signature, 64) for signature in document.signatures),
    )
    return attestation, read_hashing(file.hashing)


def proof_file(proof: Proof) -> ProofFile:
    """What `read_proof` reads."""
    first, second = proof.signatures
    return ProofFile(proof.key.hex(), proof.hashing.value, proof.outcomes, (first.hex(), second.hex()))


def read_proof(raw: bytes) -> Proof:
    """From JSON. Raises BadInput; whether it proves anything is for `Proof.verify`."""
    file = decode(raw, ProofFile, PROOF)
    first, second = (from_hex("signatures", signature, 64) for signature in file.signatures)
    return Proof(from_hex("oracle", file.oracle, 32), read_hashing(file.hashing), file.outcomes, (first, second))


def read_hashing(name: str) -> Hashing:
    """Raises BadInput for one that is not known."""
    try:
        return Hashing(name)
    except ValueError:
        raise BadInput("hashing", name, " or ".join(item.value for item in Hashing)) from None


def to_builtins(file: AnnouncementFile | AttestationFile | ProofFile) -> dict[str, object]:
    """The file as an object of JSON."""
    converted: dict[str, object] = msgspec.to_builtins(file)
    return converted


def shown(document: dict[str, object]) -> str:
    """JSON for people, without the last newline."""
    return encode(document).decode().rstrip()


def _descriptor_document(event: Event) -> DescriptorDocument:
    if isinstance(event, EnumEvent):
        return DescriptorDocument(enum_event=EnumDocument(list(event.outcomes)))
    digits = DigitDocument(event.base, event.signed, event.unit, event.precision, event.digits)
    return DescriptorDocument(digit_decomposition_event=digits)


def _descriptor(document: DescriptorDocument) -> Event:
    listed, digits = document.enum_event, document.digit_decomposition_event
    if listed is not None and digits is None:
        return EnumEvent(tuple(listed.outcomes))
    if digits is not None and listed is None:
        return DigitEvent(digits.base, digits.is_signed, digits.unit, digits.precision, digits.nb_digits)
    raise BadInput("eventDescriptor", "both kinds or none", "an enumEvent or a digitDecompositionEvent")
