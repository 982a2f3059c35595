"""Bitcoin Core's verdict on one tapscript spend, in-process."""

import pbk
from pbk.script import PrecomputedTransactionData

from bitvm_bridge.taproot import NUMS_KEY, ScriptTree
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut


def spend_leaf(script: bytes, witness: list[bytes], *, sequence: int = 0xFFFFFFFF) -> bool:
    """Does Core's consensus accept `witness` (stack items, first is deepest) for a single-leaf output with `script`?

    Only for scripts whose verdict does not depend on the transaction (no signature, no lock time).
    """
    tree = ScriptTree([("leaf", script)])
    spent = TxOut(100_000, tree.script_pubkey(NUMS_KEY))
    stack = (*witness, script, tree.control_block("leaf", NUMS_KEY))
    tx = Transaction(
        version=2,
        inputs=(TxIn(OutPoint(bytes(32), 0), sequence=sequence, witness=stack),),
        outputs=(TxOut(99_000, bytes.fromhex("5120") + NUMS_KEY),),
    )
    return verify_input(tx, 0, [spent])


def verify_input(tx: Transaction, index: int, spent: list[TxOut]) -> bool:
    """Core's script verdict on input `index` of `tx`, all consensus flags of a taproot-active chain on."""
    kernel_tx = pbk.Transaction(tx.serialize())
    outputs = [pbk.TransactionOutput(pbk.ScriptPubkey(out.script_pubkey), out.amount) for out in spent]
    try:
        return pbk.ScriptPubkey(spent[index].script_pubkey).verify(
            spent[index].amount,
            kernel_tx,
            PrecomputedTransactionData(kernel_tx, outputs),
            index,
            pbk.ScriptVerificationFlags.ALL,
        )
    except pbk.ScriptVerifyException:
        return False
