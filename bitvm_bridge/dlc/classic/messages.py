"""The messages of the classic form: offer, accept and sign (dlcspecs Protocol.md and Messaging.md, protocol version 1).

Binary is what peers exchange; the JSON is the one of the public vectors. Both name the same values, but for TLV records
at the end of a binary message that nobody here knows: they are kept with the message, and JSON does not have them.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, Final, Generic, TypeVar

import msgspec

from bitvm_bridge import secp
from bitvm_bridge.dlc.agreement import Difference
from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.dlc.classic.transactions import FundingInput, Party
from bitvm_bridge.dlc.classic.wire import (
    BYTES,
    DECIMAL,
    FLAG,
    I32,
    SCRIPT,
    SIGNATURE,
    TEXT,
    U8,
    U16,
    U32,
    U64,
    Codec,
    Fixed,
    Mapped,
    Optional,
    Record,
    Sealed,
    Union,
    Variant,
    Vector,
    WireReader,
    Wrapped,
    read_extensions,
)
from bitvm_bridge.dlc.curves import Hyperbola, PayoutFunction, PayoutPoint, Piece, Polynomial, RoundingIntervals
from bitvm_bridge.dlc.oracle import (
    ANNOUNCEMENT_TYPE,
    DIGIT_EVENT_TYPE,
    ENUM_EVENT_TYPE,
    EVENT_TYPE,
    Announcement,
    DigitEvent,
    EnumEvent,
    Event,
)
from bitvm_bridge.dlc.payouts import ContractInfo, EnumeratedPayouts, NumericPayouts, Payouts
from bitvm_bridge.documents import encode
from bitvm_bridge.errors import BadInput
from bitvm_bridge.transaction import Malformed

PROTOCOL_VERSION: Final = 1
MAX_MESSAGE: Final = 1 << 26
"""bytes of the longest message that is read: about 400,000 adaptor signatures."""


@dataclass(frozen=True)
class SingleOracle:
    """One oracle decides."""

    announcement: Announcement

    @property
    def announcements(self) -> tuple[Announcement, ...]:
        """The one."""
        return (self.announcement,)

    @property
    def threshold(self) -> int:
        """One."""
        return 1

    @property
    def difference(self) -> None:
        """It agrees with itself."""


@dataclass(frozen=True)
class SeveralOracles:
    """Any `threshold` of several oracles decide, those named first before others."""

    threshold: int
    announcements: tuple[Announcement, ...]
    difference: Difference | None = None


@dataclass(frozen=True)
class ContractEvent:
    """Payouts, and the oracles that decide between them."""

    payouts: Payouts
    oracles: SingleOracle | SeveralOracles

    @property
    def info(self) -> ContractInfo:
        """As outcomes are counted from it. Raises BadInput for an impossible threshold or an oracle counted twice."""
        oracles = self.oracles
        return ContractInfo(self.payouts, oracles.announcements, oracles.threshold, oracles.difference)


@dataclass(frozen=True)
class SingleContract:
    """One event decides over the whole collateral (sat)."""

    total_collateral: int
    event: ContractEvent

    @property
    def events(self) -> tuple[ContractEvent, ...]:
        """The one."""
        return (self.event,)


@dataclass(frozen=True)
class DisjointContract:
    """Whichever of several events is attested first decides over the whole collateral (sat)."""

    total_collateral: int
    events: tuple[ContractEvent, ...]


Contract = SingleContract | DisjointContract


@dataclass(frozen=True)
class SingleNegotiation:
    """How coarsely the accepter lets payouts be rounded."""

    rounding: RoundingIntervals


@dataclass(frozen=True)
class DisjointNegotiation:
    """The same for each of several events."""

    events: tuple[SingleNegotiation, ...]


@dataclass(frozen=True)
class Offer:
    """`offer_dlc`: the contract, what the offerer brings, and when it ends; `fee_rate` in sat/vB."""

    protocol_version: int
    contract_flags: int
    chain_hash: bytes
    temporary_id: bytes
    contract: Contract
    party: Party
    fund_serial_id: int
    fee_rate: int
    cet_lock_time: int
    refund_lock_time: int
    extensions: bytes = b""


@dataclass(frozen=True)
class Accept:
    """`accept_dlc`: what the accepter brings, and its signatures of every closing transaction."""

    protocol_version: int
    temporary_id: bytes
    party: Party
    adaptor_signatures: tuple[bytes, ...]
    refund_signature: bytes
    negotiation: SingleNegotiation | DisjointNegotiation | None = None
    extensions: bytes = b""


@dataclass(frozen=True)
class Sign:
    """`sign_dlc`: the offerer's signatures, of its funding inputs too (a witness for each, by serial id)."""

    protocol_version: int
    contract_id: bytes
    adaptor_signatures: tuple[bytes, ...]
    refund_signature: bytes
    witnesses: tuple[tuple[bytes, ...], ...]
    extensions: bytes = b""


