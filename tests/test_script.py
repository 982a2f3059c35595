"""Script bytes: numbers, pushes, compact sizes, parsing; against bitcoin-utils, embit and Bitcoin Core."""

import pytest
from bitcoinutils.script import OP_CODES
from bitcoinutils.utils import encode_varint
from embit import compact
from hypothesis import given
from hypothesis import strategies as st

from scripts_tapleaf import script as op
from scripts_tapleaf.script import (
    OP_SUCCESS,
    OPCODE_NAMES,
    Instruction,
    ScriptError,
    compact_size,
    decode_num,
    disassemble,
    encode_num,
    instructions,
    num,
    opcode_name,
    push,
)
from tests.core import spend_leaf

NUMBERS = [
    (0, ""),
    (1, "01"),
    (-1, "81"),
    (127, "7f"),
    (-127, "ff"),
    (128, "8000"),
    (-128, "8080"),
    (255, "ff00"),
    (256, "0001"),
    (-256, "0081"),
    (32_767, "ff7f"),
    (32_768, "008000"),
    (65_535, "ffff00"),
    (2**31 - 1, "ffffff7f"),
    (-(2**31) + 1, "ffffffff"),
    (2**31, "0000008000"),
    (2**39 - 1, "ffffffff7f"),
]
EDGES = [0, 1, 0xFC, 0xFD, 0xFFFF, 0x10000, 0xFFFFFFFF, 0x100000000, 2**64 - 1]
ONE_OPCODE = {0x4F: b"\x81"} | {0x50 + value: bytes([value]) for value in range(1, 17)}
NOPS = {f"OP_NOP{index}" for index in (1, *range(4, 11))}


@pytest.mark.parametrize(("value", "element"), NUMBERS)
def test_number(value: int, element: str) -> None:
    assert encode_num(value).hex() == element
    assert decode_num(bytes.fromhex(element), max_size=5) == value


@given(st.integers(-(2**39) + 1, 2**39 - 1))
def test_number_round_trip(value: int) -> None:
    assert decode_num(encode_num(value), max_size=5) == value


@given(st.binary(max_size=5))
def test_an_element_is_a_minimal_number_or_refused(element: bytes) -> None:
    """Either it is what `encode_num` makes of its value, or it is refused as not minimal."""
    value = decode_num(element, 5, minimal=False)
    if encode_num(value) == element:
        assert decode_num(element, 5) == value
    else:
        with pytest.raises(ScriptError, match="is not minimal"):
            decode_num(element, 5)


@pytest.mark.parametrize("element", ["00", "80", "0100", "0180", "ff0000", "0000", "0080", "7f0080"])
def test_padded_numbers_are_refused(element: str) -> None:
    with pytest.raises(ScriptError, match=f"{element} is not minimal"):
        decode_num(bytes.fromhex(element))


@pytest.mark.parametrize(("element", "max_size"), [("0000008000", 4), ("01" * 6, 5), ("00" * 5, 4)])
@pytest.mark.parametrize("minimal", [True, False])
def test_wide_numbers_are_refused(element: str, max_size: int, minimal: bool) -> None:
    with pytest.raises(ScriptError, match=f"{len(element) // 2} bytes, expected at most {max_size}"):
        decode_num(bytes.fromhex(element), max_size, minimal)


@pytest.mark.parametrize("value", [-(2**31) + 1, -256, -1, 0, 1, 128, 1_000, 2**31 - 1])
def test_core_reads_the_same_numbers(value: int) -> None:
    """Core computes 0 - (-value), and gets our encoding of the value and not that of its neighbour."""
    script = op.OP_0 + num(-value) + op.OP_SUB
    assert spend_leaf(script + push(encode_num(value)) + op.OP_EQUAL, [])
    assert not spend_leaf(script + push(encode_num(value + 1)) + op.OP_EQUAL, [])


