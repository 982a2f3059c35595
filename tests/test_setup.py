"""Public inputs of deposits and instances: the same after JSON, and refused by name where they are wrong."""

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from bitvm_bridge import secp
from bitvm_bridge.documents import decode, encode
from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Network, Params
from bitvm_bridge.program import HashChainSpec
from bitvm_bridge.protocol import Instance, Request
from bitvm_bridge.setup import DepositDocument, DepositSetup, InstanceSetup, bind, split_bundles
from bitvm_bridge.signing.musig import Committee
from bitvm_bridge.transaction import OutPoint
from scripts_tapleaf import winternitz
from scripts_tapleaf.script import ScriptError
from tests import builders
from tests.builders import PLAIN, WITH_COUNCIL, deposit_setup, instance_setup

NO_POINT = bytes(31) + b"\x05"
KEY = secp.xonly_public_key(b"\x09" * 32)
TXID = "00" * 31 + "2a"


def document(setup: InstanceSetup | None = None) -> Any:
    return json.loads((setup or instance_setup()).to_json())


@pytest.mark.parametrize("program", ["hash-chain:1:1", "hash-chain:4:1", "hash-chain:14:2"])
@pytest.mark.parametrize(
    "params", [PLAIN, WITH_COUNCIL, Params.default(Network.SIGNET)], ids=["plain", "council", "signet"]
)
def test_instance_round_trip(program: str, params: Params) -> None:
    setup = instance_setup(program, params)
    text = setup.to_json()
    again = InstanceSetup.from_json(text)
    assert again == setup
    assert again.to_json() == text
    assert (again.id, again.graph.vault) == (setup.id, setup.graph.vault)


@pytest.mark.parametrize("params", [PLAIN, WITH_COUNCIL], ids=["plain", "council"])
def test_deposit_round_trip(params: Params) -> None:
    setup = deposit_setup(params)
    text = encode(setup.document())
    again = DepositSetup.from_document(decode(text, DepositDocument, "deposit"))
    assert again == setup
    assert encode(again.document()) == text
    assert again.graph["PegIn"].tx == setup.graph["PegIn"].tx


def test_documents_hold_nothing_secret() -> None:
    text = instance_setup().to_json().decode()
    secrets = [seed.reveal() for seed in (*builders.SEEDS.values(), *builders.MEMBERS.values())]
    secrets += [builders.wallet_key(role).reveal() for role in Role]
    secrets.append(builders.SEEDS[Role.OPERATOR].winternitz_seed())
    assert not [secret for secret in secrets if secret.hex() in text]


def test_id_is_known_before_the_one_time_keys_and_binds_all_else() -> None:
    setup = instance_setup()
    assert bind(setup.deposit, setup.operator, setup.spec) == setup.id
    others = [
        bind(setup.deposit, KEY, setup.spec),
        bind(setup.deposit, setup.operator, HashChainSpec(4, 2)),
        bind(deposit_setup(outpoint=OutPoint(b"\xd3" * 32, 0)), setup.operator, setup.spec),
        bind(deposit_setup(WITH_COUNCIL), setup.operator, setup.spec),
        bind(deposit_setup(Params.default(Network.SIGNET)), setup.operator, setup.spec),
    ]
    assert len({setup.id, *others}) == 1 + len(others)


def test_order_of_members_does_not_change_the_key() -> None:
    committee = deposit_setup().committee
    turned = Committee(committee.members[::-1])
    assert (turned.key, turned.names) == (committee.key, committee.names)
    assert replace(deposit_setup(), committee=turned).graph["PegIn"].tx == deposit_setup().graph["PegIn"].tx


@pytest.mark.parametrize("count", [0, 1, 12, 13, 14, 26, 27])
def test_bundles_are_filled_in_order(count: int) -> None:
    size = winternitz.bundle_capacity(160)
    keys = (instance_setup().keys * 7)[:count]
    bundles = split_bundles(keys)
    assert [key for bundle in bundles for key in bundle] == list(keys)
    assert [len(bundle) for bundle in bundles[:-1]] == [size] * (len(bundles) - 1)
    assert all(1 <= len(bundle) <= size for bundle in bundles)


@pytest.mark.parametrize(
    ("widths", "sizes"),
    [
        ([256] * 8, [8]),
        ([256] * 9, [8, 1]),
        ([256] * 8 + [160], [8, 1]),
        ([256] * 7 + [160] * 3, [9, 1]),
        ([256] + [160] * 20, [12, 9]),
        ([160] * 13 + [256], [13, 1]),
        ([160] * 12 + [256], [12, 1]),
        ([160] * 11 + [256] * 2, [12, 1]),
    ],
)
def test_bundles_of_two_widths_hold_what_one_leaf_checks(widths: list[int], sizes: list[int]) -> None:
    keys = tuple(some_key(bits) for bits in widths)
    bundles = split_bundles(keys)
    assert [len(bundle) for bundle in bundles] == sizes
    assert [key for bundle in bundles for key in bundle] == list(keys)
    for bundle, following in pairwise(bundles):
        winternitz.check_script(bundle)
        with pytest.raises(ScriptError, match=r"^check_script: \d+ signatures, expected"):
            winternitz.check_script((*bundle, following[0]))


