"""What a party may do wrong, and what comes of it on a bitcoind, as a table; `python -m tests.live.faults` prints it.

The honest parties do nothing but what `watch` does. Everything else is the work of whoever is at fault.
"""

import sys
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final

from bitvm_bridge import actions, records
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.keys import SIGNATURE_PLACEHOLDER, Role
from bitvm_bridge.params import Params
from bitvm_bridge.roles import depositor, operator, presigned
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Funded, own_input
from tests.cli.bridge import AMOUNT
from tests.live.members import FAULTS, without_a_member
from tests.live.play import CHALLENGER, COMMITTEE, OPERATOR, PROGRAM, House, Ledger, Play
from tests.live.sums import BOND, BURN, CHALLENGE, DEPOSIT, DUST_OUTPUT, NOTHING, PAID, REWARD, Sum
from tests.vectors import ROOT

PARAMS: Final = Params()
TOO_LITTLE: Final = 94_999_999
"""sat: a challenger takes 95 % of a deposit for its due."""
TWO_CONNECTORS: Final = "hash-chain:16:1"
"""A program with more values than one assert connector carries."""


Plays = Callable[[House, Path], tuple[Ledger, list[str]]]
"""Returns what came of it, and bitcoind's words where it refused something."""


def played(acts: Callable[[Play], None], program: str = PROGRAM, count: int = 1, *, peg_in: bool = True) -> Plays:
    """Acts upon so many instances that are signed, with their deposits in vaults; the committee sees no wrong."""

    def plays(house: House, folder: Path) -> tuple[Ledger, list[str]]:
        play = Play.begun(house, folder, program, count, peg_in=peg_in)
        acts(play)
        play.look(COMMITTEE)
        return play.ledger(), play.refusals

    return plays


@dataclass(frozen=True)
class Row:
    """A fault: `plays` does it and lets the honest parties go on; then `confirms` is what is in the chain, in order.

    `changes` has what each role gains, the fees that it pays aside; a role that is not there gains nothing. `left` is
    what stays in outputs that are in nobody's wallet. `refused` is the reason for which bitcoind takes something not.
    """

    name: str
    at_fault: str
    does: str
    plays: Plays
    confirms: tuple[str, ...]
    changes: Mapping[str, Sum]
    burned: Sum = NOTHING
    left: Sum = NOTHING
    refused: tuple[str, ...] = ()
    paid: int = AMOUNT
    sweep: bool = False


def slashed(connectors: int = 1, *, asserted: int = 0, disproved: bool = False, paid: bool = False) -> dict[str, Sum]:
    """Whoever was challenged and loses its bond; so many of its assert connectors it has spent itself."""
    kept = CHALLENGE - BOND - (connectors + 2 - asserted) * DUST_OUTPUT
    return {
        "depositor": -DEPOSIT,
        "operator": kept - PAID if paid else kept,
        "challenger": REWARD - CHALLENGE + 2 * DUST_OUTPUT,
    } | ({"withdrawer": PAID} if paid else {})


PAID_BACK: Final = {"depositor": -DEPOSIT, "withdrawer": PAID}
"""Where an operator has paid a withdrawer and takes the deposit."""
TIMED_OUT: Final = ("KickOff", "Challenge", "AssertTimeout_0")
REFUSED_SPENT: Final = "bad-txns-inputs-missingorspent"


def nothing_wrong(play: Play) -> None:
    play.pay()
    play.go_on(OPERATOR, CHALLENGER)


def silent(play: Play) -> None:
    play.kick_off()
    play.go_on(CHALLENGER)


def lies(play: Play, chunk: str) -> None:
    play.kick_off()
    play.go_on(CHALLENGER, blocks=1)
    play.by_hand(OPERATOR, "operator", "assert", play.instance, "--lie", chunk)
    play.go_on(CHALLENGER)


