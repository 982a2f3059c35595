"""What a contract pays for what oracles attest: from its description to every outcome, in the order of signatures.

A contract is a union of parts, each a description of payouts and the oracles that decide it. The outcomes of the parts
follow one another, and within a part the order is that of dlcspecs and its implementations.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Final

from bitvm_bridge.dlc import agreement
from bitvm_bridge.dlc.agreement import Difference, Selection
from bitvm_bridge.dlc.curves import MAX_RANGES, PayoutFunction, PayoutRange, RoundingIntervals, payout_ranges
from bitvm_bridge.dlc.oracle import (
    MINUS,
    PLUS,
    Announcement,
    Attestation,
    DigitEvent,
    EnumEvent,
    Hashing,
    combined_point,
    combined_secret,
)
from bitvm_bridge.dlc.prefixes import covering
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.transaction import MAX_MONEY

MAX_OUTCOMES: Final = MAX_RANGES
"""Adaptor signatures of one contract."""


@dataclass(frozen=True)
class EnumeratedPayouts:
    """The offerer's payout in sat for each outcome."""

    payouts: tuple[tuple[str, int], ...]

    @property
    def outcomes(self) -> list[str]:
        """In the order of the contract."""
        return [outcome for outcome, _ in self.payouts]


@dataclass(frozen=True)
class NumericPayouts:
    """The offerer's payout as a function of a number of so many digits, rounded."""

    digits: int
    function: PayoutFunction
    rounding: RoundingIntervals = field(default_factory=RoundingIntervals)


Payouts = EnumeratedPayouts | NumericPayouts


@dataclass(frozen=True)
class ContractInfo:
    """Payouts, and the oracles of which `threshold` must agree: exactly, or up to a difference between numbers."""

    payouts: Payouts
    announcements: tuple[Announcement, ...]
    threshold: int = 1
    difference: Difference | None = None

    def __post_init__(self) -> None:
        """Raises BadInput for a threshold that oracles cannot reach, and for one oracle counted twice."""
        if not 1 <= self.threshold <= len(self.announcements):
            raise BadInput("threshold", self.threshold, f"1 to the number of oracles, {len(self.announcements)}")
        keys = {announcement.key for announcement in self.announcements}
        if len(keys) != len(self.announcements):
            raise BadInput("oracles", len(keys), f"{len(self.announcements)} different ones")


@dataclass(frozen=True)
class ContractOutcome:
    """One way to settle: the offerer's payout in sat, and for each oracle that takes part its index and what it signs.

    That is an outcome, or the first digits of a number; the index counts the announcements of all parts. `part` says
    whose outcome it is: in the vector files of dlcspecs, closing transactions of later parts have lock time 0.
    """

    payout: int
    oracles: tuple[tuple[int, tuple[str, ...]], ...]
    part: int = 0

    def point(self, announcements: Sequence[Announcement], hashing: Hashing) -> bytes:
        """The anticipation point (33 bytes): adaptor signatures for this outcome are made for it."""
        return combined_point(announcements, self.oracles, hashing)

    def secret(self, attestations: Mapping[int, Attestation]) -> SecretKey:
        """Its discrete logarithm, from the oracles' attestations by index. Raises BadInput where they do not fit."""
        return combined_secret(attestations, self.oracles)

    def is_attested(self, attested: Mapping[int, Sequence[str]]) -> bool:
        """Do these outcomes, by oracle, settle it?"""
        return all(tuple(attested.get(index, ()))[: len(signed)] == signed for index, signed in self.oracles)


def all_announcements(infos: Sequence[ContractInfo]) -> tuple[Announcement, ...]:
    """Of every part, in the order that `ContractOutcome` counts."""
    return tuple(announcement for info in infos for announcement in info.announcements)


def contract_outcomes(infos: Sequence[ContractInfo], collateral: int) -> tuple[ContractOutcome, ...]:
    """Every outcome of a contract over `collateral` sat of both parties together, in the order of adaptor signatures.

    Raises BadInput for payouts outside of the collateral, for outcomes or digits other than announced, and for a
    description that leaves out an outcome.
    """
    if not infos:
        raise BadInput("contract", "no part", "one part or more")
    if not 0 < collateral <= MAX_MONEY:
        raise BadInput("collateral", collateral, f"1 to {MAX_MONEY:,} sat")
    found: list[ContractOutcome] = []
    first = 0
    for part, info in enumerate(infos):
        for payout, oracles in _outcomes(info, collateral):
            found.append(ContractOutcome(payout, tuple((first + index, signed) for index, signed in oracles), part))
            if len(found) > MAX_OUTCOMES:
                raise BadInput("contract", f"over {MAX_OUTCOMES:,} outcomes", "one that can be signed: round more")
        first += len(info.announcements)
    return tuple(found)


def settled_by(outcomes: Sequence[ContractOutcome], attested: Mapping[int, Sequence[str]]) -> int:
    """The index of the first outcome that the attested outcomes (by oracle) settle. Raises BadInput for none."""
    for index, outcome in enumerate(outcomes):
        if outcome.is_attested(attested):
            return index
    said = ", ".join(f"oracle {index}: {' '.join(signed)}" for index, signed in sorted(attested.items()))
    raise BadInput("attestations", said or "none", "enough to settle an outcome of this contract")


def readings(info: ContractInfo) -> tuple[ContractInfo, ...]:
    """A part as it is written, and as the widely deployed implementation reads it, which maximizes coverage always.

    Adaptor signatures of another party verify for one of them.
    """
    if info.difference is None or info.difference.maximize_coverage:
        return (info,)
    return info, replace(info, difference=replace(info.difference, maximize_coverage=True))


