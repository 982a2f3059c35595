"""What every node must do, and refuse, alike: each test runs on the embedded node and on Bitcoin Core."""

import re
from collections.abc import Callable, Iterator

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import FALLBACK_FEE_RATE, Node, Utxo, Waiting
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.policy import MIN_RELAY_FEE_RATE, P2A, min_fee
from bitvm_bridge.taproot import ScriptTree
from bitvm_bridge.transaction import SEQUENCE_FINAL, OutPoint, Transaction, TxOut
from scripts_tapleaf.script import OP_1, OP_CHECKSEQUENCEVERIFY, OP_DROP, OP_RETURN, num, push
from tests.spending import ANCHOR, FEE, SCRIPT, Purse, anchored, bump, pay, spend, unconfirmed

HEAVY_LEAF = (push(bytes(520)) + OP_DROP) * 790 + OP_1
"""A leaf above the relay limit of 400,000 WU on its own."""


@pytest.fixture(scope="module", params=["embedded", "bitcoind"])
def purse(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Purse]:
    if request.param == "bitcoind":
        yield Purse(request.getfixturevalue("bitcoind").node)
        return
    node = EmbeddedNode(tmp_path_factory.mktemp("embedded"))
    yield Purse(node)
    node.close()


@pytest.fixture
def node(purse: Purse) -> Iterator[Node]:
    """The node, whose mempool is empty before and after the test."""
    yield purse.node
    purse.node.mine()


def refused(node: Node, tx: Transaction, code: str) -> None:
    """Both the question and the attempt get the same reject code, and nothing changes."""
    verdict = node.test([tx])
    assert not verdict.allowed
    assert re.match(code, verdict.reason)
    with pytest.raises(NodeRejected, match=f"^({code})"):
        node.broadcast(tx)
    assert not node.in_mempool(tx.txid)


def accepted(node: Node, tx: Transaction) -> None:
    verdict = node.test([tx])
    assert verdict.allowed, verdict.reason
    node.broadcast(tx)
    assert node.in_mempool(tx.txid)


def leaf_coin(node: Node, purse: Purse, script: bytes) -> tuple[Utxo, tuple[bytes, bytes]]:
    """A confirmed coin that one leaf can spend, with the two witness items that do it."""
    tree = ScriptTree([("leaf", script)])
    coin = purse.take()
    tx = spend([coin], [TxOut(coin.output.amount - FEE, tree.script_pubkey())])
    node.broadcast(tx)
    node.mine()
    return Utxo(tx.outpoint(0), tx.outputs[0], node.height()), (script, tree.control_block("leaf"))


def leaf_spend(coin: Utxo, witness: tuple[bytes, ...], sequence: int, fee: int = FEE) -> Transaction:
    return pay(coin, fee, sequence=sequence).with_witness(0, witness)


def test_mined_coins_are_found(node: Node, purse: Purse) -> None:
    coin = purse.take()
    tx = pay(coin)
    assert node.output(coin.outpoint) == coin
    assert node.spender(coin.outpoint) is None
    assert node.find(tx.txid) is None
    accepted(node, tx)
    assert node.output(coin.outpoint) == coin, "a mempool spend is not confirmed"
    assert node.spender(coin.outpoint) is None
    assert node.find(tx.txid) is None
    node.mine()
    height = node.height()
    assert not node.in_mempool(tx.txid)
    assert node.find(tx.txid) == (tx, height)
    assert node.spender(coin.outpoint) == (tx, height)
    assert node.output(coin.outpoint) is None
    assert node.output(tx.outpoint(0)) == Utxo(tx.outpoint(0), tx.outputs[0], height)
    assert node.output(tx.outpoint(1)) is None
    assert Utxo(tx.outpoint(0), tx.outputs[0], height) in node.scan(SCRIPT)
    assert coin not in node.scan(SCRIPT)


def test_blocks_follow_each_other(node: Node) -> None:
    node.mine(3, SCRIPT)
    last = node.block(node.height())
    assert last.height == node.height()
    assert last.transactions[0].outputs[0].script_pubkey == SCRIPT
    assert node.block(last.height - 1).hash == last.previous != last.hash
    with pytest.raises(NodeRejected, match="out of range"):
        node.block(last.height + 1)
    with pytest.raises(NodeRejected, match="out of range"):
        node.block(-1)


