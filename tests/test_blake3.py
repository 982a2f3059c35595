"""BLAKE3 in tapscript against the official vectors, the native library and Bitcoin Core."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf.blake3 import (
    MAX_LENGTH,
    Blake3Script,
    Const,
    Limbs,
    blake3_script,
    digest,
    limb_widths,
    to_limbs,
)
from scripts_tapleaf.blake3._stack import push_all
from scripts_tapleaf.blake3._tables import COMPACT, WIDE
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import (
    MAX_STACK_ITEMS,
    OP_1,
    OP_2DROP,
    OP_DEPTH,
    OP_EQUALVERIFY,
    ScriptError,
    encode_num,
    num,
)
from tests.core import spend_leaf
from tests.vectors import vectors_dir

SIZES = {20: 38_577, 32: 40_162, 64: 44_432, 192: 130_738}
"""Message bytes → bytes of script, limbs of 29 bits to a digest of 160 bits."""
OFFICIAL_LENGTHS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024]
LONG_LENGTHS = [1023]


@cache
def official() -> dict[int, bytes]:
    cases = json.loads((vectors_dir() / "blake3_official.json").read_text())["cases"]
    return {case["input_len"]: bytes.fromhex(case["hash"]) for case in cases}


def official_input(length: int) -> bytes:
    return bytes(index % 251 for index in range(length))


def witness_of(message: bytes, widths: Sequence[int] | None = None) -> list[bytes]:
    chosen = limb_widths(8 * len(message)) if widths is None else widths
    return [encode_num(limb) for limb in reversed(to_limbs(message, chosen))]


def expect(value: bytes) -> bytes:
    """Succeeds where the stack holds the limbs of this digest and nothing else."""
    limbs = to_limbs(value, limb_widths(8 * len(value)))
    return b"".join(num(limb) + OP_EQUALVERIFY for limb in limbs) + OP_DEPTH + num(0) + OP_EQUALVERIFY + OP_1


ACCEPT_ANY_DIGEST = OP_2DROP * 3 + OP_1
"""Succeeds after any hash script that does not fail, so that a refusal is the hash script's own."""


def check_on_core(message: bytes, compiled: Blake3Script, witness: list[bytes]) -> None:
    right = digest(message)
    assert spend_leaf(compiled.script + expect(right), witness)
    wrong = right[:-1] + bytes([right[-1] ^ 128])
    assert not spend_leaf(compiled.script + expect(wrong), witness)


def test_the_official_lengths_of_one_chunk_are_those_tested() -> None:
    assert [length for length in official() if length <= MAX_LENGTH] == OFFICIAL_LENGTHS


@pytest.mark.parametrize(
    "length", [pytest.param(n, marks=[pytest.mark.sweep] if n in LONG_LENGTHS else []) for n in OFFICIAL_LENGTHS]
)
def test_official_vectors_on_core(length: int) -> None:
    script = blake3_script(length).script + expect(official()[length][:20])
    assert spend_leaf(script, witness_of(official_input(length)))


