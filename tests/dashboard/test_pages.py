"""What the page is told, in every state of an instance, compared with what `status` says; and what it is never told."""

import json
import time
from collections import Counter
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from bitvm_bridge import records
from bitvm_bridge.chain.embedded import EmbeddedNode, fingerprint
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.node import Node
from bitvm_bridge.chain.rpc import from_options
from bitvm_bridge.dashboard import pages, shown
from bitvm_bridge.dashboard.reader import Reader, Snapshot
from bitvm_bridge.errors import NodeUnreachable
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import Transaction
from tests.cli.bridge import PLAIN, WINDOW, Bridge, join, make_deposit, make_keys, rpc_options, set_up
from tests.dashboard.conftest import HOSTILE, PROGRAM, Stages, make_reader

Stage = tuple[str, Bridge, str]


def look(bridge: Bridge) -> Snapshot:
    with closing(make_reader(bridge)) as reader:
        return reader.snapshot()


def by_state(document: Any) -> dict[str, set[str]]:
    """State → the transactions in it."""
    found: dict[str, set[str]] = {}
    for name, tx in document["transactions"].items():
        found.setdefault(tx["state"], set()).add(name)
    return found


def test_overview_says_what_status_says(stage: Stage) -> None:
    name, bridge, instance = stage
    before = bridge.contents()
    found = pages.overview(look(bridge))
    assert bridge.contents() == before, "the store is only looked at"
    (row,) = found["instances"]
    said = bridge.data("status")
    assert {key: row[key] for key in said["instances"][0]} == said["instances"][0]
    assert (row["instance"], row["state"], found["height"]) == (instance, name, said["height"])
    assert found["at_risk"] == said["instances"][0]["at_risk"]
    assert found["node"] == {"name": "embedded", "problem": None}
    assert found["store"] == {"problem": None}


def test_states_are_those_of_the_duties(stage: Stage) -> None:
    _, bridge, instance = stage
    page = pages.instance(look(bridge), instance)
    said = bridge.data("instance", "status", instance)
    possible = {duty["name"]: duty for duty in said["possible"]}
    states = by_state(page)
    wallets = {"PegInDeposit", "PegOut", "ClaimFunding"}
    now = {name for name, duty in possible.items() if duty["from"] <= said["height"] + 1}
    assert states.get("ready", set()) - wallets == now
    assert states.get("waiting", set()) == possible.keys() - now
    for name, duty in possible.items():
        assert page["transactions"][name]["block"] == duty["from"]
        assert page["transactions"][name]["sender"] == duty["sender"]
    confirmed = {event["name"]: event["height"] for event in said["events"]}
    assert confirmed.items() <= {name: page["transactions"][name]["block"] for name in states["confirmed"]}.items()
    assert states["confirmed"] - confirmed.keys() <= wallets, "whose outputs are spent, or none of the graph's"


ENDED = {
    "taken": ("HappyTake", {"Challenge", "Assert", "AssertTimeout_0", "UnhappyTake", "Disprove", "Forfeit"}),
    "disproved": ("Disprove", {"HappyTake", "AssertTimeout_0", "UnhappyTake", "Forfeit"}),
    "timed-out": ("AssertTimeout_0", {"HappyTake", "Assert", "UnhappyTake", "Disprove", "Forfeit"}),
    "forfeited": ("Forfeit", {"HappyTake", "AssertTimeout_0", "UnhappyTake", "Disprove"}),
    "refunded": ("PegInRefund", {"PegIn", "PegOut", "CooperativePayout", "HappyTake", "UnhappyTake"}),
}


@pytest.mark.parametrize("name", ENDED)
def test_an_end_makes_the_others_impossible(stages: Stages, name: str) -> None:
    bridge, instance = stages[name]
    page = pages.instance(look(bridge), instance)
    last, gone = ENDED[name]
    transactions = page["transactions"]
    assert transactions[last]["state"] == "confirmed"
    assert transactions[last]["block"] == page["height"]
    assert gone <= by_state(page)["impossible"] | {"Challenge"}
    for other in gone & by_state(page)["impossible"]:
        assert transactions[other]["reason"]
    wires = {(wire["port"], wire["target"]): wire["state"] for wire in page["graph"]["wires"]}
    assert {state for (port, target), state in wires.items() if port and target == last} == {"spent"}
    assert all(state == "dead" for (_, target), state in wires.items() if transactions[target]["state"] == "impossible")


