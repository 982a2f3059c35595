"""Raw values that are no proof: numbers out of range, points off their curve, and what has no meaning in the middle.

`make sweep` tries every raw value.
"""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from bitvm_bridge.program import Checks, Groth16
from bitvm_bridge.program.groth16.circuit import nothing_up_my_sleeve
from bitvm_bridge.program.groth16.native.curve import G2, g1_add, g1_mul, g1_neg, g2_add, g2_is_on_curve, g2_mul
from bitvm_bridge.program.groth16.native.field import (
    FQ2_ZERO,
    FQ6_ONE,
    FQ6_ZERO,
    Fq6,
    P,
    R,
    fq2_neg,
    fq6_add,
    fq6_inverse,
    fq6_mul,
    fq6_mul_v,
    fq6_neg,
    fq6_pow,
    fq6_square,
    fq6_sub,
)
from scripts_tapleaf.winternitz.code import scheme
from tests.groth16.court import CONSTANT, Court
from tests.groth16.native_strategies import twist_point
from tests.groth16.test_native_curve import COFACTOR_PRIMES, ORDER
from tests.groth16.toy import g2

FIRST_HALF, SECOND_HALF = "residue witness, first half", "residue witness"
HOMES = {
    **dict.fromkeys(("A.x", "A.y", "C.x", "C.y"), "points A and C"),
    **dict.fromkeys(("B.x.0", "B.x.1", "B.y.0", "B.y.1"), "point B"),
    **dict.fromkeys(("c.0", "c.1", "c.2"), FIRST_HALF),
    **dict.fromkeys(("c.3", "c.4", "c.5"), SECOND_HALF),
    "input.0": "public inputs",
}
LAST_CODEWORD = scheme(256).codewords - 1
FQ6_ORDER = P**6 - 1
V: Fq6 = (FQ2_ZERO, (1, 0), FQ2_ZERO)


def refused(court: Court, numbers: dict[str, int], chunk: str, reason: str) -> None:
    """Core accepts the leaf of this chunk, for this reason."""
    values = court.claimed(court.replaced(numbers))
    verdict = court.disproved(values)
    assert (court.name(verdict), verdict.reason) == (chunk, reason)


def modulus(name: str) -> int:
    return R if name == "input.0" else P


def too_large(court: Court, name: str, number: int) -> None:
    refused(court, {name: number}, HOMES[name], f"{name} is not below the order of its field")


@pytest.mark.parametrize("name", ["A.x", "C.y", "B.x.0", "B.y.1", "c.0", "c.5", "input.0"])
@pytest.mark.parametrize("number", [None, 1 << 255, (1 << 256) - 1, 1 << 256, LAST_CODEWORD])
def test_numbers_out_of_range_are_disproved(court: Court, name: str, number: int | None) -> None:
    """From 2^256 on, the signature is of no message."""
    too_large(court, name, modulus(name) if number is None else number)


@pytest.mark.parametrize("name", ["A.x", "B.y.0", "c.1", "input.0"])
def test_another_residue_of_an_honest_number_is_disproved(court: Court, name: str) -> None:
    honest = int.from_bytes(court.raw[court.slot(name)], "little")
    too_large(court, name, honest + modulus(name))


@pytest.mark.parametrize("last", [False, True])
def test_the_last_number_in_range_is_not_out_of_range(court: Court, last: bool) -> None:
    """R − 1 is a public input as any other, and no proof of it fails before its end."""
    run = court.program.run(court.replaced({"input.0": R - 1, **({"c.5": P - 1} if last else {})}))
    assert run.reason == "the pairing equation does not hold"
    for chunk in ("public inputs", SECOND_HALF):
        assert not court.accepts(court.index(chunk), run, run.values)


def point(name: str, value: tuple[int, int]) -> dict[str, int]:
    return dict(zip((f"{name}.x", f"{name}.y"), value, strict=True))


