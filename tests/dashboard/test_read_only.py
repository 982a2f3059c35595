"""A store that is only looked at, a store in memory, and a chain whose changes show without opening it."""

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from bitvm_bridge import records
from bitvm_bridge.chain.embedded import EmbeddedNode, fingerprint, is_settled
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.store import FILE_NAME, Store


@pytest.fixture
def home(tmp_path: Path) -> Path:
    with closing(Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)) as store:
        store.add_seed("default", Seed.generate(Role.OPERATOR))
        store.put(records.INSTANCE, b"id", b"document")
    return tmp_path


def test_records_can_be_read_while_another_writes(home: Path) -> None:
    with (
        closing(Store.open(home, Network.REGTEST)) as writer,
        closing(Store.read_only(home, Network.REGTEST)) as store,
        writer.transaction(),
    ):
        writer.put(records.INSTANCE, b"other", b"unseen")
        assert store.items(records.INSTANCE) == [(b"id", b"document")]
        assert store.seed_names(Role.OPERATOR) == ["default"]


def test_seeds_cannot_be_read_even_where_they_are_plain(home: Path) -> None:
    with closing(Store.read_only(home, Network.REGTEST)) as store:
        with pytest.raises(sqlite3.DatabaseError, match=r"access to seeds\.secret is prohibited"):
            store.seed(Role.OPERATOR, "default")
        with pytest.raises(sqlite3.DatabaseError, match=r"access to seeds\.secret is prohibited"):
            store._db.execute("SELECT * FROM seeds")


def test_nothing_can_be_written(home: Path) -> None:
    before = (home / FILE_NAME).read_bytes()
    with closing(Store.read_only(home, Network.REGTEST)) as store:
        for write in (
            lambda: store.put("kind", b"id", b"document"),
            lambda: store.delete(records.INSTANCE, b"id"),
            lambda: store.bind_one_time_keys(b"id", [b"message"]),
        ):
            with pytest.raises(BridgeError, match="readonly database"):
                write()
    assert (home / FILE_NAME).read_bytes() == before


def test_none_is_made(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=FILE_NAME):
        Store.read_only(tmp_path / "none", Network.REGTEST)
    assert not (tmp_path / "none").exists()


def test_others_are_refused(home: Path) -> None:
    with pytest.raises(BadInput, match="a store of signet; this one is of regtest"):
        Store.read_only(home, Network.SIGNET)
    with closing(sqlite3.connect(home / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 1")
    with pytest.raises(BridgeError, match="of an earlier version"):
        Store.read_only(home, Network.REGTEST)
    with closing(sqlite3.connect(home / FILE_NAME)) as connection:
        connection.execute("PRAGMA user_version = 1000")
    with pytest.raises(BadInput, match="this one has schema 1000"):
        Store.read_only(home, Network.REGTEST)
    (home / FILE_NAME).write_bytes(b"no database" * 100)
    with pytest.raises(BridgeError, match="not a database"):
        Store.read_only(home, Network.REGTEST)


def test_memory_forgets() -> None:
    with closing(Store.in_memory(Network.REGTEST)) as store:
        store.put("kind", b"id", b"document")
        assert store.get("kind", b"id") == b"document"
    with closing(Store.in_memory(Network.REGTEST)) as store:
        assert store.get("kind", b"id") is None


def test_a_chain_shows_its_changes_and_not_that_it_was_read(tmp_path: Path) -> None:
    assert fingerprint(tmp_path) == ()
    with closing(EmbeddedNode(tmp_path)) as node:
        node.mine(3)
    before = fingerprint(tmp_path)
    with closing(EmbeddedNode(tmp_path)) as node:
        node.block(2)
    assert fingerprint(tmp_path) == before != ()
    with closing(EmbeddedNode(tmp_path)) as node:
        node.mine()
    assert fingerprint(tmp_path) != before
    (tmp_path / "mempool.hex").write_text("00")
    assert len(fingerprint(tmp_path)) == 2


def test_a_chain_settles(tmp_path: Path) -> None:
    assert is_settled(tmp_path)
    mempool = tmp_path / "mempool.hex"
    mempool.touch()
    for age, settled in ((0, False), (2, True)):
        os.utime(mempool, (time.time() - age,) * 2)
        assert is_settled(tmp_path) is settled
