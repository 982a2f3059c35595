"""Coins are set aside for the transaction that spends them, and serve no other, whoever asks and when."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge import records
from bitvm_bridge.errors import CoinTaken
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared
from tests.vectors import ROOT

ONE, TWO = b"\x01" * 32, b"\x02" * 32


def coin(number: int) -> OutPoint:
    return OutPoint(number.to_bytes(32, "big"), 0)


def prepared(name: str, *coins: OutPoint, child: Funded | None = None) -> Prepared:
    """A transaction that a wallet made from these coins."""
    tx = Transaction(2, tuple(TxIn(outpoint) for outpoint in coins) or (TxIn(coin(99)),), (TxOut(1, b"\x51"),))
    return Prepared(name, Funded(tx, tuple(TxOut(2, b"\x51") for _ in tx.inputs), frozenset(coins)), child)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    yield opened
    opened.close()


def test_a_kept_transaction_has_its_coins(store: Store) -> None:
    records.keep(store, ONE, prepared("Assert", coin(1), coin(2)), sent=False)
    assert records.reserved_for_others(store, ONE, "Assert") == frozenset()
    for owner, name in ((ONE, "PegOut"), (TWO, "Assert")):
        assert records.reserved_for_others(store, owner, name) == {coin(1), coin(2)}


def test_a_package_has_the_coins_of_its_child(store: Store) -> None:
    child = prepared("", coin(1)).parent
    package = prepared("KickOff", child=child)
    records.keep(store, ONE, package, sent=True)
    assert records.reserved_for_others(store, TWO, "KickOff") == {coin(1)}
    parent, paying = store.unsettled()
    assert (parent.tx, parent.parent, parent.sent) == (package.tx, None, True)
    assert (paying.tx, paying.parent, paying.sent) == (child.tx, package.tx.txid, True)
    assert store.transactions(ONE) == [("KickOff", package.tx)]


def test_a_coin_that_was_taken_meanwhile_stops_everything(store: Store) -> None:
    records.keep(store, ONE, prepared("Assert", coin(2)), sent=True)
    with pytest.raises(CoinTaken, match=rf"already reserved for Assert of {ONE.hex()}, wanted for PegOut"):
        records.keep(store, TWO, prepared("PegOut", coin(1), coin(2)), sent=True)
    assert list(store.reserved_coins()) == [coin(2)]
    assert store.transactions(TWO) == []


def test_a_replacement_adds_coins_to_those_of_the_first(store: Store) -> None:
    """Either of them may confirm, so neither coin is free."""
    records.keep(store, ONE, prepared("Assert", coin(1)), sent=True)
    records.keep(store, ONE, prepared("Assert", coin(1), coin(2)), sent=True)
    assert records.reserved_for_others(store, TWO, "") == {coin(1), coin(2)}


RACE = """
import sys
from pathlib import Path
from bitvm_bridge import records
from bitvm_bridge.errors import CoinTaken
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
from tests.test_reservation import coin, prepared
store = Store.open(Path(sys.argv[1]), Network.REGTEST, insecure_plain_keys=True)
owner, refused = sys.argv[2].encode() * 32, 0
for number in range(12):
    while True:
        taken = records.reserved_for_others(store, owner, f"Tx{number}")
        chosen = next(coin(index) for index in range(100) if coin(index) not in taken)
        try:
            records.keep(store, owner, prepared(f"Tx{number}", chosen), sent=True)
            break
        except CoinTaken as error:
            assert "already reserved" in str(error), error
            refused += 1
print(refused)
store.close()
"""


def test_processes_that_ask_at_once_get_different_coins(tmp_path: Path) -> None:
    """Three processes, twelve transactions each, from one pile of coins: every coin is spent once."""
    Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True).close()
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(tmp_path), name], env=environment, stdout=subprocess.PIPE, text=True
        )
        for name in "abc"
    ]
    for process in running:
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0
        assert output.strip().isdigit()
    store = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    spent = [txin.outpoint for kept in store.unsettled() for txin in kept.tx.inputs]
    assert sorted(spent) == [coin(index) for index in range(36)]
    assert len(store.reserved_coins()) == 36
    store.close()