def twist(value: G2) -> dict[str, int]:
    names = ("B.x.0", "B.x.1", "B.y.0", "B.y.1")
    return dict(zip(names, (*value[0], *value[1]), strict=True))


@pytest.mark.parametrize("name", ["A", "C"])
def test_points_off_the_curve_are_disproved(court: Court, name: str) -> None:
    x, y = court.proof().a if name == "A" else court.proof().c
    for wrong in ((0, 0), (0, y), (x, 0), (x, (y + 1) % P), (y, x), ((x + 1) % P, y), (1, 3), (P - 1, P - 1)):
        refused(court, point(name, wrong), "points A and C", f"{name} is not on the curve")


def test_two_points_off_the_curve_are_disproved(court: Court) -> None:
    refused(court, point("A", (0, 0)) | point("C", (0, 0)), "points A and C", "A is not on the curve")


def test_points_off_the_twist_are_disproved(court: Court) -> None:
    (x0, x1), (y0, y1) = court.proof().b
    wrong: list[G2] = [
        (FQ2_ZERO, FQ2_ZERO),
        ((x0, x1), FQ2_ZERO),
        (FQ2_ZERO, (y0, y1)),
        ((x1, x0), (y0, y1)),
        ((x0, x1), (y0, (y1 + 1) % P)),
        ((x0, x1), (y0, P - y1)),
        ((1, 0), (2, 0)),
    ]
    for value in wrong:
        refused(court, twist(value), "point B", "B is not on the twist")


