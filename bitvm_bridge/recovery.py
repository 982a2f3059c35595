"""A depositor that has lost everything but its key finds its deposits on the chain, and can take them back.

PegInDeposit carries a note: the refund delay and the hash of the committee's leaf. With the depositor's key they give
the whole script tree, so that a note proves itself: it belongs to a deposit of this key if, and only if, an output of
the same transaction has the address that follows from it. Receiver and committee stay unknown; a refund needs neither.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bitvm_bridge import secp
from bitvm_bridge.chain.node import Node
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.protocol import connectors
from bitvm_bridge.records import find
from bitvm_bridge.store import Store
from bitvm_bridge.taproot import LEAF_VERSION, NUMS_KEY, branch_hash, leaf_hash, p2tr, tagged_hash, tap_tweak
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from scripts_tapleaf.script import OP_RETURN, push

FOUND: Final = "found deposit"
NOTE_SIZE: Final = 34
"""bytes: a delay in 2, a leaf hash in 32."""
_NOTE: Final = OP_RETURN + push(bytes(NOTE_SIZE))[:1]


class FoundDocument(Document, frozen=True):
    """A deposit of which only the refund is known; `other` is the hash of the leaf beside it."""

    outpoint: str
    amount: int
    height: int
    depositor: str
    delay: int
    other: str


@dataclass(frozen=True)
class Refundable:
    """A deposit that a key can take back `delay` blocks after `height`; `other` is the hash of the other leaf."""

    outpoint: OutPoint
    amount: int
    height: int
    depositor: bytes
    delay: int
    other: bytes

    @property
    def id(self) -> bytes:
        """32 bytes that name it here; the deposit's own id takes the receiver, which is lost."""
        return tagged_hash("BitVMBridge/found", self.outpoint.serialize())

    @property
    def leaf(self) -> tuple[bytes, bytes]:
        """The refund's script and its control block."""
        script, (_, parity) = self._script, self._output_key
        return script, bytes([LEAF_VERSION | parity]) + NUMS_KEY + self.other

    @property
    def output(self) -> TxOut:
        """What is spent."""
        return TxOut(self.amount, p2tr(self._output_key[0]))

    @property
    def _script(self) -> bytes:
        return connectors.refund(self.depositor, self.delay).script

    @property
    def _output_key(self) -> tuple[bytes, int]:
        root = branch_hash(leaf_hash(self._script), self.other)
        return secp.tweak_public_key(NUMS_KEY, tap_tweak(NUMS_KEY, root))


def read(tx: Transaction, height: int, depositor: bytes) -> Iterator[Refundable]:
    """The deposits of an x-only key that a transaction makes, spent since or not."""
    for note in tx.outputs:
        script = note.script_pubkey
        delay = int.from_bytes(script[2:4], "little")
        if script[:2] != _NOTE or len(script) != 2 + NOTE_SIZE or not delay:
            continue
        for vout, out in enumerate(tx.outputs):
            found = Refundable(tx.outpoint(vout), out.amount, height, depositor, delay, script[4:])
            if found.output == out:
                yield found


def search(node: Node, depositor: bytes, birthday: int) -> Iterator[Refundable]:
    """The same from every block of the chain, from height `birthday` on. Raises BadInput for one above the tip."""
    tip = node.height()
    if not 0 <= birthday <= tip:
        raise BadInput("birthday", birthday, f"a height of the chain, 0 to {tip:,}")
    for height in range(birthday, tip + 1):
        for tx in node.block(height).transactions:
            yield from read(tx, height, depositor)


def save(store: Store, found: Refundable) -> None:
    """Keep one."""
    document = FoundDocument(
        str(found.outpoint), found.amount, found.height, found.depositor.hex(), found.delay, found.other.hex()
    )
    store.put(FOUND, found.id, encode(document))


def load(store: Store, prefix: str) -> Refundable | None:
    """The one whose id starts so; None where no id does. Raises BadInput for several."""
    if not prefix or not any(key.hex().startswith(prefix.lower()) for key in store.keys(FOUND)):
        return None
    document = decode(find(store, FOUND, prefix).raw, FoundDocument, FOUND)
    return Refundable(
        OutPoint.parse(document.outpoint),
        document.amount,
        document.height,
        from_hex("depositor", document.depositor, 32),
        document.delay,
        from_hex("leaf hash", document.other, 32),
    )
