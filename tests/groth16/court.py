"""The whole verifier under an operator's keys, what the operator signs, and Core's verdict on every leaf."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final, Self, cast

from bitvm_bridge.program import Checks, Groth16, Groth16Spec, Verdict
from bitvm_bridge.program.circuit_program import CircuitRun
from bitvm_bridge.program.groth16.native.field import R
from bitvm_bridge.program.groth16.native.verifier import Proof
from bitvm_bridge.program.groth16.program import Plan
from scripts_tapleaf import winternitz
from tests.core import spend_leaf
from tests.groth16.toy import Trapdoor, toy_key, toy_proof

SEED: Final = bytes(32)
INSTANCE: Final = bytes(range(32))
CONSTANT: Final = int.from_bytes(INSTANCE, "big") % R
FREE: Final = 777
"""The public input that is not the instance id, in an honest claim."""
KINDS: Final = (
    "points A and C",
    "point B",
    "residue witness, first half",
    "residue witness",
    "square of the residue witness, power 2",
    "public inputs",
    "preparation",
    "step0.double",
    "step0.add",
    "step2.root",
    "psi1.add",
    "psi2.add",
    "frobenius2",
    "pairing equation",
)
"""One chunk of every kind."""


def number(value: int) -> bytes:
    """As a raw value is committed; one byte more where the signature is of no message."""
    return value.to_bytes(32 + (value >> 256 != 0), "little")


@dataclass(frozen=True)
class Court:
    """A program, its keys, and the honest claim. Nothing here keeps an operator from signing twice."""

    program: Groth16
    plan: Plan
    trapdoor: Trapdoor
    secrets: tuple[winternitz.SecretKey, ...] = field(repr=False)
    checks: Checks = field(repr=False)

    @classmethod
    def open(cls) -> Self:
        key, trapdoor = toy_key(2, seed=5)
        spec = Groth16Spec(key)
        program = spec.specialise(INSTANCE)
        values = enumerate(program.values)
        secrets = tuple(winternitz.derive_secret(SEED, INSTANCE, slot, value.bits) for slot, value in values)
        return cls(program, spec.plan, trapdoor, secrets, Checks(program, tuple(map(winternitz.public_key, secrets))))

    def proof(self, free: int = FREE, seed: int = 3) -> Proof:
        """A valid one."""
        return toy_proof(self.trapdoor, (CONSTANT, free), seed)

    @cached_property
    def raw(self) -> tuple[bytes, ...]:
        """Of the honest claim."""
        return self.program.raw(self.proof(), [FREE])

    @cached_property
    def honest(self) -> CircuitRun:
        """The honest claim."""
        return self.program.run(self.raw)

    @cached_property
    def signatures(self) -> tuple[tuple[bytes, ...], ...]:
        """Of the honest claim."""
        return tuple(self.sign(slot, value) for slot, value in enumerate(self.honest.values))

    def index(self, chunk: str) -> int:
        return self.checks.index(chunk)

    def slot(self, name: str) -> int:
        """Of a committed value."""
        return [value.name for value in self.program.values].index(name)

    def changed(self, **numbers: int) -> tuple[bytes, ...]:
        """The honest raw values, some of them replaced; underscores stand for dots in names."""
        return self.replaced({name.replace("_", "."): value for name, value in numbers.items()})

    def replaced(self, numbers: Mapping[str, int]) -> tuple[bytes, ...]:
        """The honest raw values, some of them replaced."""
        unknown = set(numbers) - set(self.program.raw_names)
        assert not unknown
        pairs = zip(self.program.raw_names, self.raw, strict=True)
        return tuple(number(numbers[name]) if name in numbers else value for name, value in pairs)

    def sign(self, slot: int, value: bytes) -> tuple[bytes, ...]:
        """Any codeword, also one of no message."""
        return tuple(winternitz.sign_number(self.secrets[slot], int.from_bytes(value, "little")))

    def witness(self, index: int, run: CircuitRun, values: Sequence[bytes]) -> list[bytes]:
        """Of a leaf, from what a run knows and an operator signed."""
        chunk = self.program.chunks[index]
        slots = {*chunk.inputs} | ({chunk.output} if chunk.output is not None else set())
        signatures: list[Sequence[bytes]] = [()] * len(values)
        for slot in slots:
            is_honest = values[slot] == self.honest.values[slot]
            signatures[slot] = self.signatures[slot] if is_honest else self.sign(slot, values[slot])
        return self.checks.witness(index, run, values, signatures)

    def script(self, index: int) -> bytes:
        return self.checks.leaf(self.program.chunks[index].name)

    def accepts(self, index: int, run: CircuitRun, values: Sequence[bytes]) -> bool:
        """Core's verdict on a leaf."""
        return spend_leaf(self.script(index), self.witness(index, run, values))

    def disproved(self, values: Sequence[bytes]) -> Verdict:
        """The verdict on a wrong assertion, whose leaf Core must accept."""
        verdict = self.program.first_wrong(values)
        assert verdict is not None
        assert self.accepts(verdict.chunk, cast(CircuitRun, verdict.run), values), self.name(verdict)
        return verdict

    def claimed(self, raw: Sequence[bytes]) -> tuple[bytes, ...]:
        """What an operator signs who computes everything as it should be from these raw values."""
        return self.program.run(raw).values

    def name(self, verdict: Verdict) -> str:
        """Of the chunk."""
        return self.program.chunks[verdict.chunk].name
