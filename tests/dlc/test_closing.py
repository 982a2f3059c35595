"""What the signers of a contract do by agreement, on Core: close, splice, transfer, and swaps that cannot be halved."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.dlc.contract import closing, moves
from bitvm_bridge.dlc.contract.closing import Closing
from bitvm_bridge.dlc.contract.contract import Agreement, Coin, Reopening, Side
from bitvm_bridge.dlc.contract.signing import ContractGraphs, sign_together
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.params import DUST
from bitvm_bridge.protocol import Party
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Prepared, Wallet
from cli.contract_stories import COLLATERAL, ORACLE_FEE, STAKE, Played, set_up
from cli.stage import COIN, Stage
from tests.dlc.staked import PAYOUTS, WEATHER, allowed, embedded_stage, oracle_signs, paid, stage_on, truth, wallet

LOCKED = 2 * COLLATERAL + ORACLE_FEE


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with embedded_stage(tmp_path / "node") as opened:
        yield opened


@pytest.fixture
def played(stage: Stage) -> Played:
    return set_up(stage, WEATHER, PAYOUTS)


def keys(stage: Stage, played: Played) -> dict[str, SecretKey]:
    salt = played.bundle.contract.terms.salt
    return {
        str(Party.OFFERER): stage.seeds[Party.OFFERER].contract_key(salt),
        str(Party.ACCEPTER): stage.seeds[Party.ACCEPTER].contract_key(salt),
        str(Party.ORACLE): played.keys.contract,
    }


def once() -> Callable[[Any], None]:
    return lambda uses: None


def signed(stage: Stage, played: Played, of: Closing) -> dict[str, bytes]:
    return closing.sign_together(of, keys(stage, played), once())


@pytest.mark.parametrize("key_path", [False, True], ids=["script", "key path"])
@pytest.mark.parametrize("with_stake", [False, True], ids=["parties", "all three"])
def test_a_contract_is_closed_by_agreement(stage: Stage, with_stake: bool, key_path: bool) -> None:
    played = set_up(stage, WEATHER, PAYOUTS, key_path=key_path)
    agreed = closing.close(played.parties.graphs, COLLATERAL, with_stake, oracle=500 if with_stake else 0)
    prepared = agreed.prepared(wallet(stage, Party.OFFERER), signed(stage, played, agreed))
    stage.confirm(prepared, "")
    contract = played.bundle.contract
    assert paid(prepared, contract.agreement.offerer.payout) == COLLATERAL
    fee = 500 if with_stake else 0
    assert paid(prepared, contract.agreement.accepter.payout) == LOCKED - COLLATERAL - fee
    assert paid(prepared, contract.oracle.payout) == (STAKE + DUST + 500 if with_stake else 0)
    for coin in closing.inputs_of(played.parties.graphs, with_stake):
        assert stage.node.output(coin.outpoint) is None, "no ending of the contract is left"


def test_an_oracle_left_out_of_a_close_has_its_stake_back(stage: Stage, played: Played) -> None:
    agreed = closing.close(played.parties.graphs, 0, with_stake=False)
    stage.confirm(agreed.prepared(wallet(stage, Party.ACCEPTER), signed(stage, played, agreed)), "")
    outcome = truth(played)
    height = oracle_signs(stage, played, outcome)
    settle = moves.settle(wallet(stage, Party.ACCEPTER), played.parties, outcome, played.attest(outcome))
    stage.mine_to(height + played.bundle.contract.terms.release_csv - 1)
    assert not allowed(stage, settle)
    back = moves.release(wallet(stage, Party.ORACLE), played.bundle, outcome, played.attest(outcome))
    stage.confirm(back, "")


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "more than there is": ({"offerer": LOCKED + 1, "with_stake": False}, "payout"),
    "less than nothing": ({"offerer": -1, "with_stake": False}, "payout"),
    "an oracle that is paid and left out": ({"offerer": 0, "with_stake": False, "oracle": DUST}, "oracle"),
    "a point that is none": ({"offerer": 0, "with_stake": False, "point": bytes(33)}, "adaptor point"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_no_close_is(played: Played, case: str) -> None:
    arguments, message = REFUSED[case]
    with pytest.raises(BadInput, match=message):
        closing.close(played.parties.graphs, **arguments)


def test_a_close_needs_everyone_it_takes_from(stage: Stage, played: Played) -> None:
    """And its signatures are for that close alone."""
    agreed = closing.close(played.parties.graphs, COLLATERAL, with_stake=True)
    good = signed(stage, played, agreed)
    payer = wallet(stage, Party.OFFERER)
    for name in good:
        with pytest.raises(VerificationFailed, match=name):
            agreed.prepared(payer, {other: one for other, one in good.items() if other != name})
        with pytest.raises(VerificationFailed, match=name):
            agreed.prepared(payer, good | {name: bytes(64)})
    greedy = closing.close(played.parties.graphs, COLLATERAL + 1, with_stake=True)
    with pytest.raises(VerificationFailed):
        greedy.prepared(payer, good)
    wrong = keys(stage, played) | {str(Party.ACCEPTER): SecretKey(bytes([7]) * 32)}
    with pytest.raises(BadInput, match="committee member"):
        closing.sign_together(agreed, wrong, once())


def successor(
    stage: Stage,
    played: Played,
    offerer: Side,
    *,
    with_stake: bool = True,
    payments: tuple[TxOut, ...] = (),
    shares: tuple[int, int] = (0, 0),
    **changes: Any,
) -> Agreement:
    """A contract about the same event, funded from the one that is played; its accepter stays."""
    old = played.bundle.contract
    joint = closing.inputs_of(played.bundle.graphs, with_stake)
    if with_stake:
        stake = sum(coin.output.amount for coin in joint[1:])
        payments = (*payments, TxOut(stake, old.oracle.payout))
    terms = replace(old.terms, salt=bytes([stage.node.height() % 256]) * 32, **changes)
    stays = replace(old.agreement.accepter, coins=())
    return Agreement(terms, offerer, stays, Reopening(joint, payments, shares))


def newcomer(stage: Stage, amount: int) -> tuple[Seed, Side]:
    """A third user with a coin."""
    seed = Seed.generate(Role.PARTY)
    own = Wallet(seed.wallet_key(), stage.node, 2.0)
    stage.node.broadcast(stage.miner.pay([TxOut(amount, own.script_pubkey)]).tx)
    stage.mine(1)
    coins = tuple(Coin(coin.outpoint, coin.output) for coin in own.coins())
    return seed, Side(seed.identity_key().xonly, seed.contract_key(b"").public, own.script_pubkey, coins)


def funded(
    stage: Stage, played: Played, made: Agreement, owners: list[SecretKey], of: Closing, **more: Any
) -> Prepared:
    """The funding of a successor, with the old contract's signatures and those of new coins."""
    signatures: dict[int, bytes] = {}
    for key in owners:
        signatures |= moves.funding_signatures(made, key)
    return moves.funding(made, signatures, of.witnessed(signed(stage, played, of)))


