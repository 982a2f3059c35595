"""A withdrawal that was ordered on the second layer, and whoever tells of such orders."""

from base64 import b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol, Self

import msgspec

from bitvm_bridge.documents import Document, decode, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.roles.withdrawer import Withdrawal

ID_SIZE: Final = 32
MAX_DOCUMENT: Final = 1 << 16
"""bytes of one request: a withdrawal of one input and one output has a tenth of it."""
START: Final = ""
"""The cursor before anything was read."""


class RequestDocument(Document, frozen=True):
    """A request as JSON carries it: `id` and `script` in hex, `amount` in sat, `psbt` in base64."""

    id: str
    amount: int
    script: str
    psbt: str


@dataclass(frozen=True)
class PegOutRequest:
    """What the second layer calls by `id` (32 bytes) wants the withdrawer paid, whose half of PegOut it has."""

    id: bytes
    withdrawal: Withdrawal

    def __post_init__(self) -> None:
        if len(self.id) != ID_SIZE:
            raise BadInput("id", self.id, f"{ID_SIZE} bytes")

    @property
    def amount(self) -> int:
        """sat that the withdrawer gets beyond its own coin."""
        return self.withdrawal.amount

    def document(self) -> RequestDocument:
        """As JSON carries it."""
        script = self.withdrawal.payout.script_pubkey.hex()
        return RequestDocument(self.id.hex(), self.amount, script, self.withdrawal.to_psbt())

    def to_json(self) -> bytes:
        """The document as JSON text on one line."""
        return msgspec.json.encode(self.document())

    @classmethod
    def from_json(cls, raw: bytes) -> Self:
        """Inverse of `to_json`. Raises BadInput naming the field."""
        if len(raw) > MAX_DOCUMENT:
            raise BadInput("request", f"{len(raw):,} bytes", f"at most {MAX_DOCUMENT:,}")
        document = decode(raw, RequestDocument, "request")
        script = from_hex("script", document.script)
        return cls.agreed(from_hex("id", document.id, ID_SIZE), document.amount, script, document.psbt)

    @classmethod
    def agreed(cls, request_id: bytes, amount: int, script: bytes, psbt: str) -> Self:
        """A request whose PSBT pays what the second layer says. Raises BadInput where the two differ."""
        withdrawal = Withdrawal.from_psbt(psbt)
        if withdrawal.amount != amount:
            raise BadInput("amount", amount, f"the {withdrawal.amount:,} sat that the PSBT asks for")
        if withdrawal.payout.script_pubkey != script:
            raise BadInput("script", script, f"the script that the PSBT pays, {withdrawal.payout.script_pubkey.hex()}")
        return cls(request_id, withdrawal)


@dataclass(frozen=True)
class Page:
    """What a source tells at once: requests, where to go on, and a line for each thing that is no request.

    `restarted`: the source takes back all that it told before and begins anew with this page; what was not paid yet
    counts only if it is told again.
    """

    requests: tuple[PegOutRequest, ...]
    cursor: str
    refused: tuple[str, ...] = ()
    restarted: bool = False


class RequestSource(Protocol):
    """Whoever tells of requests, in an order that does not change, each at least once."""

    @property
    def name(self) -> str:
        """What the cursor is kept under: the same for the same source, and without its secrets."""

    def requests(self, since: str) -> Page:
        """What is new since the cursor of an earlier page, or since START; the same cursor where nothing is.

        Raises NodeUnreachable where the source does not answer, BridgeError where it cannot be used.
        """


def read_page(items: Iterable[tuple[str, bytes]], cursor: str) -> Page:
    """A page of documents, each with where it was found: one that is malformed is refused, the others stand."""
    requests, refused = [], []
    for where, raw in items:
        try:
            requests.append(PegOutRequest.from_json(raw))
        except BadInput as error:
            refused.append(f"{where}: {error}")
    return Page(tuple(requests), cursor, tuple(refused))


def to_base64(psbt: bytes) -> str:
    """A binary PSBT in the form that requests have."""
    return b64encode(psbt).decode()
