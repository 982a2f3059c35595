"""One-time signatures from hash chains: cheap to check in Assert, readable in Disprove.

A key is a set of HASH160 chains; its public part is the last element of each. A message is not a list of digits but a
way to spread hash counts over the chains: the script fixes *how many* openings are hashed how often, the message says
*which* chain each of them belongs to. Two different messages need, somewhere, a chain opened earlier than it was, so no
checksum is needed (a constant-composition code; the idea and the figures of the best public versions are in
solving-bitcoin/bitcoin-scripts, knowledge base on Winternitz).

The script pushes every end as a pool. In order of falling hash count, a selector rolls an end out of what is left of
the pool, so that none serves twice; the opening is hashed as often as its place says and must equal that end. Where
several openings share a hash count, their selectors must rise: every message has one witness.

`check_script` does that and nothing more. `read_script` also turns the selectors into the message. A set of selectors
of one hash count, chosen from p ends, has a rank below C(p, c) in the combinatorial number system, and the message is
the number with these ranks as digits of mixed radix. Script cannot multiply, but it can check: the limbs of the message
are hints, and Σ rank·weight = Σ limb·2^position is verified bit by bit from the top, where a running sum is doubled and
the ranks are added wherever their (constant) weights have a signed binary digit. If the identity holds the running sum
stays below what is left of the limbs, so nothing overflows; if it does not, the sum ends different from zero or leaves
the range of an operand, and the script fails. The limbs are range-checked, so exactly one list of limbs is accepted.

There are more ways to spread the counts than messages. An operator may sign such a surplus codeword; it reads as a
value of more than `bits` bits, whose top limb is out of range, and is unequal to every message.

Soundness of the selectors: while ends are rolled out of the pool, `check_script` keeps nothing but the pool above what
the caller left on the stack, and the caller leaves at most a signature; a selector beyond the pool takes that item, no
HASH160 output, and the comparison with the hashed opening fails. `read_script` bounds every selector. A negative
selector fails in ROLL. A selector that is encoded with superfluous zeros means the same number (only relay policy
refuses it). Openings are compared after at least one HASH160 with an end of 20 bytes.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, cached_property
from typing import Final, Self

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from scripts_tapleaf.blake3 import limb_widths
from scripts_tapleaf.blake3 import to_limbs as cut
from scripts_tapleaf.hashing import hash160
from scripts_tapleaf.script import (
    MAX_STACK_ITEMS,
    OP_0,
    OP_1ADD,
    OP_2DROP,
    OP_2DUP,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_EQUALVERIFY,
    OP_FROMALTSTACK,
    OP_GREATERTHANOREQUAL,
    OP_HASH160,
    OP_LESSTHAN,
    OP_NOT,
    OP_OVER,
    OP_PICK,
    OP_ROLL,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_VERIFY,
    OP_WITHIN,
    ScriptError,
    decode_num,
    encode_num,
    num,
    push,
)

CHAIN_BYTES: Final = 20
LIMB_BITS: Final = 29
STACK_WORK: Final = 8
"""Items beside the pool and the signatures: what is being compared, and the operator's signature."""
_INFO: Final = b"bitvm-bridge/winternitz/1/"


@dataclass(frozen=True)
class Scheme:
    """`sizes[i]` openings are hashed `len(sizes) - i` times; the other chains stay closed. Found by search."""

    bits: int
    chains: int
    sizes: tuple[int, ...]

    @property
    def steps(self) -> int:
        """Hashes from a chain's secret to its end."""
        return len(self.sizes)

    @cached_property
    def pools(self) -> tuple[int, ...]:
        """Ends left in the pool when each hash count is chosen for."""
        taken = [sum(self.sizes[:index]) for index in range(len(self.sizes))]
        return tuple(self.chains - count for count in taken)

    @cached_property
    def weights(self) -> tuple[int, ...]:
        """What one unit of each rank is worth in the message's number."""
        products = [1]
        for pool, size in zip(self.pools, self.sizes, strict=True):
            products.append(products[-1] * math.comb(pool, size))
        if products[-1] >> self.bits == 0:
            raise ScriptError(f"scheme of {self.bits} bits: {self.chains} chains have only {products[-1]} codewords")
        return tuple(products[:-1])

    @property
    def openings(self) -> int:
        """Chains that a signature opens."""
        return sum(self.sizes)

    @property
    def left(self) -> int:
        """Chains that a signature leaves closed."""
        return self.chains - self.openings


