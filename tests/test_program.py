"""The disputed program: a check can be satisfied exactly when its step is wrong, natively and on Core alike."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from random import Random

import blake3
import pytest

from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role
from bitvm_bridge.program import Checks, HashChain, HashChainSpec, parse_program
from bitvm_bridge.program.hash_chain import MAX_LENGTH, MAX_ROUNDS
from bitvm_bridge.setup import InstanceSetup
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import MAX_STANDARD_WITNESS_ITEM, decode_num, encode_num
from tests import builders
from tests.builders import flip, instance_setup, lie, sign_values
from tests.core import spend_leaf

LENGTHS = (1, 4)
HASHED = ("hash-chain:1:1", "hash-chain:4:1", "hash-chain:3:2")
DIGEST = 20


@cache
def chain_of(length: int) -> InstanceSetup:
    return instance_setup(f"hash-chain:{length}:1")


def satisfied(setup: InstanceSetup, index: int, assertion: Assertion) -> bool:
    """Does Core accept the check of chunk `index` with all that an assertion reveals about it?"""
    name = setup.program.chunks[index].name
    return spend_leaf(setup.checks.leaf(name), witness_of(setup, index, assertion))


def witness_of(setup: InstanceSetup, index: int, assertion: Assertion) -> list[bytes]:
    """The items of chunk `index`'s leaf."""
    return setup.checks.witness(index, setup.program.run(()), assertion.values, assertion.signatures)


def agree(setup: InstanceSetup, values: Sequence[bytes]) -> list[int]:
    """The wrong chunks, after a check that every leaf says the same as the native side."""
    assertion = sign_values(setup, values)
    wrong = []
    for index, chunk in enumerate(setup.program.chunks):
        differs = chunk.execute([values[slot] for slot in chunk.inputs]) != values[index]
        assert satisfied(setup, index, assertion) == differs, chunk.name
        wrong += [index] * differs
    verdict = setup.program.first_wrong(values)
    assert (verdict and verdict.chunk) == (wrong[0] if wrong else None)
    return wrong


@pytest.mark.parametrize("program", HASHED)
def test_values_are_a_blake3_chain_from_the_instance_id(program: str) -> None:
    setup = instance_setup(program)
    _, length, rounds = program.split(":")
    value = blake3.blake3(setup.id).digest(DIGEST)
    values = setup.program.run(()).values
    assert len(values) == int(length)
    for found in values:
        for _ in range(int(rounds)):
            value = blake3.blake3(value).digest(DIGEST)
        assert found == value


@pytest.mark.parametrize("program", HASHED)
def test_no_check_of_a_right_assertion_can_be_satisfied(program: str) -> None:
    setup = instance_setup(program)
    assert agree(setup, setup.program.run(()).values) == []


@pytest.mark.parametrize("length", LENGTHS)
def test_one_false_step_satisfies_its_own_check_only(length: int) -> None:
    """The later steps follow from the false one, so that there is exactly one to show."""
    for wrong in range(length):
        assert agree(chain_of(length), lie(chain_of(length), wrong)) == [wrong]


@pytest.mark.parametrize("length", LENGTHS)
def test_one_false_value_satisfies_the_checks_on_both_sides_of_it(length: int) -> None:
    """The later steps are right by themselves: the step after the false value is wrong, too."""
    right = chain_of(length).program.run(()).values
    for wrong in range(length):
        values = [*right[:wrong], flip(right[wrong]), *right[wrong + 1 :]]
        assert agree(chain_of(length), values) == [index for index in (wrong, wrong + 1) if index < length]


@pytest.mark.parametrize("length", LENGTHS)
def test_every_bit_of_a_value_counts(length: int) -> None:
    """Every limb is compared whole; bits beside limb borders and a spread of the others."""
    setup, index = chain_of(length), length - 1
    right = setup.program.run(()).values
    for bit in sorted({*range(0, 160, 7), 28, 29, 57, 58, 86, 87, 115, 116, 144, 145, 159}):
        number = int.from_bytes(right[index], "little") ^ 1 << bit
        assert agree(setup, [*right[:index], number.to_bytes(DIGEST, "little")]) == [index]


