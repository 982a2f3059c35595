"""Version 0 witness programs: P2WPKH and P2WSH outputs, and the digest that their signatures sign (BIP141, BIP143)."""

import hashlib
from typing import Final

from bitvm_bridge.errors import BadInput
from bitvm_bridge.transaction import Transaction, TxOut, hash256
from scripts_tapleaf.hashing import hash160
from scripts_tapleaf.script import (
    OP_0,
    OP_CHECKSIG,
    OP_DUP,
    OP_EQUALVERIFY,
    OP_HASH160,
    compact_size,
    push,
)

SIGHASH_ALL: Final = 1


def p2wpkh(public_key: bytes) -> bytes:
    """The script (22 bytes) that pays to a 33-byte key."""
    return OP_0 + push(hash160(public_key))


def p2wsh(witness_script: bytes) -> bytes:
    """The script (34 bytes) that pays to a script."""
    return OP_0 + push(hashlib.sha256(witness_script).digest())


def is_p2wpkh(script_pubkey: bytes) -> bool:
    """Does it pay to the hash of a key?"""
    return len(script_pubkey) == 22 and script_pubkey[:2] == b"\x00\x14"


def is_p2wsh(script_pubkey: bytes) -> bool:
    """Does it pay to the hash of a script?"""
    return len(script_pubkey) == 34 and script_pubkey[:2] == b"\x00\x20"


def p2wpkh_script_code(script_pubkey: bytes) -> bytes:
    """What a P2WPKH signature commits to in place of a witness script."""
    return OP_DUP + OP_HASH160 + script_pubkey[1:] + OP_EQUALVERIFY + OP_CHECKSIG


def sighash_all(tx: Transaction, index: int, script_code: bytes, amount: int) -> bytes:
    """The 32 bytes that a version 0 signature of type ALL signs (BIP143); `amount` (sat) of the output that is spent.

    Raises BadInput where the input does not exist.
    """
    if not 0 <= index < len(tx.inputs):
        raise BadInput("input index", index, f"below {len(tx.inputs)}")
    txin = tx.inputs[index]
    return hash256(
        b"".join(
            (
                tx.version.to_bytes(4, "little"),
                hash256(b"".join(each.outpoint.serialize() for each in tx.inputs)),
                hash256(b"".join(each.sequence.to_bytes(4, "little") for each in tx.inputs)),
                txin.outpoint.serialize(),
                compact_size(len(script_code)) + script_code,
                amount.to_bytes(8, "little"),
                txin.sequence.to_bytes(4, "little"),
                hash256(b"".join(out.serialize() for out in tx.outputs)),
                tx.lock_time.to_bytes(4, "little"),
                SIGHASH_ALL.to_bytes(4, "little"),
            )
        )
    )


def p2wpkh_sighash(tx: Transaction, index: int, spent: TxOut) -> bytes:
    """The same for an input that spends a P2WPKH output."""
    return sighash_all(tx, index, p2wpkh_script_code(spent.script_pubkey), spent.amount)
