"""Codecs of the dlcspecs messages: each field is declared once, and read and written in binary and in JSON.

Binary is big-endian, with BOLT 1's BigSize for lengths, counts and kinds (dlcspecs Messaging.md). JSON is what the
implementations print. `read` raises Malformed for bytes that are not the one encoding of a value, and `parse`, which
takes decoded JSON and the field's path, BadInput; either may raise BadInput for a value that cannot be.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from operator import attrgetter
from typing import Any, Final, Generic, TypeVar

from bitvm_bridge.dlc.oracle import bigsize, check_text
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.secp import ecdsa_der, ecdsa_from_der
from bitvm_bridge.transaction import Malformed, Reader

T = TypeVar("T")
S = TypeVar("S")


class WireReader(Reader):
    """A cursor over a message: big-endian numbers."""

    def number(self, size: int) -> int:
        """An unsigned number of so many bytes."""
        return int.from_bytes(self.take(size), "big")

    def bigsize(self) -> int:
        """Raises Malformed where it is not the shortest encoding."""
        first = self.number(1)
        if first < 0xFD:
            return first
        value = self.number({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])
        if len(bigsize(value)) != 1 + {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]:
            raise Malformed(f"a BigSize of {value} that is not the shortest")
        return value


class Codec(ABC, Generic[T]):
    """How one kind of value looks in binary and in JSON."""

    @abstractmethod
    def read(self, reader: WireReader) -> T:
        """From bytes. Raises Malformed, or BadInput."""

    @abstractmethod
    def write(self, value: T) -> bytes:
        """To bytes."""

    @abstractmethod
    def parse(self, document: object, path: str) -> T:
        """From decoded JSON; `path` names the field. Raises BadInput."""

    @abstractmethod
    def show(self, value: T) -> object:
        """To what JSON can encode."""


@dataclass(frozen=True)
class Number(Codec[int]):
    """A number of so many bytes."""

    size: int
    signed: bool = False

    def read(self, reader: WireReader) -> int:
        return int.from_bytes(reader.take(self.size), "big", signed=self.signed)

    def write(self, value: int) -> bytes:
        return value.to_bytes(self.size, "big", signed=self.signed)

    def parse(self, document: object, path: str) -> int:
        bits = 8 * self.size
        low, high = (-(1 << bits - 1), 1 << bits - 1) if self.signed else (0, 1 << bits)
        if not isinstance(document, int) or isinstance(document, bool) or not low <= document < high:
            raise BadInput(path, document, f"a whole number from {low} to {high - 1}")
        return document

    def show(self, value: int) -> object:
        return value


class BigSize(Codec[int]):
    """A number of up to 64 bits in as few bytes as it takes."""

    def read(self, reader: WireReader) -> int:
        return reader.bigsize()

    def write(self, value: int) -> bytes:
        return bigsize(value)

    def parse(self, document: object, path: str) -> int:
        return U64.parse(document, path)

    def show(self, value: int) -> object:
        return value


class Flag(Codec[bool]):
    """One byte, 0 or 1."""

    def read(self, reader: WireReader) -> bool:
        value = reader.number(1)
        if value > 1:
            raise Malformed(f"a flag of {value}")
        return bool(value)

    def write(self, value: bool) -> bytes:
        return bytes([value])

    def parse(self, document: object, path: str) -> bool:
        if not isinstance(document, bool):
            raise BadInput(path, document, "true or false")
        return document

    def show(self, value: bool) -> object:
        return value


@dataclass(frozen=True)
class Fixed(Codec[bytes]):
    """So many bytes; `check`, where there is one, raises BadInput for those that cannot be."""

    size: int
    check: Callable[[bytes], object] = field(default=bytes)

    def read(self, reader: WireReader) -> bytes:
        raw = reader.take(self.size)
        self.check(raw)
        return raw

    def write(self, value: bytes) -> bytes:
        return value

    def parse(self, document: object, path: str) -> bytes:
        raw = from_hex(path, _string(document, path), self.size)
        self.check(raw)
        return raw

    def show(self, value: bytes) -> object:
        return value.hex()


@dataclass(frozen=True)
class Variable(Codec[bytes]):
    """Bytes after their length."""

    length: Codec[int]

    def read(self, reader: WireReader) -> bytes:
        return reader.take(self.length.read(reader))

    def write(self, value: bytes) -> bytes:
        return self.length.write(len(value)) + value

    def parse(self, document: object, path: str) -> bytes:
        raw = from_hex(path, _string(document, path))
        self.length.parse(len(raw), f"length of {path}")
        return raw

    def show(self, value: bytes) -> object:
        return value.hex()


class Text(Codec[str]):
    """UTF-8 in Unicode's form NFC after its length."""

    def read(self, reader: WireReader) -> str:
        raw = reader.take(reader.bigsize())
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            raise Malformed(f"text that is not UTF-8: {raw[:32].hex()}") from None
        check_text("text", value, empty=True)
        return value

    def write(self, value: str) -> bytes:
        raw = value.encode()
        return bigsize(len(raw)) + raw

    def parse(self, document: object, path: str) -> str:
        check_text(path, _string(document, path), empty=True)
        return _string(document, path)

    def show(self, value: str) -> object:
        return value


