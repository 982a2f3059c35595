"""What the Groth16 verifier and its arithmetic cost, next to the official implementation's figures."""

import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Final

from bitvm_bridge.dispute import assertion as asserting
from bitvm_bridge.dispute import disprove as dispute
from bitvm_bridge.keys import Role, Seed
from bitvm_bridge.program import Groth16Spec
from bitvm_bridge.program.cache import use_directory
from bitvm_bridge.protocol import wallet_script
from bitvm_bridge.roles import challenger
from bitvm_bridge.setup import InstanceSetup
from bitvm_bridge.signing.bundle import Bundle
from cli.lies import lie
from cli.table import Table
from scripts_tapleaf.bn254.checked import fq, fq2, fq6
from scripts_tapleaf.bn254.constants import CANONICAL
from scripts_tapleaf.bn254.product import multiply

BITVM: Final = "BitVM/BitVM at 23c6cdf6"
FIELD_SUM: Final = (1, 1, 1, 1)
"""Signs of a combination of four products."""
PUBLIC_FIELD: Final = {
    ("fq", "mul"): 67_744,
    ("fq", "lc4"): 142_398,
    ("fq2", "mul"): 176_761,
    ("fq6", "dense"): 1_066_421,
    ("fq6", "sparse_dense"): 864_229,
}
PUBLIC_VERIFIER: Final = {
    "leaves": 364,
    "total_bytes": 1_110_838_413,
    "largest_leaf": 3_953_286,
    "assert_vbytes": 369_500,
}
"""The official verifier: sums of script, and the vB of its assertion."""
LABELS: Final = {
    ("fq", "mul"): "Fq: a product, checked, one operand in digits",
    ("fq", "lc4"): "Fq: a sum of 4 products, checked",
    ("fq", "computed"): "Fq: a product, computed without a hint",
    ("fq2", "mul"): "Fq2: a product, checked",
    ("fq2", "computed"): "Fq2: a product, computed without a hint",
    ("fq6", "dense"): "Fq6: a dense product, checked",
    ("fq6", "sparse_dense"): "Fq6: a sparse product, checked",
}
VERIFIER_LABELS: Final = {
    "leaves": "leaves",
    "total_bytes": "bytes of all leaves",
    "largest_leaf": "bytes of the largest leaf",
    "max_stack": "most items on both stacks",
    "commitments": "committed values",
    "assert_vbytes": "Assert, vB",
    "set_up_memory": "most memory until the set-up is done, bytes",
}


def measure_fields() -> dict[str, dict[str, int]]:
    """bytes of script of each product; the hinted ones prove a result, the computed ones make it of other results."""
    (result,) = multiply((CANONICAL,), (CANONICAL,)).results
    return {
        "fq": {
            "mul": len(fq.mul(digits_in_range=True).script),
            "lc4": len(fq.combination(FIELD_SUM).script),
            "computed": len(multiply((result,), (result,)).script),
        },
        "fq2": {
            "mul": len(fq2.mul().script),
            "computed": len(multiply((result,) * 2, (result,) * 2).script),
        },
        "fq6": {"dense": len(fq6.mul().script), "sparse_dense": len(fq6.mul(2, 3).script)},
    }


def measure_verifier(setup: InstanceSetup, assert_vbytes: int, memory: int) -> dict[str, int]:
    """Of the real leaves of an instance; the vB of its Assert, and bytes of memory, are those that were found."""
    if not isinstance(setup.spec, Groth16Spec):
        raise TypeError("measure_verifier: an instance of another program")
    sizes = [len(script) for _, script in setup.checks.leaves()]
    return {
        "leaves": len(sizes),
        "total_bytes": sum(sizes),
        "largest_leaf": max(sizes),
        "max_stack": max(setup.spec.plan.stacks),
        "commitments": len(setup.spec.values),
        "assert_vbytes": assert_vbytes,
        "set_up_memory": memory,
    }


def peak_memory() -> int:
    """The most that this process has had in memory so far (bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def tables(fields: dict[str, dict[str, int]], verifier: dict[str, int] | None) -> Iterator[Table]:
    """For people; what has no public counterpart has a dash."""
    rows: list[tuple[str | int | float, ...]] = [
        (label, fields[field][name], _shown(PUBLIC_FIELD.get((field, name)))) for (field, name), label in LABELS.items()
    ]
    yield Table("BN254 (bytes of script)", ("what", "ours", BITVM), rows)
    if verifier is not None:
        rows = [(label, verifier[name], _shown(PUBLIC_VERIFIER.get(name))) for name, label in VERIFIER_LABELS.items()]
        yield Table("The Groth16 verifier as a program", ("what", "ours", BITVM), rows)


def _shown(figure: int | None) -> str:
    return "–" if figure is None else f"{figure:,}"


@dataclass(frozen=True)
class Work:
    """Something about the verifier that is timed."""

    key: str
    label: str
    run: Callable[[], object]


def works(bundle: Bundle, fresh: Callable[[InstanceSetup], InstanceSetup], seed: Seed, proof: bytes) -> Iterator[Work]:
    """What is timed for an instance and a proof that is right for it; `fresh` makes the same instance anew."""
    setup = bundle.setup
    spec = setup.spec
    if not isinstance(spec, Groth16Spec):
        raise TypeError("works: an instance of another program")
    program = setup.program
    raw = program.read_input(proof)
    run = program.run(raw)
    secret = seed.winternitz_seed()
    false = asserting.sign(setup, secret, lie(program, run.values))
    reward = wallet_script(Seed(Role.CHALLENGER, bytes(32)).wallet_key().xonly)
    yield Work("groth16_compile", "Groth16: compile, nothing kept before", lambda: _compile(spec))
    yield Work("groth16_set_up", "Groth16: set-up, scripts kept, every leaf hashed", lambda: fresh(setup).graph)
    yield Work("groth16_verify", "Groth16: verify natively, every value traced", lambda: program.run(raw))
    yield Work("groth16_assert", "Groth16: sign an assertion", lambda: asserting.sign(setup, secret, run.values))
    yield Work(
        "groth16_disprove",
        "Groth16: find the wrong step, build Disprove, run it on Core",
        lambda: challenger.disprove_offline(reward, 1.0, bundle, dispute.prove(setup, false)),
    )


def _compile(spec: Groth16Spec) -> object:
    """In an interpreter of its own, which remembers no fragment of script."""
    with ProcessPoolExecutor(1, get_context("spawn")) as fresh:
        return fresh.submit(_plan, str(spec)).result()


def _plan(text: str) -> object:
    with tempfile.TemporaryDirectory(prefix="bitvm-bridge-") as folder, use_directory(Path(folder)):
        return Groth16Spec.parse(text).plan
