"""Transactions: round trips, refusals, and what three other implementations make of the same bytes."""

from dataclasses import replace
from typing import Any

import pbk
import pytest
from bitcoinutils.transactions import Transaction as BitcoinUtilsTransaction
from embit.script import Witness
from embit.transaction import Transaction as EmbitTransaction
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import MAX_MONEY, OutPoint, Transaction, TxIn, TxOut

U32 = st.integers(0, 0xFFFFFFFF)
SCRIPTS = st.binary(max_size=300)
OUTPOINTS = st.builds(OutPoint, st.binary(min_size=32, max_size=32), U32)
WITNESSES = st.lists(st.binary(max_size=300), max_size=4).map(tuple)
INPUTS = st.builds(TxIn, OUTPOINTS, U32, SCRIPTS, WITNESSES)
OUTPUTS = st.builds(TxOut, st.integers(0, MAX_MONEY), SCRIPTS)


def transactions(inputs: st.SearchStrategy[TxIn] = INPUTS, outputs: st.SearchStrategy[TxOut] = OUTPUTS) -> Any:
    return st.builds(
        Transaction,
        U32,
        st.lists(inputs, min_size=1, max_size=4).map(tuple),
        st.lists(outputs, min_size=1, max_size=4).map(tuple),
        U32,
    )


P2TR = st.binary(min_size=32, max_size=32).map(lambda key: b"\x51\x20" + key)
TAPROOT_SPENDS = transactions(
    st.builds(
        TxIn,
        OUTPOINTS,
        U32,
        st.just(b""),
        st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4).map(tuple),
    ),
    st.builds(TxOut, st.integers(0, MAX_MONEY), P2TR),
)

# The example transaction of BIP143, native P2WPKH, signed.
BIP143 = (
    "01000000000102fff7f7881a8099afa6940d42d1e7f6362bec38171ea3edf433541db4e4ad969f00000000494830450221008b9d1dc26ba6a9"
    "cb62127b02742fa9d754cd3bebf337f7a55d114c8e5cdd30be022040529b194ba3f9281a99f2b1c0a19c0489bc22ede944ccf4ecbab4cc618e"
    "f3ed01eeffffffef51e1b804cc89d182d279655c3aa89e815b1b309fe287d9b2b55d57b90ec68a0100000000ffffffff02202cb20600000000"
    "1976a9148280b37df378db99f66f85c95a783a76ac7a6d5988ac9093510d000000001976a9143bde42dbee7e4dbe6a21b2d50ce2f0167faa81"
    "5988ac000247304402203609e17b84f6a7d30c80bfa610b5b4542f32a8a0d5447a12fb1366d7f01cc44a0220573a954c4518331561406f9030"
    "0e8f3358f51928d43c212a8caed02de67eebee0121025476c2e83188368da1ff3e292e7acafcdb3566bb0ad253f62fc70f07aeee635711000000"
)


@given(transactions())
def test_round_trip(tx: Transaction) -> None:
    assert Transaction.parse(tx.serialize()) == tx
    assert Transaction.parse_hex(f" {tx.serialize().hex().upper()}\n") == tx
    stripped = Transaction.parse(tx.serialize_base())
    assert stripped == replace(tx, inputs=tuple(replace(txin, witness=()) for txin in tx.inputs))
    assert stripped.txid == tx.txid
    assert (stripped.wtxid == tx.wtxid) == (not tx.has_witness)


@given(transactions(), st.data())
def test_truncated(tx: Transaction, data: st.DataObject) -> None:
    raw = tx.serialize()
    cut = data.draw(st.integers(0, len(raw) - 1))
    with pytest.raises(BadInput, match="transaction"):
        Transaction.parse(raw[:cut])


@given(transactions(), st.binary(min_size=1, max_size=9))
def test_trailing_bytes(tx: Transaction, extra: bytes) -> None:
    with pytest.raises(BadInput, match=r"left over|truncated|length"):
        Transaction.parse(tx.serialize() + extra)


@given(st.binary(max_size=400))
def test_junk(raw: bytes) -> None:
    refused_or_read_whole(raw)


def refused_or_read_whole(raw: bytes) -> None:
    """Nothing in the bytes may be lost or changed by reading them."""
    try:
        tx = Transaction.parse(raw)
    except BadInput:
        return
    assert tx.serialize() == raw


