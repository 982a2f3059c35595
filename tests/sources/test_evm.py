"""Requests from the log of an EVM chain, told by a chain that is made up here and may be replaced."""

import hashlib
import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.sources import evm
from bitvm_bridge.sources.evm import EvmLog, Log, decode_event
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.request import START, PegOutRequest
from tests.sources.orders import AMOUNT, SCRIPT, Asked, order, served

CHAIN, CONTRACT, DEPTH = 8_453, bytes(range(20)), 3
WORD = 32


def keccak_256(message: bytes) -> bytes:
    """Keccak as Ethereum has it: FIPS 202 with the padding from before it was a standard."""
    rate, mask = 136, (1 << 64) - 1
    padded = bytearray(message + b"\x01" + bytes(-(len(message) + 1) % rate))
    padded[-1] |= 0x80
    lanes = [[0] * 5 for _ in range(5)]
    for start in range(0, len(padded), rate):
        for index in range(rate // 8):
            lanes[index % 5][index // 5] ^= int.from_bytes(padded[start + 8 * index : start + 8 * index + 8], "little")
        register = 1
        for _ in range(24):
            columns = [lanes[x][0] ^ lanes[x][1] ^ lanes[x][2] ^ lanes[x][3] ^ lanes[x][4] for x in range(5)]
            turned = [(value << 1 | value >> 63) & mask for value in columns]
            lanes = [[lane ^ columns[x - 1] ^ turned[(x + 1) % 5] for lane in lanes[x]] for x in range(5)]
            x, y, current = 1, 0, lanes[1][0]
            for step in range(24):
                x, y = y, (2 * x + 3 * y) % 5
                by = (step + 1) * (step + 2) // 2 % 64
                current, lanes[x][y] = lanes[x][y], (current << by | current >> (64 - by)) & mask
            for y in range(5):
                row = [lanes[x][y] for x in range(5)]
                for x in range(5):
                    lanes[x][y] = row[x] ^ (~row[(x + 1) % 5] & row[(x + 2) % 5])
            for power in range(7):
                register = (register << 1 ^ (register >> 7) * 0x171) & 0xFF
                if register & 2:
                    lanes[0][0] ^= 1 << ((1 << power) - 1)
    return b"".join(lanes[index % 5][index // 5].to_bytes(8, "little") for index in range(4))


def test_the_topic_is_the_hash_of_the_event() -> None:
    transfer = "ddf252ad1be2c89b69c2b068fc378daa952ba7f163c4a11628f55a4df523b3ef"
    assert keccak_256(b"Transfer(address,address,uint256)").hex() == transfer, "ERC-20"
    assert keccak_256(evm.SIGNATURE.encode()) == evm.TOPIC


def encode(amount: int, script: bytes, psbt: bytes) -> bytes:
    """The data of an event, as a contract emits it (Solidity ABI specification)."""
    tails = [len(item).to_bytes(WORD, "big") + item + bytes(-len(item) % WORD) for item in (script, psbt)]
    head = (amount, 3 * WORD, 3 * WORD + len(tails[0]))
    return b"".join((*(value.to_bytes(WORD, "big") for value in head), *tails))


def data_of(request: PegOutRequest, amount: int = AMOUNT, script: bytes = SCRIPT) -> bytes:
    return encode(amount, script, b64decode(request.withdrawal.to_psbt()))


@dataclass
class Chain:
    """An EVM chain: for each block its hash and the logs in it."""

    blocks: list[tuple[str, list[dict[str, Any]]]] = field(default_factory=list)
    chain_id: int = CHAIN
    fork: int = 0
    changes: dict[str, Any] = field(default_factory=dict)
    """Method → what to answer in place of the truth."""
    calls: list[str] = field(default_factory=list)

    def add(self, *requests: PegOutRequest, content: bytes | None = None, **changes: Any) -> None:
        number = len(self.blocks)
        digest = "0x" + hashlib.sha256(f"{self.fork}/{number}".encode()).hexdigest()
        logs = [
            {
                "address": "0x" + CONTRACT.hex(),
                "topics": ["0x" + evm.TOPIC.hex(), "0x" + request.id.hex()],
                "data": "0x" + (data_of(request) if content is None else content).hex(),
                "blockNumber": hex(number),
                "blockHash": digest,
                "logIndex": hex(index),
                "removed": False,
            }
            | changes
            for index, request in enumerate(requests)
        ]
        self.blocks.append((digest, logs))

    def grow(self, blocks: int) -> None:
        for _ in range(blocks):
            self.add()

    def replace(self, blocks: int) -> None:
        """Take back the last blocks; what comes now is on another branch."""
        del self.blocks[-blocks:]
        self.fork += 1

    def reply(self, asked: Asked) -> tuple[int, bytes]:
        call = json.loads(asked.body)
        method, params = call["method"], call["params"]
        self.calls.append(method)
        if method in self.changes:
            return 200, json.dumps({"jsonrpc": "2.0", "id": 1} | self.changes[method]).encode()
        return 200, json.dumps({"jsonrpc": "2.0", "id": 1, "result": self.answer(method, params)}).encode()

    def answer(self, method: str, params: list[Any]) -> Any:
        if method == "eth_chainId":
            return hex(self.chain_id)
        if method == "eth_blockNumber":
            return hex(len(self.blocks) - 1)
        if method == "eth_getBlockByNumber":
            number = int(params[0], 16)
            return {"number": params[0], "hash": self.blocks[number][0]} if number < len(self.blocks) else None
        assert method == "eth_getLogs"
        query = params[0]
        assert query["address"] == "0x" + CONTRACT.hex()
        assert query["topics"] == ["0x" + evm.TOPIC.hex()]
        found = self.blocks[int(query["fromBlock"], 16) : int(query["toBlock"], 16) + 1]
        return [log for _, logs in reversed(found) for log in reversed(logs)]


@pytest.fixture
def chain() -> Chain:
    return Chain()


@pytest.fixture
def source(chain: Chain) -> Iterator[EvmLog]:
    with served(chain.reply) as server:
        yield EvmLog(Service(server.url + "/v2/SECRET", sleep=lambda _: None), CHAIN, CONTRACT, DEPTH)


def test_events_are_told_when_they_are_deep_enough(chain: Chain, source: EvmLog) -> None:
    chain.add()
    chain.add(order(1), order(2))
    chain.grow(1)
    first = source.requests(START)
    assert first.requests == ()
    chain.grow(1)
    second = source.requests(first.cursor)
    assert second.requests == (order(1), order(2))
    assert source.requests(second.cursor) == type(second)((), second.cursor)
    chain.add(order(3))
    chain.grow(DEPTH - 1)
    assert source.requests(second.cursor).requests == (order(3),)
    assert source.requests(START).requests == (order(1), order(2), order(3))


def test_a_long_chain_comes_in_pages(chain: Chain, source: EvmLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evm, "MAX_RANGE", 2)
    for number in range(1, 6):
        chain.add(order(number))
    chain.grow(DEPTH - 1)
    found, cursor = [], START
    while (page := source.requests(cursor)).cursor != cursor:
        assert len(page.requests) <= 2
        found += page.requests
        cursor = page.cursor
    assert found == [order(number) for number in range(1, 6)]


def test_a_branch_that_was_never_deep_is_never_told(chain: Chain, source: EvmLog) -> None:
    chain.grow(5)
    cursor = source.requests(START).cursor
    chain.add(order(1))
    chain.replace(1)
    chain.add(order(2))
    chain.grow(DEPTH - 1)
    page = source.requests(cursor)
    assert (page.requests, page.restarted) == ((order(2),), False)


def test_a_deep_reorganisation_takes_back_what_was_told(chain: Chain, source: EvmLog) -> None:
    chain.grow(1)
    chain.add(order(1))
    chain.add(order(2))
    chain.grow(DEPTH - 1)
    page = source.requests(START)
    assert page.requests == (order(1), order(2))
    chain.replace(DEPTH)
    chain.grow(DEPTH)
    again = source.requests(page.cursor)
    assert again.restarted
    assert again.requests == (order(1),)


def test_a_node_that_is_behind_tells_nothing(chain: Chain, source: EvmLog) -> None:
    chain.add(order(1))
    chain.grow(DEPTH)
    page = source.requests(START)
    del chain.blocks[-1:]
    assert source.requests(page.cursor) == type(page)((), page.cursor)


def test_what_was_read_while_the_chain_changed_is_not_told(chain: Chain, source: EvmLog) -> None:
    chain.add(order(1))
    chain.grow(DEPTH)
    truth = chain.answer

    def change(method: str, params: list[Any]) -> Any:
        if method == "eth_getLogs":
            chain.replace(len(chain.blocks))
            chain.grow(DEPTH + 1)
        return truth(method, params)

    chain.answer = change  # type: ignore[method-assign]
    assert source.requests(START) == evm.Page((), START)


def test_another_chain_is_refused_before_it_is_read(chain: Chain, source: EvmLog) -> None:
    chain.grow(5)
    chain.chain_id = 1
    with pytest.raises(BridgeError, match=f"chain 1, expected {CHAIN}$") as caught:
        source.requests(START)
    assert chain.calls == ["eth_chainId"]
    assert "SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "changes",
    [
        {"address": "0x" + "11" * 20},
        {"topics": ["0x" + "11" * 32, "0x" + "22" * 32]},
        {"topics": []},
        {"topics": "0x"},
        {"blockNumber": "0x63"},
        {"blockNumber": None},
        {"data": "0x1"},
        {"data": "junk"},
        {"removed": True},
    ],
    ids=str,
)
def test_a_node_that_tells_what_was_not_asked_is_refused(chain: Chain, source: EvmLog, changes: dict[str, Any]) -> None:
    chain.add(order(1), **changes)
    chain.grow(DEPTH)
    with pytest.raises(BridgeError, match=r"not asked for|JSON-RPC: "):
        source.requests(START)


@pytest.mark.parametrize("method", ["eth_chainId", "eth_blockNumber", "eth_getBlockByNumber", "eth_getLogs"])
@pytest.mark.parametrize("answer", [{"result": 5}, {"result": "0x"}, {}, {"result": {}}])
def test_answers_that_are_none(chain: Chain, source: EvmLog, method: str, answer: dict[str, Any]) -> None:
    chain.grow(5)
    chain.changes[method] = answer
    with pytest.raises(BridgeError):
        source.requests(START)


def test_an_error_of_the_node_is_one_line(chain: Chain, source: EvmLog) -> None:
    chain.grow(5)
    chain.changes["eth_getLogs"] = {"error": {"code": -32_005, "message": "too\nmany"}}
    with pytest.raises(NodeRejected, match=r"eth_getLogs: too many$"):
        source.requests(START)


def test_what_is_no_json_rpc() -> None:
    with served(lambda _: (200, b"hello")) as server:
        source = EvmLog(Service(server.url, sleep=lambda _: None), CHAIN, CONTRACT, DEPTH)
        with pytest.raises(NodeUnreachable, match="was not answered in JSON-RPC"):
            source.requests(START)


DATA = data_of(order(1))
BAD_DATA = {
    "empty": (b"", "amount"),
    "no script": (DATA[:WORD], "script"),
    "cut": (DATA[:-64], "psbt"),
    "offset beyond": (DATA[:WORD] + (1 << 200).to_bytes(WORD, "big") + DATA[2 * WORD :], "script"),
    "length beyond": (DATA[: 3 * WORD] + (1 << 255).to_bytes(WORD, "big") + DATA[4 * WORD :], "script"),
    "another amount": (data_of(order(1), amount=AMOUNT - 1), "amount"),
    "a huge amount": (data_of(order(1), amount=(1 << 256) - 1), "amount"),
    "another script": (data_of(order(1), script=b"\x51"), "script"),
    "no PSBT": (encode(AMOUNT, SCRIPT, b""), "withdrawal PSBT"),
}


@pytest.mark.parametrize("name", BAD_DATA)
def test_an_event_that_is_no_request_does_not_stop_the_others(chain: Chain, source: EvmLog, name: str) -> None:
    data, field_name = BAD_DATA[name]
    chain.add(order(1), content=data)
    chain.add(order(2))
    chain.grow(DEPTH)
    page = source.requests(START)
    assert page.requests == (order(2),)
    (line,) = page.refused
    assert line.startswith(f"block 0, log 0: {field_name}: ")


@pytest.mark.parametrize("topics", [(evm.TOPIC,), (evm.TOPIC, bytes(32), bytes(32))])
def test_an_event_has_one_indexed_field(topics: tuple[bytes, ...]) -> None:
    with pytest.raises(BadInput, match="topics"):
        decode_event(Log(1, 0, topics, DATA))


@pytest.mark.parametrize(
    ("field_name", "options"),
    [
        ("contract", {"contract": bytes(19)}),
        ("topic", {"topic": bytes(31)}),
        ("confirmations", {"confirmations": 0}),
        ("from", {"start": -1}),
    ],
)
def test_what_describes_no_log_is_refused(field_name: str, options: dict[str, Any]) -> None:
    values = {"chain_id": 1, "contract": CONTRACT, "confirmations": 1} | options
    with pytest.raises(BadInput, match=f"^{field_name}: "):
        EvmLog(Service("http://127.0.0.1:1"), **values)
