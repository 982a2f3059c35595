"""`exchange` on the command line: parties with data directories of their own on one embedded chain.

What takes several processes at a time is in `tests/live`; here each call is a process that ends.
"""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import MEMBER, NONCES, NoncesBody, of_kind
from bitvm_bridge.keys import Role
from bitvm_bridge.locks import try_lock
from tests.cli.bridge import PLAIN, RECEIVER, Bridge
from tests.cli.test_tables import on_terminal

PROGRAM: Final = "hash-chain:2:1"
CAST: Final = {"alice": "committee", "bob": "committee", "dora": "depositor", "olga": "operator"}


@dataclass
class Table:
    """Everyone's data directory, the roster, and the folder that they share."""

    folder: Path
    bridges: dict[str, Bridge]

    @property
    def roster(self) -> tuple[str, str]:
        return "--roster", str(self.folder / "roster.json")

    def run(self, name: str, *more: str, code: int = 0) -> Any:
        """One round of a party; its report."""
        args = ("exchange", "run", "--as", CAST[name], *self.roster, "--dir", str(self.folder / "shared"), "--once")
        return self.bridges[name].data(*args, *(["--join"] if CAST[name] == "operator" else []), *more, code=code)

    def files(self, kind: str) -> list[Path]:
        return sorted((self.folder / "shared").glob(f"*-{kind}-*"))

    def envelopes(self, kind: str) -> list[Envelope]:
        return [Envelope.from_json(path.read_bytes()) for path in self.files(kind)]

    def status(self, name: str) -> Any:
        return self.bridges[name].data("exchange", "status", *self.roster)["deposits"]


@pytest.fixture
def table(tmp_path: Path) -> Table:
    """Keys, coins, a roster. The embedded chain is one folder, which every data directory points to."""
    (tmp_path / "chain").mkdir()
    (tmp_path / "shared").mkdir()
    bridges, entries = {}, []
    for name, role in CAST.items():
        home = tmp_path / name
        (home / "regtest").mkdir(parents=True)
        (home / "regtest" / "chain").symlink_to(tmp_path / "chain")
        bridge = bridges[name] = Bridge(home, *PLAIN)
        bridge.run(role, "keygen", *(["default"] if role == "committee" else []))
        if role != "committee":
            bridge.run("node", "mine", "2", "--to", role)
        entry = tmp_path / f"{name}.json"
        entry.write_text(bridge.run("exchange", "identity", name, "--as", role).stdout)
        entries.append(str(entry))
    bridges["dora"].mine(100)
    made = bridges["bob"].run("exchange", "roster", *entries, "--program", PROGRAM)
    (tmp_path / "roster.json").write_text(made.stdout)
    return Table(tmp_path, bridges)


def ask(table: Table, *more: str) -> str:
    asked = table.bridges["dora"].data("exchange", "request", *table.roster, "--receiver", RECEIVER, *more)
    return str(asked["deposit"])


def test_from_a_request_to_nonces(table: Table) -> None:
    """A member that is a process of one round gives its key, then nonces; the next round draws others."""
    deposit = ask(table)
    assert table.status("dora")[0]["waits_for"] == "keys of alice, bob"
    for name in ("dora", "alice", "bob", "dora"):
        table.run(name)
    table.bridges["dora"].mine()
    table.run("olga")
    table.bridges["dora"].mine()
    for attempt, name in enumerate(("alice", "alice"), 1):
        report = table.run(name)
        assert report == {"deposits": 1, "confirmed": 0, "expected": 1, "signed": 0, "payouts": 0, "faults": []}
        assert {of_kind(one, NoncesBody).attempt for one in table.envelopes(NONCES)} == set(range(1, attempt + 1))
    (standing,) = table.status("alice")
    assert (standing["deposit"], standing["offered"], standing["signed"]) == (deposit, 1, 0)
    assert standing["waits_for"] == "signatures of bob for 1 instances"
    line = table.bridges["alice"].run("exchange", "status", *table.roster).stdout
    assert line == f"{deposit[:12]}  dora  0/1  signatures of bob for 1 instances\n"
    for name in ("alice", "bob", "olga"):
        with table.bridges[name].store() as store:
            (role,) = {role for role in ("committee", "depositor", "operator") if store.seed_names(role)}  # type: ignore[arg-type]
        assert role == CAST[name]


def test_files_that_came_by_other_ways(table: Table, tmp_path: Path) -> None:
    ask(table)
    for name in ("dora", "alice"):
        table.run(name)
    sent = [str(path) for path in table.files("request") + table.files(MEMBER)]
    bob = table.bridges["bob"]
    assert bob.data("exchange", "inbox", *table.roster, *sent) == {"new": 2, "known": 0}
    assert bob.data("exchange", "inbox", *table.roster, *sent) == {"new": 0, "known": 2}
    assert table.status("bob")[0]["waits_for"] == "keys of bob"
    bad = tmp_path / "bad.json"
    bad.write_text(Path(sent[0]).read_text()[:-10])
    done = table.bridges["olga"].run("exchange", "inbox", *table.roster, str(bad), sent[0], code=5)
    assert f"refused: {bad}: envelope" in done.stderr
    assert "error: 1 of 2 files refused; the others are kept" in done.stderr
    assert len(table.status("olga")) == 1


