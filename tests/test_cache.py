"""Scripts on disk: built once, and never taken from a file that is not the one that was written."""

import hashlib
import os
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import cache
from bitvm_bridge.program.cache import cached, script_key
from cli.main import root

KEY = hashlib.sha256(b"a key").digest()
SCRIPT = bytes(range(256)) * 50


class Builder:
    """Counts how often a script is built."""

    def __init__(self, script: bytes = SCRIPT) -> None:
        self.script, self.count = script, 0

    def __call__(self) -> bytes:
        self.count += 1
        return self.script


def test_script_is_built_once(tmp_path: Path) -> None:
    build = Builder()
    folder = tmp_path / "made" / "when needed"
    for _ in range(3):
        assert cached(folder, KEY, build) == SCRIPT
    assert build.count == 1
    assert [path.name for path in folder.iterdir()] == [KEY.hex()]


def test_every_key_has_its_own_script(tmp_path: Path) -> None:
    scripts = {script_key("toy", index): bytes([index]) * index for index in range(5)}
    for _ in range(2):
        for key, script in scripts.items():
            assert cached(tmp_path, key, Builder(script)) == script
    assert len(list(tmp_path.iterdir())) == 5


@pytest.mark.parametrize("size", [0, 1, 31, 32, 33, 1_000, len(SCRIPT) + 31])
def test_cut_file_is_built_again(tmp_path: Path, size: int) -> None:
    cached(tmp_path, KEY, Builder())
    path = tmp_path / KEY.hex()
    path.write_bytes(path.read_bytes()[:size])
    build = Builder()
    assert cached(tmp_path, KEY, build) == SCRIPT
    assert (build.count, path.stat().st_size) == (1, len(SCRIPT) + 32)


@pytest.mark.parametrize("position", [0, 31, 32, 5_000, -1])
def test_altered_file_is_built_again(tmp_path: Path, position: int) -> None:
    cached(tmp_path, KEY, Builder())
    path = tmp_path / KEY.hex()
    raw = bytearray(path.read_bytes())
    raw[position] ^= 1
    path.write_bytes(bytes(raw))
    build = Builder()
    assert cached(tmp_path, KEY, build) == SCRIPT
    assert build.count == 1
    assert cached(tmp_path, KEY, Builder(b"other")) == SCRIPT


def test_longer_file_is_built_again(tmp_path: Path) -> None:
    cached(tmp_path, KEY, Builder())
    path = tmp_path / KEY.hex()
    path.write_bytes(path.read_bytes() + b"\x00")
    assert cached(tmp_path, KEY, Builder(b"new")) == b"new"


def test_file_of_another_key_is_built_again(tmp_path: Path) -> None:
    other = script_key("other", 0)
    cached(tmp_path, other, Builder(b"other"))
    (tmp_path / other.hex()).rename(tmp_path / KEY.hex())
    assert cached(tmp_path, KEY, Builder()) == SCRIPT


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> bytes:
        raise BadInput("chunk", "7", "one that fits")

    with pytest.raises(BadInput, match=r"^chunk: "):
        cached(tmp_path, KEY, fail)
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadInput, match=r"^--cachedir: .* \(No space left on device\)$"):
        cached(tmp_path, KEY, Builder())
    assert list(tmp_path.iterdir()) == []


def test_many_writers_of_one_file(tmp_path: Path) -> None:
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(cached(tmp_path, KEY, Builder()))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [SCRIPT] * 8
    assert [path.name for path in tmp_path.iterdir()] == [KEY.hex()]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_unusable_directories(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadInput, match=r"^--cachedir: .* is not a folder to read and write"):
        cached(tmp_path / place, KEY, Builder())


def test_keys_differ_by_program_chunk_and_code(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = {script_key(program, index) for program in ("toy", "toy:1", "") for index in (0, 1, 256)}
    assert len(keys) == 9
    assert script_key("toy", 0) in keys
    monkeypatch.setattr(cache, "_code", lambda: b"code of another day")
    assert script_key("toy", 0) not in keys


def test_directory_is_chosen_by_option_then_variable_then_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(cache.VARIABLE, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.directory() == tmp_path / "bitvm-bridge" / "scripts"
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "variable"))
    assert cache.directory() == tmp_path / "variable"
    with cache.use_directory(tmp_path / "option"):
        with cache.use_directory(None):
            assert cache.directory() == tmp_path / "option"
        assert cache.directory() == tmp_path / "option"
    assert cache.directory() == tmp_path / "variable"


@pytest.mark.parametrize("by", ["option", "variable"])
def test_command_line_chooses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by: str) -> None:
    seen: list[Path] = []
    monkeypatch.setattr("cli.instance.say", lambda text: seen.append(cache.directory()))
    args = ["--datadir", str(tmp_path / "data"), "instance", "list"]
    chosen, before = tmp_path / "chosen", cache.directory()
    option = ["--cachedir", str(chosen)] if by == "option" else []
    env = {} if option else {cache.VARIABLE: str(chosen)}
    result = CliRunner().invoke(root, [*option, *args], env=env, catch_exceptions=False)
    assert (result.exit_code, seen) == (0, [chosen])
    assert cache.directory() == before
