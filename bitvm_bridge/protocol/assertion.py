from bitvm_bridge.protocol.challenge import Challenge
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.template import Coins, Free, Party, Spend, Template


class Assert(Template):
    """The challenged operator reveals, under one-time keys, the result of every step of its computation."""

    sender = Party.OPERATOR
    after = Challenge
    version = 2
    presigned = False
    assertion = Spend(KickOff.assertion, leaf="commit", signer=Party.OPERATOR, each=True)
    funding = Coins(Party.OPERATOR)
    change = Free(to=Party.OPERATOR)
