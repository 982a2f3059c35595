"""An assertion read back from raw transactions, and the proof against its first wrong step.

Whatever Core lets an operator confirm must be readable: an Assert that nobody could read could not be disproved.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from itertools import permutations

import pytest

from bitvm_bridge.chain.kernel import verify_input, verify_inputs
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.taproot import sighash
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from scripts_tapleaf import winternitz
from tests import builders
from tests.builders import assert_tx, flip, instance_setup, lie, sign_values
from tests.core import spend_leaf

TWO_CONNECTORS = winternitz.bundle_capacity(160) + 2
LENGTHS = (1, 4, TWO_CONNECTORS)
ITEMS = winternitz.witness_item_count(160)
JUNK = b"\xab" * 500
ANNEX = b"\x50any bytes"


@cache
def chain_of(length: int) -> InstanceSetup:
    return instance_setup(f"hash-chain:{length}:1")


@cache
def honest(length: int) -> Assertion:
    return sign_values(chain_of(length), chain_of(length).program.run(()).values)


@cache
def honest_tx(length: int) -> Transaction:
    return assert_tx(chain_of(length), honest(length))


def read(length: int, *transactions: Transaction) -> Assertion:
    """From bytes, as a node or a file gives them."""
    return asserting.read(chain_of(length), [Transaction.parse(tx.serialize()) for tx in transactions])


def refused(length: int, tx: Transaction, message: str) -> None:
    with pytest.raises(VerificationFailed, match=message):
        asserting.read(chain_of(length), [tx])


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_signed_is_read_back(length: int) -> None:
    values = [bytes([index]) * 20 for index in range(length)]
    for assertion in (honest(length), sign_values(chain_of(length), values)):
        assert read(length, assert_tx(chain_of(length), assertion)) == assertion
        for key, value, signature in zip(chain_of(length).keys, assertion.values, assertion.signatures, strict=True):
            assert winternitz.recover(key, signature) == value


def test_every_connector_reveals_its_own_values() -> None:
    setup = chain_of(TWO_CONNECTORS)
    first, second = (asserting.witness_items(setup, honest(TWO_CONNECTORS), index) for index in (0, 1))
    assert (len(first), len(second)) == ((TWO_CONNECTORS - 2) * ITEMS, 2 * ITEMS)
    signatures = honest(TWO_CONNECTORS).signatures
    assert first[-ITEMS:] == signatures[0]
    assert second[:ITEMS] == signatures[-1]


def parts(length: int) -> list[Transaction]:
    """Each input of Assert in a transaction of its own."""
    tx = honest_tx(length)
    return [replace(tx, inputs=(txin,), outputs=(TxOut(330, b"\x51"),)) for txin in tx.inputs]


def test_order_of_inputs_and_transactions_does_not_matter() -> None:
    tx, unrelated = honest_tx(TWO_CONNECTORS), honest_tx(1)
    assert read(TWO_CONNECTORS, replace(tx, inputs=tx.inputs[::-1])) == honest(TWO_CONNECTORS)
    for several in permutations([*parts(TWO_CONNECTORS), unrelated]):
        assert read(TWO_CONNECTORS, *several) == honest(TWO_CONNECTORS)


@pytest.mark.parametrize("missing", [0, 1])
def test_missing_connector_is_named(missing: int) -> None:
    kept = [part for index, part in enumerate(parts(TWO_CONNECTORS)) if index != missing]
    expected = rf"^assertion: no transaction given spends KickOff\.assertion_{missing}$"
    for transactions in (kept, [*kept, honest_tx(1)]):
        with pytest.raises(VerificationFailed, match=expected):
            read(TWO_CONNECTORS, *transactions)
    with pytest.raises(VerificationFailed, match=r"spends KickOff\.assertion_0$"):
        read(TWO_CONNECTORS)


OTHERS = {
    "operator": instance_setup(seed=builders.OTHER_OPERATOR),
    "deposit": instance_setup(deposit=OutPoint(b"\xd8" * 32, 0)),
    "claim": instance_setup(claim=OutPoint(b"\xc8" * 32, 0)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_assertion_of_another_instance(name: str) -> None:
    """It spends other outputs; moved onto these, its keys or its script do not fit."""
    seed = builders.OTHER_OPERATOR if name == "operator" else builders.SEEDS[Role.OPERATOR]
    other = assert_tx(OTHERS[name], sign_values(OTHERS[name], OTHERS[name].program.run(()).values, seed))
    refused(4, other, r"^assertion: no transaction given spends KickOff\.assertion_0$")
    txin = replace(honest_tx(4).inputs[0], witness=other.inputs[0].witness)
    moved = replace(honest_tx(4), inputs=(txin,))
    if name == "claim":
        # The same deposit and operator have the same one-time keys, so this is the very witness.
        assert txin == honest_tx(4).inputs[0]
        return
    refused(4, moved, r"^assertion_0: its witness does not spend the leaf 'commit'$")
    own_tail = honest_tx(4).inputs[0].witness[-2:]
    refused(4, moved.with_witness(0, (*txin.witness[:-2], *own_tail)), r"^assertion_0: signature: ")


def witness() -> tuple[bytes, ...]:
    return honest_tx(4).inputs[0].witness


def with_witness(items: Sequence[bytes]) -> Transaction:
    return honest_tx(4).with_witness(0, tuple(items))


@pytest.mark.parametrize("position", [*range(1, ITEMS, 3), 2 * ITEMS, 4 * ITEMS])
def test_altered_items_are_refused(position: int) -> None:
    """Junk of 500 bytes, nothing, one bit, and the item of another value."""
    items = witness()
    other = assert_tx(chain_of(4), sign_values(chain_of(4), [flip(value) for value in honest(4).values]))
    for changed in (JUNK, b"" if items[position] else b"\x01", flip(items[position] or b"\x00")):
        tx = with_witness([*items[:position], changed, *items[position + 1 :]])
        refused(4, tx, "^assertion_0: ")
    foreign = other.inputs[0].witness[position]
    if foreign != items[position]:
        refused(4, with_witness([*items[:position], foreign, *items[position + 1 :]]), "^assertion_0: signature")


def test_truncated_witnesses_are_refused() -> None:
    items = witness()
    for end in range(0, len(items), 9):
        refused(4, with_witness(items[:end]), r"^assertion_0: its witness does not spend the leaf 'commit'$")
    for start in range(1, len(items) - 2, 9):
        refused(4, with_witness(items[start:]), rf"^assertion_0: \d+ witness items, expected {4 * ITEMS}$")


def test_long_witnesses_are_refused() -> None:
    items = witness()
    for more in (b"", b"\x01", JUNK):
        for position in (0, 1, len(items) - 2):
            tx = with_witness([*items[:position], more, *items[position:]])
            refused(4, tx, rf"^assertion_0: {4 * ITEMS + 1} witness items, expected {4 * ITEMS}$")
        refused(4, with_witness([*items, more]), r"^assertion_0: its witness does not spend the leaf 'commit'$")


def test_signatures_of_swapped_slots_are_refused() -> None:
    _, *items = witness()[:-2]
    swapped = [*items[ITEMS:], *items[:ITEMS]]
    refused(4, with_witness([bytes(64), *swapped, *witness()[-2:]]), "^assertion_0: signature")


def test_timeout_of_a_connector_is_no_assertion() -> None:
    setup = chain_of(4)
    timeout = setup.graph["AssertTimeout_0"]
    entry = timeout.inputs[timeout.index("assertion_0")]
    tx = timeout.tx.with_witness(1, entry.witness([bytes(65)]))
    refused(4, tx, r"^assertion_0: its witness does not spend the leaf 'commit'$")


# What an operator can get into a block against the rules of relay.


def confirmed(setup: InstanceSetup, items: Sequence[bytes], annex: tuple[bytes, ...] = ()) -> Transaction:
    """An Assert of one connector with the operator's real signature, which Core must accept."""
    declared = setup.graph["Assert"]
    (entry,) = declared.inputs
    tx, spent = declared.completed(outputs=[TxOut(0, b"\x6a")]), declared.spent
    assert entry.source.connector is not None
    leaf = entry.source.connector.tree.leaf_hash("commit")
    digest = sighash(tx, 0, spent, leaf=leaf, annex=annex[0] if annex else None)
    signature = builders.wallet_key(Role.OPERATOR).sign(digest)
    tx = tx.with_witness(0, (*entry.witness((signature, *items)), *annex))
    assert verify_input(tx, 0, spent)
    return tx


