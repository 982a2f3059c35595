"""`withdrawer request`: every open request has a coin of its own."""

from pathlib import Path

import pytest

from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.transaction import OutPoint
from tests.cli.bridge import AMOUNT, PLAIN, Bridge

COINS = 3


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    bridge = Bridge(tmp_path_factory.mktemp("requests") / "data", *PLAIN)
    bridge.run("withdrawer", "keygen")
    bridge.run("node", "mine", str(COINS), "--to", "withdrawer")
    bridge.mine(100)
    return bridge


@pytest.fixture
def bridge(start: Bridge, tmp_path: Path) -> Bridge:
    return start.copy(tmp_path / "data")


def ask(bridge: Bridge, *options: str, amount: int = AMOUNT) -> OutPoint:
    """The coin of a new request."""
    made = bridge.data("withdrawer", "request", "--amount", str(amount), *options)
    return Withdrawal.from_psbt(made["psbt"]).coin


def test_no_two_open_requests_have_one_coin(bridge: Bridge) -> None:
    found = [ask(bridge) for _ in range(COINS)]
    assert len(set(found)) == COINS
    listed = bridge.data("coins")["coins"]
    assert {(row["coin"], row["for"]) for row in listed} == {
        (str(coin), "a withdrawal of 99,000,000 sat") for coin in found
    }
    refused = bridge.refused("withdrawer", "request", "--amount", "1000", code=1)
    assert refused == (
        f"withdrawer 'default': no coin to sign with; each of {COINS} serves another request or transaction, "
        "its value comes back"
    )


def test_a_coin_that_is_asked_for(bridge: Bridge) -> None:
    first = ask(bridge)
    assert ask(bridge, "--coin", str(first), amount=5_000) == first
    second = ask(bridge)
    assert ask(bridge, "--coin", str(second)) == second
    with bridge.store() as store:
        assert set(store.reserved_coins()) == {first, second}


def test_coins_that_cannot_be_asked_for(bridge: Bridge) -> None:
    coin = ask(bridge)
    with bridge.store() as store:
        store.release_coins("a withdrawal of 99,000,000 sat")
        store.reserve_coin(coin, "KickOff of ab")
    for text in (str(coin), f"{'00' * 32}:0"):
        expected = f"--coin: '{text}' is not a spendable coin of this name that serves no transaction"
        assert bridge.refused("withdrawer", "request", "--amount", "1000", "--coin", text, code=2) == expected
    assert "--coin: 'x'" in bridge.refused("withdrawer", "request", "--amount", "1000", "--coin", "x", code=2)
    assert ask(bridge) != coin


def test_what_was_not_written_sets_nothing_aside(bridge: Bridge, tmp_path: Path) -> None:
    gone = str(tmp_path / "gone" / "file.psbt")
    bridge.refused("withdrawer", "request", "--amount", "1000", "--out", gone, code=2)
    bridge.refused("withdrawer", "request", "--amount", "1", code=2)
    assert bridge.data("coins")["coins"] == []
