"""Output descriptors (BIP380, BIP386) of every address that the protocol makes.

A tree whose leaves are all miniscript (BIP379) is written out, so that a wallet which holds a key of it can import it.
Envelopes, one-time keys and checks of a program are none; such an output is named by its key, which is enough to watch.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from embit.descriptor.checksum import add_checksum

from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import Graph
from bitvm_bridge.keys import address
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import connectors, wallet_script
from bitvm_bridge.protocol.template import Connector, Leaf
from bitvm_bridge.taproot import NUMS_KEY
from scripts_tapleaf import covenant
from scripts_tapleaf.script import instructions

_MAX_SCRIPT: Final = 1_000
"""bytes: what is longer is none of the small leaves."""


@dataclass(frozen=True)
class Described:
    """An output of a graph, `KickOff.bond` or so. `spendable`: a wallet with the right key can spend by it."""

    name: str
    address: str
    descriptor: str
    spendable: bool


def describe(graph: Graph) -> list[Described]:
    """Every output of a deposit's or instance's graph that has an address, in the order of its transactions."""
    known, network = dict(_known(graph)), graph.deposit.params.network
    found = []
    for source in graph.sources.values():
        script = source.output.script_pubkey
        try:
            where = address(script, network)
        except BadInput:
            continue  # data and sinks that nobody can spend
        own = known.get(script) if source.connector is None else of_connector(source.connector)
        found.append(Described(source.name, where, add_checksum(own or _watched(script, network)), own is not None))
    return found


def of_key(key: bytes) -> str:
    """The wallet of an x-only key (BIP86), without a checksum."""
    return f"tr({key.hex()})"


def of_connector(connector: Connector) -> str | None:
    """`tr(…)` without a checksum, or None where a leaf is no miniscript."""
    if connector.stream is not None:
        return None
    leaves = [expression(leaf) for leaf in connector.named]
    written = [leaf for leaf in leaves if leaf is not None]
    return f"tr({NUMS_KEY.hex()},{_tree(written)})" if len(written) == len(leaves) else None


def expression(leaf: Leaf) -> str | None:
    """The miniscript of a leaf: one signature, now or after a wait, or the council; None for anything else."""
    if len(leaf.script) > _MAX_SCRIPT:
        return None
    keys = [item.data for item in instructions(leaf.script) if item.data is not None and len(item.data) == 32]
    if not 1 <= len(set(keys)) == len(keys) <= covenant.MAX_COUNCIL:
        return None
    return dict(_forms(keys, leaf.wait)).get(leaf.script)


def _forms(keys: Sequence[bytes], wait: int) -> Iterator[tuple[bytes, str]]:
    """Every small leaf that these keys can make, and its miniscript."""
    names = ",".join(key.hex() for key in keys)
    if not wait:
        yield covenant.signed(keys[0]), f"pk({names})"
        return
    yield covenant.signed_after(keys[0], wait), f"and_v(v:pk({names}),older({wait}))"
    for threshold in range(1, len(keys) + 1):
        yield covenant.council(keys, threshold, wait), f"and_v(v:multi_a({threshold},{names}),older({wait}))"


def _tree(nodes: list[str]) -> str:
    """Leaves in pairs, as the script tree has them."""
    while len(nodes) > 1:
        pairs = [f"{{{nodes[i]},{nodes[i + 1]}}}" for i in range(0, len(nodes) - 1, 2)]
        nodes = pairs + nodes[len(nodes) & ~1 :]
    return nodes[0]


def _known(graph: Graph) -> Iterator[tuple[bytes, str]]:
    """Scripts of outputs that leave the graph, and whose they are."""
    owners = [graph.deposit.request.depositor, *([graph.instance.operator] if graph.instance else [])]
    for key in owners:
        yield wallet_script(key), of_key(key)
    if (council := graph.deposit.params.council) is not None:
        share = connectors.council_share(graph.deposit.params, council)
        if (written := of_connector(share)) is not None:
            yield share.script_pubkey, written


def _watched(script: bytes, network: Network) -> str:
    """By its output key, or by its address where there is no key in it."""
    return f"rawtr({script[2:].hex()})" if len(script) == 34 else f"addr({address(script, network)})"
