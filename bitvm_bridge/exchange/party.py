"""What one party says next: a fold over what was said, and over what it has in its own store.

Nothing depends on the order in which envelopes come, or on how often. What a party says is in its store before it
travels, so that it can be put into the mailbox again; what a one-time thing was used for is there before it is used.
"""

from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, Protocol

from bitvm_bridge import records
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.exchange.board import Board, Fault
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.mailbox import Mailbox
from bitvm_bridge.exchange.messages import (
    CONSENT,
    DEPOSIT,
    MEMBER,
    OFFER,
    PAYOUT,
    REQUEST,
    ConsentBody,
    DepositBody,
    MemberBody,
    NoncesBody,
    OfferBody,
    PayoutBody,
    RequestBody,
    key_claim,
    requester_claim,
)
from bitvm_bridge.exchange.payouts import Proposal, check_receiver, proposals
from bitvm_bridge.exchange.roster import Participant, Roster
from bitvm_bridge.exchange.sessions import Asked, DepositSession, Graphs, Offered, Reader, made_here
from bitvm_bridge.exchange.signing import CONFIRMATION, GRAPH, PAYMENT, Hand, Kinds, Session
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import committee as role
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee, Digests
from bitvm_bridge.store import Store

MAX_ROUNDS: Final = 10_000
"""Steps in a row that each had something to say: more is a mistake of ours."""


class Actor(Protocol):
    """What a party does beside talking; each method is called again until it has an answer."""

    def member_key(self, request: Request) -> SecretKey:
        """A member: its key for a deposit."""

    def fund(self, request: Request, committee: Committee) -> DepositSetup | None:
        """A depositor: the deposit that was made, recorded before it is sent."""

    def is_funded(self, setup: DepositSetup) -> bool:
        """Is the deposit confirmed? Raises VerificationFailed where its output is not what it should be."""

    def join(self, setup: DepositSetup, exit_number: int) -> tuple[InstanceSetup, bytes] | None:
        """An operator: its instance of an exit, recorded, and its signature for Challenge; None to stay out."""

    def confirmed(self, setup: DepositSetup, signature: bytes) -> None:
        """The committee's signature on PegIn is known, and recorded."""

    def objection(self, payout: Payout) -> str:
        """A member: what its node and its keys have against a payout now; empty where that is nothing."""


@dataclass(frozen=True)
class Progress:
    """How far everything is: deposits asked for and confirmed, instances expected and signed.

    `payouts` are those that this party has agreed to, and that wait for others to agree or to sign.
    """

    deposits: int = 0
    confirmed: int = 0
    expected: int = 0
    signed: int = 0
    payouts: int = 0

    @property
    def is_done(self) -> bool:
        """Is there something, and all of it confirmed, and every payout signed?"""
        return self.deposits > 0 and self.confirmed == self.deposits and not self.payouts


