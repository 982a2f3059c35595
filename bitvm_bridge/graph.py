"""From a deposit, an instance or a contract to its transactions: pure, deterministic, offline.

Every txid is known here before anyone signs, and every list of "who signs what" is read off the declarations in
`protocol`.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from bitvm_bridge import taproot
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import DUST
from bitvm_bridge.protocol import (
    DEPOSIT_TEMPLATES,
    INSTANCE_TEMPLATES,
    ClaimFunding,
    Deposit,
    Instance,
    Party,
    PegInDeposit,
    Template,
    check_exit,
)
from bitvm_bridge.protocol.template import (
    ANY_LEAF,
    Anchor,
    Coins,
    Connector,
    Free,
    Output,
    OutputField,
    Pay,
    Rest,
    Spend,
)
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut

ANCHOR: Final = TxOut(0, bytes.fromhex("51024e73"))
"""Pay-to-anchor: anyone may spend it, and a child that does pays the parent's fee."""


@dataclass(frozen=True)
class Source:
    """An output that the graph can spend; `connector` is None where a wallet key spends it."""

    name: str
    outpoint: OutPoint
    output: TxOut
    connector: Connector | None


@dataclass(frozen=True)
class GraphInput:
    """One input of a transaction: what it spends, by which leaf, and who signs it how."""

    name: str
    source: Source
    leaf: str
    signer: Party | None
    sighash: SigHash
    locked: bool = False

    @property
    def wait(self) -> int:
        """Blocks after the spent output's confirmation before the input is valid (BIP68); 0 for none."""
        if self.source.connector is None or self.source.connector.key is not None or self.leaf == ANY_LEAF:
            return 0
        return self.source.connector.leaf(self.leaf).wait

    @property
    def sequence(self) -> int:
        """nSequence, as the leaf demands."""
        return self.wait or SEQUENCE_RBF

    def witness(self, items: Sequence[bytes], leaf: str | None = None) -> tuple[bytes, ...]:
        """The whole witness of a spend with these items; `leaf` names the leaf where the input leaves it open."""
        if self.source.connector is None or self.source.connector.key is not None:
            return tuple(items)
        return (*items, *self.source.connector.script_path(leaf or self.leaf))


@dataclass(frozen=True)
class GraphTx:
    """A transaction as far as the graph fixes it: unsigned, without wallet coins, change or reward."""

    name: str
    template: type[Template]
    tx: Transaction
    inputs: tuple[GraphInput, ...]
    outputs: Mapping[str, int]

    @property
    def spent(self) -> list[TxOut]:
        """The outputs that its inputs spend, in order."""
        return [item.source.output for item in self.inputs]

    @property
    def is_complete(self) -> bool:
        """Does the graph fix all of it, so that its txid is known now?"""
        return not any(isinstance(item, Coins | Free) for item in self.template.fields)

    def index(self, name: str) -> int:
        """Position of an input by name. Raises BadInput."""
        for position, item in enumerate(self.inputs):
            if item.name == name:
                return position
        raise BadInput(f"{self.name} input", name, f"one of {', '.join(item.name for item in self.inputs)}")

    def digest(self, name: str, tx: Transaction | None = None, spent: Sequence[TxOut] | None = None) -> bytes:
        """The 32 bytes that the signer of an input signs; `tx` and `spent` where coins or outputs were added."""
        position = self.index(name)
        item = self.inputs[position]
        connector = item.source.connector
        leaf = None if connector is None or connector.key is not None else connector.tree.leaf_hash(item.leaf)
        return taproot.sighash(tx or self.tx, position, spent or self.spent, item.sighash, leaf)

    def completed(self, coins: Iterable[TxIn] = (), outputs: Iterable[TxOut] = ()) -> Transaction:
        """The transaction with wallet coins and free outputs behind what the graph fixes."""
        return Transaction(self.tx.version, (*self.tx.inputs, *coins), (*self.tx.outputs, *outputs), self.tx.lock_time)


