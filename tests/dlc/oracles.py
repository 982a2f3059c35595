"""Oracles whose secrets the tests know, and announcements of the public vector files."""

import json
from collections.abc import Iterator
from typing import Any, Final

from bitvm_bridge.dlc import oracle
from bitvm_bridge.dlc.oracle import Announcement, Attestation, DigitEvent, EnumEvent, Event, Hashing
from bitvm_bridge.keys import SecretKey
from tests.vectors import vectors_dir

KEY: Final = SecretKey(bytes(range(1, 33)))
MATURITY: Final = 1_700_000_000
WEATHER: Final = EnumEvent(("sun", "rain", "snow"))
CONTRACT_FILES: Final = (
    "enum_single_oracle_test.json",
    "enum_3_of_3_test.json",
    "single_oracle_numerical_test.json",
    "three_of_three_oracle_numerical_test.json",
    "enum_and_numerical_5_of_5_test.json",
)


def nonces(count: int, salt: int = 0) -> list[SecretKey]:
    """Nonces that are the same in every run."""
    return [SecretKey(bytes([salt + 1, number]) + bytes(29) + b"\x01") for number in range(count)]


def announced(event: Event, *, key: SecretKey = KEY, salt: int = 0, event_id: str = "event") -> Announcement:
    """An announcement of `key` under `nonces`."""
    drawn = nonces(event.nonce_count, salt)
    return oracle.announce(key, drawn, MATURITY, event, event_id, Hashing.TAGGED)


def attested(
    announcement: Announcement, *outcomes: str, key: SecretKey = KEY, salt: int = 0, hashing: Hashing = Hashing.TAGGED
) -> Attestation:
    """An attestation without any guard: what an oracle that keeps no book would sign."""
    drawn = nonces(len(announcement.nonces), salt)
    return oracle.attest(key, drawn, announcement, outcomes, hashing, lambda _, __: None)


def vector(name: str) -> Any:
    """A file of the public suite."""
    return json.loads((vectors_dir() / "dlcspecs" / name).read_text())


def contract_infos(name: str) -> tuple[int, list[Any]]:
    """Total collateral and the contracts of a file's offer."""
    info = vector(name)["offer_message"]["message"]["contractInfo"]
    if "singleContractInfo" in info:
        single = info["singleContractInfo"]
        return single["totalCollateral"], [single["contractInfo"]]
    disjoint = info["disjointContractInfo"]
    return disjoint["totalCollateral"], disjoint["contractInfos"]


def raw_announcements(info: Any) -> list[Any]:
    """The announcements of one contract of a file."""
    oracles = info["oracleInfo"]
    if "single" in oracles:
        return [oracles["single"]["oracleAnnouncement"]]
    return list(oracles["multi"]["oracleAnnouncements"])


def parsed(raw: Any) -> Announcement:
    """An announcement as the files write it."""
    event = raw["oracleEvent"]
    return Announcement(
        bytes.fromhex(raw["oraclePublicKey"]),
        tuple(map(bytes.fromhex, event["oracleNonces"])),
        event["eventMaturityEpoch"],
        _descriptor(event["eventDescriptor"]),
        event["eventId"],
        bytes.fromhex(raw["announcementSignature"]),
    )


def _descriptor(raw: Any) -> Event:
    if "enumEvent" in raw:
        return EnumEvent(tuple(raw["enumEvent"]["outcomes"]))
    digits = raw["digitDecompositionEvent"]
    return DigitEvent(digits["base"], digits["isSigned"], digits["unit"], digits["precision"], digits["nbDigits"])


def vector_announcements() -> Iterator[tuple[str, Announcement]]:
    """(file, announcement) of every announcement in the files."""
    for name in CONTRACT_FILES:
        for info in contract_infos(name)[1]:
            for raw in raw_announcements(info):
                yield name, parsed(raw)
