"""The challenger, who may be anyone: open the game, and slash a false or a silent claim."""

from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.dispute.disprove import Proof
from bitvm_bridge.roles import presigned
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.wallet import Prepared, Wallet


def challenge(wallet: Wallet, bundle: Bundle) -> Prepared:
    """Challenge: the operator's signature from the bundle, the wallet's coins for the payment."""
    declared = bundle.setup.graph["Challenge"]
    funded = wallet.fund(presigned.signed(bundle, declared), declared.spent)
    return Prepared("Challenge", wallet.sign_coins(funded, len(declared.inputs)))


def assert_timeout(wallet: Wallet, bundle: Bundle, index: int) -> Prepared:
    """AssertTimeout of one assert connector."""
    return presigned.slash(wallet, bundle, f"AssertTimeout_{index}")


def forfeit(wallet: Wallet, bundle: Bundle) -> Prepared:
    """Forfeit: the bond of a claim that never ended."""
    return presigned.slash(wallet, bundle, "Forfeit")


def disprove(wallet: Wallet, bundle: Bundle, proof: Proof) -> Prepared:
    """Disprove, executed by Bitcoin Core's interpreter before it is returned. Raises BridgeError where that refuses."""
    prepared = presigned.slash(wallet, bundle, "Disprove", _revealed(proof))
    dispute.execute(prepared.tx, prepared.parent.spent)
    return prepared


def disprove_offline(reward: bytes, fee_rate: float, bundle: Bundle, proof: Proof) -> Prepared:
    """The same without a node: the reward goes to this script, less the fee (sat/vB). Raises BridgeError."""
    prepared = presigned.slash_offline(reward, fee_rate, bundle, "Disprove", _revealed(proof))
    dispute.execute(prepared.tx, prepared.parent.spent)
    return prepared


def _revealed(proof: Proof) -> presigned.Items:
    return {"disprove": (proof.items, proof.leaf)}
