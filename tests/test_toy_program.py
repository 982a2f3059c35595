"""A program with raw values, a pure check, hints and an early end: every lie is provable, and nothing else is."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
from msgspec import structs

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role
from bitvm_bridge.linter import lint
from bitvm_bridge.params import Params
from bitvm_bridge.program import Checks, Run, Value
from bitvm_bridge.roles import challenger
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.taproot import p2tr
from cli.lies import lie, lie_raw
from cli.stage import Stage, open_stage
from cli.stories import play
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import encode_num
from tests import builders
from tests.builders import assert_tx, flip, instance_setup, sign_values
from tests.core import spend_leaf
from tests.toy import BELOW, Toy, ToySpec, known, number, proof_file

PROGRAM = Toy()
RIGHT = (number(0x1234_5678), number(BELOW - 1))
TOO_LARGE = number(BELOW)
ODD = number(0x1234_5679)
INVALID: dict[str, tuple[tuple[bytes, bytes], int, str]] = {
    "first too large": ((TOO_LARGE, RIGHT[1]), 0, "a number is not below 2^232"),
    "second too large": ((RIGHT[0], TOO_LARGE), 0, "a number is not below 2^232"),
    "largest numbers": ((b"\xff" * 32, b"\xff" * 32), 0, "a number is not below 2^232"),
    "odd": ((ODD, RIGHT[1]), 1, "the first number is odd"),
    "odd and too large": ((ODD, TOO_LARGE), 0, "a number is not below 2^232"),
}


@cache
def toy() -> InstanceSetup:
    with known():
        return instance_setup("toy")


def items(index: int, assertion: Assertion) -> list[bytes]:
    """The best witness there is for a chunk's leaf."""
    run = PROGRAM.run(assertion.values[:2])
    return toy().checks.witness(index, run, assertion.values, assertion.signatures)


def satisfied(assertion: Assertion) -> list[str]:
    """The chunks whose leaves Core accepts."""
    chunks = enumerate(PROGRAM.chunks)
    return [chunk.name for index, chunk in chunks if spend_leaf(toy().checks.leaf(chunk.name), items(index, assertion))]


def asserted(values: Sequence[bytes]) -> Assertion:
    """Signed, put into Assert, and read back."""
    found = asserting.read(toy(), [assert_tx(toy(), sign_values(toy(), values))])
    assert found.values == tuple(values)
    return found


@pytest.mark.parametrize("raw", [RIGHT, (number(0), number(0)), (number(2), number(1)), (number(BELOW - 2),) * 2])
def test_right_assertion_satisfies_no_leaf(raw: tuple[bytes, bytes]) -> None:
    assertion = asserted(PROGRAM.run(raw).values)
    assert PROGRAM.first_wrong(assertion.values) is None
    assert satisfied(assertion) == []
    with pytest.raises(BridgeError, match="the assertion is correct"):
        disprove.prove(toy(), assertion)


@pytest.mark.parametrize(("chunk", "others"), [("half", ["again"]), ("again", [])])
def test_wrong_digest_is_proved_where_it_is_made(chunk: str, others: list[str]) -> None:
    assertion = asserted(lie(PROGRAM, PROGRAM.run(RIGHT).values, chunk))
    proof = disprove.prove(toy(), assertion)
    assert (proof.leaf, proof.claimed) == (chunk, assertion.values[toy().checks.index(chunk) + 1])
    assert proof.computed == PROGRAM.run(RIGHT).values[toy().checks.index(chunk) + 1]
    assert proof.reason == f"{chunk} is {proof.computed.hex()}, claimed {proof.claimed.hex()}"
    assert satisfied(assertion) == [chunk, *others]


@pytest.mark.parametrize("name", INVALID)
@pytest.mark.parametrize("fill", [bytes(20), b"\x77" * 20])
def test_invalid_numbers_are_proved_whatever_is_claimed_behind_them(name: str, fill: bytes) -> None:
    raw, chunk, reason = INVALID[name]
    assertion = asserted((*raw, fill, fill))
    verdict = PROGRAM.first_wrong(assertion.values)
    assert verdict is not None
    assert (verdict.chunk, verdict.reason) == (chunk, reason)
    proof = disprove.prove(toy(), assertion)
    assert (proof.leaf, proof.reason, proof.claimed, proof.computed) == (PROGRAM.chunks[chunk].name, reason, None, None)
    assert spend_leaf(toy().checks.leaf(proof.leaf), list(proof.items))


