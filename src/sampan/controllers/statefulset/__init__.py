"""Keeps pods that have names of their own: in order, each with its claims; rolls them from the last to the first."""
