"""Winternitz signatures on Bitcoin Core's consensus: every message, every corruption, and what lies outside."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf import winternitz
from scripts_tapleaf.digits import signed_digits
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import (
    OP_0,
    OP_1,
    OP_2DROP,
    OP_DROP,
    OP_EQUALVERIFY,
    OP_GREATERTHANOREQUAL,
    OP_PICK,
    OP_ROLL,
    OP_SIZE,
    OP_VERIFY,
    ScriptError,
    decode_num,
    encode_num,
    num,
)
from scripts_tapleaf.winternitz import code as codes
from scripts_tapleaf.winternitz import keys as chains
from tests.core import spend_leaf

SEED, INSTANCE = bytes(range(32)), b"\x01" * 32
BITS = [128, 160, 256]
SIZES = {128: (1_211, 653, 3_487), 160: (1_470, 796, 4_321), 256: (2_241, 1_203, 7_485)}
"""Message bits → bytes of `check_script` for one key, of its signature (lengths included), of `read_script`."""
MESSAGE = bytes(range(7, 27))


@cache
def secret(bits: int, slot: int = 0) -> winternitz.SecretKey:
    return winternitz.derive_secret(SEED, INSTANCE, slot, bits)


@cache
def public(bits: int, slot: int = 0) -> winternitz.PublicKey:
    return winternitz.public_key(secret(bits, slot))


def checks(key: winternitz.PublicKey, items: Sequence[bytes]) -> bool:
    return spend_leaf(winternitz.check_script([key]) + OP_1, list(items))


def reads_witness(key: winternitz.PublicKey, witness: Sequence[bytes], value: bytes) -> bool:
    """Does the reader accept and leave the limbs of `value`?"""
    limbs = chains._limbs(key.bits, value)
    expect = b"".join(num(limb) + OP_EQUALVERIFY for limb in limbs) + OP_1
    return spend_leaf(winternitz.read_script(key) + expect, list(witness))


def reads(key: winternitz.PublicKey, items: Sequence[bytes], value: bytes) -> bool:
    return reads_witness(key, winternitz.read_witness(key.bits, value, items), value)


def refused_everywhere(key: winternitz.PublicKey, items: Sequence[bytes], value: bytes) -> None:
    assert not checks(key, items)
    with pytest.raises(ScriptError, match=r"signature|decode_num"):
        winternitz.recover(key, items)
    try:
        witness = winternitz.read_witness(key.bits, value, items)
    except ScriptError:
        return
    assert not reads_witness(key, witness, value)


def node(bits: int, chain: int, distance: int) -> bytes:
    """Any node of a chain, as only the key's owner has it; beyond the end for a negative distance."""
    return chains._hash(secret(bits)._secrets[chain], winternitz.scheme(bits).length, distance)


Opening = tuple[int, int, int]
"""Chain, near part, far group: the far group is 0 for none."""
Item = int | str
"""An item of the checker's stack by name: a place, "mark", "floor", "end of <chain>" or "below"."""


def openings_of(bits: int, number: int) -> list[Opening]:
    """What codeword `number` opens, place by place."""
    code = winternitz.scheme(bits)
    places = code.fill(code.choices(number))
    return [(place.chain, part, place.far) for place, part in zip(places, code.near_parts, strict=True)]


def nodes_of(bits: int, openings: Sequence[Opening]) -> list[bytes]:
    span = len(winternitz.scheme(bits).near)
    return [node(bits, chain, near + far * span) for chain, near, far in openings]


def selectors(
    bits: int, openings: Sequence[Opening], picks: Sequence[Item], partners: Mapping[Item, Item] = MappingProxyType({})
) -> list[bytes]:
    """The depths by which a checker picks `picks` and compares each item with its partner: its chain's end if not said.

    A stack of names, simulated apart from the code under test; it can do what a signer should not.
    """
    code = winternitz.scheme(bits)
    ends = [f"end of {chain}" for chain in range(code.chains)]
    stack: list[Item] = ["mark", *reversed(range(code.openings)), "floor", *ends, "below"]
    depths = []
    for item in picks:
        depths.append(stack.index(item))
        stack.insert(0, stack.pop(depths[-1]))
    stack.remove("mark")
    for _ in range(code.openings):
        item = stack[0]
        partner = partners[item] if item in partners else f"end of {openings[int(item)][0]}"
        depths.append(stack.index(partner))
        stack.remove(partner)
        stack.remove(item)
    return [*map(encode_num, depths)]


