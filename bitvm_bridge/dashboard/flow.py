"""Where every transaction and output of a graph stands: what has confirmed, what can be sent, what never will be.

The same reading of the chain as `status.status`, for all transactions and not only those that are possible.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bitvm_bridge import status
from bitvm_bridge.graph import Graph, GraphTx, Source
from bitvm_bridge.protocol import DEPOSIT_TEMPLATES, INSTANCE_TEMPLATES, KickOff, Party, PegIn, PegOut, Template
from bitvm_bridge.protocol.template import Spend
from bitvm_bridge.transaction import OutPoint, Transaction
from bitvm_bridge.watch.history import VAULT, Confirmed, History
from bitvm_bridge.watch.machine import Event


class Stand(StrEnum):
    """How far a transaction is."""

    CONFIRMED = "confirmed"
    PENDING = "pending"
    """It waits in the mempool."""
    READY = "ready"
    """The next block may have it."""
    WAITING = "waiting"
    """Its inputs are there, a lock of one of them has not passed."""
    LATER = "later"
    """Another transaction comes first."""
    IMPOSSIBLE = "impossible"
    """An output that it spends is gone."""
    UNKNOWN = "unknown"
    """The chain has not been read."""


OTHER: Final = "another transaction"
ORDER: Final = tuple(Stand)
"""Of several transactions of one kind, the first of these states speaks for all."""


@dataclass(frozen=True)
class Seen:
    """A transaction on the chain: its name in the graph, or what it did to it."""

    name: str
    tx: Transaction
    height: int


@dataclass(frozen=True)
class Facts:
    """What a chain and its mempool say about one graph. `pending` has transactions of the mempool by name."""

    next_block: int
    unspent: Mapping[OutPoint, int]
    spent: Mapping[OutPoint, Seen]
    confirmed: Mapping[str, Seen]
    pending: Mapping[str, Transaction]


@dataclass(frozen=True)
class Standing:
    """A transaction's state, the block that has it or the first that may (where known), and why, in words."""

    stand: Stand
    block: int | None = None
    reason: str = ""


def wallet_made(graph: Graph) -> list[type[Template]]:
    """The transactions that wallets make from their own coins: the graph knows at most what they leave behind."""
    templates = [*DEPOSIT_TEMPLATES, *(INSTANCE_TEMPLATES if graph.instance is not None else ())]
    return [template for template in templates if not any(isinstance(item, Spend) for item in template.fields)]


def sender(graph: Graph, name: str) -> Party:
    """Who has a reason to send a transaction."""
    if name in graph.txs:
        return graph.txs[name].template.sender
    return next(template.sender for template in wallet_made(graph) if template.__name__ == name)


def gather(history: History, seen: Iterable[Confirmed], pending: Mapping[str, Transaction], next_block: int) -> Facts:
    """The facts about a history's graph; `seen` is what the history was read from."""
    known = {source.outpoint for source in history.graph.sources.values()}
    spent: dict[OutPoint, Seen] = {}
    confirmed: dict[str, Seen] = {}
    for item in seen:
        found = Seen(_name(history, item), item.tx, item.place.height)
        confirmed[found.name] = found
        spent |= {txin.outpoint: found for txin in item.tx.inputs if txin.outpoint in known}
    return Facts(next_block, history.unspent, spent, confirmed, pending)


def _name(history: History, item: Confirmed) -> str:
    """Its name in the graph, or its events where it does what no transaction of the graph does."""
    events = [str(happened.event) for happened in history.events if happened.confirmed == item]
    name = status.identify(history.graph, item.tx)
    if name != status.OTHER:
        declared = history.graph[name].template.__name__
        if declared in events or declared not in list(Event):
            return name
    return next((event for event in events if _is_declared(history.graph, event)), ", ".join(events)) or OTHER


def _is_declared(graph: Graph, name: str) -> bool:
    return name in graph.txs or any(template.__name__ == name for template in wallet_made(graph))


def standings(graph: Graph, facts: Facts | None) -> dict[str, Standing]:
    """The state of every transaction by name, in the order of the graph; without facts all are unknown."""
    wallets = [template.__name__ for template in wallet_made(graph)]
    if facts is None:
        return {name: Standing(Stand.UNKNOWN) for name in (*wallets, *graph.txs)}
    found = {name: _happened(name, facts) or Standing(Stand.READY) for name in wallets}
    for item in graph.txs.values():
        found[item.name] = _happened(item.name, facts) or _standing(item, facts, found)
    if found.get(PegOut.__name__) == Standing(Stand.READY):
        found[PegOut.__name__] = _peg_out(graph, facts, found)
    return found


