"""False assertions, for regtest and the stories: an operator that follows its own interest makes none."""

from collections.abc import Sequence

from bitvm_bridge.errors import BadInput
from bitvm_bridge.program import Program


def lie(program: Program, honest: Sequence[bytes], chunk: str | None = None) -> tuple[bytes, ...]:
    """The honest values but for one bit of what a chunk produces (default: the middle one that produces a value).

    Raises BadInput for an unknown chunk, and for one that only checks.
    """
    slots = {item.name: item.output for item in program.chunks if item.output is not None}
    name = list(slots)[len(slots) // 2] if chunk is None else chunk
    if name not in slots:
        raise BadInput("chunk", name, f"a chunk of {program.name} that produces a value")
    return _with_flipped(honest, slots[name])


def lie_raw(program: Program, raw: Sequence[bytes], value: str) -> tuple[bytes, ...]:
    """The raw values but for one bit of one of them. Raises BadInput for what is no raw value of the program."""
    names = [item.name for item in program.values[: program.raw_count]]
    if value not in names:
        raise BadInput("raw value", value, f"one that {program.name} takes ({', '.join(names) or 'none'})")
    return _with_flipped(raw, names.index(value))


def some_false(program: Program, raw: Sequence[bytes]) -> tuple[bytes, ...]:
    """The raw values but for one bit, so that the program's checks fail: of the last value that allows it.

    Raises BadInput where none does.
    """
    for value in reversed(program.values[: program.raw_count]):
        changed = lie_raw(program, raw, value.name)
        if program.run(changed).failed is not None:
            return changed
    raise BadInput("program", program.name, "one that takes a proof that can be false")


def _with_flipped(values: Sequence[bytes], slot: int) -> tuple[bytes, ...]:
    """The lowest bit of one value changed."""
    value = values[slot]
    return (*values[:slot], bytes([value[0] ^ 1]) + value[1:], *values[slot + 1 :])
