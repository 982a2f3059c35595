"""A set-up between processes that meet at the service, which is killed on the way and started again."""

import re
from pathlib import Path

from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.exchange.roster import Roster
from tests.live.parties import Parties
from tests.service.parts import Running

CAST = {"alice": "committee", "bob": "committee", "dora": "depositor", "olga": "operator"}


def test_a_set_up_through_a_service_that_is_killed(tmp_path: Path, fresh_bitcoind: LaunchedBitcoind) -> None:
    folder = tmp_path / "service"
    folder.mkdir()
    with Parties.gathered(tmp_path, fresh_bitcoind, CAST) as parties:
        roster = Roster.from_json(parties.roster.read_bytes())
        parties.bridges["dora"].run("exchange", "request", "--roster", str(parties.roster), "--receiver", "00" * 20)
        with Running.start(folder, "--port", "0", parties=roster) as running:
            port = str(running.port)
            parties.via = ("--url", running.url)
            members = [parties.take_part(name) for name in ("alice", "bob", "dora")]
            parties.until(lambda: running.log.read_text().count('"status":201') >= 3, alive=members)
        everyone = [*members, parties.take_part("olga", "--join")]
        parties.until(lambda: "no connection" in everyone[-1].text(), alive=everyone)
        with Running.start(folder, "--port", port, parties=roster) as running:
            parties.until(lambda: not any(process.is_running() for process in everyone))
            assert running.end() == 0
        for process in everyone:
            assert process.popen.returncode == 0, process.text()
            assert "deposits confirmed 1/1, instances signed 1/1" in process.text()
            assert re.search("fault|refused", process.text()) is None
