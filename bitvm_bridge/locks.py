"""Locks between processes of one machine: the kernel lets go of them when a process ends, however it does."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bitvm_bridge.errors import BridgeError


def try_lock(path: Path) -> IO[bytes] | None:
    """An open file that no other process can lock until it is closed; None where another one has it locked."""
    file = path.open("wb")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        return None
    return file


@contextmanager
def alone(path: Path, refusal: str) -> Iterator[None]:
    """Nobody else is in a block of this path meanwhile. Raises BridgeError, which says `refusal`, where somebody is."""
    file = try_lock(path)
    if file is None:
        raise BridgeError(refusal)
    with file:
        yield
