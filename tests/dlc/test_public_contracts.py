"""Whole contracts of the public suite: every id, transaction and signature of them."""

from dataclasses import replace
from functools import cache
from itertools import groupby

import pytest

from bitvm_bridge import secp
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.dlc.classic.contract import Contract, Reading, agreed, confirmed, readings
from bitvm_bridge.dlc.classic.messages import ACCEPT, OFFER, SIGN, Accept, DisjointContract, Offer, Sign
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.errors import VerificationFailed
from tests.dlc import specs

SMALL = "enum_3_of_3_test.json"
DISJOINT = "enum_and_numerical_5_of_5_test.json"


@cache
def load(file: str) -> tuple[Offer, Accept, Sign]:
    case = specs.load(file)
    raw = [bytes.fromhex(case[f"{name}_message"]["serialized"]) for name in ("offer", "accept", "sign")]
    return OFFER.decode(raw[0]), ACCEPT.decode(raw[1]), SIGN.decode(raw[2])


@pytest.mark.parametrize("file", specs.CONTRACTS)
def test_every_signature_of_a_public_contract(file: str) -> None:
    offer, accept, sign = load(file)
    for announcement in Contract(offer, accept.party).announcements:
        announcement.verify(Hashing.PLAIN)
    contract = agreed(offer, accept, Hashing.PLAIN)
    assert len(contract.outcomes) == len(accept.adaptor_signatures) == len(sign.adaptor_signatures)
    assert contract.id == sign.contract_id
    if file != DISJOINT:
        assert confirmed(offer, accept, sign, Hashing.PLAIN).id == contract.id


@pytest.mark.parametrize("file", specs.CONTRACTS)
def test_the_funding_signatures_of_a_public_contract(file: str) -> None:
    """On Core's consensus, as the accepter would before it signs."""
    offer, accept, sign = load(file)
    terms = Contract(offer, accept.party).terms
    tx, spent = terms.funding, [each.spent for each in terms.inputs]
    own = sorted(offer.party.inputs, key=lambda each: each.serial_id)
    for each, witness in zip(own, sign.witnesses, strict=True):
        index = terms.inputs.index(each)
        assert verify_input(tx.with_witness(index, witness), index, spent)
        assert not verify_input(replace(tx, lock_time=1).with_witness(index, witness), index, spent)


def test_the_tagged_hash_makes_other_points() -> None:
    offer, accept, _ = load(SMALL)
    with pytest.raises(VerificationFailed, match="adaptor signature 0"):
        agreed(offer, accept, Hashing.TAGGED)


def test_later_parts_have_no_lock_time_there() -> None:
    """So the suite's accepter reads it."""
    offer, accept, _ = load(DISJOINT)
    assert isinstance(offer.contract, DisjointContract)
    assert agreed(offer, accept, Hashing.PLAIN).reading == Reading(unlocked_parts=True)
    assert len(list(readings(offer, Hashing.PLAIN))) == 2
    strict = Contract(offer, accept.party)
    with pytest.raises(VerificationFailed, match="adaptor signature"):
        strict.check_signatures(accept.party.funding_key, accept.adaptor_signatures, accept.refund_signature)


def test_an_offerer_that_counts_every_part_from_the_first_cet_is_refused() -> None:
    """The suite's offerer does: each signature is valid, but that of part 1's range `i` is of CET `i` of all parts.

    With it the accepter would be paid what another outcome says.
    """
    offer, accept, sign = load(DISJOINT)
    contract = agreed(offer, accept, Hashing.PLAIN)
    enumerated = [place for place, outcome in enumerate(contract.outcomes) if outcome.part == 0]
    ranges = [[*group] for _, group in groupby(range(len(enumerated), 18), lambda at: contract.outcomes[at].payout)]
    cets = [contract.jobs[place].digest for place in [*enumerated, *(group[0] for group in ranges)]]
    wrong = {place: number for number, group in enumerate(ranges) for place in group}
    for place, signature in enumerate(sign.adaptor_signatures):
        digest = cets[wrong.get(place, place)]
        assert adaptor.verify(offer.party.funding_key, digest, contract.jobs[place].point, signature)
    with pytest.raises(VerificationFailed, match="adaptor signature 4 "):
        confirmed(offer, accept, sign, Hashing.PLAIN)


@pytest.mark.parametrize("place", [0, 5, 13])
def test_one_bad_signature_is_found(place: int) -> None:
    offer, accept, _ = load("single_oracle_numerical_test.json")
    signatures = list(accept.adaptor_signatures)
    signatures[place] = signatures[place - 1]
    with pytest.raises(VerificationFailed, match=f"adaptor signature {place} "):
        agreed(offer, replace(accept, adaptor_signatures=tuple(signatures)), Hashing.PLAIN)


def test_one_signature_too_few_or_too_many() -> None:
    offer, accept, _ = load(SMALL)
    for signatures in (accept.adaptor_signatures[:-1], accept.adaptor_signatures + accept.adaptor_signatures[:1]):
        with pytest.raises(VerificationFailed, match="for 4 outcomes"):
            agreed(offer, replace(accept, adaptor_signatures=signatures), Hashing.PLAIN)


def test_a_refund_signature_of_another_is_refused() -> None:
    offer, accept, sign = load(SMALL)
    with pytest.raises(VerificationFailed, match="refund"):
        agreed(offer, replace(accept, refund_signature=sign.refund_signature), Hashing.PLAIN)


def test_over_processes_it_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.dlc.classic.batches.BATCH", 4)
    offer, accept, _ = load("single_oracle_numerical_test.json")
    assert agreed(offer, accept, Hashing.PLAIN, workers=2).reading == Reading()
    signatures = list(accept.adaptor_signatures)
    signatures[11] = signatures[2]
    with pytest.raises(VerificationFailed, match="adaptor signature 11 "):
        agreed(offer, replace(accept, adaptor_signatures=tuple(signatures)), Hashing.PLAIN, workers=2)


def test_a_published_settlement_gives_the_secret_away() -> None:
    """The oracle's secret comes out of the adaptor signature and the signature that was made of it."""
    offer, accept, _ = load(SMALL)
    contract = Contract(offer, accept.party)
    secret = bytes([5]) * 32
    encrypted = adaptor.encrypt(bytes([6]) * 32, contract.jobs[0].digest, secp.public_key(secret))
    signature = adaptor.decrypt(encrypted, secret)
    assert adaptor.recover(encrypted, signature, secp.public_key(secret)) == secret
