"""From operations to the script of a leaf: registers on the stack, inputs opened from their digests, a verdict.

A leaf opens digests and raw numbers, computes, and compares with a claimed digest. Items, the deepest first:

    way                          which way through the leaf is taken (0: all the way)
    preimages of the inputs      nine limbs of 29 bits a value, as they are hashed
    hints                        nine limbs each, in the order in which they are used, the first one uppermost
    inputs                       limbs of digests and of raw numbers, authenticated by the reads before this script

Preimages are hashed first: one that is not the committed one makes the script fail. The claim is wrong where the
outputs differ from it, where a requirement fails, or where a division or a raw number has no meaning; each of the
latter has a way of its own, which verifies that and ends. A hinted value that is used is forced by a check, a result is
brought to the one residue in [0, p) before it is hashed, and nothing else can be chosen: so the script can be satisfied
if and only if the claim is wrong.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

from scripts_tapleaf.blake3 import LIMB_BITS as DIGEST_LIMB_BITS
from scripts_tapleaf.blake3 import Limbs, blake3_script, limb_widths
from scripts_tapleaf.bn254.circuit import (
    Combine,
    Copy,
    Hint,
    Linear,
    Multiply,
    Operation,
    Raw,
    Require,
    Select,
)
from scripts_tapleaf.bn254.combination import combine
from scripts_tapleaf.bn254.constants import CANONICAL, LIMB_BITS, LIMBS, ZERO, Bounds, centred, to_limbs
from scripts_tapleaf.bn254.conversions import RAW_LIMBS, any_limb, balance, below_prime, canonical, expand
from scripts_tapleaf.bn254.product import Fragment, cut, cut_items, multiply_cut
from scripts_tapleaf.bn254.reduction import Term, Walk, split, subtract_if
from scripts_tapleaf.bn254.writer import Writer
from scripts_tapleaf.comparison import differ
from scripts_tapleaf.script import (
    MAX_STACK_ITEMS,
    OP_1,
    OP_ADD,
    OP_BOOLOR,
    OP_DROP,
    OP_DUP,
    OP_ELSE,
    OP_ENDIF,
    OP_EQUALVERIFY,
    OP_GREATERTHANOREQUAL,
    OP_IF,
    OP_NOT,
    OP_NUMEQUAL,
    OP_SUB,
    OP_VERIFY,
    ROLLS,
    ScriptError,
    num,
)

VALUE_BYTES: Final = 32
DIGEST_LIMBS: Final = 6
_PACKED: Final = Limbs(limb_widths(8 * VALUE_BYTES), VALUE_BYTES)
_UNPACKED: Final = Limbs(
    (*(LIMB_BITS for _ in range(LIMBS - 1)), 8 * VALUE_BYTES - LIMB_BITS * (LIMBS - 1)), VALUE_BYTES
)


def packed(value: int) -> list[int]:
    """Nine limbs of 29 bits, the least significant first."""
    return [value >> DIGEST_LIMB_BITS * limb & (1 << DIGEST_LIMB_BITS) - 1 for limb in range(RAW_LIMBS)]


class NoRoom(ScriptError):
    """A leaf needs more items than there are; `step` is the operation that does, 0 where it is the hashing."""

    def __init__(self, step: int) -> None:
        super().__init__(f"compile_leaf: operation {step} needs more than {MAX_STACK_ITEMS} stack items")
        self.step = step


@dataclass(frozen=True)
class Group:
    """An input of a leaf: the names of the values behind a digest, or the one raw number that is committed as it is."""

    names: tuple[str, ...]
    is_raw: bool = False


@dataclass(frozen=True)
class Leaf:
    """What one leaf does: operations, where their inputs come from, and the values whose digest is its output."""

    operations: tuple[Operation, ...]
    inputs: tuple[Group, ...]
    outputs: tuple[str, ...]

    @property
    def hints(self) -> tuple[str, ...]:
        """Names of the hinted values in order of use."""
        return tuple(name for item in self.operations if isinstance(item, Hint) for name in item.out)

    @property
    def opened(self) -> tuple[str, ...]:
        """Names of the values whose digests are opened."""
        return tuple(name for group in self.inputs if not group.is_raw for name in group.names)

    @property
    def ways(self) -> tuple[int, ...]:
        """Indices of the operations that have a way of their own; way i + 1 leads through the i-th of them."""
        return tuple(index for index, item in enumerate(self.operations) if _has_way(item))

    @property
    def item_count(self) -> int:
        """Items of the witness that are no signatures."""
        return 1 + RAW_LIMBS * (len(self.opened) + len(self.hints))


@dataclass(frozen=True)
class Compiled:
    """A leaf's script, the most items that it has on both stacks, and how many bytes each operation took."""

    script: bytes
    max_stack: int
    sizes: tuple[int, ...]


