"""Recovery: a note proves itself, belongs to one key, and spends by the refund leaf on Bitcoin Core's consensus."""

from dataclasses import replace

import pytest

from bitvm_bridge import recovery, secp
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.protocol import Request, connectors
from bitvm_bridge.protocol.instance import Deposit
from bitvm_bridge.roles import depositor
from bitvm_bridge.transaction import MAX_MONEY, Transaction, TxOut
from bitvm_bridge.wallet import Wallet
from scripts_tapleaf.script import OP_RETURN, push
from tests import builders
from tests.spending import Purse, spend

KEY = builders.wallet_key(Role.DEPOSITOR)
OTHER = builders.wallet_key(Role.OPERATOR)
HEIGHT = 700


def deposit(delay: int = 20, receiver: bytes = builders.RECEIVER) -> tuple[Deposit, Transaction]:
    """A deposit and the transaction that makes it."""
    request = Request(Params(refund_delay=delay), KEY.xonly, receiver)
    of = Deposit(request, builders.members(request).key)
    connector = connectors.deposit(of)
    outputs = (TxOut(connector.amount, connector.script_pubkey), TxOut(0, connectors.refund_note(of)))
    return of, Transaction(2, builders.deposit_setup().graph["PegIn"].tx.inputs, outputs)


@pytest.mark.parametrize("delay", [1, 16, 17, 127, 128, 255, 256, 2_016, 32_768, 65_535])
@pytest.mark.parametrize("receiver", [b"\x01", builders.RECEIVER, bytes(520)])
def test_a_note_is_enough(delay: int, receiver: bytes) -> None:
    of, tx = deposit(delay, receiver)
    (found,) = recovery.read(tx, HEIGHT, KEY.xonly)
    assert (found.outpoint, found.height, found.delay) == (tx.outpoint(0), HEIGHT, delay)
    connector = connectors.deposit(of)
    assert found.leaf == connector.script_path("refund")
    assert found.output == tx.outputs[0]


def test_the_note_of_another_key_is_passed_by() -> None:
    assert list(recovery.read(deposit()[1], HEIGHT, OTHER.xonly)) == []


def test_only_a_note_that_fits_an_output_counts() -> None:
    _, tx = deposit()
    money, note = tx.outputs
    script = note.script_pubkey
    for wrong in (
        script[:-1] + bytes([script[-1] ^ 1]),
        script[:2] + b"\x15\x00" + script[4:],
        script[:2] + b"\x00\x00" + script[4:],
        OP_RETURN + push(script[2:] + b"\x00"),
        OP_RETURN + push(script[2:-1]),
        script + b"\x51",
        b"\x51" + script[1:],
    ):
        changed = replace(tx, outputs=(money, TxOut(0, wrong)))
        assert list(recovery.read(changed, HEIGHT, KEY.xonly)) == [], wrong.hex()
    assert list(recovery.read(replace(tx, outputs=(note,)), HEIGHT, KEY.xonly)) == []
    assert list(recovery.read(replace(tx, outputs=(money,)), HEIGHT, KEY.xonly)) == []


def test_order_and_company_do_not_matter() -> None:
    _, tx = deposit()
    second = deposit(30, b"another")[1]
    junk = TxOut(5, b"\x51")
    mixed = replace(tx, outputs=(junk, *second.outputs[::-1], tx.outputs[1], junk, tx.outputs[0]))
    found = {one.delay: one for one in recovery.read(mixed, HEIGHT, KEY.xonly)}
    assert {delay: one.outpoint.vout for delay, one in found.items()} == {30: 2, 20: 5}


def test_a_note_costs_45_vbytes() -> None:
    _, tx = deposit()
    assert tx.vsize - replace(tx, outputs=tx.outputs[:1]).vsize == 45


def test_the_note_hides_receiver_and_committee() -> None:
    of, tx = deposit()
    script = tx.outputs[1].script_pubkey
    assert of.request.receiver not in script
    assert of.committee not in script
    assert KEY.xonly not in script


def test_a_refund_of_what_was_found(embedded: EmbeddedNode) -> None:
    """From the first block to the refund; one block early the node refuses."""
    wallet = Wallet(KEY, embedded, 2.0)
    embedded.mine(2, wallet.script_pubkey)
    embedded.mine(100)
    asked = builders.request()
    prepared, setup = depositor.deposit(wallet, asked, builders.members(asked))
    embedded.broadcast(prepared.tx)
    embedded.mine()
    height = embedded.height()
    (found,) = recovery.search(embedded, KEY.xonly, 0)
    assert found.outpoint == setup.outpoint
    assert found.height == height
    assert list(recovery.search(embedded, KEY.xonly, height)) == [found]
    embedded.mine(18)
    refund = depositor.refund_found(wallet, found)
    assert embedded.test([refund.tx]).reason == "non-BIP68-final"
    embedded.mine()
    assert embedded.test([refund.tx]).allowed
    assert verify_inputs(refund.tx, refund.parent.spent) is None
    same = depositor.refund(wallet, setup, KEY)
    assert same.tx.txid == refund.tx.txid
    embedded.broadcast(refund.tx)
    embedded.mine()
    assert list(recovery.search(embedded, KEY.xonly, height)) == [found], "spent, but it was there"
    assert list(recovery.search(embedded, KEY.xonly, height + 1)) == []


def test_a_refund_takes_the_key_that_deposited(embedded: EmbeddedNode) -> None:
    (found,) = recovery.read(deposit()[1], HEIGHT, KEY.xonly)
    with pytest.raises(BadInput, match=r"^depositor key: "):
        depositor.refund_found(Wallet(OTHER, embedded, 2.0), found)


def test_a_birthday_is_a_height_of_the_chain(embedded: EmbeddedNode) -> None:
    embedded.mine(3)
    for birthday in (-1, 4):
        with pytest.raises(BadInput, match=rf"^birthday: '{birthday}' is not a height of the chain, 0 to 3$"):
            list(recovery.search(embedded, KEY.xonly, birthday))
    assert list(recovery.search(embedded, KEY.xonly, 3)) == []


def test_strangers_may_pay_for_the_same_key(embedded: EmbeddedNode) -> None:
    """Whoever made the transaction, a deposit that this key can take back is one."""
    purse = Purse(embedded)
    coin = purse.take()
    of, made = deposit()
    change = TxOut(coin.output.amount - made.outputs[0].amount - 1_000, coin.output.script_pubkey)
    embedded.broadcast(spend([coin], [*made.outputs, change]))
    embedded.mine()
    (found,) = recovery.search(embedded, KEY.xonly, embedded.height())
    assert found.leaf == connectors.deposit(of).script_path("refund")
    assert found.amount < MAX_MONEY
    assert secp.is_xonly(found.depositor)
