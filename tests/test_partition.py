"""Cuts: limits are kept, seams preferred, breaks honoured; and circuits that are cut by the relay limits."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.base import Checks
from bitvm_bridge.program.cache import use_directory
from bitvm_bridge.program.circuit_program import CircuitProgram, CircuitSteps, leaf_cost, leaf_key
from bitvm_bridge.program.partition import COMPACT, PROFILES, RELAY, Cost, Limits, partition
from bitvm_bridge.transaction import MAX_MINEABLE_WEIGHT, MAX_STANDARD_WEIGHT
from scripts_tapleaf import winternitz
from scripts_tapleaf.bn254.circuit import Circuit, Linear
from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.bn254.machine import NoRoom, compile_leaf
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import MAX_STACK_ITEMS
from tests.core import spend_leaf

OVERHEAD = 10
"""Of a leaf of `Row`."""
MOVES = 100
"""Bytes of code that bring the limbs of inputs and of the claim to their stacks."""


@dataclass
class Row:
    """Steps of known sizes; a leaf has their sum and an overhead. Step `crowded` has room only as the first one."""

    sizes: Sequence[int]
    breaks: tuple[int, ...] = ()
    seams: frozenset[int] = frozenset()
    crowded: int | None = None
    cuts: list[tuple[int, int]] = field(default_factory=list)
    asked: list[tuple[int, int]] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.sizes)

    def worths(self, start: int, end: int, limits: Limits) -> Iterator[tuple[float, int]]:
        """The longer the better, and more stops than fit."""
        for stop in range(start + 1, end + 1):
            yield float(stop), stop

    def cost(self, start: int, stop: int) -> Cost:
        self.asked.append((start, stop))
        if self.crowded is not None and start < self.crowded < stop:
            raise NoRoom(self.crowded - start)
        return Cost(sum(self.sizes[start:stop]), OVERHEAD, 5, 5)

    def cut(self, start: int, stop: int) -> None:
        self.cuts.append((start, stop))


def limits(leaf: int) -> Limits:
    return Limits("small", leaf)


@pytest.mark.parametrize("leaf", [11, 12, 13, 15, 20, 100])
def test_chunks_follow_each_other_and_keep_to_the_limits(leaf: int) -> None:
    row = Row([1] * 12)
    chunks = partition(row, limits(leaf))
    assert row.cuts == list(chunks)
    assert [step for chunk in chunks for step in range(*chunk)] == list(range(12))
    assert all(row.cost(*chunk).fits(limits(leaf)) for chunk in chunks)
    assert len(chunks) == -(-12 // (leaf - OVERHEAD))


def test_nothing_is_cut_into_nothing() -> None:
    assert partition(Row([]), limits(11)) == ()


def test_breaks_are_honoured() -> None:
    assert partition(Row([1] * 6, breaks=(2, 5)), limits(100)) == ((0, 2), (2, 5), (5, 6))
    assert partition(Row([1] * 6, breaks=(6, 3, 3, 0)), limits(100)) == ((0, 3), (3, 6))
    assert partition(Row([1] * 6, breaks=(4,)), limits(13)) == ((0, 3), (3, 4), (4, 6))


def test_the_last_seam_that_fits_is_preferred() -> None:
    assert partition(Row([1] * 10, seams=frozenset({2, 4, 8})), limits(15)) == ((0, 4), (4, 8), (8, 10))
    assert partition(Row([1] * 9, seams=frozenset({1})), limits(15)) == ((0, 1), (1, 6), (6, 9))
    assert partition(Row([1] * 5, seams=frozenset({3})), limits(15)) == ((0, 5),)


def test_what_has_no_room_rules_out_what_is_longer() -> None:
    row = Row([1] * 9, crowded=4)
    assert partition(row, limits(100)) == ((0, 4), (4, 9))
    assert row.asked == [(0, 9), (0, 4), (4, 9)]


@pytest.mark.parametrize("big", [0, 3, 5])
def test_a_step_too_large_is_named(big: int) -> None:
    sizes = [1] * 6
    sizes[big] = 6
    with pytest.raises(BadInput) as caught:
        partition(Row(sizes), limits(15))
    assert str(caught.value) == f"program: 'step {big} in the small profile' is not a step that fits a leaf by itself"
    assert partition(Row(sizes), limits(16))


@pytest.mark.parametrize(
    ("cost", "fits"),
    [
        (Cost(90, 10, 50, 60), True),
        (Cost(91, 10, 50, 60), False),
        (Cost(90, 11, 50, 60), False),
        (Cost(90, 10, 51, 60), False),
        (Cost(90, 10, 50, 61), False),
    ],
)
def test_every_limit_counts(cost: Cost, fits: bool) -> None:
    assert cost.fits(Limits("all", leaf=100, stack=60, items=50)) == fits


def test_the_profiles_are_those_of_the_network() -> None:
    assert PROFILES == {"compact": COMPACT, "relay": RELAY}
    assert COMPACT.leaf < MAX_MINEABLE_WEIGHT
    assert RELAY.leaf < MAX_STANDARD_WEIGHT
    assert all(limits.stack == limits.items == MAX_STACK_ITEMS for limits in PROFILES.values())


# Circuits


def chain() -> Circuit:
    """x^(2^14) with some sums on the way, its inverse, and a requirement."""
    circuit = Circuit()
    x, y = circuit.raw("x", P), circuit.raw("y", P)
    circuit.end_chunk("numbers")
    z = x
    for index in range(14):
        (z,) = circuit.multiply(f"square{index}", (z,), (z,), (y,))
        if index % 5 == 4:
            circuit.seam(f"squares{index}")
    last = z
    (inverse,) = circuit.hint(
        ("inverse",), (last,), "the last square is zero", lambda values: [pow(last.evaluate(values), -1, P)]
    )
    circuit.check_zero((inverse,), (last,), (Linear(constant=-1),))
    circuit.require(circuit.multiply("rest", (inverse - Linear(constant=1),), (x - y,)), "x is not y")
    circuit.end_chunk("end")
    return circuit


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CircuitSteps]:
    """The circuit, cut to the relay limits."""
    with use_directory(tmp_path_factory.mktemp("scripts")):
        steps = CircuitSteps(chain())
        partition(steps, RELAY)
        yield steps


def stops_of(steps: CircuitSteps) -> list[int]:
    ends, total = [], 0
    for leaf in steps.leaves:
        total += len(leaf.operations)
        ends.append(total)
    return ends


def checks_of(program: CircuitProgram) -> tuple[Checks, list[winternitz.SecretKey]]:
    secrets = [
        winternitz.derive_secret(bytes(32), bytes(32), slot, value.bits) for slot, value in enumerate(program.values)
    ]
    return Checks(program, tuple(map(winternitz.public_key, secrets))), secrets


class SmallProgram(CircuitProgram):
    """A circuit as a program, whose input is its raw values."""

    name = "small"

    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        raise BadInput("input", document, "none")


def number(value: int) -> bytes:
    return value.to_bytes(32, "little")


def test_the_relay_profile_keeps_to_its_limits(steps: CircuitSteps) -> None:
    assert len(steps.leaves) > 2
    assert stops_of(steps)[-1] == steps.count
    assert set(steps.breaks) <= set(stops_of(steps))
    assert set(stops_of(steps)[:-1]) & set(steps.circuit.seams)
    for cost in steps.costs:
        assert cost.fits(RELAY)


def test_a_cost_is_that_of_the_real_leaf(steps: CircuitSteps) -> None:
    """Items exactly; bytes in all, and the height of the stacks, no more. Code that brings limbs from one stack to the
    other is in no read's size, and less than what is allowed for the numbers of a witness.
    """
    program = SmallProgram(steps.circuit, stops_of(steps))
    checks, secrets = checks_of(program)
    honest = program.run([number(5), number(5)])
    assert honest.failed is None
    signatures = [winternitz.sign(secret, value) for secret, value in zip(secrets, honest.values, strict=True)]
    for index, (cost, (name, script)) in enumerate(zip(steps.costs, checks.leaves(), strict=True)):
        witness = checks.witness(index, honest, honest.values, signatures)
        assert program.leaves[index] == steps.leaves[index]
        assert len(witness) == cost.items, name
        assert cost.script < len(script) < cost.script + MOVES
        assert len(script) + sum(map(len, witness)) <= cost.script + cost.witness
        assert run(script, witness).max_depth <= cost.max_stack
        assert leaf_cost(steps.leaves[index], compile_leaf(steps.leaves[index])) == cost


def test_a_circuit_in_leaves_is_a_program(steps: CircuitSteps) -> None:
    program = SmallProgram(steps.circuit, stops_of(steps))
    checks, secrets = checks_of(program)

    def judge(values: Sequence[bytes], index: int) -> bool:
        signatures = [winternitz.sign(secret, value) for secret, value in zip(secrets, values, strict=True)]
        name = program.chunks[index].name
        return spend_leaf(checks.leaf(name), checks.witness(index, program.run(values[:2]), values, signatures))

    honest = program.run([number(5), number(5)])
    for index in range(len(program.chunks)):
        assert not judge(honest.values, index)
    for slot in range(2, len(honest.values)):
        values = list(honest.values)
        values[slot] = bytes(20)
        verdict = program.first_wrong(values)
        assert verdict is not None
        assert program.chunks[verdict.chunk].output == slot
        assert judge(values, verdict.chunk)
    unequal = program.run([number(5), number(6)])
    assert unequal.reason == "x is not y"
    assert unequal.failed == len(program.chunks) - 1
    assert judge(unequal.values, unequal.failed)
    large = program.run([number(5), number(P)])
    assert (large.failed, large.reason) == (0, "y is not below the order of its field")
    assert judge(large.values, 0)
    assert large.values[2:] == (bytes(20),) * (len(large.values) - 2)


def test_a_division_by_zero_is_in_the_chunk_that_divides(steps: CircuitSteps) -> None:
    program = SmallProgram(steps.circuit, stops_of(steps))
    zero = program.run([number(0), number(0)])
    assert zero.reason == "the last square is zero"
    assert zero.failed is not None
    checks, secrets = checks_of(program)
    signatures = [winternitz.sign(secret, value) for secret, value in zip(secrets, zero.values, strict=True)]
    name = program.chunks[zero.failed].name
    assert spend_leaf(checks.leaf(name), checks.witness(zero.failed, zero, zero.values, signatures))
    hinted = [leaf for leaf in program.leaves if leaf.hints]
    assert program.leaves[zero.failed] == hinted[0]


def test_scripts_are_kept_by_what_they_do(steps: CircuitSteps) -> None:
    first, second, *_ = steps.leaves
    assert leaf_key(first) == leaf_key(replace(first))
    others = [
        second,
        replace(second, outputs=(*second.outputs, "x")),
        replace(second, inputs=()),
        replace(second, operations=second.operations[:-1]),
        replace(second, operations=second.operations[::-1]),
    ]
    assert len({leaf_key(leaf) for leaf in (first, *others)}) == 1 + len(others)


@pytest.mark.parametrize(
    "tiny", [Limits("tiny", leaf=20_000), Limits("tiny", 10**6, stack=200), Limits("tiny", 10**6, items=9)]
)
def test_a_circuit_that_no_leaf_holds_is_refused(tiny: Limits) -> None:
    with pytest.raises(BadInput) as caught:
        partition(CircuitSteps(chain()), tiny)
    assert str(caught.value) == "program: 'step 0 in the tiny profile' is not a step that fits a leaf by itself"
