"""One of the three at work: its part of a contract, its signatures, and what it sends.

Whatever comes from outside is checked before anything is signed, and what is signed is kept before it is shown.
"""

import secrets
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bitvm_bridge import actions, keyring, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc import notary
from bitvm_bridge.dlc.contract import book, moves
from bitvm_bridge.dlc.contract.book import SHARE, Held
from bitvm_bridge.dlc.contract.contract import Agreement, Coin, Contract, Side
from bitvm_bridge.dlc.contract.moves import OracleKeys
from bitvm_bridge.dlc.contract.signing import Bundle, ContractGraphs, ContractScheme
from bitvm_bridge.dlc.contract.talk import (
    ACCEPT,
    FUNDING,
    OFFER,
    SIGNING,
    STAKE,
    AcceptBody,
    FundingBody,
    OfferBody,
    StakeBody,
    Talk,
    offer_id,
)
from bitvm_bridge.dlc.contract.terms import Terms
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.mailbox import Mailbox
from bitvm_bridge.exchange.messages import NoncesBody
from bitvm_bridge.exchange.signing import Hand, Scheme, Session
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.protocol import Party, wallet_script
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.wallet import Funded, Prepared, Wallet

FUNDING_NAME: Final = "Funding"
STAKE_NAME: Final = "OracleStake"
MAX_STEPS: Final = 1_000


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

    def _check(self, terms: Terms) -> None:
        if terms.network is not self.node.network:
            raise BadInput("network", terms.network, self.node.network)
        if terms.fee_rate > self.max_fee_rate:
            raise BadInput("fee rate", terms.fee_rate, f"at most {self.max_fee_rate:g} sat/vB")
        if (now := int(time.time())) >= terms.refund:
            raise BadInput("refund time", terms.refund, f"in the future (it is {now} now)")
        notary.check(self.store, terms.announcement, terms.hashing)

    def _side(self, terms: Terms, salt: bytes, share: int) -> Side:
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
                side.change(share, terms.fee_rate)
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
        for held in book.everything(self.store):
            if (held.session, held.name) == (session, self.name):
                if held.party is not party:
                    raise BridgeError(f"{held}: {self.name!r} is its {held.party}")
                return held
        return None

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


@dataclass
class Progress:
    """How far a contract is, in words, and whether this one of the three has nothing more to do for now."""

    waits_for: str = ""
    is_done: bool = False
    faults: dict[str, None] = field(default_factory=dict)


