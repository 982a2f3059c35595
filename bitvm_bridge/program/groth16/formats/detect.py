"""Which format a file has, by its content alone."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats.canonical import KEY_NAME, PROOF_NAME
from bitvm_bridge.program.groth16.formats.gnark import FLAGS, RAW
from bitvm_bridge.program.groth16.formats.values import KEY, PROOF, PUBLIC


class Format(StrEnum):
    """The formats that are read."""

    SNARKJS = "snarkjs"
    ARKWORKS_COMPRESSED = "arkworks, compressed"
    ARKWORKS_UNCOMPRESSED = "arkworks, uncompressed"
    GNARK_COMPRESSED = "gnark, compressed"
    GNARK_RAW = "gnark, raw"
    CANONICAL = "bitvm-bridge"


@dataclass(frozen=True)
class _Layout:
    """Where a binary key says how many points `ic` has, and how large it is then; sizes in bytes."""

    format: Format
    offset: int
    length_size: int
    order: Literal["little", "big"]
    point_size: int
    tail: int = 0

    def is_likely(self, data: bytes) -> bool:
        """Does the file have a length of reason where this layout has one?"""
        is_gnark = self.format in (Format.GNARK_COMPRESSED, Format.GNARK_RAW)
        if is_gnark and _gnark(data) is not self.format:
            return False
        return _has_length(data, self.offset, self.length_size, self.order)

    def fits(self, data: bytes) -> bool:
        """Is the file as long as that length says?"""
        length = int.from_bytes(data[self.offset : self.offset + self.length_size], self.order)
        return len(data) == self.offset + self.length_size + length * self.point_size + self.tail


_KEYS: Final = (
    _Layout(Format.ARKWORKS_COMPRESSED, 224, 8, "little", 32),
    _Layout(Format.ARKWORKS_UNCOMPRESSED, 448, 8, "little", 64),
    _Layout(Format.GNARK_COMPRESSED, 288, 4, "big", 32, tail=8),
    _Layout(Format.GNARK_RAW, 576, 4, "big", 64, tail=8),
)
_ARKWORKS_PROOFS: Final = {128: Format.ARKWORKS_COMPRESSED, 256: Format.ARKWORKS_UNCOMPRESSED}
"""By size in bytes; no proof of gnark has these sizes, with commitments or without."""
_KNOWN: Final = "of a known format: snarkjs JSON, arkworks or gnark"
_MAX_LENGTH: Final = 0xFFFF
"""A longer list is taken for the bytes of something else: 8 random bytes are a shorter one in 2^48 files."""


def detect_key(data: bytes) -> Format:
    """The format of a verifying key, even of one that is cut short after its first points. Raises BadInput."""
    if found := _named_or_text(data, KEY_NAME):
        return found
    likely = [layout for layout in _KEYS if layout.is_likely(data)]
    for layout in (*(layout for layout in likely if layout.fits(data)), *likely):
        return layout.format
    raise BadInput(KEY, f"{len(data)} bytes", _KNOWN)


def detect_proof(data: bytes) -> Format:
    """The format of a proof. Raises BadInput."""
    if found := _named_or_text(data, PROOF_NAME) or _ARKWORKS_PROOFS.get(len(data)):
        return found
    gnark = _gnark(data)
    if _has_length(data, 256 if gnark is Format.GNARK_RAW else 128, 4, "big"):
        return gnark
    raise BadInput(PROOF, f"{len(data)} bytes", f"{_KNOWN}, of 128 or 256 bytes, or gnark, of 164 or 324")


def detect_public(data: bytes) -> Format:
    """The format of public inputs, which are compressed nowhere. Raises BadInput."""
    if found := _named_or_text(data, PROOF_NAME):
        return found
    if _has_length(data, 0, 8, "little"):
        return Format.ARKWORKS_UNCOMPRESSED
    if _has_length(data, 0, 4, "big"):
        return Format.GNARK_RAW
    raise BadInput(PUBLIC, f"{len(data)} bytes", _KNOWN)


def _named_or_text(data: bytes, name: bytes) -> Format | None:
    """Text is for the JSON reader to judge; points and lengths are as good as never text."""
    if data.startswith(name):
        return Format.CANONICAL
    try:
        return None if "\0" in data.decode() else Format.SNARKJS
    except UnicodeDecodeError:
        return None


def _gnark(data: bytes) -> Format:
    return Format.GNARK_RAW if data[0] & FLAGS == RAW else Format.GNARK_COMPRESSED


def _has_length(data: bytes, offset: int, size: int, order: Literal["little", "big"]) -> bool:
    raw = data[offset : offset + size]
    return len(raw) == size and int.from_bytes(raw, order) <= _MAX_LENGTH
