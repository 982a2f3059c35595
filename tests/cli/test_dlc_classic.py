"""`dlc classic`: two parties in two data directories, from an oracle's announcement to a settlement or a refund."""

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest

from bitvm_bridge import keyring
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.dlc import oracle, oracle_documents
from bitvm_bridge.dlc.classic import book
from bitvm_bridge.dlc.classic.messages import ACCEPT, OFFER, SIGN
from bitvm_bridge.dlc.oracle import EnumEvent, Hashing
from bitvm_bridge.keys import Role, parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Wallet
from tests.cli.bridge import PLAIN, Bridge, Done, rpc_options
from tests.dlc import specs
from tests.dlc.oracles import KEY, nonces
from tests.dlc.parties import bent
from tests.esplora_server import EsploraServer

COINBASE = 5_000_000_000
OFFERED, ACCEPTED = 600_000, 400_000
"""sat: the collaterals."""
SUN = {"sun": {"offerer": 1_000_000, "accepter": 0}, "rain": {"offerer": 250_000, "accepter": 750_000}}
FEE_RATE = 2
LATER = 2_300_000_000
"""epoch seconds: 2042, when events of 2040 are attested."""
REFUND_IN = 30
"""blocks from the offer."""


@dataclass
class Table:
    """Two parties and an oracle, each with a data directory of its own, on one chain."""

    folder: Path
    alice: Bridge
    bob: Bridge
    oracle: Bridge
    files: dict[str, str] = field(default_factory=dict)

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def announce(self, *event: str, name: str = "event.json", maturity: str = "2040-01-01") -> str:
        path = self.path(name)
        self.oracle.run("dlc", "oracle", "announce", "--maturity", maturity, *event, "--out", path)
        return path

    def weather(self) -> str:
        return self.announce("--event-id", "weather", "--outcome", "sun", "--outcome", "rain")

    def attest(
        self, outcome: str, announcement: str = "event.json", to: str = "attestation.json", *options: str
    ) -> str:
        path = self.path(to)
        with patch("cli.dlc_oracle.time.time", return_value=LATER):
            self.oracle.run("dlc", "oracle", "attest", self.path(announcement), outcome, "--out", path, *options)
        return path

    def contract(self, **changes: Any) -> str:
        """A contract's file, by default over the weather of `weather`."""
        document: dict[str, Any] = {
            "collateral": {"offerer": OFFERED, "accepter": ACCEPTED},
            "refund_from": self.alice.height() + REFUND_IN,
            "events": [{"oracles": ["event.json"], "payouts": SUN}],
        }
        path = self.folder / "contract.json"
        path.write_text(json.dumps({key: value for key, value in (document | changes).items() if value is not None}))
        return str(path)

    def offer(self, *options: str) -> str:
        """Returns the contract's id."""
        args = ("--fee-rate", str(FEE_RATE), "--out", self.path("offer.json"), *options)
        return self.alice.run("dlc", "classic", "offer", self.path("contract.json"), *args).stdout.strip()

    def accept(self, *options: str) -> str:
        done = self.bob.run(
            "dlc", "classic", "accept", self.path("offer.json"), "--out", self.path("accept.json"), *options
        )
        return done.stdout.strip()

    def sign(self, *options: str) -> None:
        self.alice.run("dlc", "classic", "sign", self.path("accept.json"), "--out", self.path("sign.json"), *options)

    def complete(self) -> Any:
        return self.bob.send("dlc", "classic", "complete", self.path("sign.json"))

    def open(self) -> str:
        """From an offer to a funded contract."""
        self.weather()
        self.contract()
        contract = self.offer()
        assert self.accept() == contract
        self.sign()
        assert self.complete()["contract"] == contract
        return contract

    def state(self, contract: str) -> tuple[str, str]:
        """What each party sees."""
        shown = [party.data("dlc", "classic", "show", contract)["state"] for party in (self.alice, self.bob)]
        return shown[0], shown[1]


class Served(Bridge):
    """Asks an Esplora server, which cannot mine: blocks come from the node behind it."""

    def __init__(self, datadir: Path, node: EmbeddedNode, *options: str) -> None:
        super().__init__(datadir, *options)
        self.node = node

    def run(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Done:
        """Mining is for the node."""
        if args[:2] != ("node", "mine"):
            return super().run(*args, code=code, env=env)
        script = None
        if args[3:4] == ("--to",):
            address = self.data("dlc", args[4], "address")["address"]
            script = parse_address(address, Network.REGTEST)
        self.node.mine(int(args[2]), script)
        return Done(args, 0, f"{self.node.height()}\n", "")


Make = Callable[[Path], Bridge]


def seat(folder: Path, *options: str, shared: Path | None = None, make: Make | None = None) -> Table:
    made = {}
    for name in ("alice", "bob", "oracle"):
        home = folder / name
        if shared is not None:
            (home / "regtest").mkdir(parents=True)
            (home / "regtest" / "chain").symlink_to(shared)
        made[name] = make(home) if make else Bridge(home, *PLAIN, *options)
    for name in ("alice", "bob"):
        made[name].run("dlc", "party", "keygen")
        made[name].run("node", "mine", "2", "--to", "party")
    made["alice"].mine(100)
    made["oracle"].run("dlc", "oracle", "keygen")
    return Table(folder, **made)


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """On the embedded chain: one folder, which every data directory points to."""
    (tmp_path / "chain").mkdir()
    return seat(tmp_path, shared=tmp_path / "chain")


@pytest.fixture(params=["embedded", "bitcoind", "esplora"])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Table]:
    if request.param == "embedded":
        yield request.getfixturevalue("table")
        return
    if request.param == "esplora":
        node: EmbeddedNode = request.getfixturevalue("embedded")
        with EsploraServer(node).serving() as url:
            yield seat(tmp_path, make=lambda home: Served(home, node, *PLAIN, "--esplora", url))
        return
    launched: LaunchedBitcoind = request.getfixturevalue("fresh_bitcoind")
    yield seat(tmp_path, *rpc_options(launched))


