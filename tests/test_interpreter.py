"""The step debugger against Bitcoin Core: every opcode by hand, then random scripts."""

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.taproot import NUMS_KEY, ScriptTree, SigHash, leaf_hash, p2tr, sighash_message, tagged_hash
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf import script as op
from scripts_tapleaf.interpreter import CODE_SEPARATOR_NONE, Context, Result, explain, run, trace
from scripts_tapleaf.script import (
    MAX_STACK_ITEMS,
    OP_SUCCESS,
    encode_num,
    instructions,
    num,
    opcode_name,
    push,
)
from tests.core import spend_leaf

SECRET = bytes.fromhex("11" * 32)
KEY = secp.xonly_public_key(SECRET)
SPENT = 100_000
A, B, C, D, E, F = (bytes([code]) for code in b"abcdef")
ONE, ZERO, NEGATIVE_ZERO = b"\x01", b"", b"\x80"


def n(*values: int) -> tuple[bytes, ...]:
    """Stack elements of numbers."""
    return tuple(encode_num(value) for value in values)


class Signature(NamedTuple):
    """Stands for the test key's signature of the spend that it is used in."""

    sighash: SigHash = SigHash.DEFAULT
    code_separator: int = CODE_SEPARATOR_NONE


@dataclass(frozen=True)
class Case:
    """A fragment run on `before` (first is deepest).

    `outcome` is the stack that it leaves, or a regular expression that the whole error matches, or None where the
    script succeeds with whatever it leaves. `of` is the opcode under test, by default the fragment's last.

    What follows the fragment makes the script succeed if and only if the fragment does what `outcome` says (a refused
    one, if it were not refused); `whole` leaves it out.
    """

    fragment: bytes
    before: tuple[bytes | Signature, ...]
    outcome: tuple[bytes, ...] | str | None
    of: int
    whole: bool
    lock_time: int
    sequence: int
    version: int

    @property
    def script(self) -> bytes:
        if self.whole or self.outcome is None:
            return self.fragment
        return self.fragment + (DRAIN if isinstance(self.outcome, str) else leaves(self.outcome))

    @property
    def accepted(self) -> bool:
        return not isinstance(self.outcome, str)


def case(
    fragment: bytes,
    before: Sequence[bytes | Signature],
    outcome: tuple[bytes, ...] | str | None,
    *,
    of: bytes | None = None,
    whole: bool = False,
    lock_time: int = 0,
    sequence: int = 0xFFFFFFFF,
    version: int = 2,
) -> Case:
    code = of[0] if of else list(instructions(fragment))[-1].opcode
    return Case(fragment, tuple(before), outcome, code, whole, lock_time, sequence, version)


def leaves(stack: Sequence[bytes], altstack: Sequence[bytes] = ()) -> bytes:
    """A script that succeeds only on exactly these stacks."""
    checks = [op.OP_FROMALTSTACK + push(element) + op.OP_EQUALVERIFY for element in reversed(altstack)]
    checks += [push(element) + op.OP_EQUALVERIFY for element in reversed(stack)]
    return b"".join(checks) + op.OP_DEPTH + op.OP_NOT


DRAIN = (op.OP_DEPTH + op.OP_0NOTEQUAL + op.OP_IF + op.OP_DROP + op.OP_ENDIF) * 200 + op.OP_1
"""Succeeds on any stack of up to 200 elements."""
DROP_1000 = op.OP_2DROP * 500


def short(count: int, have: int | None = None) -> str:
    """The error of an opcode that finds too few elements."""
    return f".*: {count - 1 if have is None else have} elements on the stack, expected at least {count}"


ELEMENT_ROWS: list[tuple[bytes, tuple[bytes, ...], tuple[bytes, ...]]] = [
    (op.OP_2DROP, (A, B, C), (A,)),
    (op.OP_2DUP, (A, B), (A, B, A, B)),
    (op.OP_3DUP, (A, B, C), (A, B, C, A, B, C)),
    (op.OP_2OVER, (A, B, C, D), (A, B, C, D, A, B)),
    (op.OP_2ROT, (A, B, C, D, E, F), (C, D, E, F, A, B)),
    (op.OP_2SWAP, (A, B, C, D), (C, D, A, B)),
    (op.OP_IFDUP, (A,), (A, A)),
    (op.OP_IFDUP, (ZERO,), (ZERO,)),
    (op.OP_IFDUP, (NEGATIVE_ZERO,), (NEGATIVE_ZERO,)),
    (op.OP_IFDUP, (b"\x00\x00\x80",), (b"\x00\x00\x80",)),
    (op.OP_IFDUP, (b"\x80\x00",), (b"\x80\x00", b"\x80\x00")),
    (op.OP_DROP, (A, B), (A,)),
    (op.OP_DUP, (A,), (A, A)),
    (op.OP_NIP, (A, B), (B,)),
    (op.OP_OVER, (A, B), (A, B, A)),
    (op.OP_ROT, (A, B, C), (B, C, A)),
    (op.OP_SWAP, (A, B), (B, A)),
    (op.OP_TUCK, (A, B), (B, A, B)),
    (op.OP_PICK, (A, B, C, *n(0)), (A, B, C, C)),
    (op.OP_PICK, (A, B, C, *n(2)), (A, B, C, A)),
    (op.OP_PICK, (A, B, C, b"\x02\x00"), (A, B, C, A)),
    (op.OP_ROLL, (A, B, C, *n(0)), (A, B, C)),
    (op.OP_ROLL, (A, B, C, *n(2)), (B, C, A)),
    (op.OP_DEPTH, (), (ZERO,)),
    (op.OP_DEPTH, (A, B), (A, B, *n(2))),
    (op.OP_SIZE, (ZERO,), (ZERO, ZERO)),
    (op.OP_SIZE, (A * 520,), (A * 520, *n(520))),
    (op.OP_EQUAL, (A, A), (ONE,)),
    (op.OP_EQUAL, (A, B), (ZERO,)),
    (op.OP_EQUAL, (ZERO, NEGATIVE_ZERO), (ZERO,)),
    (op.OP_EQUALVERIFY, (A, B, B), (A,)),
    (op.OP_VERIFY, (A, B), (A,)),
    (op.OP_VERIFY, (A, b"\x00\x01"), (A,)),
    (op.OP_NUMEQUALVERIFY, (A, *n(5), b"\x05\x00"), (A,)),
    (op.OP_NOP, (A,), (A,)),
    (op.OP_SHA1, (b"abc",), (bytes.fromhex("a9993e364706816aba3e25717850c26c9cd0d89d"),)),
    (op.OP_RIPEMD160, (b"abc",), (bytes.fromhex("8eb208f7e05d987a9b044a8e98c6b087f15a0bfc"),)),
    (op.OP_SHA256, (b"abc",), (hashlib.sha256(b"abc").digest(),)),
    (op.OP_HASH160, (b"abc",), (bytes.fromhex("bb1be98c142444d7a56aa3981c3942a978e4dc33"),)),
    (op.OP_HASH256, (b"abc",), (hashlib.sha256(hashlib.sha256(b"abc").digest()).digest(),)),
]

