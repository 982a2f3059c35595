"""`docs/dlc.md`: its commands exist, and its walk-through of the classic form runs as it is written."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitvm_bridge.dlc.classic.description import ContractDocument, EventDocument
from bitvm_bridge.dlc.classic.messages import ACCEPT, OFFER, SIGN
from bitvm_bridge.documents import decode
from cli.main import root
from tests.dlc import specs
from tests.test_docs import check, words
from tests.vectors import ROOT

TEXT = (ROOT / "docs" / "dlc.md").read_text()
CLASSIC = TEXT.partition("\n## The classic form\n")[2].partition("\n## ")[0]
FENCED = re.findall(r"^```\w*\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
INLINE = re.findall(r"`(bridge [^`]+)`", TEXT)
LINES = sorted({line.strip() for block in (*FENCED, *INLINE) for line in block.split("\n")})


@pytest.mark.parametrize("line", [line for line in LINES if words(line)])
def test_commands_exist(line: str) -> None:
    check(root, words(line))


def test_the_walk_through_runs(tmp_path: Path) -> None:
    (block,) = re.findall(r"```sh\n(.*?)```", CLASSIC, re.DOTALL)
    script = block.replace("/tmp/", f"{tmp_path}/")  # noqa: S108
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    shown = done.stdout.split("\n")
    assert any(re.fullmatch(r"state +settled", line) for line in shown), done.stdout
    assert any(re.fullmatch(r"paid +250,000 sat to the offerer, 750,000 to the accepter", line) for line in shown)


def test_the_files_in_it_are_contracts() -> None:
    """Every field that the table has, and no other."""
    examples = re.findall(r"^(\{\n.*?^\})$", CLASSIC, re.DOTALL | re.MULTILINE)
    assert len(examples) == 2
    for text in examples:
        decode(text, ContractDocument, "contract")
        assert json.loads(text)["collateral"].keys() == {"offerer", "accepter"}
    rows = set(re.findall(r"^\| `([\w\[\].]+)` \|", CLASSIC, re.MULTILINE))
    events = {f"events[].{name}" for name in EventDocument.__struct_fields__}
    assert rows == {*ContractDocument.__struct_fields__, *events}


def test_figures() -> None:
    text = " ".join(TEXT.split())
    for kind, name in ((OFFER, "offer"), (ACCEPT, "accept"), (SIGN, "sign")):
        assert f"`{name}_dlc` ({kind.kind})" in text
    assert len(specs.CONTRACTS) == 5
    assert "five contracts whole" in text
    assert f"the {len(specs.load('dlc_tx_test.json'))} cases of funding" in text
    assert f"{len(specs.load('dlc_fee_test.json'))} of fees" in text
