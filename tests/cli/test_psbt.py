"""Every role with its key in a wallet of Bitcoin Core: commands ask with PSBTs, the wallet signs, nothing else does."""

from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.psbt import Psbt
from bitvm_bridge.transaction import Transaction
from tests.cli.bridge import AMOUNT, PLAIN, RECEIVER, REFUND_DELAY, WINDOW, Bridge, rpc_options
from tests.cli.conftest import Copy
from tests.core_wallet import DESCRIPTOR, CoreWallet, core_wallet, node_with_wallets

ROLES = ("depositor", "withdrawer", "operator", "challenger")
SINGLE = "SINGLE|ANYONECANPAY"
SMALL = "hash-chain:2:1"


@pytest.fixture(scope="module")
def core(bitcoind_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Bridge, CoreWallet]]:
    """A data directory without a key but the committee's, on a node whose wallet holds all the others."""
    folder = tmp_path_factory.mktemp("core")
    with node_with_wallets(bitcoind_path, folder / "node") as launched, core_wallet(launched, "keys") as wallet:
        bridge = Bridge(folder / "data", *PLAIN, *rpc_options(launched))
        for index, role in enumerate(ROLES):
            bridge.run(role, "keygen", "--external", DESCRIPTOR, "--index", str(index))
            bridge.run("node", "mine", "2", "--to", role)
        bridge.run("committee", "keygen", "alice", "bob")
        bridge.mine(100)
        yield bridge, wallet


def through(
    core: tuple[Bridge, CoreWallet], folder: Path, *args: str, parts: int = 1, sighash: str = "DEFAULT"
) -> dict[str, Any]:
    """Ask, have the wallet sign, finish, mine."""
    bridge, wallet = core
    asked, signed = folder / "asked.psbt", folder / "signed.psbt"
    report = bridge.data(*args, "--psbt-out", str(asked))
    lines = asked.read_text().splitlines()
    assert len(lines) == parts
    answers = [wallet.sign(line, sighash, finalize=index % 2 == 0) for index, line in enumerate(lines)]
    assert all(complete for _, complete in answers[::2])
    signed.write_text("".join(f"{text}\n" for text, _ in answers))
    if sighash != "DEFAULT":
        return dict(bridge.data("psbt", "finish", str(signed)))
    done = bridge.data("psbt", "finish", str(signed), "--broadcast")
    assert done["policy"] == "accepted"
    assert done["txid"] == report["txid"]
    assert done["fee"] == report["fee"]
    bridge.mine()
    return dict(report)


def test_a_bridge_whose_keys_are_in_bitcoin_core(core: tuple[Bridge, CoreWallet], tmp_path: Path) -> None:
    bridge, wallet = core
    deposit = through(core, tmp_path, "depositor", "deposit", "--receiver", RECEIVER)["deposit"]
    instance = through(core, tmp_path, "operator", "join", deposit, "--program", SMALL)["instance"]
    early = bridge.refused("committee", "sign", instance, code=2)
    assert "one whose operator has signed Challenge" in early
    through(core, tmp_path, "operator", "sign-challenge", instance, sighash=SINGLE)
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    through(core, tmp_path, "depositor", "peg-in", deposit)

    asked, half = tmp_path / "asked", tmp_path / "half"
    bridge.run("withdrawer", "request", "--amount", str(AMOUNT), "--out", str(asked))
    unsigned = bridge.run("operator", "peg-out", instance, "--psbt", str(asked), code=2)
    assert "signed SINGLE|ANYONECANPAY" in unsigned.stderr
    for finalize in (True, False):
        half.write_text(wallet.sign(asked.read_text(), SINGLE, finalize)[0])
        report = bridge.data("operator", "peg-out", instance, "--psbt", str(half), "--dry-run")
        assert report["policy"].startswith("standard")
    through(core, tmp_path, "operator", "peg-out", instance, "--psbt", str(half))

    through(core, tmp_path, "operator", "kick-off", instance, parts=2)
    through(core, tmp_path, "challenger", "challenge", instance)
    assert bridge.state(instance) == "Challenge"
    assert bridge.data("psbt", "list")["unsigned"] == []
    assert not any(wallet_secret(bridge))

    bridge.run("operator", "assert", instance, "--psbt-out", str(asked))
    text, complete = wallet.sign(asked.read_text())
    assert not complete, "the leaf with one-time keys is no miniscript, and Core signs no other script"
    half.write_text(text)
    assert "input 0, signature: none of key" in bridge.refused("psbt", "finish", str(half), code=5)


