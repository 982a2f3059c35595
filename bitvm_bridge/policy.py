"""What Bitcoin Core relays, and the narrower rules of this project, checked on a transaction without a node.

Every rule answers with Core's own reject code first ("dust", "tx-size", ...), so that a refusal reads the same here and
on a node, and in Core's order. Sources: `policy/policy.h`, `policy/truc_policy.h` and `policy/ephemeral_policy.h` of
Bitcoin Core 31; BIP431 (TRUC). Scripts, locks and coins are not judged here: `chain` asks Core for that.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from bitvm_bridge.taproot import LEAF_VERSION, MAX_DEPTH
from bitvm_bridge.transaction import MAX_MINEABLE_WEIGHT as MAX_MINEABLE_WEIGHT
from bitvm_bridge.transaction import MAX_MONEY, Transaction, TxIn, TxOut
from bitvm_bridge.transaction import MAX_STANDARD_WEIGHT as MAX_STANDARD_WEIGHT
from scripts_tapleaf.script import (
    MAX_STANDARD_WITNESS_ITEM,
    OP_16,
    OP_CHECKSIG,
    OP_DUP,
    OP_EQUAL,
    OP_EQUALVERIFY,
    OP_HASH160,
    OP_RETURN,
    OP_SUCCESS,
    Instruction,
    ScriptError,
    instructions,
    push,
)

MIN_NON_WITNESS_SIZE: Final = 65
"""bytes without witnesses (MIN_STANDARD_TX_NONWITNESS_SIZE): 64 could pass for an inner node of the merkle tree."""
STANDARD_VERSIONS: Final = range(1, 4)
"""TX_MIN_STANDARD_VERSION to TX_MAX_STANDARD_VERSION."""
TRUC_VERSION: Final = 3
"""Topologically restricted until confirmation (BIP431)."""
MAX_TRUC_VSIZE: Final = 10_000
"""vB of a version 3 transaction (BIP431 rule 4)."""
MAX_TRUC_CHILD_VSIZE: Final = 1_000
"""vB of a version 3 transaction with an unconfirmed parent (BIP431 rule 5)."""
MIN_RELAY_FEE_RATE: Final = 100
"""sat per 1,000 vB (DEFAULT_MIN_RELAY_TX_FEE since Core 30)."""
INCREMENTAL_FEE_RATE: Final = 100
"""sat per 1,000 vB that a replacement pays on top of what it replaces (DEFAULT_INCREMENTAL_RELAY_FEE)."""
DUST_FEE_RATE: Final = 3_000
"""sat per 1,000 vB: an output is dust where spending it would cost more at this rate (DUST_RELAY_TX_FEE)."""
MAX_OP_RETURN_SIZE: Final = 100_000
"""bytes of all OP_RETURN scripts of a transaction together (MAX_OP_RETURN_RELAY since Core 30)."""
MAX_SCRIPT_SIG_SIZE: Final = 1_650
"""bytes (MAX_STANDARD_SCRIPTSIG_SIZE)."""
MAX_P2WSH_ITEMS: Final = 100
"""witness items below the script (MAX_STANDARD_P2WSH_STACK_ITEMS)."""
MAX_P2WSH_SCRIPT_SIZE: Final = 3_600
"""bytes (MAX_STANDARD_P2WSH_SCRIPT_SIZE)."""
P2A: Final = bytes.fromhex("51024e73")
"""Pay to anchor: anyone may spend it, without a witness."""
ANNEX_TAG: Final = 0x50
"""First byte of a taproot annex (BIP341), which no node relays."""

_WITNESS_INPUT: Final = 32 + 4 + 1 + 107 // 4 + 4
"""vB that Core takes for an input which spends a witness program (GetDustThreshold)."""
_LEGACY_INPUT: Final = 32 + 4 + 1 + 107 + 4
_UPGRADABLE_NOPS: Final = frozenset([0xB0, *range(0xB3, 0xBA)])
"""OP_NOP1 and OP_NOP4 to OP_NOP10: DISCOURAGE_UPGRADABLE_NOPS."""


def check(tx: Transaction, spent: Sequence[TxOut], *, child_pays: bool = False) -> list[str]:
    """Every rule that `tx` breaks on its way into a mempool; empty where it relays.

    `spent` holds the output of each input, in input order. With `child_pays`, a version 3 transaction may pay nothing,
    and carry one 0 sat anchor, because it is sent with a child that pays for both.
    """
    return [*check_form(tx), *check_spends(tx, spent, child_pays=child_pays)]


def check_package(
    parent: Transaction, parent_spent: Sequence[TxOut], child: Transaction, child_spent: Sequence[TxOut]
) -> list[str]:
    """Every rule that a parent and the child that pays for it break when sent together (1P1C); empty: they relay."""
    parent_fee = fee_of(parent, parent_spent)
    joint = parent_fee < min_fee(parent.vsize)
    reasons = [*check(parent, parent_spent, child_pays=True), *check(child, child_spent, child_pays=joint)]
    fee, floor = parent_fee + fee_of(child, child_spent), min_fee(parent.vsize + child.vsize)
    if fee < floor:
        reasons.append(f"min relay fee not met (together {fee} < {floor} sat)")
    return [*reasons, *check_lineage(child, [parent], 1)]


def check_form(tx: Transaction) -> list[str]:
    """The part of `check` that needs nothing but the transaction; its witnesses count by their size."""
    return [*_sanity(tx), *_sizes(tx), *_outputs(tx), *_smallest(tx)]


def check_spends(tx: Transaction, spent: Sequence[TxOut], *, child_pays: bool = False) -> list[str]:
    """The part of `check` that needs the spent outputs: amounts, witnesses, fee."""
    fee, floor = fee_of(tx, spent), min_fee(tx.vsize)
    if fee < 0:
        return [f"bad-txns-in-belowout (outputs hold {-fee} sat more than inputs)"]
    reasons = list(_inputs(tx, spent))
    if fee < floor and not (child_pays and tx.version == TRUC_VERSION):
        reasons.append(f"min relay fee not met ({fee} < {floor} sat)")
    if fee > 0 and dust_outputs(tx):
        reasons.append("dust (only a transaction without fee may have a dust output)")
    if tx.version == TRUC_VERSION and tx.vsize > MAX_TRUC_VSIZE:
        reasons.append(f"TRUC-violation ({tx.vsize:,} > {MAX_TRUC_VSIZE:,} vB)")
    return reasons


def check_lineage(child: Transaction, parents: Sequence[Transaction], ancestors: int) -> list[str]:
    """The rules between a transaction and its unconfirmed parents: TRUC topology and ephemeral dust.

    `ancestors` counts all unconfirmed ancestors.
    """
    return [*_truc_lineage(child, parents, ancestors), *_dust_left_unspent(child, parents)]


def fee_of(tx: Transaction, spent: Sequence[TxOut]) -> int:
    """sat that inputs hold and outputs don't; negative for a transaction that no block may contain."""
    return sum(out.amount for out in spent) - sum(out.amount for out in tx.outputs)