class TransactionGraph:
    """Transactions by name, each made of declarations and of what they are told about the case at hand."""

    def __init__(self) -> None:
        self.sources: dict[str, Source] = {}
        self._fields: dict[OutputField, list[Source]] = {}
        self.txs: dict[str, GraphTx] = {}

    def __getitem__(self, name: str) -> GraphTx:
        """A transaction by name. Raises BadInput."""
        if name not in self.txs:
            raise BadInput("transaction", name, f"one of {', '.join(self.txs)}")
        return self.txs[name]

    def source(self, name: str) -> Source:
        """An output by name, such as `KickOff.bond`. Raises BadInput."""
        if name not in self.sources:
            raise BadInput("output", name, f"one of {', '.join(self.sources)}")
        return self.sources[name]

    def presigned(self) -> Iterator[GraphTx]:
        """The transactions that are signed at set-up, in the order in which one spends another."""
        return (item for item in self.txs.values() if item.template.presigned)

    def _add(self, template: type[Template], context: object, known: OutPoint | None) -> None:
        if not any(isinstance(item, Spend) for item in template.fields):
            if known is not None:
                self._add_wallet_made(template, context, known)
            return
        repeats: Iterable[int | None] = [None]
        if template.indexed is not None and not self._is_sole(template.indexed):
            repeats = range(len(self._fields[template.indexed]))
        for index in repeats:
            self._add_transaction(template, context, index)

    def _add_wallet_made(self, template: type[Template], context: object, known: OutPoint) -> None:
        """A transaction made from coins alone: the graph knows only its first outputs, which it spends."""
        item = next(template.outputs())
        made = _make_outputs(item, context)
        places = {entry.name: OutPoint(known.txid, known.vout + place) for place, entry in enumerate(made)}
        self._register(template.__name__, item, made, places.__getitem__)

    def _add_transaction(self, template: type[Template], context: object, index: int | None) -> None:
        name = template.__name__ if index is None else f"{template.__name__}_{index}"
        spends = (item for item in template.inputs() if isinstance(item, Spend))
        inputs = tuple(entry for item in spends for entry in self._inputs(item, index))
        made = {item: _make_outputs(item, context) for item in template.outputs() if not isinstance(item, Free)}
        rest = sum(entry.source.output.amount for entry in inputs)
        rest -= sum(entry.output.amount for entries in made.values() for entry in entries)
        if rest < 0 and not any(isinstance(item, Coins) for item in template.fields):
            raise BadInput(f"{name} outputs", f"{-rest} sat more than its inputs", "at most what its inputs bring")
        made = {item: [entry.settled(rest) for entry in entries] for item, entries in made.items()}
        flat = [entry for entries in made.values() for entry in entries]
        tx = Transaction(
            template.version,
            tuple(TxIn(entry.source.outpoint, entry.sequence) for entry in inputs),
            tuple(entry.output for entry in flat),
            template.lock_time(context),
        )
        positions = {entry.name: position for position, entry in enumerate(flat)}
        self.txs[name] = GraphTx(name, template, tx, inputs, positions)
        txid = tx.txid
        for item, entries in made.items():
            self._register(name, item, entries, lambda field: OutPoint(txid, positions[field]))

    def _inputs(self, item: Spend, index: int | None) -> Iterator[GraphInput]:
        sources = self._fields[item.source]
        many = isinstance(item.source, Output) and item.source.many is not None and not self._is_sole(item.source)
        for position, source in enumerate(sources):
            if item.each or not many or position == index:
                name = f"{item.name}_{position}" if many else item.name
                yield GraphInput(name, source, item.leaf, item.signer, item.sighash, item.locked)

    def _is_sole(self, item: OutputField) -> bool:
        """Is this the one output of a field that may have several?"""
        return isinstance(item, Output) and item.own is not None and len(self._fields[item]) == 1

    def _register(
        self, tx: str, item: OutputField, made: Iterable["_Made"], outpoint: Callable[[str], OutPoint]
    ) -> None:
        sources = [Source(f"{tx}.{entry.name}", outpoint(entry.name), entry.output, entry.connector) for entry in made]
        if isinstance(item, Output) and item.own is not None:
            sources = self._own(item, sources)
            if len(sources) == 1:
                sources = [replace(sources[0], name=f"{tx}.{item.name}")]
        self._fields[item] = sources
        self.sources.update((source.name, source) for source in sources)

    def _own(self, item: Output, sources: list[Source]) -> list[Source]:
        """Those outputs of a field that may have several which this graph knows."""
        del item
        return sources


