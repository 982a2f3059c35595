"""Six parties with stores of their own, a folder between them, and a chain that judges what comes of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest

from bitvm_bridge import keyring, records
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.node import Node
from bitvm_bridge.errors import BridgeError, NodeUnreachable, VerificationFailed
from bitvm_bridge.exchange.actors import KeyActor
from bitvm_bridge.exchange.mailbox import Folder
from bitvm_bridge.exchange.messages import OFFER
from bitvm_bridge.exchange.party import Courier, Party
from bitvm_bridge.exchange.survey import survey
from bitvm_bridge.fees import FeePolicy
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Network, Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles import challenger, operator, withdrawer
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.setup import DepositSetup
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import OutPoint
from bitvm_bridge.wallet import Wallet
from tests.exchange.cast import NAMES, PROGRAM, ROSTER, SEEDS, request

ASKED = [request(Params(exits=exits, peg_in=50_000_000), bytes([exits])) for exits in (1, 2)]
OPERATORS = ("olga", "oscar")


def policy(node: Node) -> FeePolicy:
    return FeePolicy(lambda target: 2.0)


@dataclass
class Seat:
    """A party on a node, with a folder to read and write."""

    store: Store
    actor: KeyActor
    party: Party
    courier: Courier

    @classmethod
    def take(cls, name: str, folder: Path, node: Node) -> "Seat":
        store = Store.open(folder / name, Network.REGTEST, insecure_plain_keys=True)
        if not store.seed_names(NAMES[name]):
            store.add_seed("default", SEEDS[name])
        spec = parse_program(PROGRAM) if name in OPERATORS else None
        actor = KeyActor(store, NAMES[name], "default", policy, spec, node)
        party = Party(store, ROSTER, SEEDS[name].identity_key(), Network.REGTEST, actor)
        return cls(store, actor, party, Courier(party, Folder(folder / "shared")))


@pytest.fixture
def seats(embedded: EmbeddedNode, tmp_path: Path) -> Iterator[dict[str, Seat]]:
    """Everyone, and coins for whoever needs some."""
    (tmp_path / "shared").mkdir()
    for name in ("dora", *OPERATORS):
        embedded.mine(4, wallet_script(SEEDS[name].wallet_key().xonly))
    embedded.mine(100)
    found = {name: Seat.take(name, tmp_path, embedded) for name in NAMES}
    yield found
    for seat in found.values():
        seat.store.close()


def go_on(seats: dict[str, Seat], node: Node, rounds: int = 12) -> None:
    for _ in range(rounds):
        for seat in seats.values():
            assert seat.courier.run() == []
        node.mine(1)


def test_a_batch_of_deposits_ends_in_vaults(seats: dict[str, Seat], embedded: EmbeddedNode) -> None:
    for asked in ASKED:
        seats["dora"].party.ask(asked, OPERATORS, SEEDS["dora"].wallet_key())
    go_on(seats, embedded)
    for seat in seats.values():
        assert not seat.party.faults
        assert len(seat.store.keys(records.BUNDLE)) == 6
        assert {(one.signed, one.is_confirmed, one.waits_for) for one in survey(seat.store, ROSTER)} == {
            (2, True, ""),
            (4, True, ""),
        }
    for asked in ASKED:
        setups = [records.load_deposit(seat.store, asked.id.hex()) for seat in seats.values()]
        assert len(set(setups)) == 1
        assert len({records.load_peg_in(seat.store, setups[0]) for seat in seats.values()}) == 1
        for number in range(asked.params.exits):
            vault = embedded.output(setups[0].graph.exit(number))
            assert vault is not None, "PegIn, with the committee's signature, has confirmed"
            assert vault.output.amount == asked.params.exit_amount


def test_a_process_that_starts_again_after_every_round(
    seats: dict[str, Seat], embedded: EmbeddedNode, tmp_path: Path
) -> None:
    """Depositor and operators keep nothing in memory that they need; the second transaction is never made."""
    seats["dora"].party.ask(ASKED[0], OPERATORS, SEEDS["dora"].wallet_key())
    for _ in range(10):
        go_on(seats, embedded, rounds=1)
        for name in ("dora", *OPERATORS):
            seats[name].store.close()
            seats[name] = Seat.take(name, tmp_path, embedded)
    (setup,) = {records.load_deposit(seat.store, ASKED[0].id.hex()) for seat in seats.values()}
    assert embedded.output(setup.graph.exit(0)) is not None
    for name in ("dora", *OPERATORS):
        made = [kind for owner in everything(seats[name].store) for kind, _ in seats[name].store.transactions(owner)]
        assert sorted(made) == (["PegIn", "PegInDeposit"] if name == "dora" else ["ClaimFunding"])


def everything(store: Store) -> list[bytes]:
    return [*store.keys(records.DEPOSIT), *store.keys(records.INSTANCE)]


def test_what_a_node_says_of_a_deposit(seats: dict[str, Seat], embedded: EmbeddedNode) -> None:
    seats["dora"].party.ask(ASKED[0], OPERATORS, SEEDS["dora"].wallet_key())
    for name in ("dora", "alice", "bob", "carol", "dora"):
        seats[name].courier.run()
    setup = records.load_deposit(seats["dora"].store, ASKED[0].id.hex())
    judge = seats["bob"].actor.is_funded
    assert not judge(setup), "it waits in the mempool"
    embedded.mine(1)
    assert judge(setup)
    assert not judge(replace(setup, outpoint=OutPoint(b"\x99" * 32, 0)))
    change = OutPoint(setup.outpoint.txid, 2)
    assert embedded.output(change) is not None
    with pytest.raises(VerificationFailed, match="another amount or script"):
        judge(replace(setup, outpoint=change))
    go_on(seats, embedded)
    assert embedded.output(setup.outpoint) is None
    assert judge(setup), "it is in the vault"


def test_a_node_that_does_not_answer_is_nobodys_fault(
    seats: dict[str, Seat], embedded: EmbeddedNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    seats["dora"].party.ask(ASKED[0], OPERATORS, SEEDS["dora"].wallet_key())

    def down(setup: DepositSetup) -> bool:
        raise NodeUnreachable("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(seats["olga"].actor, "is_funded", down)
        for name in ("dora", "alice", "bob", "carol", "dora"):
            seats[name].courier.run()
        with pytest.raises(NodeUnreachable):
            seats["olga"].courier.run()
    assert not seats["olga"].party.faults
    go_on(seats, embedded)
    assert all(seat.party.progress.is_done for seat in seats.values())


def test_an_operator_whose_key_another_wallet_holds_joins_by_hand(
    seats: dict[str, Seat], embedded: EmbeddedNode
) -> None:
    """Its process says which commands are missing, and offers what they have made."""
    olga, key = seats["olga"], SEEDS["olga"].wallet_key()
    keyring.add_external(olga.store, Role.OPERATOR, "cold", keyring.parse_external(key.xonly.hex()))
    olga.actor.name = "cold"
    seats["dora"].party.ask(ASKED[0], ["olga"], SEEDS["dora"].wallet_key())
    for name in ("dora", "alice", "bob", "carol", "dora"):
        seats[name].courier.run()
    embedded.mine(1)
    deposit = ASKED[0].id.hex()[:12]
    olga.courier.run()
    assert list(olga.actor.by_hand) == [
        f"exit 0 of deposit {deposit}: another wallet holds this key; `operator join {deposit} --exit 0` and "
        "`operator sign-challenge` write what it signs"
    ]
    assert not list(olga.party.board.sessions(OFFER))

    setup, spec = records.load_deposit(olga.store, deposit), parse_program(PROGRAM)
    secret = olga.store.seed(Role.OPERATOR, "cold").winternitz_seed()
    prepared, instance = operator.claim_funding(wallet_of("olga", embedded), setup, spec, secret)
    prepared.send(embedded)
    records.save_instance(olga.store, instance)
    olga.store.put(records.CHALLENGE, instance.id, operator.sign_challenge(instance, key))
    go_on(seats, embedded)
    assert all(seat.party.progress.is_done for seat in seats.values())
    assert records.load_bundle(olga.store, instance.id.hex()).setup == instance


def test_what_each_deposit_waits_for(seats: dict[str, Seat], embedded: EmbeddedNode) -> None:
    look = partial(survey, seats["bob"].store, ROSTER)
    assert list(look()) == []
    seats["dora"].party.ask(ASKED[0], OPERATORS, SEEDS["dora"].wallet_key())
    waited = []
    for name in ("dora", "bob", "alice", "bob", "carol", "bob", "dora", "bob"):
        seats[name].courier.run()
        waited += [one.waits_for for one in look()]
    embedded.mine(1)
    for name in ("olga", "bob", "oscar", "bob"):
        seats[name].courier.run()
        waited += [one.waits_for for one in look()]
    assert list(dict.fromkeys(waited)) == [
        "keys of alice, carol",
        "keys of carol",
        "the deposit of dora",
        "2 offers",
        "1 offers",
        "signatures of alice, carol for 2 instances",
    ]


def wallet_of(name: str, node: Node) -> Wallet:
    return Wallet(SEEDS[name].wallet_key(), node, 2.0)


def is_paid(node: Node, payout: Payout) -> bool:
    """All that the exit held is at its receiver's."""
    paid = {coin.outpoint.txid: coin.output.amount for coin in node.scan(payout.script_pubkey)}
    return paid.get(payout.tx.txid) == payout.setup.request.params.exit_amount


