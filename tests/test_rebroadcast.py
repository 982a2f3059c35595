"""What we sent stays in the mempool until it is deep in the chain: evicted, cycled out or reorganised away or not."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import records
from bitvm_bridge.bump import move
from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.fees import FeePolicy, FixedRate
from bitvm_bridge.graph import ANCHOR
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Network
from bitvm_bridge.pending import Pending
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.rebroadcast import FINAL_DEPTH, Action, Done, Due, View, decide, due, resend
from bitvm_bridge.roles import challenger, presigned
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import SEQUENCE_RBF, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Wallet
from cli.stage import open_stage
from scripts_tapleaf.script import OP_RETURN, push
from tests.game import MAKERS, MAXIMUM, Game

GONE = View(waits=False, rate=2.0)


@pytest.mark.parametrize(
    ("view", "action", "reason"),
    [
        (View(), Action.WAIT, "waits in the mempool"),
        (View(rate=0.01, minimum=5.0), Action.WAIT, "waits in the mempool"),
        (View(rate=2.0, wanted=2.0), Action.WAIT, "waits in the mempool"),
        (View(rate=2.0, wanted=2.2), Action.WAIT, "waits in the mempool"),
        (View(rate=2.0, wanted=2.3), Action.BUMP, "waits in the mempool at 2 sat/vB, and should pay 2.3"),
        (View(rate=None, wanted=2.1), Action.WAIT, "waits in the mempool"),
        (GONE, Action.SEND, "is not in the mempool"),
        (replace(GONE, rate=None), Action.SEND, "is not in the mempool"),
        (replace(GONE, minimum=2.5), Action.BUMP, "is not in the mempool at 2 sat/vB, and should pay 2.5"),
        (replace(GONE, wanted=3.0), Action.BUMP, "is not in the mempool at 2 sat/vB, and should pay 3"),
        (replace(GONE, broke=True), Action.BUMP, "a coin of its child was spent elsewhere"),
        (replace(GONE, rival=2.0, serves=True), Action.WAIT, "does the same, at 2 sat/vB"),
        (replace(GONE, rival=1.9, serves=True), Action.BUMP, "in its place, at 1.9 sat/vB"),
        (replace(GONE, rival=2.9, serves=True, wanted=3.0), Action.BUMP, "in its place, at 2.9 sat/vB"),
        (replace(GONE, rival=90.0, serves=False), Action.BUMP, "in its place, at 90 sat/vB"),
        (replace(GONE, rival=2.0, serves=True, broke=True), Action.WAIT, "does the same"),
        (replace(GONE, sent=False), Action.WAIT, "made, and not to be sent"),
        (replace(GONE, heavy=True), Action.WAIT, "too heavy to be relayed"),
        (View(depth=1), Action.WAIT, f"confirmed, 1 of {FINAL_DEPTH} blocks deep"),
        (View(depth=FINAL_DEPTH - 1, lost=True), Action.WAIT, "another transaction took its place, 5 of 6"),
        (View(depth=1, moved=True), Action.MOVE, "an earlier version confirmed"),
        (View(depth=FINAL_DEPTH, moved=True), Action.MOVE, "an earlier version confirmed"),
        (View(depth=FINAL_DEPTH), Action.SETTLE, "confirmed for good"),
        (View(depth=FINAL_DEPTH + 9, lost=True, waits=False), Action.SETTLE, "another transaction took its place for"),
        (View(depth=FINAL_DEPTH, sent=False), Action.SETTLE, "confirmed for good"),
    ],
)
def test_decisions(view: View, action: Action, reason: str) -> None:
    decision = decide(view)
    assert decision.action is action
    assert reason in decision.reason


RATES = st.none() | st.floats(0.1, 1_000)


@given(
    depth=st.integers(0, 10),
    flags=st.lists(st.booleans(), min_size=7, max_size=7),
    rates=st.tuples(RATES, RATES, RATES),
    minimum=st.floats(0.1, 1_000),
)
def test_money_is_only_spent_on_what_is_open(
    depth: int, flags: list[bool], rates: tuple[float | None, float | None, float | None], minimum: float
) -> None:
    """Whatever a node shows: nothing is sent that was not to be or that a block decided, no coin let go too early."""
    lost, moved, waits, sent, heavy, broke, serves = flags
    rate, rival, wanted = rates
    view = View(depth, lost, moved, waits, sent, heavy, broke, rate, rival, serves, minimum, wanted)
    action = decide(view).action
    if action in (Action.SEND, Action.BUMP):
        assert depth == 0
        assert sent
        assert not heavy
    if action is Action.SETTLE:
        assert depth >= FINAL_DEPTH
    if action is Action.SEND:
        assert not waits
        assert rate is None or rate >= max(minimum, wanted or 0)
    if action is Action.BUMP and waits and not broke:
        assert rate is not None
        assert wanted is not None
        assert rate < wanted


@pytest.fixture(scope="module", params=["embedded", "bitcoind"])
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Wallet]]:
    folder = tmp_path_factory.mktemp("resend")
    if request.param == "bitcoind":
        # a chain of its own: subsidies halve every 150 blocks, and tests before these may have mined many
        with LaunchedBitcoind(request.getfixturevalue("bitcoind_path"), folder) as launched:
            yield launched.node, open_stage(launched.node)
        return
    embedded = EmbeddedNode(folder)
    yield embedded, open_stage(embedded)
    embedded.close()


OpenGame = Callable[[Node, Wallet], Game]


@pytest.fixture
def open_game(tmp_path: Path) -> Iterator[OpenGame]:
    store = Store.open(tmp_path / "store", Network.REGTEST, insecure_plain_keys=True)
    yield lambda node, miner: Game.open(node, miner, store)
    store.close()


@pytest.fixture
def game(chain: tuple[Node, Wallet], open_game: OpenGame) -> Iterator[Game]:
    yield open_game(*chain)
    chain[0].mine()


def policy(game: Game, rate: float = 1.0) -> FeePolicy:
    return FeePolicy(FixedRate(rate), MAXIMUM, floor=game.node.min_fee_rate())


def look(game: Game, rate: float = 1.0, left: int | None = None) -> list[Due]:
    """What is due; no deadline, unless there are `left` blocks."""
    return due(game.store, game.node, policy(game, rate), lambda item: left)


def act(game: Game, items: Sequence[Due], rate: float = 1.0, *, may_bump: bool = True) -> list[Done]:
    return resend(game.store, game.node, policy(game, rate), items, game.payer, may_bump=may_bump)


def actions(items: Sequence[Due]) -> list[tuple[str, Action]]:
    return [(entry.item.name, entry.decision.action) for entry in items]


def spend_anchor(wallet: Wallet, parent: Transaction, fee: int) -> Transaction:
    """A stranger's child of our parent."""
    coin = wallet.coins()[-1]
    anchor = TxIn(parent.outpoint(parent.outputs.index(ANCHOR)), SEQUENCE_RBF)
    txin = TxIn(coin.outpoint, SEQUENCE_RBF, witness=(bytes(64),))
    tx = Transaction(3, (anchor, txin), (TxOut(coin.output.amount - fee, wallet.script_pubkey),))
    return wallet.sign_coins(Funded(tx, (ANCHOR, coin.output)), 1).tx