def test_scan_knows_no_stranger(node: Node) -> None:
    assert node.scan(b"\x51\x20" + bytes(32)) == []


def test_young_coinbase(node: Node) -> None:
    node.mine(1, SCRIPT)
    young = node.scan(SCRIPT)[-1]
    refused(node, pay(young), "bad-txns-premature-spend-of-coinbase")
    node.mine(98)
    refused(node, pay(young), "bad-txns-premature-spend-of-coinbase")
    node.mine()
    accepted(node, pay(young))


def test_bad_signature(node: Node, purse: Purse) -> None:
    tx = pay(purse.take())
    signature = tx.inputs[0].witness[0]
    forged = tx.with_witness(0, (signature[:-1] + bytes([signature[-1] ^ 1]),))
    refused(node, forged, "mempool-script-verify-flag-failed")
    with pytest.raises(NodeRejected, match=r"script-verify-flag-failed \(Invalid Schnorr signature\)"):
        node.mine_transactions([forged])
    accepted(node, tx)


def test_double_spend(node: Node, purse: Purse) -> None:
    coin = purse.take()
    accepted(node, pay(coin))
    refused(node, spend([coin], [TxOut(coin.output.amount - FEE, b"\x51\x20" + SCRIPT[2:])], lock_time=1), "insuff")
    node.mine()
    refused(node, pay(coin, 2 * FEE), "bad-txns-inputs-missingorspent")
    with pytest.raises(NodeRejected, match="bad-txns-inputs-missingorspent"):
        node.mine_transactions([pay(coin, 2 * FEE)])


def test_unknown_coin(node: Node, purse: Purse) -> None:
    known = purse.take()
    refused(node, pay(Utxo(OutPoint(b"\x09" * 32, 0), known.output, 1)), "bad-txns-inputs-missingorspent")
    waiting = pay(known)
    accepted(node, waiting)
    missing = Utxo(waiting.outpoint(1), waiting.outputs[0], 0)
    refused(node, pay(missing), "bad-txns-inputs-missingorspent")


def test_sending_twice(node: Node, purse: Purse) -> None:
    tx = pay(purse.take())
    accepted(node, tx)
    assert node.test([tx]).reason == "txn-already-in-mempool"
    node.broadcast(tx)
    assert node.in_mempool(tx.txid)
    node.mine()
    assert node.test([tx]).reason == "txn-already-known"
    with pytest.raises(NodeRejected):
        node.broadcast(tx)


def test_replacement_pays_for_its_relay(node: Node, purse: Purse) -> None:
    coin = purse.take()
    first = pay(coin)
    child = pay(unconfirmed(first), 500)
    accepted(node, first)
    accepted(node, child)
    needed = FEE + 500 + min_fee(first.vsize)
    refused(node, pay(coin, needed - 1), "insufficient fee")
    accepted(node, pay(coin, needed))
    assert not node.in_mempool(first.txid)
    assert not node.in_mempool(child.txid)


def test_replacement_needs_a_higher_feerate(node: Node, purse: Purse) -> None:
    coin = purse.take()
    accepted(node, pay(coin))
    outputs = [TxOut(FEE, SCRIPT)] * 20
    left = coin.output.amount - 20 * FEE - 2 * FEE
    refused(node, spend([coin], [*outputs, TxOut(left, SCRIPT)]), "replacement-failed")


def test_replacement_of_a_parent_that_its_child_pays_for(node: Node, purse: Purse) -> None:
    """The child's own feerate is out of reach; that of the pair is what counts."""
    coin = purse.take()
    first = pay(coin, 200)
    accepted(node, first)
    accepted(node, pay(unconfirmed(first), 20_000))
    outputs = [TxOut(FEE, SCRIPT)] * 2
    accepted(node, spend([coin], [*outputs, TxOut(coin.output.amount - 2 * FEE - 30_000, SCRIPT)]))


