"""The service as a process, with clients that send too much, too slowly, or nonsense, while others are served."""

import hashlib
import json
import re
import signal
import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import requests

from bitvm_bridge.exchange.mailbox import MAX_ENVELOPE
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.service.client import HttpMailbox
from bitvm_bridge.service.guard import LINGER_BYTES
from bitvm_bridge.service.limits import MAX_HEADERS
from tests.exchange.cast import SEEDS
from tests.service.parts import ALICE, BOB, OLGA, Running, letter, refused, until

ENVELOPES = "/v1/envelopes"
GIGABYTE = 1 << 30
PIECE = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
"""64 KiB of a body in chunks."""
JSON_TYPE = "Content-Type: application/json"
CHUNKED = "Transfer-Encoding: chunked"
NOTHING = hashlib.sha256().digest()
GROWTH = 96 << 20
"""bytes by which memory may grow under attack: a few of the largest envelopes, and their JSON as objects."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with Running.start(tmp_path, "--port", "0", "--timeout", "3") as found:
        yield found


def connect(running: Running) -> socket.socket:
    return socket.create_connection(("127.0.0.1", running.port), timeout=30)


def read_to_end(connection: socket.socket) -> bytes:
    """Until the other side closes it, or has cut it off."""
    found = b""
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        return found
    return found


def parse(answer: bytes) -> tuple[int, Any]:
    """Status and document."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/json" in head.lower(), answer[:500]
    return int(head.split()[1]), json.loads(body)


def flood(running: Running, head: bytes, piece: bytes, most: int = GIGABYTE) -> tuple[int, bytes]:
    """Send pieces until the other side has had enough; bytes that it took, and its answer."""
    with closing(connect(running)) as connection:
        connection.sendall(head)
        sent = 0
        try:
            while sent < most:
                connection.sendall(piece)
                sent += len(piece)
        except OSError:
            return sent, read_to_end(connection)
        return sent, b""


def is_served(running: Running, key: SecretKey = BOB) -> bool:
    return running.ask(key, "GET", ENVELOPES).status_code == 200


def mailbox(running: Running, key: SecretKey) -> HttpMailbox:
    return HttpMailbox(running.url, key)


@pytest.mark.parametrize(
    ("lines", "piece", "status"),
    [
        ((JSON_TYPE, CHUNKED), PIECE, 413),
        ((JSON_TYPE, f"Content-Length: {GIGABYTE}"), b"x" * 0x10000, 413),
        (("Content-Type: text/plain", CHUNKED), PIECE, 415),
    ],
)
def test_a_gigabyte_is_cut_off_early(running: Running, lines: tuple[str, ...], piece: bytes, status: int) -> None:
    assert is_served(running)
    before = running.memory()
    head = running.head(ALICE, "POST", ENVELOPES, NOTHING, *lines)
    with ThreadPoolExecutor(1) as threads:
        attack = threads.submit(flood, running, head, piece)
        while not attack.done():
            assert is_served(running)
        sent, answer = attack.result()
    assert parse(answer)[0] == status
    assert sent < MAX_ENVELOPE + LINGER_BYTES + (16 << 20), "what is on its way in the buffers of sockets is some MB"
    assert running.memory("VmHWM") - before < GROWTH
    (event,) = [event for event in running.events("request") if event["method"] == "POST"]
    assert event["received"] <= MAX_ENVELOPE + LINGER_BYTES + (1 << 20)


@pytest.mark.parametrize("signed", [False, True])
def test_a_gigabyte_of_somebody_else(running: Running, signed: bool) -> None:
    """It is refused by its headers: what it sends is read for a moment, so that it learns why, and dropped."""
    lines = (f"POST {ENVELOPES} HTTP/1.1", f"Host: {running.host}", JSON_TYPE, CHUNKED, "", "")
    wrong = running.head(ALICE, "GET", ENVELOPES, NOTHING, JSON_TYPE, CHUNKED).replace(b"GET", b"POST", 1)
    sent, answer = flood(running, wrong if signed else "\r\n".join(lines).encode(), PIECE)
    assert parse(answer)[0] == 401
    assert sent < LINGER_BYTES + (16 << 20)


