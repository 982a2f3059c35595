"""This project's own form of a key, and of a proof with its public inputs: one encoding for each.

A name, a count of public inputs (1 byte), then points and inputs of 32-byte big-endian numbers, an element of Fq2 by
its coefficient of 1 first.

    key     name, count, alpha, beta, gamma, delta, IC₀, IC₁ …
    proof   name, count, a, b, c, inputs
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats.values import (
    COORDINATE_SIZE,
    KEY,
    MAX_INPUTS,
    PROOF,
    PUBLIC,
    Reader,
    check_input,
    make_g1,
    make_g2,
    split,
)
from bitvm_bridge.program.groth16.native.curve import G1, G2
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, check_proof

KEY_NAME: Final = b"groth16/bn254/key/1"
PROOF_NAME: Final = b"groth16/bn254/proof/1"


def encode_key(key: VerifyingKey) -> bytes:
    """The stored form, whose hash names the program. Raises BadInput for more than 16 public inputs."""
    points = (*key.alpha, *_flat(key.beta), *_flat(key.gamma), *_flat(key.delta), *(v for p in key.ic for v in p))
    return KEY_NAME + bytes([_check_count(key.input_count)]) + _numbers(points)


def decode_key(data: bytes) -> VerifyingKey:
    """The key of this encoding; constants may have been folded until no public input is left. Raises BadInput."""
    reader, count = _open(data, KEY, KEY_NAME)
    alpha = _g1(reader, "alpha")
    beta, gamma, delta = (_g2(reader, name) for name in ("beta", "gamma", "delta"))
    ic = tuple(_g1(reader, f"ic[{index}]") for index in range(count + 1))
    reader.finish()
    return VerifyingKey(alpha, beta, gamma, delta, ic)


def key_hash(key: VerifyingKey) -> bytes:
    """SHA-256 of the stored form (32 bytes)."""
    return hashlib.sha256(encode_key(key)).digest()


def encode_proof(proof: Proof, inputs: Sequence[int]) -> bytes:
    """A proof with its public inputs. Raises BadInput for more than 16 of them, or a value that is not below R."""
    values = [check_input(index, value) for index, value in enumerate(inputs)]
    return PROOF_NAME + bytes([_check_count(len(values))]) + _numbers((*proof.a, *_flat(proof.b), *proof.c, *values))


def decode_proof(data: bytes) -> tuple[Proof, tuple[int, ...]]:
    """The proof and the public inputs of this encoding. Raises BadInput."""
    reader, count = _open(data, PROOF, PROOF_NAME)
    proof = Proof(_g1(reader, "a"), _g2(reader, "b"), _g1(reader, "c"))
    inputs = tuple(check_input(index, _take(reader, 1, f"public input {index}")[0]) for index in range(count))
    reader.finish()
    check_proof(proof)
    return proof, inputs


def _open(data: bytes, kind: str, name: bytes) -> tuple[Reader, int]:
    reader = Reader(data, kind)
    if reader.take(len(name), "its name") != name:
        raise BadInput(kind, data[: len(name)], f"an encoding that begins with {name.decode()}")
    return reader, _check_count(reader.take(1, f"the number of {PUBLIC}")[0])


def _check_count(count: int) -> int:
    if count > MAX_INPUTS:
        raise BadInput(f"number of {PUBLIC}", count, f"at most {MAX_INPUTS}")
    return count


def _flat(point: G2) -> Iterable[int]:
    return (*point[0], *point[1])


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(COORDINATE_SIZE, "big") for value in values)


def _take(reader: Reader, count: int, field: str) -> list[int]:
    return split(reader.take(count * COORDINATE_SIZE, field), "big")


def _g1(reader: Reader, name: str) -> G1:
    return make_g1(f"{reader.kind} {name}", _take(reader, 2, name), False)


def _g2(reader: Reader, name: str) -> G2:
    return make_g2(f"{reader.kind} {name}", _take(reader, 4, name), False)
