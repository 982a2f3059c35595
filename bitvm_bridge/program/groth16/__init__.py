"""The second program: a Groth16 verifier over BN254."""
