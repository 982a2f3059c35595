"""Payout curves: exact, and the same as when every outcome is evaluated on its own."""

from collections.abc import Callable
from decimal import Decimal, localcontext
from fractions import Fraction
from math import floor

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bitvm_bridge.dlc import curves
from bitvm_bridge.dlc.curves import (
    Hyperbola,
    PayoutFunction,
    PayoutPoint,
    PayoutRange,
    Polynomial,
    RoundingIntervals,
    fixed_point,
    payout_ranges,
)
from bitvm_bridge.errors import BadInput

COLLATERAL = 1_000
HIGH = 4_000
"""Curves of these points go above it now and then."""


def through(*points: tuple[int, int]) -> Polynomial:
    return Polynomial(tuple(PayoutPoint(*point) for point in points))


def values(function: PayoutFunction) -> list[Fraction]:
    """Every payout by itself, with Lagrange's formula as dlcspecs has it."""
    found = []
    for outcome in range(function.first, function.last + 1):
        piece = next(item for item in function.pieces if outcome <= item.right.outcome)
        assert isinstance(piece, Polynomial)
        value = Fraction(0)
        for one in piece.points:
            term = one.value
            for other in piece.points:
                if other != one:
                    term *= Fraction(outcome - other.outcome, one.outcome - other.outcome)
            value += term
        found.append(value)
    return found


def rounded(value: Fraction, modulus: int) -> int:
    return floor(value / modulus + Fraction(1, 2)) * modulus


def expanded(ranges: list[PayoutRange], first: int) -> list[int]:
    """The payouts of ranges that follow one another, and differ."""
    payouts: list[int] = []
    for index, each in enumerate(ranges):
        assert each.start == first + len(payouts)
        assert index == 0 or ranges[index - 1].payout != each.payout
        payouts += [each.payout] * (each.end - each.start + 1)
    return payouts


@st.composite
def functions(draw: st.DrawFn) -> PayoutFunction:
    """Pieces of up to five points each, with payouts that keep the curve near the collateral."""
    outcomes = sorted(draw(st.sets(st.integers(-40, 200), min_size=2, max_size=12)))
    points = [
        PayoutPoint(outcome, draw(st.integers(0, COLLATERAL)), draw(st.sampled_from((0, 1, 1 << 15, (1 << 16) - 1))))
        for outcome in outcomes
    ]
    pieces, at = [], 0
    while at < len(points) - 1:
        count = draw(st.integers(1, 4))
        pieces.append(Polynomial(tuple(points[at : at + count + 1])))
        at += count
    return PayoutFunction(tuple(pieces))


@st.composite
def roundings(draw: st.DrawFn) -> RoundingIntervals:
    begins = sorted(draw(st.sets(st.integers(-50, 210), max_size=4)))
    return RoundingIntervals(tuple((begin, draw(st.sampled_from((1, 2, 3, 10, 100, 999)))) for begin in begins))


@settings(max_examples=300)
@given(functions(), roundings())
def test_ranges_are_what_every_outcome_says(function: PayoutFunction, rounding: RoundingIntervals) -> None:
    """Where the curve leaves the collateral at some outcome, and only there, it is refused."""
    exact = values(function)
    if min(exact) < 0 or rounded(max(exact), 1) > HIGH:
        with pytest.raises(BadInput, match=r"below zero|above the collateral"):
            payout_ranges(function, rounding, HIGH)
        return
    payouts = [min(rounded(value, rounding.modulus(function.first + index)), HIGH) for index, value in enumerate(exact)]
    assert expanded(payout_ranges(function, rounding, HIGH), function.first) == payouts


def test_the_vector_files_curve() -> None:
    function = PayoutFunction((through((0, 0), (3, 10**8), (5, 2 * 10**8)), through((5, 2 * 10**8), (1023, 2 * 10**8))))
    assert payout_ranges(function, RoundingIntervals(((0, 1),)), 2 * 10**8) == [
        PayoutRange(0, 0, 0),
        PayoutRange(1, 1, 26_666_667),
        PayoutRange(2, 2, 60_000_000),
        PayoutRange(3, 3, 10**8),
        PayoutRange(4, 4, 146_666_667),
        PayoutRange(5, 1023, 2 * 10**8),
    ]


def test_rounding_goes_to_the_nearest_and_up_from_the_middle() -> None:
    line = PayoutFunction((through((0, 0), (40, 40)),))
    ranges = payout_ranges(line, RoundingIntervals(((0, 10), (20, 20))), 40)
    assert [(each.start, each.end, each.payout) for each in ranges] == [
        (0, 4, 0),
        (5, 14, 10),
        (15, 29, 20),
        (30, 40, 40),
    ]
    halves = PayoutFunction((through((0, 0), (2, 1)),))
    assert [each.payout for each in payout_ranges(halves, RoundingIntervals(), 1)] == [0, 1]


