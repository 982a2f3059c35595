"""A party's contracts in its store, from the offer on: what was said, and what its own key of each comes from.

A contract is kept before a signature of it leaves the process, so that a restart never loses what others can use.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.dlc.classic.contract import Contract, Reading
from bitvm_bridge.dlc.classic.messages import ACCEPT, OFFER, SIGN, Accept, MessageType, Offer, Sign
from bitvm_bridge.dlc.classic.transactions import Party
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.dlc.oracle_documents import read_hashing
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.store import Store

KIND: Final = "classic contract"
FUNDING: Final = "DlcFunding"
"""What its coins are set aside for, and how its transaction is called."""
_MESSAGES: Final[dict[str, MessageType[Offer] | MessageType[Accept] | MessageType[Sign]]] = {
    "offer": OFFER,
    "accept": ACCEPT,
    "sign": SIGN,
}


class Side(StrEnum):
    """Which party is this one?"""

    OFFERER = "offerer"
    ACCEPTER = "accepter"


class ReadingDocument(Document, frozen=True):
    """How the other party's signatures read the offer; see `Reading`."""

    maximize: bool
    unlocked_parts: bool


class HeldDocument(Document, frozen=True):
    """What a store keeps beside the messages."""

    name: str
    side: Side
    salt: str
    hashing: str
    contract_id: str = ""
    reading: ReadingDocument | None = None


@dataclass(frozen=True)
class Entry:
    """A contract in a list: `ids` are the temporary one and, once there is one, the final one (32 bytes each)."""

    key: bytes
    name: str
    side: Side
    ids: tuple[bytes, ...]
    stage: str

    def __str__(self) -> str:
        return self.ids[0].hex()[:12]


@dataclass(frozen=True)
class Held:
    """A contract of the party called `name`; `salt` (32 bytes) is what its funding key is derived with.

    `reading` is what the other party's signatures, every one verified, are for; None before they are here.
    """

    name: str
    side: Side
    salt: bytes
    hashing: Hashing
    offer: Offer
    accept: Accept | None = None
    sign: Sign | None = None
    reading: Reading | None = None

    @property
    def temporary_id(self) -> bytes:
        """32 bytes, the offerer's choice: what a contract is found by."""
        return self.offer.temporary_id

    @property
    def key(self) -> bytes:
        """Where the store has it: two parties of one contract may share a store."""
        return self.temporary_id + self.name.encode()

    @property
    def stage(self) -> str:
        """How far the parties' words go: offered, accepted, signed."""
        if self.sign is not None:
            return "signed"
        return "offered" if self.accept is None else "accepted"

    @property
    def own(self) -> Party:
        """This party's part."""
        return self.offer.party if self.side is Side.OFFERER else self.accepted.party

    @property
    def other_key(self) -> bytes:
        """The other party's funding key (33 bytes)."""
        return self.accepted.party.funding_key if self.side is Side.OFFERER else self.offer.party.funding_key

    @cached_property
    def contract(self) -> Contract:
        """As the other party's signatures have it, once they are here. Raises BridgeError before it is accepted."""
        return Contract(self.offer, self.accepted.party, self.reading or Reading(self.hashing))

    @property
    def theirs(self) -> Accept | Sign:
        """The message with the other party's signatures. Raises BridgeError where it is not here yet."""
        found = self.accept if self.side is Side.OFFERER else self.sign
        if found is None or self.reading is None:
            wanted = "accept" if self.side is Side.OFFERER else "sign"
            raise BridgeError(f"{self}: the other party's {wanted} message is not here yet")
        return found

    @property
    def accepted(self) -> Accept:
        """The accept message. Raises BridgeError where there is none yet."""
        if self.accept is None:
            raise BridgeError(f"{self}: it is not accepted yet")
        return self.accept

    def __str__(self) -> str:
        return f"contract {self.temporary_id.hex()[:12]}"


def save(store: Store, held: Held) -> None:
    """Keep a contract, or what is new of it, and set its coins aside.

    Raises BridgeError where another version of it was kept meanwhile: a message, once here, never changes.
    """
    with store.transaction():
        known = store.get(KIND, held.key)
        if known is not None:
            _refuse_other(held, _load(store, held.key))
        for coin in held.own.inputs:
            store.reserve_coin(coin.outpoint, records.purpose(held.temporary_id, FUNDING))
        for name, message in _MESSAGES.items():
            said = getattr(held, name)
            if said is not None:
                store.put(_kind(name), held.key, message.encode(said))
        store.put(KIND, held.key, encode(_document(held)))


