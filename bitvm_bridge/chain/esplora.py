"""A chain seen through an Esplora server (github.com/Blockstream/esplora, API.md; mempool.space speaks the same).

What can be verified is: a transaction has the txid that was asked for; a block has the hash that was asked for, work,
and the height and the transactions that its header and its coinbase commit to, witnesses and all; on signet it has the
signers' signature too. What `find` and `spender` give comes out of such a block. That a block is in the best chain, and
that something does *not* exist or is not spent, is the server's word.
"""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from statistics import median_high
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from bitvm_bridge import policy
from bitvm_bridge.chain import signet
from bitvm_bridge.chain.blocks import HEADER_SIZE, MEDIAN_SPAN, flaw, previous_hash
from bitvm_bridge.chain.judge import judge
from bitvm_bridge.chain.kernel import parse_block
from bitvm_bridge.chain.node import FALLBACK_FEE_RATE, Block, Utxo, Verdict, Waiting
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import OutPoint, Transaction, hash256

if TYPE_CHECKING:
    import requests

GENESIS: Final = {
    Network.REGTEST: "0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206",
    Network.SIGNET: "00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6",
}
"""Hash of block 0; every signet has the same."""
TIMEOUT: Final = 20.0
"""seconds without a byte."""
MAX_ANSWER: Final = 16_000_000
"""bytes: a block has 4,000,000 at most."""
MAX_RATE: Final = 10**9
"""sat per vB: more is nonsense."""
TRIES: Final = 4
FIRST_PAUSE: Final = 0.5
"""seconds before a second try; it doubles."""
MAX_PAUSE: Final = 10.0
"""seconds that a server may make us wait for the next try; one that asks for more is left alone."""
MAX_KEPT: Final = 256
"""transactions from checked blocks that are remembered, so that no block is fetched twice for the same one."""
_BUSY: Final = frozenset((429, 500, 502, 503, 504))
_NOT_FOUND: Final = 404


