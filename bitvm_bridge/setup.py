"""The public inputs of deposits and instances: what every party must agree on, as values and as JSON.

A graph is rebuilt from these alone; nothing that a counterparty computed is taken on trust.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Protocol, Self, TypeVar

from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import Graph
from bitvm_bridge.params import Params
from bitvm_bridge.program import Checks, Program, ProgramSpec, Value, check_keys, parse_program
from bitvm_bridge.protocol import Deposit, Instance, Request, check_exit, instance_id
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import OutPoint
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import ScriptError

VERSION: Final = 1


class MemberDocument(Document, frozen=True):
    """A committee member: name and compressed public key in hex."""

    name: str
    key: str


class DepositDocument(Document, frozen=True):
    """The public inputs of a deposit."""

    version: int
    params: dict[str, Any]
    depositor: str
    receiver: str
    members: list[MemberDocument]
    outpoint: str


class InstanceDocument(Document, frozen=True):
    """The public inputs of an instance; `keys` holds the Winternitz public key of every value in hex."""

    version: int
    deposit: DepositDocument
    operator: str
    claim: str
    program: str
    keys: list[str]
    exit: int = 0


@dataclass(frozen=True)
class DepositSetup:
    """A deposit: what was asked, who confirms it, and where the money is."""

    request: Request
    committee: Committee
    outpoint: OutPoint

    @cached_property
    def deposit(self) -> Deposit:
        """The deposit under the committee's aggregate key."""
        return Deposit(self.request, self.committee.key)

    @cached_property
    def graph(self) -> Graph:
        """PegIn and PegInRefund."""
        return Graph(self.deposit, self.outpoint)

    def document(self) -> DepositDocument:
        """As JSON carries it."""
        return DepositDocument(
            VERSION,
            self.request.params.to_json(),
            self.request.depositor.hex(),
            self.request.receiver.hex(),
            [MemberDocument(name, key.hex()) for name, key in self.committee.members],
            str(self.outpoint),
        )

    @classmethod
    def from_document(cls, document: DepositDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        _check_version(document.version)
        params = Params.from_json(document.params)
        request = Request(
            params, from_hex("depositor key", document.depositor, 32), from_hex("receiver", document.receiver)
        )
        members = tuple(
            (item.name, from_hex(f"key of member {item.name!r}", item.key, 33)) for item in document.members
        )
        return cls(request, Committee(members), OutPoint.parse(document.outpoint, "deposit outpoint"))


@dataclass(frozen=True)
class InstanceSetup:
    """One operator's instance of a deposit: it claims the vault output of this exit."""

    deposit: DepositSetup
    operator: bytes
    claim: OutPoint
    spec: ProgramSpec
    keys: tuple[winternitz.PublicKey, ...]
    exit: int = 0

    def __post_init__(self) -> None:
        check_exit(self.deposit.request.params, self.exit)
        check_keys(self.keys, self.spec.values)

    @cached_property
    def id(self) -> bytes:
        """The instance id (32 bytes)."""
        return bind(self.deposit, self.operator, self.spec, self.exit)

    @cached_property
    def program(self) -> Program:
        """The program under this instance id."""
        return self.spec.specialise(self.id)

    @cached_property
    def checks(self) -> Checks:
        """The leaves of the disprove connector."""
        return Checks(self.program, self.keys)

    @cached_property
    def instance(self) -> Instance:
        """What the graph is built from."""
        return Instance(
            deposit=self.deposit.deposit,
            deposit_outpoint=self.deposit.outpoint,
            operator=self.operator,
            claim=self.claim,
            program=str(self.spec),
            assertion=split_bundles(self.keys),
            checks=self.checks,
            id=self.id,
            exit=self.exit,
        )

    @cached_property
    def graph(self) -> Graph:
        """Every transaction of the deposit and of this instance."""
        return Graph(self.deposit.deposit, self.deposit.outpoint, self.instance)

    def adopt(self, graph: Graph) -> None:
        """Take a graph of this instance that was made elsewhere, in place of making it."""
        self.__dict__["graph"] = graph

    def document(self) -> InstanceDocument:
        """As JSON carries it."""
        keys = [key.serialize().hex() for key in self.keys]
        return InstanceDocument(
            VERSION, self.deposit.document(), self.operator.hex(), str(self.claim), str(self.spec), keys, self.exit
        )

    def to_json(self) -> bytes:
        """The document as JSON text."""
        return encode(self.document())

    @classmethod
    def from_document(cls, document: InstanceDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        _check_version(document.version)
        spec = parse_program(document.program)
        return cls(
            DepositSetup.from_document(document.deposit),
            from_hex("operator key", document.operator, 32),
            OutPoint.parse(document.claim, "claim"),
            spec,
            parse_keys(document.keys, spec.values),
            document.exit,
        )

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """From JSON text. Raises BadInput."""
        return cls.from_document(decode(raw, InstanceDocument, "instance"))


def bind(deposit: DepositSetup, operator: bytes, spec: ProgramSpec, exit_number: int = 0) -> bytes:
    """The id of the instance that this operator has on an exit of a deposit; known before its one-time keys are."""
    return instance_id(deposit.request.params, deposit.graph.exit(exit_number), operator, str(spec))


class HasBits(Protocol):
    """A one-time key, or the value that it is to sign."""

    @property
    def bits(self) -> int:
        """Of the message."""


K = TypeVar("K", bound=HasBits)


def split_bundles(keys: Sequence[K]) -> tuple[tuple[K, ...], ...]:
    """The keys in order, as many to an assert connector as one leaf can check."""
    bundles: list[tuple[K, ...]] = []
    for key in keys:
        if bundles and winternitz.fit_one_leaf([other.bits for other in (*bundles[-1], key)]):
            bundles[-1] += (key,)
        else:
            bundles.append((key,))
    return tuple(bundles)


def parse_keys(texts: Sequence[str], values: Sequence[Value]) -> tuple[winternitz.PublicKey, ...]:
    """Winternitz public keys from hex, one for each committed value. Raises BadInput."""
    if len(texts) != len(values):
        raise BadInput("Winternitz keys", len(texts), f"{len(values)}, one for each committed value")
    pairs = enumerate(zip(texts, values, strict=True))
    return tuple(_parse_key(f"Winternitz key {index}", text, value.bits) for index, (text, value) in pairs)


def _parse_key(field: str, text: str, bits: int) -> winternitz.PublicKey:
    try:
        return winternitz.PublicKey.parse(bits, from_hex(field, text))
    except ScriptError as error:
        raise BadInput(field, text, f"a Winternitz public key ({error})") from None


def _check_version(version: int) -> None:
    if version != VERSION:
        raise BadInput("document version", version, f"version {VERSION}")
