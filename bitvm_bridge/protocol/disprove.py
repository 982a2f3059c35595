from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.assertion import Assert
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.template import ANY_LEAF, Free, Party, Pay, Spend, Template
from bitvm_bridge.taproot import SigHash


class Disprove(Template):
    """A step of the assertion is wrong: its leaf can be satisfied, and whoever shows it slashes the bond."""

    sender = Party.ANYONE
    after = Assert
    version = 2
    bond = Spend(KickOff.bond, leaf="covenant", signer=Party.COMMITTEE, sighash=SigHash.SINGLE)
    disprove = Spend(KickOff.disprove, leaf=ANY_LEAF, signer=None)
    burn = Pay(to=connectors.sink, amount=lambda instance: instance.params.burn)
    reward = Free(to=Party.ANYONE)
