"""The store: encrypted seeds, one-time use, all or nothing, and a process that dies at any write."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.signing.musig import Committee, NonceUse, Signer
from bitvm_bridge.store import _MIGRATIONS, FILE_NAME, Kept, Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from tests.vectors import ROOT

SEED = Seed(Role.OPERATOR, bytes(range(32)))
INSTANCE = b"\x01" * 32


def spending(coin: bytes) -> Transaction:
    """A transaction that spends a coin of its own."""
    return Transaction(2, (TxIn(OutPoint(coin * 32, 0)),), (TxOut(1, b"\x51"),))


@pytest.fixture(autouse=True)
def cheap_passphrases(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stores made here stretch passphrases little: no test waits for what only an attacker should."""
    monkeypatch.setattr("bitvm_bridge.store.SCRYPT", (1 << 10, 8, 1))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    yield opened
    opened.close()


def test_seeds_come_back_with_the_passphrase_alone(tmp_path: Path) -> None:
    opened = Store.open(tmp_path, Network.SIGNET, passphrase="right")
    opened.add_seed("a", SEED)
    opened.close()
    assert SEED.reveal() not in b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o077 == 0
    opened = Store.open(tmp_path, Network.SIGNET, passphrase="right")
    assert opened.seed(Role.OPERATOR, "a") == SEED
    opened.close()
    with pytest.raises(BadInput, match="passphrase") as refused:
        Store.open(tmp_path, Network.SIGNET, passphrase="wrong")
    assert "wrong" not in str(refused.value)
    opened = Store.open(tmp_path, Network.SIGNET)
    assert opened.seed_names(Role.OPERATOR) == ["a"]
    for needs_key in (lambda: opened.seed(Role.OPERATOR, "a"), lambda: opened.add_seed("b", SEED)):
        with pytest.raises(BadInput, match="passphrase"):
            needs_key()
    opened.close()


def test_a_seed_moved_to_another_name_does_not_open(tmp_path: Path) -> None:
    opened = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    opened.add_seed("a", SEED)
    opened.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("UPDATE seeds SET name = 'b'")
    database.close()
    opened = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    with pytest.raises(BridgeError, match="damaged"):
        opened.seed(Role.OPERATOR, "b")
    opened.close()


def test_plain_keys_are_a_choice_for_regtest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="regtest only"):
        Store.open(tmp_path / "a", Network.SIGNET, insecure_plain_keys=True)
    assert not (tmp_path / "a").exists()
    opened = Store.open(tmp_path / "b", Network.REGTEST, passphrase="p")
    opened.add_seed("a", SEED)
    opened.close()
    with pytest.raises(BadInput, match="encrypts"):
        Store.open(tmp_path / "b", Network.REGTEST, insecure_plain_keys=True)


def test_wrong_stores_are_refused(tmp_path: Path) -> None:
    Store.open(tmp_path / "a", Network.REGTEST, passphrase="p").close()
    with pytest.raises(BadInput, match="store of signet; this one is of regtest"):
        Store.open(tmp_path / "a", Network.SIGNET, passphrase="p")
    with sqlite3.connect(tmp_path / "a" / FILE_NAME) as database:
        database.execute("PRAGMA user_version = 99")
    database.close()
    with pytest.raises(BadInput, match="schema 99"):
        Store.open(tmp_path / "a", Network.REGTEST, passphrase="p")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / FILE_NAME).write_bytes(b"not a database, and long enough to be read as one" * 20)
    with pytest.raises(BadInput, match="readable"):
        Store.open(tmp_path / "c", Network.REGTEST, passphrase="p")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="--datadir"):
        Store.open(tmp_path / "file", Network.REGTEST, passphrase="p")


SCHEMA_1 = """
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
"""
"""What the first release made."""


