"""A contract's file: whatever is in it, it is a contract that messages can say, or refused in one line."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge.dlc import oracle_documents
from bitvm_bridge.dlc.classic.description import read_description
from bitvm_bridge.dlc.classic.messages import CONTRACT, DisjointContract, SeveralOracles, SingleContract
from bitvm_bridge.dlc.classic.wire import WireReader
from bitvm_bridge.dlc.oracle import DigitEvent, EnumEvent, Event, Hashing
from bitvm_bridge.dlc.payouts import NumericPayouts, contract_outcomes
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import SecretKey
from tests.dlc.oracles import MATURITY, announced

HEIGHT = 500
PRICE = DigitEvent(2, False, "usd", 0, 10)
KEYS = [SecretKey(bytes([60 + number]) * 32) for number in range(3)]


def file(event: Event, number: int = 0) -> dict[str, Any]:
    """An announcement's file, of one of three oracles."""
    made = announced(event, key=KEYS[number], salt=number)
    return oracle_documents.to_builtins(oracle_documents.announcement_file(made, Hashing.TAGGED))


FILES = {
    "weather.json": file(EnumEvent(("sun", "rain"))),
    **{f"price{number}.json": file(PRICE, number) for number in range(3)},
    "degrees.json": file(DigitEvent(2, True, "", 0, 4)),
}


def announcement(name: str) -> bytes:
    """The bytes of a file; one that does not exist cannot be read."""
    if name not in FILES:
        raise BadInput("announcement", name, "a readable file")
    return json.dumps(FILES[name]).encode()


def read(document: object, height: int = HEIGHT) -> Any:
    """The description; announcements come from FILES."""
    return read_description(json.dumps(document).encode(), announcement, height)


def contract(**event: Any) -> dict[str, Any]:
    return {"collateral": {"offerer": 60, "accepter": 40}, "refund_from": 1_000, "events": [event]}


SUN = {"sun": {"offerer": 100, "accepter": 0}, "rain": {"offerer": 1, "accepter": 99}}
CURVE = [[0, 0], [1_023, 100]]
WEATHER = contract(oracles=["weather.json"], payouts=SUN)
NUMBER = contract(oracles=["price0.json"], curve=CURVE, rounding=[[0, 10]])
NEAR = {"max_error_exp": 4, "min_fail_exp": 2, "maximize_coverage": True}
SEVERAL = contract(oracles=["price0.json", "price1.json", "price2.json"], threshold=2, curve=CURVE, difference=NEAR)


def test_what_it_says() -> None:
    found = read(WEATHER)
    assert isinstance(found.contract, SingleContract)
    assert (found.contract.total_collateral, found.collateral) == (100, 60)
    assert (found.settle_from, found.refund_from) == (HEIGHT, 1_000)
    assert found.contract.event.payouts.payouts == (("sun", 100), ("rain", 1))
    assert found.hashing is Hashing.TAGGED


def test_an_announcement_may_stand_in_it() -> None:
    assert read(contract(oracles=[FILES["weather.json"]], payouts=SUN)) == read(WEATHER)


def test_settlements_begin_with_the_first_event() -> None:
    """Where the refund has a time; a time is in UTC unless it says otherwise."""
    found = read(WEATHER | {"refund_from": "2030-01-01T12:00"})
    assert (found.settle_from, found.refund_from) == (MATURITY, 1_893_499_200)
    assert read(WEATHER | {"refund_from": "2030-01-01T12:00+02:00"}).refund_from == 1_893_492_000
    assert read(WEATHER | {"refund_from": "2030-01-01", "settle_from": 1_800_000_000}).settle_from == 1_800_000_000


def test_lines_from_point_to_point() -> None:
    function = read(contract(oracles=["price0.json"], curve=[[0, 0], [500, 7], [1_023, 100]])).contract.event.payouts
    assert isinstance(function, NumericPayouts)
    assert [(piece.left.outcome, piece.right.outcome) for piece in function.function.pieces] == [(0, 500), (500, 1_023)]
    assert function.rounding.intervals == ((0, 1),)


def test_several_oracles_and_a_union() -> None:
    several = read(SEVERAL).contract.event.oracles
    assert isinstance(several, SeveralOracles)
    assert (several.threshold, len(several.announcements)) == (2, 3)
    assert several.difference is not None
    assert several.difference.maximize_coverage
    both = read(WEATHER | {"events": [*WEATHER["events"], *NUMBER["events"]]}).contract
    assert isinstance(both, DisjointContract)
    assert len(both.events) == 2


@pytest.mark.parametrize(
    ("document", "says"),
    [
        (contract(oracles=["degrees.json"], curve=[[0, 0], [15, 9]]), "of a number with a sign"),
        (contract(oracles=["weather.json"], payouts=SUN, rounding=[[0, 1]]), "is not used with a curve or function"),
        (contract(oracles=["weather.json"], payouts=SUN, threshold=2), "threshold: '2' is not used with several"),
        (contract(oracles=["weather.json"], payouts=SUN, difference=NEAR), "as is the difference"),
        (SEVERAL | {"refund_from": "2020-01-01"}, "refund time"),
        (contract(oracles=["price0.json"], curve=CURVE, rounding=[[-1, 1]]), "a whole number from 0 to"),
        (
            contract(oracles=["price0.json"], curve=[[0, 0], [1 << 64, 1]]),
            "eventOutcome: '18446744073709551616' is not a whole number",
        ),
        ([], "Expected `object`"),
        (contract(oracles=["price0.json"], curve=[[0, 1, 2]]), "Expected `array` of length 2"),
    ],
)
def test_what_is_refused(document: object, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        read(document)


NUMBERS = st.one_of(st.integers(-3, 1_100), st.sampled_from([1 << 31, 1 << 32, 1 << 63, 1 << 64, 1 << 70, -(1 << 64)]))
JUNK = st.one_of(NUMBERS, st.none(), st.booleans(), st.text(max_size=4), st.just([]), st.just({}), st.floats())


def bend(draw: Callable[[Any], Any], value: Any) -> Any:
    """A document with one of its values replaced."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        return value | {key: bend(draw, value[key])}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        place = draw(st.integers(0, len(value) - 1))
        return [*value[:place], bend(draw, value[place]), *value[place + 1 :]]
    return draw(NUMBERS) if isinstance(value, int) and draw(st.booleans()) else draw(JUNK)


@given(st.sampled_from([WEATHER, NUMBER, SEVERAL]), st.data())
def test_a_bent_file_is_a_contract_or_refused(document: dict[str, Any], data: st.DataObject) -> None:
    """What is taken can be written in both forms, and what cannot be counted is refused as any contract is."""
    bent = bend(data.draw, json.loads(json.dumps(document)))
    found = tried(lambda: read(bent))
    if found is None:
        return
    assert CONTRACT.read(WireReader(CONTRACT.write(found.contract))) == found.contract
    assert CONTRACT.parse(CONTRACT.show(found.contract), "contract") == found.contract
    assert 0 <= found.settle_from < 1 << 32
    assert 0 <= found.refund_from < 1 << 32
    infos = tried(lambda: [event.info for event in found.contract.events])
    tried(lambda: infos and contract_outcomes(infos, found.contract.total_collateral))


def tried(make: Callable[[], Any]) -> Any:
    """What is made; None where it is refused, in one line."""
    try:
        return make()
    except BadInput as error:
        if "\n" in str(error):
            raise
        return None
