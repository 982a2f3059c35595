"""The embedded node and Bitcoin Core, side by side on the same random histories of transactions."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from random import Random

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Node, Utxo
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.transaction import SEQUENCE_RBF, Transaction, TxOut
from scripts_tapleaf.script import OP_RETURN, push
from tests.spending import ANCHOR, SCRIPT, Purse, spend

COINS = 4
STEPS = 14
FEES = (0, 12, 30, 200, 200, 400, 600, 1_000, 1_050, 1_300, 3_000, 9_000)
PADDING = (0, 0, 0, 0, 0, 40, 500, 3_000, 30_000)


@dataclass(frozen=True)
class Step:
    """A transaction by the numbers of the outputs it spends: coins first, then outputs in the order they were made."""

    inputs: tuple[int, ...]
    outputs: int
    anchor: bool
    version: int
    fee: int
    padding: int
    sequence: int

    @classmethod
    def draw(cls, random: Random, known: int, versions: tuple[int, ...] = (2, 3)) -> "Step":
        return cls(
            inputs=tuple(random.sample(range(known), random.choice((1, 1, 1, 2)))),
            outputs=random.randint(1, 3),
            anchor=random.random() < 0.03,
            version=random.choice(versions),
            fee=random.choice(FEES),
            padding=random.choice(PADDING),
            sequence=random.choice((SEQUENCE_RBF,) * 18 + (0, 1)),
        )

    @classmethod
    def draw_pair(cls, random: Random, known: int) -> tuple["Step", "Step | None"]:
        """A transaction, and where it is a parent without fee the child that comes along."""
        step = cls.draw(random, known)
        if random.random() < 0.7:
            return step, None
        parent = replace(step, anchor=True, version=3, fee=random.choice((0,) * 9 + (30,)))
        return parent, cls.draw(random, known, versions=(3,) * 9 + (2,))


@dataclass
class History:
    """The same steps on one node."""

    node: Node
    known: list[Utxo]
    sent: list[Transaction] = field(default_factory=list)

    def build(self, step: Step, more: tuple[Utxo, ...] = ()) -> Transaction:
        coins = [*(self.known[index] for index in step.inputs), *more]
        rest = max(0, sum(coin.output.amount for coin in coins) - step.fee)
        outputs = [TxOut(rest // step.outputs, SCRIPT)] * (step.outputs - 1)
        outputs.append(TxOut(rest - sum(out.amount for out in outputs), SCRIPT))
        if step.anchor:
            outputs.append(ANCHOR)
        if step.padding:
            outputs.append(
                TxOut(0, OP_RETURN + push(bytes(500)) * (step.padding // 500) + push(bytes(step.padding % 500)))
            )
        return spend(coins, outputs, version=step.version, sequence=step.sequence)

    def made(self, tx: Transaction) -> None:
        self.sent.append(tx)
        spendable = [index for index, out in enumerate(tx.outputs) if out.script_pubkey[:1] != OP_RETURN]
        self.known += [Utxo(tx.outpoint(index), tx.outputs[index], 0) for index in spendable]

    def waiting(self) -> list[bool]:
        return [self.node.in_mempool(tx.txid) for tx in self.sent]

    def contested(self) -> list[tuple[int, int] | None]:
        """For each output: the fee of what spends it in the mempool, and all that replacing that must outbid."""
        found = [self.node.mempool_spender(coin.outpoint) for coin in self.known]
        return [None if waiting is None else (waiting.fee, waiting.all_fees) for waiting in found]

    def confirmed(self) -> list[bool]:
        return [self.node.find(tx.txid) is not None for tx in self.sent]


@pytest.fixture(scope="module")
def purses(bitcoind: LaunchedBitcoind, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Purse, Purse]]:
    node = EmbeddedNode(tmp_path_factory.mktemp("embedded"))
    yield Purse(node), Purse(bitcoind.node)
    node.close()


def first_coins(purse: Purse) -> list[Utxo]:
    """Confirmed coins of the same value on every node."""
    coin = purse.take()
    tx = spend([coin], [TxOut(2_000_000, SCRIPT)] * COINS)
    purse.node.mine_transactions([tx])
    return [Utxo(tx.outpoint(index), tx.outputs[index], 0) for index in range(COINS)]


def play(seed: int, purses: tuple[Purse, Purse]) -> tuple[int, int]:
    """One history on both nodes; how many steps were taken and how many refused."""
    random = Random(seed)
    ours, core = (History(purse.node, first_coins(purse)) for purse in purses)
    taken = refused = 0
    for number in range(STEPS):
        step, child = Step.draw_pair(random, len(ours.known))
        outcomes = [send(history, step, child) for history in (ours, core)]
        where = f"seed {seed}, step {number}: {step}, child {child}: {outcomes}"
        assert (outcomes[0] is None) == (outcomes[1] is None), where
        assert ours.waiting() == core.waiting(), where
        taken, refused = taken + (outcomes[0] is None), refused + (outcomes[0] is not None)
    assert ours.contested() == core.contested()
    for history in (ours, core):
        history.node.mine()
    assert [ours.node.find(tx.txid) is None for tx in ours.sent] == [
        core.node.find(tx.txid) is None for tx in core.sent
    ]
    return taken, refused


def send(history: History, step: Step, child: Step | None) -> str | None:
    """None where the node takes it, else its reason."""
    tx = history.build(step)
    transactions = [tx]
    if child is not None:
        transactions.append(history.build(child, (Utxo(tx.outpoint(step.outputs), ANCHOR, 0),)))
    try:
        if child is None:
            history.node.broadcast(tx)
        else:
            history.node.submit_package(*transactions)
    except NodeRejected as error:
        return str(error)
    for sent in transactions:
        history.made(sent)
    return None


@pytest.mark.parametrize("seed", range(25))
def test_random_histories(purses: tuple[Purse, Purse], seed: int) -> None:
    taken, refused = play(seed, purses)
    assert taken + refused == STEPS


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(1_000, 1_400))
def test_more_random_histories(purses: tuple[Purse, Purse], seed: int) -> None:
    play(seed, purses)
