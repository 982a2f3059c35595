"""A step debugger for tapscript: where and why a script fails, and what the stacks held on the way.

It is for understanding a leaf and for measuring its depth. The verdict that counts is Bitcoin Core's.

    result = run(script, witness)
    if not result.ok:
        print(explain(script, witness))

Stacks are `bytes` elements, first is deepest; a number is decoded only by the opcode that reads it.
Sources: BIP342 (tapscript), BIP65 and BIP112 (lock times), Bitcoin Core `interpreter.cpp`.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

from scripts_tapleaf import script as op
from scripts_tapleaf.hashing import hash160, ripemd160
from scripts_tapleaf.script import (
    MAX_ELEMENT_SIZE,
    MAX_STACK_ITEMS,
    MAX_STANDARD_WITNESS_ITEM,
    OP_SUCCESS,
    Instruction,
    ScriptError,
    compact_size,
    decode_num,
    encode_num,
    instructions,
    opcode_name,
    push,
)

SIGNATURE_COST: Final = 50
"""Weight units of the input's witness that one checked signature uses up (BIP342)."""
CODE_SEPARATOR_NONE: Final = 0xFFFFFFFF
"""The code separator position before any CODESEPARATOR has run (BIP342)."""

_SEQUENCE_FINAL: Final = 0xFFFFFFFF
_LOCK_TIME_SIZE: Final = 5
_LOCK_TIME_THRESHOLD: Final = 500_000_000
_SEQUENCE_DISABLE: Final = 1 << 31
_SEQUENCE_TIME: Final = 1 << 22
_SEQUENCE_MASK: Final = _SEQUENCE_TIME | 0xFFFF
_SIGNATURE_SIZE: Final = 64
_KEY_SIZE: Final = 32
_HASH_TYPES: Final = frozenset([0x01, 0x02, 0x03, 0x81, 0x82, 0x83])


def no_signature_is_valid(key: bytes, signature: bytes, code_separator: int) -> bool:
    """The signature check of a debugger that knows no transaction."""
    return False


@dataclass(frozen=True, slots=True)
class Context:
    """What a script can learn of the input that runs it.

    `check_signature` takes the 32-byte key, the witness element (64 bytes, or 65 with the hash type last) and the
    code separator position that BIP342's message commits to. `control_block_size` (bytes) is part of the signature
    budget; an annex is taken to be absent.
    """

    check_signature: Callable[[bytes, bytes, int], bool] = no_signature_is_valid
    lock_time: int = 0
    sequence: int = _SEQUENCE_FINAL
    version: int = 2
    control_block_size: int = 33


@dataclass(frozen=True, slots=True)
class Step:
    """An executed opcode, and both stacks after it; `depth` counts the elements of the two."""

    offset: int
    opcode: str
    stack: tuple[bytes, ...]
    altstack: tuple[bytes, ...]
    depth: int


@dataclass(frozen=True, slots=True)
class Result:
    """How a run ended.

    `error` is None on success, else opcode and reason (`EQUALVERIFY: elements differ`). `opcode` and `offset` (byte)
    name the failing opcode; they are None on success and where no single opcode failed. `steps` counts the opcodes
    that executed. Both stacks are as the failing opcode found them, its operands included. `max_depth` is the most
    elements that the two held together after an opcode.
    """

    ok: bool
    error: str | None
    opcode: str | None
    offset: int | None
    steps: int
    stack: tuple[bytes, ...]
    altstack: tuple[bytes, ...]
    max_depth: int


_NO_TRANSACTION: Final = Context()


def run(script: bytes, witness: Sequence[bytes], context: Context = _NO_TRANSACTION, *, policy: bool = False) -> Result:
    """Run a leaf on its witness (stack items, first is deepest) under consensus rules.

    `policy` adds the relay rules: minimal pushes and numbers, initial items of at most 80 bytes, and no opcode or key
    type that is reserved for upgrades.
    """
    machine = _Machine(script, witness, context, policy)
    deque(machine.steps(), maxlen=0)
    return machine.result()


