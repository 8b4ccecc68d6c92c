"""``sampan join``: a machine finds a cluster by a token, gets certificates of its own, and becomes a node of it."""
