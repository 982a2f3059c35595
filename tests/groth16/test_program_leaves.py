"""The whole verifier: no leaf is satisfied by an honest claim, and every committed value is covered by one.

`make sweep` corrupts every value and runs every leaf; the tests of a plain run take one chunk of each kind.
"""

from random import Random

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.base import DIGEST_BITS
from bitvm_bridge.program.groth16.native.field import R
from bitvm_bridge.program.partition import COMPACT
from bitvm_bridge.transaction import MAX_MINEABLE_WEIGHT
from tests.groth16.court import CONSTANT, FREE, KINDS, Court

kinds = pytest.mark.parametrize("kind", KINDS)
EDGES = (0, 1, R - 1)


def flipped(value: bytes, seed: int) -> bytes:
    """One bit of it."""
    bit = Random(seed).randrange(8 * len(value))
    return (int.from_bytes(value, "little") ^ 1 << bit).to_bytes(len(value), "little")


def test_an_honest_claim_has_no_wrong_chunk(court: Court) -> None:
    assert court.honest.failed is None
    assert court.program.first_wrong(court.honest.values) is None


@kinds
def test_no_leaf_is_satisfied_by_an_honest_claim(court: Court, kind: str) -> None:
    assert not court.accepts(court.index(kind), court.honest, court.honest.values)


@kinds
def test_a_wrong_output_is_disproved(court: Court, kind: str) -> None:
    output = court.program.chunks[court.index(kind)].output
    if output is None:
        assert kind in {"points A and C", "point B", "pairing equation"}
        return
    values = list(court.honest.values)
    values[output] = flipped(values[output], output)
    verdict = court.disproved(values)
    assert court.name(verdict) == kind
    assert verdict.reason.startswith(f"{kind}.state is ")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("A.x", "points A and C"),
        ("C.y", "points A and C"),
        ("B.x.1", "point B"),
        ("c.0", "residue witness, first half"),
        ("c.5", "residue witness"),
        ("input.0", "public inputs"),
    ],
)
def test_a_raw_value_that_does_not_fit_the_rest_is_disproved(court: Court, name: str, kind: str) -> None:
    slot = court.slot(name)
    values = list(court.honest.values)
    values[slot] = (int.from_bytes(values[slot], "little") ^ 1).to_bytes(32, "little")
    assert court.name(court.disproved(values)) == kind


@pytest.mark.parametrize("free", EDGES)
def test_edges_among_the_public_inputs_are_honest(court: Court, free: int) -> None:
    proof = court.proof(free, seed=free % 97)
    run = court.program.run(court.program.raw(proof, [free]))
    assert run.failed is None
    for kind in ("public inputs", "preparation", "pairing equation"):
        assert not court.accepts(court.index(kind), run, run.values)


def test_an_assertion_has_all_values(court: Court) -> None:
    with pytest.raises(BadInput):
        court.program.first_wrong(court.honest.values[:-1])


def test_the_plan_is_what_the_leaves_have(court: Court) -> None:
    """Bytes of a whole leaf and its witness, within what one Disprove may weigh."""
    for kind in KINDS:
        index = court.index(kind)
        size = len(court.script(index)) + sum(map(len, court.witness(index, court.honest, court.honest.values)))
        assert size <= COMPACT.leaf < MAX_MINEABLE_WEIGHT
    digests = [value for value in court.program.values if value.bits == DIGEST_BITS]
    assert len(digests) + court.program.raw_count == len(court.program.values)
    assert court.program.constants == {0: CONSTANT}
    assert court.program.raw_names[-1] == "input.0"
    assert int.from_bytes(court.raw[-1], "little") == FREE


@pytest.mark.sweep
def test_no_leaf_of_the_tree_is_satisfied_by_an_honest_claim(court: Court) -> None:
    for index in range(len(court.program.chunks)):
        assert not court.accepts(index, court.honest, court.honest.values), court.program.chunks[index].name


@pytest.mark.sweep
@pytest.mark.parametrize("part", range(8))
def test_every_corrupted_value_is_disproved_and_its_neighbours_are_not(court: Court, part: int) -> None:
    """A leaf that does not read the value has nothing to say of it, whatever its author knows of the wrong run."""
    for slot in range(part, len(court.honest.values), 8):
        values = list(court.honest.values)
        values[slot] = flipped(values[slot], slot)
        verdict = court.disproved(values)
        chunks = court.program.chunks
        for index in (verdict.chunk - 1, verdict.chunk + 1, verdict.chunk + 2):
            if 0 <= index < len(chunks) and slot not in {*chunks[index].inputs, chunks[index].output}:
                assert not court.accepts(index, court.honest, values)
