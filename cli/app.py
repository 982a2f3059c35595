"""What every command shares: where the state is, which node answers, how data and prose are printed."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, Final, NoReturn, ParamSpec, TypeVar

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.documents import encode
from bitvm_bridge.errors import BadInput, BridgeError, CoinTaken
from bitvm_bridge.fees import FeeOptions
from bitvm_bridge.params import Network
from bitvm_bridge.store import Store

if TYPE_CHECKING:
    from bitvm_bridge.chain.rpc import Rpc

P = ParamSpec("P")
R = TypeVar("R")
EMBEDDED: Final = "embedded"
ESPLORA: Final = "esplora"
BITCOIND: Final = "bitcoind"
STDOUT: Final = "-"
TRIES: Final = 5
"""of a command whose coins others take."""


@dataclass(frozen=True)
class RpcOptions:
    """How to reach bitcoind, as in bitcoin-cli; None where the option was not given."""

    rpcconnect: str | None = None
    rpcport: int | None = None
    rpcuser: str | None = None
    rpcpassword: str | None = field(default=None, repr=False)
    rpccookiefile: Path | None = None
    rpcwallet: str | None = None

    def given(self) -> dict[str, Any]:
        """The options that were given."""
        return {name: value for name, value in vars(self).items() if value is not None}


@dataclass(frozen=True)
class App:
    """The options before the command."""

    network: Network
    datadir: Path
    node_kind: str
    rpc: RpcOptions
    json: bool
    plain_keys: bool
    passphrase: str | None = field(repr=False)
    fees: FeeOptions = field(default_factory=FeeOptions)
    esplora: str = ""
    start_height: int | None = None
    signet_challenge: bytes | None = None

    @property
    def home(self) -> Path:
        """The network's own folder."""
        return self.datadir / str(self.network)

    @contextmanager
    def node(self) -> Iterator[Node]:
        """The chosen node, closed afterwards."""
        node = self._connect()
        try:
            yield node
        finally:
            node.close()

    def _connect(self) -> Node:
        if self.node_kind == EMBEDDED:
            from bitvm_bridge.chain.embedded import EmbeddedNode

            try:
                return EmbeddedNode(self.home / "chain")
            except OSError as error:
                raise BadInput("--datadir", self.datadir, f"a folder to write to ({error.strerror})") from None
        if self.node_kind == ESPLORA:
            from bitvm_bridge.chain import signet
            from bitvm_bridge.chain.esplora import EsploraNode

            challenge = signet.PUBLIC if self.signet_challenge is None else self.signet_challenge
            return EsploraNode(self.esplora, self.network, challenge=challenge)
        from bitvm_bridge.chain.bitcoind import BitcoindNode

        return BitcoindNode(
            self.connection(), self.network, start_height=self.start_height, challenge=self.signet_challenge
        )

    def connection(self) -> "Rpc":
        """To bitcoind."""
        from bitvm_bridge.chain.rpc import from_options

        return from_options(self.network, **self.rpc.given())

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The state of this network, closed afterwards; a key that needs a passphrase asks for it on a terminal."""
        store = Store.open(
            self.home,
            self.network,
            passphrase=self.passphrase,
            ask=_ask_passphrase if sys.stdin.isatty() else None,
            insecure_plain_keys=self.plain_keys,
        )
        try:
            yield store
        finally:
            store.close()


def _ask_passphrase(first: bool) -> str:
    text = "New passphrase for the keys" if first else "Passphrase"
    answer: str = click.prompt(text, hide_input=True, confirmation_prompt=first, err=True)
    return answer


def say(text: str) -> None:
    """Prose, on stderr."""
    click.echo(text, err=True)


def emit(app: App, document: dict[str, Any], text: str) -> None:
    """Data, on stdout: `text` for people and pipes, or the document with --json."""
    if app.json:
        click.echo(encode(document).decode().rstrip())
    elif text:
        click.echo(text)


def read_file(path: str, field_name: str) -> bytes:
    """The bytes of a file, or of stdin for `-`, which is read once however often it is asked for. Raises BadInput."""
    known: dict[str, bytes] = click.get_current_context().meta.setdefault(__name__, {})
    if path in known:
        return known[path]
    try:
        with click.open_file(path, "rb") as stream:
            raw = bytes(stream.read())
        return known.setdefault(path, raw) if path == STDOUT else raw
    except OSError as error:
        raise BadInput(field_name, path, f"a readable file ({error.strerror})") from None


def write_file(path: str, data: bytes) -> None:
    """Write to a file, all of it or nothing, or to stdout for `-`. Raises BadInput."""
    if path == STDOUT:
        click.echo(data, nl=False)
        return
    with staged_file(path, data):
        pass


def write_secret(path: str, data: bytes) -> None:
    """Write to a new file for its owner alone. Raises BadInput, where there is one already too."""
    try:
        with open(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as stream:
            stream.write(data)
    except OSError as error:
        raise BadInput("file", path, f"a new file to write to ({error.strerror})") from None


@contextmanager
def staged_file(path: str, data: bytes) -> Iterator[None]:
    """Write beside the file now, and put it in its place when the block ends well. Raises BadInput."""
    target = Path(path)
    if target.is_dir():
        raise BadInput("--out", path, "a file to write to (it is a folder)")
    part = target.with_name(target.name + ".part")
    try:
        part.write_bytes(data)
    except OSError as error:
        raise BadInput("--out", path, f"a file to write to ({error.strerror})") from None
    try:
        yield
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def with_app(run: Callable[Concatenate[App, P], R]) -> Callable[P, R]:
    """Give a command the options before it, and turn every refusal into one line on stderr and its exit code.

    Where another command takes a coin that this one had chosen, it begins again: nothing was kept or sent yet.
    """

    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        app = click.get_current_context().find_object(App)
        if app is None:
            raise RuntimeError("a command ran outside the root group")
        with refusals_exit(app.json):
            for _ in range(TRIES - 1):
                try:
                    return run(app, *args, **kwargs)
                except CoinTaken as taken:
                    say(f"{taken}; choosing again")
            return run(app, *args, **kwargs)

    return update_wrapper(wrapped, run)


@contextmanager
def refusals_exit(json: bool) -> Iterator[None]:
    """Every refusal inside is one line on stderr and its exit code; with `json` also a document on stdout."""
    try:
        yield
    except BridgeError as error:
        refuse(str(error), error.exit_code, json)


def refuse(message: str, exit_code: int, json: bool) -> NoReturn:
    """End the command."""
    say(f"error: {message}")
    if json:
        click.echo(encode({"error": message, "exit_code": exit_code}).decode().rstrip())
    sys.exit(exit_code)
