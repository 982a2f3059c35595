"""What a party does on the chain while it takes part in a set-up: the deposit, the claim coin, PegIn.

Everything is recorded before it is sent, and found in the store by the next process. What was sent and did not
confirm is for `rebroadcast` to look after.
"""

from collections.abc import Callable
from dataclasses import dataclass

from bitvm_bridge import actions, keyring, records
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.exchange.exits import objection
from bitvm_bridge.exchange.party import Actor
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.linter import check
from bitvm_bridge.program import ProgramSpec
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import depositor, operator
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.setup import DepositSetup, InstanceSetup, bind
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.store import Store
from bitvm_bridge.wallet import Prepared, Wallet
from bitvm_bridge.watch.survey import Library


@dataclass
class KeyActor(Actor):
    """Acts with one key of a store, on whatever node it is given for a round.

    `spec` is what an operator's instances dispute; without it an operator stays out of deposits.
    """

    store: Store
    role: Role
    name: str
    fees: Callable[[Node], FeePolicy]
    spec: ProgramSpec | None = None
    node: Node | None = None

    def __post_init__(self) -> None:
        self._library = Library(self.store)
        self.by_hand: dict[str, None] = {}
        """What another wallet has to sign first, a line for each."""

    def member_key(self, request: Request) -> SecretKey:
        """A member's key for a deposit."""
        return keyring.member_key(self.store, self.name, request.id)

    def fund(self, request: Request, committee: Committee) -> DepositSetup | None:
        """PegInDeposit, made once. Raises NodeRejected, NodeUnreachable, BadInput without coins."""
        if self.store.get(records.DEPOSIT, request.id) is not None:
            return records.load_deposit(self.store, request.id.hex())
        prepared, setup = depositor.deposit(self._wallet(request.id, "PegInDeposit"), request, committee)
        self._send(request.id, prepared, lambda: records.save_deposit(self.store, setup))
        return setup

    def is_funded(self, setup: DepositSetup) -> bool:
        """Is the deposit confirmed, or in the vault already? Raises VerificationFailed for a wrong output."""
        found = self._chain.output(setup.outpoint)
        if found is None:
            return self._chain.output(setup.graph.exit(0)) is not None
        if found.output != setup.graph.source("PegInDeposit.deposit").output:
            raise VerificationFailed("the deposit's output has another amount or script than its request")
        return True

    def join(self, setup: DepositSetup, exit_number: int) -> tuple[InstanceSetup, bytes] | None:
        """An instance of an exit with its claim coin, made once; by hand where another wallet holds the key."""
        if self.spec is None:
            return None
        key = keyring.wallet_key(self.store, self.role, self.name)
        owner = bind(setup, key.xonly, self.spec, exit_number)
        if self.store.get(records.CHALLENGE, owner) is None:
            if not isinstance(key, SecretKey):
                self.by_hand[_by_hand(setup, exit_number)] = None
                return None
            signer, seed = key, self.store.seed(self.role, self.name)
            wallet = self._wallet(owner, "ClaimFunding")
            secret = seed.winternitz_seed()
            prepared, instance = operator.claim_funding(wallet, setup, self.spec, secret, exit_number)
            check(instance.graph)
            self._send(
                owner, prepared, lambda: self._keep_instance(instance, operator.sign_challenge(instance, signer))
            )
        challenge = self.store.get(records.CHALLENGE, owner)
        if challenge is None:
            raise RuntimeError("an instance without its signature for Challenge")
        return records.load_instance(self.store, owner.hex()), challenge

    def confirmed(self, setup: DepositSetup, signature: bytes) -> None:
        """The depositor moves the deposit into the vault."""
        is_there = self._chain.output(setup.graph.exit(0)) is not None
        if self.role is not Role.DEPOSITOR or is_there or self._chain.output(setup.outpoint) is None:
            return
        if any(name == "PegIn" for name, _ in self.store.transactions(setup.request.id)):
            return
        wallet = self._wallet(setup.request.id, "PegIn")
        self._send(setup.request.id, depositor.peg_in(wallet, setup, signature), lambda: None)

    def objection(self, payout: Payout) -> str:
        """What speaks against paying an exit out, this member's key for the deposit included."""
        owed = objection(self._library, self._chain, payout)
        return owed or keyring.missing_member_key(self.store, self.name, payout.setup)

    @property
    def _chain(self) -> Node:
        if self.node is None:
            raise BridgeError("exchange: no node to ask")
        return self.node

    def _wallet(self, owner: bytes, what: str) -> Wallet:
        rate = self.fees(self._chain).rate()
        return actions.open_wallet(self.store, self._chain, self.role, self.name, rate, owner, what)

    def _keep_instance(self, instance: InstanceSetup, challenge: bytes) -> None:
        records.save_instance(self.store, instance)
        self.store.put(records.CHALLENGE, instance.id, challenge)

    def _send(self, owner: bytes, prepared: Prepared, keep: Callable[[], None]) -> None:
        actions.refuse_unsendable(prepared, self._chain, actions.judge(prepared, self._chain))
        with self.store.transaction():
            keep()
            records.keep(self.store, owner, prepared, sent=True)
        actions.send(prepared, self._chain)


def _by_hand(setup: DepositSetup, exit_number: int) -> str:
    deposit = setup.request.id.hex()[:12]
    return (
        f"exit {exit_number} of deposit {deposit}: another wallet holds this key; `operator join {deposit} --exit "
        f"{exit_number}` and `operator sign-challenge` write what it signs"
    )
