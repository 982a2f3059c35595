"""A computed value against a claimed one: how a leaf of a disputed computation ends."""

from scripts_tapleaf.script import OP_BOOLAND, OP_EQUAL, OP_FROMALTSTACK, OP_NOT, OP_ROT


def differ(limbs: int) -> bytes:
    """The end of most chunks: true where `limbs` limbs on the stack and the claimed ones on the altstack differ.

    Limb 0 lies uppermost on both; all are consumed. OP_EQUAL compares bytes and never fails, so a claimed limb of any
    size has a verdict; computed limbs must be minimal numbers.
    """
    first = OP_FROMALTSTACK + OP_EQUAL
    return first + (OP_FROMALTSTACK + OP_ROT + OP_EQUAL + OP_BOOLAND) * (limbs - 1) + OP_NOT