def make_schema_1(home: Path, tx: Transaction) -> None:
    """A store of the first release, with a row in every table."""
    with sqlite3.connect(home / FILE_NAME) as database:
        database.executescript(SCHEMA_1)
        meta = [("network", b"regtest"), ("keys", b"plain"), ("salt", bytes(16)), ("scrypt", b"2:8:1")]
        database.executemany("INSERT INTO meta VALUES (?, ?)", meta)
        database.execute("INSERT INTO seeds VALUES ('operator', 'a', ?)", (SEED.reveal(),))
        database.execute("INSERT INTO records VALUES ('kind', ?, ?)", (b"id", b"document"))
        database.execute("INSERT INTO one_time_keys VALUES (?, 0, ?)", (INSTANCE, b"a" * 20))
        database.execute("INSERT INTO nonces VALUES (?, ?, ?)", (b"n", b"d", b"a"))
        database.execute("INSERT INTO coins VALUES (?, 'purpose')", (OutPoint(b"\x07" * 32, 3).serialize(),))
        row = (INSTANCE, "KickOff", tx.txid, tx.serialize())
        database.execute("INSERT INTO transactions (owner, name, txid, raw) VALUES (?, ?, ?, ?)", row)
        database.execute("PRAGMA user_version = 1")
    database.close()


def test_a_store_of_the_first_release_is_brought_up_to_date(tmp_path: Path) -> None:
    """Everything in it is kept; what nobody wrote down then, whether a transaction was sent, counts as not."""
    tx = spending(b"\x01")
    make_schema_1(tmp_path, tx)
    for _ in range(2):
        opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
        assert opened.seed(Role.OPERATOR, "a") == SEED
        assert opened.get("kind", b"id") == b"document"
        assert opened.is_bound(INSTANCE, [b"a" * 20])
        assert opened.reserved_coins() == {OutPoint(b"\x07" * 32, 3): "purpose"}
        assert opened.transactions(INSTANCE) == [("KickOff", tx)]
        assert opened.unsettled() == [Kept(INSTANCE, "KickOff", tx, None, sent=False)]
        with pytest.raises(BridgeError, match="already signed"):
            opened.bind_nonces([NonceUse(b"n", b"d", b"a")])
        opened.close()


def test_an_old_store_of_another_network_stays_as_it_is(tmp_path: Path) -> None:
    make_schema_1(tmp_path, spending(b"\x01"))
    with pytest.raises(BadInput, match="store of signet; this one is of regtest"):
        Store.open(tmp_path, Network.SIGNET)
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
    database.close()


def test_an_upgrade_that_breaks_off_leaves_the_old_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_schema_1(tmp_path, spending(b"\x01"))
    with monkeypatch.context() as patch:
        patch.setattr(
            "bitvm_bridge.store._MIGRATIONS", (*_MIGRATIONS, "ALTER TABLE coins ADD COLUMN new BLOB;\nNONSENSE;\n")
        )
        with pytest.raises(BridgeError, match="store: near"):
            Store.open(tmp_path, Network.REGTEST)
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (1,)
        columns = [row[1] for row in database.execute("PRAGMA table_info(transactions)")]
        assert columns == ["number", "owner", "name", "txid", "raw"]
    database.close()
    Store.open(tmp_path, Network.REGTEST).close()


def test_a_new_store_and_an_old_one_end_up_alike(tmp_path: Path) -> None:
    shapes = []
    for name in ("old", "new"):
        (tmp_path / name).mkdir()
        if name == "old":
            make_schema_1(tmp_path / name, spending(b"\x01"))
        Store.open(tmp_path / name, Network.REGTEST, insecure_plain_keys=True).close()
        with sqlite3.connect(tmp_path / name / FILE_NAME) as database:
            tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            shapes.append({table: database.execute(f"PRAGMA table_info({table})").fetchall() for table in tables})
        database.close()
    assert shapes[0] == shapes[1]
    assert len(shapes[0]) == 9


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        database.execute("CREATE TABLE theirs (value)")
    database.close()
    with pytest.raises(BadInput, match="schema 0"):
        Store.open(tmp_path, Network.REGTEST, passphrase="p")
    with sqlite3.connect(tmp_path / FILE_NAME) as database:
        assert database.execute("SELECT name FROM sqlite_master").fetchall() == [("theirs",)]
    database.close()


