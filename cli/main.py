"""`bitvm-bridge`: a group for each role, and the demo."""

import os
from pathlib import Path
from typing import Any

import click
from platformdirs import user_data_path

from bitvm_bridge import __version__
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import Network
from cli import bench, challenger, committee, demo, depositor, instance, node, operator, withdrawer
from cli.app import BITCOIND, EMBEDDED, App, RpcOptions, refusals_exit

EPILOG = """\b
Exit codes: 0 done · 1 refused · 2 bad usage or input · 3 node unreachable · 4 node rejected · 5 verification failed
Data goes to stdout, prose to stderr. Large data travels in files; `-` is stdin or stdout."""


class _Root(click.Group):
    """Takes --json anywhere on the line, so that `bitvm-bridge demo --json` reads naturally."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if "--json" in args:
            args = ["--json", *(arg for arg in args if arg != "--json")]
        return super().parse_args(ctx, args)


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
@click.option("--json", is_flag=True, help="Print one JSON document.")
@click.option("--insecure-plain-keys", is_flag=True, help="Regtest only: keep keys unencrypted.")
@click.option(
    "--passphrase-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="First line: the passphrase of the keys. Else $BITVM_BRIDGE_PASSPHRASE, else asked for.",
)
@click.version_option(__version__, prog_name="bitvm-bridge")
@click.pass_context
def root(context: click.Context, /, **options: Any) -> None:
    """Build, sign and broadcast the transactions of a pay-first, reimburse-later BitVM bridge.

    New here? `bitvm-bridge demo` plays a claim, a challenge and two frauds on a chain inside this process.
    """
    with refusals_exit():
        context.obj = _app(**options)


def _app(
    *,
    network: str | None,
    shortcut: str | None,
    datadir: Path | None,
    node_kind: str | None,
    json: bool,
    insecure_plain_keys: bool,
    passphrase_file: Path | None,
    **rpc: Any,
) -> App:
    if network and shortcut and network != shortcut:
        raise BadInput("--network", network, f"the network that --{shortcut} names")
    chosen = Network(network or shortcut or Network.REGTEST)
    connection = RpcOptions(**rpc)
    kind = node_kind or (BITCOIND if connection.given() or chosen is not Network.REGTEST else EMBEDDED)
    if kind == EMBEDDED and chosen is not Network.REGTEST:
        raise BadInput("--node", kind, f"bitcoind on {chosen}: the embedded chain is regtest only")
    if insecure_plain_keys and chosen is not Network.REGTEST:
        raise BadInput("--insecure-plain-keys", chosen, "used on regtest only")
    passphrase = os.environ.get("BITVM_BRIDGE_PASSPHRASE")
    if passphrase_file is not None:
        passphrase = passphrase_file.read_text().split("\n")[0]
    home = datadir or user_data_path("bitvm-bridge")
    return App(chosen, home, kind, connection, json, insecure_plain_keys, passphrase)


for group in (
    depositor.depositor,
    withdrawer.withdrawer,
    operator.operator,
    committee.committee,
    challenger.challenger,
    instance.instance,
    node.node,
    demo.demo,
    bench.bench,
):
    root.add_command(group)


def main() -> None:
    """Entry point of the `bitvm-bridge` command."""
    root()
