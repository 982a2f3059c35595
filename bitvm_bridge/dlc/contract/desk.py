"""One of the three at work: its part of a contract, its signatures, and what it sends.

Whatever comes from outside is checked before anything is signed, and what is signed is kept before it is shown.
"""

import secrets
import time
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

from bitvm_bridge import actions, keyring, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc import notary
from bitvm_bridge.dlc.contract import book, moves
from bitvm_bridge.dlc.contract import closing as closings
from bitvm_bridge.dlc.contract.book import Held
from bitvm_bridge.dlc.contract.contract import COMMON_VSIZE, Agreement, Coin, Contract, Reopening, Side
from bitvm_bridge.dlc.contract.moves import OracleKeys
from bitvm_bridge.dlc.contract.signing import ContractGraphs
from bitvm_bridge.dlc.contract.talk import (
    ACCEPT,
    OFFER,
    STAKE,
    TRANSFER,
    AcceptBody,
    OfferBody,
    StakeBody,
    Talk,
    TransferBody,
    offer_id,
)
from bitvm_bridge.dlc.contract.terms import Terms
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.protocol import Party, wallet_script
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet

FUNDING_NAME: Final = "Funding"
STAKE_NAME: Final = "OracleStake"


@dataclass(frozen=True)
class Desk:
    """The party or oracle called `name`; over `max_fee_rate` (sat/vB) it signs nothing."""

    store: Store
    node: Node
    role: Role
    name: str
    max_fee_rate: float

    @cached_property
    def seed(self) -> Seed:
        """Of the name. Raises BadInput for an unknown one."""
        return self.store.seed(self.role, self.name)

    @cached_property
    def identity(self) -> SecretKey:
        """What signs its messages."""
        return self.seed.identity_key()

    def offer(self, terms: Terms) -> tuple[Held, Envelope]:
        """Offer a contract: coins are set aside, nothing is signed.

        Raises BadInput, VerificationFailed or BridgeError for terms that are not safe, or where coins do not suffice.
        """
        self._check(terms)
        with self.store.transaction():
            notary.follow(self.store, terms.announcement, terms.hashing)
            side = self._side(terms, terms.salt, terms.offerer_share)
            body = OfferBody(terms.document(), side.document())
            held = Held(offer_id(body), self.name, Party.OFFERER, terms.salt)
            return held, self._begin(held, side, OFFER, body)

    def accept(self, talk: Talk) -> tuple[Held, Envelope]:
        """Accept an offer. The same offer again has the same answer. Raises as `offer`."""
        known = self._known(talk.session, Party.ACCEPTER)
        if known is not None:
            return known, self._mine(talk, ACCEPT)
        terms = talk.terms
        self._check(terms)
        with self.store.transaction():
            notary.follow(self.store, terms.announcement, terms.hashing)
            salt = secrets.token_bytes(32)
            side = self._side(terms, salt, terms.accepter_share)
            Agreement(terms, Side.from_document(talk.offer.offerer), side)
            held = Held(talk.session, self.name, Party.ACCEPTER, salt)
            return held, self._begin(held, side, ACCEPT, AcceptBody(side.document()))

    def transfer(
        self, talk: Talk, leaves: Party, price: int, with_stake: bool, point: bytes | None
    ) -> tuple[Held, Envelope]:
        """Ask for the position of a party of a contract, at a price (sat); the other one stays.

        The new contract is about the same, between the other party and this one. Raises as `offer`.
        """
        old = talk.contract()
        if old is None:
            raise BadInput("contract", talk.session, "one whose offer, acceptance and stake are in the folder")
        agreement = old.agreement
        gone, stays = (
            (agreement.offerer, agreement.accepter)
            if leaves is Party.OFFERER
            else (agreement.accepter, agreement.offerer)
        )
        joint = closings.inputs_of(ContractGraphs(old), with_stake)
        payments = [TxOut(price, gone.payout)]
        if with_stake:
            payments.append(TxOut(sum(coin.output.amount for coin in joint[1:]), old.oracle.payout))
        shares = (price, 0) if leaves is Party.OFFERER else (0, price)
        reopens = Reopening(joint, tuple(payments), shares)
        salt = secrets.token_bytes(32)
        terms = replace(old.terms, salt=salt)
        self._check(terms)
        with self.store.transaction():
            notary.follow(self.store, terms.announcement, terms.hashing)
            side = self._side(terms, salt, price, COMMON_VSIZE + reopens.vsize)
            rest = replace(stays, coins=())
            offerer, accepter = (side, rest) if leaves is Party.OFFERER else (rest, side)
            made = Agreement(terms, offerer, accepter, reopens)
            body = TransferBody(
                talk.session.hex(),
                terms.document(),
                made.offerer.document(),
                made.accepter.document(),
                reopens.document(),
                point.hex() if point else "",
            )
            held = Held(offer_id(body), self.name, leaves, salt)
            return held, self._begin(held, side, TRANSFER, body)

    def stay(self, talk: Talk) -> Held:
        """The party that stays when the other one's position changes hands: its part in the new contract, kept.

        Raises BadInput or VerificationFailed where that is not what it has now.
        """
        transfer = transfer_of(talk)
        old, contract = self.held_in_old(transfer), _old_contract(self.store, transfer)
        agreement = talk.agreement(b"")
        check_terms(contract, agreement)
        index = 0 if old.party is Party.OFFERER else 1
        before = (contract.agreement.offerer, contract.agreement.accepter)[index]
        now = (agreement.offerer, agreement.accepter)[index]
        if now != replace(before, coins=()) or agreement.sides[index][1]:
            raise VerificationFailed(
                f"{old}: the {old.party}'s part in the new contract is not the one that it has now"
            )
        held = replace(old, session=talk.session)
        with self.store.transaction():
            notary.follow(self.store, agreement.terms.announcement, agreement.terms.hashing)
            book.save(self.store, held)
        return held

    def check_leaving(self, talk: Talk, price: int) -> Held:
        """The party that leaves, in the old contract. Raises VerificationFailed where it is paid less than `price`."""
        transfer = transfer_of(talk)
        old, contract = self.held_in_old(transfer), _old_contract(self.store, transfer)
        is_offerer = old.party is Party.OFFERER
        own = contract.agreement.offerer if is_offerer else contract.agreement.accepter
        reopens = talk.agreement(b"").reopens
        paid = sum(one.amount for one in reopens.payments if one.script_pubkey == own.payout) if reopens else 0
        if paid < price:
            raise VerificationFailed(f"{old}: {paid:,} sat are paid for its position, and {price:,} are asked")
        return old

    def leaves(self, talk: Talk) -> bool:
        """Is it this one's position that changes hands? Raises BadInput where it is no party of the old contract."""
        old = self.held_in_old(transfer_of(talk))
        agreement = talk.agreement(b"")
        now = agreement.offerer if old.party is Party.OFFERER else agreement.accepter
        return old.party is not Party.ORACLE and now.identity != self.identity.xonly

    def held_in_old(self, transfer: TransferBody) -> Held:
        """Its part in the contract that a transfer ends. Raises BadInput where it has none."""
        old = book.known(self.store, bytes.fromhex(transfer.old), self.role, self.name)
        if old is None:
            raise BadInput("contract", transfer.old, f"one that {self.name!r} has a part in")
        return old

    def stake(self, talk: Talk, accepter: str | None, fee_rate: float) -> tuple[Held, Envelope]:
        """The oracle's part of the one acceptance, or that of an accepter whose identity begins so.

        OracleStake is kept, and sent by `advance` when all is signed and funded. Raises as `offer`.
        """
        known = self._known(talk.session, Party.ORACLE)
        if known is not None:
            return known, self._mine(talk, STAKE)
        self._check(talk.terms)
        accept = _only_acceptance(talk, accepter)
        agreement = talk.agreement(accept)
        if talk.transfer is not None:
            self._check_stake_returns(talk.transfer, agreement)
        held = Held(talk.session, self.name, Party.ORACLE, agreement.id)
        with self.store.transaction():
            reserved = frozenset(self.store.reserved_coins())
            wallet = Wallet(keyring.signing_key(self.store, Role.ORACLE, self.name), self.node, fee_rate, reserved)
            prepared, contract = moves.stake(wallet, agreement, self.identity.xonly, self.oracle_keys(held))
            ContractGraphs(contract).of(0)
            records.keep(self.store, held.session, prepared, sent=False)
            book.save(self.store, held)
            return held, self._say(held, STAKE, StakeBody(accept.hex(), contract.oracle.document()))

    def contract_key(self, held: Held) -> SecretKey:
        """Its key in the contract."""
        return self.seed.contract_key(held.salt)

    def oracle_keys(self, held: Held) -> OracleKeys:
        """What the oracle signs it with."""
        return OracleKeys(self.seed.oracle_key(), self.contract_key(held), self.seed.winternitz_seed())

    def wallet(self, held: Held, name: str, fee_rate: float) -> Wallet:
        """To pay for a transaction of the contract."""
        return actions.open_wallet(self.store, self.node, self.role, self.name, fee_rate, held.session, name)

    def prepared_stake(self, held: Held) -> Prepared | None:
        """The oracle's kept OracleStake."""
        return _kept(self.store, held.session, STAKE_NAME)

    def check_coins(self, agreement: Agreement) -> None:
        """Raises VerificationFailed where a coin of the contract is not on the chain as it was said to be."""
        for side, _ in agreement.sides:
            for coin in side.coins:
                found = self.node.output(coin.outpoint)
                if found is None:
                    raise VerificationFailed(f"coin {coin.outpoint}: spent, or not in a block")
                if found.output != coin.output:
                    raise VerificationFailed(f"coin {coin.outpoint}: it is not what was said of it")

    def _check_stake_returns(self, transfer: TransferBody, agreement: Agreement) -> None:
        """Whatever of its stake the end of the old contract spends goes back to the oracle."""
        contract = _old_contract(self.store, transfer)
        check_terms(contract, agreement)
        reopens = agreement.reopens
        if reopens is None:
            raise BadInput("transfer", transfer.old, "one that reopens a contract")
        brought = sum(coin.output.amount for coin in reopens.inputs[1:])
        paid = sum(one.amount for one in reopens.payments if one.script_pubkey == contract.oracle.payout)
        if paid < brought:
            raise VerificationFailed(f"transfer: {paid:,} sat of a stake of {brought:,} go back to the oracle")

    def _check(self, terms: Terms) -> None:
        if terms.network is not self.node.network:
            raise BadInput("network", terms.network, self.node.network)
        if terms.fee_rate > self.max_fee_rate:
            raise BadInput("fee rate", terms.fee_rate, f"at most {self.max_fee_rate:g} sat/vB")
        if (now := int(time.time())) >= terms.refund:
            raise BadInput("refund time", terms.refund, f"in the future (it is {now} now)")
        notary.check(self.store, terms.announcement, terms.hashing)

    def _side(self, terms: Terms, salt: bytes, share: int, common: float = COMMON_VSIZE / 2) -> Side:
        """Its part, with coins that serve nothing else. Raises BridgeError where they do not suffice."""
        key = keyring.signing_key(self.store, Role.PARTY, self.name)
        wallet = Wallet(key, self.node, float(terms.fee_rate), frozenset(self.store.reserved_coins()))
        coins: list[Coin] = []
        failure = "no coins"
        for utxo in wallet.coins():
            coins.append(Coin(utxo.outpoint, utxo.output))
            public = self.seed.contract_key(salt).public
            side = Side(self.identity.xonly, public, wallet_script(key.xonly), tuple(coins))
            try:
                side.change(share, terms.fee_rate, common)
            except BadInput as error:
                failure = str(error)
            else:
                return side
        raise BridgeError(f"wallet: {share:,} sat and a fee are to be paid: {failure}")

    def _begin(self, held: Held, side: Side, kind: str, body: object) -> Envelope:
        for coin in side.coins:
            self.store.reserve_coin(coin.outpoint, records.purpose(held.session, FUNDING_NAME))
        book.save(self.store, held)
        return self._say(held, kind, body)

    def _say(self, held: Held, kind: str, body: object) -> Envelope:
        envelope = seal(self.identity, kind, held.session, body)
        Talk(self.store, held.session).accept(envelope)
        return envelope

    def _known(self, session: bytes, party: Party) -> Held | None:
        held = book.known(self.store, session, self.role, self.name)
        if held is not None and held.party is not party:
            raise BridgeError(f"{held}: {self.name!r} is its {held.party}")
        return held

    def _mine(self, talk: Talk, kind: str) -> Envelope:
        return talk.said(talk.session, kind, self.identity.xonly)[0]


