"""A classic contract on Core: every ending, each by the other party's signature alone, and none that was not agreed."""

from dataclasses import replace

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.kernel import verify_input, verify_inputs
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc.classic.messages import ACCEPT, OFFER, SIGN
from bitvm_bridge.errors import BadInput, NodeRejected, VerificationFailed
from bitvm_bridge.secp import public_key
from tests.dlc import parties
from tests.dlc.parties import Negotiation, attestation, negotiate, offer


@pytest.fixture(scope="module")
def done() -> Negotiation:
    return negotiate(offer())


def test_messages_survive_the_wire(done: Negotiation) -> None:
    assert OFFER.decode(OFFER.encode(done.offer)) == done.offer
    assert ACCEPT.decode(ACCEPT.encode(done.accept)) == done.accept
    assert SIGN.decode(SIGN.encode(done.sign)) == done.sign


def test_the_funding_transaction_is_valid(done: Negotiation) -> None:
    terms = done.contract.terms
    assert verify_inputs(done.funding, [each.spent for each in terms.inputs]) is None
    fee = sum(each.spent.amount for each in terms.inputs) - sum(out.amount for out in done.funding.outputs)
    assert fee >= done.funding.vsize * done.offer.fee_rate


@pytest.mark.parametrize("outcome", dict(parties.PAYOUTS))
def test_either_party_settles_every_outcome(done: Negotiation, outcome: str) -> None:
    spent = [done.contract.terms.funding_output]
    by_offerer = done.contract.settle(
        [attestation(outcome)], parties.OFFERER, parties.ACCEPTER.public, done.accept.adaptor_signatures
    )
    by_accepter = done.contract.settle(
        [attestation(outcome)], parties.ACCEPTER, parties.OFFERER.public, done.sign.adaptor_signatures
    )
    payout = dict(parties.PAYOUTS)[outcome]
    for cet in (by_offerer, by_accepter):
        assert verify_input(cet, 0, spent)
        paid = {out.script_pubkey: out.amount for out in cet.outputs}
        assert paid.get(parties.SCRIPTS[0], 0) == (payout if payout >= 1_000 else 0)
        assert not verify_input(replace(cet, lock_time=cet.lock_time + 1), 0, spent)
    revealed = done.contract.revealed(by_offerer, parties.ACCEPTER.public, done.accept.adaptor_signatures)
    place = list(dict(parties.PAYOUTS)).index(outcome)
    assert public_key(revealed[place]) == done.contract.jobs[place].point


def test_a_wrong_attestation_settles_nothing(done: Negotiation) -> None:
    arguments = parties.OFFERER, parties.ACCEPTER.public, done.accept.adaptor_signatures
    right = attestation("win")
    for false in (
        replace(right, outcomes=("lose",)),
        replace(right, signatures=attestation("lose").signatures),
        replace(right, signatures=(right.signatures[0][:32] + bytes(31) + b"\1",)),
    ):
        with pytest.raises(VerificationFailed, match="attestation"):
            done.contract.settle([false], *arguments)
    with pytest.raises(BadInput, match="oracle and event"):
        done.contract.settle([replace(right, event_id="another")], *arguments)
    with pytest.raises(BadInput, match="enough to settle"):
        done.contract.settle([], *arguments)


@pytest.fixture(params=["embedded", "bitcoind"])
def chain(request: pytest.FixtureRequest) -> Node:
    node = request.getfixturevalue("embedded" if request.param == "embedded" else "fresh_bitcoind")
    assert isinstance(node, EmbeddedNode | LaunchedBitcoind)
    return node if isinstance(node, EmbeddedNode) else node.node


def funded(chain: Node) -> Negotiation:
    """A contract of mined coins, its funding confirmed; settlements from the tip on, the refund five blocks later."""
    for script in parties.SCRIPTS:
        chain.mine(1, script)
    chain.mine(100)
    inputs = []
    for serial, script in zip((5, 4), parties.SCRIPTS, strict=True):
        utxo = chain.scan(script)[0]
        found = chain.find(utxo.outpoint.txid)
        assert found is not None
        inputs.append(parties.from_coins(serial, [(utxo, found[0])]))
    tip = chain.height()
    done = negotiate(offer(inputs[0], (tip + 1, tip + 5)), parties.accepter(inputs[1]))
    chain.broadcast(done.funding)
    chain.mine()
    return done


def test_a_settlement_on_a_chain(chain: Node) -> None:
    done = funded(chain)
    cet = done.contract.settle(
        [attestation("half")], parties.ACCEPTER, parties.OFFERER.public, done.sign.adaptor_signatures
    )
    chain.broadcast(cet)
    chain.mine()
    assert chain.find(cet.txid) is not None


def test_a_refund_at_its_lock_time_and_not_one_block_early(chain: Node) -> None:
    """Both sign it at the start, so either is enough when the oracle and the other party are silent."""
    done = funded(chain)
    refund = done.contract.refund(parties.OFFERER, parties.ACCEPTER.public, done.accept.refund_signature)
    chain.mine(refund.lock_time - chain.height() - 1)
    with pytest.raises(NodeRejected, match="non-final"):
        chain.broadcast(refund)
    with pytest.raises(NodeRejected):
        chain.mine_transactions([refund])
    chain.mine()
    chain.broadcast(refund)
    chain.mine()
    assert [out.amount for out in refund.outputs] == [parties.COLLATERAL] * 2
    assert chain.find(refund.txid) is not None
