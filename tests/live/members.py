"""A committee of which one member spoils the set-up: nothing moves, and the depositor takes its money back."""

import re
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Final

from bitvm_bridge import records
from bitvm_bridge.exchange.envelope import Envelope
from bitvm_bridge.exchange.mailbox import Folder
from bitvm_bridge.exchange.messages import NONCES, PARTIALS, NoncesBody, PartialsBody
from bitvm_bridge.exchange.party import Courier, Party
from bitvm_bridge.exchange.signing import Session
from bitvm_bridge.params import Network, Params
from bitvm_bridge.protocol import Request, wallet_script
from bitvm_bridge.roles import depositor
from bitvm_bridge.wallet import Wallet
from tests.exchange.cast import NAMES, ROSTER, SEEDS, request
from tests.exchange.test_on_chain import Seat
from tests.live.play import House, Ledger

FAULTS: Final = {
    "nonces": "gives nonces that are none",
    "partials": "gives partial signatures that do not verify",
    "silence": "says its key, and nothing more",
}
SAID: Final = {
    "nonces": r"bob: member 'bob': the nonce of '\w+\.\w+' is not valid",
    "partials": r"bob: member 'bob': the partial signature of '\w+\.\w+' does not verify",
    "silence": "",
}
"""What all others say of it; of silence `exchange status` says whose turn it is."""
ROUNDS: Final = 8
_numbers = count(1)


class FaultyMember(Party):
    """Says something else than it should."""

    fault = ""

    def _take_part(self, session: Session, request: Request) -> Iterator[None]:
        if self.fault == "partials":
            yield from super()._take_part(session, request)
        elif self.fault == "nonces" and not self.board.said(session.id, NONCES, self.me.key):
            self._say(NONCES, session.id, NoncesBody(1, dict.fromkeys(session.digests, "02" + "00" * 65)))
            yield

    def _say(self, kind: str, session: bytes, body: object) -> Envelope:
        if kind == PARTIALS and isinstance(body, PartialsBody):
            body = PartialsBody(body.nonces, dict.fromkeys(body.partials, "00" * 31 + "01"))
        return super()._say(kind, session, body)


def without_a_member(house: House, folder: Path, fault: str) -> tuple[Ledger, list[str]]:
    """Six parties talk through a folder; bob is at fault, and dora takes her deposit back."""
    node = house.launched.node
    (folder / "shared").mkdir()
    owners = {wallet_script(SEEDS[name].wallet_key().xonly): name for name in ("dora", "olga", "oscar")}
    for script in owners:
        node.mine(4, script)
    node.mine(100)
    start = node.height()
    before = {name: sum(coin.output.amount for coin in node.scan(script)) for script, name in owners.items()}
    seats = {name: Seat.take(name, folder, node) for name in NAMES}
    try:
        bob = FaultyMember(seats["bob"].store, ROSTER, SEEDS["bob"].identity_key(), Network.REGTEST, seats["bob"].actor)
        bob.fault = fault
        seats["bob"].party, seats["bob"].courier = bob, Courier(bob, Folder(folder / "shared"))
        asked = request(Params(peg_in=50_000_000), next(_numbers).to_bytes(4, "big"))
        seats["dora"].party.ask(asked, ("olga", "oscar"), SEEDS["dora"].wallet_key())
        for _ in range(ROUNDS):
            for seat in seats.values():
                assert seat.courier.run() == []
            node.mine(1)
        for name, seat in seats.items():
            assert not seat.store.keys(records.BUNDLE)
            assert not seat.store.keys(records.PEG_IN)
            if name != "bob":
                assert bool(seat.party.faults) == bool(SAID[fault]), (name, fault)
                assert all(re.match(SAID[fault], str(one)) for one in seat.party.faults), (name, seat.party.faults)
        setup = records.load_deposit(seats["dora"].store, asked.id.hex())
        node.mine(asked.params.refund_delay)
        key = SEEDS["dora"].wallet_key()
        depositor.refund(Wallet(key, node, 2.0), setup, key).send(node)
        node.mine(1)
    finally:
        for seat in seats.values():
            seat.store.close()
    return Ledger(node, start, [setup.graph], owners, before), []
