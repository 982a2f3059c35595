from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.template import Free, Party, Pay, Spend, Template
from bitvm_bridge.taproot import SigHash


class Forfeit(Template):
    """No ending happened in time: the bond is slashed, so that it can never be stuck."""

    sender = Party.ANYONE
    bond = Spend(KickOff.bond, leaf="forfeit", signer=Party.COMMITTEE, sighash=SigHash.SINGLE)
    burn = Pay(to=connectors.sink, amount=lambda instance: instance.params.burn)
    reward = Free(to=Party.ANYONE)
