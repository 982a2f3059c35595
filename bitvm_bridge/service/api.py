"""The operations of the service, as an ASGI application."""

import asyncio
import hashlib
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from bitvm_bridge import secp
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import MAX_SHOWN, BadInput, BridgeError, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.roster import Participant, Roster
from bitvm_bridge.service import refusals
from bitvm_bridge.service.credentials import SCHEME, Credentials
from bitvm_bridge.service.guard import Guard, Log
from bitvm_bridge.service.limits import MAX_PAGE, MAX_WAIT, Limits
from bitvm_bridge.service.office import START, Office, Receipt
from bitvm_bridge.service.openapi import describe
from bitvm_bridge.service.refusals import Refusal

SLICE: Final = 64 << 10
"""bytes of an answer that are handed over at once: a reader that stops leaves no more than that behind it."""
_NUMBER: Final = re.compile(r"[0-9]{1,4}", re.ASCII)

T = TypeVar("T")


class Bell:
    """Wakes those who wait for an envelope. Rings once more when the service ends."""

    def __init__(self) -> None:
        self.next = asyncio.Event()
        self.closing = False

    def ring(self) -> None:
        """There is something new."""
        self.next.set()
        self.next = asyncio.Event()

    def close(self) -> None:
        """Nobody waits any more."""
        self.closing = True
        self.ring()


class Turnstile:
    """So many requests of one party at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._inside: Counter[bytes] = Counter()

    @contextmanager
    def enter(self, party: Participant) -> Iterator[None]:
        """Raises Refusal, with status 429, where there are too many already."""
        if self._inside[party.key] >= self._limit:
            raise Refusal(429, f"requests: {self._limit} of {party.name} are being answered; at most so many at once")
        self._inside[party.key] += 1
        try:
            yield
        finally:
            self._inside[party.key] -= 1


class Sliced(Response):
    """A JSON answer that is handed over slice by slice, each once the one before it is on its way."""

    media_type = "application/json"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), SLICE):
            piece = bytes(self.body[start : start + SLICE])
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


@dataclass(frozen=True)
class Asking:
    """A request that was admitted: who sent it, SHA256 of the body it must have, what is held until it is answered."""

    party: Participant
    digest: bytes
    held: AsyncExitStack


class Service:
    """What it does with requests. `now` tells seconds since 1970."""

    def __init__(
        self, roster: Roster, office: Office, limits: Limits, log: Log, now: Callable[[], float] = time.time
    ) -> None:
        self.bell = Bell()
        self._roster, self._office, self._limits, self._log, self._now = roster, office, limits, log, now
        self._turnstile = Turnstile(limits.at_once)
        self._bodies = asyncio.Semaphore(limits.bodies)
        self._worker = ThreadPoolExecutor(1, "office")

    def close(self) -> None:
        """Wait for what is being written."""
        self._worker.shutdown()

    async def health(self, request: Request) -> Response:
        """For anyone."""
        del request
        return _answer({"status": "ok", "time": int(self._now())})

    async def openapi(self, request: Request) -> Response:
        """For anyone."""
        del request
        return _answer(describe(self._limits))

    async def put(self, request: Request, asking: Asking) -> Response:
        """Keep an envelope."""
        await asking.held.enter_async_context(self._bodies)
        raw = await _body(request, self._limits, asking.digest)
        envelope, receipt = await self._in_file(self._keep, raw, asking.party)
        if receipt.new:
            self.bell.ring()
        ids = [found.hex() for found in receipt.contradicts]
        if receipt.new and ids:
            about = {"party": asking.party.name, "session": envelope.session.hex(), "kind": envelope.kind}
            self._log({"event": "contradiction", **about, "ids": [envelope.id.hex(), ids[0]]})
        found = {"id": envelope.id.hex(), "new": receipt.new, "contradicts": ids}
        return _answer(found, 201 if receipt.new else 200)

    async def since(self, request: Request, asking: Asking) -> Response:
        """What came after a cursor."""
        cursor = request.query_params.get("cursor", START)
        limit = _number(request, "limit", 1, MAX_PAGE, MAX_PAGE)
        await self._await_news(cursor, _number(request, "wait", 0, MAX_WAIT, 0))
        await asking.held.enter_async_context(self._bodies)
        page = await self._in_file(self._office.since, cursor, limit)
        envelopes = [msgspec.Raw(raw) for raw in page.envelopes]
        return _answer({"envelopes": envelopes, "cursor": page.cursor, "more": page.more})

    async def get(self, request: Request, asking: Asking) -> Response:
        """One envelope."""
        name = from_hex("envelope id", request.path_params["id"], secp.DIGEST_SIZE)
        await asking.held.enter_async_context(self._bodies)
        raw = await self._in_file(self._office.get, name)
        if raw is None:
            raise Refusal(404, f"envelope id: {name.hex()} is not here")
        return Sliced(raw)

    async def contradictions(self, request: Request, asking: Asking) -> Response:
        """Who said two things where there is one to say."""
        del request, asking
        rows = [
            {
                "author": one.author.hex(),
                "party": self._roster.name(one.author),
                "session": one.session.hex(),
                "kind": one.kind,
                "times": one.times,
                "ids": [name.hex() for name in one.ids],
            }
            for one in await self._in_file(self._office.contradictions)
        ]
        return _answer({"contradictions": rows})

    @asynccontextmanager
    async def admit(self, request: Request) -> AsyncIterator[Asking]:
        """A party of the roster whose request is signed, for the first time, and that asks for little else now."""
        party, credentials = self._identify(request)
        request.scope["party"] = party.name
        async with AsyncExitStack() as held:
            held.enter_context(self._turnstile.enter(party))
            now = int(self._now())
            if not await self._in_file(self._office.spend, credentials.key, credentials.nonce, credentials.time, now):
                raise _unauthorized("Authorization: this request was answered before; sign each one anew")
            yield Asking(party, credentials.digest, held)

    def _keep(self, raw: bytes, party: Participant) -> tuple[Envelope, Receipt]:
        envelope = Envelope.from_json(raw)
        if envelope.author != party.key:
            raise VerificationFailed(
                f"envelope author: {self._roster.name(envelope.author)} puts its envelopes here itself; "
                f"this request is signed by {party.name}"
            )
        return envelope, self._office.put(envelope)

    def _identify(self, request: Request) -> tuple[Participant, Credentials]:
        header = request.headers.get("authorization")
        if header is None:
            raise _unauthorized("Authorization: none; requests are signed with an identity key of the roster")
        try:
            credentials = Credentials.parse(header)
            party = self._roster.by_key.get(credentials.key)
            if party is None:
                raise VerificationFailed(f"Authorization: the key {credentials.key.hex()} is not in the roster")
            credentials.check(request.method, request.headers["host"].lower(), _target(request.scope), self._now())
        except BridgeError as error:
            raise _unauthorized(str(error)) from None
        return party, credentials

    async def _await_news(self, cursor: str, wait: int) -> None:
        """Until there is something after `cursor`, for `wait` seconds at most."""
        bell = self.bell.next
        if wait and not self.bell.closing and not (await self._in_file(self._office.since, cursor, 1)).envelopes:
            try:
                async with asyncio.timeout(wait):
                    await bell.wait()
            except TimeoutError:
                return

    async def _in_file(self, call: Callable[..., T], *args: object) -> T:
        """Off the loop, and one call after the other."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, call, *args)


