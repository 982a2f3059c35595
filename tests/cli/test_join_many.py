"""Many instances in one go: each as `join` would have made it, all of them or none."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from bitvm_bridge import records
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.workers import processes
from cli.main import root
from tests.cli.bridge import PLAIN, PROGRAM, Bridge, kick_off, make_deposit, make_keys
from tests.cli.conftest import Copy
from tests.test_batch import local_cluster

EXITS = 3
JOIN = ("operator", "join-many", "--program", PROGRAM)


@pytest.fixture(scope="module")
def deposited(keyed: Bridge, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, list[str]]:
    """Two deposits, one of them with several exits."""
    bridge = keyed.copy(tmp_path_factory.mktemp("deposited") / "data")
    options = ("--exits", str(EXITS), "--peg-in", "99000000")
    return bridge, [make_deposit(bridge), make_deposit(bridge, *options)]


def setups(bridge: Bridge) -> list[InstanceSetup]:
    with bridge.store() as store:
        return [InstanceSetup.from_json(raw) for _, raw in store.items(records.INSTANCE)]


@pytest.mark.parametrize("workers", [1, 2])
def test_each_instance_can_be_signed_and_claimed(deposited: tuple[Bridge, list[str]], copy: Copy, workers: int) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    report = bridge.send(*JOIN, *deposits, "--workers", str(workers))
    made = setups(bridge)
    assert sorted(report["instances"]) == sorted(setup.id.hex() for setup in made)
    assert len({setup.claim for setup in made}) == len(made) == EXITS + 1
    assert {setup.claim.txid[::-1].hex() for setup in made} == {report["txid"]}
    for instance in report["instances"]:
        bridge.run("committee", "sign", instance)
    for deposit in deposits:
        bridge.run("committee", "confirm", deposit)
        bridge.send("depositor", "peg-in", deposit)
    for instance in report["instances"][:: len(made) - 1]:
        kick_off(bridge, instance)
        bridge.send("challenger", "challenge", instance)
        assert bridge.state(instance) == "Challenge"


def test_it_makes_what_join_makes(deposited: tuple[Bridge, list[str]], copy: Copy, tmp_path: Path) -> None:
    bridge, (single, _) = copy(deposited[0]), deposited[1]
    other = bridge.copy(tmp_path / "other")
    one = other.send("operator", "join", single, "--program", PROGRAM)
    many = bridge.send(*JOIN, single)
    assert (many["instances"], many["txid"]) == ([one["instance"]], one["txid"])
    assert [setup.to_json() for setup in setups(bridge)] == [setup.to_json() for setup in setups(other)]


def test_a_cluster_helps(deposited: tuple[Bridge, list[str]], copy: Copy, tmp_path: Path) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    alone = bridge.copy(tmp_path / "alone")
    alone.run(*JOIN, *deposits)
    with local_cluster() as address:
        bridge.run(*JOIN, *deposits, "--scheduler", address)
    assert [setup.to_json() for setup in setups(bridge)] == [setup.to_json() for setup in setups(alone)]


def test_exits_that_have_an_instance_are_left_out(deposited: tuple[Bridge, list[str]], copy: Copy) -> None:
    bridge, (_, several) = copy(deposited[0]), deposited[1]
    bridge.send("operator", "join", several, "--program", PROGRAM, "--exit", "1")
    report = bridge.send(*JOIN, several, several)
    assert len(report["instances"]) == EXITS - 1
    assert sorted(setup.exit for setup in setups(bridge)) == list(range(EXITS))
    assert bridge.refused(*JOIN, several, code=1).endswith("every exit of these deposits has an instance of yours")


def test_a_dry_run_keeps_nothing(deposited: tuple[Bridge, list[str]], copy: Copy) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    before = bridge.contents()
    assert len(bridge.data(*JOIN, *deposits, "--dry-run")["instances"]) == EXITS + 1
    assert bridge.contents() == before
    assert bridge.mempool() == []


def test_a_claim_coin_that_others_share_is_not_replaced(deposited: tuple[Bridge, list[str]], copy: Copy) -> None:
    bridge, (_, several) = copy(deposited[0]), deposited[1]
    bridge.run(*JOIN, several, "--broadcast")
    waiting = bridge.mempool()
    message = bridge.refused("bump", "ClaimFunding", "--fee-rate", "20", "--broadcast", code=1)
    assert message.endswith("other instances claim with its outputs, so it cannot be replaced")
    assert bridge.mempool() == waiting


def test_a_worker_that_dies_leaves_nothing(
    deposited: tuple[Bridge, list[str]], copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    with processes(1) as pool:
        pool.submit(int).result()
        for process in pool._processes.values():  # type: ignore[attr-defined]
            process.kill()
            process.join()
        monkeypatch.setattr("cli.join_many.processes", lambda _: _Given(pool))
        assert bridge.refused(*JOIN, *deposits, "--broadcast", code=1).startswith("a worker process died")
    assert bridge.mempool() == []


class _Given:
    """A pool that somebody else closes."""

    def __init__(self, pool: object) -> None:
        self.pool = pool

    def __enter__(self) -> object:
        return self.pool

    def __exit__(self, *_: object) -> None:
        pass


def test_ctrl_c_leaves_nothing(
    deposited: tuple[Bridge, list[str]], copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    before, seen = bridge.contents(), []

    def interrupt(*made: object) -> None:
        seen.append(made)
        if len(seen) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("cli.join_many._write", interrupt)
    line = ["--datadir", str(bridge.datadir), *PLAIN, *JOIN, *deposits, "--broadcast"]
    assert CliRunner().invoke(root, line).exit_code == 1
    assert len(seen) == 2
    assert bridge.contents() == before
    assert bridge.mempool() == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--workers", "0"), "--workers: '0' is not a whole number from 1 to 256"),
        (("--scheduler", "no://address"), "scheduler no://address: "),
        (("--name", "nobody"), "operator name: 'nobody'"),
    ],
)
def test_what_cannot_be_done(
    deposited: tuple[Bridge, list[str]], copy: Copy, options: tuple[str, ...], message: str
) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    code = 3 if "--scheduler" in options else 2
    assert bridge.refused(*JOIN, *deposits, *options, code=code).startswith(message)


def test_a_wallet_elsewhere_joins_one_by_one(deposited: tuple[Bridge, list[str]], copy: Copy) -> None:
    bridge, deposits = copy(deposited[0]), deposited[1]
    bridge.run("operator", "keygen", "--name", "far", "--external", "ab" * 32)
    message = bridge.refused(*JOIN, *deposits, "--name", "far", code=2)
    assert message == "--name: 'far' is not an operator who can sign here; else join one by one"


def test_names_of_deposits(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, *PLAIN)
    make_keys(bridge)
    assert bridge.refused(*JOIN, "0000", code=2).startswith("deposit: '0000' is not the first 4 or more digits")
