"""One compiled verifier for all tests, kept on disk under a hash of the sources, so that it is compiled once."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.program import cache
from tests.groth16.court import Court


@pytest.fixture(scope="session")
def scripts(pytestconfig: pytest.Config) -> Iterator[Path]:
    """Where scripts are kept: $BITVM_BRIDGE_CACHEDIR, or pytest's own cache, which the processes of a run share."""
    named = os.environ.get(cache.VARIABLE)
    folder = Path(named) if named else pytestconfig.cache.mkdir("groth16-scripts")
    folder.mkdir(parents=True, exist_ok=True)
    with cache.use_directory(folder):
        yield folder


@pytest.fixture(scope="session")
def court(scripts: Path) -> Court:
    """The verifier of a toy key of two public inputs, the first one bound to the instance; a minute or two to compile
    where it is not on disk. One process compiles, others wait.
    """
    with (scripts / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Court.open()
