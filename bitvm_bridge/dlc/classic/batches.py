"""Many adaptor signatures at once, over the cores of this machine."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, NamedTuple, TypeVar

from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.workers import AHEAD, MAX_WORKERS, processes, stream

T = TypeVar("T")
R = TypeVar("R")
BATCH: Final = 256
"""signatures that one process makes or verifies before it is asked again: about a tenth of a second."""


class Job(NamedTuple):
    """What an adaptor signature is of, and for: a digest (32 bytes) and a point (33 bytes)."""

    digest: bytes
    point: bytes


class _Signing(NamedTuple):
    key: SecretKey
    jobs: tuple[Job, ...]


class _Checking(NamedTuple):
    public_key: bytes
    jobs: tuple[Job, ...]
    signatures: tuple[bytes, ...]


def encrypt_all(key: SecretKey, jobs: Sequence[Job], workers: int | None = None) -> tuple[bytes, ...]:
    """An adaptor signature (162 bytes) for each, in order, over so many processes; None: all cores. Raises BadInput."""
    batches = (_Signing(key, tuple(jobs[start : start + BATCH])) for start in range(0, len(jobs), BATCH))
    return tuple(signature for made in _each(_encrypt, batches, len(jobs), workers) for signature in made)


def first_invalid(
    public_key: bytes, jobs: Sequence[Job], signatures: Sequence[bytes], workers: int | None = None
) -> int | None:
    """The first signature that does not verify under a 33-byte key; None where all do. Processes as `encrypt_all`."""
    batches = (
        _Checking(public_key, tuple(jobs[start : start + BATCH]), tuple(signatures[start : start + BATCH]))
        for start in range(0, len(jobs), BATCH)
    )
    found = _each(_first_invalid, batches, len(jobs), workers)
    return next((batch * BATCH + place for batch, place in enumerate(found) if place is not None), None)


def _encrypt(batch: _Signing) -> list[bytes]:
    return [adaptor.encrypt(batch.key.reveal(), job.digest, job.point) for job in batch.jobs]


def _first_invalid(batch: _Checking) -> int | None:
    for place, (job, signature) in enumerate(zip(batch.jobs, batch.signatures, strict=True)):
        if not adaptor.verify(batch.public_key, job.digest, job.point, signature):
            return place
    return None


def _each(work: Callable[[T], R], batches: Iterable[T], count: int, workers: int | None) -> Iterator[R]:
    """In order; in this process where there is only one batch or worker."""
    chosen = min(len(os.sched_getaffinity(0)), MAX_WORKERS) if workers is None else workers
    if chosen == 1 or count <= BATCH:
        yield from map(work, batches)
        return
    with processes(chosen) as pool:
        yield from stream(pool, work, batches, AHEAD * chosen)
