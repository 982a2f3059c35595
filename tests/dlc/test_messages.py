"""Offer, accept and sign: the public messages in both forms, and what must be refused."""

import json
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge.dlc.classic import wire
from bitvm_bridge.dlc.classic.messages import (
    ACCEPT,
    MAX_MESSAGE,
    OFFER,
    PAYOUTS,
    SIGN,
    DisjointContract,
    DisjointNegotiation,
    MessageType,
    SeveralOracles,
    SingleContract,
    SingleNegotiation,
)
from bitvm_bridge.dlc.curves import Hyperbola, PayoutFunction, PayoutPoint, RoundingIntervals
from bitvm_bridge.dlc.payouts import NumericPayouts
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.transaction import Malformed
from tests.dlc import specs

TYPES: dict[str, MessageType[Any]] = {"offer": OFFER, "accept": ACCEPT, "sign": SIGN}
SMALL = "enum_3_of_3_test.json"


def serialized(name: str, file: str = SMALL) -> bytes:
    return bytes.fromhex(specs.load(file)[f"{name}_message"]["serialized"])


@pytest.mark.parametrize("file", specs.CONTRACTS)
@pytest.mark.parametrize("name", TYPES)
def test_public_messages_in_both_directions(file: str, name: str) -> None:
    case, kind = specs.load(file)[f"{name}_message"], TYPES[name]
    raw = bytes.fromhex(case["serialized"])
    message = kind.decode(raw)
    assert kind.encode(message) == raw
    assert kind.to_document(message) == case["message"]
    assert kind.from_document(case["message"]) == message
    for form in (raw, raw.hex().encode(), kind.to_json(message), json.dumps(case["message"]).encode()):
        assert kind.parse(form) == message


def test_the_public_messages_have_every_form_of_contract() -> None:
    offers = [OFFER.decode(serialized("offer", file)) for file in specs.CONTRACTS]
    assert {type(offer.contract) for offer in offers} == {SingleContract, DisjointContract}
    assert {type(event.oracles) for offer in offers for event in offer.contract.events} >= {SeveralOracles}


HYPERBOLA = bytes.fromhex(
    "01" "000a" "01" "0000000000000000" "0000000000000000" "0000"
    "01" "01" "01" "0000000000000032" "0000" "01" "0000000000000032" "0000"
    "01" "0000000000000005" "0000" "00" "0000000000000001" "0000" "01" "0000000000000000" "0000"
    "01" "0000000000000001" "0000"
    "00000000000003ff" "0000000000000000" "0000" "01" "0000000000000000" "0000000000000001"
)  # fmt: skip
"""A curve of the public suite: one hyperbola from (0, 0) to (1023, 0)."""


def test_a_public_hyperbola() -> None:
    reader = wire.WireReader(HYPERBOLA)
    numeric = PAYOUTS.read(reader)
    reader.finish()
    a, b, c, d = map(Fraction, (5, -1, 0, 1))
    ends = PayoutPoint(0, 0), PayoutPoint(1023, 0)
    curve = Hyperbola(*ends, True, Fraction(50), Fraction(50), a, b, c, d)
    assert numeric == NumericPayouts(10, PayoutFunction((curve,)), RoundingIntervals(((0, 1),)))
    assert PAYOUTS.write(numeric) == HYPERBOLA
    shown: Any = PAYOUTS.show(numeric)
    function = shown["numericOutcomeContractDescriptor"]["payoutFunction"]
    assert function["payoutFunctionPieces"][0]["payoutCurvePiece"]["hyperbolaPayoutCurvePiece"] == {
        "usePositivePiece": True, "translateOutcome": 50.0, "translatePayout": 50.0, "a": 5.0, "b": -1.0, "c": 0.0,
        "d": 1.0,
    }  # fmt: skip
    assert PAYOUTS.parse(shown, "payouts") == numeric


