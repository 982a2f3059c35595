"""The command itself: its log, its metrics, its exit codes, a node that goes away, and no secret anywhere."""

import json
import os
import re
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.errors import NodeUnreachable
from bitvm_bridge.keys import Role
from bitvm_bridge.watch.metrics import Counts, MetricsServer, render
from cli import watch as command
from tests.cli.bridge import PLAIN, WINDOW, Bridge, make_keys, pay_out, rpc_options, set_up
from tests.watch.test_stories import CHALLENGER, LIE, OPERATOR, PROGRAM, kick_off_by_hand, look, state

SAMPLE = re.compile(r"^[a-z_]+(\{([a-z_]+=\"[^\"\\]*\",?)*\})? -?[0-9.e+]+$")


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str]:
    bridge = Bridge(tmp_path_factory.mktemp("vault") / "data", *PLAIN)
    make_keys(bridge)
    return bridge, set_up(bridge, PROGRAM)


@pytest.fixture
def played(vault: tuple[Bridge, str], tmp_path: Path) -> tuple[Bridge, str]:
    return vault[0].copy(tmp_path / "data"), vault[1]


def samples(page: str) -> dict[str, float]:
    """Every sample of a page in the text format, each line checked."""
    lines = page.splitlines()
    comments = [line.split() for line in lines if line.startswith("#")]
    assert all(words[1] in ("HELP", "TYPE") and words[2].startswith("bitvm_bridge_") for words in comments)
    found = [line for line in lines if not line.startswith("#")]
    assert all(SAMPLE.match(line) for line in found), found
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in found}


