"""Verifying keys whose trapdoor is known, so that a proof of any public inputs is a matter of arithmetic modulo R."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from bitvm_bridge.program.groth16.native.curve import G1, G1_GENERATOR, G2, G2_GENERATOR, g1_mul, g2_mul
from bitvm_bridge.program.groth16.native.field import R
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey


@dataclass(frozen=True)
class Trapdoor:
    """The discrete logarithms of a verifying key."""

    alpha: int
    beta: int
    gamma: int
    delta: int
    ic: tuple[int, ...]


def g1(scalar: int) -> G1:
    """A finite point by its discrete logarithm."""
    point = g1_mul(G1_GENERATOR, scalar)
    assert point is not None
    return point


def g2(scalar: int) -> G2:
    """A finite point by its discrete logarithm."""
    point = g2_mul(G2_GENERATOR, scalar)
    assert point is not None
    return point


def key_of(trapdoor: Trapdoor) -> VerifyingKey:
    """The key whose discrete logarithms these are."""
    return VerifyingKey(
        g1(trapdoor.alpha), g2(trapdoor.beta), g2(trapdoor.gamma), g2(trapdoor.delta), tuple(map(g1, trapdoor.ic))
    )


def toy_key(input_count: int, seed: int) -> tuple[VerifyingKey, Trapdoor]:
    """A random key for so many public inputs, and what nobody should know about it."""
    random = Random(seed)
    alpha, beta, gamma, delta, *ic = (random.randrange(1, R) for _ in range(5 + input_count))
    trapdoor = Trapdoor(alpha, beta, gamma, delta, tuple(ic))
    return key_of(trapdoor), trapdoor


def toy_proof(trapdoor: Trapdoor, inputs: Sequence[int], seed: int) -> Proof:
    """A random valid proof of these public inputs: a·b = α·β + L·γ + c·δ, solved for c."""
    random = Random(seed)
    a, b = random.randrange(1, R), random.randrange(1, R)
    combined = sum(x * ic for x, ic in zip((1, *inputs), trapdoor.ic, strict=True))
    c = (a * b - trapdoor.alpha * trapdoor.beta - combined * trapdoor.gamma) * pow(trapdoor.delta, -1, R) % R
    return Proof(g1(a), g2(b), g1(c))
