"""A contract as its offerer writes it by hand: JSON, with the oracles' announcements in it or in files beside it.

The file says what each party puts in, from when on its money goes back, and what is paid for what oracles say; see
docs/dlc.md. It becomes the contract of an offer message, which is what the parties agree to.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Final

from bitvm_bridge.dlc.agreement import Difference
from bitvm_bridge.dlc.classic.checks import TIMESTAMPS_FROM
from bitvm_bridge.dlc.classic.messages import CONTRACT as MESSAGE
from bitvm_bridge.dlc.classic.messages import (
    FUNCTION,
    Contract,
    ContractEvent,
    DisjointContract,
    SeveralOracles,
    SingleContract,
    SingleOracle,
)
from bitvm_bridge.dlc.curves import PayoutFunction, PayoutPoint, Polynomial, RoundingIntervals
from bitvm_bridge.dlc.oracle import Announcement, DigitEvent, Hashing
from bitvm_bridge.dlc.oracle_documents import AnnouncementFile, read_announcement
from bitvm_bridge.dlc.payouts import EnumeratedPayouts, NumericPayouts, Payouts, all_announcements, check_refund
from bitvm_bridge.documents import Document, decode, encode
from bitvm_bridge.errors import BadInput

CONTRACT: Final = "contract"
_MAX_LOCK_TIME: Final = (1 << 32) - 1
_UNROUNDED: Final = [(0, 1)]
"""Multiples of 1 sat, which say as much as no interval; rust-dlc refuses none."""


class SharesDocument(Document, frozen=True):
    """Sat of each party."""

    offerer: int
    accepter: int

    @property
    def total(self) -> int:
        """Of both."""
        return self.offerer + self.accepter


class DifferenceDocument(Document, frozen=True):
    """How far apart the numbers of oracles may be; see `Difference`."""

    max_error_exp: int
    min_fail_exp: int
    maximize_coverage: bool


class EventDocument(Document, frozen=True):
    """Oracles, and what is paid for what they say: one of `payouts`, `curve` and `function`."""

    oracles: list[str | AnnouncementFile]
    threshold: int | None = None
    payouts: dict[str, SharesDocument] | None = None
    curve: list[tuple[int, int]] | None = None
    function: dict[str, Any] | None = None
    rounding: list[tuple[int, int]] | None = None
    difference: DifferenceDocument | None = None


class ContractDocument(Document, frozen=True):
    """The whole file; lock times are block heights, epoch seconds, or times in UTC (ISO 8601)."""

    collateral: SharesDocument
    refund_from: int | str
    events: list[EventDocument]
    settle_from: int | str | None = None


@dataclass(frozen=True)
class Description:
    """What an offer says of a contract; `collateral` (sat) is the offerer's part of the total."""

    contract: Contract
    hashing: Hashing
    collateral: int
    settle_from: int
    refund_from: int


def read_description(raw: bytes, read_file: Callable[[str], bytes], height: int) -> Description:
    """From JSON; `read_file` has the bytes of an announcement's file, `height` is the chain's.

    Without `settle_from`, settlements are valid from now on where the refund has a height, else from the maturity of
    the first event. Raises BadInput, in one line, for a file that describes no contract.
    """
    document = decode(raw, ContractDocument, CONTRACT)
    if not document.events:
        raise BadInput("events", "none", "one or more")
    hashings: set[Hashing] = set()
    total = document.collateral.total
    events = tuple(read_event(each, read_file, total, hashings) for each in document.events)
    if len(hashings) != 1:
        raise BadInput("oracles", " and ".join(sorted(item.value for item in hashings)), "of one kind of hashing")
    announcements = all_announcements([event.info for event in events])
    refund = read_time("refund_from", document.refund_from)
    if refund >= TIMESTAMPS_FROM:
        check_refund(announcements, refund)
    if document.settle_from is not None:
        settle = read_time("settle_from", document.settle_from)
    elif refund < TIMESTAMPS_FROM:
        settle = height
    else:
        settle = max(TIMESTAMPS_FROM, min(announcement.maturity for announcement in announcements))
    contract = SingleContract(total, events[0]) if len(events) == 1 else DisjointContract(total, events)
    sayable: Contract = MESSAGE.parse(MESSAGE.show(contract), CONTRACT)
    return Description(sayable, hashings.pop(), document.collateral.offerer, settle, refund)


