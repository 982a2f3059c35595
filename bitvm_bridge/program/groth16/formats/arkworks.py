"""Keys, proofs and public inputs as ark-groth16 and ark-bn254 serialise them (ark-serialize 0.4 and 0.5).

Numbers are little-endian, lengths are 8 bytes, and the top two bits of a point's last byte are flags: infinity, and y
larger than −y, where elements of Fq2 compare by the coefficient of u first. Uncompressed points carry the flags too.

    key     alpha, beta, gamma, delta, length, IC₀, IC₁ …
    proof   a, b, c
    public  length, inputs
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
    g1_y_is_larger,
    g2_y_is_larger,
    infinite,
    make_g1,
    make_g2,
    split,
)
from bitvm_bridge.program.groth16.native.curve import G1, G2
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, check_proof

LENGTH_SIZE: Final = 8
INFINITY: Final = 0x40
Y_IS_LARGER: Final = 0x80
_FLAGS: Final = INFINITY | Y_IS_LARGER


@dataclass
class _Points:
    """The points of one serialisation, one after another."""

    reader: Reader
    compressed: bool

    def g1(self, name: str) -> G1:
        coordinates, larger = self._coordinates(name, 1)
        point = make_g1(f"{self.reader.kind} {name}", coordinates, larger)
        self._check_flag(name, g1_y_is_larger(point), larger)
        return point

    def g2(self, name: str) -> G2:
        coordinates, larger = self._coordinates(name, 2)
        point = make_g2(f"{self.reader.kind} {name}", coordinates, larger)
        self._check_flag(name, g2_y_is_larger(point), larger)
        return point

    def _coordinates(self, name: str, degree: int) -> tuple[list[int], bool]:
        count = degree if self.compressed else 2 * degree
        raw = self.reader.take(count * COORDINATE_SIZE, name)
        flags = raw[-1] & _FLAGS
        if flags == _FLAGS:
            raise BadInput(f"{self.reader.kind} {name}", raw, "a point: both flags are set")
        if flags == INFINITY:
            raise infinite(f"{self.reader.kind} {name}")
        return split(raw[:-1] + bytes([raw[-1] ^ flags]), "little"), flags == Y_IS_LARGER

    def _check_flag(self, name: str, found: bool, flag: bool) -> None:
        """A second encoding of the same point is refused, though arkworks ignores the flag beside a y."""
        if found != flag:
            raise BadInput(f"{self.reader.kind} {name}", f"flag {int(flag)}", "the flag of its y")


def read_key(data: bytes, compressed: bool) -> VerifyingKey:
    """A `VerifyingKey<Bn254>`. Raises BadInput."""
    reader = Reader(data, KEY)
    points = _Points(reader, compressed)
    alpha, beta, gamma, delta = points.g1("alpha"), points.g2("beta"), points.g2("gamma"), points.g2("delta")
    length = int.from_bytes(reader.take(LENGTH_SIZE, "the length of ic"), "little")
    check_count(max(length - 1, 0))
    ic = tuple(points.g1(f"ic[{index}]") for index in range(length))
    reader.finish()
    return VerifyingKey(alpha, beta, gamma, delta, ic)


def read_proof(data: bytes, compressed: bool) -> Proof:
    """A `Proof<Bn254>`. Raises BadInput."""
    reader = Reader(data, PROOF)
    points = _Points(reader, compressed)
    proof = Proof(points.g1("a"), points.g2("b"), points.g1("c"))
    reader.finish()
    check_proof(proof)
    return proof


def read_public(data: bytes) -> tuple[int, ...]:
    """A `Vec<Fr>`. Raises BadInput."""
    reader = Reader(data, PUBLIC)
    count = check_count(int.from_bytes(reader.take(LENGTH_SIZE, "the length"), "little"))
    numbers = split(reader.take(count * COORDINATE_SIZE, f"input {count - 1}"), "little")
    reader.finish()
    return tuple(check_input(index, value) for index, value in enumerate(numbers))
