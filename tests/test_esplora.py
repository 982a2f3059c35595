"""The Esplora client: whole stories through it, the same answers as the node behind it, and servers that lie."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.esplora import GENESIS, MAX_ANSWER, TRIES, EsploraNode
from bitvm_bridge.chain.node import FALLBACK_FEE_RATE
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.params import Network, Params
from bitvm_bridge.program import HashChainSpec
from bitvm_bridge.transaction import OutPoint, TxOut, hash256
from cli.main import root
from cli.stage import open_stage
from cli.stories import play, stories_of
from scripts_tapleaf.script import OP_RETURN
from tests.esplora_server import Answer, EsploraServer, MiningEsplora
from tests.spending import FEE, SCRIPT, Purse, anchored, bump, pay, spend


class Served(NamedTuple):
    """A chain, the server that shows it, and the client."""

    backend: EmbeddedNode
    server: EsploraServer
    node: MiningEsplora
    url: str

    def purse(self) -> Purse:
        return Purse(self.backend)

    def spoil(self, part: str, change: Callable[[bytes], Answer | None]) -> None:
        """Change what is answered to paths with this in them."""

        def spoil(path: str, answer: Answer) -> Answer | None:
            return change(answer[1]) if part in path else answer

        self.server.spoil = spoil


@pytest.fixture
def served(embedded: EmbeddedNode) -> Iterator[Served]:
    server = EsploraServer(embedded)
    with server.serving() as url:
        node = MiningEsplora(url, embedded)
        yield Served(embedded, server, node, url)
        node.close()


@pytest.mark.parametrize("story", stories_of(HashChainSpec(2, 1)))
def test_every_story(served: Served, story: str) -> None:
    miner = open_stage(served.node)
    (outcome,) = play([story], served.node, miner, Params(), HashChainSpec(2, 1), lambda _, __: None)
    assert outcome.transactions


def test_what_a_node_knows(served: Served) -> None:
    coin = served.purse().take()
    node, backend = served.node, served.backend
    assert node.height() == backend.height()
    for height in (0, 1, backend.height()):
        assert node.block(height) == backend.block(height)
    assert node.output(coin.outpoint) == coin
    assert coin in node.scan(SCRIPT)
    assert node.find(coin.outpoint.txid) == backend.find(coin.outpoint.txid)
    assert node.spender(coin.outpoint) is None
    tx = pay(coin)
    assert node.test([tx]).allowed
    node.broadcast(tx)
    assert node.in_mempool(tx.txid)
    assert node.find(tx.txid) is None
    assert node.output(coin.outpoint) == coin, "a mempool spend is not confirmed"
    assert node.spender(coin.outpoint) is None
    waiting = node.mempool_spender(coin.outpoint)
    assert waiting is not None
    assert (waiting.tx, waiting.fee) == (tx, FEE)
    node.mine()
    assert not node.in_mempool(tx.txid)
    assert node.spender(coin.outpoint) == (tx, node.height())
    assert node.output(coin.outpoint) is None
    assert node.mempool_spender(coin.outpoint) is None
    assert node.output(OutPoint(tx.txid, 9)) is None
    assert node.output(OutPoint(bytes(32), 0)) is None
    assert not node.in_mempool(bytes(32))
    with pytest.raises(NodeRejected, match="out of range"):
        node.block(node.height() + 1)


def test_what_is_refused(served: Served) -> None:
    coin = served.purse().take()
    good = pay(coin)
    signature = good.inputs[0].witness[0]
    forged = good.with_witness(0, (signature[:-1] + bytes([signature[-1] ^ 1]),))
    assert served.node.test([forged]).reason.startswith("mempool-script-verify-flag-failed")
    with pytest.raises(NodeRejected, match=r"^mempool-script-verify-flag-failed"):
        served.node.broadcast(forged)
    missing = pay(replace(coin, outpoint=OutPoint(b"\x09" * 32, 0)))
    served.node.broadcast(good)
    served.node.mine()
    assert served.node.test([missing]).reason == "bad-txns-inputs-missingorspent"
    with pytest.raises(BridgeError, match="mines no blocks"):
        EsploraNode(served.url, Network.REGTEST).mine()
    with pytest.raises(BridgeError, match="mines no blocks"):
        EsploraNode(served.url, Network.REGTEST).mine_transactions([])


def test_packages(served: Served) -> None:
    purse = served.purse()
    parent, coin = anchored(purse.take()), purse.take()
    child = bump(parent, coin)
    assert served.node.test([parent, child]).allowed
    low = bump(parent, coin, fee=1)
    assert "min" in served.node.test([parent, low]).reason
    with pytest.raises(NodeRejected, match=r"^transaction failed; "):
        served.node.submit_package(parent, low)
    served.node.submit_package(parent, child)
    assert served.node.in_mempool(parent.txid)
    served.server.takes_packages = False
    with pytest.raises(NodeRejected, match="takes no packages"):
        served.node.submit_package(parent, child)


def test_burns_need_their_limit(served: Served) -> None:
    coin = served.purse().take()
    outputs = [TxOut(600, OP_RETURN), TxOut(coin.output.amount - FEE - 600, SCRIPT)]
    burn = spend([coin], outputs)
    with pytest.raises(NodeRejected, match="maxburnamount"):
        served.node.broadcast(burn, max_burn=599)
    served.node.broadcast(burn, max_burn=600)
    assert served.node.in_mempool(burn.txid)


@pytest.mark.parametrize(("target", "rate"), [(1, 9.0), (2, 9.0), (5, 9.0), (6, 3.5), (143, 3.5), (1_000, 1.0)])
def test_fee_rates(served: Served, target: int, rate: float) -> None:
    assert served.node.fee_rate(target) == rate


def test_no_fee_rates(served: Served) -> None:
    served.spoil("/fee-estimates", lambda _: (200, b"{}"))
    assert served.node.fee_rate() == FALLBACK_FEE_RATE


LIES: dict[str, tuple[str, Callable[[bytes], Answer | None], str]] = {
    "a height that is none": ("/tip/height", lambda _: (200, b"-1"), "where a number belongs"),
    "a huge height": ("/tip/height", lambda _: (200, b"9" * 30), "where a number belongs"),
    "another block": ("/raw", lambda raw: (200, b"\x01" + raw[1:]), "a block with another hash"),
    "a short block": ("/raw", lambda raw: (200, raw[:80]), "a block with another hash"),
    "a block cut off": ("/raw", lambda raw: (200, raw[:-1]), "none"),
    "other transactions": ("/raw", lambda raw: (200, raw[:-4] + b"\x01" + raw[-3:]), "another merkle root"),
    "no transactions": ("/raw", lambda raw: (200, raw[:80] + b"\x00"), "another merkle root"),
    "other witnesses": ("/raw", lambda raw: (200, raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:]), "other witnesses"),
    "half an answer": ("/tip/height", lambda _: None, "/blocks/tip/height: "),
    "an error": ("/tip/height", lambda _: (500, b"oops"), "HTTP status 500"),
    "too many requests": ("/tip/height", lambda _: (429, b""), "HTTP status 429"),
    "forbidden": ("/tip/height", lambda _: (403, b""), "HTTP status 403"),
    "no such page": ("/tip/height", lambda _: (404, b""), "HTTP status 404"),
    "more than fits": ("/tip/height", lambda _: (200, bytes(MAX_ANSWER + 1)), "an answer of more than"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_block_is_what_was_asked_for(served: Served, lie: str) -> None:
    served.backend.mine(3)
    part, change, message = LIES[lie]
    served.spoil(part, change)
    with pytest.raises(NodeUnreachable, match=message) as caught:
        served.node.block(served.node.height())
    assert "\n" not in str(caught.value)


CONFIRMED = {"confirmed": True}
TRANSACTION_LIES: dict[str, tuple[str, Callable[[bytes], Answer | None], str]] = {
    "another witness": ("/raw", lambda raw: (200, raw[:-5] + bytes([raw[-5] ^ 1]) + raw[-4:]), "other witnesses"),
    "no block": ("/raw", lambda raw: (200, raw[:20]), "a block with another hash"),
    "no such block": ("/raw", lambda _: (404, b""), "in blocks that it does not have"),
    "another block": (
        "/status",
        lambda text: (200, json.dumps(json.loads(text) | {"block_hash": GENESIS[Network.REGTEST]}).encode()),
        "a block of another height",
    ),
    "the genesis block": (
        "/status",
        lambda _: (200, json.dumps(CONFIRMED | {"block_hash": GENESIS[Network.REGTEST], "block_height": 0}).encode()),
        "a block that does not have the transaction",
    ),
    "another genesis block": (
        "/status",
        lambda text: (200, json.dumps(json.loads(text) | {"block_height": 0}).encode()),
        "another first block than the network's",
    ),
    "no hash": (
        "/status",
        lambda _: (200, json.dumps(CONFIRMED | {"block_height": 5}).encode()),
        "where a hash belongs",
    ),
    "no JSON": ("/status", lambda _: (200, b"<html>"), "no JSON"),
    "a list": ("/status", lambda _: (200, b"[]"), "no JSON object"),
    "deeply nested": ("/status", lambda _: (200, b"[" * 100_000), "no JSON"),
    "no height": ("/status", lambda _: (200, b'{"confirmed": true}'), "where a number belongs"),
}


@pytest.mark.parametrize("lie", TRANSACTION_LIES)
def test_a_transaction_is_what_was_asked_for(served: Served, lie: str) -> None:
    coin = served.purse().take()
    part, change, message = TRANSACTION_LIES[lie]
    served.spoil(part, change)
    with pytest.raises(NodeUnreachable, match=message) as caught:
        served.node.find(coin.outpoint.txid)
    assert "\n" not in str(caught.value)


COIN_LIES: dict[str, tuple[str, Callable[[bytes], Answer | None], str]] = {
    "another transaction": ("/raw", lambda raw: (200, raw[:-1] + bytes([raw[-1] ^ 1])), "another transaction"),
    "no transaction": ("/raw", lambda raw: (200, raw[:20]), "no transaction"),
}


@pytest.mark.parametrize("lie", COIN_LIES)
def test_a_coin_is_what_was_asked_for(served: Served, lie: str) -> None:
    coin = served.purse().take()
    part, change, message = COIN_LIES[lie]
    served.spoil(part, change)
    with pytest.raises(NodeUnreachable, match=message):
        served.node.output(coin.outpoint)


@pytest.mark.parametrize("bits", ["207fffff", "1e0377ae", "00000000", "217fffff"])
def test_a_block_has_work(served: Served, bits: str) -> None:
    """A server that makes a block of its own needs work for it; with an easier target than the network's it fails."""
    served.backend.mine()

    def spoil(path: str, answer: Answer) -> Answer:
        if not path.startswith(("/block-height/", "/block/")):
            return answer
        raw = served.backend._kernel.raw_block(1)
        headers = (raw[:72] + bytes.fromhex(bits)[::-1] + bytes([nonce, 0, 0, 0]) for nonce in range(256))
        header = next(header for header in headers if hash256(header)[-1] > 0x7F)
        return (200, header + raw[80:]) if path.endswith("/raw") else (200, hash256(header)[::-1].hex().encode())

    served.server.spoil = spoil
    with pytest.raises(NodeUnreachable, match="without the work that the network asks for"):
        served.node.block(1)