def test_larger_child_of_a_large_parent(node: Node, purse: Purse) -> None:
    """A second coin lowers the child's own feerate and raises that of the package."""
    coin, first, second = (purse.take() for _ in range(3))
    outputs = [TxOut(FEE, SCRIPT)] * 100
    parent = spend([coin], [TxOut(coin.output.amount - 100 * FEE, SCRIPT), ANCHOR, *outputs], version=3)
    anchor = unconfirmed(parent, 1)
    node.submit_package(parent, spend([first, anchor], [TxOut(first.output.amount - 9 * FEE, SCRIPT)], version=3))
    total = first.output.amount + second.output.amount
    accepted(node, spend([first, second, anchor], [TxOut(total - 10 * FEE, SCRIPT)], version=3))


def test_replacement_cannot_spend_what_it_replaces(node: Node, purse: Purse) -> None:
    coin = purse.take()
    first = pay(coin)
    accepted(node, first)
    total = coin.output.amount + first.outputs[0].amount
    refused(node, spend([coin, unconfirmed(first)], [TxOut(total - 9 * FEE, SCRIPT)]), "bad-txns-spends-conflicting-tx")


@pytest.mark.parametrize("version", [2, 3])
def test_fee_floor(node: Node, purse: Purse, version: int) -> None:
    coin = purse.take()
    floor = min_fee(pay(coin).vsize)
    assert floor == 12
    refused(node, pay(coin, floor - 1, version=version), "min relay fee not met")
    refused(node, pay(coin, 0, version=version), "min relay fee not met")
    refused(node, pay(coin, -1, version=version), "bad-txns-in-belowout")
    accepted(node, pay(coin, floor, version=version))


def outputs_of(*outputs: TxOut, version: int = 2) -> Callable[[Utxo], Transaction]:
    """A transaction with these outputs and the rest, less a generous fee, back."""

    def build(coin: Utxo) -> Transaction:
        rest = coin.output.amount - 100 * FEE - sum(out.amount for out in outputs)
        return spend([coin], [TxOut(rest, SCRIPT), *outputs], version=version)

    return build


@pytest.mark.parametrize(
    ("build", "code"),
    [
        (lambda coin: pay(coin, version=0), "version"),
        (lambda coin: pay(coin, version=4), "version"),
        (outputs_of(TxOut(329, SCRIPT)), "dust"),
        (outputs_of(ANCHOR), "dust"),
        (outputs_of(ANCHOR, version=3), "dust"),
        (outputs_of(TxOut(239, P2A)), "dust"),
        (outputs_of(ANCHOR, ANCHOR, version=3), "dust"),
        (outputs_of(TxOut(293, b"\x00\x14" + bytes(20))), "dust"),
        (outputs_of(TxOut(FEE, OP_1)), "scriptpubkey"),
        (outputs_of(TxOut(0, OP_RETURN + b"\x87")), "scriptpubkey"),
        (outputs_of(TxOut(0, OP_RETURN + b"\x4e" + (99_990).to_bytes(4, "little") + bytes(99_990))), "tx-size"),
        (outputs_of(TxOut(0, OP_RETURN + push(bytes(520)) * 20), version=3), "TRUC-violation"),
        (lambda coin: spend([coin], [TxOut(0, OP_RETURN)]), "tx-size-small"),
        (lambda coin: spend([coin], [TxOut(FEE, P2A)]), "tx-size-small"),
        (lambda coin: spend([coin, coin], [TxOut(FEE, SCRIPT)]), "bad-txns-inputs-duplicate"),
        (lambda coin: spend([coin], []), "bad-txns-vout-empty"),
        (lambda coin: spend([coin], [TxOut(21 * 10**14 + 1, SCRIPT)]), "bad-txns-vout-toolarge"),
        (lambda coin: pay(coin).with_witness(0, (*pay(coin).inputs[0].witness, b"\x50annex")), "bad-witness-nonst"),
    ],
)
def test_nonstandard(node: Node, purse: Purse, build: Callable[[Utxo], Transaction], code: str) -> None:
    refused(node, build(purse.take()), code)


