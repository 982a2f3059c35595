"""A small program with everything that a verifier needs: raw numbers, a check without output, a hint, an early end.

An operator hands in two numbers. `small` checks that both are below 2^232. `half` halves the lowest 29 bits of the
first, which must be even, puts the result in place of the second's, and hashes: a hint has the half, and where the
number is odd the leaf is satisfied without a hash. `again` hashes once more.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final
from unittest.mock import patch

from bitvm_bridge import program as programs
from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import Chunk, Program, Run, Value, differ
from scripts_tapleaf import blake3, winternitz
from scripts_tapleaf.script import (
    OP_0,
    OP_1,
    OP_2DROP,
    OP_ADD,
    OP_BOOLOR,
    OP_DROP,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_FROMALTSTACK,
    OP_IF,
    OP_NIP,
    OP_NUMEQUALVERIFY,
    OP_PICK,
    OP_ROLL,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_VERIFY,
    OP_WITHIN,
    encode_num,
    num,
)

LIMBS: Final = winternitz.limb_count(256)
DIGEST_LIMBS: Final = winternitz.limb_count(160)
DIGEST: Final = 20
BELOW: Final = 1 << 232
"""The top limb of a number is 0 below this."""
VALUES: Final = (Value("first", 256), Value("second", 256), Value("half", 160), Value("again", 160))


@dataclass(frozen=True)
class Small(Chunk):
    """Wrong where a top limb is not 0; there is nothing to claim."""

    name: str = "small"
    inputs: tuple[int, ...] = (0, 1)
    output: int | None = None

    def script(self) -> bytes:
        """Both top limbs, or'd."""
        to_top_limb = OP_2DROP * (LIMBS // 2)
        return to_top_limb + OP_TOALTSTACK + to_top_limb + OP_FROMALTSTACK + OP_BOOLOR


@dataclass(frozen=True)
class Half(Chunk):
    """Hints: the half, and the bit that is left."""

    name: str = "half"
    inputs: tuple[int, ...] = (0, 1)
    output: int | None = 2

    def script(self) -> bytes:
        """Satisfied by an odd number, else by a digest that differs."""
        number = num(LIMBS) + OP_ROLL
        bit = num(2 * LIMBS) + OP_ROLL + OP_DUP + OP_0 + num(2) + OP_WITHIN + OP_VERIFY
        half = num(2 * LIMBS + 1) + OP_ROLL + OP_DUP + OP_0 + num(1 << 28) + OP_WITHIN + OP_VERIFY
        is_half = OP_DUP + OP_DUP + OP_ADD + num(2) + OP_PICK + OP_ADD + num(3) + OP_PICK + OP_NUMEQUALVERIFY
        rest = 2 * LIMBS + 1  # the number and its half among them
        odd = OP_2DROP * (rest // 2) + OP_DROP * (rest % 2) + OP_1
        hashed = blake3.blake3_script(32, reserved=DIGEST_LIMBS + LIMBS).script
        even = OP_NIP + OP_NIP + hashed + differ(DIGEST_LIMBS) + OP_NIP * (LIMBS - 1)
        return b"".join((number, bit, half, is_half, OP_SWAP, OP_IF, odd, OP_ELSE, even, OP_ENDIF))


@dataclass(frozen=True)
class Again(Chunk):
    """One hash of the digest before."""

    name: str = "again"
    inputs: tuple[int, ...] = (2,)
    output: int | None = 3

    def script(self) -> bytes:
        """The hash, compared."""
        return blake3.blake3_script(DIGEST, reserved=DIGEST_LIMBS).script + differ(DIGEST_LIMBS)


class Toy(Program):
    """The same for every instance, so that its values can be made by hand."""

    name = "toy"
    values = VALUES
    raw_count = 2
    chunks = (Small(), Half(), Again())

    def run(self, raw: Sequence[bytes]) -> Run:
        """Natively; what cannot be computed is filled with zeros."""
        first, second = (int.from_bytes(number, "little") for number in raw)
        empty = (bytes(DIGEST), bytes(DIGEST))
        if max(first, second) >= BELOW:
            return Run((*raw, *empty), 0, "a number is not below 2^232")
        limb = first % (1 << winternitz.LIMB_BITS)
        if limb % 2:
            return Run((*raw, *empty), 1, "the first number is odd")
        second += limb // 2 - second % (1 << winternitz.LIMB_BITS)
        half = blake3.digest(second.to_bytes(32, "little"), DIGEST)
        return Run((*raw, half, blake3.digest(half, DIGEST)))

    def hints(self, run: Run, index: int) -> list[bytes]:
        """For `half`: the half, and the bit that is left."""
        if self.chunks[index].name != "half":
            return []
        limb = winternitz.to_limbs(run.values[0][:32])[0]
        return [encode_num(limb // 2), encode_num(limb % 2)]

    def read_input(self, document: bytes | None) -> tuple[bytes, ...]:
        """Two numbers of 32 bytes in hex, on two lines. Raises BadInput."""
        lines = [] if document is None else document.decode("ascii", "replace").split()
        if [len(line) for line in lines] != [64, 64]:
            raise BadInput("--proof", f"{len(lines)} lines", "two numbers of 32 bytes in hex")
        return tuple(bytes.fromhex(line) for line in lines)


@dataclass(frozen=True)
class ToySpec:
    """Its text form is `toy`."""

    values: tuple[Value, ...] = VALUES

    def __str__(self) -> str:
        return Toy.name

    def specialise(self, instance_id: bytes) -> Toy:
        """The program, whatever the instance."""
        del instance_id
        return Toy()


def number(value: int) -> bytes:
    """As a raw value."""
    return value.to_bytes(32, "little")


def proof_file(*numbers: int) -> bytes:
    """What the operator hands in."""
    return "\n".join(number(value).hex() for value in numbers).encode()


@contextmanager
def known() -> Iterator[None]:
    """`parse_program` knows the toy meanwhile."""
    with patch.dict(programs._SPECS, {Toy.name: lambda text: ToySpec()}):
        yield
