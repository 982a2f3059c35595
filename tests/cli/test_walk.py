"""Every ending of the protocol through the commands of its roles, one invocation a step."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.params import DUST, Network, Params
from tests.cli.bridge import (
    AMOUNT,
    LIE,
    PLAIN,
    REFUND_DELAY,
    WINDOW,
    Bridge,
    challenged,
    join,
    kick_off,
    make_deposit,
    make_keys,
    pay_out,
    rpc_options,
    set_up,
)
from tests.cli.conftest import Copy

PARAMS = Params()
LOW_LIMIT = 30_000
"""WU, between Assert and Disprove."""
FEES = 10_000
"""sat: more than the fees of any party in one walk at 1 sat/vB."""


def gains(before: dict[str, int], bridge: Bridge) -> dict[str, int]:
    return {role: sat - before[role] for role, sat in bridge.balances().items()}


def test_happy_take(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    before = bridge.balances()
    pay_out(bridge, instance)
    height = kick_off(bridge, instance)
    bridge.mine_to(height + WINDOW - 2)
    assert "non-BIP68-final" in bridge.refused("operator", "happy-take", instance, "--broadcast", code=4)
    bridge.mine()
    bridge.send("operator", "happy-take", instance)
    assert bridge.height() == height + WINDOW
    assert bridge.state(instance) == "HappyTake"
    gained = gains(before, bridge)
    assert gained["withdrawer"] == AMOUNT
    assert 0 < PARAMS.peg_in - AMOUNT - gained["operator"] < FEES
    assert gained["challenger"] == 0


def test_unhappy_take(disputed: tuple[Bridge, str, int], copy: Copy) -> None:
    bridge, (_, instance, height) = copy(disputed[0]), disputed
    bridge.mine_to(height + WINDOW - 1)
    assert "missingorspent" in bridge.refused("operator", "happy-take", instance, "--broadcast", code=4)
    bridge.send("operator", "assert", instance)
    assert bridge.data("challenger", "check", instance)["correct"]
    assert "correct" in bridge.refused("challenger", "disprove", instance, "--broadcast", code=1)
    bridge.mine_to(height + 3 * WINDOW - 2)
    assert "non-BIP68-final" in bridge.refused("operator", "unhappy-take", instance, "--broadcast", code=4)
    bridge.mine()
    bridge.send("operator", "unhappy-take", instance)
    assert bridge.state(instance) == "UnhappyTake"


def test_disprove(disputed: tuple[Bridge, str, int], copy: Copy) -> None:
    bridge, (_, instance, height) = copy(disputed[0]), disputed
    bridge.send("operator", "assert", instance, "--lie", LIE)
    found = bridge.data("challenger", "check", instance)
    assert (found["correct"], found["chunk"]) == (False, LIE)
    assert found["claimed"] != found["computed"]
    before = bridge.balances()
    bridge.send("challenger", "disprove", instance)
    assert 0 < PARAMS.reward - gains(before, bridge)["challenger"] < 100_000
    bridge.mine_to(height + 3 * WINDOW - 1)
    assert "missingorspent" in bridge.refused("operator", "unhappy-take", instance, "--broadcast", code=4)
    assert bridge.state(instance) == "Disprove"


def test_disprove_from_an_exported_assertion(disputed: tuple[Bridge, str, int], copy: Copy, tmp_path: Path) -> None:
    bridge, (_, instance, _) = copy(disputed[0]), disputed
    raw = tmp_path / "assert.hex"
    bridge.run("operator", "assert", instance, "--lie", LIE, "--out", str(raw))
    assert bridge.data("challenger", "check", instance, "--tx", str(raw))["chunk"] == LIE
    assert "not asserted" in bridge.refused("challenger", "check", instance, code=1)


def test_silent_operator(disputed: tuple[Bridge, str, int], copy: Copy) -> None:
    bridge, (_, instance, height) = copy(disputed[0]), disputed
    before = bridge.balances()
    bridge.mine_to(height + 2 * WINDOW - 2)
    assert "non-BIP68-final" in bridge.refused("challenger", "assert-timeout", instance, "--broadcast", code=4)
    bridge.mine()
    bridge.send("challenger", "assert-timeout", instance)
    assert bridge.state(instance) == "AssertTimeout_0"
    assert 0 < PARAMS.reward + DUST - gains(before, bridge)["challenger"] < FEES


def test_forfeit(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    height = kick_off(bridge, instance)
    bridge.mine_to(height + 4 * WINDOW - 2)
    assert "non-BIP68-final" in bridge.refused("challenger", "forfeit", instance, "--broadcast", code=4)
    bridge.mine()
    bridge.send("challenger", "forfeit", instance)
    assert bridge.state(instance) == "Forfeit"
    assert "missingorspent" in bridge.refused("operator", "happy-take", instance, "--broadcast", code=4)


def test_refund(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    before = bridge.balances()
    deposit = make_deposit(bridge)
    height = bridge.height()
    assert "run `committee confirm" in bridge.refused("depositor", "peg-in", deposit, code=2)
    bridge.mine_to(height + REFUND_DELAY - 2)
    assert "non-BIP68-final" in bridge.refused("depositor", "refund", deposit, "--broadcast", code=4)
    bridge.mine()
    bridge.send("depositor", "refund", deposit)
    assert 0 < -gains(before, bridge)["depositor"] < FEES


def test_cooperative_payout(pegged: tuple[Bridge, str], copy: Copy) -> None:
    bridge, instance = copy(pegged[0]), pegged[1]
    deposit = bridge.data("depositor", "list")["deposits"][0]["deposit"]
    where = bridge.data("depositor", "address")["address"]
    before = bridge.balances()
    bridge.send("committee", "cooperative-payout", deposit, "--to", where)
    assert gains(before, bridge)["depositor"] == PARAMS.peg_in
    assert bridge.state(instance) == "CooperativePayout"


def test_no_peg_in_before_an_instance_is_signed(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    deposit = make_deposit(bridge)
    assert "nobody could reimburse" in bridge.refused("committee", "confirm", deposit, code=5)
    instance = join(bridge, deposit)
    assert "run `committee sign" in bridge.refused("committee", "confirm", deposit, code=2)
    assert "run `committee sign" in bridge.refused("operator", "kick-off", instance, "--broadcast", code=2)


def test_a_bundle_moves_to_another_machine(disputed: tuple[Bridge, str, int], copy: Copy, tmp_path: Path) -> None:
    """A challenger who knows nothing but the bundle file and the chain takes the reward."""
    bridge, (_, instance, _) = copy(disputed[0]), disputed
    bridge.send("operator", "assert", instance, "--lie", LIE)
    bundle = tmp_path / "bundle.json"
    bridge.run("instance", "export", instance, "--bundle", "--out", str(bundle))
    other = Bridge(tmp_path / "other", *PLAIN)
    assert other.data("committee", "verify", str(bundle))["instance"] == instance
    other.run("challenger", "keygen")
    other.run("instance", "import", str(bundle))
    (bridge.datadir / "regtest" / "chain").rename(other.datadir / "regtest" / "chain")
    other.run("node", "mine", "1", "--to", "challenger")
    other.mine(100)
    assert other.data("instance", "verify", instance)["ok"]
    other.send("challenger", "disprove", instance)
    assert other.state(instance) == "Disprove"


def test_on_bitcoin_core(fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    before = bridge.balances()
    instance = set_up(bridge)
    pay_out(bridge, instance)
    height = challenged(bridge, instance)
    bridge.send("operator", "assert", instance, "--lie", LIE)
    assert bridge.data("challenger", "check", instance)["chunk"] == LIE
    bridge.send("challenger", "disprove", instance)
    assert bridge.state(instance) == "Disprove"
    bridge.mine_to(height + 3 * WINDOW - 1)
    assert "missingorspent" in bridge.refused("operator", "unhappy-take", instance, "--broadcast", code=4)
    assert gains(before, bridge)["challenger"] > 0


def test_a_leaf_of_megabytes_is_mined_by_bitcoin_core(fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    instance = set_up(bridge, "hash-chain:2:64")
    challenged(bridge, instance)
    bridge.send("operator", "assert", instance, "--lie", "link_1")
    height = bridge.height()
    report = bridge.data("challenger", "disprove", instance, "--broadcast")
    assert report["weight"] > 2_000_000
    assert re.fullmatch(
        r"[\d,]+ WU is above the relay limit of 400,000; --broadcast mines it on regtest", report["policy"]
    )
    assert (bridge.state(instance), bridge.height()) == ("Disprove", height + 1)
    refusal = bridge.refused("challenger", "disprove", instance, "--broadcast", code=4)
    assert refusal == "Disprove: bad-txns-inputs-missingorspent"


def test_a_disproof_too_heavy_to_relay(
    disputed: tuple[Bridge, str, int], copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Regtest mines it directly, or from a file; here the limit is lowered instead of the transaction made heavier."""
    bridge, (_, instance, _) = copy(disputed[0]), disputed
    bridge.send("operator", "assert", instance, "--lie", LIE)
    for place in ("policy", "wallet"):
        monkeypatch.setattr(f"bitvm_bridge.{place}.MAX_STANDARD_WEIGHT", LOW_LIMIT)
    raw = tmp_path / "disprove.hex"
    command = ("challenger", "disprove", instance, "--out", str(raw))
    report = bridge.data(*command)
    too_heavy = r"\d\d,\d{3} WU is above the relay limit of 30,000; --broadcast mines it on regtest"
    assert re.fullmatch(too_heavy, report["policy"])
    assert bridge.run("node", "test", str(raw), code=4).stdout.startswith("tx-size")
    by_file = bridge.copy(tmp_path / "by file")
    assert by_file.data("node", "mine-transactions", str(raw))["txids"] == [report["txid"]]
    assert by_file.state(instance) == "Disprove"
    height = bridge.height()
    sent = bridge.data("challenger", "disprove", instance, "--broadcast")
    assert (sent["broadcast"], sent["chunk"], bridge.height()) == (True, LIE, height + 1)
    assert bridge.state(instance) == "Disprove"
    assert "missingorspent" in bridge.refused("challenger", "disprove", instance, "--broadcast", code=4)


