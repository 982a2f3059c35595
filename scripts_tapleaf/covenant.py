"""The small leaves: one signature, a signature behind a relative lock, an envelope, a council."""

from collections.abc import Mapping, Sequence
from typing import Final

from scripts_tapleaf.script import (
    MAX_ELEMENT_SIZE,
    OP_CHECKSEQUENCEVERIFY,
    OP_CHECKSIG,
    OP_CHECKSIGADD,
    OP_CHECKSIGVERIFY,
    OP_ENDIF,
    OP_FALSE,
    OP_IF,
    OP_NUMEQUALVERIFY,
    ScriptError,
    instructions,
    num,
    push,
)

KEY_SIZE: Final = 32
MAX_RELATIVE_LOCK: Final = 65_535
"""blocks: the 16 bits that BIP68 gives a lock counted in blocks."""


def signed(key: bytes) -> bytes:
    """`<key> CHECKSIG` (34 bytes): the committee's covenant, or one owner."""
    return _key(key) + OP_CHECKSIG


def signed_after(key: bytes, blocks: int) -> bytes:
    """`<key> CHECKSIGVERIFY <blocks> CSV` (36 to 38 bytes); CSV leaves its operand, which is true (BIP112)."""
    return _key(key) + OP_CHECKSIGVERIFY + _relative_lock(blocks)


def envelope(data: bytes) -> bytes:
    """`FALSE IF <data> ENDIF`: bytes that a script carries and never runs, in pushes of at most 520."""
    if not data:
        raise ScriptError("envelope: no data, expected at least one byte")
    pieces = [data[start : start + MAX_ELEMENT_SIZE] for start in range(0, len(data), MAX_ELEMENT_SIZE)]
    return b"".join((OP_FALSE, OP_IF, *(push(piece) for piece in pieces), OP_ENDIF))


def read_envelope(script: bytes) -> bytes:
    """The data of the envelope that a script begins with. Raises ScriptError where there is none."""
    parsed = instructions(script)
    head = [next(parsed, None), next(parsed, None)]
    if [item.opcode if item else None for item in head] != [OP_FALSE[0], OP_IF[0]]:
        raise ScriptError("read_envelope: the script does not begin with FALSE IF")
    data = b""
    for item in parsed:
        if item.opcode == OP_ENDIF[0]:
            return data
        small = item.opcode - 0x50
        if item.data is None and not 1 <= small <= 16:
            raise ScriptError(f"read_envelope: opcode {item.opcode:#x} at byte {item.offset}, expected a push")
        data += item.data if item.data is not None else bytes([small])
    raise ScriptError("read_envelope: no ENDIF")


def council(keys: Sequence[bytes], threshold: int, blocks: int) -> bytes:
    """`<k1> CHECKSIG <k2> CHECKSIGADD … <threshold> NUMEQUALVERIFY <blocks> CSV`: k of m after a relative lock."""
    if len(set(keys)) != len(keys) or not 1 <= threshold <= len(keys):
        raise ScriptError(f"council: {threshold} of {len(keys)} keys, expected 1 to {len(set(keys))} of distinct keys")
    first, *others = keys
    adds = [_key(key) + OP_CHECKSIGADD for key in others]
    return b"".join((signed(first), *adds, num(threshold), OP_NUMEQUALVERIFY, _relative_lock(blocks)))


def council_witness(keys: Sequence[bytes], signatures: Mapping[bytes, bytes], threshold: int) -> list[bytes]:
    """Witness items, deepest first: a signature or an empty item for each key, the first key's uppermost.

    Of more signatures than `threshold` the surplus is left out: the count must match exactly.
    """
    usable = [key for key in keys if signatures.get(key)][:threshold]
    if len(usable) < threshold:
        raise ScriptError(f"council_witness: {len(usable)} signatures, expected {threshold}")
    return [signatures[key] if key in usable else b"" for key in reversed(keys)]


def _key(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise ScriptError(f"key of {len(key)} bytes, expected {KEY_SIZE}")
    return push(key)


def _relative_lock(blocks: int) -> bytes:
    if not 1 <= blocks <= MAX_RELATIVE_LOCK:
        raise ScriptError(f"relative lock of {blocks} blocks, expected 1 to {MAX_RELATIVE_LOCK:,}")
    return num(blocks) + OP_CHECKSEQUENCEVERIFY
