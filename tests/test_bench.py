"""`bench`: the promised document, and figures that are what the scripts and transactions really are."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from embit.transaction import Transaction as EmbitTransaction

from bitvm_bridge.linter import signed_vsize
from bitvm_bridge.params import Network
from bitvm_bridge.policy import MAX_MINEABLE_WEIGHT, MAX_STANDARD_WEIGHT
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared
from cli import bench
from cli.app import EMBEDDED, App, RpcOptions
from cli.main import root
from cli.stage import Stage, Step
from cli.table import Table, drawn, plain
from scripts_tapleaf import blake3, winternitz
from scripts_tapleaf.script import OP_1, OP_EQUALVERIFY, encode_num, num
from tests.core import spend_leaf
from tests.toy import known, proof_file

TRANSACTIONS = {
    *("PegInDeposit", "PegInRefund", "PegIn", "CooperativePayout", "PegOut", "ClaimFunding", "KickOff", "Challenge"),
    *("HappyTake", "Assert", "AssertTimeout_0", "UnhappyTake", "Disprove", "Forfeit"),
}
TIMES = {
    *("graph", "sign_3", "sign_15", "sign_100", "verify", "tree", "winternitz_public_key", "winternitz_sign"),
    *("blake3_script", "stories"),
}


def run(*arguments: str, app: App | None = None) -> Result:
    """The command alone where an `App` is given, else below the root group."""
    if app is None:
        return CliRunner().invoke(root, arguments)
    return CliRunner().invoke(bench.bench, arguments, obj=app)


def make_app(folder: Path, *, as_json: bool) -> App:
    return App(Network.REGTEST, folder, EMBEDDED, RpcOptions(), as_json, True, None)


@pytest.fixture(scope="module")
def quick() -> dict[str, Any]:
    """The document of `bench --json --quick`."""
    result = run("bench", "--json", "--quick")
    assert result.exit_code == 0, result.output
    document: dict[str, Any] = json.loads(result.stdout)
    return document


def are_counts(values: dict[str, Any]) -> bool:
    return all(type(value) is int and value > 0 for value in values.values())


def test_document_has_the_promised_keys_and_types(quick: dict[str, Any]) -> None:
    assert set(quick["winternitz"]) == {"128", "160", "256"}
    assert set(quick["winternitz_read"]) == set(quick["winternitz"])
    for sizes in (*quick["winternitz"].values(), *quick["winternitz_read"].values()):
        assert set(sizes) == {"script", "witness"}
        assert are_counts(sizes)
    assert set(quick["blake3"]) == {"32", "64", "192"}
    assert are_counts(quick["blake3"])
    assert set(quick["fq"]) == {"mul", "lc4", "computed"}
    assert set(quick["fq2"]) == {"mul", "computed"}
    assert set(quick["fq6"]) == {"dense", "sparse_dense"}
    assert all(are_counts(quick[field]) for field in ("fq", "fq2", "fq6"))
    assert "groth16" not in quick, "only where it is asked for"
    assert set(quick["transactions"]) == set(quick["weights"]) == TRANSACTIONS
    assert are_counts(quick["transactions"])
    assert quick["times"] == {}


def test_another_program_is_measured(tmp_path: Path, quick: dict[str, Any]) -> None:
    (tmp_path / "proof").write_bytes(proof_file(2, 3))
    with known():
        document = json.loads(
            run("bench", "--json", "--quick", "--program", "toy", "--proof", str(tmp_path / "proof")).stdout
        )
        without = run("bench", "--quick", "--program", "toy")
    assert (quick["program"], document["program"]) == ("hash-chain:8:1", "toy")
    assert document["transactions"].keys() == quick["transactions"].keys()
    assert document["transactions"]["Assert"] < quick["transactions"]["Assert"]
    assert document["winternitz"] == quick["winternitz"]
    assert (without.exit_code, without.stdout) == (2, "")
    assert "error: --proof: '0 lines'" in without.stderr


def test_json_is_taken_before_and_after_the_command(tmp_path: Path, quick: dict[str, Any]) -> None:
    before = json.loads(run("--json", "bench", "--quick").stdout)
    direct = json.loads(run("--quick", app=make_app(tmp_path, as_json=True)).stdout)
    for document in (before, direct):
        assert document.keys() == quick.keys()
        assert document["winternitz"] == quick["winternitz"]
        assert document["blake3"] == quick["blake3"]
    assert not list(tmp_path.iterdir())


def test_bad_options_are_refused() -> None:
    assert run("bench", "--fast").exit_code == 2
    assert run("bench", "hash-chain").exit_code == 2


@pytest.mark.parametrize("bits", [128, 160, 256])
def test_signature_sizes_are_those_of_a_spend_that_core_accepts(bits: int, quick: dict[str, Any]) -> None:
    secret = winternitz.derive_secret(bytes(32), b"\x01" * 32, 7, bits)
    key = winternitz.public_key(secret)
    assert quick["winternitz"][str(bits)]["script"] == len(winternitz.check_script([key]))

    signatures = [winternitz.sign(secret, message) for message in bench.messages(bits)]
    assert quick["winternitz"][str(bits)]["witness"] == max(
        sum(1 + len(item) for item in items) for items in signatures
    )
    items = signatures[0]

    script = winternitz.check_script([key]) + OP_1
    assert spend_leaf(script, items)
    assert not spend_leaf(script, [*items[:-1], items[-1] + b"\x01"])


@pytest.mark.parametrize("bits", [128, 160, 256])
def test_reading_sizes_are_those_of_a_spend_that_core_accepts(bits: int, quick: dict[str, Any]) -> None:
    secret = winternitz.derive_secret(bytes(32), b"\x01" * 32, 7, bits)
    key = winternitz.public_key(secret)
    assert quick["winternitz_read"][str(bits)]["script"] == len(winternitz.read_script(key))

    made = bench.messages(bits)
    witnesses = [winternitz.read_witness(bits, message, winternitz.sign(secret, message)) for message in made]
    expected = max(sum(1 + len(item) for item in items) for items in witnesses)
    assert quick["winternitz_read"][str(bits)]["witness"] == expected

    script = winternitz.read_script(key)
    limbs = b"".join(num(limb) + OP_EQUALVERIFY for limb in winternitz.to_limbs(made[0]))
    assert spend_leaf(script + limbs + OP_1, witnesses[0])
    assert not spend_leaf(script + limbs + OP_1, witnesses[1])


def test_messages_are_distinct_and_of_their_size() -> None:
    for bits in bench.MESSAGE_BITS:
        made = bench.messages(bits)
        assert len(set(made)) == bench.MESSAGES
        assert {len(message) for message in made} == {bits // 8}


def test_spend_is_the_measured_script_and_witness_and_nothing_else(quick: dict[str, Any]) -> None:
    sizes = quick["winternitz"]["160"]
    key = winternitz.public_key(winternitz.derive_secret(bytes(32), bytes(32), 0, 160))
    items = len(winternitz.sign(winternitz.derive_secret(bytes(32), bytes(32), 0, 160), bytes(20)))
    base = 4 + 1 + 41 + 1 + 8 + 1 + 34 + 4
    leaf = len(winternitz.check_script([key]) + OP_1)
    assert items + 2 < 253 <= leaf
    witness = 2 + 1 + sizes["witness"] + 3 + leaf + 1 + 33
    assert quick["winternitz_spend"] == -(-(4 * base + witness) // 4)


@pytest.mark.parametrize("size", [32, 64, 192])
def test_hash_sizes_are_those_of_scripts_that_core_runs(size: int, quick: dict[str, Any]) -> None:
    script = blake3.blake3_script(size).script
    assert quick["blake3"][str(size)] == len(script)

    message = bench.messages(8 * size)[0]
    limbs = [encode_num(limb) for limb in blake3.to_limbs(message, blake3.limb_widths(8 * size))]
    digest = blake3.to_limbs(blake3.digest(message), blake3.limb_widths(160))
    leaf = script + b"".join(num(limb) + OP_EQUALVERIFY for limb in digest) + OP_1
    assert spend_leaf(leaf, limbs[::-1])
    limbs[0] = encode_num(blake3.to_limbs(message, blake3.limb_widths(8 * size))[0] ^ 1)
    assert not spend_leaf(leaf, limbs[::-1])


@pytest.mark.parametrize(("size", "blocks"), [(20, 1), (64, 1), (65, 2), (192, 3)])
def test_bytes_per_block_count_a_begun_block(size: int, blocks: int) -> None:
    assert bench.HashSize(size, 60_000).per_block == 60_000 // blocks
    assert bench.HashSize(size, 60_001).per_block == -(-60_001 // blocks)


def test_transaction_sizes_are_those_of_what_confirmed(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: dict[str, list[Transaction]] = {}
    confirm = Stage.confirm

    def spy(stage: Stage, prepared: Prepared, meaning: str) -> int:
        sent.setdefault(prepared.name, []).append(prepared.tx)
        return confirm(stage, prepared, meaning)

    monkeypatch.setattr(Stage, "confirm", spy)
    steps = bench.measure_transactions()
    assert {step.name for step in steps} == TRANSACTIONS
    for step in steps:
        tx = sent[step.name][0]
        parsed = EmbitTransaction.read_from(io.BytesIO(tx.serialize()))
        base = len(parsed.serialize()) - 2 - sum(len(item.witness.serialize()) for item in parsed.vin)
        assert step.txid == parsed.txid().hex()
        assert step.weight == 3 * base + len(tx.serialize())
        assert step.vsize == -(-step.weight // 4)


def test_transaction_sizes_are_those_of_the_graph(quick: dict[str, Any]) -> None:
    setup, _ = bench.make_instance(3)
    complete = [item for item in setup.graph.txs.values() if item.is_complete and item.name != "KickOff"]
    assert {item.name for item in complete} == {"PegIn", "HappyTake", "UnhappyTake"}
    for item in complete:
        assert quick["transactions"][item.name] == signed_vsize(item)


@pytest.mark.parametrize(
    ("name", "weight", "expected"),
    [
        ("HappyTake", 1_000, 40_000),
        ("AssertTimeout_3", 1_000, 40_000),
        ("Disprove", MAX_STANDARD_WEIGHT, MAX_STANDARD_WEIGHT),
        ("Disprove", MAX_STANDARD_WEIGHT + 1, MAX_MINEABLE_WEIGHT),
    ],
)
def test_limit_is_the_rule_that_binds(name: str, weight: int, expected: int) -> None:
    assert bench.limit(Step(name, "", -(-weight // 4), weight, 0, 0, ""))[0] == expected


def test_tables_show_every_figure_with_its_source(tmp_path: Path) -> None:
    result = run("--quick", app=make_app(tmp_path, as_json=False))
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines()]
    for name in TRANSACTIONS:
        assert any(row and row[0] == name for row in rows), name
    for item in (*bench.PUBLIC_SIGNATURES, *bench.PUBLIC_HASHES):
        assert any(item.source in line and f"{item.script:,}" in line for line in result.stdout.splitlines())
    assert "Times" not in result.stdout
    assert "\x1b" not in result.stdout


def test_public_sums_are_the_published_ones() -> None:
    sums = {(item.bits, item.total) for item in bench.PUBLIC_SIGNATURES}
    assert sums == {(128, 3_377), (160, 2_334), (160, 2_400), (160, 4_145), (256, 6_449)}


def test_columns_line_up_in_plain_text_and_on_a_terminal() -> None:
    table = Table("Sizes", ("name", "bytes", "whose"), [("a", 1, "ours"), ("longer", 12_345, "theirs")], ("End.",))
    assert plain(table).splitlines() == [
        "Sizes",
        "name     bytes  whose",
        "a            1  ours",
        "longer  12,345  theirs",
        "End.",
    ]
    text = drawn(table)
    for part in ("Sizes", "12,345", "theirs", "End."):
        assert part in text


def test_tasks_run_and_have_the_promised_names() -> None:
    found = list(bench.tasks(committee_sizes=[2]))
    assert {task.key for task in found} == TIMES - {"sign_3", "sign_15", "sign_100"} | {"sign_2"}
    for task in found:
        task.run()


def test_a_graph_is_built_anew_for_each_run() -> None:
    (task,) = [task for task in bench.tasks(committee_sizes=[]) if task.key == "graph"]
    assert task.run() is not task.run()


@pytest.mark.parametrize(("duration", "runs"), [(0.0, 5), (0.4, 3), (2.0, 1)])
def test_best_time_is_the_fastest_and_ends(duration: float, runs: int) -> None:
    now, count = 100.0, 0

    def work() -> None:
        nonlocal now, count
        count += 1
        now += duration + 0.01 * count

    assert bench.best_time(work, lambda: now) == pytest.approx(duration + 0.01)
    assert count == runs


@pytest.mark.sweep
def test_all_times_are_measured() -> None:
    document = json.loads(run("bench", "--json").stdout)
    assert set(document["times"]) == TIMES
    assert all(type(value) is float and value > 0 for value in document["times"].values())
