"""`bitvm-bridge psbt`: transactions that another wallet signs."""

from typing import Any, Final

import click

from bitvm_bridge import records, unsigned
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.psbt import MAGIC, Psbt
from bitvm_bridge.store import Store
from bitvm_bridge.unsigned import Unsigned
from cli.app import App, emit, read_file, say, with_app
from cli.sending import finish as send
from cli.sending import sending_options, take_sending
from cli.table import Table, emit_rows

MIN_PREFIX: Final = 8
"""hex digits that an abbreviated txid must have."""


@click.group()
def psbt() -> None:
    """Finish what another wallet has signed.

    A key made with `keygen --external` stays in its wallet: commands write PSBTs for it and keep the transaction. `psbt
    finish` takes the signatures back.

    \b
    bitvm-bridge depositor keygen --external "tr([d34db33f/86h/1h/0h]tpub…/0/*)"
    bitvm-bridge depositor deposit --receiver 00112233… --psbt-out deposit.psbt
    bitcoin-cli walletprocesspsbt "$(cat deposit.psbt)" | jq -r .psbt > signed.psbt
    bitvm-bridge psbt finish signed.psbt --broadcast
    """


@psbt.command("list")
@with_app
def list_unsigned(app: App) -> None:
    """List the transactions that wait for another wallet's signatures."""
    with app.store() as store:
        waiting = unsigned.held(store)
    rows: list[dict[str, str | int]] = [
        {
            "name": item.prepared.name,
            "txid": item.prepared.tx.txid_hex,
            "of": item.owner.hex(),
            "missing": item.missing,
            "signer": item.key.hex(),
        }
        for item in waiting
    ]
    cells: list[tuple[str | int | float, ...]] = [tuple(row.values()) for row in rows]
    table = Table("Waiting for signatures", ("name", "txid", "of", "missing", "signer"), cells)
    emit_rows(app, {"unsigned": rows}, table, "\n".join("  ".join(map(str, row)) for row in cells))
    if not rows:
        say("nothing waits for another wallet")


@psbt.command()
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(dir_okay=False, allow_dash=True))
@sending_options
@with_app
def finish(app: App, /, files: tuple[str, ...], **options: Any) -> None:
    """Complete a transaction with the signatures in FILE.

    FILE is a PSBT of version 0 or 2, binary or base64; a package needs that of the child as well, on a second line or
    in a second file. It must be the very transaction that was made here, and every signature is verified before it is
    used. Nothing else in it is. The fee is that of the command that made it.

    \b
    bitvm-bridge psbt finish signed.psbt --broadcast
    """
    sending = take_sending(options)
    sending.check_is_answer()
    signed = [item for file in files for item in read_psbts(file)]
    with app.store() as store:
        found = unsigned.find(store, signed[0]).sign(signed)
        if found.missing:
            raise BridgeError(
                f"{found.prepared.name}: {found.missing} more signatures are missing; give every PSBT of it"
            )
        if found.is_challenge:
            _keep_challenge(app, store, found, sending.dry_run)
            return
        with app.node() as node:
            send(app, store, node, sending, found.owner, found.prepared, keep=lambda: unsigned.drop(store, found))


def _keep_challenge(app: App, store: Store, found: Unsigned, dry_run: bool) -> None:
    """The operator's half of Challenge is published with the bundle, never sent by itself."""
    if not dry_run:
        with store.transaction():
            store.put(records.CHALLENGE, found.owner, found.prepared.tx.inputs[0].witness[0][:64])
            unsigned.drop(store, found)
    emit(app, {"instance": found.owner.hex()}, found.owner.hex())
    say("the signature for Challenge verifies" + ("; nothing kept (--dry-run)" if dry_run else " and is kept"))


def read_psbts(file: str) -> list[Psbt]:
    """Every PSBT of a file: one in binary, or base64, one a line. Raises BadInput, for none too."""
    raw = read_file(file, "file")
    parts = [raw] if raw.startswith(MAGIC) else raw.split()
    if not parts:
        raise BadInput("file", file, "a file with a PSBT")
    return [Psbt.parse(part) for part in parts]


@psbt.command()
@click.argument("txid")
@with_app
def cancel(app: App, txid: str) -> None:
    """Forget a transaction that was never signed, and let its coins go.

    TXID is its first digits, as `psbt list` shows it. Whoever has its PSBT can still sign and send it.
    """
    with app.store() as store, store.transaction():
        found = [item for item in unsigned.held(store) if item.prepared.tx.txid_hex.startswith(txid.lower())]
        if len(txid) < MIN_PREFIX or len(found) != 1:
            raise BadInput("txid", txid, f"the first {MIN_PREFIX} or more digits of one transaction of `psbt list`")
        unsigned.drop(store, found[0])
        store.release_coins(records.purpose(found[0].owner, found[0].prepared.name))
    emit(app, {"cancelled": found[0].prepared.tx.txid_hex}, found[0].prepared.tx.txid_hex)
