"""Send what a party wants sent, once: recorded before it leaves, repeated or paid better only where that is needed."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from bitvm_bridge import actions, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role
from bitvm_bridge.roles import challenger, operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.store import Kept, Store
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet
from bitvm_bridge.watch.decide import Intent
from bitvm_bridge.watch.machine import Event
from bitvm_bridge.watch.proofs import ProofSource

Rate = Callable[[int | None], float]
"""sat per vB to pay with this many blocks left; None where there is no deadline."""
RAISE: Final = 1.25
"""A transaction that waits is made anew where the rate to pay has become so many times what it pays."""


@dataclass(frozen=True)
class Sent:
    """What was done: `tx` went out, or waits already (`is_new` is then False); `rate` is what it pays (sat/vB)."""

    tx: Transaction
    rate: float
    is_new: bool
    replaces: bool = False


@dataclass(frozen=True)
class _Waiting:
    """What waits in the mempool in the place of a transaction, what it pays (sat/vB), and whether it is ours."""

    tx: Transaction
    rate: float
    is_own: bool


@dataclass(frozen=True)
class Sender:
    """Sends with the coins of one key."""

    store: Store
    node: Node
    role: Role
    name: str
    rate: Rate
    proofs: ProofSource | None = None

    def send(self, bundle: Bundle, intent: Intent, blocks_left: int | None) -> Sent:
        """Make and send it, unless it waits and pays enough. Raises BridgeError, NodeRejected, NodeUnreachable."""
        instance, wanted = bundle.setup.id, self.rate(blocks_left)
        waiting = self._waiting(bundle, intent)
        if waiting is not None and not (waiting.is_own and blocks_left is not None and wanted >= RAISE * waiting.rate):
            return Sent(waiting.tx, waiting.rate, is_new=False)
        wallet = actions.open_wallet(self.store, self.node, self.role, self.name, wanted, instance, intent.name)
        prepared = self._make(wallet, bundle, intent)
        actions.refuse_unsendable(prepared, self.node, actions.judge(prepared, self.node))
        records.keep(self.store, instance, prepared, sent=True)
        actions.send(prepared, self.node)
        return Sent(prepared.tx, wanted, is_new=True, replaces=waiting is not None)

    def _waiting(self, bundle: Bundle, intent: Intent) -> _Waiting | None:
        """What waits in the mempool in its place.

        A transaction of somebody else that does the same is waited for; one that does something else is not.
        """
        declared = bundle.setup.graph[intent.name]
        found = self.node.mempool_spender(declared.inputs[0].source.outpoint)
        if found is None:
            return None
        own = [kept for kept in self.store.unsettled() if kept.owner == bundle.setup.id and kept.name == intent.name]
        spends = {entry.source.outpoint for entry in declared.inputs}
        is_own = any(kept.tx.txid == found.tx.txid for kept in own)
        if not is_own and not spends <= {txin.outpoint for txin in found.tx.inputs}:
            return None
        return _Waiting(found.tx, found.all_fees / _vsize(found.tx, own), is_own)

    def _make(self, wallet: Wallet, bundle: Bundle, intent: Intent) -> Prepared:
        match intent.name.partition("_")[0]:
            case Event.KICK_OFF:
                return operator.kick_off(wallet, bundle.setup)
            case Event.ASSERT:
                return self._answer(wallet, bundle.setup)
            case Event.HAPPY_TAKE:
                return operator.happy_take(wallet, bundle)
            case Event.UNHAPPY_TAKE:
                return operator.unhappy_take(wallet, bundle)
            case Event.CHALLENGE:
                return challenger.challenge(wallet, bundle)
            case Event.DISPROVE if intent.proof is not None:
                return challenger.disprove(wallet, bundle, intent.proof)
            case Event.ASSERT_TIMEOUT:
                return challenger.assert_timeout(wallet, bundle, int(intent.name.partition("_")[2]))
            case Event.FORFEIT:
                return challenger.forfeit(wallet, bundle)
        raise BadInput("transaction", intent.name, "one that a watcher sends")

    def _answer(self, wallet: Wallet, setup: InstanceSetup) -> Prepared:
        """Assert with what the one-time keys are bound to, else with the values of a proof, bound before they sign."""
        values = self.store.bound(setup.id)
        if not values:
            document = None if self.proofs is None else self.proofs.proof(setup.id)
            if document is None and setup.program.raw_count:
                raise BridgeError("Assert: no proof to answer the challenge with; see --proofs")
            values = actions.honest_values(setup.program, document)
            self.store.bind_one_time_keys(setup.id, values)
        seed = self.store.seed(self.role, self.name).winternitz_seed()
        return operator.reveal(wallet, setup, asserting.sign(setup, seed, values))


def _vsize(tx: Transaction, own: list[Kept]) -> int:
    """vB of a transaction with the children that were made for it, the last of which waits with it."""
    children = [kept.tx.vsize for kept in own if kept.parent == tx.txid]
    return tx.vsize + (children[-1] if children else 0)
