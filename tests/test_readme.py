"""The README's examples run as they are written, and its links and commands exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

from cli import bench
from tests.vectors import ROOT

README = (ROOT / "README.md").read_text()


def test_the_examples_run_in_order(tmp_path: Path) -> None:
    blocks = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)
    script = "\n".join(blocks).replace("source .venv/bin/activate\n", "").replace("/tmp/", f"{tmp_path}/")  # noqa: S108
    assert str(tmp_path) in script
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert "link_4 is wrong" in done.stdout
    assert "state Disprove" in done.stdout


def test_files_that_it_names_exist() -> None:
    names = set(re.findall(r"`((?:docs|fixtures|tests)/[\w./-]+)`", README))
    assert names
    for name in names:
        assert (ROOT / name).exists(), name


def test_make_targets_that_it_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`?make (\w+)", README)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_figures_are_those_that_bench_measures() -> None:
    document = bench.measure(quick=True).document()
    for bits, size in document["winternitz"].items():
        script, witness = size["script"], size["witness"]
        assert f"{script:,} + {witness:,} = {script + witness:,}" in README, bits
    assert f"script that also reads the message | {document['winternitz_read']['160']['script']:,} |" in README
    assert f"a whole 1-in-1-out spend with it, vB | {document['winternitz_spend']:,} |" in README
    for size, script in document["blake3"].items():
        assert re.search(rf"BLAKE3 of {size} bytes.* \| {script:,} \|", README), size
    for name in ("PegInDeposit", "PegIn", "PegOut", "ClaimFunding", "KickOff", "Challenge", "HappyTake", "UnhappyTake"):
        assert f"| {name} | {document['transactions'][name]:,} |" in README, name
    assert f"| Assert, 8 values of 160 bits | {document['transactions']['Assert']:,} |" in README
    disprove = re.search(r"\| Disprove, one BLAKE3 step \| ([\d,]+) \|", README)
    assert disprove is not None
    assert abs(int(disprove[1].replace(",", "")) - document["transactions"]["Disprove"]) <= 4, "limbs of two values"
