"""The pre-signed bundle: whatever differs from the graph of its public inputs is refused, and named."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.protocol import Party
from bitvm_bridge.protocol.template import ANY_LEAF
from bitvm_bridge.roles import committee, operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle, BundleDocument, signed_transactions, verify
from bitvm_bridge.transaction import OutPoint
from tests import builders
from tests.builders import PLAIN, WITH_COUNCIL, bundle, instance_setup

PROGRAM = "hash-chain:2:1"
ELSEWHERE = OutPoint(b"\xd7" * 32, 2)


@cache
def setup() -> InstanceSetup:
    return instance_setup(PROGRAM)


def document() -> Any:
    """The bundle as plain JSON values, fresh for every caller."""
    return json.loads(bundle(setup()).to_json())


def read(changed: Any, expected: InstanceSetup | None = None) -> Bundle:
    return Bundle.from_json(json.dumps(changed), expected)


def transaction(of: Any, name: str) -> Any:
    return next(tx for tx in of["transactions"] if tx["name"] == name)


def entry(of: Any, tx: str, name: str) -> Any:
    return next(item for item in transaction(of, tx)["inputs"] if item["name"] == name)


@pytest.mark.parametrize("program", ["hash-chain:1:1", "hash-chain:14:1"])
@pytest.mark.parametrize("params", [PLAIN, WITH_COUNCIL], ids=["plain", "council"])
def test_round_trip(program: str, params: Params) -> None:
    signed = bundle(instance_setup(program, params))
    text = signed.to_json()
    again = Bundle.from_json(text, signed.setup)
    assert again == signed
    assert again.to_json() == text
    assert text.endswith(b"}\n")
    verify(again)
    verify(again, signed.document())


def test_document_shows_what_was_signed() -> None:
    shown = document()
    names = [tx["name"] for tx in shown["transactions"]]
    assert names == ["Challenge", "HappyTake", "AssertTimeout_0", "UnhappyTake", "Disprove", "Forfeit"]
    bond = entry(shown, "Forfeit", "bond")
    assert (bond["spends"], bond["leaf"], bond["sequence"], bond["sighash"]) == ("KickOff.bond", "forfeit", 24, 3)
    open_leaf = entry(shown, "Disprove", "disprove")
    assert [open_leaf[name] for name in ("leaf", "leaf_hash", "control_block", "signer", "signature")] == [
        ANY_LEAF, "", "", "", "",
    ]  # fmt: skip


def test_signature_carries_its_type() -> None:
    signed = bundle(setup())
    for (tx, name), signature in signed.signatures.items():
        item = setup().graph[tx]
        kind = item.inputs[item.index(name)].sighash
        assert signed.signature(tx, name) == signature + (bytes([kind]) if kind else b"")
    with pytest.raises(BadInput, match=r"signature: 'KickOff\.claim'"):
        signed.signature("KickOff", "claim")


def other_hex(text: str) -> str:
    """Hex of the same length that differs in the last digit; some hex where there was none."""
    return text[:-1] + ("1" if text[-1] == "0" else "0") if text else "00"


OTHER: dict[str, Callable[[Any], Any]] = {
    "spends": lambda value: value + "x",
    "amount": lambda value: value + 1,
    "script_pubkey": other_hex,
    "leaf": lambda value: value + "x",
    "leaf_hash": other_hex,
    "control_block": other_hex,
    "sequence": lambda value: value - 1,
    "sighash": lambda value: value ^ 1,
    "signer": lambda value: "anyone",
}
"""Field of an input → another value of it. Its name and its signature have tests of their own."""


def inputs_shown() -> list[tuple[str, str]]:
    return [(tx["name"], item["name"]) for tx in document()["transactions"] for item in tx["inputs"]]


@pytest.mark.parametrize("field", OTHER)
@pytest.mark.parametrize(("tx", "name"), inputs_shown())
def test_every_field_of_every_input_is_checked(tx: str, name: str, field: str) -> None:
    changed = document()
    shown = entry(changed, tx, name)
    shown[field] = OTHER[field](shown[field])
    with pytest.raises(VerificationFailed, match=rf"^{tx}\.{name}: {field} is "):
        read(changed)


def test_every_field_has_a_change() -> None:
    assert entry(document(), "HappyTake", "vault").keys() == OTHER.keys() | {"name", "signature"}


@pytest.mark.parametrize("tx", [tx["name"] for tx in document()["transactions"]])
def test_every_byte_of_a_transaction_is_checked(tx: str) -> None:
    for position in range(0, len(transaction(document(), tx)["raw"]), 2):
        changed = document()
        shown = transaction(changed, tx)
        raw = bytes.fromhex(shown["raw"])
        shown["raw"] = builders.flip(raw, position // 2).hex()
        with pytest.raises(VerificationFailed, match=rf"^{tx}: raw is "):
            read(changed)


def test_uppercase_hex_is_another_text() -> None:
    changed = document()
    transaction(changed, "Forfeit")["raw"] = transaction(changed, "Forfeit")["raw"].upper()
    with pytest.raises(VerificationFailed, match=r"Forfeit: raw"):
        read(changed)


@pytest.mark.parametrize(("tx", "name"), [*setup().graph.owed(), ("Challenge", "challenge")])
def test_every_signature_is_checked(tx: str, name: str) -> None:
    who = "operator" if tx == "Challenge" else "committee"
    for position in (0, 31, 32, 63):
        changed = document()
        shown = entry(changed, tx, name)
        shown["signature"] = builders.flip(bytes.fromhex(shown["signature"]), position).hex()
        with pytest.raises(VerificationFailed, match=rf"^{tx}\.{name}: the {who}'s signature does not verify$"):
            read(changed)
    changed = document()
    entry(changed, tx, name)["signature"] = ""
    with pytest.raises(VerificationFailed, match=rf"^{tx}\.{name}: the {who}'s signature is missing$"):
        read(changed)


def test_signatures_of_other_inputs_do_not_fit() -> None:
    """Each is good where it belongs and nowhere else, not even in another instance of the same people."""
    signed = bundle(setup())
    labels = list(signed.signatures)
    for label in labels:
        for other in labels:
            if other != label:
                with pytest.raises(VerificationFailed, match=r"does not verify"):
                    verify(replace(signed, signatures={**signed.signatures, label: signed.signatures[other]}))
        foreign = bundle(instance_setup(PROGRAM, deposit=ELSEWHERE)).signatures[label]
        with pytest.raises(VerificationFailed, match=r"does not verify"):
            verify(replace(signed, signatures={**signed.signatures, label: foreign}))


def test_one_member_cannot_sign_alone() -> None:
    key = builders.MEMBERS["alice"].committee_key(setup().deposit.request.id)
    alone = {label: key.sign(digest) for label, digest in setup().graph.owed().items()}
    with pytest.raises(VerificationFailed, match=r"HappyTake\.vault: the committee's signature does not verify"):
        verify(replace(bundle(setup()), signatures={**bundle(setup()).signatures, **alone}))


def test_an_unused_signature_is_a_difference() -> None:
    changed = document()
    entry(changed, "Disprove", "disprove")["signature"] = "00" * 64
    with pytest.raises(VerificationFailed, match=r"^Disprove\.disprove: a signature that nobody owes$"):
        read(changed)
    signed = bundle(setup())
    for label in (("PegIn", "deposit"), ("HappyTake", "bonds")):
        with pytest.raises(VerificationFailed, match=r"^(PegIn\.deposit|HappyTake\.bonds): a signature that nobody"):
            verify(replace(signed, signatures={**signed.signatures, label: bytes(64)}))


LISTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "transaction missing": (lambda of: of["transactions"].pop(1), "^bundle: holds Challenge, AssertTimeout_0"),
    "transaction twice": (lambda of: of["transactions"].append(of["transactions"][0]), "^bundle: holds .*, Challenge;"),
    "no transaction": (lambda of: of["transactions"].clear(), "^bundle: holds ; expected Challenge, HappyTake"),
    "another order": (lambda of: of["transactions"].reverse(), "^bundle: holds Forfeit, Disprove"),
    "transaction renamed": (lambda of: transaction(of, "Forfeit").update(name="X"), "^bundle: holds .*, X;"),
    "input missing": (lambda of: transaction(of, "HappyTake")["inputs"].pop(), "^HappyTake: holds vault, challenge;"),
    "input twice": (
        lambda of: transaction(of, "Forfeit")["inputs"].append(entry(of, "Forfeit", "bond")),
        "^Forfeit: holds bond, bond; expected bond$",
    ),
    "inputs in another order": (
        lambda of: transaction(of, "HappyTake")["inputs"].reverse(),
        "^HappyTake: holds bond, challenge, vault;",
    ),
    "input renamed": (lambda of: entry(of, "Forfeit", "bond").update(name="X"), "^Forfeit: holds X; expected bond$"),
}  # fmt: skip


@pytest.mark.parametrize("name", LISTS)
def test_lists_must_be_complete_and_in_order(name: str) -> None:
    change, message = LISTS[name]
    changed = document()
    change(changed)
    with pytest.raises(VerificationFailed, match=message):
        read(changed)


OTHER_KEY = secp.xonly_public_key(b"\x03" * 32).hex()
SETUP: dict[str, tuple[Callable[[Any], object], type[BridgeError], str]] = {
    "version": (lambda of: of.update(version=2), BadInput, "^document version"),
    "deposit version": (lambda of: of["deposit"].update(version=0), BadInput, "^document version"),
    "a parameter": (lambda of: of["deposit"]["params"].update(bond=20_000_001), VerificationFailed, "^Challenge: raw"),
    "parameter out of bounds": (lambda of: of["deposit"]["params"].update(bond=1), BadInput, "^bond: "),
    "member missing": (lambda of: of["deposit"]["members"].pop(), VerificationFailed, "^Challenge: raw"),
    "deposit": (lambda of: of["deposit"].update(outpoint=str(ELSEWHERE)), VerificationFailed, "^Challenge: raw"),
    "operator": (lambda of: of.update(operator=OTHER_KEY), VerificationFailed, "^Challenge: raw"),
    "claim": (lambda of: of.update(claim=str(ELSEWHERE)), VerificationFailed, "^Challenge: raw"),
    "program": (lambda of: of.update(program="hash-chain:2:2"), VerificationFailed, "^Challenge: raw"),
    "program of another length": (lambda of: of.update(program="hash-chain:3:1"), BadInput, "^Winternitz keys: '2'"),
    "one-time keys swapped": (lambda of: of["keys"].reverse(), VerificationFailed, "^Challenge: raw"),
    "one-time key missing": (lambda of: of["keys"].pop(), BadInput, "^Winternitz keys: '1'"),
}


@pytest.mark.parametrize("name", SETUP)
def test_other_public_inputs_are_another_graph(name: str) -> None:
    change, error, message = SETUP[name]
    changed = document()
    change(changed["setup"])
    with pytest.raises(error, match=message):
        read(changed)


UNSIGNED: dict[str, Callable[[Any], object]] = {
    "member renamed": lambda of: of["members"][0].update(name="mallory"),
    "depositor": lambda of: of.update(depositor=OTHER_KEY),
    "receiver": lambda of: of.update(receiver="00"),
}
"""Public inputs of a deposit that reach PegIn's signature, or none at all, but no transaction of an instance."""