def _check_point(raw: bytes) -> None:
    if not secp.is_point(raw):
        raise BadInput("funding key", raw, "a point of secp256k1 (33 bytes)")


_ID: Final = Fixed(32)
_KEY: Final = Fixed(32)
_POINT: Final = Fixed(33, _check_point)


@dataclass(frozen=True)
class _EventFields:
    """`oracle_event` as the wire nests it in an announcement."""

    nonces: tuple[bytes, ...]
    maturity: int
    descriptor: Event
    event_id: str


@dataclass(frozen=True)
class _AnnouncementFields:
    """`oracle_announcement` as the wire has it."""

    signature: bytes
    key: bytes
    event: _EventFields

    def make(self) -> Announcement:
        event = self.event
        return Announcement(self.key, event.nonces, event.maturity, event.descriptor, event.event_id, self.signature)


def _announcement_fields(of: Announcement) -> _AnnouncementFields:
    return _AnnouncementFields(of.signature, of.key, _EventFields(of.nonces, of.maturity, of.descriptor, of.event_id))


_ENUM_EVENT: Final = Record(EnumEvent, (("outcomes", "outcomes", Vector(TEXT, U16)),))
_DIGIT_EVENT: Final = Record(
    DigitEvent,
    (
        ("base", "base", U16),
        ("isSigned", "signed", FLAG),
        ("unit", "unit", TEXT),
        ("precision", "precision", I32),
        ("nbDigits", "digits", U16),
    ),
)
_EVENT: Final = Record(
    _EventFields,
    (
        ("oracleNonces", "nonces", Vector(_KEY, U16)),
        ("eventMaturityEpoch", "maturity", U32),
        (
            "eventDescriptor",
            "descriptor",
            Union(
                (
                    Variant(ENUM_EVENT_TYPE, "enumEvent", EnumEvent, _ENUM_EVENT),
                    Variant(DIGIT_EVENT_TYPE, "digitDecompositionEvent", DigitEvent, _DIGIT_EVENT),
                ),
                record=True,
            ),
        ),
        ("eventId", "event_id", TEXT),
    ),
)
ANNOUNCEMENT: Final[Codec[Announcement]] = Sealed(
    ANNOUNCEMENT_TYPE,
    Mapped(
        Record(
            _AnnouncementFields,
            (
                ("announcementSignature", "signature", Fixed(64)),
                ("oraclePublicKey", "key", _KEY),
                ("oracleEvent", "event", Sealed(EVENT_TYPE, _EVENT)),
            ),
        ),
        _AnnouncementFields.make,
        _announcement_fields,
    ),
)
_DIFFERENCE: Final = Record(
    Difference,
    (
        ("maxErrorExp", "max_error_exp", U16),
        ("minFailExp", "min_fail_exp", U16),
        ("maximizeCoverage", "maximize_coverage", FLAG),
    ),
)
_SINGLE_ORACLE: Final = Record(SingleOracle, (("oracleAnnouncement", "announcement", ANNOUNCEMENT),))
_ORACLES: Final = Union(
    (
        Variant(
            0, "single", SingleOracle, Record(SingleOracle, (("oracleAnnouncement", "announcement", ANNOUNCEMENT),))
        ),
        Variant(
            1,
            "multi",
            SeveralOracles,
            Record(
                SeveralOracles,
                (
                    ("threshold", "threshold", U16),
                    ("oracleAnnouncements", "announcements", Vector(ANNOUNCEMENT)),
                    ("oracleParams", "difference", Optional(_DIFFERENCE)),
                ),
            ),
        ),
    )
)


