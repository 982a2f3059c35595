"""The mailbox of a party whose envelopes lie with a service: a client that trusts neither the service nor the network.

`requests` is imported where it is needed: it takes a while.
"""

import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlencode, urlsplit

import msgspec

from bitvm_bridge.documents import Document
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.mailbox import MAX_ENVELOPE, Post
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.service.credentials import Asked, Credentials
from bitvm_bridge.service.limits import MAX_WAIT, PAGE_BYTES

if TYPE_CHECKING:
    import requests

ATTEMPTS: Final = 5
FIRST_PAUSE: Final = 0.2
"""seconds before the second attempt; each pause is twice the one before it."""
STEP_TIMEOUT: Final = 10.0
"""seconds for a connection, and for every next piece of an answer."""
ANSWER_TIME: Final = 90.0
"""seconds for a whole answer."""
MAX_ANSWER: Final = PAGE_BYTES + MAX_ENVELOPE + (1 << 16)
"""bytes: one page of a service that keeps to its limits."""
MAX_AT_ONCE: Final = 64 << 20
"""bytes of answers that `since` takes at once; what is left comes with its next call."""
MAX_PAGES: Final = 1_000
"""answers that it takes at once; an honest service fills them."""
_BUSY: Final = frozenset((408, 429, 500, 502, 503, 504))
_OTHER_MAILBOX: Final = 410
_PIECE: Final = 1 << 16
_MAX_REASON: Final = 300
"""characters of what a service says."""


class _Page(Document, frozen=True):
    envelopes: list[msgspec.Raw]
    cursor: str
    more: bool


class _Answer(NamedTuple):
    status: int
    body: bytes


