"""What is a request, and how a file and a service tell of them: once, in order, and never more than is one."""

import json
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.sources import lines
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.lines import LinesFile
from bitvm_bridge.sources.poll import PolledService
from bitvm_bridge.sources.request import MAX_DOCUMENT, START, PegOutRequest
from tests.sources.orders import AMOUNT, Asked, Server, changed, order, served


def test_a_request_reads_what_it_writes() -> None:
    request = order(1)
    assert PegOutRequest.from_json(request.to_json()) == request
    assert b"\n" not in request.to_json()
    assert request.amount == AMOUNT


MALFORMED: list[tuple[dict[str, Any], str]] = [
    ({"id": "11"}, "id: '11' is not 32 bytes in hex"),
    ({"id": "xy" * 32}, "id: 'xy"),
    ({"amount": AMOUNT + 1}, "amount: '99000001' is not the 99000000 sat|amount: '99000001' is not the 99,000,000 sat"),
    ({"amount": "99000000"}, r"request: .* `\$.amount`"),
    ({"amount": 1.5}, r"request: .* `\$.amount`"),
    ({"script": "00"}, "script: '00' is not the script that the PSBT pays"),
    ({"script": "zz"}, "script: 'zz' is not hex"),
    ({"psbt": ""}, "withdrawal PSBT: '' is not a PSBT in base64"),
    ({"psbt": order(2, AMOUNT + 5).to_json().decode()}, "withdrawal PSBT"),
    ({"more": 1}, "request: .* unknown field `more`"),
]


@pytest.mark.parametrize(("fields", "message"), MALFORMED, ids=[str(fields)[:30] for fields, _ in MALFORMED])
def test_what_is_no_request_is_refused_by_its_field(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        PegOutRequest.from_json(changed(order(1), **fields))


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b"\xff", b" " * (MAX_DOCUMENT + 1)])
def test_what_is_no_document_is_refused(raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"^request: "):
        PegOutRequest.from_json(raw)


def append(path: Path, *documents: bytes, end: bytes = b"\n") -> None:
    with path.open("ab") as file:
        file.write(b"\n".join(documents) + end)


def test_a_file_is_read_on_from_where_it_was(tmp_path: Path) -> None:
    source = LinesFile(tmp_path / "requests.jsonl")
    append(source.path, order(1).to_json(), b"", order(2).to_json())
    page = source.requests(START)
    assert page.requests == (order(1), order(2))
    assert source.requests(page.cursor).requests == ()
    assert source.requests(page.cursor).cursor == page.cursor
    append(source.path, order(3).to_json())
    assert source.requests(page.cursor).requests == (order(3),)
    assert source.requests(START).requests == (order(1), order(2), order(3))


def test_a_line_that_is_being_written_waits_for_its_end(tmp_path: Path) -> None:
    source = LinesFile(tmp_path / "requests.jsonl")
    document = order(2).to_json()
    append(source.path, order(1).to_json())
    append(source.path, document[:100], end=b"")
    first = source.requests(START)
    assert (first.requests, first.refused) == ((order(1),), ())
    assert source.requests(first.cursor) == source.requests(first.cursor)
    append(source.path, document[100:])
    assert source.requests(first.cursor).requests == (order(2),)


def test_a_malformed_line_does_not_stop_the_others(tmp_path: Path) -> None:
    source = LinesFile(tmp_path / "requests.jsonl")
    append(source.path, order(1).to_json(), b"{nonsense", changed(order(2), amount=5), order(3).to_json())
    page = source.requests(START)
    assert page.requests == (order(1), order(3))
    assert len(page.refused) == 2
    assert page.refused[0].startswith(f"byte {len(order(1).to_json()) + 1:,}: request: ")
    assert ": amount: '5' is not the 99,000,000 sat" in page.refused[1]


def test_a_long_file_comes_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINES", 2)
    source = LinesFile(tmp_path / "requests.jsonl")
    append(source.path, *(order(number).to_json() for number in range(1, 6)))
    found, cursor = [], START
    while (page := source.requests(cursor)).cursor != cursor:
        assert len(page.requests) <= 2
        found += page.requests
        cursor = page.cursor
    assert found == [order(number) for number in range(1, 6)]