def test_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).touch(0o666)
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    opened.add_seed("a", SEED)
    files = list(tmp_path.iterdir())
    assert len(files) == 3, "the database and the two files beside it that SQLite keeps while it is open"
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    opened.close()


def test_a_store_stays_plain_and_says_that_a_passphrase_is_of_no_use(tmp_path: Path) -> None:
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    opened.add_seed("a", SEED)
    opened.close()
    with pytest.raises(BadInput, match="plain"):
        Store.open(tmp_path, Network.REGTEST, passphrase="p")
    opened = Store.open(tmp_path, Network.REGTEST)
    assert opened.seed(Role.OPERATOR, "a") == SEED
    opened.close()


def test_the_first_seed_sets_the_passphrase(tmp_path: Path) -> None:
    """A passphrase that nothing was encrypted with is not remembered; the one of the first seed is."""
    Store.open(tmp_path, Network.REGTEST, passphrase="mistyped").close()
    one = Store.open(tmp_path, Network.REGTEST, passphrase="right")
    two = Store.open(tmp_path, Network.REGTEST, passphrase="other")
    one.add_seed("a", SEED)
    with pytest.raises(BadInput, match="passphrase of this store"):
        two.add_seed("b", SEED)
    assert two.seed_names(Role.OPERATOR) == ["a"]
    one.close()
    two.close()


def test_two_first_passphrases_at_once_leave_one(tmp_path: Path) -> None:
    """The second store has looked, seen no passphrase, and is about to write its own when the first sets one."""
    one = Store.open(tmp_path, Network.REGTEST, passphrase="one")
    two = Store.open(tmp_path, Network.REGTEST, passphrase="two")

    def overtake(statement: str) -> None:
        if statement.startswith("BEGIN") and not one.seed_names(Role.OPERATOR):
            one.add_seed("a", SEED)

    two._db.set_trace_callback(overtake)
    with pytest.raises(BadInput, match="passphrase of this store"):
        two.add_seed("b", SEED)
    assert one.seed(Role.OPERATOR, "a") == SEED
    one.close()
    two.close()


def test_a_passphrase_is_asked_for_once_and_never_empty(tmp_path: Path) -> None:
    asked: list[bool] = []

    def ask(first: bool) -> str:
        asked.append(first)
        return "" if len(asked) == 1 else "p"

    opened = Store.open(tmp_path, Network.REGTEST, ask=ask)
    with pytest.raises(BadInput, match="one character or more"):
        opened.add_seed("a", SEED)
    opened.add_seed("a", SEED)
    assert opened.seed(Role.OPERATOR, "a") == SEED
    opened.close()
    opened = Store.open(tmp_path, Network.REGTEST, ask=ask)
    assert opened.seed(Role.OPERATOR, "a") == opened.seed(Role.OPERATOR, "a") == SEED
    assert asked == [True, True, False]
    opened.close()


def test_a_store_keeps_the_cost_that_it_was_made_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.SCRYPT", (1 << 10, 4, 2))
    opened = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    opened.add_seed("a", SEED)
    opened.close()
    monkeypatch.undo()
    opened = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    assert opened.seed(Role.OPERATOR, "a") == SEED
    opened.close()


def test_a_flipped_bit_in_a_seed_is_found(tmp_path: Path) -> None:
    opened = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    opened.add_seed("a", SEED)
    (sealed,) = opened._db.execute("SELECT secret FROM seeds").fetchone()
    for place in (0, 12, len(sealed) - 1):
        changed = sealed[:place] + bytes([sealed[place] ^ 1]) + sealed[place + 1 :]
        opened._db.execute("UPDATE seeds SET secret = ?", (changed,))
        with pytest.raises(BridgeError, match="damaged") as refused:
            opened.seed(Role.OPERATOR, "a")
        assert SEED.reveal().hex() not in str(refused.value)
    opened.close()


