"""The operations, asked without a network: what they do, and what they refuse with which status."""

import json
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.service.credentials import WINDOW
from bitvm_bridge.service.limits import MAX_PAGE, Limits
from tests.service.parts import (
    ALICE,
    BOB,
    DORA,
    HOST,
    JSON,
    NOW,
    OLGA,
    SESSION,
    STRANGER,
    Web,
    credentials,
    letter,
    refused,
    until,
)

ENVELOPES = "/v1/envelopes"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Web]:
    with Web.open(tmp_path) as found:
        yield found


def read(web: Web, target: str = ENVELOPES) -> list[Envelope]:
    return [Envelope.from_json(json.dumps(found)) for found in web.get(target)["envelopes"]]


def test_an_envelope_goes_in_and_comes_out(web: Web) -> None:
    one = letter(ALICE)
    answer = web.put(one)
    assert answer.status_code == 201
    assert answer.json() == {"id": one.id.hex(), "new": True, "contradicts": []}
    assert web.get(f"{ENVELOPES}/{one.id.hex()}") == json.loads(one.to_json())
    page = web.get(ENVELOPES)
    assert page["envelopes"] == [json.loads(one.to_json())]
    assert not page["more"]
    assert web.get(f"{ENVELOPES}?cursor={page['cursor']}")["envelopes"] == []


def test_the_same_again_is_fine(web: Web) -> None:
    one = letter(ALICE)
    web.put(one)
    again = web.put(one)
    assert again.status_code == 200
    assert again.json() == {"id": one.id.hex(), "new": False, "contradicts": []}
    assert read(web) == [one]


def test_health_is_for_everyone(web: Web) -> None:
    answer = web.client.get("/v1/health")
    assert answer.json() == {"status": "ok", "time": NOW}


def test_pages(web: Web) -> None:
    letters = [letter(ALICE, number) for number in range(5)]
    for one in letters:
        web.put(one)
    cursor, found = "", []
    for more in (True, True, False):
        page = web.get(f"{ENVELOPES}?limit=2&cursor={cursor}")
        assert page["more"] is more
        cursor = page["cursor"]
        found += page["envelopes"]
    assert found == [json.loads(one.to_json()) for one in letters]


def test_contradictions_are_told_and_logged(web: Web) -> None:
    offers = [letter(OLGA, number, "offer") for number in range(2)]
    web.put(offers[0])
    assert web.put(offers[1]).json()["contradicts"] == [offers[0].id.hex()]
    web.put(offers[1])
    assert read(web) == offers
    (found,) = web.get("/v1/contradictions")["contradictions"]
    ids = [one.id.hex() for one in offers]
    about = {"party": "olga", "session": SESSION.hex(), "kind": "offer"}
    assert found == {**about, "author": OLGA.xonly.hex(), "times": 2, "ids": ids}
    logged = [event for event in web.log if event["event"] == "contradiction"]
    assert logged == [{"event": "contradiction", **about, "ids": ids[::-1]}]


# Who asks.


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_a_signature(web: Web, method: str) -> None:
    answer = web.client.request(method, ENVELOPES, content=b"{}", headers=JSON)
    assert refused(answer, 401) == "Authorization: none; requests are signed with an identity key of the roster"
    assert answer.headers["www-authenticate"] == "BIP340"


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("Basic YTpi", "Authorization: 'Basic YTpi' is not BIP340 key="),
        (credentials(ALICE, "POST", ENVELOPES), "the signature of .* does not verify"),
        (credentials(ALICE, "GET", ENVELOPES + "?cursor="), "the signature of .* does not verify"),
        (credentials(ALICE, "GET", ENVELOPES, host="other.test"), "the signature of .* does not verify"),
        (credentials(ALICE, "GET", ENVELOPES, now=NOW - WINDOW - 1), r"signed -61 s from this clock"),
        (credentials(ALICE, "GET", ENVELOPES, now=NOW + WINDOW + 1), r"signed \+61 s from this clock"),
        (credentials(STRANGER, "GET", ENVELOPES), f"the key {STRANGER.xonly.hex()} is not in the roster"),
    ],
)
def test_a_signature_that_does_not_count(web: Web, header: str, message: str) -> None:
    answer = web.client.get(ENVELOPES, headers={"Authorization": header})
    assert re.search(message, refused(answer, 401))


