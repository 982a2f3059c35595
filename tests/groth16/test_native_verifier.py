"""Proofs of random keys: the right ones hold, the wrong ones do not, the malformed ones are refused by name."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.native.curve import G2, g1_neg
from bitvm_bridge.program.groth16.native.field import P, R
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, pairs, verify, verify_plain
from tests.groth16.native_strategies import twist_point
from tests.groth16.toy import Trapdoor, g1, g2, key_of, toy_key, toy_proof

KEY, TRAPDOOR = toy_key(2, seed=1)
INPUTS = (3, R - 1)
PROOF = toy_proof(TRAPDOOR, INPUTS, seed=2)
OFF_CURVE = "a point of {}: coordinates from 0 to P − 1 and on the curve"

Judge = Callable[[VerifyingKey, Proof, Sequence[int]], bool]
both = pytest.mark.parametrize("judge", [verify, verify_plain])


@both
@pytest.mark.parametrize("inputs", [(), (0,), (7,), (R - 1, 0, 1)], ids=len)
def test_valid_proofs_hold(judge: Judge, inputs: tuple[int, ...]) -> None:
    key, trapdoor = toy_key(len(inputs), seed=len(inputs))
    assert key.input_count == len(inputs)
    assert judge(key, toy_proof(trapdoor, inputs, seed=3), inputs)
    assert judge(key, toy_proof(trapdoor, inputs, seed=4), inputs)


@settings(max_examples=5)
@given(inputs=st.tuples(*[st.sampled_from([0, 1, R - 1]) | st.integers(0, R - 1)] * 2), seed=st.integers())
def test_a_proof_holds_for_its_inputs_alone(inputs: tuple[int, int], seed: int) -> None:
    proof = toy_proof(TRAPDOOR, inputs, seed)
    assert verify(KEY, proof, inputs)
    first, second = inputs
    assert not verify(KEY, proof, ((first + 1) % R, second))
    assert not verify(KEY, proof, (first, (second - 1) % R))


@both
@pytest.mark.parametrize(
    "change",
    [
        {"a": g1_neg(PROOF.a)},
        {"c": g1_neg(PROOF.c)},
        {"a": PROOF.c, "c": PROOF.a},
        {"b": KEY.beta},
        {"a": KEY.alpha, "b": KEY.beta},
        {"c": g1(1)},
    ],
    ids=lambda change: "+".join(change),
)
def test_altered_proofs_do_not_hold(judge: Judge, change: dict[str, Any]) -> None:
    assert judge(KEY, PROOF, INPUTS)
    assert not judge(KEY, replace(PROOF, **change), INPUTS)


@both
def test_proofs_of_another_key_do_not_hold(judge: Judge) -> None:
    assert not judge(toy_key(2, seed=2)[0], PROOF, INPUTS)
    for name in ("alpha", "beta", "gamma", "delta"):
        change: dict[str, Any] = {name: g1(9) if name == "alpha" else g2(9)}
        assert not judge(replace(KEY, **change), PROOF, INPUTS)
    assert not judge(replace(KEY, ic=(KEY.ic[1], KEY.ic[0], KEY.ic[2])), PROOF, INPUTS)


@both
def test_inputs_that_combine_to_infinity(judge: Judge) -> None:
    trapdoor = replace(TRAPDOOR, ic=(R - 15, 5))
    key = key_of(trapdoor)
    assert key.combine([3]) is None
    proof = toy_proof(trapdoor, [3], seed=5)
    assert len(pairs(key, proof, [3])) == 3
    assert judge(key, proof, [3])
    assert not judge(key, proof, [4])
    assert not judge(key, toy_proof(trapdoor, [4], seed=5), [3])


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(BadInput) as refused:
        call()
    return str(refused.value)


@both
@pytest.mark.parametrize("name", ["a", "c"])
@pytest.mark.parametrize("point", [(1, 3), (1 + P, 2), (1, 2 - P), (0, 0)])
def test_proof_points_off_g1_are_refused(judge: Judge, name: str, point: Any) -> None:
    message = refusal(lambda: judge(KEY, replace(PROOF, **{name: point}), INPUTS))
    assert message.startswith(f"proof {name}: ")
    assert message.endswith(OFF_CURVE.format("G1"))


def malformed_g2() -> list[tuple[G2, str]]:
    """Points of the twist's coordinate space, and what each is not."""
    (x0, x1), y = g2(3)
    off = OFF_CURVE.format("the twist")
    return [
        (((x0 + P, x1), y), off),
        (((x1, x0), y), off),
        (((0, 0), (0, 0)), off),
        (twist_point(1), "in the subgroup of order R of the twist"),
    ]


