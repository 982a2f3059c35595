"""`keygen` and `address`, the same for every role."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bitvm_bridge.keys import Role, Seed, address
from bitvm_bridge.protocol import wallet_script
from cli.app import App, emit, say, with_app

F = TypeVar("F", bound=Callable[..., Any])
DEFAULT_NAME = "default"


def name_option(role: Role) -> Callable[[F], F]:
    """--name: which of this role's keys."""
    return click.option("--name", default=DEFAULT_NAME, show_default=True, help=f"Which {role} key to use.")


def add_key_commands(group: click.Group, role: Role) -> None:
    """Give a role's group its `keygen` and `address`."""

    @group.command()
    @click.option("--name", default=DEFAULT_NAME, show_default=True, help="A name for the new key.")
    @with_app
    def keygen(app: App, name: str) -> None:
        """Make a key and keep it, encrypted, in the data directory."""
        seed = Seed.generate(role)
        with app.store() as store:
            store.add_seed(name, seed)
        _show(app, seed, name)

    @group.command("address")
    @click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which key.")
    @with_app
    def show_address(app: App, name: str) -> None:
        """Show the address and public key of a key."""
        with app.store() as store:
            _show(app, store.seed(role, name), name)


def _show(app: App, seed: Seed, name: str) -> None:
    key = seed.wallet_key().xonly
    where = address(wallet_script(key), app.network)
    emit(app, {"role": seed.role, "name": name, "address": where, "key": key.hex()}, where)
    say(f"{seed.role} {name!r}, public key {key.hex()}")