def min_fee(vsize: int, rate: int = MIN_RELAY_FEE_RATE) -> int:
    """sat for `vsize` vB at `rate` sat per 1,000 vB, rounded up."""
    return -(-vsize * rate // 1_000)


def is_unspendable(script: bytes) -> bool:
    """Can nobody ever spend an output with this script?"""
    return script[:1] == OP_RETURN


def largest_burn(tx: Transaction) -> int:
    """sat of the largest provably unspendable output: what `maxburnamount` of the node's RPC must allow."""
    return max((out.amount for out in tx.outputs if is_unspendable(out.script_pubkey)), default=0)


def dust_threshold(script: bytes) -> int:
    """sat: an output with less is dust. 330 for P2TR, 294 for P2WPKH, 240 for P2A, 0 for OP_RETURN."""
    if is_unspendable(script):
        return 0
    spend = _LEGACY_INPUT if _witness_program(script) is None else _WITNESS_INPUT
    return (len(TxOut(0, script).serialize()) + spend) * DUST_FEE_RATE // 1_000


def dust_outputs(tx: Transaction) -> list[int]:
    """Indices of the outputs that hold less than their dust threshold."""
    return [index for index, out in enumerate(tx.outputs) if out.amount < dust_threshold(out.script_pubkey)]


def _sanity(tx: Transaction) -> Iterator[str]:
    """CheckTransaction: what no block may contain."""
    amounts = [out.amount for out in tx.outputs]
    outpoints = [txin.outpoint for txin in tx.inputs]
    if not amounts:
        yield "bad-txns-vout-empty"
    if max(amounts, default=0) > MAX_MONEY or sum(amounts) > MAX_MONEY:
        yield "bad-txns-vout-toolarge"
    if len(set(outpoints)) < len(outpoints):
        yield "bad-txns-inputs-duplicate"
    if any(outpoint.txid == bytes(32) for outpoint in outpoints):
        yield "bad-txns-prevout-null"


def _sizes(tx: Transaction) -> Iterator[str]:
    if tx.version not in STANDARD_VERSIONS:
        yield f"version ({tx.version} is not 1 to 3)"
    if tx.weight > MAX_STANDARD_WEIGHT:
        yield f"tx-size ({tx.weight:,} > {MAX_STANDARD_WEIGHT:,} WU: for a miner, not for relay)"
    if tx.weight > MAX_MINEABLE_WEIGHT:
        yield f"tx-size ({tx.weight:,} > {MAX_MINEABLE_WEIGHT:,} WU: too large for a block template)"
    for index, txin in enumerate(tx.inputs):
        if len(txin.script_sig) > MAX_SCRIPT_SIG_SIZE:
            yield f"scriptsig-size (input {index}: {len(txin.script_sig)} > {MAX_SCRIPT_SIG_SIZE} bytes)"
        if not _only_pushes(txin.script_sig):
            yield f"scriptsig-not-pushonly (input {index})"


def _smallest(tx: Transaction) -> Iterator[str]:
    if (size := len(tx.serialize_base())) < MIN_NON_WITNESS_SIZE:
        yield f"tx-size-small ({size} < {MIN_NON_WITNESS_SIZE} bytes without witnesses)"


def _outputs(tx: Transaction) -> Iterator[str]:
    for index, out in enumerate(tx.outputs):
        if not is_standard_output(out.script_pubkey):
            yield f"scriptpubkey (output {index} is of no standard type)"
    data = sum(len(out.script_pubkey) for out in tx.outputs if is_unspendable(out.script_pubkey))
    if data > MAX_OP_RETURN_SIZE:
        yield f"datacarrier ({data:,} > {MAX_OP_RETURN_SIZE:,} bytes of OP_RETURN)"
    dust = dust_outputs(tx)
    if len(dust) > 1:
        yield f"dust (outputs {dust}: one at most)"
        return
    for index in dust:
        out = tx.outputs[index]
        # Core takes any one dust output of any version; a keyless one of 0 sat under version 3 is all we ever need.
        if tx.version != TRUC_VERSION or out.amount or out.script_pubkey != P2A:
            needed = dust_threshold(out.script_pubkey)
            yield f"dust (output {index}: {out.amount} < {needed} sat, and no 0 sat anchor of version 3)"


def _inputs(tx: Transaction, spent: Sequence[TxOut]) -> Iterator[str]:
    """Rules about how outputs are spent (IsWitnessStandard)."""
    for index, (txin, out) in enumerate(zip(tx.inputs, spent, strict=True)):
        program = _witness_program(out.script_pubkey)
        if out.script_pubkey == P2A:
            reasons: Iterable[str] = ["an anchor takes no witness"] if txin.witness else []
        elif program is None:
            reasons = [] if is_standard_output(out.script_pubkey) else ["it spends an output of no standard type"]
        elif program == (1, 32):
            reasons = _taproot_witness(txin)
        elif program == (0, 32):
            reasons = _p2wsh_witness(txin)
        else:
            reasons = [] if program == (0, 20) else ["it spends a witness program without meaning yet"]
        yield from (f"bad-witness-nonstandard (input {index}: {reason})" for reason in reasons)


def _taproot_witness(txin: TxIn) -> Iterator[str]:
    witness = txin.witness
    if len(witness) >= 2 and witness[-1][:1] == bytes([ANNEX_TAG]):
        yield "an annex"
        witness = witness[:-1]
    if len(witness) < 2:
        return
    *stack, script, control = witness
    if len(control) % 32 != 1 or not 33 <= len(control) <= 33 + 32 * MAX_DEPTH:
        yield f"a control block of {len(control)} bytes"
    elif control[0] & 0xFE != LEAF_VERSION:
        yield f"leaf version {control[0] & 0xFE:#x}"
    elif sum(map(len, witness)) <= MAX_STANDARD_WEIGHT:
        yield from _tapscript(script)
    for position, item in enumerate(stack):
        if len(item) > MAX_STANDARD_WITNESS_ITEM:
            yield f"witness item {position} has {len(item)} > {MAX_STANDARD_WITNESS_ITEM} bytes"


def _tapscript(script: bytes) -> Iterator[str]:
    """The first thing in a leaf that no node relays the execution of; stricter than Core, which skips dead branches."""
    try:
        for instruction in instructions(script):
            if reason := _discouraged(instruction):
                yield f"{reason} at byte {instruction.offset} of the leaf"
                return
    except ScriptError as error:
        yield f"a leaf that cannot be parsed ({error})"


def _discouraged(instruction: Instruction) -> str:
    if instruction.data is not None:
        shortest = push(instruction.data) if len(instruction.data) <= 520 else b""
        return "" if shortest[:1] == bytes([instruction.opcode]) else "a push that is not minimal"
    if instruction.opcode in OP_SUCCESS:
        return f"OP_SUCCESS{instruction.opcode}"
    return f"OP_NOP{instruction.opcode - 0xAF}" if instruction.opcode in _UPGRADABLE_NOPS else ""


def _p2wsh_witness(txin: TxIn) -> Iterator[str]:
    *stack, script = txin.witness or (b"",)
    if len(script) > MAX_P2WSH_SCRIPT_SIZE:
        yield f"a script of {len(script)} > {MAX_P2WSH_SCRIPT_SIZE} bytes"
    if len(stack) > MAX_P2WSH_ITEMS:
        yield f"{len(stack)} > {MAX_P2WSH_ITEMS} witness items"
    for position, item in enumerate(stack):
        if len(item) > MAX_STANDARD_WITNESS_ITEM:
            yield f"witness item {position} has {len(item)} > {MAX_STANDARD_WITNESS_ITEM} bytes"


def _truc_lineage(child: Transaction, parents: Sequence[Transaction], ancestors: int) -> Iterator[str]:
    for parent in parents:
        if (child.version == TRUC_VERSION) != (parent.version == TRUC_VERSION):
            yield f"TRUC-violation (version {child.version} cannot spend from unconfirmed version {parent.version})"
    if child.version != TRUC_VERSION or not parents:
        return
    if ancestors > 1:
        yield f"TRUC-violation ({ancestors} unconfirmed ancestors, 1 at most)"
    if child.vsize > MAX_TRUC_CHILD_VSIZE:
        yield f"TRUC-violation (a child of {child.vsize:,} > {MAX_TRUC_CHILD_VSIZE:,} vB)"


def _dust_left_unspent(child: Transaction, parents: Sequence[Transaction]) -> Iterator[str]:
    taken = {txin.outpoint for txin in child.inputs}
    for parent in parents:
        if any(parent.outpoint(index) not in taken for index in dust_outputs(parent)):
            yield f"missing-ephemeral-spends (the dust of {parent.txid_hex} must be spent with it)"


def is_standard_output(script: bytes) -> bool:
    """Would a node relay an output with this script? (Solver; bare multisig and keys are left out on purpose.)"""
    if _witness_program(script) is not None:
        return True
    if is_unspendable(script):
        return _only_pushes(script[1:])
    p2pkh = len(script) == 25 and script.startswith(OP_DUP + OP_HASH160 + b"\x14")
    p2sh = len(script) == 23 and script.startswith(OP_HASH160 + b"\x14") and script.endswith(OP_EQUAL)
    return (p2pkh and script.endswith(OP_EQUALVERIFY + OP_CHECKSIG)) or p2sh


def _witness_program(script: bytes) -> tuple[int, int] | None:
    """Version and program size, in bytes, of a witness output (BIP141); None for another script."""
    if not 4 <= len(script) <= 42 or script[1] != len(script) - 2 or not (script[0] == 0 or 0x51 <= script[0] <= 0x60):
        return None
    return (script[0] and script[0] - 0x50), script[1]


def _only_pushes(script: bytes) -> bool:
    try:
        return all(instruction.opcode <= OP_16[0] for instruction in instructions(script))
    except ScriptError:
        return False