def test_what_comes_later_says_after_what(stages: Stages) -> None:
    bridge, instance = stages["deposited"]
    transactions = pages.instance(look(bridge), instance)["transactions"]
    assert transactions["PegOut"]["reason"] == "after PegIn"
    assert transactions["HappyTake"]["reason"] == "after PegIn and KickOff"
    assert transactions["PegIn"]["state"] == "ready"
    bridge, instance = stages["kicked-off"]
    transactions = pages.instance(look(bridge), instance)["transactions"]
    assert transactions["UnhappyTake"]["reason"] == "after Assert"
    bridge, instance = stages["challenged"]
    transactions = pages.instance(look(bridge), instance)["transactions"]
    assert transactions["PegOut"]["state"] == "impossible"
    assert transactions["PegOut"]["reason"].startswith("too late: KickOff confirmed in block ")
    height = transactions["Challenge"]["block"]
    assert transactions["HappyTake"]["reason"] == f"KickOff.challenge was spent by Challenge in block {height}"


def test_the_mempool_is_seen(stages: Stages, tmp_path: Path) -> None:
    bridge, instance = stages["pegged-in"][0].copy(tmp_path / "data"), stages["pegged-in"][1]
    report = bridge.data("operator", "kick-off", instance, "--broadcast")
    found = look(bridge)
    page = pages.instance(found, instance)
    assert by_state(page)["pending"] == {"KickOff"}
    assert page["transactions"]["HappyTake"]["state"] == "later"
    detail = pages.tx(found, instance, "KickOff")
    assert (detail["form"], detail["txid"]) == ("mempool", report["txid"])
    bridge.mine()
    assert "KickOff" in by_state(pages.instance(look(bridge), instance))["confirmed"]


def test_windows_begin_with_the_claim(stages: Stages) -> None:
    bridge, instance = stages["kicked-off"]
    page = pages.instance(look(bridge), instance)
    deposit, claim = page["windows"]
    height = claim["height"]
    assert height == page["transactions"]["KickOff"]["block"]
    w = WINDOW
    assert {row["name"]: (row["from"] - height, row["before"] and row["before"] - height) for row in claim["rows"]} == {
        "Challenge": (1, w),
        "Assert": (1, 2 * w),
        "Disprove": (1, 3 * w),
        "HappyTake": (w, 2 * w),
        "AssertTimeout_0": (2 * w, 3 * w),
        "UnhappyTake": (3 * w, 4 * w),
        "Forfeit": (4 * w, None),
    }
    assert [row["name"] for row in deposit["rows"]] == ["PegIn", "PegInRefund"]
    for duty in pages.overview(look(bridge))["instances"][0]["next"]:
        (row,) = [row for row in claim["rows"] if row["name"] == duty["name"]]
        assert (row["from"], row["before"]) == (duty["from"], duty["before"])


def test_windows_before_the_claim_count_from_it(stages: Stages) -> None:
    bridge, instance = stages["pegged-in"]
    _, claim = pages.instance(look(bridge), instance)["windows"]
    assert claim["height"] is None
    assert {row["name"]: row["from"] for row in claim["rows"]}["UnhappyTake"] == 3 * WINDOW


