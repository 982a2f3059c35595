"""Fee rates: where they come from, their bounds, and how a deadline raises them."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable
from bitvm_bridge.fees import (
    MAX_FEE_RATE,
    RELAY_MINIMUM,
    URGENCIES,
    EsploraRate,
    FeeOptions,
    FeePolicy,
    FixedRate,
    check_fee_rate,
)
from tests.vectors import ROOT


def estimates(target: int) -> float:
    """A market where haste costs."""
    return {1: 20.0, 2: 10.0, 3: 8.0, 4: 6.0}.get(target, 5.0)


def test_a_policy_without_a_deadline_pays_the_estimate_for_six_blocks() -> None:
    assert FeePolicy(estimates).rate() == 5.0
    assert FeePolicy(estimates, margin=1.5).rate() == 7.5


def test_the_floor_is_paid_at_least() -> None:
    assert FeePolicy(FixedRate(0.01)).rate() == RELAY_MINIMUM
    assert FeePolicy(estimates, floor=12.5).rate() == 12.5


def test_above_the_maximum_nothing_is_paid() -> None:
    assert FeePolicy(estimates, maximum=5.0).rate() == 5.0
    with pytest.raises(BridgeError, match=r"^fee rate: 5 sat/vB is wanted and 4.9 is the maximum; --max-fee-rate"):
        FeePolicy(estimates, maximum=4.9).rate()
    with pytest.raises(BridgeError, match="fee rate: 10 sat/vB is wanted and 9 is the maximum"):
        FeePolicy(estimates, maximum=9.0, margin=2.0).rate()


@pytest.mark.parametrize("blocks_left", [None, 1_000, 1])
def test_a_maximum_below_the_floor_pays_nothing_either(blocks_left: int | None) -> None:
    """What no mempool takes is not worth sending."""
    with pytest.raises(BridgeError, match=r"fee rate: .* is wanted and 4 is the maximum"):
        FeePolicy(FixedRate(1.0), maximum=4.0, floor=4.5).rate(blocks_left)


@pytest.mark.parametrize(
    ("blocks_left", "rate"),
    [(145, 5.0), (144, 6.0), (73, 6.0), (72, 10.0), (36, 15.0), (12, 20.0), (6, 60.0), (3, 100.0), (0, 100.0)],
)
def test_the_rate_near_a_deadline(blocks_left: int, rate: float) -> None:
    assert FeePolicy(estimates).rate(blocks_left) == rate
    assert FeePolicy(estimates, maximum=7.0).rate(blocks_left) == min(rate, 7.0)


@given(
    table=st.lists(st.floats(0.01, 900), min_size=6, max_size=6),
    maximum=st.floats(1, MAX_FEE_RATE),
    margin=st.floats(1, 10),
    left=st.lists(st.integers(-5, 200), min_size=2, max_size=2).map(sorted),
)
def test_the_rate_never_falls_as_the_deadline_comes_near(
    table: list[float], maximum: float, margin: float, left: list[int]
) -> None:
    """Whatever the estimates are, those of a node that asks less for more haste included."""
    policy = FeePolicy(lambda target: table[target - 1], maximum, margin)
    near, far = (policy.rate(blocks) for blocks in left)
    assert RELAY_MINIMUM <= far <= near <= maximum


def test_the_table_of_urgencies_is_monotone() -> None:
    for earlier, later in pairwise(URGENCIES):
        assert earlier.blocks > later.blocks
        assert earlier.target >= later.target
        assert earlier.factor <= later.factor


def test_the_documented_table_is_the_one_that_is_used() -> None:
    text = (ROOT / "docs" / "fees.md").read_text()
    for entry in URGENCIES[1:]:
        assert f"| {entry.blocks} or fewer | {entry.target} | {entry.factor:g} |" in text


@pytest.mark.parametrize("maximum", [0.0, -1.0, MAX_FEE_RATE + 1, float("nan"), float("inf")])
def test_an_absurd_maximum_is_refused(maximum: float) -> None:
    with pytest.raises(BadInput, match="--max-fee-rate"):
        FeePolicy(estimates, maximum=maximum)
    with pytest.raises(BadInput, match="--max-fee-rate"):
        FeeOptions(maximum=maximum)


@pytest.mark.parametrize("margin", [0.0, 0.99, 10.01, float("nan")])
def test_an_absurd_margin_is_refused(margin: float) -> None:
    with pytest.raises(BadInput, match="--fee-margin"):
        FeePolicy(estimates, margin=margin)
    with pytest.raises(BadInput, match="--fee-margin"):
        FeeOptions(margin=margin)


def test_a_rate_is_checked_against_the_maximum() -> None:
    check_fee_rate(10.0, 10.0)
    for rate in (0.0, 10.1, float("nan")):
        with pytest.raises(BadInput, match="above 0 and at most 10 sat/vB"):
            check_fee_rate(rate, 10.0)


@pytest.mark.parametrize(
    "text", ["", "nobody", "0", "-1", "nan", "inf", "1001", "ftp://host", "http://", "http://[::1", "http://a:b@host"]
)
def test_an_unknown_source_is_refused(text: str) -> None:
    with pytest.raises(BadInput, match="--fee-source"):
        FeeOptions(text)


def test_sources(embedded: EmbeddedNode) -> None:
    assert FeeOptions().policy(embedded) == FeePolicy(embedded.fee_rate, floor=RELAY_MINIMUM)
    assert FeeOptions("2.5", 50.0, 2.0).policy(embedded).rate() == 5.0
    assert FeeOptions("https://host/api").policy(embedded).estimate == EsploraRate("https://host/api")


Serve = Callable[[int, bytes], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that answers every request alike, and notes what was asked; gives its URL."""
    servers = []

    def start(status: int, body: bytes) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(status if self.path == "/api/fee-estimates" else 404)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}/api"

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize(("target", "rate"), [(1, 30.5), (2, 20.0), (3, 20.0), (5, 20.0), (6, 4.0), (1_000, 1.1)])
def test_esplora_is_asked_for_a_target_that_is_not_later(serve: Serve, target: int, rate: float) -> None:
    url = serve(200, json.dumps({"6": 4, "1": 30.5, "2": 20.0, "144": 1.1}).encode())
    assert EsploraRate(url)(target) == rate
    assert EsploraRate(url + "/")(target) == rate


