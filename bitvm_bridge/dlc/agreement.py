"""Which outcomes of several oracles agree: t of n, and numbers that differ a little (dlcspecs `MultiOracle.md`).

The order is that of the public implementations, for adaptor signatures are exchanged in it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice, product

from bitvm_bridge.dlc.prefixes import Prefix, digits_of, interval
from bitvm_bridge.errors import BadInput

Selection = tuple[tuple[int, Prefix], ...]
"""Oracles by index, ascending, and the digits that each is to sign."""


@dataclass(frozen=True)
class Difference:
    """How far apart the numbers of oracles may be: up to 2^min_fail_exp settles, more than 2^max_error_exp does not.

    In between it depends on the number; `maximize_coverage` makes it settle wherever no signature more is needed. The
    widely deployed implementation maximizes always, whatever the contract says.
    """

    max_error_exp: int
    min_fail_exp: int
    maximize_coverage: bool

    def check(self, base: int, digits: int) -> None:
        """Raises BadInput where it cannot be applied to numbers of so many digits."""
        if base != 2:
            raise BadInput("oracle parameters", f"base {base}", "used with binary digits only")
        if not 0 <= self.min_fail_exp < self.max_error_exp < digits:
            exponents = f"{self.min_fail_exp} and {self.max_error_exp}"
            raise BadInput("oracle parameters", exponents, f"minFailExp < maxErrorExp < {digits}, the number of digits")


def exact(prefix: Prefix, digits: Sequence[int], threshold: int) -> Iterator[Selection]:
    """Every choice of oracles, all signing the same number; `prefix` has the digits of the shortest oracle.

    An oracle with more digits signs zeros before them.
    """
    shortest = min(digits)
    for chosen in combinations(range(len(digits)), threshold):
        yield tuple((index, (0,) * (digits[index] - shortest) + prefix) for index in chosen)


def beyond(digits: Sequence[int], threshold: int, base: int) -> Iterator[Selection]:
    """What oracles with more digits sign for numbers that the shortest cannot write, and it signs its highest for."""
    shortest = min(digits)
    for chosen in combinations(range(len(digits)), threshold):
        if all(digits[index] == shortest for index in chosen):
            continue
        options = [_beyond(digits[index] - shortest, shortest, base) for index in chosen]
        # The first oracle's digits change fastest, the last one's slowest.
        for choice in product(*reversed(options)):
            yield tuple(zip(chosen, reversed(choice), strict=True))


def _beyond(extra: int, shortest: int, base: int) -> list[Prefix]:
    if not extra:
        return [(base - 1,) * shortest]
    return [(0,) * zeros + (digit,) for zeros in range(extra) for digit in range(1, base)]


def near(prefix: Prefix, digits: Sequence[int], threshold: int, difference: Difference) -> Iterator[Selection]:
    """Every choice of oracles, the shortest of which (the first of those) signs `prefix` and the others something near.

    `prefix` has the digits of the shortest oracle of all.
    """
    shortest = min(digits)
    for chosen in combinations(range(len(digits)), threshold):
        lengths = [digits[index] for index in chosen]
        primary = lengths.index(min(lengths))
        padded = (0,) * (lengths[primary] - shortest) + prefix
        others = lengths[:primary] + lengths[primary + 1 :]
        for main, secondary in _Near(padded, lengths[primary], others, difference).pairs():
            everyone = [*secondary[:primary], main, *secondary[primary:]]
            yield tuple(zip(chosen, everyone, strict=True))


@dataclass(frozen=True)
class _Near:
    """Bounded error around one prefix of the primary oracle (dlcspecs, `n-of-n Oracles with Bounded Error`).

    All numbers are written in one length: the primary's, with a zero before it where another oracle has more digits,
    so that there is room above the primary's highest number.
    """

    prefix: Prefix
    primary: int
    others: list[int]
    difference: Difference

    @property
    def length(self) -> int:
        """Digits of the numbers here."""
        return self.primary + any(other != self.primary for other in self.others)

    def pairs(self) -> Iterator[tuple[Prefix, list[Prefix]]]:
        """The digits of the primary oracle and of each other one."""
        main = (0,) * (self.length - self.primary) + self.prefix
        is_small = self.length - len(main) < self.difference.max_error_exp
        for primary, chosen in self._small(main) if is_small else self._large(main):
            own = _fit(primary, self.length, self.primary)
            fitted = [_fit(one, self.length, other) for one, other in zip(chosen, self.others, strict=True)]
            if own is not None and None not in fitted:
                yield own, [one for one in fitted if one is not None]

    def _small(self, main: Prefix) -> Iterator[tuple[Prefix, tuple[Prefix, ...]]]:
        """A range narrower than the largest error: one aligned block holds it, and perhaps one beside that."""
        start, end = interval(main, 2, self.length)
        error, support = 1 << self.difference.max_error_exp, 1 << self.difference.min_fail_exp
        left = start & -error
        right = left + error - 1
        near_left, near_right = start < left + support and left > 0, end > right - support and right < self._maximum
        if start < left + support:
            covers = [self._right_cover(left, end)] + [self._left_neighbour(left, start)] * near_left
        elif end > right - support:
            covers = [self._left_cover(left, start)] + [self._right_neighbour(right, end)] * near_right
        else:
            covers = [self._middle_cover(left, start, end)]
        for choice in product(sorted(covers), repeat=len(self.others)):
            yield main, choice

    def _large(self, main: Prefix) -> Iterator[tuple[Prefix, tuple[Prefix, ...]]]:
        """A range as wide as the largest error, or wider: all inside it, or the primary at an end and others beside.

        Oracles that are not beside it are at the same end then. dlcspecs would have them anywhere inside; its public
        implementation does not, and signatures are exchanged in its order.
        """
        start, end = interval(main, 2, self.length)
        exponent = self.difference.min_fail_exp
        if self.difference.maximize_coverage:
            exponent = self.difference.max_error_exp - 1
        width = 1 << exponent
        if start > 0:
            inner, outer = self._block(start, exponent), self._block(start - width, exponent)
            for choice in islice(product((outer, inner), repeat=len(self.others)), (1 << len(self.others)) - 1):
                yield inner, choice
        yield main, (main,) * len(self.others)
        if end < self._maximum:
            inner, outer = self._block(end - width + 1, exponent), self._block(end + 1, exponent)
            for choice in islice(product((inner, outer), repeat=len(self.others)), 1, None):
                yield inner, choice

    @property
    def _maximum(self) -> int:
        return (1 << self.length) - 1

    def _block(self, start: int, exponent: int) -> Prefix:
        """The prefix of the aligned 2^exponent numbers from `start`."""
        return digits_of(start >> exponent, 2, self.length - exponent)

    def _middle_cover(self, left: int, start: int, end: int) -> Prefix:
        if self.difference.maximize_coverage:
            return self._block(left, self.difference.max_error_exp)
        support = 1 << self.difference.min_fail_exp
        return self._block(start - support, ((start - support) ^ (end + support)).bit_length())

    def _right_cover(self, left: int, end: int) -> Prefix:
        """Of the block from `left`, all or the least that reaches beyond `end` far enough."""
        if self.difference.maximize_coverage:
            return self._block(left, self.difference.max_error_exp)
        return self._while_zero(end + (1 << self.difference.min_fail_exp))

    def _left_cover(self, left: int, start: int) -> Prefix:
        if self.difference.maximize_coverage:
            return self._block(left, self.difference.max_error_exp)
        return self._while_one(start - (1 << self.difference.min_fail_exp))

    def _left_neighbour(self, left: int, start: int) -> Prefix:
        """Of the half block that ends before `left`, all or the least that reaches before `start` far enough."""
        if self.difference.maximize_coverage:
            exponent = self.difference.max_error_exp - 1
            return self._block(left - (1 << exponent), exponent)
        return self._while_one(start - (1 << self.difference.min_fail_exp))

    def _right_neighbour(self, right: int, end: int) -> Prefix:
        if self.difference.maximize_coverage:
            return self._block(right + 1, self.difference.max_error_exp - 1)
        return self._while_zero(end + (1 << self.difference.min_fail_exp))

    def _while_zero(self, number: int) -> Prefix:
        return self._while_digit(number, 0)

    def _while_one(self, number: int) -> Prefix:
        return self._while_digit(number, 1)

    def _while_digit(self, number: int, wanted: int) -> Prefix:
        """The digits above the block's, and those in it as long as they are `wanted`."""
        digits = digits_of(number, 2, self.length)
        count = self.length - self.difference.max_error_exp
        while count < self.length and digits[count] == wanted:
            count += 1
        return digits[:count]


def _fit(prefix: Prefix, length: int, digits: int) -> Prefix | None:
    """A prefix of numbers of one length for an oracle of another: zeros added or taken away; None where it cannot."""
    if digits >= length:
        return (0,) * (digits - length) + prefix
    surplus = length - digits
    return None if any(prefix[:surplus]) else prefix[surplus:]