@pytest.mark.parametrize("bits", [8, 128, 248, 256])
@pytest.mark.parametrize("length", [1, 64, 65])
def test_other_digest_sizes_on_core(length: int, bits: int) -> None:
    script = blake3_script(length, digest_bits=bits).script + expect(official()[length][: bits // 8])
    assert spend_leaf(script, witness_of(official_input(length)))


@pytest.mark.parametrize("length", OFFICIAL_LENGTHS)
def test_native_digest_is_the_official_one(length: int) -> None:
    assert digest(official_input(length), 32) == official()[length][:32]


@pytest.mark.parametrize("length", SIZES)
def test_sizes_are_pinned(length: int) -> None:
    assert len(blake3_script(length).script) == SIZES[length]


@pytest.mark.parametrize("length", [20, 64, 65, 192, 400])
def test_the_declared_stack_is_what_a_run_needs(length: int) -> None:
    message = official_input(length)
    compiled = blake3_script(length)
    result = run(compiled.script + expect(digest(message)), witness_of(message))
    assert result.ok, result.error
    assert result.max_depth == compiled.max_stack <= MAX_STACK_ITEMS


@pytest.mark.parametrize("length", [20, 192])
def test_what_lies_below_is_left_alone(length: int) -> None:
    message = official_input(length)
    below = [b"\x01", b"below", b""]
    check = b"".join(num(limb) + OP_EQUALVERIFY for limb in to_limbs(digest(message), limb_widths(160)))
    rest = num(0) + OP_EQUALVERIFY + b"\x05below" + OP_EQUALVERIFY
    compiled = blake3_script(length, reserved=len(below))
    result = run(compiled.script + check + rest, [*below, *witness_of(message)])
    assert result.ok, result.error
    assert result.max_depth == compiled.max_stack + len(below)


def test_reserved_items_choose_the_tables() -> None:
    wide = blake3_script(64)
    assert blake3_script(64, reserved=MAX_STACK_ITEMS - wide.max_stack) == wide
    compact = blake3_script(64, reserved=MAX_STACK_ITEMS - wide.max_stack + 1)
    assert compact.max_stack < wide.max_stack
    check_on_core(official_input(64), compact, witness_of(official_input(64)))
    with pytest.raises(ScriptError, match="no room"):
        blake3_script(64, reserved=MAX_STACK_ITEMS - compact.max_stack + 1)


def cut_messages(most: int) -> st.SearchStrategy[tuple[bytes, tuple[int, ...]]]:
    """A message and widths that hold it."""

    def build(message: bytes, widths: list[int]) -> tuple[bytes, tuple[int, ...]]:
        left, chosen = 8 * len(message), []
        for index in range(left):
            if left:
                chosen.append(min(left, widths[index % len(widths)]))
                left -= chosen[-1]
        return message, tuple(chosen)

    widths = st.lists(st.integers(4, 30), min_size=1, max_size=5)
    return st.builds(build, st.binary(min_size=1, max_size=most), widths)


@settings(max_examples=8, deadline=None)
@given(cut_messages(100))
def test_random_messages_and_widths(case: tuple[bytes, tuple[int, ...]]) -> None:
    message, widths = case
    check_on_core(message, blake3_script(len(message), widths), witness_of(message, widths))


@pytest.mark.sweep
@settings(max_examples=400, deadline=None)
@given(cut_messages(300))
def test_random_messages_and_widths_sweep(case: tuple[bytes, tuple[int, ...]]) -> None:
    message, widths = case
    check_on_core(message, blake3_script(len(message), widths), witness_of(message, widths))


@pytest.mark.parametrize(
    "limb_bits",
    [n if n in (4, 7, 13, 16, 26, 28, 30) else pytest.param(n, marks=pytest.mark.sweep) for n in range(1, 31)],
)
def test_every_limb_width(limb_bits: int) -> None:
    message = official_input(16 if limb_bits < 4 else 66)
    widths = limb_widths(8 * len(message), limb_bits)
    check_on_core(message, blake3_script(len(message), widths), witness_of(message, widths))


@pytest.mark.parametrize("byte", [0x00, 0x0F, 0x80, 0xF0, 0xFF])
@pytest.mark.parametrize("length", [20, 64, 80])
def test_extreme_messages(byte: int, length: int) -> None:
    message = bytes([byte]) * length
    check_on_core(message, blake3_script(length), witness_of(message))


def test_a_state_of_digests_and_field_elements() -> None:
    digests = Limbs(limb_widths(160) * 2)
    elements = [Limbs((26,) * 9 + (20,), 32) for _ in range(2)]
    first, second = official_input(40), b"".join(bytes([7 * n % 256 for n in range(31)]) + b"\x2a" for _ in range(2))
    witness = [
        encode_num(limb) for limb in to_limbs(first[:20], digests.widths[:6]) + to_limbs(first[20:], digests.widths[6:])
    ]
    for at in (0, 32):
        witness += [encode_num(limb) for limb in to_limbs(second[at : at + 32], elements[0].widths)]
    check_on_core(first + second, blake3_script((digests, *elements)), witness[::-1])


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 1), (3, 4), (0, 32), (32, 64), (13, 50), (0, 63), (63, 64), (64, 65), (60, 70), (69, 70)]
)
def test_constant_parts_are_folded(start: int, stop: int) -> None:
    message = official_input(70)
    parts = (Limbs(limb_widths(8 * start)), Const(message[start:stop]), Limbs(limb_widths(8 * (70 - stop))))
    compiled = blake3_script(parts)
    witness = witness_of(message[stop:]) + witness_of(message[:start])
    check_on_core(message, compiled, witness)
    assert len(compiled.script) < len(blake3_script(70).script)


def test_a_constant_message_is_a_constant_digest() -> None:
    message = official_input(100)
    assert spend_leaf(blake3_script((Const(message),)).script + expect(digest(message)), [])


