"""Every output that a contract spends: its value and its leaves, each in one place."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from bitvm_bridge.dlc.contract.contract import Contract
from bitvm_bridge.dlc.contract.program import OUTCOME, Judged
from bitvm_bridge.dlc.contract.terms import Terms
from bitvm_bridge.params import DUST
from bitvm_bridge.program import Checks
from bitvm_bridge.protocol.template import Connector, Leaf
from bitvm_bridge.taproot import HashedLeaf, hash_leaf
from scripts_tapleaf import covenant, winternitz
from scripts_tapleaf.script import OP_RETURN


@dataclass(frozen=True)
class Case:
    """One outcome of a contract, and the leaves that prove that it is not what happened."""

    contract: Contract
    outcome: int
    shared: tuple[tuple[str, HashedLeaf], ...]
    """The leaves that every outcome has: hashed once."""

    @property
    def id(self) -> bytes:
        """Of the contract: its computation and one-time keys are about that, whatever the outcome."""
        return self.contract.id

    @property
    def keys(self) -> tuple[winternitz.PublicKey, ...]:
        """The oracle's one-time keys."""
        return self.contract.oracle.one_time_keys

    @cached_property
    def program(self) -> Judged:
        """The computation, and this outcome."""
        terms = self.contract.terms
        return Judged(terms.spec.specialise(self.contract.id), *terms.results(self.outcome))

    @cached_property
    def checks(self) -> Checks:
        """The computation's checks, with the last for this outcome."""
        return Checks(self.program, self.keys)

    def leaves(self) -> Iterator[tuple[str, bytes | HashedLeaf]]:
        """(name, script or its hash) of every check."""
        yield from self.shared
        yield OUTCOME, self.checks.leaf(OUTCOME)

    def leaf(self, name: str) -> bytes:
        """The script of one. Raises BadInput."""
        return self.checks.leaf(name)


def cases(contract: Contract) -> tuple[Case, ...]:
    """One for each outcome."""
    first = Case(contract, 0, ()).checks
    shared = tuple((name, hash_leaf(script)) for name, script in first.leaves() if name != OUTCOME)
    return tuple(Case(contract, outcome, shared) for outcome in range(len(contract.terms.outcomes)))


def stake(of: Contract, index: int) -> Connector:
    """The oracle's stake, and a dust output more for each further bundle of one-time keys.

    To sign, the oracle opens the keys. Its own share of that signature it keeps to itself, so that nobody can take
    what it opened for one outcome and sign another with it.
    """
    return stake_outputs(of.terms, of.trio.key, of.bundles)[index]


def stake_outputs(terms: Terms, trio: bytes, bundles: Sequence[Sequence[winternitz.PublicKey]]) -> list[Connector]:
    """The same before the stake's outpoint is known: `trio` is the aggregate key of all three."""
    timeout = Leaf("timeout", covenant.signed(trio))
    signs = [Leaf("sign", winternitz.check_script(bundle) + covenant.signed(trio)) for bundle in bundles]
    amounts = [terms.stake + DUST, *(DUST for _ in signs[1:])]
    return [Connector(amount, (sign, timeout)) for amount, sign in zip(amounts, signs, strict=True)]


def bond(case: Case) -> Connector:
    """The stake behind what the oracle signed; every ending spends it, so that only one can happen."""
    contract, key = case.contract, case.contract.trio.key
    terms = contract.terms
    waits = {"settle": terms.dispute_window, "release": terms.release_csv, "forfeit": terms.forfeit_csv}
    after = (Leaf(name, covenant.signed_after(key, wait), wait=wait) for name, wait in waits.items())
    return Connector(bond_amount(contract), (Leaf("covenant", covenant.signed(key)), *after))


def bond_amount(of: Contract) -> int:
    """sat: all that the stake outputs hold, but for the dust of `disprove`."""
    return of.terms.stake + DUST * (len(of.bundles) - 1)


def disprove(case: Case) -> Connector:
    """One leaf for each check, open to anyone who can satisfy it; Settle needs it unspent."""
    wait = case.contract.terms.dispute_window
    settle = Leaf("settle", covenant.signed_after(case.contract.trio.key, wait), wait=wait)
    return Connector(DUST, (settle,), case)


def sink(_: object) -> bytes:
    """Where a burn share goes: an output that nobody can spend."""
    return OP_RETURN
