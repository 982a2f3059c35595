"""Every story played by `watch --once` alone, between mined blocks: a new process with new objects at each look."""

import sqlite3
from pathlib import Path

import pytest

from bitvm_bridge import actions
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Verdict
from bitvm_bridge.store import FILE_NAME
from bitvm_bridge.transaction import Transaction
from tests.cli.bridge import (
    AMOUNT,
    PLAIN,
    WINDOW,
    Bridge,
    join,
    make_deposit,
    make_keys,
    pay_out,
    rpc_options,
    set_up,
)

PROGRAM = "hash-chain:2:1"
LIE = "link_1"
OPERATOR, CHALLENGER = "operator", "challenger"
SENT = ("sent", "raised", "resent")
"""Events by which something went to the node."""


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str]:
    """A vault with one signed instance; nobody was paid yet."""
    bridge = Bridge(tmp_path_factory.mktemp("vault") / "data", *PLAIN)
    make_keys(bridge)
    return bridge, set_up(bridge, PROGRAM)


@pytest.fixture
def played(vault: tuple[Bridge, str], tmp_path: Path) -> tuple[Bridge, str]:
    return vault[0].copy(tmp_path / "data"), vault[1]


def look(bridge: Bridge, role: str, *options: str) -> list[str]:
    """One look; returns what was sent."""
    report = bridge.data("watch", "--as", role, "--once", *options)
    sent = [note["message"].partition(" ")[0] for note in report["notes"] if note["event"] in SENT]
    assert len(sent) == report["sent"]
    return sent


def state(bridge: Bridge, instance: str) -> str:
    (row,) = [row for row in bridge.data("status")["instances"] if row["instance"] == instance]
    return str(row["state"])


def play(bridge: Bridge, instance: str, *roles: str, blocks: int = 40, until: str = "") -> list[tuple[int, str]]:
    """Look and mine until the instance has ended; returns (height of its block, name) of what was sent."""
    sent: list[tuple[int, str]] = []
    for _ in range(blocks):
        for role in roles:
            sent += [(bridge.height() + 1, name) for name in look(bridge, role)]
        bridge.mine()
        if state(bridge, instance) == until:
            return sent
    return sent


def kick_off_by_hand(bridge: Bridge, instance: str) -> int:
    """What a false operator does."""
    bridge.send("operator", "kick-off", instance)
    return bridge.height()


