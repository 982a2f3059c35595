"""Pay what a source asks for: a free instance for each request, recorded before the money leaves.

A request is never paid twice. Its PegOut spends the withdrawer's coin, so that one at most can confirm, and which
instance pays it is in the store, in one write with the PegOut, before that is sent. After a crash the very same PegOut
is sent again. An instance is free only where neither the store nor the chain knows of a PegOut that names it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Concatenate, Final, ParamSpec

from bitvm_bridge import actions, keyring, rebroadcast, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BadInput, BridgeError, NodeUnreachable
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.keys import ExternalKey, Role
from bitvm_bridge.pending import pending
from bitvm_bridge.rebroadcast import Action, Due
from bitvm_bridge.roles import operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.sources.ledger import Entry, Ledger
from bitvm_bridge.sources.request import PegOutRequest, RequestSource
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Wallet, send
from bitvm_bridge.watch import machine
from bitvm_bridge.watch.claims import ShareOfDeposit
from bitvm_bridge.watch.machine import ClaimState, DepositState, Event
from bitvm_bridge.watch.notes import SHOWN_DIGITS, Level, Note
from bitvm_bridge.watch.survey import Library, Survey, survey

P = ParamSpec("P")
PEG_OUT: Final = "PegOut"
OPEN: Final = machine.State(DepositState.PEGGED_IN, ClaimState.FUNDED)
"""The state of an instance from which a PegOut can be claimed back."""
MAX_PAGES: Final = 100
"""pages that are read before anything is paid: a source without end must not keep the others waiting."""


class State(StrEnum):
    """How far a request has come."""

    WAITING = "waiting"
    MADE = "made"
    SENT = "sent"
    PAID = "paid"
    OVER = "over"
    """Its coin was spent elsewhere for good."""


@dataclass(frozen=True)
class Terms:
    """Whose coins pay, and on what terms.

    `max_amount` (sat) is the most that one request may ask for. Vault and withdrawer's coin must be `confirmations`
    blocks deep. `share` says how little a request may ask for, so that its claim is not taken for a false one.
    `broadcast`: send what is made.
    """

    name: str
    fees: Callable[[Node], FeePolicy]
    max_amount: int | None = None
    confirmations: int = 1
    share: ShareOfDeposit = field(default_factory=ShareOfDeposit)
    broadcast: bool = False


@dataclass(frozen=True)
class Row:
    """A request and how far it has come."""

    entry: Entry
    state: State

    def document(self) -> dict[str, str | int | None]:
        """As JSON carries it."""
        return {
            "request": self.entry.request.id.hex(),
            "amount": self.entry.request.amount,
            "state": self.state,
            "instance": self.entry.instance.hex() or None,
        }


@dataclass(frozen=True)
class Turn:
    """What one turn came to; `error` is the first thing that went wrong."""

    notes: tuple[Note, ...]
    rows: tuple[Row, ...]
    sent: int
    error: BridgeError | None


class Payer:
    """Serves a source again and again. What it knows between two turns is in the store."""

    def __init__(self, store: Store, source: RequestSource, terms: Terms) -> None:
        """Raises BadInput where the operator's key is not here, or its passphrase was not given."""
        key = keyring.wallet_key(store, Role.OPERATOR, terms.name)
        if isinstance(key, ExternalKey):
            expected = "an operator whose coins this data directory can sign for; else pay each with `peg-out`"
            raise BadInput("--name", terms.name, expected)
        self._store = store
        self._source = source
        self._terms = terms
        self._library = Library(store)
        self._key = key.xonly

    def turn(self, node: Node) -> Turn:
        """Take what is new, look after what was made, pay what can be paid.

        What is wrong with one request does not keep the others waiting. Raises NodeUnreachable for node and source.
        """
        ledger = Ledger(self._store)
        notes = [Note(Level.WARNING, "refused", line) for line in take_news(ledger, self._source)]
        found = survey(self._library, node)
        work = _Work(self._store, ledger, self._library, self._terms, self._key, node, found)
        work.look_after()
        if found.progress.lag >= 0:
            work.pay()
        return Turn((*notes, *work.notes), tuple(work.rows()), work.sent, work.error)


