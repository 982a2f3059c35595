"""The client: against the service, against none, and against servers that do not do what they should."""

import datetime
import ipaddress
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.service import client
from bitvm_bridge.service.client import ATTEMPTS, HttpMailbox
from bitvm_bridge.service.limits import PAGE_BYTES
from tests.exchange.cast import Player, cast, request
from tests.service.parts import ALICE, BOB, OLGA, STRANGER, Running, letter

Reply = tuple[int, bytes]


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with Running.start(tmp_path_factory.mktemp("service"), "--port", "0") as found:
        yield found


@contextmanager
def server(answer: Callable[[int, str], Reply]) -> Iterator[str]:
    """A server that answers its `n`-th request, to a target, as told."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked.append(self.headers["Authorization"])
            assert len(set(asked)) == len(asked), "every attempt is signed anew"
            status, body = answer(len(asked) - 1, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            if 300 <= status < 400:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET  # noqa: N815 (the name of the base class)

        def log_message(self, *_: object) -> None:
            """Nothing."""

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{http.server_address[1]}"
    finally:
        http.shutdown()
        http.server_close()
        thread.join()


def page(*envelopes: bytes, cursor: str = "c", more: bool = False) -> bytes:
    return b'{"envelopes":[%b],"cursor":"%b","more":%b}' % (
        b",".join(envelopes),
        cursor.encode(),
        json.dumps(more).encode(),
    )


def hasty(url: str, pauses: list[float] | None = None) -> HttpMailbox:
    """One that does not wait between attempts."""
    return HttpMailbox(url, ALICE, pause=(pauses if pauses is not None else []).append)


def test_what_one_puts_the_other_finds(running: Running) -> None:
    alice, bob = (HttpMailbox(running.url, key) for key in (ALICE, BOB))
    assert bob.since("").envelopes == []
    letters = [letter(ALICE, number) for number in range(3)]
    for one in letters:
        alice.put(one)
        alice.put(one)
    post = bob.since("")
    assert post.envelopes == letters
    assert post.refused == []
    assert bob.since(post.cursor) == ([], [], post.cursor, False)
    bob.put(letter(BOB))
    assert bob.since(post.cursor).envelopes == [letter_of(running, post.cursor)]
    for mailbox in (alice, bob):
        mailbox.close()
    assert bob.since("").envelopes[:3] == letters, "a new connection is made"
    bob.close()


def letter_of(running: Running, cursor: str) -> object:
    mailbox = HttpMailbox(running.url, OLGA)
    (found,) = mailbox.since(cursor).envelopes
    mailbox.close()
    return found


def test_more_than_a_page(tmp_path: Path) -> None:
    with Running.start(tmp_path, "--port", "0") as running:
        letters = [letter(ALICE, number, size=PAGE_BYTES // 2) for number in range(5)]
        mailbox = HttpMailbox(running.url, ALICE)
        for one in letters:
            mailbox.put(one)
        assert mailbox.since("").envelopes == letters
        mailbox.close()


def test_a_party_waits_for_news(running: Running) -> None:
    bob, alice = HttpMailbox(running.url, BOB, wait=20), HttpMailbox(running.url, ALICE)
    cursor = bob.since("").cursor
    fresh = letter(ALICE, 1_000)
    putting = threading.Thread(target=alice.put, args=(fresh,))
    putting.start()
    assert bob.since(cursor).envelopes == [fresh]
    putting.join()
    for mailbox in (alice, bob):
        mailbox.close()


def test_a_set_up_over_http(running: Running, tmp_path: Path) -> None:
    """Everyone's state machine, with the service between them, from the request to the signature of PegIn."""
    from bitvm_bridge.exchange.party import Courier

    players: dict[str, Player] = cast(tmp_path)
    mailboxes = {name: HttpMailbox(running.url, one.party._identity) for name, one in players.items()}
    couriers = {name: Courier(one.party, mailboxes[name]) for name, one in players.items()}
    asked = request()
    players["dora"].ask(asked)
    for _ in range(30):
        for name in players:
            couriers[name].run()
        if all(one.party.progress.is_done for one in players.values()):
            break
    signatures = {one.peg_in(asked) for one in players.values()}
    assert len(signatures) == 1
    for mailbox in mailboxes.values():
        mailbox.close()
    for one in players.values():
        one.store.close()


