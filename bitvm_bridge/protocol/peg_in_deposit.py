from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.template import Coins, Free, Output, Party, Pay, Template


class PegInDeposit(Template):
    """The depositor puts money where the committee can confirm it and, later, the depositor can take it back."""

    sender = Party.DEPOSITOR
    version = 2
    presigned = False
    coins = Coins(Party.DEPOSITOR)
    deposit = Output(connectors.deposit)
    note = Pay(to=connectors.refund_note, amount=lambda _: 0)
    change = Free(to=Party.DEPOSITOR)
