"""Leaves of small circuits before Core: satisfied by a wrong claim, and by nothing else."""

import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scripts_tapleaf.bn254.circuit import Circuit, Linear
from scripts_tapleaf.bn254.constants import P
from scripts_tapleaf.bn254.machine import Group, NoRoom, compile_leaf, packed
from scripts_tapleaf.interpreter import run
from scripts_tapleaf.script import MAX_STACK_ITEMS, ScriptError, decode_num, encode_num
from tests.bn254.leaves import WRONG, Bench, digest, raws
from tests.core import spend_leaf

EDGES = (0, 1, P - 1)
LIMB = 1 << 29
ONE = Linear(constant=1)
elements = st.sampled_from(EDGES) | st.integers(0, P - 1)


def value(name: str) -> Linear:
    return Linear(((name, 1),))


X, Y = value("x"), value("y")


def divide(circuit: Circuit, name: str, above: Linear, below: Linear, *, has_way: bool = True) -> Linear:
    """A hinted quotient and the check that forces it."""
    (result,) = circuit.hint(
        (name,),
        (below,) if has_way else (),
        f"{name} has no meaning",
        lambda values: [above.evaluate(values) * pow(below.evaluate(values), -1, P) % P],
    )
    circuit.check_zero((result,), (below,), (-above,))
    return result


def raw_bench(write: Callable[[Circuit], object], *outputs: str) -> Bench:
    """x and y raw, then what `write` adds."""
    circuit = Circuit()
    inputs = raws(circuit, P, "x", "y")
    write(circuit)
    return Bench(circuit, inputs, outputs)


def opened_bench(write: Callable[[Circuit], object], *outputs: str) -> Bench:
    """x and y behind one digest, then what `write` adds."""
    circuit = Circuit()
    raws(circuit, P, "x", "y")
    start = len(circuit.operations)
    write(circuit)
    return Bench(circuit, [Group(("x", "y"))], outputs, start)


def share(circuit: Circuit, a: tuple[Linear, ...]) -> None:
    """Two products that share the digits of a; then a check and a product that share them and need the first one."""
    b, c = (Y + ONE, X)[: len(a)], (X * 5, Y - X)[: len(a)]
    z = circuit.multiply("z", a, b)
    circuit.multiply("w", a, c, b)
    circuit.check_zero(a, tuple(part * 2 for part in b), tuple(part * -2 for part in z))
    circuit.multiply("u", a, z, c)


