"""The one door to libbitcoinkernel: Bitcoin Core's own script and block validation, in this process."""

import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Final

import pbk  # type: ignore[import-untyped]
from pbk.script import PrecomputedTransactionData  # type: ignore[import-untyped]

from bitvm_bridge.errors import NodeRejected, NodeUnreachable
from bitvm_bridge.transaction import Transaction, TxOut

_REASONS: Final = re.compile(r"(?:AcceptBlock FAILED \((?P<early>.*)\)|ConnectBlock \w+ failed, (?P<late>.*))$")


def verify_input(tx: Transaction, index: int, spent: Sequence[TxOut]) -> bool:
    """Core's script verdict on one input, under every consensus rule of a chain with taproot.

    `spent` holds the output that each input spends, in input order.
    """
    return next(_verdicts(tx, spent, [index]))


def verify_inputs(tx: Transaction, spent: Sequence[TxOut]) -> int | None:
    """The first input whose script Core refuses; None where all pass."""
    verdicts = _verdicts(tx, spent, range(len(tx.inputs)))
    return next((index for index, passed in enumerate(verdicts) if not passed), None)


def _verdicts(tx: Transaction, spent: Sequence[TxOut], indices: Iterable[int]) -> Iterator[bool]:
    kernel_tx = pbk.Transaction(tx.serialize())
    scripts = [pbk.ScriptPubkey(out.script_pubkey) for out in spent]
    outputs = [pbk.TransactionOutput(script, out.amount) for script, out in zip(scripts, spent, strict=True)]
    precomputed = PrecomputedTransactionData(kernel_tx, outputs)
    flags = pbk.ScriptVerificationFlags.ALL
    for index in indices:
        yield bool(scripts[index].verify(spent[index].amount, kernel_tx, precomputed, index, flags))


def parse_block(raw: bytes) -> tuple[Transaction, ...]:
    """The transactions of a serialised block. Raises NodeUnreachable for bytes that are no block."""
    try:
        block = pbk.Block(raw)
    except RuntimeError:
        raise NodeUnreachable(f"{len(raw)} bytes that a node gave as a block are none") from None
    return tuple(Transaction.parse(bytes(tx)) for tx in block.transactions)


class Kernel:
    """A regtest chain that Core validates and keeps in `datadir` (its `blocks/` and `chainstate/`)."""

    def __init__(self, datadir: Path) -> None:
        """Raises NodeUnreachable where the directory cannot be opened as a chain."""
        self._log = _log().lines
        self._result = ""
        self._callbacks = pbk.ValidationInterfaceCallbacks(block_checked=self._checked)
        self._log.clear()
        try:
            self._chainman = pbk.load_chainman(datadir, pbk.ChainType.REGTEST, self._callbacks)
        except RuntimeError:
            errors = [line.partition("[error] ")[2] for line in self._log if "[error] " in line]
            raise NodeUnreachable(
                f"cannot open the chain in {datadir}: {(errors or ['no reason given'])[-1]}"
            ) from None
        self._chain = self._chainman.get_active_chain()

    @property
    def height(self) -> int:
        """Height of the best chain."""
        return int(self._chain.height)

    def raw_block(self, height: int) -> bytes:
        """The serialised block of the best chain at `height`."""
        return bytes(self._chainman.blocks[self._chain.block_tree_entries[height]])

    def process_block(self, raw: bytes) -> None:
        """Extend the best chain. Raises NodeRejected with Core's reason; the chain then stays as it was."""
        self._log.clear()
        self._result = ""
        try:
            self._chainman.process_block(pbk.Block(raw))
        except pbk.ProcessBlockException as error:
            raise NodeRejected(self._reason() or str(error)) from None
        if self._result:
            raise NodeRejected(self._reason())

    def close(self) -> None:
        """Write everything to disk and let go of the directory."""
        self._chainman.__exit__(None, None, None)

    def _checked(self, _: object, __: object, state: pbk.BlockValidationState) -> None:
        if state.validation_mode != pbk.ValidationMode.VALID:
            self._result = state.block_validation_result.name

    def _reason(self) -> str:
        """What the log says; the kernel's interface itself only tells the kind of the failure."""
        found = [match for line in self._log if (match := _REASONS.search(line))]
        return (found[-1]["early"] or found[-1]["late"]) if found else self._result


class _Log:
    """The kernel's latest log lines. Its logger is one for the whole process, and writes nowhere else."""

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=64)
        self._connection = pbk.LoggingConnection(self._add)

    def _add(self, line: str) -> None:
        self.lines.append(line.rstrip())


_log = cache(_Log)