def spend_coin(wallet: Wallet, child: Transaction, fee: int) -> Transaction:
    """The stranger's coin alone, away from the child."""
    (outpoint,) = [txin.outpoint for txin in child.inputs[1:]]
    (coin,) = [coin for coin in wallet.coins() if coin.outpoint == outpoint]
    txin = TxIn(outpoint, SEQUENCE_RBF, witness=(bytes(64),))
    tx = Transaction(2, (txin,), (TxOut(coin.output.amount - fee, wallet.script_pubkey),))
    return wallet.sign_coins(Funded(tx, (coin.output,)), 0).tx


def test_a_child_that_was_cycled_out_is_sent_again(game: Game) -> None:
    """The stranger replaces our child, then withdraws its own: our parent is left with nobody who pays for it."""
    item = game.waiting("KickOff")
    assert item.child is not None
    assert actions(look(game)) == [("KickOff", Action.WAIT)]
    theirs = spend_anchor(game.stage.miner, item.tx, 5_000)
    game.node.broadcast(theirs)
    assert actions(look(game)) == [("KickOff", Action.WAIT)], "a stranger pays more than we did"
    game.node.broadcast(spend_coin(game.stage.miner, theirs, 9_000))
    assert game.waits(item.child, theirs) == [False, False]
    (entry,) = look(game)
    assert entry.decision.action is Action.SEND
    assert act(game, [entry]) == [Done(entry)]
    assert game.waits(item.tx, item.child) == [True, True]
    assert actions(look(game)) == [("KickOff", Action.WAIT)]


