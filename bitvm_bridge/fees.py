"""What to pay: where a fee rate comes from, the least and the most of it, and how it rises as a deadline comes near.

Rates are in sat per vB, deadlines in blocks.
"""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable
from bitvm_bridge.policy import MIN_RELAY_FEE_RATE

MAX_FEE_RATE: Final = 1_000.0
"""Above this a fee is taken for a mistake."""
MAX_MARGIN: Final = 10.0
RELAY_MINIMUM: Final = MIN_RELAY_FEE_RATE / 1_000
NODE: Final = "node"
TIMEOUT: Final = 20.0
"""seconds to wait for an Esplora server."""
MAX_ANSWER: Final = 1 << 16
"""bytes of an Esplora server's answer that are read."""

Estimate = Callable[[int], float]
"""The rate for confirmation within this many blocks."""


@dataclass(frozen=True)
class Urgency:
    """With `blocks` blocks left, or fewer: ask for confirmation within `target` blocks, and pay `factor` times that."""

    blocks: float
    target: int
    factor: float


URGENCIES: Final = (
    Urgency(math.inf, target=6, factor=1.0),
    Urgency(144, target=4, factor=1.0),
    Urgency(72, target=3, factor=1.25),
    Urgency(36, target=2, factor=1.5),
    Urgency(12, target=2, factor=2.0),
    Urgency(6, target=1, factor=3.0),
    Urgency(3, target=1, factor=5.0),
)
"""From leisure to the last blocks: the blocks left and the target fall, the factor rises."""


def _reached(blocks_left: int | None) -> list[Urgency]:
    left = math.inf if blocks_left is None else blocks_left
    return [entry for entry in URGENCIES if left <= entry.blocks]


def check_fee_rate(rate: float, maximum: float = MAX_FEE_RATE) -> None:
    """Raises BadInput for a rate that pays nothing, and for one that is a mistake or above what its payer allows."""
    if not 0 < rate <= maximum:
        raise BadInput("fee rate", rate, f"above 0 and at most {maximum:g} sat/vB")


@dataclass(frozen=True)
class FeePolicy:
    """The rate to pay: `margin` times an estimate, at least `floor`, never above `maximum`."""

    estimate: Estimate
    maximum: float = MAX_FEE_RATE
    margin: float = 1.0
    floor: float = RELAY_MINIMUM

    def __post_init__(self) -> None:
        check_maximum(self.maximum)
        check_margin(self.margin)

    def rate(self, blocks_left: int | None = None) -> float:
        """The rate for a transaction that has this many blocks left to confirm in.

        Never falls while the blocks left do. With a deadline, what is wanted above the maximum becomes the maximum:
        late is worse than dear. Raises BridgeError where the maximum forbids what is wanted without a deadline, or is
        below the floor.
        """
        wanted = self.wanted(blocks_left)
        if self.floor > self.maximum or (wanted > self.maximum and blocks_left is None):
            raise above_maximum(wanted, self.maximum)
        return min(wanted, self.maximum)

    def wanted(self, blocks_left: int | None = None) -> float:
        """The same before the maximum has its say."""
        estimate = max(self.estimate(entry.target) * entry.factor for entry in _reached(blocks_left))
        return max(estimate * self.margin, self.floor)


def above_maximum(wanted: float, maximum: float) -> BridgeError:
    """The refusal of a rate."""
    return BridgeError(
        f"fee rate: {wanted:.4g} sat/vB is wanted and {maximum:g} is the maximum; --max-fee-rate changes it"
    )


def check_maximum(maximum: float) -> None:
    """Raises BadInput."""
    if not 0 < maximum <= MAX_FEE_RATE:
        raise BadInput("--max-fee-rate", maximum, f"above 0 and at most {MAX_FEE_RATE:g} sat/vB")


def check_margin(margin: float) -> None:
    """Raises BadInput."""
    if not 1 <= margin <= MAX_MARGIN:
        raise BadInput("--fee-margin", margin, f"a factor from 1 to {MAX_MARGIN:g}")


@dataclass(frozen=True)
class FixedRate:
    """The same rate, whatever the target."""

    rate: float

    def __call__(self, target: int) -> float:
        """The rate."""
        return self.rate


@dataclass(frozen=True)
class EsploraRate:
    """The estimates of an Esplora server (`GET URL/fee-estimates`: confirmation target → sat per vB)."""

    url: str

    def __call__(self, target: int) -> float:
        """The estimate for the largest target that is no later than `target`, else for the earliest that there is.

        Raises NodeUnreachable for no answer, or one that is no table of rates.
        """
        rates = self._rates()
        return rates[max((known for known in rates if known <= target), default=min(rates))]

    def _rates(self) -> dict[int, float]:
        url = f"{self.url.rstrip('/')}/fee-estimates"
        try:
            rates = {int(target): float(rate) for target, rate in json.loads(_get(url)).items()}
        except (ValueError, TypeError, AttributeError):
            rates = {}
        if not rates or not all(0 < rate < math.inf for rate in rates.values()):
            raise NodeUnreachable(f"{url}: no fee estimates there")
        return rates


def _get(url: str) -> bytes:
    import requests

    try:
        with requests.get(url, timeout=TIMEOUT, stream=True) as response:
            if response.status_code != requests.codes.ok:
                raise NodeUnreachable(f"{url}: HTTP status {response.status_code}")
            return _beginning(response.iter_content(1 << 12))
    except requests.RequestException as error:
        raise NodeUnreachable(f"{url}: {type(error).__name__}") from None


def _beginning(pieces: Iterable[bytes]) -> bytes:
    """MAX_ANSWER bytes or a little more: nobody fills our memory."""
    read = b""
    for piece in pieces:
        read += piece
        if len(read) > MAX_ANSWER:
            break
    return read


@dataclass(frozen=True)
class FeeOptions:
    """A fee policy as a person asks for it; `source` is `node`, the URL of an Esplora server, or a rate."""

    source: str = NODE
    maximum: float = MAX_FEE_RATE
    margin: float = 1.0

    def __post_init__(self) -> None:
        """Raises BadInput."""
        check_maximum(self.maximum)
        check_margin(self.margin)
        if self.source != NODE:
            parse_source(self.source)

    def policy(self, node: Node) -> FeePolicy:
        """The policy on this node, whose mempool sets the floor."""
        estimate: Estimate = node.fee_rate if self.source == NODE else parse_source(self.source)
        return FeePolicy(estimate, self.maximum, self.margin, node.min_fee_rate())


def parse_source(text: str) -> FixedRate | EsploraRate:
    """A rate, or the URL of an Esplora server. Raises BadInput."""
    try:
        parts = urlsplit(text)
        if parts.scheme in ("http", "https") and parts.hostname and "@" not in parts.netloc:
            return EsploraRate(text)
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not 0 < rate <= MAX_FEE_RATE:
        expected = f"`{NODE}`, the URL of an Esplora server, or a rate up to {MAX_FEE_RATE:g} sat/vB"
        raise BadInput("--fee-source", text, expected)
    return FixedRate(rate)
