"""What can be sent next, by whom, from which block, and until when: read off the chain at every stage of every play."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.graph import Graph
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Party
from bitvm_bridge.roles import challenger, committee, depositor, operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import sign_together
from bitvm_bridge.status import OTHER, Duty, Status, identify, status
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Prepared, Wallet
from cli.lies import lie
from cli.stage import Stage, open_stage
from cli.stories import deposit, pay_out, set_up, signers
from tests.cli.bridge import PROGRAM

PARAMS = Params(refund_delay=20, challenge_window=3, assert_window=4, disprove_window=5, forfeit_window=7)
"""Windows that cannot be mistaken for one another."""
WC, WA, WD, WF = 3, 4, 5, 7
OPERATOR, CHALLENGER, ANYONE, COMMITTEE = Party.OPERATOR, Party.CHALLENGER, Party.ANYONE, Party.COMMITTEE


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Node, Wallet]]:
    """One chain for every play, and its miner."""
    node = EmbeddedNode(tmp_path_factory.mktemp("status"))
    yield node, open_stage(node)
    node.close()


@pytest.fixture
def stage(chain: tuple[Node, Wallet]) -> Stage:
    """Fresh keys and coins."""
    return Stage(*chain, PARAMS, parse_program(PROGRAM), tell=lambda step: None)


@dataclass
class Play:
    """A vault with a signed instance, and every transaction that its graph may send."""

    stage: Stage
    bundle: Bundle

    @property
    def setup(self) -> InstanceSetup:
        return self.bundle.setup

    def now(self) -> Status:
        return status(self.setup.graph, self.stage.node)

    def duties(self) -> dict[str, Duty]:
        return {duty.name: duty for duty in self.now().duties}

    def make(self, name: str) -> Prepared:
        """The transaction, signed and funded."""
        wallets = self.stage.wallets
        match name:
            case "KickOff":
                return operator.kick_off(wallets[Role.OPERATOR], self.setup)
            case "Challenge":
                return challenger.challenge(wallets[Role.CHALLENGER], self.bundle)
            case "HappyTake":
                return operator.happy_take(wallets[Role.OPERATOR], self.bundle)
            case "UnhappyTake":
                return operator.unhappy_take(wallets[Role.OPERATOR], self.bundle)
            case "Assert":
                return self.answer(self.setup.program.run(()).values)
            case "Disprove":
                (entry, *_) = self.setup.graph["Assert"].inputs
                found = self.stage.node.spender(entry.source.outpoint)
                assert found is not None
                assertion = asserting.read(self.setup, [found[0]])
                proof = dispute.prove(self.setup, assertion)
                return challenger.disprove(wallets[Role.CHALLENGER], self.bundle, proof)
            case "AssertTimeout_0":
                return challenger.assert_timeout(wallets[Role.CHALLENGER], self.bundle, 0)
            case "Forfeit":
                return challenger.forfeit(wallets[Role.CHALLENGER], self.bundle)
            case "CooperativePayout":
                return self.payout()
        raise AssertionError(name)

    def answer(self, values: list[bytes] | tuple[bytes, ...]) -> Prepared:
        seed = self.stage.seeds[Role.OPERATOR].winternitz_seed()
        wallet = self.stage.wallets[Role.OPERATOR]
        return operator.reveal(wallet, self.setup, asserting.sign(self.setup, seed, values))

    def payout(self) -> Prepared:
        wallet = self.stage.wallets[Role.WITHDRAWER]
        payout = committee.Payout(self.setup.deposit, wallet.script_pubkey)
        signatures = sign_together(signers(self.stage, self.setup.deposit), payout.digests)
        return payout.finish(wallet, signatures[payout.label])

    def send(self, name: str) -> int:
        """Confirm it; returns its height."""
        return self.stage.confirm(self.make(name), "")

    def check_starts(self) -> None:
        """Each transaction that a wait holds back is refused one block early and accepted at its height."""
        waiting = sorted((duty for duty in self.now().duties if duty.start > self.now().height + 1), key=_start)
        for duty in waiting:
            prepared = self.make(duty.name)
            self.stage.mine_to(duty.start - 2)
            early = prepared.test(self.stage.node)
            assert (early.allowed, early.reason) == (False, "non-BIP68-final"), duty
            self.stage.mine_to(duty.start - 1)
            assert prepared.test(self.stage.node).allowed, duty

    def check_now(self) -> None:
        """Each transaction that can be sent now is accepted."""
        now = self.now()
        for duty in now.duties:
            if duty.start <= now.height + 1:
                assert self.make(duty.name).test(self.stage.node).allowed, duty


def _start(duty: Duty) -> int:
    return duty.start


@pytest.fixture
def play(stage: Stage) -> Play:
    """A vault with a signed instance."""
    return Play(stage, set_up(stage))


def names(found: Status) -> list[str]:
    return [event.name for event in found.events]


def test_a_deposit(stage: Stage) -> None:
    setup = deposit(stage)
    height = stage.node.height()
    found = status(setup.graph, stage.node)
    assert (found.state, found.height, names(found)) == ("PegInDeposit", height, ["PegInDeposit"])
    refund = height + PARAMS.refund_delay
    assert {duty.name: duty for duty in found.duties} == {
        "PegIn": Duty("PegIn", Party.DEPOSITOR, height + 1, None),
        "PegInRefund": Duty("PegInRefund", Party.DEPOSITOR, refund, None),
    }
    key = stage.seeds[Role.DEPOSITOR].wallet_key()
    prepared = depositor.refund(stage.wallets[Role.DEPOSITOR], setup, key)
    stage.mine_to(refund - 2)
    assert prepared.test(stage.node).reason == "non-BIP68-final"
    stage.mine_to(refund - 1)
    assert stage.confirm(prepared, "") == refund
    ended = status(setup.graph, stage.node)
    assert (ended.state, ended.duties) == ("PegInRefund", ())


def test_a_vault(play: Play) -> None:
    found = play.now()
    assert found.state == "PegIn"
    assert {duty.name: (duty.sender, duty.deadline) for duty in found.duties} == {
        "CooperativePayout": (COMMITTEE, None),
        "KickOff": (OPERATOR, None),
    }
    play.check_now()
    pay_out(play.stage, play.setup)
    assert play.now().state == "PegIn", "a PegOut spends nothing of the graph"


def test_a_claim(play: Play) -> None:
    height = play.send("KickOff")
    assert play.now().state == "KickOff"
    assert play.duties() == {
        "CooperativePayout": Duty("CooperativePayout", COMMITTEE, height, height + WC),
        "Challenge": Duty("Challenge", CHALLENGER, height + 1, height + WC),
        "HappyTake": Duty("HappyTake", OPERATOR, height + WC, height + WC + WA),
        "AssertTimeout_0": Duty("AssertTimeout_0", ANYONE, height + WC + WA, height + WC + WA + WD),
        "Forfeit": Duty("Forfeit", ANYONE, height + WC + WA + WD + WF, None),
    }
    play.check_now()
    play.check_starts()


def test_a_happy_take_in_its_last_block(play: Play) -> None:
    """Until its deadline nothing can take the bond away from it; from then on AssertTimeout can."""
    play.send("KickOff")
    deadline = play.duties()["HappyTake"].deadline
    assert deadline is not None
    rival = play.make("AssertTimeout_0")
    play.stage.mine_to(deadline - 2)
    assert not rival.test(play.stage.node).allowed
    assert play.send("HappyTake") == deadline - 1
    assert (play.now().state, play.now().duties) == ("HappyTake", ())
    assert "missingorspent" in rival.test(play.stage.node).reason


def test_a_happy_take_that_came_too_late(play: Play) -> None:
    play.send("KickOff")
    take, deadline = play.make("HappyTake"), play.duties()["HappyTake"].deadline
    assert deadline is not None
    play.stage.mine_to(deadline - 1)
    assert play.send("AssertTimeout_0") == deadline
    assert "missingorspent" in take.test(play.stage.node).reason


def test_a_challenge(play: Play) -> None:
    height = play.send("KickOff")
    play.send("Challenge")
    assert play.now().state == "Challenge"
    assert play.duties() == {
        "CooperativePayout": Duty("CooperativePayout", COMMITTEE, height, height + WC + WA + WD),
        "Assert": Duty("Assert", OPERATOR, height + 1, height + WC + WA),
        "AssertTimeout_0": Duty("AssertTimeout_0", ANYONE, height + WC + WA, height + WC + WA + WD),
        "Forfeit": Duty("Forfeit", ANYONE, height + WC + WA + WD + WF, None),
    }
    play.check_now()
    play.check_starts()


def test_an_assertion_in_its_last_block(play: Play) -> None:
    height = play.send("KickOff")
    play.send("Challenge")
    deadline = play.duties()["Assert"].deadline
    assert deadline is not None
    play.stage.mine_to(deadline - 2)
    assert play.send("Assert") == deadline - 1
    assert "AssertTimeout_0" not in play.duties()
    play.stage.mine_to(height + WC + WA + WD - 1)
    assert play.send("UnhappyTake") == height + WC + WA + WD


def test_a_wrong_answer(play: Play) -> None:
    height = play.send("KickOff")
    play.send("Challenge")
    play.stage.confirm(play.answer(lie(play.setup.program, play.setup.program.run(()).values)), "")
    assert play.now().state == "Assert"
    assert play.duties() == {
        "CooperativePayout": Duty("CooperativePayout", COMMITTEE, height, height + WC + WA + WD),
        "Disprove": Duty("Disprove", ANYONE, height + 1, height + WC + WA + WD),
        "UnhappyTake": Duty("UnhappyTake", OPERATOR, height + WC + WA + WD, height + WC + WA + WD + WF),
        "Forfeit": Duty("Forfeit", ANYONE, height + WC + WA + WD + WF, None),
    }
    play.check_now()
    play.check_starts()


def test_a_disproof_in_its_last_block(play: Play) -> None:
    play.send("KickOff")
    play.send("Challenge")
    play.stage.confirm(play.answer(lie(play.setup.program, play.setup.program.run(()).values)), "")
    deadline = play.duties()["Disprove"].deadline
    assert deadline is not None
    take = play.make("UnhappyTake")
    play.stage.mine_to(deadline - 2)
    assert play.send("Disprove") == deadline - 1
    assert "missingorspent" in take.test(play.stage.node).reason
    assert play.now().state == "Disprove"
    assert list(play.duties()) == ["CooperativePayout"]


def test_the_other_endings(play: Play) -> None:
    height = play.send("KickOff")
    play.stage.mine_to(height + WC + WA + WD + WF - 1)
    assert play.send("Forfeit") == height + WC + WA + WD + WF
    assert play.now().state == "Forfeit"
    assert "HappyTake" not in play.duties()
    # What is left of an abandoned claim may still be played, but the bond is gone.
    assert set(play.duties()) == {"CooperativePayout", "Challenge"}
    play.send("CooperativePayout")
    assert play.now().state == "CooperativePayout"


def test_before_anything_confirms(stage: Stage) -> None:
    setup = deposit(stage)
    elsewhere = replace(setup, outpoint=replace(setup.outpoint, vout=1_000))
    found = status(elsewhere.graph, stage.node)
    assert (found.state, found.events, found.duties) == ("unfunded", (), ())


def test_a_claim_coin_that_went_elsewhere(play: Play) -> None:
    """The operator spent its claim coin on something else: nobody can claim, and status does not invent a KickOff."""
    wallet = play.stage.wallets[Role.OPERATOR]
    (claim,) = [coin for coin in wallet.coins() if coin.outpoint == play.setup.claim]
    everything = [coin.outpoint for coin in wallet.coins() if coin.outpoint != claim.outpoint]
    only = replace(wallet, reserved=frozenset(everything))
    funded = only.pay([TxOut(claim.output.amount // 2, play.stage.wallets[Role.CHALLENGER].script_pubkey)])
    play.stage.confirm(Prepared("elsewhere", funded), "")
    found = play.now()
    assert [event.name for event in found.events if event.txid == funded.tx.txid_hex] == [OTHER]
    assert "KickOff" not in play.duties()
    with pytest.raises(NodeRejected):
        play.send("KickOff")


def test_identify(play: Play) -> None:
    graph: Graph = play.setup.graph
    assert identify(graph, graph["HappyTake"].tx) == "HappyTake"
    assert identify(graph, play.make("Challenge").tx) == "Challenge"
    assert identify(graph, play.stage.miner.pay([TxOut(1_000, play.stage.miner.script_pubkey)]).tx) == OTHER


def test_identify_tells_two_spends_of_one_output_apart(stage: Stage) -> None:
    graph = set_up(stage).setup.graph
    assert identify(graph, graph["PegIn"].tx) == "PegIn"
    assert identify(graph, graph["PegInRefund"].tx) == "PegInRefund"
