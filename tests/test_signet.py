"""Signet: stories on one of our own, blocks that nobody signed, and the first blocks of the public one."""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from bitvm_bridge.chain import blocks, signet
from bitvm_bridge.chain.bitcoind import BitcoindNode
from bitvm_bridge.chain.embedded import EmbeddedNode
from bitvm_bridge.chain.esplora import GENESIS, EsploraNode
from bitvm_bridge.chain.kernel import parse_block
from bitvm_bridge.chain.launch import LaunchedBitcoind
from bitvm_bridge.errors import BadInput, BridgeError, NodeRejected, NodeUnreachable
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.params import Network, Params
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.transaction import Transaction, hash256
from cli.main import root
from cli.stage import open_stage
from cli.stories import play, stories_of
from tests.conftest import GROUND
from tests.esplora_server import Answer, EsploraServer
from tests.signet import (
    ANY_AGE,
    KEY,
    PARAMS,
    SPEC,
    STORIES,
    STRANGER,
    Recorded,
    forgeries,
    launched_signet,
    miner,
    play_stories,
)

FIRST_BLOCKS = [
    "00000020f61eee3b63a380a477a063af32b2bbc97c9ff9f01f2c4225e973988108000000f575c83235984e7dc4afc1f30944c170462e84437ab6"
    "f2d52e16878a79e4678bd1914d5fae77031eccf4070001010000000001010000000000000000000000000000000000000000000000000000000000"
    "000000ffffffff025151feffffff0200f2052a010000001600149243f727dd5343293eb83174324019ec16c2630f0000000000000000776a24aa21"
    "a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf94c4fecc7daa2490047304402205e423a8754336ca99dbe1650"
    "9b877ef1bf98d008836c725005b3c787c41ebe46022047246e4467ad7cc7f1ad98662afcaf14c115e0095a227c7b05c5182591c23e7e01000120"
    "000000000000000000000000000000000000000000000000000000000000000000000000",
    "00000020533b53ded9bff4adc94101d32400a144c54edc5ed492a3b26c63b2d686000000b38fef50592017cfafbcab88eb3d9cf50b2c801711ca"
    "d8299495d26df5e54812e7914d5fae77031ecfdd0b0001010000000001010000000000000000000000000000000000000000000000000000000000"
    "000000ffffffff025251feffffff0200f2052a01000000160014fd09839740f0e0b4fc6d5e2527e4022aa9b89dfa0000000000000000776a24aa21"
    "a9ede2f61c3f71d1defd3fa999dfa36953755c690689799962b48bebd836974e8cf94c4fecc7daa24900473044022031d64a1692cdad1fc0ced698"
    "38169fe19ae01be524d831b95fcf5ea4e6541c3c02204f9dea0801df8b4d0cd0857c62ab35c6c25cc47c930630dc7fe723531daa3e9b01000120"
    "000000000000000000000000000000000000000000000000000000000000000000000000",
]
"""Blocks 1 and 2 of the public signet."""
BOTH_MUST_SIGN = b"\x52" + signet.PUBLIC[1:]


def parts(raw: bytes) -> tuple[bytes, tuple[Transaction, ...]]:
    return raw[: blocks.HEADER_SIZE], parse_block(raw)


@pytest.fixture
def work() -> Iterator[Recorded]:
    """Done before, or now by two processes."""
    with signet.grinding(2) as grind:
        yield Recorded.read(grind)


@pytest.fixture
def launched(bitcoind_path: Path, tmp_path: Path) -> Iterator[LaunchedBitcoind]:
    with launched_signet(bitcoind_path, tmp_path / "node") as found:
        yield found


# The profile.


def test_the_profile_waits_weeks() -> None:
    params = Params.default(Network.SIGNET)
    windows = (params.challenge_window, params.assert_window, params.disprove_window, params.forfeit_window)
    assert (*windows, params.refund_delay) == (1_008, 1_008, 1_008, 1_008, 2_016)
    assert (params.happy_csv, params.timeout_csv, params.unhappy_csv, params.forfeit_csv) == (
        1_008,
        2_016,
        3_024,
        4_032,
    )
    assert (params.peg_in, params.bond, params.challenge) == (100_000_000, 20_000_000, 5_000_000)
    assert replace(PARAMS, **{name: getattr(params, name) for name in WINDOWS}) == params, "the stories change windows"


WINDOWS = ("refund_delay", "challenge_window", "assert_window", "disprove_window", "forfeit_window")


# Blocks of the public signet.


@pytest.mark.parametrize("height", [1, 2])
def test_blocks_of_the_public_signet(height: int) -> None:
    header, transactions = parts(bytes.fromhex(FIRST_BLOCKS[height - 1]))
    assert blocks.flaw(header, transactions, height, Network.SIGNET) == ""
    assert signet.is_signed(header, transactions, signet.PUBLIC)
    for other in (BOTH_MUST_SIGN, signet.challenge_of(KEY.public)):
        assert not signet.is_signed(header, transactions, other)


