"""One of the signers of a contract at work with a folder: nonces, partial signatures, and the funding at the end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitvm_bridge import keyring, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dlc.contract import book, moves
from bitvm_bridge.dlc.contract import closing as closings
from bitvm_bridge.dlc.contract.book import SHARE, Held
from bitvm_bridge.dlc.contract.closing import Closing
from bitvm_bridge.dlc.contract.contract import Agreement, Contract, Side
from bitvm_bridge.dlc.contract.desk import Desk
from bitvm_bridge.dlc.contract.signing import Bundle, ContractGraphs, ContractScheme
from bitvm_bridge.dlc.contract.talk import FUNDING, SIGNING, FundingBody, Talk, TransferBody
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.mailbox import Mailbox
from bitvm_bridge.exchange.messages import NoncesBody
from bitvm_bridge.exchange.signing import Hand, Scheme, Session
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.protocol import Party
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.wallet import Prepared

MAX_STEPS: Final = 1_000


@dataclass
class Progress:
    """How far a contract is, in words, and whether this one of the three has nothing more to do for now."""

    waits_for: str = ""
    is_done: bool = False
    faults: dict[str, None] = field(default_factory=dict)


class Rounds:
    """One of the signers with a folder: it fetches, says all that is due, and delivers."""

    def __init__(self, desk: Desk, held: Held, mailbox: Mailbox) -> None:
        self.desk, self.held, self.mailbox = desk, held, mailbox
        self.progress = Progress()
        self.talks: dict[bytes, Talk] = {}
        self._cursor = ""
        self._there: set[bytes] = set()
        self._others: list[Envelope] = []

    @property
    def talk_id(self) -> bytes:
        """The session of what is being signed."""
        return self.held.session

    def talk_of(self, session: bytes) -> Talk:
        """What was said in a session; from now on what comes in of it is kept, too."""
        if session not in self.talks:
            self.talks[session] = Talk(self.desk.store, session)
            self._hear(self.talks[session], self._fetch() + self._others)
        return self.talks[session]

    def _fetch(self) -> list[Envelope]:
        """What is new in the mailbox; what belongs to a session that nobody has asked for yet is remembered."""
        post = self.mailbox.since(self._cursor)
        self._cursor = post.cursor
        self._there.update(envelope.id for envelope in post.envelopes)
        self.progress.faults.update(dict.fromkeys(post.refused))
        for talk in self.talks.values():
            self._hear(talk, post.envelopes)
        self._others += [envelope for envelope in post.envelopes if envelope.session not in self.talks]
        return list(post.envelopes)

    def _hear(self, talk: Talk, envelopes: Sequence[Envelope]) -> None:
        self.progress.faults.update(dict.fromkeys(talk.receive(envelopes)))

    def round(self) -> Progress:
        """Until there is nothing more to say now. Raises BridgeError where the mailbox or the node does not answer."""
        for _ in range(MAX_STEPS):
            self._fetch()
            said = any(self.step())
            for talk in list(self.talks.values()):
                self._deliver(talk)
            if not said:
                return self.progress
        raise RuntimeError(f"{self.held}: still something to say after {MAX_STEPS:,} rounds")

    def step(self) -> Iterator[bool]:
        """True for everything that was said."""
        raise NotImplementedError

    def _deliver(self, talk: Talk) -> None:
        for envelope in talk.own(self.desk.identity.xonly):
            if envelope.id not in self._there:
                self.mailbox.put(envelope)
                self._there.add(envelope.id)

    def say(self, session: bytes, kind: str, body: object) -> Envelope:
        """Sign it, and keep it before it is delivered."""
        envelope = seal(self.desk.identity, kind, session, body)
        self.talk_of(session).accept(envelope)
        return envelope

    def take_part(self, session: Session, hand: Hand) -> Iterator[bool]:
        """Nonces or partial signatures, where it is this one's turn; then what the session waits for."""
        body = hand.next(session)
        if body is not None:
            kind = SIGNING.nonces if isinstance(body, NoncesBody) else SIGNING.partials
            envelope = self.say(session.id, kind, body)
            if isinstance(body, NoncesBody):
                hand.sent(envelope)
            yield True
        missing = [name for name in session.authors if not session.has_signed(name)]
        self.progress.waits_for = f"the {missing[0]} to sign" if missing else ""
        self.progress.faults.update(dict.fromkeys(map(str, session.faults)))

    def hand(self, held: Held) -> Hand:
        """This one's part in a session: the nonces are in this object and nowhere else."""
        key = self.desk.contract_key(held)
        return Hand(str(held.party), key, self.desk.store.nonce_guard(key.public))


