"""The Groth16 verifier over BN254 as one circuit, with the residue witness of "On Proving Pairings" (ePrint 2024/640).

A proof (A, B, C) is valid where f = e'(A, B) · e'(−α, β) · e'(−L, γ) · e'(−C, δ), the product of the Miller loops, is
c^λ times an element of Fq6, for the c that the operator commits to. Elements of Fq12 count modulo Fq6* here, which the
final exponentiation kills: g + h·w is kept as k = g/h, standing for k + w. In that form

    a square        (g + w)²        is k with g·(2k − g) = v,
    a product       (g + w)(c + w)  is k with (k − c)·(g + c) = v − c²,
    a product       (k + w)(m0 + m1·w) is k' with k'·(m0 + k·m1) = k·m0 + v·m1,
    an inverse      of k + w        is −k + w,

so that a division is a hinted k and one product that forces it. The denominators vanish for no valid proof; a claim
where one does is wrong, and has its own way through the leaf.

The lines through γ and δ are constants of the key, and those through B are computed. The three lines of a step become
one element m0 + m1·w before it is applied. B is in its subgroup exactly where the last T is −ψ³(B).
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from bitvm_bridge.program.groth16.native import field as fq
from bitvm_bridge.program.groth16.native.curve import G1, LOOP, g1_add, g1_mul, g1_neg
from bitvm_bridge.program.groth16.native.field import FROBENIUS, P, R
from bitvm_bridge.program.groth16.native.pairing import LOOP_DIGITS, Line, lines, miller_loop
from bitvm_bridge.program.groth16.native.residue import torus
from bitvm_bridge.program.groth16.native.verifier import VerifyingKey
from scripts_tapleaf.bn254.circuit import Circuit, Components, Linear
from scripts_tapleaf.bn254.constants import LIMB_BITS, LIMBS

Pair: TypeAlias = tuple[Linear, Linear]
"""An element of Fq2."""
Triple: TypeAlias = tuple[Pair, Pair, Pair]
"""An element of Fq6."""
Values: TypeAlias = Mapping[str, int]

Line2: TypeAlias = tuple[Pair, Pair]
"""a0 + a1·v"""

NIL: Final[Pair] = (Linear(), Linear())
ZERO6: Final[Triple] = (NIL, NIL, NIL)
ONE: Final[Triple] = ((Linear(constant=1), Linear()), NIL, NIL)
V: Final[Triple] = (NIL, (Linear(constant=1), Linear()), NIL)
WINDOWS: Final = ((0, 7), (7, 7), (14, 8))
"""(first bit, bits) of the digits in each limb of 22 bits of a public input."""
ROOT_WINDOW: Final = 4


def root_digits() -> tuple[int, ...]:
    """Of 6x+2, the highest first, as long as LOOP_DIGITS: 1, and then digits 0 or odd in the window; few are not 0.

    The powers of c need not follow the walk of B, whose digits are 0 and ±1.
    """
    rest, digits = LOOP - (1 << len(LOOP_DIGITS) - 1), []
    for _ in LOOP_DIGITS[1:]:
        half = 1 << ROOT_WINDOW - 1
        digit = (rest + half) % (2 * half) - half if rest % 2 else 0
        digits.append(digit)
        rest = (rest - digit) // 2
    return (1, *reversed(digits))


ROOT_DIGITS: Final = root_digits()


def proof_names() -> tuple[str, ...]:
    """The numbers of a proof that are committed as they are, the residue witness last."""
    points = ("A.x", "A.y", "C.x", "C.y", "B.x.0", "B.x.1", "B.y.0", "B.y.1")
    return (*points, *(f"c.{index}" for index in range(6)))


def input_name(index: int) -> str:
    """Of a public input."""
    return f"input.{index}"


def verifier(key: VerifyingKey) -> Circuit:
    """The circuit of a key; public inputs that are constants are folded into it."""
    circuit = Circuit()
    a, c_point = _g1_points(circuit)
    b = _move(circuit, a, _g2_point(circuit))
    root, powers = _roots(circuit)
    combined = _combined_input(circuit, key)
    fixed = _prepare(circuit, a, combined, c_point)
    loop = _Loop(circuit, fixed, b, root, powers)
    loop.run(lines(key.gamma), lines(key.delta))
    loop.finish(key)
    return circuit


def pair(names: Components) -> Pair:
    """Two components as an element of Fq2."""
    real, imaginary = names
    return real, imaginary


def add(a: Pair, b: Pair) -> Pair:
    """a + b"""
    return a[0] + b[0], a[1] + b[1]


def sub(a: Pair, b: Pair) -> Pair:
    """a − b"""
    return a[0] - b[0], a[1] - b[1]


def neg(a: Pair) -> Pair:
    """−a"""
    return -a[0], -a[1]


def scale(a: Pair, factor: int) -> Pair:
    """A multiple by a whole number."""
    return a[0] * factor, a[1] * factor


def times(a: Pair, constant: fq.Fq2) -> Pair:
    """A multiple by a constant of Fq2."""
    return a[0] * constant[0] - a[1] * constant[1], a[0] * constant[1] + a[1] * constant[0]


def times_xi(a: Pair) -> Pair:
    """(9 + u)·a"""
    return a[0] * 9 - a[1], a[1] * 9 + a[0]


def add6(a: Triple, b: Triple) -> Triple:
    """a + b"""
    return add(a[0], b[0]), add(a[1], b[1]), add(a[2], b[2])


def neg6(a: Triple) -> Triple:
    """−a"""
    return neg(a[0]), neg(a[1]), neg(a[2])


def sub6(a: Triple, b: Triple) -> Triple:
    """a − b"""
    return add6(a, neg6(b))


def times_v(a: Triple) -> Triple:
    """v·a"""
    return times_xi(a[2]), a[0], a[1]


def constant6(value: fq.Fq6) -> Triple:
    """An element of Fq6 that is known."""
    real = [(Linear(constant=part[0]), Linear(constant=part[1])) for part in value]
    return real[0], real[1], real[2]


def triple(names: Sequence[Linear]) -> Triple:
    """Six components as an element of Fq6."""
    return (names[0], names[1]), (names[2], names[3]), (names[4], names[5])


def flat(a: Triple) -> Components:
    """The six components."""
    return tuple(part for coefficient in a for part in coefficient)


def value6(values: Values, a: Triple) -> fq.Fq6:
    """What an element of Fq6 is natively."""
    parts = [part.evaluate(values) for part in flat(a)]
    return (parts[0], parts[1]), (parts[2], parts[3]), (parts[4], parts[5])


def divide6(numerator: fq.Fq6, denominator: fq.Fq6) -> list[int]:
    """The components of a quotient in Fq6."""
    return [part for coefficient in fq.fq6_mul(numerator, fq.fq6_inverse(denominator)) for part in coefficient]


class Product(NamedTuple):
    """A factor of a product in Fq6, what is added, and the name of the result."""

    name: str
    b: Triple
    addend: Triple = ZERO6


def _sums(a: Triple) -> Triple:
    """What Karatsuba's method multiplies for each coefficient of a product."""
    return add(a[1], a[2]), add(a[0], a[1]), add(a[0], a[2])


