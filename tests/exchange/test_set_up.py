"""A whole set-up between parties with stores of their own."""

import random
from pathlib import Path

import pytest

from bitvm_bridge import records
from bitvm_bridge.exchange.party import Courier, Progress
from bitvm_bridge.params import Params
from tests.exchange.cast import Memory, Player, cast, play, request


def ask(players: dict[str, Player], exits: int = 1) -> bytes:
    asked = request(Params(exits=exits))
    players["dora"].ask(asked)
    return asked.id


@pytest.mark.parametrize("seed", range(4))
def test_any_order_repeats_and_losses(tmp_path: Path, seed: int) -> None:
    players = cast(tmp_path)
    asked = request(Params(exits=2))
    players["dora"].ask(asked)
    play(players, Memory(random.Random(seed), loss=0.0 if seed % 2 else 0.3))
    assert all(player.party.progress.is_done for player in players.values())
    assert len({player.peg_in(asked) for player in players.values()}) == 1
    for player in players.values():
        assert not player.party.faults
        assert player.party.progress.signed == 4
        assert len(player.store.keys(records.BUNDLE)) == 4
        assert player.actor.peg_ins == [player.peg_in(asked)]


@pytest.mark.parametrize("seed", range(6))
def test_processes_that_die_at_any_time(tmp_path: Path, seed: int) -> None:
    """What was in memory is gone: nonces that were given are replaced, and nothing signs twice."""
    rng = random.Random(seed)
    players, mailbox = cast(tmp_path), Memory(random.Random(seed))
    ask(players)
    for turn in range(300):
        name = rng.choice(list(players))
        if turn < 100 and rng.random() < 0.2:
            players[name] = players[name].restarted()
        Courier(players[name].party, mailbox).run()
        if all(player.party.progress.is_done for player in players.values()):
            break
    assert all(player.party.progress.is_done for player in players.values())
    for player in players.values():
        assert not player.party.faults


def test_progress_is_told_instance_by_instance(tmp_path: Path) -> None:
    """Within a step, so that a long one is seen to go on; and it never goes back."""
    players, told = cast(tmp_path), list[Progress]()
    for number in range(2):
        players["dora"].ask(request(Params(exits=2), receiver=bytes([number])))
    players["alice"].party.watch_progress = told.append
    play(players)
    assert [one.signed for one in told] == list(range(1, 9)), "two deposits, two exits, two operators"
    assert {(one.deposits, one.expected) for one in told} == {(2, 8)}


def test_what_another_process_says_with_the_same_key_is_seen(tmp_path: Path) -> None:
    """Two stores, one key: whoever reads what it has not said knows; what comes back of one's own means nothing."""
    players, mailbox = cast(tmp_path), Memory(random.Random(4))
    ask(players)
    twin = Player.open("alice", tmp_path / "twin")
    Courier(players["dora"].party, mailbox).run()
    for _ in range(2):
        Courier(players["alice"].party, mailbox).run()
    assert players["alice"].party.double == ""
    Courier(twin.party, mailbox).run()
    assert twin.party.double.startswith("member of ")
    assert all(not player.party.double for player in players.values())


def test_what_another_command_of_the_data_directory_said_travels_too(tmp_path: Path) -> None:
    """A depositor asks for another deposit while its process goes on."""
    players, mailbox = cast(tmp_path), Memory(random.Random(4))
    ask(players)
    going_on = Courier(players["dora"].party, mailbox)
    going_on.run()
    again = request(receiver=b"\x02")
    command = Player.open("dora", players["dora"].home)
    command.ask(again)
    assert not any(one.session == again.id for one in mailbox.envelopes)
    going_on.run()
    assert any(one.session == again.id for one in mailbox.envelopes)
    assert players["dora"].party.double == ""
