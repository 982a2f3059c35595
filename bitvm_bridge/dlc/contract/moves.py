"""What each of the three sends, signed and paid for."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bitvm_bridge import taproot
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.dispute.disprove import Proof
from bitvm_bridge.dlc.contract.connectors import stake_outputs
from bitvm_bridge.dlc.contract.contract import Agreement, Contract, OracleSide, stake_claim
from bitvm_bridge.dlc.contract.program import result
from bitvm_bridge.dlc.contract.signing import Bundle, label
from bitvm_bridge.dlc.contract.terms import RESULT_BITS, Terms
from bitvm_bridge.dlc.oracle import Attestation
from bitvm_bridge.dlc.payouts import settled_by
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.graph import GraphTx
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.protocol import Party, wallet_script
from bitvm_bridge.setup import split_bundles
from bitvm_bridge.signing import adaptor
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet
from scripts_tapleaf import winternitz


@dataclass(frozen=True)
class OracleKeys:
    """What an oracle signs a contract with: the key that announced, its key in the contract, and the one-time seed."""

    announcing: SecretKey
    contract: SecretKey
    one_time_seed: bytes

    def one_time_keys(self, agreement: Agreement) -> tuple[winternitz.PublicKey, ...]:
        """The Winternitz public key of every value that the computation commits to."""
        return tuple(
            winternitz.public_key(winternitz.derive_secret(self.one_time_seed, agreement.id, slot, value.bits))
            for slot, value in enumerate(agreement.terms.spec.values)
        )


def stake(wallet: Wallet, agreement: Agreement, identity: bytes, keys: OracleKeys) -> tuple[Prepared, Contract]:
    """OracleStake, and the contract that it makes whole. Raises BadInput for an event that the oracle did not announce.

    Nothing is locked before it is sent, and it is to be sent when all signatures are there.
    """
    if keys.announcing.xonly != agreement.terms.announcement.key:
        raise BadInput("oracle key", keys.announcing.xonly, "the one that announced the event")
    one_time = keys.one_time_keys(agreement)
    trio = Committee((*agreement.pair.members, (Party.ORACLE, keys.contract.public))).key
    outputs = stake_outputs(agreement.terms, trio, split_bundles(one_time))
    funded = wallet.pay([TxOut(output.amount, output.script_pubkey) for output in outputs])
    outpoint = funded.tx.outpoint(0)
    proof = keys.announcing.sign(stake_claim(agreement.id, keys.contract.public, outpoint))
    payout = wallet_script(wallet.key.xonly)
    side = OracleSide(identity, keys.contract.public, payout, outpoint, one_time, proof)
    return Prepared("OracleStake", funded), Contract(agreement, side)


def funding_signatures(agreement: Agreement, key: SecretKey) -> dict[int, bytes]:
    """A party's signature (64 bytes) of each of its inputs of Funding, by position: its coins are all of this key.

    Raises BadInput where it has no coin in it.
    """
    spent = agreement.funding_spent
    own = wallet_script(key.xonly)
    found = {
        index: key.sign_key_path(taproot.sighash(agreement.funding, index, spent))
        for index, output in enumerate(spent)
        if output.script_pubkey == own
    }
    if not found:
        raise BadInput("wallet key", key.xonly, "the key of coins that the contract names")
    return found


def funding(agreement: Agreement, signatures: Mapping[int, bytes], reopened: Transaction | None = None) -> Prepared:
    """Funding, with the signatures of both parties' coins.

    `reopened` is the same transaction with the inputs of another contract signed (`closing.Closing.witnessed`), where
    it ends one. Raises VerificationFailed where a signature is missing or wrong.
    """
    tx, spent = agreement.funding, agreement.funding_spent
    joint = len(agreement.reopens.inputs) if agreement.reopens else 0
    for index in range(len(spent)):
        witness: tuple[bytes, ...] = (signatures.get(index, b""),)
        if index < joint:
            witness = reopened.inputs[index].witness if reopened is not None else ()
        tx = tx.with_witness(index, witness)
    for index, output in enumerate(spent):
        if not verify_input(tx, index, spent):
            raise VerificationFailed(f"Funding: the signature of input {index} ({output.amount:,} sat) is not valid")
    return Prepared("Funding", Funded(tx, tuple(spent)))


def outcome_of(terms: Terms, outcomes: Sequence[str]) -> int:
    """The outcome of the contract that these announced ones settle, counted from 0. Raises BadInput for none."""
    return settled_by(terms.outcomes, {0: outcomes})


def found_outcome(contract: Contract, values: Sequence[bytes]) -> int:
    """The outcome that a computation's values mean."""
    number = result(values)
    for index in range(len(contract.terms.outcomes)):
        first, end = contract.terms.results(index)
        if first <= number < end:
            return index
    raise BridgeError(f"result {number} of {RESULT_BITS} bits: no outcome has it")


def open_values(bundle: Bundle, outcome: int, one_time_seed: bytes, values: Sequence[bytes]) -> Assertion:
    """The one-time signatures of every value. The caller has bound them in its store first: keys sign once."""
    return asserting.sign(bundle.graphs.case(outcome), one_time_seed, values)


def oracle_sign(wallet: Wallet, bundle: Bundle, outcome: int, assertion: Assertion) -> Prepared:
    """OracleSign of an outcome, with the child that pays for it. The caller has bound the values in its store."""
    declared = bundle.graphs.of(outcome)["OracleSign"]
    case = bundle.graphs.case(outcome)
    items = {
        entry.name: (
            bundle.signature(outcome, declared, entry.name),
            *asserting.witness_items(case, assertion, index),
        )
        for index, entry in enumerate(declared.inputs)
    }
    return wallet.package("OracleSign", Funded(_with_items(declared, items), tuple(declared.spent)))