def pay_out(seats: dict[str, Seat], payout: Payout) -> bytes:
    """Every member agrees; the committee's signature, empty where somebody does not give its part."""
    seats["alice"].party.propose(payout)
    for name in ("alice", "bob", "carol"):
        seats[name].courier.run()
        (proposal,) = [one for one in seats[name].party.proposals() if one.payout == payout]
        seats[name].party.agree(proposal)
    for _ in range(4):
        for seat in seats.values():
            seat.courier.run()
    return records.load_payout(seats["dora"].store, payout.id.hex())[1]


def test_an_exit_is_paid_out_once_and_never_while_an_operator_is_owed_it(
    seats: dict[str, Seat], embedded: EmbeddedNode
) -> None:
    """Of two exits one is paid out at once; a PegOut and a claim keep the other, until the claim is forfeited."""
    seats["dora"].party.ask(ASKED[1], OPERATORS, SEEDS["dora"].wallet_key())
    go_on(seats, embedded)
    setup = records.load_deposit(seats["dora"].store, ASKED[1].id.hex())
    first, second = (Payout(setup, wallet_script(SEEDS["bob"].wallet_key().xonly), number) for number in range(2))

    prepared = first.finish(wallet_of("dora", embedded), pay_out(seats, first))
    prepared.send(embedded)
    seats["alice"].party.agree(next(one for one in seats["alice"].party.proposals() if one.payout == first))
    embedded.mine(1)
    assert is_paid(embedded, first)
    with pytest.raises(BridgeError, match="is not in the chain, or is spent"):
        seats["alice"].party.propose(replace(first, script_pubkey=wallet_script(SEEDS["olga"].wallet_key().xonly)))

    everything = [records.load_instance(seats["olga"].store, key.hex()) for key in seats["olga"].store.keys("instance")]
    key = SEEDS["olga"].wallet_key()
    (instance,) = [one for one in everything if (one.operator, one.exit) == (key.xonly, 1)]
    coin = wallet_of("oscar", embedded).coins()[-1]
    amount = setup.request.params.exit_amount * 99 // 100
    half = withdrawer.request(
        SEEDS["oscar"].wallet_key(), coin, amount, wallet_script(SEEDS["oscar"].wallet_key().xonly)
    )
    operator.peg_out(wallet_of("olga", embedded), instance, half).send(embedded)
    embedded.mine(1)
    name = f"instance {instance.id.hex()[:12]}"
    with pytest.raises(BridgeError, match=f"{name} is owed its exit for the PegOut that it has paid"):
        seats["alice"].party.propose(second)
    operator.kick_off(wallet_of("olga", embedded), instance).send(embedded)
    with pytest.raises(BridgeError, match=f"{name} claims its exit"):
        seats["bob"].party.propose(second)
    embedded.mine(1)
    with pytest.raises(BridgeError, match=f"{name} claims its exit"):
        seats["bob"].party.propose(second)

    embedded.mine(30)
    bundle = records.load_bundle(seats["olga"].store, instance.id.hex())
    challenger.forfeit(wallet_of("oscar", embedded), bundle).send(embedded)
    embedded.mine(1)
    prepared = second.finish(wallet_of("dora", embedded), pay_out(seats, second))
    prepared.send(embedded)
    embedded.mine(1)
    assert is_paid(embedded, second)


def test_a_member_that_has_deleted_its_key_agrees_to_nothing(seats: dict[str, Seat], embedded: EmbeddedNode) -> None:
    seats["dora"].party.ask(ASKED[0], OPERATORS, SEEDS["dora"].wallet_key())
    go_on(seats, embedded)
    setup = records.load_deposit(seats["bob"].store, ASKED[0].id.hex())
    keyring.delete_member_keys(seats["bob"].store, setup, [], embedded.height())
    with pytest.raises(BridgeError, match=r"member 'default' deleted its key for this deposit at .*, in block"):
        seats["bob"].party.propose(Payout(setup, wallet_script(SEEDS["bob"].wallet_key().xonly)))
