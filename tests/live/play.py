"""One instance on a bitcoind, a data directory for each party, and a ledger read off the blocks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

import pytest

from bitvm_bridge import keyring, policy, records
from bitvm_bridge.chain.bitcoind import BitcoindNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.graph import ANCHOR, Graph
from bitvm_bridge.keys import Role
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.status import OTHER, identify
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.wallet import Wallet
from bitvm_bridge.watch.history import is_peg_out
from tests.cli.bridge import AMOUNT, PLAIN, Bridge, make_deposit, make_keys, rpc_options

PROGRAM: Final = "hash-chain:4:1"
PARTIES: Final = (Role.DEPOSITOR, Role.WITHDRAWER, Role.OPERATOR, Role.CHALLENGER)
OPERATOR, CHALLENGER, COMMITTEE = Role.OPERATOR, Role.CHALLENGER, Role.COMMITTEE
PATIENCE: Final = 40
"""blocks: more than an instance lives."""
SET_UP: Final = "PegIn"
ENDINGS: Final = ("taken", "disproved", "timed-out", "forfeited", "refunded", "released")
"""States in which nothing more can come of an instance."""


def name_of(graphs: Sequence[Graph], tx: Transaction) -> str:
    """What a transaction is in the graph that it touches most; empty where it touches none."""
    spends = {txin.outpoint for txin in tx.inputs}
    best: list[str] = []
    name = ""
    for graph in graphs:
        if is_peg_out(graph, tx):
            return "PegOut"
        touched = [one.name for one in graph.sources.values() if one.outpoint in spends and one.output != ANCHOR]
        if len(touched) > len(best):
            best, name = touched, identify(graph, tx)
    return f"a spend of {', '.join(best)}" if name == OTHER else name


@dataclass(frozen=True)
class House:
    """Everyone's keys and coins, made once: each play starts from a copy."""

    bridge: Bridge
    launched: LaunchedBitcoind

    @classmethod
    def built(cls, folder: Path, launched: LaunchedBitcoind) -> Self:
        bridge = Bridge(folder / "house", *PLAIN, *rpc_options(launched))
        make_keys(bridge)
        return cls(bridge, launched)


@dataclass
class Play:
    """From the deposit on; `bridges` has the data directory of each party, the same until the vault is there."""

    node: BitcoindNode
    bridges: dict[Role, Bridge]
    deposit: str
    instances: list[str]
    start: int
    before: dict[str, int]
    refusals: list[str] = field(default_factory=list)
    """What bitcoind would not take, in its own words."""

    @classmethod
    def begun(cls, house: House, folder: Path, program: str, count: int, *, peg_in: bool) -> Self:
        """A deposit and an operator's instance of it, signed; or several of each. `peg_in`: and in the vault."""
        bridge = house.bridge.copy(folder / "set-up")
        start, before = bridge.height(), bridge.balances()
        instances, deposit = [], ""
        for number in range(count):
            deposit = make_deposit(bridge, "--refund-delay", str(30 + number))
            instances.append(str(bridge.send("operator", "join", deposit, "--program", program)["instance"]))
            bridge.run("committee", "sign", instances[-1])
            bridge.run("committee", "confirm", deposit)
            if peg_in:
                bridge.send("depositor", "peg-in", deposit)
        bridges = {role: bridge.copy(folder / str(role)) for role in (*PARTIES, COMMITTEE)}
        return cls(house.launched.node, bridges, deposit, instances, start, before)

    @property
    def instance(self) -> str:
        """The one that the play is about."""
        return self.instances[0]

    def bundle(self, number: int = 0) -> Bundle:
        with self.bridges[CHALLENGER].store() as store:
            return records.load_bundle(store, self.instances[number])

    def wallet(self, role: Role) -> Wallet:
        """A party's coins, for what no command makes."""
        with self.bridges[role].store() as store:
            reserved = records.reserved_for_others(store, b"", "")
            return Wallet(keyring.wallet_key(store, role, "default"), self.node, 2.0, reserved)

    def winternitz_seed(self) -> bytes:
        with self.bridges[OPERATOR].store() as store:
            return store.seed(OPERATOR, "default").winternitz_seed()

    def by_hand(self, role: Role, *args: str) -> None:
        """A command that sends a transaction, and a block with it."""
        self.bridges[role].send(*args)

    def send(self, tx: Transaction) -> None:
        """A transaction that no command makes, in a block."""
        self.node.broadcast(tx)
        self.node.mine(1)
        assert self.node.find(tx.txid) is not None

    def refused(self, *transactions: Transaction) -> None:
        """Neither bitcoind's mempool nor a block takes the last of these."""
        verdict = self.node.test(transactions)
        assert not verdict.allowed
        with pytest.raises(NodeRejected):
            self.node.mine_transactions(transactions)
        self.refusals.append(verdict.reason)

    def pay(self, amount: int = AMOUNT, number: int = 0) -> None:
        """A user asks for so much, the operator pays it."""
        psbt = self.bridges[OPERATOR].datadir / "withdrawal.psbt"
        self.bridges[Role.WITHDRAWER].run("withdrawer", "request", "--amount", str(amount), "--out", str(psbt))
        self.by_hand(OPERATOR, "operator", "peg-out", self.instances[number], "--psbt", str(psbt))

    def asks(self, amount: int = AMOUNT) -> Withdrawal:
        """A user signs its half of PegOut."""
        psbt = self.bridges[OPERATOR].datadir / "withdrawal.psbt"
        self.bridges[Role.WITHDRAWER].run("withdrawer", "request", "--amount", str(amount), "--out", str(psbt))
        return Withdrawal.from_psbt(psbt.read_text())

    def kick_off(self, number: int = 0) -> int:
        """The operator claims, whether it may or not; returns the height of KickOff."""
        self.by_hand(OPERATOR, "operator", "kick-off", self.instances[number])
        return self.node.height()

    def look(self, role: Role) -> dict[str, str]:
        """One `watch --once` of an honest party, which must find nothing wrong; returns the state of each instance."""
        report = self.bridges[role].data("watch", "--as", str(role), "--once")
        assert not [note for note in report["notes"] if note["level"] == "error"], report
        return dict(report["instances"])

    def go_on(self, *honest: Role, blocks: int = PATIENCE) -> None:
        """The honest parties look, a block is mined, and so on until every claim that was made has ended."""
        for _ in range(blocks):
            states = [state for role in honest for state in self.look(role).values()]
            if states and all(self._is_over(state) for state in states):
                return
            self.node.mine(1)

    @staticmethod
    def _is_over(state: str) -> bool:
        return state in ENDINGS

    def mine_to(self, height: int) -> None:
        self.node.mine(height - self.node.height())

    def ledger(self) -> "Ledger":
        owners = {}
        with self.bridges[OPERATOR].store() as store:
            for role in PARTIES:
                owners[wallet_script(keyring.wallet_key(store, role, "default").xonly)] = str(role)
        graphs = [self.bundle(number).setup.graph for number in range(len(self.instances))]
        return Ledger(self.node, self.start, graphs, owners, self.before)


