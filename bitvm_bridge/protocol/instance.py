"""What a deposit and an instance are made of: the inputs of the graph, split by when they are known."""

import json
from dataclasses import dataclass
from typing import Any, Final

from bitvm_bridge import secp
from bitvm_bridge.errors import BadInput
from bitvm_bridge.params import Params
from bitvm_bridge.protocol.template import LeafSource
from bitvm_bridge.taproot import p2tr, tagged_hash, tap_tweak
from bitvm_bridge.transaction import OutPoint
from scripts_tapleaf.winternitz import PublicKey

MAX_RECEIVER: Final = 520
"""bytes: the longest layer-2 address an envelope carries."""


def wallet_script(key: bytes) -> bytes:
    """The key-path P2TR script of a wallet key (BIP86)."""
    return p2tr(secp.tweak_public_key(key, tap_tweak(key))[0])


def canonical(document: Any) -> bytes:
    """The one JSON encoding that is hashed: sorted keys, no spaces."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True)
class Request:
    """What a depositor asks for: `depositor` may take the deposit back, `receiver` is credited on the second layer.

    Its id names the deposit before any transaction exists; the committee derives fresh keys from it.
    """

    params: Params
    depositor: bytes
    receiver: bytes

    def __post_init__(self) -> None:
        secp.check_xonly("depositor key", self.depositor)
        if not 1 <= len(self.receiver) <= MAX_RECEIVER:
            raise BadInput("receiver", self.receiver, f"1 to {MAX_RECEIVER} bytes")

    @property
    def id(self) -> bytes:
        """32 bytes."""
        return tagged_hash("BitVMBridge/deposit", canonical(self.params.to_json()), self.depositor, self.receiver)


@dataclass(frozen=True)
class Deposit:
    """A request with its committee: all that fixes the deposit's address. `committee` is the aggregate key N."""

    request: Request
    committee: bytes

    def __post_init__(self) -> None:
        secp.check_xonly("committee key", self.committee)

    @property
    def params(self) -> Params:
        """The parameters of the request."""
        return self.request.params


@dataclass(frozen=True)
class Instance:
    """One exit of a deposit and one operator.

    `deposit_outpoint` and `claim` are the two outputs of transactions that the graph does not make itself.
    `assertion` has, for each assert connector, the Winternitz keys of the messages that it reveals; `checks` has the
    leaves that anyone may use against a wrong assertion. `exit` is the number of the vault output that it claims.
    """

    deposit: Deposit
    deposit_outpoint: OutPoint
    operator: bytes
    claim: OutPoint
    program: str
    assertion: tuple[tuple[PublicKey, ...], ...]
    checks: LeafSource
    id: bytes
    exit: int = 0

    def __post_init__(self) -> None:
        secp.check_xonly("operator key", self.operator)
        check_exit(self.params, self.exit)
        if self.claim == self.deposit_outpoint:
            raise BadInput("claim", self.claim, "another coin than the deposit")

    @property
    def params(self) -> Params:
        """The parameters of the request."""
        return self.deposit.params


def check_exit(params: Params, number: int) -> int:
    """`number`, or BadInput where the deposit has no such one."""
    if not 0 <= number < params.exits:
        raise BadInput("exit", number, f"one of the deposit's exits, 0 to {params.exits - 1}")
    return number


def instance_id(params: Params, vault: OutPoint, operator: bytes, program: str) -> bytes:
    """The 32 bytes that bind a claim to its deposit: network, vault, operator and every parameter."""
    return tagged_hash(
        "BitVMBridge/instance", vault.serialize(), operator, program.encode(), b"\x00", canonical(params.to_json())
    )