def encodings(data: bytes) -> list[bytes]:
    """Every opcode sequence that pushes `data`."""
    size = len(data)
    found = [bytes([code]) for code, element in ONE_OPCODE.items() if element == data]
    found += [bytes([size]) + data] if size < 0x4C else []
    widths = ((op.OP_PUSHDATA1, 1), (op.OP_PUSHDATA2, 2), (op.OP_PUSHDATA4, 4))
    return found + [code + size.to_bytes(width, "little") + data for code, width in widths if size < 256**width]


@given(st.one_of(st.binary(max_size=2), st.binary(min_size=70, max_size=80), st.integers(0, 520).map(bytes)))
def test_a_push_is_the_shortest_and_parses_to_its_data(data: bytes) -> None:
    (instruction,) = instructions(push(data))
    assert (ONE_OPCODE[instruction.opcode] if instruction.data is None else instruction.data) == data
    assert push(data) == min(encodings(data), key=len)


@pytest.mark.parametrize("size", [0, 1, 75, 76, 255, 256, 519, 520])
def test_core_finds_what_was_pushed(size: int) -> None:
    data = b"\x11" * size
    assert spend_leaf(push(data) + op.OP_EQUAL, [data])
    assert not spend_leaf(push(data) + op.OP_EQUAL, [data[1:] + b"\x12"])


@pytest.mark.parametrize("byte", [*range(18), 0x7F, 0x80, 0x81, 0x82, 0xFF])
def test_core_finds_the_byte_that_was_pushed(byte: int) -> None:
    data = bytes([byte])
    assert spend_leaf(push(data) + op.OP_EQUAL, [data])
    assert not spend_leaf(push(data) + op.OP_EQUAL, [b""])


@pytest.mark.parametrize(
    ("size", "opcode", "overhead"),
    [(0, 0x00, 1), (75, 75, 1), (76, 0x4C, 2), (255, 0x4C, 2), (256, 0x4D, 3), (520, 0x4D, 3)],
)
def test_push_size(size: int, opcode: int, overhead: int) -> None:
    assert push(bytes(size))[0] == opcode
    assert len(push(bytes(size))) == size + overhead


def test_an_element_too_large_is_refused() -> None:
    with pytest.raises(ScriptError, match="push: 521 bytes, expected at most 520"):
        push(bytes(521))


@given(st.integers(-(2**31) + 1, 2**31 - 1))
def test_num_is_the_push_of_the_number(value: int) -> None:
    assert num(value) == push(encode_num(value))


@pytest.mark.parametrize(
    ("value", "script"), [(-1, "4f"), (0, "00"), (1, "51"), (16, "60"), (17, "0111"), (-2, "0182")]
)
def test_small_numbers(value: int, script: str) -> None:
    assert num(value).hex() == script


@given(st.one_of(st.sampled_from(EDGES), st.integers(0, 2**64 - 1), st.integers(0, 2**17)))
def test_compact_size(value: int) -> None:
    assert compact_size(value) == compact.to_bytes(value) == encode_varint(value)
    assert compact.from_bytes(compact_size(value)) == value


@pytest.mark.parametrize("value", [-1, 2**64])
def test_compact_size_out_of_range(value: int) -> None:
    with pytest.raises(ScriptError, match=f"compact_size: {value}, expected 0 to"):
        compact_size(value)


@given(st.lists(st.one_of(st.binary(max_size=520).map(push), st.sampled_from([op.OP_DUP, op.OP_IF])), max_size=12))
def test_instructions_cover_the_script(parts: list[bytes]) -> None:
    parsed = list(instructions(b"".join(parts)))
    assert [instruction.opcode for instruction in parsed] == [part[0] for part in parts]
    assert [instruction.offset for instruction in parsed] == [len(b"".join(parts[:at])) for at in range(len(parts))]


