"""The small leaves: one signature, a signature behind a relative lock, an envelope, a council.

The same script serves every signer: a committee's aggregated key, a depositor, an operator.
Sources: BIP342 (CHECKSIG and CHECKSIGADD in tapscript), BIP68 and BIP112 (relative locks).
"""

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
    OP_NIP,
    OP_NOT,
    OP_NUMEQUALVERIFY,
    OP_WITHIN,
    ScriptError,
    instructions,
    num,
    push,
)

KEY_SIZE: Final = 32
MAX_RELATIVE_LOCK: Final = 65_535
"""blocks: the 16 bits that BIP68 gives a lock counted in blocks."""
MAX_OPERAND: Final = (1 << 31) - 1
"""The largest number that arithmetic takes."""
MAX_COUNCIL: Final = 20
"""Keys of a council; each adds 34 bytes of script and a witness item of up to 65 to every spend."""

_ONE_BYTE_PUSHES: Final = {push(bytes([byte]))[0]: bytes([byte]) for byte in (*range(1, 17), 0x81)}
"""Opcode → the byte that it pushes, for the bytes that have an opcode of their own."""


def signed(key: bytes) -> bytes:
    """`<key> CHECKSIG` (34 bytes): the committee's covenant, or one owner. Witness: a signature.

    Raises ScriptError unless the key has 32 bytes.
    """
    return _key(key) + OP_CHECKSIG


def signed_after(key: bytes, blocks: int) -> bytes:
    """`<key> CHECKSIGVERIFY <blocks> CSV` (36 bytes, 37 from 17 blocks, 38 from 128, 39 from 32,768).

    CSV leaves its operand, which is true (BIP112). Witness: a signature; the input's nSequence: `csv_sequence(blocks)`.
    Raises ScriptError for a key that has not 32 bytes or a lock that is not 1 to 65,535 blocks.
    """
    return _key(key) + OP_CHECKSIGVERIFY + _relative_lock(blocks)


def csv_sequence(blocks: int) -> int:
    """The nSequence that satisfies a relative lock in blocks: no disable flag, no type flag (BIP68).

    Raises ScriptError unless it is 1 to 65,535 blocks.
    """
    if not 1 <= blocks <= MAX_RELATIVE_LOCK:
        raise ScriptError(f"relative lock of {blocks} blocks, expected 1 to {MAX_RELATIVE_LOCK:,}")
    return blocks


def outside(first: int, end: int, limbs: int) -> bytes:
    """Whether the uppermost of `limbs` numbers is not in [`first`, `end`); leaves that alone. 4 + `limbs` bytes and up.

    Raises ScriptError for no limb, or for a range that is empty or beyond 31 bits.
    """
    if limbs < 1 or not 0 <= first < end <= MAX_OPERAND:
        raise ScriptError(f"outside: [{first}, {end}) of {limbs} limbs, expected a range within 31 bits")
    return num(first) + num(end) + OP_WITHIN + OP_NOT + OP_NIP * (limbs - 1)


def envelope(data: bytes) -> bytes:
    """`FALSE IF <data> ENDIF`: bytes that a script carries and never runs, in pushes of at most 520.

    4 bytes more than the data up to 75 bytes, 5 up to 255, 6 up to 520, and 3 for each full push before the last; one
    less where the last push is a single byte that has an opcode of its own. It stands before the rest of a leaf:
    `envelope(receiver) + signed(committee)`. Raises ScriptError for no data.
    """
    if not data:
        raise ScriptError("envelope: no data, expected at least one byte")
    pieces = [data[start : start + MAX_ELEMENT_SIZE] for start in range(0, len(data), MAX_ELEMENT_SIZE)]
    return b"".join((OP_FALSE, OP_IF, *map(push, pieces), OP_ENDIF))


def read_envelope(script: bytes) -> bytes:
    """The data of the envelope that a script begins with; inverse of `envelope`.

    Raises ScriptError where there is none, or one that `envelope` would not have written.
    """
    if not script.startswith(OP_FALSE + OP_IF):
        raise ScriptError("read_envelope: the script does not begin with FALSE IF")
    pieces = []
    for item in instructions(script[2:]):
        if item.opcode == OP_ENDIF[0]:
            break
        pieces.append(_ONE_BYTE_PUSHES.get(item.opcode, b"") if item.data is None else item.data)
    data = b"".join(pieces)
    if not script.startswith(envelope(data)):
        raise ScriptError("read_envelope: expected nothing but data in full minimal pushes between IF and ENDIF")
    return data


def council(keys: Sequence[bytes], threshold: int, blocks: int) -> bytes:
    """`<k1> CHECKSIG <k2> CHECKSIGADD … <threshold> NUMEQUALVERIFY <blocks> CSV`: k of m after a relative lock.

    34 bytes a key, 2 to 3 for the threshold and 2 to 5 for the lock. Witness: `council_witness`; the input's
    nSequence: `csv_sequence(blocks)`. Keys stay in the order given. Raises ScriptError for a key that has not 32
    bytes, keys that are not 1 to 20 and distinct, a threshold above their number, or a lock that is not 1 to 65,535.
    """
    _check_council(keys, threshold)
    first, *others = map(_key, keys)
    adds = [key + OP_CHECKSIGADD for key in others]
    return b"".join((first, OP_CHECKSIG, *adds, num(threshold), OP_NUMEQUALVERIFY, _relative_lock(blocks)))


def council_witness(keys: Sequence[bytes], signatures: Mapping[bytes, bytes], threshold: int) -> list[bytes]:
    """Witness items for `council`, first is deepest: the last key's signature or an empty item, … , the first key's.

    Exactly `threshold` signatures are used, those of the first keys that have one, for the script wants that very
    number. Raises ScriptError where there are fewer, for one under a key that is not in the council, and as `council`.
    """
    _check_council(keys, threshold)
    if strangers := signatures.keys() - set(keys):
        raise ScriptError(f"council_witness: a signature under {min(strangers).hex()}, which is not in the council")
    signers = [key for key in keys if signatures.get(key)][:threshold]
    if len(signers) < threshold:
        raise ScriptError(f"council_witness: {len(signers)} signatures, expected {threshold}")
    return [signatures[key] if key in signers else b"" for key in reversed(keys)]


def _check_council(keys: Sequence[bytes], threshold: int) -> None:
    distinct = len(set(keys))
    if distinct != len(keys) or not 1 <= distinct <= MAX_COUNCIL:
        raise ScriptError(f"council: {len(keys)} keys, {distinct} distinct, expected 1 to {MAX_COUNCIL} distinct ones")
    if not 1 <= threshold <= len(keys):
        raise ScriptError(f"council: threshold {threshold}, expected 1 to {len(keys)}")


def _key(key: bytes) -> bytes:
    if len(key) != KEY_SIZE:
        raise ScriptError(f"key of {len(key)} bytes, expected {KEY_SIZE}")
    return push(key)


def _relative_lock(blocks: int) -> bytes:
    return num(csv_sequence(blocks)) + OP_CHECKSEQUENCEVERIFY
