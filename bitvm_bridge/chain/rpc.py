"""JSON-RPC to a Bitcoin Core node: transport, credentials, and errors in one line."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlsplit

from bitvm_bridge.errors import BadInput, NodeRejected, NodeUnreachable
from bitvm_bridge.params import Network

if TYPE_CHECKING:
    import requests

DEFAULT_PORT: Final[Mapping[Network, int]] = {Network.REGTEST: 18443, Network.SIGNET: 38332}
NOT_FOUND: Final = -5
"""RPC_INVALID_ADDRESS_OR_KEY of Bitcoin Core's protocol.h: also what an unknown txid or block gets."""
WARMING_UP: Final = -28
"""RPC_IN_WARMUP: the node loads its block index and answers nothing yet."""
CALL_TIMEOUT: Final = 30.0
"""seconds to wait for an answer."""
LONG_CALL_TIMEOUT: Final = 600.0
"""seconds, for calls that scan the UTXO set or validate whole blocks."""


class RpcRefused(NodeRejected):
    """The node's own error, with its number (Bitcoin Core's protocol.h)."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message.strip().partition("\n")[0] or f"error {code} without a message")
        self.code = code


@dataclass(frozen=True)
class Password:
    """User name and password, never shown."""

    user: str
    password: str = field(repr=False)

    def read(self) -> tuple[str, str]:
        """User name and password."""
        return self.user, self.password


@dataclass(frozen=True)
class Cookie:
    """The file with the credentials that a node makes anew at every start."""

    path: Path

    def read(self) -> tuple[str, str]:
        """User name and password. Raises NodeUnreachable where there is no such file."""
        try:
            user, separator, password = self.path.read_text(encoding="utf-8").strip().partition(":")
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "not text"
            raise NodeUnreachable(f"cookie file {self.path}: {reason}. Is the node running?") from None
        if not separator:
            raise NodeUnreachable(f"cookie file {self.path}: no credentials in it")
        return user, password


class Rpc:
    """Calls to one node. `url` holds no credentials."""

    def __init__(self, url: str, auth: Password | Cookie) -> None:
        self.url = url
        self._auth = auth
        self._session: requests.Session | None = None

    def call(self, method: str, *params: object, timeout: float = CALL_TIMEOUT) -> Any:
        """The result of a call; amounts and rates come back as Decimal.

        Raises NodeUnreachable where the node does not answer, RpcRefused where it answers with an error.
        """
        response = self._post({"id": 0, "method": method, "params": params}, timeout)
        if response.status_code == 401:
            raise NodeUnreachable(f"{self.url}: credentials refused")
        if response.status_code == 403:
            raise NodeUnreachable(f"{self.url}: the node refuses this client's address")
        try:
            answer = json.loads(response.content, parse_float=Decimal)
            error, result = answer["error"], answer["result"]
        except (ValueError, KeyError, TypeError):
            raise NodeUnreachable(f"{self.url}: HTTP status {response.status_code}, not a Bitcoin node") from None
        if error is None:
            return result
        if error["code"] == WARMING_UP:
            raise NodeUnreachable(f"{self.url}: the node is starting ({error['message']})")
        raise RpcRefused(error["code"], error["message"])

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _post(self, request: Mapping[str, object], timeout: float) -> "requests.Response":
        import requests

        if self._session is None:
            self._session = requests.Session()
            # A proxy or a .netrc entry of the environment must not see or replace the node's credentials.
            self._session.trust_env = False
        try:
            return self._session.post(self.url, json=request, auth=self._auth.read(), timeout=timeout)
        except requests.Timeout:
            raise NodeUnreachable(f"{self.url}: no answer within {timeout:.0f} seconds") from None
        except requests.ConnectionError:
            raise NodeUnreachable(f"{self.url}: no connection. Is the node running?") from None
        except requests.RequestException as error:
            raise NodeUnreachable(f"{self.url}: {type(error).__name__}") from None


def default_datadir() -> Path:
    """Where Bitcoin Core keeps its data unless told otherwise."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "Bitcoin"
    return Path.home() / ".bitcoin"


def from_options(
    network: Network,
    *,
    rpcconnect: str = "127.0.0.1",
    rpcport: int | None = None,
    rpcuser: str = "",
    rpcpassword: str | None = None,
    rpccookiefile: Path | None = None,
    rpcwallet: str | None = None,
    datadir: Path | None = None,
) -> Rpc:
    """A connection from the options of `bitcoin-cli`, with its defaults; `bitcoin.conf` is not read.

    A password wins over a cookie file; a relative cookie file is looked up in the network's directory.
    Raises BadInput for a port that is none.
    """
    host, port = _host_and_port(rpcconnect)
    port = rpcport or port or DEFAULT_PORT[network]
    if not 0 < port < 65_536:
        raise BadInput("rpcport", port, "a port from 1 to 65,535")
    wallet = "" if rpcwallet is None else f"/wallet/{quote(rpcwallet, safe='')}"
    auth: Password | Cookie
    if rpcpassword is not None:
        auth = Password(rpcuser, rpcpassword)
    else:
        auth = Cookie((datadir or default_datadir()) / str(network) / (rpccookiefile or ".cookie"))
    return Rpc(f"http://{host}:{port}{wallet}", auth)


def _host_and_port(text: str) -> tuple[str, int]:
    """`host`, `host:port` or `[ipv6]:port`; port 0 where none is given."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.netloc != text or "@" in text:
        raise BadInput("rpcconnect", text, "a host, or a host and a port with a colon between")
    return (f"[{host}]" if ":" in host else host), port or 0
