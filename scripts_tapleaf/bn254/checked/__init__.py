"""Checked products of BN254 in tapscript: the result and the quotient are hints, the script proves the congruence.

    fq.mul()                        # a·b = r mod p, a in digits
    fq.combination((1, -1, 1, 1))   # a₀b₀ − a₁b₁ + a₂b₂ + a₃b₃
    fq2.mul()                       # in Fq[u] / (u² + 1)
    fq6.mul()                       # in Fq2[v] / (v³ − 9 − u)
    fq6.mul(2, 3)                   # the first operand without v²
    fq6.mul_witness(a, b)

Elements are signed limbs of 26 bits (24 for four products), the least significant first; nothing needs to be
normalised or reduced, and any representative of a residue will do. How it works is told where it is done: `_walk` (one
register from the top bit down), `_table` (multiples of an operand), `_cut` (limbs to digits that are stack depths),
`_pair` (both parts of a product over Fq2), `_sums` (sums of limbs), `_limbs` (integers to limbs, recoding p).
"""

from scripts_tapleaf.bn254.checked import fq, fq2, fq6
from scripts_tapleaf.bn254.checked._checked import MAX_REGISTER, Checked
from scripts_tapleaf.bn254.constants import P

__all__ = ["MAX_REGISTER", "Checked", "P", "fq", "fq2", "fq6"]
