"""Cooperative payouts between members that do not trust each other: nothing is signed that one has not agreed to."""

import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import pytest

from bitvm_bridge import records, secp
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.messages import (
    CONSENT,
    PAYOUT,
    PAYOUT_NONCES,
    PAYOUT_PARTIALS,
    ConsentBody,
    NoncesBody,
    PartialsBody,
    PayoutBody,
    of_kind,
)
from bitvm_bridge.exchange.party import Courier
from bitvm_bridge.exchange.survey import survey
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles.committee import Payout
from bitvm_bridge.signing.musig import Signer
from tests.exchange.cast import ROSTER, SEEDS, Memory, Player, cast, play, request

ASKED: Final = request()
MEMBERS: Final = ("alice", "bob", "carol")
RECEIVER: Final = wallet_script(SEEDS["dora"].wallet_key().xonly)


@dataclass
class Stage:
    """Everyone behind a set-up that is done, and a payout to talk about."""

    players: dict[str, Player]
    mailbox: Memory
    payout: Payout

    def run(self, *names: str, rounds: int = 1) -> None:
        for _ in range(rounds):
            for name in names:
                Courier(self.players[name].party, self.mailbox).run()

    def agree(self, name: str) -> None:
        """As soon as it knows of the proposal."""
        self.run(*MEMBERS, name)
        (proposal,) = self.players[name].party.proposals()
        self.players[name].party.agree(proposal)

    def say(self, name: str, kind: str, body: object, session: bytes | None = None) -> Envelope:
        said = seal(SEEDS[name].identity_key(), kind, session or self.payout.id, body)
        self.mailbox.put(said)
        return said

    def spoken(self, name: str, kind: str) -> list[Envelope]:
        author = SEEDS[name].identity_key().xonly
        found = {one.id: one for one in self.mailbox.envelopes if (one.author, one.kind) == (author, kind)}
        return list(found.values())

    def signature(self, name: str) -> bytes:
        return records.load_payout(self.players[name].store, self.payout.id.hex())[1]

    def faults(self, name: str) -> list[tuple[str, str]]:
        return [(fault.author, fault.what) for fault in self.players[name].party.faults]


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    players, mailbox = cast(tmp_path), Memory(random.Random(8))
    players["dora"].ask(ASKED)
    play(players, mailbox)
    setup = records.load_deposit(players["alice"].store, ASKED.id.hex())
    return Stage(players, mailbox, Payout(setup, RECEIVER))


def test_all_agree_and_everyone_has_the_signature(stage: Stage) -> None:
    stage.players["alice"].party.propose(stage.payout)
    for name in ("bob", "carol"):
        stage.agree(name)
    stage.run(*stage.players, rounds=4)
    signatures = {stage.signature(name) for name in stage.players}
    assert len(signatures) == 1
    digest = stage.payout.digests[stage.payout.label]
    assert secp.verify(stage.payout.setup.deposit.committee, digest, signatures.pop())
    assert all(player.party.progress.is_done for player in stage.players.values())
    assert not any(player.party.faults for player in stage.players.values())


@pytest.mark.parametrize("silent", ["alice", "bob", "carol"])
def test_nobody_draws_a_nonce_before_all_have_agreed(stage: Stage, silent: str) -> None:
    """Not for a process that runs all the time, and not for one whose proposal it is."""
    first, second = (name for name in MEMBERS if name != silent)
    stage.players[first].party.propose(stage.payout)
    stage.agree(second)
    stage.run(*stage.players, rounds=4)
    assert not any(stage.spoken(name, PAYOUT_NONCES) for name in MEMBERS)
    waiting = {name: player.party.progress.payouts for name, player in stage.players.items()}
    assert waiting == {name: int(name in (first, second)) for name in stage.players}
    assert stage.players[silent].party.progress.is_done, "who has not agreed waits for nothing"
    (proposal,) = stage.players[silent].party.proposals()
    assert (proposal.proposers, proposal.missing) == ((first,), (silent,))
    assert not stage.players[silent].store.keys(records.PAYOUT)


def test_a_consent_to_something_else_is_named_and_does_not_count(stage: Stage) -> None:
    stage.players["alice"].party.propose(stage.payout)
    stage.agree("bob")
    other = replace(stage.payout, script_pubkey=wallet_script(SEEDS["olga"].wallet_key().xonly))
    stage.say("carol", CONSENT, ConsentBody(other.tx.txid_hex))
    stage.run(*stage.players, rounds=3)
    assert stage.faults("bob") == [("carol", "agreed to another transaction than this payout's")]
    assert not any(stage.spoken(name, PAYOUT_NONCES) for name in MEMBERS)
    stage.agree("carol")
    stage.run(*stage.players, rounds=4)
    assert stage.signature("olga")


