"""Three members, two operators, a depositor and a challenger, each a process of its own, on one bitcoind.

Set-up, peg-in, two peg-outs, an honest claim and a fraud. Nobody sends anything by hand but the liar.
"""

from pathlib import Path

from bitvm_bridge import records
from bitvm_bridge.chain.launch import LaunchedBitcoind
from tests.live.parties import CAST, PROGRAM, Parties

SHARE = 50_000_000
"""sat of each of two exits."""


def instances(parties: Parties, name: str) -> dict[tuple[bytes, int], str]:
    """(operator's key, exit) → instance id, of everything that is signed in one party's store."""
    with parties.bridges[name].store() as store:
        setups = [records.load_bundle(store, key.hex()).setup for key in store.keys(records.BUNDLE)]
    return {(setup.operator, setup.exit): setup.id.hex() for setup in setups}


def set_up(parties: Parties) -> dict[str, list[str]]:
    """A deposit of two exits, set up by everyone; operator → its instance of each exit."""
    asked = ("--receiver", "00" * 20, "--exits", "2", "--peg-in", str(2 * SHARE))
    parties.bridges["dora"].run("exchange", "request", "--roster", str(parties.roster), *asked)
    talking = [
        parties.take_part(name, *(("--join", "--program", PROGRAM) if role == "operator" else ()))
        for name, role in CAST.items()
    ]
    parties.until(lambda: not any(process.is_running() for process in talking))
    for process in talking:
        assert process.popen.returncode == 0, process.text()
        assert "deposits confirmed 1/1, instances signed 4/4" in process.text()
        assert "fault" not in process.text()
    known = [instances(parties, name) for name in CAST]
    assert all(found == known[0] for found in known)
    keys = {name: bytes.fromhex(parties.bridges[name].data("operator", "address")["key"]) for name in ("olga", "oscar")}
    return {name: [known[0][key, number] for number in range(2)] for name, key in keys.items()}


def test_set_up_claim_and_fraud_between_processes(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind) -> None:
    with Parties.gathered(tmp_path, fresh_bitcoind) as parties:
        claims = set_up(parties)
        watching = [parties.watch(name) for name, role in CAST.items() if role != "depositor"]
        olga, oscar = parties.bridges["olga"], parties.bridges["oscar"]
        before = {name: parties.bridges[name].balances() for name in ("olga", "oscar", "clara")}
        for exit_number in range(2):
            psbt = tmp_path / f"{exit_number}.psbt"
            request = ("withdrawer", "request", "--amount", str(SHARE * 99 // 100), "--out", str(psbt))
            parties.withdrawer.run(*request)
            olga.run("operator", "peg-out", claims["olga"][exit_number], "--psbt", str(psbt), "--broadcast")
            parties.mine()
        fraud = claims["oscar"][1]
        oscar.run("operator", "kick-off", fraud, "--broadcast")
        state = parties.bridges["clara"].state
        parties.until(lambda: state(fraud) == "Challenge", alive=watching)
