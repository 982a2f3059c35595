"""`bitvm-bridge council`: k of m who may move what nobody else has moved."""

from typing import Any

import click

from bitvm_bridge import keyring, records
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role, address, parse_address
from bitvm_bridge.roles import council as role
from bitvm_bridge.transaction import OutPoint
from cli.app import STDOUT, App, emit, say, staged_file, with_app
from cli.keys import add_key_commands, name_option
from cli.psbt import read_psbts
from cli.sending import fee_rate, finish, sending_options, take_sending


@click.group()
def council() -> None:
    """Move a vault in an emergency: k of m keys, after a long wait.

    \b
    bitvm-bridge council keygen
    bitvm-bridge depositor deposit --council 2:KEY,KEY,KEY --council-delay 4320 …
    bitvm-bridge council spend DEPOSIT --to ADDRESS --psbt-out payout.psbt
    bitvm-bridge council show payout.psbt
    bitvm-bridge council sign payout.psbt --psbt-out signed.psbt
    bitvm-bridge council finish signed.psbt other.psbt --broadcast
    """


add_key_commands(council, Role.COUNCIL)
psbt_out = click.option("--psbt-out", default=STDOUT, metavar="FILE", help="Where to write the PSBT, in base64 [-].")


@council.command()
@click.argument("deposit")
@click.option("--to", required=True, metavar="ADDRESS", help="Who is paid all of it, less the fee.")
@click.option("--exit", "exit_number", type=int, metavar="NUMBER", help="Which vault output of the deposit [0].")
@click.option("--burnt", metavar="TXID:VOUT", help="The council's share of a slashed bond instead.")
@click.option("--fee-rate", "rate", type=float, metavar="SAT/VB", help="Fee rate [that of --fee-source].")
@psbt_out
@with_app
def spend(
    app: App, deposit: str, to: str, exit_number: int | None, burnt: str | None, rate: float | None, psbt_out: str
) -> None:
    """Write what the council must sign to move an exit of DEPOSIT.

    Valid when the council's delay has passed after PegIn, and while nobody else has spent the exit. The PSBT has all
    that the members need.
    """
    if burnt is not None and exit_number is not None:
        raise BadInput("--burnt", burnt, "used together with --exit")
    script = parse_address(to, app.network, "--to")
    with app.store() as store, app.node() as node:
        setup = records.load_deposit(store, deposit)
        rate = fee_rate(app, node, rate)
        if burnt is None:
            payout = role.payout(setup, exit_number or 0, script, rate)
        else:
            payout = role.burnt(setup, OutPoint.parse(burnt, "--burnt"), script, rate)
        outpoint = payout.funded.tx.inputs[0].outpoint
        found = node.output(outpoint)
    if found is None or found.output != payout.funded.spent[0]:
        raise BridgeError(f"{role.NAME}: {outpoint} is not there, is spent, or is not the council's")
    _write(app, payout, psbt_out)
    say(f"valid from block {found.height + payout.council.delay:,}")


@council.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@with_app
def show(app: App, file: str) -> None:
    """Show what the PSBT in FILE moves, and who has signed.

    It must move one output by the leaf of a council after its wait; every signature in it is verified.
    """
    _write(app, role.joined(read_psbts(file)), None)


@council.command()
@click.argument("file", type=click.Path(dir_okay=False, allow_dash=True))
@name_option(Role.COUNCIL)
@psbt_out
@with_app
def sign(app: App, file: str, name: str, psbt_out: str) -> None:
    """Check the PSBT in FILE as `council show` does, and sign it.

    You must be in the council. Where another wallet holds your key, let that sign FILE.
    """
    payout = role.joined(read_psbts(file))
    with app.store() as store:
        payout = payout.sign(keyring.signing_key(store, Role.COUNCIL, name, "let it sign the file"))
    _write(app, payout, psbt_out)


@council.command("finish")
@click.argument("files", metavar="FILE…", nargs=-1, required=True, type=click.Path(dir_okay=False, allow_dash=True))
@sending_options
@with_app
def finish_(app: App, /, files: tuple[str, ...], **options: Any) -> None:
    """Put the signatures of all FILEs together, and send.

    Every signature is verified. The fee is that of `council spend`.
    """
    sending = take_sending(options)
    sending.check_is_answer()
    payout = role.joined(found for file in files for found in read_psbts(file))
    prepared = payout.finish()
    with app.store() as store, app.node() as node:
        finish(app, store, node, sending, prepared.tx.inputs[0].outpoint.txid, prepared)


def _write(app: App, payout: role.Payout, out: str | None) -> None:
    """The PSBT, and what it does."""
    tx, text = payout.funded.tx, payout.to_psbt().to_base64()
    document = {
        "name": role.NAME,
        "txid": tx.txid_hex,
        "spends": str(tx.inputs[0].outpoint),
        "to": [{"address": address(paid.script_pubkey, app.network), "amount": paid.amount} for paid in tx.outputs],
        "fee": payout.funded.fee,
        "wait": payout.council.delay,
        "signed": [key.hex() for key, _ in payout.signatures],
        "missing": payout.missing,
    }
    where = ", ".join(f"{paid['amount']:,} sat to {paid['address']}" for paid in document["to"])  # type: ignore[attr-defined]
    said = f"{where}, fee {payout.funded.fee:,} sat; {len(payout.signatures)} signatures, {payout.missing} missing"
    if out is None:
        emit(app, document, said)
    elif out == STDOUT:
        emit(app, document | {"psbt": text}, text)
        say(said)
    else:
        with staged_file(out, f"{text}\n".encode()):
            emit(app, document, said)
