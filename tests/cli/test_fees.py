"""Fee options on the command line, and coins that no two commands choose."""

import pytest

from bitvm_bridge.transaction import Transaction
from tests.cli.bridge import RECEIVER, Bridge
from tests.cli.conftest import Copy

DEPOSIT = ("depositor", "deposit", "--receiver", RECEIVER)


def rate(report: dict[str, int]) -> float:
    return report["fee"] / report["vsize"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), 1.0),
        (("--fee-source", "node"), 1.0),
        (("--fee-source", "7.5"), 7.5),
        (("--fee-margin", "1.5"), 1.5),
        (("--fee-source", "4", "--fee-margin", "2"), 8.0),
        (("--fee-source", "0.01"), 0.1),
        (("--max-fee-rate", "1"), 1.0),
    ],
)
def test_the_rate_that_is_paid(keyed: Bridge, options: tuple[str, ...], expected: float) -> None:
    report = Bridge(keyed.datadir, *keyed.options, *options).data(*DEPOSIT, "--dry-run")
    assert rate(report) == pytest.approx(expected, abs=0.01)


def test_a_given_rate_wins(keyed: Bridge) -> None:
    bridge = Bridge(keyed.datadir, *keyed.options, "--fee-source", "50", "--fee-margin", "3")
    assert rate(bridge.data(*DEPOSIT, "--dry-run", "--fee-rate", "2")) == pytest.approx(2, abs=0.01)


@pytest.mark.parametrize(
    ("options", "more", "code", "message"),
    [
        (("--max-fee-rate", "5"), ("--fee-rate", "5.1"), 2, "fee rate: '5.1' is not above 0 and at most 5 sat/vB"),
        (("--max-fee-rate", "0.9"), (), 1, "fee rate: 1 sat/vB is wanted and 0.9 is the maximum; --max-fee-rate"),
        (("--max-fee-rate", "3", "--fee-source", "2", "--fee-margin", "2"), (), 1, "4 sat/vB is wanted and 3 is"),
        (("--max-fee-rate", "0"), (), 2, "--max-fee-rate: '0.0' is not above 0 and at most 1000 sat/vB"),
        (("--max-fee-rate", "1001"), (), 2, "--max-fee-rate: '1001.0' is not"),
        (("--fee-margin", "0.5"), (), 2, "--fee-margin: '0.5' is not a factor from 1 to 10"),
        (("--fee-source", "miners"), (), 2, "--fee-source: 'miners' is not `node`, the URL of an Esplora server"),
        (("--fee-source", "http://127.0.0.1:1"), (), 3, "http://127.0.0.1:1/fee-estimates: ConnectionError"),
    ],
)
def test_refusals(keyed: Bridge, options: tuple[str, ...], more: tuple[str, ...], code: int, message: str) -> None:
    bridge = Bridge(keyed.datadir, *keyed.options, *options)
    assert message in bridge.refused(*DEPOSIT, *more, "--broadcast", code=code)
    assert keyed.mempool() == []


def test_check_pays_what_the_policy_says(keyed: Bridge) -> None:
    bridge = Bridge(keyed.datadir, *keyed.options, "--max-fee-rate", "5")
    args = ("challenger", "check", "abcd", "--build", "--fee-rate", "6")
    assert "at most 5 sat/vB" in bridge.refused(*args, code=2)


def inputs(raw: str) -> set[str]:
    return {str(txin.outpoint) for txin in Transaction.parse_hex(raw).inputs}


def test_two_commands_choose_different_coins(keyed: Bridge, copy: Copy) -> None:
    """The first transaction is not even sent: it may be, later."""
    bridge = copy(keyed)
    other = ("depositor", "deposit", "--receiver", "aa" * 20)
    first = bridge.data(*DEPOSIT, "--out", "-")["raw"][0]
    second = bridge.data(*other, "--broadcast", "--out", "-")["raw"][0]
    assert not inputs(first) & inputs(second)
    again = bridge.data(*DEPOSIT, "--out", "-")["raw"][0]
    assert inputs(again) == inputs(first)
    third = ("depositor", "deposit", "--receiver", "bb" * 20, "--broadcast")
    assert "0 sat in coins do not pay" in bridge.refused(*third, code=1)
    bridge.run(*DEPOSIT, "--broadcast")
    assert len(bridge.mempool()) == 2