TOP = 2**31 - 1
NUMBER_ROWS: list[tuple[bytes, tuple[int, ...], int]] = [
    (op.OP_1ADD, (-1,), 0),
    (op.OP_1ADD, (TOP,), TOP + 1),
    (op.OP_1SUB, (0,), -1),
    (op.OP_1SUB, (-TOP,), -TOP - 1),
    (op.OP_NEGATE, (5,), -5),
    (op.OP_NEGATE, (0,), 0),
    (op.OP_ABS, (-5,), 5),
    (op.OP_ABS, (5,), 5),
    (op.OP_NOT, (0,), 1),
    (op.OP_NOT, (1,), 0),
    (op.OP_NOT, (-7,), 0),
    (op.OP_0NOTEQUAL, (0,), 0),
    (op.OP_0NOTEQUAL, (-7,), 1),
    (op.OP_ADD, (TOP, TOP), 2 * TOP),
    (op.OP_ADD, (-300, 44), -256),
    (op.OP_SUB, (-TOP, TOP), -2 * TOP),
    (op.OP_SUB, (7, 3), 4),
    (op.OP_BOOLAND, (2, -1), 1),
    (op.OP_BOOLAND, (2, 0), 0),
    (op.OP_BOOLAND, (0, 2), 0),
    (op.OP_BOOLOR, (0, -1), 1),
    (op.OP_BOOLOR, (2, 0), 1),
    (op.OP_BOOLOR, (0, 0), 0),
    (op.OP_NUMEQUAL, (3, 3), 1),
    (op.OP_NUMEQUAL, (3, -3), 0),
    (op.OP_NUMNOTEQUAL, (3, 3), 0),
    (op.OP_NUMNOTEQUAL, (3, -3), 1),
    (op.OP_LESSTHAN, (-3, 3), 1),
    (op.OP_LESSTHAN, (3, 3), 0),
    (op.OP_GREATERTHAN, (4, 3), 1),
    (op.OP_GREATERTHAN, (3, 3), 0),
    (op.OP_LESSTHANOREQUAL, (3, 3), 1),
    (op.OP_LESSTHANOREQUAL, (4, 3), 0),
    (op.OP_GREATERTHANOREQUAL, (3, 3), 1),
    (op.OP_GREATERTHANOREQUAL, (-4, 3), 0),
    (op.OP_MIN, (-4, 3), -4),
    (op.OP_MIN, (3, -4), -4),
    (op.OP_MAX, (-4, 3), 3),
    (op.OP_MAX, (3, -4), 3),
    (op.OP_WITHIN, (3, 3, 5), 1),
    (op.OP_WITHIN, (5, 3, 5), 0),
    (op.OP_WITHIN, (2, 3, 5), 0),
]
ARITY = {code: len(operands) for code, operands, _ in NUMBER_ROWS} | {op.OP_NUMEQUALVERIFY: 2}
NEEDS = {code: len(before) for code, before, _ in ELEMENT_ROWS if code not in (op.OP_DEPTH, op.OP_NOP)} | {
    op.OP_2DROP: 2,
    op.OP_DROP: 1,
    op.OP_VERIFY: 1,
    op.OP_EQUALVERIFY: 2,
    op.OP_NUMEQUALVERIFY: 2,
    op.OP_PICK: 2,
    op.OP_ROLL: 2,
    op.OP_TOALTSTACK: 1,
    op.OP_CHECKSIG: 2,
    op.OP_CHECKSIGVERIFY: 2,
    op.OP_CHECKSIGADD: 3,
    op.OP_CHECKLOCKTIMEVERIFY: 1,
    op.OP_CHECKSEQUENCEVERIFY: 1,
}
NOPS = [bytes([0xB0 + index - 1]) for index in (1, *range(4, 11))]