def forget(store: Store, held: Held) -> None:
    """A contract that will never be funded: its coins are free again, and its key is never used for another.

    Raises BridgeError where it is not what is kept any more.
    """
    with store.transaction():
        if _load(store, held.key) != held:
            raise BridgeError(f"{held}: it has changed meanwhile")
        store.delete(KIND, held.key)
        for name in _MESSAGES:
            store.delete(_kind(name), held.key)
        store.release_coins(records.purpose(held.temporary_id, FUNDING))
        for entry in entries(store):
            if entry.ids[0] == held.temporary_id:
                save(store, _load(store, entry.key))


def entries(store: Store) -> list[Entry]:
    """Every contract of every party here, without what was said."""
    found = []
    for key, raw in store.items(KIND):
        document = decode(raw, HeldDocument, KIND)
        ids = (key[:32], bytes.fromhex(document.contract_id)) if document.contract_id else (key[:32],)
        signed = store.get(_kind("sign"), key) is not None
        stage = "signed" if signed else "offered" if len(ids) == 1 else "accepted"
        found.append(Entry(key, document.name, document.side, ids, stage))
    return found


def known(store: Store, temporary_id: bytes, name: str) -> Held | None:
    """The party's contract with this temporary id."""
    key = temporary_id + name.encode()
    return None if store.get(KIND, key) is None else _load(store, key)


def find(store: Store, prefix: str, name: str) -> Held:
    """The party's contract whose temporary or final id begins so. Raises BadInput for none or several."""
    own = [entry for entry in entries(store) if entry.name == name]
    wanted = prefix.lower()
    matches = [entry for entry in own if any(each.hex().startswith(wanted) for each in entry.ids)]
    if len(matches) != 1 or len(prefix) < records.MIN_PREFIX:
        listed = ", ".join(map(str, own)) or "none yet"
        expected = f"the first {records.MIN_PREFIX} or more digits of one contract of party {name!r} (known: {listed})"
        raise BadInput("contract", prefix, expected)
    return _load(store, matches[0].key)


def accepted(store: Store, contract_id: bytes, name: str) -> Held:
    """The contract with this final id (32 bytes) that the party has accepted. Raises BadInput for none."""
    own = [entry for entry in entries(store) if (entry.name, entry.side) == (name, Side.ACCEPTER)]
    for entry in own:
        if contract_id in entry.ids[1:]:
            return _load(store, entry.key)
    listed = ", ".join(entry.ids[-1].hex()[:12] for entry in own) or "none"
    expected = f"that of a contract that party {name!r} has accepted (known: {listed})"
    raise BadInput("contract id of the sign message", contract_id, expected)


def _refuse_other(held: Held, there: Held) -> None:
    for name in ("side", "salt", "offer", "accept", "sign"):
        before = getattr(there, name)
        if before is not None and before != getattr(held, name):
            raise BridgeError(f"{held}: known with another {name}")


def _kind(message: str) -> str:
    return f"classic {message}"


def _document(held: Held) -> HeldDocument:
    read = held.reading
    reading = None if read is None else ReadingDocument(read.maximize, read.unlocked_parts)
    contract_id = "" if held.accept is None else held.contract.id.hex()
    return HeldDocument(held.name, held.side, held.salt.hex(), held.hashing.value, contract_id, reading)


def _load(store: Store, key: bytes) -> Held:
    document = decode(store.get(KIND, key) or b"", HeldDocument, KIND)
    hashing = read_hashing(document.hashing)
    raw = {name: store.get(_kind(name), key) for name in _MESSAGES}
    held = Held(
        document.name,
        document.side,
        from_hex("salt", document.salt, 32),
        hashing,
        OFFER.decode(raw["offer"] or b""),
        None if raw["accept"] is None else ACCEPT.decode(raw["accept"]),
        None if raw["sign"] is None else SIGN.decode(raw["sign"]),
    )
    read = document.reading
    return held if read is None else replace(held, reading=Reading(hashing, read.maximize, read.unlocked_parts))
