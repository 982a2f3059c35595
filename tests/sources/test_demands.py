"""A challenger that asks the second layer: what was not asked for is challenged, and doubt never is."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from bitvm_bridge.errors import BridgeError, NodeUnreachable
from bitvm_bridge.params import Network
from bitvm_bridge.roles.withdrawer import Withdrawal
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.sources import demands as module
from bitvm_bridge.sources.demands import RequestedPegOuts
from bitvm_bridge.sources.request import Page, PegOutRequest
from bitvm_bridge.store import Store
from bitvm_bridge.watch.claims import Fault, Payment, ShareOfDeposit
from tests.cli.bridge import AMOUNT, PLAIN, WINDOW, Bridge, make_keys, set_up
from tests.sources.orders import AMOUNT as ORDERED
from tests.sources.orders import order, served
from tests.watch.test_stories import CHALLENGER, PROGRAM, kick_off_by_hand, play

LESS = AMOUNT - 2_000_000
"""sat: above the share of the deposit, and below what was asked for."""


@dataclass
class Told:
    """A source of prepared pages."""

    pages: dict[str, Page]
    name: str = "told"

    def requests(self, since: str) -> Page:
        if since not in self.pages:
            raise NodeUnreachable("told: no answer")
        return self.pages[since]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    found = Store.open(tmp_path, Network.REGTEST, insecure_plain_keys=True)
    yield found
    found.close()


def paid(request: PegOutRequest, **changes: Any) -> Payment:
    withdrawal = request.withdrawal
    return replace(Payment(withdrawal.coin, withdrawal.payout.script_pubkey, request.amount), **changes)


def judge(demands: RequestedPegOuts, payment: Payment, setup: InstanceSetup) -> Fault | None:
    return demands.fault(setup, payment)


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bridge, str]:
    """A vault with one signed instance; nobody was paid yet, and nothing was asked for."""
    bridge = Bridge(tmp_path_factory.mktemp("vault") / "data", *PLAIN)
    make_keys(bridge)
    return bridge, set_up(bridge, PROGRAM)


@pytest.fixture(scope="module")
def setup(vault: tuple[Bridge, str]) -> InstanceSetup:
    with vault[0].store() as store:
        return InstanceSetup.from_json(store.get("instance", bytes.fromhex(vault[1])) or b"")


def test_only_what_was_asked_for_is_right(store: Store, setup: InstanceSetup) -> None:
    source = Told({"": Page((order(1), order(2)), "a", ("line 3: no request",)), "a": Page((), "a")})
    demands = RequestedPegOuts(store, source, ShareOfDeposit())
    assert judge(demands, paid(order(1)), setup) == Fault("was not asked for", certain=False)
    assert demands.refresh() == ["line 3: no request"]
    assert demands.refresh() == []
    for payment in (paid(order(1)), paid(order(2)), paid(order(1), amount=ORDERED + 1)):
        assert judge(demands, payment, setup) is None
    least = ShareOfDeposit().least(setup)
    wrong = {
        f"pays {least:,} sat, and {ORDERED:,} were asked for": (paid(order(1), amount=least), False),
        f"pays {least - 1:,} sat, and {least:,} are owed": (paid(order(1), amount=least - 1), True),
        "pays another script than was asked for": (paid(order(1), script_pubkey=b"\x51"), False),
        "was not asked for": (paid(order(3)), False),
    }
    for words, (payment, certain) in wrong.items():
        assert judge(demands, payment, setup) == Fault(words, certain)
    again = RequestedPegOuts(store, source, ShareOfDeposit())
    assert judge(again, paid(order(2)), setup) is None, "it is in the store"
    assert judge(again, paid(order(4, ORDERED // 2)), setup) == Fault(
        f"pays {ORDERED // 2:,} sat, and {least:,} are owed"
    ), "asked for or not, it does not repay this deposit"


def test_what_is_taken_back_stays_told(store: Store, setup: InstanceSetup) -> None:
    pages = {"": Page((order(1),), "a"), "a": Page((order(2),), "b", restarted=True), "b": Page((), "b")}
    demands = RequestedPegOuts(store, Told(pages), ShareOfDeposit())
    assert demands.refresh() == []
    for number in (1, 2):
        assert judge(demands, paid(order(number)), setup) is None


def test_a_coin_that_is_told_with_two_requests(store: Store, setup: InstanceSetup) -> None:
    """Whichever of them an operator pays, the other can never be."""
    pages = {"": Page((order(1), order(2, ORDERED - 7, coin=1)), "a"), "a": Page((), "a")}
    demands = RequestedPegOuts(store, Told(pages), ShareOfDeposit())
    demands.refresh()
    assert judge(demands, paid(order(1), amount=ORDERED - 7), setup) is None
    assert judge(demands, paid(order(1), amount=ORDERED - 8), setup) == Fault(
        f"pays {ORDERED - 8:,} sat, and {ORDERED - 7:,} were asked for", certain=False
    )


def test_a_source_that_stops_answering_or_never_ends(
    store: Store, setup: InstanceSetup, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = Told({"": Page((order(1),), "a")})
    demands = RequestedPegOuts(store, source, ShareOfDeposit())
    with pytest.raises(NodeUnreachable):
        demands.refresh()
    assert judge(demands, paid(order(1)), setup) is None, "what was heard before stands"
    source.pages |= {"a": Page((), "b"), "b": Page((order(2),), "c"), "c": Page((), "c")}
    monkeypatch.setattr(module, "MAX_PAGES", 2)
    with pytest.raises(BridgeError, match="told: more than 2 pages are new"):
        demands.refresh()
    assert demands.refresh() == []
    assert judge(demands, paid(order(2)), setup) is None


# The watcher.


@pytest.fixture
def played(vault: tuple[Bridge, str], tmp_path: Path) -> tuple[Bridge, str]:
    bridge = vault[0].copy(tmp_path / "data")
    requests(bridge).touch()
    return bridge, vault[1]


def requests(bridge: Bridge) -> Path:
    return bridge.datadir / "requests.jsonl"


def ask(bridge: Bridge, amount: int = AMOUNT, *options: str) -> Path:
    """A withdrawer's half, which nobody was told of."""
    psbt = bridge.datadir / f"{amount}-{len(options)}.psbt"
    bridge.run("withdrawer", "request", "--amount", str(amount), "--out", str(psbt), *options)
    return psbt


