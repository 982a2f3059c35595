"""Tapscript as bytes: pure functions from values to leaf scripts. No transaction, no chain, no file."""