def test_a_position_goes_to_a_third_user(stage: Stage, played: Played) -> None:
    """It pays the one who leaves, in the transaction that ends the old contract and funds the new one."""
    price = COLLATERAL - 1_000
    seed, side = newcomer(stage, COIN)
    leaves = played.bundle.contract.agreement.offerer
    made = successor(stage, played, side, payments=(TxOut(price, leaves.payout),), shares=(price, 0))
    agreed = closing.reopen(played.parties.graphs, made)
    prepared = funded(stage, played, made, [seed.wallet_key()], agreed)
    assert prepared.fee >= prepared.tx.vsize * made.terms.fee_rate
    stage.confirm(prepared, "")
    assert paid(prepared, leaves.payout) == price
    assert paid(prepared, played.bundle.contract.oracle.payout) == STAKE + DUST
    assert prepared.tx.outputs[0].amount == LOCKED
    staked, contract = moves.stake(
        wallet(stage, Party.ORACLE), made, stage.seeds[Party.ORACLE].identity_key().xonly, played.keys
    )
    new_keys = keys(stage, played) | {str(Party.OFFERER): seed.contract_key(b"")}
    parties, own = sign_together(ContractGraphs(contract), new_keys, once())
    stage.confirm(staked, "")
    again = Played(own, parties, played.keys, played.nonces)
    outcome = truth(again)
    height = oracle_signs(stage, again, outcome)
    stage.mine_to(height + contract.terms.dispute_window - 1)
    settle = moves.settle(Wallet(seed.wallet_key(), stage.node, 2.0), parties, outcome, again.attest(outcome))
    stage.confirm(settle, "")
    payout = PAYOUTS.payouts[outcome][1]
    assert paid(settle, side.payout) == (payout if payout >= DUST else 0)
    assert paid(settle, leaves.payout) == 0


