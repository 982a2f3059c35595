"""`exchange payout` on the command line: what is refused, and a question that is answered with no."""

import pytest

from tests.cli.test_exchange import Table, ask, table

__all__ = ["table"]
REGTEST = "bcrt1p3qkhfews2uk44qtvauqyr2ttdsw7svhkl9nkm9s9c3x4ax5h60wqhk4qjz"


def set_up(table: Table) -> str:
    """A deposit that is known, and not in a vault yet."""
    deposit = ask(table)
    for name in ("dora", "alice", "bob", "dora", "alice"):
        table.run(name)
    return deposit


def test_before_the_vault_is_there(table: Table) -> None:
    deposit = set_up(table)
    alice, to = table.bridges["alice"], table.bridges["dora"].data("depositor", "address")["address"]
    propose = ("exchange", "payout", "propose", deposit, *table.roster)
    assert alice.refused(*propose, "--to", to, code=1).endswith("is not in the chain, or is spent")
    assert alice.data("exchange", "payout", "list", *table.roster) == {"payouts": []}
    assert "--to" in alice.refused(*propose, "--to", "tb1qxyz", code=2)
    assert "exit: '1' is not" in alice.refused(*propose, "--to", to, "--exit", "1", code=2)


@pytest.mark.parametrize(
    ("args", "code", "expected"),
    [
        (["propose", "abcd", "--to", REGTEST], 2, "--to"),
        (["agree", "abcd"], 2, "payout: 'abcd' is not the first 4 or more digits of one id (known: none yet)"),
        (["agree", "abcd", "--name", "x"], 2, "committee name"),
    ],
)
def test_refused(table: Table, args: list[str], code: int, expected: str) -> None:
    assert expected in table.bridges["alice"].refused("exchange", "payout", *args, *table.roster, code=code)


def test_nothing_to_send(table: Table) -> None:
    assert "cooperative payout: 'abcd'" in table.bridges["dora"].refused("exchange", "payout", "send", "abcd", code=2)