def trace(
    script: bytes, witness: Sequence[bytes], context: Context = _NO_TRANSACTION, *, policy: bool = False
) -> Iterator[Step]:
    """Every opcode that executes, as it executes; ends before an opcode that fails. Parameters as for `run`."""
    machine = _Machine(script, witness, context, policy)
    for instruction in machine.steps():
        yield machine.step(instruction)


def explain(
    script: bytes,
    witness: Sequence[bytes],
    context: Context = _NO_TRANSACTION,
    *,
    policy: bool = False,
    last: int = 10,
) -> str:
    """The last steps for people, a line each with byte offset, opcode and the tops of the stacks; then how it ended."""
    machine = _Machine(script, witness, context, policy)
    steps = deque((machine.step(instruction) for instruction in machine.steps()), maxlen=last)
    lines = [_line(step) for step in steps]
    result = machine.result()
    place = "" if result.offset is None else f"{result.offset:>9,} "
    return "\n".join([*lines, place + ("succeeds" if result.ok else f"fails: {result.error}")])


def _line(step: Step) -> str:
    altstack = f" | {_tops(step.altstack)}" if step.altstack else ""
    return f"{step.offset:>9,} {step.opcode:<24} {_tops(step.stack)}{altstack}"


def _tops(stack: tuple[bytes, ...], shown: int = 6) -> str:
    deeper = [f"({len(stack) - shown} more)"] if len(stack) > shown else []
    return " ".join([*deeper, *(_short(item) for item in stack[-shown:])])


def _short(item: bytes, shown: int = 8) -> str:
    if not item:
        return "<>"
    return item.hex() if len(item) <= 2 * shown else f"{item[:shown].hex()}…[{len(item)}]"


