"""What a second layer plugs in: where requests for payment come from, and where proofs do."""