def check_refund(announcements: Sequence[Announcement], refund_time: int) -> None:
    """Raises BadInput unless a refund (epoch seconds) is later than every oracle's announced time."""
    latest = max(announcement.maturity for announcement in announcements)
    if refund_time <= latest:
        raise BadInput("refund time", refund_time, f"one after the last event's maturity ({latest})")


Found = Iterator[tuple[int, tuple[tuple[int, tuple[str, ...]], ...]]]
"""(payout, oracles) as in `ContractOutcome`, with indices of one part."""


def _outcomes(info: ContractInfo, collateral: int) -> Found:
    if isinstance(info.payouts, EnumeratedPayouts):
        return _enumerated(info, info.payouts, collateral)
    return _Numeric(info, info.payouts, collateral).outcomes()


def _enumerated(info: ContractInfo, payouts: EnumeratedPayouts, collateral: int) -> Found:
    if info.difference is not None:
        raise BadInput("oracle parameters", "a difference", "used with numbers only")
    outcomes = payouts.outcomes
    if len(set(outcomes)) != len(outcomes):
        raise BadInput("payouts", ", ".join(outcomes), "one payout for each outcome")
    for announcement in info.announcements:
        _check_same_outcomes(announcement, outcomes)
    for outcome, payout in payouts.payouts:
        if not 0 <= payout <= collateral:
            raise BadInput(f"payout of {outcome!r}", payout, f"0 to the collateral, {collateral:,} sat")
    for outcome, payout in payouts.payouts:
        for chosen in agreement.exact((), [0] * len(info.announcements), info.threshold):
            yield payout, tuple((index, (outcome,)) for index, _ in chosen)


def _check_same_outcomes(announcement: Announcement, outcomes: Sequence[str]) -> None:
    event = announcement.descriptor
    if not isinstance(event, EnumEvent):
        raise BadInput("payouts", "one for each outcome", f"used with {announcement.event_id!r}, which has a number")
    for outcome in outcomes:
        if outcome not in event.outcomes:
            announced = ", ".join(event.outcomes)
            raise BadInput("outcome", outcome, f"one that {announcement.event_id!r} can have ({announced})")
    if missing := [outcome for outcome in event.outcomes if outcome not in outcomes]:
        raise BadInput("payouts", ", ".join(outcomes), f"complete: {', '.join(missing)} can happen, too")


@dataclass(frozen=True)
class _Numeric:
    """A part whose oracles sign numbers."""

    info: ContractInfo
    payouts: NumericPayouts
    collateral: int

    def outcomes(self) -> Found:
        """Range by range; in a range prefix by prefix; for each prefix, every choice of oracles."""
        self._check()
        ranges = payout_ranges(self.payouts.function, self.payouts.rounding, self.collateral)
        for each in ranges:
            for sign, prefix in self._prefixes(each):
                for chosen in self._agreeing(prefix):
                    yield each.payout, _signed(chosen, sign)
        signs = ((MINUS,), (PLUS,)) if self._event.signed else ((),)
        for sign in signs:
            payout = ranges[0 if sign == (MINUS,) else -1].payout
            for chosen in agreement.beyond(self._digits, self.info.threshold, self._event.base):
                yield payout, _signed(chosen, sign)

    @cached_property
    def _events(self) -> list[DigitEvent]:
        events = []
        for announcement in self.info.announcements:
            if not isinstance(announcement.descriptor, DigitEvent):
                raise BadInput("payouts", "of a number", f"used with {announcement.event_id!r}, which has none")
            events.append(announcement.descriptor)
        return events

    @cached_property
    def _digits(self) -> list[int]:
        return [event.digits for event in self._events]

    @cached_property
    def _event(self) -> DigitEvent:
        """With the fewest digits: what the contract is written for."""
        return min(self._events, key=lambda event: event.digits)

    def _check(self) -> None:
        event = self._event
        for other in self._events:
            if (other.base, other.signed) != (event.base, event.signed):
                raise BadInput("oracles", f"base {other.base} and {event.base}", "of one base, all signed or none")
        if self.payouts.digits != event.digits:
            raise BadInput("digits", self.payouts.digits, f"{event.digits}, as the oracles announced")
        function = self.payouts.function
        if (function.first, function.last) != (event.minimum, event.maximum):
            covered = f"outcomes {function.first} to {function.last}"
            raise BadInput("payout function", covered, f"one for all outcomes, {event.minimum} to {event.maximum}")
        if self.info.difference is not None:
            if event.signed:
                raise BadInput("oracle parameters", "a difference", "used with numbers that have no sign")
            self.info.difference.check(event.base, event.digits)

    def _prefixes(self, each: PayoutRange) -> Iterator[tuple[tuple[str, ...], tuple[int, ...]]]:
        """(sign, digits), by ascending number; zero is signed with a plus, so that -0 counts as -1, its neighbour."""
        base, digits = self._event.base, self._event.digits
        if each.start < 0:
            nearest = 0 if each.end >= -1 else -each.end
            for prefix in reversed(list(covering(nearest, -each.start, base, digits))):
                yield (MINUS,), prefix
        if each.end >= 0:
            sign = (PLUS,) if self._event.signed else ()
            for prefix in covering(max(each.start, 0), each.end, base, digits):
                yield sign, prefix

    def _agreeing(self, prefix: tuple[int, ...]) -> Iterator[Selection]:
        if self.info.difference is None or self.info.threshold == 1:
            return agreement.exact(prefix, self._digits, self.info.threshold)
        return agreement.near(prefix, self._digits, self.info.threshold, self.info.difference)


def _signed(chosen: Selection, sign: tuple[str, ...]) -> tuple[tuple[int, tuple[str, ...]], ...]:
    return tuple((index, sign + tuple(map(str, prefix))) for index, prefix in chosen)
