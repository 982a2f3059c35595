"""Nodes for tests: the embedded one always, Bitcoin Core where there is one."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind


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
