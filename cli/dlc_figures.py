"""`bitvm-bridge bench --dlc`: what a contract of the classic form over ten thousand prices costs."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Final

from bitvm_bridge.dlc import oracle
from bitvm_bridge.dlc.classic.batches import encrypt_all, first_invalid
from bitvm_bridge.dlc.classic.checks import GENESIS
from bitvm_bridge.dlc.classic.contract import Contract, Reading
from bitvm_bridge.dlc.classic.messages import PROTOCOL_VERSION, ContractEvent, Offer, SingleContract, SingleOracle
from bitvm_bridge.dlc.classic.negotiation import P2TR_WITNESS
from bitvm_bridge.dlc.classic.transactions import FundingInput, Party
from bitvm_bridge.dlc.curves import PayoutFunction, PayoutPoint, Polynomial
from bitvm_bridge.dlc.oracle import Announcement, DigitEvent, Hashing
from bitvm_bridge.dlc.payouts import NumericPayouts
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from bitvm_bridge.workers import MAX_WORKERS
from cli.table import Table

DIGITS: Final = 20
FLOOR, CAP = 45_000, 55_000
"""Prices between which the payout rises; the curve of rust-dlc's own benchmark."""
COLLATERAL: Final = 200_000_000
"""sat of both parties."""
PUBLIC: Final = "rust-dlc 0.8.0"
PUBLIC_COUNT: Final = 10_018
"""Adaptor signatures that it makes for the same contract."""


@dataclass(frozen=True)
class DlcFigures:
    """Adaptor signatures and different payouts of the contract; `times` (seconds) is empty where not asked for."""

    adaptor_signatures: int
    payouts: int
    workers: int
    times: dict[str, float]

    def document(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "adaptor_signatures": self.adaptor_signatures,
            "payouts": self.payouts,
            "workers": self.workers,
            "times": self.times,
        }


LABELS: Final = {
    "enumerate": "find every outcome, from the curve",
    "points": "the oracle's point of every outcome",
    "digests": "every settlement and what is signed of it",
    "sign_1": "make every adaptor signature, 1 worker",
    "sign_all": "make every adaptor signature, all cores",
    "verify_1": "verify every adaptor signature, 1 worker",
    "verify_all": "verify every adaptor signature, all cores",
}


def measure_dlc(quick: bool, best_time: Callable[[Callable[[], object]], float]) -> DlcFigures:
    """Every figure; without times where `quick`."""
    contract, key = make_contract()
    outcomes = contract.outcomes
    cores = min(len(os.sched_getaffinity(0)), MAX_WORKERS)
    payouts = len({outcome.payout for outcome in outcomes})
    times = {} if quick else {name: best_time(run) for name, run in _tasks(contract, key, cores)}
    return DlcFigures(len(outcomes), payouts, cores, times)


def _tasks(contract: Contract, key: SecretKey, cores: int) -> Sequence[tuple[str, Callable[[], object]]]:
    """What is timed; whatever a contract remembers is forgotten before each run."""
    jobs = contract.jobs
    signatures = encrypt_all(key, jobs, cores)

    def points() -> object:
        fresh = replace(contract, offer=_fresh(contract.offer))
        return [fresh.point(outcome) for outcome in contract.outcomes]

    def digests() -> object:
        fresh = replace(contract)
        return [fresh.terms.closing_digest(fresh.cet(outcome)) for outcome in contract.outcomes]

    return (
        ("enumerate", lambda: replace(contract).outcomes),
        ("points", points),
        ("digests", digests),
        ("sign_1", lambda: encrypt_all(key, jobs, 1)),
        ("sign_all", lambda: encrypt_all(key, jobs, cores)),
        ("verify_1", lambda: _verify(key, jobs, signatures, 1)),
        ("verify_all", lambda: _verify(key, jobs, signatures, cores)),
    )


def _verify(key: SecretKey, jobs: Any, signatures: Sequence[bytes], workers: int) -> None:
    if first_invalid(key.public, jobs, signatures, workers) is not None:
        raise RuntimeError("bench: an adaptor signature that was just made does not verify")


def make_contract() -> tuple[Contract, SecretKey]:
    """A forward on a price, between parties whose coins are invented, and the offerer's funding key."""
    points = [PayoutPoint(0, 0), PayoutPoint(FLOOR, 0), PayoutPoint(CAP, COLLATERAL)]
    points.append(PayoutPoint((1 << DIGITS) - 1, COLLATERAL))
    function = PayoutFunction(tuple(Polynomial(pair) for pair in pairwise(points)))
    event = ContractEvent(NumericPayouts(DIGITS, function), SingleOracle(_announcement()))
    contract = SingleContract(COLLATERAL, event)
    offerer, accepter = (SecretKey(bytes([number]) * 32) for number in (1, 2))
    chain = GENESIS[Network.REGTEST]
    offer = Offer(PROTOCOL_VERSION, 0, chain, bytes(32), contract, _party(offerer, 1), 1, 2, 100, 200)
    return Contract(offer, _party(accepter, 4), Reading(Hashing.TAGGED)), offerer


def _announcement() -> Announcement:
    nonces = [SecretKey(bytes([100 + number]) * 32) for number in range(DIGITS)]
    event = DigitEvent(2, False, "usd", 0, DIGITS)
    return oracle.announce(SecretKey(bytes([3]) * 32), nonces, 0, event, "price", Hashing.TAGGED)


def _party(key: SecretKey, serial: int) -> Party:
    script = wallet_script(key.xonly)
    made = Transaction(2, (TxIn(OutPoint(bytes(32), serial)),), (TxOut(COLLATERAL, script),))
    coin = FundingInput(serial, made.serialize(), 0, 0xFFFFFFFF, P2TR_WITNESS)
    return Party(key.public, script, serial, COLLATERAL // 2, (coin,), script, serial + 1)


def _fresh(offer: Offer) -> Offer:
    """The same offer with an announcement that remembers no point."""
    if not isinstance(offer.contract, SingleContract):
        raise TypeError("bench: a contract of another shape than it made")
    event = replace(offer.contract.event, oracles=SingleOracle(_announcement()))
    return replace(offer, contract=replace(offer.contract, event=event))


def dlc_tables(figures: DlcFigures) -> list[Table]:
    """For people."""
    title = f"A contract of the classic form on a price: {DIGITS} binary digits, {figures.payouts:,} payouts"
    counts: list[tuple[str | int | float, ...]] = [(figures.adaptor_signatures, "this project"), (PUBLIC_COUNT, PUBLIC)]
    found = [Table(title, ("adaptor signatures", "whose"), counts)]
    if figures.times:
        rows: list[tuple[str | int | float, ...]] = [(LABELS[name], time) for name, time in figures.times.items()]
        cores = f"All cores: {figures.workers}."
        found.append(Table("Times (seconds, fastest of up to five runs)", ("task", "seconds"), rows, (cores,)))
    return found
