"""Parameters: what is inside their bounds works, what is one step outside is refused by name."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import DUST, Council, Network, Params
from bitvm_bridge.transaction import MAX_MONEY
from tests.builders import COUNCIL, PLAIN, WITH_COUNCIL

MAX_CSV = 65_535
"""blocks: all that BIP68 can say."""
WINDOWS = ("challenge_window", "assert_window", "disprove_window", "forfeit_window")
KEYS = tuple(secp.xonly_public_key(bytes([number]) * 32) for number in range(1, 22))
NO_POINT = bytes(31) + b"\x05"
"""5³ + 7 is no square modulo the field's prime."""


def test_defaults_are_those_of_the_protocol() -> None:
    regtest, signet = Params.default(Network.REGTEST), Params.default(Network.SIGNET)
    assert regtest == Params()
    assert [regtest.refund_delay, *(getattr(regtest, name) for name in WINDOWS)] == [20, 6, 6, 6, 6]
    assert [signet.refund_delay, *(getattr(signet, name) for name in WINDOWS)] == [2_016, 1_008, 1_008, 1_008, 1_008]
    for params in (regtest, signet):
        assert (params.peg_in, params.bond, params.challenge) == (100_000_000, 20_000_000, 5_000_000)
        assert (params.burn_percent, params.council) == (50, None)
    changed = Params.default(Network.SIGNET, assert_window=7, burn_percent=40)
    assert (changed.assert_window, changed.disprove_window, changed.burn_percent) == (7, 1_008, 40)


def test_locks_add_up() -> None:
    params = replace(PLAIN, challenge_window=1, assert_window=20, disprove_window=300, forfeit_window=4_000)
    assert (params.happy_csv, params.timeout_csv, params.unhappy_csv, params.forfeit_csv) == (1, 21, 321, 4_321)


@pytest.mark.parametrize(("bond", "percent", "burn"), [(20_000_000, 50, 10_000_000), (10_000_001, 1, 100_001)])
def test_burn_is_rounded_up_and_the_rest_is_the_reward(bond: int, percent: int, burn: int) -> None:
    params = replace(PLAIN, challenge=DUST, bond=bond, burn_percent=percent)
    assert (params.burn, params.reward) == (burn, bond - burn)


def test_there_is_no_mainnet() -> None:
    assert {str(network): network.hrp for network in Network} == {"regtest": "bcrt", "signet": "tb"}


LOW_HIGH: dict[str, tuple[int, int, dict[str, Any]]] = {
    "refund_delay": (1, MAX_CSV, {}),
    **{name: (1, MAX_CSV - 18, {}) for name in WINDOWS},
    "peg_in": (10 * DUST, MAX_MONEY, {}),
    "challenge": (DUST, 9_999_670, {}),
    "bond": (10_000_660, MAX_MONEY, {"burn_percent": 40}),
    "burn_percent": (1, 74, {}),
}
"""Field → its least and greatest value beside the defaults (with these changes)."""


@pytest.mark.parametrize("field", LOW_HIGH)
def test_bounds(field: str) -> None:
    low, high, beside = LOW_HIGH[field]
    for value in (low, high):
        assert getattr(replace(PLAIN, **(beside | {field: value})), field) == value
    outside: tuple[Any, ...] = (low - 1, high + 1, 0, -1, 1 << 64, True, float(low), str(low), None)
    for wrong in outside:
        with pytest.raises(BadInput):
            replace(PLAIN, **(beside | {field: wrong}))


