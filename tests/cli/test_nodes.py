"""Bitcoin Core as people run it: without a wallet, with one or several, and pruned."""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.errors import NodeUnreachable
from bitvm_bridge.params import Network
from tests.cli.bridge import (
    LIE,
    PLAIN,
    WINDOW,
    Bridge,
    challenged,
    join,
    kick_off,
    make_deposit,
    make_keys,
    pay_out,
    rpc_options,
    set_up,
)

PRUNED_TO = 500
"""What is pruned is whole files of blocks, below this height."""
BURIED = 800
"""Height at which the walk on the pruned node begins: a node keeps its last 288 blocks whatever it is told."""

OTHER_RECEIVER = "99" * 20


def admin(launched: LaunchedBitcoind, wallet: str | None = None) -> rpc.Rpc:
    return rpc.from_options(Network.REGTEST, rpcport=launched.port, datadir=launched.datadir, rpcwallet=wallet)


def both_endings(bridge: Bridge) -> None:
    """An honest claim is paid, a false one is disproved, each from its deposit on."""
    honest = set_up(bridge)
    pay_out(bridge, honest)
    height = kick_off(bridge, honest)
    bridge.mine_to(height + WINDOW - 1)
    bridge.send("operator", "happy-take", honest)
    assert bridge.state(honest) == "HappyTake"
    deposit = make_deposit(bridge, "--receiver", OTHER_RECEIVER)
    false = join(bridge, deposit)
    bridge.run("committee", "sign", false)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    challenged(bridge, false)
    bridge.send("operator", "assert", false, "--lie", LIE)
    assert bridge.data("challenger", "check", false)["chunk"] == LIE
    bridge.send("challenger", "disprove", false)
    assert bridge.state(false) == "Disprove"


@pytest.mark.parametrize(
    ("option", "wallets", "addressed"),
    [
        ("-disablewallet", (), None),
        ("-disablewallet=0", (), None),
        ("-disablewallet=0", ("savings",), None),
        ("-disablewallet=0", ("savings", "spending"), None),
        ("-disablewallet=0", ("savings", "spending"), "savings"),
    ],
)
def test_wallets(
    bitcoind_path: Path, tmp_path: Path, option: str, wallets: tuple[str, ...], addressed: str | None
) -> None:
    """The bridge's keys are its own: the node's wallets change nothing, whichever is addressed, and get nothing."""
    with LaunchedBitcoind(bitcoind_path, tmp_path / "node", option) as launched, ExitStack() as opened:
        rpcs = {name: admin(launched, name) for name in wallets}
        for name, connection in rpcs.items():
            opened.callback(connection.close)
            connection.call("createwallet", name)
        options = () if addressed is None else ("--rpcwallet", addressed)
        bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(launched), *options)
        make_keys(bridge)
        both_endings(bridge)
        for connection in rpcs.values():
            assert connection.call("getwalletinfo")["txcount"] == 0


@dataclass(frozen=True)
class Pruned:
    """A pruned node on which everyone has keys and coins, and the oldest block that it still has."""

    launched: LaunchedBitcoind
    keyed: Bridge
    oldest: int

    def bridge(self, to: Path, *options: str) -> Bridge:
        """The keys in a new place."""
        bridge = self.keyed.copy(to)
        return Bridge(bridge.datadir, *bridge.options, *options)


@pytest.fixture(scope="module")
def pruned(bitcoind_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pruned]:
    folder = tmp_path_factory.mktemp("pruned")
    with LaunchedBitcoind(bitcoind_path, folder / "node", "-prune=1", "-fastprune") as launched:
        keyed = Bridge(folder / "data", *PLAIN, *rpc_options(launched))
        make_keys(keyed)
        keyed.mine_to(BURIED)
        connection = admin(launched)
        connection.call("pruneblockchain", PRUNED_TO)
        info = connection.call("getblockchaininfo")
        connection.close()
        assert info["pruned"]
        assert 1 < info["pruneheight"] <= PRUNED_TO + 1
        yield Pruned(launched, keyed, info["pruneheight"])


def test_a_pruned_node_is_enough_from_the_blocks_that_it_has(pruned: Pruned, tmp_path: Path) -> None:
    both_endings(pruned.bridge(tmp_path / "data", "--start-height", str(pruned.oldest)))


def test_what_a_pruned_node_no_longer_has_is_one_line(pruned: Pruned, tmp_path: Path) -> None:
    """Not "there is no such transaction": nobody can say that who has not seen all blocks."""
    bridge = pruned.bridge(tmp_path / "data")
    instance = join(bridge, make_deposit(bridge))
    line = bridge.refused("instance", "status", instance, code=3)
    url = f"http://127.0.0.1:{pruned.launched.port}"
    assert line == (
        f"{url}: the node is pruned and no longer has block {pruned.oldest - 1}; "
        "ask one that keeps its blocks, or search from a later block with --start-height"
    )


def test_old_blocks_are_asked_for_with_the_same_words(pruned: Pruned) -> None:
    node = pruned.launched.node
    assert node.block(pruned.oldest).height == pruned.oldest
    with pytest.raises(NodeUnreachable, match=f"pruned and no longer has block {pruned.oldest - 1};"):
        node.block(pruned.oldest - 1)


def test_watching_over_a_pruned_node(pruned: Pruned, tmp_path: Path) -> None:
    bridge = pruned.bridge(tmp_path / "data", "--start-height", str(pruned.oldest))
    instance = set_up(bridge)
    challenged(bridge, instance)
    bridge.run("watch", "--as", "operator", "--once")
    bridge.mine()
    assert bridge.state(instance) == "Assert"


@pytest.mark.parametrize("options", [(), ("--esplora", "http://127.0.0.1:9"), ("--node", "embedded")])
def test_other_nodes_are_not_searched_block_by_block(tmp_path: Path, options: tuple[str, ...]) -> None:
    bridge = Bridge(tmp_path / "data", *options, "--start-height", "5")
    assert "--start-height: '5' is not used with bitcoind" in bridge.refused("node", "info", code=2)
