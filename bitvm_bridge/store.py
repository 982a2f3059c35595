"""A party's state in one SQLite file: seeds, records, and what every one-time key and nonce was used for.

What a signature was used for is committed, with a full sync, before the signature exists. A crash can lose a
signature that was never sent; it can never make a second one.
"""

import hashlib
import os
import secrets
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.signing.musig import NonceGuard, NonceUse
from bitvm_bridge.transaction import OutPoint, Transaction

FILE_NAME: Final = "bridge.sqlite"
LOCK_TIMEOUT: Final = 5.0
"""seconds to wait for another process that is writing."""
SCRYPT: Final = (1 << 15, 8, 1)
"""N, r and p of RFC 7914 for a new store: a guess at its passphrase costs 32 MiB of memory."""
_NONCE_SIZE: Final = 12
_CHECK: Final = b"check"
_MIGRATIONS: Final = (
    """
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE seeds (
    role TEXT NOT NULL, name TEXT NOT NULL, secret BLOB NOT NULL, PRIMARY KEY (role, name)
) STRICT, WITHOUT ROWID;
CREATE TABLE records (
    kind TEXT NOT NULL, id BLOB NOT NULL, document BLOB NOT NULL, PRIMARY KEY (kind, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE one_time_keys (
    instance BLOB NOT NULL, slot INTEGER NOT NULL, message BLOB NOT NULL, PRIMARY KEY (instance, slot)
) STRICT, WITHOUT ROWID;
CREATE TABLE nonces (
    public_nonce BLOB PRIMARY KEY, digest BLOB NOT NULL, aggregate BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE coins (outpoint BLOB PRIMARY KEY, purpose TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE transactions (
    number INTEGER PRIMARY KEY, owner BLOB NOT NULL, name TEXT NOT NULL, txid BLOB NOT NULL UNIQUE, raw BLOB NOT NULL
) STRICT;
""",
    """
ALTER TABLE transactions ADD COLUMN parent BLOB;
ALTER TABLE transactions ADD COLUMN sent INTEGER NOT NULL DEFAULT 0;
ALTER TABLE transactions ADD COLUMN settled INTEGER NOT NULL DEFAULT 0;
""",
    """
CREATE TABLE member_keys (
    member TEXT NOT NULL, deposit BLOB NOT NULL, public_key BLOB NOT NULL, secret BLOB, deleted TEXT, height INTEGER,
    PRIMARY KEY (member, deposit)
) STRICT, WITHOUT ROWID;
""",
    """
CREATE TABLE oracle_nonces (
    key BLOB NOT NULL, nonce BLOB NOT NULL, event BLOB NOT NULL, secret BLOB, message BLOB, PRIMARY KEY (key, nonce)
) STRICT, WITHOUT ROWID;
""",
)
"""Entry `i` takes a store from schema `i` to `i + 1`. An entry never changes once it is released; new ones follow."""
SCHEMA_VERSION: Final = len(_MIGRATIONS)


@dataclass(frozen=True)
class Kept:
    """A transaction that this party made for a deposit or instance, and whether it was to be sent.

    `parent` is the txid of the transaction whose fee it pays, where it is a package child.
    """

    owner: bytes
    name: str
    tx: Transaction
    parent: bytes | None
    sent: bool


@dataclass(frozen=True)
class MemberKey:
    """What is known of a committee member's key for one deposit: 33 bytes, and when it was deleted.

    `deleted` is a time in UTC (ISO 8601), `height` that of the chain then; both None while the key can sign.
    """

    member: str
    public: bytes
    deleted: str | None
    height: int | None


Ask = Callable[[bool], str]
"""Asks a person for the passphrase; True where the store has none yet, and gets this one."""


