"""MuSig2 sessions: aggregate keys, blame by name, nonces that sign once."""

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import coincurve
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.signing.musig import MAX_MEMBERS, Committee, NonceUse, Signer, combine, sign_together
from tests.vectors import vectors_dir

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


def test_coincurve_accepts_the_aggregate_signature() -> None:
    committee, signers = make(4)
    for label, signature in sign_together(signers, DIGESTS).items():
        assert coincurve.PublicKeyXOnly(committee.key).verify(signature, DIGESTS[label])


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(5)))
def test_any_order_of_members_is_one_committee(order: list[int]) -> None:
    committee, signers = make(5)
    shuffled = Committee(tuple(committee.members[index] for index in order))
    assert (shuffled.key, shuffled.names) == (committee.key, committee.names)
    signatures = sign_together([signers[index] for index in order], DIGESTS)
    assert all(secp.verify(shuffled.key, digest, signatures[label]) for label, digest in DIGESTS.items())


def test_the_key_does_not_depend_on_order_or_names() -> None:
    committee, _ = make(4)
    renamed = Committee(tuple((f"n{9 - n}", key) for n, (_, key) in enumerate(committee.members)))
    assert renamed.key == committee.key
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


def test_a_session_needs_every_member() -> None:
    _, signers = make(3)
    with pytest.raises(VerificationFailed, match="member 'm1': nonces are missing"):
        sign_together([signers[0], signers[2]], DIGESTS)
    with pytest.raises(BadInput, match="signers"):
        sign_together([], DIGESTS)


def test_a_member_cannot_take_part_twice() -> None:
    committee, signers = make(2)
    again = Signer(committee, "m0", Seed(Role.COMMITTEE, b"\x01" * 32).committee_key(b"request"), no_guard)
    with pytest.raises(BridgeError, match="'m0': asked to sign 'tx 0' with other nonces of this member"):
        sign_together([signers[0], again, signers[1]], DIGESTS)


def test_a_missing_nonce_or_partial_signature_is_named() -> None:
    committee, signers, nonces = rounds()
    partials = {signer.name: signer.sign(DIGESTS, nonces) for signer in signers}
    without = {label: value for label, value in partials["m1"].items() if label != "tx 2"}
    with pytest.raises(VerificationFailed, match="member 'm1': the partial signature of 'tx 2' is missing"):
        combine(committee, DIGESTS, nonces, {**partials, "m1": without})
    without = {label: value for label, value in nonces["m2"].items() if label != "tx 0"}
    with pytest.raises(VerificationFailed, match="member 'm2': the nonce of 'tx 0' is missing"):
        combine(committee, DIGESTS, {**nonces, "m2": without}, partials)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_only_digests_are_signed(size: int) -> None:
    committee, signers, nonces = rounds()
    partials = {signer.name: signer.sign(DIGESTS, nonces) for signer in signers}
    with pytest.raises(BadInput, match="digest of 'tx 1'"):
        signers[0].nonces({**DIGESTS, "tx 1": bytes(size)})
    with pytest.raises(BadInput, match="digest of 'tx 1'"):
        combine(committee, {**DIGESTS, "tx 1": bytes(size)}, nonces, partials)


def test_another_digest_makes_every_partial_signature_wrong() -> None:
    committee, signers, nonces = rounds()
    partials = {signer.name: signer.sign(DIGESTS, nonces) for signer in signers}
    with pytest.raises(VerificationFailed, match=f"member '{committee.names[0]}'.*'tx 1' does not verify"):
        combine(committee, {**DIGESTS, "tx 1": DIGESTS["tx 2"]}, nonces, partials)


def test_part_of_a_session_leaves_the_other_nonces() -> None:
    committee, signers, nonces = rounds()
    first, rest = {"tx 0": DIGESTS["tx 0"]}, {label: DIGESTS[label] for label in ("tx 1", "tx 2")}
    for part in (first, rest):
        partials = {signer.name: signer.sign(part, nonces) for signer in signers}
        assert combine(committee, part, nonces, partials).keys() == part.keys()


def test_new_nonces_replace_the_old_ones() -> None:
    _, signers, nonces = rounds()
    fresh = signers[0].nonces(DIGESTS)
    assert not set(fresh.values()) & set(nonces["m0"].values())
    with pytest.raises(BridgeError, match="other nonces of this member"):
        signers[0].sign(DIGESTS, nonces)


def test_a_label_without_a_nonce_is_refused() -> None:
    _, signers, nonces = rounds()
    with pytest.raises(BridgeError, match="no unused nonce for 'tx 9'"):
        signers[0].sign({"tx 9": bytes(32)}, nonces)