SCHEMES: Final = {
    128: Scheme(128, 43, (1,) * 21 + (2,) * 3),
    160: Scheme(160, 49, (1,) * 18 + (2,) * 8),
    256: Scheme(256, 74, (1,) * 17 + (2,) * 7 + (3,) * 4 + (4,) * 2),
}


def scheme(bits: int) -> Scheme:
    """The scheme for messages of 128, 160 or 256 bits. Raises ScriptError."""
    if bits not in SCHEMES:
        raise ScriptError(f"Winternitz messages of {bits} bits, expected one of {', '.join(map(str, SCHEMES))}")
    return SCHEMES[bits]


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


def derive_secret(seed: bytes, instance_id: bytes, slot: int, bits: int = 160) -> SecretKey:
    """The key for value `slot` of an instance: HKDF-SHA256 (RFC 5869), so that no two instances or slots share one."""
    chains = scheme(bits).chains
    info = _INFO + b"/".join((instance_id, slot.to_bytes(4, "big"), bits.to_bytes(2, "big")))
    stream = HKDF(SHA256(), chains * CHAIN_BYTES, None, info).derive(seed)
    return SecretKey(bits, tuple(stream[start : start + CHAIN_BYTES] for start in range(0, len(stream), CHAIN_BYTES)))


def public_key(secret: SecretKey) -> PublicKey:
    """The ends of the chains."""
    steps = scheme(secret.bits).steps
    return PublicKey(secret.bits, tuple(_hash_times(start, steps) for start in secret._secrets))


def sign(secret: SecretKey, message: bytes) -> list[bytes]:
    """Witness items, deepest first. Raises ScriptError for a message of another size."""
    code = scheme(secret.bits)
    if 8 * len(message) != code.bits:
        raise ScriptError(f"sign: message of {len(message)} bytes, expected {code.bits // 8}")
    items: list[bytes] = []
    pool = list(range(code.chains))[::-1]
    for index, chosen in enumerate(_encode(code, int.from_bytes(message, "little"))):
        chains = [pool[depth] for depth in chosen]
        pool = [chain for chain in pool if chain not in chains]
        openings = [_hash_times(secret._secrets[chain], index) for chain in chains]
        items += [*map(encode_num, chosen), *reversed(openings)]
    return items


def recover(key: PublicKey, items: Sequence[bytes]) -> bytes:
    """The message of a signature, every chain verified.

    A surplus codeword gives one byte more than a message has. Raises ScriptError for anything that the scripts refuse.
    """
    code = scheme(key.bits)
    if len(items) != witness_item_count(key.bits):
        raise ScriptError(f"signature of {len(items)} items, expected {witness_item_count(key.bits)}")
    ends, value, rest = list(key.ends)[::-1], 0, list(items)
    for index, (size, weight) in enumerate(zip(code.sizes, code.weights, strict=True)):
        chosen = [decode_num(item, minimal=False) for item in rest[:size]]
        openings, rest = rest[size : 2 * size][::-1], rest[2 * size :]
        if sorted(set(chosen)) != chosen or not 0 <= chosen[0] <= chosen[-1] < len(ends):
            raise ScriptError(f"signature: selectors {chosen} of hash count {code.steps - index} are no rising choice")
        for depth, opening in zip(chosen, openings, strict=True):
            if _hash_times(opening, code.steps - index) != ends[depth]:
                raise ScriptError(f"signature: the opening of hash count {code.steps - index} does not match its end")
        ends = [end for depth, end in enumerate(ends) if depth not in chosen]
        value += weight * _rank(chosen)
    size = code.bits // 8
    return value.to_bytes(size + (value >> code.bits != 0), "little")


def witness_item_count(bits: int) -> int:
    """Items of one signature: a selector and an opening for each opened chain."""
    return 2 * scheme(bits).openings