def test_a_disproof_too_heavy_to_relay_outside_regtest(
    disputed: tuple[Bridge, str, int], copy: Copy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody mines at will there: it is refused in one line, or written to a file."""
    bridge, (_, instance, _) = copy(disputed[0]), disputed
    bridge.send("operator", "assert", instance, "--lie", LIE)
    for place in ("policy", "wallet"):
        monkeypatch.setattr(f"bitvm_bridge.{place}.MAX_STANDARD_WEIGHT", LOW_LIMIT)
    connect = EmbeddedNode.__init__

    def on_signet(node: EmbeddedNode, datadir: Path) -> None:
        connect(node, datadir)
        node.network = Network.SIGNET

    monkeypatch.setattr(EmbeddedNode, "__init__", on_signet)
    raw = tmp_path / "disprove.hex"
    command = ("challenger", "disprove", instance, "--out", str(raw))
    message = bridge.refused(*command, "--broadcast", code=1)
    too_heavy = r"\d\d,\d{3} WU is above the relay limit of 30,000; write it with --out and hand it to a miner"
    assert re.fullmatch(f"Disprove: {too_heavy}", message), message
    assert not raw.exists()
    assert re.fullmatch(too_heavy, bridge.data(*command)["policy"])
    assert raw.exists()


def test_as_processes(pegged: tuple[Bridge, str], copy: Copy) -> None:
    """The installed command, from a shell's point of view."""
    bridge, instance = copy(pegged[0]), pegged[1]
    command = [str(Path(sys.executable).with_name("bitvm-bridge")), "--datadir", str(bridge.datadir), *PLAIN]
    sent = subprocess.run([*command, "operator", "kick-off", instance, "--broadcast"], capture_output=True, text=True)
    assert (sent.returncode, sent.stderr) == (0, "")
    subprocess.run([*command, "node", "mine"], capture_output=True, check=True)
    refused = subprocess.run(
        [*command, "operator", "happy-take", instance, "--broadcast"], capture_output=True, text=True
    )
    assert (refused.returncode, refused.stdout) == (4, "")
    assert refused.stderr == "error: HappyTake: non-BIP68-final\n"
