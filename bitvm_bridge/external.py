"""What a key that another wallet holds must sign, as a PSBT; and its signatures, checked before they are used.

A transaction comes here with a placeholder where each signature of that key belongs. What stands beside it in the
witness says the rest: nothing for a key path, script and control block for a leaf.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Final

from bitvm_bridge import psbt, secp, taproot
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, ExternalKey
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.protocol.template import Connector
from bitvm_bridge.psbt import Fields, Psbt
from bitvm_bridge.taproot import LEAF_VERSION, SigHash, leaf_hash
from bitvm_bridge.transaction import Malformed, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded
from scripts_tapleaf.script import compact_size

_CONTROL_BASE: Final = 33
"""bytes of a control block before its path."""


@dataclass(frozen=True)
class Wanted:
    """A signature that is still to be made: for which input, how, and by which leaf (script, control block)."""

    index: int
    sighash: SigHash
    leaf: tuple[bytes, bytes] | None

    @property
    def leaf_hash(self) -> bytes | None:
        """32 bytes, or None for a key path."""
        return None if self.leaf is None else leaf_hash(self.leaf[0])

    def digest(self, funded: Funded) -> bytes:
        """The 32 bytes to sign."""
        return taproot.sighash(funded.tx, self.index, funded.spent, self.sighash, self.leaf_hash)


def is_wanted(item: bytes) -> bool:
    """Does a witness item stand for a signature that is still to be made?"""
    return len(item) in (64, 65) and item[:64] == SIGNATURE_PLACEHOLDER


def wanted(funded: Funded) -> list[Wanted]:
    """Every signature that a transaction still lacks."""
    return list(_wanted(funded.tx))


def _wanted(tx: Transaction) -> Iterator[Wanted]:
    for index, txin in enumerate(tx.inputs):
        if txin.witness and is_wanted(txin.witness[0]):
            sighash = SigHash(txin.witness[0][64]) if len(txin.witness[0]) == 65 else SigHash.DEFAULT
            leaf = None if len(txin.witness) == 1 else (txin.witness[-2], txin.witness[-1])
            yield Wanted(index, sighash, leaf)


def can_sign(key: bytes, funded: Funded) -> bool:
    """Is this the x-only key of every signature that a transaction lacks?"""
    return all(
        key in item.leaf[0] if item.leaf else funded.spent[item.index].script_pubkey == wallet_script(key)
        for item in wanted(funded)
    )


def ask(funded: Funded, signers: Sequence[ExternalKey], makes: Iterable[Connector] = ()) -> Psbt:
    """The PSBT by which wallets that hold these keys can see what they sign and sign it.

    `makes` are the connectors of outputs: with their leaves a wallet can check that its key is in one of them.
    """
    asked = {item.index: input_fields(item.sighash, item.leaf, signers) for item in wanted(funded)}
    inputs = [
        {psbt.WITNESS_UTXO: out.serialize()} | asked.get(index, _finished_fields(txin))
        for index, (txin, out) in enumerate(zip(funded.tx.inputs, funded.spent, strict=True))
    ]
    known = {connector.script_pubkey: connector for connector in makes}
    outputs = tuple(_output_fields(out, signers, known.get(out.script_pubkey)) for out in funded.tx.outputs)
    return Psbt(_unsigned(funded.tx), tuple(inputs), outputs)


def _unsigned(tx: Transaction) -> Transaction:
    return replace(tx, inputs=tuple(replace(txin, witness=()) for txin in tx.inputs))


def _finished_fields(txin: TxIn) -> dict[bytes, bytes]:
    """An input that others have signed, or that nobody signs, is not the wallet's to finish."""
    return {psbt.FINAL_WITNESS: txin.serialize_witness()} if txin.witness else {}


def input_fields(
    sighash: SigHash, leaf: tuple[bytes, bytes] | None, signers: Sequence[ExternalKey]
) -> dict[bytes, bytes]:
    """What signers must know of an input: by key path (of the one signer), or by a leaf (script, control block)."""
    fields: dict[bytes, bytes] = {}
    if sighash is not SigHash.DEFAULT:
        fields[psbt.SIGHASH_TYPE] = int(sighash).to_bytes(4, "little")
    if leaf is None:
        (key,) = signers
        return fields | {psbt.TAP_INTERNAL_KEY: key.xonly, psbt.TAP_DERIVATION + key.xonly: _derivation(key, [])}
    script, control = leaf
    derivations = {psbt.TAP_DERIVATION + key.xonly: _derivation(key, [leaf_hash(script)]) for key in signers}
    return (
        fields
        | derivations
        | {
            psbt.TAP_INTERNAL_KEY: control[1:_CONTROL_BASE],
            psbt.TAP_MERKLE_ROOT: merkle_root(script, control),
            psbt.TAP_LEAF_SCRIPT + control: script + bytes([LEAF_VERSION]),
        }
    )


def merkle_root(script: bytes, control: bytes) -> bytes:
    """The root of the tree that a control block says a script is in."""
    node = leaf_hash(script)
    for start in range(_CONTROL_BASE, len(control), 32):
        node = taproot.branch_hash(node, control[start : start + 32])
    return node


