"""Schnorr adaptor signatures of several signers: MuSig2 (BIP327) with a point whose secret completes the signature.

The rounds are those of `musig`, and so are committees, nonces and partial signatures. What the members make is a
*pre-signature*: no signature yet, but whoever knows the secret of its point completes it, and whoever then sees the
signature learns the secret. Anyone can check a pre-signature against the point.

A session of pre-signatures is a session of BIP327 whose aggregate nonce has the point added to its first half: every
member signs for that nonce, and nobody's partial signature knows the secret. That one addition of public points is all
that secp256k1-zkp's `musig` module adds to the sessions of the library used here (`secp256k1_musig_nonce_process`), and
no wheel carries that module; so keys, nonces and partial signatures are the ordinary ones, made by the same code as
everywhere. Secrets are added and negated by the library alone. `tests/test_adaptor.py` has what is relied on: a
completed signature passes BIP340 verification, by another implementation too; the secret comes back out of it; under
another point or with another secret nothing verifies, whether the nonce was negated or not; blame has a name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.signing import musig
from bitvm_bridge.signing.musig import Committee, NonceGuard, Nonces, NonceUse, Partials
from bitvm_bridge.taproot import tagged_hash

TAG: Final = "BitVMBridge/adaptor"


@dataclass(frozen=True)
class Lock:
    """What a pre-signature is of: the 32 bytes to sign, and the point (33 bytes) whose secret completes it."""

    digest: bytes
    point: bytes

    def __post_init__(self) -> None:
        """Raises BadInput for a digest of another size or for what is no point."""
        if len(self.digest) != secp.DIGEST_SIZE:
            raise BadInput("digest to lock", self.digest, f"{secp.DIGEST_SIZE} bytes")
        if not secp.is_point(self.point):
            raise BadInput("adaptor point", self.point, "a compressed public key (33 bytes)")

    @cached_property
    def id(self) -> bytes:
        """32 bytes that stand for both: what a nonce is bound to, in memory and in the store."""
        return tagged_hash(TAG, self.digest, self.point)


Locks = Mapping[str, Lock]
"""Label → what to pre-sign."""


class AdaptorSigner:
    """One member's side of one session of pre-signatures."""

    def __init__(self, committee: Committee, name: str, key: SecretKey, guard: NonceGuard) -> None:
        """Raises BadInput where the key is not the one that the committee lists under this name."""
        self.committee = committee
        self.name = name
        self._signer = _LockSigner(committee, name, key, guard)

    def nonces(self, locks: Locks) -> dict[str, bytes]:
        """Round one: a fresh public nonce (66 bytes) for each lock; nonces drawn before are forgotten."""
        return self._signer.nonces(self._signer.know(locks))

    def sign(self, locks: Locks, nonces: Nonces) -> dict[str, bytes]:
        """Round two: partial signatures (32 bytes) by label; as `musig.Signer.sign`, for the point as for the digest.

        Raises BridgeError for a digest or a point other than the one a nonce was drawn for, and as there.
        """
        return self._signer.sign({label: lock.id for label, lock in locks.items()}, nonces)


class _LockSigner(musig.Signer):
    """Draws and spends nonces as any member does; what it signs under is shifted by the point."""

    def know(self, locks: Locks) -> dict[str, bytes]:
        """Label → id of the locks that are signed next."""
        self._locks = {lock.id: lock for lock in locks.values()}
        return {label: lock.id for label, lock in locks.items()}

    def _partial(self, secret: secp.SecretNonce, use: NonceUse) -> bytes:
        session = _session(self.committee, self._locks[use.digest], use.aggregate)
        return bytes(secret.partial_sign(self._key.reveal(), self.committee.aggregation, session))


