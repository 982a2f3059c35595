"""The classic form: P2WSH 2-of-2 and ECDSA adaptor signatures, as the public dlcspecs have it."""
