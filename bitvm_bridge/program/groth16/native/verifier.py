"""Groth16 (ePrint 2016/260) over BN254: e(A, B) = e(α, β)·e(IC₀ + Σ xᵢ·ICᵢ₊₁, γ)·e(C, δ)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.program.groth16.native.curve import (
    G1,
    G2,
    g1_is_on_curve,
    g1_msm,
    g1_neg,
    g2_is_in_subgroup,
    g2_is_on_curve,
)
from bitvm_bridge.program.groth16.native.field import FQ12_ONE, R
from bitvm_bridge.program.groth16.native.pairing import final_exponentiation, miller_loop
from bitvm_bridge.program.groth16.native.residue import residue


@dataclass(frozen=True)
class VerifyingKey:
    """A verifying key for `len(ic) - 1` public inputs. Raises BadInput where a point is not in its group."""

    alpha: G1
    beta: G2
    gamma: G2
    delta: G2
    ic: tuple[G1, ...]

    def __post_init__(self) -> None:
        if not self.ic:
            raise BadInput("verifying key ic", len(self.ic), "at least one point")
        _check_g1("verifying key alpha", self.alpha)
        for name in ("beta", "gamma", "delta"):
            _check_g2(f"verifying key {name}", getattr(self, name))
        for index, point in enumerate(self.ic):
            _check_g1(f"verifying key ic[{index}]", point)

    @property
    def input_count(self) -> int:
        """How many public inputs a proof has."""
        return len(self.ic) - 1

    def combine(self, inputs: Sequence[int]) -> G1 | None:
        """IC₀ + Σ xᵢ·ICᵢ₊₁. Raises BadInput."""
        check_inputs(self, inputs)
        return g1_msm(zip(self.ic, (1, *inputs), strict=True))

    def fold(self, constants: Mapping[int, int]) -> "VerifyingKey":
        """The key for the other inputs, in their order, once the inputs at these indices have these values.

        Raises BadInput for an index or a value out of range, and where the constant point would be at infinity.
        """
        for index, value in constants.items():
            if not 0 <= index < self.input_count:
                raise BadInput("index of a constant input", index, f"a whole number from 0 to {self.input_count - 1}")
            _check_input(index, value)
        first = g1_msm([(self.ic[0], 1), *((self.ic[index + 1], value) for index, value in constants.items())])
        if first is None:
            raise BadInput("constant inputs", dict(constants), "values whose sum of points is finite")
        rest = (point for index, point in enumerate(self.ic[1:]) if index not in constants)
        return replace(self, ic=(first, *rest))


@dataclass(frozen=True)
class Proof:
    """A proof as it came: its points are checked when it is verified."""

    a: G1
    b: G2
    c: G1


def check_proof(proof: Proof) -> None:
    """Raises BadInput where a point of the proof is not in its group."""
    _check_g1("proof a", proof.a)
    _check_g2("proof b", proof.b)
    _check_g1("proof c", proof.c)


def check_inputs(key: VerifyingKey, inputs: Sequence[int]) -> None:
    """Raises BadInput where there are too few or too many inputs, or one is not below R."""
    if len(inputs) != key.input_count:
        raise BadInput("number of public inputs", len(inputs), str(key.input_count))
    for index, value in enumerate(inputs):
        _check_input(index, value)


def _check_input(index: int, value: int) -> None:
    if not 0 <= value < R:
        raise BadInput(f"public input {index}", value, "a whole number from 0 to R − 1")


def _check_g1(field: str, point: G1) -> None:
    if not g1_is_on_curve(point):
        raise BadInput(field, point, "a point of G1: coordinates from 0 to P − 1 and on the curve")


def _check_g2(field: str, point: G2) -> None:
    if not g2_is_on_curve(point):
        raise BadInput(field, point, "a point of the twist: coordinates from 0 to P − 1 and on the curve")
    if not g2_is_in_subgroup(point):
        raise BadInput(field, point, "in the subgroup of order R of the twist")


def pairs(key: VerifyingKey, proof: Proof, inputs: Sequence[int]) -> tuple[tuple[G1, G2], ...]:
    """The pairs whose product of pairings is one for a valid proof: three where the public inputs combine to infinity,
    four otherwise. Raises BadInput for a malformed proof or malformed inputs.
    """
    check_proof(proof)
    combined = key.combine(inputs)
    return (
        (proof.a, proof.b),
        (g1_neg(key.alpha), key.beta),
        *([(g1_neg(combined), key.gamma)] if combined is not None else []),
        (g1_neg(proof.c), key.delta),
    )


def verify(key: VerifyingKey, proof: Proof, inputs: Sequence[int]) -> bool:
    """Whether the proof holds, judged by its residue witness. Raises BadInput as `pairs` does."""
    try:
        residue(miller_loop(pairs(key, proof, inputs)))
    except VerificationFailed:
        return False
    return True


def verify_plain(key: VerifyingKey, proof: Proof, inputs: Sequence[int]) -> bool:
    """Whether the proof holds, judged by the final exponentiation. Raises BadInput as `pairs` does."""
    return final_exponentiation(miller_loop(pairs(key, proof, inputs))) == FQ12_ONE
