"""Ranges of Service addresses: they say that they are ready, and do not go while an address is in use."""