FORMS = {
    "deposited": {"confirmed": {"PegInDeposit", "ClaimFunding"}},
    "pegged-in": {"confirmed": {"PegInDeposit", "PegIn", "ClaimFunding"}, "signed": {"HappyTake", "UnhappyTake"}},
    "taken": {"signed": {"UnhappyTake"}},
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(stages: Stages, name: str) -> None:
    bridge, instance = stages[name]
    found = look(bridge)
    forms = {tx: pages.tx(found, instance, tx)["form"] for tx in pages.instance(found, instance)["transactions"]}
    for form, names in FORMS[name].items():
        assert {tx for tx, value in forms.items() if value == form} >= names


def test_details_are_those_of_the_graph(stage: Stage) -> None:
    _, bridge, instance = stage
    with bridge.store() as store:
        graph = records.load_instance(store, instance).graph
    found = look(bridge)
    for name in pages.instance(found, instance)["transactions"]:
        page = pages.tx(found, instance, name)
        assert (page["raw"] is None) == (page["form"] in ("unsigned", "unknown"))
        if page["raw"] is not None:
            tx = Transaction.parse_hex(page["raw"]["hex"])
            assert (tx.txid_hex, tx.vsize, tx.weight) == (page["txid"], page["vsize"], page["weight"])
        if name not in graph.txs:
            continue
        declared = graph[name]
        if declared.is_complete:
            assert page["txid"] == declared.tx.txid_hex
        inputs = [item for item in page["inputs"] if item["name"] is not None]
        for item, entry in zip(inputs, declared.inputs, strict=True):
            assert item["spends"] == entry.source.name
            assert item["amount"] == entry.source.output.amount
            if "script" in item and entry.source.connector is not None:
                script, control = entry.source.connector.script_path(item["leaf"])
                assert item["script"]["size"] == len(script)
                assert script.hex().startswith(item["script"]["hex"])
                assert item["control_block"]["hex"] == control.hex()


def test_a_take_from_the_page_can_be_sent(stages: Stages, tmp_path: Path) -> None:
    bridge, instance = stages["kicked-off"][0].copy(tmp_path / "data"), stages["kicked-off"][1]
    page = pages.tx(look(bridge), instance, "HappyTake")
    raw = tmp_path / "raw.hex"
    raw.write_text(page["raw"]["hex"])
    bridge.refused("node", "mine-transactions", str(raw), code=4)
    bridge.mine_to(page["block"] - 1)
    bridge.run("node", "mine-transactions", str(raw))
    assert bridge.state(instance) == "HappyTake"


def test_a_disprove_names_its_leaf(stages: Stages) -> None:
    bridge, instance = stages["disproved"]
    page = pages.tx(look(bridge), instance, "Disprove")
    by_name = {item["name"]: item for item in page["inputs"]}
    assert by_name["disprove"]["leaf"] == "link_1"
    assert by_name["disprove"]["signer"] is None
    assert page["fee"] > 0
    bridge, instance = stages["asserted"]
    page = pages.tx(look(bridge), instance, "Disprove")
    (item,) = [item for item in page["inputs"] if item["name"] == "disprove"]
    assert item["leaves"]["count"] == len(item["leaves"]["first"])
    assert {"unhappy", "link_1"} <= {leaf["name"] for leaf in item["leaves"]["first"]}
    assert page["open"] == ["outputs for anyone"]


def test_many_of_a_kind_are_one_box_and_a_heavy_program_is_cut(stages: Stages, tmp_path: Path) -> None:
    bridge = stages["deposited"][0].copy(tmp_path / "data")
    instance = join(bridge, make_deposit(bridge, "--refund-delay", "30"), "hash-chain:60:30")
    found = look(bridge)
    page = pages.instance(found, instance)
    boxes = {box["name"]: box for box in page["graph"]["boxes"]}
    assert boxes["AssertTimeout"]["members"] == tuple(f"AssertTimeout_{index}" for index in range(5))
    (port,) = [port for port in boxes["KickOff"]["ports"] if port["name"] == "assertion"]
    assert port["count"] == 5
    assert len({(wire["source"], wire["port"], wire["target"]) for wire in page["graph"]["wires"]}) == len(
        page["graph"]["wires"]
    )
    disprove = pages.tx(found, instance, "Disprove")
    (leaves,) = [item["leaves"] for item in disprove["inputs"] if "leaves" in item]
    assert leaves["size"] > 1_000_000
    assert len(leaves["first"]) == shown.MAX_LEAVES < leaves["count"]
    commit = pages.tx(found, instance, "Assert")["inputs"][0]["script"]
    assert commit["cut"]
    assert len(commit["hex"]) == 2 * shown.MAX_SCRIPT
    sizes = {name: len(json.dumps(pages.tx(found, instance, name))) for name in page["transactions"]}
    assert max(sizes.values()) < 100_000, sizes


def test_a_name_is_shown_as_it_is(stages: Stages) -> None:
    bridge, instance = stages["pegged-in"]
    members = [member["name"] for member in pages.instance(look(bridge), instance)["members"]]
    assert HOSTILE in members


def test_long_texts_and_bytes_are_cut() -> None:
    assert len(shown.cut("x" * 1_000)) == shown.MAX_TEXT
    assert shown.cut("short") == "short"
    assert shown.script(bytes(3_000)) == {"size": 3_000, "hex": "00" * shown.MAX_SCRIPT, "cut": True}
    assert shown.script(b"\x01") == {"size": 1, "hex": "01", "cut": False}
    assert shown.raw(bytes(shown.MAX_RAW))["hex"] is not None
    assert shown.raw(bytes(shown.MAX_RAW + 1)) == {"size": shown.MAX_RAW + 1, "hex": None}


# What cannot be seen.


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "nothing", *PLAIN)
    found = pages.overview(look(bridge))
    assert "bridge.sqlite" in found["store"]["problem"]
    assert "no chain" in found["node"]["problem"]
    assert (found["instances"], found["height"]) == ([], None)
    assert not bridge.datadir.exists(), "looking makes nothing"