def operand_cases() -> list[Case]:
    cases = [case(code, before, after) for code, before, after in ELEMENT_ROWS]
    cases += [case(code, n(*operands), n(result)) for code, operands, result in NUMBER_ROWS]
    cases += [case(code, [ONE] * (count - 1), short(count)) for code, count in (ARITY | NEEDS).items()]
    for code, count in ARITY.items():
        for place in range(count):
            wide = [b"\x01\x00\x00\x00\x00" if index == place else ONE for index in range(count)]
            cases.append(case(code, wide, ".*: decode_num: 5 bytes, expected at most 4"))
    for code in (op.OP_PICK, op.OP_ROLL):
        cases += [
            case(code, [A, B, *n(-1)], ".*: index -1, expected 0 to 1"),
            case(code, [A, B, *n(2)], ".*: index 2, expected 0 to 1"),
            case(code, [A, B, bytes(5)], ".*: decode_num: 5 bytes, expected at most 4"),
        ]
    return [
        *cases,
        case(op.OP_1ADD, [b"\x05\x00\x80"], n(-4)),
        case(op.OP_1ADD, [NEGATIVE_ZERO], n(1)),
        case(op.OP_EQUALVERIFY, [A, B], "EQUALVERIFY: elements differ"),
        case(op.OP_NUMEQUALVERIFY, n(3, 4), "NUMEQUALVERIFY: 3 is not 4"),
        case(op.OP_VERIFY, [ZERO], "VERIFY: the element is false"),
        case(op.OP_VERIFY, [NEGATIVE_ZERO], "VERIFY: the element is false"),
        case(op.OP_VERIFY, [b"\x00\x80"], "VERIFY: the element is false"),
        case(op.OP_RETURN, [ONE], "RETURN: the script ends in failure"),
        case(op.OP_IF + op.OP_RETURN + op.OP_ENDIF, [A, ZERO], (A,), of=op.OP_RETURN),
        case(op.OP_TOALTSTACK + op.OP_FROMALTSTACK, [A], (A,)),
        case(op.OP_TOALTSTACK * 2 + op.OP_FROMALTSTACK * 2, [A, B], (A, B)),
        case(op.OP_TOALTSTACK, [A, B], (A,)),
        case(op.OP_FROMALTSTACK, [A], "FROMALTSTACK: the altstack is empty"),
    ]


def push_cases() -> list[Case]:
    """Every push, complete, cut short, too large, and one element too many."""
    cases = []
    for size in range(1, 0x4C):
        code, data = bytes([size]), bytes(range(size))
        cases.append(case(code + data, [], (data,)))
        cases.append(
            case(code + data[1:], [], f".*push of {size} bytes at byte 0 runs past the end", of=code, whole=True)
        )
        cases.append(overflow(code + data))
    for code, width in ((op.OP_PUSHDATA1, 1), (op.OP_PUSHDATA2, 2), (op.OP_PUSHDATA4, 4)):
        for size in (0, 1, 75, 255, 520):
            if size < 256**width:
                data = size.to_bytes(width, "little") + A * size
                cases.append(case(code + data, [], (A * size,)))
        cases.append(case(code + (5).to_bytes(width, "little") + A * 4, [], ".*runs past the end", of=code, whole=True))
        cases.append(case(code + bytes(width - 1), [], ".*truncated push length at byte 0", of=code, whole=True))
    for code, width in ((op.OP_PUSHDATA2, 2), (op.OP_PUSHDATA4, 4)):
        large = code + (521).to_bytes(width, "little") + A * 521
        skipped = op.OP_0 + op.OP_IF + large + op.OP_ENDIF
        cases.append(case(large, [], f"PUSHDATA{width}: 521 bytes, expected at most 520"))
        cases.append(case(skipped, [], f"PUSHDATA{width}: 521 bytes, expected at most 520", of=code))
    for value in range(-1, 17):
        code = op.OP_0 if value == 0 else bytes([op.OP_1[0] - 1 + value])
        cases.append(case(code, [A], (A, *n(value))))
        cases.append(overflow(code))
    return cases


def overflow(one_more: bytes) -> Case:
    """On as many elements as there may be; afterwards down to the deepest, which is true."""
    error = f"{opcode_name(one_more[0])[3:]}: 1,001 elements on the stacks, expected at most 1,000"
    return case(one_more + DROP_1000, [ONE] * MAX_STACK_ITEMS, error, of=one_more[:1], whole=True)


def branch(condition: bytes, *, on: bytes = op.OP_IF) -> bytes:
    """Leaves 2 where the first branch runs and 3 where the second does."""
    return condition + on + op.OP_2 + op.OP_ELSE + op.OP_3 + op.OP_ENDIF


