"""What the service grants: to a request, to a connection, to a party."""

from dataclasses import dataclass
from typing import Final

from bitvm_bridge.exchange.board import MAX_OF_AUTHOR
from bitvm_bridge.exchange.mailbox import MAX_ENVELOPE

MAX_HEADERS: Final = 16 << 10
"""bytes of a request line and its headers."""
MAX_PAGE: Final = 500
"""envelopes in one answer."""
PAGE_BYTES: Final = 1 << 20
"""An answer ends before the envelope that would take it past this, but holds one envelope at least."""
MAX_WAIT: Final = 25
"""seconds that a request may wait for something new."""


@dataclass(frozen=True)
class Limits:
    """Sizes are in bytes, times in seconds.

    Memory for bodies is at most `bodies` times the largest envelope or page, whatever anyone sends or fails to read.
    """

    body: int = MAX_ENVELOPE
    envelopes: int = MAX_OF_AUTHOR
    """of one author."""
    size: int = 1 << 30
    """of all envelopes of one author."""
    at_once: int = 4
    """requests of one party."""
    bodies: int = 32
    """requests and answers that are in memory."""
    connections: int = 256
    header_time: float = 10.0
    """for TLS to be done with and the headers to be there, and for an answer to be taken that was cut short."""
    request_time: float = 60.0
    """from the headers to the end of the answer."""