def test_a_fault_is_shown_with_its_author(table: Table, tmp_path: Path) -> None:
    """A member whose roster has another program refuses the offer, and says whose it was."""
    ask(table)
    other = json.loads((tmp_path / "roster.json").read_text()) | {"program": "hash-chain:3:1"}
    for name in ("dora", "alice", "bob", "dora"):
        table.run(name)
    table.bridges["dora"].mine()
    table.run("olga")
    (tmp_path / "roster.json").write_text(json.dumps(other))
    report = table.run("alice")
    assert [fault.partition(" (")[0] for fault in report["faults"]] == ["olga: another program than was agreed on"]
    assert not table.envelopes(NONCES)
    assert table.status("alice")[0]["faults"] == report["faults"]
    assert (
        "olga: another program than was agreed on"
        in table.bridges["alice"].run("exchange", "status", *table.roster).stdout
    )


def test_amount_and_exits_are_the_depositors_choice(table: Table) -> None:
    ask(table, "--peg-in", "60000000", "--exits", "3")
    assert table.status("dora")[0]["expected"] == 3


REFUSED: Final[dict[str, tuple[str, list[str], int, str]]] = {
    "no roster": ("alice", ["run", "--as", "committee", "--dir", ".", "--roster", "gone"], 2, "--roster"),
    "not a roster": ("alice", ["run", "--as", "committee", "--dir", ".", "--roster", "alice.json"], 2, "roster"),
    "no folder": ("alice", ["run", "--as", "committee"], 2, "--dir or --url: 'nothing'"),
    "missing folder": ("alice", ["run", "--as", "committee", "--dir", "gone"], 2, "--dir"),
    "no such key": ("alice", ["run", "--as", "committee", "--dir", ".", "--name", "x"], 2, "committee name"),
    "no such operator": ("dora", ["request", "--receiver", RECEIVER, "--operator", "alice"], 2, "--operator"),
    "no receiver": ("dora", ["request", "--receiver", "xx"], 2, "--receiver: 'xx' is not hex"),
    "exits that do not divide": ("dora", ["request", "--receiver", RECEIVER, "--exits", "7"], 2, "exits"),
    "nothing to take in": ("bob", ["inbox", "gone"], 2, "FILES: 'gone' is not a readable file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(table: Table, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    who, args, code, expected = REFUSED[name]
    monkeypatch.chdir(table.folder)
    roster = [] if "--roster" in args else table.roster
    assert expected in table.bridges[who].refused("exchange", args[0], *roster, *args[1:], code=code)


def test_a_roster_of_another_network(table: Table, tmp_path: Path) -> None:
    roster = json.loads((tmp_path / "roster.json").read_text())
    roster["params"]["network"] = "signet"
    (tmp_path / "roster.json").write_text(json.dumps(roster))
    assert "for signet" in table.bridges["alice"].refused("exchange", "status", *table.roster, code=2)


def test_a_party_that_is_not_in_the_roster(table: Table, tmp_path: Path) -> None:
    roster = json.loads((tmp_path / "roster.json").read_text())
    roster["parties"] = [one for one in roster["parties"] if one["name"] != "alice"]
    (tmp_path / "roster.json").write_text(json.dumps(roster))
    run = ("run", "--as", "committee", *table.roster, "--dir", str(tmp_path), "--once")
    assert "is not in the roster" in table.bridges["alice"].refused("exchange", *run, code=1)


def test_a_bar_on_a_terminal_and_lines_in_a_pipe(table: Table) -> None:
    """Two exits are a batch."""
    ask(table, "--exits", "2", "--peg-in", "60000000")
    for name in ("alice", "bob", "dora"):
        table.run(name)
    args = ("exchange", "run", "--as", "committee", *table.roster, "--dir", str(table.folder / "shared"), "--once")
    alice = table.bridges["alice"]
    line = "alice: deposits confirmed 0/1, instances signed 0/2"
    assert alice.run(*args).stderr == f"{line}\n"
    shown = on_terminal("--datadir", str(alice.datadir), *PLAIN, *args)
    assert "alice: deposits confirmed 0/1, instances signed" in shown
    assert "━" in shown
    assert line not in shown, "the bar says it"


def test_two_processes_with_one_key_in_one_data_directory(table: Table) -> None:
    """The second one is refused before it draws a nonce; when the first has ended, however it did, it may run."""
    ask(table)
    table.run("dora")
    args = ("exchange", "run", "--as", "committee", *table.roster, "--dir", str(table.folder / "shared"), "--once")
    alice = table.bridges["alice"]
    with alice.store() as store:
        key = store.seed(Role.COMMITTEE, "default").identity_key().xonly
    file = try_lock(alice.datadir / "regtest" / f"exchange-{key.hex()[:16]}.lock")
    assert file is not None
    with file:
        refusal = alice.refused(*args, code=1)
        assert refusal == "exchange: another process signs with this key; one of them is enough"
        assert not table.files(MEMBER)
        table.run("bob")
    alice.run(*args)
    assert len(table.files(MEMBER)) == 2


def test_two_processes_with_one_key_in_copies_of_a_data_directory(table: Table, tmp_path: Path) -> None:
    ask(table)
    for name in ("dora", "bob"):
        table.run(name)
    args = ("exchange", "run", "--as", "committee", *table.roster, "--dir", str(table.folder / "shared"), "--once")
    copy = Bridge(tmp_path / "copy", *PLAIN)
    shutil.copytree(table.bridges["bob"].datadir, copy.datadir, symlinks=True)
    for name in ("alice", "dora"):
        table.run(name)
    table.bridges["dora"].mine()
    table.run("olga")
    table.bridges["dora"].mine()
    assert "another process" not in table.bridges["bob"].run(*args).stderr
    said = copy.run(*args).stderr.splitlines()
    (warning,) = [line for line in said if "another process" in line]
    assert warning.startswith(
        "warning: another process signs with this key, or this data directory is an older copy: it said nonces of "
    )