def test_a_request_is_answered_once(web: Web) -> None:
    header = {"Authorization": credentials(ALICE, "GET", ENVELOPES)}
    assert web.client.get(ENVELOPES, headers=header).status_code == 200
    for later in (0, WINDOW):
        web.clock.now = NOW + later
        assert "answered before" in refused(web.client.get(ENVELOPES, headers=header), 401)


def test_a_replay_is_refused_after_a_restart(tmp_path: Path) -> None:
    header = {"Authorization": credentials(ALICE, "GET", ENVELOPES)}
    with Web.open(tmp_path) as web:
        assert web.client.get(ENVELOPES, headers=header).status_code == 200
    with Web.open(tmp_path) as web:
        assert "answered before" in refused(web.client.get(ENVELOPES, headers=header), 401)


def test_another_body_than_the_signed_one(web: Web) -> None:
    raw = letter(ALICE).to_json()
    for body in (letter(ALICE, 1).to_json(), raw + b" ", raw[:-1], b""):
        header = {"Authorization": credentials(ALICE, "POST", ENVELOPES, raw), **JSON}
        answer = web.client.post(ENVELOPES, content=body, headers=header)
        assert refused(answer, 401) == "Authorization: the body is not the one that was signed"
    assert read(web) == []


def test_envelopes_of_others_are_not_taken(web: Web) -> None:
    """Or a party could use up the room of another with what that one said elsewhere."""
    message = refused(web.put(letter(ALICE), key=BOB), 403)
    assert message == "envelope author: alice puts its envelopes here itself; this request is signed by bob"
    foreign = letter(STRANGER)
    answer = web.ask(BOB, "POST", ENVELOPES, foreign.to_json())
    assert refused(answer, 403).startswith(f"envelope author: {STRANGER.xonly.hex()} puts")
    assert read(web) == []


@pytest.mark.parametrize(
    "parts", [{"kind": "offer"}, {"session": "00" * 32}, {"body": {}}, {"signature": "00" * 64}], ids=str
)
def test_a_wrong_signature_in_the_envelope(web: Web, parts: dict[str, Any]) -> None:
    raw = json.dumps(json.loads(letter(ALICE).to_json()) | parts).encode()
    assert "does not verify" in refused(web.ask(ALICE, "POST", ENVELOPES, raw), 403)
    assert read(web) == []


@pytest.mark.parametrize("host", ["other.test", "", f"{HOST}:80", f"{HOST}.evil.test"])
def test_under_another_name(web: Web, host: str) -> None:
    for path in ("/v1/health", ENVELOPES):
        answer = web.client.get(path, headers={"Host": host})
        assert refused(answer, 421) == f"Host: {host!r} is not {HOST}"


def test_case_of_the_host_does_not_matter(web: Web) -> None:
    assert web.client.get("/v1/health", headers={"Host": HOST.upper()}).status_code == 200


# What is asked.


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("cursor=x", "cursor"),
        ("cursor=%00", "cursor"),
        ("limit=0", "limit"),
        (f"limit={MAX_PAGE + 1}", "limit"),
        ("limit=1.0", "limit"),
        ("limit=", "limit"),
        ("limit=%D9%A1", "limit"),
        ("wait=-1", "wait"),
        ("wait=26", "wait"),
        ("wait=1e1", "wait"),
    ],
)
def test_a_query_that_cannot_be_used(web: Web, query: str, field: str) -> None:
    answer = web.ask(BOB, "GET", f"{ENVELOPES}?{query}")
    message = refused(answer, 400)
    document = answer.json()
    assert document["field"] == field
    assert message == f"{field}: {document['value']!r} is not {document['expected']}"


def test_a_cursor_of_another_mailbox(web: Web) -> None:
    answer = web.ask(BOB, "GET", f"{ENVELOPES}?cursor={'0' * 16}-0")
    assert "start again without one" in refused(answer, 410)


@pytest.mark.parametrize("name", ["x", "00", "0" * 65, "0" * 10_000, "é", "%00"])
def test_an_id_that_is_none(web: Web, name: str) -> None:
    target = str(web.client.build_request("GET", f"{ENVELOPES}/{name}").url.raw_path, "ascii")
    answer = web.ask(BOB, "GET", target)
    refused(answer, 400)
    assert answer.json()["field"] == "envelope id"


