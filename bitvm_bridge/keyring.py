"""The keys of a data directory: those whose seed is here, those of another wallet, and members' keys for deposits.

A committee member has a random key for every deposit, so that it can be deleted: what a seed yields can be had again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from embit.base import EmbitError
from embit.descriptor import Descriptor
from embit.descriptor.checksum import checksum
from embit.networks import NETWORKS

from bitvm_bridge import records, secp
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import ExternalKey, KeyOrigin, Role, SecretKey, Seed, WalletKey
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.store import MemberKey, Store

EXTERNAL: Final = "external key"
_EXPECTED: Final = (
    "an x-only key (64 hex digits), or a descriptor tr([fingerprint/path]key) with a public key of a testnet"
)


class ExternalDocument(Document, frozen=True):
    """A public key, and how the wallet that can sign with it finds it."""

    key: str
    fingerprint: str
    path: list[int]


def add_seed(store: Store, name: str, seed: Seed) -> None:
    """Keep a seed. Raises BadInput where the name is taken, by an external key too."""
    _check_free(store, seed.role, name)
    store.add_seed(name, seed)


def restore_seed(store: Store, name: str, seed: Seed) -> None:
    """Keep a seed that comes from a backup; it may be there already. Raises BadInput where the name has another key."""
    if name not in names(store, seed.role):
        store.add_seed(name, seed)
    elif name not in store.seed_names(seed.role) or store.seed(seed.role, name) != seed:
        raise BadInput(f"{seed.role} name", name, "a name that has no other key")


def add_external(store: Store, role: Role, name: str, key: ExternalKey) -> None:
    """Keep the public half of a key that another wallet holds.

    An operator's one-time keys cannot live in a wallet, so that it gets a seed for these. Raises BadInput where the
    name is taken.
    """
    document = ExternalDocument(key.xonly.hex(), key.origin.fingerprint.hex(), list(key.origin.path))
    _check_free(store, role, name)
    if role is Role.OPERATOR:
        store.add_seed(name, Seed.generate(role))
    store.put(EXTERNAL, _id(role, name), encode(document))


def wallet_key(store: Store, role: Role, name: str) -> WalletKey:
    """The key of a name's coins. Raises BadInput where there is none, or where its passphrase was not given."""
    raw = store.get(EXTERNAL, _id(role, name))
    return store.seed(role, name).wallet_key() if raw is None else _external(raw)


def signing_key(store: Store, role: Role, name: str, instead: str = "") -> SecretKey:
    """The same for what signs unasked. Raises BadInput for another wallet's key, and says what to do `instead`."""
    key = wallet_key(store, role, name)
    if isinstance(key, ExternalKey):
        where = "one whose key is in this data directory; another wallet holds this one"
        raise BadInput(f"{role} name", name, f"{where}: {instead}" if instead else where)
    return key


def speaker(store: Store, role: Role, name: str) -> Seed:
    """The seed whose identity key speaks in an exchange. Raises BadInput where there is none."""
    if name not in store.seed_names(role) and store.get(EXTERNAL, _id(role, name)) is not None:
        where = "one with a seed in this data directory; another wallet holds this one and signs no documents"
        raise BadInput(f"{role} name", name, f"{where}: `{role.group} keygen --name OTHER` makes one that does")
    return store.seed(role, name)


def names(store: Store, role: Role) -> list[str]:
    """Every name that has a key of this role."""
    prefix = _id(role, "")
    external = [key.removeprefix(prefix).decode() for key, _ in store.items(EXTERNAL, prefix)]
    return sorted({*store.seed_names(role), *external})


def member_key(store: Store, name: str, request_id: bytes) -> SecretKey:
    """A member's key for a deposit, made when it is first asked for. Raises BridgeError where it was deleted."""
    keep_member_keys(store, request_id, {name: _member_key(store, name, request_id)})
    return _member_key(store, name, request_id)


def missing_member_key(store: Store, name: str, setup: DepositSetup) -> str:
    """Why a member cannot sign for a deposit any more, or never could; empty where it can."""
    for kept in store.member_keys(setup.request.id):
        if kept.member == name and kept.deleted is not None:
            return f"member {name!r} deleted its key for this deposit at {kept.deleted}, in block {kept.height}"
    key = _member_key(store, name, setup.request.id)
    return "" if key.public in setup.committee.keys.values() else f"member {name!r} has no key of this deposit here"


def member_keys(store: Store, request_id: bytes) -> dict[str, SecretKey]:
    """Every member's key for a deposit; those that are new are not kept yet. Raises BridgeError as `member_key`."""
    return {name: _member_key(store, name, request_id) for name in store.seed_names(Role.COMMITTEE)}


def keep_member_keys(store: Store, request_id: bytes, keys: Mapping[str, SecretKey]) -> None:
    """Keep members' keys for a deposit; those that are there already stay what they are."""
    with store.transaction():
        for name, key in keys.items():
            if not _is_derived(store, name, request_id):
                store.add_member_key(name, request_id, key.public, key.reveal())


