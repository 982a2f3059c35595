"""Serves the page and its JSON over HTTP, to this machine's own browser.

Any web page that the browser has open may send requests here. So a request must name this server as its host (a name
that was made to point here does not), no answer may be read by another origin, and nothing can be changed.
"""

import ipaddress
import json
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from bitvm_bridge.dashboard import pages
from bitvm_bridge.dashboard.reader import Reader
from bitvm_bridge.errors import BadInput

TIMEOUT: Final = 15
"""seconds that a connection may be silent."""
JSON: Final = "application/json; charset=utf-8"
ASSETS: Final = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
    "/app.js": ("app.js", "text/javascript; charset=utf-8"),
    "/dom.js": ("dom.js", "text/javascript; charset=utf-8"),
    "/graph.js": ("graph.js", "text/javascript; charset=utf-8"),
    "/calendar.js": ("calendar.js", "text/javascript; charset=utf-8"),
    "/detail.js": ("detail.js", "text/javascript; charset=utf-8"),
    "/words.js": ("words.js", "text/javascript; charset=utf-8"),
}
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_INSTANCE: Final = re.compile(r"/api/instance/([0-9a-f]{64})")
_TX: Final = re.compile(r"/api/instance/([0-9a-f]{64})/tx/(\w{1,64})", re.ASCII)


@dataclass(frozen=True)
class Answer:
    """A response: its status, media type and body."""

    status: HTTPStatus
    kind: str
    body: bytes


def refusal(status: HTTPStatus, reason: str) -> Answer:
    """An error as JSON."""
    return Answer(status, JSON, json.dumps({"error": reason}).encode())


def answer(reader: Reader, path: str) -> Answer:
    """What a path leads to."""
    if path in ASSETS:
        name, kind = ASSETS[path]
        return Answer(HTTPStatus.OK, kind, files(__package__).joinpath("assets", name).read_bytes())
    try:
        document = _document(reader, path)
    except pages.NotFound:
        return refusal(HTTPStatus.NOT_FOUND, "there is no such page, instance or transaction")
    return Answer(HTTPStatus.OK, JSON, json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode())


def _document(reader: Reader, path: str) -> pages.Json:
    if path == "/api/overview":
        return pages.overview(reader.snapshot())
    if found := _INSTANCE.fullmatch(path):
        return pages.instance(reader.snapshot(), found[1])
    if found := _TX.fullmatch(path):
        return pages.tx(reader.snapshot(), found[1], found[2])
    raise pages.NotFound


def is_own_host(header: str | None, bound: str, port: int) -> bool:
    """Does a Host header name this server? `bound` is the address that it was told to listen on.

    Another site's name can be made to point here (DNS rebinding), an address cannot: where the server listens on every
    address of the machine, any address will do.
    """
    try:
        parts = urlsplit(f"//{header}")
        name, given = parts.hostname, parts.port or 80
    except ValueError:
        return False
    if given != port or name is None or header != parts.netloc or "@" in parts.netloc:
        return False
    own = {bound.lower()} | ({"localhost", "127.0.0.1", "::1"} if _is_loopback(bound) else set())
    return name in own or (_is_any(bound) and (name == "localhost" or _address(name) is not None))


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def _is_any(bound: str) -> bool:
    found = _address(bound)
    return found is not None and found.is_unspecified


def _is_loopback(bound: str) -> bool:
    found = _address(bound)
    return bound.lower() == "localhost" or (found is not None and found.is_loopback)


class DashboardServer(ThreadingHTTPServer):
    """Listens on `host` and `port`, 0 for a free one; `serve_forever` answers until `shutdown`."""

    daemon_threads = True

    def __init__(self, reader: Reader, host: str, port: int) -> None:
        """Raises BadInput where that address or port cannot be had."""
        self.reader = reader
        self.host = host
        try:
            family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
            self.address_family = family
            super().__init__((host, port), _handler(reader, lambda header: is_own_host(header, host, self.port)))
        except (OSError, OverflowError, UnicodeError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadInput("--host and --port", f"{host}:{port}", f"an address of this machine ({reason})") from None

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Where a browser on this machine finds it."""
        host = "127.0.0.1" if _is_any(self.host) else self.host
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}/"

    @property
    def is_private(self) -> bool:
        """Can only this machine reach it?"""
        return _is_loopback(self.host)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A browser that goes away in the middle of an answer is no news; whatever else fails is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | TimeoutError):
            super().handle_error(request, client_address)


def _handler(reader: Reader, is_own: Callable[[str | None], bool]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """GET and HEAD, one for each connection (HTTP/1.0); every answer has the same headers."""

        server_version = "bitvm-bridge"
        sys_version = ""
        timeout = TIMEOUT

        def do_GET(self) -> None:
            """The page, its files, or JSON."""
            self._give(self._answer())

        def do_HEAD(self) -> None:
            """The same without a body."""
            self._give(self._answer())

        def _answer(self) -> Answer:
            if len(self.headers.get_all("Host", [])) != 1 or not is_own(self.headers["Host"]):
                return refusal(HTTPStatus.MISDIRECTED_REQUEST, "this server has another name")
            path = unquote(self.path.partition("?")[0])
            if path.startswith("/api/") and self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
                return refusal(HTTPStatus.FORBIDDEN, "another site asks")
            return answer(reader, path)

        def _give(self, given: Answer) -> None:
            self.send_response(given.status)
            headers = {"Content-Type": given.kind, "Content-Length": str(len(given.body))}
            allow = {"Allow": "GET, HEAD"} if given.status is HTTPStatus.METHOD_NOT_ALLOWED else {}
            for name, value in (headers | allow).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(given.body)

        def end_headers(self) -> None:
            """The headers that every answer has."""
            for name, value in HEADERS.items():
                self.send_header(name, value)
            super().end_headers()

        def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
            """What is no request, or another method."""
            del explain
            status = HTTPStatus(code)
            if status is HTTPStatus.NOT_IMPLEMENTED:
                status, message = HTTPStatus.METHOD_NOT_ALLOWED, "only GET and HEAD: nothing can be changed here"
            self._give(refusal(status, message or status.phrase))

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
            """A page that asks every few seconds is not news."""

    return Handler