@pytest.mark.parametrize("slot", range(4))
@pytest.mark.parametrize("last", [False, True])
def test_signature_of_no_message_is_wrong(slot: int, last: bool) -> None:
    """A raw value of 33 bytes, a digest of 21: read back, and proved."""
    bits = Toy.values[slot].bits
    secret = winternitz.derive_secret(builders.SEEDS[Role.OPERATOR].winternitz_seed(), toy().id, slot, bits)
    surplus = tuple(winternitz.sign_number(secret, winternitz.scheme(bits).codewords - 1 if last else 1 << bits))
    honest = sign_values(toy(), PROGRAM.run(RIGHT).values)
    mixed = replace(honest, signatures=(*honest.signatures[:slot], surplus, *honest.signatures[slot + 1 :]))
    assertion = asserting.read(toy(), [assert_tx(toy(), mixed)])
    assert len(assertion.values[slot]) == bits // 8 + 1
    proof = disprove.prove(toy(), assertion)
    assert proof.leaf == ("small", "small", "half", "again")[slot]
    assert spend_leaf(toy().checks.leaf(proof.leaf), list(proof.items))


def test_hints_cannot_be_bent() -> None:
    """The early end needs an odd number: no half and bit say so of an even one, nor other numbers of an odd one."""
    honest, odd = asserted(PROGRAM.run(RIGHT).values), asserted((ODD, RIGHT[1], bytes(20), bytes(20)))
    half = (int.from_bytes(RIGHT[0], "little") % (1 << 29)) // 2
    script = toy().checks.leaf("half")
    for value in (half, half - 1, half + 1, -half, 0, (1 << 28) + half, 1 << 31):
        for bit in (b"", b"\x01", b"\x02", b"\x81", b"\x00", b"\x01\x00"):
            hints = [encode_num(value), bit]
            assert not spend_leaf(script, [*hints, *items(1, honest)[2:]]), hints
            assert spend_leaf(script, [*hints, *items(1, odd)[2:]]) == (hints == [encode_num(half), b"\x01"]), hints
    assert not spend_leaf(script, items(1, honest)[1:])
    assert not spend_leaf(script, [b"", *items(1, honest)])
    assert not spend_leaf(script, [b"", *items(1, odd)])


def test_proof_of_one_leaf_satisfies_no_other() -> None:
    for values in ((*INVALID["odd"][0], bytes(20), bytes(20)), lie(PROGRAM, PROGRAM.run(RIGHT).values, "again")):
        proof = disprove.prove(toy(), asserted(values))
        accepted = [c.name for c in PROGRAM.chunks if spend_leaf(toy().checks.leaf(c.name), list(proof.items))]
        assert accepted == [proof.leaf]


# Lies, as the command line tells them.


def test_lies_are_told_about_what_there_is() -> None:
    honest = PROGRAM.run(RIGHT).values
    assert lie(PROGRAM, honest) == lie(PROGRAM, honest, "again") == (*honest[:3], flip(honest[3]))
    assert lie_raw(PROGRAM, RIGHT, "second") == (RIGHT[0], flip(RIGHT[1]))
    for name in ("small", "first", ""):
        with pytest.raises(BadInput, match=r"^chunk: .* is not a chunk of toy that produces a value"):
            lie(PROGRAM, honest, name)
    for name in ("half", "third", ""):
        with pytest.raises(BadInput, match=r"^raw value: .* is not one that toy takes \(first, second\)"):
            lie_raw(PROGRAM, RIGHT, name)


# Shapes that no program may have.


def shaped(**changes: object) -> Toy:
    program = Toy()
    vars(program).update(changes)
    return program


