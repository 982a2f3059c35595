"""The story of seven processes, told again with processes that are killed; and an audit of all that anyone signed."""

import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.exchange import board
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.mailbox import read_envelope
from bitvm_bridge.exchange.messages import (
    CONFIRM_NONCES,
    CONFIRM_PARTIALS,
    NONCE_SIZE,
    NONCES,
    PARTIALS,
    NoncesBody,
    PartialsBody,
    of_kind,
    unhex,
)
from bitvm_bridge.exchange.roster import Roster
from bitvm_bridge.params import DUST, Params
from bitvm_bridge.roles import committee as committee_role
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.musig import aggregate_nonces
from bitvm_bridge.store import FILE_NAME
from bitvm_bridge.transaction import OutPoint, Transaction
from tests.live.killer import Plan, Service
from tests.live.parties import CAST, Parties
from tests.live.play import name_of
from tests.live.test_story import SHARE, happened, instances, pay_out

WATCHERS: Final = ("alice", "bob", "carol", "olga", "clara")
PATIENCE: Final = 1_800.0
"""seconds before a story that does not go on is given up."""
PAUSE: Final = 0.1
"""seconds between two looks at the processes."""
FEES: Final = 200_000
"""sat: more than the transactions of one party cost."""
CONFIRMED: Final = Counter(
    {
        "PegIn": 1,
        "PegOut": 2,
        "KickOff": 3,
        "Challenge": 2,
        "Assert": 2,
        "HappyTake": 1,
        "UnhappyTake": 1,
        "Disprove": 1,
        "": 1 + 4 + 6,
    }
)
"""What confirms, and how often; without a name are PegInDeposit, each ClaimFunding, and children that pay a fee."""


