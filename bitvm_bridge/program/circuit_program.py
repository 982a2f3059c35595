"""Programs that are circuits over Fq: operations, cut into leaves, whose states are committed as digests."""

import hashlib
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise
from typing import Final

from bitvm_bridge.program.base import DIGEST_BITS, RAW_BITS, Chunk, Program, Run, Value
from bitvm_bridge.program.cache import cached, directory, script_key
from bitvm_bridge.program.partition import Cost, Limits, with_reads
from scripts_tapleaf import blake3
from scripts_tapleaf.bn254.circuit import Circuit, Combine, Multiply, Operation, Raw, Select, Trace, evaluate
from scripts_tapleaf.bn254.machine import VALUE_BYTES, Compiled, Group, Leaf, compile_leaf, witness
from scripts_tapleaf.script import encode_num

BLOCK_BYTES: Final = 47_500
"""About what one block of BLAKE3 takes where the stack is full: only a guess from which the search for cuts begins."""


class Layout:
    """How a circuit's operations are spread over leaves, as far as it is known."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit
        self.leaves: list[Leaf] = []
        self._home: dict[str, Group] = {}
        self._last_read: dict[str, int] = {}
        for index, operation in enumerate(circuit.operations):
            self._last_read.update(dict.fromkeys(operation.reads, index))

    def leaf(self, start: int, stop: int) -> Leaf:
        """The leaf of these operations: everything that is read later is its output."""
        operations = tuple(self.circuit.operations[start:stop])
        inputs: dict[Group, None] = {}
        own: set[str] = set()
        for operation in operations:
            if isinstance(operation, Raw):
                inputs[Group(operation.out, is_raw=True)] = None
            inputs.update((self._home[name], None) for name in operation.reads if name not in own)
            own.update(operation.out)
        outputs = tuple(name for item in operations for name in item.out if self._last_read.get(name, -1) >= stop)
        return Leaf(operations, tuple(inputs), outputs)

    def cut(self, start: int, stop: int) -> None:
        """These operations are a leaf."""
        leaf = self.leaf(start, stop)
        self.leaves.append(leaf)
        group = Group(leaf.outputs)
        self._home.update((name, group) for name in leaf.outputs)


class CircuitSteps(Layout):
    """The steps that `partition` cuts: one for each operation."""

    def __init__(self, circuit: Circuit) -> None:
        super().__init__(circuit)
        self._sizes: dict[tuple[str, int], int] = {}
        self._compiled: dict[tuple[int, int], Compiled] = {}
        self.costs: list[Cost] = []

    @property
    def count(self) -> int:
        """Operations."""
        return len(self.circuit.operations)

    @property
    def breaks(self) -> Iterable[int]:
        """Where the circuit ends a chunk."""
        return self.circuit.breaks

    @property
    def seams(self) -> Container[int]:
        """Where few values cross."""
        return self.circuit.seams

    def worths(self, start: int, end: int, limits: Limits) -> Iterator[tuple[float, int]]:
        """Work for each byte, from sizes that were met before."""
        work, opened = 0, 0
        groups: set[Group] = set()
        own: set[str] = set()
        for stop in range(start + 1, end + 1):
            operation = self.circuit.operations[stop - 1]
            work += self._guess(operation)
            for name in operation.reads:
                if name not in own and self._home[name] not in groups:
                    groups.add(self._home[name])
                    opened += _blocks(len(self._home[name].names))
            own.update(operation.out)
            outputs = sum(self._last_read.get(name, -1) >= stop for name in own)
            total = work + BLOCK_BYTES * (opened + _blocks(outputs))
            if work + BLOCK_BYTES * opened > limits.leaf:
                return
            if total <= limits.leaf and outputs * VALUE_BYTES <= blake3.MAX_LENGTH:
                yield work / (total + BLOCK_BYTES * _blocks(outputs) + 20_000), stop

    def cut(self, start: int, stop: int) -> None:
        """These operations are a leaf; its script, which `cost` has compiled just before, is kept."""
        super().cut(start, stop)
        leaf, compiled = self.leaves[-1], self._compiled[start, stop]
        self.costs.append(leaf_cost(leaf, compiled))
        cached(directory(), leaf_key(leaf), lambda: compiled.script)

    def cost(self, start: int, stop: int) -> Cost:
        """Of the compiled leaf."""
        leaf = self.leaf(start, stop)
        compiled = compile_leaf(leaf)
        self._compiled = {(start, stop): compiled}
        for operation, size in zip(leaf.operations, compiled.sizes, strict=True):
            self._sizes[_kind(operation)] = size
        return leaf_cost(leaf, compiled)

    def _guess(self, operation: Operation) -> int:
        kind = _kind(operation)
        if kind in self._sizes:
            return self._sizes[kind]
        match operation:
            case Multiply():
                return 26_000 * len(operation.a)
            case Combine():
                return 9_000 * len(operation.out)
            case Select():
                return 15_000
        return 1_000


def leaf_cost(leaf: Leaf, compiled: Compiled) -> Cost:
    """Of a whole leaf, its reads included."""
    reads = [RAW_BITS if group.is_raw else DIGEST_BITS for group in leaf.inputs]
    reads += [DIGEST_BITS] if leaf.outputs else []
    return with_reads(Cost(len(compiled.script), 5 * leaf.item_count, leaf.item_count, compiled.max_stack), reads)


def _kind(operation: Operation) -> tuple[str, int]:
    return type(operation).__name__ + str(len(getattr(operation, "a", ()))), len(operation.out)


def _blocks(values: int) -> int:
    return -(-VALUE_BYTES * values // 64)


def digest(values: Mapping[str, int], names: Sequence[str]) -> bytes:
    """The committed digest of a state (20 bytes): BLAKE3 of its elements, 32 bytes little-endian each."""
    return blake3.digest(b"".join(values[name].to_bytes(VALUE_BYTES, "little") for name in names), DIGEST_BITS // 8)


@dataclass(frozen=True, eq=False)
class LeafChunk(Chunk):
    """A leaf of a circuit as a chunk of a program."""

    name: str
    inputs: tuple[int, ...]
    output: int | None
    leaf: Leaf

    def script(self) -> bytes:
        """Compiled, or read from the cache."""
        return cached(directory(), leaf_key(self.leaf), lambda: compile_leaf(self.leaf).script)


def leaf_key(leaf: Leaf) -> bytes:
    """The cache's key of a leaf: two leaves share one only if they have the same script."""
    state = hashlib.sha256(repr((leaf.inputs, leaf.outputs)).encode())
    for operation in leaf.operations:
        parts = [(item.name, getattr(operation, item.name)) for item in fields(operation) if item.compare]
        state.update(repr((type(operation).__name__, parts)).encode())
    return script_key(state.hexdigest(), 0)