def proved(setup: InstanceSetup, tx: Transaction, wrong: int) -> None:
    """The Assert is read, and its step `wrong` is proved on Core."""
    assertion = asserting.read(setup, [tx])
    proof = disprove.prove(setup, assertion)
    assert proof.leaf == f"link_{wrong}"
    assert spend_leaf(setup.checks.leaf(proof.leaf), list(proof.items))


def items_of(setup: InstanceSetup, values: Sequence[bytes]) -> tuple[bytes, ...]:
    return asserting.witness_items(setup, sign_values(setup, values), 0)


def test_annex_does_not_hide_an_assertion() -> None:
    setup = chain_of(4)
    for wrong in range(4):
        proved(setup, confirmed(setup, items_of(setup, lie(setup, wrong)), (ANNEX,)), wrong)
    right = confirmed(setup, items_of(setup, setup.program.run(()).values), (ANNEX,))
    assert asserting.read(setup, [right]) == honest(4)


def test_only_an_annex_is_skipped() -> None:
    for last in (b"", b"\x51", b"\xc0" + bytes(32)):
        refused(4, with_witness([*witness(), last]), "does not spend the leaf")
    refused(4, with_witness([*witness(), ANNEX, ANNEX]), "does not spend the leaf")
    refused(4, with_witness([ANNEX]), "does not spend the leaf")


