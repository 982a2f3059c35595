"""What each party refuses of the other before it signs anything."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bitvm_bridge.dlc.classic import negotiation
from bitvm_bridge.dlc.classic.checks import GENESIS, check_accepter, check_offer, is_standard
from bitvm_bridge.dlc.classic.messages import Accept, Offer, Sign
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.dlc.payouts import EnumeratedPayouts
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.params import Network
from bitvm_bridge.segwit import p2wsh
from bitvm_bridge.transaction import Transaction
from scripts_tapleaf.hashing import hash160
from tests.dlc import parties, specs
from tests.dlc.test_public_contracts import load

P2PKH = bytes.fromhex("76a914") + bytes(20) + bytes.fromhex("88ac")


@pytest.mark.parametrize("file", specs.CONTRACTS)
def test_public_contracts_pass(file: str) -> None:
    offer, accept, _ = load(file)
    check_offer(offer, Network.REGTEST, 100)
    check_accepter(offer, accept.party)


def with_party(offer: Offer, **changes: Any) -> Offer:
    return replace(offer, party=replace(offer.party, **changes))


def with_input(offer: Offer, **changes: Any) -> Offer:
    return with_party(offer, inputs=(replace(offer.party.inputs[0], **changes),))


def with_payouts(offer: Offer, *payouts: tuple[str, int]) -> Offer:
    event = offer.contract.events[0]
    changed = replace(event, payouts=EnumeratedPayouts(payouts))
    return replace(offer, contract=replace(offer.contract, event=changed))  # type: ignore[call-arg]


def paying_to(script: bytes) -> bytes:
    return parties.coin(5, script).previous


OFFERS: dict[str, Callable[[Offer], Offer]] = {
    "chain hash": lambda offer: replace(offer, chain_hash=GENESIS[Network.SIGNET]),
    "fee rate": lambda offer: replace(offer, fee_rate=101),
    "fee rate: 0": lambda offer: replace(offer, fee_rate=0),
    "total collateral": lambda offer: replace(offer, contract=replace(offer.contract, total_collateral=1_999)),
    "offerer's collateral": lambda offer: with_party(offer, collateral=999),
    "offerer's collateral: too much": lambda offer: with_party(offer, collateral=2 * parties.COLLATERAL + 1),
    "refund lock time": lambda offer: replace(offer, refund_lock_time=offer.cet_lock_time),
    "lock times": lambda offer: replace(offer, refund_lock_time=1_800_000_000),
    "refund time": lambda offer: replace(offer, cet_lock_time=1_600_000_000, refund_lock_time=1_700_000_000),
    "offerer's payout script": lambda offer: with_party(offer, payout_script=b"\x51"),
    "offerer's change script": lambda offer: with_party(offer, change_script=b""),
    "offerer's funding inputs": lambda offer: with_party(offer, inputs=()),
    "offerer's funding inputs: twice": lambda offer: with_party(
        offer, inputs=(*offer.party.inputs, replace(offer.party.inputs[0], serial_id=6))
    ),
    "offerer's serial ids": lambda offer: with_party(
        offer, inputs=(*offer.party.inputs, parties.coin(5, parties.SCRIPTS[1]))
    ),
    "serial ids of funding outputs": lambda offer: replace(offer, fund_serial_id=offer.party.change_serial_id),
    "offerer's funding input": lambda offer: with_input(offer, previous=paying_to(P2PKH)),
    "offerer's redeem script": lambda offer: with_input(offer, redeem_script=p2wsh(b"")),
    "offerer's witness size": lambda offer: with_input(offer, max_witness_size=106),
    "offerer's sequence": lambda offer: with_input(offer, sequence=5),
    "output of a funding input": lambda offer: with_input(offer, vout=1),
    "previous transaction": lambda offer: with_input(offer, previous=b"junk"),
    "funding inputs": lambda offer: with_party(offer, inputs=(parties.coin(5, parties.SCRIPTS[0], 100_001_000),)),
    "payouts": lambda offer: with_payouts(offer, *parties.PAYOUTS[:3]),
    "outcome": lambda offer: with_payouts(offer, ("surprise", 1), *parties.PAYOUTS),
    "payout of 'win'": lambda offer: with_payouts(offer, ("win", 2 * parties.COLLATERAL + 1), *parties.PAYOUTS[1:]),
}


@pytest.mark.parametrize("what", OFFERS)
def test_an_offer_is_refused_unsigned(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.dlc.classic.contract.encrypt_all", lambda *_: pytest.fail("it was signed"))
    with pytest.raises(BadInput) as refusal:
        parties.accepted(OFFERS[what](parties.offer()))
    assert str(refusal.value).startswith(what.partition(":")[0])
    assert "\n" not in str(refusal.value)


def test_an_announcement_without_the_oracles_signature_is_refused() -> None:
    offer = parties.offer()
    event = offer.contract.events[0]
    false = replace(event.oracles.announcements[0], signature=bytes(64))
    oracles = replace(event.oracles, announcement=false)  # type: ignore[call-arg]
    changed = replace(offer.contract, event=replace(event, oracles=oracles))  # type: ignore[call-arg]
    with pytest.raises(VerificationFailed, match="announcement"):
        parties.accepted(replace(offer, contract=changed))


def accept_with(accept: Accept, **changes: Any) -> Accept:
    return replace(accept, party=replace(accept.party, **changes))


ACCEPTS: dict[str, Callable[[Accept], Accept]] = {
    "temporary contract id": lambda accept: replace(accept, temporary_id=bytes(32)),
    "accepter's collateral": lambda accept: accept_with(accept, collateral=parties.COLLATERAL - 1),
    "accepter's funding key": lambda accept: accept_with(accept, funding_key=parties.OFFERER.public),
    "funding inputs": lambda accept: accept_with(accept, inputs=parties.offer().party.inputs),
    "serial ids of inputs": lambda accept: accept_with(accept, inputs=(parties.coin(5, parties.SCRIPTS[1]),)),
    "serial ids of payouts": lambda accept: accept_with(accept, payout_serial_id=7),
    "serial ids of funding outputs": lambda accept: accept_with(accept, change_serial_id=8),
    "adaptor signatures": lambda accept: replace(accept, adaptor_signatures=accept.adaptor_signatures[:-1]),
    "adaptor signature 3": lambda accept: replace(
        accept, adaptor_signatures=(*accept.adaptor_signatures[:3], parties.bent(accept.adaptor_signatures[3]))
    ),
    "the refund's signature": lambda accept: replace(accept, refund_signature=bytes(64)),
    "adaptor signature 0": lambda accept: accept_with(accept, payout_script=parties.SCRIPTS[0]),
}


@pytest.fixture(scope="module")
def accept() -> Accept:
    return parties.accepted(parties.offer())


@pytest.mark.parametrize("what", ACCEPTS)
def test_an_accept_is_refused_unsigned(what: str, accept: Accept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.dlc.classic.contract.encrypt_all", lambda *_: pytest.fail("it was signed"))
    with pytest.raises(BridgeError) as refusal:
        parties.signed(parties.offer(), ACCEPTS[what](accept))
    expected = "the refund's" if what == "adaptor signature 0" else what
    assert str(refusal.value).startswith(expected)


SIGNS: dict[str, Callable[[Sign], Sign]] = {
    "sign message": lambda sign: replace(sign, contract_id=bytes(32)),
    "adaptor signature 1": lambda sign: replace(
        sign, adaptor_signatures=(sign.adaptor_signatures[0], bytes(162), *sign.adaptor_signatures[2:])
    ),
    "the refund's signature": lambda sign: replace(sign, refund_signature=bytes(64)),
    "funding signatures": lambda sign: replace(sign, witnesses=()),
    "funding input": lambda sign: replace(sign, witnesses=((b"", sign.witnesses[0][1]),)),
    "funding input: large": lambda sign: replace(sign, witnesses=((bytes(200), *sign.witnesses[0]),)),
}


@pytest.mark.parametrize("what", SIGNS)
def test_a_sign_funds_nothing(what: str, accept: Accept) -> None:
    offer = parties.offer()
    sign = parties.signed(offer, accept)
    with pytest.raises(VerificationFailed) as refusal:
        negotiation.complete(offer, accept, SIGNS[what](sign), parties.ACCEPTER_COINS, Hashing.PLAIN, 1)
    assert str(refusal.value).startswith(what.partition(":")[0])


def test_a_coin_of_another_key_is_not_signed(accept: Accept) -> None:
    offer = parties.offer()
    sign = parties.signed(offer, accept)
    with pytest.raises(BadInput, match="a coin of this key"):
        negotiation.complete(offer, accept, sign, parties.OFFERER_COINS, Hashing.PLAIN, 1)


def test_another_funding_key_does_not_sign(accept: Accept) -> None:
    offer = with_party(parties.offer(), funding_key=parties.ORACLE.public)
    with pytest.raises(BadInput, match="funding key"):
        parties.signed(offer, accept)
    with pytest.raises(BadInput, match="funding key"):
        parties.accepted(parties.offer(), replace(parties.accepter(), funding_key=parties.ORACLE.public))


def test_nested_coins_may_fund() -> None:
    redeem = parties.SCRIPTS[0]
    script = b"\xa9\x14" + hash160(redeem) + b"\x87"
    coin = replace(parties.coin(5, script), redeem_script=redeem, max_witness_size=107)
    done = parties.negotiate(parties.offer((coin,)))
    index = done.contract.terms.inputs.index(coin)
    assert done.funding.inputs[index].script_sig == b"\x16" + redeem
    assert Transaction.parse(done.funding.serialize()) == done.funding


@pytest.mark.parametrize(
    ("script", "standard"),
    [
        (P2PKH, True),
        (b"\xa9\x14" + bytes(20) + b"\x87", True),
        (b"\x00\x14" + bytes(20), True),
        (b"\x00\x20" + bytes(32), True),
        (b"\x51\x20" + bytes(32), True),
        (b"\x60\x02" + bytes(2), True),
        (b"\x51\x28" + bytes(40), True),
        (b"", False),
        (b"\x51", False),
        (b"\x51\x01\x00", False),
        (b"\x51\x29" + bytes(41), False),
        (b"\x51\x20" + bytes(31), False),
        (b"\x00\x15" + bytes(21), False),
        (P2PKH + b"\x00", False),
        (b"\x6a\x04test", False),
    ],
)
def test_standard_scripts(script: bytes, standard: bool) -> None:
    assert is_standard(script) is standard
