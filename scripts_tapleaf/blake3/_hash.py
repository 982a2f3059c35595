"""The whole script: unpack a block, compress it, chain, and pack the digest into limbs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from blake3 import blake3

from scripts_tapleaf.blake3._depth import most_items
from scripts_tapleaf.blake3._message import BLOCK_BITS, NIBBLE_BITS, Limbs, Message, Segment
from scripts_tapleaf.blake3._rounds import Form, MessageNibble, Rounds, Word
from scripts_tapleaf.blake3._stack import Item, Stack
from scripts_tapleaf.blake3._tables import COMPACT, ROUND_ITEMS, VALUE, WIDE, Layout
from scripts_tapleaf.blake3._unpack import unpack
from scripts_tapleaf.script import (
    DOUBLE,
    MAX_STACK_ITEMS,
    OP_2DUP,
    OP_ADD,
    OP_DROP,
    OP_ELSE,
    OP_ENDIF,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    ScriptError,
    num,
)

LIMB_BITS: Final = 29
DIGEST_BITS: Final = 160
MAX_DIGEST_BITS: Final = 256
BLOCK_BYTES: Final = BLOCK_BITS // 8
BLOCK_NIBBLES: Final = BLOCK_BITS // NIBBLE_BITS
WORD_NIBBLES: Final = 8
CHAIN_WORDS: Final = 8
STATE_NIBBLES: Final = 16 * WORD_NIBBLES
CHUNK_START: Final = 1
CHUNK_END: Final = 2
ROOT: Final = 8


@dataclass(frozen=True)
class Blake3Script:
    """A hash script, and the most items that it has on both stacks, its input included."""

    script: bytes
    max_stack: int


def digest(message: bytes, size: int = DIGEST_BITS // 8) -> bytes:
    """BLAKE3 of `message`, the first `size` bytes: the native side."""
    return bytes(blake3(message).digest(size))


def limb_widths(bits: int, width: int = LIMB_BITS) -> tuple[int, ...]:
    """Widths of the limbs, the least significant first, that `bits` bits are cut into."""
    return tuple(min(width, bits - start) for start in range(0, bits, width))


def to_limbs(message: bytes, widths: Sequence[int]) -> list[int]:
    """The message as a little-endian integer, cut into limbs, the least significant first."""
    rest = int.from_bytes(message, "little")
    limbs = []
    for width in widths:
        limbs.append(rest & (1 << width) - 1)
        rest >>= width
    return limbs


@cache
def blake3_script(
    message: int | tuple[Segment, ...],
    widths: tuple[int, ...] | None = None,
    digest_bits: int = DIGEST_BITS,
    reserved: int = 0,
    *,
    trusted: bool = False,
    keep: bool = False,
) -> Blake3Script:
    """Replace the limbs of a message by the limbs of its digest, limb 0 on top in both; what lies below stays.

    `message` is a length in bytes, for a message given whole in limbs of `widths` (default: 29 bits, the last shorter),
    or its segments, some of which may be constants. Limbs are consecutive fields of the little-endian integer that the
    bytes are. The digest comes in limbs of 29 bits, the last shorter; `digest_bits` is a multiple of 8 up to 256.

    The script fails for a limb that is negative, too large for its width, not minimally encoded or longer than four
    bytes; `trusted` says that this was checked before. `keep` leaves the limbs of the message below the digest's.
    `reserved` counts the items that others keep on both stacks.

    Raises ScriptError for a message of more than 1,024 bytes, limbs wider than 30 bits or too many for their bytes, a
    digest of another size, and where not even the smaller tables leave `reserved` of the 1,000 items.
    """
    if isinstance(message, int):
        segments: tuple[Segment, ...] = (Limbs(limb_widths(8 * message) if widths is None else widths, message),)
    elif widths is None:
        segments = message
    else:
        raise ScriptError("blake3_script: widths beside segments, expected them in the segments")
    if digest_bits % 8 or not 8 <= digest_bits <= MAX_DIGEST_BITS:
        raise ScriptError(f"blake3_script: digest of {digest_bits} bits, expected a multiple of 8 up to 256")
    plan = Message.of(segments)
    if not plan.fields:
        return _constant(plan, digest_bits)
    waiting = sum(keep or field.stop > BLOCK_BITS for field in plan.fields)
    for layout, lean in ((WIDE, False), (COMPACT, False), (COMPACT, True)):
        if reserved + waiting + layout.height <= MAX_STACK_ITEMS:
            result = _Writer(plan, layout, digest_bits, trusted=trusted, keep=keep, lean=lean).write()
            if reserved + result.max_stack <= MAX_STACK_ITEMS:
                return result
    raise ScriptError(
        f"blake3_script: {len(plan.fields)} limbs and {reserved} reserved items leave no room for the tables"
    )


def _constant(message: Message, digest_bits: int) -> Blake3Script:
    data = message.constant.to_bytes(message.length, "little")
    limbs = to_limbs(digest(data, digest_bits // 8), limb_widths(digest_bits))
    return Blake3Script(b"".join(map(num, reversed(limbs))), len(limbs))


class _Writer:
    """Writes one script. The tables are pushed once, on top of the limbs that later blocks need."""

    def __init__(
        self, message: Message, layout: Layout, digest_bits: int, *, trusted: bool, keep: bool, lean: bool
    ) -> None:
        self.message = message
        self.layout = layout
        self.digest_bits = digest_bits
        self.trusted = trusted
        self.keep = keep
        self.lean = lean
        self.limbs = [(Item(), field) for field in message.fields]
        self.stack = Stack(item for item, _ in reversed(self.limbs))

    def write(self) -> Blake3Script:
        last = self.message.blocks - 1
        for index in range(last):
            self._block(index, CHAIN_WORDS * WORD_NIBBLES, last=False)
            self._chain_to_alt()
        self._block(last, self.digest_bits // NIBBLE_BITS, last=True)
        _pack(self.stack, limb_widths(self.digest_bits), len(self.limbs))
        script = self.stack.script()
        return Blake3Script(script, most_items(script, len(self.message.fields)))

    def _block(self, index: int, count: int, *, last: bool) -> None:
        """Compress a block and leave the first `count` nibbles of the output on top, plain or, if `last`, as values."""
        message, stack = self.message, self.stack
        block = range(BLOCK_NIBBLES * index, BLOCK_NIBBLES * (index + 1))
        start, stop = NIBBLE_BITS * block.start, NIBBLE_BITS * block.stop
        here = [(item, field) for item, field in self.limbs if field.start < stop and field.stop > start]
        unpack(stack, here, block, trusted=self.trusted, keep=self.keep, lean=self.lean and index > 0)
        if not self.keep:
            self.limbs = [(item, field) for item, field in self.limbs if field.stop > stop]
        if index == 0:
            stack.push_all(self.layout.values)
        nibbles = self._message_to_main(block)
        rounds = Rounds(stack, self.layout, base=len(self.limbs))
        length = min(BLOCK_BYTES, message.length - BLOCK_BYTES * index)
        flags = (CHUNK_START if index == 0 else 0) | (CHUNK_END | ROOT if last else 0)
        need = -(-count // WORD_NIBBLES)
        state = rounds.compress(self._chain_to_main() if index else None, nibbles, length, flags, need)
        _feed_forward(rounds, state, count, values=last)

    def _message_to_main(self, block: range) -> list[list[MessageNibble]]:
        """Bring the codes of a block from the altstack, on top of as many idle items as the rounds are short of."""
        covered = self.message.covered
        self.stack.push_all([None] * (ROUND_ITEMS - STATE_NIBBLES - sum(nibble in covered for nibble in block)))
        found = [self.stack.from_alt() if nibble in covered else self.message.nibble(nibble) for nibble in block]
        return [found[at : at + WORD_NIBBLES] for at in range(0, BLOCK_NIBBLES, WORD_NIBBLES)]

    def _chain_to_alt(self) -> None:
        """Move the chaining value off the top and drop all that lies between it and the tables."""
        for _ in range(CHAIN_WORDS * WORD_NIBBLES):
            self.stack.to_alt()
        self.stack.drop(len(self.stack.items) - len(self.limbs) - len(self.layout.values))

    def _chain_to_main(self) -> list[Word]:
        items = [self.stack.from_alt() for _ in range(CHAIN_WORDS * WORD_NIBBLES)]
        return [Word(Form.PLAIN, items[at : at + WORD_NIBBLES]) for at in range(0, len(items), WORD_NIBBLES)]


def _feed_forward(rounds: Rounds, state: Sequence[Word], count: int, *, values: bool) -> None:
    """Leave the first `count` nibbles of the output on top, the lowest deepest: plain codes, or their `values`.

    Output word w is state[w] ⊕ state[w+8]: two words of sums, or a shifted and a plain one.
    """
    for place in range(count):
        word, index = divmod(place, WORD_NIBBLES)
        low, high = state[word], state[word + CHAIN_WORDS]
        if low.form is Form.SUM:
            rounds.xor(high, low, index)
        else:
            rounds.xor(low, high, index)
        if values:
            rounds.look_up(VALUE)


def _pack(stack: Stack, widths: Sequence[int], kept: int) -> None:
    """Turn the nibbles on top into limbs, the highest first, and drop everything else but the `kept` deepest items."""
    bits = NIBBLE_BITS
    for width in reversed(widths):
        while bits + NIBBLE_BITS <= width:
            stack.write(DOUBLE * NIBBLE_BITS)
            stack.add()
            bits += NIBBLE_BITS
        missing = width - bits
        bits = NIBBLE_BITS - missing
        if missing:
            stack.write(DOUBLE * missing, OP_SWAP, *_split(bits), OP_ROT + OP_ROT + OP_ADD)
        stack.to_alt()
    stack.drop(len(stack.items) - kept)
    for _ in widths:
        stack.from_alt()
    for depth in range(1, len(widths)):
        stack.roll(stack.items[-1 - depth])


def _split(low: int) -> Iterator[bytes]:
    """(nibble) → (nibble >> low, nibble modulo 2^low)"""
    top = NIBBLE_BITS - 1
    yield num(1 << top) + OP_2DUP + OP_GREATERTHANOREQUAL
    yield OP_IF + OP_SUB + num(1 << top - low) + OP_ELSE + OP_DROP + num(0) + OP_ENDIF + OP_SWAP
    for bit in reversed(range(low, top)):
        yield num(1 << bit) + OP_2DUP + OP_GREATERTHANOREQUAL
        yield OP_IF + OP_SUB + OP_SWAP + num(1 << bit - low) + OP_ADD + OP_SWAP + OP_ELSE + OP_DROP + OP_ENDIF
