"""The file of a service: order, limits, contradictions, and what a restart and a full disk leave."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.service.limits import PAGE_BYTES, Limits
from bitvm_bridge.service.office import NONCE_LIFE, START, Office
from bitvm_bridge.service.refusals import Refusal
from tests.service.parts import ALICE, BOB, NOW, OLGA, SESSION, letter

NONCE = bytes(16)


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Office]:
    opened = Office(tmp_path / "mailbox.sqlite", Limits())
    yield opened
    opened.close()


def read(office: Office, cursor: str = START) -> list[Envelope]:
    """Everything after a cursor, page by page."""
    found: list[Envelope] = []
    more = True
    while more:
        page = office.since(cursor, 3)
        found += map(Envelope.from_json, page.envelopes)
        cursor, more = page.cursor, page.more
    return found


def test_what_was_put_is_read_in_the_order_it_came(office: Office) -> None:
    letters = [letter(key, number) for number in range(4) for key in (BOB, ALICE)]
    for one in letters:
        assert office.put(one) == (True, [])
    assert read(office) == letters
    assert all(office.get(one.id) == one.to_json() for one in letters)
    assert office.get(bytes(32)) is None


def test_a_cursor_goes_on_where_it_was(office: Office) -> None:
    assert office.since(START).envelopes == []
    office.put(letter(ALICE, 1))
    cursor = office.since(START).cursor
    assert office.since(cursor) == ([], cursor, False)
    office.put(letter(ALICE, 2))
    assert read(office, cursor) == [letter_of(office, 2)]


def letter_of(office: Office, number: int) -> Envelope:
    return next(one for one in read(office) if f'"number":{number}'.encode() in one.body)


def test_the_same_again_changes_nothing(office: Office) -> None:
    first = letter(ALICE)
    again = seal(ALICE, first.kind, SESSION, {"filler": "", "number": 0})
    assert again.id == first.id
    assert again.signature != first.signature
    assert office.put(first).new
    assert not office.put(again).new
    assert read(office) == [first]


def test_everything_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "deeper" / "mailbox.sqlite"
    office = Office(path, Limits())
    office.put(letter(ALICE, 1))
    cursor = office.since(START).cursor
    office.put(letter(ALICE, 2))
    assert office.spend(ALICE.xonly, NONCE, NOW, NOW)
    before = read(office)
    office.close()
    office = Office(path, Limits())
    assert read(office) == before
    assert read(office, cursor) == before[1:]
    assert not office.spend(ALICE.xonly, NONCE, NOW, NOW)
    assert path.stat().st_mode & 0o777 == 0o600
    office.close()


@pytest.mark.parametrize("cursor", ["x", "0", "-1", "0123456789abcdef-", "0123456789abcdef-1x", "é", "a" * 100_000])
def test_what_is_no_cursor_is_refused(office: Office, cursor: str) -> None:
    with pytest.raises(BadInput, match=r"^cursor: "):
        office.since(cursor)


def test_a_cursor_of_another_file_is_gone(office: Office, tmp_path: Path) -> None:
    office.put(letter(ALICE))
    cursor = office.since(START).cursor
    other = Office(tmp_path / "other.sqlite", Limits())
    other.put(letter(ALICE))
    for strange in (other.since(START).cursor, cursor[:-1] + "2"):
        with pytest.raises(Refusal, match=r"^cursor: .* is of another mailbox") as caught:
            office.since(strange)
        assert caught.value.status == 410
    other.close()


def test_a_page_ends_by_number_and_by_size(office: Office) -> None:
    letters = [letter(ALICE, number, size=PAGE_BYTES // 3) for number in range(4)]
    for one in letters:
        office.put(one)
    page = office.since(START)
    assert (len(page.envelopes), page.more) == (2, True)
    page = office.since(page.cursor)
    assert (len(page.envelopes), page.more) == (2, False)
    assert (len(office.since(START, 1).envelopes), office.since(START, 1).more) == (1, True)


def test_an_envelope_that_is_larger_than_a_page_comes_alone(office: Office) -> None:
    for number in range(2):
        office.put(letter(ALICE, number, size=PAGE_BYTES + 1))
    assert len(office.since(START).envelopes) == 1
    assert len(read(office)) == 2


@pytest.mark.parametrize("limits", [Limits(envelopes=3), Limits(size=3 * len(letter(ALICE).to_json()) + 10)])
def test_an_author_has_so_much_room(tmp_path: Path, limits: Limits) -> None:
    office = Office(tmp_path / "mailbox.sqlite", limits)
    for number in range(3):
        office.put(letter(ALICE, number))
    with pytest.raises(
        Refusal, match=rf"^author {ALICE.xonly.hex()}: [\d,]+ (envelopes|bytes) would be kept"
    ) as caught:
        office.put(letter(ALICE, 3))
    assert caught.value.status == 507
    assert office.put(letter(BOB)).new
    assert not office.put(letter(ALICE, 1)).new, "what is there can be put again"
    assert len(read(office)) == 4
    office.close()


def test_contradictions_are_kept_and_reported(office: Office) -> None:
    offers = [letter(OLGA, number, "offer") for number in range(3)]
    assert office.put(offers[0]).contradicts == []
    assert office.put(offers[1]).contradicts == [offers[0].id]
    assert set(office.put(offers[2]).contradicts) == {offers[0].id, offers[1].id}
    assert set(office.put(offers[0]).contradicts) == {offers[1].id, offers[2].id}
    assert read(office) == offers
    (found,) = office.contradictions()
    assert found == (OLGA.xonly, SESSION, "offer", 3, (offers[0].id, offers[2].id))


def test_what_may_be_said_again_is_no_contradiction(office: Office) -> None:
    for number in range(3):
        assert office.put(letter(ALICE, number, "nonces")).contradicts == []
        office.put(seal(OLGA, "offer", bytes([number]) * 32, {}))
    office.put(letter(BOB, 0, "offer"))
    assert office.contradictions() == []


def test_a_nonce_is_spent_once_by_each_key(office: Office) -> None:
    assert office.spend(ALICE.xonly, NONCE, NOW, NOW)
    assert not office.spend(ALICE.xonly, NONCE, NOW, NOW)
    assert not office.spend(ALICE.xonly, NONCE, NOW + 5, NOW + 5)
    assert office.spend(BOB.xonly, NONCE, NOW, NOW)
    assert not office.spend(ALICE.xonly, NONCE, NOW, NOW + NONCE_LIFE)
    assert office.spend(ALICE.xonly, bytes([1]) * 16, NOW, NOW + NONCE_LIFE + 1), "old ones are forgotten"
    assert office.spend(ALICE.xonly, NONCE, NOW, NOW + NONCE_LIFE + 1)


def test_a_full_disk_loses_nothing_that_is_there(tmp_path: Path) -> None:
    path = tmp_path / "mailbox.sqlite"
    office = Office(path, Limits())
    office.put(letter(ALICE, 1))
    office._db.execute("PRAGMA max_page_count = 1")  # SQLite raises it to the pages that there are
    with pytest.raises(BridgeError, match=r"^mailbox file: database or disk is full$"):
        office.put(letter(ALICE, 2, size=1_000_000))
    assert len(read(office)) == 1
    office._db.execute("PRAGMA max_page_count = 1000000")
    assert office.put(letter(ALICE, 2, size=1_000_000)).new
    office.close()


def test_a_file_that_another_process_holds(office: Office, tmp_path: Path) -> None:
    office._db.execute("PRAGMA busy_timeout = 10")
    holder = sqlite3.connect(tmp_path / "mailbox.sqlite", isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with pytest.raises(BridgeError, match=r"^mailbox file: database is locked$"):
        office.put(letter(ALICE))
    holder.execute("ROLLBACK")
    holder.close()
    assert office.put(letter(ALICE)).new


def test_files_that_are_no_mailbox(tmp_path: Path) -> None:
    junk, other, newer = (tmp_path / name for name in ("junk", "other", "newer"))
    junk.write_bytes(b"not a database" * 100)
    for path, statement in ((other, "CREATE TABLE t (x)"), (newer, "PRAGMA user_version = 2")):
        connection = sqlite3.connect(path)
        connection.execute(statement)
        connection.close()
    for path in (junk, other, newer, tmp_path, junk / "below"):
        with pytest.raises(BadInput, match=r"^mailbox file: "):
            Office(path, Limits())
    assert junk.read_bytes() == b"not a database" * 100