def strays() -> list[G2]:
    """A random point of the twist, points of each small order, and one shifted by a point of the subgroup."""
    whole = twist_point(1)
    small = [g2_mul(whole, ORDER // prime) for prime in COFACTOR_PRIMES]
    found = [whole, *small, g2_add(small[0], g2(5))]
    return [stray for stray in found if stray is not None]


@pytest.mark.parametrize("index", range(len(COFACTOR_PRIMES) + 2))
def test_points_of_the_twist_outside_the_subgroup_are_disproved(court: Court, index: int) -> None:
    stray = strays()[index]
    assert g2_is_on_curve(stray)
    refused(court, twist(stray), "frobenius2", "B is not in the subgroup of order r")


def root(value: Fq6) -> dict[str, int]:
    parts = [part for coefficient in value for part in coefficient]
    return {f"c.{index}": part for index, part in enumerate(parts)}


ZERO_DENOMINATOR = "a denominator of the pairing is zero"


def test_a_witness_of_zero_is_disproved(court: Court) -> None:
    refused(court, root(FQ6_ZERO), "residue witness, power 2", ZERO_DENOMINATOR)


def square_root(a: Fq6) -> Fq6 | None:
    """By Tonelli and Shanks: P⁶ − 1 is 2^k times an odd number."""
    if fq6_pow(a, FQ6_ORDER // 2) != FQ6_ONE:
        return None
    odd, twos = FQ6_ORDER, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    stray = next(s for s in map(small, range(2, 99)) if fq6_pow(s, FQ6_ORDER // 2) != FQ6_ONE)
    power, result, rest = fq6_pow(stray, odd), fq6_pow(a, (odd + 1) // 2), fq6_pow(a, odd)
    for height in range(twos - 1, 0, -1):
        if fq6_pow(rest, 1 << height - 1) != FQ6_ONE:
            result, rest = fq6_mul(result, power), fq6_mul(rest, fq6_square(power))
        power = fq6_square(power)
    return result


def small(number: int) -> Fq6:
    return (number, 1), (1, 0), FQ2_ZERO


def element(values: Mapping[str, int], name: str) -> Fq6:
    first, second, third = ((values[f"{name}.{i}.0"], values[f"{name}.{i}.1"]) for i in range(3))
    return first, second, third


def vanishing(values: Mapping[str, int]) -> Fq6 | None:
    """The witness c for which the lines m0 + m1·w of the first step meet k = −m0/m1, where (−c + w)² is k + w."""
    m0 = fq6_add(FQ6_ONE, fq6_mul_v(element(values, "step0.double.inner")))
    k = fq6_neg(fq6_mul(m0, fq6_inverse(element(values, "step0.double.upper"))))
    distance = square_root(fq6_sub(fq6_square(k), V))
    return None if distance is None else fq6_neg(fq6_add(k, distance))


def test_a_witness_that_meets_a_zero_denominator_is_disproved(court: Court) -> None:
    """Half of all public inputs have such a witness."""
    runs = (court.program.run(court.changed(input_0=free)) for free in range(20))
    free, found = next((free, found) for free, run in enumerate(runs) if (found := vanishing(run.trace.values)))
    refused(court, {"input.0": free, **root(found)}, "step0.double", ZERO_DENOMINATOR)


EXCEPTION = "the public inputs meet an exceptional addition"


def test_public_inputs_that_combine_to_infinity_are_disproved(court: Court) -> None:
    first, second, third = court.trapdoor.ic
    free = -(first + CONSTANT * second) * pow(third, -1, R) % R
    assert court.program.key.combine((CONSTANT, free)) is None
    values = court.claimed(court.program.raw(court.proof(free), [free]))
    verdict = court.disproved(values)
    assert (court.name(verdict), verdict.reason) == ("public inputs", EXCEPTION)


@pytest.mark.parametrize("sign", [1, -1])
def test_public_inputs_that_add_a_point_to_itself_or_its_negative_are_disproved(court: Court, sign: int) -> None:
    """A key made for it: the entries of the first two tables are ± each other for the digits 5 and 3."""
    first, second = nothing_up_my_sleeve(0), nothing_up_my_sleeve(7)
    free = 5 + 3 * 128
    gap = g1_add(first, g1_neg(second) if sign == 1 else second)
    base = g1_mul(gap, pow(3 * 128 - 5 if sign == 1 else -free, -1, R))
    assert base is not None
    key = replace(court.program.key, ic=(*court.program.key.ic[:2], base))
    folded = key.fold(court.program.constants)
    program = Groth16(key, folded, court.program.constants, court.plan)
    other = replace(court, program=program, checks=Checks(program, court.checks.keys))
    raw = other.replaced({"input.0": free})
    verdict = other.disproved(other.claimed(raw))
    assert (other.name(verdict), verdict.reason) == ("public inputs", EXCEPTION)
    run = program.run(other.replaced({"input.0": free + 1}))
    assert run.reason == "the pairing equation does not hold"
    assert not other.accepts(verdict.chunk, run, run.values)


def test_malformed_values_behind_the_first_failure_change_nothing(court: Court) -> None:
    refused(court, {"A.x": P, "c.0": P, "input.0": R}, "points A and C", "A.x is not below the order of its field")
    refused(court, {"c.4": 1 << 256, "input.0": R}, SECOND_HALF, "c.4 is not below the order of its field")
    refused(court, {"A.y": 0, "B.x.0": P, "c.0": 0}, "points A and C", "A is not on the curve")
    refused(court, {**twist(twist_point(2)), **root(FQ6_ZERO)}, "residue witness, power 2", ZERO_DENOMINATOR)
    y = fq2_neg(court.proof().b[1])
    refused(court, {"B.y.0": y[1], "B.y.1": y[0]}, "point B", "B is not on the twist")


@pytest.mark.sweep
@pytest.mark.parametrize("name", HOMES)
def test_every_number_out_of_range_is_disproved(court: Court, name: str) -> None:
    own = modulus(name)
    numbers = {own, own + 1, 2 * own, (1 << 256) - 1, 1 << 256, (1 << 256) + 1, LAST_CODEWORD}
    numbers |= {1 << bit for bit in range(254, 257)}
    numbers |= {own + (1 << bit) for bit in range(0, 254, 29)}
    for number in numbers:
        too_large(court, name, number)
