"""Chains that tests bend at will: blocks of real transactions, without a node that would judge them."""

import hashlib
from collections.abc import Iterable, Sequence

from bitvm_bridge.chain.node import Block, Node, Utxo
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.transaction import OutPoint, Transaction


class ScriptedChain:
    """A best chain that grows, shrinks and forks as it is told; `branch` makes the hashes of a fork differ."""

    def __init__(self, blocks: Iterable[Block] = ()) -> None:
        self.blocks = list(blocks)
        self.branch = 0
        self.read: list[int] = []
        """Heights that were asked for."""

    @classmethod
    def of(cls, node: Node) -> "ScriptedChain":
        """What a node has."""
        return cls(node.block(height) for height in range(node.height() + 1))

    def mine(self, *transactions: Transaction) -> Block:
        """One block with these."""
        previous = self.blocks[-1].hash if self.blocks else bytes(32)
        head = previous + b"".join(tx.txid for tx in transactions) + self.branch.to_bytes(4, "big")
        block = Block(len(self.blocks), hashlib.sha256(head).digest(), previous, transactions)
        self.blocks.append(block)
        return block

    def mine_empty(self, count: int) -> None:
        """Blocks without a transaction."""
        for _ in range(count):
            self.mine()

    def drop(self, count: int) -> list[Block]:
        """Take the last blocks back; what is mined from now on is another branch."""
        dropped = self.blocks[len(self.blocks) - count :]
        del self.blocks[len(self.blocks) - count :]
        self.branch += 1
        return dropped

    def replay(self, blocks: Sequence[Block]) -> None:
        """The same transactions in new blocks."""
        for block in blocks:
            self.mine(*block.transactions)

    def height(self) -> int:
        return len(self.blocks) - 1

    def block(self, height: int) -> Block:
        if not 0 <= height < len(self.blocks):
            raise NodeRejected("Block height out of range")
        self.read.append(height)
        return self.blocks[height]

    def output(self, outpoint: OutPoint) -> Utxo | None:
        found = self.find(outpoint.txid)
        spent = {txin.outpoint for block in self.blocks for tx in block.transactions for txin in tx.inputs}
        if found is None or outpoint in spent or outpoint.vout >= len(found[0].outputs):
            return None
        return Utxo(outpoint, found[0].outputs[outpoint.vout], found[1])

    def find(self, txid: bytes) -> tuple[Transaction, int] | None:
        for block in self.blocks:
            for tx in block.transactions:
                if tx.txid == txid:
                    return tx, block.height
        return None
