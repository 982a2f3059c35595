"""An operator's watcher answers with the proof that a source has, once, and with no other."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.watch.proofs import ProofFolder
from tests.cli.bridge import PLAIN, Bridge, challenged, make_keys, set_up
from tests.toy import known, proof_file
from tests.watch.test_stories import OPERATOR, look, state


@pytest.fixture(autouse=True, scope="module")
def toy_known() -> Iterator[None]:
    with known():
        yield


@pytest.fixture
def claimed(tmp_path: Path) -> tuple[Bridge, str, Path]:
    """A challenged claim whose program reads two numbers, and an empty folder for them."""
    bridge = Bridge(tmp_path / "data", *PLAIN)
    make_keys(bridge)
    instance = set_up(bridge, "toy")
    challenged(bridge, instance)
    folder = tmp_path / "proofs"
    folder.mkdir()
    return bridge, instance, folder


def test_a_proof_is_waited_for_and_asserted(claimed: tuple[Bridge, str, Path]) -> None:
    bridge, instance, folder = claimed
    for options in ((), ("--proofs", str(folder))):
        refused = bridge.run("watch", "--as", OPERATOR, "--once", *options, code=1)
        assert "no proof to answer the challenge with; see --proofs" in refused.stderr
    (folder / f"{instance}.json").write_bytes(proof_file(2, 3))
    assert look(bridge, OPERATOR, "--proofs", str(folder)) == ["Assert"]
    bridge.mine()
    assert state(bridge, instance) == "asserted"
    assert bridge.data("challenger", "check", instance)["correct"]


@pytest.mark.parametrize(("content", "code"), [(proof_file(3, 3), 5), (b"\xff 12", 2), (b"", 2)])
def test_a_wrong_proof_binds_no_key(claimed: tuple[Bridge, str, Path], content: bytes, code: int) -> None:
    bridge, instance, folder = claimed
    (folder / f"{instance}.json").write_bytes(content)
    bridge.run("watch", "--as", OPERATOR, "--once", "--proofs", str(folder), code=code)
    assert bridge.contents()["one_time_keys"] == []
    assert bridge.mempool() == []


def test_what_was_bound_is_asserted_whatever_the_source_says_later(claimed: tuple[Bridge, str, Path]) -> None:
    bridge, instance, folder = claimed
    (folder / f"{instance}.json").write_bytes(proof_file(2, 3))
    bridge.run("operator", "assert", instance, "--proof", str(folder / f"{instance}.json"))
    bound = bridge.contents()["one_time_keys"]
    assert bound
    (folder / f"{instance}.json").write_bytes(proof_file(4, 3))
    assert look(bridge, OPERATOR, "--proofs", str(folder)) == ["Assert"]
    assert bridge.contents()["one_time_keys"] == bound
    bridge.mine()
    assert state(bridge, instance) == "asserted"


def test_a_folder_of_proofs(tmp_path: Path) -> None:
    source, instance = ProofFolder(tmp_path), b"\x01" * 32
    assert source.proof(instance) is None
    path = tmp_path / f"{instance.hex()}.json"
    path.write_bytes(b"proof")
    assert source.proof(instance) == b"proof"
    path.unlink()
    path.mkdir()
    with pytest.raises(BadInput, match=r"^proof: .* is not a readable file"):
        source.proof(instance)
