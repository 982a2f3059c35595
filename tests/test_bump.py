"""Replacements: of every transaction of the protocol, on the embedded node and on Bitcoin Core."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from bitvm_bridge import bump as bumping
from bitvm_bridge import records, secp
from bitvm_bridge.bump import bump, move, refuse_fixed
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected
from bitvm_bridge.exchange import messages
from bitvm_bridge.exchange.board import RECORD
from bitvm_bridge.exchange.envelope import seal
from bitvm_bridge.graph import ANCHOR
from bitvm_bridge.keys import Role
from bitvm_bridge.params import DUST, Network
from bitvm_bridge.pending import Pending, find
from bitvm_bridge.policy import INCREMENTAL_FEE_RATE, min_fee
from bitvm_bridge.roles import challenger, operator, presigned
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import SEQUENCE_RBF, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet
from cli.stage import open_stage
from tests.game import MAKERS, PARENTS, REWARDED, SIGNED_LIVE, Game


@pytest.fixture(scope="module", params=["embedded", "bitcoind"])
def chain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Wallet]]:
    if request.param == "bitcoind":
        # a chain of its own: subsidies halve every 150 blocks, and tests before these may have mined many
        path = request.getfixturevalue("bitcoind_path")
        with LaunchedBitcoind(path, tmp_path_factory.mktemp("bitcoind")) as launched:
            yield launched.node, open_stage(launched.node)
        return
    embedded = EmbeddedNode(tmp_path_factory.mktemp("bump"))
    yield embedded, open_stage(embedded)
    embedded.close()


@pytest.fixture
def game(chain: tuple[Node, Wallet], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Game]:
    store = Store.open(tmp_path_factory.mktemp("store"), Network.REGTEST, insecure_plain_keys=True)
    yield Game.open(*chain, store)
    chain[0].mine()
    store.close()


def rate(prepared: Prepared) -> float:
    return prepared.fee / sum(tx.vsize for tx in prepared.transactions)


def check_and_send(game: Game, item: Pending, prepared: Prepared) -> None:
    """The node takes it, it pushes the old one out, and it confirms."""
    assert prepared.test(game.node).reason == ""
    records.keep(game.store, item.owner, prepared, sent=True)
    prepared.send(game.node)
    assert game.waits(*prepared.transactions) == [True] * len(prepared.transactions)
    gone = [item.child] if item.child is not None else [item.tx]
    assert game.waits(*gone) == [False]
    game.node.mine()
    assert game.waits(*prepared.transactions) == [False] * len(prepared.transactions)
    assert game.node.find(prepared.transactions[-1].txid) is not None


@pytest.mark.parametrize("name", SIGNED_LIVE)
def test_what_we_sign_is_replaced(game: Game, name: str) -> None:
    """The same inputs first, the same fixed outputs; only our change pays."""
    item = game.waiting(name)
    prepared = game.bump(item)
    assert rate(prepared) == pytest.approx(5.0, abs=0.02)
    old, new = item.tx, prepared.tx
    assert [txin.outpoint for txin in new.inputs] == [txin.outpoint for txin in old.inputs]
    assert [txin.sequence for txin in new.inputs] == [txin.sequence for txin in old.inputs]
    assert new.outputs[:-1] == old.outputs[:-1]
    assert new.outputs[-1].script_pubkey == old.outputs[-1].script_pubkey
    assert (new.version, new.lock_time) == (old.version, old.lock_time)
    assert prepared.child is None
    check_and_send(game, item, prepared)


@pytest.mark.parametrize("name", PARENTS)
def test_a_fixed_parent_gets_a_better_child(game: Game, name: str) -> None:
    item = game.waiting(name)
    assert item.child is not None
    prepared = game.bump(item)
    assert prepared.tx == item.tx
    assert prepared.child is not None
    assert rate(prepared) == pytest.approx(5.0, abs=0.02)
    assert prepared.child.tx.version == 3
    assert [txin.outpoint for txin in prepared.child.tx.inputs] == [txin.outpoint for txin in item.child.inputs]
    check_and_send(game, item, prepared)


@pytest.mark.parametrize("name", REWARDED)
def test_a_reward_pays_for_its_own_transaction(game: Game, name: str) -> None:
    """No input is added: the committee signed for these alone."""
    item = game.waiting(name)
    prepared = game.bump(item)
    assert prepared.tx.inputs == item.tx.inputs
    assert prepared.tx.outputs[0] == item.tx.outputs[0]
    assert [out.script_pubkey for out in prepared.tx.outputs] == [out.script_pubkey for out in item.tx.outputs]
    assert rate(prepared) == pytest.approx(5.0, abs=0.02)
    check_and_send(game, item, prepared)


def test_every_transaction_is_in_one_of_the_lists() -> None:
    assert sorted((*SIGNED_LIVE, *PARENTS, *REWARDED)) == sorted(MAKERS)


@pytest.mark.parametrize("name", ["PegInDeposit", "KickOff", "Forfeit"])
def test_a_rate_that_is_too_low_becomes_what_replacing_takes(game: Game, name: str) -> None:
    """BIP125: all that it pushes out, and its own relay; one sat less is refused."""
    item = game.waiting(name)
    first = game.bump(item, 3.0)
    records.keep(game.store, item.owner, first, sent=True)
    first.send(game.node)
    item = game.again(item)
    second = game.bump(item, 1.0)
    paying = second.transactions[-1]
    assert second.fee == first.fee + min_fee(paying.vsize, INCREMENTAL_FEE_RATE)
    assert second.test(game.node).allowed
    third = game.bump(item, 3.0)
    assert third.fee == second.fee
    check_and_send(game, item, second)


@pytest.mark.parametrize("name", ["PegOut", "KickOff", "Disprove"])
def test_one_sat_less_than_it_takes_is_refused(game: Game, name: str) -> None:
    """The bound is the mempool's, not ours alone."""
    item = game.waiting(name)
    funded = game.bump(item, 1.0)
    part = funded.child or funded.parent
    script = part.tx.outputs[-1].script_pubkey
    cheap = replace(part.tx, outputs=(*part.tx.outputs[:-1], TxOut(part.tx.outputs[-1].amount + 1, script)))
    start = 1 if item.is_parent or name == "PegOut" else len(cheap.inputs)
    signed = game.payer(item).sign_coins(replace(part, tx=cheap), start)
    assert "insufficient fee" in game.node.test([signed.tx]).reason
    assert funded.test(game.node).allowed