def settle(wallet: Wallet, bundle: Bundle, outcome: int, attestation: Attestation) -> Prepared:
    """Settle as attested, with the child that pays for it.

    Raises VerificationFailed for an attestation that is not the announced oracle's, or is to another outcome.
    """
    return _package(wallet, bundle, outcome, "Settle", secret_of(bundle.contract.terms, outcome, attestation))


def late_settle(wallet: Wallet, bundle: Bundle, outcome: int, secret: SecretKey) -> Prepared:
    """LateSettle with an attestation's secret, such as `revealed` finds. Raises VerificationFailed for another one."""
    return _package(wallet, bundle, outcome, "LateSettle", secret)


def release(wallet: Wallet, bundle: Bundle, outcome: int, attestation: Attestation) -> Prepared:
    """Release, which publishes the attestation's secret. Raises as `settle`."""
    return _package(wallet, bundle, outcome, "Release", secret_of(bundle.contract.terms, outcome, attestation))


def secret_of(terms: Terms, outcome: int, attestation: Attestation) -> SecretKey:
    """The secret that completes what an outcome locks. Raises VerificationFailed for an attestation that does not."""
    attestation.verify(terms.announcement, terms.hashing)
    return terms.outcomes[outcome].secret({0: attestation})


def refund(wallet: Wallet, bundle: Bundle) -> Prepared:
    """Refund, with the child that pays for it."""
    return _package(wallet, bundle, None, "Refund")


def oracle_timeout(wallet: Wallet, bundle: Bundle) -> Prepared:
    """OracleTimeout, with the child that pays for it."""
    return _package(wallet, bundle, None, "OracleTimeout")


def forfeit(wallet: Wallet, bundle: Bundle, outcome: int) -> Prepared:
    """Forfeit, with the child that pays for it."""
    return _package(wallet, bundle, outcome, "Forfeit")


def read_signed(bundle: Bundle, tx: Transaction) -> tuple[int, Assertion]:
    """Which outcome a transaction that spends the stake signs, and what it opens.

    Raises VerificationFailed for one that is no OracleSign of this contract.
    """
    for outcome in range(len(bundle.contract.terms.outcomes)):
        declared = bundle.graphs.of(outcome)["OracleSign"]
        if declared.tx.txid == tx.txid:
            keys = bundle.contract.oracle.one_time_keys
            return outcome, asserting.read_from(declared, keys, [tx])
    raise VerificationFailed(f"{tx.txid_hex}: no OracleSign of this contract")


def find_proof(bundle: Bundle, outcome: int, assertion: Assertion) -> Proof | None:
    """The proof that the oracle is wrong; None where it is right."""
    return dispute.find(bundle.graphs.case(outcome), assertion)


def disprove(wallet: Wallet, bundle: Bundle, outcome: int, proof: Proof) -> Prepared:
    """Disprove, executed by Bitcoin Core's interpreter before it is returned. Raises BridgeError where that refuses."""
    declared = bundle.graphs.of(outcome)["Disprove"]
    tx = declared.tx
    for index, entry in enumerate(declared.inputs):
        if entry.signer is None:
            witness = entry.witness(proof.items, proof.leaf)
        else:
            witness = entry.witness([bundle.signature(outcome, declared, entry.name)])
        tx = tx.with_witness(index, witness)
    funded = wallet.fund(tx, declared.spent)
    prepared = Prepared("Disprove", wallet.sign_coins(funded, len(declared.inputs)))
    dispute.execute(prepared.tx, prepared.parent.spent)
    return prepared


def revealed(bundle: Bundle, outcome: int, tx: Transaction) -> SecretKey:
    """The attestation's secret, out of a Settle, LateSettle or Release that is on the chain.

    Raises VerificationFailed for another transaction.
    """
    for name in ("Settle", "LateSettle", "Release"):
        declared = bundle.graphs.of(outcome)[name]
        if declared.tx.txid != tx.txid:
            continue
        for index, entry in enumerate(declared.inputs):
            if entry.locked and tx.inputs[index].witness:
                signed = label(outcome, declared, entry.name)
                return adaptor.extract(
                    bundle.graphs.tasks[signed].lock, bundle.signatures[signed], tx.inputs[index].witness[0]
                )
    raise VerificationFailed(f"{tx.txid_hex}: nothing in it tells the attestation to this outcome")


def _package(
    wallet: Wallet, bundle: Bundle, outcome: int | None, name: str, secret: SecretKey | None = None
) -> Prepared:
    declared = (bundle.graphs.whole if outcome is None else bundle.graphs.of(outcome))[name]
    items = {}
    for entry in declared.inputs:
        signature = bundle.signature(outcome, declared, entry.name)
        if entry.locked and secret is not None:
            task = bundle.graphs.tasks[label(outcome, declared, entry.name)]
            signature = adaptor.adapt(bundle.graphs.key(task.signers), task.lock, signature, secret)
        items[entry.name] = (signature,)
    return wallet.package(name, Funded(_with_items(declared, items), tuple(declared.spent)))


def _with_items(declared: GraphTx, items: Mapping[str, Sequence[bytes]]) -> Transaction:
    tx = declared.tx
    for index, entry in enumerate(declared.inputs):
        tx = tx.with_witness(index, entry.witness(items[entry.name]))
    return tx
