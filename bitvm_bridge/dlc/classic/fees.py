"""Fees, from the weights that both parties expect (dlcspecs Transactions.md, section Fees).

Each party pays for its own inputs, its own outputs and half of what is shared. Closing transactions pay no fee of their
own: each party's part of it is in the funding output.
"""

from collections.abc import Iterable
from typing import Final

_FUNDING_SHARE: Final = 107
"""WU: half of 214, the funding transaction without inputs and change."""
_CLOSING_SHARE: Final = 249
"""WU: half of 498, a CET without its output scripts; its two signatures count 72 bytes each."""
_INPUT: Final = 164
"""WU: outpoint, sequence and the length of a script, 41 bytes."""
_OUTPUT: Final = 36
"""WU: amount and the length of a script, 9 bytes."""


def input_weight(redeem_script_size: int, max_witness_size: int) -> int:
    """WU of a funding input; a redeem script costs one byte more, for its push."""
    script_sig = 1 + redeem_script_size if redeem_script_size else 0
    return _INPUT + 4 * script_sig + max_witness_size


def funding_fee(input_weights: Iterable[int], change_script_size: int, fee_rate: int) -> int:
    """sat of one party for the funding transaction; `fee_rate` in sat/vB, sizes in bytes, weights in WU."""
    return _fee(_FUNDING_SHARE + _OUTPUT + 4 * change_script_size + sum(input_weights), fee_rate)


def closing_fee(payout_script_size: int, fee_rate: int) -> int:
    """sat of one party for a CET, or for the refund."""
    return _fee(_CLOSING_SHARE + 4 * payout_script_size, fee_rate)


def _fee(weight: int, fee_rate: int) -> int:
    return -(-weight // 4) * fee_rate
