"""`bitvm-bridge dashboard`: the same as `status` and `instance show`, on a page that keeps itself up to date."""

import webbrowser
from contextlib import closing
from threading import Thread
from typing import Final

import click

from bitvm_bridge.chain.embedded import fingerprint, is_settled
from bitvm_bridge.dashboard.reader import Reader
from bitvm_bridge.dashboard.server import DashboardServer
from cli.app import EMBEDDED, App, emit, say, with_app
from cli.daemon import stopped_by_signals

PORT: Final = 8337
LOCAL: Final = "127.0.0.1"


@click.command()
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="0 takes a free one.")
@click.option("--host", default=LOCAL, show_default=True, metavar="ADDRESS", help="Where to listen.")
@click.option("--open", "show", is_flag=True, help="Show the page in the browser.")
@with_app
def dashboard(app: App, port: int, host: str, show: bool) -> None:
    """Serve a page that shows every instance: state, graph, deadlines.

    It looks at the data directory and the node, and changes neither: no key is read, no passphrase asked for. Ends
    with Ctrl-C.

    \b
    bitvm-bridge dashboard --open
    bitvm-bridge --signet dashboard --port 8080
    """
    with (
        stopped_by_signals() as stopped,
        closing(_reader(app)) as reader,
        DashboardServer(reader, host, port) as server,
    ):
        if not server.is_private:
            say("warning: anyone who reaches this address sees the page; there is no password")
        emit(app, {"url": server.url}, server.url)
        if show and not webbrowser.open(server.url):
            say("no browser was found; open the address above")
        serving = Thread(target=server.serve_forever)
        serving.start()
        stopped.wait()
        server.shutdown()
        serving.join()


def _reader(app: App) -> Reader:
    if app.node_kind != EMBEDDED:
        return Reader(app.home, app.network, app.node)
    chain = app.home / "chain"
    return Reader(app.home, app.network, app.node, lambda: fingerprint(chain), lambda: is_settled(chain))