def test_a_spender_shows_the_witness_that_was_mined(served: Served) -> None:
    """What a challenger reads: a server that shows another assertion than the chain has is found out."""
    coin = served.purse().take()
    tx = pay(coin)
    served.node.mine_transactions([tx])
    (signature,) = tx.inputs[0].witness
    other = tx.with_witness(0, (signature[:-1] + bytes([signature[-1] ^ 1]),))
    served.spoil("/raw", lambda raw: (200, raw.replace(tx.serialize(), other.serialize())))
    with pytest.raises(NodeUnreachable, match="other witnesses than it commits to"):
        served.node.spender(coin.outpoint)
    served.server.spoil = None
    assert served.node.spender(coin.outpoint) == (tx, served.node.height())


def test_a_block_is_fetched_once_for_a_transaction(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bitvm_bridge.chain.esplora.MAX_KEPT", 2)
    txids = [served.purse().take().outpoint.txid for _ in range(3)]

    def fetched() -> int:
        return sum(path.startswith("/block/") for path in served.server.asked)

    for txid in [*txids[:2], *txids[:2]]:
        assert served.node.find(txid) is not None
    assert fetched() == 2
    for txid in (txids[2], txids[1], txids[0]):
        assert served.node.find(txid) is not None
    assert fetched() == 4, "the one asked for first was forgotten"


# A reorganisation between two calls.


@pytest.fixture
def other_branch(served: Served, tmp_path: Path) -> Iterator[EmbeddedNode]:
    """A longer chain that shares the genesis block alone."""
    other = EmbeddedNode(tmp_path / "other")
    other.mine(150)
    yield other
    other.close()


def switch(served: Served, other: EmbeddedNode, after: str) -> None:
    """The server changes to another branch once it has answered a path with this in it."""

    def spoil(path: str, answer: Answer) -> Answer:
        if after in path:
            served.server.node = other
        return answer

    served.server.spoil = spoil


@pytest.mark.parametrize("after", ["/status", "/block-height/"])
def test_what_is_on_neither_branch_any_more(served: Served, other_branch: EmbeddedNode, after: str) -> None:
    coin = served.purse().take()
    height = served.backend.height()
    switch(served, other_branch, after)
    if after == "/status":
        assert served.node.find(coin.outpoint.txid) is None
    assert served.node.block(height) == other_branch.block(height)


def test_a_spender_that_left_the_best_chain(served: Served, other_branch: EmbeddedNode) -> None:
    coin = served.purse().take()
    served.node.mine_transactions([pay(coin)])
    switch(served, other_branch, "/outspend/")
    assert served.node.spender(coin.outpoint) is None


def test_a_spender_that_moved(served: Served, tmp_path: Path) -> None:
    """The other branch has the transaction too, a block later."""
    coin = served.purse().take()
    tx, other = pay(coin), EmbeddedNode(tmp_path / "other")
    for height in range(1, served.backend.height() + 1):
        raw = served.backend._kernel.raw_block(height)
        other._kernel.process_block(raw)
        other._index.add(raw)
    served.node.mine_transactions([tx])
    other.mine_transactions([])
    other.mine_transactions([tx])
    for after in ("/outspend/", "/status", "/raw"):
        served.server.node = served.backend
        switch(served, other, after)
        height = other.height() - (after == "/raw")
        assert served.node.spender(coin.outpoint) == (tx, height), after
    assert served.node.spender(coin.outpoint) == (tx, other.height())
    other.close()


def test_a_server_whose_answers_never_fit(served: Served) -> None:
    coin = served.purse().take()
    served.node.mine_transactions([pay(coin)])
    served.spoil("/status", lambda _: (404, b""))
    with pytest.raises(NodeUnreachable, match="spent by transactions that it does not have"):
        served.node.spender(coin.outpoint)
    served.spoil("/block/", lambda _: (404, b""))
    with pytest.raises(NodeUnreachable, match="not found, though in the best chain"):
        served.node.block(served.node.height())


def test_a_spender_must_spend(served: Served) -> None:
    coin, other = served.purse().take(), served.purse().take()
    tx = pay(coin)
    served.node.broadcast(tx)
    served.node.mine()
    lie = {"spent": True, "txid": other.outpoint.txid[::-1].hex(), "status": {"confirmed": True, "block_height": 5}}
    served.spoil("/outspend/", lambda _: (200, json.dumps(lie).encode()))
    with pytest.raises(NodeUnreachable, match="does not spend the output"):
        served.node.spender(coin.outpoint)


def test_a_coin_of_another_script_is_left_out(served: Served) -> None:
    coin = served.purse().take()
    everything = served.server.answer("GET", "/scripthash/" + "00" * 32 + "/utxo", b"")[1]
    assert everything == b"[]"
    stranger = {"txid": coin.outpoint.txid[::-1].hex(), "vout": coin.outpoint.vout, "value": 1}
    listed = json.dumps([stranger | {"status": {"confirmed": True, "block_height": 1}}]).encode()
    served.spoil("/scripthash/", lambda _: (200, listed))
    assert served.node.scan(b"\x51\x20" + bytes(32)) == []
    assert [utxo.output for utxo in served.node.scan(SCRIPT)] == [coin.output], "the amount is the transaction's"


def test_a_busy_server_is_asked_again(served: Served) -> None:
    answers = iter([(503, b""), (429, b""), None])

    def spoil(path: str, answer: Answer) -> Answer | None:
        return next(answers, answer)

    served.server.headers = {"Retry-After": "0"}
    served.server.spoil = spoil
    assert served.node.height() == served.backend.height()
    assert served.server.asked.count("/blocks/tip/height") == TRIES


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ("11", "11 s"),
        ("3600", "3,600 s"),
        ("a day from now", r"86,\d\d\d s"),
    ],
)
def test_a_server_that_wants_a_long_pause_is_left_alone(served: Served, header: str, told: str) -> None:
    if not header.isdecimal():
        header = format_datetime(datetime.now(UTC) + timedelta(days=1), usegmt=True)
    served.server.headers = {"Retry-After": header}
    served.spoil("/tip/height", lambda _: (429, b""))
    expected = rf"/blocks/tip/height: HTTP status 429, to be asked again in {told} \(Retry-After\); we wait 10 s$"
    with pytest.raises(NodeUnreachable, match=expected):
        served.node.height()
    assert served.server.asked.count("/blocks/tip/height") == 1


