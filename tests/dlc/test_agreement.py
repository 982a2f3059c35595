"""Prefixes and choices of oracles, against every number there is."""

from itertools import combinations, pairwise, product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge.dlc import agreement
from bitvm_bridge.dlc.agreement import Difference, Selection
from bitvm_bridge.dlc.prefixes import Prefix, covering, digits_of, interval


def prefix(text: str) -> Prefix:
    return tuple(map(int, text))


def texts(found: list[Selection]) -> list[tuple[tuple[int, str], ...]]:
    return [tuple((index, "".join(map(str, digits))) for index, digits in selection) for selection in found]


# Prefixes.


@pytest.mark.parametrize(
    ("start", "end", "base", "count", "expected"),
    [
        (123, 123, 10, 3, "123"),
        (2200, 4999, 10, 4, "22 23 24 25 26 27 28 29 3 4"),
        (100, 200, 10, 3, "1 200"),
        (11, 23, 2, 5, "01011 011 10"),
        (0, 7, 2, 3, "0 1"),
        (0, 2, 3, 1, "0 1 2"),
        (
            5677,
            8621,
            2,
            14,
            "01011000101101 0101100010111 0101100011 01011001 0101101 010111 011 "
            "100000 1000010 100001100 10000110100 100001101010 1000011010110",
        ),
    ],
)
def test_the_examples_of_the_specification(start: int, end: int, base: int, count: int, expected: str) -> None:
    assert list(covering(start, end, base, count)) == [prefix(item) for item in expected.split()]


@given(st.integers(2, 5), st.integers(1, 5), st.data())
def test_a_range_is_covered_once_and_in_order(base: int, count: int, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, base**count - 1))
    end = data.draw(st.integers(start, base**count - 1))
    found = list(covering(start, end, base, count))
    intervals = [interval(item, base, count) for item in found]
    assert [number for low, high in intervals for number in range(low, high + 1)] == list(range(start, end + 1))
    assert all(1 <= len(item) <= count for item in found)
    for low, high in pairwise(intervals):
        width = high[1] - low[0] + 1
        if base == 2 and width < base**count and low[0] % width == 0:
            assert width not in {base**power for power in range(count)}, "two prefixes that one could stand for"


# Exactly the same.


def test_every_choice_of_oracles_in_order() -> None:
    found = list(agreement.exact((1, 0), [2, 3, 2, 4], 3))
    assert texts(found) == [
        ((0, "10"), (1, "010"), (2, "10")),
        ((0, "10"), (1, "010"), (3, "0010")),
        ((0, "10"), (2, "10"), (3, "0010")),
        ((1, "010"), (2, "10"), (3, "0010")),
    ]


def test_numbers_that_the_shortest_cannot_write() -> None:
    assert texts(list(agreement.beyond([2, 4, 3], 2, 2))) == [
        ((0, "11"), (1, "1")),
        ((0, "11"), (1, "01")),
        ((0, "11"), (2, "1")),
        ((1, "1"), (2, "1")),
        ((1, "01"), (2, "1")),
    ]
    assert list(agreement.beyond([3, 3], 2, 2)) == []
    assert texts(list(agreement.beyond([1, 2], 2, 3))) == [((0, "2"), (1, "1")), ((0, "2"), (1, "2"))]


@pytest.mark.parametrize(("digits", "threshold", "base"), [([2, 4, 3], 2, 2), ([1, 3], 2, 3), ([2, 2, 4], 3, 2)])
def test_beyond_covers_every_such_number_once(digits: list[int], threshold: int, base: int) -> None:
    """Oracles that all see numbers above the shortest's maximum settle with any of their digits."""
    found = list(agreement.beyond(digits, threshold, base))
    top = base ** min(digits)
    for chosen in combinations(range(len(digits)), threshold):
        if all(digits[index] == min(digits) for index in chosen):
            continue
        seen = [[base ** digits[i] - 1] if digits[i] == min(digits) else range(top, base ** digits[i]) for i in chosen]
        for numbers in product(*seen):
            assert len(matches(found, chosen, numbers, digits, base)) == 1


def matches(
    found: list[Selection], chosen: tuple[int, ...], numbers: tuple[int, ...], digits: list[int], base: int = 2
) -> list[Selection]:
    """The selections of exactly these oracles that their numbers satisfy."""
    signed = {index: digits_of(number, base, digits[index]) for index, number in zip(chosen, numbers, strict=True)}
    return [
        selection
        for selection in found
        if tuple(index for index, _ in selection) == chosen
        and all(signed[index][: len(part)] == part for index, part in selection)
    ]


