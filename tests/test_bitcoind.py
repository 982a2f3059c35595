"""Bitcoin Core over RPC: connection errors in one line, reorganisations, and the launched process."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.bitcoind import BitcoindNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.rpc import Cookie, Password, Rpc, RpcRefused
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.params import Network
from tests.spending import SCRIPT, Purse, anchored, bump, pay

SECRET = "correct horse"
Answer = tuple[int, bytes]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], Rpc]]:
    """A server that gives every request the same status and body."""
    servers = []

    def start(answer: Answer) -> Rpc:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(answer[0])
                self.send_header("Content-Length", str(len(answer[1])))
                self.end_headers()
                self.wfile.write(answer[1])

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        connection = Rpc(f"http://127.0.0.1:{server.server_port}", Password("alice", SECRET))
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread, connection))
        return connection

    yield start
    for server, thread, connection in servers:
        connection.close()
        server.shutdown()
        thread.join()
        server.server_close()


def result(value: object) -> Answer:
    return 200, json.dumps({"result": value, "error": None, "id": 0}).encode()


def error(code: int, message: str) -> Answer:
    return 500, json.dumps({"result": None, "error": {"code": code, "message": message}, "id": 0}).encode()


def chain_info(chain: str, syncing: bool = False) -> Answer:
    return result({"chain": chain, "blocks": 7, "headers": 9, "initialblockdownload": syncing})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((401, b""), "credentials refused"),
        ((403, b""), "refuses this client"),
        ((200, b"<html>a router</html>"), "not a Bitcoin node"),
        ((404, b"[]"), "not a Bitcoin node"),
        ((200, b'{"error": null}'), "not a Bitcoin node"),
        ((503, b"Work queue depth exceeded"), "HTTP status 503"),
        (error(-28, "Loading block index…"), r"starting \(Loading block index…\)"),
        (chain_info("main"), "a node of main, not of regtest"),
        (chain_info("signet"), "a node of signet, not of regtest"),
    ],
)
def test_node_that_cannot_serve(serve: Callable[[Answer], Rpc], answer: Answer, expected: str) -> None:
    with pytest.raises(NodeUnreachable, match=expected) as caught:
        BitcoindNode(serve(answer), Network.REGTEST)
    assert "\n" not in str(caught.value)
    assert SECRET not in str(caught.value)


def test_syncing_matters_on_a_public_network_only(serve: Callable[[Answer], Rpc]) -> None:
    with pytest.raises(NodeUnreachable, match="still syncing, at block 7 of 9"):
        BitcoindNode(serve(chain_info("signet", syncing=True)), Network.SIGNET)
    BitcoindNode(serve(chain_info("signet")), Network.SIGNET)
    BitcoindNode(serve(chain_info("regtest", syncing=True)), Network.REGTEST)


def test_rpc_error_is_the_nodes_own_first_line(serve: Callable[[Answer], Rpc]) -> None:
    with pytest.raises(RpcRefused, match=r"^wrong$") as caught:
        serve(error(-8, "wrong\n\nusage: two pages of help")).call("anything")
    assert caught.value.code == -8
    with pytest.raises(NodeRejected, match="error -1 without a message"):
        serve(error(-1, "")).call("anything")


def test_no_answer() -> None:
    connection = Rpc("http://127.0.0.1:1", Password("alice", SECRET))
    with pytest.raises(NodeUnreachable, match=r"^http://127\.0\.0\.1:1: no connection\. Is the node running\?$"):
        connection.call("getblockcount")
    connection.close()
    connection.close()


def test_silent_node() -> None:
    silent = ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    connection = Rpc(f"http://127.0.0.1:{silent.server_port}", Password("alice", SECRET))
    with pytest.raises(NodeUnreachable, match="no answer within"):
        connection.call("getblockcount", timeout=0.01)
    connection.close()
    silent.server_close()


def test_password_is_never_shown() -> None:
    assert SECRET not in repr(Password("alice", SECRET))


@pytest.mark.parametrize(("content", "expected"), [(None, "No such file"), ("no colon", "no credentials")])
def test_useless_cookie(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / ".cookie").write_text(content)
    with pytest.raises(NodeUnreachable, match=expected):
        Cookie(tmp_path / ".cookie").read()


def test_cookie_that_is_not_text(tmp_path: Path) -> None:
    (tmp_path / ".cookie").write_bytes(b"\xff\xfe:")
    with pytest.raises(NodeUnreachable, match="not text"):
        Cookie(tmp_path / ".cookie").read()


@pytest.mark.parametrize(
    ("network", "options", "url"),
    [
        (Network.REGTEST, {}, "http://127.0.0.1:18443"),
        (Network.SIGNET, {}, "http://127.0.0.1:38332"),
        (Network.REGTEST, {"rpcconnect": "node.example", "rpcport": 99}, "http://node.example:99"),
        (Network.REGTEST, {"rpcconnect": "node.example:98"}, "http://node.example:98"),
        (Network.REGTEST, {"rpcconnect": "node.example:98", "rpcport": 99}, "http://node.example:99"),
        (Network.REGTEST, {"rpcconnect": "[::1]"}, "http://[::1]:18443"),
        (Network.REGTEST, {"rpcwallet": ""}, "http://127.0.0.1:18443/wallet/"),
        (Network.REGTEST, {"rpcwallet": "a/b c"}, "http://127.0.0.1:18443/wallet/a%2Fb%20c"),
    ],
)
def test_options_of_bitcoin_cli(network: Network, options: dict[str, Any], url: str) -> None:
    assert rpc.from_options(network, **options).url == url


@pytest.mark.parametrize("host", ["", "a b:1:2", "::1", "alice:pw@host", "host/path", "host:99999", "host:x"])
def test_bad_host(host: str) -> None:
    with pytest.raises(BadInput, match="rpcconnect"):
        rpc.from_options(Network.REGTEST, rpcconnect=host)


@pytest.mark.parametrize("port", [-1, 65_536])
def test_bad_port(port: int) -> None:
    with pytest.raises(BadInput, match="rpcport"):
        rpc.from_options(Network.REGTEST, rpcport=port)


def test_cookie_places(bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    """The default place, a relative and an absolute file; a password wins over all of them."""
    cookie = bitcoind.datadir / "regtest" / ".cookie"
    places: list[dict[str, Any]] = [{"datadir": bitcoind.datadir}, {"rpccookiefile": cookie}]
    for options in places:
        connection = rpc.from_options(Network.REGTEST, rpcport=bitcoind.port, **options)
        assert BitcoindNode(connection, Network.REGTEST).height() == bitcoind.node.height()
        connection.close()
    wrong = rpc.from_options(
        Network.REGTEST, rpcport=bitcoind.port, rpcuser="alice", rpcpassword=SECRET, rpccookiefile=cookie
    )
    with pytest.raises(NodeUnreachable, match="credentials refused") as caught:
        wrong.call("getblockcount")
    assert SECRET not in str(caught.value)
    wrong.close()
    relative = rpc.from_options(
        Network.REGTEST, rpcport=bitcoind.port, datadir=tmp_path, rpccookiefile=Path("other.cookie")
    )
    with pytest.raises(NodeUnreachable, match=r"regtest/other\.cookie"):
        relative.call("getblockcount")


def test_wrong_network(bitcoind: LaunchedBitcoind) -> None:
    connection = rpc.from_options(
        Network.SIGNET, rpcport=bitcoind.port, rpccookiefile=bitcoind.datadir / "regtest" / ".cookie"
    )
    with pytest.raises(NodeUnreachable, match="a node of regtest, not of signet"):
        BitcoindNode(connection, Network.SIGNET)
    connection.close()


def test_reorganisation(fresh_bitcoind: LaunchedBitcoind) -> None:
    """What was found in a block that left the best chain is found no more, and a re-mined one at its new height."""
    node = fresh_bitcoind.node
    admin = rpc.from_options(Network.REGTEST, rpcport=fresh_bitcoind.port, datadir=fresh_bitcoind.datadir)
    coin = Purse(node).take()
    tx = pay(coin)
    node.mine_transactions([tx])
    height = node.height()
    assert node.find(tx.txid) == (tx, height)
    assert node.spender(coin.outpoint) == (tx, height)
    admin.call("invalidateblock", node.block(height).hash[::-1].hex())
    node.mine_transactions([])
    node.mine_transactions([])
    assert node.height() == height + 1
    assert node.find(tx.txid) is None
    assert node.spender(coin.outpoint) is None
    assert node.output(coin.outpoint) == coin
    node.mine_transactions([tx])
    assert node.find(tx.txid) == (tx, height + 2)
    assert node.spender(coin.outpoint) == (tx, height + 2)
    admin.close()


def test_start_height_bounds_the_search(bitcoind: LaunchedBitcoind) -> None:
    coin = Purse(bitcoind.node).take()
    tx = pay(coin)
    bitcoind.node.mine_transactions([tx])
    height = bitcoind.node.height()
    connection = rpc.from_options(Network.REGTEST, rpcport=bitcoind.port, datadir=bitcoind.datadir)
    for start, found in ((height, (tx, height)), (height + 1, None)):
        node = BitcoindNode(connection, Network.REGTEST, start_height=start)
        assert node.find(tx.txid) == found
        assert node.spender(coin.outpoint) == found
    connection.close()


def test_package_question_sees_a_spent_coin(bitcoind: LaunchedBitcoind) -> None:
    node = bitcoind.node
    purse = Purse(node)
    parent, coin = anchored(purse.take()), purse.take()
    assert node.test([parent, bump(parent, coin)]).allowed
    node.mine_transactions([pay(coin)])
    assert node.test([parent, bump(parent, coin)]).reason == "bad-txns-inputs-missingorspent"


def test_a_scan_waits_for_the_one_before(monkeypatch: pytest.MonkeyPatch, serve: Callable[[Answer], Rpc]) -> None:
    """Core scans for one caller at a time; another error is not waited for."""
    connection = serve(chain_info("regtest"))
    node = BitcoindNode(connection, Network.REGTEST)
    answers = [RpcRefused(-8, 'Scan already in progress, use action "abort" or "status"')] * 2

    def call(method: str, *params: object, timeout: float = 0) -> Any:
        assert method == "scantxoutset"
        if answers:
            raise answers.pop()
        return {"unspents": []}

    monkeypatch.setattr(connection, "call", call)
    monkeypatch.setattr("bitvm_bridge.chain.bitcoind._POLL", 0)
    assert node.scan(SCRIPT) == []
    assert answers == []
    answers.append(RpcRefused(-8, "Invalid descriptor"))
    with pytest.raises(RpcRefused, match="Invalid descriptor"):
        node.scan(SCRIPT)


def test_launch_without_a_program(tmp_path: Path) -> None:
    with pytest.raises(NodeUnreachable, match=r"cannot run .*nowhere: No such file"), launched(tmp_path / "nowhere"):
        pass


def test_launch_of_another_program(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\necho 'first words' >&2\necho 'last words' >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(NodeUnreachable, match=r"stopped at once: last words$"), launched(program):
        pass


def test_launch_in_a_directory_in_use(bitcoind: LaunchedBitcoind, bitcoind_path: Path) -> None:
    with (
        pytest.raises(NodeUnreachable, match=r"stopped at once: .*lock"),
        LaunchedBitcoind(bitcoind_path, bitcoind.datadir),
    ):
        pass


def test_launched_node_is_gone_afterwards(bitcoind_path: Path, tmp_path: Path) -> None:
    for height in (0, 1):
        with LaunchedBitcoind(bitcoind_path, tmp_path) as again:
            assert again.node.height() == height
            again.node.mine(1, SCRIPT)
    connection = Rpc(f"http://127.0.0.1:{again.port}", Password("alice", SECRET))
    with pytest.raises(BridgeError):
        connection.call("getblockcount")
    connection.close()


def launched(program: Path) -> LaunchedBitcoind:
    return LaunchedBitcoind(program, program.parent / "data")