def poor(game: Game, item: Pending, rate: float) -> Wallet:
    """The payer, with nothing but the coins that the transaction has."""
    wallet = game.payer(item, rate)
    return replace(wallet, reserved=wallet.reserved | {coin.outpoint for coin in wallet.coins()})


def bump_poor(game: Game, item: Pending, rate: float) -> Prepared:

    return bump(poor(game, item, rate), item, records.graph_of(game.store, item.owner), 1_000.0)


def test_missing_coins_are_named(game: Game) -> None:
    """Change of little value, and nothing else to pay with."""
    wallet = game.wallet(Role.OPERATOR)
    small = wallet.pay([TxOut(600, wallet.script_pubkey)])
    game.node.broadcast(small.tx)
    game.node.mine()
    _ = game.bundle
    rich = game.wallet(Role.OPERATOR, rate=0.2)
    others = {coin.outpoint for coin in rich.coins()} - {small.tx.outpoint(0)}
    thin = replace(rich, reserved=rich.reserved | others)

    item = game.send(game.bundle.setup.id, operator.kick_off(thin, game.bundle.setup))
    with pytest.raises(BridgeError, match=r"wallet: 0 sat in coins do not pay 0 sat and the fee"):
        bump_poor(game, item, 20.0)
    prepared = game.bump(item, 20.0)
    assert small.tx.outpoint(0) in prepared.coins
    assert len(prepared.coins) == 2
    check_and_send(game, item, prepared)


def test_a_child_stays_small_enough(game: Game) -> None:
    """Many small coins would make it larger than BIP431 allows."""
    wallet = game.wallet(Role.OPERATOR)
    split = wallet.pay([TxOut(3_000, wallet.script_pubkey)] * 30)
    game.node.broadcast(split.tx)
    game.node.mine()
    item = game.waiting("KickOff")
    rich = game.payer(item, 40.0)
    large = {coin.outpoint for coin in rich.coins()} - {split.tx.outpoint(index) for index in range(30)}
    payer = replace(rich, reserved=rich.reserved | large)
    with pytest.raises(BridgeError, match=r"KickOff: its child would have 1,\d{3} vB and may have 1,000; gather"):
        bump(payer, replace(item, children=()), game.bundle.setup.graph, 1_000.0)


@pytest.mark.parametrize("name", ["PegInDeposit", "HappyTake", "AssertTimeout_0"])
def test_the_maximum_holds(game: Game, name: str) -> None:
    """Below what replacing takes it refuses; the wallet's own rate never gets there."""
    item = game.waiting(name)
    assert rate(game.bump(item, 4.0, maximum=4.0)) <= 4.02
    with pytest.raises(BridgeError, match=rf"^{name} of \w+: a replacement must pay 1\.\d+ sat/vB and 1\.01 is"):
        game.bump(item, 1.0, maximum=1.01)
    with pytest.raises(BridgeError, match=r"and 0\.5 is the maximum"):
        game.bump(item, 0.4, maximum=0.5)


