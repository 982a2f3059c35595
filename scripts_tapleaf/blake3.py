"""BLAKE3 in tapscript: the digest of a message given as limbs, by table look-ups on 4-bit digits.

Every nibble x is kept on the stack as 4x plus a constant of its kind, and every table look-up uses the number on top
of the stack itself as the depth to PICK from. Three facts make that work with no arithmetic on addresses:

* the tables lie below the state, and each step of the compression leaves the stack as high as it found it, so a table
  entry is always equally deep at the same point of a step;
* a stack that is one item higher reads the entry one place further up, so the answers to several questions about one
  number lie side by side (this is why nibbles are scaled by 4);
* the constant of a kind is chosen so that a sum of nibbles *is* such a depth.

For a sum s = 4·(a + b + m + carry) + K the addition table has three answers: the digit a' as an addend, the digit as a
row of the XOR table, and the carry. The row plus the other operand of the XOR is again a depth. Rotations by 16, 12 and
8 rename nibbles; the rotation by 7 is a rotation by 8 and a doubling, whose low and high part come from one more table.

Soundness: message digits come from limbs that are range-checked, tables hold only what is written here, and every sum
stays inside its table (15 + 15 + 15 + 2 = 47), so no look-up can leave the tables whatever the witness holds.

Source: the BLAKE3 specification (BLAKE3-team/BLAKE3-specs), one chunk, so at most 1,024 bytes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate, pairwise
from typing import Final

import blake3

from scripts_tapleaf.script import (
    MAX_STACK_ITEMS,
    OP_0,
    OP_1ADD,
    OP_1SUB,
    OP_2,
    OP_2DROP,
    OP_2DUP,
    OP_ABS,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_FROMALTSTACK,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_MIN,
    OP_NUMEQUALVERIFY,
    OP_OVER,
    OP_PICK,
    OP_ROLL,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_VERIFY,
    OP_WITHIN,
    ScriptError,
    encode_num,
    num,
)

MAX_LENGTH: Final = 1_024
"""bytes: one BLAKE3 chunk."""
BLOCK_SIZE: Final = 64
LIMB_BITS: Final = 29
MAX_HINTED_WIDTH: Final = 29
"""bits: a limb times 4 must still be an operand."""
IV: Final = (
    0x6A09E667,
    0xBB67AE85,
    0x3C6EF372,
    0xA54FF53A,
    0x510E527F,
    0x9B05688C,
    0x1F83D9AB,
    0x5BE0CD19,
)
PERMUTATION: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
COLUMNS: Final = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15))
DIAGONALS: Final = ((0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))
ROUNDS: Final = 7
CHUNK_START, CHUNK_END, ROOT = 1, 2, 8
NIBBLES: Final = 8
"""4-bit digits of a word, least significant first."""
STATE: Final = 16 * NIBBLES
MESSAGE: Final = 16 * NIBBLES
TABLES_AND_WORK: Final = 4 * 48 + 256 + 64 + STATE + MESSAGE + 8
"""Items beside the limbs when every table is there."""
FIRST_LONG_POWER: Final = 5
"""2^5 is the first power of two whose push has two bytes."""
FIRST_STORED_POWER: Final = 15
"""2^15 is the first one whose push costs more than a PICK from a shallow place."""


def digest(message: bytes, size: int = 20) -> bytes:
    """BLAKE3 truncated to `size` bytes: the native side."""
    return bytes(blake3.blake3(message).digest(size))


def limb_widths(bits: int, width: int = LIMB_BITS) -> tuple[int, ...]:
    """Widths of the limbs, least significant first, that `bits` bits are cut into."""
    return tuple(min(width, bits - start) for start in range(0, bits, width))


def to_limbs(message: bytes, widths: Sequence[int]) -> list[int]:
    """The message as a little-endian integer, cut into limbs, least significant first."""
    value = int.from_bytes(message, "little")
    return [value >> start & (1 << width) - 1 for start, width in zip(_starts(widths), widths, strict=True)]


@dataclass(frozen=True)
class Blake3Script:
    """A script, the most items it ever has on both stacks (its input included), and how many hints it consumes."""

    script: bytes
    max_stack: int
    hint_count: int


@cache
def blake3_script(
    length: int, widths: tuple[int, ...] | None = None, digest_bits: int = 160, reserved: int = 0
) -> Blake3Script:
    """Replace the limbs of a message of `length` bytes by the limbs of its digest.

    On entry limb 0 is on top, hints (`hint_items`) are below the limbs; on exit limb 0 of the digest is on top, in
    limbs of 29 bits. `widths` defaults to limbs of 29 bits. A message of one block takes hints: its digits, each
    clamped and checked against the limbs; a longer one is cut by comparisons, since its hints would not fit.
    `reserved` counts the items that others keep on both stacks.

    Raises ScriptError for a length outside 1 to 1,024, widths that do not add up or are not 1 to 30 bits, a digest
    that is no multiple of 32 bits up to 256, or a stack that would pass 1,000 items. The script fails for a limb out
    of its range, and no other limbs or hints give the digest of another message.
    """
    chosen = limb_widths(8 * length) if widths is None else widths
    if not 1 <= length <= MAX_LENGTH:
        raise ScriptError(f"blake3_script: length {length}, expected 1 to {MAX_LENGTH:,} bytes")
    if sum(chosen) != 8 * length or not all(1 <= width <= 30 for width in chosen):
        raise ScriptError(f"blake3_script: limb widths {chosen}, expected 1 to 30 bits each, {8 * length} together")
    if digest_bits % 32 or not 32 <= digest_bits <= 256:
        raise ScriptError(f"blake3_script: digest of {digest_bits} bits, expected a multiple of 32 up to 256")
    machine = _Compiler(length, chosen, digest_bits)
    result = machine.compile()
    if result.max_stack + reserved > MAX_STACK_ITEMS:
        used = f"{result.max_stack} items and {reserved} reserved"
        raise ScriptError(f"blake3_script: {used}, expected at most {MAX_STACK_ITEMS:,}")
    return result


def hint_items(message: bytes, widths: tuple[int, ...] | None = None) -> list[bytes]:
    """The hints of `blake3_script` for a message, deepest first; none for a message of several blocks."""
    chosen = limb_widths(8 * len(message)) if widths is None else widths
    value = int.from_bytes(message, "little")
    hints = [encode_num(value >> piece.start & (1 << piece.width) - 1) for piece in _hinted_pieces(chosen)]
    return hints[::-1]


@dataclass(frozen=True)
class _Piece:
    """A run of bits that lies within one nibble and one limb; `start` is its position in the message."""

    limb: int
    start: int
    width: int

    @property
    def nibble(self) -> int:
        return self.start // 4


def _starts(widths: Sequence[int]) -> list[int]:
    return list(accumulate(widths, initial=0))[:-1]


def _pieces(limb: int, start: int, width: int) -> list[_Piece]:
    """The pieces of a limb, most significant first."""
    cuts = sorted({start, start + width, *range(-(-start // 4) * 4, start + width, 4)})
    return [_Piece(limb, low, high - low) for low, high in pairwise(cuts)][::-1]


def _hinted_pieces(widths: Sequence[int]) -> list[_Piece]:
    """The pieces that are given as hints, in the order in which the script consumes them; none for several blocks."""
    if sum(widths) > 8 * BLOCK_SIZE or max(widths) > MAX_HINTED_WIDTH:
        return []
    starts = _starts(widths)
    return [piece for limb, width in enumerate(widths) for piece in _pieces(limb, starts[limb], width)]


class _Stack:
    """A script being written, beside the names of what its stacks hold at that point."""

    def __init__(self, items: list[str]) -> None:
        self.items = items
        self.alt: list[str] = []
        self.parts: list[bytes] = []
        self.most = len(items)

    def emit(self, *opcodes: bytes, extra: int = 0) -> None:
        """Opcodes that leave the names as they are; `extra` items are needed on the way."""
        self.parts += opcodes
        self.most = max(self.most, len(self.items) + len(self.alt) + extra)

    def push(self, name: str, data: bytes) -> None:
        self.items.append(name)
        self.emit(data)

    def depth(self, name: str) -> int:
        return self.items[::-1].index(name)

    def pick(self, name: str, new: str) -> None:
        """Copy an item to the top."""
        depth = self.depth(name)
        self.items.append(new)
        self.emit({0: OP_DUP, 1: OP_OVER}.get(depth) or num(depth) + OP_PICK)

    def roll(self, name: str, new: str) -> None:
        """Move an item to the top."""
        depth = self.depth(name)
        del self.items[len(self.items) - 1 - depth]
        self.items.append(new)
        moves = (b"", OP_SWAP, OP_ROT)
        self.emit(moves[depth] if depth < len(moves) else num(depth) + OP_ROLL, extra=1)

    def replace(self, count: int, *names: str) -> None:
        """Rename the top: `count` items are gone, `names` are there instead."""
        del self.items[len(self.items) - count :]
        self.items += names

    def to_alt(self, name: str) -> None:
        self.items.pop()
        self.alt.append(name)
        self.emit(OP_TOALTSTACK)

    def from_alt(self) -> str:
        name = self.alt.pop()
        self.push(name, OP_FROMALTSTACK)
        return name

    def drop(self, count: int) -> None:
        del self.items[len(self.items) - count :]
        self.emit(OP_2DROP * (count // 2), OP_DROP * (count % 2))


class _Tables:
    """What the tables hold, and the constants that make nibbles depths.

    Places are counted from the deepest entry; `height` is the number of items from there up at the start of a step.
    With a sum s on top the stack is `height` high, and DUP PICK reads place `height − 1 − s`. OVER PICK with one more
    item above s reads the place after it; PICK of s + 1 reads the one before it. So every sum has four places side by
    side: its carry, its digit as an addend, its digit as a row of the XOR table, and the plain digit.
    """

    SUMS: Final = 48
    """0 to 15 + 15 + 15 + 2."""

    def __init__(self, above: int, own_rotation: bool) -> None:
        """`above` items lie between the tables and the top; `own_rotation` spends 64 places on shorter rotations."""
        self.own_rotation = own_rotation
        self.size = 4 * self.SUMS + 256 + 64 * own_rotation
        self.height = self.size + above
        self.sum_bias = self.height - 2 - 4 * (self.SUMS - 1)
        self.xor_bias = self.height - self.size + 4 if own_rotation else self.sum_bias // 2
        self.add_bias = self.sum_bias - self.xor_bias
        self.row_bias = self.height - 256 - 4 * self.SUMS - self.xor_bias

    def values(self) -> list[int]:
        """Every entry, deepest first."""
        sums = []
        for total in reversed(range(self.SUMS)):
            carry, digit = divmod(total, 16)
            sums += [4 * carry, 4 * digit + self.add_bias, self.row(digit) + self.row_bias, digit]
        xors = [0] * 256
        for left in range(16):
            for right in range(16):
                xors[255 - self.row(left) - 4 * right] = 4 * (left ^ right) + self.xor_bias
        rotations = []
        for digit in reversed(range(16 * self.own_rotation)):
            high, low = divmod(2 * digit, 16)
            rotations += [4 * low + self.xor_bias, 4 * high, 0, 0]
        return sums + xors + rotations

    @staticmethod
    def row(left: int) -> int:
        """Row + 4·right is different for every pair, and below 256."""
        return left % 4 + 64 * (left // 4)

    def bias(self, word: int) -> int:
        """The constant of a state word's nibbles: words a and c of a step come from sums, b and d from XORs."""
        return self.xor_bias if word // 4 % 2 else self.add_bias


