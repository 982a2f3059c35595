"""`keygen` and `address`, the same for every role."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from bitvm_bridge import keyring
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import ExternalKey, Role, Seed, WalletKey, address
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
    @click.option(
        "--external",
        metavar="KEY|DESCRIPTOR",
        help="Make none: another wallet holds it. Its x-only key, or tr([fingerprint/path]tpub…/0/*).",
    )
    @click.option(
        "--index", type=click.IntRange(0, 2**31 - 1), help="With a descriptor that ends in *: which child [0]."
    )
    @with_app
    def keygen(app: App, name: str, external: str | None, index: int | None) -> None:
        """Make a key and keep it, encrypted, in the data directory.

        With --external only the public half of a key is kept, and commands write PSBTs for its wallet to sign.
        """
        if index is not None and external is None:
            raise BadInput("--index", index, "used without --external")
        key: WalletKey
        with app.store() as store:
            if external is None:
                seed = Seed.generate(role)
                keyring.add_seed(store, name, seed)
                key = seed.wallet_key()
            else:
                key = keyring.parse_external(external, index or 0, "--external")
                keyring.add_external(store, role, name, key)
        _show(app, role, key, name)

    @group.command("address")
    @click.option("--name", default=DEFAULT_NAME, show_default=True, help="Which key.")
    @with_app
    def show_address(app: App, name: str) -> None:
        """Show the address and public key of a key."""
        with app.store() as store:
            _show(app, role, keyring.wallet_key(store, role, name), name)


def _show(app: App, role: Role, key: WalletKey, name: str) -> None:
    where = address(wallet_script(key.xonly), app.network)
    emit(app, {"role": role, "name": name, "address": where, "key": key.xonly.hex()}, where)
    held = ", in another wallet" if isinstance(key, ExternalKey) else ""
    say(f"{role} {name!r}, public key {key.xonly.hex()}{held}")