def presign_together(signers: Sequence[AdaptorSigner], locks: Locks) -> dict[str, bytes]:
    """Both rounds of a session whose members are all in this process: pre-signatures (65 bytes) by label.

    Raises BadInput without a signer, VerificationFailed naming a member that has none.
    """
    if not signers:
        raise BadInput("signers", 0, "one for each member of the committee")
    nonces = {signer.name: signer.nonces(locks) for signer in signers}
    partials = {signer.name: signer.sign(locks, nonces) for signer in signers}
    return combine(signers[0].committee, locks, nonces, partials)


def combine(committee: Committee, locks: Locks, nonces: Nonces, partials: Partials) -> dict[str, bytes]:
    """Pre-signatures (65 bytes) by label, from every member's nonces and partial signatures.

    Raises VerificationFailed naming the first member whose contribution is missing or wrong.
    """
    musig.check_members(committee, nonces, "nonces")
    musig.check_members(committee, partials, "partial signatures")
    for name in committee.names:
        check_partials(committee, name, locks, nonces, partials[name])
    return {label: _combine_one(committee, label, lock, nonces, partials) for label, lock in locks.items()}


def check_partials(
    committee: Committee, name: str, locks: Locks, nonces: Nonces, partials: Mapping[str, bytes]
) -> None:
    """One member's partial signatures by label. Raises VerificationFailed naming it for the first that is wrong."""
    if set(partials) != set(locks):
        raise VerificationFailed(f"member {name!r}: partial signatures of other transactions than are to be signed")
    for label, lock in locks.items():
        session = _session(committee, lock, musig.aggregate_nonces(committee, label, nonces))
        if not musig.partial_is_valid(committee, session, partials[label], nonces[name][label], name):
            raise VerificationFailed(f"member {name!r}: the partial signature of {label!r} does not verify")


def check_nonces(name: str, locks: Locks, nonces: Mapping[str, bytes]) -> None:
    """One member's public nonces by label. Raises VerificationFailed naming it."""
    musig.check_nonces(name, {label: lock.digest for label, lock in locks.items()}, nonces)


def verify(key: bytes, lock: Lock, presignature: bytes) -> bool:
    """Is this a pre-signature of the lock under the 32-byte x-only key? Needs no secret; junk is False."""
    return secp.verify_presignature(key, lock.digest, lock.point, presignature)


def adapt(key: bytes, lock: Lock, presignature: bytes, secret: SecretKey) -> bytes:
    """The BIP340 signature (64 bytes) that the secret of the point makes of a pre-signature.

    Raises VerificationFailed where the secret is not the point's, or the pre-signature not the lock's.
    """
    if secret.public != lock.point:
        raise VerificationFailed("adaptor: this secret is not that of the point")
    signature = secp.adapt(presignature, secret.reveal())
    if not secp.verify(key, lock.digest, signature):
        raise VerificationFailed("adaptor: the completed signature does not verify")
    return signature


def extract(lock: Lock, presignature: bytes, signature: bytes) -> SecretKey:
    """The secret of the point, from a pre-signature and the signature that was made of it.

    Raises VerificationFailed where the signature was made of something else.
    """
    found = secp.extract_adaptor(presignature, signature)
    if not secp.is_secret_key(found) or (secret := SecretKey(found)).public != lock.point:
        raise VerificationFailed("adaptor: this signature was not made of this pre-signature")
    return secret


def _session(committee: Committee, lock: Lock, aggregate: bytes) -> secp.Session:
    return secp.Session(secp.shift_nonce(aggregate, lock.point), lock.digest, committee.aggregation)


def _combine_one(committee: Committee, label: str, lock: Lock, nonces: Nonces, partials: Partials) -> bytes:
    session = _session(committee, lock, musig.aggregate_nonces(committee, label, nonces))
    signature = bytes(session.partial_sig_agg([partials[name][label] for name in committee.names]))
    for negated in (b"\x00", b"\x01"):
        if verify(committee.key, lock, signature + negated):
            return signature + negated
    raise VerificationFailed(f"{label!r}: the pre-signature does not verify")
