"""The council: after a long wait, k of its m members move what nobody else has moved, with a PSBT that goes round.

All that a member needs is in the PSBT; nothing of the deposit need be in its data directory.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Final, Self

from bitvm_bridge import external, psbt, secp, taproot
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.external import Wanted
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, ExternalKey, SecretKey
from bitvm_bridge.params import DUST, Council
from bitvm_bridge.protocol import connectors
from bitvm_bridge.protocol.template import Connector
from bitvm_bridge.psbt import Psbt
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.taproot import NUMS_KEY, SigHash
from bitvm_bridge.transaction import Malformed, OutPoint, Reader, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared
from scripts_tapleaf import covenant
from scripts_tapleaf.script import ScriptError, instructions

NAME: Final = "CouncilPayout"
FIELD: Final = "council PSBT"


@dataclass(frozen=True)
class Payout:
    """A transaction by which a council moves one output, all of it less the fee, and the signatures it has so far.

    `leaf` is the script and the control block, `signatures` are witness items by x-only key, each verified.
    """

    council: Council
    leaf: tuple[bytes, bytes]
    funded: Funded
    signatures: tuple[tuple[bytes, bytes], ...] = ()

    @property
    def missing(self) -> int:
        """How many signatures it still needs."""
        return max(0, self.council.threshold - len(self.signatures))

    @cached_property
    def digest(self) -> bytes:
        """The 32 bytes that every member signs."""
        return self._wanted.digest(self.funded)

    @property
    def _wanted(self) -> Wanted:
        return Wanted(0, SigHash.DEFAULT, self.leaf)

    def sign(self, key: SecretKey) -> Self:
        """With a member's signature. Raises BadInput for a key that is not in the council."""
        if key.xonly not in self.council.keys:
            raise BadInput("council key", key.xonly, "one of the council's")
        return self._with({key.xonly: key.sign(self.digest)})

    def join(self, other: Self) -> Self:
        """With the signatures of another copy. Raises VerificationFailed for another transaction."""
        if difference := external.compare(other.funded.tx, self.funded.tx):
            raise VerificationFailed(f"PSBT: {difference}")
        return self._with(dict(other.signatures))

    def _with(self, found: dict[bytes, bytes]) -> Self:
        merged = dict(self.signatures) | found
        return replace(self, signatures=tuple((key, merged[key]) for key in self.council.keys if key in merged))

    def to_psbt(self) -> Psbt:
        """For members and their wallets."""
        signers = [ExternalKey.bare(key) for key in self.council.keys]
        leaf_hash = taproot.leaf_hash(self.leaf[0])
        fields = {psbt.WITNESS_UTXO: self.funded.spent[0].serialize()}
        fields |= external.input_fields(SigHash.DEFAULT, self.leaf, signers)
        fields |= {psbt.TAP_SCRIPT_SIG + key + leaf_hash: signature for key, signature in self.signatures}
        return Psbt(self.funded.tx, (fields,), tuple({} for _ in self.funded.tx.outputs))

    @classmethod
    def from_psbt(cls, found: Psbt) -> Self:
        """Read one, finalised by a wallet or not, and check all of it.

        Raises VerificationFailed where the leaf is no council's, is not in the output that is spent, has another wait
        than the input, or where a signature is not one of the council's for this transaction.
        """
        if len(found.tx.inputs) != 1:
            raise BadInput(FIELD, f"{len(found.tx.inputs)} inputs", "one input")
        (fields,) = found.inputs
        try:
            spent = Reader(fields.get(psbt.WITNESS_UTXO, b"")).txout()
            witness = psbt.read_witness(fields.get(psbt.FINAL_WITNESS, b"\x00"))
        except Malformed as error:
            raise BadInput(FIELD, found.tx.txid_hex, f"one with the output that it spends ({error})") from None
        leaf = witness[-2:] if len(witness) > 2 else _leaf(fields)
        council = _read_council(leaf[0], found.tx.inputs[0].sequence)
        _check_place(leaf, spent)
        payout = cls(council, (leaf[0], leaf[1]), Funded(found.tx, (spent,)))
        given = dict(_signatures(fields, taproot.leaf_hash(leaf[0])))
        given |= {key: item for key, item in zip(reversed(council.keys), witness, strict=False) if item}
        for key, signature in given.items():
            if key not in council.keys:
                raise VerificationFailed(f"PSBT: input 0, signature: one of key {key.hex()}, not in the council")
            external.check_signature(payout._wanted, payout.funded, key, signature)
        return payout._with(given)

    def finish(self) -> Prepared:
        """Ready to send. Raises BridgeError where signatures are missing."""
        if self.missing:
            have = len(self.signatures)
            raise BridgeError(f"{NAME}: {have} of {self.council.threshold} signatures; {self.missing} more are needed")
        items = covenant.council_witness(self.council.keys, dict(self.signatures), self.council.threshold)
        return Prepared(NAME, replace(self.funded, tx=self.funded.tx.with_witness(0, (*items, *self.leaf))))


