"""Processes that die at writes of their stores and are started again, as a service manager would; and what they say."""

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, repeat
from pathlib import Path

from tests.live.dying import DIE_AT, WRITES
from tests.live.parties import Parties
from tests.vectors import ROOT

Plan = Iterator[str]
"""At which commit each life of a process ends; it lives on where there is no more."""


def at(*moments: str) -> Plan:
    """One after another."""
    return iter(moments)


def always(side: str) -> Plan:
    """At every write: each life after its first one, or, when it has acted on that, before its second."""
    return repeat("after 1") if side == "after" else chain(("before 1",), repeat("before 2"))


@dataclass
class Service:
    """One party's command. It is started again when it was killed, and must never end otherwise but well."""

    parties: Parties
    name: str
    args: tuple[str, ...]
    plan: Plan = field(default_factory=lambda: iter(()))
    lives: int = 0
    popen: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        return self.parties.folder / f"{self.name}-{self.args[0]}.log"

    @property
    def writes(self) -> Path:
        """What it committed, a line each, and at which of them it died."""
        return self.parties.folder / f"{self.name}-{self.args[0]}.writes"

    @property
    def metrics(self) -> Path:
        """Of the last look that this life has ended."""
        return self.parties.folder / f"{self.name}.prom"

    def start(self) -> None:
        bridge = self.parties.bridges[self.name]
        self.metrics.unlink(missing_ok=True)
        line = ["--datadir", str(bridge.datadir), *bridge.options, *self.args]
        environment = os.environ | {"PYTHONPATH": str(ROOT), WRITES: str(self.writes)}
        if moment := next(self.plan, ""):
            environment[DIE_AT] = moment
        with self.log.open("ab") as stream:
            self.popen = subprocess.Popen(
                [sys.executable, "-W", "error", "-m", "tests.live.dying", *line],
                stdout=stream,
                stderr=stream,
                env=environment,
                cwd=self.parties.folder,
            )
        self.lives += 1

    def tend(self) -> bool:
        """Start it again where it was killed; True where it has done what it was to do."""
        if self.popen is None:
            self.start()
        assert self.popen is not None
        code = self.popen.poll()
        if code == -signal.SIGKILL:
            self.start()
        elif code is not None:
            assert code == 0, self.text()
            return True
        return False

    def end(self, *, kindly: bool = True) -> None:
        """Ask it to end, which it must do well; or end it."""
        if self.popen is None or self.popen.poll() is not None:
            return
        if kindly:
            self.popen.terminate()
            assert self.popen.wait(timeout=30) in (0, -signal.SIGKILL), self.text()
        else:
            self.popen.kill()
            self.popen.wait(timeout=30)

    def has_looked_at(self, height: int) -> bool:
        """Has a look of this life, at this block, come to its end?"""
        page = self.metrics.read_text() if self.metrics.exists() else ""
        return f"\nbitvm_bridge_height {height}\n" in page

    def text(self) -> str:
        """The end of what it has said."""
        return f"{self.name} {self.args}:\n{self.log.read_text(errors='replace')[-3000:]}"

    def fates(self) -> Counter[tuple[str, str]]:
        """(lived, before or after; what was written) → how often."""
        lines = self.writes.read_text().splitlines() if self.writes.exists() else []
        return Counter((line.partition(" ")[0], line.partition(" ")[2]) for line in lines)

    @property
    def deaths(self) -> int:
        return sum(number for (fate, _), number in self.fates().items() if fate != "lived")