def _rests(v: Sequence[Pair], addend: Triple) -> Triple:
    """What it adds to these products: `v` has those of parts with the same index; ξ times the first one is due."""
    return (
        add(sub(v[0], times_xi(add(v[1], v[2]))), addend[0]),
        add(sub(times_xi(v[2]), add(v[0], v[1])), addend[1]),
        add(sub(v[1], add(v[0], v[2])), addend[2]),
    )


def _factors(index: int, left: Pair, product: Product, v: Sequence[Pair]) -> tuple[Pair, Pair, Pair]:
    """Factors and addend that give a coefficient; ξ goes to the factor that other products do not share."""
    right = _sums(product.b)[index]
    return left, times_xi(right) if index == 0 else right, _rests(v, product.addend)[index]


class Fq6Maker:
    """Products in Fq6, by Karatsuba's method: six products in Fq2 for a dense one."""

    def __init__(self, circuit: Circuit) -> None:
        self.circuit = circuit

    def multiply(self, name: str, a: Triple, b: Triple, addend: Triple = ZERO6) -> Triple:
        """a·b + addend"""
        (result,) = self.multiply_each(a, (Product(name, b, addend),))
        return result

    def multiply_each(self, a: Triple, products: Sequence[Product]) -> list[Triple]:
        """a·b + addend for each; products of the same part of a follow each other, because they share its digits."""
        lower = self._lower(a, products)
        results: list[list[Pair]] = [[] for _ in products]
        for i, left in enumerate(_sums(a)):
            for product, v, result in zip(products, lower, results, strict=True):
                result.append(pair(self.circuit.multiply(f"{product.name}.{i}", *_factors(i, left, product, v))))
        return [(first, second, third) for first, second, third in results]

    def check_zero(self, name: str, a: Triple, b: Triple, addend: Triple) -> None:
        """a·b + addend = 0"""
        product = Product(name, b, addend)
        (v,) = self._lower(a, (product,))
        for i, left in enumerate(_sums(a)):
            self.circuit.check_zero(*_factors(i, left, product, v))

    def _lower(self, a: Triple, products: Sequence[Product]) -> list[list[Pair]]:
        """Products of parts with the same index."""
        lower: list[list[Pair]] = [[] for _ in products]
        for i in range(3):
            for product, v in zip(products, lower, strict=True):
                v.append(pair(self.circuit.multiply(f"{product.name}.v{i}", a[i], product.b[i])))
        return lower

    def multiply_line(self, name: str, a: Line2, trace: Line2, norm: Triple) -> tuple[Triple, Triple]:
        """(a0 + a1·v)·trace + norm, and v·(a0 + a1·v)·norm + trace + a0 + a1·v, in three and in five products.

        Three products have a1 in common, three a0, and two their sum.
        """
        multiply = self.circuit.multiply
        both = add(a[0], a[1])
        inner2 = pair(multiply(f"{name}.inner.2", a[1], trace[1], norm[2]))
        v12 = pair(multiply(f"{name}.v12", a[1], norm[2]))
        v11 = pair(multiply(f"{name}.v11", a[1], norm[1]))
        inner0 = pair(multiply(f"{name}.inner.0", a[0], trace[0], norm[0]))
        sums = add(trace[0], a[0]), add(trace[1], a[1])
        upper1 = pair(multiply(f"{name}.upper.1", a[0], norm[0], add(times_xi(v12), sums[1])))
        upper0 = pair(multiply(f"{name}.upper.0", a[0], times_xi(norm[2]), add(times_xi(v11), sums[0])))
        # what is left of the two products of parts with the same index
        rest = sub(norm[1], sub(add(inner0, inner2), add(norm[0], norm[2])))
        inner1 = pair(multiply(f"{name}.inner.1", both, add(trace[0], trace[1]), rest))
        rest = neg(add(sub(sub(upper1, times_xi(v12)), sums[1]), v11))
        upper2 = pair(multiply(f"{name}.upper.2", both, add(norm[0], norm[1]), rest))
        return (inner0, inner1, inner2), (upper0, upper1, upper2)

    def _hint(self, name: str, denominator: Triple, solve: Callable[[Values], Sequence[int]]) -> Triple:
        """A hinted quotient, which the caller must force."""
        names = [f"{name}.k{index}" for index in range(6)]
        return triple(self.circuit.hint(names, flat(denominator), "a denominator of the pairing is zero", solve))

    def torus_square(self, name: str, g: Triple) -> Triple:
        """k with (g + w)² = k + w up to a factor in Fq6."""

        def solve(values: Values) -> list[int]:
            native = value6(values, g)
            numerator = fq.fq6_add(fq.fq6_square(native), ((0, 0), (1, 0), (0, 0)))
            return divide6(numerator, fq.fq6_add(native, native))

        k = self._hint(name, g, solve)
        self.check_zero(name, g, sub6(add6(k, k), g), neg6(V))
        return k

    def divide(self, name: str, numerator: Triple, denominator: Triple) -> Triple:
        """numerator / denominator"""

        def solve(values: Values) -> list[int]:
            return divide6(value6(values, numerator), value6(values, denominator))

        quotient = self._hint(name, denominator, solve)
        self.check_zero(name, quotient, denominator, neg6(numerator))
        return quotient

    def torus_product(self, name: str, g: Triple, factor: Triple, square: Triple) -> Triple:
        """k with (g + w)(factor + w) = k + w up to a factor in Fq6; `square` is factor²."""
        denominator = add6(g, factor)

        def solve(values: Values) -> list[int]:
            product = fq.fq6_mul(value6(values, g), value6(values, factor))
            return divide6(fq.fq6_add(product, ((0, 0), (1, 0), (0, 0))), value6(values, denominator))

        k = self._hint(name, denominator, solve)
        self.check_zero(name, sub6(k, factor), denominator, sub6(square, V))
        return k