class Signing(Rounds):
    """One of the three in the signing and funding of one contract."""

    def __init__(self, desk: Desk, held: Held, mailbox: Mailbox, secret: SecretKey | None = None) -> None:
        """`secret`: of the point that locks the end of another contract, where this one is funded from that."""
        super().__init__(desk, held, mailbox)
        self.talk = self.talk_of(held.session)
        self.secret = secret
        self._part: Part | None = None
        self._signed: Bundle | None = None
        self._graphs: ContractGraphs | None = None
        self._hand: Hand | None = None

    def step(self) -> Iterator[bool]:
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
        self._signed = self._signed or book.load_bundle(store, held)
        yield from self._fund(self._signed)

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
            self._hand = self._hand or self.hand(self.held)
            yield from self.take_part(session, self._hand)
        self.progress.faults.update(dict.fromkeys(map(str, session.faults)))
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

    def _fund(self, bundle: Bundle) -> Iterator[bool]:
        contract, desk = bundle.contract, self.desk
        agreement, staked = contract.agreement, contract.oracle.stake
        if self.held.party is not Party.ORACLE:
            yield from self._give_coins(agreement)
        if agreement.reopens is not None:
            yield from self._reopen(agreement)
        if not _was_made(desk.node, agreement.funding.outpoint(0)):
            self._send_funding(agreement)
        elif _was_made(desk.node, staked):
            self._check_stake(bundle)
            self.progress.waits_for, self.progress.is_done = "", True
        else:
            self.progress.waits_for = "the oracle's stake to confirm"
            self._send_stake(agreement)

    def _check_stake(self, bundle: Bundle) -> None:
        """Raises VerificationFailed where the stake is less than was said: nothing can settle then, but `dlc close`."""
        for index in range(len(bundle.contract.bundles)):
            source = bundle.graphs.whole.source(f"OracleStake.stake_{index}")
            found = self.desk.node.output(source.outpoint)
            if found is not None and found.output != source.output:
                raise VerificationFailed(f"{source.name}: {source.outpoint} is not the output that the oracle promised")

    def _send_stake(self, agreement: Agreement) -> None:
        """The oracle stakes on what is locked, and not on what was closed meanwhile."""
        node = self.desk.node
        prepared = self.desk.prepared_stake(self.held) if self.held.party is Party.ORACLE else None
        if prepared is None or node.in_mempool(prepared.tx.txid):
            return
        if node.output(agreement.funding.outpoint(0)) is None:
            raise BridgeError(f"{self.held}: its collateral is spent already; nothing is staked on it")
        self._send(prepared)

    def _reopen(self, agreement: Agreement) -> Iterator[bool]:
        """Sign the end of the other contract, where this one is a signer of that, and see what all have signed."""
        transfer = self.talk.transfer
        if transfer is None:
            raise RuntimeError(f"{self.held}: it reopens what nobody named")
        if self._part is None:
            old = book.known(self.desk.store, bytes.fromhex(transfer.old), self.desk.role, self.desk.name)
            self._part = Part(self, old, closing_of(self, transfer, agreement))
        yield from self._part.step()

    def _give_coins(self, agreement: Agreement) -> Iterator[bool]:
        side = agreement.offerer if self.held.party is Party.OFFERER else agreement.accepter
        if not side.coins or self.talk.said(self.held.session, FUNDING, self.desk.identity.xonly):
            return
        self.desk.check_coins(agreement)
        key = keyring.signing_key(self.desk.store, Role.PARTY, self.desk.name)
        signatures = moves.funding_signatures(agreement, key)
        own = {index: one for index, one in signatures.items() if _is_of(agreement, index, side)}
        self.say(self.held.session, FUNDING, FundingBody({index: one.hex() for index, one in own.items()}))
        yield True

    def _send_funding(self, agreement: Agreement) -> None:
        node = self.desk.node
        if self._part is not None and self._part.signatures is None:
            return
        self.progress.waits_for = "Funding to confirm"
        if self.held.party is Party.ORACLE or node.in_mempool(agreement.funding.txid):
            return
        signatures = self.talk.funding_signatures(agreement)
        joint = len(agreement.reopens.inputs) if agreement.reopens else 0
        if len(signatures) + joint < len(agreement.funding.inputs):
            self.progress.waits_for = "the other party to sign its coins"
            return
        reopened = None
        if self._part is not None:
            if self._part.closing.point is not None and self.secret is None:
                self.progress.waits_for = "the secret that completes it (--secret)"
                return
            reopened = self._part.closing.witnessed(self._part.signatures or {}, self.secret)
        self._send(moves.funding(agreement, signatures, reopened))

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


