from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.template import Free, Party, Pay, Spend, Template
from bitvm_bridge.taproot import SigHash


class AssertTimeout(Template):
    """A challenged operator kept a part of its assertion back: the bond is slashed."""

    sender = Party.ANYONE
    indexed = KickOff.assertion
    bond = Spend(KickOff.bond, leaf="covenant", signer=Party.COMMITTEE, sighash=SigHash.SINGLE)
    assertion = Spend(KickOff.assertion, leaf="timeout", signer=Party.COMMITTEE, sighash=SigHash.NONE)
    burn = Pay(to=connectors.sink, amount=lambda instance: instance.params.burn)
    reward = Free(to=Party.ANYONE)
