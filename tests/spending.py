"""Coins of one test key (BIP86), and signed transactions that spend them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from bitvm_bridge import secp
from bitvm_bridge.chain.mempool import COINBASE_MATURITY
from bitvm_bridge.chain.node import Node, Utxo
from bitvm_bridge.policy import P2A
from bitvm_bridge.taproot import p2tr, sighash, tap_tweak
from bitvm_bridge.transaction import SEQUENCE_RBF, Transaction, TxIn, TxOut

SECRET: Final = bytes.fromhex("07" * 32)
INTERNAL: Final = secp.xonly_public_key(SECRET)
SCRIPT: Final = p2tr(secp.tweak_public_key(INTERNAL, tap_tweak(INTERNAL))[0])
ANCHOR: Final = TxOut(0, P2A)
FEE: Final = 1_000


def spend(
    coins: Sequence[Utxo],
    outputs: Sequence[TxOut],
    *,
    version: int = 2,
    lock_time: int = 0,
    sequence: int = SEQUENCE_RBF,
) -> Transaction:
    """A transaction with every input of the test key signed (key path)."""
    inputs = tuple(TxIn(coin.outpoint, sequence) for coin in coins)
    tx = Transaction(version, inputs, tuple(outputs), lock_time)
    spent = [coin.output for coin in coins]
    secret = secp.tweak_secret_key(SECRET, tap_tweak(INTERNAL))
    for index, output in enumerate(spent):
        if output.script_pubkey == SCRIPT:
            tx = tx.with_witness(index, (secp.sign(secret, sighash(tx, index, spent), bytes(32)),))
    return tx


def pay(coin: Utxo, fee: int = FEE, **options: int) -> Transaction:
    """One coin back to the test key, less the fee (sat)."""
    return spend([coin], [TxOut(coin.output.amount - fee, SCRIPT)], **options)


def unconfirmed(tx: Transaction, index: int = 0) -> Utxo:
    """An output as a coin before it is in a block."""
    return Utxo(tx.outpoint(index), tx.outputs[index], height=0)


def anchored(coin: Utxo, fee: int = 0) -> Transaction:
    """A version 3 parent with an anchor as output 1."""
    return spend([coin], [TxOut(coin.output.amount - fee, SCRIPT), ANCHOR], version=3)


def bump(parent: Transaction, coin: Utxo, fee: int = FEE, version: int = 3) -> Transaction:
    """A child that spends the parent's anchor and pays the fee from `coin`."""
    output = TxOut(coin.output.amount - fee, SCRIPT)
    return spend([coin, unconfirmed(parent, 1)], [output], version=version)


@dataclass
class Purse:
    """Mature coins of the test key on a node, each handed out once."""

    node: Node
    coins: list[Utxo] = field(default_factory=list)

    def take(self) -> Utxo:
        """The next coin; mines what it takes to have one."""
        if not self.coins:
            self.node.mine(COINBASE_MATURITY + 20, SCRIPT)
            height = self.node.height() + 1 - COINBASE_MATURITY
            self.coins = [coin for coin in self.node.scan(SCRIPT) if coin.height <= height and coin.coinbase]
        return self.coins.pop()
