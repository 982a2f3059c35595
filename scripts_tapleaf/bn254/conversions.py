"""Field elements from one form into another: raw limbs, balanced limbs, the one residue in [0, p).

All functions take their limbs from the top of the main stack, limb 0 uppermost, and touch nothing below. What they
compute is exact for whatever limbs they meet, or the script fails. Bounds only decide how much code is written.
"""

from itertools import pairwise
from typing import Final

from scripts_tapleaf.bn254.constants import (
    LIMB_BITS,
    LIMBS,
    MAX_OPERAND,
    Bounds,
    P,
    from_limbs,
    to_limbs,
)
from scripts_tapleaf.bn254.reduction import LIMB_BOUND, carry_out, nearest, split, subtract_if
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.script import (
    DOUBLE,
    OP_0,
    OP_1ADD,
    OP_ABS,
    OP_ADD,
    OP_BOOLOR,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_GREATERTHAN,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_LESSTHAN,
    OP_NEGATE,
    OP_PICK,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_TUCK,
    OP_VERIFY,
    OP_WITHIN,
    PICKS,
    ROLLS,
    ScriptError,
    num,
)

RAW_BITS: Final = 29
"""Bits in a limb of a raw 256-bit value."""
RAW_LIMBS: Final = 9
_BASE: Final = 1 << LIMB_BITS
_HALF: Final = _BASE >> 1


def balance(writer: Writer, bounds: Bounds) -> Bounds:
    """12 limbs → 12 limbs of the same value, of magnitude 2^21 at most; the top limb takes what is left.

    Raises ScriptError where a limb may come too near to 2^31.
    """
    limbs, carry = [], 0
    if max(bounds.limbs[:-1]) <= _HALF:
        return bounds
    if max(bounds.limbs[:-1]) <= 5 * _HALF - 2:
        return _balance_small(writer, bounds)
    for limb in range(LIMBS - 1):
        carry = _balance_limb(writer, bounds.limbs[limb] + carry)
        limbs.append(_HALF if carry else bounds.limbs[limb])
    writer.from_alt(LIMBS - 1)
    return _balanced(bounds, limbs, carry)


def _balanced(bounds: Bounds, limbs: list[int], carry: int) -> Bounds:
    """Bounds with other limbs but the top one, which takes a carry."""
    top = bounds.limbs[-1] + carry
    if top > MAX_OPERAND:
        raise ScriptError(f"balance: top limb of magnitude {top}, expected at most {MAX_OPERAND}")
    known = bounds.value + from_limbs(limbs) >> LIMB_BITS * (LIMBS - 1)
    return Bounds((*limbs, min(top, known)), bounds.value)


def _balance_small(writer: Writer, bounds: Bounds) -> Bounds:
    """The same for limbs of less than 5·2^21: a carry is −2 to 2, or −1 to 1, and is found by comparisons."""
    start = writer.height - LIMBS
    most = 1 if max(bounds.limbs[:-1]) <= 3 * _HALF - 1 else 2
    zero = writer.height + most
    for carry in range(most, -most - 1, -1):
        writer.number(-carry * _BASE)
    for threshold in range(2 * most - 1, 0, -2):
        writer.number(threshold * _HALF)
    for limb in range(LIMBS):
        writer.pick(start + LIMBS - 1 - limb)
        if limb:
            writer.write(OP_ADD, grows=-1)
        if limb < LIMBS - 1:
            nearest(writer, most)
            writer.write(OP_TUCK + num(writer.depth(zero)) + OP_ADD + OP_PICK + OP_ADD)
            writer.peak(2)
        writer.to_alt()
    writer.drop(writer.height - start)
    writer.from_alt(LIMBS)
    return _balanced(bounds, [_HALF] * (LIMBS - 1), most)


