"""Taproot: script trees from a stream of leaves, control blocks, output keys and sighashes (BIP341, BIP342)."""

import hashlib
from collections.abc import Iterable, Sequence
from enum import IntEnum
from typing import Final, NamedTuple

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from bitvm_bridge.transaction import Transaction, TxOut
from scripts_tapleaf.script import OP_1, compact_size, push

NUMS_KEY: Final = bytes.fromhex("50929b74c1a04954b78b4b6035e97a5e078a5a0f28ec96d547bfee9ace803ac0")
"""The point `H` of BIP341, lifted from the SHA256 of the generator's encoding: nobody knows its secret key."""
LEAF_VERSION: Final = 0xC0
MAX_DEPTH: Final = 128


class SigHash(IntEnum):
    """Taproot signature hash types (BIP341)."""

    DEFAULT = 0x00
    ALL = 0x01
    NONE = 0x02
    SINGLE = 0x03
    ALL_ANYONECANPAY = 0x81
    NONE_ANYONECANPAY = 0x82
    SINGLE_ANYONECANPAY = 0x83

    @property
    def anyone_can_pay(self) -> bool:
        """Does the signature leave the other inputs open?"""
        return bool(self & 0x80)

    @property
    def output_mode(self) -> "SigHash":
        """ALL, NONE or SINGLE; DEFAULT counts as ALL."""
        return SigHash(self & 3) if self & 3 else SigHash.ALL

    def append_to(self, signature: bytes) -> bytes:
        """The witness element: 64 bytes for DEFAULT, else 65 with the type last."""
        return signature if self is SigHash.DEFAULT else signature + bytes([self])


def tagged_hash(tag: str, *parts: bytes) -> bytes:
    """SHA256(SHA256(tag) ‖ SHA256(tag) ‖ parts) (BIP340)."""
    prefix = hashlib.sha256(tag.encode()).digest()
    state = hashlib.sha256(prefix + prefix)
    for part in parts:
        state.update(part)
    return state.digest()


def leaf_hash(script: bytes, version: int = LEAF_VERSION) -> bytes:
    """`TapLeaf` hash of a script."""
    return tagged_hash("TapLeaf", bytes([version]), compact_size(len(script)), script)


def branch_hash(left: bytes, right: bytes) -> bytes:
    """`TapBranch` hash of two nodes, in lexicographic order."""
    return tagged_hash("TapBranch", *sorted((left, right)))


def p2tr(output_key: bytes) -> bytes:
    """The script of a pay-to-taproot output with this 32-byte output key."""
    return OP_1 + push(output_key)