def with_commitment(transactions: tuple[Transaction, ...], script: bytes) -> tuple[Transaction, ...]:
    first, *others = transactions
    outputs = (*first.outputs[:-1], replace(first.outputs[-1], script_pubkey=script))
    return (replace(first, outputs=outputs), *others)


SOLUTIONS: dict[str, Callable[[bytes], bytes]] = {
    "none": lambda script: script[:38],
    "the header alone": lambda script: script[:38] + bytes.fromhex("04ecc7daa2"),
    "a signature with a bit less": lambda script: script[:-3] + bytes([script[-3] ^ 1]) + script[-2:],
    "a byte more": lambda script: script[:39] + bytes([script[39] + 1]) + script[40:] + b"\x00",
    "a push that runs out": lambda script: script[:-1],
    "a length that runs out": lambda script: script.replace(bytes.fromhex("ecc7daa249"), bytes.fromhex("ecc7daa24f")),
    "another header": lambda script: script.replace(bytes.fromhex("ecc7daa2"), bytes.fromhex("ecc7daa3")),
    "no commitment": lambda script: script[:1] + script[38:],
    "bytes after it, unsigned": lambda script: script + b"\x01\x07",
}


@pytest.mark.parametrize("name", SOLUTIONS)
def test_what_is_no_solution(name: str) -> None:
    header, transactions = parts(bytes.fromhex(FIRST_BLOCKS[0]))
    altered = with_commitment(transactions, SOLUTIONS[name](transactions[0].outputs[-1].script_pubkey))
    assert not signet.is_signed(header, altered, signet.PUBLIC)


@pytest.mark.parametrize("place", [0, 4, 68], ids=["version", "previous block", "time"])
def test_a_solution_is_for_one_block(place: int) -> None:
    header, transactions = parts(bytes.fromhex(FIRST_BLOCKS[0]))
    altered = header[:place] + bytes([header[place] ^ 1]) + header[place + 1 :]
    assert not signet.is_signed(altered, transactions, signet.PUBLIC)


def test_a_challenge_that_anything_answers_needs_no_solution() -> None:
    header, transactions = parts(bytes.fromhex(FIRST_BLOCKS[0]))
    bare = with_commitment(transactions, transactions[0].outputs[-1].script_pubkey[:38])
    assert signet.is_signed(header, bare, b"\x51")


# An Esplora server of signet.


@pytest.fixture
def esplora(embedded: EmbeddedNode) -> Iterator[tuple[EsploraServer, str]]:
    """One that has the first two blocks of the public signet."""
    server = EsploraServer(embedded)
    raws = {hash256(raw[:80])[::-1].hex(): raw for raw in map(bytes.fromhex, FIRST_BLOCKS)}
    hashes = [GENESIS[Network.SIGNET], *raws]

    def spoil(path: str, answer: Answer) -> Answer:
        if match := re.fullmatch(r"/block-height/(\d)", path):
            return 200, hashes[int(match[1])].encode()
        if match := re.fullmatch(r"/block/(\w+)/raw", path):
            return 200, raws[match[1]]
        return answer

    server.spoil = spoil
    with server.serving() as url:
        yield server, url


def test_a_server_shows_signed_blocks(esplora: tuple[EsploraServer, str]) -> None:
    node = EsploraNode(esplora[1], Network.SIGNET)
    first, second = node.block(1), node.block(2)
    assert (first.height, second.height, second.previous) == (1, 2, first.hash)
    node.close()


def test_a_server_that_shows_what_the_signers_did_not_sign(esplora: tuple[EsploraServer, str]) -> None:
    node = EsploraNode(esplora[1], Network.SIGNET, challenge=BOTH_MUST_SIGN)
    with pytest.raises(NodeUnreachable, match=r"a block that this signet's signers have not signed$"):
        node.block(1)
    node.close()


# A signet of our own.


def test_stories(launched: LaunchedBitcoind, work: Recorded, record_property: Callable[[str, object], None]) -> None:
    """The happy story and the fraud, on blocks that the node takes because they are signed."""
    with miner(launched, work) as node:
        for raw in forgeries(node, work).values():
            with pytest.raises(NodeRejected, match=r"^block 1: bad-signet-blksig$"):
                node._submit(1, raw)
        assert node.height() == 0
        happy, fraud = play_stories(node)
        record_property(GROUND, work.missing)
        assert [step.name for step in happy.transactions][-2:] == ["HappyTake", "HappyTake fee"]
        assert happy.balances["operator"] > 0
        assert happy.balances["withdrawer"] == PARAMS.peg_in * 99 // 100
        assert [step.name for step in fraud.transactions][-1] == "Disprove"
        assert fraud.balances["challenger"] > 0
        assert fraud.balances["operator"] < -PARAMS.bond // 2
        assert fraud.burned == PARAMS.burn
        challenge = signet.challenge_of(KEY.public)
        for height in range(1, node.height() + 1):
            raw = node._raw_block(node._rpc.call("getblockhash", height), height)
            assert blocks.flaw(*parts(raw), height, Network.SIGNET) == ""
            assert signet.is_signed(*parts(raw), challenge)
            assert not signet.is_signed(*parts(raw), signet.PUBLIC)


