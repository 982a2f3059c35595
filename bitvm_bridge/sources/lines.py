"""Requests from a file to which the second layer appends: one JSON document a line."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.sources.request import MAX_DOCUMENT, START, Page, read_page

MAX_LINES: Final = 1_000
_MARK_SIZE: Final = 256
"""bytes before the cursor by which a file is known again."""


@dataclass(frozen=True)
class LinesFile:
    """A file that only grows. A last line without its end is left for the next time."""

    path: Path

    @property
    def name(self) -> str:
        """The absolute path."""
        return f"file:{self.path.absolute()}"

    def requests(self, since: str) -> Page:
        """The lines behind the cursor, 1,000 at most.

        Raises BadInput for a file that cannot be read, BridgeError where it is not the one that was read before.
        """
        try:
            with self.path.open("rb") as file:
                return self._read(file, since)
        except OSError as error:
            raise BadInput("source", self.path, f"a readable file ({error.strerror})") from None

    def _read(self, file: BinaryIO, since: str) -> Page:
        offset = _parse_cursor(since)
        if since != START and since != _cursor(file, offset):
            raise BridgeError(f"{self.path}: not the file that was read before; --rescan reads it from its beginning")
        file.seek(offset)
        lines: list[tuple[str, bytes]] = []
        while len(lines) < MAX_LINES and (line := file.readline(MAX_DOCUMENT + 2)).endswith(b"\n"):
            lines.append((f"byte {offset:,}", line))
            offset += len(line)
        if len(line) > MAX_DOCUMENT and not line.endswith(b"\n"):
            raise BadInput(f"{self.path}, byte {offset:,}", "a longer line", f"at most {MAX_DOCUMENT:,} bytes")
        return read_page(((where, raw) for where, raw in lines if raw.strip()), _cursor(file, offset))


def _cursor(file: BinaryIO, offset: int) -> str:
    """The offset, and a hash of what is right before it."""
    start = max(0, offset - _MARK_SIZE)
    file.seek(start)
    return f"{offset}:{hashlib.sha256(file.read(offset - start)).hexdigest()[:16]}"


def _parse_cursor(text: str) -> int:
    digits = text.partition(":")[0]
    return int(digits) if digits.isdecimal() else 0