@dataclass(frozen=True)
class _EnumPayout:
    outcome: str
    payout: int


_ENUM_PAYOUTS: Final = Wrapped(
    "payouts",
    Mapped(
        Vector(Record(_EnumPayout, (("outcome", "outcome", TEXT), ("localPayout", "payout", U64)))),
        lambda rows: EnumeratedPayouts(tuple((row.outcome, row.payout) for row in rows)),
        lambda value: tuple(_EnumPayout(*row) for row in value.payouts),
    ),
)
_PAYOUT_POINT: Final = Record(
    PayoutPoint,
    (
        ("eventOutcome", "outcome", U64),
        ("outcomePayout", "payout", U64),
        ("extraPrecision", "extra_precision", U16),
    ),
)


@dataclass(frozen=True)
class _PolynomialFields:
    """The points between the ends; a piece's ends are written once, as where it begins and where the next one does."""

    points: tuple[PayoutPoint, ...]

    def between(self, left: PayoutPoint, right: PayoutPoint) -> Piece:
        return Polynomial((left, *self.points, right))


@dataclass(frozen=True)
class _HyperbolaFields:
    """The parameters, by the names of dlcspecs PayoutCurve.md."""

    positive: bool
    translate_outcome: Fraction
    translate_payout: Fraction
    a: Fraction
    b: Fraction
    c: Fraction
    d: Fraction

    def between(self, left: PayoutPoint, right: PayoutPoint) -> Piece:
        return Hyperbola(left, right, **vars(self))


@dataclass(frozen=True)
class _PieceFields:
    start: PayoutPoint
    curve: _PolynomialFields | _HyperbolaFields


@dataclass(frozen=True)
class _FunctionFields:
    pieces: tuple[_PieceFields, ...]
    end: PayoutPoint

    def make(self) -> PayoutFunction:
        ends = [piece.start for piece in self.pieces[1:]] + [self.end]
        pieces = zip(self.pieces, ends, strict=False)
        return PayoutFunction(tuple(piece.curve.between(piece.start, end) for piece, end in pieces))


def _function_fields(function: PayoutFunction) -> _FunctionFields:
    pieces = tuple(_PieceFields(piece.left, _curve_fields(piece)) for piece in function.pieces)
    return _FunctionFields(pieces, function.pieces[-1].right)


def _curve_fields(piece: Piece) -> _PolynomialFields | _HyperbolaFields:
    if isinstance(piece, Polynomial):
        return _PolynomialFields(piece.points[1:-1])
    names = _HyperbolaFields.__dataclass_fields__
    return _HyperbolaFields(**{name: getattr(piece, name) for name in names})


_CURVE: Final = Union(
    (
        Variant(
            0,
            "polynomialPayoutCurvePiece",
            _PolynomialFields,
            Record(_PolynomialFields, (("payoutPoints", "points", Vector(_PAYOUT_POINT)),)),
        ),
        Variant(
            1,
            "hyperbolaPayoutCurvePiece",
            _HyperbolaFields,
            Record(
                _HyperbolaFields,
                (
                    ("usePositivePiece", "positive", FLAG),
                    ("translateOutcome", "translate_outcome", DECIMAL),
                    ("translatePayout", "translate_payout", DECIMAL),
                    *((name, name, DECIMAL) for name in "abcd"),
                ),
            ),
        ),
    )
)


@dataclass(frozen=True)
class _Interval:
    begin: int
    modulus: int