@pytest.mark.parametrize("header", ["", "soon", "-5", "1.5", "²", "Wed, 21 Oct 2015 07:28:00 GMT", "Wed, 99 Oct 9999"])
def test_a_pause_that_is_none(served: Served, header: str) -> None:
    served.server.headers = {"Retry-After": header.encode().decode("latin-1")}
    answers = iter([(503, b"")])
    served.server.spoil = lambda _, answer: next(answers, answer)
    assert served.node.height() == served.backend.height()


def test_a_transaction_is_sent_once(served: Served) -> None:
    """A server that fails may have sent it all the same."""
    served.spoil("/tx", lambda _: (500, b"broken"))
    tx = pay(served.purse().take())
    with pytest.raises(NodeRejected, match="broken"):
        served.node.broadcast(tx)
    assert served.server.asked.count("/tx") == 1


def test_a_transaction_whose_answer_breaks_off_is_not_sent_again(served: Served) -> None:
    served.spoil("/tx", lambda _: None)
    with pytest.raises(NodeUnreachable, match=r"/tx: "):
        served.node.broadcast(pay(served.purse().take()))
    assert served.server.asked.count("/tx") == 1


JUNK: list[tuple[str, bytes, Callable[[MiningEsplora], object]]] = [
    ("/utxo", b"[1]", lambda node: node.scan(SCRIPT)),
    ("/fee-estimates", b'{"6": 1' + b"0" * 400 + b"}", lambda node: node.fee_rate()),
    ("/fee-estimates", b'{"6": true}', lambda node: node.fee_rate()),
]


