"""Following a chain: forks, restarts, gaps, new instances, and nodes that are behind."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BridgeError, NodeUnreachable
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
from bitvm_bridge.watch import history
from bitvm_bridge.watch.follower import MAX_REORG, Chain, Follower
from bitvm_bridge.watch.history import Confirmed, History, Place, is_peg_out
from bitvm_bridge.watch.journal import Journal
from bitvm_bridge.watch.machine import Event
from tests.watch.chains import ScriptedChain
from tests.watch.conftest import ENDS, TALES, Told


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = Store.open(tmp_path, Network.REGTEST)
    yield store
    store.close()


def follower(store: Store, chain: Chain, *tales: Told) -> Follower:
    return Follower(chain, Journal(store), {tale.setup.id: tale.setup.graph for tale in tales})


def read(store: Store, tale: Told) -> History:
    return history.read(tale.setup.graph, Journal(store).seen(tale.setup.id))


def truth(chain: ScriptedChain, tale: Told, tmp_path: Path) -> History:
    """What somebody reads who sees this chain for the first time."""
    fresh = Store.open(tmp_path / f"fresh-{chain.branch}-{chain.height()}", Network.REGTEST)
    try:
        follower(fresh, chain, tale).catch_up()
        return read(fresh, tale)
    finally:
        fresh.close()


def truth_of(tale: Told) -> list[Confirmed]:
    """What a story's own instance is made of, found without a follower."""
    known = {source.outpoint for source in tale.setup.graph.sources.values()}
    txids = {outpoint.txid for outpoint in known}
    return [
        Confirmed(Place(block.height, position), tx)
        for block in tale.blocks[tale.start :]
        for position, tx in enumerate(block.transactions)
        if tx.txid in txids or known & {txin.outpoint for txin in tx.inputs} or is_peg_out(tale.setup.graph, tx)
    ]


def same(one: History, other: History) -> bool:
    return (one.state, one.events, one.unspent, one.timed) == (other.state, other.events, other.unspent, other.timed)


@pytest.mark.parametrize("name", TALES)
def test_every_story_is_read_to_its_end(name: str, told: dict[str, Told], store: Store) -> None:
    tale = told[name]
    progress = follower(store, ScriptedChain(tale.blocks), tale).catch_up()
    assert Journal(store).seen(tale.setup.id) == truth_of(tale)
    assert (progress.height, progress.lag, progress.rewound) == (len(tale.blocks) - 1, 0, 0)
    assert read(store, tale).state.name == ENDS[name]
    assert not read(store, tale).state.is_live
    assert read(store, tale).at_risk == 0


@pytest.mark.parametrize("name", TALES)
def test_one_block_at_a_time_by_a_new_process_each_time(name: str, told: dict[str, Told], tmp_path: Path) -> None:
    tale = told[name]
    chain = ScriptedChain(tale.blocks[: tale.start])
    states = []
    for block in tale.blocks[tale.start :]:
        chain.blocks.append(block)
        store = Store.open(tmp_path / "store", Network.REGTEST)
        follower(store, chain, tale).catch_up()
        states.append(read(store, tale).state.name)
        store.close()
    assert states[-1] == ENDS[name]
    assert same(truth(chain, tale, tmp_path), truth(ScriptedChain(tale.blocks), tale, tmp_path))


@pytest.mark.parametrize("name", TALES)
def test_each_transaction_out_and_in_again(name: str, told: dict[str, Told], store: Store, tmp_path: Path) -> None:
    tale = told[name]
    for height in {confirmed.place.height for confirmed in truth_of(tale)}:
        chain = ScriptedChain(tale.blocks[: height + 1])
        watching = follower(store, chain, tale)
        watching.catch_up()
        dropped = chain.drop(1)
        chain.mine_empty(2)
        assert watching.catch_up().rewound >= 1
        assert same(read(store, tale), truth(chain, tale, tmp_path))
        chain.drop(1)
        chain.replay(dropped)
        watching.catch_up()
        assert same(read(store, tale), truth(chain, tale, tmp_path))


