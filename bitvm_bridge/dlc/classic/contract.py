"""A contract between two parties: its outcomes, and for each the transaction and the point that signatures are for."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

from bitvm_bridge import secp
from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.dlc.classic.batches import Job, encrypt_all, first_invalid
from bitvm_bridge.dlc.classic.messages import Accept, Offer, Sign
from bitvm_bridge.dlc.classic.transactions import Party, Terms
from bitvm_bridge.dlc.oracle import Announcement, Attestation, Hashing
from bitvm_bridge.dlc.payouts import (
    ContractInfo,
    ContractOutcome,
    all_announcements,
    contract_outcomes,
    settled_by,
)
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.segwit import SIGHASH_ALL
from bitvm_bridge.transaction import Transaction


@dataclass(frozen=True)
class Reading:
    """How an offer becomes transactions, where the specification and its most used implementation differ.

    `hashing` is how outcomes are hashed. The implementation covers as much as it can wherever oracles may differ
    (`maximize`), and gives the CETs of every part but the first the lock time 0 (`unlocked_parts`).
    """

    hashing: Hashing = Hashing.PLAIN
    maximize: bool = False
    unlocked_parts: bool = False

    def info(self, info: ContractInfo) -> ContractInfo:
        """A part of the contract, read so."""
        if info.difference is None or not self.maximize:
            return info
        return replace(info, difference=replace(info.difference, maximize_coverage=True))

    def lock_time(self, terms: Terms, outcome: ContractOutcome) -> int:
        """Of the outcome's CET."""
        return 0 if outcome.part and self.unlocked_parts else terms.cet_lock_time


def readings(offer: Offer, hashing: Hashing) -> Iterator[Reading]:
    """Every reading of an offer that is not the same as another, that of the specification first."""
    differences = [event.oracles.difference for event in offer.contract.events]
    open_ended = any(each is not None and not each.maximize_coverage for each in differences)
    parts = len(offer.contract.events) > 1
    for unlocked, maximize in product((False, True)[: 1 + parts], (False, True)[: 1 + open_ended]):
        yield Reading(hashing, maximize, unlocked)


