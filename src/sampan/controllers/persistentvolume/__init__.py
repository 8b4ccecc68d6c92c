"""Binds PersistentVolumes to claims, and reclaims what claims have left (upstream ``persistentvolume``)."""