class Signing:
    """One of the three in the signing of one contract: its nonces are in this object and nowhere else."""

    def __init__(self, desk: Desk, held: Held, mailbox: Mailbox) -> None:
        self.desk, self.held, self.mailbox = desk, held, mailbox
        self.talk = Talk(desk.store, held.session)
        self.progress = Progress()
        self._cursor = ""
        self._there: set[bytes] = set()
        self._graphs: ContractGraphs | None = None
        self._hand: Hand | None = None

    def round(self) -> Progress:
        """Fetch, say all that is due, deliver. Raises BridgeError where the mailbox or the node does not answer."""
        for _ in range(MAX_STEPS):
            post = self.mailbox.since(self._cursor)
            self._cursor = post.cursor
            self._there.update(envelope.id for envelope in post.envelopes)
            for refused in (*post.refused, *self.talk.receive(post.envelopes)):
                self.progress.faults[refused] = None
            said = any(self._step())
            for envelope in self.talk.own(self.desk.identity.xonly):
                if envelope.id not in self._there:
                    self.mailbox.put(envelope)
                    self._there.add(envelope.id)
            if not said:
                return self.progress
        raise RuntimeError(f"{self.held}: still something to say after {MAX_STEPS:,} rounds")

    def _step(self) -> Iterator[bool]:
        """True for everything that was said."""
        store, held = self.desk.store, self.held
        if not book.is_signed(store, held):
            contract = self.talk.contract()
            if contract is None:
                self.progress.waits_for = "the oracle's stake" if self.talk.acceptances() else "somebody to accept"
                return
            yield from self._sign(contract)
            if not book.is_signed(store, held):
                return
        yield from self._fund(book.load_bundle(store, held))

    def _sign(self, contract: Contract) -> Iterator[bool]:
        if self._graphs is None:
            self._check_own_part(contract)
            self.desk.check_coins(contract.agreement)
            self._graphs = ContractGraphs(contract)
        scheme = ContractScheme(contract, self._graphs.tasks, self._keep_shares)
        session = Session(
            self.talk,
            self.held.session,
            SIGNING,
            contract.trio,
            contract.identities,
            scheme.digests,
            Scheme(scheme.check_nonces, scheme.check_partials, scheme.combine, scheme.signer),
        )
        if session.finished is None:
            yield from self._take_part(session)
            missing = [name for name in contract.trio.names if not session.has_signed(name)]
            self.progress.waits_for = f"the {missing[0]} to sign" if missing else ""
        for fault in session.faults:
            self.progress.faults[str(fault)] = None
        if session.finished is not None:
            book.save_bundle(self.desk.store, self.held, self._bundle(session, scheme))

    def _bundle(self, session: Session, scheme: ContractScheme) -> Bundle:
        signatures: Mapping[str, bytes] = session.signatures or {}
        if self.held.party is Party.ORACLE and session.finished is not None:
            choice, partials = session.finished
            kept = scheme.combine_withheld(session.chosen(choice), partials, self._share)
            signatures = {**signatures, **kept}
        bundle = Bundle(self._graphs or ContractGraphs(scheme.contract), signatures)
        bundle.verify()
        return bundle

    def _take_part(self, session: Session) -> Iterator[bool]:
        if self._hand is None:
            key = self.desk.contract_key(self.held)
            self._hand = Hand(str(self.held.party), key, self.desk.store.nonce_guard(key.public))
        body = self._hand.next(session)
        if body is None:
            return
        kind = SIGNING.nonces if isinstance(body, NoncesBody) else SIGNING.partials
        envelope = self.desk._say(self.held, kind, body)
        if isinstance(body, NoncesBody):
            self._hand.sent(envelope)
        self.talk.accept(envelope)
        yield True

    def _fund(self, bundle: Bundle) -> Iterator[bool]:
        contract, desk = bundle.contract, self.desk
        agreement, staked = contract.agreement, contract.oracle.stake
        funded = _was_made(desk.node, agreement.funding.outpoint(0))
        if self.held.party is not Party.ORACLE:
            yield from self._give_coins(agreement)
        if not funded:
            self._send_funding(agreement)
            return
        if desk.node.output(staked) is not None or desk.node.spender(staked) is not None:
            self.progress = Progress(
                "nothing: it is funded, and the oracle's stake is there", True, self.progress.faults
            )
            return
        self.progress.waits_for = "the oracle's stake to confirm"
        prepared = desk.prepared_stake(self.held) if self.held.party is Party.ORACLE else None
        if prepared is not None and not desk.node.in_mempool(prepared.tx.txid):
            self._send(prepared)

    def _give_coins(self, agreement: Agreement) -> Iterator[bool]:
        if self.talk.said(self.held.session, FUNDING, self.desk.identity.xonly):
            return
        self.desk.check_coins(agreement)
        key = keyring.signing_key(self.desk.store, Role.PARTY, self.desk.name)
        signatures = moves.funding_signatures(agreement, key)
        side = agreement.offerer if self.held.party is Party.OFFERER else agreement.accepter
        own = {index: one for index, one in signatures.items() if _is_of(agreement, index, side)}
        envelope = self.desk._say(self.held, FUNDING, FundingBody({index: one.hex() for index, one in own.items()}))
        self.talk.accept(envelope)
        yield True

    def _send_funding(self, agreement: Agreement) -> None:
        node = self.desk.node
        self.progress.waits_for = "Funding to confirm"
        if self.held.party is Party.ORACLE or node.in_mempool(agreement.funding.txid):
            return
        signatures = self.talk.funding_signatures(agreement)
        if len(signatures) < len(agreement.funding.inputs):
            self.progress.waits_for = "the other party to sign its coins"
            return
        self._send(moves.funding(agreement, signatures))

    def _send(self, prepared: Prepared) -> None:
        """Send it, unless the other party has done so meanwhile. Raises NodeRejected."""
        node = self.desk.node
        records.keep(self.desk.store, self.held.session, prepared, sent=True)
        try:
            prepared.send(node)
        except NodeRejected:
            if not node.in_mempool(prepared.tx.txid) and not _was_made(node, prepared.tx.outpoint(0)):
                raise

    def _check_own_part(self, contract: Contract) -> None:
        """What others have made of it must have this one's own part in it, word for word."""
        if contract.identities[str(self.held.party)] != self.desk.identity.xonly:
            raise BridgeError(f"{self.held}: another {self.held.party} is in it than {self.desk.name!r}")
        members = contract.trio.keys
        if members[str(self.held.party)] != self.desk.contract_key(self.held).public:
            raise VerificationFailed(f"{self.held}: the {self.held.party}'s key in it is not the one that was said")

    def _keep_shares(self, shares: Mapping[bytes, bytes]) -> None:
        with self.desk.store.transaction():
            for nonce, share in shares.items():
                self.desk.store.put(SHARE, nonce, share)

    def _share(self, nonce: bytes) -> bytes | None:
        return self.desk.store.get(SHARE, nonce)


def _was_made(node: Node, outpoint: OutPoint) -> bool:
    return node.output(outpoint) is not None or node.spender(outpoint) is not None


def _is_of(agreement: Agreement, index: int, side: Side) -> bool:
    spent = agreement.funding.inputs[index].outpoint
    return any(coin.outpoint == spent for coin in side.coins)
