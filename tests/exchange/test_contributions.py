"""Bad contributions: each is refused, its author is named, and the set-up goes on without it where that is safe."""

import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from bitvm_bridge import batch, records
from bitvm_bridge.errors import BridgeError, VerificationFailed
from bitvm_bridge.exchange import board as board_module
from bitvm_bridge.exchange import messages
from bitvm_bridge.exchange.envelope import Envelope, seal
from bitvm_bridge.exchange.messages import (
    CONFIRM_NONCES,
    DEPOSIT,
    MEMBER,
    NONCES,
    OFFER,
    PARTIALS,
    REQUEST,
    DepositBody,
    MemberBody,
    NoncesBody,
    OfferBody,
    PartialsBody,
    RequestBody,
    key_claim,
    of_kind,
    requester_claim,
)
from bitvm_bridge.exchange.party import Courier
from bitvm_bridge.exchange.survey import survey
from bitvm_bridge.keys import Role, SecretKey, Seed
from bitvm_bridge.params import Network, Params
from bitvm_bridge.program import parse_program
from bitvm_bridge.protocol import Request
from bitvm_bridge.roles import committee as role
from bitvm_bridge.roles import operator
from bitvm_bridge.setup import DepositSetup, InstanceSetup
from bitvm_bridge.signing.musig import Committee, Signer
from bitvm_bridge.transaction import OutPoint
from tests.exchange.cast import NAMES, ROSTER, SEEDS, Memory, Player, Pretender, cast, play, request

ASKED: Final = request()
MEMBERS: Final = ("alice", "bob", "carol")


def member_key(name: str, asked: Request = ASKED) -> SecretKey:
    return SEEDS[name].committee_key(asked.id)


def deposit_setup(asked: Request = ASKED) -> DepositSetup:
    committee = Committee(tuple((name, member_key(name, asked).public) for name in MEMBERS))
    setup = Pretender(SEEDS["dora"]).fund(asked, committee)
    assert setup is not None
    return setup


def offer_of(name: str, setup: DepositSetup | None = None) -> tuple[InstanceSetup, bytes]:
    offered = Pretender(SEEDS[name]).join(setup or deposit_setup(), 0)
    assert offered is not None
    return offered


INSTANCE: Final = offer_of("olga")[0]
DIGESTS: Final = role.bundle_digests(INSTANCE)


def say(name: str, kind: str, session: bytes, body: object) -> Envelope:
    return seal(SEEDS[name].identity_key(), kind, session, body)


def request_body(asked: Request = ASKED, **changes: Any) -> RequestBody:
    proof = SEEDS["dora"].wallet_key().sign(requester_claim(asked.id, SEEDS["dora"].identity_key().xonly)).hex()
    body = RequestBody(asked.params.to_json(), asked.depositor.hex(), asked.receiver.hex(), ["olga", "oscar"], proof)
    return RequestBody(**({field: getattr(body, field) for field in body.__struct_fields__} | changes))


def member_body(name: str, key: SecretKey, asked: Request = ASKED) -> MemberBody:
    return MemberBody(key.public.hex(), key.sign(key_claim(asked.id, SEEDS[name].identity_key().xonly)).hex())


def deposit_body(setup: DepositSetup, **changes: str) -> DepositBody:
    members = {name: key.hex() for name, key in setup.committee.keys.items()} | changes
    return DepositBody(str(setup.outpoint), members)


def offer_body(instance: InstanceSetup, challenge: bytes) -> OfferBody:
    return OfferBody(instance.document(), challenge.hex())


def draw(name: str, attempt: int = 1) -> tuple[Signer, NoncesBody]:
    signer = Signer(INSTANCE.deposit.committee, name, member_key(name), lambda uses: None)
    return signer, NoncesBody(attempt, {label: nonce.hex() for label, nonce in signer.nonces(DIGESTS).items()})


