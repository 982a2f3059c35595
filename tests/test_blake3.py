"""BLAKE3 in tapscript against the official vectors, the native library and Bitcoin Core."""

import json
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf import blake3
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import OP_1, OP_EQUALVERIFY, ScriptError, encode_num, num
from tests.core import spend_leaf
from tests.vectors import vectors_dir

SIZES = {20: 43_703, 32: 45_127, 64: 48_999, 192: 157_070}
"""Message bytes → bytes of script, limbs of 29 bits to a digest of 160 bits."""


def witness_of(message: bytes, widths: tuple[int, ...]) -> list[bytes]:
    limbs = [encode_num(limb) for limb in blake3.to_limbs(message, widths)]
    return [*blake3.hint_items(message, widths), *reversed(limbs)]


def expect(digest: bytes) -> bytes:
    """Succeeds where the limbs on the stack are those of this digest and nothing is below them."""
    limbs = blake3.to_limbs(digest, blake3.limb_widths(8 * len(digest)))
    return b"".join(num(limb) + OP_EQUALVERIFY for limb in limbs) + OP_1


@cache
def official() -> dict[int, bytes]:
    cases = json.loads((vectors_dir() / "blake3_official.json").read_text())["cases"]
    return {case["input_len"]: bytes.fromhex(case["hash"]) for case in cases}


def official_input(length: int) -> bytes:
    return bytes(index % 251 for index in range(length))


@pytest.mark.parametrize("bits", [160, 256])
@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024])
def test_official_vectors_on_core(length: int, bits: int) -> None:
    assert length in official(), "the vector file has changed"
    message = official_input(length)
    compiled = blake3.blake3_script(length, digest_bits=bits)
    script = compiled.script + expect(official()[length][: bits // 8])
    assert spend_leaf(script, witness_of(message, blake3.limb_widths(8 * length)))


def test_every_official_length_of_one_chunk_is_covered() -> None:
    lengths = {length for length in official() if 1 <= length <= blake3.MAX_LENGTH}
    assert lengths == {1, 2, 3, 4, 5, 6, 7, 8, 63, 64, 65, 127, 128, 129, 1023, 1024}


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1024])
def test_native_digest_is_the_official_one(length: int) -> None:
    assert blake3.digest(official_input(length), 32) == official()[length][:32]


@pytest.mark.parametrize("length", SIZES)
def test_sizes_are_pinned(length: int) -> None:
    assert len(blake3.blake3_script(length).script) == SIZES[length]


@pytest.mark.parametrize("length", [20, 64, 65, 192, 1024])
def test_the_declared_stack_is_what_a_run_needs(length: int) -> None:
    message = official_input(length)
    compiled = blake3.blake3_script(length)
    script = compiled.script + expect(blake3.digest(message))
    result = run(script, witness_of(message, blake3.limb_widths(8 * length)))
    assert result.ok, result.error
    assert result.max_depth == compiled.max_stack


def lengths_and_widths(most: int) -> st.SearchStrategy[tuple[bytes, tuple[int, ...]]]:
    def build(message: bytes, width: int) -> tuple[bytes, tuple[int, ...]]:
        return message, blake3.limb_widths(8 * len(message), width)

    return st.builds(build, st.binary(min_size=1, max_size=most), st.integers(18, 30))


def check_on_core(message: bytes, widths: tuple[int, ...]) -> None:
    compiled = blake3.blake3_script(len(message), widths)
    witness = witness_of(message, widths)
    right = blake3.digest(message)
    assert spend_leaf(compiled.script + expect(right), witness)
    wrong = bytes([right[0] ^ 1]) + right[1:]
    assert not spend_leaf(compiled.script + expect(wrong), witness)


@settings(max_examples=12, deadline=None)
@given(lengths_and_widths(130))
def test_random_messages_and_widths(case: tuple[bytes, tuple[int, ...]]) -> None:
    check_on_core(*case)


@pytest.mark.sweep
@settings(max_examples=600, deadline=None)
@given(lengths_and_widths(500))
def test_random_messages_and_widths_sweep(case: tuple[bytes, tuple[int, ...]]) -> None:
    check_on_core(*case)


@pytest.mark.parametrize("pattern", [b"\x00", b"\xff", b"\x0f", b"\xf0", b"\x80", b"\x01"])
@pytest.mark.parametrize("length", [20, 64, 80])
def test_extreme_messages(pattern: bytes, length: int) -> None:
    check_on_core(pattern * length, blake3.limb_widths(8 * length))


def test_limbs_of_several_values_with_short_tops() -> None:
    widths = (29, 29, 29, 29, 29, 15) * 3
    check_on_core(official_input(60), widths)


@pytest.mark.parametrize("length", [20, 80])
@pytest.mark.parametrize("limb", [0, 3, -1])
def test_limbs_out_of_range_are_refused(length: int, limb: int) -> None:
    widths = blake3.limb_widths(8 * length)
    message = official_input(length)
    script = blake3.blake3_script(length).script + expect(blake3.digest(message))
    good = blake3.to_limbs(message, widths)
    top = 1 << widths[limb]
    for bad in (good[limb] + top, good[limb] - top, -1, -good[limb] - 1, 2**31 - 1, -(2**31 - 1), 2**32 + good[limb]):
        limbs = list(good)
        limbs[limb] = bad
        witness = [*blake3.hint_items(message, widths), *(encode_num(value) for value in reversed(limbs))]
        assert not spend_leaf(script, witness), bad


def test_changed_hints_are_refused_unless_they_mean_the_same() -> None:
    message = official_input(20)
    widths = blake3.limb_widths(160)
    script = blake3.blake3_script(20).script + expect(blake3.digest(message))
    witness = witness_of(message, widths)
    hints = blake3.blake3_script(20).hint_count
    assert hints == len(witness) - len(widths) > 0
    for index in range(hints):
        value = int.from_bytes(witness[index], "little")
        changed = [*witness[:index], encode_num(value + 1), *witness[index + 1 :]]
        assert spend_leaf(script, changed) == (min(value + 1, most_of(witness, index, widths)) == value)
        assert not spend_leaf(script, [*witness[:index], b"\x01" * 5, *witness[index + 1 :]])
    assert not spend_leaf(script, witness[1:])
    assert not spend_leaf(script, [b"\x01", *witness])


def most_of(witness: list[bytes], index: int, widths: tuple[int, ...]) -> int:
    """The largest value of hint `index`: the script clamps to it."""
    all_ones = blake3.hint_items(b"\xff" * (sum(widths) // 8), widths)
    return int.from_bytes(all_ones[index], "little")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "length 0"),
        ((1025,), "length 1025"),
        ((20, (29, 29)), "limb widths"),
        ((20, (31, 29, 29, 29, 29, 13)), "limb widths"),
        ((20, None, 100), "digest of 100 bits"),
        ((20, None, 288), "digest of 288 bits"),
        ((20, None, 160, 400), "400 reserved"),
    ],
)
def test_bad_arguments_are_refused(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        blake3.blake3_script(*arguments)  # type: ignore[arg-type]