class Graph(TransactionGraph):
    """The transactions of one deposit, and of one instance of it where there is one."""

    def __init__(self, deposit: Deposit, deposit_outpoint: OutPoint, instance: Instance | None = None) -> None:
        """Raises BadInput where a transaction would pay out more than it takes in."""
        super().__init__()
        self.deposit = deposit
        self.instance = instance
        known: dict[type[Template], OutPoint] = {PegInDeposit: deposit_outpoint}
        for template in DEPOSIT_TEMPLATES:
            self._add(template, deposit, known.get(template))
        if instance is not None:
            known[ClaimFunding] = instance.claim
            for template in INSTANCE_TEMPLATES:
                self._add(template, instance, known.get(template))

    @cached_property
    def vault(self) -> OutPoint:
        """The outpoint of the vault: fixed as soon as the deposit is."""
        return self.exit(self.instance.exit if self.instance else 0)

    def exit(self, number: int) -> OutPoint:
        """The outpoint of one of the deposit's vault outputs. Raises BadInput."""
        return self["PegIn"].tx.outpoint(check_exit(self.deposit.params, number))

    def owed(self, party: Party = Party.COMMITTEE) -> dict[tuple[str, str], bytes]:
        """(transaction, input) → digest of every signature that `party` owes at set-up for this instance.

        PegIn is not among them: it belongs to the deposit and is signed when every instance of it verifies.
        """
        owed = {}
        for item in self.txs.values():
            if item.template in DEPOSIT_TEMPLATES:
                continue
            at_setup = item.template.presigned if party is Party.COMMITTEE else item.name == "Challenge"
            for entry in item.inputs:
                if at_setup and entry.signer is party:
                    owed[item.name, entry.name] = item.digest(entry.name)
        return owed

    def _own(self, item: Output, sources: list[Source]) -> list[Source]:
        if item.own is None or self.instance is None:
            return sources
        return [sources[item.own(self.instance)]]


@dataclass(frozen=True)
class _Made:
    """An output before its transaction exists; `takes_rest` where its amount is what the others leave."""

    name: str
    output: TxOut
    connector: Connector | None = None
    takes_rest: bool = False

    def settled(self, rest: int) -> "_Made":
        return replace(self, output=replace(self.output, amount=rest)) if self.takes_rest else self


def _make_outputs(item: OutputField, context: object) -> list[_Made]:
    match item:
        case Anchor():
            return [_Made(item.name, ANCHOR)]
        case Pay():
            amount = 0 if isinstance(item.amount, Rest) else item.amount(context)
            if item.unless_dust and amount < DUST:
                return []
            return [_Made(item.name, TxOut(amount, item.to(context)), takes_rest=isinstance(item.amount, Rest))]
        case Output(many=None):
            return [_from_connector(item.name, item.connector(context))]
        case Output(many=many) if many is not None:
            made = [item.connector(context, index) for index in range(many(context))]
            if item.own is not None and len(made) == 1:
                return [_from_connector(item.name, made[0])]
            return [_from_connector(f"{item.name}_{index}", connector) for index, connector in enumerate(made)]
    raise TypeError(f"{item.name}: no such kind of output")


def _from_connector(name: str, connector: Connector) -> _Made:
    return _Made(name, TxOut(connector.amount, connector.script_pubkey), connector)