def _derivation(key: ExternalKey, leaves: list[bytes]) -> bytes:
    return compact_size(len(leaves)) + b"".join(leaves) + key.origin.serialized


def _output_fields(out: TxOut, signers: Sequence[ExternalKey], connector: Connector | None) -> Fields:
    for key in signers:
        if out.script_pubkey == wallet_script(key.xonly):
            return {
                psbt.OUT_TAP_INTERNAL_KEY: key.xonly,
                psbt.OUT_TAP_DERIVATION + key.xonly: _derivation(key, []),
            }
    if connector is None or connector.stream is not None:
        return {}
    fields = {psbt.OUT_TAP_INTERNAL_KEY: taproot.NUMS_KEY, psbt.OUT_TAP_TREE: _tree(connector)}
    for key in signers:
        if own := [connector.tree.leaf_hash(leaf.name) for leaf in connector.named if key.xonly in leaf.script]:
            fields[psbt.OUT_TAP_DERIVATION + key.xonly] = _derivation(key, own)
    return fields


def _tree(connector: Connector) -> bytes:
    """Each leaf with its depth, in the order of a walk through the tree, left first (BIP371)."""
    return b"".join(
        bytes([len(connector.tree.path(leaf.name)), LEAF_VERSION]) + compact_size(len(leaf.script)) + leaf.script
        for leaf in connector.named
    )


def take(signed: Psbt, funded: Funded, key: bytes) -> Funded:
    """`funded` with the signatures of an x-only key that a PSBT brings, each verified over our own transaction.

    Raises VerificationFailed naming the input and what is wrong: another transaction, no signature, one of another
    key, transaction or sighash type. Nothing else of the PSBT is used.
    """
    if difference := compare(signed.tx, funded.tx):
        raise VerificationFailed(f"PSBT: {difference}")
    tx = funded.tx
    for item in wanted(funded):
        signature = _signature(signed.inputs[item.index], item, key)
        check_signature(item, funded, _signer(item, funded, key), signature)
        tx = tx.with_witness(item.index, (signature, *tx.inputs[item.index].witness[1:]))
    return replace(funded, tx=tx)


def _signer(item: Wanted, funded: Funded, key: bytes) -> bytes:
    """The x-only key that the signature verifies under: a key path's is the output's own."""
    return key if item.leaf else funded.spent[item.index].script_pubkey[2:]


def check_signature(item: Wanted, funded: Funded, key: bytes, signature: bytes) -> None:
    """Raises VerificationFailed unless this witness item is the signature wanted, under an x-only key."""
    where = f"PSBT: input {item.index}, signature"
    found = signature[64:] or b"\x00"
    if len(signature) not in (64, 65) or signature[64:] == b"\x00":
        raise VerificationFailed(f"{where}: {len(signature)} bytes, expected 64, or 65 with a sighash type")
    if found[0] != item.sighash:
        raise VerificationFailed(f"{where}: sighash type {found[0]:#04x}, expected {int(item.sighash):#04x}")
    if not secp.verify(key, item.digest(funded), signature[:64]):
        raise VerificationFailed(f"{where}: not one of key {key.hex()} for this transaction")


def _signature(fields: Fields, item: Wanted, key: bytes) -> bytes:
    """The witness item that a signer has put in, finalised or not."""
    field = psbt.TAP_KEY_SIG if item.leaf_hash is None else psbt.TAP_SCRIPT_SIG + key + item.leaf_hash
    if field in fields:
        return fields[field]
    if psbt.FINAL_WITNESS in fields:
        try:
            witness = psbt.read_witness(fields[psbt.FINAL_WITNESS])
        except Malformed as error:
            raise BadInput(f"PSBT input {item.index} witness", fields[psbt.FINAL_WITNESS], str(error)) from None
        if witness[1:] == (item.leaf or ()) and witness:
            return witness[0]
    raise VerificationFailed(f"PSBT: input {item.index}, signature: none of key {key.hex()}")


def compare(found: Transaction, expected: Transaction) -> str | None:
    """The first field in which a transaction is not the expected one, signatures aside; None where there is none."""
    for name in ("version", "lock_time"):
        if getattr(found, name) != getattr(expected, name):
            return _differs(name.replace("_", " "), getattr(found, name), getattr(expected, name))
    for index, (ours, theirs) in enumerate(zip_longest(expected.inputs, found.inputs)):
        if ours is None or theirs is None:
            return _differs("number of inputs", len(found.inputs), len(expected.inputs))
        for name in ("outpoint", "sequence"):
            if getattr(ours, name) != getattr(theirs, name):
                return _differs(f"input {index}, {name}", getattr(theirs, name), getattr(ours, name))
    for index, (own, other) in enumerate(zip_longest(expected.outputs, found.outputs)):
        if own is None or other is None:
            return _differs("number of outputs", len(found.outputs), len(expected.outputs))
        if own.amount != other.amount:
            return _differs(f"output {index}, amount", other.amount, own.amount)
        if own.script_pubkey != other.script_pubkey:
            return _differs(f"output {index}, script", other.script_pubkey.hex(), own.script_pubkey.hex())
    return None


def _differs(what: str, found: object, expected: object) -> str:
    return f"{what}: {found}, expected {expected}"