@pytest.mark.parametrize("more", [COLLATERAL // 2, -COLLATERAL // 2], ids=["in", "out"])
def test_a_splice_changes_what_is_locked(stage: Stage, played: Played, more: int) -> None:
    old = played.bundle.contract
    payouts = replace(PAYOUTS, payouts=tuple((name, min(paid, 10_000)) for name, paid in PAYOUTS.payouts))
    event = replace(old.terms.contract.event, payouts=payouts)
    whole = replace(old.terms.contract, total_collateral=2 * COLLATERAL + more, event=event)
    changes = {"contract": whole, "offerer_collateral": COLLATERAL + more}
    offerer = old.agreement.offerer
    own = wallet(stage, Party.OFFERER).coins()
    coins = tuple(Coin(coin.outpoint, coin.output) for coin in own)
    side = replace(offerer, coins=coins)
    payments = () if more > 0 else (TxOut(-more, offerer.payout),)
    made = successor(stage, played, side, payments=payments, shares=(max(more, 0), 0), **changes)
    agreed = closing.reopen(played.parties.graphs, made)
    key = stage.seeds[Party.OFFERER].wallet_key()
    stage.confirm(funded(stage, played, made, [key], agreed), "")
    assert stage.node.output(made.funding.outpoint(0)) is not None
    assert made.funding.outputs[0].amount == LOCKED + more


def test_a_successor_that_does_not_add_up_is_none(stage: Stage, played: Played) -> None:
    _, side = newcomer(stage, COIN)
    with pytest.raises(BadInput, match="shares"):
        successor(stage, played, side, shares=(1, 0))
    with pytest.raises(BadInput, match="shares"):
        successor(stage, played, side, payments=(TxOut(COLLATERAL, side.payout),))
    made = successor(stage, played, side)
    other = set_up(stage, WEATHER, PAYOUTS)
    with pytest.raises(BadInput, match="reopens contract"):
        closing.reopen(other.parties.graphs, made)
    with pytest.raises(BadInput, match="reopens another"):
        closing.reopen(other.parties.graphs, other.bundle.contract.agreement)


def test_two_positions_change_hands_both_or_neither(stage: Stage) -> None:
    swapped(stage)


def test_the_same_on_bitcoind(fresh_bitcoind: LaunchedBitcoind) -> None:
    swapped(stage_on(fresh_bitcoind.node))


def swapped(stage: Stage) -> None:
    """Two users each buy the other's position. The one who knows the secret begins, and thereby tells it."""
    first, second = set_up(stage, WEATHER, PAYOUTS), set_up(stage, WEATHER, PAYOUTS)
    secret = SecretKey.generate()
    seeds = [newcomer(stage, COIN) for _ in range(2)]
    made, agreed = [], []
    for played, (_, side) in zip((first, second), reversed(seeds), strict=True):
        leaves = played.bundle.contract.agreement.offerer
        payments = (TxOut(COLLATERAL, leaves.payout),)
        each = successor(stage, played, side, payments=payments, shares=(COLLATERAL, 0))
        made.append(each)
        agreed.append(closing.reopen(played.parties.graphs, each, secret.public))
    pairs = [signed(stage, played, of) for played, of in zip((first, second), agreed, strict=True)]
    assert all(len(signatures[closing.COLLATERAL]) == 65 for signatures in pairs)
    with pytest.raises(BadInput, match="secret"):
        agreed[0].witnessed(pairs[0])
    with pytest.raises(VerificationFailed, match="not that of the point"):
        agreed[0].witnessed(pairs[0], SecretKey.generate())
    owners = [seed.wallet_key() for seed, _ in reversed(seeds)]
    coins = [moves.funding_signatures(each, key) for each, key in zip(made, owners, strict=True)]
    begun = moves.funding(made[0], coins[0], agreed[0].witnessed(pairs[0], secret))
    stage.confirm(begun, "")
    told = agreed[0].revealed(pairs[0], begun.tx)
    assert told.reveal() == secret.reveal()
    ended = moves.funding(made[1], coins[1], agreed[1].witnessed(pairs[1], told))
    stage.confirm(ended, "")
    with pytest.raises(VerificationFailed, match="tells a secret"):
        agreed[1].revealed(pairs[1], begun.tx)
    for each in made:
        assert stage.node.output(each.funding.outpoint(0)) is not None