@pytest.mark.parametrize("length", LENGTHS)
def test_values_at_the_ends_of_their_range(length: int) -> None:
    for value in (bytes(DIGEST), b"\xff" * DIGEST, b"\xff" * 19 + b"\x7f", bytes(19) + b"\x80"):
        assert agree(chain_of(length), [value] * length) == list(range(length))


def test_most_rounds_in_one_step() -> None:
    """Stack and weight of the largest check: Core runs it both ways."""
    setup = instance_setup(f"hash-chain:2:{MAX_ROUNDS}")
    assert agree(setup, setup.program.run(()).values) == []
    assert agree(setup, lie(setup, 1)) == [1]


def test_random_assertions() -> None:
    random, setup = Random(5), chain_of(4)
    for _ in range(6):
        values = [random.randbytes(DIGEST) if random.random() < 0.5 else b"" for _ in range(4)]
        for index, chunk in enumerate(setup.program.chunks):
            values[index] = values[index] or chunk.execute([values[slot] for slot in chunk.inputs])
        agree(setup, values)


@pytest.mark.parametrize("stride", [5, pytest.param(1, marks=pytest.mark.sweep)])
@pytest.mark.parametrize("index", [0, 2])
def test_right_step_stays_unprovable_whatever_the_witness_holds(index: int, stride: int) -> None:
    """Items of the best witness there is, changed in several ways: an honest operator is never slashed."""
    setup = chain_of(4)
    assertion = sign_values(setup, setup.program.run(()).values)
    script = setup.checks.leaf(setup.program.chunks[index].name)
    items = witness_of(setup, index, assertion)
    assert not spend_leaf(script, items)
    for position in range(0, len(items), stride):
        for changed in variants(items[position]):
            assert not spend_leaf(script, [*items[:position], changed, *items[position + 1 :]]), position
        assert not spend_leaf(script, items[:position] + items[position + 1 :])
    assert not spend_leaf(script, [b"", *items])
    assert not spend_leaf(script, [])


def variants(item: bytes) -> list[bytes]:
    """Other items that a script might mistake for this one."""
    if len(item) >= winternitz.CHAIN_BYTES:
        return [flip(item), bytes(500)]
    number = decode_num(item)
    return [encode_num(number + 1), encode_num(-number - 1)]


def test_false_step_is_proved_by_no_other_signature() -> None:
    """The signatures must be the operator's own of this slot of this instance."""
    setup, other = chain_of(4), instance_setup(seed=builders.OTHER_OPERATOR)
    values = lie(setup, 2)
    assertion = sign_values(setup, values)
    assert satisfied(setup, 2, assertion)
    for seed, signer in ((builders.OTHER_OPERATOR, setup), (builders.SEEDS[Role.OPERATOR], other)):
        assert not satisfied(setup, 2, sign_values(signer, values, seed))
    moved = replace(assertion, signatures=(*assertion.signatures[1:], assertion.signatures[0]))
    assert not satisfied(setup, 2, moved)


@pytest.mark.parametrize("program", HASHED)
def test_witnesses_are_relayed(program: str) -> None:
    """Every item has at most 80 bytes, and numbers are minimal."""
    setup = instance_setup(program)
    for index in range(len(setup.program.chunks)):
        assertion = sign_values(setup, lie(setup, index))
        items = witness_of(setup, index, assertion)
        assert max(map(len, items)) <= MAX_STANDARD_WITNESS_ITEM
        assert all(encode_num(decode_num(item)) == item for item in items if len(item) < winternitz.CHAIN_BYTES)


@pytest.mark.parametrize("length", LENGTHS)
def test_leaves_by_name_are_those_of_the_stream(length: int) -> None:
    checks = chain_of(length).checks
    stream = list(checks.leaves())
    assert [name for name, _ in stream] == [f"link_{index}" for index in range(length)]
    assert stream == list(checks.leaves())
    for index, (name, script) in enumerate(stream):
        assert checks.leaf(name) == script
        assert checks.index(name) == index
    assert len({script for _, script in stream}) == length


