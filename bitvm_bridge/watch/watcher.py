"""One look at the chain by one party: read what is new, decide, send, and say what was done."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitvm_bridge import keyring, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BridgeError, NodeUnreachable, VerificationFailed
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Network
from bitvm_bridge.pending import Pending
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.store import Store
from bitvm_bridge.watch import claims, decide
from bitvm_bridge.watch.claims import Demands, ShareOfDeposit
from bitvm_bridge.watch.decide import Intent
from bitvm_bridge.watch.history import History
from bitvm_bridge.watch.journal import Journal
from bitvm_bridge.watch.machine import Event
from bitvm_bridge.watch.notes import Level, Note
from bitvm_bridge.watch.proofs import ProofSource
from bitvm_bridge.watch.sender import Sender, Sent
from bitvm_bridge.watch.survey import Library, Survey, View, coin_finder, survey
from bitvm_bridge.watch.upkeep import Upkeep, planned

ROLES: Final = (Role.OPERATOR, Role.CHALLENGER, Role.COMMITTEE)
REPEATED: Final = ("near", "late", "waits", "doubtful", "alarm", "source")
"""Events that are told once a block, however often it is looked at."""
NEAR: Final = 12
"""blocks before a deadline from which on it is spoken of."""
BY_HAND: Final = "`status` says what is due, and the command for it writes what that wallet signs"
CONFIRMATIONS: Final = {Network.REGTEST: 1, Network.SIGNET: 6}
"""of a PegOut, before an operator bets its bond on it."""


@dataclass(frozen=True)
class Settings:
    """What a watcher does, and for whom.

    `budget` is sat that challenges may cost, lost or not decided yet; None for no limit. `fees` makes a fee policy for
    a node.
    """

    role: Role
    name: str
    fees: Callable[[Node], FeePolicy]
    budget: int | None = None
    confirmations: int = 1
    dry_run: bool = False
    demands: Demands = field(default_factory=ShareOfDeposit)
    proofs: ProofSource | None = None


@dataclass(frozen=True)
class Look:
    """What one look came to; `error` is the first thing that went wrong."""

    survey: Survey
    notes: tuple[Note, ...]
    error: BridgeError | None = None
    sent: int = 0


class Watcher:
    """Looks again and again. What it knows between two looks is in the store; the rest only saves time."""

    def __init__(self, store: Store, settings: Settings) -> None:
        """Raises BadInput where the key that is to act does not exist, or its passphrase was not given."""
        self._store = store
        self._settings = settings
        self._library = Library(store)
        self._height = -1
        self._key = b""
        if settings.role is not Role.COMMITTEE:
            self._key = keyring.signing_key(store, settings.role, settings.name, BY_HAND).xonly

    def look(self, node: Node) -> Look:
        """Read the chain to its tip and do what is due.

        What goes wrong with one instance does not keep the others waiting. Raises NodeUnreachable, and BridgeError
        for a reorganisation that is too deep.
        """
        found = survey(self._library, node)
        turn = _Turn(self._store, self._settings, self._library, node, found)
        heard = list(turn.hear())
        is_news = found.progress.height != self._height
        self._height = found.progress.height
        notes = [*turn.chain_notes(), *heard]
        if found.progress.lag >= 0:
            own = [view for view in found.views.values() if self._is_own(view.setup)]
            notes += turn.look_after(view.setup.id for view in own)
            for view in own:
                notes += self._attend(turn, view)
        return Look(
            found, tuple(note for note in notes if is_news or note.event not in REPEATED), turn.error, turn.sent
        )

    def _is_own(self, setup: InstanceSetup) -> bool:
        """Operators look after their own instances, the others after all."""
        return self._settings.role is not Role.OPERATOR or setup.operator == self._key

    def _attend(self, turn: "_Turn", view: View) -> list[Note]:
        try:
            return list(turn.attend(view))
        except NodeUnreachable:
            raise
        except BridgeError as error:
            return [turn.failed(view.setup, error)]


class _Turn:
    """One look, instance by instance."""

    def __init__(self, store: Store, settings: Settings, library: Library, node: Node, found: Survey) -> None:
        self._store = store
        self._settings = settings
        self._library = library
        self._node = node
        self._survey = found
        self._policy = settings.fees(node)
        self._coin = coin_finder(store, node)
        self.error: BridgeError | None = None
        self.sent = 0
        self._unheard = ""
        """Why the second layer may have told more than was heard; empty where it has not."""

    def hear(self) -> Iterator[Note]:
        """What a challenger's second layer tells: requests are kept; what goes wrong is said, and keeps nothing else
        waiting."""
        if self._settings.role is not Role.CHALLENGER:
            return
        try:
            for line in self._settings.demands.refresh():
                yield Note(Level.WARNING, "refused", line)
        except BridgeError as error:
            self.error, self._unheard = error, str(error)
            yield Note(Level.ERROR, "source", str(error))

    def chain_notes(self) -> Iterator[Note]:
        """What the chain itself did."""
        progress = self._survey.progress
        if progress.rewound:
            yield Note(Level.WARNING, "reorg", f"{progress.rewound} blocks were taken back; now at {progress.height}")
        if progress.lag < 0:
            words = f"the node is at block {progress.tip}, and {progress.height} was read before: waiting for it"
            yield Note(Level.WARNING, "behind", words)

    def look_after(self, owners: Iterable[bytes]) -> list[Note]:
        """What was sent before, and is not deep in the chain yet."""
        upkeep = Upkeep(
            self._store,
            self._node,
            self._settings.role,
            self._settings.name,
            self._policy,
            frozenset(owners),
            self._blocks_left,
        )
        items = upkeep.due()
        if self._settings.dry_run:
            return [note for note in map(planned, items) if note is not None]
        notes = list(upkeep.act(items))
        self.sent += sum(note.event in ("raised", "resent") for note in notes)
        return notes

    def _blocks_left(self, item: Pending) -> int | None:
        view = self._survey.views.get(item.owner)
        deadlines = [timed.duty.deadline for timed in view.timed if timed.duty.name == item.name] if view else []
        return next((deadline - self._survey.next_block for deadline in deadlines if deadline is not None), None)

    def attend(self, view: View) -> Iterator[Note]:
        """What is due for one instance. Raises BridgeError."""
        if view.history is None:
            raise BridgeError(view.problem)
        yield from self._news(view.setup, view.history)
        if self._settings.role is Role.COMMITTEE:
            yield from self._alarms(view.setup, view.history)
            return
        fault, doubt = self._judge(view.setup, view.history)
        if doubt is not None:
            yield doubt
        problem: BridgeError | None = None
        for intent in self._intents(view.setup, view.history, fault):
            if intent.duty.start > self._survey.next_block:
                continue
            try:
                yield from self._pursue(view.setup, view.history, intent)
            except NodeUnreachable:
                raise
            except BridgeError as error:
                # What a party prefers may be impossible where the next best is not: an unrelayable Disprove, say.
                problem = problem or error
                continue
            return
        if problem is not None:
            raise problem

    def _news(self, setup: InstanceSetup, history: History) -> Iterator[Note]:
        """A state that is another than the last time."""
        watcher = f"{self._settings.role}/{self._settings.name}"
        before = Journal(self._store).change_state(setup.id, watcher, history.state.name)
        if before is not None:
            words = f"{before} → {history.state.name}" if before else history.state.name
            txid = history.events[-1].confirmed.tx.txid_hex if history.events else ""
            yield Note(Level.INFO, "state", words, setup.id.hex(), txid)

    def failed(self, setup: InstanceSetup, error: BridgeError) -> Note:
        """What went wrong with one instance."""
        self.error = self.error or error
        return Note(Level.ERROR, "failed", str(error), setup.id.hex())

    def _intents(self, setup: InstanceSetup, history: History, fault: str) -> list[Intent]:
        if self._settings.role is Role.OPERATOR:
            deep = self._survey.next_block - self._settings.confirmations
            demands = self._settings.demands
            return decide.of_operator(history, lambda: claims.is_paid(setup, history, demands, self._coin, deep))
        return decide.of_challenger(history, fault, lambda: self._library.wrong_step(setup, decide.revealed(history)))

    def _judge(self, setup: InstanceSetup, history: History) -> tuple[str, Note | None]:
        """Why a claim is false, empty where it is true; or what is said while it is too early to say either."""
        if self._settings.role is not Role.CHALLENGER:
            return "", None
        fault = claims.fault(setup, history, self._settings.demands, self._coin)
        if fault is None or fault.certain or not history.state.is_live:
            return fault.words if fault is not None else "", None
        if self._unheard:
            words = f"the claim cannot be judged, and is not challenged: {fault.words}, but {self._unheard}"
            return "", Note(Level.ERROR, "alarm", words, setup.id.hex())
        start = self._patience(history)
        if self._survey.next_block >= start:
            return fault.words, None
        words = f"not challenged before block {start:,}, for it may still be told of: {fault.words}"
        return "", Note(Level.WARNING, "doubtful", words, setup.id.hex())

    def _patience(self, history: History) -> int:
        """The block from which on a claim is false that no request explains: half of the time to challenge it is left.

        A source may wait for more confirmations of the second layer than the operator's does.
        """
        for timed in history.timed:
            if timed.owed.event is Event.CHALLENGE and timed.duty.deadline is not None:
                return timed.duty.start + (timed.duty.deadline - timed.duty.start) // 2
        return self._survey.next_block

    def _pursue(self, setup: InstanceSetup, history: History, intent: Intent) -> Iterator[Note]:
        left = None if intent.duty.deadline is None else intent.duty.deadline - self._survey.next_block
        if intent.name == Event.CHALLENGE:
            self._check_budget(setup)
        yield from self._hurry(setup, intent, left)
        if self._settings.dry_run:
            words = f"would send {intent.name}: {intent.reason}{_until(intent)}"
            yield Note(Level.INFO, "due", words, setup.id.hex())
            return
        bundle = self._library.bundle(setup)
        if bundle is None:
            raise BridgeError(f"{intent.name}: the committee has not signed this instance")
        sender = Sender(
            self._store,
            self._node,
            self._settings.role,
            self._settings.name,
            self._policy,
            self._settings.proofs,
        )
        sent = sender.send(bundle, intent, left)
        self.sent += sent.is_new
        yield _sent_note(setup, intent, sent)

    def _hurry(self, setup: InstanceSetup, intent: Intent, left: int | None) -> Iterator[Note]:
        """A deadline that comes near, or has passed."""
        if left is None or left > NEAR:
            return
        if left <= 0:
            words = f"{intent.name}: its deadline, block {intent.duty.deadline}, has passed; it may still be in time"
            yield Note(Level.ERROR, "late", words, setup.id.hex())
            return
        words = f"{intent.name}: {left} blocks are left{_until(intent)}"
        yield Note(Level.WARNING, "near", words, setup.id.hex())

    def _check_budget(self, setup: InstanceSetup) -> None:
        """Raises BridgeError where one more challenge would go over the budget."""
        price = setup.deposit.request.params.challenge
        if self._settings.budget is None:
            return
        spent = sum(
            view.setup.deposit.request.params.challenge
            for view in self._survey.views.values()
            if view.setup.id != setup.id and self._is_charged(view)
        )
        if spent + price > self._settings.budget:
            raise BridgeError(
                f"Challenge: {price:,} sat and the {spent:,} of other challenges are above the budget of "
                f"{self._settings.budget:,}"
            )

    def _is_charged(self, view: View) -> bool:
        """Did we pay for a challenge that has not come back as a reward of ours?"""
        own = _by_name(self._store, view.setup.id)
        if view.history is None or Event.CHALLENGE not in own:
            return False
        confirmed = {item.confirmed.tx.txid for item in view.history.happened(Event.CHALLENGE)}
        if confirmed and not confirmed & own[Event.CHALLENGE]:
            return False
        endings = view.history.happened(Event.DISPROVE, Event.ASSERT_TIMEOUT, Event.FORFEIT)
        made = {txid for txids in own.values() for txid in txids}
        return not any(item.confirmed.tx.txid in made for item in endings)

    def _alarms(self, setup: InstanceSetup, history: History) -> Iterator[Note]:
        for words in decide.alarms(history, self._allowed(setup)):
            self.error = self.error or VerificationFailed(words)
            yield Note(Level.ERROR, "alarm", words, setup.id.hex())

    def _allowed(self, setup: InstanceSetup) -> Sequence[bytes]:
        """Txids by which the vault may move besides this instance's own: other operators', and payouts agreed to."""
        takes = [
            view.setup.graph[name].tx.txid
            for view in self._survey.views.values()
            if view.setup.deposit == setup.deposit
            for name in (Event.HAPPY_TAKE, Event.UNHAPPY_TAKE)
        ]
        agreed = [payout.tx.txid for payout, _ in records.payouts_of(self._store, setup.deposit)]
        return takes + agreed + [tx.txid for _, tx in self._store.transactions(setup.deposit.request.id)]


def _by_name(store: Store, instance: bytes) -> dict[str, set[bytes]]:
    """Name → txids of everything that was made for an instance here."""
    found: dict[str, set[bytes]] = {}
    for name, tx in store.transactions(instance):
        found.setdefault(name, set()).add(tx.txid)
    return found


def _until(intent: Intent) -> str:
    return f", before block {intent.duty.deadline}" if intent.duty.deadline is not None else ""


def _sent_note(setup: InstanceSetup, intent: Intent, sent: Sent) -> Note:
    event = "sent" if sent.is_new else "waits"
    words = f"{intent.name} {event}: {intent.reason}{_until(intent)}"
    return Note(Level.INFO, event, words, setup.id.hex(), sent.tx.txid_hex)
