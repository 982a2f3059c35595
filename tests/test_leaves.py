"""Every leaf of the graph, spent and attacked, before Bitcoin Core's own script and block validation.

A row of `ROWS` is one input of one transaction; a column is an attack; a cell says what Core must answer. The rows are
compared with the graph, so that a new input or leaf without a row fails.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Final

import pytest

from bitvm_bridge import policy
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.kernel import verify_input, verify_inputs
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.dispute.assertion import Assertion
from bitvm_bridge.errors import NodeRejected
from bitvm_bridge.graph import ANCHOR, Graph, GraphInput, GraphTx
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.params import Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Party, wallet_script
from bitvm_bridge.protocol.template import ANY_LEAF, KEY_PATH, Coins, Connector, Free, Leaf
from bitvm_bridge.roles import challenger, committee, depositor, operator
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.taproot import SigHash, sighash
from bitvm_bridge.transaction import SEQUENCE_FINAL, SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet
from scripts_tapleaf import covenant
from scripts_tapleaf.script import OP_RETURN
from tests import builders
from tests.conftest import JUDGED

Sign = Callable[[bytes], bytes]
"""A digest → its BIP340 signature."""
ALONE: Final = "no tree"
"""The leaf of an output whose connector the graph does not know: a wallet's, a sink's, an anchor."""
STRANGER: Final = SecretKey(b"\x77" * 32)
ELSEWHERE: Final = (OutPoint(b"\xd2" * 32, 3), OutPoint(b"\xc3" * 32, 1))
"""Deposit and claim of a second instance of the same people."""
COIN: Final = OutPoint(b"\xf0" * 32, 7)
COINS_EACH: Final = 20
COIN_AMOUNT: Final = 10_000_000
FEE: Final = 100_000
JUNK: Final = b"\xab" * 500
SAMPLE: Final = 12
"""Items of a long witness that are altered one by one, evenly spread."""


@dataclass(frozen=True)
class Spend:
    """One input of a transaction, with all that it takes to sign the transaction again after a change.

    The witness is a signature of each of `signers` (None: an empty item), then `items`, then `tail`.
    """

    name: str
    tx: Transaction
    index: int
    spent: tuple[TxOut, ...]
    signers: tuple[Sign | None, ...] = ()
    items: tuple[bytes, ...] = ()
    connector: Connector | None = None
    leaf: str = KEY_PATH
    sighash: SigHash = SigHash.DEFAULT
    others: tuple[tuple[bytes, ...], ...] = ()
    """Items that are right elsewhere and must not be here."""
    donors: tuple[tuple[bytes, ...], ...] = ()
    """Items of which no single one may stand among those that are right here."""
    fixed: tuple[bytes, ...] | None = None
    """The whole witness, where it is not to follow from the rest."""

    @property
    def tail(self) -> tuple[bytes, ...]:
        return self.connector.script_path(self.leaf) if self.connector else ()

    @property
    def wait(self) -> int:
        return self.connector.leaf(self.leaf).wait if self.connector else 0

    @property
    def witness(self) -> tuple[bytes, ...]:
        if self.fixed is not None:
            return self.fixed
        digest = self.digest() if any(self.signers) else b""
        signatures = (self.sighash.append_to(sign(digest)) if sign else b"" for sign in self.signers)
        return (*signatures, *self.items, *self.tail)

    def digest(self) -> bytes:
        leaf = self.connector.tree.leaf_hash(self.leaf) if self.connector else None
        return sighash(self.tx, self.index, self.spent, self.sighash, leaf)

    def frozen(self) -> "Spend":
        """With the witness as it is now, whatever changes afterwards."""
        return replace(self, fixed=self.witness)

    def signed(self) -> Transaction:
        return self.tx.with_witness(self.index, self.witness)

    def valid(self) -> bool:
        """Core's verdict on this input."""
        return verify_input(self.signed(), self.index, self.spent)

    def with_input(self, index: int, **changes: object) -> "Spend":
        inputs = list(self.tx.inputs)
        inputs[index] = replace(inputs[index], **changes)  # type: ignore[arg-type]
        return replace(self, tx=replace(self.tx, inputs=tuple(inputs)))

    def with_spent(self, index: int, output: TxOut) -> "Spend":
        return replace(self, spent=(*self.spent[:index], output, *self.spent[index + 1 :]))

    def with_outputs(self, outputs: Sequence[TxOut]) -> "Spend":
        return replace(self, tx=replace(self.tx, outputs=tuple(outputs)))


