"""Announcements, attestations, and the points that anticipate them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import coincurve
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.dlc import notary, oracle
from bitvm_bridge.dlc.oracle import DigitEvent, EnumEvent, Hashing
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
from tests.dlc import oracles
from tests.dlc.oracles import MATURITY, WEATHER, announced, attested, nonces
from tests.vectors import ROOT

DIGITS = DigitEvent(10, False, "usd", 0, 3)


def test_schnorr_vectors() -> None:
    """Key, nonce and message give the signature; key, nonce and message also give its point without any secret."""
    rows = oracles.vector("dlc_schnorr_test.json")
    assert rows
    for row in rows:
        secret, nonce, message = (bytes.fromhex(row["inputs"][name]) for name in ("privKey", "privNonce", "msgHash"))
        assert secp.xonly_public_key(secret).hex() == row["pubKey"]
        assert secp.xonly_public_key(nonce).hex() == row["pubNonce"]
        assert secp.sign_with_nonce(secret, nonce, message).hex() == row["signature"]
        point = secp.signature_point(bytes.fromhex(row["pubNonce"]), bytes.fromhex(row["pubKey"]), message)
        assert point.hex() == row["sigPoint"]
        assert secp.public_key(bytes.fromhex(row["signature"])[32:]) == point


def test_vector_announcements() -> None:
    """Every announcement of the files has its oracle's signature, of the plain hash; its bytes are in the offer."""
    found = list(oracles.vector_announcements())
    assert len(found) == 18
    for name, announcement in found:
        announcement.verify(Hashing.PLAIN)
        with pytest.raises(VerificationFailed, match="does not have the oracle's signature"):
            announcement.verify()
        assert announcement.serialize().hex() in oracles.vector(name)["offer_message"]["serialized"]


@pytest.mark.parametrize("hashing", Hashing)
def test_an_attestation_is_the_logarithm_of_the_point(hashing: Hashing) -> None:
    for event, outcomes in ((WEATHER, ("rain",)), (DIGITS, ("0", "4", "2")), (signed(), ("-", "1", "0"))):
        announcement = announced(event)
        attestation = attested(announcement, *outcomes, hashing=hashing)
        attestation.verify(announcement, hashing)
        for count in range(1, len(outcomes) + 1):
            assert attestation.secret(count).public == announcement.point(outcomes[:count], hashing)
        other = next(item for item in Hashing if item is not hashing)
        assert attestation.secret(1).public != announcement.point(outcomes[:1], other)
        with pytest.raises(VerificationFailed, match="is not the oracle's"):
            attestation.verify(announcement, other)


def signed() -> DigitEvent:
    return DigitEvent(2, True, "", -3, 2)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_signatures_under_a_nonce_are_bip340(secret: bytes, nonce: bytes, message: bytes) -> None:
    """Of keys and nonces with y of either parity, says another library."""
    if not (secp.is_secret_key(secret) and secp.is_secret_key(nonce)):
        return
    signature = secp.sign_with_nonce(secret, nonce, message)
    assert coincurve.PublicKeyXOnly.from_secret(secret).verify(signature, message)
    assert secp.public_key(signature[32:]) == secp.signature_point(
        signature[:32], secp.xonly_public_key(secret), message
    )


def test_points_of_several_oracles_add_up() -> None:
    keys = [SecretKey(bytes(31) + bytes([number])) for number in (5, 6, 7)]
    announcements = [announced(DIGITS, key=key, salt=number) for number, key in enumerate(keys)]
    parts = ((0, ("1", "2")), (2, ("1", "2", "3")))
    attestations = {
        index: attested(announcements[index], "1", "2", "3", key=keys[index], salt=index) for index, _ in parts
    }
    secret = oracle.combined_secret(attestations, parts)
    assert secret.public == oracle.combined_point(announcements, parts, Hashing.TAGGED)
    with pytest.raises(BadInput, match="of oracle 1"):
        oracle.combined_secret(attestations, ((1, ("1",)),))
    with pytest.raises(BadInput, match="of oracle 0"):
        oracle.combined_secret(attestations, ((0, ("2",)),))


