"""The withdrawer: half of a PegOut, signed so that whoever pays the output may complete it.

The payout gives the withdrawer its coin back on top of the amount that it asked for, so any coin will do.
"""

from dataclasses import dataclass
from typing import Final

from bitvm_bridge import external, psbt, secp
from bitvm_bridge.chain.node import Utxo
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import ExternalKey, SecretKey
from bitvm_bridge.params import DUST
from bitvm_bridge.psbt import Psbt
from bitvm_bridge.taproot import SigHash, sighash
from bitvm_bridge.transaction import (
    MAX_MONEY,
    SEQUENCE_RBF,
    Malformed,
    OutPoint,
    Reader,
    Transaction,
    TxIn,
    TxOut,
)
from bitvm_bridge.wallet import Funded

PSBT_FIELD: Final = "withdrawal PSBT"


@dataclass(frozen=True)
class Withdrawal:
    """One input and one output under a `SINGLE|ANYONECANPAY` signature: pay `payout`, and `coin` is yours to spend."""

    coin: OutPoint
    spent: TxOut
    payout: TxOut
    signature: bytes

    def __post_init__(self) -> None:
        check_amount(self.amount)
        output_key = self.spent.script_pubkey[2:]
        if len(self.spent.script_pubkey) != 34 or self.spent.script_pubkey[:2] != b"\x51\x20":
            raise BadInput("withdrawal coin", self.spent.script_pubkey, "a P2TR output")
        if not secp.verify(output_key, _digest(self.coin, self.spent, self.payout), self.signature):
            raise BadInput("withdrawal signature", self.signature, "a SINGLE|ANYONECANPAY signature of this payout")

    @property
    def amount(self) -> int:
        """sat that whoever completes it pays, the fee aside."""
        return self.payout.amount - self.spent.amount

    @property
    def txin(self) -> TxIn:
        """The signed input."""
        return TxIn(self.coin, SEQUENCE_RBF, witness=(SigHash.SINGLE_ANYONECANPAY.append_to(self.signature),))

    def to_psbt(self) -> str:
        """As a PSBT (BIP174, BIP371) in base64."""
        signature = SigHash.SINGLE_ANYONECANPAY.append_to(self.signature)
        fields = {
            psbt.WITNESS_UTXO: self.spent.serialize(),
            psbt.SIGHASH_TYPE: int(SigHash.SINGLE_ANYONECANPAY).to_bytes(4, "little"),
            psbt.TAP_KEY_SIG: signature,
        }
        return Psbt(_half(self.coin, self.payout), (fields,), ({},)).to_base64()

    @classmethod
    def from_psbt(cls, text: str) -> "Withdrawal":
        """Inverse of `to_psbt`, finalised or not, of version 2 too. Raises BadInput for anything else."""
        found = Psbt.parse(text.encode(), PSBT_FIELD)
        tx = found.tx
        if len(tx.inputs) != 1 or len(tx.outputs) != 1:
            shape = f"{len(tx.inputs)} inputs, {len(tx.outputs)} outputs"
            raise BadInput(PSBT_FIELD, shape, "one input and one output")
        if tx.inputs[0].sequence != SEQUENCE_RBF or tx.lock_time:
            raise BadInput(PSBT_FIELD, text, f"sequence {SEQUENCE_RBF:#x} and no lock time")
        try:
            spent = Reader(found.inputs[0].get(psbt.WITNESS_UTXO, b"")).txout()
            final = psbt.read_witness(found.inputs[0].get(psbt.FINAL_WITNESS, b"\x00"))
        except Malformed:
            raise BadInput(PSBT_FIELD, text, "one with a witness UTXO and a taproot key signature") from None
        signature = found.inputs[0].get(psbt.TAP_KEY_SIG) or (final[0] if len(final) == 1 else b"")
        if len(signature) != 65 or signature[-1] != SigHash.SINGLE_ANYONECANPAY or tx.version != 2:
            raise BadInput(PSBT_FIELD, text, "a version 2 transaction signed SINGLE|ANYONECANPAY")
        return cls(tx.inputs[0].outpoint, spent, tx.outputs[0], signature[:64])


def request(key: SecretKey, coin: Utxo, amount: int, script_pubkey: bytes) -> Withdrawal:
    """Sign a coin of the withdrawer's wallet over to whoever pays `amount` (sat) more than it to a script."""
    check_amount(amount)
    payout = TxOut(amount + coin.output.amount, script_pubkey)
    signature = key.sign_key_path(_digest(coin.outpoint, coin.output, payout))
    return Withdrawal(coin.outpoint, coin.output, payout, signature)


def question(key: ExternalKey, coin: Utxo, amount: int, script_pubkey: bytes) -> Psbt:
    """The same for a key that another wallet holds: once that has signed, it is the half that an operator takes."""
    check_amount(amount)
    half = _half(coin.outpoint, TxOut(amount + coin.output.amount, script_pubkey))
    room = SigHash.SINGLE_ANYONECANPAY.append_to(
        key.sign_key_path(_digest(coin.outpoint, coin.output, half.outputs[0]))
    )
    return external.ask(Funded(half.with_witness(0, (room,)), (coin.output,)), [key])


def check_amount(amount: int) -> None:
    """Raises BadInput for what nobody can be paid."""
    if not DUST <= amount <= MAX_MONEY:
        raise BadInput("withdrawal amount", amount, f"from {DUST} to {MAX_MONEY:,} sat")


def _digest(coin: OutPoint, spent: TxOut, payout: TxOut) -> bytes:
    return sighash(_half(coin, payout), 0, [spent], SigHash.SINGLE_ANYONECANPAY)


def _half(coin: OutPoint, payout: TxOut) -> Transaction:
    return Transaction(2, (TxIn(coin, SEQUENCE_RBF),), (payout,))
