"""Deletes what has lost its owners or outlived its use: the owner graph, and pods nobody will finish."""
