"""Proofs from a command and from a service: what they hand in, and all the ways in which they do not."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.sources import provers
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.provers import CommandProver, HttpProver
from bitvm_bridge.sources.uris import open_proofs, open_requests
from bitvm_bridge.watch.proofs import ProofFolder
from tests.sources.orders import Asked, Server, served

INSTANCE = bytes(range(32))
ID = INSTANCE.hex()


def python(code: str, *arguments: str, said: list[str] | None = None, timeout: float = 60.0) -> CommandProver:
    log: Callable[[str], None] = print if said is None else said.append
    return CommandProver((sys.executable, "-c", code, *arguments), log, timeout)


def test_the_id_goes_into_the_arguments() -> None:
    prover = python("import sys; print(sys.argv[1:], repr(sys.stdin.read()))", "--id={instance}", "{instance}", "plain")
    assert prover.proof(INSTANCE) == f"['--id={ID}', '{ID}', 'plain'] ''\n".encode()


def test_the_id_is_the_input_where_no_argument_asks_for_it() -> None:
    assert python("import sys; print(repr(sys.stdin.read()))").proof(INSTANCE) == f"'{ID}\\n'\n".encode()


def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    target = tmp_path / "made by a shell"
    evil = f"; touch '{target}'; $(touch '{target}')"
    prover = CommandProver.parse(f"{sys.executable} -c 'import sys; print(sys.argv[1])' \"{evil}\"", print)
    assert prover.proof(INSTANCE) == f"{evil}\n".encode()
    assert not target.exists()


def test_a_command_that_prints_nothing_has_no_proof_yet() -> None:
    assert python("pass").proof(INSTANCE) is None


def test_what_a_command_says_is_logged() -> None:
    said: list[str] = []
    prover = python("import sys; sys.stderr.write('one\\ntwo\\n'); print('{}')", said=said)
    assert prover.proof(INSTANCE) == b"{}\n"
    assert said == ["prover: one", "prover: two"]
    with pytest.raises(BridgeError, match=r"exit code 3$"):
        python("import sys; sys.stderr.write('why'); print('{}'); sys.exit(3)", said=said).proof(INSTANCE)
    assert said[-1] == "prover: why"


def is_gone(status: Path) -> bool:
    """Has a process ended, or is it only waiting to be collected?"""
    try:
        return status.read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_a_command_that_takes_too_long_is_ended_with_its_children(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(pid)!r}, 'w').write(str(child.pid))\n"
        "time.sleep(600)"
    )
    with pytest.raises(BridgeError, match="not done within 2 seconds"):
        python(code, timeout=2.0).proof(INSTANCE)
    deadline = time.monotonic() + 10
    while not is_gone(Path(f"/proc/{pid.read_text()}/stat")):
        assert time.monotonic() < deadline, "the child outlives the command"
        time.sleep(0.05)


def test_a_command_that_prints_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provers, "MAX_PROOF", 1_000)
    with pytest.raises(BridgeError, match="1,001 bytes, more than the 1,000 of any proof"):
        python("print('x' * 1000)").proof(INSTANCE)


def test_a_command_does_not_see_the_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BITVM_BRIDGE_PASSPHRASE", "correct horse")
    monkeypatch.setenv("OTHER", "seen")
    found = json.loads(python("import json, os; print(json.dumps(dict(os.environ)))").proof(INSTANCE) or b"")
    assert found["OTHER"] == "seen"
    assert not [name for name in found if name.startswith("BITVM_BRIDGE_")]
    assert os.environ["BITVM_BRIDGE_PASSPHRASE"] == "correct horse"


@pytest.mark.parametrize("text", ["", "  ", "'open", "/no/such/prover"])
def test_what_is_no_command_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match=r"^prover: "):
        CommandProver.parse(text, print).proof(INSTANCE)


class Clock:
    """Time passes only where somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def prover(server: Server, clock: Clock) -> HttpProver:
    return HttpProver(Service(server.url, sleep=clock.sleep), patience=10.0, pause=2.0, clock=clock)


def job(state: str, **more: str) -> bytes:
    return json.dumps({"job": "7", "state": state} | more).encode()


def answers(*jobs: bytes, proof: tuple[int, bytes] = (200, b"document")) -> Callable[[Asked], tuple[int, bytes]]:
    """A prover whose job is in these states, one after the other, and in the last one from then on."""
    left = list(jobs)

    def reply(asked: Asked) -> tuple[int, bytes]:
        if asked.path == "/jobs/7/proof":
            return proof
        assert (asked.method, asked.path) in (("POST", "/jobs"), ("GET", "/jobs/7"))
        return 200, left.pop(0) if len(left) > 1 else left[0]

    return reply