def flow_cases() -> list[Case]:
    cases = [
        case(branch(op.OP_1), [], n(2), of=op.OP_IF),
        case(branch(op.OP_0), [], n(3), of=op.OP_IF),
        case(branch(op.OP_1, on=op.OP_NOTIF), [], n(3), of=op.OP_NOTIF),
        case(branch(op.OP_0, on=op.OP_NOTIF), [], n(2), of=op.OP_NOTIF),
        case(op.OP_IF, [ONE, ONE], "end: 1 IF without ENDIF", whole=True),
        case(op.OP_IF + op.OP_NOTIF, [ONE, ZERO, ONE], "end: 2 IF without ENDIF", whole=True),
        case(op.OP_IF + op.OP_ENDIF, [], short(1), of=op.OP_IF),
        case(op.OP_NOTIF + op.OP_ENDIF, [], short(1), of=op.OP_NOTIF),
        case(op.OP_ELSE, [ONE], "ELSE: no IF is open"),
        case(op.OP_ENDIF, [ONE], "ENDIF: no IF is open"),
        case(op.OP_1 + op.OP_IF + op.OP_ENDIF, [], ()),
        case(op.OP_1 + op.OP_IF + op.OP_ENDIF * 2, [], "ENDIF: no IF is open"),
        case(branch(op.OP_1)[:-1] + op.OP_ELSE + op.OP_4 + op.OP_ENDIF, [], n(2, 4), of=op.OP_ELSE),
        case(branch(op.OP_0)[:-1] + op.OP_ELSE + op.OP_4 + op.OP_ENDIF, [], n(3), of=op.OP_ELSE),
        case(op.OP_0 + op.OP_IF + branch(b"") + op.OP_ELSE + op.OP_5 + op.OP_ENDIF, [], n(5), of=op.OP_IF),
        case(op.OP_0 + op.OP_IF + op.OP_RETURN * 3 + op.OP_ENDIF, [A], (A,), of=op.OP_RETURN),
        case(op.OP_0 + op.OP_IF + op.OP_INVALIDOPCODE + op.OP_ENDIF, [A], (A,), of=op.OP_INVALIDOPCODE),
        case(op.OP_INVALIDOPCODE, [ONE], "INVALIDOPCODE: not an opcode"),
    ]
    for on in (op.OP_IF, op.OP_NOTIF):
        for odd in (b"\x00", b"\x02", NEGATIVE_ZERO, b"\x01\x00"):
            cases.append(case(branch(b"", on=on), [odd], f".*IF: {odd.hex()} is neither empty nor 01", of=on))
    for code in (op.OP_VERIF, op.OP_VERNOTIF):
        cases.append(case(code, [ONE], ".*: not an opcode"))
        cases.append(case(op.OP_0 + op.OP_IF + code + op.OP_ENDIF, [ONE], ".*: not an opcode", of=code))
    for code in (op.OP_CHECKMULTISIG, op.OP_CHECKMULTISIGVERIFY):
        cases.append(case(code, [ZERO, ZERO, ZERO], ".*: disabled in tapscript"))
        cases.append(case(op.OP_0 + op.OP_IF + code + op.OP_ENDIF, [A], (A,), of=code))
    cases += [case(code, [A], (A,)) for code in NOPS]
    for code in (bytes([value]) for value in OP_SUCCESS):
        unread = b"\x05"
        cases.append(case(op.OP_RETURN + code + unread, [A * 521] * 2, None, of=code))
        cases.append(case(op.OP_0 + op.OP_IF + code, [ONE] * 1001, None))
        cases.append(case(unread + code, [ONE], ".*push of 5 bytes at byte 0 runs past the end", of=code, whole=True))
    return cases


def signature_cases() -> list[Case]:
    key = push(KEY)
    other = push(secp.xonly_public_key(bytes.fromhex("22" * 32)))
    odd_key = push(A * 33)
    cases = [
        case(key + op.OP_CHECKSIG, [Signature()], (ONE,)),
        case(key + op.OP_CHECKSIG, [ZERO], (ZERO,)),
        case(other + op.OP_CHECKSIG, [ZERO], (ZERO,)),
        case(odd_key + op.OP_CHECKSIG, [A], (ONE,)),
        case(odd_key + op.OP_CHECKSIG, [ZERO], (ZERO,)),
        case(op.OP_1 + op.OP_CHECKSIG, [A], (ONE,)),
        case(key + op.OP_CHECKSIGVERIFY, [A, Signature()], (A,)),
        case(odd_key + op.OP_CHECKSIGVERIFY, [A, B], (A,)),
        case(key + op.OP_CHECKSIGVERIFY, [ONE, ZERO], "CHECKSIGVERIFY: empty signature"),
        case(num(7) + key + op.OP_CHECKSIGADD, [Signature()], n(8)),
        case(num(7) + key + op.OP_CHECKSIGADD, [ZERO], n(7)),
        case(key + op.OP_CHECKSIGADD, [ZERO, b"\x07\x00"], n(7)),
        case(num(TOP) + odd_key + op.OP_CHECKSIGADD, [A], n(TOP + 1)),
        case(num(-1) + odd_key + op.OP_CHECKSIGADD, [A], n(0)),
        case(num(TOP + 1) + key + op.OP_CHECKSIGADD, [Signature()], ".*decode_num: 5 bytes, expected at most 4"),
        case(op.OP_CODESEPARATOR, [A], (A,)),
        case(op.OP_CODESEPARATOR + key + op.OP_CHECKSIG, [Signature(code_separator=0)], (ONE,)),
        case(op.OP_CODESEPARATOR + key + op.OP_CHECKSIG, [Signature()], "CHECKSIG: invalid signature"),
    ]
    skipped = op.OP_0 + op.OP_IF + push(A * 3) + op.OP_CODESEPARATOR + op.OP_ENDIF
    cases += [
        case(skipped + key + op.OP_CHECKSIG, [Signature()], (ONE,), of=op.OP_CODESEPARATOR),
        case(
            skipped + op.OP_CODESEPARATOR + key + op.OP_CHECKSIG,
            [Signature(code_separator=5)],
            (ONE,),
            of=op.OP_CODESEPARATOR,
        ),
    ]
    for code, middle in ((op.OP_CHECKSIG, b""), (op.OP_CHECKSIGVERIFY, b""), (op.OP_CHECKSIGADD, op.OP_0)):
        name = opcode_name(code[0]).removeprefix("OP_")
        cases += [
            case(middle + other + code, [Signature()], f"{name}: invalid signature"),
            case(middle + push(bytes(32)) + code, [A * 64], f"{name}: invalid signature"),
            case(middle + key + code, [A * 63], f"{name}: signature of 63 bytes, expected 64 or one more"),
            case(middle + key + code, [A * 66], f"{name}: signature of 66 bytes, expected 64 or one more"),
            case(middle + key + code, [A * 64 + b"\x00"], f"{name}: unknown hash type 0x00"),
            case(middle + key + code, [A * 64 + b"\x04"], f"{name}: unknown hash type 0x04"),
            case(middle + op.OP_0 + code, [A], f"{name}: empty key"),
            case(middle + op.OP_0 + code, [ZERO], f"{name}: empty key"),
        ]
    for sighash in SigHash:
        cases.append(case(key + op.OP_CHECKSIG, [Signature(sighash)], (ONE,)))
    return cases


