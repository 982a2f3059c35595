"""Keys, proofs and public witnesses as gnark serialises them, compressed (`WriteTo`) or raw (`WriteRawTo`).

The layout is that of gnark 0.11 to 0.15; proofs of 0.11.0, 0.14.0 and 0.15.0 were verified. Numbers are big-endian,
lengths are 4 bytes, an element of Fq2 has the coefficient of u first, and the top two bits of a point's first byte are
flags: raw, infinity, or compressed with the smaller or the larger y, where elements of Fq2 compare by the coefficient
of u first.

    key     alpha, beta in G1, beta, gamma, delta in G1, delta, length, IC₀, IC₁ …, two lengths of commitment data
    proof   a, b, c, length and commitments, their proof of knowledge
    public  number public, number secret, length, inputs

Commitments change the equation that a proof must satisfy, so keys and proofs that have any are refused. The points in
G1 that repeat beta and delta take no part in the equation; they must be on the curve, nothing more.
"""

from dataclasses import dataclass
from typing import Final

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats.values import (
    COORDINATE_SIZE,
    KEY,
    PROOF,
    PUBLIC,
    Reader,
    check_count,
    check_input,
    infinite,
    make_g1,
    make_g2,
    split,
)
from bitvm_bridge.program.groth16.native.curve import G1, G2, g1_is_on_curve
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, check_proof

LENGTH_SIZE: Final = 4
RAW: Final = 0x00
INFINITY: Final = 0x40
SMALLER_Y: Final = 0x80
LARGER_Y: Final = 0xC0
FLAGS: Final = 0xC0


@dataclass
class _Points:
    """The points and lengths of one serialisation, one after another."""

    reader: Reader
    compressed: bool

    def g1(self, name: str) -> G1:
        return make_g1(f"{self.reader.kind} {name}", *self._coordinates(name, 1))

    def g2(self, name: str) -> G2:
        coordinates, larger = self._coordinates(name, 2)
        pairs = zip(coordinates[1::2], coordinates[::2], strict=True)
        return make_g2(f"{self.reader.kind} {name}", [value for pair in pairs for value in pair], larger)

    def length(self, name: str) -> int:
        return int.from_bytes(self.reader.take(LENGTH_SIZE, name), "big")

    def is_infinite(self, name: str) -> bool:
        """Takes a point of G1; is it the one at infinity?"""
        flag = INFINITY if self.compressed else RAW
        size = COORDINATE_SIZE if self.compressed else 2 * COORDINATE_SIZE
        return self.reader.take(size, name) == bytes([flag]) + bytes(size - 1)

    def _coordinates(self, name: str, degree: int) -> tuple[list[int], bool]:
        field = f"{self.reader.kind} {name}"
        raw = self.reader.take((degree if self.compressed else 2 * degree) * COORDINATE_SIZE, name)
        flags = raw[0] & FLAGS
        rest = bytes([raw[0] ^ flags]) + raw[1:]
        if flags == INFINITY or (flags == RAW and not any(rest)):
            raise infinite(field)
        if (flags == RAW) == self.compressed:
            raise BadInput(field, raw, "compressed" if self.compressed else "raw, as the first point is")
        return split(rest, "big"), flags == LARGER_Y


def read_key(data: bytes, compressed: bool) -> VerifyingKey:
    """A `groth16.VerifyingKey` over BN254. Raises BadInput."""
    reader = Reader(data, KEY)
    points = _Points(reader, compressed)
    alpha, beta_g1, beta = points.g1("alpha"), points.g1("beta in G1"), points.g2("beta")
    gamma, delta_g1, delta = points.g2("gamma"), points.g1("delta in G1"), points.g2("delta")
    length = points.length("the length of ic")
    check_count(max(length - 1, 0))
    ic = tuple(points.g1(f"ic[{index}]") for index in range(length))
    for name in ("the number of committed inputs", "the number of commitment keys"):
        _refuse_commitments(KEY, points.length(name))
    reader.finish()
    for name, point in (("beta", beta_g1), ("delta", delta_g1)):
        if not g1_is_on_curve(point):
            raise BadInput(f"{KEY} {name} in G1", point, "a point on the curve")
    return VerifyingKey(alpha, beta, gamma, delta, ic)


def read_proof(data: bytes, compressed: bool) -> Proof:
    """A `groth16.Proof` over BN254. Raises BadInput."""
    reader = Reader(data, PROOF)
    points = _Points(reader, compressed)
    proof = Proof(points.g1("a"), points.g2("b"), points.g1("c"))
    _refuse_commitments(PROOF, points.length("the number of commitments"))
    if not points.is_infinite("the proof of knowledge"):
        raise BadInput(f"{PROOF} of knowledge", "a finite point", "at infinity, as it is without commitments")
    reader.finish()
    check_proof(proof)
    return proof


def read_public(data: bytes) -> tuple[int, ...]:
    """A public witness. Raises BadInput."""
    reader = Reader(data, PUBLIC)
    public, secret, length = (
        int.from_bytes(reader.take(LENGTH_SIZE, name), "big")
        for name in ("the number of public values", "the number of secret values", "the length")
    )
    if secret or length != public:
        raise BadInput(PUBLIC, f"{public} public, {secret} secret, {length} in all", "a public witness")
    check_count(public)
    numbers = split(reader.take(public * COORDINATE_SIZE, f"input {public - 1}"), "big")
    reader.finish()
    return tuple(check_input(index, value) for index, value in enumerate(numbers))


def _refuse_commitments(kind: str, count: int) -> None:
    if count:
        raise BadInput(f"commitments of the {kind}", count, "0: another equation holds for a proof with commitments")
