"""Chains of hashes, signatures, and what a signature says.

A chain alternates SHA256 (from an even distance of its end, 20 bytes) and RIPEMD160 (from an odd one, 32 bytes).

Several witnesses may show one codeword: openings of the same near part may stand in any order, and so may picks of the
same far part, and consensus takes a selector with superfluous zeros. None of them says anything else: a signature is
read as the set of (chain, distance) that it reveals, and `read_witness` brings it into the one order that the reader
takes, with the shortest selectors.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scripts_tapleaf.blake3 import limb_widths
from scripts_tapleaf.blake3 import to_limbs as cut
from scripts_tapleaf.hashing import ripemd160
from scripts_tapleaf.script import ScriptError, decode_num, encode_num
from scripts_tapleaf.winternitz.code import LIMB_BITS, Place, Scheme, scheme, witness_item_count

CHAIN_BYTES: Final = 20
SEED_BYTES: Final = 32
_INFO: Final = b"bitvm-bridge/winternitz/2/"


@dataclass(frozen=True)
class SecretKey:
    """The secrets of a key's chains; signs one message, ever, which is for the caller's store to see to."""

    bits: int
    _secrets: tuple[bytes, ...] = field(repr=False)


@dataclass(frozen=True)
class PublicKey:
    """The ends of a key's chains, 20 bytes each."""

    bits: int
    ends: tuple[bytes, ...]

    def __post_init__(self) -> None:
        expected = scheme(self.bits).chains
        if len(self.ends) != expected or any(len(end) != CHAIN_BYTES for end in self.ends):
            raise ScriptError(
                f"Winternitz key: {len(self.ends)} chain ends, expected {expected} of {CHAIN_BYTES} bytes"
            )

    def serialize(self) -> bytes:
        """The ends, one after another."""
        return b"".join(self.ends)

    @classmethod
    def parse(cls, bits: int, raw: bytes) -> Self:
        """Inverse of `serialize`. Raises ScriptError."""
        return cls(bits, tuple(raw[start : start + CHAIN_BYTES] for start in range(0, len(raw), CHAIN_BYTES)))


class Signature(NamedTuple):
    """The places of a codeword and the node that opens each."""

    places: list[Place]
    nodes: list[bytes]


def derive_secret(seed: bytes, instance_id: bytes, slot: int, bits: int = 160) -> SecretKey:
    """The key for value `slot` of an instance: HKDF-SHA256 (RFC 5869), so that no two instances or slots share one.

    Seed and instance id have 32 bytes, the slot is below 2^32. Raises ScriptError.
    """
    if len(seed) != SEED_BYTES or len(instance_id) != SEED_BYTES or not 0 <= slot < 1 << 32:
        raise ScriptError(
            f"derive_secret: seed of {len(seed)} bytes, instance id of {len(instance_id)}, slot {slot}; "
            f"expected {SEED_BYTES}, {SEED_BYTES}, 0 to 2^32 - 1"
        )
    chains = scheme(bits).chains
    info = _INFO + b"/".join((instance_id, slot.to_bytes(4, "big"), bits.to_bytes(2, "big")))
    stream = HKDF(SHA256(), chains * CHAIN_BYTES, None, info).derive(seed)
    return SecretKey(bits, tuple(stream[start : start + CHAIN_BYTES] for start in range(0, len(stream), CHAIN_BYTES)))


def public_key(secret: SecretKey) -> PublicKey:
    """The ends of the chains."""
    length = scheme(secret.bits).length
    return PublicKey(secret.bits, tuple(_hash(start, length, 0) for start in secret._secrets))


def sign(secret: SecretKey, message: bytes) -> list[bytes]:
    """Witness items of `check_script`, deepest first. Raises ScriptError for a message of another size."""
    if 8 * len(message) != secret.bits:
        raise ScriptError(f"sign: message of {len(message)} bytes, expected {secret.bits // 8}")
    return sign_number(secret, int.from_bytes(message, "little"))


def sign_number(secret: SecretKey, number: int) -> list[bytes]:
    """Sign any codeword, also one that is no message. Raises ScriptError where there is none."""
    code = scheme(secret.bits)
    places = code.fill(code.choices(number))
    distances = [code.distance(index, place.far) for index, place in enumerate(places)]
    nodes = [
        _hash(secret._secrets[place.chain], code.length, distance)
        for place, distance in zip(places, distances, strict=True)
    ]
    return [*nodes, *map(encode_num, _selectors(code, places))]