def test_bad_proposals_are_named_and_stop_nobody(stage: Stage) -> None:
    deposit = stage.payout.setup.request.id.hex()
    bad = {
        "a payout with another id than its session": PayoutBody(deposit, 0, "5120" + "11" * 32),
        "exit: '1' is not": PayoutBody(deposit, 1, RECEIVER.hex()),
        "script: '6a'": PayoutBody(deposit, 0, "6a"),
        "payout script: 'zz'": PayoutBody(deposit, 0, "zz"),
    }
    for body in bad.values():
        stage.say("carol", PAYOUT, body)
    stage.say("carol", PAYOUT, PayoutBody("ab" * 32, 0, RECEIVER.hex()), b"\x07" * 32)
    stage.players["alice"].party.propose(stage.payout)
    for name in ("bob", "carol"):
        stage.agree(name)
    stage.run(*stage.players, rounds=4)
    for name in stage.players:
        assert stage.signature(name)
        faults = stage.faults(name)
        assert {author for author, _ in faults} == {"carol"}
        assert all(any(what.startswith(text) for _, what in faults) for text in bad), faults
        assert len(faults) == len(bad)


@pytest.mark.parametrize("kind", [PAYOUT, CONSENT, PAYOUT_NONCES, PAYOUT_PARTIALS])
def test_who_is_no_member_has_no_word(stage: Stage, kind: str) -> None:
    bodies = {
        PAYOUT: PayoutBody("ab" * 32, 0, ""),
        CONSENT: ConsentBody(""),
        PAYOUT_NONCES: NoncesBody(1, {}),
        PAYOUT_PARTIALS: PartialsBody([], {}),
    }
    said = stage.say("olga", kind, bodies[kind])
    (refused,) = stage.players["bob"].party.receive([said])
    assert refused == f"olga: sent {kind!r}, which is for a committee to say"
    with pytest.raises(BridgeError, match="olga is a operator; the committee agrees to payouts"):
        stage.players["olga"].party.propose(stage.payout)


def test_what_cannot_be_proposed(stage: Stage) -> None:
    alice = stage.players["alice"]
    elsewhere = replace(stage.payout.setup, request=request(receiver=b"\x07"))
    with pytest.raises(BridgeError, match="was not set up by this roster"):
        alice.party.propose(Payout(elsewhere, RECEIVER))
    with pytest.raises(BadInput, match="segwit output script"):
        alice.party.propose(replace(stage.payout, script_pubkey=b"\x6a"))
    alice.actor.objects = "its exit is spent"
    with pytest.raises(BridgeError, match=f"payout {stage.payout.id.hex()[:12]}: its exit is spent"):
        alice.party.propose(stage.payout)
    assert not alice.store.keys(records.PAYOUT)
    assert not list(alice.party.board.sessions(PAYOUT))


@pytest.mark.parametrize("after", [CONSENT, PAYOUT_NONCES])
def test_what_is_owed_by_then_is_not_signed(stage: Stage, after: str) -> None:
    """Bob has agreed, and perhaps given nonces, when its node sees a claim."""
    stage.players["alice"].party.propose(stage.payout)
    for name in ("bob", "carol"):
        stage.agree(name)
    if after == PAYOUT_NONCES:
        stage.run("carol", "bob")
    stage.players["bob"].actor.objects = "an instance claims its exit"
    stage.run(*stage.players, rounds=4)
    assert len(stage.spoken("bob", PAYOUT_NONCES)) == (after == PAYOUT_NONCES)
    assert not stage.spoken("bob", PAYOUT_PARTIALS)
    assert not any(stage.signature(name) for name in MEMBERS)
    words = f"payout {stage.payout.id.hex()[:12]}: an instance claims its exit"
    assert list(stage.players["bob"].party.objections) == [words]
    assert stage.players["bob"].party.progress.is_done, "it does not wait for what it will not sign"
    assert not stage.players["alice"].party.progress.is_done


