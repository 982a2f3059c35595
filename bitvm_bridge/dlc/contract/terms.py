"""What two parties and an oracle agree on: payouts, amounts, and times that leave each of them room to act."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Self

from bitvm_bridge.dlc.classic.messages import CONTRACT, SingleContract, SingleOracle
from bitvm_bridge.dlc.oracle import Announcement, DigitEvent, EnumEvent, Hashing
from bitvm_bridge.dlc.oracle_documents import read_hashing
from bitvm_bridge.dlc.payouts import ContractInfo, ContractOutcome, contract_outcomes
from bitvm_bridge.documents import Document, from_hex
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import DUST, Network
from bitvm_bridge.program import ProgramSpec, parse_program
from bitvm_bridge.program.base import DIGEST_BITS
from bitvm_bridge.transaction import MAX_MONEY
from scripts_tapleaf.covenant import MAX_RELATIVE_LOCK

BLOCK_TIME: Final = 600
"""seconds that a block takes, as far as times are compared with windows."""
MIN_MARGIN: Final = 600
"""seconds between the last moment of a dispute and the refund."""
MAX_FEE_RATE: Final = 1_000
MAX_OUTCOMES: Final = 20_000
"""Each outcome takes four transactions and half a dozen signatures of three signers."""
SALT_SIZE: Final = 32
RESULT_BITS: Final = 29
"""The outcome that a computation finds is read off the lowest bits of its result."""


class TermsDocument(Document, frozen=True):
    """Terms as JSON carries them: `contract` is the contract info of dlcspecs, amounts are sat."""

    network: str
    contract: dict[str, Any]
    hashing: str
    offerer_collateral: int
    oracle_fee: int
    stake: int
    burn_percent: int
    program: str
    signing_time: int
    dispute_window: int
    grace_window: int
    margin: int
    refund: int
    fee_rate: int
    key_path: bool
    salt: str


@dataclass(frozen=True)
class Terms:
    """`contract` has the collateral of both parties together and the offerer's payout for every outcome.

    Amounts are sat. The oracle has `signing_time` seconds after the event's maturity to sign on the chain; what it
    signs can be disproved for `dispute_window` blocks; `grace_window` blocks later it may take its bond back without a
    settlement, and as many after that it loses the bond. The parties have their collateral back from `refund` on (epoch
    seconds). `margin` seconds lie between. With `key_path` the
    collateral is spent without a script. `fee_rate` (sat/vB) is the funding transaction's. The salt makes two contracts
    of the same terms differ.
    """

    network: Network
    contract: SingleContract
    hashing: Hashing
    offerer_collateral: int
    oracle_fee: int
    stake: int
    program: str
    signing_time: int
    dispute_window: int
    grace_window: int
    refund: int
    fee_rate: int
    salt: bytes
    burn_percent: int = 50
    margin: int = 86_400
    key_path: bool = False

    def __post_init__(self) -> None:
        """Raises BadInput for what is not safe to sign, payouts and times included."""
        total = self.contract.total_collateral
        if not isinstance(self.contract.event.oracles, SingleOracle):
            raise BadInput("oracles", len(self.contract.event.oracles.announcements), "one, which stakes its bond")
        event = self.announcement.descriptor
        if isinstance(event, DigitEvent) and event.signed:
            raise BadInput("event", "a number with a sign", "a number without one, or a list of outcomes")
        _check("total collateral", total, 2 * DUST, MAX_MONEY)
        _check("offerer's collateral", self.offerer_collateral, 0, total)
        _check("oracle fee", self.oracle_fee, 0, MAX_MONEY)
        _check("stake", self.stake, 4 * DUST, MAX_MONEY)
        _check("burn percent", self.burn_percent, 1, 99)
        _check("share of a slashed stake for those who prove it wrong", self.reward, 2 * DUST, MAX_MONEY)
        _check("signing time", self.signing_time, 1, 1 << 31)
        _check("dispute window", self.dispute_window, 1, MAX_RELATIVE_LOCK)
        _check("grace window", self.grace_window, 1, (MAX_RELATIVE_LOCK - self.dispute_window) // 2)
        _check("margin", self.margin, MIN_MARGIN, 1 << 31)
        _check("fee rate", self.fee_rate, 1, MAX_FEE_RATE)
        if len(self.salt) != SALT_SIZE:
            raise BadInput("salt", self.salt, f"{SALT_SIZE} bytes")
        _check("refund time", self.refund, self.earliest_refund, 0xFFFFFFFF)
        if self.spec.values[-1].bits != DIGEST_BITS:
            raise BadInput("program", self.program, f"one whose result has {DIGEST_BITS} bits")
        if len(self.outcomes) > MAX_OUTCOMES:
            raise BadInput("outcomes", len(self.outcomes), f"at most {MAX_OUTCOMES:,}: round payouts more")

    @property
    def announcement(self) -> Announcement:
        """Of the event; its oracle is the one that stakes."""
        return self.contract.event.oracles.announcements[0]

    @property
    def info(self) -> ContractInfo:
        """Payouts and oracle."""
        return self.contract.event.info

    @cached_property
    def outcomes(self) -> tuple[ContractOutcome, ...]:
        """Every way to settle. Raises BadInput for payouts that are no contract."""
        return contract_outcomes([self.info], self.contract.total_collateral)

    @cached_property
    def spec(self) -> ProgramSpec:
        """The computation by which an outcome is judged."""
        return parse_program(self.program)

    @property
    def collateral(self) -> int:
        """sat of the funding output: both collaterals and the oracle's fee."""
        return self.contract.total_collateral + self.oracle_fee

    @property
    def accepter_collateral(self) -> int:
        """sat."""
        return self.contract.total_collateral - self.offerer_collateral

    @property
    def offerer_share(self) -> int:
        """sat that the offerer puts in: its collateral and half of the oracle's fee, rounded up."""
        return self.offerer_collateral + (self.oracle_fee + 1) // 2

    @property
    def accepter_share(self) -> int:
        """sat that the accepter puts in."""
        return self.collateral - self.offerer_share

    @property
    def burn(self) -> int:
        """sat of a slashed stake that nobody gets, rounded up."""
        return -(-self.stake * self.burn_percent // 100)

    @property
    def reward(self) -> int:
        """sat of a slashed stake that are left."""
        return self.stake - self.burn

    @property
    def sign_by(self) -> int:
        """Epoch seconds from which on a silent oracle loses its stake."""
        return self.announcement.maturity + self.signing_time

    @property
    def earliest_refund(self) -> int:
        """Epoch seconds: by then the oracle has signed and attested, or lost its stake, with `margin` seconds to spare.

        So whatever it attests to can be settled before.
        """
        return self.sign_by + self.dispute_time(self.dispute_window, self.grace_window) + self.margin

    @staticmethod
    def dispute_time(dispute_window: int, grace_window: int) -> int:
        """Seconds from the oracle's signature to the last moment at which its bond is not forfeit, and one block."""
        return (dispute_window + 2 * grace_window + 1) * BLOCK_TIME

    @property
    def release_csv(self) -> int:
        """Blocks after the oracle's signature before it has its bond back without a settlement."""
        return self.dispute_window + self.grace_window

    @property
    def forfeit_csv(self) -> int:
        """Blocks after the oracle's signature before a bond that it has not taken back is forfeit."""
        return self.dispute_window + 2 * self.grace_window

    def results(self, outcome: int) -> tuple[int, int]:
        """[first, end) of the results of the computation (29 bits) that mean an outcome, counted from 0.

        What can be announced shares the results evenly, in its order.
        """
        event, (_, signed) = self.announcement.descriptor, self.outcomes[outcome].oracles[0]
        if isinstance(event, EnumEvent):
            count, low = len(event.outcomes), event.outcomes.index(signed[0])
            high = low + 1
        else:
            count, width = event.base**event.digits, event.base ** (event.digits - len(signed))
            low = width * int_of(signed, event.base)
            high = low + width
        return (low << RESULT_BITS) // count, (high << RESULT_BITS) // count

    def document(self) -> TermsDocument:
        """As JSON carries it."""
        return TermsDocument(
            str(self.network),
            CONTRACT.show(self.contract),  # type: ignore[arg-type]
            self.hashing.value,
            self.offerer_collateral,
            self.oracle_fee,
            self.stake,
            self.burn_percent,
            self.program,
            self.signing_time,
            self.dispute_window,
            self.grace_window,
            self.margin,
            self.refund,
            self.fee_rate,
            self.key_path,
            self.salt.hex(),
        )

    @classmethod
    def from_document(cls, document: TermsDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        if document.network not in list(Network):
            raise BadInput("network", document.network, f"one of {', '.join(Network)}")
        contract = CONTRACT.parse(document.contract, "contract")
        if not isinstance(contract, SingleContract):
            raise BadInput("contract", "several events", "one event")
        return cls(
            network=Network(document.network),
            contract=contract,
            hashing=read_hashing(document.hashing),
            offerer_collateral=document.offerer_collateral,
            oracle_fee=document.oracle_fee,
            stake=document.stake,
            program=document.program,
            signing_time=document.signing_time,
            dispute_window=document.dispute_window,
            grace_window=document.grace_window,
            refund=document.refund,
            fee_rate=document.fee_rate,
            salt=from_hex("salt", document.salt, SALT_SIZE),
            burn_percent=document.burn_percent,
            margin=document.margin,
            key_path=document.key_path,
        )


def int_of(digits: tuple[str, ...], base: int) -> int:
    """The number that digits, the highest first, write in a base."""
    value = 0
    for digit in digits:
        value = value * base + int(digit)
    return value


def _check(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise BadInput(field, value, f"{low:,} to {high:,}")
