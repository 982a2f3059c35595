"""Script being written, with the height of both stacks at every moment."""

from scripts_tapleaf.script import (
    DOUBLE,
    OP_1ADD,
    OP_1SUB,
    OP_2DROP,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_FROMALTSTACK,
    OP_NEGATE,
    OP_SUB,
    OP_TOALTSTACK,
    PICKS,
    num,
)


class Writer:
    """Code, and how high the stacks are. Items are known by their place, 0 is the deepest one that the code may see."""

    def __init__(self, height: int = 0) -> None:
        self.code: list[bytes] = []
        self.height = height
        self.alt = 0
        self.most = height

    def script(self) -> bytes:
        """What was written."""
        return b"".join(self.code)

    def write(self, *code: bytes, grows: int = 0) -> None:
        """Code that leaves the main stack `grows` items higher and is at no time higher than before and after."""
        self.code += code
        self.height += grows
        self._note()

    def peak(self, above: int) -> None:
        """The code just written is, on its way, `above` items higher than at its end."""
        self.most = max(self.most, self.height + self.alt + above)

    def number(self, value: int) -> None:
        """Push a number."""
        self.write(num(value), grows=1)

    def pick(self, place: int) -> None:
        """Copy the item at a place to the top."""
        self.write(PICKS[self.height - 1 - place], grows=1)

    def depth(self, place: int) -> int:
        """How many items lie above a place."""
        return self.height - 1 - place

    def add_number(self, value: int) -> None:
        """(x) → (x + value)"""
        short = {0: b"", 1: OP_1ADD, -1: OP_1SUB}.get(value)
        self.write(num(abs(value)) + (OP_ADD if value > 0 else OP_SUB) if short is None else short)
        self.peak(value not in (-1, 0, 1))

    def to_alt(self, count: int = 1) -> None:
        """Move items to the altstack, the uppermost first."""
        self.code.append(OP_TOALTSTACK * count)
        self.height -= count
        self.alt += count

    def from_alt(self, count: int = 1) -> None:
        """Move items back."""
        self.code.append(OP_FROMALTSTACK * count)
        self.height += count
        self.alt -= count

    def drop(self, count: int) -> None:
        """Remove items from the top."""
        self.write(OP_2DROP * (count // 2) + OP_DROP * (count % 2), grows=-count)

    def multiply(self, factor: int) -> None:
        """(x) → (factor·x), for a factor that is not 0."""
        bits = bin(abs(factor))[3:]
        ones = bits.count("1")
        code = [OP_DUP * ones]
        for bit in bits:
            code.append(DOUBLE + (OP_ADD if bit == "1" else b""))
        self.write(*code, OP_NEGATE if factor < 0 else b"")
        self.peak(ones + 1)

    def _note(self) -> None:
        self.most = max(self.most, self.height + self.alt)