class _Balanced:
    """Merkle levels over leaf hashes, leaves first; a node without a sibling moves up as it is."""

    def __init__(self, hashes: list[bytes]) -> None:
        self._levels = [hashes]
        while len(level := self._levels[-1]) > 1:
            pairs = [branch_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
            self._levels.append(pairs + level[len(level) & ~1 :])
        self.root = self._levels[-1][0]

    def path(self, index: int) -> list[bytes]:
        """Siblings from the leaf up."""
        siblings = []
        for level in self._levels[:-1]:
            if index ^ 1 < len(level):
                siblings.append(level[index ^ 1])
            index >>= 1
        return siblings


class HashedLeaf(NamedTuple):
    """A leaf whose script is elsewhere: its `TapLeaf` hash, and the bytes that its script has."""

    hash: bytes
    size: int


def hash_leaf(script: bytes | HashedLeaf) -> HashedLeaf:
    """The hash and size of a script, unless that is what it is."""
    return script if isinstance(script, HashedLeaf) else HashedLeaf(leaf_hash(script), len(script))


class ScriptTree:
    """Hashes of a script tree; the scripts themselves pass through once and are not kept.

    `leaves` is a stream of (name, script), or of hashes of scripts. The few leaves in `near` hang beside the root and
    the stream below its other side, so that a leaf which is spent often pays for a short path however many others
    there are.
    Memory: about 100 bytes a leaf and its name.
    """

    def __init__(
        self, leaves: Iterable[tuple[str, bytes | HashedLeaf]], near: Sequence[tuple[str, bytes]] = ()
    ) -> None:
        """Raises BadInput for no leaf at all or for a name used twice."""
        groups: list[list[bytes]] = []
        self._place: dict[str, tuple[int, int]] = {}
        self._sizes: dict[str, int] = {}
        self._hashes: list[list[bytes]] = groups
        for stream in (near, leaves):
            hashes: list[bytes] = []
            for name, script in stream:
                if name in self._place:
                    raise BadInput("leaf name", name, "a name used once in its tree")
                self._place[name] = (len(groups), len(hashes))
                hashed = hash_leaf(script)
                self._sizes[name] = hashed.size
                hashes.append(hashed.hash)
            if hashes:
                groups.append(hashes)
        if not groups:
            raise BadInput("script tree", "no leaf", "at least one leaf")
        self._halves = [_Balanced(hashes) for hashes in groups]
        roots = [half.root for half in self._halves]
        self.root = branch_hash(*roots) if len(roots) == 2 else roots[0]
        self._output: dict[bytes, tuple[bytes, int]] = {}

    @property
    def names(self) -> tuple[str, ...]:
        """Every leaf's name, in the order given, `near` first."""
        return tuple(self._place)

    def leaf_hash(self, name: str) -> bytes:
        """`TapLeaf` hash of a leaf. Raises BadInput for a name that is not in the tree."""
        half, index = self._find(name)
        return self._hashes[half][index]

    def size(self, name: str) -> int:
        """bytes of a leaf's script. Raises BadInput for a name that is not in the tree."""
        self._find(name)
        return self._sizes[name]

    def path(self, name: str) -> list[bytes]:
        """The leaf's siblings from the bottom up, 32 bytes each."""
        half, index = self._find(name)
        siblings = self._halves[half].path(index)
        return siblings if len(self._halves) == 1 else [*siblings, self._halves[1 - half].root]

    def output_key(self, internal_key: bytes) -> tuple[bytes, int]:
        """The tweaked key (32 bytes) and the parity of its y."""
        if internal_key not in self._output:
            self._output[internal_key] = secp.tweak_public_key(internal_key, tap_tweak(internal_key, self.root))
        return self._output[internal_key]

    def script_pubkey(self, internal_key: bytes = NUMS_KEY) -> bytes:
        """The P2TR script (34 bytes)."""
        return p2tr(self.output_key(internal_key)[0])

    def control_block(self, name: str, internal_key: bytes = NUMS_KEY) -> bytes:
        """33 bytes and 32 more for each level above the leaf."""
        parity = self.output_key(internal_key)[1]
        return bytes([LEAF_VERSION | parity]) + internal_key + b"".join(self.path(name))

    def _find(self, name: str) -> tuple[int, int]:
        if name not in self._place:
            raise BadInput("leaf name", name, f"one of {', '.join(self.names[:8])}")
        return self._place[name]


def tap_tweak(internal_key: bytes, root: bytes = b"") -> bytes:
    """`TapTweak` hash; an empty root commits to there being no script path (BIP86)."""
    return tagged_hash("TapTweak", internal_key, root)


def sighash_message(
    tx: Transaction,
    index: int,
    spent: Sequence[TxOut],
    sighash: SigHash = SigHash.DEFAULT,
    leaf: bytes | None = None,
    annex: bytes | None = None,
    code_separator: int = 0xFFFFFFFF,
) -> bytes:
    """The message of BIP341's `SigMsg`, with BIP342's extension where `leaf` (a leaf hash) is given.

    `spent` holds the output that each input spends, in order. Raises BadInput where the number of outputs does not
    match, the input does not exist, or SINGLE has no output of its own.
    """
    if len(spent) != len(tx.inputs):
        raise BadInput("spent outputs", len(spent), f"one for each of {len(tx.inputs)} inputs")
    if not 0 <= index < len(tx.inputs):
        raise BadInput("input index", index, f"below {len(tx.inputs)}")
    message = b"".join(
        (
            bytes([sighash]),
            tx.version.to_bytes(4, "little"),
            tx.lock_time.to_bytes(4, "little"),
            b"" if sighash.anyone_can_pay else _all_inputs(tx, spent),
            _all_outputs(tx) if sighash.output_mode is SigHash.ALL else b"",
            _this_input(tx, index, spent, sighash, leaf is not None, annex),
            _single_output(tx, index) if sighash.output_mode is SigHash.SINGLE else b"",
            b"" if leaf is None else leaf + b"\x00" + code_separator.to_bytes(4, "little"),
        )
    )
    expected = _message_size(sighash, annex is not None, leaf is not None)
    if len(message) != expected:
        raise RuntimeError(f"sighash_message: {len(message)} bytes, BIP341 says {expected}")
    return message


def sighash(
    tx: Transaction,
    index: int,
    spent: Sequence[TxOut],
    sighash: SigHash = SigHash.DEFAULT,
    leaf: bytes | None = None,
    annex: bytes | None = None,
) -> bytes:
    """The 32 bytes that are signed: `TapSighash` of the epoch byte and `sighash_message`."""
    return tagged_hash("TapSighash", b"\x00", sighash_message(tx, index, spent, sighash, leaf, annex))


def _all_inputs(tx: Transaction, spent: Sequence[TxOut]) -> bytes:
    return b"".join(
        hashlib.sha256(b"".join(field)).digest()
        for field in (
            [txin.outpoint.serialize() for txin in tx.inputs],
            [out.amount.to_bytes(8, "little") for out in spent],
            [compact_size(len(out.script_pubkey)) + out.script_pubkey for out in spent],
            [txin.sequence.to_bytes(4, "little") for txin in tx.inputs],
        )
    )


def _all_outputs(tx: Transaction) -> bytes:
    return hashlib.sha256(b"".join(out.serialize() for out in tx.outputs)).digest()


def _this_input(
    tx: Transaction, index: int, spent: Sequence[TxOut], sighash: SigHash, script_path: bool, annex: bytes | None
) -> bytes:
    spend_type = bytes([2 * script_path + (annex is not None)])
    if sighash.anyone_can_pay:
        txin = tx.inputs[index]
        which = txin.outpoint.serialize() + spent[index].serialize() + txin.sequence.to_bytes(4, "little")
    else:
        which = index.to_bytes(4, "little")
    extra = b"" if annex is None else hashlib.sha256(compact_size(len(annex)) + annex).digest()
    return spend_type + which + extra


def _single_output(tx: Transaction, index: int) -> bytes:
    if index >= len(tx.outputs):
        raise BadInput("sighash SINGLE", index, f"an input with an output of its own (below {len(tx.outputs)})")
    return hashlib.sha256(tx.outputs[index].serialize()).digest()


def _message_size(sighash: SigHash, annex: bool, script_path: bool) -> int:
    """The size BIP341 gives, without the epoch byte; only P2TR outputs (34-byte scripts) are ever spent here."""
    size = 174 - 49 * sighash.anyone_can_pay - 32 * (sighash.output_mode is SigHash.NONE) + 32 * annex
    return size + 37 * script_path
