"""Blocks: building those of regtest, and what anyone can check in one alone (work, BIP34, BIP141)."""

from collections.abc import Mapping, Sequence
from typing import Final

from bitvm_bridge.params import Network
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut, hash256
from scripts_tapleaf.script import OP_1, OP_RETURN, compact_size, num

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
MEDIAN_SPAN: Final = 11
"""blocks whose median time a new block must exceed (BIP113)."""
EASIEST: Final[Mapping[Network, int]] = {Network.REGTEST: 0x207FFFFF, Network.SIGNET: 0x1E0377AE}
"""nBits of the least work that a block may have: half of all hashes pass on regtest, one of 4.84 million on signet."""
_VERSION: Final = 0x20000000
_COMMITMENT: Final = bytes.fromhex("aa21a9ed")
_COMMITMENT_SCRIPT: Final = OP_RETURN + b"\x24" + _COMMITMENT
"""How the script of a witness commitment begins (BIP141)."""
_COMMITMENT_SIZE: Final = 38
"""bytes of that script; more may follow."""
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
    height: int, script_pubkey: bytes, value: int, transactions: Sequence[Transaction], extra: int
) -> Transaction:
    """The first transaction: height (BIP34), `value` sat of subsidy and fees, and last the witness commitment (BIP141).

    `extra` tells two blocks with the same contents apart.
    """
    witness_root = merkle_root([bytes(32), *(tx.wtxid for tx in transactions)])
    commitment = _COMMITMENT_SCRIPT + hash256(witness_root + _RESERVED)
    return Transaction(
        version=2,
        inputs=(TxIn(_NO_OUTPOINT, script_sig=num(height) + num(extra), witness=(_RESERVED,)),),
        outputs=(TxOut(value, script_pubkey), TxOut(0, commitment)),
    )


def previous_hash(raw: bytes) -> bytes:
    """Which block a serialised block, or its header, builds on (internal byte order)."""
    return raw[4:36]


def mine_block(previous: bytes, time: int, transactions: Sequence[Transaction]) -> bytes:
    """A serialised block on top of `previous` with enough work for regtest; `transactions` begin with the coinbase."""
    root = merkle_root([tx.txid for tx in transactions])
    header = _VERSION.to_bytes(4, "little") + previous + root + time.to_bytes(4, "little")
    header += EASIEST[Network.REGTEST].to_bytes(4, "little")
    nonce = 0
    while hash256(header + nonce.to_bytes(4, "little"))[-1] > 0x7F:
        nonce += 1
    return serialize(header + nonce.to_bytes(4, "little"), transactions)


def serialize(header: bytes, transactions: Sequence[Transaction]) -> bytes:
    """A block: its header (80 bytes), how many transactions it has, and these."""
    return header + compact_size(len(transactions)) + b"".join(tx.serialize() for tx in transactions)


def target(bits: int) -> int:
    """The highest hash that `nBits` lets pass; 0, which none does, for a negative or an impossible one."""
    size, mantissa = bits >> 24, bits & 0x7FFFFF
    if bits & 0x800000 or mantissa.bit_length() + 8 * (size - 3) > 256:
        return 0
    return mantissa << 8 * (size - 3) if size > 3 else mantissa >> 8 * (3 - size)


def has_work(header: bytes, network: Network) -> bool:
    """Does the hash of an 80-byte header pass its own target, and is that one the network's limit or less?

    Which target the header must have follows from the headers before it, and is not checked.
    """
    claimed = target(int.from_bytes(header[72:76], "little"))
    return int.from_bytes(hash256(header), "little") <= claimed <= target(EASIEST[network])


def flaw(header: bytes, transactions: Sequence[Transaction], height: int, network: Network) -> str:
    """What is wrong with a block that is said to be at `height`; empty for one that its own contents do not betray.

    Checked are the work, the merkle root, the height in the coinbase (BIP34) and the witnesses (BIP141). Whether the
    block is in the best chain, and whether its transactions may spend what they do, is not.
    """
    if not has_work(header, network):
        return "a block without the work that the network asks for"
    txids = [tx.txid for tx in transactions]
    if not txids or len(set(txids)) != len(txids) or merkle_root(txids) != header[36:68]:
        return "a block with another merkle root than its header"
    if height and not transactions[0].inputs[0].script_sig.startswith(num(height)):
        return "a block of another height"
    if not _commits_to_witnesses(transactions):
        return "a block with other witnesses than it commits to"
    return ""


def commitment_index(coinbase: Transaction) -> int | None:
    """Which output commits to the witnesses (BIP141): the last that looks like it; None where none does."""
    found = None
    for index, output in enumerate(coinbase.outputs):
        if output.script_pubkey.startswith(_COMMITMENT_SCRIPT) and len(output.script_pubkey) >= _COMMITMENT_SIZE:
            found = index
    return found


def _commits_to_witnesses(transactions: Sequence[Transaction]) -> bool:
    """Without a commitment no input may have a witness."""
    first, *others = transactions
    index = commitment_index(first)
    if index is None:
        return not any(tx.has_witness for tx in transactions)
    reserved = first.inputs[0].witness
    if len(reserved) != 1 or len(reserved[0]) != len(_RESERVED):
        return False
    committed = first.outputs[index].script_pubkey[len(_COMMITMENT_SCRIPT) : _COMMITMENT_SIZE]
    return hash256(merkle_root([bytes(32), *(tx.wtxid for tx in others)]) + reserved[0]) == committed
