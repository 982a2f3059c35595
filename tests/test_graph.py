"""The graph: every byte of it follows from public inputs, and every count and amount is the protocol's."""

import tracemalloc
from collections.abc import Iterator
from dataclasses import replace

import pytest

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import ANCHOR, Graph
from bitvm_bridge.linter import signed_vsize
from bitvm_bridge.params import DUST, Params
from bitvm_bridge.protocol import (
    DEPOSIT_TEMPLATES,
    Deposit,
    Instance,
    Party,
    PegIn,
    PegOut,
    Request,
    instance_id,
    wallet_script,
)
from bitvm_bridge.protocol.template import ANY_LEAF, Pay, Spend, Template
from bitvm_bridge.roles import presigned
from bitvm_bridge.setup import InstanceSetup, split_bundles
from bitvm_bridge.taproot import NUMS_KEY, SigHash
from bitvm_bridge.transaction import SEQUENCE_RBF, OutPoint
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import OP_RETURN, push
from tests import builders
from tests.builders import PLAIN, WITH_COUNCIL, PlainChecks, bare_instance, instance_setup

CAPACITY = winternitz.bundle_capacity(160)
"""Values that one assert connector reveals."""
ONE, TWO, THREE = 1, CAPACITY + 1, 2 * CAPACITY + 1
"""Values of a program with one, two and three assert connectors."""


def graph_of(instance: Instance) -> Graph:
    return Graph(instance.deposit, instance.deposit_outpoint, instance)


def chain_of(length: int, params: Params = PLAIN) -> InstanceSetup:
    return instance_setup(f"hash-chain:{length}:1", params)


def txids(graph: Graph) -> dict[str, str]:
    return {name: item.tx.txid_hex for name, item in graph.txs.items()}


def key(secret: int) -> bytes:
    return secp.xonly_public_key(bytes([secret]) * 32)


def pinned_instance(params: Params) -> Instance:
    """Nothing but constants; no key derivation, no one-time key and no program has a part in it."""
    deposit = Deposit(Request(params, key(1), b"receiver"), key(2))
    name = instance_id(params, Graph(deposit, OutPoint(b"\x0d" * 32, 0)).vault, key(3), "plain")
    checks = PlainChecks(5)
    return Instance(deposit, OutPoint(b"\x0d" * 32, 0), key(3), OutPoint(b"\x0c" * 32, 1), "plain", (), checks, name)


PINNED = {
    "PegInRefund": "4fc95d51d5ff3febe3fab20729b83323215d5ffc7d4ee25f53def72876218630",
    "PegIn": "f2dc698105b7fa627ec380820e1dc5253ad6c9117a576fd804c0b4503ef0b79e",
    "CooperativePayout": "e1da8f547d70e311a25d1c365d1358eaf71867a21bcdbab4e812bc69b08c077a",
    "KickOff": "03a86aca1faa35403d85c2a9fbf43b18081c12b974c35a52f184440faa955a91",
    "Challenge": "bc9efe06dcbbba4f93aa5837d93aaf7d1d439817a36378d8f8026ed5996156aa",
    "HappyTake": "d09d6f07bebd845cf54e017555160c985f20616d580baecd9fcebfc8dd0ca52e",
    "UnhappyTake": "15a043a1dddc46db6fa1cca41191aa32f0f73cc149533e354cd2bbf009f3cf98",
    "Disprove": "6eb6b9de2dc357c5c16a29a0a4d440f361c789ab21d472b08d17ef49af14bff1",
    "Forfeit": "a5c0cd924dbd1828c133203e63a39c1d69b08301f403f4fccd166af120e4b5f8",
}
"""As explorers show them; an open transaction as far as the graph fixes it."""


def test_ids_and_txids_are_pinned() -> None:
    """Whoever rebuilds this instance, today or in another version, must come to the same transactions."""
    instance = pinned_instance(PLAIN)
    assert instance.deposit.request.id.hex() == "55cf78f701d80f53ee586ceda18a99faabf6e9dd7a652377728536f4a3ec2f7f"
    assert instance.id.hex() == "26c4a88e5709f00b22e8f40fb7d06fe313dd4705593c18f55bfe1db8ed1e519c"
    found = txids(graph_of(instance))
    assert {name: found[name] for name in PINNED} == PINNED
    assert found.keys() - PINNED == {"Assert"}, "without one-time keys it has no input"


