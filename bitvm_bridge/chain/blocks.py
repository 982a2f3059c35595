"""Building regtest blocks: coinbase, commitments, proof of work (BIP34, BIP141)."""

from collections.abc import Sequence
from typing import Final

from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut, hash256
from scripts_tapleaf.script import OP_1, OP_RETURN, compact_size, num, push

ANYONE: Final = OP_1
"""The script of a subsidy that nobody asked for."""
HEADER_SIZE: Final = 80
"""bytes."""
MAX_BLOCK_WEIGHT: Final = 4_000_000
"""Weight units (BIP141)."""
COINBASE_WEIGHT: Final = 8_000
"""Weight units that a template leaves for header and coinbase (`-blockreservedweight` of Bitcoin Core)."""
HALVING: Final = 150
"""blocks between halvings on regtest."""
_VERSION: Final = 0x20000000
_EASIEST_TARGET: Final = 0x207FFFFF
"""nBits of every regtest block: half of all hashes are good enough."""
_COMMITMENT: Final = bytes.fromhex("aa21a9ed")
_RESERVED: Final = bytes(32)
_NO_OUTPOINT: Final = OutPoint(bytes(32), 0xFFFFFFFF)


def subsidy(height: int) -> int:
    """sat that a regtest block may create."""
    return 50 * 10**8 >> (height // HALVING)


def merkle_root(hashes: Sequence[bytes]) -> bytes:
    """Bitcoin's merkle root: an odd node is paired with itself."""
    level = list(hashes)
    while len(level) > 1:
        level += level[-1:] * (len(level) % 2)
        level = [hash256(level[i] + level[i + 1]) for i in range(0, len(level), 2)]
    return level[0]


def coinbase(
    height: int, script_pubkey: bytes, fees: int, transactions: Sequence[Transaction], extra: int
) -> Transaction:
    """The first transaction: height (BIP34), subsidy and fees, witness commitment (BIP141).

    `extra` tells two blocks with the same contents apart.
    """
    witness_root = merkle_root([bytes(32), *(tx.wtxid for tx in transactions)])
    commitment = OP_RETURN + push(_COMMITMENT + hash256(witness_root + _RESERVED))
    return Transaction(
        version=2,
        inputs=(TxIn(_NO_OUTPOINT, script_sig=num(height) + num(extra), witness=(_RESERVED,)),),
        outputs=(TxOut(subsidy(height) + fees, script_pubkey), TxOut(0, commitment)),
    )


def previous_hash(raw: bytes) -> bytes:
    """Which block a serialised block, or its header, builds on (internal byte order)."""
    return raw[4:36]


def mine_block(previous: bytes, time: int, transactions: Sequence[Transaction]) -> bytes:
    """A serialised block on top of `previous` with enough work for regtest; `transactions` begin with the coinbase."""
    root = merkle_root([tx.txid for tx in transactions])
    header = _VERSION.to_bytes(4, "little") + previous + root + time.to_bytes(4, "little")
    header += _EASIEST_TARGET.to_bytes(4, "little")
    nonce = 0
    while hash256(header + nonce.to_bytes(4, "little"))[-1] > 0x7F:
        nonce += 1
    body = b"".join(tx.serialize() for tx in transactions)
    return header + nonce.to_bytes(4, "little") + compact_size(len(transactions)) + body
