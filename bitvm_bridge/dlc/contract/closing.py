"""What the signers of a contract do with its money by agreement: close it, or fund another contract from it.

The collateral needs both parties. A stake that is on the chain and has signed nothing goes back to its oracle in the
same transaction, which the oracle signs, too. Without the oracle the parties can close; it then signs what happened
and takes its bond back (`Release`).

With a `point` the parties' signature is a pre-signature: whoever knows the point's secret completes it, and so tells
the secret. Two contracts that change hands under one point change hands both or neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bitvm_bridge import secp, taproot
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.dlc.contract.contract import Agreement, Coin, Contract
from bitvm_bridge.dlc.contract.signing import ContractGraphs, ContractScheme, Task
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.graph import ANCHOR, GraphInput
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import DUST
from bitvm_bridge.protocol import Party
from bitvm_bridge.signing import adaptor
from bitvm_bridge.signing.musig import NonceGuard
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import SEQUENCE_RBF, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet

COLLATERAL: Final = "Close.collateral"


@dataclass(frozen=True)
class Closing:
    """A transaction, unsigned, whose first inputs are a contract's; `spent` has the output of each of its inputs.

    `point` (33 bytes) locks the parties' signature, where there is one.
    """

    graphs: ContractGraphs
    tx: Transaction
    spent: tuple[TxOut, ...]
    with_stake: bool
    point: bytes | None = None

    def __post_init__(self) -> None:
        """Raises BadInput where it spends something else, or pays out more than it brings."""
        expected = [coin.outpoint for coin in inputs_of(self.graphs, self.with_stake)]
        if [txin.outpoint for txin in self.tx.inputs[: len(expected)]] != expected:
            raise BadInput("closing", self.tx.txid_hex, "a transaction that spends the contract first")
        if sum(output.amount for output in self.spent) < sum(output.amount for output in self.tx.outputs):
            raise BadInput("closing", self.tx.txid_hex, "a transaction that pays out no more than it takes in")
        if self.point is not None and not secp.is_point(self.point):
            raise BadInput("adaptor point", self.point, "a compressed public key (33 bytes)")

    @property
    def id(self) -> bytes:
        """32 bytes by which its signers speak of it."""
        return taproot.tagged_hash("BitVMBridge/closing", self.tx.txid, self.point or b"")

    @cached_property
    def entries(self) -> list[GraphInput]:
        """The contract's inputs of it, in order."""
        source, mode = self.graphs.whole.source, SigHash.DEFAULT
        found = [GraphInput("collateral", source("Funding.collateral"), "pair", Party.PAIR, mode)]
        if self.with_stake:
            found += [
                GraphInput(f"stake_{index}", source(f"OracleStake.stake_{index}"), "timeout", Party.TRIO, mode)
                for index in range(len(self.graphs.contract.bundles))
            ]
        return found

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Label → signature that it needs."""
        return {
            f"Close.{entry.name}": Task(
                entry.signer or Party.PAIR,
                self._digest(index, entry),
                self.point if entry.signer is Party.PAIR else None,
            )
            for index, entry in enumerate(self.entries)
        }

    def _digest(self, index: int, entry: GraphInput) -> bytes:
        connector = entry.source.connector
        leaf = None if connector is None or connector.key is not None else connector.tree.leaf_hash(entry.leaf)
        return taproot.sighash(self.tx, index, self.spent, entry.sighash, leaf)

    def witnessed(self, signatures: Mapping[str, bytes], secret: SecretKey | None = None) -> Transaction:
        """With the contract's inputs signed: `secret` completes what the point locks. Raises VerificationFailed."""
        tx = self.tx
        for index, entry in enumerate(self.entries):
            name = f"Close.{entry.name}"
            if name not in signatures:
                raise VerificationFailed(f"{name}: the signature is missing")
            signature, task = signatures[name], self.tasks[name]
            if task.point is not None:
                if secret is None:
                    raise BadInput("secret", "none", "that of the point which locks it")
                signature = adaptor.adapt(self.graphs.key(task.signers), task.lock, signature, secret)
            tx = tx.with_witness(index, entry.witness([signature]))
            if not verify_input(tx, index, self.spent):
                raise VerificationFailed(f"{name}: the signature does not verify")
        return tx

    def prepared(self, wallet: Wallet, signatures: Mapping[str, bytes], secret: SecretKey | None = None) -> Prepared:
        """A close, with the child that pays for it. Raises VerificationFailed."""
        return wallet.package("Close", Funded(self.witnessed(signatures, secret), self.spent))

    def revealed(self, signatures: Mapping[str, bytes], tx: Transaction) -> SecretKey:
        """The point's secret, from the transaction on the chain. Raises VerificationFailed for another one."""
        task = self.tasks[COLLATERAL]
        if task.point is None or tx.txid != self.tx.txid or not tx.inputs[0].witness:
            raise VerificationFailed(f"{tx.txid_hex}: nothing in it tells a secret")
        return adaptor.extract(task.lock, signatures[COLLATERAL], tx.inputs[0].witness[0])


