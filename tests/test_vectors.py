"""The BIPs' own vector files through this project's code: BIP340, BIP341 and BIP327."""

import csv
import json
from typing import Any

import pytest

from bitvm_bridge import secp, taproot
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import address, parse_address
from bitvm_bridge.params import Network
from bitvm_bridge.signing import musig
from bitvm_bridge.taproot import SigHash
from bitvm_bridge.transaction import Transaction, TxOut
from tests.vectors import vectors_dir


def bip327(name: str) -> Any:
    return json.loads((vectors_dir() / "bip327" / f"{name}_vectors.json").read_text())


def raw(items: list[str]) -> list[bytes]:
    return [bytes.fromhex(item) for item in items]


def test_bip340() -> None:
    """Messages of 32 bytes are signed and verified; the others are for hashes that Bitcoin never makes."""
    with (vectors_dir() / "bip340.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    ran = 0
    for row in rows:
        message = bytes.fromhex(row["message"])
        if len(message) != 32:
            continue
        ran += 1
        key, signature = bytes.fromhex(row["public key"]), bytes.fromhex(row["signature"])
        valid = row["verification result"] == "TRUE"
        assert secp.verify(key, message, signature) is valid, row["comment"]
        if row["secret key"]:
            secret, aux = bytes.fromhex(row["secret key"]), bytes.fromhex(row["aux_rand"])
            assert secp.xonly_public_key(secret) == key, row["comment"]
            assert secp.sign(secret, message, aux) == signature, row["comment"]
    assert ran == 15


def tree_parts(tree: Any) -> tuple[bytes, dict[int, tuple[bytes, list[bytes]]]]:
    """Root of a nested vector tree, and (leaf hash, path) by leaf id."""
    if isinstance(tree, dict):
        leaf = taproot.leaf_hash(bytes.fromhex(tree["script"]), tree["leafVersion"])
        return leaf, {tree["id"]: (leaf, [])}
    (left, lefts), (right, rights) = tree_parts(tree[0]), tree_parts(tree[1])
    leaves = {number: (leaf, [*path, right]) for number, (leaf, path) in lefts.items()}
    leaves |= {number: (leaf, [*path, left]) for number, (leaf, path) in rights.items()}
    return taproot.branch_hash(left, right), leaves


def leaf_versions(tree: Any) -> dict[int, int]:
    if isinstance(tree, dict):
        return {tree["id"]: tree["leafVersion"]}
    return leaf_versions(tree[0]) | leaf_versions(tree[1])


def test_bip341_script_pubkeys() -> None:
    cases = json.loads((vectors_dir() / "bip341_wallet.json").read_text())["scriptPubKey"]
    assert len(cases) == 7
    for case in cases:
        internal, tree = bytes.fromhex(case["given"]["internalPubkey"]), case["given"]["scriptTree"]
        root, leaves = tree_parts(tree) if tree else (b"", {})
        if tree:
            assert root.hex() == case["intermediary"]["merkleRoot"]
            assert [leaves[number][0].hex() for number in sorted(leaves)] == case["intermediary"]["leafHashes"]
        tweak = taproot.tap_tweak(internal, root)
        assert tweak.hex() == case["intermediary"]["tweak"]
        output, parity = secp.tweak_public_key(internal, tweak)
        assert taproot.p2tr(output).hex() == case["expected"]["scriptPubKey"]
        versions = leaf_versions(tree) if tree else {}
        blocks = [
            (bytes([versions[number] | parity]) + internal + b"".join(leaves[number][1])).hex()
            for number in sorted(leaves)
        ]
        assert blocks == case["expected"].get("scriptPathControlBlocks", [])


def test_bip341_two_leaf_tree_through_script_tree() -> None:
    """The vector tree whose shape ScriptTree builds: two leaves side by side, both of version 0xc0."""
    cases = json.loads((vectors_dir() / "bip341_wallet.json").read_text())["scriptPubKey"]
    ran = 0
    for case in cases:
        tree = case["given"]["scriptTree"]
        pair = [tree] if isinstance(tree, dict) else tree
        if not pair or not all(isinstance(leaf, dict) and leaf["leafVersion"] == 0xC0 for leaf in pair):
            continue
        ran += 1
        built = taproot.ScriptTree([(str(leaf["id"]), bytes.fromhex(leaf["script"])) for leaf in pair])
        internal = bytes.fromhex(case["given"]["internalPubkey"])
        assert built.script_pubkey(internal).hex() == case["expected"]["scriptPubKey"]
        blocks = [built.control_block(str(leaf["id"]), internal).hex() for leaf in pair]
        assert blocks == case["expected"]["scriptPathControlBlocks"]
    assert ran >= 2


def test_bip341_key_path_spending() -> None:
    (case,) = json.loads((vectors_dir() / "bip341_wallet.json").read_text())["keyPathSpending"]
    tx = Transaction.parse_hex(case["given"]["rawUnsignedTx"])
    spent = [TxOut(item["amountSats"], bytes.fromhex(item["scriptPubKey"])) for item in case["given"]["utxosSpent"]]
    for entry in case["inputSpending"]:
        given, middle = entry["given"], entry["intermediary"]
        sighash = SigHash(given["hashType"])
        message = taproot.sighash_message(tx, given["txinIndex"], spent, sighash)
        assert (b"\x00" + message).hex() == middle["sigMsg"], sighash
        digest = taproot.sighash(tx, given["txinIndex"], spent, sighash)
        assert digest.hex() == middle["sigHash"]
        secret = bytes.fromhex(given["internalPrivkey"])
        root = bytes.fromhex(given["merkleRoot"] or "")
        tweaked = secp.tweak_secret_key(secret, taproot.tap_tweak(secp.xonly_public_key(secret), root))
        assert tweaked.hex() == middle["tweakedPrivkey"]
        signature = sighash.append_to(secp.sign(tweaked, digest, bytes(32)))
        assert [signature.hex()] == entry["expected"]["witness"]


def committee_of(keys: list[bytes]) -> musig.Committee:
    return musig.Committee(tuple((f"member {index}", key) for index, key in enumerate(keys)))


def aggregate(keys: list[bytes]) -> bytes:
    """The key of exactly this order: `Committee` itself always sorts."""
    return bytes(secp.KeyAggCache(keys).pubkey_get())[1:]


def test_bip327_key_sort() -> None:
    vectors = bip327("key_sort")
    distinct = sorted(set(raw(vectors["pubkeys"])))
    assert [committee_of(distinct[::-1]).keys[name] for name in committee_of(distinct[::-1]).names] == distinct
    assert [key.hex().upper() for key in sorted(raw(vectors["pubkeys"]))] == vectors["sorted_pubkeys"]


def test_bip327_key_agg() -> None:
    vectors = bip327("key_agg")
    keys = raw(vectors["pubkeys"])
    for case in vectors["valid_test_cases"]:
        chosen = [keys[index] for index in case["key_indices"]]
        assert aggregate(chosen).hex().upper() == case["expected"]
        if len(set(chosen)) == len(chosen) and chosen == sorted(chosen):
            assert committee_of(chosen).key.hex().upper() == case["expected"]
    for case in vectors["error_test_cases"]:
        if case["error"]["type"] == "invalid_contribution":
            with pytest.raises(BadInput, match=f"member {case['error']['signer']}"):
                committee_of([keys[index] for index in case["key_indices"]])


def test_bip327_nonce_agg() -> None:
    vectors = bip327("nonce_agg")
    nonces = raw(vectors["pnonces"])
    for case in vectors["valid_test_cases"]:
        chosen = [nonces[index] for index in case["pnonce_indices"]]
        assert bytes(secp.nonce_agg(chosen)).hex().upper() == case["expected"], case.get("comment")
    keys = raw(bip327("key_agg")["pubkeys"])[:2]
    committee = committee_of(keys)
    for case in vectors["error_test_cases"]:
        chosen = {f"member {n}": {"x": nonces[index]} for n, index in enumerate(case["pnonce_indices"])}
        with pytest.raises(VerificationFailed, match=f"member {case['error']['signer']}"):
            musig.combine(committee, {"x": bytes(32)}, chosen, {name: {"x": bytes(32)} for name in chosen})


def session(keys: list[bytes], aggnonce: bytes, message: bytes) -> tuple[secp.Session, secp.KeyAggCache]:
    cache = secp.KeyAggCache(keys)
    return secp.Session(aggnonce, message, cache), cache


def test_bip327_partial_signatures_verify() -> None:
    """Expected partial signatures verify and the wrong ones do not.

    The library draws nonces itself and takes no secret nonce from outside, and signs messages of 32 bytes alone, so the
    vectors' secret nonces (and those of `nonce_gen` and `det_sign`, a mode that is not used here) cannot be fed.
    """
    vectors = bip327("sign_verify")
    keys, nonces, messages = raw(vectors["pubkeys"]), raw(vectors["pnonces"]), raw(vectors["msgs"])
    ran = 0
    cases = [(case, case["expected"], True) for case in vectors["valid_test_cases"]]
    cases += [(case, case["sig"], False) for case in vectors["verify_fail_test_cases"]]
    for case, signature, valid in cases:
        message = messages[case["msg_index"]]
        if len(message) != 32:
            continue
        ran += 1
        chosen = [nonces[index] for index in case["nonce_indices"]]
        signing, cache = session([keys[index] for index in case["key_indices"]], bytes(secp.nonce_agg(chosen)), message)
        signer = case["signer_index"]
        nonce, key = chosen[signer], keys[case["key_indices"][signer]]
        try:
            verdict = signing.partial_sig_verify(bytes.fromhex(signature), nonce, key, cache)
        except ValueError:
            verdict = False
        assert verdict is valid, case.get("comment")
    assert ran == 7


def test_bip327_aggregate_signatures() -> None:
    vectors = bip327("sig_agg")
    keys, tweaks, partials = raw(vectors["pubkeys"]), raw(vectors["tweaks"]), raw(vectors["psigs"])
    message = bytes.fromhex(vectors["msg"])
    for case in vectors["valid_test_cases"]:
        cache = secp.KeyAggCache([keys[index] for index in case["key_indices"]])
        for index, is_xonly in zip(case["tweak_indices"], case["is_xonly"], strict=True):
            (cache.pubkey_xonly_tweak_add if is_xonly else cache.pubkey_ec_tweak_add)(tweaks[index])
        signing = secp.Session(bytes.fromhex(case["aggnonce"]), message, cache)
        signature = bytes(signing.partial_sig_agg([partials[index] for index in case["psig_indices"]]))
        assert signature.hex().upper() == case["expected"]
        assert secp.verify(bytes(cache.pubkey_get())[1:], message, signature)
    for case in vectors["error_test_cases"]:
        cache = secp.KeyAggCache([keys[index] for index in case["key_indices"]])
        signing = secp.Session(bytes.fromhex(case["aggnonce"]), message, cache)
        with pytest.raises(ValueError, match=f"index {case['error']['signer']}"):
            signing.partial_sig_agg([partials[index] for index in case["psig_indices"]])


def test_bip327_tweaked_partial_signatures() -> None:
    vectors = bip327("tweak")
    keys, nonces, tweaks = raw(vectors["pubkeys"]), raw(vectors["pnonces"]), raw(vectors["tweaks"])
    for case in vectors["valid_test_cases"]:
        cache = secp.KeyAggCache([keys[index] for index in case["key_indices"]])
        for index, is_xonly in zip(case["tweak_indices"], case["is_xonly"], strict=True):
            (cache.pubkey_xonly_tweak_add if is_xonly else cache.pubkey_ec_tweak_add)(tweaks[index])
        signing = secp.Session(bytes.fromhex(vectors["aggnonce"]), bytes.fromhex(vectors["msg"]), cache)
        signer = case["signer_index"]
        key, nonce = keys[case["key_indices"][signer]], nonces[case["nonce_indices"][signer]]
        assert signing.partial_sig_verify(bytes.fromhex(case["expected"]), nonce, key, cache), case.get("comment")
    for case in vectors["error_test_cases"]:
        cache = secp.KeyAggCache([keys[index] for index in case["key_indices"]])
        with pytest.raises(ValueError, match="tweak"):
            cache.pubkey_ec_tweak_add(tweaks[case["tweak_indices"][0]])


def test_bip350_address_round_trip_of_bip341_outputs() -> None:
    cases = json.loads((vectors_dir() / "bip341_wallet.json").read_text())["scriptPubKey"]
    for case in cases:
        script = bytes.fromhex(case["expected"]["scriptPubKey"])
        assert parse_address(address(script, Network.SIGNET), Network.SIGNET) == script
        with pytest.raises(BadInput, match="mainnet"):
            parse_address(case["expected"]["bip350Address"], Network.REGTEST)
