from bitvm_bridge.protocol.peg_in_deposit import PegInDeposit
from bitvm_bridge.protocol.template import Free, Party, Spend, Template


class PegInRefund(Template):
    """The committee did not confirm in time: the depositor takes the deposit back."""

    sender = Party.DEPOSITOR
    version = 2
    presigned = False
    deposit = Spend(PegInDeposit.deposit, leaf="refund", signer=Party.DEPOSITOR)
    refund = Free(to=Party.DEPOSITOR)
