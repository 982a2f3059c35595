"""The withdrawer: half of a PegOut, signed so that whoever pays the output may complete it.

The payout gives the withdrawer its coin back on top of the amount that it asked for, so any coin will do.
"""

from base64 import b64decode, b64encode
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import Final

from embit.base import EmbitError
from embit.psbt import PSBT
from embit.script import Script
from embit.transaction import TransactionOutput

from bitvm_bridge import secp
from bitvm_bridge.chain.node import Utxo
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import DUST
from bitvm_bridge.taproot import SigHash, sighash
from bitvm_bridge.transaction import MAX_MONEY, SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut

TAP_KEY_SIG: Final = b"\x13"
"""PSBT_IN_TAP_KEY_SIG (BIP371), which embit carries as an unknown field."""


@dataclass(frozen=True)
class Withdrawal:
    """One input and one output under a `SINGLE|ANYONECANPAY` signature: pay `payout`, and `coin` is yours to spend."""

    coin: OutPoint
    spent: TxOut
    payout: TxOut
    signature: bytes

    def __post_init__(self) -> None:
        _check_amount(self.amount)
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
        tx = Transaction(2, (TxIn(self.coin, SEQUENCE_RBF),), (self.payout,))
        psbt = PSBT.parse(_unsigned_psbt(tx))
        psbt.inputs[0].witness_utxo = TransactionOutput(self.spent.amount, Script(self.spent.script_pubkey))
        psbt.inputs[0].sighash_type = int(SigHash.SINGLE_ANYONECANPAY)
        psbt.inputs[0].unknown[TAP_KEY_SIG] = SigHash.SINGLE_ANYONECANPAY.append_to(self.signature)
        return b64encode(psbt.serialize()).decode()

    @classmethod
    def from_psbt(cls, text: str) -> "Withdrawal":
        """Inverse of `to_psbt`. Raises BadInput for anything else, a truncated PSBT included."""
        psbt = _parse(text)
        if len(psbt.inputs) != 1 or len(psbt.outputs) != 1:
            shape = f"{len(psbt.inputs)} inputs, {len(psbt.outputs)} outputs"
            raise BadInput("withdrawal PSBT", shape, "one input and one output")
        scope, tx = psbt.inputs[0], Transaction.parse(psbt.tx.serialize(), "withdrawal PSBT")
        if scope.witness_utxo is None or TAP_KEY_SIG not in scope.unknown:
            raise BadInput("withdrawal PSBT", text, "one with a witness UTXO and a taproot key signature")
        signature = scope.unknown[TAP_KEY_SIG]
        if len(signature) != 65 or signature[-1] != SigHash.SINGLE_ANYONECANPAY or tx.version != 2:
            raise BadInput("withdrawal PSBT", text, "a version 2 transaction signed SINGLE|ANYONECANPAY")
        if tx.inputs[0].sequence != SEQUENCE_RBF or tx.lock_time:
            raise BadInput("withdrawal PSBT", text, f"sequence {SEQUENCE_RBF:#x} and no lock time")
        spent = TxOut(scope.witness_utxo.value, scope.witness_utxo.script_pubkey.data)
        return cls(tx.inputs[0].outpoint, spent, tx.outputs[0], signature[:64])


def request(key: SecretKey, coin: Utxo, amount: int, script_pubkey: bytes) -> Withdrawal:
    """Sign a coin of the withdrawer's wallet over to whoever pays `amount` (sat) more than it to a script."""
    _check_amount(amount)
    payout = TxOut(amount + coin.output.amount, script_pubkey)
    signature = key.sign_key_path(_digest(coin.outpoint, coin.output, payout))
    return Withdrawal(coin.outpoint, coin.output, payout, signature)


def _check_amount(amount: int) -> None:
    if not DUST <= amount <= MAX_MONEY:
        raise BadInput("withdrawal amount", amount, f"from {DUST} to {MAX_MONEY:,} sat")


def _digest(coin: OutPoint, spent: TxOut, payout: TxOut) -> bytes:
    tx = Transaction(2, (TxIn(coin, SEQUENCE_RBF),), (payout,))
    return sighash(tx, 0, [spent], SigHash.SINGLE_ANYONECANPAY)


def _unsigned_psbt(tx: Transaction) -> bytes:
    raw = tx.serialize_base()
    return b"psbt\xff\x01\x00" + bytes([len(raw)]) + raw + b"\x00" * 3


def _parse(text: str) -> PSBT:
    try:
        return PSBT.parse(b64decode(text.strip(), validate=True))
    except (Base64Error, EmbitError, ValueError, KeyError, IndexError, RuntimeError) as error:
        raise BadInput("withdrawal PSBT", text, f"a PSBT in base64 ({error or type(error).__name__})") from None