def test_which_signet_it_is(launched: LaunchedBitcoind, work: Recorded) -> None:
    """Every signet has the same first block, so a node is asked for its challenge where it matters."""
    challenge = signet.challenge_of(KEY.public)
    BitcoindNode(launched.connect(), Network.SIGNET, challenge=challenge).close()
    with pytest.raises(
        NodeUnreachable, match=f"a signet with the challenge {challenge.hex()}, not {signet.PUBLIC.hex()}$"
    ):
        BitcoindNode(launched.connect(), Network.SIGNET, challenge=signet.PUBLIC)
    with (
        miner(launched, work, STRANGER) as node,
        pytest.raises(BadInput, match=r"^signet key: .* is not the key of this"),
    ):
        node.mine()


def test_no_nonce_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signet, "_NONCES", 2 * signet._STRIDE)
    with signet.grinding(1) as work, pytest.raises(BridgeError, match="no nonce gives this block the work"):
        work(bytes(76))


# Through the commands.


def run(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(root, list(args), catch_exceptions=False, env={"BITVM_BRIDGE_PASSPHRASE": "tests"})
    assert result.exit_code == code, result.stderr
    return result.stdout if code == 0 else result.stderr


def test_the_commands_mine_a_block(bitcoind_path: Path, tmp_path: Path) -> None:
    """From a new key to coins: one block with real work."""
    file = tmp_path / "signet.key"
    challenge = run("node", "signet-key", str(file)).strip()
    assert file.stat().st_mode & 0o777 == 0o600
    assert run("node", "signet-key", str(file)).strip() == challenge, "the key that is there is shown"
    secret = SecretKey(bytes.fromhex(file.read_text()))
    assert challenge == signet.challenge_of(secret.public).hex()
    options = (f"-signetchallenge={challenge}", ANY_AGE)
    with LaunchedBitcoind(bitcoind_path, tmp_path / "node", *options, network=Network.SIGNET) as launched:
        cookie = str(launched.datadir / "signet" / ".cookie")
        reach = (
            "--datadir",
            str(tmp_path / "data"),
            "--signet",
            "--rpcport",
            str(launched.port),
            "--rpccookiefile",
            cookie,
        )
        ours = (*reach, "--signet-challenge", challenge)
        run(*ours, "operator", "keygen")
        assert run(*ours, "node", "mine", "--to", "operator", "--signet-key", str(file)) == "1\n"
        assert json.loads(run(*ours, "--json", "node", "info"))["height"] == 1
        (coin,) = launched.node.block(1).transactions
        assert coin.outputs[0].amount == 50 * 10**8
        assert len(coin.outputs[0].script_pubkey) == len(wallet_script(secret.xonly))
        public = (*reach, "--signet-challenge", signet.PUBLIC.hex())
        assert "a signet with the challenge" in run(*public, "node", "info", code=3)
        assert "'signet' is not regtest" in run(*ours, "node", "mine", code=2)
        stranger = tmp_path / "stranger.key"
        run("node", "signet-key", str(stranger))
        assert "is not the key of this signet" in run(*ours, "node", "mine", "--signet-key", str(stranger), code=2)


@pytest.mark.parametrize("content", ["", "00", "00" * 32, "zz" * 32, "11" * 33])
def test_what_is_no_key(tmp_path: Path, content: str) -> None:
    file = tmp_path / "key"
    file.write_text(content)
    line = run("node", "signet-key", str(file), code=2)
    assert line.startswith(f"error: --signet-key: '{file}' is not a file with a secret key in hex")
    assert len(content) < 64 or content not in line


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (("node", "mine", "--signet-key", "key"), "--signet-key: 'key' is not used on signet"),
        (("--signet-challenge", "51", "node", "info"), "--signet-challenge: '51' is not used on signet"),
        (("--signet", "--signet-challenge", "", "node", "info"), "is not a script in hex"),
        (("--signet", "--signet-challenge", "5", "node", "info"), "is not a script in hex"),
        (
            ("--signet", "--esplora", "http://127.0.0.1:9", "node", "mine", "--signet-key", "key"),
            "--signet-key: 'key' is not used with bitcoind",
        ),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, args: tuple[str, ...], message: str) -> None:
    assert message in run("--datadir", str(tmp_path), *args, code=2)


@pytest.mark.sweep
def test_every_story_with_work_done_now(launched: LaunchedBitcoind) -> None:
    """Nothing recorded, keys of the day: minutes of work."""
    with signet.grinding(2) as grind, miner(launched, grind) as node:
        names = stories_of(SPEC)
        outcomes = list(play(names, node, open_stage(node), PARAMS, SPEC, lambda _, __: None))
    assert [outcome.name for outcome in outcomes] == list(names)
    assert set(STORIES) < set(names)
