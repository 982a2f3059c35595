"""What every command that makes a transaction shares: its options, its report, and how it sends."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import click

from bitvm_bridge import actions, records, unsigned
from bitvm_bridge.chain.node import Node, Verdict
from bitvm_bridge.errors import BadInput
from bitvm_bridge.fees import check_fee_rate
from bitvm_bridge.keys import Role
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared, Wallet
from cli.app import STDOUT, App, emit, say, staged_file

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(frozen=True)
class Sending:
    """What the caller wants done with the transaction."""

    broadcast: bool
    dry_run: bool
    out: str | None
    fee_rate: float | None
    psbt_out: str | None = None

    def __post_init__(self) -> None:
        if self.broadcast and self.dry_run:
            raise click.UsageError("--broadcast and --dry-run exclude each other")

    def check_is_question(self) -> None:
        """Raises BadInput for what only a signed transaction can be asked to do."""
        for option, given in (("--broadcast", self.broadcast), ("--out", self.out is not None)):
            if given:
                raise BadInput(option, "given", "used before another wallet has signed; `psbt finish` takes it then")

    def check_is_answer(self) -> None:
        """Raises BadInput for what can no longer be asked of a transaction that others have signed."""
        for option, given in (("--fee-rate", self.fee_rate), ("--psbt-out", self.psbt_out)):
            if given is not None:
                raise BadInput(option, given, "used here: the transaction is what was signed")


def sending_options(command: F) -> F:
    """--broadcast, --dry-run, --out, --fee-rate and --psbt-out."""
    for option in (
        click.option(
            "--psbt-out",
            metavar="FILE",
            help="Where another wallet holds the key: what it must sign, in base64, a line for each PSBT [-].",
        ),
        click.option("--fee-rate", type=float, metavar="SAT/VB", help="Fee rate [that of --fee-source]."),
        click.option(
            "--out",
            metavar="FILE",
            help="Write the raw transaction in hex, `-` for stdout; a package child on a second line.",
        ),
        click.option("--dry-run", is_flag=True, help="Only report: keep nothing here, send nothing."),
        click.option("--broadcast", is_flag=True, help="Send it to the node."),
    ):
        command = option(command)
    return command


def take_sending(options: dict[str, Any]) -> Sending:
    """The sending options out of a command's options."""
    return Sending(*(options.pop(name) for name in ("broadcast", "dry_run", "out", "fee_rate", "psbt_out")))


def open_wallet(
    app: App, store: Store, node: Node, role: Role, name: str, sending: Sending, owner: bytes, what: str
) -> Wallet:
    """The wallet of a named key, to make the transaction `what` of a deposit or instance.

    Coins that the store has set aside for anything else are left alone.
    """
    return actions.open_wallet(store, node, role, name, fee_rate(app, node, sending.fee_rate), owner, what)


def fee_rate(app: App, node: Node, asked: float | None, blocks_left: int | None = None) -> float:
    """The rate that was asked for, else that of the fee policy (sat/vB). Raises BadInput or BridgeError."""
    if asked is None:
        return app.fees.policy(node).rate(blocks_left)
    check_fee_rate(asked, app.fees.maximum)
    return asked


def finish(
    app: App,
    store: Store,
    node: Node,
    sending: Sending,
    owner: bytes,
    prepared: Prepared,
    *,
    keep: Callable[[], None] | None = None,
    verdict: Verdict | None = None,
    **more: str | list[str],
) -> None:
    """Report a transaction and do with it what was asked.

    `keep` stores what must be known before the transaction is sent; it, the file and the record of the transaction
    are there all or none. `verdict` stands for the node's where that was not asked. What is too heavy to relay is
    mined directly on regtest. Raises NodeRejected, or BridgeError where only a miner could take it, when it was to be
    sent; CoinTaken where another command has chosen the same coin meanwhile.

    Where the signatures of another wallet are missing, the transaction is kept until they are there, and written as
    PSBTs.
    """
    if verdict is None and unsigned.is_unsigned(prepared):
        _hand_over(app, store, sending, owner, prepared, keep, more)
        return
    if sending.psbt_out is not None:
        raise BadInput("--psbt-out", sending.psbt_out, "used here: the key is in this data directory and has signed")
    verdict = verdict or actions.judge(prepared, node)
    if not sending.dry_run:
        records.refuse_taken(store, owner, prepared)  # else the node's word may be about the transaction that took it
    if sending.broadcast:
        actions.refuse_unsendable(prepared, node, verdict)
    raw = [tx.serialize().hex() for tx in prepared.transactions]
    with _output(sending.out, raw):
        if not sending.dry_run:
            with store.transaction():
                if keep is not None:
                    keep()
                records.keep(store, owner, prepared, sent=sending.broadcast)
    if sending.broadcast:
        actions.send(prepared, node)
    _report(app, sending, describe(prepared, verdict) | more | {"broadcast": sending.broadcast}, raw)


