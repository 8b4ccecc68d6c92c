"""For users' tests: a whole cluster in one process, and its pytest plugin."""
