"""What every play has: a node, parties with coins, and a ledger of what happened."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from bitvm_bridge import policy
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BridgeError, NodeRejected, VerificationFailed
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Params
from bitvm_bridge.program import ProgramSpec
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Prepared, Wallet

COIN: Final = 100_000_000


class Player(NamedTuple):
    """Whose keys a party has, and the sat that it starts with, coin by coin."""

    role: Role
    coins: tuple[int, ...]


Cast = Mapping[str, Player]
BRIDGE: Final[Cast] = {
    Role.DEPOSITOR: Player(Role.DEPOSITOR, (2 * COIN,)),
    Role.WITHDRAWER: Player(Role.WITHDRAWER, (10_000,)),
    Role.OPERATOR: Player(Role.OPERATOR, (2 * COIN, COIN, COIN // 100, COIN // 100)),
    Role.CHALLENGER: Player(Role.CHALLENGER, (COIN, COIN // 100)),
}
"""Who plays in the stories of the bridge."""
MEMBERS: Final = ("alice", "bob", "carol")


@dataclass(frozen=True)
class Step:
    """A transaction that confirmed, and what it means."""

    name: str
    txid: str
    vsize: int
    weight: int
    fee: int
    height: int
    meaning: str


@dataclass(frozen=True)
class Refusal:
    """A transaction that the node was right to refuse."""

    name: str
    reason: str
    meaning: str


@dataclass(frozen=True)
class Outcome:
    """A play that has ended: `balances` has what each party gained (sat; negative for a loss).

    What they lost together went into fees, was burned, or is locked in outputs that wait for other transactions, such
    as the vault.
    """

    name: str
    title: str
    steps: tuple[Step | Refusal, ...]
    balances: dict[str, int]
    fees: int
    burned: int
    locked: int

    @property
    def transactions(self) -> list[Step]:
        """What confirmed, in order."""
        return [step for step in self.steps if isinstance(step, Step)]


Tell = Callable[[Step | Refusal], None]


@dataclass
class Stage:
    """A node, fresh keys for every role, and a ledger of what happened."""

    node: Node
    miner: Wallet
    params: Params
    spec: ProgramSpec
    tell: Tell
    proof: bytes | None = None
    """What the operator hands in to the program."""
    fee_rate: float = 2.0
    cast: Cast = field(default_factory=lambda: BRIDGE)
    steps: list[Step | Refusal] = field(default_factory=list)
    confirmed: list[Transaction] = field(default_factory=list)
    seeds: dict[str, Seed] = field(init=False)
    members: dict[str, Seed] = field(init=False)
    wallets: dict[str, Wallet] = field(init=False)

    def __post_init__(self) -> None:
        self.seeds = {name: Seed.generate(player.role) for name, player in self.cast.items()}
        self.members = {name: Seed.generate(Role.COMMITTEE) for name in MEMBERS}
        self.wallets = {name: Wallet(seed.wallet_key(), self.node, self.fee_rate) for name, seed in self.seeds.items()}
        outputs = [
            TxOut(amount, self.wallets[name].script_pubkey)
            for name, player in self.cast.items()
            for amount in player.coins
        ]
        self.node.broadcast(self.miner.pay(outputs).tx)
        self.mine(1)

    def mine(self, blocks: int) -> None:
        """Pass the time; subsidies go to the miner."""
        self.node.mine(blocks, self.miner.script_pubkey)

    def mine_to(self, height: int) -> None:
        """Mine until the tip is at `height`."""
        if (missing := height - self.node.height()) > 0:
            self.mine(missing)

    def confirm(self, prepared: Prepared, meaning: str) -> int:
        """Send a transaction, mine it, write it down; returns its height.

        What is too heavy for the relay network goes to the miner directly.
        """
        if prepared.relayable:
            verdict = prepared.test(self.node)
            if not verdict.allowed:
                raise NodeRejected(f"{prepared.name}: {verdict.reason}")
            prepared.send(self.node)
            self.mine(1)
        else:
            self.node.mine_transactions(prepared.transactions)
        height = self.node.height()
        self.confirmed += prepared.transactions
        self.note(Step(*_measure(prepared.name, prepared.tx, prepared.parent.fee), height, meaning))
        if prepared.child is not None:
            name = f"{prepared.name} fee"
            self.note(Step(*_measure(name, prepared.child.tx, prepared.child.fee), height, "child that pays the fee"))
        return height

    def honest(self, setup: InstanceSetup) -> tuple[bytes, ...]:
        """The values of a claim that is right. Raises VerificationFailed where its proof does not verify."""
        run = setup.program.run(setup.program.read_input(self.proof))
        if run.failed is not None:
            raise VerificationFailed(f"the proof does not verify: {run.reason}")
        return run.values

    def refused(self, prepared: Prepared, meaning: str) -> None:
        """The node must refuse this now. Raises BridgeError where it does not."""
        verdict = prepared.test(self.node)
        if verdict.allowed:
            raise BridgeError(f"{prepared.name}: the node accepts it, and must not")
        self.note(Refusal(prepared.name, verdict.reason, meaning))

    def note(self, step: Step | Refusal) -> None:
        """Write down what happened, and tell it."""
        self.steps.append(step)
        self.tell(step)

    def balances(self) -> dict[str, int]:
        """What each party has gained since the play began (sat)."""
        return {
            str(name): sum(coin.output.amount for coin in self.wallets[name].coins()) - sum(player.coins)
            for name, player in self.cast.items()
        }

    def burned(self) -> int:
        """sat in outputs that nobody can ever spend."""
        return sum(
            out.amount for tx in self.confirmed for out in tx.outputs if policy.is_unspendable(out.script_pubkey)
        )

    def locked(self) -> int:
        """sat in unspent outputs that are in no party's wallet."""
        wallets = {wallet.script_pubkey for wallet in self.wallets.values()}
        return sum(
            out.amount
            for tx in self.confirmed
            for index, out in enumerate(tx.outputs)
            if out.script_pubkey not in wallets and self.node.output(tx.outpoint(index)) is not None
        )

    def outcome(self, name: str, title: str) -> Outcome:
        """What came of it."""
        fees = sum(step.fee for step in self.steps if isinstance(step, Step))
        return Outcome(
            name, title, tuple(self.steps), self.balances(), fees, burned=self.burned(), locked=self.locked()
        )


def _measure(name: str, tx: Transaction, fee: int) -> tuple[str, str, int, int, int]:
    return name, tx.txid_hex, tx.vsize, tx.weight, fee


def open_stage(node: Node, fee_rate: float = 2.0) -> Wallet:
    """A miner with mature coins."""
    miner = Wallet(Seed.generate(Role.CHALLENGER).wallet_key(), node, fee_rate)
    node.mine(101, wallet_script(miner.key.xonly))
    return miner
