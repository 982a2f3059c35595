"""Every key of every role, from one seed per role; and the addresses of those keys."""

import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self

from bitcoinutils import bech32
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import Network
from bitvm_bridge.taproot import tap_tweak
from scripts_tapleaf.hashing import hash160
from scripts_tapleaf.script import num, push

SEED_SIZE: Final = 32
_SALT: Final = b"bitvm-bridge/keys/1"
MAX_WITNESS_VERSION: Final = 16
MAX_WITNESS_PROGRAM: Final = 40
"""bytes (BIP141)."""


class Role(StrEnum):
    """Who a seed belongs to."""

    DEPOSITOR = "depositor"
    WITHDRAWER = "withdrawer"
    OPERATOR = "operator"
    COMMITTEE = "committee"
    CHALLENGER = "challenger"
    COUNCIL = "council"
    ORACLE = "oracle"
    PARTY = "party"

    @property
    def group(self) -> str:
        """The group of commands that makes and shows its keys."""
        return f"dlc {self}" if self in (Role.ORACLE, Role.PARTY) else str(self)


@dataclass(frozen=True)
class SecretKey:
    """A secp256k1 secret key that never shows itself."""

    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        """Raises BadInput, without showing it, for what is no scalar from 1 to the group order less one."""
        if not secp.is_secret_key(self._secret):
            raise BadInput("secret key", f"{len(self._secret)} bytes", "a secret key of secp256k1 (32 bytes)")

    @classmethod
    def generate(cls) -> Self:
        """Fresh from the operating system's randomness."""
        while not secp.is_secret_key(candidate := secrets.token_bytes(SEED_SIZE)):
            pass
        return cls(candidate)

    @property
    def public(self) -> bytes:
        """33 bytes, compressed."""
        return secp.public_key(self._secret)

    @property
    def xonly(self) -> bytes:
        """32 bytes (BIP340)."""
        return secp.xonly_public_key(self._secret)

    def sign(self, message: bytes) -> bytes:
        """BIP340 signature (64 bytes) of 32 bytes."""
        return secp.sign(self._secret, message)

    def sign_key_path(self, message: bytes) -> bytes:
        """The same under the BIP86 output key: what spends the key's own wallet script."""
        return secp.sign(secp.tweak_secret_key(self._secret, tap_tweak(self.xonly)), message)

    def sign_ecdsa(self, digest: bytes) -> bytes:
        """ECDSA signature in DER of 32 bytes: what signs the blocks of a signet."""
        return secp.ecdsa_der(secp.ecdsa_sign(self._secret, digest))

    def reveal(self) -> bytes:
        """The 32 secret bytes, for a MuSig2 session."""
        return self._secret


SIGNATURE_PLACEHOLDER: Final = bytes(64)
"""Stands where a signature belongs that is still to be made; no key ever makes it."""


@dataclass(frozen=True)
class KeyOrigin:
    """How another wallet finds a key: the fingerprint of its master key (4 bytes) and the BIP32 path from there."""

    fingerprint: bytes
    path: tuple[int, ...] = ()

    @property
    def serialized(self) -> bytes:
        """As a PSBT has it (BIP174): the fingerprint, then each step of the path in 4 bytes, little-endian."""
        return self.fingerprint + b"".join(step.to_bytes(4, "little") for step in self.path)


@dataclass(frozen=True)
class ExternalKey:
    """A key that only another wallet can sign with: a placeholder stands for each of its signatures until it has."""

    xonly: bytes
    origin: KeyOrigin

    def __post_init__(self) -> None:
        secp.check_xonly("public key", self.xonly)

    @classmethod
    def bare(cls, xonly: bytes) -> Self:
        """A key without a master: by convention it is found by its own fingerprint."""
        return cls(xonly, KeyOrigin(hash160(b"\x02" + xonly)[:4]))

    def sign(self, _: bytes) -> bytes:
        """Room for the signature of 32 bytes."""
        return SIGNATURE_PLACEHOLDER

    def sign_key_path(self, _: bytes) -> bytes:
        """Room for the same under the BIP86 output key."""
        return SIGNATURE_PLACEHOLDER


