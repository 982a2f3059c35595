"""A regtest chain inside the process: Bitcoin Core's validation, a mempool with its rules, and a miner."""

import os
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median_high
from typing import IO, Final

from bitvm_bridge import policy
from bitvm_bridge.chain import blocks
from bitvm_bridge.chain.blocks import MEDIAN_SPAN
from bitvm_bridge.chain.kernel import Kernel, parse_block
from bitvm_bridge.chain.mempool import Change, Entry, Mempool
from bitvm_bridge.chain.node import FALLBACK_FEE_RATE, Block, Utxo, Verdict, Waiting
from bitvm_bridge.errors import BadInput, NodeRejected, NodeUnreachable
from bitvm_bridge.locks import try_lock
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import OutPoint, Transaction, hash256

SETTLING: Final = 1_000_000_000
"""nanoseconds."""


class EmbeddedNode:
    """A node of its own: its chain and mempool live in a directory, which one process at a time may hold open.

    The chain reaches the disk when the node closes; a process that is killed loses the blocks it mined.
    """

    name = "embedded"

    def __init__(self, datadir: Path, network: Network = Network.REGTEST) -> None:
        """Opens the chain in `datadir`, or begins one there.

        Raises BadInput for another network than regtest, NodeUnreachable while another process holds the directory.
        """
        if network is not Network.REGTEST:
            raise BadInput("network", network, "regtest, the only chain that a node without peers can have")
        self.network: Network = network
        self._mempool_file = datadir / "mempool.hex"
        self._refused = 0
        self._now = 0
        self._open = True
        datadir.mkdir(parents=True, exist_ok=True)
        with ExitStack() as held:
            held.enter_context(_lock(datadir / ".lock"))
            self._kernel = Kernel(datadir)
            held.callback(self._kernel.close)
            self._index = _Index()
            for height in range(self._kernel.height + 1):
                self._index.add(self._kernel.raw_block(height))
            self._mempool = Mempool(self._index)
            self._mempool.restore(_read_transactions(self._mempool_file))
            self._held = held.pop_all()

    def height(self) -> int:
        """Height of the best chain."""
        return self._index.height()

    def median_time(self) -> int:
        """Median time past of the best chain's tip (BIP113): epoch seconds."""
        return self._index.median_time(self.height())

    def block(self, height: int) -> Block:
        """The block of the best chain at `height`. Raises NodeRejected above the tip."""
        if not 0 <= height <= self.height():
            raise NodeRejected(f"Block height out of range (0 to {self.height()})")
        return self._index.blocks[height]

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """The output, where it is confirmed and unspent in the best chain (mempool spends ignored)."""
        return self._index.output(outpoint)

    def scan(self, script_pubkey: bytes) -> list[Utxo]:
        """Every confirmed unspent output with this script, oldest first."""
        found = [utxo for utxo in self._index.utxos.values() if utxo.output.script_pubkey == script_pubkey]
        return sorted(found, key=lambda utxo: (utxo.height, utxo.outpoint))

    def find(self, txid: bytes) -> tuple[Transaction, int] | None:
        """A confirmed transaction and its height."""
        return self._index.transactions.get(txid)

    def spender(self, outpoint: OutPoint) -> tuple[Transaction, int] | None:
        """The confirmed transaction that spends an output, and its height."""
        txid = self._index.spenders.get(outpoint)
        return None if txid is None else self._index.transactions[txid]

    def in_mempool(self, txid: bytes) -> bool:
        """Does the transaction wait in the mempool?"""
        return txid in self._mempool

    def mempool_spender(self, outpoint: OutPoint) -> Waiting | None:
        """The transaction of the mempool that spends an output, whoever sent it."""
        entry = self._mempool.spender(outpoint)
        if entry is None:
            return None
        leaving = self._mempool.descendants([entry.txid])
        return Waiting(entry.tx, entry.fee, sum(self._mempool[txid].fee for txid in leaving))

    def min_fee_rate(self) -> float:
        """The relay minimum: this mempool never fills up."""
        return policy.MIN_RELAY_FEE_RATE / 1_000

    def test(self, transactions: Sequence[Transaction]) -> Verdict:
        """Would the mempool take these (one transaction, or a parent with its child), at today's tip?"""
        try:
            self._mempool.judge(transactions)
        except NodeRejected as refusal:
            return Verdict(False, str(refusal))
        return Verdict(True)

    def broadcast(self, tx: Transaction, *, max_burn: int = 0) -> None:
        """Take one transaction into the mempool; `max_burn` sat may go to provably unspendable outputs.

        One that waits there already is left alone.
        """
        self._submit([tx], max_burn)

    def submit_package(self, parent: Transaction, child: Transaction, *, max_burn: int = 0) -> None:
        """Take a zero-fee parent with the child that pays for it (1P1C package)."""
        self._submit([parent, child], max_burn)

    def fee_rate(self, target: int = 6) -> float:
        """FALLBACK_FEE_RATE, whatever the target: nobody competes for these blocks."""
        return FALLBACK_FEE_RATE

    def mine(self, blocks: int = 1, script_pubkey: bytes | None = None) -> None:
        """Mine blocks with the mempool's transactions; subsidy and fees go to `script_pubkey`."""
        for _ in range(blocks):
            entries = self._template()
            self._extend([entry.tx for entry in entries], sum(entry.fee for entry in entries), script_pubkey)

    def set_time(self, when: int) -> None:
        """Blocks that are mined from now on have this time (epoch seconds), or the earliest that they may have."""
        self._now = when

    def mine_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Mine one block with exactly these transactions, relayable or not; their fees are lost."""
        self._extend(list(transactions), 0, None)

    def close(self) -> None:
        """Write the chain to disk and let go of the directory; safe to call twice."""
        self._open = False
        self._held.close()

    def _submit(self, transactions: Sequence[Transaction], max_burn: int) -> None:
        if max(map(policy.largest_burn, transactions)) > max_burn:
            raise NodeRejected("Unspendable output exceeds maximum configured by user (maxburnamount)")
        if all(tx.txid in self._mempool for tx in transactions):
            return
        self._change_mempool(self._mempool.judge(transactions))

    def _change_mempool(self, change: Change) -> None:
        if change.added or change.removed:
            self._check_open()
            self._mempool.apply(change)
            _write_transactions(self._mempool_file, [entry.tx for entry in self._mempool])

    def _template(self) -> list[Entry]:
        """What the next block takes of the mempool, oldest first: whatever pays or has a descendant that pays."""
        paid: set[bytes] = set()
        for entry in self._mempool:
            if entry.fee:
                paid |= {entry.txid} | self._mempool.ancestors(entry.tx)
        chosen: dict[bytes, Entry] = {}
        room = blocks.MAX_BLOCK_WEIGHT - blocks.COINBASE_WEIGHT
        for entry in self._mempool:
            if entry.txid in paid and entry.tx.weight <= room and self._mempool.ancestors(entry.tx) <= chosen.keys():
                chosen[entry.txid] = entry
                room -= entry.tx.weight
        return list(chosen.values())

    def _extend(self, transactions: list[Transaction], fees: int, script_pubkey: bytes | None) -> None:
        """Add a block. Raises NodeRejected with Core's reason."""
        self._check_open()
        height = self.height() + 1
        script = blocks.ANYONE if script_pubkey is None else script_pubkey
        value = blocks.subsidy(height) + fees
        coinbase = blocks.coinbase(height, script, value, transactions, extra=self._refused)
        earliest = self._index.median_time(height - 1) + 1
        raw = blocks.mine_block(
            self._index.blocks[-1].hash, max(self._now or int(time.time()), earliest), [coinbase, *transactions]
        )
        try:
            self._kernel.process_block(raw)
        except NodeRejected:
            # The kernel remembers a refused block by its hash and gives no reason the second time.
            self._refused += 1
            raise
        self._index.add(raw)
        self._change_mempool(self._mempool.confirmed(transactions))

    def _check_open(self) -> None:
        if not self._open:
            raise NodeUnreachable("the embedded node is closed")


