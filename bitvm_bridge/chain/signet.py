"""Signed blocks (BIP325): what every block of a signet must show, and the mining of a signet of one's own."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from bitvm_bridge import workers
from bitvm_bridge.chain import blocks
from bitvm_bridge.chain.bitcoind import BitcoindNode
from bitvm_bridge.chain.kernel import verify_input
from bitvm_bridge.chain.rpc import Rpc
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network
from bitvm_bridge.transaction import Malformed, OutPoint, Reader, Transaction, TxIn, TxOut, hash256
from scripts_tapleaf.script import OP_0, OP_CHECKSIG, OP_RETURN, ScriptError, compact_size, instructions, push

PUBLIC: Final = bytes.fromhex(
    "512103ad5e0edad18cb1f0fc0d28a3d4f1f3e445640337489abb10404f2d1e086be4302103"
    "59ef5021964fe22d6f8e05b2463c9540ce96883fe3b278760f048f5189f2e6c452ae"
)
"""The challenge of the public signet: one of two signers (kernel/chainparams.cpp of Bitcoin Core)."""
_HEADER: Final = bytes.fromhex("ecc7daa2")
"""How the push with the solution begins, in the output that commits to the witnesses."""
_ALL: Final = b"\x01"
"""SIGHASH_ALL."""
_NONCES: Final = 1 << 32
_STRIDE: Final = 1 << 18
"""nonces that a process tries before it looks up: a fifth of a second."""


def challenge_of(public_key: bytes) -> bytes:
    """The challenge that one key answers (33 bytes, compressed): what `-signetchallenge` takes in hex.

    ECDSA, as blocks are judged without taproot.
    """
    return push(public_key) + OP_CHECKSIG


def is_signed(header: bytes, transactions: Sequence[Transaction], challenge: bytes) -> bool:
    """Does the coinbase have a solution of the challenge for this block? A signet's first block has none."""
    index = blocks.commitment_index(transactions[0])
    if index is None:
        return False
    try:
        script, solution = _split(transactions[0].outputs[index].script_pubkey)
        reader = Reader(solution or bytes(2))
        script_sig, witness = reader.var_bytes(), tuple(reader.var_bytes() for _ in range(reader.compact_size()))
        reader.finish()
    except (Malformed, ScriptError):
        return False
    bare = _with_script(transactions[0], index, script)
    spending = _spending(header[:36], [bare, *transactions[1:]], header[68:72], challenge)
    (txin,) = spending.inputs
    signed = replace(spending, inputs=(replace(txin, script_sig=script_sig, witness=witness),))
    return verify_input(signed, 0, [TxOut(0, challenge)])


def _split(commitment: bytes) -> tuple[bytes, bytes]:
    """The script that is signed, and the solution that was cut out of it; as Core's signet.cpp writes it anew."""
    script, solution = b"", b""
    for _, opcode, data in instructions(commitment):
        if not data:
            script += bytes([opcode])
        elif not solution and data.startswith(_HEADER) and len(data) > len(_HEADER):
            solution = data[len(_HEADER) :]
            script += push(_HEADER)
        else:
            script += push(data) if len(data) > 1 else b"\x01" + data
    return (script, solution) if solution else (commitment, b"")


def _with_script(coinbase: Transaction, index: int, script: bytes) -> Transaction:
    outputs = list(coinbase.outputs)
    outputs[index] = replace(outputs[index], script_pubkey=script)
    return replace(coinbase, outputs=tuple(outputs))


def _spending(start: bytes, transactions: Sequence[Transaction], time: bytes, challenge: bytes) -> Transaction:
    """The transaction whose input a solution signs (BIP325 `to_sign`). `start` is version and previous block."""
    signed = start + blocks.merkle_root([tx.txid for tx in transactions]) + time
    nothing = OutPoint(bytes(32), 0xFFFFFFFF)
    to_spend = Transaction(0, (TxIn(nothing, 0, OP_0 + push(signed)),), (TxOut(0, challenge),))
    return Transaction(0, (TxIn(to_spend.outpoint(0), 0),), (TxOut(0, OP_RETURN),))


def _solve(key: SecretKey, spending: Transaction) -> bytes:
    """Input script and an empty witness, serialised: the legacy signature of the only input."""
    (txin,) = spending.inputs
    signed = replace(spending, inputs=(replace(txin, script_sig=challenge_of(key.public)),))
    signature = key.sign_ecdsa(hash256(signed.serialize() + _ALL.ljust(4, b"\x00"))) + _ALL
    script_sig = push(signature)
    return compact_size(len(script_sig)) + script_sig + compact_size(0)


Work = Callable[[bytes], int]
"""A header without its nonce (76 bytes) → a nonce that gives it work."""


