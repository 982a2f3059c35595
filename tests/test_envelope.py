"""Signed documents between parties."""

import json
from typing import Any

import pytest

from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.keys import Role, Seed

KEY = Seed(Role.OPERATOR, bytes(range(32))).identity_key()
OTHER = Seed(Role.OPERATOR, bytes(32)).identity_key()
SESSION = bytes(range(32))
ENVELOPE = seal(KEY, "offer", SESSION, {"b": [1, {"d": None, "c": "é"}], "a": 2})


def altered(**fields: Any) -> str:
    return json.dumps(json.loads(ENVELOPE.to_json()) | fields)


def test_what_is_sealed_is_read_back() -> None:
    assert Envelope.from_json(ENVELOPE.to_json()) == ENVELOPE
    assert ENVELOPE.body == '{"a":2,"b":[1,{"c":"é","d":null}]}'.encode()


def test_order_and_spaces_of_the_body_do_not_matter() -> None:
    text = json.dumps(json.loads(ENVELOPE.to_json()), indent=2)
    assert Envelope.from_json(text.replace('"a": 2', '  "a"  :  2').replace("\n", "\n\n")).id == ENVELOPE.id


@pytest.mark.parametrize(
    "fields",
    [
        {"kind": "nonces"},
        {"session": bytes(32).hex()},
        {"author": OTHER.xonly.hex()},
        {"body": {"a": 2}},
        {"signature": OTHER.sign(ENVELOPE.id).hex()},
        {"signature": bytes(64).hex()},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_every_field_is_signed(fields: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed, match=r"^(offer|nonces): the signature of [0-9a-f]{64} does not verify$"):
        Envelope.from_json(altered(**fields))


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"version": 2}, "envelope version"),
        ({"kind": "Offer"}, "envelope kind"),
        ({"kind": ""}, "envelope kind"),
        ({"kind": "a" * 33}, "envelope kind"),
        ({"session": "00"}, "envelope session"),
        ({"author": "ff" * 32}, "envelope author"),
        ({"body": [1]}, "envelope body"),
        ({"signature": "00" * 63}, "envelope signature"),
        ({"more": 1}, "envelope"),
    ],
)
def test_what_is_no_envelope_is_refused_by_field(fields: dict[str, Any], field: str) -> None:
    with pytest.raises(BadInput, match=rf"^{field}: "):
        Envelope.from_json(altered(**fields))


@pytest.mark.parametrize("size", range(0, len(ENVELOPE.to_json()) - 1, 7))
def test_a_truncated_file_is_refused(size: int) -> None:
    with pytest.raises(BadInput, match=r"^envelope: "):
        Envelope.from_json(ENVELOPE.to_json()[:size])


@pytest.mark.parametrize("nested", [b"[" * 50_000, b'{"a":' * 50_000, b"[" * 990 + b"]" * 990])
def test_deep_nesting_is_refused_like_other_junk(nested: bytes) -> None:
    raw = ENVELOPE.to_json()
    with pytest.raises(BadInput, match=r"^envelope( body)?: .* is not a valid document: "):
        Envelope.from_json(raw.replace(b'"a":2', b'"a":' + nested))


def test_nesting_does_not_multiply_the_size() -> None:
    deep: Any = ["x"] * 1_000
    for _ in range(200):
        deep = [deep]
    envelope = seal(KEY, "offer", SESSION, {"a": deep})
    assert len(envelope.to_json()) < len(envelope.body) + 500
    assert Envelope.from_json(envelope.to_json()) == envelope
