"""What the three sign at set-up, and the bundle that their signatures make.

The stake needs all three, the collateral both parties. What settles is a pre-signature, which the attestation to its
outcome completes. The oracle keeps its shares of the signatures of OracleSign, so that it alone has those: with them
and what the oracle opened for one outcome, a party could sign another one and slash it.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from bitvm_bridge import secp
from bitvm_bridge.dlc.contract.connectors import Case, cases
from bitvm_bridge.dlc.contract.contract import Contract
from bitvm_bridge.dlc.contract.graph import ContractGraph
from bitvm_bridge.documents import from_hex
from bitvm_bridge.errors import BadInput, VerificationFailed
from bitvm_bridge.graph import GraphTx
from bitvm_bridge.keys import SecretKey
from bitvm_bridge.protocol import Party
from bitvm_bridge.signing import adaptor, musig
from bitvm_bridge.signing.adaptor import AdaptorSigner, Lock
from bitvm_bridge.signing.musig import Committee, Digests, NonceGuard, Nonces, Partials, Signer

SIGNED_BY_ORACLE: Final = "OracleSign"


@dataclass(frozen=True)
class Task:
    """One signature: who makes it together, what it is of, and the point that locks it, if one does."""

    signers: Party
    digest: bytes
    point: bytes | None = None
    withheld: bool = False
    """Does the oracle keep its share?"""

    @property
    def lock(self) -> Lock:
        """Of one that a point locks."""
        return Lock(self.digest, self.point or b"")

    @property
    def id(self) -> bytes:
        """32 bytes to which its nonces are bound."""
        return self.digest if self.point is None else self.lock.id


class ContractGraphs:
    """Every transaction of a contract: `whole` has those that it has once, `of` those of an outcome."""

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self._cases = cases(contract)
        self._known: dict[int, ContractGraph] = {}

    @cached_property
    def whole(self) -> ContractGraph:
        """Without an outcome."""
        return ContractGraph(self.contract)

    def of(self, outcome: int) -> ContractGraph:
        """With the transactions of one outcome. Raises BadInput."""
        if not 0 <= outcome < len(self._cases):
            raise BadInput("outcome", outcome, f"0 to {len(self._cases) - 1}")
        if outcome not in self._known:
            self._known[outcome] = ContractGraph(self.contract, self._cases[outcome])
        return self._known[outcome]

    def key(self, signers: Party) -> bytes:
        """The aggregate key (32 bytes) of both parties, or of all three."""
        return self.contract.pair.key if signers is Party.PAIR else self.contract.trio.key

    def case(self, outcome: int) -> Case:
        """One outcome."""
        return self._cases[outcome]

    @cached_property
    def tasks(self) -> dict[str, Task]:
        """Label → signature, of everything that is signed at set-up; labels are the same for all three."""
        found = {label(None, item, entry): task for item, entry, task in self._tasks(self.whole, None)}
        for outcome in range(len(self._cases)):
            graph = self.of(outcome)
            found |= {label(outcome, item, entry): task for item, entry, task in self._tasks(graph, outcome)}
        return found

    def _tasks(self, graph: ContractGraph, outcome: int | None) -> Iterator[tuple[GraphTx, str, Task]]:
        terms = self.contract.terms
        for item in graph.presigned():
            if (outcome is None) != (item.name in self.whole.txs):
                continue
            for entry in item.inputs:
                if entry.signer is None:
                    continue
                point = None
                if outcome is not None and entry.locked:
                    point = terms.outcomes[outcome].point((terms.announcement,), terms.hashing)
                withheld = item.name == SIGNED_BY_ORACLE
                yield item, entry.name, Task(entry.signer, item.digest(entry.name), point, withheld)


def label(outcome: int | None, item: GraphTx, entry: str) -> str:
    """How a signature is called: `3/Settle.bond`, or `Refund.collateral`."""
    return f"{item.name}.{entry}" if outcome is None else f"{outcome}/{item.name}.{entry}"


@dataclass(frozen=True)
class _Group:
    """Signatures of the same signers and kind."""

    signers: Party
    locked: bool
    labels: tuple[str, ...]


class ContractScheme:
    """The signing session of a contract, or of what its signers make of it later, for `exchange.signing`.

    There are two sets of signers, and signatures that a point locks or not.

    `keep` is given the oracle's own shares of what only it may complete, by the public nonce (66 bytes) that each was
    made with, before any other share leaves the process.
    """

    def __init__(
        self,
        contract: Contract,
        tasks: Mapping[str, Task],
        keep: Callable[[Mapping[bytes, bytes]], None] | None = None,
    ) -> None:
        self.contract = contract
        self.keep = keep
        self.tasks = tasks
        self.committees = {Party.TRIO: contract.trio, Party.PAIR: contract.pair}
        kinds = ((signers, locked) for signers in self.committees for locked in (False, True))
        found = (_Group(signers, locked, self._labels(signers, locked)) for signers, locked in kinds)
        self.groups = tuple(group for group in found if group.labels)

    def _labels(self, signers: Party, locked: bool) -> tuple[str, ...]:
        return tuple(
            name for name, task in self.tasks.items() if task.signers is signers and (task.point is not None) is locked
        )

    @property
    def digests(self) -> dict[str, bytes]:
        """Label → id of everything, as a session counts it."""
        return {name: task.id for name, task in self.tasks.items()}

    def takes_part(self, name: str) -> list[_Group]:
        """The groups of a member."""
        return [group for group in self.groups if name in self.committees[group.signers].keys]

    def check_nonces(self, name: str, digests: Digests, nonces: Mapping[str, bytes]) -> None:
        """Raises VerificationFailed naming the member."""
        own = {name for group in self.takes_part(name) for name in group.labels}
        musig.check_nonces(name, {one: digests[one] for one in self.tasks if one in own}, nonces)

    def check_partials(
        self, _: Committee, name: str, digests: Digests, nonces: Nonces, partials: Mapping[str, bytes]
    ) -> None:
        """Raises VerificationFailed naming the member."""
        del digests
        expected = {one for group in self.takes_part(name) for one in self._given(group, name)}
        if set(partials) != expected:
            raise VerificationFailed(f"member {name!r}: partial signatures of others than are to be signed")
        for group in self.takes_part(name):
            labels = self._given(group, name)
            part = {one: partials[one] for one in labels}
            committee = self.committees[group.signers]
            if group.locked:
                adaptor.check_partials(committee, name, self._locks(labels), nonces, part)
            else:
                musig.check_partials(committee, name, self._digests(labels), nonces, part)

    def combine(self, _: Committee, digests: Digests, nonces: Nonces, partials: Partials) -> dict[str, bytes]:
        """Signatures by label, of all that everyone has given its share of. Raises VerificationFailed."""
        del digests
        found: dict[str, bytes] = {}
        for group in self.groups:
            committee = self.committees[group.signers]
            labels = [one for one in group.labels if all(one in partials[name] for name in committee.names)]
            own_nonces = {name: nonces[name] for name in committee.names}
            own = {name: {one: partials[name][one] for one in labels} for name in committee.names}
            if group.locked:
                found |= adaptor.combine(committee, self._locks(labels), own_nonces, own)
            else:
                found |= musig.combine(committee, self._digests(labels), own_nonces, own)
        return found

    def combine_withheld(
        self, nonces: Nonces, partials: Partials, kept: Callable[[bytes], bytes | None]
    ) -> dict[str, bytes]:
        """The oracle's own signatures by label: the parties' shares, and by public nonce what it has kept.

        Raises VerificationFailed where it has not.
        """
        found: dict[str, bytes] = {}
        labels = [one for one, task in self.tasks.items() if task.withheld]
        for one in labels:
            share = kept(nonces[Party.ORACLE][one])
            if share is None:
                raise VerificationFailed(f"{one}: the oracle's own share is not in this store")
            shares = {name: {one: partials[name].get(one, b"")} for name in self.contract.pair.names}
            shares[Party.ORACLE] = {one: share}
            found |= musig.combine(self.contract.trio, self._digests([one]), nonces, shares)
        return found

    def signer(self, _: Committee, name: str, key: SecretKey, guard: NonceGuard) -> "ContractSigner":
        """One member's side."""
        return ContractSigner(self, name, key, guard)

    def _given(self, group: _Group, name: str) -> list[str]:
        return [one for one in group.labels if name != Party.ORACLE or not self.tasks[one].withheld]

    def _digests(self, labels: list[str] | tuple[str, ...]) -> dict[str, bytes]:
        return {one: self.tasks[one].digest for one in labels}

    def _locks(self, labels: list[str] | tuple[str, ...]) -> dict[str, Lock]:
        return {one: self.tasks[one].lock for one in labels}


