"""What the watcher keeps in the store: the blocks it has read, and what it found in them."""

from typing import Final

from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint, Transaction, TxOut
from bitvm_bridge.watch.history import Confirmed, Place

BLOCK: Final = "watch block"
SEEN: Final = "watch transaction"
SINCE: Final = "watch since"
COIN: Final = "watch coin"
STATE: Final = "watch state"
_ID_SIZE: Final = 32
_NUMBER_SIZE: Final = 4
_AMOUNT_SIZE: Final = 8


class Journal:
    """A view of the store. Writes that belong together are put in one of its transactions by the caller."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def position(self) -> int | None:
        """The height of the last block that was read; None before the first."""
        heights = self.store.keys(BLOCK)
        return _to_number(heights[-1]) if heights else None

    def lowest(self) -> int | None:
        """The lowest height whose hash is still kept."""
        heights = self.store.keys(BLOCK)
        return _to_number(heights[0]) if heights else None

    def block_hash(self, height: int) -> bytes | None:
        """The hash of a block that was read, where it is still kept."""
        return self.store.get(BLOCK, _number(height))

    def add_block(self, height: int, block_hash: bytes, keep: int) -> None:
        """Move on to a block; of those before it, the hashes of `keep` blocks are kept."""
        self.store.put(BLOCK, _number(height), block_hash)
        if height > keep:
            self.store.delete(BLOCK, _number(height - keep - 1))

    def rewind(self, height: int) -> None:
        """Forget every block above a height, and what was found there."""
        for key in self.store.keys(BLOCK):
            if _to_number(key) > height:
                self.store.delete(BLOCK, key)
        for key in self.store.keys(SEEN):
            if _place(key).height > height:
                self.store.delete(SEEN, key)

    def forget(self) -> None:
        """Everything that was read off the chain, so that it is read again."""
        for kind in (BLOCK, SEEN, SINCE):
            for key in self.store.keys(kind):
                self.store.delete(kind, key)

    def add_seen(self, instance: bytes, confirmed: Confirmed) -> None:
        """Keep a transaction that concerns an instance."""
        place = _number(confirmed.place.height) + _number(confirmed.place.position)
        self.store.put(SEEN, instance + place, confirmed.tx.serialize())

    def seen(self, instance: bytes) -> list[Confirmed]:
        """What concerns an instance, in the order of the chain."""
        return [Confirmed(_place(key), Transaction.parse(raw)) for key, raw in self.store.items(SEEN, instance)]

    def start(self, instance: bytes) -> None:
        """Note that every block that may concern an instance has been read up to the position."""
        self.store.put(SINCE, instance, b"")

    def started(self) -> set[bytes]:
        """The instances of which this is so."""
        return set(self.store.keys(SINCE))

    def coin(self, outpoint: OutPoint) -> TxOut | None:
        """An output that was looked up before: its txid fixes it, on every branch."""
        raw = self.store.get(COIN, outpoint.serialize())
        return None if raw is None else TxOut(int.from_bytes(raw[:_AMOUNT_SIZE], "big"), raw[_AMOUNT_SIZE:])

    def add_coin(self, outpoint: OutPoint, output: TxOut) -> None:
        """Keep an output that was hard to find."""
        self.store.put(COIN, outpoint.serialize(), output.amount.to_bytes(_AMOUNT_SIZE, "big") + output.script_pubkey)

    def change_state(self, instance: bytes, watcher: str, state: str) -> str | None:
        """Note the state of an instance as a watcher saw it; returns the one before where that was another."""
        key = instance + watcher.encode()
        before = self.store.get(STATE, key)
        if before == state.encode():
            return None
        self.store.put(STATE, key, state.encode())
        return "" if before is None else before.decode()


def _number(value: int) -> bytes:
    """So that ids sort as their numbers do."""
    return value.to_bytes(_NUMBER_SIZE, "big")


def _to_number(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _place(key: bytes) -> Place:
    numbers = key[_ID_SIZE:]
    return Place(_to_number(numbers[:_NUMBER_SIZE]), _to_number(numbers[_NUMBER_SIZE:]))