@pytest.mark.parametrize("params", [PLAIN, WITH_COUNCIL], ids=["plain", "council"])
@pytest.mark.parametrize("length", [ONE, TWO])
def test_same_inputs_give_the_same_bytes(length: int, params: Params) -> None:
    setup = chain_of(length, params)
    again = InstanceSetup.from_json(setup.to_json())
    assert again.id == setup.id
    assert txids(again.graph) == txids(setup.graph)
    for name, item in setup.graph.txs.items():
        other = again.graph[name]
        assert item.tx == other.tx
        assert item.spent == other.spent
    for party in (Party.COMMITTEE, Party.OPERATOR):
        assert again.graph.owed(party) == setup.graph.owed(party)


CHANGES = {
    "operator": {"seed": builders.OTHER_OPERATOR},
    "deposit": {"deposit": OutPoint(b"\xd5" * 32, 0)},
    "deposit output": {"deposit": OutPoint(builders.DEPOSIT_OUTPOINT.txid, 1)},
    "program": {"program": "hash-chain:5:1"},
    "council": {"params": WITH_COUNCIL},
    "window": {"params": replace(PLAIN, disprove_window=7)},
    "bond": {"params": replace(PLAIN, bond=PLAIN.bond + 1)},
    "burn": {"params": replace(PLAIN, burn_percent=49)},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_input_gives_another_instance(change: str) -> None:
    """Its id and every transaction from KickOff on."""
    setup, other = instance_setup(), instance_setup(**CHANGES[change])  # type: ignore[arg-type]
    assert setup.id != other.id
    instance_names = [name for name, item in setup.graph.txs.items() if item.template not in DEPOSIT_TEMPLATES]
    assert not [name for name in instance_names if txids(setup.graph)[name] == txids(other.graph)[name]]


def test_the_claim_coin_is_no_part_of_the_id() -> None:
    """One-time keys are derived from the id before the coin exists; its outpoint fixes the txids."""
    setup, other = instance_setup(), instance_setup(claim=OutPoint(b"\xc9" * 32, 0))
    assert (setup.id, setup.keys) == (other.id, other.keys)
    assert setup.graph["KickOff"].tx.txid != other.graph["KickOff"].tx.txid
    assert setup.graph["PegIn"].tx == other.graph["PegIn"].tx


def test_claim_and_deposit_must_differ() -> None:
    with pytest.raises(BadInput, match="claim"):
        replace(bare_instance(PlainChecks(1)), claim=builders.DEPOSIT_OUTPOINT)


@pytest.mark.parametrize("params", [PLAIN, WITH_COUNCIL], ids=["plain", "council"])
def test_signing_changes_no_txid(params: Params) -> None:
    """What the committee signs at set-up is spendable by what it signs at set-up: no witness reaches a txid."""
    setup = chain_of(TWO, params)
    bundle, graph = builders.bundle(setup), setup.graph
    for item in graph.presigned():
        if item.name in ("PegIn", "Disprove"):
            continue
        tx = presigned.signed(bundle, item)
        assert all(txin.witness for txin in tx.inputs)
        assert tx.txid == item.tx.txid
        assert tx.wtxid != item.tx.wtxid
    for item in graph.txs.values():
        for entry in item.inputs:
            maker = entry.source.name.partition(".")[0]
            if maker in graph.txs:
                assert entry.source.outpoint.txid == graph[maker].tx.txid
                assert graph[maker].tx.outputs[entry.source.outpoint.vout] == entry.source.output


def test_what_the_graph_fixes_completely() -> None:
    """Their txids are known at set-up; whoever sends the others adds coins or outputs."""
    complete = {name for name, item in chain_of(ONE).graph.txs.items() if item.is_complete}
    assert complete == {"PegIn", "KickOff", "HappyTake", "UnhappyTake"}


@pytest.mark.parametrize(("length", "connectors"), [(ONE, 1), (CAPACITY, 1), (TWO, 2), (2 * CAPACITY, 2), (THREE, 3)])
def test_signatures_owed(length: int, connectors: int) -> None:
    """The table of the protocol: three for each take, two for each timeout, one for Disprove and for Forfeit."""
    setup = chain_of(length)
    owed = list(setup.graph.owed())
    table = {"HappyTake": 3, "UnhappyTake": 3, "Disprove": 1, "Forfeit": 1}
    table |= {f"AssertTimeout_{index}": 2 for index in range(connectors)}
    assert {name: sum(tx == name for tx, _ in owed) for name, _ in owed} == table
    assert list(setup.graph.owed(Party.OPERATOR)) == [("Challenge", "challenge")]
    assert not setup.graph.owed(Party.DEPOSITOR)
    assert len(split_bundles(setup.keys)) == connectors
    assert builders.bundle(setup).signatures.keys() == {*owed, ("Challenge", "challenge")}


def test_a_deposit_alone_owes_nothing_yet() -> None:
    graph = builders.deposit_setup().graph
    assert list(graph.txs) == ["PegInRefund", "PegIn", "CooperativePayout"]
    assert not graph.owed()
    assert [item.name for item in graph.presigned()] == ["PegIn"]


def test_every_owed_digest_is_another() -> None:
    """A signature fits one input of one transaction of one instance."""
    digests = [
        digest
        for setup in (chain_of(TWO), instance_setup(seed=builders.OTHER_OPERATOR), chain_of(TWO, WITH_COUNCIL))
        for party in (Party.COMMITTEE, Party.OPERATOR)
        for digest in setup.graph.owed(party).values()
    ]
    assert len(set(digests)) == len(digests)


def test_sighash_of_every_input() -> None:
    open_inputs = {
        ("Challenge", "challenge"): SigHash.SINGLE_ANYONECANPAY,
        ("AssertTimeout_0", "bond"): SigHash.SINGLE,
        ("AssertTimeout_0", "assertion_0"): SigHash.NONE,
        ("Disprove", "bond"): SigHash.SINGLE,
        ("Forfeit", "bond"): SigHash.SINGLE,
    }
    for item in chain_of(ONE).graph.txs.values():
        for entry in item.inputs:
            assert entry.sighash is open_inputs.pop((item.name, entry.name), SigHash.DEFAULT)
    assert not open_inputs


@pytest.mark.parametrize("params", [PLAIN, WITH_COUNCIL], ids=["plain", "council"])
@pytest.mark.parametrize("length", [ONE, TWO, THREE])
def test_amounts_are_conserved(length: int, params: Params) -> None:
    graph = chain_of(length, params).graph
    amounts = {name: out.output.amount for name, out in graph.sources.items()}
    connectors = len(split_bundles(chain_of(length, params).keys))
    assert amounts["ClaimFunding.claim"] == params.bond + DUST * (connectors + 2)
    assert amounts["HappyTake.payout"] == params.peg_in + params.bond + DUST
    assert amounts["UnhappyTake.payout"] == params.peg_in + params.bond + DUST
    assert amounts["Challenge.payment"] == params.challenge
    assert {amounts[name] for name in amounts if name.endswith(".burn")} == {params.burn}
    for item in graph.txs.values():
        fee = sum(out.amount for out in item.spent) - sum(out.amount for out in item.tx.outputs)
        if item.is_complete:
            assert fee == 0, item.name
            assert (item.tx.version, item.tx.outputs.count(ANCHOR)) == (3, 1)
    # What slashing leaves free is the reward and the dust of the other input.
    for name, dust in (("AssertTimeout_0", DUST), ("Disprove", DUST), ("Forfeit", 0)):
        item = graph[name]
        assert sum(out.amount for out in item.spent) - item.tx.outputs[0].amount == params.reward + dust


def test_transaction_that_pays_out_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Greedy(Template):
        sender = Party.ANYONE
        vault = Spend(PegIn.vault, leaf="covenant", signer=Party.COMMITTEE)
        payout = Pay(to=lambda _: OP_RETURN, amount=lambda of: of.params.peg_in + 1)

    monkeypatch.setattr("bitvm_bridge.graph.INSTANCE_TEMPLATES", (Greedy,))
    with pytest.raises(BadInput, match="Greedy outputs: '1 sat more than its inputs'"):
        graph_of(bare_instance(PlainChecks(1)))


def test_waits_follow_the_windows() -> None:
    params = replace(PLAIN, refund_delay=100, challenge_window=1, assert_window=20, disprove_window=300)
    params = replace(params, forfeit_window=4_000)
    waits = {
        "PegInRefund.deposit": 100,
        "HappyTake.challenge": 1,
        "AssertTimeout_0.assertion_0": 21,
        "AssertTimeout_1.assertion_1": 21,
        "UnhappyTake.disprove": 321,
        "Forfeit.bond": 4_321,
    }
    for item in chain_of(TWO, params).graph.txs.values():
        for entry, txin in zip(item.inputs, item.tx.inputs, strict=True):
            wait = waits.pop(f"{item.name}.{entry.name}", 0)
            assert entry.wait == wait
            assert txin.sequence == (wait or SEQUENCE_RBF)
    assert not waits


def test_versions() -> None:
    """Version 3 where a child must pay; never where a transaction may pass 10,000 vB or pays for itself."""
    versions = {name: item.tx.version for name, item in chain_of(ONE).graph.txs.items()}
    two = {name for name, version in versions.items() if version == 2}
    assert two == {"PegInRefund", "Challenge", "Assert", "Disprove"}
    assert set(versions.values()) == {2, 3}


def test_outputs_and_inputs_are_reached_by_name() -> None:
    graph = chain_of(TWO).graph
    kick_off = graph["KickOff"]
    names = ["challenge", "bond", "assertion_0", "assertion_1", "disprove", "anchor"]
    assert list(kick_off.outputs) == names
    for vout, name in enumerate(names):
        source = graph.source(f"KickOff.{name}")
        assert source.outpoint == kick_off.tx.outpoint(vout)
        assert source.output == kick_off.tx.outputs[vout]
    assert [entry.name for entry in graph["Assert"].inputs] == ["assertion_0", "assertion_1"]
    assert [entry.source.name for entry in graph["AssertTimeout_1"].inputs] == ["KickOff.bond", "KickOff.assertion_1"]
    assert graph.vault == graph.source("PegIn.vault").outpoint == graph["HappyTake"].inputs[0].source.outpoint
    assert graph["HappyTake"].index("bond") == 2


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda graph: graph["AssertTimeout_9"], "transaction"),
        (lambda graph: graph["happytake"], "transaction"),
        (lambda graph: graph.source("KickOff.bonds"), "output"),
        (lambda graph: graph["HappyTake"].index("assertion_0"), "HappyTake input"),
        (lambda graph: graph["HappyTake"].digest("funding"), "HappyTake input"),
        (lambda graph: graph.source("KickOff.bond").connector.leaf("happy"), "leaf name"),
        (lambda graph: graph.source("KickOff.disprove").connector.leaf("link_9"), "leaf name"),
        (lambda graph: graph.source("KickOff.disprove").connector.script_path(ANY_LEAF), "leaf name"),
    ],
)
def test_unknown_names_are_refused(ask: object, field: str) -> None:
    with pytest.raises(BadInput) as caught:
        ask(chain_of(ONE).graph)  # type: ignore[operator]
    assert caught.value.field == field


