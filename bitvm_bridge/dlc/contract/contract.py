"""A contract as its three signers know it: everything that fixes its transactions, and nothing that is secret."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Self

import msgspec

from bitvm_bridge import secp
from bitvm_bridge.dlc.contract.terms import Terms, TermsDocument
from bitvm_bridge.documents import Document, encode, from_hex
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.params import DUST
from bitvm_bridge.program import Value
from bitvm_bridge.protocol import Party
from bitvm_bridge.protocol.instance import canonical
from bitvm_bridge.protocol.template import Connector, Leaf
from bitvm_bridge.setup import parse_keys, split_bundles
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.taproot import tagged_hash
from bitvm_bridge.transaction import MAX_MONEY, SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf import covenant, winternitz

MAX_COINS: Final = 50
SCRIPT_SIZE: Final = 34
"""bytes of a P2TR script: coins and payouts are of no other kind."""
INPUT_VSIZE: Final = 57.5
OUTPUT_VSIZE: Final = 43
COMMON_VSIZE: Final = 12 + OUTPUT_VSIZE
"""vB of the funding transaction without inputs and changes, rounded up; each party pays for half of it."""


class CoinDocument(Document, frozen=True):
    """A coin: outpoint, sat, script in hex."""

    outpoint: str
    amount: int
    script: str


class SideDocument(Document, frozen=True):
    """A party's part."""

    identity: str
    key: str
    payout: str
    coins: list[CoinDocument]


class OracleDocument(Document, frozen=True):
    """The oracle's part; `keys` are its one-time keys in hex."""

    identity: str
    key: str
    payout: str
    stake: str
    keys: list[str]
    proof: str


class ContractDocument(Document, frozen=True):
    """A whole contract."""

    terms: TermsDocument
    offerer: SideDocument
    accepter: SideDocument
    oracle: OracleDocument


@dataclass(frozen=True)
class Coin:
    """An unspent output that a party puts in."""

    outpoint: OutPoint
    output: TxOut