def test_a_child_cycled_out_at_every_turn_is_back_at_every_turn(game: Game) -> None:
    item = game.waiting("KickOff")
    assert item.child is not None
    for turn in range(3):
        theirs = spend_anchor(game.stage.miner, item.tx, 5_000 + 2_000 * turn)
        game.node.broadcast(theirs)
        game.node.broadcast(spend_coin(game.stage.miner, theirs, 9_000 + 4_000 * turn))
        game.node.mine_transactions([spend_coin(game.stage.miner, theirs, 9_000 + 4_000 * turn)])
        act(game, look(game))
        assert game.waits(item.tx, item.child) == [True, True]
    game.node.mine()
    assert game.node.find(item.child.txid) is not None


def test_a_strangers_cheap_child_is_outbid_when_time_is_short(game: Game) -> None:
    item = game.waiting("KickOff")
    theirs = spend_anchor(game.stage.miner, item.tx, 2_000)
    game.node.broadcast(theirs)
    assert actions(look(game, 20.0, left=1_000)) == [("KickOff", Action.BUMP)]
    (done,) = act(game, look(game, 20.0, left=1_000), 20.0)
    assert done.prepared is not None
    assert done.problem == ""
    assert game.waits(theirs, *done.prepared.transactions) == [False, True, True]
    assert actions(look(game, 20.0, left=1_000)) == [("KickOff", Action.WAIT)]


def test_the_same_move_by_a_stranger_serves(game: Game) -> None:
    """Another challenger's Challenge: it makes the operator answer just as well."""
    item = game.waiting("Challenge")
    rival = challenger.challenge(game.payer(item, 9.0), game.bundle)
    rival.send(game.node)
    assert actions(look(game)) == [("Challenge", Action.WAIT)]
    assert "does the same" in look(game)[0].decision.reason


def test_another_move_in_its_place_is_outbid(game: Game) -> None:
    """The operator's take wants what our Challenge spends."""
    height = game.kicked_off()
    game.stage.mine_to(height + 5)
    item = game.send(game.bundle.setup.id, challenger.challenge(game.wallet(Role.CHALLENGER), game.bundle))
    take = presigned.take(game.wallet(Role.OPERATOR, rate=9.0), game.bundle, "HappyTake")
    take.send(game.node)
    assert game.waits(item.tx, take.tx) == [False, True]
    (done,) = act(game, look(game))
    assert done.prepared is not None, done
    assert game.waits(done.prepared.tx, take.tx) == [True, False]


def test_a_deadline_raises_the_rate_step_by_step(game: Game) -> None:
    """Far away nothing happens; then each step of the table replaces what pays less, until the maximum."""
    game.waiting("Assert")
    paid = []
    for left in (1_000, 140, 50, 30, 10, 5, 2, 1, 0):
        (done,) = act(game, look(game, 10.0, left), 10.0)
        assert done.problem == ""
        if done.prepared is not None:
            paid.append(done.prepared.fee / done.prepared.tx.vsize)
    assert paid == pytest.approx([10, 12.5, 15, 20, 30, 50], rel=0.01)
    assert actions(look(game, 10.0, 0)) == [("Assert", Action.WAIT)]
    (done,) = act(game, look(game, 90.0, 0), 90.0)
    assert done.prepared is not None
    assert done.prepared.fee / done.prepared.tx.vsize == pytest.approx(MAXIMUM, rel=0.01)
    assert actions(look(game, 200.0, 0)) == [("Assert", Action.WAIT)]


