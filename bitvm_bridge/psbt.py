"""Partially signed transactions: maps of fields, read strictly and written as version 0.

Sources: BIP174 (version 0), BIP370 (version 2), BIP371 (taproot fields).
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, Self

from bitvm_bridge.errors import BadInput
from bitvm_bridge.transaction import SEQUENCE_FINAL, Malformed, OutPoint, Reader, Transaction, TxIn, TxOut
from scripts_tapleaf.script import compact_size

MAGIC: Final = b"psbt\xff"
UNSIGNED_TX: Final = b"\x00"
VERSION: Final = b"\xfb"

WITNESS_UTXO: Final = b"\x01"
SIGHASH_TYPE: Final = b"\x03"
FINAL_WITNESS: Final = b"\x08"
TAP_KEY_SIG: Final = b"\x13"
TAP_SCRIPT_SIG: Final = b"\x14"
"""Followed by the x-only key and the leaf hash."""
TAP_LEAF_SCRIPT: Final = b"\x15"
"""Followed by the control block."""
TAP_DERIVATION: Final = b"\x16"
"""Followed by the x-only key."""
TAP_INTERNAL_KEY: Final = b"\x17"
TAP_MERKLE_ROOT: Final = b"\x18"

OUT_TAP_INTERNAL_KEY: Final = b"\x05"
OUT_TAP_TREE: Final = b"\x06"
OUT_TAP_DERIVATION: Final = b"\x07"

Fields = Mapping[bytes, bytes]
"""Key type and key data → value."""


@dataclass(frozen=True)
class Psbt:
    """An unsigned transaction with what signers need and what they add: fields for each input and each output."""

    tx: Transaction
    inputs: tuple[Fields, ...]
    outputs: tuple[Fields, ...]

    def serialize(self) -> bytes:
        """Version 0, binary."""
        maps = ({UNSIGNED_TX: self.tx.serialize_base()}, *self.inputs, *self.outputs)
        return MAGIC + b"".join(map(_serialize_map, maps))

    def to_base64(self) -> str:
        """As wallets exchange it."""
        return b64encode(self.serialize()).decode()

    @classmethod
    def parse(cls, raw: bytes, field: str = "PSBT") -> Self:
        """From binary or base64, version 0 or 2. Raises BadInput."""
        try:
            return cls._parse(Reader(raw if raw.startswith(MAGIC) else b64decode(raw.strip(), validate=True)))
        except (Malformed, Base64Error) as error:
            shown = raw.decode("ascii", "replace").strip()
            raise BadInput(field, shown, f"a PSBT in base64 or binary ({error})") from None

    @classmethod
    def _parse(cls, reader: Reader) -> Self:
        if reader.peek(len(MAGIC)) != MAGIC:
            raise Malformed("it does not begin with the magic bytes")
        reader.take(len(MAGIC))
        top = _read_map(reader)
        version = _integer(top, VERSION, 4, 0)
        if version not in (0, 2):
            raise Malformed(f"version {version}")
        tx = _unsigned(top) if version == 0 else None
        ins = len(tx.inputs) if tx else _count(top, b"\x04")
        outs = len(tx.outputs) if tx else _count(top, b"\x05")
        inputs = tuple(_read_map(reader) for _ in range(ins))
        outputs = tuple(_read_map(reader) for _ in range(outs))
        reader.finish()
        return cls(tx or _assemble(top, inputs, outputs), inputs, outputs)


def _serialize_map(fields: Fields) -> bytes:
    pairs = (_sized(key) + _sized(fields[key]) for key in sorted(fields))
    return b"".join(pairs) + b"\x00"


def _sized(data: bytes) -> bytes:
    return compact_size(len(data)) + data


def _read_map(reader: Reader) -> Fields:
    fields: dict[bytes, bytes] = {}
    while key := reader.var_bytes():
        if key in fields:
            raise Malformed(f"field {key[:1].hex()} twice")
        fields[key] = reader.var_bytes()
    return fields


def _unsigned(top: Fields) -> Transaction:
    """The transaction of version 0, which must have no signature."""
    if UNSIGNED_TX not in top:
        raise Malformed("no transaction")
    try:
        tx = Transaction.parse(top[UNSIGNED_TX])
    except BadInput as error:
        raise Malformed(error.expected) from None
    if tx.has_witness or any(txin.script_sig for txin in tx.inputs):
        raise Malformed("a transaction that is signed already")
    return tx


def _assemble(top: Fields, inputs: tuple[Fields, ...], outputs: tuple[Fields, ...]) -> Transaction:
    """The transaction of version 2 (BIP370), whose parts stand in the maps."""
    if UNSIGNED_TX in top:
        raise Malformed("version 2 with a transaction of version 0")
    for index, fields in enumerate(inputs):
        if {b"\x11", b"\x12"} & fields.keys():
            raise Malformed(f"input {index} requires a lock time")
    return Transaction(
        _integer(top, b"\x02", 4),
        tuple(
            TxIn(
                OutPoint(_bytes(fields, b"\x0e", 32), _integer(fields, b"\x0f", 4)),
                _integer(fields, b"\x10", 4, SEQUENCE_FINAL),
            )
            for fields in inputs
        ),
        tuple(TxOut(_integer(fields, b"\x03", 8), _bytes(fields, b"\x04")) for fields in outputs),
        _integer(top, b"\x03", 4, 0),
    )


def _bytes(fields: Fields, key: bytes, size: int | None = None) -> bytes:
    value = fields.get(key)
    if value is None or (size is not None and len(value) != size):
        raise Malformed(f"field {key.hex()} is missing or of a wrong size")
    return value


def _integer(fields: Fields, key: bytes, size: int, default: int | None = None) -> int:
    if default is not None and key not in fields:
        return default
    return int.from_bytes(_bytes(fields, key, size), "little")


def _count(top: Fields, key: bytes) -> int:
    reader = Reader(_bytes(top, key))
    first = reader.peek(1)
    if first >= b"\xfd":
        raise Malformed("more than 252 inputs or outputs")
    count = reader.compact_size()
    reader.finish()
    return count


def read_witness(raw: bytes) -> tuple[bytes, ...]:
    """The stack items of a final witness. Raises Malformed."""
    reader = Reader(raw)
    items = tuple(_items(reader))
    reader.finish()
    return items


def _items(reader: Reader) -> Iterator[bytes]:
    return (reader.var_bytes() for _ in range(reader.compact_size()))
