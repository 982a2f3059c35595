"""Adaptor signatures: what the library is trusted with, blame by name, nonces bound to digest and point."""

import hashlib
from collections.abc import Sequence
from typing import Any

import coincurve
import pytest

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.signing import adaptor
from bitvm_bridge.signing.adaptor import AdaptorSigner, Lock, combine, presign_together
from bitvm_bridge.signing.musig import Committee, NonceUse
from bitvm_bridge.store import Store
from tests.builders import flip

SECRETS = [SecretKey(bytes([n]) * 32) for n in range(0x21, 0x29)]
LOCKS = {
    f"tx {n}": Lock(hashlib.sha256(bytes([n])).digest(), secret.public) for n, secret in enumerate(SECRETS)
}  # fmt: skip
"""So many that the nonces have both parities."""
ORDER = bytes.fromhex("fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141")


def no_guard(_: Sequence[NonceUse]) -> None:
    """Nothing recorded: the test looks at the session alone."""


def make(count: int = 2) -> tuple[Committee, list[AdaptorSigner]]:
    keys = {f"m{n}": SecretKey(bytes([n + 1]) * 32) for n in range(count)}
    committee = Committee(tuple((name, key.public) for name, key in keys.items()))
    return committee, [AdaptorSigner(committee, name, key, no_guard) for name, key in keys.items()]


def presigned(count: int = 2) -> tuple[Committee, dict[str, bytes]]:
    committee, signers = make(count)
    found = presign_together(signers, LOCKS)
    while {one[64] for one in found.values()} != {0, 1}:
        found = presign_together(signers, LOCKS)
    return committee, found


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_a_secret_completes_the_signature_and_comes_back_out_of_it(count: int) -> None:
    committee, found = presigned(count)
    for (label, lock), secret in zip(LOCKS.items(), SECRETS, strict=True):
        assert len(found[label]) == secp.PRE_SIGNATURE_SIZE
        assert adaptor.verify(committee.key, lock, found[label])
        assert not secp.verify(committee.key, lock.digest, found[label][:64]), "no signature yet"
        signature = adaptor.adapt(committee.key, lock, found[label], secret)
        assert secp.verify(committee.key, lock.digest, signature)
        assert coincurve.PublicKeyXOnly(committee.key).verify(signature, lock.digest)
        assert adaptor.extract(lock, found[label], signature) == secret


def test_nothing_verifies_under_another_point_digest_or_key() -> None:
    committee, found = presigned()
    labels = list(LOCKS)
    for label, other in zip(labels, [*labels[1:], labels[0]], strict=True):
        lock = LOCKS[label]
        assert not adaptor.verify(committee.key, Lock(lock.digest, LOCKS[other].point), found[label])
        assert not adaptor.verify(committee.key, Lock(LOCKS[other].digest, lock.point), found[label])
        assert not adaptor.verify(committee.key, lock, found[other])
        assert not adaptor.verify(SECRETS[0].xonly, lock, found[label])
        negated = bytes([lock.point[0] ^ 1]) + lock.point[1:]
        assert not adaptor.verify(committee.key, Lock(lock.digest, negated), found[label])


def test_every_byte_of_a_presignature_counts() -> None:
    committee, found = presigned()
    for label, lock in LOCKS.items():
        for position in range(65):
            assert not adaptor.verify(committee.key, lock, flip(found[label], position)), position


@pytest.mark.parametrize(
    "junk",
    [b"", bytes(64), bytes(65), bytes(66), b"\xff" * 65, bytes(32) + ORDER + b"\x00", bytes(64) + b"\x02"],
    ids=len,
)
def test_junk_is_no_presignature(junk: bytes) -> None:
    committee, _ = make()
    assert not adaptor.verify(committee.key, LOCKS["tx 0"], junk)
    with pytest.raises((BadInput, VerificationFailed)):
        adaptor.adapt(committee.key, LOCKS["tx 0"], junk, SECRETS[0])
    with pytest.raises((BadInput, VerificationFailed)):
        adaptor.extract(LOCKS["tx 0"], junk, bytes(64))


