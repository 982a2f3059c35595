"""The Taproot contract: an oracle that stakes a bond on what it signs, and can be proved wrong."""
