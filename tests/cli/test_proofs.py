"""A program that takes a proof, through the commands: asserted, checked offline, disproved, refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge import records
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.transaction import Transaction
from tests.cli.bridge import WINDOW, Bridge, challenged, set_up
from tests.cli.conftest import Copy
from tests.sources.orders import served
from tests.toy import BELOW, known, proof_file

PROOFS = {"right": (2, 3), "odd": (3, 3), "large": (2, BELOW)}


@pytest.fixture(autouse=True, scope="module")
def toy_known() -> Iterator[None]:
    with known():
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Proof files by name."""
    folder = tmp_path_factory.mktemp("proofs")
    for name, numbers in PROOFS.items():
        (folder / name).write_bytes(proof_file(*numbers))
    (folder / "noise").write_bytes(b"\xff\x00 1234")
    return {name: str(folder / name) for name in (*PROOFS, "noise")}


@pytest.fixture(scope="module")
def claimed(keyed: Bridge, toy_known: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str, int]:
    """A challenged claim whose program is the toy: the instance's id and the height of its KickOff."""
    bridge = keyed.copy(tmp_path_factory.mktemp("claimed") / "data")
    instance = set_up(bridge, "toy")
    return bridge, instance, challenged(bridge, instance)


def setup_of(bridge: Bridge, instance: str) -> InstanceSetup:
    with bridge.store() as store:
        return records.load_instance(store, instance)


REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "--proof: '0 lines' is not two numbers"),
    (("--proof", "noise"), 2, "--proof: '2 lines' is not two numbers"),
    (("--proof", "/no/such/file"), 2, "--proof: '/no/such/file' is not a readable file"),
    (("--proof", "odd"), 5, "the proof does not verify: the first number is odd$"),
    (("--proof", "large"), 5, r"the proof does not verify: a number is not below 2\^232$"),
    (("--proof", "odd", "--lie", "half"), 5, "the proof does not verify"),
    (("--proof", "right", "--force-invalid"), 2, "--force-invalid: 'given' is not needed: the proof verifies"),
    (("--proof", "right", "--lie", "small"), 2, "chunk: 'small' is not a chunk of toy that produces a value"),
    (("--proof", "right", "--lie-raw", "half"), 2, r"raw value: 'half' is not one that toy takes \(first, second\)"),
    (("--proof", "right", "--lie-raw", "second"), 2, "--lie-raw: 'second' is not a value whose lowest bit makes"),
    (("--proof", "right", "--lie", "half", "--lie-raw", "first"), 2, "--lie-raw: 'given' is not used together"),
]


@pytest.mark.parametrize(("options", "code", "message"), REFUSED, ids=lambda value: str(value)[:60])
@pytest.mark.parametrize("how", [["--broadcast"], ["--dry-run"], []], ids=str)
def test_nothing_is_signed_for_what_is_refused(
    claimed: tuple[Bridge, str, int],
    files: dict[str, str],
    options: tuple[str, ...],
    code: int,
    message: str,
    how: list[str],
) -> None:
    bridge, instance, _ = claimed
    args = [files.get(option, option) for option in options]
    found = bridge.refused("operator", "assert", instance, *args, *how, code=code)
    assert re.match(message, found), found
    assert bridge.contents()["one_time_keys"] == []
    assert bridge.mempool() == []


@pytest.mark.parametrize("option", [("--lie", "half"), ("--lie-raw", "first"), ("--force-invalid",)])
def test_lies_are_for_regtest(tmp_path: Path, option: tuple[str, ...]) -> None:
    message = Bridge(tmp_path).refused("--signet", "operator", "assert", "0000", *option, code=2)
    assert message == f"{option[0]}: 'signet' is not used on regtest only"


def test_hash_chain_takes_no_proof(disputed: tuple[Bridge, str, int], files: dict[str, str]) -> None:
    bridge, instance, _ = disputed
    message = bridge.refused("operator", "assert", instance, "--proof", files["right"], code=2)
    assert re.match("--proof: '129 bytes' is not an input of hash-chain, which takes none", message), message
    refusal = bridge.refused("operator", "assert", instance, "--lie-raw", "first", code=2)
    assert "is not one that hash-chain takes (none)" in refusal


