"""The one door to libsecp256k1: x-only keys, taproot tweaks, BIP340 signatures and the MuSig2 primitives.

Everything secret is handled by the library's constant-time code; this module only moves bytes.
"""

import secrets
from typing import Final

from btclib_secp256k1 import keys, ssa, xonly
from btclib_secp256k1.musig import KeyAggCache, SecretNonce, Session, nonce_agg, nonce_gen, pubnonce_parse

from bitvm_bridge.errors import BadInput

DIGEST_SIZE: Final = 32
"""bytes: all that is ever signed here is a hash."""

__all__ = [
    "DIGEST_SIZE",
    "KeyAggCache",
    "SecretNonce",
    "Session",
    "check_xonly",
    "is_point",
    "is_public_nonce",
    "is_secret_key",
    "is_xonly",
    "nonce_agg",
    "nonce_gen",
    "public_key",
    "sign",
    "tweak_public_key",
    "tweak_secret_key",
    "verify",
    "xonly_public_key",
]


def is_point(public_key: bytes) -> bool:
    """Is this the 33-byte compressed encoding of a point?"""
    if len(public_key) != 33:
        return False
    try:
        keys.parse(public_key)
    except ValueError:
        return False
    return True


def is_xonly(public_key: bytes) -> bool:
    """Is this the 32-byte x coordinate of a point (BIP340)?"""
    return is_point(b"\x02" + public_key)


def check_xonly(field: str, public_key: bytes) -> bytes:
    """`public_key`, or BadInput where it is no point."""
    if not is_xonly(public_key):
        raise BadInput(field, public_key, "an x-only public key (32 bytes, a point of secp256k1)")
    return public_key


def public_key(secret_key: bytes) -> bytes:
    """33 bytes, compressed."""
    return bytes(keys.pubkey_from_prvkey(secret_key))


def xonly_public_key(secret_key: bytes) -> bytes:
    """32 bytes (BIP340)."""
    return public_key(secret_key)[1:]


def tweak_public_key(internal_key: bytes, tweak: bytes) -> tuple[bytes, int]:
    """Output key (32 bytes) and the parity of its y for an x-only internal key (BIP341 `taproot_tweak_pubkey`).

    Raises BadInput for an internal key that is no point.
    """
    try:
        key, parity = xonly.tweak_add(internal_key, tweak)
    except ValueError:
        raise BadInput("internal key", internal_key, "an x-only public key that the tweak can be added to") from None
    return bytes(key), parity


def tweak_secret_key(secret_key: bytes, tweak: bytes) -> bytes:
    """The secret key of `tweak_public_key` (BIP341 `taproot_tweak_seckey`)."""
    return bytes(xonly.prvkey_tweak_add(secret_key, tweak))


def sign(secret_key: bytes, message: bytes, aux: bytes | None = None) -> bytes:
    """BIP340 signature (64 bytes) of a 32-byte message, verified before it is returned.

    `aux` (32 bytes) defaults to fresh randomness. Raises BadInput for a message of another size.
    """
    if len(message) != DIGEST_SIZE:
        raise BadInput("message to sign", message, f"a digest of {DIGEST_SIZE} bytes")
    return bytes(ssa.sign(message, secret_key, secrets.token_bytes(32) if aux is None else aux))


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Is this a BIP340 signature of the message under the 32-byte x-only key? Junk of any length is False."""
    if len(signature) != 64 or not is_xonly(public_key):
        return False
    return bool(ssa.verify(message, public_key, signature))


def is_secret_key(candidate: bytes) -> bool:
    """Is this a 32-byte scalar from 1 to the group order less one?"""
    return bool(keys.prvkey_verify(candidate))


def is_public_nonce(candidate: bytes) -> bool:
    """Is this a MuSig2 public nonce: two compressed points (66 bytes, BIP327)?"""
    try:
        pubnonce_parse(candidate)
    except ValueError:
        return False
    return True