class HttpMailbox:
    """Envelopes at a service, for a party of its roster whose identity key signs every request.

    A service that does not answer is asked again, a few times. `wait` is how many seconds, at most, `since` lets the
    service wait for something new.
    """

    def __init__(
        self,
        url: str,
        key: SecretKey,
        *,
        ca_file: Path | None = None,
        wait: int = 0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        """Connects to nothing yet. Raises BadInput for what is no http or https URL of a host, or for no CA file."""
        self.url, self._host = _check_url(url)
        if ca_file is not None and not ca_file.is_file():
            raise BadInput("CA file", ca_file, "a readable file")
        if not 0 <= wait <= MAX_WAIT:
            raise BadInput("wait", wait, f"0 to {MAX_WAIT} seconds")
        self._key, self._ca_file, self._wait, self._pause = key, ca_file, wait, pause
        self._session: requests.Session | None = None

    def put(self, envelope: Envelope) -> None:
        """Raises NodeUnreachable where the service does not answer, NodeRejected where it refuses."""
        answer = self._ask("POST", "/v1/envelopes", envelope.to_json())
        if answer.status not in (200, 201):
            raise self._rejected(answer)

    def since(self, cursor: str) -> Post:
        """What came after `cursor`; everything where the service has lost what it refers to. Raises as `put` does."""
        found: list[Envelope] = []
        refused: list[str] = []
        taken, wait, again = 0, self._wait, False
        for _ in range(MAX_PAGES):
            answer = self._ask("GET", "/v1/envelopes?" + urlencode({"cursor": cursor, "wait": wait}))
            if answer.status == _OTHER_MAILBOX and cursor:
                cursor, again = "", True
                continue
            page = self._page(answer)
            for raw in page.envelopes:
                try:
                    found.append(Envelope.from_json(bytes(raw)))
                except BridgeError as error:
                    refused.append(f"{self.url}: {error}")
            cursor, wait, taken = page.cursor, 0, taken + len(answer.body)
            if not page.more or taken > MAX_AT_ONCE:
                break
        return Post(found, refused, cursor, again)

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def _page(self, answer: _Answer) -> _Page:
        if answer.status != 200:
            raise self._rejected(answer)
        try:
            return msgspec.json.decode(answer.body, type=_Page)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise NodeUnreachable(f"{self.url}: its answer is not that of an exchange service") from None

    def _ask(self, method: str, target: str, body: bytes = b"") -> _Answer:
        """An answer that means something; signed anew for every attempt."""
        for attempt in range(ATTEMPTS):
            if attempt:
                self._pause(FIRST_PAUSE * 2 ** (attempt - 1))
            last = attempt == ATTEMPTS - 1
            try:
                answer = self._send(method, target, body)
            except NodeUnreachable:
                if last:
                    raise
                continue
            if answer.status not in _BUSY or last:
                break
        if answer.status in _BUSY:
            raise NodeUnreachable(f"{self.url}: {_reason(answer)}")
        return answer

    def _send(self, method: str, target: str, body: bytes) -> _Answer:
        import requests

        if self._session is None:
            self._session = requests.Session()
            # A proxy or a .netrc entry of the environment must not see or replace what is signed.
            self._session.trust_env = False
        asked = Asked(method, self._host, target, hashlib.sha256(body).digest())
        headers = {
            "Authorization": Credentials.sign(self._key, asked, int(time.time())).header(),
            "Content-Type": "application/json",
            "Host": self._host,
        }
        with self._failures():
            response = self._session.request(
                method,
                self.url + target,
                data=body or None,
                headers=headers,
                timeout=(STEP_TIMEOUT, STEP_TIMEOUT + self._wait),
                verify=True if self._ca_file is None else str(self._ca_file),
                allow_redirects=False,
                stream=True,
            )
            with response:
                return _Answer(response.status_code, self._read(response))

    def _read(self, response: "requests.Response") -> bytes:
        """The whole answer. Raises NodeUnreachable for one that is too long, or that takes too long."""
        deadline = time.monotonic() + ANSWER_TIME
        body = bytearray()
        for piece in response.iter_content(_PIECE):
            body += piece
            if len(body) > MAX_ANSWER or time.monotonic() > deadline:
                raise NodeUnreachable(f"{self.url}: its answer is too long, or takes too long")
        return bytes(body)

    @contextmanager
    def _failures(self) -> Iterator[None]:
        """What goes wrong on the way, in one line."""
        import requests

        try:
            yield
        except requests.exceptions.SSLError as error:
            raise NodeUnreachable(f"{self.url}: TLS: {_cause(error)}") from None
        except requests.Timeout:
            raise NodeUnreachable(f"{self.url}: no answer within {STEP_TIMEOUT + self._wait:.0f} seconds") from None
        except requests.ConnectionError:
            raise NodeUnreachable(f"{self.url}: no connection. Is the service running?") from None
        except (requests.RequestException, OSError) as error:
            raise NodeUnreachable(f"{self.url}: {type(error).__name__}") from None

    def _rejected(self, answer: _Answer) -> NodeRejected:
        return NodeRejected(f"{self.url}: {_reason(answer)}")


def _check_url(text: str) -> tuple[str, str]:
    """Scheme and authority, and the authority alone as the Host header has it. Raises BadInput."""
    expected = "http://HOST[:PORT] or https://HOST[:PORT]"
    try:
        parts = urlsplit(text)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        raise BadInput("url", text, expected) from None
    plain = not (parts.username or parts.password or parts.query or parts.fragment or parts.path.strip("/"))
    if parts.scheme not in ("http", "https") or not named or not plain or not text.isascii() or not text.isprintable():
        raise BadInput("url", _without_password(text), expected)
    host = parts.netloc.lower()
    return f"{parts.scheme}://{host}", host


def _without_password(text: str) -> str:
    """A URL that somebody put a password into is not shown with it."""
    before, at, after = text.rpartition("@")
    return f"{before.partition('://')[0]}://…@{after}" if at else text


def _reason(answer: _Answer) -> str:
    """What the service says, where it is what services say; one line."""
    try:
        found: Any = msgspec.json.decode(answer.body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        found = None
    text = found.get("error") if isinstance(found, dict) else None
    if not isinstance(text, str):
        return f"HTTP status {answer.status}"
    shown = "".join(one if one.isprintable() else "?" for one in text)[:_MAX_REASON]
    return f"HTTP status {answer.status}: {shown}"


def _cause(error: BaseException) -> str:
    """The innermost reason of an error of `requests`, which wraps others."""
    reason = getattr(error.args[0], "reason", error.args[0]) if error.args else error
    return " ".join(str(reason).split())[:_MAX_REASON]
