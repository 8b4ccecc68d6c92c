"""Libraries of functions beside the standard one; each module ends in a ``LIBRARY`` for ``Environment``."""
