"""The council: k of m signatures in PSBTs that go round, after the wait, on Bitcoin Core's consensus."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bitvm_bridge import psbt
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role
from bitvm_bridge.params import DUST, Params
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.psbt import Psbt
from bitvm_bridge.roles import council
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut, compact_size
from tests.builders import COUNCIL, COUNCIL_KEYS, PLAIN, WITH_COUNCIL, deposit_setup, instance_setup, wallet_key

ALICE, BOB, CAROL = COUNCIL_KEYS
TO = wallet_script(wallet_key(Role.DEPOSITOR).xonly)
SPLIT = Params(peg_in=90_000_000, exits=3, council=COUNCIL)


def payout() -> council.Payout:
    return council.payout(deposit_setup(WITH_COUNCIL), 0, TO, 2.0)


def through(found: council.Payout) -> council.Payout:
    """As it arrives somewhere else."""
    return council.Payout.from_psbt(Psbt.parse(found.to_psbt().serialize()))


def test_it_moves_all_but_the_fee_after_the_wait() -> None:
    found = payout()
    (txin,), (out,) = found.funded.tx.inputs, found.funded.tx.outputs
    assert txin.outpoint == deposit_setup(WITH_COUNCIL).graph.vault
    assert txin.sequence == COUNCIL.delay
    assert out.script_pubkey == TO
    done = found.sign(ALICE).sign(BOB).finish()
    assert done.fee == WITH_COUNCIL.peg_in - out.amount
    assert 2 * done.tx.vsize <= done.fee <= 2 * done.tx.vsize + 2


@pytest.mark.parametrize("signers", [(ALICE, BOB), (CAROL, ALICE), (BOB, CAROL), COUNCIL_KEYS])
def test_enough_signatures_in_any_order(signers: tuple[type(ALICE), ...]) -> None:
    copies = [through(through(payout()).sign(key)).to_psbt() for key in signers]
    done = council.joined(copies).finish()
    assert verify_inputs(done.tx, done.parent.spent) is None
    assert sum(1 for item in done.tx.inputs[0].witness[:3] if item) == COUNCIL.threshold


def test_one_signature_too_few() -> None:
    found = payout().sign(BOB)
    assert (found.missing, payout().missing) == (1, 2)
    with pytest.raises(BridgeError, match=r"^CouncilPayout: 1 of 2 signatures; 1 more are needed$"):
        through(found).sign(BOB).finish()
    full = payout().sign(ALICE).sign(BOB).finish()
    for index in (1, 2):
        items = list(full.tx.inputs[0].witness)
        assert items[index]
        items[index] = b""
        assert verify_inputs(full.tx.with_witness(0, tuple(items)), full.parent.spent) == 0


def test_consensus_wants_the_wait() -> None:
    early = payout()
    tx = replace(early.funded.tx, inputs=(replace(early.funded.tx.inputs[0], sequence=COUNCIL.delay - 1),))
    early = replace(early, funded=replace(early.funded, tx=tx))
    done = early.sign(ALICE).sign(BOB).finish()
    assert verify_inputs(done.tx, done.parent.spent) == 0, "validly signed, one block too early"
    with pytest.raises(VerificationFailed, match=r"^PSBT: input 0: not by the leaf of a council, after its wait$"):
        through(early)


@pytest.mark.parametrize("number", range(3))
def test_every_exit(number: int) -> None:
    setup = deposit_setup(SPLIT)
    found = through(council.payout(setup, number, TO, 1.0)).sign(ALICE).sign(CAROL)
    assert found.funded.tx.inputs[0].outpoint == setup.graph.exit(number)
    done = found.finish()
    assert verify_inputs(done.tx, done.parent.spent) is None


def test_the_share_of_a_slashed_bond() -> None:
    forfeit = instance_setup(params=WITH_COUNCIL).graph["Forfeit"].tx
    outpoint = OutPoint(b"\x44" * 32, 0)
    found = council.burnt(deposit_setup(WITH_COUNCIL), outpoint, TO, 1.0)
    assert found.funded.spent == (forfeit.outputs[0],)
    done = through(found).sign(BOB).sign(CAROL).finish()
    assert verify_inputs(done.tx, done.parent.spent) is None


def test_where_there_is_no_council() -> None:
    for make in (
        lambda: council.payout(deposit_setup(PLAIN), 0, TO, 1.0),
        lambda: council.burnt(deposit_setup(PLAIN), OutPoint(b"\x44" * 32, 0), TO, 1.0),
    ):
        with pytest.raises(BadInput, match=r"is not one with a council$"):
            make()
    with pytest.raises(BadInput, match=r"^exit: "):
        council.payout(deposit_setup(WITH_COUNCIL), 1, TO, 1.0)
    least = Params(peg_in=10 * DUST, council=COUNCIL)
    with pytest.raises(BridgeError, match=r"^CouncilPayout: 90 sat/vB leave nothing of 3,300 sat$"):
        council.payout(deposit_setup(least), 0, TO, 90.0)


def test_a_stranger_does_not_sign() -> None:
    with pytest.raises(BadInput, match=r"^council key: "):
        payout().sign(wallet_key(Role.OPERATOR))


def test_the_psbt_of_another_payout_is_not_joined() -> None:
    other = council.payout(deposit_setup(WITH_COUNCIL), 0, wallet_script(ALICE.xonly), 2.0).sign(ALICE)
    with pytest.raises(VerificationFailed, match=r"^PSBT: output 0, script: "):
        council.joined([payout().sign(BOB).to_psbt(), other.to_psbt()])


def changed(found: council.Payout, change: Callable[[dict[bytes, bytes]], None]) -> Psbt:
    question = found.to_psbt()
    fields = dict(question.inputs[0])
    change(fields)
    return replace(question, inputs=(fields,))


LEAF_HASH = payout()._wanted.leaf_hash or b""
STRANGER = wallet_key(Role.OPERATOR)


def test_signatures_are_verified_when_they_are_read() -> None:
    found = payout()
    field = psbt.TAP_SCRIPT_SIG + ALICE.xonly + LEAF_HASH
    for signature, reason in (
        (BOB.sign(found.digest), f"not one of key {ALICE.xonly.hex()} for this transaction"),
        (ALICE.sign(bytes(32)), f"not one of key {ALICE.xonly.hex()} for this transaction"),
        (SigHash.ALL.append_to(ALICE.sign(found.digest)), "sighash type 0x01, expected 0x00"),
        (b"", "0 bytes, expected 64, or 65 with a sighash type"),
    ):
        with pytest.raises(VerificationFailed, match=rf"^PSBT: input 0, signature: {reason}$"):
            council.Payout.from_psbt(changed(found, lambda fields, value=signature: fields.update({field: value})))
    foreign = psbt.TAP_SCRIPT_SIG + STRANGER.xonly + LEAF_HASH
    with pytest.raises(VerificationFailed, match=rf"one of key {STRANGER.xonly.hex()}, not in the council$"):
        council.Payout.from_psbt(changed(found, lambda fields: fields.update({foreign: STRANGER.sign(found.digest)})))
    elsewhere = psbt.TAP_SCRIPT_SIG + ALICE.xonly + bytes(32)
    ignored = changed(found, lambda fields: fields.update({elsewhere: ALICE.sign(found.digest)}))
    assert council.Payout.from_psbt(ignored).missing == 2


def test_a_finalised_psbt_is_read() -> None:
    done = payout().sign(ALICE).sign(CAROL)
    witness = done.finish().tx.inputs[0].serialize_witness()
    utxo = done.funded.spent[0].serialize()
    final = Psbt(done.funded.tx, ({psbt.WITNESS_UTXO: utxo, psbt.FINAL_WITNESS: witness},), ({},))
    assert council.Payout.from_psbt(final) == done
    items = list(done.finish().tx.inputs[0].witness)
    items[0], items[2] = items[2], items[0]
    raw = compact_size(len(items)) + b"".join(compact_size(len(item)) + item for item in items)
    with pytest.raises(VerificationFailed, match="not one of key"):
        council.Payout.from_psbt(replace(final, inputs=({psbt.WITNESS_UTXO: utxo, psbt.FINAL_WITNESS: raw},)))


def test_what_is_no_payout_of_a_council() -> None:
    found = payout()
    (leaf_field,) = [key for key in found.to_psbt().inputs[0] if key[:1] == psbt.TAP_LEAF_SCRIPT]
    script, control = found.leaf

    def with_leaf(new_script: bytes, new_control: bytes) -> Psbt:
        def change(fields: dict[bytes, bytes]) -> None:
            del fields[leaf_field]
            fields[psbt.TAP_LEAF_SCRIPT + new_control] = new_script + b"\xc0"

        return changed(found, change)

    own = deposit_setup(WITH_COUNCIL).graph.source("PegIn.vault").connector
    assert own is not None
    for wrong, reason in (
        (with_leaf(*own.script_path("covenant")), "not by the leaf of a council, after its wait"),
        (with_leaf(script[:-1], control), "not by the leaf of a council, after its wait"),
        (with_leaf(b"\x4c", control), "not by the leaf of a council, after its wait"),
        (with_leaf(script, control[:-1] + b"\x00"), "the leaf is not in the output that is spent"),
        (with_leaf(script, bytes([control[0] ^ 1]) + control[1:]), "the leaf is not in the output that is spent"),
        (with_leaf(script, control[:1] + ALICE.xonly + control[33:]), "another internal key than nobody's"),
        (with_leaf(script, control[:-1]), "another internal key than nobody's"),
        (with_leaf(script, b""), "another internal key than nobody's"),
    ):
        with pytest.raises(VerificationFailed, match=rf"^PSBT: input 0: .*{reason}$"):
            council.Payout.from_psbt(wrong)
    two = replace(found.to_psbt(), inputs=({}, {}))
    two = replace(two, tx=replace(two.tx, inputs=(*two.tx.inputs, TxIn(OutPoint(bytes(32), 0)))))
    for wrong in (
        two,
        changed(found, lambda fields: fields.clear()),
        changed(found, lambda fields: fields.pop(leaf_field)),
        changed(found, lambda fields: fields.update({psbt.TAP_LEAF_SCRIPT + b"more": b"x"})),
        changed(found, lambda fields: fields.update({psbt.FINAL_WITNESS: b"\x05"})),
    ):
        with pytest.raises(BadInput, match=r"^council PSBT: "):
            council.Payout.from_psbt(wrong)


def test_another_amount_is_another_digest() -> None:
    """A PSBT that lies about what it spends gets a signature that is good for nothing."""
    found = payout()
    lie = TxOut(found.funded.spent[0].amount * 2, found.funded.spent[0].script_pubkey)
    read = council.Payout.from_psbt(changed(found, lambda fields: fields.update({psbt.WITNESS_UTXO: lie.serialize()})))
    assert read.digest != found.digest
    tx: Transaction = read.sign(ALICE).sign(BOB).finish().tx
    assert verify_inputs(tx, found.funded.spent) == 0
