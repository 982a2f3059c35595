"""The transactions that this party made and whose fate is not final yet: found in the store, looked up on a node."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import ANCHOR
from bitvm_bridge.protocol import DEPOSIT_TEMPLATES, INSTANCE_TEMPLATES, Template
from bitvm_bridge.protocol.template import Anchor
from bitvm_bridge.store import Kept, Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut

MIN_PREFIX: Final = 8
"""hex digits that an abbreviated txid must have."""
TEMPLATES: Final = {template.__name__: template for template in (*DEPOSIT_TEMPLATES, *INSTANCE_TEMPLATES)}


@dataclass(frozen=True)
class Pending:
    """A transaction of a deposit or instance, in every version that was made of it, oldest first.

    One with an anchor has one version as a rule and several children, of which any one may confirm; the others have
    no children and several versions, of which one at most can confirm.
    """

    owner: bytes
    name: str
    versions: tuple[Transaction, ...]
    children: tuple[Transaction, ...]
    sent: bool

    @property
    def tx(self) -> Transaction:
        """The newest version."""
        return self.versions[-1]

    @property
    def child(self) -> Transaction | None:
        """The newest child of the newest version."""
        return self.children[-1] if self.children else None

    @property
    def template(self) -> type[Template]:
        """Its declaration in the protocol."""
        return TEMPLATES[self.name.partition("_")[0]]

    @property
    def is_parent(self) -> bool:
        """Does a child pay for it?"""
        return any(isinstance(item, Anchor) for item in self.template.fields)

    @property
    def anchor(self) -> OutPoint:
        """What a child of the newest version spends."""
        return self.tx.outpoint(self.tx.outputs.index(ANCHOR))

    def __str__(self) -> str:
        return f"{self.name} of {self.owner.hex()[:12]}"


def pending(store: Store) -> list[Pending]:
    """Everything of the bridge whose fate is not final, oldest first; contracts are looked after by whoever sends."""
    groups: dict[tuple[bytes, str], list[Kept]] = {}
    for kept in store.unsettled():
        groups.setdefault((kept.owner, kept.name), []).append(kept)
    return [
        _gather(owner, name, group)
        for (owner, name), group in groups.items()
        if name.partition("_")[0] in TEMPLATES
        and any(kept.parent is None for kept in group)
        and any(store.get(kind, owner) is not None for kind in (records.INSTANCE, records.DEPOSIT))
    ]


def _gather(owner: bytes, name: str, group: list[Kept]) -> Pending:
    versions = [kept for kept in group if kept.parent is None]
    newest = versions[-1].tx.txid
    children = tuple(kept.tx for kept in group if kept.parent == newest)
    return Pending(owner, name, tuple(kept.tx for kept in versions), children, any(kept.sent for kept in group))


def find(store: Store, text: str, owner: str = "") -> Pending:
    """The one that has this name, or a version or child with a txid that begins so; `owner` begins its owner's id.

    Raises BadInput for none or several.
    """
    known = pending(store)
    matches = [item for item in known if item.owner.hex().startswith(owner.lower()) and _is_meant(item, text)]
    if len(matches) != 1:
        listed = ", ".join(map(str, known)) or "none"
        expected = "the name or txid of one transaction that was made here and may still change"
        raise BadInput("transaction", text, f"{expected} (they are: {listed})")
    return matches[0]


def _is_meant(item: Pending, text: str) -> bool:
    txids = (tx.txid_hex for tx in (*item.versions, *item.children))
    return text == item.name or (len(text) >= MIN_PREFIX and any(txid.startswith(text.lower()) for txid in txids))


@dataclass(frozen=True)
class Confirmed:
    """A transaction in a block."""

    tx: Transaction
    height: int


def resolve(item: Pending, node: Node) -> Confirmed | None:
    """The transaction that confirmed in its place: a version of it, or another that spends one of its inputs.

    None while its fate is open. Blocks are searched only where an output is known to be spent in one.
    """
    gone = [outpoint for outpoint in outpoints(item.versions) if node.output(outpoint) is None]
    for tx in item.versions if gone else ():
        for index in range(len(tx.outputs)):
            if (output := node.output(tx.outpoint(index))) is not None:
                return Confirmed(tx, output.height)
    for outpoint in gone:
        if (found := node.spender(outpoint)) is not None:
            return Confirmed(*found)
    return None


def outpoints(transactions: tuple[Transaction, ...]) -> Iterator[OutPoint]:
    """What they spend, each once, the newest transaction's first."""
    return iter(dict.fromkeys(txin.outpoint for tx in reversed(transactions) for txin in tx.inputs))


def spent_outputs(tx: Transaction, node: Node, parent: Transaction | None = None) -> list[TxOut] | None:
    """The outputs that an unconfirmed transaction spends, each in a block or of `parent`; None where one is neither."""
    made = {} if parent is None else {parent.outpoint(index): out for index, out in enumerate(parent.outputs)}
    spent = []
    for txin in tx.inputs:
        coin = node.output(txin.outpoint)
        output = coin.output if coin is not None else made.get(txin.outpoint)
        if output is None:
            return None
        spent.append(output)
    return spent