small, half, again = Toy.chunks
MISSHAPEN: dict[str, tuple[Toy, str]] = {
    "reads what comes later": (shaped(chunks=(small, again, half)), "chunk: 'again'"),
    "reads what nobody makes": (shaped(chunks=(small, replace(half, inputs=(0, 9)), again)), "chunk: 'half'"),
    "makes a raw value": (shaped(chunks=(small, half, replace(again, output=1))), "chunk: 'again'"),
    "makes a value twice": (shaped(chunks=(small, half, replace(again, output=2))), "chunk: 'again'"),
    "leaves a value open": (shaped(chunks=(small, half)), "program: 'toy'"),
    "reads its own value": (shaped(chunks=(small, half, replace(again, inputs=(3,)))), "chunk: 'again'"),
}


@pytest.mark.parametrize("name", MISSHAPEN)
def test_misshapen_programs_are_refused(name: str) -> None:
    program, message = MISSHAPEN[name]
    with pytest.raises(BadInput, match=f"^{message}"):
        Checks(program, toy().keys)


def test_keys_have_the_width_of_their_values() -> None:
    keys = (toy().keys[0], toy().keys[2], toy().keys[1], toy().keys[3])
    for make in (lambda: Checks(PROGRAM, keys), lambda: replace(toy(), keys=keys)):
        with pytest.raises(BadInput, match=r"^Winternitz key of second: '160 bits' is not one of 256 bits"):
            make()


def test_documents_hold_keys_of_both_widths() -> None:
    with known():
        assert InstanceSetup.from_json(toy().to_json()) == toy()
        swapped = structs.replace(toy().document(), keys=[key.serialize().hex() for key in toy().keys[::-1]])
        with pytest.raises(BadInput, match=r"^Winternitz key 0: .*39 chain ends, expected 58"):
            InstanceSetup.from_document(swapped)


# On a chain.


@pytest.fixture
def node(tmp_path: Path) -> Iterator[EmbeddedNode]:
    node = EmbeddedNode(tmp_path)
    yield node
    node.close()


def test_stories_are_told_with_a_proof(node: EmbeddedNode) -> None:
    miner, document = open_stage(node), proof_file(2, 3)
    for outcome in play(("challenged", "fraud"), node, miner, Params(), ToySpec(), lambda *_: None, document):
        assert outcome.balances["challenger"] > 0 or outcome.name == "challenged"


@pytest.mark.parametrize(
    ("document", "error", "message"),
    [
        (None, BadInput, "^--proof: '0 lines'"),
        (proof_file(1, 2), VerificationFailed, "^the proof does not verify: the first number is odd$"),
    ],
)
def test_no_story_starts_from_a_wrong_proof(
    node: EmbeddedNode, document: bytes | None, error: type[BridgeError], message: str
) -> None:
    stage = Stage(node, open_stage(node), Params(), ToySpec(), lambda _: None, document)
    with pytest.raises(error, match=message):
        stage.honest(toy())


def test_graph_is_sound() -> None:
    assert lint(toy().graph) == []


@pytest.mark.parametrize("raw", [ODD, TOO_LARGE])
def test_disprove_without_a_node(raw: bytes) -> None:
    """What Core's interpreter accepts, with the reward to a script and the fee of the rate asked for."""
    proof = disprove.prove(toy(), asserted((raw, RIGHT[1], bytes(20), bytes(20))))
    script = p2tr(builders.wallet_key(Role.CHALLENGER).xonly)
    prepared = challenger.disprove_offline(script, 2.5, builders.bundle(toy()), proof)
    assert verify_inputs(prepared.tx, prepared.parent.spent) is None
    assert prepared.tx.outputs[1].script_pubkey == script
    assert prepared.fee - 2.5 * prepared.tx.vsize in (0, 0.5)
    with pytest.raises(BridgeError, match=r"^Disprove: 1e\+06 sat/vB for .* leaves no reward"):
        challenger.disprove_offline(script, 1e6, builders.bundle(toy()), proof)
    broken = replace(proof, items=(b"\x01", *proof.items[1:-1]))
    with pytest.raises(BridgeError, match="interpreter refuses input 1"):
        challenger.disprove_offline(script, 2.5, builders.bundle(toy()), broken)


def test_a_run_is_what_an_honest_operator_signs() -> None:
    run = PROGRAM.run(RIGHT)
    assert run == Run(run.values, None, "")
    assert [len(value) * 8 for value in run.values] == [value.bits for value in ToySpec().values]
    assert all(isinstance(value, Value) for value in PROGRAM.values)
