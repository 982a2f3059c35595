"""Around every request: the name that the service is called by, a deadline, one line in the log, and no loose ends."""

import asyncio
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bitvm_bridge.errors import MAX_SHOWN
from bitvm_bridge.service.limits import Limits

LINGER_BYTES: Final = 1 << 20
LINGER_TIME: Final = 1.0
"""seconds, and bytes, of an unwanted body that are read and dropped: who is cut off at once may never see why."""

Log = Callable[[Mapping[str, Any]], None]
"""Takes an event: what happened, as JSON can carry it."""


class Guard:
    """Lets requests through to an application and answers those that must not get there, or do not come back.

    `names` are what the Host header may say: a signed request that was meant for another service is refused, and so
    is a page of another site whose name was made to point here.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str], limits: Limits, log: Log) -> None:
        self._app, self._names, self._limits, self._log = app, names, limits, log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(receive, send, whole=not _has_body(scope))
        begun = time.monotonic()
        try:
            await self._answer(scope, exchange)
        finally:
            self._log(_entry(scope, exchange, time.monotonic() - begun))

    async def _answer(self, scope: Scope, exchange: "_Exchange") -> None:
        hosts = [value.decode("latin-1").lower() for name, value in scope["headers"] if name == b"host"]
        if len(hosts) != 1 or hosts[0] not in self._names:
            shown = ", ".join(hosts)[:MAX_SHOWN]
            await exchange.refuse(421, f"Host: {shown!r} is not {' or '.join(sorted(self._names))}")
            return
        try:
            async with asyncio.timeout(self._limits.request_time) as deadline:
                await self._app(scope, exchange.receive, exchange.send)
        except Exception as error:
            if deadline.expired():
                await exchange.refuse(408, f"request: not over within {self._limits.request_time:g} seconds")
                return
            self._log({"event": "error", "error": repr(error), "trace": traceback.format_exc().splitlines()})
            await exchange.refuse(500, "the service failed to answer; its log says why")


@dataclass
class _Exchange:
    """One request and its answer, and how far they have come."""

    _receive: Receive
    _send: Send
    whole: bool
    """The request has been read to its end."""
    status: int | None = None
    received: int = 0
    sent: int = 0

    async def receive(self) -> Message:
        """More of the request."""
        message = await self._receive()
        if message["type"] == "http.request":
            self.received += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
        return message

    async def send(self, message: Message) -> None:
        """More of the answer. One that comes before the end of the request ends the connection too."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            if not self.whole:
                message = {**message, "headers": [*message["headers"], (b"connection", b"close")]}
        elif not message.get("more_body", False) and not self.whole:
            await self._send({**message, "more_body": True})
            message = {"type": "http.response.body", "body": b""}
            await self._linger()
        self.sent += len(message.get("body", b""))
        await self._send(message)

    async def refuse(self, status: int, reason: str) -> None:
        """Answer, unless an answer has begun: then it stays cut short."""
        if self.status is not None:
            return
        body = msgspec.json.encode({"error": reason})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})

    async def _linger(self) -> None:
        """Read on for a while, so that the answer is not lost with what is still on its way here."""
        until = self.received + LINGER_BYTES
        try:
            async with asyncio.timeout(LINGER_TIME):
                while not self.whole and self.received < until:
                    if (await self.receive())["type"] == "http.disconnect":
                        return
        except TimeoutError:
            return


def _has_body(scope: Scope) -> bool:
    """RFC 9112, section 6.3: one of these headers announces it."""
    return any(
        name == b"transfer-encoding" or (name == b"content-length" and value != b"0")
        for name, value in scope["headers"]
    )


def _entry(scope: Scope, exchange: _Exchange, seconds: float) -> dict[str, Any]:
    """A request as the log has it: no query, no header, and the path as it came, in ASCII: nothing ends a line."""
    client = scope.get("client")
    return {
        "event": "request",
        "client": client[0] if client else None,
        "party": scope.get("party"),
        "method": scope["method"][:MAX_SHOWN],
        "path": scope["raw_path"].decode("ascii", "backslashreplace")[:MAX_SHOWN],
        "status": exchange.status,
        "received": exchange.received,
        "sent": exchange.sent,
        "ms": round(1_000 * seconds, 1),
    }