class Fixed(NamedTuple):
    """What the lines take: y²/x³ of A, x/y and 1/y of −L and −C, and three products of these; four blocks to hash."""

    ratio: Linear
    s_l: Linear
    t_l: Linear
    s_c: Linear
    t_c: Linear
    ss: Linear
    st: Linear
    tt: Linear


def _on_curve(circuit: Circuit, name: str, x: Linear, y: Linear) -> None:
    square = circuit.multiply(f"{name}.xx", (x,), (x,))
    right = circuit.multiply(f"{name}.xxx", square, (x,), (Linear(constant=3),))
    circuit.require(circuit.multiply(f"{name}.off", (y,), (y,), (-right[0],)), f"{name} is not on the curve")


def _g1_points(circuit: Circuit) -> tuple[tuple[Linear, Linear], tuple[Linear, Linear]]:
    points = []
    for name in ("A", "C"):
        x, y = circuit.raw(f"{name}.x", P), circuit.raw(f"{name}.y", P)
        _on_curve(circuit, name, x, y)
        points.append((x, y))
    circuit.end_chunk("points A and C")
    return points[0], points[1]


def _g2_point(circuit: Circuit) -> tuple[Pair, Pair]:
    x = pair(tuple(circuit.raw(f"B.x.{part}", P) for part in range(2)))
    y = pair(tuple(circuit.raw(f"B.y.{part}", P) for part in range(2)))
    b = fq.fq2_mul((3, 0), fq.fq2_inverse(fq.XI))
    square = pair(circuit.multiply("B.xx", x, x))
    right = pair(circuit.multiply("B.xxx", square, x, (Linear(constant=b[0]), Linear(constant=b[1]))))
    circuit.require(circuit.multiply("B.off", y, y, neg(right)), "B is not on the twist")
    circuit.end_chunk("point B")
    return x, y