class _Machine:
    """The state of one run. A handler that fails raises ScriptError before it touches a stack."""

    def __init__(self, script: bytes, witness: Sequence[bytes], context: Context, policy: bool) -> None:
        self.script = script
        self.context = context
        self.policy = policy
        self.stack = list(witness)
        self.altstack: list[bytes] = []
        self.branches: list[bool] = []
        """For each open IF: does the branch we are in run?"""
        self.skipped = 0
        """Branches among them that do not run: a count, so that deep nesting stays linear."""
        self.position = 0
        self.code_separator = CODE_SEPARATOR_NONE
        self.budget = SIGNATURE_COST + _witness_size(script, witness, context.control_block_size)
        self.error: str | None = None
        self._at: Instruction | None = None
        self._steps = 0
        self._max_depth = len(witness)

    def steps(self) -> Iterator[Instruction]:
        """Run; yield each opcode that executed, once its effect is on the stacks. Sets `error` where it fails."""
        try:
            if not self._succeeds_unconditionally():
                self._check_witness()
                yield from self._execute()
                self._check_end()
        except ScriptError as error:
            name = f"{opcode_name(self._at.opcode).removeprefix('OP_')}: " if self._at else ""
            self.error = f"{name}{error}"

    def _execute(self) -> Iterator[Instruction]:
        stack, altstack, handlers = self.stack, self.altstack, _HANDLERS
        for position, instruction in enumerate(instructions(self.script)):
            self._at, self.position = instruction, position
            _, opcode, data = instruction
            if data is not None:
                self._check_push(opcode, data)
                if self.skipped:
                    continue
                stack.append(data)
            elif self.skipped and opcode not in _CONDITIONALS:
                continue
            else:
                handlers[opcode](self)
            depth = len(stack) + len(altstack)
            if depth > self._max_depth:
                self._max_depth = depth
                if depth > MAX_STACK_ITEMS:
                    raise ScriptError(f"{depth:,} elements on the stacks, expected at most {MAX_STACK_ITEMS:,}")
            self._steps += 1
            yield instruction
        self._at = None

    def step(self, instruction: Instruction) -> Step:
        """The state after `instruction`."""
        stack, altstack = tuple(self.stack), tuple(self.altstack)
        name = opcode_name(instruction.opcode)
        return Step(instruction.offset, name, stack, altstack, len(stack) + len(altstack))

    def result(self) -> Result:
        """How the run ended."""
        return Result(
            ok=self.error is None,
            error=self.error,
            opcode=opcode_name(self._at.opcode) if self._at else None,
            offset=self._at.offset if self._at else None,
            steps=self._steps,
            stack=tuple(self.stack),
            altstack=tuple(self.altstack),
            max_depth=self._max_depth,
        )

    def _succeeds_unconditionally(self) -> bool:
        """Is there an OP_SUCCESS? What follows it need not even parse (BIP342)."""
        for instruction in instructions(self.script):
            if instruction.opcode in OP_SUCCESS:
                if self.policy:
                    self._at = instruction
                    raise ScriptError("reserved for upgrades (policy)")
                return True
        return False

    def _check_witness(self) -> None:
        if len(self.stack) > MAX_STACK_ITEMS:
            raise ScriptError(f"witness: {len(self.stack):,} elements, expected at most {MAX_STACK_ITEMS:,}")
        limit = MAX_STANDARD_WITNESS_ITEM if self.policy else MAX_ELEMENT_SIZE
        for index, item in enumerate(self.stack):
            if len(item) > limit:
                raise ScriptError(f"witness: item {index} has {len(item)} bytes, expected at most {limit}")

    def _check_push(self, opcode: int, data: bytes) -> None:
        """The size counts in branches that do not run, too."""
        if len(data) > MAX_ELEMENT_SIZE:
            raise ScriptError(f"{len(data)} bytes, expected at most {MAX_ELEMENT_SIZE}")
        if self.policy and not self.skipped and push(data)[0] != opcode:
            raise ScriptError("not the shortest push (policy)")

    def _check_end(self) -> None:
        if self.branches:
            raise ScriptError(f"end: {len(self.branches)} IF without ENDIF")
        if len(self.stack) != 1:
            raise ScriptError(f"end: {len(self.stack)} elements on the stack, expected exactly one")
        if not _truth(self.stack[0]):
            raise ScriptError("end: the element on the stack is false")

    def need(self, count: int) -> None:
        """Raise ScriptError for a stack of fewer elements."""
        if len(self.stack) < count:
            raise ScriptError(f"{len(self.stack)} elements on the stack, expected at least {count}")

    def number(self, element: bytes, max_size: int = 4) -> int:
        """A script number; minimal where relay policy counts."""
        return _decode(element, max_size, self.policy)

    def index(self) -> int:
        """The operand of PICK and ROLL: how far below it the wanted element is, 0 for the next."""
        self.need(2)
        index, below = self.number(self.stack[-1]), len(self.stack) - 1
        if not 0 <= index < below:
            raise ScriptError(f"index {index}, expected 0 to {below - 1}")
        return index

    def check_signature(self, signature: bytes, key: bytes) -> bool:
        """False for an empty signature, True for a valid one; any other fails the script (BIP342)."""
        if signature:
            self.budget -= SIGNATURE_COST
            if self.budget < 0:
                raise ScriptError("more signatures than the witness pays for")
        if not key:
            raise ScriptError("empty key")
        if len(key) != _KEY_SIZE:
            if self.policy:
                raise ScriptError(f"key of {len(key)} bytes is reserved for upgrades (policy)")
        elif signature:
            self._verify(signature, key)
        return bool(signature)

    def _verify(self, signature: bytes, key: bytes) -> None:
        extra = len(signature) - _SIGNATURE_SIZE
        if extra not in (0, 1):
            raise ScriptError(f"signature of {len(signature)} bytes, expected {_SIGNATURE_SIZE} or one more")
        if extra and signature[-1] not in _HASH_TYPES:
            raise ScriptError(f"unknown hash type {signature[-1]:#04x}")
        if not self.context.check_signature(key, signature, self.code_separator):
            raise ScriptError("invalid signature")


def _witness_size(script: bytes, witness: Sequence[bytes], control_block_size: int) -> int:
    """Bytes of the input's serialised witness."""
    sizes = [*map(len, witness), len(script), control_block_size]
    return len(compact_size(len(sizes))) + sum(len(compact_size(size)) + size for size in sizes)


