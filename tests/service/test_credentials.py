"""The header that signs a request: every part of a request is signed, and nothing else is accepted."""

import hashlib

import pytest

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.service.credentials import WINDOW, Asked, Credentials
from bitvm_bridge.taproot import tagged_hash
from tests.service.parts import ALICE, BOB, NOW

DIGEST = hashlib.sha256(b"body").digest()
ASKED = Asked("POST", "office.test:8440", "/v1/envelopes?cursor=a", DIGEST)
SIGNED = Credentials.sign(ALICE, ASKED, NOW)


def test_what_is_signed_verifies() -> None:
    found = Credentials.parse(SIGNED.header())
    assert found == SIGNED
    assert (found.key, found.digest, found.time) == (ALICE.xonly, DIGEST, NOW)
    found.check("POST", ASKED.host, ASKED.target, NOW)


def test_the_message_is_the_documented_one() -> None:
    lines = b"POST\noffice.test:8440\n/v1/envelopes?cursor=a\n"
    message = tagged_hash("BitVMBridge/request", lines + NOW.to_bytes(8, "big") + SIGNED.nonce + DIGEST)
    assert secp.verify(ALICE.xonly, message, SIGNED.signature)


def test_no_nonce_comes_twice() -> None:
    assert len({Credentials.sign(ALICE, ASKED, NOW).nonce for _ in range(100)}) == 100


@pytest.mark.parametrize(
    ("method", "host", "target"),
    [
        ("PUT", ASKED.host, ASKED.target),
        ("post", ASKED.host, ASKED.target),
        ("POST", "office.test", ASKED.target),
        ("POST", ASKED.host, "/v1/envelopes?cursor=b"),
        ("POST", ASKED.host, "/v1/envelopes"),
        ("POST", ASKED.host + "\n/v1", "/envelopes?cursor=a"),
    ],
)
def test_another_request_is_refused(method: str, host: str, target: str) -> None:
    with pytest.raises(VerificationFailed, match=rf"^request: the signature of {ALICE.xonly.hex()} does not verify$"):
        SIGNED.check(method, host, target, NOW)


@pytest.mark.parametrize(
    "parts",
    [
        {"key": BOB.xonly},
        {"key": b"\xff" * 32},
        {"time": NOW + 1},
        {"nonce": bytes(16)},
        {"digest": bytes(32)},
        {"signature": bytes(64)},
    ],
    ids=lambda parts: next(iter(parts)),
)
def test_no_part_can_be_exchanged(parts: dict[str, bytes]) -> None:
    altered = Credentials(**(vars(SIGNED) | parts))
    with pytest.raises(VerificationFailed, match="does not verify"):
        altered.check(ASKED.method, ASKED.host, ASKED.target, NOW)


@pytest.mark.parametrize("skew", [-WINDOW, 0, WINDOW])
def test_clocks_may_differ_a_little(skew: int) -> None:
    SIGNED.check(ASKED.method, ASKED.host, ASKED.target, NOW + skew)


@pytest.mark.parametrize(("skew", "shown"), [(WINDOW + 1, "-61 s"), (-WINDOW - 1, r"\+61 s"), (10**9, "-1000000000 s")])
def test_but_no_more(skew: int, shown: str) -> None:
    with pytest.raises(VerificationFailed, match=f"^request: signed {shown} from this clock; at most 60 s are allowed"):
        SIGNED.check(ASKED.method, ASKED.host, ASKED.target, NOW + skew)


HEADER = SIGNED.header()


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Basic YTpi",
        HEADER.replace("BIP340", "bip340"),
        HEADER.upper(),
        HEADER[:-1],
        HEADER + "0",
        HEADER + "\n",
        HEADER.replace(", ", ","),
        HEADER.replace("time=1", "time=-1"),
        HEADER.replace("time=1", "time=١"),
        HEADER.replace("time=1", "time=1111111"),
        HEADER.replace("key=", "kex="),
        "x" * 100_000,
    ],
)
def test_what_is_no_header_is_refused(header: str) -> None:
    with pytest.raises(BadInput, match=r"^Authorization: .{0,250} is not BIP340 key=…, time=…, nonce=…, body=…"):
        Credentials.parse(header)