def compile_leaf(leaf: Leaf) -> Compiled:
    """Raises NoRoom, and ScriptError where sums are too large for four-byte arithmetic."""
    machine = _Machine(leaf)
    machine.run()
    return Compiled(machine.writer.script(), machine.writer.most, tuple(machine.sizes))


def witness(leaf: Leaf, values: Mapping[str, int], failed: int | None = None) -> list[int]:
    """The items below the signatures, deepest first, as numbers. `failed` is the operation whose way is taken."""
    items = [leaf.ways.index(failed) + 1 if failed in leaf.ways else 0]
    for name in leaf.opened:
        items += reversed(packed(values[name]))
    for name in reversed(leaf.hints):
        items += reversed(packed(values.get(name, 0)))
    return items


def _has_way(operation: Operation) -> bool:
    return isinstance(operation, Raw) or (isinstance(operation, Hint) and bool(operation.divisor))


@dataclass(frozen=True, eq=False)
class _Block:
    """Items that lie together: the limbs of a value, limb 0 uppermost unless `is_rising`, or anything else."""

    size: int
    bounds: Bounds = ZERO
    is_rising: bool = False


class _Machine:
    """Writes one leaf. Every block has a place below those above it; values are removed after their last use."""

    def __init__(self, leaf: Leaf) -> None:
        self.leaf = leaf
        self.way = _Block(1)
        self.preimages = {name: _Block(RAW_LIMBS) for name in leaf.opened}
        self.hints = {name: _Block(RAW_LIMBS) for name in leaf.hints}
        self.inputs = [_Block(RAW_LIMBS if group.is_raw else DIGEST_LIMBS) for group in leaf.inputs]
        hints = [self.hints[name] for name in reversed(leaf.hints)]
        self.blocks = [self.way, *self.preimages.values(), *hints, *self.inputs]
        self.values: dict[str, _Block] = {}
        self.wrong = _Block(1)
        self.ways = 0
        self.sizes: list[int] = []
        self.writer = Writer(sum(block.size for block in self.blocks))
        self.writer.alt = DIGEST_LIMBS if leaf.outputs else 0
        self.last_use = {name: index for index, item in enumerate(leaf.operations) for name in item.reads}

    def run(self) -> None:
        """Check the preimages, compute, compare."""
        self._check_preimages()
        self.writer.number(0)
        self.blocks.append(self.wrong)
        while (start := len(self.sizes)) < len(self.leaf.operations):
            written = len(self.writer.code)
            count = self._operate(start)
            self._forget(start + count - 1)
            size = sum(map(len, self.writer.code[written:]))
            self.sizes += [size // count] * count
            if self.writer.most > MAX_STACK_ITEMS:
                raise NoRoom(start)
        self._compare()
        self.roll(self.wrong)
        self.writer.to_alt()
        self.writer.drop(self.writer.height)
        self.writer.from_alt()
        self.writer.write(OP_ENDIF * self.ways)

    # Registers

    def place(self, block: _Block) -> int:
        """Items below a block."""
        place = 0
        for other in self.blocks:
            if other is block:
                return place
            place += other.size
        raise ScriptError("machine: a value that is not on the stack")

    def limb_places(self, block: _Block) -> list[int]:
        """Places of limbs, limb 0 first."""
        start = self.place(block)
        places = list(range(start, start + block.size))
        return places if block.is_rising else places[::-1]

    def push_block(self, size: int, bounds: Bounds = ZERO, *, is_rising: bool = False) -> _Block:
        """The items on top are a block."""
        block = _Block(size, bounds, is_rising)
        self.blocks.append(block)
        return block

    def roll(self, block: _Block) -> None:
        """Bring a block to the top."""
        depth = self.writer.height - 1 - self.place(block)
        if block is not self.blocks[-1]:
            self.writer.write(ROLLS[depth] * block.size)
            self.blocks.remove(block)
            self.blocks.append(block)

    def remove(self, block: _Block) -> None:
        """Drop a block."""
        self.roll(block)
        self.writer.drop(block.size)
        self.blocks.pop()

    def copy(self, block: _Block) -> None:
        """Its items once more on top, in the same order; they belong to no block."""
        start = self.place(block)
        for place in range(start, start + block.size):
            self.writer.pick(place)

    def _value(self, name: str) -> _Block:
        """The limbs of a value, expanded from its preimage or its hint when it is first used."""
        if name not in self.values:
            self.roll(self.hints[name] if name in self.hints else self.preimages[name])
            self.blocks.pop()
            bounds = expand(self.writer)
            self.values[name] = self.push_block(LIMBS, bounds)
        return self.values[name]

    def _forget(self, index: int) -> None:
        for name, block in list(self.values.items()):
            if self.last_use.get(name, -1) <= index and name not in self.leaf.outputs:
                self.remove(block)
                del self.values[name]

    # Operations

    def _operate(self, index: int) -> int:
        """Write an operation; products of one operand that follow each other are written together. Gives how many."""
        operation = self.leaf.operations[index]
        if isinstance(operation, Multiply):
            return self._multiply(self._products(operation, index))
        self._read(operation)
        match operation:
            case Raw():
                self._raw(operation)
            case Combine():
                self._combine(operation)
            case Hint():
                self._hint(operation)
            case Copy((name,), source):
                self.copy(self.values[source])
                old = self.values[source]
                self.values[name] = self.push_block(LIMBS, old.bounds, is_rising=old.is_rising)
            case Require(names, _):
                self._require(names)
            case Select():
                self._select(operation)
        return 1

    def _read(self, operation: Operation) -> None:
        for name in operation.reads:
            self._value(name)

    def _sum(self, part: Linear) -> Bounds:
        """Push the limbs of a sum, limb 0 uppermost."""
        writer = self.writer
        sources = [(self.limb_places(self.values[name]), coefficient) for name, coefficient in part.terms]
        constant = to_limbs(centred(part.constant))
        for limb in reversed(range(LIMBS)):
            started = False
            for places, coefficient in sources:
                writer.pick(places[limb])
                writer.multiply(abs(coefficient) if started else coefficient)
                if started:
                    writer.write(OP_ADD if coefficient > 0 else OP_SUB, grows=-1)
                started = True
            if not started:
                writer.number(constant[limb])
            else:
                writer.add_number(constant[limb])
        return self._bounds(part)

    def _operand(self, part: Linear, *, is_balanced: bool = True) -> Bounds:
        """Push a sum, with limbs of about 22 bits where it is to be balanced."""
        bounds = self._sum(part)
        return _rounded(balance(self.writer, bounds) if is_balanced else bounds)

    def _bounds(self, part: Linear) -> Bounds:
        """Of the limbs that `_sum` pushes."""
        constant = centred(part.constant)
        bounds = Bounds(tuple(map(abs, to_limbs(constant))), abs(constant))
        for name, coefficient in part.terms:
            bounds += self.values[name].bounds.scaled(coefficient)
        return bounds

    def _products(self, first: Multiply, index: int) -> list[Multiply]:
        """The products from here on that have one operand in common and do not need each other's results."""
        found: list[Multiply] = []
        for operation in self.leaf.operations[index:]:
            made = {name for other in found for name in other.out}
            if not isinstance(operation, Multiply) or operation.a != first.a or made.intersection(operation.reads):
                break
            found.append(operation)
        return found

    def _multiply(self, products: Sequence[Multiply]) -> int:
        """Products of one operand, which is cut into digits once; gives how many they are."""
        writer, a = self.writer, products[0].a
        self._read(products[0])
        height = writer.height
        bounds = tuple(self._operand(part, is_balanced=False) for part in a)
        self._run(cut(bounds), height)
        digits = cut_items(bounds)
        writer.alt += digits
        results: list[tuple[str, Bounds]] = []
        for product in products:
            is_last = product is products[-1]
            fragment = self._multiply_cut(bounds, product, digits, is_last=is_last)
            writer.alt -= digits if is_last else 0
            results += zip(product.out, fragment.results, strict=True)
        self._take(results)
        return len(products)

    def _multiply_cut(self, a: tuple[Bounds, ...], product: Multiply, digits: int, *, is_last: bool) -> Fragment:
        """Operands are balanced only where the register has no room for them as they are."""
        self._read(product)
        addend = product.addend if any(part != Linear() for part in product.addend) else ()
        height = self.writer.height
        plain = [tuple(_rounded(self._bounds(part)) for part in parts) for parts in (product.b, addend)]
        balances_b, balances_addend = _balancing(a, *plain, is_zero=not product.out)
        addends = tuple(self._operand(part, is_balanced=balances_addend) for part in addend)
        b = tuple(self._operand(part, is_balanced=balances_b) for part in product.b)
        fragment = multiply_cut(a, b, addends, is_zero=not product.out, is_last=is_last)
        self._run(fragment, height, taken=digits)
        return fragment

    def _combine(self, operation: Combine) -> None:
        names = operation.reads
        height = self.writer.height
        bounds = tuple(self._operand(Linear(((name, 1),))) for name in names)
        rows = tuple(tuple(dict(row.terms).get(name, 0) for name in names) for row in operation.rows)
        fragment = combine(rows, tuple(row.constant for row in operation.rows), bounds)
        self._run(fragment, height)
        self._take(list(zip(operation.out, fragment.results, strict=True)))

    def _run(self, fragment: Fragment, height: int, taken: int = 0) -> None:
        """A fragment that consumes everything above `height`, and counts `taken` items of the altstack as its own."""
        self.writer.write(fragment.script)
        self.writer.height = height
        self.writer.peak(fragment.most - taken)
        self.writer.alt += LIMBS * len(fragment.results)

    def _take(self, results: Sequence[tuple[str, Bounds]]) -> None:
        """Results come back from the altstack, the last one first, limb 0 deepest."""
        for name, bounds in reversed(results):
            self.writer.from_alt(LIMBS)
            self.values[name] = self.push_block(LIMBS, bounds, is_rising=True)

    def _raw(self, operation: Raw) -> None:
        (name,) = operation.out
        block = self.inputs[self.leaf.inputs.index(Group((name,), is_raw=True))]
        with self._way():
            self.copy(block)
            below_prime(self.writer, operation.modulus)
            self.writer.write(OP_NOT + OP_VERIFY, grows=-1)
        self.copy(block)
        below_prime(self.writer, operation.modulus)
        self.writer.write(OP_VERIFY, grows=-1)
        self.copy(block)
        self.values[name] = self.push_block(LIMBS, expand(self.writer))

    def _hint(self, operation: Hint) -> None:
        if operation.divisor:
            with self._way():
                for part in operation.divisor:
                    self._verify_zero(part)

    def _verify_zero(self, part: Linear) -> None:
        """Fails unless a sum is a multiple of p."""
        start = self.writer.height
        bounds = self._operand(part)
        terms = [Term(start + LIMBS - 1 - limb, LIMB_BITS * limb, 1, bound) for limb, bound in enumerate(bounds.limbs)]
        Walk(self.writer, None, terms, bounds.value, is_zero=True).write()
        self.writer.drop(LIMBS)

    def _require(self, names: Sequence[str]) -> None:
        for name in names:
            self.copy(self.values[name])
            any_limb(self.writer)
            self._note()

    def _note(self) -> None:
        """The claim is wrong if the item on top is true."""
        self.push_block(1)
        self.roll(self.wrong)
        self.writer.write(OP_BOOLOR, grows=-1)
        del self.blocks[-2]

    def _select(self, operation: Select) -> None:
        writer = self.writer
        limb, start = divmod(operation.start, LIMB_BITS)
        writer.pick(self.limb_places(self.values[operation.source])[limb])
        stop = start + operation.width
        for bit in reversed(range(stop, LIMB_BITS)):
            writer.write(subtract_if(1 << bit, b""))
        split(writer, operation.width, start)
        writer.drop(1)
        writer.write(_table(operation.table), grows=LIMBS * len(operation.out) - 1)
        for name in reversed(operation.out):
            self.values[name] = self.push_block(LIMBS, CANONICAL)

    # Ways and the verdict

    @contextmanager
    def _way(self) -> Iterator[None]:
        """Code that is run where the witness takes this way: it must verify that the claim is wrong."""
        self.ways += 1
        self.writer.pick(self.place(self.way))
        self.writer.write(num(self.ways) + OP_NUMEQUAL + OP_IF, grows=-1)
        height = self.writer.height
        yield
        self.writer.drop(self.writer.height)
        self.writer.write(OP_1 + OP_ELSE)
        self.writer.height = height

    def _compare(self) -> None:
        """The digest of the outputs against the claimed one."""
        if not self.leaf.outputs:
            return
        for name in reversed(self.leaf.outputs):
            block = self._value(name)
            self._sum(Linear(((name, 1),)))
            canonical(self.writer, block.bounds)
            self.push_block(LIMBS)
            self.remove(block)
            del self.values[name]
        count = len(self.leaf.outputs)
        self._hash((_UNPACKED,) * count, LIMBS * count)
        del self.blocks[-count:]
        self.writer.write(differ(DIGEST_LIMBS), grows=1 - DIGEST_LIMBS)
        self.writer.alt -= DIGEST_LIMBS
        self._note()

    def _check_preimages(self) -> None:
        """Fails unless every preimage is that of its digest; those that nothing reads are dropped."""
        for group, block in zip(self.leaf.inputs, self.inputs, strict=True):
            if group.is_raw:
                continue
            for name in reversed(group.names):
                self.roll(self.preimages[name])
            self._hash((_PACKED,) * len(group.names), RAW_LIMBS * len(group.names), keep=True)
            digest = self.push_block(DIGEST_LIMBS)
            self.roll(block)
            self._equal(digest, block)
            for name in group.names:
                if name not in self.last_use:
                    self.remove(self.preimages[name])

    def _equal(self, first: _Block, second: _Block) -> None:
        """Two blocks on top are equal, item by item, and are gone."""
        for count in range(first.size, 0, -1):
            self.writer.write(ROLLS[count] + OP_EQUALVERIFY, grows=-2)
        self.blocks.remove(first)
        self.blocks.remove(second)

    def _hash(self, segments: tuple[Limbs, ...], items: int, *, keep: bool = False) -> None:
        """The limbs of a digest come on top of those of its preimage, or in their place."""
        writer = self.writer
        reserved = writer.height - items + writer.alt
        try:
            script = blake3_script(segments, reserved=reserved, keep=keep)
        except ScriptError:
            raise NoRoom(0) from None
        writer.write(script.script, grows=DIGEST_LIMBS - (0 if keep else items))
        writer.most = max(writer.most, reserved + script.max_stack)


@cache
def _balancing(
    a: tuple[Bounds, ...], b: tuple[Bounds, ...], addend: tuple[Bounds, ...], *, is_zero: bool
) -> tuple[bool, bool]:
    """Must b and the addend be balanced? The first answer for which there is room in the register."""
    for balances_b, balances_addend in ((False, False), (True, False)):
        try:
            multiply_cut(a, tuple(map(_balanced, b)) if balances_b else b, addend, is_zero=is_zero)
        except ScriptError:
            continue
        return balances_b, balances_addend
    return True, True


def _balanced(bounds: Bounds) -> Bounds:
    """What `balance` leaves of such an element, at most."""
    return _rounded(balance(Writer(LIMBS), bounds))


def _rounded(bounds: Bounds) -> Bounds:
    """Weaker bounds that many operands share, so that few fragments are written."""
    value = _round_up(bounds.value)
    top = min(1 << bounds.limbs[-1].bit_length(), (value >> LIMB_BITS * (LIMBS - 1)) + 2)
    return Bounds((*(_round_up(limb) for limb in bounds.limbs[:-1]), max(top, bounds.limbs[-1])), value)


def _round_up(bound: int) -> int:
    """To three significant bits."""
    shift = max(bound.bit_length() - 3, 0)
    return -(-bound >> shift) << shift


@cache
def _table(entries: tuple[tuple[int, ...], ...]) -> bytes:
    """(digit) → the limbs of an entry, the first component uppermost, limb 0 uppermost in each."""
    if len(entries) == 1:
        limbs = [limb for value in reversed(entries[0]) for limb in reversed(to_limbs(value))]
        return OP_DROP + b"".join(map(num, limbs))
    half = len(entries) // 2
    compare = OP_DUP + num(half) + OP_GREATERTHANOREQUAL + OP_IF + num(half) + OP_SUB
    return b"".join((compare, _table(entries[half:]), OP_ELSE, _table(entries[:half]), OP_ENDIF))
