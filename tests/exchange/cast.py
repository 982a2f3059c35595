"""Parties with stores of their own, and actors that make no transaction: what they would have sent is invented."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from bitvm_bridge import records
from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.mailbox import Post
from bitvm_bridge.exchange.party import Courier, Party
from bitvm_bridge.exchange.roster import Participant, Roster, Terms
from bitvm_bridge.exchange.sessions import Graphs, made_here
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.params import Network, Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import operator
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint

PROGRAM: Final = "hash-chain:2:1"
NAMES: Final = {
    "alice": Role.COMMITTEE,
    "bob": Role.COMMITTEE,
    "carol": Role.COMMITTEE,
    "dora": Role.DEPOSITOR,
    "olga": Role.OPERATOR,
    "oscar": Role.OPERATOR,
}
SEEDS: Final = {name: Seed(role, name.encode().ljust(32, b"\0")) for name, role in NAMES.items()}
ROSTER: Final = Roster(
    tuple(Participant(name, role, SEEDS[name].identity_key().xonly) for name, role in NAMES.items()),
    Terms(Params(), PROGRAM),
)


@dataclass
class Pretender:
    """An actor that remembers what it did."""

    seed: Seed
    funded: bool = True
    wrong: bool = False
    joins: bool = True
    objects: str = ""
    peg_ins: list[bytes] = field(default_factory=list)

    def member_key(self, request: Request) -> SecretKey:
        return self.seed.committee_key(request.id)

    def fund(self, request: Request, committee: Committee) -> DepositSetup | None:
        return DepositSetup(request, committee, OutPoint(request.id, 0))

    def is_funded(self, setup: DepositSetup) -> bool:
        if self.wrong:
            raise VerificationFailed("the deposit's output pays another script")
        return self.funded

    def join(self, setup: DepositSetup, exit_number: int) -> tuple[InstanceSetup, bytes] | None:
        if not self.joins:
            return None
        key, spec = self.seed.wallet_key(), parse_program(PROGRAM)
        keys = operator.one_time_keys(setup, key.xonly, spec, self.seed.winternitz_seed(), exit_number)
        claim = OutPoint(key.xonly, exit_number)
        instance = InstanceSetup(setup, key.xonly, claim, spec, keys, exit_number)
        return instance, operator.sign_challenge(instance, key)

    def objection(self, payout: Payout) -> str:
        return self.objects

    def confirmed(self, setup: DepositSetup, signature: bytes) -> None:
        self.peg_ins.append(signature)


@dataclass
class Memory:
    """A mailbox in memory that shuffles, doubles, and loses what `loses` says, once."""

    rng: random.Random
    envelopes: list[Envelope] = field(default_factory=list)
    loss: float = 0.0

    def put(self, envelope: Envelope) -> None:
        if self.rng.random() >= self.loss:
            self.envelopes.append(envelope)

    def since(self, cursor: str) -> Post:
        del cursor
        found = [*self.envelopes, *self.rng.choices(self.envelopes, k=2)] if self.envelopes else []
        self.rng.shuffle(found)
        return Post(found, [], "")


@dataclass
class Player:
    """A party in a process that can die: what it has in memory is gone then, its store is not."""

    name: str
    home: Path
    actor: Pretender
    store: Store
    party: Party

    @classmethod
    def open(cls, name: str, home: Path, actor: Pretender | None = None, graphs: Graphs = made_here) -> Self:
        store = Store.open(home, Network.REGTEST, insecure_plain_keys=True)
        actor = actor or Pretender(SEEDS[name])
        party = Party(store, ROSTER, SEEDS[name].identity_key(), Network.REGTEST, actor, graphs)
        return cls(name, home, actor, store, party)

    def restarted(self) -> "Player":
        self.store.close()
        return Player.open(self.name, self.home, self.actor)

    def ask(self, request: Request, *operators: str) -> None:
        """As a depositor."""
        self.party.ask(request, operators or ("olga", "oscar"), self.actor.seed.wallet_key())

    def peg_in(self, request: Request) -> bytes:
        """The signature that its store has."""
        return records.load_peg_in(self.store, records.load_deposit(self.store, request.id.hex()))


def cast(folder: Path, names: Sequence[str] = tuple(NAMES)) -> dict[str, Player]:
    return {name: Player.open(name, folder / name) for name in names}


def request(params: Params | None = None, receiver: bytes = b"\x01" * 20) -> Request:
    return Request(params or Params(), SEEDS["dora"].wallet_key().xonly, receiver)


def play(players: dict[str, Player], mailbox: Memory | None = None, rounds: int = 30) -> None:
    """Everyone in turn, until all is confirmed, or for so many rounds."""
    mailbox = mailbox or Memory(random.Random(1))
    for _ in range(rounds):
        for player in players.values():
            Courier(player.party, mailbox).run()
        if all(player.party.progress.is_done for player in players.values()):
            return
