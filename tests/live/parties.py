"""Parties in processes of their own, each with its own data directory, on one bitcoind that mines now and then."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Final, Self

from bitvm_bridge.chain.launch import LaunchedBitcoind
from tests.cli.bridge import PLAIN, Bridge, rpc_options
from tests.vectors import ROOT

PROGRAM: Final = "hash-chain:2:1"
PATIENCE: Final = 120.0
"""seconds before a test gives up waiting."""
BLOCK_EVERY: Final = 0.5
"""seconds"""
CAST: Final = {
    "alice": "committee",
    "bob": "committee",
    "carol": "committee",
    "dora": "depositor",
    "olga": "operator",
    "oscar": "operator",
    "clara": "challenger",
}


@dataclass
class Process:
    """A command that runs beside the test; its stderr is in a file."""

    name: str
    args: tuple[str, ...]
    log: Path
    popen: subprocess.Popen[bytes]

    def text(self) -> str:
        """What it has written so far."""
        return self.log.read_text(errors="replace")

    def is_running(self) -> bool:
        return self.popen.poll() is None

    def end(self, *, signal_first: bool = True) -> int:
        """Stop it, or kill it at once."""
        if self.is_running():
            if signal_first:
                self.popen.terminate()
            else:
                self.popen.kill()
        return self.popen.wait(timeout=30)


@dataclass
class Parties:
    """Everyone's data directory, and the processes that were started."""

    folder: Path
    launched: LaunchedBitcoind
    bridges: dict[str, Bridge] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    via: tuple[str, ...] = ()
    """Options that say where envelopes travel; a shared folder where there are none."""
    patience: ClassVar[float] = PATIENCE

    @classmethod
    @contextmanager
    def gathered(cls, folder: Path, launched: LaunchedBitcoind, cast: dict[str, str] = CAST) -> Iterator[Self]:
        """Keys, coins, and a roster that everyone has; whatever was started is ended."""
        parties = cls(folder, launched)
        try:
            parties._gather(cast)
            yield parties
        finally:
            for process in parties.processes:
                process.end(signal_first=False)

    @property
    def shared(self) -> Path:
        """Where envelopes travel."""
        return self.folder / "shared"

    @property
    def roster(self) -> Path:
        return self.folder / "roster.json"

    def role(self, name: str) -> str:
        return CAST[name]

    def add(self, name: str, role: str) -> Bridge:
        """A data directory with a key, and coins for whoever needs some."""
        bridge = self.bridges[name] = Bridge(self.folder / name, *PLAIN, *rpc_options(self.launched))
        if role == "committee":
            bridge.run("committee", "keygen", "default")
        else:
            bridge.run(role, "keygen")
            bridge.run("node", "mine", "3", "--to", role)
            self.mine(100)
        return bridge

    def _gather(self, cast: dict[str, str]) -> None:
        self.shared.mkdir()
        entries = []
        for name, role in cast.items():
            entry = self.folder / f"{name}.json"
            entry.write_text(self.add(name, role).run("exchange", "identity", name, "--as", role).stdout)
            entries.append(str(entry))
        self.roster.write_text(self.bridges["alice"].run("exchange", "roster", *entries, "--program", PROGRAM).stdout)

    def mine(self, blocks: int = 1) -> None:
        self.launched.node.mine(blocks)

    def start(self, name: str, *args: str) -> Process:
        """A command of one party, as a process of its own."""
        bridge = self.bridges[name]
        log = self.folder / f"{name}-{len(self.processes)}.log"
        line = ["--datadir", str(bridge.datadir), *bridge.options, *args]
        command = [sys.executable, "-W", "error", "-c", "from cli.main import main; main()", *line]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with log.open("wb") as stream:
            popen = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment, cwd=self.folder)
        process = Process(name, args, log, popen)
        self.processes.append(process)
        return process

    def take_part(self, name: str, *more: str) -> Process:
        """`exchange run` of a party."""
        via = self.via or ("--dir", str(self.shared))
        options = ("--as", self.role(name), "--roster", str(self.roster), *via)
        return self.start(name, "exchange", "run", *options, "--poll", "0.2", *more)

    def watch(self, name: str, *more: str) -> Process:
        """`watch` of a party."""
        return self.start(name, "watch", "--as", self.role(name), "--poll", "0.3", *more)

    def until(self, what: Callable[[], bool], *, mining: bool = True, alive: Sequence[Process] = ()) -> None:
        """Mine a block now and then until it is so; fails when a process that must run has ended, or after a while."""
        deadline = time.monotonic() + self.patience
        while not what():
            for process in alive:
                assert process.is_running(), f"{process.name} {process.args} ended:\n{process.text()}"
            assert time.monotonic() < deadline, self.report()
            if mining:
                self.mine()
            time.sleep(BLOCK_EVERY)

    def report(self) -> str:
        """The end of everything that was written."""
        return "\n".join(f"--- {item.name} {item.args[:4]}\n{item.text()[-1500:]}" for item in self.processes)