def part_of_assert(play: Play, index: int) -> None:
    """An Assert that opens one connector alone, as its operator could sign it with its own keys."""
    play.kick_off()
    play.go_on(CHALLENGER, blocks=1)
    setup = play.bundle().setup
    declared = setup.graph["Assert"]
    alone = replace(
        declared,
        tx=replace(declared.tx, inputs=declared.tx.inputs[index : index + 1]),
        inputs=declared.inputs[index : index + 1],
    )
    (entry,), wallet = alone.inputs, play.wallet(OPERATOR)
    assertion = asserting.sign(setup, play.winternitz_seed(), setup.program.run([]).values)
    items = asserting.witness_items(setup, assertion, index)
    funded = wallet.fund(alone.tx.with_witness(0, entry.witness((SIGNATURE_PLACEHOLDER, *items))), alone.spent)
    signature = wallet.key.sign(alone.digest(entry.name, funded.tx, funded.spent))
    play.send(wallet.sign_coins(funded, 1).tx.with_witness(0, entry.witness((signature, *items))))
    play.go_on(CHALLENGER)


def proves_the_chain(play: Play) -> None:
    """The one thing that the program here does not know of is the payment."""
    play.kick_off()
    play.go_on(CHALLENGER, blocks=1)
    play.go_on(OPERATOR, CHALLENGER)


def asserts_late(play: Play) -> None:
    """It answers when its time is over, and a challenger has seen to that."""
    height = play.kick_off()
    play.go_on(CHALLENGER, blocks=1)
    play.mine_to(height + PARAMS.timeout_csv - 1)
    play.go_on(CHALLENGER, blocks=1)
    setup = play.bundle().setup
    assertion = asserting.sign(setup, play.winternitz_seed(), setup.program.run([]).values)
    play.refused(operator.reveal(play.wallet(OPERATOR), setup, assertion).tx)
    play.go_on(CHALLENGER)


def asserts_at_the_last_moment(play: Play) -> None:
    """Its Assert is in the block in which AssertTimeout could have been."""
    height = play.kick_off()
    play.go_on(CHALLENGER, blocks=1)
    play.mine_to(height + PARAMS.timeout_csv - 1)
    play.by_hand(OPERATOR, "operator", "assert", play.instance, "--lie", "link_1")
    play.go_on(CHALLENGER)


def pays_too_little(play: Play) -> None:
    play.pay(TOO_LITTLE)
    play.kick_off()
    play.go_on(CHALLENGER)


def pays_late(play: Play) -> None:
    play.kick_off()
    play.pay()
    play.go_on(CHALLENGER)


def claims_twice(play: Play) -> None:
    """One PegOut, and KickOffs of two instances; the operator takes what it may."""
    play.pay(number=1)
    height = play.kick_off(1)
    play.kick_off(0)
    play.go_on(CHALLENGER, blocks=1)
    play.mine_to(height + PARAMS.happy_csv - 1)
    play.by_hand(OPERATOR, "operator", "happy-take", play.instances[1])
    play.go_on(CHALLENGER)


def claim_coin_spent(play: Play) -> Transaction:
    """The coin that KickOff needs, back to its operator."""
    declared, wallet = play.bundle().setup.graph["KickOff"], play.wallet(OPERATOR)
    (spent,) = declared.spent
    tx = Transaction(2, declared.tx.inputs, (TxOut(spent.amount - 500, wallet.script_pubkey),))
    return tx.with_witness(0, (wallet.key.sign_key_path(declared.digest("claim", tx)),))


def kicks_off_twice(play: Play) -> None:
    """The same KickOff again, and another transaction from the same claim coin."""
    play.pay()
    play.kick_off()
    play.refused(*operator.kick_off(play.wallet(OPERATOR), play.bundle().setup).transactions)
    play.refused(claim_coin_spent(play))
    play.go_on(OPERATOR, CHALLENGER)


def releases_the_claim(play: Play) -> None:
    """KickOff can never be."""
    play.send(claim_coin_spent(play))
    play.refused(*operator.kick_off(play.wallet(OPERATOR), play.bundle().setup).transactions)
    play.go_on(OPERATOR, CHALLENGER)


