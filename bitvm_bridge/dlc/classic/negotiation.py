"""From an offer to a funding transaction: what each side makes of the other's message, and refuses of it.

Nothing is signed before everything that came from the other side has been checked.
"""

from collections.abc import Sequence
from typing import Final

from bitvm_bridge import secp, segwit, taproot
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.dlc.classic.checks import check_accept, check_accepter, check_offer
from bitvm_bridge.dlc.classic.contract import Contract, Reading, agreed, confirmed
from bitvm_bridge.dlc.classic.messages import PROTOCOL_VERSION, Accept, Offer, Sign
from bitvm_bridge.dlc.classic.transactions import FundingInput, Party, Terms
from bitvm_bridge.dlc.oracle import Hashing
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.transaction import Transaction

P2WPKH_WITNESS: Final = 107
"""bytes: the largest witness of such a coin, with a low r."""
P2TR_WITNESS: Final = 66
"""bytes: a signature of type DEFAULT alone."""


def accept_offer(
    offer: Offer,
    party: Party,
    key: SecretKey,
    network: Network,
    max_fee_rate: float,
    reading: Reading,
    workers: int | None = None,
) -> Accept:
    """Agree to an offer: every closing signature of the accepter, whose funding key is `key`.

    Raises BadInput or VerificationFailed for an offer that is not safe to sign.
    """
    check_offer(offer, network, max_fee_rate)
    check_accepter(offer, party)
    if party.funding_key != key.public:
        raise BadInput("funding key", key.public, "the one of the accepter's part")
    contract = Contract(offer, party, reading)
    for announcement in contract.announcements:
        announcement.verify(reading.hashing)
    signatures = contract.adaptor_signatures(key, workers)
    return Accept(PROTOCOL_VERSION, offer.temporary_id, party, signatures, contract.refund_signature(key))


def sign_accepted(
    offer: Offer,
    accept: Accept,
    key: SecretKey,
    coin_key: SecretKey,
    network: Network,
    max_fee_rate: float,
    hashing: Hashing,
    workers: int | None = None,
) -> tuple[Contract, Sign]:
    """The offerer's last word: its closing signatures, and those of its coins, which are of `coin_key`.

    Raises BadInput or VerificationFailed for an accept message that is not safe to sign.
    """
    check_offer(offer, network, max_fee_rate)
    check_accept(offer, accept)
    if offer.party.funding_key != key.public:
        raise BadInput("funding key", key.public, "the one of the offer")
    contract = agreed(offer, accept, hashing, workers)
    witnesses = tuple(funding_witness(contract.terms, each, coin_key) for each in _in_order(offer.party))
    signatures = contract.adaptor_signatures(key, workers)
    refund = contract.refund_signature(key)
    return contract, Sign(PROTOCOL_VERSION, contract.id, signatures, refund, witnesses)


def complete(
    offer: Offer, accept: Accept, sign: Sign, coin_key: SecretKey, hashing: Hashing, workers: int | None = None
) -> tuple[Contract, Transaction]:
    """The funding transaction with all witnesses, made by the accepter once everything of the offerer's verifies.

    Raises VerificationFailed where a signature does not, BadInput for a coin that is not of `coin_key`.
    """
    contract = confirmed(offer, accept, sign, hashing, workers)
    terms = contract.terms
    tx = check_funding_signatures(terms, offer.party, sign.witnesses)
    for each in accept.party.inputs:
        tx = tx.with_witness(terms.inputs.index(each), funding_witness(terms, each, coin_key))
    return contract, tx


def check_funding_signatures(terms: Terms, offerer: Party, witnesses: Sequence[tuple[bytes, ...]]) -> Transaction:
    """The funding transaction with the offerer's witnesses, each judged by Core's consensus.

    Raises VerificationFailed where one is missing, larger than was announced, or not valid.
    """
    if len(witnesses) != len(offerer.inputs):
        raise VerificationFailed(f"funding signatures: {len(witnesses)} for {len(offerer.inputs)} inputs")
    spent = [each.spent for each in terms.inputs]
    tx = terms.funding
    for each, witness in zip(_in_order(offerer), witnesses, strict=True):
        index = terms.inputs.index(each)
        tx = tx.with_witness(index, witness)
        if len(tx.inputs[index].serialize_witness()) > each.max_witness_size:
            raise VerificationFailed(f"funding input {each.outpoint}: its witness is larger than was announced")
        if not verify_input(tx, index, spent):
            raise VerificationFailed(f"funding input {each.outpoint}: its witness is not valid")
    return tx


def funding_witness(terms: Terms, coin: FundingInput, key: SecretKey) -> tuple[bytes, ...]:
    """What spends a coin of a key: P2WPKH, bare or in P2SH, or the key's own wallet script (BIP86).

    Raises BadInput for a coin of anything else.
    """
    index, program = terms.inputs.index(coin), coin.witness_program
    if program == segwit.p2wpkh(key.public):
        digest = segwit.sighash_all(terms.funding, index, segwit.p2wpkh_script_code(program), coin.spent.amount)
        return secp.ecdsa_der(secp.ecdsa_sign(key.reveal(), digest)) + bytes([segwit.SIGHASH_ALL]), key.public
    if program == wallet_script(key.xonly):
        spent = [each.spent for each in terms.inputs]
        return (key.sign_key_path(taproot.sighash(terms.funding, index, spent)),)
    raise BadInput("funding input", coin.outpoint, "a coin of this key")


def _in_order(party: Party) -> list[FundingInput]:
    return sorted(party.inputs, key=lambda each: each.serial_id)
