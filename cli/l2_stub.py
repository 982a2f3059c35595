"""`bitvm-bridge l2-stub`: a second layer to try the bridge with."""

from contextlib import closing

import click

from bitvm_bridge.sources.stub import MEMORY, SecondLayer, Sequencer
from cli.app import App, emit, say, with_app
from cli.daemon import stopped_by_signals


@click.command("l2-stub")
@click.option("--port", type=int, default=8900, show_default=True, help="Where to listen on 127.0.0.1; 0: any.")
@click.option("--file", default=MEMORY, metavar="FILE", help="Keep what it was told in this file [in memory].")
@with_app
def l2_stub(app: App, /, port: int, file: str) -> None:
    """Serve a toy second layer until a signal ends it.

    It orders requests for PegOuts and hands out proofs that it was given. It believes everything: not for money.

    \b
    bitvm-bridge l2-stub &
    bitvm-bridge withdrawer order --psbt withdrawal.psbt --id 5f… --out request.json
    curl --data-binary @request.json http://127.0.0.1:8900/requests
    bitvm-bridge operator peg-outs --source http://127.0.0.1:8900/requests --once --broadcast
    """
    with closing(Sequencer(file)) as sequencer, stopped_by_signals() as stopped, SecondLayer(sequencer, port) as layer:
        emit(app, {"url": layer.url}, layer.url)
        say("serving; Ctrl-C ends it")
        stopped.wait()