def rehearse(app: App, store: Store, node: Node, sending: Sending, owner: bytes, prepared: Prepared) -> None:
    """Report a transaction whose size is final but whose signatures are placeholders. Raises BadInput for --out."""
    if sending.out is not None:
        raise BadInput("--out", sending.out, "used with --dry-run here: nothing is signed that could be written")
    verdict = actions.judge_by_rules(prepared)
    verdict = Verdict(verdict.allowed, verdict.reason or "standard; not signed in a dry run, so no script was run")
    finish(app, store, node, sending, owner, prepared, verdict=verdict)


def _hand_over(
    app: App,
    store: Store,
    sending: Sending,
    owner: bytes,
    prepared: Prepared,
    keep: Callable[[], None] | None,
    more: dict[str, str | list[str]],
) -> None:
    """Write what another wallet must sign, and keep the transaction until it has."""
    sending.check_is_question()
    key = unsigned.signer(store, prepared)
    texts = [question.to_base64() for question in unsigned.questions(prepared, key)]
    out = sending.psbt_out or STDOUT
    with _output(out, texts):
        if not sending.dry_run:
            with store.transaction():
                if keep is not None:
                    keep()
                unsigned.hold(store, unsigned.Unsigned(owner, key.xonly, prepared))
    verdict = actions.judge_by_rules(prepared)
    verdict = Verdict(verdict.allowed, verdict.reason or "standard; no script was run before it is signed")
    document = describe(prepared, verdict) | more | {"broadcast": False, "signer": key.xonly.hex()}
    show(app, document, out, "psbt", texts)
    if sending.dry_run:
        say("nothing kept (--dry-run)")
    else:
        say("not signed; have the wallet sign it, then `psbt finish FILE`")


def _output(out: str | None, raw: list[str]) -> AbstractContextManager[None]:
    if out is None or out == STDOUT:
        return nullcontext()
    return staged_file(out, _lines(raw))


def _lines(raw: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in raw).encode()


def _report(app: App, sending: Sending, document: dict[str, Any], raw: list[str]) -> None:
    """The document on stdout; with `--out -` the raw transaction takes its place there."""
    show(app, document, sending.out, "raw", raw)
    if not sending.broadcast:
        say("not sent" + (", and nothing kept (--dry-run)" if sending.dry_run else "; --broadcast sends it"))


def show(app: App, document: dict[str, Any], out: str | None, name: str, lines: list[str]) -> None:
    """A report on stdout; what is written to `-` takes its place there, or stands in the document under a name."""
    text = "\n".join(f"{key:<12} {_show(key, value, 'child' in document)}" for key, value in document.items())
    if out != STDOUT:
        emit(app, document, text)
    elif app.json:
        emit(app, document | {name: lines}, text)
    else:
        say(text)
        click.echo(_lines(lines), nl=False)


UNITS: Final = {"vsize": "vB", "weight": "WU", "fee": "sat", "child_vsize": "vB", "child_weight": "WU"}


def _show(name: str, value: object, is_package: bool) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return " ".join(value)
    paid_by = ", paid by the child" if name == "fee" and is_package else ""
    return f"{value} {UNITS[name]}{paid_by}" if name in UNITS else str(value)


def describe(prepared: Prepared, verdict: Verdict) -> dict[str, Any]:
    """Name, txid, sizes, fee (the child's included) and policy verdict; a package has its child's txid and sizes."""
    document: dict[str, Any] = {
        "name": prepared.name,
        "txid": prepared.tx.txid_hex,
        "vsize": prepared.tx.vsize,
        "weight": prepared.tx.weight,
        "fee": prepared.fee,
        "policy": verdict.reason or "accepted",
    }
    if prepared.child is not None:
        child = prepared.child.tx
        document |= {"child": child.txid_hex, "child_vsize": child.vsize, "child_weight": child.weight}
    return document
