"""`dlc oracle` and `dlc equivocation`: an event from its announcement to its attestation, and an oracle that cheats."""

import json
import re
from pathlib import Path

import pytest

from bitvm_bridge.dlc import oracle_documents
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.keys import Role, SecretKey
from tests.cli.bridge import PLAIN, Bridge
from tests.dlc.oracles import KEY, WEATHER, announced, attested

PAST = "2020-01-01"
EVENT = ("--event-id", "weather", "--maturity", PAST)
ENUM = (*EVENT, "--outcome", "sun", "--outcome", "rain")


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    made = Bridge(tmp_path / "data", *PLAIN)
    made.run("dlc", "oracle", "keygen")
    return made


def announce(bridge: Bridge, tmp_path: Path, *event: str) -> str:
    path = str(tmp_path / "announcement.json")
    bridge.run("dlc", "oracle", "announce", *event, "--out", path)
    return path


def test_an_event_of_its_own_accord(bridge: Bridge, tmp_path: Path) -> None:
    path, signed = announce(bridge, tmp_path, *ENUM), str(tmp_path / "attestation.json")
    shown = bridge.run("dlc", "oracle", "verify", path).stdout
    assert "event 'weather': one of sun, rain" in shown
    assert "not attested before 2020-01-01T00:00+00:00" in shown
    assert bridge.run("dlc", "oracle", "key").stdout.strip() in shown
    bridge.run("dlc", "oracle", "attest", path, "rain", "--out", signed)
    again = bridge.run("dlc", "oracle", "attest", path, "rain").stdout
    assert json.loads(again) == json.loads(Path(signed).read_text())
    document = bridge.data("dlc", "oracle", "verify", path, signed)
    assert document["attested"] == ["rain"]
    attestation, hashing = oracle_documents.read_attestation(Path(signed).read_bytes())
    assert attestation.secret(1).public.hex() == document["points"]["rain"]
    assert hashing is Hashing.TAGGED


def test_a_number(bridge: Bridge, tmp_path: Path) -> None:
    path = announce(bridge, tmp_path, *EVENT, "--digits", "3", "--base", "10", "--signed", "--unit", "°C")
    assert "3 digits of base 10, -999 to 999 °C" in bridge.run("dlc", "oracle", "verify", path).stdout
    done = bridge.run("dlc", "oracle", "attest", path, "--", "-1234")
    assert "-1234 is beyond what 'weather' can say: signed as -999" in done.stderr
    assert json.loads(done.stdout)["attestation"]["outcomes"] == ["-", "9", "9", "9"]
    assert "never signs twice" in bridge.refused("dlc", "oracle", "attest", path, "12", code=1)


def test_the_document_is_what_dlcspecs_writes(bridge: Bridge) -> None:
    document = bridge.data("dlc", "oracle", "announce", *EVENT, "--digits", "2", "--hashing", "plain")
    assert document["hashing"] == "plain"
    event = document["announcement"]["oracleEvent"]
    assert event["eventMaturityEpoch"] == 1577836800
    assert event["eventDescriptor"] == {
        "digitDecompositionEvent": {"base": 2, "isSigned": False, "unit": "", "precision": 0, "nbDigits": 2}
    }
    assert [len(nonce) for nonce in event["oracleNonces"]] == [64, 64]


@pytest.mark.parametrize(
    ("args", "code", "says"),
    [
        (EVENT, 2, "--outcome"),
        ((*ENUM, "--digits", "3"), 2, "used without --digits"),
        ((*ENUM, "--base", "3"), 2, "--base: '3' is not used with --digits"),
        ((*ENUM, "--signed"), 2, "used with --digits"),
        ((*ENUM, "--outcome", "sun"), 2, "distinct outcomes"),
        ((*EVENT, "--digits", "0"), 2, "digits: '0' is not 1 to 64"),
        ((*EVENT, "--digits", "3", "--base", "1"), 2, "base"),
        (("--event-id", "x", "--maturity", "soon", "--outcome", "a"), 2, "--maturity: 'soon' is not epoch seconds"),
        (("--event-id", "x", "--maturity", "9" * 5000, "--outcome", "a"), 2, "--maturity"),
        (("--event-id", "x", "--maturity", "99999999999", "--outcome", "a"), 2, "maturity"),
        (("--event-id", "", "--maturity", "0", "--outcome", "a"), 2, "event id"),
        ((*ENUM, "--name", "nobody"), 2, "oracle name: 'nobody' is not a known name (default)"),
    ],
)
def test_events_that_cannot_be_announced(bridge: Bridge, args: tuple[str, ...], code: int, says: str) -> None:
    assert says in bridge.refused("dlc", "oracle", "announce", *args, code=code)


