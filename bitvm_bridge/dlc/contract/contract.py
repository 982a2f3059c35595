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
SCRIPT_INPUT_VSIZE: Final = 82.75
"""vB: an input with one signature of a leaf that has at most one beside it."""
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


class OutputDocument(Document, frozen=True):
    """An output: sat, script in hex."""

    amount: int
    script: str


class ReopeningDocument(Document, frozen=True):
    """What a contract reopens."""

    inputs: list[CoinDocument]
    payments: list[OutputDocument]
    shares: list[int]


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
    reopens: ReopeningDocument | None = None


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
        if len(self.coins) > MAX_COINS or len({coin.outpoint for coin in self.coins}) != len(self.coins):
            raise BadInput("coins", len(self.coins), f"at most {MAX_COINS} different ones")
        for coin in self.coins:
            check_script("script of a coin", coin.output.script_pubkey)
            if not 0 < coin.output.amount <= MAX_MONEY:
                raise BadInput(f"coin {coin.outpoint}", coin.output.amount, f"1 to {MAX_MONEY:,} sat")

    def change(self, share: int, fee_rate: int, common: float = COMMON_VSIZE / 2) -> int:
        """sat that come back to it when it puts in `share`; below dust there is no such output.

        It pays for its coins, its change and `common` vB of the rest. One that puts nothing in, as when a contract
        replaces another, has no coins and pays nothing. Raises BadInput where its coins do not suffice.
        """
        if not self.coins and not share:
            return 0
        brought = sum(coin.output.amount for coin in self.coins)
        vsize = INPUT_VSIZE * len(self.coins) + OUTPUT_VSIZE + common
        rest = brought - share - math.ceil(vsize * fee_rate)
        if rest < 0:
            raise BadInput("coins", f"{brought:,} sat", f"{brought - rest:,} sat or more, the fee included")
        return rest

    def document(self) -> SideDocument:
        """As JSON carries it."""
        return SideDocument(self.identity.hex(), self.key.hex(), self.payout.hex(), _coins_document(self.coins))

    @classmethod
    def from_document(cls, document: SideDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        identity, key = from_hex("identity key", document.identity, 32), from_hex("contract key", document.key, 33)
        return cls(identity, key, from_hex("payout script", document.payout), _coins(document.coins))


@dataclass(frozen=True)
class Reopening:
    """The outputs of another contract that a new one is funded from, and who is paid for what is not locked again.

    `inputs` begin with the other contract's collateral; its stake follows where that goes back to its oracle. `shares`
    are the sat that the new offerer and the new accepter add.
    """

    inputs: tuple[Coin, ...]
    payments: tuple[TxOut, ...]
    shares: tuple[int, int]

    def __post_init__(self) -> None:
        if not self.inputs:
            raise BadInput("reopening", "no input", "the collateral of another contract")
        for payment in self.payments:
            check_script("script of a payment", payment.script_pubkey)
            if not DUST <= payment.amount <= MAX_MONEY:
                raise BadInput("payment", payment.amount, f"{DUST} to {MAX_MONEY:,} sat")
        if min(self.shares) < 0:
            raise BadInput("share", min(self.shares), "0 sat or more")

    @property
    def vsize(self) -> float:
        """vB that it adds to a funding transaction: script path inputs, and payments."""
        return SCRIPT_INPUT_VSIZE * len(self.inputs) + OUTPUT_VSIZE * len(self.payments)

    def document(self) -> ReopeningDocument:
        """As JSON carries it."""
        return ReopeningDocument(_coins_document(self.inputs), outputs_document(self.payments), list(self.shares))

    @classmethod
    def from_document(cls, document: ReopeningDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        if len(document.shares) != 2:
            raise BadInput("shares", len(document.shares), "two, of the offerer and the accepter")
        shares = (document.shares[0], document.shares[1])
        return cls(_coins(document.inputs), read_outputs(document.payments), shares)


@dataclass(frozen=True)
class Agreement:
    """What the offerer and the accepter have said; the oracle's part is still to come.

    `reopens` is there where another contract ends in the funding of this one.
    """

    terms: Terms
    offerer: Side
    accepter: Side
    reopens: Reopening | None = None

    def __post_init__(self) -> None:
        """Raises BadInput for a key or coin of both, or where coins do not pay for a share."""
        if len({self.offerer.key[1:], self.accepter.key[1:]}) != 2:
            raise BadInput("contract key", self.accepter.key, "another than the offerer's")
        if self.offerer.identity == self.accepter.identity:
            raise BadInput("identity", self.accepter.identity, "another than the offerer's")
        outpoints = [coin.outpoint for coin in self._coins]
        if len(set(outpoints)) != len(outpoints):
            raise BadInput("coins", len(set(outpoints)), f"{len(outpoints)} different ones, of one party each")
        brought = sum(coin.output.amount for coin in self.reopens.inputs) if self.reopens else 0
        paid = sum(payment.amount for payment in self.reopens.payments) if self.reopens else 0
        if brought + sum(share for _, share in self.sides) != self.terms.collateral + paid:
            raise BadInput("shares", sum(share for _, share in self.sides), f"{self.terms.collateral + paid - brought}")
        _ = self.funding

    @property
    def sides(self) -> tuple[tuple[Side, int], ...]:
        """Each party and what it puts in."""
        shares = self.reopens.shares if self.reopens else (self.terms.offerer_share, self.terms.accepter_share)
        return ((self.offerer, shares[0]), (self.accepter, shares[1]))

    @property
    def _coins(self) -> list[Coin]:
        """In the order of the funding transaction's inputs."""
        joint = self.reopens.inputs if self.reopens else ()
        return [*joint, *self.offerer.coins, *self.accepter.coins]

    @cached_property
    def id(self) -> bytes:
        """32 bytes: the contract's, and what its computation is about."""
        parts: list[object] = [self.terms.document(), self.offerer.document(), self.accepter.document()]
        if self.reopens is not None:
            parts.append(self.reopens.document())
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
        """Unsigned: the offerer's coins, then the accepter's, to the collateral and their changes.

        What it reopens is spent first, and paid out last; who puts coins in pays for that, the offerer if both do.
        """
        joint = self.reopens.vsize if self.reopens else 0
        payer = self.offerer if self.offerer.coins else self.accepter
        both = all(side.coins for side, _ in self.sides)
        changes = []
        for side, share in self.sides:
            common = COMMON_VSIZE / (2 if both else 1) + (joint if side is payer else 0)
            if (change := side.change(share, self.terms.fee_rate, common)) >= DUST:
                changes.append(TxOut(change, side.payout))
        payments = self.reopens.payments if self.reopens else ()
        inputs = tuple(TxIn(coin.outpoint, SEQUENCE_RBF) for coin in self._coins)
        locked = TxOut(self.collateral.amount, self.collateral.script_pubkey)
        return Transaction(2, inputs, (locked, *changes, *payments))

    @property
    def funding_spent(self) -> tuple[TxOut, ...]:
        """The output that each input of the funding transaction spends."""
        return tuple(coin.output for coin in self._coins)


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
            self.terms.document(),
            agreement.offerer.document(),
            agreement.accepter.document(),
            self.oracle.document(),
            agreement.reopens.document() if agreement.reopens else None,
        )

    def to_json(self) -> bytes:
        """The document as JSON text."""
        return encode(self.document())

    @classmethod
    def from_document(cls, document: ContractDocument) -> Self:
        """Inverse of `document`. Raises BadInput and VerificationFailed."""
        terms = Terms.from_document(document.terms)
        reopens = Reopening.from_document(document.reopens) if document.reopens else None
        offerer, accepter = Side.from_document(document.offerer), Side.from_document(document.accepter)
        agreement = Agreement(terms, offerer, accepter, reopens)
        return cls(agreement, OracleSide.from_document(document.oracle, terms.spec.values))


def stake_claim(contract: bytes, key: bytes, stake: OutPoint) -> bytes:
    """32 bytes that the announcing key signs: this key and this stake are its own, in this contract."""
    return tagged_hash("BitVMBridge/stake", contract, key, stake.serialize())


def outputs_document(outputs: Sequence[TxOut]) -> list[OutputDocument]:
    """Outputs as JSON carries them."""
    return [OutputDocument(output.amount, output.script_pubkey.hex()) for output in outputs]


def read_outputs(documents: Sequence[OutputDocument]) -> tuple[TxOut, ...]:
    """Inverse of `outputs_document`. Raises BadInput."""
    return tuple(TxOut(each.amount, from_hex("script of an output", each.script)) for each in documents)


def _coins_document(coins: Sequence[Coin]) -> list[CoinDocument]:
    return [CoinDocument(str(coin.outpoint), coin.output.amount, coin.output.script_pubkey.hex()) for coin in coins]


def _coins(documents: Sequence[CoinDocument]) -> tuple[Coin, ...]:
    return tuple(
        Coin(OutPoint.parse(each.outpoint, "coin"), TxOut(each.amount, from_hex("script of a coin", each.script)))
        for each in documents
    )


def check_script(field: str, script: bytes) -> None:
    """Raises BadInput for a script that is not P2TR."""
    if len(script) != SCRIPT_SIZE or script[:2] != b"\x51\x20" or not secp.is_xonly(script[2:]):
        raise BadInput(field, script, f"a P2TR script ({SCRIPT_SIZE} bytes)")


def _check_person(identity: bytes, key: bytes, payout: bytes) -> None:
    secp.check_xonly("identity key", identity)
    if not secp.is_point(key):
        raise BadInput("contract key", key, "a compressed public key (33 bytes)")
    check_script("payout script", payout)
