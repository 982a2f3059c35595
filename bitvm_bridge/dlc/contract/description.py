"""A contract with a stake as its offerer writes it by hand; `classic.description` has the same events."""

from collections.abc import Callable
from typing import Final

from bitvm_bridge.dlc.classic.description import EventDocument, SharesDocument, read_event, read_time
from bitvm_bridge.dlc.classic.messages import SingleContract
from bitvm_bridge.dlc.contract.terms import MIN_MARGIN, Terms
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.documents import Document, decode
from bitvm_bridge.params import Network

CONTRACT: Final = "contract"
DEFAULTS: Final = {
    Network.REGTEST: {"signing_time": 600, "dispute_window": 4, "grace_window": 2, "margin": MIN_MARGIN},
    Network.SIGNET: {"signing_time": 86_400, "dispute_window": 144, "grace_window": 72, "margin": 86_400},
}
"""seconds and blocks; see `Terms`."""


class ContractDocument(Document, frozen=True):
    """The whole file; amounts are sat, windows blocks, `signing_time` and `margin` seconds, `refund_from` a time."""

    collateral: SharesDocument
    event: EventDocument
    stake: int
    oracle_fee: int = 0
    program: str = "hash-chain"
    fee_rate: int = 2
    burn_percent: int = 50
    key_path: bool = False
    refund_from: int | str | None = None
    signing_time: int | None = None
    dispute_window: int | None = None
    grace_window: int | None = None
    margin: int | None = None


def read_description(raw: bytes, read_file: Callable[[str], bytes], network: Network, salt: bytes) -> Terms:
    """Terms from JSON; `read_file` has the bytes of an announcement's file. Without a time, the refund is the earliest
    that is safe.

    Raises BadInput, in one line, for a file that describes no contract.
    """
    document = decode(raw, ContractDocument, CONTRACT)
    hashings: set[Hashing] = set()
    event = read_event(document.event, read_file, document.collateral.total, hashings)
    times = {
        name: default if (given := getattr(document, name)) is None else given
        for name, default in DEFAULTS[network].items()
    }
    maturity = event.oracles.announcements[0].maturity
    after = times["signing_time"] + Terms.dispute_time(times["dispute_window"], times["grace_window"])
    earliest = maturity + after + times["margin"]
    refund = earliest if document.refund_from is None else read_time("refund_from", document.refund_from)
    return Terms(
        network=network,
        contract=SingleContract(document.collateral.total, event),
        hashing=hashings.pop(),
        offerer_collateral=document.collateral.offerer,
        oracle_fee=document.oracle_fee,
        stake=document.stake,
        program=document.program,
        refund=refund,
        fee_rate=document.fee_rate,
        salt=salt,
        burn_percent=document.burn_percent,
        key_path=document.key_path,
        **times,
    )