def takes_early(play: Play) -> None:
    """HappyTake before the window is over, and after a challenge."""
    height = play.kick_off()
    bundle, wallet = play.bundle(), play.wallet(OPERATOR)
    play.mine_to(height + PARAMS.happy_csv - 2)
    play.refused(*operator.happy_take(wallet, bundle).transactions)
    play.go_on(CHALLENGER, blocks=1)
    play.refused(*operator.happy_take(play.wallet(OPERATOR), bundle).transactions)
    play.go_on(CHALLENGER)


def abandons(play: Play) -> None:
    play.pay()
    play.kick_off()
    play.go_on(CHALLENGER)


def challenges_the_honest(play: Play) -> None:
    play.pay()
    play.go_on(OPERATOR, CHALLENGER, blocks=1)
    play.by_hand(CHALLENGER, "challenger", "challenge", play.instance)
    play.go_on(OPERATOR, CHALLENGER)


def disproves_the_honest(play: Play) -> None:
    """Every leaf of the program, with what an honest Assert has revealed and a witness made for a wrong one."""
    play.pay()
    play.go_on(OPERATOR, CHALLENGER, blocks=1)
    play.by_hand(CHALLENGER, "challenger", "challenge", play.instance)
    play.go_on(OPERATOR, CHALLENGER, blocks=1)
    bundle, wallet = play.bundle(), play.wallet(CHALLENGER)
    assertion = actions.read_assertion(bundle.setup, play.node)
    assert dispute.find(bundle.setup, assertion) is None
    run = bundle.setup.program.run([])
    for index, chunk in enumerate(bundle.setup.program.chunks):
        items = tuple(bundle.setup.checks.witness(index, run, assertion.values, assertion.signatures))
        play.refused(presigned.slash(wallet, bundle, "Disprove", {"disprove": (items, chunk.name)}).tx)
    play.go_on(OPERATOR, CHALLENGER)


def nobody_watches(play: Play) -> None:
    play.kick_off()
    play.go_on(OPERATOR)


def refunds(play: Play) -> None:
    """The committee has signed, the depositor waits, and takes its money back."""
    bridge = play.bridges[Role.DEPOSITOR]
    with bridge.store() as store:
        setup = records.load_deposit(store, play.deposit)
        signature = records.load_peg_in(store, setup)
    play.node.mine(int(setup.request.params.refund_delay))
    play.by_hand(Role.DEPOSITOR, "depositor", "refund", play.deposit)
    play.refused(*depositor.peg_in(play.wallet(Role.DEPOSITOR), setup, signature).transactions)
    play.go_on(OPERATOR, CHALLENGER)


def spends_its_coin(play: Play) -> None:
    """The withdrawer signs its half, and spends the coin elsewhere."""
    asked, wallet = play.asks(), play.wallet(Role.WITHDRAWER)
    partial_tx = Transaction(2, (own_input(asked.coin),), (TxOut(asked.spent.amount - 500, wallet.script_pubkey),))
    play.send(wallet.sign_coins(Funded(partial_tx, (asked.spent,)), 0).tx)
    play.refused(operator.peg_out(play.wallet(OPERATOR), play.bundle().setup, asked).tx)
    play.go_on(OPERATOR, CHALLENGER, blocks=2)


