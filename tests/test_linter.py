"""Every rule of the linter: silent on the graphs that are built, and heard on one that breaks it."""

from collections.abc import Callable
from copy import copy
from dataclasses import replace

import pytest

from bitvm_bridge import linter
from bitvm_bridge.errors import VerificationFailed
from bitvm_bridge.graph import ANCHOR, Graph, GraphInput, GraphTx
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.linter import ROOM_FOR_PROOF
from bitvm_bridge.params import DUST, Council, Params
from bitvm_bridge.policy import MAX_MINEABLE_WEIGHT
from bitvm_bridge.protocol import Party
from bitvm_bridge.protocol.template import Connector, Leaf
from bitvm_bridge.setup import split_bundles
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import Transaction, TxOut
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import OP_1, OP_RETURN
from tests import builders
from tests.builders import PLAIN, WITH_COUNCIL, PlainChecks, bare_instance, instance_setup

WIDEST = Params(
    refund_delay=65_535,
    challenge_window=16_384,
    assert_window=16_384,
    disprove_window=16_384,
    forfeit_window=16_383,
    council=None,
)


def mixed(raw: int, digests: int) -> Graph:
    """The graph of an assertion of so many values of 256 bits and of 160."""
    keys = (some_key(256),) * raw + (some_key(160),) * digests
    instance = replace(bare_instance(PlainChecks(1)), assertion=split_bundles(keys))
    return Graph(instance.deposit, builders.DEPOSIT_OUTPOINT, instance)


def some_key(bits: int) -> winternitz.PublicKey:
    return winternitz.public_key(winternitz.derive_secret(bytes(32), bytes(32), 0, bits))


NOT_THE_BURN = "Forfeit: output 0, which its signatures fix, is not the burn share to the sink"
SOUND = {
    "plain": instance_setup().graph,
    "council": instance_setup(params=WITH_COUNCIL).graph,
    "large council": instance_setup(
        params=replace(
            PLAIN, council=Council(20, tuple(SecretKey(bytes([n]) * 32).xonly for n in range(1, 21)), 65_535)
        )
    ).graph,
    "two connectors": instance_setup("hash-chain:14:1").graph,
    "longest assertion that relays": instance_setup("hash-chain:173:1").graph,
    "longest waits": instance_setup(params=WIDEST).graph,
    "least money": instance_setup(params=Params(peg_in=3_300, challenge=330, bond=1_321)).graph,
    "almost all burned": instance_setup(params=Params(challenge=330, burn_percent=99)).graph,
    "heaviest check": Graph(
        bare_instance(PlainChecks(1)).deposit,
        builders.DEPOSIT_OUTPOINT,
        bare_instance(PlainChecks(2, size=MAX_MINEABLE_WEIGHT - ROOM_FOR_PROOF - 1)),
    ),
    "both widths, longest assertion that relays": mixed(20, 143),
    "no one-time keys": Graph(
        bare_instance(PlainChecks(1)).deposit, builders.DEPOSIT_OUTPOINT, bare_instance(PlainChecks(1))
    ),
}


@pytest.mark.parametrize("name", SOUND)
def test_sound_graph_breaks_no_rule(name: str) -> None:
    assert linter.lint(SOUND[name]) == []
    linter.check(SOUND[name])


Change = Callable[[GraphTx], GraphTx]


def changed(*names: str, by: Change, graph: Graph = SOUND["plain"]) -> Graph:
    """The graph with some of its transactions replaced."""
    broken = copy(graph)
    broken.txs = graph.txs | {name: by(graph[name]) for name in names}
    return broken


def without(*names: str) -> Graph:
    broken = copy(SOUND["plain"])
    broken.txs = {name: item for name, item in broken.txs.items() if name not in names}
    return broken


def inputs(where: Callable[[GraphInput], bool], **changes: object) -> Change:
    """Some inputs changed, `leaf` and `signer` and so on."""
    return lambda item: replace(
        item,
        inputs=tuple(replace(entry, **changes) if where(entry) else entry for entry in item.inputs),  # type: ignore[arg-type]
    )


def named(name: str) -> Callable[[GraphInput], bool]:
    return lambda entry: entry.name == name


def drop_input(name: str) -> Change:
    def change(item: GraphTx) -> GraphTx:
        position = item.index(name)
        kept = [at for at in range(len(item.inputs)) if at != position]
        tx = replace(item.tx, inputs=tuple(item.tx.inputs[at] for at in kept))
        return replace(item, tx=tx, inputs=tuple(item.inputs[at] for at in kept))

    return change


def tx_with(change: Callable[[Transaction], Transaction]) -> Change:
    return lambda item: replace(item, tx=change(item.tx))


def output(position: int, value: TxOut) -> Change:
    return tx_with(lambda tx: replace(tx, outputs=(*tx.outputs[:position], value, *tx.outputs[position + 1 :])))


def heavy(item: GraphTx, size: int = 40_000) -> GraphTx:
    """The same with a leaf of `size` bytes in its first input."""
    connector = Connector(DUST, (Leaf("covenant", OP_1 * size),))
    first = replace(item.inputs[0], source=replace(item.inputs[0].source, connector=connector))
    return replace(item, inputs=(first, *item.inputs[1:]))


