"""How many items a script needs, without running it: every opcode used here has one effect on the height."""

from typing import Final

from scripts_tapleaf.script import (
    OP_0NOTEQUAL,
    OP_1ADD,
    OP_1SUB,
    OP_2DROP,
    OP_2DUP,
    OP_2OVER,
    OP_2ROT,
    OP_3DUP,
    OP_16,
    OP_ABS,
    OP_ADD,
    OP_DROP,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_EQUALVERIFY,
    OP_FROMALTSTACK,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_LESSTHAN,
    OP_LESSTHANOREQUAL,
    OP_OVER,
    OP_PICK,
    OP_ROLL,
    OP_ROT,
    OP_SUB,
    OP_SWAP,
    OP_TOALTSTACK,
    OP_TUCK,
    OP_VERIFY,
    instructions,
)

_EFFECTS: Final = {
    +3: (OP_3DUP,),
    +2: (OP_2DUP, OP_2OVER),
    +1: (OP_DUP, OP_OVER, OP_TUCK),
    0: (
        OP_SWAP,
        OP_ROT,
        OP_2ROT,
        OP_PICK,
        OP_TOALTSTACK,
        OP_FROMALTSTACK,
        OP_ABS,
        OP_0NOTEQUAL,
        OP_1ADD,
        OP_1SUB,
        OP_ENDIF,
    ),
    -1: (OP_ADD, OP_SUB, OP_DROP, OP_ROLL, OP_VERIFY, OP_IF, OP_GREATERTHANOREQUAL, OP_LESSTHAN, OP_LESSTHANOREQUAL),
    -2: (OP_2DROP, OP_EQUALVERIFY),
}
_EFFECT: Final = {code[0]: effect for effect, codes in _EFFECTS.items() for code in codes}
_LAST_PUSH: Final = OP_16[0]


def most_items(script: bytes, items: int) -> int:
    """The most items on both stacks at any moment of a run that begins with `items` and does not fail."""
    most = items
    branches: list[int] = []
    for _, opcode, _ in instructions(script):
        if opcode <= _LAST_PUSH:
            items += 1
        elif opcode == OP_ELSE[0]:
            items = branches.pop()
        else:
            items += _EFFECT[opcode]
            if opcode == OP_IF[0]:
                branches.append(items)
        most = max(most, items)
    return most
