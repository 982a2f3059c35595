"""An Esplora server on the embedded chain, honest or not: enough of the API for the bridge."""

import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.esplora import EsploraNode
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import OutPoint, Transaction

Answer = tuple[int, bytes]
Spoil = Callable[[str, Answer], Answer | None]
"""(path, honest answer) → what is sent instead; None breaks the connection off in the middle."""


class EsploraServer:
    """Serves a node; `spoil` may change what it says, and `asked` has what it was asked."""

    def __init__(self, node: EmbeddedNode, *, takes_packages: bool = True) -> None:
        self.node = node
        self.takes_packages = takes_packages
        self.spoil: Spoil | None = None
        self.asked: list[str] = []
        self.headers: dict[str, str] = {}
        self._lock = threading.Lock()

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Its URL, for as long as it answers."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
            server.server_close()

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        """Status and body."""
        path, _, query = path.partition("?")
        for pattern, respond in ROUTES:
            match = re.fullmatch(pattern, f"{method} {path}")
            if match:
                with self._lock:
                    return respond(self, match.groups(), body, query)
        return 404, b"not found"

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1
            disable_nagle_algorithm = True

            def log_message(self, *args: Any) -> None:
                """Nothing on stderr."""

            def do_GET(self) -> None:
                self._serve("GET", b"")

            def do_POST(self) -> None:
                self._serve("POST", self.rfile.read(int(self.headers["Content-Length"])))

            def _serve(self, method: str, body: bytes) -> None:
                outer.asked.append(self.path)
                honest = outer.answer(method, self.path, body)
                answer = honest if outer.spoil is None else outer.spoil(self.path, honest)
                status, data = honest if answer is None else answer
                self.send_response(status)
                self.send_header("Content-Length", str(len(data)))
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(data[: len(data) // 2] if answer is None else data)
                if answer is None:
                    self.close_connection = True

        return Handler


class MiningEsplora(EsploraNode):
    """The client, with a miner behind it: stories need one."""

    def __init__(self, url: str, backend: EmbeddedNode) -> None:
        super().__init__(url, Network.REGTEST, pause=0.01)
        self._backend = backend

    def mine(self, blocks: int = 1, script_pubkey: bytes | None = None) -> None:
        self._backend.mine(blocks, script_pubkey)

    def set_time(self, when: int) -> None:
        self._backend.set_time(when)

    def mine_transactions(self, transactions: Sequence[Transaction]) -> None:
        self._backend.mine_transactions(transactions)


def _reply(document: object) -> Answer:
    return 200, json.dumps(document).encode()


def _raw_block(server: EsploraServer, block_hash: str) -> bytes | None:
    for height in range(server.node.height() + 1):
        if _hash_at(server, height) == block_hash:
            return server.node._kernel.raw_block(height)
    return None


def _hash_at(server: EsploraServer, height: int) -> str:
    return server.node.block(height).hash[::-1].hex()


def _status(server: EsploraServer, txid: bytes) -> dict[str, Any] | None:
    if (found := server.node.find(txid)) is not None:
        return {"confirmed": True, "block_height": found[1], "block_hash": _hash_at(server, found[1])}
    return {"confirmed": False} if server.node.in_mempool(txid) else None


def _tx(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    txid, what = bytes.fromhex(groups[0])[::-1], groups[1]
    status = _status(server, txid)
    if status is None:
        return 404, b"Transaction not found"
    found = server.node.find(txid)
    tx = found[0] if found else server.node._mempool[txid].tx
    if what == "/raw":
        return 200, tx.serialize()
    if what == "/status":
        return _reply(status)
    fee = 0 if found else server.node._mempool[txid].fee
    return _reply({"txid": groups[0], "fee": fee, "status": status})


def _outspend(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    outpoint = OutPoint(bytes.fromhex(groups[0])[::-1], int(groups[1]))
    if (found := server.node.spender(outpoint)) is not None:
        status = {"confirmed": True, "block_height": found[1]}
        return _reply({"spent": True, "txid": found[0].txid_hex, "vin": 0, "status": status})
    if (waiting := server.node.mempool_spender(outpoint)) is not None:
        return _reply({"spent": True, "txid": waiting.tx.txid_hex, "vin": 0, "status": {"confirmed": False}})
    return _reply({"spent": False})


def _utxos(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    coins = []
    for utxo in server.node._index.utxos.values():
        if hashlib.sha256(utxo.output.script_pubkey).hexdigest() == groups[0]:
            status = {"confirmed": True, "block_height": utxo.height}
            outpoint = {"txid": utxo.outpoint.txid[::-1].hex(), "vout": utxo.outpoint.vout}
            coins.append(outpoint | {"value": utxo.output.amount, "status": status})
    return _reply(coins)


def _broadcast(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    tx = Transaction.parse_hex(body.decode(), "body")
    try:
        server.node.broadcast(tx)
    except NodeRejected as error:
        told = json.dumps({"code": -26, "message": str(error)})
        return 400, f"sendrawtransaction RPC error: {told}".encode()
    return 200, tx.txid_hex.encode()


def _package(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    if not server.takes_packages:
        return 404, b"not found"
    burn = round(float(query.partition("maxburnamount=")[2] or 0) * 10**8)
    transactions = [Transaction.parse_hex(text, "body") for text in json.loads(body)]
    try:
        server.node._submit(transactions, burn)
    except NodeRejected as error:
        return _reply({"package_msg": "transaction failed", "tx-results": {"00": {"error": str(error)}}})
    return _reply({"package_msg": "success", "tx-results": {}})


def _block_hash(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    height = int(groups[0])
    if height > server.node.height():
        return 404, b"Block not found"
    return 200, _hash_at(server, height).encode()


def _block(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    raw = _raw_block(server, groups[0])
    return (404, b"Block not found") if raw is None else (200, raw)


def _header(server: EsploraServer, groups: Sequence[str], body: bytes, query: str) -> Answer:
    raw = _raw_block(server, groups[0])
    return (404, b"Block not found") if raw is None else (200, raw[:80].hex().encode())


ROUTES: list[tuple[str, Callable[[EsploraServer, Sequence[str], bytes, str], Answer]]] = [
    (r"GET /blocks/tip/height", lambda server, groups, body, query: (200, str(server.node.height()).encode())),
    (r"GET /block-height/(\d+)", _block_hash),
    (r"GET /block/([0-9a-f]{64})/raw", _block),
    (r"GET /block/([0-9a-f]{64})/header", _header),
    (r"GET /tx/([0-9a-f]{64})(|/raw|/status)", _tx),
    (r"GET /tx/([0-9a-f]{64})/outspend/(\d+)", _outspend),
    (r"GET /scripthash/([0-9a-f]{64})/utxo", _utxos),
    (r"GET /fee-estimates", lambda server, groups, body, query: _reply({"2": 9.0, "6": 3.5, "144": 1.0})),
    (r"POST /tx", _broadcast),
    (r"POST /txs/package", _package),
]
