"""Fees and transactions of the classic form, against the dlcspecs vectors; BIP143 against embit."""

from dataclasses import replace

import pytest
from embit.script import Script
from embit.transaction import Transaction as EmbitTransaction

from bitvm_bridge.dlc.classic.fees import closing_fee, funding_fee, input_weight
from bitvm_bridge.dlc.classic.transactions import DUST_LIMIT, Terms, contract_id
from bitvm_bridge.errors import BadInput
from bitvm_bridge.segwit import p2wpkh_script_code, p2wpkh_sighash, sighash_all
from bitvm_bridge.transaction import Transaction, TxOut
from tests.dlc import specs


def test_fee_vectors() -> None:
    cases = specs.load("dlc_fee_test.json")
    assert len(cases) == 472
    for case in cases:
        inputs, rate = case["inputs"], case["inputs"]["feeRate"]
        for who in ("offer", "accept"):
            weights = [input_weight(each["redeemScriptLen"], each["maxWitnessLen"]) for each in inputs[f"{who}Inputs"]]
            assert funding_fee(weights, inputs[f"{who}ChangeSPKLen"], rate) == case[f"{who}FundingFee"], inputs
            assert closing_fee(inputs[f"{who}PayoutSPKLen"], rate) == case[f"{who}ClosingFee"], inputs


def test_fee_scripts_have_the_sizes_that_the_fee_vectors_count() -> None:
    rows = specs.load("dlc_fee_test_scripts.json")
    sizes = {row["byteLen"] for row in rows}
    assert all(len(bytes.fromhex(row["script"])) == row["byteLen"] for row in rows)
    for case in specs.load("dlc_fee_test.json"):
        inputs = case["inputs"]
        used = {inputs[f"{who}{what}SPKLen"] for who in ("offer", "accept") for what in ("Payout", "Change")}
        assert used <= sizes


def test_transaction_vectors() -> None:
    cases = specs.load("dlc_tx_test.json")
    assert len(cases) == 27
    for number, case in enumerate(cases):
        terms, expected = specs.terms(case), case["txs"]
        funding = Transaction.parse_hex(expected["fundingTx"])
        assert terms.funding == replace(funding, inputs=tuple(replace(i, witness=()) for i in funding.inputs)), number
        assert terms.funding.txid == funding.txid
        outcomes = case["inputs"]["params"]["contractInfo"]
        assert len(outcomes) == len(expected["cets"])
        for outcome, raw in zip(outcomes, expected["cets"], strict=True):
            assert closing(terms, terms.cet(outcome["localPayout"])) == raw, number
        assert closing(terms, terms.refund) == expected["refundTx"], number


def closing(terms: Terms, tx: Transaction) -> str:
    """As the file has it: unsigned, with the witness script alone."""
    return tx.with_witness(0, (terms.funding_script,)).serialize().hex()


def test_contract_id_vectors() -> None:
    cases = specs.load("contract_id_test.json")
    assert {case["fundOutputIndex"] for case in cases} == {0, 1, 2}
    for case in cases:
        txid, temporary = (bytes.fromhex(case[name]) for name in ("fundTxId", "temporaryContractId"))
        assert contract_id(txid[::-1], case["fundOutputIndex"], temporary).hex() == case["contractId"]


@pytest.fixture
def some_terms() -> Terms:
    return specs.terms(specs.load("dlc_tx_test.json")[5])


def test_serial_ids_decide_the_order(some_terms: Terms) -> None:
    """Of inputs, of funding outputs, of payouts; never of the refund."""
    last = replace(some_terms.accepter, change_serial_id=0, payout_serial_id=0)
    last = replace(last, inputs=tuple(replace(each, serial_id=0) for each in last.inputs))
    turned = replace(some_terms, accepter=last, fund_serial_id=5_000)
    assert [turned.inputs[0].outpoint] == [each.outpoint for each in last.inputs]
    assert turned.funding.inputs[0].outpoint == last.inputs[0].outpoint
    assert turned.funding.outputs == tuple(some_terms.funding.outputs[place] for place in (2, 1, 0))
    assert (some_terms.funding_index, turned.funding_index) == (0, 2)
    payout = some_terms.total_collateral // 4
    assert turned.cet(payout).outputs == some_terms.cet(payout).outputs[::-1]
    assert turned.refund.outputs == some_terms.refund.outputs


def test_a_payout_below_dust_is_not_made(some_terms: Terms) -> None:
    total = some_terms.total_collateral
    assert [out.amount for out in some_terms.cet(DUST_LIMIT).outputs] == [DUST_LIMIT, total - DUST_LIMIT]
    assert [out.amount for out in some_terms.cet(DUST_LIMIT - 1).outputs] == [total - DUST_LIMIT + 1]
    assert [out.amount for out in some_terms.cet(total - DUST_LIMIT + 1).outputs] == [total - DUST_LIMIT + 1]


@pytest.mark.parametrize("excess", [-1, 1])
def test_a_payout_beyond_the_collateral_is_refused(some_terms: Terms, excess: int) -> None:
    payout = some_terms.total_collateral + 1 if excess > 0 else -1
    with pytest.raises(BadInput, match="payout"):
        some_terms.cet(payout)


def test_change_is_never_dust(some_terms: Terms) -> None:
    offerer = some_terms.offerer
    richest = offerer.collateral + offerer.change(some_terms.fee_rate) - DUST_LIMIT
    assert replace(offerer, collateral=richest).change(some_terms.fee_rate) == DUST_LIMIT
    with pytest.raises(BadInput, match="funding inputs"):
        replace(some_terms, offerer=replace(offerer, collateral=richest + 1)).funding  # noqa: B018


def test_an_output_that_does_not_exist_is_refused(some_terms: Terms) -> None:
    coin = some_terms.offerer.inputs[0]
    with pytest.raises(BadInput, match="output of a funding input"):
        replace(coin, vout=1).spent  # noqa: B018
    with pytest.raises(BadInput, match="previous transaction"):
        replace(coin, previous=coin.previous[:-1]).spent  # noqa: B018


def test_fees_are_paid_as_computed(some_terms: Terms) -> None:
    brought = sum(each.spent.amount for each in some_terms.inputs)
    paid = brought - sum(out.amount for out in some_terms.funding.outputs)
    parties = (some_terms.offerer, some_terms.accepter)
    assert paid == sum(party.funding_fee(some_terms.fee_rate) for party in parties)
    closing = some_terms.funding_output.amount - sum(out.amount for out in some_terms.refund.outputs)
    assert closing == sum(party.closing_fee(some_terms.fee_rate) for party in parties)


def test_digests_agree_with_embit(some_terms: Terms) -> None:
    refund, funding = some_terms.refund, some_terms.funding
    theirs = EmbitTransaction.parse(refund.serialize())
    amount = some_terms.funding_output.amount
    assert some_terms.closing_digest(refund) == theirs.sighash_segwit(0, Script(some_terms.funding_script), amount)
    theirs = EmbitTransaction.parse(funding.serialize())
    for index in range(len(funding.inputs)):
        spent = TxOut(12_345 + index, bytes.fromhex("0014") + bytes([index]) * 20)
        code = Script(p2wpkh_script_code(spent.script_pubkey))
        assert p2wpkh_sighash(funding, index, spent) == theirs.sighash_segwit(index, code, spent.amount)
    with pytest.raises(BadInput, match="input index"):
        sighash_all(refund, 1, some_terms.funding_script, amount)