class Decimal(Codec[Fraction]):
    """Sign, whole part and 16 bits of a fraction. JSON has the nearest number, and what is finer is cut off."""

    def read(self, reader: WireReader) -> Fraction:
        positive, whole, fraction = FLAG.read(reader), U64.read(reader), U16.read(reader)
        value = whole + Fraction(fraction, 1 << 16)
        if not positive and not value:
            raise Malformed("a negative zero")
        return value if positive else -value

    def write(self, value: Fraction) -> bytes:
        whole, fraction = divmod(int(abs(value) * (1 << 16)), 1 << 16)
        return FLAG.write(value >= 0) + U64.write(whole) + U16.write(fraction)

    def parse(self, document: object, path: str) -> Fraction:
        if not isinstance(document, int | float) or isinstance(document, bool) or not abs(document) < 1 << 64:
            raise BadInput(path, document, "a number below 2^64")
        magnitude = Fraction(int(abs(Fraction(document)) * (1 << 16)), 1 << 16)
        return magnitude if document >= 0 else -magnitude

    def show(self, value: Fraction) -> object:
        return int(value) if value.denominator == 1 else float(value)


class Signature(Codec[bytes]):
    """An ECDSA signature: `r ‖ s` in binary, strict DER in JSON."""

    def read(self, reader: WireReader) -> bytes:
        raw = reader.take(64)
        ecdsa_der(raw)
        return raw

    def write(self, value: bytes) -> bytes:
        return value

    def parse(self, document: object, path: str) -> bytes:
        return ecdsa_from_der(from_hex(path, _string(document, path)))

    def show(self, value: bytes) -> object:
        return ecdsa_der(value).hex()


@dataclass(frozen=True)
class Vector(Codec[tuple[T, ...]]):
    """Their number, then one after the other."""

    item: Codec[T]
    count: Codec[int] = field(default_factory=BigSize)

    def read(self, reader: WireReader) -> tuple[T, ...]:
        count = self.count.read(reader)
        if count > reader.left:
            raise Malformed(f"{count} items in {reader.left} bytes")
        return tuple(self.item.read(reader) for _ in range(count))

    def write(self, value: tuple[T, ...]) -> bytes:
        return self.count.write(len(value)) + b"".join(map(self.item.write, value))

    def parse(self, document: object, path: str) -> tuple[T, ...]:
        if not isinstance(document, list):
            raise BadInput(path, document, "a list")
        self.count.parse(len(document), f"length of {path}")
        return tuple(self.item.parse(each, f"{path}[{index}]") for index, each in enumerate(document))

    def show(self, value: tuple[T, ...]) -> object:
        return [self.item.show(each) for each in value]


@dataclass(frozen=True)
class Optional(Codec[T | None]):
    """Whether it is there, and then the value; JSON has null."""

    item: Codec[T]

    def read(self, reader: WireReader) -> T | None:
        return self.item.read(reader) if FLAG.read(reader) else None

    def write(self, value: T | None) -> bytes:
        return FLAG.write(False) if value is None else FLAG.write(True) + self.item.write(value)

    def parse(self, document: object, path: str) -> T | None:
        return None if document is None else self.item.parse(document, path)

    def show(self, value: T | None) -> object:
        return None if value is None else self.item.show(value)


@dataclass(frozen=True)
class Variant(Generic[T]):
    """One kind of a union: its number, its name in JSON, the class of its values and how they look."""

    kind: int
    name: str
    values: type[T]
    codec: Codec[T]


@dataclass(frozen=True)
class Union(Codec[Any]):
    """A kind, then the value; as a `record` its length comes between. JSON has an object of one field, the name."""

    variants: tuple[Variant[Any], ...]
    record: bool = False

    def read(self, reader: WireReader) -> Any:
        kind = reader.bigsize()
        for variant in self.variants:
            if variant.kind == kind:
                return _sealed(reader, variant.codec) if self.record else variant.codec.read(reader)
        raise Malformed(f"kind {kind} where one of {', '.join(str(each.kind) for each in self.variants)} is known")

    def write(self, value: Any) -> bytes:
        variant = self._of(value)
        raw = variant.codec.write(value)
        return bigsize(variant.kind) + (bigsize(len(raw)) + raw if self.record else raw)

    def parse(self, document: object, path: str) -> Any:
        for variant in self.variants if isinstance(document, dict) and len(document) == 1 else ():
            if variant.name in _object(document, path):
                return variant.codec.parse(_object(document, path)[variant.name], f"{path}.{variant.name}")
        raise BadInput(path, document, f"an object with {' or '.join(each.name for each in self.variants)}")

    def show(self, value: Any) -> object:
        variant = self._of(value)
        return {variant.name: variant.codec.show(value)}

    def _of(self, value: Any) -> Variant[Any]:
        return next(variant for variant in self.variants if isinstance(value, variant.values))


