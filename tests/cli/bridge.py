"""The command line as tests drive it: every call is an invocation of its own, as separate as one from a shell."""

import json
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from click.testing import CliRunner

from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.params import Network
from bitvm_bridge.store import FILE_NAME, Store
from cli.main import root

PROGRAM: Final = "hash-chain:4:1"
LIE: Final = f"link_{int(PROGRAM.split(':')[1]) // 2}"
"""The chunk that a lying operator gets wrong."""
RECEIVER: Final = "00112233445566778899aabbccddeeff00112233"
AMOUNT: Final = 99_000_000
"""sat that a withdrawer asks for."""
WINDOW: Final = 6
"""blocks: every window's default on regtest."""
REFUND_DELAY: Final = 20
PLAIN: Final = ("--insecure-plain-keys",)


@dataclass(frozen=True)
class Done:
    """An invocation that has ended."""

    args: tuple[str, ...]
    code: int
    stdout: str
    stderr: str


class Bridge:
    """A data directory, the options that every call gets, and all that the calls have printed."""

    def __init__(self, datadir: Path, *options: str) -> None:
        self.datadir = datadir
        self.options = options
        self.log: list[Done] = []

    def run(self, *args: str, code: int = 0, env: Mapping[str, str] | None = None) -> Done:
        """Invoke; the exit code must be `code`."""
        line = ["--datadir", str(self.datadir), *self.options, *args]
        result = CliRunner().invoke(root, line, env=env, catch_exceptions=False, prog_name="bitvm-bridge")
        done = Done(args, result.exit_code, result.stdout, result.stderr)
        self.log.append(done)
        assert done.code == code, done
        return done

    def data(self, *args: str, code: int = 0) -> Any:
        """The one JSON document that a call prints."""
        return json.loads(self.run(*args, "--json", code=code).stdout)

    def refused(self, *args: str, code: int, env: Mapping[str, str] | None = None) -> str:
        """The one line by which a call is refused; it prints no data, and the store is what it was."""
        before = self.contents()
        done = self.run(*args, code=code, env=env)
        assert done.stdout == "", done
        assert self.contents() == before
        lines = done.stderr.splitlines()
        assert len(lines) == 1, done
        assert lines[0].startswith("error: ")
        return lines[0].removeprefix("error: ")

    def mine(self, blocks: int = 1) -> int:
        """The new height."""
        return int(self.run("node", "mine", str(blocks)).stdout)

    def mine_to(self, height: int) -> None:
        """Mine until the tip is at `height`."""
        self.mine(height - self.height())

    def height(self) -> int:
        """Height of the tip."""
        return int(self.data("node", "info")["height"])

    def send(self, *args: str) -> Any:
        """Broadcast and mine; returns the report."""
        report = self.data(*args, "--broadcast")
        assert report["policy"] == "accepted"
        assert report["broadcast"]
        self.mine()
        return report

    def balances(self) -> dict[str, int]:
        """Role → sat of its default key."""
        return {row["role"]: row["sat"] for row in self.data("node", "balance")["balances"]}

    def state(self, instance: str) -> str:
        """The last transaction of an instance that confirmed."""
        return str(self.data("instance", "status", instance)["state"])

    def contents(self) -> dict[str, list[Any]]:
        """Every row of every table of the store; empty before there is one."""
        path = self.datadir / "regtest" / FILE_NAME
        if not path.exists():
            return {}
        connection = sqlite3.connect(path)
        try:
            names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in names}  # noqa: S608
        finally:
            connection.close()

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The store itself."""
        store = Store.open(self.datadir / "regtest", Network.REGTEST)
        try:
            yield store
        finally:
            store.close()

    def mempool(self) -> list[str]:
        """Raw transactions that wait in the embedded node."""
        path = self.datadir / "regtest" / "chain" / "mempool.hex"
        return path.read_text().split() if path.exists() else []

    def copy(self, to: Path) -> "Bridge":
        """The same state in another place, to go on from without disturbing this one."""
        shutil.copytree(self.datadir, to)
        return Bridge(to, *self.options)


def rpc_options(launched: LaunchedBitcoind) -> tuple[str, ...]:
    """What reaches a launched node."""
    cookie = launched.datadir / "regtest" / ".cookie"
    reach = ("--rpcconnect", "127.0.0.1", "--rpcport", str(launched.port), "--rpccookiefile", str(cookie))
    return ("--node", "bitcoind", *reach)


def make_keys(bridge: Bridge) -> None:
    """A key for every role, three committee members, and coins."""
    for role in ("depositor", "withdrawer", "operator", "challenger"):
        bridge.run(role, "keygen")
        bridge.run("node", "mine", "2", "--to", role)
    bridge.run("committee", "keygen", "alice", "bob", "carol")
    bridge.mine(100)


def make_deposit(bridge: Bridge, *options: str) -> str:
    """A confirmed deposit; returns its id."""
    return str(bridge.send("depositor", "deposit", "--receiver", RECEIVER, *options)["deposit"])


def join(bridge: Bridge, deposit: str, program: str = PROGRAM, *options: str) -> str:
    """An operator's instance of a deposit; returns its id."""
    return str(bridge.send("operator", "join", deposit, "--program", program, *options)["instance"])


def set_up(bridge: Bridge, program: str = PROGRAM, *options: str) -> str:
    """From keys to a vault; returns the instance."""
    deposit = make_deposit(bridge)
    instance = join(bridge, deposit, program, *options)
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    return instance


def pay_out(bridge: Bridge, instance: str) -> None:
    """The withdrawer asks, the operator pays."""
    psbt = bridge.datadir / "withdrawal.psbt"
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", str(psbt))
    bridge.send("operator", "peg-out", instance, "--psbt", str(psbt))


def kick_off(bridge: Bridge, instance: str) -> int:
    """The operator claims; returns the height of KickOff."""
    bridge.send("operator", "kick-off", instance)
    return bridge.height()


def challenged(bridge: Bridge, instance: str) -> int:
    """A claim and a challenge; returns the height of KickOff."""
    height = kick_off(bridge, instance)
    bridge.send("challenger", "challenge", instance)
    return height
