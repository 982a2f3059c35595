"""Which bit of a message comes from where: limbs on the stack, or constants of the script."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

from scripts_tapleaf.script import ScriptError

BLOCK_BITS: Final = 512
NIBBLE_BITS: Final = 4
MAX_LENGTH: Final = 1_024
"""Bytes of one BLAKE3 chunk."""
MAX_LIMB_BITS: Final = 30


@dataclass(frozen=True)
class Limbs:
    """Bytes of the message given on the stack: consecutive little-endian fields of the widths given, in bits.

    They fill `length` bytes, by default as few as hold them; bits above the last field are zero.
    """

    widths: tuple[int, ...]
    length: int | None = None

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return -(-sum(self.widths) // 8) if self.length is None else self.length


@dataclass(frozen=True)
class Const:
    """Bytes of the message that are known when the script is written."""

    data: bytes

    @property
    def size(self) -> int:
        """Bytes of the message."""
        return len(self.data)


Segment = Limbs | Const


@dataclass(frozen=True)
class Field:
    """A limb: its bits are `start` to `stop` − 1 of the message read as a little-endian integer."""

    start: int
    stop: int

    @property
    def width(self) -> int:
        """Bits."""
        return self.stop - self.start


@dataclass(frozen=True)
class Message:
    """A message of `length` bytes: its limbs in order, and a constant that holds zero wherever there is a limb."""

    length: int
    fields: tuple[Field, ...]
    constant: int

    @classmethod
    def of(cls, segments: Sequence[Segment]) -> Self:
        """Lay segments out one after the other. Raises ScriptError."""
        fields: list[Field] = []
        constant = at = 0
        for segment in segments:
            if segment.size < 0:
                raise ScriptError(f"blake3: a segment of length {segment.size}, expected 0 or more bytes")
            if isinstance(segment, Const):
                constant |= int.from_bytes(segment.data, "little") << at
            else:
                fields += _fields(segment, at)
            at += 8 * segment.size
        if at > 8 * MAX_LENGTH:
            raise ScriptError(f"blake3: a message of {at // 8} bytes, expected at most {MAX_LENGTH}")
        return cls(at // 8, tuple(fields), constant)

    @property
    def blocks(self) -> int:
        """How many blocks of 64 bytes are compressed; the empty message has one."""
        return max(1, -(-8 * self.length // BLOCK_BITS))

    @cached_property
    def covered(self) -> frozenset[int]:
        """The nibbles of which a limb gives a bit."""
        return frozenset(nibble for field in self.fields for nibble in nibbles(field))

    def nibble(self, index: int) -> int:
        """The constant part of a nibble."""
        return self.constant >> NIBBLE_BITS * index & 15


def nibbles(field: Field) -> range:
    """The nibbles of the message that a field touches."""
    return range(field.start // NIBBLE_BITS, -(-field.stop // NIBBLE_BITS))


def _fields(segment: Limbs, at: int) -> Iterator[Field]:
    end = at + 8 * segment.size
    for width in segment.widths:
        if not 1 <= width <= MAX_LIMB_BITS:
            raise ScriptError(f"blake3: a limb of {width} bits, expected 1 to {MAX_LIMB_BITS}")
        if at + width > end:
            raise ScriptError(f"blake3: limbs of {sum(segment.widths)} bits in {segment.size} bytes")
        yield Field(at, at + width)
        at += width
