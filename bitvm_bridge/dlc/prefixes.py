"""Digit prefixes: few of them cover any range of numbers (dlcspecs `CETCompression.md`)."""

from collections.abc import Iterator

Prefix = tuple[int, ...]
"""The first digits of a number, highest first; it stands for every number that begins so."""


def digits_of(value: int, base: int, count: int) -> Prefix:
    """A number from 0 in `count` digits, highest first."""
    digits = []
    for _ in range(count):
        value, digit = divmod(value, base)
        digits.append(digit)
    return tuple(reversed(digits))


def interval(prefix: Prefix, base: int, count: int) -> tuple[int, int]:
    """The first and the last number of `count` digits that begin with a prefix."""
    start = 0
    for digit in prefix:
        start = start * base + digit
    width = base ** (count - len(prefix))
    return start * width, start * width + width - 1


def covering(start: int, end: int, base: int, count: int) -> Iterator[Prefix]:
    """The fewest prefixes that stand for the numbers from `start` to `end`, each once, in ascending order.

    None of them is empty, for an empty one needs no signature: where all numbers are covered it is every first digit.
    """
    while start <= end:
        ignored, width = 0, 1
        while ignored < count - 1 and start % (width * base) == 0 and start + width * base - 1 <= end:
            ignored, width = ignored + 1, width * base
        yield digits_of(start // width, base, count - ignored)
        start += width
