"""The pre-signed bundle of an instance: its transactions with their signatures, and the check of all of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from bitvm_bridge import secp
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.graph import Graph, GraphInput, GraphTx
from bitvm_bridge.protocol import DEPOSIT_TEMPLATES, Party
from bitvm_bridge.protocol.template import ANY_LEAF
from bitvm_bridge.setup import InstanceDocument, InstanceSetup

VERSION: Final = 1

Signatures = Mapping[tuple[str, str], bytes]
"""(transaction, input) → 64-byte BIP340 signature."""


class InputDocument(Document, frozen=True):
    """One input as its author built it; hex throughout."""

    name: str
    spends: str
    amount: int
    script_pubkey: str
    leaf: str
    leaf_hash: str
    control_block: str
    sequence: int
    sighash: int
    signer: str
    signature: str


class TransactionDocument(Document, frozen=True):
    """One transaction as far as the graph fixes it; `raw` is unsigned."""

    name: str
    raw: str
    inputs: list[InputDocument]


class BundleDocument(Document, frozen=True):
    """A bundle as JSON carries it."""

    version: int
    setup: InstanceDocument
    transactions: list[TransactionDocument]


@dataclass(frozen=True)
class Bundle:
    """An instance and the signatures that make its graph live."""

    setup: InstanceSetup
    signatures: Signatures

    def signature(self, tx: str, name: str) -> bytes:
        """The witness element for an input, sighash byte included. Raises BadInput where there is none."""
        if (tx, name) not in self.signatures:
            raise BadInput("signature", f"{tx}.{name}", "one that the bundle holds")
        item = self.setup.graph[tx]
        return item.inputs[item.index(name)].sighash.append_to(self.signatures[tx, name])

    def document(self) -> BundleDocument:
        """Every transaction with what was signed, so that a difference can be named."""
        transactions = [_describe(item, self.signatures) for item in signed_transactions(self.setup.graph)]
        return BundleDocument(VERSION, self.setup.document(), transactions)

    def to_json(self) -> bytes:
        """The document as JSON text."""
        return encode(self.document())

    @classmethod
    def from_json(cls, raw: bytes | str, expected: InstanceSetup | None = None) -> Self:
        """Read and verify a bundle; `expected` is the instance it must belong to.

        Raises BadInput for what is no bundle, VerificationFailed where it differs from the graph of its public inputs.
        """
        document = decode(raw, BundleDocument, "bundle")
        if document.version != VERSION:
            raise BadInput("bundle version", document.version, f"version {VERSION}")
        setup = InstanceSetup.from_document(document.setup)
        if expected is not None and setup != expected:
            raise VerificationFailed(f"bundle: it is of instance {setup.id.hex()}, expected {expected.id.hex()}")
        setup = expected or setup  # whose graph may be there already
        signatures = {
            (tx.name, entry.name): from_hex(f"signature of {tx.name}.{entry.name}", entry.signature, 64)
            for tx in document.transactions
            for entry in tx.inputs
            if entry.signature
        }
        bundle = cls(setup, signatures)
        verify(bundle, document)
        return bundle


def signed_transactions(graph: Graph) -> Iterator[GraphTx]:
    """The transactions of an instance that carry a signature from set-up."""
    names = {tx for party in (Party.COMMITTEE, Party.OPERATOR) for tx, _ in graph.owed(party)}
    return (item for item in graph.txs.values() if item.name in names and item.template not in DEPOSIT_TEMPLATES)


def verify(bundle: Bundle, document: BundleDocument | None = None) -> None:
    """Check every signature, and every field of the document, against the graph rebuilt from public inputs.

    A signature that the graph does not ask for is refused too. Raises VerificationFailed naming the first difference.
    """
    graph = bundle.setup.graph
    if document is not None:
        expected = [_describe(item, bundle.signatures) for item in signed_transactions(graph)]
        _compare_lists("bundle", document.transactions, expected)
    unknown = dict(bundle.signatures)
    for party, key in ((Party.COMMITTEE, graph.deposit.committee), (Party.OPERATOR, bundle.setup.operator)):
        for (tx, name), digest in graph.owed(party).items():
            if (tx, name) not in unknown:
                raise VerificationFailed(f"{tx}.{name}: the {party}'s signature is missing")
            if not secp.verify(key, digest, unknown.pop((tx, name))):
                raise VerificationFailed(f"{tx}.{name}: the {party}'s signature does not verify")
    for tx, name in unknown:
        raise VerificationFailed(f"{tx}.{name}: a signature that nobody owes")


def _describe(item: GraphTx, signatures: Signatures) -> TransactionDocument:
    inputs = [_describe_input(entry, signatures.get((item.name, entry.name), b"")) for entry in item.inputs]
    return TransactionDocument(item.name, item.tx.serialize_base().hex(), inputs)


def _describe_input(entry: GraphInput, signature: bytes) -> InputDocument:
    connector = entry.source.connector
    fixed = connector is not None and entry.leaf != ANY_LEAF
    return InputDocument(
        name=entry.name,
        spends=entry.source.name,
        amount=entry.source.output.amount,
        script_pubkey=entry.source.output.script_pubkey.hex(),
        leaf=entry.leaf,
        leaf_hash=connector.tree.leaf_hash(entry.leaf).hex() if connector and fixed else "",
        control_block=connector.tree.control_block(entry.leaf).hex() if connector and fixed else "",
        sequence=entry.sequence,
        sighash=entry.sighash,
        signer=entry.signer or "",
        signature=signature.hex(),
    )


def _compare_lists(where: str, found: list[Any], expected: list[Any]) -> None:
    if [item.name for item in found] != [item.name for item in expected]:
        names = ", ".join(item.name for item in found)
        raise VerificationFailed(f"{where}: holds {names}; expected {', '.join(item.name for item in expected)}")
    for one, other in zip(found, expected, strict=True):
        _compare(one.name if where == "bundle" else f"{where}.{one.name}", one, other)


def _compare(where: str, found: Document, expected: Document) -> None:
    for field in found.__struct_fields__:
        one, other = getattr(found, field), getattr(expected, field)
        if isinstance(other, list):
            _compare_lists(where, one, other)
        elif one != other:
            raise VerificationFailed(f"{where}: {field} is {one}, expected {other}")
