"""ECDSA adaptor signatures: ECDSA signatures encrypted to a point (dlcspecs ECDSA-adaptor.md).

An adaptor signature is 162 bytes, `R ‖ R_a ‖ s_a ‖ e ‖ s`: with the signer's key `X = x·G`, the encryption key
`Y = y·G` and a nonce k they are `R = k·Y`, `R_a = k·G`, `s_a = (m + R.x · x) / k`, and a proof (e, s) that both points
have the same k. Who knows y makes the signature `(R.x, s_a / y)` of it; who sees that signature knows y.

Names are those of the specification. Secrets are multiplied and inverted behind `secp`.
"""

import secrets
from dataclasses import dataclass
from typing import Final, Self

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.secp import ORDER
from bitvm_bridge.taproot import tagged_hash

ADAPTOR_SIGNATURE_SIZE: Final = 162
_GENERATOR: Final = secp.public_key((1).to_bytes(32, "big"))


@dataclass(frozen=True, slots=True)
class _Parts:
    """An adaptor signature taken apart: two points (33 bytes), three scalars."""

    R: bytes
    R_a: bytes
    s_a: int
    e: int
    s: int

    @property
    def r(self) -> int:
        """`R.x` as a scalar: the r of the signature to come."""
        return int.from_bytes(self.R[1:], "big") % ORDER

    @classmethod
    def parse(cls, raw: bytes) -> Self:
        """Raises BadInput where a point is off the curve or a scalar out of range."""
        if len(raw) != ADAPTOR_SIGNATURE_SIZE:
            raise BadInput("adaptor signature", raw, f"{ADAPTOR_SIGNATURE_SIZE} bytes")
        s_a, e, s = (int.from_bytes(raw[start : start + 32], "big") for start in (66, 98, 130))
        parts = cls(raw[:33], raw[33:66], s_a, e % ORDER, s)
        if not (secp.is_point(parts.R) and secp.is_point(parts.R_a) and 0 < s_a < ORDER and s < ORDER and parts.r):
            raise BadInput("adaptor signature", raw, "two points and scalars below the group order")
        return parts


def check(raw: bytes) -> bytes:
    """`raw`, or BadInput where it cannot be an adaptor signature of anything."""
    _Parts.parse(raw)
    return raw


def encrypt(secret_key: bytes, digest: bytes, encryption_key: bytes, aux: bytes | None = None) -> bytes:
    """The signature (162 bytes) of a 32-byte digest, encrypted to a point (33 bytes); verified before it is returned.

    `aux` (32 bytes) defaults to fresh randomness. Raises BadInput for a digest of another size or what is no point.
    """
    if len(digest) != secp.DIGEST_SIZE:
        raise BadInput("message to sign", digest, f"a digest of {secp.DIGEST_SIZE} bytes")
    if not secp.is_point(encryption_key):
        raise BadInput("encryption key", encryption_key, "a point of secp256k1 (33 bytes)")
    aux = secrets.token_bytes(32) if aux is None else aux
    k = _nonce("ECDSAadaptor/non", secret_key, encryption_key, digest, aux)
    R, R_a = secp.multiply_point(encryption_key, k), secp.public_key(k)  # noqa: N806
    r, m = (int.from_bytes(number, "big") % ORDER for number in (R[1:], digest))
    s_a = secp.multiply_secret(
        secp.invert_secret(k), secp.add_secrets([secp.multiply_secret(secret_key, _scalar(r)), _scalar(m)])
    )
    adaptor_signature = R + R_a + s_a + _prove(k, R_a, encryption_key, R, aux)
    if not verify(secp.public_key(secret_key), digest, encryption_key, adaptor_signature):
        raise RuntimeError("encrypt: made an adaptor signature that does not verify")
    return adaptor_signature


