"""Keys from seeds, and addresses."""

import coincurve
import pytest
from embit import script as embit_script
from embit.networks import NETWORKS
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import secp, taproot
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, SecretKey, Seed, address, hkdf_sha256, parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script

SECRET = bytes(range(32))


def test_hkdf_is_rfc5869() -> None:
    """Test case 1 of RFC 5869 appendix A, its first 32 bytes."""
    expected = "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf"
    info = bytes.fromhex("f0f1f2f3f4f5f6f7f8f9")
    assert hkdf_sha256(b"\x0b" * 22, bytes(range(13)), info).hex() == expected


def test_derivation_is_pinned() -> None:
    """A change here would lock people out of their coins."""
    seed = Seed(Role.OPERATOR, SECRET)
    assert seed.wallet_key().xonly.hex() == "5332c2ce27ffc1d15f74d46db9a7613987d8439addd1dfdcede97f0aeed57c14"
    assert seed.winternitz_seed().hex() == "0eb6e22f584d6f4bc27ae944ec1c8a105883a9412ac78c408e912086555cd2eb"


def test_every_role_and_purpose_has_its_own_key() -> None:
    seeds = [Seed(role, SECRET) for role in Role]
    keys = {seed.wallet_key().public for seed in seeds}
    keys |= {seed.committee_key(context).public for seed in seeds for context in (b"a" * 32, b"b" * 32)}
    assert len(keys) == 3 * len(Role)
    assert len({seed.winternitz_seed() for seed in seeds}) == len(Role)


def test_secrets_do_not_show() -> None:
    seed = Seed(Role.OPERATOR, SECRET)
    key = seed.wallet_key()
    for shown in (repr(seed), str(seed), repr(key), f"{key!s}"):
        assert SECRET.hex() not in shown
        assert key.reveal().hex() not in shown
        assert repr(key.reveal())[2:-1] not in shown


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(BadInput, match="seed"):
        Seed(Role.OPERATOR, bytes(size))


@given(st.binary(min_size=32, max_size=32).filter(secp.is_secret_key), st.binary(min_size=32, max_size=32))
def test_signatures_agree_with_coincurve(secret: bytes, message: bytes) -> None:
    key = SecretKey(secret)
    assert coincurve.PublicKeyXOnly(key.xonly).verify(key.sign(message), message)
    theirs = coincurve.PrivateKey(secret).sign_schnorr(message)
    assert secp.verify(key.xonly, message, theirs)
    output = secp.tweak_public_key(key.xonly, taproot.tap_tweak(key.xonly))[0]
    assert secp.verify(output, message, key.sign_key_path(message))
    assert not secp.verify(key.xonly, message, key.sign_key_path(message))


@given(st.binary(min_size=32, max_size=32).filter(secp.is_secret_key))
def test_wallet_addresses_agree_with_embit(secret: bytes) -> None:
    script = wallet_script(SecretKey(secret).xonly)
    for network, name in ((Network.REGTEST, "regtest"), (Network.SIGNET, "signet")):
        text = address(script, network)
        assert text == embit_script.Script(script).address(NETWORKS[name])
        assert parse_address(text, network) == script


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr", "it is a mainnet address"),
        ("tb1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqp3mvzv", "it is a signet or testnet address"),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "an address of regtest"),
        ("bcrt1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqqqqqqq", "valid checksum"),
        ("", "an address of regtest"),
        ("bcrt1", "checksum"),
    ],
)
def test_addresses_of_elsewhere_are_refused(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason) as refused:
        parse_address(text, Network.REGTEST, "--to")
    assert refused.value.field == "--to"


def test_points() -> None:
    key = secp.xonly_public_key(SECRET)
    assert secp.is_xonly(key)
    for bad in (b"", bytes(32), b"\xff" * 32, key[:31], key + b"\x00"):
        assert not secp.is_xonly(bad)
        with pytest.raises(BadInput, match="operator key"):
            secp.check_xonly("operator key", bad)
    assert not secp.is_secret_key(bytes(32))
    assert not secp.is_secret_key(b"\xff" * 32)