@dataclass(frozen=True)
class Side:
    """One party: the key that signs its messages (32 bytes), its key in the contract (33), where it is paid (a P2TR
    script of 34 bytes, change included), and its coins, which are P2TR and spent by key path.
    """

    identity: bytes
    key: bytes
    payout: bytes
    coins: tuple[Coin, ...]

    def __post_init__(self) -> None:
        _check_person(self.identity, self.key, self.payout)
        if not 1 <= len(self.coins) <= MAX_COINS or len({coin.outpoint for coin in self.coins}) != len(self.coins):
            raise BadInput("coins", len(self.coins), f"1 to {MAX_COINS} different ones")
        for coin in self.coins:
            check_script("script of a coin", coin.output.script_pubkey)
            if not 0 < coin.output.amount <= MAX_MONEY:
                raise BadInput(f"coin {coin.outpoint}", coin.output.amount, f"1 to {MAX_MONEY:,} sat")

    def change(self, share: int, fee_rate: int) -> int:
        """sat that come back to it when it puts in `share`; below dust there is no such output.

        Raises BadInput where its coins do not suffice.
        """
        brought = sum(coin.output.amount for coin in self.coins)
        vsize = INPUT_VSIZE * len(self.coins) + OUTPUT_VSIZE + COMMON_VSIZE / 2
        rest = brought - share - math.ceil(vsize * fee_rate)
        if rest < 0:
            raise BadInput("coins", f"{brought:,} sat", f"{brought - rest:,} sat or more, the fee included")
        return rest

    def document(self) -> SideDocument:
        """As JSON carries it."""
        coins = [
            CoinDocument(str(coin.outpoint), coin.output.amount, coin.output.script_pubkey.hex()) for coin in self.coins
        ]
        return SideDocument(self.identity.hex(), self.key.hex(), self.payout.hex(), coins)

    @classmethod
    def from_document(cls, document: SideDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        coins = tuple(
            Coin(OutPoint.parse(coin.outpoint, "coin"), TxOut(coin.amount, from_hex("script of a coin", coin.script)))
            for coin in document.coins
        )
        identity, key = from_hex("identity key", document.identity, 32), from_hex("contract key", document.key, 33)
        return cls(identity, key, from_hex("payout script", document.payout), coins)


@dataclass(frozen=True)
class Agreement:
    """What the offerer and the accepter have said; the oracle's part is still to come."""

    terms: Terms
    offerer: Side
    accepter: Side

    def __post_init__(self) -> None:
        """Raises BadInput for a key or coin of both, or where coins do not pay for a share."""
        if len({self.offerer.key[1:], self.accepter.key[1:]}) != 2:
            raise BadInput("contract key", self.accepter.key, "another than the offerer's")
        if self.offerer.identity == self.accepter.identity:
            raise BadInput("identity", self.accepter.identity, "another than the offerer's")
        own, others = ({coin.outpoint for coin in side.coins} for side in (self.offerer, self.accepter))
        if own & others:
            raise BadInput("coins", min(own & others), "coins of one party each")
        _ = self.funding

    @property
    def sides(self) -> tuple[tuple[Side, int], ...]:
        """Each party and what it puts in."""
        return ((self.offerer, self.terms.offerer_share), (self.accepter, self.terms.accepter_share))

    @cached_property
    def id(self) -> bytes:
        """32 bytes: the contract's, and what its computation is about."""
        parts = [self.terms.document(), self.offerer.document(), self.accepter.document()]
        return tagged_hash("BitVMBridge/contract", canonical(msgspec.to_builtins(parts)))

    @cached_property
    def pair(self) -> Committee:
        """Both parties: their aggregate key holds the collateral."""
        return Committee(((Party.OFFERER, self.offerer.key), (Party.ACCEPTER, self.accepter.key)))

    @cached_property
    def collateral(self) -> Connector:
        """What both parties put in; only both together spend it, or one of them with what the oracle signed."""
        leaf = Leaf("pair", covenant.signed(self.pair.key))
        return Connector(self.terms.collateral, (leaf,), key=self.pair.key if self.terms.key_path else None)

    @cached_property
    def funding(self) -> Transaction:
        """Unsigned: the offerer's coins, then the accepter's, to the collateral and their changes."""
        coins = [coin for side, _ in self.sides for coin in side.coins]
        changes = [
            TxOut(change, side.payout)
            for side, share in self.sides
            if (change := side.change(share, self.terms.fee_rate)) >= DUST
        ]
        inputs = tuple(TxIn(coin.outpoint, SEQUENCE_RBF) for coin in coins)
        return Transaction(2, inputs, (TxOut(self.collateral.amount, self.collateral.script_pubkey), *changes))

    @property
    def funding_spent(self) -> tuple[TxOut, ...]:
        """The output that each input of the funding transaction spends."""
        return tuple(coin.output for side, _ in self.sides for coin in side.coins)


@dataclass(frozen=True)
class OracleSide:
    """The oracle: identity, key in the contract, where it is paid, the first stake output, and its one-time keys.

    `proof` is the signature of the contract by the key that announced the event.
    """

    identity: bytes
    key: bytes
    payout: bytes
    stake: OutPoint
    one_time_keys: tuple[winternitz.PublicKey, ...]
    proof: bytes

    def __post_init__(self) -> None:
        _check_person(self.identity, self.key, self.payout)

    def document(self) -> OracleDocument:
        """As JSON carries it."""
        keys = [key.serialize().hex() for key in self.one_time_keys]
        return OracleDocument(
            self.identity.hex(), self.key.hex(), self.payout.hex(), str(self.stake), keys, self.proof.hex()
        )

    @classmethod
    def from_document(cls, document: OracleDocument, values: Sequence[Value]) -> Self:
        """Inverse of `document` for a program of these values. Raises BadInput."""
        return cls(
            from_hex("oracle's identity key", document.identity, 32),
            from_hex("oracle's contract key", document.key, 33),
            from_hex("oracle's payout script", document.payout),
            OutPoint.parse(document.stake, "stake"),
            parse_keys(document.keys, values),
            from_hex("oracle's proof", document.proof, 64),
        )


@dataclass(frozen=True)
class Contract:
    """An agreement with its oracle: every transaction follows from it."""

    agreement: Agreement
    oracle: OracleSide

    def __post_init__(self) -> None:
        """Raises BadInput for an oracle that is a party; VerificationFailed for one that did not announce the event."""
        parties = (self.agreement.offerer, self.agreement.accepter)
        if self.oracle.key[1:] in {side.key[1:] for side in parties}:
            raise BadInput("oracle's contract key", self.oracle.key, "another than a party's")
        if self.oracle.identity in {side.identity for side in parties}:
            raise BadInput("oracle's identity", self.oracle.identity, "another than a party's")
        claim = stake_claim(self.id, self.oracle.key, self.oracle.stake)
        if not secp.verify(self.terms.announcement.key, claim, self.oracle.proof):
            raise VerificationFailed("stake: the key that announced the event did not sign for it")

    @property
    def terms(self) -> Terms:
        """Of the agreement."""
        return self.agreement.terms

    @property
    def id(self) -> bytes:
        """32 bytes: of the agreement."""
        return self.agreement.id

    @cached_property
    def trio(self) -> Committee:
        """Both parties and the oracle: their aggregate key holds the stake."""
        return Committee((*self.agreement.pair.members, (Party.ORACLE, self.oracle.key)))

    @property
    def pair(self) -> Committee:
        """Of the agreement."""
        return self.agreement.pair

    @cached_property
    def bundles(self) -> tuple[tuple[winternitz.PublicKey, ...], ...]:
        """The one-time keys that each stake output opens."""
        return split_bundles(self.oracle.one_time_keys)

    @property
    def identities(self) -> dict[str, bytes]:
        """Who signs messages as whom."""
        agreement = self.agreement
        return {
            Party.OFFERER: agreement.offerer.identity,
            Party.ACCEPTER: agreement.accepter.identity,
            Party.ORACLE: self.oracle.identity,
        }

    def document(self) -> ContractDocument:
        """As JSON carries it."""
        agreement = self.agreement
        return ContractDocument(
            self.terms.document(), agreement.offerer.document(), agreement.accepter.document(), self.oracle.document()
        )

    def to_json(self) -> bytes:
        """The document as JSON text."""
        return encode(self.document())

    @classmethod
    def from_document(cls, document: ContractDocument) -> Self:
        """Inverse of `document`. Raises BadInput and VerificationFailed."""
        terms = Terms.from_document(document.terms)
        agreement = Agreement(terms, Side.from_document(document.offerer), Side.from_document(document.accepter))
        return cls(agreement, OracleSide.from_document(document.oracle, terms.spec.values))


def stake_claim(contract: bytes, key: bytes, stake: OutPoint) -> bytes:
    """32 bytes that the announcing key signs: this key and this stake are its own, in this contract."""
    return tagged_hash("BitVMBridge/stake", contract, key, stake.serialize())


def check_script(field: str, script: bytes) -> None:
    """Raises BadInput for a script that is not P2TR."""
    if len(script) != SCRIPT_SIZE or script[:2] != b"\x51\x20" or not secp.is_xonly(script[2:]):
        raise BadInput(field, script, f"a P2TR script ({SCRIPT_SIZE} bytes)")


def _check_person(identity: bytes, key: bytes, payout: bytes) -> None:
    secp.check_xonly("identity key", identity)
    if not secp.is_point(key):
        raise BadInput("contract key", key, "a compressed public key (33 bytes)")
    check_script("payout script", payout)