def _happened(name: str, facts: Facts) -> Standing | None:
    if name in facts.confirmed:
        return Standing(Stand.CONFIRMED, facts.confirmed[name].height)
    return Standing(Stand.PENDING, facts.next_block) if name in facts.pending else None


def _standing(item: GraphTx, facts: Facts, others: Mapping[str, Standing]) -> Standing:
    named = {entry.source.name: entry.source for entry in item.inputs}
    # An assertion may come in parts: what one has revealed does not keep the next from coming.
    sources = [source for source in named.values() if not _is_part(facts.spent.get(source.outpoint), item)]
    if gone := next((reason for source in sources if (reason := _gone(source, facts, others))), ""):
        return Standing(Stand.IMPOSSIBLE, reason=gone)
    missing = dict.fromkeys(maker(source) for source in sources if source.outpoint not in facts.unspent)
    if missing:
        return Standing(Stand.LATER, reason=f"after {' and '.join(missing)}")
    start = status.first_block([entry for entry in item.inputs if entry.source in sources], facts.unspent)
    first = item.template.after
    if first is None or first.__name__ in facts.confirmed:
        return Standing(Stand.READY if start <= facts.next_block else Stand.WAITING, start)
    if others[first.__name__].stand is Stand.IMPOSSIBLE:
        return Standing(Stand.IMPOSSIBLE, reason=f"{first.__name__} cannot happen")
    return Standing(Stand.LATER, start, f"after {first.__name__}")


def _is_part(spender: Seen | None, item: GraphTx) -> bool:
    return spender is not None and spender.name == Event.ASSERT_PART and item.name == Event.ASSERT


def _gone(source: Source, facts: Facts, others: Mapping[str, Standing]) -> str:
    """Why an output will never be there to spend; empty where it may."""
    if (spender := facts.spent.get(source.outpoint)) is not None:
        return f"{source.name} was spent by {spender.name} in block {spender.height:,}"
    if source.outpoint in facts.unspent or others[maker(source)].stand is not Stand.IMPOSSIBLE:
        return ""
    return f"{maker(source)} cannot happen"


def _peg_out(graph: Graph, facts: Facts, others: Mapping[str, Standing]) -> Standing:
    """A payment counts between the vault and the claim; nothing in a script says so."""
    if (claim := facts.confirmed.get(KickOff.__name__)) is not None:
        return Standing(Stand.IMPOSSIBLE, reason=f"too late: KickOff confirmed in block {claim.height:,}")
    if gone := _gone(graph.source(VAULT), facts, others):
        return Standing(Stand.IMPOSSIBLE, reason=gone)
    if graph.vault not in facts.unspent:
        return Standing(Stand.LATER, reason=f"after {PegIn.__name__}")
    return Standing(Stand.READY)


def maker(source: Source) -> str:
    """The transaction that an output belongs to."""
    return source.name.partition(".")[0]


@dataclass(frozen=True)
class Window:
    """The blocks in which a transaction may and should confirm: from `start` on, and before `deadline`."""

    name: str
    sender: Party
    start: int
    deadline: int | None


def windows(graph: Graph, base: str, height: int) -> Iterator[Window]:
    """The windows of everything that spends an output of `base`, were it confirmed at `height`, in order of time.

    Each on the branch on which it would be sent, whatever has happened: what the locks say, not what is still possible.
    Of transactions that there are several of, the first stands for all.
    """
    first = {item.template: item for item in reversed(graph.txs.values())}
    spenders = (item for item in first.values() if any(maker(entry.source) == base for entry in item.inputs))
    duties = [_branch(graph, item, height) for item in spenders]
    for duty in sorted(duties, key=lambda duty: (duty.start, duty.deadline is None, duty.deadline or 0)):
        yield Window(duty.name, duty.sender, duty.start, duty.deadline)


def _branch(graph: Graph, item: GraphTx, height: int) -> status.Duty:
    """When a transaction could be sent if all that must come before it, and nothing else, had happened."""
    before, gone = item.template.after, set[OutPoint]()
    while before is not None:
        gone |= {entry.source.outpoint for entry in graph[before.__name__].inputs}
        before = before.after
    made = {source.outpoint: height for source in graph.sources.values() if source.outpoint not in gone}
    return next(duty for duty in status.duties(graph, made, set(graph.txs)) if duty.name == item.name)