def _member_key(store: Store, name: str, request_id: bytes) -> SecretKey:
    kept = store.member_secret(name, request_id)
    if kept is not None:
        return SecretKey(kept)
    if _is_derived(store, name, request_id):
        return store.seed(Role.COMMITTEE, name).committee_key(request_id)
    return SecretKey.generate()


def _is_derived(store: Store, name: str, request_id: bytes) -> bool:
    """Does a deposit have the key that the member's seed yields, as all had before there was one for each deposit?

    Raises BadInput for an unknown member.
    """
    seed = store.seed(Role.COMMITTEE, name)
    if store.get(records.DEPOSIT, request_id) is None:
        return False
    members = records.load_deposit(store, request_id.hex()).committee.keys
    return seed.committee_key(request_id).public in members.values()


@dataclass(frozen=True)
class Deleted:
    """A member's key that signs no more. `derived`: its seed could still yield it."""

    key: MemberKey
    derived: bool


def delete_member_keys(store: Store, setup: DepositSetup, names: Sequence[str], height: int) -> list[Deleted]:
    """Delete members' keys for a deposit, for good, and record when (height: the chain's); no name is all of them.

    The record comes first and stands even where wiping the file fails. Raises BadInput for a name that has no key of
    the deposit's committee here, BridgeError where another process keeps the file from being wiped.
    """
    request_id, when = setup.request.id, datetime.now(UTC).isoformat(timespec="seconds")
    own = _members_here(store, setup)
    for name in names or [""] * (not own):
        if name not in own:
            raise BadInput("member", name, f"one that has a key of this deposit here ({', '.join(own) or 'none'})")
    chosen = names or list(own)
    derived = {name: _is_derived(store, name, request_id) for name in chosen}
    with store.transaction():
        for name in chosen:
            store.delete_member_key(name, request_id, own[name], when, height)
    store.wipe()
    return [Deleted(key, derived[key.member]) for key in store.member_keys(request_id) if key.member in chosen]


def _members_here(store: Store, setup: DepositSetup) -> dict[str, bytes]:
    """Name here → public key (33 bytes), for the keys of a deposit's committee that this data directory has or had."""
    kept = {key.member: key.public for key in store.member_keys(setup.request.id)}
    found = {}
    for name in store.seed_names(Role.COMMITTEE):
        public = kept.get(name) or store.seed(Role.COMMITTEE, name).committee_key(setup.request.id).public
        if public in setup.committee.keys.values():
            found[name] = public
    return found


def external_keys(store: Store) -> list[ExternalKey]:
    """Every key that another wallet holds."""
    return [_external(raw) for _, raw in store.items(EXTERNAL)]


def _external(raw: bytes) -> ExternalKey:
    document = decode(raw, ExternalDocument, EXTERNAL)
    origin = KeyOrigin(bytes.fromhex(document.fingerprint), tuple(document.path))
    return ExternalKey(bytes.fromhex(document.key), origin)


def _check_free(store: Store, role: Role, name: str) -> None:
    if name in names(store, role):
        raise BadInput(f"{role} name", name, "a name that has no key yet")


def _id(role: Role, name: str) -> bytes:
    return f"{role}/{name}".encode()


def parse_external(text: str, index: int = 0, field: str = "external key") -> ExternalKey:
    """An x-only key in hex, or the key of a BIP86 descriptor: `tr([fingerprint/path]tpub…/0/*)`, its child `index`.

    A checksum is checked where there is one. Raises BadInput; a private key is refused and never shown.
    """
    text = text.strip()
    if not text.startswith("tr("):
        return ExternalKey.bare(_xonly(field, text))
    body, mark, found = text.partition("#")
    if not body.isascii() or (mark and found != checksum(body)):
        raise BadInput(field, found, "the checksum of this descriptor")
    try:
        parsed = Descriptor.from_string(body)
        secret = any(key.is_private for key in parsed.keys)
        key = parsed.derive(index).key
    except (EmbitError, ValueError, AssertionError, LookupError, RuntimeError, AttributeError):
        raise BadInput(field, "the one given", _EXPECTED) from None
    if secret:
        raise BadInput(field, "a private key", _EXPECTED)
    if parsed.taptree or (parsed.key.is_extended and parsed.key.key.version != NETWORKS["test"]["xpub"]):
        raise BadInput(field, "the one given", _EXPECTED)
    if key.fingerprint is None:
        return ExternalKey.bare(bytes(key.xonly()))
    return ExternalKey(bytes(key.xonly()), KeyOrigin(bytes(key.fingerprint), tuple(key.derivation)))


def _xonly(field: str, text: str) -> bytes:
    """A public key in hex. What is something else may be secret, and is not shown."""
    try:
        return secp.check_xonly(field, from_hex(field, text, 32))
    except BadInput:
        raise BadInput(field, "the one given", _EXPECTED) from None
