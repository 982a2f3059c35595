"""An oracle that signs two outcomes under one nonce gives its key away, and the two signatures prove it.

`s₁ = k + e₁·x` and `s₂ = k + e₂·x` (BIP340) have one solution: `x = (s₁ − s₂)/(e₁ − e₂)`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from bitvm_bridge import secp
from bitvm_bridge.dlc.oracle import Attestation, Hashing
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey


@dataclass(frozen=True)
class Proof:
    """Two outcomes that an oracle (x-only key) signed under one nonce (BIP340 signatures, 64 bytes)."""

    key: bytes
    hashing: Hashing
    outcomes: tuple[str, str]
    signatures: tuple[bytes, bytes]

    @property
    def nonce(self) -> bytes:
        """The x-only nonce of both."""
        return self.signatures[0][:32]

    def verify(self) -> None:
        """Anyone can check it, without any secret. Raises VerificationFailed where it proves nothing."""
        first, second = self.signatures
        if self.outcomes[0] == self.outcomes[1]:
            raise VerificationFailed("equivocation: both signatures are of the same outcome")
        if first[:32] != second[:32]:
            raise VerificationFailed("equivocation: the signatures have different nonces")
        for outcome, signature in zip(self.outcomes, self.signatures, strict=True):
            if not secp.verify(self.key, self.hashing.outcome(outcome), signature):
                raise VerificationFailed(f"equivocation: the signature of {outcome!r} is not the oracle's")

    def extract(self) -> SecretKey:
        """The oracle's secret key (of the point with even y). Raises VerificationFailed as `verify`."""
        self.verify()
        first, second = self.signatures
        difference = secp.add_secrets([first[32:], secp.negate_secret(second[32:])])
        key = SecretKey(secp.multiply_secret(difference, self._inverse_challenge()))
        if key.xonly != self.key:
            raise RuntimeError("two valid signatures under one nonce did not yield the key")
        return key

    def _inverse_challenge(self) -> bytes:
        """1/(e₁ − e₂): challenges are public, and so is this."""
        first, second = (
            int.from_bytes(secp.challenge(self.nonce, self.key, self.hashing.outcome(outcome)), "big")
            for outcome in self.outcomes
        )
        return pow(first - second, -1, secp.ORDER).to_bytes(32, "big")


def prove(first: Attestation, second: Attestation, hashing: Hashing) -> Proof:
    """The proof that two attestations hold.

    Raises BadInput for those of two oracles, VerificationFailed where no nonce has signed two outcomes, or where a
    signature is not the oracle's.
    """
    if first.key != second.key:
        raise BadInput("attestations", second.key, f"both of one oracle ({first.key.hex()})")
    signed = {signature[:32]: (outcome, signature) for outcome, signature in _signed(first)}
    for outcome, signature in _signed(second):
        earlier = signed.get(signature[:32])
        if earlier is not None and earlier[0] != outcome:
            proof = Proof(first.key, hashing, (earlier[0], outcome), (earlier[1], signature))
            proof.verify()
            return proof
    raise VerificationFailed("equivocation: no nonce has signed two outcomes")


def _signed(attestation: Attestation) -> Iterator[tuple[str, bytes]]:
    return zip(attestation.outcomes, attestation.signatures, strict=True)