def payout(setup: DepositSetup, number: int, script_pubkey: bytes, fee_rate: float) -> Payout:
    """What the council of a deposit signs to move an exit to a script, less a fee (sat/vB).

    Raises BadInput where the deposit has no council or no such exit, BridgeError where the fee leaves nothing.
    """
    council = _council_of(setup)
    return _payout(council, connectors.vault(setup.deposit, number), setup.graph.exit(number), script_pubkey, fee_rate)


def burnt(setup: DepositSetup, outpoint: OutPoint, script_pubkey: bytes, fee_rate: float) -> Payout:
    """The same for the council's share of a slashed bond, which is at `outpoint`."""
    council = _council_of(setup)
    return _payout(council, connectors.council_share(setup.request.params, council), outpoint, script_pubkey, fee_rate)


def _council_of(setup: DepositSetup) -> Council:
    council = setup.request.params.council
    if council is None:
        raise BadInput("deposit", setup.request.id.hex()[:12], "one with a council")
    return council


def _payout(
    council: Council, connector: Connector, outpoint: OutPoint, script_pubkey: bytes, fee_rate: float
) -> Payout:
    leaf = connector.script_path("council")
    tx = Transaction(2, (TxIn(outpoint, council.delay),), (TxOut(0, script_pubkey),))
    room = dict.fromkeys(council.keys, SIGNATURE_PLACEHOLDER)
    items = covenant.council_witness(council.keys, room, council.threshold)
    rest = connector.amount - ceil(tx.with_witness(0, (*items, *leaf)).vsize * fee_rate)
    if rest < DUST:
        raise BridgeError(f"{NAME}: {fee_rate:g} sat/vB leave nothing of {connector.amount:,} sat")
    spent = TxOut(connector.amount, connector.script_pubkey)
    return Payout(council, leaf, Funded(replace(tx, outputs=(TxOut(rest, script_pubkey),)), (spent,)))


def _leaf(fields: psbt.Fields) -> tuple[bytes, bytes]:
    """The one leaf script and its control block."""
    found = [(value[:-1], key[1:]) for key, value in fields.items() if key[:1] == psbt.TAP_LEAF_SCRIPT]
    if len(found) != 1:
        raise BadInput(FIELD, f"{len(found)} leaves", "one leaf")
    return found[0]


def _read_council(script: bytes, wait: int) -> Council:
    """The council whose leaf this is, and whose wait the input has."""
    try:
        keys = tuple(item.data for item in instructions(script) if item.data is not None and len(item.data) == 32)
        for threshold in range(1, len(keys) + 1):
            if covenant.council(keys, threshold, wait) == script:
                return Council(threshold, keys, wait)
    except ScriptError:
        pass  # said below
    raise VerificationFailed("PSBT: input 0: not by the leaf of a council, after its wait")


def _check_place(leaf: tuple[bytes, ...], spent: TxOut) -> None:
    script, control = leaf
    if len(control) < 33 or len(control) % 32 != 1 or control[1:33] != NUMS_KEY:
        raise VerificationFailed("PSBT: input 0: the control block has another internal key than nobody's")
    tweak = taproot.tap_tweak(NUMS_KEY, external.merkle_root(script, control))
    key, parity = secp.tweak_public_key(NUMS_KEY, tweak)
    if taproot.p2tr(key) != spent.script_pubkey or control[0] != taproot.LEAF_VERSION | parity:
        raise VerificationFailed("PSBT: input 0: the leaf is not in the output that is spent")


def _signatures(fields: psbt.Fields, leaf_hash: bytes) -> Iterator[tuple[bytes, bytes]]:
    for key, value in fields.items():
        if key[:1] == psbt.TAP_SCRIPT_SIG and key[33:] == leaf_hash:
            yield key[1:33], value


def joined(copies: Iterable[Psbt]) -> Payout:
    """The signatures of all copies of one PSBT. Raises as `Payout.from_psbt` and `Payout.join`."""
    first, *others = [Payout.from_psbt(found) for found in copies]
    for other in others:
        first = first.join(other)
    return first
