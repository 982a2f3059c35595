"""The two verifiers of a signature, and why they accept codewords and nothing else.

`check_script`. All items wait on the altstack. The n ends are pushed as a pool, then an empty item, the floor. The
openings are fetched and hashed by their near parts: a list of m items above the floor. Another empty item, the mark,
goes on the list; each pick rolls an item and hashes it by its far part, which leaves it uppermost. Then the mark must
lie under exactly as many items as there are picks, and, the mark taken out, the floor under exactly m. Last, m times,
a selector rolls an item, which must equal the item that was uppermost.

* Picks. Hashes are never empty, so the mark and the floor, once rolled, are gone, and what the two comparisons find is
  the mark and the floor. Rolling an item from above the mark would leave too few items above it, rolling one from
  below the floor too many items above that. So the picks are distinct openings, and none has two far parts.
* Selectors. While the list lasts, the uppermost item is an opening. A selector that rolls another opening (or the
  uppermost item itself, which is then compared with the next) uses up the list before the m-th comparison; what
  follows compares the floor with an end, or with what lies below, and fails. So every opening is compared with an end,
  and no end twice, as it is gone from the pool.
* Below the pool lies, by contract, nothing but one signature, which the caller's next opcode checks. A selector that
  takes it leaves an end in its place, which is no signature. A negative depth fails in ROLL.
* Sizes. Every opening has the size of its node, 20 or 32 bytes. Another preimage would be a collision, but the owner
  of a key can start a chain anywhere, from as much as 520 bytes, and so make a witness that no node relays, with every
  proof against it.

Hence a witness is accepted if and only if it opens the chains of a codeword at its distances. All codewords have one
sum of distances; so has everything accepted, and nobody can turn one signature into another codeword without inverting
a hash. This holds for the honest keys that a forger has to do with. That accepted witnesses are codewords holds for
all keys, honest or not: an operator cannot publish what is accepted here and cannot be read.

`read_script` takes the same openings in the order of `read_witness`, pairs each with its end as it is fetched, and
picks pairs. It bounds every selector and takes a set only in rising order. A selector is an index into what is left
when it is used, so those of a set never fall, and r₁ ≤ r₂ ≤ … have the rank r₁ + C(r₂ + 1, 2) + C(r₃ + 2, 3) + ….
Script cannot multiply, but it can check: the limbs of the number are hints, and Σ rank·weight = Σ limb·2^position is
verified bit by bit from the top, where a running sum is doubled and the ranks are added wherever their (constant)
weights have a signed binary digit. If the identity holds, the running sum stays below what is left of the sum, less
than 2^31, so nothing overflows; if it does not, the sum ends different from zero or leaves the range of an operand,
and the script fails. The limbs are range-checked, so exactly one list of limbs is accepted. A codeword that is no
message has a top limb out of range and is unequal to every message.
"""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Final

from scripts_tapleaf.digits import signed_digits
from scripts_tapleaf.script import (
    MAX_STACK_ITEMS,
    OP_0,
    OP_2DROP,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_EQUALVERIFY,
    OP_FROMALTSTACK,
    OP_GREATERTHANOREQUAL,
    OP_HASH160,
    OP_LESSTHAN,
    OP_NOT,
    OP_PICK,
    OP_RIPEMD160,
    OP_ROLL,
    OP_SIZE,
    OP_SUB,
    OP_TOALTSTACK,
    OP_VERIFY,
    OP_WITHIN,
    ScriptError,
    num,
    push,
)
from scripts_tapleaf.winternitz.code import LIMB_BITS, Scheme, limb_count, scheme, witness_item_count
from scripts_tapleaf.winternitz.keys import PublicKey, node_size

STACK_WORK: Final = 3
"""Items beside the pool and what waits: the floor, the mark, and one operator's signature."""


def bundle_capacity(bits: int) -> int:
    """How many signatures one leaf can check: all their items wait on the altstack, beside one pool."""
    return (MAX_STACK_ITEMS - scheme(bits).chains - STACK_WORK) // witness_item_count(bits)


def fit_one_leaf(bits: Sequence[int]) -> bool:
    """Can one leaf check signatures of messages of these sizes? All their items wait beside the largest pool."""
    total = sum(map(witness_item_count, bits))
    return total + max(scheme(size).chains for size in bits) + STACK_WORK <= MAX_STACK_ITEMS


def check_script(keys: Sequence[PublicKey]) -> bytes:
    """Verify one signature for each key and leave nothing; the first key's items are uppermost.

    As many keys as `fit_one_leaf`; nothing but one operator's signature may lie below the items, and the caller's next
    opcode must check it. Raises ScriptError for too many keys or none.
    """
    if not keys or not fit_one_leaf([key.bits for key in keys]):
        raise ScriptError(f"check_script: {len(keys)} signatures, expected 1 to as many as fit 1,000 stack items")
    total = sum(witness_item_count(key.bits) for key in keys)
    return b"".join((OP_TOALTSTACK * total, *map(_check, reversed(keys))))


def _check(key: PublicKey) -> bytes:
    code = scheme(key.bits)
    return b"".join(
        (
            _pool(key),
            OP_0,
            *(OP_FROMALTSTACK + _near_hashes(part) for part in code.near_parts),
            OP_0,
            *(OP_FROMALTSTACK + OP_ROLL + _far_hashes(code, group) for group in code.far_groups),
            num(code.picks) + OP_ROLL + OP_0 + OP_EQUALVERIFY,
            num(code.openings) + OP_PICK + OP_0 + OP_EQUALVERIFY,
            (OP_FROMALTSTACK + OP_ROLL + OP_EQUALVERIFY) * code.openings,
            _drop(code.chains - code.openings + 1),
        )
    )


