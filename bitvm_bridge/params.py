"""Protocol parameters, with the bounds that make them safe."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final, Self

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from bitvm_bridge.transaction import MAX_MONEY
from scripts_tapleaf.covenant import MAX_COUNCIL, MAX_RELATIVE_LOCK

DUST: Final = 330
"""sat: the smallest P2TR output that Bitcoin Core relays."""
MAX_EXITS: Final = 200
"""A PegIn of so many outputs keeps to the 10,000 vB of a v3 transaction."""


class Network(StrEnum):
    """The chains the bridge runs on; there is no mainnet."""

    REGTEST = "regtest"
    SIGNET = "signet"

    @property
    def hrp(self) -> str:
        """Human-readable part of its segwit addresses (BIP173)."""
        return {"regtest": "bcrt", "signet": "tb"}[self]


@dataclass(frozen=True)
class Council:
    """An emergency k-of-m over the vault, behind a long relative lock (blocks)."""

    threshold: int
    keys: tuple[bytes, ...]
    delay: int

    def __post_init__(self) -> None:
        if not 1 <= len(self.keys) <= MAX_COUNCIL or len(set(self.keys)) != len(self.keys):
            raise BadInput("council keys", len(self.keys), f"1 to {MAX_COUNCIL} distinct keys")
        for key in self.keys:
            secp.check_xonly("council key", key)
        _check_range("council threshold", self.threshold, 1, len(self.keys))
        _check_range("council delay", self.delay, 1, MAX_RELATIVE_LOCK)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"threshold": self.threshold, "keys": [key.hex() for key in self.keys], "delay": self.delay}

    @classmethod
    def from_json(cls, values: Any) -> Self:
        """Inverse of `to_json`. Raises BadInput."""
        _check_fields("council", values, cls)
        if not isinstance(values["keys"], list):
            raise BadInput("council keys", values["keys"], "a list")
        return cls(values["threshold"], tuple(map(_key_from_hex, values["keys"])), values["delay"])


@dataclass(frozen=True)
class Params:
    """What every party of an instance agrees on before any key is known.

    Windows are blocks after KickOff confirms, amounts are sat, `burn_percent` is the share of a slashed bond that
    nobody gets. A deposit is paid out by as many `exits` of the same amount.
    """

    network: Network = Network.REGTEST
    refund_delay: int = 20
    challenge_window: int = 6
    assert_window: int = 6
    disprove_window: int = 6
    forfeit_window: int = 6
    peg_in: int = 100_000_000
    exits: int = 1
    bond: int = 20_000_000
    challenge: int = 5_000_000
    burn_percent: int = 50
    council: Council | None = None

    def __post_init__(self) -> None:
        """Raises BadInput for a value out of its bounds or windows that break their order."""
        for name in ("refund_delay", "challenge_window", "assert_window", "disprove_window", "forfeit_window"):
            _check_range(name, getattr(self, name), 1, MAX_RELATIVE_LOCK)
        _check_range("sum of the four windows", self.forfeit_csv, 4, MAX_RELATIVE_LOCK)
        _check_range("peg_in", self.peg_in, 10 * DUST, MAX_MONEY)
        _check_range("exits", self.exits, 1, MAX_EXITS)
        if self.peg_in % self.exits or self.exit_amount < 10 * DUST:
            raise BadInput(
                "exits", self.exits, f"a number that divides {self.peg_in} sat into {10 * DUST} or more each"
            )
        _check_range("challenge", self.challenge, DUST, MAX_MONEY)
        _check_range("burn_percent", self.burn_percent, 1, 99)
        _check_range("bond", self.bond, 2 * self.challenge + 2 * DUST, MAX_MONEY)
        if self.reward <= self.challenge:
            raise BadInput("burn_percent", self.burn_percent, "a share that leaves a reward above `challenge`")
        if self.council is not None and self.council.delay <= self.forfeit_csv:
            raise BadInput("council delay", self.council.delay, f"above the forfeit lock of {self.forfeit_csv} blocks")

    @property
    def exit_amount(self) -> int:
        """sat of one vault output."""
        return self.peg_in // self.exits

    @property
    def happy_csv(self) -> int:
        """Blocks before HappyTake: the challenge window."""
        return self.challenge_window

    @property
    def timeout_csv(self) -> int:
        """Blocks before AssertTimeout: challenge and assert windows."""
        return self.challenge_window + self.assert_window

    @property
    def unhappy_csv(self) -> int:
        """Blocks before UnhappyTake: challenge, assert and disprove windows."""
        return self.timeout_csv + self.disprove_window

    @property
    def forfeit_csv(self) -> int:
        """Blocks before Forfeit: all four windows."""
        return self.unhappy_csv + self.forfeit_window

    @property
    def burn(self) -> int:
        """sat of a slashed bond that go to the sink, rounded up."""
        return -(-self.bond * self.burn_percent // 100)

    @property
    def reward(self) -> int:
        """sat of a slashed bond that are left for whoever slashes it, fee included."""
        return self.bond - self.burn

    @classmethod
    def default(cls, network: Network, **changes: Any) -> Self:
        """The network's defaults with some fields changed."""
        if network is Network.SIGNET:
            windows = ("challenge_window", "assert_window", "disprove_window", "forfeit_window")
            changes = {"refund_delay": 2_016} | dict.fromkeys(windows, 1_008) | changes
        return cls(network=network, **changes)

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON. One exit goes without saying, so that ids from before there were several stay."""
        values: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        if self.exits == 1:
            del values["exits"]
        values["network"] = str(self.network)
        if self.council is not None:
            values["council"] = self.council.to_json()
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `to_json`. Raises BadInput."""
        if isinstance(values, Mapping):
            values = {"exits": 1} | dict(values)
        _check_fields("params", values, cls)
        if values["network"] not in list(Network):
            raise BadInput("network", values["network"], f"one of {', '.join(Network)}")
        council = None if values["council"] is None else Council.from_json(values["council"])
        return cls(**{**values, "network": Network(values["network"]), "council": council})


def _check_fields(field: str, values: Any, kind: type[Any]) -> None:
    known = {item.name for item in fields(kind)}
    if not isinstance(values, Mapping) or set(values) != known:
        found = ", ".join(values) if isinstance(values, Mapping) else values
        raise BadInput(field, found, f"an object with the fields {', '.join(sorted(known))}")


def _key_from_hex(text: object) -> bytes:
    try:
        return bytes.fromhex(str(text))
    except ValueError:
        raise BadInput("council key", text, "hex") from None


def _check_range(field: str, value: object, low: int, high: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
        raise BadInput(field, value, f"a whole number from {low:,} to {high:,}")
