"""What withdrawers asked for on the second layer, as whoever judges claims remembers it."""

import hashlib
from collections.abc import Iterator
from typing import Final

from bitvm_bridge.documents import Document, decode, encode
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.sources.request import START, Page, PegOutRequest, RequestSource
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.watch.claims import Demands, Fault, Payment, ShareOfDeposit

DEMAND: Final = "peg-out demand"
"""Under the withdrawer's coin (36 bytes) and the id of the request: a coin may be told with more than one."""
CURSOR: Final = "peg-out demand cursor"
MAX_PAGES: Final = 100
"""pages that are read in one look: a source without end must not keep the chain waiting."""


class DemandDocument(Document, frozen=True):
    """A request as it is kept: sat beyond the withdrawer's coin, and its script in hex."""

    amount: int
    script: str


class RequestedPegOuts(Demands):
    """Takes a payment for right only where the source has told of it, and where it repays the deposit by a share.

    A PegOut spends the coin that its request signed, and so it is found. What was told once stays: a second layer that
    takes a request back does not make a false claim of what an operator has paid for it meanwhile.
    """

    def __init__(self, store: Store, source: RequestSource, share: ShareOfDeposit) -> None:
        self._store, self._source, self._share = store, source, share
        self._cursor_key = hashlib.sha256(source.name.encode()).digest()

    def forget(self) -> None:
        """Read the source from its beginning the next time; what was told stays told."""
        self._store.delete(CURSOR, self._cursor_key)

    def refresh(self) -> list[str]:
        """Read the source to its end. Raises NodeUnreachable or BridgeError where that cannot be done now."""
        refused: list[str] = []
        for _ in range(MAX_PAGES):
            since = (self._store.get(CURSOR, self._cursor_key) or START.encode()).decode()
            page = self._source.requests(since)
            refused += page.refused
            if page.cursor == since:
                return refused
            self._take(page)
        raise BridgeError(f"{self._source.name}: more than {MAX_PAGES} pages are new; the next look reads on")

    def fault(self, setup: InstanceSetup, payment: Payment) -> Fault | None:
        """Less than the share, which is certain; or nothing that was asked for, which is not while a source may lag."""
        short = self._share.fault(setup, payment)
        asked = list(self._asked(payment.coin))
        if short is not None or any(_answers(payment, one) for one in asked):
            return short
        if not asked:
            return Fault("was not asked for", certain=False)
        if all(one.script != payment.script_pubkey.hex() for one in asked):
            return Fault("pays another script than was asked for", certain=False)
        least = min(one.amount for one in asked)
        return Fault(f"pays {payment.amount:,} sat, and {least:,} were asked for", certain=False)

    def _take(self, page: Page) -> None:
        with self._store.transaction():
            for request in page.requests:
                self._store.put(DEMAND, _key(request), _document(request))
            self._store.put(CURSOR, self._cursor_key, page.cursor.encode())

    def _asked(self, coin: OutPoint) -> Iterator[DemandDocument]:
        for _, raw in self._store.items(DEMAND, coin.serialize()):
            yield decode(raw, DemandDocument, DEMAND)


def _answers(payment: Payment, asked: DemandDocument) -> bool:
    return payment.script_pubkey.hex() == asked.script and payment.amount >= asked.amount


def _key(request: PegOutRequest) -> bytes:
    return request.withdrawal.coin.serialize() + request.id


def _document(request: PegOutRequest) -> bytes:
    return encode(DemandDocument(request.amount, request.withdrawal.payout.script_pubkey.hex()))