def test_superfluous_zeros_do_not_hide_an_assertion() -> None:
    """Consensus takes numbers that are longer than they must be."""
    setup = chain_of(4)
    items = items_of(setup, lie(setup, 2))
    longer = [item if len(item) >= winternitz.CHAIN_BYTES else item + b"\x00" for item in items]
    assert longer != list(items)
    proved(setup, confirmed(setup, longer), 2)


def test_codeword_of_no_message_does_not_hide_an_assertion() -> None:
    """More codewords than messages: what an operator signs beyond them is a wrong value like any other."""
    setup, seed = chain_of(12), builders.SEEDS[Role.OPERATOR].winternitz_seed()
    for wrong, number in [(0, 1 << 160), (11, winternitz.scheme(160).codewords - 1)]:
        surplus = tuple(winternitz.sign_number(winternitz.derive_secret(seed, setup.id, wrong), number))
        signatures = [*honest(12).signatures[:wrong], surplus, *honest(12).signatures[wrong + 1 :]]
        items = asserting.witness_items(setup, replace(honest(12), signatures=tuple(signatures)), 0)
        tx = confirmed(setup, items)
        assert asserting.read(setup, [tx]).values[wrong] == number.to_bytes(21, "little")
        proved(setup, tx, wrong)


# The proof.


@pytest.mark.parametrize("length", LENGTHS)
def test_correct_assertion_cannot_be_disproved(length: int) -> None:
    with pytest.raises(BridgeError, match=r"^disprove: the assertion is correct, no check of it can be satisfied$"):
        disprove.prove(chain_of(length), honest(length))


