"""What is refused over HTTP: the status of a refusal, and the document that says why."""

from collections.abc import Mapping
from typing import Any, Final

from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.service.limits import Limits

BAD_REQUEST: Final = 400
UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
UNAVAILABLE: Final = 503


class Refusal(BridgeError):
    """A refusal with a status of its own, and headers that go with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = dict(headers or {})


def check_size(size: int, limits: Limits) -> None:
    """Raises Refusal for an envelope, as it is sent or as it is kept, that has too many bytes."""
    if size > limits.body:
        raise Refusal(413, f"body: an envelope has at most {limits.body:,} bytes")


def status_of(error: BridgeError) -> int:
    """The HTTP status that a refusal is answered with."""
    if isinstance(error, Refusal):
        return error.status
    if isinstance(error, BadInput):
        return BAD_REQUEST
    return FORBIDDEN if isinstance(error, VerificationFailed) else UNAVAILABLE


def document(error: BridgeError) -> dict[str, Any]:
    """One line, and for what cannot be used its field, value and what was expected."""
    found: dict[str, Any] = {"error": " ".join(str(error).split())}
    if isinstance(error, BadInput):
        found |= {"field": error.field, "value": error.value, "expected": error.expected}
    return found
