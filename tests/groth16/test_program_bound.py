"""A key whose first public input is the instance id, through the commands: only a proof of this instance will do."""

from pathlib import Path
from typing import NamedTuple

import pytest

from bitvm_bridge.program.groth16.formats import encode_key, encode_proof
from bitvm_bridge.program.groth16.native.field import R
from tests.cli.bridge import PLAIN, Bridge, challenged, make_keys, set_up
from tests.groth16.court import FREE, Court
from tests.groth16.toy import toy_proof

pytestmark = pytest.mark.compiled
WRONG = "the proof does not verify: the pairing equation does not hold"


class Claimed(NamedTuple):
    """A challenged claim, where its data directory is, and a place for proofs."""

    bridge: Bridge
    instance: str
    court: Court
    folder: Path

    def proof(self, instance: str, free: int = FREE) -> str:
        """A file with a valid proof for an instance id (hex)."""
        inputs = int(instance, 16) % R, free
        path = self.folder / f"{instance[:8]}-{free}"
        path.write_bytes(encode_proof(toy_proof(self.court.trapdoor, inputs, seed=3), inputs))
        return str(path)

    def copy(self, to: Path) -> "Claimed":
        """The same claim, to go on from."""
        return self._replace(bridge=self.bridge.copy(to / "data"), folder=to)


@pytest.fixture(scope="session")
def session_claim(court: Court, scripts: Path, tmp_path_factory: pytest.TempPathFactory) -> Claimed:
    """Joined with the key and no other option: input 0 is the instance id by default."""
    folder = tmp_path_factory.mktemp("bound")
    bridge = Bridge(folder / "data", *PLAIN, "--cachedir", str(scripts))
    make_keys(bridge)
    (folder / "key").write_bytes(encode_key(court.program.key))
    instance = set_up(bridge, "groth16", "--vk", str(folder / "key"))
    challenged(bridge, instance)
    return Claimed(bridge, instance, court, folder)


@pytest.fixture
def claim(session_claim: Claimed, tmp_path: Path) -> Claimed:
    return session_claim.copy(tmp_path)


def test_a_proof_of_this_instance_is_asserted_and_nobody_can_disprove_it(claim: Claimed) -> None:
    claim.bridge.send("operator", "assert", claim.instance, "--proof", claim.proof(claim.instance))
    checked = claim.bridge.data("challenger", "check", claim.instance)
    assert checked["correct"]
    message = claim.bridge.refused("challenger", "disprove", claim.instance, "--broadcast", code=1)
    assert message == "disprove: the assertion is correct, no check of it can be satisfied"
    claim.bridge.mine(18)
    claim.bridge.send("operator", "unhappy-take", claim.instance)
    assert claim.bridge.state(claim.instance) == "UnhappyTake"


@pytest.mark.parametrize("bit", [0, 255])
def test_a_proof_of_another_instance_is_not_signed(claim: Claimed, bit: int) -> None:
    other = (int(claim.instance, 16) ^ 1 << bit).to_bytes(32, "big").hex()
    message = claim.bridge.refused(
        "operator", "assert", claim.instance, "--proof", claim.proof(other), "--broadcast", code=2
    )
    assert message.startswith("public input 0: ")
    assert claim.bridge.contents()["one_time_keys"] == []


def test_one_that_is_asserted_all_the_same_is_disproved(claim: Claimed) -> None:
    """Nothing in what is committed says which instance a proof was made for: the leaf with the key's constants does."""
    inputs = int(claim.instance, 16) % R, FREE
    stolen = toy_proof(claim.court.trapdoor, (inputs[0] + 1, FREE), seed=3)
    path = claim.folder / "stolen"
    path.write_bytes(encode_proof(stolen, inputs))
    handed = ("--proof", str(path), "--broadcast")
    assert claim.bridge.refused("operator", "assert", claim.instance, *handed, code=5) == WRONG
    claim.bridge.send("operator", "assert", claim.instance, *handed[:-1], "--force-invalid")
    checked = claim.bridge.data("challenger", "check", claim.instance)
    assert not checked["correct"]
    claim.bridge.data("challenger", "disprove", claim.instance, "--broadcast")
    if claim.bridge.state(claim.instance) != "Disprove":
        claim.bridge.mine()
    assert claim.bridge.state(claim.instance) == "Disprove"