def test_nonces_that_did_not_sign_are_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn, real = list[secp.SecretNonce](), secp.nonce_gen

    def draw(*args: Any) -> secp.SecretNonce:
        drawn.append(real(*args))
        return drawn[-1]

    monkeypatch.setattr(secp, "nonce_gen", draw)
    committee, (signer,) = make(1)
    signer.nonces(DIGESTS)
    nonces = {"m0": signer.nonces(DIGESTS)}
    with pytest.raises(BridgeError, match="another digest"):
        signer.sign({**DIGESTS, "tx 2": DIGESTS["tx 1"]}, nonces)
    assert len(drawn) == 2 * len(DIGESTS)
    for nonce in drawn:
        session = secp.Session(bytes(nonce.pubnonce), bytes(32), committee.aggregation)
        with pytest.raises(ValueError, match="wiped or already spent"):
            nonce.partial_sign(b"\x01" * 32, committee.aggregation, session)


def test_the_aggregate_signature_is_verified_before_it_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Valid partial signatures always make a valid one: only a fault of the machine can get this far."""
    _, signers = make(2)
    monkeypatch.setattr(secp, "verify", lambda *_: False)
    with pytest.raises(VerificationFailed, match="'tx 0': the aggregate signature"):
        sign_together(signers, DIGESTS)


def test_a_signer_never_shows_its_secret() -> None:
    _, signers, nonces = rounds()
    secret = Seed(Role.COMMITTEE, b"\x01" * 32).committee_key(b"request").reveal()
    with pytest.raises(BridgeError) as refused:
        signers[0].sign({"tx 0": DIGESTS["tx 1"]}, nonces)
    for shown in (repr(signers[0]), str(refused.value), repr(vars(signers[0]))):
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown


def vector_file(name: str) -> Any:
    return json.loads((vectors_dir() / "bip327" / f"{name}_vectors.json").read_text())


def tweaked(keys: list[bytes], tweaks: list[str], is_xonly: list[bool]) -> secp.KeyAggCache:
    cache = secp.KeyAggCache(keys)
    for tweak, xonly in zip(tweaks, is_xonly, strict=True):
        (cache.pubkey_xonly_tweak_add if xonly else cache.pubkey_ec_tweak_add)(bytes.fromhex(tweak))
    return cache


def test_bip327_key_aggregation_refuses_bad_tweaks() -> None:
    vectors = vector_file("key_agg")
    cases = [case for case in vectors["error_test_cases"] if case["error"]["type"] == "value"]
    assert len(cases) == 2
    for case in cases:
        keys = [bytes.fromhex(vectors["pubkeys"][index]) for index in case["key_indices"]]
        with pytest.raises(ValueError, match="tweak"):
            tweaked(keys, [vectors["tweaks"][index] for index in case["tweak_indices"]], case["is_xonly"])


def test_bip327_nonce_generation(monkeypatch: pytest.MonkeyPatch) -> None:
    """The vector without an aggregate key, with the library's source of randomness held still.

    The other three give an aggregate key whose members nobody knows; the library takes members, not such a key.
    """
    (case,) = [case for case in vector_file("nonce_gen")["test_cases"] if case["aggpk"] is None]
    monkeypatch.setattr("secrets.token_bytes", lambda size: bytes.fromhex(case["rand_"])[:size])
    nonce = secp.nonce_gen(bytes.fromhex(case["pk"]))
    assert bytes(nonce.pubnonce).hex().upper() == case["expected_pubnonce"]


def test_bip327_deterministic_signatures_verify() -> None:
    """Members here never sign deterministically, but a member elsewhere that does must be understood.

    A partial signature is one scalar, fixed by nonce, key and session: what verifies is what a signer computes.
    """
    vectors = vector_file("det_sign")
    keys, messages = (list(map(bytes.fromhex, vectors[name])) for name in ("pubkeys", "msgs"))
    for case in vectors["valid_test_cases"]:
        nonce, partial = map(bytes.fromhex, case["expected"])
        chosen = [keys[index] for index in case["key_indices"]]
        cache = tweaked(chosen, case["tweaks"], case["is_xonly"])
        aggregate = secp.nonce_agg([nonce, bytes.fromhex(case["aggothernonce"])])
        message = messages[case["msg_index"]]
        if len(message) != secp.DIGEST_SIZE:
            with pytest.raises(ValueError, match="32 bytes"):
                secp.Session(aggregate, message, cache)
            continue
        session = secp.Session(aggregate, message, cache)
        key = chosen[case["signer_index"]]
        assert session.partial_sig_verify(partial, nonce, key, cache), case.get("comment")
        wrong = (int.from_bytes(partial, "big") ^ 1).to_bytes(32, "big")
        assert not session.partial_sig_verify(wrong, nonce, key, cache), case.get("comment")


def refuse_members(case: Any, keys: list[bytes], secret: bytes) -> None:
    """A member's key that is no point, and a signer that is no member, are refused when the session starts."""
    members = tuple((f"member {n}", keys[index]) for n, index in enumerate(case["key_indices"]))
    if case["error"]["type"] == "invalid_contribution":
        with pytest.raises(BadInput, match=f"member {case['error']['signer']}"):
            Committee(members)
    else:
        for name, _ in members:
            with pytest.raises(BadInput, match="committee member"):
                Signer(Committee(members), name, SecretKey(secret), no_guard)


