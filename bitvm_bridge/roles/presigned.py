"""Transactions that a bundle makes live: its signatures put in, and a fee paid by a child or out of a reward."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from bitvm_bridge.errors import BadInput, BridgeError
from bitvm_bridge.graph import GraphTx
from bitvm_bridge.params import DUST
from bitvm_bridge.protocol.template import Anchor
from bitvm_bridge.signing.bundle import Bundle
from bitvm_bridge.transaction import Transaction, TxOut
from bitvm_bridge.wallet import Funded, Prepared, Wallet

Items = Mapping[str, tuple[Sequence[bytes], str | None]]
"""Input → witness items and, where the input leaves it open, the leaf."""


def signed(bundle: Bundle, declared: GraphTx, others: Items | None = None) -> Transaction:
    """The fixed part with a witness in every input: the bundle's signatures, and `others` for the rest."""
    tx = declared.tx
    for index, entry in enumerate(declared.inputs):
        items, leaf = (others or {}).get(entry.name) or ([bundle.signature(declared.name, entry.name)], None)
        tx = tx.with_witness(index, entry.witness(items, leaf))
    return tx


def take(wallet: Wallet, bundle: Bundle, name: str) -> Prepared:
    """HappyTake or UnhappyTake with the child that pays for it."""
    declared = bundle.setup.graph[name]
    if not any(isinstance(item, Anchor) for item in declared.template.fields):
        raise BadInput("transaction", name, "one with an anchor")
    return wallet.package(name, Funded(signed(bundle, declared), tuple(declared.spent)))


def slash(wallet: Wallet, bundle: Bundle, name: str, others: Items | None = None) -> Prepared:
    """AssertTimeout, Forfeit or Disprove: what the burn share leaves goes to the wallet, less the fee."""
    declared = bundle.setup.graph[name]
    funded = wallet.fund(signed(bundle, declared, others), declared.spent)
    return Prepared(name, wallet.sign_coins(funded, len(declared.inputs)))


def slash_offline(script: bytes, fee_rate: float, bundle: Bundle, name: str, others: Items | None = None) -> Prepared:
    """The same without a wallet: what the burn share and the fee (sat/vB) leave goes to this script.

    Raises BridgeError where they leave less than dust.
    """
    declared = bundle.setup.graph[name]
    fixed = signed(bundle, declared, others)
    available = sum(out.amount for out in declared.spent) - sum(out.amount for out in fixed.outputs)
    vsize = replace(fixed, outputs=(*fixed.outputs, TxOut(0, script))).vsize
    reward = available - math.ceil(vsize * fee_rate)
    if reward < DUST:
        raise BridgeError(f"{name}: {fee_rate:g} sat/vB for {vsize:,} vB leaves no reward of {available:,} sat")
    tx = replace(fixed, outputs=(*fixed.outputs, TxOut(reward, script)))
    return Prepared(name, Funded(tx, tuple(declared.spent)))
