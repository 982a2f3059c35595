"""One compiled verifier for all tests, kept on disk under a hash of the sources, so that it is compiled once."""

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.program import cache
from tests.groth16.court import Court


@pytest.fixture(scope="session")
def scripts(pytestconfig: pytest.Config) -> Path:
    """Where scripts are kept: $BITVM_BRIDGE_CACHEDIR, or pytest's own cache, which the processes of a run share."""
    named = os.environ.get(cache.VARIABLE)
    folder = Path(named) if named else pytestconfig.cache.mkdir("groth16-scripts")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(autouse=True)
def kept_scripts(scripts: Path) -> Iterator[None]:
    """For the tests of this folder alone: others have a cache of their own."""
    with cache.use_directory(scripts):
        yield


@pytest.fixture(scope="session")
def court(scripts: Path) -> Court:
    """The verifier of a toy key of two public inputs, the first one bound to the instance; a minute or two to compile
    where it is not on disk. One process compiles, others wait.
    """
    with (scripts / "lock").open("w") as lock, cache.use_directory(scripts):
        fcntl.flock(lock, fcntl.LOCK_EX)
        return Court.open()