def lock_cases() -> list[Case]:
    cltv, csv, time = op.OP_CHECKLOCKTIMEVERIFY, op.OP_CHECKSEQUENCEVERIFY, 1 << 22
    final = 0xFFFFFFFF
    return [
        case(cltv, n(100), n(100), lock_time=100, sequence=0),
        case(cltv, n(100), ".*: 100 is above the lock time 99", lock_time=99, sequence=0),
        case(cltv, n(0), (ZERO,), lock_time=0, sequence=0),
        case(cltv, [NEGATIVE_ZERO], (NEGATIVE_ZERO,), lock_time=0, sequence=0),
        case(cltv, n(-1), ".*: -1 is negative", lock_time=100, sequence=0),
        case(cltv, n(100), ".*: the input's sequence turns the lock time off", lock_time=100, sequence=final),
        case(cltv, n(100), n(100), lock_time=100, sequence=final - 1),
        case(cltv, n(499_999_999), n(499_999_999), lock_time=499_999_999, sequence=0),
        case(cltv, n(500_000_000), ".*not both heights or both times", lock_time=499_999_999, sequence=0),
        case(cltv, n(499_999_999), ".*not both heights or both times", lock_time=500_000_000, sequence=0),
        case(cltv, n(500_000_000), n(500_000_000), lock_time=500_000_001, sequence=0),
        case(cltv, n(2**32 - 1), n(2**32 - 1), lock_time=2**32 - 1, sequence=0),
        case(cltv, n(2**32), ".*is above the lock time.*", lock_time=2**32 - 1, sequence=0),
        case(cltv, [bytes(5)], (bytes(5),), lock_time=0, sequence=0),
        case(cltv, [bytes(6)], ".*: decode_num: 6 bytes, expected at most 5", lock_time=0, sequence=0),
        case(csv, n(6), n(6), sequence=6),
        case(csv, n(6), n(6), sequence=7),
        case(csv, n(6), ".*: 6 is above the sequence 5", sequence=5),
        case(csv, n(65_535), n(65_535), sequence=65_535),
        case(csv, n(6), n(6), sequence=0x10000 | 6),
        case(csv, n(0x10000 | 6), n(0x10000 | 6), sequence=6),
        case(csv, n(6), ".*: transaction version 1, expected at least 2", sequence=6, version=1),
        case(csv, n(6), ".*: transaction version 0, expected at least 2", sequence=6, version=0),
        case(csv, n(6), n(6), sequence=6, version=2**32 - 1),
        case(csv, n(6), ".*: the sequence 0x80000006 turns relative locks off", sequence=1 << 31 | 6),
        case(csv, n(6), ".*: the sequence 0xffffffff turns relative locks off"),
        case(csv, n(time | 6), n(time | 6), sequence=time | 6),
        case(csv, n(time | 6), ".*: 4,194,310 is above the sequence 4,194,309", sequence=time | 5),
        case(csv, n(time | 6), ".*not both blocks or both times", sequence=7),
        case(csv, n(6), ".*not both blocks or both times", sequence=time | 7),
        case(csv, n(1 << 31), n(1 << 31), version=1),
        case(csv, n(-6), ".*: -6 is negative", sequence=6),
        case(csv, [bytes(5)], (bytes(5),), sequence=0),
        case(csv, [bytes(6)], ".*: decode_num: 6 bytes, expected at most 5", sequence=0),
    ]


