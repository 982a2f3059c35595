"""What a block alone betrays: its work, its merkle root, its height, its witnesses; and Core's kernel says the same."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from bitvm_bridge.chain import blocks
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.kernel import parse_block
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import Transaction, TxOut
from scripts_tapleaf.script import OP_RETURN
from tests.spending import Purse, pay

GENESIS_OF_SIGNET = bytes.fromhex(
    "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e67768f617fc81bc3"
    "888a51323a9fb8aa4b1e5e4a008f4d5fae77031e8ad22203"
)
TARGETS = {
    0x00000000: 0,
    0x01003456: 0,
    0x01123456: 0x12,
    0x02008000: 0x80,
    0x03123456: 0x123456,
    0x04123456: 0x12345600,
    0x04923456: 0,
    0x05009234: 0x92340000,
    0x1D00FFFF: 0xFFFF << 208,
    0x207FFFFF: 0x7FFFFF << 232,
    0x21FFFFFF: 0,
    0x22000001: 1 << 248,
    0x23000001: 0,
    0xFF123456: 0,
}
"""Those of Bitcoin Core's own tests (arith_uint256_tests.cpp), and the limits; 0 for what is negative or too large."""


@pytest.mark.parametrize("bits", TARGETS, ids=hex)
def test_targets(bits: int) -> None:
    assert blocks.target(bits) == TARGETS[bits]


def test_work_is_judged_by_the_network() -> None:
    assert blocks.has_work(GENESIS_OF_SIGNET, Network.SIGNET)
    assert blocks.has_work(GENESIS_OF_SIGNET, Network.REGTEST)
    assert not blocks.has_work(GENESIS_OF_SIGNET[:-1] + b"\x04", Network.SIGNET), "another nonce"
    easy = GENESIS_OF_SIGNET[:72] + blocks.EASIEST[Network.REGTEST].to_bytes(4, "little")
    header = next(
        found for nonce in range(100) if blocks.has_work(found := easy + nonce.to_bytes(4, "little"), Network.REGTEST)
    )
    assert not blocks.has_work(header, Network.SIGNET), "a target above the limit"


HEIGHT = 130
Block = tuple[bytes, tuple[Transaction, ...]]


@pytest.fixture
def block(embedded: EmbeddedNode) -> Block:
    """The block at HEIGHT with two payments: its header, and its transactions."""
    purse = Purse(embedded)
    coins = [purse.take(), purse.take()]
    embedded.mine(HEIGHT - 1 - embedded.height())
    for coin in coins:
        embedded.broadcast(pay(coin))
    embedded.mine(HEIGHT - embedded.height())
    raw = embedded._kernel.raw_block(HEIGHT)
    return raw[: blocks.HEADER_SIZE], parse_block(raw)


def worked(header: bytes, transactions: tuple[Transaction, ...]) -> Block:
    """The same header for other transactions, with work."""
    header = header[:36] + blocks.merkle_root([tx.txid for tx in transactions]) + header[68:76]
    nonces = (header + nonce.to_bytes(4, "little") for nonce in range(1_000))
    return next(found for found in nonces if blocks.has_work(found, Network.REGTEST)), transactions


def with_coinbase(block: Block, change: Callable[[Transaction], Transaction]) -> Block:
    header, (first, *rest) = block
    return worked(header, (change(first), *rest))


def other_reserve(tx: Transaction) -> Transaction:
    return tx.with_witness(0, (b"\x01" * 32,))


def without_commitment(tx: Transaction) -> Transaction:
    return replace(tx, outputs=tx.outputs[:1])


def second_commitment(tx: Transaction) -> Transaction:
    """The last one counts."""
    return replace(tx, outputs=(*tx.outputs, TxOut(0, OP_RETURN + bytes.fromhex("24aa21a9ed") + bytes(32))))


def short_commitment(tx: Transaction) -> Transaction:
    return replace(tx, outputs=(*tx.outputs[:1], TxOut(0, tx.outputs[1].script_pubkey[:-1])))


def trailing_bytes(tx: Transaction) -> Transaction:
    return replace(tx, outputs=(*tx.outputs[:1], TxOut(0, tx.outputs[1].script_pubkey + b"\x01\x02")))


def other_signature(block: Block) -> Block:
    header, (*rest, last) = block
    return header, (*rest, last.with_witness(0, (bytes(64),)))


def repeated(block: Block) -> Block:
    """A block of three and one whose third comes twice have the same merkle root."""
    header, transactions = block
    return header, (*transactions, transactions[-1])


WITNESSES, ROOT = "a block with other witnesses than it commits to", "a block with another merkle root than its header"
FLAWS: dict[str, tuple[Callable[[Block], Block], str]] = {
    "none": (lambda block: block, ""),
    "more after the commitment": (lambda block: with_coinbase(block, trailing_bytes), ""),
    "no work": (
        lambda block: (block[0][:72] + bytes(8), block[1]),
        "a block without the work that the network asks for",
    ),
    "another order": (lambda block: (block[0], (block[1][0], *block[1][:0:-1])), ROOT),
    "none at all": (lambda block: (block[0], ()), ROOT),
    "one missing": (lambda block: (block[0], block[1][:-1]), ROOT),
    "one twice": (repeated, ROOT),
    "another witness": (other_signature, WITNESSES),
    "another reserve": (lambda block: with_coinbase(block, other_reserve), WITNESSES),
    "no reserve": (lambda block: with_coinbase(block, lambda tx: tx.with_witness(0, ())), WITNESSES),
    "a short reserve": (lambda block: with_coinbase(block, lambda tx: tx.with_witness(0, (bytes(31),))), WITNESSES),
    "no commitment": (lambda block: with_coinbase(block, without_commitment), WITNESSES),
    "a second commitment": (lambda block: with_coinbase(block, second_commitment), WITNESSES),
    "a short commitment": (lambda block: with_coinbase(block, short_commitment), WITNESSES),
}


@pytest.mark.parametrize("name", FLAWS)
def test_flaws(block: Block, name: str) -> None:
    change, expected = FLAWS[name]
    assert blocks.flaw(*change(block), HEIGHT, Network.REGTEST) == expected


@pytest.mark.parametrize("height", [1, 16, HEIGHT - 1, HEIGHT + 1, 300])
def test_another_height(block: Block, height: int) -> None:
    assert blocks.flaw(*block, height, Network.REGTEST) == "a block of another height"


def test_every_block_of_a_chain_is_without_flaw(embedded: EmbeddedNode) -> None:
    embedded.mine(130)
    for height in range(131):
        raw = embedded._kernel.raw_block(height)
        assert blocks.flaw(raw[: blocks.HEADER_SIZE], parse_block(raw), height, Network.REGTEST) == ""


def test_a_block_without_witnesses_needs_no_commitment(block: Block) -> None:
    header, (first, *_) = block
    bare = without_commitment(first).with_witness(0, ())
    assert blocks.flaw(*worked(header, (bare,)), HEIGHT, Network.REGTEST) == ""
