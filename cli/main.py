"""`bitvm-bridge`: a group for each role, and the demo."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
from platformdirs import user_data_path

from bitvm_bridge import __version__, fees
from bitvm_bridge.errors import BadInput
from bitvm_bridge.fees import FeeOptions
from bitvm_bridge.params import Network
from bitvm_bridge.program import cache
from cli import (
    bench,
    bump,
    challenger,
    committee,
    council,
    dashboard,
    demo,
    depositor,
    dlc,
    exchange,
    instance,
    l2_stub,
    node,
    operator,
    program,
    psbt,
    serve,
    status,
    watch,
    withdrawer,
)
from cli.app import BITCOIND, EMBEDDED, ESPLORA, App, RpcOptions, read_file, refusals_exit, refuse

EPILOG = """\b
Exit codes: 0 done · 1 refused · 2 bad usage or input · 3 node unreachable
            4 node rejected · 5 verification failed
Data goes to stdout, prose to stderr; `-` as a file is stdin or stdout.
A DEPOSIT or INSTANCE is named by the first digits of its id."""


class _Root(click.Group):
    """Takes --json anywhere on the line, so that `bitvm-bridge demo --json` reads naturally."""

    def make_context(self, info_name: str | None, args: list[str], *others: Any, **extra: Any) -> click.Context:
        json = "--json" in args
        with _usage_is_one_line(json):
            args = ["--json"] * json + [arg for arg in args if arg != "--json"]
            return super().make_context(info_name, args, *others, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        with _usage_is_one_line(ctx.params["json"]):
            return super().invoke(ctx)


@contextmanager
def _usage_is_one_line(json: bool) -> Iterator[None]:
    """A wrong option or argument looks like every other refusal, and names the help to read."""
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "bitvm-bridge"
        message = " ".join(error.format_message().split()).rstrip(".")
        refuse(f"{message[:1].lower()}{message[1:]}; `{path} --help` explains", error.exit_code, json)


@click.group(cls=_Root, epilog=EPILOG, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--network", type=click.Choice([str(item) for item in Network]), help="Chain to work on [regtest].")
@click.option("--regtest", "shortcut", flag_value="regtest", help="Same as --network regtest.")
@click.option("--signet", "shortcut", flag_value="signet", help="Same as --network signet.")
@click.option(
    "--datadir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="BITVM_BRIDGE_DATADIR",
    help="Where keys, instances and the embedded chain are kept.",
)
@click.option(
    "--node",
    "node_kind",
    type=click.Choice([EMBEDDED, BITCOIND]),
    help="embedded: a regtest chain in this process; bitcoind: a node over RPC [bitcoind with any --rpc… or --signet].",
)
@click.option("--rpcconnect", metavar="HOST", help="bitcoind's host [127.0.0.1].")
@click.option("--rpcport", type=int, metavar="PORT", help="bitcoind's RPC port [the network's].")
@click.option("--rpcuser", metavar="USER", help="RPC user.")
@click.option(
    "--rpcpassword", metavar="PASSWORD", envvar="BITVM_BRIDGE_RPCPASSWORD", show_envvar=True, help="RPC password."
)
@click.option("--rpccookiefile", type=click.Path(path_type=Path), metavar="FILE", help="RPC cookie [bitcoind's own].")
@click.option("--rpcwallet", metavar="NAME", help="bitcoind wallet to address.")
@click.option(
    "--start-height",
    type=click.IntRange(1),
    metavar="HEIGHT",
    help="Look for transactions in bitcoind's blocks from here on [regtest: all; else the last 10,000].",
)
@click.option(
    "--signet-challenge",
    metavar="HEX",
    help="The signet is the one with this challenge [Esplora: the public one; bitcoind: its own].",
)
@click.option("--esplora", default="", metavar="URL", help="An Esplora server instead of a node of your own.")
@click.option(
    "--cachedir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar=cache.VARIABLE,
    help="Where compiled scripts are kept; may be deleted at any time [the user's cache].",
)
@click.option(
    "--fee-source",
    default=fees.NODE,
    metavar="node|URL|SAT/VB",
    help="Fee rates: the node's estimate, an Esplora server's, or always the same one [node].",
)
@click.option(
    "--max-fee-rate",
    type=float,
    default=fees.MAX_FEE_RATE,
    metavar="SAT/VB",
    help=f"Refuse to pay more [{fees.MAX_FEE_RATE:g}].",
)
@click.option("--fee-margin", type=float, default=1.0, metavar="FACTOR", help="Pay so many times the estimate [1].")
@click.option("--json", is_flag=True, help="Print one JSON document.")
@click.option("--insecure-plain-keys", is_flag=True, help="Regtest only: keep keys unencrypted.")
@click.option(
    "--passphrase-file",
    metavar="FILE",
    help="First line: the passphrase of the keys. Else $BITVM_BRIDGE_PASSPHRASE, else asked for.",
)
@click.version_option(__version__, prog_name="bitvm-bridge")
@click.pass_context
def root(context: click.Context, /, **options: Any) -> None:
    """Build, sign and broadcast the transactions of a pay-first, reimburse-later BitVM bridge.

    New here? `bitvm-bridge demo` plays a claim, a challenge and two frauds on a chain inside this process.
    """
    context.with_resource(cache.use_directory(options.pop("cachedir")))
    with refusals_exit(options["json"]):
        context.obj = _app(**options)


def _app(
    *,
    network: str | None,
    shortcut: str | None,
    datadir: Path | None,
    node_kind: str | None,
    esplora: str,
    json: bool,
    insecure_plain_keys: bool,
    passphrase_file: str | None,
    fee_source: str,
    max_fee_rate: float,
    fee_margin: float,
    start_height: int | None,
    signet_challenge: str | None,
    **rpc: Any,
) -> App:
    if network and shortcut and network != shortcut:
        raise BadInput("--network", network, f"the network that --{shortcut} names")
    chosen = Network(network or shortcut or Network.REGTEST)
    connection = RpcOptions(**rpc)
    if esplora and (node_kind or connection.given()):
        raise BadInput("--esplora", esplora, "used without --node and --rpc…")
    kind = node_kind or (BITCOIND if connection.given() or chosen is not Network.REGTEST else EMBEDDED)
    kind = ESPLORA if esplora else kind
    if start_height is not None and kind != BITCOIND:
        raise BadInput("--start-height", start_height, "used with bitcoind, the one that is searched block by block")
    if kind == EMBEDDED and chosen is not Network.REGTEST:
        raise BadInput("--node", kind, f"bitcoind on {chosen}: the embedded chain is regtest only")
    if insecure_plain_keys and chosen is not Network.REGTEST:
        raise BadInput("--insecure-plain-keys", chosen, "used on regtest only")
    home = datadir or user_data_path("bitvm-bridge")
    return App(
        chosen,
        home,
        kind,
        connection,
        json,
        insecure_plain_keys,
        _passphrase(passphrase_file),
        FeeOptions(fee_source, max_fee_rate, fee_margin),
        esplora,
        start_height,
        _challenge(signet_challenge, chosen),
    )


def _challenge(text: str | None, network: Network) -> bytes | None:
    if text is None:
        return None
    if network is not Network.SIGNET:
        raise BadInput("--signet-challenge", text, f"used on signet (this is {network})")
    try:
        challenge = bytes.fromhex(text)
    except ValueError:
        challenge = b""
    if not challenge:
        raise BadInput("--signet-challenge", text, "a script in hex")
    return challenge


def _passphrase(file: str | None) -> str | None:
    if file is None:
        return os.environ.get("BITVM_BRIDGE_PASSPHRASE") or None
    line = read_file(file, "--passphrase-file").partition(b"\n")[0].rstrip(b"\r")
    try:
        passphrase = line.decode()
    except UnicodeDecodeError:
        passphrase = ""
    if not passphrase:
        raise BadInput("--passphrase-file", file, "a file whose first line is a passphrase in UTF-8")
    return passphrase


committee.committee.add_command(serve.serve)
for group in (
    depositor.depositor,
    withdrawer.withdrawer,
    operator.operator,
    committee.committee,
    council.council,
    challenger.challenger,
    instance.instance,
    exchange.exchange,
    program.program,
    dlc.dlc,
    psbt.psbt,
    bump.bump,
    bump.resend,
    bump.coins,
    node.node,
    demo.demo,
    bench.bench,
    status.status,
    dashboard.dashboard,
    watch.watch,
    l2_stub.l2_stub,
):
    root.add_command(group)


def main() -> None:
    """Entry point of the `bitvm-bridge` command."""
    root()