@both
@pytest.mark.parametrize(("point", "expected"), malformed_g2())
def test_proof_points_off_g2_are_refused(judge: Judge, point: G2, expected: str) -> None:
    message = refusal(lambda: judge(KEY, replace(PROOF, b=point), INPUTS))
    assert message.startswith("proof b: ")
    assert message.endswith(f"is not {expected}")


@both
@pytest.mark.parametrize("value", [-1, R, R + 3])
@pytest.mark.parametrize("index", [0, 1])
def test_inputs_out_of_range_are_refused(judge: Judge, index: int, value: int) -> None:
    inputs = [3, 4]
    inputs[index] = value
    message = refusal(lambda: judge(KEY, PROOF, inputs))
    assert message == f"public input {index}: '{value}' is not a whole number from 0 to R − 1"


@both
@pytest.mark.parametrize("inputs", [(), (3,), (3, R - 1, 0)], ids=len)
def test_a_wrong_number_of_inputs_is_refused(judge: Judge, inputs: tuple[int, ...]) -> None:
    message = refusal(lambda: judge(KEY, PROOF, inputs))
    assert message == f"number of public inputs: '{len(inputs)}' is not 2"


@pytest.mark.parametrize("name", ["beta", "gamma", "delta"])
@pytest.mark.parametrize(("point", "expected"), malformed_g2())
def test_keys_with_points_off_g2_are_refused(name: str, point: Any, expected: str) -> None:
    message = refusal(lambda: replace(KEY, **{name: point}))
    assert message.startswith(f"verifying key {name}: ")
    assert message.endswith(f"is not {expected}")


def test_keys_with_points_off_g1_are_refused() -> None:
    expected = f"'(1, 3)' is not {OFF_CURVE.format('G1')}"
    assert refusal(lambda: replace(KEY, alpha=(1, 3))) == f"verifying key alpha: {expected}"
    assert refusal(lambda: replace(KEY, ic=(*KEY.ic[:2], (1, 3)))) == f"verifying key ic[2]: {expected}"
    assert refusal(lambda: replace(KEY, ic=())) == "verifying key ic: '0' is not at least one point"


def folds() -> list[tuple[int, ...]]:
    return [indices for size in range(4) for indices in combinations(range(3), size)]


@pytest.mark.parametrize("indices", folds(), ids=str)
def test_folding_keeps_the_verdict(indices: tuple[int, ...]) -> None:
    key, trapdoor = toy_key(3, seed=6)
    inputs = (R - 1, 0, 5)
    proof = toy_proof(trapdoor, inputs, seed=7)
    folded = key.fold({index: inputs[index] for index in reversed(indices)})
    rest = tuple(value for index, value in enumerate(inputs) if index not in indices)
    assert folded.input_count == 3 - len(indices)
    assert folded.combine(rest) == key.combine(inputs)
    assert verify(folded, proof, rest)
    if indices:
        other = key.fold({index: (inputs[index] + 1) % R for index in indices})
        assert not verify(other, proof, rest)


def test_folding_what_is_no_input_is_refused() -> None:
    for index in (-1, 2):
        expected = f"index of a constant input: '{index}' is not a whole number from 0 to 1"
        assert refusal(lambda index=index: KEY.fold({index: 1})) == expected  # type: ignore[misc]
    for value in (-1, R):
        expected = f"public input 1: '{value}' is not a whole number from 0 to R − 1"
        assert refusal(lambda value=value: KEY.fold({1: value})) == expected  # type: ignore[misc]


def test_folding_into_infinity_is_refused() -> None:
    key = key_of(Trapdoor(1, 2, 3, 4, (R - 15, 5)))
    assert key.fold({0: 4}).ic == (g1(5),)
    expected = "constant inputs: '{0: 3}' is not values whose sum of points is finite"
    assert refusal(lambda: key.fold({0: 3})) == expected