class _Compiler:
    """Writes the script: unpack a block, compress it, and so on; then pack the digest."""

    def __init__(self, length: int, widths: tuple[int, ...], digest_bits: int) -> None:
        self.length = length
        self.widths = widths
        self.words = digest_bits // 32
        self.hinted = _hinted_pieces(widths)
        limbs = [f"limb {index}" for index in reversed(range(len(widths)))]
        hints = [f"hint {piece.start}" for piece in reversed(self.hinted)]
        self.stack = _Stack(hints + limbs)
        self.blocks = -(-length // BLOCK_SIZE)
        # One block lies below the tables for good; with several, each lies above them while it is compressed.
        single = self.blocks == 1
        self.tables = _Tables(above=STATE if single else STATE + MESSAGE, own_rotation=self._room_for_rotation())

    def _room_for_rotation(self) -> bool:
        return len(self.widths) + TABLES_AND_WORK <= MAX_STACK_ITEMS

    def compile(self) -> Blake3Script:
        stack = self.stack
        if self.blocks > 1:
            self._push_tables()
        for block in range(self.blocks):
            last = block == self.blocks - 1
            self._unpack(block)
            if self.blocks == 1:
                self._push_tables()
            self._push_state(block)
            self._compress(self.words if last else NIBBLES)
            self._feed_forward(self.words if last else NIBBLES, last)
        self._pack()
        return Blake3Script(b"".join(stack.parts), stack.most, len(self.hinted))

    def _push_tables(self) -> None:
        for value in self.tables.values():
            self.stack.push("table", num(value))

    # Unpacking: the limbs become pieces on the altstack, the pieces nibbles.

    def _unpack(self, block: int) -> None:
        starts = _starts(self.widths)
        begin, end = 8 * BLOCK_SIZE * block, 8 * min(BLOCK_SIZE * (block + 1), self.length)
        limbs = [limb for limb, start in enumerate(starts) if begin <= start < end]
        if self.hinted:
            for limb in limbs:
                self._check_hints(limb, _pieces(limb, starts[limb], self.widths[limb]))
        else:
            self._cut_limbs(limbs, starts)
        self._collect(begin, end)

    def _check_hints(self, limb: int, pieces: list[_Piece]) -> None:
        """Clamp each hint to its range; four times the limb must be what four times the hints add up to."""
        stack = self.stack
        for number, piece in enumerate(pieces):
            stack.roll(f"hint {piece.start}", "piece")
            stack.emit(OP_ABS, num((1 << piece.width) - 1), OP_MIN, OP_DUP + OP_ADD, OP_DUP + OP_ADD, extra=1)
            if number == 0:
                stack.emit(OP_DUP, _double(piece.start % 4), OP_TOALTSTACK, extra=1)
                stack.alt.append(_name(piece))
                continue
            stack.emit(OP_DUP, _double(piece.start % 4), OP_TOALTSTACK, extra=1)
            stack.alt.append(_name(piece))
            stack.emit(OP_SWAP, _double(piece.width), OP_ADD, extra=1)
            stack.replace(2, "sum")
        stack.roll(f"limb {limb}", "limb")
        stack.emit(_double(2), OP_NUMEQUALVERIFY, extra=1)
        stack.replace(2)

    def _cut_limbs(self, limbs: list[int], starts: list[int]) -> None:
        """Compare and subtract the powers of two from the top; the rest of a limb in range is its lowest bit."""
        stack = self.stack
        powers = range(FIRST_STORED_POWER, max((self.widths[limb] for limb in limbs), default=0))
        for power in reversed(powers):
            stack.push(f"power {power}", num(1 << power))
        for limb in limbs:
            stack.roll(f"limb {limb}", "limb")
            for piece in _pieces(limb, starts[limb], self.widths[limb]):
                stack.emit(OP_0, OP_TOALTSTACK, extra=1)
                stack.alt.append(_name(piece))
                for bit in reversed(range(piece.start, piece.start + piece.width)):
                    self._cut_bit(bit - starts[limb], 4 << bit % 4)
        for power in powers:
            stack.items.remove(f"power {power}")
        stack.emit(OP_2DROP * (len(powers) // 2), OP_DROP * (len(powers) % 2))

    def _cut_bit(self, power: int, weight: int) -> None:
        """Move one bit of the limb on top, times `weight`, to the piece on the altstack."""
        add = OP_FROMALTSTACK + num(weight) + OP_ADD + OP_TOALTSTACK
        if power == 0:
            doublings = _double(weight.bit_length() - 1)
            self.stack.emit(OP_DUP, OP_0, OP_2, OP_WITHIN, OP_VERIFY, doublings, extra=2)
            self.stack.emit(OP_FROMALTSTACK, OP_ADD, OP_TOALTSTACK)
            self.stack.replace(1)
        elif power < FIRST_LONG_POWER:
            constant = num(1 << power)
            self.stack.emit(OP_DUP, constant, OP_GREATERTHANOREQUAL, OP_IF, constant, OP_SUB, add, OP_ENDIF, extra=2)
        else:
            stored = power >= FIRST_STORED_POWER
            constant = num(self.stack.depth(f"power {power}")) + OP_PICK if stored else num(1 << power)
            self.stack.emit(
                constant, OP_2DUP, OP_GREATERTHANOREQUAL, OP_IF, OP_SUB, add, OP_ELSE, OP_DROP, OP_ENDIF, extra=3
            )

    def _collect(self, begin: int, end: int) -> None:
        """Pieces from the altstack to nibbles on the stack; pieces of the next block go back."""
        stack = self.stack
        names = []
        while stack.alt:
            names.append(stack.from_alt())
        for name in sorted(names, key=_position):
            start = _position(name)
            if start >= end:
                stack.roll(name, name)
                stack.to_alt(name)
                continue
            nibble = _nibble(start - begin)
            if start % 4:
                stack.roll(nibble, nibble)
                stack.roll(name, name)
                stack.emit(OP_ADD)
                stack.replace(2, nibble)
            else:
                stack.items[len(stack.items) - 1 - stack.depth(name)] = nibble
        if self.blocks > 1:
            for _ in range(MESSAGE - (end - begin) // 4):
                stack.push("padding", OP_0)

    # Compression: the state is 16 words of 8 nibbles, each with the constant of its kind.

    def _push_state(self, block: int) -> None:
        flags = CHUNK_START * (block == 0) | (CHUNK_END | ROOT) * (block == self.blocks - 1)
        size = min(BLOCK_SIZE, self.length - block * BLOCK_SIZE)
        words = [*IV, *IV[:4], 0, 0, size, flags]
        for word in range(0 if block == 0 else 8, 16):
            for nibble in range(NIBBLES):
                digit = words[word] >> 4 * nibble & 15
                self.stack.push(_state(word, nibble), num(4 * digit + self.tables.bias(word)))

    def _compress(self, words: int) -> None:
        """Seven rounds of eight steps; the last words b that no output needs are left out."""
        order = list(range(16))
        for number in range(ROUNDS):
            for step, (a, b, c, d) in enumerate(COLUMNS + DIAGONALS):
                needed = number < ROUNDS - 1 or step < 4 or b < words
                self._add_xor(a, b, order[2 * step], d, 16)
                self._add_xor(c, d, None, b, 12)
                self._add_xor(a, b, order[2 * step + 1], d, 8)
                self._add_xor(c, d, None, b, 7 if needed else None)
            order = [order[place] for place in PERMUTATION]

    def _add_xor(self, a: int, b: int, message: int | None, d: int, rotation: int | None) -> None:
        """a += b (+ message word); d = (d ^ a) >>> rotation, or only the sum where `rotation` is None."""
        shift = 2 if rotation == 7 else (rotation or 0) // 4
        for nibble in range(NIBBLES):
            last = nibble == NIBBLES - 1
            self._sum(a, b, message, nibble)
            if rotation is None:
                self._split_sum(a, nibble, last)
                continue
            self._xor(a, d, nibble, last)
            if rotation == 7:
                self._rotate(nibble, last)
            self.stack.replace(1, f"new {(nibble - shift) % NIBBLES}")
            if not last:
                self.stack.emit(OP_ROT, OP_1ADD, OP_PICK)
                self.stack.replace(3, *self.stack.items[-2:], "carry")
        if rotation == 7:
            first = f"new {-shift % NIBBLES}"
            self.stack.roll(first, first)
            self.stack.alt.pop()
            self.stack.emit(OP_FROMALTSTACK, OP_ADD, extra=1)
        if rotation is not None:
            for nibble in range(NIBBLES):
                self.stack.items[len(self.stack.items) - 1 - self.stack.depth(f"new {nibble}")] = _state(d, nibble)

    def _sum(self, a: int, b: int, message: int | None, nibble: int) -> None:
        """The sum of a's, b's and the message's nibble and the carry, on top."""
        stack = self.stack
        stack.roll(_state(a, nibble), "sum")
        if nibble:
            stack.emit(OP_ADD)
            stack.replace(2, "sum")
        stack.pick(_state(b, nibble), "addend")
        stack.emit(OP_ADD)
        stack.replace(2, "sum")
        if message is not None and _nibble(32 * message + 4 * nibble) in stack.items:
            stack.pick(_nibble(32 * message + 4 * nibble), "addend")
            stack.emit(OP_ADD)
            stack.replace(2, "sum")

    def _split_sum(self, a: int, nibble: int, last: bool) -> None:
        """The digit of the sum, and the carry above it unless it is the last."""
        if last:
            self.stack.emit(OP_1SUB, OP_PICK)
            self.stack.replace(1, _state(a, nibble))
        else:
            self.stack.emit(OP_DUP + OP_PICK, OP_SWAP, OP_1ADD, OP_PICK, extra=1)
            self.stack.replace(1, _state(a, nibble), "carry")

    def _xor(self, a: int, d: int, nibble: int, last: bool) -> None:
        """Above the sum (gone if it is the last): its digit, and the XOR of its digit with d's nibble."""
        stack = self.stack
        lower = OP_1SUB if last else b""
        stack.emit(OP_DUP + OP_PICK, OP_SWAP + OP_1SUB + OP_PICK if last else OP_OVER + OP_PICK, extra=2)
        stack.replace(1, *(() if last else ("sum",)), _state(a, nibble), "row")
        stack.roll(_state(d, nibble), "right")
        stack.emit(OP_ADD, lower, OP_PICK)
        stack.replace(2, "xor")

    def _rotate(self, nibble: int, last: bool) -> None:
        """Double the digit on top modulo 16, add the high bit of the one before, leave its own on the altstack."""
        stack = self.stack
        before = OP_FROMALTSTACK + OP_ADD if nibble else b""
        if not nibble:
            stack.alt.append("high")
        if self.tables.own_rotation:
            stack.emit(
                OP_1SUB if last else b"", OP_DUP, OP_PICK, before, OP_SWAP, OP_1SUB, OP_PICK, OP_TOALTSTACK, extra=2
            )
        else:
            stack.emit(OP_DUP, OP_ADD, b"" if last else OP_1ADD, OP_DUP, OP_PICK, before, extra=2)
            stack.emit(OP_SWAP, OP_1ADD, OP_PICK, OP_TOALTSTACK)

    def _feed_forward(self, words: int, last: bool) -> None:
        """XOR of the state's halves: the plain digits of the digest on the altstack, or the next state's first half."""
        stack, tables = self.stack, self.tables
        for word in range(words):
            for nibble in range(NIBBLES):
                stack.roll(_state(word, nibble), "left")
                self._look_up(tables.sum_bias - tables.bias(word) - 1)
                stack.roll(_state(word + 8, nibble), "right")
                stack.emit(OP_ADD)
                stack.replace(2, "depth")
                self._look_up(tables.xor_bias - tables.bias(word + 8))
                if last:
                    self._look_up(tables.sum_bias - tables.xor_bias - 2)
                elif change := tables.bias(word) - tables.xor_bias:
                    stack.emit(num(change), OP_ADD, extra=1)
                stack.to_alt(_state(word, nibble))
        limbs_left = sum(item.startswith("limb") for item in stack.items)
        if last:
            stack.drop(len(stack.items))
            return
        stack.drop(len(stack.items) - limbs_left - tables.size)
        for _ in range(words * NIBBLES):
            stack.from_alt()

    def _look_up(self, offset: int) -> None:
        """Replace the number on top by the table entry that it would be the depth of, `offset` higher, at a step."""
        limbs_left = sum(item.startswith("limb") for item in self.stack.items)
        below = limbs_left + (0 if self.blocks > 1 else sum(item.startswith("nibble") for item in self.stack.items))
        offset += len(self.stack.items) - 1 - below - self.tables.height
        self.stack.emit(num(offset) + OP_ADD if offset else b"", OP_PICK, extra=1)

    # Packing: the digest's nibbles, most significant first, become limbs.

    def _pack(self) -> None:
        stack = self.stack
        widths = limb_widths(32 * self.words)
        edges = set(_starts(widths))
        fresh = True
        for position in reversed(range(0, 32 * self.words, 4)):
            stack.from_alt()
            cut = next((edge - position for edge in edges if position < edge < position + 4), 0)
            if fresh:
                fresh = False
            elif not cut:
                stack.emit(OP_SWAP, _double(4), OP_ADD, extra=1)
                stack.replace(2, "limb")
            else:
                self._pack_cut(cut)
            fresh = fresh or position in edges

    def _pack_cut(self, low_bits: int) -> None:
        """The digit on top ends the limb below it with its high bits, and begins the next with its low ones."""
        high = range(low_bits, 4)
        for bit in reversed(high):
            constant = num(1 << bit)
            flag = num(1 << bit - low_bits)
            self.stack.emit(OP_DUP, constant, OP_GREATERTHANOREQUAL, OP_IF, constant, OP_SUB, flag, extra=2)
            self.stack.emit(OP_ELSE, OP_0, OP_ENDIF, OP_SWAP)
        self.stack.emit(OP_TOALTSTACK, OP_ADD * (len(high) - 1), OP_SWAP, _double(len(high)), OP_ADD, extra=3)
        self.stack.emit(OP_FROMALTSTACK)
        self.stack.replace(2, "limb", "limb")


def _double(times: int) -> bytes:
    return (OP_DUP + OP_ADD) * times


def _name(piece: _Piece) -> str:
    return f"piece {piece.start}"


def _position(name: str) -> int:
    return int(name.split()[1])


def _nibble(position: int) -> str:
    """The message nibble whose lowest bit has this position in its block."""
    return f"nibble {position // 4}"


def _state(word: int, nibble: int) -> str:
    return f"state {word} {nibble}"