@pytest.mark.parametrize(
    ("event", "value", "outcomes"),
    [
        (DIGITS, 42, ("0", "4", "2")),
        (DIGITS, 1000, ("9", "9", "9")),
        (DIGITS, -1, ("0", "0", "0")),
        (signed(), 0, ("+", "0", "0")),
        (signed(), -2, ("-", "1", "0")),
        (signed(), -9, ("-", "1", "1")),
        (DigitEvent(16, False, "", 0, 2), 171, ("10", "11")),
    ],
)
def test_digits_of_a_value(event: DigitEvent, value: int, outcomes: tuple[str, ...]) -> None:
    assert event.outcomes(value) == outcomes
    announced(event).check_outcomes(outcomes)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: EnumEvent(()), "outcomes"),
        (lambda: EnumEvent(("a", "a")), "distinct"),
        (lambda: EnumEvent(("",)), "one character"),
        (lambda: EnumEvent(("e\u0301",)), "NFC"),
        (lambda: EnumEvent(("\ud800",)), "UTF-8"),
        (lambda: DigitEvent(1, False, "", 0, 3), "base"),
        (lambda: DigitEvent(2, False, "", 0, 0), "digits"),
        (lambda: DigitEvent(2, False, "", 0, 65), "digits"),
        (lambda: DigitEvent(10, False, "", 0, 20), "64 bits"),
        (lambda: DigitEvent(2, False, "", 1 << 31, 3), "precision"),
        (lambda: replace(announced(WEATHER), key=bytes(32)), "oracle key"),
        (lambda: replace(announced(WEATHER), nonces=(bytes(32),)), "oracle nonce"),
        (lambda: replace(announced(WEATHER), descriptor=DIGITS), "3, as many as are signed"),
        (lambda: replace(announced(DIGITS), nonces=announced(DIGITS).nonces[:1] * 3), "distinct nonces"),
        (lambda: replace(announced(WEATHER), maturity=1 << 32), "epoch seconds"),
        (lambda: replace(announced(WEATHER), event_id=""), "event id"),
        (lambda: replace(announced(WEATHER), signature=b""), "64 bytes"),
        (lambda: announced(WEATHER).point(["hail"], Hashing.TAGGED), "'hail' is not one that 'event' can have"),
        (lambda: announced(WEATHER).point([], Hashing.TAGGED), "outcome"),
        (lambda: announced(WEATHER).point(["sun", "sun"], Hashing.TAGGED), "outcome"),
        (lambda: announced(DIGITS).point(["10"], Hashing.TAGGED), "outcome"),
        (lambda: announced(DIGITS).point(["+"], Hashing.TAGGED), "outcome"),
        (lambda: announced(signed()).point(["0"], Hashing.TAGGED), "outcome"),
        (lambda: attested(announced(DIGITS), "1", "2"), "every nonce signs"),
        (lambda: attested(announced(WEATHER), "sun", salt=1), "the key, with the nonces"),
        (lambda: attested(announced(WEATHER), "sun").secret(2), "attested outcomes"),
        (lambda: attested(announced(WEATHER), "sun").secret(0), "attested outcomes"),
        (lambda: replace(attested(announced(WEATHER), "sun"), signatures=()), "a signature"),
    ],
)
def test_what_cannot_be_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        make()
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_an_announcement_is_signed_whole() -> None:
    announcement = announced(WEATHER)
    announcement.verify()
    for change in (
        {"maturity": MATURITY + 1},
        {"event_id": "other"},
        {"descriptor": EnumEvent(("sun", "rain", "hail"))},
        {"nonces": tuple(nonce.xonly for nonce in nonces(1, 5))},
        {"key": SecretKey(bytes(31) + b"\x09").xonly},
    ):
        with pytest.raises(VerificationFailed):
            replace(announcement, **change).verify()


def test_attestations_that_are_not_the_announced_one() -> None:
    announcement = announced(DIGITS)
    right = attested(announcement, "1", "2", "3")
    for wrong in (
        replace(right, event_id="other"),
        replace(right, key=SecretKey(bytes(31) + b"\x09").xonly),
        replace(right, outcomes=("1", "2", "4")),
        replace(right, outcomes=("1", "2", "x")),
        replace(right, outcomes=right.outcomes[:2], signatures=right.signatures[:2]),
        replace(right, signatures=right.signatures[::-1]),
    ):
        with pytest.raises(VerificationFailed, match="attestation to"):
            wrong.verify(announcement, Hashing.TAGGED)


# The oracle's book.


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    opened.add_seed("olivia", Seed(Role.ORACLE, bytes(32)))
    yield opened
    opened.close()


def test_an_oracle_attests_once(store: Store) -> None:
    announcement = notary.announce(store, "olivia", WEATHER, "weather", MATURITY)
    announcement.verify()
    first = notary.attest(store, "olivia", announcement, ["rain"])
    first.verify(announcement, Hashing.TAGGED)
    assert notary.attest(store, "olivia", announcement, ["rain"]) == first
    with pytest.raises(BridgeError, match="has attested to another outcome; a nonce never signs twice"):
        notary.attest(store, "olivia", announcement, ["sun"])
    with pytest.raises(BridgeError, match="has attested to another outcome"):
        notary.attest(store, "olivia", announcement, ["rain"], Hashing.PLAIN)


def test_one_digit_that_differs_is_another_outcome(store: Store) -> None:
    announcement = notary.announce(store, "olivia", DIGITS, "price", MATURITY)
    notary.attest(store, "olivia", announcement, ["1", "2", "3"])
    with pytest.raises(BridgeError, match="never signs twice"):
        notary.attest(store, "olivia", announcement, ["1", "2", "4"])


