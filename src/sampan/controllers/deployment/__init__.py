"""Rolls a template out over ReplicaSets: new sets, scaling old against new, history, progress."""