def fingerprint(datadir: Path) -> tuple[tuple[str, int, int], ...]:
    """Changes whenever the chain in `datadir`, or its mempool, does; empty where there is none.

    Read without opening the chain, so that whoever only looks keeps no other process waiting.
    """
    files = [*sorted(datadir.glob("blocks/blk*.dat")), datadir / "mempool.hex"]
    states = [(path.name, path.stat()) for path in files if path.exists()]
    return tuple((name, state.st_size, state.st_mtime_ns) for name, state in states)


def is_settled(datadir: Path) -> bool:
    """Did nothing change in the last second? Where something did, whoever changed it is likely to go on."""
    newest = max((changed for _, _, changed in fingerprint(datadir)), default=0)
    return time.time_ns() - newest > SETTLING


class _Index:
    """The best chain, looked up by what the bridge asks for. It only grows: nothing reorganises a private chain."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.transactions: dict[bytes, tuple[Transaction, int]] = {}
        self.utxos: dict[OutPoint, Utxo] = {}
        self.spenders: dict[OutPoint, bytes] = {}
        self._times: list[int] = []

    def height(self) -> int:
        """Height of the best chain."""
        return len(self.blocks) - 1

    def output(self, outpoint: OutPoint) -> Utxo | None:
        """A confirmed unspent output."""
        return self.utxos.get(outpoint)

    def median_time(self, height: int) -> int:
        """Median time past of the block at `height`: seconds since 1970 (BIP113)."""
        return median_high(self._times[max(0, height + 1 - MEDIAN_SPAN) : height + 1])

    def add(self, raw: bytes) -> None:
        """The next block."""
        header = raw[: blocks.HEADER_SIZE]
        block = Block(len(self.blocks), hash256(header), blocks.previous_hash(header), parse_block(raw))
        self.blocks.append(block)
        self._times.append(int.from_bytes(header[68:72], "little"))
        for place, tx in enumerate(block.transactions):
            self._add_transaction(tx, block.height, coinbase=place == 0)

    def _add_transaction(self, tx: Transaction, height: int, *, coinbase: bool) -> None:
        txid = tx.txid
        self.transactions[txid] = (tx, height)
        for txin in tx.inputs:
            self.utxos.pop(txin.outpoint, None)
            self.spenders[txin.outpoint] = txid
        for index, out in enumerate(tx.outputs):
            if not policy.is_unspendable(out.script_pubkey):
                outpoint = OutPoint(txid, index)
                self.utxos[outpoint] = Utxo(outpoint, out, height, coinbase)


def _lock(path: Path) -> IO[bytes]:
    """An open file that no other process can lock meanwhile."""
    file = try_lock(path)
    if file is None:
        raise NodeUnreachable(f"the chain in {path.parent} is in use by another process")
    return file


def _read_transactions(path: Path) -> list[Transaction]:
    if not path.exists():
        return []
    return [Transaction.parse_hex(line, str(path)) for line in path.read_text(encoding="ascii").splitlines()]


def _write_transactions(path: Path, transactions: Sequence[Transaction]) -> None:
    """In one step, so that a crash leaves the old file or the new one."""
    new = path.with_suffix(".new")
    new.write_text("".join(tx.serialize().hex() + "\n" for tx in transactions), encoding="ascii")
    os.replace(new, path)
