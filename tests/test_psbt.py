"""PSBTs: strict reading of both versions, and signatures of another wallet that are checked before they are used."""

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from embit.psbt import PSBT
from hypothesis import given
from hypothesis import strategies as st

from bitvm_bridge import external, keyring, psbt
from bitvm_bridge.chain.kernel import verify_inputs
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.external import ask, check_signature, take, wanted
from bitvm_bridge.keys import ExternalKey, KeyOrigin, Role, SecretKey
from bitvm_bridge.protocol import connectors, wallet_script
from bitvm_bridge.psbt import Psbt
from bitvm_bridge.roles import operator
from bitvm_bridge.taproot import NUMS_KEY, SigHash
from bitvm_bridge.transaction import SEQUENCE_RBF, OutPoint, Transaction, TxIn, TxOut, compact_size
from bitvm_bridge.wallet import Funded
from tests import builders
from tests.core_wallet import ACCOUNT, DESCRIPTOR, MASTER, ORIGIN, XPRV

SECRET = builders.wallet_key(Role.DEPOSITOR)
STRANGER = builders.wallet_key(Role.CHALLENGER)
KEY = ExternalKey(SECRET.xonly, KeyOrigin(b"\xd3\x4d\xb3\x3f", (2**31 + 86, 5)))
COIN = TxOut(90_000, wallet_script(SECRET.xonly))


def refund() -> Funded:
    """PegInRefund with a wallet coin behind it: both inputs lack a signature of the depositor."""
    declared = builders.deposit_setup().graph["PegInRefund"]
    (entry,) = declared.inputs
    tx = declared.completed(
        [TxIn(OutPoint(b"\x77" * 32, 1), SEQUENCE_RBF, witness=(bytes(64),))],
        [TxOut(100_000_000, wallet_script(SECRET.xonly)), TxOut(50_000, wallet_script(STRANGER.xonly))],
    )
    return Funded(tx.with_witness(0, entry.witness([bytes(64)])), (*declared.spent, COIN))


def answer(question: Psbt, funded: Funded, key: SecretKey = SECRET, sighash: SigHash | None = None) -> Psbt:
    """What the wallet of a key puts in, by leaf or by key path."""
    inputs = list(question.inputs)
    for item in wanted(funded):
        chosen = replace(item, sighash=item.sighash if sighash is None else sighash)
        digest = chosen.digest(funded)
        signature = key.sign_key_path(digest) if item.leaf is None else key.sign(digest)
        field = psbt.TAP_KEY_SIG if item.leaf_hash is None else psbt.TAP_SCRIPT_SIG + SECRET.xonly + item.leaf_hash
        inputs[item.index] = {**inputs[item.index], field: chosen.sighash.append_to(signature)}
    return replace(question, inputs=tuple(inputs))


def finalised(signed: Psbt, funded: Funded) -> Psbt:
    """The same with witnesses in the place of signatures, as a finaliser leaves it."""
    inputs = []
    for index, fields in enumerate(signed.inputs):
        (signature,) = [value for key, value in fields.items() if key[:1] in (psbt.TAP_KEY_SIG, psbt.TAP_SCRIPT_SIG)]
        items = (signature, *funded.tx.inputs[index].witness[1:])
        raw = compact_size(len(items)) + b"".join(compact_size(len(item)) + item for item in items)
        inputs.append({psbt.WITNESS_UTXO: fields[psbt.WITNESS_UTXO], psbt.FINAL_WITNESS: raw})
    return replace(signed, inputs=tuple(inputs))


# What a wallet is asked.


