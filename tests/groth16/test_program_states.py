"""Every leaf has the right verdict on any state, also on one that no proof leads to: elements at the edges of Fq.

An operator chooses the numbers of a proof, and could search for a state on which a script fails that should succeed.
`make sweep` draws many states for every leaf.
"""

from collections.abc import Mapping
from random import Random
from typing import Final

import pytest

from bitvm_bridge.program.circuit_program import CircuitRun, digest
from bitvm_bridge.program.groth16.native.field import P, fq6_square
from scripts_tapleaf.bn254.circuit import Hint, Raw, Require, Trace, evaluate
from scripts_tapleaf.bn254.machine import Leaf
from scripts_tapleaf.winternitz import scheme
from tests.groth16.court import KINDS, Court
from tests.groth16.test_program_challenger import LIGHT

LIMBS_FULL: Final = sum(((1 << 22) - 1) << 44 * index for index in range(6))
EDGES: Final = (
    *(
        0,
        1,
        2,
        P - 1,
        P - 2,
        P // 2,
        P // 2 + 1,
        P // 3,
        (1 << 253) - 1,
        1 << 253,
        LIMBS_FULL,
        (LIMBS_FULL << 22) % (1 << 242),
    ),
    *((1 << 254) - P, (1 << 254) - P - 1, ((1 << 242) - 1), P >> 22 << 22, (P >> 242 << 242) - 1),
)
"""Small and large ones, full and empty limbs, and the last element that has two residues of 254 bits."""
NO_DIGEST: Final = (scheme(160).codewords - 1).to_bytes(21, "little")


def drawn(leaf: Leaf, random: Random) -> dict[str, int]:
    """A number for everything that a leaf opens or reads: edges, or some edges among others, or one edge for all.

    The square of a power of the residue witness is its square, since there is no product with the power otherwise.
    """
    names = [name for group in leaf.inputs for name in group.names]
    share = random.choice((1, 0.3, 1))
    pool = random.choice((EDGES, EDGES, random.sample(EDGES, 2)))
    numbers = {name: random.choice(pool) if random.random() < share else random.randrange(P) for name in names}
    for power in (2, 3, 5, 7):
        if {f"root{power}.square.0.0", f"root{power}.k5"} <= numbers.keys():
            root = [numbers[f"root{power}.k{index}"] for index in range(6)]
            square = fq6_square(((root[0], root[1]), (root[2], root[3]), (root[4], root[5])))
            parts = [part for coefficient in square for part in coefficient]
            numbers |= {f"root{power}.square.{index // 2}.{index % 2}": part for index, part in enumerate(parts)}
    return numbers


def computed(leaf: Leaf, numbers: Mapping[str, int]) -> Trace:
    """What a leaf computes from these; a division without a way by zero is met by no proof, and computes nothing."""
    raw = {name for operation in leaf.operations if isinstance(operation, Raw) for name in operation.out}
    given = [Raw((name,), P) for name in numbers if name not in raw]
    trace = evaluate([*given, *leaf.operations], numbers)
    stopped = None if trace.stopped is None else trace.stopped - len(given)
    return Trace(trace.values, trace.failed, trace.reason, stopped)


class Scene:
    """One leaf with inputs of anyone's choice, all signed."""

    def __init__(self, court: Court, index: int, numbers: Mapping[str, int]) -> None:
        self.court, self.index = court, index
        self.chunk, self.leaf = court.program.chunks[index], court.program.leaves[index]
        self.trace = computed(self.leaf, numbers)
        self.values = list(court.honest.values)
        for slot, group in zip(self.chunk.inputs, self.leaf.inputs, strict=True):
            is_raw = group.is_raw
            value = numbers[group.names[0]].to_bytes(32, "little") if is_raw else digest(numbers, group.names)
            self.values[slot] = value

    def accepts(self, claim: bytes | None) -> bool:
        """Core's verdict on a claimed output."""
        start = self.court.program.starts[self.index]
        stopped = None if self.trace.stopped is None else self.trace.stopped + start
        trace = Trace(self.trace.values, stopped=stopped)
        values = list(self.values)
        if claim is not None and self.chunk.output is not None:
            values[self.chunk.output] = claim
        return self.court.accepts(self.index, CircuitRun(tuple(values), trace=trace), values)


