"""Tables and progress bars appear on a terminal, and nowhere else."""

import os
import pty
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from cli import table
from tests.vectors import ROOT


def on_terminal(*arguments: str) -> str:
    """What the command shows where stdout and stderr are a terminal."""
    ours, theirs = pty.openpty()
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120"}
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    shown = b""
    while True:
        try:
            piece = os.read(ours, 4096)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(ours)
    assert process.wait(timeout=60) == 0, shown.decode()
    return shown.decode()


def in_pipe(*arguments: str) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", "from cli.main import main; main()", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout


def test_a_list_is_a_table_on_a_terminal_alone(tmp_path: Path) -> None:
    shared = ("--datadir", str(tmp_path), "--insecure-plain-keys")
    in_pipe(*shared, "operator", "keygen")
    in_pipe(*shared, "node", "mine", "101", "--to", "operator")
    drawn = on_terminal(*shared, "node", "balance")
    assert "Balances" in drawn
    assert "─" in drawn
    piped = in_pipe(*shared, "node", "balance")
    assert piped.split() == ["operator", "default", piped.split()[2], "sat"]
    assert "Balances" not in piped


@pytest.mark.parametrize("is_terminal", [False, True])
def test_a_wait_is_explained_on_a_terminal_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool
) -> None:
    monkeypatch.setattr(table, "PATIENCE", 0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with table.working("compiling"):
        time.sleep(0.3)
    shown = capsys.readouterr()
    assert ("compiling" in shown.err) is is_terminal
    assert shown.out == ""


def test_a_short_wait_is_not(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(table, "PATIENCE", 3_600)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with table.working("compiling"):
        pass
    assert "compiling" not in capsys.readouterr().err


@pytest.mark.parametrize(("is_terminal", "total", "is_shown"), [(True, 2, True), (True, 1, False), (False, 2, False)])
def test_a_bar_is_for_batches_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_terminal: bool, total: int, is_shown: bool
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: is_terminal)
    with closing(table.Bar()) as bar:
        bar.show("signed", 1, total)
        assert bar.is_shown is is_shown
        bar.say("a line [bold]of prose[/bold]")
        bar.show("signed", total, total)
    shown = capsys.readouterr()
    assert "a line [bold]of prose[/bold]" in shown.err
    assert ("2/2" in shown.err) is is_shown
    assert shown.out == ""