def balance(bridge: Bridge) -> int:
    return bridge.balances()["party"]


def test_from_an_offer_to_a_settlement(either: Table) -> None:
    table = either
    contract = table.open()
    assert table.state(contract) == ("open", "open")
    assert [balance(table.alice), balance(table.bob)] < [2 * COINBASE - OFFERED, 2 * COINBASE - ACCEPTED]
    before = balance(table.alice), balance(table.bob)
    signed = table.attest("rain")
    report = table.bob.send("dlc", "classic", "settle", contract, signed)
    assert report["name"] == "DlcSettlement"
    assert table.state(contract) == ("settled", "settled")
    shown = table.alice.data("dlc", "classic", "show", contract)
    assert shown["paid"] == SUN["rain"]
    assert shown["closing"] == report["txid"]
    assert (balance(table.alice), balance(table.bob)) == (before[0] + 250_000, before[1] + 750_000)
    for party in (table.alice, table.bob):
        for args in (("settle", contract, signed), ("refund", contract)):
            assert "already settled, by" in party.refused("dlc", "classic", *args, code=1)


def test_a_refund_and_not_one_block_early(either: Table) -> None:
    table = either
    contract = table.open()
    before = balance(table.alice), balance(table.bob)
    refund_from = table.alice.data("dlc", "classic", "show", contract)["refund_from"]
    table.alice.mine_to(refund_from - 1)
    early = table.alice.data("dlc", "classic", "refund", contract)
    assert "non-final" in early["policy"]
    done = table.alice.run("dlc", "classic", "refund", contract, "--broadcast", code=4)
    assert "non-final" in done.stderr
    table.alice.mine()
    assert table.alice.send("dlc", "classic", "refund", contract)["txid"] == early["txid"]
    assert table.state(contract) == ("refunded", "refunded")
    assert (balance(table.alice), balance(table.bob)) == (before[0] + OFFERED, before[1] + ACCEPTED)


def test_a_number_in_binary_messages(table: Table) -> None:
    """An offer with a curve, polynomials and rounding, in binary and in hex; the offerer settles."""
    table.announce("--event-id", "btc", "--digits", "10", "--hashing", "plain")
    curve = [[0, 0], [200, 0], [700, 1_000_000], [1_023, 1_000_000]]
    event = {"oracles": ["event.json"], "curve": curve, "rounding": [[0, 10_000]]}
    table.contract(events=[event])
    contract = table.offer("--format", "binary")
    offered = Path(table.path("offer.json"))
    assert offered.read_bytes()[:2] == (42778).to_bytes(2, "big")
    offered.write_text(offered.read_bytes().hex() + "\n")
    shown = table.bob.run("dlc", "classic", "show", table.path("offer.json")).stdout
    assert "at 700: 1,000,000 sat to the offerer" in shown
    assert table.accept("--format", "binary") == contract
    table.sign("--format", "binary")
    table.complete()
    report = table.alice.send("dlc", "classic", "settle", contract, table.attest("450"))
    assert report["contract"] == contract
    assert table.bob.data("dlc", "classic", "show", contract)["paid"] == {"offerer": 500_000, "accepter": 500_000}


def test_two_of_three_oracles_and_a_union(table: Table) -> None:
    files = []
    for number in range(3):
        table.oracle.run("dlc", "oracle", "keygen", "--name", f"o{number}")
        event = ("--name", f"o{number}", "--event-id", f"e{number}", "--outcome", "sun", "--outcome", "rain")
        files.append(table.announce(*event, name=f"event{number}.json"))
    table.announce("--event-id", "late", "--outcome", "yes", "--outcome", "no", name="late.json")
    half = {"yes": {"offerer": 1, "accepter": 999_999}, "no": {"offerer": 500_000, "accepter": 500_000}}
    embedded = json.loads(Path(files[1]).read_text())
    events = [
        {"oracles": ["event0.json", embedded, "event2.json"], "threshold": 2, "payouts": SUN},
        {"oracles": ["late.json"], "payouts": half},
    ]
    table.contract(events=events)
    contract = table.offer()
    table.accept()
    table.sign()
    table.complete()
    one = table.attest("sun", "event2.json", "a2.json", "--name", "o2")
    assert "enough to settle" in table.bob.refused("dlc", "classic", "settle", contract, one, code=2)
    other = table.attest("sun", "event0.json", "a0.json", "--name", "o0")
    assert table.bob.send("dlc", "classic", "settle", contract, one, other)["policy"] == "accepted"
    assert table.alice.data("dlc", "classic", "show", contract)["paid"] == SUN["sun"]


def test_oracles_that_may_differ_as_either_reads_it(table: Table) -> None:
    """The signatures that come back say how the accepter has read the offer, and the offerer signs alike."""
    for number in range(2):
        table.oracle.run("dlc", "oracle", "keygen", "--name", f"o{number}")
        event = ("--name", f"o{number}", "--event-id", f"n{number}", "--digits", "8")
        table.announce(*event, name=f"number{number}.json")
    curve = [[0, 0], [100, 0], [200, 1_000_000], [255, 1_000_000]]
    difference = {"max_error_exp": 4, "min_fail_exp": 2, "maximize_coverage": False}
    both = {"oracles": ["number0.json", "number1.json"], "threshold": 2, "curve": curve, "difference": difference}
    table.contract(events=[both | {"rounding": [[0, 50_000]]}])
    for reading in ("specification", "rust-dlc"):
        contract = table.offer()
        table.accept("--reading", reading)
        table.sign()
        table.complete()
        for party in (table.alice, table.bob):
            with party.store() as store:
                read = book.find(store, contract, "default").reading
            assert read is not None
            assert read.maximize is (reading == "rust-dlc")
    first = table.attest("150", "number0.json", "n0.json", "--name", "o0")
    other = table.attest("157", "number1.json", "n1.json", "--name", "o1")
    table.bob.send("dlc", "classic", "settle", contract, first, other)
    assert table.alice.data("dlc", "classic", "show", contract)["paid"] == {"offerer": 500_000, "accepter": 500_000}


