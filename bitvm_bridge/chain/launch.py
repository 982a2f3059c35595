"""A throw-away Bitcoin Core node, for tests and demos."""

import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bitvm_bridge.chain import rpc
from bitvm_bridge.chain.bitcoind import BitcoindNode
from bitvm_bridge.errors import NodeUnreachable
from bitvm_bridge.params import Network

START_TIMEOUT: Final = 60.0
"""seconds for the node to answer its first call."""
STOP_TIMEOUT: Final = 30.0
"""seconds between asking the node to stop and killing it."""
_POLL: Final = 0.05


class LaunchedBitcoind:
    """`with LaunchedBitcoind(bitcoind, datadir) as launched:` runs `bitcoind`; `launched.node` talks to it.

    Regtest, or a signet that `options` describe. Default policy unless they say otherwise, no peers, no wallet; RPC on
    a free port of 127.0.0.1. The chain stays in `datadir`.
    """

    node: BitcoindNode

    def __init__(self, bitcoind: Path, datadir: Path, *options: str, network: Network = Network.REGTEST) -> None:
        self.datadir = datadir
        self.network = network
        self.port = 0
        self._bitcoind = bitcoind
        self._options = options
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Raises NodeUnreachable, with the program's last words, where it is missing or does not come up."""
        self.datadir.mkdir(parents=True, exist_ok=True)
        self.port = _free_port()
        try:
            self._process = self._start()
        except OSError as error:
            raise NodeUnreachable(f"cannot run {self._bitcoind}: {error.strerror}") from None
        try:
            self.node = self._wait(self._process)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.node.close()
        self._stop()

    def _start(self) -> "subprocess.Popen[bytes]":
        options = [
            f"-{self.network}",
            f"-datadir={self.datadir}",
            "-server",
            f"-rpcport={self.port}",
            "-rpcbind=127.0.0.1",
        ]
        options += ["-rpcallowip=127.0.0.1", "-listen=0", "-connect=0", "-dnsseed=0", "-disablewallet", *self._options]
        with self._errors.open("wb") as errors:
            return subprocess.Popen(  # noqa: S603 (the caller names the program)
                [str(self._bitcoind), *options], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors
            )

    def _wait(self, process: "subprocess.Popen[bytes]") -> BitcoindNode:
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline:
            if process.poll() is not None:
                raise NodeUnreachable(f"{self._bitcoind} stopped at once: {self._last_words()}")
            try:
                return BitcoindNode(self.connect(), self.network)
            except NodeUnreachable:
                time.sleep(_POLL)
        raise NodeUnreachable(f"{self._bitcoind} gives no answer after {START_TIMEOUT:.0f} s: {self._last_words()}")

    def connect(self) -> rpc.Rpc:
        """Another connection to it."""
        return rpc.from_options(self.network, rpcport=self.port, datadir=self.datadir)

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    @property
    def _errors(self) -> Path:
        return self.datadir / "stderr.log"

    def _last_words(self) -> str:
        for path in (self._errors, self.datadir / self.network / "debug.log"):
            lines = path.read_text(encoding="utf-8", errors="replace").split("\n") if path.exists() else []
            if said := [line.strip() for line in lines if line.strip()]:
                return said[-1]
        return "it said nothing"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