def test_a_job_is_ordered_waited_for_and_fetched() -> None:
    clock = Clock()
    with served(answers(job("running"), job("running"), job("done"))) as server:
        assert prover(server, clock).proof(INSTANCE) == b"document"
    assert [(asked.method, asked.path) for asked in server.asked] == [
        ("POST", "/jobs"),
        ("GET", "/jobs/7"),
        ("GET", "/jobs/7"),
        ("GET", "/jobs/7/proof"),
    ]
    assert json.loads(server.asked[0].body) == {"instance": ID}
    assert clock.now == 4.0


def test_a_job_that_is_not_done_in_time_is_asked_for_again_later() -> None:
    clock = Clock()
    with served(answers(job("running"))) as server:
        assert prover(server, clock).proof(INSTANCE) is None
    assert clock.now == 10.0


def test_a_job_may_have_no_document() -> None:
    for state, proof in (("empty", (404, b"")), ("done", (200, b""))):
        with served(answers(job(state), proof=proof)) as server:
            assert prover(server, Clock()).proof(INSTANCE) is None


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        (answers(job("failed", reason="out of\nmemory")), BridgeError, ": out of memory$"),
        (answers(job("failed")), BridgeError, ": failed$"),
        (answers(job("lost")), BadInput, "'lost' is not in one of the states running, done, empty, failed"),
        (answers(job("running", job="../secrets")), BadInput, "letters and digits"),
        (answers(b"junk"), BadInput, "^job of "),
        (answers(b'{"job": "7"}'), BadInput, "^job of "),
        (answers(job("done"), proof=(404, b"")), NodeRejected, "HTTP status 404"),
        (answers(job("done"), proof=(500, b"")), NodeUnreachable, "HTTP status 500"),
    ],
)
def test_a_service_that_has_no_proof_says_why(
    reply: Callable[[Asked], tuple[int, bytes]], kind: type[BridgeError], message: str
) -> None:
    with served(reply) as server, pytest.raises(kind, match=message):
        prover(server, Clock()).proof(INSTANCE)


def test_sources_are_named_in_one_line(tmp_path: Path) -> None:
    assert open_proofs(str(tmp_path), print) == ProofFolder(tmp_path)
    assert open_proofs("exec:prove --id {instance}", print) == CommandProver(("prove", "--id", "{instance}"), print)
    assert open_proofs("https://prover.example/v1", print) == HttpProver(Service("https://prover.example/v1"))
    assert open_requests("requests.jsonl").name == f"file:{Path('requests.jsonl').absolute()}"
    assert open_requests("https://l2.example/r?key=SECRET").name == "https://l2.example/r"
    found = open_requests(f"evm+https://rpc.example/SECRET#contract=0x{'22' * 20}&chain=10&from=5&confirmations=64")
    assert found.name.startswith(f"evm:10:{'22' * 20}:")
    assert "SECRET" not in repr(found) + found.name


EVM = f"evm+http://127.0.0.1:1/SECRET#contract={'22' * 20}"


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("evm+http://127.0.0.1:1/SECRET", "--source, behind #"),
        (EVM, "--source, behind #"),
        (f"{EVM}&chain=1&chain=2", "--source, behind #"),
        (f"{EVM}&chain=1&depth=2", "--source, behind #"),
        (f"{EVM}&chain=one", "chain"),
        (f"{EVM}&chain=", "chain"),
        (f"{EVM}&chain=1&from=-1", "from"),
        (f"{EVM}&chain=1&confirmations=0", "confirmations"),
        (f"{EVM}00&chain=1", "contract"),
        (f"{EVM}&chain=1&topic=0x12", "topic"),
        (f"evm+file:///SECRET#contract={'22' * 20}&chain=1", "URL"),
    ],
)
def test_a_line_that_names_no_source_is_refused(text: str, field: str) -> None:
    with pytest.raises(BadInput, match=f"^{field}: ") as caught:
        open_requests(text)
    assert "SECRET" not in str(caught.value)


def test_proofs_come_from_somewhere() -> None:
    with pytest.raises(BadInput, match=r"^--proofs: '/no/such/folder' is not a folder, exec:COMMAND or an http URL$"):
        open_proofs("/no/such/folder", print)