def test_a_question_has_what_a_wallet_needs() -> None:
    funded = refund()
    question = ask(funded, [KEY])
    (leaf, _) = wanted(funded)
    assert leaf.leaf is not None
    script, control = leaf.leaf
    tree = builders.deposit_setup().graph["PegInRefund"].inputs[0].source.connector
    assert tree is not None
    refunding, coin = question.inputs
    origin = bytes.fromhex("d34db33f") + (2**31 + 86).to_bytes(4, "little") + (5).to_bytes(4, "little")
    assert refunding == {
        psbt.WITNESS_UTXO: funded.spent[0].serialize(),
        psbt.TAP_INTERNAL_KEY: NUMS_KEY,
        psbt.TAP_MERKLE_ROOT: tree.tree.root,
        psbt.TAP_LEAF_SCRIPT + control: script + b"\xc0",
        psbt.TAP_DERIVATION + KEY.xonly: b"\x01" + tree.tree.leaf_hash("refund") + origin,
    }
    assert coin == {
        psbt.WITNESS_UTXO: COIN.serialize(),
        psbt.TAP_INTERNAL_KEY: KEY.xonly,
        psbt.TAP_DERIVATION + KEY.xonly: b"\x00" + origin,
    }
    own, others = question.outputs
    assert own == {psbt.OUT_TAP_INTERNAL_KEY: KEY.xonly, psbt.OUT_TAP_DERIVATION + KEY.xonly: b"\x00" + origin}
    assert others == {}
    assert not any(txin.witness for txin in question.tx.inputs)


def test_the_deposit_output_shows_its_leaves() -> None:
    connector = connectors.deposit(builders.deposit_setup().deposit)
    tx = Transaction(
        2,
        (TxIn(OutPoint(b"\x77" * 32, 1), SEQUENCE_RBF, witness=(bytes(64),)),),
        (TxOut(connector.amount, connector.script_pubkey),),
    )
    (fields,) = ask(Funded(tx, (COIN,)), [KEY], [connector]).outputs
    assert fields[psbt.OUT_TAP_INTERNAL_KEY] == NUMS_KEY
    leaves = [b"\x01\xc0" + compact_size(len(leaf.script)) + leaf.script for leaf in connector.named]
    assert fields[psbt.OUT_TAP_TREE] == b"".join(leaves)
    own = connector.tree.leaf_hash("refund")
    assert fields[psbt.OUT_TAP_DERIVATION + KEY.xonly] == b"\x01" + own + KEY.origin.serialized


def test_another_library_reads_a_question() -> None:
    question = ask(refund(), [KEY])
    other = PSBT.parse(question.serialize())
    assert other.tx.serialize() == question.tx.serialize_base()
    assert other.inputs[0].witness_utxo.value == 100_000_000
    assert other.serialize() == PSBT.parse(b64decode(question.to_base64())).serialize()
    assert Psbt.parse(other.serialize()) == question


# What comes back.


@pytest.mark.parametrize("finish", [lambda signed, _: signed, finalised], ids=["signed", "finalised"])
def test_signatures_are_taken(finish: Callable[[Psbt, Funded], Psbt]) -> None:
    funded = refund()
    signed = finish(answer(ask(funded, [KEY]), funded), funded)
    done = take(Psbt.parse(signed.to_base64().encode()), funded, KEY.xonly)
    assert done.tx.txid == funded.tx.txid
    assert not wanted(done)
    assert verify_inputs(done.tx, done.spent) is None


def test_a_sighash_type_is_asked_for_and_checked() -> None:
    setup = builders.instance_setup()
    funded = operator.unsigned_challenge(setup)
    secret = builders.wallet_key(Role.OPERATOR)
    question = ask(funded, [ExternalKey(secret.xonly, KeyOrigin(bytes(4)))])
    assert question.inputs[0][psbt.SIGHASH_TYPE] == b"\x83\0\0\0"
    (item,) = wanted(funded)
    assert item.digest(funded) == setup.graph["Challenge"].digest("challenge")
    good = b"".join((secret.sign(item.digest(funded)), b"\x83"))
    check_signature(item, funded, secret.xonly, good)
    for signature, reason in (
        (good[:64], "sighash type 0x00, expected 0x83"),
        (good[:64] + b"\x01", "sighash type 0x01, expected 0x83"),
        (good[:63], "63 bytes, expected 64, or 65 with a sighash type"),
        (good[:64] + b"\x00", "65 bytes, expected 64, or 65 with a sighash type"),
        (b"", "0 bytes, expected 64, or 65 with a sighash type"),
        (bytes([good[0] ^ 1]) + good[1:], f"not one of key {secret.xonly.hex()} for this transaction"),
    ):
        with pytest.raises(VerificationFailed, match=rf"^PSBT: input 0, signature: {reason}$"):
            check_signature(item, funded, secret.xonly, signature)