@dataclass(frozen=True)
class Contract:
    """An offer with the accepter's part, read in one way."""

    offer: Offer
    accepter: Party
    reading: Reading = Reading()

    @cached_property
    def terms(self) -> Terms:
        """What fixes its transactions."""
        offer = self.offer
        return Terms(
            offer.party,
            self.accepter,
            offer.fee_rate,
            offer.fund_serial_id,
            offer.cet_lock_time,
            offer.refund_lock_time,
        )

    @property
    def id(self) -> bytes:
        """32 bytes (dlcspecs Protocol.md)."""
        return self.terms.contract_id(self.offer.temporary_id)

    @cached_property
    def announcements(self) -> tuple[Announcement, ...]:
        """Of every oracle of every part; outcomes count them."""
        return all_announcements([event.info for event in self.offer.contract.events])

    @cached_property
    def outcomes(self) -> tuple[ContractOutcome, ...]:
        """In the order of the adaptor signatures. Raises BadInput for what no contract can be."""
        infos = [self.reading.info(event.info) for event in self.offer.contract.events]
        return contract_outcomes(infos, self.offer.contract.total_collateral)

    @cached_property
    def jobs(self) -> tuple[Job, ...]:
        """For each outcome the digest of its CET and the point of its attestation."""
        return tuple(
            Job(self._digest(outcome.payout, self.reading.lock_time(self.terms, outcome)), self.point(outcome))
            for outcome in self.outcomes
        )

    def point(self, outcome: ContractOutcome) -> bytes:
        """33 bytes: the adaptor point of an outcome."""
        return outcome.point(self.announcements, self.reading.hashing)

    def cet(self, outcome: ContractOutcome) -> Transaction:
        """Its contract execution transaction, unsigned."""
        return self.terms.cet(outcome.payout, self.reading.lock_time(self.terms, outcome))

    def _digest(self, payout: int, lock_time: int) -> bytes:
        known = self._digests.get((payout, lock_time))
        if known is None:
            known = self.terms.closing_digest(self.terms.cet(payout, lock_time))
            self._digests[payout, lock_time] = known
        return known

    @cached_property
    def _digests(self) -> dict[tuple[int, int], bytes]:
        return {}

    def adaptor_signatures(self, key: SecretKey, workers: int | None = None) -> tuple[bytes, ...]:
        """One for each outcome (162 bytes), over so many processes; None: all cores."""
        return encrypt_all(key, self.jobs, workers)

    def refund_signature(self, key: SecretKey) -> bytes:
        """64 bytes, `r ‖ s`."""
        return secp.ecdsa_sign(key.reveal(), self.terms.closing_digest(self.terms.refund))

    def check_signatures(
        self, public_key: bytes, signatures: Sequence[bytes], refund_signature: bytes, workers: int | None = None
    ) -> None:
        """All closing signatures of a party, over so many processes. Raises VerificationFailed at the first bad one."""
        if len(signatures) != len(self.outcomes):
            raise VerificationFailed(f"adaptor signatures: {len(signatures)} for {len(self.outcomes)} outcomes")
        if not secp.ecdsa_verify(public_key, self.terms.closing_digest(self.terms.refund), refund_signature):
            raise VerificationFailed("the refund's signature is not one of the refund under the funding key")
        bad = first_invalid(public_key, self.jobs, signatures, workers)
        if bad is not None:
            signed = ", ".join(" ".join(outcomes) for _, outcomes in self.outcomes[bad].oracles)
            raise VerificationFailed(f"adaptor signature {bad} (for {signed}) does not verify")

    def settle(
        self, attestations: Sequence[Attestation], key: SecretKey, other_key: bytes, signatures: Sequence[bytes]
    ) -> Transaction:
        """The signed CET of what oracles attested, with the adaptor signatures of the other party.

        Raises VerificationFailed for an attestation that is not what was announced, BadInput where they settle nothing.
        """
        attested = self._by_oracle(attestations)
        index = settled_by(self.outcomes, {place: each.outcomes for place, each in attested.items()})
        outcome = self.outcomes[index]
        secret = outcome.secret(attested)
        if secret.public != self.point(outcome):
            raise VerificationFailed("the attestations do not add up to the secret of the outcome's point")
        cet, digest = self.cet(outcome), self.jobs[index].digest
        theirs = adaptor.decrypt(signatures[index], secret.reveal())
        if not secp.ecdsa_verify(other_key, digest, theirs):
            raise VerificationFailed(f"adaptor signature {index} made no signature of the other party")
        return self._closed(cet, {other_key: theirs, key.public: secp.ecdsa_sign(key.reveal(), digest)})

    def refund(self, key: SecretKey, other_key: bytes, signature: bytes) -> Transaction:
        """The signed refund; nodes take it from its lock time on."""
        return self._closed(self.terms.refund, {other_key: signature, key.public: self.refund_signature(key)})

    def revealed(self, cet: Transaction, other_key: bytes, signatures: Sequence[bytes]) -> dict[int, bytes]:
        """Secrets (32 bytes) that a CET of the other side gives away, by outcome: attestations are on chain then.

        `signatures` are the adaptor signatures under `other_key`, of whoever has settled with them.
        """
        found = {}
        ders = cet.inputs[0].witness[1:3] if cet.inputs else ()
        for index, outcome in enumerate(self.outcomes):
            if self.cet(outcome).txid != cet.txid:
                continue
            for der in ders:
                try:
                    signature = secp.ecdsa_from_der(der[:-1])
                    found[index] = adaptor.recover(signatures[index], signature, self.point(outcome))
                except (BadInput, VerificationFailed):
                    continue
        return found

    def _closed(self, tx: Transaction, signatures: Mapping[bytes, bytes]) -> Transaction:
        """Signatures in the order of the keys in the script; the empty item is CHECKMULTISIG's own."""
        encoded = [secp.ecdsa_der(signatures[key]) + bytes([SIGHASH_ALL]) for key in sorted(signatures)]
        return tx.with_witness(0, (b"", *encoded, self.terms.funding_script))

    def _by_oracle(self, attestations: Sequence[Attestation]) -> dict[int, Attestation]:
        found: dict[int, Attestation] = {}
        for attestation in attestations:
            places = [
                place
                for place, each in enumerate(self.announcements)
                if (each.key, each.event_id) == (attestation.key, attestation.event_id)
            ]
            if not places:
                named = f"{attestation.key.hex()[:16]}… to {attestation.event_id!r}"
                raise BadInput("attestation", named, "one of an oracle and event of this contract")
            for place in places:
                attestation.verify(self.announcements[place], self.reading.hashing)
                found[place] = attestation
        return found


def agreed(offer: Offer, accept: Accept, hashing: Hashing, workers: int | None = None) -> Contract:
    """The contract in the reading that the accepter's signatures are for, every one of them verified.

    Raises VerificationFailed where they are for none.
    """
    key = accept.party.funding_key
    return _first_verified(offer, accept.party, key, accept, hashing, workers)


def confirmed(offer: Offer, accept: Accept, sign: Sign, hashing: Hashing, workers: int | None = None) -> Contract:
    """The same for the offerer's: each party settles with the other's signatures, in the reading that those are for.

    Raises VerificationFailed for another contract id, too.
    """
    contract = _first_verified(offer, accept.party, offer.party.funding_key, sign, hashing, workers)
    if sign.contract_id != contract.id:
        raise VerificationFailed(f"sign message: it is for contract {sign.contract_id.hex()}, not {contract.id.hex()}")
    return contract


def _first_verified(
    offer: Offer, accepter: Party, key: bytes, signed: Accept | Sign, hashing: Hashing, workers: int | None
) -> Contract:
    failure = VerificationFailed("no way to read the offer")
    for place, reading in enumerate(readings(offer, hashing)):
        contract = Contract(offer, accepter, reading)
        try:
            contract.check_signatures(key, signed.adaptor_signatures, signed.refund_signature, workers)
        except VerificationFailed as error:
            failure = failure if place else error
        else:
            return contract
    raise failure