@cache
def some_key(bits: int) -> winternitz.PublicKey:
    return winternitz.public_key(winternitz.derive_secret(bytes(32), bytes(32), 0, bits))


@pytest.mark.parametrize("count", [0, 1, 3, 5])
def test_number_of_one_time_keys_must_be_that_of_the_values(count: int) -> None:
    with pytest.raises(BadInput, match=f"^Winternitz keys: '{count}' is not 4, one for each committed value"):
        replace(instance_setup(), keys=(instance_setup().keys * 2)[:count])


REQUESTS: dict[str, tuple[Callable[[], object], str]] = {
    "depositor no point": (lambda: Request(PLAIN, NO_POINT, b"r"), "depositor key"),
    "depositor compressed": (lambda: Request(PLAIN, b"\x02" + KEY, b"r"), "depositor key"),
    "no receiver": (lambda: Request(PLAIN, KEY, b""), "receiver"),
    "long receiver": (lambda: Request(PLAIN, KEY, bytes(521)), "receiver"),
    "operator no point": (lambda: replace(instance_setup(), operator=NO_POINT).instance, "operator key"),
    "claim is the deposit": (lambda: instance_setup(claim=builders.DEPOSIT_OUTPOINT).instance, "claim"),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_bad_values(name: str) -> None:
    make, field = REQUESTS[name]
    with pytest.raises(BadInput) as caught:
        make()
    assert caught.value.field == field


def test_longest_receiver() -> None:
    setup = DepositSetup(Request(PLAIN, KEY, bytes(520)), deposit_setup().committee, builders.DEPOSIT_OUTPOINT)
    assert DepositSetup.from_document(setup.document()) == setup


def member(index: int, **changes: str) -> Callable[[Any], object]:
    return lambda of: of["deposit"]["members"][index].update(changes)


def deposit(**changes: Any) -> Callable[[Any], object]:
    return lambda of: of["deposit"].update(changes)


def top(**changes: Any) -> Callable[[Any], object]:
    return lambda of: of.update(changes)


def one_time_key(change: Callable[[str], str]) -> Callable[[Any], object]:
    return lambda of: of["keys"].__setitem__(2, change(of["keys"][2]))


DOCUMENTS: dict[str, tuple[Callable[[Any], object], str]] = {
    "newer version": (top(version=2), "document version: '2' is not version 1"),
    "older version": (top(version=0), "document version: '0' is not version 1"),
    "newer deposit": (deposit(version=2), "document version: '2' is not version 1"),
    "version as text": (top(version="1"), "instance: "),
    "unknown field": (top(fee=1), "instance: .*unknown field `fee`"),
    "unknown field of the deposit": (deposit(fee=1), "instance: .*unknown field `fee`"),
    "unknown field of a member": (member(0, role="x"), "instance: .*unknown field `role`"),
    "unknown parameter": (lambda of: of["deposit"]["params"].update(fee=1), "params: "),
    "parameter missing": (lambda of: of["deposit"]["params"].pop("bond"), "params: "),
    "parameter out of bounds": (lambda of: of["deposit"]["params"].update(peg_in=1), "peg_in: '1'"),
    "field missing": (lambda of: of.pop("claim"), "instance: .*missing required field `claim`"),
    "null": (top(operator=None), "instance: "),
    "operator no hex": (top(operator="xy" * 32), "operator key: .* is not hex"),
    "operator short": (top(operator=KEY[:31].hex()), "operator key: .* is not 32 bytes in hex"),
    "operator compressed": (top(operator="02" + KEY.hex()), "operator key: .* is not 32 bytes in hex"),
    "depositor short": (deposit(depositor="00"), "depositor key: '00' is not 32 bytes in hex"),
    "depositor no point": (deposit(depositor=NO_POINT.hex()), "depositor key: .* is not an x-only public key"),
    "receiver empty": (deposit(receiver=""), "receiver: '' is not 1 to 520 bytes"),
    "receiver no hex": (deposit(receiver="0"), "receiver: '0' is not hex"),
    "receiver long": (deposit(receiver="00" * 521), "receiver: .* is not 1 to 520 bytes"),
    "no member": (deposit(members=[]), "committee: '0' is not 1 to 100 members"),
    "member x-only": (member(1, key=KEY.hex()), "key of member 'bob': .* is not 33 bytes in hex"),
    "member no point": (member(1, key="02" + NO_POINT.hex()), "key of member 'bob': .* is not a compressed public key"),
    "member uncompressed prefix": (member(1, key="04" + KEY.hex()), "key of member 'bob': .* compressed"),
    "two members of one name": (member(1, name="alice"), "committee names: "),
    "two members of one key": (
        lambda of: of["deposit"]["members"][1].update(key=of["deposit"]["members"][0]["key"]), "committee keys: "
    ),
    "outpoint without index": (deposit(outpoint=TXID), "deposit outpoint: "),
    "outpoint with a short txid": (deposit(outpoint=f"{TXID[2:]}:0"), "deposit outpoint: "),
    "outpoint below zero": (deposit(outpoint=f"{TXID}:-1"), "deposit outpoint: "),
    "claim index too large": (top(claim=f"{TXID}:4294967296"), "claim: "),
    "claim no hex": (top(claim=f"{'zz' * 32}:0"), "claim: "),
    "claim with a second colon": (top(claim=f"{TXID}:0:0"), "claim: "),
    "claim with other digits": (top(claim=f"{TXID}:٣"), "claim: "),
    "program unknown": (top(program="groth17"), "program: 'groth17' is not one of hash-chain"),
    "program too long": (top(program="hash-chain:4097:1"), "hash chain length: '4097'"),
    "program of no rounds": (top(program="hash-chain:4:0"), "hash chain rounds: '0'"),
    "program of nonsense": (top(program="hash-chain:4:1:1"), "program: "),
    "one-time key no hex": (one_time_key(lambda key: "x" + key[1:]), "Winternitz key 2: .* is not hex"),
    "one-time key short": (one_time_key(lambda key: key[:-2]), "Winternitz key 2: .* is not a Winternitz public key"),
    "one-time key long": (one_time_key(lambda key: key + "00" * 20), "Winternitz key 2: .* is not a Winternitz"),
    "one-time key empty": (one_time_key(lambda _: ""), "Winternitz key 2: "),
    "one-time keys too few": (lambda of: of["keys"].pop(), "Winternitz keys: '3' is not 4"),
    "one-time keys too many": (lambda of: of["keys"].append(of["keys"][0]), "Winternitz keys: '5' is not 4"),
}  # fmt: skip


@pytest.mark.parametrize("name", DOCUMENTS)
def test_bad_documents(name: str) -> None:
    change, message = DOCUMENTS[name]
    changed = document()
    change(changed)
    with pytest.raises(BadInput, match=f"^{message}"):
        _ = InstanceSetup.from_json(json.dumps(changed)).instance


@pytest.mark.parametrize("part", range(40))
def test_truncated_text(part: int) -> None:
    text = instance_setup("hash-chain:1:1").to_json().rstrip()
    with pytest.raises(BadInput, match=r"^instance: "):
        InstanceSetup.from_json(text[: len(text) * part // 40])


@pytest.mark.parametrize("text", ["", "null", "[]", "1", '"x"', "{}", "{" * 10_000])
def test_what_is_no_document(text: str) -> None:
    with pytest.raises(BadInput, match=r"^instance: "):
        InstanceSetup.from_json(text)


def test_bytes_that_are_no_text() -> None:
    for raw in (b"\xff", b'{"version": "\xff"}', bytes(10)):
        with pytest.raises(BadInput, match=r"^instance: "):
            InstanceSetup.from_json(raw)


def test_every_single_value_of_a_document_matters() -> None:
    """Whichever leaf of the JSON becomes another value of its type: refused, or another setup."""
    original = instance_setup("hash-chain:2:1", WITH_COUNCIL)
    text = document(original)
    for path in paths(text):
        changed = json.loads(json.dumps(text))
        *above, last = path
        holder = changed
        for step in above:
            holder = holder[step]
        holder[last] = another(holder[last])
        try:
            found = InstanceSetup.from_document(msgspec.convert(changed, type(original.document())))
        except (BridgeError, msgspec.ValidationError):
            continue
        assert found != original, path


def paths(value: Any) -> list[list[Any]]:
    """Where the leaves of a JSON value are."""
    if isinstance(value, dict):
        return [[key, *rest] for key in value for rest in paths(value[key])]
    if isinstance(value, list):
        return [[index, *rest] for index in range(len(value)) for rest in paths(value[index])]
    return [[]]


def another(value: Any) -> Any:
    """A value of the same type."""
    if isinstance(value, int):
        return value + 1
    return value[:-1] + ("1" if value[-1] != "1" else "2")


def test_graph_of_an_instance_holds_the_deposit() -> None:
    setup = instance_setup()
    assert isinstance(setup.instance, Instance)
    for name, item in setup.deposit.graph.txs.items():
        assert setup.graph[name].tx == item.tx
