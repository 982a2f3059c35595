"""Leaves of megabytes: the tree of a program is hashed from a stream that holds one at a time."""

import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass

from bitvm_bridge.linter import ROOM_FOR_PROOF
from bitvm_bridge.policy import MAX_MINEABLE_WEIGHT
from bitvm_bridge.program import Checks, Chunk, Program, Run, Value
from bitvm_bridge.taproot import ScriptTree
from scripts_tapleaf import winternitz

READS = 30_000
"""bytes: more than reading two values takes."""
SCRIPT = MAX_MINEABLE_WEIGHT - ROOM_FOR_PROOF - READS
COUNT = 60


@dataclass(frozen=True)
class Large(Chunk):
    """A script of megabytes, made when it is asked for."""

    name: str
    inputs: tuple[int, ...]
    output: int

    def script(self) -> bytes:
        """Different for every chunk."""
        return self.output.to_bytes(4, "big") * (SCRIPT // 4)


class LargeProgram(Program):
    """As many megabytes as a verifier of pairings may have."""

    name = "large"
    raw_count = 1
    values = (Value("input", 256), *(Value(f"state_{index}", 160) for index in range(COUNT)))
    chunks = tuple(Large(f"chunk_{index}", (index,), index + 1) for index in range(COUNT))

    def run(self, raw: Sequence[bytes]) -> Run:
        """Nothing is run here."""
        raise NotImplementedError

    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        """Nothing is read here."""
        raise NotImplementedError


def test_tree_of_many_megabytes_is_hashed_from_a_stream() -> None:
    """230 MB pass through; never more than the parts of one leaf and the leaf itself are in memory."""
    keys = {bits: winternitz.public_key(winternitz.derive_secret(bytes(32), bytes(32), 0, bits)) for bits in (160, 256)}
    checks = Checks(LargeProgram(), tuple(keys[value.bits] for value in LargeProgram.values))
    tracemalloc.start()
    try:
        tree = ScriptTree(checks.leaves())
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tree.names) == COUNT
    assert SCRIPT < tree.size("chunk_0") < SCRIPT + READS
    assert peak < 4 * SCRIPT, peak
