"""The door to libsecp256k1: BIP340's vectors, and coincurve as a second opinion."""

import csv
from collections.abc import Callable

import coincurve
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from tests.vectors import vectors_dir

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
FIELD = 2**256 - 2**32 - 977
SECRET = bytes(range(1, 33))
KEY = secp.xonly_public_key(SECRET)

scalars = st.integers(1, ORDER - 1).map(lambda number: number.to_bytes(32, "big"))
words = st.binary(min_size=32, max_size=32)


def bip340_rows() -> list[dict[str, str]]:
    with (vectors_dir() / "bip340.csv").open() as stream:
        return list(csv.DictReader(stream))


def test_bip340_verification_of_messages_of_any_size() -> None:
    rows = bip340_rows()
    assert [row["index"] for row in rows] == [str(index) for index in range(19)]
    for row in rows:
        key, message, signature = (bytes.fromhex(row[name]) for name in ("public key", "message", "signature"))
        valid = row["verification result"] == "TRUE"
        assert secp.verify(key, message, signature) is valid, f"{row['index']}: {row['comment']}"


def test_bip340_signing() -> None:
    """Every signing vector; those whose message is no digest are refused, as nothing here signs anything else."""
    signing = [row for row in bip340_rows() if row["secret key"]]
    for row in signing:
        secret, aux, message = (bytes.fromhex(row[name]) for name in ("secret key", "aux_rand", "message"))
        label = f"{row['index']}: {row['comment']}"
        assert secp.xonly_public_key(secret).hex().upper() == row["public key"], label
        if len(message) == 32:
            assert secp.sign(secret, message, aux).hex().upper() == row["signature"], label
        else:
            with pytest.raises(BadInput, match="message to sign"):
                secp.sign(secret, message, aux)
    assert sum(len(row["message"]) == 64 for row in signing) == 4


@given(scalars, words)
def test_signatures_agree_with_coincurve(secret: bytes, message: bytes) -> None:
    theirs, key = coincurve.PrivateKey(secret), secp.xonly_public_key(secret)
    assert key == coincurve.PublicKeyXOnly.from_secret(secret).format()
    assert secp.public_key(secret) == theirs.public_key.format()
    assert secp.sign(secret, message, bytes(32)) == theirs.sign_schnorr(message, bytes(32))
    assert coincurve.PublicKeyXOnly(key).verify(secp.sign(secret, message), message)


def lifted(secret: bytes) -> int:
    """The secret key of the point with the same x and an even y: what BIP341 tweaks."""
    number = int.from_bytes(secret, "big")
    return number if secp.public_key(secret)[0] == 2 else ORDER - number


@given(scalars, scalars)
def test_tweaks_agree_with_coincurve(secret: bytes, tweak: bytes) -> None:
    assume(lifted(secret) + int.from_bytes(tweak, "big") != ORDER)
    theirs = coincurve.PublicKeyXOnly.from_secret(secret)
    theirs.tweak_add(tweak)
    output, parity = secp.tweak_public_key(secp.xonly_public_key(secret), tweak)
    assert (output, parity) == (theirs.format(), int(theirs.parity))
    tweaked = secp.tweak_secret_key(secret, tweak)
    assert secp.public_key(tweaked) == bytes([2 + parity]) + output


@given(scalars)
def test_a_tweak_to_infinity_is_refused(secret: bytes) -> None:
    tweak = (ORDER - lifted(secret)).to_bytes(32, "big")
    with pytest.raises(BadInput, match="internal key"):
        secp.tweak_public_key(secp.xonly_public_key(secret), tweak)


@given(words)
def test_points_and_scalars_are_recognised_as_coincurve_does(candidate: bytes) -> None:
    try:
        coincurve.PublicKeyXOnly(candidate)
        is_point = True
    except ValueError:
        is_point = False
    assert secp.is_xonly(candidate) is is_point
    assert secp.is_point(b"\x02" + candidate) is is_point
    assert secp.is_point(b"\x03" + candidate) is is_point
    assert secp.is_secret_key(candidate) is (0 < int.from_bytes(candidate, "big") < ORDER)


def test_scalars_at_the_edge() -> None:
    for number, valid in ((0, False), (1, True), (ORDER - 1, True), (ORDER, False), (ORDER + 1, False)):
        assert secp.is_secret_key(number.to_bytes(32, "big")) is valid
    for size in (0, 31, 33):
        assert not secp.is_secret_key(b"\x01" * size)


def test_keys_at_the_edge() -> None:
    """A coordinate counts once: its sum with the field's size names the same residue and is refused."""
    assert secp.is_xonly((1).to_bytes(32, "big"))
    assert not secp.is_xonly((FIELD + 1).to_bytes(32, "big"))
    full = coincurve.PublicKey.from_secret(SECRET).format(compressed=False)
    for bad in (b"", KEY, full, b"\x04" + KEY, b"\x00" + KEY, b"\x02" + KEY + b"\x00", b"\x06" + full[1:], bytes(33)):
        assert not secp.is_point(bad)
    for bad in (b"", b"\x02" + KEY, KEY[:31], KEY + b"\x00", bytes(32)):
        assert not secp.is_xonly(bad)
        with pytest.raises(BadInput, match="operator") as refused:
            secp.check_xonly("operator", bad)
        assert refused.value.field == "operator"
    assert secp.check_xonly("operator", KEY) == KEY


def test_a_tweak_needs_a_point() -> None:
    for bad in (b"", bytes(32), b"\xff" * 32, KEY + b"\x00"):
        with pytest.raises(BadInput, match="internal key"):
            secp.tweak_public_key(bad, SECRET)


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_junk_never_verifies(key: bytes, signature: bytes) -> None:
    assert not secp.verify(key, bytes(32), signature)
    assert not secp.verify(KEY, bytes(32), signature)


@given(words, st.integers(0, 511))
def test_one_flipped_bit_breaks_a_signature(message: bytes, bit: int) -> None:
    signature = secp.sign(SECRET, message)
    flipped = (int.from_bytes(signature, "big") ^ 1 << bit).to_bytes(64, "big")
    assert secp.verify(KEY, message, signature)
    assert not secp.verify(KEY, message, flipped)


def test_signatures_are_randomised_unless_told() -> None:
    first, second = secp.sign(SECRET, bytes(32)), secp.sign(SECRET, bytes(32))
    assert first != second
    assert secp.sign(SECRET, bytes(32), SECRET) == secp.sign(SECRET, bytes(32), SECRET)


def test_public_nonces() -> None:
    nonce = bytes(secp.nonce_gen(b"\x02" + KEY).pubnonce)
    assert secp.is_public_nonce(nonce)
    for bad in (b"", nonce[:65], nonce + b"\x00", bytes(66), b"\x04" + nonce[1:], nonce[:33] + b"\xff" * 33):
        assert not secp.is_public_nonce(bad)


@pytest.mark.parametrize("secret", [bytes(32), b"\xff" * 32, SECRET + b"\x01"])
def test_a_refused_secret_does_not_show(secret: bytes) -> None:
    uses: tuple[Callable[[], bytes], ...] = (lambda: secp.sign(secret, bytes(32)), lambda: secp.public_key(secret))
    for use in uses:
        with pytest.raises(ValueError, match="private key") as refused:
            use()
        shown = str(refused.value)
        assert secret.hex() not in shown
        assert repr(secret)[2:-1] not in shown
