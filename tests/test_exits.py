"""A deposit that is split over several exits: each has its own instances, and one ending does not touch another."""

from pathlib import Path

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.linter import check
from bitvm_bridge.params import DUST, Params
from bitvm_bridge.roles import committee
from bitvm_bridge.setup import InstanceSetup, bind
from tests.builders import deposit_setup, instance_setup
from tests.cli.bridge import PLAIN, PROGRAM, RECEIVER, Bridge, join, kick_off, make_deposit, make_keys, pay_out

THREE = Params(peg_in=90_000_000, exits=3)


def test_a_deposit_is_divided_without_a_rest() -> None:
    assert THREE.exit_amount == 30_000_000
    for exits in (0, 7, 201, True, 90_000_000 // (10 * DUST) + 1):
        with pytest.raises(BadInput, match=r"^exits: "):
            Params(peg_in=90_000_000, exits=exits)


def test_one_exit_goes_without_saying() -> None:
    assert "exits" not in Params().to_json()
    assert Params.from_json(Params().to_json()) == Params()
    assert Params.from_json(THREE.to_json()) == THREE
    with pytest.raises(BadInput):
        Params.from_json([])  # type: ignore[arg-type]


def test_every_exit_is_an_output_of_its_own() -> None:
    setup = deposit_setup(THREE)
    outputs = setup.graph["PegIn"].tx.outputs
    assert [out.amount for out in outputs] == [30_000_000] * 3 + [0]
    assert len({out.script_pubkey for out in outputs[:3]}) == 1
    assert [setup.graph.exit(number).vout for number in range(3)] == [0, 1, 2]
    names = [name for name in setup.graph.txs if name.startswith("CooperativePayout")]
    assert names == ["CooperativePayout_0", "CooperativePayout_1", "CooperativePayout_2"]
    with pytest.raises(BadInput, match=r"^exit: '3' is not one of the deposit's exits, 0 to 2$"):
        setup.graph.exit(3)


def test_an_instance_knows_its_own_exit_alone() -> None:
    ids = set()
    for number in range(3):
        setup = instance_setup(params=THREE, exit_number=number)
        check(setup.graph)
        ids.add(setup.id)
        source = setup.graph.source("PegIn.vault")
        assert source.outpoint == setup.deposit.graph.exit(number) == setup.graph.vault
        assert setup.graph["HappyTake"].tx.inputs[0].outpoint == source.outpoint
        assert setup.graph["HappyTake"].tx.outputs[0].amount == 30_000_000 + THREE.bond + DUST
        assert "CooperativePayout" in setup.graph.txs
        assert InstanceSetup.from_json(setup.to_json()) == setup
        assert setup.id == bind(setup.deposit, setup.operator, setup.spec, number)
    assert len(ids) == 3


def test_an_exit_that_is_not_there() -> None:
    for number in (-1, 3):
        with pytest.raises(BadInput, match=r"^exit: "):
            instance_setup(params=THREE, exit_number=number)
    with pytest.raises(BadInput, match=r"^exit: "):
        committee.Payout(deposit_setup(THREE), b"", 3)
    with pytest.raises(BadInput, match=r"^exit: '1' is not one of the deposit's exits, 0 to 0$"):
        bind(deposit_setup(), instance_setup().operator, instance_setup().spec, 1)


def test_most_exits_keep_to_the_size_of_a_v3_transaction() -> None:
    tx = deposit_setup(Params(peg_in=200 * 10 * DUST, exits=200)).graph["PegIn"].tx
    assert 8_000 < tx.vsize < 9_900, "room for the witness of one script path"


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str, list[str]]:
    """A deposit of two exits, with an instance for each, pegged in."""
    bridge = Bridge(tmp_path_factory.mktemp("exits") / "data", *PLAIN)
    make_keys(bridge)
    deposit = make_deposit(bridge, "--exits", "2", "--peg-in", "198000000")
    first = join(bridge, deposit)
    bridge.run("committee", "sign", first)
    message = bridge.refused("committee", "confirm", deposit, code=5)
    assert message == "PegIn: no instance of exit 1 is signed yet"
    second = join(bridge, deposit, PROGRAM, "--exit", "1")
    assert bridge.refused("committee", "confirm", deposit, code=2).startswith("instance: ")
    bridge.run("committee", "sign", second)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    return bridge, deposit, [first, second]


def test_one_exit_is_claimed_and_the_other_paid_by_the_committee(
    split: tuple[Bridge, str, list[str]], tmp_path: Path
) -> None:
    bridge, (first, second), deposit = split[0].copy(tmp_path / "data"), split[2], split[1]
    pay_out(bridge, second)
    height = kick_off(bridge, second)
    bridge.mine_to(height + 5)
    bridge.send("operator", "happy-take", second)
    assert bridge.state(second) == "HappyTake"
    assert bridge.state(first) != "HappyTake"
    to = bridge.data("withdrawer", "keygen", "--name", "other")["address"]
    bridge.send("committee", "cooperative-payout", deposit, "--to", to, "--exit", "0")
    spent = bridge.run("committee", "cooperative-payout", deposit, "--to", to, "--exit", "1", "--broadcast", code=4)
    assert spent.stderr.startswith("error: CooperativePayout_1: ")
    assert bridge.state(first) == "CooperativePayout"


def test_a_deposit_that_cannot_be_divided(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data", *PLAIN)
    bridge.run("depositor", "keygen")
    message = bridge.refused("depositor", "deposit", "--receiver", RECEIVER, "--exits", "3", code=2)
    assert message == "exits: '3' is not a number that divides 100000000 sat into 3300 or more each"
