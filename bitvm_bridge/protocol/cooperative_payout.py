from bitvm_bridge.protocol.peg_in import PegIn
from bitvm_bridge.protocol.template import Anchor, Free, Party, Spend, Template


class CooperativePayout(Template):
    """The whole committee agrees to pay a withdrawer straight from the vault: one for each exit."""

    sender = Party.COMMITTEE
    presigned = False
    indexed = PegIn.vault
    vault = Spend(PegIn.vault, leaf="covenant", signer=Party.COMMITTEE)
    payout = Free(to=Party.WITHDRAWER)
    anchor = Anchor()