def test_refusals_of_the_service(running: Running) -> None:
    stranger = hasty(running.url)
    stranger._key = STRANGER
    with pytest.raises(NodeRejected, match=rf"^{running.url}: HTTP status 401: Authorization: the key .* not in the"):
        stranger.since("")
    with pytest.raises(NodeRejected, match="HTTP status 400: cursor: 'x' is not a cursor"):
        hasty(running.url).since("x")
    with pytest.raises(NodeRejected, match="HTTP status 403: envelope author: bob puts its envelopes here itself"):
        hasty(running.url).put(letter(BOB))


def test_a_cursor_of_another_mailbox_starts_again(running: Running) -> None:
    mailbox = HttpMailbox(running.url, OLGA)
    everything = mailbox.since("")
    assert mailbox.since(f"{'0' * 16}-5") == everything._replace(again=True)
    mailbox.close()


def test_no_service(tmp_path: Path) -> None:
    with Running.start(tmp_path, "--port", "0") as running:
        url = running.url
        assert running.end() == 0
    pauses: list[float] = []
    with pytest.raises(NodeUnreachable, match=rf"^{url}: no connection. Is the service running\?$"):
        hasty(url, pauses).put(letter(ALICE))
    assert pauses == [0.2, 0.4, 0.8, 1.6]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_service_that_is_busy_is_asked_again(status: int) -> None:
    one = letter(BOB)
    with server(lambda number, _: (status, b"") if number < ATTEMPTS - 1 else (200, page(one.to_json()))) as url:
        assert hasty(url).since("").envelopes == [one]
    with (
        server(lambda *_: (status, b'{"error":"some\\nreason"}')) as url,
        pytest.raises(NodeUnreachable, match=rf"^{url}: HTTP status {status}: some\?reason$"),
    ):
        hasty(url).put(one)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        page().replace(b"c", b"c\xff"),
        page().replace(b'"more"', b'"less":1,"more"'),
        b'{"envelopes":{},"cursor":"","more":false}',
    ],
    ids=lambda body: repr(body[:20]),
)
def test_an_answer_that_is_none(body: bytes) -> None:
    with server(lambda *_: (200, body)) as url, pytest.raises(NodeUnreachable, match=f"^{url}: its answer is not that"):
        hasty(url).since("")


@pytest.mark.parametrize("status", [204, 301, 307, 404, 418])
@pytest.mark.parametrize("body", [b"", b"<html>", b'{"error":1}', b'["error"]', b"[" * 100_000])
def test_a_status_that_says_no(status: int, body: bytes) -> None:
    """Redirections too: what is signed is signed for one host."""
    with server(lambda *_: (status, b"" if status == 204 else body)) as url:
        with pytest.raises(NodeRejected, match=f"^{url}: HTTP status {status}$"):
            hasty(url).since("")
        with pytest.raises(NodeRejected, match=f"^{url}: HTTP status {status}$"):
            hasty(url).put(letter(ALICE))


def test_forged_envelopes_are_refused_one_by_one() -> None:
    good, forged = letter(BOB), letter(BOB, 1).to_json().replace(b'"number":1', b'"number":2')
    nested = good.to_json().replace(b'"number":0', b'"number":' + b"[" * 600 + b"]" * 600)
    with server(lambda *_: (200, page(forged, good.to_json(), b"1", nested))) as url:
        post = hasty(url).since("")
    assert post.envelopes == [good]
    assert len(post.refused) == 3
    assert post.refused[0] == f"{url}: nonces: the signature of {BOB.xonly.hex()} does not verify"


