"""What each role builds: right for the node, useless to a thief, refused where the other side has cheated."""

import re
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import pytest
from embit.psbt import PSBT

from bitvm_bridge import secp
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.graph import ANCHOR
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import DUST, Params
from bitvm_bridge.policy import largest_burn
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles import challenger, committee, depositor, operator, presigned, withdrawer
from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import sign_together
from bitvm_bridge.transaction import MAX_MONEY, Transaction, TxOut
from bitvm_bridge.wallet import Prepared, Wallet
from cli.lies import lie
from cli.stage import Stage, open_stage
from cli.stories import deposit, set_up, signers
from scripts_tapleaf.script import OP_RETURN
from tests.cli.bridge import PROGRAM

PARAMS = Params()
AMOUNT = 70_000_000


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Wallet]]:
    """One chain, and its miner."""
    node = EmbeddedNode(tmp_path_factory.mktemp("roles"))
    yield node, open_stage(node)
    node.close()


def new_stage(chain: tuple[Node, Wallet]) -> Stage:
    return Stage(*chain, PARAMS, parse_program(PROGRAM), tell=lambda step: None)


@dataclass(frozen=True)
class Claim:
    """A signed instance whose operator has claimed."""

    stage: Stage
    bundle: Bundle

    @property
    def setup(self) -> InstanceSetup:
        return self.bundle.setup

    @property
    def node(self) -> Node:
        return self.stage.node

    def wallet(self, role: Role) -> Wallet:
        return self.stage.wallets[role]

    def reveal(self, values: Sequence[bytes]) -> Prepared:
        seed = self.stage.seeds[Role.OPERATOR].winternitz_seed()
        return operator.reveal(self.wallet(Role.OPERATOR), self.setup, asserting.sign(self.setup, seed, values))


@pytest.fixture(scope="module")
def claim(chain: tuple[Node, Wallet]) -> Claim:
    """Claimed and challenged; tests only ask the node, and send nothing."""
    stage = new_stage(chain)
    bundle = set_up(stage)
    stage.confirm(operator.kick_off(stage.wallets[Role.OPERATOR], bundle.setup), "")
    stage.confirm(challenger.challenge(stage.wallets[Role.CHALLENGER], bundle), "")
    return Claim(stage, bundle)


@pytest.fixture(scope="module")
def late(chain: tuple[Node, Wallet]) -> Claim:
    """The same after every wait has passed, with a wrong assertion on the chain."""
    stage = new_stage(chain)
    found = Claim(stage, set_up(stage))
    stage.confirm(operator.kick_off(stage.wallets[Role.OPERATOR], found.setup), "")
    stage.confirm(challenger.challenge(stage.wallets[Role.CHALLENGER], found.bundle), "")
    stage.confirm(found.reveal(lie(found.setup.program, found.setup.program.run(()).values)), "")
    stage.mine(PARAMS.forfeit_csv)
    return found


# Withdrawer and operator: PegOut.


def ask(claim: Claim, amount: int = AMOUNT, script: bytes | None = None) -> Withdrawal:
    wallet = claim.wallet(Role.WITHDRAWER)
    return withdrawer.request(wallet.key, wallet.coins()[0], amount, script or wallet.script_pubkey)


def test_a_withdrawal_gives_the_coin_back(claim: Claim) -> None:
    (coin,) = claim.wallet(Role.WITHDRAWER).coins()
    asked = ask(claim)
    assert asked.payout.amount == coin.output.amount + AMOUNT
    assert (asked.coin, asked.spent, asked.amount) == (coin.outpoint, coin.output, AMOUNT)


def test_a_psbt_carries_a_withdrawal(claim: Claim) -> None:
    asked = ask(claim)
    text = asked.to_psbt()
    assert Withdrawal.from_psbt(text) == asked
    assert Withdrawal.from_psbt(f"\n {text}\n") == asked
    psbt = PSBT.parse(b64decode(text))
    assert psbt.inputs[0].sighash_type == 0x83
    assert psbt.inputs[0].witness_utxo.value == asked.spent.amount
    assert psbt.outputs[0].script_pubkey.data == asked.payout.script_pubkey


def test_no_part_of_a_psbt_is_accepted(claim: Claim) -> None:
    raw = b64decode(ask(claim).to_psbt())
    for size in range(len(raw)):
        with pytest.raises(BadInput):
            Withdrawal.from_psbt(b64encode(raw[:size]).decode())


def test_no_changed_psbt_pays_somebody_else(claim: Claim) -> None:
    """Every single-byte change is refused, or says the same."""
    asked = ask(claim)
    raw = b64decode(asked.to_psbt())
    accepted = 0
    for position in range(len(raw)):
        changed = raw[:position] + bytes([raw[position] ^ 1]) + raw[position + 1 :]
        try:
            found = Withdrawal.from_psbt(b64encode(changed).decode())
        except BadInput:
            continue
        assert found == asked
        accepted += 1
    assert accepted < len(raw) // 20


