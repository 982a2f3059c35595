"""The transactions of a contract, declared: the first four are its own, the others there are for every outcome.

Lock times are epoch seconds and end the waiting for an oracle; relative locks count from its signature.
"""

from typing import Any, Final

from bitvm_bridge.dlc.contract import connectors
from bitvm_bridge.dlc.contract.connectors import Case
from bitvm_bridge.dlc.contract.contract import Contract
from bitvm_bridge.protocol.template import (
    ANY_LEAF,
    REST,
    Anchor,
    Coins,
    Free,
    Output,
    Party,
    Pay,
    Spend,
    Template,
)
from bitvm_bridge.taproot import SigHash


class Funding(Template):
    """Both parties lock their collateral and the oracle's fee."""

    sender = Party.OFFERER
    version = 2
    presigned = False
    offerer = Coins(Party.OFFERER)
    accepter = Coins(Party.ACCEPTER)
    collateral = Output(lambda contract: contract.agreement.collateral)
    change = Free(to=Party.PAIR)


class OracleStake(Template):
    """The oracle locks its stake: one, whatever it will sign."""

    sender = Party.ORACLE
    version = 2
    presigned = False
    coins = Coins(Party.ORACLE)
    stake = Output(connectors.stake, many=lambda contract: len(contract.bundles))
    change = Free(to=Party.ORACLE)


class OracleTimeout(Template):
    """The oracle signed nothing in time: a share of its stake burns, the parties have the rest."""

    sender = Party.PAIR
    stake = Spend(OracleStake.stake, leaf="timeout", signer=Party.TRIO, each=True)
    burn = Pay(to=connectors.sink, amount=lambda contract: contract.terms.burn)
    offerer = Pay(
        to=lambda contract: contract.agreement.offerer.payout, amount=lambda contract: contract.terms.reward // 2
    )
    accepter = Pay(to=lambda contract: contract.agreement.accepter.payout, amount=REST)
    anchor = Anchor()

    @classmethod
    def lock_time(cls, context: Any) -> int:
        """When the oracle's time to sign is over."""
        contract: Contract = context
        return contract.terms.sign_by


class Refund(Template):
    """Nothing was settled: each party has back what it put in."""

    sender = Party.PAIR
    collateral = Spend(Funding.collateral, leaf="pair", signer=Party.PAIR)
    offerer = Pay(
        to=lambda contract: contract.agreement.offerer.payout,
        amount=lambda contract: contract.terms.offerer_share,
        unless_dust=True,
    )
    accepter = Pay(
        to=lambda contract: contract.agreement.accepter.payout,
        amount=lambda contract: contract.terms.accepter_share,
        unless_dust=True,
    )
    anchor = Anchor()

    @classmethod
    def lock_time(cls, context: Any) -> int:
        """Later than any settlement."""
        contract: Contract = context
        return contract.terms.refund


class OracleSign(Template):
    """The oracle says on the chain what happened and how it computed it; its stake stands behind that."""

    sender = Party.ORACLE
    stake = Spend(OracleStake.stake, leaf="sign", signer=Party.TRIO, each=True)
    bond = Output(connectors.bond)
    disprove = Output(connectors.disprove)
    anchor = Anchor()


def _payouts() -> tuple[Pay, Pay]:
    """What an outcome pays the offerer and the accepter; what would be dust goes to the oracle."""

    def offerer(case: Case) -> int:
        return case.contract.terms.outcomes[case.outcome].payout

    def accepter(case: Case) -> int:
        return case.contract.terms.contract.total_collateral - offerer(case)

    return (
        Pay(to=lambda case: case.contract.agreement.offerer.payout, amount=offerer, unless_dust=True),
        Pay(to=lambda case: case.contract.agreement.accepter.payout, amount=accepter, unless_dust=True),
    )


class Settle(Template):
    """Nobody proved the oracle wrong: the parties are paid as its signature says, and the oracle has its bond and fee.

    The parties' signature of the collateral is locked by the attestation to this outcome.
    """

    sender = Party.ANYONE
    after = OracleSign
    collateral = Spend(Funding.collateral, leaf="pair", signer=Party.PAIR, locked=True)
    bond = Spend(OracleSign.bond, leaf="settle", signer=Party.TRIO)
    disprove = Spend(OracleSign.disprove, leaf="settle", signer=Party.TRIO)
    offerer, accepter = _payouts()
    oracle = Pay(to=lambda case: case.contract.oracle.payout, amount=REST)
    anchor = Anchor()


class Release(Template):
    """Nobody settled, as when the parties have closed by themselves: the oracle has its bond back.

    The signature is locked by its attestation, which it so publishes.
    """

    sender = Party.ORACLE
    after = OracleSign
    bond = Spend(OracleSign.bond, leaf="release", signer=Party.TRIO, locked=True)
    oracle = Pay(to=lambda case: case.contract.oracle.payout, amount=REST)
    anchor = Anchor()


class LateSettle(Template):
    """The parties are paid after the oracle had its bond back: with what that gave away."""

    sender = Party.PAIR
    after = OracleSign
    collateral = Spend(Funding.collateral, leaf="pair", signer=Party.PAIR, locked=True)
    disprove = Spend(OracleSign.disprove, leaf="settle", signer=Party.TRIO)
    offerer, accepter = _payouts()
    oracle = Pay(to=lambda case: case.contract.oracle.payout, amount=REST)
    anchor = Anchor()


class Disprove(Template):
    """What the oracle signed is wrong: whoever shows the check that proves it slashes the bond."""

    sender = Party.ANYONE
    after = OracleSign
    version = 2
    bond = Spend(OracleSign.bond, leaf="covenant", signer=Party.TRIO, sighash=SigHash.SINGLE)
    disprove = Spend(OracleSign.disprove, leaf=ANY_LEAF, signer=None)
    burn = Pay(to=connectors.sink, amount=lambda case: case.contract.terms.burn)
    reward = Free(to=Party.ANYONE)


class Forfeit(Template):
    """The oracle has signed and never attested: a share of its bond burns, the parties have the rest."""

    sender = Party.PAIR
    after = OracleSign
    bond = Spend(OracleSign.bond, leaf="forfeit", signer=Party.TRIO)
    burn = Pay(to=connectors.sink, amount=lambda case: case.contract.terms.burn)
    offerer = Pay(
        to=lambda case: case.contract.agreement.offerer.payout,
        amount=lambda case: case.contract.terms.reward // 2,
    )
    accepter = Pay(to=lambda case: case.contract.agreement.accepter.payout, amount=REST)
    anchor = Anchor()


CONTRACT_TEMPLATES: Final[tuple[type[Template], ...]] = (Funding, OracleStake, OracleTimeout, Refund)
OUTCOME_TEMPLATES: Final[tuple[type[Template], ...]] = (OracleSign, Settle, Release, LateSettle, Disprove, Forfeit)
