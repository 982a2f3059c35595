"""Verifying keys, proofs and public inputs of other provers, and the one form in which this project keeps them.

The format is told from the content. Whatever comes out is in range, finite, on its curve and in its subgroup.
"""

from bitvm_bridge.program.groth16.formats import arkworks, gnark, snarkjs
from bitvm_bridge.program.groth16.formats.canonical import (
    decode_key,
    decode_proof,
    encode_key,
    encode_proof,
    key_hash,
)
from bitvm_bridge.program.groth16.formats.detect import Format, detect_key, detect_proof, detect_public
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey

__all__ = [
    "Format",
    "decode_key",
    "decode_proof",
    "detect_key",
    "detect_proof",
    "detect_public",
    "encode_key",
    "encode_proof",
    "key_hash",
    "read_key",
    "read_proof",
    "read_public",
]


def read_key(data: bytes) -> VerifyingKey:
    """A verifying key in any format, for 1 to 16 public inputs where it is another prover's. Raises BadInput."""
    match detect_key(data):
        case Format.SNARKJS:
            return snarkjs.read_key(data)
        case Format.ARKWORKS_COMPRESSED | Format.ARKWORKS_UNCOMPRESSED as found:
            return arkworks.read_key(data, compressed=found is Format.ARKWORKS_COMPRESSED)
        case Format.GNARK_COMPRESSED | Format.GNARK_RAW as found:
            return gnark.read_key(data, compressed=found is Format.GNARK_COMPRESSED)
        case Format.CANONICAL:
            return decode_key(data)


def read_proof(data: bytes) -> Proof:
    """A proof in any format. Raises BadInput."""
    match detect_proof(data):
        case Format.SNARKJS:
            return snarkjs.read_proof(data)
        case Format.ARKWORKS_COMPRESSED | Format.ARKWORKS_UNCOMPRESSED as found:
            return arkworks.read_proof(data, compressed=found is Format.ARKWORKS_COMPRESSED)
        case Format.GNARK_COMPRESSED | Format.GNARK_RAW as found:
            return gnark.read_proof(data, compressed=found is Format.GNARK_COMPRESSED)
        case Format.CANONICAL:
            return decode_proof(data)[0]


def read_public(data: bytes) -> tuple[int, ...]:
    """1 to 16 public inputs in any format, or those of an encoded proof. Raises BadInput."""
    match detect_public(data):
        case Format.SNARKJS:
            return snarkjs.read_public(data)
        case Format.ARKWORKS_COMPRESSED | Format.ARKWORKS_UNCOMPRESSED:
            return arkworks.read_public(data)
        case Format.GNARK_COMPRESSED | Format.GNARK_RAW:
            return gnark.read_public(data)
        case Format.CANONICAL:
            return decode_proof(data)[1]