def _truth(element: bytes) -> bool:
    """False for zero in any encoding, negative zero included."""
    return any(element[:-1]) or element[-1:] not in (b"", b"\x00", b"\x80")


def _boolean(value: bool) -> bytes:
    return b"\x01" if value else b""


_encode: Final = lru_cache(maxsize=1 << 16)(encode_num)
_decode: Final = lru_cache(maxsize=1 << 16)(decode_num)


def _sha1(data: bytes) -> bytes:
    return hashlib.sha1(data, usedforsecurity=False).digest()


def _sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _if(machine: _Machine, wanted: bytes = b"\x01") -> None:
    runs = False
    if not machine.skipped:
        machine.need(1)
        condition = machine.stack[-1]
        if condition not in (b"", b"\x01"):
            raise ScriptError(f"{condition.hex()} is neither empty nor 01")
        runs = condition == wanted
        del machine.stack[-1]
    machine.branches.append(runs)
    machine.skipped += not runs


def _notif(machine: _Machine) -> None:
    _if(machine, b"")


def _else(machine: _Machine) -> None:
    if not machine.branches:
        raise ScriptError("no IF is open")
    machine.skipped += 1 if machine.branches[-1] else -1
    machine.branches[-1] = not machine.branches[-1]


def _endif(machine: _Machine) -> None:
    if not machine.branches:
        raise ScriptError("no IF is open")
    machine.skipped -= not machine.branches.pop()


def _verify(machine: _Machine) -> None:
    machine.need(1)
    if not _truth(machine.stack[-1]):
        raise ScriptError("the element is false")
    del machine.stack[-1]


def _equalverify(machine: _Machine) -> None:
    machine.need(2)
    if machine.stack[-1] != machine.stack[-2]:
        raise ScriptError("elements differ")
    del machine.stack[-2:]


def _numequalverify(machine: _Machine) -> None:
    machine.need(2)
    left, right = map(machine.number, machine.stack[-2:])
    if left != right:
        raise ScriptError(f"{left} is not {right}")
    del machine.stack[-2:]


def _return(machine: _Machine) -> None:
    raise ScriptError("the script ends in failure")


def _reserved(machine: _Machine) -> None:
    raise ScriptError("not an opcode")


def _checkmultisig(machine: _Machine) -> None:
    raise ScriptError("disabled in tapscript")


def _toaltstack(machine: _Machine) -> None:
    machine.need(1)
    machine.altstack.append(machine.stack.pop())


def _fromaltstack(machine: _Machine) -> None:
    if not machine.altstack:
        raise ScriptError("the altstack is empty")
    machine.stack.append(machine.altstack.pop())


def _depth(machine: _Machine) -> None:
    machine.stack.append(_encode(len(machine.stack)))


def _pick(machine: _Machine) -> None:
    machine.stack[-1] = machine.stack[-2 - machine.index()]


def _roll(machine: _Machine) -> None:
    index = machine.index()
    del machine.stack[-1]
    machine.stack.append(machine.stack.pop(-1 - index))


def _codeseparator(machine: _Machine) -> None:
    machine.code_separator = machine.position


def _checksig(machine: _Machine) -> None:
    machine.need(2)
    machine.stack[-2:] = [_boolean(machine.check_signature(*machine.stack[-2:]))]


def _checksigverify(machine: _Machine) -> None:
    machine.need(2)
    if not machine.check_signature(*machine.stack[-2:]):
        raise ScriptError("empty signature")
    del machine.stack[-2:]


def _checksigadd(machine: _Machine) -> None:
    machine.need(3)
    signature, count, key = machine.stack[-3:]
    total = machine.number(count) + machine.check_signature(signature, key)
    machine.stack[-3:] = [_encode(total)]


def _checklocktimeverify(machine: _Machine) -> None:
    wanted, actual = _lock_operand(machine), machine.context.lock_time
    if (wanted < _LOCK_TIME_THRESHOLD) != (actual < _LOCK_TIME_THRESHOLD):
        raise ScriptError(f"{wanted:,} and the lock time {actual:,} are not both heights or both times")
    if wanted > actual:
        raise ScriptError(f"{wanted:,} is above the lock time {actual:,}")
    if machine.context.sequence == _SEQUENCE_FINAL:
        raise ScriptError("the input's sequence turns the lock time off")


