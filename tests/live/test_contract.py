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

    patience = 400.0

    def seat(self) -> "Table":
        self.shared.mkdir()
        for name, role in (("alice", "party"), ("bob", "party"), ("olga", "oracle")):
            self.join(name, role)
        self.mine(100)
        return self

    def join(self, name: str, role: str = "party") -> Bridge:
        bridge = self.bridges[name] = Bridge(self.folder / name, *PLAIN, *rpc_options(self.launched))
        bridge.run("dlc", role, "keygen")
        bridge.run("node", "mine", "3", "--to", role)
        return bridge

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

    def sign(self, contract: str, **more: tuple[str, ...]) -> None:
        """All three, and whoever else is named, until the stake is on the chain."""
        names = {"alice": (), "bob": (), "olga": ("--as", "oracle")} | more
        self.together(*((name, "sign", contract, *options) for name, options in names.items()))

    def together(self, *commands: tuple[str, ...]) -> None:
        """(name, command of dlc, contract, options) at the same time, until all have ended well."""
        via = ("--dir", str(self.shared), "--poll", "0.2")
        running = [self.start(name, "dlc", *command, *via) for name, *command in commands]
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


def test_a_contract_is_closed_by_agreement(table: Table) -> None:
    contract = table.open()
    amounts = ("--offerer", str(COLLATERAL + 1_000), "--oracle", "600")
    lower = ("--offerer", str(COLLATERAL), "--oracle", "600")
    told = table.bob.run("dlc", "close", contract, *lower, "--dir", str(table.shared), "--once").stderr
    assert "waits for the offerer" in told or "waits for the accepter" in told or "waits for the oracle" in told
    before = {name: table.balance(name) for name in table.bridges}
    table.together(
        ("alice", "close", contract, *amounts, "--broadcast"),
        ("bob", "close", contract, *amounts),
        ("olga", "close", contract, *amounts, "--as", "oracle"),
    )
    table.mine()
    assert table.state(contract) == {"closed"}
    gained = {name: table.balance(name) - before[name] for name in table.bridges}
    assert gained["bob"] == COLLATERAL + FEE - 1_000 - 600
    assert gained["olga"] == STAKE + 330 + 600
    assert COLLATERAL - 2_000 < gained["alice"] <= COLLATERAL + 1_000


def test_an_oracle_that_was_left_out_of_a_close_has_its_stake_back(table: Table) -> None:
    """It signs what happened although there is nothing left to settle, and takes its bond back."""
    contract = table.open()
    amounts = ("--offerer", str(COLLATERAL), "--without-oracle")
    table.together(("alice", "close", contract, *amounts, "--broadcast"), ("bob", "close", contract, *amounts))
    table.mine()
    assert table.state(contract) == {"closed"}
    before = table.balance("olga")
    table.olga.send("dlc", "oracle", "sign", contract)
    assert table.state(contract) == {"closed"}
    table.mine(WINDOW + GRACE - 1)
    table.olga.send("dlc", "oracle", "release", contract, table.event)
    assert STAKE - 5_000 < table.balance("olga") - before < STAKE


def test_a_position_changes_hands(table: Table) -> None:
    old = table.open()
    carol = table.join("carol")
    table.mine(100)
    shared, price = ("--dir", str(table.shared)), COLLATERAL - 5_000
    new = carol.run("dlc", "transfer", old, *shared, "--of", "offerer", "--price", str(price)).stdout.strip()
    assert "are asked" in table.alice.run("dlc", "sign", new, *shared, "--price", str(price + 1), code=5).stderr
    assert "--price" in table.alice.run("dlc", "sign", new, *shared, code=2).stderr
    table.olga.run("dlc", "oracle", "stake", new, *shared)
    before = table.balance("alice")
    table.sign(new, carol=(), alice=("--price", str(price)))
    table.mine()
    assert table.balance("alice") - before == price
    for name in ("bob", "olga", "carol"):
        assert table.bridges[name].data("dlc", "show", new)["state"] == "staked", name
    assert table.bob.data("dlc", "show", old)["state"] == "closed"
    outcome = table.olga.send("dlc", "oracle", "sign", new)["outcome"]
    table.mine(WINDOW - 1)
    winner = carol if outcome == "sun" else table.bob
    winner.send("dlc", "settle", new, table.attest(outcome))
    assert carol.data("dlc", "show", new)["state"] == "settled"


@pytest.mark.sweep
def test_two_positions_are_swapped_with_one_secret(table: Table) -> None:
    """Alice and carol each bet with bob, and change places. Carol takes hers first: that tells alice the secret."""
    shared, price = ("--dir", str(table.shared)), str(COLLATERAL)
    first = table.open()
    carol = table.join("carol")
    table.mine(100)
    second = carol.run("dlc", "offer", table.describe(), *shared).stdout.strip()
    table.bob.run("dlc", "accept", second, *shared)
    table.olga.run("dlc", "oracle", "stake", second, *shared)
    table.together(("carol", "sign", second), ("bob", "sign", second), ("olga", "sign", second, "--as", "oracle"))
    known, learned = str(table.folder / "known"), str(table.folder / "learned")
    locked = ("--of", "offerer", "--price", price, "--lock", carol.run("dlc", "lock", "--out", known).stdout.strip())
    to_carol = carol.run("dlc", "transfer", first, *shared, *locked).stdout.strip()
    to_alice = table.alice.run("dlc", "transfer", second, *shared, *locked).stdout.strip()
    for new in (to_carol, to_alice):
        table.olga.run("dlc", "oracle", "stake", new, *shared)
    waiting = [
        table.start(name, "dlc", "sign", to_alice, *shared, "--poll", "0.2", *more)
        for name, more in (("bob", ()), ("olga", ("--as", "oracle")), ("carol", ("--price", price)))
    ]
    assert "secret" in told_by(table, "alice", to_alice), "everything is signed, and nobody can send it"
    table.alice.run("dlc", "secret", to_carol, *shared, "--out", learned, code=1)
    table.together(
        ("carol", "sign", to_carol, "--secret", known),
        ("bob", "sign", to_carol),
        ("olga", "sign", to_carol, "--as", "oracle"),
        ("alice", "sign", to_carol, "--price", price),
    )
    table.alice.run("dlc", "secret", to_carol, *shared, "--out", learned)
    assert (table.folder / "learned").read_text() == (table.folder / "known").read_text()
    table.together(("alice", "sign", to_alice, "--secret", learned))
    table.until(lambda: not any(process.is_running() for process in waiting))
    assert all(process.popen.returncode == 0 for process in waiting), table.report()
    assert (
        carol.data("dlc", "show", to_carol)["state"] == table.alice.data("dlc", "show", to_alice)["state"] == "staked"
    )


def told_by(table: Table, name: str, contract: str) -> str:
    """What a process that signs has said when it comes to wait for a secret, after which it is killed."""
    process = table.start(name, "dlc", "sign", contract, "--dir", str(table.shared), "--poll", "0.2")
    table.until(lambda: "waits for the secret" in process.text() or not process.is_running())
    process.end(signal_first=False)
    return process.text()


def refund_time(table: Table, contract: str) -> int:
    shown = table.bob.data("dlc", "show", contract)["refund_from"]
    return int(datetime.fromisoformat(shown).timestamp()) + 60