def test_an_id_of_nothing(web: Web) -> None:
    assert refused(web.ask(BOB, "GET", f"{ENVELOPES}/{'0' * 64}"), 404) == f"envelope id: {'0' * 64} is not here"


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/envelopes/", "/v2/envelopes", "/v1/envelopes/a/b", "/docs"])
def test_a_path_that_there_is_not(web: Web, path: str) -> None:
    assert refused(web.client.get(path), 404) == f"GET {path}: Not Found"


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", ENVELOPES, {"GET", "HEAD", "POST"}),
        ("PUT", f"{ENVELOPES}/{'0' * 64}", {"GET", "HEAD"}),
        ("POST", "/v1/health", {"GET", "HEAD"}),
        ("TRACE", "/openapi.json", {"GET", "HEAD"}),
    ],
)
def test_a_method_that_there_is_not(web: Web, method: str, path: str, allowed: set[str]) -> None:
    answer = web.client.request(method, path)
    assert refused(answer, 405) == f"{method} {path}: Method Not Allowed"
    assert set(answer.headers["allow"].split(", ")) == allowed


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"x",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe",
        b"[" * 1_000_000,
        b'{"body":' * 100_000,
        letter(ALICE).to_json()[:-1],
        letter(ALICE).to_json().replace(b'"version":1', b'"version":2'),
        letter(ALICE).to_json().replace(b'"version"', b'"more":0,"version"'),
        letter(ALICE).to_json().replace(b'"number":0', b'"number":' + b"[" * 5_000 + b"]" * 5_000),
        letter(ALICE).to_json().replace(b'"number":0', b'"number":1e999'),
        letter(ALICE).to_json().replace(b'"number":0', b'"number":"\\ud800"'),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_no_envelope(web: Web, body: bytes) -> None:
    answer = web.ask(ALICE, "POST", ENVELOPES, body)
    refused(answer, 400)
    assert set(answer.json()) == {"error", "field", "value", "expected"}
    assert web.client.get("/v1/health").status_code == 200


@pytest.mark.parametrize("kind", ["text/plain", "application/json-seq", "application/x-www-form-urlencoded", ""])
def test_another_type_of_body(web: Web, kind: str) -> None:
    raw = letter(ALICE).to_json()
    answer = web.ask(ALICE, "POST", ENVELOPES, raw, {"Content-Type": kind})
    assert refused(answer, 415) == f"Content-Type: {kind!r} is not 'application/json'"
    assert web.ask(ALICE, "POST", ENVELOPES, raw, {"Content-Type": "Application/JSON; charset=utf-8"}).is_success


# Limits.


def test_a_body_of_the_limit_and_one_byte_more(tmp_path: Path) -> None:
    size = len(letter(ALICE).to_json())
    with Web.open(tmp_path, Limits(body=size + 100)) as web:
        assert web.put(letter(ALICE, size=100)).status_code == 201
        assert refused(web.put(letter(ALICE, size=101)), 413) == f"body: an envelope has at most {size + 100:,} bytes"


def test_a_body_without_a_length_is_cut_off(tmp_path: Path) -> None:
    with Web.open(tmp_path, Limits(body=1_000)) as web:
        header = {"Authorization": credentials(ALICE, "POST", ENVELOPES, b"x" * 5_000), **JSON}
        answer = web.client.post(ENVELOPES, content=iter([b"x" * 500] * 10), headers=header)
        refused(answer, 413)


def test_an_envelope_that_grows_when_it_is_read(tmp_path: Path) -> None:
    """1e15 is written as 1000000000000000.0, so that what fits may be kept as something that does not."""
    values = b"[" + b",".join([b"1e15"] * 200) + b"]"
    sealed = seal(ALICE, "nonces", SESSION, {"number": [1e15] * 200})
    raw = sealed.to_json().replace(sealed.body, b'{"number":' + values + b"}")
    assert len(raw) < 1_500 < len(sealed.to_json())
    with Web.open(tmp_path, Limits(body=1_500)) as web:
        assert refused(web.ask(ALICE, "POST", ENVELOPES, raw), 413) == "body: an envelope has at most 1,500 bytes"
        assert read(web) == []


def test_room_of_an_author(tmp_path: Path) -> None:
    with Web.open(tmp_path, Limits(envelopes=1)) as web:
        web.put(letter(ALICE, 0))
        assert "the limit is 1" in refused(web.put(letter(ALICE, 1)), 507)
        assert web.put(letter(BOB)).status_code == 201