class Store:
    """One party's state on one network. Not shared between threads; other processes wait their turn to write."""

    def __init__(self, connection: sqlite3.Connection, plain: bool, ask: Ask | None) -> None:
        """Use `Store.open`."""
        self._db = connection
        self._plain = plain
        self._ask = ask
        self._key: bytes | None = None

    @classmethod
    def open(
        cls,
        home: Path,
        network: Network,
        *,
        passphrase: str | None = None,
        ask: Ask | None = None,
        insecure_plain_keys: bool = False,
    ) -> Self:
        """Open, or create, the store in `home`.

        Without a passphrase, and with keys encrypted, everything but the seeds can be read and written; `ask` is
        called when the first of them is needed. The passphrase of the first seed becomes the store's. Raises BadInput
        for a wrong passphrase, a store of another network or made by a newer version, and for plain keys outside
        regtest or mixed with encrypted ones; BridgeError where another process holds the store.
        """
        if insecure_plain_keys and network is not Network.REGTEST:
            raise BadInput("--insecure-plain-keys", network, "used on regtest only")
        connection = _connect(home)
        try:
            _migrate(connection, home, network)
            plain = _are_keys_plain(connection, home, insecure_plain_keys)
            store = cls(connection, plain, ask if passphrase is None else lambda _: passphrase)
            if passphrase is not None:
                store._check_passphrase(insecure_plain_keys)
        except sqlite3.OperationalError as error:
            connection.close()
            raise _failed(error) from None
        except BaseException:
            connection.close()
            raise
        return store

    @classmethod
    def read_only(cls, home: Path, network: Network) -> Self:
        """The store in `home`, to look at: nothing is made, migrated or written, and SQLite itself refuses the seeds.

        Raises BadInput where there is none, or one of another network or schema; BridgeError where it cannot be read.
        """
        path = home / FILE_NAME
        if not path.is_file():
            raise BadInput("--datadir", home, f"a folder with a {FILE_NAME}")
        try:
            uri = f"{path.resolve().as_uri()}?mode=ro"
            with ExitStack() as held:
                connection = sqlite3.connect(uri, uri=True, timeout=LOCK_TIMEOUT, isolation_level=None)
                held.callback(connection.close)
                connection.execute("PRAGMA query_only = ON")
                connection.set_authorizer(_deny_seeds)
                if 0 < (version := _version(connection)) < SCHEMA_VERSION:
                    raise BridgeError(
                        f"store: it is of an earlier version (schema {version}); `status`, or any other command that "
                        "may write, brings it up to date"
                    )
                _check(connection, home, network)
                held.pop_all()
        except sqlite3.Error as error:
            raise unreadable(error) from None
        return cls(connection, plain=False, ask=None)

    @classmethod
    def in_memory(cls, network: Network) -> Self:
        """A store that is gone when it is closed: for what is read off a chain by who must not write to a file."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        _migrate(connection, Path(":memory:"), network)
        return cls(connection, plain=False, ask=None)

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All writes inside happen, or none; inside another transaction, they are part of it.

        Raises BridgeError where another process holds the store, or where the disk does not take the writes.
        """
        if self._db.in_transaction:
            yield
            return
        try:
            self._db.execute("BEGIN IMMEDIATE")
            yield
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            raise _failed(error) from None
        finally:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")

    @contextmanager
    def _committed(self) -> Iterator[None]:
        """A transaction that is on disk when it ends; one inside another would wait for that one."""
        if self._db.in_transaction:
            raise RuntimeError("store: what must be committed before it is used was written inside a transaction")
        with self.transaction():
            yield

    def add_seed(self, name: str, seed: Seed) -> None:
        """Keep a seed under a name of its role. Raises BadInput where the name is taken."""
        secret = self._encrypt(_label(seed.role, name), seed.reveal())
        with self.transaction():
            if self._db.execute("SELECT 1 FROM seeds WHERE role = ? AND name = ?", (seed.role, name)).fetchone():
                raise BadInput(f"{seed.role} name", name, "a name that has no key yet")
            self._db.execute("INSERT INTO seeds VALUES (?, ?, ?)", (seed.role, name, secret))

    def seed(self, role: Role, name: str) -> Seed:
        """A seed by role and name. Raises BadInput where there is none, or where its passphrase was not given."""
        row = self._db.execute("SELECT secret FROM seeds WHERE role = ? AND name = ?", (role, name)).fetchone()
        if row is None:
            known = ", ".join(self.seed_names(role)) or f"none; make one with `{role.group} keygen`"
            raise BadInput(f"{role} name", name, f"a known name ({known})")
        return Seed(role, self._decrypt(_label(role, name), row[0]))

    def seed_names(self, role: Role) -> list[str]:
        """Names that have a seed of this role."""
        rows = self._db.execute("SELECT name FROM seeds WHERE role = ? ORDER BY name", (role,))
        return [name for (name,) in rows]

    def add_member_key(self, member: str, deposit: bytes, public: bytes, secret: bytes) -> None:
        """Keep a member's key for a deposit; where there is one already, or was, that one stays."""
        row = (member, deposit, public, self._encrypt(_member_label(member, deposit), secret))
        columns = "(member, deposit, public_key, secret)"
        with self.transaction():
            self._db.execute(f"INSERT OR IGNORE INTO member_keys {columns} VALUES (?, ?, ?, ?)", row)  # noqa: S608

    def member_secret(self, member: str, deposit: bytes) -> bytes | None:
        """The 32 secret bytes; None where there is none. Raises BridgeError where the key was deleted."""
        query = "SELECT public_key, secret FROM member_keys WHERE member = ? AND deposit = ?"
        row = self._db.execute(query, (member, deposit)).fetchone()
        if row is None:
            return None
        self._refuse_deleted(row[0])
        return self._decrypt(_member_label(member, deposit), row[1])

    def member_keys(self, deposit: bytes) -> list[MemberKey]:
        """The keys of a deposit, deleted ones too."""
        query = "SELECT member, public_key, deleted, height FROM member_keys WHERE deposit = ? ORDER BY member"
        return [MemberKey(*row) for row in self._db.execute(query, (deposit,))]

    def delete_member_key(self, member: str, deposit: bytes, public: bytes, when: str, height: int) -> None:
        """Record that a key is deleted, and overwrite it; what was recorded first stays. `wipe` leaves no copy."""
        with self.transaction():
            self._db.execute(
                "INSERT INTO member_keys VALUES (?, ?, ?, NULL, ?, ?) ON CONFLICT DO UPDATE SET"
                " secret = NULL, deleted = coalesce(deleted, excluded.deleted),"
                " height = coalesce(height, excluded.height)",
                (member, deposit, public, when, height),
            )

    def wipe(self) -> None:
        """Leave nothing in any file of what was deleted. Raises BridgeError while another process reads the store.

        The file is written anew, for SQLite leaves copies behind when it moves rows from page to page.
        """
        try:
            self._db.execute("VACUUM")
            busy = self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        except sqlite3.OperationalError as error:
            raise _failed(error) from None
        if busy:
            raise BridgeError("store: deleted, but another bitvm-bridge reads what was; run it again to wipe the file")

    def _refuse_deleted(self, public: bytes) -> None:
        query = "SELECT member, deleted, height FROM member_keys WHERE public_key = ? AND deleted IS NOT NULL"
        for member, when, height in self._db.execute(query, (public,)):
            raise BridgeError(f"member {member!r}: its key for this deposit was deleted at {when}, in block {height}")

    def put(self, kind: str, key: bytes, document: bytes) -> None:
        """Keep a document, replacing an earlier one; the same one again writes nothing to the disk."""
        update = "ON CONFLICT DO UPDATE SET document = excluded.document WHERE document != excluded.document"
        with self.transaction():
            self._db.execute(f"INSERT INTO records VALUES (?, ?, ?) {update}", (kind, key, document))  # noqa: S608

    def get(self, kind: str, key: bytes) -> bytes | None:
        """A document, or None."""
        row = self._db.execute("SELECT document FROM records WHERE kind = ? AND id = ?", (kind, key)).fetchone()
        return row[0] if row else None

    def keys(self, kind: str) -> list[bytes]:
        """The ids of every document of a kind."""
        return [key for (key,) in self._db.execute("SELECT id FROM records WHERE kind = ? ORDER BY id", (kind,))]

    def items(self, kind: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """(id, document) of every document of a kind whose id begins so, by id."""
        query = "SELECT id, document FROM records WHERE kind = ? AND substr(id, 1, ?) = ? AND id >= ? ORDER BY id"
        return list(self._db.execute(query, (kind, len(prefix), prefix, prefix)))

    def delete(self, kind: str, key: bytes) -> None:
        """Forget a document; one that is not there is fine."""
        with self.transaction():
            self._db.execute("DELETE FROM records WHERE kind = ? AND id = ?", (kind, key))

    def is_bound(self, instance: bytes, messages: Sequence[bytes]) -> bool:
        """Is every key of an instance bound to these messages?"""
        return self.bound(instance) == tuple(messages)

    def bound(self, instance: bytes) -> tuple[bytes, ...]:
        """What the keys of an instance are bound to, key by key; empty before they are."""
        query = "SELECT message FROM one_time_keys WHERE instance = ? ORDER BY slot"
        return tuple(message for (message,) in self._db.execute(query, (instance,)))

    def bind_one_time_keys(self, instance: bytes, messages: Sequence[bytes]) -> None:
        """Bind key `i` of an instance to message `i`, all or none, before any of them signs.

        The same messages again are fine. Raises BridgeError where a key has signed another message, RuntimeError
        inside a transaction, which could still take it back.
        """
        with self._committed():
            for slot, message in enumerate(messages):
                query = "SELECT message FROM one_time_keys WHERE instance = ? AND slot = ?"
                row = self._db.execute(query, (instance, slot)).fetchone()
                if row is None:
                    self._db.execute("INSERT INTO one_time_keys VALUES (?, ?, ?)", (instance, slot, message))
                elif row[0] != message:
                    raise BridgeError(
                        f"assertion: instance {instance.hex()[:16]}… has already signed another value {slot}; "
                        "a one-time key never signs twice"
                    )

    def bind_nonces(self, uses: Sequence[NonceUse], key: bytes | None = None) -> None:
        """Record what each nonce signs, all or none.

        Raises BridgeError where one was ever used before, or where the member's public `key` that is to sign was
        deleted, in this process or another; RuntimeError inside a transaction.
        """
        with self._committed():
            if key is not None:
                self._refuse_deleted(key)
            for use in uses:
                try:
                    row = (use.public_nonce, use.digest, use.aggregate)
                    self._db.execute("INSERT INTO nonces VALUES (?, ?, ?)", row)
                except sqlite3.IntegrityError:
                    raise BridgeError("MuSig2: a nonce has already signed; start a new session") from None

    def nonce_guard(self, public: bytes) -> NonceGuard:
        """`bind_nonces` for a member's public key (33 bytes)."""
        return partial(self.bind_nonces, key=public)

    def keep_oracle_nonces(self, key: bytes, event: bytes, secrets: Mapping[bytes, bytes | None]) -> None:
        """Keep which event (32 bytes) the nonces of an oracle's x-only `key` belong to, all or none.

        `secrets` has the secret nonce (32 bytes) of each x-only nonce that is this party's own, None for another's.
        The same event again changes nothing. Raises BridgeError for a nonce that the key announced for another event.
        """
        with self.transaction():
            for nonce in self.new_oracle_nonces(key, event, secrets):
                secret = secrets[nonce]
                sealed = None if secret is None else self._encrypt(_nonce_label(key, nonce), secret)
                self._db.execute("INSERT INTO oracle_nonces VALUES (?, ?, ?, ?, NULL)", (key, nonce, event, sealed))

    def new_oracle_nonces(self, key: bytes, event: bytes, nonces: Iterable[bytes]) -> list[bytes]:
        """Those of an event's nonces that are not kept yet. Raises BridgeError as `keep_oracle_nonces`."""
        found = []
        for nonce in nonces:
            query = "SELECT event FROM oracle_nonces WHERE key = ? AND nonce = ?"
            row = self._db.execute(query, (key, nonce)).fetchone()
            if row is None:
                found.append(nonce)
            elif row[0] != event:
                raise BridgeError(
                    f"oracle {key.hex()[:16]}…: nonce {nonce.hex()[:16]}… was announced for another event; "
                    "two attestations under one nonce reveal its key"
                )
        return found

    def oracle_nonce_secret(self, key: bytes, nonce: bytes) -> bytes:
        """The 32 secret bytes of a nonce. Raises BridgeError where they are not in this store."""
        query = "SELECT secret FROM oracle_nonces WHERE key = ? AND nonce = ? AND secret IS NOT NULL"
        row = self._db.execute(query, (key, nonce)).fetchone()
        if row is None:
            raise BridgeError(f"oracle {key.hex()[:16]}…: the secret of nonce {nonce.hex()[:16]}… is not here")
        return self._decrypt(_nonce_label(key, nonce), row[0])

    def bind_oracle_nonces(self, key: bytes, messages: Mapping[bytes, bytes]) -> None:
        """Bind nonces of an oracle's key to the messages (32 bytes) that they sign, all or none, before they do.

        The same messages again are fine. Raises BridgeError where a nonce is bound to another message or not kept
        here, RuntimeError inside a transaction, which could still take it back.
        """
        with self._committed():
            for nonce, message in messages.items():
                query = "SELECT message FROM oracle_nonces WHERE key = ? AND nonce = ? AND secret IS NOT NULL"
                row = self._db.execute(query, (key, nonce)).fetchone()
                if row is None or row[0] not in (None, message):
                    why = "is not here" if row is None else "has attested to another outcome; a nonce never signs twice"
                    raise BridgeError(f"oracle {key.hex()[:16]}…: nonce {nonce.hex()[:16]}… {why}")
                update = "UPDATE oracle_nonces SET message = ? WHERE key = ? AND nonce = ?"
                self._db.execute(update, (message, key, nonce))

    def reserve_coin(self, outpoint: OutPoint, purpose: str) -> None:
        """Set a coin aside. Raises BridgeError where it already serves another purpose."""
        with self.transaction():
            key = outpoint.serialize()
            row = self._db.execute("SELECT purpose FROM coins WHERE outpoint = ?", (key,)).fetchone()
            if row is not None and row[0] != purpose:
                raise BridgeError(f"coin {outpoint}: already reserved for {row[0]}, wanted for {purpose}")
            self._db.execute("INSERT OR IGNORE INTO coins VALUES (?, ?)", (key, purpose))

    def reserved_coins(self) -> dict[OutPoint, str]:
        """Every coin set aside, and what for."""
        rows = self._db.execute("SELECT outpoint, purpose FROM coins")
        return {OutPoint(raw[:32], int.from_bytes(raw[32:], "little")): purpose for raw, purpose in rows}

    def release_coins(self, purpose: str) -> None:
        """Nothing is set aside for this purpose any more."""
        with self.transaction():
            self._db.execute("DELETE FROM coins WHERE purpose = ?", (purpose,))

    def record_transaction(
        self, owner: bytes, name: str, tx: Transaction, *, parent: bytes | None = None, sent: bool = False
    ) -> None:
        """Remember a transaction of a deposit or instance; `parent` is the txid that it pays for, as a package child.

        The same one again changes nothing, except that it is to be sent from now on where `sent` says so.
        """
        with self.transaction():
            row = (owner, name, tx.txid, tx.serialize(), parent)
            columns = "(owner, name, txid, raw, parent)"
            self._db.execute(f"INSERT OR IGNORE INTO transactions {columns} VALUES (?, ?, ?, ?, ?)", row)  # noqa: S608
            if sent:
                self._db.execute("UPDATE transactions SET sent = 1, settled = 0 WHERE txid = ?", (tx.txid,))

    def transactions(self, owner: bytes) -> list[tuple[str, Transaction]]:
        """(name, transaction) of everything remembered for a deposit or instance, oldest first; no package children."""
        query = "SELECT name, raw FROM transactions WHERE owner = ? AND parent IS NULL ORDER BY number"
        return [(name, Transaction.parse(raw)) for name, raw in self._db.execute(query, (owner,))]

    def unsettled(self) -> list[Kept]:
        """Every transaction whose fate is not known to be final, package children included, oldest first."""
        query = "SELECT owner, name, raw, parent, sent FROM transactions WHERE settled = 0 ORDER BY number"
        return [
            Kept(owner, name, Transaction.parse(raw), parent, bool(sent))
            for owner, name, raw, parent, sent in self._db.execute(query)
        ]

    def settle(self, owner: bytes, name: str) -> None:
        """The fate of every transaction of this name is final: they are looked after no more."""
        with self.transaction():
            self._db.execute("UPDATE transactions SET settled = 1 WHERE owner = ? AND name = ?", (owner, name))

    def _encrypt(self, label: bytes, secret: bytes) -> bytes:
        if self._plain:
            return secret
        nonce = secrets.token_bytes(_NONCE_SIZE)
        return nonce + ChaCha20Poly1305(self._unlocked()).encrypt(nonce, secret, label)

    def _decrypt(self, label: bytes, sealed: bytes) -> bytes:
        if self._plain:
            return sealed
        cipher = ChaCha20Poly1305(self._unlocked())
        try:
            return cipher.decrypt(sealed[:_NONCE_SIZE], sealed[_NONCE_SIZE:], label)
        except InvalidTag:
            raise BridgeError(f"store: the key {label.decode()!r} is damaged") from None

    def _check_passphrase(self, insecure_plain_keys: bool) -> None:
        """Refuse, as soon as the store is open, a passphrase that is wrong or that protects nothing."""
        if not self._plain and self._has_passphrase():
            self._unlocked()
        elif self._plain and not insecure_plain_keys:
            raise BadInput("passphrase", "the one given", "of use: the keys of this store are plain")

    def _has_passphrase(self) -> bool:
        return self._db.execute("SELECT 1 FROM meta WHERE name = 'check'").fetchone() is not None

    def _unlocked(self) -> bytes:
        if self._key is None:
            if self._ask is None:
                raise BadInput("passphrase", "none", "given: the keys of this store are encrypted")
            self._key = self._unlock(self._ask(not self._has_passphrase()))
        return self._key

    def _unlock(self, passphrase: str) -> bytes:
        """The key of a passphrase; the first one ever given becomes the store's. Raises BadInput for a wrong one."""
        if not passphrase:
            raise BadInput("passphrase", "", "one character or more")
        key = _stretch(passphrase, *(self._meta(name) for name in ("salt", "scrypt")))
        cipher = ChaCha20Poly1305(key)
        if not self._has_passphrase():
            nonce = secrets.token_bytes(_NONCE_SIZE)
            with self._committed():
                row = ("check", nonce + cipher.encrypt(nonce, b"", _CHECK))
                self._db.execute("INSERT OR IGNORE INTO meta VALUES (?, ?)", row)
        check = self._meta("check")
        try:
            cipher.decrypt(check[:_NONCE_SIZE], check[_NONCE_SIZE:], _CHECK)
        except InvalidTag:
            raise BadInput("passphrase", "the one given", "the passphrase of this store") from None
        return key

    def _meta(self, name: str) -> bytes:
        return _meta(self._db, name)


def _meta(connection: sqlite3.Connection, name: str) -> bytes:
    (value,) = connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return bytes(value)


def _stretch(passphrase: str, salt: bytes, cost: bytes) -> bytes:
    n, r, p = map(int, cost.split(b":"))
    return hashlib.scrypt(passphrase.encode(), salt=salt, n=n, r=r, p=p, maxmem=256 * n * r, dklen=32)


def _label(role: Role, name: str) -> bytes:
    return f"{role}/{name}".encode()


def _nonce_label(key: bytes, nonce: bytes) -> bytes:
    return f"oracle nonce/{key.hex()}/{nonce.hex()}".encode()


def _member_label(member: str, deposit: bytes) -> bytes:
    return f"member/{deposit.hex()}/{member}".encode()


def _failed(error: sqlite3.OperationalError) -> BridgeError:
    busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY  # extended codes keep theirs in the low byte
    return BridgeError(f"store: {error}" + ("; is another bitvm-bridge writing?" if busy else ""))


def unreadable(error: sqlite3.Error) -> BridgeError:
    """What SQLite says of a file that it cannot read."""
    return _failed(error) if isinstance(error, sqlite3.OperationalError) else BridgeError(f"store: {error}")


def _deny_seeds(action: int, table: str | None, column: str | None, *_: str | None) -> int:
    """An authorizer: any column but a seed's secret may be read."""
    denied = action == sqlite3.SQLITE_READ and (table, column) == ("seeds", "secret")
    return sqlite3.SQLITE_DENY if denied else sqlite3.SQLITE_OK


def _connect(home: Path) -> sqlite3.Connection:
    """The database with full sync and write-ahead log; the file is readable by its owner alone."""
    try:
        home.mkdir(parents=True, exist_ok=True)
        make_private(home / FILE_NAME)
        connection = sqlite3.connect(home / FILE_NAME, timeout=LOCK_TIMEOUT, isolation_level=None)
    except (OSError, sqlite3.Error) as error:
        raise BadInput("--datadir", home, f"a folder to write to ({error})") from None
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")
    except sqlite3.OperationalError as error:
        connection.close()
        raise _failed(error) from None
    except sqlite3.DatabaseError as error:
        connection.close()
        raise BadInput("--datadir", home, f"a folder with a readable {FILE_NAME} ({error})") from None
    return connection


def make_private(path: Path) -> None:
    """An empty file where there is none, for its owner alone; SQLite gives its own side files the same mode.

    A file that exists is never opened here: closing it again would drop the locks that this process holds on it.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        path.chmod(0o600)


def _migrate(connection: sqlite3.Connection, home: Path, network: Network) -> None:
    """Bring the file to today's schema, an empty one too; refuse one of a newer version, network or program."""
    if _version(connection) < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        if version := _version(connection):
            _check_network(connection, home, network)
            _upgrade(connection, version)
        elif not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
            _upgrade(connection, version)
            _fill_in(connection, network)
        connection.execute("COMMIT")
    _check(connection, home, network)


def _check(connection: sqlite3.Connection, home: Path, network: Network) -> None:
    """Refuse a file of another schema or network."""
    version = _version(connection)
    if version != SCHEMA_VERSION:
        raise BadInput("--datadir", home, f"a store of schema {SCHEMA_VERSION}; this one has schema {version}")
    _check_network(connection, home, network)


def _upgrade(connection: sqlite3.Connection, version: int) -> None:
    for statements in _MIGRATIONS[version:]:
        for statement in statements.split(";\n"):
            connection.execute(statement)
        version += 1
        connection.execute(f"PRAGMA user_version = {version}")


def _check_network(connection: sqlite3.Connection, home: Path, network: Network) -> None:
    found = _meta(connection, "network")
    if found != network.encode():
        raise BadInput("--datadir", home, f"a store of {network}; this one is of {found.decode()}")


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _fill_in(connection: sqlite3.Connection, network: Network) -> None:
    """What a new store says about itself."""
    cost = ":".join(map(str, SCRYPT)).encode()
    salt = secrets.token_bytes(16)
    rows = [("network", network.encode()), ("keys", b"encrypted"), ("salt", salt), ("scrypt", cost)]
    connection.executemany("INSERT INTO meta VALUES (?, ?)", rows)


def _are_keys_plain(connection: sqlite3.Connection, home: Path, wanted: bool) -> bool:
    """Are seeds kept as they are? A store without a seed becomes what is `wanted`; one with seeds stays what it is."""
    plain = _meta(connection, "keys") == b"plain"
    if wanted and not plain:
        if connection.execute("SELECT 1 FROM seeds").fetchone():
            raise BadInput("--insecure-plain-keys", home, "a store whose keys are plain; this one encrypts them")
        connection.execute("UPDATE meta SET value = ? WHERE name = 'keys'", (b"plain",))
    return plain or wanted