def coin_of(psbt: Path) -> tuple[str, str]:
    """The option that signs the same coin again."""
    return "--coin", str(Withdrawal.from_psbt(psbt.read_text()).coin)


def tell(bridge: Bridge, psbt: Path) -> None:
    with requests(bridge).open("a") as file:
        file.write(bridge.run("withdrawer", "order", "--psbt", str(psbt), "--id", "ab" * 32).stdout)


def claim(bridge: Bridge, instance: str, psbt: Path) -> int:
    """A PegOut and a KickOff; the height of the latter."""
    bridge.send("operator", "peg-out", instance, "--psbt", str(psbt))
    return kick_off_by_hand(bridge, instance)


def look(bridge: Bridge, *options: str, code: int = 0) -> list[tuple[str, str]]:
    """(event, message) of all that one look came to."""
    source = () if "--source" in options else ("--source", str(requests(bridge)))
    done = bridge.run("watch", "--as", CHALLENGER, "--once", "--log-json", *source, *options, code=code)
    notes = [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]
    return [(note["event"], note["message"]) for note in notes if note["event"] not in ("state", "near", "refused")]


def looks(bridge: Bridge, blocks: int, *options: str, code: int = 0) -> list[str]:
    """The events of a look at each of so many blocks."""
    found = []
    for _ in range(blocks):
        found += [event for event, _ in look(bridge, *options, code=code)]
        bridge.mine()
    return found


