"""`bitvm-bridge` that kills itself at a write of its store: `python -m tests.live.dying ARGS`.

Two variables of the environment are read here and by nothing else. DIE_AT, such as `before 3` or `after one_time_keys`,
is the commit of this process at which it gets SIGKILL: by its number, or the first that writes to a table, or a kind of
record (`records/bundle`). WRITES is a file to which it adds a line for every commit, with what that wrote.
"""

import os
import re
import signal
import sqlite3
import sys
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from bitvm_bridge.keys import Role

DIE_AT: Final = "BRIDGE_TEST_DIE_AT"
WRITES: Final = "BRIDGE_TEST_WRITES"
_WRITE: Final = re.compile(r"(?:INSERT(?: OR \w+)? INTO|UPDATE|DELETE FROM) (\w+)")
EMPTY_BLOCK: Final = "records/watch block"
"""What a watcher writes for a block that has nothing of its instances: a hundred times before it comes to one."""
SIGNING: Final = ("records/envelope nonces", "records/envelope confirm-nonces", "nonces")
"""What a member writes before a signature: it must get past all of that in one life."""
ENOUGH: Final = 3
"""Of each of these, after which they do not count."""
Side = Literal["before", "after"]


class Mortal(sqlite3.Connection):
    """Counts its commits that write something, and ends its process at one of them."""

    commits = 0
    side, _, moment = os.environ.get(DIE_AT, "never").partition(" ")

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.written: list[str] = []
        self.changes = 0

    def execute(self, statement: str, parameters: Any = (), /) -> sqlite3.Cursor:
        """As the base class does."""
        if statement.startswith("BEGIN"):
            self.written, self.changes = [], self.total_changes
        elif found := _WRITE.match(statement):
            self.written.append(f"{found[1]}/{_kind(parameters)}" if found[1] == "records" else found[1])
        if statement != "COMMIT" or self.total_changes == self.changes:
            return super().execute(statement, parameters)
        Mortal.commits += not self._is_old()
        self._may_die("before")
        done = super().execute(statement, parameters)
        self._may_die("after")
        return done

    @property
    def _what(self) -> str:
        return "+".join(dict.fromkeys(self.written))

    def _is_old(self) -> bool:
        """Is this one at which earlier lives have died often enough, or which they had to get past as often?"""
        path = Path(os.environ.get(WRITES, os.devnull))
        if not path.exists():
            return False
        noted = path.read_text().splitlines()
        if Role.COMMITTEE in sys.argv and self._what in SIGNING:
            return sum(line.partition(" ")[2] == self._what for line in noted) >= ENOUGH
        return self._what == EMPTY_BLOCK and noted.count(f"{Mortal.side} {EMPTY_BLOCK}") >= ENOUGH

    def _may_die(self, side: Side) -> None:
        is_last = Mortal.side == side and (Mortal.moment in self.written or Mortal.moment == str(Mortal.commits))
        if is_last or side == "after":
            self._note(side if is_last else "lived")
        if is_last:
            os.kill(os.getpid(), signal.SIGKILL)

    def _note(self, fate: str) -> None:
        if path := os.environ.get(WRITES):
            with Path(path).open("a") as stream:
                stream.write(f"{fate} {self._what}\n")


def _kind(parameters: Any) -> str:
    """Of a record: the first parameter; of an envelope what it says."""
    kind = str(parameters[0])
    if kind != "envelope" or len(parameters) < 3:
        return kind
    said = re.search(rb'"kind":"([a-z-]+)"', parameters[2])
    return f"envelope {said[1].decode() if said else '?'}"


if __name__ == "__main__":
    sqlite3.connect = partial(sqlite3.connect, factory=Mortal)  # type: ignore[assignment]
    from cli.main import main

    main()
