"""The small leaves: bytes and sizes pinned, bad values refused, and what the scripts do."""

from collections.abc import Mapping
from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import secp
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.taproot import NUMS_KEY, ScriptTree, p2tr, sighash
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf import covenant
from scripts_tapleaf import script as op
from scripts_tapleaf.covenant import (
    council,
    council_witness,
    csv_sequence,
    envelope,
    outside,
    read_envelope,
    signed,
    signed_after,
)
from scripts_tapleaf.interpreter import Context, Result, run
from scripts_tapleaf.script import ScriptError, disassemble, num, push
from tests.core import spend_leaf

KEY = bytes.fromhex("aa" * 32)
KEYS = [bytes([index]) * 32 for index in range(1, 6)]
SECRETS = {secp.xonly_public_key(secret): secret for secret in (bytes([index]) * 32 for index in range(1, 4))}
OWNERS = list(SECRETS)
BAD_LOCKS = [-1, 0, 65_536, 1 << 22, 1 << 31]
BAD_KEYS = [b"", KEY[:31], b"\x02" + KEY, KEY + KEY]


def signature(key: bytes) -> bytes:
    """What the debugger is told to take for the key's signature."""
    return key + key


def play(script: bytes, witness: list[bytes], sequence: int = 0xFFFFFFFF, version: int = 2) -> Result:
    """The script under relay policy, with `signature` for every key."""
    context = Context(lambda key, given, _: given == signature(key), sequence=sequence, version=version)
    return run(script, witness, context, policy=True)


class CoreSpend:
    """A spend of the script as a single leaf, with `sequence`, for Core to judge."""

    def __init__(self, script: bytes, sequence: int) -> None:
        self._script, self._tree = script, ScriptTree([("leaf", script)])
        self._spent = [TxOut(100_000, self._tree.script_pubkey())]
        txin, txout = TxIn(OutPoint(bytes(32), 0), sequence), TxOut(99_000, p2tr(NUMS_KEY))
        self._tx = Transaction(2, (txin,), (txout,))

    def signatures(self, *keys: bytes) -> Mapping[bytes, bytes]:
        digest = sighash(self._tx, 0, self._spent, leaf=self._tree.leaf_hash("leaf"))
        return {key: secp.sign(SECRETS[key], digest, bytes(32)) for key in keys}

    def accepts(self, *witness: bytes) -> bool:
        stack = (*witness, self._script, self._tree.control_block("leaf"))
        return verify_input(self._tx.with_witness(0, stack), 0, self._spent)


@pytest.mark.parametrize("script", [signed(OWNERS[0]), envelope(KEY[:20]) + signed(OWNERS[0])])
def test_core_wants_the_owners_signature(script: bytes) -> None:
    spend = CoreSpend(script, 0xFFFFFFFD)
    signatures = spend.signatures(*OWNERS)
    assert spend.accepts(signatures[OWNERS[0]])
    assert not spend.accepts(signatures[OWNERS[1]])
    assert not spend.accepts(b"")
    assert not spend.accepts()


def test_core_wants_the_owners_signature_and_the_wait() -> None:
    script = signed_after(OWNERS[0], 144)
    spend, early = CoreSpend(script, csv_sequence(144)), CoreSpend(script, csv_sequence(143))
    signatures = spend.signatures(*OWNERS)
    assert spend.accepts(signatures[OWNERS[0]])
    assert not spend.accepts(signatures[OWNERS[1]])
    assert not spend.accepts(b"")
    assert not early.accepts(early.signatures(OWNERS[0])[OWNERS[0]])


@pytest.mark.parametrize("signers", [pair for size in (2, 3) for pair in combinations(OWNERS, size)])
def test_core_wants_two_of_three_and_the_wait(signers: tuple[bytes, ...]) -> None:
    script = council(OWNERS, 2, 144)
    spend, early = CoreSpend(script, csv_sequence(144)), CoreSpend(script, csv_sequence(143))
    witness = council_witness(OWNERS, spend.signatures(*signers), 2)
    assert spend.accepts(*witness)
    assert not spend.accepts(*reversed(witness))
    assert not spend.accepts(*reversed(list(spend.signatures(*OWNERS).values())))
    assert not early.accepts(*council_witness(OWNERS, early.signatures(*signers), 2))


