"""`bitvm-bridge program`: bring in what another prover made, to dispute it here."""

import re
from collections.abc import Mapping, Sequence
from typing import Final

import click

from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.program.groth16.formats import (
    Format,
    detect_key,
    encode_key,
    key_hash,
    read_key,
    read_proof,
    read_public,
)
from bitvm_bridge.program.groth16.native.verifier import VerifyingKey, check_inputs, verify
from cli.app import STDOUT, App, read_file, say, with_app, write_file
from cli.table import Table, emit_rows

_CONSTANT: Final = re.compile(r"([0-9]{1,3})=([0-9]{1,78}|0x[0-9a-fA-F]{1,64})", re.ASCII)


@click.group()
def program() -> None:
    """Bring in a Groth16 verifying key that another prover made.

    \b
    bitvm-bridge program import --vk verification_key.json
    bitvm-bridge program import --vk verification_key.json --constant-input 0=7 --out folded.key
    bitvm-bridge program import --vk verification_key.json --proof proof.json --public public.json
    """


@program.command("import")
@click.option("--vk", required=True, metavar="FILE", help="Verifying key: snarkjs JSON, arkworks or gnark.")
@click.option(
    "--constant-input",
    "constants",
    multiple=True,
    metavar="INDEX=VALUE",
    help="Fix a public input for good; decimal or 0x hex, may be repeated.",
)
@click.option("--proof", "proof_file", metavar="FILE", help="Also verify this proof; needs --public.")
@click.option("--public", "public_file", metavar="FILE", help="All public inputs of the proof, fixed ones too.")
@click.option("--out", "--output", "out", metavar="FILE", help="Write the key, constants folded in.")
@with_app
def import_key(
    app: App, vk: str, constants: tuple[str, ...], proof_file: str | None, public_file: str | None, out: str | None
) -> None:
    """Check a verifying key, and a proof with it.

    The key must be over BN254, with 1 to 16 public inputs. The hash that is printed names the key with its constants;
    under one name there is one key, whatever format it came in.
    """
    if (proof_file is None) != (public_file is None):
        raise click.UsageError("--proof and --public need each other")
    raw = read_file(vk, "--vk")
    source, key = detect_key(raw), read_key(raw)
    fixed = _constants(constants)
    folded = key.fold(fixed)
    if proof_file is not None and public_file is not None:
        _verify(key, folded, fixed, read_file(proof_file, "--proof"), read_file(public_file, "--public"))
    if out is not None:
        write_file(out, encode_key(folded))
    if out != STDOUT:
        _show(app, source, key, folded, fixed, proof_file is not None)
    if proof_file is not None:
        say("the proof is valid")


def _show(
    app: App, source: Format, key: VerifyingKey, folded: VerifyingKey, fixed: Mapping[int, int], proven: bool
) -> None:
    document = {
        "format": str(source),
        "curve": "bn254",
        "inputs": key.input_count,
        "constants": {str(index): str(value) for index, value in sorted(fixed.items())},
        "inputs_left": folded.input_count,
        "hash": key_hash(folded).hex(),
        "proof": "valid" if proven else None,
    }
    rows: list[tuple[str, str]] = [
        ("format", str(source)),
        ("curve", "bn254"),
        ("public inputs", str(key.input_count)),
        *((f"constant {index}", str(value)) for index, value in sorted(fixed.items())),
        ("inputs left", str(folded.input_count)),
        ("hash", key_hash(folded).hex()),
        *([("proof", "valid")] if proven else []),
    ]
    lines = "\n".join(f"{name:<13}  {value}" for name, value in rows)
    emit_rows(app, document, Table("Verifying key", ("item", "value"), [*rows]), lines)


def _constants(texts: Sequence[str]) -> dict[int, int]:
    found: dict[int, int] = {}
    for text in texts:
        match = _CONSTANT.fullmatch(text)
        if match is None:
            raise BadInput("--constant-input", text, "INDEX=VALUE, the value decimal or 0x hex")
        index, value = int(match[1]), int(match[2], 16 if match[2].startswith("0x") else 10)
        if index in found:
            raise BadInput("--constant-input", text, f"the only value of input {index}")
        found[index] = value
    return found


def _verify(key: VerifyingKey, folded: VerifyingKey, fixed: Mapping[int, int], proof: bytes, public: bytes) -> None:
    """Raises VerificationFailed where the folded key does not accept the proof, BadInput where it cannot be asked."""
    inputs = read_public(public)
    check_inputs(key, inputs)
    for index, value in fixed.items():
        if inputs[index] != value:
            raise BadInput(f"public input {index}", inputs[index], f"{value}, its constant")
    rest = [value for index, value in enumerate(inputs) if index not in fixed]
    if not verify(folded, read_proof(proof), rest):
        raise VerificationFailed("proof: it does not verify with this key and these public inputs")
