"""The embedded node's own affairs: its directory, its miner and its mempool file."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bitvm_bridge.chain import blocks
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.errors import BadInput, NodeRejected, NodeUnreachable
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import TxOut
from scripts_tapleaf.script import OP_RETURN
from tests.spending import FEE, SCRIPT, Purse, anchored, bump, pay, spend, unconfirmed

ROOT = Path(__file__).resolve().parent.parent


def run_python(code: str, *args: str) -> "subprocess.CompletedProcess[str]":
    """Code in a process of its own, with the project's modules at hand."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", "-c", code, *args]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_empty_chain(embedded: EmbeddedNode) -> None:
    assert embedded.height() == 0
    genesis = embedded.block(0)
    assert genesis.hash[::-1].hex() == "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206"
    assert genesis.transactions[0].txid_hex == "4a5e1e4baab89f3a32518a88c31bc87f618f76673e2cc77ab2127b7afdeda33b"


def test_reopened_chain_is_the_same(tmp_path: Path) -> None:
    node = EmbeddedNode(tmp_path)
    tx = pay(Purse(node).take())
    node.broadcast(tx)
    node.mine()
    tip, coins = node.block(node.height()), node.scan(SCRIPT)
    node.close()
    node.close()
    node = EmbeddedNode(tmp_path)
    assert node.block(node.height()) == tip
    assert node.scan(SCRIPT) == coins
    assert node.find(tx.txid) == (tx, tip.height)
    assert node.spender(tx.inputs[0].outpoint) == (tx, tip.height)
    node.mine()
    assert node.height() == tip.height + 1
    node.close()


def test_other_process_sees_chain_and_mempool(tmp_path: Path) -> None:
    node = EmbeddedNode(tmp_path)
    purse = Purse(node)
    parent = anchored(purse.take())
    child = bump(parent, purse.take())
    node.submit_package(parent, child)
    height = node.height()
    node.close()
    code = """
import sys
from pathlib import Path
from bitvm_bridge.chain.embedded import EmbeddedNode
node = EmbeddedNode(Path(sys.argv[1]))
print(node.height(), *(node.in_mempool(bytes.fromhex(txid)) for txid in sys.argv[2:]))
node.mine()
node.close()
"""
    other = run_python(code, str(tmp_path), parent.txid.hex(), child.txid.hex())
    assert (other.stdout, other.stderr) == (f"{height} True True\n", "")
    node = EmbeddedNode(tmp_path)
    assert node.height() == height + 1
    assert node.find(child.txid) == (child, height + 1)
    assert not node.in_mempool(parent.txid)
    node.close()


def test_killed_process_leaves_a_usable_chain(tmp_path: Path) -> None:
    node = EmbeddedNode(tmp_path)
    node.mine(3)
    node.close()
    code = """
import os, sys
from pathlib import Path
from bitvm_bridge.chain.embedded import EmbeddedNode
EmbeddedNode(Path(sys.argv[1])).mine(5)
os._exit(9)
"""
    assert run_python(code, str(tmp_path)).returncode == 9
    node = EmbeddedNode(tmp_path)
    assert node.height() >= 3
    node.mine()
    node.close()


def test_mempool_forgets_what_its_chain_no_longer_knows(tmp_path: Path) -> None:
    node = EmbeddedNode(tmp_path / "one")
    tx = pay(Purse(node).take())
    child = pay(unconfirmed(tx))
    node.broadcast(tx)
    node.broadcast(child)
    node.close()
    (tmp_path / "two").mkdir()
    (tmp_path / "one" / "mempool.hex").rename(tmp_path / "two" / "mempool.hex")
    for name in ("one", "two"):
        node = EmbeddedNode(tmp_path / name)
        assert not node.in_mempool(tx.txid)
        assert not node.in_mempool(child.txid)
        node.mine()
        node.close()


def test_broken_mempool_file_is_named(tmp_path: Path) -> None:
    EmbeddedNode(tmp_path).close()
    (tmp_path / "mempool.hex").write_text("00ff\n")
    for _ in range(2):
        with pytest.raises(BadInput, match=r"mempool\.hex"):
            EmbeddedNode(tmp_path)


def test_one_process_at_a_time(tmp_path: Path) -> None:
    node = EmbeddedNode(tmp_path)
    with pytest.raises(NodeUnreachable, match="in use by another process"):
        EmbeddedNode(tmp_path)
    code = """
import sys
from pathlib import Path
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.errors import NodeUnreachable
try:
    EmbeddedNode(Path(sys.argv[1]))
except NodeUnreachable as error:
    print(error)
"""
    other = run_python(code, str(tmp_path))
    assert "in use by another process" in other.stdout
    assert other.stderr == ""
    node.mine()
    node.close()
    EmbeddedNode(tmp_path).close()


