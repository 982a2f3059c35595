"""What was said: envelopes that were accepted, by session and kind, kept in the store as they come in."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Final, NamedTuple

from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import BODIES, MAX_SAID, body
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.store import Store

RECORD: Final = "envelope"
MAX_OF_AUTHOR: Final = 50_000
"""envelopes of one author: its share of everybody's disks."""


class Fault(NamedTuple):
    """Somebody did what the protocol does not allow: who, in which session, what."""

    author: str
    session: bytes
    what: str

    def __str__(self) -> str:
        return f"{self.author}: {self.what} ({self.session.hex()[:12]})"


def was_said(store: Store, session: bytes, kind: str) -> bool:
    """Has anyone said something of this kind in a session?"""
    envelopes = (Envelope.from_json(store.get(RECORD, key) or b"") for key in store.keys(RECORD))
    return any(envelope.session == session and envelope.kind == kind for envelope in envelopes)


class Board:
    """Accepted envelopes. What is there stays, whatever the order in which it came."""

    def __init__(self, store: Store, roster: Roster) -> None:
        self.roster = roster
        self._store = store
        self._known: set[bytes] = set()
        self._counts: Counter[bytes] = Counter()
        self._of_author: Counter[bytes] = Counter()
        self._by_kind: dict[tuple[bytes, str], dict[bytes, list[Envelope]]] = defaultdict(lambda: defaultdict(list))
        self.refresh()

    def refresh(self) -> None:
        """Take in what other commands of this data directory have put into the store."""
        for key in self._store.keys(RECORD):
            if key not in self._known:
                envelope = Envelope.from_json(self._store.get(RECORD, key) or b"")
                if envelope.author in self.roster.by_key:
                    self._file(envelope)

    def accept(self, envelope: Envelope) -> bool:
        """Keep an envelope; False for one that is known. Raises BadInput, and VerificationFailed naming the author."""
        if envelope.id in self._known:
            return False
        role, _ = BODIES.get(envelope.kind, (None, None))
        author = self.roster.by_key.get(envelope.author)
        if author is None:
            raise VerificationFailed(f"{envelope.kind}: {envelope.author.hex()} is nobody in the roster")
        body(envelope)
        if author.role is not role:
            raise VerificationFailed(f"{author.name}: sent {envelope.kind!r}, which is for a {role} to say")
        if len(self._by_kind[envelope.session, envelope.kind][envelope.author]) >= MAX_SAID:
            raise VerificationFailed(f"{author.name}: more than {MAX_SAID:,} times {envelope.kind!r} in one session")
        if self._of_author[envelope.author] >= MAX_OF_AUTHOR:
            raise VerificationFailed(f"{author.name}: more than {MAX_OF_AUTHOR:,} envelopes")
        self._store.put(RECORD, envelope.id, envelope.to_json())
        self._file(envelope)
        return True

    def said(self, session: bytes, kind: str, author: bytes) -> list[Envelope]:
        """What one author said, in the order of the envelopes' ids."""
        return sorted(self._by_kind.get((session, kind), {}).get(author, []), key=lambda one: one.id)

    def sessions(self, kind: str) -> Iterator[tuple[bytes, bytes]]:
        """(session, author) of everything of a kind, in one order everywhere."""
        for session, found in sorted(self._by_kind):
            if found == kind:
                yield from ((session, author) for author in sorted(self._by_kind[session, kind]))

    def count(self, session: bytes) -> int:
        """Envelopes of a session."""
        return self._counts[session]

    def own(self, author: bytes) -> Iterator[Envelope]:
        """Everything that one author said."""
        for authors in self._by_kind.values():
            yield from authors.get(author, [])

    def _file(self, envelope: Envelope) -> None:
        self._known.add(envelope.id)
        self._counts[envelope.session] += 1
        self._of_author[envelope.author] += 1
        self._by_kind[envelope.session, envelope.kind][envelope.author].append(envelope)
