"""A MuSig2 session from messages (BIP327), which may be late, doubled, or wrong, between processes that may die.

A member's secret nonces are in the memory of one process and nowhere else. So a session has numbered attempts: all
members draw nonces for the highest attempt that anyone has begun, and sign when everyone has. A process that starts
again has lost what it drew, and begins the next attempt; so does everyone where a member has given two sets of nonces
for one. Partial signatures name the nonces that they were made with, one envelope of each member; as soon as all
members have signed under one such choice, the session is over.

No nonce signs twice: the signer forgets it, and the store has recorded it before the signature existed.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Protocol

from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.exchange import messages
from bitvm_bridge.exchange.board import Fault
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import (
    MAX_ATTEMPT,
    NONCE_SIZE,
    PARTIAL_SIZE,
    NoncesBody,
    PartialsBody,
    of_kind,
    unhex,
)
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.signing.musig import (
    Committee,
    Digests,
    NonceGuard,
    Signer,
    check_nonces,
    check_partials,
    combine,
)

Choice = tuple[bytes, ...]
"""Ids of nonce envelopes, one of each member, in the committee's order."""


@dataclass(frozen=True)
class Kinds:
    """What nonces and partial signatures of a session are called."""

    nonces: str
    partials: str


GRAPH = Kinds(messages.NONCES, messages.PARTIALS)
CONFIRMATION = Kinds(messages.CONFIRM_NONCES, messages.CONFIRM_PARTIALS)
PAYMENT = Kinds(messages.PAYOUT_NONCES, messages.PAYOUT_PARTIALS)


class Draws(Protocol):
    """One member's side of a session, as `musig.Signer` is."""

    def nonces(self, digests: Digests) -> dict[str, bytes]:
        """Round one: fresh public nonces by label."""

    def sign(self, digests: Digests, nonces: Mapping[str, Mapping[str, bytes]]) -> dict[str, bytes]:
        """Round two: partial signatures by label, of nonces that are gone afterwards."""


@dataclass(frozen=True)
class Scheme:
    """How nonces and partial signatures are made and checked: the functions of `musig`, or others like them."""

    check_nonces: Callable[[str, Digests, Mapping[str, bytes]], None] = check_nonces
    check_partials: Callable[
        [Committee, str, Digests, Mapping[str, Mapping[str, bytes]], Mapping[str, bytes]], None
    ] = check_partials
    combine: Callable[
        [Committee, Digests, Mapping[str, Mapping[str, bytes]], Mapping[str, Mapping[str, bytes]]], dict[str, bytes]
    ] = combine
    signer: Callable[[Committee, str, SecretKey, NonceGuard], Draws] = Signer


MUSIG: Final = Scheme()


@dataclass(frozen=True)
class Nonces:
    """A member's nonces as it sent them."""

    id: bytes
    attempt: int
    by_label: Mapping[str, bytes] = field(repr=False)


class Words(Protocol):
    """Where a session finds what was said in it: the board, or what else keeps envelopes."""

    def said(self, session: bytes, kind: str, author: bytes) -> list[Envelope]:
        """What one author said, in one order everywhere."""