def test_metrics_in_a_file(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    path = bridge.datadir / "bridge.prom"
    height = kick_off_by_hand(bridge, instance)
    bridge.run("watch", "--as", CHALLENGER, "--once", "--metrics-file", str(path))
    found = samples(path.read_text())
    assert found["bitvm_bridge_height"] == height
    assert found["bitvm_bridge_lag_blocks"] == 0
    assert found['bitvm_bridge_instances{state="kicked-off"}'] == 1
    assert found["bitvm_bridge_at_risk_sat"] == 120_000_000
    assert found["bitvm_bridge_sent_total"] == 1
    assert found["bitvm_bridge_errors_total"] == 0
    assert found['bitvm_bridge_possible{party="challenger",transaction="Challenge"}'] == 1
    deadline = f'bitvm_bridge_deadline_blocks{{instance="{instance}",transaction="Challenge"}}'
    assert found[deadline] == WINDOW - 1


def test_metrics_are_served_on_this_machine() -> None:
    server = MetricsServer(0)
    try:
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert samples(answer.read().decode())["bitvm_bridge_looks_total"] == 0
        server.page = render(None, Counts(looks=3))
        with urlopen(f"http://127.0.0.1:{server.port}/metrics") as answer:
            assert samples(answer.read().decode())["bitvm_bridge_looks_total"] == 3
    finally:
        server.close()


def test_a_port_that_is_taken(played: tuple[Bridge, str]) -> None:
    server = MetricsServer(0)
    try:
        taken = str(server.port)
        assert "--metrics-port" in played[0].refused(
            "watch", "--as", OPERATOR, "--once", "--metrics-port", taken, code=2
        )
    finally:
        server.close()


def test_wrong_options_are_refused(played: tuple[Bridge, str]) -> None:
    bridge, _ = played
    assert "known name" in bridge.refused("watch", "--as", OPERATOR, "--name", "nobody", "--once", code=2)
    assert "share of the deposit" in bridge.refused("watch", "--as", CHALLENGER, "--owed", "0", "--once", code=2)
    assert "--as" in bridge.refused("watch", "--as", "depositor", "--once", code=2)


def test_the_log_in_json(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    done = bridge.run("watch", "--as", CHALLENGER, "--once", "--log-json")
    notes = [json.loads(line) for line in done.stderr.splitlines()]
    assert [note["event"] for note in notes] == ["state", "near", "sent"]
    for note in notes:
        assert set(note) == {"time", "level", "event", "instance", "txid", "message"}
        assert note["instance"] == instance
    assert re.fullmatch(r"[0-9a-f]{64}", notes[2]["txid"])
    assert [note["level"] for note in notes] == ["info", "warning", "info"]
    assert notes[0]["message"] == "kicked-off"


def test_no_secret_is_ever_said(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    with bridge.store() as store:
        secrets = [
            store.seed(role, name).reveal()
            for role in (Role.OPERATOR, Role.CHALLENGER, Role.COMMITTEE, Role.DEPOSITOR, Role.WITHDRAWER)
            for name in store.seed_names(role)
        ]
        for role in (Role.OPERATOR, Role.CHALLENGER):
            secrets += [
                store.seed(role, "default").wallet_key().reveal(),
                store.seed(role, "default").winternitz_seed(),
            ]
    path = bridge.datadir / "bridge.prom"
    kick_off_by_hand(bridge, instance)
    for role in (CHALLENGER, OPERATOR, "committee", CHALLENGER):
        for options in ((), ("--log-json",), ("--json",)):
            bridge.run("watch", "--as", role, "--once", "--metrics-file", str(path), *options)
        bridge.mine()
    bridge.run("status")
    said = "".join(done.stdout + done.stderr for done in bridge.log) + path.read_text()
    assert instance in said
    for secret in secrets:
        assert secret.hex() not in said
        assert repr(secret)[2:-1] not in said


def test_status(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    (row,) = bridge.data("status")["instances"]
    assert (row["state"], row["at_risk"], row["problem"]) == ("pegged-in", 0, None)
    assert [(item["name"], item["by"], item["now"], item["if"]) for item in row["next"]] == [
        ("KickOff", "operator", True, "its PegOut has confirmed")
    ]
    height = kick_off_by_hand(bridge, instance)
    (row,) = bridge.data("status")["instances"]
    assert row["at_risk"] == 120_000_000
    assert [(item["name"], item["by"], item["from"], item["before"]) for item in row["next"]] == [
        ("HappyTake", "operator", height + WINDOW, height + 2 * WINDOW),
        ("Challenge", "challenger", height + 1, height + WINDOW),
        ("AssertTimeout_0", "challenger", height + 2 * WINDOW, height + 3 * WINDOW),
        ("Forfeit", "challenger", height + 4 * WINDOW, None),
    ]
    text = bridge.run("status").stdout
    assert f"{instance[:12]}  kicked-off  120,000,000  HappyTake by operator  from block {height + WINDOW}" in text


def test_status_of_nothing(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN)
    assert bridge.data("status") == {"height": 0, "lag": 0, "instances": []}
    assert "no instance yet" in bridge.run("status").stderr


def test_a_deadline_that_has_passed_is_an_error_and_still_tried(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    bridge.send("challenger", "challenge", instance)
    bridge.mine(2 * WINDOW)
    report = bridge.data("watch", "--as", OPERATOR, "--once")
    assert [note["event"] for note in report["notes"]] == ["state", "late", "sent"]
    bridge.mine()
    assert state(bridge, instance) == "asserted"


def test_an_unreachable_node_has_its_exit_code(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, "--rpcport", "1", "--rpcuser", "a", "--rpcpassword", "b")
    bridge.run("operator", "keygen")
    assert "no connection" in bridge.run("watch", "--as", OPERATOR, "--once", code=3).stderr


Look = Callable[..., Any]


def test_a_node_that_goes_away_is_waited_for(played: tuple[Bridge, str], monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, instance = played
    pay_out(bridge, instance)
    real: Look = command._look
    answers: list[str] = ["away", "away", "here", "away", "last"]

    def faulty(*args: Any, **options: Any) -> Any:
        answer = answers.pop(0)
        if answer == "away":
            raise NodeUnreachable("the node is away")
        if answer == "last":
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*args, **options)

    monkeypatch.setattr(command, "_look", faulty)
    done = bridge.run("watch", "--as", OPERATOR, "--poll", "0.05", "--log-json")
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["unreachable", "unreachable", "state", "sent", "unreachable"], (
        "what is told once a block is told once"
    )
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_a_fork_that_is_too_deep_ends_it(played: tuple[Bridge, str]) -> None:
    bridge, _ = played
    bridge.data("status")
    with bridge.store() as store:
        for key, _raw in store.items("watch block"):
            store.put("watch block", key, bytes(32))
    assert "--rescan" in bridge.run("watch", "--as", OPERATOR, "--once", code=1).stderr
    assert look(bridge, OPERATOR, "--rescan") == []
    assert look(bridge, OPERATOR) == []


def test_a_reorganisation_on_bitcoin_core(fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    rpc = fresh_bitcoind.node._rpc
    make_keys(bridge)
    instance = set_up(bridge, PROGRAM)
    pay_out(bridge, instance)
    assert look(bridge, OPERATOR) == ["KickOff"]
    bridge.mine()
    assert state(bridge, instance) == "kicked-off"
    assert "pegged-in → kicked-off" in bridge.run("watch", "--as", OPERATOR, "--once").stderr
    rpc.call("invalidateblock", rpc.call("getbestblockhash"))
    fresh_bitcoind.node.mine_transactions([])
    fresh_bitcoind.node.mine_transactions([])
    report = bridge.data("watch", "--as", OPERATOR, "--once")
    assert [note["event"] for note in report["notes"]] == ["reorg", "state", "waits"], "the node kept it in its mempool"
    assert state(bridge, instance) == "pegged-in"
    bridge.mine()
    assert state(bridge, instance) == "kicked-off"
    assert look(bridge, CHALLENGER) == []


def test_a_challenge_comes_back_after_a_reorganisation(fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    rpc = fresh_bitcoind.node._rpc
    make_keys(bridge)
    instance = set_up(bridge, PROGRAM)
    kick_off_by_hand(bridge, instance)
    assert look(bridge, CHALLENGER) == ["Challenge"]
    bridge.mine()
    bridge.send("operator", "assert", instance, "--lie", LIE)
    assert look(bridge, CHALLENGER) == ["Disprove"]
    bridge.mine()
    assert state(bridge, instance) == "disproved"
    rpc.call("invalidateblock", rpc.call("getblockhash", bridge.height() - 2))
    for _ in range(4):
        fresh_bitcoind.node.mine_transactions([])
    look(bridge, CHALLENGER)
    assert state(bridge, instance) == "kicked-off"
    for _ in range(4):
        bridge.mine()
        look(bridge, CHALLENGER)
    assert state(bridge, instance) == "disproved"