_ROUNDING: Final[Codec[RoundingIntervals]] = Wrapped(
    "intervals",
    Mapped(
        Vector(Record(_Interval, (("beginInterval", "begin", U64), ("roundingMod", "modulus", U64)))),
        lambda rows: RoundingIntervals(tuple((row.begin, row.modulus) for row in rows)),
        lambda value: tuple(_Interval(*row) for row in value.intervals),
    ),
)
_PIECE: Final = Record(_PieceFields, (("endPoint", "start", _PAYOUT_POINT), ("payoutCurvePiece", "curve", _CURVE)))
FUNCTION: Final[Codec[PayoutFunction]] = Mapped(
    Record(
        _FunctionFields,
        (("payoutFunctionPieces", "pieces", Vector(_PIECE)), ("lastEndpoint", "end", _PAYOUT_POINT)),
    ),
    _FunctionFields.make,
    _function_fields,
)
_NUMERIC_PAYOUTS: Final = Record(
    NumericPayouts,
    (
        ("numDigits", "digits", U16),
        ("payoutFunction", "function", FUNCTION),
        ("roundingIntervals", "rounding", _ROUNDING),
    ),
)
PAYOUTS: Final = Union(
    (
        Variant(0, "enumeratedContractDescriptor", EnumeratedPayouts, _ENUM_PAYOUTS),
        Variant(1, "numericOutcomeContractDescriptor", NumericPayouts, _NUMERIC_PAYOUTS),
    )
)
_CONTRACT_EVENT: Final = Record(
    ContractEvent,
    (
        ("contractDescriptor", "payouts", PAYOUTS),
        ("oracleInfo", "oracles", _ORACLES),
    ),
)
CONTRACT: Final = Union(
    (
        Variant(
            0,
            "singleContractInfo",
            SingleContract,
            Record(
                SingleContract,
                (("totalCollateral", "total_collateral", U64), ("contractInfo", "event", _CONTRACT_EVENT)),
            ),
        ),
        Variant(
            1,
            "disjointContractInfo",
            DisjointContract,
            Record(
                DisjointContract,
                (("totalCollateral", "total_collateral", U64), ("contractInfos", "events", Vector(_CONTRACT_EVENT))),
            ),
        ),
    )
)
_SINGLE_NEGOTIATION: Final = Variant(
    0, "single", SingleNegotiation, Record(SingleNegotiation, (("roundingIntervals", "rounding", _ROUNDING),))
)
_NEGOTIATION: Final = Union(
    (
        _SINGLE_NEGOTIATION,
        Variant(
            1,
            "disjoint",
            DisjointNegotiation,
            Record(DisjointNegotiation, (("negotiationFields", "events", Vector(Union((_SINGLE_NEGOTIATION,)))),)),
        ),
    )
)
_FUNDING_INPUT: Final = Record(
    FundingInput,
    (
        ("inputSerialId", "serial_id", U64),
        ("prevTx", "previous", BYTES),
        ("prevTxVout", "vout", U32),
        ("sequence", "sequence", U32),
        ("maxWitnessLen", "max_witness_size", U16),
        ("redeemScript", "redeem_script", SCRIPT),
    ),
)
_ADAPTOR_SIGNATURES: Final = Wrapped(
    "ecdsaAdaptorSignatures",
    Vector(Wrapped("signature", Fixed(adaptor.ADAPTOR_SIGNATURE_SIZE, adaptor.check))),
)
_WITNESSES: Final = Wrapped("fundingSignatures", Vector(Wrapped("witnessElements", Vector(Wrapped("witness", BYTES)))))
_OFFER: Final = Record(
    Offer,
    (
        ("protocolVersion", "protocol_version", U32),
        ("contractFlags", "contract_flags", U8),
        ("chainHash", "chain_hash", _ID),
        ("temporaryContractId", "temporary_id", _ID),
        ("contractInfo", "contract", CONTRACT),
        ("fundingPubkey", "party.funding_key", _POINT),
        ("payoutSpk", "party.payout_script", SCRIPT),
        ("payoutSerialId", "party.payout_serial_id", U64),
        ("offerCollateral", "party.collateral", U64),
        ("fundingInputs", "party.inputs", Vector(_FUNDING_INPUT)),
        ("changeSpk", "party.change_script", SCRIPT),
        ("changeSerialId", "party.change_serial_id", U64),
        ("fundOutputSerialId", "fund_serial_id", U64),
        ("feeRatePerVb", "fee_rate", U64),
        ("cetLocktime", "cet_lock_time", U32),
        ("refundLocktime", "refund_lock_time", U32),
    ),
    {"party": Party},
)
_ACCEPT: Final = Record(
    Accept,
    (
        ("protocolVersion", "protocol_version", U32),
        ("temporaryContractId", "temporary_id", _ID),
        ("acceptCollateral", "party.collateral", U64),
        ("fundingPubkey", "party.funding_key", _POINT),
        ("payoutSpk", "party.payout_script", SCRIPT),
        ("payoutSerialId", "party.payout_serial_id", U64),
        ("fundingInputs", "party.inputs", Vector(_FUNDING_INPUT)),
        ("changeSpk", "party.change_script", SCRIPT),
        ("changeSerialId", "party.change_serial_id", U64),
        ("cetAdaptorSignatures", "adaptor_signatures", _ADAPTOR_SIGNATURES),
        ("refundSignature", "refund_signature", SIGNATURE),
        ("negotiationFields", "negotiation", Optional(_NEGOTIATION)),
    ),
    {"party": Party},
)
_SIGN: Final = Record(
    Sign,
    (
        ("protocolVersion", "protocol_version", U32),
        ("contractId", "contract_id", _ID),
        ("cetAdaptorSignatures", "adaptor_signatures", _ADAPTOR_SIGNATURES),
        ("refundSignature", "refund_signature", SIGNATURE),
        ("fundingSignatures", "witnesses", _WITNESSES),
    ),
)
M = TypeVar("M", Offer, Accept, Sign)