def bundle_capacity(bits: int) -> int:
    """How many signatures one leaf can check: all their items wait on the altstack, beside one pool."""
    code = scheme(bits)
    return (MAX_STACK_ITEMS - code.chains - STACK_WORK) // witness_item_count(bits)


def limb_count(bits: int) -> int:
    """Limbs of a message."""
    return len(limb_widths(bits, LIMB_BITS))


def to_limbs(message: bytes) -> list[int]:
    """A message as `read_script` leaves it: limb 0 first, which is uppermost."""
    return cut(message, limb_widths(8 * len(message), LIMB_BITS))


def check_script(keys: Sequence[PublicKey]) -> bytes:
    """Verify one signature for each key and leave nothing; the first key's items are uppermost.

    At most `bundle_capacity` keys; nothing but one operator's signature may lie below the items (see the module).
    Raises ScriptError for too many keys.
    """
    total = sum(witness_item_count(key.bits) for key in keys)
    if not keys or total + max(scheme(key.bits).chains for key in keys) + STACK_WORK > MAX_STACK_ITEMS:
        raise ScriptError(f"check_script: {len(keys)} signatures, expected 1 to as many as fit 1,000 stack items")
    return b"".join((OP_TOALTSTACK * total, *map(_check, reversed(keys))))


def _check(key: PublicKey) -> bytes:
    code = scheme(key.bits)
    parts = [*map(push, key.ends)]
    for index, size in enumerate(code.sizes):
        for number in range(size):
            rising = OP_ROT + OP_OVER + OP_LESSTHAN + OP_VERIFY if number else b""
            keep = OP_DUP + OP_1ADD if number < size - 1 else b""
            parts += [OP_FROMALTSTACK, rising, keep, OP_ROLL]
        parts += [OP_FROMALTSTACK, OP_HASH160 * (code.steps - index), OP_EQUALVERIFY] * size
    return b"".join((*parts, _drop(code.left)))