def test_every_seed_has_its_own_encryption(tmp_path: Path) -> None:
    opened = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    for name in ("a", "b"):
        opened.add_seed(name, SEED)
    sealed = [secret for (secret,) in opened._db.execute("SELECT secret FROM seeds")]
    assert len({secret[:12] for secret in sealed}) == len({secret[12:] for secret in sealed}) == 2
    opened.close()


def test_names_are_taken_once(store: Store) -> None:
    store.add_seed("a", SEED)
    with pytest.raises(BadInput, match="operator name"):
        store.add_seed("a", Seed(Role.OPERATOR, bytes(32)))
    assert store.seed(Role.OPERATOR, "a") == SEED
    with pytest.raises(BadInput, match="a known name"):
        store.seed(Role.OPERATOR, "b")


def test_a_one_time_key_signs_one_message(store: Store) -> None:
    messages = [b"a" * 20, b"b" * 20]
    store.bind_one_time_keys(INSTANCE, messages)
    store.bind_one_time_keys(INSTANCE, messages)
    with pytest.raises(BridgeError, match="never signs twice"):
        store.bind_one_time_keys(INSTANCE, [b"a" * 20, b"c" * 20])
    store.bind_one_time_keys(b"\x02" * 32, [b"z" * 20])


def test_binding_is_all_or_nothing(store: Store) -> None:
    store.bind_one_time_keys(INSTANCE, [b"a" * 20])
    with pytest.raises(BridgeError):
        store.bind_one_time_keys(INSTANCE, [b"x" * 20, b"y" * 20])
    store.bind_one_time_keys(INSTANCE, [b"a" * 20, b"free" * 5])
    uses = [NonceUse(b"n1", b"d", b"a"), NonceUse(b"n2", b"d", b"a")]
    store.bind_nonces(uses[:1])
    with pytest.raises(BridgeError, match="nonce"):
        store.bind_nonces([NonceUse(b"n3", b"d", b"a"), uses[0]])
    store.bind_nonces([NonceUse(b"n3", b"d", b"a"), uses[1]])


def test_a_nonce_is_used_once_even_for_the_same_digest(store: Store) -> None:
    use = NonceUse(b"n", b"d", b"a")
    store.bind_nonces([use])
    for again in (use, NonceUse(b"n", b"other", b"a")):
        with pytest.raises(BridgeError, match="already signed"):
            store.bind_nonces([again])


MESSAGES = st.lists(st.sampled_from([b"x" * 20, b"y" * 20, b"z" * 20]), min_size=1, max_size=3)


def test_one_time_keys_behave_like_a_table_written_once(store: Store) -> None:
    fresh = count()

    @settings(max_examples=25, deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("ij"), MESSAGES), max_size=6))
    def bind_all(bindings: list[tuple[str, list[bytes]]]) -> None:
        example, model = next(fresh), dict[tuple[bytes, int], bytes]()
        for name, messages in bindings:
            instance = f"{example}{name}".encode()
            wanted = {(instance, slot): message for slot, message in enumerate(messages)}
            if all(model.get(key, message) == message for key, message in wanted.items()):
                store.bind_one_time_keys(instance, messages)
                model |= wanted
            else:
                with pytest.raises(BridgeError, match="never signs twice"):
                    store.bind_one_time_keys(instance, messages)
            bound = [message for (owner, _), message in sorted(model.items()) if owner == instance]
            assert store.is_bound(instance, bound)
            assert not store.is_bound(instance, [*bound, b"w" * 20])

    bind_all()


