"""Send what a party wants sent, once, and recorded before it leaves; from then on it is for `upkeep`."""

from dataclasses import dataclass

from bitvm_bridge import actions, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.keys import Role
from bitvm_bridge.pending import pending
from bitvm_bridge.policy import MAX_STANDARD_WEIGHT
from bitvm_bridge.roles import challenger, operator
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet
from bitvm_bridge.watch.decide import Intent
from bitvm_bridge.watch.machine import Event
from bitvm_bridge.watch.proofs import ProofSource


@dataclass(frozen=True)
class Sent:
    """What was done: `tx` went out, or waits already, by whomever (`is_new` is then False)."""

    tx: Transaction
    is_new: bool


@dataclass(frozen=True)
class Sender:
    """Sends with the coins of one key."""

    store: Store
    node: Node
    role: Role
    name: str
    policy: FeePolicy
    proofs: ProofSource | None = None

    def send(self, bundle: Bundle, intent: Intent, blocks_left: int | None) -> Sent:
        """Make and send it, unless it is under way. Raises BridgeError, NodeRejected, NodeUnreachable."""
        instance = bundle.setup.id
        if (waiting := self._under_way(bundle, intent)) is not None:
            return Sent(waiting, is_new=False)
        rate = self.policy.rate(blocks_left)
        wallet = actions.open_wallet(self.store, self.node, self.role, self.name, rate, instance, intent.name)
        prepared = self._make(wallet, bundle, intent)
        actions.refuse_unsendable(prepared, self.node, actions.judge(prepared, self.node))
        records.keep(self.store, instance, prepared, sent=True)
        actions.send(prepared, self.node)
        return Sent(prepared.tx, is_new=True)

    def _under_way(self, bundle: Bundle, intent: Intent) -> Transaction | None:
        """One of ours that upkeep looks after, or a stranger's in the mempool that does the same.

        What does something else is no reason to wait; nor is one too heavy to be relayed, which nobody looks after.
        """
        for item in pending(self.store):
            is_same = (item.owner, item.name) == (bundle.setup.id, intent.name)
            if is_same and item.sent and item.tx.weight <= MAX_STANDARD_WEIGHT:
                return item.tx
        declared = bundle.setup.graph[intent.name]
        found = self.node.mempool_spender(declared.inputs[0].source.outpoint)
        spends = {entry.source.outpoint for entry in declared.inputs}
        if found is not None and spends <= {txin.outpoint for txin in found.tx.inputs}:
            return found.tx
        return None

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