def nonces_body(attempt: int = 1, **changes: str) -> NoncesBody:
    _, body = draw("carol", attempt)
    return NoncesBody(attempt, body.nonces | {label.replace("__", "."): text for label, text in changes.items()})


# What a party is not even handed.


@pytest.mark.parametrize(
    ("envelope", "expected"),
    [
        (seal(SecretKey(b"\x09" * 32), REQUEST, ASKED.id, request_body()), "request: [0-9a-f]{64} is nobody"),
        (say("olga", NONCES, INSTANCE.id, nonces_body()), "olga: sent 'nonces', which is for a committee to say"),
        (say("alice", REQUEST, ASKED.id, request_body()), "alice: sent 'request', which is for a depositor"),
        (say("carol", "gossip", ASKED.id, {}), "envelope kind: 'gossip' is not one of request"),
        (say("carol", NONCES, INSTANCE.id, {"nonces": {}}), "nonces of [0-9a-f]{12}: .*attempt"),
        (say("carol", NONCES, INSTANCE.id, nonces_body(0)), "attempt: '0' is not 1 to 100"),
        (say("carol", NONCES, INSTANCE.id, nonces_body(101)), "attempt: '101' is not 1 to 100"),
        (say("carol", PARTIALS, INSTANCE.id, {"nonces": [1], "partials": {}}), "partials of [0-9a-f]{12}: .*nonces"),
        (
            say("carol", PARTIALS, INSTANCE.id, PartialsBody([], {"x": "00" * messages.MAX_BODY})),
            r"partials of [0-9a-f]{12}: '512,[0-9]{3} bytes' is not 256,000 bytes at most",
        ),
    ],
    ids=["unknown", "wrong role", "member asks", "kind", "fields", "attempt 0", "attempt 101", "type", "length"],
)
def test_refused_at_the_door(tmp_path: Path, envelope: Envelope, expected: str) -> None:
    player = Player.open("bob", tmp_path)
    (refused,) = player.party.receive([envelope])
    with pytest.raises(BridgeError, match=expected):
        player.party.board.accept(envelope)
    assert not player.store.keys(board_module.RECORD)
    assert not player.party.step()
    assert refused


def test_nobody_fills_the_disks_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    player = Player.open("bob", tmp_path)
    many = [say("carol", PARTIALS, INSTANCE.id, PartialsBody([str(number)], {})) for number in range(102)]
    assert len(player.party.receive(many)) == 2
    monkeypatch.setattr(board_module, "MAX_OF_AUTHOR", 101)
    others = [say("carol", MEMBER, bytes([number]) * 32, MemberBody("", "")) for number in range(3)]
    assert player.party.receive(others) == ["carol: more than 101 envelopes"] * 2
    assert len(player.store.keys(board_module.RECORD)) == 101


# What is refused when it can be judged, while the right thing from the same author still counts.


def elsewhere() -> Request:
    return replace(ASKED, params=Params.default(Network.SIGNET))


def foreign_offer() -> OfferBody:
    """An instance of a deposit that pays the same outpoint to a committee of olga's own."""
    other = {name: SecretKey(bytes([number]) * 32) for number, name in enumerate(MEMBERS, 1)}
    committee = Committee(tuple((name, key.public) for name, key in other.items()))
    return offer_body(*offer_of("olga", replace(deposit_setup(), committee=committee)))


def other_program() -> tuple[bytes, OfferBody]:
    """An instance like olga's, right in itself, of a program that is easier to satisfy."""
    key, spec = SEEDS["olga"].wallet_key(), parse_program("hash-chain:1:1")
    keys = operator.one_time_keys(deposit_setup(), key.xonly, spec, SEEDS["olga"].winternitz_seed())
    instance = replace(INSTANCE, spec=spec, keys=keys)
    return instance.id, offer_body(instance, operator.sign_challenge(instance, key))


def without_a_key() -> tuple[bytes, OfferBody]:
    """An instance whose graph cannot be made."""
    instance = replace(INSTANCE, operator=b"\xff" * 32)
    return instance.id, offer_body(instance, bytes(64))


