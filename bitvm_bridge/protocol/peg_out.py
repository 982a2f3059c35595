from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.template import Coins, Free, Party, Pay, Template
from bitvm_bridge.taproot import SigHash


class PegOut(Template):
    """An operator pays a withdrawing user from its own coins and names the instance it will claim from."""

    sender = Party.OPERATOR
    version = 2
    presigned = False
    withdrawal = Coins(Party.WITHDRAWER, SigHash.SINGLE_ANYONECANPAY)
    funding = Coins(Party.OPERATOR)
    payout = Free(to=Party.WITHDRAWER)
    instance = Pay(to=connectors.instance_marker, amount=lambda _: 0)
    change = Free(to=Party.OPERATOR)
