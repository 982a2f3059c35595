"""Script bytes: opcodes, minimal pushes, script numbers and compact sizes.

A script is `bytes` and nothing else. Opcodes are one-byte constants, so a leaf is written as one join:

    script = b"".join([push(key), OP_CHECKSIGVERIFY, num(6), OP_CHECKSEQUENCEVERIFY])

Sources: BIP342 (tapscript), BIP62 rules 3 and 4 (minimal pushes and numbers), Bitcoin Core `script.h`.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple

MAX_ELEMENT_SIZE: Final = 520
"""Largest stack element, bytes (consensus)."""
MAX_STANDARD_WITNESS_ITEM: Final = 80
"""Largest initial stack item of a tapscript spend, bytes (relay policy)."""
MAX_STACK_ITEMS: Final = 1_000
"""Most items on stack and altstack together, at every moment (consensus)."""


class ScriptError(ValueError):
    """A value that cannot be expressed in Script, or a script that cannot be read."""


def _op(code: int) -> bytes:
    return bytes([code])


OP_0 = OP_FALSE = _op(0x00)
OP_PUSHDATA1, OP_PUSHDATA2, OP_PUSHDATA4 = _op(0x4C), _op(0x4D), _op(0x4E)
OP_1NEGATE = _op(0x4F)
OP_1 = OP_TRUE = _op(0x51)
OP_2, OP_3, OP_4, OP_5, OP_6, OP_7, OP_8 = (_op(0x50 + n) for n in range(2, 9))
OP_9, OP_10, OP_11, OP_12, OP_13, OP_14, OP_15, OP_16 = (_op(0x50 + n) for n in range(9, 17))
OP_NOP = _op(0x61)
OP_IF, OP_NOTIF, OP_VERIF, OP_VERNOTIF, OP_ELSE, OP_ENDIF = map(_op, range(0x63, 0x69))
OP_VERIFY, OP_RETURN = _op(0x69), _op(0x6A)
OP_TOALTSTACK, OP_FROMALTSTACK = _op(0x6B), _op(0x6C)
OP_2DROP, OP_2DUP, OP_3DUP, OP_2OVER, OP_2ROT, OP_2SWAP = map(_op, range(0x6D, 0x73))
OP_IFDUP, OP_DEPTH, OP_DROP, OP_DUP, OP_NIP, OP_OVER = map(_op, range(0x73, 0x79))
OP_PICK, OP_ROLL, OP_ROT, OP_SWAP, OP_TUCK = map(_op, range(0x79, 0x7E))
OP_SIZE, OP_EQUAL, OP_EQUALVERIFY = _op(0x82), _op(0x87), _op(0x88)
OP_1ADD, OP_1SUB, OP_NEGATE, OP_ABS, OP_NOT, OP_0NOTEQUAL = map(_op, (0x8B, 0x8C, 0x8F, 0x90, 0x91, 0x92))
OP_ADD, OP_SUB = _op(0x93), _op(0x94)
OP_BOOLAND, OP_BOOLOR, OP_NUMEQUAL, OP_NUMEQUALVERIFY, OP_NUMNOTEQUAL = map(_op, range(0x9A, 0x9F))
OP_LESSTHAN, OP_GREATERTHAN, OP_LESSTHANOREQUAL, OP_GREATERTHANOREQUAL = map(_op, range(0x9F, 0xA3))
OP_MIN, OP_MAX, OP_WITHIN = map(_op, range(0xA3, 0xA6))
OP_RIPEMD160, OP_SHA1, OP_SHA256, OP_HASH160, OP_HASH256 = map(_op, range(0xA6, 0xAB))
OP_CODESEPARATOR, OP_CHECKSIG, OP_CHECKSIGVERIFY = map(_op, range(0xAB, 0xAE))
OP_CHECKMULTISIG, OP_CHECKMULTISIGVERIFY = _op(0xAE), _op(0xAF)
OP_NOP1, OP_CHECKLOCKTIMEVERIFY, OP_CHECKSEQUENCEVERIFY = map(_op, range(0xB0, 0xB3))
OP_NOP4, OP_NOP5, OP_NOP6, OP_NOP7, OP_NOP8, OP_NOP9, OP_NOP10 = map(_op, range(0xB3, 0xBA))
OP_CHECKSIGADD = _op(0xBA)
OP_INVALIDOPCODE = _op(0xFF)

OPCODE_NAMES: Final[dict[int, str]] = {
    value[0]: name for name, value in list(globals().items()) if name.startswith("OP_") and isinstance(value, bytes)
} | {0x00: "OP_0", 0x51: "OP_1"}

OP_SUCCESS: Final = frozenset(
    [0x50, 0x62, 0x89, 0x8A, *range(0x7E, 0x82), *range(0x83, 0x87), 0x8D, 0x8E, *range(0x95, 0x9A), *range(0xBB, 0xFF)]
)
"""Opcodes that make a tapscript succeed unconditionally wherever they are parsed (BIP342)."""


def opcode_name(opcode: int) -> str:
    """The name of an opcode, 0 to 255: `OP_DUP`, `OP_PUSHBYTES_32`, `OP_SUCCESS80`."""
    if 0 < opcode < OP_PUSHDATA1[0]:
        return f"OP_PUSHBYTES_{opcode}"
    return OPCODE_NAMES.get(opcode, f"OP_SUCCESS{opcode}")


def encode_num(value: int) -> bytes:
    """Script number: little-endian magnitude with a sign bit, minimal; 0 is the empty element."""
    if value == 0:
        return b""
    magnitude = abs(value)
    body = bytearray(magnitude.to_bytes((magnitude.bit_length() + 7) // 8, "little"))
    if body[-1] & 0x80:
        body.append(0)
    if value < 0:
        body[-1] |= 0x80
    return bytes(body)


def decode_num(element: bytes, max_size: int = 4, minimal: bool = True) -> int:
    """Inverse of `encode_num`. Raises ScriptError for more than `max_size` bytes.

    Raises it for a non-minimal encoding too unless `minimal` is false: consensus takes any, relay policy only the
    shortest.
    """
    if len(element) > max_size:
        raise ScriptError(f"decode_num: {len(element)} bytes, expected at most {max_size}")
    if not element:
        return 0
    if minimal and element[-1] & 0x7F == 0 and (len(element) == 1 or not element[-2] & 0x80):
        raise ScriptError(f"decode_num: {element.hex()} is not minimal")
    magnitude = int.from_bytes(element[:-1] + bytes([element[-1] & 0x7F]), "little")
    return -magnitude if element[-1] & 0x80 else magnitude


def push(data: bytes) -> bytes:
    """The shortest opcode sequence that leaves `data` on the stack (MINIMALDATA).

    Raises ScriptError above 520 bytes, which no stack element may have.
    """
    size = len(data)
    if size == 0:
        return OP_0
    if size == 1 and 1 <= data[0] <= 16:
        return _op(0x50 + data[0])
    if data == b"\x81":
        return OP_1NEGATE
    if size < 0x4C:
        return _op(size) + data
    if size <= 0xFF:
        return OP_PUSHDATA1 + _op(size) + data
    if size <= MAX_ELEMENT_SIZE:
        return OP_PUSHDATA2 + size.to_bytes(2, "little") + data
    raise ScriptError(f"push: {size} bytes, expected at most {MAX_ELEMENT_SIZE}")


_NUMS: Final = [push(encode_num(n)) for n in range(1024)]


def num(value: int) -> bytes:
    """The shortest push of a script number."""
    return _NUMS[value] if 0 <= value < 1024 else push(encode_num(value))


PICKS: Final = [OP_DUP, OP_OVER] + [num(depth) + OP_PICK for depth in range(2, MAX_STACK_ITEMS)]
"""The shortest code that copies the item at a depth to the top, 0 for the top itself."""
ROLLS: Final = [b"", OP_SWAP, OP_ROT] + [num(depth) + OP_ROLL for depth in range(3, MAX_STACK_ITEMS)]
"""The shortest code that moves the item at a depth to the top."""
DOUBLE: Final = OP_DUP + OP_ADD
"""(x) → (2x)"""


def compact_size(value: int) -> bytes:
    """Bitcoin's variable-length integer, 0 to 2^64 - 1."""
    if value < 0 or value >= 1 << 64:
        raise ScriptError(f"compact_size: {value}, expected 0 to 2^64 - 1")
    if value < 0xFD:
        return _op(value)
    for prefix, size in ((0xFD, 2), (0xFE, 4)):
        if value < 1 << 8 * size:
            return _op(prefix) + value.to_bytes(size, "little")
    return b"\xff" + value.to_bytes(8, "little")