def _roots(circuit: Circuit) -> tuple[Triple, dict[int, tuple[Triple, Triple]]]:
    """c, and the powers that the walk takes, each with its square as an element of Fq6; it begins at the second power.

    Three numbers of c are read in a chunk of their own, since one leaf cannot read six.
    """
    early = [circuit.raw(f"c.{index}", P) for index in range(3)]
    circuit.end_chunk("residue witness, first half")
    late = [circuit.raw(f"c.{index}", P) for index in range(3, 6)]
    root = triple([*(circuit.copy(f"root.{index}", part) for index, part in enumerate(early)), *late])
    circuit.end_chunk("residue witness")
    fq6 = Fq6Maker(circuit)
    double = fq6.torus_square("root2", root)
    circuit.end_chunk("residue witness, power 2")
    double_square = fq6.multiply("root2.square", double, double)
    circuit.end_chunk("square of the residue witness, power 2")
    powers = {2: (double, double_square)}
    power = root
    for exponent in range(3, max(map(abs, ROOT_DIGITS)) + 1, 2):
        power = fq6.torus_product(f"root{exponent}", power, double, double_square)
        circuit.end_chunk(f"residue witness, power {exponent}")
        powers[exponent] = power, fq6.multiply(f"root{exponent}.square", power, power)
        circuit.end_chunk(f"square of the residue witness, power {exponent}")
    return root, powers


