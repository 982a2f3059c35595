"""Three who sign with a folder between them: through restarts and lost letters, and against each other."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from bitvm_bridge import records
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.dlc import notary
from bitvm_bridge.dlc.contract import book, moves
from bitvm_bridge.dlc.contract.book import Held
from bitvm_bridge.dlc.contract.desk import Desk
from bitvm_bridge.dlc.contract.rounds import Signing
from bitvm_bridge.dlc.contract.talk import SIGNING, Talk
from bitvm_bridge.errors import BadInput, BridgeError, VerificationFailed
from bitvm_bridge.exchange.envelope import seal
from bitvm_bridge.exchange.mailbox import Folder
from bitvm_bridge.exchange.messages import NoncesBody
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.params import Network
from bitvm_bridge.protocol import Party, wallet_script
from bitvm_bridge.store import Store
from bitvm_bridge.transaction import TxOut
from bitvm_bridge.wallet import Wallet
from cli.contract_stories import EVENT, terms_of

PROGRAM = "hash-chain:1:1"
ROLES = {Party.OFFERER: Role.PARTY, Party.ACCEPTER: Role.PARTY, Party.ORACLE: Role.ORACLE}
COINBASE = 5_000_000_000


@dataclass
class Table:
    """Everyone's desk, each with a store of its own, and the folder."""

    node: EmbeddedNode
    folder: Path
    desks: dict[Party, Desk]
    held: dict[Party, Held] = field(default_factory=dict)
    signing: dict[Party, Signing] = field(default_factory=dict)

    def agree(self) -> None:
        """Offer, acceptance and stake are in the folder."""
        mailbox = Folder(self.folder)
        oracle = self.desks[Party.ORACLE]
        said = notary.announce(oracle.store, "default", EVENT, "weather", 4_000_000_000)
        terms = terms_of(said, Network.REGTEST, PROGRAM)
        self.held[Party.OFFERER], letter = self.desks[Party.OFFERER].offer(terms)
        mailbox.put(letter)
        self.held[Party.ACCEPTER], letter = self.desks[Party.ACCEPTER].accept(self.talk(Party.ACCEPTER))
        mailbox.put(letter)
        self.held[Party.ORACLE], letter = oracle.stake(self.talk(Party.ORACLE), None, 2.0)
        mailbox.put(letter)
        for party in self.desks:
            self.start(party)

    def talk(self, party: Party) -> Talk:
        talk = Talk(self.desks[party].store, self.held[Party.OFFERER].session)
        assert talk.receive(Folder(self.folder).since("").envelopes) == []
        return talk

    def start(self, party: Party) -> None:
        """A new process: what it had in memory is gone."""
        self.signing[party] = Signing(self.desks[party], self.held[party], Folder(self.folder))

    def rounds(self, *parties: Party, times: int = 1) -> None:
        for _ in range(times):
            for party in parties or tuple(self.desks):
                self.signing[party].round()

    def until_done(self) -> None:
        for _ in range(12):
            self.rounds()
            if all(each.progress.is_done for each in self.signing.values()):
                return
            self.node.mine(1)
        raise AssertionError({party: each.progress for party, each in self.signing.items()})

    def faults(self, party: Party) -> list[str]:
        return list(self.signing[party].progress.faults)

    def letters(self, kind: str, party: Party | None = None) -> list[Path]:
        author = "" if party is None else self.desks[party].identity.xonly.hex()[:12]
        return sorted(self.folder.glob(f"*-{kind}-{author}*"))


def plain(home: Path) -> Store:
    return Store.open(home, Network.REGTEST, insecure_plain_keys=True)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    with ExitStack() as stack:
        node, folder = EmbeddedNode(tmp_path / "node"), tmp_path / "shared"
        stack.callback(node.close)
        folder.mkdir()
        desks = {}
        for party, role in ROLES.items():
            store, seed = plain(tmp_path / party.split()[0]), Seed.generate(role)
            stack.callback(store.close)
            store.add_seed("default", seed)
            node.mine(2, wallet_script(seed.wallet_key().xonly))
            desks[party] = Desk(store, node, role, "default", 100.0)
        node.mine(100)
        made = Table(node, folder, desks)
        made.agree()
        yield made


def signed(table: Table, party: Party) -> set[str]:
    return set(book.load_bundle(table.desks[party].store, table.held[party]).signatures)


def test_from_an_agreement_to_a_stake_on_the_chain(table: Table) -> None:
    table.until_done()
    parties, oracle = signed(table, Party.OFFERER), signed(table, Party.ORACLE)
    assert parties == signed(table, Party.ACCEPTER)
    assert {name.partition("/")[2] for name in oracle - parties} == {"OracleSign.stake_0"}
    assert not any(table.faults(party) for party in table.desks)


def test_whoever_starts_again_draws_new_nonces_and_all_go_on(table: Table) -> None:
    for party in (Party.OFFERER, Party.ORACLE, Party.ACCEPTER):
        table.rounds(Party.OFFERER, Party.ACCEPTER)
        table.start(party)
    table.rounds(Party.OFFERER, Party.ORACLE)
    table.start(Party.ORACLE)
    table.until_done()
    assert len(table.letters(SIGNING.nonces, Party.ORACLE)) > 1
    oracle = table.desks[Party.ORACLE].store
    used = [row[0] for row in oracle._db.execute("SELECT * FROM nonces")]
    assert len(set(used)) == len(used) > 0
    assert book.load_bundle(oracle, table.held[Party.ORACLE]).is_oracles