@pytest.mark.parametrize("signer", OWNERS)
def test_core_refuses_one_of_three(signer: bytes) -> None:
    spend = CoreSpend(council(OWNERS, 2, 144), csv_sequence(144))
    signatures = spend.signatures(signer)
    assert not spend.accepts(*(signatures.get(key, b"") for key in reversed(OWNERS)))


def test_signed() -> None:
    script = signed(KEY)
    assert script.hex() == "20" + "aa" * 32 + "ac"
    assert len(script) == 34
    assert play(script, [signature(KEY)]).ok
    assert not play(script, [signature(KEYS[0])]).ok
    assert not play(script, [b""]).ok


@pytest.mark.parametrize(
    ("blocks", "lock", "size"),
    [
        (1, "51", 36),
        (16, "60", 36),
        (17, "0111", 37),
        (127, "017f", 37),
        (128, "028000", 38),
        (32_767, "02ff7f", 38),
        (32_768, "03008000", 39),
        (65_535, "03ffff00", 39),
    ],
)
def test_signed_after(blocks: int, lock: str, size: int) -> None:
    script = signed_after(KEY, blocks)
    assert script.hex() == "20" + "aa" * 32 + "ad" + lock + "b2"
    assert len(script) == size
    witness = [signature(KEY)]
    assert play(script, witness, csv_sequence(blocks)).ok
    assert not play(script, witness, csv_sequence(blocks) - 1).ok
    assert not play(script, witness, csv_sequence(blocks), version=1).ok
    assert not play(script, [b""], csv_sequence(blocks)).ok
    assert not play(script, [signature(KEYS[0])], csv_sequence(blocks)).ok


@pytest.mark.parametrize("blocks", [1, 16, 17, 127, 128, 32_768, 65_535])
def test_core_keeps_the_relative_lock(blocks: int) -> None:
    """The tail of the leaf after its signature, alone: Core leaves the operand, and counts to the block."""
    lock = signed_after(KEY, blocks)[34:]
    assert spend_leaf(lock, [], sequence=csv_sequence(blocks))
    assert not spend_leaf(lock, [], sequence=csv_sequence(blocks) - 1)
    assert not spend_leaf(lock, [])


def test_csv_sequence_is_the_number_of_blocks() -> None:
    assert [csv_sequence(blocks) for blocks in (1, 144, 65_535)] == [1, 144, 65_535]


@pytest.mark.parametrize("blocks", BAD_LOCKS)
def test_locks_out_of_range_are_refused(blocks: int) -> None:
    for make in (csv_sequence, lambda lock: signed_after(KEY, lock), lambda lock: council([KEY], 1, lock)):
        with pytest.raises(ScriptError, match=rf"relative lock of {blocks} blocks, expected 1 to 65,535"):
            make(blocks)


@pytest.mark.parametrize("key", BAD_KEYS)
def test_keys_of_a_wrong_size_are_refused(key: bytes) -> None:
    for make in (signed, lambda bad: signed_after(bad, 6), lambda bad: council([KEY, bad], 1, 6)):
        with pytest.raises(ScriptError, match=rf"key of {len(key)} bytes, expected 32"):
            make(key)


@pytest.mark.parametrize(
    ("data", "script"),
    [
        (b"\x00", "0063010068"),
        (b"\x01", "00635168"),
        (b"\x10", "00636068"),
        (b"\x11", "0063011168"),
        (b"\x81", "00634f68"),
        (KEY[:20], "006314" + "aa" * 20 + "68"),
        (b"\xbb" * 75, "00634b" + "bb" * 75 + "68"),
        (b"\xbb" * 76, "00634c4c" + "bb" * 76 + "68"),
        (b"\xbb" * 520, "00634d0802" + "bb" * 520 + "68"),
        (b"\xbb" * 520 + b"\x05", "00634d0802" + "bb" * 520 + "5568"),
        (b"\xbb" * 1041, "0063" + 2 * ("4d0802" + "bb" * 520) + "01bb68"),
    ],
)
def test_envelope(data: bytes, script: str) -> None:
    assert envelope(data).hex() == script
    assert read_envelope(envelope(data)) == data
    assert spend_leaf(envelope(data) + op.OP_1, [])
    assert spend_leaf(envelope(data), [b"\x01"])