class Switch:
    """A way to a node that can be cut."""

    def __init__(self, bridge: Bridge) -> None:
        self.bridge = bridge
        self.cut = False
        self.opened = 0

    def __call__(self) -> AbstractContextManager[Node]:
        if self.cut:
            raise NodeUnreachable("no answer")
        self.opened += 1
        return closing(EmbeddedNode(self.bridge.datadir / "regtest" / "chain"))


def test_a_node_that_never_answered(stages: Stages) -> None:
    bridge, instance = stages["kicked-off"]
    switch = Switch(bridge)
    switch.cut = True
    with closing(make_reader(bridge, switch)) as reader:
        found = reader.snapshot()
    summary = pages.overview(found)
    assert summary["node"]["problem"] == "no answer"
    assert summary["instances"][0]["state"] == "unknown"
    page = pages.instance(found, instance)
    assert Counter(tx["state"] for tx in page["transactions"].values()).keys() == {"unknown"}
    assert {wire["state"] for wire in page["graph"]["wires"]} == {"unknown"}
    assert pages.tx(found, instance, "HappyTake")["form"] == "signed"


def test_a_node_that_stops_answering_and_comes_back(stages: Stages, tmp_path: Path) -> None:
    bridge, instance = stages["kicked-off"][0].copy(tmp_path / "data"), stages["kicked-off"][1]
    switch = Switch(bridge)
    with closing(make_reader(bridge, switch)) as reader:
        before = pages.instance(reader.snapshot(), instance)
        switch.cut = True
        bridge.mine()
        cut = reader.snapshot()
        assert cut.node_problem == "no answer"
        assert pages.instance(cut, instance) == before, "what was seen last stays"
        switch.cut = False
        assert pages.instance(reader.snapshot(), instance)["height"] == before["height"] + 1


def test_an_unchanged_chain_is_not_opened_again(stages: Stages, tmp_path: Path) -> None:
    bridge = stages["kicked-off"][0].copy(tmp_path / "data")
    switch = Switch(bridge)
    with closing(make_reader(bridge, switch)) as reader:
        for _ in range(3):
            reader.snapshot()
        assert switch.opened == 1
        bridge.mine()
        reader.snapshot()
        assert switch.opened == 2


def test_a_chain_that_changes_is_left_alone(stages: Stages, tmp_path: Path) -> None:
    bridge = stages["kicked-off"][0].copy(tmp_path / "data")
    switch = Switch(bridge)
    settled = False
    with closing(make_reader(bridge, switch)) as reader:
        reader._is_settled = lambda: settled
        before = reader.snapshot()
        assert switch.opened == 1, "but it is read where nothing was seen yet"
        bridge.mine()
        assert reader.snapshot().height == before.height
        settled = True
        assert reader.snapshot().height == bridge.height()
        assert switch.opened == 2


def test_a_busy_chain_is_read_when_it_is_free(stages: Stages) -> None:
    bridge = stages["kicked-off"][0]
    chain = bridge.datadir / "regtest" / "chain"
    with closing(make_reader(bridge)) as reader:
        with closing(EmbeddedNode(chain)):
            assert "in use by another process" in reader.snapshot().node_problem
        assert reader.snapshot().node_problem == ""


def test_who_asks_early_is_not_kept_waiting(stages: Stages) -> None:
    bridge, instance = stages["kicked-off"]
    switch, may_go_on = Switch(bridge), Event()

    def connect() -> AbstractContextManager[Node]:
        assert may_go_on.wait(60)
        return switch()

    home = bridge.datadir / "regtest"
    with closing(Reader(home, Network.REGTEST, connect, max_age=3_600, patience=0)) as reader:
        early = pages.overview(reader.snapshot())
        assert (early["ready"], early["instances"], early["height"]) == (False, [], None)
        assert not reader.snapshot().ready
        may_go_on.set()
        deadline = time.monotonic() + 60
        while not (found := reader.snapshot()).ready:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert pages.instance(found, instance)["state"] == "kicked-off"
        assert switch.opened == 1, "one look for all who asked"


def test_another_chain_is_read_from_its_beginning(stages: Stages, tmp_path: Path) -> None:
    bridge, instance = stages["kicked-off"]
    other = Bridge(tmp_path / "other", *PLAIN)
    other.mine(300)
    switch = Switch(bridge)
    files = fingerprint(bridge.datadir / "regtest" / "chain")
    with closing(make_reader(bridge, switch)) as reader:
        assert pages.instance(reader.snapshot(), instance)["state"] == "kicked-off"
        switch.bridge = other
        reader._fingerprint = lambda: (files, switch.bridge.datadir)
        assert "left the one that was read" in reader.snapshot().node_problem
        found = reader.snapshot()
        assert (found.node_problem, found.height) == ("", 300)
        assert pages.instance(found, instance)["state"] == "unfunded"