def test_deadlines_come_from_the_graph(game: Game) -> None:
    """HappyTake must confirm before AssertTimeout becomes valid: six blocks later on regtest."""
    game.waiting("HappyTake")
    (entry,) = due(game.store, game.node, policy(game))
    assert entry.blocks_left == 6
    assert entry.view.wanted == 3.0
    assert entry.decision.action is Action.BUMP


def test_nothing_is_replaced_without_leave(game: Game) -> None:
    item = game.waiting("Assert")
    (done,) = act(game, look(game, 10.0, 5), may_bump=False)
    assert done.problem == "a replacement costs more, and was not allowed"
    assert game.waits(item.tx) == [True]
    assert game.again(item).versions == (item.tx,)


def test_what_was_only_written_down_is_not_sent(game: Game) -> None:
    owner, prepared = MAKERS["KickOff"](game)
    records.keep(game.store, owner, prepared, sent=False)
    assert actions(look(game)) == [("KickOff", Action.WAIT)]
    act(game, look(game))
    assert game.waits(prepared.tx) == [False]


def test_a_refusal_is_reported_and_the_next_one_is_sent(game: Game) -> None:
    """A transaction that is not valid yet does not stop the others."""
    game.kicked_off()
    owner, wallet = game.bundle.setup.id, game.wallet(Role.OPERATOR)
    take = presigned.take(wallet, game.bundle, "HappyTake")
    records.keep(game.store, owner, take, sent=True)
    paid = MAKERS["PegOut"](game)[1]
    records.keep(game.store, owner, paid, sent=True)
    items = look(game)
    assert actions(items) == [("HappyTake", Action.SEND), ("PegOut", Action.SEND)]
    first, second = act(game, items)
    assert "non-BIP68-final" in first.problem
    assert second.problem == ""
    assert game.waits(take.tx, paid.tx) == [False, True]


def test_confirmed_for_good_lets_the_coins_go(game: Game) -> None:
    item = game.waiting("PegOut")
    taken = set(game.store.reserved_coins()) - {game.bundle.setup.claim}
    assert taken
    for depth in range(1, FINAL_DEPTH):
        game.node.mine()
        (entry,) = look(game)
        assert entry.view.depth == depth
        assert entry.decision.action is Action.WAIT
        act(game, [entry])
        assert taken <= set(game.store.reserved_coins())
    game.node.mine()
    assert actions(look(game)) == [("PegOut", Action.SETTLE)]
    act(game, look(game))
    assert look(game) == []
    assert set(game.store.reserved_coins()) == {game.bundle.setup.claim}
    assert [name for name, _ in game.store.transactions(item.owner)] == ["PegOut"]


def test_lost_for_good_lets_the_coins_go(game: Game) -> None:
    item = game.waiting("Challenge")
    own = {txin.outpoint for txin in item.tx.inputs[1:]}
    rival = challenger.challenge(game.payer(item, 9.0), game.bundle)
    rival.send(game.node)
    game.stage.mine(FINAL_DEPTH - 1)
    assert actions(look(game)) == [("Challenge", Action.WAIT)]
    assert own <= set(game.store.reserved_coins())
    game.stage.mine(1)
    (entry,) = look(game)
    assert entry.decision.reason == "another transaction took its place for good"
    act(game, [entry])
    assert not own & set(game.store.reserved_coins())


def test_an_earlier_version_may_confirm_too(game: Game) -> None:
    """A miner had the first; what we replaced it by is settled with it."""
    item = game.waiting("PegOut")
    prepared = game.bump(item)
    records.keep(game.store, item.owner, prepared, sent=True)
    prepared.send(game.node)
    game.node.mine_transactions([item.tx])
    game.stage.mine(FINAL_DEPTH - 1)
    (entry,) = look(game)
    assert (entry.view.lost, entry.decision.action) == (False, Action.SETTLE)


