from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.template import Coins, Free, Party, Pay, Template


class ClaimFunding(Template):
    """The operator sets aside the exact coin that KickOff will spend: it fixes KickOff's txid before anyone signs."""

    sender = Party.OPERATOR
    version = 2
    presigned = False
    coins = Coins(Party.OPERATOR)
    claim = Pay(
        to=connectors.operator_wallet,
        amount=lambda instance: connectors.claim_amount(instance.params, len(instance.assertion)),
    )
    change = Free(to=Party.OPERATOR)