@pytest.mark.parametrize("name", UNSIGNED)
def test_bundle_must_be_of_the_expected_deposit(name: str) -> None:
    changed = document()
    UNSIGNED[name](changed["setup"]["deposit"])
    found = read(changed)
    assert found.signatures == bundle(setup()).signatures
    with pytest.raises(VerificationFailed, match=r"^bundle: it is of instance"):
        read(changed, setup())
    with pytest.raises(BadInput, match=r"^bundle: .*an instance of the deposit"):
        committee.peg_in_digest(setup().deposit, [found])


def test_bundle_of_another_instance() -> None:
    """Good in itself, and not what was asked for."""
    other = bundle(instance_setup(PROGRAM, seed=builders.OTHER_OPERATOR), builders.OTHER_OPERATOR)
    assert Bundle.from_json(other.to_json()) == other
    expected = f"bundle: it is of instance {other.setup.id.hex()}, expected {setup().id.hex()}"
    with pytest.raises(VerificationFailed, match=expected):
        Bundle.from_json(other.to_json(), setup())
    mixed = document()
    mixed["transactions"] = json.loads(other.to_json())["transactions"]
    with pytest.raises(VerificationFailed, match=r"^Challenge: raw is"):
        read(mixed)


def test_bundle_of_the_same_id_with_another_claim() -> None:
    """The id does not cover the claim coin; the setup does."""
    other = bundle(instance_setup(PROGRAM, claim=ELSEWHERE))
    assert other.setup.id == setup().id
    with pytest.raises(VerificationFailed, match=r"^bundle: it is of instance"):
        Bundle.from_json(other.to_json(), setup())