def test_happy(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    assert look(bridge, OPERATOR) == [], "no KickOff before a PegOut"
    pay_out(bridge, instance)
    sent = play(bridge, instance, OPERATOR, CHALLENGER, until="taken")
    (start, first), (taken, last) = sent
    assert (first, last) == ("KickOff", "HappyTake")
    assert taken == start + WINDOW, "at the first block at which it is valid"


def test_challenged_and_right(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    pay_out(bridge, instance)
    assert look(bridge, OPERATOR) == ["KickOff"]
    bridge.mine()
    height = bridge.height()
    bridge.send("challenger", "challenge", instance)
    sent = play(bridge, instance, OPERATOR, CHALLENGER, until="taken")
    assert sent == [(height + 2, "Assert"), (height + 3 * WINDOW, "UnhappyTake")]


def test_fraud(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    height = kick_off_by_hand(bridge, instance)
    assert look(bridge, CHALLENGER) == ["Challenge"]
    bridge.mine()
    bridge.send("operator", "assert", instance, "--lie", LIE)
    before = bridge.balances()[CHALLENGER]
    sent = play(bridge, instance, CHALLENGER, until="disproved")
    assert sent == [(height + 3, "Disprove")]
    assert bridge.balances()[CHALLENGER] - before > 9_900_000, "half the bond, less the fee"


def test_a_wrong_step_that_nobody_asked_for(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    pay_out(bridge, instance)
    kick_off_by_hand(bridge, instance)
    bridge.send("operator", "assert", instance, "--lie", LIE)
    assert play(bridge, instance, CHALLENGER, until="disproved")[0][1] == "Disprove"


def test_silent(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    height = kick_off_by_hand(bridge, instance)
    sent = play(bridge, instance, CHALLENGER, until="timed-out")
    assert sent == [(height + 1, "Challenge"), (height + 2 * WINDOW, "AssertTimeout_0")]


def test_abandoned(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    pay_out(bridge, instance)
    height = kick_off_by_hand(bridge, instance)
    sent = play(bridge, instance, CHALLENGER, until="forfeited")
    assert sent == [(height + 4 * WINDOW, "Forfeit")], "an honest operator that nobody challenged is not timed out"


def test_a_pegout_that_pays_too_little(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = bridge.datadir / "small.psbt"
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT // 2), "--out", str(psbt))
    bridge.send("operator", "peg-out", instance, "--psbt", str(psbt))
    assert look(bridge, OPERATOR) == [], "an honest operator does not bet its bond on it"
    kick_off_by_hand(bridge, instance)
    report = bridge.data("watch", "--as", CHALLENGER, "--once")
    assert "pays 49,500,000 sat, and 95,000,000 are owed" in report["notes"][-1]["message"]
    assert report["sent"] == 1


def test_a_pegout_after_the_kick_off(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    pay_out(bridge, instance)
    report = bridge.data("watch", "--as", CHALLENGER, "--once")
    assert "confirmed too late" in report["notes"][-1]["message"]
    assert report["sent"] == 1


def test_one_pegout_for_two_claims(played: tuple[Bridge, str]) -> None:
    bridge, first = played
    deposit = make_deposit(bridge, "--refund-delay", "30")
    second = join(bridge, deposit, PROGRAM)
    bridge.run("committee", "sign", second)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    pay_out(bridge, first)
    assert look(bridge, OPERATOR) == ["KickOff"], "only the one that was paid for"
    bridge.mine()
    kick_off_by_hand(bridge, second)
    report = bridge.data("watch", "--as", CHALLENGER, "--once")
    (note,) = [note for note in report["notes"] if note["event"] == "sent"]
    assert note["instance"] == second
    assert "no PegOut names the instance" in note["message"]


def test_nothing_is_sent_twice_or_early(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    pay_out(bridge, instance)
    assert look(bridge, OPERATOR) == ["KickOff"]
    waiting = bridge.mempool()
    assert look(bridge, OPERATOR) == []
    assert bridge.mempool() == waiting
    bridge.mine()
    height = bridge.height()
    bridge.mine_to(height + WINDOW - 2)
    assert look(bridge, OPERATOR) == [], "one block early"
    bridge.mine()
    assert look(bridge, OPERATOR) == ["HappyTake"]
    assert look(bridge, OPERATOR) == []


def test_the_fee_rises_as_the_deadline_comes_near(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    bridge.send("challenger", "challenge", instance)
    assert look(bridge, OPERATOR) == ["Assert"]
    cheap = bridge.mempool()
    report = bridge.data("--fee-source", "50", "watch", "--as", OPERATOR, "--once")
    assert [note["event"] for note in report["notes"]] == ["raised", "near", "waits"]
    assert len(bridge.mempool()) == len(cheap)
    assert bridge.mempool() != cheap
    bridge.mine()
    assert state(bridge, instance) == "asserted"


def test_a_dry_run_sends_and_keeps_nothing(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    pay_out(bridge, instance)
    before = bridge.contents()
    report = bridge.data("watch", "--as", OPERATOR, "--once", "--dry-run")
    assert report["sent"] == 0
    assert report["notes"][-1]["event"] == "due"
    assert report["notes"][-1]["message"].startswith("would send KickOff")
    assert bridge.contents() == before
    assert bridge.mempool() == []


def test_the_budget_of_a_challenger(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    refused = bridge.run("watch", "--as", CHALLENGER, "--once", "--budget", "4999999", code=1)
    assert "above the budget of 4,999,999" in refused.stderr
    assert look(bridge, CHALLENGER, "--budget", "5000000") == ["Challenge"]
    bridge.mine()
    assert look(bridge, CHALLENGER, "--budget", "5000000") == []


def test_an_operator_acts_for_its_own_instances_alone(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    bridge.run("operator", "keygen", "--name", "another")
    pay_out(bridge, instance)
    assert look(bridge, OPERATOR, "--name", "another") == []
    assert look(bridge, OPERATOR) == ["KickOff"]


def test_the_committee_hears_of_a_vault_that_moves_otherwise(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    assert look(bridge, "committee") == []
    deposit = bridge.run("depositor", "list").stdout[:12]
    address = bridge.data("withdrawer", "address")["address"]
    bridge.send("committee", "cooperative-payout", deposit, "--to", address)
    assert look(bridge, "committee") == [], "the members paid it out together"
    assert state(bridge, instance) == "moved"


def test_a_vault_that_nobody_here_moved_is_an_alarm(played: tuple[Bridge, str]) -> None:
    bridge, _ = played
    deposit = bridge.run("depositor", "list").stdout[:12]
    address = bridge.data("withdrawer", "address")["address"]
    bridge.send("committee", "cooperative-payout", deposit, "--to", address)
    connection = sqlite3.connect(bridge.datadir / "regtest" / FILE_NAME)
    connection.execute("DELETE FROM transactions WHERE name = 'CooperativePayout'")
    connection.commit()
    connection.close()
    for _ in range(2):
        refused = bridge.run("watch", "--as", "committee", "--once", code=5)
        assert "vault moved by" in refused.stderr
        assert "which was not signed at set-up" in refused.stderr


def test_a_process_that_ends_between_the_record_and_the_node(
    played: tuple[Bridge, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    bridge.send("challenger", "challenge", instance)

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(actions, "send", crash)
        bridge.run("watch", "--as", OPERATOR, "--once", code=1)
    with bridge.store() as store:
        bound = store.bound(bytes.fromhex(instance))
        (recorded,) = [tx for name, tx in store.transactions(bytes.fromhex(instance)) if name == "Assert"]
    assert bound
    assert bridge.mempool() == []
    assert look(bridge, OPERATOR) == ["Assert"]
    with bridge.store() as store:
        assert store.bound(bytes.fromhex(instance)) == bound
    assert Transaction.parse_hex(bridge.mempool()[0], "mempool").txid == recorded.txid


def test_what_cannot_be_sent_does_not_keep_the_next_best_waiting(
    played: tuple[Bridge, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, instance = played
    height = kick_off_by_hand(bridge, instance)
    assert look(bridge, CHALLENGER) == ["Challenge"]
    bridge.mine()
    bridge.send("operator", "assert", instance, "--lie", LIE)
    real = actions.judge
    monkeypatch.setattr(
        actions,
        "judge",
        lambda prepared, node: Verdict(False, "heavy") if prepared.name == "Disprove" else real(prepared, node),
    )
    assert "Disprove: heavy" in bridge.run("watch", "--as", CHALLENGER, "--once", code=4).stderr
    bridge.mine_to(height + 4 * WINDOW - 1)
    assert look(bridge, CHALLENGER) == ["Forfeit"]


def test_an_instance_that_is_not_signed_is_only_looked_at(played: tuple[Bridge, str]) -> None:
    bridge, first = played
    deposit = make_deposit(bridge, "--refund-delay", "30")
    unsigned = join(bridge, deposit, PROGRAM)
    kick_off_by_hand(bridge, first)
    with bridge.store() as store:
        store.delete("bundle", bytes.fromhex(first))
    refused = bridge.run("watch", "--as", CHALLENGER, "--once", code=1)
    assert "Challenge: the committee has not signed this instance" in refused.stderr
    assert state(bridge, unsigned) == "deposited"


@pytest.mark.parametrize("story", ["happy", "fraud"])
def test_bitcoin_core(story: str, fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    instance = set_up(bridge, PROGRAM)
    if story == "happy":
        pay_out(bridge, instance)
        sent = play(bridge, instance, OPERATOR, CHALLENGER, until="taken")
        assert [name for _, name in sent] == ["KickOff", "HappyTake"]
        return
    kick_off_by_hand(bridge, instance)
    assert look(bridge, CHALLENGER) == ["Challenge"]
    assert look(bridge, CHALLENGER) == []
    bridge.mine()
    bridge.send("operator", "assert", instance, "--lie", LIE)
    assert [name for _, name in play(bridge, instance, CHALLENGER, until="disproved")] == ["Disprove"]
