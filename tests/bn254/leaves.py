"""Small leaves: committed values as they lie behind the reads, and Core's verdict."""

from collections.abc import Mapping, Sequence
from functools import cached_property

from scripts_tapleaf import blake3
from scripts_tapleaf.bn254.circuit import Circuit, Trace, evaluate
from scripts_tapleaf.bn254.machine import VALUE_BYTES, Compiled, Group, Leaf, compile_leaf, packed, witness
from scripts_tapleaf.script import OP_ROLL, OP_TOALTSTACK, encode_num, num
from tests.core import spend_leaf

DIGEST_BYTES = 20
WRONG = bytes(DIGEST_BYTES)
"""The digest of nothing that anybody knows."""


def digest(values: Sequence[int]) -> bytes:
    """Of a state, from its definition."""
    return blake3.digest(b"".join(value.to_bytes(VALUE_BYTES, "little") for value in values), DIGEST_BYTES)


def _limbs(committed: bytes) -> list[int]:
    return blake3.to_limbs(committed, blake3.limb_widths(8 * DIGEST_BYTES))


class Bench:
    """One leaf of a circuit: the operations from `start` on, which open `inputs`."""

    def __init__(self, circuit: Circuit, inputs: Sequence[Group], outputs: Sequence[str], start: int = 0) -> None:
        self.circuit, self.start = circuit, start
        self.leaf = Leaf(tuple(circuit.operations[start:]), tuple(inputs), tuple(outputs))

    @cached_property
    def compiled(self) -> Compiled:
        return compile_leaf(self.leaf)

    def trace(self, **raw: int) -> Trace:
        """The honest values."""
        return evaluate(self.circuit.operations, raw)

    def output(self, values: Mapping[str, int]) -> bytes:
        """The right claim."""
        return digest([values[name] for name in self.leaf.outputs])

    def items(self, trace: Trace) -> list[bytes]:
        """The honest witness."""
        stopped = None if trace.stopped is None else trace.stopped - self.start
        return [encode_num(item) for item in witness(self.leaf, trace.values, stopped)]

    def script(self, committed: Mapping[str, int], claim: bytes, spoiled: int | None = None) -> bytes:
        """The leaf behind limbs of its claim and inputs, as authenticated reads leave them; one limb of each committed
        digest may be another one.
        """
        parts = []
        if self.leaf.outputs:
            parts = [num(limb) for limb in reversed(_limbs(claim))]
            parts += [num(depth) + OP_ROLL + OP_TOALTSTACK for depth in reversed(range(len(_limbs(claim))))]
        for group in self.leaf.inputs:
            values = [committed[name] for name in group.names]
            limbs = packed(values[0]) if group.is_raw else _limbs(digest(values))
            if spoiled is not None and not group.is_raw:
                limbs[spoiled] ^= 1
            parts += [num(limb) for limb in reversed(limbs)]
        return b"".join((*parts, self.compiled.script))

    def accepts(self, committed: Mapping[str, int], claim: bytes, items: Sequence[bytes]) -> bool:
        """Core's verdict on the leaf for committed inputs and a claimed output."""
        return spend_leaf(self.script(committed, claim), list(items))

    def judge(self, claim: bytes | None = None, **raw: int) -> bool:
        """With the honest witness; the claim is the right one unless another is given."""
        trace = self.trace(**raw)
        right = WRONG if trace.stopped is not None else self.output(trace.values)
        return self.accepts({**raw, **trace.values}, right if claim is None else claim, self.items(trace))


def raws(circuit: Circuit, modulus: int, *names: str) -> list[Group]:
    """Raw numbers, in the leaf that opens them."""
    for name in names:
        circuit.raw(name, modulus)
    return [Group((name,), is_raw=True) for name in names]