@given(st.binary(min_size=1, max_size=1_600), st.sampled_from([b"", op.OP_1, signed(KEY), b"\x05"]))
def test_envelope_round_trip(data: bytes, rest: bytes) -> None:
    assert read_envelope(envelope(data) + rest) == data


def test_confirm_leaf_carries_its_receiver_and_wants_one_signature() -> None:
    receiver = bytes(range(20))
    script = envelope(receiver) + signed(KEY)
    assert len(script) == 24 + 34
    assert read_envelope(script) == receiver
    assert disassemble(script) == f"OP_0 OP_IF {receiver.hex()} OP_ENDIF {KEY.hex()} OP_CHECKSIG"
    assert play(script, [signature(KEY)]).ok
    assert not play(script, [b""]).ok
    assert not play(script, [signature(KEYS[0])]).ok


def test_no_envelope_without_data() -> None:
    with pytest.raises(ScriptError, match="expected at least one byte"):
        envelope(b"")


@pytest.mark.parametrize(
    "script",
    [
        b"",
        op.OP_FALSE,
        signed(KEY),
        op.OP_TRUE + envelope(KEY)[1:],
        op.OP_FALSE + op.OP_NOTIF + envelope(KEY)[2:],
        op.OP_1 + envelope(KEY),
        op.OP_FALSE + op.OP_IF,
        op.OP_FALSE + op.OP_IF + op.OP_ENDIF,
        envelope(KEY)[:-1],
        envelope(KEY)[:-2],
        envelope(KEY)[:-1] + op.OP_DUP + op.OP_ENDIF,
        envelope(KEY)[:-1] + op.OP_0 + op.OP_ENDIF,
        envelope(KEY)[:-1] + op.OP_ELSE + op.OP_1 + op.OP_ENDIF,
        envelope(KEY)[:-1] + op.OP_IF + op.OP_ENDIF + op.OP_ENDIF,
        envelope(KEY)[:-1] + push(KEY) + op.OP_ENDIF,
        envelope(bytes(521))[:-1] + push(KEY) + op.OP_ENDIF,
        op.OP_FALSE + op.OP_IF + op.OP_PUSHDATA1 + push(KEY) + op.OP_ENDIF,
        op.OP_FALSE + op.OP_IF + b"\x01\x05" + op.OP_ENDIF,
        op.OP_FALSE + op.OP_IF + op.OP_RETURN + op.OP_ENDIF,
        op.OP_PUSHDATA1 + b"\x00" + envelope(KEY)[1:],
    ],
)
def test_anything_but_an_envelope_is_refused(script: bytes) -> None:
    with pytest.raises(ScriptError):
        read_envelope(script)


def test_council() -> None:
    first, second, third = KEYS[:3]
    expected = (
        push(first)
        + op.OP_CHECKSIG
        + push(second)
        + op.OP_CHECKSIGADD
        + push(third)
        + op.OP_CHECKSIGADD
        + op.OP_2
        + op.OP_NUMEQUALVERIFY
        + num(1_000)
        + op.OP_CHECKSEQUENCEVERIFY
    )
    assert council([first, second, third], 2, 1_000) == expected
    assert len(expected) == 3 * 34 + 2 + 4
    assert council([third, first], 1, 6) != council([first, third], 1, 6)


@pytest.mark.parametrize("threshold", range(1, 6))
def test_any_k_of_the_council_spend_after_the_lock(threshold: int) -> None:
    script = council(KEYS, threshold, 1_000)
    for size in range(threshold, len(KEYS) + 1):
        for signers in combinations(KEYS, size):
            witness = council_witness(KEYS, {key: signature(key) for key in signers}, threshold)
            assert play(script, witness, 1_000).ok
            assert not play(script, witness, 999).ok
            assert [bool(item) for item in reversed(witness)] == [key in signers[:threshold] for key in KEYS]