def test_attestations_that_are_refused(bridge: Bridge, tmp_path: Path) -> None:
    path = announce(bridge, tmp_path, *ENUM)
    assert "'hail' is not one that 'weather' can have (sun, rain)" in bridge.refused(
        "dlc", "oracle", "attest", path, "hail", code=2
    )
    future = str(tmp_path / "future.json")
    bridge.run("dlc", "oracle", "announce", *ENUM, "--maturity", "4000000000", "--out", future)
    assert "not to be attested before 2096-10-02" in bridge.refused("dlc", "oracle", "attest", future, "sun", code=1)
    document = json.loads(Path(path).read_text())
    document["announcement"]["oracleEvent"]["eventId"] = "other"
    forged = tmp_path / "forged.json"
    forged.write_text(json.dumps(document))
    assert "does not have the oracle's signature" in bridge.refused(
        "dlc", "oracle", "attest", str(forged), "sun", code=5
    )
    other = tmp_path / "other.json"
    other.write_text(json.dumps(oracle_documents.to_builtins(announcement_document())))
    assert "one of the oracle 'default'" in bridge.refused("dlc", "oracle", "attest", str(other), "sun", code=2)
    for junk in ("{}", "[", '{"hashing":"md5","announcement":1}'):
        forged.write_text(junk)
        assert "announcement" in bridge.refused("dlc", "oracle", "verify", str(forged), code=2)
    number = str(tmp_path / "number.json")
    bridge.run("dlc", "oracle", "announce", *EVENT, "--digits", "3", "--out", number)
    for text in ("3.5", "x", "١", "9" * 30, ""):
        assert "a whole number" in bridge.refused("dlc", "oracle", "attest", number, text, code=2)


def announcement_document() -> oracle_documents.AnnouncementFile:
    return oracle_documents.announcement_file(announced(WEATHER), Hashing.TAGGED)


def test_an_attestation_to_another_event(bridge: Bridge, tmp_path: Path) -> None:
    first, second = tmp_path / "one.json", tmp_path / "two.json"
    for path in (first, second):
        bridge.run("dlc", "oracle", "announce", *ENUM, "--out", str(path))
    signed = str(tmp_path / "attestation.json")
    bridge.run("dlc", "oracle", "attest", str(first), "sun", "--out", signed)
    assert "not signed under the announced nonces" in bridge.refused(
        "dlc", "oracle", "verify", str(second), signed, code=5
    )


# An oracle that signs twice, which no command does.


@pytest.fixture
def lies(tmp_path: Path) -> list[str]:
    paths = []
    for outcome in ("sun", "rain"):
        path = tmp_path / f"{outcome}.json"
        made = oracle_documents.attestation_file(attested(announced(WEATHER), outcome), Hashing.TAGGED)
        path.write_text(json.dumps(oracle_documents.to_builtins(made)))
        paths.append(str(path))
    return paths


def test_equivocation_is_proved(bridge: Bridge, lies: list[str], tmp_path: Path) -> None:
    out, proof = tmp_path / "key.hex", tmp_path / "proof.json"
    done = bridge.run("dlc", "equivocation", *lies, "--out", str(out))
    secret = out.read_text().strip()
    assert SecretKey(bytes.fromhex(secret)).xonly == KEY.xonly
    assert out.stat().st_mode & 0o777 == 0o600
    assert secret not in done.stdout + done.stderr
    document = json.loads(done.stdout)
    assert document["oracle"] == KEY.xonly.hex()
    assert document["outcomes"] == ["sun", "rain"]
    proof.write_text(done.stdout)
    again = bridge.run("dlc", "equivocation", str(proof))
    assert again.stdout == done.stdout
    assert "signed both 'sun' and 'rain'" in again.stderr
    assert "a new file" in bridge.run("dlc", "equivocation", *lies, "--out", str(out), code=2).stderr
    assert out.read_text().strip() == secret


def test_what_proves_nothing(bridge: Bridge, lies: list[str], tmp_path: Path) -> None:
    out = tmp_path / "key.hex"
    for args, code, says in (
        ((lies[0], lies[0]), 5, "no nonce has signed two outcomes"),
        ((*lies, lies[0]), 2, "two of them, or one proof"),
        ((lies[0],), 2, "proof of equivocation"),
    ):
        assert says in bridge.refused("dlc", "equivocation", *args, "--out", str(out), code=code)
    document = json.loads(Path(lies[1]).read_text())
    document["hashing"] = "plain"
    Path(lies[1]).write_text(json.dumps(document))
    assert "the same in both" in bridge.refused("dlc", "equivocation", *lies, code=2)
    document["hashing"] = "md5"
    Path(lies[1]).write_text(json.dumps(document))
    assert "hashing: 'md5' is not tagged or plain" in bridge.refused("dlc", "equivocation", *lies, code=2)
    assert not out.exists()


def test_a_false_proof(bridge: Bridge, lies: list[str], tmp_path: Path) -> None:
    document = bridge.data("dlc", "equivocation", *lies)
    document["outcomes"] = ["sun", "snow"]
    path = tmp_path / "proof.json"
    path.write_text(json.dumps(document))
    assert "is not the oracle's" in bridge.refused("dlc", "equivocation", str(path), code=5)


def test_no_secret_is_shown(bridge: Bridge, tmp_path: Path) -> None:
    path = announce(bridge, tmp_path, *ENUM)
    announcement, _ = oracle_documents.read_announcement(Path(path).read_bytes())
    bridge.run("dlc", "oracle", "verify", path)
    with bridge.store() as store:
        seed = store.seed(Role.ORACLE, "default")
        nonce = store.oracle_nonce_secret(announcement.key, announcement.nonces[0])
    printed = "".join(done.stdout + done.stderr for done in bridge.log) + Path(path).read_text()
    for secret in (seed.reveal(), seed.oracle_key().reveal(), nonce):
        assert secret.hex() not in printed
    assert re.fullmatch(r"[0-9a-f]{64}", announcement.key.hex())
