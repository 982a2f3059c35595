"""How much of a value a page gets: scripts of a heavy program have megabytes, and a page needs their size."""

from typing import Any, Final

MAX_TEXT: Final = 120
"""characters of a name."""
MAX_SCRIPT: Final = 2_000
"""bytes of a script or witness item."""
MAX_RAW: Final = 100_000
"""bytes of a transaction: one more does not relay."""
MAX_LEAVES: Final = 16
"""leaves of an output that are named."""


def cut(text: str) -> str:
    """The beginning of a long text."""
    return text if len(text) <= MAX_TEXT else f"{text[: MAX_TEXT - 1]}…"


def script(data: bytes) -> dict[str, Any]:
    """Bytes in hex with their size; `hex` has the first ones only where `cut` says so."""
    return {"size": len(data), "hex": data[:MAX_SCRIPT].hex(), "cut": len(data) > MAX_SCRIPT}


def raw(data: bytes) -> dict[str, Any]:
    """A transaction in hex, whole or not at all."""
    return {"size": len(data), "hex": data.hex() if len(data) <= MAX_RAW else None}
