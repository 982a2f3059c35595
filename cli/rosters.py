"""The roster as commands take it."""

from typing import Final

import click

from bitvm_bridge.errors import BadInput
from bitvm_bridge.exchange.roster import Roster
from cli.app import App, read_file
from cli.keys import DEFAULT_NAME

roster_option: Final = click.option("--roster", "roster_file", required=True, metavar="FILE", help="Who takes part.")
name_option: Final = click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which key of that role.")


def read_roster(app: App, path: str) -> Roster:
    """A roster for the chosen network. Raises BadInput."""
    found = Roster.from_json(read_file(path, "--roster"))
    if found.terms.params.network is not app.network:
        raise BadInput("--roster", path, f"a roster for {app.network}; it is for {found.terms.params.network}")
    return found
