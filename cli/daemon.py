"""What commands share that run until a signal ends them, and that can rehearse a turn without keeping anything."""

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event as Flag
from typing import Final, TypeVar

from bitvm_bridge.errors import NodeUnreachable
from bitvm_bridge.store import Store

T = TypeVar("T")
POLL: Final = 30.0
MAX_BACKOFF: Final = 600.0
"""seconds: the longest wait for a node that does not answer."""


def forever(turn: Callable[[], None], failed: Callable[[NodeUnreachable], None], poll: float) -> None:
    """Turn after turn until a signal ends it; who does not answer is asked again, more and more rarely."""
    with stopped_by_signals() as stopped:
        pause = poll
        while not stopped.is_set():
            try:
                turn()
                pause = poll
            except NodeUnreachable as error:
                failed(error)
                pause = min(2 * pause, max(MAX_BACKOFF, poll))
            stopped.wait(pause)


@contextmanager
def stopped_by_signals() -> Iterator[Flag]:
    """A flag that SIGINT and SIGTERM set, so that nothing ends in the middle of a turn."""
    flag = Flag()
    before = {number: signal.signal(number, lambda *_: flag.set()) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield flag
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Undo(Exception):
    """Ends a dry run's store transaction without keeping anything."""


def undone(store: Store, turn: Callable[[], T]) -> T:
    """What a turn comes to, with the store as it was before."""
    results: list[T] = []
    try:
        with store.transaction():
            results.append(turn())
            raise _Undo
    except _Undo:
        return results[0]
