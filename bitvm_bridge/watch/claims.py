"""Is a claim true? A KickOff is, where a PegOut of the same instance confirmed before it and pays what is owed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from bitvm_bridge.errors import BadInput
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.watch.history import History, Place
from bitvm_bridge.watch.machine import Event

_SIGNATURE_SIZE: Final = 65
DEFAULT_SHARE: Final = 95.0
"""per cent of a deposit that a withdrawer must get where nobody knows what was asked for."""

FindCoin = Callable[[OutPoint], TxOut | None]
"""A confirmed output, spent or not."""


@dataclass(frozen=True)
class Payment:
    """What a PegOut has paid: `amount` sat beyond the withdrawer's own coin, to a script."""

    coin: OutPoint
    script_pubkey: bytes
    amount: int


@dataclass(frozen=True)
class Fault:
    """Why a claim is false, in words. `certain`: whatever the second layer may still tell."""

    words: str
    certain: bool = True


class Demands(Protocol):
    """Who knows what was asked for on the second layer."""

    def refresh(self) -> list[str]:
        """Hear what is new; a line for everything that was refused.

        Raises BridgeError where there may be more that was not heard: then no fault is acted on that is not certain.
        """

    def fault(self, setup: InstanceSetup, payment: Payment) -> Fault | None:
        """Why a payment is not what this instance is repaid for; None where it is."""


@dataclass(frozen=True)
class ShareOfDeposit(Demands):
    """Where no second layer is asked: a share of the deposit, to anyone.

    It cannot tell a withdrawer from an operator that pays itself; only a source that knows the request can.
    """

    percent: float = DEFAULT_SHARE

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise BadInput("share of the deposit", self.percent, "above 0 and at most 100 per cent")

    def least(self, setup: InstanceSetup) -> int:
        """sat: so many per cent of what the instance takes out of the vault."""
        return int(setup.deposit.request.params.exit_amount * self.percent // 100)

    def refresh(self) -> list[str]:
        """There is nobody to ask."""
        return []

    def fault(self, setup: InstanceSetup, payment: Payment) -> Fault | None:
        """Less than the share."""
        owed = self.least(setup)
        return None if payment.amount >= owed else Fault(f"pays {payment.amount:,} sat, and {owed:,} are owed")


def fault(setup: InstanceSetup, history: History, demands: Demands, coin: FindCoin) -> Fault | None:
    """Why the KickOff of this history is false; None where it is true or where there is none."""
    kick_offs = history.happened(Event.KICK_OFF)
    return _fault(setup, history, demands, coin, kick_offs[0].confirmed.place) if kick_offs else None


def is_paid(setup: InstanceSetup, history: History, demands: Demands, coin: FindCoin, height: int) -> bool:
    """Has a PegOut that pays what is owed confirmed at this height or below?"""
    return _fault(setup, history, demands, coin, Place(height + 1, 0)) is None


def _fault(setup: InstanceSetup, history: History, demands: Demands, coin: FindCoin, before: Place) -> Fault | None:
    """None where one PegOut is right; else what is wrong with each, certain where that is so of all of them."""
    found = []
    for item in history.happened(Event.PEG_OUT):
        tx, place = item.confirmed.tx, item.confirmed.place
        one = Fault("confirmed too late") if place >= before else _shortfall(setup, tx, demands, coin)
        if one is None:
            return None
        found.append(Fault(f"PegOut {tx.txid_hex} {one.words}", one.certain))
    words = "; ".join(one.words for one in found) or "no PegOut names the instance"
    return Fault(words, all(one.certain for one in found))


def _shortfall(setup: InstanceSetup, tx: Transaction, demands: Demands, coin: FindCoin) -> Fault | None:
    """What is wrong with a PegOut: its first input is the withdrawer's coin, its first output the payment."""
    signed, payout = tx.inputs[0], tx.outputs[0]
    item = signed.witness[0] if len(signed.witness) == 1 else b""
    if len(item) != _SIGNATURE_SIZE or item[-1] != SigHash.SINGLE_ANYONECANPAY:
        return Fault("is not signed by a withdrawer")
    spent = coin(signed.outpoint)
    if spent is None:
        return Fault("spends a coin of unknown value")
    return demands.fault(setup, Payment(signed.outpoint, payout.script_pubkey, payout.amount - spent.amount))
