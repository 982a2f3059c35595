"""How envelopes travel: a place where everyone puts its own and finds the others'."""

import os
import stat
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple, Protocol

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.envelope import Envelope

MAX_ENVELOPE: Final = 8_000_000
"""bytes of JSON: an offer of a large program has some 500,000."""
SUFFIX: Final = ".json"


class Post(NamedTuple):
    """What came in since a cursor: envelopes, why others were refused, and the next cursor.

    `again`: something that was there is gone, or is something else now; whoever wrote it puts it there again.
    """

    envelopes: Sequence[Envelope]
    refused: Sequence[str]
    cursor: str
    again: bool = False


class Mailbox(Protocol):
    """A place for envelopes. It may lose some: whoever wrote them puts them there again."""

    def put(self, envelope: Envelope) -> None:
        """Leave an envelope; the same one again changes nothing. Raises BridgeError."""

    def since(self, cursor: str) -> Post:
        """What was put there since `cursor`, "" for all; refuses what is no envelope. Raises BridgeError."""


def file_name(envelope: Envelope) -> str:
    """Tells people what it is; the id makes it unique."""
    parts = (envelope.session.hex()[:12], envelope.kind, envelope.author.hex()[:12], envelope.id.hex()[:24])
    return "-".join(parts) + SUFFIX


@dataclass
class Folder:
    """A folder whose files are envelopes: shared, synchronised, or carried about on a stick.

    Files are written beside their place and moved there. The cursor is of no use to a folder, into which old files may
    be copied at any time; files that were read are remembered for as long as the object lives.
    """

    path: Path

    def __post_init__(self) -> None:
        """Raises BadInput."""
        if not self.path.is_dir():
            raise BadInput("--dir", self.path, "a folder")
        self._read: dict[str, tuple[int, int]] = {}

    def put(self, envelope: Envelope) -> None:
        """A file that is not what it should be is replaced. Raises BridgeError where the folder does not take it."""
        target, raw = self.path / file_name(envelope), envelope.to_json()
        try:
            if target.is_file() and _read_file(target) == raw:
                return
            with tempfile.NamedTemporaryFile(dir=self.path, suffix=".part", delete=False) as part:
                part.write(raw)
                part.flush()
                os.fsync(part.fileno())
            Path(part.name).replace(target)
        except OSError as error:
            raise BridgeError(f"exchange: cannot write to {self.path} ({error.strerror})") from None

    def since(self, cursor: str) -> Post:
        """All files that are new or have changed since this object read them."""
        del cursor
        found, refused = [], []
        before, self._read = self._read, dict(self._listed())
        changed = [name for name, seen in self._read.items() if before.get(name) != seen]
        for name in changed:
            try:
                found.append(read_envelope(_read_file(self.path / name)))
            except BridgeError as error:
                refused.append(f"{name}: {error}")
        again = any(name in before for name in changed) or not before.keys() <= self._read.keys()
        return Post(found, refused, "", again)

    def _listed(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Name, time and size of regular files alone: to open a pipe would wait for somebody to write to it."""
        try:
            names = sorted(name for name in os.listdir(self.path) if name.endswith(SUFFIX))
        except OSError as error:
            raise BridgeError(f"exchange: cannot read {self.path} ({error.strerror})") from None
        for name in names:
            try:
                found = (self.path / name).stat()
            except OSError:
                continue
            if stat.S_ISREG(found.st_mode):
                yield name, (found.st_mtime_ns, found.st_size)


def _read_file(path: Path) -> bytes:
    """At most one byte more than an envelope may have."""
    try:
        with path.open("rb") as stream:
            return stream.read(MAX_ENVELOPE + 1)
    except OSError as error:
        raise BridgeError(f"not readable ({error.strerror})") from None


def read_envelope(raw: bytes) -> Envelope:
    """A file's content, its signature checked. Raises BadInput and VerificationFailed."""
    if len(raw) > MAX_ENVELOPE:
        raise BadInput("envelope", f"more than {MAX_ENVELOPE} bytes", f"at most {MAX_ENVELOPE:,} bytes")
    return Envelope.from_json(raw)
