"""A cooperative payout between members in processes of their own, over a folder and over the service."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge import records
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.exchange.envelope import seal
from bitvm_bridge.exchange.mailbox import Folder, Mailbox
from bitvm_bridge.exchange.messages import PAYOUT_NONCES, NoncesBody
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.keys import Role, SecretKey
from bitvm_bridge.service.client import HttpMailbox
from tests.cli.bridge import Bridge
from tests.live.parties import Parties
from tests.live.test_story import instances
from tests.service.parts import Running

CAST = {"alice": "committee", "bob": "committee", "dora": "depositor", "olga": "operator"}
SHARE = 50_000_000
"""sat of each of two exits."""


def identity(bridge: Bridge) -> SecretKey:
    with bridge.store() as store:
        return store.seed(Role.COMMITTEE, "default").identity_key()


@contextmanager
def mailbox(parties: Parties, folder: Path, via: str) -> Iterator[Mailbox]:
    """Where everyone's envelopes go, with bob's key."""
    if via == "folder":
        yield Folder(parties.shared)
        return
    folder.mkdir()
    roster = Roster.from_json(parties.roster.read_bytes())
    with Running.start(folder, "--port", "0", parties=roster) as running:
        parties.via = ("--url", running.url)
        yield HttpMailbox(running.url, identity(parties.bridges["bob"]))


def set_up(parties: Parties) -> tuple[str, str]:
    """A deposit of two exits in the vault, and olga's instance of exit 1."""
    asked = ("--receiver", "00" * 20, "--exits", "2", "--peg-in", str(2 * SHARE))
    parties.bridges["dora"].run("exchange", "request", "--roster", str(parties.roster), *asked)
    talking = [parties.take_part(name, *(["--join"] if role == "operator" else ())) for name, role in CAST.items()]
    parties.until(lambda: not any(process.is_running() for process in talking))
    olga = parties.bridges["olga"]
    parties.until(lambda: all("pegged-in" in one["state"] for one in olga.data("status")["instances"]))
    (standing,) = olga.data("exchange", "status", "--roster", str(parties.roster))["deposits"]
    return standing["deposit"], next(one for (_, number), one in instances(parties, "olga").items() if number == 1)


def payout(parties: Parties, name: str, *args: str) -> Any:
    return parties.bridges[name].data("exchange", "payout", *args, "--roster", str(parties.roster))


@pytest.mark.parametrize("via", ["folder", "service"])
def test_two_members_pay_an_exit_out(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind, via: str) -> None:
    with Parties.gathered(tmp_path, fresh_bitcoind, CAST) as parties, mailbox(parties, tmp_path / "box", via) as box:
        deposit, instance = set_up(parties)
        wanda = parties.add("wanda", "withdrawer")
        where, before = wanda.data("withdrawer", "address")["address"], wanda.balances()["withdrawer"]
        alice, bob = parties.bridges["alice"], parties.bridges["bob"]
        asked = payout(parties, "alice", "propose", deposit, "--to", where)
        assert (asked["amount"], asked["to"], asked["exit"]) == (SHARE, where, 0)
        early = alice.refused("exchange", "payout", "send", asked["payout"][:8], "--broadcast", code=1)
        assert early.endswith("the committee has not signed it yet")

        running = parties.take_part("alice")
        parties.until(lambda: "payouts that wait 1" in running.text(), alive=[running])
        quiet = parties.take_part("bob")
        parties.until(lambda: not quiet.is_running())
        assert payout(parties, "bob", "list")["payouts"][0]["waits_for"] == "the word of bob"

        shown = bob.run("exchange", "payout", "agree", asked["payout"], "--yes", "--roster", str(parties.roster)).stderr
        assert shown.strip() == f"all of exit 0 of deposit {deposit[:12]}, {SHARE:,} sat, to {where}"
        with alice.store() as store:
            label = records.load_payout(store, asked["payout"])[0].label
        bad = NoncesBody(1, {label: "02" + "00" * 65})
        box.put(seal(identity(bob), PAYOUT_NONCES, bytes.fromhex(asked["payout"]), bad))
        talking = [running, parties.take_part("bob")]
        parties.until(lambda: not any(process.is_running() for process in talking))
        for process in talking:
            assert process.popen.returncode == 0, process.text()
            assert f"fault: bob: member 'bob': the nonce of {label!r} is not valid" in process.text()

        alice.run("withdrawer", "keygen")
        alice.run("node", "mine", "1", "--to", "withdrawer")
        parties.mine(100)
        sent = alice.data("exchange", "payout", "send", asked["payout"][:8], "--broadcast")
        assert (sent["txid"], sent["policy"]) == (asked["txid"], "accepted")
        parties.mine()
        assert wanda.balances()["withdrawer"] == before + SHARE
        bob.run("watch", "--as", "committee", "--once")
        gone = alice.refused("exchange", "payout", "send", asked["payout"][:8], code=1)
        assert gone.endswith("is not in the chain, or is spent")

        psbt = parties.folder / "withdrawal.psbt"
        wanda.run("withdrawer", "request", "--amount", str(SHARE * 99 // 100), "--out", str(psbt))
        parties.bridges["olga"].run("operator", "peg-out", instance, "--psbt", str(psbt), "--broadcast")
        parties.mine()
        again = (
            "exchange",
            "payout",
            "propose",
            deposit,
            "--to",
            where,
            "--exit",
            "1",
            "--roster",
            str(parties.roster),
        )
        owed = f"instance {instance[:12]} is owed its exit for the PegOut that it has paid"
        assert alice.run(*again, code=1).stderr.strip().endswith(owed)
