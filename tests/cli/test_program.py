"""`program import`: a key of another prover is read, checked, narrowed and stored, or refused without a trace."""

import json
import re
from pathlib import Path

import pytest

from bitvm_bridge.program.groth16.formats import decode_key, encode_key, encode_proof, read_key, read_proof, read_public
from bitvm_bridge.program.groth16.native.field import R
from tests.cli.bridge import Bridge
from tests.groth16.provers import FIXTURES, fixture

KEY = str(FIXTURES / "bridge" / "verification_key.json")
OTHER_KEY = str(FIXTURES / "factors" / "verification_key.json")
PROOF = str(FIXTURES / "bridge" / "one.proof.json")
PUBLIC = str(FIXTURES / "bridge" / "one.public.json")
OTHER_PUBLIC = str(FIXTURES / "bridge" / "zero.public.json")
IMPORT = ("program", "import", "--vk")
MISSING = "/nonexistent/folder/file"


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    return Bridge(tmp_path / "data")


def test_a_key_is_shown(bridge: Bridge) -> None:
    shown = bridge.data(*IMPORT, KEY)
    assert shown == {
        "format": "snarkjs",
        "curve": "bn254",
        "inputs": 2,
        "constants": {},
        "inputs_left": 2,
        "hash": "3aa984085893f0385c656b76d02fa59369a1577342a7a3600b3ba1037c80a69d",
        "proof": None,
    }
    lines = bridge.run(*IMPORT, KEY, "--constant-input", "1=0x10").stdout.splitlines()
    assert [re.split(r"  +", line) for line in lines[:5]] == [
        ["format", "snarkjs"],
        ["curve", "bn254"],
        ["public inputs", "2"],
        ["constant 1", "16"],
        ["inputs left", "1"],
    ]


def test_one_key_has_one_hash_in_every_format(bridge: Bridge, tmp_path: Path) -> None:
    for folder in ("arkworks", "gnark"):
        shown = [bridge.data(*IMPORT, str(path)) for path in sorted((FIXTURES / folder).glob("verif*"))]
        assert len({item["format"] for item in shown}) == 2
        stored = tmp_path / f"{folder}.key"
        stored.write_bytes(encode_key(read_key(next((FIXTURES / folder).glob("verif*")).read_bytes())))
        shown.append(bridge.data(*IMPORT, str(stored)))
        assert shown[-1]["format"] == "bitvm-bridge"
        assert len({item["hash"] for item in shown}) == 1


@pytest.mark.parametrize("option", ["--out", "--output"])
def test_a_key_is_stored_with_its_constants(bridge: Bridge, tmp_path: Path, option: str) -> None:
    out = tmp_path / "folded.key"
    constants = ("--constant-input", f"0={R - 1}")
    shown = bridge.data(*IMPORT, KEY, *constants, option, str(out))
    folded = read_key(fixture("bridge", "verification_key.json")).fold({0: R - 1})
    assert decode_key(out.read_bytes()) == folded
    assert shown["constants"] == {"0": str(R - 1)}
    assert shown["inputs_left"] == 1
    again = bridge.data(*IMPORT, str(out))
    assert again["hash"] == shown["hash"]
    assert again["inputs"] == 1


def test_a_key_goes_to_stdout_alone(bridge: Bridge) -> None:
    done = bridge.run(*IMPORT, KEY, "--out", "-")
    assert done.stdout.startswith("groth16/bn254/key/1")
    assert "snarkjs" not in done.stdout


@pytest.mark.parametrize(
    "constants",
    [(), ("0=1",), ("0=0x1",), ("1=END",), ("1=END", "0=1")],
    ids=" ".join,
)
def test_a_proof_is_verified_with_constants_or_without(bridge: Bridge, constants: tuple[str, ...]) -> None:
    end = str(read_public(Path(PUBLIC).read_bytes())[1])
    options = [part for text in constants for part in ("--constant-input", text.replace("END", end))]
    done = bridge.run(*IMPORT, KEY, *options, "--proof", PROOF, "--public", PUBLIC)
    assert done.stderr == "the proof is valid\n"
    assert re.search(r"^proof +valid$", done.stdout, re.MULTILINE)
    assert bridge.data(*IMPORT, KEY, *options, "--proof", PROOF, "--public", PUBLIC)["proof"] == "valid"


def test_a_stored_proof_brings_its_inputs(bridge: Bridge, tmp_path: Path) -> None:
    stored = tmp_path / "proof"
    proof, inputs = read_proof(Path(PROOF).read_bytes()), read_public(Path(PUBLIC).read_bytes())
    stored.write_bytes(encode_proof(proof, inputs))
    bridge.run(*IMPORT, KEY, "--proof", str(stored), "--public", str(stored))