def inputs_of(graphs: ContractGraphs, with_stake: bool) -> tuple[Coin, ...]:
    """What a contract brings: its collateral, and its stake."""
    sources = [graphs.whole.source("Funding.collateral")]
    if with_stake:
        stakes = range(len(graphs.contract.bundles))
        sources += [graphs.whole.source(f"OracleStake.stake_{index}") for index in stakes]
    return tuple(Coin(source.outpoint, source.output) for source in sources)


def close(
    graphs: ContractGraphs, offerer: int, with_stake: bool, oracle: int = 0, point: bytes | None = None
) -> Closing:
    """Pay the offerer so many sat, the oracle its stake and `oracle` sat more, the accepter the rest.

    Whoever is paid less than dust has no output, and the accepter what that would be. Raises BadInput.
    """
    contract = graphs.contract
    inputs = inputs_of(graphs, with_stake)
    stake = sum(coin.output.amount for coin in inputs[1:])
    rest = inputs[0].output.amount - offerer - oracle
    if min(offerer, oracle, rest) < 0:
        raise BadInput("payout", f"{offerer:,} + {oracle:,} sat", f"at most {inputs[0].output.amount:,} sat together")
    if oracle and not with_stake:
        raise BadInput("payout of the oracle", oracle, "given where it takes part")
    agreement = contract.agreement
    shares = (
        TxOut(offerer, agreement.offerer.payout),
        TxOut(stake + oracle, contract.oracle.payout),
        TxOut(rest, agreement.accepter.payout),
    )
    dropped = sum(share.amount for share in shares if 0 < share.amount < DUST)
    paid = [share for share in shares if share.amount >= DUST]
    if not paid:
        raise BadInput("payout", "nothing", f"at least {DUST} sat to somebody")
    paid[-1] = TxOut(paid[-1].amount + dropped, paid[-1].script_pubkey)
    txins = tuple(TxIn(coin.outpoint, SEQUENCE_RBF) for coin in inputs)
    tx = Transaction(3, txins, (*paid, ANCHOR))
    return Closing(graphs, tx, tuple(coin.output for coin in inputs), with_stake, point)


def reopen(graphs: ContractGraphs, successor: Agreement, point: bytes | None = None) -> Closing:
    """The old contract's side of the funding of a new one: a splice, or a transfer of a party's position.

    Raises BadInput where the new agreement reopens another contract.
    """
    if successor.reopens is None:
        raise BadInput("successor", successor.id, "a contract that reopens another")
    joint = successor.reopens.inputs
    for with_stake in (False, True):
        if joint == inputs_of(graphs, with_stake):
            return Closing(graphs, successor.funding, successor.funding_spent, with_stake, point)
    raise BadInput("successor", successor.id, f"one that reopens contract {graphs.contract.id.hex()[:12]}")


def sign_together(closing: Closing, keys: Mapping[str, SecretKey], guard: NonceGuard) -> dict[str, bytes]:
    """Both rounds with all signers in this process: signatures by label. Raises VerificationFailed."""
    scheme = scheme_of(closing)
    names = signers_of(closing)
    committee = closing.graphs.contract.trio
    signers = {name: scheme.signer(committee, name, keys[name], guard) for name in names}
    nonces = {name: signer.nonces(scheme.digests) for name, signer in signers.items()}
    partials = {name: signer.sign(scheme.digests, nonces) for name, signer in signers.items()}
    for name in names:
        scheme.check_partials(committee, name, scheme.digests, nonces, partials[name])
    return scheme.combine(committee, scheme.digests, nonces, partials)


def scheme_of(closing: Closing) -> ContractScheme:
    """The session in which it is signed."""
    return ContractScheme(closing.graphs.contract, closing.tasks)


def signers_of(closing: Closing) -> Sequence[str]:
    """Who signs it: both parties, and the oracle where its stake goes back."""
    contract: Contract = closing.graphs.contract
    return contract.trio.names if closing.with_stake else contract.pair.names
