"""Two parties and an oracle, each with a process and a data directory of its own, on one bitcoind."""

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.chain.launch import LaunchedBitcoind
from tests.cli.bridge import PLAIN, Bridge, rpc_options
from tests.live.parties import Parties

COLLATERAL = 10_000_000
STAKE = 5_000_000
FEE = 10_000
WINDOW, GRACE = 4, 2
BET = {"sun": {"offerer": 2 * COLLATERAL, "accepter": 0}, "rain": {"offerer": 0, "accepter": 2 * COLLATERAL}}


class Table(Parties):
    """Alice offers, bob accepts, olga is the oracle."""

    def seat(self) -> "Table":
        self.shared.mkdir()
        for name, role in (("alice", "party"), ("bob", "party"), ("olga", "oracle")):
            bridge = self.bridges[name] = Bridge(self.folder / name, *PLAIN, *rpc_options(self.launched))
            bridge.run("dlc", role, "keygen")
            bridge.run("node", "mine", "2", "--to", role)
        self.mine(100)
        return self

    @property
    def alice(self) -> Bridge:
        return self.bridges["alice"]

    @property
    def bob(self) -> Bridge:
        return self.bridges["bob"]

    @property
    def olga(self) -> Bridge:
        return self.bridges["olga"]

    @property
    def event(self) -> str:
        return str(self.folder / "event.json")

    def announce(self, maturity: int) -> None:
        outcomes = ("--outcome", "sun", "--outcome", "rain")
        options = ("--event-id", "weather", "--maturity", str(maturity), *outcomes, "--out", self.event)
        self.olga.run("dlc", "oracle", "announce", *options)

    def describe(self, **changes: Any) -> str:
        document = {
            "collateral": {"offerer": COLLATERAL, "accepter": COLLATERAL},
            "event": {"oracles": ["event.json"], "payouts": BET},
            "stake": STAKE,
            "oracle_fee": FEE,
            "program": "hash-chain:2:1",
        }
        path = self.folder / "bet.json"
        path.write_text(json.dumps(document | changes))
        return str(path)

    def agree(self, **changes: Any) -> str:
        """From an offer to a contract that waits to be signed; its id."""
        shared = ("--dir", str(self.shared))
        contract = self.alice.run("dlc", "offer", self.describe(**changes), *shared).stdout.strip()
        assert self.bob.run("dlc", "accept", contract[:12], *shared).stdout.strip() == contract
        assert self.olga.run("dlc", "oracle", "stake", contract[:12], *shared).stdout.strip() == contract
        return contract

    def sign(self, contract: str) -> None:
        """All three, until the stake is on the chain."""
        options = ("dlc", "sign", contract, "--dir", str(self.shared), "--poll", "0.2")
        running = [self.start(name, *options) for name in ("alice", "bob")]
        running.append(self.start("olga", *options, "--as", "oracle"))
        self.until(lambda: not any(process.is_running() for process in running))
        for process in running:
            assert process.popen.returncode == 0, process.text()
            assert "fault" not in process.text()

    def open(self, **changes: Any) -> str:
        self.announce(int(time.time()) - 1)
        contract = self.agree(**changes)
        self.sign(contract)
        return contract

    def state(self, contract: str) -> set[str]:
        """What each of the three sees."""
        return {bridge.data("dlc", "show", contract)["state"] for bridge in self.bridges.values()}

    def attest(self, outcome: str) -> str:
        path = str(self.folder / f"{outcome}.json")
        self.olga.run("dlc", "oracle", "attest", self.event, outcome, "--out", path)
        return path

    def balance(self, name: str) -> int:
        role = "oracle" if name == "olga" else "party"
        return int(self.bridges[name].balances()[role])


@pytest.fixture
def table(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind) -> Iterator[Table]:
    made = Table(tmp_path, fresh_bitcoind)
    try:
        yield made.seat()
    finally:
        for process in made.processes:
            process.end(signal_first=False)


