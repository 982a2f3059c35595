"""A folder as the place where parties leave signed documents."""

import os
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.mailbox import MAX_ENVELOPE, Folder, file_name
from bitvm_bridge.exchange.party import Courier
from bitvm_bridge.keys import SecretKey
from tests.exchange.cast import SEEDS, Player, request

KEY = SecretKey(b"\x07" * 32)


def envelope(number: int = 0) -> Envelope:
    return seal(KEY, "offer", bytes([number]) * 32, {"number": number})


def test_what_one_leaves_the_others_find_once(tmp_path: Path) -> None:
    one, other = Folder(tmp_path), Folder(tmp_path)
    one.put(envelope(1))
    assert [item.id for item in other.since("").envelopes] == [envelope(1).id]
    assert list(other.since("").envelopes) == []
    one.put(envelope(2))
    assert [item.id for item in other.since("").envelopes] == [envelope(2).id]
    assert {item.id for item in Folder(tmp_path).since("").envelopes} == {envelope(1).id, envelope(2).id}


def test_the_same_again_changes_nothing_and_brings_back_what_was_lost(tmp_path: Path) -> None:
    box, sent = Folder(tmp_path), envelope()
    box.put(sent)
    path = tmp_path / file_name(sent)
    before = path.stat().st_mtime_ns
    box.put(sent)
    assert path.stat().st_mtime_ns == before
    path.unlink()
    box.put(sent)
    assert path.read_bytes() == sent.to_json()
    assert os.listdir(tmp_path) == [path.name]


def test_a_truncated_file_is_refused_by_name_and_replaced_by_its_author(tmp_path: Path) -> None:
    box, sent = Folder(tmp_path), envelope()
    path = tmp_path / file_name(sent)
    path.write_bytes(sent.to_json()[:-20])
    post = box.since("")
    assert list(post.envelopes) == []
    assert [line.partition(":")[0] for line in post.refused] == [path.name]
    box.put(sent)
    assert [item.id for item in box.since("").envelopes] == [sent.id]


def test_what_is_overwritten_or_removed_is_put_there_again_by_a_process_that_goes_on(tmp_path: Path) -> None:
    """A member that reaches the folder cannot void what another has left in it, however alike the files look."""
    (tmp_path / "shared").mkdir()
    alice, bob = Player.open("alice", tmp_path / "alice"), Player.open("bob", tmp_path / "bob")
    carrying = Courier(alice.party, Folder(tmp_path / "shared"))
    dora = Player.open("dora", tmp_path / "dora")
    dora.ask(request())
    Courier(dora.party, Folder(tmp_path / "shared")).run()
    carrying.run()
    (path,) = (tmp_path / "shared").glob("*-member-*")
    sent = path.read_bytes()
    path.write_bytes(b" " * len(sent))
    (refused,) = carrying.run()
    assert refused.startswith(f"{path.name}: envelope")
    assert path.read_bytes() == sent
    path.unlink()
    assert carrying.run() == []
    assert path.read_bytes() == sent
    Courier(bob.party, Folder(tmp_path / "shared")).run()
    assert bob.party.board.said(request().id, "member", SEEDS["alice"].identity_key().xonly)


def test_nothing_is_put_again_while_nothing_is_lost(tmp_path: Path) -> None:
    box = Folder(tmp_path)
    box.put(envelope(1))
    assert not box.since("").again
    box.put(envelope(2))
    assert not box.since("").again
    (tmp_path / file_name(envelope(1))).unlink()
    assert box.since("").again
    assert not box.since("").again


def test_a_forged_file_names_whom_it_pretends_to_be_from(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(envelope().to_json().replace(b'"number":0', b'"number":1'))
    (refused,) = Folder(tmp_path).since("").refused
    assert KEY.xonly.hex() in refused
    assert "does not verify" in refused


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "nowhere.json").symlink_to(tmp_path / "gone")
    (tmp_path / "notes.txt").write_text("{}")
    post = Folder(tmp_path).since("")
    assert (list(post.envelopes), list(post.refused)) == ([], [])


def test_a_long_file_is_refused_without_being_held(tmp_path: Path) -> None:
    with (tmp_path / "long.json").open("wb") as stream:
        stream.truncate(3 * MAX_ENVELOPE)
    (refused,) = Folder(tmp_path).since("").refused
    assert f"at most {MAX_ENVELOPE:,} bytes" in refused


def test_hostile_nesting_is_refused(tmp_path: Path) -> None:
    raw = envelope().to_json().replace(b'"number":0', b'"number":' + b"[" * 500_000 + b"]" * 500_000)
    (tmp_path / "deep.json").write_bytes(raw)
    (refused,) = Folder(tmp_path).since("").refused
    assert refused.startswith("deep.json: envelope")


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--dir"):
        Folder(tmp_path / "gone")
    (tmp_path / "there").mkdir()
    box = Folder(tmp_path / "there")
    (tmp_path / "there").rmdir()
    with pytest.raises(BridgeError, match="cannot read"):
        box.since("")
    with pytest.raises(BridgeError, match="cannot write"):
        box.put(envelope())
