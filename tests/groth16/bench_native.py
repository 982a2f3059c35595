"""Times of the native verifier: `python -m tests.groth16.bench_native`."""

from collections.abc import Callable
from time import perf_counter

from bitvm_bridge.program.groth16.native.pairing import final_exponentiation, miller_loop
from bitvm_bridge.program.groth16.native.residue import residue
from bitvm_bridge.program.groth16.native.verifier import pairs, verify, verify_plain
from tests.groth16.toy import toy_key, toy_proof

RUNS = 10


def best(call: Callable[[], object]) -> float:
    """Milliseconds of the fastest of some runs."""
    times = []
    for _ in range(RUNS):
        start = perf_counter()
        call()
        times.append(perf_counter() - start)
    return 1_000 * min(times)


def bench() -> dict[str, float]:
    """Step → milliseconds, for a key with one public input."""
    key, trapdoor = toy_key(1, seed=0)
    inputs = [2**200 + 1]
    proof = toy_proof(trapdoor, inputs, seed=0)
    f = miller_loop(pairs(key, proof, inputs))
    return {
        "check the points, combine the inputs": best(lambda: pairs(key, proof, inputs)),
        "Miller loops of four pairs": best(lambda: miller_loop(pairs(key, proof, inputs))),
        "final exponentiation": best(lambda: final_exponentiation(f)),
        "residue witness": best(lambda: residue(f)),
        "verify": best(lambda: verify(key, proof, inputs)),
        "verify_plain": best(lambda: verify_plain(key, proof, inputs)),
    }


if __name__ == "__main__":
    for step, milliseconds in bench().items():
        print(f"{step:40} {milliseconds:6.1f} ms")
