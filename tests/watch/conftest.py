"""Every story once on an embedded node: its blocks, and the instance that it is about."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Block
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.roles import challenger, depositor, operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from cli import stories
from cli.stage import Stage, open_stage

PROGRAM = "hash-chain:2:1"
WINDOWS = 6


@dataclass(frozen=True)
class Told:
    """A story that was played: all blocks since the chain began, and the first of them that is the story's."""

    name: str
    setup: InstanceSetup
    blocks: tuple[Block, ...]
    start: int


def refunded(stage: Stage) -> None:
    """An operator joined, the committee never confirmed, the depositor took its money back."""
    deposited = stories.deposit(stage)
    wallet = stage.wallets[Role.OPERATOR]
    seed = stage.seeds[Role.OPERATOR].winternitz_seed()
    funding, setup = operator.claim_funding(wallet, deposited, stage.spec, seed)
    stage.confirm(funding, "")
    stage.mine(stage.params.refund_delay)
    key = stage.seeds[Role.DEPOSITOR].wallet_key()
    stage.confirm(depositor.refund(stage.wallets[Role.DEPOSITOR], deposited, key), "")
    _PLAYED.append(setup)


def abandoned(stage: Stage) -> None:
    """A claim that is never brought to an end."""
    bundle = stories.set_up(stage)
    height = stories.kick_off(stage, bundle.setup, "")
    stage.mine_to(height + stage.params.forfeit_csv - 1)
    stage.confirm(challenger.forfeit(stage.wallets[Role.CHALLENGER], bundle), "")


TALES = {
    "happy": stories.happy,
    "challenged": stories.challenged,
    "fraud": stories.fraud,
    "silent": stories.silent,
    "abandoned": abandoned,
    "refunded": refunded,
}
ENDS = {
    "happy": "taken",
    "challenged": "taken",
    "fraud": "disproved",
    "silent": "timed-out",
    "abandoned": "forfeited",
    "refunded": "refunded",
}
_PLAYED: list[InstanceSetup] = []


@pytest.fixture(scope="session")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Told]]:
    """Every story by its name, one after another on one chain."""
    node = EmbeddedNode(tmp_path_factory.mktemp("tales"))
    set_up = stories.set_up

    def noted(stage: Stage) -> Bundle:
        bundle = set_up(stage)
        _PLAYED.append(bundle.setup)
        return bundle

    miner, found = open_stage(node), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stories, "set_up", noted)
        for name, play in TALES.items():
            start = node.height() + 1
            play(Stage(node, miner, Params(), parse_program(PROGRAM), tell=lambda step: None))
            blocks = tuple(node.block(height) for height in range(node.height() + 1))
            found[name] = Told(name, _PLAYED[-1], blocks, start)
    yield found
    node.close()