class Signed:
    """Operations on one path, by method, for parties of the roster alone."""

    def __init__(self, service: Service, **operations: Callable[[Request, Asking], Awaitable[Response]]) -> None:
        self._service, self._operations = service, operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Admit the request, answer it, and let go of what it held."""
        request = Request(scope, receive, send)
        method = "GET" if request.method == "HEAD" else request.method
        async with self._service.admit(request) as asking:
            response = await self._operations[method](request, asking)
            await response(scope, receive, send)


def application(service: Service, names: frozenset[str], limits: Limits, log: Log) -> ASGIApp:
    """The service under the names that its users know it by: hosts, with the port where it is not the scheme's own."""
    routes = [
        Route("/v1/envelopes", Signed(service, GET=service.since, POST=service.put), methods=["GET", "POST"]),
        Route("/v1/envelopes/{id}", Signed(service, GET=service.get), methods=["GET"]),
        Route("/v1/contradictions", Signed(service, GET=service.contradictions), methods=["GET"]),
        Route("/v1/health", service.health, methods=["GET"]),
        Route("/openapi.json", service.openapi, methods=["GET"]),
    ]
    handlers: Mapping[Any, Any] = {
        BridgeError: _refused,
        HTTPException: _not_routed,
        ClientDisconnect: _left,
        Exception: _failed,
    }
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return Guard(app, names, limits, log)


async def _refused(request: Request, error: BridgeError) -> Response:
    del request
    headers = error.headers if isinstance(error, Refusal) else None
    return _answer(refusals.document(error), refusals.status_of(error), headers)


async def _not_routed(request: Request, error: HTTPException) -> Response:
    message = f"{request.method} {request.url.path[:MAX_SHOWN]}: {error.detail}"
    return _answer({"error": message}, error.status_code, error.headers)


async def _left(request: Request, error: ClientDisconnect) -> None:
    """There is nobody to answer."""
    del request, error


async def _failed(request: Request, error: Exception) -> Response:
    """The guard, which gets the error too, logs it."""
    del request, error
    return _answer({"error": "the service failed to answer; its log says why"}, 500)


def _answer(document: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Sliced(msgspec.json.encode(document), status, headers)


def _unauthorized(message: str) -> Refusal:
    return Refusal(refusals.UNAUTHORIZED, message, {"WWW-Authenticate": SCHEME})


def _target(scope: Scope) -> str:
    """Path and query as they were sent; what is not ASCII there was never signed."""
    query = scope["query_string"].decode("latin-1")
    path = scope["raw_path"].decode("latin-1")
    return f"{path}?{query}" if query else path


def _number(request: Request, name: str, least: int, most: int, default: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if _NUMBER.fullmatch(text) is None or not least <= int(text) <= most:
        raise BadInput(name, text, f"a whole number from {least} to {most}")
    return int(text)


async def _body(request: Request, limits: Limits, digest: bytes) -> bytes:
    """The body, read no further than the limit. Raises Refusal for another type, another digest, or too much."""
    kind = request.headers.get("content-type", "")
    if kind.partition(";")[0].strip().lower() != "application/json":
        raise Refusal(415, f"Content-Type: {kind!r} is not 'application/json'")
    refusals.check_size(int(request.headers.get("content-length", 0)), limits)
    body = bytearray()
    async for piece in request.stream():
        body += piece
        refusals.check_size(len(body), limits)
    if hashlib.sha256(body).digest() != digest:
        raise _unauthorized("Authorization: the body is not the one that was signed")
    return bytes(body)
