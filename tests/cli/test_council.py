"""`council`: an exit moved by two of three, in time and not before, on both nodes; one of them a wallet of Core's."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bridge import PLAIN, PROGRAM, RECEIVER, Bridge, make_keys, rpc_options
from tests.core_wallet import DESCRIPTOR, core_wallet, node_with_wallets

DELAY = 30
NAMES = ("ann", "ben", "cid")


def council_of(bridge: Bridge) -> tuple[str, ...]:
    """The options by which a deposit has the council of a data directory."""
    keys = [bridge.data("council", "address", "--name", name)["key"] for name in NAMES]
    return "--council", f"2:{','.join(keys)}", "--council-delay", str(DELAY)


def vault(bridge: Bridge, *options: str) -> tuple[str, int]:
    """A deposit with a council, pegged in; its id, and the height of PegIn."""
    deposit = str(bridge.send("depositor", "deposit", "--receiver", RECEIVER, *council_of(bridge), *options)["deposit"])
    instance = str(bridge.send("operator", "join", deposit, "--program", PROGRAM)["instance"])
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    bridge.send("depositor", "peg-in", deposit)
    return deposit, bridge.height()


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    bridge = Bridge(tmp_path_factory.mktemp("council") / "data", *PLAIN)
    make_keys(bridge)
    for name in NAMES:
        bridge.run("council", "keygen", "--name", name)
    return bridge


def sign(bridge: Bridge, file: Path, name: str) -> Path:
    signed = file.with_suffix(f".{name}")
    bridge.run("council", "sign", str(file), "--name", name, "--psbt-out", str(signed))
    return signed


def asked(bridge: Bridge, deposit: str, file: Path, *options: str) -> dict[str, Any]:
    where = bridge.data("depositor", "address")["address"]
    return dict(bridge.data("council", "spend", deposit, "--to", where, "--psbt-out", str(file), *options))


def test_two_of_three_after_the_wait(start: Bridge, tmp_path: Path) -> None:
    bridge = start.copy(tmp_path / "data")
    deposit, height = vault(bridge)
    file = tmp_path / "payout.psbt"
    report = asked(bridge, deposit, file)
    assert report["missing"] == 2
    assert report["wait"] == DELAY
    member = Bridge(tmp_path / "elsewhere", *PLAIN)
    member.run("council", "keygen")
    assert member.refused("council", "sign", str(file), code=2).startswith("council key: ")
    ann, ben = (sign(bridge, file, name) for name in ("ann", "ben"))
    few = bridge.refused("council", "finish", str(ann), "--broadcast", code=1)
    assert few == "CouncilPayout: 1 of 2 signatures; 1 more are needed"
    bridge.refused("council", "finish", str(ann), str(ann), code=1)
    bridge.mine_to(height + DELAY - 2)
    early = bridge.refused("council", "finish", str(ann), str(ben), "--broadcast", code=4)
    assert early == "CouncilPayout: non-BIP68-final"
    bridge.mine()
    before = bridge.balances()["depositor"]
    done = bridge.data("council", "finish", str(ben), str(ann), "--broadcast")
    assert done["policy"] == "accepted"
    assert done["txid"] == report["txid"]
    bridge.mine()
    assert bridge.balances()["depositor"] == before + 100_000_000 - done["fee"]
    gone = bridge.refused("council", "spend", deposit, "--to", report["to"][0]["address"], code=1)
    assert gone.endswith("is not there, is spent, or is not the council's")


def test_what_a_member_sees(start: Bridge, tmp_path: Path) -> None:
    bridge = start.copy(tmp_path / "data")
    deposit, _ = vault(bridge)
    file = tmp_path / "payout.psbt"
    report = asked(bridge, deposit, file)
    seen = bridge.data("council", "show", str(file))
    assert seen == report
    signed = sign(bridge, file, "cid")
    keys = bridge.data("council", "address", "--name", "cid")["key"]
    assert bridge.data("council", "show", str(signed))["signed"] == [keys]
    both = bridge.run("council", "sign", str(signed), "--name", "ann").stdout
    (tmp_path / "both").write_text(both)
    assert bridge.data("council", "show", str(tmp_path / "both"))["missing"] == 0
    for option in (("--fee-rate", "3"), ("--psbt-out", "x")):
        bridge.refused("council", "finish", str(tmp_path / "both"), *option, code=2)
    bridge.refused("council", "finish", str(tmp_path / "nowhere"), code=2)
    both_of = bridge.refused(
        "council", "spend", deposit, "--to", report["to"][0]["address"], "--exit", "0", "--burnt", "00:0", code=2
    )
    assert both_of.startswith("--burnt: ")


def test_the_share_of_a_slashed_bond(start: Bridge, tmp_path: Path) -> None:
    bridge = start.copy(tmp_path / "data")
    deposit, _ = vault(bridge)
    instance = bridge.data("instance", "list")["instances"][0]["instance"]
    bridge.send("operator", "kick-off", instance)
    bridge.mine(23)
    txid = bridge.send("challenger", "forfeit", instance)["txid"]
    file = tmp_path / "payout.psbt"
    asked(bridge, deposit, file, "--burnt", f"{txid}:0")
    signed = [str(sign(bridge, file, name)) for name in ("ben", "cid")]
    bridge.mine(DELAY - 1)
    assert bridge.send("council", "finish", *signed)["vsize"] > 100


@pytest.mark.parametrize(
    "options",
    [
        ("--council", "2:00,11"),
        ("--council-delay", "30"),
        ("--council", "x", "--council-delay", "30"),
        ("--council", f"1:{'00' * 32}", "--council-delay", "30"),
        ("--council", f"2:{RECEIVER}", "--council-delay", "30"),
    ],
)
def test_no_council(start: Bridge, options: tuple[str, ...]) -> None:
    start.refused("depositor", "deposit", "--receiver", RECEIVER, *options, code=2)


def test_a_council_waits_longer_than_every_window(start: Bridge) -> None:
    council = council_of(start)[:-1]
    refusal = start.refused("depositor", "deposit", "--receiver", RECEIVER, *council, "24", code=2)
    assert refusal == "council delay: '24' is not above the forfeit lock of 24 blocks"


@pytest.fixture(scope="module")
def core(bitcoind_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, Any]]:
    folder = tmp_path_factory.mktemp("core")
    with node_with_wallets(bitcoind_path, folder / "node") as launched, core_wallet(launched, "ben") as wallet:
        bridge = Bridge(folder / "data", *PLAIN, *rpc_options(launched))
        make_keys(bridge)
        for name in ("ann", "cid"):
            bridge.run("council", "keygen", "--name", name)
        bridge.run("council", "keygen", "--name", "ben", "--external", DESCRIPTOR)
        yield bridge, wallet


@pytest.mark.parametrize("last", ["core", "bridge"])
def test_bitcoin_core_signs_for_a_member(core: tuple[Bridge, Any], tmp_path: Path, last: str) -> None:
    bridge, wallet = core
    deposit, height = vault(bridge, "--burn-percent", "51" if last == "core" else "52")
    file, signed = tmp_path / "payout.psbt", tmp_path / "core.psbt"
    asked(bridge, deposit, file)
    assert "another wallet holds this one" in bridge.refused("council", "sign", str(file), "--name", "ben", code=2)
    ann = sign(bridge, file, "ann")
    text, complete = wallet.sign((ann if last == "core" else file).read_text())
    assert complete == (last == "core"), "Core finalises with two signatures"
    signed.write_text(text)
    files = [str(signed)] if last == "core" else [str(signed), str(ann)]
    bridge.mine_to(height + DELAY - 2)
    early = bridge.refused("council", "finish", *files, "--broadcast", code=4)
    assert "non-BIP68-final" in early
    bridge.mine()
    bridge.send("council", "finish", *files)
