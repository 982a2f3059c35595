"""What the server answers, to whom, and what it refuses."""

import http.client
import json
import socket
from collections.abc import Callable
from contextlib import closing
from importlib.resources import files

import pytest

from bitvm_bridge.dashboard import pages, server
from bitvm_bridge.dashboard.server import ASSETS, HEADERS, DashboardServer, is_own_host
from bitvm_bridge.errors import BadInput
from tests.dashboard.conftest import Stages, make_reader, serving

ANY = "0.0.0.0"
Ask = Callable[..., tuple[int, dict[str, str], bytes]]


@pytest.fixture
def ask(served: DashboardServer) -> Ask:
    """Sends a request; returns status, headers and body."""

    def send(
        path: str, method: str = "GET", host: str | None = "", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        with closing(http.client.HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
            connection.putrequest(method, path, skip_host=True)
            if host is not None:
                connection.putheader("Host", host or f"127.0.0.1:{served.port}")
            for name, value in headers.items():
                connection.putheader(name.replace("_", "-"), value)
            connection.endheaders()
            found = connection.getresponse()
            return found.status, dict(found.getheaders()), found.read()

    return send


@pytest.mark.parametrize("path", ASSETS)
def test_the_page_and_its_files(ask: Ask, path: str) -> None:
    status, headers, body = ask(path)
    assert (status, headers["Content-Type"]) == (200, ASSETS[path][1])
    assert body == files("bitvm_bridge.dashboard").joinpath("assets", ASSETS[path][0]).read_bytes()


def test_every_file_is_served_and_none_is_large() -> None:
    found = {item.name: item.read_bytes() for item in files("bitvm_bridge.dashboard").joinpath("assets").iterdir()}
    assert found.keys() == {name for name, _ in ASSETS.values()}
    assert sum(map(len, found.values())) < 60_000
    for name, body in found.items():
        text = body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "://" not in text, name
        assert not any(word in text for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "style=")), (
            name
        )


def test_documents_are_those_of_the_pages(ask: Ask, stages: Stages) -> None:
    bridge, instance = stages["kicked-off"]
    with closing(make_reader(bridge)) as reader:
        found = reader.snapshot()
    for path, document in {
        "/api/overview": pages.overview(found),
        f"/api/instance/{instance}": pages.instance(found, instance),
        f"/api/instance/{instance}/tx/KickOff": pages.tx(found, instance, "KickOff"),
    }.items():
        status, headers, body = ask(path)
        assert (status, headers["Content-Type"]) == (200, server.JSON)
        assert json.loads(body) == json.loads(json.dumps(document))


NOWHERE = (
    "/nothing",
    "/api",
    "/api/",
    "/api/overview/",
    "/api/instance/",
    "/api/instance/00",
    f"/api/instance/{'0' * 64}",
    f"/api/instance/{'0' * 64}/tx/KickOff",
    f"/api/instance/{'A' * 64}",
    f"/api/instance/{'0' * 64}/tx/{'x' * 65}",
    "/../pages.py",
    "/assets/../pages.py",
    "/%2e%2e/pages.py",
    "/..%2f..%2fstore.py",
    "//etc/passwd",
    "/index.html",
    "/%00",
    "/%ff%fe",
    "/api/instance/%00/tx/<script>",
)


@pytest.mark.parametrize("path", NOWHERE)
def test_there_is_nothing_else(ask: Ask, path: str) -> None:
    status, headers, body = ask(path)
    assert (status, headers["Content-Type"]) == (404, server.JSON)
    assert json.loads(body) == {"error": "there is no such page, instance or transaction"}


def test_unknown_transaction(ask: Ask, stages: Stages) -> None:
    assert ask(f"/api/instance/{stages['kicked-off'][1]}/tx/Nothing")[0] == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "NONSENSE"])
def test_nothing_can_be_changed(ask: Ask, method: str) -> None:
    status, headers, body = ask("/api/overview", method, Content_Length="0")
    assert (status, headers["Allow"]) == (405, "GET, HEAD")
    assert "only GET and HEAD" in json.loads(body)["error"]
    assert headers.items() >= HEADERS.items()


def test_head_has_no_body(ask: Ask) -> None:
    status, headers, body = ask("/api/overview", "HEAD")
    assert (status, body) == (200, b"")
    assert int(headers["Content-Length"]) == len(ask("/api/overview")[2])
    assert ask("/nothing", "HEAD")[0] == 404


@pytest.mark.parametrize("path", ["/", "/app.js", "/api/overview", "/nothing"])
def test_every_answer_is_closed_to_others(ask: Ask, path: str) -> None:
    headers = ask(path, Origin="http://evil.example")[1]
    assert headers.items() >= HEADERS.items()
    assert not [name for name in headers if name.lower().startswith("access-control")]
    assert headers["Server"].strip() == "bitvm-bridge", "and no version of anything"
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert set(policy.values()) == {"'none'", "'self'", "'script'"}


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", "evil.example:{port}", None])
@pytest.mark.parametrize("path", ["/", "/api/overview"])
def test_another_name_is_refused(ask: Ask, served: DashboardServer, path: str, host: str | None) -> None:
    status, headers, body = ask(path, host=host and host.format(port=served.port))
    assert status == 421
    assert json.loads(body) == {"error": "this server has another name"}
    assert headers.items() >= HEADERS.items()