class Party:
    """One participant with its own store."""

    def __init__(
        self,
        store: Store,
        roster: Roster,
        identity: SecretKey,
        network: Network,
        actor: Actor,
        graphs: Graphs = made_here,
    ) -> None:
        """`graphs` makes those of offers. Raises BridgeError where the roster does not have this identity key."""
        if identity.xonly not in roster.by_key:
            raise BridgeError(f"exchange: the identity key {identity.xonly.hex()} is not in the roster")
        self.board = Board(store, roster)
        self.me: Participant = roster.by_key[identity.xonly]
        self.progress = Progress()
        self.watch_progress: Callable[[Progress], None] = lambda _: None
        """Called within a step as instances are signed: many of them take a while."""
        self.faults: dict[Fault, None] = {}
        """In the order in which they were seen."""
        self.objections: dict[str, None] = {}
        """Why this member does not sign payouts that it had agreed to, a line for each."""
        self.double = ""
        """What another process has said with this party's key, where one has."""
        self._store, self._roster, self._identity, self._network, self._actor = store, roster, identity, network, actor
        self._hands: dict[tuple[bytes, Kinds], Hand] = {}
        self._sessions: dict[tuple[bytes, Kinds], tuple[int, Session]] = {}
        self._reader = Reader(graphs)
        self._kept: dict[bytes, InstanceSetup] = {}
        self._digests: dict[tuple[bytes, ...], Digests] = {}
        self._bundles: dict[bytes, Bundle] = {}
        self._done: set[bytes] = set()

    def ask(self, request: Request, operators: Iterable[str], key: SecretKey) -> None:
        """A depositor asks for a deposit, with the key that may take it back.

        Raises BridgeError for anyone else, VerificationFailed where the parameters are not those of the roster.
        """
        self._roster.terms.check(request.params)
        if self.me.role is not Role.DEPOSITOR:
            raise BridgeError(f"exchange: {self.me.name} is a {self.me.role}; a depositor asks for deposits")
        names = sorted(operators)
        proof = key.sign(requester_claim(request.id, self.me.key)).hex()
        body = RequestBody(request.params.to_json(), request.depositor.hex(), request.receiver.hex(), names, proof)
        self._say(REQUEST, request.id, body)

    def receive(self, envelopes: Iterable[Envelope]) -> list[str]:
        """Take in what others said; returns why envelopes were refused.

        What this party says is in its store before it travels: what comes in under its name and is not there was said
        by another process with the same key.
        """
        refused = []
        with self._store.transaction():
            for envelope in envelopes:
                try:
                    is_new = self.board.accept(envelope)
                except BridgeError as error:
                    refused.append(str(error))
                else:
                    if is_new and envelope.author == self.me.key:
                        self.double = self.double or f"{envelope.kind} of {envelope.session.hex()[:12]}"
        return refused

    def step(self) -> bool:
        """Say and do all that is due now; False where there was nothing new to say."""
        said = 0
        totals = [Progress()]
        deposits = list(self._deposits())
        asked = [one.asked for one in deposits if one.asked is not None]
        self.progress = replace(self.progress, deposits=len(asked), expected=sum(len(one.expected) for one in asked))
        for deposit in deposits:
            said += sum(1 for _ in self._advance(deposit, totals))
            self.faults.update(dict.fromkeys(deposit.faults))
        self.progress = _sum(totals)
        return said > 0

    def proposals(self) -> list[Proposal]:
        """Every payout that members have proposed of deposits that this party knows."""
        return [proposal for deposit in self._deposits() for proposal in proposals(deposit)]

    def propose(self, payout: Payout) -> None:
        """A member proposes a payout and agrees to it. Raises BridgeError as `agree` does."""
        check_receiver(payout)
        if payout.setup not in [deposit.setup for deposit in self._deposits()]:
            raise BridgeError(f"exchange: deposit {payout.setup.request.id.hex()[:12]} was not set up by this roster")
        body = PayoutBody(payout.setup.request.id.hex(), payout.exit, payout.script_pubkey.hex())
        self._agree(payout, [(PAYOUT, body)])

    def agree(self, proposal: Proposal) -> None:
        """A member agrees to a payout; its `step` gives nonces and signs when all members have.

        Raises BridgeError for anyone else, and where the chain or its keys are against it.
        """
        self._agree(proposal.payout, [])

    def _agree(self, payout: Payout, said: list[tuple[str, object]]) -> None:
        if self.me.role is not Role.COMMITTEE:
            raise BridgeError(f"exchange: {self.me.name} is a {self.me.role}; the committee agrees to payouts")
        if objection := self._actor.objection(payout):
            raise BridgeError(f"payout {payout.id.hex()[:12]}: {objection}")
        if self._store.get(records.PAYOUT, payout.id) is None:
            records.save_payout(self._store, payout)
        for kind, body in [*said, (CONSENT, ConsentBody(payout.tx.txid_hex))]:
            self._say(kind, payout.id, body)

    def _deposits(self) -> Iterator[DepositSession]:
        """All that was asked for, as far as what was said makes it."""
        is_signed = partial(records.is_signed, self._store)
        for session, author in self.board.sessions(REQUEST):
            yield DepositSession(self.board, session, author, self._network, self._reader, is_signed)

    def _advance(self, deposit: DepositSession, totals: list[Progress]) -> Iterator[None]:
        asked = deposit.asked
        if asked is None:
            return
        yield from self._join_in(asked, deposit)
        expected = asked.expected
        signed: dict[tuple[bytes, int], Bundle] = {}
        waiting: set[bytes] = set()
        if deposit.setup is not None and self._keep_deposit(deposit.setup, deposit):
            yield from self._offer(asked, deposit.setup, deposit)
            for offered in list(deposit.offers()):
                bundle = yield from self._sign(offered, deposit)
                if bundle is not None:
                    signed[offered.author.key, offered.setup.exit] = bundle
                    self._tell_signed(_sum(totals).signed + len(signed))
            if set(signed) >= expected:
                yield from self._confirm(deposit.setup, list(signed.values()), deposit)
            for proposal in proposals(deposit):
                yield from self._pay_out(proposal, deposit, waiting)
        totals.append(Progress(1, int(deposit.id in self._done), len(expected), len(signed), len(waiting)))

    def _tell_signed(self, signed: int) -> None:
        """A step goes over all instances again, and has something to tell when it gets beyond the last one."""
        if signed > self.progress.signed:
            self.progress = replace(self.progress, signed=signed)
            self.watch_progress(self.progress)

    def _join_in(self, asked: Asked, deposit: DepositSession) -> Iterator[None]:
        """A member says its key, the depositor makes the deposit."""
        if self.me.role is Role.COMMITTEE and not deposit.has_key(self.me):
            key = self._actor.member_key(asked.request)
            proof = key.sign(key_claim(deposit.id, self.me.key))
            self._say(MEMBER, deposit.id, MemberBody(key.public.hex(), proof.hex()))
            yield
        if asked.author == self.me and deposit.committee is not None and not deposit.is_made:
            setup = self._actor.fund(asked.request, deposit.committee)
            if setup is not None:
                members = {name: key.hex() for name, key in setup.committee.keys.items()}
                self._say(DEPOSIT, deposit.id, DepositBody(str(setup.outpoint), members))
                yield

    def _offer(self, asked: Asked, setup: DepositSetup, deposit: DepositSession) -> Iterator[None]:
        """A named operator offers an instance of every exit of a deposit that is on the chain."""
        if self.me not in asked.operators or not self._is_funded(setup, deposit):
            return
        done = {one.setup.exit for one in deposit.offers() if one.author == self.me}
        for number in sorted(set(range(asked.request.params.exits)) - done):
            offer = self._actor.join(setup, number)
            if offer is not None and not deposit.has_offer(offer[0].id, self.me):
                instance, challenge = offer
                self._say(OFFER, instance.id, OfferBody(instance.document(), challenge.hex()))
                yield

    def _sign(self, offered: Offered, deposit: DepositSession) -> Generator[None, None, Bundle | None]:
        """Returns the bundle as soon as everyone has signed."""
        setup = offered.setup
        if setup.id in self._bundles:
            return self._bundles[setup.id]
        if self._store.get(records.BUNDLE, setup.id) is None:
            if not self._keep_instance(offered, deposit):
                return None
            session = self._session(setup.id, GRAPH, setup.deposit.committee, role.bundle_digests(setup))
            yield from self._take_part(session, setup.deposit.request)
            signatures = session.signatures
            deposit.faults += session.faults
            if signatures is None:
                return None
            self._bundles[setup.id] = role.assemble(setup, signatures, offered.challenge)
            records.save_bundle(self._store, self._bundles[setup.id])
        else:
            kept = (
                setup if records.is_signed(self._store, setup) else records.load_instance(self._store, setup.id.hex())
            )
            self._bundles[setup.id] = records.bundle_of(self._store, kept)
        return self._bundles[setup.id]

    def _keep_deposit(self, setup: DepositSetup, deposit: DepositSession) -> bool:
        """Record a deposit; False, with its author named, where the record is of another one."""
        try:
            records.save_deposit(self._store, setup)
        except BridgeError as error:
            deposit.faults.append(Fault(self._roster.name(deposit.author), deposit.id, str(error)))
            return False
        return True

    def _keep_instance(self, offered: Offered, deposit: DepositSession) -> bool:
        """Record an offer, once; False, with its author named, where the record is of another one."""
        if self._kept.get(offered.setup.id) is offered.setup:
            return True
        try:
            with self._store.transaction():
                records.save_instance(self._store, offered.setup, is_own=offered.author == self.me)
                self._store.put(records.CHALLENGE, offered.setup.id, offered.challenge)
        except BridgeError as error:
            deposit.faults.append(Fault(offered.author.name, offered.setup.id, str(error)))
            return False
        self._kept[offered.setup.id] = offered.setup
        return True

    def _confirm(self, setup: DepositSetup, bundles: list[Bundle], deposit: DepositSession) -> Iterator[None]:
        """Sign PegIn last of all."""
        if deposit.id in self._done:
            return
        digests = self._peg_in_digests(setup, bundles)
        session = self._session(setup.request.id, CONFIRMATION, setup.committee, digests)
        if session.signatures is None and self._is_funded(setup, deposit):
            yield from self._take_part(session, setup.request)
        deposit.faults += session.faults
        if session.signatures is not None:
            records.save_peg_in(self._store, setup, session.signatures[role.PEG_IN])
            self._actor.confirmed(setup, session.signatures[role.PEG_IN])
            self._done.add(deposit.id)

    def _peg_in_digests(self, setup: DepositSetup, bundles: list[Bundle]) -> Digests:
        """Given out when all bundles verify: once for the same ones, which nobody can change in memory."""
        key = (setup.request.id, *sorted(bundle.setup.id for bundle in bundles))
        if key not in self._digests:
            self._digests[key] = role.peg_in_digest(setup, bundles)
        return self._digests[key]

    def _pay_out(self, proposal: Proposal, deposit: DepositSession, waiting: set[bytes]) -> Iterator[None]:
        """Sign what every member has agreed to, this one by a word of its own, while nothing speaks against it."""
        payout, is_mine = proposal.payout, self.me.name in proposal.agreed
        if records.is_payout_signed(self._store, payout):
            return
        objection = self._actor.objection(payout) if is_mine else ""
        if not proposal.missing:
            session = self._session(payout.id, PAYMENT, payout.setup.committee, payout.digests)
            if is_mine and not objection and session.signatures is None:
                yield from self._take_part(session, payout.setup.request)
            signatures = session.signatures
            deposit.faults += session.faults
            if signatures is not None:
                records.save_payout(self._store, payout, signatures[payout.label])
                return
        if objection:
            self.objections[f"payout {payout.id.hex()[:12]}: {objection}"] = None
        elif is_mine:
            waiting.add(payout.id)

    def _is_funded(self, setup: DepositSetup, deposit: DepositSession) -> bool:
        try:
            return self._actor.is_funded(setup)
        except VerificationFailed as error:
            deposit.faults.append(Fault(self._roster.name(deposit.author), deposit.id, str(error)))
            return False

    def _session(self, session: bytes, kinds: Kinds, committee: Committee, digests: Digests) -> Session:
        """Made anew where something was said in it."""
        count = self.board.count(session)
        known = self._sessions.get((session, kinds))
        if known is None or known[0] != count:
            authors = {one.name: one.key for one in self._roster.committee}
            known = count, Session(self.board, session, kinds, committee, authors, digests)
            self._sessions[session, kinds] = known
        return known[1]

    def _take_part(self, session: Session, request: Request) -> Iterator[None]:
        """A member gives nonces or partial signatures, where it is its turn."""
        if self.me.role is not Role.COMMITTEE:
            return
        key = (session.id, session.kinds)
        if key not in self._hands:
            secret = self._actor.member_key(request)
            self._hands[key] = Hand(self.me.name, secret, self._store.nonce_guard(secret.public))
        hand = self._hands[key]
        body = hand.next(session)
        if isinstance(body, NoncesBody):
            hand.sent(self._say(session.kinds.nonces, session.id, body))
            yield
        elif body is not None:
            self._say(session.kinds.partials, session.id, body)
            yield

    def _say(self, kind: str, session: bytes, body: object) -> Envelope:
        envelope = seal(self._identity, kind, session, body)
        self.board.accept(envelope)
        return envelope