def test_a_service_that_lost_everything_is_given_it_again() -> None:
    good = letter(BOB)

    def answer(number: int, target: str) -> Reply:
        return (200, page(good.to_json())) if target.startswith("/v1/envelopes?cursor=&") else (410, b"")

    with server(answer) as url:
        box = hasty(url)
        assert box.since("") == ([good], [], "c", False)
        assert box.since("old") == ([good], [], "c", True)


def test_an_answer_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MAX_ANSWER", 1_000_000)
    with (
        server(lambda *_: (200, b"[" + b" " * 3_000_000)) as url,
        pytest.raises(NodeUnreachable, match="its answer is too long, or takes too long"),
    ):
        hasty(url).since("")


def test_an_answer_that_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each piece comes in time, the whole does not."""
    monkeypatch.setattr(client, "ANSWER_TIME", -1.0)
    with server(lambda *_: (200, page())) as url, pytest.raises(NodeUnreachable, match="takes too long"):
        hasty(url).since("")


def test_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "STEP_TIMEOUT", 0.05)
    release = threading.Event()

    def late(*_: object) -> Reply:
        release.wait(30)
        return 503, b""

    with server(late) as url:
        try:
            with pytest.raises(NodeUnreachable, match=f"^{url}: no answer within 0 seconds$"):
                hasty(url).since("")
        finally:
            release.set()


def test_pages_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """`since` comes back with what it has; the next call goes on from there."""
    monkeypatch.setattr(client, "MAX_PAGES", 7)
    with server(lambda number, _: (200, page(cursor=str(number), more=True))) as url:
        mailbox = hasty(url)
        assert mailbox.since("") == ([], [], "6", False)
        assert mailbox.since("6") == ([], [], "13", False)
    monkeypatch.setattr(client, "MAX_AT_ONCE", 1_000)
    one = letter(BOB, size=600)
    with server(lambda number, _: (200, page(one.to_json(), cursor=str(number), more=True))) as url:
        assert hasty(url).since("") == ([one, one], [], "1", False)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "office.test",
        "ftp://office.test",
        "http://",
        "http://:80",
        "http://office.test/path",
        "http://office.test?query",
        "http://office.test#part",
        "http://office.test:0",
        "http://office.test:x",
        "http://office.test:99999",
        "http://[::1",
        "http://öffice.test",
        "http://office.test\n",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(BadInput, match=r"^url: .* is not http://HOST\[:PORT\] or https://HOST\[:PORT\]$"):
        HttpMailbox(url, ALICE)


@pytest.mark.parametrize("url", ["https://alice:hunter2@office.test", "http://hunter2@office.test/"])
def test_a_password_in_a_url_is_not_shown(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        HttpMailbox(url, ALICE)
    assert "hunter2" not in str(caught.value)


def test_other_options(tmp_path: Path) -> None:
    for wait in (-1, 26):
        with pytest.raises(BadInput, match=r"^wait: "):
            HttpMailbox("http://office.test", ALICE, wait=wait)
    with pytest.raises(BadInput, match=r"^CA file: "):
        HttpMailbox("https://office.test", ALICE, ca_file=tmp_path / "none")


# TLS.


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, signed by itself, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "office")])
    names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    (folder / "key.pem").write_bytes(key.private_bytes(*plain, serialization.NoEncryption()))
    locked = key.private_bytes(*plain, serialization.BestAvailableEncryption(b"hunter2"))
    (folder / "locked.pem").write_bytes(locked)
    return folder / "cert.pem", folder / "key.pem"


def test_https(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with Running.start(tmp_path, "--port", "0", "--tls-cert", str(cert), "--tls-key", str(key)) as running:
        assert running.url.startswith("https://127.0.0.1:")
        mailbox = HttpMailbox(running.url, ALICE, ca_file=cert)
        one = letter(ALICE)
        mailbox.put(one)
        assert mailbox.since("").envelopes == [one]
        mailbox.close()
        with pytest.raises(NodeUnreachable, match=rf"^{running.url}: TLS: .*certificate verify failed"):
            hasty(running.url).since("")
        with pytest.raises(BridgeError, match="no connection"):
            hasty(running.url.replace("https", "http")).since("")
        assert running.end() == 0
