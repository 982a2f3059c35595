"""The stories: on the embedded chain and on Bitcoin Core, with every sat accounted for."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.errors import BridgeError, NodeRejected
from bitvm_bridge.keys import Role
from bitvm_bridge.params import DUST, Params
from bitvm_bridge.policy import MAX_STANDARD_WEIGHT
from bitvm_bridge.program import parse_program
from bitvm_bridge.program.base import DIGEST_BITS
from bitvm_bridge.roles import operator
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Prepared
from cli.contract_stories import COLLATERAL, ORACLE_FEE, STAKE
from cli.lies import lie
from cli.main import root
from cli.stage import Refusal, Stage, Step, open_stage
from cli.stories import CONTRACTS, deposit, kick_off, set_up, stories_of
from scripts_tapleaf.winternitz import bundle_capacity
from tests.cli.bridge import PROGRAM

PARAMS = Params()
CONNECTORS = -(-len(parse_program(PROGRAM).values) // bundle_capacity(DIGEST_BITS))
"""Assert connectors of an instance."""
ASKED = PARAMS.peg_in * 99 // 100
"""sat that the withdrawing user gets."""
PAYERS = {
    "depositor": {"PegInDeposit", "PegIn fee", "PegInRefund"},
    "operator": {"ClaimFunding", "PegOut", "KickOff fee", "Assert", "HappyTake fee", "UnhappyTake fee"},
    "challenger": {"Challenge", "Disprove", "AssertTimeout_0"},
}
"""Who pays the fee of which transaction."""
GAINS = {
    "happy": {
        "depositor": -PARAMS.peg_in,
        "withdrawer": ASKED,
        "operator": PARAMS.peg_in - ASKED - (CONNECTORS + 1) * DUST,
        "challenger": 0,
    },
    "challenged": {
        "depositor": -PARAMS.peg_in,
        "withdrawer": ASKED,
        "operator": PARAMS.peg_in - ASKED + PARAMS.challenge - DUST,
        "challenger": DUST - PARAMS.challenge,
    },
    "fraud": {
        "depositor": -PARAMS.peg_in,
        "withdrawer": 0,
        "operator": PARAMS.challenge - PARAMS.bond - 2 * DUST,
        "challenger": PARAMS.reward - PARAMS.challenge + 2 * DUST,
    },
    "silent": {
        "depositor": -PARAMS.peg_in,
        "withdrawer": 0,
        "operator": PARAMS.challenge - PARAMS.bond - (CONNECTORS + 2) * DUST,
        "challenger": PARAMS.reward - PARAMS.challenge + 2 * DUST,
    },
    "refund": {"depositor": 0, "withdrawer": 0, "operator": 0, "challenger": 0},
}
"""sat before fees. An output of 330 sat is paid for by the operator and goes to whoever spends it."""
LOCKED = {
    "happy": (CONNECTORS + 1) * DUST,
    "challenged": 0,
    "fraud": PARAMS.peg_in,
    "silent": PARAMS.peg_in + CONNECTORS * DUST,
    "refund": 0,
}
"""sat in outputs that are left: the vault, and connectors that nobody needed."""
ENDINGS = {
    "happy": "HappyTake",
    "challenged": "UnhappyTake",
    "fraud": "Disprove",
    "silent": "AssertTimeout_0",
    "refund": "PegInRefund",
    "dlc": "Settle",
    "dlc-fraud": "Refund",
}


def demo(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(root, ["demo", "--program", PROGRAM, *args], catch_exceptions=False)
    assert result.exit_code == code, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(scope="module")
def embedded_stories() -> list[dict[str, Any]]:
    stories: list[dict[str, Any]] = json.loads(demo("--json"))["stories"]
    return stories


@pytest.fixture(scope="module")
def core_stories(bitcoind_path: Path) -> list[dict[str, Any]]:
    stories: list[dict[str, Any]] = json.loads(demo("--json", "--node", "bitcoind", "--bitcoind", str(bitcoind_path)))[
        "stories"
    ]
    return stories


@pytest.fixture(params=["embedded_stories", "core_stories"])
def stories(request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """All of them, as either node saw them."""
    found: list[dict[str, Any]] = request.getfixturevalue(request.param)
    return found


def test_document(stories: list[dict[str, Any]], request: pytest.FixtureRequest) -> None:
    assert [story["name"] for story in stories] == list(stories_of(parse_program(PROGRAM)))
    node = {"embedded_stories": "embedded", "core_stories": "bitcoind"}[request.node.callspec.params["stories"]]
    for story in stories:
        assert story["ok"] is True
        assert story["node"] == node
        heights = [tx["height"] for tx in story["transactions"]]
        assert heights == sorted(heights)
        for tx in story["transactions"]:
            assert set(tx) == {"name", "txid", "vsize", "weight", "fee", "height"}
            assert re.fullmatch("[0-9a-f]{64}", tx["txid"])
            assert tx["vsize"] == -(-tx["weight"] // 4)
            assert tx["weight"] < MAX_STANDARD_WEIGHT, "it went through the node's mempool"
        names = [tx["name"] for tx in story["transactions"]]
        assert ENDINGS[story["name"]] in names[-2:]
        assert len(set(names)) == len(names)


def test_packages_pay_two_sat_per_vbyte_together(stories: list[dict[str, Any]]) -> None:
    for story in stories:
        by_name = {tx["name"]: tx for tx in story["transactions"]}
        for name, tx in by_name.items():
            child = by_name.get(f"{name} fee", {"fee": 0, "vsize": 0})
            if not name.endswith(" fee"):
                fee, vsize = tx["fee"] + child["fee"], tx["vsize"] + child["vsize"]
                assert 2 * vsize <= fee <= 2 * vsize + 10, name


def test_every_sat_is_accounted_for(stories: list[dict[str, Any]]) -> None:
    for story in stories:
        if story["name"] in CONTRACTS:
            continue
        name, fees = story["name"], {tx["name"]: tx["fee"] for tx in story["transactions"]}
        paid = {role: sum(fees.get(tx, 0) for tx in PAYERS.get(role, ())) for role in story["balances"]}
        assert story["balances"] == {role: gain - paid[role] for role, gain in GAINS[name].items()}, name
        assert story["fees"] == sum(fees.values())
        assert story["burned"] == (PARAMS.burn if name in ("fraud", "silent") else 0)
        assert story["locked"] == LOCKED[name]
        assert sum(story["balances"].values()) == -(story["fees"] + story["burned"] + story["locked"])


def test_every_sat_of_a_contract_is_accounted_for(stories: list[dict[str, Any]]) -> None:
    bet, fraud = (story for story in stories if story["name"] in CONTRACTS)
    for story in (bet, fraud):
        fees = {tx["name"]: tx["fee"] for tx in story["transactions"]}
        assert story["fees"] == sum(fees.values())
        assert sum(story["balances"].values()) == -(story["fees"] + story["burned"] + story["locked"])
        assert story["locked"] == 0
    fees, gains = {tx["name"]: tx["fee"] for tx in bet["transactions"]}, bet["balances"]
    offerer_won = gains["offerer"] > gains["accepter"]
    winner, loser = ("offerer", "accepter") if offerer_won else ("accepter", "offerer")
    paid = {"offerer": (ORACLE_FEE + 1) // 2 + fees["Funding"] // 2, "accepter": ORACLE_FEE // 2 + fees["Funding"] // 2}
    assert gains[loser] == -COLLATERAL - paid[loser]
    assert gains[winner] == COLLATERAL - paid[winner] - fees["Settle fee"]
    assert gains["oracle"] == ORACLE_FEE - fees["OracleStake"] - fees["OracleSign fee"]
    assert (gains["challenger"], bet["burned"]) == (0, 0)
    fees, gains = {tx["name"]: tx["fee"] for tx in fraud["transactions"]}, fraud["balances"]
    assert gains["oracle"] == -STAKE - DUST - fees["OracleStake"] - fees["OracleSign fee"]
    assert gains["challenger"] == STAKE - STAKE // 2 + DUST - fees["Disprove"]
    assert gains["offerer"] == -fees["Funding"] // 2 - fees["Refund fee"]
    assert gains["accepter"] == -fees["Funding"] // 2
    assert fraud["burned"] == STAKE // 2


def test_who_gains_and_who_loses(stories: list[dict[str, Any]]) -> None:
    gains = {story["name"]: story["balances"] for story in stories}
    assert gains["happy"]["operator"] > 0
    assert gains["challenged"]["operator"] > gains["happy"]["operator"]
    for name in ("fraud", "silent"):
        assert gains[name]["challenger"] > 0
        assert gains[name]["operator"] < -PARAMS.bond // 2
    assert -1_000 < gains["refund"]["depositor"] < 0


def test_refusals_on_the_way(stories: list[dict[str, Any]]) -> None:
    refused = {story["name"]: {item["name"] for item in story["refusals"]} for story in stories}
    assert refused == {
        "happy": {"HappyTake"},
        "challenged": {"HappyTake", "Disprove", "UnhappyTake"},
        "fraud": {"UnhappyTake"},
        "silent": {"AssertTimeout_0"},
        "refund": {"PegInRefund"},
        "dlc": {"OracleSign", "Settle"},
        "dlc-fraud": {"Settle", "Refund"},
    }


def test_both_nodes_tell_the_same_stories(
    embedded_stories: list[dict[str, Any]], core_stories: list[dict[str, Any]]
) -> None:
    def plot(stories: list[dict[str, Any]]) -> list[tuple[str, list[str]]]:
        return [(story["name"], [tx["name"] for tx in story["transactions"]]) for story in stories]

    assert plot(embedded_stories) == plot(core_stories)


def test_on_a_terminal() -> None:
    text = demo("refund", "happy")
    assert text.index("refund  A deposit") < text.index("happy  An honest claim")
    assert re.search(r"^ +\d+  PegInRefund +\d+ +\d+  the committee was silent", text, re.MULTILINE)
    assert re.search(r"^ +–  HappyTake +refused  one block early \(non-BIP68-final\)$", text, re.MULTILINE)
    assert re.search(r"in sat: depositor -100,00\d,\d+, withdrawer \+99,000,000, operator \+\d+,\d+, fees ", text)
    assert text.endswith("2 stories, 11 transactions, every one judged by Bitcoin Core (embedded).\n")


def test_one_story_alone() -> None:
    (story,) = json.loads(demo("silent", "--json"))["stories"]
    assert story["name"] == "silent"
    assert "\n1 story, 2 transactions, " in demo("refund")


def test_a_disproof_too_heavy_to_relay_goes_to_the_miner(monkeypatch: pytest.MonkeyPatch) -> None:
    limit = 30_000
    for place in ("policy", "wallet"):
        monkeypatch.setattr(f"bitvm_bridge.{place}.MAX_STANDARD_WEIGHT", limit)
    (story,) = json.loads(demo("fraud", "--json"))["stories"]
    weights = {tx["name"]: tx["weight"] for tx in story["transactions"]}
    assert [name for name, weight in weights.items() if weight > limit] == ["Disprove"]
    assert story["balances"]["challenger"] > 0


# A story cannot end well by accident.


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    node = EmbeddedNode(tmp_path)
    yield Stage(node, open_stage(node), PARAMS, parse_program(PROGRAM), tell=lambda step: None)
    node.close()


def small_payment(stage: Stage) -> Prepared:
    wallet = stage.wallets[Role.OPERATOR]
    return Prepared("payment", wallet.pay([TxOut(1_000, wallet.script_pubkey)]))


def test_a_transaction_that_should_be_refused(stage: Stage) -> None:
    with pytest.raises(BridgeError, match="payment: the node accepts it, and must not"):
        stage.refused(small_payment(stage), "")
    assert stage.steps == []


def test_a_transaction_that_should_be_accepted(stage: Stage) -> None:
    bundle = set_up(stage)
    kick_off(stage, bundle.setup, "")
    before = list(stage.steps)
    with pytest.raises(NodeRejected, match="HappyTake: non-BIP68-final"):
        stage.confirm(operator.happy_take(stage.wallets[Role.OPERATOR], bundle), "")
    assert stage.steps == before


def test_a_lie_is_one_wrong_value(stage: Stage) -> None:
    setup = set_up(stage).setup
    told, honest = lie(setup.program, setup.program.run(()).values), setup.program.run(()).values
    middle = len(honest) // 2
    assert setup.program.first_wrong(told).chunk == middle
    assert [one == other for one, other in zip(told, honest, strict=True)] == [
        index != middle for index in range(len(honest))
    ]


def test_steps_are_told_as_they_happen(tmp_path: Path) -> None:
    node = EmbeddedNode(tmp_path)
    told: list[Step | Refusal] = []
    stage = Stage(node, open_stage(node), PARAMS, parse_program(PROGRAM), tell=told.append)
    deposit(stage)
    node.close()
    assert told == stage.steps
    assert [step.name for step in told] == ["PegInDeposit"]