# Nearly the same.


@pytest.mark.parametrize(
    ("main", "digits", "maximal", "minimal"),
    [
        ("001011001", 14, ["001011001 001"], ["001011001 00101"]),
        ("010000011", 13, ["010000011 001", "010000011 01"], ["010000011 001111", "010000011 01000"]),
        ("011111010", 13, ["011111010 01", "011111010 100"], ["011111010 01111", "011111010 1000000"]),
        ("01", 13, ["010 001", "01 01", "011 100"], ["010000 001111", "01 01", "011111 100000"]),
        ("11111111", 13, ["11111111 11"], ["11111111 11111"]),
        ("00", 13, ["00 00", "001 010"], ["00 00", "001111 010000"]),
        ("11", 14, ["1100 1011", "11 11"], ["1100000 1011111", "11 11"]),
    ],
)
def test_two_oracles_with_bounded_error(main: str, digits: int, maximal: list[str], minimal: list[str]) -> None:
    for maximize, expected in ((True, maximal), (False, minimal)):
        found = list(agreement.near(prefix(main), [digits, digits], 2, Difference(11, 7, maximize)))
        assert [" ".join(part for _, part in item) for item in texts(found)] == expected


DIFFERENCES = [Difference(high, low, maximize) for high, low in ((1, 0), (2, 1), (3, 0), (3, 2)) for maximize in (0, 1)]


@pytest.mark.parametrize("difference", DIFFERENCES, ids=str)
@pytest.mark.parametrize(
    ("digits", "threshold"), [([4, 4], 2), ([4, 4, 4], 2), ([4, 4, 4], 3), ([4, 6], 2), ([5, 4, 4], 2)]
)
@pytest.mark.parametrize("main", ["0 1", "00 010 0110 0111 10 11", " ".join(f"{n:04b}" for n in range(16))])
def test_bounded_error_is_guaranteed(digits: list[int], threshold: int, difference: Difference, main: str) -> None:
    """Numbers near each other settle, for what the primary says; numbers far apart do not.

    At the end of a wide range more than two oracles settle where those inside are near the end, too.
    """
    mains = list(map(prefix, main.split()))
    ranges = [interval(item, 2, 4) for item in mains]
    found = [list(agreement.near(item, digits, threshold, difference)) for item in mains]
    near, far = 1 << difference.min_fail_exp, 1 << difference.max_error_exp
    for chosen in combinations(range(len(digits)), threshold):
        lengths = [digits[index] for index in chosen]
        primary = lengths.index(min(lengths))
        for numbers in product(*(range(1 << min(length, 5)) for length in lengths)):
            own = numbers[primary]
            if own >= 16:
                continue
            settled = [at for at, each in enumerate(found) if matches(each, chosen, numbers, digits)]
            low, high = ranges[next(at for at, (low, high) in enumerate(ranges) if low <= own <= high)]
            distance = max(abs(number - own) for number in numbers)
            is_wide = high - low + 1 >= far
            if distance <= near and (threshold == 2 or not is_wide or all(low <= number <= high for number in numbers)):
                assert settled
            if distance > far and not all(low <= number <= high for number in numbers):
                assert not settled
            assert all(ranges[at] == (low, high) for at in settled)


def test_more_oracles_mean_more_choices() -> None:
    """2ⁿ⁻¹ for a range near the edge of a block, 1 in the middle, 2ⁿ − 1 for a large one (dlcspecs)."""
    for count in (2, 3, 4):
        digits = [8] * count
        for main, expected in (("01000001", 2 ** (count - 1)), ("01001000", 1), ("01", 2**count - 1)):
            assert len(list(agreement.near(prefix(main), digits, count, Difference(4, 2, True)))) == expected


def test_the_order_is_that_of_the_public_implementation() -> None:
    """Its own test: of 13 and 12 digits, both saying 102, adaptor signature 22 settles, by 7 and 6 digits."""
    found = [
        item
        for start, end in ((0, 0), (1, 1), (2, 2), (3, 3), (4, 4), (5, 1023))
        for each in covering(start, end, 2, 12)
        for item in agreement.near(each, [13, 12], 2, Difference(2, 1, True))
    ]
    assert matches(found, (0, 1), (102, 102), [13, 12]) == [found[22]]
    assert texts([found[22]]) == [((0, "0000001"), (1, "000001"))]
