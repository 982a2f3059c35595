"""What is no key, proof or list of public inputs is refused in one line that says why."""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats import (
    decode_key,
    decode_proof,
    encode_key,
    encode_proof,
    read_key,
    read_proof,
    read_public,
)
from bitvm_bridge.program.groth16.native.curve import G2, G2_B, g2_is_in_subgroup, g2_is_on_curve
from bitvm_bridge.program.groth16.native.field import P, R, fq2_add, fq2_mul, fq2_sqrt, fq2_square
from bitvm_bridge.program.groth16.native.verifier import VerifyingKey
from tests.groth16.provers import (
    ALL,
    ARKWORKS,
    ARKWORKS_UNCOMPRESSED,
    BINARY,
    GNARK,
    GNARK_RAW,
    SNARKJS,
    WITH_Y,
    Prover,
    RawKey,
    fixture,
    raw_key,
    raw_proof,
    snarkjs_key,
    snarkjs_proof,
)

KEY = read_key(fixture("factors", "verification_key.json"))
PROOF = read_proof(fixture("factors", "other.proof.json"))
INPUTS = read_public(fixture("factors", "other.public.json"))
RAW_KEY = raw_key(KEY)
RAW_PROOF = raw_proof(PROOF)
OFF_G1 = (1, 3)
OFF_G2 = ((1, 0), (1, 0))


def _outside() -> G2:
    """A point of the twist that is not in the subgroup."""
    for c in range(100):
        x = (c, 1)
        y = fq2_sqrt(fq2_add(fq2_mul(fq2_square(x), x), G2_B))
        if y is not None:
            return x, y
    raise RuntimeError("no point found")


OUTSIDE = _outside()


def refusal(read: Callable[[bytes], object], data: bytes) -> str:
    """The message of a refusal, which is one line."""
    with pytest.raises(BadInput) as caught:
        read(data)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_the_point_outside_is_on_the_twist() -> None:
    assert g2_is_on_curve(OUTSIDE)
    assert not g2_is_in_subgroup(OUTSIDE)


def _id(value: object) -> str:
    return str(getattr(value, "name", ""))


# Points.

G1_OF_KEY = ("alpha", "ic")
G2_OF_KEY = ("beta", "gamma", "delta")


def _key_with(name: str, point: Any) -> RawKey:
    return replace(RAW_KEY, **{name: (RAW_KEY.ic[0], point, RAW_KEY.ic[2]) if name == "ic" else point})


def _label(name: str) -> str:
    return "ic[1]" if name == "ic" else name


@pytest.mark.parametrize("prover", WITH_Y, ids=_id)
def test_points_off_the_curve(prover: Prover) -> None:
    for name in G1_OF_KEY:
        message = refusal(read_key, prover.key(_key_with(name, OFF_G1)))
        assert message == (
            f"verifying key {_label(name)}: '(1, 3)' is not a point of G1: coordinates from 0 to P − 1 and on the curve"
        )
    for name in G2_OF_KEY:
        message = refusal(read_key, prover.key(_key_with(name, OFF_G2)))
        assert message == (
            f"verifying key {name}: '((1, 0), (1, 0))' is not a point of the twist: "
            "coordinates from 0 to P − 1 and on the curve"
        )
    for name in ("a", "c"):
        message = refusal(read_proof, prover.proof(replace(RAW_PROOF, **{name: OFF_G1})))
        assert message.startswith(f"proof {name}: '(1, 3)' is not a point of G1")
    message = refusal(read_proof, prover.proof(replace(RAW_PROOF, b=OFF_G2)))
    assert message.startswith("proof b: '((1, 0), (1, 0))' is not a point of the twist")