def test_another_secret_or_parity_completes_nothing() -> None:
    committee, found = presigned()
    for label, lock in LOCKS.items():
        secret = SECRETS[int(label[-1])]
        with pytest.raises(VerificationFailed, match="this secret is not that of the point"):
            adaptor.adapt(committee.key, lock, found[label], SecretKey(b"\x66" * 32))
        raw = secp.adapt(found[label], b"\x66" * 32)
        assert not secp.verify(committee.key, lock.digest, raw)
        other = found[label][:64] + bytes([found[label][64] ^ 1])
        with pytest.raises(VerificationFailed, match="the completed signature does not verify"):
            adaptor.adapt(committee.key, lock, other, secret)
        signature = adaptor.adapt(committee.key, lock, found[label], secret)
        with pytest.raises(VerificationFailed, match="was not made of this pre-signature"):
            adaptor.extract(lock, other, signature)


def test_a_signature_made_otherwise_reveals_nothing() -> None:
    committee, found = presigned()
    signature = adaptor.adapt(committee.key, LOCKS["tx 1"], found["tx 1"], SECRETS[1])
    with pytest.raises(BadInput, match="made from this pre-signature"):
        adaptor.extract(LOCKS["tx 0"], found["tx 0"], signature)
    same_nonce = found["tx 0"][:32] + signature[32:]
    with pytest.raises(VerificationFailed, match="was not made of this pre-signature"):
        adaptor.extract(LOCKS["tx 0"], found["tx 0"], same_nonce)
    with pytest.raises(BadInput, match="BIP340 signature"):
        adaptor.extract(LOCKS["tx 0"], found["tx 0"], signature[:63])


def test_a_secret_never_shows_itself() -> None:
    committee, found = presigned()
    signature = adaptor.adapt(committee.key, LOCKS["tx 0"], found["tx 0"], SECRETS[0])
    assert SECRETS[0].reveal().hex() not in repr(adaptor.extract(LOCKS["tx 0"], found["tx 0"], signature))


def session(count: int = 3) -> tuple[Committee, dict[str, dict[str, bytes]], dict[str, dict[str, bytes]]]:
    committee, signers = make(count)
    nonces = {signer.name: signer.nonces(LOCKS) for signer in signers}
    return committee, nonces, {signer.name: signer.sign(LOCKS, nonces) for signer in signers}


def test_a_wrong_contribution_has_a_name() -> None:
    committee, nonces, partials = session()
    for kind, given in (("nonces", nonces), ("partial signatures", partials)):
        lacking = {name: one for name, one in given.items() if name != "m1"}
        with pytest.raises(VerificationFailed, match=f"'m1': {kind} are missing"):
            combine(committee, LOCKS, *((lacking, partials) if kind == "nonces" else (nonces, lacking)))
    for changed in (flip(partials["m2"]["tx 3"], 31), bytes(32), b"\xff" * 32, b""):
        wrong = partials | {"m2": partials["m2"] | {"tx 3": changed}}
        with pytest.raises(VerificationFailed, match="'m2': the partial signature of 'tx 3' does not verify"):
            combine(committee, LOCKS, nonces, wrong)
    with pytest.raises(VerificationFailed, match="'m0': partial signatures of other transactions"):
        adaptor.check_partials(committee, "m0", LOCKS, nonces, {"tx 0": partials["m0"]["tx 0"]})
    broken = nonces | {"m1": nonces["m1"] | {"tx 2": b"\x05" * 66}}
    with pytest.raises(VerificationFailed, match="'m1': the nonce of 'tx 2' is not valid"):
        combine(committee, LOCKS, broken, partials)
    with pytest.raises(VerificationFailed, match="'m1': the nonce of 'tx 2' is not valid"):
        adaptor.check_nonces("m1", LOCKS, broken["m1"])


