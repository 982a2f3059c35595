"""The toy second layer: it keeps an order, pages, and hands out the proofs that it was given."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.sources import stub
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.poll import PolledService
from bitvm_bridge.sources.provers import HttpProver
from bitvm_bridge.sources.request import START
from bitvm_bridge.sources.stub import SecondLayer, Sequencer, answer
from tests.cli.bridge import PLAIN, Bridge, challenged, make_keys, set_up
from tests.sources.orders import order
from tests.toy import known, proof_file
from tests.watch.test_stories import OPERATOR, look, state


@pytest.fixture
def sequencer() -> Iterator[Sequencer]:
    made = Sequencer()
    yield made
    made.close()


def test_requests_come_in_the_order_in_which_they_were_told(
    sequencer: Sequencer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stub, "PAGE", 2)
    for number in (3, 1, 2, 1):
        assert answer(sequencer, "POST", "/requests", order(number).to_json()).status == 201
    with SecondLayer(sequencer) as layer:
        source = PolledService(Service(f"{layer.url}/requests"))
        first = source.requests(START)
        second = source.requests(first.cursor)
        assert first.requests == (order(3), order(1))
        assert second.requests == (order(2),)
        assert source.requests(second.cursor) == type(first)((), second.cursor)


def test_what_was_told_is_there_after_a_restart(tmp_path: Path) -> None:
    for number in (1, 2):
        sequencer = Sequencer(str(tmp_path / "layer.sqlite"))
        answer(sequencer, "POST", "/requests", order(number).to_json())
        sequencer.add_proof("ab", b"proof")
        sequencer.close()
    sequencer = Sequencer(str(tmp_path / "layer.sqlite"))
    assert [document for _, document in sequencer.page(0)] == [order(1).to_json(), order(2).to_json()]
    assert sequencer.proof("ab") == b"proof"
    sequencer.close()


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", "/requests", b"", 400),
        ("POST", "/requests", b"[]", 400),
        ("POST", "/requests", b'{"id": 5}', 400),
        ("POST", "/requests", b" " * 65_537, 413),
        ("GET", "/requests?cursor=x", b"", 400),
        ("GET", "/", b"", 404),
        ("PUT", "/requests", b"{}", 404),
        ("POST", "/jobs", b"{}", 400),
        ("GET", "/jobs/ab/proof", b"", 404),
        ("GET", "/jobs/../proof", b"", 404),
    ],
)
def test_what_it_does_not_understand(sequencer: Sequencer, method: str, target: str, body: bytes, status: int) -> None:
    assert answer(sequencer, method, target, body).status == status
    assert sequencer.page(0) == []


def test_places_that_cannot_be_had(sequencer: Sequencer, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"^file: "):
        Sequencer(str(tmp_path / "missing" / "file"))
    with SecondLayer(sequencer) as layer, pytest.raises(BadInput, match=r"^--port: "):
        SecondLayer(sequencer, int(layer.url.rpartition(":")[2]))


def test_a_watcher_answers_with_the_proof_that_the_second_layer_has(sequencer: Sequencer, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN)
    with known(), SecondLayer(sequencer) as layer:
        make_keys(bridge)
        instance = set_up(bridge, "toy")
        challenged(bridge, instance)
        assert HttpProver(Service(layer.url)).proof(bytes.fromhex(instance)) is None
        watch = ("watch", "--as", OPERATOR, "--once", "--proofs", layer.url)
        assert "no proof to answer the challenge with" in bridge.run(*watch, code=1).stderr
        assert answer(sequencer, "PUT", f"/proofs/{instance}", proof_file(3, 3)).status == 201
        assert "the proof does not verify" in bridge.run(*watch, code=5).stderr
        assert bridge.contents()["one_time_keys"] == []
        assert answer(sequencer, "PUT", f"/proofs/{instance}", proof_file(2, 3)).status == 201
        assert look(bridge, OPERATOR, "--proofs", layer.url) == ["Assert"]
        bridge.mine()
        assert state(bridge, instance) == "asserted"


def test_a_watcher_needs_no_proof_for_a_program_that_takes_none(sequencer: Sequencer, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN)
    make_keys(bridge)
    challenged(bridge, set_up(bridge, "hash-chain:2:1"))
    with SecondLayer(sequencer) as layer:
        assert look(bridge, OPERATOR, "--proofs", layer.url) == ["Assert"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_serves_until_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    line = ["--datadir", str(tmp_path), "--json", "l2-stub", "--port", "0"]
    script = "import sys; from cli.main import main; sys.argv = ['bitvm-bridge', *sys.argv[1:]]; main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", script, *line], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        printed = b"".join(iter(process.stdout.readline, b"}\n"))
        url = json.loads(printed + b"}")["url"]
        assert PolledService(Service(f"{url}/requests")).requests(START).requests == ()
        process.send_signal(number)
        assert process.wait(30) == 0
