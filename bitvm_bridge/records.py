"""Deposits, instances, bundles and payouts in the store, found by the beginning of their id."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from bitvm_bridge.chain.node import Node, Utxo
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput, BridgeError, CoinTaken
from bitvm_bridge.graph import Graph
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.setup import DepositDocument, DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.wallet import Prepared

DEPOSIT: Final = "deposit"
INSTANCE: Final = "instance"
BUNDLE: Final = "bundle"
CHALLENGE: Final = "challenge signature"
PEG_IN: Final = "peg-in signature"
PAYOUT: Final = "cooperative payout"
MIN_PREFIX: Final = 4
"""hex digits that an abbreviated id must have."""


@dataclass(frozen=True)
class Found:
    """A record and its full id."""

    id: bytes
    raw: bytes


def find(store: Store, kind: str, prefix: str) -> Found:
    """The one record of a kind whose id starts so. Raises BadInput for none or several."""
    known = store.keys(kind)
    matches = [key for key in known if key.hex().startswith(prefix.lower())] if len(prefix) >= MIN_PREFIX else []
    if len(matches) != 1:
        listed = ", ".join(key.hex()[:12] for key in known) or "none yet"
        raise BadInput(kind, prefix, f"the first {MIN_PREFIX} or more digits of one {kind} id (known: {listed})")
    raw = store.get(kind, matches[0])
    if raw is None:
        raise RuntimeError(f"{kind} {matches[0].hex()} vanished while it was read")
    return Found(matches[0], raw)


def refuse_second(store: Store, node: Node, owner: bytes, name: str) -> None:
    """Raises BridgeError where a transaction of this name was already made for `owner` and is on its way."""
    for recorded, tx in store.transactions(owner):
        if recorded == name and (
            node.output(tx.outpoint(0)) is not None or node.in_mempool(tx.txid) or node.find(tx.txid) is not None
        ):
            raise BridgeError(f"{name}: already sent, as {tx.txid_hex}")


def purpose(owner: bytes, name: str) -> str:
    """What a coin is set aside for that a transaction of a deposit or instance spends."""
    return f"{name} of {owner.hex()}"


def reserved_for_others(store: Store, owner: bytes, name: str) -> frozenset[OutPoint]:
    """The coins that this transaction must leave alone."""
    own = purpose(owner, name)
    return frozenset(coin for coin, other in store.reserved_coins().items() if other != own)


def set_aside(store: Store, coins: Sequence[Utxo], purpose: str) -> Utxo | None:
    """The first of these coins that serves nothing yet, from now on set aside for this; None where all serve."""
    with store.transaction():
        reserved = store.reserved_coins()
        chosen = next((coin for coin in coins if coin.outpoint not in reserved), None)
        if chosen is not None:
            store.reserve_coin(chosen.outpoint, purpose)
    return chosen


def refuse_taken(store: Store, owner: bytes, prepared: Prepared) -> None:
    """Raises CoinTaken where another transaction has taken one of the coins meanwhile."""
    wanted, reserved = purpose(owner, prepared.name), store.reserved_coins()
    for coin in sorted(prepared.coins):
        if (found := reserved.get(coin, wanted)) != wanted:
            raise CoinTaken(f"coin {coin}: already reserved for {found}, wanted for {wanted}")


def keep(store: Store, owner: bytes, prepared: Prepared, *, sent: bool) -> None:
    """Remember a transaction, its child and that its coins are taken; `sent`: from now on it is looked after.

    Raises CoinTaken where another transaction has taken one of the coins meanwhile.
    """
    with store.transaction():
        refuse_taken(store, owner, prepared)
        for coin in sorted(prepared.coins):
            store.reserve_coin(coin, purpose(owner, prepared.name))
        store.record_transaction(owner, prepared.name, prepared.tx, sent=sent)
        if prepared.child is not None:
            store.record_transaction(owner, prepared.name, prepared.child.tx, parent=prepared.tx.txid, sent=sent)


def save_deposit(store: Store, setup: DepositSetup, *, replace: bool = False) -> None:
    """Keep a deposit under its request id. Raises BridgeError where another is there that must not be replaced."""
    raw = encode(setup.document())
    if not replace and store.get(DEPOSIT, setup.request.id) not in (None, raw):
        raise BridgeError(f"deposit {setup.request.id.hex()[:12]}: known with another outpoint than {setup.outpoint}")
    store.put(DEPOSIT, setup.request.id, raw)


def load_deposit(store: Store, prefix: str) -> DepositSetup:
    """A deposit. Raises BadInput."""
    return DepositSetup.from_document(decode(find(store, DEPOSIT, prefix).raw, DepositDocument, DEPOSIT))


def save_instance(store: Store, setup: InstanceSetup, *, replace: bool = False, is_own: bool = True) -> None:
    """Keep an instance under its id; `replace` allows another claim coin until it is signed.

    The claim coin of an own instance is set aside; what others claim to be their coin is not. Raises BridgeError where
    it is known with another claim coin, or where the coin is another instance's.
    """
    raw, name = setup.to_json(), setup.id.hex()[:12]
    replaceable = replace and store.get(BUNDLE, setup.id) is None
    if not replaceable and store.get(INSTANCE, setup.id) not in (None, raw):
        raise BridgeError(f"instance {name}: known with another claim coin than {setup.claim}")
    with store.transaction():
        if replaceable:
            store.release_coins(f"the claim of instance {name}")
        if is_own:
            store.reserve_coin(setup.claim, f"the claim of instance {name}")
        store.put(INSTANCE, setup.id, raw)


def load_instance(store: Store, prefix: str) -> InstanceSetup:
    """An instance. Raises BadInput."""
    return InstanceSetup.from_json(find(store, INSTANCE, prefix).raw)


def graph_of(store: Store, owner: bytes) -> Graph:
    """The graph of the deposit or instance with this id. Raises BadInput for neither."""
    if (raw := store.get(INSTANCE, owner)) is not None:
        return _parse(raw).graph
    return load_deposit(store, owner.hex()).graph


@lru_cache(maxsize=16)
def _parse(raw: bytes) -> InstanceSetup:
    """An instance whose graph is made once, however often it is looked at."""
    return InstanceSetup.from_json(raw)


def instances_of(store: Store, deposit: DepositSetup) -> list[InstanceSetup]:
    """Every instance of a deposit, whose graph is made once for all of them."""
    everything = (InstanceSetup.from_json(store.get(INSTANCE, key) or b"") for key in store.keys(INSTANCE))
    return [replace(setup, deposit=deposit) for setup in everything if setup.deposit == deposit]


def is_signed(store: Store, setup: InstanceSetup) -> bool:
    """Is this very instance, claim coin and all, on record with its bundle?"""
    return store.get(INSTANCE, setup.id) == setup.to_json() and store.get(BUNDLE, setup.id) is not None


def save_bundle(store: Store, bundle: Bundle) -> None:
    """Keep the bundle of an instance."""
    store.put(BUNDLE, bundle.setup.id, bundle.to_json())


def load_bundle(store: Store, prefix: str) -> Bundle:
    """The bundle of an instance, verified. Raises BadInput where it is not signed yet."""
    return bundle_of(store, load_instance(store, prefix))


def bundle_of(store: Store, setup: InstanceSetup) -> Bundle:
    """The same of an instance that is at hand, and whose graph may be. Raises BadInput where it is not signed yet."""
    raw = store.get(BUNDLE, setup.id)
    if raw is None:
        name = setup.id.hex()[:12]
        raise BadInput("instance", name, f"a signed one; run `committee sign {name}`")
    return Bundle.from_json(raw, setup)


class PegInDocument(Document, frozen=True):
    """The committee's signature on PegIn, in hex."""

    signature: str