@given(transactions(), st.data())
def test_flipped_bit(tx: Transaction, data: st.DataObject) -> None:
    raw = bytearray(tx.serialize())
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused_or_read_whole(bytes(raw))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "truncated"),
        ("02000000", "truncated"),
        ("02000000000000000000", "no inputs"),
        ("0200000000010000000000", "no inputs"),
        ("02000000" + "fd0100" + "00" * 36 + "00" + "ffffffff" + "00" + "00000000", "non-canonical"),
        ("02000000" + "feffff0000", "non-canonical"),
        ("02000000" + "ffffffffff00000000", "non-canonical"),
        ("02000000" + "ffffffffffffffffff", "a length of 18446744073709551615"),
        ("02000000" + "01" + "00" * 36 + "fdffff", "a length of 65535"),
        ("02000000" + "0001" + "01" + "00" * 36 + "00" + "ffffffff" + "00" + "00" + "00000000", "without a witness"),
    ],
)
def test_malformed(text: str, reason: str) -> None:
    with pytest.raises(BadInput, match=reason):
        Transaction.parse_hex(text)


@pytest.mark.parametrize("text", ["zz", "0", "0x00", "é"])
def test_not_hex(text: str) -> None:
    with pytest.raises(BadInput, match=r"signed: .* a transaction in hex"):
        Transaction.parse_hex(text, "signed")


def test_published_example() -> None:
    tx = Transaction.parse_hex(BIP143)
    assert tx.serialize().hex() == BIP143
    assert tx.txid_hex == "e8151a2af31c368a35053ddd4bdb285a8595c769a3ad83e0fa02314a602d4609"
    assert (tx.version, tx.lock_time) == (1, 17)
    assert tx.inputs[0].witness == ()
    assert [len(item) for item in tx.inputs[1].witness] == [71, 33]
    assert [out.amount for out in tx.outputs] == [112_340_000, 223_450_000]


@given(transactions())
def test_embit_agrees(tx: Transaction) -> None:
    theirs = EmbitTransaction.parse(tx.serialize())
    assert theirs.txid() == tx.txid[::-1]
    full = len(theirs.serialize())
    for txin in theirs.vin:
        txin.witness = Witness()
    assert tx.weight == 3 * len(theirs.serialize()) + full
    assert [txin.sequence for txin in theirs.vin] == [txin.sequence for txin in tx.inputs]
    assert [out.value for out in theirs.vout] == [out.amount for out in tx.outputs]


@given(TAPROOT_SPENDS)
def test_bitcoinutils_agrees(tx: Transaction) -> None:
    theirs = BitcoinUtilsTransaction.from_raw(tx.serialize())
    assert theirs.get_txid() == tx.txid_hex
    assert theirs.get_wtxid() == tx.wtxid[::-1].hex()
    assert theirs.to_bytes(True) == tx.serialize()
    assert theirs.get_vsize() == tx.vsize


@given(transactions())
def test_core_parses_the_same(tx: Transaction) -> None:
    theirs = pbk.Transaction(tx.serialize())
    assert bytes(theirs) == tx.serialize()
    assert bytes(theirs.txid) == tx.txid
    assert theirs.locktime == tx.lock_time
    assert [(bytes(txin.out_point.txid), txin.out_point.index, txin.sequence) for txin in theirs.inputs] == [
        (txin.outpoint.txid, txin.outpoint.vout, txin.sequence) for txin in tx.inputs
    ]


@pytest.mark.parametrize("padding", range(4))
def test_core_counts_the_same_weight(bitcoind: LaunchedBitcoind, padding: int) -> None:
    """Each remainder of weight modulo 4, so that the rounding of vsize shows."""
    example = Transaction.parse_hex(BIP143)
    tx = example.with_witness(1, (*example.inputs[1].witness, bytes(padding)))
    connection = rpc.from_options(Network.REGTEST, rpcport=bitcoind.port, datadir=bitcoind.datadir)
    decoded = connection.call("decoderawtransaction", tx.serialize().hex())
    connection.close()
    assert (decoded["txid"], decoded["hash"]) == (tx.txid_hex, tx.wtxid[::-1].hex())
    assert (decoded["weight"], decoded["vsize"], decoded["size"]) == (tx.weight, tx.vsize, len(tx.serialize()))


@given(OUTPOINTS)
def test_outpoint_round_trip(outpoint: OutPoint) -> None:
    assert OutPoint.parse(str(outpoint)) == outpoint
    assert len(outpoint.serialize()) == 36


@pytest.mark.parametrize(
    "text",
    ["", "00" * 32, "00" * 32 + ":", "00" * 31 + ":0", "00" * 32 + ":-1", "00" * 32 + ":4294967296", "00" * 32 + ":²",
     "zz" * 32 + ":0", "00" * 32 + ":0:0"],
)  # fmt: skip
def test_bad_outpoint(text: str) -> None:
    with pytest.raises(BadInput, match="coin"):
        OutPoint.parse(text, "coin")


def test_with_witness_changes_one_input_only() -> None:
    example = Transaction.parse_hex(BIP143)
    changed = example.with_witness(0, (b"a",))
    assert changed.inputs[0].witness == (b"a",)
    assert changed.inputs[1] == example.inputs[1]
    assert changed.txid == example.txid
    assert changed.wtxid != example.wtxid
    assert changed.outpoint(1) == OutPoint(example.txid, 1)