@dataclass(frozen=True)
class MessageType(Generic[M]):
    """One kind of message: its number before the fields, TLV records after them."""

    kind: int
    name: str
    values: type[M]
    fields: Codec[M]

    def decode(self, raw: bytes) -> M:
        """From binary. Raises BadInput for another kind or version, for missing bytes and for what is not canonical."""
        if len(raw) > MAX_MESSAGE:
            raise BadInput(f"{self.name} message", f"{len(raw):,} bytes", f"at most {MAX_MESSAGE:,} bytes")
        try:
            return self._read(WireReader(raw))
        except Malformed as error:
            raise BadInput(f"{self.name} message", raw, f"one of dlcspecs ({error})") from None

    def _read(self, reader: WireReader) -> M:
        kind, version = reader.number(2), int.from_bytes(reader.peek(4), "big")
        if kind != self.kind:
            raise Malformed(f"type {kind} where {self.kind} belongs")
        if version != PROTOCOL_VERSION:
            raise Malformed(f"protocol version {version}, and {PROTOCOL_VERSION} is known")
        message = self.fields.read(reader)
        return replace(message, extensions=read_extensions(reader))

    def encode(self, message: M) -> bytes:
        """To binary."""
        return self.kind.to_bytes(2, "big") + self.fields.write(message) + message.extensions

    def from_document(self, document: object) -> M:
        """From decoded JSON. Raises BadInput."""
        message = self.fields.parse(document, self.name)
        if message.protocol_version != PROTOCOL_VERSION:
            raise BadInput(f"{self.name}.protocolVersion", message.protocol_version, str(PROTOCOL_VERSION))
        return message

    def to_document(self, message: M) -> Any:
        """To what JSON can encode."""
        return self.fields.show(message)

    def parse(self, raw: bytes) -> M:
        """From a file: binary, hex, or JSON. Raises BadInput."""
        if raw[:2] == self.kind.to_bytes(2, "big"):
            return self.decode(raw)
        text = raw.strip()
        if text.startswith(b"{"):
            try:
                return self.from_document(msgspec.json.decode(text))
            except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
                raise BadInput(f"{self.name} message", text[:60], f"JSON ({error})") from None
        try:
            return self.decode(bytes.fromhex(text.decode("ascii")))
        except ValueError:
            raise BadInput(f"{self.name} message", raw[:60], "binary, hex or JSON") from None

    def to_json(self, message: M) -> bytes:
        """JSON for people."""
        return encode(self.to_document(message))


OFFER: Final = MessageType(42778, "offer", Offer, _OFFER)
ACCEPT: Final = MessageType(42780, "accept", Accept, _ACCEPT)
SIGN: Final = MessageType(42782, "sign", Sign, _SIGN)
