"""Contracts with a stake, in play on a node of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.dlc.contract import moves
from bitvm_bridge.dlc.oracle import EnumEvent
from bitvm_bridge.dlc.payouts import EnumeratedPayouts
from bitvm_bridge.params import Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Party
from bitvm_bridge.wallet import Prepared, Wallet
from cli.contract_stories import COLLATERAL, PEOPLE, TO_MEDIAN, Played
from cli.stage import Stage, open_stage

PROGRAM: Final = "hash-chain:2:1"
WEATHER: Final = EnumEvent(("sun", "rain", "snow"))
PAYOUTS: Final = EnumeratedPayouts((("sun", 2 * COLLATERAL), ("rain", 100), ("snow", COLLATERAL)))
"""The rain's is dust: nobody is paid less than an output costs."""


def stage_on(node: Node, program: str = PROGRAM) -> Stage:
    """Parties with coins."""
    return Stage(node, open_stage(node), Params(), parse_program(program), tell=lambda step: None, cast=PEOPLE)


@contextmanager
def embedded_stage(folder: Path, program: str = PROGRAM) -> Iterator[Stage]:
    """On a chain inside this process."""
    node = EmbeddedNode(folder)
    yield stage_on(node, program)
    node.close()


def asserted(played: Played, outcome: int, values: tuple[bytes, ...] | None = None) -> Assertion:
    """What the oracle opens, honest or not."""
    case = played.bundle.graphs.case(outcome)
    return asserting.sign(case, played.keys.one_time_seed, played.computed() if values is None else values)


def oracle_signs(stage: Stage, played: Played, outcome: int, values: tuple[bytes, ...] | None = None) -> int:
    """OracleSign confirms; its height."""
    wallet = stage.wallets[Party.ORACLE]
    return stage.confirm(moves.oracle_sign(wallet, played.bundle, outcome, asserted(played, outcome, values)), "")


def truth(played: Played) -> int:
    """The outcome that the computation finds."""
    return moves.found_outcome(played.bundle.contract, played.computed())


def allowed(stage: Stage, prepared: Prepared) -> bool:
    """Would the node take it now?"""
    return prepared.test(stage.node).allowed


def pass_time(stage: Stage, when: int) -> None:
    """One block before the median time is past `when`."""
    stage.node.set_time(when + 1)
    stage.mine(TO_MEDIAN - 1)


def wallet(stage: Stage, party: Party) -> Wallet:
    """A party's coins."""
    return stage.wallets[party]


def paid(prepared: Prepared, script: bytes) -> int:
    """sat that a transaction pays to a script."""
    return sum(output.amount for output in prepared.tx.outputs if output.script_pubkey == script)
