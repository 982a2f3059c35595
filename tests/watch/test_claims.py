"""Which KickOff is false: every way in which a PegOut falls short."""

from dataclasses import dataclass, replace

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import Params
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.watch import history
from bitvm_bridge.watch.claims import Demands, Fault, Payment, ShareOfDeposit, is_paid
from bitvm_bridge.watch.claims import fault as judge
from bitvm_bridge.watch.history import Confirmed, History, Place
from bitvm_bridge.watch.machine import Event
from tests.watch.conftest import Told
from tests.watch.test_follower import truth_of

PAID = Params().peg_in * 99 // 100


@dataclass(frozen=True)
class Asked(Demands):
    """Somebody who knows what was asked for."""

    amount: int
    script_pubkey: bytes | None = None
    certain: bool = True

    def refresh(self) -> list[str]:
        return []

    def fault(self, setup: InstanceSetup, payment: Payment) -> Fault | None:
        if self.script_pubkey not in (None, payment.script_pubkey):
            return Fault("pays another script", self.certain)
        return None if payment.amount >= self.amount else Fault(f"pays {payment.amount:,} sat", self.certain)


def fault(tale: Told, found: History, demands: Demands) -> str:
    judged = judge(tale.setup, found, demands, coins(tale).get)
    assert judged is None or judged.words
    return judged.words if judged is not None else ""


def coins(tale: Told) -> dict[OutPoint, TxOut]:
    return {
        tx.outpoint(index): out
        for block in tale.blocks
        for tx in block.transactions
        for index, out in enumerate(tx.outputs)
    }


def with_peg_out(tale: Told, tx: Transaction | None, *, late: bool = False) -> History:
    """The story with another PegOut, or none."""
    confirmed = truth_of(tale)
    original = history.read(tale.setup.graph, confirmed).happened(Event.PEG_OUT)[0].confirmed
    kick_off = history.read(tale.setup.graph, confirmed).happened(Event.KICK_OFF)[0].confirmed
    rest = [item for item in confirmed if item.tx != original.tx]
    if tx is not None:
        place = replace(kick_off.place, position=kick_off.place.position + 1) if late else original.place
        rest.append(Confirmed(place, tx))
    return history.read(tale.setup.graph, sorted(rest, key=lambda item: item.place))


def peg_out(tale: Told) -> Transaction:
    return history.read(tale.setup.graph, truth_of(tale)).happened(Event.PEG_OUT)[0].confirmed.tx


@pytest.fixture
def tale(told: dict[str, Told]) -> Told:
    return told["happy"]


def test_a_true_claim(tale: Told) -> None:
    found = with_peg_out(tale, peg_out(tale))
    script = peg_out(tale).outputs[0].script_pubkey
    known = coins(tale)
    for demands in (Asked(PAID), Asked(PAID, script), Asked(0), ShareOfDeposit(99)):
        assert fault(tale, found, demands) == ""
        height = found.happened(Event.PEG_OUT)[0].confirmed.place.height
        assert is_paid(tale.setup, found, demands, known.get, height)
        assert not is_paid(tale.setup, found, demands, known.get, height - 1), "not deep enough"


def test_every_shortfall(tale: Told) -> None:
    good, known = peg_out(tale), coins(tale)
    signed = good.inputs[0]
    honest_signature = signed.witness[0]
    wrong = {
        "no PegOut names the instance": (None, Asked(PAID)),
        f"pays {PAID:,} sat, and {PAID + 1:,} are owed": (good, ShareOfDeposit((PAID + 1) / 1_000_000)),
        "pays another script": (good, Asked(PAID, b"\x51")),
        "is not signed by a withdrawer": (good.with_witness(0, (honest_signature[:-1] + b"\x01",)), Asked(PAID)),
        " is not signed by a withdrawer": (good.with_witness(0, (honest_signature, b"")), Asked(PAID)),
        "spends a coin of unknown value": (
            replace(good, inputs=(replace(signed, outpoint=OutPoint(bytes(32), 7)), *good.inputs[1:])),
            Asked(PAID),
        ),
    }
    for reason, (tx, demands) in wrong.items():
        found = with_peg_out(tale, tx)
        assert reason.strip() in fault(tale, found, demands), reason
        assert not is_paid(tale.setup, found, demands, known.get, 10**6)


def test_a_pegout_in_the_block_of_the_kick_off_counts_only_before_it(tale: Told) -> None:
    late = with_peg_out(tale, peg_out(tale), late=True)
    assert (
        late.happened(Event.PEG_OUT)[0].confirmed.place.height
        == late.happened(Event.KICK_OFF)[0].confirmed.place.height
    )
    assert "confirmed too late" in fault(tale, late, Asked(PAID))


def test_one_that_pays_makes_up_for_one_that_does_not(tale: Told) -> None:
    good = peg_out(tale)
    small = replace(good, outputs=(TxOut(330, good.outputs[0].script_pubkey), *good.outputs[1:]))
    confirmed = truth_of(tale)
    place = Place(tale.start, 50)
    both = history.read(tale.setup.graph, sorted([*confirmed, Confirmed(place, small)], key=lambda item: item.place))
    assert fault(tale, both, Asked(PAID)) == ""


def test_the_marker_counts_in_the_second_output_alone(tale: Told) -> None:
    good = peg_out(tale)
    moved = replace(good, outputs=(good.outputs[0], good.outputs[2], good.outputs[1]))
    assert "no PegOut names" in fault(tale, with_peg_out(tale, moved), Asked(PAID))


def test_without_a_kick_off_there_is_no_fault(tale: Told) -> None:
    confirmed = [item for item in truth_of(tale) if item.place.height <= tale.start + 1]
    assert fault(tale, history.read(tale.setup.graph, confirmed), Asked(PAID)) == ""


def test_it_is_certain_only_where_every_pegout_is(tale: Told) -> None:
    good = peg_out(tale)
    small = replace(good, outputs=(TxOut(330, good.outputs[0].script_pubkey), *good.outputs[1:]))
    both = sorted([*truth_of(tale), Confirmed(Place(tale.start, 50), small)], key=lambda item: item.place)
    found = history.read(tale.setup.graph, both)
    for certain in (True, False):
        judged = judge(tale.setup, found, Asked(PAID + 1, certain=certain), coins(tale).get)
        assert judged is not None
        assert judged.certain == certain
        assert judged.words.count("PegOut") == 2
    nobody = judge(tale.setup, with_peg_out(tale, None), Asked(PAID, certain=False), coins(tale).get)
    assert nobody == Fault("no PegOut names the instance")


@pytest.mark.parametrize("percent", [0, -1, 100.5, float("nan")])
def test_shares_that_are_none(percent: float) -> None:
    with pytest.raises(BadInput, match="share of the deposit"):
        ShareOfDeposit(percent)
