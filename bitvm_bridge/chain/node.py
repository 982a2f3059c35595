"""What the bridge needs of a Bitcoin node, whichever node it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from bitvm_bridge.params import Network
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut

FALLBACK_FEE_RATE: Final = 1.0
"""sat per vB where a node has seen too few blocks to estimate."""


@dataclass(frozen=True)
class Utxo:
    """An unspent confirmed output and the height of its block."""

    outpoint: OutPoint
    output: TxOut
    height: int
    coinbase: bool = False


@dataclass(frozen=True)
class Verdict:
    """A node's answer to "would you take this transaction into your mempool?"."""

    allowed: bool
    reason: str = ""


@dataclass(frozen=True)
class Waiting:
    """A transaction in the mempool with its fee (sat).

    `all_fees` (sat) counts everything that would leave the mempool with it: it and all that spends from it.
    """

    tx: Transaction
    fee: int
    all_fees: int


@dataclass(frozen=True)
class Block:
    """A block of the best chain: height, its hash and its parent's (internal byte order), and its transactions."""

    height: int
    hash: bytes
    previous: bytes
    transactions: tuple[Transaction, ...]


class Node(Protocol):
    """A Bitcoin node. Every method raises NodeUnreachable when the node cannot answer.

    `broadcast`, `submit_package` and `mine` raise NodeRejected with the node's own reason.
    """

    name: str
    network: Network

    def height(self) -> int:
        """Height of the best chain."""

    def median_time(self) -> int:
        """Median time past of the best chain's tip (BIP113): lock times in epoch seconds must be below."""

    def block(self, height: int) -> Block:
        """The block of the best chain at `height`."""

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """The output, where it is confirmed and unspent in the best chain (mempool spends ignored)."""

    def scan(self, script_pubkey: bytes) -> list[Utxo]:
        """Every confirmed unspent output with this script, oldest first."""

    def find(self, txid: bytes) -> tuple[Transaction, int] | None:
        """A confirmed transaction and its height."""

    def spender(self, outpoint: OutPoint) -> tuple[Transaction, int] | None:
        """The confirmed transaction that spends an output, and its height."""

    def in_mempool(self, txid: bytes) -> bool:
        """Does the transaction wait in the mempool?"""

    def mempool_spender(self, outpoint: OutPoint) -> Waiting | None:
        """The transaction of the mempool that spends an output, whoever sent it."""

    def min_fee_rate(self) -> float:
        """sat per vB below which the mempool takes nothing now; more than the relay minimum where it is full."""

    def test(self, transactions: Sequence[Transaction]) -> Verdict:
        """Would the mempool take these (one transaction, or a parent with its child), at today's tip?"""

    def broadcast(self, tx: Transaction, *, max_burn: int = 0) -> None:
        """Send one transaction; `max_burn` sat may go to provably unspendable outputs."""

    def submit_package(self, parent: Transaction, child: Transaction, *, max_burn: int = 0) -> None:
        """Send a zero-fee parent with the child that pays for it (1P1C package)."""

    def fee_rate(self, target: int = 6) -> float:
        """sat per vB for confirmation within `target` blocks."""

    def mine(self, blocks: int = 1, script_pubkey: bytes | None = None) -> None:
        """Regtest: mine blocks with the mempool's transactions; the subsidy goes to `script_pubkey`."""

    def set_time(self, when: int) -> None:
        """Regtest: blocks that are mined from now on have this time (epoch seconds), or a later one where they must.

        Consensus allows no more than two hours ahead of the clock of whoever judges them.
        """

    def mine_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Regtest: mine one block with exactly these transactions, relayable or not (`generateblock`)."""

    def close(self) -> None:
        """Release what the node holds; safe to call twice."""