def test_what_was_asked_for_and_paid_is_left_in_peace(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = ask(bridge)
    tell(bridge, psbt)
    claim(bridge, instance, psbt)
    assert looks(bridge, WINDOW) == []
    assert bridge.state(instance) == "KickOff"


@pytest.mark.parametrize("lie", ["to itself", "less", "another script"])
def test_what_was_not_asked_for_is_challenged_in_time(played: tuple[Bridge, str], lie: str) -> None:
    """At first it may be the source that lags; from the middle of the window on it is the operator that lies."""
    bridge, instance = played
    operator = bridge.data("operator", "address")["address"]
    told = ask(bridge)
    if lie != "to itself":
        tell(bridge, told)
    psbt, words = {
        "to itself": (ask(bridge, AMOUNT, "--to", operator), "was not asked for"),
        "less": (ask(bridge, LESS, *coin_of(told)), f"pays {LESS:,} sat, and {AMOUNT:,} were asked for"),
        "another script": (
            ask(bridge, AMOUNT, "--to", operator, *coin_of(told)),
            "pays another script than was asked for",
        ),
    }[lie]
    height = claim(bridge, instance, psbt)
    for _ in range(2):
        ((event, message),) = look(bridge)
        assert event == "doubtful"
        assert re.fullmatch(
            rf"not challenged before block {height + 3}, for it may still be told of: PegOut [0-9a-f]{{64}} {words}",
            message,
        )
        bridge.mine()
    ((event, message),) = look(bridge)
    assert (event, message.startswith("Challenge sent: PegOut ")) == ("sent", True)
    assert words in message
    bridge.mine()
    assert bridge.state(instance) == "Challenge"


def test_what_is_told_late_is_not_challenged(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = ask(bridge)
    claim(bridge, instance, psbt)
    assert looks(bridge, 2) == ["doubtful", "doubtful"]
    tell(bridge, psbt)
    assert looks(bridge, WINDOW) == []


def test_less_than_the_share_is_challenged_at_once(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = ask(bridge, AMOUNT // 2)
    tell(bridge, psbt)
    claim(bridge, instance, psbt)
    assert [event for event, _ in look(bridge)] == ["sent"]


def test_a_source_that_is_down_makes_nobody_challenge(played: tuple[Bridge, str]) -> None:
    """Not an honest claim that it would have told of, and not a false one either: then somebody has to be told."""
    bridge, instance = played
    claim(bridge, instance, ask(bridge))
    gone = ("--source", str(bridge.datadir / "gone"))
    (source, alarm) = look(bridge, *gone, code=2)
    assert source[0] == "source"
    assert "gone' is not a readable file" in source[1]
    assert alarm[0] == "alarm"
    assert "the claim cannot be judged, and is not challenged: PegOut" in alarm[1]
    assert "was not asked for, but source: " in alarm[1]
    assert looks(bridge, 4 * WINDOW - 1, *gone, code=2).count("alarm") == 4 * WINDOW - 1
    assert bridge.state(instance) == "KickOff", "no Challenge, and no AssertTimeout"
    assert [event for event, _ in look(bridge, *gone, code=2)] == ["source", "alarm", "sent"]
    bridge.mine()
    assert bridge.state(instance) == "Forfeit", "it was abandoned, whoever was paid"


def test_a_source_that_is_down_saves_no_claim_without_a_pegout(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    kick_off_by_hand(bridge, instance)
    found = look(bridge, "--source", str(bridge.datadir / "gone"), code=2)
    assert [event for event, _ in found] == ["source", "sent"]
    assert "no PegOut names the instance" in found[1][1]


def test_a_service_that_comes_back(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    claim(bridge, instance, ask(bridge))
    status = [500]
    with served(lambda asked: (status[0], b'{"requests": [], "cursor": ""}')) as server:
        options = ("--source", server.url)
        assert [event for event, _ in look(bridge, *options, code=3)] == ["source", "alarm"]
        bridge.mine(3)
        status[0] = 200
        assert [event for event, _ in look(bridge, *options)] == ["sent"]


def test_a_dry_run_keeps_nothing_of_what_was_told(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = ask(bridge)
    tell(bridge, psbt)
    claim(bridge, instance, psbt)
    before = bridge.contents()
    assert look(bridge, "--dry-run") == []
    assert bridge.contents() == before


def test_rescan_reads_a_file_that_was_replaced(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = ask(bridge)
    tell(bridge, psbt)
    look(bridge)
    requests(bridge).write_text("\n" + requests(bridge).read_text())
    assert [event for event, _ in look(bridge, code=1)] == ["source"]
    claim(bridge, instance, psbt)
    assert look(bridge, "--rescan") == []


def test_other_roles_ask_nobody(played: tuple[Bridge, str]) -> None:
    bridge, instance = played
    psbt = ask(bridge)
    bridge.send("operator", "peg-out", instance, "--psbt", str(psbt))
    gone = ("--source", str(bridge.datadir / "gone"))
    assert bridge.data("watch", "--as", "operator", "--once", *gone)["sent"] == 1
    assert bridge.data("watch", "--as", "committee", "--once", *gone)["sent"] == 0
    assert play(bridge, instance, "operator", until="taken")