def read_witness(bits: int, value: bytes, items: Sequence[bytes]) -> list[bytes]:
    """Witness items of `read_script`, deepest first: the limbs of what `recover` gives, then the signature."""
    number = int.from_bytes(value, "little")
    widths = limb_widths(bits, LIMB_BITS)
    top = LIMB_BITS * (len(widths) - 1)
    limbs = [*cut(value[: bits // 8], widths)[:-1], number >> top]
    return [*map(encode_num, reversed(limbs)), *items]


@cache
def _signed_digits(value: int) -> tuple[tuple[int, int], ...]:
    """(position, ±1) of the digits of the non-adjacent form, which has the fewest."""
    digits, position = [], 0
    while value:
        if value & 1:
            digit = 2 - (value & 3)
            digits.append((position, digit))
            value -= digit
        value >>= 1
        position += 1
    return tuple(digits)


def read_script(key: PublicKey) -> bytes:
    """Verify one signature and leave the limbs of its message, limb 0 on top, where its limb hints were.

    Limbs are of 29 bits; all but the last are below 2^29, and the last is what is left, out of range for a surplus
    codeword. The items are those of `read_witness`.
    """
    code = scheme(key.bits)
    tables = [_rank_table(code, order) for order in range(2, max(code.sizes) + 1)]
    parts = [OP_TOALTSTACK * witness_item_count(key.bits), *tables, *map(push, key.ends)]
    ranks = 0
    for index, size in enumerate(code.sizes):
        parts += [_read_selectors(code.pools[index], size), _match(code.steps - index, size, ranks)]
        parts.append(_rank_script(code, code.pools[index] - size, size, ranks))
        ranks += 1
    parts += [OP_TOALTSTACK * ranks, _drop(code.left + (code.chains + 1) * len(tables)), OP_FROMALTSTACK * ranks]
    return b"".join((*parts, _identity(code), _drop(ranks)))


def _read_selectors(pool: int, size: int) -> bytes:
    """The selectors of one hash count on top, rising, the last one inside the pool."""
    rising = OP_2DUP + OP_LESSTHAN + OP_VERIFY
    selectors = [OP_FROMALTSTACK, *[OP_FROMALTSTACK + rising] * (size - 1)]
    return b"".join((*selectors, OP_DUP, num(pool), OP_LESSTHAN, OP_VERIFY))


def _match(hashes: int, size: int, ranks: int) -> bytes:
    """Roll the selected ends over `ranks` ranks and the selectors, and compare the openings with them."""
    roll = (num(size - 1) + OP_PICK if size > 1 else OP_DUP) + _add(ranks + size) + OP_ROLL
    return b"".join((roll * size, *[OP_FROMALTSTACK, OP_HASH160 * hashes, OP_EQUALVERIFY] * size))


def _rank_table(code: Scheme, order: int) -> bytes:
    """C(s, order) for s from the number of chains down to 0, so that s is a depth."""
    return b"".join(num(math.comb(s, order)) for s in reversed(range(code.chains + 1)))


def _rank_script(code: Scheme, pool: int, size: int, ranks: int) -> bytes:
    """Selectors s₁ < s₂ < … on top become their rank s₁ + C(s₂, 2) + C(s₃, 3) + …"""
    parts = []
    tables = max(code.sizes) - 1
    for order in range(size, 1, -1):
        summed = order < size
        above = (tables - order + 1) * (code.chains + 1) + pool + ranks + order - 1 + summed
        parts += [_add(above), OP_PICK, OP_ADD if summed else b"", OP_SWAP if order > 2 else OP_ADD]
    return b"".join(parts)


def _identity(code: Scheme) -> bytes:
    """Σ rank·weight − Σ limb·2^position = 0, from the top bit down; the ranks lie above the limbs."""
    count, limbs = len(code.sizes), limb_count(code.bits)
    parts = [_limb_range(count, limb, limb == limbs - 1) for limb in range(limbs)]
    terms: dict[int, list[bytes]] = {}
    for index, weight in enumerate(code.weights):
        for position, digit in _signed_digits(weight):
            fetch = num(count - index) + OP_PICK
            terms.setdefault(position, []).append(fetch + (OP_ADD if digit > 0 else OP_SUB))
    for limb in range(limbs):
        terms.setdefault(LIMB_BITS * limb, []).append(num(count + 1 + limb) + OP_PICK + OP_SUB)
    parts.append(OP_0)
    for position in reversed(range(max(terms) + 1)):
        parts += [OP_DUP + OP_ADD if position < max(terms) else b"", *terms.get(position, [])]
    return b"".join((*parts, OP_NOT, OP_VERIFY))


def _limb_range(below: int, limb: int, is_top: bool) -> bytes:
    """A limb under `below` ranks is in range; the top one is only not negative."""
    fetch = num(below + limb) + OP_PICK
    if is_top:
        return fetch + OP_0 + OP_GREATERTHANOREQUAL + OP_VERIFY
    return fetch + OP_0 + num(1 << LIMB_BITS) + OP_WITHIN + OP_VERIFY


def _add(amount: int) -> bytes:
    return num(amount) + OP_ADD if amount else b""


def _drop(count: int) -> bytes:
    return OP_2DROP * (count // 2) + OP_DROP * (count % 2)


def _hash_times(element: bytes, times: int) -> bytes:
    for _ in range(times):
        element = hash160(element)
    return element


def _rank(chosen: Sequence[int]) -> int:
    """Rank of a rising choice in the combinatorial number system."""
    return sum(math.comb(depth, order) for order, depth in enumerate(chosen, 1))


def _unrank(rank: int, size: int) -> list[int]:
    """Inverse of `_rank`."""
    chosen = []
    for order in range(size, 0, -1):
        depth = order - 1
        while math.comb(depth + 1, order) <= rank:
            depth += 1
        rank -= math.comb(depth, order)
        chosen.append(depth)
    return chosen[::-1]


def _encode(code: Scheme, value: int) -> Iterator[list[int]]:
    """The selectors of each hash count for a message's number."""
    for pool, size in zip(code.pools, code.sizes, strict=True):
        value, rank = divmod(value, math.comb(pool, size))
        yield _unrank(rank, size)