def test_one_bad_record_hides_no_other(stages: Stages, tmp_path: Path) -> None:
    bridge, instance = stages["kicked-off"][0].copy(tmp_path / "data"), stages["kicked-off"][1]
    bad = bytes(32)
    with bridge.store() as store:
        store.put(records.INSTANCE, bad, b"{}")
    found = look(bridge)
    rows = {row["instance"]: row for row in pages.overview(found)["instances"]}
    assert rows[bad.hex()]["state"] == "unreadable"
    assert "missing required field" in rows[bad.hex()]["problem"]
    assert rows[instance]["state"] == "kicked-off"
    with pytest.raises(pages.NotFound):
        pages.instance(found, bad.hex())


def test_a_bundle_that_becomes_bad_is_told(stages: Stages, tmp_path: Path) -> None:
    bridge, instance = stages["kicked-off"][0].copy(tmp_path / "data"), stages["kicked-off"][1]
    with closing(make_reader(bridge)) as reader:
        assert pages.tx(reader.snapshot(), instance, "HappyTake")["form"] == "signed"
        with bridge.store() as store:
            raw = store.get(records.BUNDLE, bytes.fromhex(instance))
            assert raw is not None
            document = json.loads(raw)
            document["transactions"][0]["inputs"][0]["signature"] = "00" * 64
            store.put(records.BUNDLE, bytes.fromhex(instance), json.dumps(document).encode())
        for _ in range(2):
            found = reader.snapshot()
            (row,) = pages.overview(found)["instances"]
            assert not row["signed"]
            assert "does not verify" in row["problem"]
            assert pages.tx(found, instance, "HappyTake")["form"] == "unsigned"


def test_a_broken_store_is_told_and_what_was_seen_stays(stages: Stages, tmp_path: Path) -> None:
    bridge = stages["kicked-off"][0].copy(tmp_path / "data")
    with closing(make_reader(bridge)) as reader:
        before = pages.overview(reader.snapshot())
        for path in (bridge.datadir / "regtest").glob("bridge.sqlite*"):
            path.write_bytes(b"this is no database" * 100)
        after = pages.overview(reader.snapshot())
    assert "not a database" in after["store"]["problem"]
    assert after["instances"] == before["instances"]


@pytest.mark.parametrize("name", ["Nothing", "KickOff2", "__class__"])
def test_unknown_transactions(stages: Stages, name: str) -> None:
    bridge, instance = stages["kicked-off"]
    with pytest.raises(pages.NotFound):
        pages.tx(look(bridge), instance, name)
    with pytest.raises(pages.NotFound):
        pages.instance(look(bridge), "00" * 32)


# Bitcoin Core.


def test_bitcoin_core(fresh_bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    """A claim in the mempool, in a block, and after that block has left the best chain again."""
    bridge = Bridge(tmp_path / "data", *PLAIN, *rpc_options(fresh_bitcoind))
    make_keys(bridge)
    instance = set_up(bridge, PROGRAM)
    home, node = bridge.datadir / "regtest", fresh_bitcoind.node
    with closing(Reader(home, Network.REGTEST, lambda: nullcontext(node), max_age=0, patience=60)) as reader:

        def kick_off() -> tuple[str, int | None]:
            found = pages.instance(reader.snapshot(), instance)["transactions"]["KickOff"]
            return found["state"], found["block"]

        assert kick_off()[0] == "ready"
        bridge.data("operator", "kick-off", instance, "--broadcast")
        height = bridge.height()
        assert kick_off() == ("pending", height + 1)
        bridge.mine()
        assert kick_off() == ("confirmed", height + 1)
        rpc = from_options(Network.REGTEST, rpcport=fresh_bitcoind.port, datadir=fresh_bitcoind.datadir)
        rpc.call("invalidateblock", node.block(height + 1).hash[::-1].hex())
        node.mine_transactions([])
        node.mine_transactions([])
        assert kick_off() == ("pending", height + 3)
        assert pages.overview(reader.snapshot())["height"] == height + 2
        bridge.mine()
        assert kick_off() == ("confirmed", height + 3)
        (row,) = pages.overview(reader.snapshot())["instances"]
        (said,) = bridge.data("status")["instances"]
        assert {key: row[key] for key in said} == said
