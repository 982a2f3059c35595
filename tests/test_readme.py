"""The README's examples run as they are written, and its links and commands exist."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from bitvm_bridge.program import Groth16Spec
from cli import bench, dlc_figures, verifier_figures
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


def in_readme(row: str, figure: int) -> bool:
    return re.search(rf"^\| {re.escape(row)} \| {figure:,} \|", README, re.MULTILINE) is not None


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
    for (field, name), label in verifier_figures.LABELS.items():
        assert in_readme(label, document[field][name]), label


def test_the_contract_is_the_one_that_bench_measures() -> None:
    figures = dlc_figures.measure_dlc(True, bench.best_time)
    assert f"of {dlc_figures.DIGITS} binary digits, {figures.payouts:,} payouts (`bitvm-bridge bench --dlc`)" in README
    assert f"| adaptor signatures | {figures.adaptor_signatures:,} | {dlc_figures.PUBLIC_COUNT:,} |" in README


@pytest.mark.compiled
@pytest.mark.parametrize("document", ["README.md", "docs/groth16.md"])
def test_figures_of_the_verifier_are_those_of_its_plan(verifier: Groth16Spec, document: str) -> None:
    text = (ROOT / document).read_text()
    for label, figure in (("leaves", len(verifier.plan.stops)), ("bytes of all leaves", sum(verifier.plan.scripts))):
        row = re.search(rf"^\| {label} \| ([\d,]+) \|", text, re.MULTILINE)
        assert row is not None
        assert int(row[1].replace(",", "")) == pytest.approx(figure, rel=0.0001), "one-time keys differ"
    assert re.search(rf"^\| committed values.* \| {len(verifier.values)} \|", text, re.MULTILINE)