def recover(key: PublicKey, items: Sequence[bytes]) -> bytes:
    """The message of a signature, every chain verified.

    A codeword that is no message gives one byte more. Raises ScriptError for anything that the scripts refuse.
    """
    code = scheme(key.bits)
    places, nodes = _parse(code, items)
    for index, (place, node) in enumerate(zip(places, nodes, strict=True)):
        distance = code.distance(index, place.far)
        if len(node) != node_size(distance):
            raise ScriptError(f"signature: an opening of {len(node)} bytes, expected {node_size(distance)}")
        if _hash(node, distance, 0) != key.ends[place.chain]:
            raise ScriptError(f"signature: the opening of chain {place.chain} does not lead to its end")
    number = code.number(code.choices_of([places[index] for index in code.order(places)]))
    size = code.bits // 8
    return number.to_bytes(size + (number >> code.bits != 0), "little")


def read_witness(bits: int, value: bytes, items: Sequence[bytes]) -> list[bytes]:
    """Witness items of `read_script`, deepest first, from a signature and what `recover` made of it.

    The limbs of the value; a selector and a node for each place; a selector for each pick. A selector is an index into
    what is left when it is used. Raises ScriptError for what is no signature.
    """
    code = scheme(bits)
    signature = _parse(code, items)
    order = code.order(signature.places)
    choices = code.choices_of([signature.places[index] for index in order])
    near, far = choices[: len(code.near)], choices[len(code.near) :]
    selectors = [encode_num(index - taken) for chosen in near for taken, index in enumerate(chosen)]
    nodes = [signature.nodes[place] for place in order]
    openings = [item for pair in zip(selectors, nodes, strict=True) for item in pair]
    picks = [encode_num(index - taken) for chosen in far for taken, index in enumerate(chosen)]
    return [*map(encode_num, reversed(_limbs(bits, value))), *openings, *picks]


def _limbs(bits: int, value: bytes) -> list[int]:
    """Limbs of a message, or of a codeword's number, whose last limb is then out of range."""
    widths = limb_widths(bits, LIMB_BITS)
    top = LIMB_BITS * (len(widths) - 1)
    return [*cut(value[: bits // 8], widths)[:-1], int.from_bytes(value, "little") >> top]


def _selectors(code: Scheme, places: Sequence[Place]) -> list[int]:
    """Depths that `check_script` rolls from: of the picks, below the mark, then of the ends, below the list."""
    depths, picked, waiting = [], list[int](), code.waiting()
    for index in sorted(waiting, key=lambda index: places[index].far):
        if places[index].far:
            depths.append(len(picked) + 1 + waiting.index(index))
            waiting.remove(index)
            picked.insert(0, index)
    pool = list(range(code.chains))
    for done, index in enumerate([*picked, *waiting]):
        depths.append(code.openings - done + 1 + pool.index(places[index].chain))
        pool.remove(places[index].chain)
    return depths


def _parse(code: Scheme, items: Sequence[bytes]) -> Signature:
    """Inverse of `_selectors`, for any order of what is alike. Raises ScriptError for what the scripts refuse."""
    if len(items) != witness_item_count(code.bits):
        raise ScriptError(f"signature of {len(items)} items, expected {witness_item_count(code.bits)}")
    depths = [decode_num(item, minimal=False) for item in items[code.openings :]]
    picked, waiting, far = list[int](), code.waiting(), [0] * code.openings
    for depth, group in zip(depths[: code.picks], code.far_groups, strict=True):
        index = _choose(waiting, depth - len(picked) - 1, "pick")
        far[index] = group
        picked.insert(0, index)
    pool, chains = list(range(code.chains)), [0] * code.openings
    for done, (depth, index) in enumerate(zip(depths[code.picks :], [*picked, *waiting], strict=True)):
        chains[index] = _choose(pool, depth - (code.openings - done) - 1, "selector")
    places = [Place(*pair) for pair in zip(chains, far, strict=True)]
    return Signature(places, list(items[: code.openings]))


def _choose(left: list[int], index: int, name: str) -> int:
    """Take an item out. Raises ScriptError where there is none."""
    if not 0 <= index < len(left):
        raise ScriptError(f"signature: {name} {index}, expected 0 to {len(left) - 1}")
    return left.pop(index)


def node_size(distance: int) -> int:
    """bytes of a chain's node at this distance from the end: SHA256 is what made an odd one."""
    return hashlib.sha256().digest_size if distance % 2 else CHAIN_BYTES


def _hash(node: bytes, distance: int, to: int) -> bytes:
    """From a node at one distance of its chain's end to the node at a smaller distance."""
    for at in range(distance, to, -1):
        node = ripemd160(node) if at % 2 else hashlib.sha256(node).digest()
    return node