class Book:
    """Every spend of one instance, valid, by name."""

    def __init__(self, setup: InstanceSetup) -> None:
        self.setup = setup
        self.graph = setup.graph
        self.bundle = builders.bundle(setup)
        self._signatures = {
            digest: self.bundle.signatures[label]
            for party in (Party.COMMITTEE, Party.OPERATOR)
            for label, digest in setup.graph.owed(party).items()
        }
        self.spends = {spend.name: spend for spend in (*self._inputs(), *self._beyond())}

    def signer(self, party: Party | None, leaf: str) -> tuple[Sign, ...]:
        match party:
            case Party.COMMITTEE:
                return (self._committee,)
            case Party.OPERATOR if leaf == KEY_PATH:
                return (builders.wallet_key(Role.OPERATOR).sign_key_path,)
            case Party.OPERATOR:
                return (self._operator,)
            case Party.DEPOSITOR:
                return (builders.wallet_key(Role.DEPOSITOR).sign,)
        return ()

    def _committee(self, digest: bytes) -> bytes:
        """The signature of the bundle where it holds one, so that the bundle itself is what Core judges."""
        if digest not in self._signatures:
            self._signatures |= {digest: builders.committee_sign(self.setup.deposit, {"": digest})[""]}
        return self._signatures[digest]

    def _operator(self, digest: bytes) -> bytes:
        return self._signatures.get(digest) or builders.wallet_key(Role.OPERATOR).sign(digest)

    def _inputs(self) -> Iterator[Spend]:
        """The inputs that the graph declares, each check leaf of an open one on its own."""
        for item in self.graph.txs.values():
            tx, spent = complete(item)
            for index, entry in enumerate(item.inputs):
                names = [chunk.name for chunk in self.setup.program.chunks] if leaves_open(entry) else [entry.leaf]
                for leaf in names:
                    spend = Spend(
                        name=f"{item.name}.{entry.name}" + f" {leaf}" * leaves_open(entry),
                        tx=tx,
                        index=index,
                        spent=spent,
                        signers=self.signer(entry.signer, leaf),
                        connector=entry.source.connector,
                        leaf=leaf,
                        sighash=entry.sighash,
                    )
                    yield self._one_time(spend, index, entry)

    def _one_time(self, spend: Spend, index: int, entry: GraphInput) -> Spend:
        if leaves_open(entry):
            wrong = self.setup.checks.index(spend.leaf)
            useless = tuple(self._other_checks(wrong))
            return replace(spend, items=self.check_items(wrong, wrong), others=useless, donors=useless)
        if entry.leaf != "commit":
            return spend
        values = self.setup.program.run(()).values
        right = builders.sign_values(self.setup, values)
        false = builders.sign_values(self.setup, [builders.flip(value) for value in values])
        shuffled = Assertion(values, (*right.signatures[1:], right.signatures[0]))
        mixed = Assertion(values, (false.signatures[0][:1] + right.signatures[0][1:], *right.signatures[1:]))
        foreign = builders.sign_values(elsewhere(), values)
        items, donor, *others = (
            asserting.witness_items(self.setup, each, index) for each in (right, false, shuffled, mixed, foreign)
        )
        return replace(spend, items=items, others=tuple(others), donors=(donor, others[-1]))

    def check_items(self, index: int, wrong: int | None) -> tuple[bytes, ...]:
        """Witness items of check `index` against a computation that is false from step `wrong` on."""
        values = self.setup.program.run(()).values if wrong is None else builders.lie(self.setup, wrong)
        signatures = builders.sign_values(self.setup, values).signatures
        return tuple(self.setup.checks.witness(index, self.setup.program.run(()), values, signatures))

    def _other_checks(self, index: int) -> Iterator[tuple[bytes, ...]]:
        """Items for the same check that do not prove anything."""
        count = len(self.setup.program.chunks)
        yield self.check_items(index, None)
        yield from (self.check_items(index, wrong) for wrong in range(count) if wrong != index)
        values = builders.lie(elsewhere(), index)
        signatures = builders.sign_values(elsewhere(), values).signatures
        yield tuple(elsewhere().checks.witness(index, elsewhere().program.run(()), values, signatures))

    def _beyond(self) -> Iterator[Spend]:
        """Leaves that no transaction of the graph spends: the council's, and the anchor."""
        council = self.graph.deposit.params.council
        if council is not None:
            script = covenant.council(council.keys, council.threshold, council.delay)
            sink = Connector(self.graph.deposit.params.burn, (Leaf("council", script, council.delay),))
            vault = self.graph.source("PegIn.vault")
            yield self._council("Council.vault", vault.outpoint, vault.output, vault.connector)
            burn = self.graph.source("Forfeit.burn")
            yield self._council("Council.burn", burn.outpoint, burn.output, sink)
        anchor = self.graph.source("KickOff.anchor")
        tx = Transaction(3, (TxIn(anchor.outpoint, SEQUENCE_RBF), TxIn(COIN, SEQUENCE_RBF)), (payout(1_000),))
        yield Spend("Child.anchor", tx, 0, (ANCHOR, coin()))

    def _council(self, name: str, outpoint: OutPoint, output: TxOut, connector: Connector | None) -> Spend:
        tx = Transaction(2, (TxIn(outpoint, builders.COUNCIL.delay),), (payout(output.amount - FEE),))
        first, second, _ = (key.sign for key in builders.COUNCIL_KEYS)
        return Spend(name, tx, 0, (output,), (None, second, first), connector=connector, leaf="council")


