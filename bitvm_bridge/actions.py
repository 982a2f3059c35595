"""What commands and the watcher do alike: open a wallet for a transaction, judge it, send it, answer with values."""

from bitvm_bridge import keyring, policy, records
from bitvm_bridge.chain.node import Node, Verdict
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BridgeError, NodeRejected, VerificationFailed
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Network
from bitvm_bridge.program import Program
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared, Wallet


def open_wallet(store: Store, node: Node, role: Role, name: str, fee_rate: float, owner: bytes, what: str) -> Wallet:
    """The wallet of a named key at a rate (sat/vB), to make the transaction `what` of a deposit or instance.

    Coins that the store has set aside for anything else are left alone.
    """
    reserved = records.reserved_for_others(store, owner, what)
    return Wallet(keyring.wallet_key(store, role, name), node, fee_rate, reserved)


def judge(prepared: Prepared, node: Node) -> Verdict:
    """The node's verdict; where no node relays the transaction, whether it can be mined here."""
    if prepared.relayable:
        return prepared.test(node)
    heavy = f"{prepared.tx.weight:,} WU is above the relay limit of {policy.MAX_STANDARD_WEIGHT:,}"
    if node.network is not Network.REGTEST:
        return Verdict(False, f"{heavy}; write it with --out and hand it to a miner")
    if any(node.output(txin.outpoint) is None for txin in prepared.tx.inputs):
        return Verdict(False, "bad-txns-inputs-missingorspent")
    return Verdict(True, f"{heavy}; --broadcast mines it on regtest")


def judge_by_rules(prepared: Prepared) -> Verdict:
    """The verdict on a transaction of final size that still lacks signatures: policy alone, no script is run."""
    if prepared.child is None:
        broken = policy.check(prepared.tx, prepared.parent.spent)
    else:
        broken = policy.check_package(prepared.tx, prepared.parent.spent, prepared.child.tx, prepared.child.spent)
    return Verdict(not broken, "; ".join(broken))


def refuse_unsendable(prepared: Prepared, node: Node, verdict: Verdict) -> None:
    """Raises NodeRejected where the node refuses, or BridgeError where only a miner could take the transaction."""
    if not verdict.allowed:
        is_for_miners = not prepared.relayable and node.network is not Network.REGTEST
        raise (BridgeError if is_for_miners else NodeRejected)(f"{prepared.name}: {verdict.reason}")


def send(prepared: Prepared, node: Node) -> None:
    """Broadcast it; what is too heavy to relay is mined directly on regtest. Raises NodeRejected."""
    if prepared.relayable:
        prepared.send(node)
    else:
        node.mine_transactions(prepared.transactions)


def honest_values(program: Program, document: bytes | None) -> tuple[bytes, ...]:
    """What an honest operator commits to, from what it hands in.

    Raises BadInput for what is no input of the program, VerificationFailed for a proof that does not verify.
    """
    run = program.run(program.read_input(document))
    if run.failed is not None:
        raise VerificationFailed(f"the proof does not verify: {run.reason}")
    return run.values


def read_assertion(setup: InstanceSetup, node: Node) -> Assertion:
    """The assertion from the confirmed transactions that spend the assert connectors.

    Raises BridgeError while one of them is unspent, VerificationFailed for what is no assertion.
    """
    spends = [node.spender(entry.source.outpoint) for entry in setup.graph["Assert"].inputs]
    if None in spends:
        raise BridgeError(f"instance {setup.id.hex()[:12]}: the operator has not asserted everything yet")
    return asserting.read(setup, [found[0] for found in spends if found is not None])