def test_rounding_stays_inside_the_collateral() -> None:
    line = PayoutFunction((through((0, 0), (95, 95)),))
    assert payout_ranges(line, RoundingIntervals(((0, 10),)), 95)[-1] == PayoutRange(95, 95, 95)
    almost = PayoutFunction((Polynomial((PayoutPoint(0, 95, 1), PayoutPoint(1, 95, 1))),))
    assert payout_ranges(almost, RoundingIntervals(), 95) == [PayoutRange(0, 1, 95)]


def test_extra_precision_counts() -> None:
    half = Polynomial((PayoutPoint(0, 0, 1 << 15), PayoutPoint(1, 0, 1 << 15)))
    less = Polynomial((PayoutPoint(0, 0, (1 << 15) - 1), PayoutPoint(1, 0, (1 << 15) - 1)))
    assert payout_ranges(PayoutFunction((half,)), RoundingIntervals(), 9)[0].payout == 1
    assert payout_ranges(PayoutFunction((less,)), RoundingIntervals(), 9)[0].payout == 0


def test_two_parties_round_to_what_both_allow() -> None:
    ours, theirs = RoundingIntervals(((0, 10), (50, 100))), RoundingIntervals(((20, 5), (70, 1000)))
    both = ours.minimum(theirs)
    assert [both.modulus(outcome) for outcome in (0, 19, 20, 49, 50, 69, 70)] == [1, 1, 5, 5, 5, 5, 100]
    assert all(both.modulus(at) == min(ours.modulus(at), theirs.modulus(at)) for at in range(-5, 100))


# Hyperbolas.


def hyperbola(
    left: int, right: int, *, a: object = 1, b: object = 0, c: object = 0, d: object = 1, **more: object
) -> Hyperbola:
    values = {"positive": True, "translate_outcome": Fraction(0), "translate_payout": Fraction(0)} | more
    parameters = {name: Fraction(str(value)) for name, value in {"a": a, "b": b, "c": c, "d": d}.items()}
    return Hyperbola(PayoutPoint(left, 0), PayoutPoint(right, 0), **values, **parameters)  # type: ignore[arg-type]


def test_an_inverse() -> None:
    """d/x: the contract for difference that pays in bitcoin."""
    ranges = payout_ranges(PayoutFunction((hyperbola(1, 400, d=10_000),)), RoundingIntervals(), 10_000)
    assert expanded(ranges, 1) == [floor(Fraction(10_000, at) + Fraction(1, 2)) for at in range(1, 401)]


