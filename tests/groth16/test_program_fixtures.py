"""Proofs of real provers as raw values of the program: accepted by the circuit, and by no leaf of the tree.

A plain run evaluates the circuit of every key natively; `make sweep` compiles the program of one of them.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import Checks, Groth16, Groth16Spec
from bitvm_bridge.program.groth16.circuit import verifier
from bitvm_bridge.program.groth16.formats import encode_proof, read_key, read_proof, read_public
from bitvm_bridge.program.groth16.native.field import P, R
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey
from bitvm_bridge.program.groth16.program import Plan
from scripts_tapleaf import winternitz
from tests.core import spend_leaf
from tests.groth16.court import SEED
from tests.groth16.provers import FIXTURES
from tests.groth16.toy import g1

COUNTS = {"square": 1, "factors": 2, "bridge": 2, "polynomial": 5}
PROOFS = {
    f"{folder}-{path.name.removesuffix('.proof.json')}": (folder, path)
    for folder in COUNTS
    for path in sorted((FIXTURES / folder).glob("*.proof.json"))
}
every_proof = pytest.mark.parametrize(("folder", "path"), list(PROOFS.values()), ids=list(PROOFS))


def key_of(folder: str) -> VerifyingKey:
    return read_key((FIXTURES / folder / "verification_key.json").read_bytes())


def proof_of(path: Path) -> tuple[Proof, tuple[int, ...]]:
    public = path.with_name(path.name.replace(".proof.", ".public."))
    return read_proof(path.read_bytes()), read_public(public.read_bytes())


@cache
def in_one_leaf(folder: str, constant: int | None = None) -> Groth16:
    """The program of a key, with a constant for its first public input or none, cut nowhere: it cannot be compiled,
    and has the same run.
    """
    key, constants = key_of(folder), {} if constant is None else {0: constant}
    folded = key.fold(constants)
    return Groth16(key, folded, constants, Plan((len(verifier(folded).operations),), (0,), (0,), (0,)))


def test_there_are_proofs_of_every_key() -> None:
    assert {folder for folder, _ in PROOFS.values()} == set(COUNTS)
    assert len(PROOFS) >= 13


@every_proof
def test_real_proofs_are_accepted(folder: str, path: Path) -> None:
    proof, inputs = proof_of(path)
    assert len(inputs) == COUNTS[folder]
    program = in_one_leaf(folder)
    assert program.run(program.read_input(encode_proof(proof, inputs))).failed is None


@pytest.mark.parametrize("folder", COUNTS)
def test_real_proofs_are_accepted_where_an_input_is_bound(folder: str) -> None:
    proof, inputs = proof_of(PROOFS[f"{folder}-other"][1])
    program = in_one_leaf(folder, inputs[0])
    assert program.run(program.read_input(encode_proof(proof, inputs))).failed is None
    assert program.raw_count == 14 + len(inputs) - 1


@every_proof
def test_real_proofs_of_other_inputs_are_not(folder: str, path: Path) -> None:
    proof, inputs = proof_of(path)
    program = in_one_leaf(folder)
    for index, value in enumerate(inputs):
        wrong = [*inputs[:index], (value + 1) % R, *inputs[index + 1 :]]
        run = program.run(program.raw(proof, wrong))
        assert run.reason == "the pairing equation does not hold"
    spoiled = replace(proof, c=g1(2))
    assert program.run(program.raw(spoiled, inputs)).reason == "the pairing equation does not hold"
    off = replace(proof, a=(proof.a[0], (proof.a[1] + 1) % P))
    with pytest.raises(BadInput, match="proof a"):
        program.raw(off, inputs)


def test_a_proof_of_another_key_with_as_many_inputs_is_not() -> None:
    proof, inputs = proof_of(PROOFS["factors-other"][1])
    program = in_one_leaf("bridge")
    assert program.run(program.raw(proof, inputs)).reason == "the pairing equation does not hold"


@pytest.mark.sweep
def test_a_real_proof_before_core() -> None:
    """No leaf is satisfied by it; every leaf is by a wrong output, and the last one by another public input."""
    proof, inputs = proof_of(PROOFS["bridge-other"][1])
    instance = inputs[0].to_bytes(32, "big")
    program = Groth16Spec(key_of("bridge")).specialise(instance)
    values = enumerate(program.values)
    secrets = [winternitz.derive_secret(SEED, instance, slot, value.bits) for slot, value in values]
    checks = Checks(program, tuple(map(winternitz.public_key, secrets)))

    def judge(index: int, claimed: tuple[bytes, ...]) -> bool:
        run = program.run(claimed[: program.raw_count])
        signatures = [winternitz.sign(secret, value) for secret, value in zip(secrets, claimed, strict=True)]
        name = program.chunks[index].name
        return spend_leaf(checks.leaf(name), checks.witness(index, run, claimed, signatures))

    honest = program.run(program.read_input(encode_proof(proof, inputs))).values
    for index, chunk in enumerate(program.chunks):
        assert not judge(index, honest)
        if chunk.output is not None:
            assert judge(index, (*honest[: chunk.output], bytes(20), *honest[chunk.output + 1 :]))
    false = program.run(program.raw(proof, [(inputs[1] + 1) % R]))
    assert false.failed == len(program.chunks) - 1
    assert judge(false.failed, false.values)
