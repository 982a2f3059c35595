"""Two parties of a classic contract, and an oracle that says how it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bitvm_bridge.chain.node import Utxo
from bitvm_bridge.dlc import oracle
from bitvm_bridge.dlc.classic import negotiation
from bitvm_bridge.dlc.classic.checks import GENESIS
from bitvm_bridge.dlc.classic.contract import Contract, Reading
from bitvm_bridge.dlc.classic.messages import (
    PROTOCOL_VERSION,
    Accept,
    ContractEvent,
    Offer,
    Sign,
    SingleContract,
    SingleOracle,
)
from bitvm_bridge.dlc.classic.transactions import FundingInput, Party
from bitvm_bridge.dlc.oracle import Announcement, Attestation, EnumEvent, Hashing
from bitvm_bridge.dlc.payouts import EnumeratedPayouts
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.segwit import p2wpkh
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut

OFFERER, ACCEPTER = SecretKey(bytes([21]) * 32), SecretKey(bytes([22]) * 32)
"""Funding keys."""
OFFERER_COINS, ACCEPTER_COINS = SecretKey(bytes([31]) * 32), SecretKey(bytes([32]) * 32)
"""P2WPKH coins of the offerer, a wallet's own (P2TR) of the accepter."""
ORACLE, NONCE = SecretKey(bytes([41]) * 32), SecretKey(bytes([42]) * 32)
COLLATERAL: Final = 100_000_000
PAYOUTS: Final = (("win", 2 * COLLATERAL), ("half", COLLATERAL), ("dust", 999), ("lose", 0))
SCRIPTS: Final = (p2wpkh(OFFERER_COINS.public), wallet_script(ACCEPTER_COINS.xonly))
MAX_FEE_RATE: Final = 100.0


def announcement(hashing: Hashing = Hashing.PLAIN, maturity: int = 1_700_000_000) -> Announcement:
    """Of an event with four outcomes."""
    return oracle.announce(ORACLE, [NONCE], maturity, EnumEvent(tuple(dict(PAYOUTS))), "match", hashing)


def attestation(outcome: str, hashing: Hashing = Hashing.PLAIN) -> Attestation:
    """What the oracle says."""
    return oracle.attest(ORACLE, [NONCE], announcement(hashing), [outcome], hashing, lambda *_: None)


def coin(serial: int, script: bytes, amount: int = 2 * COLLATERAL) -> FundingInput:
    """An output that exists nowhere."""
    made = Transaction(2, (TxIn(OutPoint(bytes([serial % 256]) * 32, 0)),), (TxOut(amount, script),))
    return funding_input(serial, made, 0)


def funding_input(serial: int, made: Transaction, vout: int) -> FundingInput:
    """A coin as an input."""
    size = negotiation.P2WPKH_WITNESS if len(made.outputs[vout].script_pubkey) == 22 else negotiation.P2TR_WITNESS
    return FundingInput(serial, made.serialize(), vout, 0xFFFFFFFF, size)


def from_coins(serial: int, coins: Sequence[tuple[Utxo, Transaction]]) -> tuple[FundingInput, ...]:
    """Coins of a chain, with the transactions that made them."""
    return tuple(funding_input(serial + at, made, utxo.outpoint.vout) for at, (utxo, made) in enumerate(coins))


@dataclass(frozen=True)
class Negotiation:
    """Everything that two parties have said."""

    offer: Offer
    accept: Accept
    sign: Sign
    contract: Contract
    funding: Transaction


def offer(inputs: tuple[FundingInput, ...] | None = None, locks: tuple[int, int] = (100, 200)) -> Offer:
    """Half of the collateral, by the offerer."""
    party = Party(OFFERER.public, SCRIPTS[0], 7, COLLATERAL, inputs or (coin(5, SCRIPTS[0]),), SCRIPTS[0], 9)
    event = ContractEvent(EnumeratedPayouts(PAYOUTS), SingleOracle(announcement()))
    contract = SingleContract(2 * COLLATERAL, event)
    chain = GENESIS[Network.REGTEST]
    return Offer(PROTOCOL_VERSION, 0, chain, bytes([3]) * 32, contract, party, 8, 2, *locks)


def accepter(inputs: tuple[FundingInput, ...] | None = None) -> Party:
    """The other half."""
    return Party(ACCEPTER.public, SCRIPTS[1], 6, COLLATERAL, inputs or (coin(4, SCRIPTS[1]),), SCRIPTS[1], 10)


def accepted(terms: Offer, party: Party | None = None) -> Accept:
    """The accept message."""
    return negotiation.accept_offer(
        terms, party or accepter(), ACCEPTER, Network.REGTEST, MAX_FEE_RATE, Reading(Hashing.PLAIN), 1
    )


def signed(terms: Offer, accept: Accept) -> Sign:
    """The sign message."""
    arguments = OFFERER, OFFERER_COINS, Network.REGTEST, MAX_FEE_RATE, Hashing.PLAIN, 1
    return negotiation.sign_accepted(terms, accept, *arguments)[1]


def negotiate(terms: Offer, party: Party | None = None) -> Negotiation:
    """The whole of it."""
    accept = accepted(terms, party)
    sign = signed(terms, accept)
    contract, funding = negotiation.complete(terms, accept, sign, ACCEPTER_COINS, Hashing.PLAIN, 1)
    return Negotiation(terms, accept, sign, contract, funding)


def bent(signature: bytes) -> bytes:
    """With one bit changed."""
    return signature[:70] + bytes([signature[70] ^ 1]) + signature[71:]