BAD: Final[dict[str, tuple[Callable[[], Envelope], str, str]]] = {
    "no such operator": (
        lambda: say("dora", REQUEST, ASKED.id, request_body(operators=["olga", "alice"])),
        "dora",
        "'alice' is no operator of the roster",
    ),
    "no operator": (lambda: say("dora", REQUEST, ASKED.id, request_body(operators=[])), "dora", "no operator, or one"),
    "wrong session": (
        lambda: say("dora", REQUEST, ASKED.id, request_body(request(receiver=b"\x02"))),
        "dora",
        "a request with another id than its session",
    ),
    "wrong parameters": (
        lambda: say("dora", REQUEST, ASKED.id, request_body(params={**ASKED.params.to_json(), "burn_percent": 100})),
        "dora",
        "burn_percent",
    ),
    "another's request": (
        lambda: say("dora", REQUEST, ASKED.id, request_body(proof=SEEDS["dora"].wallet_key().sign(ASKED.id).hex())),
        "dora",
        "did not sign for its author",
    ),
    "not a key": (
        lambda: say("carol", MEMBER, ASKED.id, MemberBody("05" + "11" * 32, "00" * 64)),
        "carol",
        "a key for the deposit that is no public key",
    ),
    "the key of another": (
        lambda: say("alice", MEMBER, ASKED.id, member_body("bob", member_key("bob"))),
        "alice",
        "did not sign for this member",
    ),
    "other members": (
        lambda: say("dora", DEPOSIT, ASKED.id, deposit_body(deposit_setup(), carol=member_key("bob").public.hex())),
        "dora",
        "another committee than the members have said",
    ),
    "not an outpoint": (
        lambda: say("dora", DEPOSIT, ASKED.id, DepositBody("here", deposit_body(deposit_setup()).members)),
        "dora",
        "deposit outpoint: 'here'",
    ),
    "wrong graph": (lambda: say("olga", OFFER, INSTANCE.id, foreign_offer()), "olga", "an instance of another deposit"),
    "another program": (
        lambda: say("olga", OFFER, *other_program()),
        "olga",
        "another program than was agreed on",
    ),
    "offer in another session": (
        lambda: say("olga", OFFER, bytes(32), offer_body(*offer_of("olga"))),
        "olga",
        "an instance of another deposit",
    ),
    "no challenge": (
        lambda: say("olga", OFFER, INSTANCE.id, offer_body(INSTANCE, bytes(64))),
        "olga",
        "the signature for Challenge does not verify",
    ),
    "operator key": (
        lambda: say("olga", OFFER, *without_a_key()),
        "olga",
        "operator key",
    ),
    "bad nonce": (
        lambda: say("carol", NONCES, INSTANCE.id, nonces_body(HappyTake__vault="02" + "00" * 65)),
        "carol",
        "the nonce of 'HappyTake.vault' is not valid",
    ),
    "short nonce": (
        lambda: say("carol", NONCES, INSTANCE.id, nonces_body(HappyTake__vault="02")),
        "carol",
        "is not 66 bytes in hex",
    ),
    "nonces of another graph": (
        lambda: say("carol", NONCES, INSTANCE.id, nonces_body(Other__vault="02" + "00" * 65)),
        "carol",
        "nonces for other transactions",
    ),
    "partials without nonces": (
        lambda: say("carol", PARTIALS, INSTANCE.id, PartialsBody([], {})),
        "carol",
        "0 nonces named, expected 3",
    ),
}


@pytest.mark.parametrize("seed", range(3))
def test_bad_contributions_stop_nobody(tmp_path: Path, seed: int) -> None:
    """All of them at once, among the good ones of the same authors; every party names each of them."""
    players, mailbox = cast(tmp_path), Memory(random.Random(seed))
    players["dora"].ask(ASKED)
    for make, _, _ in BAD.values():
        mailbox.put(make())
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    assert len({player.peg_in(ASKED) for player in players.values()}) == 1
    for player in players.values():
        faults = list(player.party.faults)
        for name, (_, author, what) in BAD.items():
            alike = sum((author, what) == other[1:] for other in BAD.values())
            assert [fault.author for fault in faults if what in fault.what] == [author] * alike, name
        assert len(faults) == len(BAD)
        (standing,) = survey(player.store, ROSTER)
        assert set(standing.faults) == set(faults), "the store tells the same afterwards"


