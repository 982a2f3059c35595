"""The JSON of snarkjs: `verification_key.json`, `proof.json` and `public.json`.

Numbers are decimal strings. Points are projective with z = 1, and z = 0 at infinity; an element of Fq2 is
[coefficient of 1, coefficient of u]. `vk_alphabeta_12` repeats what alpha and beta say and is not read.
"""

import re
from typing import Final, TypeAlias, TypeVar

import msgspec

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program.groth16.formats.values import (
    KEY,
    PROOF,
    PUBLIC,
    check_count,
    check_input,
    infinite,
    make_g1,
    make_g2,
)
from bitvm_bridge.program.groth16.native.curve import G1, G2
from bitvm_bridge.program.groth16.native.verifier import Proof, VerifyingKey, check_proof

PROTOCOL: Final = "groth16"
CURVES: Final = ("bn128", "bn254")
"""snarkjs knows the curve by both names and writes the first."""
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,99}", re.ASCII)
_Pair: TypeAlias = tuple[str, str]
_JsonG1: TypeAlias = tuple[str, str, str]
_JsonG2: TypeAlias = tuple[_Pair, _Pair, _Pair]
T = TypeVar("T")


class _Head(msgspec.Struct, frozen=True):
    """What both files begin with; the proofs of some provers leave the curve out."""

    protocol: str
    curve: str = CURVES[0]


class _Key(msgspec.Struct, frozen=True):
    n_public: int = msgspec.field(name="nPublic")
    alpha: _JsonG1 = msgspec.field(name="vk_alpha_1")
    beta: _JsonG2 = msgspec.field(name="vk_beta_2")
    gamma: _JsonG2 = msgspec.field(name="vk_gamma_2")
    delta: _JsonG2 = msgspec.field(name="vk_delta_2")
    ic: list[_JsonG1] = msgspec.field(name="IC")


class _Proof(msgspec.Struct, frozen=True):
    a: _JsonG1 = msgspec.field(name="pi_a")
    b: _JsonG2 = msgspec.field(name="pi_b")
    c: _JsonG1 = msgspec.field(name="pi_c")


def read_key(data: bytes) -> VerifyingKey:
    """From `verification_key.json`. Raises BadInput."""
    document = _parse(data, KEY)
    _check_head(document, KEY)
    found = _convert(document, _Key, KEY)
    check_count(found.n_public)
    if len(found.ic) != found.n_public + 1:
        raise BadInput(f"{KEY} IC", f"{len(found.ic)} points", f"{found.n_public + 1}, one more than nPublic")
    return VerifyingKey(
        _g1(f"{KEY} alpha", found.alpha),
        _g2(f"{KEY} beta", found.beta),
        _g2(f"{KEY} gamma", found.gamma),
        _g2(f"{KEY} delta", found.delta),
        tuple(_g1(f"{KEY} ic[{index}]", point) for index, point in enumerate(found.ic)),
    )


def read_proof(data: bytes) -> Proof:
    """From `proof.json`. Raises BadInput."""
    document = _parse(data, PROOF)
    _check_head(document, PROOF)
    found = _convert(document, _Proof, PROOF)
    proof = Proof(_g1(f"{PROOF} a", found.a), _g2(f"{PROOF} b", found.b), _g1(f"{PROOF} c", found.c))
    check_proof(proof)
    return proof


def read_public(data: bytes) -> tuple[int, ...]:
    """From `public.json`. Raises BadInput."""
    found = _convert(_parse(data, PUBLIC), list[str], PUBLIC)
    check_count(len(found))
    return tuple(check_input(index, _number(f"public input {index}", text)) for index, text in enumerate(found))


def _parse(data: bytes, kind: str) -> object:
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadInput(kind, " ".join(data[:60].decode(errors="replace").split()), f"JSON: {error}") from None


def _convert(document: object, shape: type[T], kind: str) -> T:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise BadInput(kind, document, f"as snarkjs writes it: {error}") from None


def _check_head(document: object, kind: str) -> None:
    """The curve before any point: a key of another one has the same fields."""
    head = _convert(document, _Head, kind)
    if head.protocol != PROTOCOL:
        raise BadInput(f"protocol of the {kind}", head.protocol, PROTOCOL)
    if head.curve not in CURVES:
        raise BadInput(f"curve of the {kind}", head.curve, " or ".join(CURVES))


def _g1(field: str, point: _JsonG1) -> G1:
    x, y, z = (_number(field, text) for text in point)
    _check_z(field, (z,))
    return make_g1(field, (x, y), False)


def _g2(field: str, point: _JsonG2) -> G2:
    x, y, z = (tuple(_number(field, text) for text in pair) for pair in point)
    _check_z(field, z)
    return make_g2(field, (*x, *y), False)


def _check_z(field: str, z: tuple[int, ...]) -> None:
    if not any(z):
        raise infinite(field)
    if z != (1, 0)[: len(z)]:
        raise BadInput(f"z of {field}", z, "1")


def _number(field: str, text: str) -> int:
    """Without a sign, a space or a leading zero. Raises BadInput."""
    if not _NUMBER.fullmatch(text):
        raise BadInput(field, text, "a decimal number of at most 100 digits")
    return int(text)