@pytest.mark.parametrize("name", ["sign_verify", "det_sign"])
def test_bip327_signing_refuses_bad_members(name: str) -> None:
    vectors = vector_file(name)
    keys, secret = list(map(bytes.fromhex, vectors["pubkeys"])), bytes.fromhex(vectors["sk"])
    cases = vectors["sign_error_test_cases" if name == "sign_verify" else "error_test_cases"][:2]
    assert [case["error"]["type"] for case in cases].count("invalid_contribution") == 1
    for case in cases:
        refuse_members(case, keys, secret)


def test_bip327_signing_refuses_bad_aggregate_nonces() -> None:
    vectors = vector_file("sign_verify")
    message = bytes.fromhex(vectors["msgs"][0])
    cases = [case for case in vectors["sign_error_test_cases"] if case["error"].get("contrib") == "aggnonce"]
    assert len(cases) == 3
    for case in cases:
        cache = secp.KeyAggCache([bytes.fromhex(vectors["pubkeys"][index]) for index in case["key_indices"]])
        with pytest.raises(ValueError, match="aggregate nonce"):
            secp.Session(bytes.fromhex(vectors["aggnonces"][case["aggnonce_index"]]), message, cache)
    for case in vector_file("det_sign")["error_test_cases"][2:4]:
        assert not secp.is_public_nonce(bytes.fromhex(case["aggothernonce"])), case["comment"]


def test_bip327_partial_verification_blames_bad_contributions() -> None:
    vectors = vector_file("sign_verify")
    keys, nonces = (list(map(bytes.fromhex, vectors[name])) for name in ("pubkeys", "pnonces"))
    for case in vectors["verify_error_test_cases"]:
        chosen = [keys[index] for index in case["key_indices"]]
        offered = {f"member {n}": {"x": nonces[index]} for n, index in enumerate(case["nonce_indices"])}
        blamed = f"member {case['error']['signer']}"
        if case["error"]["contrib"] == "pubkey":
            with pytest.raises(BadInput, match=blamed):
                Committee(tuple(zip(offered, chosen, strict=True)))
        else:
            committee = Committee(tuple(zip(offered, chosen, strict=True)))
            with pytest.raises(VerificationFailed, match=f"{blamed}.*the nonce"):
                combine(
                    committee, {"x": bytes(32)}, offered, {name: {"x": bytes.fromhex(case["sig"])} for name in offered}
                )


def test_bip327_signature_aggregation_through_combine() -> None:
    """The untweaked vector whose keys are in order goes through `combine`, partial verification included."""
    vectors = vector_file("sig_agg")
    digest, ran = bytes.fromhex(vectors["msg"]), 0
    for case in vectors["valid_test_cases"]:
        keys = [vectors["pubkeys"][index] for index in case["key_indices"]]
        if case["tweak_indices"] or keys != sorted(keys):
            continue
        ran += 1
        committee = Committee(tuple((f"member {n}", bytes.fromhex(key)) for n, key in enumerate(keys)))
        nonces, partials = (
            {f"member {n}": {"x": bytes.fromhex(vectors[field][index])} for n, index in enumerate(case[indices])}
            for field, indices in (("pnonces", "nonce_indices"), ("psigs", "psig_indices"))
        )
        assert combine(committee, {"x": digest}, nonces, partials)["x"].hex().upper() == case["expected"]
        swapped = dict(zip(partials, reversed(partials.values()), strict=True))
        with pytest.raises(VerificationFailed, match="member 0"):
            combine(committee, {"x": digest}, nonces, swapped)
    assert ran == 1