def test_a_payout_to_another_address(table: Table) -> None:
    table.weather()
    table.contract()
    addresses = []
    for name in ("carol", "dave"):
        table.oracle.run("depositor", "keygen", "--name", name)
        addresses.append(table.oracle.data("depositor", "address", "--name", name)["address"])
    contract = table.offer("--payout-address", addresses[0])
    table.accept("--payout-address", addresses[1])
    table.sign()
    table.complete()
    table.alice.send("dlc", "classic", "settle", contract, table.attest("rain"))
    held = {row["name"]: row["sat"] for row in table.oracle.data("node", "balance")["balances"]}
    assert (held["carol"], held["dave"]) == (250_000, 750_000)


def test_more_than_was_agreed_is_paid_by_a_child(either: Table) -> None:
    """Of the change, of a payout; each pays for both, and the money stays where it was."""
    table = either
    table.weather()
    table.contract()
    contract = table.offer()
    table.accept()
    table.sign()
    funded = table.bob.send("dlc", "classic", "complete", table.path("sign.json"), "--fee-rate", "20")
    vsize = funded["vsize"] + funded["child_vsize"]
    assert funded["fee"] == pytest.approx(20 * vsize, abs=20)
    settle = ("dlc", "classic", "settle", contract, table.attest("rain"))
    agreed = table.alice.data(*settle)
    assert agreed["fee"] < 3 * agreed["vsize"]
    table.alice.run(*settle, "--broadcast")
    before = balance(table.bob)
    settled = table.bob.send(*settle, "--fee-rate", "30")
    assert settled["txid"] == agreed["txid"]
    vsize = settled["vsize"] + settled["child_vsize"]
    assert settled["fee"] == pytest.approx(30 * vsize, abs=30)
    assert balance(table.bob) == before + 750_000 - (settled["fee"] - agreed["fee"])


def test_no_child_of_what_is_paid_to_others(table: Table) -> None:
    contract = table.open()
    settle = ("dlc", "classic", "settle", contract, table.attest("sun"))
    assert "it pays nothing to your key" in table.bob.refused(*settle, "--fee-rate", "9", code=1)
    assert "fee rate" in table.alice.refused(*settle, "--fee-rate", "9000", code=2)
    table.alice.send(*settle, "--fee-rate", "9")


def test_lock_times_that_are_times(table: Table) -> None:
    """A settlement from the event's maturity on, a refund at its time and not before."""
    now = int(time.time())
    event = ("--event-id", "weather", "--outcome", "sun", "--outcome", "rain")
    table.announce(*event, maturity=str(now - 2_000))
    ends = {}
    for name, refund in (("late", now + 100_000), ("due", now - 100)):
        with patch("bitvm_bridge.dlc.classic.desk.time.time", return_value=now - 3_000):
            table.contract(refund_from=refund)
            ends[name] = table.offer()
            table.accept()
            table.sign()
            table.complete()
    shown = table.alice.data("dlc", "classic", "show", ends["late"])
    assert shown["settle_from"] == datetime.fromtimestamp(now - 2_000, UTC).isoformat(timespec="minutes")
    assert "non-final" in table.alice.run("dlc", "classic", "refund", ends["late"], "--broadcast", code=4).stderr
    table.bob.send("dlc", "classic", "settle", ends["late"], table.attest("sun"))
    table.alice.mine(12)
    table.alice.send("dlc", "classic", "refund", ends["due"])
    assert table.state(ends["due"]) == ("refunded", "refunded")


def test_an_event_that_may_be_attested_already(table: Table) -> None:
    """The other party may know how it ends: agreed to by name only, at every step."""
    table.announce("--event-id", "past", "--outcome", "sun", "--outcome", "rain", maturity="2020-01-01")
    table.contract()
    steps = (
        (table.alice, "offer", "contract.json"),
        (table.bob, "accept", "offer.json"),
        (table.alice, "sign", "accept.json"),
    )
    for party, step, source in steps:
        args = ("dlc", "classic", step, table.path(source), "--out", table.path(f"{step}.json"))
        says = party.refused(*args, code=1)
        assert says.startswith("event 'past': it may be attested already")
        party.run(*args, "--even-if-due")
    table.complete()


def test_a_subsidy_that_is_not_ripe(table: Table) -> None:
    """It is in a block and unspent, and cannot fund anything yet."""
    table.weather()
    table.contract()
    table.offer()
    offer = OFFER.parse(Path(table.path("offer.json")).read_bytes())
    table.alice.run("node", "mine", "1", "--to", "party")
    node = EmbeddedNode(table.folder / "chain")
    try:
        (subsidy,) = node.block(node.height()).transactions
    finally:
        node.close()
    young = replace(offer.party.inputs[0], previous=subsidy.serialize(), vout=0)
    bad = replace(offer, party=replace(offer.party, inputs=(young,)))
    path = table.folder / "bad"
    path.write_bytes(OFFER.encode(bad))
    assert "a subsidy that cannot be spent yet" in table.bob.refused("dlc", "classic", "accept", str(path), code=1)


def test_public_offers_are_shown(table: Table) -> None:
    """Those of the dlcspecs suite, in hex and in JSON."""
    for name in specs.CONTRACTS:
        said = specs.load(name)["offer_message"]
        path = table.folder / "public"
        shown = []
        for text in (said["serialized"], json.dumps(said["message"])):
            path.write_text(text)
            shown.append(table.alice.data("dlc", "classic", "show", str(path)))
        assert shown[0] == shown[1]
        assert shown[0]["contract"] == said["message"]["temporaryContractId"]
        assert "is not in the future" in table.bob.refused("dlc", "classic", "accept", str(path), code=2)


