"""Watching: follow the blocks, keep the state of every instance, and send what its party owes, in time."""
