"""The transition tables as `docs/watching.md` shows them; `python -m tests.watch.tables` writes them there."""

from bitvm_bridge.watch.machine import CLAIM_TABLE, DEPOSIT_TABLE, ClaimState, DepositState, Event, State
from tests.vectors import ROOT

PAGE = ROOT / "docs" / "watching.md"
BEGIN, END = "<!-- tables -->\n", "<!-- end of tables -->\n"


def markdown() -> str:
    """Both tables, and what the parties owe in each state."""
    claims = {state: State(DepositState.PEGGED_IN, state) for state in ClaimState}
    deposits = {state: State(state) for state in DepositState}
    return "\n".join(
        (
            "| deposit | event → next state | owed |",
            "|---|---|---|",
            *(f"| {state} | {_moves(state)} | {_owed(full)} |" for state, full in deposits.items()),
            "",
            "| claim | event → next state | owed |",
            "|---|---|---|",
            *(f"| {state} | {_moves(state)} | {_owed(full)} |" for state, full in claims.items()),
            "",
        )
    )


def _moves(state: DepositState | ClaimState) -> str:
    moves = {
        event: after for (before, event), after in (*DEPOSIT_TABLE.items(), *CLAIM_TABLE.items()) if before is state
    }
    moves.pop(Event.PEG_OUT, None)
    return ", ".join(f"{event} → {'the same' if after is state else after}" for event, after in moves.items()) or "–"


def _owed(state: State) -> str:
    duties = (f"{owed.event} by {owed.party}{f' if {owed.when}' if owed.when else ''}" for owed in state.duties)
    return "; ".join(duties) or "–"


def with_tables(page: str) -> str:
    """The page with today's tables between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + markdown() + END + tail


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
