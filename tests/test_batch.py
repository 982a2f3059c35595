"""Many instances at once: the same ones as one by one, whoever helps, and nothing secret leaves this machine."""

import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from bitvm_bridge import batch, workers
from bitvm_bridge.batch import Hashed, Made, Order
from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable, VerificationFailed
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles.operator import one_time_keys
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.workers import cluster, processes, stream

SPEC = parse_program("hash-chain:2:1")
SEED = Seed(Role.OPERATOR, bytes(range(32)))
OPERATOR = SEED.wallet_key().xonly
FUNDING = b"\x07" * 32
EXITS = 5


def deposit() -> DepositSetup:
    alice, bob = (Seed(Role.COMMITTEE, bytes([number]) * 32).wallet_key().public for number in (1, 2))
    depositor = Seed(Role.DEPOSITOR, bytes(32)).wallet_key().xonly
    request = Request(Params(exits=EXITS), depositor, b"\x01")
    return DepositSetup(request, Committee((("alice", alice), ("bob", bob))), OutPoint(bytes(32), 0))


def orders() -> Iterator[Order]:
    exits = ((deposit(), number) for number in range(EXITS))
    return batch.orders(exits, OPERATOR, SPEC, FUNDING, SEED.winternitz_seed())


@pytest.fixture(scope="module")
def expected() -> list[Made]:
    """Every instance made one by one, its scripts hashed as its graph is built."""
    made = []
    for number in range(EXITS):
        keys = one_time_keys(deposit(), OPERATOR, SPEC, SEED.winternitz_seed(), number)
        setup = InstanceSetup(deposit(), OPERATOR, OutPoint(FUNDING, number), SPEC, keys, number)
        made.append(Made(setup.id, setup.to_json(), setup.graph["Challenge"].digest("challenge")))
    return made


@pytest.mark.parametrize("number", [1, 2])
def test_processes_make_what_one_alone_makes(expected: list[Made], number: int) -> None:
    with processes(number) as pool:
        assert list(batch.set_up(orders(), pool, pool, number)) == expected