def test_another_file_in_its_place_is_refused(tmp_path: Path) -> None:
    source = LinesFile(tmp_path / "requests.jsonl")
    append(source.path, order(1).to_json())
    cursor = source.requests(START).cursor
    for content in (b"", order(2).to_json() + b"\n"):
        source.path.write_bytes(content)
        with pytest.raises(BridgeError, match="not the file that was read before"):
            source.requests(cursor)


def test_a_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "missing", tmp_path):
        with pytest.raises(BadInput, match=r"^source: .* is not a readable file"):
            LinesFile(path).requests(START)
    endless = tmp_path / "endless"
    endless.write_bytes(b" " * (MAX_DOCUMENT + 5))
    with pytest.raises(BadInput, match=r"byte 0: 'a longer line' is not at most 65,536 bytes"):
        LinesFile(endless).requests(START)


def service(server: Server, **options: Any) -> Service:
    return Service(server.url + "/requests?key=SECRET", sleep=lambda _: None, **options)


def page_of(*documents: bytes, cursor: str) -> bytes:
    return b'{"requests": [' + b",".join(documents) + b'], "cursor": ' + json.dumps(cursor).encode() + b"}"


def test_a_service_is_asked_for_what_is_new() -> None:
    pages = {"": page_of(order(1).to_json(), b'"junk"', order(2).to_json(), cursor="a b"), "a%20b": b"", "a+b": b""}
    pages["a+b"] = page_of(cursor="a b")

    def reply(asked: Asked) -> tuple[int, bytes]:
        return 200, pages[asked.path.partition("cursor=")[2]]

    with served(reply) as server:
        source = PolledService(service(server))
        page = source.requests(START)
        assert page.requests == (order(1), order(2))
        assert [line.partition(":")[0] for line in page.refused] == ["request 1 behind the start"]
        assert source.requests(page.cursor) == type(page)((), page.cursor)
        assert source.name == f"{server.url}/requests"


@pytest.mark.parametrize(
    ("body", "kind", "message"),
    [
        (b"", BridgeError, "no page of requests"),
        (b"[]", BridgeError, "no page of requests"),
        (b"\xff", BridgeError, "no page of requests"),
        (b'{"requests": [], "cursor": 5}', BridgeError, "no page of requests"),
        (b'{"requests": [1], "cursor": ""}', BadInput, "cursor"),
        (b" " * 2_000, NodeRejected, "an answer of more than 1,000 bytes"),
    ],
)
def test_what_is_no_page_is_refused(body: bytes, kind: type[BridgeError], message: str) -> None:
    with served(lambda _: (200, body)) as server, pytest.raises(kind, match=message) as caught:
        PolledService(service(server, max_answer=1_000)).requests(START)
    assert "SECRET" not in str(caught.value)


def test_a_busy_service_is_asked_again() -> None:
    pauses: list[float] = []
    answers = [(503, b""), (429, b""), (200, page_of(cursor="1"))]
    with served(lambda _: answers.pop(0)) as server:
        page = PolledService(Service(server.url, sleep=pauses.append)).requests(START)
    assert page.cursor == "1"
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize(
    ("status", "kind", "times"), [(500, NodeUnreachable, 3), (404, NodeRejected, 1), (302, NodeRejected, 1)]
)
def test_a_service_that_refuses_is_named_without_its_key(status: int, kind: type[BridgeError], times: int) -> None:
    with served(lambda _: (status, b"")) as server:
        server.headers["Location"] = "http://127.0.0.1:1/"
        with pytest.raises(kind, match=f"^{server.url}: HTTP status {status}") as caught:
            PolledService(service(server)).requests(START)
    assert "SECRET" not in str(caught.value)
    assert len(server.asked) == times


def test_nobody_there() -> None:
    with served(lambda _: (200, b"")) as server:
        url = server.url
    with pytest.raises(NodeUnreachable, match=f"^{url}: ConnectionError, 3 times$"):
        PolledService(Service(url, sleep=lambda _: None)).requests(START)


@pytest.mark.parametrize("url", ["", "ftp://host/", "http://", "http://host:port/", "http://[::1/", "http://h:99999/"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(BadInput, match="URL"):
        Service(url)