def test_requests_of_one_party_at_once(tmp_path: Path) -> None:
    with Web.open(tmp_path, Limits(at_once=2)) as web, ThreadPoolExecutor(3) as threads:
        waiting = [threads.submit(web.ask, ALICE, "GET", f"{ENVELOPES}?wait=25") for _ in range(2)]
        until(lambda: web.service._turnstile._inside[ALICE.xonly] == 2)
        message = refused(web.ask(ALICE, "GET", ENVELOPES), 429)
        assert message == "requests: 2 of alice are being answered; at most so many at once"
        assert web.put(letter(BOB)).status_code == 201, "others are served, and what they put ends the waiting"
        for future in waiting:
            assert future.result().json()["envelopes"] == [json.loads(raw) for raw in web.office.since("").envelopes]
        assert web.ask(ALICE, "GET", ENVELOPES).status_code == 200


def test_waiting_ends_when_the_service_does(web: Web) -> None:
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(web.get, f"{ENVELOPES}?wait=25", ALICE)
        until(lambda: web.service._turnstile._inside[ALICE.xonly] == 1)
        assert web.client.portal is not None
        web.client.portal.call(web.service.bell.close)
        assert waiting.result()["envelopes"] == []
        assert web.get(f"{ENVELOPES}?wait=25")["envelopes"] == []


def test_waiting_for_what_is_there_does_not_wait(web: Web) -> None:
    web.put(letter(ALICE))
    assert len(read(web, f"{ENVELOPES}?wait=25")) == 1
    cursor = web.get(ENVELOPES)["cursor"]
    assert read(web, f"{ENVELOPES}?wait=1&cursor={cursor}") == []


def test_everyone_puts_at_once(web: Web) -> None:
    """Every envelope is there once, and a reader that follows sees each of them once."""
    letters = [letter(key, number) for number in range(20) for key in (ALICE, BOB, OLGA)]
    done = threading.Event()
    with ThreadPoolExecutor(7) as threads:
        reader = threads.submit(follow, web, done)
        try:
            for writer in [threads.submit(put_all, web, letters[start::3]) for start in (0, 1, 2, 0, 1, 2)]:
                writer.result()
        finally:
            done.set()
        seen = reader.result()
    assert seen == read(web)
    assert len(seen) == len(letters)
    assert {one.id for one in seen} == {one.id for one in letters}


def put_all(web: Web, letters: list[Envelope]) -> None:
    for one in letters:
        assert web.put(one).status_code in (200, 201)


def follow(web: Web, done: threading.Event) -> list[Envelope]:
    """Everything, page by page, until all has been put and read."""
    seen: list[Envelope] = []
    cursor, ended = "", False
    while not ended:
        last = done.is_set()
        page = web.get(f"{ENVELOPES}?limit=7&cursor={cursor}", DORA)
        seen += [Envelope.from_json(json.dumps(found)) for found in page["envelopes"]]
        cursor, ended = page["cursor"], last and not page["more"]
    return seen


def test_the_log_has_no_secrets_and_no_more_lines_than_requests(web: Web) -> None:
    one = letter(ALICE)
    web.put(one)
    web.client.get("/v1/\u2028\x85%0A" + "x" * 10_000 + "?token=secret", headers={"Cookie": "secret"})
    put, got = web.log
    assert {name: put[name] for name in ("event", "party", "method", "path", "status")} == {
        "event": "request",
        "party": "alice",
        "method": "POST",
        "path": ENVELOPES,
        "status": 201,
    }
    assert put["received"] == len(one.to_json())
    assert (got["party"], got["status"]) == (None, 404)
    assert got["path"].startswith("/v1/%E2%80%A8%C2%85%0Axxx")
    assert len(got["path"]) == 200
    assert "secret" not in str(web.log)
    assert one.signature.hex() not in str(web.log)


def test_what_fails_is_logged_and_answered(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a mistake")

    monkeypatch.setattr(web.office, "contradictions", fail)
    assert refused(web.ask(ALICE, "GET", "/v1/contradictions"), 500) == "the service failed to answer; its log says why"
    (event,) = [event for event in web.log if event["event"] == "error"]
    assert event["error"] == "KeyError('a mistake')"
    assert "fail" in "".join(event["trace"])
    assert web.get(ENVELOPES)["envelopes"] == []


def test_a_disk_without_room(web: Web) -> None:
    web.put(letter(ALICE))
    web.office._db.execute("PRAGMA max_page_count = 1")
    message = refused(web.put(letter(ALICE, 1, size=1_000_000)), 503)
    assert message == "mailbox file: database or disk is full"