def judged(court: Court, index: int, random: Random) -> bool:
    """One state: the right claim is refused, wrong ones are accepted. False where the state has no meaning."""
    leaf = court.program.leaves[index]
    try:
        scene = Scene(court, index, drawn(leaf, random))
    except ZeroDivisionError:
        return False
    if not leaf.outputs:
        assert scene.accepts(None) == (scene.trace.failed is not None)
        return True
    if scene.trace.failed is None:
        right = digest(scene.trace.values, leaf.outputs)
        assert not scene.accepts(right)
        wrong = bytearray(right)
        wrong[random.randrange(20)] ^= 1 << random.randrange(8)
        assert scene.accepts(bytes(wrong))
    else:
        assert scene.accepts(bytes(20))
    return True


def draw_states(court: Court, index: int, seed: str, count: int) -> None:
    random = Random(seed)
    done = 0
    for _ in range(20 * count):
        done += judged(court, index, random)
        if done == count:
            return
    pytest.fail(f"{court.program.chunks[index].name}: {done} states that have a meaning")


@pytest.mark.parametrize("kind", KINDS)
def test_leaves_have_the_right_verdict_on_any_state(court: Court, kind: str) -> None:
    draw_states(court, court.index(kind), kind, 4 if kind in LIGHT else 2)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in {"points A and C", "point B", KINDS[-1]}])
def test_a_signature_of_no_digest_is_disproved(court: Court, kind: str) -> None:
    output = court.program.chunks[court.index(kind)].output
    assert output is not None
    values = list(court.honest.values)
    values[output] = NO_DIGEST
    assert court.name(court.disproved(values)) == kind


def test_no_division_without_a_way_follows_a_requirement_in_its_leaf(court: Court) -> None:
    """Else a claim that fails the requirement could make the division meaningless, and the leaf with it."""
    for leaf in court.program.leaves:
        required = [index for index, item in enumerate(leaf.operations) if isinstance(item, Require)]
        divided = [index for index, item in enumerate(leaf.operations) if isinstance(item, Hint) and not item.divisor]
        assert not required or not divided or max(divided) < min(required)


WITNESSES = {
    "ones": [1] * 6,
    "last elements": [P - 1] * 6,
    "one alone": [1, 0, 0, 0, 0, 0],
    "u": [0, 1, 0, 0, 0, 0],
    "v": [0, 0, 1, 0, 0, 0],
    "full limbs": [LIMBS_FULL] * 6,
    "halves": [P // 2, P // 2 + 1] * 3,
}


@pytest.mark.parametrize("name", WITNESSES)
def test_a_lie_about_any_residue_witness_is_disproved(court: Court, name: str) -> None:
    """The operator chooses the witness, and lies about a later state."""
    raw = court.replaced({f"c.{index}": value for index, value in enumerate(WITNESSES[name])})
    claimed = court.claimed(raw)
    assert court.program.run(raw).failed == len(court.program.chunks) - 1
    for kind in (
        "residue witness",
        "square of the residue witness, power 2",
        "step0.double",
        "step2.root",
        "frobenius2",
    ):
        output = court.program.chunks[court.index(kind)].output
        assert output is not None
        assert court.name(court.disproved([*claimed[:output], bytes(20), *claimed[output + 1 :]])) == kind


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(2))
def test_leaves_have_the_right_verdict_on_many_states(court: Court, kind: str, seed: int) -> None:
    draw_states(court, court.index(kind), f"{kind}/{seed}", 60 if kind in LIGHT else 25)


@pytest.mark.sweep
@pytest.mark.parametrize("part", range(8))
def test_every_leaf_has_the_right_verdict_on_any_state(court: Court, part: int) -> None:
    for index in range(part, len(court.program.chunks), 8):
        draw_states(court, index, str(index), 2)