def leaves_open(entry: GraphInput) -> bool:
    """May the spender choose among the checks of the program?"""
    return entry.leaf == ANY_LEAF


def coin() -> TxOut:
    """A coin of the operator."""
    return TxOut(COIN_AMOUNT, wallet_script(builders.wallet_key(Role.OPERATOR).xonly))


def payout(amount: int) -> TxOut:
    """To a wallet that plays no other part."""
    return TxOut(amount, wallet_script(STRANGER.xonly))


def complete(item: GraphTx) -> tuple[Transaction, tuple[TxOut, ...]]:
    """The transaction with a coin and an output where it is open to them."""
    takes_coins = any(isinstance(entry, Coins) for entry in item.template.fields)
    spent = (*item.spent, coin()) if takes_coins else tuple(item.spent)
    rest = sum(out.amount for out in spent) - sum(out.amount for out in item.tx.outputs)
    rest -= 0 if ANCHOR in item.tx.outputs else FEE
    free = [payout(rest)] if any(isinstance(entry, Free) for entry in item.template.fields) else []
    return item.completed([TxIn(COIN, SEQUENCE_RBF)] if takes_coins else [], free), spent


@cache
def elsewhere() -> InstanceSetup:
    """The same people with another deposit and another claim."""
    deposit, claim = ELSEWHERE
    return builders.instance_setup(params=builders.WITH_COUNCIL, deposit=deposit, claim=claim)


@cache
def book() -> Book:
    return Book(builders.instance_setup(params=builders.WITH_COUNCIL))


@cache
def second_book() -> Book:
    return Book(elsewhere())