def test_right_proof_is_paid(claimed: tuple[Bridge, str, int], files: dict[str, str], copy: Copy) -> None:
    bridge, (_, instance, height) = copy(claimed[0]), claimed
    bridge.send("operator", "assert", instance, "--proof", files["right"])
    assert bridge.data("challenger", "check", instance) == {"instance": instance, "correct": True}
    assert bridge.run("challenger", "check", instance).stdout == "the assertion is correct\n"
    for command in (("check", instance, "--build"), ("disprove", instance, "--broadcast")):
        assert bridge.refused("challenger", *command, code=1).startswith("disprove: the assertion is correct")
    bridge.mine_to(height + 3 * WINDOW - 1)
    bridge.send("operator", "unhappy-take", instance)
    assert bridge.state(instance) == "UnhappyTake"


def test_a_proof_comes_from_a_source(claimed: tuple[Bridge, str, int], files: dict[str, str], tmp_path: Path) -> None:
    """A folder, a command, a service: what `watch` takes, each of them once."""
    (tmp_path / "folder").mkdir()
    text = f"exec:cat {files['right']}"
    states = {"/jobs": b'{"job": "1", "state": "done"}', "/jobs/1/proof": Path(files["right"]).read_bytes()}
    with served(lambda asked: (200, states[asked.path])) as server:
        for number, source in enumerate((str(tmp_path / "folder"), text, server.url)):
            bridge, (_, instance, _) = claimed[0].copy(tmp_path / str(number)), claimed
            (tmp_path / "folder" / f"{instance}.json").write_bytes(Path(files["right"]).read_bytes())
            bridge.send("operator", "assert", instance, "--proof-source", source)
            assert bridge.data("challenger", "check", instance)["correct"]
    assert [asked.path for asked in server.asked] == ["/jobs", "/jobs/1/proof"]


def test_the_environment_names_a_source_and_a_file_goes_first(
    claimed: tuple[Bridge, str, int], files: dict[str, str], copy: Copy
) -> None:
    bridge, (_, instance, _) = copy(claimed[0]), claimed
    env = {"BITVM_BRIDGE_PROOFS": "exec:false"}
    done = bridge.run("operator", "assert", instance, "--dry-run", env=env, code=1)
    assert "prover false: exit code 1" in done.stderr
    bridge.run("operator", "assert", instance, "--proof", files["right"], "--dry-run", env=env)
    bridge.run("operator", "assert", instance, "--proof-source", f"exec:cat {files['right']}", "--dry-run", env=env)


@pytest.mark.parametrize(
    ("source", "code", "message"),
    [
        ("exec:true", 1, "Assert: --proof-source has no proof of this instance yet; ask it again later"),
        ("exec:cat odd", 5, "the proof does not verify: the first number is odd"),
        ("exec:cat noise", 2, "--proof: '2 lines' is not two numbers"),
        ("/no/such/folder", 2, "--proof-source: '/no/such/folder' is not a folder, exec:COMMAND or an http URL"),
        ("exec:", 2, "prover: 'nothing' is not a command and its arguments"),
    ],
)
def test_a_source_without_a_right_proof(
    claimed: tuple[Bridge, str, int], files: dict[str, str], source: str, code: int, message: str
) -> None:
    bridge, instance, _ = claimed
    text = " ".join(files.get(word, word) for word in source.split(" "))
    found = bridge.refused("operator", "assert", instance, "--proof-source", text, "--broadcast", code=code)
    assert found.startswith(message), found
    assert bridge.contents()["one_time_keys"] == []
    both = ("--proof", files["right"], "--proof-source", text)
    message = bridge.refused("operator", "assert", instance, *both, "--broadcast", code=2)
    assert message == "--proof-source: 'given' is not used together with --proof"


FALSE: dict[str, tuple[tuple[str, ...], str, str]] = {
    "invalid": (("--proof", "large", "--force-invalid"), "small", r"a number is not below 2\^232"),
    "raw": (("--proof", "right", "--lie-raw", "first"), "half", "the first number is odd"),
    "digest": (("--proof", "right", "--lie", "half"), "half", "half is [0-9a-f]{40}, claimed [0-9a-f]{40}"),
    "last digest": (("--proof", "right", "--lie", "again"), "again", "again is [0-9a-f]{40}, claimed [0-9a-f]{40}"),
}


