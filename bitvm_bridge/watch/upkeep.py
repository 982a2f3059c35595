"""What one watcher's party has sent before: kept in the mempool until it is deep enough in the chain, paid better as a
deadline comes near. What to do about a transaction is decided by `rebroadcast`; here are whose it is and its deadline.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from bitvm_bridge import actions, rebroadcast
from bitvm_bridge.chain.node import Node
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.keys import Role
from bitvm_bridge.pending import Pending
from bitvm_bridge.protocol import Party
from bitvm_bridge.rebroadcast import Action, Done, Due
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Wallet
from bitvm_bridge.watch.notes import Level, Note

PARTIES: Final = {
    Role.OPERATOR: frozenset({Party.OPERATOR}),
    Role.CHALLENGER: frozenset({Party.CHALLENGER, Party.ANYONE}),
    Role.COMMITTEE: frozenset[Party](),
}
"""Whose transactions a watcher's role sends."""


@dataclass(frozen=True)
class Upkeep:
    """Of what a key sent for the instances with these ids; `blocks_left` says how long a transaction has."""

    store: Store
    node: Node
    role: Role
    name: str
    policy: FeePolicy
    owners: frozenset[bytes]
    blocks_left: Callable[[Pending], int | None]

    def due(self) -> list[Due]:
        """Everything of this party that is not final. Raises NodeUnreachable."""
        everything = rebroadcast.due(self.store, self.node, self.policy, self.blocks_left)
        return [due for due in everything if self._is_own(due.item)]

    def act(self, items: list[Due]) -> Iterator[Note]:
        """Send again and pay better, and say so. Raises NodeUnreachable."""
        for done in rebroadcast.resend(self.store, self.node, self.policy, items, self._wallet, may_bump=True):
            if (note := _note(done)) is not None:
                yield note

    def _is_own(self, item: Pending) -> bool:
        return item.owner in self.owners and item.template.sender in PARTIES[self.role]

    def _wallet(self, item: Pending) -> Wallet:
        return actions.open_wallet(
            self.store, self.node, self.role, self.name, self.policy.floor, item.owner, item.name
        )


def planned(due: Due) -> Note | None:
    """What a dry run says."""
    if due.decision.action not in (Action.SEND, Action.BUMP, Action.MOVE):
        return None
    words = f"would {due.decision.action} {due.item.name}: it {due.decision.reason}"
    return Note(Level.INFO, "due", words, due.item.owner.hex(), due.item.tx.txid_hex)


def _note(done: Done) -> Note | None:
    item, decision = done.due.item, done.due.decision
    owner = item.owner.hex()
    if done.problem:
        words = f"{item.name}: {done.problem} (it {decision.reason})"
        return Note(Level.WARNING, "stuck", words, owner, item.tx.txid_hex)
    if done.prepared is not None:
        return Note(Level.INFO, "raised", f"{item.name} raised: it {decision.reason}", owner, done.prepared.tx.txid_hex)
    if decision.action is Action.MOVE:
        return Note(Level.WARNING, "moved", f"{item.name}: {decision.reason}", owner, item.tx.txid_hex)
    if decision.action is Action.SEND:
        return Note(Level.INFO, "resent", f"{item.name} resent: it {decision.reason}", owner, item.tx.txid_hex)
    return None
