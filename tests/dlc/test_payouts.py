"""From a contract to its outcomes: complete, exclusive, in order, and never outside of the collateral."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise, product
from typing import Any

import pytest

from bitvm_bridge.dlc import payouts
from bitvm_bridge.dlc.agreement import Difference
from bitvm_bridge.dlc.curves import (
    Hyperbola,
    PayoutFunction,
    PayoutPoint,
    Piece,
    Polynomial,
    RoundingIntervals,
    fixed_point,
)
from bitvm_bridge.dlc.oracle import Announcement, DigitEvent, EnumEvent, Event, Hashing
from bitvm_bridge.dlc.payouts import (
    ContractInfo,
    ContractOutcome,
    EnumeratedPayouts,
    NumericPayouts,
    all_announcements,
    check_refund,
    contract_outcomes,
    readings,
    settled_by,
)
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import SecretKey
from tests.dlc import oracles
from tests.dlc.oracles import MATURITY, WEATHER, announced, attested

COLLATERAL = 1_000
WEATHER_PAYOUTS = EnumeratedPayouts((("sun", 0), ("rain", 700), ("snow", COLLATERAL)))


def key(number: int) -> SecretKey:
    return SecretKey(bytes(31) + bytes([number + 1]))


def everyone(*events: Event) -> tuple[Announcement, ...]:
    """Different oracles, each with an event."""
    return tuple(announced(event, key=key(number), salt=number) for number, event in enumerate(events))


def line(*points: tuple[int, int]) -> PayoutFunction:
    lines = [Polynomial((PayoutPoint(*one), PayoutPoint(*other))) for one, other in pairwise(points)]
    return PayoutFunction(tuple(lines))


def numeric(digits: int, function: PayoutFunction, *events: Event, threshold: int = 1, **more: Any) -> ContractInfo:
    return ContractInfo(NumericPayouts(digits, function), everyone(*events), threshold, **more)


def digits(count: int, base: int = 2, *, signed: bool = False) -> DigitEvent:
    return DigitEvent(base, signed, "", 0, count)


# The public files.


def vector_infos(name: str) -> tuple[int, list[ContractInfo]]:
    collateral, raw = oracles.contract_infos(name)
    return collateral, [_info(item) for item in raw]


def _info(raw: Any) -> ContractInfo:
    announcements = tuple(map(oracles.parsed, oracles.raw_announcements(raw)))
    threshold = raw["oracleInfo"].get("multi", {"threshold": 1})["threshold"]
    descriptor = raw["contractDescriptor"]
    if "enumeratedContractDescriptor" in descriptor:
        rows = descriptor["enumeratedContractDescriptor"]["payouts"]
        listed = EnumeratedPayouts(tuple((row["outcome"], row["localPayout"]) for row in rows))
        return ContractInfo(listed, announcements, threshold)
    described = descriptor["numericOutcomeContractDescriptor"]
    function = described["payoutFunction"]
    ends = [_point(item["endPoint"]) for item in function["payoutFunctionPieces"]]
    ends.append(_point(function["lastEndpoint"]))
    pieces: list[Piece] = []
    for index, item in enumerate(function["payoutFunctionPieces"]):
        between = map(_point, item["payoutCurvePiece"]["polynomialPayoutCurvePiece"]["payoutPoints"])
        pieces.append(Polynomial((ends[index], *between, ends[index + 1])))
    intervals = described["roundingIntervals"]["intervals"]
    rounding = RoundingIntervals(tuple((item["beginInterval"], item["roundingMod"]) for item in intervals))
    return ContractInfo(
        NumericPayouts(described["numDigits"], PayoutFunction(tuple(pieces)), rounding), announcements, threshold
    )


def _point(raw: Any) -> PayoutPoint:
    return PayoutPoint(raw["eventOutcome"], raw["outcomePayout"], raw["extraPrecision"])


@pytest.mark.parametrize("name", oracles.CONTRACT_FILES)
def test_vector_contracts_have_as_many_outcomes_as_signatures(name: str) -> None:
    collateral, infos = vector_infos(name)
    outcomes = contract_outcomes(infos, collateral)
    signatures = oracles.vector(name)["accept_message"]["message"]["cetAdaptorSignatures"]
    assert len(outcomes) == len(signatures["ecdsaAdaptorSignatures"])
    announcements = all_announcements(infos)
    points = [outcome.point(announcements, Hashing.PLAIN) for outcome in outcomes]
    assert len(set(points)) == len(points)


def test_a_disjoint_union_counts_its_oracles_through() -> None:
    collateral, infos = vector_infos("enum_and_numerical_5_of_5_test.json")
    outcomes = contract_outcomes(infos, collateral)
    assert [outcome.payout for outcome in outcomes[:6]] == [2 * 10**8, 0, 2 * 10**8, 0, 0, 26_666_667]
    assert [[index for index, _ in outcome.oracles] for outcome in outcomes] == [[0, 1, 2, 3, 4]] * 4 + [
        [5, 6, 7, 8, 9]
    ] * 14
    assert outcomes[4].oracles[0] == (5, ("0",) * 10)
    assert outcomes[-1] == ContractOutcome(2 * 10**8, tuple((index, ("1",)) for index in range(5, 10)), 1)
    assert [outcome.part for outcome in outcomes] == [0] * 4 + [1] * 14


# Enumerations.


def test_enumerated_outcomes_of_two_of_three() -> None:
    info = ContractInfo(WEATHER_PAYOUTS, everyone(WEATHER, WEATHER, WEATHER), 2)
    found = [(outcome.payout, [index for index, _ in outcome.oracles]) for outcome in contract_outcomes([info], 1_000)]
    pairs = [[0, 1], [0, 2], [1, 2]]
    assert found == [(payout, pair) for payout in (0, 700, 1_000) for pair in pairs]
    outcomes = contract_outcomes([info], COLLATERAL)
    assert settled_by(outcomes, {0: ("rain",), 2: ("rain",)}) == 4
    with pytest.raises(BadInput, match="enough to settle"):
        settled_by(outcomes, {0: ("rain",), 2: ("sun",)})
    with pytest.raises(BadInput, match="'none' is not enough to settle"):
        settled_by(outcomes, {})


def test_attestations_open_the_point_of_their_outcome_alone() -> None:
    info = ContractInfo(WEATHER_PAYOUTS, everyone(WEATHER, WEATHER, WEATHER), 2)
    outcomes = contract_outcomes([info], COLLATERAL)
    given = {at: attested(info.announcements[at], "snow", key=key(at), salt=at) for at in (1, 2)}
    index = settled_by(outcomes, {at: item.outcomes for at, item in given.items()})
    point = outcomes[index].secret(given).public
    assert [item.point(info.announcements, Hashing.TAGGED) == point for item in outcomes] == [False] * 8 + [True]
    with pytest.raises(BadInput, match="attestation"):
        outcomes[0].secret(given)


# Numbers.


@pytest.mark.parametrize(("base", "count"), [(2, 6), (3, 4), (10, 2), (16, 2)])
def test_every_number_settles_one_outcome(base: int, count: int) -> None:
    top = base**count - 1
    function = line((0, 0), (top // 3, 0), (top // 2, 40), (top, 40))
    info = numeric(count, function, digits(count, base))
    outcomes = contract_outcomes([info], 40)
    for value in range(top + 1):
        signed = info.announcements[0].descriptor
        assert isinstance(signed, DigitEvent)
        settled = [item for item in outcomes if item.is_attested({0: signed.outcomes(value)})]
        assert len(settled) == 1
        assert abs(settled[0].payout - _linear(value, top)) <= 0.5
    assert len(outcomes) < top


def _linear(value: int, top: int) -> float:
    return min(max(0.0, (value - top // 3) / (top // 2 - top // 3) * 40), 40.0)


def test_the_same_payout_everywhere_still_needs_a_digit() -> None:
    outcomes = contract_outcomes([numeric(3, line((0, 7), (26, 7)), digits(3, 3))], 10)
    assert outcomes == tuple(ContractOutcome(7, ((0, (digit,)),)) for digit in "012")


def test_signed_numbers() -> None:
    event = digits(3, 2, signed=True)
    info = numeric(3, line((-7, 0), (-2, 0), (3, 50), (7, 50)), event)
    outcomes = contract_outcomes([info], 50)
    shown = [(item.payout, "".join(item.oracles[0][1])) for item in outcomes]
    assert shown == [
        (0, "-1"),
        (0, "-01"),
        (10, "-00"),
        (20, "+000"),
        (30, "+001"),
        (40, "+010"),
        (50, "+011"),
        (50, "+1"),
    ]
    for value in range(-7, 8):
        assert sum(item.is_attested({0: event.outcomes(value)}) for item in outcomes) == 1
    announcement = info.announcements[0]
    minus_two = attested(announcement, "-", "0", "1", "0", key=key(0))
    index = settled_by(outcomes, {0: minus_two.outcomes})
    assert outcomes[index].secret({0: minus_two}).public == outcomes[index].point([announcement], Hashing.TAGGED)


def test_oracles_with_different_digits_pay_the_end_beyond_it() -> None:
    """Two of three, who agree: in the range of the shortest on the number, above it that it is above."""
    lengths = [3, 5, 4]
    info = numeric(3, line((0, 0), (7, 7)), *(digits(length) for length in lengths), threshold=2)
    outcomes = contract_outcomes([info], 7)
    events = [digits(length) for length in lengths]
    for chosen in ((0, 1), (0, 2), (1, 2)):
        for value in range(32):
            said = {index: events[index].outcomes(value) for index in chosen}
            payout = outcomes[settled_by(outcomes, said)].payout
            assert payout == min(value, 7)


def test_signed_numbers_of_different_lengths() -> None:
    info = numeric(2, line((-3, 0), (3, 6)), digits(2, signed=True), digits(3, signed=True), threshold=2)
    outcomes = contract_outcomes([info], 6)
    for value in range(-7, 8):
        said = {0: digits(2, signed=True).outcomes(value), 1: digits(3, signed=True).outcomes(value)}
        assert [item.payout for item in outcomes if item.is_attested(said)] == [min(max(value, -3), 3) + 3]


@pytest.mark.parametrize("maximize", [True, False])
def test_numbers_that_differ_a_little(maximize: bool) -> None:
    difference = Difference(3, 1, maximize)
    info = numeric(
        6, line((0, 0), (20, 0), (40, 20), (63, 20)), digits(6), digits(6), threshold=2, difference=difference
    )
    outcomes = contract_outcomes([info], 20)
    event = digits(6)
    for one, other in product(range(64), repeat=2):
        settled = {
            item.payout for item in outcomes if item.is_attested({0: event.outcomes(one), 1: event.outcomes(other)})
        }
        assert settled <= {min(max(one - 20, 0), 20)}
        if abs(one - other) <= 2:
            assert settled
    assert len(readings(info)) == (1 if maximize else 2)
    assert readings(info)[0] == info
    assert readings(info)[-1].difference == Difference(3, 1, True)


def test_a_hyperbola_and_a_fixed_point() -> None:
    """A contract for difference in bitcoin: the offerer holds 50 units of currency, at 10 to 100 for one bitcoin."""
    bitcoin = fixed_point(False, 5_000, 0)
    zero, one = fixed_point(False, 0, 0), fixed_point(False, 1, 0)
    high, low = PayoutPoint(10, 500), PayoutPoint(127, 39)
    curve = Hyperbola(high, low, True, zero, zero, one, zero, zero, bitcoin)
    flat = Polynomial((PayoutPoint(0, 500), high))
    outcomes = contract_outcomes([numeric(7, PayoutFunction((flat, curve)), digits(7))], 500)
    event = digits(7)
    for value in range(128):
        expected = 500 if value <= 10 else (10_000 + value) // (2 * value)
        assert outcomes[settled_by(outcomes, {0: event.outcomes(value)})].payout == expected


def test_rounding_makes_contracts_smaller() -> None:
    event = digits(20)
    function = line((0, 0), (50_000, 0), (60_000, 200_000_000), ((1 << 20) - 1, 200_000_000))
    sizes = []
    for modulus in (1, 100_000):
        described = NumericPayouts(20, function, RoundingIntervals(((0, modulus),)))
        outcomes = contract_outcomes([ContractInfo(described, everyone(event))], 200_000_000)
        sizes.append(len(outcomes))
        assert all(outcome.payout % modulus == 0 for outcome in outcomes)
    assert sizes == [10_015, 5_015]


# Refusals.

TEN = line((0, 0), (7, 7))
INFO = ContractInfo(WEATHER_PAYOUTS, everyone(WEATHER))


@pytest.mark.parametrize(
    ("infos", "says"),
    [
        ([], "one part or more"),
        ([replace(INFO, payouts=EnumeratedPayouts((("sun", 1_001), ("rain", 0), ("snow", 0))))], "payout of 'sun'"),
        ([replace(INFO, payouts=EnumeratedPayouts((("sun", -1), ("rain", 0), ("snow", 0))))], "payout of 'sun'"),
        ([replace(INFO, payouts=EnumeratedPayouts((("sun", 1), ("hail", 0), ("snow", 0))))], "'hail' is not one that"),
        ([replace(INFO, payouts=EnumeratedPayouts((("sun", 1), ("rain", 0))))], "complete: snow can happen, too"),
        ([replace(INFO, payouts=EnumeratedPayouts((("sun", 1), ("sun", 0))))], "one payout for each outcome"),
        ([replace(INFO, announcements=everyone(digits(3)))], "which has a number"),
        ([replace(INFO, difference=Difference(2, 1, True))], "used with numbers only"),
        ([replace(INFO, announcements=everyone(WEATHER, EnumEvent(("sun", "rain"))))], "'snow' is not one that"),
        ([INFO, replace(INFO, payouts=EnumeratedPayouts((("sun", 2_000), ("rain", 0), ("snow", 0))))], "payout of"),
        ([numeric(3, TEN, WEATHER)], "which has none"),
        ([numeric(4, TEN, digits(3))], "3, as the oracles announced"),
        ([numeric(3, TEN, digits(4))], "4, as the oracles announced"),
        ([numeric(4, TEN, digits(4))], "one for all outcomes, 0 to 15"),
        ([numeric(3, line((1, 0), (7, 7)), digits(3))], "one for all outcomes, 0 to 7"),
        ([numeric(3, TEN, digits(3, signed=True))], "one for all outcomes, -7 to 7"),
        ([numeric(3, line((0, 0), (8, 7)), digits(3))], "one for all outcomes, 0 to 7"),
        ([numeric(3, line((0, 0), (7, 1_001)), digits(3))], "above the collateral at outcome 7"),
        ([numeric(3, TEN, digits(3), digits(3, 10))], "of one base"),
        ([numeric(3, TEN, digits(3), digits(3, signed=True))], "all signed or none"),
        ([numeric(3, TEN, digits(3), difference=Difference(1, 1, True))], "minFailExp < maxErrorExp < 3"),
        ([numeric(3, TEN, digits(3), difference=Difference(3, 1, True))], "minFailExp < maxErrorExp < 3"),
        ([numeric(2, line((0, 0), (8, 8)), digits(2, 3), difference=Difference(1, 0, True))], "binary digits only"),
        (
            [numeric(2, line((-3, 0), (3, 8)), digits(2, signed=True), difference=Difference(1, 0, True))],
            "numbers that have no sign",
        ),
    ],
)
def test_what_is_no_contract_is_refused(infos: list[ContractInfo], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        contract_outcomes(infos, COLLATERAL)
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: replace(INFO, threshold=0), "threshold"),
        (lambda: replace(INFO, threshold=2), "1 to the number of oracles, 1"),
        (lambda: replace(INFO, announcements=everyone(WEATHER) * 2), "2 different ones"),
        (lambda: contract_outcomes([INFO], 0), "collateral"),
        (lambda: contract_outcomes([INFO], 21 * 10**14 + 1), "collateral"),
        (lambda: check_refund(INFO.announcements, MATURITY), "refund time"),
    ],
)
def test_what_cannot_be_agreed_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        make()
    assert says in str(refused.value)


def test_a_refund_after_the_last_event() -> None:
    later = replace(announced(WEATHER, key=key(9)), maturity=MATURITY + 10)
    check_refund([*INFO.announcements, later], MATURITY + 11)
    with pytest.raises(BadInput, match=f"maturity \\({MATURITY + 10}\\)"):
        check_refund([later, *INFO.announcements], MATURITY + 10)


def test_too_many_choices_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payouts, "MAX_OUTCOMES", 29)
    info = numeric(3, TEN, *[digits(3)] * 4, threshold=2)
    with pytest.raises(BadInput, match="over 29 outcomes"):
        contract_outcomes([info], COLLATERAL)