def test_what_signs_is_never_bound_inside_a_transaction(store: Store) -> None:
    """A transaction around it could roll the binding back after the signature has left."""
    bindings: tuple[Callable[[], None], ...] = (
        lambda: store.bind_one_time_keys(INSTANCE, [b"a" * 20]),
        lambda: store.bind_nonces([NonceUse(b"n", b"d", b"a")]),
    )
    for bind in bindings:
        with pytest.raises(RuntimeError, match="inside a transaction"), store.transaction():
            bind()
    assert store.is_bound(INSTANCE, [])
    store.bind_nonces([NonceUse(b"n", b"d", b"a")])


def test_a_signer_signs_nothing_that_the_store_did_not_record(store: Store) -> None:
    key = Seed(Role.COMMITTEE, SEED.reveal()).committee_key(b"request")
    signer = Signer(Committee((("alice", key.public),)), "alice", key, store.bind_nonces)
    nonces = {"alice": signer.nonces({"tx": bytes(32)})}
    store.bind_nonces([NonceUse(nonces["alice"]["tx"], b"other", b"session")])
    with pytest.raises(BridgeError, match="already signed"):
        signer.sign({"tx": bytes(32)}, nonces)
    nonces = {"alice": signer.nonces({"tx": bytes(32)})}
    assert signer.sign({"tx": bytes(32)}, nonces).keys() == {"tx"}
    with pytest.raises(BridgeError, match="already signed"):
        store.bind_nonces([NonceUse(nonces["alice"]["tx"], b"", b"")])


def test_the_same_document_again_is_no_write(store: Store) -> None:
    """Parties keep what they are told again and again; a write would wait for the disk each time."""
    for document, writes in ((b"one", 1), (b"one", 0), (b"two", 1), (b"two", 0), (b"one", 1)):
        before = store._db.total_changes
        store.put("kind", b"id", document)
        assert store._db.total_changes - before == writes
        assert store.get("kind", b"id") == document


def test_coins_serve_one_purpose(store: Store) -> None:
    coin = OutPoint(b"\x07" * 32, 3)
    store.reserve_coin(coin, "claim of 1")
    store.reserve_coin(coin, "claim of 1")
    with pytest.raises(BridgeError, match="already reserved for claim of 1"):
        store.reserve_coin(coin, "claim of 2")
    assert store.reserved_coins() == {coin: "claim of 1"}


def test_coins_are_released_by_purpose(store: Store) -> None:
    coins = [OutPoint(b"\x07" * 32, number) for number in range(3)]
    for coin, purpose in zip(coins, ("one", "two", "one"), strict=True):
        store.reserve_coin(coin, purpose)
    store.release_coins("one")
    assert store.reserved_coins() == {coins[1]: "two"}
    store.reserve_coin(coins[0], "three")


def test_transactions_are_looked_after_until_their_fate_is_final(store: Store) -> None:
    parent, child, other = (spending(bytes([number])) for number in range(3))
    store.record_transaction(INSTANCE, "KickOff", parent)
    store.record_transaction(INSTANCE, "KickOff", child, parent=parent.txid, sent=True)
    store.record_transaction(INSTANCE, "Assert", other, sent=True)
    store.record_transaction(INSTANCE, "KickOff", parent)
    kept = [
        Kept(INSTANCE, "KickOff", parent, None, sent=False),
        Kept(INSTANCE, "KickOff", child, parent.txid, sent=True),
        Kept(INSTANCE, "Assert", other, None, sent=True),
    ]
    assert store.unsettled() == kept
    assert store.transactions(INSTANCE) == [("KickOff", parent), ("Assert", other)]
    store.record_transaction(INSTANCE, "KickOff", parent, sent=True)
    store.record_transaction(INSTANCE, "KickOff", parent)
    assert store.unsettled()[0] == replace(kept[0], sent=True)
    store.settle(INSTANCE, "KickOff")
    assert store.unsettled() == kept[2:]
    assert store.transactions(INSTANCE) == [("KickOff", parent), ("Assert", other)]
    store.record_transaction(INSTANCE, "KickOff", parent)
    assert store.unsettled() == kept[2:]
    store.record_transaction(INSTANCE, "KickOff", parent, sent=True)
    assert [item.name for item in store.unsettled()] == ["KickOff", "Assert"]