@pytest.mark.parametrize("junk", JUNK, ids=lambda junk: junk[1][:12].decode())
def test_junk_is_one_line(served: Served, junk: tuple[str, bytes, Callable[[MiningEsplora], object]]) -> None:
    part, answer, ask = junk
    served.spoil(part, lambda _: (200, answer))
    with pytest.raises(NodeUnreachable, match="the server gave no"):
        ask(served.node)


def test_another_chain(served: Served) -> None:
    with pytest.raises(NodeUnreachable, match="a chain that begins with 0f9188f13cb7b2c7…, not signet"):
        EsploraNode(served.url, Network.SIGNET, pause=0.01)


def test_a_server_that_is_gone(served: Served) -> None:
    with pytest.raises(NodeUnreachable, match=r"^http://127.0.0.1:9/block-height/0: ConnectionError$"):
        EsploraNode("http://127.0.0.1:9", Network.REGTEST, pause=0.01)


@pytest.mark.parametrize("url", ["", "ftp://host", "host:3000", "http://", "http://user:secret@host"])
def test_what_is_no_url(url: str) -> None:
    with pytest.raises(BadInput, match=r"^--esplora: "):
        EsploraNode(url, Network.REGTEST)


def test_the_command_line(served: Served, tmp_path: Path) -> None:
    served.backend.mine(7)

    def run(*args: str) -> tuple[int, str, str]:
        line = ["--datadir", str(tmp_path), *args]
        result = CliRunner().invoke(root, line, catch_exceptions=False)
        return result.exit_code, result.stdout, result.stderr

    code, stdout, _ = run("--esplora", served.url, "node", "info", "--json")
    assert code == 0
    assert (json.loads(stdout)["height"], json.loads(stdout)["node"]) == (7, "esplora")
    code, _, stderr = run("--esplora", served.url, "node", "mine")
    assert (code, stderr) == (
        1,
        "error: esplora: a server shows a chain and mines no blocks; use a regtest node for that\n",
    )
    code, _, stderr = run("--esplora", served.url, "--node", "bitcoind", "node", "info")
    assert code == 2
    assert "used without --node" in stderr
    code, _, stderr = run("--esplora", served.url, "demo")
    assert code == 2
    assert "a node that the demo can mine on" in stderr
    code, _, stderr = run("--signet", "--esplora", served.url, "node", "info")
    assert code == 3
    assert "not signet" in stderr
