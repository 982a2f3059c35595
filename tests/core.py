"""Bitcoin Core's verdict on one tapscript spend, in-process."""

from bitvm_bridge.chain.kernel import verify_input
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