def test_bad_offers_stop_nobody_where_processes_make_the_graphs(tmp_path: Path) -> None:
    players, mailbox = cast(tmp_path, [name for name in NAMES if name != "bob"]), Memory(random.Random(2))
    players["bob"] = Player.open("bob", tmp_path / "bob", graphs=partial(batch.with_graphs, workers=2, worth_it=0.0))
    players["dora"].ask(ASKED)
    offers = {name: bad for name, bad in BAD.items() if bad[0]().kind == OFFER}
    for make, _, _ in offers.values():
        mailbox.put(make())
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    assert set(players["bob"].party.faults) == set(players["alice"].party.faults)
    assert len(players["bob"].party.faults) == len(offers)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"challenge_window": 1}, "challenge_window is 1, agreed was 6"),
        ({"burn_percent": 10}, "burn_percent is 10, agreed was 50"),
        ({"refund_delay": 1}, "refund_delay is 1, agreed was 20"),
    ],
)
def test_terms_that_nobody_agreed_on(tmp_path: Path, change: dict[str, int], what: str) -> None:
    """A member gives no key for such a deposit, and the depositor itself is told before it asks."""
    player, asked = Player.open("bob", tmp_path / "bob"), request(Params(**change))
    player.party.receive([say("dora", REQUEST, asked.id, request_body(asked))])
    assert not player.party.step()
    assert [(fault.author, fault.what) for fault in player.party.faults] == [("dora", what)]
    with pytest.raises(VerificationFailed, match=what):
        Player.open("dora", tmp_path / "dora").ask(asked)


def test_a_request_on_another_network(tmp_path: Path) -> None:
    player, asked = Player.open("bob", tmp_path), elsewhere()
    player.party.receive([say("dora", REQUEST, asked.id, request_body(asked))])
    assert not player.party.step()
    assert [str(fault) for fault in player.party.faults] == [
        f"dora: a deposit on signet, expected regtest ({asked.id.hex()[:12]})"
    ]


# Two faces.


def said_twice(name: str) -> Envelope:
    match name:
        case "carol":
            return say("carol", MEMBER, ASKED.id, member_body("carol", SecretKey(b"\x33" * 32)))
        case "dora":
            return say(
                "dora", DEPOSIT, ASKED.id, deposit_body(replace(deposit_setup(), outpoint=OutPoint(b"\x99" * 32, 0)))
            )
        case _:
            other = replace(INSTANCE, claim=OutPoint(b"\x98" * 32, 0))
            signed = operator.sign_challenge(other, SEEDS["olga"].wallet_key())
            return say("olga", OFFER, INSTANCE.id, offer_body(other, signed))


@pytest.mark.parametrize("name", ["carol", "dora", "olga"])
def test_two_different_statements_are_named_and_neither_counts(tmp_path: Path, name: str) -> None:
    players, mailbox = cast(tmp_path), Memory(random.Random(3))
    players["dora"].ask(ASKED)
    for speaker in {"carol": ["carol"], "dora": [*MEMBERS, "dora"], "olga": [*MEMBERS, "dora", "olga"]}[name]:
        run_members(players, mailbox, "dora", speaker)
    mailbox.put(said_twice(name))
    play(players, mailbox, rounds=6)
    for player in players.values():
        assert [fault.author for fault in player.party.faults] == [name]
        assert "said two different things" in str(next(iter(player.party.faults)))
        assert player.party.progress.confirmed == 0
        assert not player.store.keys(records.PEG_IN)


