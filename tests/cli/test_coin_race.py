"""Two commands of one data directory that choose the same coin: the one that comes second chooses again."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bitvm_bridge import actions, records
from bitvm_bridge.chain.node import Node, Verdict
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.wallet import Prepared
from cli import app as app_module
from cli.main import root
from tests.cli.bridge import RECEIVER, Bridge
from tests.cli.conftest import Copy

DEPOSIT = ("depositor", "deposit", "--receiver", RECEIVER, "--peg-in", "10000000")


def take_coins(monkeypatch: pytest.MonkeyPatch, bridge: Bridge, times: list[int]) -> list[OutPoint]:
    """Another command that takes a coin, so many times, just before the first one keeps its transaction."""
    taken: list[OutPoint] = []
    judge = actions.judge

    def judge_late(prepared: Prepared, node: Node) -> Verdict:
        verdict = judge(prepared, node)
        if len(taken) < times[0]:
            taken.append(max(prepared.coins))
            with bridge.store() as store:
                store.reserve_coin(taken[-1], f"rival {len(taken)}")
        return verdict

    monkeypatch.setattr(actions, "judge", judge_late)
    return taken


@pytest.fixture
def rival(monkeypatch: pytest.MonkeyPatch, keyed: Bridge, copy: Copy) -> tuple[Bridge, list[OutPoint], list[int]]:
    """A bridge, what its rival has taken, and how often it does."""
    bridge, times = copy(keyed), [1]
    return bridge, take_coins(monkeypatch, bridge, times), times


def test_it_takes_another_coin(rival: tuple[Bridge, list[OutPoint], list[int]]) -> None:
    bridge, taken, _ = rival
    done = bridge.run(*DEPOSIT, "--broadcast", "--json")
    report = json.loads(done.stdout)
    assert report["broadcast"]
    assert len(taken) == 1
    assert done.stderr.splitlines()[0].startswith(f"coin {taken[0]}: already reserved for rival 1, wanted for PegIn")
    assert done.stderr.splitlines()[0].endswith("; choosing again")
    with bridge.store() as store:
        (kept,) = store.unsettled()
        assert kept.tx.txid_hex == report["txid"]
        assert taken[0] not in [txin.outpoint for txin in kept.tx.inputs]
        assert store.reserved_coins()[taken[0]] == "rival 1"


def test_no_coin_is_left(rival: tuple[Bridge, list[OutPoint], list[int]]) -> None:
    bridge, taken, times = rival
    times[0] = 2
    done = bridge.run(*DEPOSIT, "--broadcast", code=1)
    assert len(taken) == 2
    assert done.stderr.splitlines()[-1].startswith("error: wallet: 0 sat in coins do not pay")
    assert bridge.mempool() == []
    with bridge.store() as store:
        assert store.unsettled() == []


def test_it_gives_up_in_the_end(
    rival: tuple[Bridge, list[OutPoint], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, taken, times = rival
    times[0] = 2
    monkeypatch.setattr(app_module, "TRIES", 2)
    done = bridge.run(*DEPOSIT, code=1)
    assert len(taken) == 2
    assert [line.endswith("; choosing again") for line in done.stderr.splitlines()] == [True, False]
    assert done.stderr.splitlines()[-1].startswith(f"error: coin {taken[1]}: already reserved for rival 2")


def test_a_rival_that_was_faster_at_the_node_too(keyed: Bridge, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """The node refuses what conflicts with its mempool; that is no reason to give up."""
    bridge = copy(keyed)
    open_wallet, rivals = actions.open_wallet, list[str]()

    def open_late(*args: Any) -> Any:
        wallet = open_wallet(*args)
        if not rivals:
            rivals.append("")
            store, node = args[:2]
            rivals[0] = send_other(store, node, wallet)
        return wallet

    monkeypatch.setattr(actions, "open_wallet", open_late)
    report = bridge.data(*DEPOSIT, "--broadcast")
    assert len(bridge.mempool()) == 2
    assert report["txid"] != rivals[0]


def send_other(store: Store, node: Node, wallet: Any) -> str:
    """Out of the same coins, at a fee that the second one does not outbid; kept and sent as any command does it."""
    prepared = Prepared("Other", wallet.at(100.0).pay([]))
    records.keep(store, bytes(32), prepared, sent=True)
    actions.send(prepared, node)
    return prepared.tx.txid_hex


def test_stdin_is_there_for_the_second_choice(
    pegged: tuple[Bridge, str], copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    bridge.run("withdrawer", "request", "--amount", "99000000", "--out", str(tmp_path / "psbt"))
    taken = take_coins(monkeypatch, bridge, [1])
    args = ["--datadir", str(bridge.datadir), *bridge.options, "operator", "peg-out", instance, "--psbt", "-"]
    done = CliRunner().invoke(root, args, input=(tmp_path / "psbt").read_bytes())
    assert (done.exit_code, len(taken)) == (0, 1), done.stderr
    assert "PegOut" in done.stdout


def test_other_refusals_are_not_tried_again(keyed: Bridge, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, calls = copy(keyed), list[int]()

    def fail(*_: Any, **__: Any) -> None:
        calls.append(1)
        raise BridgeError("no")

    monkeypatch.setattr(records, "keep", fail)
    assert bridge.refused(*DEPOSIT, code=1) == "no"
    assert len(calls) == 1
