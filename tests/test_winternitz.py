"""Winternitz signatures on Bitcoin Core's consensus: every message, every corruption, and what lies outside."""

import dataclasses
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf import winternitz
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import OP_1, OP_EQUALVERIFY, ScriptError, decode_num, encode_num, num
from tests.core import spend_leaf

SEED, INSTANCE = bytes(range(32)), b"\x01" * 32
BITS = [128, 160, 256]
SIZES = {128: (1_397, 3_473), 160: (1_676, 4_261), 256: (2_578, 7_319)}
"""Message bits → bytes of `check_script` for one key, bytes of `read_script`."""
MOST_WITNESS = {128: 621, 160: 782, 256: 1_173}
"""Message bits → the most bytes of one signature in a witness, lengths included."""


@cache
def secret(bits: int, slot: int = 0) -> winternitz.SecretKey:
    return winternitz.derive_secret(SEED, INSTANCE, slot, bits)


@cache
def public(bits: int, slot: int = 0) -> winternitz.PublicKey:
    return winternitz.public_key(secret(bits, slot))


def checks(key: winternitz.PublicKey, items: list[bytes]) -> bool:
    return spend_leaf(winternitz.check_script([key]) + OP_1, items)


def reads(key: winternitz.PublicKey, value: bytes, items: list[bytes]) -> bool:
    """Does the reader accept and leave the limbs of `value`?"""
    witness = winternitz.read_witness(key.bits, value, items)
    limbs = witness[: winternitz.limb_count(key.bits)][::-1]
    expect = b"".join(num(decode_num(limb)) + OP_EQUALVERIFY for limb in limbs) + OP_1
    return spend_leaf(winternitz.read_script(key) + expect, witness)


def surplus_items(bits: int, value: int) -> list[bytes]:
    """A signature of a number beyond the messages, as only the key's owner can make it."""
    code = winternitz.scheme(bits)
    key = dataclasses.replace(code, bits=bits + 8)
    pool, items = list(range(code.chains))[::-1], []
    for index, chosen in enumerate(winternitz._encode(key, value)):
        chains = [pool[depth] for depth in chosen]
        pool = [chain for chain in pool if chain not in chains]
        openings = [winternitz._hash_times(secret(bits)._secrets[chain], index) for chain in chains]
        items += [*map(encode_num, chosen), *reversed(openings)]
    return items


def code_size(bits: int) -> int:
    code = winternitz.scheme(bits)
    largest = [list(range(pool - size, pool)) for pool, size in zip(code.pools, code.sizes, strict=True)]
    return 1 + sum(w * winternitz._rank(c) for w, c in zip(code.weights, largest, strict=True))


@pytest.mark.parametrize("bits", BITS)
def test_sizes_are_pinned(bits: int) -> None:
    check, read = SIZES[bits]
    assert len(winternitz.check_script([public(bits)])) == check
    assert len(winternitz.read_script(public(bits))) == read
    code = winternitz.scheme(bits)
    assert code.chains < 128, "a selector is one byte and its length"
    assert MOST_WITNESS[bits] == code.openings * (21 + 2)


@pytest.mark.parametrize("bits", BITS)
def test_there_is_a_codeword_for_every_message(bits: int) -> None:
    assert 1 << bits <= code_size(bits) < 1 << bits + 1


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", [0, 1, -1, -2])
def test_first_and_last_messages(bits: int, value: int) -> None:
    message = (value % (1 << bits)).to_bytes(bits // 8, "little")
    items = winternitz.sign(secret(bits), message)
    assert winternitz.recover(public(bits), items) == message
    assert checks(public(bits), items)
    assert reads(public(bits), message, items)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(BITS), st.data())