def test_no_key_path_anywhere() -> None:
    """Every connector hides nothing but its leaves: the internal key is the point nobody has a secret for."""
    connectors = [source.connector for source in chain_of(ONE, WITH_COUNCIL).graph.sources.values() if source.connector]
    assert len(connectors) == 6
    for connector in connectors:
        for name in connector.tree.names:
            assert connector.tree.control_block(name)[1:33] == NUMS_KEY


def test_where_money_leaves_the_graph() -> None:
    for params in (PLAIN, WITH_COUNCIL):
        setup = chain_of(ONE, params)
        scripts = {name: source.output.script_pubkey for name, source in setup.graph.sources.items()}
        wallet = wallet_script(setup.operator)
        assert {scripts[name] for name in ("HappyTake.payout", "UnhappyTake.payout", "Challenge.payment")} == {wallet}
        assert scripts["ClaimFunding.claim"] == wallet
        burns = {script for name, script in scripts.items() if name.endswith(".burn")}
        assert len(burns) == 1
        assert (burns == {OP_RETURN}) == (params.council is None)


def test_peg_out_names_the_instance() -> None:
    """Its marker is no input of the graph, but it is declared like every other output."""
    setup = chain_of(ONE)
    assert PegOut.instance in PegOut.fields
    assert PegOut.instance.to(setup.instance) == OP_RETURN + push(setup.id)