def test_other_commands_leave_its_transactions_alone(table: Table) -> None:
    contract = table.open()
    table.bob.send("dlc", "classic", "settle", contract, table.attest("sun"))
    for party in (table.alice, table.bob):
        assert party.data("resend", "--once")["transactions"] == []
        party.run("status")
        assert f"DlcFunding of {contract}" in party.run("coins").stdout


# Restarts.


def test_every_message_can_be_had_again(table: Table) -> None:
    """From what is kept: nothing is signed anew, whatever happened to the file."""
    table.weather()
    table.contract()
    contract = table.offer()
    for party, step, message, kind in (
        (table.bob, "accept", "offer.json", ACCEPT),
        (table.alice, "sign", "accept.json", SIGN),
    ):
        args = ("dlc", "classic", step, table.path(message))
        assert "it is a folder" in party.refused(*args, "--out", str(table.folder), code=2)
        party.run(*args, "--out", table.path(f"{step}.json"))
        first = Path(table.path(f"{step}.json")).read_bytes()
        again = party.run(*args)
        assert again.stdout.encode() == first
        party.run(*args, "--out", table.path(f"{step}.bin"), "--format", "binary")
        assert kind.parse(Path(table.path(f"{step}.bin")).read_bytes()) == kind.parse(first)
        before = party.contents()
        party.run(*args)
        assert party.contents() == before
    one, two = (table.bob.data("dlc", "classic", "complete", table.path("sign.json")) for _ in range(2))
    assert one["txid"] == two["txid"]
    assert table.state(contract) == ("signed", "signed")
    table.complete()
    args = ("dlc", "classic", "complete", table.path("sign.json"), "--broadcast")
    assert "already funded, by" in table.bob.refused(*args, code=1)
    assert table.bob.data("dlc", "classic", "list")["contracts"] == [
        {"contract": contract, "name": "default", "side": "accepter", "stage": "signed"}
    ]


class Killed(BaseException):
    """What ends a process and is caught by nobody."""


