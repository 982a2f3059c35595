"""The Groth16 verifier as a disputed program: what an operator commits to is a proof of a third-party prover."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, NamedTuple, Self

from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.program.base import RAW_BITS, Value
from bitvm_bridge.program.cache import cached, directory, script_key
from bitvm_bridge.program.circuit_program import CircuitProgram, CircuitSteps
from bitvm_bridge.program.groth16.circuit import input_name, proof_names, verifier
from bitvm_bridge.program.groth16.formats import decode_key, decode_proof, encode_key
from bitvm_bridge.program.groth16.native.field import R
from bitvm_bridge.program.groth16.native.pairing import miller_loop
from bitvm_bridge.program.groth16.native.residue import residue, torus
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, pairs
from bitvm_bridge.program.partition import PROFILES, partition

NAME: Final = "groth16"
UNBOUND: Final = "none"
"""In a program's text: no public input is the instance id."""
RAW_BYTES: Final = RAW_BITS // 8


class Plan(NamedTuple):
    """How the circuit of a key is cut: for every leaf the operation behind its last one, and what the leaf has."""

    stops: tuple[int, ...]
    scripts: tuple[int, ...]
    witnesses: tuple[int, ...]
    stacks: tuple[int, ...]
    values: tuple[Value, ...] = ()
    """What an operator commits to, so that a set-up knows it without the circuit."""


class Groth16(CircuitProgram):
    """The verifier of one key with the instance id folded in."""

    name = NAME

    def __init__(self, key: VerifyingKey, folded: VerifyingKey, constants: dict[int, int], plan: Plan) -> None:
        super().__init__(verifier(folded), plan.stops)
        self.key, self.folded, self.constants = key, folded, constants

    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        """The numbers of a stored proof (`formats.encode_proof`), and its residue witness; a proof that does not
        verify has any witness. Raises BadInput.
        """
        if document is None:
            raise BadInput("--proof", "nothing", "a Groth16 proof with its public inputs")
        proof, inputs = decode_proof(document)
        if len(inputs) != self.key.input_count:
            raise BadInput("public inputs", len(inputs), f"{self.key.input_count}, as the key has")
        for index, constant in self.constants.items():
            if inputs[index] != constant:
                raise BadInput(f"public input {index}", inputs[index], f"{constant}, the id of this instance")
        free = [value for index, value in enumerate(inputs) if index not in self.constants]
        return self.raw(proof, free)

    def raw(self, proof: Proof, inputs: Sequence[int]) -> tuple[bytes, ...]:
        """What is committed for a proof and the public inputs that are not constants."""
        numbers = dict(zip(proof_names(), (*_flat(proof), *_witness(self.folded, proof, inputs)), strict=True))
        numbers |= {input_name(index): value for index, value in enumerate(inputs)}
        return tuple(numbers[name].to_bytes(RAW_BYTES, "little") for name in self.raw_names)


def _flat(proof: Proof) -> tuple[int, ...]:
    return (*proof.a, *proof.c, *proof.b[0], *proof.b[1])


def _witness(key: VerifyingKey, proof: Proof, inputs: Sequence[int]) -> tuple[int, ...]:
    try:
        root = torus(residue(miller_loop(pairs(key, proof, inputs))).root)
    except VerificationFailed:
        root = None
    return tuple(part for coefficient in root or ((1, 0), (0, 0), (0, 0)) for part in coefficient)


@dataclass(frozen=True)
class Groth16Spec:
    """A key, how its verifier is cut, and which public input is the instance id; text `groth16:PROFILE:INPUT:KEY`.

    KEY is the stored form of the verifying key in hex, so that the text says all there is to agree on.
    """

    key: VerifyingKey
    profile: str = "compact"
    instance_input: int | None = 0

    def __post_init__(self) -> None:
        """Raises BadInput."""
        if self.profile not in PROFILES:
            raise BadInput("program profile", self.profile, f"one of {', '.join(PROFILES)}")
        if self.instance_input is not None and not 0 <= self.instance_input < self.key.input_count:
            raise BadInput("instance input", self.instance_input, f"a public input, 0 to {self.key.input_count - 1}")

    def __str__(self) -> str:
        bound = UNBOUND if self.instance_input is None else str(self.instance_input)
        return f"{NAME}:{self.profile}:{bound}:{encode_key(self.key).hex()}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Inverse of `str`. Raises BadInput."""
        parts = text.split(":")
        if len(parts) != 4 or parts[0] != NAME or not (parts[2] == UNBOUND or parts[2].isdecimal()):
            raise BadInput("program", text[:60], "groth16:PROFILE:INPUT:KEY")
        try:
            key = decode_key(bytes.fromhex(parts[3]))
        except ValueError:
            raise BadInput("program key", parts[3][:40], "a stored key in hex") from None
        return cls(key, parts[1], None if parts[2] == UNBOUND else int(parts[2]))

    @property
    def values(self) -> tuple[Value, ...]:
        """What an operator commits to."""
        return self.plan.values

    @cached_property
    def plan(self) -> Plan:
        """From the cache, or made by compiling every leaf; the same for all instances."""
        stored = cached(directory(), script_key(f"plan {self}", 0), self._make_plan)
        stops, scripts, witnesses, stacks, values = json.loads(stored)
        values = tuple(Value(name, bits) for name, bits in values)
        return Plan(tuple(stops), tuple(scripts), tuple(witnesses), tuple(stacks), values)

    def specialise(self, instance_id: bytes) -> Groth16:
        """The program of one instance."""
        constants = self._constants(int.from_bytes(instance_id, "big") % R)
        return Groth16(self.key, self.key.fold(constants), constants, self.plan)

    def _constants(self, instance: int) -> dict[int, int]:
        return {} if self.instance_input is None else {self.instance_input: instance}

    def _make_plan(self) -> bytes:
        """Of an instance whose id counts as 0: the key's constant point is the only difference to others."""
        constants = self._constants(0)
        folded = self.key.fold(constants)
        steps = CircuitSteps(verifier(folded))
        stops = tuple(stop for _, stop in partition(steps, PROFILES[self.profile]))
        plan = Plan(
            stops,
            scripts=tuple(cost.script for cost in steps.costs),
            witnesses=tuple(cost.witness for cost in steps.costs),
            stacks=tuple(cost.max_stack for cost in steps.costs),
        )
        return json.dumps(plan._replace(values=Groth16(self.key, folded, constants, plan).values)).encode()