SIZES = {
    "PegInRefund": 94,
    "PegIn": 153,
    "CooperativePayout": 99,
    "KickOff": 210,
    "Challenge": 137,
    "HappyTake": 308,
    "UnhappyTake": 308,
    "Forfeit": 105,
}
"""vB with every signature in, as far as the graph fixes the transaction; the receiver has 8 bytes."""
OUTPUT = 43
"""vB of a P2TR output."""
SIBLING = 8
"""vB of one more level in a control block."""


def sizes(graph: Graph) -> dict[str, int]:
    return {name: signed_vsize(graph[name]) for name in SIZES}


@pytest.mark.parametrize("leaves", [1, 2, 40])
def test_signed_sizes_are_pinned(leaves: int) -> None:
    """However many checks there are: only Disprove itself pays for their depth."""
    assert sizes(graph_of(replace(pinned_instance(PLAIN), checks=PlainChecks(leaves)))) == SIZES


def test_council_costs_a_level_and_an_output_script() -> None:
    found = sizes(graph_of(pinned_instance(WITH_COUNCIL)))
    deeper = {name: SIZES[name] + SIBLING for name in ("CooperativePayout", "HappyTake", "UnhappyTake")}
    assert found == SIZES | deeper | {"Forfeit": SIZES["Forfeit"] + OUTPUT - 10}


