"""`bitvm-bridge withdrawer`: a user's half of a PegOut."""

from collections.abc import Sequence
from typing import Final

import click
import msgspec

from bitvm_bridge import keyring, records
from bitvm_bridge.chain.node import Utxo
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import ExternalKey, Role, WalletKey, parse_address
from bitvm_bridge.roles import withdrawer as role
from bitvm_bridge.sources.request import ID_SIZE, PegOutRequest
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.wallet import Wallet
from cli.app import STDOUT, App, emit, read_file, say, with_app, write_file
from cli.keys import add_key_commands, name_option

PURPOSE: Final = "a withdrawal of"
"""What the coin of a request is set aside for, before the amount."""


@click.group()
def withdrawer() -> None:
    """Ask an operator to pay you, with a half-signed PSBT.

    \b
    bitvm-bridge withdrawer keygen
    bitvm-bridge withdrawer request --amount 99000000 --out withdrawal.psbt
    """


add_key_commands(withdrawer, Role.WITHDRAWER)


@withdrawer.command()
@name_option(Role.WITHDRAWER)
@click.option("--amount", type=int, required=True, metavar="SAT", help="What the operator must pay you.")
@click.option("--to", metavar="ADDRESS", help="Where to be paid [your own wallet].")
@click.option("--coin", metavar="TXID:VOUT", help="Which coin to sign, an open request's too [the smallest free one].")
@click.option("--out", metavar="FILE", default=STDOUT, help="Where to write the PSBT [-].")
@with_app
def request(app: App, name: str, amount: int, to: str | None, coin: str | None, out: str) -> None:
    """Sign your half of a PegOut.

    It is a PSBT: one coin of yours, signed SINGLE|ANYONECANPAY, for an output that is worth the coin and the amount.
    Any coin will do, its value comes back to you. Hand the PSBT to an operator. Where another wallet holds your key, it
    must sign the PSBT first.

    The coin is set aside: of two requests with one coin, which --coin makes, one at most is paid.
    """
    role.check_amount(amount)
    wanted = None if coin is None else OutPoint.parse(coin, "--coin")
    with app.store() as store, app.node() as node:
        wallet = Wallet(keyring.wallet_key(store, Role.WITHDRAWER, name), node, fee_rate=1.0)
        script = wallet.script_pubkey if to is None else parse_address(to, app.network, "--to")
        coins = wallet.coins()[::-1]
        with store.transaction():
            psbt = _half(wallet.key, _choose(store, coins, wanted, name, amount), amount, script)
            if out != STDOUT:
                write_file(out, psbt.encode() + b"\n")
    emit(app, {"psbt": psbt, "amount": amount}, psbt if out == STDOUT else f"wrote {out}")


def _choose(store: Store, coins: Sequence[Utxo], wanted: OutPoint | None, name: str, amount: int) -> Utxo:
    """A coin that no other request or transaction has, or the one that was asked for. Sets it aside."""
    purpose = f"{PURPOSE} {amount:,} sat"
    if wanted is None:
        chosen = records.set_aside(store, coins, purpose)
        if chosen is None:
            others = f"each of {len(coins)} serves another request or transaction" if coins else "any will do"
            raise BridgeError(f"withdrawer {name!r}: no coin to sign with; {others}, its value comes back")
        return chosen
    found = [coin for coin in coins if coin.outpoint == wanted]
    serves = store.reserved_coins().get(wanted, purpose)
    if not found or not serves.startswith(PURPOSE):
        raise BadInput("--coin", wanted, "a spendable coin of this name that serves no transaction")
    records.set_aside(store, found, purpose)
    return found[0]


def _half(key: WalletKey, coin: Utxo, amount: int, script: bytes) -> str:
    """Signed, or where another wallet holds the key, as that must sign it."""
    if isinstance(key, ExternalKey):
        say("not signed; have the wallet sign it SINGLE|ANYONECANPAY, then hand it to an operator")
        return role.question(key, coin, amount, script).to_base64()
    return role.request(key, coin, amount, script).to_psbt()


@withdrawer.command()
@click.option("--psbt", required=True, metavar="FILE", help="Your signed half.")
@click.option("--id", "request_id", required=True, metavar="HEX", help="What the second layer calls it: 32 bytes.")
@click.option("--out", metavar="FILE", default=STDOUT, help="Where to write the request [-].")
@with_app
def order(app: App, psbt: str, request_id: str, out: str) -> None:
    """Write a request as a second layer passes it on.

    It is your half of a PegOut with the second layer's id, on one line, as `operator peg-outs` takes it.
    """
    withdrawal = role.Withdrawal.from_psbt(read_file(psbt, "--psbt").decode("ascii", "replace"))
    asked = PegOutRequest(from_hex("--id", request_id, ID_SIZE), withdrawal)
    text = asked.to_json().decode()
    if out != STDOUT:
        write_file(out, text.encode() + b"\n")
    emit(app, msgspec.structs.asdict(asked.document()), text if out == STDOUT else f"wrote {out}")
