"""Choosing coins and paying fees: what is left alone, what goes to whom, and how much a fee may be."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.mempool import COINBASE_MATURITY
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.fees import MAX_FEE_RATE
from bitvm_bridge.graph import ANCHOR
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import DUST
from bitvm_bridge.policy import MAX_STANDARD_WEIGHT, P2A, check
from bitvm_bridge.transaction import SEQUENCE_RBF, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet
from scripts_tapleaf.script import OP_RETURN

SUBSIDY = 50 * 100_000_000
INPUT_VSIZE = 58
"""vB of a taproot key-path input, rounded up."""


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedNode]:
    """One chain for all tests; every test has keys of its own."""
    node = EmbeddedNode(tmp_path_factory.mktemp("wallet"))
    yield node
    node.close()


@pytest.fixture(scope="module")
def rich(node: EmbeddedNode) -> Wallet:
    """Who pays for the coins of the others."""
    wallet = fresh(node)
    node.mine(COINBASE_MATURITY + 20, wallet.script_pubkey)
    return wallet


def fresh(node: EmbeddedNode, fee_rate: float = 2.0) -> Wallet:
    """An empty wallet."""
    return Wallet(Seed.generate(Role.CHALLENGER).wallet_key(), node, fee_rate)


def give(rich: Wallet, wallet: Wallet, *amounts: int) -> Wallet:
    """`wallet`, with a confirmed coin of each amount (sat)."""
    rich.node.broadcast(rich.pay([TxOut(amount, wallet.script_pubkey) for amount in amounts]).tx)
    rich.node.mine(1)
    return wallet


def check_spendable(wallet: Wallet, funded: Funded) -> None:
    """The node takes it, and what it says it spends is what it spends."""
    spent = [wallet.node.output(txin.outpoint) for txin in funded.tx.inputs]
    assert [coin.output for coin in spent if coin] == list(funded.spent)
    assert wallet.node.test([funded.tx]).reason == ""


def test_largest_coins_first_and_no_more_than_needed(node: EmbeddedNode, rich: Wallet) -> None:
    wallet = give(rich, fresh(node), 10_000, 50_000, 30_000)
    assert [coin.output.amount for coin in wallet.coins()] == [50_000, 30_000, 10_000]
    for amount, expected in ((40_000, [50_000]), (49_990, [50_000, 30_000]), (85_000, [50_000, 30_000, 10_000])):
        funded = wallet.pay([TxOut(amount, rich.script_pubkey)])
        assert [out.amount for out in funded.spent] == expected
        check_spendable(wallet, funded)


def test_outputs_come_first_in_order_then_the_change(node: EmbeddedNode, rich: Wallet) -> None:
    wallet = give(rich, fresh(node), 50_000)
    wanted = [TxOut(1_000, rich.script_pubkey), TxOut(0, OP_RETURN + b"\x01x"), TxOut(2_000, rich.script_pubkey)]
    funded = wallet.pay(wanted)
    *outputs, change = funded.tx.outputs
    assert outputs == wanted
    assert change.script_pubkey == wallet.script_pubkey
    assert change.amount == 50_000 - 3_000 - funded.fee
    check_spendable(wallet, funded)


def test_what_is_given_comes_first_and_unchanged(node: EmbeddedNode, rich: Wallet) -> None:
    """A foreign input with its own witness stays at position 0."""
    other, wallet = give(rich, fresh(node), 5_000), give(rich, fresh(node), 50_000)
    (coin,) = other.coins()
    foreign = TxIn(coin.outpoint, SEQUENCE_RBF, witness=(bytes(64),))
    funded = wallet.fund(Transaction(2, (foreign,), (TxOut(20_000, rich.script_pubkey),)), [coin.output])
    assert funded.tx.inputs[0] == foreign
    assert funded.spent[0] == coin.output
    signed = wallet.sign_coins(funded, 1)
    assert signed.tx.inputs[0] == foreign
    theirs = other.sign_coins(funded, 0).tx.inputs[0].witness
    check_spendable(wallet, replace(signed, tx=signed.tx.with_witness(0, theirs)))


def test_an_immature_coinbase_is_left_alone(node: EmbeddedNode) -> None:
    wallet = fresh(node)
    node.mine(1, wallet.script_pubkey)
    node.mine(COINBASE_MATURITY - 2)
    assert wallet.coins() == []
    with pytest.raises(BridgeError, match="wallet: 0 sat in coins do not pay 1,000 sat and the fee"):
        wallet.pay([TxOut(1_000, wallet.script_pubkey)])
    node.mine(1)
    assert [coin.output.amount for coin in wallet.coins()] == [SUBSIDY]
    check_spendable(wallet, wallet.pay([TxOut(1_000, wallet.script_pubkey)]))


def test_reserved_coins_are_left_alone(node: EmbeddedNode, rich: Wallet) -> None:
    wallet = give(rich, fresh(node), 90_000, 20_000, 10_000)
    largest = wallet.coins()[0]
    careful = replace(wallet, reserved=frozenset([largest.outpoint]))
    funded = careful.pay([TxOut(15_000, rich.script_pubkey)])
    assert largest.outpoint not in {txin.outpoint for txin in funded.tx.inputs}
    with pytest.raises(BridgeError, match="wallet: 30,000 sat in coins do not pay 40,000 sat and the fee"):
        careful.pay([TxOut(40_000, rich.script_pubkey)])
    check_spendable(wallet, wallet.pay([TxOut(40_000, rich.script_pubkey)]))


def test_unconfirmed_coins_are_left_alone(node: EmbeddedNode, rich: Wallet) -> None:
    wallet = fresh(node)
    node.broadcast(rich.pay([TxOut(50_000, wallet.script_pubkey)]).tx)
    assert wallet.coins() == []
    node.mine(1)
    assert len(wallet.coins()) == 1


def test_insufficient_funds(node: EmbeddedNode, rich: Wallet) -> None:
    wallet = give(rich, fresh(node), 10_000)
    with pytest.raises(BridgeError, match=r"^wallet: 10,000 sat in coins do not pay 10,000 sat and the fee$"):
        wallet.pay([TxOut(10_000, rich.script_pubkey)])
    partial = Transaction(2, (TxIn(rich.coins()[0].outpoint),), (TxOut(30_000, rich.script_pubkey),))
    with pytest.raises(BridgeError, match="wallet: 10,000 sat in coins do not pay 15,000 sat and the fee"):
        wallet.fund(partial, [TxOut(15_000, rich.script_pubkey)])


@pytest.mark.parametrize("over", [0, 1, DUST - 1, DUST, DUST + 1])
def test_change_below_dust_goes_to_the_fee(node: EmbeddedNode, rich: Wallet, over: int) -> None:
    """`over` sat are left when a transaction with change has paid its fee."""
    wallet = give(rich, fresh(node, 1.0), 100_000)
    with_change = wallet.pay([TxOut(50_000, rich.script_pubkey)])
    amount = 100_000 - with_change.fee - over
    funded = wallet.pay([TxOut(amount, rich.script_pubkey)])
    if over < DUST:
        assert len(funded.tx.outputs) == 1
        assert funded.fee == 100_000 - amount
    else:
        assert [out.amount for out in funded.tx.outputs] == [amount, over]
        assert funded.fee == with_change.fee
    check_spendable(wallet, funded)


def test_coins_that_only_just_pay(node: EmbeddedNode, rich: Wallet) -> None:
    """One sat decides between one coin and two."""
    wallet = give(rich, fresh(node, 1.0), 100_000, 1_000)
    alone = wallet.pay([TxOut(100_000 - 200, rich.script_pubkey)])
    assert len(alone.tx.inputs) == 1
    exact = 100_000 - alone.tx.vsize
    assert len(wallet.pay([TxOut(exact, rich.script_pubkey)]).tx.inputs) == 1
    both = wallet.pay([TxOut(exact + 1, rich.script_pubkey)])
    assert len(both.tx.inputs) == 2
    assert both.tx.vsize - alone.tx.vsize in range(INPUT_VSIZE - 1, INPUT_VSIZE + 45)


@given(
    rate=st.floats(0.1, MAX_FEE_RATE, allow_nan=False),
    amounts=st.lists(st.integers(DUST, 2_000_000), min_size=1, max_size=5),
)
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_fee_is_what_was_asked_for(rich: Wallet, rate: float, amounts: list[int]) -> None:
    """At least the rate; above it by no more than a change that would have been dust."""
    wallet = replace(rich, fee_rate=rate)
    funded = wallet.pay([TxOut(amount, rich.script_pubkey) for amount in amounts])
    assert funded.fee >= funded.tx.vsize * rate
    assert funded.fee <= funded.tx.vsize * rate + 1
    assert sum(out.amount for out in funded.tx.outputs) + funded.fee == sum(out.amount for out in funded.spent)
    assert check(funded.tx, funded.spent) == [] or rate < 1


@pytest.mark.parametrize("rate", [0.0, -1.0, MAX_FEE_RATE + 1, float("nan"), float("inf")])
def test_an_absurd_fee_rate_is_refused(node: EmbeddedNode, rate: float) -> None:
    with pytest.raises(BadInput, match=f"fee rate: '{rate}' is not above 0 and at most 1000 sat/vB"):
        fresh(node, rate)


@pytest.mark.parametrize("parent_fee", [0, 200, 5_000])
def test_a_child_pays_for_both(node: EmbeddedNode, rich: Wallet, parent_fee: int) -> None:
    wallet = give(rich, fresh(node, 3.0), 50_000, 40_000)
    coin = wallet.coins()[0]
    outputs = (TxOut(coin.output.amount - parent_fee, rich.script_pubkey), ANCHOR)
    parent = Transaction(3, (TxIn(coin.outpoint, SEQUENCE_RBF),), outputs)
    signed = wallet.sign_coins(Funded(parent, (coin.output,)), 0)
    prepared = replace(wallet, reserved=frozenset([coin.outpoint])).package("parent", signed)
    assert prepared.child is not None
    child = prepared.child.tx
    assert child.version == 3
    assert child.inputs[0].outpoint == parent.outpoint(1)
    assert prepared.child.spent[0].script_pubkey == P2A
    assert prepared.transactions == (signed.tx, child)
    assert prepared.fee == parent_fee + prepared.child.fee
    together = signed.tx.vsize + child.vsize
    assert prepared.fee >= 3 * together
    # A parent that pays more than its share does not let the child pay less than its own.
    assert prepared.fee <= max(3 * together, parent_fee + 3 * child.vsize) + 2
    if parent_fee == 0:
        assert prepared.test(node).reason == ""
        prepared.send(node)
        node.mine(1)
        assert node.find(child.txid) is not None


def test_a_heavy_transaction_is_not_sent(node: EmbeddedNode, rich: Wallet) -> None:
    funded = rich.pay([TxOut(1_000, rich.script_pubkey)])
    heavy = replace(funded, tx=funded.tx.with_witness(0, (*funded.tx.inputs[0].witness, bytes(MAX_STANDARD_WEIGHT))))
    prepared = Prepared("Disprove", heavy)
    assert not prepared.relayable
    with pytest.raises(BridgeError, match=r"Disprove: 400,\d{3} WU is above the relay limit of 400,000"):
        prepared.send(node)
    assert not node.in_mempool(heavy.tx.txid)
    assert Prepared("light", funded).relayable


def test_signing_only_touches_its_own_inputs(node: EmbeddedNode, rich: Wallet) -> None:
    wallet = give(rich, fresh(node), 20_000, 20_000)
    funded = wallet.fund(Transaction(2, (), (TxOut(30_000, rich.script_pubkey),)), ())
    signed = wallet.sign_coins(funded, 1)
    assert signed.tx.inputs[0] == funded.tx.inputs[0]
    assert signed.tx.inputs[1].witness != funded.tx.inputs[1].witness
    assert signed.tx.txid == funded.tx.txid
    assert not node.test([signed.tx]).allowed
    check_spendable(wallet, wallet.sign_coins(funded, 0))


def test_a_wallet_does_not_show_its_key(node: EmbeddedNode, tmp_path: Path) -> None:
    wallet = fresh(node)
    assert wallet.key.reveal().hex() not in repr(wallet)
    assert repr(wallet.key.reveal()) not in repr(wallet)
