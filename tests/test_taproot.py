"""Script trees and sighashes, against Bitcoin Core and an independent implementation."""

import hashlib
import tracemalloc
from collections.abc import Iterator

import pytest
from bitcoinutils.script import Script as OtherScript
from bitcoinutils.transactions import Transaction as OtherTransaction
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge import secp, taproot
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.errors import BadInput
from bitvm_bridge.taproot import NUMS_KEY, ScriptTree, SigHash, sighash, sighash_message, tagged_hash
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf.script import OP_CHECKSIG, OP_CODESEPARATOR, OP_NUMEQUAL, encode_num, num, push

SECRET = bytes(range(1, 33))
KEY = secp.xonly_public_key(SECRET)
ANNEX = b"\x50" + b"annex"


def leaves(count: int) -> Iterator[tuple[str, bytes]]:
    return ((f"leaf {index}", num(index) + OP_NUMEQUAL) for index in range(count))


def spend(tree: ScriptTree, name: str, number: int, other: str | None = None) -> bool:
    """Core's verdict on a spend of `name` (with the control block of `other` where it is given)."""
    return spend_script(tree, number, num(number) + OP_NUMEQUAL, tree.control_block(other or name))


def spend_script(tree: ScriptTree, number: int, script: bytes, block: bytes) -> bool:
    """Core's verdict on a spend of `script`, which wants `number`, with a control block."""
    spent = TxOut(1_000, tree.script_pubkey())
    witness = (encode_num(number), script, block)
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


def test_ten_thousand_leaves() -> None:
    """Paths are as short as a balanced tree allows, near leaves pay one step, and Core takes both ends of it."""
    count = 10_000
    tree = ScriptTree(leaves(count), near=[("near", num(-1) + OP_NUMEQUAL)])
    assert len(tree.control_block("near")) == 33 + 32
    depths = [len(tree.path(name)) for name in tree.names[1:]]
    assert max(depths) == 1 + 14
    assert sum(2.0**-depth for depth in depths) == 0.5
    for index in (0, 1, 4_999, 8_191, 8_192, 9_998, 9_999):
        script, block = num(index) + OP_NUMEQUAL, tree.control_block(f"leaf {index}")
        assert spend_script(tree, index, script, block)
        assert not spend_script(tree, index + 1, num(index + 1) + OP_NUMEQUAL, block)


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(0, 6))
def test_every_path_leads_to_the_root(count: int, near: int) -> None:
    """The Merkle proof of BIP341, folded by hand, for any shape; every leaf's weight adds up to one whole tree."""
    scripts = {f"leaf {n}": bytes([n]) for n in range(count)} | {f"near {n}": bytes([200 + n]) for n in range(near)}
    tree = ScriptTree(list(scripts.items())[:count], list(scripts.items())[count:])
    for name, script in scripts.items():
        node = tagged_hash("TapLeaf", b"\xc0\x01" + script)
        for sibling in tree.path(name):
            node = tagged_hash("TapBranch", *sorted((node, sibling)))
        assert node == tree.root
        assert tree.leaf_hash(name) == tagged_hash("TapLeaf", b"\xc0\x01" + script)
        assert tree.size(name) == len(script)
    assert sum(2.0 ** -len(tree.path(name)) for name in tree.names) == 1


def test_a_changed_control_block_is_refused() -> None:
    tree = ScriptTree(leaves(5))
    block = tree.control_block("leaf 3")
    assert spend_script(tree, 3, num(3) + OP_NUMEQUAL, block)
    for place in (0, 1, 32, 33, len(block) - 1):
        changed = block[:place] + bytes([block[place] ^ 1]) + block[place + 1 :]
        assert not spend_script(tree, 3, num(3) + OP_NUMEQUAL, changed)
    for changed in (block[:-32], block[:-1], block + bytes(32), block[:32]):
        assert not spend_script(tree, 3, num(3) + OP_NUMEQUAL, changed)


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
    generator = bytes.fromhex(
        "0479be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
        "483ada7726a3c4655da4fbfc0e1108a8fd17b448a68554199c47d08ffb10d4b8"
    )
    assert hashlib.sha256(generator).digest() == NUMS_KEY


def two_inputs(output: bytes) -> tuple[Transaction, list[TxOut]]:
    """Two coins to spend, the second of them to `output`; two outputs; every field off its default."""
    inputs = (TxIn(OutPoint(b"\x01" * 32, 7), 1), TxIn(OutPoint(b"\x02" * 32, 1), 0xFFFFFFFD))
    outputs = (TxOut(10_000, taproot.p2tr(NUMS_KEY)), TxOut(0, b"\x6a\x01\x07"))
    spent = [TxOut(7_000, b"\x00\x14" + bytes(20)), TxOut(9_000, output)]
    return Transaction(3, inputs, outputs, 500_000), spent


@pytest.mark.parametrize("annex", [None, ANNEX], ids=["no annex", "annex"])
@pytest.mark.parametrize("kind", SigHash, ids=lambda kind: kind.name)
def test_core_accepts_key_path_signatures(kind: SigHash, annex: bytes | None) -> None:
    tweak = taproot.tap_tweak(KEY)
    tx, spent = two_inputs(taproot.p2tr(secp.tweak_public_key(KEY, tweak)[0]))
    digest = sighash(tx, 1, spent, kind, annex=annex)
    signature = secp.sign(secp.tweak_secret_key(SECRET, tweak), digest)
    rest = () if annex is None else (annex,)
    for other in SigHash:
        signed = tx.with_witness(1, (other.append_to(signature), *rest))
        assert verify_input(signed, 1, spent) == (other is kind), other.name
    without = tx.with_witness(1, (kind.append_to(signature), *(() if annex else (ANNEX,))))
    assert not verify_input(without, 1, spent)


@pytest.mark.parametrize("annex", [None, ANNEX], ids=["no annex", "annex"])
@pytest.mark.parametrize("kind", SigHash, ids=lambda kind: kind.name)
def test_core_accepts_script_path_signatures(kind: SigHash, annex: bytes | None) -> None:
    scripts = {"one": push(KEY) + OP_CHECKSIG, "two": num(1) + bytes([0x75]) + push(KEY) + OP_CHECKSIG}
    tree = ScriptTree(scripts.items())
    tx, spent = two_inputs(tree.script_pubkey())
    rest = () if annex is None else (annex,)
    digest = sighash(tx, 1, spent, kind, tree.leaf_hash("one"), annex)
    signature = kind.append_to(secp.sign(SECRET, digest))
    for name, script in scripts.items():
        signed = tx.with_witness(1, (signature, script, tree.control_block(name), *rest))
        assert verify_input(signed, 1, spent) == (name == "one"), "a signature is for one leaf"


@pytest.mark.parametrize("position", [0, 1, 0xFFFFFFFF])
def test_core_accepts_the_code_separator(position: int) -> None:
    """BIP342 commits to the last code separator that ran; here it is operation 0."""
    script = OP_CODESEPARATOR + push(KEY) + OP_CHECKSIG
    tree = ScriptTree([("leaf", script)])
    tx, spent = two_inputs(tree.script_pubkey())
    message = sighash_message(tx, 1, spent, leaf=tree.leaf_hash("leaf"), code_separator=position)
    signature = secp.sign(SECRET, tagged_hash("TapSighash", b"\x00", message))
    signed = tx.with_witness(1, (signature, script, tree.control_block("leaf")))
    assert verify_input(signed, 1, spent) == (position == 0)


def test_an_output_key_needs_an_internal_key() -> None:
    with pytest.raises(BadInput, match="internal key"):
        ScriptTree(leaves(1)).script_pubkey(bytes(32))