def test_random_messages(bits: int, data: st.DataObject) -> None:
    message = data.draw(st.binary(min_size=bits // 8, max_size=bits // 8))
    items = winternitz.sign(secret(bits), message)
    assert len(items) == winternitz.witness_item_count(bits)
    assert all(len(item) <= 80 for item in items)
    assert winternitz.recover(public(bits), items) == message
    assert checks(public(bits), items)
    assert reads(public(bits), message, items)


@pytest.mark.parametrize("bits", BITS)
def test_surplus_codewords_check_and_read_as_no_message(bits: int) -> None:
    """An operator may sign one; it must not make the reader fail, or nobody could disprove it."""
    for value in (1 << bits, code_size(bits) - 1):
        items = surplus_items(bits, value)
        assert checks(public(bits), items)
        read = winternitz.recover(public(bits), items)
        assert len(read) == bits // 8 + 1
        assert int.from_bytes(read, "little") == value
        assert reads(public(bits), read, items)


def refused_everywhere(key: winternitz.PublicKey, message: bytes, items: list[bytes]) -> None:
    assert not checks(key, items)
    assert not reads(key, message, items)
    with pytest.raises(ScriptError):
        winternitz.recover(key, items)


@pytest.mark.parametrize("bits", BITS)
def test_every_single_item_corruption_is_refused(bits: int) -> None:
    message = bytes(range(7, 7 + bits // 8))
    items = winternitz.sign(secret(bits), message)
    other = winternitz.sign(secret(bits, 1), message)
    for index, item in enumerate(items):
        bad = [other[index]] if len(item) == 20 else [encode_num(decode_num(item) + 1)]
        if len(item) == 20:
            bad += [item[:19], item + b"\x00", b"", bytes(500), winternitz._hash_times(item, 1)]
        else:
            bad += [encode_num(decode_num(item) - 1), b"\x81", encode_num(100), bytes(500), b"\x01" * 5]
        for replacement in bad:
            refused_everywhere(public(bits), message, [*items[:index], replacement, *items[index + 1 :]])


@pytest.mark.parametrize("bits", BITS)
def test_missing_and_extra_items_are_refused(bits: int) -> None:
    message = bytes(bits // 8)
    items = winternitz.sign(secret(bits), message)
    for wrong in (items[1:], items[:-1], [b"\x01", *items], [*items, b"\x01"], items[::-1]):
        refused_everywhere(public(bits), message, wrong)


def test_openings_of_one_hash_count_have_one_order() -> None:
    """The two pairs (selector, opening) of a hash count, exchanged, would be a second witness for the same message."""
    code = winternitz.scheme(160)
    message = bytes(range(20))
    items = winternitz.sign(secret(160), message)
    at = 2 * code.sizes.index(2)
    low, high, second, first = items[at : at + 4]
    assert decode_num(low) < decode_num(high)
    for pairs in ([high, low, first, second], [low, low, second, first], [low, high, first, second]):
        refused_everywhere(public(160), message, [*items[:at], *pairs, *items[at + 4 :]])


def test_selectors_with_superfluous_zeros_mean_the_same() -> None:
    """Consensus takes them, relay policy does not: the message read is the same."""
    message = bytes(range(20))
    items = winternitz.sign(secret(160), message)
    index = next(i for i, item in enumerate(items) if len(item) == 1)
    padded = [*items[:index], items[index] + b"\x00", *items[index + 1 :]]
    assert checks(public(160), padded)
    assert winternitz.recover(public(160), padded) == message
    assert reads(public(160), message, padded)
    assert not run(winternitz.check_script([public(160)]) + OP_1, padded, policy=True).ok


def test_a_reader_takes_only_the_limbs_of_the_message() -> None:
    message = bytes(range(20))
    items = winternitz.sign(secret(160), message)
    witness = winternitz.read_witness(160, message, items)
    script = winternitz.read_script(public(160)) + b"".join([b"\x75"] * 6) + OP_1
    assert spend_leaf(script, witness)
    limbs = [decode_num(item) for item in witness[:6]]
    carried = [limbs[0], limbs[1], limbs[2], limbs[3], limbs[4] - 1, limbs[5] + (1 << 29)]
    for wrong in (
        [limbs[0] + 1, *limbs[1:]],
        [*limbs[:5], limbs[5] + 1],
        carried,
        [limbs[0] - 1, limbs[1] + (1 << 29), *limbs[2:]],
        [0] * 6,
        limbs[::-1],
    ):
        assert not spend_leaf(script, [*map(encode_num, wrong), *witness[6:]])


def test_a_selector_cannot_leave_the_pool() -> None:
    """In a reader of a hostile challenger: an end of its own below the pool, with an opening that fits it."""
    items = winternitz.sign(secret(160), bytes(20))
    forged = winternitz._hash_times(b"\x07" * 20, winternitz.scheme(160).steps)
    for beyond in range(48, 70):
        attempt = [encode_num(beyond), b"\x07" * 20, *items[2:]]
        witness = [forged] * 20 + winternitz.read_witness(160, bytes(20), attempt)
        assert not spend_leaf(winternitz.read_script(public(160)) + b"\x6d" * 13 + OP_1, witness)


@pytest.mark.parametrize("count", [2, 5, winternitz.bundle_capacity(160)])
def test_bundles(count: int) -> None:
    keys = [public(160, slot) for slot in range(count)]
    messages = [bytes([slot]) * 20 for slot in range(count)]
    signatures = [winternitz.sign(secret(160, slot), message) for slot, message in enumerate(messages)]
    witness = [item for signature in reversed(signatures) for item in signature]
    script = winternitz.check_script(keys) + OP_1
    assert spend_leaf(script, witness)
    result = run(script, witness)
    assert result.ok
    assert result.max_depth <= 1000
    swapped = [item for signature in signatures for item in signature]
    assert not spend_leaf(script, swapped)
    half = len(witness) // 2
    assert not spend_leaf(script, [*witness[:half], b"\x55" * 20, *witness[half + 1 :]])
    for slot in (0, count - 1):
        assert reads(keys[slot], messages[slot], signatures[slot])


def test_bundles_have_a_limit() -> None:
    capacity = winternitz.bundle_capacity(160)
    with pytest.raises(ScriptError, match="signatures"):
        winternitz.check_script([public(160)] * (capacity + 1))
    with pytest.raises(ScriptError, match="signatures"):
        winternitz.check_script([])


def test_keys_are_pinned_and_never_shared() -> None:
    """A change of derivation would make operators lose their instances."""
    assert public(160).ends[0].hex() == "83a471725f94358875eac664729b764d5157a1ee"
    others = [
        winternitz.derive_secret(SEED, INSTANCE, 1),
        winternitz.derive_secret(SEED, b"\x02" * 32, 0),
        winternitz.derive_secret(bytes(32), INSTANCE, 0),
        winternitz.derive_secret(SEED, INSTANCE, 0, 128),
    ]
    secrets = [set(key._secrets) for key in (secret(160), *others)]
    assert len(set().union(*secrets)) == sum(map(len, secrets))
    assert secret(160)._secrets[0].hex() not in repr(secret(160))
    assert repr(secret(160)._secrets[0]) not in repr(secret(160))


def test_public_keys_round_trip() -> None:
    raw = public(160).serialize()
    assert winternitz.PublicKey.parse(160, raw) == public(160)
    for bad in (raw[:-1], raw + b"\x00", b"", raw + bytes(20)):
        with pytest.raises(ScriptError, match="ends"):
            winternitz.PublicKey.parse(160, bad)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(ScriptError, match="messages of 100 bits"):
        winternitz.scheme(100)
    for size in (0, 19, 21):
        with pytest.raises(ScriptError, match=f"message of {size} bytes"):
            winternitz.sign(secret(160), bytes(size))