def search(header: bytes, nonces: range) -> int | None:
    """The first of these nonces that gives a header (76 bytes) the work that its nBits asks for."""
    limit = blocks.target(int.from_bytes(header[72:76], "little"))
    zeros = bytes(32 - (limit.bit_length() + 7) // 8)
    sha256, begun = hashlib.sha256, hashlib.sha256(header)
    for nonce in nonces:
        first = begun.copy()
        first.update(nonce.to_bytes(4, "little"))
        found = sha256(first.digest()).digest()
        if found.endswith(zeros) and int.from_bytes(found, "little") <= limit:
            return nonce
    return None


@contextmanager
def grinding(processes: int) -> Iterator[Work]:
    """Work done by so many processes, which end with the block."""
    with workers.processes(processes) as pool:
        yield partial(_grind, pool, 2 * processes)


def _grind(pool: Executor, ahead: int, header: bytes) -> int:
    ranges = (range(start, start + _STRIDE) for start in range(0, _NONCES, _STRIDE))
    for found in workers.stream(pool, partial(search, header), ranges, ahead):
        if found is not None:
            return found
    raise BridgeError("signet: no nonce gives this block the work it needs; mine again")


@dataclass(frozen=True)
class Template:
    """What a node asks of the next block; `value` in sat is what its coinbase may take, the fees included."""

    height: int
    version: int
    previous: bytes
    bits: int
    earliest: int
    transactions: tuple[Transaction, ...]
    value: int
    fees: int


Clock = Callable[[Template], int]
"""The time of a block (Unix seconds), `earliest` or later."""


def now(template: Template) -> int:
    """The wall clock, or later where the chain is ahead of it."""
    return max(template.earliest, int(time.time()))


class SignetNode(BitcoindNode):
    """A node of a signet whose challenge is one's own key: it mines."""

    def __init__(self, connection: Rpc, key: SecretKey, work: Work, clock: Clock = now) -> None:
        """As BitcoindNode. `work` takes seconds a block on every core."""
        super().__init__(connection, Network.SIGNET)
        self._key = key
        self._work = work
        self._clock = clock

    def mine(self, blocks: int = 1, script_pubkey: bytes | None = None) -> None:
        """Mine blocks with the mempool's transactions; subsidy and fees go to `script_pubkey`.

        Raises BadInput where the signet has another challenge, NodeRejected with the node's reason.
        """
        for _ in range(blocks):
            template = self._template()
            self._extend(template, template.transactions, template.value, script_pubkey)

    def mine_transactions(self, transactions: Sequence[Transaction]) -> None:
        """Mine one block with exactly these transactions, relayable or not; their fees are lost."""
        template = self._template()
        self._extend(template, transactions, template.value - template.fees, None)

    def _template(self) -> Template:
        found = self._rpc.call("getblocktemplate", {"rules": ["segwit", "signet"]})
        if found["signet_challenge"] != challenge_of(self._key.public).hex():
            raise BadInput("signet key", self._key.public, f"the key of this signet ({found['signet_challenge']})")
        return Template(
            height=found["height"],
            version=found["version"],
            previous=bytes.fromhex(found["previousblockhash"])[::-1],
            bits=int(found["bits"], 16),
            earliest=found["mintime"],
            transactions=tuple(Transaction.parse_hex(entry["data"]) for entry in found["transactions"]),
            value=found["coinbasevalue"],
            fees=sum(entry["fee"] for entry in found["transactions"]),
        )

    def _extend(
        self, template: Template, transactions: Sequence[Transaction], value: int, script_pubkey: bytes | None
    ) -> None:
        script = blocks.ANYONE if script_pubkey is None else script_pubkey
        coinbase = blocks.coinbase(template.height, script, value, transactions, extra=0)
        raw = signed_block(template, self._clock(template), [coinbase, *transactions], self._key, self._work)
        self._submit(template.height, raw)

    def _submit(self, height: int, raw: bytes) -> None:
        refused = self._rpc.call("submitblock", raw.hex())
        if refused is not None:
            raise NodeRejected(f"block {height}: {refused}")


def signed_block(
    template: Template, time: int, transactions: Sequence[Transaction], key: SecretKey, work: Work
) -> bytes:
    """A serialised block with a solution and work; `transactions` begin with the coinbase."""
    coinbase, *others = transactions
    index = len(coinbase.outputs) - 1
    commitment = coinbase.outputs[index].script_pubkey
    start = template.version.to_bytes(4, "little") + template.previous
    bare = _with_script(coinbase, index, commitment + push(_HEADER))
    spending = _spending(start, [bare, *others], time.to_bytes(4, "little"), challenge_of(key.public))
    solved = _with_script(coinbase, index, commitment + push(_HEADER + _solve(key, spending)))
    root = blocks.merkle_root([tx.txid for tx in (solved, *others)])
    header = start + root + time.to_bytes(4, "little") + template.bits.to_bytes(4, "little")
    return blocks.serialize(header + work(header).to_bytes(4, "little"), [solved, *others])
