"""Set up many instances at once, in three steps, of which only the public one may leave this machine.

1. One-time public keys from the operator's secret seed: in processes of this machine, always.
2. Scripts of the disprove connector, hashed leaf by leaf: from public inputs alone, here or on a Dask cluster.
3. The graph from these hashes, checked, and the digest of Challenge: here, so that nothing is signed that another
   machine made. A cluster that lies about a hash makes an instance that nobody else finds: the committee, and whoever
   reads it later, hash for themselves, and refuse.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Final

from bitvm_bridge.documents import decode, encode
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.graph import Graph
from bitvm_bridge.linter import check
from bitvm_bridge.program import ProgramSpec, parse_program
from bitvm_bridge.protocol import connectors
from bitvm_bridge.roles.operator import one_time_keys
from bitvm_bridge.setup import DepositDocument, DepositSetup, InstanceSetup, split_bundles
from bitvm_bridge.taproot import HashedLeaf, hash_leaf
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.workers import AHEAD, processes, stream

WORTH_IT: Final = 2.0
"""seconds of work that processes are started for: they take about one to come up."""


@dataclass(frozen=True)
class Order:
    """An instance to be made; `deposit` is its document in JSON, `seed` what its one-time keys come from."""

    deposit: bytes
    exit: int
    operator: bytes
    claim: OutPoint
    program: str
    seed: bytes = field(repr=False)


@dataclass(frozen=True)
class Hashed:
    """An instance in JSON, and (name, hash) of every leaf of its disprove connector, in order."""

    setup: bytes
    leaves: tuple[tuple[str, HashedLeaf], ...]


@dataclass(frozen=True)
class Made:
    """A checked instance in JSON, its id, and what the operator signs so that it can be challenged."""

    id: bytes
    setup: bytes
    challenge_digest: bytes


def claim_amount(deposit: DepositSetup, spec: ProgramSpec) -> int:
    """sat of the claim coin of an instance: known before its keys are."""
    return connectors.claim_amount(deposit.request.params, len(split_bundles(spec.values)))


def orders(
    exits: Iterable[tuple[DepositSetup, int]], operator: bytes, spec: ProgramSpec, claims: bytes, seed: bytes
) -> Iterator[Order]:
    """An order for each exit; exit `i` in this order is claimed with output `i` of the transaction `claims`."""
    program = str(spec)
    for position, (deposit, number) in enumerate(exits):
        yield Order(encode(deposit.document()), number, operator, OutPoint(claims, position), program, seed)


def set_up(wanted: Iterable[Order], local: Executor, public: Executor, workers: int) -> Iterator[Made]:
    """Every instance, in order, while the next ones are being made.

    `local` sees the seed, `public` does not; they may be the same. `workers` is how many there are of both. Raises
    VerificationFailed for an instance that breaks a rule, BridgeError where a worker died.
    """
    ahead = AHEAD * workers
    keyed = stream(local, derive, wanted, ahead)
    hashed = stream(public, hash_checks, keyed, ahead)
    return stream(local, finish, hashed, ahead)


def derive(order: Order) -> bytes:
    """The instance in JSON, with its one-time public keys. The only step that sees a secret."""
    deposit = _deposit(order.deposit)
    spec = parse_program(order.program)
    keys = one_time_keys(deposit, order.operator, spec, order.seed, order.exit)
    return InstanceSetup(deposit, order.operator, order.claim, spec, keys, order.exit).to_json()


def hash_checks(setup: bytes) -> Hashed:
    """The leaves of the disprove connector, hashed. Public."""
    checks = parse(setup).checks
    return Hashed(setup, tuple((name, hash_leaf(script)) for name, script in checks.leaves()))


def parse(raw: bytes) -> InstanceSetup:
    """An instance whose deposit is shared with the others of the same exit, or of other exits."""
    setup = InstanceSetup.from_json(raw)
    return replace(setup, deposit=_deposit(encode(setup.deposit.document())))


@lru_cache(maxsize=4)
def _deposit(raw: bytes) -> DepositSetup:
    """A deposit whose graph is made once in a process: it has transactions for each of its exits."""
    return DepositSetup.from_document(decode(raw, DepositDocument, "deposit"))


@dataclass(frozen=True)
class _KnownLeaves:
    """The leaves of an instance's program whose hashes another process has made."""

    setup: InstanceSetup
    hashes: tuple[tuple[str, HashedLeaf], ...]

    def leaves(self) -> Iterable[tuple[str, HashedLeaf]]:
        """Of every chunk, in order. Raises VerificationFailed where they are of other chunks."""
        if [name for name, _ in self.hashes] != [chunk.name for chunk in self.setup.program.chunks]:
            raise VerificationFailed(f"instance {self.setup.id.hex()[:12]}: hashes of other leaves than its program's")
        return self.hashes

    def leaf(self, name: str) -> bytes:
        """A script, made here."""
        return self.setup.checks.leaf(name)


def finish(hashed: Hashed) -> Made:
    """The graph, checked. Raises VerificationFailed naming the first rule that it breaks."""
    setup = parse(hashed.setup)
    graph = _graph(setup, hashed)
    check(graph)
    return Made(setup.id, hashed.setup, graph["Challenge"].digest("challenge"))


def _graph(setup: InstanceSetup, hashed: Hashed) -> Graph:
    instance = replace(setup.instance, checks=_KnownLeaves(setup, hashed.leaves))
    return Graph(setup.deposit.deposit, setup.deposit.outpoint, instance)


def with_graphs(setups: Sequence[InstanceSetup], workers: int, worth_it: float = WORTH_IT) -> Iterator[InstanceSetup]:
    """The same instances, in order, each with its graph made: its scripts are hashed by processes of this machine.

    For whoever checks what others have made. They are started when the rest would take one process longer than
    `worth_it` seconds, which the first instances tell. An instance whose graph cannot be made comes without it, and
    says why to whoever asks it for one. Raises BadInput for what is no number of workers, BridgeError where a worker
    died.
    """
    start = time.monotonic()
    for done, setup in enumerate(setups):
        if workers > 1 and done and (time.monotonic() - start) / done * (len(setups) - done) > worth_it:
            yield from _hashed_elsewhere(setups[done:], workers)
            return
        with suppress(BridgeError):
            _ = setup.graph
        yield setup


def _hashed_elsewhere(setups: Sequence[InstanceSetup], workers: int) -> Iterator[InstanceSetup]:
    with processes(min(workers, len(setups))) as pool:
        everything = stream(pool, hash_checks, (setup.to_json() for setup in setups), AHEAD * workers)
        for setup, hashed in zip(setups, everything, strict=True):
            with suppress(BridgeError):
                setup.adopt(_graph(setup, hashed))
            yield setup
