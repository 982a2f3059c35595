"""The Groth16 verifier through the commands: joined with a key, asserted with a proof, disproved, refused."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitvm_bridge.policy import MAX_STANDARD_WEIGHT
from bitvm_bridge.program import Groth16Spec
from bitvm_bridge.program.groth16.formats import encode_proof, key_hash, read_key, read_proof, read_public
from cli import disputed
from cli.main import root
from tests.cli.bridge import Bridge, challenged, set_up
from tests.cli.conftest import Copy
from tests.groth16.provers import FIXTURES

SQUARE = FIXTURES / "square"
KEY = str(SQUARE / "verification_key.json")
PROOF = str(SQUARE / "other.proof.json")
PUBLIC = str(SQUARE / "other.public.json")
GROTH16 = ("--program", "groth16")
MINED = re.compile(r"[\d,]+ WU is above the relay limit of [\d,]+; --broadcast mines it on regtest")

PROGRAMS: list[tuple[tuple[str, ...], str]] = [
    (GROTH16, "--vk: 'nothing' is not a verifying key, which --program groth16 needs"),
    ((*GROTH16, "--vk", "/no/such"), "--vk: '/no/such' is not a readable file (No such file or directory)"),
    (
        (*GROTH16, "--vk", KEY, "--profile", "tiny"),
        "program profile: 'tiny' is not one of compact, relay",
    ),
    ((*GROTH16, "--vk", KEY, "--instance-input", "1"), "instance input: '1' is not a public input, 0 to 0"),
    (
        (*GROTH16, "--vk", KEY, "--instance-input", "first"),
        "--instance-input: 'first' is not the index of a public input, or `none`",
    ),
    (("--vk", KEY), f"--vk: '{KEY}' is not used without --program groth16"),
    (("--profile", "compact"), "--profile: 'compact' is not used without --program groth16"),
    (("--instance-input", "0"), "--instance-input: '0' is not used without --program groth16"),
    (("--program", "groth17"), "program: 'groth17' is not one of hash-chain, groth16"),
    (("--program", "groth16:compact"), "program: 'groth16:compact' is not groth16:PROFILE:INPUT:KEY"),
    (("--program", "groth16:compact:0:zz"), "program key: 'zz' is not a stored key in hex"),
]


@pytest.mark.parametrize(("options", "message"), PROGRAMS)
def test_a_program_that_does_not_exist(tmp_path: Path, options: tuple[str, ...], message: str) -> None:
    assert Bridge(tmp_path).refused("operator", "join", "0000", *options, code=2) == message


@pytest.mark.parametrize(("options", "message"), PROGRAMS[1:])
@pytest.mark.parametrize("command", ["bench", "demo"])
def test_the_same_where_an_example_stands_in(
    tmp_path: Path, command: str, options: tuple[str, ...], message: str
) -> None:
    assert Bridge(tmp_path).refused(command, *options, code=2) == message


def test_a_key_that_is_none(tmp_path: Path) -> None:
    message = Bridge(tmp_path).refused("operator", "join", "0000", *GROTH16, "--vk", PROOF, code=2)
    assert message.startswith("verifying key")
    assert "\n" not in message


def test_an_example_that_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disputed, "FIXTURES", tmp_path / "none")
    message = Bridge(tmp_path / "data").refused("demo", *GROTH16, code=2)
    assert message == f"--vk: 'nothing' is not a verifying key, and the example is not in {tmp_path / 'none'}"


def test_proofs_and_stories_that_a_program_does_not_have(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path)
    assert bridge.refused("demo", "--public", PUBLIC, code=2) == f"--public: '{PUBLIC}' is not used without --proof"
    message = bridge.refused("demo", "--proof", PROOF, "--public", PUBLIC, code=2)
    assert message == "--public: 'given' is not used with hash-chain"
    message = bridge.refused("demo", "forged", "--program", "hash-chain:4:1", code=2)
    stories = "happy, challenged, fraud, silent, refund, dlc, dlc-fraud"
    assert message == f"story: 'forged' is not one of {stories}: hash-chain:4:1 takes no proof"


def test_a_long_program_has_a_short_name() -> None:
    key = read_key(Path(KEY).read_bytes())
    spec = Groth16Spec(key)
    assert disputed.short_name(spec) == f"groth16:compact:0:{key_hash(key).hex()[:12]}…"
    assert Groth16Spec.parse(str(spec)) == spec


# What follows needs the compiled verifier.


@pytest.fixture(scope="session")
def claimed(keyed: Bridge, verifier: Groth16Spec, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str]:
    """A challenged claim whose program is the verifier."""
    bridge = keyed.copy(tmp_path_factory.mktemp("verifier") / "data")
    instance = set_up(bridge, "groth16", "--vk", KEY, "--instance-input", "none")
    challenged(bridge, instance)
    return bridge, instance


@pytest.mark.compiled
def test_the_program_is_named_whole_for_machines_and_short_for_people(
    claimed: tuple[Bridge, str], verifier: Groth16Spec
) -> None:
    bridge, instance = claimed
    (row,) = bridge.data("instance", "list")["instances"]
    assert (row["instance"], row["program"]) == (instance, str(verifier))
    shown = bridge.run("instance", "list").stdout.split()
    assert shown == [instance, disputed.short_name(verifier), "signed"]


REFUSED: list[tuple[tuple[str, ...], int, str]] = [
    ((), 2, "--proof: 'nothing' is not a Groth16 proof with its public inputs"),
    (
        ("--proof", PROOF),
        2,
        "--public: 'nothing' is not the public inputs, which a proof in the format snarkjs does not have",
    ),
    (("--public", PUBLIC), 2, f"--public: '{PUBLIC}' is not used without --proof"),
    (
        ("--proof", PROOF, "--public", str(FIXTURES / "factors" / "other.public.json")),
        2,
        "public inputs: '2' is not 1, as the key has",
    ),
    (
        ("--proof", PROOF, "--public", str(SQUARE / "one.public.json")),
        5,
        "the proof does not verify: the pairing equation does not hold",
    ),
    (
        ("--proof", str(FIXTURES / "factors" / "other.proof.json"), "--public", PUBLIC),
        5,
        "the proof does not verify: the pairing equation does not hold",
    ),
]


@pytest.mark.compiled
@pytest.mark.parametrize(("options", "code", "message"), REFUSED)
def test_nothing_is_signed_for_what_is_refused(
    claimed: tuple[Bridge, str], options: tuple[str, ...], code: int, message: str
) -> None:
    bridge, instance = claimed
    assert bridge.refused("operator", "assert", instance, *options, "--broadcast", code=code) == message
    assert bridge.contents()["one_time_keys"] == []


@pytest.mark.compiled
@pytest.mark.parametrize("is_stored", [False, True])
def test_a_proof_is_asserted_in_either_form(
    claimed: tuple[Bridge, str], copy: Copy, tmp_path: Path, is_stored: bool
) -> None:
    bridge, instance = copy(claimed[0]), claimed[1]
    handed = ("--proof", PROOF, "--public", PUBLIC)
    if is_stored:
        stored = tmp_path / "stored"
        stored.write_bytes(encode_proof(read_proof(Path(PROOF).read_bytes()), read_public(Path(PUBLIC).read_bytes())))
        handed = ("--proof", str(stored))
    report = bridge.send("operator", "assert", instance, *handed)
    assert report["weight"] < MAX_STANDARD_WEIGHT
    assert bridge.data("challenger", "check", instance)["correct"]


@pytest.mark.compiled
@pytest.mark.parametrize(
    ("lie", "reason"),
    [
        (("--lie", "point B"), "point B"),
        (("--lie-raw", "A.x"), "A is not on the curve"),
        (("--lie-raw", "input.0"), "the pairing equation does not hold"),
    ],
)
def test_a_lie_is_disproved(claimed: tuple[Bridge, str], copy: Copy, lie: tuple[str, str], reason: str) -> None:
    bridge, instance = copy(claimed[0]), claimed[1]
    bridge.send("operator", "assert", instance, "--proof", PROOF, "--public", PUBLIC, *lie)
    assert reason in bridge.run("challenger", "check", instance).stdout
    report = bridge.data("challenger", "disprove", instance, "--broadcast")
    assert report["policy"] == "accepted" or MINED.fullmatch(report["policy"])
    if report["policy"] == "accepted":
        bridge.mine()
    assert bridge.state(instance) == "Disprove"


@pytest.mark.compiled
@pytest.mark.parametrize("node", ["embedded", "bitcoind"])
def test_every_story(verifier: Groth16Spec, node: str, request: pytest.FixtureRequest) -> None:
    path = ("--bitcoind", str(request.getfixturevalue("bitcoind_path"))) if node == "bitcoind" else ()
    args = ["demo", *GROTH16, "--json", "--node", node, *path]
    result = CliRunner().invoke(root, args, catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    stories = {story["name"]: story for story in json.loads(result.stdout)["stories"]}
    assert list(stories) == ["happy", "challenged", "fraud", "silent", "refund", "forged"]
    for name in ("fraud", "forged"):
        assert stories[name]["balances"]["challenger"] > 0
        assert stories[name]["transactions"][-1]["name"] == "Disprove"
        assert stories[name]["burned"] > 0
    assert stories["challenged"]["balances"]["operator"] > 0
    assert [item["name"] for item in stories["challenged"]["refusals"]][1] == "Disprove"


@pytest.mark.compiled
def test_figures_of_the_whole_verifier(verifier: Groth16Spec) -> None:
    result = CliRunner().invoke(root, ["bench", "--quick", "--json", *GROTH16], catch_exceptions=False)
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    found = document["groth16"]
    assert set(found) == {
        *("leaves", "total_bytes", "largest_leaf", "max_stack", "commitments", "assert_vbytes", "set_up_memory"),
    }
    assert found["leaves"] == len(verifier.plan.stops)
    assert found["total_bytes"] == pytest.approx(sum(verifier.plan.scripts), rel=0.001), "their keys differ"
    assert found["max_stack"] == max(verifier.plan.stacks) <= 1_000
    assert found["commitments"] == len(verifier.values)
    assert found["assert_vbytes"] == document["transactions"]["Assert"]
    assert 4 * found["assert_vbytes"] <= MAX_STANDARD_WEIGHT
