"""`depositor backup` and `depositor recover`: from a seed and a height, in a new data directory, on both nodes."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.bridge import PLAIN, RECEIVER, REFUND_DELAY, Bridge, make_keys, rpc_options
from tests.cli.conftest import Copy
from tests.core_wallet import DESCRIPTOR, core_wallet, node_with_wallets

DEPOSIT = ("depositor", "deposit", "--receiver", RECEIVER)


@pytest.fixture(params=["embedded", "bitcoind"])
def bridge(request: pytest.FixtureRequest, tmp_path: Path) -> Bridge:
    """Keys and coins for everyone, on either node."""
    options = () if request.param == "embedded" else rpc_options(request.getfixturevalue("bitcoind"))
    made = Bridge(tmp_path / "old", *PLAIN, *options)
    made.run("depositor", "keygen")
    made.run("node", "mine", "2", "--to", "depositor")
    made.run("committee", "keygen", "alice", "bob")
    made.mine(100)
    return made


def elsewhere(bridge: Bridge, folder: Path) -> Bridge:
    """A new data directory on the same chain; the embedded chain, which is kept in the directory, comes along."""
    new = Bridge(folder / "new", *bridge.options)
    chain = bridge.datadir / "regtest" / "chain"
    if chain.exists():
        (new.datadir / "regtest").mkdir(parents=True)
        shutil.copytree(chain, new.datadir / "regtest" / "chain")
    return new


def test_from_a_seed_and_a_height(bridge: Bridge, tmp_path: Path) -> None:
    seed = tmp_path / "seed"
    bridge.run("depositor", "backup", str(seed))
    assert seed.stat().st_mode & 0o777 == 0o600
    birthday = bridge.height()
    made = bridge.send(*DEPOSIT)
    assert made["vsize"] == 199
    bridge.send(*DEPOSIT, "--burn-percent", "51")
    gone = bridge.send(*DEPOSIT, "--burn-percent", "52", "--refund-delay", "1")
    bridge.mine()
    bridge.send("depositor", "refund", gone["deposit"])
    before = bridge.balances()["depositor"]

    new = elsewhere(bridge, tmp_path)
    rows = new.data("depositor", "recover", "--seed-file", str(seed), "--birthday", str(birthday))["deposits"]
    assert [(row["amount"], row["height"]) for row in rows] == [
        (100_000_000, birthday + number) for number in (1, 2, 3)
    ]
    assert rows[0]["outpoint"] == f"{made['txid']}:0"
    assert [row["refund_from"] for row in rows] == [*(birthday + number + REFUND_DELAY for number in (1, 2)), None]
    assert new.data("depositor", "address") == bridge.data("depositor", "address")
    first = rows[0]["id"]
    early = new.run("depositor", "refund", first, "--broadcast", code=4)
    assert early.stderr == "error: RecoveredRefund: non-BIP68-final\n"
    new.mine(rows[0]["refund_from"] - 1 - new.height())
    done = new.send("depositor", "refund", first[:12])
    assert new.balances()["depositor"] == before + 100_000_000 - done["fee"]
    again = new.data("depositor", "recover", "--birthday", str(birthday))["deposits"]
    assert [row["refund_from"] is None for row in again] == [True, False, True]
    assert [row["id"] for row in again] == [row["id"] for row in rows]
    assert new.run("depositor", "refund", first, "--broadcast", code=4).stderr.startswith("error: RecoveredRefund: ")


def test_what_recover_refuses_and_never_shows(keyed: Bridge, copy: Copy, tmp_path: Path) -> None:
    bridge = copy(keyed)
    seed = tmp_path / "seed"
    bridge.run("depositor", "backup", str(seed))
    again = bridge.refused("depositor", "backup", str(seed), code=2)
    assert again == f"file: '{seed}' is not a new file to write to (File exists)"
    bridge.refused("depositor", "backup", str(tmp_path / "no" / "where"), code=2)
    secret = seed.read_text().strip()
    recover = ("depositor", "recover", "--birthday", "0", "--seed-file")
    for content in ("", secret[:-2], secret + "00", "zz" * 32, "é" * 64, f"\n{secret}"):
        (tmp_path / "bad").write_text(content)
        refusal = bridge.refused(*recover, str(tmp_path / "bad"), code=2)
        assert refusal == f"--seed-file: '{tmp_path / 'bad'}' is not a file whose first line is a seed (64 hex digits)"
    other = Bridge(tmp_path / "other", *PLAIN)
    other.run("depositor", "keygen")
    refusal = other.refused(*recover, str(seed), code=2)
    assert refusal == "depositor name: 'default' is not a name that has no other key"
    assert bridge.run(*recover, str(seed)).stderr.startswith("no deposit of ")
    above = bridge.refused("depositor", "recover", "--birthday", "9999", code=2)
    assert above.startswith("birthday: '9999' is not a height of the chain")
    bridge.refused("depositor", "recover", "--birthday", "0", "--name", "nobody", code=2)
    printed = "".join(done.stdout + done.stderr for done in (*bridge.log, *other.log))
    assert secret not in printed


def test_a_new_store_takes_the_passphrase(keyed: Bridge, copy: Copy, tmp_path: Path) -> None:
    bridge = copy(keyed)
    bridge.run("depositor", "backup", str(tmp_path / "seed"))
    new = elsewhere(bridge, tmp_path)
    new = Bridge(new.datadir)
    args = ("depositor", "recover", "--seed-file", str(tmp_path / "seed"), "--birthday", "0")
    assert "passphrase" in new.run(*args, code=2).stderr
    new.run(*args, env={"BITVM_BRIDGE_PASSPHRASE": "correct horse"})
    assert new.run("depositor", "address", code=2).stderr.startswith("error: passphrase")


@pytest.fixture(scope="module")
def core(bitcoind_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, Any]]:
    folder = tmp_path_factory.mktemp("core")
    with node_with_wallets(bitcoind_path, folder / "node") as launched, core_wallet(launched, "keys") as wallet:
        yield Bridge(folder / "data", *PLAIN, *rpc_options(launched)), wallet


def test_with_a_key_in_bitcoin_core(core: tuple[Bridge, Any], tmp_path: Path) -> None:
    bridge, wallet = core
    make_keys(bridge)
    bridge.run("depositor", "keygen", "--name", "cold", "--external", DESCRIPTOR)
    bridge.run("node", "mine", "2", "--to", bridge.data("depositor", "address", "--name", "cold")["address"])
    bridge.mine(100)
    asked, signed = tmp_path / "asked", tmp_path / "signed"
    bridge.run(*DEPOSIT, "--name", "cold", "--psbt-out", str(asked))
    signed.write_text(wallet.sign(asked.read_text())[0])
    bridge.send("psbt", "finish", str(signed))
    height = bridge.height()
    new = Bridge(tmp_path / "new", *bridge.options)
    new.run("depositor", "keygen", "--external", DESCRIPTOR)
    assert new.refused("depositor", "backup", str(tmp_path / "seed"), code=2).startswith("depositor name: ")
    (row,) = new.data("depositor", "recover", "--birthday", str(height))["deposits"]
    new.mine(REFUND_DELAY - 1)
    new.run("depositor", "refund", row["id"], "--psbt-out", str(asked))
    signed.write_text(wallet.sign(asked.read_text())[0])
    assert new.send("psbt", "finish", str(signed))["name"] == "RecoveredRefund"