def test_a_reward_that_does_not_suffice(game: Game) -> None:
    item = game.waiting("Forfeit")
    reward = item.tx.outputs[1].amount
    too_much = (reward + 1_000) / item.tx.vsize
    graph = records.graph_of(game.store, item.owner)
    wallet = game.payer(item)

    shape = bumping._Shape.of(item, graph)
    spent = [source.output for source in (entry.source for entry in graph["Forfeit"].inputs)]
    with pytest.raises(BridgeError, match=r"Forfeit of \w+: a fee of [\d,]+ sat leaves no reward of [\d,]+ sat"):
        bumping._from_reward(wallet.at(1.0), item, shape, spent, outbid=int(too_much * item.tx.vsize))
    left = bumping._from_reward(wallet.at(1.0), item, shape, spent, outbid=reward - DUST - 1_000)
    assert left.tx.outputs[1].amount >= DUST


def test_what_has_confirmed_is_not_replaced(game: Game) -> None:
    for name in ("PegOut", "KickOff"):
        item = game.waiting(name)
        game.node.mine()
        height = game.node.height()
        with pytest.raises(BridgeError, match=rf"^{name} of \w+: already confirmed, in block {height}$"):
            game.bump(item)
        game.stage.mine(1)
        with pytest.raises(BridgeError, match=rf"already confirmed, in block {height}$"):
            game.bump(item)


def test_what_can_never_confirm_is_not_replaced(game: Game) -> None:
    """Somebody else's Challenge is in a block."""
    item = game.waiting("Challenge")
    rival = challenger.challenge(game.payer(item, 9.0), game.bundle)
    assert rival.tx != item.tx
    rival.send(game.node)
    game.node.mine()
    with pytest.raises(BridgeError, match=rf"{rival.tx.txid_hex} took its place, in block {game.node.height()}$"):
        game.bump(item)


@pytest.mark.parametrize("name", ["PegOut", "KickOff", "Forfeit"])
def test_another_key_is_refused(game: Game, name: str) -> None:
    item = game.waiting(name)

    with pytest.raises(BadInput, match="--name: 'another key' is not the key whose coins the transaction spends"):
        bump(game.wallet(Role.DEPOSITOR), item, records.graph_of(game.store, item.owner), 100.0)


def stranger_child(game: Game, parent: Transaction, fee: int) -> Transaction:
    """A child of a parent's anchor, by somebody with a coin."""
    miner = game.stage.miner
    anchor = TxIn(parent.outpoint(parent.outputs.index(ANCHOR)), SEQUENCE_RBF)
    coin = miner.coins()[-1]
    txin = TxIn(coin.outpoint, SEQUENCE_RBF, witness=(bytes(64),))
    tx = Transaction(3, (anchor, txin), (TxOut(coin.output.amount - fee, miner.script_pubkey),))
    return miner.sign_coins(Funded(tx, (ANCHOR, coin.output)), 1).tx


def test_a_strangers_child_is_evicted(game: Game) -> None:
    """Its own rate is higher than ours; what counts is that ours, with the parent, is better still."""
    item = game.waiting("KickOff")
    theirs = stranger_child(game, item.tx, 4_000)
    game.node.broadcast(theirs)
    assert item.child is not None
    assert game.waits(item.tx, item.child, theirs) == [True, False, True]
    with pytest.raises(NodeRejected, match="insufficient fee"):
        game.node.broadcast(item.child)
    prepared = game.bump(item, 2.0)
    assert prepared.fee >= 4_000
    check_and_send(game, item, prepared)
    assert game.waits(theirs) == [False]


def test_a_strangers_child_that_is_too_dear_is_left(game: Game) -> None:
    """It pays for our parent: let it."""
    item = game.waiting("KickOff")
    game.node.broadcast(stranger_child(game, item.tx, 500_000))
    with pytest.raises(BridgeError, match=r"a replacement must pay \d+ sat/vB and 100 is the maximum"):
        game.bump(item)


def test_a_package_beats_what_conflicts_with_its_parent(game: Game) -> None:
    """The take and a late Challenge want the same output; the Challenge came first."""
    height = game.kicked_off()
    game.stage.mine_to(height + 5)
    rival = challenger.challenge(game.wallet(Role.CHALLENGER, rate=20.0), game.bundle)
    rival.send(game.node)
    take = presigned.take(game.wallet(Role.OPERATOR), game.bundle, "HappyTake")
    records.keep(game.store, game.bundle.setup.id, take, sent=True)
    with pytest.raises(NodeRejected):
        take.send(game.node)
    prepared = game.bump(find(game.store, "HappyTake"), 5.0)
    assert rate(prepared) >= 20
    prepared.send(game.node)
    assert game.waits(rival.tx, *prepared.transactions) == [False, True, True]


