"""Where a computation is cut into chunks: as few and as light leaves as the limits allow.

A leaf may be as heavy as its transaction can be, may have 1,000 items on both stacks, and its witness as many items as
fit beside the reads of the signatures. A cut costs twice: what lies across it is hashed where it ends and where it is
opened. So of all stops that fit, the one with the most work for each byte of leaf is taken, the next opening included.
"""

from collections.abc import Container, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.base import DIGEST_BITS, RAW_BITS
from bitvm_bridge.transaction import MAX_MINEABLE_WEIGHT, MAX_STANDARD_WEIGHT
from scripts_tapleaf.bn254.machine import NoRoom
from scripts_tapleaf.script import MAX_STACK_ITEMS


@dataclass(frozen=True)
class Limits:
    """What a leaf may have: bytes of script and witness, items on both stacks, items of witness."""

    name: str
    leaf: int
    stack: int = MAX_STACK_ITEMS
    items: int = MAX_STACK_ITEMS


DISPROVE_OVERHEAD: Final = 4_000
"""WU that a Disprove has beside its program leaf: bond input, outputs, control block."""
COMPACT: Final = Limits("compact", MAX_MINEABLE_WEIGHT - DISPROVE_OVERHEAD)
"""Fewest commitments: a leaf fills what a block template leaves to one transaction."""
RELAY: Final = Limits("relay", MAX_STANDARD_WEIGHT - DISPROVE_OVERHEAD)
"""Every Disprove is relayed by every node."""
PROFILES: Final = {limits.name: limits for limits in (COMPACT, RELAY)}


class Read(NamedTuple):
    """Of reading a signed value in a leaf: bytes of script, items and bytes of witness, items needed beside them."""

    script: int
    items: int
    witness: int
    room: int


_READS: Final = {DIGEST_BITS: Read(4_321, 78, 820, 136), RAW_BITS: Read(7_485, 118, 1_242, 311)}
"""By the bits of the value, of `winternitz.read_script`."""


@dataclass(frozen=True)
class Cost:
    """Of one leaf: bytes of script, bytes and items of witness, and the most items on both stacks."""

    script: int
    witness: int
    items: int
    max_stack: int

    def fits(self, limits: Limits) -> bool:
        """Does the leaf keep to the limits?"""
        return (
            self.script + self.witness <= limits.leaf and self.items <= limits.items and self.max_stack <= limits.stack
        )


def with_reads(cost: Cost, values: Sequence[int]) -> Cost:
    """Of a leaf that reads signed values of so many bits before anything else."""
    reads = [_READS[bits] for bits in values]
    items = cost.items + sum(read.items for read in reads)
    return Cost(
        script=cost.script + sum(read.script for read in reads),
        witness=cost.witness + sum(read.witness for read in reads),
        items=items,
        max_stack=max(cost.max_stack, items + max(read.room for read in reads)),
    )


class Steps(Protocol):
    """A computation as a row of steps that can be cut between any two."""

    @property
    def count(self) -> int:
        """How many steps there are."""

    @property
    def breaks(self) -> Iterable[int]:
        """Steps that begin a chunk whatever the limits."""

    @property
    def seams(self) -> Container[int]:
        """Steps at which little crosses."""

    def worths(self, start: int, end: int, limits: Limits) -> Iterable[tuple[float, int]]:
        """(how good, stop) of the chunks that begin here and probably fit; the more the better."""

    def cost(self, start: int, stop: int) -> Cost:
        """What its leaf has. Raises NoRoom where it needs more than there is."""

    def cut(self, start: int, stop: int) -> None:
        """These steps are a chunk; what follows opens its output."""


def partition(steps: Steps, limits: Limits) -> tuple[tuple[int, int], ...]:
    """(first step, step after the last) of every chunk. Raises BadInput where not even one step fits."""
    chunks: list[tuple[int, int]] = []
    ends = sorted({*steps.breaks, steps.count} - {0})
    start = 0
    for end in ends:
        while start < end:
            stop = _stop(steps, start, end, limits)
            steps.cut(start, stop)
            chunks.append((start, stop))
            start = stop
    return tuple(chunks)


def _stop(steps: Steps, start: int, end: int, limits: Limits) -> int:
    """The last seam that fits, else the best stop. What runs out of room at a step rules out all behind it."""
    rated = sorted(steps.worths(start, end, limits), reverse=True)
    seams = sorted((stop for _, stop in rated if stop in steps.seams or stop == end), reverse=True)
    for stop in dict.fromkeys((*seams, *(stop for _, stop in rated))):
        if stop > end:
            continue
        try:
            if steps.cost(start, stop).fits(limits):
                return stop
        except NoRoom as error:
            end = start + error.step if error.step else end
    raise BadInput("program", f"step {start} in the {limits.name} profile", "a step that fits a leaf by itself")