@pytest.mark.parametrize(
    "build",
    [
        lambda coin: pay(coin, version=1),
        outputs_of(TxOut(330, SCRIPT)),
        outputs_of(TxOut(240, P2A)),
        outputs_of(TxOut(294, b"\x00\x14" + bytes(20))),
        outputs_of(TxOut(0, OP_RETURN + push(b"a")), TxOut(0, OP_RETURN), TxOut(0, OP_RETURN + push(b"b"))),
        outputs_of(TxOut(FEE, b"\x52\x20" + bytes(32))),
        lambda coin: spend([coin], [TxOut(FEE, OP_RETURN + push(b"pad"))]),
    ],
)
def test_standard(node: Node, purse: Purse, build: Callable[[Utxo], Transaction]) -> None:
    verdict = node.test([build(purse.take())])
    assert verdict.allowed, verdict.reason


def test_burning_needs_consent(node: Node, purse: Purse) -> None:
    coin = purse.take()
    tx = outputs_of(TxOut(5_000, OP_RETURN))(coin)
    for allowance in (0, 4_999):
        with pytest.raises(NodeRejected, match="maxburnamount"):
            node.broadcast(tx, max_burn=allowance)
    node.broadcast(tx, max_burn=5_000)
    assert node.in_mempool(tx.txid)


def test_lock_time(node: Node, purse: Purse) -> None:
    coin = purse.take()
    height = node.height()
    refused(node, pay(coin, lock_time=height + 1), "non-final")
    accepted(node, pay(coin, lock_time=height))


def test_final_sequences_switch_lock_time_off(node: Node, purse: Purse) -> None:
    accepted(node, pay(purse.take(), lock_time=node.height() + 50, sequence=SEQUENCE_FINAL))


def test_relative_lock_one_block_early_and_on_time(node: Node, purse: Purse) -> None:
    wait = 4
    leaf = num(wait) + OP_CHECKSEQUENCEVERIFY
    coin, witness = leaf_coin(node, purse, leaf)
    refused(node, leaf_spend(coin, witness, wait - 1), "mempool-script-verify-flag-failed|non-BIP68-final")
    node.mine(wait - 2)
    on_time = leaf_spend(coin, witness, wait)
    refused(node, on_time, "non-BIP68-final")
    with pytest.raises(NodeRejected, match="bad-txns-nonfinal"):
        node.mine_transactions([on_time])
    refused(node, leaf_spend(coin, witness, wait - 1), "mempool-script-verify-flag-failed")
    node.mine()
    accepted(node, on_time)
    node.mine()
    assert node.spender(coin.outpoint) == (on_time, node.height())


def test_relative_lock_on_an_unconfirmed_coin(node: Node, purse: Purse) -> None:
    parent = pay(purse.take())
    accepted(node, parent)
    refused(node, pay(unconfirmed(parent), sequence=1), "non-BIP68-final")
    accepted(node, pay(unconfirmed(parent), sequence=0))


def test_relative_lock_in_seconds(node: Node, purse: Purse) -> None:
    one_unit = 1 << 22 | 1
    coin = purse.take()
    tx = pay(coin)
    node.broadcast(tx)
    node.mine()
    refused(node, pay(unconfirmed(tx), sequence=one_unit), "non-BIP68-final")
    accepted(node, pay(unconfirmed(tx), sequence=1 << 22))


def test_package_of_a_free_parent_and_its_child(node: Node, purse: Purse) -> None:
    parent = anchored(purse.take())
    child = bump(parent, purse.take())
    refused(node, parent, "min relay fee not met")
    refused(node, child, "bad-txns-inputs-missingorspent")
    verdict = node.test([parent, child])
    assert verdict.allowed, verdict.reason
    node.submit_package(parent, child)
    assert node.in_mempool(parent.txid)
    assert node.in_mempool(child.txid)
    node.submit_package(parent, child)
    node.mine()
    assert node.find(parent.txid) == (parent, node.height())
    assert node.find(child.txid) == (child, node.height())


