"""A second layer to try the bridge with: it puts requests in an order, and hands out the proofs that it was given.

It believes everything: what a request is worth, the operator finds out. Not for money.
"""

import re
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import msgspec

from bitvm_bridge.errors import BadInput
from bitvm_bridge.sources.provers import MAX_PROOF, JobDocument
from bitvm_bridge.sources.request import MAX_DOCUMENT

HOST: Final = "127.0.0.1"
PAGE: Final = 100
"""requests told at once."""
MEMORY: Final = ":memory:"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS requests (number INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, document BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS proofs (instance TEXT PRIMARY KEY, document BLOB NOT NULL);
"""


class Sequencer:
    """Requests in the order in which they came, and proofs by instance, in one SQLite file."""

    def __init__(self, file: str = MEMORY) -> None:
        """Raises BadInput for a file that cannot be had."""
        try:
            self._db = sqlite3.connect(file, check_same_thread=False, isolation_level=None)
            self._db.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise BadInput("file", Path(file), f"one that SQLite can use ({error})") from None
        self._lock = Lock()

    def order(self, request_id: str, document: bytes) -> int:
        """The number of a request; the first one under an id stands."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO requests (id, document) VALUES (?, ?)", (request_id, document))
            return int(self._db.execute("SELECT number FROM requests WHERE id = ?", (request_id,)).fetchone()[0])

    def page(self, after: int) -> list[tuple[int, bytes]]:
        """(number, document) of the next requests."""
        query = "SELECT number, document FROM requests WHERE number > ? ORDER BY number LIMIT ?"
        with self._lock:
            return self._db.execute(query, (after, PAGE)).fetchall()

    def add_proof(self, instance: str, document: bytes) -> None:
        """What an operator will be given for an instance."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO proofs VALUES (?, ?)", (instance, document))

    def proof(self, instance: str) -> bytes | None:
        """The document; None where there is none."""
        with self._lock:
            row = self._db.execute("SELECT document FROM proofs WHERE instance = ?", (instance,)).fetchone()
        return bytes(row[0]) if row else None

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


@dataclass(frozen=True)
class Answer:
    """An HTTP status and a body."""

    status: HTTPStatus
    body: bytes = b""


class _OrderDocument(msgspec.Struct):
    """All that the order of requests depends on."""

    id: str


class _JobRequest(msgspec.Struct):
    """The instance that a proof is wanted for."""

    instance: str


Route = Callable[[Sequencer, str, Mapping[str, str], bytes], Answer]


def _order(layer: Sequencer, _: str, __: Mapping[str, str], body: bytes) -> Answer:
    number = layer.order(msgspec.json.decode(body, type=_OrderDocument).id, body)
    return Answer(HTTPStatus.CREATED, msgspec.json.encode({"number": number}))


def _page(layer: Sequencer, _: str, query: Mapping[str, str], __: bytes) -> Answer:
    after = int(query.get("cursor", "0"))
    found = layer.page(after)
    cursor = str(found[-1][0] if found else after)
    page = {"requests": [msgspec.Raw(document) for _, document in found], "cursor": cursor}
    return Answer(HTTPStatus.OK, msgspec.json.encode(page))


def _prove(layer: Sequencer, _: str, query: Mapping[str, str], body: bytes) -> Answer:
    return _job(layer, msgspec.json.decode(body, type=_JobRequest).instance, query, body)


def _job(layer: Sequencer, instance: str, _: Mapping[str, str], __: bytes) -> Answer:
    state = "empty" if layer.proof(instance) is None else "done"
    return Answer(HTTPStatus.OK, msgspec.json.encode(JobDocument(instance, state)))


def _proof(layer: Sequencer, instance: str, _: Mapping[str, str], __: bytes) -> Answer:
    document = layer.proof(instance)
    return Answer(HTTPStatus.NOT_FOUND) if document is None else Answer(HTTPStatus.OK, document)


def _put_proof(layer: Sequencer, instance: str, _: Mapping[str, str], body: bytes) -> Answer:
    layer.add_proof(instance, body)
    return Answer(HTTPStatus.CREATED)


ROUTES: Final[tuple[tuple[str, str, Route], ...]] = (
    ("POST", r"/requests", _order),
    ("GET", r"/requests", _page),
    ("POST", r"/jobs", _prove),
    ("GET", r"/jobs/([0-9a-f]+)", _job),
    ("GET", r"/jobs/([0-9a-f]+)/proof", _proof),
    ("PUT", r"/proofs/([0-9a-f]+)", _put_proof),
)
"""Method, path and what answers; the group of a path is what it is about."""


def answer(layer: Sequencer, method: str, target: str, body: bytes) -> Answer:
    """What the second layer says to a request of HTTP."""
    parts = urlsplit(target)
    for known, pattern, route in ROUTES:
        if method == known and (match := re.fullmatch(pattern, parts.path)):
            query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
            if route is _order and len(body) > MAX_DOCUMENT:
                return Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            try:
                return route(layer, "".join(match.groups()), query, body)
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                return Answer(HTTPStatus.BAD_REQUEST, f"{error}\n".encode())
    return Answer(HTTPStatus.NOT_FOUND)


class SecondLayer:
    """Serves a sequencer on this machine; port 0 takes a free one."""

    def __init__(self, sequencer: Sequencer, port: int = 0) -> None:
        """Raises BadInput for a port that cannot be had."""

        class Handler(BaseHTTPRequestHandler):
            """Reads a request, and writes what `answer` says."""

            def _reply(self) -> None:
                size = int(self.headers.get("Content-Length") or 0)
                found = (
                    answer(sequencer, self.command, self.path, self.rfile.read(size))
                    if 0 <= size <= MAX_PROOF
                    else Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                )
                self.send_response(found.status)
                self.send_header("Content-Length", str(len(found.body)))
                self.end_headers()
                self.wfile.write(found.body)

            do_GET = do_POST = do_PUT = _reply  # noqa: N815 (the names that the base class looks for)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
                """Requests of HTTP are not news."""

        try:
            self._http = ThreadingHTTPServer((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadInput("--port", port, f"a free port of this machine ({reason})") from None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{HOST}:{self._http.server_address[1]}"

    def serve(self) -> None:
        """Answer until `close`."""
        self._http.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop answering; from another thread than that of `serve`."""
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> "SecondLayer":
        """Answers in a thread of its own until the block ends."""
        self._thread = Thread(target=self.serve, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._thread.join()