def test_headers_without_end(running: Running) -> None:
    head = f"GET {ENVELOPES} HTTP/1.1\r\nHost: {running.host}\r\n".encode()
    sent, answer = flood(running, head, b"X-More: " + b"x" * 1_000 + b"\r\n")
    status, document = parse(answer)
    assert status == 400
    assert document == {"error": "request: Invalid HTTP request received."}
    assert sent < MAX_HEADERS + (16 << 20)


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
        b"\r\n" * 100 + b"x\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n",
    ],
    ids=lambda junk: repr(junk[:30]),
)
def test_what_is_no_http(running: Running, junk: bytes) -> None:
    with closing(connect(running)) as connection:
        connection.sendall(junk)
        status, document = parse(read_to_end(connection))
    assert status == 400
    assert document["error"].startswith("request: ")
    assert is_served(running)


def test_a_body_that_turns_to_junk(running: Running) -> None:
    with closing(connect(running)) as connection:
        connection.sendall(running.head(ALICE, "POST", ENVELOPES, NOTHING, JSON_TYPE, CHUNKED) + PIECE + b"zz\r\n")
        assert parse(read_to_end(connection))[0] == 400
    assert is_served(running)


def test_a_client_that_leaves_in_the_middle(running: Running) -> None:
    connection = connect(running)
    connection.sendall(running.head(ALICE, "POST", ENVELOPES, NOTHING, JSON_TYPE, CHUNKED) + PIECE)
    connection.close()
    until(lambda: len(running.events("request")) == 1)
    assert running.events("request")[0]["status"] is None
    assert is_served(running)
    assert running.events("error") == []


def test_deep_nesting(running: Running) -> None:
    body = letter(ALICE).to_json().replace(b'"number":0', b'"number":' + b"[" * 1_000_000)
    answer = running.ask(ALICE, "POST", ENVELOPES, data=body, headers={"Content-Type": "application/json"})
    assert "is not a valid document" in refused(answer, 400)
    assert is_served(running)