def test_package_refusals(node: Node, purse: Purse) -> None:
    parent, coin = anchored(purse.take()), purse.take()
    floor = min_fee(parent.vsize + bump(parent, coin).vsize)
    rich = spend([coin, unconfirmed(parent)], [TxOut(coin.output.amount, SCRIPT)], version=3)
    padding = TxOut(0, OP_RETURN + push(bytes(500)) * 2)
    fat = spend([coin, unconfirmed(parent, 1)], [TxOut(coin.output.amount - 9 * FEE, SCRIPT), padding], version=3)
    forged = bump(parent, coin).with_witness(0, (bytes(64),))
    for child, code in [
        (bump(parent, coin, floor - 1), "min relay fee not met"),
        (bump(parent, coin, version=2), "TRUC-violation"),
        (rich, "missing-ephemeral-spends"),
        (fat, "TRUC-violation"),
        (forged, "script-verify-flag-failed"),
        (bump(parent, Utxo(OutPoint(b"\x09" * 32, 0), coin.output, 1)), "bad-txns-inputs-missingorspent"),
        (pay(coin), "package topology disallowed"),
    ]:
        with pytest.raises(NodeRejected, match=code):
            node.submit_package(parent, child)
        assert not node.test([parent, child]).allowed
        assert not node.in_mempool(parent.txid)
        assert not node.in_mempool(child.txid)
        node.mine()
    node.submit_package(parent, bump(parent, coin, floor))


def test_child_of_a_package_can_be_replaced(node: Node, purse: Purse) -> None:
    parent, coin = anchored(purse.take()), purse.take()
    first = bump(parent, coin)
    node.submit_package(parent, first)
    refused(node, bump(parent, coin, FEE + 1), "insufficient fee")
    accepted(node, bump(parent, coin, 2 * FEE))
    accepted(node, bump(parent, purse.take(), 3 * FEE))
    assert not node.in_mempool(first.txid)
    assert node.in_mempool(parent.txid)


def test_package_replaces_a_package(node: Node, purse: Purse) -> None:
    contested, coin = purse.take(), purse.take()
    parent = anchored(contested)
    child = bump(parent, coin)
    node.submit_package(parent, child)
    rival = spend([contested], [TxOut(contested.output.amount - 500, SCRIPT), TxOut(500, SCRIPT), ANCHOR], version=3)
    anchor = unconfirmed(rival, 2)
    rivals = {
        fee: spend([coin, anchor], [TxOut(coin.output.amount - fee, SCRIPT)], version=3) for fee in (FEE, 3 * FEE)
    }
    with pytest.raises(NodeRejected, match="insufficient"):
        node.submit_package(rival, rivals[FEE])
    assert node.in_mempool(parent.txid)
    node.submit_package(rival, rivals[3 * FEE])
    assert node.in_mempool(rivals[3 * FEE].txid)
    assert not node.in_mempool(parent.txid)
    assert not node.in_mempool(child.txid)


def test_who_spends_an_output_in_the_mempool(node: Node, purse: Purse) -> None:
    """Its own fee, and with it the fees of all that would leave when it is replaced."""
    coin = purse.take()
    assert node.mempool_spender(coin.outpoint) is None
    first = pay(coin)
    accepted(node, first)
    assert node.mempool_spender(coin.outpoint) == Waiting(first, FEE, FEE)
    accepted(node, pay(unconfirmed(first), 500))
    assert node.mempool_spender(coin.outpoint) == Waiting(first, FEE, FEE + 500)
    second = pay(coin, 3 * FEE)
    accepted(node, second)
    assert node.mempool_spender(coin.outpoint) == Waiting(second, 3 * FEE, 3 * FEE)
    assert node.mempool_spender(first.outpoint(0)) is None
    node.mine()
    assert node.mempool_spender(coin.outpoint) is None


def test_an_empty_mempool_asks_for_the_relay_minimum(node: Node) -> None:
    assert node.min_fee_rate() == MIN_RELAY_FEE_RATE / 1_000