def is_committee(entry: GraphInput) -> bool:
    return entry.signer is Party.COMMITTEE


WALLET = TxOut(DUST, b"\x51\x20" + bytes(32))
TAKE = PLAIN.peg_in + PLAIN.bond + DUST
BROKEN = {
    # terminates
    "nothing takes the vault": (
        without("HappyTake", "UnhappyTake"),
        ["PegIn.vault: no pre-signed transaction spends it", "PegIn.vault: no timelocked path spends it"],
    ),
    "nothing answers the assertion": (
        without("Assert", "AssertTimeout_0"),
        ["KickOff.assertion_0: no pre-signed transaction spends it"],
    ),
    "the claim has no way out of KickOff": (
        without("HappyTake", "UnhappyTake", "Disprove", "Forfeit", "AssertTimeout_0"),
        [
            "PegIn.vault: no pre-signed transaction spends it",
            "KickOff.bond: no pre-signed transaction spends it",
            "KickOff.disprove: no pre-signed transaction spends it",
            "PegIn.vault: no timelocked path spends it",
            "KickOff.bond: no timelocked path spends it",
        ],
    ),
    "a deposit without an instance": (
        builders.deposit_setup().graph,
        ["PegIn.vault: no pre-signed transaction spends it"],
    ),
    # waits_end
    "no refund": (without("PegInRefund"), ["PegInDeposit.deposit: no timelocked path spends it"]),
    "refund without a wait": (
        changed("PegInRefund", by=inputs(named("deposit"), leaf="confirm")),
        ["PegInDeposit.deposit: no timelocked path spends it"],
    ),
    "takes without a wait": (
        changed(
            "HappyTake", by=inputs(named("challenge"), leaf="challenge"),
            graph=changed("UnhappyTake", by=inputs(named("disprove"), leaf="link_0")),
        ),
        ["PegIn.vault: no timelocked path spends it"],
    ),
    # endings_exclude_each_other
    "HappyTake beside a slashed bond": (
        changed("HappyTake", by=lambda item: output(0, TxOut(PLAIN.peg_in + DUST, b"\x51"))(drop_input("bond")(item))),
        ["HappyTake: does not spend KickOff.bond"],
    ),
    "HappyTake in spite of a Challenge": (
        changed(
            "HappyTake", by=lambda item: output(0, TxOut(TAKE - DUST, b"\x51"))(drop_input("challenge")(item))
        ),
        ["HappyTake: does not spend KickOff.challenge"],
    ),
    "UnhappyTake after a Disprove": (
        changed(
            "UnhappyTake", by=lambda item: output(0, TxOut(TAKE - DUST, b"\x51"))(drop_input("disprove")(item))
        ),
        ["UnhappyTake: does not spend KickOff.disprove"],
    ),
    "Challenge that stops nothing": (
        changed("Challenge", by=drop_input("challenge")),
        ["Challenge: does not spend KickOff.challenge"],
    ),
    "Disprove without proof": (
        changed("Disprove", by=drop_input("disprove")),
        ["Disprove: does not spend KickOff.disprove"],
    ),
    "AssertTimeout without the bond": (
        changed("AssertTimeout_0", by=drop_input("bond")),
        ["AssertTimeout_0: does not spend KickOff.bond", "AssertTimeout_0: no committee signature fixes an output"],
    ),
    "Forfeit of something else": (
        changed("Forfeit", by=inputs(named("bond"), source=SOUND["plain"].source("PegIn.vault"), leaf="covenant")),
        ["Forfeit: does not spend KickOff.bond"],
    ),
    # committee_commits_to_all_inputs
    "committee leaves inputs open": (
        changed("Forfeit", by=inputs(is_committee, sighash=SigHash.SINGLE_ANYONECANPAY)),
        ["Forfeit.bond: the committee signs with ANYONECANPAY"],
    ),
    "committee leaves inputs open but fixes outputs": (
        changed("HappyTake", by=inputs(named("vault"), sighash=SigHash.ALL_ANYONECANPAY)),
        ["HappyTake.vault: the committee signs with ANYONECANPAY"],
    ),
    "committee fixes no output": (
        changed("AssertTimeout_0", by=inputs(is_committee, sighash=SigHash.NONE)),
        ["AssertTimeout_0: no committee signature fixes an output"],
    ),
    "SINGLE without an output of its own": (
        changed("AssertTimeout_0", by=lambda item: replace(item, inputs=(
            replace(item.inputs[0], sighash=SigHash.NONE), replace(item.inputs[1], sighash=SigHash.SINGLE)
        ))),
        ["AssertTimeout_0: no committee signature fixes an output"],
    ),
    "no output to fix": (
        changed("Forfeit", by=tx_with(lambda tx: replace(tx, outputs=()))),
        ["Forfeit: no committee signature fixes an output", NOT_THE_BURN],
    ),
    # slashing_burns
    "burn share to a wallet": (
        changed("Forfeit", by=output(0, replace(WALLET, amount=PLAIN.burn))),
        [NOT_THE_BURN],
    ),
    "too little burned": (
        changed("Forfeit", by=output(0, TxOut(PLAIN.burn - 1, OP_RETURN))),
        [NOT_THE_BURN],
    ),
    # amounts_are_sound
    "fee in a complete transaction": (
        changed("HappyTake", by=output(0, TxOut(TAKE - 1, b"\x51"))),
        ["HappyTake: pays 1 sat of fee, expected 0"],
    ),
    "money out of nothing": (
        changed("UnhappyTake", by=output(0, TxOut(TAKE + 1, b"\x51"))),
        ["UnhappyTake: pays -1 sat of fee, expected 0"],
    ),
    "no anchor": (
        changed("HappyTake", by=tx_with(lambda tx: replace(tx, outputs=tx.outputs[:1]))),
        ["HappyTake: a zero-fee parent needs version 3 and an anchor"],
    ),
    "parent of version 2": (
        changed("KickOff", by=tx_with(lambda tx: replace(tx, version=2))),
        ["KickOff: a zero-fee parent needs version 3 and an anchor"],
    ),
    "dust": (
        changed("Forfeit", by=output(0, replace(WALLET, amount=DUST - 1))),
        [NOT_THE_BURN, "Forfeit output 0: 329 sat is dust"],
    ),
    "two anchors": (
        changed("Forfeit", by=tx_with(lambda tx: replace(tx, outputs=(*tx.outputs, replace(ANCHOR, amount=240))))),
        ["Forfeit output 1: 240 sat is dust"],
    ),
    # v3_is_small
    "heavy and version 3": (
        changed("HappyTake", by=heavy),
        ["HappyTake: 10,300 vB signed, a version 3 transaction may have 10,000"],
    ),
    # disproofs_fit_a_block
    "checks that no block takes": (
        Graph(
            bare_instance(PlainChecks(1)).deposit,
            builders.DEPOSIT_OUTPOINT,
            bare_instance(PlainChecks(2, size=MAX_MINEABLE_WEIGHT - ROOM_FOR_PROOF)),
        ),
        [
            "Disprove by check_0: up to 3,900,001 WU, a block takes 3,900,000",
            "Disprove by check_1: up to 3,900,001 WU, a block takes 3,900,000",
        ],
    ),
    # assertion_relays
    "both widths, an assertion that no node relays": (
        mixed(20, 144),
        ["Assert: 401,916 WU with its coins, the relay limit is 400,000"],
    ),
    "an assertion that no node relays": (
        instance_setup("hash-chain:174:1").graph,
        ["Assert: 401,016 WU with its coins, the relay limit is 400,000"],
    ),
}  # fmt: skip
"""A broken graph, and everything that the linter says about it."""