def end_cases() -> list[Case]:
    full, last = [ONE] * MAX_STACK_ITEMS, "end: {} elements on the stack, expected exactly one"
    rest = op.OP_DROP + op.OP_2DROP * 499
    return [
        case(op.OP_NOP, [], last.format(0), whole=True),
        case(op.OP_NOP, [ONE], None),
        case(op.OP_NOP, [ONE, ONE], last.format(2), whole=True),
        case(op.OP_NOP, [ZERO], "end: the element on the stack is false", whole=True),
        case(op.OP_NOP, [NEGATIVE_ZERO], "end: the element on the stack is false", whole=True),
        case(op.OP_NOP, [b"\x00\x80"], "end: the element on the stack is false", whole=True),
        case(op.OP_NOP, [b"\x80\x00"], None),
        case(op.OP_TOALTSTACK, [ONE, A], None),
        case(rest, full, None),
        case(rest + op.OP_DROP, [ONE, *full], "witness: 1,001 elements, expected at most 1,000", whole=True),
        case(op.OP_DUP + DROP_1000, full[1:], last.format(0), of=op.OP_DUP, whole=True),
        case(op.OP_DUP + rest, full[1:], None, of=op.OP_DUP),
        overflow(op.OP_DUP),
        overflow(op.OP_DEPTH),
        case(
            op.OP_TOALTSTACK * 9 + op.OP_DUP + op.OP_2DROP * 495 + op.OP_1,
            full,
            "DUP: 1,001 elements on the stacks, expected at most 1,000",
            of=op.OP_DUP,
            whole=True,
        ),
        case(op.OP_DROP, [ONE, A * 520], None),
        case(op.OP_DROP, [ONE, A * 521], "witness: item 1 has 521 bytes, expected at most 520", whole=True),
    ]


CASES = [
    *operand_cases(),
    *push_cases(),
    *flow_cases(),
    *signature_cases(),
    *lock_cases(),
    *end_cases(),
]
NEVER_FAIL = {op.OP_NOP[0], op.OP_CODESEPARATOR[0], *(code[0] for code in NOPS)}
ALWAYS_FAIL = {op.OP_VERIF[0], op.OP_VERNOTIF[0]}


class Spend:
    """A transaction that spends the case's script as the only leaf of its only input."""

    def __init__(self, case: Case) -> None:
        self.script = case.script
        self._tree = ScriptTree([("leaf", self.script)])
        self._spent = [TxOut(SPENT, self._tree.script_pubkey())]
        self._tx = Transaction(
            case.version,
            (TxIn(OutPoint(bytes(32), 0), case.sequence),),
            (TxOut(SPENT - 1_000, p2tr(NUMS_KEY)),),
            case.lock_time,
        )
        self.witness = [self._sign(item) if isinstance(item, Signature) else item for item in case.before]
        self.context = Context(self._is_valid, case.lock_time, case.sequence, case.version)

    def run(self) -> Result:
        return run(self.script, self.witness, self.context)

    def core_accepts(self) -> bool:
        stack = (*self.witness, self.script, self._tree.control_block("leaf"))
        return verify_input(self._tx.with_witness(0, stack), 0, self._spent)

    def _digest(self, sighash: SigHash, code_separator: int) -> bytes:
        leaf = leaf_hash(self.script)
        message = sighash_message(self._tx, 0, self._spent, sighash, leaf, code_separator=code_separator)
        return tagged_hash("TapSighash", b"\x00", message)

    def _sign(self, wanted: Signature) -> bytes:
        return wanted.sighash.append_to(secp.sign(SECRET, self._digest(*wanted), bytes(32)))

    def _is_valid(self, key: bytes, signature: bytes, code_separator: int) -> bool:
        sighash = SigHash(signature[64]) if len(signature) == 65 else SigHash.DEFAULT
        return secp.verify(key, self._digest(sighash, code_separator), signature[:64])


def case_name(case: Case) -> str:
    return f"{opcode_name(case.of)}-{'accepts' if case.accepted else 'refuses'}"


@pytest.mark.parametrize("case", CASES, ids=case_name)
def test_opcode(case: Case) -> None:
    spend = Spend(case)
    result = spend.run()
    assert result.ok == case.accepted, result.error
    if isinstance(case.outcome, str):
        assert re.fullmatch(case.outcome, result.error or ""), result.error
    assert spend.core_accepts() == case.accepted


def test_the_table_covers_every_opcode() -> None:
    assert {case.of for case in CASES} == set(range(256))
    accepted = {case.of for case in CASES if case.accepted}
    refused = {case.of for case in CASES if not case.accepted}
    assert set(range(256)) - accepted == ALWAYS_FAIL
    assert set(range(256)) - refused <= NEVER_FAIL


POLICY: list[tuple[bytes, list[bytes], str]] = [
    (op.OP_PUSHDATA1 + b"\x01" + A + op.OP_DROP, [ONE], "PUSHDATA1: not the shortest push (policy)"),
    (op.OP_PUSHDATA1 + b"\x00" + op.OP_DROP, [ONE], "PUSHDATA1: not the shortest push (policy)"),
    (op.OP_PUSHDATA2 + b"\x4c\x00" + A * 76 + op.OP_DROP, [ONE], "PUSHDATA2: not the shortest push (policy)"),
    (op.OP_PUSHDATA4 + b"\x00\x01\x00\x00" + A * 256 + op.OP_DROP, [ONE], "PUSHDATA4: not the shortest push (policy)"),
    (b"\x01\x10" + op.OP_DROP, [ONE], "PUSHBYTES_1: not the shortest push (policy)"),
    (b"\x01\x81" + op.OP_DROP, [ONE], "PUSHBYTES_1: not the shortest push (policy)"),
    (op.OP_1ADD, [b"\x01\x00"], "1ADD: decode_num: 0100 is not minimal"),
    (op.OP_NOT, [NEGATIVE_ZERO], "NOT: decode_num: 80 is not minimal"),
    (op.OP_PICK + op.OP_NIP * 2, [ONE, ZERO, b"\x01\x00"], "PICK: decode_num: 0100 is not minimal"),
    (op.OP_DROP, [ONE, A * 81], "witness: item 1 has 81 bytes, expected at most 80"),
    (push(A * 33) + op.OP_CHECKSIG, [A], "CHECKSIG: key of 33 bytes is reserved for upgrades (policy)"),
    (bytes([0x50]), [], "SUCCESS80: reserved for upgrades (policy)"),
    *((code, [ONE], f"{opcode_name(code[0])[3:]}: reserved for upgrades (policy)") for code in NOPS),
]