def until_nonces(stage: Stage) -> Signer:
    """Everyone has agreed; alice and bob have given nonces, carol's are what this signer drew."""
    stage.players["alice"].party.propose(stage.payout)
    stage.agree("bob")
    committee, key = stage.payout.setup.committee, SEEDS["carol"].committee_key(ASKED.id)
    stage.say("carol", CONSENT, ConsentBody(stage.payout.tx.txid_hex))
    stage.run("alice", "bob", rounds=2)
    return Signer(committee, "carol", key, lambda uses: None)


def test_a_bad_nonce_and_a_bad_partial_are_named_and_good_ones_still_count(stage: Stage) -> None:
    signer, payout = until_nonces(stage), stage.payout
    stage.say("carol", PAYOUT_NONCES, NoncesBody(1, {payout.label: "02" + "00" * 65}))
    drawn = {label: nonce.hex() for label, nonce in signer.nonces(payout.digests).items()}
    stage.say("carol", PAYOUT_NONCES, NoncesBody(1, drawn))
    stage.run("alice", "bob", rounds=2)
    sent = {name: stage.spoken(name, PAYOUT_NONCES)[-1] for name in MEMBERS}
    nonces = {
        name: {label: bytes.fromhex(text) for label, text in of_kind(one, NoncesBody).nonces.items()}
        for name, one in sent.items()
    }
    good = signer.sign(payout.digests, nonces)[payout.label].hex()
    named = [sent[name].id.hex() for name in payout.setup.committee.names]
    bad = good[:-2] + ("00" if good[-2:] != "00" else "01")
    stage.say("carol", PAYOUT_PARTIALS, PartialsBody(named, {payout.label: bad}))
    stage.run("alice", "bob", "olga")
    for name in ("alice", "bob", "olga"):
        assert stage.faults(name) == [
            ("carol", f"member 'carol': the nonce of {payout.label!r} is not valid"),
            ("carol", f"member 'carol': the partial signature of {payout.label!r} does not verify"),
        ]
        (standing,) = survey(stage.players[name].store, ROSTER)
        assert [(fault.author, fault.what) for fault in standing.faults] == stage.faults(name)
    assert not stage.signature("alice")
    stage.say("carol", PAYOUT_PARTIALS, PartialsBody(named, {payout.label: good}))
    stage.run("alice", "bob", "olga")
    assert {stage.signature(name) for name in ("alice", "bob", "olga")} == {stage.signature("alice")}
    assert stage.signature("alice")


def test_a_nonce_signs_one_sighash(stage: Stage) -> None:
    """Two sets of carol's nonces spoil the attempt: alice signs once, under nonces that it has not given before."""
    signer, payout = until_nonces(stage), stage.payout
    for _ in range(2):
        drawn = {label: nonce.hex() for label, nonce in signer.nonces(payout.digests).items()}
        stage.say("carol", PAYOUT_NONCES, NoncesBody(1, drawn))
    stage.run("alice", "bob", rounds=3)
    assert {of_kind(one, NoncesBody).attempt for one in stage.spoken("alice", PAYOUT_NONCES)} == {1, 2}
    assert not stage.spoken("alice", PAYOUT_PARTIALS)
    stage.run(*MEMBERS, rounds=4)
    assert stage.signature("alice")
    (first,) = [one for one in stage.spoken("alice", PAYOUT_NONCES) if of_kind(one, NoncesBody).attempt == 1]
    rows = stage.players["alice"].store._db.execute("SELECT public_nonce, digest FROM nonces").fetchall()
    used = [nonce for nonce, digest in rows if digest == payout.digests[payout.label]]
    assert len(used) == 1
    assert bytes.fromhex(of_kind(first, NoncesBody).nonces[payout.label]) not in used


def test_killed_between_nonces_and_partials(stage: Stage) -> None:
    stage.players["alice"].party.propose(stage.payout)
    for name in ("bob", "carol"):
        stage.agree(name)
    stage.run("carol", "alice", "bob")
    assert stage.spoken("alice", PAYOUT_NONCES)
    assert not stage.spoken("alice", PAYOUT_PARTIALS)
    stage.players["alice"] = stage.players["alice"].restarted()
    stage.run(*stage.players, rounds=5)
    assert len({stage.signature(name) for name in stage.players}) == 1
    assert stage.signature("alice")
    stage.players["alice"] = stage.players["alice"].restarted()
    stage.run("alice", rounds=2)
    assert len(stage.spoken("alice", PAYOUT_NONCES)) == 2, "what is signed begins nothing anew"