def test_a_bet_from_the_offer_to_the_settlement(table: Table) -> None:
    contract = table.open()
    assert table.state(contract) == {"staked"}
    made = table.olga.data("dlc", "oracle", "sign", contract)
    lie = "rain" if made["outcome"] == "sun" else "sun"
    twice = table.olga.refused("dlc", "oracle", "sign", contract, lie, "--lie", code=1)
    assert "never signs twice" in twice
    signed = table.olga.send("dlc", "oracle", "sign", contract)
    assert signed["txid"] == made["txid"]
    assert table.state(contract) == {"oracle signed"}
    outcome = signed["outcome"]
    other = "rain" if outcome == "sun" else "sun"
    message = table.olga.refused("dlc", "oracle", "sign", contract, other, "--lie", code=1)
    assert "oracle signed" in message
    attestation = table.attest(outcome)
    winner, loser = (table.alice, table.bob) if outcome == "sun" else (table.bob, table.alice)
    early = loser.refused("dlc", "settle", contract, attestation, "--broadcast", code=4)
    assert "non-BIP68-final" in early
    table.mine(WINDOW - 1)
    before = {name: table.balance(name) for name in table.bridges}
    winner.send("dlc", "settle", contract, attestation)
    assert table.state(contract) == {"settled"}
    after = {name: table.balance(name) for name in table.bridges}
    name = "alice" if outcome == "sun" else "bob"
    assert 2 * COLLATERAL - 2_000 < after[name] - before[name] < 2 * COLLATERAL
    assert after["olga"] - before["olga"] == STAKE + FEE + 330


def test_an_oracle_that_lies_and_parties_that_have_their_money_back(table: Table) -> None:
    contract = table.open()
    truth = table.bob.data("dlc", "show", contract)["computation_finds"]
    lie = "rain" if truth == "sun" else "sun"
    assert repr(truth) in table.olga.refused("dlc", "oracle", "sign", contract, lie, code=2)
    assert table.olga.data("dlc", "oracle", "sign", contract, lie, "--lie", "--dry-run")["name"] == "OracleSign"
    table.olga.send("dlc", "oracle", "sign", contract, lie, "--lie")
    assert table.bob.data("dlc", "disprove", contract)["leaf"] == "outcome"
    table.bob.run("dlc", "disprove", contract, "--broadcast")
    assert table.bob.data("resend")["transactions"] == [], "a Disprove that is not the bridge's is left alone"
    cheap = table.bob.data("dlc", "disprove", contract)
    dear = table.bob.data("dlc", "disprove", contract, "--fee-rate", "20", "--broadcast")
    assert dear["fee"] > 9 * cheap["fee"], "made again at a higher rate, it replaces the one that waits"
    table.mine()
    assert table.state(contract) == {"disproved"}
    table.mine(WINDOW + 2 * GRACE)
    attestation = table.attest(lie)
    assert "missingorspent" in table.alice.refused("dlc", "settle", contract, attestation, "--broadcast", code=4)
    assert "non-final" in table.alice.refused("dlc", "refund", contract, "--broadcast", code=4)
    table.launched.node.set_time(refund_time(table, contract) + 1)
    table.mine(6)
    before = {name: table.balance(name) for name in ("alice", "bob")}
    table.alice.send("dlc", "refund", contract)
    assert table.state(contract) == {"refunded"}
    assert table.balance("alice") - before["alice"] > COLLATERAL
    assert table.balance("bob") - before["bob"] == COLLATERAL + FEE // 2


def test_an_oracle_that_is_silent_and_one_that_takes_its_bond_back(table: Table) -> None:
    silent = table.open()
    assert "non-final" in table.bob.refused("dlc", "timeout", silent, "--broadcast", code=4)
    table.launched.node.set_time(refund_time(table, silent) + 1)
    table.mine(6)
    table.bob.send("dlc", "timeout", silent)
    assert table.state(silent) == {"oracle timed out"}
    assert "signed nothing" in table.bob.refused("dlc", "disprove", silent, code=1)
    assert "timed out" in table.olga.refused("dlc", "oracle", "sign", silent, "--broadcast", code=1)


def test_a_bond_that_goes_back_tells_what_settles(table: Table) -> None:
    contract = table.open(key_path=True)
    table.olga.send("dlc", "oracle", "sign", contract)
    table.mine(WINDOW + GRACE - 1)
    assert "given" in table.bob.refused("dlc", "settle", contract, code=2)
    table.olga.send("dlc", "oracle", "release", contract, table.event)
    assert table.state(contract) == {"released"}
    assert table.bob.send("dlc", "settle", contract)["name"] == "LateSettle"
    assert table.state(contract) == {"settled late"}


def refund_time(table: Table, contract: str) -> int:
    shown = table.bob.data("dlc", "show", contract)["refund_from"]
    return int(datetime.fromisoformat(shown).timestamp()) + 60