def _checksequenceverify(machine: _Machine) -> None:
    wanted, actual = _lock_operand(machine), machine.context.sequence
    if wanted & _SEQUENCE_DISABLE:
        return
    if machine.context.version < 2:
        raise ScriptError(f"transaction version {machine.context.version}, expected at least 2")
    if actual & _SEQUENCE_DISABLE:
        raise ScriptError(f"the sequence {actual:#x} turns relative locks off")
    if (wanted ^ actual) & _SEQUENCE_TIME:
        raise ScriptError(f"{wanted:#x} and the sequence {actual:#x} are not both blocks or both times")
    if wanted & _SEQUENCE_MASK > actual & _SEQUENCE_MASK:
        raise ScriptError(f"{wanted & _SEQUENCE_MASK:,} is above the sequence {actual & _SEQUENCE_MASK:,}")


def _lock_operand(machine: _Machine) -> int:
    machine.need(1)
    wanted = machine.number(machine.stack[-1], _LOCK_TIME_SIZE)
    if wanted < 0:
        raise ScriptError(f"{wanted:,} is negative")
    return wanted


def _nop(machine: _Machine) -> None:
    pass


def _upgradable_nop(machine: _Machine) -> None:
    if machine.policy:
        raise ScriptError("reserved for upgrades (policy)")


_Handler: TypeAlias = Callable[[_Machine], None]

_OWN: Final[dict[bytes, _Handler]] = {
    op.OP_NOP: _nop,
    op.OP_IF: _if,
    op.OP_NOTIF: _notif,
    op.OP_VERIF: _reserved,
    op.OP_VERNOTIF: _reserved,
    op.OP_ELSE: _else,
    op.OP_ENDIF: _endif,
    op.OP_VERIFY: _verify,
    op.OP_RETURN: _return,
    op.OP_TOALTSTACK: _toaltstack,
    op.OP_FROMALTSTACK: _fromaltstack,
    op.OP_DEPTH: _depth,
    op.OP_PICK: _pick,
    op.OP_ROLL: _roll,
    op.OP_EQUALVERIFY: _equalverify,
    op.OP_NUMEQUALVERIFY: _numequalverify,
    op.OP_CODESEPARATOR: _codeseparator,
    op.OP_CHECKSIG: _checksig,
    op.OP_CHECKSIGVERIFY: _checksigverify,
    op.OP_CHECKSIGADD: _checksigadd,
    op.OP_CHECKMULTISIG: _checkmultisig,
    op.OP_CHECKMULTISIGVERIFY: _checkmultisig,
    op.OP_CHECKLOCKTIMEVERIFY: _checklocktimeverify,
    op.OP_CHECKSEQUENCEVERIFY: _checksequenceverify,
    op.OP_INVALIDOPCODE: _reserved,
}
"""Opcodes that need more than their operands."""

_ELEMENTS: Final[dict[bytes, tuple[int, Callable[..., tuple[bytes, ...]]]]] = {
    op.OP_2DROP: (2, lambda a, b: ()),
    op.OP_2DUP: (2, lambda a, b: (a, b, a, b)),
    op.OP_3DUP: (3, lambda a, b, c: (a, b, c, a, b, c)),
    op.OP_2OVER: (4, lambda a, b, c, d: (a, b, c, d, a, b)),
    op.OP_2ROT: (6, lambda a, b, c, d, e, f: (c, d, e, f, a, b)),
    op.OP_2SWAP: (4, lambda a, b, c, d: (c, d, a, b)),
    op.OP_IFDUP: (1, lambda a: (a, a) if _truth(a) else (a,)),
    op.OP_DROP: (1, lambda a: ()),
    op.OP_DUP: (1, lambda a: (a, a)),
    op.OP_NIP: (2, lambda a, b: (b,)),
    op.OP_OVER: (2, lambda a, b: (a, b, a)),
    op.OP_ROT: (3, lambda a, b, c: (b, c, a)),
    op.OP_SWAP: (2, lambda a, b: (b, a)),
    op.OP_TUCK: (2, lambda a, b: (b, a, b)),
    op.OP_SIZE: (1, lambda a: (a, _encode(len(a)))),
    op.OP_EQUAL: (2, lambda a, b: (_boolean(a == b),)),
    op.OP_RIPEMD160: (1, lambda a: (ripemd160(a),)),
    op.OP_SHA1: (1, lambda a: (_sha1(a),)),
    op.OP_SHA256: (1, lambda a: (_sha256(a),)),
    op.OP_HASH160: (1, lambda a: (hash160(a),)),
    op.OP_HASH256: (1, lambda a: (_sha256(_sha256(a)),)),
}
"""Opcode → how many elements it takes from the stack, deepest first, and what it leaves in their place."""

