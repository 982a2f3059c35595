from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.assertion import Assert
from bitvm_bridge.protocol.kick_off import KickOff
from bitvm_bridge.protocol.peg_in import PegIn
from bitvm_bridge.protocol.template import REST, Anchor, Party, Pay, Spend, Template


class UnhappyTake(Template):
    """Challenged, asserted and not disproved: the operator takes the deposit and its bond back."""

    sender = Party.OPERATOR
    after = Assert
    vault = Spend(PegIn.vault, leaf="covenant", signer=Party.COMMITTEE)
    disprove = Spend(KickOff.disprove, leaf="unhappy", signer=Party.COMMITTEE)
    bond = Spend(KickOff.bond, leaf="covenant", signer=Party.COMMITTEE)
    payout = Pay(to=connectors.operator_wallet, amount=REST)
    anchor = Anchor()
