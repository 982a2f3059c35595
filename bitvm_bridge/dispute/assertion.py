"""An operator's assertion: signed value by value, and read back from the witnesses of confirmed transactions."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.graph import GraphTx
from bitvm_bridge.policy import ANNEX_TAG
from bitvm_bridge.setup import InstanceSetup, split_bundles
from bitvm_bridge.transaction import Transaction
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import ScriptError


@dataclass(frozen=True)
class Assertion:
    """Every committed value and the one-time signature of each (witness items, deepest first).

    A value has the size that the program declares, and one byte more where its signature is of no message.
    """

    values: tuple[bytes, ...]
    signatures: tuple[tuple[bytes, ...], ...]


class Signed(Protocol):
    """What one-time keys sign for: an instance, or a contract of which an oracle signs an outcome."""

    @property
    def id(self) -> bytes:
        """32 bytes."""

    @property
    def keys(self) -> tuple[winternitz.PublicKey, ...]:
        """The one-time key of every value."""


def sign(setup: Signed, winternitz_seed: bytes, values: Sequence[bytes]) -> Assertion:
    """Sign every value under its key. The caller must have bound the values in its store first: keys sign once."""
    signatures = []
    for slot, (key, value) in enumerate(zip(setup.keys, values, strict=True)):
        secret = winternitz.derive_secret(winternitz_seed, setup.id, slot, key.bits)
        signatures.append(tuple(winternitz.sign(secret, value)))
    return Assertion(tuple(values), tuple(signatures))


def witness_items(setup: Signed, assertion: Assertion, index: int) -> tuple[bytes, ...]:
    """The Winternitz items of assert connector `index`, deepest first; the operator's signature goes below them."""
    bundles = split_bundles(setup.keys)
    start = sum(len(bundle) for bundle in bundles[:index])
    chosen = assertion.signatures[start : start + len(bundles[index])]
    return tuple(item for signature in reversed(chosen) for item in signature)


def read(setup: InstanceSetup, transactions: Iterable[Transaction]) -> Assertion:
    """The assertion that these transactions reveal, each input found by the outpoint that it spends.

    Raises VerificationFailed where a connector is not among them, or its witness is no assertion.
    """
    return read_from(setup.graph["Assert"], setup.keys, transactions)


def read_from(
    declared: GraphTx, all_keys: Sequence[winternitz.PublicKey], transactions: Iterable[Transaction]
) -> Assertion:
    """The same of any transaction whose inputs each open a bundle of these keys. Raises VerificationFailed."""
    spends = {txin.outpoint: txin.witness for tx in transactions for txin in tx.inputs}
    values: list[bytes] = []
    signatures: list[tuple[bytes, ...]] = []
    for index, keys in enumerate(split_bundles(all_keys)):
        outpoint = declared.inputs[index].source.outpoint
        if outpoint not in spends:
            raise VerificationFailed(f"assertion: no transaction given spends {declared.inputs[index].source.name}")
        items = _assertion_items(declared, index, spends[outpoint])
        for key, signature in zip(keys, _split(keys, items, declared.inputs[index].name), strict=True):
            try:
                values.append(winternitz.recover(key, signature))
            except ScriptError as error:
                raise VerificationFailed(f"{declared.inputs[index].name}: {error}") from None
            signatures.append(signature)
    return Assertion(tuple(values), tuple(signatures))


def _assertion_items(declared: GraphTx, index: int, witness: Sequence[bytes]) -> tuple[bytes, ...]:
    """The items between the operator's signature and the script of a `commit` spend.

    An annex is skipped: the operator can sign one, and must not become unreadable by it.
    """
    entry = declared.inputs[index]
    if len(witness) >= 2 and witness[-1][:1] == bytes([ANNEX_TAG]):
        witness = witness[:-1]
    if entry.source.connector is None or tuple(witness[-2:]) != entry.source.connector.script_path(entry.leaf):
        raise VerificationFailed(f"{entry.name}: its witness does not spend the leaf {entry.leaf!r}")
    return tuple(witness[1:-2])


def _split(keys: Sequence[winternitz.PublicKey], items: Sequence[bytes], name: str) -> list[tuple[bytes, ...]]:
    """One message's items after another, the first message uppermost."""
    sizes = [winternitz.witness_item_count(key.bits) for key in keys]
    if sum(sizes) != len(items):
        raise VerificationFailed(f"{name}: {len(items)} witness items, expected {sum(sizes)}")
    end, signatures = len(items), []
    for size in sizes:
        signatures.append(tuple(items[end - size : end]))
        end -= size
    return signatures