class Closer(Rounds):
    """One of the signers of a closing, or of the end of a contract that a transfer is funded from."""

    def __init__(self, desk: Desk, held: Held, mailbox: Mailbox, closing: Closing, *, takes_part: bool = True) -> None:
        super().__init__(desk, held, mailbox)
        self.part = Part(self, held if takes_part else None, closing)

    def step(self) -> Iterator[bool]:
        """Until all have signed."""
        yield from self.part.step()
        self.progress.is_done = self.part.signatures is not None


class Part:
    """A closing in somebody's rounds: `held` is its part in the contract that ends.

    Who has none only sees what the others have signed: the one who buys a position sends the transaction.
    """

    def __init__(self, rounds: Rounds, held: Held | None, closing: Closing) -> None:
        self.rounds, self.held, self.closing = rounds, held, closing
        self.signatures: dict[str, bytes] | None = None
        self._hand: Hand | None = None

    def step(self) -> Iterator[bool]:
        """Nonces, partial signatures, and then the signatures of all."""
        contract = self.closing.graphs.contract
        scheme, names = closings.scheme_of(self.closing), closings.signers_of(self.closing)
        session = Session(
            self.rounds.talk_of(self.closing.id),
            self.closing.id,
            SIGNING,
            contract.trio if self.closing.with_stake else contract.pair,
            {name: contract.identities[name] for name in names},
            scheme.digests,
            Scheme(scheme.check_nonces, scheme.check_partials, scheme.combine, scheme.signer),
        )
        if session.finished is None and self.held is not None:
            self._hand = self._hand or self.rounds.hand(self.held)
            yield from self.rounds.take_part(session, self._hand)
        missing = [name for name in names if not session.has_signed(name)]
        if session.finished is None:
            self.rounds.progress.waits_for = f"the {missing[0]} to sign the end of the contract" if missing else ""
            return
        self.signatures = session.signatures
        self.rounds.progress.waits_for = ""


def closing_of(rounds: Rounds, transfer: TransferBody, agreement: Agreement) -> Closing:
    """The end of the old contract that a transfer is funded from. Raises BadInput where it is not here."""
    old = rounds.talk_of(bytes.fromhex(transfer.old)).contract()
    if old is None:
        raise BadInput("contract", transfer.old, "one whose offer, acceptance and stake are in the folder")
    point = from_hex("adaptor point", transfer.point) if transfer.point else None
    return closings.reopen(ContractGraphs(old), agreement, point)
