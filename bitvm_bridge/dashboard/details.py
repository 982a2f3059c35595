"""A transaction of an instance, decoded: what it spends and by which leaf, what it makes, who has signed."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bitvm_bridge import taproot
from bitvm_bridge.dashboard import shown
from bitvm_bridge.dashboard.flow import Facts, wallet_made
from bitvm_bridge.dashboard.reader import Kept
from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import ANCHOR, Graph, GraphInput, GraphTx, Source
from bitvm_bridge.keys import address
from bitvm_bridge.linter import signed_vsize
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party, PegIn
from bitvm_bridge.protocol.template import ANY_LEAF, Coins, Connector, Free
from bitvm_bridge.roles import presigned
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf.script import OP_RETURN

Json = dict[str, Any]


@dataclass(frozen=True)
class Best:
    """A transaction in the best form that there is, and what form that is.

    confirmed, in the mempool, made by this party, signed at set-up, or only the unsigned part that the graph fixes.
    """

    kind: str
    tx: Transaction | None

    @property
    def is_whole(self) -> bool:
        """Could it be sent as it is?"""
        return self.kind not in ("unsigned", "unknown")


def transaction(item: Kept, setup: InstanceSetup, facts: Facts | None, name: str) -> Json:
    """All that is known of a transaction by name."""
    declared = setup.graph.txs.get(name)
    best = _best(item, setup, facts, name)
    tx = best.tx
    return {
        "title": _title(setup.graph, name),
        "form": best.kind,
        "txid": _txid(setup.graph, name, best),
        "version": tx.version if tx else None,
        "lock_time": tx.lock_time if tx else None,
        "vsize": _vsize(declared, best),
        "weight": tx.weight if tx and best.is_whole else None,
        "fee": _fee(setup.graph, best),
        "raw": shown.raw(tx.serialize()) if tx and best.is_whole else None,
        "inputs": list(_inputs(item, declared, best)),
        "outputs": list(_outputs(setup, name, tx)),
        "open": _open_parts(declared, best),
    }


def _best(item: Kept, setup: InstanceSetup, facts: Facts | None, name: str) -> Best:
    if facts is not None and name in facts.confirmed:
        return Best("confirmed", facts.confirmed[name].tx)
    if facts is not None and name in facts.pending:
        return Best("mempool", facts.pending[name])
    if name in item.made:
        return Best("made", item.made[name])
    declared = setup.graph.txs.get(name)
    if declared is None:
        return Best("unknown", None)
    if declared.is_complete and item.bundle and all((name, e.name) in item.bundle.signatures for e in declared.inputs):
        return Best("signed", presigned.signed(item.bundle, declared))
    if name == PegIn.__name__ and item.peg_in is not None:
        (entry,) = declared.inputs
        return Best("signed", declared.tx.with_witness(0, entry.witness([entry.sighash.append_to(item.peg_in)])))
    return Best("unsigned", declared.tx)


def _title(graph: Graph, name: str) -> str:
    """What a transaction is for, in the words of its declaration."""
    templates = {template.__name__: template for template in wallet_made(graph)}
    template = graph.txs[name].template if name in graph.txs else templates[name]
    return " ".join((template.__doc__ or "").split())


def _txid(graph: Graph, name: str, best: Best) -> str | None:
    """Known before it is signed where the graph fixes all of it, or where the graph begins with it."""
    if best.tx is not None and (best.is_whole or graph.txs[name].is_complete):
        return best.tx.txid_hex
    made = [source.outpoint for source in graph.sources.values() if source.name.partition(".")[0] == name]
    return made[0].txid[::-1].hex() if made and best.tx is None else None


def _vsize(declared: GraphTx | None, best: Best) -> int | None:
    """vB; before it is signed, where every input takes one signature and nothing is left open."""
    if best.tx is not None and best.is_whole:
        return best.tx.vsize
    fixed = declared is not None and declared.is_complete and all(i.leaf != ANY_LEAF for i in declared.inputs)
    return signed_vsize(declared) if declared is not None and fixed else None


def _fee(graph: Graph, best: Best) -> int | None:
    """sat, where every input is an output of the graph."""
    if best.tx is None or not best.is_whole:
        return None
    known = {source.outpoint: source.output.amount for source in graph.sources.values()}
    if not all(txin.outpoint in known for txin in best.tx.inputs):
        return None
    return sum(known[txin.outpoint] for txin in best.tx.inputs) - sum(out.amount for out in best.tx.outputs)


def _open_parts(declared: GraphTx | None, best: Best) -> list[str]:
    """What whoever completes the transaction adds."""
    if declared is None or best.is_whole:
        return []
    coins = [f"coins of {_the(field.signer)}" for field in declared.template.fields if isinstance(field, Coins)]
    return coins + [f"outputs for {_the(field.to)}" for field in declared.template.fields if isinstance(field, Free)]


def _the(party: Party) -> str:
    return party if party is Party.ANYONE else f"the {party}"


def _inputs(item: Kept, declared: GraphTx | None, best: Best) -> Iterator[Json]:
    entries: Mapping[OutPoint, GraphInput] = (
        {entry.source.outpoint: entry for entry in declared.inputs} if declared is not None else {}
    )
    for txin in best.tx.inputs if best.tx else ():
        entry = entries.get(txin.outpoint)
        yield _input(txin) | (_declared(item, declared, entry, txin) if declared and entry else {"name": None})


def _input(txin: TxIn) -> Json:
    return {
        "outpoint": str(txin.outpoint),
        "sequence": txin.sequence,
        "witness": [shown.script(part) for part in txin.witness[: shown.MAX_LEAVES]],
        "witness_items": len(txin.witness),
    }


def _declared(item: Kept, declared: GraphTx, entry: GraphInput, txin: TxIn) -> Json:
    connector = entry.source.connector
    return {
        "name": entry.name,
        "spends": entry.source.name,
        "amount": entry.source.output.amount,
        "leaf": entry.leaf,
        "wait": entry.wait,
        "signer": entry.signer,
        "sighash": entry.sighash.name,
        "signature": _signature(item, declared, entry),
        **(_spent_leaf(connector, entry.leaf, txin) if connector else {}),
    }


def _spent_leaf(connector: Connector, name: str, txin: TxIn) -> Json:
    """The leaf that an input spends by; an open one is named when the transaction is made."""
    if name == ANY_LEAF and len(txin.witness) > 1:
        shown_hash = taproot.leaf_hash(txin.witness[-2])
        name = next((leaf for leaf in connector.tree.names if connector.tree.leaf_hash(leaf) == shown_hash), name)
    if name == ANY_LEAF:
        return {"leaves": _leaves(connector)}
    script, control = connector.script_path(name)
    return {
        "leaf": name,
        "script": shown.script(script),
        "leaf_hash": connector.tree.leaf_hash(name).hex(),
        "control_block": shown.script(control),
    }


def _signature(item: Kept, declared: GraphTx, entry: GraphInput) -> str | None:
    """In hex, where it was made at set-up."""
    if declared.name == PegIn.__name__:
        return item.peg_in.hex() if item.peg_in else None
    found = item.bundle.signatures.get((declared.name, entry.name)) if item.bundle else None
    return found.hex() if found else None


def _outputs(setup: InstanceSetup, name: str, tx: Transaction | None) -> Iterator[Json]:
    """Outputs with the names that the graph has for them; those it does not know are change, or a reward."""
    own = [source for source in setup.graph.sources.values() if source.name.partition(".")[0] == name]
    outputs = {source.outpoint.vout: source.output for source in own} if tx is None else dict(enumerate(tx.outputs))
    known = {(source.outpoint.vout, source.output): source for source in own}
    for index, out in outputs.items():
        yield _output(out, index, known.get((index, out)), setup.deposit.request.params.network)


def _output(out: TxOut, index: int, source: Source | None, network: Network) -> Json:
    connector = source.connector if source else None
    return {
        "index": index,
        "name": source.name.partition(".")[2] if source else None,
        "amount": out.amount,
        "script": shown.script(out.script_pubkey),
        "address": _address(out, network),
        "leaves": _leaves(connector) if connector else None,
    }


def _address(out: TxOut, network: Network) -> str | None:
    if out == ANCHOR or out.script_pubkey[:1] == OP_RETURN:
        return None
    try:
        return address(out.script_pubkey, network)
    except BadInput:
        return None


def _leaves(connector: Connector) -> Json:
    """Names, sizes (bytes) and waits (blocks) of the first leaves, and how many there are."""
    waits = {leaf.name: leaf.wait for leaf in connector.named}
    names = connector.tree.names
    first = [
        {"name": shown.cut(name), "size": connector.tree.size(name), "wait": waits.get(name, 0)}
        for name in names[: shown.MAX_LEAVES]
    ]
    return {"count": len(names), "size": sum(map(connector.tree.size, names)), "first": first}