_NUMBERS: Final[dict[bytes, tuple[int, Callable[..., int]]]] = {
    op.OP_1ADD: (1, lambda a: a + 1),
    op.OP_1SUB: (1, lambda a: a - 1),
    op.OP_NEGATE: (1, lambda a: -a),
    op.OP_ABS: (1, abs),
    op.OP_NOT: (1, lambda a: a == 0),
    op.OP_0NOTEQUAL: (1, lambda a: a != 0),
    op.OP_ADD: (2, lambda a, b: a + b),
    op.OP_SUB: (2, lambda a, b: a - b),
    op.OP_BOOLAND: (2, lambda a, b: a != 0 and b != 0),
    op.OP_BOOLOR: (2, lambda a, b: a != 0 or b != 0),
    op.OP_NUMEQUAL: (2, lambda a, b: a == b),
    op.OP_NUMNOTEQUAL: (2, lambda a, b: a != b),
    op.OP_LESSTHAN: (2, lambda a, b: a < b),
    op.OP_GREATERTHAN: (2, lambda a, b: a > b),
    op.OP_LESSTHANOREQUAL: (2, lambda a, b: a <= b),
    op.OP_GREATERTHANOREQUAL: (2, lambda a, b: a >= b),
    op.OP_MIN: (2, min),
    op.OP_MAX: (2, max),
    op.OP_WITHIN: (3, lambda x, low, high: low <= x < high),
}
"""Opcode → how many numbers it takes from the stack, deepest first, and the one that it leaves."""


def _constant(element: bytes) -> _Handler:
    return lambda machine: machine.stack.append(element)


def _on_elements(count: int, function: Callable[..., tuple[bytes, ...]]) -> _Handler:
    def handler(machine: _Machine) -> None:
        stack = machine.stack
        machine.need(count)
        stack[-count:] = function(*stack[-count:])

    return handler


def _on_numbers(count: int, function: Callable[..., int]) -> _Handler:
    def handler(machine: _Machine) -> None:
        stack = machine.stack
        machine.need(count)
        stack[-count:] = (_encode(function(*map(machine.number, stack[-count:]))),)

    return handler


def _handlers() -> list[_Handler]:
    """A handler for each opcode that is no push; OP_SUCCESS never gets as far as being executed."""
    table = _OWN | {op.OP_1NEGATE: _constant(encode_num(-1))}
    table |= {bytes([0xB0 + n - 1]): _upgradable_nop for n in (1, *range(4, 11))}
    table |= {bytes([op.OP_1[0] - 1 + n]): _constant(encode_num(n)) for n in range(1, 17)}
    table |= {opcode: _on_elements(*entry) for opcode, entry in _ELEMENTS.items()}
    table |= {opcode: _on_numbers(*entry) for opcode, entry in _NUMBERS.items()}
    return [table.get(bytes([opcode]), _reserved) for opcode in range(256)]


_HANDLERS: Final = _handlers()
_CONDITIONALS: Final = range(op.OP_IF[0], op.OP_ENDIF[0] + 1)
"""Opcodes that count in branches that do not run; VERIF and VERNOTIF, which always fail, are among them."""
