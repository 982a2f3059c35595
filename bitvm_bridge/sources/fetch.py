"""HTTP to a service of the second layer: asked again where it does not answer, and read up to a limit."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from bitvm_bridge.errors import BadInput, NodeRejected, NodeUnreachable

if TYPE_CHECKING:
    import requests

MAX_ANSWER: Final = 8 << 20
"""bytes: a page of a thousand requests has one megabyte."""
_CHUNK: Final = 1 << 16
_BUSY: Final = (429, 500, 502, 503, 504)
"""HTTP statuses that may be others in a moment."""


@dataclass(frozen=True)
class Service:
    """A service at a URL, which may hold credentials and is never shown beyond its host.

    `timeout` (seconds) is for one read, `pause` (seconds) grows with every attempt, `max_answer` is in bytes.
    """

    url: str = field(repr=False)
    timeout: float = 20.0
    attempts: int = 3
    pause: float = 1.0
    max_answer: int = MAX_ANSWER
    sleep: Callable[[float], None] = field(default=time.sleep, repr=False)

    def __post_init__(self) -> None:
        check_url("URL", self.url)

    @property
    def host(self) -> str:
        """Scheme, host and port: what may be shown."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")

    def get(self, path: str = "", params: Mapping[str, str] | None = None) -> bytes:
        """The body of an answer. Raises NodeUnreachable, or NodeRejected for a status that will not change."""
        return self._ask("GET", path, params=params)

    def post(self, path: str, document: object) -> bytes:
        """The body of the answer to a JSON document. Raises as `get`; what it asks for may be done twice."""
        return self._ask("POST", path, document=document)

    def _ask(
        self, method: str, path: str, *, params: Mapping[str, str] | None = None, document: object = None
    ) -> bytes:
        import requests

        for attempt in range(1, self.attempts + 1):
            try:
                with requests.Session() as session:
                    # A proxy or a .netrc entry of the environment must not see or replace the URL's credentials.
                    session.trust_env = False
                    with session.request(
                        method,
                        self.url.rstrip("/") + path if path else self.url,
                        params=params,
                        json=document,
                        timeout=self.timeout,
                        stream=True,
                        allow_redirects=False,
                    ) as response:
                        if response.status_code not in _BUSY:
                            return self._read(response)
                        problem = f"HTTP status {response.status_code}"
            except requests.RequestException as error:
                problem = type(error).__name__
            if attempt < self.attempts:
                self.sleep(self.pause * attempt)
        raise NodeUnreachable(f"{self.host}: {problem}, {self.attempts} times")

    def _read(self, response: "requests.Response") -> bytes:
        if not response.ok or response.is_redirect:
            raise NodeRejected(f"{self.host}: HTTP status {response.status_code}")
        read = bytearray()
        for piece in response.iter_content(_CHUNK):
            read += piece
            if len(read) > self.max_answer:
                raise NodeRejected(f"{self.host}: an answer of more than {self.max_answer:,} bytes")
        return bytes(read)


def check_url(field_name: str, url: str) -> None:
    """Raises BadInput, without showing more than the scheme, for what is no HTTP URL."""
    try:
        parts = urlsplit(url)
        is_right = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_right = False
    if not is_right:
        raise BadInput(field_name, f"{url.partition(':')[0]}:…", "an http or https URL")
