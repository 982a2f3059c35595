"""Discreet log contracts: a 2-of-2 that settles by what an oracle attests."""