@settings(max_examples=200)
@given(
    st.fractions(-9, 9, max_denominator=64).filter(bool),
    st.fractions(-9, 9, max_denominator=64),
    st.fractions(-9, 9, max_denominator=64),
    st.fractions(-99, 99, max_denominator=64),
    st.fractions(-50, 150, max_denominator=4),
    st.booleans(),
    st.sampled_from((1, 7, 50)),
)
def test_hyperbolas_are_the_formula(
    a: Fraction, b: Fraction, c: Fraction, d: Fraction, axis: Fraction, positive: bool, modulus: int
) -> None:
    """Against decimal arithmetic with many digits, and every outcome on its own."""
    try:
        curve = Hyperbola(PayoutPoint(0, 0), PayoutPoint(100, 0), positive, axis, Fraction(2_000), a, b, c, d)
    except BadInput:
        return
    exact = [decimal_payout(curve, outcome) for outcome in range(101)]
    near = Decimal("1e-30")
    assume(all(abs(item - item.to_integral_value()) > near for item in (*exact, *halves(exact, modulus))))
    function, rounding = PayoutFunction((curve,)), RoundingIntervals(((0, modulus),))
    if min(exact) < 0:
        with pytest.raises(BadInput, match="below zero"):
            payout_ranges(function, rounding, 10**9)
        return
    payouts = [int(scaled // 1) * modulus for scaled in halves(exact, modulus)]
    assert expanded(payout_ranges(function, rounding, 10**9), 0) == payouts


def halves(payouts: list[Decimal], modulus: int) -> list[Decimal]:
    """What is rounded down."""
    return [payout / modulus + Decimal("0.5") for payout in payouts]


def decimal_payout(curve: Hyperbola, outcome: int) -> Decimal:
    """The formula of dlcspecs with 80 digits."""
    with localcontext() as context:
        context.prec = 80
        a, b, c, d, axis = (
            Decimal(item.numerator) / Decimal(item.denominator)
            for item in (curve.a, curve.b, curve.c, curve.d, curve.translate_outcome)
        )
        t = outcome - axis
        root = (t * t - 4 * a * b).sqrt()
        r = t + root if curve.positive else t - root
        return c * r / (2 * a) + 2 * a * d / r + int(curve.translate_payout)


def test_a_root_is_exact_where_a_float_is_not() -> None:
    """t + √(t² − 4ab) with a perfect square one sat below and above a boundary that 53 bits do not see."""
    big = 10**18
    curve = hyperbola(0, 1, a=1, b=-1, c=1, d=0, translate_payout=Fraction(big) + Fraction(1, 2) - 1)
    assert curve.floor(0, 1) == big  # (0 + 2)/2 + big − 1/2
    assert curve.floor(0, 1, half=True) == big + 1


# Refusals.

FLAT = through((0, 5), (10, 5))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Polynomial((PayoutPoint(0, 1),)), "2 to 64 points"),
        (lambda: through(*((at, 1) for at in range(65))), "2 to 64 points"),
        (lambda: through((0, 1), (0, 2)), "strictly increase"),
        (lambda: through((0, 1), (5, 1), (4, 1)), "strictly increase"),
        (lambda: PayoutPoint(0, -1), "payout at outcome 0: '-1' is not 0 sat or more"),
        (lambda: PayoutPoint(0, 1, 1 << 16), "16 bits"),
        (lambda: fixed_point(False, 1, -1), "16 bits"),
        (lambda: PayoutFunction(()), "one piece or more"),
        (lambda: PayoutFunction((FLAT, through((11, 5), (20, 5)))), "a gap between outcomes 10 and 11"),
        (lambda: PayoutFunction((FLAT, through((9, 5), (20, 5)))), "an overlap between outcomes 10 and 9"),
        (lambda: PayoutFunction((FLAT, through((10, 6), (20, 5)))), "a jump at outcome 10"),
        (lambda: RoundingIntervals(((0, 0),)), "1 sat or more"),
        (lambda: RoundingIntervals(((5, 1), (5, 2))), "strictly increase"),
        (lambda: hyperbola(1, 9, a=0), "a ≠ 0"),
        (lambda: hyperbola(1, 9, a=2, b=1, c=2, d=1), "a·d ≠ b·c"),
        (lambda: hyperbola(9, 1), "strictly increase"),
        (lambda: hyperbola(0, 9), "none at outcome 0"),
        (lambda: hyperbola(-9, 9), "none at outcome -9"),
        (lambda: hyperbola(1, 9, positive=False), "none at outcome 1"),
        (lambda: hyperbola(-9, 9, b=1), "none at outcome 0"),
        (lambda: payout_ranges(PayoutFunction((through((0, 0), (10, 9)),)), RoundingIntervals(), 8), "at outcome 10"),
        (
            lambda: payout_ranges(PayoutFunction((through((0, 9), (5, 0), (10, 9)),)), RoundingIntervals(), 8),
            "above the collateral at outcome 0",
        ),
        (
            lambda: payout_ranges(PayoutFunction((through((0, 9), (4, 0), (10, 9)),)), RoundingIntervals(), 9),
            "below zero at outcome 5",
        ),
        (
            lambda: payout_ranges(PayoutFunction((hyperbola(1, 9, c=-1),)), RoundingIntervals(), 9),
            "below zero",
        ),
    ],
)
def test_what_is_no_curve_is_refused(make: Callable[[], object], says: str) -> None:
    with pytest.raises(BadInput) as refused:
        make()
    assert says in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_a_dip_between_points_is_found() -> None:
    """Every point is in range; the curve between two of them is not, at one outcome of a million."""
    fine = through((0, 1), (500_000, 0), (1_000_000, 1))
    assert payout_ranges(PayoutFunction((fine,)), RoundingIntervals(), 9)[0].payout == 1
    dip = Polynomial((PayoutPoint(0, 250_000), PayoutPoint(499_999, 0), PayoutPoint(1_000_000, 250_001)))
    with pytest.raises(BadInput, match=r"below zero at outcome (499998|500000|50\d{4}|49\d{4})"):
        payout_ranges(PayoutFunction((dip,)), RoundingIntervals(), 10**6)


def test_a_curve_that_changes_too_often_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curves, "MAX_RANGES", 100)
    line = PayoutFunction((through((0, 0), (1 << 63, 1 << 50)),))
    with pytest.raises(BadInput, match="over 100 payouts"):
        payout_ranges(line, RoundingIntervals(), 1 << 50)
    assert len(payout_ranges(line, RoundingIntervals(((0, 1 << 46),)), 1 << 50)) == 17


def test_the_work_follows_the_ranges_not_the_outcomes(monkeypatch: pytest.MonkeyPatch) -> None:
    """2⁶⁰ outcomes, three payouts: a few hundred evaluations."""
    calls = []
    real = Polynomial.floor

    def counted(self: Polynomial, outcome: int, modulus: int, *, half: bool = False) -> int:
        calls.append(outcome)
        return real(self, outcome, modulus, half=half)

    monkeypatch.setattr(Polynomial, "floor", counted)
    curve = through((0, 0), (1 << 59, 2), ((1 << 60) - 1, 0))
    assert len(payout_ranges(PayoutFunction((curve,)), RoundingIntervals(), 2)) == 5
    assert len(calls) < 1_000
