"""MuSig2 (BIP327): one aggregate key, and many signatures in one session of two rounds.

Round one: every member draws one nonce for each digest. Round two: every member signs each digest under the
aggregate of all nonces. A nonce is bound to its digest when it is drawn and is gone when it has signed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import SecretKey

MAX_MEMBERS: Final = 100

Digests = Mapping[str, bytes]
"""Label → the 32 bytes to sign."""
Nonces = Mapping[str, Mapping[str, bytes]]
"""Member → label → public nonce (66 bytes)."""
Partials = Mapping[str, Mapping[str, bytes]]
"""Member → label → partial signature (32 bytes)."""


@dataclass(frozen=True)
class NonceUse:
    """A nonce about to sign: the public nonce, what it signs, and the aggregate nonce it signs under."""

    public_nonce: bytes
    digest: bytes
    aggregate: bytes


NonceGuard = Callable[[Sequence[NonceUse]], None]
"""Called once with every use of a round before any partial signature exists; raises to prevent them all."""


@dataclass(frozen=True)
class Committee:
    """Members by name with their compressed keys (33 bytes each)."""

    members: tuple[tuple[str, bytes], ...]

    def __post_init__(self) -> None:
        """Raises BadInput for no or too many members, a name or a key used twice, or a key that is no point."""
        if not 1 <= len(self.members) <= MAX_MEMBERS:
            raise BadInput("committee", len(self.members), f"1 to {MAX_MEMBERS} members")
        for name, key in self.members:
            if not secp.is_point(key):
                raise BadInput(f"key of member {name!r}", key, "a compressed public key (33 bytes)")
        for what, values in (("name", [name for name, _ in self.members]), ("key", [key for _, key in self.members])):
            if len(set(values)) != len(values):
                raise BadInput(f"committee {what}s", len(set(values)), f"{len(values)} distinct {what}s")

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names in the order in which keys are aggregated: by key (BIP327 `KeySort`)."""
        return tuple(name for name, _ in sorted(self.members, key=lambda member: member[1]))

    @cached_property
    def keys(self) -> dict[str, bytes]:
        """Name → key."""
        return dict(self.members)

    @cached_property
    def aggregation(self) -> secp.KeyAggCache:
        """The library's key aggregation."""
        return secp.KeyAggCache([self.keys[name] for name in self.names])

    @cached_property
    def key(self) -> bytes:
        """The aggregate key `N`: 32 bytes, x-only."""
        return bytes(self.aggregation.pubkey_get())[1:]


@dataclass(frozen=True)
class _Drawn:
    """A nonce and the only digest that it may sign."""

    digest: bytes
    secret: secp.SecretNonce


class Signer:
    """One member's side of one session."""

    def __init__(self, committee: Committee, name: str, key: SecretKey, guard: NonceGuard) -> None:
        """Raises BadInput where the key is not the one that the committee lists under this name."""
        if committee.keys.get(name) != key.public:
            raise BadInput("committee member", name, "a member whose key this is")
        self.committee = committee
        self.name = name
        self._key = key
        self._guard = guard
        self._drawn: dict[str, _Drawn] = {}

    def nonces(self, digests: Digests) -> dict[str, bytes]:
        """Round one: a fresh public nonce (66 bytes) for each digest; nonces drawn before are forgotten."""
        _check_digests(digests)
        _wipe(self._drawn.values())
        self._drawn = {label: self._draw(digest) for label, digest in digests.items()}
        return {label: bytes(drawn.secret.pubnonce) for label, drawn in self._drawn.items()}

    def sign(self, digests: Digests, nonces: Nonces) -> dict[str, bytes]:
        """Round two: partial signatures (32 bytes) by label; `nonces` holds every member's public nonces by name.

        Raises BridgeError for a digest other than the one a nonce was drawn for, for a nonce that is gone, or where
        this member's own nonces are not among those given; VerificationFailed naming the member whose nonce is
        missing or no nonce. Whatever happens, the nonces of these digests are gone afterwards.
        """
        taken = {label: self._drawn.pop(label) for label in digests if label in self._drawn}
        try:
            check_members(self.committee, nonces, "nonces")
            uses = {label: self._use(label, digest, taken.get(label), nonces) for label, digest in digests.items()}
            self._guard(list(uses.values()))
            return {label: self._partial(taken[label].secret, use) for label, use in uses.items()}
        finally:
            _wipe(taken.values())

    def _draw(self, digest: bytes) -> _Drawn:
        public = self.committee.keys[self.name]
        return _Drawn(digest, secp.nonce_gen(public, self._key.reveal(), digest, self.committee.aggregation))

    def _use(self, label: str, digest: bytes, drawn: _Drawn | None, nonces: Nonces) -> NonceUse:
        if drawn is None:
            raise BridgeError(f"member {self.name!r}: no unused nonce for {label!r}; start a new session")
        public_nonce = bytes(drawn.secret.pubnonce)
        if drawn.digest != digest or nonces[self.name].get(label) != public_nonce:
            what = "another digest" if drawn.digest != digest else "other nonces of this member"
            raise BridgeError(f"member {self.name!r}: asked to sign {label!r} with {what} than in round one")
        return NonceUse(public_nonce, digest, aggregate_nonces(self.committee, label, nonces))

    def _partial(self, secret: secp.SecretNonce, use: NonceUse) -> bytes:
        session = secp.Session(use.aggregate, use.digest, self.committee.aggregation)
        return bytes(secret.partial_sign(self._key.reveal(), self.committee.aggregation, session))