@pytest.mark.parametrize("name", FALSE)
def test_false_assertion_is_found_and_disproved(
    claimed: tuple[Bridge, str, int], files: dict[str, str], copy: Copy, name: str
) -> None:
    bridge, (_, instance, _) = copy(claimed[0]), claimed
    options, chunk, reason = FALSE[name]
    bridge.send("operator", "assert", instance, *(files.get(option, option) for option in options))
    found = bridge.data("challenger", "check", instance)
    assert (found["correct"], found["chunk"]) == (False, chunk)
    assert re.fullmatch(reason, found["reason"])
    assert ("claimed" in found) == (name in ("digest", "last digest"))
    line = bridge.run("challenger", "check", instance).stdout
    assert re.fullmatch(f"{chunk} is wrong: {reason}\n", line)
    report = bridge.send("challenger", "disprove", instance)
    assert (report["chunk"], report["reason"]) == (chunk, found["reason"])
    assert bridge.state(instance) == "Disprove"


def offline(bridge: Bridge, tmp_path: Path) -> Bridge:
    """The same store without a chain: a node would begin one there."""
    alone = bridge.copy(tmp_path / "offline")
    (alone.datadir / "regtest" / "chain").rename(tmp_path / "chain")
    return alone


@pytest.mark.parametrize("name", FALSE)
def test_raw_assertion_is_checked_and_disproved_offline(
    claimed: tuple[Bridge, str, int], files: dict[str, str], copy: Copy, tmp_path: Path, name: str
) -> None:
    bridge, (_, instance, _) = copy(claimed[0]), claimed
    options, chunk, _ = FALSE[name]
    raw, built = str(tmp_path / "assert.hex"), tmp_path / "disprove.hex"
    bridge.send("operator", "assert", instance, *(files.get(option, option) for option in options), "--out", raw)
    alone = offline(bridge, tmp_path)
    check = ("challenger", "check", instance, "--tx")
    assert alone.data(*check, raw)["chunk"] == chunk
    assert alone.data(*check, Path(raw).read_text().strip())["chunk"] == chunk
    report = alone.data(*check, raw, "--build", "--output", str(built), "--fee-rate", "3")
    tx = Transaction.parse_hex(built.read_text().strip(), "built")
    assert (report["txid"], report["weight"]) == (tx.txid_hex, tx.weight)
    assert 0 <= report["fee"] - 3 * tx.vsize <= 2
    assert verify_inputs(tx, setup_of(alone, instance).graph["Disprove"].spent) is None
    done = alone.run(*check, raw, "--build", "--fee-rate", "3")
    assert done.stdout == built.read_text()
    assert f"{chunk} is wrong: " in done.stderr
    assert alone.data(*check, raw, "--build", "--fee-rate", "3")["raw"] == done.stdout.strip()
    assert not (alone.datadir / "regtest" / "chain").exists()
    before = bridge.balances()["challenger"]
    bridge.run("node", "mine-transactions", str(built))
    assert bridge.state(instance) == "Disprove"
    assert bridge.balances()["challenger"] - before == tx.outputs[1].amount


def test_right_assertion_offline(
    claimed: tuple[Bridge, str, int], files: dict[str, str], copy: Copy, tmp_path: Path
) -> None:
    bridge, (_, instance, _) = copy(claimed[0]), claimed
    raw = str(tmp_path / "assert.hex")
    bridge.send("operator", "assert", instance, "--proof", files["right"], "--out", raw)
    alone = offline(bridge, tmp_path)
    check = ("challenger", "check", instance, "--tx", raw)
    assert alone.data(*check)["correct"]
    assert "the assertion is correct" in alone.refused(*check, "--build", code=1)
    assert "--output: 'x' is not used without --build" in alone.refused(*check, "--output", "x", code=2)
    assert "--fee-rate: '2.0' is not used without --build" in alone.refused(*check, "--fee-rate", "2", code=2)
    assert "fee rate: '0.0'" in alone.refused(*check, "--build", "--fee-rate", "0", code=2)


def test_demo_takes_a_proof(files: dict[str, str], tmp_path: Path) -> None:
    told = Bridge(tmp_path).data("demo", "fraud", "--program", "toy", "--proof", files["right"])
    assert [tx["name"] for tx in told["stories"][0]["transactions"]][-1] == "Disprove"
    for options, code in ((("--proof", files["odd"]), 5), ((), 2)):
        done = Bridge(tmp_path).run("demo", "challenged", "--program", "toy", "--json", *options, code=code)
        assert len(done.stderr.splitlines()) == 1
