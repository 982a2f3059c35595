"""`bitvm-bridge bench --scale`: how long it takes to set up and to check many instances, and how much memory."""

import resource
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from bitvm_bridge import batch
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.linter import check
from bitvm_bridge.params import MAX_EXITS, Params
from bitvm_bridge.program import ProgramSpec
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import committee as committee_role
from bitvm_bridge.roles import operator
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee, Signer, sign_together
from bitvm_bridge.transaction import OutPoint
from cli.app import say
from cli.join_many import executors
from cli.table import Table

MOST: Final = 100_000
MEMBERS: Final = 3
SET_UP: Final = "set up"
CHECKED: Final = "checked"
FEWER: Final = 10
"""The first run has so many times fewer instances: memory that grows with their number shows."""
_SEED: Final = bytes(range(32))
_KIB_OF_MACOS: Final = 1_024
"""ru_maxrss is in KiB on Linux and in bytes on macOS (getrusage(2))."""


@dataclass(frozen=True)
class ScaleRun:
    """What was done with many instances: seconds, and the most memory (KiB) that this process and a worker ever had."""

    step: str
    instances: int
    workers: int
    seconds: float
    memory: int
    worker_memory: int

    def document(self) -> dict[str, Any]:
        """As JSON carries it."""
        return asdict(self) | {"seconds": round(self.seconds, 3)}


def measure_scale(
    spec: ProgramSpec, instances: int, workers: Sequence[int], scheduler: str | None = None
) -> Iterator[ScaleRun]:
    """A tenth of the instances first, for the memory, then all of them with each number of workers."""
    few = max(1, instances // FEWER)
    for count, number in ((few, workers[0]), *((instances, number) for number in workers)):
        say(f"setting up {count:,} instances with {number} workers")
        yield _run(spec, count, number, scheduler)


def _run(spec: ProgramSpec, count: int, workers: int, scheduler: str | None) -> ScaleRun:
    seed = Seed(Role.OPERATOR, _SEED)
    orders = batch.orders(_exits(count), seed.wallet_key().xonly, spec, bytes(32), seed.winternitz_seed())
    with executors(workers, scheduler) as (local, public):
        local.submit(peak_memory).result()
        start = time.perf_counter()
        made = sum(1 for _ in batch.set_up(orders, local, public, workers))
        seconds = time.perf_counter() - start
        worker_memory = local.submit(peak_memory).result()
    return ScaleRun(SET_UP, made, workers, seconds, peak_memory(), worker_memory)


def measure_checks(spec: ProgramSpec, instances: int, workers: Sequence[int]) -> Iterator[ScaleRun]:
    """What every party does with what others made: each graph from public inputs, its rules, and its signed bundle."""
    say(f"signing {instances:,} instances")
    signed = list(_signed(spec, instances))
    for number in workers:
        say(f"checking {instances:,} instances with {number} workers")
        setups = [batch.parse(setup) for setup, _ in signed]
        start = time.perf_counter()
        for setup, (_, bundle) in zip(batch.with_graphs(setups, number), signed, strict=True):
            check(setup.graph)
            Bundle.from_json(bundle, setup)
        yield ScaleRun(CHECKED, instances, number, time.perf_counter() - start, peak_memory(), 0)


def _signed(spec: ProgramSpec, count: int) -> Iterator[tuple[bytes, bytes]]:
    """Instances and their bundles in JSON, signed by members that keep no record of it: all of it is invented."""
    seed = Seed(Role.OPERATOR, _SEED)
    keys = {name: member.wallet_key() for name, member in _members()}
    for order in batch.orders(_exits(count), seed.wallet_key().xonly, spec, bytes(32), seed.winternitz_seed()):
        setup = InstanceSetup.from_json(batch.derive(order))
        committee = setup.deposit.committee
        signers = [Signer(committee, name, key, lambda _: None) for name, key in keys.items()]
        signatures = sign_together(signers, committee_role.bundle_digests(setup))
        challenge = operator.sign_challenge(setup, seed.wallet_key())
        yield setup.to_json(), committee_role.assemble(setup, signatures, challenge).to_json()


def _exits(count: int) -> Iterator[tuple[DepositSetup, int]]:
    """Exits of invented deposits, each of which has as many as it may."""
    depositor = Seed(Role.DEPOSITOR, _SEED).wallet_key().xonly
    members = tuple((name, seed.wallet_key().public) for name, seed in _members())
    deposit = None
    for position in range(count):
        number = position % MAX_EXITS
        if deposit is None or number == 0:
            request = Request(Params(exits=MAX_EXITS), depositor, position.to_bytes(4, "big"))
            deposit = DepositSetup(request, Committee(members), OutPoint(b"\x01" * 32, position))
        yield deposit, number


def _members() -> list[tuple[str, Seed]]:
    return [(f"member {index}", Seed(Role.COMMITTEE, bytes([index]) * 32)) for index in range(MEMBERS)]


def peak_memory() -> int:
    """KiB that the process in which this runs had at most."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak // _KIB_OF_MACOS if sys.platform == "darwin" else peak


def scale_table(runs: Sequence[ScaleRun]) -> Table:
    """For people."""
    return Table(
        "Many instances",
        ("step", "instances", "workers", "seconds", "instances/s", "MiB here", "MiB in a worker"),
        [
            (
                run.step,
                run.instances,
                run.workers,
                f"{run.seconds:.1f}",
                f"{run.instances / run.seconds:.1f}",
                run.memory >> 10,
                run.worker_memory >> 10 or "-",
            )
            for run in runs
        ],
    )