class ContractSigner:
    """One member's side of one session."""

    def __init__(self, scheme: ContractScheme, name: str, key: SecretKey, guard: NonceGuard) -> None:
        """Raises BadInput where the key is not the one that the contract lists under this name."""
        self._scheme, self._name = scheme, name
        self._groups = scheme.takes_part(name)
        self._signers = [
            (AdaptorSigner if group.locked else Signer)(scheme.committees[group.signers], name, key, guard)
            for group in self._groups
        ]

    def nonces(self, _: Digests) -> dict[str, bytes]:
        """Round one: a fresh public nonce (66 bytes) for everything that this member signs."""
        found: dict[str, bytes] = {}
        for group, signer in zip(self._groups, self._signers, strict=True):
            found |= self._draw(group, signer)
        return found

    def sign(self, _: Digests, nonces: Nonces) -> dict[str, bytes]:
        """Round two: this member's partial signatures, without those that it keeps."""
        found: dict[str, bytes] = {}
        for group, signer in zip(self._groups, self._signers, strict=True):
            members = {name: nonces[name] for name in self._scheme.committees[group.signers].names}
            found |= self._sign(group, signer, members)
        if self._name != Party.ORACLE:
            return found
        withheld = {one: found.pop(one) for one in list(found) if self._scheme.tasks[one].withheld}
        if self._scheme.keep is not None:
            self._scheme.keep({nonces[self._name][one]: partial for one, partial in withheld.items()})
        return found

    def _draw(self, group: _Group, signer: Signer | AdaptorSigner) -> dict[str, bytes]:
        if isinstance(signer, AdaptorSigner):
            return signer.nonces(self._scheme._locks(group.labels))
        return signer.nonces(self._scheme._digests(group.labels))

    def _sign(self, group: _Group, signer: Signer | AdaptorSigner, nonces: Nonces) -> dict[str, bytes]:
        if isinstance(signer, AdaptorSigner):
            return signer.sign(self._scheme._locks(group.labels), nonces)
        return signer.sign(self._scheme._digests(group.labels), nonces)