@pytest.mark.parametrize("amount", [-1, 0, DUST - 1, MAX_MONEY + 1, 1 << 70])
def test_amounts_that_cannot_be_withdrawn(claim: Claim, amount: int) -> None:
    with pytest.raises(BadInput, match=f"withdrawal amount: '{amount}' is not from 330 to"):
        ask(claim, amount)


def test_a_withdrawal_that_gives_money_away_is_refused(claim: Claim) -> None:
    """A signature for less than the coin: valid, but nobody means it."""
    asked = ask(claim, DUST)
    with pytest.raises(BadInput, match="withdrawal amount: '-1'"):
        replace(asked, payout=TxOut(asked.spent.amount - 1, asked.payout.script_pubkey))


def test_a_withdrawal_needs_its_own_signature(claim: Claim) -> None:
    asked = ask(claim)
    for changed in (
        {"payout": TxOut(asked.payout.amount + 1, asked.payout.script_pubkey)},
        {"payout": TxOut(asked.payout.amount, claim.wallet(Role.CHALLENGER).script_pubkey)},
        {"coin": replace(asked.coin, vout=asked.coin.vout + 1)},
        {"spent": TxOut(asked.spent.amount - 1, asked.spent.script_pubkey)},
        {"signature": bytes(64)},
    ):
        with pytest.raises(BadInput, match="withdrawal signature"):
            replace(asked, **changed)
    with pytest.raises(BadInput, match=r"withdrawal coin: .* P2TR"):
        replace(asked, spent=TxOut(asked.spent.amount, b"\x00\x14" + bytes(20)))


def test_peg_out(claim: Claim) -> None:
    asked = ask(claim)
    prepared = operator.peg_out(claim.wallet(Role.OPERATOR), claim.setup, asked)
    payout, marker, change = prepared.tx.outputs
    assert payout == asked.payout
    assert (marker.amount, marker.script_pubkey) == (0, OP_RETURN + b"\x20" + claim.setup.id)
    assert change.script_pubkey == claim.wallet(Role.OPERATOR).script_pubkey
    assert prepared.tx.inputs[0] == asked.txin
    paid = sum(out.amount for out in prepared.parent.spent[1:]) - change.amount
    assert paid == AMOUNT + prepared.fee
    assert prepared.test(claim.node).reason == ""


def test_a_peg_out_above_the_deposit_is_refused(claim: Claim) -> None:
    wallet = claim.wallet(Role.OPERATOR)
    operator.peg_out(wallet, claim.setup, ask(claim, PARAMS.peg_in))
    with pytest.raises(BadInput, match="withdrawal amount: '100000001' is not at most 100,000,000 sat"):
        operator.peg_out(wallet, claim.setup, ask(claim, PARAMS.peg_in + 1))


def test_a_withdrawal_cannot_be_diverted(claim: Claim) -> None:
    """The signature fixes output 0, whoever completes the transaction."""
    prepared = operator.peg_out(claim.wallet(Role.OPERATOR), claim.setup, ask(claim))
    thief = claim.wallet(Role.CHALLENGER)
    _, *others = prepared.tx.outputs
    stolen = replace(prepared.tx, outputs=(TxOut(prepared.tx.outputs[0].amount, thief.script_pubkey), *others))
    assert "mempool-script-verify-flag-failed" in claim.node.test([stolen]).reason


# Operator: what it commits to.


def test_one_time_keys_belong_to_one_instance(claim: Claim) -> None:
    deposit_setup, seed = claim.setup.deposit, claim.stage.seeds[Role.OPERATOR].winternitz_seed()
    spec, other_spec = parse_program("hash-chain:3:1"), parse_program("hash-chain:3:2")
    other_deposit = replace(deposit_setup, outpoint=replace(deposit_setup.outpoint, vout=9))
    keys = operator.one_time_keys(deposit_setup, claim.setup.operator, spec, seed)
    assert keys == operator.one_time_keys(deposit_setup, claim.setup.operator, spec, seed)
    others = [
        operator.one_time_keys(other_deposit, claim.setup.operator, spec, seed),
        operator.one_time_keys(deposit_setup, deposit_setup.deposit.committee, spec, seed),
        operator.one_time_keys(deposit_setup, claim.setup.operator, other_spec, seed),
        operator.one_time_keys(deposit_setup, claim.setup.operator, spec, bytes(32)),
    ]
    every = [key.serialize() for chosen in (keys, *others) for key in chosen]
    assert len(set(every)) == 15


