"""A challenger who lies: whatever items are shown beside the honest operator's signatures, no leaf is satisfied.

A plain run spoils some witnesses of the lighter leaves; `make sweep` spoils thousands of every kind.
"""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from bitvm_bridge.program.groth16.native.field import P, R
from scripts_tapleaf.bn254.machine import Leaf, packed
from scripts_tapleaf.script import decode_num, encode_num
from scripts_tapleaf.winternitz import limb_count, witness_item_count
from tests.core import spend_leaf
from tests.groth16.court import FREE, KINDS, Court

LIMB = 1 << 29
LIGHT = (
    "points A and C",
    "point B",
    "residue witness, first half",
    "residue witness",
    "square of the residue witness, power 2",
    "preparation",
    "step2.root",
    "pairing equation",
)
Spoil = Callable[["Bench", Random], list[bytes] | None]


class Bench:
    """The honest witness of one leaf, by parts: way and values, nine limbs each, then a block for each signature."""

    def __init__(self, court: Court, kind: str) -> None:
        self.court, self.index = court, court.index(kind)
        self.chunk = court.program.chunks[self.index]
        self.leaf: Leaf = court.program.leaves[self.index]
        self.script = court.script(self.index)
        self.items = court.witness(self.index, court.honest, court.honest.values)
        self.own = self.leaf.item_count
        self.slots = (*self.chunk.inputs, *(() if self.chunk.output is None else (self.chunk.output,)))
        self.names = (*self.leaf.opened, *reversed(self.leaf.hints))

    def blocks(self) -> list[list[bytes]]:
        """The items of each signature."""
        rest, blocks = self.items[self.own :], []
        for slot in self.slots:
            bits = self.court.program.values[slot].bits
            size = limb_count(bits) + witness_item_count(bits)
            blocks.append(rest[:size])
            rest = rest[size:]
        assert not rest
        return blocks

    def with_items(self, changes: dict[int, bytes]) -> list[bytes]:
        return [changes.get(index, item) for index, item in enumerate(self.items)]

    def with_value(self, place: int, number: int) -> list[bytes]:
        """Another number for the value at a place among those that are opened and hinted."""
        limbs = [encode_num(limb) for limb in reversed(packed(number))]
        return self.with_items(dict(enumerate(limbs, 1 + 9 * place)))

    def value(self, place: int) -> int:
        return self.court.honest.trace.values[self.names[place]]

    def accepts(self, items: list[bytes]) -> bool:
        return spend_leaf(self.script, items)


def any_item(bench: Bench, random: Random) -> int:
    return random.randrange(len(bench.items))


def any_value(bench: Bench, random: Random) -> int | None:
    return random.randrange(len(bench.names)) if bench.names else None


def another_way(bench: Bench, random: Random) -> list[bytes]:
    ways = len(bench.leaf.ways)
    numbers = [*map(encode_num, range(1, ways + 3)), *map(encode_num, (-1, -2, 1 << 31, LIMB)), b"\x80", b"\x01\x00"]
    return bench.with_items({0: random.choice(numbers)})


def another_limb(bench: Bench, random: Random) -> list[bytes] | None:
    """One limb of a value, by a little or by much."""
    place = any_value(bench, random)
    if place is None:
        return None
    index = 1 + 9 * place + random.randrange(9)
    changes = (1, -1, 2, 1 << 22, LIMB, -LIMB, 1 << 31, random.randrange(1, LIMB))
    return bench.with_items({index: encode_num(decode_num(bench.items[index]) + random.choice(changes))})


def carried_limbs(bench: Bench, random: Random) -> list[bytes] | None:
    """The same number in limbs out of range."""
    place = any_value(bench, random)
    if place is None:
        return None
    high = 1 + 9 * place + random.randrange(8)
    sign = random.choice((1, -1))
    above, below = decode_num(bench.items[high]) + sign, decode_num(bench.items[high + 1]) - sign * LIMB
    return bench.with_items({high: encode_num(above), high + 1: encode_num(below)})