@pytest.mark.parametrize("name", ["PegInDeposit", "ClaimFunding"])
def test_what_was_built_on_moves_to_the_version_that_confirmed(game: Game, name: str) -> None:
    """The first version was mined after all; the deposit or instance follows it, once."""
    item = game.waiting(name)
    prepared = game.bump(item)
    move(game.store, prepared.tx, item, game.payer(item).key)
    records.keep(game.store, item.owner, prepared, sent=True)
    game.node.mine_transactions([item.tx])
    (entry,) = look(game)
    assert entry.decision.action is Action.MOVE
    assert act(game, [entry]) == [Done(entry)]
    deposit = name == "PegInDeposit"
    kept = records.load_deposit(game.store, item.owner.hex()).outpoint if deposit else None
    claim = None if deposit else records.load_instance(game.store, item.owner.hex()).claim
    assert (kept or claim) == item.tx.outpoint(0)
    assert actions(look(game)) == [(name, Action.WAIT)]


def test_what_was_signed_on_a_version_that_lost_is_reported(game: Game) -> None:
    item = game.waiting("ClaimFunding")
    prepared = game.bump(item)
    move(game.store, prepared.tx, item, game.payer(item).key)
    records.keep(game.store, item.owner, prepared, sent=True)
    game.store.put(records.BUNDLE, item.owner, b"a bundle")
    game.node.mine_transactions([item.tx])
    (done,) = act(game, look(game))
    assert "the committee has signed the instance on its txid" in done.problem
    assert records.load_instance(game.store, item.owner.hex()).claim == prepared.tx.outpoint(0)


def test_a_child_whose_coin_was_spent_gets_another(game: Game) -> None:
    """Our key's coin was spent by hand; the parent needs a new child."""
    item = game.waiting("KickOff")
    assert item.child is not None
    (coin,) = [txin.outpoint for txin in item.child.inputs[1:]]
    wallet = game.payer(item)
    (utxo,) = [found for found in wallet.coins() if found.outpoint == coin]
    away = Transaction(2, (TxIn(coin, SEQUENCE_RBF),), (TxOut(utxo.output.amount - 50_000, wallet.script_pubkey),))
    game.node.mine_transactions([wallet.sign_coins(Funded(away, (utxo.output,)), 0).tx])
    (entry,) = look(game)
    assert entry.decision.reason == "a coin of its child was spent elsewhere"
    (done,) = act(game, [entry])
    assert done.prepared is not None, done
    assert coin not in done.prepared.coins
    assert game.waits(*done.prepared.transactions) == [True, True]


# Bitcoin Core alone: a full mempool, a floor, a reorganisation.


def padded(wallet: Wallet, coin_index: int, rate: float) -> Transaction:
    """98,000 vB of data at a fee rate."""
    coin = wallet.coins()[coin_index]
    data = TxOut(0, OP_RETURN + push(bytes(500)) * 192)
    txin = TxIn(coin.outpoint, SEQUENCE_RBF, witness=(bytes(64),))
    tx = Transaction(2, (txin,), (TxOut(0, wallet.script_pubkey), data))
    change = coin.output.amount - int(tx.vsize * rate)
    tx = replace(tx, outputs=(TxOut(change, wallet.script_pubkey), data))
    return wallet.sign_coins(Funded(tx, (coin.output,)), 0).tx


def fill(node: Node, wallet: Wallet, start: float) -> None:
    """Ever dearer transactions until the mempool throws out the cheapest."""
    floor, index, rate = node.min_fee_rate(), 0, start
    while node.min_fee_rate() <= max(floor, start):
        node.broadcast(padded(wallet, index, rate))
        index, rate = index + 1, rate * 1.05


