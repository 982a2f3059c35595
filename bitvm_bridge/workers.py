"""Work on many things at once: over the cores of this machine, or over a Dask cluster. One way to use either."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Final, TypeVar

from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable
from bitvm_bridge.program import cache

T = TypeVar("T")
R = TypeVar("R")
MAX_WORKERS: Final = 256
AHEAD: Final = 4
"""things for each worker that are begun before the first of them is done: enough to keep all busy, and no more."""
CONNECT_TIMEOUT: Final = 10
"""seconds to wait for a scheduler."""


def cores() -> int:
    """That this process may use."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(found, MAX_WORKERS)


@contextmanager
def processes(workers: int) -> Iterator[Executor]:
    """Processes of this machine. What is unfinished when the block ends is given up. Raises BadInput."""
    if not 1 <= workers <= MAX_WORKERS:
        raise BadInput("--workers", workers, f"a whole number from 1 to {MAX_WORKERS}")
    # A fork would inherit locks of other threads and every secret of this process.
    pool = ProcessPoolExecutor(
        workers, multiprocessing.get_context("spawn"), initializer=_prepare, initargs=(str(cache.directory()),)
    )
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _prepare(scripts: str) -> None:
    """Compiled scripts are where they are here. Ctrl-C goes to every process of a terminal; ours decides."""
    os.environ[cache.VARIABLE] = scripts
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def cluster(scheduler: str) -> Iterator[Executor]:
    """A Dask cluster, by the address of its scheduler; its workers must have this version of the bridge.

    Raises BadInput where Dask is not installed, NodeUnreachable where no scheduler answers, BridgeError where the
    cluster loses the work.
    """
    try:
        from distributed import Client, KilledWorker
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise BadInput("--scheduler", scheduler, "of use without Dask; install the extra `dask`") from None
    try:
        client = Client(scheduler, timeout=CONNECT_TIMEOUT, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise NodeUnreachable(f"scheduler {scheduler}: {type(error).__name__}") from None
    try:
        yield client.get_executor(pure=False)
    except (KilledWorker, CommClosedError, ModuleNotFoundError, CancelledError) as error:
        raise BridgeError(f"scheduler {scheduler}: the work was lost ({type(error).__name__})") from None
    finally:
        client.close()


def stream(executor: Executor, work: Callable[[T], R], items: Iterable[T], ahead: int) -> Iterator[R]:
    """`work` of every item, in order, of which `ahead` at most are begun and not yet handed out.

    So memory does not grow with the number of items. `work` is a function of a module, and it, items and results can
    be pickled. Raises what `work` raises, BridgeError where a worker died.
    """
    running: deque[Future[R]] = deque()
    try:
        for item in items:
            running.append(executor.submit(work, item))
            if len(running) >= ahead:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()
    except BrokenExecutor:
        raise BridgeError("a worker process died, killed or out of memory; nothing of this was kept") from None
    finally:
        for future in running:
            future.cancel()
