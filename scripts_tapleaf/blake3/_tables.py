"""Nibbles that are stack depths: every operation on them is a sum and a PICK.

A nibble travels in one of four codes. K and e are constants of the layout; a code is a table index as it stands:

    plain    3y + K               what an exclusive or leaves
    sum      3s + 2K, s < 48      a sum of up to three nibbles and a carry, not reduced modulo 16
    shifted  3x + K + e(h)        the nibble 2x mod 16 + h: x shifted left by one, h the top bit of its neighbour
    message  3m                   a nibble of the message

so plain + plain + message + carry is a sum code, and nothing is ever scaled or rebased. The tables:

    of sums      REDUCE → plain;  CARRY → 3·⌊s/16⌋;  XOR, after adding a pointer → plain
    of plain     POINTER → what to add to a sum code for XOR;  FIRST_HIGH → e(top bit);  VALUE → y
    of shifted   SHIFTED_POINTER → the same;  HIGH → e(top bit of x);  UNSHIFT → plain

XOR of a sum s and a nibble d is entry s of string d, (s mod 16) ⊕ d. The strings overlap: string d ⊕ 8 is string d from
its ninth entry on, string 0 is REDUCE, and three strings interleave at stride 3.

PICK counts from the top, so an index is right at one height of the stack only. T is the height at which a step of the
rounds begins; each table is read at T plus its own offset, and the steps are arranged for that. Two tables of one code
with different offsets lie on different residues modulo 3, which is why the codes have the factor 3.

With COMPACT, XOR takes plain codes instead of sums: its strings are 16 long instead of 48, and each exclusive or
reduces first, which costs two bytes (3.6 kB a block) and saves 246 items.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple

from scripts_tapleaf.script import ScriptError

STRIDE: Final = 3
SUMS: Final = 48
"""Three nibbles and the largest carry make at most 47."""
ROUND_ITEMS: Final = 256
"""Items above the tables when a step begins: 128 nibbles of the message, 128 of the state."""


class Table(NamedTuple):
    """A table, and the height over T (items) at which it is read."""

    name: str
    height: int


REDUCE: Final = Table("reduce", -1)
CARRY: Final = Table("carry", 0)
XOR: Final = Table("xor", -1)
POINTER: Final = Table("pointer", -1)
FIRST_HIGH: Final = Table("first high", 0)
VALUE: Final = Table("value", -2)
SHIFTED_POINTER: Final = Table("shifted pointer", -1)
HIGH: Final = Table("high", 0)
UNSHIFT: Final = Table("unshift", 1)


@dataclass(frozen=True)
class Layout:
    """Where the tables lie: the depths, below the top of the tables, at which their entries begin at height T.

    `xor_at` has the places of the strings 0 to 15, each of `reach` entries. The numbers were found by a search for the
    shortest script; `values` refuses a layout in which two tables want different values in one place.
    """

    reach: int
    plain_at: int
    shifted_at: tuple[int, int]
    xor_at: tuple[int, ...]

    @property
    def reduces(self) -> bool:
        """Does XOR take plain codes, not sums?"""
        return self.reach < SUMS

    @property
    def bias(self) -> int:
        """K"""
        return self.plain_at + ROUND_ITEMS

    @property
    def sums_at(self) -> int:
        """Where sum codes begin: at depth 2K below height T, as plain codes begin at depth K."""
        return 2 * self.bias - ROUND_ITEMS

    @property
    def high(self) -> tuple[int, int]:
        """e(0) and e(1)"""
        return self.shifted_at[0] - self.plain_at, self.shifted_at[1] - self.plain_at

    @cached_property
    def plain(self) -> tuple[int, ...]:
        """The plain code of each nibble."""
        return tuple(STRIDE * value + self.bias for value in range(16))

    @cached_property
    def pointers(self) -> tuple[int, ...]:
        """What XOR with each nibble adds to the other code."""
        origin = (self.plain_at if self.reduces else self.sums_at) - XOR.height
        return tuple(at - origin for at in self.xor_at)

    @cached_property
    def values(self) -> tuple[int | None, ...]:
        """The entries of all tables, deepest first; None is a gap."""
        cells: dict[int, int] = {}
        for table, at, value in [*self._of_nibbles(), *self._of_sums()]:
            if cells.setdefault(at - table.height, value) != value:
                raise ScriptError(f"blake3: table {table.name} meets another one at {at - table.height}")
        return tuple(cells.get(depth) for depth in reversed(range(max(cells) + 1)))

    @property
    def height(self) -> int:
        """T, counted from the deepest entry: items when a step of the rounds begins."""
        return len(self.values) + ROUND_ITEMS

    def _of_nibbles(self) -> list[tuple[Table, int, int]]:
        found = []
        for value in range(16):
            at = self.plain_at + STRIDE * value
            found += [(POINTER, at, self.pointers[value]), (FIRST_HIGH, at, self.high[value >> 3]), (VALUE, at, value)]
            for low in range(2):
                at = self.shifted_at[low] + STRIDE * value
                nibble = 2 * value % 16 + low
                found.append((SHIFTED_POINTER, at, self.pointers[nibble]))
                found += [(HIGH, at, self.high[value >> 3]), (UNSHIFT, at, self.plain[nibble])]
        return found

    def _of_sums(self) -> list[tuple[Table, int, int]]:
        found = []
        for total in range(SUMS):
            at = self.sums_at + STRIDE * total
            found += [(REDUCE, at, self.plain[total % 16]), (CARRY, at, STRIDE * (total // 16))]
        for operand, start in enumerate(self.xor_at):
            for total in range(self.reach):
                at = start + XOR.height + STRIDE * total
                found.append((XOR, at, self.plain[total % 16 ^ operand]))
        return found


WIDE: Final = Layout(
    reach=SUMS,
    plain_at=0,
    shifted_at=(402, 450),
    xor_at=(257, 258, 80, 79, 525, 526, 90, 518, 233, 234, 56, 55, 501, 502, 66, 494),
)
COMPACT: Final = Layout(
    reach=16,
    plain_at=13,
    shifted_at=(63, 111),
    xor_at=(331, 284, 159, 158, 223, 344, 219, 218, 307, 308, 181, 182, 247, 368, 195, 242),
)
