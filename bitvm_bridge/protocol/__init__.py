"""The protocol as data: every transaction is declared once, and everything else is derived from the declaration."""

from typing import Final

from bitvm_bridge.protocol.assert_timeout import AssertTimeout
from bitvm_bridge.protocol.assertion import Assert
from bitvm_bridge.protocol.challenge import Challenge
from bitvm_bridge.protocol.claim_funding import ClaimFunding
from bitvm_bridge.protocol.cooperative_payout import CooperativePayout
from bitvm_bridge.protocol.disprove import Disprove
from bitvm_bridge.protocol.forfeit import Forfeit
from bitvm_bridge.protocol.happy_take import HappyTake
from bitvm_bridge.protocol.instance import Deposit, Instance, Request, check_exit, instance_id, wallet_script
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.peg_in import PegIn
from bitvm_bridge.protocol.peg_in_deposit import PegInDeposit
from bitvm_bridge.protocol.peg_in_refund import PegInRefund
from bitvm_bridge.protocol.peg_out import PegOut
from bitvm_bridge.protocol.template import Party, Template
from bitvm_bridge.protocol.unhappy_take import UnhappyTake

DEPOSIT_TEMPLATES: Final[tuple[type[Template], ...]] = (PegInDeposit, PegInRefund, PegIn, CooperativePayout)
"""The transactions of a deposit, in the order in which one spends another."""

INSTANCE_TEMPLATES: Final[tuple[type[Template], ...]] = (
    PegOut,
    ClaimFunding,
    KickOff,
    Challenge,
    HappyTake,
    Assert,
    AssertTimeout,
    UnhappyTake,
    Disprove,
    Forfeit,
)
"""The transactions of an instance, in the order in which one spends another."""

__all__ = [
    "DEPOSIT_TEMPLATES",
    "INSTANCE_TEMPLATES",
    "Assert",
    "AssertTimeout",
    "Challenge",
    "ClaimFunding",
    "CooperativePayout",
    "Deposit",
    "Disprove",
    "Forfeit",
    "HappyTake",
    "Instance",
    "KickOff",
    "Party",
    "PegIn",
    "PegInDeposit",
    "PegInRefund",
    "PegOut",
    "Request",
    "Template",
    "UnhappyTake",
    "check_exit",
    "instance_id",
    "wallet_script",
]
