"""Data directories to start from, made once: tests go on from copies."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.bridge import PLAIN, Bridge, challenged, make_keys, set_up


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    """Keys and coins for everyone, nothing else."""
    bridge = Bridge(tmp_path_factory.mktemp("keyed") / "data", *PLAIN)
    make_keys(bridge)
    return bridge


@pytest.fixture(scope="session")
def pegged(keyed: Bridge, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str]:
    """A vault with one signed instance, and the instance's id."""
    bridge = keyed.copy(tmp_path_factory.mktemp("pegged") / "data")
    return bridge, set_up(bridge)


@pytest.fixture(scope="session")
def disputed(pegged: tuple[Bridge, str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str, int]:
    """A claim that was challenged: the instance's id and the height of its KickOff."""
    bridge = pegged[0].copy(tmp_path_factory.mktemp("disputed") / "data")
    return bridge, pegged[1], challenged(bridge, pegged[1])


Copy = Callable[[Bridge], Bridge]


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """Copies a bridge for one test."""
    return lambda bridge: bridge.copy(tmp_path / "data")
