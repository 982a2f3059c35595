"""Who takes part in a set-up, and on which terms: agreed on outside of it, and the same for everyone."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final, Self

from bitvm_bridge import secp
from bitvm_bridge.documents import Document, decode, encode, from_hex
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.keys import Role
from bitvm_bridge.params import Params
from bitvm_bridge.program import ProgramSpec, parse_program
from bitvm_bridge.signing.musig import MAX_MEMBERS

VERSION: Final = 1
MAX_NAME: Final = 32
"""characters"""
MAX_PARTIES: Final = 1_000


class PartyDocument(Document, frozen=True):
    """One party; `key` is its x-only identity key in hex."""

    name: str
    role: str
    key: str


class RosterDocument(Document, frozen=True):
    """A roster as JSON carries it."""

    version: int
    params: dict[str, Any]
    program: str
    parties: list[PartyDocument]


@dataclass(frozen=True)
class Participant:
    """A party under its name, with the key (32 bytes, x-only) that signs what it says."""

    name: str
    role: Role
    key: bytes

    def __post_init__(self) -> None:
        """Raises BadInput."""
        if not 1 <= len(self.name) <= MAX_NAME or not self.name.isprintable() or self.name != self.name.strip():
            raise BadInput("party name", self.name, f"1 to {MAX_NAME} printable characters")
        secp.check_xonly(f"identity key of {self.name!r}", self.key)

    def document(self) -> PartyDocument:
        """As JSON carries it."""
        return PartyDocument(self.name, str(self.role), self.key.hex())

    @classmethod
    def from_document(cls, document: PartyDocument) -> Self:
        """Inverse of `document`. Raises BadInput."""
        if document.role not in list(Role):
            raise BadInput(f"role of {document.name!r}", document.role, f"one of {', '.join(Role)}")
        return cls(document.name, Role(document.role), from_hex("identity key", document.key, 32))


@dataclass(frozen=True)
class Terms:
    """What every deposit keeps to, but for its amount and its exits, and the program that every instance disputes.

    Without them an operator could offer a program that finds every claim right, and a depositor windows too short to
    challenge in.
    """

    params: Params
    program: str

    def __post_init__(self) -> None:
        """Raises BadInput where the text is not the one form of a program."""
        if str(self.spec) != self.program:
            raise BadInput("program", self.program, f"in its one form, {self.spec}")

    @cached_property
    def spec(self) -> ProgramSpec:
        """The program."""
        return parse_program(self.program)

    def chosen(self, peg_in: int, exits: int) -> Params:
        """The parameters of a deposit of so many sat and exits. Raises BadInput."""
        return replace(self.params, peg_in=peg_in, exits=exits)

    def check(self, params: Params) -> None:
        """Raises VerificationFailed naming the first parameter that was not agreed on."""
        agreed = self.chosen(params.peg_in, params.exits).to_json()
        for name, value in params.to_json().items():
            if value != agreed[name]:
                raise VerificationFailed(f"{name} is {value}, agreed was {agreed[name]}")


@dataclass(frozen=True)
class Roster:
    """All parties and their terms. No name and no key is there twice."""

    parties: tuple[Participant, ...]
    terms: Terms

    def __post_init__(self) -> None:
        """Raises BadInput."""
        if not 1 <= len(self.parties) <= MAX_PARTIES:
            raise BadInput("roster", len(self.parties), f"1 to {MAX_PARTIES} parties")
        names: set[str | bytes] = set()
        for one in self.parties:
            for what, value in (("name", one.name), ("key", one.key)):
                if value in names:
                    raise BadInput(f"party {what}", value, "used once in the roster")
                names.add(value)
        if len(self.committee) > MAX_MEMBERS:
            raise BadInput("committee", len(self.committee), f"{MAX_MEMBERS} members at most")

    @cached_property
    def by_key(self) -> dict[bytes, Participant]:
        """Identity key → party."""
        return {one.key: one for one in self.parties}

    @cached_property
    def committee(self) -> tuple[Participant, ...]:
        """The members."""
        return self.of(Role.COMMITTEE)

    def of(self, role: Role) -> tuple[Participant, ...]:
        """Parties of a role, by name."""
        return tuple(sorted((one for one in self.parties if one.role is role), key=lambda one: one.name))

    def name(self, key: bytes) -> str:
        """For messages: the name of a key, or the key where nobody has it."""
        return self.by_key[key].name if key in self.by_key else key.hex()

    def to_json(self) -> bytes:
        """As JSON text, the parties by role and name."""
        ordered = sorted(self.parties, key=lambda one: (one.role, one.name))
        parties = [one.document() for one in ordered]
        return encode(RosterDocument(VERSION, self.terms.params.to_json(), self.terms.program, parties))

    @classmethod
    def from_json(cls, raw: bytes | str) -> Self:
        """From JSON text. Raises BadInput."""
        document = decode(raw, RosterDocument, "roster")
        if document.version != VERSION:
            raise BadInput("roster version", document.version, f"version {VERSION}")
        terms = Terms(Params.from_json(document.params), document.program)
        return cls(tuple(map(Participant.from_document, document.parties)), terms)
