"""Which requests were told, and which instance pays which: in the store, written before anything is sent."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.sources.request import START, Page, PegOutRequest
from bitvm_bridge.store import Store

REQUEST: Final = "peg-out request"
CURSOR: Final = "peg-out cursor"


class EntryDocument(Document, frozen=True):
    """An entry as the store keeps it; `instance` is empty before one pays, `number` counts the entries."""

    number: int
    source: str
    psbt: str
    instance: str = ""
    over: bool = False


@dataclass(frozen=True)
class Entry:
    """A request, who told of it, and the instance that pays it, if any.

    `over`: its coin was spent elsewhere for good, so that nobody can pay it any more.
    """

    number: int
    request: PegOutRequest
    source: str
    instance: bytes = b""
    over: bool = False


class Ledger:
    """A view of the store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def cursor(self, source: str) -> str:
        """Where reading a source goes on."""
        return (self.store.get(CURSOR, _key(source)) or START.encode()).decode()

    def forget(self, source: str) -> None:
        """Read this source from its beginning the next time; what was told stays told."""
        self.store.delete(CURSOR, _key(source))

    def take(self, source: str, page: Page) -> list[str]:
        """Keep a page and its cursor, all or none; returns a line for each request that cannot stand.

        A request that is known is served once: the same again changes nothing, another under its id is refused, and so
        is one whose coin an earlier request has already.
        """
        refused = []
        with self.store.transaction():
            if page.restarted:
                self._drop_unpaid(source)
            entries = {entry.request.id: entry for entry in self.entries()}
            coins = {entry.request.withdrawal.coin: entry for entry in entries.values()}
            number = max((entry.number for entry in entries.values()), default=0)
            for request in page.requests:
                if problem := _conflict(request, entries.get(request.id), coins.get(request.withdrawal.coin)):
                    refused.append(f"request {request.id.hex()[:12]}: {problem}")
                elif request.id not in entries:
                    number += 1
                    entry = Entry(number, request, source)
                    entries[request.id] = coins[request.withdrawal.coin] = entry
                    self._put(entry)
            self.store.put(CURSOR, _key(source), page.cursor.encode())
        return refused

    def entries(self) -> list[Entry]:
        """Every request, in the order in which they were told."""
        return sorted(self._read(), key=lambda entry: entry.number)

    def assign(self, entry: Entry, instance: bytes) -> Entry:
        """From now on this instance pays this request, and no other. Raises BridgeError where either is taken.

        To be called inside the transaction of the store that also keeps the PegOut.
        """
        for other in self._read():
            if other.request.id == entry.request.id and other != entry:
                raise BridgeError(f"request {entry.request.id.hex()[:12]}: another process has it in hand")
            if other.instance == instance and not other.over:
                raise BridgeError(f"instance {instance.hex()[:12]}: pays request {other.request.id.hex()[:12]} already")
        assigned = replace(entry, instance=instance)
        self._put(assigned)
        return assigned

    def close(self, entry: Entry) -> Entry:
        """Nobody can pay this request any more; its instance may pay another."""
        closed = replace(entry, over=True)
        self._put(closed)
        return closed

    def _drop_unpaid(self, source: str) -> None:
        for entry in self._read():
            if entry.source == source and not entry.instance:
                self.store.delete(REQUEST, entry.request.id)

    def _put(self, entry: Entry) -> None:
        psbt = entry.request.withdrawal.to_psbt()
        document = EntryDocument(entry.number, entry.source, psbt, entry.instance.hex(), entry.over)
        self.store.put(REQUEST, entry.request.id, encode(document))

    def _read(self) -> Iterator[Entry]:
        for request_id, raw in self.store.items(REQUEST):
            document = decode(raw, EntryDocument, REQUEST)
            request = PegOutRequest(request_id, Withdrawal.from_psbt(document.psbt))
            instance = from_hex("instance", document.instance)
            yield Entry(document.number, request, document.source, instance, document.over)


def _conflict(request: PegOutRequest, same_id: Entry | None, same_coin: Entry | None) -> str:
    if same_id is not None:
        is_same = _unsigned(same_id.request) == _unsigned(request)
        return "" if is_same else "id: told before with another withdrawal; the first one stands"
    if same_coin is not None:
        return f"psbt: its coin is that of request {same_coin.request.id.hex()[:12]}"
    return ""


def _unsigned(request: PegOutRequest) -> tuple[object, ...]:
    """What was asked for; the same may be signed in many ways."""
    return request.withdrawal.coin, request.withdrawal.spent, request.withdrawal.payout


def _key(source: str) -> bytes:
    return hashlib.sha256(source.encode()).digest()
