"""`bench --dlc`: the contract has ten thousand payouts, and its signatures are real ones."""

import json

import pytest
from click.testing import CliRunner, Result

from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.dlc.oracle import Hashing
from cli import dlc_figures
from cli.dlc_figures import LABELS, PUBLIC_COUNT, make_contract, measure_dlc
from cli.main import root


def run(*args: str) -> Result:
    return CliRunner().invoke(root, ["bench", "--dlc", *args], catch_exceptions=False)


def test_the_document() -> None:
    document = json.loads(run("--quick", "--json").stdout)
    figures = document["dlc"]
    assert document.keys() == {"dlc"}
    assert figures["adaptor_signatures"] == PUBLIC_COUNT == 10_018
    assert figures["payouts"] == dlc_figures.CAP - dlc_figures.FLOOR + 1
    assert figures["times"] == {}


def test_for_people() -> None:
    text = run("--quick").stdout
    assert "20 binary digits, 10,001 payouts" in text
    assert "10,018  this project" in text
    assert "Times" not in text


def test_the_contract_is_one() -> None:
    """Every price settles one outcome, and an attestation's secret is that of its point."""
    contract, key = make_contract()
    for announcement in contract.announcements:
        announcement.verify(Hashing.TAGGED)
    assert {outcome.payout for outcome in contract.outcomes} == set(range(0, dlc_figures.COLLATERAL + 1, 20_000))
    covered = sum(1 << dlc_figures.DIGITS - len(outcome.oracles[0][1]) for outcome in contract.outcomes)
    assert covered == 1 << dlc_figures.DIGITS
    job = contract.jobs[5_000]
    assert adaptor.verify(key.public, job.digest, job.point, adaptor.encrypt(key.reveal(), job.digest, job.point))


@pytest.mark.sweep
def test_all_times_are_measured() -> None:
    done = []
    figures = measure_dlc(False, lambda work: float(len(done)) if done.append(work()) is None else 0.0)
    assert figures.times.keys() == LABELS.keys()
    assert figures.times == {name: float(place + 1) for place, name in enumerate(LABELS)}
