"""`bitvm-bridge committee serve`: a mailbox for a roster, over HTTP."""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import click
import msgspec

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.service.limits import Limits
from cli.app import App, emit, read_file, say, with_app
from cli.daemon import stopped_by_signals

LOCALHOST: Final = "127.0.0.1"
PORT: Final = 8440
DEFAULT: Final = Limits()
_EXTRA: Final = ("starlette", "uvicorn", "h11", "anyio")


@click.command()
@click.option("--roster", required=True, metavar="FILE", help="Who may put envelopes there and read them.")
@click.option("--host", default=LOCALHOST, show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="0: a free one.")
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="HOST[:PORT]",
    help="What parties call it, as in the URL they use [the address and localhost].",
)
@click.option("--tls-cert", type=click.Path(dir_okay=False, path_type=Path), help="PEM certificate chain: serve https.")
@click.option("--tls-key", type=click.Path(dir_okay=False, path_type=Path), help="Its PEM key, not encrypted.")
@click.option(
    "--file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Where envelopes are kept [mailbox.sqlite of the network].",
)
@click.option(
    "--max-envelopes", type=click.IntRange(1), default=DEFAULT.envelopes, show_default=True, help="Of one author."
)
@click.option(
    "--max-bytes", type=click.IntRange(1), default=DEFAULT.size, show_default=True, help="Of all of one author's."
)
@click.option(
    "--connections", type=click.IntRange(1), default=DEFAULT.connections, show_default=True, help="Open at once."
)
@click.option(
    "--timeout",
    type=click.FloatRange(0.1),
    default=DEFAULT.request_time,
    show_default=True,
    metavar="SECONDS",
    help="For a request and its answer.",
)
@with_app
def serve(app: App, /, **options: Any) -> None:
    """Keep signed envelopes for the parties of a roster.

    Nobody has to trust the service: it has no key, and what counts is the signature in every envelope. It can
    withhold envelopes, and tell outsiders what they say. The log, a JSON object a line, goes to stderr.

    \b
    bitvm-bridge committee serve --roster roster.json
    bitvm-bridge committee serve --roster roster.json --host 0.0.0.0 --name bridge.example:8440 \\
        --tls-cert fullchain.pem --tls-key privkey.pem
    """
    try:
        from bitvm_bridge.service import api, server
        from bitvm_bridge.service.office import FILE_NAME, Office
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing not in _EXTRA:
            raise
        raise BridgeError(f"{missing} is not installed: pip install 'bitvm-bridge[service]'") from None
    roster = Roster.from_json(read_file(options["roster"], "--roster"))
    tls = _tls(options["tls_cert"], options["tls_key"])
    limits = Limits(
        envelopes=options["max_envelopes"],
        size=options["max_bytes"],
        connections=options["connections"],
        request_time=options["timeout"],
        header_time=min(DEFAULT.header_time, options["timeout"]),
    )
    context = None if tls is None else server.tls_context(*tls)
    with server.listen(options["host"], options["port"]) as listener:
        port = listener.getsockname()[1]
        names = _names(options["names"], options["host"], port)
        file = options["file"] or app.home / FILE_NAME
        office = Office(file, limits)
        service = api.Service(roster, office, limits, _log)
        try:
            with stopped_by_signals() as stopped:
                url = f"{'http' if context is None else 'https'}://{_authority(options['host'], port)}"
                emit(app, {"url": url, "names": sorted(names), "parties": len(roster.parties), "file": str(file)}, url)
                application = api.application(service, names, limits, _log)
                server.run(application, service.bell, limits, listener, context, stopped)
        finally:
            service.close()
            office.close()


def _tls(certificate: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise BadInput("--tls-cert and --tls-key", "one of the two", "both, or neither")
    return certificate, key


def _names(given: tuple[str, ...], host: str, port: int) -> frozenset[str]:
    """What the Host header may say. Raises BadInput where the address is no name that anyone would use."""
    if given:
        return frozenset(name.lower() for name in given)
    if _is_wildcard(host):
        raise BadInput("--name", "none", f"given with --host {host}: the host, and port, in the URL that parties use")
    return frozenset(_authority(name, port) for name in (host.lower(), "localhost", LOCALHOST))


def _is_wildcard(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def _authority(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _log(event: Mapping[str, Any]) -> None:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    say(msgspec.json.encode({"time": now, **event}).decode())