def test_records_are_listed_by_the_beginning_of_their_ids_and_deleted(store: Store) -> None:
    for key in (b"a1", b"a2", b"b1", b"a\xff"):
        store.put("kind", key, b"of " + key)
    store.put("another", b"a3", b"")
    assert store.items("kind", b"a") == [(key, b"of " + key) for key in (b"a1", b"a2", b"a\xff")]
    assert len(store.items("kind")) == 4
    assert store.items("kind", b"c") == []
    store.delete("kind", b"a1")
    store.delete("kind", b"never there")
    assert [key for key, _ in store.items("kind", b"a")] == [b"a2", b"a\xff"]
    assert store.get("another", b"a3") == b""


def test_what_one_time_keys_are_bound_to_is_told(store: Store) -> None:
    assert store.bound(INSTANCE) == ()
    store.bind_one_time_keys(INSTANCE, [b"one", b"two"])
    assert store.bound(INSTANCE) == (b"one", b"two")
    assert store.bound(b"\x02" * 32) == ()


def test_records_and_transactions(store: Store) -> None:
    assert store.get("kind", b"id") is None
    store.put("kind", b"id", b"one")
    store.put("kind", b"id", b"two")
    assert (store.get("kind", b"id"), store.keys("kind"), store.keys("other")) == (b"two", [b"id"], [])
    tx = spending(bytes(1))
    store.record_transaction(INSTANCE, "KickOff", tx)
    store.record_transaction(INSTANCE, "KickOff", tx)
    assert store.transactions(INSTANCE) == [("KickOff", tx)]


def test_a_transaction_is_all_or_nothing(store: Store) -> None:
    coin = OutPoint(b"\x07" * 32, 3)

    def write() -> None:
        store.put("kind", b"id", b"document")
        store.reserve_coin(coin, "purpose")

    def write_and_fail() -> None:
        with store.transaction():
            write()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_and_fail()
    assert (store.keys("kind"), store.reserved_coins()) == ([], {})
    with store.transaction(), store.transaction():
        write()
    assert (store.keys("kind"), store.reserved_coins()) == ([b"id"], {coin: "purpose"})


def test_a_full_disk_is_reported_and_changes_nothing(store: Store) -> None:
    (pages,) = store._db.execute("PRAGMA page_count").fetchone()
    store._db.execute(f"PRAGMA max_page_count = {pages}")

    def fill() -> None:
        with store.transaction():
            store.put("kind", b"small", b"document")
            store.put("kind", b"large", bytes(1 << 20))

    with pytest.raises(BridgeError) as refused:
        fill()
    assert str(refused.value) == "store: database or disk is full"
    assert store.keys("kind") == []
    store.put("kind", b"small", b"document")


def test_writes_reach_the_disk_before_they_are_reported(store: Store) -> None:
    """SQLite's promise that a commit survives a power cut holds in these two modes only together."""
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)


def test_another_writer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.LOCK_TIMEOUT", 0.05)
    one = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    two = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    with one.transaction(), pytest.raises(BridgeError, match="another bitvm-bridge"):
        two.put("kind", b"id", b"document")
    two.put("kind", b"id", b"document")
    one.close()
    two.close()


def test_reading_goes_on_while_another_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.LOCK_TIMEOUT", 0.05)
    one = Store.open(tmp_path, Network.REGTEST, passphrase="p")
    one.add_seed("a", SEED)
    with one.transaction():
        one.put("kind", b"id", b"document")
        two = Store.open(tmp_path, Network.REGTEST, passphrase="p")
        assert two.seed(Role.OPERATOR, "a") == SEED
        assert two.keys("kind") == []
    assert two.keys("kind") == [b"id"]
    one.close()
    two.close()


