"""The same on Bitcoin Core: instances joined together, and a request that is paid from a file."""

from pathlib import Path

from bitvm_bridge.chain.launch import LaunchedBitcoind
from tests.cli.bridge import AMOUNT, PLAIN, Bridge, make_deposit, make_keys, rpc_options

PROGRAM = "hash-chain:2:1"


def test_joined_together_signed_and_paid(fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    deposit = make_deposit(bridge, "--exits", "2", "--peg-in", str(2 * 100_000_000))
    instances = bridge.send("operator", "join-many", deposit, "--program", PROGRAM, "--workers", "2")["instances"]
    for instance in instances:
        bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    psbt, source = tmp_path / "withdrawal.psbt", tmp_path / "requests.jsonl"
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", str(psbt))
    bridge.run("withdrawer", "order", "--psbt", str(psbt), "--id", "5a" * 32, "--out", str(source))
    serve = ("operator", "peg-outs", "--source", str(source), "--once", "--broadcast")
    report = bridge.data(*serve)
    assert [(row["state"], row["instance"]) for row in report["requests"]] == [("sent", min(instances))]
    bridge.mine()
    assert [row["state"] for row in bridge.data(*serve)["requests"]] == ["paid"]
    bridge.send("operator", "kick-off", min(instances))
    assert bridge.state(min(instances)) == "KickOff"