def _balance_limb(writer: Writer, most: int) -> int:
    """(next v) → (next + carry), and v − carry·2^22 to the altstack; gives the largest carry. `most`: the largest |v|.

    The magnitude is divided, so that the carry needs no bit for its sign.
    """
    if most + _HALF > MAX_OPERAND:
        raise ScriptError(f"balance: limb of magnitude {most}, expected at most {MAX_OPERAND - _HALF}")
    carry = most + _HALF >> LIMB_BITS
    if not carry:
        writer.to_alt()
        return 0
    writer.write(OP_DUP + OP_0 + OP_LESSTHAN + OP_SWAP + OP_ABS, grows=1)
    writer.peak(1)
    writer.add_number(_HALF)
    split(writer, carry.bit_length())
    writer.add_number(-_HALF)
    writer.write(OP_ROT + OP_IF + OP_NEGATE + OP_TOALTSTACK + OP_SUB, grows=-3)
    writer.write(OP_ELSE + OP_TOALTSTACK + OP_ADD + OP_ENDIF)
    writer.alt += 1
    return carry


def expand(writer: Writer, bits: int = 254) -> Bounds:
    """9 limbs of 29 bits, together of `bits` bits → 12 limbs of 22 bits, none negative.

    Fails for a limb that is negative or has too many bits, so that one value has one expansion. Numbers come out in
    their shortest encoding.

    A limb of 29 bits is cut from its top: a power of two at a time is moved to the limb of 22 bits that it belongs to.
    What is left in the end belongs to a lower one, and is checked to have no more bits than that: more are left of a
    limb that is too large, and a negative one is left as it is.
    """
    writer.number(0)
    for raw in range(RAW_LIMBS):
        start = RAW_BITS * raw
        size = min(RAW_BITS, bits - start)
        cuts = [bit for bit in range(1, size) if (start + bit) % LIMB_BITS == 0]
        _cut_raw_limb(writer, [*cuts, size], start % LIMB_BITS)
    writer.from_alt(LIMBS - 1)
    limbs = tuple(min(_BASE, 1 << max(0, bits - LIMB_BITS * limb)) - 1 for limb in range(LIMBS))
    return Bounds(limbs, (1 << bits) - 1)


def _cut_raw_limb(writer: Writer, cuts: list[int], shift: int) -> None:
    """(limb part) → (part), complete limbs of 22 bits to the altstack.

    `part` is what raw limbs below gave to a limb of 22 bits; this one adds its bits below the first cut, `shift` bits
    up. Its bits from one cut to the next one are further limbs, and those from the last but one on the new part.
    """
    writer.write(OP_SWAP)
    for low, high in reversed(list(pairwise(cuts))):
        writer.write(OP_0 + OP_SWAP, grows=1)
        for bit in reversed(range(high - low)):
            step = OP_1ADD if bit == 0 else num(1 << bit) + OP_ADD
            writer.write(subtract_if(1 << low + bit, OP_SWAP + step + OP_SWAP))
        writer.peak(3)
    writer.write(OP_DUP + OP_0 + num(1 << cuts[0]) + OP_WITHIN + OP_VERIFY)
    writer.peak(3)
    writer.write(DOUBLE * shift)
    writer.peak(1)
    writer.write(ROLLS[len(cuts)] + OP_ADD, grows=-1)
    writer.to_alt(len(cuts) - 1)


def canonical(writer: Writer, bounds: Bounds) -> None:
    """12 limbs of a value of magnitude below 2p → the 12 limbs of its residue in [0, p), of 22 bits, none negative.

    Nothing wrong can be left, whatever the limbs are: only multiples of p are added to the value, and carries move
    from limb to limb exactly, so that the residue modulo p stays; in the end every limb is checked to lie in
    [0, 2^22), the top one not to be negative, and the value to be less than p. There is one such representation. The
    additions make every encoding the shortest one.

    Limbs that keep to `bounds` pass: with them `_is_negative` tells the sign of the value exactly. Where the value may
    be p or more, adding p to a negative one and taking p from another brings it to [−p, p). Then p is added to a
    negative one. Each limb is now in [−2^23, 2^23), so that its carry is from −2 to 1, and the value is in [0, p).

    Raises ScriptError where `bounds` allow 2p or more.
    """
    if bounds.value >= 2 * P:
        raise ScriptError(f"canonical: values up to {bounds.value}, expected less than 2p")
    if bounds.value >= P or max(bounds.limbs) > LIMB_BOUND:
        bounds = balance(writer, bounds)
    if bounds.value >= P:
        prime = _prime_limbs(_HALF - 1)
        _is_negative(writer)
        writer.write(OP_IF, grows=-1)
        _add(writer, prime)
        writer.write(OP_ELSE)
        _add(writer, [-limb for limb in prime])
        writer.write(OP_ENDIF)
        bounds = Bounds(tuple(limb + abs(other) for limb, other in zip(bounds.limbs, prime, strict=True)), P)
    prime = _prime_limbs(_BASE - 1 - LIMB_BOUND)
    _is_negative(writer)
    writer.write(OP_IF, grows=-1)
    _add(writer, prime)
    writer.write(OP_ENDIF)
    for bound, limb in zip(bounds.limbs[:-1], prime, strict=False):
        carry_out(writer, min(limb, 0) - bound - 1, max(limb, 0) + bound + 1)
    writer.from_alt(LIMBS - 1)
    _check_residue(writer)


