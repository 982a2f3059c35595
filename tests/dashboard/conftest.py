"""A bridge in every state of an instance, each in a data directory of its own."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from threading import Thread

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode, fingerprint
from bitvm_bridge.dashboard.reader import Connect, Reader
from bitvm_bridge.dashboard.server import DashboardServer
from bitvm_bridge.params import Network
from tests.cli.bridge import PLAIN, WINDOW, Bridge, challenged, join, kick_off, make_deposit, make_keys, pay_out, set_up

PROGRAM = "hash-chain:2:1"
HOSTILE = "<img src=x onerror=alert(1)>"
"""The name of a committee member."""
Stages = dict[str, tuple[Bridge, str]]
NAMES = (
    "deposited",
    "pegged-in",
    "kicked-off",
    "challenged",
    "asserted",
    "taken",
    "disproved",
    "timed-out",
    "forfeited",
    "refunded",
)


def make_reader(bridge: Bridge, connect: Connect | None = None) -> Reader:
    """One that looks anew for every question, and waits for what it sees."""
    home = bridge.datadir / "regtest"
    chain = home / "chain"
    return Reader(
        home,
        Network.REGTEST,
        connect or (lambda: closing(EmbeddedNode(chain))),
        lambda: fingerprint(chain),
        max_age=0,
        patience=60,
    )


@pytest.fixture(scope="session")
def stages(tmp_path_factory: pytest.TempPathFactory) -> Stages:
    """State → a bridge with an instance in that state."""
    folder = tmp_path_factory.mktemp("dashboard")
    start = Bridge(folder / "start", *PLAIN)
    make_keys(start)
    start.run("committee", "keygen", HOSTILE)
    pegged = start.copy(folder / "pegged-in")
    instance = set_up(pegged, PROGRAM)
    found = {"pegged-in": (pegged, instance)}

    def add(name: str, origin: str) -> Bridge:
        copy = found[origin][0].copy(folder / name)
        found[name] = (copy, instance)
        return copy

    claimed = add("kicked-off", "pegged-in")
    pay_out(claimed, instance)
    height = kick_off(claimed, instance)
    happy = add("taken", "kicked-off")
    happy.mine_to(height + WINDOW - 1)
    happy.send("operator", "happy-take", instance)
    left = add("forfeited", "kicked-off")
    left.mine_to(height + 4 * WINDOW - 1)
    left.send("challenger", "forfeit", instance)
    disputed = add("challenged", "pegged-in")
    height = challenged(disputed, instance)
    silent = add("timed-out", "challenged")
    silent.mine_to(height + 2 * WINDOW - 1)
    silent.send("challenger", "assert-timeout", instance)
    add("asserted", "challenged").send("operator", "assert", instance, "--lie", "link_1")
    add("disproved", "asserted").send("challenger", "disprove", instance)
    deposited = start.copy(folder / "deposited")
    deposit = make_deposit(deposited)
    found["deposited"] = (deposited, join(deposited, deposit, PROGRAM))
    refunded = deposited.copy(folder / "refunded")
    refunded.mine(19)
    refunded.send("depositor", "refund", deposit)
    found["refunded"] = (refunded, found["deposited"][1])
    return found


@pytest.fixture(params=NAMES)
def stage(request: pytest.FixtureRequest, stages: Stages) -> tuple[str, Bridge, str]:
    """Each state, its bridge and its instance."""
    return (request.param, *stages[request.param])


@pytest.fixture(scope="session")
def served(stages: Stages) -> Iterator[DashboardServer]:
    """A claim that waits, served on a free port."""
    with closing(make_reader(stages["kicked-off"][0])) as reader, serving(reader) as server:
        yield server


@contextmanager
def serving(reader: Reader) -> Iterator[DashboardServer]:
    """A server that answers while the block lasts."""
    with DashboardServer(reader, "127.0.0.1", 0) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
