"""A Bitcoin Core node over JSON-RPC."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from bitvm_bridge.chain.blocks import ANYONE, previous_hash
from bitvm_bridge.chain.judge import MISSING, judge
from bitvm_bridge.chain.kernel import parse_block
from bitvm_bridge.chain.node import FALLBACK_FEE_RATE, Block, Utxo, Verdict, Waiting
from bitvm_bridge.chain.rpc import LONG_CALL_TIMEOUT, NOT_FOUND, Rpc, RpcRefused
from bitvm_bridge.errors import NodeRejected, NodeUnreachable
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut

LOOK_BACK: Final = 10_000
"""blocks that `find` and `spender` walk on a public network unless told where to start: two lives of an instance."""
ANY_FEE_RATE: Final = 0
"""`maxfeerate` that switches off the RPC's own guard; fees are checked where transactions are built."""
_SAT: Final = Decimal(10**8)
_FEE_TOO_LOW: Final = ("min relay fee not met", "mempool min fee not met")
_PRUNED: Final = "Block not available (pruned data)"
_SCANNING: Final = "Scan already in progress"
_POLL: Final = 0.1
"""seconds between two questions whether the node is free."""


@dataclass(frozen=True)
class _BlockIndex:
    """Where a block's transactions are, and which outputs they spend."""

    previous: str
    places: Mapping[bytes, int]
    spends: Mapping[OutPoint, int]


