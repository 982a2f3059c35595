"""The native side of circuits: what operations give, and what a failure stops."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts_tapleaf.bn254.circuit import Circuit, Linear, Trace, evaluate
from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.script import ScriptError

elements = st.sampled_from([0, 1, P - 1]) | st.integers(0, P - 1)
factors = st.integers(-9, 9)


def value(name: str) -> Linear:
    return Linear(((name, 1),))


@given(x=elements, y=elements, a=factors, b=factors, constant=st.integers(-P, P))
def test_sums_are_those_of_the_integers_modulo_p(x: int, y: int, a: int, b: int, constant: int) -> None:
    values = {"x": x, "y": y}
    total = value("x") * a - value("y") * b + Linear(constant=constant)
    assert total.evaluate(values) == (a * x - b * y + constant) % P
    assert (total - total) == Linear()
    assert (total * 0) == Linear()
    assert (-total).evaluate(values) == -total.evaluate(values) % P
    assert set(total.names) == {name for name, factor in (("x", a), ("y", b)) if factor}


@given(x=elements, y=elements, z=elements)
def test_products_are_those_of_the_field(x: int, y: int, z: int) -> None:
    circuit = Circuit()
    a, b, c = (circuit.raw(name, P) for name in "abc")
    circuit.multiply("plain", (a,), (b,), (c,))
    circuit.multiply("pair", (a, b), (b, c), (c, a))
    circuit.combine(("sum", "other"), (a * P + b * 3, c * (P - 1) + Linear(constant=5)))
    values = evaluate(circuit.operations, {"a": x, "b": y, "c": z}).values
    assert values["plain"] == (x * y + z) % P
    assert (values["pair.0"], values["pair.1"]) == ((x * y - y * z + z) % P, (x * z + y * y + x) % P)
    assert (values["sum"], values["other"]) == (3 * y % P, (5 - z) % P)


@pytest.mark.parametrize("digit", [0, 1, 5, 7])
def test_a_digit_selects_its_entry(digit: int) -> None:
    circuit = Circuit()
    scalar = circuit.raw("scalar", P)
    circuit.select(("u", "v"), scalar, 9, 3, [(10 * entry, entry) for entry in range(8)])
    values = evaluate(circuit.operations, {"scalar": 0x1FF + (digit << 9) + (1 << 12)}).values
    assert (values["u"], values["v"]) == (10 * digit, digit)


def quotient(circuit: Circuit, name: str, above: Linear, below: Linear, *, has_way: bool = True) -> Linear:
    (result,) = circuit.hint(
        (name,),
        (below,) if has_way else (),
        f"{name} divides by zero",
        lambda values: [
            above.evaluate(values) * pow(below.evaluate(values), -1, P) % P if below.evaluate(values) else 1 // 0
        ],
    )
    circuit.check_zero((result,), (below,), (-above,))
    return result


def judged(x: int, y: int) -> Trace:
    """x raw, y raw, x − y = 0 required, x/y and (x/y)/(x − 3), 2 ≠ x required by a product that must be zero."""
    circuit = Circuit()
    a, b = circuit.raw("x", P), circuit.raw("y", 10)
    circuit.require(circuit.combine(("off",), (a - b,)), "x is not y")
    first = quotient(circuit, "first", a, b)
    quotient(circuit, "second", first, a - Linear(constant=3))
    circuit.require(circuit.multiply("rest", (a - Linear(constant=2),), (first,)), "x is not two")
    return evaluate(circuit.operations, {"x": x, "y": y})


def test_what_holds_has_no_failure() -> None:
    trace = judged(2, 2)
    assert (trace.failed, trace.reason, trace.stopped) == (None, "", None)
    assert trace.values["first"] == 1


@pytest.mark.parametrize(
    ("x", "y", "failed", "stopped", "reason"),
    [
        (P, 2, 0, 0, "x is not below the order of its field"),
        (2, 10, 1, 1, "y is not below the order of its field"),
        (2, 1, 3, None, "x is not y"),
        (4, 4, 9, None, "x is not two"),
        (3, 3, 6, 6, "second divides by zero"),
        (0, 0, 4, 4, "first divides by zero"),
        (2, 0, 3, 4, "x is not y"),
    ],
)
def test_the_first_failure_counts_and_a_requirement_stops_nothing(
    x: int, y: int, failed: int, stopped: int | None, reason: str
) -> None:
    trace = judged(x, y)
    assert (trace.failed, trace.stopped, trace.reason) == (failed, stopped, reason)
    assert ("rest" in trace.values) == (stopped is None)


def test_a_division_without_a_way_may_fail_only_behind_a_failure() -> None:
    circuit = Circuit()
    x = circuit.raw("x", P)
    circuit.require(circuit.combine(("off",), (x - Linear(constant=1),)), "x is not one")
    quotient(circuit, "inverse", Linear(constant=1), x, has_way=False)
    assert evaluate(circuit.operations, {"x": 1}).failed is None
    trace = evaluate(circuit.operations, {"x": 0})
    assert (trace.failed, trace.stopped, trace.reason) == (2, 3, "x is not one")
    with pytest.raises(ZeroDivisionError):
        evaluate([circuit.operations[0], *circuit.operations[3:]], {"x": 0})


def test_a_solution_that_solves_nothing_is_seen() -> None:
    circuit = Circuit()
    x = circuit.raw("x", P)
    (half,) = circuit.hint(("half",), (), "", lambda values: [values["x"]])
    circuit.check_zero((half,), (Linear(constant=2),), (-x,))
    assert evaluate(circuit.operations, {"x": 0}).failed is None
    with pytest.raises(ScriptError, match="not what its check demands"):
        evaluate(circuit.operations, {"x": 1})


def test_names_are_written_once_and_before_they_are_read() -> None:
    circuit = Circuit()
    x = circuit.raw("x", P)
    with pytest.raises(ScriptError, match="'x': written twice"):
        circuit.raw("x", P)
    with pytest.raises(ScriptError, match="written twice"):
        circuit.combine(("y", "x"), (x, x))
    with pytest.raises(ScriptError, match="'twice': written twice"):
        circuit.combine(("twice", "twice"), (x, x))
    with pytest.raises(ScriptError, match=r"\['z'\]: read before they are written"):
        circuit.multiply("product", (x,), (value("z"),))


def test_digits_are_those_of_raw_numbers() -> None:
    circuit = Circuit()
    x = circuit.raw("x", P)
    (square,) = circuit.multiply("square", (x,), (x,))
    with pytest.raises(ScriptError, match="select: 'square', expected a raw number"):
        circuit.select(("u",), square, 0, 1, [(0,), (1,)])


@pytest.mark.parametrize("factor", [2, -1])
def test_only_a_value_is_copied(factor: int) -> None:
    circuit = Circuit()
    x = circuit.raw("x", P)
    assert circuit.copy("same", x) == value("same")
    with pytest.raises(ScriptError, match="a sum, expected a value"):
        circuit.copy("multiple", x * factor)
    with pytest.raises(ScriptError, match="a sum, expected a value"):
        circuit.copy("moved", x + Linear(constant=1))


def test_marks_lie_between_operations() -> None:
    circuit = Circuit()
    x = circuit.raw("x", P)
    circuit.seam("first")
    circuit.copy("y", x)
    circuit.end_chunk("second")
    assert (circuit.seams, circuit.breaks) == ({1: "first"}, {2: "second"})
