"""A signet of the tests' own, whose blocks are the same each time, so that their work was done once and for all.

Keys, signatures and times are deterministic in here: with the same code the same headers come out, and
`fixtures/signet/nonces.txt` has the nonce of each. A header that it does not have, because the code now makes another
transaction, is ground on the spot, in seconds. `python -m tests.signet` writes the file anew.
"""

import hashlib
import os
import secrets
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest

from bitvm_bridge.chain import blocks
from bitvm_bridge.chain.kernel import parse_block
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.chain.signet import SignetNode, Template, Work, challenge_of, grinding, signed_block
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network, Params
from bitvm_bridge.program import HashChainSpec
from bitvm_bridge.transaction import hash256
from cli.stage import Outcome, open_stage
from cli.stories import play
from scripts_tapleaf.script import instructions, push
from tests.vectors import ROOT

NONCES: Final = ROOT / "fixtures" / "signet" / "nonces.txt"
KEY: Final = SecretKey(hashlib.sha256(b"bitvm-bridge: signet of the tests").digest())
STRANGER: Final = SecretKey(hashlib.sha256(b"bitvm-bridge: a stranger to that signet").digest())
STORIES: Final = ("happy", "fraud")
PARAMS: Final = Params.default(
    Network.SIGNET, refund_delay=3, challenge_window=3, assert_window=2, disprove_window=2, forfeit_window=2
)
"""The profile of signet with windows of a few blocks."""
SPEC: Final = HashChainSpec(2, 1)
ANY_AGE: Final = f"-maxtipage={10**9}"
"""Seconds: a chain whose blocks are years old is in sync."""
GENESIS_TIME: Final = 1_598_918_400
SPACING: Final = 600
"""seconds"""


@dataclass
class Recorded:
    """Work that was done before; what is missing is done now, by `grind`, and counted."""

    grind: Work
    known: dict[str, int]
    used: dict[str, int] = field(default_factory=dict)
    missing: int = 0

    @classmethod
    def read(cls, grind: Work) -> "Recorded":
        """With the fixture."""
        lines = NONCES.read_text().splitlines() if NONCES.exists() else []
        return cls(grind, {name: int(nonce, 16) for name, nonce in (line.split() for line in lines)})

    def __call__(self, header: bytes) -> int:
        name = hash256(header)[:8].hex()
        if name not in self.known:
            self.missing += 1
            self.known[name] = self.grind(header)
        self.used[name] = self.known[name]
        return self.used[name]

    def text(self) -> str:
        """The fixture: for each header, in order, eight bytes of its hash without the nonce, and the nonce."""
        return "".join(f"{name} {nonce:08x}\n" for name, nonce in self.used.items())


def block_time(template: Template) -> int:
    """Ten minutes a block, from the first one on."""
    return GENESIS_TIME + SPACING * template.height


@contextmanager
def same_secrets(text: str) -> Iterator[None]:
    """What is random comes out the same each time. For keys of tests alone."""
    count = 0

    def token_bytes(size: int | None = None) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_256(f"{text} {count}".encode()).digest(32 if size is None else size)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(secrets, "token_bytes", token_bytes)
        yield


@contextmanager
def launched_signet(bitcoind: Path, datadir: Path, *options: str) -> Iterator[LaunchedBitcoind]:
    """A node of the tests' signet."""
    challenge = f"-signetchallenge={challenge_of(KEY.public).hex()}"
    with LaunchedBitcoind(bitcoind, datadir, challenge, ANY_AGE, *options, network=Network.SIGNET) as launched:
        yield launched


@contextmanager
def miner(launched: LaunchedBitcoind, work: Work, key: SecretKey = KEY) -> Iterator[SignetNode]:
    """The same node, mining."""
    node = SignetNode(launched.connect(), key, work, block_time)
    yield node
    node.close()


def play_stories(node: SignetNode, names: Sequence[str] = STORIES) -> list[Outcome]:
    """Every story on one chain, the same each time."""
    with same_secrets("stories"):
        return list(play(names, node, open_stage(node), PARAMS, SPEC, lambda _, __: None))


def forgeries(node: SignetNode, work: Work) -> dict[str, bytes]:
    """Blocks for the height after the tip with all the work, none of which the signet's key has signed."""
    template = node._template()
    coinbase = blocks.coinbase(template.height, blocks.ANYONE, template.value, [], extra=0)

    def signed_by(key: SecretKey) -> bytes:
        return signed_block(template, block_time(template), [coinbase], key, work)

    honest = signed_by(KEY)
    first, last = parse_block(honest)[0], len(coinbase.outputs) - 1
    script = first.outputs[last].script_pubkey

    def with_commitment(script: bytes) -> bytes:
        outputs = (*first.outputs[:last], replace(first.outputs[last], script_pubkey=script))
        other = replace(first, outputs=outputs)
        header = honest[:36] + blocks.merkle_root([other.txid]) + honest[68:76]
        return blocks.serialize(header + work(header).to_bytes(4, "little"), [other])

    return {
        "another key": signed_by(STRANGER),
        "no solution": with_commitment(coinbase.outputs[last].script_pubkey),
        "another signature": with_commitment(script[:-3] + bytes([script[-3] ^ 1]) + script[-2:]),
        "more than a solution": with_commitment(_longer(script)),
    }


def _longer(script: bytes) -> bytes:
    """A byte more in the last push, whose length is in one byte."""
    at = next(at for at, opcode, data in instructions(script) if data and data.startswith(b"\xec\xc7\xda\xa2"))
    *_, (_, _, data) = instructions(script)
    assert data is not None
    return script[:at] + push(data + b"\x00")


def record(bitcoind: Path, work: Recorded) -> None:
    """Ask for all the work that the tests ask for."""
    with (
        tempfile.TemporaryDirectory() as folder,
        launched_signet(bitcoind, Path(folder)) as launched,
        miner(launched, work) as node,
    ):
        forgeries(node, work)
        play_stories(node)


def main() -> None:
    """Write the fixture anew; what is still right in it is kept."""
    found = os.environ.get("BITCOIND") or shutil.which("bitcoind")
    if found is None:
        sys.exit("set BITCOIND, or put bitcoind on PATH")
    with grinding(os.cpu_count() or 1) as grind:
        work = Recorded.read(grind)
        try:
            record(Path(found), work)
        finally:
            NONCES.write_text(work.text())
    print(f"{len(work.used)} blocks, {work.missing} of them ground now")


if __name__ == "__main__":
    main()