@dataclass(frozen=True)
class CircuitRun(Run):
    """A run with every value by name, and the operation that failed."""

    trace: Trace = field(default_factory=lambda: Trace({}))


class CircuitProgram(Program):
    """A circuit whose leaves are known; raw values are those of its `Raw` operations, in order."""

    def __init__(self, circuit: Circuit, stops: Sequence[int]) -> None:
        """`stops`: the operation behind the last one of every leaf."""
        layout = Layout(circuit)
        for start, stop in pairwise((0, *stops)):
            layout.cut(start, stop)
        leaves = layout.leaves
        self.circuit, self.leaves = circuit, tuple(leaves)
        self.starts = (0, *stops[:-1])
        raw = [name for leaf in leaves for group in leaf.inputs if group.is_raw for name in group.names]
        self.raw_names = tuple(raw)
        self.raw_count = len(raw)
        slots = {Group((name,), is_raw=True): index for index, name in enumerate(raw)}
        values = [Value(name, RAW_BITS) for name in raw]
        chunks = []
        for name, leaf in zip(leaf_names(circuit, stops), leaves, strict=True):
            inputs = tuple(slots[group] for group in leaf.inputs)
            output = None
            if leaf.outputs:
                output = slots[Group(leaf.outputs)] = len(values)
                values.append(Value(f"{name}.state", DIGEST_BITS))
            chunks.append(LeafChunk(name, inputs, output, leaf))
        self.values = tuple(values)
        self.chunks = tuple(chunks)

    def run(self, raw: Sequence[bytes]) -> CircuitRun:
        """Values behind a failure are digests of nothing."""
        numbers = {name: int.from_bytes(value, "little") for name, value in zip(self.raw_names, raw, strict=True)}
        trace = evaluate(self.circuit.operations, numbers)
        values = list(raw)
        for leaf in self.leaves:
            if leaf.outputs:
                known = all(name in trace.values for name in leaf.outputs)
                values.append(digest(trace.values, leaf.outputs) if known else bytes(DIGEST_BITS // 8))
        failed = None if trace.failed is None else self._chunk_of(trace.failed)
        return CircuitRun(tuple(values), failed, trace.reason, trace)

    def hints(self, run: Run, index: int) -> list[bytes]:
        """The preimages that the leaf opens, and the values that it cannot compute."""
        if not isinstance(run, CircuitRun):
            raise TypeError("hints: a run of another program")
        start = self.starts[index]
        stopped = None if run.trace.stopped is None else run.trace.stopped - start
        return [encode_num(item) for item in witness(self.leaves[index], run.trace.values, stopped)]

    def _chunk_of(self, operation: int) -> int:
        return max(index for index, start in enumerate(self.starts) if start <= operation)


def leaf_names(circuit: Circuit, stops: Sequence[int]) -> list[str]:
    """After the part of the circuit that a leaf belongs to; numbered where a part has several."""
    marks = sorted((circuit.breaks | circuit.seams).items())
    labels = [next(label for mark, label in marks if mark >= stop) for stop in stops]
    return [
        label if labels.count(label) == 1 else f"{label}, part {labels[: index + 1].count(label)}"
        for index, label in enumerate(labels)
    ]