class Instruction(NamedTuple):
    """One parsed opcode: its byte offset, its code and, for a push, the data (else None)."""

    offset: int
    opcode: int
    data: bytes | None


def instructions(script: bytes) -> Iterator[Instruction]:
    """Parse a script lazily. Raises ScriptError where a push runs past the end."""
    at, end = 0, len(script)
    while at < end:
        start, opcode = at, script[at]
        at += 1
        if opcode > OP_PUSHDATA4[0]:
            yield Instruction(start, opcode, None)
            continue
        size = opcode
        if opcode >= OP_PUSHDATA1[0]:
            width = 1 << (opcode - OP_PUSHDATA1[0])
            if at + width > end:
                raise ScriptError(f"instructions: truncated push length at byte {start}")
            size = int.from_bytes(script[at : at + width], "little")
            at += width
        if at + size > end:
            raise ScriptError(f"instructions: push of {size} bytes at byte {start} runs past the end")
        yield Instruction(start, opcode, script[at : at + size])
        at += size


def disassemble(script: bytes) -> str:
    """Opcode names and push data in hex, space-separated, for people."""
    words = []
    for instruction in instructions(script):
        if instruction.data:
            words.append(instruction.data.hex())
        else:
            words.append(opcode_name(instruction.opcode))
    return " ".join(words)