@pytest.mark.parametrize(
    "args",
    [
        (KEY, "--proof", PROOF, "--public", OTHER_PUBLIC),
        (OTHER_KEY, "--proof", PROOF, "--public", PUBLIC),
        (KEY, "--constant-input", "0=0", "--proof", PROOF, "--public", OTHER_PUBLIC),
    ],
    ids=["inputs of another proof", "key of another circuit", "constant of another proof"],
)
def test_an_invalid_proof(bridge: Bridge, tmp_path: Path, args: tuple[str, ...]) -> None:
    out = tmp_path / "key"
    message = bridge.refused(*IMPORT, *args, "--out", str(out), code=5)
    assert message == "proof: it does not verify with this key and these public inputs"
    assert not out.exists()


PROVEN = ("--proof", PROOF, "--public", PUBLIC)
REFUSALS: list[tuple[tuple[str, ...], str]] = [
    ((MISSING,), f"--vk: '{MISSING}' .*No such file"),
    (("/",), "--vk: '/' .*directory"),
    ((PROOF,), "verifying key: .* missing required field `nPublic`"),
    ((PUBLIC,), "verifying key: .* is not as snarkjs writes it"),
    (("NOT_JSON",), "verifying key: 'nonsense' is not JSON"),
    (("OTHER_CURVE",), "^curve of the verifying key: 'bls12381' is not bn128 or bn254$"),
    ((str(FIXTURES / "gnark" / "committed_key.raw.bin"),), "^commitments of the verifying key: '1' is not 0"),
    ((KEY, "--constant-input", "0"), "--constant-input: '0' is not INDEX=VALUE"),
    ((KEY, "--constant-input", "0=-1"), "--constant-input: '0=-1' is not INDEX=VALUE"),
    ((KEY, "--constant-input", "0=0b1"), "--constant-input: '0=0b1' is not INDEX=VALUE"),
    ((KEY, "--constant-input", "0=1 "), "--constant-input: '0=1 ' is not INDEX=VALUE"),
    ((KEY, "--constant-input", "0=1\n"), "--constant-input: '0=1.*' is not INDEX=VALUE"),
    ((KEY, "--constant-input", f"0={'9' * 5000}"), "--constant-input: .*5002 characters.* is not INDEX=VALUE"),
    ((KEY, "--constant-input", "2=1"), "index of a constant input: '2' is not "),
    ((KEY, "--constant-input", f"0={R}"), f"public input 0: '{R}' is not .*from 0 to R − 1"),
    ((KEY, "--constant-input", f"1={R:#x}"), f"public input 1: '{R}' is not .*from 0 to R − 1"),
    ((KEY, *("--constant-input", "0=1") * 2), "--constant-input: '0=1' is not the only value of input 0"),
    ((KEY, "--constant-input", "0=2", *PROVEN), "public input 0: '1' is not 2, its constant"),
    ((KEY, "--proof", PROOF), "--proof and --public need each other"),
    ((KEY, "--public", PUBLIC), "--proof and --public need each other"),
    ((KEY, "--proof", KEY, "--public", PUBLIC), "proof: .* missing required field `pi_a`"),
    ((KEY, "--proof", PROOF, "--public", PROOF), "public inputs: .* is not as snarkjs writes it"),
    ((KEY, "--proof", MISSING, "--public", PUBLIC), f"--proof: '{MISSING}' .*No such file"),
    ((KEY, "--proof", PROOF, "--public", MISSING), f"--public: '{MISSING}' .*No such file"),
    (
        (KEY, "--proof", PROOF, "--public", str(FIXTURES / "square" / "one.public.json")),
        "^number of public inputs: '1' is not 2$",
    ),
    (("--proof", PROOF), "missing option '--vk'"),
]


def _name(value: object) -> str:
    return " ".join(Path(part).name for part in value)[:60] if isinstance(value, tuple) else ""


@pytest.mark.parametrize(("args", "expected"), REFUSALS, ids=_name)
def test_refusals(bridge: Bridge, tmp_path: Path, args: tuple[str, ...], expected: str) -> None:
    document = json.loads(Path(KEY).read_bytes())
    files = {"NOT_JSON": tmp_path / "nonsense", "OTHER_CURVE": tmp_path / "curve"}
    files["NOT_JSON"].write_text("nonsense")
    files["OTHER_CURVE"].write_text(json.dumps(document | {"curve": "bls12381"}))
    out = tmp_path / "out"
    out.write_text("precious")
    line = [str(files.get(arg, arg)) for arg in args]
    command = ("program", "import", *(() if line[0].startswith("--") else ("--vk",)))
    message = bridge.refused(*command, *line, "--out", str(out), code=2)
    assert re.search(expected, message), message
    assert out.read_text() == "precious"


def test_out_that_cannot_be_written(bridge: Bridge) -> None:
    message = bridge.refused(*IMPORT, KEY, *PROVEN, "--out", MISSING, code=2)
    assert message.startswith(f"--out: '{MISSING}' is not a file to write to")
