"""A computation over Fq as a list of operations on named values: written once, evaluated natively, compiled to script.

    circuit = Circuit()
    x, y = circuit.raw("x", P), circuit.raw("y", P)
    square = circuit.multiply("square", (y,), (y,))
    circuit.require("on the curve", …)

Values are elements of Fq. Sums with small whole coefficients are not values but `Linear`: they cost nothing until an
operation takes them as an operand. Elements of Fq2 are pairs of sums (real, imaginary), those of Fq6 triples of pairs.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.script import ScriptError


@dataclass(frozen=True)
class Linear:
    """Σ coefficient·value + constant, in the integers until it is reduced."""

    terms: tuple[tuple[str, int], ...] = ()
    constant: int = 0

    def __add__(self, other: "Linear") -> "Linear":
        terms = dict(self.terms)
        for name, coefficient in other.terms:
            terms[name] = terms.get(name, 0) + coefficient
        kept = tuple((name, coefficient) for name, coefficient in terms.items() if coefficient)
        return Linear(kept, self.constant + other.constant)

    def __mul__(self, factor: int) -> "Linear":
        if factor == 0:
            return Linear()
        return Linear(tuple((name, factor * coefficient) for name, coefficient in self.terms), factor * self.constant)

    def __neg__(self) -> "Linear":
        return self * -1

    def __sub__(self, other: "Linear") -> "Linear":
        return self + -other

    def evaluate(self, values: Mapping[str, int]) -> int:
        """Modulo p."""
        return (sum(values[name] * coefficient for name, coefficient in self.terms) + self.constant) % P

    @property
    def names(self) -> tuple[str, ...]:
        """The values that it reads."""
        return tuple(name for name, _ in self.terms)


Components: TypeAlias = tuple[Linear, ...]
"""One sum for an element of Fq, two for one of Fq2."""
ZERO = Linear()


@dataclass(frozen=True)
class Raw:
    """A committed number becomes a value; the claim is wrong where it is not below `modulus`."""

    out: tuple[str, ...]
    modulus: int

    @property
    def reads(self) -> tuple[str, ...]:
        """Nothing but the committed number."""
        return ()


@dataclass(frozen=True)
class Multiply:
    """out = a·b + addend, in Fq or Fq2; without `out`, the sum must be 0, which right hints give."""

    out: tuple[str, ...]
    a: Components
    b: Components
    addend: Components

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of values."""
        return _names((*self.a, *self.b, *self.addend))


@dataclass(frozen=True)
class Combine:
    """out_j = row_j, where coefficients may be any constants of the field."""

    out: tuple[str, ...]
    rows: Components

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of values."""
        return _names(self.rows)


@dataclass(frozen=True)
class Hint:
    """Values that whoever runs the script supplies, as elements in [0, p); what follows must force them.

    `solve` finds them natively. It is a division by `divisor`, and the claim is wrong where all of that is zero.
    """

    out: tuple[str, ...]
    divisor: Components
    reason: str
    solve: Callable[[Mapping[str, int]], Sequence[int]] = field(compare=False)

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of values."""
        return _names(self.divisor)


@dataclass(frozen=True)
class Copy:
    """The same value under another name: it is committed where it is written."""

    out: tuple[str, ...]
    source: str

    @property
    def reads(self) -> tuple[str, ...]:
        """The name of the value."""
        return (self.source,)