def named(name: str, **changes: Any) -> Any:
    return pytest.param(name, changes, id=f"{name}: {', '.join(changes)}")


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        named("refund_delay", refund_delay=0),
        named("refund_delay", refund_delay=65_536),
        named("challenge_window", challenge_window=0),
        named("forfeit_window", forfeit_window=1 << 22),
        named("sum of the four windows", challenge_window=65_518),
        named("sum of the four windows", **dict.fromkeys(WINDOWS, 16_384)),
        named("peg_in", peg_in=3_299),
        named("challenge", challenge=329),
        named("bond", challenge=10_000_000),
        named("bond", bond=10_000_659),
        named("burn_percent", burn_percent=0),
        named("burn_percent", burn_percent=100),
        named("burn_percent", burn_percent=75),
        named("burn_percent", bond=10_000_660, burn_percent=51),
        named("council delay", council=replace(COUNCIL, delay=24)),
        named("council delay", council=replace(COUNCIL, delay=30), forfeit_window=12),
    ],
)
def test_refusal_names_the_field(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        replace(PLAIN, **changes)
    assert caught.value.field == name
    assert str(caught.value).startswith(f"{name}: ")


def test_the_longest_windows() -> None:
    params = replace(PLAIN, **dict.fromkeys(WINDOWS[:3], 16_384), forfeit_window=16_383)  # type: ignore[arg-type]
    assert params.forfeit_csv == MAX_CSV
    with pytest.raises(BadInput, match="council delay"):
        replace(params, council=replace(COUNCIL, delay=MAX_CSV))


def test_whoever_slashes_a_false_claim_never_loses() -> None:
    """The least bond for every challenge and burn share: the reward is above what the challenger paid."""
    for challenge in (DUST, 5_000, 1_234_567):
        for percent in (1, 33, 50, 66, 99):
            low, high = 2 * challenge, 200 * challenge + 1_000
            while low < high:
                bond = (low + high) // 2
                try:
                    params = replace(PLAIN, challenge=challenge, burn_percent=percent, bond=bond)
                except BadInput:
                    low = bond + 1
                else:
                    assert params.reward > challenge
                    assert params.burn > 0
                    high = bond
            assert low < 200 * challenge + 1_000


def council(**changes: Any) -> Council:
    return replace(COUNCIL, **changes)


@pytest.mark.parametrize("keys", [1, 2, 20])
def test_councils_of_every_size(keys: int) -> None:
    for threshold in (1, keys):
        assert council(keys=KEYS[:keys], threshold=threshold).threshold == threshold


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        named("council keys", keys=()),
        named("council keys", keys=KEYS, threshold=1),
        named("council keys", keys=(KEYS[0], KEYS[1], KEYS[0])),
        named("council key", keys=(KEYS[0], NO_POINT, KEYS[1])),
        named("council key", keys=(KEYS[0], KEYS[1][:31], KEYS[2])),
        named("council key", keys=(KEYS[0], b"\x02" + KEYS[1], KEYS[2])),
        named("council key", keys=(KEYS[0], b"\xff" * 32, KEYS[2])),
        named("council threshold", threshold=0),
        named("council threshold", threshold=4),
        named("council threshold", threshold=True),
        named("council delay", delay=0),
        named("council delay", delay=65_536),
    ],
)
def test_bad_councils(name: str, changes: dict[str, Any]) -> None:
    with pytest.raises(BadInput) as caught:
        council(**changes)
    assert caught.value.field == name


@pytest.mark.parametrize(
    "params",
    [
        PLAIN,
        WITH_COUNCIL,
        Params.default(Network.SIGNET),
        replace(PLAIN, **dict.fromkeys(WINDOWS, 16_000)),  # type: ignore[arg-type]
        replace(PLAIN, council=council(keys=KEYS[:20], threshold=20, delay=MAX_CSV)),
    ],
)
def test_round_trip_through_json_text(params: Params) -> None:
    assert Params.from_json(json.loads(json.dumps(params.to_json()))) == params


def values() -> Any:
    return json.loads(json.dumps(WITH_COUNCIL.to_json()))


def change(**items: Any) -> Callable[[Any], Any]:
    return lambda of: of | items


def change_council(**items: Any) -> Callable[[Any], Any]:
    return lambda of: of | {"council": of["council"] | items}


DOCUMENTS: dict[str, tuple[Callable[[Any], Any], str]] = {
    "no object": (lambda _: [1, 2], "params"),
    "null": (lambda _: None, "params"),
    "empty": (lambda _: {}, "params"),
    "unknown field": (change(fee=1), "params"),
    "field missing": (lambda of: {key: of[key] for key in of if key != "bond"}, "params"),
    "mainnet": (change(network="mainnet"), "network"),
    "network in capitals": (change(network="REGTEST"), "network"),
    "network null": (change(network=None), "network"),
    "network a list": (change(network=[]), "network"),
    "text for a number": (change(bond="20000000"), "bond"),
    "fraction": (change(refund_delay=20.0), "refund_delay"),
    "boolean": (change(assert_window=True), "assert_window"),
    "null number": (change(peg_in=None), "peg_in"),
    "council a list": (change(council=[]), "council"),
    "council of nothing": (change(council={}), "council"),
    "unknown field of a council": (change_council(quorum=1), "council"),
    "keys no list": (change_council(keys="00"), "council keys"),
    "key no hex": (change_council(keys=["zz"]), "council key"),
    "key a number": (change_council(keys=[5]), "council key"),
    "key no point": (change_council(keys=[NO_POINT.hex()], threshold=1), "council key"),
    "keys empty": (change_council(keys=[]), "council keys"),
    "threshold text": (change_council(threshold="2"), "council threshold"),
    "delay too short": (change_council(delay=24), "council delay"),
}


@pytest.mark.parametrize("name", DOCUMENTS)
def test_bad_documents(name: str) -> None:
    alter, field = DOCUMENTS[name]
    with pytest.raises(BadInput) as caught:
        Params.from_json(alter(values()))
    assert caught.value.field == field


def test_key_order_of_a_document_does_not_matter() -> None:
    assert Params.from_json(dict(reversed(values().items()))) == WITH_COUNCIL
