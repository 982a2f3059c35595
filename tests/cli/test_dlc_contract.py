"""`dlc offer`, `accept` and the rest, as far as one process goes: what is refused, in one line and with nothing kept.

`tests/live/test_contract.py` plays contracts to their ends.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.dlc import oracle, oracle_documents
from bitvm_bridge.dlc.oracle import EnumEvent, Hashing
from bitvm_bridge.documents import encode
from bitvm_bridge.keys import Role
from tests.cli.bridge import PLAIN, Bridge
from tests.dlc.oracles import KEY, nonces

COLLATERAL = 1_000_000
BET = {"sun": {"offerer": 2 * COLLATERAL, "accepter": 0}, "rain": {"offerer": 0, "accepter": 2 * COLLATERAL}}
DAY = 86_400


@dataclass
class Table:
    """Alice, bob, carol and an oracle on one embedded chain, with a folder between them."""

    folder: Path
    alice: Bridge
    bob: Bridge
    carol: Bridge
    olga: Bridge

    @property
    def shared(self) -> Path:
        return self.folder / "shared"

    @property
    def via(self) -> tuple[str, str]:
        return "--dir", str(self.shared)

    def announce(self, name: str = "event.json", *outcomes: str) -> None:
        given = [word for outcome in outcomes or ("sun", "rain") for word in ("--outcome", outcome)]
        out = ("--maturity", str(int(time.time())), "--out", str(self.folder / name))
        self.olga.run("dlc", "oracle", "announce", "--event-id", "weather", *given, *out)

    def describe(self, **changes: Any) -> str:
        document = {
            "collateral": {"offerer": COLLATERAL, "accepter": COLLATERAL},
            "event": {"oracles": ["event.json"], "payouts": BET},
            "stake": COLLATERAL,
            "program": "hash-chain:2:1",
        }
        path = self.folder / "bet.json"
        path.write_text(json.dumps(document | changes))
        return str(path)

    def offer(self, **changes: Any) -> str:
        return self.alice.run("dlc", "offer", self.describe(**changes), *self.via).stdout.strip()

    def letters(self, kind: str) -> list[Path]:
        return sorted(self.shared.glob(f"*-{kind}-*"))


@pytest.fixture
def table(tmp_path: Path) -> Table:
    chain = tmp_path / "chain"
    EmbeddedNode(chain).close()
    made = {}
    for name in ("alice", "bob", "carol", "olga"):
        home = tmp_path / name
        (home / "regtest").mkdir(parents=True)
        (home / "regtest" / "chain").symlink_to(chain)
        made[name] = Bridge(home, *PLAIN)
    for name in ("alice", "bob", "carol"):
        made[name].run("dlc", "party", "keygen")
        made[name].run("node", "mine", "1", "--to", "party")
    made["olga"].run("dlc", "oracle", "keygen")
    made["olga"].run("node", "mine", "1", "--to", "oracle")
    made["olga"].mine(100)
    (tmp_path / "shared").mkdir()
    table = Table(tmp_path, **made)
    table.announce()
    return table


def event(**changes: Any) -> dict[str, Any]:
    return {"oracles": ["event.json"], "payouts": BET} | changes


TERMS: dict[str, tuple[dict[str, Any], str]] = {
    "payouts that do not sum to the collateral": (
        {"event": event(payouts=BET | {"sun": {"offerer": 1, "accepter": 1}})},
        "payout of 'sun'",
    ),
    "negative payout": (
        {"event": event(payouts=BET | {"sun": {"offerer": 2 * COLLATERAL + 1, "accepter": -1}})},
        "payout of 'sun'",
    ),
    "outcome not in the announcement": (
        {"event": event(payouts=BET | {"hail": {"offerer": COLLATERAL, "accepter": COLLATERAL}})},
        "hail",
    ),
    "outcome left out": ({"event": event(payouts={"sun": BET["sun"]})}, "rain"),
    "refund before the maturity": ({"refund_from": 1_600_000_000}, "refund time"),
    "refund at a height": ({"refund_from": 500}, "refund time"),
    "no stake": ({"stake": 0}, "stake"),
    "windows that are none": ({"dispute_window": 0}, "dispute window"),
    "margin": ({"margin": 1}, "margin"),
    "program": ({"program": "unheard-of"}, "program"),
    "program of another kind of result": ({"program": "groth16"}, "program"),
    "field": ({"stakes": 5}, "stakes"),
    "file of an announcement": ({"event": event(oracles=["missing.json"])}, "missing.json"),
    "fee rate": ({"fee_rate": 1_001}, "fee rate"),
    "more than there is": ({"collateral": {"offerer": 10**12, "accepter": COLLATERAL}, "event": event()}, "payout"),
}


@pytest.mark.parametrize("case", TERMS)
def test_terms_that_are_refused(table: Table, case: str) -> None:
    changes, message = TERMS[case]
    told = table.alice.refused("dlc", "offer", table.describe(**changes), *table.via, code=2)
    assert message in told
    assert list(table.shared.iterdir()) == []


def test_a_curve_that_goes_negative_or_above(table: Table) -> None:
    out = ("--maturity", str(int(time.time())), "--digits", "10", "--out", str(table.folder / "price.json"))
    table.olga.run("dlc", "oracle", "announce", "--event-id", "price", *out)
    for curve in ([[0, -1], [1023, 5]], [[0, 0], [1023, 2 * COLLATERAL + 1]], [[0, 0], [500, 9]]):
        given = {"oracles": ["price.json"], "curve": curve}
        assert table.alice.refused("dlc", "offer", table.describe(event=given), *table.via, code=2)
    good = {"oracles": ["price.json"], "curve": [[0, 0], [1023, 2 * COLLATERAL]], "rounding": [[0, 1_000_000]]}
    shown = table.alice.data("dlc", "show", table.offer(event=good))
    assert (shown["state"], shown["party"]) == ("said", "offerer")


def test_a_nonce_that_was_seen_before(table: Table) -> None:
    maturity = int(time.time())
    for name, number in (("first", 0), ("second", 1)):
        made = oracle.announce(KEY, nonces(1), maturity + number, EnumEvent(("sun", "rain")), name, Hashing.TAGGED)
        file = oracle_documents.announcement_file(made, Hashing.TAGGED)
        (table.folder / f"{name}.json").write_bytes(encode(file))
    table.offer(event=event(oracles=["first.json"]))
    said = len(list(table.shared.iterdir()))
    told = table.alice.refused("dlc", "offer", table.describe(event=event(oracles=["second.json"])), *table.via, code=1)
    assert "was announced for another event" in told
    assert len(list(table.shared.iterdir())) == said


def test_places_and_files_that_are_none(table: Table) -> None:
    (table.folder / "cut.json").write_text(Path(table.describe()).read_text()[:-3])
    for path, folder in (
        (table.describe(), table.folder / "nowhere"),
        (str(table.folder / "cut.json"), table.shared),
        (str(table.folder / "none.json"), table.shared),
    ):
        assert table.alice.refused("dlc", "offer", path, "--dir", str(folder), code=2)


def test_offers_that_cannot_be_accepted(table: Table) -> None:
    contract = table.offer()
    assert "one offer in the folder" in table.bob.refused("dlc", "accept", "00" * 32, *table.via, code=2)
    assert "is its offerer" in table.alice.run("dlc", "accept", contract, *table.via, code=1).stderr
    (letter,) = table.letters("dlc-offer")
    whole = letter.read_text()
    letter.write_text(whole.replace('"stake":1000000', '"stake":1000001'))
    told = table.bob.run("dlc", "accept", contract, *table.via, code=2).stderr
    assert "does not verify" in told or "first 4 or more digits" in told
    letter.write_text(whole)
    assert table.bob.run("dlc", "accept", contract[:8], *table.via).stdout.strip() == contract
    again = table.bob.run("dlc", "accept", contract[:8], *table.via)
    assert again.stdout.strip() == contract
    assert len(table.letters("dlc-accept")) == 1, "the same answer"


def test_coins_of_one_contract_are_not_in_another(table: Table) -> None:
    contract = table.offer()
    assert "wallet" in table.alice.refused("dlc", "offer", table.describe(), *table.via, code=1)
    table.bob.run("dlc", "accept", contract, *table.via)


def test_stakes_that_are_refused(table: Table) -> None:
    contract = table.offer()
    assert "none yet" in table.olga.run("dlc", "oracle", "stake", contract, *table.via, code=2).stderr
    table.bob.run("dlc", "accept", contract, *table.via)
    table.bob.run("dlc", "oracle", "keygen")
    table.bob.run("node", "mine", "1", "--to", "oracle")
    table.bob.mine(100)
    assert "oracle key" in table.bob.run("dlc", "oracle", "stake", contract, *table.via, code=2).stderr
    table.carol.run("dlc", "accept", contract, *table.via)
    told = table.olga.run("dlc", "oracle", "stake", contract, *table.via, code=2).stderr
    assert "--accepter" in told
    accepter = json.loads(table.letters("dlc-accept")[0].read_text())["author"]
    made = table.olga.run("dlc", "oracle", "stake", contract, *table.via, "--accepter", accepter[:8])
    assert made.stdout.strip() == contract
    assert len(table.letters("dlc-stake")) == 1
    chosen, other = (table.bob, table.carol) if accepts(table.bob, accepter) else (table.carol, table.bob)
    assert "waits for" in chosen.run("dlc", "sign", contract, *table.via, "--once").stderr
    assert "another accepter" in other.run("dlc", "sign", contract, *table.via, "--once", code=1).stderr


def accepts(bridge: Bridge, identity: str) -> bool:
    with bridge.store() as store:
        return store.seed(Role.PARTY, "default").identity_key().xonly.hex() == identity


def test_nothing_can_be_done_with_a_contract_that_is_not_signed(table: Table) -> None:
    contract = table.offer()
    assert "waits for somebody to accept" in table.alice.run("dlc", "sign", contract, *table.via, "--once").stderr
    for command in ("settle", "refund", "timeout", "forfeit", "disprove"):
        assert "not signed yet" in table.alice.refused("dlc", command, contract, code=1)
        assert "known: " in table.alice.refused("dlc", command, "ab" * 32, code=2)
    for command in ("close", "transfer"):
        more = ("--offerer", "5") if command == "close" else ("--of", "offerer", "--price", "5000")
        assert table.alice.run("dlc", command, contract, *table.via, *more, code=1 if command == "close" else 2).stderr
    rows = table.alice.data("dlc", "list")["contracts"]
    assert [(row["contract"], row["party"], row["signed"]) for row in rows] == [(contract, "offerer", "no")]
    assert "no contract yet" in table.carol.run("dlc", "list").stderr


def test_a_secret_that_is_none(table: Table) -> None:
    contract = table.offer()
    for text in ("", "ab", "00" * 32, "zz" * 32):
        (table.folder / "secret").write_text(text)
        options = ("--once", "--secret", str(table.folder / "secret"))
        assert "--secret" in table.alice.refused("dlc", "sign", contract, *table.via, *options, code=2)
    point = table.alice.data("dlc", "lock", "--out", str(table.folder / "made"))["point"]
    assert len(bytes.fromhex(point)) == 33
    assert point not in (table.folder / "made").read_text()
    told = table.carol.run(
        "dlc", "transfer", contract, *table.via, "--of", "offerer", "--price", "9", "--lock", "02", code=2
    )
    assert "--lock" in told.stderr
