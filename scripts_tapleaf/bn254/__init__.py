"""Arithmetic of the pairing curve BN254 in tapscript."""