@pytest.mark.parametrize(("length", "connectors"), [(ONE, 1), (TWO, 2), (THREE, 3)])
def test_connectors_cost_an_output_of_kick_off_and_a_timeout_each(length: int, connectors: int) -> None:
    graph = chain_of(length).graph
    found = sizes(graph)
    assert found["KickOff"] == SIZES["KickOff"] + OUTPUT * connectors
    assert (found["HappyTake"], found["UnhappyTake"]) == (SIZES["HappyTake"], SIZES["UnhappyTake"])
    assert [signed_vsize(graph[f"AssertTimeout_{index}"]) for index in range(connectors)] == [187] * connectors


DELAYS = {1: 0, 16: 0, 17: 1, 127: 1, 128: 2, 32_767: 2, 32_768: 3, 65_535: 3}
"""Refund delay → bytes that its push needs beyond one."""


@pytest.mark.parametrize("delay", DELAYS)
def test_refund_pays_for_the_bytes_of_its_delay(delay: int) -> None:
    base = len(
        builders.deposit_setup(replace(PLAIN, refund_delay=1)).graph["PegInRefund"].inputs[0].witness([bytes(64)])[1]
    )
    script = builders.deposit_setup(replace(PLAIN, refund_delay=delay)).graph["PegInRefund"].inputs[0].witness([b""])[1]
    assert len(script) == base + DELAYS[delay]


RECEIVERS = {1: 0, 75: 0, 76: 1, 255: 1, 256: 2, 520: 2}
"""bytes of the receiver → bytes that its push needs beyond one."""


@pytest.mark.parametrize("size", RECEIVERS)
def test_confirm_leaf_carries_the_receiver(size: int) -> None:
    receiver = b"\x55" * size
    request = Request(PLAIN, secp.xonly_public_key(b"\x01" * 32), receiver)
    graph = Graph(Deposit(request, builders.deposit_setup().committee.key), builders.DEPOSIT_OUTPOINT)
    script = graph["PegIn"].inputs[0].witness([b""])[1]
    assert receiver in script
    assert len(script) == 3 + 1 + size + RECEIVERS[size] + 34


DEPTHS = {1: 1, 2: 2, 3: 3, 4: 3, 5: 4, 16: 5, 17: 6, 40: 7}
"""Number of checks → siblings on the longest path to one, the `unhappy` leaf's side included."""


@pytest.mark.parametrize("count", DEPTHS)
def test_check_leaves_lie_as_deep_as_they_must(count: int) -> None:
    connector = graph_of(bare_instance(PlainChecks(count))).source("KickOff.disprove").connector
    assert connector is not None
    depths = [len(connector.tree.path(f"check_{index}")) for index in range(count)]
    assert max(depths) == DEPTHS[count]
    assert len(connector.tree.path("unhappy")) == 1
    blocks = {connector.script_path(f"check_{index}") for index in range(count)}
    assert len(blocks) == count


def test_two_checks_of_one_name_are_refused() -> None:
    class Twice(PlainChecks):
        def leaves(self) -> Iterator[tuple[str, bytes]]:
            return iter([("check_0", b"\x51"), ("check_0", b"\x52")])

    with pytest.raises(BadInput, match="leaf name: 'check_0'"):
        graph_of(bare_instance(Twice(2)))


def test_ten_thousand_leaves_are_hashed_and_forgotten() -> None:
    """Twenty megabytes of scripts pass through; what stays is hashes and names, under 400 bytes a leaf."""
    checks = PlainChecks(10_000, size=2_000)
    instance = bare_instance(checks)
    tracemalloc.start()
    try:
        graph = graph_of(instance)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert checks.reads == 1
    assert peak < 4_000_000, peak
    connector = graph.source("KickOff.disprove").connector
    assert connector is not None
    script, control = connector.script_path("check_0")
    assert script == checks.leaf("check_0")
    assert len(control) == 33 + 32 * 15
