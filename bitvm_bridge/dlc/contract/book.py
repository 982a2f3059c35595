"""The contracts of a data directory: whose each is, what its key comes from, and its bundle once all have signed."""

from dataclasses import dataclass
from typing import Final

import msgspec

from bitvm_bridge.dlc.contract.contract import Contract, ContractDocument
from bitvm_bridge.dlc.contract.signing import Bundle, ContractGraphs
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role
from bitvm_bridge.protocol import Party
from bitvm_bridge.records import MIN_PREFIX
from bitvm_bridge.store import Store

KIND: Final = "staked contract"
BUNDLE: Final = "staked bundle"
SHARE: Final = "share of OracleSign"
SESSION_SIZE: Final = 32


class HeldDocument(Document, frozen=True):
    """What a store keeps of a contract beside what was said."""

    name: str
    party: str
    salt: str


class BundleDocument(Document, frozen=True):
    """A contract and its signatures by label, in hex."""

    contract: ContractDocument
    signatures: dict[str, str]


@dataclass(frozen=True)
class Held:
    """A contract of the key called `name`: its offer's id, which of the three it is, and what its key comes from."""

    session: bytes
    name: str
    party: Party
    salt: bytes

    @property
    def role(self) -> Role:
        """Whose key of that name it is."""
        return Role.ORACLE if self.party is Party.ORACLE else Role.PARTY

    @property
    def key(self) -> bytes:
        """Where the store has it: several of the three may share a store."""
        return self.session + f"{self.role}/{self.name}".encode()

    def __str__(self) -> str:
        return f"contract {self.session.hex()[:12]}"


def save(store: Store, held: Held) -> None:
    """Keep it. Raises BridgeError where this name has another part in it."""
    known = store.get(KIND, held.key)
    if known is not None and _read(held.key, known) != held:
        raise BridgeError(f"{held}: {held.name!r} has another part in it already")
    store.put(KIND, held.key, encode(HeldDocument(held.name, str(held.party), held.salt.hex())))


def everything(store: Store) -> list[Held]:
    """Every contract of every name here."""
    return [_read(key, raw) for key, raw in store.items(KIND)]


def find(store: Store, prefix: str, role: Role, name: str) -> Held:
    """The one contract that a key has a part in, and whose offer's id begins so. Raises BadInput."""
    own = [held for held in everything(store) if (held.role, held.name) == (role, name)]
    matches = [held for held in own if held.session.hex().startswith(prefix.lower())]
    if len(prefix) < MIN_PREFIX or len(matches) != 1:
        listed = ", ".join(held.session.hex()[:12] for held in own) or "none yet"
        expected = f"the first {MIN_PREFIX} or more digits of one contract of {name!r} (known: {listed})"
        raise BadInput("contract", prefix, expected)
    return matches[0]


def known(store: Store, session: bytes, role: Role, name: str) -> Held | None:
    """A contract of a key by the whole id of its offer."""
    return next(
        (each for each in everything(store) if (each.session, each.role, each.name) == (session, role, name)), None
    )


def save_bundle(store: Store, held: Held, bundle: Bundle) -> None:
    """Keep a verified bundle."""
    document = BundleDocument(bundle.contract.document(), bundle.to_json())
    store.put(BUNDLE, held.key, msgspec.json.encode(document))


def load_bundle(store: Store, held: Held) -> Bundle:
    """A contract with its signatures, verified again. Raises BridgeError where it is not signed yet."""
    raw = store.get(BUNDLE, held.key)
    if raw is None:
        raise BridgeError(f"{held}: it is not signed yet; `dlc sign` does that with the others")
    document = decode(raw, BundleDocument, "contract")
    graphs = ContractGraphs(Contract.from_document(document.contract))
    return Bundle.read(graphs, document.signatures)


def is_signed(store: Store, held: Held) -> bool:
    """Is its bundle here?"""
    return store.get(BUNDLE, held.key) is not None


def _read(key: bytes, raw: bytes) -> Held:
    document = decode(raw, HeldDocument, KIND)
    return Held(key[:SESSION_SIZE], document.name, Party(document.party), from_hex("salt", document.salt, 32))