def test_the_claim_coin_is_exact(claim: Claim) -> None:
    kick_off = claim.setup.graph["KickOff"]
    assert sum(out.amount for out in kick_off.tx.outputs) == kick_off.spent[0].amount
    assert kick_off.tx.inputs[0].outpoint == claim.setup.claim
    assert kick_off.tx.outputs[-1] == ANCHOR


def test_an_assertion_cannot_be_moved(claim: Claim) -> None:
    """Its one-time signatures are public from the moment it is broadcast; the operator's signature binds them."""
    prepared = claim.reveal(claim.setup.program.run(()).values)
    assert prepared.test(claim.node).reason == ""
    thief = claim.wallet(Role.CHALLENGER)
    outputs = tuple(TxOut(out.amount, thief.script_pubkey) for out in prepared.tx.outputs)
    reason = claim.node.test([replace(prepared.tx, outputs=outputs)]).reason
    assert "mempool-script-verify-flag-failed" in reason


def test_an_assertion_reads_back(claim: Claim) -> None:
    values = tuple(lie(claim.setup.program, claim.setup.program.run(()).values))
    found = asserting.read(claim.setup, [claim.reveal(values).tx])
    assert found.values == values


# Slashing: what is fixed and what is free.


def slashings(late: Claim) -> Iterator[Prepared]:
    wallet = late.wallet(Role.CHALLENGER)
    (entry, *_) = late.setup.graph["Assert"].inputs
    sent = late.node.spender(entry.source.outpoint)
    assert sent is not None
    yield challenger.disprove(wallet, late.bundle, dispute.prove(late.setup, asserting.read(late.setup, [sent[0]])))
    yield challenger.forfeit(wallet, late.bundle)


def test_the_burn_is_fixed_and_the_reward_is_free(late: Claim) -> None:
    for prepared in slashings(late):
        burn, reward = prepared.tx.outputs
        assert (burn.amount, burn.script_pubkey) == (PARAMS.burn, OP_RETURN)
        assert largest_burn(prepared.tx) == PARAMS.burn
        assert reward.amount + prepared.fee + PARAMS.burn == sum(out.amount for out in prepared.parent.spent)
        assert len(prepared.tx.inputs) == len(late.setup.graph[prepared.name].inputs), "the reward pays the fee"
        assert prepared.test(late.node).reason == ""
        elsewhere = replace(reward, script_pubkey=late.wallet(Role.DEPOSITOR).script_pubkey)
        assert late.node.test([replace(prepared.tx, outputs=(burn, elsewhere))]).reason == ""
        for wrong in ((reward, burn), (reward,), (replace(burn, amount=burn.amount - 1), reward)):
            reason = late.node.test([replace(prepared.tx, outputs=wrong)]).reason
            assert "mempool-script-verify-flag-failed" in reason, prepared.name


def test_disprove_spends_nothing_of_a_right_assertion(claim: Claim) -> None:
    assertion = asserting.read(claim.setup, [claim.reveal(claim.setup.program.run(()).values).tx])
    with pytest.raises(BridgeError, match="the assertion is correct"):
        dispute.prove(claim.setup, assertion)


def test_an_assert_connector_that_there_is_not(claim: Claim) -> None:
    with pytest.raises(BadInput, match="transaction: 'AssertTimeout_99'"):
        challenger.assert_timeout(claim.wallet(Role.CHALLENGER), claim.bundle, 99)


def test_only_transactions_with_an_anchor_are_taken(claim: Claim) -> None:
    with pytest.raises(BadInput, match="transaction: 'Forfeit' is not one with an anchor"):
        presigned.take(claim.wallet(Role.OPERATOR), claim.bundle, "Forfeit")


def test_a_challenge_pays_the_operator(chain: tuple[Node, Wallet]) -> None:
    stage = new_stage(chain)
    bundle = set_up(stage)
    stage.confirm(operator.kick_off(stage.wallets[Role.OPERATOR], bundle.setup), "")
    prepared = challenger.challenge(stage.wallets[Role.CHALLENGER], bundle)
    assert prepared.tx.outputs[0] == TxOut(PARAMS.challenge, stage.wallets[Role.OPERATOR].script_pubkey)
    assert prepared.test(stage.node).reason == ""
    cheaper = (replace(prepared.tx.outputs[0], amount=PARAMS.challenge - 1), *prepared.tx.outputs[1:])
    assert "mempool-script-verify" in stage.node.test([replace(prepared.tx, outputs=cheaper)]).reason


# Committee and depositor.


@pytest.fixture(scope="module")
def deposited(chain: tuple[Node, Wallet]) -> tuple[Stage, DepositSetup]:
    """A deposit that nobody has confirmed."""
    stage = new_stage(chain)
    return stage, deposit(stage)


