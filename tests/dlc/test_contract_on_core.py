"""A contract with a stake on Core: every ending, who ends up with what, and what is refused on the way."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from bitvm_bridge import secp
from bitvm_bridge.chain.kernel import verify_input, verify_inputs
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.dlc.contract import moves
from bitvm_bridge.dlc.contract.signing import label
from bitvm_bridge.dlc.curves import PayoutFunction, PayoutPoint, Polynomial
from bitvm_bridge.dlc.oracle import Attestation, DigitEvent
from bitvm_bridge.dlc.payouts import NumericPayouts
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import DUST
from bitvm_bridge.protocol import Party
from bitvm_bridge.wallet import Prepared
from cli.contract_stories import COLLATERAL, GRACE, ORACLE_FEE, STAKE, WINDOW, Played, set_up
from cli.lies import lie
from cli.stage import Stage
from tests.dlc.staked import (
    PAYOUTS,
    WEATHER,
    allowed,
    asserted,
    embedded_stage,
    oracle_signs,
    paid,
    pass_time,
    stage_on,
    truth,
    wallet,
)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with embedded_stage(tmp_path / "node") as opened:
        yield opened


@pytest.fixture
def played(stage: Stage) -> Played:
    return set_up(stage, WEATHER, PAYOUTS)


def settles(stage: Stage, played: Played, outcome: int, by: Party = Party.ACCEPTER) -> Prepared:
    """Settle confirms, at the first block that may have it."""
    height = oracle_signs(stage, played, outcome)
    settle = moves.settle(wallet(stage, by), played.parties, outcome, played.attest(outcome))
    stage.mine_to(height + WINDOW - 2)
    assert settle.test(stage.node).reason.startswith("non-BIP68-final")
    stage.mine(1)
    stage.confirm(settle, "")
    return settle


@pytest.mark.parametrize("key_path", [False, True], ids=["script", "key path"])
@pytest.mark.parametrize("outcome", range(3))
def test_every_outcome_settles_as_agreed(stage: Stage, outcome: int, key_path: bool) -> None:
    """Core does not know which one is true: that is for whoever watches to prove."""
    played = set_up(stage, WEATHER, PAYOUTS, key_path=key_path)
    contract = played.bundle.contract
    settle = settles(stage, played, outcome)
    payout = PAYOUTS.payouts[outcome][1]
    offerer, accepter = contract.agreement.offerer.payout, contract.agreement.accepter.payout
    assert paid(settle, offerer) == (payout if payout >= DUST else 0)
    assert paid(settle, accepter) == (2 * COLLATERAL - payout if payout < 2 * COLLATERAL else 0)
    dust = payout if payout < DUST else 0
    assert paid(settle, contract.oracle.payout) == STAKE + ORACLE_FEE + DUST + dust
    found = moves.revealed(played.parties, outcome, settle.tx)
    assert found.reveal() == played.attest(outcome).signatures[0][32:]
    assert settle.parent.fee == 0
    assert len(settle.tx.inputs[0].witness) == (1 if key_path else 3)


@pytest.mark.parametrize("by", [Party.OFFERER, Party.ACCEPTER, Party.ORACLE])
def test_any_of_the_three_settles(stage: Stage, played: Played, by: Party) -> None:
    """Where both parties are offline the oracle does, and has its stake back."""
    before = stage.balances()[Party.ORACLE]
    settles(stage, played, truth(played), by)
    assert stage.balances()[Party.ORACLE] > before + STAKE


def test_a_number_settles_by_its_first_digits(stage: Stage) -> None:
    event = DigitEvent(2, False, "usd", 0, 6)
    flat = Polynomial((PayoutPoint(0, COLLATERAL), PayoutPoint(40, COLLATERAL)))
    rest = Polynomial((PayoutPoint(40, COLLATERAL), PayoutPoint(63, 0)))
    played = set_up(stage, event, NumericPayouts(6, PayoutFunction((flat, rest))))
    terms = played.bundle.contract.terms
    covered = [terms.results(index) for index in range(len(terms.outcomes))]
    assert (covered[0][0], covered[-1][1]) == (0, 1 << 29)
    assert all(one[1] == other[0] for one, other in pairwise(covered)), "no result is left out"
    settle = settles(stage, played, 0)
    assert terms.outcomes[0].oracles[0][1] == ("0",)
    assert paid(settle, played.bundle.contract.agreement.offerer.payout) == COLLATERAL


def test_refund_is_valid_from_its_lock_time_and_not_one_block_before(stage: Stage, played: Played) -> None:
    refunded(stage, played)


def test_the_same_on_bitcoind(fresh_bitcoind: LaunchedBitcoind) -> None:
    stage = stage_on(fresh_bitcoind.node)
    played = set_up(stage, WEATHER, PAYOUTS)
    refunded(stage, played)
    timed_out(stage, played)
    other = set_up(stage, WEATHER, PAYOUTS, key_path=True)
    settles(stage, other, truth(other))
    third = set_up(stage, WEATHER, PAYOUTS)
    disproved(stage, third, (truth(third) + 1) % 3, third.computed())


def refunded(stage: Stage, played: Played) -> None:
    terms, agreement = played.parties.contract.terms, played.parties.contract.agreement
    back = moves.refund(wallet(stage, Party.OFFERER), played.parties)
    assert back.test(stage.node).reason == "non-final"
    pass_time(stage, terms.refund)
    assert back.test(stage.node).reason == "non-final"
    stage.mine(1)
    stage.confirm(back, "")
    assert paid(back, agreement.offerer.payout) == COLLATERAL + (ORACLE_FEE + 1) // 2
    assert paid(back, agreement.accepter.payout) == COLLATERAL + ORACLE_FEE // 2


def timed_out(stage: Stage, played: Played) -> None:
    contract = played.parties.contract
    late = moves.oracle_timeout(wallet(stage, Party.ACCEPTER), played.parties)
    stage.confirm(late, "")
    assert paid(late, contract.agreement.offerer.payout) == (STAKE - STAKE // 2) // 2
    assert paid(late, contract.agreement.accepter.payout) == STAKE - STAKE // 2 - (STAKE - STAKE // 2) // 2 + DUST
    assert late.tx.outputs[0].amount == STAKE // 2
    signed = moves.oracle_sign(wallet(stage, Party.ORACLE), played.bundle, 0, asserted(played, 0))
    assert signed.test(stage.node).reason.startswith("bad-txns-inputs-missingorspent")


def test_a_silent_oracle_loses_its_stake_and_not_one_block_early(stage: Stage, played: Played) -> None:
    late = moves.oracle_timeout(wallet(stage, Party.ACCEPTER), played.parties)
    assert late.test(stage.node).reason == "non-final"
    pass_time(stage, played.parties.contract.terms.sign_by)
    assert late.test(stage.node).reason == "non-final"
    stage.mine(1)
    timed_out(stage, played)


def test_an_oracle_that_never_attests_loses_its_bond_and_not_one_block_early(stage: Stage, played: Played) -> None:
    outcome, agreement = truth(played), played.parties.contract.agreement
    height = oracle_signs(stage, played, outcome)
    forfeit = moves.forfeit(wallet(stage, Party.ACCEPTER), played.parties, outcome)
    stage.mine_to(height + WINDOW + 2 * GRACE - 2)
    assert forfeit.test(stage.node).reason.startswith("non-BIP68-final")
    stage.mine(1)
    stage.confirm(forfeit, "")
    assert forfeit.tx.outputs[0].amount == STAKE // 2
    assert paid(forfeit, agreement.offerer.payout) == paid(forfeit, agreement.accepter.payout) == STAKE // 4
    settle = moves.settle(wallet(stage, Party.ACCEPTER), played.parties, outcome, played.attest(outcome))
    assert not allowed(stage, settle)


def test_parties_that_close_by_themselves_cannot_take_an_honest_oracles_stake(stage: Stage, played: Played) -> None:
    """It signs, and has its bond back against its attestation; a closed collateral costs it the fee alone."""
    outcome = truth(played)
    height = oracle_signs(stage, played, outcome)
    back = moves.release(wallet(stage, Party.ORACLE), played.bundle, outcome, played.attest(outcome))
    stage.mine_to(height + WINDOW + GRACE - 2)
    assert back.test(stage.node).reason.startswith("non-BIP68-final")
    stage.mine(1)
    stage.confirm(back, "")
    assert paid(back, played.bundle.contract.oracle.payout) == STAKE
    assert not allowed(stage, moves.forfeit(wallet(stage, Party.ACCEPTER), played.parties, outcome))


def test_an_oracle_that_withholds_its_attestation_tells_it_with_the_release(stage: Stage, played: Played) -> None:
    """The parties have it from the chain, and are paid as it says, before any refund."""
    outcome = truth(played)
    height = oracle_signs(stage, played, outcome)
    stage.mine_to(height + WINDOW + GRACE - 1)
    back = moves.release(wallet(stage, Party.ORACLE), played.bundle, outcome, played.attest(outcome))
    stage.confirm(back, "")
    secret = moves.revealed(played.parties, outcome, back.tx)
    assert secret.reveal() == played.attest(outcome).signatures[0][32:]
    late = moves.late_settle(wallet(stage, Party.OFFERER), played.parties, outcome, secret)
    stage.confirm(late, "")
    payout = PAYOUTS.payouts[outcome][1]
    assert paid(late, played.parties.contract.agreement.offerer.payout) == (payout if payout >= DUST else 0)
    assert moves.revealed(played.parties, outcome, late.tx).reveal() == secret.reveal()
    with pytest.raises(VerificationFailed, match="nothing in it tells"):
        moves.revealed(played.parties, (outcome + 1) % 3, late.tx)
    with pytest.raises(VerificationFailed, match="not that of the point"):
        moves.late_settle(wallet(stage, Party.OFFERER), played.parties, (outcome + 1) % 3, secret)


def secret(played: Played, outcome: int) -> SecretKey:
    return moves.secret_of(played.parties.contract.terms, outcome, played.attest(outcome))


def disproved(stage: Stage, played: Played, outcome: int, values: tuple[bytes, ...]) -> Prepared:
    height = oracle_signs(stage, played, outcome, values)
    found, assertion = moves.read_signed(played.parties, stage.confirmed[-2])
    assert (found, assertion.values) == (outcome, values)
    proof = moves.find_proof(played.parties, outcome, assertion)
    assert proof is not None
    disproof = moves.disprove(wallet(stage, Party.CHALLENGER), played.parties, outcome, proof)
    stage.confirm(disproof, "")
    stage.mine_to(height + WINDOW + 2 * GRACE)
    for prepared in (
        moves.settle(wallet(stage, Party.ACCEPTER), played.parties, outcome, played.attest(outcome)),
        moves.release(wallet(stage, Party.ORACLE), played.bundle, outcome, played.attest(outcome)),
        moves.late_settle(wallet(stage, Party.ACCEPTER), played.parties, outcome, secret(played, outcome)),
        moves.forfeit(wallet(stage, Party.ACCEPTER), played.parties, outcome),
    ):
        assert prepared.test(stage.node).reason.startswith("bad-txns-inputs-missingorspent")
    burned = disproof.tx.outputs[0]
    assert (burned.amount, burned.script_pubkey) == (STAKE // 2, b"\x6a")
    return disproof


@pytest.mark.parametrize("wrong", [1, 2])
def test_a_false_outcome_of_a_right_computation_is_disproved(stage: Stage, played: Played, wrong: int) -> None:
    outcome = (truth(played) + wrong) % 3
    disproof = disproved(stage, played, outcome, played.computed())
    assert disproof.tx.vsize < 1_600, "the last check hashes nothing"


@pytest.mark.parametrize("value", ["link_0", "link_1"])
def test_a_wrong_value_is_disproved_whatever_was_signed(stage: Stage, played: Played, value: str) -> None:
    inner = played.bundle.graphs.case(0).program.inner
    disproved(stage, played, truth(played), lie(inner, played.computed(), value))


def test_nothing_disproves_what_is_true(stage: Stage, played: Played) -> None:
    """No leaf can be satisfied with what the oracle opened, not the last one either."""
    outcome = truth(played)
    assertion = asserted(played, outcome)
    assert moves.find_proof(played.parties, outcome, assertion) is None
    case = played.parties.graphs.case(outcome)
    run = case.program.run(())
    for index, chunk in enumerate(case.program.chunks):
        items = tuple(case.checks.witness(index, run, assertion.values, assertion.signatures))
        false = moves.Proof(chunk.name, "", None, None, items)
        with pytest.raises(BridgeError, match="refuses input 1"):
            moves.disprove(wallet(stage, Party.CHALLENGER), played.parties, outcome, false)


def test_a_proof_against_one_outcome_is_none_against_another(stage: Stage, played: Played) -> None:
    """The bounds of an outcome are constants of its own leaf."""
    outcome = truth(played)
    other = (outcome + 1) % 3
    proof = moves.find_proof(played.parties, other, asserted(played, other))
    assert proof is not None
    assert proof.leaf == "outcome"
    with pytest.raises(BridgeError, match="refuses input 1"):
        moves.disprove(wallet(stage, Party.CHALLENGER), played.parties, outcome, proof)


def test_one_stake_cannot_back_two_outcomes(stage: Stage, played: Played) -> None:
    oracle_signs(stage, played, 0)
    second = moves.oracle_sign(wallet(stage, Party.ORACLE), played.bundle, 1, asserted(played, 1))
    assert second.test(stage.node).reason.startswith("bad-txns-inputs-missingorspent")


def test_a_party_cannot_sign_for_the_oracle_with_what_it_opened(stage: Stage, played: Played) -> None:
    """It sees the openings as soon as OracleSign is in a mempool; the signature it would need it never had."""
    assert not played.parties.is_oracles
    with pytest.raises(BadInput, match="OracleSign"):
        moves.oracle_sign(wallet(stage, Party.ACCEPTER), played.parties, 1, asserted(played, 1))
    signed = moves.oracle_sign(wallet(stage, Party.ORACLE), played.bundle, 0, asserted(played, 0))
    declared = played.bundle.graphs.of(1)["OracleSign"]
    copied = declared.tx.with_witness(0, signed.tx.inputs[0].witness)
    assert not verify_input(copied, 0, declared.spent)
    assert verify_inputs(signed.tx, signed.parent.spent) is None


def test_a_wrong_attestation_settles_nothing(stage: Stage, played: Played) -> None:
    outcome, payer = truth(played), wallet(stage, Party.ACCEPTER)
    height = oracle_signs(stage, played, outcome)
    stage.mine_to(height + WINDOW)
    right, other = played.attest(outcome), played.attest((outcome + 1) % 3)
    with pytest.raises(BadInput, match="attestation"):
        moves.settle(payer, played.parties, outcome, other)
    for false in (
        replace(right, outcomes=other.outcomes),
        replace(right, signatures=(right.signatures[0][:-1] + bytes([right.signatures[0][-1] ^ 1]),)),
        replace(right, key=SecretKey(bytes([9]) * 32).xonly),
        Attestation(right.key, "another event", right.outcomes, right.signatures),
    ):
        with pytest.raises(VerificationFailed, match="attestation"):
            moves.settle(payer, played.parties, outcome, false)
    unlocked = moves.settle(payer, played.parties, outcome, right)
    assert allowed(stage, unlocked)
    declared = played.parties.graphs.of(outcome)["Settle"]
    locked = played.parties.signatures[label(outcome, declared, "collateral")]
    for signature in (locked[:64], secp.adapt(locked, bytes([7]) * 32), bytes(64)):
        forged = unlocked.tx.with_witness(0, (signature, *unlocked.tx.inputs[0].witness[1:]))
        assert not verify_input(forged, 0, unlocked.parent.spent)


def endings(stage: Stage, played: Played) -> Iterator[Prepared]:
    """Every transaction that was signed at set-up, of every outcome, but for those that open or prove something."""
    payer = wallet(stage, Party.ACCEPTER)
    yield moves.refund(payer, played.bundle)
    yield moves.oracle_timeout(payer, played.bundle)
    for outcome in range(3):
        yield moves.oracle_sign(payer, played.bundle, outcome, asserted(played, outcome))
        yield moves.settle(payer, played.bundle, outcome, played.attest(outcome))
        yield moves.late_settle(payer, played.bundle, outcome, secret(played, outcome))
        yield moves.release(payer, played.bundle, outcome, played.attest(outcome))
        yield moves.forfeit(payer, played.bundle, outcome)
        proof = moves.find_proof(played.bundle, outcome, asserted(played, outcome))
        if proof is not None:
            yield moves.disprove(payer, played.bundle, outcome, proof)


def test_every_signature_is_for_one_transaction_input_and_leaf(stage: Stage, played: Played) -> None:
    for prepared in endings(stage, played):
        tx, spent = prepared.tx, list(prepared.parent.spent)
        assert verify_inputs(tx, spent) is None, prepared.name
        for index, txin in enumerate(tx.inputs):
            if not txin.witness or len(txin.witness[0]) not in (64, 65):
                continue
            for attacked in attacks(tx.inputs[index].witness):
                assert not verify_input(tx.with_witness(index, attacked), index, spent), (prepared.name, index)
            shifted = replace(
                tx, inputs=(*tx.inputs[:index], replace(txin, sequence=txin.sequence - 1), *tx.inputs[index + 1 :])
            )
            assert not verify_input(shifted, index, spent), f"{prepared.name}: another lock"
            cheaper = [replace(output, amount=output.amount - 1) for output in spent]
            assert not verify_input(tx, index, cheaper), f"{prepared.name}: another amount"
        stolen = replace(tx, outputs=(replace(tx.outputs[0], amount=tx.outputs[0].amount - 1), *tx.outputs[1:]))
        assert verify_inputs(stolen, spent) == 0, f"{prepared.name}: its first output is fixed"


def attacks(witness: tuple[bytes, ...]) -> Iterator[tuple[bytes, ...]]:
    signature, *rest = witness
    yield (signature[:5] + bytes([signature[5] ^ 1]) + signature[6:], *rest)
    yield (bytes(64), *rest)
    yield (b"", *rest)
    yield tuple(rest)
    if rest:
        yield (signature, *rest[:-1], rest[-1][:-1] + bytes([rest[-1][-1] ^ 1]))
        yield (signature, *rest[:-2], rest[-2] + b"\x51", rest[-1])


def test_funding_needs_both_parties(stage: Stage, played: Played) -> None:
    agreement = played.bundle.contract.agreement
    own = moves.funding_signatures(agreement, stage.seeds[Party.OFFERER].wallet_key())
    with pytest.raises(VerificationFailed, match="input 1"):
        moves.funding(agreement, own)
    with pytest.raises(VerificationFailed, match="input 1"):
        moves.funding(agreement, own | {1: own[0]})
    with pytest.raises(BadInput, match="wallet key"):
        moves.funding_signatures(agreement, SecretKey(bytes([5]) * 32))


SIZES = {
    "Refund": (185, 167),
    "OracleTimeout": (203, 203),
    "Settle": (402, 385),
    "LateSettle": (311, 294),
    "Release": (158, 158),
    "Forfeit": (211, 211),
}
"""vB with a script for the collateral, and by key path."""


@pytest.mark.parametrize("key_path", [False, True], ids=["script", "key path"])
def test_sizes(stage: Stage, key_path: bool) -> None:
    played, payer = set_up(stage, WEATHER, PAYOUTS, key_path=key_path), wallet(stage, Party.ACCEPTER)
    made = (
        moves.refund(payer, played.parties),
        moves.oracle_timeout(payer, played.parties),
        moves.settle(payer, played.parties, 2, played.attest(2)),
        moves.late_settle(payer, played.parties, 2, secret(played, 2)),
        moves.release(payer, played.bundle, 2, played.attest(2)),
        moves.forfeit(payer, played.parties, 0),
    )
    assert {one.name: one.tx.vsize for one in made} == {name: pair[key_path] for name, pair in SIZES.items()}
