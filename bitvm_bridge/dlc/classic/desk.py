"""A party of classic contracts at work: its coins, its key of each contract, and every step from offer to the end.

Whatever comes from outside is checked before anything is signed, and what is signed is kept before it is shown.
"""

import secrets
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from bitvm_bridge import keyring
from bitvm_bridge.chain.mempool import COINBASE_MATURITY
from bitvm_bridge.chain.node import Node, Utxo
from bitvm_bridge.dlc import notary
from bitvm_bridge.dlc.classic import book, negotiation
from bitvm_bridge.dlc.classic.book import FUNDING, Held, Side
from bitvm_bridge.dlc.classic.checks import GENESIS, TIMESTAMPS_FROM, check_accept, check_accepter, check_offer
from bitvm_bridge.dlc.classic.contract import Contract, Reading
from bitvm_bridge.dlc.classic.description import Description
from bitvm_bridge.dlc.classic.messages import PROTOCOL_VERSION, Accept, Offer, Sign
from bitvm_bridge.dlc.classic.transactions import VERSION, FundingInput, Party
from bitvm_bridge.dlc.oracle import Announcement, Attestation, Hashing
from bitvm_bridge.dlc.payouts import all_announcements, contract_outcomes
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet, own_input

SETTLEMENT: Final = "DlcSettlement"
REFUND: Final = "DlcRefund"
RECLAIM: Final = "DlcReclaim"
_SEQUENCE: Final = 0xFFFFFFFF
_WITNESS: Final = negotiation.P2WPKH_WITNESS
"""bytes announced for a witness of its own coins, which have less: rust-dlc counts so many whatever is announced."""
_SERIAL_BITS: Final = 53
"""Serial ids of so many bits are exact wherever JSON is read."""
_BLOCK_TIME: Final = 600
"""seconds between blocks, on average."""


@dataclass(frozen=True)
class Standing:
    """Where a contract stands: the parties' words, or what the chain shows.

    `state` is offered, accepted, signed, void (a coin was spent elsewhere), funding, open, settled or refunded.
    `height` is that of the block with its last transaction, `closing` what spent the funding output, `payout` the
    offerer's in sat where that is settled.
    """

    state: str
    height: int | None = None
    closing: Transaction | None = None
    payout: int | None = None