def wallet_secret(bridge: Bridge) -> list[Any]:
    """Rows of seeds that own coins."""
    return [row for row in bridge.contents()["seeds"] if row[0] not in ("committee", "operator")]


def test_a_refund_whose_key_is_in_bitcoin_core(core: tuple[Bridge, CoreWallet], tmp_path: Path) -> None:
    bridge, _ = core
    deposit = through(core, tmp_path, "depositor", "deposit", "--receiver", RECEIVER, "--burn-percent", "51")["deposit"]
    before = bridge.balances()["depositor"]
    early = bridge.data("depositor", "refund", deposit, "--psbt-out", str(tmp_path / "early"))
    assert early["policy"].startswith("standard")
    bridge.mine(REFUND_DELAY - 1)
    report = through(core, tmp_path, "depositor", "refund", deposit)
    assert bridge.balances()["depositor"] == before + 100_000_000 - report["fee"]


def test_a_take_whose_fee_is_paid_from_bitcoin_core(core: tuple[Bridge, CoreWallet], tmp_path: Path) -> None:
    bridge, _ = core
    deposit = through(core, tmp_path, "depositor", "deposit", "--receiver", RECEIVER, "--burn-percent", "52")["deposit"]
    instance = through(core, tmp_path, "operator", "join", deposit, "--program", SMALL)["instance"]
    through(core, tmp_path, "operator", "sign-challenge", instance, sighash=SINGLE)
    bridge.run("committee", "sign", instance)
    bridge.run("committee", "confirm", deposit)
    through(core, tmp_path, "depositor", "peg-in", deposit)
    through(core, tmp_path, "operator", "kick-off", instance, parts=2)
    bridge.mine(WINDOW - 1)
    through(core, tmp_path, "operator", "happy-take", instance)
    assert bridge.state(instance) == "HappyTake"


# What is refused, on the embedded node with a key that nobody has.


KEY = "a0434d9e47f3c86235477c7b1ae6ae5d3442d49b1943c2b752a68e2a47e247c7"


@pytest.fixture
def watching(keyed: Bridge, copy: Copy) -> Bridge:
    """A data directory that watches a key with coins."""
    bridge = copy(keyed)
    bridge.run("depositor", "keygen", "--name", "cold", "--external", KEY)
    where = bridge.data("depositor", "address", "--name", "cold")["address"]
    bridge.run("node", "mine", "2", "--to", where)
    bridge.mine(100)
    return bridge


DEPOSIT = ("depositor", "deposit", "--receiver", RECEIVER, "--name", "cold")


def test_what_signs_unasked_says_what_to_do_instead(watching: Bridge, tmp_path: Path) -> None:
    for role in ("operator", "challenger"):
        watching.run(role, "keygen", "--name", "cold", "--external", KEY)
        refusal = watching.refused("watch", "--as", role, "--name", "cold", "--once", code=2)
        assert refusal == (
            f"{role} name: 'cold' is not one whose key is in this data directory; another wallet holds this one: "
            "`status` says what is due, and the command for it writes what that wallet signs"
        )
    (tmp_path / "requests").touch()
    args = ("operator", "peg-outs", "--source", str(tmp_path / "requests"), "--name", "cold", "--once")
    assert watching.refused(*args, code=2).endswith("else pay each with `peg-out`")
    for role in ("depositor", "challenger"):
        refusal = watching.refused("exchange", "identity", "cold", "--as", role, "--name", "cold", code=2)
        assert refusal.endswith(f"signs no documents: `{role} keygen --name OTHER` makes one that does")
    watching.run("exchange", "identity", "cold", "--as", "operator", "--name", "cold")