@dataclass(frozen=True)
class Record(Codec[T]):
    """Fields one after the other: (name in JSON, attribute, codec). An attribute `part.name` belongs to a part."""

    make: type[T]
    fields: tuple[tuple[str, str, Codec[Any]], ...]
    parts: Mapping[str, Callable[..., Any]] = field(default_factory=dict)

    def read(self, reader: WireReader) -> T:
        return self._build({name: codec.read(reader) for _, name, codec in self.fields})

    def write(self, value: T) -> bytes:
        return b"".join(codec.write(attrgetter(name)(value)) for _, name, codec in self.fields)

    def parse(self, document: object, path: str) -> T:
        found = _object(document, path)
        unknown = found.keys() - {shown for shown, _, _ in self.fields}
        if unknown:
            raise BadInput(path, ", ".join(sorted(unknown)), "fields that are known here")
        return self._build({name: self._field(found, shown, codec, path) for shown, name, codec in self.fields})

    def show(self, value: T) -> object:
        return {shown: codec.show(attrgetter(name)(value)) for shown, name, codec in self.fields}

    @staticmethod
    def _field(found: dict[str, object], shown: str, codec: Codec[Any], path: str) -> Any:
        if shown not in found and not isinstance(codec, Optional):
            raise BadInput(path, f"without {shown}", "complete")
        return codec.parse(found.get(shown), f"{path}.{shown}")

    def _build(self, values: dict[str, Any]) -> T:
        own = {name: value for name, value in values.items() if "." not in name}
        for part, make in self.parts.items():
            prefix = part + "."
            own[part] = make(
                **{name.removeprefix(prefix): value for name, value in values.items() if name.startswith(prefix)}
            )
        return self.make(**own)


@dataclass(frozen=True)
class Sealed(Codec[T]):
    """Kind, length, value: a TLV record of one known kind (BOLT 1)."""

    kind: int
    codec: Codec[T]

    def read(self, reader: WireReader) -> T:
        kind = reader.bigsize()
        if kind != self.kind:
            raise Malformed(f"a record of kind {kind} where {self.kind} belongs")
        return _sealed(reader, self.codec)

    def write(self, value: T) -> bytes:
        raw = self.codec.write(value)
        return bigsize(self.kind) + bigsize(len(raw)) + raw

    def parse(self, document: object, path: str) -> T:
        return self.codec.parse(document, path)

    def show(self, value: T) -> object:
        return self.codec.show(value)


@dataclass(frozen=True)
class Wrapped(Codec[T]):
    """A value that JSON puts into an object of its own; binary does not."""

    name: str
    codec: Codec[T]

    def read(self, reader: WireReader) -> T:
        return self.codec.read(reader)

    def write(self, value: T) -> bytes:
        return self.codec.write(value)

    def parse(self, document: object, path: str) -> T:
        found = _object(document, path)
        if found.keys() != {self.name}:
            raise BadInput(path, ", ".join(sorted(found)), f"an object with {self.name}")
        return self.codec.parse(found[self.name], f"{path}.{self.name}")

    def show(self, value: T) -> object:
        return {self.name: self.codec.show(value)}


@dataclass(frozen=True)
class Mapped(Codec[T], Generic[S, T]):
    """A value that the wire has in another shape."""

    codec: Codec[S]
    make: Callable[[S], T]
    take: Callable[[T], S]

    def read(self, reader: WireReader) -> T:
        return self.make(self.codec.read(reader))

    def write(self, value: T) -> bytes:
        return self.codec.write(self.take(value))

    def parse(self, document: object, path: str) -> T:
        return self.make(self.codec.parse(document, path))

    def show(self, value: T) -> object:
        return self.codec.show(self.take(value))


U8: Final = Number(1)
U16: Final = Number(2)
U32: Final = Number(4)
U64: Final = Number(8)
I32: Final = Number(4, signed=True)
BIGSIZE: Final = BigSize()
FLAG: Final = Flag()
TEXT: Final = Text()
DECIMAL: Final = Decimal()
SIGNATURE: Final = Signature()
SCRIPT: Final = Variable(U16)
BYTES: Final = Variable(BIGSIZE)


def read_extensions(reader: WireReader) -> bytes:
    """A TLV stream to the end of the message, of which nothing is known here: odd kinds may be ignored, even ones not.

    Raises Malformed where kinds do not ascend, or one is even (BOLT 1).
    """
    records, last = [], -1
    while reader.left:
        kind = reader.bigsize()
        if kind <= last:
            raise Malformed(f"a record of kind {kind} after one of kind {last}")
        if kind % 2 == 0:
            raise Malformed(f"a record of the unknown even kind {kind}")
        last = kind
        body = BYTES.read(reader)
        records.append(bigsize(kind) + BYTES.write(body))
    return b"".join(records)


def _sealed(reader: WireReader, codec: Codec[T]) -> T:
    inner = WireReader(BYTES.read(reader))
    value = codec.read(inner)
    inner.finish()
    return value


def _string(document: object, path: str) -> str:
    if not isinstance(document, str):
        raise BadInput(path, document, "a string")
    return document


def _object(document: object, path: str) -> dict[str, object]:
    if not isinstance(document, dict):
        raise BadInput(path, document, "an object")
    return document