def nothing_up_my_sleeve(index: int) -> G1:
    """A point of which nobody knows a multiple of any other: the first x from a hash that is on the curve."""
    counter = 0
    while True:
        digest = hashlib.sha256(f"bitvm-bridge/groth16/offset/{index}/{counter}".encode()).digest()
        x = int.from_bytes(digest, "big") % P
        y = fq.fq_sqrt((x**3 + 3) % P)
        if y is not None:
            return x, min(y, P - y)
        counter += 1


def _combined_input(circuit: Circuit, key: VerifyingKey) -> tuple[Linear, Linear]:
    """L = IC_0 + Σ input_i · IC_i, from tables of multiples; every table is moved by a point of its own, so that no
    entry is infinity, and the last addition takes those points away again.
    """
    total: tuple[Linear, Linear] | None = None
    moved: G1 | None = None
    for index in range(key.input_count):
        scalar = circuit.raw(input_name(index), R)
        for limb in range(LIMBS):
            for start, width in WINDOWS:
                bit = LIMB_BITS * limb + start
                if bit >= R.bit_length():
                    continue
                name = f"L.{index}.{bit}"
                offset = nothing_up_my_sleeve(256 * index + bit)
                moved = offset if moved is None else g1_add(moved, offset)
                table = _multiples(key.ic[index + 1], bit, width, offset)
                entry = circuit.select((f"{name}.table.x", f"{name}.table.y"), scalar, bit, width, table)
                point = (entry[0], entry[1])
                total = point if total is None else _add_points(circuit, name, total, point)
    first = key.ic[0]
    if total is None or moved is None:
        return Linear(constant=first[0]), Linear(constant=first[1])
    last = g1_add(first, g1_neg(moved))
    if last is None:
        raise ValueError("an offset that is IC_0")
    result = _add_points(circuit, "L", total, (Linear(constant=last[0]), Linear(constant=last[1])))
    circuit.end_chunk("public inputs")
    return result


def _multiples(base: G1, bit: int, width: int, offset: G1) -> list[G1]:
    """offset + digit·2^bit·base for every digit."""
    step = g1_mul(base, 1 << bit)
    table: list[G1] = [offset]
    while len(table) < 1 << width:
        point = g1_add(table[-1], step)
        if point is None:
            raise ValueError("a table entry at infinity")
        table.append(point)
    return table


def _add_points(
    circuit: Circuit, name: str, a: tuple[Linear, Linear], b: tuple[Linear, Linear]
) -> tuple[Linear, Linear]:
    across, up = b[0] - a[0], b[1] - a[1]

    def solve(values: Values) -> list[int]:
        return [up.evaluate(values) * fq.fq_inverse(across.evaluate(values)) % P]

    (slope,) = circuit.hint((f"{name}.slope",), (across,), "the public inputs meet an exceptional addition", solve)
    circuit.check_zero((slope,), (across,), (-up,))
    (x,) = circuit.multiply(f"{name}.x", (slope,), (slope,), (-a[0] - b[0],))
    (y,) = circuit.multiply(f"{name}.y", (slope,), (a[0] - x,), (-a[1],))
    return x, y