@pytest.mark.parametrize(("script", "witness", "error"), POLICY)
def test_policy_refuses_what_consensus_accepts(script: bytes, witness: list[bytes], error: str) -> None:
    assert spend_leaf(script, witness)
    assert run(script, witness).ok
    assert run(script, witness, policy=True).error == error


@pytest.mark.parametrize("case", [case for case in CASES if not case.accepted], ids=case_name)
def test_policy_refuses_what_consensus_refuses(case: Case) -> None:
    spend = Spend(case)
    assert not run(spend.script, spend.witness, spend.context, policy=True).ok


def test_policy_accepts_minimal_pushes_and_skips_branches_that_do_not_run() -> None:
    skipped = op.OP_0 + op.OP_IF + b"\x01\x10" + op.OP_NOP10 + op.OP_ENDIF
    pushes = b"".join(push(A * size) + op.OP_DROP for size in (0, 1, 75, 76, 255, 256, 520))
    script = skipped + pushes + op.OP_1NEGATE + op.OP_16 + op.OP_ADD + num(15) + op.OP_NUMEQUAL
    assert run(script, [], policy=True).ok
    assert run(script + op.OP_NIP, [A * 80], policy=True).ok


@pytest.mark.parametrize(("spare", "accepted"), [(0, True), (-1, False)])
def test_signature_budget_is_exact(spare: int, accepted: bool) -> None:
    """50 weight units a signature, from 50 and the size of the input's witness (BIP342)."""
    checks = 20
    script = push(A * 33) + (op.OP_2DUP + op.OP_CHECKSIGVERIFY) * checks + op.OP_2DROP + op.OP_1
    control_block, lengths = 33, 1 + 1 + 3 + 1
    needed = checks * 50 - 50 - (len(A) + len(script) + control_block + lengths)
    script = op.OP_NOP * (needed + spare) + script
    assert run(script, [A]).error == (None if accepted else "CHECKSIGVERIFY: more signatures than the witness pays for")
    assert spend_leaf(script, [A]) == accepted
    longer_path = Context(control_block_size=65)
    assert run(script, [A], longer_path).ok


def test_without_a_transaction_no_signature_is_valid() -> None:
    assert run(push(KEY) + op.OP_CHECKSIG, [bytes(64)]).error == "CHECKSIG: invalid signature"


def test_result_names_the_place_and_keeps_the_stacks() -> None:
    script = push(A * 3) + op.OP_TOALTSTACK + op.OP_DUP + push(B) + op.OP_EQUALVERIFY + op.OP_1
    assert run(script, [C]) == Result(
        ok=False,
        error="EQUALVERIFY: elements differ",
        opcode="OP_EQUALVERIFY",
        offset=8,
        steps=4,
        stack=(C, C, B),
        altstack=(A * 3,),
        max_depth=4,
    )


def test_result_of_success() -> None:
    script = op.OP_TOALTSTACK + op.OP_0 + op.OP_IF + op.OP_RETURN + op.OP_ENDIF
    assert run(script, [ONE, C]) == Result(
        ok=True, error=None, opcode=None, offset=None, steps=4, stack=(ONE,), altstack=(C,), max_depth=3
    )


def test_trace_shows_each_executed_opcode_and_ends_before_the_failing_one() -> None:
    script = push(A * 3) + op.OP_0 + op.OP_IF + op.OP_RETURN + op.OP_ENDIF + op.OP_TOALTSTACK + op.OP_VERIFY
    steps = list(trace(script, [ZERO]))
    assert [(step.offset, step.opcode, step.stack, step.altstack, step.depth) for step in steps] == [
        (0, "OP_PUSHBYTES_3", (ZERO, A * 3), (), 2),
        (4, "OP_0", (ZERO, A * 3, ZERO), (), 3),
        (5, "OP_IF", (ZERO, A * 3), (), 2),
        (7, "OP_ENDIF", (ZERO, A * 3), (), 2),
        (8, "OP_TOALTSTACK", (ZERO,), (A * 3,), 2),
    ]
    assert len(steps) == run(script, [ZERO]).steps


def test_explain_shows_the_last_steps_and_the_end() -> None:
    script = op.OP_NOP * 1_000 + push(A * 20) + op.OP_TOALTSTACK + op.OP_0 + op.OP_1 + op.OP_EQUALVERIFY
    assert explain(script, [ONE] * 7, last=3).splitlines() == [
        "    1,021 OP_TOALTSTACK            (1 more) 01 01 01 01 01 01 | 6161616161616161…[20]",
        "    1,022 OP_0                     (2 more) 01 01 01 01 01 <> | 6161616161616161…[20]",
        "    1,023 OP_1                     (3 more) 01 01 01 01 <> 01 | 6161616161616161…[20]",
        "    1,024 fails: EQUALVERIFY: elements differ",
    ]
    assert explain(op.OP_1, []).splitlines() == ["        0 OP_1                     01", "succeeds"]
    assert explain(op.OP_0, []).splitlines()[-1] == "fails: end: the element on the stack is false"


