"""BLAKE3 in tapscript: the digest of a message of up to 1,024 bytes, given as integer limbs on the stack.

    blake3_script(64)        # 18 limbs of 29 bits in, a digest of 160 bits as 6 limbs of 29 bits out

How it works, and why it is small, is told where it is done: `_tables` (nibbles that are stack depths), `_rounds` (the
compression function), `_unpack` (limbs to nibbles), `_hash` (blocks, chaining, the digest).

Source: the BLAKE3 specification (github.com/BLAKE3-team/BLAKE3-specs), hash mode, a single chunk.
"""

from scripts_tapleaf.blake3._hash import (
    DIGEST_BITS,
    LIMB_BITS,
    Blake3Script,
    blake3_script,
    digest,
    limb_widths,
    to_limbs,
)
from scripts_tapleaf.blake3._message import MAX_LENGTH, MAX_LIMB_BITS, Const, Limbs

__all__ = [
    "DIGEST_BITS",
    "LIMB_BITS",
    "MAX_LENGTH",
    "MAX_LIMB_BITS",
    "Blake3Script",
    "Const",
    "Limbs",
    "blake3_script",
    "digest",
    "limb_widths",
    "to_limbs",
]