@pytest.mark.parametrize("length", [1, 4])
def test_first_wrong_step_is_the_one_that_is_proved(length: int) -> None:
    setup = chain_of(length)
    right = setup.program.run(()).values
    for wrong in range(length):
        for values in (lie(setup, wrong), [*right[:wrong], flip(right[wrong]), *right[wrong + 1 :]]):
            assertion = read(length, assert_tx(setup, sign_values(setup, values)))
            proof = disprove.prove(setup, assertion)
            assert (proof.leaf, proof.claimed, proof.computed) == (f"link_{wrong}", values[wrong], right[wrong])
            for chunk in setup.program.chunks:
                accepted = spend_leaf(setup.checks.leaf(chunk.name), list(proof.items))
                assert accepted == (chunk.name == proof.leaf)


def test_false_step_behind_the_second_connector() -> None:
    setup, wrong = chain_of(TWO_CONNECTORS), TWO_CONNECTORS - 1
    assertion = read(TWO_CONNECTORS, assert_tx(setup, sign_values(setup, lie(setup, wrong))))
    proof = disprove.prove(setup, assertion)
    assert proof.leaf == f"link_{wrong}"
    assert spend_leaf(setup.checks.leaf(proof.leaf), list(proof.items))


def test_all_values_wrong_proves_the_first() -> None:
    proof = disprove.prove(chain_of(4), sign_values(chain_of(4), [bytes(20)] * 4))
    assert (proof.leaf, proof.claimed) == ("link_0", bytes(20))


def disprove_tx(setup: InstanceSetup, items: Sequence[bytes], leaf: str) -> tuple[Transaction, list[TxOut]]:
    """Disprove with the bundle's signature and this proof."""
    declared, signed = setup.graph["Disprove"], builders.bundle(setup)
    bond, proof = declared.inputs
    tx = declared.completed(outputs=[TxOut(1_000_000, b"\x51")])
    tx = tx.with_witness(0, bond.witness([signed.signature("Disprove", "bond")]))
    return tx.with_witness(1, proof.witness(items, leaf)), declared.spent


BROKEN: dict[str, Callable[[Transaction], Transaction]] = {
    "proof altered": lambda tx: tx.with_witness(1, (JUNK, *tx.inputs[1].witness[1:])),
    "proof missing": lambda tx: tx.with_witness(1, tx.inputs[1].witness[1:]),
    "burn output changed": lambda tx: replace(tx, outputs=(TxOut(1, b"\x51"), *tx.outputs[1:])),
    "inputs swapped": lambda tx: replace(tx, inputs=tx.inputs[::-1]),
}


def test_core_runs_the_proof_before_it_is_sent() -> None:
    setup = chain_of(4)
    proof = disprove.prove(setup, sign_values(setup, lie(setup, 2)))
    tx, spent = disprove_tx(setup, proof.items, proof.leaf)
    disprove.execute(tx, spent)
    assert verify_inputs(tx, spent) is None


@pytest.mark.parametrize("name", BROKEN)
def test_core_refuses_a_broken_proof(name: str) -> None:
    setup = chain_of(4)
    proof = disprove.prove(setup, sign_values(setup, lie(setup, 2)))
    tx, spent = disprove_tx(setup, proof.items, proof.leaf)
    with pytest.raises(
        BridgeError, match=r"^disprove: Bitcoin Core's interpreter refuses input [01]; nothing was sent$"
    ):
        disprove.execute(BROKEN[name](tx), spent)


def test_proof_under_another_leaf_is_refused() -> None:
    setup = chain_of(4)
    proof = disprove.prove(setup, sign_values(setup, lie(setup, 2)))
    for leaf in ("link_0", "link_1", "link_3", "unhappy"):
        with pytest.raises(BridgeError, match="refuses input 1"):
            disprove.execute(*disprove_tx(setup, proof.items, leaf))


def test_one_time_keys_are_fresh_for_every_instance_and_slot() -> None:
    keys = [key for setup in (chain_of(4), *list(OTHERS.values())[:2]) for key in setup.keys]
    assert len(set(keys)) == len(keys)
    other = Seed(Role.OPERATOR, b"\x23" * 32)
    with pytest.raises(VerificationFailed, match=r"^assertion_0: signature"):
        read(4, assert_tx(chain_of(4), sign_values(chain_of(4), chain_of(4).program.run(()).values, other)))
