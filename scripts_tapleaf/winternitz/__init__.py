"""One-time signatures from hash chains: cheap to check in Assert, readable in Disprove.

A key is a set of chains; its public part is the end of each. To sign is to reveal, for some of the chains, a node at a
certain distance (hashes) from the end. The script fixes how many nodes are revealed at which distances, the message
says on which chains. Every codeword has the same sum of distances, so of two different codewords each reveals, on some
chain, a node that the other does not give: there is no checksum (constant sums: Zhang, Cui and Yu, ePrint 2023/850;
constant compositions in Script: solving-bitcoin/bitcoin-scripts, knowledge base on Winternitz).

What is new here is that the composition is fixed twice. A distance is a near part plus a far part, like the digits of
a number in mixed radix, and each part has a composition of its own. An opening's near part is its place in the
witness, which is free; its far part is whether, and when, a selector picks it out of the list of openings to be hashed
on. So few hashes separate many openings: 39 chains and 2,266 bytes of script and witness carry 160 bits, where one
composition takes 49 chains and 2,400 bytes. Chains alternate SHA256 and RIPEMD160: an opening at an odd distance is 12
bytes longer, and gives a further distance for no opcode.

`code` has the words and their numbers, `keys` the chains and signatures, `scripts` the two verifiers and why they are
sound.
"""

from scripts_tapleaf.winternitz.code import LIMB_BITS, SCHEMES, Scheme, limb_count, scheme, to_limbs, witness_item_count
from scripts_tapleaf.winternitz.keys import (
    CHAIN_BYTES,
    PublicKey,
    SecretKey,
    derive_secret,
    public_key,
    read_witness,
    recover,
    sign,
    sign_number,
)
from scripts_tapleaf.winternitz.scripts import bundle_capacity, check_script, fit_one_leaf, read_script

__all__ = [
    "CHAIN_BYTES",
    "LIMB_BITS",
    "SCHEMES",
    "PublicKey",
    "Scheme",
    "SecretKey",
    "bundle_capacity",
    "check_script",
    "derive_secret",
    "fit_one_leaf",
    "limb_count",
    "public_key",
    "read_script",
    "read_witness",
    "recover",
    "scheme",
    "sign",
    "sign_number",
    "to_limbs",
    "witness_item_count",
]
