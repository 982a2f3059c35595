"""The hash chain: every number of rounds that it allows can be disputed on Bitcoin, and no other is allowed."""

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import Checks, HashChain, HashChainSpec, Program, parse_program
from bitvm_bridge.program.hash_chain import MAX_LENGTH, MAX_ROUNDS, HashSteps
from bitvm_bridge.program.partition import PROFILES
from scripts_tapleaf import blake3, winternitz
from tests.core import spend_leaf

INSTANCE = b"\x1d" * 32
SECRETS = [winternitz.derive_secret(b"\x5e" * 32, INSTANCE, slot) for slot in range(3)]
KEYS = tuple(winternitz.public_key(secret) for secret in SECRETS)


def disputes(program: Program, values: list[bytes], index: int) -> bool:
    """Does Bitcoin Core accept the dispute of chunk `index` of an assertion of these values?"""
    checks = Checks(program, KEYS)
    signatures = [winternitz.sign(secret, value) for secret, value in zip(SECRETS, values, strict=True)]
    items = checks.witness(index, program.run(()), values, signatures)
    return spend_leaf(checks.leaf(program.chunks[index].name), items)


@pytest.mark.parametrize("rounds", [1, 2, MAX_ROUNDS])
def test_a_wrong_link_can_be_disputed_and_a_right_one_cannot(rounds: int) -> None:
    program = HashChainSpec(3, rounds).specialise(INSTANCE)
    honest = list(program.run(()).values)
    assert program.first_wrong(honest) is None
    for index in range(3):
        assert not disputes(program, honest, index)
        wrong = [*honest[:index], bytes([honest[index][0] ^ 1]) + honest[index][1:], *honest[index + 1 :]]
        assert program.first_wrong(wrong).chunk == index
        assert disputes(program, wrong, index)


@pytest.mark.parametrize(
    ("text", "rounds"), [("hash-chain:20:relay", (9, 9, 2)), ("hash-chain:250:compact", (100, 100, 50))]
)
def test_the_partitioner_cuts_a_chain(text: str, rounds: tuple[int, ...]) -> None:
    spec = parse_program(text)
    assert str(spec) == text
    program = spec.specialise(INSTANCE)
    assert isinstance(program, HashChain)
    assert tuple(link.rounds for link in program.links) == rounds
    limits = PROFILES[text.rpartition(":")[2]]
    honest = list(program.run(()).values)
    for index, (name, script) in enumerate(Checks(program, KEYS).leaves()):
        assert len(script) < limits.leaf
        wrong = [*honest[:index], bytes(20), *honest[index + 1 :]]
        assert program.chunks[index].name == name
        assert not disputes(program, honest, index)
        assert disputes(program, wrong, index)


def test_the_cost_of_a_link_is_that_of_its_leaf() -> None:
    steps = HashSteps(27)
    program = parse_program("hash-chain:27:relay").specialise(INSTANCE)
    scripts = [len(script) for _, script in Checks(program, KEYS).leaves()]
    for start, script in ((9, scripts[1]), (18, scripts[2])):
        assert 0 <= script - steps.cost(start, start + 9).script < 100


def test_values_are_digests_of_digests() -> None:
    value = blake3.digest(INSTANCE, 20)
    for found in HashChainSpec(3, 2).specialise(INSTANCE).run(()).values:
        value = blake3.digest(blake3.digest(value, 20), 20)
        assert found == value


def test_two_instances_have_two_chains() -> None:
    spec = HashChainSpec(3, 1)
    assert not set(spec.specialise(INSTANCE).run(()).values) & set(spec.specialise(bytes(32)).run(()).values)


@pytest.mark.parametrize("text", ["hash-chain", "hash-chain:8", "hash-chain:8:1"])
def test_text_form(text: str) -> None:
    assert parse_program(text) == HashChainSpec(8, 1)
    assert str(parse_program(text)) == "hash-chain:8:1"
    assert len(parse_program(text).values) == 8


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("hash-chain:0", "length: '0'"),
        (f"hash-chain:{MAX_LENGTH + 1}", f"length: '{MAX_LENGTH + 1}'"),
        ("hash-chain:1:0", "rounds: '0'"),
        (f"hash-chain:1:{MAX_ROUNDS + 1}", f"rounds: '{MAX_ROUNDS + 1}'"),
        ("hash-chain:", "program"),
        ("hash-chain:-1", "program"),
        ("hash-chain:1:1:1", "program"),
        ("hash-chain:٣", "program"),
        ("hash-chains", "program"),
        ("", "program"),
    ],
)
def test_what_is_no_program(text: str, field: str) -> None:
    with pytest.raises(BadInput, match=field):
        parse_program(text)
