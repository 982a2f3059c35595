"""Who asks: an Authorization header that signs a request, good once, here, and now.

What is signed (BIP340, tag `BitVMBridge/request`) is: method, host and target, each ended by a line feed; the time
as 8 bytes, big endian; the nonce; SHA256 of the body.
"""

import re
import secrets
from dataclasses import dataclass
from typing import Final, NamedTuple, Self

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.taproot import tagged_hash

SCHEME: Final = "BIP340"
NONCE_SIZE: Final = 16
WINDOW: Final = 60
"""seconds that the clocks of both sides may differ by, either way."""
_HEADER: Final = re.compile(
    SCHEME + r" key=([0-9a-f]{64}), time=([0-9]{1,12}), nonce=([0-9a-f]{32}), "
    r"body=([0-9a-f]{64}), signature=([0-9a-f]{128})",
    re.ASCII,
)


class Asked(NamedTuple):
    """A request as far as it is signed: `host` as in its Host header, `target` with the query, SHA256 of the body."""

    method: str
    host: str
    target: str
    digest: bytes


@dataclass(frozen=True)
class Credentials:
    """A party's x-only identity key, seconds since 1970, a nonce (16 bytes), SHA256 of the body, and the signature."""

    key: bytes
    time: int
    nonce: bytes
    digest: bytes
    signature: bytes

    @classmethod
    def sign(cls, secret: SecretKey, asked: Asked, time: int) -> Self:
        """For a request that is sent now, under a fresh nonce."""
        nonce = secrets.token_bytes(NONCE_SIZE)
        signature = secret.sign(_message(asked, time, nonce))
        return cls(secret.xonly, time, nonce, asked.digest, signature)

    def header(self) -> str:
        """The value of the Authorization header."""
        return (
            f"{SCHEME} key={self.key.hex()}, time={self.time}, nonce={self.nonce.hex()}, "
            f"body={self.digest.hex()}, signature={self.signature.hex()}"
        )

    @classmethod
    def parse(cls, header: str) -> Self:
        """Inverse of `header`. Raises BadInput."""
        found = _HEADER.fullmatch(header)
        if found is None:
            raise BadInput("Authorization", header, f"{SCHEME} key=…, time=…, nonce=…, body=…, signature=…")
        key, time, nonce, digest, signature = found.groups()
        return cls(*(bytes.fromhex(key), int(time)), *map(bytes.fromhex, (nonce, digest, signature)))

    def check(self, method: str, host: str, target: str, now: float) -> None:
        """Does it sign this request, now? Raises VerificationFailed. Whether the nonce is new is for others to say."""
        if abs(now - self.time) > WINDOW:
            behind = self.time - now
            raise VerificationFailed(f"request: signed {behind:+.0f} s from this clock; at most {WINDOW} s are allowed")
        asked = Asked(method, host, target, self.digest)
        if not secp.verify(self.key, _message(asked, self.time, self.nonce), self.signature):
            raise VerificationFailed(f"request: the signature of {self.key.hex()} does not verify")


def _message(asked: Asked, time: int, nonce: bytes) -> bytes:
    lines = "".join(f"{line}\n" for line in (asked.method, asked.host, asked.target))
    return tagged_hash("BitVMBridge/request", lines.encode(), time.to_bytes(8, "big"), nonce, asked.digest)
