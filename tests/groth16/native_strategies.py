"""Elements of the tower for property tests, the edges of Fq well represented, py_ecc's view of them, and points."""

from random import Random

from hypothesis import strategies as st
from py_ecc.fields import bn128_FQ12

from bitvm_bridge.program.groth16.native.curve import G2, G2_B
from bitvm_bridge.program.groth16.native.field import Fq2, Fq12, P, fq2_add, fq2_mul, fq2_sqrt, fq2_square

fq = st.sampled_from([0, 1, P - 1]) | st.integers(0, P - 1)
fq2 = st.tuples(fq, fq)
fq6 = st.tuples(fq2, fq2, fq2)
fq12 = st.tuples(fq6, fq6)


def oracle(a: Fq12) -> bn128_FQ12:
    """In py_ecc's basis, the powers of w over Fq, where u = w⁶ − 9."""
    (g0, g1, g2), (h0, h1, h2) = a
    powers: list[Fq2] = [g0, h0, g1, h1, g2, h2]
    return bn128_FQ12([real - 9 * imaginary for real, imaginary in powers] + [imaginary for _, imaginary in powers])


def twist_point(seed: int) -> G2:
    """A random point of the twist, whose order is a multiple of R and of other primes but for a freak chance."""
    random = Random(seed)
    while True:
        x = (random.randrange(P), random.randrange(P))
        y = fq2_sqrt(fq2_add(fq2_mul(fq2_square(x), x), G2_B))
        if y is not None:
            return x, y
