"""Every row of the table of faults, played on one bitcoind, to the sat."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.params import Params
from tests.live.faults import PAGE, ROWS, Row, with_table
from tests.live.play import House
from tests.live.sums import NOTHING, values


@pytest.fixture(scope="module")
def house(bitcoind_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("faults")
    with LaunchedBitcoind(bitcoind_path, folder / "bitcoind") as launched:
        yield House.built(folder, launched)


def of(row: Row) -> object:
    return pytest.param(row, id=row.name, marks=[pytest.mark.sweep] if row.sweep else [])


@pytest.mark.parametrize("row", [of(row) for row in ROWS])
def test_who_ends_up_with_what(row: Row, house: House, tmp_path: Path) -> None:
    (ledger, refusals), known = row.plays(house, tmp_path), values(Params(), row.paid)
    assert ledger.names == row.confirms
    assert len(refusals) == len(row.refused)
    for reason, expected in zip(refusals, row.refused, strict=True):
        assert expected in reason
    assert ledger.burned == row.burned.sat(known)
    assert ledger.left == row.left.sat(known)
    assert ledger.changes == {owner: row.changes.get(owner, NOTHING).sat(known) for owner in ledger.before}


def test_the_page_has_this_table() -> None:
    assert PAGE.read_text() == with_table(PAGE.read_text())