WalletKey = SecretKey | ExternalKey
"""What owns coins."""


@dataclass(frozen=True)
class Seed:
    """32 secret bytes from which every key of one role comes."""

    role: Role
    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._secret) != SEED_SIZE:
            raise BadInput("seed", f"{len(self._secret)} bytes", f"{SEED_SIZE} bytes")

    @classmethod
    def generate(cls, role: Role) -> Self:
        """Fresh from the operating system's randomness."""
        return cls(role, secrets.token_bytes(SEED_SIZE))

    def wallet_key(self) -> SecretKey:
        """The key of the role's own coins; an operator's is also its key `O` in every script."""
        return self._key("wallet")

    def identity_key(self) -> SecretKey:
        """The key that signs what this party says to the others; it owns no coins."""
        return self._key("identity")

    def oracle_key(self) -> SecretKey:
        """The key that announces events and attests to their outcomes; it owns no coins."""
        return self._key("oracle")

    def committee_key(self, request_id: bytes) -> SecretKey:
        """A committee member's key for one deposit, and for no other, where it need not be deleted; see `keyring`."""
        return self._key("committee", request_id)

    def contract_key(self, context: bytes) -> SecretKey:
        """A contract party's key in one contract; `context` (bytes of any length) is used for no other."""
        return self._key("contract", context)

    def winternitz_seed(self) -> bytes:
        """32 bytes from which the one-time keys of every instance and value are derived."""
        return self._expand("winternitz")

    def reveal(self) -> bytes:
        """The 32 secret bytes, for the encrypted store."""
        return self._secret

    def _key(self, purpose: str, context: bytes = b"") -> SecretKey:
        for attempt in range(256):
            candidate = self._expand(purpose, context + bytes([attempt]))
            if secp.is_secret_key(candidate):
                return SecretKey(candidate)
        raise RuntimeError("256 scalars out of range: the hash function is broken")

    def _expand(self, purpose: str, context: bytes = b"") -> bytes:
        return hkdf_sha256(self._secret, _SALT, b"/".join((self.role.encode(), purpose.encode(), context)))


def hkdf_sha256(secret: bytes, salt: bytes, info: bytes) -> bytes:
    """32 bytes of HKDF-SHA256 (RFC 5869)."""
    return HKDF(SHA256(), SEED_SIZE, salt, info).derive(secret)


def address(script_pubkey: bytes, network: Network) -> str:
    """The segwit address of a script. Raises BadInput for a script that has none."""
    program = script_pubkey[2:]
    for version in range(MAX_WITNESS_VERSION + 1) if len(program) <= MAX_WITNESS_PROGRAM else ():
        if script_pubkey == num(version) + push(program):
            text = bech32.encode(network.hrp, version, list(program))
            if text is not None:
                return str(text)
    raise BadInput("script", script_pubkey, "a segwit output script")


def parse_address(text: str, network: Network, field: str = "address") -> bytes:
    """The script of a segwit address of this network. Raises BadInput, naming the network of a wrong one."""
    text = text.strip()
    hrp = text.lower().rpartition("1")[0]
    if hrp != network.hrp:
        names = {"bc": "a mainnet", "tb": "a signet or testnet", "bcrt": "a regtest"}
        raise BadInput(field, text, f"an address of {network} ({network.hrp}1…)" + _but(names.get(hrp)))
    if bech32.bech32_decode(text)[0] is None:
        raise BadInput(field, text, "a segwit address with a valid checksum")
    version, program = bech32.decode(network.hrp, text)
    if version is None:
        raise BadInput(field, text, "a segwit address: its witness version, length or kind of checksum is wrong")
    return num(version) + push(bytes(program))


def _but(kind: str | None) -> str:
    return f"; it is {kind} address" if kind else ""
