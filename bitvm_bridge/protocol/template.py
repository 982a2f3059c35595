"""How a transaction is declared: a class whose fields are its inputs and outputs, in order.

    class HappyTake(Template):
        vault = Spend(PegIn.vault, leaf="covenant", signer=Party.COMMITTEE)
        payout = Pay(to=operator_wallet, amount=REST)

Everything else (the unsigned transaction, who signs what, sizes, the diagram) is derived from these fields.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final, Protocol

from bitvm_bridge.taproot import HashedLeaf, ScriptTree, SigHash, p2tr


class Party(StrEnum):
    """Who signs, pays or is paid."""

    DEPOSITOR = "depositor"
    COMMITTEE = "committee"
    OPERATOR = "operator"
    WITHDRAWER = "withdrawer"
    CHALLENGER = "challenger"
    OFFERER = "offerer"
    ACCEPTER = "accepter"
    ORACLE = "oracle"
    PAIR = "offerer and accepter"
    TRIO = "offerer, accepter and oracle"
    ANYONE = "anyone"


class LeafSource(Protocol):
    """A stream of leaves too large to keep: one by one, or a single one by name."""

    def leaves(self) -> Iterable[tuple[str, bytes | HashedLeaf]]:
        """(name, script, or its hash) of every leaf, always in the same order."""

    def leaf(self, name: str) -> bytes:
        """The script of one leaf. Raises BadInput for an unknown name."""


@dataclass(frozen=True)
class Leaf:
    """One way to spend an output: its script, and the blocks it must wait after the output confirms (0: none)."""

    name: str
    script: bytes
    wait: int = 0


@dataclass(frozen=True)
class Connector:
    """An output that the graph spends: its value (sat), its named leaves, and a stream of further ones.

    The internal key is the NUMS point, so that there is no key path. Or there is nothing else: where `key` is set it
    is the output key, and spends by whatever leaf are key path spends. Only a MuSig2 key may be one: no member of it
    can have hidden a script in it (BIP341, note 23).
    """

    amount: int
    named: tuple[Leaf, ...]
    stream: LeafSource | None = None
    key: bytes | None = None
    tree: ScriptTree = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        near = [(leaf.name, leaf.script) for leaf in self.named]
        tree = ScriptTree(near) if self.stream is None else ScriptTree(self.stream.leaves(), near)
        object.__setattr__(self, "tree", tree)

    @property
    def script_pubkey(self) -> bytes:
        """The P2TR script (34 bytes)."""
        return self.tree.script_pubkey() if self.key is None else p2tr(self.key)

    def leaf(self, name: str) -> Leaf:
        """A leaf by name. Raises BadInput for an unknown one."""
        for leaf in self.named:
            if leaf.name == name:
                return leaf
        self.tree.leaf_hash(name)
        return Leaf(name, self.stream.leaf(name) if self.stream else b"")

    def script_path(self, name: str) -> tuple[bytes, bytes]:
        """Script and control block: the last two witness items of a spend by this leaf."""
        return self.leaf(name).script, self.tree.control_block(name)


class Rest:
    """The amount that makes a transaction pay no fee: all that its inputs bring and no other output takes."""


REST: Final = Rest()

Amount = Callable[[Any], int] | Rest
Script = Callable[[Any], bytes]
KEY_PATH: Final = "key path"
ANY_LEAF: Final = "any check"
"""A leaf of the stream, chosen when the transaction is made."""


class Field:
    """A named input or output of a template."""

    name: str
    owner: "type[Template]"

    def __set_name__(self, owner: "type[Template]", name: str) -> None:
        """A field belongs to the first class that declares it; a later one only refers to it (`indexed`)."""
        if not hasattr(self, "owner"):
            self.name, self.owner = name, owner


class InputField(Field):
    """An input of a template."""


class OutputField(Field):
    """An output of a template."""


class Output(OutputField):
    """An output with a connector. `many` says how many there are, where there is one for each of something.

    `own` says which of them belongs to an instance: its graph knows no other one. Where there is but one, as there is
    then, it has the name of the field and no number.
    """

    def __init__(
        self,
        connector: Callable[..., Connector],
        many: Callable[[Any], int] | None = None,
        own: Callable[[Any], int] | None = None,
    ) -> None:
        self.connector = connector
        self.many = many
        self.own = own


class Pay(OutputField):
    """An output that leaves the graph: a wallet, a sink, data. It may be left out where it would be dust."""

    def __init__(self, to: Script, amount: Amount, unless_dust: bool = False) -> None:
        self.to = to
        self.amount = amount
        self.unless_dust = unless_dust


class Anchor(OutputField):
    """The P2A output (0 sat) that a child spends to pay the fee of a v3 parent."""


class Free(OutputField):
    """Outputs that whoever completes the transaction adds: change, or a reward; the fee is what they leave."""

    def __init__(self, to: Party) -> None:
        self.to = to


class Spend(InputField):
    """An input that spends a declared output by one leaf.

    `each` takes every output of a `many` field; without it, an indexed template takes its own one. What signs a
    `locked` one at set-up is a pre-signature, which an oracle's attestation completes.
    """

    def __init__(
        self,
        source: OutputField,
        leaf: str,
        signer: Party | None,
        sighash: SigHash = SigHash.DEFAULT,
        each: bool = False,
        locked: bool = False,
    ) -> None:
        self.source = source
        self.leaf = leaf
        self.signer = signer
        self.sighash = sighash
        self.each = each
        self.locked = locked


class Coins(InputField):
    """Wallet coins that whoever completes the transaction adds."""

    def __init__(self, signer: Party, sighash: SigHash = SigHash.DEFAULT) -> None:
        self.signer = signer
        self.sighash = sighash


class Template:
    """A transaction of the protocol. Subclasses declare; `graph` builds."""

    version: ClassVar[int] = 3
    presigned: ClassVar[bool] = True
    """Does the committee sign it at set-up?"""
    sender: ClassVar[Party]
    """Who has a reason to broadcast it."""
    after: ClassVar["type[Template] | None"] = None
    """Where set: there is no reason to broadcast it before this one."""
    indexed: ClassVar[Output | None] = None
    """Where set: one transaction for each output of this field."""
    fields: ClassVar[tuple[Field, ...]] = ()

    def __init_subclass__(cls) -> None:
        cls.fields = tuple(value for value in vars(cls).values() if isinstance(value, Field) and value.owner is cls)

    @classmethod
    def lock_time(cls, context: Any) -> int:
        """nLockTime: no block before may have it; 0 for none (BIP65 has the meaning of other values)."""
        del context
        return 0

    @classmethod
    def inputs(cls) -> Iterator["Spend | Coins"]:
        """Its inputs in order."""
        return (item for item in cls.fields if isinstance(item, Spend | Coins))

    @classmethod
    def outputs(cls) -> Iterator[OutputField]:
        """Its outputs in order."""
        return (item for item in cls.fields if isinstance(item, OutputField))
