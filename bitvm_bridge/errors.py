"""Every refusal of the bridge, each with the exit code that the command line documents."""

from typing import ClassVar, Final


class BridgeError(Exception):
    """Refused: a rule of the protocol or of this project says no."""

    exit_code: ClassVar[int] = 1


MAX_SHOWN: Final = 200
"""characters: a longer value is shown by its beginning."""


class BadInput(BridgeError):
    """A value from outside that cannot be used; names the field, the value and what was expected."""

    exit_code = 2

    def __init__(self, field: str, value: object, expected: str) -> None:
        shown = value.hex() if isinstance(value, bytes) else str(value)
        if len(shown) > MAX_SHOWN:
            shown = f"{shown[:60]}… ({len(shown)} characters)"
        super().__init__(f"{field}: {shown!r} is not {expected}")
        self.field = field
        self.value = shown
        self.expected = expected

    def __reduce__(self) -> tuple[type["BadInput"], tuple[str, str, str]]:
        """So that a refusal comes back from another process as what it is."""
        return type(self), (self.field, self.value, self.expected)


class CoinTaken(BridgeError):
    """A coin that was chosen went to another transaction of this data directory meanwhile: choose again."""


class NodeUnreachable(BridgeError):
    """No answer from the node, or a node that cannot serve yet (syncing, another network)."""

    exit_code = 3


class NodeRejected(BridgeError):
    """The node answered and refused the transaction or the request."""

    exit_code = 4


class VerificationFailed(BridgeError):
    """A signature, a bundle or an assertion is not what it claims to be."""

    exit_code = 5
