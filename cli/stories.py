"""The plays, each from the first coin to the last, on any regtest node.

A play uses the same functions as the commands of each role; it only decides who does what, and mines.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from bitvm_bridge.chain.node import Node
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.keys import Role
from bitvm_bridge.linter import check
from bitvm_bridge.params import Params
from bitvm_bridge.program import ProgramSpec
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import challenger, committee, depositor, operator, withdrawer
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee, NonceUse, Signer, sign_together
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Prepared, Wallet
from cli.contract_stories import PEOPLE, dlc, dlc_fraud
from cli.lies import lie, some_false
from cli.stage import BRIDGE, Outcome, Refusal, Stage, Step

RECEIVER: Final = bytes.fromhex("00112233445566778899aabbccddeeff00112233")
"""The layer-2 address that the plays credit."""


def deposit(stage: Stage) -> DepositSetup:
    """The depositor asks and pays."""
    request = Request(stage.params, stage.seeds[Role.DEPOSITOR].wallet_key().xonly, RECEIVER)
    keys = {name: seed.committee_key(request.id) for name, seed in stage.members.items()}
    members = Committee(tuple((name, key.public) for name, key in keys.items()))
    prepared, setup = depositor.deposit(stage.wallets[Role.DEPOSITOR], request, members)
    stage.confirm(prepared, "the depositor pays into the deposit")
    return setup


def signers(stage: Stage, setup: DepositSetup) -> list[Signer]:
    used: set[bytes] = set()

    def guard(uses: Sequence[NonceUse]) -> None:
        for use in uses:
            if use.public_nonce in used:
                raise BridgeError("a nonce was about to be used twice")
            used.add(use.public_nonce)

    return [
        Signer(setup.committee, name, seed.committee_key(setup.request.id), guard)
        for name, seed in stage.members.items()
    ]


def set_up(stage: Stage) -> Bundle:
    """From a deposit to a vault: one operator joins, the committee signs its graph, and PegIn last."""
    deposited = deposit(stage)
    wallet = stage.wallets[Role.OPERATOR]
    prepared, setup = operator.claim_funding(
        wallet, deposited, stage.spec, stage.seeds[Role.OPERATOR].winternitz_seed()
    )
    stage.confirm(prepared, "the operator sets its claim coin aside")
    check(setup.graph)
    signatures = sign_together(signers(stage, deposited), committee.bundle_digests(setup))
    bundle = committee.assemble(
        setup, signatures, operator.sign_challenge(setup, stage.seeds[Role.OPERATOR].wallet_key())
    )
    peg_in = sign_together(signers(stage, deposited), committee.peg_in_digest(deposited, [bundle]))
    stage.confirm(
        depositor.peg_in(stage.wallets[Role.DEPOSITOR], deposited, peg_in["PegIn.deposit"]),
        "the committee has signed every graph, and moves the deposit into the vault",
    )
    return bundle


def pay_out(stage: Stage, setup: InstanceSetup) -> None:
    """A user withdraws on the second layer; the operator pays it from its own coins, less its fee."""
    wallet = stage.wallets[Role.WITHDRAWER]
    amount = stage.params.peg_in * 99 // 100
    withdrawal = withdrawer.request(
        stage.seeds[Role.WITHDRAWER].wallet_key(), wallet.coins()[0], amount, wallet.script_pubkey
    )
    stage.confirm(
        operator.peg_out(stage.wallets[Role.OPERATOR], setup, withdrawal), "the operator pays the withdrawing user"
    )


def kick_off(stage: Stage, setup: InstanceSetup, meaning: str) -> int:
    """The operator claims; returns the height of KickOff."""
    return stage.confirm(operator.kick_off(stage.wallets[Role.OPERATOR], setup), meaning)


def _assert(stage: Stage, setup: InstanceSetup, values: Sequence[bytes], meaning: str) -> Transaction:
    assertion = asserting.sign(setup, stage.seeds[Role.OPERATOR].winternitz_seed(), values)
    prepared = operator.reveal(stage.wallets[Role.OPERATOR], setup, assertion)
    stage.confirm(prepared, meaning)
    return prepared.tx


def _take(stage: Stage, prepared: Prepared, valid_from: int, meaning: str) -> None:
    """One block early it must be refused; on time it pays."""
    stage.mine_to(valid_from - 2)
    stage.refused(prepared, "one block early")
    stage.mine_to(valid_from - 1)
    stage.confirm(prepared, meaning)


def happy(stage: Stage) -> None:
    """An honest claim that nobody challenges."""
    bundle = set_up(stage)
    pay_out(stage, bundle.setup)
    height = kick_off(stage, bundle.setup, "the operator claims the deposit and puts its bond at risk")
    take = operator.happy_take(stage.wallets[Role.OPERATOR], bundle)
    _take(stage, take, height + stage.params.happy_csv, "no challenge: the operator takes deposit and bond")


def challenged(stage: Stage) -> None:
    """An honest claim that is challenged, proved, and paid."""
    bundle = set_up(stage)
    pay_out(stage, bundle.setup)
    height = kick_off(stage, bundle.setup, "the operator claims the deposit and puts its bond at risk")
    stage.confirm(challenger.challenge(stage.wallets[Role.CHALLENGER], bundle), "a challenger pays to see the proof")
    stage.mine_to(height + stage.params.happy_csv)
    stage.refused(operator.happy_take(stage.wallets[Role.OPERATOR], bundle), "the challenge spent what it needs")
    sent = _assert(
        stage, bundle.setup, stage.honest(bundle.setup), "the operator reveals every step of its computation"
    )
    _nothing_to_disprove(stage, bundle, sent)
    take = operator.unhappy_take(stage.wallets[Role.OPERATOR], bundle)
    _take(stage, take, height + stage.params.unhappy_csv, "nothing was disproved: the operator takes deposit and bond")


def _nothing_to_disprove(stage: Stage, bundle: Bundle, sent: Transaction) -> None:
    assertion = asserting.read(bundle.setup, [sent])
    try:
        dispute.prove(bundle.setup, assertion)
    except BridgeError as error:
        stage.note(Refusal("Disprove", str(error), "the challenger finds no wrong step"))
        return
    raise BridgeError("Disprove: built against a correct assertion")


def fraud(stage: Stage) -> None:
    """A false claim: the operator paid nobody, is challenged, and asserts a wrong step."""
    bundle, height = _false_claim(stage)
    values = lie(bundle.setup.program, stage.honest(bundle.setup))
    _disproved(stage, bundle, height, values, "the operator asserts a computation with one wrong step")


def forged(stage: Stage) -> None:
    """A false claim whose computation is right, from a proof that does not verify."""
    bundle, height = _false_claim(stage)
    program = bundle.setup.program
    run = program.run(some_false(program, program.read_input(stage.proof)))
    _disproved(stage, bundle, height, run.values, "the operator asserts a proof that does not verify")


def _false_claim(stage: Stage) -> tuple[Bundle, int]:
    bundle = set_up(stage)
    height = kick_off(stage, bundle.setup, "the operator claims although it paid nobody")
    stage.confirm(challenger.challenge(stage.wallets[Role.CHALLENGER], bundle), "a challenger pays to see the proof")
    return bundle, height


def _disproved(stage: Stage, bundle: Bundle, height: int, values: Sequence[bytes], meaning: str) -> None:
    sent = _assert(stage, bundle.setup, values, meaning)
    proof = dispute.prove(bundle.setup, asserting.read(bundle.setup, [sent]))
    prepared = challenger.disprove(stage.wallets[Role.CHALLENGER], bundle, proof)
    stage.confirm(prepared, "the wrong step is proved on Bitcoin: half the bond burns, the rest is the challenger's")
    stage.mine_to(height + stage.params.unhappy_csv)
    stage.refused(operator.unhappy_take(stage.wallets[Role.OPERATOR], bundle), "the disproof spent what it needs")


def silent(stage: Stage) -> None:
    """A claim that is challenged and never answered."""
    bundle, height = _false_claim(stage)
    timeout = challenger.assert_timeout(stage.wallets[Role.CHALLENGER], bundle, 0)
    _take(
        stage,
        timeout,
        height + stage.params.timeout_csv,
        "no assertion in time: half the bond burns, the rest is the challenger's",
    )


def refund(stage: Stage) -> None:
    """A deposit that the committee never confirms."""
    deposited = deposit(stage)
    height = stage.node.height()
    key = stage.seeds[Role.DEPOSITOR].wallet_key()
    prepared = depositor.refund(stage.wallets[Role.DEPOSITOR], deposited, key)
    _take(
        stage, prepared, height + stage.params.refund_delay, "the committee was silent: the depositor has it all back"
    )


STORIES: Final[dict[str, Callable[[Stage], None]]] = {
    "happy": happy,
    "challenged": challenged,
    "fraud": fraud,
    "silent": silent,
    "refund": refund,
    "forged": forged,
    "dlc": dlc,
    "dlc-fraud": dlc_fraud,
}
CONTRACTS: Final = ("dlc", "dlc-fraud")
"""Those of the second channel."""


def stories_of(spec: ProgramSpec) -> tuple[str, ...]:
    """The stories that a program has: nobody can forge the proof of one that takes none.

    A contract needs a program whose result an oracle can compute without one.
    """
    proof = takes_proof(spec)
    return tuple(name for name in STORIES if proof or name != forged.__name__ if not proof or name not in CONTRACTS)


def takes_proof(spec: ProgramSpec) -> bool:
    """Does an operator hand in something that may be false?"""
    return spec.specialise(bytes(32)).raw_count > 0


def title(name: str) -> str:
    """What a story is about, in one line."""
    return (STORIES[name].__doc__ or "").strip()


def play(
    names: Sequence[str],
    node: Node,
    miner: Wallet,
    params: Params,
    spec: ProgramSpec,
    tell: Callable[[str, Step | Refusal], None],
    proof: bytes | None = None,
) -> Iterator[Outcome]:
    """Play stories one after another on one chain. Raises BridgeError where one does not end as it must."""
    for name in names:
        stage = Stage(
            node, miner, params, spec, partial(tell, name), proof, cast=PEOPLE if name in CONTRACTS else BRIDGE
        )
        STORIES[name](stage)
        yield stage.outcome(name, title(name))
