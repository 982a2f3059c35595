"""What each role does, one module a role: from a graph, signatures and coins to transactions ready to send."""
