"""A bridge in play on any node: any transaction of the protocol, sent and waiting, and the store that knows of it."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.bump import bump
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.pending import Pending, find
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import challenger, committee, depositor, operator, presigned, withdrawer
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee, sign_together
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet
from cli.bump import PAYERS
from cli.lies import lie
from cli.stage import Stage
from cli.stories import RECEIVER, deposit, set_up, signers

PROGRAM: Final = "hash-chain:2:1"
PARAMS: Final = Params()
AMOUNT: Final = 70_000_000
MAXIMUM: Final = 100.0


@dataclass
class Game:
    """A stage whose parties keep what they send in one store."""

    stage: Stage
    store: Store

    @classmethod
    def open(cls, node: Node, miner: Wallet, store: Store) -> "Game":
        return cls(Stage(node, miner, PARAMS, parse_program(PROGRAM), tell=lambda step: None, fee_rate=1.0), store)

    @property
    def node(self) -> Node:
        return self.stage.node

    @cached_property
    def bundle(self) -> Bundle:
        """A signed instance, its vault on the chain."""
        made = set_up(self.stage)
        records.save_deposit(self.store, made.setup.deposit)
        records.save_instance(self.store, made.setup)
        records.save_bundle(self.store, made)
        return made

    def wallet(self, role: Role, owner: bytes = b"", name: str = "", rate: float = 1.0) -> Wallet:
        """A party's wallet as the command of a transaction opens it."""
        reserved = records.reserved_for_others(self.store, owner, name)
        return replace(self.stage.wallets[role], reserved=reserved, fee_rate=rate)

    def payer(self, item: Pending, rate: float = 1.0) -> Wallet:
        """The wallet that made a transaction."""
        return self.wallet(PAYERS[item.template.sender], item.owner, item.name, rate)

    def send(self, owner: bytes, prepared: Prepared) -> Pending:
        """Keep a transaction, and send it."""
        records.keep(self.store, owner, prepared, sent=True)
        prepared.send(self.node)
        return find(self.store, prepared.name, owner.hex())

    def waiting(self, name: str) -> Pending:
        """A transaction of this name, sent at 1 sat/vB and waiting in the mempool."""
        return self.send(*MAKERS[name](self))

    def bump(self, item: Pending, rate: float = 5.0, maximum: float = MAXIMUM) -> Prepared:
        """A replacement, not sent."""
        graph = records.graph_of(self.store, item.owner)
        return bump(self.payer(item, rate), item, graph, maximum)

    def again(self, item: Pending) -> Pending:
        """The same after something was kept."""
        return find(self.store, item.name, item.owner.hex())

    def waits(self, *transactions: Transaction) -> list[bool]:
        """Which of them are in the mempool?"""
        return [self.node.in_mempool(tx.txid) for tx in transactions]

    def kicked_off(self) -> int:
        """Claim; the height of KickOff."""
        return self.stage.confirm(operator.kick_off(self.wallet(Role.OPERATOR), self.bundle.setup), "")

    def challenged(self) -> int:
        """Claim and challenge; the height of KickOff."""
        height = self.kicked_off()
        self.stage.confirm(challenger.challenge(self.wallet(Role.CHALLENGER), self.bundle), "")
        return height

    def reveal(self, values: tuple[bytes, ...]) -> Prepared:
        """Assert with these values."""
        assertion = asserting.sign(self.bundle.setup, self.stage.seeds[Role.OPERATOR].winternitz_seed(), values)
        return operator.reveal(self.wallet(Role.OPERATOR), self.bundle.setup, assertion)


Made = tuple[bytes, Prepared]
"""The owner of a transaction, and the transaction."""


def _request(game: Game) -> tuple[Request, Committee]:
    asked = Request(PARAMS, game.wallet(Role.DEPOSITOR).key.xonly, RECEIVER)
    keys = {name: seed.committee_key(asked.id).public for name, seed in game.stage.members.items()}
    return asked, Committee(tuple(keys.items()))


def _peg_in_deposit(game: Game) -> Made:
    prepared, setup = depositor.deposit(game.wallet(Role.DEPOSITOR), *_request(game))
    records.save_deposit(game.store, setup)
    return setup.request.id, prepared


def _deposited(game: Game) -> DepositSetup:
    setup = deposit(game.stage)
    records.save_deposit(game.store, setup)
    return setup


def _peg_in_refund(game: Game) -> Made:
    setup = _deposited(game)
    game.stage.mine(PARAMS.refund_delay - 1)
    wallet = game.wallet(Role.DEPOSITOR)
    return setup.request.id, depositor.refund(wallet, setup, wallet.key)


