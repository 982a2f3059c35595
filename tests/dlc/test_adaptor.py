"""ECDSA adaptor signatures: the public vectors, every field bent, and coincurve as a second opinion."""

import json
from typing import Any

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.errors import BadInput, VerificationFailed
from tests.vectors import vectors_dir

scalars = st.integers(1, secp.ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
words = st.binary(min_size=32, max_size=32)
SECRET, OTHER = bytes([7]) * 32, bytes([9]) * 32
KEY, POINT = secp.public_key(SECRET), secp.public_key(OTHER)
DIGEST = bytes(range(32))


def cases(kind: str) -> list[dict[str, Any]]:
    rows = json.loads((vectors_dir() / "dlcspecs" / "ecdsa_adaptor.json").read_text())
    return [row for row in rows if row["kind"] == kind]


def raw(case: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(case[name])


def test_verification_vectors() -> None:
    found = cases("verification")
    assert {"error" in case for case in found} == {True, False}
    for case in found:
        comment = case.get("comment") or case["error"]
        message, key, point = (raw(case, name) for name in ("message_hash", "public_signing_key", "encryption_key"))
        valid = adaptor.verify(key, message, point, raw(case, "adaptor_sig"))
        assert valid is ("error" not in case), comment
        if valid:
            signature = adaptor.decrypt(raw(case, "adaptor_sig"), raw(case, "decryption_key"))
            assert signature == raw(case, "signature"), comment
            assert secp.ecdsa_verify(key, message, signature), comment
            assert adaptor.recover(raw(case, "adaptor_sig"), signature, point) == raw(case, "decryption_key"), comment


def test_recovery_vectors() -> None:
    found = cases("recovery")
    assert {"error" in case for case in found} == {True, False}
    for case in found:
        arguments = raw(case, "adaptor_sig"), raw(case, "signature"), raw(case, "encryption_key")
        if "error" in case:
            with pytest.raises(VerificationFailed):
                adaptor.recover(*arguments)
        else:
            assert adaptor.recover(*arguments) == raw(case, "decryption_key"), case["comment"]


def test_serialization_vectors() -> None:
    found = cases("serialization")
    assert {case["error"] is None for case in found} == {True, False}
    for case in found:
        if case["error"] is None:
            assert adaptor.check(raw(case, "adaptor_sig")) == raw(case, "adaptor_sig")
        else:
            with pytest.raises(BadInput, match="adaptor signature"):
                adaptor.check(raw(case, "adaptor_sig"))


def test_every_vector_has_been_read() -> None:
    rows = json.loads((vectors_dir() / "dlcspecs" / "ecdsa_adaptor.json").read_text())
    assert {row["kind"] for row in rows} == {"verification", "recovery", "serialization"}


@given(scalars, scalars, words)
def test_what_is_encrypted_decrypts_to_a_signature_that_reveals_the_secret(
    secret: bytes, oracle: bytes, digest: bytes
) -> None:
    key, point = secp.public_key(secret), secp.public_key(oracle)
    encrypted = adaptor.encrypt(secret, digest, point)
    assert adaptor.verify(key, digest, point, encrypted)
    signature = adaptor.decrypt(encrypted, oracle)
    assert coincurve.PublicKey(key).verify(secp.ecdsa_der(signature), digest, hasher=None)
    assert adaptor.recover(encrypted, signature, point) == oracle


@pytest.mark.parametrize("position", range(0, adaptor.ADAPTOR_SIGNATURE_SIZE, 3))
def test_a_bent_adaptor_signature_is_refused(position: int) -> None:
    good = adaptor.encrypt(SECRET, DIGEST, POINT, bytes(32))
    bent = bytearray(good)
    bent[position] ^= 1
    assert not adaptor.verify(KEY, DIGEST, POINT, bytes(bent))


def test_it_is_bound_to_key_digest_and_point() -> None:
    good = adaptor.encrypt(SECRET, DIGEST, POINT)
    assert adaptor.verify(KEY, DIGEST, POINT, good)
    assert not adaptor.verify(POINT, DIGEST, POINT, good)
    assert not adaptor.verify(KEY, bytes(32), POINT, good)
    assert not adaptor.verify(KEY, DIGEST, KEY, good)


@given(st.binary(max_size=200), st.binary(max_size=40), st.binary(max_size=40))
def test_junk_does_not_verify(junk: bytes, key: bytes, digest: bytes) -> None:
    assert not adaptor.verify(KEY, DIGEST, POINT, junk)
    assert not adaptor.verify(key, digest, POINT, junk)


def test_an_unproved_point_is_refused() -> None:
    """`R` for another encryption key: a valid signature could never be made of it, and the proof says so."""
    good, other = (adaptor.encrypt(SECRET, DIGEST, point, bytes(32)) for point in (POINT, KEY))
    assert not adaptor.verify(KEY, DIGEST, POINT, other[:33] + good[33:])


def test_the_wrong_secret_makes_no_signature() -> None:
    encrypted = adaptor.encrypt(SECRET, DIGEST, POINT)
    assert not secp.ecdsa_verify(KEY, DIGEST, adaptor.decrypt(encrypted, SECRET))


def test_a_signature_of_something_else_reveals_nothing() -> None:
    encrypted = adaptor.encrypt(SECRET, DIGEST, POINT)
    with pytest.raises(VerificationFailed, match="another r"):
        adaptor.recover(encrypted, secp.ecdsa_sign(SECRET, DIGEST), POINT)
    with pytest.raises(VerificationFailed, match="another encryption key"):
        adaptor.recover(encrypted, adaptor.decrypt(encrypted, SECRET), POINT)


def test_refusals_show_no_secret() -> None:
    with pytest.raises(BadInput) as refusal:
        adaptor.decrypt(adaptor.encrypt(SECRET, DIGEST, POINT), b"\xff" * 32)
    assert "ff" * 8 not in str(refusal.value)
    with pytest.raises(BadInput, match="message to sign"):
        adaptor.encrypt(SECRET, DIGEST[:31], POINT)
    with pytest.raises(BadInput, match="encryption key"):
        adaptor.encrypt(SECRET, DIGEST, bytes(33))


@given(scalars, words)
def test_ecdsa_agrees_with_coincurve_and_is_short(secret: bytes, digest: bytes) -> None:
    signature = secp.ecdsa_sign(secret, digest)
    der = secp.ecdsa_der(signature)
    assert len(der) <= 70
    assert secp.ecdsa_from_der(der) == signature
    assert coincurve.PublicKey.from_secret(secret).verify(der, digest, hasher=None)
    assert secp.ecdsa_verify(secp.public_key(secret), digest, signature)


def test_ecdsa_refuses_high_s_other_digests_and_loose_der() -> None:
    signature = secp.ecdsa_sign(SECRET, DIGEST)
    high = signature[:32] + secp.negate_secret(signature[32:])
    assert not secp.ecdsa_verify(KEY, DIGEST, high)
    assert secp.ecdsa_low_s(high) == signature
    assert not secp.ecdsa_verify(KEY, bytes(32), signature)
    assert not secp.ecdsa_verify(KEY, DIGEST, signature[:63])
    assert not secp.ecdsa_verify(KEY, DIGEST, b"\xff" * 64)
    for loose in (secp.ecdsa_der(signature) + b"\x00", b"", signature, secp.ecdsa_der(signature)[:-1]):
        with pytest.raises(BadInput, match="strict DER"):
            secp.ecdsa_from_der(loose)


@given(scalars, scalars)
def test_scalars_agree_with_arithmetic(left: bytes, right: bytes) -> None:
    a, b = int.from_bytes(left, "big"), int.from_bytes(right, "big")
    assert int.from_bytes(secp.multiply_secret(left, right), "big") == a * b % secp.ORDER
    assert int.from_bytes(secp.invert_secret(left), "big") * a % secp.ORDER == 1
    assert int.from_bytes(secp.negate_secret(left), "big") == secp.ORDER - a
    point = secp.public_key(right)
    assert secp.multiply_point(point, left) == secp.linear_combination((point, a))
    assert secp.linear_combination((point, a), (point, secp.ORDER - a)) is None