def test_instructions_of_every_kind_of_push() -> None:
    script = b"\x00" + b"\x02ab" + b"\x4c\x01c" + b"\x4d\x01\x00d" + b"\x4e\x01\x00\x00\x00e" + b"\x51\xff"
    assert list(instructions(script)) == [
        Instruction(0, 0x00, b""),
        Instruction(1, 0x02, b"ab"),
        Instruction(4, 0x4C, b"c"),
        Instruction(7, 0x4D, b"d"),
        Instruction(11, 0x4E, b"e"),
        Instruction(17, 0x51, None),
        Instruction(18, 0xFF, None),
    ]
    assert list(instructions(b"")) == []
    assert list(instructions(b"\x4e" + bytes(4))) == [Instruction(0, 0x4E, b"")]


@pytest.mark.parametrize("data", [b"a" * 2, b"a" * 75, b"a" * 76, b"a" * 256, b"a" * 520])
def test_a_script_cut_inside_a_push_is_refused(data: bytes) -> None:
    whole = op.OP_DUP + push(data)
    for size in range(2, len(whole)):
        parsed = instructions(whole[:size])
        assert next(parsed) == Instruction(0, op.OP_DUP[0], None)
        with pytest.raises(ScriptError, match=r"at byte 1"):
            next(parsed)


@pytest.mark.parametrize("script", ["4c", "4d", "4d00", "4e", "4e000000", "4c02aa", "4d0200aa", "4effffffff00"])
def test_truncated_lengths_are_refused(script: str) -> None:
    with pytest.raises(ScriptError, match="at byte 0"):
        list(instructions(bytes.fromhex(script)))
    with pytest.raises(ScriptError, match="at byte 0"):
        disassemble(bytes.fromhex(script))


def test_disassemble() -> None:
    script = push(b"\xab" * 20) + op.OP_0 + op.OP_16 + op.OP_1NEGATE + op.OP_CHECKSIGVERIFY + b"\x50\xfe\xff"
    words = "OP_0 OP_16 OP_1NEGATE OP_CHECKSIGVERIFY OP_SUCCESS80 OP_SUCCESS254 OP_INVALIDOPCODE"
    assert disassemble(script) == "ab" * 20 + " " + words
    assert disassemble(b"") == ""


def test_opcodes_have_the_values_that_bitcoin_utils_gives_them() -> None:
    ours = {name: value for name, value in vars(op).items() if name.startswith("OP_") and isinstance(value, bytes)}
    shared = ours.keys() & OP_CODES.keys()
    assert {name: ours[name] for name in shared} == {name: OP_CODES[name] for name in shared}
    assert ours.keys() - shared == {"OP_VERIF", "OP_VERNOTIF", "OP_INVALIDOPCODE", *NOPS}
    disabled = {name for name in OP_CODES.keys() - shared if OP_CODES[name][0] in OP_SUCCESS}
    assert OP_CODES.keys() - shared - disabled == {"OP_NOP2", "OP_NOP3"}


def test_every_opcode_is_a_push_or_success_or_has_a_name() -> None:
    pushes = set(range(1, 0x4C))
    assert pushes | OP_SUCCESS | set(OPCODE_NAMES) == set(range(256))
    assert not OP_SUCCESS & set(OPCODE_NAMES)
    assert len({opcode_name(code) for code in range(256)}) == 256


def test_op_success_is_what_bip342_lists() -> None:
    bip342 = "80, 98, 126-129, 131-134, 137-138, 141-142, 149-153, 187-254"
    listed = [[int(end) for end in entry.split("-")] for entry in bip342.split(", ")]
    assert {code for ends in listed for code in range(ends[0], ends[-1] + 1)} == OP_SUCCESS


@pytest.mark.parametrize(
    ("code", "name"),
    [(0, "OP_0"), (1, "OP_PUSHBYTES_1"), (75, "OP_PUSHBYTES_75"), (76, "OP_PUSHDATA1"), (0x51, "OP_1")],
)
def test_opcode_name(code: int, name: str) -> None:
    assert opcode_name(code) == name
