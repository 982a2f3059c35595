"""`bitvm-bridge bench`: what the bridge costs in bytes and seconds, next to the figures that others have published."""

import hashlib
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import click

from bitvm_bridge.chain.node import Node
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Params
from bitvm_bridge.policy import MAX_MINEABLE_WEIGHT, MAX_STANDARD_WEIGHT, MAX_TRUC_VSIZE, TRUC_VERSION
from bitvm_bridge.program import Groth16Spec, ProgramSpec, parse_program
from bitvm_bridge.protocol import DEPOSIT_TEMPLATES, INSTANCE_TEMPLATES, Request
from bitvm_bridge.roles import challenger, committee, operator
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.signing.musig import Committee, Signer, sign_together
from bitvm_bridge.taproot import NUMS_KEY, ScriptTree, p2tr
from bitvm_bridge.transaction import WITNESS_SCALE, OutPoint, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Wallet
from cli import verifier_figures
from cli.app import App, emit, say, with_app
from cli.disputed import program_options, proof_options, short_name, take_subject
from cli.dlc_figures import dlc_tables, measure_dlc
from cli.scale import MOST, measure_checks, measure_scale, scale_table
from cli.stage import Refusal, Stage, Step, open_stage
from cli.stories import RECEIVER, kick_off, play, set_up, stories_of
from cli.table import Table, render
from scripts_tapleaf import blake3, covenant, winternitz
from scripts_tapleaf.script import OP_1, compact_size

OURS: Final = "this project"
BITVM: Final = "BitVM/BitVM at 23c6cdf6"
BEST_PUBLIC: Final = "solving-bitcoin/bitcoin-scripts, September 2026"

PROGRAM: Final = "hash-chain:8:1"
"""The computation that the measured transactions dispute, unless another is named."""
MESSAGE_BITS: Final = (128, 160, 256)
VALUE_BITS: Final = 160
MESSAGES: Final = 50
INPUT_SIZES: Final = (32, 64, 192)
"""bytes: a value and a half, one block, three blocks."""
BLOCK_SIZE: Final = 64
COMMITTEE_SIZES: Final = (3, 15, 100)
TREE_LEAVES: Final = 10_000
MAX_RUNS: Final = 5
TEMPLATES: Final = (*DEPOSIT_TEMPLATES, *INSTANCE_TEMPLATES)
_SEED: Final = bytes(range(32))


@dataclass(frozen=True)
class Subject:
    """The disputed program of the measured transactions, and what its operator hands in."""

    spec: ProgramSpec
    proof: bytes | None = None


USUAL: Final = Subject(parse_program(PROGRAM))


@dataclass(frozen=True)
class SignatureSize:
    """bytes that check one message of `bits` bits: script, and witness items with the length before each."""

    bits: int
    script: int
    witness: int
    source: str = OURS

    @property
    def total(self) -> int:
        """bytes of both."""
        return self.script + self.witness


