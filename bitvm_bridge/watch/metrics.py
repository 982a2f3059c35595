"""What a watcher measures, in the text format of Prometheus: served on this machine, or written to a file."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, Final

from bitvm_bridge.errors import BadInput
from bitvm_bridge.watch.survey import UNREADABLE, Survey

HOST: Final = "127.0.0.1"
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
_PREFIX: Final = "bitvm_bridge_"

Sample = tuple[dict[str, str], float]


@dataclass(frozen=True)
class Counts:
    """What has been counted since the watcher began."""

    looks: int = 0
    sent: int = 0
    errors: int = 0
    reorganisations: int = 0


def render(survey: Survey | None, counts: Counts) -> str:
    """The page; before the first look there are only the counts."""
    families = [*_counts(counts), *(_survey(survey) if survey is not None else ())]
    return "".join(_family(*family) for family in families)


Family = tuple[str, str, str, list[Sample]]
"""Name, kind, help, samples."""


def _counts(counts: Counts) -> Iterator[Family]:
    yield "looks_total", "counter", "Times that the chain was looked at.", [({}, counts.looks)]
    yield "sent_total", "counter", "Transactions that were sent.", [({}, counts.sent)]
    yield "errors_total", "counter", "Looks at which something went wrong.", [({}, counts.errors)]
    yield "reorganisations_total", "counter", "Times that blocks were taken back.", [({}, counts.reorganisations)]


def _survey(survey: Survey) -> Iterator[Family]:
    progress, views = survey.progress, survey.views.values()
    yield "height", "gauge", "Height of the last block that was read.", [({}, progress.height)]
    yield "lag_blocks", "gauge", "Blocks that the node has beyond that.", [({}, progress.lag)]
    states = Counter(view.state for view in views)
    yield "instances", "gauge", "Instances by state.", [({"state": name}, count) for name, count in states.items()]
    unreadable = states.get(UNREADABLE, 0)
    yield "unreadable", "gauge", "Instances whose history cannot be read.", [({}, unreadable)]
    due = Counter(
        (str(timed.owed.party), str(timed.owed.event))
        for view in views
        for timed in view.timed
        if timed.duty.start <= survey.next_block
    )
    labels = [({"party": party, "transaction": name}, count) for (party, name), count in due.items()]
    yield "possible", "gauge", "Transactions that could be sent now, wanted or not.", list(labels)
    deadlines = [
        ({"instance": view.setup.id.hex(), "transaction": timed.duty.name}, timed.duty.deadline - survey.next_block)
        for view in views
        for timed in view.timed
        if timed.duty.deadline is not None
    ]
    yield "deadline_blocks", "gauge", "Blocks until a transaction should have confirmed.", list(deadlines)
    at_risk = sum(view.at_risk for view in views)
    yield "at_risk_sat", "gauge", "Vaults and bonds that live claims move (sat).", [({}, at_risk)]


def _family(name: str, kind: str, text: str, samples: Iterable[Sample]) -> str:
    lines = [f"# HELP {_PREFIX}{name} {text}", f"# TYPE {_PREFIX}{name} {kind}"]
    for labels, value in samples:
        inside = ",".join(f'{label}="{text}"' for label, text in labels.items())
        lines.append(f"{_PREFIX}{name}{{{inside}}} {value:g}" if inside else f"{_PREFIX}{name} {value:.0f}")
    return "\n".join(lines) + "\n"


class MetricsServer:
    """Serves the last page on 127.0.0.1; port 0 takes a free one."""

    def __init__(self, port: int) -> None:
        """Raises BadInput for a port that cannot be had."""
        self.page = render(None, Counts())
        server = self

        class Handler(BaseHTTPRequestHandler):
            """Answers GET /metrics."""

            def do_GET(self) -> None:
                """The page."""
                found = self.path in ("/", "/metrics")
                body = server.page.encode() if found else b"see /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the name of the base class)
                """Scrapes are not news."""

        try:
            self._http = ThreadingHTTPServer((HOST, port), Handler)
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise BadInput("--metrics-port", port, f"a free port of this machine ({reason})") from None
        self._thread = Thread(target=self._http.serve_forever, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._http.server_address[1])

    def close(self) -> None:
        """Stop serving."""
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()


def write(path: Path, page: str) -> None:
    """For node_exporter's textfile collector: all of the page or nothing. Raises BadInput."""
    part = path.with_name(path.name + ".part")
    try:
        part.write_text(page, encoding="utf-8")
        part.replace(path)
    except OSError as error:
        raise BadInput("--metrics-file", path, f"a file to write to ({error.strerror})") from None