def refused(signed: Psbt, funded: Funded) -> str:
    """Why a PSBT is refused."""
    with pytest.raises(VerificationFailed) as caught:
        take(Psbt.parse(signed.serialize()), funded, KEY.xonly)
    return str(caught.value)


def test_a_missing_signature_is_named() -> None:
    funded = refund()
    signed = answer(ask(funded, [KEY]), funded)
    for index in range(2):
        bare = tuple(ask(funded, [KEY]).inputs[i] if i == index else fields for i, fields in enumerate(signed.inputs))
        assert refused(replace(signed, inputs=bare), funded) == (
            f"PSBT: input {index}, signature: none of key {KEY.xonly.hex()}"
        )


def test_a_wrong_key_is_named() -> None:
    funded = refund()
    reason = refused(answer(ask(funded, [KEY]), funded, STRANGER), funded)
    assert reason == f"PSBT: input 0, signature: not one of key {KEY.xonly.hex()} for this transaction"


@pytest.mark.parametrize("sighash", [SigHash.ALL, SigHash.NONE, SigHash.SINGLE, SigHash.ALL_ANYONECANPAY])
def test_a_wrong_sighash_type_is_named(sighash: SigHash) -> None:
    funded = refund()
    reason = refused(answer(ask(funded, [KEY]), funded, sighash=sighash), funded)
    assert reason == f"PSBT: input 0, signature: sighash type {int(sighash):#04x}, expected 0x00"