@dataclass(frozen=True)
class Bundle:
    """A contract and the signatures that make it live, by label: 64 bytes, or 65 of a pre-signature."""

    graphs: ContractGraphs
    signatures: Mapping[str, bytes] = field(repr=False)

    @property
    def contract(self) -> Contract:
        """What was signed."""
        return self.graphs.contract

    @property
    def is_oracles(self) -> bool:
        """Does it hold what only the oracle may have?"""
        return any(self.graphs.tasks[one].withheld for one in self.signatures)

    def signature(self, outcome: int | None, item: GraphTx, entry: str) -> bytes:
        """The witness element of an input, sighash byte included. Raises BadInput where there is none."""
        name = label(outcome, item, entry)
        if name not in self.signatures:
            raise BadInput("signature", name, "one that the bundle holds")
        return item.inputs[item.index(entry)].sighash.append_to(self.signatures[name])

    def verify(self) -> None:
        """Check every signature against the graph. Raises VerificationFailed naming the first that is not right.

        The oracle's bundle has all of them, a party's all but those of OracleSign.
        """
        unknown = set(self.signatures) - set(self.graphs.tasks)
        if unknown:
            raise VerificationFailed(f"{min(unknown)}: a signature that nobody owes")
        oracles = self.is_oracles
        for name, task in self.graphs.tasks.items():
            if task.withheld and not oracles:
                continue
            if name not in self.signatures:
                raise VerificationFailed(f"{name}: the signature is missing")
            if not _is_valid(self.graphs.key(task.signers), task, self.signatures[name]):
                raise VerificationFailed(f"{name}: the signature does not verify")

    def to_json(self) -> dict[str, str]:
        """Signatures in hex."""
        return {name: signature.hex() for name, signature in self.signatures.items()}

    @classmethod
    def read(cls, graphs: ContractGraphs, signatures: Mapping[str, str]) -> "Bundle":
        """Inverse of `to_json`, verified. Raises BadInput and VerificationFailed."""
        bundle = cls(graphs, {name: from_hex(f"signature {name}", one) for name, one in signatures.items()})
        bundle.verify()
        return bundle


def _is_valid(key: bytes, task: Task, signature: bytes) -> bool:
    if task.point is None:
        return secp.verify(key, task.digest, signature)
    return adaptor.verify(key, task.lock, signature)


def sign_together(graphs: ContractGraphs, keys: Mapping[str, SecretKey], guard: NonceGuard) -> tuple[Bundle, Bundle]:
    """Both rounds with all three in this process: the parties' bundle and the oracle's. Raises VerificationFailed."""
    kept: dict[bytes, bytes] = {}
    scheme = ContractScheme(graphs.contract, graphs.tasks, kept.update)
    trio = graphs.contract.trio
    signers = {name: scheme.signer(trio, name, keys[name], guard) for name in trio.names}
    nonces = {name: signer.nonces(scheme.digests) for name, signer in signers.items()}
    partials = {name: signer.sign(scheme.digests, nonces) for name, signer in signers.items()}
    for name in trio.names:
        scheme.check_nonces(name, scheme.digests, nonces[name])
        scheme.check_partials(trio, name, scheme.digests, nonces, partials[name])
    signatures = scheme.combine(trio, scheme.digests, nonces, partials)
    own = scheme.combine_withheld(nonces, partials, kept.get)
    bundles = Bundle(graphs, signatures), Bundle(graphs, signatures | own)
    for bundle in bundles:
        bundle.verify()
    return bundles
