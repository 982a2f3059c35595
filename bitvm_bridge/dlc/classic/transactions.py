"""Funding, contract execution and refund transactions, to the byte (dlcspecs Transactions.md)."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from bitvm_bridge.dlc.classic.fees import closing_fee, funding_fee, input_weight
from bitvm_bridge.errors import BadInput
from bitvm_bridge.segwit import p2wsh, sighash_all
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn, TxOut
from scripts_tapleaf.script import OP_2, OP_CHECKMULTISIG, push

DUST_LIMIT: Final = 1_000
"""sat: an output below this is not made."""
CLOSING_SEQUENCE: Final = 0xFFFFFFFE
"""Lock times count, and nothing can be replaced."""
VERSION: Final = 2


@dataclass(frozen=True)
class FundingInput:
    """A coin that a party puts in, with the transaction that made it; `max_witness_size` in bytes."""

    serial_id: int
    previous: bytes
    vout: int
    sequence: int
    max_witness_size: int
    redeem_script: bytes = b""

    @cached_property
    def _previous(self) -> Transaction:
        return Transaction.parse(self.previous, "previous transaction of a funding input")

    @property
    def outpoint(self) -> OutPoint:
        """Raises BadInput where the previous transaction is none."""
        return self._previous.outpoint(self.vout)

    @property
    def spent(self) -> TxOut:
        """The output that is spent. Raises BadInput where there is no such output."""
        outputs = self._previous.outputs
        if self.vout >= len(outputs):
            raise BadInput("output of a funding input", self.vout, f"below {len(outputs)}, the outputs there are")
        return outputs[self.vout]

    @property
    def witness_program(self) -> bytes:
        """The program that the witness satisfies: the redeem script, where the output pays to its hash."""
        return self.redeem_script or self.spent.script_pubkey

    def unsigned(self) -> TxIn:
        """The input without a witness."""
        return TxIn(self.outpoint, self.sequence, push(self.redeem_script) if self.redeem_script else b"")


@dataclass(frozen=True)
class Party:
    """What one party brings and where it is paid; `collateral` in sat, `funding_key` 33 bytes."""

    funding_key: bytes
    payout_script: bytes
    payout_serial_id: int
    collateral: int
    inputs: tuple[FundingInput, ...]
    change_script: bytes
    change_serial_id: int

    def closing_fee(self, fee_rate: int) -> int:
        """sat: its part of the fee of a closing transaction, at sat/vB."""
        return closing_fee(len(self.payout_script), fee_rate)

    def funding_fee(self, fee_rate: int) -> int:
        """sat: its part of the fee of the funding transaction, at sat/vB."""
        weights = (input_weight(len(each.redeem_script), each.max_witness_size) for each in self.inputs)
        return funding_fee(weights, len(self.change_script), fee_rate)

    @property
    def brought(self) -> int:
        """sat of its inputs."""
        return sum(each.spent.amount for each in self.inputs)

    def needed(self, fee_rate: int) -> int:
        """sat that its inputs must bring: collateral, both fees and the least change."""
        return self.collateral + self.closing_fee(fee_rate) + self.funding_fee(fee_rate) + DUST_LIMIT

    def change(self, fee_rate: int) -> int:
        """sat that come back to it: its inputs less collateral and both fees. Raises BadInput below the dust limit."""
        brought, needed = self.brought, self.needed(fee_rate)
        if brought < needed:
            raise BadInput(
                "funding inputs", f"{brought:,} sat", f"enough: collateral, fees and change take {needed:,} sat"
            )
        return brought - needed + DUST_LIMIT


@dataclass(frozen=True)
class Terms:
    """Everything that fixes the transactions of a contract but its payouts; `fee_rate` in sat/vB."""

    offerer: Party
    accepter: Party
    fee_rate: int
    fund_serial_id: int
    cet_lock_time: int
    refund_lock_time: int

    @property
    def total_collateral(self) -> int:
        """sat."""
        return self.offerer.collateral + self.accepter.collateral

    @property
    def inputs(self) -> tuple[FundingInput, ...]:
        """Of both parties, in the order of the funding transaction."""
        return tuple(sorted(self.offerer.inputs + self.accepter.inputs, key=lambda each: each.serial_id))

    @property
    def funding_script(self) -> bytes:
        """The witness script of the funding output: 2-of-2 with sorted keys (BIP67), 71 bytes."""
        first, second = sorted((self.offerer.funding_key, self.accepter.funding_key))
        return OP_2 + push(first) + push(second) + OP_2 + OP_CHECKMULTISIG

    @property
    def funding_output(self) -> TxOut:
        """Both collaterals, and both parts of the closing fee."""
        fees = sum(party.closing_fee(self.fee_rate) for party in (self.offerer, self.accepter))
        return TxOut(self.total_collateral + fees, p2wsh(self.funding_script))

    @cached_property
    def funding(self) -> Transaction:
        """The funding transaction, unsigned; inputs and outputs in the order of their serial ids.

        Raises BadInput where a party's inputs do not suffice.
        """
        outputs = [(self.fund_serial_id, self.funding_output)]
        for party in (self.offerer, self.accepter):
            outputs.append((party.change_serial_id, TxOut(party.change(self.fee_rate), party.change_script)))
        ordered = sorted(outputs, key=lambda each: each[0])
        inputs = tuple(each.unsigned() for each in self.inputs)
        return Transaction(VERSION, inputs, tuple(output for _, output in ordered))

    @property
    def funding_index(self) -> int:
        """Which output of the funding transaction is the contract's."""
        return self.funding.outputs.index(self.funding_output)

    def cet(self, offerer_payout: int, lock_time: int | None = None) -> Transaction:
        """The contract execution transaction that pays the offerer so many sat, unsigned; outputs by serial id.

        `lock_time` defaults to that of the terms. Raises BadInput for more than there is.
        """
        if not 0 <= offerer_payout <= self.total_collateral:
            raise BadInput("payout", offerer_payout, f"from 0 to the collateral of {self.total_collateral:,} sat")
        payouts = [
            (self.offerer.payout_serial_id, TxOut(offerer_payout, self.offerer.payout_script)),
            (
                self.accepter.payout_serial_id,
                TxOut(self.total_collateral - offerer_payout, self.accepter.payout_script),
            ),
        ]
        ordered = (output for _, output in sorted(payouts, key=lambda each: each[0]))
        return self._closing(ordered, self.cet_lock_time if lock_time is None else lock_time)

    @cached_property
    def refund(self) -> Transaction:
        """The refund, unsigned: to each its collateral, the offerer first whatever the serial ids say.

        The specification sorts it like a CET; every implementation, and every public vector, has it in this order.
        """
        parties = (self.offerer, self.accepter)
        return self._closing((TxOut(each.collateral, each.payout_script) for each in parties), self.refund_lock_time)

    def _closing(self, outputs: Iterable[TxOut], lock_time: int) -> Transaction:
        txin = TxIn(self.funding.outpoint(self.funding_index), CLOSING_SEQUENCE)
        kept = tuple(output for output in outputs if output.amount >= DUST_LIMIT)
        return Transaction(VERSION, (txin,), kept, lock_time)

    def closing_digest(self, tx: Transaction) -> bytes:
        """What both parties sign of a closing transaction (BIP143, ALL)."""
        return sighash_all(tx, 0, self.funding_script, self.funding_output.amount)

    def contract_id(self, temporary_id: bytes) -> bytes:
        """32 bytes: see `contract_id`."""
        return contract_id(self.funding.txid, self.funding_index, temporary_id)


def contract_id(txid: bytes, index: int, temporary_id: bytes) -> bytes:
    """The funding txid (as explorers show it), its output index in the last two bytes, and the temporary id, XORed."""
    number = int.from_bytes(txid[::-1], "big") ^ index ^ int.from_bytes(temporary_id, "big")
    return number.to_bytes(32, "big")