def sign_together(
    signers: Sequence[Signer], digests: Digests, track: Callable[[Sequence[Signer]], Iterable[Signer]] = iter
) -> dict[str, bytes]:
    """Both rounds of a session whose members are all in this process: BIP340 signatures by label.

    `track` sees each signer as its turn to sign comes. Raises BadInput without a signer, VerificationFailed naming a
    member that has none.
    """
    if not signers:
        raise BadInput("signers", 0, "one for each member of the committee")
    nonces = {signer.name: signer.nonces(digests) for signer in signers}
    partials = {signer.name: signer.sign(digests, nonces) for signer in track(signers)}
    return combine(signers[0].committee, digests, nonces, partials)


def combine(committee: Committee, digests: Digests, nonces: Nonces, partials: Partials) -> dict[str, bytes]:
    """BIP340 signatures (64 bytes) by label, from every member's nonces and partial signatures.

    Raises VerificationFailed naming the first member whose contribution is missing or wrong.
    """
    _check_digests(digests)
    check_members(committee, nonces, "nonces")
    check_members(committee, partials, "partial signatures")
    return {label: _combine_one(committee, label, digest, nonces, partials) for label, digest in digests.items()}


def check_partials(
    committee: Committee, name: str, digests: Digests, nonces: Nonces, partials: Mapping[str, bytes]
) -> None:
    """One member's partial signatures by label. Raises VerificationFailed naming it for the first that is wrong.

    The nonces are everyone's, and were checked before (`check_nonces`).
    """
    if set(partials) != set(digests):
        raise VerificationFailed(f"member {name!r}: partial signatures of other transactions than are to be signed")
    for label, digest in digests.items():
        session = secp.Session(aggregate_nonces(committee, label, nonces), digest, committee.aggregation)
        if not partial_is_valid(committee, session, partials[label], nonces[name][label], name):
            raise VerificationFailed(f"member {name!r}: the partial signature of {label!r} does not verify")


def check_nonces(name: str, digests: Digests, nonces: Mapping[str, bytes]) -> None:
    """One member's public nonces by label. Raises VerificationFailed naming it."""
    if set(nonces) != set(digests):
        raise VerificationFailed(f"member {name!r}: nonces for other transactions than are to be signed")
    for label, nonce in nonces.items():
        if not secp.is_public_nonce(nonce):
            raise VerificationFailed(f"member {name!r}: the nonce of {label!r} is not valid")


def _combine_one(committee: Committee, label: str, digest: bytes, nonces: Nonces, partials: Partials) -> bytes:
    session = secp.Session(aggregate_nonces(committee, label, nonces), digest, committee.aggregation)
    for name in committee.names:
        if label not in partials[name]:
            raise VerificationFailed(f"member {name!r}: the partial signature of {label!r} is missing")
        if not partial_is_valid(committee, session, partials[name][label], nonces[name][label], name):
            raise VerificationFailed(f"member {name!r}: the partial signature of {label!r} does not verify")
    signature = bytes(session.partial_sig_agg([partials[name][label] for name in committee.names]))
    if not secp.verify(committee.key, digest, signature):
        raise VerificationFailed(f"{label!r}: the aggregate signature does not verify")
    return signature


def partial_is_valid(committee: Committee, session: secp.Session, partial: bytes, nonce: bytes, name: str) -> bool:
    """Is this the member's partial signature (32 bytes) in the session, under its public nonce? Junk is False."""
    try:
        return session.partial_sig_verify(partial, nonce, committee.keys[name], committee.aggregation)
    except ValueError:
        return False


def aggregate_nonces(committee: Committee, label: str, nonces: Nonces) -> bytes:
    """The aggregate (66 bytes) of everyone's nonces of a label. Raises VerificationFailed naming who has none."""
    everyone = [nonces[name].get(label, b"") for name in committee.names]
    try:
        return bytes(secp.nonce_agg(everyone))
    except ValueError:
        for name, nonce in zip(committee.names, everyone, strict=True):
            if not secp.is_public_nonce(nonce):
                what = "is not valid" if nonce else "is missing"
                raise VerificationFailed(f"member {name!r}: the nonce of {label!r} {what}") from None
        raise


def _check_digests(digests: Digests) -> None:
    for label, digest in digests.items():
        if len(digest) != secp.DIGEST_SIZE:
            raise BadInput(f"digest of {label!r}", digest, f"{secp.DIGEST_SIZE} bytes")


def check_members(committee: Committee, contributions: Mapping[str, object], what: str) -> None:
    """Raises VerificationFailed where a member's contribution is missing, or is of somebody who is no member."""
    for name in committee.names:
        if name not in contributions:
            raise VerificationFailed(f"member {name!r}: {what} are missing")
    for name in contributions:
        if name not in committee.keys:
            raise VerificationFailed(f"{name!r}: sent {what} but is no member")


def _wipe(drawn: Iterable[_Drawn]) -> None:
    for one in drawn:
        one.secret.wipe()
