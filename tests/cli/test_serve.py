"""`committee serve` and `exchange run --url`: what the command line refuses before anything listens."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.bridge import PLAIN, Bridge
from tests.exchange.cast import ROSTER

SERVE = ("committee", "serve", "--roster")


@pytest.fixture
def bridge(tmp_path: Path) -> Bridge:
    return Bridge(tmp_path / "data", *PLAIN)


@pytest.fixture
def roster(tmp_path: Path) -> str:
    path = tmp_path / "roster.json"
    path.write_bytes(ROSTER.to_json())
    return str(path)


@pytest.fixture
def taken() -> Iterator[str]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield str(listener.getsockname()[1])


def test_rosters_that_are_none(bridge: Bridge, tmp_path: Path) -> None:
    junk = tmp_path / "junk.json"
    junk.write_text('{"version":1,"parties":[]}')
    assert "is not a readable file" in bridge.refused(*SERVE, str(tmp_path / "none"), code=2)
    assert bridge.refused(*SERVE, str(junk), code=2).startswith("roster: ")
    assert not bridge.datadir.exists()


def test_an_address_that_cannot_be_had(bridge: Bridge, roster: str, taken: str) -> None:
    message = bridge.refused(*SERVE, roster, "--port", taken, code=2)
    assert message == (
        f"--host and --port: '127.0.0.1:{taken}' is not a free port of this machine (Address already in use)"
    )
    for host in ("192.0.2.1", "no.such.host.invalid", "a" * 300):
        assert bridge.refused(*SERVE, roster, "--host", host, "--port", "0", code=2).startswith("--host and --port: ")
    assert bridge.refused(*SERVE, roster, "--port", "65536", code=2).startswith("invalid value for '--port'")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_everywhere_needs_a_name(bridge: Bridge, roster: str, host: str) -> None:
    message = bridge.refused(*SERVE, roster, "--host", host, "--port", "0", code=2)
    assert message.startswith(f"--name: 'none' is not given with --host {host}: ")


def test_tls_files(bridge: Bridge, roster: str, tmp_path: Path) -> None:
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    one = ("--tls-cert", str(junk))
    assert "is not both, or neither" in bridge.refused(*SERVE, roster, *one, code=2)
    assert "is not both, or neither" in bridge.refused(*SERVE, roster, "--tls-key", str(junk), code=2)
    for key in (junk, tmp_path / "none.pem"):
        message = bridge.refused(*SERVE, roster, *one, "--tls-key", str(key), code=2)
        assert "is not a certificate and its key, not encrypted (" in message


def test_an_encrypted_key_is_not_asked_for(bridge: Bridge, roster: str, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    locked = tmp_path / "locked.pem"
    encryption = serialization.BestAvailableEncryption(b"hunter2")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
    locked.write_bytes(ec.generate_private_key(ec.SECP256R1()).private_bytes(*form))
    files = ("--tls-cert", str(locked), "--tls-key", str(locked))
    assert "not encrypted (" in bridge.refused(*SERVE, roster, *files, code=2)


def test_a_file_that_is_no_mailbox(bridge: Bridge, roster: str, tmp_path: Path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(b"junk" * 1_000)
    message = bridge.refused(*SERVE, roster, "--port", "0", "--file", str(junk), code=2)
    assert message.startswith("mailbox file: ")
    assert junk.read_bytes() == b"junk" * 1_000


@pytest.mark.parametrize("missing", ["starlette", "uvicorn", "h11"])
def test_without_the_extra(roster: str, missing: str) -> None:
    """One line; the rest of the command line needs none of its packages."""
    code = f"import sys; sys.modules[{missing!r}] = None; from cli.main import main; main()"
    for args, status, error in (
        ((*SERVE, roster), 1, f"error: {missing} is not installed: pip install 'bitvm-bridge[service]'\n"),
        (("committee", "serve", "--help"), 0, ""),
    ):
        done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (status, error)


def test_the_command_line_does_not_load_it(roster: str) -> None:
    code = "import sys, cli.main; print([name for name in ('starlette', 'uvicorn', 'requests') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_where_envelopes_travel(bridge: Bridge, tmp_path: Path) -> None:
    """In a folder or with a service, not both and not neither."""
    bridge.run("committee", "keygen", "default")
    entry, roster = tmp_path / "alice.json", tmp_path / "alone.json"
    entry.write_text(bridge.run("exchange", "identity", "alice", "--as", "committee").stdout)
    roster.write_text(bridge.run("exchange", "roster", str(entry)).stdout)
    run = ("exchange", "run", "--as", "committee", "--roster", str(roster), "--once")
    url = ("--url", "http://127.0.0.1:1")
    for options, given in (((), "nothing"), (("--dir", str(tmp_path), *url), "both")):
        message = bridge.refused(*run, *options, code=2)
        assert message == f"--dir or --url: '{given}' is not a folder that all can reach, or the URL of a service"
    assert bridge.refused(*run, "--url", "ftp://x", code=2).startswith("url: 'ftp://x' is not http://HOST[:PORT]")
    assert "CA file: " in bridge.refused(*run, *url, "--ca-file", str(tmp_path / "none"), code=2)
    assert bridge.refused(*run, *url, code=3) == "http://127.0.0.1:1: no connection. Is the service running?"