def read_script(key: PublicKey) -> bytes:
    """Verify one signature and leave the limbs of its message, limb 0 on top, where its limb hints were.

    Limbs are of 29 bits; all but the last are below 2^29, and the last is what is left, out of range for a codeword
    that is no message. The items are those of `read_witness`; nothing below them is touched.
    """
    code = scheme(key.bits)
    waiting = OP_TOALTSTACK * witness_item_count(key.bits)
    ranks = OP_FROMALTSTACK * len(code.sizes)
    return b"".join((_ranks(code), waiting, _pool(key), _match(code), ranks, _identity(code), _drop(len(code.sizes))))


def _pool(key: PublicKey) -> bytes:
    return b"".join(push(end) for end in reversed(key.ends))


def _near_hashes(part: int) -> bytes:
    """An odd distance is one of 32 bytes, before RIPEMD160; an even one is of 20."""
    sized = OP_SIZE + num(node_size(part)) + OP_EQUALVERIFY
    return sized + OP_RIPEMD160 * (part % 2) + OP_HASH160 * (part // 2)


def _far_hashes(code: Scheme, group: int) -> bytes:
    return OP_HASH160 * (group * len(code.near) // 2)


def _match(code: Scheme) -> bytes:
    """Pairs of end and hashed opening, a pair's opening uppermost; pairs picked and hashed on; all compared."""
    pairs = [
        OP_FROMALTSTACK + _add(2 * place) + OP_ROLL + OP_FROMALTSTACK + _near_hashes(part)
        for place, part in enumerate(code.near_parts)
    ]
    roll_pair = OP_DUP + OP_TOALTSTACK + OP_ROLL + OP_FROMALTSTACK + OP_ROLL
    picks = [
        OP_FROMALTSTACK + OP_DUP + OP_ADD + _add(2 * picked + 1) + roll_pair + _far_hashes(code, group)
        for picked, group in enumerate(code.far_groups)
    ]
    return b"".join((*pairs, *picks, OP_EQUALVERIFY * code.openings, _drop(code.chains - code.openings)))


def _ranks(code: Scheme) -> bytes:
    """The rank of every set to the altstack, the first set's last; the items stay."""
    orders = range(2, max(code.sizes) + 1)
    tables = [_rank_table(code, order) for order in reversed(orders)]
    ranks = [
        _rank(code, depths, pool) + OP_TOALTSTACK
        for depths, pool in zip(_selector_depths(code), code.pools, strict=True)
    ]
    return b"".join((*tables, *reversed(ranks), _drop(code.chains * len(orders))))


def _rank_table(code: Scheme, order: int) -> bytes:
    """C(index + order − 1, order), the entry of index 0 uppermost."""
    return b"".join(num(math.comb(index + order - 1, order)) for index in reversed(range(code.chains)))


def _selector_depths(code: Scheme) -> Iterator[list[int]]:
    """For each set, the depths of its selectors below the tables, in the order of their use."""
    tables = code.chains * (max(code.sizes) - 1)
    depth = tables + witness_item_count(code.bits)
    for item_count, sizes in ((2, code.near), (1, code.far)):
        for size in sizes:
            depth -= item_count * size
            yield [depth + item_count * (size - index) - 1 for index in range(size)]


def _rank(code: Scheme, depths: Sequence[int], pool: int) -> bytes:
    """Selectors at these depths, of a set chosen from `pool`, are checked and become its rank."""
    bound = OP_DUP + num(pool - len(depths) + 1) + OP_LESSTHAN + OP_VERIFY
    parts = [_fetch(depths[0]), OP_DUP + OP_0 + OP_GREATERTHANOREQUAL + OP_VERIFY]
    for order, (lower, depth) in enumerate(pairwise(depths), 2):
        parts += [_fetch(depth + 1), OP_DUP, _fetch(lower + 3), OP_GREATERTHANOREQUAL + OP_VERIFY]
        parts += [bound if order == len(depths) else b""]
        parts += [_add(1 + (order - 2) * code.chains), OP_PICK, OP_ADD]
    return b"".join((*parts, bound if len(depths) == 1 else b""))


def _identity(code: Scheme) -> bytes:
    """Σ rank·weight − Σ limb·2^position = 0, from the top bit down; the ranks lie above the limbs."""
    count, limbs = len(code.sizes), limb_count(code.bits)
    parts = [_limb_range(count + limb, limb == limbs - 1) for limb in range(limbs)]
    terms: dict[int, list[bytes]] = {}
    for index, weight in enumerate(code.weights[:-1]):
        for position, digit in signed_digits(weight):
            terms.setdefault(position, []).append(_fetch(count - index) + (OP_ADD if digit > 0 else OP_SUB))
    for limb in range(limbs):
        terms.setdefault(LIMB_BITS * limb, []).append(_fetch(count + 1 + limb) + OP_SUB)
    parts.append(OP_0)
    for position in reversed(range(max(terms) + 1)):
        parts += [OP_DUP + OP_ADD if position < max(terms) else b"", *terms.get(position, [])]
    return b"".join((*parts, OP_NOT, OP_VERIFY))


def _limb_range(depth: int, is_top: bool) -> bytes:
    """A limb is in range; the top one is only not negative."""
    if is_top:
        return _fetch(depth) + OP_0 + OP_GREATERTHANOREQUAL + OP_VERIFY
    return _fetch(depth) + OP_0 + num(1 << LIMB_BITS) + OP_WITHIN + OP_VERIFY


def _fetch(depth: int) -> bytes:
    return num(depth) + OP_PICK


def _add(amount: int) -> bytes:
    return num(amount) + OP_ADD if amount else b""


def _drop(count: int) -> bytes:
    return OP_2DROP * (count // 2) + OP_DROP * (count % 2)
