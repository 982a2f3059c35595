"""What the service keeps: envelopes in the order in which they came, and requests that it has answered, in one file."""

import re
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.messages import SAID_ONCE
from bitvm_bridge.service.limits import MAX_PAGE, PAGE_BYTES, Limits
from bitvm_bridge.service.refusals import Refusal, check_size
from bitvm_bridge.store import make_private

FILE_NAME: Final = "mailbox.sqlite"
START: Final = ""
"""The cursor before everything."""
CURSOR: Final = "([0-9a-f]{16})-([0-9]{1,18})"
"""Of any other: a regular expression for the id of the file, and the number of the envelope before."""
MAX_CONTRADICTIONS: Final = 1_000
"""in one answer."""
NONCE_LIFE: Final = 3_600
"""seconds that a nonce is remembered, far beyond those that its request is good for: clocks are set back."""
LOCK_TIMEOUT: Final = 5.0
"""seconds to wait for another process that is writing."""
_VERSION: Final = 1
_SCHEMA: Final = f"""
CREATE TABLE office (id TEXT NOT NULL) STRICT;
CREATE TABLE envelopes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, id BLOB NOT NULL UNIQUE, author BLOB NOT NULL, session BLOB NOT NULL,
    kind TEXT NOT NULL, raw BLOB NOT NULL, size INTEGER NOT NULL
) STRICT;
CREATE INDEX said ON envelopes (author, session, kind, size);
CREATE TABLE nonces (key BLOB NOT NULL, nonce BLOB NOT NULL, time INTEGER NOT NULL, PRIMARY KEY (key, nonce))
    STRICT, WITHOUT ROWID;
CREATE INDEX nonce_times ON nonces (time);
PRAGMA user_version = {_VERSION};
"""
_CURSOR: Final = re.compile(CURSOR, re.ASCII)


class Receipt(NamedTuple):
    """Whether an envelope is new here, and the ids of others that its author must not have said as well."""

    new: bool
    contradicts: list[bytes]


class Page(NamedTuple):
    """Envelopes as JSON text, the cursor after them, and whether there are more."""

    envelopes: list[bytes]
    cursor: str
    more: bool


class Contradiction(NamedTuple):
    """An author (x-only key) that said something `times` times where there is one thing to say; two of them by id."""

    author: bytes
    session: bytes
    kind: str
    times: int
    ids: tuple[bytes, bytes]


