"""What every generator of this package returns."""

from dataclasses import dataclass

from scripts_tapleaf.bn254.checked._stack import Stack
from scripts_tapleaf.script import ScriptError

MAX_REGISTER = (1 << 31) - 1
"""The largest operand of an arithmetic opcode."""


@dataclass(frozen=True)
class Checked:
    """A script that takes its witness off the stack and fails unless the result in it is right.

    `max_stack` is the most items on both stacks, the witness included; `bound` is the largest number, in magnitude,
    that it computes from a witness as made by the function next to it, whatever the values.
    """

    script: bytes
    max_stack: int
    bound: int


def finish(stack: Stack, *bounds: int) -> Checked:
    """Drop what is left. Raises ScriptError where an honest witness could overflow."""
    bound = max(bounds)
    if bound > MAX_REGISTER:
        raise ScriptError(f"checked product: register up to {bound}, expected at most {MAX_REGISTER}")
    stack.drop(stack.height)
    return Checked(stack.script, stack.peak, bound)