@dataclass
class _Http:
    """Requests to one server: patient, bounded, and one line where it fails."""

    url: str
    pause: float = FIRST_PAUSE
    _session: "requests.Session | None" = field(default=None, repr=False)

    def get(self, path: str) -> bytes | None:
        """The answer; None for 404. Raises NodeUnreachable."""
        status, body = self._ask("GET", path)
        if status == _NOT_FOUND:
            return None
        if status != 200:
            raise NodeUnreachable(f"{self.url}{path}: HTTP status {status}")
        return body

    def post(self, path: str, data: bytes) -> tuple[int, bytes]:
        """Status and answer. Raises NodeUnreachable for no answer."""
        return self._ask("POST", path, data)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _ask(self, method: str, path: str, data: bytes | None = None) -> tuple[int, bytes]:
        import requests

        if self._session is None:
            self._session = requests.Session()
        pause, problem = self.pause, ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(pause)
                pause *= 2
            try:
                with self._session.request(
                    method, self.url + path, data=data, timeout=TIMEOUT, stream=True
                ) as response:
                    body = self._read(response, path)
                    if response.status_code not in _BUSY or (method == "POST" and response.status_code != 429):
                        return response.status_code, body
                    problem = f"HTTP status {response.status_code}"
                    asked = _retry_after(response.headers)
                    if asked > MAX_PAUSE:
                        problem += f", to be asked again in {asked:,.0f} s (Retry-After); we wait {MAX_PAUSE:.0f} s"
                        break
                    pause = min(max(pause, asked), MAX_PAUSE)
            except requests.RequestException as error:
                problem = type(error).__name__
                if method == "POST":
                    break  # it may have arrived
        raise NodeUnreachable(f"{self.url}{path}: {problem}")

    def _read(self, response: "requests.Response", path: str) -> bytes:
        read = bytearray()
        for piece in response.iter_content(1 << 16):
            read += piece
            if len(read) > MAX_ANSWER:
                raise NodeUnreachable(f"{self.url}{path}: an answer of more than {MAX_ANSWER:,} bytes")
        return bytes(read)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds (RFC 9110, 10.2.3: a number or a date); 0 for nothing that can be read."""
    text = headers.get("Retry-After", "").strip()
    if text.isascii() and text.isdecimal():
        return float(text[:18])
    try:
        return parsedate_to_datetime(text).timestamp() - time.time()
    except (ValueError, OverflowError):
        return 0.0


class EsploraNode:
    """A server's view of a chain. It cannot mine, and has no mempool test: `test` applies our copy of the rules."""

    name = "esplora"

    def __init__(
        self, url: str, network: Network, *, pause: float = FIRST_PAUSE, challenge: bytes = signet.PUBLIC
    ) -> None:
        """Asks for the genesis block. On signet every other block must answer its `challenge`.

        Raises BadInput for no URL, NodeUnreachable for no answer or another chain.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in parts.netloc:
            raise BadInput("--esplora", url, "the URL of an Esplora server")
        self.network = network
        self._http = _Http(url.rstrip("/"), pause)
        self._challenge = challenge
        self._kept: dict[tuple[bytes, bytes], Transaction] = {}
        found = self._text("/block-height/0")
        if found != GENESIS[network]:
            self._http.close()
            raise NodeUnreachable(f"{self._http.url}: a chain that begins with {found[:16]}…, not {network}")

    def height(self) -> int:
        """Height of the best chain."""
        return self._int(self._text("/blocks/tip/height"), "/blocks/tip/height")

    def median_time(self) -> int:
        """Median time past of the best chain's tip (BIP113): epoch seconds, from eleven headers."""
        tip = self.height()
        return median_high([self._time(height) for height in range(max(0, tip + 1 - MEDIAN_SPAN), tip + 1)])

    def _time(self, height: int) -> int:
        block_hash = self._hash(self._text(f"/block-height/{height}"))
        path = f"/block/{block_hash.hex()}/header"
        try:
            header = bytes.fromhex(self._text(path))
        except ValueError:
            raise self._false(path, "no header in hex") from None
        if len(header) != HEADER_SIZE or hash256(header)[::-1] != block_hash:
            raise self._false(path, "a header with another hash")
        return int.from_bytes(header[68:72], "little")

    def block(self, height: int) -> Block:
        """The block of the best chain at `height`. Raises NodeRejected above the tip."""
        for _ in range(TRIES):
            answer = self._http.get(f"/block-height/{height}")
            if answer is None:
                raise NodeRejected(f"Block height out of range ({height})")
            block_hash = self._hash(answer.decode("ascii", "replace").strip())[::-1]
            block = self._block(block_hash, height)
            if block is not None:
                return block
        raise NodeUnreachable(
            f"{self._http.url}/block/{block_hash[::-1].hex()}/raw: not found, though in the best chain"
        )

    def _block(self, block_hash: bytes, height: int) -> Block | None:
        """The block with this hash, checked; None where the server has none, as after a reorganisation."""
        path = f"/block/{block_hash[::-1].hex()}/raw"
        raw = self._http.get(path)
        if raw is None:
            return None
        header = raw[:HEADER_SIZE]
        if len(raw) <= HEADER_SIZE or hash256(header) != block_hash:
            raise self._false(path, "a block with another hash")
        if height == 0 and block_hash[::-1].hex() != GENESIS[self.network]:
            raise self._false(path, "another first block than the network's")
        transactions = parse_block(raw)
        if found := flaw(header, transactions, height, self.network):
            raise self._false(path, found)
        if height and self.network is Network.SIGNET and not signet.is_signed(header, transactions, self._challenge):
            raise self._false(path, "a block that this signet's signers have not signed")
        return Block(height, block_hash, previous_hash(raw), transactions)

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """The output, where it is confirmed and unspent in the best chain (mempool spends ignored)."""
        status, tx = self._status(outpoint.txid), self._transaction(outpoint.txid)
        if status is None or status.get("confirmed") is not True or tx is None or outpoint.vout >= len(tx.outputs):
            return None
        spend = self._outspend(outpoint)
        if spend.get("spent") is True and _is_confirmed(spend):
            return None
        return _utxo(outpoint, tx, self._int(status.get("block_height"), "/tx/…/status"))

    def scan(self, script_pubkey: bytes) -> list[Utxo]:
        """Every confirmed unspent output with this script, oldest first; those spent in the mempool are left out."""
        path = f"/scripthash/{hashlib.sha256(script_pubkey).hexdigest()}/utxo"
        found = []
        for coin in self._json(path, list):
            if not isinstance(coin, dict):
                raise self._false(path, "no JSON object where a coin belongs")
            if not _is_confirmed(coin):
                continue
            outpoint = OutPoint(self._hash(str(coin.get("txid")))[::-1], self._int(coin.get("vout"), path))
            tx = self._transaction(outpoint.txid)
            if tx is None or outpoint.vout >= len(tx.outputs):
                continue
            utxo = _utxo(outpoint, tx, self._int(coin["status"].get("block_height"), path))
            if utxo.output.script_pubkey == script_pubkey:
                found.append(utxo)
        return sorted(found, key=lambda utxo: (utxo.height, utxo.outpoint))

    def find(self, txid: bytes) -> tuple[Transaction, int] | None:
        """A confirmed transaction and its height, from a checked block."""
        for _ in range(TRIES):
            status = self._status(txid)
            if status is None or status.get("confirmed") is not True:
                return None
            if (found := self._from_block(txid, status)) is not None:
                return found
        raise NodeUnreachable(f"{self._http.url}: its transactions are in blocks that it does not have")

    def spender(self, outpoint: OutPoint) -> tuple[Transaction, int] | None:
        """The confirmed transaction that spends an output, and its height, from a checked block."""
        for _ in range(TRIES):
            spend = self._outspend(outpoint)
            if spend.get("spent") is not True or not _is_confirmed(spend):
                return None
            found = self.find(self._hash(str(spend.get("txid")))[::-1])
            if found is None:
                continue  # a reorganisation between the two questions
            if all(txin.outpoint != outpoint for txin in found[0].inputs):
                raise self._false(f"/tx/…/outspend/{outpoint.vout}", "a transaction that does not spend the output")
            return found
        raise NodeUnreachable(f"{self._http.url}: outputs are spent by transactions that it does not have")

    def in_mempool(self, txid: bytes) -> bool:
        """Does the transaction wait in the mempool?"""
        status = self._status(txid)
        return status is not None and status.get("confirmed") is False

    def mempool_spender(self, outpoint: OutPoint) -> Waiting | None:
        """The transaction of the mempool that spends an output, whoever sent it; without what its children pay."""
        spend = self._outspend(outpoint)
        if spend.get("spent") is not True or _is_confirmed(spend):
            return None
        txid = self._hash(str(spend.get("txid")))
        path = f"/tx/{txid.hex()}"
        answer, tx = self._http.get(path), self._transaction(txid[::-1])
        if answer is None or tx is None:
            return None
        fee = self._int(self._decode(answer, path, dict).get("fee"), path)
        return Waiting(tx, fee, fee)

    def min_fee_rate(self) -> float:
        """The relay minimum in sat per vB: a server does not tell how full its mempool is."""
        return policy.MIN_RELAY_FEE_RATE / 1_000

    def test(self, transactions: Sequence[Transaction]) -> Verdict:
        """Would a mempool take these? By our copy of its rules; the server is not asked before it is sent."""
        return judge(transactions, self._spendable, self.height(), self.min_fee_rate(), self.median_time)

    def _spendable(self, outpoint: OutPoint) -> Utxo | None:
        """The output of a block, or of a transaction that waits in the mempool for the next one."""
        if (found := self.output(outpoint)) is not None:
            return found
        status, tx = self._status(outpoint.txid), self._transaction(outpoint.txid)
        if status is None or status.get("confirmed") is not False or tx is None or outpoint.vout >= len(tx.outputs):
            return None
        return _utxo(outpoint, tx, self.height() + 1)

    def broadcast(self, tx: Transaction, *, max_burn: int = 0) -> None:
        """Send one transaction. One that burns goes as a package of one: only there a server takes a limit for it."""
        if policy.largest_burn(tx) > max_burn:
            raise NodeRejected("Unspendable output exceeds maximum configured by user (maxburnamount)")
        if max_burn:
            self._submit([tx], max_burn)
            return
        status, body = self._http.post("/tx", tx.serialize().hex().encode())
        if status != 200:
            raise NodeRejected(_reason(status, body))

    def submit_package(self, parent: Transaction, child: Transaction, *, max_burn: int = 0) -> None:
        """Send a zero-fee parent with the child that pays for it (1P1C package)."""
        self._submit([parent, child], max_burn)

    def fee_rate(self, target: int = 6) -> float:
        """sat per vB for confirmation within `target` blocks; FALLBACK_FEE_RATE where the server cannot tell."""
        path = "/fee-estimates"
        rates = {self._int(known, path): rate for known, rate in self._json(path, dict).items()}
        if not rates:
            return FALLBACK_FEE_RATE
        rate = rates[max((known for known in rates if known <= target), default=min(rates))]
        if not isinstance(rate, int | float) or isinstance(rate, bool) or not 0 < rate < MAX_RATE:
            raise self._false(path, "no fee rate")
        return float(rate)

    def mine(self, blocks: int = 1, script_pubkey: bytes | None = None) -> None:
        """Raises BridgeError: a server mines nothing."""
        raise BridgeError("esplora: a server shows a chain and mines no blocks; use a regtest node for that")

    def set_time(self, when: int) -> None:
        """Raises BridgeError, too."""
        self.mine()

    def mine_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Raises BridgeError, too."""
        self.mine()

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._http.close()

    def _submit(self, transactions: Sequence[Transaction], max_burn: int) -> None:
        data = json.dumps([tx.serialize().hex() for tx in transactions]).encode()
        status, body = self._http.post(f"/txs/package?maxburnamount={max_burn / 10**8:.8f}", data)
        if status in (_NOT_FOUND, 405):
            raise NodeRejected("this Esplora server takes no packages; send it through a node, or write it with --out")
        if status != 200:
            raise NodeRejected(_reason(status, body))
        answer = self._decode(body, "/txs/package", dict)
        if answer.get("package_msg") != "success":
            results = answer.get("tx-results")
            found = results.values() if isinstance(results, dict) else ()
            errors = {str(one.get("error")) for one in found if isinstance(one, dict)}
            raise NodeRejected("; ".join([str(answer.get("package_msg")), *sorted(errors - {"None"})]))

    def _from_block(self, txid: bytes, status: Mapping[str, Any]) -> tuple[Transaction, int] | None:
        """The transaction, witnesses and all, from the block that its status names; None where that one is gone."""
        height = self._int(status.get("block_height"), "/tx/…/status")
        block_hash = self._hash(str(status.get("block_hash")))[::-1]
        if (block_hash, txid) not in self._kept:
            block = self._block(block_hash, height)
            if block is None:
                return None
            found = next((tx for tx in block.transactions if tx.txid == txid), None)
            if found is None:
                raise self._false("/tx/…/status", "a block that does not have the transaction")
            while len(self._kept) >= MAX_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[block_hash, txid] = found
        return self._kept[block_hash, txid], height

    def _status(self, txid: bytes) -> dict[str, Any] | None:
        path = f"/tx/{txid[::-1].hex()}/status"
        answer = self._http.get(path)
        if answer is None:
            return None
        status: dict[str, Any] = self._decode(answer, path, dict)
        # some servers answer for a transaction that they do not know as for one that waits
        if status.get("confirmed") is False and self._http.get(f"/tx/{txid[::-1].hex()}/raw") is None:
            return None
        return status

    def _transaction(self, txid: bytes) -> Transaction | None:
        path = f"/tx/{txid[::-1].hex()}/raw"
        raw = self._http.get(path)
        if raw is None:
            return None
        try:
            tx = Transaction.parse(raw)
        except BadInput:
            raise self._false(path, "no transaction") from None
        if tx.txid != txid:
            raise self._false(path, "another transaction")
        return tx

    def _outspend(self, outpoint: OutPoint) -> dict[str, Any]:
        path = f"/tx/{outpoint.txid[::-1].hex()}/outspend/{outpoint.vout}"
        answer = self._http.get(path)
        return {} if answer is None else self._decode(answer, path, dict)

    def _json(self, path: str, kind: type) -> Any:
        answer = self._http.get(path)
        if answer is None:
            raise NodeUnreachable(f"{self._http.url}{path}: HTTP status {_NOT_FOUND}")
        return self._decode(answer, path, kind)

    def _decode(self, answer: bytes, path: str, kind: type) -> Any:
        try:
            found = json.loads(answer)
        except (ValueError, RecursionError):
            raise self._false(path, "no JSON") from None
        if not isinstance(found, kind):
            raise self._false(path, f"no JSON {'object' if kind is dict else 'array'}")
        return found

    def _text(self, path: str) -> str:
        answer = self._http.get(path)
        if answer is None:
            raise NodeUnreachable(f"{self._http.url}{path}: HTTP status {_NOT_FOUND}")
        return answer[:200].decode("ascii", "replace").strip()

    def _hash(self, text: str) -> bytes:
        try:
            found = bytes.fromhex(text)
        except ValueError:
            found = b""
        if len(found) != 32:
            raise self._false("", f"{text[:40]!r} where a hash belongs")
        return found

    def _int(self, value: object, path: str) -> int:
        text = str(value)
        if isinstance(value, bool) or not text.isascii() or not text.isdecimal() or len(text) > 18:
            raise self._false(path, f"{text[:40]!r} where a number belongs")
        return int(text)

    def _false(self, path: str, what: str) -> NodeUnreachable:
        return NodeUnreachable(f"{self._http.url}{path}: the server gave {what}")


def _utxo(outpoint: OutPoint, tx: Transaction, height: int) -> Utxo:
    return Utxo(outpoint, tx.outputs[outpoint.vout], height, tx.inputs[0].outpoint.txid == bytes(32))


def _is_confirmed(found: Mapping[str, Any]) -> bool:
    status = found.get("status")
    return isinstance(status, dict) and status.get("confirmed") is True


def _reason(status: int, body: bytes) -> str:
    """The node's own words, which a server wraps into its own."""
    text = body[:500].decode(errors="replace").strip()
    start = text.find("{")
    if start >= 0:
        with suppress(ValueError, KeyError, TypeError):
            text = str(json.loads(text[start:])["message"])
    return " ".join(text.split()) or f"HTTP status {status}"
