"""Requests whose coins are invented, and a server that answers as a test tells it."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

from bitvm_bridge.chain.node import Utxo
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles import withdrawer
from bitvm_bridge.sources.request import PegOutRequest
from bitvm_bridge.transaction import OutPoint, TxOut

KEY = Seed(Role.WITHDRAWER, bytes(range(32))).wallet_key()
SCRIPT = wallet_script(KEY.xonly)
AMOUNT = 99_000_000


@cache
def order(number: int, amount: int = AMOUNT, coin: int | None = None) -> PegOutRequest:
    """Request `number`, the same each time; it signs the coin of that number unless another is given."""
    utxo = Utxo(OutPoint(bytes(32), number if coin is None else coin), TxOut(50_000, SCRIPT), 1)
    return PegOutRequest(bytes([number]) * 32, withdrawer.request(KEY, utxo, amount, SCRIPT))


def changed(request: PegOutRequest, **fields: Any) -> bytes:
    """The document of a request with some fields changed."""
    return json.dumps(json.loads(request.to_json()) | fields).encode()


@dataclass
class Asked:
    """One request of HTTP as the server saw it."""

    method: str
    path: str
    body: bytes


@dataclass
class Server:
    """Answers each request with what `reply` makes of it: a status, a body, and headers."""

    reply: Callable[[Asked], tuple[int, bytes]]
    url: str = ""
    asked: list[Asked] = field(default_factory=list)
    headers: dict[str, str] = field(default_factory=dict)


@contextmanager
def served(reply: Callable[[Asked], tuple[int, bytes]]) -> Iterator[Server]:
    """A server on a free port of this machine."""
    server = Server(reply)

    class Handler(BaseHTTPRequestHandler):
        def _reply(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            asked = Asked(self.command, self.path, body)
            server.asked.append(asked)
            status, answer = server.reply(asked)
            self.send_response(status)
            for name, value in server.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        do_GET = do_POST = _reply  # noqa: N815

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = Thread(target=lambda: http.serve_forever(poll_interval=0.02), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