@dataclass(frozen=True)
class Require:
    """The claim is wrong unless all of these values are zero; each is a result of `Multiply` or `Combine`."""

    names: tuple[str, ...]
    reason: str
    out: tuple[str, ...] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of values."""
        return self.names


@dataclass(frozen=True)
class Select:
    """out = table[bits `start` to `start` + `width` of `source`], which is a raw number; entries are in [0, p)."""

    out: tuple[str, ...]
    source: str
    start: int
    width: int
    table: tuple[tuple[int, ...], ...] = field(repr=False)

    @property
    def reads(self) -> tuple[str, ...]:
        """The value whose digit it takes."""
        return (self.source,)


Operation: TypeAlias = Raw | Multiply | Combine | Hint | Copy | Require | Select


class Circuit:
    """Operations in order of computation. Names are unique."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self.breaks: dict[int, str] = {}
        self.seams: dict[int, str] = {}
        self._names: set[str] = set()

    def end_chunk(self, label: str) -> None:
        """What follows belongs to another chunk than this part: groups values that later chunks need together."""
        self.breaks[len(self.operations)] = label

    def seam(self, label: str) -> None:
        """The end of a part across which few values go: a good place for a cut."""
        self.seams[len(self.operations)] = label

    def raw(self, name: str, modulus: int) -> Linear:
        """A committed number."""
        return self._add(Raw((name,), modulus))[0]

    def multiply(self, name: str, a: Components, b: Components, addend: Components = ()) -> Components:
        """The value a·b + addend."""
        out = (name,) if len(a) == 1 else (f"{name}.0", f"{name}.1")
        return self._add(Multiply(out, a, b, addend))

    def check_zero(self, a: Components, b: Components, addend: Components) -> None:
        """a·b + addend = 0, which a right hint gives."""
        self._add(Multiply((), a, b, addend))

    def combine(self, names: Sequence[str], rows: Components) -> Components:
        """Sums with constants of the field, reduced."""
        return self._add(Combine(tuple(names), rows))

    def hint(
        self,
        names: Sequence[str],
        divisor: Components,
        reason: str,
        solve: Callable[[Mapping[str, int]], Sequence[int]],
    ) -> Components:
        """Values that are found natively by a division."""
        return self._add(Hint(tuple(names), divisor, reason, solve))

    def copy(self, name: str, source: Linear) -> Linear:
        """The value of a sum of one term under a new name."""
        ((source_name, coefficient),) = source.terms
        if coefficient != 1 or source.constant:
            raise ScriptError(f"copy {name}: a sum, expected a value")
        return self._add(Copy((name,), source_name))[0]

    def require(self, values: Components, reason: str) -> None:
        """Values that must be zero."""
        self._add(Require(_names(values), reason))

    def select(
        self, names: Sequence[str], source: Linear, start: int, width: int, table: Sequence[tuple[int, ...]]
    ) -> Components:
        """The entry of a table of constants at the number that bits `start` to `start + width` of a raw one are.

        Raises ScriptError for a value that is not raw: its limbs may be negative.
        """
        ((name, _),) = source.terms
        if not any(isinstance(operation, Raw) and name in operation.out for operation in self.operations):
            raise ScriptError(f"select: {name!r}, expected a raw number")
        return self._add(Select(tuple(names), name, start, width, tuple(table)))

    def _add(self, operation: Operation) -> Components:
        for index, name in enumerate(operation.out):
            if name in self._names or name in operation.out[:index]:
                raise ScriptError(f"value {name!r}: written twice")
        missing = set(operation.reads) - self._names
        if missing:
            raise ScriptError(f"values {sorted(missing)}: read before they are written")
        self._names.update(operation.out)
        self.operations.append(operation)
        return tuple(Linear(((name, 1),)) for name in operation.out)


@dataclass(frozen=True)
class Trace:
    """Every value by name; the first operation that fails, where one does, and why.

    `stopped` is the operation at which nothing more could be computed: a number out of range, or a division by zero.
    A requirement that fails stops nothing.
    """

    values: Mapping[str, int]
    failed: int | None = None
    reason: str = ""
    stopped: int | None = None


def evaluate(operations: Sequence[Operation], raw: Mapping[str, int]) -> Trace:
    """The native side: what the operations give for these committed numbers."""
    values: dict[str, int] = {}
    failed, why = None, ""
    for index, operation in enumerate(operations):
        try:
            reason = _evaluate(operation, raw, values)
        except ZeroDivisionError:
            if failed is None:
                raise
            return Trace(values, failed, why, index)
        if reason and failed is None:
            failed, why = index, reason
        if reason and not isinstance(operation, Require):
            return Trace(values, failed, why, index)
    return Trace(values, failed, why)


def _evaluate(operation: Operation, raw: Mapping[str, int], values: dict[str, int]) -> str:
    """Adds the operation's results to `values`; a reason where the claim is wrong."""
    results: Sequence[int] = ()
    match operation:
        case Raw((name,), modulus):
            if raw[name] >= modulus:
                return f"{name} is not below the order of its field"
            results = (raw[name],)
        case Multiply(_, a, b, addend):
            results = _product(*([part.evaluate(values) for part in operand] for operand in (a, b, addend)))
            if not operation.out and any(results):
                raise ScriptError("evaluate: a hint is not what its check demands")
        case Combine(_, rows):
            results = [row.evaluate(values) for row in rows]
        case Hint(_, divisor, reason, solve):
            if divisor and not any(part.evaluate(values) for part in divisor):
                return reason
            results = solve(values)
        case Copy(_, source):
            results = (values[source],)
        case Require(names, reason):
            if any(values[name] for name in names):
                return reason
        case Select(_, source, start, width, table):
            results = table[values[source] >> start & (1 << width) - 1]
    values.update(zip(operation.out, results, strict=False))
    return ""


def _product(a: Sequence[int], b: Sequence[int], addend: Sequence[int]) -> list[int]:
    sums = [a[0] * b[0]] if len(a) == 1 else [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
    return [(value + (addend[part] if addend else 0)) % P for part, value in enumerate(sums)]


def _names(sums: Iterable[Linear]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(name for part in sums for name in part.names))
