"""Bootstrap tokens, with which machines join: their signatures of the cluster's address, and their end."""