def _invert(circuit: Circuit, name: str, value: Linear, reason: str = "") -> Linear:
    """1/value. Without a reason, the value is never zero."""

    def solve(values: Values) -> list[int]:
        return [fq.fq_inverse(value.evaluate(values))]

    (inverse,) = circuit.hint((name,), (value,) if reason else (), reason, solve)
    circuit.check_zero((inverse,), (value,), (Linear(constant=-1),))
    return inverse


def _move(circuit: Circuit, a: tuple[Linear, Linear], b: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
    """B on the twist y² = x³ + b'·μ⁶ with μ = x/y of A, where lines need one product with A less.

    Slopes are μ times and intercepts μ³ times as large there, so that y − slope·x·w + nu·w³, divided by y, becomes
    1 − slope·w + ratio·nu·w³ with ratio = y²/x³. No point of G1 has y = 0, as its order is odd.
    """
    scale = circuit.multiply("A.scale", (a[0],), (_invert(circuit, "A.t", a[1]),))
    square = circuit.multiply("A.scale.square", scale, scale)
    cube = circuit.multiply("A.scale.cube", square, scale)
    x = [circuit.multiply(f"B.moved.x.{part}", square, (b[0][part],))[0] for part in range(2)]
    y = [circuit.multiply(f"B.moved.y.{part}", cube, (b[1][part],))[0] for part in range(2)]
    circuit.end_chunk("point B, moved")
    return (x[0], x[1]), (y[0], y[1])


def _prepare(
    circuit: Circuit, a: tuple[Linear, Linear], combined: tuple[Linear, Linear], c: tuple[Linear, Linear]
) -> Fixed:
    """A public input at which L is infinite fails before, in the last addition."""
    up = _invert(circuit, "A.up", a[0], "A has x = 0")
    slope = circuit.multiply("A.slope", (a[1],), (up,))
    (ratio,) = circuit.multiply("A.ratio", circuit.multiply("A.slope.square", slope, slope), (up,))
    ratios: list[Linear] = []
    for name, (x, y) in (("L", combined), ("C", c)):
        inverse = _invert(circuit, f"{name}.t", -y)
        ratios += [*circuit.multiply(f"{name}.s", (x,), (inverse,)), inverse]
    s_l, t_l, s_c, t_c = ratios
    products = [
        circuit.multiply(f"LC.{name}", (first,), (second,))[0]
        for name, first, second in (("ss", s_l, s_c), ("st", s_l, t_c), ("tt", t_l, t_c))
    ]
    circuit.end_chunk("preparation")
    return Fixed(ratio, *ratios, *products)


class _Loop:
    """The Miller loop of all pairs, and what is multiplied in between."""

    def __init__(
        self,
        circuit: Circuit,
        fixed: Fixed,
        b: tuple[Pair, Pair],
        root: Triple,
        powers: Mapping[int, tuple[Triple, Triple]],
    ) -> None:
        self.circuit, self.fixed, self.b, self.root, self.powers = circuit, fixed, b, root, powers
        self.fq6 = Fq6Maker(circuit)
        self.point = b
        self.f = neg6(powers[2][0])

    def run(self, gamma: Sequence[Line], delta: Sequence[Line]) -> None:
        """f · c^−(6x+2): a digit doubles, one of LOOP_DIGITS adds ±B, one of ROOT_DIGITS multiplies by a power of c."""
        self._fixed_lines = iter(zip(gamma, delta, strict=True))
        digits = zip(LOOP_DIGITS[1:], ROOT_DIGITS[1:], strict=True)
        for index, (digit, exponent) in enumerate(digits):
            name = f"step{index}"
            tangent = self._tangent(f"{name}.tangent")
            if index:
                self.f = self.fq6.torus_square(f"{name}.square", self.f)
            self._apply(f"{name}.double", tangent)
            if digit:
                x, y = self.b
                self._apply(f"{name}.add", self._chord(f"{name}.chord", (x, y if digit > 0 else neg(y))))
            if exponent:
                root, square = self.powers[abs(exponent)]
                factor = neg6(root) if exponent > 0 else root
                self.f = self.fq6.torus_product(f"{name}.root", self.f, factor, square)
                self._copy_point(name)
                self.circuit.seam(f"{name}.root")
        for power in (1, 2):
            x, y = self._psi(f"psi{power}", power)
            self._apply(f"psi{power}.add", self._chord(f"psi{power}.chord", (x, y if power == 1 else neg(y))))

    def finish(self, key: VerifyingKey) -> None:
        """B's subgroup; the last powers of c; and the constant pairing, whose product with f must be in Fq6."""
        circuit = self.circuit
        end = self._psi("psi3", 3)
        difference = [*sub(self.point[0], end[0]), *add(self.point[1], end[1])]
        off = circuit.combine([f"subgroup.{index}" for index in range(4)], tuple(difference))
        circuit.require(off, "B is not in the subgroup of order r")
        for power in (1, 2, 3):
            name = f"frobenius{power}"
            factor = self._frobenius(name, power)
            square = self.fq6.multiply(f"{name}.square", factor, factor)
            signed = factor if power == 2 else neg6(factor)
            self.f = self.fq6.torus_product(f"{name}.root", self.f, signed, square)
            circuit.seam(name)
        known = torus(miller_loop([(g1_neg(key.alpha), key.beta)]))
        if known is None:
            raise ValueError("the pairing of alpha and beta is one")
        total = add6(self.f, constant6(known))
        rest = circuit.combine([f"pairing.{index}" for index in range(6)], flat(total))
        circuit.require(rest, "the pairing equation does not hold")
        circuit.end_chunk("pairing equation")

    def _copy_point(self, name: str) -> None:
        """T is committed again beside the new f, so that the next leaf opens one digest and not two."""
        parts = [part for coordinate in self.point for part in coordinate]
        copies = [self.circuit.copy(f"{name}.T{index}", part) for index, part in enumerate(parts)]
        self.point = (copies[0], copies[1]), (copies[2], copies[3])

    def _apply(self, name: str, line: Line2) -> None:
        """f times the lines through T, −L and −C, m0 + m1·w with m0 = 1 + v·inner."""
        inner, m1 = self._lines(name, line, next(self._fixed_lines))
        k = self.f
        below = Product(f"{name}.denominator", m1, add6(ONE, times_v(inner)))
        above = Product(f"{name}.numerator", inner, add6(m1, (k[1], k[2], NIL)))
        denominator, shifted = self.fq6.multiply_each(k, (below, above))
        # k + v·(k·inner + m1), where two parts of k are in already
        numerator = add(k[0], times_xi(shifted[2])), shifted[0], shifted[1]
        self.f = self.fq6.divide(name, numerator, denominator)
        self.circuit.seam(name)

    def _lines(self, name: str, line: tuple[Pair, Pair], fixed: tuple[Line, Line]) -> tuple[Triple, Triple]:
        """(1 + β1·w)(1 + β2·w)(1 + β3·w), β1 computed, the others constants times ratios of L and C."""
        norm, trace = self._constant_lines(name, fixed)
        return self.fq6.multiply_line(name, line, trace, norm)

    def _constant_lines(self, name: str, fixed: tuple[Line, Line]) -> tuple[Triple, tuple[Pair, Pair]]:
        """β2·β3 and β2 + β3, with β = −slope·s + nu·t·v."""
        f, (gamma, delta) = self.fixed, fixed

        def real(value: Linear) -> Pair:
            return value, Linear()

        (ts,) = self.circuit.multiply(f"{name}.ts", (f.t_l,), (f.s_c,))
        mixed = add(
            times(real(f.st), fq.fq2_mul(gamma.slope, delta.nu)), times(real(ts), fq.fq2_mul(gamma.nu, delta.slope))
        )
        rows: list[Pair] = [
            times(real(f.ss), fq.fq2_mul(gamma.slope, delta.slope)),
            neg(mixed),
            times(real(f.tt), fq.fq2_mul(gamma.nu, delta.nu)),
            neg(add(times(real(f.s_l), gamma.slope), times(real(f.s_c), delta.slope))),
            add(times(real(f.t_l), gamma.nu), times(real(f.t_c), delta.nu)),
        ]
        out = self.circuit.combine(
            [f"{name}.fixed.{index}" for index in range(10)], tuple(part for row in rows for part in row)
        )
        pairs = [(out[index], out[index + 1]) for index in range(0, 10, 2)]
        return (pairs[0], pairs[1], pairs[2]), (pairs[3], pairs[4])

    def _tangent(self, name: str) -> tuple[Pair, Pair]:
        circuit, (x, y) = self.circuit, self.point
        square = pair(circuit.multiply(f"{name}.xx", x, x))
        slope = self._slope(name, scale(square, 3), scale(y, 2))
        return self._next(name, slope, x)

    def _chord(self, name: str, other: tuple[Pair, Pair]) -> tuple[Pair, Pair]:
        x, y = self.point
        slope = self._slope(name, sub(other[1], y), sub(other[0], x))
        return self._next(name, slope, other[0])

    def _slope(self, name: str, numerator: Pair, denominator: Pair) -> Pair:
        """On the twist no step meets a zero denominator (`pairing.steps`), so that the slope is forced."""

        def solve(values: Values) -> Sequence[int]:
            above = (numerator[0].evaluate(values), numerator[1].evaluate(values))
            below = (denominator[0].evaluate(values), denominator[1].evaluate(values))
            return fq.fq2_mul(above, fq.fq2_inverse(below))

        slope = pair(self.circuit.hint((f"{name}.slope.0", f"{name}.slope.1"), (), "", solve))
        self.circuit.check_zero(slope, denominator, neg(numerator))
        return slope

    def _next(self, name: str, slope: Pair, other_x: Pair) -> tuple[Pair, Pair]:
        """T becomes the third point's mirror image; the line's β = −slope + nu·ratio·v at A is returned."""
        circuit, (x, y) = self.circuit, self.point
        nu = pair(circuit.multiply(f"{name}.nu", slope, x, neg(y)))
        third = pair(circuit.multiply(f"{name}.x", slope, slope, neg(add(x, other_x))))
        self.point = third, pair(circuit.multiply(f"{name}.y", slope, neg(third), nu))
        lower = [circuit.multiply(f"{name}.beta.{i}", (self.fixed.ratio,), (nu[i],))[0] for i in range(2)]
        return neg(slope), (lower[0], lower[1])

    def _psi(self, name: str, power: int) -> tuple[Pair, Pair]:
        """ψ^power(B): the Frobenius of the untwisted point."""
        rows = []
        for coordinate, exponent in zip(self.b, (2, 3), strict=True):
            conjugate = (coordinate[0], coordinate[1] * (-1) ** power)
            rows.append(times(conjugate, FROBENIUS[power][exponent]))
        out = self.circuit.combine([f"{name}.{i}" for i in range(4)], (*rows[0], *rows[1]))
        return (out[0], out[1]), (out[2], out[3])

    def _frobenius(self, name: str, power: int) -> Triple:
        """c^(q^power), as k + w."""
        rows: list[Linear] = []
        below = fq.fq2_inverse(FROBENIUS[power][1])
        for index, coefficient in enumerate(self.root):
            conjugate = (coefficient[0], coefficient[1] * (-1) ** power)
            rows += times(conjugate, fq.fq2_mul(FROBENIUS[power][2 * index], below))
        return triple(self.circuit.combine([f"{name}.{i}" for i in range(6)], tuple(rows)))
