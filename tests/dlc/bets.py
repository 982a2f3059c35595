"""Contracts with a stake whose coins exist nowhere: for what is decided before any node is asked."""

from dataclasses import replace
from functools import cache
from typing import Any, Final

from bitvm_bridge.dlc import oracle
from bitvm_bridge.dlc.classic.messages import ContractEvent, SingleContract, SingleOracle
from bitvm_bridge.dlc.contract.contract import Agreement, Coin, Contract, OracleSide, Side, stake_claim
from bitvm_bridge.dlc.contract.moves import OracleKeys
from bitvm_bridge.dlc.contract.terms import Terms
from bitvm_bridge.dlc.oracle import Announcement, EnumEvent, Event, Hashing
from bitvm_bridge.dlc.payouts import EnumeratedPayouts, Payouts
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party, wallet_script
from bitvm_bridge.transaction import OutPoint, TxOut

KEYS: Final = {str(name): SecretKey(bytes([place]) * 32) for place, name in enumerate(Party, 50)}
"""Of each in the contract; identities and coins have others."""
ANNOUNCING: Final = SecretKey(bytes([40]) * 32)
NONCES: Final = tuple(SecretKey(bytes([100 + place]) * 32) for place in range(20))
MATURITY: Final = 1_800_000_000
COLLATERAL: Final = 1_000_000
WEATHER: Final = EnumEvent(("sun", "rain", "snow"))
PAYOUTS: Final = EnumeratedPayouts((("sun", 2 * COLLATERAL), ("rain", 0), ("snow", COLLATERAL)))


@cache
def announcement(event: Event = WEATHER, maturity: int = MATURITY) -> Announcement:
    """Of the event; always the same."""
    nonces = NONCES[: event.nonce_count]
    return oracle.announce(ANNOUNCING, nonces, maturity, event, "weather", Hashing.TAGGED)


def contract_of(event: Event = WEATHER, payouts: Payouts = PAYOUTS) -> SingleContract:
    """Over both collaterals."""
    return SingleContract(2 * COLLATERAL, ContractEvent(payouts, SingleOracle(announcement(event))))


def terms(**changes: Any) -> Terms:
    """Safe ones, with some fields changed."""
    values: dict[str, Any] = {
        "network": Network.REGTEST,
        "contract": contract_of(),
        "hashing": Hashing.TAGGED,
        "offerer_collateral": COLLATERAL,
        "oracle_fee": 1_001,
        "stake": COLLATERAL,
        "program": "hash-chain:2:1",
        "signing_time": 600,
        "dispute_window": 6,
        "grace_window": 3,
        "refund": MATURITY + 600 + 13 * 600 + 600,
        "fee_rate": 2,
        "salt": bytes(32),
        "margin": 600,
    }
    return Terms(**{**values, **changes})


def bet(*payouts: tuple[str, int]) -> SingleContract:
    """With other payouts of the weather."""
    return contract_of(payouts=EnumeratedPayouts(payouts))


def side(name: Party, amount: int = 3 * COLLATERAL) -> Side:
    """A party with one coin."""
    place = list(Party).index(name)
    coins = SecretKey(bytes([150 + place]) * 32)
    coin = Coin(OutPoint(bytes([place + 1]) * 32, 0), TxOut(amount, wallet_script(coins.xonly)))
    return Side(SecretKey(bytes([200 + place]) * 32).xonly, KEYS[name].public, wallet_script(coins.xonly), (coin,))


def agreement(**changes: Any) -> Agreement:
    """Between the two."""
    return Agreement(terms(**changes), side(Party.OFFERER), side(Party.ACCEPTER))


def staked(agreed: Agreement) -> Contract:
    """With the oracle's part."""
    keys = OracleKeys(ANNOUNCING, KEYS[Party.ORACLE], bytes(32))
    stake = OutPoint(b"\xee" * 32, 0)
    proof = ANNOUNCING.sign(stake_claim(agreed.id, keys.contract.public, stake))
    own = side(Party.ORACLE)
    oracle_side = OracleSide(own.identity, own.key, own.payout, stake, keys.one_time_keys(agreed), proof)
    return Contract(agreed, oracle_side)


def contract(**changes: Any) -> Contract:
    """All three."""
    return staked(agreement(**changes))


def other_oracle(made: Contract, **changes: Any) -> OracleSide:
    """Its oracle's part with some fields changed."""
    return replace(made.oracle, **changes)