def test_an_external_key_is_seen_and_never_signs(watching: Bridge) -> None:
    shown = watching.run("depositor", "address", "--name", "cold")
    assert shown.stderr == f"depositor 'cold', public key {KEY}, in another wallet\n"
    rows = watching.data("node", "balance")["balances"]
    assert {"role": "depositor", "name": "cold", "coins": 2, "sat": 10_000_000_000} in rows
    assert watching.refused(*DEPOSIT, "--broadcast", code=2).startswith("--broadcast: 'given' is not used before ")
    assert watching.refused(*DEPOSIT, "--out", "-", code=2).startswith("--out: 'given' is not used before ")
    named = watching.refused("depositor", "keygen", "--name", "cold", code=2)
    assert named == "depositor name: 'cold' is not a name that has no key yet"
    watching.refused("depositor", "keygen", "--external", KEY, code=2)
    watching.refused("depositor", "keygen", "--name", "new", "--index", "3", code=2)


def test_a_question_sets_its_coins_aside(watching: Bridge, tmp_path: Path) -> None:
    dry = watching.data(*DEPOSIT, "--dry-run")
    assert watching.data("psbt", "list")["unsigned"] == []
    report = watching.data(*DEPOSIT)
    (text,) = report.pop("psbt")
    assert {name: report[name] for name in ("vsize", "weight", "fee", "policy", "signer")} == {
        name: dry[name] for name in ("vsize", "weight", "fee", "policy", "signer")
    }
    (row,) = watching.data("psbt", "list")["unsigned"]
    assert row == {
        "name": "PegInDeposit",
        "txid": report["txid"],
        "of": report["deposit"],
        "missing": 1,
        "signer": KEY,
    }
    question = Psbt.parse(text.encode())
    assert question.tx.txid_hex == report["txid"]
    assert watching.mempool() == []
    with watching.store() as store:
        assert {txin.outpoint for txin in question.tx.inputs} <= set(store.reserved_coins())
        assert store.transactions(bytes.fromhex(report["deposit"])) == []
    unsigned = tmp_path / "unsigned.psbt"
    unsigned.write_bytes(question.serialize())
    missing = f"PSBT: input 0, signature: none of key {KEY}"
    assert watching.refused("psbt", "finish", str(unsigned), code=5) == missing
    changed = Transaction(2, question.tx.inputs, question.tx.outputs[::-1])
    unsigned.write_bytes(b64encode(Psbt(changed, question.inputs, question.outputs).serialize()))
    refusal = watching.refused("psbt", "finish", str(unsigned), "--broadcast", code=5)
    assert refusal.startswith("PSBT: output 0, amount: ")


def test_a_psbt_of_nothing_that_waits(watching: Bridge, tmp_path: Path) -> None:
    (text,) = watching.data(*DEPOSIT)["psbt"]
    file = tmp_path / "file"
    file.write_text(text)
    txid = watching.data("psbt", "list")["unsigned"][0]["txid"]
    for short in (txid[:7], "0" * 64):
        watching.refused("psbt", "cancel", short, code=2)
    assert watching.data("psbt", "cancel", txid[:12])["cancelled"] == txid
    with watching.store() as store:
        assert store.reserved_coins() == {}
    refusal = watching.refused("psbt", "finish", str(file), code=2)
    assert refusal == f"PSBT: '{txid}' is not a transaction that waits here for signatures; see `psbt list`"
    for content in ("", "cHNidA==", "junk"):
        file.write_text(content)
        watching.refused("psbt", "finish", str(file), code=2)
    file.write_text(text)
    watching.refused("psbt", "finish", str(file), "--fee-rate", "3", code=2)
    watching.refused("psbt", "finish", str(file), "--psbt-out", "x", code=2)
    watching.refused("psbt", "finish", str(tmp_path / "nowhere"), code=2)


def test_a_key_that_is_here_needs_no_psbt(watching: Bridge) -> None:
    refusal = watching.refused("depositor", "deposit", "--receiver", RECEIVER, "--psbt-out", "-", code=2)
    assert refusal.startswith("--psbt-out: '-' is not used here")
