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
class Demand:
    """What a withdrawer must be paid: at least `amount` sat beyond its own coin, and to a script where one is known."""

    amount: int
    script_pubkey: bytes | None = None


class Demands(Protocol):
    """Who knows what was asked for on the second layer."""

    def demand(self, setup: InstanceSetup) -> Demand:
        """What the withdrawal that an instance repays must pay."""


@dataclass(frozen=True)
class ShareOfDeposit:
    """Where no second layer is asked: a share of the deposit, to anyone.

    It cannot tell a withdrawer from an operator that pays itself; only a source that knows the request can.
    """

    percent: float = DEFAULT_SHARE

    def __post_init__(self) -> None:
        if not 0 < self.percent <= 100:
            raise BadInput("share of the deposit", self.percent, "above 0 and at most 100 per cent")

    def demand(self, setup: InstanceSetup) -> Demand:
        """So many per cent of what the instance takes out of the vault."""
        return Demand(int(setup.deposit.request.params.exit_amount * self.percent // 100))


def fault(history: History, demand: Demand, coin: FindCoin) -> str:
    """Why the KickOff of this history is false, in words; empty where it is true or where there is none."""
    kick_offs = history.happened(Event.KICK_OFF)
    return _fault(history, demand, coin, kick_offs[0].confirmed.place) if kick_offs else ""


def is_paid(history: History, demand: Demand, coin: FindCoin, height: int) -> bool:
    """Has a PegOut that pays what is owed confirmed at this height or below?"""
    return not _fault(history, demand, coin, Place(height + 1, 0))


def _fault(history: History, demand: Demand, coin: FindCoin, before: Place) -> str:
    reasons = []
    for item in history.happened(Event.PEG_OUT):
        tx, place = item.confirmed.tx, item.confirmed.place
        reason = "confirmed too late" if place >= before else _shortfall(tx, demand, coin)
        if not reason:
            return ""
        reasons.append(f"PegOut {tx.txid_hex} {reason}")
    return "; ".join(reasons) or "no PegOut names the instance"


def _shortfall(tx: Transaction, demand: Demand, coin: FindCoin) -> str:
    """What is wrong with a PegOut: its first input is the withdrawer's coin, its first output the payment."""
    signed, payout = tx.inputs[0], tx.outputs[0]
    item = signed.witness[0] if len(signed.witness) == 1 else b""
    if len(item) != _SIGNATURE_SIZE or item[-1] != SigHash.SINGLE_ANYONECANPAY:
        return "is not signed by a withdrawer"
    spent = coin(signed.outpoint)
    if spent is None:
        return "spends a coin of unknown value"
    if demand.script_pubkey is not None and payout.script_pubkey != demand.script_pubkey:
        return "pays another script than the one that was asked for"
    paid = payout.amount - spent.amount
    return "" if paid >= demand.amount else f"pays {paid:,} sat, and {demand.amount:,} are owed"
