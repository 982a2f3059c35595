"""The rules that make a graph safe, read off the graph itself; each function checks one and names what breaks it."""

from collections.abc import Callable, Iterator
from functools import cache
from typing import Final

from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.graph import ANCHOR, Graph, GraphTx
from bitvm_bridge.params import DUST
from bitvm_bridge.policy import MAX_MINEABLE_WEIGHT, MAX_STANDARD_WEIGHT, MAX_TRUC_VSIZE
from bitvm_bridge.protocol import Party, connectors
from bitvm_bridge.protocol.template import ANY_LEAF, Coins, Free
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import TxOut
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import OP_RETURN

ROOM_FOR_COINS: Final = 2_000
"""WU: eight coins of a wallet and a change output."""
ROOM_FOR_PROOF: Final = 20_000
"""WU of a Disprove without its leaf: 1,500 for the transaction, and a proof of 1,000 items, where of 78 at most 28 are
nodes of 33 bytes and the others numbers of 6."""
ENDINGS: Final = ("HappyTake", "UnhappyTake", "Disprove", "Forfeit", "AssertTimeout_")


def lint(graph: Graph) -> list[str]:
    """Every rule that the graph breaks; empty when it is sound."""
    return [problem for rule in RULES for problem in rule(graph)]


def check(graph: Graph) -> None:
    """Raises VerificationFailed naming the first rule that the graph breaks."""
    if problems := lint(graph):
        raise VerificationFailed(problems[0])


def terminates(graph: Graph) -> Iterator[str]:
    """Every output with a connector can be spent without the committee meeting again: no money gets stuck."""
    spendable = {
        entry.source.name
        for item in graph.txs.values()
        for entry in item.inputs
        if item.template.presigned or entry.signer is not Party.COMMITTEE
    }
    for source in graph.sources.values():
        if source.connector is not None and source.name not in spendable:
            yield f"{source.name}: no pre-signed transaction spends it"


def waits_end(graph: Graph) -> Iterator[str]:
    """The deposit, the vault and the bond each have a way out that only waits: refund, take, forfeit."""
    for name in ("PegInDeposit.deposit", "PegIn.vault", "KickOff.bond"):
        if name not in graph.sources or (name == "PegIn.vault" and graph.instance is None):
            continue
        outs = [item for item in graph.txs.values() for entry in item.inputs if entry.source.name == name]
        if not any(entry.wait for item in outs for entry in item.inputs):
            yield f"{name}: no timelocked path spends it"


def endings_exclude_each_other(graph: Graph) -> Iterator[str]:
    """Every ending spends the bond, so that only one can happen; HappyTake dies with a Challenge."""
    for item in graph.txs.values():
        spends = {entry.source.name for entry in item.inputs}
        if item.name.startswith(ENDINGS) and "KickOff.bond" not in spends:
            yield f"{item.name}: does not spend KickOff.bond"
        if item.name in ("HappyTake", "Challenge") and "KickOff.challenge" not in spends:
            yield f"{item.name}: does not spend KickOff.challenge"
        if item.name in ("UnhappyTake", "Disprove") and "KickOff.disprove" not in spends:
            yield f"{item.name}: does not spend KickOff.disprove"


def committee_commits_to_all_inputs(graph: Graph) -> Iterator[str]:
    """No committee signature may be moved to other inputs, and one that leaves outputs free fixes the burn."""
    for item in graph.txs.values():
        entries = [(position, entry) for position, entry in enumerate(item.inputs) if entry.signer is Party.COMMITTEE]
        for _, entry in entries:
            if entry.sighash.anyone_can_pay:
                yield f"{item.name}.{entry.name}: the committee signs with ANYONECANPAY"
        fixed = {_fixed_output(item, position) for position, _ in entries}
        if item.template.presigned and entries and fixed == {None}:
            yield f"{item.name}: no committee signature fixes an output"


def slashing_burns(graph: Graph) -> Iterator[str]:
    """What the committee fixes of a transaction with free outputs is the burn share, and it goes to the sink."""
    if graph.instance is None:
        return
    burn = TxOut(graph.instance.params.burn, connectors.sink(graph.instance))
    for item in graph.txs.values():
        free = any(isinstance(field, Free) for field in item.template.fields)
        if free and item.template.presigned and item.tx.outputs[:1] != (burn,):
            yield f"{item.name}: output 0, which its signatures fix, is not the burn share to the sink"


