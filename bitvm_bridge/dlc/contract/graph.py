"""From a contract to its transactions: those that it has once, and those of one outcome."""

from bitvm_bridge.dlc.contract.connectors import Case
from bitvm_bridge.dlc.contract.contract import Contract
from bitvm_bridge.dlc.contract.transactions import (
    CONTRACT_TEMPLATES,
    OUTCOME_TEMPLATES,
    Funding,
    OracleStake,
)
from bitvm_bridge.errors import BadInput
from bitvm_bridge.graph import TransactionGraph
from bitvm_bridge.linter import some_signature
from bitvm_bridge.policy import MAX_TRUC_VSIZE
from bitvm_bridge.protocol.template import Template
from bitvm_bridge.transaction import OutPoint


class ContractGraph(TransactionGraph):
    """The transactions of a contract, and of one outcome of it where there is a case."""

    def __init__(self, contract: Contract, case: Case | None = None) -> None:
        """Raises BadInput for a computation of which the oracle cannot sign the result in one small transaction."""
        super().__init__()
        self.contract = contract
        self.case = case
        known: dict[type[Template], OutPoint] = {
            Funding: contract.agreement.funding.outpoint(0),
            OracleStake: contract.oracle.stake,
        }
        for template in CONTRACT_TEMPLATES:
            self._add(template, contract, known.get(template))
        if case is not None:
            for template in OUTCOME_TEMPLATES:
                self._add(template, case, None)
            self._check_size()

    def _check_size(self) -> None:
        """OracleSign pays no fee itself, so that it is version 3, and those are small (BIP431)."""
        item = self["OracleSign"]
        tx = item.tx
        for index, (entry, keys) in enumerate(zip(item.inputs, self.contract.bundles, strict=True)):
            items = [part for key in keys for part in some_signature(key.bits)]
            tx = tx.with_witness(index, entry.witness([bytes(64), *items]))
        if tx.vsize > MAX_TRUC_VSIZE:
            expected = f"one whose values are signed in {MAX_TRUC_VSIZE:,} vB"
            raise BadInput("program", f"{self.contract.terms.program}, {tx.vsize:,} vB", expected)