@dataclass
class Ledger:
    """What confirmed since a height, what everyone gained or lost, and where the rest is: all from the node.

    `owners` has whose wallet a script is, `before` what was in it then.
    """

    node: BitcoindNode
    start: int
    graphs: Sequence[Graph]
    owners: Mapping[bytes, str]
    before: Mapping[str, int]
    transactions: list[Transaction] = field(init=False)
    spent: dict[OutPoint, TxOut] = field(init=False)

    def __post_init__(self) -> None:
        heights = range(self.start + 1, self.node.height() + 1)
        self.transactions = [tx for height in heights for tx in self.node.block(height).transactions[1:]]
        self.spent = {txin.outpoint: self._coin(txin.outpoint) for tx in self.transactions for txin in tx.inputs}

    def _coin(self, outpoint: OutPoint) -> TxOut:
        found = self.node.find(outpoint.txid)
        assert found is not None
        return found[0].outputs[outpoint.vout]

    @property
    def names(self) -> tuple[str, ...]:
        """What confirmed of the instances after their set-up, in order."""
        found = (name_of(self.graphs, tx) for tx in self.transactions)
        return tuple(name for name in found if name and name != SET_UP)

    @property
    def fees(self) -> Counter[str]:
        """Role → sat. Whoever gets the change, or the reward, has paid the fee; what has an anchor pays none."""
        paid: Counter[str] = Counter()
        for tx in self.transactions:
            fee = sum(self.spent[txin.outpoint].amount for txin in tx.inputs) - sum(out.amount for out in tx.outputs)
            if tx.outputs[-1] == ANCHOR:
                assert fee == 0
            else:
                paid[self.owners[tx.outputs[-1].script_pubkey]] += fee
        return paid

    @property
    def changes(self) -> dict[str, int]:
        """Role → sat gained, the fees that it paid added back."""
        gained = Counter(self.fees)
        for script, owner in self.owners.items():
            gained[owner] += sum(coin.output.amount for coin in self.node.scan(script))
        return {owner: gained[owner] - self.before[owner] for owner in self.owners.values()}

    @property
    def burned(self) -> int:
        """sat that nobody can ever spend."""
        outputs = (out for tx in self.transactions for out in tx.outputs)
        return sum(out.amount for out in outputs if policy.is_unspendable(out.script_pubkey))

    @property
    def left(self) -> int:
        """sat in unspent outputs that are in no wallet: the vault, and connectors that nobody needs any more."""
        return sum(
            out.amount
            for tx in self.transactions
            for index, out in enumerate(tx.outputs)
            if out.script_pubkey not in self.owners and self.node.output(tx.outpoint(index)) is not None
        )
