"""Several operators on one deposit: each has its own instance, one vault pays one of them."""

from collections.abc import Iterator

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.roles import challenger, committee, depositor, operator
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import sign_together
from bitvm_bridge.status import status
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Wallet
from cli.stage import COIN, Stage, open_stage
from cli.stories import deposit, signers

PROGRAMS = ("hash-chain:1:1", "hash-chain:2:1", "hash-chain:2:1")
PARAMS = Params()


class Bridge:
    """One deposit with an operator for each of PROGRAMS, confirmed."""

    def __init__(self, node: Node, miner: Wallet) -> None:
        self.stage = Stage(node, miner, PARAMS, parse_program(PROGRAMS[0]), tell=lambda step: None)
        self.deposit = deposit(self.stage)
        self.seeds = [Seed(Role.OPERATOR, bytes([number + 1]) * 32) for number in range(len(PROGRAMS))]
        self.wallets = [Wallet(seed.wallet_key(), node, 2.0) for seed in self.seeds]
        coins = [TxOut(COIN, wallet.script_pubkey) for wallet in self.wallets for _ in range(2)]
        node.broadcast(miner.pay(coins).tx)
        self.stage.mine(1)
        self.bundles = [self.join(number) for number in range(len(PROGRAMS))]
        digests = committee.peg_in_digest(self.deposit, self.bundles)
        signature = sign_together(signers(self.stage, self.deposit), digests)[committee.PEG_IN]
        self.stage.confirm(depositor.peg_in(self.stage.wallets[Role.DEPOSITOR], self.deposit, signature), "")

    def join(self, number: int) -> Bundle:
        wallet, spec = self.wallets[number], parse_program(PROGRAMS[number])
        prepared, setup = operator.claim_funding(wallet, self.deposit, spec, self.seeds[number].winternitz_seed())
        self.stage.confirm(prepared, "")
        signatures = sign_together(signers(self.stage, self.deposit), committee.bundle_digests(setup))
        return committee.assemble(setup, signatures, operator.sign_challenge(setup, wallet.key))


@pytest.fixture(scope="module")
def bridge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bridge]:
    node = EmbeddedNode(tmp_path_factory.mktemp("operators"))
    yield Bridge(node, open_stage(node))
    node.close()


def test_instances_share_the_vault_and_nothing_else(bridge: Bridge) -> None:
    setups = [bundle.setup for bundle in bridge.bundles]
    assert len({setup.graph.vault for setup in setups}) == 1
    assert len({setup.id for setup in setups}) == len(setups)
    assert len({setup.graph["KickOff"].tx.txid for setup in setups}) == len(setups)
    ends = [key.serialize() for setup in setups for key in setup.keys]
    assert len(set(ends)) == len(ends)


def test_peg_in_waits_for_every_operators_graph(bridge: Bridge) -> None:
    good = bridge.bundles[0]
    spoiled = Bundle(bridge.bundles[1].setup, {**bridge.bundles[1].signatures, ("HappyTake", "vault"): bytes(64)})
    with pytest.raises(VerificationFailed, match=r"HappyTake\.vault"):
        committee.peg_in_digest(bridge.deposit, [good, spoiled])


def test_one_operators_signatures_do_not_serve_another(bridge: Bridge) -> None:
    mixed = Bundle(bridge.bundles[0].setup, bridge.bundles[1].signatures)
    with pytest.raises(VerificationFailed, match="does not verify"):
        committee.peg_in_digest(bridge.deposit, [mixed])


def test_the_first_to_take_gets_the_vault(bridge: Bridge) -> None:
    """Both claim and nobody challenges: one takes the vault, and the other is left with its bond to lose."""
    stage = bridge.stage
    first, second = bridge.bundles[0], bridge.bundles[1]
    height = stage.confirm(operator.kick_off(bridge.wallets[0], first.setup), "")
    stage.confirm(operator.kick_off(bridge.wallets[1], second.setup), "")
    stage.mine_to(height + PARAMS.happy_csv - 1)
    stage.confirm(operator.happy_take(bridge.wallets[0], first), "")
    stage.mine(1)
    stage.refused(operator.happy_take(bridge.wallets[1], second), "")
    assert "HappyTake" not in {duty.name for duty in status(second.setup.graph, stage.node).duties}
    stage.mine(PARAMS.forfeit_csv)
    stage.confirm(challenger.forfeit(stage.wallets[Role.CHALLENGER], second), "")
    assert status(second.setup.graph, stage.node).state == "Forfeit"