def test_version_3_topology(node: Node, purse: Purse) -> None:
    coin = purse.take()
    parent = spend([coin], [TxOut(coin.output.amount // 2 - FEE, SCRIPT)] * 2, version=3)
    accepted(node, parent)
    child = pay(unconfirmed(parent, 0), version=3)
    refused(node, pay(unconfirmed(parent, 0), version=2), "TRUC-violation")
    accepted(node, child)
    refused(node, pay(unconfirmed(child), version=3), "TRUC-violation")
    refused(node, pay(unconfirmed(parent, 1), version=3), "insufficient fee")
    sibling = pay(unconfirmed(parent, 1), 3 * FEE, version=3)
    accepted(node, sibling)
    assert not node.in_mempool(child.txid), "sibling eviction"
    legacy = pay(purse.take())
    accepted(node, legacy)
    refused(node, pay(unconfirmed(legacy), version=3), "TRUC-violation")


def test_cluster_limit(node: Node, purse: Purse) -> None:
    coin = purse.take()
    for _ in range(64):
        tx = pay(coin)
        node.broadcast(tx)
        coin = unconfirmed(tx)
    refused(node, pay(coin), "too-large-cluster")


def test_too_heavy_to_relay_goes_to_a_miner(node: Node, purse: Purse) -> None:
    coin, witness = leaf_coin(node, purse, HEAVY_LEAF)
    tx = leaf_spend(coin, witness, SEQUENCE_FINAL, fee=1_000_000)
    assert tx.weight > 400_000
    refused(node, tx, "tx-size")
    node.mine_transactions([tx])
    assert node.find(tx.txid) == (tx, node.height())


def test_nonstandard_leaf_content_is_not_relayed(node: Node, purse: Purse) -> None:
    not_minimal, witness = leaf_coin(node, purse, b"\x4c\x01\x07")
    refused(node, leaf_spend(not_minimal, witness, SEQUENCE_FINAL), "mempool-script-verify-flag|bad-witness-nonst")
    success, witness = leaf_coin(node, purse, b"\x50")
    tx = leaf_spend(success, witness, SEQUENCE_FINAL)
    refused(node, tx, "mempool-script-verify-flag-failed|bad-witness-nonstandard")
    node.mine_transactions([tx])


def test_witness_item_limit(node: Node, purse: Purse) -> None:
    coin, witness = leaf_coin(node, purse, OP_DROP + OP_1)
    accepted(node, leaf_spend(coin, (bytes(80), *witness), SEQUENCE_FINAL))
    refused(node, leaf_spend(coin, (bytes(81), *witness), SEQUENCE_FINAL, 9 * FEE), "bad-witness-nonstandard")


def test_refused_block_leaves_the_chain_usable(node: Node, purse: Purse) -> None:
    height, coin = node.height(), purse.take()
    waiting = pay(purse.take())
    accepted(node, waiting)
    height = node.height()
    for _ in range(2):
        with pytest.raises(NodeRejected, match="bad-txns-in-belowout"):
            node.mine_transactions([pay(coin, -1)])
    assert node.height() == height
    assert node.in_mempool(waiting.txid)
    node.mine_transactions([pay(coin)])
    assert node.height() == height + 1
    assert node.in_mempool(waiting.txid), "only the given transactions are mined"


def test_mined_conflict_clears_the_mempool(node: Node, purse: Purse) -> None:
    coin = purse.take()
    loser, winner = pay(coin), pay(coin, 0)
    child = pay(unconfirmed(loser))
    accepted(node, loser)
    accepted(node, child)
    node.mine_transactions([winner])
    assert not node.in_mempool(loser.txid)
    assert not node.in_mempool(child.txid)
    assert node.spender(coin.outpoint) == (winner, node.height())


def test_chain_in_one_block(node: Node, purse: Purse) -> None:
    first = pay(purse.take(), 0)
    second = pay(unconfirmed(first), 0)
    with pytest.raises(NodeRejected, match="bad-txns-inputs-missingorspent"):
        node.mine_transactions([second, first])
    node.mine_transactions([first, second])
    assert node.find(second.txid) == (second, node.height())


def test_fee_rate(node: Node) -> None:
    """A node that has seen no other traffic falls back; one that served other tests may have learnt a rate."""
    assert node.fee_rate() >= FALLBACK_FEE_RATE
