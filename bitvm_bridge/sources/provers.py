"""Proofs from a prover: a command on this machine, or a service that works on jobs.

What a prover hands in is only read here. Whoever asserts with it runs the program on it first, and refuses what does
not verify before a key is bound.
"""

import os
import shlex
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import IO, Final

from bitvm_bridge.documents import Document, decode
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.sources.fetch import Service

INSTANCE: Final = "{instance}"
"""What an argument has in the place of the instance id in hex."""
MAX_PROOF: Final = 1 << 24
"""bytes that are taken of a prover."""
MAX_LOGGED: Final = 1 << 16
"""bytes of a command's stderr that are logged, its last ones."""
OUR_VARIABLES: Final = "BITVM_BRIDGE_"
"""The environment of a prover has none of these: the passphrase of the keys is one of them."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class CommandProver:
    """A command, run without a shell: the id is put into its arguments, or a line of its input where none asks for it.

    Its output is the document, and empty where there is no proof yet; what it says on stderr goes to the log.
    `timeout` is in seconds.
    """

    argv: tuple[str, ...]
    log: Log = field(repr=False)
    timeout: float = 3_600.0

    def __post_init__(self) -> None:
        if not self.argv:
            raise BadInput("prover", "nothing", "a command and its arguments")

    @classmethod
    def parse(cls, text: str, log: Log) -> "CommandProver":
        """From one line, split as a shell does it. Raises BadInput."""
        try:
            return cls(tuple(shlex.split(text)), log)
        except ValueError as error:
            raise BadInput("prover", text, f"a command and its arguments ({error})") from None

    def proof(self, instance_id: bytes) -> bytes | None:
        """What it prints. Raises BridgeError where it fails, is killed, takes too long or prints too much."""
        text = instance_id.hex()
        argv = [argument.replace(INSTANCE, text) for argument in self.argv]
        line = b"" if argv != list(self.argv) else f"{text}\n".encode()
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            code = self._run(argv, line, out, err)
            for said in _tail(err).decode("utf-8", "replace").splitlines():
                self.log(f"prover: {said}")
            if code is None:
                raise BridgeError(f"prover {argv[0]}: not done within {self.timeout:g} seconds")
            if code:
                raise BridgeError(f"prover {argv[0]}: exit code {code}")
            return _document(argv[0], out)

    def _run(self, argv: list[str], line: bytes, out: IO[bytes], err: IO[bytes]) -> int | None:
        """The exit code; None where it had to be stopped, and all that it had started with it."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
        try:
            process = subprocess.Popen(  # noqa: S603 (the operator's own command)
                argv, stdin=subprocess.PIPE, stdout=out, stderr=err, env=environment, start_new_session=True
            )
        except OSError as error:
            raise BadInput("prover", argv[0], f"a command that can be run ({error.strerror})") from None
        with process:
            try:
                process.communicate(line, timeout=self.timeout)
            except subprocess.TimeoutExpired:
                return None
            finally:
                if process.returncode is None:
                    os.killpg(process.pid, signal.SIGKILL)
        return process.returncode


def _tail(err: IO[bytes]) -> bytes:
    err.seek(max(0, err.seek(0, os.SEEK_END) - MAX_LOGGED))
    return err.read()


def _document(name: str, out: IO[bytes]) -> bytes | None:
    size = out.seek(0, os.SEEK_END)
    if size > MAX_PROOF:
        raise BridgeError(f"prover {name}: {size:,} bytes, more than the {MAX_PROOF:,} of any proof")
    out.seek(0)
    return out.read() or None


class JobDocument(Document, frozen=True):
    """A job as the service tells of it: its id, whether it is `running`, `done`, `empty` or `failed`, and why."""

    job: str
    state: str
    reason: str = ""


@dataclass(frozen=True)
class HttpProver:
    """A service: `POST /jobs {"instance": …}` orders a proof, once for each instance however often it is asked.

    `GET /jobs/JOB` tells how far it is, `GET /jobs/JOB/proof` gives the document. `empty` means that there is none, as
    for a program that takes none. A call waits `patience` seconds, looking every `pause` seconds, and says None then:
    whoever asks again later finds the same job.
    """

    service: Service
    patience: float = 20.0
    pause: float = 2.0
    clock: Callable[[], float] = field(default=time.monotonic, repr=False)

    def proof(self, instance_id: bytes) -> bytes | None:
        """The document, where it is there in time. Raises NodeUnreachable, NodeRejected, BridgeError."""
        end = self.clock() + self.patience
        job = self._job(self.service.post("/jobs", {"instance": instance_id.hex()}))
        while job.state == "running" and self.clock() < end:
            self.service.sleep(self.pause)
            job = self._job(self.service.get(f"/jobs/{job.job}"))
        if job.state == "failed":
            raise BridgeError(f"prover {self.service.host}: {' '.join(job.reason.split())[:200] or 'failed'}")
        return self.service.get(f"/jobs/{job.job}/proof") or None if job.state == "done" else None

    def _job(self, raw: bytes) -> JobDocument:
        job = decode(raw, JobDocument, f"job of {self.service.host}")
        if job.state not in _STATES:
            raise BadInput(f"job of {self.service.host}", job.state, f"in one of the states {', '.join(_STATES)}")
        if not (job.job.isascii() and job.job.isalnum()):
            raise BadInput(f"job of {self.service.host}", job.job, "one whose id has letters and digits only")
        return job


_STATES: Final = ("running", "done", "empty", "failed")