def test_directory_that_holds_no_chain(tmp_path: Path) -> None:
    (tmp_path / "blocks").write_text("a file where a folder belongs")
    with pytest.raises(NodeUnreachable, match="cannot open the chain"):
        EmbeddedNode(tmp_path)


def test_closed_node_does_nothing(embedded: EmbeddedNode) -> None:
    tx = pay(Purse(embedded).take())
    embedded.close()
    for action in (embedded.mine, lambda: embedded.mine_transactions([]), lambda: embedded.broadcast(tx)):
        with pytest.raises(NodeUnreachable, match="closed"):
            action()


def test_only_regtest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="network"):
        EmbeddedNode(tmp_path, Network.SIGNET)
    assert list(tmp_path.iterdir()) == []


def test_two_nodes_keep_apart(tmp_path: Path) -> None:
    one, two = EmbeddedNode(tmp_path / "one"), EmbeddedNode(tmp_path / "two")
    one.mine(2, SCRIPT)
    two.mine(1)
    assert (one.height(), two.height()) == (2, 1)
    with pytest.raises(NodeRejected, match="bad-txns-inputs-missingorspent"):
        two.mine_transactions([pay(one.scan(SCRIPT)[0])])
    assert two.scan(SCRIPT) == []
    one.close()
    two.close()


def test_kernel_writes_nothing_to_the_terminal(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    node = EmbeddedNode(tmp_path)
    node.mine(2)
    with pytest.raises(NodeRejected):
        node.mine_transactions([pay(node.scan(blocks.ANYONE)[0])])
    node.close()
    assert capfd.readouterr() == ("", "")


def test_subsidy_halves_and_fees_are_collected(embedded: EmbeddedNode) -> None:
    coin = Purse(embedded).take()
    embedded.broadcast(pay(coin))
    embedded.mine(1, SCRIPT)
    assert embedded.block(embedded.height()).transactions[0].outputs[0].amount == 50 * 10**8 + FEE
    embedded.mine(blocks.HALVING - embedded.height(), SCRIPT)
    assert embedded.block(blocks.HALVING).transactions[0].outputs[0].amount == 25 * 10**8
    assert embedded.block(blocks.HALVING - 1).transactions[0].outputs[0].amount == 50 * 10**8


def test_block_weight_limit(embedded: EmbeddedNode) -> None:
    purse = Purse(embedded)
    data = TxOut(0, OP_RETURN + b"\x4e" + (95_000).to_bytes(4, "little") + bytes(95_000))
    heavy = []
    for _ in range(11):
        coin = purse.take()
        tx = spend([coin], [TxOut(coin.output.amount - 20_000, SCRIPT), data])
        embedded.broadcast(tx)
        heavy.append(tx)
    late_child = pay(unconfirmed(heavy[-1]))
    embedded.broadcast(late_child)
    light = pay(purse.take())
    embedded.broadcast(light)
    embedded.mine()
    mined = [tx.txid for tx in embedded.block(embedded.height()).transactions[1:]]
    assert mined == [tx.txid for tx in heavy[:10]] + [light.txid]
    embedded.mine()
    mined = [tx.txid for tx in embedded.block(embedded.height()).transactions[1:]]
    assert mined == [heavy[10].txid, late_child.txid]


def test_block_that_is_too_heavy(embedded: EmbeddedNode) -> None:
    coin = Purse(embedded).take()
    data = TxOut(0, OP_RETURN + b"\x4e" + (1_000_000).to_bytes(4, "little") + bytes(1_000_000))
    height = embedded.height()
    with pytest.raises(NodeRejected, match="bad-blk-length"):
        embedded.mine_transactions([spend([coin], [TxOut(FEE, SCRIPT), data])])
    embedded.mine()
    assert embedded.height() == height + 1


def test_free_parent_waits_for_a_child_that_pays(embedded: EmbeddedNode) -> None:
    purse = Purse(embedded)
    coin = purse.take()
    parent = anchored(purse.take())
    embedded.submit_package(parent, bump(parent, coin))
    embedded.mine_transactions([pay(coin)])
    assert embedded.in_mempool(parent.txid)
    embedded.mine()
    assert embedded.in_mempool(parent.txid)
    embedded.broadcast(bump(parent, purse.take()))
    embedded.mine()
    assert embedded.find(parent.txid) == (parent, embedded.height())


def test_two_hundred_blocks_have_valid_times(embedded: EmbeddedNode) -> None:
    embedded.mine(200)
    assert embedded.height() == 200
    assert len({embedded.block(height).hash for height in range(201)}) == 201


def test_merkle_root_of_an_odd_level() -> None:
    one, two, three = (bytes([n]) * 32 for n in (1, 2, 3))
    assert blocks.merkle_root([one]) == one
    assert blocks.merkle_root([one, two, three]) == blocks.merkle_root([one, two, three, three])
    assert blocks.merkle_root([one, two]) != blocks.merkle_root([two, one])