def test_deep_nesting_is_linear() -> None:
    depth = 100_000
    script = op.OP_1 + op.OP_0 + op.OP_IF * depth + op.OP_ENDIF * depth
    assert run(script, []).ok
    assert run(script[:-1], []).error == "end: 1 IF without ENDIF"


def test_ripemd160_without_openssl(monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(name: str, *_: object, **__: object) -> None:
        raise ValueError(f"unsupported hash type {name}")

    script = op.OP_RIPEMD160 + leaves([bytes.fromhex("8eb208f7e05d987a9b044a8e98c6b087f15a0bfc")])
    monkeypatch.setattr(hashlib, "new", unsupported)
    assert run(script, [b"abc"]).ok
    assert not run(script, [b"abd"]).ok


ELEMENTS = [
    *n(TOP, -TOP, TOP + 1, 255, 256, 1 << 22, 1 << 31, 1 << 39),
    *(NEGATIVE_ZERO, b"\x00", b"\x01\x00", b"\x00\x80", b"\x80\x00", bytes(5), A * 32, A * 33, A * 520, A * 521),
]
CODES = [bytes([code]) for code in range(op.OP_1NEGATE[0], 0x100) if code not in OP_SUCCESS]
FLOW = [op.OP_IF, op.OP_NOTIF, op.OP_ELSE, op.OP_ENDIF]


def random_element(rng: Random) -> bytes:
    kinds = (
        lambda: encode_num(rng.randint(-3, 8)),
        lambda: rng.choice(ELEMENTS),
        lambda: rng.randbytes(rng.randrange(6)),
    )
    return rng.choice(kinds)()


def random_operation(rng: Random) -> bytes:
    """An opcode, now and then with an operand that it can use."""
    kinds = (
        lambda: rng.choice(CODES),
        lambda: rng.choice(CODES),
        lambda: rng.choice(FLOW),
        lambda: num(rng.randrange(2)) + rng.choice(FLOW),
        lambda: num(rng.randrange(7)) + rng.choice([op.OP_PICK, op.OP_ROLL, op.OP_CHECKSEQUENCEVERIFY]),
        lambda: rng.choice([op.OP_TOALTSTACK, op.OP_FROMALTSTACK]),
        lambda: push(random_element(rng)[:520]),
    )
    return rng.choice(kinds)()


def random_spend(seed: int) -> tuple[bytes, list[bytes]]:
    """A script and its witness. Operations that fail are mostly left out, so that scripts get far."""
    rng = Random(seed)
    witness = [random_element(rng) for _ in range(rng.randrange(9))]
    script = b""
    for _ in range(40):
        longer = script + random_operation(rng)
        failed = run(longer, witness, AMPLE).offset is not None
        if not failed or rng.random() < 0.02:
            script = longer
    return script, witness


seeds = st.integers(0, 2**64 - 1)
SEQUENCE = 5
CONTEXT = Context(sequence=SEQUENCE)
AMPLE = replace(CONTEXT, control_block_size=50 * 100)
"""With a budget for every opcode of a random script to check a signature."""
PAYS_AMPLY = op.OP_NOP * 50 * 100
"""Gives the script that it is part of the same budget before Core."""


def closed(fragment: bytes) -> bytes:
    """With an ENDIF for every IF that is open at its end."""
    codes = [instruction.opcode for instruction in instructions(fragment)]
    opened = codes.count(op.OP_IF[0]) + codes.count(op.OP_NOTIF[0])
    return fragment + op.OP_ENDIF * max(0, opened - codes.count(op.OP_ENDIF[0]))


def agree_on_verdict(script: bytes, witness: list[bytes]) -> Result:
    result = run(script, witness, CONTEXT)
    assert spend_leaf(script, witness, sequence=SEQUENCE) == result.ok, result
    return result


def agree_on_every_step(script: bytes, witness: list[bytes]) -> None:
    """One verdict; and where an opcode fails, Core has the same stacks before it and fails at it too."""
    result = agree_on_verdict(script, witness)
    error = result.error or ""
    if error.startswith(("witness:", "instructions:")):
        return
    before = closed(script[: result.offset])
    reached = run(before, witness, AMPLE)
    expecting = before + leaves(reached.stack, reached.altstack) + PAYS_AMPLY
    assert spend_leaf(expecting, witness, sequence=SEQUENCE), reached
    if result.offset is not None and not error.endswith("more signatures than the witness pays for"):
        ends = [*(instruction.offset for instruction in instructions(script)), len(script)]
        failing = script[: ends[ends.index(result.offset) + 1]]
        assert not spend_leaf(closed(failing) + DRAIN, witness, sequence=SEQUENCE), result


@given(seeds)
@settings(max_examples=250, deadline=None)
def test_random_scripts(seed: int) -> None:
    agree_on_every_step(*random_spend(seed))


@given(st.binary(max_size=80), st.lists(st.binary(max_size=3), max_size=8))
@settings(max_examples=200, deadline=None)
def test_random_bytes(script: bytes, witness: list[bytes]) -> None:
    agree_on_verdict(script, witness)


@pytest.mark.sweep
@given(seeds)
@settings(max_examples=20_000, deadline=None)
def test_random_scripts_at_length(seed: int) -> None:
    agree_on_every_step(*random_spend(seed))