def bad_elements(limb: int, width: int) -> list[bytes]:
    """What is no minimal encoding of a number of `width` bits, near a limb that is one."""
    top = 1 << width
    numbers = [limb + top, limb - top, -1, -limb - 1, top, 2 * top, 2**31 - 1, -(2**31 - 1), limb + 2**32, limb - 2**32]
    padded = encode_num(limb) + (b"\x00" if limb % 256 < 128 or limb == 0 else b"\x00\x00")
    return [*map(encode_num, numbers), padded, b"\x80", b"\x00", b"\x01" * 5, b"\x01" * 80]


LAYOUTS = [
    (20, None),
    (64, None),
    (80, None),
    (66, (30,) * 17 + (18,)),
    (20, (4,) * 40),
    (20, (7,) * 22 + (6,)),
    (20, (28,) * 5 + (20,)),
    (4, (1, 2, 3, 5, 6, 15)),
]


def check_refusals(length: int, widths: tuple[int, ...] | None, places: set[int] | None = None) -> None:
    """No bad element is accepted at any of the places, counted from the deepest limb."""
    message = bytes(37 * index % 256 for index in range(length))
    chosen = limb_widths(8 * length) if widths is None else widths
    script = blake3_script(length, widths).script + ACCEPT_ANY_DIGEST
    good = witness_of(message, chosen)
    assert spend_leaf(script, good)
    for index, width in enumerate(reversed(chosen)):
        if places is None or index in places:
            for bad in bad_elements(int.from_bytes(good[index], "little"), width):
                assert not spend_leaf(script, [*good[:index], bad, *good[index + 1 :]]), (index, width, bad.hex())


@pytest.mark.parametrize(("length", "widths"), LAYOUTS)
def test_limbs_out_of_range_are_refused(length: int, widths: tuple[int, ...] | None) -> None:
    check_refusals(length, widths, places={0, 3, 5})


@pytest.mark.sweep
@pytest.mark.parametrize(("length", "widths"), [*LAYOUTS, *((60, limb_widths(480, bits)) for bits in range(4, 31))])
def test_limbs_out_of_range_are_refused_everywhere(length: int, widths: tuple[int, ...] | None) -> None:
    check_refusals(length, widths)


def test_too_few_limbs_are_refused() -> None:
    script = blake3_script(20).script + ACCEPT_ANY_DIGEST
    witness = witness_of(official_input(20))
    assert spend_leaf(script, witness)
    assert not spend_leaf(script, witness[1:])


def test_trusted_limbs_are_not_checked() -> None:
    message = official_input(20)
    trusted = blake3_script(20, trusted=True)
    assert len(trusted.script) < len(blake3_script(20).script)
    check_on_core(message, trusted, witness_of(message))


def test_limbs_put_together_again_are_the_message() -> None:
    message = official_input(33)
    widths = limb_widths(8 * 33, 26)
    assert sum(widths) == 8 * 33
    value = 0
    for limb, width in zip(reversed(to_limbs(message, widths)), reversed(widths), strict=True):
        value = value << width | limb
    assert value.to_bytes(33, "little") == message


@pytest.mark.parametrize("layout", [WIDE, COMPACT])
def test_tables_that_meet_are_refused(layout: object) -> None:
    assert layout in (WIDE, COMPACT)
    chosen = WIDE if layout is WIDE else COMPACT
    moved = replace(chosen, xor_at=(*chosen.xor_at[:-1], chosen.xor_at[-1] + 1))
    with pytest.raises(ScriptError, match="meets another"):
        _ = moved.values


@given(st.lists(st.none() | st.integers(-300, 300) | st.integers(0, 3), max_size=60))
def test_pushes_and_copies_leave_the_values(values: list[int | None]) -> None:
    stack = run(push_all(values), []).stack
    assert len(stack) == len(values)
    for element, value in zip(stack, values, strict=True):
        assert value is None or element == encode_num(value)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((-1,), "length"),
        ((1025,), "1025 bytes"),
        ((20, (29,) * 6), "174 bits in 20 bytes"),
        ((20, (31, 29, 29, 29, 29, 13)), "31 bits"),
        ((20, (0, 29, 29, 29, 29, 29, 15)), "0 bits"),
        (((Const(b"a"),), (8,)), "widths beside segments"),
        ((20, None, 100), "digest of 100 bits"),
        ((20, None, 0), "digest of 0 bits"),
        ((20, None, 264), "digest of 264 bits"),
        ((20, None, 160, 400), "400 reserved"),
        ((1024, (4,) * 2048), "2048 limbs"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        blake3_script(*arguments)  # type: ignore[arg-type]
