"""Requests from the log of an EVM chain, read over JSON-RPC from blocks that are deep enough.

A contract asks with `event PegOutRequested(bytes32 indexed id, uint256 amount, bytes script, bytes psbt)`: the amount
in sat, the withdrawer's script, and its half of PegOut as a binary PSBT.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.request import MAX_DOCUMENT, START, Page, PegOutRequest, to_base64

SIGNATURE: Final = "PegOutRequested(bytes32,uint256,bytes,bytes)"
TOPIC: Final = bytes.fromhex("ece90abf37169ef285a5b5a5e26c11cf7c9d776e6d81802dfd45bed83fd5dffc")
"""Keccak-256 of SIGNATURE: topic 0 of the event (Solidity ABI specification, "Events")."""
WORD: Final = 32
MAX_RANGE: Final = 2_000
"""blocks that one page asks for: more is refused by many nodes."""
ADDRESS_SIZE: Final = 20


@dataclass(frozen=True)
class Log:
    """One event as a node tells it."""

    block: int
    index: int
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Block:
    """A block that was read: the cursor is its number and hash."""

    number: int
    hash: str

    def __str__(self) -> str:
        return f"{self.number}:{self.hash}"


@dataclass(frozen=True)
class EvmLog:
    """The events of one contract from block `start` on, `confirmations` blocks deep (the tip has 1)."""

    service: Service
    chain_id: int
    contract: bytes
    confirmations: int
    start: int = 0
    topic: bytes = field(default=TOPIC)

    def __post_init__(self) -> None:
        if len(self.contract) != ADDRESS_SIZE:
            raise BadInput("contract", self.contract, f"an address of {ADDRESS_SIZE} bytes")
        if len(self.topic) != WORD:
            raise BadInput("topic", self.topic, f"{WORD} bytes")
        for name, value, least in (("confirmations", self.confirmations, 1), ("from", self.start, 0)):
            if value < least:
                raise BadInput(name, value, f"a whole number from {least} up")

    @property
    def name(self) -> str:
        """Chain, contract and event."""
        return f"evm:{self.chain_id}:{self.contract.hex()}:{self.topic.hex()[:8]}"

    def requests(self, since: str) -> Page:
        """The events of the next blocks that are deep enough.

        Where the block of the cursor is not in the chain any more, reading starts anew: the page says so. Raises
        NodeUnreachable, NodeRejected, and BridgeError for another chain or what is no log of this contract.
        """
        self._check_chain()
        deepest = _number(self._call("eth_blockNumber"), "eth_blockNumber") - self.confirmations + 1
        last = _parse_cursor(since)
        restarted = last is not None and last.number <= deepest and self._block(last.number) != last
        first = self.start if last is None or restarted else last.number + 1
        until = min(deepest, first + MAX_RANGE - 1)
        if until < first:
            return Page((), START if restarted else since, restarted=restarted)
        end = self._block(until)
        logs = self._logs(first, until)
        if self._block(until) != end:
            # The chain was replaced while it was read: what was read may be of either.
            return Page((), START if restarted else since, restarted=restarted)
        requests, refused = _read(logs)
        return Page(requests, str(end), refused, restarted)

    def _check_chain(self) -> None:
        found = _number(self._call("eth_chainId"), "eth_chainId")
        if found != self.chain_id:
            raise BridgeError(f"{self.service.host}: chain {found}, expected {self.chain_id}")

    def _block(self, number: int) -> Block:
        found = self._call("eth_getBlockByNumber", hex(number), False)
        if not isinstance(found, dict) or _number(found.get("number"), "block number") != number:
            raise NodeUnreachable(f"{self.service.host}: no block {number:,}")
        return Block(number, _bytes(found.get("hash"), "block hash", WORD).hex())

    def _logs(self, first: int, until: int) -> list[Log]:
        """In the order of the chain. Raises BridgeError where the node tells what was not asked for."""
        query = {
            "address": "0x" + self.contract.hex(),
            "topics": ["0x" + self.topic.hex()],
            "fromBlock": hex(first),
            "toBlock": hex(until),
        }
        found = self._call("eth_getLogs", query)
        if not isinstance(found, list):
            raise BridgeError(f"{self.service.host}: eth_getLogs gave no list")
        logs = [self._log(item, first, until) for item in found]
        return sorted(logs, key=lambda log: (log.block, log.index))

    def _log(self, item: object, first: int, until: int) -> Log:
        values = item if isinstance(item, dict) else {}
        topics = values.get("topics")
        log = Log(
            _number(values.get("blockNumber"), "blockNumber"),
            _number(values.get("logIndex"), "logIndex"),
            tuple(_bytes(topic, "topic", WORD) for topic in (topics if isinstance(topics, list) else [])),
            _bytes(values.get("data"), "data"),
        )
        contract = _bytes(values.get("address"), "address", ADDRESS_SIZE)
        is_asked = first <= log.block <= until and contract == self.contract and log.topics[:1] == (self.topic,)
        if not is_asked or values.get("removed", False):
            raise BridgeError(f"{self.service.host}: eth_getLogs gave a log that was not asked for")
        return log

    def _call(self, method: str, *params: object) -> Any:
        raw = self.service.post("", {"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
        try:
            answer = msgspec.json.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError):
            answer = None
        if not isinstance(answer, dict) or not {"result", "error"} & set(answer):
            raise NodeUnreachable(f"{self.service.host}: {method} was not answered in JSON-RPC")
        if (error := answer.get("error")) is not None:
            message = error.get("message") if isinstance(error, dict) else error
            raise NodeRejected(f"{self.service.host}: {method}: {' '.join(str(message).split())[:200]}")
        return answer["result"]


def _read(logs: Sequence[Log]) -> tuple[tuple[PegOutRequest, ...], tuple[str, ...]]:
    requests, refused = [], []
    for log in logs:
        try:
            requests.append(decode_event(log))
        except BadInput as error:
            refused.append(f"block {log.block:,}, log {log.index}: {error}")
    return tuple(requests), tuple(refused)


def decode_event(log: Log) -> PegOutRequest:
    """The request of an event. Raises BadInput naming the field."""
    if len(log.topics) != 2:
        raise BadInput("topics", len(log.topics), "2: the event and its indexed id")
    amount = int.from_bytes(_word(log.data, 0, "amount"), "big")
    script, psbt = _tail(log.data, 1, "script"), _tail(log.data, 2, "psbt")
    return PegOutRequest.agreed(log.topics[1], amount, script, to_base64(psbt))


def _word(data: bytes, offset: int, name: str) -> bytes:
    word = data[offset : offset + WORD]
    if len(word) != WORD:
        raise BadInput(name, f"{len(data)} bytes of data", f"there: a word at byte {offset}")
    return word


def _tail(data: bytes, position: int, name: str) -> bytes:
    """The bytes to which head `position` points: a word with their length, then they themselves."""
    offset = int.from_bytes(_word(data, position * WORD, name), "big")
    size = int.from_bytes(_word(data, offset, name), "big")
    found = data[offset + WORD : offset + WORD + size]
    if len(found) != size or size > MAX_DOCUMENT:
        raise BadInput(name, f"{size} bytes", f"at most {MAX_DOCUMENT:,}, all of them in the data")
    return found


def _number(value: object, name: str) -> int:
    """A quantity of Ethereum's JSON-RPC: hex with `0x`."""
    if not isinstance(value, str) or not re.fullmatch(r"0x[0-9a-fA-F]{1,16}", value):
        raise BridgeError(f"JSON-RPC: {name} is no number")
    return int(value, 16)


def _bytes(value: object, name: str, size: int | None = None) -> bytes:
    """Data of Ethereum's JSON-RPC: an even number of hex digits with `0x`."""
    if not isinstance(value, str) or not re.fullmatch(r"0x([0-9a-fA-F]{2})*", value):
        raise BridgeError(f"JSON-RPC: {name} is not hex")
    raw = bytes.fromhex(value[2:])
    if size is not None and len(raw) != size:
        raise BridgeError(f"JSON-RPC: {name} has {len(raw)} bytes, expected {size}")
    return raw


def _parse_cursor(text: str) -> Block | None:
    number, _, digest = text.partition(":")
    return Block(int(number), digest) if number.isdecimal() else None