def take_news(ledger: Ledger, source: RequestSource) -> list[str]:
    """Read a source to its end; a line for everything that was refused. Raises NodeUnreachable, BridgeError."""
    refused: list[str] = []
    for _ in range(MAX_PAGES):
        since = ledger.cursor(source.name)
        page = source.requests(since)
        refused += [*page.refused, *ledger.take(source.name, page)]
        if page.cursor == since:
            break
    return refused


class _Work:
    """One turn, request by request."""

    def __init__(
        self, store: Store, ledger: Ledger, library: Library, terms: Terms, key: bytes, node: Node, found: Survey
    ) -> None:
        self._store = store
        self._ledger = ledger
        self._library = library
        self._terms = terms
        self._key = key
        self._node = node
        self._survey = found
        self._policy = terms.fees(node)
        self._deep = found.next_block - terms.confirmations
        self.notes: list[Note] = []
        self.sent = 0
        self.error: BridgeError | None = None

    def look_after(self) -> None:
        """PegOuts that were made before: sent again where they are missing, given up where they can never confirm."""
        made = {entry.instance: entry for entry in self._ledger.entries() if entry.instance and not entry.over}
        for due in rebroadcast.due(self._store, self._node, self._policy, lambda _: None):
            entry = made.get(due.item.owner)
            if due.item.name == PEG_OUT and entry is not None:
                self._try(self._keep_going, entry, due)

    def pay(self) -> None:
        """Every request that nothing was made for yet."""
        for entry in self._ledger.entries():
            if not entry.instance and not entry.over:
                self._try(self._pay, entry)

    def rows(self) -> list[Row]:
        """How far every request has come."""
        return [Row(entry, self._state(entry)) for entry in self._ledger.entries()]

    def _try(self, act: Callable[Concatenate[Entry, P], None], entry: Entry, *args: P.args, **more: P.kwargs) -> None:
        try:
            act(entry, *args, **more)
        except NodeUnreachable:
            raise
        except BridgeError as error:
            self.error = self.error or error
            self._note(Level.ERROR, "failed", entry, str(error))

    def _keep_going(self, entry: Entry, due: Due) -> None:
        if due.decision.action is Action.SETTLE and due.view.lost:
            self._ledger.close(entry)
            self._note(Level.WARNING, "over", entry, "its coin was spent elsewhere; its instance is free again")
        if self._terms.broadcast and not due.item.sent and not due.view.depth:
            self._store.record_transaction(due.item.owner, PEG_OUT, due.item.tx, sent=True)
            self._send(entry, due.item.tx)
            return
        (done,) = rebroadcast.resend(
            self._store, self._node, self._policy, [due], lambda item: self._wallet(item.owner)
        )
        if done.problem:
            raise BridgeError(f"{PEG_OUT}: {done.problem} (it {due.decision.reason})")
        if due.decision.action is Action.SEND:
            self.sent += 1
            self._note(Level.INFO, "resent", entry, f"{PEG_OUT} resent: it {due.decision.reason}", due.item.tx.txid_hex)

    def _pay(self, entry: Entry) -> None:
        self._check(entry.request)
        setup = self._free(entry.request.amount)
        prepared = operator.peg_out(self._wallet(setup.id), setup, entry.request.withdrawal)
        actions.refuse_unsendable(prepared, self._node, actions.judge(prepared, self._node))
        with self._store.transaction():
            assigned = self._ledger.assign(entry, setup.id)
            if self._is_made(setup.id):
                raise BridgeError(f"instance {setup.id.hex()[:12]}: another process has made its PegOut")
            records.keep(self._store, setup.id, prepared, sent=self._terms.broadcast)
        if self._terms.broadcast:
            self._send(assigned, prepared.tx)
        else:
            self._note(Level.INFO, "made", assigned, _words("made", entry.request), prepared.tx.txid_hex)

    def _check(self, request: PegOutRequest) -> None:
        """Raises BridgeError where a request is not to be paid, or cannot be yet."""
        most = self._terms.max_amount
        if most is not None and request.amount > most:
            raise BridgeError(f"{request.amount:,} sat are asked for, and --max-amount is {most:,}")
        withdrawal = request.withdrawal
        coin = self._node.output(withdrawal.coin)
        if coin is None or coin.height > self._deep:
            raise BridgeError(f"its coin {withdrawal.coin} is not in the chain, not deep enough, or spent")
        if coin.output != withdrawal.spent:
            raise BridgeError(f"its coin {withdrawal.coin} is not worth what its PSBT says")
        if (waiting := self._node.mempool_spender(withdrawal.coin)) is not None:
            raise BridgeError(f"its coin {withdrawal.coin} is being spent by {waiting.tx.txid_hex}")

    def _free(self, amount: int) -> InstanceSetup:
        """The smallest exit that repays an amount and that nothing was paid for yet. Raises BridgeError."""
        fitting = [
            view.setup
            for view in self._survey.views.values()
            if view.setup.operator == self._key
            and self._terms.share.least(view.setup) <= amount
            and amount <= view.setup.deposit.request.params.exit_amount
        ]
        for setup in sorted(fitting, key=lambda setup: (setup.deposit.request.params.exit_amount, setup.id)):
            if self._is_free(setup):
                return setup
        raise BridgeError(f"no free instance repays {amount:,} sat ({len(fitting)} have a deposit of that size)")

    def _is_free(self, setup: InstanceSetup) -> bool:
        """Signed, its vault and claim coin there, and no PegOut of it known here or on the chain, nor of a rival.

        Raises VerificationFailed for a bundle that is not what was signed.
        """
        view = self._survey.views[setup.id]
        vault = self._node.output(setup.graph.vault)
        return (
            view.history is not None
            and view.history.state == OPEN
            and not self._is_taken(setup)
            and vault is not None
            and vault.height <= self._deep
            and self._node.mempool_spender(setup.graph.vault) is None
            and self._library.bundle(setup) is not None
        )

    def _is_taken(self, setup: InstanceSetup) -> bool:
        """Was something paid, or claimed, from this exit, or is it about to be?"""
        rivals = [view for view in self._survey.views.values() if view.setup.graph.vault == setup.graph.vault]
        return self._is_made(setup.id) or any(
            view.history is None or view.history.happened(Event.PEG_OUT, Event.KICK_OFF) for view in rivals
        )

    def _is_made(self, instance: bytes) -> bool:
        """Is there a PegOut here that can still confirm, whoever made it?"""
        return any((item.owner, item.name) == (instance, PEG_OUT) for item in pending(self._store))

    def _send(self, entry: Entry, tx: Transaction) -> None:
        send(self._node, PEG_OUT, tx)
        self.sent += 1
        self._note(Level.INFO, "sent", entry, _words("sent", entry.request), tx.txid_hex)

    def _wallet(self, instance: bytes) -> Wallet:
        rate = self._policy.rate()
        return actions.open_wallet(self._store, self._node, Role.OPERATOR, self._terms.name, rate, instance, PEG_OUT)

    def _state(self, entry: Entry) -> State:
        if entry.over:
            return State.OVER
        if not entry.instance:
            return State.WAITING
        view = self._survey.views.get(entry.instance)
        if view is not None and view.history is not None and view.history.happened(Event.PEG_OUT):
            return State.PAID
        own = [item for item in pending(self._store) if (item.owner, item.name) == (entry.instance, PEG_OUT)]
        return State.SENT if any(item.sent for item in own) else State.MADE

    def _note(self, level: Level, event: str, entry: Entry, words: str, txid: str = "") -> None:
        about = f"request {entry.request.id.hex()[:SHOWN_DIGITS]}: {words}"
        self.notes.append(Note(level, event, about, entry.instance.hex(), txid))


def _words(done: str, request: PegOutRequest) -> str:
    return f"{PEG_OUT} {done}: {request.amount:,} sat"