def test_a_challenge_that_only_the_new_branch_has(told: dict[str, Told], store: Store) -> None:
    tale = told["challenged"]
    (challenge,) = history.read(tale.setup.graph, truth_of(tale)).happened(Event.CHALLENGE)
    chain = ScriptedChain(tale.blocks[: challenge.confirmed.place.height])
    watching = follower(store, chain, tale)
    chain.mine_empty(1)
    watching.catch_up()
    assert [timed.owed.event for timed in read(store, tale).timed][:2] == [Event.HAPPY_TAKE, Event.CHALLENGE]
    chain.drop(1)
    chain.mine(challenge.confirmed.tx)
    watching.catch_up()
    assert read(store, tale).state.name == "challenged"
    assert read(store, tale).timed[0].owed.event is Event.ASSERT


def test_random_forks_end_where_the_best_chain_does(told: dict[str, Told], store: Store, tmp_path: Path) -> None:
    tale = told["fraud"]
    chance = random.Random(7)
    chain = ScriptedChain(tale.blocks[: tale.start])
    watching = follower(store, chain, tale)
    upcoming = list(tale.blocks[tale.start :])
    while upcoming:
        chain.mine(*upcoming.pop(0).transactions)
        if chance.random() < 0.4:
            watching.catch_up()
        depth = chance.randrange(4)
        if chance.random() < 0.4 and chain.height() - depth >= tale.start:
            dropped = chain.drop(depth)
            chain.mine_empty(chance.randrange(3))
            upcoming[:0] = dropped
            if chance.random() < 0.5:
                watching.catch_up()
    watching.catch_up()
    assert same(read(store, tale), truth(chain, tale, tmp_path))
    assert read(store, tale).state.name == "disproved"


def test_days_are_caught_up_with(told: dict[str, Told], store: Store) -> None:
    tale = told["happy"]
    chain = ScriptedChain(tale.blocks[: tale.start])
    watching = follower(store, chain, tale)
    watching.catch_up()
    chain.blocks += tale.blocks[tale.start :]
    chain.mine_empty(400)
    assert watching.catch_up().height == chain.height()
    assert read(store, tale).state.name == "taken"
    chain.read.clear()
    watching.catch_up()
    assert chain.read == [chain.height()], "a block that was read is not read again"


def test_hashes_are_kept_for_as_long_as_a_fork_may_be(told: dict[str, Told], store: Store) -> None:
    tale = told["happy"]
    chain = ScriptedChain(tale.blocks)
    chain.mine_empty(3 * MAX_REORG)
    follower(store, chain, tale).catch_up()
    journal = Journal(store)
    assert journal.lowest() == chain.height() - MAX_REORG
    chain.mine_empty(5)
    follower(store, chain, tale).catch_up()
    assert journal.lowest() == chain.height() - MAX_REORG


@pytest.mark.parametrize("fresh", [True, False])
def test_the_deepest_fork_that_is_followed(told: dict[str, Told], store: Store, fresh: bool) -> None:
    tale = told["silent"]
    chain = ScriptedChain(tale.blocks)
    if not fresh:
        follower(store, chain, tale).catch_up()
    chain.mine_empty(MAX_REORG)
    follower(store, chain, tale).catch_up()
    chain.drop(MAX_REORG)
    chain.mine_empty(MAX_REORG + 1)
    assert follower(store, chain, tale).catch_up().rewound == MAX_REORG
    assert read(store, tale).state.name == "timed-out"


def test_a_deeper_one_stops_and_changes_nothing(told: dict[str, Told], store: Store) -> None:
    tale = told["silent"]
    chain = ScriptedChain(tale.blocks)
    chain.mine_empty(MAX_REORG)
    follower(store, chain, tale).catch_up()
    height = chain.height()
    chain.drop(MAX_REORG + 1)
    chain.mine_empty(MAX_REORG + 3)
    for _ in range(2):
        with pytest.raises(BridgeError, match=f"more than {MAX_REORG} blocks ago; .*--rescan"):
            follower(store, chain, tale).catch_up()
        assert Journal(store).position() == height
        assert read(store, tale).state.name == "timed-out"
    with store.transaction():
        Journal(store).forget()
    follower(store, chain, tale).catch_up()
    assert read(store, tale).state.name == "challenged", "the last transaction is not in this chain"


