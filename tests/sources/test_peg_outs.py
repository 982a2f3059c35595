"""An operator serves a source: each request is paid once, by a free instance, and recorded before the money leaves."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import NodeRejected, NodeUnreachable
from bitvm_bridge.keys import Role
from bitvm_bridge.roles import withdrawer
from bitvm_bridge.sources.request import PegOutRequest
from bitvm_bridge.sources.stub import SecondLayer, Sequencer
from bitvm_bridge.transaction import Transaction
from bitvm_bridge.wallet import Wallet
from tests.cli.bridge import AMOUNT, PLAIN, Bridge, join, make_deposit, make_keys
from tests.sources.orders import changed

PROGRAM = "hash-chain:2:1"
TAKEN = "no free instance repays"


@pytest.fixture(scope="module")
def vaults(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, list[str]]:
    """Two vaults, each with a signed instance of the same operator."""
    bridge = Bridge(tmp_path_factory.mktemp("vaults") / "data", *PLAIN)
    make_keys(bridge)
    for role in ("withdrawer", "operator"):
        bridge.run("node", "mine", "3", "--to", role)
    bridge.mine(100)
    return bridge, sorted(vault(bridge, receiver) for receiver in ("11" * 20, "22" * 20))


def vault(bridge: Bridge, receiver: str) -> str:
    """A signed instance whose vault has confirmed."""
    deposit = str(bridge.send("depositor", "deposit", "--receiver", receiver)["deposit"])
    instance = join(bridge, deposit, PROGRAM)
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    return instance


@pytest.fixture
def two(vaults: tuple[Bridge, list[str]], tmp_path: Path) -> tuple[Bridge, list[str]]:
    return vaults[0].copy(tmp_path / "data"), vaults[1]


def ask(bridge: Bridge, *amounts: int, first: int = 1) -> list[PegOutRequest]:
    """Requests with one coin of the withdrawer each, numbered from `first` on."""
    node = EmbeddedNode(bridge.datadir / "regtest" / "chain")
    with bridge.store() as store:
        wallet = Wallet(store.seed(Role.WITHDRAWER, "default").wallet_key(), node, 1.0)
    coins = wallet.coins()
    requests = [
        PegOutRequest(
            bytes([number]) * 32, withdrawer.request(wallet.key, coins[number - first], amount, wallet.script_pubkey)
        )
        for number, amount in enumerate(amounts, first)
    ]
    node.close()
    return requests


def tell(bridge: Bridge, *documents: bytes) -> Path:
    path = bridge.datadir / "requests.jsonl"
    with path.open("ab") as file:
        file.writelines(document + b"\n" for document in documents)
    return path


def serve(bridge: Bridge, *options: str, code: int = 0) -> Any:
    source = () if "--source" in options else ("--source", str(bridge.datadir / "requests.jsonl"))
    return bridge.data("operator", "peg-outs", *source, "--once", *options, code=code)


def states(report: Any) -> list[tuple[str, str | None]]:
    return [(row["state"], row["instance"]) for row in report["requests"]]


def waiting(bridge: Bridge) -> list[Transaction]:
    return [Transaction.parse_hex(raw) for raw in bridge.mempool()]


def peg_outs_on_chain(bridge: Bridge) -> list[Transaction]:
    node = EmbeddedNode(bridge.datadir / "regtest" / "chain")
    blocks = [node.block(height) for height in range(1, node.height() + 1)]
    node.close()
    return [tx for block in blocks for tx in block.transactions if is_peg_out(tx)]


def is_peg_out(tx: Transaction) -> bool:
    return len(tx.outputs) > 1 and tx.outputs[1].script_pubkey[:2] == b"\x6a\x20"


def instance_of(tx: Transaction) -> str:
    return tx.outputs[1].script_pubkey[2:].hex()


def test_each_request_is_paid_once_by_an_instance_of_its_own(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    requests = ask(bridge, AMOUNT, AMOUNT + 5)
    tell(bridge, requests[0].to_json(), requests[0].to_json(), requests[1].to_json())
    report = serve(bridge, "--broadcast")
    assert report["sent"] == 2
    assert sorted(states(report)) == [("sent", instances[0]), ("sent", instances[1])]
    paid = {instance_of(tx): tx.outputs[0] for tx in waiting(bridge)}
    by_request = {row["request"]: row["instance"] for row in report["requests"]}
    for request in requests:
        assert paid[by_request[request.id.hex()]] == request.withdrawal.payout
    again = serve(bridge, "--broadcast")
    assert (again["sent"], states(again)) == (0, states(report))
    bridge.mine()
    tell(bridge, *(request.to_json() for request in requests))
    done = serve(bridge, "--broadcast", "--rescan")
    assert (done["sent"], [state for state, _ in states(done)]) == (0, ["paid", "paid"])
    assert len(peg_outs_on_chain(bridge)) == 2
    for instance in instances:
        bridge.send("operator", "kick-off", instance)


def test_one_request_more_than_instances_waits(two: tuple[Bridge, list[str]]) -> None:
    bridge, _ = two
    requests = ask(bridge, AMOUNT, AMOUNT)
    tell(bridge, *(request.to_json() for request in requests))
    serve(bridge, "--broadcast")
    bridge.mine()
    late = ask(bridge, AMOUNT, first=3)
    tell(bridge, late[0].to_json())
    refused = serve(bridge, "--broadcast", code=1)
    assert TAKEN in refused["error"]
    assert waiting(bridge) == []
    bridge.run("committee", "sign", join(bridge, make_deposit(bridge), PROGRAM))
    assert TAKEN in serve(bridge, "--broadcast", code=1)["error"], "its vault is not there yet"


def test_without_broadcast_it_is_made_and_sent_later(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    tell(bridge, ask(bridge, AMOUNT)[0].to_json())
    report = serve(bridge)
    assert (report["sent"], states(report)) == (0, [("made", instances[0])])
    assert waiting(bridge) == []
    assert states(serve(bridge)) == [("made", instances[0])]
    kept = bridge.contents()["transactions"]
    report = serve(bridge, "--broadcast")
    assert (report["sent"], states(report)) == (1, [("sent", instances[0])])
    assert [tx.serialize() for tx in waiting(bridge)] == [row[4] for row in kept if row[2] == "PegOut"]


def test_a_dry_run_keeps_nothing(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    tell(bridge, ask(bridge, AMOUNT)[0].to_json())
    before = bridge.contents()
    report = serve(bridge, "--dry-run")
    assert states(report) == [("made", instances[0])]
    assert bridge.contents() == before
    assert waiting(bridge) == []
    assert "exclude each other" in bridge.refused(
        "operator", "peg-outs", "--source", "x", "--once", "--dry-run", "--broadcast", code=2
    )


class Crash(Exception):
    """The process is gone."""


@pytest.mark.parametrize("error", [Crash, NodeUnreachable, NodeRejected])
def test_what_was_recorded_before_a_crash_is_sent_and_nothing_else(
    two: tuple[Bridge, list[str]], monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    bridge, instances = two
    request = ask(bridge, AMOUNT)[0]
    tell(bridge, request.to_json())

    def fail(*_: object, **__: object) -> None:
        raise error("here")

    with monkeypatch.context() as patch:
        patch.setattr(EmbeddedNode, "broadcast", fail)
        if error is Crash:
            with pytest.raises(Crash):
                serve(bridge, "--broadcast")
        else:
            serve(bridge, "--broadcast", code=error.exit_code)  # type: ignore[attr-defined]
    assert waiting(bridge) == []
    (recorded,) = [row[4] for row in bridge.contents()["transactions"] if row[2] == "PegOut"]
    report = serve(bridge, "--broadcast")
    assert (report["sent"], states(report)) == (1, [("sent", instances[0])])
    assert [tx.serialize() for tx in waiting(bridge)] == [recorded]
    assert [row[4] for row in bridge.contents()["transactions"] if row[2] == "PegOut"] == [recorded]


def test_a_crash_before_the_record_leaves_nothing(
    two: tuple[Bridge, list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, instances = two
    tell(bridge, ask(bridge, AMOUNT)[0].to_json())

    def fail(*_: object, **__: object) -> None:
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr("bitvm_bridge.records.keep", fail)
        with pytest.raises(Crash):
            serve(bridge, "--broadcast")
    assert [row for row in bridge.contents()["transactions"] if row[2] == "PegOut"] == []
    assert states(serve(bridge, "--broadcast")) == [("sent", instances[0])]


def test_an_instance_that_the_chain_knows_a_peg_out_of_is_not_free(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    before = bridge.copy(bridge.datadir.parent / "before")
    (by_hand,) = ask(bridge, AMOUNT, first=9)
    psbt = bridge.datadir / "by hand.psbt"
    psbt.write_text(by_hand.withdrawal.to_psbt())
    bridge.send("operator", "peg-out", instances[0], "--psbt", str(psbt))
    (bridge.datadir / "regtest" / "bridge.sqlite").write_bytes(
        (before.datadir / "regtest" / "bridge.sqlite").read_bytes()
    )
    tell(bridge, ask(bridge, AMOUNT)[0].to_json())
    assert states(serve(bridge, "--broadcast")) == [("sent", instances[1])]


def test_an_instance_that_was_paid_by_hand_is_not_free(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    asked = ask(bridge, AMOUNT, AMOUNT)
    psbt = bridge.datadir / "by hand.psbt"
    psbt.write_text(asked[1].withdrawal.to_psbt())
    bridge.run("operator", "peg-out", instances[0], "--psbt", str(psbt))
    tell(bridge, asked[0].to_json())
    assert states(serve(bridge, "--broadcast")) == [("sent", instances[1])]


def test_a_coin_that_was_spent_elsewhere_frees_the_instance(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    (request,) = ask(bridge, AMOUNT)
    tell(bridge, request.to_json())
    assert states(serve(bridge)) == [("made", instances[0])]
    node = EmbeddedNode(bridge.datadir / "regtest" / "chain")
    spend_elsewhere(bridge, node, request)
    node.close()
    bridge.mine()
    assert states(serve(bridge, "--broadcast")) == [("made", instances[0])], "a reorganisation may bring it back"
    bridge.mine(5)
    assert states(serve(bridge, "--broadcast")) == [("over", instances[0])]
    (other,) = ask(bridge, AMOUNT, first=2)
    tell(bridge, other.to_json(), request.to_json())
    assert states(serve(bridge, "--broadcast")) == [("over", instances[0]), ("sent", instances[0])]


def spend_elsewhere(bridge: Bridge, node: Node, request: PegOutRequest) -> None:
    with bridge.store() as store:
        wallet = Wallet(store.seed(Role.WITHDRAWER, "default").wallet_key(), node, 2.0)
    others = frozenset(coin.outpoint for coin in wallet.coins()) - {request.withdrawal.coin}
    out = request.withdrawal.spent.amount // 2
    paid = Wallet(wallet.key, node, 2.0, others).pay(
        [type(request.withdrawal.spent)(out, request.withdrawal.spent.script_pubkey)]
    )
    node.broadcast(paid.tx)


def test_requests_that_are_refused_do_not_stop_the_others(two: tuple[Bridge, list[str]]) -> None:
    bridge, instances = two
    small, good, twin = ask(bridge, 50_000_000, AMOUNT, AMOUNT)
    same_coin = PegOutRequest(bytes([8]) * 32, good.withdrawal)
    same_id = PegOutRequest(good.id, twin.withdrawal)
    documents = (small.to_json(), b"junk", changed(good, amount=1), good.to_json(), same_coin.to_json())
    tell(bridge, *documents, same_id.to_json())
    done = bridge.run("operator", "peg-outs", "--source", str(tell(bridge)), "--once", "--broadcast", code=1)
    lines = done.stderr.splitlines()
    for words in (
        "request: ",
        ": amount: '1' is not the 99,000,000 sat",
        f"request {'08' * 6}: psbt: its coin is that of request {'02' * 6}",
        f"request {'02' * 6}: id: told before with another withdrawal",
        f"request {'01' * 6}: {TAKEN} 50,000,000 sat",
    ):
        assert sum(words in line for line in lines if not line.startswith("error: ")) >= 1, (words, lines)
    assert [instance_of(tx) for tx in waiting(bridge)] == [instances[0]]


@pytest.mark.parametrize(
    ("amount", "options", "words"),
    [
        (AMOUNT, ("--max-amount", str(AMOUNT - 1)), "99,000,000 sat are asked for, and --max-amount is 98,999,999"),
        (AMOUNT, ("--owed", "99.5"), TAKEN),
        (AMOUNT, ("--confirmations", "1000"), "not deep enough"),
        (100_000_001, (), TAKEN),
    ],
)
def test_what_is_not_paid(two: tuple[Bridge, list[str]], amount: int, options: tuple[str, ...], words: str) -> None:
    bridge, _ = two
    tell(bridge, ask(bridge, amount)[0].to_json())
    assert words in serve(bridge, "--broadcast", *options, code=1)["error"]
    assert waiting(bridge) == []
    assert [row for row in bridge.contents()["transactions"] if row[2] == "PegOut"] == []


def test_another_operator_has_no_instance(two: tuple[Bridge, list[str]]) -> None:
    bridge, _ = two
    bridge.run("operator", "keygen", "--name", "other")
    tell(bridge, ask(bridge, AMOUNT)[0].to_json())
    assert f"{TAKEN} 99,000,000 sat (0 have" in serve(bridge, "--broadcast", "--name", "other", code=1)["error"]


def test_an_operator_whose_wallet_is_elsewhere_pays_by_hand(two: tuple[Bridge, list[str]]) -> None:
    bridge, _ = two
    bridge.run("operator", "keygen", "--name", "far", "--external", "ab" * 32)
    message = bridge.refused("operator", "peg-outs", "--source", "x", "--once", "--name", "far", code=2)
    assert message.startswith("--name: 'far' is not an operator whose coins this data directory can sign for")


@pytest.fixture
def layer() -> Iterator[SecondLayer]:
    sequencer = Sequencer()
    with SecondLayer(sequencer) as running:
        yield running
    sequencer.close()


def test_front_end_and_back_end_meet_on_the_second_layer_only(
    two: tuple[Bridge, list[str]], layer: SecondLayer, tmp_path: Path
) -> None:
    import requests

    bridge, instances = two
    psbt, document = tmp_path / "withdrawal.psbt", tmp_path / "request.json"
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", str(psbt))
    bridge.run("withdrawer", "order", "--psbt", str(psbt), "--id", "5a" * 32, "--out", str(document))
    with requests.Session() as session:
        answer = session.post(f"{layer.url}/requests", data=document.read_bytes(), timeout=10)
        assert (answer.status_code, answer.json()) == (201, {"number": 1})
        assert session.post(f"{layer.url}/requests", data=b'{"id": "x"}', timeout=10).json() == {"number": 2}
        assert session.post(f"{layer.url}/requests", data=b"junk", timeout=10).status_code == 400
    report = serve(bridge, "--source", f"{layer.url}/requests", "--broadcast")
    assert states(report) == [("sent", instances[0])]
    assert report["requests"][0]["request"] == "5a" * 32
    assert [note["event"] for note in report["notes"]] == ["refused", "sent"]
    again = serve(bridge, "--source", f"{layer.url}/requests", "--broadcast")
    assert (again["sent"], again["notes"]) == (0, [])


def test_a_source_that_is_not_there(two: tuple[Bridge, list[str]]) -> None:
    bridge, _ = two
    for source, code in ((str(bridge.datadir / "missing"), 2), ("ftp:/x", 2), ("http://", 2), ("evm+http://h", 2)):
        assert json.loads(json.dumps(serve(bridge, "--source", source, code=code)))["exit_code"] == code