KINDS: dict[str, tuple[Callable[[Circuit], object], tuple[str, ...]]] = {
    "product": (lambda circuit: circuit.multiply("z", (X,), (Y,)), ("z",)),
    "sum of products": (lambda circuit: circuit.multiply("z", (X * 3 - Y,), (Y + ONE,), (X * -7 + ONE * 5,)), ("z",)),
    "product of pairs": (
        lambda circuit: circuit.multiply("z", (X, Y), (Y - X, X * 2), (X * 9 - Y, ONE)),
        ("z.0", "z.1"),
    ),
    "products of one operand": (lambda circuit: share(circuit, (X - Y,)), ("z", "w", "u")),
    "products of one pair": (
        lambda circuit: share(circuit, (X - Y, Y * 2 + ONE)),
        ("z.0", "z.1", "w.0", "w.1", "u.0", "u.1"),
    ),
    "combination": (
        lambda circuit: circuit.combine(("u", "v"), (X * (P // 3) - Y * 2, Y * (P - 5) + ONE * (P // 7))),
        ("v", "u"),
    ),
    "copy": (lambda circuit: (circuit.copy("z", Y), circuit.copy("w", X)), ("z", "w")),
    "copy of a product": (lambda circuit: circuit.copy("z", circuit.multiply("product", (X,), (Y,))[0]), ("z",)),
    "quotient": (lambda circuit: divide(circuit, "z", X + ONE * 2, Y * 2 + X * 0 + ONE * 3, has_way=False), ("z",)),
    "digit": (
        lambda circuit: circuit.select(("u", "v"), X, 3, 2, [(0, P - 1), (P - 1, 0), (1, 2), (P // 2, 5)]),
        ("u", "v"),
    ),
    "several": (
        lambda circuit: circuit.multiply("w", circuit.multiply("z", (X,), (X,)), (Y,), (X,)),
        ("z", "w"),
    ),
}
benches = {
    (kind, form.__name__): form(write, *outputs)
    for kind, (write, outputs) in KINDS.items()
    for form in (raw_bench, opened_bench)
}
every_kind = pytest.mark.parametrize("bench", list(benches.values()), ids=["-".join(key) for key in benches])


@every_kind
def test_a_leaf_is_satisfied_by_a_lie_alone(bench: Bench) -> None:
    rng = random.Random(1)
    pairs = [(x, y) for x in EDGES for y in EDGES] + [(rng.randrange(P), rng.randrange(P))]
    for x, y in pairs:
        claim = bench.output(bench.trace(x=x, y=y).values)
        assert not bench.judge(x=x, y=y)
        bit = rng.randrange(160)
        lie = (int.from_bytes(claim, "little") ^ 1 << bit).to_bytes(20, "little")
        assert bench.judge(lie, x=x, y=y), bit


def test_a_claim_that_is_wrong_in_one_limb_is_a_lie() -> None:
    bench = benches["product", "opened_bench"]
    trace = bench.trace(x=6, y=7)
    right = int.from_bytes(digest([42]), "little")
    for bit in (*range(0, 160, 29), *range(28, 160, 29), 159):
        assert bench.accepts(trace.values, (right ^ 1 << bit).to_bytes(20, "little"), bench.items(trace))


@every_kind
def test_the_stack_is_no_higher_than_was_counted(bench: Bench) -> None:
    trace = bench.trace(x=5, y=P - 7)
    result = run(bench.script({"x": 5, "y": P - 7}, WRONG), bench.items(trace))
    assert result.ok
    assert result.max_depth <= bench.compiled.max_stack <= MAX_STACK_ITEMS
    assert len(bench.compiled.sizes) == len(bench.leaf.operations)
    assert sum(bench.compiled.sizes) < len(bench.compiled.script)


@every_kind
def test_outputs_have_one_digest(bench: Bench) -> None:
    """A claim of the same elements in other residues is a lie, whoever can open it."""
    trace = bench.trace(x=P - 1, y=1)
    values = [trace.values[name] for name in bench.leaf.outputs]
    for index in range(len(values)):
        other = [number + P * (index == place) for place, number in enumerate(values)]
        assert bench.judge(digest(other), x=P - 1, y=1)


@every_kind
def test_missing_and_superfluous_items_are_refused(bench: Bench) -> None:
    trace = bench.trace(x=12, y=13)
    items = bench.items(trace)
    assert bench.accepts(trace.values, WRONG, items)
    for spoiled in (items[1:], items[:-1], [b"", *items], [*items, b""], [items[0], *items], [*items, *items]):
        assert not bench.accepts(trace.values, WRONG, spoiled)


@settings(max_examples=40)
@given(x=elements, y=elements, change=st.integers(1, P - 1), kind=st.sampled_from(sorted(KINDS)))
def test_all_elements_have_the_right_verdict(x: int, y: int, change: int, kind: str) -> None:
    bench = benches[kind, "opened_bench"]
    trace = bench.trace(x=x, y=y)
    first, *others = (trace.values[name] for name in bench.leaf.outputs)
    assert not bench.accepts(trace.values, digest([first, *others]), bench.items(trace))
    assert bench.accepts(trace.values, digest([(first + change) % P, *others]), bench.items(trace))


# Preimages


@pytest.fixture(scope="module")
def product() -> Bench:
    return benches["product", "opened_bench"]


@pytest.mark.parametrize("pretended", [(4, 4), (3, 5), (4, 3), (3 + P, 4), (3, 4 + P), (0, 0)])
def test_a_preimage_that_is_not_the_committed_one_is_refused(product: Bench, pretended: tuple[int, int]) -> None:
    x, y = pretended
    items = product.items(product.trace(x=3, y=4))
    forged = [items[0], *(encode_num(limb) for number in pretended for limb in reversed(packed(number)))]
    right = digest([12])
    for claim in (right, WRONG):
        assert not product.accepts({"x": 3, "y": 4}, claim, forged)
    assert not product.accepts({"x": x, "y": y}, right, items)


@pytest.mark.parametrize("limb", range(6))
def test_all_of_a_digest_is_compared(product: Bench, limb: int) -> None:
    trace = product.trace(x=3, y=4)
    items = product.items(trace)
    assert spend_leaf(product.script(trace.values, WRONG), items)
    assert not spend_leaf(product.script(trace.values, WRONG, spoiled=limb), items)


def test_what_was_committed_unreduced_opens_as_its_residue(product: Bench) -> None:
    """The leaf that should have produced it disproves it; here it counts as what it is modulo p."""
    opened = [encode_num(limb) for number in (3 + P, 4) for limb in reversed(packed(number))]
    assert not product.accepts({"x": 3 + P, "y": 4}, digest([12]), [b"", *opened])
    assert product.accepts({"x": 3 + P, "y": 4}, WRONG, [b"", *opened])
    wide = [encode_num(limb) for number in (1 << 254, 4) for limb in reversed(packed(number))]
    assert not product.accepts({"x": 1 << 254, "y": 4}, WRONG, [b"", *wide])


def test_groups_are_opened_apart() -> None:
    circuit = Circuit()
    raws(circuit, P, "x", "y", "u")
    circuit.multiply("z", (X,), (Y,), (value("u"),))
    bench = Bench(circuit, [Group(("x", "u")), Group(("y",))], ["z"], 3)
    assert not bench.judge(x=2, y=3, u=4)
    assert bench.judge(WRONG, x=2, y=3, u=4)
    items = bench.items(bench.trace(x=2, y=3, u=4))
    swapped = [items[0], *items[19:], *items[1:19]]
    assert len(swapped) == len(items)
    assert not bench.accepts({"x": 2, "y": 3, "u": 4}, WRONG, swapped)


def test_what_nothing_reads_is_opened_and_dropped() -> None:
    circuit = Circuit()
    raws(circuit, P, "x", "y", "u")
    circuit.copy("z", Y)
    bench = Bench(circuit, [Group(("x", "y", "u"))], ["z"], 3)
    assert not bench.judge(x=2, y=3, u=4)
    assert bench.judge(WRONG, x=2, y=3, u=4)
    assert not bench.accepts({"x": 2, "y": 3, "u": 5}, WRONG, bench.items(bench.trace(x=2, y=3, u=4)))


# Hints


def quotients(circuit: Circuit) -> None:
    ratio = divide(circuit, "z", X, Y)
    circuit.multiply("w", (ratio,), (ratio,), (X,))
    divide(circuit, "v", ratio, X - ONE)


@pytest.fixture(scope="module")
def hinted() -> Bench:
    return opened_bench(quotients, "z", "w", "v")


def with_hint(items: Sequence[bytes], index: int, limbs: Sequence[int]) -> list[bytes]:
    """Hint `index` has these limbs; the first one is uppermost."""
    stop = len(items) - 9 * index
    return [*items[: stop - 9], *(encode_num(limb) for limb in reversed(limbs)), *items[stop:]]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize("change", [1, -1, P - 1, 1 << 200])
def test_a_wrong_hint_is_refused(hinted: Bench, index: int, change: int) -> None:
    trace = hinted.trace(x=6, y=3)
    right = trace.values[hinted.leaf.hints[index]]
    for claim in (hinted.output(trace.values), WRONG):
        spoiled = with_hint(hinted.items(trace), index, packed((right + change) % P))
        assert not hinted.accepts(trace.values, claim, spoiled)


def test_other_residues_of_a_hint_have_the_same_digest(hinted: Bench) -> None:
    """x = 6, y = 3: z = 2 and v = 2/5 where 2 + p is below 2^254."""
    for x, y in ((6, 3), (0, 5), (P - 1, P - 1)):
        trace = hinted.trace(x=x, y=y)
        items = hinted.items(trace)
        numbers = [trace.values[name] for name in hinted.leaf.hints]
        shifted = [index for index, number in enumerate(numbers) if number + P < 1 << 254]
        assert 0 in shifted
        for index in shifted:
            items = with_hint(items, index, packed(numbers[index] + P))
            assert not hinted.accepts(trace.values, hinted.output(trace.values), items)
            assert hinted.accepts(trace.values, WRONG, items)


@pytest.mark.parametrize("index", [0, 1])
def test_limbs_out_of_range_are_refused(hinted: Bench, index: int) -> None:
    """The sum of limbs stays what it is, so that nothing but the range check is there to refuse them."""
    trace = hinted.trace(x=6 * LIMB, y=3)
    number = trace.values[hinted.leaf.hints[index]]
    limbs = packed(number)
    carried = [(low, low + 1) for low in range(8)]
    for low, high in carried:
        for sign in (1, -1):
            other = list(limbs)
            other[low] += sign * LIMB
            other[high] -= sign
            assert sum(limb << 29 * place for place, limb in enumerate(other)) == number
            spoiled = with_hint(hinted.items(trace), index, other)
            if all(0 <= limb < LIMB for limb in other):
                continue
            assert not hinted.accepts(trace.values, WRONG, spoiled)
            assert not hinted.accepts(trace.values, hinted.output(trace.values), spoiled)
    for top in (limbs[8] + (1 << 22), -limbs[8] - 1):
        assert not hinted.accepts(trace.values, WRONG, with_hint(hinted.items(trace), index, [*limbs[:8], top]))


def test_longer_encodings_prove_nothing(hinted: Bench) -> None:
    """Consensus takes numbers that are not minimal; a hash of them must not become another one."""
    trace = hinted.trace(x=6, y=3)
    items = hinted.items(trace)
    claim = hinted.output(trace.values)
    for index, item in list(enumerate(items))[::2]:
        for longer in (item + b"\x00", (item or b"\x00") + b"\x00\x00", b"\x80"):
            assert not hinted.accepts(trace.values, claim, [*items[:index], longer, *items[index + 1 :]])


def test_five_bytes_are_no_limb(hinted: Bench) -> None:
    trace = hinted.trace(x=6, y=3)
    items = hinted.items(trace)
    for index in range(len(items)):
        spoiled = [*items[:index], encode_num(decode_num(items[index]) + (1 << 32)), *items[index + 1 :]]
        assert not hinted.accepts(trace.values, WRONG, spoiled)


# Ways


def ways_bench() -> Bench:
    """x below p: way 1; y below 1,000: way 2; x/y: way 3; x/(y − 2)/…: way 4."""
    circuit = Circuit()
    inputs = [*raws(circuit, P, "x"), *raws(circuit, 1000, "y")]
    ratio = divide(circuit, "z", X, Y)
    divide(circuit, "v", ratio, Y - ONE * 2)
    return Bench(circuit, inputs, ["z", "v"])


@pytest.fixture(scope="module")
def ways() -> Bench:
    return ways_bench()


WAY_ITEMS = [*map(encode_num, (*range(7), -1, -2, 255, LIMB, 1 << 31)), b"\x80", b"\x01\x00", b"\x02\x00", b"\x03\x80"]


@pytest.mark.parametrize(("x", "y"), [(8, 4), (0, 1), (P - 1, 999)])
def test_no_way_leads_through_an_honest_leaf(ways: Bench, x: int, y: int) -> None:
    trace = ways.trace(x=x, y=y)
    assert trace.failed is None
    items = ways.items(trace)
    assert ways.accepts(trace.values, WRONG, items)
    for way in WAY_ITEMS:
        assert not ways.accepts(trace.values, ways.output(trace.values), [way, *items[1:]])


@pytest.mark.parametrize(
    ("x", "y", "way"),
    [
        (P, 4, 1),
        (P + 1, 4, 1),
        ((1 << 256) - 1, 4, 1),
        (1 << 256, 4, 1),
        ((1 << 256) + 5, 4, 1),
        (8, 1000, 2),
        (8, 1 << 29, 2),
        (8, P, 2),
        (8, 1 << 255, 2),
        (8, 0, 3),
        (0, 0, 3),
        (8, 2, 4),
        (0, 2, 4),
    ],
)
def test_what_has_no_meaning_has_one_way(ways: Bench, x: int, y: int, way: int) -> None:
    trace = ways.trace(x=x, y=y)
    assert trace.stopped is not None
    assert ways.leaf.ways.index(trace.stopped) + 1 == way
    assert ways.judge(x=x, y=y)
    items = ways.items(trace)
    assert items[0] == encode_num(way)
    committed = {"x": x, "y": y}
    # 0/0 may be any hint, so that the main way is open, too.
    others = (1, 2, 3, 4) if x == 0 else (0, 1, 2, 3, 4, 5, -1)
    for other in set(others) - {way}:
        assert not ways.accepts(committed, digest([1, 2]), [encode_num(other), *items[1:]])


def test_two_numbers_without_meaning_have_the_first_ones_way(ways: Bench) -> None:
    items = ways.items(ways.trace(x=P, y=1000))
    verdicts = [ways.accepts({"x": P, "y": 1000}, WRONG, [encode_num(way), *items[1:]]) for way in range(5)]
    assert verdicts == [False, True, False, False, False]


def test_a_divisor_in_fq2_is_zero_in_both_parts_or_not_at_all() -> None:
    circuit = Circuit()
    inputs = raws(circuit, P, "x", "y")
    circuit.hint(("u",), (X - Y, X + Y * 3 - ONE * 8), "both are zero", lambda values: [0])
    circuit.check_zero((value("u"),), (X,), (Linear(),))
    bench = Bench(circuit, inputs, ["u"])
    for x, y, is_zero in ((2, 2, True), (3, 3, False), (5, 1, False), (2, 3, False)):
        trace = bench.trace(x=x, y=y)
        assert (trace.stopped is not None) == is_zero
        forced = [encode_num(3), *bench.items(trace)[1:]]
        assert bench.accepts({"x": x, "y": y}, digest([0]), forced) == is_zero


# Requirements


def test_a_leaf_of_requirements_is_satisfied_where_one_fails() -> None:
    def write(circuit: Circuit) -> None:
        circuit.require(circuit.multiply("a", (X,), (Y,), (ONE * -12,)), "their product is not 12")
        circuit.require(circuit.combine(("b", "c"), (X * 3 - Y, Y - ONE * 6 + X * P)), "not thrice the other, not six")

    bench = opened_bench(write)
    assert not bench.judge(WRONG, x=2, y=6)
    for x, y in ((P - 2, P - 6), (3, 4), (4, 3), (2, 7), (1, 12), (0, 0), (12 * pow(P - 1, -1, P) % P, P - 1)):
        assert bench.judge(WRONG, x=x, y=y)


def test_a_requirement_counts_where_the_claim_is_right() -> None:
    def write(circuit: Circuit) -> None:
        circuit.require(circuit.multiply("off", (X,), (X,), (-Y,)), "not its square")
        circuit.copy("z", X)

    bench = opened_bench(write, "z")
    assert not bench.judge(x=P - 3, y=9)
    assert bench.judge(WRONG, x=3, y=9)
    assert bench.judge(x=3, y=8)
    assert bench.judge(WRONG, x=3, y=8)


def zero_bench() -> Bench:
    circuit = Circuit()
    raws(circuit, P, "x", "y", "z")
    circuit.require(circuit.multiply("off", (X,), (Y,), (-value("z"),)), "not the product")
    return Bench(circuit, [Group(("x", "y", "z"))], [], 3)


zero = zero_bench()


def test_a_division_by_zero_behind_a_requirement_that_fails_has_its_way() -> None:
    def write(circuit: Circuit) -> None:
        circuit.require(circuit.combine(("off",), (X - Y,)), "not the same")
        divide(circuit, "z", ONE, Y)

    bench = opened_bench(write, "z")
    assert not bench.judge(x=3, y=3)
    for x, y, stopped in ((3, 4, None), (3, 0, 4), (0, 0, 4)):
        trace = bench.trace(x=x, y=y)
        assert trace.failed is not None
        assert trace.stopped == stopped
        assert bench.judge(x=x, y=y)
        assert not bench.accepts(trace.values, WRONG, [encode_num(0 if stopped else 1), *bench.items(trace)[1:]])


@settings(max_examples=20)
@given(x=elements, y=elements, other=elements)
def test_zero_is_zero_in_every_residue(x: int, y: int, other: int) -> None:
    assert not zero.judge(WRONG, x=x, y=y, z=x * y % P)
    assert zero.judge(WRONG, x=x, y=y, z=other) == (other != x * y % P)


# Room


def crowd(count: int, copies: int = 1) -> Bench:
    """So many opened values, copies of the first of them, and the sum of all."""
    names = [f"v{index}" for index in range(count)]
    circuit = Circuit()
    raws(circuit, P, *names)
    names += [f"copy{index}" for index in range(copies)]
    for name in names[count:]:
        circuit.copy(name, value("v0"))
    circuit.combine(("sum",), (sum(map(value, names), Linear()),))
    return Bench(circuit, [Group(tuple(names[:count]))], ["sum"], count)


def room(bench: Bench) -> int:
    """The operation that finds none."""
    with pytest.raises(NoRoom) as caught:
        compile_leaf(bench.leaf)
    return caught.value.step


def test_the_operation_that_finds_no_room_is_named() -> None:
    assert compile_leaf(crowd(30).leaf).max_stack <= MAX_STACK_ITEMS
    assert room(crowd(40)) == 0
    assert room(crowd(110)) == 0
    assert room(crowd(2, 60)) == 60
    assert 60 < room(crowd(2, 90)) == room(crowd(2, 100)) < 90


def test_a_full_stack_computes_as_an_empty_one() -> None:
    bench = crowd(30)
    numbers = {f"v{index}": P - 1 - index for index in range(30)}
    assert not bench.judge(None, **numbers)
    assert bench.judge(WRONG, **numbers)


def scaled(factor: int, operand: int) -> Bench:
    """A product with a multiple as one of its operands, or plus one."""
    sums = [X * factor if place == operand else Y for place in range(3)]
    return opened_bench(lambda circuit: circuit.multiply("z", (sums[0],), (sums[1],), (sums[2],)), "z")


@pytest.mark.parametrize("operand", [0, 1, 2])
@pytest.mark.parametrize("factor", [40, -40, 128, -128])
def test_multiples_are_operands(factor: int, operand: int) -> None:
    bench = scaled(factor, operand)
    for x in (0, 1, P - 1, (1 << 253) - 1):
        assert not bench.judge(x=x, y=P - 1)
        assert bench.judge(WRONG, x=x, y=P - 1)


@pytest.mark.parametrize("operand", [(0), 1, 2])
@pytest.mark.parametrize("factor", [512, -512, 1 << 20])
def test_sums_too_large_for_four_bytes_are_refused(factor: int, operand: int) -> None:
    with pytest.raises(ScriptError):
        compile_leaf(scaled(factor, operand).leaf)
