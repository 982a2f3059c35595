"""A contract with a stake before any node is asked: terms that are refused, documents, and who signs what."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from bitvm_bridge.dlc.contract.contract import Agreement, Contract, ContractDocument, stake_claim
from bitvm_bridge.dlc.contract.graph import ContractGraph
from bitvm_bridge.dlc.contract.signing import (
    Bundle,
    ContractGraphs,
    ContractScheme,
    sign_together,
)
from bitvm_bridge.dlc.contract.terms import MIN_MARGIN, Terms
from bitvm_bridge.dlc.curves import PayoutFunction, PayoutPoint, Polynomial
from bitvm_bridge.dlc.oracle import DigitEvent, EnumEvent
from bitvm_bridge.dlc.payouts import EnumeratedPayouts, NumericPayouts
from bitvm_bridge.documents import encode
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import DUST
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Party
from bitvm_bridge.taproot import SigHash
from tests.dlc import bets
from tests.dlc.bets import COLLATERAL, KEYS, MATURITY, agreement, bet, contract, contract_of, side, terms

NUMBER = DigitEvent(2, False, "usd", 0, 10)


def line(*points: tuple[int, int]) -> NumericPayouts:
    pieces = [Polynomial((PayoutPoint(*left), PayoutPoint(*right))) for left, right in pairwise(points)]
    return NumericPayouts(10, PayoutFunction(tuple(pieces)))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "payout above the collateral": (
        lambda: terms(contract=bet(("sun", 2 * COLLATERAL + 1), ("rain", 0), ("snow", 0))),
        "payout of 'sun'",
    ),
    "negative payout": (
        lambda: terms(contract=bet(("sun", -1), ("rain", 0), ("snow", 0))),
        "payout of 'sun'",
    ),
    "outcome that was not announced": (
        lambda: terms(contract=bet(("hail", 1), ("rain", 0), ("snow", 0))),
        "outcome.*hail",
    ),
    "outcome that is left out": (
        lambda: terms(contract=bet(("sun", 1), ("rain", 0))),
        "complete: snow",
    ),
    "curve above the collateral": (
        lambda: terms(contract=contract_of(NUMBER, line((0, 0), (1023, 2 * COLLATERAL + 1)))),
        "payout",
    ),
    "number with a sign": (
        lambda: terms(contract=contract_of(replace(NUMBER, signed=True), line((0, 0), (1023, 1)))),
        "sign",
    ),
    "refund before the maturity": (lambda: terms(refund=MATURITY - 1), "refund time"),
    "refund one second early": (lambda: terms(refund=terms().earliest_refund - 1), "refund time"),
    "no margin": (lambda: terms(margin=MIN_MARGIN - 1), "margin"),
    "no window": (lambda: terms(dispute_window=0), "dispute window"),
    "windows beyond a relative lock": (lambda: terms(dispute_window=65_000, grace_window=268), "grace window"),
    "no stake": (lambda: terms(stake=0), "stake"),
    "stake of which nothing is left": (lambda: terms(stake=2_000, burn_percent=99), "share"),
    "no burn": (lambda: terms(burn_percent=0), "burn percent"),
    "collateral above the total": (lambda: terms(offerer_collateral=2 * COLLATERAL + 1), "offerer's collateral"),
    "salt": (lambda: terms(salt=b""), "salt"),
    "program": (lambda: terms(program="hash"), "program"),
    "one key of both": (lambda: Agreement(terms(), side(Party.OFFERER), side(Party.OFFERER)), "contract key"),
    "coins of both": (
        lambda: Agreement(terms(), side(Party.OFFERER), replace(side(Party.ACCEPTER), coins=side(Party.OFFERER).coins)),
        "coins",
    ),
    "coins that do not suffice": (
        lambda: Agreement(terms(), side(Party.OFFERER), side(Party.ACCEPTER, COLLATERAL)),
        "coins.*1,000,000 sat",
    ),
    "no coins": (lambda: Agreement(terms(), replace(side(Party.OFFERER), coins=()), side(Party.ACCEPTER)), "coins"),
    "a payout that is no taproot output": (
        lambda: replace(side(Party.OFFERER), payout=b"\x00\x14" + bytes(20)),
        "payout",
    ),
    "an oracle that is a party": (
        lambda: Contract(agreement(), bets.other_oracle(contract(), key=KEYS[Party.OFFERER].public)),
        "oracle's contract key",
    ),
    "an oracle that did not announce": (
        lambda: Contract(
            agreement(),
            bets.other_oracle(
                contract(),
                proof=KEYS[Party.ORACLE].sign(
                    stake_claim(agreement().id, KEYS[Party.ORACLE].public, contract().oracle.stake)
                ),
            ),
        ),
        "did not sign for it",
    ),
    "a stake that the proof is not for": (
        lambda: Contract(agreement(), bets.other_oracle(contract(), stake=agreement().funding.outpoint(0))),
        "did not sign for it",
    ),
    "a result too large to sign in one transaction": (
        lambda: graph_of(contract(program="hash-chain:18:1")),
        "program.*10,000 vB",
    ),
}


def graph_of(made: Contract) -> ContractGraph:
    return ContractGraphs(made).of(0)


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(case: str) -> None:
    make, message = REFUSED[case]
    with pytest.raises((BadInput, VerificationFailed), match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_documents_come_back_as_they_were() -> None:
    for made in (
        contract(),
        contract(key_path=True),
        contract(contract=contract_of(NUMBER, line((0, 0), (1023, 2 * COLLATERAL)))),
    ):
        raw = made.to_json()
        again = Contract.from_document(msgspec.json.decode(raw, type=ContractDocument))
        assert again == made
        assert again.id == made.id
        assert again.to_json() == raw


def test_the_id_is_of_everything_that_both_agreed_on() -> None:
    ids = {
        made.id
        for made in (
            agreement(),
            agreement(salt=bytes([1]) * 32),
            agreement(stake=COLLATERAL + 1),
            agreement(refund=terms().refund + 1),
            agreement(key_path=True),
            Agreement(terms(), side(Party.OFFERER), side(Party.ACCEPTER, 4 * COLLATERAL)),
            Agreement(terms(), side(Party.ACCEPTER), side(Party.OFFERER)),
        )
    }
    assert len(ids) == 7


def test_results_are_shared_evenly() -> None:
    made = terms(contract=contract_of(EnumEvent(("a", "b", "c")), EnumeratedPayouts((("c", 0), ("a", 1), ("b", 2)))))
    bounds = {made.outcomes[place].oracles[0][1][0]: made.results(place) for place in range(3)}
    assert bounds == {
        "a": (0, (1 << 29) // 3),
        "b": ((1 << 29) // 3, (2 << 29) // 3),
        "c": ((2 << 29) // 3, 1 << 29),
    }, "in the order of the announcement, whatever that of the payouts"


def test_funding_pays_what_was_asked_and_each_its_half() -> None:
    made = agreement()
    fee = sum(output.amount for output in made.funding_spent) - sum(output.amount for output in made.funding.outputs)
    signed = made.funding
    for index in range(2):
        signed = signed.with_witness(index, (bytes(64),))
    assert signed.vsize * 2 <= fee <= signed.vsize * 2 + 4
    assert made.funding.outputs[0].amount == 2 * COLLATERAL + 1_001
    first, second = (output.amount for output in made.funding.outputs[1:])
    assert second - first == 1, "the odd sat of the oracle's fee is the offerer's"


def test_all_that_leaves_outputs_open_fixes_the_burn() -> None:
    made = ContractGraphs(contract())
    assert not list(slashing_burns_of(made.of(1)))
    for graph in (made.whole, made.of(0), made.of(1), made.of(2)):
        for item in graph.presigned():
            for entry in item.inputs:
                assert not entry.sighash.anyone_can_pay
                if entry.sighash is not SigHash.DEFAULT:
                    assert (item.name, entry.sighash) == ("Disprove", SigHash.SINGLE)
                    assert item.tx.outputs[0].amount == contract().terms.burn


def slashing_burns_of(graph: ContractGraph) -> list[str]:
    """No ending leaves the bond out, and only settlements and Refund touch the collateral."""
    problems = []
    for name in ("Settle", "Release", "Disprove", "Forfeit"):
        if "OracleSign.bond" not in {entry.source.name for entry in graph[name].inputs}:
            problems.append(name)
    takers = {
        item.name for item in graph.txs.values() for entry in item.inputs if entry.source.name == "Funding.collateral"
    }
    return problems + ([] if takers == {"Settle", "LateSettle", "Refund"} else sorted(takers))


def without(given: dict[str, bytes], label: str) -> dict[str, bytes]:
    return {name: one for name, one in given.items() if name != label}


def once() -> Callable[[Any], None]:
    return lambda uses: None


@pytest.fixture(scope="module")
def signed() -> tuple[Bundle, Bundle]:
    return sign_together(ContractGraphs(contract()), KEYS, once())


def test_the_count_of_signatures_is_read_off_the_graph(signed: tuple[Bundle, Bundle]) -> None:
    parties, oracles = signed
    per_outcome = {"OracleSign": 1, "Settle": 3, "Release": 1, "LateSettle": 2, "Disprove": 1, "Forfeit": 1}
    assert len(oracles.signatures) == 2 + 3 * sum(per_outcome.values())
    assert len(oracles.signatures) - len(parties.signatures) == 3
    locked = [name for name, one in parties.signatures.items() if len(one) == 65]
    assert sorted(name.partition("/")[2] for name in locked) == sorted(
        ["Settle.collateral", "LateSettle.collateral", "Release.bond"] * 3
    )


def test_a_bundle_survives_its_document(signed: tuple[Bundle, Bundle]) -> None:
    for bundle in signed:
        again = Bundle.read(
            ContractGraphs(contract()), msgspec.json.decode(encode(bundle.to_json()), type=dict[str, str])
        )
        assert again.signatures == bundle.signatures


def test_a_bundle_with_one_bit_changed_or_a_signature_too_few_is_refused(signed: tuple[Bundle, Bundle]) -> None:
    parties, oracles = signed
    for name in parties.signatures:
        flipped = bytearray(parties.signatures[name])
        flipped[40] ^= 1
        for wrong in (
            {**parties.signatures, name: bytes(flipped)},
            {other: one for other, one in parties.signatures.items() if other != name},
            {**parties.signatures, name: parties.signatures[name][:63]},
        ):
            with pytest.raises(VerificationFailed, match=name.replace(".", r"\.")):
                Bundle(parties.graphs, wrong).verify()
    with pytest.raises(VerificationFailed, match="nobody owes"):
        Bundle(parties.graphs, {**parties.signatures, "3/Settle.bond": bytes(64)}).verify()
    some = dict(oracles.signatures)
    del some["1/OracleSign.stake_0"]
    with pytest.raises(VerificationFailed, match="1/OracleSign"):
        Bundle(oracles.graphs, some).verify()


def test_signatures_of_one_contract_are_none_of_another(signed: tuple[Bundle, Bundle]) -> None:
    other = ContractGraphs(contract(salt=bytes([2]) * 32))
    with pytest.raises(VerificationFailed):
        Bundle(other, signed[0].signatures).verify()


class Session:
    """Both rounds, with room to tamper between them."""

    def __init__(self) -> None:
        self.kept: dict[bytes, bytes] = {}
        graphs = ContractGraphs(contract())
        self.scheme = ContractScheme(graphs.contract, graphs.tasks, self.kept.update)
        self.trio = graphs.contract.trio
        self.signers = {name: self.scheme.signer(self.trio, name, KEYS[name], once()) for name in self.trio.names}
        self.nonces = {name: signer.nonces(self.scheme.digests) for name, signer in self.signers.items()}

    def sign(self, name: str) -> dict[str, bytes]:
        return self.signers[name].sign(self.scheme.digests, self.nonces)

    def check(self, name: str, partials: dict[str, bytes]) -> None:
        self.scheme.check_partials(self.trio, name, self.scheme.digests, self.nonces, partials)


def test_the_oracle_gives_no_share_of_what_only_it_may_complete() -> None:
    session = Session()
    given = session.sign(Party.ORACLE)
    assert not any("OracleSign" in name for name in given)
    assert len(session.kept) == 3
    session.check(Party.ORACLE, given)
    leaked = given | {"0/OracleSign.stake_0": next(iter(session.kept.values()))}
    with pytest.raises(VerificationFailed, match="oracle"):
        session.check(Party.ORACLE, leaked)
    with pytest.raises(BridgeError, match="no unused nonce"):
        session.sign(Party.ORACLE)


def test_an_oracle_whose_own_shares_are_gone_has_no_bundle() -> None:
    session = Session()
    partials = {name: session.sign(name) for name in session.trio.names}
    with pytest.raises(VerificationFailed, match="not in this store"):
        session.scheme.combine_withheld(session.nonces, partials, lambda nonce: None)


@pytest.mark.parametrize("name", [Party.OFFERER, Party.ACCEPTER, Party.ORACLE])
@pytest.mark.parametrize(
    "what", ["Settle.collateral", "Settle.bond", "Refund.collateral", "OracleTimeout.stake_0", "Disprove.bond"]
)
def test_a_wrong_share_names_its_author(name: Party, what: str) -> None:
    session = Session()
    given = session.sign(name)
    labels = [one for one in given if one.endswith(what)]
    if name is Party.ORACLE and "collateral" in what:
        assert not labels, "the oracle has no part in the collateral"
        return
    wrong = bytearray(given[labels[0]])
    wrong[31] ^= 1
    for tampered in (
        given | {labels[0]: bytes(wrong)},
        given | {labels[0]: b""},
        {k: v for k, v in given.items() if k != labels[0]},
    ):
        with pytest.raises(VerificationFailed, match=str(name)):
            session.check(name, tampered)
    session.check(name, given)


def test_a_wrong_nonce_names_its_author() -> None:
    session = Session()
    for name, nonces in session.nonces.items():
        label = next(iter(nonces))
        for tampered in (
            nonces | {label: bytes(66)},
            {k: v for k, v in nonces.items() if k != label},
            nonces | {"x": nonces[label]},
        ):
            with pytest.raises(VerificationFailed, match=name):
                session.scheme.check_nonces(name, session.scheme.digests, tampered)


def test_a_share_made_for_another_point_is_refused() -> None:
    """The accepter signs Settle locked by another outcome's point: it would settle by that."""
    session = Session()
    given = session.sign(Party.ACCEPTER)
    swapped = given | {"0/Settle.collateral": given["1/Settle.collateral"]}
    with pytest.raises(VerificationFailed, match="accepter"):
        session.check(Party.ACCEPTER, swapped)


def test_a_key_that_is_not_the_members_signs_nothing() -> None:
    graphs = ContractGraphs(contract())
    scheme = ContractScheme(graphs.contract, graphs.tasks)
    with pytest.raises(BadInput, match="committee member"):
        scheme.signer(graphs.contract.trio, Party.OFFERER, SecretKey(bytes([3]) * 32), once())


def test_dust_is_not_paid_and_nothing_is_lost() -> None:
    payouts = EnumeratedPayouts((("sun", DUST - 1), ("rain", DUST), ("snow", 2 * COLLATERAL - 1)))
    made = ContractGraphs(contract(contract=contract_of(payouts=payouts)))
    for outcome in range(3):
        item = made.of(outcome)["Settle"]
        brought = sum(entry.source.output.amount for entry in item.inputs)
        assert sum(output.amount for output in item.tx.outputs) == brought
        assert all(output.amount >= DUST for output in item.tx.outputs[:-1])


def test_the_default_program_is_one_that_fits() -> None:
    assert len(parse_program("hash-chain").values) == 8
    graph_of(contract(program="hash-chain"))
    graph_of(contract(program="hash-chain:17:1"))
    assert isinstance(terms(), Terms)