def test_letters_that_are_lost_are_put_there_again(table: Table) -> None:
    table.rounds(times=2)
    for letter in table.folder.iterdir():
        letter.unlink()
    for party in table.desks:
        table.start(party)
    table.until_done()


def test_a_bundle_that_is_here_already_is_kept(table: Table) -> None:
    table.until_done()
    before = signed(table, Party.ACCEPTER)
    for letter in table.letters("dlc-"):
        letter.unlink()
    table.start(Party.ACCEPTER)
    assert table.signing[Party.ACCEPTER].round().is_done
    assert signed(table, Party.ACCEPTER) == before


def test_a_false_nonce_is_blamed_on_its_author_and_the_others_wait(table: Table) -> None:
    desk, session = table.desks[Party.ACCEPTER], table.held[Party.ACCEPTER].session
    table.rounds(Party.OFFERER)
    labels = json.loads(table.letters(SIGNING.nonces, Party.OFFERER)[0].read_text())["body"]["nonces"]
    bad = seal(desk.identity, SIGNING.nonces, session, NoncesBody(1, dict.fromkeys(labels, "00" * 66)))
    Folder(table.folder).put(bad)
    table.rounds(Party.OFFERER, Party.ORACLE, times=2)
    assert any("accepter" in fault and "is not valid" in fault for fault in table.faults(Party.OFFERER))
    assert not book.is_signed(table.desks[Party.OFFERER].store, table.held[Party.OFFERER])
    table.until_done()


def test_a_letter_of_nobody_or_that_was_changed_counts_for_nothing(table: Table) -> None:
    table.rounds(Party.ACCEPTER)
    (letter,) = table.letters(SIGNING.nonces, Party.ACCEPTER)
    letter.write_text(letter.read_text().replace('"attempt":1', '"attempt":2'))
    stranger = Seed.generate(Role.PARTY).identity_key()
    Folder(table.folder).put(
        seal(stranger, SIGNING.nonces, table.held[Party.OFFERER].session, NoncesBody(1, {"x": ""}))
    )
    (table.folder / "junk.json").write_bytes(b"\xff")
    table.rounds(Party.OFFERER)
    assert any("does not verify" in fault for fault in table.faults(Party.OFFERER))
    table.start(Party.ACCEPTER)
    table.until_done()


def test_coins_that_are_gone_are_not_signed_for(table: Table) -> None:
    """The accepter spends its coin before anything is signed."""
    desk = table.desks[Party.ACCEPTER]
    wallet = Wallet(desk.seed.wallet_key(), table.node, 2.0)
    own = sum(coin.output.amount for coin in wallet.coins())
    table.node.broadcast(wallet.pay([TxOut(own - 10_000, wallet_script(bytes([2]) * 31 + b"\x01"))]).tx)
    table.node.mine(1)
    with pytest.raises(VerificationFailed, match="spent"):
        table.rounds(Party.OFFERER)
    assert not table.letters(SIGNING.nonces)


def test_an_oracle_whose_stake_is_another_output_is_found_out(table: Table) -> None:
    """It pays less than it said to an outpoint that it chose: nothing could ever be settled."""
    talk = table.talk(Party.OFFERER)
    contract = talk.contract()
    assert contract is not None
    table.rounds(times=3)
    table.node.mine(1)
    real = table.node.output

    def false(outpoint):  # type: ignore[no-untyped-def]
        found = real(outpoint)
        if found is not None and outpoint == contract.oracle.stake:
            return replace(found, output=replace(found.output, amount=found.output.amount - 1))
        return found

    table.node.output = false  # type: ignore[method-assign]
    with pytest.raises(VerificationFailed, match="not the output that the oracle promised"):
        table.until_done()


def test_an_oracle_stakes_on_nothing_that_is_spent(table: Table) -> None:
    """The parties close between Funding and the stake."""
    table.rounds(times=3)
    table.node.mine(1)
    bundle = book.load_bundle(table.desks[Party.OFFERER].store, table.held[Party.OFFERER])
    spender = moves.refund(Wallet(table.desks[Party.OFFERER].seed.wallet_key(), table.node, 2.0), bundle)
    collateral = bundle.contract.agreement.funding.outpoint(0)
    real_output, real_spender = table.node.output, table.node.spender
    table.node.output = lambda one: None if one == collateral else real_output(one)  # type: ignore[method-assign]
    table.node.spender = (  # type: ignore[method-assign]
        lambda one: (spender.tx, 1) if one == collateral else real_spender(one)
    )
    with pytest.raises(BridgeError, match="nothing is staked on it"):
        table.rounds(Party.ORACLE)


def test_a_key_has_one_part_in_a_contract(table: Table, tmp_path: Path) -> None:
    with pytest.raises(BridgeError, match="is its offerer"):
        table.desks[Party.OFFERER].accept(table.talk(Party.OFFERER))
    stranger = plain(tmp_path / "stranger")
    stranger.add_seed("default", Seed.generate(Role.ORACLE))
    desk = replace(table.desks[Party.ORACLE], store=stranger)
    talk = Talk(stranger, table.held[Party.OFFERER].session)
    talk.receive(Folder(table.folder).since("").envelopes)
    with pytest.raises(BadInput, match="oracle key"):
        desk.stake(talk, None, 2.0)
    stranger.close()


def test_coins_are_set_aside_for_one_contract(table: Table) -> None:
    store = table.desks[Party.OFFERER].store
    purposes = set(store.reserved_coins().values())
    assert purposes == {records.purpose(table.held[Party.OFFERER].session, "Funding")}