@pytest.mark.parametrize("prover", [ARKWORKS, GNARK], ids=_id)
def test_an_x_that_no_point_has(prover: Prover) -> None:
    no_x, no_x2 = 4, (3, 0)
    assert pow(no_x**3 + 3, (P - 1) // 2, P) == P - 1
    assert fq2_sqrt(fq2_add(fq2_mul(fq2_square(no_x2), no_x2), G2_B)) is None
    for name in G1_OF_KEY:
        message = refusal(read_key, prover.key(_key_with(name, (no_x, 1))))
        assert message == f"verifying key {_label(name)}: 'x = 4' is not the x of a point on the curve"
    for name in G2_OF_KEY:
        message = refusal(read_key, prover.key(_key_with(name, (no_x2, (1, 0)))))
        assert message == f"verifying key {name}: 'x = (3, 0)' is not the x of a point on the twist"
    message = refusal(read_proof, prover.proof(replace(RAW_PROOF, c=(no_x, 1))))
    assert message == "proof c: 'x = 4' is not the x of a point on the curve"


@pytest.mark.parametrize("prover", ALL, ids=_id)
def test_points_outside_the_subgroup(prover: Prover) -> None:
    for name in G2_OF_KEY:
        message = refusal(read_key, prover.key(_key_with(name, OUTSIDE)))
        assert message.startswith(f"verifying key {name}: ")
        assert message.endswith("is not in the subgroup of order R of the twist")
    message = refusal(read_proof, prover.proof(replace(RAW_PROOF, b=OUTSIDE)))
    assert message.startswith("proof b: ")
    assert message.endswith("is not in the subgroup of order R of the twist")


@pytest.mark.parametrize("prover", ALL, ids=_id)
def test_points_at_infinity(prover: Prover) -> None:
    for name in (*G1_OF_KEY, *G2_OF_KEY):
        message = refusal(read_key, prover.key(_key_with(name, None)))
        assert message == f"verifying key {_label(name)}: 'the point at infinity' is not a finite point"
    for name in ("a", "b", "c"):
        message = refusal(read_proof, prover.proof(replace(RAW_PROOF, **{name: None})))
        assert message == f"proof {name}: 'the point at infinity' is not a finite point"


@pytest.mark.parametrize("prover", WITH_Y, ids=_id)
def test_coordinates_that_are_not_reduced(prover: Prover) -> None:
    x, y = RAW_KEY.alpha
    (x0, x1), (y0, y1) = RAW_KEY.gamma
    # A coordinate has 254 bits of room in the binary formats: P itself fits, and so do small coordinates plus P.
    for point in ((P, y), (x, P)):
        message = refusal(read_key, prover.key(_key_with("alpha", point)))
        assert message == f"coordinate of verifying key alpha: '{P}' is not below the field modulus P"
    for twist_point in (((P, x1), (y0, y1)), ((x0, P), (y0, y1)), ((x0, x1), (P, y1)), ((x0, x1), (y0, P))):
        message = refusal(read_key, prover.key(_key_with("gamma", twist_point)))
        assert message == f"coordinate of verifying key gamma: '{P}' is not below the field modulus P"
    message = refusal(read_proof, prover.proof(replace(RAW_PROOF, a=(P + 1, 2))))
    assert message == f"coordinate of proof a: '{P + 1}' is not below the field modulus P"


@pytest.mark.parametrize("prover", [ARKWORKS, GNARK], ids=_id)
def test_an_x_that_is_not_reduced(prover: Prover) -> None:
    message = refusal(read_key, prover.key(_key_with("alpha", (P + 1, 2))))
    assert message == f"coordinate of verifying key alpha: '{P + 1}' is not below the field modulus P"
    message = refusal(read_proof, prover.proof(replace(RAW_PROOF, b=((0, P), (1, 0)))))
    assert message == f"coordinate of proof b: '{P}' is not below the field modulus P"


# Public inputs.


@pytest.mark.parametrize("prover", ALL, ids=_id)
@pytest.mark.parametrize("value", [R, P, (1 << 256) - 1])
def test_inputs_that_are_not_reduced(prover: Prover, value: int) -> None:
    message = refusal(read_public, prover.public((0, R - 1, value)))
    assert message == f"public input 2: '{value}' is not below the group order R"


@pytest.mark.parametrize("prover", ALL, ids=_id)
@pytest.mark.parametrize("count", [0, 17, 300])
def test_none_or_more_than_sixteen_inputs(prover: Prover, count: int) -> None:
    expected = f"number of public inputs: '{count}' is not 1 to 16"
    wide = replace(RAW_KEY, ic=RAW_KEY.ic[:1] * (count + 1))
    assert refusal(read_key, prover.key(wide)) == expected
    assert refusal(read_public, prover.public([0] * count)) == expected


@pytest.mark.parametrize("prover", BINARY, ids=_id)
def test_a_key_without_ic(prover: Prover) -> None:
    assert refusal(read_key, prover.key(replace(RAW_KEY, ic=()))) == "number of public inputs: '0' is not 1 to 16"


# Files that are too short or too long.


@pytest.mark.parametrize("prover", BINARY, ids=_id)
def test_a_key_that_is_cut_short(prover: Prover) -> None:
    raw = prover.key(RAW_KEY)
    size = len(raw)
    for cut in (size - 1, size - 9, size - 40):
        message = refusal(read_key, raw[:cut])
        assert message.startswith(f"verifying key: '{cut} bytes' is not complete: ")
    for cut in range(1, size, 7):
        assert refusal(read_key, raw[:cut]).startswith("verifying key")


@pytest.mark.parametrize("prover", BINARY, ids=_id)
def test_bytes_after_a_key(prover: Prover) -> None:
    raw = prover.key(RAW_KEY)
    message = refusal(read_key, raw + b"\0")
    assert message == f"verifying key: '{len(raw) + 1} bytes' is not at its end after byte {len(raw)}"


UNKNOWN = "is not of a known format: snarkjs JSON, arkworks or gnark"


@pytest.mark.parametrize("prover", BINARY, ids=_id)
def test_a_proof_of_another_size(prover: Prover) -> None:
    raw = prover.proof(RAW_PROOF)
    gnark = prover in (GNARK, GNARK_RAW)
    for wrong in (raw[:-1], raw + b"\0"):
        message = refusal(read_proof, wrong)
        if not gnark:
            assert message == f"proof: '{len(wrong)} bytes' {UNKNOWN}, of 128 or 256 bytes, or gnark, of 164 or 324"
        elif len(wrong) > len(raw):
            assert message == f"proof: '{len(wrong)} bytes' is not at its end after byte {len(raw)}"
        else:
            assert message == (
                f"proof: '{len(wrong)} bytes' is not complete: the proof of knowledge ends at byte {len(raw)}"
            )


@pytest.mark.parametrize("prover", BINARY, ids=_id)
def test_public_inputs_of_another_size(prover: Prover) -> None:
    raw = prover.public(INPUTS)
    message = refusal(read_public, raw[:-1])
    assert message == f"public inputs: '{len(raw) - 1} bytes' is not complete: input 1 ends at byte {len(raw)}"
    message = refusal(read_public, raw + b"\0")
    assert message == f"public inputs: '{len(raw) + 1} bytes' is not at its end after byte {len(raw)}"


def test_bytes_of_no_format() -> None:
    noise = bytes(range(255, 0, -1)) * 4
    assert refusal(read_key, noise) == f"verifying key: '{len(noise)} bytes' {UNKNOWN}"
    assert refusal(read_proof, noise[:200]).startswith(f"proof: '200 bytes' {UNKNOWN}")
    assert refusal(read_public, noise) == f"public inputs: '{len(noise)} bytes' {UNKNOWN}"


# snarkjs.


def _changed(document: dict[str, Any], **fields: object) -> bytes:
    kept = {name: value for name, value in {**document, **fields}.items() if value is not None}
    return json.dumps(kept).encode()


@pytest.mark.parametrize("read", [read_key, read_proof, read_public])
@pytest.mark.parametrize("text", ["", "{", "{nonsense", "[1,", "vk", "{}{}", "[" * 100_000])
def test_text_that_is_not_json(read: Callable[[bytes], object], text: str) -> None:
    message = refusal(read, text.encode())
    assert " is not JSON: " in message
    assert len(message) < 300


@pytest.mark.parametrize("curve", ["bls12381", "BN128", "mnt6753", ""])
def test_another_curve(curve: str) -> None:
    for read, document, kind in (
        (read_key, snarkjs_key(RAW_KEY), "verifying key"),
        (read_proof, snarkjs_proof(RAW_PROOF), "proof"),
    ):
        message = refusal(read, _changed(document, curve=curve))
        assert message == f"curve of the {kind}: '{curve}' is not bn128 or bn254"


def test_another_protocol() -> None:
    plonk = {"protocol": "plonk", "curve": "bn128", "nPublic": 1, "power": 3, "Qm": ["0", "1", "0"]}
    message = refusal(read_key, json.dumps(plonk).encode())
    assert message == "protocol of the verifying key: 'plonk' is not groth16"
    message = refusal(read_proof, _changed(snarkjs_proof(RAW_PROOF), protocol="fflonk"))
    assert message == "protocol of the proof: 'fflonk' is not groth16"


def test_the_other_name_of_the_curve_and_a_proof_that_leaves_it_out() -> None:
    assert read_key(_changed(snarkjs_key(RAW_KEY), curve="bn254")) == KEY
    assert read_proof(_changed(snarkjs_proof(RAW_PROOF), curve=None)) == PROOF


@pytest.mark.parametrize("count", [1, 3])
def test_inputs_that_do_not_match_ic(count: int) -> None:
    message = refusal(read_key, _changed(snarkjs_key(RAW_KEY), nPublic=count))
    assert message == f"verifying key IC: '3 points' is not {count + 1}, one more than nPublic"


@pytest.mark.parametrize("name", ["protocol", "nPublic", "vk_alpha_1", "vk_beta_2", "vk_gamma_2", "vk_delta_2", "IC"])
def test_a_missing_field_of_a_key(name: str) -> None:
    message = refusal(read_key, _changed(snarkjs_key(RAW_KEY), **{name: None}))
    assert message.endswith(f"is not as snarkjs writes it: Object missing required field `{name}`")


@pytest.mark.parametrize("name", ["protocol", "pi_a", "pi_b", "pi_c"])
def test_a_missing_field_of_a_proof(name: str) -> None:
    message = refusal(read_proof, _changed(snarkjs_proof(RAW_PROOF), **{name: None}))
    assert message.endswith(f"is not as snarkjs writes it: Object missing required field `{name}`")


@pytest.mark.parametrize("text", ["-1", "+1", " 1", "01", "1.0", "1e3", "0x1", "one", "", "١", "1_0", "9" * 101])
def test_a_number_that_is_not_decimal(text: str) -> None:
    message = refusal(read_public, json.dumps(["0", text]).encode())
    assert message.startswith("public input 1: ")
    assert message.endswith("is not a decimal number of at most 100 digits")
    message = refusal(read_key, _changed(snarkjs_key(RAW_KEY), vk_alpha_1=["1", text, "1"]))
    assert message.startswith("verifying key alpha: ")


def test_other_shapes() -> None:
    for wrong in ([1, 2], {"a": 1}, "1", [["1"]], [None]):
        assert " is not as snarkjs writes it: " in refusal(read_public, json.dumps(wrong).encode())
    for point in (["1", "2"], ["1", "2", "1", "0"], [1, 2, 1], "1"):
        message = refusal(read_key, _changed(snarkjs_key(RAW_KEY), vk_alpha_1=point))
        assert " is not as snarkjs writes it: " in message
        assert "vk_alpha_1" in message


def test_points_that_are_not_affine() -> None:
    message = refusal(read_key, _changed(snarkjs_key(RAW_KEY), vk_alpha_1=["1", "2", "2"]))
    assert message == "z of verifying key alpha: '(2,)' is not 1"
    message = refusal(read_proof, _changed(snarkjs_proof(RAW_PROOF), pi_b=[["1", "0"], ["1", "0"], ["0", "1"]]))
    assert message == "z of proof b: '(0, 1)' is not 1"


# arkworks.


def _with_flags(raw: bytes, at: int, flags: int) -> bytes:
    return raw[:at] + bytes([raw[at] & 0x3F | flags]) + raw[at + 1 :]


def test_both_flags_at_once() -> None:
    message = refusal(read_key, _with_flags(ARKWORKS.key(RAW_KEY), 31, 0xC0))
    assert message.startswith("verifying key alpha: ")
    assert message.endswith("is not a point: both flags are set")


@pytest.mark.parametrize(("name", "at"), [("a", 63), ("b", 191), ("c", 255)])
def test_the_flag_of_the_other_y(name: str, at: int) -> None:
    raw = ARKWORKS_UNCOMPRESSED.proof(RAW_PROOF)
    flag = raw[at] & 0x80
    message = refusal(read_proof, _with_flags(raw, at, flag ^ 0x80))
    assert message == f"proof {name}: 'flag {int(not flag)}' is not the flag of its y"


def test_the_flag_of_a_compressed_point_chooses_its_y() -> None:
    raw = ARKWORKS.proof(RAW_PROOF)
    for at in (31, 95, 127):
        other = read_proof(_with_flags(raw, at, raw[at] & 0x80 ^ 0x80))
        assert other != PROOF
        assert ARKWORKS.proof(raw_proof(other))[at] != raw[at]


# gnark.


def test_commitments() -> None:
    expected = "is not 0: another equation holds for a proof with commitments"
    message = refusal(read_key, fixture("gnark", "committed_key.raw.bin"))
    assert message == f"commitments of the verifying key: '1' {expected}"
    key = GNARK_RAW.key(RAW_KEY)
    assert refusal(read_key, key[:-1] + b"\2") == f"commitments of the verifying key: '2' {expected}"
    for prover, at in ((GNARK, 128), (GNARK_RAW, 256)):
        raw = prover.proof(RAW_PROOF)
        message = refusal(read_proof, raw[:at] + (1).to_bytes(4, "big") + bytes(64) + raw[at + 4 :])
        assert message == f"commitments of the proof: '1' {expected}"


def test_a_proof_of_knowledge_without_commitments() -> None:
    for prover in (GNARK, GNARK_RAW):
        message = refusal(read_proof, prover.proof(RAW_PROOF)[:-1] + b"\1")
        assert message == "proof of knowledge: 'a finite point' is not at infinity, as it is without commitments"


def test_raw_and_compressed_points_in_one_file() -> None:
    raw = GNARK_RAW.key(RAW_KEY)
    assert refusal(read_key, _with_flags(raw, 128, 0x80)).endswith("is not raw, as the first point is")
    compressed = GNARK.key(RAW_KEY)
    assert refusal(read_key, _with_flags(compressed, 64, 0x00)).endswith("is not compressed")


def test_points_beside_the_equation() -> None:
    for name, field in (("beta_g1", "beta in G1"), ("delta_g1", "delta in G1")):
        message = refusal(read_key, GNARK_RAW.key(replace(RAW_KEY, **{name: OFF_G1})))
        assert message == f"verifying key {field}: '(1, 3)' is not a point on the curve"


def test_a_witness_with_secrets() -> None:
    public = GNARK.public(INPUTS)
    message = refusal(read_public, public[:4] + (3).to_bytes(4, "big") + (5).to_bytes(4, "big") + public[12:])
    assert message == "public inputs: '2 public, 3 secret, 5 in all' is not a public witness"


# The stored form.

STORED = encode_key(KEY)
STORED_PROOF = encode_proof(PROOF, INPUTS)
HEAD = 20
"""bytes of a stored key before its points."""


def test_a_stored_key_that_is_changed() -> None:
    assert refusal(decode_key, STORED[:-1]) == (
        f"verifying key: '{len(STORED) - 1} bytes' is not complete: ic[2] ends at byte {len(STORED)}"
    )
    assert refusal(decode_key, STORED + b"\0") == (
        f"verifying key: '{len(STORED) + 1} bytes' is not at its end after byte {len(STORED)}"
    )
    assert refusal(decode_key, b"x" + STORED[1:]).endswith("is not an encoding that begins with groth16/bn254/key/1")
    assert refusal(decode_key, b"") == "verifying key: '0 bytes' is not complete: its name ends at byte 19"
    many = STORED[: HEAD - 1] + bytes([17]) + STORED[HEAD:]
    assert refusal(decode_key, many) == "number of public inputs: '17' is not at most 16"
    for at in range(HEAD, len(STORED), 32):
        assert refusal(decode_key, STORED[:at] + b"\xff" * 32 + STORED[at + 32 :]).startswith("coordinate of ")
        assert " is not a point of " in refusal(decode_key, STORED[:at] + bytes(31) + b"\1" + STORED[at + 32 :])
    infinity = STORED[:HEAD] + bytes(64) + STORED[HEAD + 64 :]
    assert refusal(decode_key, infinity).startswith("verifying key alpha: '(0, 0)' is not a point of G1")


def test_a_stored_proof_that_is_changed() -> None:
    size = len(STORED_PROOF)
    assert refusal(decode_proof, STORED_PROOF[:-1]) == (
        f"proof: '{size - 1} bytes' is not complete: public input 1 ends at byte {size}"
    )
    assert (
        refusal(decode_proof, STORED_PROOF + b"\0") == f"proof: '{size + 1} bytes' is not at its end after byte {size}"
    )
    assert refusal(decode_proof, STORED).endswith("is not an encoding that begins with groth16/bn254/proof/1")
    too_large = STORED_PROOF[:-32] + R.to_bytes(32, "big")
    assert refusal(decode_proof, too_large) == f"public input 1: '{R}' is not below the group order R"


def test_what_has_no_stored_form() -> None:
    wide = VerifyingKey(KEY.alpha, KEY.beta, KEY.gamma, KEY.delta, KEY.ic[:1] * 18)
    with pytest.raises(BadInput, match=r"^number of public inputs: '17' is not at most 16$"):
        encode_key(wide)
    with pytest.raises(BadInput, match=r"^number of public inputs: '17' is not at most 16$"):
        encode_proof(PROOF, [0] * 17)
    for value in (-1, R):
        with pytest.raises(BadInput, match=f"^public input 0: '{value}' is not below the group order R$"):
            encode_proof(PROOF, [value])


def test_a_key_is_no_proof() -> None:
    for prover in ALL:
        assert refusal(read_proof, prover.key(RAW_KEY))
        assert refusal(read_key, prover.proof(RAW_PROOF))
    assert refusal(read_public, SNARKJS.key(RAW_KEY))
    assert refusal(read_key, STORED_PROOF)
    assert refusal(read_proof, STORED)


# Any file at all.


def test_a_stored_key_with_one_bit_changed_is_no_key() -> None:
    for at in range(0, len(STORED), 5):
        refusal(decode_key, STORED[:at] + bytes([STORED[at] ^ 1]) + STORED[at + 1 :])


@pytest.mark.parametrize("seed", range(8))
def test_damaged_files_are_read_or_refused(seed: int) -> None:
    """Nothing but BadInput comes out, and what is read has a stored form."""
    rng = random.Random(seed)
    sources = [*(prover.key(RAW_KEY) for prover in ALL), *(prover.proof(RAW_PROOF) for prover in ALL)]
    sources += [*(prover.public(INPUTS) for prover in ALL), STORED, STORED_PROOF]
    refused = 0
    for source in sources:
        damaged = bytearray(source)
        at, size = rng.randrange(len(source)), rng.randrange(12)
        damaged[at : at + size] = rng.randbytes(rng.randrange(12))
        try:
            assert decode_key(encode_key(read_key(bytes(damaged))))
        except BadInput:
            refused += 1
        for read in (read_proof, read_public):
            try:
                assert read(bytes(damaged))
            except BadInput:
                refused += 1
    assert refused >= 2 * len(sources), "most files are not of the kind that is asked for"
