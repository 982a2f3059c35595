"""The commands in `docs/nodes.md` exist, with every option that they are given, and its figures are the code's."""

import re
import shlex

import click
import pytest

from bitvm_bridge.chain.bitcoind import LOOK_BACK
from bitvm_bridge.chain.esplora import MAX_PAUSE, TRIES
from bitvm_bridge.params import Network, Params
from cli.main import root
from tests.vectors import ROOT

TEXT = (ROOT / "docs" / "nodes.md").read_text()
FENCED = re.findall(r"^```\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
INLINE = re.findall(r"`(bridge [^`]+)`", TEXT)
LINES = sorted(
    {line for block in (*FENCED, *INLINE) for line in re.sub(r"\s*\n?--broadcast", " --broadcast", block).split("\n")}
)


def words(line: str) -> list[str]:
    """The arguments of the bridge's command in a line of shell; none where there is no such command in it."""
    found = re.search(r"(?:^|\$\(|\{ )(?:bridge|bitvm-bridge) ([^;#>)]*)", line)
    return shlex.split(found[1]) if found else []


def check(command: click.Command, args: list[str]) -> None:
    """Every word is a command, an argument, or an option with its value."""
    options = {name: option for option in command.params for name in option.opts}
    while args:
        word = args.pop(0)
        if word.startswith("--"):
            assert word in options, f"{command.name} has no {word}"
            option = options[word]
            if not (isinstance(option, click.Option) and option.is_flag):
                assert args, f"{word} without a value"
                args.pop(0)
        elif isinstance(command, click.Group) and word != "$@":
            assert word in command.commands, f"{command.name} has no command {word}"
            check(command.commands[word], args)


@pytest.mark.parametrize("line", [line for line in LINES if words(line)])
def test_commands_exist(line: str) -> None:
    check(root, words(line))


@pytest.mark.parametrize("line", ["bridge nod info", "bridge node infos", "bridge node mine --quickly"])
def test_what_does_not_exist_is_seen(line: str) -> None:
    with pytest.raises(AssertionError):
        check(root, words(line))


def test_there_are_commands() -> None:
    assert sum(1 for line in LINES if words(line)) > 25


def test_the_table_of_the_profiles() -> None:
    regtest, signet = Params.default(Network.REGTEST), Params.default(Network.SIGNET)
    rows = {
        "each of the four windows": "challenge_window",
        "HappyTake, counted from KickOff": "happy_csv",
        "AssertTimeout": "timeout_csv",
        "UnhappyTake": "unhappy_csv",
        "Forfeit": "forfeit_csv",
        "a deposit goes back to its owner after": "refund_delay",
    }
    for row, name in rows.items():
        pattern = rf"^\| {row} \| {getattr(regtest, name):,}\b.* \| {getattr(signet, name):,}\b.*\|$"
        assert re.search(pattern, TEXT, re.MULTILINE), row
    for params in (regtest, signet):
        assert (params.peg_in, params.bond, params.challenge) == (100_000_000, 20_000_000, 5_000_000)
    assert "1 BTC, 0.2 BTC, 0.05 BTC" in TEXT


def test_other_figures() -> None:
    assert f"in the last {LOOK_BACK:,}" in TEXT
    assert f"waited for {MAX_PAUSE:.0f} seconds at most" in " ".join(TEXT.split())
    assert TRIES == 4
    assert "asked four times" in " ".join(TEXT.split())
    small = Params.default(Network.SIGNET, peg_in=1_000_000, bond=200_000, challenge=50_000)
    assert small.reward > small.challenge
