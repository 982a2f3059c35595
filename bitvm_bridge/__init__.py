"""A pay-first, reimburse-later BitVM bridge: its transactions as data, and everything derived from them."""

__version__ = "0.1.0"
