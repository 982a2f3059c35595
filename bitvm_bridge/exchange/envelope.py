"""A signed document: what one party says to the others about one session, as a file or over HTTP."""

from dataclasses import dataclass
from typing import Final, Self

import msgspec

from bitvm_bridge import secp
from bitvm_bridge.documents import Document, decode, from_hex
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.taproot import tagged_hash

VERSION: Final = 1
MAX_KIND: Final = 32
"""characters: lower case letters and hyphens."""


class EnvelopeDocument(Document, frozen=True):
    """An envelope as JSON carries it; hex for bytes, `body` is any JSON object."""

    version: int
    kind: str
    session: str
    author: str
    body: msgspec.Raw
    signature: str


@dataclass(frozen=True)
class Envelope:
    """What `author` (an x-only identity key) says: a document of some kind about a session (32 bytes).

    `body` is JSON in its canonical form: sorted keys, no spaces. The BIP340 signature commits to all other fields.
    """

    kind: str
    session: bytes
    author: bytes
    body: bytes
    signature: bytes

    @property
    def id(self) -> bytes:
        """32 bytes: what is signed."""
        return message_id(self.kind, self.session, self.author, self.body)

    def to_json(self) -> bytes:
        """As JSON text; not indented, which would let deep nesting multiply the size of what somebody else wrote."""
        return msgspec.json.encode(
            EnvelopeDocument(
                VERSION,
                self.kind,
                self.session.hex(),
                self.author.hex(),
                msgspec.Raw(self.body),
                self.signature.hex(),
            )
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """Read it and check its signature. Raises BadInput, and VerificationFailed, with the author, for a bad one."""
        document = decode(raw, EnvelopeDocument, "envelope")
        if document.version != VERSION:
            raise BadInput("envelope version", document.version, f"version {VERSION}")
        if not is_kind(document.kind):
            raise BadInput("envelope kind", document.kind, f"1 to {MAX_KIND} lower case letters and hyphens")
        envelope = cls(
            document.kind,
            from_hex("envelope session", document.session, 32),
            secp.check_xonly("envelope author", from_hex("envelope author", document.author, 32)),
            canonical_json(bytes(document.body)),
            from_hex("envelope signature", document.signature, 64),
        )
        if not secp.verify(envelope.author, envelope.id, envelope.signature):
            raise VerificationFailed(f"{envelope.kind}: the signature of {envelope.author.hex()} does not verify")
        return envelope


def seal(key: SecretKey, kind: str, session: bytes, document: object) -> Envelope:
    """Sign a document with the author's identity key."""
    body = canonical_json(msgspec.json.encode(document))
    return Envelope(kind, session, key.xonly, body, key.sign(message_id(kind, session, key.xonly, body)))


def canonical_json(raw: bytes) -> bytes:
    """The one encoding of a JSON object that is signed. Raises BadInput for anything else."""
    return msgspec.json.encode(decode(raw, dict, "envelope body"), order="sorted")


def message_id(kind: str, session: bytes, author: bytes, body: bytes) -> bytes:
    """32 bytes (BIP340 tagged hash)."""
    return tagged_hash("BitVMBridge/envelope", kind.encode(), b"\x00", session, author, body)


def is_kind(text: str) -> bool:
    """1 to 32 lower case letters and hyphens."""
    return 1 <= len(text) <= MAX_KIND and all("a" <= character <= "z" or character == "-" for character in text)
