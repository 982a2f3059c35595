"""How other provers write keys, proofs and public inputs, from their specifications and apart from our readers.

Nothing is checked on the way, so that what must be refused can be written too. Points are tuples, None at infinity.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from bitvm_bridge.program.groth16.native.field import P
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey
from tests.vectors import ROOT

FIXTURES: Final = ROOT / "fixtures" / "groth16"
Point: TypeAlias = Any
"""(x, y) with coordinates in Fq or Fq2, or None."""


@dataclass(frozen=True)
class RawKey:
    """A key that nobody has checked."""

    alpha: Point
    beta: Point
    gamma: Point
    delta: Point
    ic: tuple[Point, ...]
    beta_g1: Point = (1, 2)
    delta_g1: Point = (1, 2)


@dataclass(frozen=True)
class RawProof:
    """A proof that nobody has checked."""

    a: Point
    b: Point
    c: Point


def raw_key(key: VerifyingKey) -> RawKey:
    return RawKey(key.alpha, key.beta, key.gamma, key.delta, key.ic)


def raw_proof(proof: Proof) -> RawProof:
    return RawProof(proof.a, proof.b, proof.c)


@dataclass(frozen=True)
class Prover:
    """One serialisation."""

    name: str
    key: Callable[[RawKey], bytes]
    proof: Callable[[RawProof], bytes]
    public: Callable[[Sequence[int]], bytes]


def _limbs(coordinate: Any) -> tuple[int, ...]:
    return coordinate if isinstance(coordinate, tuple) else (coordinate,)


def _is_larger(y: Any) -> bool:
    limbs = _limbs(y)[::-1]
    return limbs > tuple(-limb % P for limb in limbs)


# snarkjs


def _json_coordinate(value: Any) -> Any:
    return [str(limb) for limb in value] if isinstance(value, tuple) else str(value)


def _json_point(point: Point, like: Point) -> list[Any]:
    one, zero = ((1, 0), (0, 0)) if isinstance(like[0], tuple) else (1, 0)
    x, y, z = (zero, one, zero) if point is None else (*point, one)
    return [_json_coordinate(value) for value in (x, y, z)]


G1_LIKE: Final = (0, 0)
G2_LIKE: Final = ((0, 0), (0, 0))


def snarkjs_key(key: RawKey) -> dict[str, Any]:
    return {
        "protocol": "groth16",
        "curve": "bn128",
        "nPublic": len(key.ic) - 1,
        "vk_alpha_1": _json_point(key.alpha, G1_LIKE),
        "vk_beta_2": _json_point(key.beta, G2_LIKE),
        "vk_gamma_2": _json_point(key.gamma, G2_LIKE),
        "vk_delta_2": _json_point(key.delta, G2_LIKE),
        "vk_alphabeta_12": [],
        "IC": [_json_point(point, G1_LIKE) for point in key.ic],
    }


def snarkjs_proof(proof: RawProof) -> dict[str, Any]:
    return {
        "pi_a": _json_point(proof.a, G1_LIKE),
        "pi_b": _json_point(proof.b, G2_LIKE),
        "pi_c": _json_point(proof.c, G1_LIKE),
        "protocol": "groth16",
        "curve": "bn128",
    }


# arkworks: little-endian, flags on the last byte


def _arkworks_point(point: Point, size: int, compressed: bool) -> bytes:
    """`size` is in bytes and of one coordinate."""
    if point is None:
        return bytes(size * (1 if compressed else 2) - 1) + b"\x40"
    x, y = (b"".join(limb.to_bytes(32, "little") for limb in _limbs(value)) for value in point)
    raw = bytearray(x if compressed else x + y)
    raw[-1] |= 0x80 if _is_larger(point[1]) else 0
    return bytes(raw)


def _arkworks(compressed: bool) -> Prover:
    def g1(point: Point) -> bytes:
        return _arkworks_point(point, 32, compressed)

    def g2(point: Point) -> bytes:
        return _arkworks_point(point, 64, compressed)

    def key(raw: RawKey) -> bytes:
        head = g1(raw.alpha) + g2(raw.beta) + g2(raw.gamma) + g2(raw.delta)
        return head + len(raw.ic).to_bytes(8, "little") + b"".join(map(g1, raw.ic))

    return Prover(
        f"arkworks, {'compressed' if compressed else 'uncompressed'}",
        key,
        lambda raw: g1(raw.a) + g2(raw.b) + g1(raw.c),
        lambda inputs: len(inputs).to_bytes(8, "little") + b"".join(value.to_bytes(32, "little") for value in inputs),
    )


# gnark: big-endian, flags on the first byte


def _gnark_point(point: Point, size: int, compressed: bool) -> bytes:
    """`size` is in bytes and of one coordinate."""
    if point is None:
        return b"\x40" + bytes(size - 1) if compressed else bytes(2 * size)
    x, y = (b"".join(limb.to_bytes(32, "big") for limb in _limbs(value)[::-1]) for value in point)
    if not compressed:
        return x + y
    return bytes([x[0] | (0xC0 if _is_larger(point[1]) else 0x80)]) + x[1:]


def _gnark(compressed: bool) -> Prover:
    def g1(point: Point) -> bytes:
        return _gnark_point(point, 32, compressed)

    def g2(point: Point) -> bytes:
        return _gnark_point(point, 64, compressed)

    def key(raw: RawKey) -> bytes:
        head = g1(raw.alpha) + g1(raw.beta_g1) + g2(raw.beta) + g2(raw.gamma) + g1(raw.delta_g1) + g2(raw.delta)
        return head + len(raw.ic).to_bytes(4, "big") + b"".join(map(g1, raw.ic)) + bytes(8)

    def public(inputs: Sequence[int]) -> bytes:
        count = len(inputs).to_bytes(4, "big")
        return count + bytes(4) + count + b"".join(value.to_bytes(32, "big") for value in inputs)

    return Prover(
        f"gnark, {'compressed' if compressed else 'raw'}",
        key,
        lambda raw: g1(raw.a) + g2(raw.b) + g1(raw.c) + bytes(4) + g1(None),
        public,
    )


SNARKJS: Final = Prover(
    "snarkjs",
    lambda raw: json.dumps(snarkjs_key(raw)).encode(),
    lambda raw: json.dumps(snarkjs_proof(raw)).encode(),
    lambda inputs: json.dumps([str(value) for value in inputs]).encode(),
)
ARKWORKS: Final = _arkworks(True)
ARKWORKS_UNCOMPRESSED: Final = _arkworks(False)
GNARK: Final = _gnark(True)
GNARK_RAW: Final = _gnark(False)
BINARY: Final = (ARKWORKS, ARKWORKS_UNCOMPRESSED, GNARK, GNARK_RAW)
ALL: Final = (SNARKJS, *BINARY)
WITH_Y: Final = (SNARKJS, ARKWORKS_UNCOMPRESSED, GNARK_RAW)
"""Those that write both coordinates, so that a point may be off the curve."""


def fixture(*parts: str) -> bytes:
    """The bytes of a fixture."""
    return FIXTURES.joinpath(*parts).read_bytes()


def proofs() -> list[Path]:
    """Every proof among the fixtures."""
    return sorted(FIXTURES.glob("*/*.proof.*"))