def _only_acceptance(talk: Talk, accepter: str | None) -> bytes:
    found = {one: side for one, side in talk.acceptances().items() if side.identity.hex().startswith(accepter or "")}
    if len(found) != 1:
        listed = ", ".join(side.identity.hex()[:12] for side in talk.acceptances().values()) or "none yet"
        raise BadInput("--accepter", accepter or "none", f"the one who accepted (accepted by: {listed})")
    return next(iter(found))


def _kept(store: Store, owner: bytes, name: str) -> Prepared | None:
    for recorded, tx in store.transactions(owner):
        if recorded == name:
            return Prepared(name, Funded(tx, ()))
    return None


def transfer_of(talk: Talk) -> TransferBody:
    """What a transfer says. Raises BadInput where it is none."""
    if talk.transfer is None:
        raise BadInput("contract", talk.session, "a transfer that is in the folder")
    return talk.transfer


def check_terms(old: Contract, new: Agreement) -> None:
    """Raises VerificationFailed where a contract that changes hands is about something else afterwards."""
    if replace(new.terms, salt=old.terms.salt) != old.terms:
        raise VerificationFailed("transfer: the new contract has other terms than the old one")


def _old_contract(store: Store, transfer: TransferBody) -> Contract:
    old = Talk(store, bytes.fromhex(transfer.old)).contract()
    if old is None:
        raise BadInput("contract", transfer.old, "one that is in this store")
    return old
