"""Transactions that wait for the signatures of another wallet: kept with their coins, sent when they are complete."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Self

from bitvm_bridge import external, keyring, records
from bitvm_bridge.documents import Document, decode, encode
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.external import can_sign, wanted
from bitvm_bridge.keys import ExternalKey
from bitvm_bridge.psbt import Psbt
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.wallet import Funded, Prepared

UNSIGNED: Final = "unsigned transaction"


class OutputDocument(Document, frozen=True):
    """An output: sat, and its script in hex."""

    amount: int
    script: str


class FundedDocument(Document, frozen=True):
    """A transaction in hex, the outputs that it spends, and which of its inputs a wallet chose."""

    tx: str
    spent: list[OutputDocument]
    coins: list[str]


class UnsignedDocument(Document, frozen=True):
    """A transaction of a deposit or instance, the key that signs it, and the child that pays for it."""

    owner: str
    name: str
    key: str
    parent: FundedDocument
    child: FundedDocument | None


@dataclass(frozen=True)
class Unsigned:
    """A transaction whose missing signatures are all of one x-only key. `owner` is its deposit or instance."""

    owner: bytes
    key: bytes
    prepared: Prepared

    @property
    def id(self) -> bytes:
        """There is one of a name for each owner."""
        return self.owner + self.prepared.name.encode()

    @property
    def missing(self) -> int:
        """How many signatures are missing."""
        return sum(len(wanted(part)) for part in _parts(self.prepared))

    @property
    def is_challenge(self) -> bool:
        """Is it the operator's half of Challenge, which is kept and not sent?"""
        return self.prepared.name == records.CHALLENGE

    def likeness(self, signed: Psbt) -> tuple[bool, int]:
        """Is a PSBT of this transaction or of its child, and how many inputs does it share with one of them?"""
        parts = list(_parts(self.prepared))
        return any(part.tx.txid == signed.tx.txid for part in parts), max(_shared(signed, part) for part in parts)

    def sign(self, psbts: Sequence[Psbt]) -> Self:
        """With the signatures of these PSBTs, each verified. Raises VerificationFailed naming what is wrong."""
        prepared = self.prepared
        for signed in psbts:
            child = prepared.child
            if child is not None and _shared(signed, child) > _shared(signed, prepared.parent):
                prepared = replace(prepared, child=external.take(signed, child, self.key))
            else:
                prepared = replace(prepared, parent=external.take(signed, prepared.parent, self.key))
        return replace(self, prepared=prepared)


def _parts(prepared: Prepared) -> Iterator[Funded]:
    yield prepared.parent
    if prepared.child is not None:
        yield prepared.child


def _shared(signed: Psbt, part: Funded) -> int:
    return len({txin.outpoint for txin in signed.tx.inputs} & {txin.outpoint for txin in part.tx.inputs})


def is_unsigned(prepared: Prepared) -> bool:
    """Does a transaction, or its child, lack a signature?"""
    return any(wanted(part) for part in _parts(prepared))


def signer(store: Store, prepared: Prepared) -> ExternalKey:
    """The external key that can make every signature that is missing. Raises BridgeError where there is none."""
    for key in keyring.external_keys(store):
        if all(can_sign(key.xonly, part) for part in _parts(prepared)):
            return key
    raise BridgeError(f"{prepared.name}: no key of this data directory makes the signatures that it lacks")


def questions(prepared: Prepared, key: ExternalKey) -> list[Psbt]:
    """A PSBT for the transaction and one for its child, as far as they lack signatures."""
    return [external.ask(part, [key], prepared.makes) for part in _parts(prepared) if wanted(part)]


def hold(store: Store, unsigned: Unsigned) -> None:
    """Keep it, in the place of an earlier one of its name, and set its coins aside.

    Raises CoinTaken where another transaction has taken one of them.
    """
    own = records.purpose(unsigned.owner, unsigned.prepared.name)
    document = UnsignedDocument(
        unsigned.owner.hex(),
        unsigned.prepared.name,
        unsigned.key.hex(),
        _document(unsigned.prepared.parent),
        None if unsigned.prepared.child is None else _document(unsigned.prepared.child),
    )
    with store.transaction():
        records.refuse_taken(store, unsigned.owner, unsigned.prepared)
        for coin in sorted(unsigned.prepared.coins):
            store.reserve_coin(coin, own)
        store.put(UNSIGNED, unsigned.id, encode(document))


def held(store: Store) -> list[Unsigned]:
    """Everything that waits."""
    return [_read(decode(raw, UnsignedDocument, UNSIGNED)) for _, raw in store.items(UNSIGNED)]


def find(store: Store, signed: Psbt) -> Unsigned:
    """The one that a PSBT was made from, or that it is most like. Raises BadInput where it shares no input with any."""
    best = max(held(store), key=lambda item: item.likeness(signed), default=None)
    if best is None or not best.likeness(signed)[1]:
        raise BadInput("PSBT", signed.tx.txid_hex, "a transaction that waits here for signatures; see `psbt list`")
    return best


def drop(store: Store, unsigned: Unsigned) -> None:
    """It waits no more."""
    store.delete(UNSIGNED, unsigned.id)


def _document(part: Funded) -> FundedDocument:
    spent = [OutputDocument(out.amount, out.script_pubkey.hex()) for out in part.spent]
    return FundedDocument(part.tx.serialize().hex(), spent, [str(coin) for coin in sorted(part.coins)])


def _read(document: UnsignedDocument) -> Unsigned:
    child = None if document.child is None else _funded(document.child)
    prepared = Prepared(document.name, _funded(document.parent), child)
    return Unsigned(bytes.fromhex(document.owner), bytes.fromhex(document.key), prepared)


def _funded(document: FundedDocument) -> Funded:
    spent = tuple(TxOut(out.amount, bytes.fromhex(out.script)) for out in document.spent)
    coins = frozenset(map(OutPoint.parse, document.coins))
    return Funded(Transaction.parse_hex(document.tx), spent, coins)
