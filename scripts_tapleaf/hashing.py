"""Hashes that Script has and hashlib may lack."""

import hashlib

from embit.util.py_ripemd160 import ripemd160 as slow_ripemd160


def ripemd160(data: bytes) -> bytes:
    """20 bytes; in Python where OpenSSL has no legacy provider."""
    try:
        return hashlib.new("ripemd160", data, usedforsecurity=False).digest()
    except ValueError:
        return bytes(slow_ripemd160(data))


def hash160(data: bytes) -> bytes:
    """RIPEMD160 of SHA256: 20 bytes."""
    return ripemd160(hashlib.sha256(data).digest())
