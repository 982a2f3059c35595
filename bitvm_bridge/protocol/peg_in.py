from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.peg_in_deposit import PegInDeposit
from bitvm_bridge.protocol.template import Anchor, Output, Party, Spend, Template


class PegIn(Template):
    """The committee moves the deposit into the vault, one output for each exit.

    It signs this last, when every operator's graph verifies.
    """

    sender = Party.DEPOSITOR
    deposit = Spend(PegInDeposit.deposit, leaf="confirm", signer=Party.COMMITTEE)
    vault = Output(connectors.vault, many=lambda deposit: deposit.params.exits, own=lambda instance: instance.exit)
    anchor = Anchor()
