"""What the tests of the checked products share: Core's verdict, and witnesses to spoil."""

import random
from collections.abc import Iterator, Sequence

from scripts_tapleaf.bn254.checked import Checked
from scripts_tapleaf.interpreter import run, trace
from scripts_tapleaf.script import OP_1, OP_EQUAL, decode_num, encode_num, num
from tests.core import spend_leaf

P = 21888242871839275222246405745257275088696311157297823662689037894645226208583
EDGES = (0, 1, 2, P - 1, P - 2, (P - 1) // 2, (P + 1) // 2, 1 << 253, (4**127 - 1) // 3, (4**127 - 1) // 3 + 1)


def accepts(checked: Checked, witness: Sequence[bytes]) -> bool:
    """Does Core accept, and is nothing of the witness left?"""
    return spend_leaf(checked.script + OP_1, list(witness))


def leaves_the_rest(checked: Checked, witness: Sequence[bytes]) -> bool:
    """Does Core find one item below the witness as it was, and nothing else?"""
    return spend_leaf(checked.script + num(77) + OP_EQUAL, [encode_num(77), *witness])


def largest_number(checked: Checked, witness: Sequence[bytes]) -> int:
    """The largest magnitude that is ever on top of the stack while the script runs."""
    tops = (step.stack[-1] for step in trace(checked.script + OP_1, witness) if step.stack)
    return max(abs(decode_num(top, max_size=5)) for top in tops)


def measured_stack(checked: Checked, witness: Sequence[bytes]) -> int:
    return run(checked.script + OP_1, witness).max_depth


def changed(witness: Sequence[bytes], index: int, by: int) -> list[bytes]:
    """The witness with a number added to one item."""
    number = encode_num(decode_num(witness[index]) + by)
    return [*witness[:index], number, *witness[index + 1 :]]


def numbers(witness: Sequence[bytes], start: int, count: int) -> list[int]:
    return [decode_num(item) for item in witness[start : start + count]]


def residues(seed: str, count: int) -> Iterator[int]:
    """Random residues, an edge value now and then."""
    source = random.Random(seed)
    for _ in range(count):
        yield source.choice(EDGES) if source.random() < 0.2 else source.randrange(P)
