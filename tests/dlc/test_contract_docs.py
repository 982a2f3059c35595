"""`docs/dlc.md` on the contract with a stake: commands exist, and tables say what the code does."""

import re
from pathlib import Path

import pytest

from bitvm_bridge.dlc.contract import moves
from bitvm_bridge.dlc.contract.description import DEFAULTS, ContractDocument
from bitvm_bridge.dlc.contract.transactions import CONTRACT_TEMPLATES, OUTCOME_TEMPLATES
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party
from cli.contract_stories import set_up
from cli.main import root
from tests.dlc.staked import asserted, embedded_stage, truth, wallet
from tests.dlc.test_contract_on_core import SIZES
from tests.test_docs import check, words
from tests.vectors import ROOT

WHOLE = (ROOT / "docs" / "dlc.md").read_text()
TEXT = WHOLE.partition("## The contract with a stake")[2].partition("## The classic form")[0]
LINES = sorted(
    {
        re.sub(r"^(alice|bob|carol|olga) ", "bridge ", line).partition(" #")[0]
        for block in re.findall(r"^```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
        for line in block.split("\n")
    }
    | {f"bridge {found}" for found in re.findall(r"`(dlc [^`]+)`", TEXT)}
)
ROWS = {name: cells for name, *cells in (line.split(" | ") for line in TEXT.split("\n") if line.startswith("| "))}


@pytest.mark.parametrize("line", [line for line in LINES if words(line)])
def test_commands_exist(line: str) -> None:
    check(root, words(line))


def test_there_are_commands() -> None:
    assert sum(1 for line in LINES if words(line)) > 20


def test_every_transaction_is_in_the_table_with_its_size() -> None:
    made = {template.__name__ for template in (*CONTRACT_TEMPLATES, *OUTCOME_TEMPLATES)} - {"Funding", "OracleStake"}
    assert {name.removeprefix("| ") for name in ROWS} >= made
    for name, (script, key) in SIZES.items():
        assert ROWS[f"| {name}"][-1] == f"{script} ({key}) |"


def test_sizes_of_what_the_oracle_opens(tmp_path: Path) -> None:
    text = ROWS["| OracleSign"][-1]
    found = {}
    for count in (2, 8):
        with embedded_stage(tmp_path / str(count), f"hash-chain:{count}:1") as stage:
            played = set_up(stage)
            made = moves.oracle_sign(wallet(stage, Party.ORACLE), played.bundle, truth(played), asserted(played, 0))
            found[count] = made.tx.vsize
    assert text == f"{found[2]:,} of 2 values, {found[8]:,} of 8 |"


def test_fields_and_defaults() -> None:
    names = {name for row in ROWS for name in re.findall(r"`(\w+)`", row)}
    assert names == {*ContractDocument.__struct_fields__} - {"collateral", "event"}
    regtest, signet = DEFAULTS[Network.REGTEST], DEFAULTS[Network.SIGNET]
    windows = ("dispute_window", "grace_window")
    shown = " and ".join(str(regtest[name]) for name in windows), " and ".join(str(signet[name]) for name in windows)
    assert f"[{shown[0]} on regtest, {shown[1]} on signet]" in TEXT
    assert (regtest["signing_time"], regtest["margin"]) == (600, 600)
    assert (signet["signing_time"], signet["margin"]) == (86_400, 86_400)
