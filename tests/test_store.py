"""The store: encrypted seeds, one-time use, all or nothing, and a process that dies at any write."""

import os
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.signing.musig import NonceUse
from bitvm_bridge.store import FILE_NAME, Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from tests.vectors import ROOT

SEED = Seed(Role.OPERATOR, bytes(range(32)))
INSTANCE = b"\x01" * 32


@pytest.fixture
def store(tmp_path: Path):  # type: ignore[no-untyped-def]
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


def test_coins_serve_one_purpose(store: Store) -> None:
    coin = OutPoint(b"\x07" * 32, 3)
    store.reserve_coin(coin, "claim of 1")
    store.reserve_coin(coin, "claim of 1")
    with pytest.raises(BridgeError, match="already reserved for claim of 1"):
        store.reserve_coin(coin, "claim of 2")
    assert store.reserved_coins() == {coin: "claim of 1"}


def test_records_and_transactions(store: Store) -> None:
    assert store.get("kind", b"id") is None
    store.put("kind", b"id", b"one")
    store.put("kind", b"id", b"two")
    assert (store.get("kind", b"id"), store.keys("kind"), store.keys("other")) == (b"two", [b"id"], [])
    tx = Transaction(2, (TxIn(OutPoint(bytes(32), 0)),), (TxOut(1, b"\x51"),))
    store.record_transaction(INSTANCE, "KickOff", tx)
    store.record_transaction(INSTANCE, "KickOff", tx)
    assert store.transactions(INSTANCE) == [("KickOff", tx)]


def test_another_writer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.store.LOCK_TIMEOUT", 0.05)
    one = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    two = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    with one.transaction(), pytest.raises(BridgeError, match="another bitvm-bridge"):
        two.put("kind", b"id", b"document")
    two.put("kind", b"id", b"document")
    one.close()
    two.close()


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