def another_residue(bench: Bench, random: Random) -> list[bytes] | None:
    place = any_value(bench, random)
    return None if place is None else bench.with_value(place, bench.value(place) + P)


def another_number(bench: Bench, random: Random) -> list[bytes] | None:
    place = any_value(bench, random)
    if place is None:
        return None
    right = bench.value(place)
    number = random.choice((0, 1, P - 1, P, -right % P, (right + 1) % P, random.randrange(P)))
    return None if number == right else bench.with_value(place, number)


def swapped_items(bench: Bench, random: Random) -> list[bytes] | None:
    first, second = any_item(bench, random), any_item(bench, random)
    items = bench.with_items({first: bench.items[second], second: bench.items[first]})
    return None if items == bench.items else items


def swapped_values(bench: Bench, random: Random) -> list[bytes] | None:
    if not bench.names:
        return None
    first, second = random.randrange(len(bench.names)), random.randrange(len(bench.names))
    starts = [(1 + 9 * first, 1 + 9 * second), (1 + 9 * second, 1 + 9 * first)]
    items = bench.with_items({to + limb: bench.items[start + limb] for start, to in starts for limb in range(9)})
    return None if items == bench.items else items


def a_longer_number(bench: Bench, random: Random) -> list[bytes]:
    index = random.randrange(bench.own)
    item = bench.items[index]
    return bench.with_items({index: (item or b"\x00") + b"\x00" if len(item) < 4 else b"\x80"})


def one_item_less(bench: Bench, random: Random) -> list[bytes]:
    index = any_item(bench, random)
    return bench.items[:index] + bench.items[index + 1 :]


def one_item_twice(bench: Bench, random: Random) -> list[bytes]:
    index = any_item(bench, random)
    return bench.items[: index + 1] + bench.items[index:]


def one_item_more(bench: Bench, random: Random) -> list[bytes]:
    index = random.choice((0, bench.own, len(bench.items)))
    return [*bench.items[:index], random.choice((b"", b"\x01", b"\x80")), *bench.items[index:]]


def one_signature_for_another(bench: Bench, random: Random) -> list[bytes] | None:
    blocks = bench.blocks()
    first, second = random.randrange(len(blocks)), random.randrange(len(blocks))
    blocks[first] = blocks[second]
    items = [*bench.items[: bench.own], *(item for block in blocks for item in block)]
    return None if items == bench.items else items


def signatures_in_another_order(bench: Bench, random: Random) -> list[bytes] | None:
    blocks = bench.blocks()
    random.shuffle(blocks)
    items = [*bench.items[: bench.own], *(item for block in blocks for item in block)]
    return None if items == bench.items else items


def a_signature_twice(bench: Bench, random: Random) -> list[bytes]:
    return bench.items + random.choice(bench.blocks())


def another_limb_of_a_signature(bench: Bench, random: Random) -> list[bytes]:
    """What the signature is said to say."""
    blocks = bench.blocks()
    block = random.randrange(len(blocks))
    limb = random.randrange(limb_count(bench.court.program.values[bench.slots[block]].bits))
    changed = decode_num(blocks[block][limb]) + random.choice((1, -1, LIMB, 1 << 20))
    blocks[block] = [*blocks[block][:limb], encode_num(changed), *blocks[block][limb + 1 :]]
    return [*bench.items[: bench.own], *(item for part in blocks for item in part)]


def no_hints(bench: Bench, random: Random) -> list[bytes] | None:
    """Zero, one or −1 for all of them."""
    if not bench.leaf.hints:
        return None
    limbs = [encode_num(limb) for limb in reversed(packed(random.choice((0, 1, P - 1, P))))]
    start = bench.own - 9 * len(bench.leaf.hints)
    return [*bench.items[:start], *limbs * len(bench.leaf.hints), *bench.items[bench.own :]]