@dataclass(frozen=True)
class HashSize:
    """bytes of the script that hashes `size` bytes given as 29-bit limbs, unpacking included."""

    size: int
    script: int
    source: str = OURS

    @property
    def per_block(self) -> int:
        """bytes for each 64-byte block, rounded up."""
        return -(-self.script // -(-self.size // BLOCK_SIZE))


PUBLIC_SIGNATURES: Final = (
    SignatureSize(128, 2_572, 805, f"{BITVM}: base 16, checksum, list-pick"),
    SignatureSize(160, 1_490, 844, f"{BEST_PUBLIC}: mixed constant sum, staged"),
    SignatureSize(160, 1_598, 802, f"{BEST_PUBLIC}: constant composition, isolated"),
    SignatureSize(160, 3_156, 989, f"{BITVM}: base 16, checksum, list-pick"),
    SignatureSize(256, 4_908, 1_541, f"{BITVM}: base 16, checksum, list-pick"),
)
PUBLIC_SPEND: Final = (703, f"{BEST_PUBLIC}: constant composition")
"""vB of a whole 1-in-1-out spend of a 160-bit signature."""
PUBLIC_HASHES: Final = (
    HashSize(32, 59_105, BEST_PUBLIC),
    HashSize(64, 72_293, BEST_PUBLIC),
    HashSize(64, 77_777, BITVM),
)


def measure_signature(bits: int) -> SignatureSize:
    """The largest witness of 50 fixed messages, and the script of a leaf that checks this one message."""
    key, witnesses = _signatures(bits)
    return SignatureSize(bits, len(winternitz.check_script([key])), max(map(_serialized_size, witnesses)))


def measure_reading(bits: int) -> SignatureSize:
    """The same for the script that leaves the message on the stack as limbs; its witness has the limbs as hints."""
    key, witnesses = _signatures(bits)
    items = (
        winternitz.read_witness(bits, message, witness)
        for message, witness in zip(messages(bits), witnesses, strict=True)
    )
    script = len(winternitz.read_script(key))
    return SignatureSize(bits, script, max(map(_serialized_size, items)), f"{OURS}, message read")


def measure_spend(bits: int) -> int:
    """vB of a 1-in-1-out transaction whose only leaf checks one signature, with the largest witness."""
    key, witnesses = _signatures(bits)
    script = winternitz.check_script([key]) + OP_1
    tree = ScriptTree([("leaf", script)])
    witness = (*max(witnesses, key=_serialized_size), script, tree.control_block("leaf"))
    return Transaction(2, (TxIn(OutPoint(bytes(32), 0), witness=witness),), (TxOut(0, p2tr(NUMS_KEY)),)).vsize


def measure_hash(size: int) -> HashSize:
    """The BLAKE3 script of an input of `size` bytes."""
    return HashSize(size, len(blake3.blake3_script(size).script))


def messages(bits: int) -> list[bytes]:
    """50 fixed messages of this many bits."""
    return [hashlib.shake_256(bytes([index])).digest(bits // 8) for index in range(MESSAGES)]


def _signatures(bits: int) -> tuple[winternitz.PublicKey, list[Sequence[bytes]]]:
    secret = winternitz.derive_secret(_SEED, bytes(32), 0, bits)
    return winternitz.public_key(secret), [winternitz.sign(secret, message) for message in messages(bits)]


def _serialized_size(items: Iterable[bytes]) -> int:
    return sum(len(compact_size(len(item))) + len(item) for item in items)


def measure_transactions(subject: Subject = USUAL) -> list[Step]:
    """Every transaction of the protocol, once, as it confirmed on a chain in this process; Bitcoin Core judged it.

    The children that pay fees are left out: they belong to a wallet.
    """
    names = [template.__name__ for template in TEMPLATES]
    steps: dict[str, Step] = {}
    for step in _confirmed(subject):
        if step.name.partition("_")[0] in names:
            steps.setdefault(step.name, step)
    return sorted(steps.values(), key=lambda step: names.index(step.name.partition("_")[0]))


def _confirmed(subject: Subject) -> Iterator[Step]:
    with _chain() as (node, miner):
        for outcome in play(stories_of(subject.spec), node, miner, Params(), subject.spec, _ignore, subject.proof):
            yield from outcome.transactions
        stage = Stage(node, miner, Params(), subject.spec, lambda _: None)
        _rare_endings(stage)
        yield from (step for step in stage.steps if isinstance(step, Step))


@contextmanager
def _chain() -> Iterator[tuple[Node, Wallet]]:
    """An embedded chain that is gone afterwards, and a miner with coins on it."""
    from bitvm_bridge.chain.embedded import EmbeddedNode

    with tempfile.TemporaryDirectory(prefix="bitvm-bridge-") as folder, closing(EmbeddedNode(Path(folder))) as node:
        yield node, open_stage(node)


def _ignore(_: str, __: Step | Refusal) -> None:
    """Nothing is told on the way."""


def _rare_endings(stage: Stage) -> None:
    """What no story has: the committee pays straight from the vault, and an abandoned claim loses its bond."""
    bundle = set_up(stage)
    deposit = bundle.setup.deposit
    payout = committee.Payout(deposit, stage.wallets[Role.WITHDRAWER].script_pubkey)
    signatures = sign_together(_signers(deposit, stage.members), payout.digests)
    prepared = payout.finish(stage.wallets[Role.OPERATOR], signatures[payout.label])
    stage.confirm(prepared, "the whole committee pays from the vault")
    height = kick_off(stage, bundle.setup, "a claim that nobody ends")
    stage.mine_to(height + stage.params.forfeit_csv - 1)
    stage.confirm(challenger.forfeit(stage.wallets[Role.CHALLENGER], bundle), "the bond is slashed")


def _signers(setup: DepositSetup, seeds: Mapping[str, Seed]) -> list[Signer]:
    """Every member, with a guard that lets all pass: no key here outlives the measurement."""
    return [
        Signer(setup.committee, name, seed.committee_key(setup.request.id), lambda _: None)
        for name, seed in seeds.items()
    ]


@dataclass(frozen=True)
class Task:
    """Something whose duration is a figure."""

    key: str
    label: str
    run: Callable[[], object]


def tasks(committee_sizes: Sequence[int] = COMMITTEE_SIZES, subject: Subject = USUAL) -> Iterator[Task]:
    """Everything that is timed; what a task needs is made before it is returned."""
    setup, signers = make_instance(3, subject.spec)
    raw = _bundle(setup, signers).to_json()
    leaves = [
        (str(index), covenant.signed(hashlib.sha256(index.to_bytes(4, "big")).digest())) for index in range(TREE_LEAVES)
    ]
    secret, message = winternitz.derive_secret(_SEED, bytes(32), 0, VALUE_BITS), messages(VALUE_BITS)[0]
    yield Task("graph", "build the graph of an instance from its public inputs", lambda: _fresh(setup).graph)
    for size in committee_sizes:
        yield _signing_task(size, subject.spec)
    yield Task("verify", "read and verify a bundle, graph rebuilt", lambda: Bundle.from_json(raw))
    yield Task("tree", f"hash a tree of {TREE_LEAVES:,} leaves", lambda: ScriptTree(leaves))
    yield Task("winternitz_public_key", "one-time public key, 160 bits", lambda: winternitz.public_key(secret))
    yield Task("winternitz_sign", "one-time signature, 160 bits", lambda: winternitz.sign(secret, message))
    yield Task("blake3_script", "BLAKE3 script, 64 bytes", lambda: blake3.blake3_script.__wrapped__(BLOCK_SIZE))
    yield Task("stories", "every story on the embedded chain", lambda: _play_stories(subject))


def _signing_task(members: int, spec: ProgramSpec) -> Task:
    setup, signers = make_instance(members, spec)
    digests = committee.bundle_digests(setup)
    label = f"sign a bundle, all {members} members in this process"
    return Task(f"sign_{members}", label, lambda: sign_together(signers, digests))


def make_instance(members: int, spec: ProgramSpec = USUAL.spec) -> tuple[InstanceSetup, list[Signer]]:
    """An instance of a program whose coins are invented, and a committee of this many members."""
    seeds = {f"member {index}": Seed(Role.COMMITTEE, index.to_bytes(32, "big")) for index in range(members)}
    request = Request(Params(), Seed(Role.DEPOSITOR, _SEED).wallet_key().xonly, RECEIVER)
    keys = tuple((name, seed.committee_key(request.id).public) for name, seed in seeds.items())
    deposit = DepositSetup(request, Committee(keys), OutPoint(bytes(32), 0))
    seed = Seed(Role.OPERATOR, _SEED)
    owner = seed.wallet_key().xonly
    one_time = operator.one_time_keys(deposit, owner, spec, seed.winternitz_seed())
    return InstanceSetup(deposit, owner, OutPoint(bytes(32), 1), spec, one_time), _signers(deposit, seeds)


def _bundle(setup: InstanceSetup, signers: Sequence[Signer]) -> Bundle:
    signatures = sign_together(signers, committee.bundle_digests(setup))
    challenge = operator.sign_challenge(setup, Seed(Role.OPERATOR, _SEED).wallet_key())
    return committee.assemble(setup, signatures, challenge)


def _fresh(setup: InstanceSetup) -> InstanceSetup:
    """The same instance with nothing derived yet."""
    deposit = replace(setup.deposit, committee=replace(setup.deposit.committee))
    return replace(setup, deposit=deposit)


def _play_stories(subject: Subject) -> None:
    with _chain() as (node, miner):
        for _ in play(stories_of(subject.spec), node, miner, Params(), subject.spec, _ignore, subject.proof):
            pass


def best_time(run: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    """Seconds of the fastest of up to five runs; no further run starts once a second has passed."""
    times: list[float] = []
    while not times or (len(times) < MAX_RUNS and sum(times) < 1):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


@dataclass(frozen=True)
class Figures:
    """All that was measured; `times` is empty where times were not asked for."""

    signatures: list[SignatureSize]
    readings: list[SignatureSize]
    spend: int
    hashes: list[HashSize]
    fields: dict[str, dict[str, int]]
    verifier: dict[str, int] | None
    program: ProgramSpec
    transactions: list[Step]
    times: list[tuple[Task, float]]

    def document(self) -> dict[str, Any]:
        """As JSON carries it: bytes, vB, WU and seconds."""
        return {
            "winternitz": _by_bits(self.signatures),
            "winternitz_read": _by_bits(self.readings),
            "winternitz_spend": self.spend,
            "blake3": {str(item.size): item.script for item in self.hashes},
            **self.fields,
            **({"groth16": self.verifier} if self.verifier is not None else {}),
            "program": str(self.program),
            "transactions": {step.name: step.vsize for step in self.transactions},
            "weights": {step.name: step.weight for step in self.transactions},
            "times": {task.key: seconds for task, seconds in self.times},
        }


def _by_bits(items: Iterable[SignatureSize]) -> dict[str, dict[str, int]]:
    return {str(item.bits): {"script": item.script, "witness": item.witness} for item in items}


def measure(quick: bool, subject: Subject = USUAL) -> Figures:
    """Every figure; without times where `quick`."""
    verifier: dict[str, int] | None = None
    works: list[Task] = []
    if isinstance(subject.spec, Groth16Spec):
        setup, signers = make_instance(3, subject.spec)
        _ = setup.graph
        memory, transactions = verifier_figures.peak_memory(), measure_transactions(subject)
        (assert_vbytes,) = (step.vsize for step in transactions if step.name == "Assert")
        verifier = verifier_figures.measure_verifier(setup, assert_vbytes, memory)
        works = [] if quick else _verifier_tasks(setup, signers, subject)
    else:
        transactions = measure_transactions(subject)
    usual = subject if verifier is None else USUAL
    return Figures(
        signatures=[measure_signature(bits) for bits in MESSAGE_BITS],
        readings=[measure_reading(bits) for bits in MESSAGE_BITS],
        spend=measure_spend(VALUE_BITS),
        hashes=[measure_hash(size) for size in INPUT_SIZES],
        fields=verifier_figures.measure_fields(),
        verifier=verifier,
        program=subject.spec,
        transactions=transactions,
        times=[] if quick else [(task, best_time(task.run)) for task in (*tasks(subject=usual), *works)],
    )


def _verifier_tasks(setup: InstanceSetup, signers: Sequence[Signer], subject: Subject) -> list[Task]:
    bundle, seed = _bundle(setup, signers), Seed(Role.OPERATOR, _SEED)
    works = verifier_figures.works(bundle, _fresh, seed, subject.proof or b"")
    return [Task(work.key, work.label, work.run) for work in works]


def tables(figures: Figures) -> list[Table]:
    """The figures for people."""
    arithmetic = verifier_figures.tables(figures.fields, figures.verifier)
    found = [_signature_table(figures), _hash_table(figures), *arithmetic, _transaction_table(figures)]
    if figures.times:
        rows: list[tuple[str | int | float, ...]] = [(task.label, seconds) for task, seconds in figures.times]
        found.append(Table("Times (seconds, fastest of up to five runs)", ("task", "seconds"), rows))
    return found


def _signature_table(figures: Figures) -> Table:
    items = sorted((*figures.signatures, *figures.readings, *PUBLIC_SIGNATURES), key=lambda item: item.bits)
    vsize, source = PUBLIC_SPEND
    return Table(
        f"Winternitz signature of one message (bytes; ours: largest witness of {MESSAGES} messages)",
        ("bits", "script", "witness", "sum", "whose"),
        [(item.bits, item.script, item.witness, item.total, item.source) for item in items],
        (f"A whole 1-in-1-out spend, {VALUE_BITS} bits: {figures.spend:,} vB; public {vsize:,} vB ({source}).",),
        emphasis=OURS,
    )


def _hash_table(figures: Figures) -> Table:
    items = sorted((*figures.hashes, *PUBLIC_HASHES), key=lambda item: item.size)
    return Table(
        "BLAKE3 of 29-bit limbs (bytes of script, unpacking included)",
        ("input", "script", "per block", "whose"),
        [(item.size, item.script, item.per_block, item.source) for item in items],
        emphasis=OURS,
    )


def _transaction_table(figures: Figures) -> Table:
    return Table(
        f"Transactions, signed, as confirmed ({short_name(figures.program)})",
        ("transaction", "vB", "WU", "limit WU", "set by"),
        [(step.name, step.vsize, step.weight, *limit(step)) for step in figures.transactions],
    )


def limit(step: Step) -> tuple[int, str]:
    """WU that a transaction may have, and the rule that says so."""
    versions = {template.__name__: template.version for template in TEMPLATES}
    if versions[step.name.partition("_")[0]] == TRUC_VERSION:
        return MAX_TRUC_VSIZE * WITNESS_SCALE, "version 3 (BIP431)"
    if step.weight <= MAX_STANDARD_WEIGHT:
        return MAX_STANDARD_WEIGHT, "relay"
    return MAX_MINEABLE_WEIGHT, "block template: not relayed, handed to a miner"


@click.command()
@click.option("--quick", is_flag=True, help="Sizes only.")
@click.option("--dlc", is_flag=True, help="Only this: a contract of the classic form with ten thousand payouts.")
@click.option("--scale", is_flag=True, help="Only this: set up and check many instances, with more and more workers.")
@click.option("--instances", type=click.IntRange(1, MOST), default=1_000, show_default=True, help="With --scale.")
@click.option(
    "--workers", type=int, multiple=True, default=(1, 2), show_default=True, metavar="N", help="With --scale."
)
@click.option("--scheduler", metavar="ADDRESS", help="With --scale: hash scripts on this Dask cluster.")
@program_options(PROGRAM)
@proof_options
@with_app
def bench(
    app: App,
    /,
    quick: bool,
    dlc: bool,
    scale: bool,
    instances: int,
    workers: tuple[int, ...],
    scheduler: str | None,
    **options: Any,
) -> None:
    """Sizes of scripts and transactions next to public figures, and times.

    Transactions are measured as they confirm on a chain inside this process; nothing is kept. With --program groth16
    the whole verifier is measured, which takes minutes; the key and proof are those of the example unless given.

    \b
    bitvm-bridge bench --scale --instances 1000 --workers 1 --workers 2
    bitvm-bridge bench --dlc
    """
    subject = Subject(*take_subject(options))
    if dlc:
        contract = measure_dlc(quick, best_time)
        emit(app, {"dlc": contract.document()}, "\n\n".join(map(render, dlc_tables(contract))))
        return
    if scale:
        runs = list(measure_scale(subject.spec, instances, workers, scheduler))
        runs += measure_checks(subject.spec, instances, workers)
        emit(app, {"scale": [run.document() for run in runs]}, render(scale_table(runs)))
        return
    if not quick:
        say("measuring; --quick leaves the times out")
    figures = measure(quick, subject)
    emit(app, figures.document(), "\n\n".join(map(render, tables(figures))))