def without(script: bytes, part: bytes, replacement: bytes = b"") -> bytes:
    """A weaker script, to show that what it lacks is what stops an attack."""
    assert script.count(part) == 1
    return script.replace(part, replacement)


def chains_of(openings: Sequence[Opening]) -> set[int]:
    return {chain for chain, _, _ in openings}


def in_group_order(openings: Sequence[Opening], rng: random.Random) -> list[int]:
    """Places to pick, alike ones in any order."""
    places = [place for place, (_, _, far) in enumerate(openings) if far]
    return sorted(places, key=lambda place: (openings[place][2], rng.random()))


@pytest.mark.parametrize("bits", BITS)
def test_sizes_are_pinned(bits: int) -> None:
    check, witness, read = SIZES[bits]
    assert len(winternitz.check_script([public(bits)])) == check
    assert len(winternitz.read_script(public(bits))) == read
    assert winternitz.scheme(bits).chains + winternitz.scheme(bits).openings < 128, "a depth is one byte"
    assert sum(1 + len(item) for item in winternitz.sign(secret(bits), bytes(bits // 8))) == witness


@pytest.mark.parametrize("bits", BITS)
def test_there_is_a_codeword_for_every_message(bits: int) -> None:
    assert 1 << bits <= winternitz.scheme(bits).codewords < 1 << bits + 1


@given(st.sampled_from(BITS), st.data())
def test_numbers_and_codewords(bits: int, data: st.DataObject) -> None:
    code = winternitz.scheme(bits)
    number, other = data.draw(st.tuples(*[st.integers(0, code.codewords - 1)] * 2))
    choices = code.choices(number)
    assert code.number(choices) == number
    assert code.choices_of(code.fill(choices)) == choices
    distances = [dict.fromkeys(range(code.chains), 0), dict.fromkeys(range(code.chains), 0)]
    for word, opened in zip((number, other), distances, strict=True):
        for chain, near, far in openings_of(bits, word):
            opened[chain] = near + far * len(code.near)
    differences = [distances[0][chain] - distances[1][chain] for chain in range(code.chains)]
    assert sum(differences) == 0
    assert any(differences) == (number != other)


@pytest.mark.parametrize("bits", BITS)
def test_there_is_no_codeword_beyond_the_last(bits: int) -> None:
    code = winternitz.scheme(bits)
    for number in (-1, code.codewords):
        with pytest.raises(ScriptError, match=f"codeword {number}"):
            code.choices(number)


def test_the_ranks_are_a_numbering() -> None:
    assert [codes.unrank(value, 3) for value in range(5)] == [[0, 1, 2], [0, 1, 3], [0, 2, 3], [1, 2, 3], [0, 1, 4]]
    assert [codes.rank(codes.unrank(value, 4)) for value in range(500)] == list(range(500))


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("value", [0, 1, -1, -2])
def test_first_and_last_messages(bits: int, value: int) -> None:
    message = (value % (1 << bits)).to_bytes(bits // 8, "little")
    items = winternitz.sign(secret(bits), message)
    assert winternitz.recover(public(bits), items) == message
    assert checks(public(bits), items)
    assert reads(public(bits), items, message)


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(BITS), st.data())
def test_random_messages(bits: int, data: st.DataObject) -> None:
    message = data.draw(st.binary(min_size=bits // 8, max_size=bits // 8))
    items = winternitz.sign(secret(bits), message)
    assert len(items) == winternitz.witness_item_count(bits)
    assert all(len(item) <= 80 for item in items)
    assert winternitz.recover(public(bits), items) == message
    assert checks(public(bits), items)
    assert run(winternitz.check_script([public(bits)]) + OP_1, items, policy=True).ok
    assert reads(public(bits), items, message)


@pytest.mark.parametrize("bits", BITS)
def test_surplus_codewords_check_and_read_as_no_message(bits: int) -> None:
    """An operator may sign one; it must not make the reader fail, or nobody could disprove it."""
    for number in (1 << bits, winternitz.scheme(bits).codewords - 1):
        items = winternitz.sign_number(secret(bits), number)
        assert checks(public(bits), items)
        value = winternitz.recover(public(bits), items)
        assert len(value) == bits // 8 + 1
        assert int.from_bytes(value, "little") == number
        assert reads(public(bits), items, value)
        assert not reads_witness(public(bits), winternitz.read_witness(bits, value, items), value[:-1])


@pytest.mark.parametrize("bits", BITS)
def test_every_single_item_corruption_is_refused(bits: int) -> None:
    message = bytes(range(7, 7 + bits // 8))
    items = winternitz.sign(secret(bits), message)
    other = winternitz.sign(secret(bits, 1), message)
    code = winternitz.scheme(bits)
    for index, item in enumerate(items):
        if index < code.openings:
            bad = [other[index], item[:-1], item + b"\x00", b"", bytes(500), chains._hash(item, len(item) % 3, 0)]
        else:
            depth = decode_num(item)
            bad = [*map(encode_num, (depth + 1, depth - 1, 0, -1, -depth, 100, 127)), bytes(500), b"\x01" * 5]
        for replacement in bad:
            if replacement != item:
                refused_everywhere(public(bits), [*items[:index], replacement, *items[index + 1 :]], message)


@pytest.mark.parametrize("bits", BITS)
def test_every_single_item_corruption_is_refused_by_the_reader(bits: int) -> None:
    message = bytes(range(7, 7 + bits // 8))
    witness = winternitz.read_witness(bits, message, winternitz.sign(secret(bits), message))
    script = winternitz.read_script(public(bits)) + OP_DROP * winternitz.limb_count(bits) + OP_1
    assert spend_leaf(script, witness)
    for index, item in enumerate(witness):
        if len(item) >= 20:
            bad = [item[:-1], item + b"\x00", b"", bytes(500)]
        else:
            number = decode_num(item)
            bad = [*map(encode_num, {number + 1, number - 1, -1, -number, 1 << 29} - {number}), bytes(500), b"\1" * 5]
        for replacement in bad:
            assert not spend_leaf(script, [*witness[:index], replacement, *witness[index + 1 :]])


@pytest.mark.parametrize("bits", BITS)
def test_missing_extra_and_exchanged_items_are_refused(bits: int) -> None:
    message = bytes(bits // 8)
    items = winternitz.sign(secret(bits), message)
    wrong = [items[1:], items[:-1], [b"\x01", *items], [*items, b"\x01"], items[::-1], []]
    for first in range(winternitz.scheme(bits).openings - 1):
        wrong.append([*items[:first], items[first + 1], items[first], *items[first + 2 :]])
    for witness in wrong:
        refused_everywhere(public(bits), witness, message)


@pytest.mark.parametrize("seed", range(4))
def test_a_codeword_has_one_reading_however_it_is_laid_out(seed: int) -> None:
    """Openings of one near part and picks of one far part may stand in any order; the message stays the same."""
    rng = random.Random(seed)
    number = rng.getrandbits(160)
    openings = sorted(openings_of(160, number), key=lambda opening: (opening[1], rng.random()))
    items = nodes_of(160, openings) + selectors(160, openings, in_group_order(openings, rng))
    message = number.to_bytes(20, "little")
    signed = winternitz.sign(secret(160), message)
    assert items != signed
    assert checks(public(160), items)
    assert winternitz.recover(public(160), items) == message
    assert winternitz.read_witness(160, message, items) == winternitz.read_witness(160, message, signed)


def with_fitting_limbs(bits: int, items: Sequence[bytes]) -> list[bytes]:
    """A reader's witness with the limbs that these selectors have by the formula of the ranks, allowed or not."""
    code = winternitz.scheme(bits)
    opened = 2 * code.openings
    used = iter([decode_num(item) for item in (*items[:opened:2], *items[opened:])])
    sets = [[next(used) + taken for taken in range(size)] for size in code.sizes]
    value = code.number(sets)
    limbs = chains._limbs(bits, value.to_bytes(bits // 8 + 2, "little"))
    return [*map(encode_num, reversed(limbs)), *items]


def test_a_reader_takes_one_order() -> None:
    """Not two openings of one near part exchanged, nor two picks of one far part: they would be another message."""
    code = winternitz.scheme(160)
    script = winternitz.read_script(public(160)) + OP_2DROP * 3 + OP_1
    items = winternitz.read_witness(160, MESSAGE, winternitz.sign(secret(160), MESSAGE))[winternitz.limb_count(160) :]
    assert spend_leaf(script, with_fitting_limbs(160, items))
    exchanged = []
    parts = [opening[1:] for opening in openings_of(160, int.from_bytes(MESSAGE, "little"))]
    for place in (place for place in range(1, code.openings) if parts[place] == parts[place - 1]):
        at = 2 * place
        low, low_node, high, high_node = items[at - 2 : at + 2]
        pair = [encode_num(decode_num(high) + 1), high_node, low, low_node]
        exchanged.append([*items[: at - 2], *pair, *items[at + 2 :]])
    for pick in (pick for pick in range(1, code.picks) if code.far_groups[pick] == code.far_groups[pick - 1]):
        at = 2 * code.openings + pick
        pair = [encode_num(decode_num(items[at]) + 1), items[at - 1]]
        exchanged.append([*items[: at - 1], *pair, *items[at + 1 :]])
    assert len(exchanged) > code.picks - len(code.far)
    for attack in exchanged:
        assert not spend_leaf(script, with_fitting_limbs(160, attack))
    in_order = OP_GREATERTHANOREQUAL + OP_VERIFY
    weak = script.replace(OP_PICK + in_order, OP_PICK + OP_2DROP)
    assert all(spend_leaf(weak, with_fitting_limbs(160, attack)) for attack in exchanged)


def test_selectors_with_superfluous_zeros_mean_the_same() -> None:
    """Consensus takes them, relay policy does not: the message is the same, and what the reader is given is short."""
    items = winternitz.sign(secret(160), MESSAGE)
    padded = [item + b"\x00" if len(item) == 1 else item for item in items]
    assert checks(public(160), padded)
    assert winternitz.recover(public(160), padded) == MESSAGE
    assert winternitz.read_witness(160, MESSAGE, padded) == winternitz.read_witness(160, MESSAGE, items)
    assert not run(winternitz.check_script([public(160)]) + OP_1, padded, policy=True).ok


def test_a_chain_starts_from_20_bytes_alone() -> None:
    """From 500 bytes, or none, the ends would be right and the witness one that no node relays."""
    code = winternitz.scheme(160)
    hostile = winternitz.SecretKey(160, tuple(bytes(500 * (chain % 2)) for chain in range(code.chains)))
    deepest = (len(code.near), len(code.far))
    rng, seen = random.Random(0), set()
    while len(seen) < 2:
        number = rng.getrandbits(160)
        first = next((chain for chain, *parts in openings_of(160, number) if tuple(parts) == deepest), None)
        if first is None or first % 2 in seen:
            continue
        seen.add(first % 2)
        items = winternitz.sign_number(hostile, number)
        message = number.to_bytes(20, "little")
        assert hostile._secrets[first] in items
        assert not checks(winternitz.public_key(hostile), items)
        assert not reads(winternitz.public_key(hostile), items, message)
        with pytest.raises(ScriptError, match=r"an opening of (0|500) bytes"):
            winternitz.recover(winternitz.public_key(hostile), items)


def test_no_opening_is_picked_twice() -> None:
    """The sum of all distances would be right, and no codeword behind it: it could not be read."""
    openings = openings_of(160, 5)
    picks = in_group_order(openings, random.Random(0))
    assert checks(public(160), nodes_of(160, openings) + selectors(160, openings, picks))
    first, second = picks[0], picks[winternitz.scheme(160).far[0]]
    openings[first] = (*openings[first][:2], 1 + 2)
    openings[second] = (*openings[second][:2], 0)
    again = [first if place == second else place for place in picks]
    items = nodes_of(160, openings) + selectors(160, openings, again)
    refused_everywhere(public(160), items, bytes(20))
    roll_mark = num(len(picks)) + OP_ROLL
    weak = without(winternitz.check_script([public(160)]), roll_mark + OP_0 + OP_EQUALVERIFY, roll_mark + OP_DROP)
    assert spend_leaf(weak.replace(roll_mark, num(len(picks) - 1) + OP_ROLL) + OP_1, items)


def test_no_end_is_picked_as_an_opening() -> None:
    """A hostile key of which one end leads to another by the hashes of a pick: an opening could be left out."""
    code = winternitz.scheme(160)
    rng = random.Random(0)
    drawn = (openings_of(160, rng.getrandbits(160)) for _ in range(1000))
    openings = next(word for word in drawn if not word[0][2] and {0, 1}.isdisjoint(chains_of(word)))
    ends = public(160).ends
    hostile = replace(public(160), ends=(ends[0], node(160, 0, -len(code.near)), *ends[2:]))
    picks: list[Item] = [*in_group_order(openings, random.Random(0))]
    first = int(picks[0])
    openings[first] = (*openings[first][:2], 0)
    nodes = nodes_of(160, openings)
    nodes[0] = bytes(32 if code.near_parts[0] % 2 else 20)
    items = nodes + selectors(160, openings, ["end of 0", *picks[1:]], {"end of 0": "end of 1"})
    assert not checks(hostile, items)
    with pytest.raises(ScriptError, match="pick"):
        winternitz.recover(hostile, items)
    look_at_floor = num(code.openings) + OP_PICK + OP_0 + OP_EQUALVERIFY
    assert spend_leaf(without(winternitz.check_script([hostile]), look_at_floor) + OP_1, items)


def test_openings_are_not_compared_with_each_other() -> None:
    """A hostile key of equal ends: two openings that agree would leave a comparison of two ends."""
    code = winternitz.scheme(160)
    openings = openings_of(160, 5)
    hostile = replace(public(160), ends=(public(160).ends[openings[0][0]],) * code.chains)
    picks = in_group_order(openings, random.Random(0))
    agreeing = [place for place in reversed(range(code.openings)) if not openings[place][2]][:2]
    nodes = nodes_of(160, openings)
    for place in agreeing:
        nodes[place] = node(160, openings[0][0], openings[place][1])
    for partner in ("below", *(f"end of {chain}" for chain in range(code.chains) if chain not in chains_of(openings))):
        items = nodes + selectors(160, openings, picks, {agreeing[0]: agreeing[1], "floor": partner})
        refused_everywhere(hostile, items, bytes(20))


def test_a_selector_that_takes_the_signature_below_leaves_an_end() -> None:
    """The caller checks a signature of 64 bytes next, and an end is none."""
    openings = openings_of(160, 5)
    picks = in_group_order(openings, random.Random(0))
    nodes = nodes_of(160, openings)
    honest = [bytes(64), *nodes, *selectors(160, openings, picks)]
    last = next(place for place in range(len(openings)) if not openings[place][2])
    nodes[last] = b"\x07" * 32
    below = chains._hash(nodes[last], openings[last][1], 0)
    attack = [below, *nodes, *selectors(160, openings, picks, {last: "below"})]
    check = winternitz.check_script([public(160)])
    signature = OP_SIZE + num(64) + OP_EQUALVERIFY + OP_DROP + OP_1
    assert spend_leaf(check + signature, honest)
    assert not spend_leaf(check + signature, attack)
    assert spend_leaf(check + OP_DROP + OP_1, attack)


def test_a_reader_takes_only_the_limbs_of_the_message() -> None:
    witness = winternitz.read_witness(160, MESSAGE, winternitz.sign(secret(160), MESSAGE))
    script = winternitz.read_script(public(160)) + OP_2DROP * 3 + OP_1
    assert spend_leaf(script, witness)
    limbs = [decode_num(item) for item in witness[:6]]
    for wrong in (
        [limbs[0] + 1, *limbs[1:]],
        [*limbs[:5], limbs[5] + 1],
        [*limbs[:4], limbs[4] - 1, limbs[5] + (1 << 29)],
        [limbs[0] - 1, limbs[1] + (1 << 29), *limbs[2:]],
        [limbs[0] + 1, limbs[1] - (1 << 29), *limbs[2:]],
        [0] * 6,
        limbs[::-1],
    ):
        assert not spend_leaf(script, [*map(encode_num, wrong), *witness[6:]])


def test_a_reader_is_not_led_out_of_the_pool() -> None:
    """By a hostile challenger with items of its own below: an end, and an opening that fits it."""
    code = winternitz.scheme(160)
    witness = winternitz.read_witness(160, MESSAGE, winternitz.sign(secret(160), MESSAGE))
    own = b"\x07" * 32
    ends = [chains._hash(own, 1, 0)] * 20
    script = winternitz.read_script(public(160)) + OP_2DROP * 3 + OP_2DROP * 9 + OP_DROP + OP_1
    assert spend_leaf(script, [*ends[1:], *witness])
    for beyond in range(code.chains - 1, code.chains + 20):
        attempt = with_fitting_limbs(160, [encode_num(beyond), own, *witness[8:]])
        assert not spend_leaf(script, [*ends, *attempt])


@pytest.mark.parametrize("bits", BITS)
def test_the_running_sum_of_a_reader_stays_an_operand(bits: int) -> None:
    """Bound of |sum| at each position: what is left of the true sum, and what is added there."""
    code = winternitz.scheme(bits)
    most: dict[int, int] = {}
    for low, high in zip(code.weights, code.weights[1:], strict=False):
        for position, _ in signed_digits(low):
            most[position] = most.get(position, 0) + high // low - 1
    for limb in range(winternitz.limb_count(bits)):
        most[29 * limb] = most.get(29 * limb, 0) + (1 << 29)
    left = 0.0
    for position in range(max(most) + 1):
        assert left + most.get(position, 0) < 1 << 31
        left = (left + most.get(position, 0)) / 2


@pytest.mark.parametrize("size", [2, 5, winternitz.bundle_capacity(160)])
def test_bundles(size: int) -> None:
    keys = [public(160, slot) for slot in range(size)]
    messages = [bytes([slot]) * 20 for slot in range(size)]
    signatures = [winternitz.sign(secret(160, slot), message) for slot, message in enumerate(messages)]
    witness = [item for signature in reversed(signatures) for item in signature]
    script = winternitz.check_script(keys) + OP_1
    assert spend_leaf(script, witness)
    result = run(script, witness)
    assert result.ok
    assert result.max_depth < 1000, "there is room for the operator's signature"
    swapped = [item for signature in signatures for item in signature]
    assert not spend_leaf(script, swapped)
    half = len(witness) // 2
    assert not spend_leaf(script, [*witness[:half], b"\x55" * 20, *witness[half + 1 :]])
    for slot in (0, size - 1):
        assert reads(keys[slot], signatures[slot], messages[slot])


FULL_BUNDLES = ([256] * 8, [256] * 7 + [160] * 2, [160] * 11 + [256], [256] + [160] * 11, [160, 256] * 5)


@pytest.mark.parametrize("widths", FULL_BUNDLES, ids=lambda widths: "-".join(map(str, widths)))
def test_bundles_of_two_widths(widths: list[int]) -> None:
    """With 1,000 items at most, as Core counts them, beside the operator's signature."""
    assert winternitz.fit_one_leaf(widths)
    keys = [public(bits, slot) for slot, bits in enumerate(widths)]
    messages = [bytes([slot]) * (bits // 8) for slot, bits in enumerate(widths)]
    pairs = zip(widths, messages, strict=True)
    signatures = [winternitz.sign(secret(bits, slot), message) for slot, (bits, message) in enumerate(pairs)]
    witness = [b"\x01", *(item for signature in reversed(signatures) for item in signature)]
    script = winternitz.check_script(keys)
    assert spend_leaf(script, witness)
    assert not spend_leaf(script, [b"\x01", *witness[2:], witness[1]])
    for slot in (0, len(widths) - 1):
        assert winternitz.recover(keys[slot], signatures[slot]) == messages[slot]


def test_bundles_have_a_limit() -> None:
    capacity = winternitz.bundle_capacity(160)
    assert capacity == 13
    with pytest.raises(ScriptError, match="signatures"):
        winternitz.check_script([public(160)] * (capacity + 1))
    for widths in ([160] * 14, [256] * 9, [256] * 8 + [160], [256] * 7 + [160] * 3, [256] + [160] * 12):
        assert not winternitz.fit_one_leaf(widths)
        with pytest.raises(ScriptError, match="signatures"):
            winternitz.check_script([public(bits) for bits in widths])
    with pytest.raises(ScriptError, match="signatures"):
        winternitz.check_script([])


def test_keys_are_pinned_and_never_shared() -> None:
    """A change of derivation would make operators lose their instances."""
    assert public(160).ends[0].hex() == "288c120e00f336a5c476ac183b4d78c807b135a7"
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
    for seed, instance, slot in ((SEED[1:], INSTANCE, 0), (SEED, INSTANCE[1:], 0), (SEED, INSTANCE, -1)):
        with pytest.raises(ScriptError, match="derive_secret"):
            winternitz.derive_secret(seed, instance, slot)
    with pytest.raises(ScriptError, match=r"slot 4294967296"):
        winternitz.derive_secret(SEED, INSTANCE, 1 << 32)
