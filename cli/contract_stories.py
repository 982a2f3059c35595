"""Plays of the second channel: two parties, an oracle with a stake, and what becomes of it."""

import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dlc import oracle
from bitvm_bridge.dlc.classic.messages import ContractEvent, SingleContract, SingleOracle
from bitvm_bridge.dlc.contract import moves
from bitvm_bridge.dlc.contract.contract import Agreement, Coin, Side
from bitvm_bridge.dlc.contract.moves import OracleKeys
from bitvm_bridge.dlc.contract.signing import Bundle, ContractGraphs, sign_together
from bitvm_bridge.dlc.contract.terms import BLOCK_TIME, MIN_MARGIN, Terms
from bitvm_bridge.dlc.oracle import Announcement, EnumEvent, Event, Hashing
from bitvm_bridge.dlc.payouts import EnumeratedPayouts, Payouts
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party
from bitvm_bridge.signing.musig import NonceGuard, NonceUse
from cli.stage import COIN, Cast, Player, Stage

PEOPLE: Final[Cast] = {
    Party.OFFERER: Player(Role.PARTY, (COIN, COIN // 10)),
    Party.ACCEPTER: Player(Role.PARTY, (COIN, COIN // 10)),
    Party.ORACLE: Player(Role.ORACLE, (COIN, COIN // 100)),
    Party.CHALLENGER: Player(Role.CHALLENGER, (COIN // 10,)),
}
"""Who plays in the stories of the contract."""
COLLATERAL: Final = COIN // 2
"""sat of each party."""
STAKE: Final = COIN // 2
ORACLE_FEE: Final = 100_001
WINDOW: Final = 4
"""blocks in which the oracle can be proved wrong."""
GRACE: Final = 2
"""blocks more before it has its bond back without a settlement, and again before it loses it."""
SIGNING_TIME: Final = 600
TO_MEDIAN: Final = 6
"""blocks of a new time before the median of eleven is that time (BIP113)."""
EVENT: Final = EnumEvent(("sun", "rain"))


@dataclass(frozen=True)
class Played:
    """A contract in play, and the keys of its oracle."""

    bundle: Bundle
    parties: Bundle
    """The same without what only the oracle may have."""
    keys: OracleKeys
    nonces: tuple[SecretKey, ...]

    @property
    def announcement(self) -> Announcement:
        """Of the event."""
        return self.bundle.contract.terms.announcement

    def attest(self, outcome: int) -> oracle.Attestation:
        """What the oracle publishes; the digits that an outcome leaves open are zero."""
        said = self.bundle.contract.terms.outcomes[outcome].oracles[0][1]
        said = (*said, *("0" for _ in self.nonces[len(said) :]))
        hashing = self.bundle.contract.terms.hashing
        return oracle.attest(self.keys.announcing, self.nonces, self.announcement, said, hashing, lambda *_: None)

    def computed(self) -> tuple[bytes, ...]:
        """The honest values."""
        program = self.bundle.graphs.case(0).program
        return program.inner.run(program.inner.read_input(None)).values


BET: Final = EnumeratedPayouts((("sun", 2 * COLLATERAL), ("rain", 0)))
"""Who is right has it all."""


def terms_of(
    announcement: Announcement, network: Network, program: str, *, payouts: Payouts = BET, key_path: bool = False
) -> Terms:
    """The shortest windows and times that are allowed."""
    contract = SingleContract(2 * COLLATERAL, ContractEvent(payouts, SingleOracle(announcement)))
    return Terms(
        network=network,
        contract=contract,
        hashing=Hashing.TAGGED,
        offerer_collateral=COLLATERAL,
        oracle_fee=ORACLE_FEE,
        stake=STAKE,
        program=program,
        signing_time=SIGNING_TIME,
        dispute_window=WINDOW,
        grace_window=GRACE,
        refund=announcement.maturity + SIGNING_TIME + (WINDOW + 2 * GRACE + 1) * BLOCK_TIME + MIN_MARGIN,
        fee_rate=2,
        salt=secrets.token_bytes(32),
        margin=MIN_MARGIN,
        key_path=key_path,
    )


def side(stage: Stage, name: Party, salt: bytes, share: int) -> Side:
    """A party's part: its largest coins that pay for its share."""
    seed, wallet = stage.seeds[name], stage.wallets[name]
    chosen: list[Coin] = []
    for coin in wallet.coins():
        chosen.append(Coin(coin.outpoint, coin.output))
        if sum(one.output.amount for one in chosen) > share + COIN // 100:
            break
    return Side(seed.identity_key().xonly, seed.contract_key(salt).public, wallet.script_pubkey, tuple(chosen))


def agree(stage: Stage, terms: Terms) -> Agreement:
    """What the offerer and the accepter have said to each other."""
    shares = {Party.OFFERER: terms.offerer_share, Party.ACCEPTER: terms.accepter_share}
    offerer, accepter = (side(stage, name, terms.salt, share) for name, share in shares.items())
    return Agreement(terms, offerer, accepter)


def announce(stage: Stage, maturity: int, event: Event) -> tuple[Announcement, tuple[SecretKey, ...]]:
    """The event, and the nonces that sign what happens."""
    nonces = tuple(SecretKey(secrets.token_bytes(32)) for _ in range(event.nonce_count))
    key = stage.seeds[Party.ORACLE].oracle_key()
    return oracle.announce(key, nonces, maturity, event, "weather", Hashing.TAGGED), nonces


def set_up(stage: Stage, event: Event = EVENT, payouts: Payouts = BET, *, key_path: bool = False) -> Played:
    """From an announcement to a funded contract behind which the oracle's stake stands."""
    announcement, nonces = announce(stage, int(time.time()), event)
    terms = terms_of(announcement, stage.params.network, str(stage.spec), payouts=payouts, key_path=key_path)
    agreement = agree(stage, terms)
    seed = stage.seeds[Party.ORACLE]
    keys = OracleKeys(seed.oracle_key(), seed.contract_key(agreement.id), seed.winternitz_seed())
    staked, contract = moves.stake(stage.wallets[Party.ORACLE], agreement, seed.identity_key().xonly, keys)
    signing = {
        Party.OFFERER: stage.seeds[Party.OFFERER].contract_key(terms.salt),
        Party.ACCEPTER: stage.seeds[Party.ACCEPTER].contract_key(terms.salt),
        Party.ORACLE: keys.contract,
    }
    parties, own = sign_together(ContractGraphs(contract), {str(name): key for name, key in signing.items()}, _once())
    signatures: dict[int, bytes] = {}
    for name in (Party.OFFERER, Party.ACCEPTER):
        signatures |= moves.funding_signatures(agreement, stage.seeds[name].wallet_key())
    stage.confirm(moves.funding(agreement, signatures), "everything is signed: both parties lock their collateral")
    stage.confirm(staked, "the oracle locks its stake, which it loses if it signs nothing or what is false")
    return Played(own, parties, keys, nonces)


def _once() -> NonceGuard:
    used: set[bytes] = set()

    def guard(uses: Sequence[NonceUse]) -> None:
        for use in uses:
            if use.public_nonce in used:
                raise BridgeError("a nonce was about to be used twice")
            used.add(use.public_nonce)

    return guard


def sign_outcome(stage: Stage, played: Played, outcome: int, meaning: str) -> int:
    """OracleSign with honest values; returns its height."""
    assertion = asserting.sign(played.bundle.graphs.case(outcome), played.keys.one_time_seed, played.computed())
    return stage.confirm(moves.oracle_sign(stage.wallets[Party.ORACLE], played.bundle, outcome, assertion), meaning)


def dlc(stage: Stage) -> None:
    """A bet that settles as its oracle says, with a stake behind the oracle's word."""
    played = set_up(stage)
    terms = played.bundle.contract.terms
    truth = moves.found_outcome(played.bundle.contract, played.computed())
    said = EVENT.outcomes[truth]
    height = sign_outcome(stage, played, truth, f"the oracle signs {said!r} and opens its computation")
    _only_one_outcome(stage, played, 1 - truth)
    winner = stage.wallets[Party.OFFERER if terms.outcomes[truth].payout else Party.ACCEPTER]
    settle = moves.settle(winner, played.parties, truth, played.attest(truth))
    stage.mine_to(height + WINDOW - 2)
    stage.refused(settle, "one block early")
    stage.mine_to(height + WINDOW - 1)
    stage.confirm(settle, f"{said!r}: the winner is paid, and the oracle has its stake and fee")
    secret = moves.revealed(played.parties, truth, settle.tx)
    if secret.reveal() != played.attest(truth).signatures[0][32:]:
        raise BridgeError("Settle: it does not reveal the attestation")


def _only_one_outcome(stage: Stage, played: Played, outcome: int) -> None:
    assertion = asserting.sign(played.bundle.graphs.case(outcome), played.keys.one_time_seed, played.computed())
    second = moves.oracle_sign(stage.wallets[Party.ORACLE], played.bundle, outcome, assertion)
    stage.refused(second, "one stake cannot back two outcomes")


def dlc_fraud(stage: Stage) -> None:
    """An oracle that signs what did not happen: it is disproved, and the parties have their money back."""
    played = set_up(stage)
    terms = played.bundle.contract.terms
    lie = 1 - moves.found_outcome(played.bundle.contract, played.computed())
    height = sign_outcome(
        stage, played, lie, f"the oracle signs {EVENT.outcomes[lie]!r}, which its result does not say"
    )
    signed = stage.confirmed[-2]
    outcome, assertion = moves.read_signed(played.parties, signed)
    proof = moves.find_proof(played.parties, outcome, assertion)
    if proof is None:
        raise BridgeError("OracleSign: a false outcome that nothing disproves")
    prepared = moves.disprove(stage.wallets[Party.CHALLENGER], played.parties, outcome, proof)
    stage.confirm(prepared, "the lie is proved on Bitcoin: half the stake burns, the rest is the challenger's")
    stage.mine_to(height + WINDOW)
    settle = moves.settle(stage.wallets[Party.ACCEPTER], played.parties, lie, played.attest(lie))
    stage.refused(settle, "the disproof spent what it needs")
    back = moves.refund(stage.wallets[Party.OFFERER], played.parties)
    stage.node.set_time(terms.refund + 1)
    stage.mine(TO_MEDIAN - 1)
    stage.refused(back, "one block early")
    stage.mine(1)
    stage.confirm(back, "nothing was settled: both parties have back what they put in")