def truncations() -> Iterator[bytes]:
    text = bundle(setup()).to_json().rstrip()
    yield from (text[: len(text) * part // 40] for part in range(40))
    yield text[:-1]


@pytest.mark.parametrize(
    "text", [*truncations(), b"{}", b"[]", b"null", b"0", b"\xff\xfe", b"{" * 50, bytes(100)], ids=len
)
def test_what_is_no_bundle(text: bytes) -> None:
    with pytest.raises(BadInput, match=r"^bundle: "):
        Bundle.from_json(text)


MALFORMED: dict[str, tuple[Callable[[Any], object], str]] = {
    "unknown field": (lambda of: of.update(extra=1), "unknown field"),
    "unknown field of an input": (lambda of: entry(of, "Forfeit", "bond").update(extra=1), "unknown field"),
    "missing field": (lambda of: entry(of, "Forfeit", "bond").pop("sighash"), "missing required field"),
    "text for a number": (lambda of: entry(of, "Forfeit", "bond").update(amount="1"), "Expected `int`"),
    "fraction": (lambda of: entry(of, "Forfeit", "bond").update(amount=1.5), "Expected `int`"),
    "null": (lambda of: entry(of, "Forfeit", "bond").update(signature=None), "Expected `str`"),
    "no list": (lambda of: of.update(transactions={}), "Expected `array`"),
    "other version": (lambda of: of.update(version=2), "^bundle version: '2' is not version 1$"),
    "signature no hex": (lambda of: entry(of, "Forfeit", "bond").update(signature="zz"), "^signature of Forfeit.bond"),
    "signature too short": (lambda of: entry(of, "Forfeit", "bond").update(signature="00"), "64 bytes in hex"),
    "signature with its type": (lambda of: entry(of, "Forfeit", "bond").update(signature="00" * 65), "64 bytes in hex"),
}  # fmt: skip


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_documents(name: str) -> None:
    change, message = MALFORMED[name]
    changed = document()
    change(changed)
    with pytest.raises(BadInput, match=message):
        read(changed)


def test_verify_names_a_difference_of_the_document_before_a_signature() -> None:
    signed = bundle(setup())
    other = replace(signed, signatures={**signed.signatures, ("HappyTake", "vault"): bytes(64)})
    with pytest.raises(VerificationFailed, match=r"^HappyTake\.vault: signature is [0-9a-f]{128}, expected 0{128}$"):
        verify(other, signed.document())
    empty = BundleDocument(1, signed.document().setup, [])
    with pytest.raises(VerificationFailed, match=r"^bundle: holds ; expected"):
        verify(signed, empty)


def test_signed_transactions_are_those_with_an_owed_signature() -> None:
    graph = setup().graph
    owed = {tx for party in (Party.COMMITTEE, Party.OPERATOR) for tx, _ in graph.owed(party)}
    assert {item.name for item in signed_transactions(graph)} == owed


def test_assemble_refuses_what_does_not_verify() -> None:
    signed = bundle(setup())
    labels = {f"{tx}.{name}": signature for (tx, name), signature in signed.signatures.items() if tx != "Challenge"}
    challenge = signed.signatures["Challenge", "challenge"]
    assert committee.assemble(setup(), labels, challenge) == signed
    assert labels.keys() == committee.bundle_digests(setup()).keys()
    with pytest.raises(VerificationFailed, match=r"Challenge\.challenge: the operator's"):
        committee.assemble(setup(), labels, bytes(64))
    stranger = operator.sign_challenge(setup(), builders.wallet_key(Role.CHALLENGER))
    with pytest.raises(VerificationFailed, match=r"Challenge\.challenge: the operator's"):
        committee.assemble(setup(), labels, stranger)
    for label in labels:
        rest = {other: signature for other, signature in labels.items() if other != label}
        with pytest.raises(VerificationFailed, match=f"^{label}: the committee's signature is missing"):
            committee.assemble(setup(), rest, challenge)


def test_peg_in_is_signed_last() -> None:
    """Not without a bundle, not with one that fails, not with one of another deposit, whatever else is there."""
    deposit, good = setup().deposit, bundle(setup())
    digest = deposit.graph["PegIn"].digest("deposit")
    assert committee.peg_in_digest(deposit, [good]) == {"PegIn.deposit": digest}
    second = bundle(instance_setup(PROGRAM, seed=builders.OTHER_OPERATOR), builders.OTHER_OPERATOR)
    assert committee.peg_in_digest(deposit, [good, second]) == {"PegIn.deposit": digest}
    with pytest.raises(VerificationFailed, match=r"PegIn: no instance of this deposit is signed yet"):
        committee.peg_in_digest(deposit, [])
    elsewhere = bundle(instance_setup(PROGRAM, deposit=ELSEWHERE))
    council = bundle(instance_setup(PROGRAM, WITH_COUNCIL))
    for foreign in (elsewhere, council):
        with pytest.raises(BadInput, match=f"^bundle: .*an instance of the deposit {deposit.outpoint}"):
            committee.peg_in_digest(deposit, [good, foreign])
    for label in good.signatures:
        kept = {other: signature for other, signature in second.signatures.items() if other != label}
        bad = replace(second, signatures=kept)
        with pytest.raises(VerificationFailed, match=r"signature is missing"):
            committee.peg_in_digest(deposit, [good, bad])