@pytest.mark.parametrize(("number", "worth_it"), [(1, 0.0), (2, 0.0), (2, 3_600.0)])
def test_graphs_that_processes_help_to_make_are_the_same(
    expected: list[Made], number: int, worth_it: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone, setups = ([InstanceSetup.from_json(made.setup) for made in expected] for _ in range(2))
    helped: list[int] = []

    def counted(number: int) -> Any:
        helped.append(number)
        return processes(number)

    monkeypatch.setattr(batch, "processes", counted)
    found = list(batch.with_graphs(setups, number, worth_it))
    assert helped == [2] * (number == 2 and not worth_it)
    assert all(one is other for one, other in zip(found, setups, strict=True))
    for one, other in zip(found, alone, strict=True):
        assert "graph" in vars(one), "it is there already"
        assert one.graph.owed() == other.graph.owed()
        assert one.graph["Challenge"].digest("challenge") == other.graph["Challenge"].digest("challenge")
        assert signed_transactions(one) == signed_transactions(other)


def signed_transactions(setup: InstanceSetup) -> list[Any]:
    """As a bundle describes them: control blocks too."""
    return Bundle(setup, {}).document().transactions


@pytest.mark.parametrize("worth_it", [0.0, 3_600.0])
def test_an_instance_without_a_graph_stops_no_other(expected: list[Made], worth_it: float) -> None:
    """Its operator's key is none: who asks for its graph is told."""
    setups = [InstanceSetup.from_json(made.setup) for made in expected[:3]]
    setups[1] = replace(setups[1], operator=b"\xff" * 32)
    found = list(batch.with_graphs(setups, 2, worth_it))
    assert ["graph" in vars(one) for one in found] == [True, False, True]
    with pytest.raises(BadInput, match="operator key"):
        _ = found[1].graph


@contextmanager
def local_cluster() -> Iterator[str]:
    """A scheduler and two workers of Dask in this process; returns the address."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import distributed

        cluster = distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None, protocol="tcp"
        )
        try:
            yield cluster.scheduler_address
        finally:
            cluster.close()


def test_a_cluster_makes_what_one_alone_makes(expected: list[Made]) -> None:
    with local_cluster() as address, cluster(address) as public, ThreadPoolExecutor(1) as local:
        assert list(batch.set_up(orders(), local, public, 2)) == expected


def test_a_cluster_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_TIMEOUT", 1)
    with pytest.raises(NodeUnreachable, match=r"^scheduler tcp://127.0.0.1:1: "), cluster("tcp://127.0.0.1:1"):
        pass
    with pytest.raises(NodeUnreachable, match=r"^scheduler no://address: "), cluster("no://address"):
        pass


class Recorder(Executor):
    """Does the work at once, and keeps what it was handed."""

    def __init__(self, change: Callable[[Any], Any] = lambda result: result) -> None:
        self.handed: list[Any] = []
        self.change = change

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.handed.append((fn, args))
        future: Future[Any] = Future()
        try:
            future.set_result(self.change(fn(*args, **kwargs)))
        except BridgeError as error:
            future.set_exception(error)
        return future


def test_a_cluster_never_sees_a_secret(expected: list[Made]) -> None:
    public, local = Recorder(), Recorder()
    assert list(batch.set_up(orders(), local, public, 1)) == expected
    assert {fn for fn, _ in public.handed} == {batch.hash_checks}
    secrets = (SEED.winternitz_seed(), SEED.reveal(), SEED.wallet_key().reveal())
    sent = pickle.dumps(public.handed)
    assert not [secret for secret in secrets if secret in sent or secret.hex().encode() in sent]
    assert SEED.winternitz_seed() in pickle.dumps(local.handed), "else the search finds nothing"
    assert SEED.winternitz_seed().hex() not in repr(list(orders()))


def another_hash(hashed: Hashed) -> Hashed:
    (name, leaf), *others = hashed.leaves
    return replace(hashed, leaves=((name, leaf._replace(hash=bytes(32))), *others))


def test_a_cluster_that_lies_makes_an_instance_that_nobody_signs(expected: list[Made]) -> None:
    made = list(batch.set_up(orders(), Recorder(), Recorder(another_hash), 1))
    assert [item.setup for item in made] == [item.setup for item in expected]
    assert all(item.challenge_digest != true.challenge_digest for item, true in zip(made, expected, strict=True))


@pytest.mark.parametrize(
    "change",
    [
        lambda hashed: replace(hashed, leaves=hashed.leaves[1:]),
        lambda hashed: replace(hashed, leaves=hashed.leaves[::-1]),
        lambda hashed: replace(hashed, leaves=(*hashed.leaves, hashed.leaves[0])),
        lambda hashed: replace(
            hashed, leaves=tuple((name, leaf._replace(size=10_000_000)) for name, leaf in hashed.leaves)
        ),
    ],
)
def test_what_a_cluster_hands_back_is_checked(change: Callable[[Hashed], Hashed]) -> None:
    with pytest.raises(VerificationFailed):
        list(batch.set_up(orders(), Recorder(), Recorder(change), 1))


def double(number: int) -> int:
    return 2 * number


def die(number: int) -> int:
    if number == 3:
        os._exit(1)
    return number


def refuse(number: int) -> int:
    raise BadInput("number", number, "a good one")


def test_results_come_in_order_and_no_more_is_begun_than_may_be() -> None:
    begun: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            begun.append(number)
            yield number

    results = stream(Recorder(), double, items(), 8)
    assert next(results) == 0
    assert len(begun) == 8
    assert list(results) == list(range(2, 200, 2))
    assert list(stream(Recorder(), double, [], 8)) == []


def test_a_worker_that_dies_is_one_line() -> None:
    with processes(2) as pool, pytest.raises(BridgeError, match=r"^a worker process died"):
        list(stream(pool, die, range(100), 4))


def test_a_refusal_comes_back_as_what_it_is() -> None:
    with processes(1) as pool, pytest.raises(BadInput, match=r"^number: '0' is not a good one$") as caught:
        list(stream(pool, refuse, range(100), 4))
    assert (caught.value.field, caught.value.expected) == ("number", "a good one")


def test_what_is_not_begun_is_given_up_when_it_is_interrupted() -> None:
    futures: list[Future[int]] = []

    class Watched(Recorder):
        def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
            future: Future[int] = Future()
            futures.append(future)
            return future

    def items() -> Iterator[int]:
        yield from range(3)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(stream(Watched(), double, items(), 10))
    assert [future.cancelled() for future in futures] == [True] * 3


@pytest.mark.parametrize("number", [0, -1, 257])
def test_numbers_of_workers(number: int) -> None:
    with pytest.raises(BadInput, match=r"^--workers: "), processes(number):
        pass