def test_a_full_mempool_evicts_and_a_bump_brings_back(bitcoind_path: Path, tmp_path: Path, open_game: OpenGame) -> None:
    """A fee spike: what paid too little vanishes, sending it again is refused, and a replacement is taken."""
    with LaunchedBitcoind(bitcoind_path, tmp_path / "node", "-maxmempool=5") as launched:
        node = launched.node
        miner = open_stage(node)
        node.mine(60, wallet_script(miner.key.xonly))
        node.mine(100)
        game = open_game(node, miner)
        item = game.waiting("KickOff")
        assert item.child is not None
        game.waiting("PegOut")
        fill(node, miner, 3.0)
        assert game.waits(item.tx, item.child) == [False, False]
        assert node.min_fee_rate() > 3
        with pytest.raises(NodeRejected, match="mempool min fee not met"):
            node.submit_package(item.tx, item.child)
        items = look(game)
        assert actions(items) == [("KickOff", Action.BUMP), ("PegOut", Action.BUMP)]
        for done in act(game, items):
            assert done.problem == ""
            assert done.prepared is not None
            assert game.waits(*done.prepared.transactions) == [True] * len(done.prepared.transactions)
            vsize = sum(tx.vsize for tx in done.prepared.transactions)
            assert done.prepared.fee / vsize >= node.min_fee_rate()
        assert actions(look(game)) == [("KickOff", Action.WAIT), ("PegOut", Action.WAIT)]
        node.mine()
        assert node.find(game.again(item).tx.txid) is not None


def test_a_maximum_below_the_floor_is_reported(bitcoind_path: Path, tmp_path: Path, open_game: OpenGame) -> None:
    """A node that relays nothing below 3 sat/vB, and a purse that pays 2."""
    with LaunchedBitcoind(bitcoind_path, tmp_path / "node", "-minrelaytxfee=0.00003") as launched:
        game = open_game(launched.node, open_stage(launched.node, 5.0))
        game.stage.wallets |= {role: wallet.at(4.0) for role, wallet in game.stage.wallets.items()}
        owner, prepared = MAKERS["PegInDeposit"](game)
        records.keep(game.store, owner, prepared, sent=True)
        with pytest.raises(NodeRejected, match="min"):
            prepared.send(game.node)
        assert game.node.min_fee_rate() == 3.0
        mean = FeePolicy(FixedRate(1.0), 2.0, floor=game.node.min_fee_rate())
        items = due(game.store, game.node, mean, lambda item: None)
        assert actions(items) == [("PegInDeposit", Action.BUMP)]
        (done,) = resend(game.store, game.node, mean, items, game.payer, may_bump=True)
        assert done.problem.startswith("fee rate: 3 sat/vB is wanted and 2 is the maximum")
        (done,) = act(game, look(game))
        assert done.problem == ""
        assert done.prepared is not None
        assert game.waits(done.prepared.tx) == [True]


def test_a_reorganisation_opens_the_question_again(fresh_bitcoind: LaunchedBitcoind, open_game: OpenGame) -> None:
    """Five blocks are not enough to let the coins go: all five can leave the best chain."""
    node = fresh_bitcoind.node
    admin = rpc.from_options(Network.REGTEST, rpcport=fresh_bitcoind.port, datadir=fresh_bitcoind.datadir)
    game = open_game(node, open_stage(node))
    item = game.waiting("KickOff")
    assert item.child is not None
    node.mine(FINAL_DEPTH - 1)
    act(game, look(game))
    taken = game.store.reserved_coins()
    admin.call("invalidateblock", node.block(node.height() - FINAL_DEPTH + 2).hash[::-1].hex())
    (entry,) = look(game)
    assert entry.view.depth == 0
    act(game, [entry])
    assert game.waits(item.tx, item.child) == [True, True]
    assert game.store.reserved_coins() == taken
    game.stage.mine(FINAL_DEPTH)
    act(game, look(game))
    assert look(game) == []
    admin.close()


def test_a_node_that_restarts_with_an_empty_mempool(bitcoind_path: Path, tmp_path: Path, open_game: OpenGame) -> None:
    options = (bitcoind_path, tmp_path / "node", "-persistmempool=0")
    with LaunchedBitcoind(*options) as launched:
        game = open_game(launched.node, open_stage(launched.node))
        item = game.waiting("KickOff")
    with LaunchedBitcoind(*options) as launched:
        game.stage.node = launched.node
        assert item.child is not None
        assert game.waits(item.tx, item.child) == [False, False]
        assert actions(look(game)) == [("KickOff", Action.SEND)]
        act(game, look(game))
        assert game.waits(item.tx, item.child) == [True, True]


def test_pending_names(game: Game) -> None:
    assert str(Pending(b"\x01" * 32, "KickOff", (), (), sent=True)) == "KickOff of 010101010101"
