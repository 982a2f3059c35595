"""What commands print and where: data on stdout, prose on stderr, one document with --json, and never a secret."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from bitvm_bridge import keyring
from bitvm_bridge.keys import Role
from bitvm_bridge.transaction import Transaction
from cli.main import root
from tests.cli.bridge import (
    AMOUNT,
    LIE,
    PLAIN,
    PROGRAM,
    RECEIVER,
    REFUND_DELAY,
    WINDOW,
    Bridge,
    challenged,
    kick_off,
    make_keys,
    pay_out,
    set_up,
)
from tests.cli.conftest import Copy

HEX_ID = re.compile(r"[0-9a-f]{64}")


# Every command that makes a transaction, at a time when the node would take it.


@pytest.fixture(scope="module")
def stages(
    keyed: Bridge,
    pegged: tuple[Bridge, str],
    disputed: tuple[Bridge, str, int],
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, tuple[Bridge, list[str]]]:
    """Command → a data directory in which its transaction is valid now, and its arguments."""
    instance = pegged[1]
    folder = tmp_path_factory.mktemp("stages")

    def at(name: str, start: Bridge) -> Bridge:
        return start.copy(folder / name)

    deposited = at("deposited", keyed)
    deposit = deposited.send("depositor", "deposit", "--receiver", RECEIVER)["deposit"]
    confirmed = at("confirmed", deposited)
    joined = confirmed.send("operator", "join", deposit, "--program", PROGRAM)["instance"]
    confirmed.run("committee", "sign", joined)
    confirmed.run("committee", "confirm", deposit)
    late = at("late", deposited)
    late.mine(REFUND_DELAY - 1)
    claimed = at("claimed", pegged[0])
    height = kick_off(claimed, instance)
    unchallenged = at("unchallenged", claimed)
    unchallenged.mine_to(height + WINDOW - 1)
    abandoned = at("abandoned", claimed)
    abandoned.mine_to(height + 4 * WINDOW - 1)
    silent = at("silent", disputed[0])
    silent.mine_to(disputed[2] + 2 * WINDOW - 1)
    lied = at("lied", disputed[0])
    lied.send("operator", "assert", instance, "--lie", LIE)
    asserted = at("asserted", disputed[0])
    asserted.send("operator", "assert", instance)
    asserted.mine_to(disputed[2] + 3 * WINDOW - 1)
    payer = at("payer", pegged[0])
    psbt = str(folder / "psbt")
    payer.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", psbt)
    where = payer.data("depositor", "address")["address"]
    vault = payer.data("depositor", "list")["deposits"][0]["deposit"]
    return {
        "PegInDeposit": (at("keyed", keyed), ["depositor", "deposit", "--receiver", RECEIVER]),
        "PegInRefund": (late, ["depositor", "refund", deposit]),
        "ClaimFunding": (deposited, ["operator", "join", deposit, "--program", PROGRAM]),
        "PegIn": (confirmed, ["depositor", "peg-in", deposit]),
        "PegOut": (payer, ["operator", "peg-out", instance, "--psbt", psbt]),
        "CooperativePayout": (payer, ["committee", "cooperative-payout", vault, "--to", where]),
        "KickOff": (at("pegged", pegged[0]), ["operator", "kick-off", instance]),
        "Challenge": (claimed, ["challenger", "challenge", instance]),
        "HappyTake": (unchallenged, ["operator", "happy-take", instance]),
        "Assert": (at("disputed", disputed[0]), ["operator", "assert", instance]),
        "AssertTimeout_0": (silent, ["challenger", "assert-timeout", instance]),
        "Disprove": (lied, ["challenger", "disprove", instance]),
        "UnhappyTake": (asserted, ["operator", "unhappy-take", instance]),
        "Forfeit": (abandoned, ["challenger", "forfeit", instance]),
    }


MAKERS = {
    "depositor": {"deposit", "peg-in", "refund"},
    "operator": {"join", "peg-out", "kick-off", "assert", "happy-take", "unhappy-take"},
    "committee": {"cooperative-payout"},
    "challenger": {"challenge", "assert-timeout", "disprove", "forfeit"},
    "psbt": {"finish"},
    "council": {"finish"},
    "dlc": {"settle", "refund", "disprove", "timeout", "forfeit"},
}
TURNS = {"join-many", "peg-outs", "close"}
"""Commands that make as many as there is need of, or one that others sign, too, and report on what they are for."""
NAMES = [
    "PegInDeposit",
    "PegInRefund",
    "ClaimFunding",
    "PegIn",
    "PegOut",
    "CooperativePayout",
    "KickOff",
    "Challenge",
    "HappyTake",
    "Assert",
    "AssertTimeout_0",
    "Disprove",
    "UnhappyTake",
    "Forfeit",
]
SIGNED_LATE = {"Assert", "CooperativePayout"}
"""What a dry run does not sign."""
PACKAGES = {"PegIn", "CooperativePayout", "KickOff", "HappyTake", "UnhappyTake"}


def test_every_command_that_makes_a_transaction_is_in_the_table() -> None:
    found = {
        group.name: {name for name, item in group.commands.items() if {"broadcast", "dry_run"} & parameters(item)}
        - TURNS
        for group in root.commands.values()
        if isinstance(group, click.Group)
    }
    assert {name: commands for name, commands in found.items() if commands} == MAKERS
    for group, commands in MAKERS.items():
        for name in commands:
            item = root.commands[group].commands[name]  # type: ignore[attr-defined]
            assert {"broadcast", "dry_run", "out", "fee_rate"} <= parameters(item), name


def parameters(command: click.Command) -> set[str]:
    return {item.name for item in command.params if item.name}


@pytest.mark.parametrize("name", NAMES)
def test_dry_run_reports_and_changes_nothing(stages: dict[str, tuple[Bridge, list[str]]], name: str) -> None:
    bridge, args = stages[name]
    before = bridge.contents()
    report = bridge.data(*args, "--dry-run")
    check_report(report, name)
    assert not report["broadcast"]
    assert bridge.contents() == before
    assert bridge.mempool() == []
    done = bridge.run(*args, "--dry-run")
    assert done.stderr == "not sent, and nothing kept (--dry-run)\n"
    for key in ("txid", "vsize", "weight", "fee", "policy"):
        assert re.search(rf"^{key} +\S", done.stdout, re.MULTILINE), key
    assert bridge.contents() == before


def check_report(report: dict[str, Any], name: str) -> None:
    assert report["name"] == name
    assert HEX_ID.fullmatch(report["txid"])
    assert report["weight"] > 4 * 60
    assert report["vsize"] == -(-report["weight"] // 4)
    assert report["policy"] == "accepted" or (name in SIGNED_LATE and report["policy"].startswith("standard"))
    vsize = report["vsize"] + report.get("child_vsize", 0)
    assert vsize <= report["fee"] <= vsize + 10
    assert ("child" in report) == (name in PACKAGES)


@pytest.mark.parametrize("name", NAMES)
def test_only_broadcast_sends(
    stages: dict[str, tuple[Bridge, list[str]]], name: str, copy: Copy, tmp_path: Path
) -> None:
    bridge, args = copy(stages[name][0]), stages[name][1]
    out = tmp_path / "raw.hex"
    done = bridge.run(*args, "--out", str(out))
    assert done.stderr == "not sent; --broadcast sends it\n"
    assert bridge.mempool() == []
    written = [Transaction.parse_hex(line) for line in out.read_text().splitlines()]
    assert len(written) == 1 + (name in PACKAGES)
    assert f"txid         {written[0].txid_hex}\n" in done.stdout
    assert bridge.data("node", "test", str(out))["allowed"]
    report = bridge.data(*args, "--broadcast")
    check_report(report, name)
    assert report["broadcast"]
    assert report["txid"] == written[0].txid_hex
    waiting = [Transaction.parse_hex(raw).txid_hex for raw in bridge.mempool()]
    assert waiting == [report["txid"], *([report["child"]] if name in PACKAGES else [])]


def test_raw_transaction_on_stdout(stages: dict[str, tuple[Bridge, list[str]]]) -> None:
    bridge, args = stages["KickOff"]
    done = bridge.run(*args, "--dry-run", "--out", "-")
    parent, child = (Transaction.parse_hex(line) for line in done.stdout.splitlines())
    assert f"txid         {parent.txid_hex}\n" in done.stderr
    report = bridge.data(*args, "--dry-run", "--out", "-")
    assert [Transaction.parse_hex(raw).txid for raw in report["raw"]] == [parent.txid, child.txid]


# One JSON document, wherever --json stands.


def readers(instance: str, deposit: str) -> list[tuple[str, ...]]:
    """Every command that changes nothing."""
    return [
        ("instance", "list"),
        ("instance", "show", instance),
        ("instance", "graph", instance),
        ("instance", "status", instance),
        ("instance", "verify", instance),
        ("instance", "export", instance),
        ("instance", "export", instance, "--bundle"),
        ("depositor", "list"),
        ("depositor", "address"),
        ("withdrawer", "address"),
        ("node", "info"),
        ("node", "balance"),
        ("depositor", "refund", deposit, "--dry-run"),
    ]


def test_json_anywhere(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    deposit = bridge.data("depositor", "list")["deposits"][0]["deposit"]
    for args in readers(instance, deposit):
        assert isinstance(bridge.data(*args), dict)
        first = json.loads(bridge.run("--json", *args).stdout)
        middle = json.loads(bridge.run(args[0], "--json", *args[1:]).stdout)
        assert first == middle


def test_text_has_no_json_and_no_colour_in_a_pipe(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    for args in readers(instance, instance)[:5]:
        done = bridge.run(*args)
        assert not done.stdout.startswith("{")
        assert "\x1b" not in done.stdout + done.stderr


def test_commands_that_sign_or_mine_print_one_document_too(keyed: Bridge, copy: Copy, tmp_path: Path) -> None:
    bridge = copy(keyed)
    assert bridge.data("operator", "keygen", "--name", "second")["name"] == "second"
    assert bridge.data("committee", "keygen", "dave")["members"] == ["alice", "bob", "carol", "dave"]
    deposit = bridge.data("depositor", "deposit", "--receiver", RECEIVER, "--broadcast")["deposit"]
    assert bridge.data("node", "mine")["height"] == bridge.height()
    instance = bridge.send("operator", "join", deposit, "--program", PROGRAM)["instance"]
    assert bridge.data("committee", "sign", instance)["members"] == 4
    assert bridge.data("committee", "confirm", deposit)["instances"] == 1
    bundle = tmp_path / "bundle.json"
    assert bridge.data("instance", "export", instance, "--bundle", "--out", str(bundle))["file"] == str(bundle)
    assert bridge.data("committee", "verify", str(bundle))["ok"]
    assert bridge.data("instance", "import", str(bundle))["instance"] == instance
    psbt = tmp_path / "psbt"
    assert bridge.data("withdrawer", "request", "--amount", "1000", "--out", str(psbt))["psbt"] in psbt.read_text()


def test_status_on_paper(disputed: tuple[Bridge, str, int]) -> None:
    bridge, instance, height = disputed
    text = bridge.run("instance", "status", instance).stdout
    assert f"height {height + 1}, state Challenge\n" in text
    assert re.search(rf"^  Assert +by operator +now, before block {height + 2 * WINDOW}$", text, re.MULTILINE)
    assert re.search(rf"^  AssertTimeout_0 +by anyone +from block {height + 2 * WINDOW}", text, re.MULTILINE)
    found = bridge.data("instance", "status", instance)
    assert found["state"] == "Challenge"
    assert [event["name"] for event in found["events"]] == ["PegIn", "KickOff", "Challenge"]


def test_a_problem_with_the_graph_exits_5(pegged: tuple[Bridge, str], monkeypatch: pytest.MonkeyPatch) -> None:
    bridge, instance = pegged
    monkeypatch.setattr("cli.instance.lint", lambda graph: ["Forfeit: is missing"])
    done = bridge.run("instance", "verify", instance, code=5)
    assert done.stderr == "Forfeit: is missing\n"
    assert not bridge.data("instance", "verify", instance, code=5)["ok"]


def test_the_picture_names_every_transaction(pegged: tuple[Bridge, str]) -> None:
    bridge, instance = pegged
    picture = bridge.run("instance", "graph", instance).stdout
    assert picture.startswith("flowchart LR\n")
    for item in bridge.data("instance", "show", instance)["transactions"]:
        assert f"--> {item['name']}\n" in picture + "\n"


# Help.


def every_command(command: click.Command, path: tuple[str, ...] = ()) -> list[tuple[tuple[str, ...], click.Command]]:
    found = [(path, command)]
    if isinstance(command, click.Group):
        for name, item in command.commands.items():
            found += every_command(item, (*path, name))
    return found


def test_every_command_and_option_explains_itself(tmp_path: Path) -> None:
    for path, command in every_command(root):
        done = Bridge(tmp_path).run(*path, "--help")
        assert done.stdout.startswith(f"Usage: {' '.join(('bitvm-bridge', *path))} ")
        assert command.help
        for item in command.params:
            if isinstance(item, click.Option):
                assert item.help, (path, item.name)


def test_lists_of_commands_are_not_cut_off(tmp_path: Path) -> None:
    for path, command in every_command(root):
        if path and isinstance(command, click.Group):
            assert "..." not in Bridge(tmp_path).run(*path, "--help").stdout.partition("Commands:")[2], path


def test_a_group_alone_shows_its_help(tmp_path: Path) -> None:
    done = Bridge(tmp_path).run("operator", code=2)
    assert done.stderr.startswith("Usage: bitvm-bridge operator ")
    assert done.stdout == ""
    assert CliRunner().invoke(root, [], prog_name="bitvm-bridge").stderr.startswith("Usage: bitvm-bridge ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_completion(shell: str) -> None:
    command = Path(sys.executable).with_name("bitvm-bridge")
    environment = os.environ | {"_BITVM_BRIDGE_COMPLETE": f"{shell}_source"}
    done = subprocess.run([str(command)], env=environment, capture_output=True, text=True, check=False)
    assert "_BITVM_BRIDGE_COMPLETE" in done.stdout


# Secrets.


def secrets_of(bridge: Bridge) -> set[str]:
    """Hex of every seed, and of every key that signs a transaction."""
    found: set[bytes] = set()
    deposits = [bytes.fromhex(row["deposit"]) for row in bridge.data("depositor", "list")["deposits"]]
    with bridge.store() as store:
        for role in Role:
            for name in store.seed_names(role):
                seed = store.seed(role, name)
                found |= {seed.reveal(), seed.wallet_key().reveal(), seed.winternitz_seed()}
        for deposit in deposits:
            found |= {keyring.member_key(store, key.member, deposit).reveal() for key in store.member_keys(deposit)}
    return {secret.hex() for secret in found}


def test_no_secret_is_ever_shown(tmp_path: Path) -> None:
    password = "correct-horse-battery"
    bridge = Bridge(tmp_path / "data", *PLAIN)
    make_keys(bridge)
    instance = set_up(bridge)
    deposit = bridge.data("depositor", "list")["deposits"][0]["deposit"]
    files = [tmp_path / name for name in ("public.json", "bundle.json", "raw.hex")]
    bridge.run("instance", "export", instance, "--out", str(files[0]))
    bridge.run("instance", "export", instance, "--bundle", "--out", str(files[1]))
    pay_out(bridge, instance)
    challenged(bridge, instance)
    bridge.run("operator", "assert", instance, "--lie", LIE, "--broadcast", "--out", str(files[2]))
    bridge.mine()
    bridge.send("challenger", "disprove", instance)
    bridge.run("operator", "assert", instance, code=1)
    for args in readers(instance, deposit):
        bridge.run(*args)
        bridge.run(*args, "--json")
    bridge.run("--rpcport", "1", "--rpcuser", "alice", "--rpcpassword", password, "node", "info", code=3)
    bridge.run("--rpcport", "x", "--rpcuser", "alice", "--rpcpassword", password, "node", "info", code=2)
    printed = "".join(done.stdout + done.stderr for done in bridge.log) + "".join(map(Path.read_text, files))
    secrets = secrets_of(bridge)
    assert len(secrets) == 7 * 3 + 3
    assert instance in printed
    assert password not in printed
    for secret in secrets:
        assert secret not in printed
    assert_not_in_reprs(bridge, secrets)


def assert_not_in_reprs(bridge: Bridge, secrets: set[str]) -> None:
    """What a traceback or a debugger would show."""
    with bridge.store() as store:
        seed = store.seed(Role.OPERATOR, "default")
        shown = repr(seed) + repr(seed.wallet_key()) + repr(store)
    assert all(secret not in shown for secret in secrets)
