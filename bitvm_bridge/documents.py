"""JSON documents: one strict decoder, and hex that refuses with the name of its field."""

from typing import TypeVar

import msgspec

from bitvm_bridge.errors import BadInput

T = TypeVar("T")


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A JSON object with exactly the declared fields."""


def decode(raw: bytes | str, kind: type[T], field: str) -> T:
    """`raw` as a document of this kind. Raises BadInput with the path of the first field that is wrong."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        shown = raw if isinstance(raw, str) else raw[:100].decode(errors="replace")
        raise BadInput(field, " ".join(shown.split()), f"a valid document: {error}") from None


def encode(document: object) -> bytes:
    """JSON for people: indented, one newline at the end."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def from_hex(field: str, text: str, size: int | None = None) -> bytes:
    """Bytes of a hex string. Raises BadInput; `size` is in bytes."""
    try:
        raw = bytes.fromhex(text)
    except ValueError:
        raise BadInput(field, text, "hex") from None
    if size is not None and len(raw) != size:
        raise BadInput(field, text, f"{size} bytes in hex")
    return raw
