"""`dashboard` as a process: it says where it is, answers, and ends when it is told to."""

import json
import signal
import subprocess
import sys
from urllib.request import urlopen

import pytest

from tests.cli.bridge import Bridge

MAIN = "from cli.main import main; main()"


def start(bridge: Bridge, *options: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-c", MAIN, "--datadir", str(bridge.datadir), "dashboard", "--port", "0", *options]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def end(process: subprocess.Popen[str], number: signal.Signals = signal.SIGINT) -> str:
    """Ctrl-C; returns what was said on stderr."""
    process.send_signal(number)
    try:
        _, said = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0, said
    return said


def test_it_serves_until_it_is_interrupted(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    before = bridge.contents()
    with start(bridge) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert url.startswith("http://127.0.0.1:")
        with urlopen(f"{url}api/overview", timeout=60) as answer:  # noqa: S310 (an address of this machine)
            found = json.load(answer)
        assert end(process) == ""
    assert [row["instance"] for row in found["instances"]] == [instance]
    assert bridge.contents() == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_in_the_background_too(pegged: tuple[Bridge, str], number: signal.Signals) -> None:
    """A shell starts what goes to the background with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        process = start(pegged[0])
    finally:
        signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        assert end(process, number) == ""


def test_json_is_one_document_and_other_addresses_are_warned_of(pegged: tuple[Bridge, str]) -> None:
    with start(pegged[0], "--json", "--host", "0.0.0.0") as process:
        assert process.stdout is not None
        document = ""
        while not document.rstrip().endswith("}"):
            document += process.stdout.readline()
        assert json.loads(document).keys() == {"url"}
        said = end(process)
    assert "there is no password" in said


def test_what_cannot_be_listened_on_is_refused(pegged: tuple[Bridge, str]) -> None:
    assert "--host and --port" in pegged[0].refused("dashboard", "--host", "192.0.2.1", code=2)
    assert "--port" in pegged[0].refused("dashboard", "--port", "65536", code=2)