class Office:
    """The file. Its methods are called one at a time, from any thread."""

    def __init__(self, path: Path, limits: Limits) -> None:
        """Opens the file, or makes it. Raises BadInput for one that is none of these."""
        self._limits = limits
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            make_private(path)
            self._db = sqlite3.connect(path, timeout=LOCK_TIMEOUT, isolation_level=None, check_same_thread=False)
        except (OSError, sqlite3.Error) as error:
            raise BadInput("mailbox file", path, f"a file to write to ({error})") from None
        try:
            self._id = self._open(path)
        except sqlite3.Error as error:
            self._db.close()
            raise BadInput("mailbox file", path, f"the file of a mailbox ({error})") from None
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    def put(self, envelope: Envelope) -> Receipt:
        """Keep an envelope; one that is there stays as it is.

        Raises Refusal, with status 413, where it is too long, and 507, where its author has no room left; BridgeError
        where the disk has none.
        """
        raw = envelope.to_json()
        check_size(len(raw), self._limits)
        with self._transaction():
            known = self._db.execute("SELECT 1 FROM envelopes WHERE id = ?", (envelope.id,)).fetchone()
            if known is None:
                self._check_room(envelope.author, len(raw))
                columns = "(id, author, session, kind, raw, size)"
                row = (envelope.id, envelope.author, envelope.session, envelope.kind, raw, len(raw))
                self._db.execute(f"INSERT INTO envelopes {columns} VALUES (?, ?, ?, ?, ?, ?)", row)  # noqa: S608
            return Receipt(known is None, self._contradicted_by(envelope))

    def get(self, envelope_id: bytes) -> bytes | None:
        """The JSON text of an envelope, or None."""
        with self._reading():
            row = self._db.execute("SELECT raw FROM envelopes WHERE id = ?", (envelope_id,)).fetchone()
        return row[0] if row else None

    def since(self, cursor: str, limit: int = MAX_PAGE) -> Page:
        """What came after `cursor`, in the order in which it came.

        Raises BadInput for what is no cursor, Refusal, with status 410, for one of another file.
        """
        start = self._number(cursor)
        found: list[bytes] = []
        size = 0
        query = "SELECT number, raw, size FROM envelopes WHERE number > ? ORDER BY number LIMIT ?"
        with self._reading():
            for number, raw, length in self._db.execute(query, (start, limit + 1)):
                if len(found) == limit or (found and size + length > PAGE_BYTES):
                    return Page(found, f"{self._id}-{start}", True)
                found.append(raw)
                start, size = number, size + length
        return Page(found, f"{self._id}-{start}", False)

    def contradictions(self) -> list[Contradiction]:
        """Of everyone, as far as MAX_CONTRADICTIONS go."""
        marks = ", ".join("?" * len(SAID_ONCE))
        query = (
            "SELECT author, session, kind, count(*), min(number), max(number) FROM envelopes "  # noqa: S608
            f"WHERE kind IN ({marks}) GROUP BY author, session, kind HAVING count(*) > 1 ORDER BY 1, 2, 3 LIMIT ?"
        )
        with self._reading():
            rows = self._db.execute(query, (*sorted(SAID_ONCE), MAX_CONTRADICTIONS)).fetchall()
            return [
                Contradiction(author, session, kind, times, (self._id_of(first), self._id_of(last)))
                for author, session, kind, times, first, last in rows
            ]

    def spend(self, key: bytes, nonce: bytes, time: int, now: int) -> bool:
        """Remember that a request was answered; False where that is remembered already."""
        with self._transaction():
            self._db.execute("DELETE FROM nonces WHERE time < ?", (now - NONCE_LIFE,))
            done = self._db.execute("INSERT OR IGNORE INTO nonces VALUES (?, ?, ?)", (key, nonce, time))
            return done.rowcount == 1

    def _check_room(self, author: bytes, size: int) -> None:
        query = "SELECT count(*), total(size) FROM envelopes WHERE author = ?"
        count, used = self._db.execute(query, (author,)).fetchone()
        for what, needed, limit in (
            ("envelopes", count + 1, self._limits.envelopes),
            ("bytes", int(used) + size, self._limits.size),
        ):
            if needed > limit:
                raise Refusal(507, f"author {author.hex()}: {needed:,} {what} would be kept; the limit is {limit:,}")

    def _contradicted_by(self, envelope: Envelope) -> list[bytes]:
        if envelope.kind not in SAID_ONCE:
            return []
        query = "SELECT id FROM envelopes WHERE author = ? AND session = ? AND kind = ? AND id != ? LIMIT ?"
        row = (envelope.author, envelope.session, envelope.kind, envelope.id, MAX_CONTRADICTIONS)
        return [found for (found,) in self._db.execute(query, row)]

    def _id_of(self, number: int) -> bytes:
        row = self._db.execute("SELECT id FROM envelopes WHERE number = ?", (number,)).fetchone()
        return bytes(row[0])

    def _number(self, cursor: str) -> int:
        if cursor == START:
            return 0
        found = _CURSOR.fullmatch(cursor)
        if found is None:
            raise BadInput("cursor", cursor, "a cursor that this service has given, or nothing")
        with self._reading():
            (last,) = self._db.execute("SELECT coalesce(max(seq), 0) FROM sqlite_sequence").fetchone()
        if found[1] != self._id or int(found[2]) > last:
            raise Refusal(410, f"cursor: {cursor!r} is of another mailbox; start again without one")
        return int(found[2])

    def _open(self, path: Path) -> str:
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("BEGIN IMMEDIATE")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        tables = self._db.execute("SELECT count(*) FROM sqlite_master").fetchone() != (0,)
        if version != _VERSION and (version or tables):
            raise BadInput("mailbox file", path, f"the file of a mailbox, version {_VERSION}")
        if not version:
            for statement in _SCHEMA.split(";")[:-1]:
                self._db.execute(statement)
            self._db.execute("INSERT INTO office VALUES (?)", (secrets.token_hex(8),))
        self._db.execute("COMMIT")
        (office,) = self._db.execute("SELECT id FROM office").fetchone()
        return str(office)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._reading():
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield
                self._db.execute("COMMIT")
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.OperationalError as error:
            raise BridgeError(f"mailbox file: {error}") from None
