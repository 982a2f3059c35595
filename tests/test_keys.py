"""Keys from seeds, and addresses."""

import dataclasses

import coincurve
import pytest
from bitcoinutils import bech32
from embit import script as embit_script
from embit.networks import NETWORKS
from hypothesis import assume, given
from hypothesis import strategies as st

from bitvm_bridge import secp, taproot
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, SecretKey, Seed, address, hkdf_sha256, parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from scripts_tapleaf.script import num

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
    key = Seed(Role.PARTY, SECRET).contract_key(b"contract")
    assert key.xonly.hex() == "d5ed5a9acb756d804d0b6de4b64e35316c2e58e2ca80fcea7cc60257afe35213"


def test_every_role_and_purpose_has_its_own_key() -> None:
    seeds = [Seed(role, SECRET) for role in Role]
    keys = {seed.wallet_key().public for seed in seeds}
    keys |= {seed.committee_key(context).public for seed in seeds for context in (b"a" * 32, b"b" * 32)}
    keys |= {seed.contract_key(context).public for seed in seeds for context in (b"a" * 32, b"b" * 32)}
    assert len(keys) == 5 * len(Role)
    assert len({seed.winternitz_seed() for seed in seeds}) == len(Role)


def test_secrets_do_not_show() -> None:
    seed = Seed(Role.OPERATOR, SECRET)
    key = seed.wallet_key()
    for shown in (repr(seed), str(seed), repr(key), f"{key!s}"):
        assert SECRET.hex() not in shown
        assert key.reveal().hex() not in shown
        assert repr(key.reveal())[2:-1] not in shown


def test_secrets_cannot_be_replaced() -> None:
    for holder in (Seed(Role.OPERATOR, SECRET), SecretKey(SECRET)):
        with pytest.raises(dataclasses.FrozenInstanceError):
            holder._secret = bytes(32)  # type: ignore[misc]


@pytest.mark.parametrize("secret", [b"", bytes(32), b"\xff" * 32, SECRET + b"\x01"])
def test_a_secret_key_is_a_scalar(secret: bytes) -> None:
    with pytest.raises(BadInput, match="secret key") as refused:
        SecretKey(secret)
    assert refused.value.field == "secret key"
    assert not secret or secret.hex() not in str(refused.value)


def test_a_committee_key_serves_one_deposit() -> None:
    seed = Seed(Role.COMMITTEE, SECRET)
    first, second = seed.committee_key(b"a" * 32), seed.committee_key(b"b" * 32)
    assert first == seed.committee_key(b"a" * 32)
    assert first.public != second.public


def test_derivation_skips_what_is_no_scalar(monkeypatch: pytest.MonkeyPatch) -> None:
    """One hash in 2^128 is out of range; the next attempt is then another key, and giving up is an error."""
    seed = Seed(Role.OPERATOR, SECRET)
    usual, real = seed.wallet_key(), secp.is_secret_key
    monkeypatch.setattr(secp, "is_secret_key", lambda candidate: real(candidate) and candidate != usual.reveal())
    assert seed.wallet_key().public != usual.public
    monkeypatch.setattr(secp, "is_secret_key", lambda _: False)
    with pytest.raises(RuntimeError, match="out of range"):
        seed.wallet_key()


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


def encoded(version: int, program: bytes, spec: bech32.Encoding) -> str:
    """A regtest address whose checksum is right, whatever it holds."""
    return str(bech32.bech32_encode("bcrt", [version, *bech32.convertbits(program, 8, 5)], spec))


@pytest.mark.parametrize(
    ("version", "program", "spec"),
    [
        (0, bytes(20), bech32.Encoding.BECH32M),
        (1, bytes(32), bech32.Encoding.BECH32),
        (0, bytes(21), bech32.Encoding.BECH32),
        (1, bytes(1), bech32.Encoding.BECH32M),
        (1, bytes(41), bech32.Encoding.BECH32M),
        (17, bytes(32), bech32.Encoding.BECH32M),
    ],
)
def test_addresses_that_segwit_does_not_know(version: int, program: bytes, spec: bech32.Encoding) -> None:
    with pytest.raises(BadInput, match="witness version, length or kind of checksum"):
        parse_address(encoded(version, program, spec), Network.REGTEST)


def test_an_address_is_upper_or_lower_case() -> None:
    script = wallet_script(SecretKey(SECRET).xonly)
    text = address(script, Network.REGTEST)
    assert parse_address(f"  {text.upper()}\n", Network.REGTEST) == script
    for mixed in (text[:-1] + text[-1].upper(), text.replace("bcrt", "Bcrt"), text.replace("bcrt1", "BCRT1")):
        assert mixed != text
        with pytest.raises(BadInput, match="checksum"):
            parse_address(mixed, Network.REGTEST)


@given(st.integers(0, 58), st.sampled_from("qpzry9x8gf2tvdw0s3jn54khce6mua7l"))
def test_one_wrong_character_is_found(place: int, wrong: str) -> None:
    text = address(wallet_script(SecretKey(SECRET).xonly), Network.REGTEST)
    place += len("bcrt1")
    changed = text[:place] + wrong + text[place + 1 :]
    assume(changed != text)
    with pytest.raises(BadInput, match="checksum"):
        parse_address(changed, Network.REGTEST)


@given(st.integers(0, 16), st.binary(min_size=2, max_size=40))
def test_every_segwit_script_has_one_address(version: int, program: bytes) -> None:
    assume(version or len(program) in (20, 32))
    script = num(version) + bytes([len(program)]) + program
    assert parse_address(address(script, Network.SIGNET), Network.SIGNET) == script


@pytest.mark.parametrize(
    "script",
    [
        "",
        "51",
        "5100",
        "5101aa",
        "5120" + "00" * 31,
        "5120" + "00" * 33,
        "514c20" + "00" * 32,
        "5129" + "00" * 41,
        "0015" + "00" * 21,
        "4f020000",
        "61020000",
        "6a0400000000",
        "a914" + "00" * 20 + "87",
        "76a914" + "00" * 20 + "88ac",
        "00" * 10_000,
    ],
)
def test_other_scripts_have_no_address(script: str) -> None:
    with pytest.raises(BadInput, match="a segwit output script"):
        address(bytes.fromhex(script), Network.REGTEST)


@given(st.text(max_size=100))
def test_any_text_is_refused_or_an_address(text: str) -> None:
    try:
        script = parse_address(text, Network.REGTEST)
    except BadInput:
        return
    assert address(script, Network.REGTEST) == text.strip().lower()
