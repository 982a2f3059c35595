"""Script trees and sighashes, against Bitcoin Core and an independent implementation."""

import tracemalloc
from collections.abc import Iterator

import pytest
from bitcoinutils.script import Script as OtherScript
from bitcoinutils.transactions import Transaction as OtherTransaction
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge import taproot
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.errors import BadInput
from bitvm_bridge.taproot import NUMS_KEY, ScriptTree, SigHash, sighash, sighash_message
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf.script import OP_NUMEQUAL, encode_num, num

KINDS = [kind for kind in SigHash if kind is not SigHash.DEFAULT]


def leaves(count: int) -> Iterator[tuple[str, bytes]]:
    return ((f"leaf {index}", num(index) + OP_NUMEQUAL) for index in range(count))


def spend(tree: ScriptTree, name: str, number: int, other: str | None = None) -> bool:
    """Core's verdict on a spend of `name` (with the control block of `other` where it is given)."""
    spent = TxOut(1_000, tree.script_pubkey())
    witness = (encode_num(number), num(number) + OP_NUMEQUAL, tree.control_block(other or name))
    tx = Transaction(2, (TxIn(OutPoint(bytes(32), 0), witness=witness),), (TxOut(900, b"\x51"),))
    return verify_input(tx, 0, [spent])


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 8, 9, 16, 17])
def test_every_leaf_can_be_spent_and_no_other_path_serves(count: int) -> None:
    tree = ScriptTree(leaves(count))
    assert tree.names == tuple(name for name, _ in leaves(count))
    for index, name in enumerate(tree.names):
        assert spend(tree, name, index)
        other = tree.names[index - 1]
        assert spend(tree, name, index, other) == (tree.path(other) == tree.path(name))


@pytest.mark.parametrize("count", [1, 2, 5, 1000])
def test_near_leaves_have_short_paths(count: int) -> None:
    tree = ScriptTree(leaves(count), near=[("near", num(77) + OP_NUMEQUAL)])
    assert len(tree.path("near")) == 1
    assert spend(tree, "near", 77)
    assert spend(tree, f"leaf {count - 1}", count - 1)
    assert max(len(tree.path(name)) for name in tree.names) == 1 + (count - 1).bit_length()


def test_bad_trees_are_refused() -> None:
    with pytest.raises(BadInput, match="script tree"):
        ScriptTree([])
    with pytest.raises(BadInput, match="leaf name"):
        ScriptTree([("a", b"\x51"), ("a", b"\x52")])
    with pytest.raises(BadInput, match="leaf name"):
        ScriptTree([("a", b"\x51")], near=[("a", b"\x52")])
    with pytest.raises(BadInput, match="leaf name"):
        ScriptTree([("a", b"\x51")]).control_block("b")


def test_memory_does_not_grow_with_the_scripts() -> None:
    """64 MB of scripts pass through; what is kept is hashes and names."""
    tracemalloc.start()
    try:
        tree = ScriptTree((str(index), bytes(32_000)) for index in range(2_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(tree.names) == 2_000
    assert peak < 2_000_000


def random_transactions() -> st.SearchStrategy[tuple[Transaction, list[TxOut]]]:
    amounts = st.integers(0, 21 * 10**14)
    scripts = st.binary(min_size=32, max_size=32).map(lambda key: b"\x51\x20" + key)
    outputs = st.builds(TxOut, amounts, scripts)
    outpoints = st.builds(OutPoint, st.binary(min_size=32, max_size=32), st.integers(0, 2**32 - 1))
    inputs = st.builds(TxIn, outpoints, st.integers(0, 2**32 - 1))

    def build(
        pairs: list[tuple[TxIn, TxOut]], made: list[TxOut], version: int, lock: int
    ) -> tuple[Transaction, list[TxOut]]:
        return Transaction(version, tuple(one for one, _ in pairs), tuple(made), lock), [other for _, other in pairs]

    pairs = st.lists(st.tuples(inputs, outputs), min_size=1, max_size=5)
    made = st.lists(outputs, min_size=5, max_size=6)
    return st.builds(build, pairs, made, st.integers(1, 3), st.integers(0, 2**32 - 1))


@settings(deadline=None)
@given(random_transactions(), st.data())
def test_sighash_equals_bitcoinutils(case: tuple[Transaction, list[TxOut]], data: st.DataObject) -> None:
    tx, spent = case
    index = data.draw(st.integers(0, len(tx.inputs) - 1))
    other = OtherTransaction.from_raw(tx.serialize_base().hex())
    scripts = [OtherScript.from_raw(out.script_pubkey.hex()) for out in spent]
    amounts = [out.amount for out in spent]
    for kind in SigHash:
        theirs = other.get_transaction_taproot_digest(index, scripts, amounts, 0, sighash=int(kind))
        assert sighash(tx, index, spent, kind) == theirs, kind.name
        leaf = OtherScript(["OP_1", "OP_CHECKSIG"])
        theirs = other.get_transaction_taproot_digest(index, scripts, amounts, 1, script=leaf, sighash=int(kind))
        ours = sighash(tx, index, spent, kind, taproot.leaf_hash(bytes.fromhex(leaf.to_hex())))
        assert ours == theirs, kind.name


def one_input() -> tuple[Transaction, list[TxOut]]:
    tx = Transaction(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(1, taproot.p2tr(NUMS_KEY)),))
    return tx, [TxOut(2, taproot.p2tr(NUMS_KEY))]


def test_what_each_sighash_commits_to() -> None:
    tx, spent = one_input()
    changed = Transaction(2, tx.inputs, (TxOut(0, b"\x6a"),))
    added = Transaction(2, tx.inputs, (*tx.outputs, TxOut(0, b"\x6a")))
    for kind in SigHash:
        digest = sighash(tx, 0, spent, kind)
        mode = kind.output_mode
        assert (sighash(changed, 0, spent, kind) == digest) == (mode is SigHash.NONE)
        assert (sighash(added, 0, spent, kind) == digest) == (mode in (SigHash.NONE, SigHash.SINGLE))
        joined = Transaction(2, (*tx.inputs, TxIn(OutPoint(bytes(32), 1))), tx.outputs)
        assert (sighash(joined, 0, [*spent, *spent], kind) == digest) == kind.anyone_can_pay
    assert len({sighash(tx, 0, spent, kind) for kind in SigHash}) == len(SigHash)
    assert sighash(tx, 0, spent) != sighash(tx, 0, spent, annex=b"\x50")


def test_bad_arguments_are_refused() -> None:
    tx, spent = one_input()
    with pytest.raises(BadInput, match="spent outputs"):
        sighash_message(tx, 0, [])
    with pytest.raises(BadInput, match="input index"):
        sighash_message(tx, 1, spent)
    without = Transaction(2, tx.inputs, ())
    for kind in (SigHash.SINGLE, SigHash.SINGLE_ANYONECANPAY):
        with pytest.raises(BadInput, match="SINGLE"):
            sighash_message(without, 0, spent, kind)


def test_the_nums_key_is_the_hash_of_the_generator() -> None:
    import hashlib

    generator = bytes.fromhex(
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    )
    assert hashlib.sha256(generator).digest() == NUMS_KEY
