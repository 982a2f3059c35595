"""Chunk scripts on disk: what takes minutes to compile is compiled once.

A file has the SHA256 of its key and script, and then the script. It is written beside its place and moved there, so
that a crash leaves the whole file or none; one that is cut, altered or filed under another key is compiled again. The
hash is against accidents: whoever can write to the directory could as well alter the program itself.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from pathlib import Path
from typing import Final

from platformdirs import user_cache_path

import scripts_tapleaf
from bitvm_bridge.errors import BadInput

VARIABLE: Final = "BITVM_BRIDGE_CACHEDIR"
"""Environment variable that names the directory."""
_COMPILERS: Final = (Path(scripts_tapleaf.__file__).parent, Path(__file__).parent)
"""Folders whose code makes scripts."""
_chosen: ContextVar[Path | None] = ContextVar("cache directory", default=None)


def directory() -> Path:
    """Where scripts are kept: as `use_directory` says, else as $BITVM_BRIDGE_CACHEDIR says, else the user's cache."""
    return _chosen.get() or Path(os.environ.get(VARIABLE) or user_cache_path("bitvm-bridge") / "scripts")


@contextmanager
def use_directory(chosen: Path | None) -> Iterator[None]:
    """Keep scripts there for as long as the block runs; None changes nothing."""
    token = _chosen.set(chosen or _chosen.get())
    try:
        yield
    finally:
        _chosen.reset(token)


def script_key(program: str, index: int) -> bytes:
    """32 bytes that name chunk `index` of a program in text form, as the code of today compiles it."""
    digest = hashlib.sha256(_code())
    digest.update(hashlib.sha256(program.encode()).digest() + index.to_bytes(4, "big"))
    return digest.digest()


def cached(directory: Path, key: bytes, build: Callable[[], bytes]) -> bytes:
    """The script of this key: from its file, or built and kept there.

    Raises BadInput where the directory cannot be used, and whatever `build` raises; then nothing is kept.
    """
    path = directory / key.hex()
    if (script := _read(path, key)) is not None:
        return script
    script = build()
    _write(path, _seal(key, script) + script)
    return script


def _read(path: Path, key: bytes) -> bytes | None:
    """The script in a file; None where there is no file, or not the one that was written."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unusable(path, error) from None
    seal_size = hashlib.sha256().digest_size
    seal, script = raw[:seal_size], raw[seal_size:]
    return script if seal == _seal(key, script) else None


def _write(path: Path, raw: bytes) -> None:
    """In one step, also where two processes write the same file."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".part", delete=False) as part:
            try:
                part.write(raw)
                part.flush()
                os.fsync(part.fileno())
                os.replace(part.name, path)
            except BaseException:
                os.unlink(part.name)
                raise
    except OSError as error:
        raise _unusable(path, error) from None


def _seal(key: bytes, script: bytes) -> bytes:
    digest = hashlib.sha256(key)
    digest.update(script)
    return digest.digest()


def _unusable(path: Path, error: OSError) -> BadInput:
    return BadInput("--cachedir", path.parent, f"a folder to read and write ({error.strerror})")


@cache
def _code() -> bytes:
    """Hash of the code that makes scripts: a change in it must not meet scripts made before."""
    digest = hashlib.sha256()
    for folder in _COMPILERS:
        for path in sorted(folder.rglob("*.py")):
            digest.update(path.relative_to(folder).as_posix().encode() + b"\x00")
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.digest()
