from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.claim_funding import ClaimFunding
from bitvm_bridge.protocol.template import KEY_PATH, Anchor, Output, Party, Spend, Template


class KickOff(Template):
    """The operator claims reimbursement and puts its bond at risk."""

    sender = Party.OPERATOR
    presigned = False
    claim = Spend(ClaimFunding.claim, leaf=KEY_PATH, signer=Party.OPERATOR)
    challenge = Output(connectors.challenge)
    bond = Output(connectors.bond)
    assertion = Output(connectors.assertion, many=lambda instance: len(instance.assertion))
    disprove = Output(connectors.disprove)
    anchor = Anchor()