@dataclass
class Story:
    """Set-up, two withdrawals and claims, of which one is challenged needlessly, and a false claim."""

    parties: Parties
    plans: Mapping[tuple[str, str], Plan] = field(default_factory=dict)
    """(name, command) → when the process dies."""
    services: list[Service] = field(default_factory=list)
    claims: dict[str, list[str]] = field(default_factory=dict)

    def play(self) -> None:
        """From the request to the last ending. Raises AssertionError where it stops, or where a process fails."""
        wanda = self.parties.add("wanda", "withdrawer")
        self.before = self._balances()
        self.start = self.parties.launched.node.height()
        self._talk()
        self._find_claims()
        watching = self._watch()
        honest, false = self.claims["olga"], self.claims["oscar"][1]
        for instance in honest:
            pay_out(self.parties, wanda, instance)
        self.parties.bridges["oscar"].run("operator", "kick-off", false, "--broadcast")
        self._until(watching, lambda: "KickOff" in self._events(honest[0]))
        self.parties.bridges["clara"].run("challenger", "challenge", honest[0], "--broadcast")
        self._until(watching, lambda: "Challenge" in self._events(false))
        self.parties.bridges["oscar"].run("operator", "assert", false, "--lie", "link_1", "--broadcast")
        endings = {honest[0]: "UnhappyTake", honest[1]: "HappyTake", false: "Disprove"}
        self._until(watching, lambda: all(end in self._events(one) for one, end in endings.items()))
        for service in watching:
            service.end()

    def end(self) -> None:
        """End whatever still runs."""
        for service in self.services:
            service.end(kindly=False)

    def _service(self, name: str, *args: str) -> Service:
        service = Service(self.parties, name, args, self.plans.get((name, args[0]), iter(())))
        self.services.append(service)
        return service

    def _talk(self) -> None:
        """`exchange run` of everyone, until all is confirmed."""
        asked = ("--receiver", "00" * 20, "--exits", "2", "--peg-in", str(2 * SHARE))
        self.parties.bridges["dora"].run("exchange", "request", "--roster", str(self.parties.roster), *asked)
        where = ("--roster", str(self.parties.roster), "--dir", str(self.parties.shared), "--poll", "0.4")
        talking = [
            self._service(name, "exchange", "run", "--as", role, *where, *(("--join",) if role == "operator" else ()))
            for name, role in CAST.items()
        ]
        for _ in self._patiently():
            talking = [service for service in talking if not service.tend()]
            if not talking:
                break
            self._mine_what_waits()
        self._mine_what_waits()

    def _find_claims(self) -> None:
        known = instances(self.parties, "alice")
        for name in ("olga", "oscar"):
            key = bytes.fromhex(self.parties.bridges[name].data("operator", "address")["key"])
            self.claims[name] = [known[key, number] for number in range(2)]

    def _watch(self) -> list[Service]:
        watching = []
        for name in WATCHERS:
            service = self._service(name, "watch", "--as", CAST[name], "--poll", "0.4")
            service.args += ("--metrics-file", str(service.metrics))
            watching.append(service)
        return watching

    def _until(self, watching: Sequence[Service], what: Callable[[], bool]) -> None:
        """A block whenever everyone has looked at the last one, until it is so."""
        for _ in self._patiently():
            ended = [service.name for service in watching if service.tend()]
            assert not ended, ended
            height = self.parties.launched.node.height()
            if all(service.has_looked_at(height) for service in watching):
                if what():
                    return
                self.parties.mine()

    def _patiently(self) -> Iterator[None]:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            yield
            time.sleep(PAUSE)
        raise AssertionError("\n".join(service.text() for service in self.services))

    def _mine_what_waits(self) -> None:
        if self.parties.launched.connect().call("getrawmempool"):
            self.parties.mine()

    def _events(self, instance: str) -> list[str]:
        return happened(self.parties.bridges["clara"], instance)

    def _balances(self) -> dict[str, int]:
        roles = CAST | {"wanda": "withdrawer"}
        return {
            name: self.parties.bridges[name].balances()[role] for name, role in roles.items() if role != "committee"
        }

    def check_end(self) -> None:
        """The end is the one of a story in which nobody dies."""
        assert len({tuple(sorted(instances(self.parties, name).items())) for name in CAST}) == 1
        node = self.parties.launched.node
        graphs = [setup.graph for setup in self.setups()]
        heights = range(self.start + 1, node.height() + 1)
        found = Counter(name_of(graphs, tx) for height in heights for tx in node.block(height).transactions[1:])
        assert found == CONFIRMED, found
        params, paid = Params(), 2 * (SHARE * 99 // 100)
        gained = {
            "dora": -2 * SHARE,
            "wanda": paid,
            "olga": 2 * SHARE - paid + params.challenge - DUST,
            "oscar": params.challenge - params.bond,
            "clara": params.reward - 2 * params.challenge,
        }
        now = self._balances()
        for name, expected in gained.items():
            assert abs(now[name] - self.before[name] - expected) < FEES, name

    def setups(self) -> list[InstanceSetup]:
        """Every instance that was signed."""
        with self.parties.bridges["alice"].store() as store:
            return [records.load_bundle(store, key.hex()).setup for key in store.keys(records.BUNDLE)]

    def rows(self, name: str, query: str) -> list[tuple[bytes, ...]]:
        """Of one party's store."""
        connection = sqlite3.connect(self.parties.bridges[name].datadir / "regtest" / FILE_NAME)
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def audit(self) -> "Audit":
        """All that anyone signed or set aside. Raises AssertionError for what must never be."""
        found = Audit()
        self._audit_nonces(found)
        self._audit_one_time_keys(found)
        self._audit_coins(found)
        return found

    def envelopes(self) -> dict[bytes, Envelope]:
        """Everything that was said, in the folder or in anyone's store."""
        raw = [path.read_bytes() for path in self.parties.shared.glob("*.json")]
        for name in CAST:
            query = f"SELECT document FROM records WHERE kind = '{board.RECORD}'"  # noqa: S608
            raw += [document for (document,) in self.rows(name, query)]
        return {envelope.id: envelope for envelope in map(read_envelope, raw)}

    def _audit_nonces(self, audit: "Audit") -> None:
        """A nonce is in one envelope, and signs one digest with one aggregate, which its owner wrote down before."""
        said = self.envelopes()
        drawn = {
            key: unhex("nonce", of_kind(one, NoncesBody).nonces, NONCE_SIZE)
            for key, one in said.items()
            if one.kind in (NONCES, CONFIRM_NONCES)
        }
        everything = [nonce for own in drawn.values() for nonce in own.values()]
        assert len(everything) == len(set(everything))
        audit.nonces = len(everything)
        setups, members = self.setups(), self._members()
        digests = {setup.id: committee_role.bundle_digests(setup) for setup in setups}
        deposit = setups[0].deposit
        digests[deposit.request.id] = {committee_role.PEG_IN: deposit.graph["PegIn"].digest("deposit")}
        uses: dict[bytes, set[tuple[bytes, bytes]]] = defaultdict(set)
        for envelope in said.values():
            if envelope.kind not in (PARTIALS, CONFIRM_PARTIALS):
                continue
            body: PartialsBody = of_kind(envelope, PartialsBody)
            names = deposit.committee.names
            chosen = {name: drawn[bytes.fromhex(one)] for name, one in zip(names, body.nonces, strict=True)}
            owner = members[envelope.author]
            for label in body.partials:
                aggregate = aggregate_nonces(deposit.committee, label, chosen)
                uses[chosen[owner][label]].add((digests[envelope.session][label], aggregate))
        assert all(len(found) == 1 for found in uses.values())
        audit.partials = len(uses)
        written = {
            bytes(nonce): (bytes(digest), bytes(aggregate))
            for name in members.values()
            for nonce, digest, aggregate in self.rows(name, "SELECT public_nonce, digest, aggregate FROM nonces")
        }
        assert all(found == {written.get(nonce)} for nonce, found in uses.items())

    def _members(self) -> dict[bytes, str]:
        """Identity key → name."""
        return {one.key: one.name for one in Roster.from_json(self.parties.roster.read_bytes()).committee}

    def _audit_one_time_keys(self, audit: "Audit") -> None:
        """Every Assert of an instance, sent or not, reveals the same values, which its operator wrote down before."""
        setups = {setup.id: setup for setup in self.setups()}
        made: dict[bytes, set[tuple[bytes, ...]]] = defaultdict(set)
        for name in CAST:
            for owner, raw in self.rows(name, "SELECT owner, raw FROM transactions WHERE name = 'Assert'"):
                made[owner].add(asserting.read(setups[owner], [Transaction.parse(raw)]).values)
        node = self.parties.launched.node
        for setup in setups.values():
            spent = node.spender(setup.graph["Assert"].inputs[0].source.outpoint)
            if spent is not None:
                made[setup.id].add(asserting.read(setup, [spent[0]]).values)
        assert all(len(values) == 1 for values in made.values())
        for name in ("olga", "oscar"):
            with self.parties.bridges[name].store() as store:
                for instance in map(bytes.fromhex, self.claims[name]):
                    assert instance not in made or {store.bound(instance)} == made[instance]
        audit.assertions = len(made)

    def _audit_coins(self, audit: "Audit") -> None:
        """No coin of a party is spent by transactions of two names or owners."""
        for name in CAST:
            spenders: dict[OutPoint, set[tuple[bytes, bytes]]] = defaultdict(set)
            for owner, what, raw in self.rows(name, "SELECT owner, name, raw FROM transactions"):
                for txin in Transaction.parse(raw).inputs:
                    spenders[txin.outpoint].add((owner, what))
            assert all(len(found) == 1 for found in spenders.values()), name
            audit.coins += len(spenders)


@dataclass
class Audit:
    """How much there was to look at."""

    nonces: int = 0
    partials: int = 0
    assertions: int = 0
    coins: int = 0