def test_an_operator_cannot_take_back_what_is_signed(tmp_path: Path) -> None:
    players, mailbox = cast(tmp_path), Memory(random.Random(3))
    for player in players.values():
        player.actor.funded = player.name in ("olga", "oscar")
    players["dora"].ask(ASKED)
    play(players, mailbox, rounds=6)
    assert {player.party.progress.signed for player in players.values()} == {2}
    mailbox.put(said_twice("olga"))
    for player in players.values():
        player.actor.funded = True
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    assert {fault.author for player in players.values() for fault in player.party.faults} == {"olga"}


def test_a_claim_coin_that_two_operators_name_stops_neither(tmp_path: Path) -> None:
    """Whose it is shows when KickOff spends it; nobody's instance is kept out by another's lie."""
    players, mailbox = cast(tmp_path), Memory(random.Random(3))
    players["dora"].ask(ASKED)
    theirs = replace(offer_of("oscar")[0], claim=INSTANCE.claim)
    signed = operator.sign_challenge(theirs, SEEDS["oscar"].wallet_key())
    players["oscar"].actor.joins = False
    mailbox.put(say("oscar", OFFER, theirs.id, offer_body(theirs, signed)))
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    assert not any(player.party.faults for player in players.values())


def test_a_second_instance_of_an_exit(tmp_path: Path) -> None:
    players, mailbox = cast(tmp_path), Memory(random.Random(3))
    players["dora"].ask(ASKED)
    run_members(players, mailbox, "dora", *MEMBERS, "dora", "olga")
    key = SecretKey(b"\x44" * 32)
    seed = Seed(Role.OPERATOR, b"\x44" * 32)
    keys = operator.one_time_keys(deposit_setup(), key.xonly, INSTANCE.spec, seed.winternitz_seed())
    second = replace(INSTANCE, operator=key.xonly, claim=OutPoint(b"\x97" * 32, 0), keys=keys)
    mailbox.put(say("olga", OFFER, second.id, offer_body(second, operator.sign_challenge(second, key))))
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    for player in players.values():
        (fault,) = player.party.faults
        assert (fault.author, fault.what) == ("olga", "a second instance of exit 0")
        assert len(player.store.keys(records.BUNDLE)) == 2


# Signing sessions.


def test_two_sets_of_nonces_for_one_attempt_are_named_and_the_next_attempt_succeeds(tmp_path: Path) -> None:
    players, mailbox = cast(tmp_path), Memory(random.Random(5))
    players["dora"].ask(ASKED)
    mailbox.put(say("carol", NONCES, INSTANCE.id, nonces_body()))
    mailbox.put(say("carol", NONCES, INSTANCE.id, nonces_body()))
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    for player in players.values():
        assert {fault for one in survey(player.store, ROSTER) for fault in one.faults} == set(player.party.faults)
        assert [str(fault) for fault in player.party.faults] == [
            f"carol: gave two sets of nonces for attempt 1 ({INSTANCE.id.hex()[:12]})"
        ]


def test_nobody_uses_up_the_attempts(tmp_path: Path) -> None:
    players, mailbox = cast(tmp_path), Memory(random.Random(5))
    players["dora"].ask(ASKED)
    mailbox.put(say("carol", NONCES, INSTANCE.id, nonces_body(messages.MAX_ATTEMPT)))
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())
    attempts = {
        of_kind(envelope, NoncesBody).attempt
        for name in ("alice", "bob")
        for envelope in players["bob"].party.board.said(INSTANCE.id, NONCES, SEEDS[name].identity_key().xonly)
    }
    assert attempts == {1}


def run_members(players: dict[str, Player], mailbox: Memory, *names: str) -> None:
    for name in names:
        Courier(players[name].party, mailbox).run()


def until_partials(tmp_path: Path) -> tuple[dict[str, Player], Memory]:
    """Nonces of alice and bob are out; carol has not begun."""
    players, mailbox = cast(tmp_path), Memory(random.Random(5))
    players["dora"].ask(ASKED, "olga")
    mailbox.put(say("carol", MEMBER, ASKED.id, member_body("carol", member_key("carol"))))
    for _ in range(3):
        run_members(players, mailbox, "dora", "olga", "alice", "bob")
    return players, mailbox


