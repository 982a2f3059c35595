"""Tests of the Groth16 verifier."""