def save_peg_in(store: Store, setup: DepositSetup, signature: bytes) -> None:
    """Keep the committee's signature on PegIn."""
    store.put(PEG_IN, setup.request.id, encode(PegInDocument(signature.hex())))


def load_peg_in(store: Store, setup: DepositSetup) -> bytes:
    """The committee's signature on PegIn. Raises BadInput where there is none yet."""
    raw = store.get(PEG_IN, setup.request.id)
    if raw is None:
        name = setup.request.id.hex()[:12]
        raise BadInput(DEPOSIT, name, f"one that the committee has confirmed; run `committee confirm {name}`")
    return bytes.fromhex(decode(raw, PegInDocument, PEG_IN).signature)


class PayoutDocument(Document, frozen=True):
    """A payout that was agreed to, in hex; `signature` is empty until the whole committee has signed."""

    deposit: str
    exit: int
    script: str
    signature: str = ""


def save_payout(store: Store, payout: Payout, signature: bytes = b"") -> None:
    """Keep a payout that was agreed to, and the committee's signature (64 bytes) once it is there."""
    request_id = payout.setup.request.id
    document = PayoutDocument(request_id.hex(), payout.exit, payout.script_pubkey.hex(), signature.hex())
    store.put(PAYOUT, payout.id, encode(document))


def load_payout(store: Store, prefix: str) -> tuple[Payout, bytes]:
    """A payout that was agreed to here, and its signature, empty until it is there. Raises BadInput."""
    return _read_payout(store, find(store, PAYOUT, prefix).raw)


def payouts_of(store: Store, deposit: DepositSetup) -> list[tuple[Payout, bytes]]:
    """The same for every payout of a deposit."""
    found = (_read_payout(store, raw) for _, raw in store.items(PAYOUT))
    return [(payout, signature) for payout, signature in found if payout.setup == deposit]


def is_payout_signed(store: Store, payout: Payout) -> bool:
    """Is the whole committee's signature there?"""
    raw = store.get(PAYOUT, payout.id)
    return raw is not None and bool(_read_payout(store, raw)[1])


def _read_payout(store: Store, raw: bytes) -> tuple[Payout, bytes]:
    document = decode(raw, PayoutDocument, PAYOUT)
    setup = load_deposit(store, document.deposit)
    script = from_hex("payout script", document.script)
    return Payout(setup, script, document.exit), from_hex("payout signature", document.signature)
