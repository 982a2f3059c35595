"""Relay rules on their own. What Bitcoin Core says of the same transactions is in `test_node`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import policy
from bitvm_bridge.policy import P2A
from bitvm_bridge.taproot import ScriptTree
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf.script import OP_0, OP_1, OP_DROP, OP_ENDIF, OP_IF, OP_NOP1, OP_RETURN, num, push
from tests.spending import ANCHOR, SCRIPT

COIN = OutPoint(b"\x01" * 32, 0)
SPENT = TxOut(100_000, SCRIPT)
P2WPKH, P2WSH = b"\x00\x14" + bytes(20), b"\x00\x20" + bytes(32)
P2PKH, P2SH = bytes.fromhex("76a914" + "00" * 20 + "88ac"), bytes.fromhex("a914" + "00" * 20 + "87")
KEY_PATH = (bytes(64),)


def make(
    *outputs: TxOut, fee: int = 1_000, version: int = 2, witness: tuple[bytes, ...] = KEY_PATH, script_sig: bytes = b""
) -> Transaction:
    rest = SPENT.amount - fee - sum(out.amount for out in outputs)
    return Transaction(version, (TxIn(COIN, script_sig=script_sig, witness=witness),), (TxOut(rest, SCRIPT), *outputs))


def codes(reasons: list[str]) -> list[str]:
    """The reject codes, without what is said in brackets."""
    return [reason.split(" (")[0] for reason in reasons]


def script_path(script: bytes, *stack: bytes) -> tuple[bytes, ...]:
    return (*stack, script, ScriptTree([("leaf", script)]).control_block("leaf"))


def with_weight(weight: int) -> Transaction:
    """A key path spend whose witness fills it up to exactly this many weight units."""
    filler = weight - make().weight + 64
    tx = make(witness=(bytes(filler),))
    return make(witness=(bytes(filler - (tx.weight - weight)),))


def test_ordinary_transaction() -> None:
    assert policy.check(make(), [SPENT]) == []


@pytest.mark.parametrize("version", range(5))
def test_versions(version: int) -> None:
    expected = [] if version in (1, 2, 3) else ["version"]
    assert codes(policy.check(make(version=version), [SPENT])) == expected


@pytest.mark.parametrize(
    ("weight", "expected"),
    [(400_000, []), (400_001, ["tx-size"]), (3_900_000, ["tx-size"]), (3_900_001, ["tx-size", "tx-size"])],
)
def test_weight_limits(weight: int, expected: list[str]) -> None:
    tx = with_weight(weight)
    assert tx.weight == weight
    assert codes(policy.check_form(tx)) == expected


def test_smallest_transaction() -> None:
    anchor_only = Transaction(3, (TxIn(COIN, witness=KEY_PATH),), (ANCHOR,))
    assert len(anchor_only.serialize_base()) == 64
    assert codes(policy.check_form(anchor_only)) == ["tx-size-small"]
    padded = Transaction(3, (TxIn(COIN, witness=KEY_PATH),), (TxOut(0, OP_RETURN + b"\x03pad"),))
    assert len(padded.serialize_base()) == 65
    assert policy.check_form(padded) == []


@pytest.mark.parametrize(
    ("script", "threshold"),
    [(SCRIPT, 330), (P2WSH, 330), (P2WPKH, 294), (P2A, 240), (P2PKH, 546), (P2SH, 540), (OP_RETURN, 0)],
)
def test_dust_thresholds(script: bytes, threshold: int) -> None:
    assert policy.dust_threshold(script) == threshold
    assert policy.check(make(TxOut(threshold, script)), [SPENT]) == []
    if threshold:
        assert "dust" in codes(policy.check(make(TxOut(threshold - 1, script)), [SPENT]))


def test_anchor_only_in_a_free_version_3_parent() -> None:
    assert policy.check(make(ANCHOR, fee=0, version=3), [SPENT], child_pays=True) == []
    assert codes(policy.check(make(ANCHOR, fee=0, version=3), [SPENT])) == ["min relay fee not met"]
    assert codes(policy.check(make(ANCHOR, fee=1, version=3), [SPENT], child_pays=True)) == ["dust"]
    assert "dust" in codes(policy.check(make(ANCHOR, fee=0, version=2), [SPENT], child_pays=True))
    assert codes(policy.check(make(ANCHOR, ANCHOR, fee=0, version=3), [SPENT], child_pays=True)) == ["dust"]
    for other in (TxOut(1, P2A), TxOut(0, SCRIPT), TxOut(329, SCRIPT)):
        assert codes(policy.check(make(other, fee=0, version=3), [SPENT], child_pays=True)) == ["dust"]


def test_fee_floor() -> None:
    floor = policy.min_fee(make().vsize)
    assert policy.check(make(fee=floor), [SPENT]) == []
    assert codes(policy.check(make(fee=floor - 1), [SPENT])) == ["min relay fee not met"]
    assert codes(policy.check(make(fee=-1), [SPENT])) == ["bad-txns-in-belowout"]
    assert codes(policy.check(make(fee=0), [SPENT], child_pays=True)) == ["min relay fee not met"], "version 2"
    assert policy.check(make(fee=0, version=3), [SPENT], child_pays=True) == []


@given(vsize=st.integers(1, 10**6), rate=st.integers(0, 10**6))
def test_min_fee_is_the_smallest_that_reaches_the_rate(vsize: int, rate: int) -> None:
    fee = policy.min_fee(vsize, rate)
    assert fee * 1_000 >= vsize * rate
    assert (fee - 1) * 1_000 < vsize * rate


@pytest.mark.parametrize(
    ("outputs", "expected"),
    [
        ([TxOut(0, OP_RETURN)], []),
        ([TxOut(500, OP_RETURN + push(b"burnt"))], []),
        ([TxOut(0, OP_RETURN + push(b"a")), TxOut(0, OP_RETURN + push(b"b"))], []),
        ([TxOut(0, OP_RETURN + OP_DROP)], ["scriptpubkey"]),
        ([TxOut(0, OP_RETURN + b"\x05abc")], ["scriptpubkey"]),
        ([TxOut(1_000, OP_1)], ["scriptpubkey"]),
        ([TxOut(1_000, b"")], ["scriptpubkey"]),
        ([TxOut(1_000, b"\x00\x14" + bytes(19))], ["scriptpubkey"]),
        ([TxOut(1_000, P2PKH[:-1] + b"\xad")], ["scriptpubkey"]),
        ([TxOut(1_000, P2SH[:-1] + b"\x88")], ["scriptpubkey"]),
        ([TxOut(1_000, b"\x60\x28" + bytes(40))], []),
        ([TxOut(1_000, b"\x60\x29" + bytes(41))], ["scriptpubkey"]),
    ],
)
def test_output_types(outputs: list[TxOut], expected: list[str]) -> None:
    assert codes(policy.check(make(*outputs), [SPENT])) == expected


def test_op_return_limit_counts_them_together() -> None:
    half = TxOut(0, OP_RETURN + b"\x4e" + (49_994).to_bytes(4, "little") + bytes(49_994))
    assert "datacarrier" not in codes(policy.check_form(make(half, half)))
    assert "datacarrier" in codes(policy.check_form(make(half, half, TxOut(0, OP_RETURN))))


def test_burns() -> None:
    assert policy.largest_burn(make()) == 0
    assert policy.largest_burn(make(TxOut(700, OP_RETURN), TxOut(900, OP_RETURN), TxOut(5_000, SCRIPT))) == 900


@pytest.mark.parametrize(
    ("script_sig", "expected"),
    [
        (b"", []),
        (push(bytes(71)), []),
        (OP_DROP, ["scriptsig-not-pushonly"]),
        (b"\x05", ["scriptsig-not-pushonly"]),
        (push(bytes(412)) * 4, ["scriptsig-size"]),
    ],
)
def test_script_sig(script_sig: bytes, expected: list[str]) -> None:
    legacy = TxOut(SPENT.amount, P2PKH)
    assert codes(policy.check(make(script_sig=script_sig, witness=()), [legacy])) == expected


@pytest.mark.parametrize(
    "witness",
    [
        KEY_PATH,
        script_path(OP_DROP + OP_1, bytes(80)),
        script_path(OP_0 + OP_IF + push(bytes(520)) + OP_ENDIF + OP_1),
        script_path(num(-1) + num(16) + push(bytes(75)) + push(bytes(76)) + push(bytes(255)) + push(bytes(256))),
    ],
)
def test_standard_taproot_witnesses(witness: tuple[bytes, ...]) -> None:
    assert policy.check(make(witness=witness), [SPENT]) == []


@pytest.mark.parametrize(
    ("witness", "reason"),
    [
        ((*KEY_PATH, b"\x50"), "annex"),
        ((*script_path(OP_1), b"\x50"), "annex"),
        (script_path(OP_DROP, bytes(81)), "witness item 0 has 81"),
        ((OP_1, bytes(32)), "control block of 32"),
        ((OP_1, b"\xc0" + bytes(33)), "control block of 34"),
        ((OP_1, b"\xc0" + bytes(32 * 130)), "control block of 4161"),
        ((OP_1, b""), "control block of 0"),
        ((OP_1, b"\xc2" + bytes(32)), "leaf version 0xc2"),
        (script_path(b"\x4c\x01a"), "not minimal at byte 0"),
        (script_path(OP_1 + b"\x01\x05"), "not minimal at byte 1"),
        (script_path(OP_1 + b"\x4d\x09\x02" + bytes(521)), "not minimal at byte 1"),
        (script_path(OP_1 + b"\x50"), "OP_SUCCESS80 at byte 1"),
        (script_path(OP_NOP1), "OP_NOP1 at byte 0"),
        (script_path(b"\xb9"), "OP_NOP10 at byte 0"),
        (script_path(b"\x05ab"), "cannot be parsed"),
    ],
)
def test_nonstandard_taproot_witnesses(witness: tuple[bytes, ...], reason: str) -> None:
    (refusal,) = policy.check(make(witness=witness), [SPENT])
    assert refusal.startswith("bad-witness-nonstandard (input 0: ")
    assert reason in refusal


@pytest.mark.parametrize(
    ("script", "witness", "expected"),
    [
        (P2A, (), []),
        (P2A, (b"",), ["bad-witness-nonstandard"]),
        (P2WPKH, (bytes(71), bytes(33)), []),
        (P2WSH, (bytes(80), OP_1), []),
        (P2WSH, (bytes(81), OP_1), ["bad-witness-nonstandard"]),
        (P2WSH, (*[b""] * 100, OP_1), []),
        (P2WSH, (*[b""] * 101, OP_1), ["bad-witness-nonstandard"]),
        (P2WSH, (bytes(3_600),), []),
        (P2WSH, (bytes(3_601),), ["bad-witness-nonstandard"]),
        (b"\x52\x20" + bytes(32), (), ["bad-witness-nonstandard"]),
        (OP_1, (), ["bad-witness-nonstandard"]),
    ],
)
def test_other_spent_outputs(script: bytes, witness: tuple[bytes, ...], expected: list[str]) -> None:
    assert codes(policy.check(make(witness=witness), [TxOut(SPENT.amount, script)])) == expected


@pytest.mark.parametrize(
    ("tx", "code"),
    [
        (Transaction(2, (TxIn(COIN),), ()), "bad-txns-vout-empty"),
        (Transaction(2, (TxIn(COIN),), (TxOut(21 * 10**14 + 1, SCRIPT),)), "bad-txns-vout-toolarge"),
        (Transaction(2, (TxIn(COIN),), (TxOut(11 * 10**14, SCRIPT),) * 2), "bad-txns-vout-toolarge"),
        (Transaction(2, (TxIn(COIN), TxIn(COIN)), (SPENT,)), "bad-txns-inputs-duplicate"),
        (Transaction(2, (TxIn(OutPoint(bytes(32), 0)),), (SPENT,)), "bad-txns-prevout-null"),
    ],
)
def test_what_no_block_may_contain(tx: Transaction, code: str) -> None:
    assert codes(policy.check_form(tx))[0] == code


def child_of(
    parent: Transaction, *, fee: int = 1_000, version: int = 3, size: int = 0, anchor: bool = True
) -> Transaction:
    """Spends the anchor (or output 0) and a coin of 50,000 sat; `size` bytes of data are put on top."""
    inputs = (TxIn(OutPoint(b"\x02" * 32, 0), witness=KEY_PATH), TxIn(parent.outpoint(int(anchor))))
    outputs = [TxOut(50_000 - fee, SCRIPT), TxOut(0, OP_RETURN + b"\x4d" + size.to_bytes(2, "little") + bytes(size))]
    return Transaction(version, inputs, tuple(outputs))


def judge(parent: Transaction, child: Transaction) -> list[str]:
    spent = [TxOut(50_000, SCRIPT), parent.outputs[child.inputs[1].outpoint.vout]]
    return codes(policy.check_package(parent, [SPENT], child, spent))


def test_package() -> None:
    parent = make(ANCHOR, fee=0, version=3)
    child = child_of(parent)
    floor = policy.min_fee(parent.vsize + child.vsize)
    assert judge(parent, child) == []
    assert judge(parent, child_of(parent, fee=floor)) == []
    assert judge(parent, child_of(parent, fee=floor - 1)) == ["min relay fee not met"]
    assert judge(parent, child_of(parent, version=2)) == ["TRUC-violation"]
    assert "missing-ephemeral-spends" in judge(parent, child_of(parent, anchor=False))
    assert judge(make(ANCHOR, fee=5, version=3), child_of(make(ANCHOR, fee=5, version=3))) == ["dust"]


def test_child_of_a_parent_that_pays_pays_for_itself() -> None:
    parent = make(TxOut(240, P2A), version=3)
    floor = policy.min_fee(child_of(parent).vsize)
    assert judge(parent, child_of(parent, fee=floor - 240)) == []
    assert judge(parent, child_of(parent, fee=floor - 241)) == ["min relay fee not met"]


def test_truc_sizes() -> None:
    parent = make(ANCHOR, fee=0, version=3)
    room = policy.MAX_TRUC_CHILD_VSIZE - child_of(parent, size=300).vsize
    exact = child_of(parent, size=300 + room)
    assert exact.vsize == policy.MAX_TRUC_CHILD_VSIZE
    assert judge(parent, exact) == []
    assert judge(parent, child_of(parent, size=301 + room)) == ["TRUC-violation"]
    heaviest = 4 * policy.MAX_TRUC_VSIZE
    for weight, expected in ((heaviest, []), (heaviest + 1, ["TRUC-violation"])):
        tx = with_weight(weight)
        tx = Transaction(3, tx.inputs, tx.outputs)
        assert codes(policy.check(tx, [SPENT], child_pays=True)) == expected


def test_lineage() -> None:
    parent, second = make(version=3), make(version=3, fee=2_000)
    grandchild = child_of(parent, anchor=False)
    assert policy.check_lineage(grandchild, [parent], 1) == []
    assert codes(policy.check_lineage(grandchild, [parent, second], 2)) == ["TRUC-violation"]
    assert codes(policy.check_lineage(grandchild, [make(version=2)], 1)) == ["TRUC-violation"]
    assert policy.check_lineage(make(version=2), [make(version=2)], 20) == []
    assert policy.check_lineage(make(version=3), [], 0) == []
