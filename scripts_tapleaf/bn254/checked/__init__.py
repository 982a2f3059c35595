"""Checked products of BN254 in tapscript: the result and the quotient are hints, the script proves the congruence.

    fq.mul()             # a·b = r mod p
    fq.mul_witness(a, b)

Elements are signed limbs of any size that a script number holds, least significant first; nothing needs to be
normalised or reduced, and any representative of a residue will do. How it works is told where it is done: `_walk` (one
register from the top bit down), `_table` (multiples of an operand), `_limbs` (limbs, digits, recoding p).
"""

from scripts_tapleaf.bn254.checked import fq
from scripts_tapleaf.bn254.checked._checked import MAX_REGISTER, Checked

__all__ = ["MAX_REGISTER", "Checked", "fq"]