def test_a_partial_made_under_another_point_does_not_verify() -> None:
    """Who was told another point than the others signs something else, and is named."""
    committee, signers = make()
    other = {label: Lock(lock.digest, SecretKey(b"\x77" * 32).public) for label, lock in LOCKS.items()}
    nonces = {"m0": signers[0].nonces(LOCKS), "m1": signers[1].nonces(other)}
    partials = {"m0": signers[0].sign(LOCKS, nonces), "m1": signers[1].sign(other, nonces)}
    with pytest.raises(VerificationFailed, match="'m1': the partial signature of 'tx 0' does not verify"):
        combine(committee, LOCKS, nonces, partials)


def test_a_nonce_signs_its_digest_under_its_point_only_and_once() -> None:
    _, signers = make()
    swapped = {
        "digest": Lock(LOCKS["tx 1"].digest, LOCKS["tx 0"].point),
        "point": Lock(LOCKS["tx 0"].digest, LOCKS["tx 1"].point),
    }
    for lock in swapped.values():
        nonces = {signer.name: signer.nonces(LOCKS) for signer in signers}
        with pytest.raises(BridgeError, match="asked to sign 'tx 0' with another digest"):
            signers[0].sign({"tx 0": lock}, nonces)
        with pytest.raises(BridgeError, match="no unused nonce for 'tx 0'"):
            signers[0].sign({"tx 0": LOCKS["tx 0"]}, nonces)
    nonces = {signer.name: signer.nonces(LOCKS) for signer in signers}
    signers[0].sign(LOCKS, nonces)
    with pytest.raises(BridgeError, match="no unused nonce"):
        signers[0].sign(LOCKS, nonces)


def test_the_store_knows_what_a_nonce_signed(tmp_path: Any) -> None:
    store = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    key = SecretKey(b"\x01" * 32)
    committee = Committee((("m0", key.public),))
    seen: list[NonceUse] = []

    def guard(uses: Sequence[NonceUse]) -> None:
        store.nonce_guard(key.public)(uses)
        seen.extend(uses)

    presign_together([AdaptorSigner(committee, "m0", key, guard)], LOCKS)
    assert {use.digest for use in seen} == {lock.id for lock in LOCKS.values()}
    with pytest.raises(BridgeError, match="a nonce has already signed"):
        store.bind_nonces(seen[:1])
    store.close()


def test_a_guard_that_refuses_prevents_every_partial_signature() -> None:
    def refuse(_: Sequence[NonceUse]) -> None:
        raise BridgeError("not this one")

    committee, signers = make()
    careful = AdaptorSigner(committee, "m0", SecretKey(b"\x01" * 32), refuse)
    nonces = {"m0": careful.nonces(LOCKS), "m1": signers[1].nonces(LOCKS)}
    with pytest.raises(BridgeError, match="not this one"):
        careful.sign(LOCKS, nonces)
    with pytest.raises(BridgeError, match="no unused nonce"):
        careful.sign(LOCKS, nonces)


def test_bad_locks_and_signers() -> None:
    with pytest.raises(BadInput, match="adaptor point"):
        Lock(bytes(32), b"\x05" + bytes(32))
    with pytest.raises(BadInput, match="digest to lock"):
        Lock(bytes(31), SECRETS[0].public)
    committee, _ = make()
    with pytest.raises(BadInput, match="a member whose key this is"):
        AdaptorSigner(committee, "m0", SECRETS[0], no_guard)
    with pytest.raises(BadInput, match="signers"):
        presign_together([], LOCKS)


def test_a_nonce_is_shifted_as_bip327_writes_points() -> None:
    """The point at infinity, of which an aggregate may consist, is the neutral element."""
    first, second, point = (secret.public for secret in SECRETS[:3])
    expected = coincurve.PublicKey(first).combine([coincurve.PublicKey(point)]).format()
    assert secp.shift_nonce(first + second, point) == expected + second
    assert secp.shift_nonce(bytes(33) + second, point) == point + second
    opposite = bytes([point[0] ^ 1]) + point[1:]
    for aggregate in (opposite + second, b"\x05" * 66, b""):
        with pytest.raises(BadInput, match="aggregate nonce"):
            secp.shift_nonce(aggregate, point)
