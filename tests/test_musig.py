"""MuSig2 sessions: aggregate keys, blame by name, nonces that sign once."""

import hashlib
from collections.abc import Sequence

import pytest

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.signing.musig import MAX_MEMBERS, Committee, NonceUse, Signer, combine, sign_together

DIGESTS = {f"tx {n}": hashlib.sha256(bytes([n])).digest() for n in range(3)}


def no_guard(_: Sequence[NonceUse]) -> None:
    """Nothing recorded: the test looks at the session alone."""


def make(count: int) -> tuple[Committee, list[Signer]]:
    keys = {f"m{n}": Seed(Role.COMMITTEE, bytes([n + 1]) * 32).committee_key(b"request") for n in range(count)}
    committee = Committee(tuple((name, key.public) for name, key in keys.items()))
    return committee, [Signer(committee, name, key, no_guard) for name, key in keys.items()]


@pytest.mark.parametrize("count", [1, 2, 3, 15, MAX_MEMBERS])
def test_all_members_together(count: int) -> None:
    committee, signers = make(count)
    signatures = sign_together(signers, DIGESTS)
    assert signatures.keys() == DIGESTS.keys()
    for label, digest in DIGESTS.items():
        assert secp.verify(committee.key, digest, signatures[label])


def test_the_key_does_not_depend_on_the_order() -> None:
    committee, _ = make(4)
    assert Committee(committee.members[::-1]).key == committee.key
    assert committee.key not in {key[1:] for _, key in committee.members}


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ((), "committee"),
        (tuple((f"m{n}", b"\x02" * 33) for n in range(MAX_MEMBERS + 1)), "committee"),
        ((("a", b"\x05" + bytes(32)),), "key of member 'a'"),
        ((("a", secp.public_key(b"\x01" * 32)), ("a", secp.public_key(b"\x02" * 32))), "committee names"),
        ((("a", secp.public_key(b"\x01" * 32)), ("b", secp.public_key(b"\x01" * 32))), "committee keys"),
    ],
)
def test_bad_committees(members: tuple[tuple[str, bytes], ...], field: str) -> None:
    with pytest.raises(BadInput) as refused:
        Committee(members)
    assert refused.value.field == field


def rounds(count: int = 3) -> tuple[Committee, list[Signer], dict[str, dict[str, bytes]]]:
    committee, signers = make(count)
    return committee, signers, {signer.name: signer.nonces(DIGESTS) for signer in signers}


def test_a_bad_partial_signature_is_blamed() -> None:
    committee, signers, nonces = rounds()
    partials = {signer.name: signer.sign(DIGESTS, nonces) for signer in signers}
    for name in committee.names:
        for bad in (partials[name]["tx 1"][::-1], partials[name]["tx 0"], b"", bytes(32), b"\xff" * 32):
            spoiled = {**partials, name: {**partials[name], "tx 1": bad}}
            with pytest.raises(VerificationFailed, match=f"member '{name}'.*'tx 1'"):
                combine(committee, DIGESTS, nonces, spoiled)
    assert combine(committee, DIGESTS, nonces, partials).keys() == DIGESTS.keys()


def test_a_bad_nonce_is_blamed() -> None:
    _, signers, nonces = rounds()
    for bad in (b"", bytes(66), b"\x04" + nonces["m1"]["tx 1"][1:]):
        spoiled = {**nonces, "m1": {**nonces["m1"], "tx 1": bad}}
        with pytest.raises(VerificationFailed, match="member 'm1': the nonce of 'tx 1'"):
            signers[0].sign(DIGESTS, spoiled)
        signers[0].nonces(DIGESTS)
        nonces["m0"] = signers[0].nonces(DIGESTS)


def test_missing_and_unknown_members_are_named() -> None:
    committee, signers, nonces = rounds()
    partials = {signer.name: signer.sign(DIGESTS, nonces) for signer in signers}
    with pytest.raises(VerificationFailed, match="member 'm2': partial signatures are missing"):
        combine(committee, DIGESTS, nonces, {name: partials[name] for name in ("m0", "m1")})
    with pytest.raises(VerificationFailed, match="member 'm0': nonces are missing"):
        combine(committee, DIGESTS, {name: nonces[name] for name in ("m1", "m2")}, partials)
    with pytest.raises(VerificationFailed, match="'eve': sent partial signatures but is no member"):
        combine(committee, DIGESTS, nonces, {**partials, "eve": partials["m0"]})


def test_a_nonce_signs_once() -> None:
    _, signers, nonces = rounds()
    signers[0].sign(DIGESTS, nonces)
    with pytest.raises(BridgeError, match="no unused nonce for 'tx 0'"):
        signers[0].sign(DIGESTS, nonces)


def test_a_nonce_signs_only_its_digest() -> None:
    _, signers, nonces = rounds()
    swapped = {**DIGESTS, "tx 1": DIGESTS["tx 2"]}
    with pytest.raises(BridgeError, match="another digest"):
        signers[0].sign(swapped, nonces)
    with pytest.raises(BridgeError, match="no unused nonce"):
        signers[0].sign({"tx 1": DIGESTS["tx 1"]}, nonces)


def test_a_member_signs_only_with_its_own_nonces() -> None:
    _, signers, nonces = rounds()
    with pytest.raises(BridgeError, match="other nonces of this member"):
        signers[0].sign(DIGESTS, {**nonces, "m0": nonces["m1"]})


def test_the_guard_speaks_before_a_signature_exists() -> None:
    committee, signers, nonces = rounds()
    seen: list[Sequence[NonceUse]] = []

    def refuse(uses: Sequence[NonceUse]) -> None:
        seen.append(uses)
        raise BridgeError("refused by the guard")

    guarded = Signer(committee, "m0", Seed(Role.COMMITTEE, b"\x01" * 32).committee_key(b"request"), refuse)
    own = guarded.nonces(DIGESTS)
    with pytest.raises(BridgeError, match="refused by the guard"):
        guarded.sign(DIGESTS, {**nonces, "m0": own})
    ((first, *_),) = seen
    assert (first.public_nonce, first.digest) == (own["tx 0"], DIGESTS["tx 0"])
    with pytest.raises(BridgeError, match="no unused nonce"):
        guarded.sign(DIGESTS, {**nonces, "m0": own})
    assert signers[1].name == "m1"


def test_a_signer_needs_its_own_key() -> None:
    committee, _ = make(2)
    with pytest.raises(BadInput, match="committee member"):
        Signer(committee, "m0", Seed(Role.COMMITTEE, b"\x02" * 32).committee_key(b"request"), no_guard)
