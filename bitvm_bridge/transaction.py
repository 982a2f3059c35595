"""Transactions as frozen values: serialise, parse, txid, weight (BIP141, BIP144)."""

import hashlib
from dataclasses import dataclass, replace
from typing import Final, Self

from bitvm_bridge.errors import BadInput
from scripts_tapleaf.script import compact_size

SEQUENCE_FINAL: Final = 0xFFFFFFFF
SEQUENCE_RBF: Final = 0xFFFFFFFD
"""Signals replaceability (BIP125) and disables neither lock time nor, with bit 31 set, any relative lock."""
WITNESS_SCALE: Final = 4
MAX_MONEY: Final = 21_000_000 * 100_000_000
MAX_STANDARD_WEIGHT: Final = 400_000
"""WU: the heaviest transaction that is relayed (MAX_STANDARD_TX_WEIGHT)."""
MAX_MINEABLE_WEIGHT: Final = 3_900_000
"""WU: the heaviest transaction of this project; a block has 4,000,000, and its template keeps room for others."""


def hash256(data: bytes) -> bytes:
    """Double SHA256."""
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


@dataclass(frozen=True, slots=True, order=True)
class OutPoint:
    """An output of a transaction: `txid` in internal byte order (32 bytes) and output index."""

    txid: bytes
    vout: int

    def serialize(self) -> bytes:
        """36 bytes."""
        return self.txid + self.vout.to_bytes(4, "little")

    def __str__(self) -> str:
        return f"{self.txid[::-1].hex()}:{self.vout}"

    @classmethod
    def parse(cls, text: str, field: str = "outpoint") -> Self:
        """From `txid:vout` as explorers show it. Raises BadInput."""
        txid, _, vout = text.partition(":")
        try:
            raw = bytes.fromhex(txid)[::-1]
        except ValueError:
            raw = b""
        if len(raw) != 32 or not vout.isascii() or not vout.isdigit() or int(vout) > 0xFFFFFFFF:
            raise BadInput(field, text, "an outpoint (64 hex digits, a colon, an output index)")
        return cls(raw, int(vout))


@dataclass(frozen=True, slots=True)
class TxIn:
    """One input; `witness` holds the stack items, deepest first."""

    outpoint: OutPoint
    sequence: int = SEQUENCE_FINAL
    script_sig: bytes = b""
    witness: tuple[bytes, ...] = ()

    def serialize(self) -> bytes:
        """The input without its witness."""
        return b"".join(
            (
                self.outpoint.serialize(),
                compact_size(len(self.script_sig)),
                self.script_sig,
                self.sequence.to_bytes(4, "little"),
            )
        )

    def serialize_witness(self) -> bytes:
        """The number of items, then each with its length."""
        items = b"".join(compact_size(len(item)) + item for item in self.witness)
        return compact_size(len(self.witness)) + items


@dataclass(frozen=True, slots=True)
class TxOut:
    """One output: `amount` in sat and its script."""

    amount: int
    script_pubkey: bytes

    def serialize(self) -> bytes:
        """Amount, length, script."""
        return self.amount.to_bytes(8, "little") + compact_size(len(self.script_pubkey)) + self.script_pubkey