OTHER = OutPoint(b"\x66" * 32, 0)
CHANGES: Mapping[str, tuple[Callable[[Transaction], Transaction], str]] = {
    "version": (lambda tx: replace(tx, version=3), "version: 3, expected 2"),
    "lock time": (lambda tx: replace(tx, lock_time=7), "lock time: 7, expected 0"),
    "sequence": (
        lambda tx: replace(tx, inputs=(tx.inputs[0], replace(tx.inputs[1], sequence=0))),
        f"input 1, sequence: 0, expected {SEQUENCE_RBF}",
    ),
    "outpoint": (
        lambda tx: replace(tx, inputs=(replace(tx.inputs[0], outpoint=OTHER), tx.inputs[1])),
        f"input 0, outpoint: {OTHER}, expected {builders.DEPOSIT_OUTPOINT}",
    ),
    "input more": (
        lambda tx: replace(tx, inputs=(*tx.inputs, TxIn(OTHER))),
        "number of inputs: 3, expected 2",
    ),
    "input less": (lambda tx: replace(tx, inputs=tx.inputs[:1]), "number of inputs: 1, expected 2"),
    "amount": (
        lambda tx: replace(tx, outputs=(tx.outputs[0], replace(tx.outputs[1], amount=50_001))),
        "output 1, amount: 50001, expected 50000",
    ),
    "script": (
        lambda tx: replace(tx, outputs=(replace(tx.outputs[0], script_pubkey=b"\x51"), tx.outputs[1])),
        f"output 0, script: 51, expected {wallet_script(KEY.xonly).hex()}",
    ),
    "output more": (
        lambda tx: replace(tx, outputs=(*tx.outputs, TxOut(1, b"\x51"))),
        "number of outputs: 3, expected 2",
    ),
    "output less": (lambda tx: replace(tx, outputs=tx.outputs[:1]), "number of outputs: 1, expected 2"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_another_transaction_is_refused_though_it_is_signed(what: str) -> None:
    change, reason = CHANGES[what]
    ours = refund()
    theirs = replace(ours, tx=change(ours.tx))
    if len(theirs.tx.inputs) != len(theirs.spent):
        theirs = replace(theirs, spent=(*theirs.spent, COIN)[: len(theirs.tx.inputs)])
    signed = answer(ask(theirs, [KEY]), theirs)
    assert refused(signed, ours) == f"PSBT: {reason}"


def test_nothing_else_of_a_psbt_is_used() -> None:
    funded = refund()
    signed = answer(ask(funded, [KEY]), funded)
    other = (
        {**signed.inputs[0], psbt.WITNESS_UTXO: TxOut(1, b"\x51").serialize(), b"\xfc\x01": b"junk"},
        signed.inputs[1],
    )
    assert take(replace(signed, inputs=other), funded, KEY.xonly) == take(signed, funded, KEY.xonly)


def test_a_final_witness_by_another_leaf_is_no_signature() -> None:
    funded = refund()
    signed = finalised(answer(ask(funded, [KEY]), funded), funded)
    raw = signed.inputs[0][psbt.FINAL_WITNESS]
    for changed in (raw[:-1] + bytes([raw[-1] ^ 1]), b"\x00"):
        reason = refused(replace(signed, inputs=({psbt.FINAL_WITNESS: changed}, signed.inputs[1])), funded)
        assert reason == f"PSBT: input 0, signature: none of key {KEY.xonly.hex()}"
    with pytest.raises(BadInput, match=r"^PSBT input 0 witness: "):
        take(replace(signed, inputs=({psbt.FINAL_WITNESS: raw[:-1]}, signed.inputs[1])), funded, KEY.xonly)


def test_which_key_can_sign() -> None:
    funded = refund()
    assert external.can_sign(SECRET.xonly, funded)
    assert not external.can_sign(STRANGER.xonly, funded)


# Reading.


def version_2(signed: Psbt) -> bytes:
    """The same as version 2 (BIP370), written by another library."""
    other = PSBT.parse(signed.serialize())
    other.version = 2
    return bytes(other.serialize())


def test_version_2_is_read() -> None:
    funded = refund()
    signed = answer(ask(funded, [KEY]), funded)
    read = Psbt.parse(version_2(signed))
    assert read.tx == signed.tx
    assert take(read, funded, KEY.xonly) == take(signed, funded, KEY.xonly)


def test_what_version_2_may_not_say() -> None:
    raw = version_2(ask(refund(), [KEY]))
    count = raw.index(bytes.fromhex("01040102"))
    for changed, reason in (
        (raw[:count] + bytes.fromhex("010403fd0201") + raw[count + 4 :], "more than 252 inputs or outputs"),
        (raw[:count] + bytes.fromhex("01040102") * 2 + raw[count + 4 :], "field 04 twice"),
        (raw[:count] + raw[count + 4 :], "field 04 is missing or of a wrong size"),
        (raw.replace(bytes.fromhex("01fb0402000000"), bytes.fromhex("01fb0401000000")), "version 1"),
        (
            raw.replace(bytes.fromhex("010f04"), bytes.fromhex("01120401000000010f04"), 1),
            "input 0 requires a lock time",
        ),
    ):
        assert changed != raw
        with pytest.raises(BadInput, match=rf"is not a PSBT in base64 or binary \({reason}\)$"):
            Psbt.parse(changed)


def test_a_signed_transaction_inside_is_refused() -> None:
    funded = refund()
    raw = funded.tx.serialize()
    for inside, reason in (
        (raw, "a transaction that is signed already"),
        (raw[:-1], r"a transaction \(truncated.*\)"),
    ):
        text = psbt.MAGIC + b"\x01\x00" + compact_size(len(inside)) + inside + b"\x00" * 5
        with pytest.raises(BadInput, match=rf"is not a PSBT in base64 or binary \({reason}\)$"):
            Psbt.parse(text)


@pytest.mark.parametrize("raw", [b"", b"psbt", b"cHNidP8=", b"70736274ff", b"\xff" * 9, "üß".encode()])
def test_no_psbt(raw: bytes) -> None:
    with pytest.raises(BadInput, match=r"^file: .* is not a PSBT in base64 or binary \("):
        Psbt.parse(raw, "file")


def test_every_cut_and_what_follows_is_refused() -> None:
    for raw in (ask(refund(), [KEY]).serialize(), version_2(ask(refund(), [KEY]))):
        for size in range(len(raw)):
            with pytest.raises(BadInput):
                Psbt.parse(b64encode(raw[:size]))
        with pytest.raises(BadInput, match="1 bytes left over"):
            Psbt.parse(raw + b"\x00")


@given(st.data())
def test_junk_is_refused_in_one_way(data: st.DataObject) -> None:
    raw = bytearray(data.draw(st.sampled_from([ask(refund(), [KEY]).serialize(), version_2(ask(refund(), [KEY]))])))
    for position in data.draw(st.lists(st.integers(5, len(raw) - 1), max_size=4)):
        raw[position] = data.draw(st.integers(0, 255))
    try:
        found = Psbt.parse(bytes(raw))
    except BadInput:
        return
    assert Psbt.parse(found.serialize()).tx == found.tx


# Keys of another wallet.


def test_a_key_by_descriptor() -> None:
    for index in (0, 7):
        key = keyring.parse_external(DESCRIPTOR, index)
        child = MASTER.derive(f"{ACCOUNT}/0/{index}")
        assert key.xonly == child.xonly()
        hardened = (2**31 + 86, 2**31 + 1, 2**31)
        assert key.origin == KeyOrigin(MASTER.my_fingerprint, (*hardened, 0, index))
    assert keyring.parse_external(f" {DESCRIPTOR.partition('#')[0]} ") == keyring.parse_external(DESCRIPTOR)


def test_a_key_in_hex() -> None:
    key = keyring.parse_external(SECRET.xonly.hex())
    assert key.xonly == SECRET.xonly
    assert key == keyring.parse_external(f"tr({SECRET.xonly.hex()})")
    assert key.origin.path == ()
    assert len(key.origin.fingerprint) == 4
    assert keyring.parse_external(f"tr({ORIGIN}{SECRET.xonly.hex()})").origin.fingerprint == MASTER.my_fingerprint


PUBLIC = XPRV.to_public().to_base58()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        "ff" * 32,
        "tr(",
        "tr()",
        f"wpkh({ORIGIN}{PUBLIC}/0/*)",
        f"tr({ORIGIN}{PUBLIC}/0h/*)",
        f"tr([zz/86h]{PUBLIC}/0/*)",
        f"tr({PUBLIC}/0/*,pk({SECRET.xonly.hex()}))",
        f"tr({PUBLIC[:-1]}/0/*)",
        f"tr({PUBLIC.replace('tpub', 'xpub')}/0/*)",
        f"{DESCRIPTOR[:-1]}#",
        f"tr({PUBLIC}/0/*)#",
        "tr(é)",
    ],
)
def test_no_external_key(text: str) -> None:
    with pytest.raises(BadInput, match=r"^--external: "):
        keyring.parse_external(text, field="--external")


def test_a_mainnet_key_is_refused() -> None:
    from embit.networks import NETWORKS

    public = XPRV.to_public()
    public.version = NETWORKS["main"]["xpub"]
    with pytest.raises(BadInput, match="a public key of a testnet"):
        keyring.parse_external(f"tr({public.to_base58()}/0/*)")


def test_a_private_key_is_refused_and_not_shown() -> None:
    wif = XPRV.key.wif(None)
    for secret in (XPRV.to_base58(), wif):
        for text in (f"tr({secret})", f"tr({secret}/0/*)", secret, f"wpkh({secret})", f"tr({secret})#aaaaaaaa"):
            with pytest.raises(BadInput) as caught:
                keyring.parse_external(text)
            assert secret not in str(caught.value)
