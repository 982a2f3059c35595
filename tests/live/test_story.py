"""Three members, two operators, a depositor and a challenger, each a process of its own, on one bitcoind.

Set-up, peg-in, two peg-outs, an honest claim and a fraud. Nobody sends anything by hand but the liar.
"""

from pathlib import Path

from bitvm_bridge import records
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.params import Params
from tests.cli.bridge import Bridge
from tests.live.parties import CAST, Parties

SHARE = 50_000_000
"""sat of each of two exits."""
FEES = 200_000
"""sat: more than a few transactions cost."""


def instances(parties: Parties, name: str) -> dict[tuple[bytes, int], str]:
    """(operator's key, exit) → instance id, of everything that is signed in one party's store."""
    with parties.bridges[name].store() as store:
        setups = [records.load_bundle(store, key.hex()).setup for key in store.keys(records.BUNDLE)]
    return {(setup.operator, setup.exit): setup.id.hex() for setup in setups}


def set_up(parties: Parties) -> dict[str, list[str]]:
    """A deposit of two exits, set up by everyone; operator → its instance of each exit."""
    asked = ("--receiver", "00" * 20, "--exits", "2", "--peg-in", str(2 * SHARE))
    parties.bridges["dora"].run("exchange", "request", "--roster", str(parties.roster), *asked)
    talking = [parties.take_part(name, *(["--join"] if role == "operator" else ())) for name, role in CAST.items()]
    parties.until(lambda: not any(process.is_running() for process in talking))
    for process in talking:
        assert process.popen.returncode == 0, process.text()
        assert "deposits confirmed 1/1, instances signed 4/4" in process.text()
        assert "fault" not in process.text()
    known = [instances(parties, name) for name in CAST]
    assert all(found == known[0] for found in known)
    keys = {name: bytes.fromhex(parties.bridges[name].data("operator", "address")["key"]) for name in ("olga", "oscar")}
    return {name: [known[0][key, number] for number in range(2)] for name, key in keys.items()}


def pay_out(parties: Parties, withdrawer: Bridge, instance: str) -> None:
    """A user asks, olga pays."""
    psbt = parties.folder / f"{instance[:8]}.psbt"
    withdrawer.run("withdrawer", "request", "--amount", str(SHARE * 99 // 100), "--out", str(psbt))
    parties.bridges["olga"].run("operator", "peg-out", instance, "--psbt", str(psbt), "--broadcast")
    parties.mine()


def happened(bridge: Bridge, instance: str) -> list[str]:
    """What has confirmed of an instance."""
    return [event["name"] for event in bridge.data("instance", "status", instance)["events"]]


def test_set_up_claim_and_fraud_between_processes(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind) -> None:
    with Parties.gathered(tmp_path, fresh_bitcoind) as parties:
        claims = set_up(parties)
        wanda = parties.add("wanda", "withdrawer")
        honest = [parties.watch(name) for name in ("alice", "bob", "carol", "olga", "clara")]
        coins = parties.bridges["clara"].balances()["challenger"]
        oscar, clara = parties.bridges["oscar"], parties.bridges["clara"]
        for instance in claims["olga"]:
            pay_out(parties, wanda, instance)
        fraud = claims["oscar"][1]
        oscar.run("operator", "kick-off", fraud, "--broadcast")
        parties.until(lambda: "Challenge" in happened(clara, fraud), alive=honest)
        oscar.run("operator", "assert", fraud, "--lie", "link_1", "--broadcast")
        endings = {claims["olga"][0]: "HappyTake", claims["olga"][1]: "HappyTake", fraud: "Disprove"}
        parties.until(lambda: all(end in happened(clara, one) for one, end in endings.items()), alive=honest)
        for process in honest:
            assert process.end() == 0, process.text()
            assert "alarm" not in process.text()
        params = Params()
        assert clara.balances()["challenger"] - coins > params.reward - params.challenge - FEES
        assert wanda.balances()["withdrawer"] > 2 * SHARE * 98 // 100