def test_the_committee_checks_what_it_assembles(claim: Claim) -> None:
    setup = claim.setup
    signatures = sign_together(signers(claim.stage, setup.deposit), committee.bundle_digests(setup))
    challenge = operator.sign_challenge(setup, claim.wallet(Role.OPERATOR).key)
    assert committee.assemble(setup, signatures, challenge).setup == setup
    label = next(iter(signatures))
    for wrong, reason in (
        (signatures | {label: bytes(64)}, f"{label}: the committee's signature does not verify"),
        ({key: value for key, value in signatures.items() if key != label}, f"{label}: .* is missing"),
    ):
        with pytest.raises(VerificationFailed, match=reason):
            committee.assemble(setup, wrong, challenge)
    with pytest.raises(VerificationFailed, match=r"Challenge\.challenge: the operator's signature does not verify"):
        committee.assemble(setup, signatures, bytes(64))


def test_peg_in_is_signed_last(claim: Claim, deposited: tuple[Stage, DepositSetup]) -> None:
    setup = claim.setup.deposit
    assert committee.peg_in_digest(setup, [claim.bundle]) == {committee.PEG_IN: setup.graph["PegIn"].digest("deposit")}
    with pytest.raises(VerificationFailed, match="nobody could reimburse"):
        committee.peg_in_digest(setup, [])
    with pytest.raises(BadInput, match="an instance of the deposit"):
        committee.peg_in_digest(deposited[1], [claim.bundle])
    label = ("Forfeit", "bond")
    forged = Bundle(claim.setup, {**claim.bundle.signatures, label: bytes(64)})
    with pytest.raises(VerificationFailed, match=r"Forfeit\.bond: .* does not verify"):
        committee.peg_in_digest(setup, [claim.bundle, forged])


def test_peg_in_needs_the_whole_committee(deposited: tuple[Stage, DepositSetup]) -> None:
    stage, setup = deposited
    wallet = stage.wallets[Role.DEPOSITOR]
    digest = setup.graph["PegIn"].digest("deposit")
    alone = stage.members["alice"].committee_key(setup.request.id).sign(digest)
    for signature in (bytes(64), alone, wallet.key.sign(digest)):
        with pytest.raises(VerificationFailed, match=r"PegIn\.deposit: the committee's signature does not verify"):
            depositor.peg_in(wallet, setup, signature)
    together = sign_together(signers(stage, setup), {"PegIn": digest})["PegIn"]
    assert depositor.peg_in(wallet, setup, together).test(stage.node).reason == ""


def test_only_the_depositor_takes_a_deposit_back(chain: tuple[Node, Wallet]) -> None:
    stage = new_stage(chain)
    setup = deposit(stage)
    stage.mine(PARAMS.refund_delay - 1)
    wallet = stage.wallets[Role.DEPOSITOR]
    assert depositor.refund(wallet, setup, wallet.key).test(stage.node).reason == ""
    thief = stage.wallets[Role.CHALLENGER]
    assert "mempool-script-verify" in depositor.refund(thief, setup, thief.key).test(stage.node).reason


def test_the_deposit_pays_what_was_asked(deposited: tuple[Stage, DepositSetup]) -> None:
    stage, setup = deposited
    found = stage.node.output(setup.outpoint)
    assert found is not None
    (spent,) = setup.graph["PegIn"].spent
    assert found.output == spent
    assert spent.amount == PARAMS.peg_in


def test_a_cooperative_payout_needs_the_whole_committee(claim: Claim) -> None:
    setup, wallet = claim.setup.deposit, claim.wallet(Role.WITHDRAWER)
    script = wallet_script(Seed.generate(Role.WITHDRAWER).wallet_key().xonly)
    payout = committee.Payout(setup, script)
    tx, digests = payout.tx, payout.digests
    assert tx.outputs == (ANCHOR, TxOut(PARAMS.peg_in, script)) or tx.outputs == (TxOut(PARAMS.peg_in, script), ANCHOR)
    alone = claim.stage.members["bob"].committee_key(setup.request.id).sign(digests[payout.label])
    with pytest.raises(VerificationFailed, match=re.escape("CooperativePayout.vault: ")):
        payout.finish(wallet, alone)
    signature = sign_together(signers(claim.stage, setup), digests)[payout.label]
    prepared = payout.finish(wallet, signature)
    assert prepared.test(claim.node).reason == ""
    rehearsed = payout.rehearse(wallet)
    assert (rehearsed.tx.txid, rehearsed.tx.weight, rehearsed.fee) == (
        prepared.tx.txid,
        prepared.tx.weight,
        prepared.fee,
    )
    assert "mempool-script-verify" in rehearsed.test(claim.node).reason
    assert secp.verify(setup.deposit.committee, digests[payout.label], signature)
    stolen: Transaction = replace(prepared.tx, outputs=tuple(reversed(prepared.tx.outputs)))
    assert not claim.node.test([stolen]).allowed
