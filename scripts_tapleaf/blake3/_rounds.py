"""The compression function, nibble by nibble, on a stack that has the same height before every step.

Each step takes one nibble of a word off the stack and leaves one for it, so that every look-up happens at the height
for which its table was laid out. What a G computes, each exclusive or put off to where its result is added:

    s1 = a + b + mx         d1 = (d ⊕ s1) >>> 16,  c1 = c + d1
    b1 = (b ⊕ c1) >>> 12,   s2 = s1 + b1 + my      d2 = (d1 ⊕ s2) >>> 8,  c2 = c1 + d2      b2 = (b1 ⊕ c2) >>> 7

Rotations by whole nibbles only rename; what is left of the last one, a bit to the left, makes the shifted code.

Source: BLAKE3 specification, section 2.2.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from scripts_tapleaf.blake3._stack import Item, Stack
from scripts_tapleaf.blake3._tables import (
    CARRY,
    FIRST_HIGH,
    HIGH,
    POINTER,
    REDUCE,
    SHIFTED_POINTER,
    STRIDE,
    UNSHIFT,
    XOR,
    Layout,
    Table,
)
from scripts_tapleaf.script import OP_PICK

IV: Final = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION: Final = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
ROUNDS: Final = 7
NIBBLES: Final = range(8)
COLUMNS: Final = (3, 0, 2, 1)
DIAGONALS: Final = (0, 1, 3, 2)
"""The four G of half a round commute; these orders give the shortest script."""

MessageNibble = Item | int
"""A nibble on the stack, or the value of one that is a constant."""


class Form(Enum):
    """How the nibbles of a word are coded; POINTER is a constant of which only an exclusive or is taken."""

    PLAIN = auto()
    SUM = auto()
    SHIFTED = auto()
    POINTER = auto()


@dataclass(frozen=True)
class Word:
    """Eight nibbles on the stack, the least significant first."""

    form: Form
    items: Sequence[Item]


class Rounds:
    """Writes the rounds of compressions. `base` is the number of items under the tables."""

    def __init__(self, stack: Stack, layout: Layout, base: int) -> None:
        self.stack = stack
        self.layout = layout
        self.base = base

    def look_up(self, table: Table) -> Item:
        """Replace the code on top by its entry; the code is corrected first where the height is not the table's."""
        excess = len(self.stack.items) - 1 - self.base - (self.layout.height + table.height)
        if excess:
            self.stack.add_number(excess)
        return self.stack.replace(OP_PICK)

    def point(self, word: Word) -> None:
        """Replace the nibble on top, one of `word`, by its pointer."""
        if word.form is Form.SUM:
            self.look_up(REDUCE)
        if word.form is Form.SHIFTED:
            self.look_up(SHIFTED_POINTER)
        elif word.form is not Form.POINTER:
            self.look_up(POINTER)

    def xor(self, pointed: Word, other: Word, index: int) -> Item:
        """Nibble `index` of two words; that of `pointed` is used up. `other` is a word of sums or a plain one."""
        self.stack.roll(pointed.items[index])
        self.point(pointed)
        self.stack.pick(other.items[index])
        if other.form is Form.SUM and self.layout.reduces:
            self.look_up(REDUCE)
        self.stack.add()
        if other.form is Form.PLAIN and not self.layout.reduces:
            self.stack.add_number(self.layout.bias)
        return self.look_up(XOR)

    def compress(
        self, chain: list[Word] | None, message: Sequence[Sequence[MessageNibble]], length: int, flags: int, need: int
    ) -> list[Word]:
        """All rounds over a block of `length` bytes; the state afterwards.

        `chain` is the chaining value in plain words, None for the IV. `need` is how many words of the output count; a
        word of which nothing depends stays as it was. The 128 items of the state come to lie on top of the message.
        """
        state = self._initial(chain, length, flags)
        schedule = list(range(16))
        for index in range(ROUNDS):
            words = [message[word] for word in schedule]
            for g in COLUMNS:
                places = (g, 4 + g, 8 + g, 12 + g)
                summed = index == 0 and chain is None
                self._mix(state, places, words[2 * g], words[2 * g + 1], summed=summed)
            for g in DIAGONALS:
                places = (g, 4 + (g + 1) % 4, 8 + (g + 2) % 4, 12 + (g + 3) % 4)
                skip_b = index == ROUNDS - 1 and places[1] >= need
                self._mix(state, places, words[8 + 2 * g], words[9 + 2 * g], skip_b=skip_b)
            schedule = [schedule[place] for place in PERMUTATION]
        return state

    def _initial(self, chain: list[Word] | None, length: int, flags: int) -> list[Word]:
        """The IV enters as a + b, which is all that the first G needs of a, and as pointers for b."""
        plain, pointers = self.layout.plain, self.layout.pointers
        codes = [[plain[nibble] for nibble in nibbles_of(word)] for word in IV[:4]]
        codes += [[pointers[nibble] for nibble in nibbles_of(word)] for word in (0, 0, length, flags)]
        if chain is None:
            for a, b in zip(IV[:4], IV[4:], strict=True):
                codes.append([plain[x] + plain[y] for x, y in zip(nibbles_of(a), nibbles_of(b), strict=True)])
            codes += [[pointers[nibble] for nibble in nibbles_of(word)] for word in IV[4:]]
        forms = ([Form.PLAIN] * 4 + [Form.POINTER] * 4) * (len(codes) // 8)
        words = [Word(form, items) for form, items in zip(forms, self._constants(codes), strict=True)]
        return [*(chain or words[8:]), *words[:8]]

    def _constants(self, words: list[list[int]]) -> list[list[Item]]:
        """Push the codes of constant words, equal ones together."""
        places = sorted((code, word, index) for word, codes in enumerate(words) for index, code in enumerate(codes))
        items = self.stack.push_all([code for code, _, _ in places])
        found = {(word, index): item for (_, word, index), item in zip(places, items, strict=True)}
        return [[found[word, index] for index in NIBBLES] for word in range(len(words))]

    def _mix(
        self,
        state: list[Word],
        places: tuple[int, int, int, int],
        mx: Sequence[MessageNibble],
        my: Sequence[MessageNibble],
        *,
        summed: bool = False,
        skip_b: bool = False,
    ) -> None:
        """One G. `summed`: a has b in it already."""
        a, b, c, d = (state[place] for place in places)
        s1 = self._sum(a, None if summed else b, mx)
        d1, c1 = self._xor_sum(d, s1, 4, c)
        b1, s2 = self._xor_sum(b, c1, 3, s1, my)
        d2, c2 = self._xor_sum(d1, s2, 2, c1)
        b2 = b1 if skip_b else self._xor_shift(b1, c2)
        for place, word in zip(places, (s2, b2, c2, d2), strict=True):
            state[place] = word

    def _sum(self, a: Word, b: Word | None, message: Sequence[MessageNibble]) -> Word:
        """a + b + message; a is used up."""
        sums: list[Item] = []
        for index, m in enumerate(message):
            self._take(a, index)
            self._carry(sums)
            if b is None:
                self._add_message(m)
            else:
                self._add_with_message(b, index, m)
            sums.append(self.stack.items[-1])
        self.stack.rotate_pairs()  # brings the third and fourth within two bytes of where _xor_sum copies them
        return Word(Form.SUM, sums)

    def _xor_sum(
        self, d: Word, s: Word, rotation: int, word: Word, message: Sequence[MessageNibble] = (0,) * 8
    ) -> tuple[Word, Word]:
        """y = (d ⊕ s) rotated right by `rotation` nibbles, and word + y + message; d and `word` are used up."""
        results: list[Item] = []
        sums: list[Item] = []
        for index, m in enumerate(message):
            self._take(word, index)
            self._carry(sums)
            self.xor(d, s, (index + rotation) % 8)
            result, _ = self.stack.tuck_add()
            self._add_message(m)
            results.append(result)
            sums.append(self.stack.items[-1])
        return Word(Form.PLAIN, results), Word(Form.SUM, sums)

    def _xor_shift(self, b: Word, c: Word) -> Word:
        """(b ⊕ c) >>> 7; b is used up. Each nibble takes the top bit of the one below, the lowest the highest's."""
        highest = previous = self.xor(b, c, 7)
        shifted: list[Item] = []
        for index in range(7):
            self.xor(b, c, index)
            self.stack.pick(previous)
            self.look_up(HIGH if index else FIRST_HIGH)
            previous = self.stack.add()
            shifted.append(previous)
        self.stack.pick(previous)
        self.look_up(HIGH)
        self.stack.roll(highest)
        shifted.append(self.stack.add())
        return Word(Form.SHIFTED, shifted[2:] + shifted[:2])

    def _take(self, word: Word, index: int) -> None:
        """Move a nibble to the top, as a plain one."""
        self.stack.roll(word.items[index])
        if word.form is Form.SUM:
            self.look_up(REDUCE)

    def _carry(self, sums: list[Item]) -> None:
        """Add the carry of the last of `sums`."""
        if sums:
            self.stack.pick(sums[-1])
            self.look_up(CARRY)
            self.stack.add()

    def _add_message(self, m: MessageNibble) -> None:
        if isinstance(m, Item):
            self.stack.pick(m)
            self.stack.add()
        elif m:
            self.stack.add_number(STRIDE * m)

    def _add_with_message(self, b: Word, index: int, m: MessageNibble) -> None:
        """Add a copy of b's nibble and m. UNSHIFT is read one item higher, so m comes first and is added last."""
        if isinstance(m, Item):
            self.stack.pick(m)
        self.stack.pick(b.items[index])
        if b.form is Form.SHIFTED:
            self.look_up(UNSHIFT)
        self.stack.add()
        if isinstance(m, Item):
            self.stack.add()
        else:
            self._add_message(m)


def nibbles_of(word: int) -> list[int]:
    """The nibbles of a word of 32 bits, the least significant first."""
    return [word >> 4 * index & 15 for index in NIBBLES]
