"""Proofs that do not hold: some leaf is satisfied, and no leaf of a chunk that was computed as it should be.

`make sweep` runs every leaf of every false claim.
"""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats import encode_proof
from bitvm_bridge.program.groth16.native.curve import g1_neg, g2_neg
from bitvm_bridge.program.groth16.native.field import P, R
from tests.groth16.court import CONSTANT, FREE, KINDS, Court
from tests.groth16.toy import g1, g2, toy_key, toy_proof

FALSE = {
    "A": lambda court: court.program.raw(replace(court.proof(), a=g1(9)), [FREE]),
    "B": lambda court: court.program.raw(replace(court.proof(), b=g2(9)), [FREE]),
    "C": lambda court: court.program.raw(replace(court.proof(), c=g1(9)), [FREE]),
    "-A": lambda court: court.program.raw(replace(court.proof(), a=g1_neg(court.proof().a)), [FREE]),
    "-B": lambda court: court.program.raw(replace(court.proof(), b=g2_neg(court.proof().b)), [FREE]),
    "A and the witness of another A": lambda court: court.replaced(dict(zip(("A.x", "A.y"), g1(9), strict=True))),
    "C and the witness of another C": lambda court: court.replaced(dict(zip(("C.x", "C.y"), g1(9), strict=True))),
    "-A and the witness of A": lambda court: court.changed(A_y=P - court.proof().a[1]),
    "a proof of another key": lambda court: court.program.raw(
        toy_proof(toy_key(2, seed=6)[1], (CONSTANT, FREE), seed=3), [FREE]
    ),
    "a proof of another instance": lambda court: court.program.raw(
        toy_proof(court.trapdoor, (CONSTANT + 1, FREE), seed=3), [FREE]
    ),
    "the input plus one": lambda court: court.program.raw(court.proof(), [FREE + 1]),
    "the input less one, and the witness of the input": lambda court: court.changed(input_0=FREE - 1),
    "the negative input": lambda court: court.changed(input_0=R - FREE),
    "a proof of two, for one": lambda court: court.program.raw(court.proof(2), [1]),
}
WITNESSES = range(6)
EQUATION = "the pairing equation does not hold"


def disproved_at_the_end(court: Court, raw: Sequence[bytes]) -> tuple[bytes, ...]:
    """Everything is computed as it should be, and comes to a wrong end."""
    values = court.claimed(raw)
    verdict = court.disproved(values)
    assert (court.name(verdict), verdict.reason) == ("pairing equation", EQUATION)
    return values


@pytest.mark.parametrize("change", FALSE)
def test_false_proofs_are_disproved(court: Court, change: str) -> None:
    disproved_at_the_end(court, FALSE[change](court))


def altered_witness(court: Court, index: int) -> tuple[bytes, ...]:
    slot = court.slot(f"c.{index}")
    return court.replaced({f"c.{index}": (int.from_bytes(court.raw[slot], "little") + 1) % P})


@pytest.mark.parametrize("index", WITNESSES)
def test_a_wrong_residue_witness_is_disproved(court: Court, index: int) -> None:
    disproved_at_the_end(court, altered_witness(court, index))


def test_what_was_computed_as_it_should_be_is_not_disproved(court: Court) -> None:
    raw = FALSE["A"](court)
    values, run = court.claimed(raw), court.program.run(raw)
    for kind in KINDS[:-1]:
        assert not court.accepts(court.index(kind), run, values)


def test_a_wrong_state_hides_no_false_proof(court: Court) -> None:
    """Who lies about the last state, so that the equation seems to hold, is disproved one chunk before."""
    values = list(court.claimed(FALSE["C"](court)))
    last = court.program.chunks[-1].inputs[-1]
    values[last] = court.honest.values[last]
    verdict = court.disproved(values)
    assert court.program.chunks[verdict.chunk].output == last


@pytest.mark.parametrize("free", [FREE, 0, R - 1])
def test_only_proofs_of_this_instance_are_read(court: Court, free: int) -> None:
    proof = court.proof(free)
    raw = court.program.read_input(encode_proof(proof, (CONSTANT, free)))
    assert court.program.run(raw).failed is None
    with pytest.raises(BadInput, match="id of this instance"):
        court.program.read_input(encode_proof(proof, (CONSTANT + 1, free)))
    with pytest.raises(BadInput, match="public inputs"):
        court.program.read_input(encode_proof(proof, (CONSTANT,)))
    with pytest.raises(BadInput):
        court.program.read_input(None)


@pytest.mark.sweep
@pytest.mark.parametrize("change", FALSE)
def test_no_other_leaf_is_satisfied_by_a_false_proof(court: Court, change: str) -> None:
    raw = FALSE[change](court)
    values, run = court.claimed(raw), court.program.run(raw)
    verdicts = [court.accepts(index, run, values) for index in range(len(court.program.chunks))]
    assert verdicts == [*[False] * (len(verdicts) - 1), True]


@pytest.mark.sweep
@pytest.mark.parametrize("index", WITNESSES)
def test_no_other_leaf_is_satisfied_by_a_wrong_residue_witness(court: Court, index: int) -> None:
    raw = altered_witness(court, index)
    values, run = court.claimed(raw), court.program.run(raw)
    verdicts = [court.accepts(chunk, run, values) for chunk in range(len(court.program.chunks))]
    assert verdicts == [*[False] * (len(verdicts) - 1), True]