def read_event(
    document: EventDocument, read_file: Callable[[str], bytes], total: int, hashings: set[Hashing]
) -> ContractEvent:
    """Oracles and payouts of one event over `total` sat. How its oracles hash is added to `hashings`.

    Raises BadInput.
    """
    announcements = []
    for each in document.oracles:
        announcement, hashing = read_announcement(read_file(each) if isinstance(each, str) else encode(each))
        announcements.append(announcement)
        hashings.add(hashing)
    if not announcements:
        raise BadInput("oracles", "none", "an announcement or more")
    return ContractEvent(_payouts(document, announcements, total), _oracles(document, announcements))


def _oracles(document: EventDocument, announcements: list[Announcement]) -> SingleOracle | SeveralOracles:
    threshold, difference = document.threshold, document.difference
    if len(announcements) == 1:
        if threshold not in (None, 1) or difference is not None:
            raise BadInput("threshold", threshold, "used with several oracles, as is the difference")
        return SingleOracle(announcements[0])
    if threshold is None:
        raise BadInput("threshold", "none", f"how many of {len(announcements)} oracles must agree")
    if not 1 <= threshold <= len(announcements):
        raise BadInput("threshold", threshold, f"1 to the number of oracles, {len(announcements)}")
    if difference is None:
        return SeveralOracles(threshold, tuple(announcements))
    error, fail, maximize = difference.max_error_exp, difference.min_fail_exp, difference.maximize_coverage
    return SeveralOracles(threshold, tuple(announcements), Difference(error, fail, maximize))


def _payouts(document: EventDocument, announcements: list[Announcement], total: int) -> Payouts:
    given = [name for name in ("payouts", "curve", "function") if getattr(document, name) is not None]
    if len(given) != 1:
        raise BadInput("event", " and ".join(given) or "no payouts", "one of payouts, curve and function")
    if document.payouts is not None:
        if document.rounding is not None:
            raise BadInput("rounding", "given", "used with a curve or function")
        return _enumerated(document.payouts, total)
    event = announcements[0].descriptor
    if not isinstance(event, DigitEvent):
        raise BadInput(given[0], "of a number", f"used with {announcements[0].event_id!r}, which has none")
    if event.signed:
        raise BadInput(given[0], "of a number with a sign", "what messages of this form can say")
    digits = min(each.descriptor.digits for each in announcements if isinstance(each.descriptor, DigitEvent))
    if document.curve is not None:
        function = _polyline(document.curve)
    else:
        function = FUNCTION.parse(document.function, "function")
    return NumericPayouts(digits, function, RoundingIntervals(tuple(document.rounding or _UNROUNDED)))


def _enumerated(payouts: dict[str, SharesDocument], total: int) -> EnumeratedPayouts:
    for outcome, shares in payouts.items():
        if shares.total != total or min(shares.offerer, shares.accepter) < 0:
            shown = f"{shares.offerer:,} + {shares.accepter:,} sat"
            raise BadInput(f"payout of {outcome!r}", shown, f"the collateral of both, {total:,} sat")
    return EnumeratedPayouts(tuple((outcome, shares.offerer) for outcome, shares in payouts.items()))


def _polyline(curve: list[tuple[int, int]]) -> PayoutFunction:
    """Lines from point to point: (number, the offerer's payout in sat)."""
    if len(curve) < 2:
        raise BadInput("curve", f"{len(curve)} points", "two or more")
    points = [PayoutPoint(outcome, payout) for outcome, payout in curve]
    return PayoutFunction(tuple(Polynomial(pair) for pair in pairwise(points)))


def read_time(field: str, value: int | str) -> int:
    """A lock time: a block height, epoch seconds, or a time in UTC. Raises BadInput."""
    moment = value if isinstance(value, int) else _epoch(field, value)
    if not 0 <= moment <= _MAX_LOCK_TIME:
        raise BadInput(field, value, f"a block height, or a time up to {_MAX_LOCK_TIME} seconds")
    return moment


def _epoch(field: str, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(field, text, "a block height, epoch seconds, or a time in UTC (2030-01-31T12:00)") from None
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
