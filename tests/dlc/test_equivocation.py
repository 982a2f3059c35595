"""Two outcomes under one nonce: the proof, and the key."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.dlc import equivocation
from bitvm_bridge.dlc.equivocation import Proof
from bitvm_bridge.dlc.oracle import DigitEvent, EnumEvent, Hashing
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from tests.dlc.oracles import KEY, WEATHER, announced, attested

DIGITS = DigitEvent(2, False, "", 0, 4)


@pytest.mark.parametrize("hashing", Hashing)
def test_two_attestations_yield_the_key(hashing: Hashing) -> None:
    announcement = announced(WEATHER)
    first, second = (attested(announcement, outcome, hashing=hashing) for outcome in ("sun", "rain"))
    proof = equivocation.prove(first, second, hashing)
    assert (proof.key, proof.outcomes, proof.nonce) == (KEY.xonly, ("sun", "rain"), announcement.nonces[0])
    assert_is(proof.extract(), KEY)
    assert KEY.reveal().hex() not in repr(proof)


def assert_is(found: SecretKey, key: SecretKey) -> None:
    """The key, or its negative, which has the same x-only key."""
    assert found.xonly == key.xonly
    assert found.reveal() in (key.reveal(), secp.negate_secret(key.reveal()))
    assert found.public[0] == 2


@given(st.integers(1, secp.ORDER - 1), st.integers(0, 9))
def test_any_key_and_nonce(scalar: int, salt: int) -> None:
    key = SecretKey(scalar.to_bytes(32, "big"))
    announcement = announced(WEATHER, key=key, salt=salt)
    attestations = [attested(announcement, outcome, key=key, salt=salt) for outcome in ("snow", "sun")]
    assert_is(equivocation.prove(attestations[0], attestations[1], Hashing.TAGGED).extract(), key)


def test_one_digit_is_enough() -> None:
    announcement = announced(DIGITS)
    first, second = (attested(announcement, *outcomes) for outcomes in ("0110", "0100"))
    proof = equivocation.prove(first, second, Hashing.TAGGED)
    assert (proof.outcomes, proof.nonce) == (("1", "0"), announcement.nonces[2])
    assert_is(proof.extract(), KEY)


def test_a_nonce_in_two_events() -> None:
    """Nothing was signed twice in either event; the nonce was."""
    first = attested(announced(WEATHER), "sun")
    second = attested(announced(EnumEvent(("yes", "no")), event_id="other"), "yes")
    assert_is(equivocation.prove(first, second, Hashing.TAGGED).extract(), KEY)


def test_what_proves_nothing() -> None:
    announcement = announced(WEATHER)
    sun, rain = (attested(announcement, outcome) for outcome in ("sun", "rain"))
    with pytest.raises(VerificationFailed, match="no nonce has signed two outcomes"):
        equivocation.prove(sun, sun, Hashing.TAGGED)
    with pytest.raises(VerificationFailed, match="no nonce has signed two outcomes"):
        equivocation.prove(sun, attested(announced(WEATHER, salt=1), "rain", salt=1), Hashing.TAGGED)
    other = SecretKey(bytes(31) + b"\x05")
    with pytest.raises(BadInput, match="both of one oracle"):
        equivocation.prove(sun, attested(announced(WEATHER, key=other), "rain", key=other), Hashing.TAGGED)
    with pytest.raises(VerificationFailed, match="is not the oracle's"):
        equivocation.prove(sun, replace(rain, outcomes=("snow",)), Hashing.TAGGED)
    with pytest.raises(VerificationFailed, match="is not the oracle's"):
        equivocation.prove(sun, rain, Hashing.PLAIN)


def test_a_proof_is_checked_without_trust() -> None:
    announcement = announced(WEATHER)
    right = equivocation.prove(attested(announcement, "sun"), attested(announcement, "rain"), Hashing.TAGGED)
    right.verify()
    first, second = right.signatures
    elsewhere = attested(announced(WEATHER, salt=1), "rain", salt=1).signatures[0]
    wrong: list[Proof] = [
        replace(right, key=SecretKey(bytes(31) + b"\x05").xonly),
        replace(right, outcomes=("sun", "sun"), signatures=(first, first)),
        replace(right, outcomes=("rain", "sun")),
        replace(right, signatures=(first, elsewhere)),
        replace(right, signatures=(first, second[:-1] + bytes([second[-1] ^ 1]))),
        replace(right, signatures=(first, second[:-1])),
        replace(right, key=b""),
    ]
    for proof in wrong:
        with pytest.raises(VerificationFailed, match="equivocation"):
            proof.verify()
        with pytest.raises(VerificationFailed):
            proof.extract()