def spoken(mailbox: Memory, name: str, kind: str, session: bytes = INSTANCE.id) -> list[Envelope]:
    author = SEEDS[name].identity_key().xonly
    found = {one.id: one for one in mailbox.envelopes if (one.author, one.kind, one.session) == (author, kind, session)}
    return list(found.values())


@pytest.mark.parametrize("spoil", ["wrong", "missing", "negated"])
def test_a_bad_partial_signature_is_named_and_a_good_one_still_counts(tmp_path: Path, spoil: str) -> None:
    players, mailbox = until_partials(tmp_path)
    signer, drawn = draw("carol")
    sent = say("carol", NONCES, INSTANCE.id, drawn)
    mailbox.put(sent)
    run_members(players, mailbox, "alice", "bob")
    choice = {name: spoken(mailbox, name, NONCES)[0] for name in MEMBERS}
    nonces = {
        name: {k: bytes.fromhex(v) for k, v in of_kind(one, NoncesBody).nonces.items()} for name, one in choice.items()
    }
    partials = {label: one.hex() for label, one in signer.sign(DIGESTS, nonces).items()}
    named = [choice[name].id.hex() for name in INSTANCE.deposit.committee.names]
    label = next(iter(partials))
    bad = dict(partials)
    match spoil:
        case "wrong":
            bad[label] = partials[label][:-2] + ("00" if partials[label][-2:] != "00" else "01")
        case "missing":
            del bad[label]
        case _:
            bad[label] = "ff" * 32
    mailbox.put(say("carol", PARTIALS, INSTANCE.id, PartialsBody(named, bad)))
    run_members(players, mailbox, "alice", "bob", "olga")
    for name in ("alice", "bob", "olga"):
        assert [fault.author for fault in players[name].party.faults] == ["carol"]
        assert players[name].party.progress.signed == 0
        (standing,) = survey(players[name].store, ROSTER)
        assert standing.faults == tuple(players[name].party.faults)
        assert standing.waits_for == "signatures of carol for 1 instances"
    mailbox.put(say("carol", PARTIALS, INSTANCE.id, PartialsBody(named, partials)))
    run_members(players, mailbox, "alice", "bob", "olga")
    assert {players[name].party.progress.signed for name in ("alice", "bob", "olga")} == {1}


def test_partials_under_nonces_that_nobody_has_seen_wait(tmp_path: Path) -> None:
    players, mailbox = until_partials(tmp_path)
    mailbox.put(say("carol", PARTIALS, INSTANCE.id, PartialsBody(["11" * 32] * 3, dict.fromkeys(DIGESTS, "01" * 32))))
    run_members(players, mailbox, "alice", "bob")
    assert not players["bob"].party.faults
    assert players["bob"].party.progress.signed == 0


def test_killed_between_nonces_and_partials(tmp_path: Path) -> None:
    """What alice drew died with its process: a new attempt, and no nonce that was given before signs."""
    players, mailbox = until_partials(tmp_path)
    (old,) = spoken(mailbox, "alice", NONCES)
    players["alice"] = players["alice"].restarted()
    for _ in range(4):
        run_members(players, mailbox, *players)
    assert all(player.party.progress.is_done for player in players.values())
    assert {of_kind(one, NoncesBody).attempt for one in spoken(mailbox, "alice", NONCES)} == {1, 2}
    for name in MEMBERS:
        for envelope in spoken(mailbox, name, PARTIALS):
            assert old.id.hex() not in of_kind(envelope, PartialsBody).nonces
    used = [row[0] for row in players["alice"].store._db.execute("SELECT public_nonce FROM nonces")]
    assert not {bytes.fromhex(one) for one in of_kind(old, NoncesBody).nonces.values()} & set(used)