@pytest.mark.parametrize("name", BROKEN)
def test_broken_graph_is_named(name: str) -> None:
    graph, problems = BROKEN[name]
    assert linter.lint(graph) == problems
    with pytest.raises(VerificationFailed) as caught:
        linter.check(graph)
    assert str(caught.value) == problems[0]


def test_the_last_virtual_byte_of_version_3() -> None:
    for size, problems in ((38_803, 0), (38_804, 1)):
        graph = changed("HappyTake", by=lambda item, size=size: heavy(item, size))  # type: ignore[misc]
        assert linter.signed_vsize(graph["HappyTake"]) == 10_000 + problems
        assert len(linter.lint(graph)) == problems


def test_every_rule_is_shown_to_fire() -> None:
    silent = {rule.__name__ for rule in linter.RULES if not any(list(rule(graph)) for graph, _ in BROKEN.values())}
    assert not silent


def test_allowed_on_purpose() -> None:
    """What looks like a broken rule and is none."""
    version_2 = changed("Disprove", by=heavy)
    assert linter.lint(version_2) == []
    small = changed("Challenge", by=output(0, TxOut(1, OP_RETURN)))
    assert linter.lint(small) == []
    anyone = changed("Challenge", by=inputs(named("challenge"), sighash=SigHash.NONE_ANYONECANPAY))
    assert linter.lint(anyone) == []


def test_kick_off_of_too_many_connectors_is_refused() -> None:
    """227 outputs of 43 vB beside the 210 of the rest are 9,971 vB; one more is too much for version 3."""
    key = instance_setup().keys[:1]
    for count, problems in ((227, []), (228, ["KickOff: 10,014 vB signed, a version 3 transaction may have 10,000"])):
        instance = replace(bare_instance(PlainChecks(1)), assertion=(key,) * count)
        graph = Graph(instance.deposit, instance.deposit_outpoint, instance)
        assert list(linter.v3_is_small(graph)) == problems


def test_signed_size_is_that_of_the_signed_transaction() -> None:
    setup = instance_setup()
    bundle = builders.bundle(setup)
    for name in ("HappyTake", "UnhappyTake", "AssertTimeout_0", "Forfeit", "Challenge"):
        item = setup.graph[name]
        tx = item.tx
        for index, entry in enumerate(item.inputs):
            tx = tx.with_witness(index, entry.witness([bundle.signature(name, entry.name)]))
        assert linter.signed_vsize(item) == tx.vsize
