"""Files that snarkjs, arkworks and gnark wrote are read, and every proof among them verifies."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats import (
    decode_key,
    decode_proof,
    detect_key,
    detect_proof,
    detect_public,
    encode_key,
    encode_proof,
    key_hash,
    read_key,
    read_proof,
    read_public,
)
from bitvm_bridge.program.groth16.native.field import R
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, verify
from tests.groth16.provers import ALL, BINARY, FIXTURES, Prover, fixture, proofs, raw_key, raw_proof

BRIDGE_KEY_HASH = "3aa984085893f0385c656b76d02fa59369a1577342a7a3600b3ba1037c80a69d"
KEYS = sorted(FIXTURES.glob("*/verif*"))


def _name(value: object) -> str:
    return "/".join(value.parts[-2:]) if isinstance(value, Path) else str(getattr(value, "name", value))


def _key_beside(path: Path) -> VerifyingKey:
    return read_key(next(path.parent.glob("verif*")).read_bytes())


def _public_beside(path: Path) -> tuple[int, ...]:
    return read_public(next(path.parent.glob(path.name.partition(".")[0] + ".public.*")).read_bytes())


@pytest.mark.parametrize("path", proofs(), ids=_name)
def test_a_proof_verifies_for_its_inputs_alone(path: Path) -> None:
    key, proof, inputs = _key_beside(path), read_proof(path.read_bytes()), _public_beside(path)
    assert verify(key, proof, inputs)
    for index, value in enumerate(inputs):
        changed = (*inputs[:index], (value + 1) % R, *inputs[index + 1 :])
        assert not verify(key, proof, changed)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("square/zero", (0,)),
        ("square/one", (1,)),
        ("square/largest", (R - 1,)),
        ("factors/zeros", (0, 0)),
        ("factors/edges", (0, 1)),
        ("factors/largest", (0, R - 1)),
        ("polynomial/edges", (0, 1, R - 1, 1, R - 1)),
        ("polynomial/ones", (R - 1, 1, R - 1, 0, 1)),
    ],
)
def test_the_inputs_are_what_the_table_of_the_fixtures_says(name: str, expected: Sequence[int]) -> None:
    assert read_public(fixture(f"{name}.public.json")) == expected


@pytest.mark.parametrize(("name", "expected"), [("zero", 0), ("one", 1), ("largest", R - 1)])
def test_the_bridge_circuit_takes_any_instance(name: str, expected: int) -> None:
    assert read_public(fixture("bridge", f"{name}.public.json"))[0] == expected


@pytest.mark.parametrize("folder", ["arkworks", "gnark"])
def test_both_serialisations_of_a_prover_give_the_same(folder: str) -> None:
    keys = {key_hash(read_key(path.read_bytes())) for path in (FIXTURES / folder).glob("verif*")}
    assert len(keys) == 1
    for name in ("largest", "other"):
        found = [read_proof(path.read_bytes()) for path in (FIXTURES / folder).glob(f"{name}.proof.*")]
        assert len(found) == 2
        assert found[0] == found[1]


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("square/verification_key.json", "snarkjs"),
        ("arkworks/verifying_key.compressed.bin", "arkworks, compressed"),
        ("arkworks/verifying_key.uncompressed.bin", "arkworks, uncompressed"),
        ("gnark/verifying_key.compressed.bin", "gnark, compressed"),
        ("gnark/verifying_key.raw.bin", "gnark, raw"),
        ("gnark/committed_key.raw.bin", "gnark, raw"),
    ],
)
def test_the_format_of_a_key_is_told_from_its_content(path: str, expected: str) -> None:
    assert detect_key(fixture(path)) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("square/one.proof.json", "snarkjs"),
        ("arkworks/other.proof.compressed.bin", "arkworks, compressed"),
        ("arkworks/other.proof.uncompressed.bin", "arkworks, uncompressed"),
        ("gnark/other.proof.compressed.bin", "gnark, compressed"),
        ("gnark/other.proof.raw.bin", "gnark, raw"),
    ],
)
def test_the_format_of_a_proof_is_told_from_its_content(path: str, expected: str) -> None:
    assert detect_proof(fixture(path)) == expected


def test_the_format_of_public_inputs_is_told_from_their_content() -> None:
    assert detect_public(fixture("square/one.public.json")) == "snarkjs"
    assert detect_public(fixture("arkworks/other.public.bin")).startswith("arkworks")
    assert detect_public(fixture("gnark/other.public.bin")).startswith("gnark")


# Our second opinion on the formats writes what the provers wrote, so it can be trusted with what they never write.


@pytest.mark.parametrize("prover", BINARY, ids=_name)
def test_the_encoders_of_the_tests_agree_with_the_provers(prover: Prover) -> None:
    folder, form = prover.name.split(", ")
    key = fixture(folder, f"verifying_key.{form}.bin")
    again = prover.key(raw_key(read_key(key)))
    if folder == "arkworks":
        assert again == key
    else:
        beta, delta = (32, 192) if form == "compressed" else (64, 384)
        size = beta
        patched = bytearray(key)
        for at in (beta, delta):
            patched[at : at + size] = again[at : at + size]
        assert again == patched
    for name in ("largest", "other"):
        proof, public = fixture(folder, f"{name}.proof.{form}.bin"), fixture(folder, f"{name}.public.bin")
        assert prover.proof(raw_proof(read_proof(proof))) == proof
        assert prover.public(read_public(public)) == public


@pytest.mark.parametrize("prover", ALL, ids=_name)
@pytest.mark.parametrize("path", KEYS, ids=_name)
def test_a_key_is_the_same_in_every_format(prover: Prover, path: Path) -> None:
    key = read_key(path.read_bytes())
    raw = prover.key(raw_key(key))
    assert detect_key(raw) == prover.name
    assert read_key(raw) == key


@pytest.mark.parametrize("prover", ALL, ids=_name)
@pytest.mark.parametrize("path", proofs()[::3], ids=_name)
def test_a_proof_is_the_same_in_every_format(prover: Prover, path: Path) -> None:
    proof, inputs = read_proof(path.read_bytes()), _public_beside(path)
    raw = prover.proof(raw_proof(proof))
    assert detect_proof(raw) == prover.name
    assert read_proof(raw) == proof
    assert read_public(prover.public(inputs)) == inputs


@pytest.mark.parametrize("prover", ALL, ids=_name)
def test_one_to_sixteen_inputs(prover: Prover) -> None:
    key = read_key(fixture("square", "verification_key.json"))
    for count in (1, 16):
        wide = VerifyingKey(key.alpha, key.beta, key.gamma, key.delta, key.ic[:1] * (count + 1))
        assert read_key(prover.key(raw_key(wide))) == wide
        assert read_public(prover.public(range(count))) == tuple(range(count))


# The stored form.


@pytest.mark.parametrize("path", KEYS, ids=_name)
def test_a_stored_key_is_the_key(path: Path) -> None:
    key = read_key(path.read_bytes())
    raw = encode_key(key)
    assert len(raw) == 20 + 64 + 3 * 128 + 64 * len(key.ic)
    assert decode_key(raw) == key
    assert read_key(raw) == key
    assert detect_key(raw) == "bitvm-bridge"


def test_a_key_with_every_input_folded_is_stored_too() -> None:
    key = read_key(fixture("factors", "verification_key.json")).fold({0: 5, 1: R - 1})
    assert key.input_count == 0
    assert read_key(encode_key(key)) == key


@pytest.mark.parametrize("path", proofs()[::4], ids=_name)
def test_a_stored_proof_is_the_proof_and_its_inputs(path: Path) -> None:
    proof, inputs = read_proof(path.read_bytes()), _public_beside(path)
    raw = encode_proof(proof, inputs)
    assert len(raw) == 22 + 256 + 32 * len(inputs)
    assert decode_proof(raw) == (proof, inputs)
    assert read_proof(raw) == proof
    assert read_public(raw) == inputs


def test_the_hash_names_the_key() -> None:
    hashes = {key_hash(read_key(path.read_bytes())) for path in KEYS}
    assert len(hashes) == len(KEYS) - 2, "arkworks and gnark wrote one key twice"
    key = read_key(fixture("bridge", "verification_key.json"))
    assert key_hash(key).hex() == BRIDGE_KEY_HASH
    assert key_hash(key.fold({0: 1})) not in hashes


def test_a_proof_in_no_group_is_stored_nowhere() -> None:
    proof = read_proof(fixture("square", "one.proof.json"))
    broken = encode_proof(Proof((1, 3), proof.b, proof.c), (1,))
    with pytest.raises(BadInput, match=r"^proof a: .* is not a point of G1"):
        decode_proof(broken)
