"""BN254 and the Groth16 verifier in plain integers: what the scripts must agree with."""