def test_killed_after_its_use_was_recorded_and_before_anything_was_sent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    players, mailbox = until_partials(tmp_path)
    run_members(players, mailbox, "carol")
    bind = players["alice"].store.bind_nonces

    class Killed(BaseException):
        pass

    def bind_and_die(uses: Any) -> None:
        bind(uses)
        raise Killed

    for hand in players["alice"].party._hands.values():
        hand._signer._guard = bind_and_die  # type: ignore[union-attr]
    with pytest.raises(Killed):
        run_members(players, mailbox, "alice")
    assert not spoken(mailbox, "alice", PARTIALS)
    players["alice"] = players["alice"].restarted()
    for _ in range(4):
        run_members(players, mailbox, *players)
    assert all(player.party.progress.is_done for player in players.values())
    assert len(spoken(mailbox, "alice", NONCES)) == 2


def test_a_restart_after_signing_begins_nothing_anew(tmp_path: Path) -> None:
    players, mailbox = until_partials(tmp_path)
    _, drawn = draw("carol")
    mailbox.put(say("carol", NONCES, INSTANCE.id, drawn))
    run_members(players, mailbox, "alice", "bob")
    players["alice"] = players["alice"].restarted()
    run_members(players, mailbox, "alice", "bob")
    assert len(spoken(mailbox, "alice", NONCES)) == 1
    assert len(spoken(mailbox, "alice", PARTIALS)) == 1


# PegIn, last of all.


def test_pegin_is_not_signed_before_everything_else_is(tmp_path: Path) -> None:
    """One operator of two is missing: its exit has an instance, and still no nonce for PegIn is given."""
    players, mailbox = cast(tmp_path), Memory(random.Random(6))
    players["oscar"].actor.joins = False
    players["dora"].ask(ASKED)
    play(players, mailbox, rounds=6)
    assert {player.party.progress.signed for player in players.values()} == {1}
    assert not any(one.kind == CONFIRM_NONCES for one in mailbox.envelopes)
    players["oscar"].actor.joins = True
    play(players, mailbox)
    assert all(player.party.progress.is_done for player in players.values())


@pytest.mark.parametrize("wrong", [False, True])
def test_pegin_is_not_signed_without_the_money(tmp_path: Path, wrong: bool) -> None:
    """Bob's node has not seen the deposit, or has seen another output: bob gives nothing, so there is no signature."""
    players, mailbox = cast(tmp_path), Memory(random.Random(6))
    players["bob"].actor.funded, players["bob"].actor.wrong = False, wrong
    players["dora"].ask(ASKED)
    play(players, mailbox, rounds=6)
    assert spoken(mailbox, "alice", CONFIRM_NONCES, ASKED.id)
    assert not spoken(mailbox, "bob", CONFIRM_NONCES, ASKED.id)
    assert not any(player.store.keys(records.PEG_IN) for player in players.values())
    assert [fault.author for fault in players["bob"].party.faults] == ["dora"] * wrong
    assert not players["alice"].party.faults


def test_a_bundle_that_was_changed_in_the_store_is_not_confirmed(tmp_path: Path) -> None:
    players, mailbox = cast(tmp_path), Memory(random.Random(6))
    players["bob"].actor.funded = False
    players["dora"].ask(ASKED)
    play(players, mailbox, rounds=6)
    raw = players["bob"].store.get(records.BUNDLE, INSTANCE.id)
    assert raw is not None
    signature = records.load_bundle(players["bob"].store, INSTANCE.id.hex()).signatures["HappyTake", "vault"].hex()
    players["bob"].store.put(records.BUNDLE, INSTANCE.id, raw.replace(signature.encode(), ("00" * 64).encode()))
    players["bob"] = players["bob"].restarted()
    players["bob"].actor.funded = True
    with pytest.raises(BridgeError, match=r"HappyTake\.vault"):
        run_members(players, mailbox, "bob")
    assert not spoken(mailbox, "bob", CONFIRM_NONCES, ASKED.id)
