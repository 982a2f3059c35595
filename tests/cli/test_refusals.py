"""What cannot be used is refused in one line that says why, with the documented exit code, and changes nothing.

`Bridge.refused` checks the form of every refusal: nothing on stdout, one line on stderr, the store as it was.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge import records
from bitvm_bridge import store as storing
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.errors import BridgeError
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.roles.operator import sign_challenge
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.transaction import MAX_MONEY, OutPoint, Transaction
from cli.app import EMBEDDED, App, RpcOptions
from scripts_tapleaf.covenant import MAX_RELATIVE_LOCK
from tests.cli.bridge import AMOUNT, LIE, PLAIN, PROGRAM, RECEIVER, Bridge, join, make_deposit, rpc_options
from tests.cli.conftest import Copy

MAINNET = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
SIGNET = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"
WRONG_CHECKSUM = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt082"
NO_POINT = "ff" * 32
SECRET = "correct-horse-battery"
DEPOSIT = ("depositor", "deposit", "--receiver", RECEIVER)
MISSING = "/nonexistent/folder/file"


@pytest.fixture(scope="session")
def files(disputed: tuple[Bridge, str, int], tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Input files by name: good ones, and what a careless hand or a liar makes of them."""
    folder = tmp_path_factory.mktemp("files")
    bridge = disputed[0].copy(folder / "data")
    instance = disputed[1]

    def write(name: str, content: str | bytes) -> str:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(folder / name)

    def make(name: str, *args: str) -> str:
        bridge.run(*args, "--out", str(folder / name))
        return (folder / name).read_text()

    psbt = make("good.psbt", "withdrawer", "request", "--amount", str(AMOUNT))
    make("above.psbt", "withdrawer", "request", "--amount", "100000001")
    bundle = make("bundle.json", "instance", "export", instance, "--bundle")
    raw = make("assert.hex", "operator", "assert", instance)
    tx = Transaction.parse_hex(raw.strip())
    junk = tx.with_witness(0, tuple(b"\x55" * 500 for _ in tx.inputs[0].witness))
    write("cut.psbt", psbt[: len(psbt) // 2])
    write("other.psbt", psbt.replace("A", "B"))
    write("cut.hex", raw[: len(raw) // 2])
    write("odd.hex", raw.strip() + "0")
    write("long.hex", raw.strip() + "00")
    write("junk.hex", junk.serialize().hex())
    write("junk_item.hex", _with_junk_item(tx).serialize().hex())
    write("elsewhere.hex", _spending_elsewhere(tx).serialize().hex())
    write("empty", "")
    write("noise", bytes(range(256)))
    write("not.json", "{nonsense")
    write("no_bundle.json", '{"version": 1}')
    for name, change in CHANGED_BUNDLES.items():
        document = json.loads(bundle)
        change(document)
        write(f"{name}.json", json.dumps(document))
    return {path.name: str(path) for path in folder.iterdir()}


def _with_junk_item(tx: Transaction) -> Transaction:
    """The assertion with one item replaced by 500 bytes of junk; script and control block are right."""
    witness = list(tx.inputs[0].witness)
    witness[1] = b"\x55" * 500
    return tx.with_witness(0, tuple(witness))


def _spending_elsewhere(tx: Transaction) -> Transaction:
    return replace(tx, inputs=tuple(replace(txin, outpoint=OutPoint(bytes(32), 7)) for txin in tx.inputs))


def _flip(text: str) -> str:
    return ("0" if text[0] != "0" else "1") + text[1:]


def _no_point_of_member(document: dict[str, Any]) -> None:
    document["setup"]["deposit"]["members"][0]["key"] = "02" + NO_POINT


def _no_point_of_operator(document: dict[str, Any]) -> None:
    document["setup"]["operator"] = NO_POINT


def _no_point_of_depositor(document: dict[str, Any]) -> None:
    document["setup"]["deposit"]["depositor"] = NO_POINT


def _wrong_signature(document: dict[str, Any]) -> None:
    entry = document["transactions"][-1]["inputs"][0]
    entry["signature"] = _flip(entry["signature"])


def _missing_signature(document: dict[str, Any]) -> None:
    document["transactions"][-1]["inputs"][0]["signature"] = ""


def _wrong_leaf(document: dict[str, Any]) -> None:
    entry = next(entry for tx in document["transactions"] for entry in tx["inputs"] if entry["leaf_hash"])
    entry["leaf_hash"] = _flip(entry["leaf_hash"])


def _wrong_program(document: dict[str, Any]) -> None:
    document["setup"]["program"] = "sudoku:9"


def _later_version(document: dict[str, Any]) -> None:
    document["version"] = 2


def _of_signet(document: dict[str, Any]) -> None:
    document["setup"]["deposit"]["params"]["network"] = "signet"


def _of_mainnet(document: dict[str, Any]) -> None:
    document["setup"]["deposit"]["params"]["network"] = "mainnet"


CHANGED_BUNDLES: dict[str, Callable[[dict[str, Any]], None]] = {
    "member": _no_point_of_member,
    "operator": _no_point_of_operator,
    "depositor": _no_point_of_depositor,
    "signature": _wrong_signature,
    "unsigned": _missing_signature,
    "leaf": _wrong_leaf,
    "program": _wrong_program,
    "later": _later_version,
    "signet": _of_signet,
    "mainnet": _of_mainnet,
}

INPUTS: list[tuple[tuple[str, ...], int, str]] = [
    # Addresses of another network, or none.
    (("withdrawer", "request", "--amount", "1000", "--to", MAINNET), 2, f"--to: '{MAINNET}' .*regtest.*mainnet"),
    (("withdrawer", "request", "--amount", "1000", "--to", SIGNET), 2, f"--to: '{SIGNET}' .*regtest.*signet"),
    (("withdrawer", "request", "--amount", "1000", "--to", WRONG_CHECKSUM), 2, f"--to: '{WRONG_CHECKSUM}'.*checksum"),
    (("committee", "cooperative-payout", "DEPOSIT", "--to", MAINNET), 2, f"--to: '{MAINNET}'.*regtest"),
    (("node", "mine", "1", "--to", SIGNET), 2, f"--to: '{SIGNET}'.*regtest"),
    (("node", "mine", "1", "--to", "somebody"), 2, "--to: 'somebody'"),
    # Amounts (sat).
    (("withdrawer", "request", "--amount", "329"), 2, "withdrawal amount: '329' .*330"),
    (("withdrawer", "request", "--amount", "-1"), 2, "withdrawal amount: '-1' .*330"),
    (("withdrawer", "request", "--amount", str(MAX_MONEY + 1)), 2, f"withdrawal amount: '{MAX_MONEY + 1}'"),
    (("withdrawer", "request", "--amount", str(1 << 64)), 2, f"withdrawal amount: '{1 << 64}'"),
    (("withdrawer", "request", "--amount", "much"), 2, "'--amount': 'much' is not a valid int"),
    (
        ("operator", "peg-out", "INSTANCE", "--psbt", "above.psbt"),
        2,
        "withdrawal amount: '100000001' .*100,000,000 sat",
    ),
    ((*DEPOSIT, "--peg-in", "3299"), 2, "peg_in: '3299' .*3,300"),
    ((*DEPOSIT, "--peg-in", str(MAX_MONEY + 1)), 2, f"peg_in: '{MAX_MONEY + 1}'"),
    ((*DEPOSIT, "--challenge", "329"), 2, "challenge: '329' .*330"),
    ((*DEPOSIT, "--bond", "10000659"), 2, "bond: '10000659' .*10,000,660"),
    ((*DEPOSIT, "--burn-percent", "0"), 2, "burn_percent: '0' .*1 to 99"),
    ((*DEPOSIT, "--burn-percent", "100"), 2, "burn_percent: '100' .*1 to 99"),
    ((*DEPOSIT, "--burn-percent", "80"), 2, "burn_percent: '80' .*reward"),
    # Waits (blocks).
    ((*DEPOSIT, "--refund-delay", "0"), 2, "refund_delay: '0' .*1 to 65,535"),
    ((*DEPOSIT, "--refund-delay", str(MAX_RELATIVE_LOCK + 1)), 2, "refund_delay: '65536' .*1 to 65,535"),
    ((*DEPOSIT, "--challenge-window", "0"), 2, "challenge_window: '0' .*1 to 65,535"),
    ((*DEPOSIT, "--assert-window", "-6"), 2, "assert_window: '-6' .*1 to 65,535"),
    ((*DEPOSIT, "--disprove-window", str(MAX_RELATIVE_LOCK + 1)), 2, "disprove_window: '65536' .*1 to 65,535"),
    ((*DEPOSIT, "--forfeit-window", str(MAX_RELATIVE_LOCK - 17)), 2, "four windows: '65536' .*4 to 65,535"),
    # Fee rates (sat/vB).
    ((*DEPOSIT, "--fee-rate", "0"), 2, "fee rate: '0.0' .*1000 sat/vB"),
    ((*DEPOSIT, "--fee-rate", "-3"), 2, "fee rate: '-3.0'"),
    ((*DEPOSIT, "--fee-rate", "1001"), 2, "fee rate: '1001.0'"),
    ((*DEPOSIT, "--fee-rate", "nan"), 2, "fee rate: 'nan'"),
    ((*DEPOSIT, "--fee-rate", "inf"), 2, "fee rate: 'inf'"),
    # Other values.
    (("depositor", "deposit", "--receiver", "xyz"), 2, "--receiver: 'xyz' is not hex"),
    (("depositor", "deposit", "--receiver", ""), 2, "receiver: '' .*1 to 520 bytes"),
    (("depositor", "deposit", "--receiver", "00" * 521), 2, "receiver: .*1 to 520 bytes"),
    (("operator", "join", "DEPOSIT", "--program", "sudoku:9"), 2, "program: 'sudoku:9' .*hash-chain"),
    (("operator", "join", "DEPOSIT", "--program", "hash-chain:0"), 2, "length: '0' .*1 to"),
    (("operator", "join", "DEPOSIT", "--program", "hash-chain:1:2:3"), 2, "program: 'hash-chain:1:2:3'"),
    (("operator", "assert", "INSTANCE", "--lie", "link_9999"), 2, "chunk: 'link_9999' .*hash-chain"),
    (("challenger", "assert-timeout", "INSTANCE", "--index", "99"), 2, "transaction: 'AssertTimeout_99'"),
    (("demo", "tragedy"), 2, "story: 'tragedy' .*happy, challenged, fraud, silent, refund"),
    (("demo", "--bitcoind", "/usr/bin/bitcoind"), 2, "--bitcoind: '/usr/bin/bitcoind' .*--node bitcoind"),
    (("demo", "--program", "sudoku"), 2, "program: 'sudoku'"),
    (("demo", "--node", "bitcoind", "--bitcoind", MISSING), 3, f"cannot run {MISSING}: No such file"),
    # Names of keys.
    (("depositor", "address", "--name", "eve"), 2, "depositor name: 'eve' .*default"),
    (("operator", "kick-off", "INSTANCE", "--name", "eve"), 2, "operator name: 'eve' .*default"),
    (("operator", "keygen"), 2, "operator name: 'default' .*no key yet"),
    (("committee", "keygen", "dave", "alice"), 2, "member names: 'dave alice' .*new"),
    # Ids.
    (("instance", "show", "0123"), 2, "instance: '0123' .*known: "),
    (("instance", "status", "INS"), 2, "instance: '...' .*4 or more digits"),
    (("instance", "graph", ""), 2, "instance: '' "),
    (("depositor", "refund", "zzzz"), 2, "deposit: 'zzzz' .*known: "),
    (("committee", "sign", "%%%%"), 2, "instance: '%%%%'"),
    # Files.
    (("operator", "peg-out", "INSTANCE", "--psbt", MISSING), 2, f"--psbt: '{MISSING}' .*No such file"),
    (("operator", "peg-out", "INSTANCE", "--psbt", "/"), 2, "--psbt: '/' .*directory"),
    (("operator", "peg-out", "INSTANCE", "--psbt", "cut.psbt"), 2, "withdrawal PSBT: .*PSBT in base64"),
    (("operator", "peg-out", "INSTANCE", "--psbt", "other.psbt"), 2, "withdrawal PSBT: "),
    (("operator", "peg-out", "INSTANCE", "--psbt", "empty"), 2, "withdrawal PSBT: ''"),
    (("operator", "peg-out", "INSTANCE", "--psbt", "noise"), 2, "withdrawal PSBT: "),
    (("challenger", "check", "INSTANCE", "--tx", MISSING), 2, f"--tx: '{MISSING}' .*No such file"),
    (("challenger", "check", "INSTANCE", "--tx", "cut.hex"), 2, "--tx: .*"),
    (("challenger", "check", "INSTANCE", "--tx", "odd.hex"), 2, "--tx: .*"),
    (("challenger", "check", "INSTANCE", "--tx", "long.hex"), 2, "--tx: .*"),
    (("challenger", "check", "INSTANCE", "--tx", "noise"), 2, "--tx: .*"),
    (("challenger", "check", "INSTANCE", "--tx", "empty"), 5, r"KickOff\.assertion_0"),
    (("challenger", "check", "INSTANCE", "--tx", "elsewhere.hex"), 5, r"KickOff\.assertion_0"),
    (("challenger", "check", "INSTANCE", "--tx", "junk.hex"), 5, "assertion_0: .*does not spend the leaf"),
    (("challenger", "check", "INSTANCE", "--tx", "junk_item.hex"), 5, "assertion_0: "),
    (("challenger", "disprove", "INSTANCE", "--tx", "junk_item.hex"), 5, "assertion_0: "),
    (("challenger", "disprove", "INSTANCE", "--tx", "assert.hex"), 1, "the assertion is correct"),
    (("challenger", "check", "INSTANCE"), 1, "has not asserted"),
    (("node", "test", "cut.hex"), 2, "line 1: "),
    (("node", "test", "empty"), 2, "file: .*transaction"),
    (("node", "mine-transactions", "empty"), 2, "file: .*transaction"),
    (("instance", "import", MISSING), 2, f"bundle: '{MISSING}' .*No such file"),
    (("instance", "import", "noise"), 2, "bundle: .*valid document"),
    (("instance", "import", "not.json"), 2, "bundle: '{nonsense' .*JSON is malformed"),
    (("instance", "import", "no_bundle.json"), 2, "bundle: .*missing required field"),
    (("instance", "import", "member.json"), 2, "key of member .*: '02ff.*compressed public key"),
    (("instance", "import", "operator.json"), 2, "operator key: 'ffff.*x-only public key"),
    (("instance", "import", "depositor.json"), 2, "depositor key: 'ffff.*x-only public key"),
    (("instance", "import", "program.json"), 2, "program: 'sudoku:9' .*hash-chain"),
    (("instance", "import", "later.json"), 2, "bundle version: '2' is not version 1"),
    (("instance", "import", "mainnet.json"), 2, "network: 'mainnet' .*regtest, signet"),
    (("instance", "import", "signature.json"), 5, "signature does not verify"),
    (("instance", "import", "unsigned.json"), 5, "signature is missing"),
    (("instance", "import", "leaf.json"), 5, "leaf_hash is .*expected"),
    (("instance", "import", "signet.json"), 5, "raw is .*expected"),
    (("committee", "verify", "signature.json"), 5, "signature does not verify"),
    (("committee", "verify", "not.json"), 2, "bundle: '{nonsense'"),
    # Usage.
    (("dance",), 2, "no such command 'dance'"),
    (("operator", "dance"), 2, "no such command 'dance'; `bitvm-bridge operator --help` explains"),
    (("instance", "show"), 2, "missing argument 'INSTANCE'"),
    (("instance", "show", "INSTANCE", "--colour"), 2, "no such option"),
    (("withdrawer", "request"), 2, "missing option '--amount'"),
    (("--node", "esplora", "node", "info"), 2, "'--node': 'esplora'"),
    (("--rpcport", "port", "node", "info"), 2, "'--rpcport': 'port'"),
    (("node", "mine", "0"), 2, "'.BLOCKS.': 0 is not in the range"),
    ((*DEPOSIT, "--dry-run", "--broadcast"), 2, "--broadcast and --dry-run exclude each other"),
    # Networks and nodes.
    (("--network", "mainnet", "node", "info"), 2, "'--network': 'mainnet'"),
    (("--network", "signet", "--regtest", "node", "info"), 2, "--network: 'signet' .*--regtest"),
    (("--signet", "--node", "embedded", "node", "info"), 2, "--node: 'embedded' .*bitcoind on signet"),
    (("--signet", "depositor", "keygen"), 2, "--insecure-plain-keys: 'signet' .*regtest only"),
    (("--rpcconnect", "127.0.0.1:1", "node", "info"), 3, "cookie file .*Is the node running"),
    (("--rpcport", "70000", "--rpcpassword", "x", "node", "info"), 2, "rpcport: '70000' .*65,535"),
    (("--rpcconnect", "a/b", "--rpcpassword", "x", "node", "info"), 2, "rpcconnect: 'a/b'"),
    (("--datadir", "/dev/null/x", "node", "info"), 2, "--datadir: '/dev/null/x' .*folder"),
    (("--datadir", "/dev/null/x", "instance", "list"), 2, "--datadir: '/dev/null/x.* .*folder"),
]


def _name(value: object) -> str:
    return " ".join(value)[:70] if isinstance(value, tuple) else ""


@pytest.mark.parametrize(("args", "code", "expected"), INPUTS, ids=_name)
def test_input(
    disputed: tuple[Bridge, str, int], files: dict[str, str], args: tuple[str, ...], code: int, expected: str
) -> None:
    bridge, instance, _ = disputed
    names = files | {"INSTANCE": instance, "INS": instance[:3], "DEPOSIT": deposit_of(bridge)}
    message = bridge.refused(*(names.get(arg, arg) for arg in args), code=code)
    assert re.search(expected, message), message


def deposit_of(bridge: Bridge) -> str:
    """The id of the one deposit."""
    (row,) = bridge.data("depositor", "list")["deposits"]
    return str(row["deposit"])


def test_a_refusal_with_json_is_one_document(disputed: tuple[Bridge, str, int]) -> None:
    bridge = disputed[0]
    for args in (
        ("instance", "show", "0123"),
        ("instance", "dance"),
        ("--signet", "--node", "embedded", "node", "info"),
    ):
        done = bridge.run(*args, "--json", code=2)
        document = json.loads(done.stdout)
        assert document["exit_code"] == 2
        assert done.stderr == f"error: {document['error']}\n"


def test_an_ambiguous_id(disputed: tuple[Bridge, str, int], copy: Copy) -> None:
    bridge, instance = copy(disputed[0]), disputed[1]
    twin = bytes.fromhex(instance)[:4] + bytes(28)
    with bridge.store() as store:
        store.put(records.INSTANCE, twin, store.get(records.INSTANCE, bytes.fromhex(instance)) or b"")
    message = bridge.refused("instance", "show", instance[:8], code=2)
    assert f"instance: '{instance[:8]}'" in message
    assert twin.hex()[:12] in message
    bridge.run("instance", "show", instance[:12])


def test_a_bundle_of_another_instance(disputed: tuple[Bridge, str, int], files: dict[str, str], copy: Copy) -> None:
    bridge, instance = copy(disputed[0]), disputed[1]
    other = join(bridge, make_deposit(bridge, "--bond", "30000000"))
    message = bridge.refused("committee", "verify", files["bundle.json"], "--instance", other, code=5)
    assert instance in message
    assert other in message
    bridge.run("committee", "verify", files["bundle.json"], "--instance", instance)


def test_a_bundle_of_another_network(files: dict[str, str], tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, "--signet")
    message = bridge.refused("instance", "import", files["bundle.json"], code=2)
    assert message == "network of the bundle: 'regtest' is not signet"


@pytest.mark.parametrize("path", [MISSING, "/", "", "."])
def test_out_that_cannot_be_written(disputed: tuple[Bridge, str, int], files: dict[str, str], path: str) -> None:
    bridge, instance, _ = disputed
    for args in (
        ("operator", "join", deposit_of(bridge), "--program", "hash-chain:2:1"),
        ("operator", "peg-out", instance, "--psbt", files["good.psbt"]),
        ("operator", "peg-out", instance, "--psbt", files["good.psbt"], "--broadcast"),
        ("withdrawer", "request", "--amount", "1000"),
        ("instance", "export", instance),
    ):
        message = bridge.refused(*args, "--out", path, code=2)
        assert message.startswith(f"--out: '{path}' is not a file to write to")
    assert bridge.mempool() == []


def test_a_refusal_leaves_the_file_alone(pegged: tuple[Bridge, str], tmp_path: Path) -> None:
    bridge, instance = pegged
    out = tmp_path / "out"
    out.write_text("precious")
    bridge.refused("operator", "happy-take", instance, "--broadcast", "--out", str(out), code=4)
    bridge.refused("operator", "assert", instance, "--dry-run", "--out", str(out), code=2)
    bridge.refused("depositor", "deposit", "--receiver", "00", "--peg-in", "3000", "--out", str(out), code=2)
    bridge.refused("depositor", "deposit", "--receiver", RECEIVER, "--out", str(out), code=1)
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert out.read_text() == "precious"


def test_more_than_the_wallet_holds(keyed: Bridge) -> None:
    message = keyed.refused(*DEPOSIT, "--peg-in", "2000000000000", code=1)
    assert message == "wallet: 10,000,000,000 sat in coins do not pay 2,000,000,000,000 sat and the fee"


def test_no_coins_and_no_keys(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, *PLAIN)
    bridge.run("instance", "list")
    assert "`depositor keygen`" in bridge.refused(*DEPOSIT, code=2)
    bridge.run("depositor", "keygen")
    assert "`committee keygen NAME…`" in bridge.refused(*DEPOSIT, code=2)
    bridge.run("withdrawer", "keygen")
    assert "no coin" in bridge.refused("withdrawer", "request", "--amount", "1000", code=1)


# Money that is spoken for.


def test_a_deposit_is_not_made_twice(pegged: tuple[Bridge, str]) -> None:
    bridge, _ = pegged
    assert "PegInDeposit: already sent" in bridge.refused(*DEPOSIT, code=1)


def test_what_was_not_sent_is_made_anew(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    first = bridge.data(*DEPOSIT)
    bridge.run("node", "mine", "1", "--to", "depositor")
    bridge.mine(100)
    second = bridge.data(*DEPOSIT, "--fee-rate", "9", "--broadcast")
    assert first["deposit"] == second["deposit"]
    assert first["txid"] != second["txid"]
    assert "already sent" in bridge.refused(*DEPOSIT, code=1)
    bridge.mine()
    deposit = second["deposit"]
    unsent = bridge.data("operator", "join", deposit, "--program", PROGRAM, "--fee-rate", "7")
    sent = bridge.send("operator", "join", deposit, "--program", PROGRAM)
    assert unsent["instance"] == sent["instance"]
    assert "already sent" in bridge.refused("operator", "join", deposit, "--program", PROGRAM, code=1)
    bridge.run("committee", "sign", sent["instance"])


def test_a_signed_instance_keeps_its_claim_coin(keyed: Bridge, copy: Copy) -> None:
    bridge = copy(keyed)
    deposit = make_deposit(bridge)
    args = ("operator", "join", deposit, "--program", PROGRAM)
    instance = bridge.data(*args)["instance"]
    bridge.run("committee", "sign", instance)
    message = bridge.refused(*args, "--fee-rate", "50", code=1)
    assert message.startswith(f"instance {instance[:12]}: known with another claim coin than ")


def test_a_claim_coin_serves_one_instance(pegged: tuple[Bridge, str], copy: Copy, tmp_path: Path) -> None:
    """A bundle, valid in itself, whose operator has used the coin for two instances."""
    bridge, instance = copy(pegged[0]), pegged[1]
    deposit = make_deposit(bridge, "--bond", "20000000", "--refund-delay", "30")
    operator = bridge.copy(tmp_path / "operator")
    other = join(operator, deposit)
    with_claim_of(operator, other, instance)
    operator.run("committee", "sign", other)
    bundle = tmp_path / "bundle.json"
    operator.run("instance", "export", other, "--bundle", "--out", str(bundle))
    message = bridge.refused("instance", "import", str(bundle), code=1)
    assert re.search(rf"coin .*: already reserved for the claim of instance {instance[:12]}", message)


def with_claim_of(bridge: Bridge, instance: str, other: str) -> None:
    """Rewrite an unsigned instance so that it claims from the coin of another one."""
    with bridge.store() as store:
        setup, taken = (records.load_instance(store, name) for name in (instance, other))
        moved = replace(setup, claim=taken.claim)
        key = store.seed(Role.OPERATOR, "default").wallet_key()
        store.put(records.INSTANCE, setup.id, moved.to_json())
        store.put(records.CHALLENGE, setup.id, sign_challenge(moved, key))


def test_claim_coins_pay_for_nothing_else(pegged: tuple[Bridge, str], copy: Copy) -> None:
    """The operator's other coins pay, and where there are none, nothing does."""
    bridge, instance = copy(pegged[0]), pegged[1]
    claim = json.loads(bridge.run("instance", "export", instance).stdout)["claim"]
    report = bridge.data("operator", "peg-out", instance, "--psbt", psbt_for(bridge), "--out", "-")
    spent = [str(txin.outpoint) for txin in Transaction.parse_hex(report["raw"][0]).inputs]
    assert claim not in spent


def psbt_for(bridge: Bridge) -> str:
    """A withdrawal, in a file."""
    path = bridge.datadir / "withdrawal.psbt"
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", str(path))
    return str(path)


# One-time keys.


def test_another_assertion_after_the_first(disputed: tuple[Bridge, str, int], copy: Copy) -> None:
    bridge, instance = copy(disputed[0]), disputed[1]
    first = bridge.data("operator", "assert", instance)
    message = bridge.refused("operator", "assert", instance, "--lie", LIE, "--broadcast", code=1)
    assert "already signed another value" in message
    assert bridge.data("operator", "assert", instance, "--broadcast")["txid"] == first["txid"]


def test_the_use_is_on_record_before_the_signature(
    disputed: tuple[Bridge, str, int], copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A crash between the two costs nothing; a second, different assertion is refused for ever."""
    bridge, instance = copy(disputed[0]), disputed[1]

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(asserting, "sign", crash)
        bridge.run("operator", "assert", instance, "--lie", LIE, "--broadcast", code=1)
    assert bridge.mempool() == []
    assert bridge.contents()["one_time_keys"]
    assert "already signed" in bridge.refused("operator", "assert", instance, "--broadcast", code=1)
    bridge.send("operator", "assert", instance, "--lie", LIE)


def test_a_dry_run_signs_no_value(
    disputed: tuple[Bridge, str, int], copy: Copy, monkeypatch: pytest.MonkeyPatch
) -> None:
    bridge, instance = copy(disputed[0]), disputed[1]
    with bridge.store() as store:
        seed = store.seed(Role.OPERATOR, "default").winternitz_seed()
    real, used = asserting.sign, []

    def watched(setup: InstanceSetup, winternitz_seed: bytes, values: Sequence[bytes]) -> asserting.Assertion:
        used.append(winternitz_seed)
        return real(setup, winternitz_seed, values)

    monkeypatch.setattr(asserting, "sign", watched)
    rehearsed = bridge.data("operator", "assert", instance, "--dry-run")
    assert "no script was run" in rehearsed["policy"]
    assert seed not in used
    bridge.data("operator", "assert", instance)
    assert used[-1] == seed
    again = bridge.data("operator", "assert", instance, "--dry-run")
    assert again["policy"] == "accepted"
    assert again["vsize"] == rehearsed["vsize"]


# Passphrases.


def test_a_passphrase_locks_and_unlocks(tmp_path: Path) -> None:
    bridge = Bridge(tmp_path / "data")
    right, wrong = {"BITVM_BRIDGE_PASSPHRASE": SECRET}, {"BITVM_BRIDGE_PASSPHRASE": "a guess"}
    bridge.run("instance", "list")
    assert "passphrase: 'none' is not given" in bridge.refused("operator", "keygen", code=2)
    address = bridge.run("operator", "keygen", env=right).stdout
    assert "passphrase" in bridge.refused("operator", "address", code=2)
    message = bridge.refused("operator", "address", code=2, env=wrong)
    assert "passphrase" in message
    assert "a guess" not in message
    assert "store whose keys are plain" in bridge.refused(*PLAIN, "operator", "address", code=2)
    file = tmp_path / "passphrase"
    file.write_text(f"{SECRET}\nsecond line\n")
    assert bridge.run("--passphrase-file", str(file), "operator", "address").stdout == address
    with bridge.store() as store:
        assert store.seed_names(Role.OPERATOR) == ["default"]
    assert SECRET not in str(bridge.log)


@pytest.mark.parametrize("content", [b"", b"\n", b"\nsecond line", b"\xff\xfe\n"])
def test_a_file_without_a_passphrase(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "passphrase"
    file.write_bytes(content)
    bridge = Bridge(tmp_path / "data")
    message = bridge.refused("--passphrase-file", str(file), "operator", "keygen", code=2)
    assert message.startswith(f"--passphrase-file: '{file}' is not a file whose first line")


def test_a_passphrase_file_that_is_not_there(tmp_path: Path) -> None:
    message = Bridge(tmp_path).refused("--passphrase-file", MISSING, "operator", "keygen", code=2)
    assert message.startswith(f"--passphrase-file: '{MISSING}' is not a readable file")


def test_a_new_passphrase_is_asked_for_twice_and_then_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[bool] = []

    def ask(first: bool) -> str:
        asked.append(first)
        return SECRET

    def command(*args: str) -> None:
        app = App(Network.REGTEST, tmp_path, EMBEDDED, RpcOptions(), json=False, plain_keys=False, passphrase=None)
        with app.store() as store:
            if args:
                store.add_seed(args[0], Seed.generate(Role.OPERATOR))
            else:
                store.seed(Role.OPERATOR, "default")

    monkeypatch.setattr("cli.app._ask_passphrase", ask)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    command("default")
    command()
    assert asked == [True, False]


# Other processes.


def test_a_chain_in_use(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    node = EmbeddedNode(bridge.datadir / "regtest" / "chain")
    try:
        assert "in use by another process" in bridge.refused("node", "info", code=3)
        assert "in use by another process" in bridge.refused("operator", "kick-off", instance, code=3)
    finally:
        node.close()


def test_a_store_in_use(pegged: tuple[Bridge, str], monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, instance = pegged
    monkeypatch.setattr(storing, "LOCK_TIMEOUT", 0.01)
    with bridge.store() as store, store.transaction():
        assert "another bitvm-bridge" in bridge.refused("operator", "keygen", "--name", "second", code=1)
        bridge.run("instance", "show", instance)


def test_a_store_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "regtest").mkdir()
    (tmp_path / "regtest" / storing.FILE_NAME).write_bytes(b"not a database, but long enough to look like one" * 99)
    done = Bridge(tmp_path, *PLAIN).run("instance", "list", code=2)
    assert done.stderr.startswith("error: --datadir: ")
    assert len(done.stderr.splitlines()) == 1


# Bitcoin Core that cannot serve.


@pytest.fixture
def serve() -> Iterator[Callable[[int, object], int]]:
    """A server that gives every request one answer; returns its port."""
    servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []

    def start(status: int, result: object) -> int:
        body = json.dumps({"result": result, "error": None, "id": 0}).encode()

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        servers.append((server, thread))
        return server.server_port

    yield start
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def reach(port: int) -> tuple[str, ...]:
    return ("--rpcport", str(port), "--rpcuser", "alice", "--rpcpassword", SECRET)


def info(chain: str, *, syncing: bool = False) -> dict[str, object]:
    return {"chain": chain, "blocks": 7, "headers": 9, "initialblockdownload": syncing}


@pytest.mark.parametrize(
    ("options", "status", "answer", "expected"),
    [
        ((), 401, None, "credentials refused"),
        ((), 403, None, "refuses this client"),
        ((), 200, info("main"), "a node of main, not of regtest"),
        ((), 200, info("signet"), "a node of signet, not of regtest"),
        (("--signet",), 200, info("regtest"), "a node of regtest, not of signet"),
        (("--signet",), 200, info("signet", syncing=True), "still syncing, at block 7 of 9"),
    ],
)
def test_node_that_cannot_serve(
    serve: Callable[[int, object], int],
    tmp_path: Path,
    options: tuple[str, ...],
    status: int,
    answer: object,
    expected: str,
) -> None:
    bridge = Bridge(tmp_path, *options, *reach(serve(status, answer)))
    assert expected in bridge.refused("node", "info", code=3)
    assert SECRET not in str(bridge.log[0].stderr)


def test_node_that_is_down(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    options = ("--node", "bitcoind", *reach(1))
    for args in (("node", "info"), ("operator", "kick-off", instance, "--broadcast"), (*DEPOSIT, "--dry-run")):
        message = bridge.refused(*options, *args, code=3)
        assert message == "http://127.0.0.1:1: no connection. Is the node running?"


def test_wrong_password(bitcoind: LaunchedBitcoind, tmp_path: Path) -> None:
    bridge = Bridge(tmp_path, *PLAIN, *reach(bitcoind.port))
    message = bridge.refused("node", "info", code=3)
    assert message == f"http://127.0.0.1:{bitcoind.port}: credentials refused"


def test_bitcoin_core_refuses(
    bitcoind: LaunchedBitcoind, disputed: tuple[Bridge, str, int], files: dict[str, str]
) -> None:
    """Its coins are on another chain: every transaction is refused in Core's own words."""
    bridge = Bridge(disputed[0].datadir, *PLAIN, *rpc_options(bitcoind))
    done = bridge.run("node", "test", files["assert.hex"], code=4)
    assert done.stdout == "bad-txns-inputs-missingorspent\n"


# Any change of any field of a bundle.


def paths(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Where the leaves of a document are."""
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*path, key))
    else:
        yield path


def test_every_field_of_a_bundle_is_checked(files: dict[str, str]) -> None:
    """Names of members are free, and the receiver is bound by the deposit's outpoint; all else is in the graph."""
    raw = Path(files["bundle.json"]).read_text()
    changes: list[Any] = [None, "", "zz", "00", -1, 1 << 70, [], {}]
    everything = [
        path for path in paths(json.loads(raw)) if path[-1] != "receiver" and not {"members", "keys"} & set(path)
    ]
    assert len(everything) > 100
    for number, path in enumerate(everything):
        for change in (changes[number % len(changes)], changes[(number + 3) % len(changes)]):
            document = json.loads(raw)
            parent = document
            for key in path[:-1]:
                parent = parent[key]
            if parent[path[-1]] == change:
                continue
            parent[path[-1]] = change
            with pytest.raises(BridgeError):
                Bundle.from_json(json.dumps(document))