@pytest.mark.parametrize("step", ["offer", "accept", "sign"])
def test_killed_before_and_after_it_is_kept(table: Table, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Before, nothing has left the process. After, what is kept says the same again, and nobody is asked to sign."""
    table.weather()
    table.contract()
    for earlier in {"offer": [], "accept": [table.offer], "sign": [table.offer, table.accept]}[step]:
        earlier()
    party = table.bob if step == "accept" else table.alice
    source = {"offer": "contract.json", "accept": "offer.json", "sign": "accept.json"}[step]
    out = Path(table.path(f"{step}.json"))
    args = ("dlc", "classic", step, table.path(source), "--out", str(out))

    def die(*_: object) -> None:
        raise Killed

    before = party.contents()
    with monkeypatch.context() as patch:
        patch.setattr("bitvm_bridge.dlc.classic.book.save", die)
        with pytest.raises(Killed):
            party.run(*args)
    assert party.contents() == before
    assert not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        with pytest.raises(Killed):
            party.run(*args)
    assert not out.exists()
    kept = party.contents()
    assert kept != before
    if step == "offer":
        assert len(party.data("dlc", "classic", "list")["contracts"]) == 1
        return
    with monkeypatch.context() as patch:
        patch.setattr("bitvm_bridge.dlc.classic.adaptor.encrypt", die)
        party.run(*args)
    assert party.contents() == kept
    assert out.exists()


def test_coins_are_set_aside_until_it_is_cancelled(table: Table) -> None:
    table.weather()
    table.contract(collateral={"offerer": COINBASE - 10_000, "accepter": 1_000_000}, events=[event(COINBASE + 990_000)])
    first = table.offer()
    second = table.offer()
    assert first != second
    offer = ("dlc", "classic", "offer", table.path("contract.json"))
    assert "wallet: 0 sat in coins" in table.alice.refused(*offer, code=1)
    table.alice.run("dlc", "classic", "cancel", first)
    assert "known:" in table.alice.refused("dlc", "classic", "show", first, code=2)
    third = table.offer()
    table.accept()
    table.bob.run("dlc", "classic", "cancel", third)
    table.accept()
    table.sign()
    assert "its funding is signed" in table.alice.refused("dlc", "classic", "cancel", third, code=1)
    table.complete()
    assert "its funding is signed" in table.bob.refused("dlc", "classic", "cancel", third, code=1)


def test_coins_are_taken_back_from_a_party_that_does_not_fund(table: Table) -> None:
    table.weather()
    table.contract()
    contract = table.offer()
    table.accept()
    table.sign()
    reclaim = ("dlc", "classic", "reclaim", contract, "--fee-rate", "3")
    report = table.alice.send(*reclaim)
    assert report["name"] == "DlcReclaim"
    assert report["fee"] == pytest.approx(3 * report["vsize"], abs=3)
    assert balance(table.alice) == 2 * COINBASE - report["fee"]
    assert table.state(contract) == ("void", "void")
    complete = ("dlc", "classic", "complete", table.path("sign.json"), "--broadcast")
    assert ": spent, or not in a block" in table.bob.refused(*complete, code=1)
    assert "too late, it is void" in table.alice.refused(*reclaim, code=1)
    table.bob.refused("dlc", "classic", "refund", contract, code=1)


def test_coins_of_a_contract_that_began_stay(table: Table) -> None:
    contract = table.open()
    for party in (table.alice, table.bob):
        assert "too late, it is open" in party.refused("dlc", "classic", "reclaim", contract, code=1)


def test_what_waits_in_the_mempool_is_not_reclaimed(table: Table) -> None:
    table.weather()
    table.contract()
    contract = table.offer()
    table.accept()
    table.sign()
    table.bob.run("dlc", "classic", "complete", table.path("sign.json"), "--broadcast")
    assert table.state(contract) == ("funding", "funding")
    assert "too late, it is funding" in table.alice.refused("dlc", "classic", "reclaim", contract, code=1)
    again = table.bob.data("dlc", "classic", "complete", table.path("sign.json"))
    table.bob.mine()
    assert table.alice.data("dlc", "classic", "show", contract)["funding"] == again["txid"]


def event(total: int) -> dict[str, Any]:
    """The weather's event, where all goes to one party."""
    payouts = {"sun": {"offerer": total, "accepter": 0}, "rain": {"offerer": 0, "accepter": total}}
    return {"oracles": ["event.json"], "payouts": payouts}


def test_both_parties_in_one_data_directory(table: Table) -> None:
    """As in the examples: they are told apart by their names."""
    bridge = table.alice
    bridge.run("dlc", "party", "keygen", "--name", "bob")
    bob = bridge.data("dlc", "party", "address", "--name", "bob")["address"]
    bridge.run("node", "mine", "1", "--to", bob)
    bridge.mine(100)
    table.weather()
    table.contract()
    contract = table.offer()
    accept = ("dlc", "classic", "accept", table.path("offer.json"))
    assert "an offer of this very party" in bridge.refused(*accept, code=1)
    bridge.run(*accept, "--name", "bob", "--out", table.path("accept.json"))
    bridge.run("dlc", "classic", "cancel", contract, "--name", "bob")
    bridge.run(*accept, "--name", "bob", "--out", table.path("accept.json"))
    table.sign()
    bridge.send("dlc", "classic", "complete", table.path("sign.json"), "--name", "bob")
    bridge.send("dlc", "classic", "settle", contract, table.attest("sun"), "--name", "bob")
    assert bridge.data("dlc", "classic", "show", contract)["paid"] == SUN["sun"]


# Refusals: one line, the exit code, and nothing stored.


def share(offerer: int, accepter: int) -> dict[str, int]:
    return {"offerer": offerer, "accepter": accepter}


WEATHER = {"oracles": ["event.json"]}
CONTRACTS: dict[str, tuple[dict[str, Any], str]] = {
    "payouts that do not sum": (
        {"events": [WEATHER | {"payouts": SUN | {"rain": share(1, 2)}}]},
        "payout of 'rain': '1 + 2 sat' is not the collateral of both, 1,000,000 sat",
    ),
    "a negative share": (
        {"events": [WEATHER | {"payouts": SUN | {"rain": share(-1, 1_000_001)}}]},
        "payout of 'rain': '-1 + 1,000,001 sat' is not the collateral",
    ),
    "an outcome that was not announced": (
        {"events": [WEATHER | {"payouts": SUN | {"snow": share(0, 1_000_000)}}]},
        "outcome: 'snow' is not one that 'weather' can have (sun, rain)",
    ),
    "an outcome left out": ({"events": [WEATHER | {"payouts": {"sun": SUN["sun"]}}]}, "rain can happen, too"),
    "a curve over outcomes": ({"events": [WEATHER | {"curve": [[0, 0], [1, 1]]}]}, "is not used with 'weather'"),
    "no payouts": ({"events": [WEATHER]}, "event: 'no payouts' is not one of payouts, curve and function"),
    "two kinds": (
        {"events": [WEATHER | {"payouts": SUN, "curve": [[0, 0], [1, 1]]}]},
        "event: 'payouts and curve' is not one of",
    ),
    "no event": ({"events": []}, "events: 'none' is not one or more"),
    "no oracle": ({"events": [{"oracles": [], "payouts": SUN}]}, "oracles: 'none' is not an announcement or more"),
    "one oracle twice": (
        {"events": [{"oracles": ["event.json"] * 2, "threshold": 2, "payouts": SUN}]},
        "oracles: '1' is not 2 different ones",
    ),
    "no threshold": (
        {"events": [{"oracles": ["event.json", "price.json"], "payouts": SUN}]},
        "threshold: 'none' is not how many of 2 oracles must agree",
    ),
    "a threshold out of reach": (
        {"events": [{"oracles": ["event.json", "price.json"], "threshold": 3, "payouts": SUN}]},
        "threshold: '3' is not 1 to the number of oracles, 2",
    ),
    "a missing file": ({"events": [{"oracles": ["none.json"], "payouts": SUN}]}, "a readable file"),
    "an unknown field": ({"fee": 1}, "Object contains unknown field `fee`"),
    "a missing field": ({"collateral": None}, "missing required field `collateral`"),
    "a refund that is due": ({"refund_from": 1}, "refund lock time: '1' is not "),
    "a refund before maturity": (
        {"refund_from": "2039-12-31"},
        "refund time: '2208902400' is not one after the last event's maturity (2208988800)",
    ),
    "a refund in the past": (
        {"refund_from": "2020-01-02", "events": [{"oracles": ["past.json"], "payouts": SUN}]},
        "refund lock time: '1577923200' is not in the future",
    ),
    "a refund before settlements": ({"settle_from": 999, "refund_from": 500}, "is not later than that of settlements"),
    "a height and a time": ({"settle_from": 1, "refund_from": "2041-01-01"}, "is not two block heights or two times"),
    "no time": ({"refund_from": "tomorrow"}, "refund_from: 'tomorrow' is not a block height"),
    "a time too far": ({"refund_from": "9999-01-01"}, "refund_from: '9999-01-01' is not a block height, or a time up"),
    "too little": ({"collateral": share(999, 999_001)}, "offerer's collateral: '999' is not 1,000"),
    "too much": ({"collateral": share(10**18, 1), "events": [event(10**18 + 1)]}, "collateral: "),
    "no coins": (
        {"collateral": share(10**11, 10**11), "events": [event(2 * 10**11)]},
        "wallet: 10,000,000,000 sat in coins, and collateral, fees and change take 100,000,0",
    ),
}
NUMBERS: dict[str, tuple[dict[str, Any], str]] = {
    "a curve below zero": ({"curve": [[0, 5], [500, -1], [1_023, 5]]}, "payout at outcome 500: '-1' is not 0 sat"),
    "a curve that dips below zero": (
        {
            "function": {
                "payoutFunctionPieces": [
                    {
                        "endPoint": {"eventOutcome": 0, "outcomePayout": 10_000, "extraPrecision": 0},
                        "payoutCurvePiece": {
                            "polynomialPayoutCurvePiece": {
                                "payoutPoints": [{"eventOutcome": 400, "outcomePayout": 0, "extraPrecision": 0}]
                            }
                        },
                    }
                ],
                "lastEndpoint": {"eventOutcome": 1_023, "outcomePayout": 90_000, "extraPrecision": 0},
            }
        },
        "payout",
    ),
    "a curve above the collateral": ({"curve": [[0, 0], [1_023, 1_000_001]]}, "payout"),
    "a curve that ends early": (
        {"curve": [[0, 0], [1_000, 5]]},
        "payout function: 'outcomes 0 to 1000' is not one for",
    ),
    "a curve that goes back": ({"curve": [[0, 0], [600, 5], [500, 5], [1_023, 5]]}, "increas"),
    "one point": ({"curve": [[0, 0]]}, "curve: '1 points' is not two or more"),
    "rounding to nothing": (
        {"curve": [[0, 0], [1_023, 5]], "rounding": [[0, 0]]},
        "rounding modulus: '0' is not 1 sat",
    ),
    "rounding beyond": ({"curve": [[0, 0], [1_023, 5]], "rounding": [[1 << 64, 1]]}, "a whole number from 0 to"),
    "no function": ({"function": {}}, "function: "),
    "outcomes for a number": ({"payouts": SUN}, "is not used with 'price', which has a number"),
}


@pytest.fixture(scope="module")
def seated(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """For what changes nothing."""
    folder = tmp_path_factory.mktemp("seated")
    (folder / "chain").mkdir()
    table = seat(folder, shared=folder / "chain")
    table.weather()
    table.announce("--event-id", "price", "--digits", "10", name="price.json")
    past = ("--event-id", "past", "--outcome", "sun", "--outcome", "rain")
    table.announce(*past, name="past.json", maturity="2020-01-01")
    table.announce(
        "--event-id", "plain", "--outcome", "sun", "--outcome", "rain", "--hashing", "plain", name="plain.json"
    )
    return table


@pytest.mark.parametrize("case", CONTRACTS)
def test_a_contract_that_is_not_offered(seated: Table, case: str) -> None:
    changes, says = CONTRACTS[case]
    path = seated.contract(**changes)
    code = 1 if case == "no coins" else 2
    assert says in seated.alice.refused("dlc", "classic", "offer", path, "--fee-rate", "1", code=code)


@pytest.mark.parametrize("case", NUMBERS)
def test_a_curve_that_is_not_offered(seated: Table, case: str) -> None:
    changes, says = NUMBERS[case]
    path = seated.contract(events=[{"oracles": ["price.json"], **changes}])
    assert says in seated.alice.refused("dlc", "classic", "offer", path, "--fee-rate", "1", code=2)


def test_other_offers_that_are_not_made(seated: Table, tmp_path: Path) -> None:
    refused = seated.alice.refused
    both = [{"oracles": ["event.json", "plain.json"], "threshold": 1, "payouts": SUN}]
    path = seated.contract(events=both)
    assert "is not of one kind of hashing" in refused("dlc", "classic", "offer", path, code=2)
    path = seated.contract()
    offer = ("dlc", "classic", "offer", path)
    assert "fee rate" in refused(*offer, "--fee-rate", "2000", code=2)
    assert "fee rate: '2' is not 1 to 1.5 sat/vB" in refused(
        "--max-fee-rate", "1.5", *offer, "--fee-rate", "1.2", code=2
    )
    assert "--payout-address" in refused(*offer, "--payout-address", "tb1qqqq", code=2)
    assert "a folder" in refused(*offer, "--out", str(tmp_path), code=2)
    assert "contract" in refused("dlc", "classic", "offer", str(tmp_path / "none.json"), code=2)
    name = refused(*offer, "--name", "carol", code=2)
    assert "party name: 'carol'" in name
    assert "`dlc party keygen`" in seated.oracle.refused(*offer, code=2)
    announcement = json.loads(Path(seated.path("event.json")).read_text())
    announcement["announcement"]["oracleEvent"]["eventMaturityEpoch"] += 1
    path = seated.contract(events=[{"oracles": [announcement], "payouts": SUN}])
    assert "it does not have the oracle's signature" in refused("dlc", "classic", "offer", path, code=5)
    nowhere = ("--node", "bitcoind", "--rpcport", "1", "--rpcuser", "u", "--rpcpassword", "p")
    refused(*nowhere, "dlc", "classic", "offer", seated.contract(), code=3)


def test_a_key_in_another_wallet_is_refused(table: Table) -> None:
    """What signs here signs unasked, thousands of times."""
    table.weather()
    table.alice.run("dlc", "party", "keygen", "--name", "cold", "--external", KEY.xonly.hex())
    table.alice.run(
        "node", "mine", "1", "--to", table.alice.data("dlc", "party", "address", "--name", "cold")["address"]
    )
    table.alice.mine(100)
    offer = ("dlc", "classic", "offer", table.contract(), "--name", "cold")
    assert "another wallet holds this one" in table.alice.refused(*offer, code=2)


def announce_carelessly(table: Table, event_id: str) -> None:
    """An oracle that uses its nonce for every event."""
    made = oracle.announce(KEY, nonces(1), 2_208_988_800, EnumEvent(("sun", "rain")), event_id, Hashing.TAGGED)
    file = oracle_documents.announcement_file(made, Hashing.TAGGED)
    Path(table.path("event.json")).write_text(oracle_documents.shown(oracle_documents.to_builtins(file)))


def test_a_nonce_that_comes_back(table: Table) -> None:
    """The oracle would give its key away, and whoever has it decides the contract."""
    announce_carelessly(table, "first")
    table.contract()
    table.offer()
    table.accept()
    announce_carelessly(table, "second")
    says = "was announced for another event"
    assert says in table.alice.refused("dlc", "classic", "offer", table.path("contract.json"), code=1)
    table.alice = fresh_alice(table)
    table.contract()
    table.offer()
    assert says in table.bob.refused("dlc", "classic", "accept", table.path("offer.json"), code=1)


def fresh_alice(table: Table) -> Bridge:
    """A party that has seen nothing yet."""
    home = table.folder / "fresh"
    (home / "regtest").mkdir(parents=True)
    (home / "regtest" / "chain").symlink_to(table.folder / "chain")
    bridge = Bridge(home, *PLAIN)
    bridge.run("dlc", "party", "keygen")
    bridge.run("node", "mine", "1", "--to", "party")
    bridge.mine(100)
    return bridge


Spoil = Callable[[Path], bytes]
SPOILT: dict[str, tuple[Spoil, int]] = {
    "junk": (lambda _: b"\x00junk", 2),
    "empty": (lambda _: b"", 2),
    "not UTF-8": (lambda _: b"{\xff", 2),
    "truncated": (lambda path: path.read_bytes()[:-100], 2),
    "an array": (lambda _: b"[]", 2),
    "another message": (lambda path: path.with_name("contract.json").read_bytes(), 2),
}


@pytest.fixture(scope="module")
def talked(tmp_path_factory: pytest.TempPathFactory) -> Table:
    """Offer, accept and sign messages, of two contracts; the second's have a 2 in their names."""
    folder = tmp_path_factory.mktemp("talked")
    (folder / "chain").mkdir()
    table = seat(folder, shared=folder / "chain")
    table.weather()
    table.contract()
    for number in ("2", ""):
        table.offer("--out", table.path(f"offer{number}.json"))
        table.bob.run(
            "dlc", "classic", "accept", table.path(f"offer{number}.json"), "--out", table.path(f"accept{number}.json")
        )
        if number:
            table.alice.run("dlc", "classic", "sign", table.path("accept2.json"), "--out", table.path("sign2.json"))
    return table


STEPS = {"accept": ("bob", "offer"), "sign": ("alice", "accept"), "complete": ("bob", "sign2")}


@pytest.mark.parametrize("case", SPOILT)
@pytest.mark.parametrize("step", STEPS)
def test_a_message_that_is_none(talked: Table, tmp_path: Path, step: str, case: str) -> None:
    who, message = STEPS[step]
    spoil, code = SPOILT[case]
    path = tmp_path / "message"
    path.write_bytes(spoil(Path(talked.path(f"{message}.json"))))
    party: Bridge = getattr(talked, who)
    assert message.rstrip("2") in party.refused("dlc", "classic", step, str(path), code=code)
    party.refused("dlc", "classic", step, str(tmp_path / "none"), code=2)


def test_messages_of_another(talked: Table, tmp_path: Path) -> None:
    """Of a contract that is not known, or that is but says something else."""
    path = tmp_path / "message"
    accept = ACCEPT.parse(Path(talked.path("accept.json")).read_bytes())
    sign = SIGN.parse(Path(talked.path("sign2.json")).read_bytes())
    own, offer = (OFFER.parse(Path(talked.path(f"offer{number}.json")).read_bytes()) for number in ("", "2"))

    def refused(who: Bridge, step: str, raw: bytes, code: int) -> str:
        path.write_bytes(raw)
        return who.refused("dlc", "classic", step, str(path), code=code)

    unknown = ACCEPT.encode(replace(accept, temporary_id=bytes(32)))
    assert "an answer to an offer of party 'default'" in refused(talked.alice, "sign", unknown, 2)
    assert "an answer to an offer" in refused(talked.bob, "sign", ACCEPT.encode(accept), 2)
    assert "has accepted" in refused(talked.bob, "complete", SIGN.encode(replace(sign, contract_id=bytes(32))), 2)
    spoilt = bent(accept.adaptor_signatures[1])
    bad = ACCEPT.encode(replace(accept, adaptor_signatures=(accept.adaptor_signatures[0], spoilt)))
    assert "adaptor signature 1 (for rain) does not verify" in refused(talked.alice, "sign", bad, 5)
    for changed, says, code in (
        (replace(accept, adaptor_signatures=accept.adaptor_signatures[:1]), "adaptor signatures: 1 for 2 outcomes", 5),
        (replace(accept, refund_signature=sign.refund_signature), "the refund's signature is not one", 5),
        (replace(accept, party=replace(accept.party, collateral=1)), "accepter's collateral", 2),
        (replace(accept, party=replace(accept.party, inputs=own.party.inputs)), "funding inputs", 2),
    ):
        assert says in refused(talked.alice, "sign", ACCEPT.encode(changed), code)
    first = ACCEPT.parse(Path(talked.path("accept2.json")).read_bytes())
    other = ACCEPT.encode(replace(first, party=replace(first.party, payout_serial_id=1)))
    assert "another accept message was signed already" in refused(talked.alice, "sign", other, 1)
    for message, says in (
        (replace(sign, witnesses=()), "funding signatures: 0 for 1 inputs"),
        (replace(sign, witnesses=((bytes(64),),)), "its witness is not valid"),
        (replace(sign, refund_signature=accept.refund_signature), "the refund's signature is not one"),
        (replace(sign, adaptor_signatures=(spoilt, sign.adaptor_signatures[1])), "adaptor signature 0 (for sun)"),
    ):
        assert says in refused(talked.bob, "complete", SIGN.encode(message), 5)
    again = OFFER.encode(replace(offer, cet_lock_time=1))
    assert "known with other terms" in refused(talked.bob, "accept", again, 1)
    fresh = replace(offer, temporary_id=bytes([7]) * 32)
    for changed_offer, says in (
        (replace(fresh, fee_rate=5_000), "fee rate"),
        (replace(fresh, refund_lock_time=5), "refund lock time"),
        (replace(fresh, chain_hash=bytes(32)), "chain hash"),
        (replace(fresh, party=replace(fresh.party, collateral=0)), "offerer's collateral"),
    ):
        assert says in refused(talked.bob, "accept", OFFER.encode(changed_offer), 2)


def test_no_end_before_the_beginning(talked: Table) -> None:
    offered, signed = (
        OFFER.parse(Path(talked.path(f"offer{number}.json")).read_bytes()).temporary_id.hex() for number in ("", "2")
    )
    attested = talked.attest("sun")
    for contract, says in ((offered, "accept message is not here yet"), (signed, "was not sent")):
        assert says in talked.alice.refused("dlc", "classic", "settle", contract, attested, code=1)
        assert says in talked.alice.refused("dlc", "classic", "refund", contract, code=1)
    assert "sign message is not here yet" in talked.bob.refused("dlc", "classic", "refund", offered, code=1)
    assert "contract: '12' is not the first 4" in talked.bob.refused("dlc", "classic", "refund", "12", code=2)


def test_attestations_that_settle_nothing(table: Table) -> None:
    contract = table.open()
    table.oracle.run("dlc", "oracle", "keygen", "--name", "liar")
    table.announce("--event-id", "other", "--outcome", "sun", "--outcome", "rain", name="other.json")
    table.announce(
        "--event-id", "weather", "--outcome", "sun", "--outcome", "rain", "--name", "liar", name="false.json"
    )
    right = json.loads(Path(table.attest("sun")).read_text())
    settle = ("dlc", "classic", "settle", contract)
    other = table.attest("sun", "other.json", "other-attestation.json")
    assert "one of an oracle and event of this contract" in table.bob.refused(*settle, other, code=2)
    false = table.attest("rain", "false.json", "false-attestation.json", "--name", "liar")
    assert "one of an oracle and event of this contract" in table.bob.refused(*settle, false, code=2)
    spoilt = table.folder / "spoilt.json"
    for change, says, code in (
        ({"outcomes": ["rain"]}, "the signature of 'rain' is not the oracle's", 5),
        ({"signatures": [right["attestation"]["signatures"][0][:-2] + "00"]}, "is not the oracle's", 5),
        ({"signatures": []}, "attestation signatures", 2),
    ):
        spoilt.write_text(json.dumps(right | {"attestation": right["attestation"] | change}))
        assert says in table.bob.refused(*settle, str(spoilt), code=code)
    spoilt.write_text(json.dumps(right | {"hashing": "plain"}))
    assert "is not tagged, as the announcement is" in table.bob.refused(*settle, str(spoilt), code=2)
    nowhere = ("--node", "bitcoind", "--rpcport", "1", "--rpcuser", "u", "--rpcpassword", "p")
    table.bob.refused(*nowhere, *settle, table.path("attestation.json"), code=3)
    assert table.bob.send(*settle, table.path("attestation.json"))["policy"] == "accepted"


def test_coins_that_are_gone(table: Table) -> None:
    """Spent by a party meanwhile: the other signs nothing that can never be funded."""
    table.weather()
    table.contract()
    contract = table.offer()
    table.accept()
    table.alice.mine(1)
    gone = OFFER.parse(Path(table.path("offer.json")).read_bytes()).party.inputs[0].outpoint
    spend(table.alice, gone.txid)
    assert f"funding input {gone}: spent" in table.alice.refused(
        "dlc", "classic", "sign", table.path("accept.json"), code=1
    )
    table.bob.run("dlc", "classic", "cancel", contract)
    assert f"funding input {gone}: spent" in table.bob.refused(
        "dlc", "classic", "accept", table.path("offer.json"), code=1
    )


def spend(bridge: Bridge, txid: bytes) -> None:
    """Mine a transaction that spends the party's coin of this txid."""
    with bridge.store() as store:
        key = keyring.wallet_key(store, Role.PARTY, "default")
    node = EmbeddedNode(bridge.datadir / "regtest" / "chain")
    try:
        wallet = Wallet(key, node, 1.0)
        others = frozenset(coin.outpoint for coin in wallet.coins() if coin.outpoint.txid != txid)
        node.broadcast(Wallet(key, node, 1.0, others).pay([TxOut(1_000_000, wallet.script_pubkey)]).tx)
        node.mine()
    finally:
        node.close()


def test_no_secret_is_shown(table: Table) -> None:
    contract = table.open()
    table.bob.send("dlc", "classic", "settle", contract, table.attest("sun"))
    printed = "".join(done.stdout + done.stderr for party in (table.alice, table.bob) for done in party.log)
    printed += "".join(Path(table.path(f"{name}.json")).read_text() for name in ("offer", "accept", "sign"))
    for party in (table.alice, table.bob):
        with party.store() as store:
            seed = store.seed(Role.PARTY, "default")
            held = book.find(store, contract, "default")
        key = seed.contract_key(held.salt)
        assert key.public.hex() in printed
        for secret in (seed.reveal(), seed.wallet_key().reveal(), key.reveal(), held.salt):
            assert secret.hex() not in printed