@dataclass(frozen=True)
class Session:
    """What is to be signed, by whom, and what everyone has said about it."""

    board: Words
    id: bytes
    kinds: Kinds
    committee: Committee
    authors: Mapping[str, bytes]
    """Member → identity key."""
    digests: Digests
    scheme: Scheme = MUSIG

    @cached_property
    def faults(self) -> list[Fault]:
        """Contributions that are of no use, with their authors; complete when `finished` has been asked for."""
        return []

    @cached_property
    def nonces(self) -> dict[str, dict[bytes, Nonces]]:
        """Member → envelope id → valid nonces."""
        found = {name: {one.id: one for one in self._nonces_of(name)} for name in self.committee.names}
        for name, own in found.items():
            counts = Counter(one.attempt for one in own.values())
            for attempt in sorted(attempt for attempt, count in counts.items() if count > 1):
                self.faults.append(Fault(name, self.id, f"gave two sets of nonces for attempt {attempt}"))
        return found

    @cached_property
    def attempt(self) -> int:
        """The highest that anyone has begun; 0 before the first. One begins when the one before it has begun.

        So nobody uses up the attempts by skipping them; what was lost on the way arrives again.
        """
        begun = {one.attempt for own in self.nonces.values() for one in own.values()}
        return next(number for number in range(MAX_ATTEMPT + 1) if number + 1 not in begun)

    def drawn(self, name: str) -> list[bytes]:
        """The envelopes of a member's nonces for this attempt: one, if it is honest."""
        return [one.id for one in self.nonces[name].values() if one.attempt == self.attempt]

    @property
    def is_spoilt(self) -> bool:
        """Can this attempt not end, because members may have seen different nonces of one of them?"""
        return any(len(self.drawn(name)) > 1 for name in self.committee.names)

    @cached_property
    def choice(self) -> Choice | None:
        """Everyone's nonces for this attempt; None while somebody has sent none, or two."""
        found = [self.drawn(name) for name in self.committee.names]
        return tuple(one for (one,) in found) if all(len(own) == 1 for own in found) else None

    def has_signed(self, name: str) -> bool:
        """Has a member given valid partial signatures for this attempt?"""
        return self.choice is not None and name in self._signed.get(self.choice, {})

    @property
    def awaited(self) -> list[str]:
        """Members whose turn it is: to give nonces for an attempt, or partial signatures under those of this one."""
        if self.finished is not None:
            return []
        if self.choice is not None:
            return [name for name in self.committee.names if not self.has_signed(name)]
        return [name for name in self.committee.names if self.is_spoilt or not self.drawn(name)]

    @cached_property
    def signatures(self) -> dict[str, bytes] | None:
        """BIP340 signatures by label, as soon as all members have signed under one choice of nonces."""
        if self.finished is None:
            return None
        choice, partials = self.finished
        return self.scheme.combine(self.committee, self.digests, self.chosen(choice), partials)

    @property
    def finished(self) -> tuple[Choice, dict[str, dict[str, bytes]]] | None:
        """A choice of nonces under which all members have signed, and their partial signatures by label."""
        for choice, partials in self._signed.items():
            if set(partials) == set(self.committee.names):
                return choice, partials
        return None

    def chosen(self, choice: Choice) -> dict[str, Mapping[str, bytes]]:
        """Member → label → nonce."""
        pairs = zip(self.committee.names, choice, strict=True)
        return {name: self.nonces[name][envelope].by_label for name, envelope in pairs}

    @cached_property
    def _signed(self) -> dict[Choice, dict[str, dict[str, bytes]]]:
        """Choice of nonces → member → valid partial signatures by label."""
        found: dict[Choice, dict[str, dict[str, bytes]]] = {}
        for name in self.nonces:  # whose faults are told even where nobody has signed
            for envelope in self.board.said(self.id, self.kinds.partials, self.authors[name]):
                try:
                    choice, partials = self._partials(name, envelope)
                except BridgeError as error:
                    self.faults.append(Fault(name, self.id, str(error)))
                else:
                    if choice is not None:
                        found.setdefault(choice, {})[name] = partials
        return found

    def _nonces_of(self, name: str) -> Iterator[Nonces]:
        for envelope in self.board.said(self.id, self.kinds.nonces, self.authors[name]):
            document: NoncesBody = of_kind(envelope, NoncesBody)
            try:
                nonces = unhex("nonce", document.nonces, NONCE_SIZE)
                self.scheme.check_nonces(name, self.digests, nonces)
            except BridgeError as error:
                self.faults.append(Fault(name, self.id, str(error)))
            else:
                yield Nonces(envelope.id, document.attempt, nonces)

    def _partials(self, name: str, envelope: Envelope) -> tuple[Choice | None, dict[str, bytes]]:
        """A choice of nonces of which some have not arrived is None."""
        document: PartialsBody = of_kind(envelope, PartialsBody)
        partials = unhex("partial signature", document.partials, PARTIAL_SIZE)
        if len(document.nonces) != len(self.committee.names):
            raise VerificationFailed(f"{len(document.nonces)} nonces named, expected {len(self.committee.names)}")
        choice = tuple(unhex("envelope id", dict(zip(self.committee.names, document.nonces, strict=True)), 32).values())
        if any(one not in self.nonces[member] for member, one in zip(self.committee.names, choice, strict=True)):
            return None, {}
        self.scheme.check_partials(self.committee, name, self.digests, self.chosen(choice), partials)
        return choice, partials


class Hand:
    """One member's part in one session: the nonces that it has in memory, until they have signed."""

    def __init__(self, name: str, key: SecretKey, guard: NonceGuard) -> None:
        self._name, self._key, self._guard = name, key, guard
        self._signer: Draws | None = None
        self._mine: bytes | None = None
        self._is_unused = False

    def sent(self, envelope: Envelope) -> None:
        """The nonces drawn last travel in this envelope."""
        self._mine = envelope.id

    def next(self, session: Session) -> NoncesBody | PartialsBody | None:
        """What this member has to say now, if anything; after nonces the caller must call `sent`."""
        if session.signatures is not None or session.has_signed(self._name):
            return None
        drawn = session.drawn(self._name) if session.attempt else []
        if session.attempt and (session.is_spoilt or drawn not in ([], [self._mine])):
            return self._draw(session, session.attempt + 1)
        if not drawn:
            return self._draw(session, max(session.attempt, 1))
        if self._signer is None or not self._is_unused or session.choice is None:
            return None
        self._is_unused = False
        partials = self._signer.sign(session.digests, session.chosen(session.choice))
        named = [one.hex() for one in session.choice]
        return PartialsBody(named, {label: one.hex() for label, one in partials.items()})

    def _draw(self, session: Session, attempt: int) -> NoncesBody | None:
        if attempt > MAX_ATTEMPT:
            session.faults.append(Fault(self._name, session.id, f"gives up after {MAX_ATTEMPT} attempts"))
            return None
        if self._signer is None:
            self._signer = session.scheme.signer(session.committee, self._name, self._key, self._guard)
        nonces = self._signer.nonces(session.digests)
        self._is_unused = True
        return NoncesBody(attempt, {label: one.hex() for label, one in nonces.items()})
