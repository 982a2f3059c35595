"""The service in this process, and in one of its own; requests that are signed, well or badly."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self

import httpx2
import requests
from starlette.testclient import TestClient

from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.service.api import Service, application
from bitvm_bridge.service.credentials import Asked, Credentials
from bitvm_bridge.service.limits import Limits
from bitvm_bridge.service.office import Office
from tests.exchange.cast import ROSTER, SEEDS
from tests.vectors import ROOT

HOST: Final = "office.test"
NOW: Final = 1_800_000_000
SESSION: Final = bytes(range(32))
ALICE: Final = SEEDS["alice"].identity_key()
BOB: Final = SEEDS["bob"].identity_key()
DORA: Final = SEEDS["dora"].identity_key()
OLGA: Final = SEEDS["olga"].identity_key()
STRANGER: Final = Seed(Role.OPERATOR, b"stranger".ljust(32, b"\0")).identity_key()
JSON: Final = {"Content-Type": "application/json"}
PATIENCE: Final = 30.0
"""seconds before a test gives up waiting."""


def letter(key: SecretKey, number: int = 0, kind: str = "nonces", size: int = 0) -> Envelope:
    """An envelope like no other of that number."""
    return seal(key, kind, SESSION, {"number": number, "filler": "x" * size})


def credentials(
    key: SecretKey, method: str, target: str, body: bytes = b"", *, host: str = HOST, now: float = NOW
) -> str:
    """An Authorization header."""
    return Credentials.sign(key, Asked(method, host, target, hashlib.sha256(body).digest()), int(now)).header()


@dataclass
class Clock:
    """Time that tests move."""

    now: float = NOW

    def __call__(self) -> float:
        return self.now


@dataclass
class Web:
    """The application on an office in a folder, asked without a network."""

    client: TestClient
    office: Office
    service: Service
    clock: Clock
    log: list[Mapping[str, Any]] = field(default_factory=list)

    @classmethod
    @contextmanager
    def open(cls, folder: Path, limits: Limits | None = None) -> Iterator[Self]:
        limits, clock = limits or Limits(), Clock()
        log: list[Mapping[str, Any]] = []
        office = Office(folder / "mailbox.sqlite", limits)
        service = Service(ROSTER, office, limits, log.append, clock)
        app = application(service, frozenset({HOST}), limits, log.append)
        try:
            with TestClient(app, f"http://{HOST}", raise_server_exceptions=False) as client:
                yield cls(client, office, service, clock, log)
        finally:
            service.close()
            office.close()

    def ask(
        self, key: SecretKey, method: str, target: str, body: bytes = b"", headers: Mapping[str, str] = JSON
    ) -> httpx2.Response:
        """A request that is signed for now."""
        header = {"Authorization": credentials(key, method, target, body, now=self.clock.now)}
        return self.client.request(method, target, content=body, headers={**header, **headers})

    def put(self, envelope: Envelope, key: SecretKey | None = None) -> httpx2.Response:
        """By its author, unless a key says otherwise."""
        return self.ask(key or key_of(envelope), "POST", "/v1/envelopes", envelope.to_json())

    def get(self, target: str, key: SecretKey = BOB) -> Any:
        """The document of an answer that is fine."""
        answer = self.ask(key, "GET", target)
        assert answer.status_code == 200, answer.text
        return answer.json()


def key_of(envelope: Envelope) -> SecretKey:
    """The identity key of its author."""
    return next(key for seed in SEEDS.values() if (key := seed.identity_key()).xonly == envelope.author)


def refused(answer: httpx2.Response | requests.Response, status: int) -> str:
    """The one line of a refusal."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    message = answer.json()["error"]
    assert isinstance(message, str)
    assert "\n" not in message
    return message


class Signed(requests.auth.AuthBase):
    """Signs requests as they go out."""

    def __init__(self, key: SecretKey, host: str) -> None:
        self._key, self._host = key, host

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        body = prepared.body or b""
        raw = body.encode() if isinstance(body, str) else body
        asked = (prepared.method or "", prepared.path_url, raw)
        prepared.headers["Authorization"] = credentials(self._key, *asked, host=self._host, now=time.time())
        return prepared


@dataclass
class Running:
    """`committee serve` in a process of its own; its log is in a file."""

    popen: subprocess.Popen[str]
    url: str
    log: Path

    @classmethod
    @contextmanager
    def start(cls, folder: Path, *options: str, parties: Roster = ROSTER) -> Iterator[Self]:
        roster, log = folder / "roster.json", folder / "service.log"
        roster.write_bytes(parties.to_json())
        args = ("--datadir", str(folder), "--json", "committee", "serve", "--roster", str(roster), *options)
        command = [sys.executable, "-W", "error", "-c", "from cli.main import main; main()", *args]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with log.open("ab") as stream:
            popen = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stream, text=True, env=environment)
        with popen:
            try:
                yield cls(popen, _url(popen, log), log)
            finally:
                popen.kill()

    @property
    def host(self) -> str:
        return self.url.partition("://")[2]

    @property
    def port(self) -> int:
        return int(self.host.rpartition(":")[2])

    def ask(self, key: SecretKey, method: str, target: str, **more: Any) -> requests.Response:
        """A signed request."""
        return requests.request(method, self.url + target, auth=Signed(key, self.host), timeout=PATIENCE, **more)

    def head(self, key: SecretKey, method: str, target: str, body_hash: bytes, *lines: str) -> bytes:
        """The first part of a request, as it goes over the wire."""
        asked = Asked(method, self.host, target, body_hash)
        signed = Credentials.sign(key, asked, int(time.time())).header()
        return "\r\n".join(
            (f"{method} {target} HTTP/1.1", f"Host: {self.host}", f"Authorization: {signed}", *lines, "", "")
        ).encode()

    def memory(self, what: str = "VmRSS") -> int:
        """Bytes of memory: now, or at most so far (VmHWM)."""
        text = Path(f"/proc/{self.popen.pid}/status").read_text()
        return 1024 * next(int(line.split()[1]) for line in text.splitlines() if line.startswith(what))

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self.popen.terminate()
        return self.popen.wait(timeout=PATIENCE)

    def events(self, name: str) -> list[dict[str, Any]]:
        """What the log has of a kind."""
        found = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [event for event in found if event["event"] == name]


def _url(popen: subprocess.Popen[str], log: Path) -> str:
    """From the document that it prints when it listens."""
    assert popen.stdout is not None
    text = ""
    while not text.endswith("}\n"):
        line = popen.stdout.readline()
        assert line, log.read_text()
        text += line
    return str(json.loads(text)["url"])


def until(what: Callable[[], bool]) -> None:
    """Wait for it."""
    deadline = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)