def positions(spend: Spend) -> Sequence[int]:
    """Witness items below script and control block: all of a short witness, a spread of a long one."""
    count = len(spend.signers) + len(spend.items)
    return range(count) if count <= SAMPLE else sorted({*range(0, count, count // SAMPLE), count - 1})


def with_item(spend: Spend, position: int, item: bytes) -> Spend:
    witness = spend.witness
    return replace(spend, fixed=(*witness[:position], item, *witness[position + 1 :]))


Attack = Callable[[Spend], Iterator[tuple[str, Spend]]]


def another_key(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """Somebody else signs: a stranger, or one committee member alone."""
    alone = builders.MEMBERS["alice"].committee_key(book().setup.deposit.request.id)
    for position, signer in enumerate(spend.signers):
        if signer is not None:
            for who, key in (("stranger", STRANGER), ("one member alone", alone)):
                for sign in (key.sign, key.sign_key_path):
                    signers = (*spend.signers[:position], sign, *spend.signers[position + 1 :])
                    yield who, replace(spend, signers=signers)


def no_signature(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """An empty item, zeros, or a truncated signature."""
    for position, signer in enumerate(spend.signers):
        if signer is not None:
            for item in (b"", bytes(64), bytes(65), spend.witness[position][:63]):
                yield f"item {position} is {len(item)} bytes", with_item(spend, position, item)


def moved_signature(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """A signature that the same people made for another input, or for another instance."""
    for other in (*book().spends.values(), *second_book().spends.values()):
        if other is not spend and other.digest() != spend.digest() and len(spend.signers) == len(other.signers) == 1:
            yield f"of {other.name}", with_item(spend, 0, other.witness[0])


def sighash_type(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """The same signature said to be of another type, or of none that exists."""
    spend = spend.frozen()
    for position, signer in enumerate(spend.signers):
        if signer is not None:
            signature = spend.witness[position][:64]
            named = {kind.append_to(signature) for kind in SigHash} | {
                signature + bytes([code]) for code in (0, 4, 128)
            }
            for item in sorted(named - {spend.witness[position]}):
                yield f"type {item[64:].hex() or 'default'}", with_item(spend, position, item)


def too_soon(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """Signed anew with an nSequence below the lock, or one that BIP68 reads as no lock in blocks."""
    if spend.wait:
        for sequence in (0, spend.wait - 1, 1 << 31 | spend.wait, 1 << 22 | spend.wait, SEQUENCE_RBF, SEQUENCE_FINAL):
            yield f"sequence {sequence:#x}", spend.with_input(spend.index, sequence=sequence)
        yield "version 1", replace(spend, tx=replace(spend.tx, version=1))


def another_leaf(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """The witness under another leaf's script or control block, or under a control block that is bent."""
    if spend.connector is None:
        return
    stack, (script, control) = spend.witness[:-2], spend.tail
    foreign = [other.tail for other in book().spends.values() if other.connector]
    siblings = [spend.connector.script_path(name) for name in spend.connector.tree.names]
    for other_script, other_control in {*foreign, *siblings} - {spend.tail}:
        for swapped in ((other_script, other_control), (script, other_control), (other_script, control)):
            if swapped != spend.tail:
                yield "another leaf", replace(spend, fixed=(*stack, *swapped))
    bent = (bytes([control[0] ^ 1]) + control[1:], bytes([0xC2 | control[0] & 1]) + control[1:])
    for other_control in (*bent, builders.flip(control, 1), control[:-32], control + bytes(32), control[:-1]):
        yield "bent control block", replace(spend, fixed=(*stack, script, other_control))


def one_time_items(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """Winternitz signatures of other values, of another slot, of another instance, or parts of them."""
    for number, items in enumerate(spend.others):
        yield f"all items of alternative {number}", replace(spend, items=items)
    for number, items in enumerate(spend.donors):
        different = [at for at, (one, other) in enumerate(zip(spend.items, items, strict=True)) if one != other]
        for at in different[:: max(1, len(different) // SAMPLE)]:
            mixed = (*spend.items[:at], items[at], *spend.items[at + 1 :])
            yield f"item {at} of donor {number}", replace(spend, items=mixed)


def signed_output(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """An output that the signature fixes is changed or taken away."""
    yield from _outputs_changed(spend, [at for at in range(len(spend.tx.outputs)) if _fixes(spend, at)])


def open_output(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """An output that no signature of this input fixes is changed or taken away."""
    yield from _outputs_changed(spend, [at for at in range(len(spend.tx.outputs)) if not _fixes(spend, at)])


def _fixes(spend: Spend, at: int) -> bool:
    """Does the signature of the input commit to this output?"""
    mode = spend.sighash.output_mode
    return any(spend.signers) and (mode is SigHash.ALL or (mode is SigHash.SINGLE and at == spend.index))


def _outputs_changed(spend: Spend, which: Sequence[int]) -> Iterator[tuple[str, Spend]]:
    spend, outputs = spend.frozen(), spend.tx.outputs
    for at in which:
        out = outputs[at]
        script = builders.flip(out.script_pubkey, len(out.script_pubkey) - 1)
        for changed in (
            replace(out, amount=out.amount + 1),
            replace(out, script_pubkey=script),
            replace(out, script_pubkey=OP_RETURN),
        ):
            yield f"output {at}", spend.with_outputs([*outputs[:at], changed, *outputs[at + 1 :]])
        if at == len(outputs) - 1 > 0:
            yield f"output {at} taken away", spend.with_outputs(outputs[:at])


def output_added(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """One more output, at the end."""
    spend = spend.frozen()
    yield "a wallet's", spend.with_outputs([*spend.tx.outputs, payout(1_000)])
    yield "an anchor", spend.with_outputs([*spend.tx.outputs, ANCHOR])


def input_added(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """One more input, at the end."""
    spend = spend.frozen()
    more = TxIn(OutPoint(b"\xf1" * 32, 0), SEQUENCE_RBF)
    yield "a coin", replace(spend, tx=builders.with_input(spend.tx, more), spent=(*spend.spent, coin()))


def other_input(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """Another input spends another output, one of another amount, or with another sequence; or it is gone."""
    spend = spend.frozen()
    for at, (txin, out) in enumerate(zip(spend.tx.inputs, spend.spent, strict=True)):
        if at != spend.index:
            yield "outpoint", spend.with_input(at, outpoint=replace(txin.outpoint, vout=9))
            yield "sequence", spend.with_input(at, sequence=txin.sequence + 1)
            yield "amount", spend.with_spent(at, replace(out, amount=out.amount + 1))
            yield "script", spend.with_spent(at, payout(out.amount))
    if len(spend.tx.inputs) > spend.index + 1:
        shorter = replace(spend.tx, inputs=spend.tx.inputs[:-1])
        yield "last input gone", replace(spend, tx=shorter, spent=spend.spent[:-1])


def this_input(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """The same witness moved to another output of the same script, amount or age, or to another transaction."""
    spend = spend.frozen()
    txin, out = spend.tx.inputs[spend.index], spend.spent[spend.index]
    yield "outpoint", spend.with_input(spend.index, outpoint=replace(txin.outpoint, vout=9))
    yield "sequence", spend.with_input(spend.index, sequence=txin.sequence + 1)
    yield "amount", spend.with_spent(spend.index, replace(out, amount=out.amount + 1))
    yield "version", replace(spend, tx=replace(spend.tx, version=5 - spend.tx.version))
    yield "lock time", replace(spend, tx=replace(spend.tx, lock_time=1))


def item_added(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """One witness item more: at the bottom, or below the script."""
    witness, end = spend.witness, len(spend.witness) - len(spend.tail)
    for item in (b"", b"\x01", JUNK):
        yield f"{len(item)} bytes at the bottom", replace(spend, fixed=(item, *witness))
        yield f"{len(item)} bytes on top", replace(spend, fixed=(*witness[:end], item, *witness[end:]))


def item_missing(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """One witness item less, the script, the control block or everything."""
    witness = spend.witness
    for at in (*positions(spend), *range(len(witness) - len(spend.tail), len(witness))):
        yield f"item {at}", replace(spend, fixed=witness[:at] + witness[at + 1 :])
    if witness:
        yield "everything", replace(spend, fixed=())


def annex(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """An annex that the signature does not commit to (BIP341)."""
    if spend.witness:
        yield "annex", replace(spend, fixed=(*spend.witness, b"\x50annex"))


def junk_item(spend: Spend) -> Iterator[tuple[str, Spend]]:
    """A witness item is 500 bytes of junk."""
    for at in positions(spend):
        yield f"item {at}", with_item(spend, at, JUNK)


ATTACKS: Final[tuple[Attack, ...]] = (
    another_key,
    no_signature,
    moved_signature,
    sighash_type,
    too_soon,
    another_leaf,
    one_time_items,
    signed_output,
    open_output,
    output_added,
    input_added,
    other_input,
    this_input,
    item_added,
    item_missing,
    annex,
    junk_item,
)
"""The columns of ROWS."""

#    another_key, no_signature, moved_signature, sighash_type, too_soon · another_leaf, one_time_items ·
#    signed_output, open_output, output_added · input_added, other_input, this_input ·
#    item_added, item_missing, annex, junk_item
ROWS: Final[dict[str, str]] = {
    "PegInRefund.deposit":         "xxxxx x- x-x x-x xxxx",
    "PegIn.deposit":               "xxxx- x- x-x x-x xxxx",
    "CooperativePayout.vault":     "xxxx- x- x-x x-x xxxx",
    "KickOff.claim":               "xxxx- -- x-x x-x xxxx",
    "Challenge.challenge":         "xxxx- x- xoo oox xxxx",
    "HappyTake.vault":             "xxxx- x- x-x xxx xxxx",
    "HappyTake.challenge":         "xxxxx x- x-x xxx xxxx",
    "HappyTake.bond":              "xxxx- x- x-x xxx xxxx",
    "Assert.assertion_i":          "xxxx- xx x-x xxx xxxx",
    "AssertTimeout_i.bond":        "xxxx- x- xoo xxx xxxx",
    "AssertTimeout_i.assertion_i": "xxxxx x- -oo xxx xxxx",
    "UnhappyTake.vault":           "xxxx- x- x-x xxx xxxx",
    "UnhappyTake.disprove":        "xxxxx x- x-x xxx xxxx",
    "UnhappyTake.bond":            "xxxx- x- x-x xxx xxxx",
    "Disprove.bond":               "xxxx- x- xoo xxx xxxx",
    "Disprove.disprove link_i":    "----- xx -oo ooo xxox",
    "Forfeit.bond":                "xxxxx x- xoo x-x xxxx",
    "Council.vault":               "xx-xx x- x-x x-x xxxx",
    "Council.burn":                "xx-xx x- x-x x-x xxxx",
    "Child.anchor":                "----- -- -oo ooo o---",
}  # fmt: skip
"""x: Core must refuse every variant; o: Core must accept every variant; -: the attack does not exist here."""
CELLS: Final = [
    pytest.param(name, attack, cell, id=f"{name}-{attack.__name__}")
    for name, row in ROWS.items()
    for attack, cell in zip(ATTACKS, row.replace(" ", ""), strict=True)
]


def row_of(spend: Spend) -> str:
    """Spends that differ in a number share a row."""
    return re.sub(r"_\d+", "_i", spend.name)


def spends_of(row: str) -> list[Spend]:
    return [spend for spend in book().spends.values() if row_of(spend) == row]


@pytest.fixture
def judged(record_property: Callable[[str, object], None]) -> Callable[[int], None]:
    """Reports how many spends a test had Core judge; the terminal summary adds them up."""
    return lambda cases: record_property(JUDGED, cases)


def test_every_input_of_the_graph_has_a_row() -> None:
    assert {row_of(spend) for spend in book().spends.values()} == ROWS.keys()
    declared = {(item.name, entry.name) for item in book().graph.txs.values() for entry in item.inputs}
    assert declared <= {tuple(name.split(" ")[0].split(".")) for name in book().spends}


def test_every_leaf_of_the_graph_is_spent() -> None:
    spent = {(spend.spent[spend.index].script_pubkey, leaf_name(spend)) for spend in book().spends.values()}
    missing = [f"{name} {leaf}" for name, script, leaf in leaves(book().graph) if (script, leaf) not in spent]
    assert not missing


def leaves(graph: Graph) -> Iterator[tuple[str, bytes, str]]:
    """(output, script, leaf) of everything that can be spent in a graph."""
    for source in graph.sources.values():
        for leaf in source.connector.tree.names if source.connector else (ALONE,):
            yield source.name, source.output.script_pubkey, leaf


def leaf_name(spend: Spend) -> str:
    known = {source.outpoint for source in book().graph.sources.values() if source.connector}
    return spend.leaf if spend.tx.inputs[spend.index].outpoint in known else ALONE


def test_without_a_council_there_is_no_leaf_of_its_own() -> None:
    """The rows of the graph with a council are enough for one without: it only has less."""
    plain = list(leaves(builders.instance_setup().graph))
    extra = {(name, leaf) for name, _, leaf in leaves(book().graph)} - {(name, leaf) for name, _, leaf in plain}
    assert extra == {("PegIn.vault", "council")}
    burns = {script for name, script, _ in plain if name.endswith(".burn")}
    assert burns == {OP_RETURN}


@pytest.mark.parametrize("row", ROWS)
def test_core_accepts_the_spend(row: str, judged: Callable[[int], None]) -> None:
    """Every input of the transaction, and relay policy too."""
    for spend in spends_of(row):
        tx = spend.tx
        for other in book().spends.values():
            if other.tx == spend.tx:
                tx = tx.with_witness(other.index, other.witness)
        tx = tx.with_witness(spend.index, spend.witness)
        for index, txin in enumerate(tx.inputs):
            if txin.outpoint == COIN:
                key = builders.wallet_key(Role.OPERATOR)
                tx = tx.with_witness(index, (key.sign_key_path(sighash(tx, index, spend.spent)),))
        assert verify_inputs(tx, spend.spent) is None
        assert policy.check(tx, spend.spent, child_pays=ANCHOR in tx.outputs) == []
        judged(len(tx.inputs))


def test_policy_refuses_what_consensus_leaves_open() -> None:
    """A witness without a signature can be dressed up, but no node relays it then."""
    for spend in (*spends_of("Disprove.disprove link_i"), *spends_of("Child.anchor")):
        for attack in (annex, item_added):
            for what, case in attack(spend):
                relayed = policy.check(case.signed(), case.spent, child_pays=True) == []
                assert not (relayed and case.valid()), f"{spend.name}: {what}"


@pytest.mark.parametrize(("row", "attack", "cell"), CELLS)
def test_attack(row: str, attack: Attack, cell: str, judged: Callable[[int], None]) -> None:
    cases = [(spend.name, what, case) for spend in spends_of(row) for what, case in attack(spend)]
    assert bool(cases) == (cell != "-")
    wrong = [f"{name}: {what}" for name, what, case in cases if case.valid() != (cell == "o")]
    assert not wrong
    judged(len(cases))


@dataclass
class Play:
    """A deposit and a claim of their own on a chain, moved on transaction by transaction."""

    chain: "Chain"
    params: Params
    deposit: DepositSetup
    wrong: int | None = None
    """The step about which the operator lies."""
    sent: dict[str, Prepared] = field(default_factory=dict)
    bundle: Bundle | None = None

    def prepare(self, name: str) -> Prepared:
        """A transaction of the protocol as the role that sends it makes it."""
        wallets = self.chain.wallets
        match name.partition("_")[0]:
            case "PegInRefund":
                return depositor.refund(wallets[Role.DEPOSITOR], self.deposit, builders.wallet_key(Role.DEPOSITOR))
            case "PegIn":
                digests = committee.peg_in_digest(self.deposit, [self.claim()])
                signature = builders.committee_sign(self.deposit, digests)[committee.PEG_IN]
                return depositor.peg_in(wallets[Role.DEPOSITOR], self.deposit, signature)
            case "CooperativePayout":
                payout = committee.Payout(self.deposit, wallets[Role.WITHDRAWER].script_pubkey)
                signature = builders.committee_sign(self.deposit, payout.digests)[payout.label]
                return payout.finish(wallets[Role.DEPOSITOR], signature)
            case "KickOff":
                return operator.kick_off(wallets[Role.OPERATOR], self.claim().setup)
            case "Challenge":
                return challenger.challenge(wallets[Role.CHALLENGER], self.claim())
            case "HappyTake":
                return operator.happy_take(wallets[Role.OPERATOR], self.claim())
            case "Assert":
                return operator.reveal(wallets[Role.OPERATOR], self.claim().setup, self.assertion())
            case "AssertTimeout":
                return challenger.assert_timeout(wallets[Role.CHALLENGER], self.claim(), int(name.partition("_")[2]))
            case "UnhappyTake":
                return operator.unhappy_take(wallets[Role.OPERATOR], self.claim())
            case "Disprove":
                read = asserting.read(self.claim().setup, [self.sent["Assert"].tx])
                proof = dispute.prove(self.claim().setup, read)
                return challenger.disprove(wallets[Role.CHALLENGER], self.claim(), proof)
            case "Forfeit":
                return challenger.forfeit(wallets[Role.CHALLENGER], self.claim())
        return self.council(name)

    def claim(self) -> Bundle:
        """The operator's signed instance; its ClaimFunding confirms when it is first asked for."""
        if self.bundle is None:
            wallet, seed = self.chain.wallets[Role.OPERATOR], builders.SEEDS[Role.OPERATOR]
            spec = parse_program(builders.PROGRAM)
            prepared, setup = operator.claim_funding(wallet, self.deposit, spec, seed.winternitz_seed())
            self.chain.confirm(prepared)
            self.chain.reserve(setup.claim)
            self.bundle = builders.bundle(setup)
        return self.bundle

    def assertion(self) -> Assertion:
        setup = self.claim().setup
        values = setup.program.run(()).values if self.wrong is None else builders.lie(setup, self.wrong)
        return builders.sign_values(setup, values)

    def council(self, name: str) -> Prepared:
        """The council moves the vault, or the burn share of the bond."""
        spend = Book(self.claim().setup).spends[name]
        if name == "Council.burn":
            burned = next(tx for tx in self.sent.values() if spend.spent[0] in tx.tx.outputs)
            spend = spend.with_input(0, outpoint=burned.tx.outpoint(burned.tx.outputs.index(spend.spent[0])))
        return Prepared(name, Funded(spend.signed(), spend.spent))

    def valid_from(self, prepared: Prepared) -> int:
        """The first height that BIP68 allows, read off the transaction itself."""
        heights = [0]
        for txin in prepared.tx.inputs:
            coin = self.chain.node.output(txin.outpoint)
            if coin is not None and not txin.sequence >> 31:
                heights.append(coin.height + txin.sequence)
        return max(heights)

    def play(self, name: str) -> int:
        """Send it, one block early first: mempool and block must refuse. Returns the number of verdicts."""
        prepared = self.prepare(name)
        height, verdicts = self.valid_from(prepared), 1
        if height:
            self.chain.mine_to(height - 2)
            self.refused(prepared, "non-BIP68-final", "bad-txns-nonfinal")
            self.chain.mine_to(height - 1)
            verdicts = 3
        self.chain.confirm(prepared)
        self.sent[name] = prepared
        return verdicts

    def refused(self, prepared: Prepared, mempool: str, block: str) -> None:
        node = self.chain.node
        assert mempool in prepared.test(node).reason
        with pytest.raises(NodeRejected, match=block):
            node.mine_transactions(prepared.transactions)


class Chain:
    """An embedded node with coins for everyone."""

    def __init__(self, node: EmbeddedNode) -> None:
        self.node = node
        self.wallets = {role: Wallet(builders.wallet_key(role), node, fee_rate=2.0) for role in Role}
        for role in (Role.DEPOSITOR, Role.OPERATOR, Role.CHALLENGER):
            node.mine(COINS_EACH, self.wallets[role].script_pubkey)
        node.mine(100)

    def mine_to(self, height: int) -> None:
        self.node.mine(max(0, height - self.node.height()))

    def reserve(self, outpoint: OutPoint) -> None:
        wallet = self.wallets[Role.OPERATOR]
        self.wallets[Role.OPERATOR] = replace(wallet, reserved=wallet.reserved | {outpoint})

    def confirm(self, prepared: Prepared) -> None:
        """Through the mempool's rules into a block of Core's."""
        prepared.send(self.node)
        self.node.mine(1)
        assert self.node.find(prepared.tx.txid)

    def begin(self, params: Params, wrong: int | None = None) -> Play:
        prepared, setup = depositor.deposit(
            self.wallets[Role.DEPOSITOR], builders.request(params), builders.members(builders.request(params))
        )
        self.confirm(prepared)
        return Play(self, params, setup, wrong)


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    node = EmbeddedNode(tmp_path_factory.mktemp("leaves"))
    yield Chain(node)
    node.close()


@dataclass(frozen=True)
class Ending:
    """Transactions in order, and those that can never happen afterwards."""

    steps: str
    never: str
    wrong: int | None = None


ENDINGS: Final = {
    "refund": Ending("PegInRefund", "PegIn"),
    "cooperative": Ending("PegIn CooperativePayout", "PegInRefund"),
    "council": Ending("PegIn Council.vault", "CooperativePayout"),
    "happy": Ending("PegIn KickOff HappyTake", "Challenge AssertTimeout_0 UnhappyTake Forfeit CooperativePayout"),
    "challenged": Ending("PegIn KickOff Challenge Assert UnhappyTake", "HappyTake AssertTimeout_0 Forfeit"),
    "silent": Ending("PegIn KickOff Challenge AssertTimeout_0 Council.burn", "HappyTake UnhappyTake Forfeit Assert"),
    "forfeit": Ending("PegIn KickOff Forfeit Council.burn", "HappyTake UnhappyTake AssertTimeout_0"),
    "asserted, then forfeit": Ending("PegIn KickOff Assert Forfeit", "HappyTake UnhappyTake AssertTimeout_0"),
} | {
    f"lie {wrong}": Ending("PegIn KickOff Challenge Assert Disprove Council.burn", "UnhappyTake Forfeit", wrong)
    for wrong in range(4)
}  # fmt: skip
"""Ways through the protocol which together spend every leaf on a chain."""


@pytest.mark.parametrize("name", ENDINGS)
def test_ending(name: str, chain: Chain, judged: Callable[[int], None]) -> None:
    """Every step once on time and, where it waits, one block early; then what it rules out, for ever."""
    ending = ENDINGS[name]
    play = chain.begin(builders.WITH_COUNCIL, ending.wrong)
    verdicts = sum(play.play(step) for step in ending.steps.split())
    chain.mine_to(chain.node.height() + builders.WITH_COUNCIL.forfeit_csv)
    for rival in ending.never.split():
        play.refused(play.prepare(rival), "missingorspent", "missingorspent")
        verdicts += 2
    judged(verdicts)


def test_endings_spend_every_input_of_the_graph() -> None:
    played = {step for ending in ENDINGS.values() for step in ending.steps.split()}
    assert played == book().graph.txs.keys() | {"Council.vault", "Council.burn"}
    lies = {ending.wrong for ending in ENDINGS.values()} - {None}
    assert lies == set(range(len(book().setup.program.chunks)))