def test_a_store_that_another_process_creates_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.LOCK_TIMEOUT", 0.05)
    other = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(BridgeError, match="database is locked; is another bitvm-bridge writing"):
        Store.open(tmp_path, Network.REGTEST, passphrase="p")
    other.execute("ROLLBACK")
    other.close()
    Store.open(tmp_path, Network.REGTEST, passphrase="p").close()


CHILD = """
import os, sys
from pathlib import Path
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
store = Store.open(Path(sys.argv[1]), Network.REGTEST, insecure_plain_keys=True)
if sys.argv[2] == "before":
    with store.transaction():
        store._db.execute("INSERT INTO one_time_keys VALUES (?, 0, ?)", (b"i" * 32, b"a" * 20))
        os.kill(os.getpid(), 9)
store.bind_one_time_keys(b"i" * 32, [b"a" * 20])
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_killed_process_leaves_all_or_nothing(tmp_path: Path, moment: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    died = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), moment], env=environment, timeout=60)
    assert died.returncode == -9
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    if moment == "before":
        opened.bind_one_time_keys(b"i" * 32, [b"b" * 20])
    else:
        with pytest.raises(BridgeError, match="never signs twice"):
            opened.bind_one_time_keys(b"i" * 32, [b"b" * 20])
    opened.close()


DYING = """
import os, sys
from pathlib import Path
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
store = Store.open(Path(sys.argv[1]), Network.REGTEST, insecure_plain_keys=True)
left = int(sys.argv[2])
def count(_):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
store._db.set_trace_callback(count)
with store.transaction():
    store.put("kind", b"one", b"document")
    store.reserve_coin(OutPoint(bytes(32), 0), "purpose")
    store.put("kind", b"two", b"document")
store._db.set_trace_callback(None)
"""
STATEMENTS = 6
"""BEGIN, a record, a look at the coins, a coin, a record, COMMIT."""


@pytest.mark.parametrize("survived", range(STATEMENTS + 1))
def test_a_process_killed_before_any_statement_leaves_all_or_nothing(tmp_path: Path, survived: int) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", DYING, str(tmp_path), str(survived)]
    done = survived == STATEMENTS
    assert subprocess.run(command, env=environment, timeout=60).returncode == (0 if done else -signal.SIGKILL)
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    assert opened.keys("kind") == ([b"one", b"two"] if done else [])
    assert len(opened.reserved_coins()) == done
    opened.put("kind", b"three", b"document")
    opened.close()


SIGNING = """
import os, sys
from pathlib import Path
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.signing.musig import Committee, Signer
from bitvm_bridge.store import Store
store = Store.open(Path(sys.argv[1]), Network.REGTEST, insecure_plain_keys=True)
key = Seed(Role.COMMITTEE, bytes(32)).committee_key(b"request")
def guard(uses):
    if sys.argv[2] == "before":
        os.kill(os.getpid(), 9)
    store.bind_nonces(uses)
    os.kill(os.getpid(), 9)
signer = Signer(Committee((("alice", key.public),)), "alice", key, guard)
nonces = {"alice": signer.nonces({"tx": bytes(32)})}
print(nonces["alice"]["tx"].hex(), flush=True)
print(signer.sign({"tx": bytes(32)}, nonces))
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_signer_killed_at_its_guard_has_not_signed(tmp_path: Path, moment: str) -> None:
    """After the guard the nonce counts as used although no signature exists: the safe way to be wrong."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SIGNING, str(tmp_path), moment]
    died = subprocess.run(command, env=environment, timeout=60, capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL
    (nonce,) = died.stdout.split()
    opened = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    use = NonceUse(bytes.fromhex(nonce), b"", b"")
    if moment == "before":
        opened.bind_nonces([use])
    with pytest.raises(BridgeError, match="already signed"):
        opened.bind_nonces([use])
    opened.close()
