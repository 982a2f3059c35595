"""Would a mempool take these transactions? From our own copy of its rules, and Core's scripts in this process."""

from collections.abc import Callable, Mapping, Sequence

from bitvm_bridge import policy
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.chain.mempool import (
    COINBASE_MATURITY,
    LOCK_TIME_THRESHOLD,
    SEQUENCE_DISABLE,
    SEQUENCE_MASK,
    SEQUENCE_TIME,
)
from bitvm_bridge.chain.node import Utxo, Verdict
from bitvm_bridge.transaction import SEQUENCE_FINAL, OutPoint, Transaction, TxOut

MISSING = "bad-txns-inputs-missingorspent"
FindOutput = Callable[[OutPoint], Utxo | None]


def judge(
    transactions: Sequence[Transaction],
    output: FindOutput,
    tip: int,
    min_fee_rate: float,
    median_time: Callable[[], int],
) -> Verdict:
    """One transaction, or a parent with the child that pays for it, whose other coins are confirmed, for block tip + 1.

    `min_fee_rate` in sat per vB. `median_time` of the tip is asked where a lock time is a time; a relative lock in time
    is refused, as nothing here makes one. Whether they may replace others of the mempool shows only when they are sent.
    """
    created: dict[OutPoint, Utxo] = {}
    spent = []
    for tx in transactions:
        coins = _coins(tx, created, output)
        if coins is None:
            return Verdict(False, MISSING)
        if reason := _lock(tx, coins, tip + 1, median_time):
            return Verdict(False, reason)
        spent.append([coin.output for coin in coins])
        made = (Utxo(tx.outpoint(index), out, tip + 1) for index, out in enumerate(tx.outputs))
        created.update((utxo.outpoint, utxo) for utxo in made)
    if reasons := _policy(transactions, spent):
        return Verdict(False, "; ".join(reasons))
    fee = sum(policy.fee_of(tx, outputs) for tx, outputs in zip(transactions, spent, strict=True))
    if fee < (floor := min_fee_rate * sum(tx.vsize for tx in transactions)):
        return Verdict(False, f"mempool min fee not met (together {fee} < {floor:.0f} sat)")
    for tx, outputs in zip(transactions, spent, strict=True):
        if (index := verify_inputs(tx, outputs)) is not None:
            return Verdict(False, f"mempool-script-verify-flag-failed (input {index} of {tx.txid_hex})")
    return Verdict(True)


def _policy(transactions: Sequence[Transaction], spent: Sequence[Sequence[TxOut]]) -> list[str]:
    if len(transactions) == 1:
        return policy.check(transactions[0], spent[0])
    (parent, child), (parent_spent, child_spent) = transactions, spent
    return policy.check_package(parent, parent_spent, child, child_spent)


def _coins(tx: Transaction, created: Mapping[OutPoint, Utxo], output: FindOutput) -> list[Utxo] | None:
    """What a transaction spends; None where something does not exist or is spent in a block."""
    found = [created.get(txin.outpoint) or output(txin.outpoint) for txin in tx.inputs]
    return None if None in found else [coin for coin in found if coin is not None]


def _lock(tx: Transaction, coins: Sequence[Utxo], height: int, median_time: Callable[[], int]) -> str:
    """Why a block at `height` could not have it yet (BIP68, BIP113, coinbase maturity); empty where it could."""
    if tx.lock_time and any(txin.sequence != SEQUENCE_FINAL for txin in tx.inputs):
        now = height if tx.lock_time < LOCK_TIME_THRESHOLD else median_time()
        if tx.lock_time >= now:
            return "non-final"
    for txin, coin in zip(tx.inputs, coins, strict=True):
        if coin.coinbase and height - coin.height < COINBASE_MATURITY:
            return "bad-txns-premature-spend-of-coinbase"
        if tx.version < 2 or txin.sequence & SEQUENCE_DISABLE:
            continue
        if txin.sequence & SEQUENCE_TIME or coin.height + (txin.sequence & SEQUENCE_MASK) > height:
            return "non-BIP68-final"
    return ""
