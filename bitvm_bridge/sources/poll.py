"""Requests from an HTTP service: `GET URL?cursor=…` answers `{"requests": […], "cursor": "…"}`."""

from dataclasses import dataclass
from urllib.parse import urlsplit

import msgspec

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.sources.fetch import Service
from bitvm_bridge.sources.request import START, Page, read_page


class PageDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A page as the service writes it; each request is judged on its own."""

    requests: list[msgspec.Raw]
    cursor: str


@dataclass(frozen=True)
class PolledService:
    """A service that is asked for what is new."""

    service: Service

    @property
    def name(self) -> str:
        """Host and path; what may be a key is left out."""
        return self.service.host + urlsplit(self.service.url).path

    def requests(self, since: str) -> Page:
        """The page behind the cursor. Raises NodeUnreachable, NodeRejected, or BridgeError for what is no page."""
        raw = self.service.get(params={} if since == START else {"cursor": since})
        try:
            page = msgspec.json.decode(raw, type=PageDocument)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise BridgeError(f"{self.service.host}: no page of requests ({error})") from None
        if page.requests and page.cursor in (since, START):
            raise BadInput("cursor", page.cursor, "another one behind a page that has requests")
        items = (
            (f"request {index} behind {since or 'the start'}", bytes(raw)) for index, raw in enumerate(page.requests)
        )
        return read_page(items, page.cursor)
