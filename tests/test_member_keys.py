"""Members' keys for deposits: random, kept one by one, deleted for good and on record."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bitvm_bridge import keyring, records
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.actors import KeyActor
from bitvm_bridge.fees import FeeOptions
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.program import parse_program
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.signing.musig import Committee, NonceUse, Signer, sign_together
from bitvm_bridge.store import FILE_NAME, Store
from tests import builders

REQUEST = builders.request()
USE = NonceUse(b"n" * 66, b"d" * 32, b"a" * 66)
DIGESTS = {"label": b"\x07" * 32}


def open_store(home: Path, passphrase: str | None = None) -> Store:
    return Store.open(home, Network.REGTEST, passphrase=passphrase, insecure_plain_keys=passphrase is None)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(tmp_path)
    add_members(opened)
    yield opened
    opened.close()


def add_members(store: Store) -> None:
    for name, seed in builders.MEMBERS.items():
        store.add_seed(name, seed)


def make_deposit(store: Store) -> tuple[DepositSetup, dict[str, SecretKey]]:
    """A deposit with new keys of every member."""
    keys = keyring.member_keys(store, REQUEST.id)
    keyring.keep_member_keys(store, REQUEST.id, keys)
    committee = Committee(tuple((name, key.public) for name, key in keys.items()))
    setup = DepositSetup(REQUEST, committee, builders.DEPOSIT_OUTPOINT)
    records.save_deposit(store, setup)
    return setup, keys


def test_a_key_is_new_for_every_deposit_and_then_stays(store: Store) -> None:
    found = {keyring.member_key(store, name, id_).public for name in builders.MEMBERS for id_ in (b"1" * 32, b"2" * 32)}
    assert len(found) == 6
    again = {keyring.member_key(store, name, id_).public for name in builders.MEMBERS for id_ in (b"1" * 32, b"2" * 32)}
    assert again == found
    derived = {seed.committee_key(id_).public for seed in builders.MEMBERS.values() for id_ in (b"1" * 32, b"2" * 32)}
    assert not derived & found
    with pytest.raises(BadInput, match=r"^committee name: 'dave'"):
        keyring.member_key(store, "dave", b"1" * 32)


def test_keys_that_are_not_kept_leave_no_trace(store: Store) -> None:
    first, second = keyring.member_keys(store, REQUEST.id), keyring.member_keys(store, REQUEST.id)
    assert first["alice"] != second["alice"]
    assert store.member_keys(REQUEST.id) == []
    keyring.keep_member_keys(store, REQUEST.id, first)
    keyring.keep_member_keys(store, REQUEST.id, second)
    assert keyring.member_keys(store, REQUEST.id) == first


def test_a_deposit_of_an_older_version_keeps_its_keys(store: Store) -> None:
    setup = builders.deposit_setup()
    records.save_deposit(store, setup)
    for name, seed in builders.MEMBERS.items():
        assert keyring.member_key(store, name, REQUEST.id) == seed.committee_key(REQUEST.id)
    assert store.member_keys(REQUEST.id) == []
    (deleted,) = keyring.delete_member_keys(store, setup, ["bob"], 7)
    assert deleted.derived
    with pytest.raises(BridgeError, match=r"^member 'bob': its key for this deposit was deleted at .*, in block 7$"):
        keyring.member_key(store, "bob", REQUEST.id)
    assert keyring.member_key(store, "alice", REQUEST.id) == builders.MEMBERS["alice"].committee_key(REQUEST.id)


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
def test_deleted_bytes_are_in_no_file(tmp_path: Path, passphrase: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also among many other rows, and after the store has grown and shrunk around the key."""
    monkeypatch.setattr("bitvm_bridge.store.SCRYPT", (1 << 10, 8, 1))
    store = open_store(tmp_path, passphrase)
    add_members(store)
    setup, keys = make_deposit(store)
    sealed = dict(store._db.execute("SELECT member, secret FROM member_keys").fetchall())
    assert passphrase or sealed == {name: key.reveal() for name, key in keys.items()}
    secrets = {name: [found, found[:16], found[-16:]] for name, found in sealed.items()}
    for number in range(300):
        keyring.member_key(store, "alice", number.to_bytes(32, "big"))
        store.put("kind", number.to_bytes(4, "big"), bytes(1_000))
    for number in range(0, 300, 2):
        store.delete("kind", number.to_bytes(4, "big"))

    def holds(secret: bytes) -> bool:
        return any(secret in path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())

    assert all(holds(secret) for found in secrets.values() for secret in found)
    (deleted,) = keyring.delete_member_keys(store, setup, ["alice"], 120)
    assert not deleted.derived
    assert not any(map(holds, secrets["alice"]))
    assert all(map(holds, secrets["bob"] + secrets["carol"]))
    assert keyring.member_key(store, "bob", REQUEST.id) == keys["bob"]
    store.close()
    assert not any(map(holds, secrets["alice"]))


