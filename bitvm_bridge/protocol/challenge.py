from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.template import Coins, Free, Party, Pay, Spend, Template
from bitvm_bridge.taproot import SigHash


class Challenge(Template):
    """Anyone pays the operator for its trouble and makes it assert; the operator signs this at set-up."""

    sender = Party.CHALLENGER
    version = 2
    presigned = False
    challenge = Spend(KickOff.challenge, leaf="challenge", signer=Party.OPERATOR, sighash=SigHash.SINGLE_ANYONECANPAY)
    funding = Coins(Party.CHALLENGER)
    payment = Pay(to=connectors.operator_wallet, amount=lambda instance: instance.params.challenge)
    change = Free(to=Party.CHALLENGER)
