"""`bump` and `resend` on the command line: what they send, what they keep, and what they refuse."""

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from typing import Any

import pytest

from bitvm_bridge import records
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.transaction import Transaction
from tests.cli.bridge import (
    AMOUNT,
    PLAIN,
    PROGRAM,
    RECEIVER,
    WINDOW,
    Bridge,
    join,
    kick_off,
    make_deposit,
    make_keys,
    rpc_options,
    set_up,
)
from tests.cli.conftest import Copy
from tests.vectors import ROOT

DEPOSIT = ("depositor", "deposit", "--receiver", RECEIVER)


def rate(report: dict[str, Any]) -> float:
    return float(report["fee"]) / (report["vsize"] + report.get("child_vsize", 0))


def test_a_package_is_bumped(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    first = bridge.data("operator", "kick-off", instance, "--broadcast")
    dry = bridge.data("bump", "KickOff", "--fee-rate", "7", "--dry-run")
    assert rate(dry) == pytest.approx(7, abs=0.05)
    assert len(bridge.mempool()) == 2
    report = bridge.data("bump", first["txid"][:10], "--fee-rate", "7", "--broadcast")
    assert (report["name"], report["txid"]) == ("KickOff", first["txid"])
    assert report["fee_rate"] == f"{rate(report):.2f} sat/vB"
    waiting = [Transaction.parse_hex(raw).txid_hex for raw in bridge.mempool()]
    assert waiting == [first["txid"], report["child"]]
    assert report["child"] != first["child"]
    bridge.mine()
    assert bridge.state(instance) == "KickOff"


def test_a_bump_without_a_rate_follows_the_deadline(pegged: tuple[Bridge, str], copy: Copy) -> None:
    """HappyTake is six blocks from the end of its window: three times the estimate."""
    bridge, instance = copy(pegged[0]), pegged[1]
    height = kick_off(bridge, instance)
    bridge.mine_to(height + WINDOW - 1)
    bridge.run("operator", "happy-take", instance, "--broadcast")
    assert rate(bridge.data("bump", "HappyTake", "--dry-run")) == pytest.approx(3, abs=0.05)


def test_a_bump_that_is_only_written_is_kept(keyed: Bridge, copy: Copy) -> None:
    """Its coins stay set aside, and either version can be found."""
    bridge = copy(keyed)
    first = bridge.data(*DEPOSIT, "--broadcast")
    with bridge.store() as store:
        coins = store.reserved_coins()
    written = bridge.data("bump", "PegInDeposit", "--fee-rate", "4", "--out", "-")
    assert len(bridge.mempool()) == 1
    with bridge.store() as store:
        assert store.reserved_coins() == coins
    for txid in (first["txid"], written["txid"]):
        assert bridge.data("bump", txid, "--fee-rate", "9", "--dry-run")["name"] == "PegInDeposit"


def test_a_deposit_follows_its_replacement(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    deposit = bridge.data(*DEPOSIT, "--broadcast")["deposit"]
    report = bridge.data("bump", "PegInDeposit", "--fee-rate", "4", "--broadcast")
    (row,) = bridge.data("depositor", "list")["deposits"]
    assert row["outpoint"] == f"{report['txid']}:0"
    bridge.mine()
    instance = join(bridge, deposit)
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)


def test_a_claim_follows_its_replacement(keyed: Bridge, copy: Copy) -> None:
    """Until the committee signs; from then on it is refused."""
    bridge = copy(keyed)
    deposit = make_deposit(bridge)
    instance = bridge.data("operator", "join", deposit, "--program", PROGRAM, "--broadcast")["instance"]
    report = bridge.data("bump", "ClaimFunding", "--fee-rate", "4", "--broadcast")
    with bridge.store() as store:
        assert records.load_instance(store, instance).claim.txid[::-1].hex() == report["txid"]
    bridge.run("committee", "sign", instance)
    message = bridge.refused("bump", "ClaimFunding", "--fee-rate", "8", "--broadcast", code=1)
    assert "the committee has signed the instance on its txid" in message
    bridge.mine()
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    kick_off(bridge, instance)


def test_a_peg_out_keeps_the_withdrawers_half(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    psbt = str(bridge.datadir / "psbt")
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", psbt)
    bridge.run("operator", "peg-out", instance, "--psbt", psbt, "--broadcast")
    before = Transaction.parse_hex(bridge.mempool()[0])
    bridge.run("bump", "PegOut", "--of", instance[:6], "--fee-rate", "6", "--broadcast")
    (after,) = (Transaction.parse_hex(raw) for raw in bridge.mempool())
    assert after.inputs[0] == before.inputs[0]
    assert after.outputs[:2] == before.outputs[:2]
    bridge.mine()


def test_an_assert_signs_no_other_message(disputed: tuple[Bridge, str, int], copy: Copy) -> None:
    """The one-time signatures are those of the first; only the operator's own is new."""
    bridge, instance = copy(disputed[0]), disputed[1]
    bridge.run("operator", "assert", instance, "--broadcast")
    keys = bridge.contents()["one_time_keys"]
    before = Transaction.parse_hex(bridge.mempool()[0])
    bridge.run("bump", "Assert", "--fee-rate", "12", "--broadcast")
    (after,) = (Transaction.parse_hex(raw) for raw in bridge.mempool())
    assert after.txid != before.txid
    assert [txin.witness[1:] for txin in after.inputs[:-1]] == [txin.witness[1:] for txin in before.inputs[:-1]]
    assert bridge.contents()["one_time_keys"] == keys
    bridge.mine()
    assert bridge.state(instance) == "Assert"


def test_refusals(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    assert "(they are: none)" in bridge.refused("bump", "KickOff", "--broadcast", code=2)
    deposit = bridge.data(*DEPOSIT, "--broadcast")["deposit"]
    known = f"(they are: PegInDeposit of {deposit[:12]})"
    assert known in bridge.refused("bump", "ab" * 32, "--broadcast", code=2)
    assert known in bridge.refused("bump", "PegInDeposit", "--of", "zz", code=2)
    assert "known name (default)" in bridge.refused("bump", "PegInDeposit", "--name", "eve", code=2)
    bridge.run("depositor", "keygen", "--name", "eve")
    assert "--name: 'another key'" in bridge.refused("bump", "PegInDeposit", "--name", "eve", code=2)
    mean = Bridge(bridge.datadir, *PLAIN, "--max-fee-rate", "1.05")
    assert "must pay 1.101 sat/vB and 1.05 is the maximum" in mean.refused("bump", "PegInDeposit", code=1)
    assert "at most 1.05 sat/vB" in mean.refused("bump", "PegInDeposit", "--fee-rate", "1.06", code=2)
    bridge.mine()
    assert f"already confirmed, in block {bridge.height()}" in bridge.refused("bump", "PegInDeposit", code=1)


def test_resend_brings_back_what_the_node_forgot(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    sent = bridge.data("operator", "kick-off", instance, "--broadcast")
    waiting = bridge.mempool()
    (bridge.datadir / "regtest" / "chain" / "mempool.hex").unlink()
    rows = bridge.data("resend", "--once")["transactions"]
    assert bridge.mempool() == waiting
    assert [(row["name"], row["action"], row["problem"]) for row in rows if row["txid"] == sent["txid"]] == [
        ("KickOff", "send", "")
    ]
    rows = bridge.data("resend", "--once")["transactions"]
    assert [row["action"] for row in rows if row["name"] == "KickOff"] == ["wait"]


def test_resend_settles_what_is_deep_enough(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    bridge.run(*DEPOSIT, "--broadcast")
    bridge.mine(5)
    done = bridge.run("resend", "--once")
    assert "confirmed, 5 of 6 blocks deep" in done.stdout
    bridge.mine()
    done = bridge.run("resend", "--once")
    assert done.stdout.startswith("settle  PegInDeposit ")
    with bridge.store() as store:
        assert store.reserved_coins() == {}
    done = bridge.run("resend", "--every", "0.1")
    assert (done.stdout, done.stderr) == ("", "nothing waits for a block\n")
    assert json.loads(bridge.run("resend", "--once", "--json").stdout) == {"transactions": []}


def test_resend_replaces_only_when_told(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    height = kick_off(bridge, instance)
    bridge.mine_to(height + WINDOW - 1)
    bridge.run("operator", "happy-take", instance, "--broadcast")
    before = bridge.mempool()
    done = bridge.run("resend", "--once")
    assert "should pay 3; a replacement costs more, and was not allowed" in done.stdout
    assert bridge.mempool() == before
    capped = Bridge(bridge.datadir, *PLAIN, "--max-fee-rate", "2")
    assert capped.run("resend", "--once", "--bump").code == 0
    parent, child = (Transaction.parse_hex(raw) for raw in bridge.mempool())
    assert [parent.serialize().hex()] == before[:1]
    assert child.serialize().hex() != before[1]
    assert "waits in the mempool" in capped.run("resend", "--once", "--bump").stdout


def test_coins_of_what_was_never_sent_can_be_let_go(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    deposit = bridge.data(*DEPOSIT)["deposit"]
    (row,) = bridge.data("coins")["coins"]
    assert row["for"] == f"PegInDeposit of {deposit}"
    assert f"{row['coin']}  {row['for']}\n" == bridge.run("coins").stdout
    assert bridge.data("coins", "--release", "PegInDeposit")["coins"] == []
    assert "(they are: none)" in bridge.refused("coins", "--release", "PegInDeposit", code=2)
    bridge.run(*DEPOSIT, "--broadcast")
    message = bridge.refused("coins", "--release", "PegInDeposit", code=1)
    assert "it was sent; its coins are free 6 blocks after" in message
    assert len(bridge.data("coins")["coins"]) == 1


def test_resend_goes_on_until_all_is_settled(keyed: Bridge, copy: Copy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks come while it waits, and once the node does not answer."""
    bridge = copy(keyed)
    bridge.run(*DEPOSIT, "--broadcast")
    naps: list[float] = []
    held = ExitStack()

    def nap(seconds: float) -> None:
        naps.append(seconds)
        held.close()
        bridge.mine(3)
        if len(naps) == 2:
            held.callback(EmbeddedNode(bridge.datadir / "regtest" / "chain").close)

    monkeypatch.setattr("cli.bump.time.sleep", nap)
    done = bridge.run("resend", "--every", "5")
    assert naps == [5.0] * 4
    lines = done.stderr.splitlines()
    assert "waits in the mempool" in lines[0]
    assert "confirmed, 3 of 6 blocks deep" in lines[1]
    assert "is in use by another process; trying again" in lines[2]
    assert lines[3] == lines[1]
    assert lines[4].startswith("settle ")
    assert lines[5:] == ["nothing waits for a block"]


def test_resend_does_not_wait_for_what_was_never_sent(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    bridge.run(*DEPOSIT)
    assert bridge.data("resend")["transactions"] == []
    assert bridge.mempool() == []


def test_processes_at_once_spend_different_coins(fresh_bitcoind: LaunchedBitcoind, keyed: Bridge, copy: Copy) -> None:
    """Four deposits of one depositor at the same moment, ever dearer: who comes second for a coin takes another.

    Or it sends nothing. The node alone would let the dearer one push out the other.
    """
    bridge = Bridge(copy(keyed).datadir / "core", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    bridge.run("node", "mine", "2", "--to", "depositor")
    bridge.mine(100)
    run = "import sys; from cli.main import main; sys.argv[0] = 'bitvm-bridge'; main()"
    line = [sys.executable, "-c", run, "--datadir", str(bridge.datadir), *bridge.options, *DEPOSIT[:-1]]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [*line, digits * 20, "--broadcast", "--fee-rate", rate],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for digits, rate in (("aa", "2"), ("bb", "4"), ("cc", "8"), ("dd", "16"))
    ]
    said = [process.communicate(timeout=120)[1] for process in running]
    codes = [process.returncode for process in running]
    assert codes.count(0) >= 1
    for code, text in zip(codes, said, strict=True):
        taken = "already reserved for PegInDeposit" in text or "insufficient fee, rejecting replacement" in text
        assert code == 0 or taken, text
        assert code == 0 or not text.rstrip().endswith("choosing again")
    with bridge.store() as store:
        kept = store.unsettled()
        coins = [txin.outpoint for item in kept for txin in item.tx.inputs]
        assert len(kept) == codes.count(0)
        assert len(set(coins)) == len(coins) == len(store.reserved_coins())
    assert all(fresh_bitcoind.node.in_mempool(item.tx.txid) for item in kept)


def test_on_bitcoin_core(fresh_bitcoind: LaunchedBitcoind, keyed: Bridge, copy: Copy) -> None:
    """A deposit and a package, bumped and settled there."""
    bridge = Bridge(copy(keyed).datadir / "core", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    instance = set_up(bridge)
    first = bridge.data("operator", "kick-off", instance, "--broadcast")
    report = bridge.data("bump", "KickOff", "--fee-rate", "9", "--broadcast")
    assert report["policy"] == "accepted"
    assert report["child"] != first["child"]
    bridge.mine(6)
    rows = bridge.data("resend", "--once")["transactions"]
    assert {row["name"]: row["action"] for row in rows}["KickOff"] == "settle"
