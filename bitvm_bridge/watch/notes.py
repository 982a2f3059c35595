"""What a watcher says: one line a note, for people or as JSON. Nothing in a note is secret."""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum

import msgspec

SHOWN_DIGITS = 12
"""hex digits by which people know an instance."""


class Level(StrEnum):
    """How much a note matters."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Note:
    """Something that happened: `event` in one word, the instance and txid that it is about, and words for people."""

    level: Level
    event: str
    message: str
    instance: str = ""
    txid: str = ""
    time: datetime = field(default_factory=lambda: datetime.now(UTC))

    def line(self) -> str:
        """For people."""
        about = [f"{part}:" for part in (self.instance[:SHOWN_DIGITS],) if part]
        level = [] if self.level is Level.INFO else [f"{self.level}:"]
        return " ".join((f"{self.time:%Y-%m-%d %H:%M:%S}", *level, *about, self.message))

    def document(self) -> dict[str, str | None]:
        """As JSON carries it."""
        return {
            "time": self.time.isoformat(timespec="milliseconds"),
            "level": self.level,
            "event": self.event,
            "instance": self.instance or None,
            "txid": self.txid or None,
            "message": self.message,
        }

    def json(self) -> str:
        """One JSON object on one line."""
        return msgspec.json.encode(self.document()).decode()