# What others have built on.


def test_a_deposit_moves_with_its_replacement(game: Game) -> None:
    item = game.waiting("PegInDeposit")
    refuse_fixed(game.store, item)
    prepared = game.bump(item)
    move(game.store, prepared.tx, item, game.payer(item).key)
    assert records.load_deposit(game.store, item.owner.hex()).outpoint == prepared.tx.outpoint(0)


def test_a_deposit_with_an_instance_stays(game: Game) -> None:
    claim = game.waiting("ClaimFunding")
    setup = records.load_instance(game.store, claim.owner.hex()).deposit
    item = Pending(setup.request.id, "PegInDeposit", (claim.tx,), (), sent=True)
    with pytest.raises(BridgeError, match=r"PegInDeposit of \w+: instances are made on its txid"):
        refuse_fixed(game.store, item)


def test_a_claim_moves_with_its_replacement(game: Game) -> None:
    """The instance has the new coin, Challenge is signed for it, and the old coin is free."""
    item = game.waiting("ClaimFunding")
    refuse_fixed(game.store, item)
    old = records.load_instance(game.store, item.owner.hex())
    prepared = game.bump(item)
    key = game.payer(item).key
    move(game.store, prepared.tx, item, key)
    setup = records.load_instance(game.store, item.owner.hex())
    assert setup.claim == prepared.tx.outpoint(0)
    assert old.claim not in game.store.reserved_coins()
    assert setup.claim in game.store.reserved_coins()
    signature = game.store.get(records.CHALLENGE, setup.id)

    assert signature is not None
    assert secp.verify(key.xonly, setup.graph["Challenge"].digest("challenge"), signature)


def test_a_claim_that_is_signed_stays(game: Game) -> None:
    claim = game.bundle.setup.claim
    found = game.node.find(claim.txid)
    assert found is not None
    item = Pending(game.bundle.setup.id, "ClaimFunding", (found[0],), (), sent=True)
    with pytest.raises(BridgeError, match=r"ClaimFunding of \w+: the committee has signed the instance on its txid"):
        refuse_fixed(game.store, item)


@pytest.mark.parametrize(("name", "kind"), [("ClaimFunding", messages.OFFER), ("PegInDeposit", messages.DEPOSIT)])
def test_what_was_told_to_the_others_stays(game: Game, name: str, kind: str) -> None:
    """A second txid would be a contradiction; the same words about something else are none."""
    item = game.waiting(name)
    key = game.stage.seeds[Role.OPERATOR].identity_key()
    body = messages.DepositBody(str(item.tx.outpoint(0)), {})
    for session, other in ((b"\x00" * 32, kind), (item.owner, messages.REQUEST)):
        envelope = seal(key, other, session, body)
        game.store.put(RECORD, envelope.id, envelope.to_json())
    refuse_fixed(game.store, item)
    told = seal(key, kind, item.owner, body)
    game.store.put(RECORD, told.id, told.to_json())
    with pytest.raises(BridgeError, match=rf"{name} of \w+: its txid was told to the other parties"):
        refuse_fixed(game.store, item)


# Names.


def test_a_transaction_is_found_by_name_or_txid(game: Game) -> None:
    item = game.waiting("KickOff")
    assert item.child is not None
    for text in ("KickOff", item.tx.txid_hex, item.tx.txid_hex[:8], item.child.txid_hex, item.child.txid_hex[:12]):
        assert find(game.store, text) == item
    assert find(game.store, "KickOff", item.owner.hex()[:4]) == item
    for text, owner in (("Assert", ""), (item.tx.txid_hex[:7], ""), ("ff" * 32, ""), ("KickOff", "zz"), ("", "")):
        with pytest.raises(BadInput, match=rf"\(they are: KickOff of {item.owner.hex()[:12]}\)"):
            find(game.store, text, owner)


def test_two_of_a_name_are_told_apart_by_their_owner(game: Game) -> None:
    item = game.waiting("KickOff")
    game.store.put(records.INSTANCE, b"\x00" * 32, b"")
    game.store.record_transaction(b"\x00" * 32, "KickOff", replace(item.tx, lock_time=1))
    with pytest.raises(BadInput, match="one transaction that was made here"):
        find(game.store, "KickOff")
    assert find(game.store, "KickOff", item.owner.hex()) == item