@given(st.fractions(min_value=-(1 << 36), max_value=1 << 36).map(lambda value: Fraction(int(value * 65536), 65536)))
def test_decimals_survive_both_forms(value: Fraction) -> None:
    reader = wire.WireReader(wire.DECIMAL.write(value))
    assert wire.DECIMAL.read(reader) == value
    assert wire.DECIMAL.parse(wire.DECIMAL.show(value), "a") == value


@pytest.mark.parametrize("junk", ["5", None, True, float("inf"), float("nan"), 2.0**64, -(2**64)])
def test_no_decimal(junk: object) -> None:
    with pytest.raises(BadInput):
        wire.DECIMAL.parse(junk, "a")


def test_negotiation_of_both_kinds() -> None:
    accept = ACCEPT.decode(serialized("accept"))
    single = SingleNegotiation(RoundingIntervals(((0, 1), (1 << 40, 25))))
    for fields, tail in (
        (single, "0100" + "02" + "00" * 15 + "01" + (1 << 40).to_bytes(8).hex() + (25).to_bytes(8).hex()),
        (DisjointNegotiation((single, SingleNegotiation(RoundingIntervals()))), None),
    ):
        changed = type(accept)(**{**vars(accept), "negotiation": fields})
        raw = ACCEPT.encode(changed)
        assert ACCEPT.decode(raw) == changed
        assert ACCEPT.parse(ACCEPT.to_json(changed)) == changed
        if tail is not None:
            assert raw.hex().endswith(tail)


def test_negotiation_does_not_nest() -> None:
    raw = ACCEPT.encode(ACCEPT.decode(serialized("accept")))
    assert raw[-1] == 0
    with pytest.raises(BadInput, match="kind 1 where one of 0 is known"):
        ACCEPT.decode(raw[:-1] + bytes.fromhex("0101" + "01" + "0100"))


@pytest.mark.parametrize("name", TYPES)
def test_every_truncation_is_refused(name: str) -> None:
    raw = serialized(name)
    for size in [*range(min(len(raw), 400)), *range(400, len(raw), 97), len(raw) - 1]:
        with pytest.raises(BadInput):
            TYPES[name].decode(raw[:size])


@pytest.mark.parametrize("name", TYPES)
def test_records_at_the_end(name: str) -> None:
    """Odd kinds are somebody's extension, kept and not understood; an even kind must be understood (BOLT 1)."""
    kind, raw = TYPES[name], serialized(name)
    extended = raw + bytes.fromhex("0103aabbccfd010102ffff")
    assert kind.decode(extended).extensions == bytes.fromhex("0103aabbccfd010102ffff")
    assert kind.encode(kind.decode(extended)) == extended
    assert kind.decode(raw).extensions == b""
    for bad, reason in {
        "00": "even kind 0",
        "0000": "even kind 0",
        "fd010200": "even kind 258",
        "01": "truncated",
        "0102aa": "truncated",
        "01000100": "after one of kind 1",
        "fd000100": "not the shortest",
        "01fd000100": "not the shortest",
    }.items():
        with pytest.raises(BadInput, match=reason):
            kind.decode(raw + bytes.fromhex(bad))


@pytest.mark.parametrize("name", TYPES)
def test_another_type_or_version(name: str) -> None:
    raw = serialized(name)
    for other in TYPES.values():
        if other is not TYPES[name]:
            with pytest.raises(BadInput, match="type"):
                other.decode(raw)
    with pytest.raises(BadInput, match="protocol version 2"):
        TYPES[name].decode(raw[:2] + (2).to_bytes(4) + raw[6:])
    document = TYPES[name].to_document(TYPES[name].decode(raw)) | {"protocolVersion": 0}
    with pytest.raises(BadInput, match="protocolVersion"):
        TYPES[name].from_document(document)


def test_an_oversize_message_is_refused_unread() -> None:
    with pytest.raises(BadInput, match="at most") as refusal:
        OFFER.decode(bytes(MAX_MESSAGE + 1))
    assert len(str(refusal.value)) < 300


def test_a_count_beyond_the_bytes_is_refused_at_once() -> None:
    sign = serialized("sign")
    with pytest.raises(BadInput, match="18446744073709551615 items"):
        SIGN.decode(sign[:38] + b"\xff" * 9 + sign[39:])