ROWS: Final = (
    Row(
        "nothing",
        "nobody",
        "pays a withdrawer and claims",
        played(nothing_wrong),
        ("PegOut", "KickOff", "HappyTake"),
        PAID_BACK | {"operator": DEPOSIT - PAID - 2 * DUST_OUTPUT},
        left=2 * DUST_OUTPUT,
    ),
    Row(
        "silent",
        "operator",
        "claims without having paid, and does not answer the challenge",
        played(silent),
        TIMED_OUT,
        slashed(),
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
    ),
    *(
        Row(
            f"lie in link_{number}",
            "operator",
            f"claims without having paid, and asserts a wrong link_{number}",
            played(partial(lies, chunk=f"link_{number}")),
            ("KickOff", "Challenge", "Assert", "Disprove"),
            slashed(asserted=1),
            burned=BURN,
            left=DEPOSIT,
            sweep=number in (1, 2),
        )
        for number in range(4)
    ),
    Row(
        "part of an assertion",
        "operator",
        "claims without having paid, and opens only the first of two assert connectors",
        played(partial(part_of_assert, index=0), TWO_CONNECTORS),
        ("KickOff", "Challenge", "a spend of KickOff.assertion_0", "AssertTimeout_1"),
        slashed(2, asserted=1),
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
    ),
    Row(
        "the other part of an assertion",
        "operator",
        "the same, and only the second",
        played(partial(part_of_assert, index=1), TWO_CONNECTORS),
        ("KickOff", "Challenge", "a spend of KickOff.assertion_1", "AssertTimeout_0"),
        slashed(2, asserted=1),
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
        sweep=True,
    ),
    Row(
        "late assertion",
        "operator",
        "claims without having paid, and asserts when AssertTimeout has confirmed",
        played(asserts_late),
        TIMED_OUT,
        slashed(),
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
        refused=(REFUSED_SPENT,),
    ),
    Row(
        "last moment",
        "operator",
        "claims without having paid, and asserts a wrong link_1 in the first block that could have AssertTimeout",
        played(asserts_at_the_last_moment),
        ("KickOff", "Challenge", "Assert", "Disprove"),
        slashed(asserted=1),
        burned=BURN,
        left=DEPOSIT,
        sweep=True,
    ),
    Row(
        "too little",
        "operator",
        "pays a sat less than 95 % of the deposit, and claims all of it",
        played(pays_too_little),
        ("PegOut", *TIMED_OUT),
        slashed(paid=True),
        paid=TOO_LITTLE,
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
    ),
    Row(
        "pays afterwards",
        "operator",
        "claims first, and pays when it has seen nobody object yet",
        played(pays_late),
        ("KickOff", "PegOut", "Challenge", "AssertTimeout_0"),
        slashed(paid=True),
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
        sweep=True,
    ),
    Row(
        "one PegOut for two claims",
        "operator",
        "pays one withdrawer and claims two deposits",
        played(claims_twice, count=2),
        ("PegOut", "KickOff", "KickOff", "Challenge", "HappyTake", "AssertTimeout_0"),
        {
            "depositor": -2 * DEPOSIT,
            "withdrawer": PAID,
            "operator": DEPOSIT - PAID + CHALLENGE - BOND - 5 * DUST_OUTPUT,
            "challenger": REWARD - CHALLENGE + 2 * DUST_OUTPUT,
        },
        burned=BURN,
        left=DEPOSIT + 3 * DUST_OUTPUT,
    ),
    Row(
        "two KickOffs",
        "operator",
        "sends KickOff again, and another spend of its claim coin",
        played(kicks_off_twice),
        ("PegOut", "KickOff", "HappyTake"),
        PAID_BACK | {"operator": DEPOSIT - PAID - 2 * DUST_OUTPUT},
        left=2 * DUST_OUTPUT,
        refused=("txn-already-known", REFUSED_SPENT),
    ),
    Row(
        "claim coin spent",
        "operator",
        "spends the coin that KickOff needs",
        played(releases_the_claim),
        ("a spend of ClaimFunding.claim",),
        {"depositor": -DEPOSIT},
        left=DEPOSIT,
        refused=(REFUSED_SPENT,),
        sweep=True,
    ),
    Row(
        "early take",
        "operator",
        "claims without having paid, and sends HappyTake a block early, and again once it is challenged",
        played(takes_early),
        TIMED_OUT,
        slashed(),
        burned=BURN,
        left=DEPOSIT + DUST_OUTPUT,
        refused=("non-BIP68-final", REFUSED_SPENT),
        sweep=True,
    ),
    Row(
        "abandoned",
        "operator",
        "pays, claims, and takes nothing",
        played(abandons),
        ("PegOut", "KickOff", "Forfeit"),
        PAID_BACK | {"operator": -PAID - BOND - 3 * DUST_OUTPUT, "challenger": REWARD},
        burned=BURN,
        left=DEPOSIT + 3 * DUST_OUTPUT,
        sweep=True,
    ),
    Row(
        "needless challenge",
        "challenger",
        "challenges an honest claim",
        played(challenges_the_honest),
        ("PegOut", "KickOff", "Challenge", "Assert", "UnhappyTake"),
        PAID_BACK | {"operator": DEPOSIT - PAID + CHALLENGE - DUST_OUTPUT, "challenger": DUST_OUTPUT - CHALLENGE},
    ),
    Row(
        "wrong disproof",
        "challenger",
        "challenges an honest claim, and sends a Disprove of each step of the right assertion",
        played(disproves_the_honest),
        ("PegOut", "KickOff", "Challenge", "Assert", "UnhappyTake"),
        PAID_BACK | {"operator": DEPOSIT - PAID + CHALLENGE - DUST_OUTPUT, "challenger": DUST_OUTPUT - CHALLENGE},
        refused=("script-verify-flag",) * 4,
    ),
    *(
        Row(
            f"member: {fault}",
            "a member",
            does,
            partial(without_a_member, fault=fault),
            ("PegInRefund",),
            {},
            sweep=fault == "silence",
        )
        for fault, does in FAULTS.items()
    ),
    Row(
        "refund",
        "depositor",
        "takes the deposit back when the committee has signed everything, and sends PegIn then",
        played(refunds, peg_in=False),
        ("PegInRefund",),
        {},
        refused=(REFUSED_SPENT,),
    ),
    Row(
        "withdrawer's coin",
        "withdrawer",
        "signs its half of PegOut, and spends the coin elsewhere",
        played(spends_its_coin),
        (),
        {"depositor": -DEPOSIT},
        left=DEPOSIT,
        refused=(REFUSED_SPENT,),
    ),
    Row(
        "what the program does not know",
        "operator",
        "claims without having paid, and asserts rightly: a hash chain knows of no payment",
        played(proves_the_chain),
        ("KickOff", "Challenge", "Assert", "UnhappyTake"),
        {
            "depositor": -DEPOSIT,
            "operator": DEPOSIT + CHALLENGE - DUST_OUTPUT,
            "challenger": DUST_OUTPUT - CHALLENGE,
        },
        sweep=True,
    ),
    Row(
        "nobody watches",
        "every challenger",
        "looks at no claim, and an operator claims without having paid",
        played(nobody_watches),
        ("KickOff", "HappyTake"),
        {"depositor": -DEPOSIT, "operator": DEPOSIT - 2 * DUST_OUTPUT},
        left=2 * DUST_OUTPUT,
    ),
)

PAGE: Final = ROOT / "docs" / "faults.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"


def markdown() -> str:
    """The table, a line for each row."""
    lines = ["| at fault | what it does | what confirms | who gains what | refused |", "|---|---|---|---|---|"]
    for row in ROWS:
        cells = (row.at_fault, row.does, ", ".join(row.confirms) or "–", _gains(row), _refused(row))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _gains(row: Row) -> str:
    where = [*row.changes.items(), ("burned", row.burned), ("left", row.left)]
    return "; ".join(f"{name} {amount}" for name, amount in where if amount) or "nobody loses more than fees"


def _refused(row: Row) -> str:
    counts = Counter(row.refused)
    return ", ".join(reason if count == 1 else f"{count} × {reason}" for reason, count in counts.items()) or "–"


def with_table(page: str) -> str:
    """The page with today's table between its marks."""
    head, _, rest = page.partition(BEGIN)
    _, _, tail = rest.partition(END)
    return head + BEGIN + markdown() + END + tail


if __name__ == "__main__":
    sys.stdout.write(markdown())
