"""`bench --scale`: what it measures is what is set up."""

import json

import pytest
from click.testing import CliRunner, Result

from bitvm_bridge.program import parse_program
from cli.main import root
from cli.scale import measure_checks, measure_scale, scale_table
from cli.table import render


def run(*args: str) -> Result:
    return CliRunner().invoke(root, ["bench", "--scale", "--program", "hash-chain:2:1", *args], catch_exceptions=False)


def test_each_run_sets_up_what_it_says() -> None:
    runs = list(measure_scale(parse_program("hash-chain:2:1"), 20, (1, 2)))
    assert [(item.instances, item.workers) for item in runs] == [(2, 1), (20, 1), (20, 2)]
    assert all(item.seconds > 0 for item in runs)
    assert all(1_000 < memory < 10_000_000 for item in runs for memory in (item.memory, item.worker_memory))
    assert render(scale_table(runs)).count("\n") == 4


def test_each_run_checks_what_it_says() -> None:
    runs = list(measure_checks(parse_program("hash-chain:2:1"), 4, (1, 2)))
    assert [(item.step, item.instances, item.workers) for item in runs] == [("checked", 4, 1), ("checked", 4, 2)]
    assert all(item.seconds > 0 for item in runs)
    assert render(scale_table(runs)).count("\n") == 3


def test_one_document_and_a_table() -> None:
    done = run("--instances", "3", "--workers", "1", "--json")
    rows = json.loads(done.stdout)["scale"]
    assert [(row["step"], row["instances"], row["workers"]) for row in rows] == [
        ("set up", 1, 1),
        ("set up", 3, 1),
        ("checked", 3, 1),
    ]
    assert run("--instances", "1", "--workers", "1").stdout.startswith("Many instances\n")


@pytest.mark.parametrize("option", ["--workers", "--instances"])
def test_numbers(option: str) -> None:
    done = run(option, "0")
    assert done.exit_code == 2
    assert len(done.stderr.splitlines()) <= 2


@pytest.mark.sweep
def test_memory_does_not_grow_with_the_number_of_instances() -> None:
    few, *many = measure_scale(parse_program("hash-chain:2:1"), 1_000, (1, 2))
    for item in many:
        assert item.memory < few.memory * 1.2
        assert item.worker_memory < few.worker_memory * 1.2