def test_a_long_form_of_a_short_count_is_refused() -> None:
    sign = serialized("sign")
    with pytest.raises(BadInput, match="not the shortest"):
        SIGN.decode(sign[:38] + b"\xfd\x00" + sign[38:])


def read_or_refuse(read: Callable[[Any], Any], value: object) -> Any:
    """The message, or None where it is refused in one line; nothing else may come out."""
    refusals = []
    try:
        return read(value)
    except BridgeError as error:
        refusals.append(str(error))
    assert "\n" not in refusals[0]
    return None


@settings(max_examples=300)
@given(st.sampled_from(sorted(TYPES)), st.data())
def test_a_bent_message_is_read_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    raw = bytearray(serialized(name))
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    message = read_or_refuse(TYPES[name].decode, bytes(raw))
    assert message is None or TYPES[name].encode(message) == bytes(raw)


@settings(max_examples=200)
@given(st.sampled_from(sorted(TYPES)), st.binary(max_size=300))
def test_junk_is_refused(name: str, junk: bytes) -> None:
    for raw in (junk, TYPES[name].kind.to_bytes(2) + b"\0\0\0\1" + junk):
        with pytest.raises(BridgeError):
            TYPES[name].parse(raw)


def documents(value: object) -> st.SearchStrategy[object]:
    return st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
        st.just([value]), st.just({"single": value}),
    )  # fmt: skip


@settings(max_examples=300)
@given(st.sampled_from(sorted(TYPES)), st.data())
def test_a_bent_document_is_read_or_refused_in_one_line(name: str, data: st.DataObject) -> None:
    document = json.loads(json.dumps(specs.load(SMALL)[f"{name}_message"]["message"]))
    holder, at = document, data.draw(st.sampled_from(sorted(document)))
    while isinstance(holder[at], dict | list) and holder[at] and data.draw(st.booleans()):
        holder = holder[at]
        at = data.draw(st.sampled_from(sorted(holder) if isinstance(holder, dict) else range(len(holder))))
    holder[at] = data.draw(documents(holder[at]))
    message = read_or_refuse(TYPES[name].from_document, document)
    assert message is None or TYPES[name].decode(TYPES[name].encode(message)) == message


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda document: document.pop("chainHash"), "without chainHash"),
        (lambda document: document.update(surprise=1), "surprise"),
        (lambda document: document.update(chainHash="00"), "32 bytes"),
        (lambda document: document.update(feeRatePerVb=-1), "feeRatePerVb"),
        (lambda document: document.update(feeRatePerVb=1 << 64), "feeRatePerVb"),
        (lambda document: document.update(feeRatePerVb=True), "feeRatePerVb"),
        (lambda document: document.update(fundingPubkey="02" + "ff" * 32), "funding key"),
        (lambda document: document.update(contractInfo={}), "singleContractInfo or disjointContractInfo"),
        (lambda document: document.update(payoutSpk="00" * 65536), "length of offer.payoutSpk"),
    ],
)
def test_a_document_names_the_field_that_is_wrong(change: Callable[[dict[str, Any]], object], reason: str) -> None:
    document = json.loads(json.dumps(specs.load(SMALL)["offer_message"]["message"]))
    change(document)
    with pytest.raises(BadInput, match=reason):
        OFFER.from_document(document)


def test_deep_json_is_refused() -> None:
    with pytest.raises(BadInput):
        OFFER.parse(b'{"contractInfo":' * 100_000)


def test_negative_zero_and_bad_flags() -> None:
    with pytest.raises(Malformed, match="negative zero"):
        wire.DECIMAL.read(wire.WireReader(bytes(11)))
    with pytest.raises(Malformed, match="a flag of 2"):
        wire.FLAG.read(wire.WireReader(b"\x02"))
    with pytest.raises(Malformed, match="UTF-8"):
        wire.TEXT.read(wire.WireReader(b"\x01\xff"))
