"""The keys of a data directory: those whose seed is here, and those that another wallet holds."""

from typing import Final

from embit.base import EmbitError
from embit.descriptor import Descriptor
from embit.descriptor.checksum import checksum
from embit.networks import NETWORKS

from bitvm_bridge import secp
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import ExternalKey, KeyOrigin, Role, SecretKey, Seed, WalletKey
from bitvm_bridge.store import Store
from scripts_tapleaf.hashing import hash160

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


def signing_key(store: Store, role: Role, name: str) -> SecretKey:
    """The same for what signs unasked. Raises BadInput for a key that another wallet holds, too."""
    key = wallet_key(store, role, name)
    if isinstance(key, ExternalKey):
        raise BadInput(f"{role} name", name, "one whose key is in this data directory; another wallet holds this one")
    return key


def names(store: Store, role: Role) -> list[str]:
    """Every name that has a key of this role."""
    prefix = _id(role, "")
    external = [key.removeprefix(prefix).decode() for key, _ in store.items(EXTERNAL, prefix)]
    return sorted({*store.seed_names(role), *external})


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
        return _bare(_xonly(field, text))
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
        return _bare(bytes(key.xonly()))
    return ExternalKey(bytes(key.xonly()), KeyOrigin(bytes(key.fingerprint), tuple(key.derivation)))


def _xonly(field: str, text: str) -> bytes:
    """A public key in hex. What is something else may be secret, and is not shown."""
    try:
        return secp.check_xonly(field, from_hex(field, text, 32))
    except BadInput:
        raise BadInput(field, "the one given", _EXPECTED) from None


def _bare(xonly: bytes) -> ExternalKey:
    """A key without a master: by convention it is found by its own fingerprint."""
    return ExternalKey(xonly, KeyOrigin(hash160(b"\x02" + xonly)[:4]))