@pytest.mark.parametrize("threshold", range(1, 6))
def test_no_other_number_of_signatures_passes(threshold: int) -> None:
    script = council(KEYS, threshold, 6)
    for size in range(len(KEYS) + 1):
        for signers in combinations(KEYS, size):
            witness = [signature(key) if key in signers else b"" for key in reversed(KEYS)]
            assert play(script, witness, 6).ok == (size == threshold)
            if size == threshold != len(KEYS) and witness != witness[::-1]:
                assert not play(script, witness[::-1], 6).ok


def test_the_largest_council_pays_for_its_signatures() -> None:
    keys = [bytes([index]) * 32 for index in range(covenant.MAX_COUNCIL)]
    witness = council_witness(keys, {key: signature(key) for key in keys}, len(keys))
    assert play(council(keys, len(keys), 65_535), witness, 65_535).ok
    assert len(council(keys, len(keys), 65_535)) == 20 * 34 + 3 + 5


@pytest.mark.parametrize(
    ("keys", "threshold", "message"),
    [
        ([], 1, "0 keys, 0 distinct, expected 1 to 20 distinct ones"),
        ([], 0, "0 keys, 0 distinct, expected 1 to 20 distinct ones"),
        ([KEY, KEY], 1, "2 keys, 1 distinct, expected 1 to 20 distinct ones"),
        ([bytes([index]) * 32 for index in range(21)], 1, "21 keys, 21 distinct, expected 1 to 20 distinct ones"),
        (KEYS, 0, "threshold 0, expected 1 to 5"),
        (KEYS, -1, "threshold -1, expected 1 to 5"),
        (KEYS, 6, "threshold 6, expected 1 to 5"),
    ],
)
def test_impossible_councils_are_refused(keys: list[bytes], threshold: int, message: str) -> None:
    with pytest.raises(ScriptError, match=message):
        council(keys, threshold, 6)
    with pytest.raises(ScriptError, match=message):
        council_witness(keys, {key: signature(key) for key in keys}, threshold)


def test_too_few_signatures_are_refused() -> None:
    given = {KEYS[0]: signature(KEYS[0]), KEYS[3]: b""}
    with pytest.raises(ScriptError, match="1 signatures, expected 2"):
        council_witness(KEYS, given, 2)


def test_a_stranger_to_the_council_is_refused() -> None:
    with pytest.raises(ScriptError, match=f"a signature under {KEY.hex()}, which is not in the council"):
        council_witness(KEYS, {KEY: signature(KEY), KEYS[0]: signature(KEYS[0])}, 1)


def test_outside() -> None:
    assert disassemble(outside(5, 9, 1)) == "OP_5 OP_9 OP_WITHIN OP_NOT"
    assert disassemble(outside(0, 1 << 29, 3)) == "OP_0 00000020 OP_WITHIN OP_NOT OP_NIP OP_NIP"
    assert len(outside(0, 1 << 29, 6)) == 13


@pytest.mark.parametrize(("first", "end"), [(0, 1), (5, 9), (0, 1 << 29), ((1 << 29) - 1, 1 << 29)])
def test_core_finds_what_is_outside(first: int, end: int) -> None:
    """A range begins with its first number and ends before its last."""
    for number in {0, first - 1, first, end - 1, end, (1 << 29) - 1, 1 << 29} - {-1}:
        limbs = [op.encode_num(value) for value in (7, 0, number)]
        assert spend_leaf(outside(first, end, 3), limbs) is not (first <= number < end), number


@pytest.mark.parametrize(("first", "end", "limbs"), [(1, 1, 1), (2, 1, 1), (-1, 5, 1), (0, 1 << 31, 1), (0, 5, 0)])
def test_ranges_that_are_none(first: int, end: int, limbs: int) -> None:
    with pytest.raises(ScriptError, match="outside"):
        outside(first, end, limbs)