def verify(public_key: bytes, digest: bytes, encryption_key: bytes, adaptor_signature: bytes) -> bool:
    """Will the secret of `encryption_key`, and nothing less, make a signature of the digest out of this?

    Junk of any length is False.
    """
    if len(digest) != secp.DIGEST_SIZE or not secp.is_point(public_key) or not secp.is_point(encryption_key):
        return False
    try:
        parts = _Parts.parse(adaptor_signature)
        return _is_proof(parts, encryption_key) and _is_signature(parts, public_key, digest)
    except BadInput:
        return False


def decrypt(adaptor_signature: bytes, secret: bytes) -> bytes:
    """The ECDSA signature (64 bytes, low s) that the secret of the encryption key makes of it; verify before.

    Raises BadInput, without showing it, for what is no secret of a point, and for what is no adaptor signature.
    """
    parts = _Parts.parse(adaptor_signature)
    s = secp.multiply_secret(secp.invert_secret(secret), _scalar(parts.s_a))
    return secp.ecdsa_low_s(_scalar(parts.r) + s)


def recover(adaptor_signature: bytes, signature: bytes, encryption_key: bytes) -> bytes:
    """The secret (32 bytes) of the encryption key, out of the signature (64 bytes) that it made of this.

    Raises VerificationFailed where the signature was not made of it, BadInput for what is no adaptor signature.
    """
    parts = _Parts.parse(adaptor_signature)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if len(signature) != 64 or r != parts.r or not 0 < s < ORDER:
        raise VerificationFailed("the signature was not made of this adaptor signature: another r")
    secret = secp.multiply_secret(_scalar(pow(s, -1, ORDER)), _scalar(parts.s_a))
    candidates = (secret, secp.negate_secret(secret))
    for candidate in candidates:
        if secp.public_key(candidate) == encryption_key:
            return candidate
    raise VerificationFailed("the signature was not made of this adaptor signature: another encryption key")


def _scalar(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _nonce(tag: str, secret: bytes, point: bytes, message: bytes, aux: bytes) -> bytes:
    """A scalar that nobody can guess who lacks the secret or `aux` (BIP340's derivation)."""
    mask = tagged_hash("ECDSAadaptor/aux", aux)
    masked = bytes(left ^ right for left, right in zip(secret, mask, strict=True))
    nonce = tagged_hash(tag, masked, point, message)
    if not secp.is_secret_key(nonce):
        raise RuntimeError("a hash out of the range of scalars: the hash function is broken")
    return nonce


def _prove(k: bytes, R_a: bytes, Y: bytes, R: bytes, aux: bytes) -> bytes:  # noqa: N803
    """(e, s), 64 bytes: `R_a = k·G` and `R = k·Y` have one k (Chaum and Pedersen)."""
    a = _nonce("DLEQ", k, Y, tagged_hash("DLEQ/points", R_a, R), aux)
    e = _challenge(R_a, Y, R, secp.public_key(a), secp.multiply_point(Y, a))
    return _scalar(e) + secp.add_secrets([a, secp.multiply_secret(k, _scalar(e))])


def _challenge(R_a: bytes, Y: bytes, R: bytes, A: bytes, B: bytes) -> int:  # noqa: N803
    return int.from_bytes(tagged_hash("DLEQ", R_a, Y, R, A, B), "big") % ORDER


def _is_proof(parts: _Parts, Y: bytes) -> bool:  # noqa: N803
    A = secp.linear_combination((_GENERATOR, parts.s), (parts.R_a, ORDER - parts.e))  # noqa: N806
    B = secp.linear_combination((Y, parts.s), (parts.R, ORDER - parts.e))  # noqa: N806
    return A is not None and B is not None and _challenge(parts.R_a, Y, parts.R, A, B) == parts.e


def _is_signature(parts: _Parts, X: bytes, digest: bytes) -> bool:  # noqa: N803
    """`s_a · R_a = m·G + R.x · X`."""
    m = int.from_bytes(digest, "big") % ORDER
    terms = ((X, parts.r), (_GENERATOR, m)) if m else ((X, parts.r),)
    return secp.linear_combination((parts.R_a, parts.s_a)) == secp.linear_combination(*terms)
