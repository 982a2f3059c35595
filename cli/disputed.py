"""What is disputed, on the command line: a program, its verifying key, and what an operator hands in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from bitvm_bridge import batch, records
from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import Groth16, Groth16Spec, HashChainSpec, ProgramSpec, parse_program
from bitvm_bridge.program.groth16.formats import (
    Format,
    detect_proof,
    encode_proof,
    key_hash,
    read_key,
    read_proof,
    read_public,
)
from bitvm_bridge.program.groth16.program import UNBOUND
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.store import Store
from bitvm_bridge.workers import cores
from cli.app import read_file
from cli.table import working

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT: Final = str(HashChainSpec())
PROFILE: Final = "compact"
FIXTURES: Final = Path(__file__).parent.parent / "fixtures" / "groth16" / "square"
EXAMPLE: Final = {"vk": "verification_key.json", "proof": "other.proof.json", "public": "other.public.json"}
"""Options of the example that comes with the source, and its files."""
SHOWN_DIGITS: Final = 12
"""hex digits of a key's hash in a program's short name."""


def program_options(default: str = DEFAULT) -> Callable[[F], F]:
    """--program, and what `--program groth16` takes: --vk, --instance-input, --profile."""
    options = (
        click.option(
            "--program", default=default, show_default=True, help="What a challenge disputes; groth16 takes --vk."
        ),
        click.option("--vk", metavar="FILE", help="With groth16: verifying key of snarkjs, arkworks or gnark."),
        click.option(
            "--instance-input",
            metavar="INDEX",
            help=f"With groth16: the public input that must be the instance id, or `{UNBOUND}`.",
        ),
        click.option("--profile", metavar="NAME", help=f"With groth16: how it is cut, compact or relay [{PROFILE}]."),
    )

    def add(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return add


def take_program(options: dict[str, Any], *, bound: str = "0") -> ProgramSpec:
    """The program out of a command's options, compiled; `bound` is its instance input unless one is given.

    Raises BadInput.
    """
    text, vk, index, profile = (options.pop(name) for name in ("program", "vk", "instance_input", "profile"))
    if text == Groth16.name:
        if vk is None:
            raise BadInput("--vk", "nothing", f"a verifying key, which --program {text} needs")
        return compiled(Groth16Spec(read_key(read_file(vk, "--vk")), profile or PROFILE, _input(index or bound)))
    for name, value in (("--vk", vk), ("--instance-input", index), ("--profile", profile)):
        if value is not None:
            raise BadInput(name, value, f"used without --program {Groth16.name}")
    return compiled(parse_program(text))


def fill_in(options: dict[str, Any]) -> None:
    """Give `--program groth16` alone the example's key and proof. Raises BadInput where they are not there."""
    if options["program"] != Groth16.name or any(options[name] is not None for name in EXAMPLE):
        return
    if not all((FIXTURES / file).is_file() for file in EXAMPLE.values()):
        raise BadInput("--vk", "nothing", f"a verifying key, and the example is not in {FIXTURES}")
    options |= {name: str(FIXTURES / file) for name, file in EXAMPLE.items()}


def take_subject(options: dict[str, Any]) -> tuple[ProgramSpec, bytes | None]:
    """A program and what its operator hands in, checked as far as can be without an instance. Raises BadInput."""
    fill_in(options)
    files, spec = read_files(options), take_program(options, bound=UNBOUND)
    if not isinstance(spec, Groth16Spec):
        return spec, document_for(str(spec).partition(":")[0], files)
    document = document_for(Groth16.name, files)
    spec.specialise(bytes(32)).read_input(document)
    return spec, document


def compiled(spec: ProgramSpec) -> ProgramSpec:
    """The same program; the first time a key is met, this takes a minute or two, and a terminal shows it."""
    with compiling():
        _ = spec.values
    return spec


def compiling() -> Any:
    """Shown on a terminal while a program is compiled."""
    return working("compiling the disputed program; kept for the next time")


def load_instance(store: Store, prefix: str) -> InstanceSetup:
    """An instance, its program compiled. Raises BadInput."""
    with compiling():
        return records.load_instance(store, prefix)


def load_bundle(store: Store, prefix: str) -> Bundle:
    """The bundle of an instance, verified. Raises BadInput."""
    with compiling():
        return records.load_bundle(store, prefix)


def bundles_of(store: Store, deposit: DepositSetup) -> list[Bundle]:
    """The bundle of every instance of a deposit, verified over all cores. Raises BadInput where one is not signed."""
    with compiling():
        setups = batch.with_graphs(records.instances_of(store, deposit), cores())
        return [records.bundle_of(store, setup) for setup in setups]


def _input(text: str) -> int | None:
    if text == UNBOUND:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 4):
        raise BadInput("--instance-input", text, f"the index of a public input, or `{UNBOUND}`")
    return int(text)


def short_name(spec: ProgramSpec) -> str:
    """The text form for people: a verifying key is shown by its hash, and by the beginning of that."""
    if not isinstance(spec, Groth16Spec):
        return str(spec)
    head = str(spec).rpartition(":")[0]
    return f"{head}:{key_hash(spec.key).hex()[:SHOWN_DIGITS]}…"


def proof_options(command: F) -> F:
    """--proof and --public: what the program takes as input."""
    for option in (
        click.option("--public", metavar="FILE", help="Public inputs of the proof, unless its file has them."),
        click.option("--proof", metavar="FILE", help="Input of the program, such as a proof, where it takes one."),
    ):
        command = option(command)
    return command


Files = tuple[bytes | None, bytes | None]
"""The contents of --proof and --public."""
NO_FILES: Final[Files] = (None, None)


def read_files(options: dict[str, Any]) -> Files:
    """Out of a command's options. Raises BadInput."""
    proof, public = options.pop("proof"), options.pop("public")
    if public is not None and proof is None:
        raise BadInput("--public", public, "used without --proof")
    contents = [
        None if path is None else read_file(path, name) for name, path in (("--proof", proof), ("--public", public))
    ]
    return contents[0], contents[1]


def document_for(name: str, files: Files) -> bytes | None:
    """What a program of this name reads, from the files of any prover. Raises BadInput."""
    proof, public = files
    if name != Groth16.name:
        if public is not None:
            raise BadInput("--public", "given", f"used with {name}")
        return proof
    if proof is None:
        return None
    if public is not None:
        return encode_proof(read_proof(proof), read_public(public))
    if (found := detect_proof(proof)) is not Format.CANONICAL:
        raise BadInput("--public", "nothing", f"the public inputs, which a proof in the format {found} does not have")
    return proof
