"""Tables for people: drawn on a terminal, aligned text in a pipe."""

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Timer
from typing import TYPE_CHECKING, Any, Final, TypeVar

from cli.app import App, emit, say

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")
PATIENCE: Final = 0.5
"""seconds after which a wait is explained."""


@dataclass(frozen=True)
class Table:
    """Rows of equal length: numbers stand right, text left."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str | int | float, ...]]
    notes: tuple[str, ...] = ()
    emphasis: str = ""
    """Rows whose last cell holds this text stand out."""

    def cells(self) -> list[list[str]]:
        """Every row as text."""
        return [[_show(value) for value in row] for row in self.rows]

    def is_number(self, column: int) -> bool:
        """Does a column hold numbers?"""
        return bool(self.rows) and not isinstance(self.rows[0][column], str)


def _show(value: str | float) -> str:
    if isinstance(value, str):
        return value
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


def plain(table: Table) -> str:
    """Aligned text, for pipes and files."""
    cells = [list(table.columns), *table.cells()]
    widths = [max(len(row[column]) for row in cells) for column in range(len(table.columns))]
    lines = [
        "  ".join(
            text.rjust(width) if table.is_number(column) else text.ljust(width)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    return "\n".join((table.title, *lines, *table.notes))


def drawn(table: Table) -> str:
    """The same for a terminal."""
    from rich import box
    from rich.console import Console
    from rich.table import Table as Drawing

    drawing = Drawing(title=table.title, title_justify="left", title_style="bold", box=box.SIMPLE_HEAD)
    for column, name in enumerate(table.columns):
        drawing.add_column(name, justify="right" if table.is_number(column) else "left", overflow="fold")
    for row in table.cells():
        drawing.add_row(*row, style="bold" if table.emphasis and table.emphasis in row[-1] else "")
    console = Console(highlight=False)
    with console.capture() as capture:
        console.print(drawing)
        console.print(*table.notes, sep="\n", end="", markup=False)
    return capture.get().rstrip()


def render(table: Table) -> str:
    """As stdout wants it."""
    return (drawn if sys.stdout.isatty() else plain)(table)


def emit_rows(app: App, document: dict[str, Any], table: Table, lines: str) -> None:
    """Rows on stdout: the document with --json, a table on a terminal, `lines` without a heading in a pipe."""
    emit(app, document, drawn(table) if sys.stdout.isatty() and table.rows else lines)


def progress(items: Sequence[T], title: str) -> Iterable[T]:
    """The items; where stderr is a terminal, with a bar on it as they are taken."""
    if not sys.stderr.isatty():
        return items
    from rich.console import Console
    from rich.progress import track

    return track(items, title, console=Console(stderr=True), transient=True)


@contextmanager
def working(title: str) -> Iterator[None]:
    """Where stderr is a terminal, what is being done and for how long, once it takes more than a moment."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    shown.add_task(title, total=None)
    timer = Timer(PATIENCE, shown.start)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()
        shown.stop()


class Bar:
    """How much of a batch is done, at the foot of a terminal; nothing where stderr is none. Lines are said above it."""

    def __init__(self) -> None:
        self._shown: Progress | None = None

    @property
    def is_shown(self) -> bool:
        """Is there a bar on the screen?"""
        return self._shown is not None

    def show(self, text: str, done: int, total: int) -> None:
        """What is being done, and how much of it is; one thing is no batch, and gets no bar."""
        if total < 2 or not sys.stderr.isatty():
            return
        if self._shown is None:
            self._shown = _started_bar()
        self._shown.update(self._shown.task_ids[0], description=text, completed=done, total=total)

    def say(self, line: str) -> None:
        """Prose, on stderr."""
        if self._shown is None:
            say(line)
        else:
            self._shown.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Take it off the screen."""
        if self._shown is not None:
            self._shown.stop()
            self._shown = None


def _started_bar() -> "Progress":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    text = TextColumn("{task.description}", markup=False)
    columns = (text, BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = Progress(*columns, console=Console(stderr=True), transient=True)
    shown.add_task("", total=None)
    shown.start()
    return shown