def _fixed_output(item: GraphTx, position: int) -> int | None:
    """The output that an input's signature certainly fixes: its own for SINGLE, the first for ALL."""
    mode = item.inputs[position].sighash.output_mode
    if mode is SigHash.SINGLE:
        return position if position < len(item.tx.outputs) else None
    return None if mode is SigHash.NONE or not item.tx.outputs else 0


def amounts_are_sound(graph: Graph) -> Iterator[str]:
    """Nothing is made of nothing, nothing is dust, and a zero-fee parent has an anchor and version 3."""
    for item in graph.txs.values():
        fee = sum(out.amount for out in item.spent) - sum(out.amount for out in item.tx.outputs)
        open_ended = any(isinstance(field, Coins | Free) for field in item.template.fields)
        if not open_ended and fee != 0:
            yield f"{item.name}: pays {fee} sat of fee, expected 0"
        if not open_ended and (ANCHOR not in item.tx.outputs or item.tx.version != 3):
            yield f"{item.name}: a zero-fee parent needs version 3 and an anchor"
        for position, out in enumerate(item.tx.outputs):
            if out != ANCHOR and out.script_pubkey[:1] != OP_RETURN and out.amount < DUST:
                yield f"{item.name} output {position}: {out.amount} sat is dust"


def v3_is_small(graph: Graph) -> Iterator[str]:
    """A version 3 transaction stays under 10,000 vB with its signatures in (BIP431)."""
    for item in graph.txs.values():
        if item.tx.version == 3 and (size := signed_vsize(item)) > MAX_TRUC_VSIZE:
            yield f"{item.name}: {size:,} vB signed, a version 3 transaction may have {MAX_TRUC_VSIZE:,}"


def assertion_relays(graph: Graph) -> Iterator[str]:
    """Assert, with its one-time signatures and the coins that pay for it, stays under the relay limit."""
    item = graph.txs.get("Assert")
    if graph.instance is None or item is None:
        return
    tx = item.tx
    for index, (entry, keys) in enumerate(zip(item.inputs, graph.instance.assertion, strict=True)):
        items = [part for key in keys for part in some_signature(key.bits)]
        tx = tx.with_witness(index, entry.witness([bytes(64), *items]))
    if (weight := tx.weight + ROOM_FOR_COINS) > MAX_STANDARD_WEIGHT:
        yield f"Assert: {weight:,} WU with its coins, the relay limit is {MAX_STANDARD_WEIGHT:,}"


def disproofs_fit_a_block(graph: Graph) -> Iterator[str]:
    """Every check can be shown in a block: a leaf that no miner takes would protect a false claim."""
    item = graph.txs.get("Disprove")
    for entry in item.inputs if item is not None else ():
        if entry.leaf != ANY_LEAF or entry.source.connector is None:
            continue
        tree = entry.source.connector.tree
        for name in tree.names:
            if (weight := tree.size(name) + ROOM_FOR_PROOF) > MAX_MINEABLE_WEIGHT:
                yield f"Disprove by {name}: up to {weight:,} WU, a block takes {MAX_MINEABLE_WEIGHT:,}"


@cache
def some_signature(bits: int) -> list[bytes]:
    """Every one-time signature has the same size."""
    return winternitz.sign(winternitz.derive_secret(bytes(32), bytes(32), 0, bits), bytes(bits // 8))


def signed_vsize(item: GraphTx) -> int:
    """vB of the fixed part with a signature in every input: exact where the graph fixes the whole transaction."""
    tx = item.tx
    for index, entry in enumerate(item.inputs):
        tx = tx.with_witness(index, entry.witness([entry.sighash.append_to(bytes(64))]))
    return tx.vsize


RULES: Final[tuple[Callable[[Graph], Iterator[str]], ...]] = (
    terminates,
    waits_end,
    endings_exclude_each_other,
    committee_commits_to_all_inputs,
    slashing_burns,
    amounts_are_sound,
    v3_is_small,
    assertion_relays,
    disproofs_fit_a_block,
)
