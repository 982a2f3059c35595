"""Seven processes that are killed with SIGKILL at writes of their stores, started again, and come to the same end."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.store import FILE_NAME
from tests.cli.bridge import AMOUNT, Bridge
from tests.live.dying import DIE_AT
from tests.live.killed_story import Audit, Story
from tests.live.killer import Plan, always, at
from tests.live.parties import CAST, Parties
from tests.live.play import CHALLENGER, OPERATOR, PROGRAM, House, Play
from tests.live.sums import BOND, CHALLENGE, DUST_OUTPUT, PAID, values
from tests.vectors import ROOT

CORE = {
    ("alice", "exchange"): ("after member_keys", "before nonces", "after nonces"),
    ("bob", "exchange"): ("after records/envelope nonces", "before records/envelope partials", "before records/bundle"),
    ("carol", "exchange"): ("after records/bundle", "after nonces", "before records/peg-in signature"),
    ("dora", "exchange"): ("before transactions", "after transactions", "after records/peg-in signature"),
    ("olga", "exchange"): ("before transactions", "after transactions", "after records/envelope offer"),
    ("oscar", "exchange"): ("after transactions", "after transactions", "before records/bundle"),
    ("clara", "exchange"): ("before records/instance", "after records/bundle"),
    ("alice", "watch"): ("after records/watch since", "before records/watch transaction"),
    ("bob", "watch"): ("before records/watch since", "after records/watch transaction"),
    ("carol", "watch"): ("after records/watch block", "after records/watch state"),
    ("olga", "watch"): ("before transactions", "after transactions", "before one_time_keys", "after one_time_keys"),
    ("clara", "watch"): ("before transactions", "after transactions", "after transactions"),
}
"""(who, command) → at which write each of its lives ends; the last one lives on."""


COPY = "SELECT owner, 'Forfeit', randomblob(32), raw FROM transactions LIMIT 1"
TAMPERED = (
    ("alice", "DELETE FROM nonces"),
    ("bob", "UPDATE nonces SET digest = zeroblob(32)"),
    ("olga", "UPDATE one_time_keys SET message = zeroblob(20)"),
    ("clara", f"INSERT INTO transactions (owner, name, txid, raw) {COPY}"),
)
"""What the audit must not overlook: signatures that are not, or otherwise, on record, and a coin that serves twice."""


def told(folder: Path, launched: LaunchedBitcoind, plans: dict[tuple[str, str], Plan]) -> tuple[Story, Audit]:
    with Parties.gathered(folder, launched) as parties:
        story = Story(parties, plans)
        try:
            story.play()
        finally:
            story.end()
        story.check_end()
        return story, story.audit()


def test_killed_where_it_hurts(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind) -> None:
    story, audit = told(tmp_path, fresh_bitcoind, {key: at(*moments) for key, moments in CORE.items()})
    for service in story.services:
        assert service.deaths == len(CORE[service.name, service.args[0]]), service.text()
    assert audit.nonces > audit.partials > 0
    assert audit.assertions == 2
    assert audit.coins > 10
    for name, statement in TAMPERED:
        path = story.parties.bridges[name].datadir / "regtest" / FILE_NAME
        kept = path.read_bytes()
        with sqlite3.connect(path) as database:
            database.execute(statement)
        database.close()
        with pytest.raises(AssertionError):
            story.audit()
        path.write_bytes(kept)
    story.audit()


def killed(bridge: Bridge, moment: str, *args: str) -> None:
    """A command that does not come to its end."""
    line = ["--datadir", str(bridge.datadir), *bridge.options, *args, "--broadcast"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), DIE_AT: moment}
    command = [sys.executable, "-W", "error", "-m", "tests.live.dying", *line]
    done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
    assert done.returncode == -signal.SIGKILL, done


def test_commands_that_are_killed_and_given_again(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind) -> None:
    """Each before and after everything that it writes; then it does what it would have done, once."""
    play = Play.begun(House.built(tmp_path, fresh_bitcoind), tmp_path, PROGRAM, 1, peg_in=True)
    operator, psbt = play.bridges[OPERATOR], str(tmp_path / "withdrawal.psbt")
    play.bridges[Role.WITHDRAWER].run("withdrawer", "request", "--amount", str(AMOUNT), "--out", psbt)
    lie = ("operator", "assert", play.instance, "--lie", "link_1")
    commands = (
        (operator, ("operator", "peg-out", play.instance, "--psbt", psbt), ["transactions"]),
        (operator, ("operator", "kick-off", play.instance), ["transactions"]),
        (play.bridges[CHALLENGER], ("challenger", "challenge", play.instance), ["transactions"]),
        (operator, lie, ["one_time_keys", "transactions"]),
        (play.bridges[CHALLENGER], ("challenger", "disprove", play.instance), ["transactions"]),
    )
    for bridge, args, writes in commands:
        for write in writes:
            killed(bridge, f"before {write}", *args)
            killed(bridge, f"after {write}", *args)
        if args == lie:
            other = operator.run("operator", "assert", play.instance, "--broadcast", code=1).stderr
            assert "a one-time key never signs twice" in other
        bridge.send(*args)
    ledger = play.ledger()
    assert ledger.names == ("PegOut", "KickOff", "Challenge", "Assert", "Disprove")
    known = values(Params(), AMOUNT)
    assert ledger.changes["operator"] == (CHALLENGE - BOND - PAID - 2 * DUST_OUTPUT).sat(known)


MEMBERS = tuple(name for name, role in CAST.items() if role == Role.COMMITTEE)
SWEEPS = [(name, side) for name in CAST for side in ("after", "before") if (name in MEMBERS) <= (side == "after")]
"""A member that dies before every second write never comes from nonces to signatures; see `BEFORE_EACH`."""
BEFORE_EACH = {
    "exchange": (
        "member_keys",
        "records/envelope member",
        "records/envelope nonces",
        "nonces",
        "records/envelope partials",
        "records/bundle",
        "records/envelope confirm-nonces",
        "records/envelope confirm-partials",
        "records/peg-in signature",
    ),
    "watch": ("records/watch since", "records/watch block", "records/watch state", "records/watch transaction"),
}
"""Command → every kind of write of a member, as they come."""


@pytest.mark.sweep
@pytest.mark.parametrize("name", MEMBERS)
def test_a_member_killed_before_each_kind_of_write(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind, name: str) -> None:
    plans = {(name, what): at(*(f"before {kind}" for kind in kinds)) for what, kinds in BEFORE_EACH.items()}
    story, _ = told(tmp_path, fresh_bitcoind, plans)
    for service in story.services:
        assert service.deaths == (len(BEFORE_EACH[service.args[0]]) if service.name == name else 0), service.text()


@pytest.mark.sweep
@pytest.mark.parametrize(("name", "side"), SWEEPS)
def test_killed_at_every_write(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind, name: str, side: str) -> None:
    """Of one process: after every write, or before every second one, so that each life writes once at most.

    A member that signs must get from nonces to signatures in one life: of the writes before these only the first three
    of a kind count. So it is with blocks that have nothing of a watcher's instances.
    """
    plans = {(name, what): always(side) for what in ("exchange", "watch")}
    story, _ = told(tmp_path, fresh_bitcoind, plans)
    for service in story.services:
        fates = [(fate, kind) for fate, kinds in service.fates() for kind in kinds.split("+")]
        died = {kind for fate, kind in fates if fate != "lived"}
        if service.name == name:
            assert service.deaths == service.lives - 1
            assert died, "it lived"
            assert side == "before" or {kind for _, kind in fates} == died, "no kind of write that it did not die after"
        else:
            assert not died
