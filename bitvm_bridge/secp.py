"""The one door to libsecp256k1: keys, taproot tweaks, BIP340 and ECDSA signatures, MuSig2, scalars and points.

Everything secret is handled by the library's constant-time code; this module only moves bytes.
"""

import secrets
from collections.abc import Sequence
from typing import Final

from btclib_secp256k1 import dsa, ecdh, hashes, keys, ssa, xonly
from btclib_secp256k1.musig import KeyAggCache, SecretNonce, Session, nonce_agg, nonce_gen, pubnonce_parse

from bitvm_bridge.errors import BadInput

DIGEST_SIZE: Final = 32
"""bytes: all that is ever signed here is a hash."""
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
"""The number of points of the group."""
PRE_SIGNATURE_SIZE: Final = 65
"""bytes of a Schnorr pre-signature: `r` and `s` as in BIP340, and 1 where the nonce was negated to have an even y."""
_INFINITY: Final = bytes(33)
"""How BIP327 writes the point at infinity in an aggregate nonce (`cbytes_ext`)."""

__all__ = [
    "DIGEST_SIZE",
    "ORDER",
    "PRE_SIGNATURE_SIZE",
    "KeyAggCache",
    "SecretNonce",
    "Session",
    "adapt",
    "add_points",
    "add_secrets",
    "challenge",
    "check_xonly",
    "ecdsa_der",
    "ecdsa_from_der",
    "ecdsa_low_s",
    "ecdsa_sign",
    "ecdsa_verify",
    "extract_adaptor",
    "invert_secret",
    "is_point",
    "is_public_nonce",
    "is_secret_key",
    "is_xonly",
    "linear_combination",
    "multiply_point",
    "multiply_secret",
    "negate_secret",
    "nonce_agg",
    "nonce_gen",
    "public_key",
    "shift_nonce",
    "sign",
    "sign_with_nonce",
    "signature_point",
    "tweak_public_key",
    "tweak_secret_key",
    "verify",
    "verify_presignature",
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


def challenge(nonce: bytes, public_key: bytes, message: bytes) -> bytes:
    """The challenge `e` of a BIP340 signature, a scalar, of x-only nonce, x-only key and message (32 bytes each)."""
    digest = hashes.tagged_sha256(b"BIP0340/challenge", nonce + public_key + message)
    return (int.from_bytes(digest, "big") % ORDER).to_bytes(32, "big")


def signature_point(nonce: bytes, public_key: bytes, message: bytes) -> bytes:
    """`s·G` of the BIP340 signature of a message under an x-only key and nonce: 33 bytes, known before `s` is.

    Raises BadInput where the nonce or the key is no point.
    """
    factor = int.from_bytes(challenge(check_xonly("nonce", nonce), check_xonly("key", public_key), message), "big")
    total = linear_combination((b"\x02" + nonce, 1), (b"\x02" + public_key, factor))
    if total is None:
        raise BadInput("nonce", nonce, "the nonce of a signature: its point would be the point at infinity")
    return total


def sign_with_nonce(secret_key: bytes, secret_nonce: bytes, message: bytes) -> bytes:
    """BIP340 signature (64 bytes) of 32 bytes under a nonce that was chosen before, verified before it is returned.

    Two messages under one nonce reveal the secret key: the caller must know that this nonce has signed no other.
    """
    if len(message) != DIGEST_SIZE:
        raise BadInput("message to sign", message, f"a digest of {DIGEST_SIZE} bytes")
    key, nonce = xonly_public_key(secret_key), xonly_public_key(secret_nonce)
    product = multiply_secret(_with_even_y(secret_key), challenge(nonce, key, message))
    signature = nonce + add_secrets([_with_even_y(secret_nonce), product])
    if not verify(key, message, signature):
        raise RuntimeError("a signature that was just made does not verify")
    return signature


def _with_even_y(secret_key: bytes) -> bytes:
    return secret_key if public_key(secret_key)[0] == 2 else negate_secret(secret_key)


def add_points(points: Sequence[bytes], *, compressed: bool = True) -> bytes:
    """The sum of points (33 or 65 bytes each): 33 bytes, or 65. Raises BadInput for no point and for infinity."""
    try:
        return bytes(keys.pubkey_combine(points, compressed))
    except ValueError:
        raise BadInput("points", len(points), "points of secp256k1 whose sum is one") from None


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


def shift_nonce(aggregate: bytes, point: bytes) -> bytes:
    """An aggregate nonce (66 bytes, BIP327) with a point (33 bytes) added to its first half.

    Raises BadInput for what is no aggregate nonce or no point, or where the sum is no point.
    """
    first, second = aggregate[:33], aggregate[33:]
    try:
        return bytes(point if first == _INFINITY else keys.pubkey_combine([first, point])) + second
    except ValueError:
        raise BadInput("aggregate nonce", aggregate, "an aggregate nonce that the point can be added to") from None


def verify_presignature(public_key: bytes, digest: bytes, point: bytes, presignature: bytes) -> bool:
    """Does the secret of `point` (33 bytes), and nothing less, turn this into a BIP340 signature of the digest?

    The signature will be `(r, s + t)` with the secret `t`, or `(r, s - t)` where the nonce was negated. So
    `s·G ± T - e·P` must be the point with x coordinate `r` and even y, which is what is checked: all of it is public.
    Junk of any length is False.
    """
    if len(presignature) != PRE_SIGNATURE_SIZE or presignature[64] > 1 or len(digest) != DIGEST_SIZE:
        return False
    r, s, negated = presignature[:32], presignature[32:64], presignature[64]
    try:
        challenge = hashes.tagged_sha256(b"BIP0340/challenge", r + public_key + digest)
        minus_e_p = keys.pubkey_tweak_mul(b"\x03" + public_key, challenge)
        shift = keys.pubkey_negate(point) if negated else point
        return bytes(keys.pubkey_combine([keys.pubkey_from_prvkey(s), shift, minus_e_p])) == b"\x02" + r
    except ValueError:
        return False


def adapt(presignature: bytes, secret: bytes) -> bytes:
    """The signature (64 bytes) that a pre-signature becomes with the secret of its point; not verified here.

    Raises BadInput for what is no pre-signature of 65 bytes, or where a scalar is out of range.
    """
    r, s, negated = _split_presignature(presignature)
    try:
        return r + bytes(keys.prvkey_tweak_add(s, keys.prvkey_negate(secret) if negated else secret))
    except ValueError:
        raise BadInput("pre-signature", presignature, "one that this secret completes") from None


def extract_adaptor(presignature: bytes, signature: bytes) -> bytes:
    """The secret (32 bytes) that makes this signature out of a pre-signature; nonsense where it was made otherwise.

    Raises BadInput for what is no pre-signature of 65 bytes or no signature of 64 bytes made from it.
    """
    r, s, negated = _split_presignature(presignature)
    try:
        if len(signature) != 64 or signature[:32] != r:
            raise ValueError
        secret = bytes(keys.prvkey_tweak_add(signature[32:], keys.prvkey_negate(s)))
        return bytes(keys.prvkey_negate(secret)) if negated else secret
    except ValueError:
        raise BadInput("signature", signature, "a BIP340 signature (64 bytes) made from this pre-signature") from None


def _split_presignature(presignature: bytes) -> tuple[bytes, bytes, int]:
    if len(presignature) != PRE_SIGNATURE_SIZE or presignature[64] > 1:
        raise BadInput("pre-signature", presignature, f"{PRE_SIGNATURE_SIZE} bytes of which the last is 0 or 1")
    return presignature[:32], presignature[32:64], presignature[64]


def add_secrets(scalars: Sequence[bytes]) -> bytes:
    """The sum of secret scalars (32 bytes each). Raises BadInput, without showing them, where it is zero."""
    total = scalars[0]
    try:
        for scalar in scalars[1:]:
            total = bytes(keys.prvkey_tweak_add(total, scalar))
    except ValueError:
        raise BadInput("secrets", f"{len(scalars)} of them", "scalars of secp256k1 whose sum is not zero") from None
    return total


def negate_secret(scalar: bytes) -> bytes:
    """The negative of a secret scalar."""
    return bytes(keys.prvkey_negate(scalar))


def multiply_secret(scalar: bytes, factor: bytes) -> bytes:
    """A secret scalar times a factor (32 bytes each), in constant time.

    Raises BadInput, without showing them, where one is not from 1 to the group order less one.
    """
    try:
        return bytes(keys.prvkey_tweak_mul(scalar, factor))
    except ValueError:
        raise BadInput("secrets", "two of them", "scalars of secp256k1 that are not zero") from None


def ecdsa_sign(secret_key: bytes, digest: bytes) -> bytes:
    """ECDSA signature (64 bytes, `r ‖ s`) of a digest: RFC 6979, low s, and ground to a low r as Bitcoin Core does.

    So its DER form has at most 70 bytes. Verified before it is returned. Raises BadInput for a message of another size.
    """
    if len(digest) != DIGEST_SIZE:
        raise BadInput("message to sign", digest, f"a digest of {DIGEST_SIZE} bytes")
    return bytes(dsa.to_compact(dsa.sign(digest, secret_key, grind=True)))


def ecdsa_verify(public_key: bytes, digest: bytes, signature: bytes) -> bool:
    """Is this a low-s ECDSA signature (64 bytes) of the digest under the 33-byte key? Junk of any length is False."""
    if len(signature) != 64 or len(digest) != DIGEST_SIZE or not is_point(public_key):
        return False
    try:
        return bool(dsa.verify(digest, public_key, dsa.to_der(signature)))
    except ValueError:
        return False


def ecdsa_der(signature: bytes) -> bytes:
    """The DER form of `r ‖ s`. Raises BadInput for what is no pair of scalars."""
    try:
        return bytes(dsa.to_der(signature))
    except ValueError:
        raise BadInput("signature", signature, "an ECDSA signature of 64 bytes") from None


def ecdsa_from_der(signature: bytes) -> bytes:
    """`r ‖ s` (64 bytes) of a DER signature. Raises BadInput for what is not the one strict encoding (BIP66)."""
    try:
        compact = bytes(dsa.to_compact(signature))
    except ValueError:
        compact = b""
    if not compact or ecdsa_der(compact) != signature:
        raise BadInput("signature", signature, "an ECDSA signature in strict DER")
    return compact


def ecdsa_low_s(signature: bytes) -> bytes:
    """The same signature with the lower of its two values of s (BIP146). Raises BadInput."""
    return ecdsa_from_der(bytes(dsa.normalize(ecdsa_der(signature))))


def invert_secret(scalar: bytes) -> bytes:
    """1 / a, 32 bytes. Only `a · t` for a fresh random `t` is ever a Python number, and says nothing about a."""
    while not is_secret_key(blind := secrets.token_bytes(32)):
        pass
    blinded = int.from_bytes(multiply_secret(scalar, blind), "big")
    return multiply_secret(blind, pow(blinded, -1, ORDER).to_bytes(32, "big"))


def multiply_point(point: bytes, secret: bytes) -> bytes:
    """a · P, 33 bytes, in constant time for a secret a. Raises BadInput for what is no point."""
    try:
        return bytes(ecdh.shared_point(point, secret))
    except ValueError:
        raise BadInput("point", point, "a point of secp256k1 (33 bytes)") from None


def linear_combination(*terms: tuple[bytes, int]) -> bytes | None:
    """The sum of `factor · point`, 33 bytes, or None for infinity; for public factors only, from 1 to the order less 1.

    Raises BadInput for what is no point or no such factor.
    """
    points = [point for point, _ in terms]
    try:
        total = keys.pubkey_tweak_mul_sum(points, [factor for _, factor in terms])
    except ValueError:
        raise BadInput("points", b"".join(points), "points of secp256k1 (33 bytes), factors in range") from None
    return None if total is None else bytes(total)
