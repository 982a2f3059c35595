"""The transactions of dlcspecs, signed with the keys of the file and settled by its oracle, on Core's consensus."""

import hashlib
from typing import Any

import pytest

from bitvm_bridge import secp
from bitvm_bridge.chain.kernel import verify_input, verify_inputs
from bitvm_bridge.dlc.classic import adaptor
from bitvm_bridge.dlc.classic.transactions import FundingInput, Terms
from bitvm_bridge.segwit import SIGHASH_ALL, is_p2wpkh, p2wpkh_script_code, sighash_all
from bitvm_bridge.transaction import Transaction
from tests.dlc import specs
from tests.vectors import vectors_dir

CASES = range(27)


def case(number: int) -> dict[str, Any]:
    found: dict[str, Any] = specs.load("dlc_tx_test.json")[number]
    return found


def keys(row: dict[str, Any], name: str) -> tuple[bytes, bytes]:
    """Of the offerer, of the accepter."""
    offer, accept = (bytes.fromhex(row["inputs"][who][name]) for who in ("offerParams", "acceptParams"))
    return offer, accept


def der(secret: bytes, digest: bytes) -> bytes:
    return secp.ecdsa_der(secp.ecdsa_sign(secret, digest)) + bytes([SIGHASH_ALL])


def coins(row: dict[str, Any], terms: Terms) -> list[tuple[FundingInput, list[bytes], bytes]]:
    """Each funding input with its keys, and the witness script of those that have one."""
    found = []
    for who, party in (("offerParams", terms.offerer), ("acceptParams", terms.accepter)):
        for coin, each in zip(party.inputs, row["inputs"][who]["fundingInputTxs"], strict=True):
            secrets = [bytes.fromhex(key) for key in each["inputKeys"]]
            script = b"" if is_p2wpkh(coin.witness_program) else bytes.fromhex(each["scriptWitness"])[2:]
            found.append((coin, secrets, script))
    return found


@pytest.mark.parametrize("number", CASES)
def test_the_funding_transaction_of_a_vector_is_valid(number: int) -> None:
    """P2WPKH, P2WSH, and P2WSH in P2SH; no witness is larger than the file says."""
    row = case(number)
    terms = specs.terms(row)
    tx, spent = terms.funding, [each.spent for each in terms.inputs]
    for coin, secrets, script in coins(row, terms):
        index = terms.inputs.index(coin)
        code = script or p2wpkh_script_code(coin.witness_program)
        signatures = [der(secret, sighash_all(terms.funding, index, code, coin.spent.amount)) for secret in secrets]
        own = (secp.public_key(secrets[0]),)
        tx = tx.with_witness(index, (b"", *signatures, script) if script else (*signatures, *own))
        assert len(tx.inputs[index].serialize_witness()) <= coin.max_witness_size
    assert verify_inputs(tx, spent) is None


def settled(row: dict[str, Any], terms: Terms, cet: Transaction, point: bytes, secret: bytes) -> Transaction:
    """A CET by the accepter: the offerer's adaptor signature, and the accepter's own signature."""
    offerer, accepter = keys(row, "fundingPrivKey")
    digest = terms.closing_digest(cet)
    encrypted = adaptor.encrypt(offerer, digest, point)
    assert adaptor.verify(secp.public_key(offerer), digest, point, encrypted)
    theirs = secp.ecdsa_der(adaptor.decrypt(encrypted, secret)) + bytes([SIGHASH_ALL])
    signed = {secp.public_key(offerer): theirs, secp.public_key(accepter): der(accepter, digest)}
    return cet.with_witness(0, (b"", *(signed[key] for key in sorted(signed)), terms.funding_script))


@pytest.mark.parametrize("number", CASES)
def test_the_oracle_of_a_vector_settles_it(number: int) -> None:
    """What it signed makes one CET valid, and no other."""
    row = case(number)
    terms, params = specs.terms(row), row["inputs"]["params"]
    oracle, nonce, signature = (
        bytes.fromhex(text)
        for text in (params["oracleInfo"]["publicKey"], params["oracleInfo"]["nonce"], params["oracleSignature"])
    )
    real = bytes.fromhex(params["realOutcome"])
    assert signature[:32] == nonce
    assert secp.verify(oracle, real, signature)
    valid = []
    for outcome in params["contractInfo"]:
        message = hashlib.sha256(outcome["preImage"].encode()).digest()
        assert message.hex() == outcome["outcome"]
        point = secp.add_points([secp.signature_point(nonce, oracle, message)])
        tx = settled(row, terms, terms.cet(outcome["localPayout"]), point, signature[32:])
        if verify_input(tx, 0, [terms.funding_output]):
            valid.append(message)
    assert valid == [real]


@pytest.mark.parametrize("number", CASES)
def test_the_refund_of_a_vector_is_valid(number: int) -> None:
    row = case(number)
    terms = specs.terms(row)
    digest = terms.closing_digest(terms.refund)
    signed = {secp.public_key(secret): der(secret, digest) for secret in keys(row, "fundingPrivKey")}
    witness = (b"", *(signed[key] for key in sorted(signed)), terms.funding_script)
    assert verify_input(terms.refund.with_witness(0, witness), 0, [terms.funding_output])


def test_every_file_of_the_suite_is_read() -> None:
    """A file that is added, and not tested, shows here."""
    read = {*specs.CONTRACTS, "contract_id_test.json", "dlc_fee_test.json", "dlc_fee_test_scripts.json"}
    read |= {"dlc_schnorr_test.json", "dlc_tx_test.json", "ecdsa_adaptor.json"}
    assert {path.name for path in (vectors_dir() / "dlcspecs").iterdir()} == read