def _sum(all_progress: Iterable[Progress]) -> Progress:
    return Progress(*(sum(values) for values in zip(*map(_counts, all_progress), strict=True)))


def _counts(progress: Progress) -> tuple[int, ...]:
    return progress.deposits, progress.confirmed, progress.expected, progress.signed, progress.payouts


class Courier:
    """Carries envelopes between a party and a mailbox."""

    def __init__(self, party: Party, mailbox: Mailbox) -> None:
        self._party, self._mailbox = party, mailbox
        self._cursor = ""
        self._there: set[bytes] = set()

    def run(self) -> list[str]:
        """Fetch, step, deliver, until there is nothing more to do now; returns why envelopes were refused.

        Whatever this party said and the mailbox has lost is put there again. Raises BridgeError where the mailbox
        does not answer.
        """
        refused: list[str] = []
        self._party.board.refresh()
        for _ in range(MAX_ROUNDS):
            post = self._mailbox.since(self._cursor)
            self._cursor = post.cursor
            if post.again:
                self._there.clear()
            self._there.update(envelope.id for envelope in post.envelopes)
            refused += [*post.refused, *self._party.receive(post.envelopes)]
            said = self._party.step()
            for envelope in self._party.board.own(self._party.me.key):
                if envelope.id not in self._there:
                    self._mailbox.put(envelope)
                    self._there.add(envelope.id)
            if not said:
                return refused
        raise RuntimeError(f"exchange: still something to say after {MAX_ROUNDS:,} rounds")
