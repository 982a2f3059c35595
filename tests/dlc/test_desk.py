"""A party at its desk, where a command line on regtest does not get: clocks of other networks, races, the store."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc.classic import book
from bitvm_bridge.dlc.classic.book import Held, Side
from bitvm_bridge.dlc.classic.checks import GENESIS
from bitvm_bridge.dlc.classic.contract import Reading
from bitvm_bridge.dlc.classic.desk import Desk, hashing_of
from bitvm_bridge.dlc.classic.messages import ContractEvent, Offer, SingleContract, SingleOracle
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.dlc.payouts import EnumeratedPayouts
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from tests.dlc import parties

HEIGHT = 1_000
DAY = 86_400


@dataclass(frozen=True)
class Bare:
    """A node of signet with a height, and no coins."""

    network: Network = Network.SIGNET

    def height(self) -> int:
        return HEIGHT

    def output(self, _: OutPoint) -> None:
        return None


@pytest.fixture
def store() -> Iterator[Store]:
    made = Store.in_memory(Network.SIGNET)
    yield made
    made.close()


def offer(maturity: int, refund: int, hashing: Hashing = Hashing.PLAIN) -> Offer:
    event = ContractEvent(EnumeratedPayouts(parties.PAYOUTS), SingleOracle(parties.announcement(hashing, maturity)))
    contract = SingleContract(2 * parties.COLLATERAL, event)
    return replace(parties.offer(locks=(HEIGHT, refund)), contract=contract, chain_hash=GENESIS[Network.SIGNET])


def desk(store: Store) -> Desk:
    return Desk(store, cast(Node, Bare()), "default", 100.0, workers=1)


def test_a_refund_by_height_comes_after_maturity_by_the_clock(store: Store) -> None:
    """Ten days are 1,440 blocks: until then the loser could take back what the oracle is about to take from it."""
    maturity = int(time.time()) + 10 * DAY
    for refund, says in (
        (HEIGHT + 1, "above block 1,001"),
        (HEIGHT + 100, "after the last event's maturity: block 2,44"),
        (HEIGHT + 1_430, "after the last event's maturity"),
    ):
        with pytest.raises(BadInput, match=f"refund lock time: .*{says}"):
            desk(store).accept(offer(maturity, refund))
    with pytest.raises(BridgeError, match="spent, or not in a block"):
        desk(store).accept(offer(maturity, HEIGHT + 1_450))


@pytest.mark.parametrize("hashing", Hashing)
def test_announcements_say_how_they_are_hashed(hashing: Hashing) -> None:
    assert hashing_of(offer(0, 2_000, hashing)) is hashing


def test_an_announcement_that_nobody_signed() -> None:
    made = offer(0, 2_000)
    false = replace(parties.announcement(), signature=bytes(64))
    event = ContractEvent(EnumeratedPayouts(parties.PAYOUTS), SingleOracle(false))
    with pytest.raises(VerificationFailed, match="does not have the oracle's signature"):
        hashing_of(replace(made, contract=SingleContract(2 * parties.COLLATERAL, event)))


@pytest.fixture
def said() -> Held:
    """The offerer's side of a contract that is signed."""
    done = parties.negotiate(parties.offer())
    return Held("alice", Side.OFFERER, bytes(32), Hashing.PLAIN, done.offer, done.accept, done.sign, Reading())


def test_what_is_kept_comes_back(store: Store, said: Held) -> None:
    stages = [replace(said, accept=None, sign=None, reading=None), said]
    for held in stages:
        book.save(store, held)
        assert book.known(store, held.temporary_id, "alice") == held
        assert book.find(store, held.temporary_id.hex()[:8], "alice") == held
    assert book.find(store, said.contract.id.hex()[:8], "alice") == said
    assert [entry.stage for entry in book.entries(store)] == ["signed"]
    assert set(store.reserved_coins()) == {coin.outpoint for coin in said.offer.party.inputs}
    assert book.known(store, said.temporary_id, "bob") is None
    with pytest.raises(BadInput, match="party 'bob'"):
        book.find(store, said.temporary_id.hex(), "bob")


@pytest.mark.parametrize(
    "change",
    [{"salt": bytes([1]) * 32}, {"side": Side.ACCEPTER}, {"accept": None}, {"sign": None}],
    ids=["salt", "side", "accept", "sign"],
)
def test_what_is_kept_does_not_change(store: Store, said: Held, change: dict[str, Any]) -> None:
    """Two processes that sign different answers: the second keeps nothing, and so says nothing."""
    book.save(store, said)
    before = store.items(book.KIND)
    with pytest.raises(BridgeError, match=f"known with another {next(iter(change))}"):
        book.save(store, replace(said, **change))
    assert store.items(book.KIND) == before
    assert book.known(store, said.temporary_id, "alice") == said


def test_a_coin_serves_one_contract(store: Store, said: Held) -> None:
    book.save(store, said)
    other = replace(said, offer=replace(said.offer, temporary_id=bytes([9]) * 32), accept=None, sign=None)
    with pytest.raises(BridgeError, match="already reserved"):
        book.save(store, other)
    assert len(book.entries(store)) == 1


def test_what_was_forgotten_is_gone_and_what_changed_is_not(store: Store, said: Held) -> None:
    offered = replace(said, accept=None, sign=None, reading=None)
    book.save(store, offered)
    book.save(store, said)
    with pytest.raises(BridgeError, match="changed meanwhile"):
        book.forget(store, offered)
    other = replace(said, name="bob", side=Side.ACCEPTER)
    book.save(store, other)
    book.forget(store, said)
    assert [entry.name for entry in book.entries(store)] == ["bob"]
    assert set(store.reserved_coins()) == {coin.outpoint for coin in other.own.inputs}
    book.forget(store, other)
    assert not store.reserved_coins()
    assert not store.items("classic offer")
