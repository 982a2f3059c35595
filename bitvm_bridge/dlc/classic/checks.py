"""What is refused before anything is signed: terms that are not safe, or not those of dlcspecs (Protocol.md)."""

from collections.abc import Iterable
from typing import Final

from bitvm_bridge import segwit
from bitvm_bridge.dlc.classic.messages import Accept, Offer
from bitvm_bridge.dlc.classic.transactions import DUST_LIMIT, FundingInput, Party
from bitvm_bridge.dlc.payouts import all_announcements, check_refund
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import MAX_MONEY
from scripts_tapleaf.hashing import hash160
from scripts_tapleaf.script import OP_CHECKSIG, OP_DUP, OP_EQUAL, OP_EQUALVERIFY, OP_HASH160, push

GENESIS: Final = {
    Network.REGTEST: bytes.fromhex("06226e46111a0b59caaf126043eb5bbf28c34f3a5e332a1fc7b2b73cf188910f"),
    Network.SIGNET: bytes.fromhex("f61eee3b63a380a477a063af32b2bbc97c9ff9f01f2c4225e973988108000000"),
}
"""Hash of the first block, internal byte order: how messages name a chain."""
TIMESTAMPS_FROM: Final = 500_000_000
"""Lock times from here on are epoch seconds, below block heights."""
MIN_WITNESS: Final = {22: 107, 34: 66}
"""bytes: the least witness of a version 0 key's output and of any 34-byte program, by script size."""
_RELATIVE_LOCK_OFF: Final = 1 << 31


def check_offer(offer: Offer, network: Network, max_fee_rate: float) -> None:
    """Everything that can be said of an offer alone. Raises BadInput with the first thing that is wrong."""
    if offer.chain_hash != GENESIS[network]:
        raise BadInput("chain hash", offer.chain_hash, f"that of {network} ({GENESIS[network].hex()})")
    if not 1 <= offer.fee_rate <= max_fee_rate:
        raise BadInput("fee rate", offer.fee_rate, f"1 to {max_fee_rate:g} sat/vB")
    total = offer.contract.total_collateral
    if not 2 * DUST_LIMIT <= total <= MAX_MONEY:
        raise BadInput("total collateral", total, f"{2 * DUST_LIMIT:,} to {MAX_MONEY:,} sat")
    if not DUST_LIMIT <= offer.party.collateral <= total:
        raise BadInput("offerer's collateral", offer.party.collateral, f"{DUST_LIMIT:,} to {total:,} sat")
    _check_lock_times(offer)
    _check_party("offerer", offer.party, offer.fee_rate)
    _check_distinct("serial ids of funding outputs", [offer.fund_serial_id, offer.party.change_serial_id])


def check_accept(offer: Offer, accept: Accept) -> None:
    """Everything that an accept message says beside its signatures. Raises BadInput."""
    if accept.temporary_id != offer.temporary_id:
        raise BadInput("temporary contract id", accept.temporary_id, f"that of the offer ({offer.temporary_id.hex()})")
    check_accepter(offer, accept.party)


def check_accepter(offer: Offer, accepter: Party) -> None:
    """The accepter's part, with the offerer's. Raises BadInput."""
    offerer = offer.party
    rest = offer.contract.total_collateral - offerer.collateral
    if accepter.collateral != rest:
        raise BadInput("accepter's collateral", accepter.collateral, f"the rest of the total, {rest:,} sat")
    if accepter.funding_key == offerer.funding_key:
        raise BadInput("accepter's funding key", accepter.funding_key, "another than the offerer's")
    _check_party("accepter", accepter, offer.fee_rate)
    inputs = offerer.inputs + accepter.inputs
    _check_distinct("funding inputs", [each.outpoint for each in inputs])
    _check_distinct("serial ids of inputs", [each.serial_id for each in inputs])
    _check_distinct("serial ids of payouts", [offerer.payout_serial_id, accepter.payout_serial_id])
    changes = [offerer.change_serial_id, accepter.change_serial_id]
    _check_distinct("serial ids of funding outputs", [offer.fund_serial_id, *changes])


def is_standard(script: bytes) -> bool:
    """Is it one of the output scripts that dlcspecs lets parties be paid to?"""
    if script == OP_DUP + OP_HASH160 + push(script[3:23]) + OP_EQUALVERIFY + OP_CHECKSIG and len(script) == 25:
        return True
    if script == OP_HASH160 + push(script[2:22]) + OP_EQUAL and len(script) == 23:
        return True
    if segwit.is_p2wpkh(script) or segwit.is_p2wsh(script):
        return True
    return 4 <= len(script) <= 42 and 0x51 <= script[0] <= 0x60 and script[1] == len(script) - 2


def _check_lock_times(offer: Offer) -> None:
    locks = (offer.cet_lock_time, offer.refund_lock_time)
    if len({lock >= TIMESTAMPS_FROM for lock in locks}) != 1:
        raise BadInput("lock times", f"{locks[0]} and {locks[1]}", "two block heights or two times")
    if locks[0] >= locks[1]:
        raise BadInput("refund lock time", locks[1], f"later than that of settlements ({locks[0]})")
    if locks[1] >= TIMESTAMPS_FROM:
        check_refund(all_announcements([event.info for event in offer.contract.events]), locks[1])


def _check_party(who: str, party: Party, fee_rate: int) -> None:
    for name, script in (("payout", party.payout_script), ("change", party.change_script)):
        if not is_standard(script):
            raise BadInput(f"{who}'s {name} script", script, "a standard output script")
    if not party.inputs:
        raise BadInput(f"{who}'s funding inputs", "none", "one or more")
    for each in party.inputs:
        _check_input(who, each)
    _check_distinct(f"{who}'s funding inputs", [each.outpoint for each in party.inputs])
    _check_distinct(f"{who}'s serial ids of inputs", [each.serial_id for each in party.inputs])
    party.change(fee_rate)


def _check_input(who: str, coin: FundingInput) -> None:
    """Only witness programs: what they sign cannot change the txid that everything else spends from."""
    script, redeem = coin.spent.script_pubkey, coin.redeem_script
    if redeem and script != OP_HASH160 + push(hash160(redeem)) + OP_EQUAL:
        raise BadInput(f"{who}'s redeem script", redeem, "the script whose hash the output pays to")
    program = coin.witness_program
    native = segwit.is_p2wpkh(program) or segwit.is_p2wsh(program)
    if not native and (redeem or not _is_taproot(program)):
        raise BadInput(
            f"{who}'s funding input", script, "a P2WPKH, P2WSH or P2TR output, the first two perhaps in P2SH"
        )
    least = MIN_WITNESS[len(program)]
    if coin.max_witness_size < least and not segwit.is_p2wsh(program):
        raise BadInput(f"{who}'s witness size", coin.max_witness_size, f"at least {least}, for the fee to suffice")
    if not coin.sequence & _RELATIVE_LOCK_OFF:
        raise BadInput(f"{who}'s sequence", coin.sequence, "one without a relative lock time")


def _is_taproot(script: bytes) -> bool:
    return len(script) == 34 and script[:2] == b"\x51\x20"


def _check_distinct(field: str, values: Iterable[object]) -> None:
    listed = list(values)
    if len(set(listed)) != len(listed):
        raise BadInput(field, ", ".join(map(str, listed)), "all different")