def _prime_limbs(most: int) -> list[int]:
    """Limbs of p, less than 2^22, of which as many as possible are of magnitude `most` at most."""
    limbs, carry = [], 0
    for limb in to_limbs(P)[:-1]:
        carried = limb + carry
        carry = int(carried >= _BASE - most)
        limbs.append(carried - carry * _BASE)
    return [*limbs, to_limbs(P)[-1] + carry]


def _is_negative(writer: Writer) -> None:
    """(limbs) → (limbs negative)

    Where no limb has more than 22 bits, the limbs below one together are less than its unit. So the value up to this
    limb is negative where the limb is less than 1 or 0, the answer for the limbs below it.
    """
    writer.write(OP_DUP + OP_0 + OP_LESSTHAN, grows=1)
    for limb in range(1, LIMBS):
        writer.write(PICKS[limb + 1], grows=1)
        writer.write(OP_GREATERTHAN, grows=-1)


def _add(writer: Writer, limbs: list[int]) -> None:
    for limb in limbs:
        writer.add_number(limb)
        writer.to_alt()
    writer.from_alt(LIMBS)


def _check_residue(writer: Writer) -> None:
    """(limbs) → (limbs), fails unless they are those of a residue in [0, p)."""
    for limb in range(LIMBS - 1):
        writer.write(PICKS[limb], grows=1)
        writer.write(OP_0 + num(_BASE) + OP_WITHIN + OP_VERIFY, grows=-1)
        writer.peak(3)
    writer.write(PICKS[LIMBS - 1], grows=1)
    writer.write(OP_0 + OP_GREATERTHANOREQUAL + OP_VERIFY, grows=-1)
    writer.peak(2)
    first, *others = to_limbs(P)
    writer.write(OP_DUP, grows=1)
    writer.write(num(first) + OP_LESSTHAN)
    for limb, other in enumerate(others, 1):
        writer.write(PICKS[limb + 1], grows=1)
        _carry_less(writer, other)
    writer.write(OP_VERIFY, grows=-1)


def _carry_less(writer: Writer, other: int) -> None:
    """(less limb) → (less), where `less` tells whether the limbs so far are less than those of a constant."""
    writer.write(num(other) + OP_SUB + OP_GREATERTHAN, grows=-1)
    writer.peak(2)


def below_prime(writer: Writer, modulus: int) -> None:
    """9 limbs of 29 bits of a raw value → one item, true where the value is less than `modulus`.

    The last limb may be anything from 0 up, the others are taken to be in range.
    """
    first, *others = (modulus >> RAW_BITS * limb & (1 << RAW_BITS) - 1 for limb in range(RAW_LIMBS))
    writer.write(num(first) + OP_LESSTHAN)
    writer.peak(1)
    for other in others:
        writer.write(OP_SWAP)
        _carry_less(writer, other)


def any_limb(writer: Writer) -> None:
    """12 limbs of a result of `multiply` → one item, true where the value is not 0 modulo p.

    A result is less than p, so that a multiple of p is 0; and its limbs but the top one are less than 2^22, so that 0
    is 0 in every limb: the lowest one that is not would be a multiple of 2^22.
    """
    writer.write(OP_BOOLOR * (LIMBS - 1), grows=1 - LIMBS)