def test_two_hosts_are_none(ask: Ask, served: DashboardServer) -> None:
    assert ask("/", Host=f"127.0.0.1:{served.port}")[0] == 421


def test_a_local_name_is_taken(ask: Ask, served: DashboardServer) -> None:
    assert ask("/", host=f"localhost:{served.port}")[0] == 200


@pytest.mark.parametrize(
    ("site", "status"), [("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)]
)
def test_another_site_gets_no_data(ask: Ask, site: str, status: int) -> None:
    assert ask("/api/overview", Sec_Fetch_Site=site)[0] == status
    assert ask("/", Sec_Fetch_Site=site)[0] == 200, "a link may lead here"


@pytest.mark.parametrize(
    ("header", "bound", "own"),
    [  # addresses to listen on, none of which anyone listens on here
        ("127.0.0.1:80", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.1", True),
        ("LocalHost:80", "127.0.0.1", True),
        ("[::1]:80", "127.0.0.1", True),
        ("127.0.0.1.:80", "127.0.0.1", False),
        ("127.0.0.1.evil.example:80", "127.0.0.1", False),
        ("localhost.evil.example:80", "127.0.0.1", False),
        ("user@127.0.0.1:80", "127.0.0.1", False),
        ("127.0.0.1:80/path", "127.0.0.1", False),
        ("127.0.0.1:x", "127.0.0.1", False),
        ("127.0.0.1:99999", "127.0.0.1", False),
        ("[::1", "127.0.0.1", False),
        ("10.0.0.5:80", "127.0.0.1", False),
        ("", "127.0.0.1", False),
        ("None", "127.0.0.1", False),
        ("10.0.0.5:80", "10.0.0.5", True),
        ("127.0.0.1:80", "10.0.0.5", False),
        ("10.0.0.5:80", ANY, True),
        ("localhost:80", ANY, True),
        ("evil.example:80", ANY, False),
        ("[fe80::1]:80", "::", True),
        ("bridge.lan:80", "bridge.lan", True),
        ("evil.example:80", "bridge.lan", False),
    ],
)
def test_own_hosts(header: str, bound: str, own: bool) -> None:
    assert is_own_host(header, bound, 80) is own


NONSENSE = (
    b"\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n",
    b"GET http://[/ HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /\r\n\r\n",
    b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: " + b"a" * 70_000 + b"\r\n\r\n",
)


@pytest.mark.parametrize("raw", NONSENSE, ids=range(len(NONSENSE)))
def test_nonsense_is_answered_and_ends(served: DashboardServer, ask: Ask, raw: bytes) -> None:
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        try:
            while part := connection.recv(1 << 16):
                answer += part
        except ConnectionResetError:
            pass  # it ended before all of the request was read
    assert b"<html" not in answer.lower()
    assert ask("/")[0] == 200, "and others are served"


def test_a_body_is_not_taken_for_a_request(served: DashboardServer) -> None:
    inner = f"GET /api/overview HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\n\r\n".encode()
    head = f"POST / HTTP/1.1\r\nHost: 127.0.0.1:{served.port}\r\nContent-Length: {len(inner)}\r\n\r\n".encode()
    with socket.create_connection(("127.0.0.1", served.port), timeout=30) as connection:
        connection.sendall(head + inner)
        answer = b""
        try:
            while part := connection.recv(1 << 16):
                answer += part
        except ConnectionResetError:
            pass  # the rest of the request was not read
    assert answer.count(b"HTTP/1.0 ") == 1
    assert b"at_risk" not in answer


def test_a_port_that_is_taken(served: DashboardServer) -> None:
    with pytest.raises(BadInput, match="--host and --port"):
        DashboardServer(served.reader, "127.0.0.1", served.port)
    with pytest.raises(BadInput, match="--host and --port"):
        DashboardServer(served.reader, "192.0.2.1", 0)


def test_where_it_is_found(stages: Stages) -> None:
    with closing(make_reader(stages["kicked-off"][0])) as reader:
        for host, url, private in (
            ("127.0.0.1", "http://127.0.0.1:{}/", True),
            ("localhost", "http://localhost:{}/", True),
            (ANY, "http://127.0.0.1:{}/", False),
        ):
            with DashboardServer(reader, host, 0) as found:
                assert (found.url, found.is_private) == (url.format(found.port), private)


def test_many_at_once_are_answered(stages: Stages) -> None:
    with closing(make_reader(stages["kicked-off"][0])) as reader, serving(reader) as found:
        connections = [http.client.HTTPConnection("127.0.0.1", found.port, timeout=60) for _ in range(8)]
        for connection in connections:
            connection.request("GET", "/api/overview")
        answers = [connection.getresponse() for connection in connections]
        assert [answer.status for answer in answers] == [200] * 8
        assert len({answer.read() for answer in answers}) == 1
        for connection in connections:
            connection.close()
