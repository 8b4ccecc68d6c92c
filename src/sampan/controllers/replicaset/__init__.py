"""Keeps the number of pods of ReplicaSets, and through an adapter of ReplicationControllers."""