@dataclass(frozen=True, slots=True)
class Transaction:
    """A transaction, signed or not."""

    version: int
    inputs: tuple[TxIn, ...]
    outputs: tuple[TxOut, ...]
    lock_time: int = 0

    @property
    def has_witness(self) -> bool:
        """Does any input carry a witness?"""
        return any(txin.witness for txin in self.inputs)

    def serialize_base(self) -> bytes:
        """Without marker, flag and witnesses: what the txid commits to."""
        return self._serialize(witness=False)

    def serialize(self) -> bytes:
        """As it travels: with witnesses where there are any."""
        return self._serialize(witness=self.has_witness)

    def _serialize(self, *, witness: bool) -> bytes:
        parts = [self.version.to_bytes(4, "little"), b"\x00\x01" if witness else b""]
        parts.append(compact_size(len(self.inputs)))
        parts += [txin.serialize() for txin in self.inputs]
        parts.append(compact_size(len(self.outputs)))
        parts += [txout.serialize() for txout in self.outputs]
        if witness:
            parts += [txin.serialize_witness() for txin in self.inputs]
        parts.append(self.lock_time.to_bytes(4, "little"))
        return b"".join(parts)

    @property
    def txid(self) -> bytes:
        """32 bytes, internal byte order."""
        return hash256(self.serialize_base())

    @property
    def txid_hex(self) -> str:
        """The txid as explorers show it."""
        return self.txid[::-1].hex()

    @property
    def wtxid(self) -> bytes:
        """32 bytes, internal byte order; commits to the witnesses."""
        return hash256(self.serialize())

    @property
    def weight(self) -> int:
        """Weight units (BIP141)."""
        return len(self.serialize_base()) * (WITNESS_SCALE - 1) + len(self.serialize())

    @property
    def vsize(self) -> int:
        """Virtual bytes, rounded up."""
        return -(-self.weight // WITNESS_SCALE)

    def outpoint(self, vout: int) -> OutPoint:
        """The outpoint of output `vout`."""
        return OutPoint(self.txid, vout)

    def with_witness(self, index: int, witness: tuple[bytes, ...]) -> "Transaction":
        """The same transaction with the witness of input `index` replaced."""
        inputs = list(self.inputs)
        inputs[index] = replace(inputs[index], witness=witness)
        return replace(self, inputs=tuple(inputs))

    @classmethod
    def parse(cls, raw: bytes, field: str = "transaction") -> Self:
        """From its serialisation. Raises BadInput where bytes are missing, left over or not canonical."""
        try:
            return cls._parse(Reader(raw))
        except Malformed as error:
            raise BadInput(field, raw, f"a transaction ({error})") from None

    @classmethod
    def parse_hex(cls, text: str, field: str = "transaction") -> Self:
        """From hex. Raises BadInput."""
        try:
            raw = bytes.fromhex(text.strip())
        except ValueError:
            raise BadInput(field, text, "a transaction in hex") from None
        return cls.parse(raw, field)

    @classmethod
    def _parse(cls, reader: "Reader") -> Self:
        version = reader.integer(4)
        segwit = reader.peek(2) == b"\x00\x01"
        if segwit:
            reader.take(2)
        inputs = [reader.txin() for _ in range(reader.compact_size())]
        if not inputs:
            raise Malformed("no inputs")
        outputs = tuple(reader.txout() for _ in range(reader.compact_size()))
        if segwit:
            inputs = [
                replace(txin, witness=tuple(reader.var_bytes() for _ in range(reader.compact_size())))
                for txin in inputs
            ]
            if not any(txin.witness for txin in inputs):
                raise Malformed("a witness flag without a witness")
        lock_time = reader.integer(4)
        reader.finish()
        return cls(version, tuple(inputs), outputs, lock_time)


class Malformed(Exception):
    """What is wrong with serialised bytes; turned into BadInput at the edge."""


class Reader:
    """A cursor over serialised bytes that never reads past the end."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._at = 0

    @property
    def left(self) -> int:
        """Bytes that are still to come."""
        return len(self._raw) - self._at

    def peek(self, size: int) -> bytes:
        """The next bytes, fewer at the end, without moving on."""
        return self._raw[self._at : self._at + size]

    def take(self, size: int) -> bytes:
        """The next bytes. Raises Malformed where there are fewer."""
        if size > self.left:
            raise Malformed(f"truncated: {size} bytes wanted at offset {self._at} of {len(self._raw)}")
        self._at += size
        return self._raw[self._at - size : self._at]

    def integer(self, size: int) -> int:
        """A little-endian number of so many bytes."""
        return int.from_bytes(self.take(size), "little")

    def compact_size(self) -> int:
        """A length or a count. Raises Malformed where it is not the shortest encoding, or above the bytes there are."""
        first = self.integer(1)
        if first < 0xFD:
            return first
        value = self.integer({0xFD: 2, 0xFE: 4, 0xFF: 8}[first])
        if len(compact_size(value)) != 1 + {0xFD: 2, 0xFE: 4, 0xFF: 8}[first]:
            raise Malformed(f"non-canonical length at offset {self._at}")
        if value > len(self._raw):
            raise Malformed(f"a length of {value} in {len(self._raw)} bytes")
        return value

    def var_bytes(self) -> bytes:
        """Bytes with their length before them."""
        return self.take(self.compact_size())

    def txin(self) -> TxIn:
        """An input without its witness."""
        outpoint = OutPoint(self.take(32), self.integer(4))
        script_sig = self.var_bytes()
        return TxIn(outpoint, self.integer(4), script_sig)

    def txout(self) -> TxOut:
        """An output."""
        return TxOut(self.integer(8), self.var_bytes())

    def finish(self) -> None:
        """Raises Malformed where bytes are left."""
        if self.left:
            raise Malformed(f"{self.left} bytes left over")