def test_a_node_that_is_behind_is_waited_for(told: dict[str, Told], store: Store) -> None:
    tale = told["happy"]
    chain = ScriptedChain(tale.blocks)
    follower(store, chain, tale).catch_up()
    behind = ScriptedChain(tale.blocks[:-5])
    progress = follower(store, behind, tale).catch_up()
    assert (progress.lag, progress.rewound) == (-5, 0)
    assert read(store, tale).state.name == "taken"
    behind.blocks += tale.blocks[-5:]
    assert follower(store, behind, tale).catch_up().lag == 0


def test_a_shorter_fork_is_followed(told: dict[str, Told], store: Store) -> None:
    tale = told["happy"]
    chain = ScriptedChain(tale.blocks)
    follower(store, chain, tale).catch_up()
    chain.drop(3)
    chain.mine_empty(1)
    progress = follower(store, chain, tale).catch_up()
    assert (progress.lag, progress.rewound) == (0, 3)
    assert read(store, tale).state.name == "kicked-off"


class Failing(ScriptedChain):
    """A node that goes away after some answers."""

    patience = 0

    def block(self, height: int):  # type: ignore[no-untyped-def]
        if self.patience == 0:
            raise NodeUnreachable("gone")
        self.patience -= 1
        return super().block(height)


def test_a_node_that_goes_away_at_any_block(told: dict[str, Told], tmp_path: Path) -> None:
    tale = told["happy"]
    chain = Failing(tale.blocks)
    failures = 0
    for patience in range(1, 200):
        store = Store.open(tmp_path / "store", Network.REGTEST)
        chain.patience = patience
        try:
            follower(store, chain, tale).catch_up()
        except NodeUnreachable:
            failures += 1
        else:
            assert read(store, tale).state.name == "taken"
            break
        finally:
            store.close()
    assert failures > 3


def test_an_instance_that_comes_later_is_read_from_its_beginning(told: dict[str, Told], store: Store) -> None:
    tales = list(told.values())
    chain = ScriptedChain(tales[-1].blocks)
    chain.mine_empty(2 * MAX_REORG)
    follower(store, chain, tales[0]).catch_up()
    follower(store, chain, *tales).catch_up()
    assert {tale.name: read(store, tale).state.name for tale in tales} == ENDS


def test_an_instance_that_is_not_on_the_chain_yet(told: dict[str, Told], store: Store) -> None:
    tale = told["happy"]
    chain = ScriptedChain(tale.blocks[: tale.start])
    follower(store, chain, tale).catch_up()
    assert read(store, tale).state.name == "unfunded"
    chain.blocks += tale.blocks[tale.start :]
    follower(store, chain, tale).catch_up()
    assert read(store, tale).state.name == "taken"


def test_two_followers_of_one_store(told: dict[str, Told], store: Store) -> None:
    tale = told["challenged"]
    chain = ScriptedChain(tale.blocks[: tale.start])
    one, other = follower(store, chain, tale), follower(store, chain, tale)
    for block in tale.blocks[tale.start :]:
        chain.blocks.append(block)
        one.catch_up()
        other.catch_up()
    assert read(store, tale).state.name == "taken"


def test_the_embedded_node(told: dict[str, Told], store: Store, embedded: EmbeddedNode) -> None:
    embedded.mine(3)
    assert follower(store, embedded, told["happy"]).catch_up().height == 3
    embedded.mine(2)
    assert follower(store, embedded, told["happy"]).catch_up().height == 5


def test_bitcoin_core_reorganises(told: dict[str, Told], store: Store, fresh_bitcoind: LaunchedBitcoind) -> None:
    node: Node = fresh_bitcoind.node
    rpc = fresh_bitcoind.node._rpc
    node.mine(8)
    watching = follower(store, node, told["happy"])
    assert watching.catch_up().height == 8
    stale = rpc.call("getblockhash", 6)
    rpc.call("invalidateblock", stale)
    assert watching.catch_up().lag == -3, "a node on the same chain is waited for"
    node.mine(1, b"\x52")
    progress = watching.catch_up()
    assert (progress.height, progress.rewound) == (6, 3)
    rpc.call("reconsiderblock", stale)
    progress = watching.catch_up()
    assert (progress.height, progress.rewound) == (8, 1)