class BitcoindNode:
    """A running node. It needs no wallet and no index, and may be pruned below the blocks that are asked for."""

    name = "bitcoind"

    def __init__(
        self,
        connection: Rpc,
        network: Network,
        *,
        start_height: int | None = None,
        challenge: bytes | None = None,
    ) -> None:
        """Asks the node for its chain. Raises NodeUnreachable for no answer, another network or an unfinished sync.

        All signets begin with the same block: one with another `challenge` is another network.

        `find` and `spender` walk blocks from the tip down to `start_height` (default: the first block on regtest,
        LOOK_BACK blocks elsewhere). They raise NodeUnreachable where a pruned node no longer has one of these.
        """
        self.network = network
        self._rpc = connection
        self._start_height = start_height
        self._index: dict[str, _BlockIndex] = {}
        try:
            self._check_chain(challenge)
        except NodeUnreachable:
            connection.close()
            raise

    def _check_chain(self, challenge: bytes | None) -> None:
        url, info = self._rpc.url, self._rpc.call("getblockchaininfo")
        if info["chain"] != str(self.network):
            raise NodeUnreachable(f"{url}: a node of {info['chain']}, not of {self.network}")
        if challenge is not None and info.get("signet_challenge") != challenge.hex():
            raise NodeUnreachable(
                f"{url}: a signet with the challenge {info.get('signet_challenge')}, not {challenge.hex()}"
            )
        if self.network is not Network.REGTEST and info["initialblockdownload"]:
            raise NodeUnreachable(f"{url}: still syncing, at block {info['blocks']} of {info['headers']}")

    def height(self) -> int:
        """Height of the best chain."""
        return int(self._rpc.call("getblockcount"))

    def median_time(self) -> int:
        """Median time past of the best chain's tip (BIP113): epoch seconds."""
        return int(self._rpc.call("getblockchaininfo")["mediantime"])

    def block(self, height: int) -> Block:
        """The block of the best chain at `height`. Raises NodeRejected above the tip."""
        block_hash = self._rpc.call("getblockhash", height)
        raw = self._raw_block(block_hash, height)
        return Block(height, bytes.fromhex(block_hash)[::-1], previous_hash(raw), parse_block(raw))

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """The output, where it is confirmed and unspent in the best chain (mempool spends ignored)."""
        found = self._rpc.call("gettxout", outpoint.txid[::-1].hex(), outpoint.vout, False)
        if found is None:
            return None
        tip = self._rpc.call("getblockheader", found["bestblock"])["height"]
        output = TxOut(_sat(found["value"]), bytes.fromhex(found["scriptPubKey"]["hex"]))
        return Utxo(outpoint, output, tip - found["confirmations"] + 1, found["coinbase"])

    def scan(self, script_pubkey: bytes) -> list[Utxo]:
        """Every confirmed unspent output with this script, oldest first; minutes on a large chain.

        Raises RpcRefused where the node scans for others all the time: it does one scan at once.
        """
        found = self._scan([f"raw({script_pubkey.hex()})"])["unspents"]
        utxos = [
            Utxo(
                OutPoint(bytes.fromhex(coin["txid"])[::-1], coin["vout"]),
                TxOut(_sat(coin["amount"]), script_pubkey),
                coin["height"],
                coin["coinbase"],
            )
            for coin in found
        ]
        return sorted(utxos, key=lambda utxo: (utxo.height, utxo.outpoint))

    def _scan(self, descriptors: list[str]) -> Any:
        """One scan, as soon as the node has finished those that others asked for."""
        deadline = time.monotonic() + LONG_CALL_TIMEOUT
        while True:
            try:
                return self._rpc.call("scantxoutset", "start", descriptors, timeout=LONG_CALL_TIMEOUT)
            except RpcRefused as error:
                if not str(error).startswith(_SCANNING) or time.monotonic() > deadline:
                    raise
            time.sleep(_POLL)

    def find(self, txid: bytes) -> tuple[Transaction, int] | None:
        """A confirmed transaction and its height."""
        for height, block_hash, index in self._walk():
            if (place := index.places.get(txid)) is not None:
                return self._transaction(block_hash, height, place), height
        return None

    def spender(self, outpoint: OutPoint) -> tuple[Transaction, int] | None:
        """The confirmed transaction that spends an output, and its height."""
        if self.output(outpoint) is not None:
            return None
        for height, block_hash, index in self._walk():
            if (place := index.spends.get(outpoint)) is not None:
                return self._transaction(block_hash, height, place), height
        return None

    def in_mempool(self, txid: bytes) -> bool:
        """Does the transaction wait in the mempool?"""
        return self._mempool_call("getmempoolentry", txid[::-1].hex()) is not None

    def mempool_spender(self, outpoint: OutPoint) -> Waiting | None:
        """The transaction of the mempool that spends an output, whoever sent it."""
        asked = {"txid": outpoint.txid[::-1].hex(), "vout": outpoint.vout}
        (found,) = self._rpc.call("gettxspendingprevout", [asked])
        if (txid := found.get("spendingtxid")) is None:
            return None
        entry, raw = self._mempool_call("getmempoolentry", txid), self._mempool_call("getrawtransaction", txid)
        if entry is None or raw is None:
            return None  # it left the mempool between two questions
        fees = entry["fees"]
        return Waiting(Transaction.parse_hex(raw, "getrawtransaction"), _sat(fees["base"]), _sat(fees["descendant"]))

    def _mempool_call(self, method: str, txid: str) -> Any:
        """What the node says about a transaction in its mempool; None where it is not there."""
        try:
            return self._rpc.call(method, txid)
        except RpcRefused as error:
            if error.code != NOT_FOUND:
                raise
            return None

    def min_fee_rate(self) -> float:
        """sat per vB below which the mempool takes nothing now; more than the relay minimum where it is full."""
        return float(_sat(self._rpc.call("getmempoolinfo")["mempoolminfee"])) / 1_000

    def test(self, transactions: Sequence[Transaction]) -> Verdict:
        """Would the mempool take these (one transaction, or a parent with its child), at today's tip?

        `testmempoolaccept` never lets a child pay for its parent. Where that alone makes it refuse, the package is
        judged by `policy` and by Core's script validation in this process; whether it may replace other
        transactions then shows only when it is sent.
        """
        results = self._rpc.call("testmempoolaccept", _hex(transactions), ANY_FEE_RATE)
        refused = [result for result in results if not result.get("allowed", False)]
        if not refused:
            return Verdict(True)
        if len(transactions) == 2 and refused[0] is results[0] and refused[0].get("reject-reason") in _FEE_TOO_LOW:
            return judge(transactions, self.output, self.height(), self.min_fee_rate(), self.median_time)
        return Verdict(False, _reason(refused[0]))

    def broadcast(self, tx: Transaction, *, max_burn: int = 0) -> None:
        """Send one transaction; `max_burn` sat may go to provably unspendable outputs."""
        self._rpc.call("sendrawtransaction", tx.serialize().hex(), ANY_FEE_RATE, _btc(max_burn))

    def submit_package(self, parent: Transaction, child: Transaction, *, max_burn: int = 0) -> None:
        """Send a zero-fee parent with the child that pays for it (1P1C package)."""
        answer = self._rpc.call("submitpackage", _hex([parent, child]), ANY_FEE_RATE, _btc(max_burn))
        if answer["package_msg"] != "success":
            errors = {result["error"] for result in answer["tx-results"].values() if "error" in result}
            raise NodeRejected("; ".join([answer["package_msg"], *sorted(errors)]))

    def fee_rate(self, target: int = 6) -> float:
        """sat per vB for confirmation within `target` blocks; FALLBACK_FEE_RATE where the node cannot tell."""
        rate = self._rpc.call("estimatesmartfee", target).get("feerate")
        return FALLBACK_FEE_RATE if rate is None else float(_sat(rate)) / 1_000

    def mine(self, blocks: int = 1, script_pubkey: bytes | None = None) -> None:
        """Regtest: mine blocks with the mempool's transactions; the subsidy goes to `script_pubkey`."""
        descriptor = f"raw({(ANYONE if script_pubkey is None else script_pubkey).hex()})"
        self._rpc.call("generatetodescriptor", blocks, descriptor, timeout=LONG_CALL_TIMEOUT)

    def set_time(self, when: int) -> None:
        """Regtest: the node's clock stands at this time (epoch seconds) from now on, and so do blocks that it mines."""
        self._rpc.call("setmocktime", when)

    def mine_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Regtest: mine one block with exactly these transactions, relayable or not."""
        descriptor = f"raw({ANYONE.hex()})"
        self._rpc.call("generateblock", descriptor, _hex(transactions), timeout=LONG_CALL_TIMEOUT)

    def close(self) -> None:
        """Close the connection; safe to call twice."""
        self._rpc.close()

    def _walk(self) -> Iterator[tuple[int, str, _BlockIndex]]:
        """Height, hash and index of the best chain's blocks from the tip down.

        Blocks are cached by hash and followed by their header, so that a reorganisation needs no special care.
        """
        info = self._rpc.call("getblockchaininfo")
        block_hash, tip = info["bestblockhash"], info["blocks"]
        for height in range(tip, self._lowest(tip) - 1, -1):
            if block_hash not in self._index:
                self._index[block_hash] = _index(self._raw_block(block_hash, height))
            index = self._index[block_hash]
            yield height, block_hash, index
            block_hash = index.previous

    def _lowest(self, tip: int) -> int:
        if self._start_height is not None:
            return self._start_height
        return 1 if self.network is Network.REGTEST else max(1, tip - LOOK_BACK)

    def _transaction(self, block_hash: str, height: int, place: int) -> Transaction:
        return parse_block(self._raw_block(block_hash, height))[place]

    def _raw_block(self, block_hash: str, height: int) -> bytes:
        try:
            return bytes.fromhex(self._rpc.call("getblock", block_hash, 0, timeout=LONG_CALL_TIMEOUT))
        except RpcRefused as error:
            if not str(error).startswith(_PRUNED):
                raise
        raise NodeUnreachable(
            f"{self._rpc.url}: the node is pruned and no longer has block {height:,}; "
            "ask one that keeps its blocks, or search from a later block with --start-height"
        )


def _index(raw: bytes) -> _BlockIndex:
    transactions = parse_block(raw)
    return _BlockIndex(
        previous=previous_hash(raw)[::-1].hex(),
        places={tx.txid: place for place, tx in enumerate(transactions)},
        spends={txin.outpoint: place for place, tx in enumerate(transactions) for txin in tx.inputs},
    )


def _hex(transactions: Sequence[Transaction]) -> list[str]:
    return [tx.serialize().hex() for tx in transactions]


def _reason(result: Mapping[str, Any]) -> str:
    """Why `testmempoolaccept` refuses, in the words that sending would get."""
    reason = result.get("package-error") or result.get("reject-details") or result.get("reject-reason")
    return MISSING if reason == "missing-inputs" else str(reason or "not validated")


def _sat(btc: Decimal) -> int:
    return int(btc * _SAT)


def _btc(sat: int) -> str:
    return str(Decimal(sat) / _SAT)
