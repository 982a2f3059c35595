"""One deposit, its operators and their signed graphs for tests: every key from a fixed seed, no node needed."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import BadInput
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.params import Council, Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Instance, Request, instance_id
from bitvm_bridge.roles import committee, operator
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee, Signer, sign_together
from bitvm_bridge.transaction import OutPoint, Transaction, TxIn
from scripts_tapleaf.script import num

PROGRAM: Final = "hash-chain:4:1"
RECEIVER: Final = bytes.fromhex("00112233445566778899aabbccddeeff00112233")
DEPOSIT_OUTPOINT: Final = OutPoint(b"\xd0" * 32, 0)
CLAIM: Final = OutPoint(b"\xc1" * 32, 0)
SEEDS: Final = {role: Seed(role, bytes([number]) * 32) for number, role in enumerate(Role, 1)}
OTHER_OPERATOR: Final = Seed(Role.OPERATOR, b"\x22" * 32)
MEMBERS: Final = {
    name: Seed(Role.COMMITTEE, bytes([number]) * 32) for number, name in enumerate(("alice", "bob", "carol"), 0x40)
}
COUNCIL_KEYS: Final = tuple(SecretKey(bytes([number]) * 32) for number in range(0x51, 0x54))
COUNCIL: Final = Council(threshold=2, keys=tuple(key.xonly for key in COUNCIL_KEYS), delay=30)
PLAIN: Final = Params()
WITH_COUNCIL: Final = Params(council=COUNCIL)


def wallet_key(role: Role) -> SecretKey:
    """The key of a role's coins."""
    return SEEDS[role].wallet_key()


def request(params: Params = PLAIN) -> Request:
    """What the depositor asks for."""
    return Request(params, wallet_key(Role.DEPOSITOR).xonly, RECEIVER)


def members(asked: Request) -> Committee:
    """The committee with its keys for this request."""
    return Committee(tuple((name, seed.committee_key(asked.id).public) for name, seed in MEMBERS.items()))


@cache
def deposit_setup(params: Params = PLAIN, outpoint: OutPoint = DEPOSIT_OUTPOINT) -> DepositSetup:
    """The deposit, wherever its money is."""
    asked = request(params)
    return DepositSetup(asked, members(asked), outpoint)


@cache
def instance_setup(
    program: str = PROGRAM,
    params: Params = PLAIN,
    seed: Seed = SEEDS[Role.OPERATOR],
    claim: OutPoint = CLAIM,
    deposit: OutPoint = DEPOSIT_OUTPOINT,
    exit_number: int = 0,
) -> InstanceSetup:
    """An operator's instance of the deposit."""
    spec, of = parse_program(program), deposit_setup(params, deposit)
    key = seed.wallet_key().xonly
    keys = operator.one_time_keys(of, key, spec, seed.winternitz_seed(), exit_number)
    return InstanceSetup(of, key, claim, spec, keys, exit_number)


def committee_sign(setup: DepositSetup, digests: Mapping[str, bytes]) -> dict[str, bytes]:
    """All members sign (64 bytes by label)."""
    keys = {name: seed.committee_key(setup.request.id) for name, seed in MEMBERS.items()}
    return sign_together([Signer(setup.committee, name, key, lambda _: None) for name, key in keys.items()], digests)


@cache
def bundle(setup: InstanceSetup, seed: Seed = SEEDS[Role.OPERATOR]) -> Bundle:
    """The instance with every signature of set-up."""
    signatures = committee_sign(setup.deposit, committee.bundle_digests(setup))
    return committee.assemble(setup, signatures, operator.sign_challenge(setup, seed.wallet_key()))


def lie(setup: InstanceSetup, wrong: int) -> tuple[bytes, ...]:
    """The values of a computation whose step `wrong` is false and whose later steps follow from it."""
    values: list[bytes] = []
    for index, chunk in enumerate(setup.program.chunks):
        value = chunk.execute([values[i] for i in chunk.inputs])
        values.append(flip(value) if index == wrong else value)
    return tuple(values)


def flip(data: bytes, position: int = 0) -> bytes:
    """The same bytes with one bit changed."""
    return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]


def sign_values(setup: InstanceSetup, values: Sequence[bytes], seed: Seed = SEEDS[Role.OPERATOR]) -> Assertion:
    """The operator's one-time signatures of these values."""
    return asserting.sign(setup, seed.winternitz_seed(), values)


def assert_tx(setup: InstanceSetup, assertion: Assertion) -> Transaction:
    """Assert as it reveals this, with junk in place of the operator's signatures."""
    declared = setup.graph["Assert"]
    tx = declared.tx
    for index, entry in enumerate(declared.inputs):
        items = asserting.witness_items(setup, assertion, index)
        tx = tx.with_witness(index, entry.witness((bytes(64), *items)))
    return tx


@dataclass
class PlainChecks:
    """A stream of leaves that anyone can spend, which counts how often it is read."""

    count: int
    size: int = 0
    """bytes that each leaf pushes and drops, to make it large."""
    reads: int = 0

    def leaves(self) -> Iterator[tuple[str, bytes]]:
        """`check_0`, `check_1`, …, each made when it is asked for."""
        self.reads += 1
        return ((f"check_{index}", self._script(index)) for index in range(self.count))

    def leaf(self, name: str) -> bytes:
        """One of them. Raises BadInput."""
        number = name.removeprefix("check_")
        if not number.isdigit() or int(number) >= self.count:
            raise BadInput("check", name, f"check_0 to check_{self.count - 1}")
        return self._script(int(number))

    def _script(self, index: int) -> bytes:
        return num(index + 1) * (1 + self.size)


def bare_instance(checks: PlainChecks, params: Params = PLAIN) -> Instance:
    """An instance without one-time keys, whose bytes depend on the graph alone."""
    setup = deposit_setup(params)
    key = wallet_key(Role.OPERATOR).xonly
    name = instance_id(params, setup.graph.vault, key, "plain")
    return Instance(setup.deposit, setup.outpoint, key, CLAIM, "plain", (), checks, name)


def with_input(tx: Transaction, txin: TxIn) -> Transaction:
    """The same with one more input at the end."""
    return Transaction(tx.version, (*tx.inputs, txin), tx.outputs, tx.lock_time)
