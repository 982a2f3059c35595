"""How descriptors are printed."""

from collections.abc import Sequence

from bitvm_bridge.descriptors import Described
from cli.app import App
from cli.table import Table, emit_rows


def emit_descriptors(app: App, owner: dict[str, str], outputs: Sequence[Described]) -> None:
    """A row for each output: its name, address and descriptor, and whether a wallet can spend by it."""
    rows = [vars(item) for item in outputs]
    cells: list[tuple[str | int | float, ...]] = [(item.name, item.address, item.descriptor) for item in outputs]
    table = Table("Descriptors", ("output", "address", "descriptor"), cells)
    emit_rows(app, owner | {"descriptors": rows}, table, "\n".join("  ".join(map(str, row)) for row in cells))