@pytest.mark.parametrize("name", ["link_4", "link_-1", "LINK_0", "", "any check"])
def test_unknown_checks_are_refused(name: str) -> None:
    for ask in (chain_of(4).checks.leaf, chain_of(4).checks.index):
        with pytest.raises(BadInput, match=r"^check: .* is not a chunk of hash-chain"):
            ask(name)


@pytest.mark.parametrize("count", [0, 3, 5])
def test_checks_need_a_key_for_every_value(count: int) -> None:
    with pytest.raises(BadInput, match=rf"^Winternitz keys: '{count}' is not 4, one for each committed value"):
        Checks(chain_of(4).program, (chain_of(4).keys * 2)[:count])


@pytest.mark.parametrize("count", [0, 3, 5])
def test_first_wrong_needs_every_value(count: int) -> None:
    with pytest.raises(BadInput, match=rf"^assertion: '{count} values' is not 4 values"):
        chain_of(4).program.first_wrong((chain_of(4).program.run(()).values * 2)[:count])


@pytest.mark.parametrize("values", [[b""], [bytes(19)], [bytes(21)]])
def test_value_of_another_size_is_wrong(values: list[bytes]) -> None:
    assert chain_of(1).program.first_wrong(values).chunk == 0


def test_no_two_instances_share_a_value() -> None:
    values = [value for name in (b"\x01", b"\x02", b"") for value in HashChain(name, (1,) * 4).run(()).values]
    assert len(set(values)) == len(values)


@pytest.mark.parametrize(
    ("text", "length", "rounds"),
    [("hash-chain", 8, 1), ("hash-chain:1", 1, 1), (f"hash-chain:{MAX_LENGTH}:{MAX_ROUNDS}", MAX_LENGTH, MAX_ROUNDS)],
)
def test_specs_and_their_text(text: str, length: int, rounds: int) -> None:
    spec = parse_program(text)
    assert spec == HashChainSpec(length, rounds)
    assert str(spec) == f"hash-chain:{length}:{rounds}"
    assert parse_program(str(spec)) == spec
    assert len(spec.values) == length


def test_spec_makes_the_program_of_an_instance() -> None:
    program = HashChainSpec(3, 2).specialise(b"\x07" * 32)
    assert program.run(()).values == HashChain(b"\x07" * 32, (2,) * 3).run(()).values
    assert program.run(()).values != HashChainSpec(3, 2).specialise(b"\x08" * 32).run(()).values


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("", "program"),
        ("hash", "program"),
        ("hash-chain:", "program"),
        ("hash-chain:x", "program"),
        ("hash-chain:-1", "program"),
        ("hash-chain:+1", "program"),
        ("hash-chain: 1", "program"),
        ("hash-chain:1.0", "program"),
        ("hash-chain:٤", "program"),
        ("hash-chain:²", "program"),
        ("hash-chain:1:1:1", "program"),
        ("hash-chain:9:large", "program"),
        ("hash-chain:x:compact", "program"),
        ("hash-chain:0:compact", "hash chain hashes"),
        (f"hash-chain:{MAX_LENGTH + 1}:relay", "hash chain hashes"),
        ("HASH-CHAIN:1:1", "program"),
        ("hash-chain:0", "hash chain length"),
        (f"hash-chain:{MAX_LENGTH + 1}", "hash chain length"),
        ("hash-chain:1:0", "hash chain rounds"),
        (f"hash-chain:1:{MAX_ROUNDS + 1}", "hash chain rounds"),
    ],
)
def test_bad_specs(text: str, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        parse_program(text)
    assert caught.value.field == field


@pytest.mark.parametrize(("length", "rounds"), [(0, 1), (MAX_LENGTH + 1, 1), (1, 0), (1, MAX_ROUNDS + 1)])
def test_bounds_hold_without_the_text(length: int, rounds: int) -> None:
    with pytest.raises(BadInput):
        HashChainSpec(length, rounds)
