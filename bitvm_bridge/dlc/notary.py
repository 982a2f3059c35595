"""An oracle's own side: announcements and attestations whose nonces are kept, and bound before they sign.

Whoever follows oracles keeps here which nonces it has seen, too: one that comes back for another event is refused.
"""

from collections.abc import Sequence

from bitvm_bridge.dlc import oracle
from bitvm_bridge.dlc.oracle import Announcement, Attestation, Event, Hashing
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.store import Store


def announce(
    store: Store, name: str, descriptor: Event, event_id: str, maturity: int, hashing: Hashing = Hashing.TAGGED
) -> Announcement:
    """Announce an event of the oracle called `name`, under fresh nonces that are kept before anyone sees them.

    Raises BadInput for an unknown name, and for an event that cannot be.
    """
    key = store.seed(Role.ORACLE, name).oracle_key()
    nonces = [SecretKey.generate() for _ in range(descriptor.nonce_count)]
    made = oracle.announce(key, nonces, maturity, descriptor, event_id, hashing)
    store.keep_oracle_nonces(made.key, made.id, {nonce.xonly: nonce.reveal() for nonce in nonces})
    return made


def attest(
    store: Store, name: str, announcement: Announcement, outcomes: Sequence[str], hashing: Hashing = Hashing.TAGGED
) -> Attestation:
    """Attest to what happened. The same outcomes again make the same attestation.

    Raises BadInput for an event of another oracle or outcomes that it cannot have, BridgeError where its nonces have
    attested to another outcome or are not kept here.
    """
    key = store.seed(Role.ORACLE, name).oracle_key()
    if announcement.key != key.xonly:
        raise BadInput("announcement", announcement.key, f"one of the oracle {name!r} ({key.xonly.hex()})")
    announcement.check_outcomes(outcomes)
    nonces = [SecretKey(store.oracle_nonce_secret(key.xonly, nonce)) for nonce in announcement.nonces]
    return oracle.attest(key, nonces, announcement, outcomes, hashing, store.bind_oracle_nonces)


def check(store: Store, announcement: Announcement, hashing: Hashing = Hashing.TAGGED) -> None:
    """Can it be followed? Raises as `follow`, and takes no note."""
    announcement.verify(hashing)
    store.new_oracle_nonces(announcement.key, announcement.id, announcement.nonces)


def follow(store: Store, announcement: Announcement, hashing: Hashing = Hashing.TAGGED) -> None:
    """Take note of an announcement before anything is built on it.

    Raises VerificationFailed where it does not have the oracle's signature, BridgeError where one of its nonces was
    announced for another event.
    """
    announcement.verify(hashing)
    store.keep_oracle_nonces(announcement.key, announcement.id, dict.fromkeys(announcement.nonces))
