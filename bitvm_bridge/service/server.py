"""A process that listens: sockets, TLS, connections that take too long, and an end that loses nothing."""

import asyncio
import logging
import socket
import ssl
import struct
import threading
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import h11
import msgspec
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from bitvm_bridge.errors import BadInput
from bitvm_bridge.service.api import Bell
from bitvm_bridge.service.limits import MAX_HEADERS, Limits

BACKLOG: Final = 128
END_TIME: Final = 5
"""seconds that requests get to end when the service does."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that connections can come in on; port 0 takes a free one. Raises BadInput."""
    listener = None
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        # With its protocol: only then asyncio turns Nagle's algorithm off, which delays every answer by some 40 ms.
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except (OSError, OverflowError, UnicodeError) as error:
        if listener is not None:
            listener.close()
        reason = getattr(error, "strerror", None) or str(error)
        raise BadInput("--host and --port", f"{host}:{port}", f"a free port of this machine ({reason})") from None
    return listener


def tls_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """TLS 1.2 or newer with a PEM certificate chain and its key. Raises BadInput, for an encrypted key as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or str(error)
        shown = f"{certificate} and {key}"
        raise BadInput(
            "--tls-cert and --tls-key", shown, f"a certificate and its key, not encrypted ({reason})"
        ) from None
    return context


def run(
    app: ASGIApp,
    bell: Bell,
    limits: Limits,
    listener: socket.socket,
    tls: ssl.SSLContext | None,
    stopped: threading.Event,
) -> None:
    """Serve until SIGINT, SIGTERM or `stopped`. The signals are raised again for handlers that were there before."""
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)  # the guard has said it already
    config = _Config(
        app,
        loop="asyncio",
        http=PatientProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_graceful_shutdown=END_TIME,
        h11_max_incomplete_event_size=MAX_HEADERS,
        ssl_context_factory=None if tls is None else lambda *_: tls,
    )
    config.limits = limits
    _Server(config, bell, stopped).run(sockets=[listener])


class _Config(uvicorn.Config):
    limits: Limits


class _Server(uvicorn.Server):
    """Ends the waiting of those who wait for envelopes before it waits for them."""

    def __init__(self, config: uvicorn.Config, bell: Bell, stopped: threading.Event) -> None:
        super().__init__(config)
        self._bell, self._stopped = bell, stopped

    async def on_tick(self, counter: int) -> bool:
        """Is it time to end? A signal that came before there were handlers for it counts."""
        return await super().on_tick(counter) or self._stopped.is_set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._bell.close()
        await super().shutdown(sockets)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 for clients that are slow, silent or talk nonsense: patient with them, but not for ever.

    A connection is cut when its headers, or what remains of its last answer, take longer than `header_time`, or when
    a request takes much longer than the application would let it. Those beyond the limit are answered and closed.
    """

    config: _Config
    _fuse: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for headers."""
        super().connection_made(transport)
        self._light(self.config.limits.header_time)
        if len(self.connections) > self.config.limits.connections:
            self._end(503, f"connections: {self.config.limits.connections} are open; try again later")

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for."""
        self._put_out()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        """A request that begins gets the time that requests have."""
        cycle = self.cycle
        super().handle_events()
        if self.cycle is not cycle and not self.cycle.response_complete:
            self._light(self.config.limits.request_time + self.config.limits.header_time)

    def on_response_complete(self) -> None:
        """The rest of the answer, and the next request, are waited for."""
        self._light(self.config.limits.header_time)
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is answered in the form that everything is, where an answer is still possible."""
        self._end(400, f"request: {msg}")

    def _end(self, status: int, reason: str) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = msgspec.json.encode({"error": reason})
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", str(len(body)).encode()),
                (b"connection", b"close"),
            ]
            phrase = HTTPStatus(status).phrase.encode()
            events: list[Any] = [h11.Response(status_code=status, headers=headers, reason=phrase)]
            for event in (*events, h11.Data(data=body), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
            self.transport.close()
        else:
            self.transport.abort()

    def _light(self, seconds: float) -> None:
        self._put_out()
        self._fuse = self.loop.call_later(seconds, self._cut)

    def _cut(self) -> None:
        """At once: what the kernel still holds for the other side is dropped too, which a mere close would keep."""
        found: socket.socket | None = self.transport.get_extra_info("socket")
        if found is not None:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    def _put_out(self) -> None:
        if self._fuse is not None:
            self._fuse.cancel()
            self._fuse = None
