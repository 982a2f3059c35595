"""Descriptors: Bitcoin Core derives from each exactly the address that the graph has."""

from collections.abc import Iterator
from typing import Any

import pytest

from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.rpc import Rpc
from bitvm_bridge.descriptors import Described, describe, expression
from bitvm_bridge.graph import Graph
from bitvm_bridge.keys import Role, parse_address
from bitvm_bridge.params import Network, Params
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.protocol.template import Leaf
from bitvm_bridge.taproot import NUMS_KEY
from scripts_tapleaf import covenant
from tests import builders
from tests.cli.bridge import Bridge

SPLIT = Params(peg_in=90_000_000, exits=3, council=builders.COUNCIL)
GRAPHS = {
    "deposit": lambda: builders.deposit_setup().graph,
    "deposit with a council": lambda: builders.deposit_setup(builders.WITH_COUNCIL).graph,
    "deposit of three exits": lambda: builders.deposit_setup(SPLIT).graph,
    "instance": lambda: builders.instance_setup().graph,
    "instance with a council": lambda: builders.instance_setup(params=builders.WITH_COUNCIL).graph,
    "exit of three": lambda: builders.instance_setup(params=SPLIT, exit_number=1).graph,
}


@pytest.fixture(scope="module")
def core(bitcoind: LaunchedBitcoind) -> Iterator[Rpc]:
    connection = rpc.from_options(Network.REGTEST, rpcport=bitcoind.port, datadir=bitcoind.datadir)
    yield connection
    connection.close()


@pytest.mark.parametrize("name", GRAPHS)
def test_core_derives_the_addresses_of_a_graph(core: Rpc, name: str) -> None:
    graph = GRAPHS[name]()
    described = describe(graph)
    assert {item.name for item in described} == with_address(graph)
    for item in described:
        assert parse_address(item.address, Network.REGTEST) == graph.source(item.name).output.script_pubkey
        info: dict[str, Any] = core.call("getdescriptorinfo", item.descriptor)
        assert item.descriptor.endswith(f"#{info['checksum']}"), item
        assert info["issolvable"] == item.spendable or item.descriptor.startswith("rawtr("), item
        assert core.call("deriveaddresses", item.descriptor) == [item.address], item


def with_address(graph: Graph) -> set[str]:
    """Outputs that are not data."""
    return {name for name, source in graph.sources.items() if source.output.script_pubkey[:1] != b"\x6a"}


def by_name(graph: Graph) -> dict[str, Described]:
    return {item.name: item for item in describe(graph)}


def test_what_is_written_out() -> None:
    setup = builders.instance_setup(params=builders.WITH_COUNCIL)
    found = by_name(setup.graph)
    nums, n, o = NUMS_KEY.hex(), setup.deposit.deposit.committee.hex(), setup.operator.hex()
    council = f"and_v(v:multi_a(2,{','.join(key.hex() for key in builders.COUNCIL.keys)}),older(30))"
    expected = {
        "PegIn.vault": f"tr({nums},{{pk({n}),{council}}})",
        "KickOff.challenge": f"tr({nums},{{pk({o}),and_v(v:pk({n}),older(6))}})",
        "KickOff.bond": f"tr({nums},{{pk({n}),and_v(v:pk({n}),older(24))}})",
        "ClaimFunding.claim": f"tr({o})",
        "HappyTake.payout": f"tr({o})",
        "Forfeit.burn": f"tr({nums},{council})",
        "KickOff.anchor": "addr(bcrt1pfeesnyr2tx)",
    }
    for name, text in expected.items():
        assert found[name].descriptor.partition("#")[0] == text
    assert {name for name, item in found.items() if not item.spendable} == {
        "PegInDeposit.deposit",
        "PegIn.anchor",
        "CooperativePayout.anchor",
        "KickOff.assertion_0",
        "KickOff.disprove",
        "KickOff.anchor",
        "HappyTake.anchor",
        "UnhappyTake.anchor",
    }
    assert found["KickOff.disprove"].descriptor.startswith("rawtr(")


def test_leaves_that_are_no_miniscript() -> None:
    key, other = (builders.wallet_key(role).xonly for role in (Role.DEPOSITOR, Role.OPERATOR))
    assert expression(Leaf("a", covenant.signed(key))) == f"pk({key.hex()})"
    assert expression(Leaf("a", covenant.signed_after(key, 65_535), 65_535)) == f"and_v(v:pk({key.hex()}),older(65535))"
    for leaf in (
        Leaf("another wait", covenant.signed_after(key, 6), 7),
        Leaf("no wait", covenant.signed_after(key, 6)),
        Leaf("envelope", covenant.envelope(b"receiver") + covenant.signed(key)),
        Leaf("two keys", covenant.signed(key) + covenant.signed(other)),
        Leaf("one key twice", covenant.signed(key) * 2),
        Leaf("no key", b"\x51"),
        Leaf("long", covenant.signed(key) + b"\x61" * 1_000),
    ):
        assert expression(leaf) is None, leaf.name


def test_commands_show_them(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    deposit = bridge.data("depositor", "list")["deposits"][0]["deposit"]
    document = bridge.data("instance", "descriptors", instance)
    assert document["instance"] == instance
    names = {row["name"] for row in document["descriptors"]}
    of_deposit = bridge.data("depositor", "descriptors", deposit)
    assert of_deposit["deposit"] == deposit
    assert {row["name"] for row in of_deposit["descriptors"]} < names
    operator = bridge.data("operator", "address")
    rows = {row["name"]: row for row in document["descriptors"]}
    assert rows["HappyTake.payout"]["address"] == operator["address"]
    assert parse_address(operator["address"], Network.REGTEST) == wallet_script(bytes.fromhex(operator["key"]))
    text = bridge.run("instance", "descriptors", instance).stdout
    assert all(f"{row['name']}  {row['address']}  {row['descriptor']}\n" in text for row in rows.values())