def test_esplora_may_know_no_early_target(serve: Serve) -> None:
    assert EsploraRate(serve(200, b'{"3": 7.0, "10": 2.0}'))(1) == 7.0


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{}", b"[]", b"5", b"{", b"\xff", b'{"one": 1}', b'{"1": "x"}', b'{"1": []}'),
        *(b'{"1": -1}', b'{"1": 0}', b'{"1": NaN}', b'{"1": 1e999}'),
        b'{"1": 5' + b" " * (1 << 20) + b"}",
    ],
    ids=range(14),
)
def test_an_answer_that_is_no_table_of_rates(serve: Serve, body: bytes) -> None:
    with pytest.raises(NodeUnreachable, match="/api/fee-estimates: no fee estimates there") as refused:
        EsploraRate(serve(200, body))(6)
    assert "\n" not in str(refused.value)


def test_a_server_that_refuses(serve: Serve) -> None:
    with pytest.raises(NodeUnreachable, match="HTTP status 503"):
        EsploraRate(serve(503, b"{}"))(6)
    with pytest.raises(NodeUnreachable, match="HTTP status 404"):
        EsploraRate(serve(200, b"{}") + "/elsewhere")(6)


def test_a_server_that_is_not_there() -> None:
    with pytest.raises(NodeUnreachable, match=r"http://127\.0\.0\.1:1/fee-estimates: ConnectionError"):
        EsploraRate("http://127.0.0.1:1")(6)