def values_of_another_proof(bench: Bench, random: Random) -> list[bytes] | None:
    """All that a right run of another right proof opens and hints."""
    if not bench.names:
        return None
    seed = random.randrange(1 << 32)
    program = bench.court.program
    free = random.choice((FREE, 0, R - 1))
    run = program.run(program.raw(bench.court.proof(free, seed), [free]))
    return [*program.hints(run, bench.index), *bench.items[bench.own :]]


SPOILS: tuple[Spoil, ...] = (
    another_way,
    another_limb,
    carried_limbs,
    another_residue,
    another_number,
    swapped_items,
    swapped_values,
    a_longer_number,
    one_item_less,
    one_item_twice,
    one_item_more,
    one_signature_for_another,
    signatures_in_another_order,
    a_signature_twice,
    another_limb_of_a_signature,
    no_hints,
    values_of_another_proof,
)


def spoiled(bench: Bench, random: Random, rounds: int) -> Iterator[tuple[str, list[bytes]]]:
    """Witnesses, each way to spoil one in every round."""
    for _ in range(rounds):
        for spoil in SPOILS:
            items = spoil(bench, random)
            if items is not None:
                yield spoil.__name__, items


def all_refused(court: Court, kind: str, seed: int, rounds: int) -> int:
    """How many were tried."""
    bench = Bench(court, kind)
    assert not bench.accepts(bench.items)
    tried = 0
    for name, items in spoiled(bench, Random(f"{kind}/{seed}"), rounds):
        assert not bench.accepts(items), name
        tried += 1
    return tried


@pytest.mark.parametrize("kind", LIGHT)
def test_no_spoiled_witness_satisfies_a_light_leaf(court: Court, kind: str) -> None:
    assert all_refused(court, kind, seed=0, rounds=4) >= 36


@pytest.mark.parametrize("kind", KINDS)
def test_no_way_leads_through_an_honest_claim(court: Court, kind: str) -> None:
    """Every number of a way; a leaf as large as the public inputs' has some thirty."""
    bench = Bench(court, kind)
    last = len(bench.leaf.ways) + 2
    for way in (*range(1, last + 1)[:: max(1, last // 4)], last, -1):
        assert not bench.accepts(bench.with_items({0: encode_num(way)}))


@pytest.mark.parametrize("kind", LIGHT)
def test_the_items_that_are_spoiled_would_satisfy_the_leaf_for_a_lie(court: Court, kind: str) -> None:
    """So that what refuses them above is what they say, and not how they are put together."""
    bench = Bench(court, kind)
    output = bench.chunk.output
    if output is None:
        return
    values = list(court.honest.values)
    values[output] = bytes(20)
    lie = court.witness(bench.index, court.honest, values)
    assert lie[: bench.own] == bench.items[: bench.own]
    assert bench.accepts(lie)
    for place in range(len(bench.leaf.opened), len(bench.names)):
        if bench.value(place) + P < 1 << 254:
            items = bench.with_value(place, bench.value(place) + P)
            assert bench.accepts([*items[: bench.own], *lie[bench.own :]])
            assert not bench.accepts(items)
            return


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(1, 5))
@pytest.mark.parametrize("kind", LIGHT)
def test_no_witness_of_thousands_satisfies_a_light_leaf(court: Court, kind: str, seed: int) -> None:
    assert all_refused(court, kind, seed, rounds=30) >= 270


@pytest.mark.sweep
@pytest.mark.parametrize("seed", range(1, 3))
@pytest.mark.parametrize("kind", sorted(set(KINDS) - set(LIGHT)))
def test_no_witness_of_hundreds_satisfies_a_heavy_leaf(court: Court, kind: str, seed: int) -> None:
    assert all_refused(court, kind, seed, rounds=8) >= 72


@pytest.mark.sweep
@pytest.mark.parametrize("kind", KINDS)
def test_no_number_of_a_way_leads_through_an_honest_claim(court: Court, kind: str) -> None:
    bench = Bench(court, kind)
    for way in range(-2, len(bench.leaf.ways) + 3):
        assert not bench.accepts(bench.with_items({0: encode_num(way)}))