def test_the_use_is_on_disk_before_the_signature(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    announcement = notary.announce(store, "olivia", WEATHER, "weather", MATURITY)

    def crash(*_: bytes) -> bytes:
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(secp, "sign_with_nonce", crash)
        with pytest.raises(RuntimeError, match="power cut"):
            notary.attest(store, "olivia", announcement, ["rain"])
    with pytest.raises(BridgeError, match="never signs twice"):
        notary.attest(store, "olivia", announcement, ["sun"])
    notary.attest(store, "olivia", announcement, ["rain"]).verify(announcement, Hashing.TAGGED)


def test_nothing_is_bound_inside_a_transaction(store: Store) -> None:
    announcement = notary.announce(store, "olivia", WEATHER, "weather", MATURITY)
    with pytest.raises(RuntimeError, match="must be committed"), store.transaction():
        notary.attest(store, "olivia", announcement, ["rain"])


def test_events_of_others_are_not_attested(store: Store) -> None:
    with pytest.raises(BadInput, match="one of the oracle 'olivia'"):
        notary.attest(store, "olivia", announced(WEATHER), ["rain"])
    own = oracle.announce(
        store.seed(Role.ORACLE, "olivia").oracle_key(), nonces(1), MATURITY, WEATHER, "elsewhere", Hashing.TAGGED
    )
    with pytest.raises(BridgeError, match="is not here"):
        notary.attest(store, "olivia", own, ["rain"])
    notary.follow(store, own)
    with pytest.raises(BridgeError, match="is not here"):
        notary.attest(store, "olivia", own, ["rain"])


def test_the_secret_of_a_nonce_is_encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.SCRYPT", (1 << 10, 8, 1))
    store = Store.open(tmp_path, Network.SIGNET, passphrase="p")
    store.add_seed("olivia", Seed(Role.ORACLE, bytes(32)))
    announcement = notary.announce(store, "olivia", WEATHER, "weather", MATURITY)
    secret = store.oracle_nonce_secret(announcement.key, announcement.nonces[0])
    assert SecretKey(secret).xonly == announcement.nonces[0]
    store.close()
    assert secret not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    store = Store.open(tmp_path, Network.SIGNET)
    with pytest.raises(BadInput, match="passphrase"):
        store.oracle_nonce_secret(announcement.key, announcement.nonces[0])
    store.close()


def test_a_nonce_seen_for_another_event_is_refused(store: Store) -> None:
    first, again = announced(WEATHER), announced(EnumEvent(("yes", "no")), event_id="other")
    assert first.nonces == again.nonces
    notary.follow(store, first)
    notary.follow(store, first)
    with pytest.raises(BridgeError, match="was announced for another event"):
        notary.follow(store, again)
    notary.follow(store, announced(WEATHER, key=SecretKey(bytes(31) + b"\x07")))
    digits = announced(DIGITS, event_id="price")
    with pytest.raises(BridgeError, match="was announced for another event"):
        notary.follow(store, digits)
    fresh = announced(DIGITS, salt=3)
    with pytest.raises(VerificationFailed):
        notary.follow(store, replace(fresh, event_id="forged"))
    notary.follow(store, fresh)


def test_secrets_do_not_show_themselves(store: Store) -> None:
    announcement = notary.announce(store, "olivia", WEATHER, "weather", MATURITY)
    attestation = notary.attest(store, "olivia", announcement, ["rain"])
    assert attestation.secret(1).reveal().hex() not in repr(attestation.secret(1))
    assert store.seed(Role.ORACLE, "olivia").oracle_key() != store.seed(Role.ORACLE, "olivia").wallet_key()


DYING = """
import os, sys
from pathlib import Path
from bitvm_bridge import secp
from bitvm_bridge.dlc import notary
from bitvm_bridge.dlc.oracle import EnumEvent
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
store = Store.open(Path(sys.argv[1]), Network.REGTEST, insecure_plain_keys=True)
store.add_seed("olivia", Seed(Role.ORACLE, bytes(32)))
announcement = notary.announce(store, "olivia", EnumEvent(("sun", "rain")), "weather", 0)
print(announcement.nonces[0].hex(), flush=True)
secp.sign_with_nonce = lambda *_: os.kill(os.getpid(), 9)
notary.attest(store, "olivia", announcement, ["sun"])
"""


def test_an_oracle_killed_as_it_signs_stays_bound(tmp_path: Path) -> None:
    command = [sys.executable, "-c", DYING, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    died = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    nonce = bytes.fromhex(died.stdout.strip())
    opened = Store.open(tmp_path, Network.REGTEST)
    key = opened.seed(Role.ORACLE, "olivia").oracle_key().xonly
    with pytest.raises(BridgeError, match="never signs twice"):
        opened.bind_oracle_nonces(key, {nonce: Hashing.TAGGED.outcome("rain")})
    opened.bind_oracle_nonces(key, {nonce: Hashing.TAGGED.outcome("sun")})
    opened.close()