def test_a_deletion_is_on_record_and_stands(store: Store, tmp_path: Path) -> None:
    setup, keys = make_deposit(store)
    first = keyring.delete_member_keys(store, setup, ["alice", "bob"], 120)
    assert [(item.key.member, item.key.public, item.key.height) for item in first] == [
        (name, keys[name].public, 120) for name in ("alice", "bob")
    ]
    assert all(item.key.deleted is not None and item.key.deleted.endswith("+00:00") for item in first)
    assert keyring.delete_member_keys(store, setup, ["alice", "bob"], 999) == first
    with open_again(tmp_path) as other:
        gone = r"^member 'alice': its key for this deposit was deleted at .*, in block 120$"
        with pytest.raises(BridgeError, match=gone):
            keyring.member_key(other, "alice", REQUEST.id)
        with pytest.raises(BridgeError, match=gone):
            keyring.member_keys(other, REQUEST.id)
        assert keyring.member_key(other, "carol", REQUEST.id) == keys["carol"]
        assert len(keyring.delete_member_keys(other, setup, [], 130)) == 3
    with pytest.raises(BridgeError, match=r"^member 'carol'"):
        keyring.member_key(store, "carol", REQUEST.id)


@contextmanager
def open_again(home: Path) -> Iterator[Store]:
    """The store as another process sees it."""
    opened = open_store(home)
    yield opened
    opened.close()


def test_who_is_not_here_is_named(store: Store) -> None:
    setup, _ = make_deposit(store)
    store.add_seed("dave", Seed.generate(Role.COMMITTEE))
    for name in ("dave", "erin"):
        with pytest.raises(BadInput, match=rf"^member: '{name}' is not one that has a key of this deposit here"):
            keyring.delete_member_keys(store, setup, ["alice", name], 1)
    assert keyring.member_key(store, "alice", REQUEST.id) is not None
    with pytest.raises(BadInput, match=r"here \(none\)$"):
        keyring.delete_member_keys(store, other_deposit(), [], 1)


def other_deposit() -> DepositSetup:
    """A deposit of a committee that is elsewhere."""
    seed = Seed.generate(Role.COMMITTEE)
    return DepositSetup(REQUEST, Committee((("zoe", seed.wallet_key().public),)), builders.DEPOSIT_OUTPOINT)


def test_a_process_that_still_has_the_key_signs_no_more(store: Store, tmp_path: Path) -> None:
    setup, keys = make_deposit(store)
    with open_again(tmp_path) as other:
        signers = [Signer(setup.committee, name, key, other.nonce_guard(key.public)) for name, key in keys.items()]
        assert sign_together(signers, DIGESTS)
        keyring.delete_member_keys(store, setup, ["carol"], 120)
        nonces = other._db.execute("SELECT count(*) FROM nonces").fetchone()
        with pytest.raises(BridgeError, match=r"^member 'carol': its key for this deposit was deleted"):
            sign_together(signers, DIGESTS)
        bound = other._db.execute("SELECT count(*) FROM nonces").fetchone()
        assert bound == (nonces[0] + 2,), "alice and bob had their turn before"
        other.nonce_guard(keys["alice"].public)([USE])
        with pytest.raises(BridgeError, match="deleted"):
            other.nonce_guard(keys["carol"].public)([USE])


def test_a_reader_keeps_the_file_from_being_wiped_and_is_told(store: Store, tmp_path: Path) -> None:
    store._db.execute("PRAGMA busy_timeout = 10")
    setup, _ = make_deposit(store)
    reader = sqlite3.connect(tmp_path / FILE_NAME, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM member_keys").fetchall()
    with pytest.raises(BridgeError, match=r"^store: "):
        keyring.delete_member_keys(store, setup, ["alice"], 120)
    with pytest.raises(BridgeError, match="deleted"):
        keyring.member_key(store, "alice", REQUEST.id)
    reader.close()
    (done,) = keyring.delete_member_keys(store, setup, ["alice"], 130)
    assert done.key.height == 120
    assert (tmp_path / f"{FILE_NAME}-wal").stat().st_size == 0


def test_a_key_moved_to_another_deposit_does_not_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.SCRYPT", (1 << 10, 8, 1))
    store = open_store(tmp_path, "p")
    add_members(store)
    keyring.member_key(store, "alice", b"1" * 32)
    store._db.execute("UPDATE member_keys SET deposit = ?", (b"2" * 32,))
    with pytest.raises(BridgeError, match=r"^store: the key 'member/3232.*/alice' is damaged$"):
        keyring.member_key(store, "alice", b"2" * 32)
    store.close()


def test_an_operator_whose_key_is_elsewhere_joins_nothing_unasked(store: Store) -> None:
    """An exchange signs Challenge and a claim coin by itself; what is to be made by hand it says, and asks no node."""
    setup, _ = make_deposit(store)
    external = keyring.parse_external(builders.wallet_key(Role.OPERATOR).xonly.hex())
    keyring.add_external(store, Role.OPERATOR, "cold", external)
    actor = KeyActor(store, Role.OPERATOR, "cold", FeeOptions().policy, parse_program(builders.PROGRAM))
    assert actor.join(setup, 0) is None
    (todo,) = actor.by_hand
    assert "another wallet holds this key; `operator join " in todo
    assert store.keys(records.INSTANCE) == store.keys(records.CHALLENGE) == []
