"""Nodes for tests: the embedded one always, Bitcoin Core where there is one."""

import fcntl
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.program import Groth16Spec, cache
from bitvm_bridge.program.groth16.formats import read_key
from tests.groth16.provers import fixture

settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")

PYTHON_RECURSION_LIMIT = 1_000
"""Python's own."""


def pytest_collection_finish() -> None:
    """py_ecc raises the limit when it is imported, so far that deeply nested text overflows the stack of C."""
    sys.setrecursionlimit(PYTHON_RECURSION_LIMIT)


JUDGED = "spends judged by Core"
"""The property under which a test records how many there were in it."""
GROUND = "blocks of signet ground"
"""The same, for those that `fixtures/signet` does not have."""


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """A line for each reason to skip, one for the spends that the leaves' tests had Core judge, one for lost time."""
    skipped = Counter(report.longrepr[2] for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in skipped.items():
        terminalreporter.write_line(f"{count:,} skipped: {reason.removeprefix('Skipped: ')}")
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.stats.get(kind, ())]
    found = [entry for report in reports for entry in report.user_properties]
    if counts := [int(value) for name, value in found if name == JUDGED]:
        terminalreporter.write_line(f"{sum(counts):,} {JUDGED}, valid and attacked")
    if ground := sum(int(value) for name, value in found if name == GROUND):
        terminalreporter.write_line(
            f"{ground:,} {GROUND}, which takes seconds each: `python -m tests.signet` records them"
        )


@pytest.fixture(scope="session")
def bitcoind_path() -> Path:
    """Bitcoin Core: `BITCOIND`, or `bitcoind` on PATH. Without one tests skip; on CI they fail."""
    found = os.environ.get("BITCOIND") or shutil.which("bitcoind")
    if found:
        return Path(found)
    if os.environ.get("CI") == "true":
        pytest.fail("no Bitcoin Core: CI must set BITCOIND or put bitcoind on PATH")
    pytest.skip("no Bitcoin Core: set BITCOIND, or put bitcoind on PATH")


@pytest.fixture(scope="session")
def bitcoind(bitcoind_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedBitcoind]:
    """One Bitcoin Core node on regtest for the whole session."""
    with LaunchedBitcoind(bitcoind_path, tmp_path_factory.mktemp("bitcoind")) as launched:
        yield launched


@pytest.fixture
def fresh_bitcoind(bitcoind_path: Path, tmp_path: Path) -> Iterator[LaunchedBitcoind]:
    """A Bitcoin Core node for one test, for what would disturb the others."""
    with LaunchedBitcoind(bitcoind_path, tmp_path / "bitcoind") as launched:
        yield launched


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[EmbeddedNode]:
    """An embedded node with an empty chain."""
    node = EmbeddedNode(tmp_path / "node")
    yield node
    node.close()


@pytest.fixture(scope="session")
def verifier(pytestconfig: pytest.Config) -> Iterator[Groth16Spec]:
    """The verifier of one key, compiled once for all workers; where its scripts are is in the environment meanwhile.

    For tests marked `compiled`: the first of them waits a minute or two.
    """
    folder = Path(os.environ.get(cache.VARIABLE) or pytestconfig.cache.mkdir("groth16-scripts"))
    folder.mkdir(parents=True, exist_ok=True)
    spec = Groth16Spec(read_key(fixture("square", "verification_key.json")), instance_input=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(folder))
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert spec.plan.stops
        yield spec