def _claim_funding(game: Game) -> Made:
    seed = game.stage.seeds[Role.OPERATOR].winternitz_seed()
    prepared, setup = operator.claim_funding(game.wallet(Role.OPERATOR), _deposited(game), game.stage.spec, seed)
    records.save_instance(game.store, setup)
    return setup.id, prepared


def _peg_out(game: Game) -> Made:
    user = game.wallet(Role.WITHDRAWER)
    asked = withdrawer.request(user.key, user.coins()[0], AMOUNT, user.script_pubkey)
    return game.bundle.setup.id, operator.peg_out(game.wallet(Role.OPERATOR), game.bundle.setup, asked)


def _kick_off(game: Game) -> Made:
    return game.bundle.setup.id, operator.kick_off(game.wallet(Role.OPERATOR), game.bundle.setup)


def _challenge(game: Game) -> Made:
    game.kicked_off()
    return game.bundle.setup.id, challenger.challenge(game.wallet(Role.CHALLENGER), game.bundle)


def _happy_take(game: Game) -> Made:
    game.stage.mine_to(game.kicked_off() + PARAMS.happy_csv - 1)
    return game.bundle.setup.id, presigned.take(game.wallet(Role.OPERATOR), game.bundle, "HappyTake")


def _assert(game: Game) -> Made:
    game.challenged()
    return game.bundle.setup.id, game.reveal(game.stage.honest(game.bundle.setup))


def _unhappy_take(game: Game) -> Made:
    height = game.challenged()
    game.stage.confirm(game.reveal(game.stage.honest(game.bundle.setup)), "")
    game.stage.mine_to(height + PARAMS.unhappy_csv - 1)
    return game.bundle.setup.id, presigned.take(game.wallet(Role.OPERATOR), game.bundle, "UnhappyTake")


def _assert_timeout(game: Game) -> Made:
    game.stage.mine_to(game.challenged() + PARAMS.timeout_csv - 1)
    return game.bundle.setup.id, challenger.assert_timeout(game.wallet(Role.CHALLENGER), game.bundle, 0)


def _disprove(game: Game) -> Made:
    game.challenged()
    setup = game.bundle.setup
    sent = game.reveal(lie(setup.program, game.stage.honest(setup), "link_1"))
    game.stage.confirm(sent, "")
    proof = dispute.prove(setup, asserting.read(setup, [sent.tx]))
    return setup.id, challenger.disprove(game.wallet(Role.CHALLENGER), game.bundle, proof)


def _forfeit(game: Game) -> Made:
    game.stage.mine_to(game.challenged() + PARAMS.forfeit_csv - 1)
    return game.bundle.setup.id, challenger.forfeit(game.wallet(Role.CHALLENGER), game.bundle)


def _peg_in(game: Game) -> Made:
    setup = _deposited(game)
    digest = {committee.PEG_IN: setup.graph["PegIn"].digest("deposit")}
    signed = sign_together(signers(game.stage, setup), digest)
    return setup.request.id, depositor.peg_in(game.wallet(Role.DEPOSITOR), setup, signed[committee.PEG_IN])


def _cooperative_payout(game: Game) -> Made:
    setup = game.bundle.setup.deposit
    payout = committee.Payout(setup, game.wallet(Role.WITHDRAWER).script_pubkey)
    signed = sign_together(signers(game.stage, setup), payout.digests)
    return setup.request.id, payout.finish(game.wallet(Role.WITHDRAWER), signed[payout.label])


MAKERS: Final[dict[str, Callable[[Game], Made]]] = {
    "PegInDeposit": _peg_in_deposit,
    "PegInRefund": _peg_in_refund,
    "PegIn": _peg_in,
    "CooperativePayout": _cooperative_payout,
    "ClaimFunding": _claim_funding,
    "PegOut": _peg_out,
    "KickOff": _kick_off,
    "Challenge": _challenge,
    "HappyTake": _happy_take,
    "Assert": _assert,
    "UnhappyTake": _unhappy_take,
    "AssertTimeout_0": _assert_timeout,
    "Disprove": _disprove,
    "Forfeit": _forfeit,
}
"""How to come to the point where a transaction can be sent; each starts a game of its own."""
SIGNED_LIVE: Final = ("PegInDeposit", "PegInRefund", "ClaimFunding", "PegOut", "Challenge", "Assert")
PARENTS: Final = ("PegIn", "CooperativePayout", "KickOff", "HappyTake", "UnhappyTake")
REWARDED: Final = ("AssertTimeout_0", "Disprove", "Forfeit")