@dataclass(frozen=True)
class Desk:
    """The party called `name`; over `max_fee_rate` (sat/vB) it signs nothing. `workers`: None for all cores.

    An event that may be attested already is one whose outcome the other party may know: only with `even_if_due` is
    anything agreed to over it.
    """

    store: Store
    node: Node
    name: str
    max_fee_rate: float
    even_if_due: bool = False
    workers: int | None = None

    @cached_property
    def _coin_key(self) -> SecretKey:
        return keyring.signing_key(self.store, Role.PARTY, self.name)

    def _funding_key(self, salt: bytes) -> SecretKey:
        return self.store.seed(Role.PARTY, self.name).contract_key(salt)

    def offer(self, description: Description, fee_rate: int, payout_script: bytes | None = None) -> Held:
        """Offer a contract at a fee rate (sat/vB); nothing is signed. `keep` it before anyone sees it.

        The payout goes to the party's own key unless a script says otherwise. Raises BadInput, BridgeError or
        VerificationFailed for a contract that is not safe, or for which the coins do not suffice.
        """
        announcements = all_announcements([event.info for event in description.contract.events])
        self._check_oracles(announcements, description.hashing)
        contract_outcomes([event.info for event in description.contract.events], description.contract.total_collateral)
        salt, temporary_id = secrets.token_bytes(32), secrets.token_bytes(32)
        party = self._party(salt, temporary_id, description.collateral, fee_rate, payout_script)
        offer = Offer(
            PROTOCOL_VERSION,
            0,
            GENESIS[self.node.network],
            temporary_id,
            description.contract,
            party,
            _serial_id(),
            fee_rate,
            description.settle_from,
            description.refund_from,
        )
        self._check_offer(offer)
        self._check_undecided(offer)
        return Held(self.name, Side.OFFERER, salt, description.hashing, offer)

    def keep(self, held: Held) -> None:
        """Keep a contract, with its coins and the nonces of its oracles. Raises BridgeError where one of them is taken.

        That is a coin that serves something else by now, or a nonce that was announced for another event.
        """
        with self.store.transaction():
            for announcement in _announcements(held.offer):
                notary.follow(self.store, announcement, held.hashing)
            book.save(self.store, held)

    def accept(self, offer: Offer, payout_script: bytes | None = None, *, as_rust_dlc: bool = False) -> Held:
        """Accept an offer: sign every closing transaction. `keep` it before anyone sees it.

        The offer is read as the specification has it, or as its most used implementation does. One that was accepted
        already has the same answer.

        Raises BadInput, BridgeError or VerificationFailed for an offer that is not safe to accept.
        """
        there = book.known(self.store, offer.temporary_id, self.name)
        if there is not None:
            if there.side is Side.OFFERER or there.offer != offer:
                what = "an offer of this very party" if there.side is Side.OFFERER else "known with other terms"
                raise BridgeError(f"{there}: {what}")
            return there
        self._check_offer(offer)
        hashing = hashing_of(offer)
        self._check_oracles(_announcements(offer), hashing)
        contract_outcomes([event.info for event in offer.contract.events], offer.contract.total_collateral)
        self._check_coins(offer.party.inputs)
        salt = secrets.token_bytes(32)
        collateral = offer.contract.total_collateral - offer.party.collateral
        party = self._party(salt, offer.temporary_id, collateral, offer.fee_rate, payout_script)
        check_accepter(offer, party)
        self._check_undecided(offer)
        reading = Reading(hashing, maximize=as_rust_dlc, unlocked_parts=as_rust_dlc)
        arguments = self._funding_key(salt), self.node.network, self.max_fee_rate, reading, self.workers
        accept = negotiation.accept_offer(offer, party, *arguments)
        return Held(self.name, Side.ACCEPTER, salt, hashing, offer, accept)

    def sign(self, accept: Accept) -> Held:
        """Sign an accepted contract, the funding inputs too. `keep` it before anyone sees it.

        A message that was signed already has the same answer.

        Raises BadInput, BridgeError or VerificationFailed for an accept message that is not safe to answer.
        """
        held = book.known(self.store, accept.temporary_id, self.name)
        if held is None or held.side is not Side.OFFERER:
            raise BadInput("accept message", accept.temporary_id, f"an answer to an offer of party {self.name!r}")
        if held.accept is not None:
            if held.accept != accept:
                raise BridgeError(f"{held}: another accept message was signed already")
            return held
        check_accept(held.offer, accept)
        self._check_due(held.offer)
        self._check_coins(held.offer.party.inputs + accept.party.inputs)
        self._check_undecided(held.offer)
        contract, sign = negotiation.sign_accepted(
            held.offer,
            accept,
            self._funding_key(held.salt),
            self._coin_key,
            self.node.network,
            self.max_fee_rate,
            held.hashing,
            self.workers,
        )
        return replace(held, accept=accept, sign=sign, reading=contract.reading)

    def complete(self, sign: Sign) -> tuple[Held, Prepared]:
        """The funding transaction with every signature, and the contract, to `keep` before it is sent.

        Raises BadInput, BridgeError or VerificationFailed where the offerer's signatures are not all there.
        """
        held = book.accepted(self.store, sign.contract_id, self.name)
        if held.sign is not None and held.sign != sign:
            raise BridgeError(f"{held}: another sign message is here already")
        if held.sign is None:
            self._check_due(held.offer)
        funding = held.contract.terms.funding
        if (found := self.node.find(funding.txid)) is not None:
            raise BridgeError(f"{held}: already funded, by {funding.txid_hex} in block {found[1]:,}")
        if not self.node.in_mempool(funding.txid):
            self._check_coins(held.contract.terms.inputs)
        contract, tx = negotiation.complete(held.offer, held.accepted, sign, self._coin_key, held.hashing, self.workers)
        terms = contract.terms
        spent = tuple(each.spent for each in terms.inputs)
        coins = frozenset(each.outpoint for each in held.own.inputs)
        return replace(held, sign=sign, reading=contract.reading), Prepared(FUNDING, Funded(tx, spent, coins))

    def settle(self, held: Held, attestations: Sequence[tuple[Attestation, Hashing]]) -> Prepared:
        """The settlement that these attestations decide.

        Raises BadInput or VerificationFailed for attestations that settle nothing, BridgeError where there is nothing
        to settle (any more).
        """
        for attestation, hashing in attestations:
            if hashing is not held.hashing:
                expected = f"{held.hashing.value}, as the announcement is"
                raise BadInput(f"hashing of the attestation to {attestation.event_id!r}", hashing.value, expected)
        theirs = held.theirs
        key = self._funding_key(held.salt)
        signed = [attestation for attestation, _ in attestations]
        tx = held.contract.settle(signed, key, held.other_key, theirs.adaptor_signatures)
        self._check_open(held)
        return self._closing(held, SETTLEMENT, tx)

    def refund(self, held: Held) -> Prepared:
        """The refund; nodes take it from its lock time on. Raises BridgeError where there is nothing to take back."""
        theirs = held.theirs
        tx = held.contract.refund(self._funding_key(held.salt), held.other_key, theirs.refund_signature)
        self._check_open(held)
        return self._closing(held, REFUND, tx)

    def hurry(self, prepared: Prepared, fee_rate: float) -> Prepared:
        """The same, with a child of this party's own output that pays what both cost at a rate (sat/vB).

        Raises BridgeError where nothing is paid to this party's key.
        """
        wallet = Wallet(self._coin_key, self.node, fee_rate, frozenset(self.store.reserved_coins()))
        tx = prepared.tx
        own = [place for place, output in enumerate(tx.outputs) if output.script_pubkey == wallet.script_pubkey]
        if not own:
            raise BridgeError(f"{prepared.name}: it pays nothing to your key, so no child of yours can pay for it")
        partial = Transaction(VERSION, (own_input(tx.outpoint(own[0])),), ())
        bill = {"extra_vsize": tx.vsize, "extra_fee": prepared.parent.fee}
        return replace(prepared, child=wallet.sign_coins(wallet.fund(partial, (tx.outputs[own[0]],), **bill), 0))

    def cancel(self, held: Held) -> None:
        """Forget a contract that can never be funded without this party: its coins are free again.

        Raises BridgeError once its funding inputs are signed.
        """
        if held.stage == "signed":
            raise BridgeError(f"{held}: its funding is signed; `dlc classic reclaim` spends your coins of it elsewhere")
        book.forget(self.store, held)

    def reclaim(self, held: Held, fee_rate: float) -> Prepared:
        """Spend this party's coins of a contract back to itself (sat/vB): it can never be funded then.

        Raises BridgeError where it is funded already, or the funding waits in the mempool.
        """
        standing = self.standing(held)
        if standing.state not in ("offered", "accepted", "signed"):
            raise BridgeError(f"{held}: too late, it is {standing.state}")
        self._check_coins(held.own.inputs)
        wallet = Wallet(self._coin_key, self.node, fee_rate, frozenset(self.store.reserved_coins()))
        inputs = tuple(own_input(each.outpoint) for each in held.own.inputs)
        spent = tuple(each.spent for each in held.own.inputs)
        return Prepared(RECLAIM, wallet.sign_coins(wallet.fund(Transaction(VERSION, inputs, ()), spent), 0))

    def standing(self, held: Held) -> Standing:
        """Where it stands, by the chain once it can be funded."""
        if held.accept is None:
            return Standing(held.stage)
        terms = held.contract.terms
        outpoint = terms.funding.outpoint(terms.funding_index)
        if (output := self.node.output(outpoint)) is not None:
            return Standing("open", output.height)
        if self.node.in_mempool(terms.funding.txid):
            return Standing("funding")
        if (found := self.node.spender(outpoint)) is None:
            gone = any(self.node.output(each.outpoint) is None for each in terms.inputs)
            return Standing("void" if gone else held.stage)
        closing, height = found
        if closing.txid == terms.refund.txid:
            return Standing("refunded", height, closing)
        return Standing("settled", height, closing, _payout_of(held.contract, closing))

    def _party(
        self, salt: bytes, temporary_id: bytes, collateral: int, fee_rate: int, payout_script: bytes | None
    ) -> Party:
        """This party's part, with coins that serve nothing else. Raises BridgeError where they do not suffice."""
        script = wallet_script(self._coin_key.xonly)
        key = self._funding_key(salt).public
        party = Party(key, payout_script or script, _serial_id(), collateral, (), script, _serial_id())
        reserved = frozenset(self.store.reserved_coins())
        wallet = Wallet(self._coin_key, self.node, float(fee_rate), reserved)
        for utxo in wallet.coins():
            party = replace(party, inputs=(*party.inputs, self._input(utxo)))
            if party.brought >= party.needed(fee_rate):
                return party
        raise BridgeError(
            f"wallet: {party.brought:,} sat in coins, and collateral, fees and change take {party.needed(fee_rate):,}"
        )

    def _input(self, utxo: Utxo) -> FundingInput:
        for tx in self.node.block(utxo.height).transactions:
            if tx.txid == utxo.outpoint.txid:
                return FundingInput(_serial_id(), tx.serialize(), utxo.outpoint.vout, _SEQUENCE, _WITNESS)
        raise BridgeError(f"coin {utxo.outpoint}: not in block {utxo.height:,} any more; try again")

    def _check_oracles(self, announcements: Iterable[Announcement], hashing: Hashing) -> None:
        for announcement in announcements:
            notary.check(self.store, announcement, hashing)

    def _check_offer(self, offer: Offer) -> None:
        check_offer(offer, self.node.network, self.max_fee_rate)
        self._check_due(offer)

    def _check_due(self, offer: Offer) -> None:
        """A refund that is valid already, or before the oracle speaks, takes back what the outcome would cost."""
        refund, height, now = offer.refund_lock_time, self.node.height(), int(time.time())
        if refund < TIMESTAMPS_FROM:
            if refund <= height + 1:
                raise BadInput("refund lock time", refund, f"above block {height + 1:,}, the next one")
            latest = max(announcement.maturity for announcement in _announcements(offer))
            expected = now + (refund - height) * _BLOCK_TIME
            if self.node.network is not Network.REGTEST and expected <= latest:
                blocks = (latest - now) // _BLOCK_TIME + 1
                raise BadInput(
                    "refund lock time", refund, f"after the last event's maturity: block {height + blocks:,}"
                )
        elif refund <= now:
            raise BadInput("refund lock time", refund, f"in the future (it is {now} now)")

    def _check_undecided(self, offer: Offer) -> None:
        now = time.time()
        for announcement in _announcements(offer) if not self.even_if_due else ():
            if announcement.maturity <= now:
                raise BridgeError(
                    f"event {announcement.event_id!r}: it may be attested already, and the other party may know how; "
                    "--even-if-due agrees to it all the same"
                )

    def _check_coins(self, inputs: Iterable[FundingInput]) -> None:
        tip = self.node.height()
        for each in inputs:
            coin = self.node.output(each.outpoint)
            if coin is None:
                raise BridgeError(f"funding input {each.outpoint}: spent, or not in a block")
            if coin.coinbase and tip + 1 - coin.height < COINBASE_MATURITY:
                raise BridgeError(f"funding input {each.outpoint}: a subsidy that cannot be spent yet")

    def _check_open(self, held: Held) -> None:
        standing = self.standing(held)
        if standing.closing is not None:
            raise BridgeError(
                f"{held}: already {standing.state}, by {standing.closing.txid_hex} in block {standing.height:,}"
            )
        if standing.state not in ("open", "funding"):
            raise BridgeError(f"{held}: its funding transaction {held.contract.terms.funding.txid_hex} was not sent")

    def _closing(self, held: Held, name: str, tx: Transaction) -> Prepared:
        spent: tuple[TxOut, ...] = (held.contract.terms.funding_output,)
        return Prepared(name, Funded(tx, spent))


def hashing_of(offer: Offer) -> Hashing:
    """How the oracles of an offer hash, by the signatures of their announcements: messages do not say.

    Raises VerificationFailed where these have no hashing in common.
    """
    announcements = _announcements(offer)
    failure = VerificationFailed("announcements: none")
    for hashing in Hashing:
        try:
            _verify(announcements, hashing)
        except VerificationFailed as error:
            failure = error
        else:
            return hashing
    raise failure


def _verify(announcements: Iterable[Announcement], hashing: Hashing) -> None:
    for announcement in announcements:
        announcement.verify(hashing)


def _announcements(offer: Offer) -> tuple[Announcement, ...]:
    return all_announcements([event.info for event in offer.contract.events])


def _payout_of(contract: Contract, closing: Transaction) -> int | None:
    """The offerer's payout (sat) in a settlement, in whatever reading; None for what was not agreed to."""
    payouts = {outcome.payout: outcome for outcome in contract.outcomes}
    return next((payout for payout, each in payouts.items() if contract.cet(each).outputs == closing.outputs), None)


def _serial_id() -> int:
    return secrets.randbits(_SERIAL_BITS)