def test_nesting_and_long_lists_do_not_multiply_memory(running: Running) -> None:
    """8 MB of numbers below 500 lists: indented they would be gigabytes."""
    numbers = b"1," * (MAX_ENVELOPE // 2 - 2_000) + b"1"
    body = letter(ALICE).to_json().replace(b'"number":0', b'"number":' + b"[" * 500 + numbers + b"]" * 500)
    assert is_served(running)
    before = running.memory()
    answer = running.ask(ALICE, "POST", ENVELOPES, data=body, headers={"Content-Type": "application/json"})
    assert "does not verify" in refused(answer, 403)
    assert running.memory("VmHWM") - before < 2 * GROWTH


def test_slow_clients_are_cut_and_others_served(running: Running) -> None:
    """Half a request line, half the headers, half a body, and a reader who does not read."""
    for number in range(4):
        mailbox(running, OLGA).put(letter(OLGA, number, size=6_000_000))
    before = running.memory()
    openings = [
        b"",
        b"GET /v1/env",
        f"GET {ENVELOPES} HTTP/1.1\r\nHost: {running.host}\r\nX-".encode(),
    ]
    with ExitStack() as stack:
        slow = [stack.enter_context(closing(connect(running))) for _ in range(60)]
        for number, connection in enumerate(slow[:-8]):
            connection.sendall(openings[number % 3])
        for connection in slow[-8:-4]:
            head = running.head(ALICE, "POST", ENVELOPES, NOTHING, JSON_TYPE, CHUNKED)
            connection.sendall(head + PIECE)
        for connection in slow[-4:]:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.sendall(running.head(OLGA, "GET", ENVELOPES, NOTHING))
        until(lambda: running.ask(ALICE, "GET", ENVELOPES).status_code == 429)
        with ThreadPoolExecutor(4) as threads:
            for number in range(20):
                threads.submit(mailbox(running, BOB).put, letter(BOB, number))
        assert is_served(running)
        answers = [read_to_end(connection) for connection in slow[:-4]]
        assert set(answers[:-4]) == {b""}
        assert {parse(answer)[0] for answer in answers[-4:]} == {408}
        until(lambda: running.ask(OLGA, "GET", "/v1/contradictions").status_code == 200)
        assert all(len(read_to_end(connection)) < 6_000_000 for connection in slow[-4:]), "cut short"
    assert running.memory("VmHWM") - before < GROWTH
    assert len([one for one in mailbox(running, BOB).since("").envelopes if one.author == BOB.xonly]) == 20


def test_many_large_uploads_at_once(running: Running) -> None:
    """Everyone of the roster, as often as it may: memory is bounded by what is admitted."""
    keys = [seed.identity_key() for seed in SEEDS.values()]
    before = running.memory()

    def upload(key: SecretKey, number: int) -> None:
        mailbox(running, key).put(letter(key, number, size=7_000_000))

    with ThreadPoolExecutor(12) as threads:
        done = [threads.submit(upload, key, number) for number in range(2) for key in keys]
        for future in done:
            future.result()
    assert running.memory("VmHWM") - before < 12 * MAX_ENVELOPE + GROWTH


def test_connections_beyond_the_limit(tmp_path: Path) -> None:
    with Running.start(tmp_path, "--port", "0", "--connections", "8", "--timeout", "3") as running:
        with ExitStack() as stack:
            idle = [stack.enter_context(closing(connect(running))) for _ in range(8)]
            with closing(connect(running)) as one_more:
                assert parse(read_to_end(one_more)) == (503, {"error": "connections: 8 are open; try again later"})
            assert [read_to_end(connection) for connection in idle] == [b""] * 8
        assert is_served(running)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_keeps_everything(tmp_path: Path, number: int) -> None:
    letters = [letter(key, index) for index in range(3) for key in (ALICE, BOB)]
    with Running.start(tmp_path, "--port", "0") as running:
        for one in letters[:4]:
            mailbox(running, ALICE if one.author == ALICE.xonly else BOB).put(one)
        cursor = mailbox(running, BOB).since("").cursor
        running.popen.send_signal(number)
        running.popen.wait(30)
    with Running.start(tmp_path, "--port", "0") as running:
        assert mailbox(running, BOB).since(cursor).envelopes == []
        for one in letters:
            mailbox(running, ALICE if one.author == ALICE.xonly else BOB).put(one)
        assert mailbox(running, BOB).since(cursor).envelopes == letters[4:]
        assert mailbox(running, BOB).since("").envelopes == letters


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_end_that_is_clean(tmp_path: Path, number: int) -> None:
    """Who waits gets an answer; who is slow is not waited for."""
    with Running.start(tmp_path, "--port", "0") as running:
        with ThreadPoolExecutor(1) as threads, closing(connect(running)) as slow:
            slow.sendall(running.head(ALICE, "POST", ENVELOPES, NOTHING, JSON_TYPE, CHUNKED) + PIECE)
            waiting = threads.submit(running.ask, BOB, "GET", f"{ENVELOPES}?wait=25")
            until(lambda: nonces(tmp_path) == 2)
            running.popen.send_signal(number)
            assert running.popen.wait(30) == 0
            assert waiting.result().json()["envelopes"] == []
        assert re.search("Traceback|Exception|Task was destroyed", running.log.read_text()) is None
        with pytest.raises(requests.ConnectionError):
            running.ask(BOB, "GET", ENVELOPES)


def nonces(folder: Path) -> int:
    """Requests that were admitted."""
    connection = sqlite3.connect(folder / "regtest" / "mailbox.sqlite")
    try:
        return int(connection.execute("SELECT count(*) FROM nonces").fetchone()[0])
    finally:
        connection.close()


def test_everyone_puts_at_once(running: Running) -> None:
    letters = [letter(key, number) for number in range(30) for key in (ALICE, BOB, OLGA)]

    def put_all(key: SecretKey) -> None:
        for one in letters:
            if one.author == key.xonly:
                mailbox(running, key).put(one)

    with ThreadPoolExecutor(6) as threads:
        for future in [threads.submit(put_all, key) for key in (ALICE, BOB, OLGA) * 2]:
            future.result()
    found = mailbox(running, BOB).since("").envelopes
    assert {one.id for one in found} == {one.id for one in letters}
    assert len(found) == len(letters)
